//! Half a million reads, each with a buffer of its own, through a ring of 256: how fast, and in how much memory.
//!
//! A slice goes on where the one before ended, so that every read goes to another buffer; after it (not counted) each
//! of its buffers has to have what is in the file where it was read, and is wiped. Buffers and file are shared by all
//! variants, but each begins somewhere else: what one has just used is in the inner caches.

use std::cell::Cell;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::rc::Rc;

use io_uring::{IoUring, opcode, types};
use rawring::{Event, InFlight, Ring, op};
use rawring_sys as sys;

use super::blocks::{PIECE, mark, marked_file};
use super::{AGAIN, BY_HAND, Column, Contest, Extent, Memory, Pace, Section, Target, Variant};
use crate::floor::ByHand;
use crate::rawring::ring_of_one_thread;
use crate::{MARK, opaque};

const READS: usize = 500_000;
/// Reads of a slice.
const SLICE: usize = 10_000;
/// Slots of the ring, and reads of a batch.
const BATCH: usize = 256;
const SIZE: usize = 16 << 20;

type Buffer = [u8; PIECE];

/// What is read from and into, for as long as the process lives.
#[derive(Clone, Copy)]
struct Job {
    file: &'static File,
    buffers: NonNull<[Buffer]>,
}

impl Job {
    fn new(reads: usize) -> Self {
        let file = Box::leak(Box::new(marked_file(SIZE)));
        // Written, so that no read meets a page that is not there yet.
        Job { file, buffers: NonNull::from(vec![[!0; PIECE]; reads].leak()) }
    }

    /// The buffers of one slice, and the number of the first.
    ///
    /// # Safety
    ///
    /// What was lent before is not used any more, by the kernel either.
    unsafe fn lend(self, slice: usize) -> Slice {
        let first = slice * SLICE % self.buffers.len();
        // SAFETY: the memory is never freed, and nobody else uses it (the caller's promise).
        let all: &'static mut [Buffer] = unsafe { &mut *self.buffers.as_ptr() };
        Slice { first, buffers: &mut all[first..first + SLICE] }
    }

    /// Whether all of it was read, and away with it.
    fn check(self, slice: usize) {
        // SAFETY: no variant runs, and each ends when its reads have.
        let Slice { first, buffers } = unsafe { self.lend(slice) };
        for (buffer, number) in buffers.iter_mut().zip(first..) {
            assert_eq!(buffer[..8], mark(offset(number)), "a read is missing");
            buffer[..8].fill(!0);
        }
    }

    fn variant(self, place: usize, name: impl Into<String>, mut run: impl FnMut(Slice) + 'static) -> Variant {
        // No two of the variants at the same place.
        let slice = Rc::new(Cell::new(place * (READS / SLICE / 8)));
        let latest = slice.clone();
        let run = move |loops| {
            assert_eq!(loops, 1, "it is checked after each slice");
            slice.set(slice.get() + 1);
            // SAFETY: one variant runs after the other, and each ends when its reads have.
            run(unsafe { self.lend(slice.get()) });
        };
        Variant { name: name.into(), run: Box::new(run), settle: Box::new(move || self.check(latest.get())) }
    }
}

/// The buffers of a slice.
struct Slice {
    /// The number of the first.
    first: usize,
    buffers: &'static mut [Buffer],
}

impl Slice {
    /// Its batches, each with the number of its first read.
    fn batches(self) -> impl Iterator<Item = (usize, &'static mut [Buffer])> {
        (self.first..).step_by(BATCH).zip(self.buffers.chunks_mut(BATCH))
    }
}

/// Where in the file the read with this number is: all over it.
fn offset(number: usize) -> u64 {
    let scattered = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    scattered % (SIZE / PIECE) as u64 * PIECE as u64
}

fn by_hand(job: Job) -> impl FnMut(Slice) {
    let mut ring = ByHand::<true, false>::new(BATCH as u32);
    move |slice| {
        for (first, batch) in slice.batches() {
            let sum = ring.round(batch.len() as u32, |number| sys::io_uring_sqe {
                opcode: sys::IORING_OP_READ,
                fd: job.file.as_raw_fd(),
                off: offset(first + number as usize),
                addr: batch[number as usize].as_mut_ptr() as u64,
                len: PIECE as u32,
                user_data: MARK,
                ..sys::io_uring_sqe::ZERO
            });
            assert_eq!(sum, MARK * batch.len() as u64);
        }
    }
}

