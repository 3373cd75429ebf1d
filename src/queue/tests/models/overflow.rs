//! Models of overflow: what finds the completion queue full waits on a list in the kernel until a call moves it in.

use super::*;
use crate::queue::{Cq, Sq};

impl Kernel {
    /// io_req_complete_post, or io_post_aux_cqe, with io_cqe_overflow and io_cqring_add_overflow (io_uring.c).
    fn complete(&self, key: u64) {
        let mut overflowed = self.overflowed.lock().expect("no panic");
        // Nothing overtakes what overflowed (io_cqe_cache_refill).
        if !overflowed.is_empty() || !self.shared.post(key, 0) {
            if overflowed.is_empty() {
                // atomic_or, which orders nothing.
                self.shared.sq_flags.fetch_or(sys::IORING_SQ_CQ_OVERFLOW, Ordering::Relaxed);
            }
            overflowed.push(key);
        }
        drop(overflowed);
        // io_cq_unlock_post: io_cqring_wake.
        if self.completions.has_sleeper() {
            self.completions.wake();
        }
    }

    /// io_cqring_do_overflow_flush (io_uring.c).
    fn flush(&self) {
        let mut overflowed = self.overflowed.lock().expect("no panic");
        if overflowed.is_empty() {
            return;
        }
        let all: Vec<_> = overflowed.iter().map(|&key| (key, 0)).collect();
        overflowed.drain(..self.shared.post_all(&all));
        if overflowed.is_empty() {
            // atomic_andnot.
            self.shared.sq_flags.fetch_and(!sys::IORING_SQ_CQ_OVERFLOW, Ordering::Relaxed);
        }
    }

    /// io_cqring_wait (wait.c).
    pub(super) fn wait_for_completions(&self, min_complete: u32) {
        self.flush();
        while self.shared.posted() < min_complete {
            self.completions.prepare();
            self.flush();
            if self.shared.posted() < min_complete {
                self.completions.schedule();
            }
        }
        self.completions.finish();
    }
}

/// Completes one operation more than the queue holds and reaps them with `visit`, which enters the kernel where the queues ask for it, and may
/// do so for no better reason than that nothing was found.
fn nothing_is_lost(
    preemptions: impl Into<Option<usize>>,
    visit: impl Fn(&Kernel, &mut Sq, &Cq) + Copy + Send + Sync + 'static,
) {
    check_bounded(preemptions, move |entries| {
        let kernel = Kernel::new(entries);
        let worker = thread::spawn({
            let kernel = kernel.clone();
            move || (0..=entries.into()).for_each(|key| kernel.complete(key))
        });
        let (mut sq, mut cq) = (kernel.shared.sq(Mode::default()), kernel.shared.cq(false));
        let mut keys = Vec::new();
        while keys.len() <= entries as usize {
            visit(&kernel, &mut sq, &cq);
            keys.extend(cq.snapshot().map(|cqe| cqe.user_data().0));
        }
        assert!(keys.iter().copied().eq(0..=entries.into()), "{keys:?}");
        worker.join().expect("no panic");
        assert_eq!(sq.flags(), 0, "the flag went with the last that overflowed");
    });
}

#[test]
fn peeking_brings_in_what_overflowed() {
    nothing_is_lost(None, |kernel, sq, cq| {
        // As Ring::peek.
        if sq.asks_for_visit() {
            kernel.enter(Enter { to_submit: 0, min_complete: 0, flags: sys::IORING_ENTER_GETEVENTS });
        } else if cq.ready() == 0 {
            thread::yield_now();
        }
    });
}

#[test]
fn submitting_brings_in_what_overflowed() {
    nothing_is_lost(None, |kernel, sq, cq| {
        // As Ring::submit.
        if let Some(enter) = sq.plan(0, 0) {
            kernel.enter(enter);
        } else if cq.ready() == 0 {
            thread::yield_now();
        }
    });
}

#[test]
fn waiting_ends_when_what_overflowed_is_in() {
    nothing_is_lost(3, |kernel, sq, cq| {
        // As Ring::submit_and_wait.
        let want = u32::from(cq.ready() == 0);
        if let Some(enter) = sq.plan(want, 0) {
            kernel.enter(enter);
        }
    });
}
