//! Rings of provided buffers: what it costs to receive into one of them and to give it back, as there are more.
//!
//! The buffers go round, so each is used again only when all others have been: what grows is the memory that is passed
//! over. Only the last measure has many out at once.

use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use rawring::buf_ring::{BufRing, Lease, Pick};
use rawring::op::RecvProvided;
use rawring::operand::Group;
use rawring::{Event, InFlight, Ring};
use std::time::Instant;

use crate::curve::{Family, MEMORY, Step, ns};
use crate::machine::{self, Memory, forever, median, median_round, nanoseconds};

pub const FAMILY: Family = Family {
    name: "buffers",
    title: "Provided buffers",
    about: "Rings of buffers of 256 bytes. What is received comes from a Unix socket, written in one go for each batch (the \
            write is counted), and each lease is read and given back. Then all buffers are taken, 32 receives in a batch, \
            and given back in random order. With fewer buffers than 32, batches are as large as there are buffers. \
            Memory is with 24 bytes for each lease.",
    of: "buffers",
    variants: &["InFlight", "push_unchecked"],
    measures: &[ns("make"), ns("receive, 1 a batch"), ns("receive, 32 a batch"), ns("give back at random"), MEMORY],
    steps: &[1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 15],
    smoke: 1 << 10,
    measure,
};

const SIZE: usize = 256;
const BATCH: usize = 32;

fn measure(variant: usize, size: u64, step: &mut Step) -> Result<(), String> {
    match variant {
        0 => of::<Safe>(size, step),
        _ => of::<Unchecked>(size, step),
    }
    Ok(())
}

/// A way to receive.
trait Door {
    fn new(ring: Ring, bufs: BufRing) -> Self;
    /// Receives once for each lease.
    fn receive(&mut self, socket: BorrowedFd<'static>, count: usize, each: impl FnMut(Lease));
}

struct Safe(InFlight<()>, BufRing);

impl Door for Safe {
    fn new(ring: Ring, bufs: BufRing) -> Self {
        Safe(InFlight::new(ring).expect("Linux 5.19"), bufs)
    }

    fn receive(&mut self, socket: BorrowedFd<'static>, count: usize, mut each: impl FnMut(Lease)) {
        let Safe(ring, bufs) = self;
        let group = bufs.group();
        for _ in 0..count {
            ring.start((), move |()| RecvProvided::new(socket, group).into()).expect("room");
        }
        ring.submit_and_wait(count as u32).expect("submitting");
        let mut received = 0;
        while let Some(event) = ring.next_event() {
            assert!(matches!(event, Event::Done(_)), "one receive each");
            let mut delivery = ring.delivered().expect("something was received").expect("the kernel does not lie");
            each(delivery.next().expect("a buffer"));
            received += 1;
        }
        assert_eq!(received, count);
    }
}

struct Unchecked(Ring, BufRing);

impl Door for Unchecked {
    fn new(ring: Ring, bufs: BufRing) -> Self {
        Unchecked(ring, bufs)
    }

    fn receive(&mut self, socket: BorrowedFd<'static>, count: usize, mut each: impl FnMut(Lease)) {
        let Unchecked(ring, bufs) = self;
        for _ in 0..count {
            // SAFETY: the socket stays open, the group is registered for as long as the ring, and the value is small.
            unsafe { ring.push_unchecked(RecvProvided::new(socket, bufs.group())) }.expect("room");
        }
        ring.submit_and_wait(count as u32).expect("submitting");
        let mut received = 0;
        for cqe in ring.completions() {
            // SAFETY: this ring's completion, of a receive that picks one buffer of this group, handed in once.
            let mut delivery = unsafe { bufs.take(&cqe, Pick::One) }.expect("the kernel does not lie");
            each(delivery.next().expect("a buffer"));
            received += 1;
        }
        assert_eq!(received, count);
    }
}

fn of<D: Door>(size: u64, step: &mut Step) {
    let time = machine::time(step);
    let memory = Memory::now();
    let (make, mut door) = made::<D>(size);
    let (mut left, right) = UnixStream::pair().expect("sockets");
    let right = forever(right);
    let bytes = [7; SIZE * BATCH];
    let mut receive = |door: &mut D, count: usize, each: &mut dyn FnMut(Lease)| {
        left.write_all(&bytes[..SIZE * count]).expect("a socket has room");
        door.receive(right, count, each);
    };
    let batch = BATCH.min(size as usize);
    for (name, count) in [("receive, 1 a batch", 1), ("receive, 32 a batch", batch)] {
        let each = median_round(time, count as u64, || {
            receive(&mut door, count, &mut |lease| assert_eq!(lease[..], bytes[..SIZE]));
        });
        step.say(name, each);
    }
    let mut leases = Vec::with_capacity(size as usize);
    let mut times = Vec::new();
    while times.len() < 3 {
        while leases.len() < size as usize {
            let count = batch.min(size as usize - leases.len());
            receive(&mut door, count, &mut |lease| leases.push(lease));
        }
        fastrand::shuffle(&mut leases);
        let begin = Instant::now();
        leases.clear();
        times.push(nanoseconds(begin, size));
    }
    step.say("give back at random", median(times));
    memory.say(step, size);
    let others = (0..4).map(|_| made::<D>(size).0);
    step.say("make", median(others.chain([make]).collect()));
}

/// A ring with so many buffers, and what each took to make.
fn made<D: Door>(size: u64) -> (f64, D) {
    let mut ring = machine::ring(64, 128);
    let begin = Instant::now();
    let bufs = BufRing::setup(Group(0), size as u16, SIZE as u32).build(&mut ring).expect("a ring of buffers");
    (nanoseconds(begin, size), D::new(ring, bufs))
}
