//! Models of the queues for the model checker: `RUSTFLAGS="--cfg loom" cargo test -p rawring --lib --release models`.
//!
//! A model is a small program of two threads, our side and the kernel's. The checker runs it with every interleaving
//! and lets every load see every value that the memory model allows. It objects when a slot is read or written without
//! a happens-before, when a thread waits for ever, and when an assertion fails. `.ci/weaken` weakens each ordering of
//! the queues in turn and demands an objection, so that none stands there for show.
//!
//! All positions begin just below the wrap, in queues of one and two slots. One file for each protocol; that of
//! provided-buffer rings is `provided`, that of zero-copy receive `refill`. The model of wake-ups is beside what it is of
//! (`waker.rs`).

use std::sync::Arc;

use loom::model::Builder;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::kernel::Shared;
use super::{START, entry, pop};
use crate::queue::{Enter, Mode};
use crate::sync::{AtomicU32, Ordering, fence};
use rawring_sys as sys;

mod completion;
mod overflow;
mod provided;
mod refill;
mod resize;
mod signals;
mod submission;

/// Runs `model` for queues of one and of two slots, in all orders.
fn check(model: impl Fn(u32) + Copy + Send + Sync + 'static) {
    check_bounded(None, model);
}

/// As [`check`], for models with too many orders: leaves out those in which threads are preempted more than
/// `preemptions` times. Threads that block or yield are not preempted, and what a load may see is not bounded.
fn check_bounded(preemptions: impl Into<Option<usize>>, model: impl Fn(u32) + Copy + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions.into();
    for entries in [1, 2] {
        builder.check(move || model(entries));
    }
}

/// A wait queue of the kernel with at most one sleeper, who says so before it looks for the last time.
struct WaitQueue {
    /// The queue's list, which wakers may test without the lock.
    listed: AtomicU32,
    asleep: Mutex<bool>,
    woken: Condvar,
}

impl WaitQueue {
    fn new() -> Self {
        WaitQueue { listed: AtomicU32::new(0), asleep: Mutex::new(false), woken: Condvar::new() }
    }

    /// prepare_to_wait (kernel/sched/wait.c): on the list, then set_current_state, which ends in a full barrier.
    fn prepare(&self) {
        let mut asleep = self.asleep.lock().expect("no panic");
        self.listed.store(1, Ordering::Relaxed);
        *asleep = true;
        fence(Ordering::SeqCst);
    }

    /// schedule: sleeps, unless woken since `prepare`.
    fn schedule(&self) {
        let mut asleep = self.asleep.lock().expect("no panic");
        while *asleep {
            asleep = self.woken.wait(asleep).expect("no panic");
        }
    }

    /// finish_wait.
    fn finish(&self) {
        *self.asleep.lock().expect("no panic") = false;
        self.listed.store(0, Ordering::Relaxed);
    }

    /// wake_up: always takes the lock.
    fn wake(&self) {
        *self.asleep.lock().expect("no panic") = false;
        self.woken.notify_one();
    }

    /// wq_has_sleeper (include/linux/wait.h): a full barrier, then a look without the lock.
    fn has_sleeper(&self) -> bool {
        fence(Ordering::SeqCst);
        self.listed.load(Ordering::Relaxed) != 0
    }
}

/// A ring's shared memory, and what the kernel keeps beside it.
struct Kernel {
    shared: Shared,
    /// `sqd->wait`: the polling thread sleeps here.
    poller: WaitQueue,
    /// `ctx->sqo_sq_wait`: who waits for room in the submission queue sleeps here.
    room: WaitQueue,
    /// `ctx->cq_wait`: who waits for completions sleeps here.
    completions: WaitQueue,
    /// `ctx->completion_lock`, and the list of completions that found the queue full.
    overflowed: Mutex<Vec<u64>>,
}

impl Kernel {
    fn new(entries: u32) -> Arc<Kernel> {
        Arc::new(Kernel {
            shared: Shared::new(entries, 0, START),
            poller: WaitQueue::new(),
            room: WaitQueue::new(),
            completions: WaitQueue::new(),
            overflowed: Mutex::new(Vec::new()),
        })
    }

    /// io_uring_enter (io_uring.c) on a ring with a polling thread.
    fn enter(&self, enter: Enter) {
        let Enter { to_submit: _, min_complete, flags } = enter;
        if flags & sys::IORING_ENTER_SQ_WAKEUP != 0 {
            self.poller.wake();
        }
        if flags & sys::IORING_ENTER_SQ_WAIT != 0 {
            self.wait_for_room();
        }
        if flags & sys::IORING_ENTER_GETEVENTS != 0 {
            self.wait_for_completions(min_complete);
        }
    }
}
