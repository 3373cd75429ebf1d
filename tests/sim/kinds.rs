//! What is special about each kind of ring: polling threads, deferred work, owners, disabled rings, faults.

use std::time::Duration;

use rawring::flags::SetupFlags;
use rawring::op::{Cancel, Nop, Read, Timeout, TimeoutImmediate};
use rawring::operand::Timespec;
use rawring::sim::{Config, Sim};
use rawring::{Errno, Wait, WaitEnd};
use rustix::event::{EventfdFlags, eventfd};

use crate::{KINDS, failed, reap, ring, seeds, setup};

static LONG: Timespec = Timespec { seconds: 600, nanoseconds: 0 };
static SHORT: Timespec = Timespec { seconds: 0, nanoseconds: 2_000_000 };
const DEFERRING: SetupFlags = SetupFlags::DEFER_TASKRUN.union(SetupFlags::SINGLE_ISSUER);

#[test]
fn a_polling_thread_that_sleeps_is_woken_by_the_next_submission() {
    seeds(|sim| {
        let mut ring = ring(sim, 4, SetupFlags::SQPOLL);
        for n in 0..10 {
            // It is asleep when nothing can happen any more.
            sim.run();
            ring.push(Nop::new().user_data(n)).expect("room");
            ring.submit().expect("a submission");
            sim.run();
            assert_eq!(ring.pending(), 0, "the polling thread still sleeps");
            assert!(ring.completions().map(|cqe| cqe.user_data().0).eq([n]));
        }
    });
}

#[test]
fn a_full_queue_empties_while_the_polling_thread_works() {
    seeds(|sim| {
        let mut ring = ring(sim, 2, SetupFlags::SQPOLL);
        for n in 0..20 {
            if ring.room() == 0 {
                ring.wait_for_room().expect("room, some time");
            }
            ring.push(Nop::new().user_data(n)).expect("room");
        }
        let reaped = reap(&mut ring, 20);
        assert!(reaped.into_keys().eq(0..20));
    });
}

#[test]
fn deferred_completions_come_with_a_visit_and_not_before() {
    for flag in [SetupFlags::empty(), SetupFlags::TASKRUN_FLAG] {
        seeds(|sim| {
            let mut ring = ring(sim, 4, DEFERRING | flag);
            ring.push(Timeout::new(&SHORT).user_data(1)).expect("room");
            ring.submit().expect("a submission");
            sim.advance(Duration::from_secs(1));
            assert_eq!(ring.ready(), 0, "posted without a visit");
            ring.submit().expect("nothing to submit");
            if flag.is_empty() {
                assert_eq!(ring.ready(), 0, "posted by a call that does not ask for events");
            }
            let seen: Vec<_> = ring.peek().expect("a visit").map(|cqe| cqe.user_data().0).collect();
            assert_eq!(seen, [1]);
        });
    }
}

#[test]
fn cooperative_completions_come_with_any_call() {
    seeds(|sim| {
        let flags = SetupFlags::COOP_TASKRUN | SetupFlags::TASKRUN_FLAG;
        let mut ring = ring(sim, 4, flags);
        ring.push(Timeout::new(&SHORT).user_data(1)).expect("room");
        ring.submit().expect("a submission");
        sim.advance(Duration::from_secs(1));
        assert_eq!(ring.ready(), 0, "posted without a call");
        assert!(ring.peek().expect("a visit").map(|cqe| cqe.user_data().0).eq([1]));
    });
}

#[test]
fn a_ring_of_one_thread_answers_to_no_other() {
    for flags in [SetupFlags::SINGLE_ISSUER, DEFERRING] {
        let sim = Sim::new(1);
        let mut ring = ring(&sim, 4, flags);
        ring.push(Nop::new()).expect("room");
        std::thread::scope(|threads| {
            let answers = threads.spawn(|| (ring.submit(), ring.register_eventfd(None), ring.get_events()));
            let (submitted, registered, visited) = answers.join().expect("no panic");
            assert_eq!((submitted, registered), (Err(Errno::EXIST), Err(Errno::EXIST)));
            assert_eq!(visited.is_err(), flags == DEFERRING);
        });
        assert_eq!(ring.submit(), Ok(1));
    }
}

