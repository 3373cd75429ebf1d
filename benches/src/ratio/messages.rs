//! Messages between two threads, back and forth: by rings, by eventfd, by a channel.
//!
//! A loop sends some numbers to the other thread, which answers with their sum plus one when all are there. The other
//! thread of each variant waits for its turn for as long as the process lives.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::mpsc;
use std::thread;

use io_uring::{IoUring, opcode, types};
use rawring::{Ring, op::MsgRing};
use rustix::event::{EventfdFlags, eventfd};

use super::{AGAIN, Column, Contest, Pace, Section, Variant};
use crate::rawring::ring_of_one_thread;

/// One side of a conversation.
trait Side {
    /// Sends `count` ones.
    fn send(&mut self, count: u32, value: u32);
    /// Waits for `count` messages and adds them up.
    fn receive(&mut self, count: u32) -> u32;
}

/// Lets both sides talk.
fn converse<S: Side + 'static>(mut here: S, count: u32) -> impl FnMut(u32) {
    move |loops| {
        for _ in 0..loops {
            here.send(count, 1);
            assert_eq!(here.receive(1), count + 1, "an answer to something else");
        }
    }
}

fn answer(mut there: impl Side, count: u32) {
    loop {
        let sum = there.receive(count);
        there.send(1, sum + 1);
    }
}

struct Channel(mpsc::Sender<u32>, mpsc::Receiver<u32>);

impl Side for Channel {
    fn send(&mut self, count: u32, value: u32) {
        for _ in 0..count {
            // At the end of the process the other side may be gone first.
            let _ = self.0.send(value);
        }
    }

    fn receive(&mut self, count: u32) -> u32 {
        (0..count)
            .map(|_| {
                self.1.recv().unwrap_or_else(|_| {
                    loop {
                        thread::park()
                    }
                })
            })
            .sum()
    }
}

fn channel(count: u32) -> impl FnMut(u32) {
    let (to, from_here) = mpsc::channel();
    let (to_here, from) = mpsc::channel();
    thread::spawn(move || answer(Channel(to_here, from_here), count));
    converse(Channel(to, from), count)
}

/// Counters: a message is what is added.
struct Events(std::sync::Arc<[std::os::fd::OwnedFd; 2]>, usize);

impl Side for Events {
    fn send(&mut self, count: u32, value: u32) {
        for _ in 0..count {
            rustix::io::write(&self.0[1 - self.1], &u64::from(value).to_ne_bytes()).expect("a message");
        }
    }

    /// How many came cannot be told: an answer comes alone, and the others are ones.
    fn receive(&mut self, count: u32) -> u32 {
        let mut sum = 0;
        while sum < count {
            let mut value = [0; 8];
            rustix::io::read(&self.0[self.1], &mut value).expect("a message");
            sum += u64::from_ne_bytes(value) as u32;
        }
        sum
    }
}

fn events(count: u32) -> impl FnMut(u32) {
    let both = [(); 2].map(|()| eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"));
    let both = std::sync::Arc::new(both);
    let there = Events(both.clone(), 1);
    thread::spawn(move || answer(there, count));
    converse(Events(both, 0), count)
}

const ENTRIES: u32 = 64;
/// What messages have for `user_data`; what sends them has 0.
const MESSAGE: u64 = 1;

struct Ours(Ring, RawFd);

impl Side for Ours {
    fn send(&mut self, count: u32, value: u32) {
        for _ in 0..count {
            // SAFETY: both threads live, with their rings, until the process ends.
            let to = unsafe { BorrowedFd::borrow_raw(self.1) };
            // SAFETY: nobody here takes a value for one on which memory depends.
            let message = unsafe { MsgRing::new(to, MESSAGE, value as i32) };
            // SAFETY: the entry names no memory, and its descriptor stays open, as above.
            unsafe { self.0.push_unchecked(message.skip_success()) }.expect("room");
        }
        self.0.submit().expect("submission");
    }

    fn receive(&mut self, count: u32) -> u32 {
        let (mut sum, mut left) = (0, count);
        while left > 0 {
            self.0.submit_and_wait(left).expect("waiting");
            for cqe in self.0.completions() {
                assert_eq!(cqe.user_data().0, MESSAGE, "sending failed");
                sum += cqe.result().expect("a message");
                left -= 1;
            }
        }
        sum
    }
}

fn ours(count: u32, ring: fn() -> Ring) -> impl FnMut(u32) {
    let here = ring();
    let fd_here = here.as_fd().as_raw_fd();
    let (to, from) = mpsc::channel();
    thread::spawn(move || {
        let there = ring();
        to.send(there.as_fd().as_raw_fd()).expect("somebody who waits for it");
        answer(Ours(there, fd_here), count);
    });
    converse(Ours(here, from.recv().expect("a ring on the other side")), count)
}

struct Theirs(IoUring, RawFd);

impl Side for Theirs {
    fn send(&mut self, count: u32, value: u32) {
        let mut queue = self.0.submission();
        for _ in 0..count {
            let message = opcode::MsgRingData::new(types::Fd(self.1), value as i32, MESSAGE, None).build();
            // SAFETY: the entry names no memory.
            unsafe { queue.push(&message.flags(io_uring::squeue::Flags::SKIP_SUCCESS)) }.expect("room");
        }
        drop(queue);
        self.0.submit().expect("submission");
    }

    fn receive(&mut self, count: u32) -> u32 {
        let (mut sum, mut left) = (0, count);
        while left > 0 {
            self.0.submit_and_wait(left as usize).expect("waiting");
            for cqe in self.0.completion() {
                assert_eq!(cqe.user_data(), MESSAGE, "sending failed");
                sum += u32::try_from(cqe.result()).expect("a message");
                left -= 1;
            }
        }
        sum
    }
}

fn theirs(count: u32) -> impl FnMut(u32) {
    let ring = || IoUring::new(ENTRIES).expect("a ring");
    let (here, there) = (ring(), ring());
    let (fd_here, fd_there) = (here.as_raw_fd(), there.as_raw_fd());
    thread::spawn(move || answer(Theirs(there, fd_here), count));
    converse(Theirs(here, fd_there), count)
}

fn contest(count: u32) -> Result<Contest, String> {
    let variants = vec![
        Variant::new("channel (std)", channel(count)),
        Variant::new(format!("channel (std){AGAIN}"), channel(count)),
        Variant::new("eventfd", events(count)),
        Variant::new("rawring, MSG_RING", ours(count, || Ring::new(ENTRIES).expect("a ring"))),
        Variant::new("rawring, one thread, MSG_RING", ours(count, || ring_of_one_thread(ENTRIES))),
        Variant::new("io-uring, MSG_RING", theirs(count)),
    ];
    Ok(Contest { operations: count + 1, variants, skipped: Vec::new() })
}

/// Threads that talk.
pub(super) fn section() -> Section {
    Section {
        name: "messages",
        note: "Messages to another thread, and an answer when all are there. Both threads are on one processor, so that \
               waking is a switch and nothing slower. A channel and its message stay in user space until somebody has to \
               be woken; a message by a ring reaches a thread that waits for everything else there, too.",
        unit: "message",
        pinned: true,
        pace: Pace::Slices,
        columns: vec![Column::new("1 and an answer", |_| contest(1)), Column::new("32 and an answer", |_| contest(32))],
        targets: Vec::new(),
        memory: None,
    }
}