fn unchecked(job: Job, mut ring: Ring) -> impl FnMut(Slice) {
    move |slice| {
        for (first, batch) in slice.batches() {
            let count = batch.len() as u32;
            for (buffer, number) in batch.iter_mut().zip(first..) {
                let read = op::Read::new(job.file.as_fd(), &mut buffer[..]).offset(offset(number)).user_data(MARK);
                // SAFETY: file and buffer are never freed, and nobody uses the buffer before the reads have ended.
                unsafe { ring.push_unchecked(read) }.expect("room");
            }
            ring.submit_and_wait(count).expect("submission");
            let sum: u64 = ring.completions().map(|cqe| opaque(cqe.user_data().0)).sum();
            assert_eq!(sum, MARK * u64::from(count));
        }
    }
}

fn scope(job: Job) -> impl FnMut(Slice) {
    let mut ring = Ring::new(BATCH as u32).expect("a ring");
    move |slice| {
        let all = ring.scope(|scope| {
            for (first, batch) in slice.batches() {
                let count = batch.len();
                for (buffer, number) in batch.iter_mut().zip(first..) {
                    let read = op::Read::new(job.file.as_fd(), &mut buffer[..]).offset(offset(number));
                    scope.push(read).expect("room");
                }
                scope.submit_and_wait(count as u32).expect("submission");
                assert_eq!(scope.completions().count(), count);
            }
        });
        all.expect("a scope");
    }
}

fn in_flight(job: Job) -> impl FnMut(Slice) {
    let mut ring = InFlight::new(Ring::new(BATCH as u32).expect("a ring")).expect("a ring that can cancel");
    move |slice| {
        for (first, batch) in slice.batches() {
            let count = batch.len();
            for (buffer, number) in batch.iter_mut().zip(first..) {
                let (file, at) = (job.file.as_fd(), offset(number));
                ring.start(buffer, |buffer| op::Read::new(file, &mut buffer[..]).offset(at).into()).expect("room");
            }
            ring.submit_and_wait(count as u32).expect("submission");
            let mut done = 0;
            while let Some(event) = ring.next_event() {
                assert!(matches!(event, Event::Done(_)), "none of them reports more than once");
                done += 1;
            }
            assert_eq!(done, count);
        }
    }
}

fn theirs(job: Job) -> impl FnMut(Slice) {
    let mut ring = IoUring::new(BATCH as u32).expect("a ring");
    move |slice| {
        let fd = types::Fd(job.file.as_raw_fd());
        for (first, batch) in slice.batches() {
            let mut queue = ring.submission();
            for (buffer, number) in batch.iter_mut().zip(first..) {
                let read = opcode::Read::new(fd, buffer.as_mut_ptr(), PIECE as u32).offset(offset(number));
                // SAFETY: as for rawring.
                unsafe { queue.push(&read.build().user_data(MARK)) }.expect("room");
            }
            drop(queue);
            ring.submit_and_wait(batch.len()).expect("submission");
            let sum: u64 = ring.completion().map(|cqe| opaque(cqe.user_data())).sum();
            assert_eq!(sum, MARK * batch.len() as u64);
        }
    }
}

fn contest(extent: Extent) -> Result<Contest, String> {
    let reads = if extent == Extent::Smoke { SLICE } else { READS };
    let job = Job::new(reads);
    let variants = vec![
        job.variant(0, BY_HAND, by_hand(job)),
        job.variant(1, format!("{BY_HAND}{AGAIN}"), by_hand(job)),
        job.variant(2, "rawring push_unchecked", unchecked(job, Ring::new(BATCH as u32).expect("a ring"))),
        job.variant(3, "rawring, one thread", unchecked(job, ring_of_one_thread(BATCH as u32))),
        job.variant(4, "rawring scope", scope(job)),
        job.variant(5, "rawring InFlight", in_flight(job)),
        job.variant(6, "io-uring", theirs(job)),
    ];
    Ok(Contest { operations: SLICE as u32, variants, skipped: Vec::new() })
}

/// Many reads.
pub(super) fn section() -> Section {
    // Of operations a second, 0.97 at least.
    let most = || vec![1.0 / 0.97];
    let target = |who| Target { who, against: BY_HAND, most: most() };
    Section {
        name: "half a million reads",
        note: "500,000 reads of 256 bytes from the page cache, each into a buffer of its own, through a ring of 256, in \
               50 slices, with the buffers touched before. What is resident of a process includes the program itself.",
        unit: "read",
        pinned: true,
        pace: Pace::Commands { rounds: (READS / SLICE) as u32, executions: 8 },
        columns: vec![Column::new("500,000 reads", contest)],
        targets: vec![
            target("rawring push_unchecked"),
            target("rawring, one thread"),
            target("rawring scope"),
            target("rawring InFlight"),
        ],
        memory: Some(Memory { buffers: (READS * PIECE) as u64, most: 5 << 20 }),
    }
}
