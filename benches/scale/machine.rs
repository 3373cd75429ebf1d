//! What the steps have in common: rings, memory as the kernel counts it, limits, and timing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rawring::Ring;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A ring as a program makes it that submits and reaps on one thread, or a plain one where the kernel has no other.
pub fn ring(entries: u32, completions: u32) -> Ring {
    let setup = Ring::setup(entries).cq_entries(completions);
    setup.clone().single_issuer().defer_taskrun().build().or_else(|_| setup.build()).expect("a ring")
}

/// Bytes of this process that are in memory.
pub fn resident() -> f64 {
    // Not from statm, whose sums lag behind by some pages for each processor.
    field("/proc/self/smaps_rollup", "Rss:").expect("the kernel counts resident memory")
}

/// Bytes that the kernel has allocated for its objects: of the whole machine, so only large differences mean anything.
pub fn kernel_objects() -> f64 {
    field("/proc/meminfo", "Slab:").expect("the kernel counts its objects")
}

/// Bytes that can be had without swapping.
pub fn available() -> f64 {
    field("/proc/meminfo", "MemAvailable:").expect("the kernel counts memory")
}

fn field(file: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().trim_end_matches(" kB").parse::<f64>().ok()? * 1024.0)
}

/// Raises the soft limit of open files of this process to the hard one, and gives that.
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the old one is in force.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let limit = if raised.is_ok() { limit.maximum } else { limit.current };
    limit.unwrap_or(u64::MAX)
}

/// A descriptor that stays open until the process ends.
pub fn forever(fd: OwnedFd) -> BorrowedFd<'static> {
    let fd: &'static OwnedFd = Box::leak(Box::new(fd));
    fd.as_fd()
}

/// The median of what `round` takes for each of `operations`, in nanoseconds: rounds go on for as long as is said, and
/// there are three at least.
pub fn median_round(time: Duration, operations: u64, mut round: impl FnMut()) -> f64 {
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 3 || start.elapsed() < time {
        let begin = Instant::now();
        round();
        times.push(nanoseconds(begin, operations));
    }
    median(times)
}

/// Nanoseconds since then, for each operation.
pub fn nanoseconds(begin: Instant, operations: u64) -> f64 {
    begin.elapsed().as_nanos() as f64 / operations as f64
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