#[test]
fn a_disabled_ring_belongs_to_the_thread_that_enables_it() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = setup(sim, 4, kind | SetupFlags::R_DISABLED).build().expect("a ring");
            ring.push(Nop::new().user_data(1)).expect("room");
            let wait = Wait::new(1).timeout(Duration::from_secs(1));
            assert_eq!(ring.submit_with(&wait).map(drop), Err(Errno::BADFD));
            std::thread::scope(|threads| {
                let there = threads.spawn(|| {
                    ring.enable().expect("enabled");
                    assert_eq!(ring.enable(), Err(Errno::BADFD));
                    reap(&mut ring, 1)
                });
                assert_eq!(there.join().expect("no panic")[&1], [(0, 0)]);
            });
        });
    }
}

#[test]
fn an_eventfd_hears_of_completions() {
    let sim = Sim::new(1);
    let mut ring = sim.ring(4).expect("a ring");
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd");
    use std::os::fd::AsFd;
    ring.register_eventfd(Some(event.as_fd())).expect("registered");
    assert_eq!(ring.register_eventfd(Some(event.as_fd())), Err(Errno::BUSY));
    ring.push(Nop::new()).expect("room");
    reap(&mut ring, 1);
    let mut count = [0; 8];
    assert_eq!(rustix::io::read(&event, &mut count), Ok(8));
    ring.register_eventfd(None).expect("no longer");
    ring.push(Nop::new()).expect("room");
    reap(&mut ring, 1);
    assert_eq!(rustix::io::read(&event, &mut count), Err(Errno::AGAIN));
    assert_eq!(ring.register_eventfd(None), Err(Errno::NXIO));
}

#[test]
fn a_submission_without_memory_takes_what_it_can_and_loses_nothing() {
    let (mut starved, mut short) = (0, 0);
    for seed in 0..100 {
        let mut config = Config::new(seed);
        config.starve = 30;
        let mut ring = Sim::with(config).ring(8).expect("a ring");
        for n in 0..8 {
            ring.push(Nop::new().user_data(n)).expect("room");
        }
        let mut seen = Vec::new();
        while seen.len() < 8 {
            match ring.submit() {
                Err(Errno::AGAIN) => starved += 1,
                taken => short += u32::from(taken.expect("a submission") < 8),
            }
            ring.get_events().expect("a visit");
            seen.extend(ring.completions().map(|cqe| cqe.user_data().0));
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..8), "seed {seed}");
    }
    assert!(starved > 0 && short > 0);
}

#[test]
fn lost_completions_are_told_of_once() {
    let mut config = Config::new(3);
    (config.lose, config.interrupt, config.inline) = (100, 0, 100);
    let sim = Sim::with(config);
    let mut ring = sim.setup(4).cq_entries(4).build().expect("a ring");
    for _ in 0..2 {
        for n in 0..4 {
            ring.push(Nop::new().user_data(n)).expect("room");
        }
        ring.submit().expect("a submission");
    }
    assert_eq!((ring.ready(), ring.lost(), ring.overflowed()), (4, 4, false));
    assert_eq!(ring.completions().count(), 4);
    let wait = Wait::new(1).timeout(Duration::from_secs(1));
    assert_eq!(ring.submit_with(&wait).map(drop), Err(Errno::BADR));
    assert_eq!(ring.submit_with(&wait).expect("a wait").wait, WaitEnd::TimedOut);
}

