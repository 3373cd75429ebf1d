//! Everything that the crate does with rings, on simulated kernels: every seed is another run.
//!
//! Positions start at `u32::MAX - 1`, so that every test passes the wrap. Every failure names its seed.

mod adversary;
mod buf_ring;
mod buffers;
mod cancel;
mod chain;
#[path = "../common/mod.rs"]
mod common;
mod doors;
mod files;
mod files_table;
mod kinds;
mod ring;
mod slots;
mod sockets;
mod time;

use std::collections::BTreeMap;

use rawring::flags::SetupFlags;
use rawring::sim::Sim;
use rawring::{Errno, Ring, Setup, Wait};

/// How many runs of each test.
const SEEDS: u64 = 100;

/// Runs a test on many kernels, and checks each for memory that was touched while it was lent.
fn seeds(test: impl Fn(&Sim)) {
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            test(&sim);
            sim.check();
        }));
        if let Err(panic) = run {
            eprintln!("with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// What a program came to: the results and flags of each entry's completions, by its `user_data`.
type Outcomes = BTreeMap<u64, Vec<(i32, u32)>>;

/// Submits, and reaps so many completions.
fn reap(ring: &mut Ring, count: usize) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut reaped = 0;
    while reaped < count {
        ring.submit_with(&Wait::new(1)).expect("a wait");
        for cqe in ring.completions() {
            let result = cqe.result().map_or_else(|errno| -errno.raw_os_error(), |res| res as i32);
            outcomes.entry(cqe.user_data().0).or_default().push((result, cqe.flags().bits()));
            reaped += 1;
        }
    }
    outcomes
}

/// Runs a program on the real kernel and on many simulated ones, on every kind of ring; all of them agree.
fn twins(program: impl Fn(&mut Ring) -> Outcomes) {
    for &kind in KINDS {
        let real = Ring::setup(16).submit_all().raw_flags(kind).build().map(|mut ring| program(&mut ring));
        let Ok(real) = real else {
            common::skipped("twins", &format!("this kernel makes no ring with {kind:?}"));
            continue;
        };
        seeds(|sim| assert_eq!(program(&mut ring(sim, 16, kind)), real, "{kind:?}"));
    }
}

/// The result of an error.
fn failed(errno: Errno) -> (i32, u32) {
    (-errno.raw_os_error(), 0)
}

/// Rings of every kind that completes things in another way.
const KINDS: &[SetupFlags] = &[
    SetupFlags::empty(),
    SetupFlags::SQPOLL,
    SetupFlags::COOP_TASKRUN,
    SetupFlags::COOP_TASKRUN.union(SetupFlags::TASKRUN_FLAG),
    SetupFlags::DEFER_TASKRUN.union(SetupFlags::SINGLE_ISSUER),
    SetupFlags::DEFER_TASKRUN.union(SetupFlags::SINGLE_ISSUER).union(SetupFlags::TASKRUN_FLAG),
];

/// A ring with these flags.
fn ring(sim: &Sim, entries: u32, flags: SetupFlags) -> Ring {
    setup(sim, entries, flags).build().unwrap_or_else(|error| panic!("{flags:?}: {error}"))
}

fn setup(sim: &Sim, entries: u32, flags: SetupFlags) -> Setup<'static> {
    sim.setup(entries).submit_all().raw_flags(flags)
}
