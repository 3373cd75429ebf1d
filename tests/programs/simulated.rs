//! Generated programs on simulated kernels, and compared with the one that this runs on.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::programs::check;
use crate::programs::generate::calmed;
use crate::programs::liar::{bearable, endure};
use crate::programs::program::Program;
use crate::programs::sim::{Simulated, check_simulated, config_of};
use crate::strategy::{picking_programs, programs, tabled_programs};
use crate::{config, kept_programs, kernel};

/// The same programs, by the same ledger, on simulated kernels.
#[test]
fn generated_programs_keep_all_promises_on_simulated_kernels() {
    run_simulated(programs());
}

#[test]
fn item_20_generated_programs_lose_no_buffer_on_simulated_kernels() {
    run_simulated(picking_programs());
}

#[test]
fn item_36_generated_programs_keep_registered_files_on_simulated_kernels() {
    run_simulated(tabled_programs());
}

fn run_simulated(programs: impl Strategy<Value = Program>) {
    let run = |(program, seed)| check_simulated(&program, config_of(seed)).map(drop).map_err(TestCaseError::fail);
    let programs = (programs, any::<u64>());
    TestRunner::new(config(300)).run(&programs, run).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// What is kept is run on simulated kernels of every release, too.
#[test]
fn kept_on_simulated_kernels() {
    for program in kept_programs() {
        for seed in 0..100 {
            let checked = check_simulated(&program, config_of(seed));
            checked.unwrap_or_else(|wrong| panic!("{program:?}\nwith seed {seed}: {wrong}"));
        }
    }
}

/// Whatever a kernel says, no memory is given up that it has.
#[test]
fn programs_endure_kernels_that_lie() {
    let run = |(program, seed, percent)| {
        let world = Simulated::new(config_of(seed));
        endure(&program, &world, bearable(), percent).map_err(TestCaseError::fail)
    };
    let programs = (programs(), any::<u64>(), 0..64u8);
    TestRunner::new(config(300)).run(&programs, run).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// What leaves no choice ends in the same way here and there.
#[test]
fn simulated_kernels_and_this_one_agree() {
    let Some(kernel) = kernel("simulated_kernels_and_this_one_agree") else { return };
    let run = |(program, seed)| {
        let program = calmed(&program);
        let ran = |result: Result<_, String>| result.map_err(TestCaseError::fail);
        let real = ran(check(&program, kernel))?.expect("plain rings");
        let simulated = ran(check_simulated(&program, config_of(seed)))?.expect("plain rings");
        prop_assert_eq!(real.outcome(), simulated.outcome(), "{:?}", program);
        Ok(())
    };
    let programs = (programs(), any::<u64>());
    TestRunner::new(config(200)).run(&programs, run).unwrap_or_else(|wrong| panic!("{wrong}"));
}
