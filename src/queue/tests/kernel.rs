//! The memory that both sides share, and the kernel's side of it: for the tests beside this file, for models of it under
//! the model checker, and for real threads.
//!
//! Every load, store and fence has the ordering of the kernel's own (Linux 7.3), with its place named. Where C has
//! what Rust's memory model has not, the nearest stronger thing stands, and the comment says why that hides nothing.

use core::ptr::NonNull;

use crate::queue::{Cq, CqWords, Mode, Slots, Sq, SqWords};
use crate::sqe::RawSqe;
use crate::sync::{AtomicU32, Ordering, UnsafeCell, Word, fence};
use rawring_sys as sys;

/// The shared memory of a ring. The queues made from it point into it, so it has to outlive them.
pub(super) struct Shared {
    pub(super) sq_head: AtomicU32,
    pub(super) sq_tail: AtomicU32,
    pub(super) sq_flags: AtomicU32,
    sq_dropped: AtomicU32,
    pub(super) cq_head: AtomicU32,
    pub(super) cq_tail: AtomicU32,
    cq_overflow: AtomicU32,
    sqes: Box<[UnsafeCell<RawSqe>]>,
    cqes: Box<[UnsafeCell<sys::io_uring_cqe>]>,
    mask: u32,
    shift: u32,
}

// SAFETY: who may touch a slot when is the protocol of the queues; that it is kept is what the models find out.
unsafe impl Sync for Shared {}

fn word(atomic: &AtomicU32) -> Word {
    // SAFETY: the memory outlives the queues, as `Shared` demands.
    unsafe { Word::new(NonNull::from(atomic)) }
}

impl Shared {
    /// Queues of `entries` slots each, which are two units wide with a shift of 1. All positions begin at `start`.
    pub(super) fn new(entries: u32, shift: u32, start: u32) -> Self {
        let units = entries << shift;
        let zero_cqe = || sys::io_uring_cqe { user_data: 0, res: 0, flags: 0, big_cqe: [] };
        Shared {
            sq_head: AtomicU32::new(start),
            sq_tail: AtomicU32::new(start),
            sq_flags: AtomicU32::new(0),
            sq_dropped: AtomicU32::new(0),
            cq_head: AtomicU32::new(start),
            cq_tail: AtomicU32::new(start),
            cq_overflow: AtomicU32::new(0),
            sqes: (0..units).map(|_| UnsafeCell::new(RawSqe::ZERO)).collect(),
            cqes: (0..units).map(|_| UnsafeCell::new(zero_cqe())).collect(),
            mask: entries - 1,
            shift,
        }
    }

    pub(super) fn sq(&self, mode: Mode) -> Sq {
        let (words, slots) = self.sq_parts();
        Sq::new(words, slots, mode)
    }

    /// What a submission queue here consists of.
    pub(super) fn sq_parts(&self) -> (SqWords, Slots<RawSqe>) {
        let words = SqWords {
            head: word(&self.sq_head),
            tail: word(&self.sq_tail),
            flags: word(&self.sq_flags),
            dropped: word(&self.sq_dropped),
        };
        // SAFETY: there are as many units as mask and shift say; they outlive the queue, as `Shared` demands.
        (words, unsafe { Slots::new(NonNull::from(&*self.sqes).cast(), self.mask, self.shift) })
    }

    pub(super) fn cq(&self, mixed: bool) -> Cq {
        // SAFETY: as in `sq`.
        let slots = unsafe { Slots::new(NonNull::from(&*self.cqes).cast(), self.mask, self.shift) };
        let words = CqWords { head: word(&self.cq_head), tail: word(&self.cq_tail), overflow: word(&self.cq_overflow) };
        Cq::new(words, slots, mixed, mixed)
    }

    /// Entries that the kernel may take.
    pub(super) fn entries(&self) -> u32 {
        // The kernel has its own head privately. Nobody else writes this one, so it is the same.
        let head = self.sq_head.load(Ordering::Relaxed);
        // smp_load_acquire in __io_sqring_entries (io_uring.h).
        self.sq_tail.load(Ordering::Acquire).wrapping_sub(head).min(self.mask + 1)
    }

