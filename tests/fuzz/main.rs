//! The bodies of the fuzz targets, run here on their seeds, on seeds that were cut and changed, and on random bytes.
//!
//! `fuzz/fuzz_targets/NAME.rs` calls the same function with what libFuzzer comes up with. A file that made it crash is
//! a test as soon as it lies in `fuzz/seeds/NAME/`: every file there is run.

mod buf_ring;
mod child;
#[path = "../common/mod.rs"]
mod common;
mod decode;
mod kernel;
#[path = "../programs/mod.rs"]
mod programs;
mod register;
#[cfg(feature = "sim")]
mod sim;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The seeds of a target by name.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("a seed"));
    let seeds: Vec<_> = files.map(|file| read(file.expect("a file").path())).collect();
    assert!(!seeds.is_empty(), "{}: no seeds", dir.display());
    seeds
}

/// Runs a target's body on its seeds, on each of them changed in every place, and `cases` times on random bytes.
fn exercise(target: &str, cases: u32, run: fn(&[u8])) {
    for (path, seed) in seeds(target) {
        let run = |what: &str, bytes: &[u8]| {
            catch_unwind(AssertUnwindSafe(|| run(bytes))).unwrap_or_else(|panic| {
                eprintln!("{}, {what}: {bytes:?}", path.display());
                resume_unwind(panic)
            });
        };
        run("as it is", &seed);
        for i in 0..seed.len() {
            run("cut", &seed[..i]);
            for value in [0, 0x7f, 0x80, 0xff, seed[i] ^ 1, seed[i].wrapping_add(1), seed[i].wrapping_sub(1)] {
                let mut changed = seed.clone();
                changed[i] = value;
                run("with a byte changed", &changed);
            }
        }
    }
    arbitrary(cases, run);
}

/// Runs a target's body on its seeds, and `cases` times on random bytes: for those that take milliseconds.
fn exercise_slow(target: &str, cases: u32, run: fn(&[u8])) {
    seeds(target).iter().for_each(|(path, seed)| {
        eprintln!("{}", path.display());
        run(seed);
    });
    arbitrary(cases, run);
}

fn arbitrary(cases: u32, run: fn(&[u8])) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let bytes = prop::collection::vec(any::<u8>(), 0..256);
    let result = TestRunner::new(config).run(&bytes, |bytes| {
        run(&bytes);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn buf_ring() {
    // Inputs ask for every kind of group.
    common::needs!(common::since(rawring::Version::new(7, 1)).or_else(|_| min_left()));
    exercise("buf_ring", 3_000, buf_ring::run);
}

/// Late updates of older releases have it, too, so that only trying tells.
fn min_left() -> Result<(), String> {
    use rawring::buf_ring::BufRing;
    let mut ring = rawring::Ring::new(1).map_err(|error| error.to_string())?;
    // SAFETY: nothing picks from the group.
    let setup = unsafe { BufRing::setup(rawring::operand::Group(1), 1, 8).incremental(2) };
    setup.build(&mut ring).map(drop).map_err(|_| "needs min_left of buffer rings (Linux 7.1)".to_string())
}

#[test]
fn decode() {
    exercise("decode", 5_000, decode::run);
}

#[cfg(feature = "sim")]
#[test]
fn sim() {
    exercise_slow("sim", 200, sim::run);
}

/// In a process of its own: its children are copies of one that has no other threads.
#[test]
fn kernel() {
    if common::kernel_has_op("kernel", rawring::op::CancelAny::INFO) {
        common::in_own_process("kernel", || exercise_slow("kernel", 100, kernel::run));
    }
}

/// Whether a simulated kernel can tell a bad address, for which it asks the real one.
#[cfg(feature = "sim")]
fn bad_addresses() -> Result<(), String> {
    let (local, page) = (0_u8, rustix::param::page_size());
    let first = (&raw const local).map_addr(|address| address & !(page - 1)).cast_mut().cast();
    // SAFETY: populating changes nothing that a program can see.
    let populated = unsafe { rustix::mm::madvise(first, page, rustix::mm::Advice::LinuxPopulateRead) };
    populated.map_err(|_| "needs MADV_POPULATE_READ (Linux 5.14)".to_owned())
}

#[cfg(feature = "sim")]
#[test]
fn register_on_simulated_kernels() {
    common::needs!(bad_addresses());
    exercise_slow("register", 500, register::simulated);
    exercise_slow("register", 500, register::lied_to);
}

/// In a process of its own, as `kernel`.
#[test]
fn register_on_the_kernel() {
    // Before that, tags are lost with their table.
    common::needs!(common::since(rawring::Version::new(6, 13)));
    common::in_own_process("register_on_the_kernel", || exercise_slow("register", 300, register::on_the_kernel));
}

/// The entrance of the fuzz target leads to each of them.
#[test]
fn register_anywhere() {
    common::needs!(common::since(rawring::Version::new(6, 13)));
    common::in_own_process("register_anywhere", || (0..4).for_each(|place| register::run(&[place])));
}
