//! Links, hard links, drains, and entries without a completion: the simulator says what the kernel says.

use std::time::Duration;

use rawring::flags::SetupFlags;
use rawring::op::{LinkTimeout, Nop, Timeout};
use rawring::operand::Timespec;
use rawring::sim::Sim;
use rawring::{Errno, Ring, Sqe, Wait, WaitEnd};

use crate::{failed, reap, seeds, twins};

static LONG: Timespec = Timespec { seconds: 600, nanoseconds: 0 };
static SHORT: Timespec = Timespec { seconds: 0, nanoseconds: 2_000_000 };
const CANCELED: (i32, u32) = (-125, 0);

/// Pushes and submits all at once, since a submission ends a chain.
fn submit<const N: usize>(ring: &mut Ring, entries: [Sqe<'static>; N]) {
    ring.push_all(entries).expect("room");
    ring.submit().expect("a submission");
}

fn nop(n: u64) -> Nop<'static> {
    Nop::new().user_data(n)
}

/// An entry that is refused when it is consumed.
fn malformed(n: u64) -> Nop<'static> {
    nop(n).personality(77)
}

/// An entry that fails when it runs.
fn failing(n: u64) -> Nop<'static> {
    nop(n).result(-5)
}

#[test]
fn a_failure_cancels_what_is_linked_softly() {
    twins(|ring| {
        submit(
            ring,
            [nop(1).link().into(), failing(2).link().into(), nop(3).link().into(), nop(4).into(), nop(5).into()],
        );
        let outcomes = reap(ring, 5);
        assert_eq!(outcomes[&3], [CANCELED]);
        outcomes
    });
}

#[test]
fn a_failure_does_not_cancel_what_is_linked_hard() {
    twins(|ring| {
        submit(
            ring,
            [failing(1).hard_link().into(), failing(2).link().into(), nop(3).hard_link().into(), nop(4).into()],
        );
        let outcomes = reap(ring, 4);
        assert_eq!((&outcomes[&1], &outcomes[&2]), (&vec![(-5, 0)], &vec![(-5, 0)]));
        outcomes
    });
}

#[test]
fn a_malformed_entry_fails_its_whole_chain() {
    twins(|ring| {
        submit(ring, [nop(1).hard_link().into(), malformed(2).link().into(), nop(3).into(), nop(4).into()]);
        let outcomes = reap(ring, 4);
        assert_eq!(outcomes[&2], [failed(Errno::INVAL)]);
        outcomes
    });
}

#[test]
fn a_failure_is_reported_although_success_would_not_be() {
    twins(|ring| {
        let first = [nop(1).skip_success().link().into(), failing(2).skip_success().link().into(), nop(3).into()];
        submit(ring, first);
        submit(ring, [failing(4).link().into(), nop(5).skip_success().into()]);
        // What a skipping failure takes along is silent, what another takes along is not.
        submit(ring, [nop(9).into()]);
        let outcomes = reap(ring, 4);
        assert!(outcomes.keys().copied().eq([2, 4, 5, 9]), "{outcomes:?}");
        outcomes
    });
}

#[test]
fn a_limit_ends_what_takes_too_long_and_nothing_else() {
    twins(|ring| {
        let slow = Timeout::new(&LONG).user_data(1).link();
        submit(ring, [slow.into(), LinkTimeout::new(&SHORT).user_data(2).into()]);
        let mut outcomes = reap(ring, 2);
        submit(ring, [nop(3).link().into(), LinkTimeout::new(&LONG).user_data(4).link().into(), nop(5).into()]);
        outcomes.extend(reap(ring, 3));
        // Nothing to limit.
        submit(ring, [LinkTimeout::new(&SHORT).user_data(6).into()]);
        outcomes.extend(reap(ring, 1));
        assert_eq!(
            (&outcomes[&1], &outcomes[&2], &outcomes[&4]),
            (&vec![CANCELED], &vec![failed(Errno::TIME)], &vec![CANCELED])
        );
        outcomes
    });
}