/// What a worker is in the middle of goes on; the cancellation says so.
#[test]
fn a_cancellation_finds_nothing_it_or_a_worker_in_the_middle() {
    let mut answers = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut config = Config::new(seed);
        (config.inline, config.eager) = (0, 0);
        let sim = Sim::with(config);
        let mut ring = sim.ring(4).expect("a ring");
        ring.push_all([Nop::new().force_async().user_data(1).into(), Cancel::new(1).user_data(2).into()])
            .expect("room");
        let outcomes = reap(&mut ring, 2);
        answers.insert((outcomes[&1][0], outcomes[&2][0]));
    }
    let cancelled = (failed(Errno::CANCELED), (0, 0));
    let running = ((0, 0), failed(Errno::ALREADY));
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [cancelled, running]);
}

/// What waits for its file does that without a worker, and so is always found.
#[test]
fn a_read_that_waits_for_its_pipe_is_found() {
    for seed in 0..100 {
        let mut config = Config::new(seed);
        (config.inline, config.eager) = (0, 0);
        let sim = Sim::with(config);
        let (reader, _writer) = sim.pipe().expect("descriptors");
        let mut ring = sim.ring(4).expect("a ring");
        let mut results = Vec::new();
        let mut byte = [0];
        ring.scope(|s| {
            let read = s.push(Read::new(&reader, &mut byte)).expect("room");
            s.push(Cancel::new(read.key().0)).expect("room");
            s.finish(|cqe| results.push(cqe.result())).expect("finished");
        })
        .expect("a scope");
        assert!(results.contains(&Err(Errno::CANCELED)) && results.contains(&Ok(0)), "seed {seed}: {results:?}");
    }
}

#[test]
fn a_wait_for_all_becomes_a_wait_for_one() {
    for seed in 0..100 {
        let mut config = Config::new(seed);
        config.interrupt = 0;
        let sim = Sim::with(config);
        let mut ring = sim.ring(4).expect("a ring");
        let start = sim.now().seconds;
        let wait = Wait::new(2).min_wait(Duration::from_secs(3)).timeout(Duration::from_secs(60));
        ring.push(Timeout::new(&LONG)).expect("room");
        ring.push(Nop::new().user_data(1)).expect("room");
        assert_eq!(ring.submit_with(&wait).expect("a wait").wait, WaitEnd::Short, "seed {seed}");
        assert_eq!((ring.ready(), sim.now().seconds), (1, start + 3), "seed {seed}");
        assert_eq!(ring.completions().count(), 1);
        // Nothing came: whatever comes after the span ends the wait.
        ring.push(TimeoutImmediate::new(Duration::from_secs(20)).user_data(2)).expect("room");
        ring.submit_with(&wait).expect("a wait");
        assert_eq!((ring.ready(), sim.now().seconds), (1, start + 23), "seed {seed}");
    }
}

#[test]
fn a_ring_of_one_thread_has_what_the_release_has() {
    use rawring::Version;
    let (single, defer, coop) = (SetupFlags::SINGLE_ISSUER, SetupFlags::DEFER_TASKRUN, SetupFlags::COOP_TASKRUN);
    for (release, flags) in [
        (Version::new(5, 15), SetupFlags::empty()),
        (Version::new(5, 18), SetupFlags::empty()),
        (Version::new(5, 19), coop),
        (Version::new(6, 0), single | coop),
        (Version::new(6, 1), single | defer),
        (Version::new(6, 5), single | defer),
        (Version::new(6, 6), single | defer | SetupFlags::NO_SQARRAY),
    ] {
        let mut config = Config::new(1);
        config.release = release;
        let sim = Sim::with(config);
        let mut ring = sim.setup(8).single_thread().build().expect("a ring on every release");
        assert_eq!(ring.setup_flags(), flags, "Linux {release}");
        ring.push(Nop::new().user_data(1)).expect("room");
        ring.submit_and_wait(1).expect("submitted");
        assert_eq!(ring.completions().count(), 1);
        // What the caller asks for is not taken back with it.
        let asked = sim.setup(8).single_thread().defer_taskrun().single_issuer().build();
        assert_eq!(asked.is_ok(), release >= Version::new(6, 1), "Linux {release}");
    }
}