    /// The kernel takes up to `n` entries (io_submit_sqes).
    pub(super) fn take(&self, n: u32) -> Vec<RawSqe> {
        let head = self.sq_head.load(Ordering::Relaxed);
        let taken: Vec<_> =
            (0..n.min(self.entries())).map(|i| self.slot((head.wrapping_add(i) & self.mask) << self.shift)).collect();
        if !taken.is_empty() {
            // smp_store_release in io_commit_sqring (io_uring.c), after the last entry was read.
            self.sq_head.store(head.wrapping_add(taken.len() as u32), Ordering::Release);
        }
        taken
    }

    /// What io_sq_thread (sqpoll.c) does when its idle time is over: it says that it has to be woken, looks once more, and
    /// sleeps until woken.
    pub(super) fn fall_asleep(&self, sleep: impl FnOnce()) {
        // atomic_or, which orders nothing, and smp_mb__after_atomic.
        self.sq_flags.fetch_or(sys::IORING_SQ_NEED_WAKEUP, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.entries() == 0 {
            sleep();
        }
        // atomic_andnot.
        self.sq_flags.fetch_and(!sys::IORING_SQ_NEED_WAKEUP, Ordering::Relaxed);
    }

    /// Whether the submission queue is full (__io_sqring_full, io_uring.h).
    #[cfg(loom)]
    pub(super) fn is_full(&self) -> bool {
        let tail = self.sq_tail.load(Ordering::Relaxed);
        tail.wrapping_sub(self.sq_head.load(Ordering::Relaxed)) == self.mask + 1
    }

    /// How many completions are in the queue (__io_cqring_events_user, wait.h).
    #[cfg(loom)]
    pub(super) fn posted(&self) -> u32 {
        self.cq_tail.load(Ordering::Relaxed).wrapping_sub(self.cq_head.load(Ordering::Relaxed))
    }

    /// The unit at `index` of the submission queue.
    pub(super) fn slot(&self, index: u32) -> RawSqe {
        // SAFETY: in bounds, or indexing panics. The kernel reads entries between its loads of tail and stores of head.
        self.sqes[index as usize].with(|unit| unsafe { unit.read() })
    }

    /// The kernel posts completions until the queue is full, and publishes them together; tells how many.
    pub(super) fn post_all(&self, cqes: &[(u64, u32)]) -> usize {
        let tail = self.cq_tail.load(Ordering::Relaxed);
        // READ_ONCE in io_cqring_queued (io_uring.c). The writes below depend on it, which in the kernel's memory model
        // orders them after it (comment at io_cqe_cache_refill). Rust has no such dependency; Acquire is what says it.
        // It would also order reads, but the kernel reads nothing that we write after this.
        let queued = tail.wrapping_sub(self.cq_head.load(Ordering::Acquire));
        let free = (self.mask + 1).saturating_sub(queued);
        let posted = cqes.iter().zip(0..free);
        let count = posted.len();
        for (&(user_data, flags), i) in posted {
            let index = (tail.wrapping_add(i) & self.mask) << self.shift;
            // SAFETY: in bounds, or indexing panics. The slot is free, so it is the kernel's.
            self.cqes[index as usize].with_mut(|unit| unsafe {
                (*unit).user_data = user_data;
                (*unit).res = 0;
                (*unit).flags = flags;
            });
        }
        if count > 0 {
            // smp_store_release in io_commit_cqring (io_uring.h), after the last completion was written.
            self.cq_tail.store(tail.wrapping_add(count as u32), Ordering::Release);
        }
        count
    }

    /// The kernel posts a completion, unless the queue is full.
    pub(super) fn post(&self, user_data: u64, flags: u32) -> bool {
        self.post_all(&[(user_data, flags)]) == 1
    }
}
