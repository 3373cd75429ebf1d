//! rawring, by each of its doors.

use rawring::{Event, InFlight, Ring, Scope, Sqe, op};
use std::os::fd::BorrowedFd;

use crate::{LARGEST, MARK, Placed, Reads, Rounds, Work, opaque};

fn ring(work: Work) -> Ring {
    let setup = Ring::setup(LARGEST);
    let setup = if work == Work::NopWide { setup.sqe128().cqe32() } else { setup };
    setup.build().expect("a ring")
}

/// A ring as recommended for one thread.
pub(crate) fn ring_of_one_thread(entries: u32) -> Ring {
    Ring::setup(entries).single_thread().build().expect("a ring")
}

#[inline(always)]
fn nop() -> Sqe<'static> {
    op::Nop::new().user_data(MARK).into()
}

/// The next read of a batch.
///
/// # Safety
///
/// The buffer of this number is in no other operation, and `reads` lives until the operation is over.
#[inline(always)]
unsafe fn read<'a>(reads: &mut Reads, number: u32) -> Sqe<'a> {
    let (buffer, offset) = reads.next(number);
    // SAFETY: the file is open as long as `reads` lives.
    let file = unsafe { BorrowedFd::borrow_raw(reads.fd()) };
    // SAFETY: the caller's promise.
    op::Read::new(file, unsafe { &mut *buffer }).offset(offset).user_data(MARK).into()
}

#[inline(always)]
fn finish(ring: &mut Ring, batch: u32) -> u64 {
    ring.submit_and_wait(batch).expect("submission");
    ring.completions().map(|cqe| opaque(cqe.user_data().0)).sum()
}

struct Nops(Ring);

impl Rounds for Nops {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        for _ in 0..batch {
            // SAFETY: the entry names nothing.
            unsafe { self.0.push_unchecked(nop()) }.expect("room");
        }
        finish(&mut self.0, batch)
    }
}

struct Blocks(Ring, Reads);

impl Rounds for Blocks {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        for number in 0..batch {
            // SAFETY: each number is in one operation of the batch, and all of them complete before the next. The
            // buffers live until then.
            unsafe { self.0.push_unchecked(read(&mut self.1, number)) }.expect("room");
        }
        finish(&mut self.0, batch)
    }

    fn check(&self, batch: u32) {
        self.1.check(batch);
    }
}

/// By the door that checks nothing but the room.
pub(crate) fn unchecked(work: Work) -> Option<Box<dyn Placed>> {
    Some(match work {
        Work::Nop | Work::NopWide => Box::new(Nops(ring(work))),
        Work::Read => Box::new(Blocks(ring(work), Reads::new())),
    })
}

/// By the same door, with the ring that is recommended for one thread.
pub(crate) fn one_thread(work: Work) -> Option<Box<dyn Placed>> {
    match work {
        Work::Nop => Some(Box::new(Nops(ring_of_one_thread(LARGEST)))),
        Work::Read => Some(Box::new(Blocks(ring_of_one_thread(LARGEST), Reads::new()))),
        Work::NopWide => None,
    }
}

struct SafeNops(Ring);

impl Rounds for SafeNops {
    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        for _ in 0..batch {
            self.0.push(nop()).expect("room");
        }
        finish(&mut self.0, batch)
    }
}

/// By the safe door for what borrows nothing, which a read does.
pub(crate) fn push(work: Work) -> Option<Box<dyn Placed>> {
    match work {
        Work::Nop | Work::NopWide => Some(Box::new(SafeNops(ring(work)))),
        Work::Read => None,
    }
}

struct Lent<S: 'static> {
    ring: InFlight<S>,
    idle: Vec<S>,
    reads: Reads,
}

impl<S> Lent<S> {
    fn new(work: Work, state: impl Fn() -> S) -> Self {
        let ring = InFlight::new(ring(work)).expect("a ring that can cancel");
        Lent { ring, idle: (0..LARGEST).map(|_| state()).collect(), reads: Reads::new() }
    }

    #[inline(always)]
    fn finish(&mut self, batch: u32) -> u64 {
        self.ring.submit_and_wait(batch).expect("submission");
        let mut done = 0_u64;
        while let Some(event) = self.ring.next_event() {
            let Event::Done(ended) = event else { panic!("none of them reports more than once") };
            self.idle.push(ended.state);
            done += 1;
        }
        // Its operations have a `user_data` of the crate's.
        done * MARK
    }
}

impl Rounds for Lent<()> {
    const COPIED: bool = false;

    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        for _ in 0..batch {
            // As with any state: taken, lent, and put back.
            self.idle.pop().expect("a state");
            self.ring.start((), |_| nop()).expect("room");
        }
        self.finish(batch)
    }
}

impl Rounds for Lent<Box<[u8; Reads::LEN]>> {
    const COPIED: bool = false;

    #[inline(always)]
    fn round(&mut self, batch: u32) -> u64 {
        for number in 0..batch {
            let (_, offset) = self.reads.next(number);
            // SAFETY: the file is open as long as `reads` lives, which is dropped after the ring.
            let file = unsafe { BorrowedFd::borrow_raw(self.reads.fd()) };
            let state = self.idle.pop().expect("a state");
            self.ring.start(state, |bytes| op::Read::new(file, &mut bytes[..]).offset(offset).into()).expect("room");
        }
        self.finish(batch)
    }
}

/// By the safe door for states that are lent to the kernel, each used again and again.
pub(crate) fn in_flight(work: Work) -> Option<Box<dyn Placed>> {
    Some(match work {
        Work::Nop | Work::NopWide => Box::new(Lent::new(work, || ())),
        Work::Read => Box::new(Lent::new(work, || Box::new([0; Reads::LEN]))),
    })
}

struct Scoped<const READ: bool>(Ring, Reads);

impl<const READ: bool> Rounds for Scoped<READ> {
    const COPIED: bool = false;

    fn round(&mut self, batch: u32) -> u64 {
        self.rounds(1, batch);
        MARK * u64::from(batch)
    }

    /// In one scope: opening it anew for each round would be another way to work.
    #[inline(always)]
    fn rounds(&mut self, loops: u32, batch: u32) {
        let Scoped(ring, reads) = self;
        let rounds = |scope: &mut Scope<'_, '_>| {
            let mut done = 0;
            for _ in 0..loops {
                for number in 0..batch {
                    // SAFETY: as in `Blocks`.
                    let entry = if READ { unsafe { read(reads, number) } } else { nop() };
                    scope.push(entry).expect("room");
                }
                scope.submit_and_wait(batch).expect("submission");
                done += scope.completions().count() as u64;
            }
            done
        };
        assert_eq!(ring.scope(rounds).expect("a scope"), u64::from(loops) * u64::from(batch));
        if READ {
            reads.check(batch);
        }
    }
}

/// By the safe door for what borrows from the stack.
pub(crate) fn scope(work: Work) -> Option<Box<dyn Placed>> {
    Some(match work {
        Work::Nop | Work::NopWide => Box::new(Scoped::<false>(ring(work), Reads::new())),
        Work::Read => Box::new(Scoped::<true>(ring(work), Reads::new())),
    })
}
