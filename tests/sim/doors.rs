//! The safe doors on simulated kernels.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rawring::flags::FsyncFlags;
use rawring::op::{Fsync, Nop, Opcode, Read, SendZc, Timeout};
use rawring::operand::{Fixed, Timespec};
use rawring::sim::{Config, Sim};
use rawring::{Errno, Event, InFlight, Version};

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
            let nop = Opcode(rawring::sys::IORING_OP_NOP);
            assert!(sim.ledger().iter().all(|promise| promise.opcode != nop), "what was not submitted ran");
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

#[test]
fn memory_that_a_scope_lends_is_garbage_until_its_completion() {
    seeds(|sim| {
        let mut ring = sim.ring(4).expect("a ring");
        let (reader, writer) = sim.pipe().expect("a pipe");
        let mut text = *b"before";
        let early = text.as_ptr().expose_provenance();
        let read = ring.scope(|s| {
            s.push(Read::new(&reader, &mut text)).expect("room");
            s.submit().expect("a submission");
            // SAFETY: the memory is there. Looking at it now is what the borrow forbids, and what nobody could do in safe
            // code; the simulated kernel writes only inside of calls.
            let seen = unsafe { std::ptr::with_exposed_provenance::<[u8; 6]>(early).read_volatile() };
            assert!(seen.iter().all(|&byte| byte >= 0x80), "{seen:?}");
            writer.write(b"after").expect("room in the pipe");
            let mut read = 0;
            s.finish(|cqe| read = cqe.result().expect("bytes") as usize).expect("a wait");
            read
        });
        let read = read.expect("a scope");
        // Less than there was may have been read, and the rest is as it was.
        assert_eq!((&text[..read], &text[read..]), (&b"after"[..read], &b"before"[read..]));
    });
}

#[test]
fn a_zero_copy_send_gives_its_state_back_with_the_notification() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = InFlight::new(ring(sim, 8, kind)).expect("fit");
            let (one, other) = sim.stream_pair().expect("a pair");
            let ticket = ring.start((one, vec![9_u8; 5000]), |(one, bytes)| SendZc::new(&*one, &*bytes).into());
            let ticket = ticket.expect("room");
            let (mut reported, mut received) = (None, Vec::new());
            let done = loop {
                match ring.wait_event().expect("an event") {
                    Event::More(of, cqe) => {
                        assert_eq!(of, ticket);
                        assert!(reported.replace(cqe.result()).is_none(), "reported twice");
                        received.extend(other.read(8192).unwrap_or_default());
                    }
                    Event::Done(done) => break done,
                    Event::Foreign(cqe) => panic!("whose is {cqe:?}?"),
                }
            };
            assert!(done.notification.is_some());
            assert_eq!((reported, done.ticket), (Some(done.cqe.result()), ticket));
            assert_eq!(done.cqe.result(), Ok(received.len() as u32), "{kind:?}");
            assert_eq!(done.state.1, [9; 5000]);
        });
    }
}

#[test]
fn a_dropped_table_waits_for_what_it_lent() {
    for &kind in KINDS {
        seeds(|sim| {
            let (reader, writer) = sim.pipe().expect("a pipe");
            let mut ring = InFlight::new(ring(sim, 8, kind)).expect("fit");
            for _ in 0..3 {
                let state = (reader.as_fd().try_clone_to_owned().expect("a descriptor"), [0_u8; 32]);
                // A duplicate is another number, which the simulated kernel does not know.
                let refused = ring.start(state, |(fd, bytes)| Read::new(&*fd, bytes).into());
                refused.expect("room");
            }
            ring.start((OwnedFd::from(reader), [0; 32]), |(fd, bytes)| Read::new(&*fd, bytes).into()).expect("room");
            ring.submit().expect("a submission");
            drop(ring);
            assert_eq!(sim.in_flight(), 0, "{kind:?}");
            // The reader went with its state.
            assert_eq!(writer.write(b"to nobody"), Err(Errno::PIPE));
        });
    }
}

/// What waits behind somebody else's operation can only be ended by ending that, too.
#[test]
fn a_scope_held_back_by_others_cancels_everything() {
    for release in [Version::new(5, 19), Version::new(6, 0), Version::new(7, 3)] {
        for seed in 0..20 {
            let mut config = Config::new(seed);
            config.release = release;
            let sim = Sim::with(config);
            let mut ring = sim.ring(8).expect("a ring");
            ring.push(Timeout::new(&LONG).user_data(1)).expect("room");
            ring.push(Timeout::new(&LONG).link().user_data(2)).expect("room");
            let mut held = 0;
            ring.scope(|s| {
                // The end of the chain that somebody else began, and a drain where nothing older than a cancellation
                // without an entry would be held back as well.
                s.push(Nop::new()).expect("room");
                if release >= Version::new(6, 0) {
                    s.push(Nop::new().drain()).expect("room");
                }
                s.submit().expect("a submission");
                held = s.in_flight();
            })
            .expect("a scope");
            assert_eq!(sim.in_flight(), 0, "{release}, seed {seed}");
            assert!(held >= 1);
        }
    }
}

/// A malformed entry stops the submission, and what is behind it moves to the front of the queue.
#[test]
fn item_32_what_a_short_submission_left_in_a_rewinding_queue_is_taken_back() {
    seeds(|sim| {
        let mut ring = sim.setup(8).sq_rewind().build().expect("a ring");
        let (reader, _writer) = sim.pipe().expect("a pipe");
        let mut buf = [0; 4];
        ring.scope(|s| {
            s.push(Nop::new()).expect("room");
            s.push(Fsync::new(Fixed(0)).fsync_flags(FsyncFlags::from_bits_retain(!0))).expect("room");
            s.push(Nop::new()).expect("room");
            s.push(Read::new(&reader, &mut buf)).expect("room");
            assert_eq!((s.submit(), s.room()), (Ok(2), 6));
        })
        .expect("a scope");
        assert_eq!((ring.pending(), sim.in_flight()), (0, 0));
        let read = Opcode(rawring::sys::IORING_OP_READ);
        assert!(sim.ledger().iter().all(|promise| promise.opcode != read), "what was not submitted ran");
    });
}
