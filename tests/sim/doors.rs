//! The safe doors on simulated kernels.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rawring::op::{Nop, Timeout};
use rawring::operand::Timespec;
use rawring::{Event, InFlight};

use crate::{KINDS, ring, seeds};

static LONG: Timespec = Timespec { seconds: 600, nanoseconds: 0 };

#[test]
fn a_scope_ends_with_nothing_in_flight_also_on_panic() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            ring.scope(|s| {
                s.push(Timeout::new(&LONG)).expect("room");
                s.submit().expect("a submission");
                s.push(Nop::new()).expect("room");
            })
            .expect("a scope");
            assert_eq!(sim.in_flight(), 0, "{kind:?}");
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                ring.scope(|s| {
                    s.push(Timeout::new(&LONG).link()).expect("room");
                    s.push(Timeout::new(&LONG)).expect("room");
                    s.submit().expect("a submission");
                    resume_unwind(Box::new(7));
                })
            }));
            assert_eq!(panicked.expect_err("a panic").downcast_ref::<i32>(), Some(&7));
            assert_eq!(sim.in_flight(), 0, "{kind:?}");
        });
    }
}

#[test]
fn a_scope_shows_the_completions_of_its_own() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            ring.push(Nop::new().user_data(99)).expect("room");
            let mut seen = ring
                .scope(|s| {
                    let mut seen = Vec::new();
                    for n in 0..6 {
                        s.push(Nop::new().user_data(n)).expect("room");
                    }
                    s.finish(|cqe| seen.push(cqe.user_data().0)).expect("a wait");
                    seen
                })
                .expect("a scope");
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
            while ring.ready() == 0 && ring.completions().next().is_none() {
                ring.submit_and_wait(1).expect("a wait");
            }
        });
    }
}

#[test]
fn states_come_back_when_they_are_done_or_shut_down() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = InFlight::new(ring(sim, 8, kind)).expect("fit");
            ring.start(1, |_| Nop::new().into()).expect("room");
            for state in [2, 3] {
                ring.start(state, |_| Timeout::new(&LONG).into()).expect("room");
            }
            let Ok(Event::Done(done)) = ring.wait_event() else { panic!("nothing is done") };
            assert_eq!((done.state, done.cqe.result()), (1, Ok(0)));
            ring.start(4, |_| Nop::new().into()).expect("room");
            let drained = ring.shutdown().expect("a shutdown");
            let mut states: Vec<_> = drained.ended.into_iter().map(|done| done.state).collect();
            states.extend(drained.unsubmitted);
            states.sort_unstable();
            assert_eq!(states, [2, 3, 4], "{kind:?}");
            assert_eq!(sim.in_flight(), 0);
        });
    }
}

#[test]
fn a_closed_ring_ends_what_it_had_some_time_later() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 8, kind);
            for _ in 0..3 {
                ring.push(Timeout::new(&LONG)).expect("room");
            }
            ring.submit().expect("a submission");
            drop(ring);
            sim.run();
            assert_eq!(sim.in_flight(), 0, "{kind:?}");
        });
    }
}
