//! Timeouts, and waits that end by time: on the simulator nothing waits for real.

use std::time::Duration;

use rawring::flags::TimeoutFlags;
use rawring::op::{Nop, Timeout, TimeoutImmediate, TimeoutMulti, TimeoutRemove, TimeoutUpdate};
use rawring::operand::Timespec;
use rawring::{Errno, Wait, WaitEnd};

use crate::{KINDS, failed, reap, ring, seeds, twins};

static LONG: Timespec = Timespec { seconds: 600, nanoseconds: 0 };
static SHORT: Timespec = Timespec { seconds: 0, nanoseconds: 2_000_000 };
static BAD: Timespec = Timespec { seconds: -1, nanoseconds: 0 };

#[test]
fn timeouts_end_by_time_by_count_and_by_removal() {
    twins(|ring| {
        ring.push(Timeout::new(&SHORT).user_data(1)).expect("room");
        ring.push(Timeout::new(&BAD).user_data(2)).expect("room");
        let mut outcomes = reap(ring, 2);
        ring.push(Timeout::new(&LONG).completions(2).user_data(3)).expect("room");
        ring.submit().expect("a submission");
        ring.push(Nop::new().user_data(4)).expect("room");
        ring.push(Nop::new().user_data(5)).expect("room");
        outcomes.extend(reap(ring, 3));
        ring.push(Timeout::new(&LONG).user_data(6)).expect("room");
        ring.submit().expect("a submission");
        ring.push(TimeoutRemove::new(6).user_data(7)).expect("room");
        ring.push(TimeoutRemove::new(66).user_data(8)).expect("room");
        outcomes.extend(reap(ring, 3));
        assert_eq!((&outcomes[&3], &outcomes[&7]), (&vec![(0, 0)], &vec![(0, 0)]));
        ring.push(Timeout::new(&LONG).completions(1).user_data(9)).expect("room");
        ring.submit().expect("a submission");
        ring.push(Timeout::new(&SHORT).user_data(10)).expect("room");
        outcomes.extend(reap(ring, 1));
        ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(1))).expect("a wait");
        assert_eq!(ring.completions().count(), 0, "the end of a timeout counts for no other");
        ring.push(Nop::new().user_data(11)).expect("room");
        outcomes.extend(reap(ring, 2));
        outcomes
    });
}

#[test]
fn timeouts_repeat_and_change() {
    twins(|ring| {
        ring.push(TimeoutMulti::new(&SHORT).repeats(3).user_data(1)).expect("room");
        let mut outcomes = reap(ring, 3);
        ring.push(Timeout::new(&LONG).user_data(2)).expect("room");
        ring.submit().expect("a submission");
        ring.push(TimeoutUpdate::new(2, &SHORT).user_data(3)).expect("room");
        outcomes.extend(reap(ring, 2));
        let both = TimeoutFlags::REALTIME | TimeoutFlags::BOOTTIME;
        ring.push(Timeout::new(&SHORT).timeout_flags(both).user_data(4)).expect("room");
        outcomes.extend(reap(ring, 1));
        assert_eq!(outcomes[&2], [failed(Errno::TIME)]);
        outcomes
    });
}

#[test]
fn an_hour_is_over_at_once() {
    for &kind in KINDS {
        seeds(|sim| {
            let mut ring = ring(sim, 4, kind);
            let start = sim.now();
            ring.push(TimeoutImmediate::new(Duration::from_secs(3600)).user_data(1)).expect("room");
            assert_eq!(reap(&mut ring, 1)[&1], [failed(Errno::TIME)]);
            assert!(sim.now().seconds - start.seconds >= 3600, "{kind:?}");
        });
    }
}

#[test]
fn a_wait_ends_with_its_time() {
    seeds(|sim| {
        let mut ring = sim.ring(4).expect("a ring");
        let start = sim.now();
        loop {
            let outcome = ring.submit_with(&Wait::new(1).timeout(Duration::from_secs(5))).expect("a wait");
            if outcome.wait != WaitEnd::Interrupted {
                assert_eq!(outcome.wait, WaitEnd::TimedOut);
                break;
            }
        }
        assert!(sim.now().seconds - start.seconds >= 5);
        let soon = Timespec { seconds: sim.now().seconds + 9, ..sim.now() };
        ring.push(TimeoutImmediate::new(Duration::from_secs(2)).user_data(1)).expect("room");
        while ring.ready() == 0 {
            ring.submit_with(&Wait::new(2).deadline(soon)).expect("a wait");
        }
        assert!(sim.now() < soon, "the timeout ends the wait for more");
    });
}

#[test]
fn a_wait_that_nothing_can_end_is_an_error() {
    seeds(|sim| {
        let mut ring = sim.ring(4).expect("a ring");
        let ended = loop {
            match ring.submit_and_wait(1) {
                Ok(outcome) if outcome.wait == WaitEnd::Interrupted => {}
                ended => break ended,
            }
        };
        assert_eq!(ended.map(|_| ()), Err(Errno::DEADLK));
    });
}
