//! The bodies of the fuzz targets, run here on their seeds, on seeds that were cut and changed, and on random bytes.
//!
//! `fuzz/fuzz_targets/NAME.rs` calls the same function with what libFuzzer comes up with. A file that made it crash is
//! a test as soon as it lies in `fuzz/seeds/NAME/`: every file there is run.

mod decode;

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

/// Runs a target's body on what there is for it, and `cases` times on random bytes.
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
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let bytes = prop::collection::vec(any::<u8>(), 0..256);
    let result = TestRunner::new(config).run(&bytes, |bytes| {
        run(&bytes);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn decode() {
    exercise("decode", 5_000, decode::run);
}