#[test]
fn a_drain_waits_for_everything_before_and_holds_back_everything_after() {
    twins(|ring| {
        let first = Timeout::new(&SHORT).user_data(1);
        submit(ring, [first.into(), nop(2).drain().into(), nop(3).into()]);
        let mut order = Vec::new();
        while order.len() < 3 {
            ring.submit_and_wait(1).expect("a wait");
            order.extend(ring.completions().map(|cqe| cqe.user_data().0));
        }
        assert_eq!(order, [1, 2, 3]);
        submit(ring, [nop(4).into(), nop(5).link().into(), nop(6).drain().into(), nop(7).into()]);
        let mut outcomes = reap(ring, 4);
        submit(ring, [nop(8).skip_success().into(), nop(9).drain().into()]);
        outcomes.extend(reap(ring, 1));
        assert_eq!(outcomes[&9], [failed(Errno::OPNOTSUPP)]);
        outcomes
    });
}

#[test]
fn a_submission_ends_a_chain() {
    twins(|ring| {
        submit(ring, [failing(1).link().into()]);
        while ring.pending() > 0 {
            // A polling thread takes what it finds in one go; wait until it has.
            ring.submit_with(&Wait::new(2).timeout(Duration::from_millis(1))).expect("a wait");
        }
        submit(ring, [nop(2).into()]);
        reap(ring, 2)
    });
}

#[test]
fn members_of_a_chain_complete_in_their_order() {
    seeds(|sim| {
        let mut ring = sim.ring(8).expect("a ring");
        submit(&mut ring, [nop(1).link().into(), nop(2).link().into(), nop(3).link().into(), nop(4).into()]);
        let mut order = Vec::new();
        while order.len() < 4 {
            ring.submit_and_wait(1).expect("a wait");
            order.extend(ring.completions().map(|cqe| cqe.user_data().0));
        }
        assert_eq!(order, [1, 2, 3, 4]);
    });
}

/// A small program, from a number, and how many entries are sure to complete. Entries that drain, and chains that only
/// the submission ends, are left to workers, for which one has to wait; all others complete at once, as far as they do.
fn program(mut number: u64) -> (Vec<Nop<'static>>, usize) {
    let mut pick = |of: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) % of
    };
    let drains = pick(2) == 0;
    let mut entries = Vec::new();
    let last = pick(8);
    for n in 0..=last {
        let mut entry = match pick(8) {
            0 => malformed(n),
            1 | 2 => failing(n),
            _ => nop(n),
        };
        entry = match pick(6) {
            0 | 1 if n < last => entry.link(),
            2 if n < last => entry.hard_link(),
            _ => entry,
        };
        if pick(4) == 0 {
            entry = if drains { entry.drain() } else { entry.skip_success() };
        }
        entries.push(entry);
    }
    let sure = if drains { entries.len() } else { 0 };
    (entries, sure)
}

/// Runs a program, and tells how many entries were taken at first, and what came of all.
fn run(ring: &mut Ring, number: u64) -> (u32, crate::Outcomes) {
    let (entries, sure) = program(number);
    for entry in entries {
        ring.push(entry).expect("room");
    }
    let taken = ring.submit().expect("a submission");
    let mut outcomes = crate::Outcomes::new();
    let mut patience = 1000;
    loop {
        let wait = ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(2))).expect("a wait").wait;
        for cqe in ring.completions() {
            let result = cqe.result().map_or_else(|errno| -errno.raw_os_error(), |res| res as i32);
            outcomes.entry(cqe.user_data().0).or_default().push((result, cqe.flags().bits()));
        }
        let done = wait == WaitEnd::TimedOut && ring.pending() == 0 && outcomes.len() >= sure;
        patience -= 1;
        if done || patience == 0 {
            return (taken, outcomes);
        }
    }
}

#[test]
fn chains_of_all_sorts_end_as_on_the_kernel() {
    for number in 0..300 {
        let flags = if number % 2 == 0 { SetupFlags::SUBMIT_ALL } else { SetupFlags::empty() };
        let real = run(&mut Ring::setup(16).raw_flags(flags).build().expect("a ring"), number);
        for seed in 0..5 {
            let sim = Sim::new(seed);
            let simulated = run(&mut sim.setup(16).raw_flags(flags).build().expect("a ring"), number);
            assert_eq!(simulated, real, "program {number}, seed {seed}: {:?}", program(number));
        }
    }
}
