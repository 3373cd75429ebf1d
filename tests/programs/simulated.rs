//! Generated programs on simulated kernels, and compared with the one that this runs on.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rawring::sim::Config;

use crate::programs::check;
use crate::programs::generate::{calmed, programs};
use crate::programs::program::Program;
use crate::programs::sim::Simulated;
use crate::programs::trace::Trace;
use crate::{config, kernel};

/// The same programs, by the same ledger, on simulated kernels.
#[test]
fn generated_programs_keep_all_promises_on_simulated_kernels() {
    let run = |(program, seed)| on_simulation(&program, seed).map(drop).map_err(TestCaseError::fail);
    let programs = (programs(), any::<u64>());
    TestRunner::new(config(300)).run(&programs, run).unwrap_or_else(|wrong| panic!("{wrong}"));
}

fn on_simulation(program: &Program, seed: u64) -> Result<Option<Trace>, String> {
    let mut config = Config::new(seed);
    config.short = 0;
    let world = Simulated::new(config);
    let trace = check(program, &world)?;
    let violations = world.sim().violations();
    if violations.is_empty() { Ok(trace) } else { Err(format!("{violations:?}")) }
}

/// What leaves no choice ends in the same way here and there.
#[test]
fn simulated_kernels_and_this_one_agree() {
    let Some(kernel) = kernel("simulated_kernels_and_this_one_agree") else { return };
    let run = |(program, seed)| {
        let program = calmed(&program);
        let ran = |result: Result<_, String>| result.map_err(TestCaseError::fail);
        let real = ran(check(&program, kernel))?.expect("plain rings");
        let simulated = ran(on_simulation(&program, seed))?.expect("plain rings");
        prop_assert_eq!(real.outcome(), simulated.outcome(), "{:?}", program);
        Ok(())
    };
    let programs = (programs(), any::<u64>());
    TestRunner::new(config(200)).run(&programs, run).unwrap_or_else(|wrong| panic!("{wrong}"));
}
