//! Operations in flight: many reads of an empty pipe, which stay pending, and what others cost beside them.
//!
//! All pending reads are of one pipe, so that no limit of descriptors counts: what grows is what ring, crate and kernel
//! keep of operations, not of files. The memory of the unchecked door's operations, and the descriptors, are never
//! freed: so nothing can be in flight that outlives what it names.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rawring::op::{Cancel, CancelAny, Nop, Read};
use rawring::{Event, InFlight, Ring, Ticket};
use rustix::pipe::pipe;

use crate::curve::{Family, KERNEL_MEMORY, MEMORY, Step, ns};
use crate::machine::{self, Memory, forever, median, median_round, nanoseconds};

pub const FAMILY: Family = Family {
    name: "in-flight",
    title: "Operations in flight",
    about: "Reads of 16 bytes of an empty pipe are started and stay pending. Beside them run batches of 32 NOPs, and of 32 \
            reads of other pipes that are written to (with the write). Then 32 of the pending reads, at random, are \
            cancelled by key. They all end when the writing end of the pipe is closed; or, in rounds of their own, by \
            cancelling: by `shutdown`, or, up to 16,384, by one entry that cancels everything. The completion queue has 512 \
            entries, or as many as the name says. Memory is for each operation, with its buffer; that of the kernel is \
            what all of its objects grew by.",
    of: "in flight",
    variants: &["InFlight", "push_unchecked", "push_unchecked, 16,384 completions"],
    measures: &[
        ns("start"),
        ns("NOP beside"),
        ns("read beside"),
        ns("cancel one"),
        ns("end all"),
        ns("cancel all"),
        MEMORY,
        KERNEL_MEMORY,
    ],
    steps: &[1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1_000_000],
    smoke: 1 << 10,
    measure,
};

/// Operations that are submitted at once.
const BATCH: usize = 32;
const BUFFER: usize = 16;
/// What an operation may need at most, of both memories.
const NEEDED: f64 = 2048.0;
/// Entries of the submission queue.
const ENTRIES: u32 = 256;

/// A way to the kernel.
trait Door {
    /// The most that are cancelled together.
    const CANCELLED: u64;
    /// For operations in so many slots.
    fn new(ring: Ring, slots: usize) -> Self;
    /// Starts a read in a slot that is free.
    fn read(&mut self, slot: usize, file: BorrowedFd<'static>);
    /// Starts a NOP in a slot that is free.
    fn nop(&mut self, slot: usize);
    /// Asks for the end of what is pending in a slot.
    fn cancel(&mut self, slot: usize);
    fn enter(&mut self, want: u32);
    /// Operations that ended since it was last asked.
    fn reap(&mut self) -> usize;
    /// Cancels all that is pending.
    fn cancel_all(self, pending: usize);

    /// Submits, and waits until so many operations have ended.
    fn finish(&mut self, mut operations: usize) {
        while operations > 0 {
            self.enter(1);
            operations -= self.reap();
        }
    }
}

struct Safe {
    ring: InFlight<[u8; BUFFER]>,
    tickets: Vec<Option<Ticket>>,
}

impl Door for Safe {
    const CANCELLED: u64 = u64::MAX;

    fn new(ring: Ring, slots: usize) -> Self {
        Safe { ring: InFlight::new(ring).expect("Linux 5.19"), tickets: vec![None; slots] }
    }

    fn read(&mut self, slot: usize, file: BorrowedFd<'static>) {
        let started = self.ring.start([0; BUFFER], move |bytes| Read::new(file, bytes).into());
        self.tickets[slot] = Some(started.expect("room"));
    }

    fn nop(&mut self, slot: usize) {
        let started = self.ring.start([0; BUFFER], |_| Nop::new().into());
        self.tickets[slot] = Some(started.expect("room"));
    }

    fn cancel(&mut self, slot: usize) {
        self.ring.cancel(self.tickets[slot].expect("it was started")).expect("room");
    }

    fn enter(&mut self, want: u32) {
        self.ring.submit_and_wait(want).expect("submitting");
    }

    fn reap(&mut self) -> usize {
        let mut ended = 0;
        while let Some(event) = self.ring.next_event() {
            ended += usize::from(matches!(event, Event::Done(_)));
        }
        ended
    }

    fn cancel_all(self, pending: usize) {
        let drained = self.ring.shutdown().expect("an end");
        assert_eq!(drained.ended.len(), pending);
    }
}

struct Unchecked {
    ring: Ring,
    /// Of buffers that are never freed, one for each slot.
    buffers: *mut [u8; BUFFER],
}

/// The `user_data` of what is no operation in a slot.
const ASIDE: u64 = u64::MAX;

impl Door for Unchecked {
    /// The kernel looks at each that it has cancelled already for each that it looks for, in one call that no signal ends:
    /// minutes for four times as many.
    const CANCELLED: u64 = 1 << 14;

    fn new(ring: Ring, slots: usize) -> Self {
        // Not zeros, which would be no memory before they are written to.
        let buffers = Box::leak(vec![[1; BUFFER]; slots].into_boxed_slice());
        Unchecked { ring, buffers: buffers.as_mut_ptr() }
    }

