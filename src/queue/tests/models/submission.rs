//! Models of the submission queue with a polling thread. Without one the kernel touches the queue only inside our own
//! system call, and there is nothing to model.

use super::*;

const POLLED: Mode = Mode { polled: true, fetch: false, mixed: false, rewind: false };

impl Kernel {
    /// io_sq_thread (sqpoll.c) until it has taken `count` entries; gives their keys. It goes to sleep as soon as it
    /// finds nothing, which is what a thread does whose idle time is over.
    fn poll(&self, count: usize) -> Vec<u64> {
        let mut keys = Vec::new();
        loop {
            let taken = self.shared.take(u32::MAX);
            keys.extend(taken.iter().map(|sqe| sqe.user_data));
            if !taken.is_empty() && self.room.has_sleeper() {
                self.room.wake();
            }
            if keys.len() >= count {
                return keys;
            }
            if !taken.is_empty() {
                continue;
            }
            self.poller.prepare();
            self.shared.fall_asleep(|| self.poller.schedule());
            self.poller.finish();
        }
    }

    /// io_sqpoll_wait_sq (sqpoll.c).
    pub(super) fn wait_for_room(&self) {
        while self.shared.is_full() {
            self.room.prepare();
            if !self.shared.is_full() {
                break;
            }
            self.room.schedule();
        }
        self.room.finish();
    }
}

/// A polling thread that never sleeps.
fn spin(kernel: &Kernel, count: usize) -> Vec<u64> {
    let mut keys = Vec::new();
    while keys.len() < count {
        let taken = kernel.shared.take(u32::MAX);
        if taken.is_empty() {
            thread::yield_now();
        }
        keys.extend(taken.iter().map(|sqe| sqe.user_data));
    }
    keys
}

#[test]
fn entries_are_handed_over() {
    check(|entries| {
        let kernel = Kernel::new(entries);
        let poller = thread::spawn({
            let kernel = kernel.clone();
            move || spin(&kernel, entries as usize + 1)
        });
        let mut sq = kernel.shared.sq(POLLED);
        for key in 0..=entries {
            while sq.push(&entry(key.into())).is_err() {
                thread::yield_now();
            }
            sq.plan(0, 0);
        }
        let keys = poller.join().expect("no panic");
        assert!(keys.iter().copied().eq(0..=entries.into()), "{keys:?}");
    });
}

#[test]
fn a_thread_that_falls_asleep_strands_no_entry() {
    check(|entries| {
        let kernel = Kernel::new(entries);
        let poller = thread::spawn({
            let kernel = kernel.clone();
            move || kernel.poll(1)
        });
        let mut sq = kernel.shared.sq(POLLED);
        sq.push(&entry(0)).expect("room");
        if let Some(enter) = sq.plan(0, 0) {
            kernel.enter(enter);
        }
        assert_eq!(poller.join().expect("no panic"), [0]);
    });
}

#[test]
fn waiting_for_room_wakes_the_thread_that_makes_it() {
    check_bounded(3, |entries| {
        let kernel = Kernel::new(entries);
        let poller = thread::spawn({
            let kernel = kernel.clone();
            move || kernel.poll(3)
        });
        let mut sq = kernel.shared.sq(POLLED);
        for key in 0..3 {
            while sq.push(&entry(key)).is_err() {
                // As Ring::wait_for_room.
                let wake = sq.plan(0, 0).map_or(0, |enter| enter.flags);
                let flags = sys::IORING_ENTER_SQ_WAIT | wake;
                kernel.enter(Enter { to_submit: 0, min_complete: 0, flags });
            }
        }
        if let Some(enter) = sq.plan(0, 0) {
            kernel.enter(enter);
        }
        assert_eq!(poller.join().expect("no panic"), [0, 1, 2]);
    });
}

#[test]
fn what_a_thread_may_have_seen_is_not_taken_back() {
    check(|entries| {
        let kernel = Kernel::new(2 * entries);
        let poller = thread::spawn({
            let kernel = kernel.clone();
            move || spin(&kernel, 2)
        });
        let mut sq = kernel.shared.sq(POLLED);
        let mark = sq.next();
        sq.push(&entry(0)).expect("room");
        sq.plan(0, 0);
        sq.push(&entry(9)).expect("room");
        assert_eq!(sq.retract(mark), 1, "the one that was not published");
        while sq.push(&entry(1)).is_err() {
            thread::yield_now();
        }
        sq.plan(0, 0);
        assert_eq!(poller.join().expect("no panic"), [0, 1]);
    });
}
