//! Everything that the crate does with rings, on simulated kernels: every seed is another run.
//!
//! Positions start at `u32::MAX - 1`, so that every test passes the wrap. Every failure names its seed.

mod ring;

use rawring::flags::SetupFlags;
use rawring::sim::Sim;
use rawring::{Ring, Setup};

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
