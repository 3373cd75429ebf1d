//! The queues: positions that wrap, every kind of ring, overflow.

use rawring::flags::{CqeFlags, SetupFlags};
use rawring::op::{Nop, Nop128};
use rawring::register::{Resize, ResizeError};
use rawring::sim::{Config, Sim};
use rawring::{Errno, Ring, Version};

use crate::{KINDS, ring, seeds, setup};

/// Submits and waits until this many completions were reaped.
fn reap(ring: &mut Ring, count: usize) -> Vec<u64> {
    let mut reaped = Vec::new();
    while reaped.len() < count {
        ring.submit_and_wait(1).expect("a wait");
        reaped.extend(ring.completions().map(|cqe| cqe.user_data().0));
    }
    reaped
}

#[test]
fn every_entry_completes_once_on_every_kind_of_ring_past_the_wrap() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 4, kind);
            for round in 0..5 {
                for n in 0..4 {
                    ring.push(Nop::new().user_data(round * 4 + n)).expect("room");
                }
                let mut reaped = reap(&mut ring, 4);
                reaped.sort_unstable();
                assert_eq!(reaped, (round * 4..round * 4 + 4).collect::<Vec<_>>(), "{kind:?}");
            }
            assert_eq!(sim.in_flight(), 0);
            let kept = sim.ledger().iter().all(|promise| promise.ended && promise.completions == [(0, 0)]);
            assert!(kept, "{:?}", sim.ledger());
        });
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let sim = Sim::new(seed);
        let mut ring = ring(&sim, 8, SetupFlags::empty());
        for n in 0..8 {
            ring.push(Nop::new().user_data(n)).expect("room");
        }
        let order = reap(&mut ring, 8);
        (order, sim.now())
    };
    assert_eq!(run(3), run(3));
    assert!((0..20).any(|seed| run(seed).0 != run(3).0), "the seed decides nothing");
}

#[test]
fn rings_of_every_release_begin_where_they_are_told_to() {
    for release in [(5, 15), (5, 19), (6, 1), (6, 12), (7, 3)] {
        let mut config = Config::new(1);
        config.release = Version::new(release.0, release.1);
        config.start = 77;
        let sim = Sim::with(config);
        let mut ring = sim.ring(2).expect("a ring");
        ring.push(Nop::new().user_data(5)).expect("room");
        assert_eq!(reap(&mut ring, 1), [5]);
        let deferring = setup(&sim, 2, SetupFlags::SINGLE_ISSUER | SetupFlags::DEFER_TASKRUN).build();
        assert_eq!(deferring.is_ok(), release >= (6, 1), "{release:?}");
    }
}

#[test]
fn overflow_loses_nothing_and_keeps_the_order() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = setup(sim, 8, kind).cq_entries(8).build().expect("a ring");
            let mut next = 0;
            for _ in 0..4 {
                for _ in 0..8 {
                    while ring.room() == 0 {
                        ring.wait_for_room().expect("room, some time");
                    }
                    ring.push(Nop::new().user_data(next).link()).expect("room");
                    next += 1;
                }
                ring.submit().expect("a submission");
                sim.run();
            }
            let mut reaped = Vec::new();
            while reaped.len() < 32 {
                ring.submit_and_wait(1).expect("a wait");
                reaped.extend(ring.completions().map(|cqe| cqe.user_data().0));
            }
            for first in [0, 8, 16, 24] {
                let chain = reaped.iter().copied().filter(|n| n / 8 == first / 8);
                assert!(chain.eq(first..first + 8), "{kind:?}: {reaped:?}");
            }
            assert_eq!((ring.lost(), ring.overflowed()), (0, false));
        });
    }
}

#[test]
fn wide_entries_and_completions_pass_the_wrap() {
    seeds(|sim| {
        for kind in [SetupFlags::SQE128 | SetupFlags::CQE32, SetupFlags::SQE_MIXED | SetupFlags::CQE_MIXED] {
            let mut ring = ring(sim, 4, kind);
            let mut seen = Vec::new();
            for n in 0..20 {
                let wide = n % 3 != 0;
                if wide {
                    ring.push128(Nop128::new().user_data(n)).expect("room");
                } else {
                    ring.push(Nop::new().user_data(n)).expect("room");
                }
                seen.extend(reap(&mut ring, 1));
            }
            assert!(seen.iter().copied().eq(0..20), "{kind:?}: {seen:?}");
        }
    });
}

#[test]
fn a_malformed_entry_stops_the_submission_unless_told_otherwise() {
    seeds(|sim| {
        let mut ring = sim.ring(8).expect("a ring");
        ring.push(Nop::new().user_data(1).personality(7)).expect("room");
        ring.push(Nop::new().user_data(2)).expect("room");
        assert_eq!(ring.submit(), Ok(1));
        assert_eq!(ring.pending(), 1);
        assert_eq!(reap(&mut ring, 2), [1, 2]);
        assert_eq!(sim.ledger()[0].completions, [(-Errno::INVAL.raw_os_error(), CqeFlags::empty().bits())]);
    });
}

