//! Copying through a ring: what arrives, what a failure leaves behind, and what the errors say.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/files.rs"]
mod files;
#[path = "../common/io.rs"]
mod io;

mod content;
mod failures;
mod places;
mod streams;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use files::Dir;
use rawring::copy::{Options, Progress, Summary};

const MIB: usize = 1 << 20;

/// A file with this content.
fn put(dir: &Dir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path(name);
    fs::write(&path, bytes).expect("a file for the test");
    path
}

/// Bytes of which no two places look alike for long.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn go_on(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[track_caller]
fn copied(options: Options, src: &Path, dst: &Path) -> Summary {
    options.copy(src, dst, go_on).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

/// Compares without printing megabytes.
#[track_caller]
fn same(dst: &Path, expected: &[u8], what: &str) {
    let found = fs::read(dst).expect("the copy");
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let differs = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}: first byte that differs");
}
