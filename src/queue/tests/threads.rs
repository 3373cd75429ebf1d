//! The hand-over between two real threads, one of which plays the kernel over the same memory. What models show of small
//! programs in all orders is run here for long and at full speed, as the compiler and this processor order it.
//! `.ci/tsan` runs it under ThreadSanitizer, too.

use std::thread;
use std::time::{Duration, Instant};

use super::*;

const COUNT: u64 = if cfg!(debug_assertions) { 20_000 } else { 500_000 };

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An entry that shows it when it was not read whole.
fn whole(key: u64) -> RawSqe {
    RawSqe { user_data: key, ..RawSqe::from_bytes([key as u8; 64]) }
}

/// Repeats `step` until it is done, or the other thread has given up. It goes round without a system call for a while,
/// so that the threads meet in the narrow places.
fn until(mut step: impl FnMut() -> bool) {
    let start = Instant::now();
    loop {
        for _ in 0..100 {
            if step() {
                return;
            }
        }
        assert!(start.elapsed() < PATIENCE, "the other side has stopped");
        thread::yield_now();
    }
}

#[test]
fn entries_and_completions_come_whole_once_and_in_order() {
    for entries in [1, 2, 8] {
        let shared = Shared::new(entries, 0, START);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut taken = 0;
                while taken < COUNT {
                    let mut done = Vec::new();
                    until(|| {
                        for sqe in shared.take(u32::MAX) {
                            assert_eq!(sqe, whole(taken));
                            done.push((taken, !taken as u32));
                            taken += 1;
                        }
                        !done.is_empty()
                    });
                    until(|| {
                        done.drain(..shared.post_all(&done));
                        done.is_empty()
                    });
                }
            });
            let mut sq = shared.sq(Mode { polled: true, ..Mode::default() });
            let mut cq = shared.cq(false);
            let mut reaped = 0;
            let mut reap = || {
                for cqe in cq.snapshot() {
                    assert_eq!((cqe.user_data().0, cqe.raw_flags()), (reaped, !reaped as u32));
                    reaped += 1;
                }
                reaped
            };
            for key in 0..COUNT {
                until(|| {
                    let pushed = sq.push(&whole(key)).is_ok();
                    if !pushed {
                        sq.plan(0, 0);
                        reap();
                    }
                    pushed
                });
            }
            sq.plan(0, 0);
            until(|| reap() == COUNT);
        });
    }
}

#[test]
fn a_thread_that_falls_asleep_is_woken() {
    let shared = Shared::new(1, 0, START);
    thread::scope(|scope| {
        let poller = scope.spawn(|| {
            for key in 0..COUNT {
                loop {
                    let taken = shared.take(1);
                    if !taken.is_empty() {
                        assert_eq!(taken, [whole(key)]);
                        break;
                    }
                    shared.fall_asleep(|| {
                        let start = Instant::now();
                        thread::park_timeout(PATIENCE);
                        assert!(start.elapsed() < PATIENCE, "entry {key} waits, and nobody wakes this thread");
                    });
                }
                assert!(shared.post(key, 0));
            }
        });
        let mut sq = shared.sq(Mode { polled: true, ..Mode::default() });
        let mut cq = shared.cq(false);
        for key in 0..COUNT {
            sq.push(&whole(key)).expect("room");
            if let Some(enter) = sq.plan(0, 0) {
                assert_eq!(enter.flags, sys::IORING_ENTER_SQ_WAKEUP);
                poller.thread().unpark();
            }
            until(|| pop(&mut cq).is_some_and(|cqe| cqe.user_data().0 == key));
            cq.publish();
        }
    });
}