#[test]
fn item_7_what_overflowed_comes_with_the_next_submission() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = setup(sim, 4, kind).cq_entries(4).build().expect("a ring");
            for n in 0..8 {
                ring.push(Nop::new().user_data(n)).expect("room");
                ring.submit().expect("a submission");
                ring.get_events().expect("a visit");
                sim.run();
            }
            assert!(ring.overflowed(), "{kind:?}");
            let mut seen = ring.completions().count();
            // No call that asks for completions, and nothing new to submit: the flag alone makes the visit.
            ring.submit().expect("nothing to submit");
            seen += ring.completions().count();
            assert_eq!((seen, ring.overflowed()), (8, false), "{kind:?}");
        });
    }
}

#[test]
fn item_22_a_chain_goes_on_past_the_filler_of_a_mixed_ring() {
    seeds(|sim| {
        let mut ring = ring(sim, 4, SetupFlags::SQE_MIXED);
        // Positions start two slots before the wrap, so the wide entry has a filler before it.
        ring.push(Nop::new().result(-5).user_data(1).link()).expect("room");
        ring.push128(Nop128::new().user_data(2)).expect("room");
        let outcomes = crate::reap(&mut ring, 2);
        assert_eq!(outcomes[&2], [crate::failed(Errno::CANCELED)]);
        assert_eq!(sim.ledger().len(), 3, "no filler was needed");
    });
}

#[test]
fn rings_of_every_layout_take_and_complete() {
    seeds(|sim| {
        let plain = || sim.setup(4).submit_all();
        let layouts = [
            ("array", plain().no_sqarray(false)),
            ("array, wide", plain().no_sqarray(false).sqe128().cqe32()),
            ("own memory", plain().no_mmap()),
            ("own memory, wide", plain().no_mmap().sqe128().cqe32()),
            ("rewinding", plain().sq_rewind()),
            ("own memory, rewinding", plain().no_mmap().sq_rewind()),
            ("one entry", sim.setup(1)),
            ("many completions", plain().cq_entries(64)),
        ];
        for (name, layout) in layouts {
            let mut ring = layout.build().unwrap_or_else(|error| panic!("{name}: {error}"));
            for n in 0..12 {
                while ring.push(Nop::new().user_data(n)).is_err() {
                    ring.submit().expect("a submission");
                }
            }
            let mut seen = reap(&mut ring, 12);
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..12), "{name}");
            assert_eq!((ring.dropped(), ring.lost()), (0, 0), "{name}");
        }
    });
}

#[test]
fn completions_of_both_sizes_are_the_kernels() {
    let kinds = [SetupFlags::CQE32, SetupFlags::CQE_MIXED, SetupFlags::empty()];
    for kind in kinds {
        let program = |ring: &mut Ring| {
            let mut seen = Vec::new();
            for n in 0..10 {
                let nop = Nop::new().user_data(n);
                // So that a wide one meets the last slot, and needs a filler.
                let wide = n % 2 == 0;
                ring.push(if wide { nop.extra1(n + 100).extra2(n + 200) } else { nop }).expect("room");
                while ring.ready() == 0 {
                    ring.submit_and_wait(1).expect("a wait");
                }
                seen.extend(ring.completions());
            }
            seen
        };
        let Ok(mut real) = Ring::setup(4).submit_all().raw_flags(kind).build() else {
            crate::common::skipped("completions_of_both_sizes", &format!("this kernel makes no ring with {kind:?}"));
            continue;
        };
        let real = program(&mut real);
        seeds(|sim| assert_eq!(program(&mut ring(sim, 4, kind)), real, "{kind:?}"));
    }
}

#[test]
fn item_31_a_resize_keeps_what_is_in_the_queues() {
    let kinds = KINDS.iter().filter(|kind| kind.contains(SetupFlags::DEFER_TASKRUN));
    let more =
        [SetupFlags::SQE128, SetupFlags::CQE32, SetupFlags::CQE_MIXED, SetupFlags::SQE_MIXED, SetupFlags::NO_MMAP];
    let more = more.map(|flag| flag | SetupFlags::DEFER_TASKRUN | SetupFlags::SINGLE_ISSUER);
    for &kind in kinds.chain(&more) {
        for array in [false, true] {
            if array && kind.contains(SetupFlags::SQ_REWIND) {
                continue;
            }
            seeds(|sim| {
                let mut ring = setup(sim, 4, kind).no_sqarray(!array).build().expect("a ring");
                let mut next = 0;
                for entries in [16, 2, 8, 4, 64, 2] {
                    let two = |ring: &mut Ring, from: u64| {
                        for key in from..from + 2 {
                            ring.push(Nop::new().user_data(key)).expect("room");
                        }
                    };
                    two(&mut ring, next);
                    while ring.ready() < 2 {
                        ring.submit_and_wait(2).expect("a wait");
                    }
                    two(&mut ring, next + 2);
                    ring.resize(Resize::new(entries)).expect("resized");
                    assert_eq!((ring.sq_entries(), ring.pending(), ring.ready()), (entries, 2, 2), "{kind:?}");
                    assert_eq!(ring.resize(Resize::new(1)), Err(ResizeError::Refused(Errno::OVERFLOW)));
                    let mut reaped = reap(&mut ring, 4);
                    reaped.sort_unstable();
                    assert_eq!(reaped, (next..next + 4).collect::<Vec<_>>(), "{kind:?}");
                    next += 4;
                }
            });
        }
    }
    let sim = Sim::new(1);
    let mut plain = sim.ring(4).expect("a ring");
    assert_eq!(plain.resize(Resize::new(8)), Err(ResizeError::Refused(Errno::INVAL)));
}