    fn read(&mut self, slot: usize, file: BorrowedFd<'static>) {
        // SAFETY: the slot is below the number that was asked for, and free, so nobody else has this buffer.
        let buffer = unsafe { &mut *self.buffers.add(slot) };
        // SAFETY: buffer and file stay for good, the slot is not used again before the end, and the value is small.
        unsafe { self.ring.push_unchecked(Read::new(file, buffer).user_data(slot as u64)) }.expect("room");
    }

    fn nop(&mut self, slot: usize) {
        // SAFETY: it names nothing, and the value is small.
        unsafe { self.ring.push_unchecked(Nop::new().user_data(slot as u64)) }.expect("room");
    }

    fn cancel(&mut self, slot: usize) {
        self.ring.push(Cancel::new(slot as u64).user_data(ASIDE)).expect("room");
    }

    fn enter(&mut self, want: u32) {
        self.ring.submit_and_wait(want).expect("submitting");
    }

    fn reap(&mut self) -> usize {
        self.ring.completions().filter(|cqe| cqe.user_data().0 != ASIDE).count()
    }

    fn cancel_all(mut self, pending: usize) {
        self.ring.push(CancelAny::new().user_data(ASIDE)).expect("room");
        self.finish(pending);
    }
}

fn measure(variant: usize, size: u64, step: &mut Step) -> Result<(), String> {
    if machine::available() < size as f64 * NEEDED {
        return Err(format!("{NEEDED} bytes each would not fit into memory"));
    }
    match variant {
        0 => of::<Safe>(2 * ENTRIES, size, step),
        1 => of::<Unchecked>(2 * ENTRIES, size, step),
        _ => of::<Unchecked>(1 << 14, size, step),
    }
    Ok(())
}

fn of<D: Door>(completions: u32, size: u64, step: &mut Step) {
    let time = machine::time(step);
    let new = || Pending::<D>::new(completions, size as usize);
    let memory = Memory::now();
    let mut first = new();
    let start = first.start();
    memory.say(step, size);
    beside(&mut first, time, step);
    step.say("cancel one", first.cancel_some(time));
    let (mut starts, mut ends) = (vec![start], vec![first.end()]);
    let mut cancellations = Vec::new();
    while starts.len() < 3 || starts.iter().sum::<f64>() * (size as f64) < time.as_nanos() as f64 {
        let mut again = new();
        starts.push(again.start());
        ends.push(again.end());
        if size <= D::CANCELLED {
            let mut again = new();
            starts.push(again.start());
            let begin = Instant::now();
            again.door.cancel_all(again.count);
            cancellations.push(nanoseconds(begin, size));
        }
    }
    step.say("start", median(starts));
    step.say("end all", median(ends));
    if size <= D::CANCELLED {
        step.say("cancel all", median(cancellations));
    }
}

/// What operations cost that complete while others are pending.
fn beside<D: Door>(pending: &mut Pending<D>, time: Duration, step: &mut Step) {
    let Pending { door, count, .. } = pending;
    let nops = median_round(time, BATCH as u64, || {
        (0..BATCH).for_each(|other| door.nop(*count + other));
        door.finish(BATCH);
    });
    step.say("NOP beside", nops);
    let others: Vec<_> = (0..BATCH).map(|_| pipe().expect("a pipe")).collect();
    let others: Vec<_> = others.into_iter().map(|(reader, writer)| (forever(reader), writer)).collect();
    let reads = median_round(time, BATCH as u64, || {
        others.iter().enumerate().for_each(|(other, (reader, _))| door.read(*count + other, *reader));
        door.enter(0);
        for (_, writer) in &others {
            rustix::io::write(writer, &[1]).expect("a pipe has room");
        }
        door.finish(BATCH);
    });
    step.say("read beside", reads);
}

/// A door with operations that wait for a pipe.
struct Pending<D> {
    door: D,
    count: usize,
    reader: BorrowedFd<'static>,
    writer: OwnedFd,
}

impl<D: Door> Pending<D> {
    fn new(completions: u32, count: usize) -> Self {
        let (reader, writer) = pipe().expect("a pipe");
        let door = D::new(machine::ring(ENTRIES, completions), count + BATCH);
        Pending { door, count, reader: forever(reader), writer }
    }

    /// Starts them all, and tells what each took.
    fn start(&mut self) -> f64 {
        let begin = Instant::now();
        for first in (0..self.count).step_by(BATCH) {
            (first..self.count.min(first + BATCH)).for_each(|slot| self.door.read(slot, self.reader));
            self.door.enter(0);
        }
        let each = nanoseconds(begin, self.count as u64);
        assert_eq!(self.door.reap(), 0, "nothing is there to read");
        each
    }

    /// What it takes to cancel one of them; each is started again.
    fn cancel_some(&mut self, time: Duration) -> f64 {
        let Pending { door, count, reader, .. } = self;
        let some = BATCH.min(*count);
        let mut times = Vec::new();
        let start = Instant::now();
        while times.len() < 3 || start.elapsed() < time {
            let chosen = fastrand::choose_multiple(0..*count, some);
            let begin = Instant::now();
            chosen.iter().for_each(|slot| door.cancel(*slot));
            door.finish(some);
            times.push(nanoseconds(begin, some as u64));
            chosen.into_iter().for_each(|slot| door.read(slot, *reader));
            door.enter(0);
        }
        median(times)
    }

    /// Lets them all end, and tells what each took.
    fn end(mut self) -> f64 {
        let begin = Instant::now();
        drop(self.writer);
        self.door.finish(self.count);
        nanoseconds(begin, self.count as u64)
    }
}
