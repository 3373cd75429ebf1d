//! What the steps have in common: rings, memory as the kernel counts it, limits, and timing.

use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::curve::{self, Step};
use rawring::Ring;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A ring as a program makes it that submits and reaps on one thread, or a plain one where the kernel has no other.
pub fn ring(entries: u32, completions: u32) -> Ring {
    let setup = Ring::setup(entries).cq_entries(completions);
    setup.clone().single_issuer().defer_taskrun().build().or_else(|_| setup.build()).expect("a ring")
}

/// How long something small is repeated.
pub fn time(step: &Step) -> Duration {
    Duration::from_millis(if step.smoke { 1 } else { 40 })
}

/// Bytes of this process that are in memory.
fn resident() -> f64 {
    // Not from statm, whose sums lag behind by some pages for each processor.
    field("/proc/self/smaps_rollup", "Rss:").expect("the kernel counts resident memory")
}

/// Bytes that the kernel has allocated for its objects: of the whole machine, so only large differences mean anything.
fn kernel_objects() -> f64 {
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

/// Raises the soft limit of open files of this process to the hard one.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Where it cannot be raised, the old one stays in force.
    let _kept = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Whether this process may have so many files open, besides its few others.
pub fn can_open(files: u64) -> Result<(), String> {
    const OTHERS: u64 = 64;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if files + OTHERS > limit => Err(format!(
            "no more than {limit} files may be open here (the hard limit RLIMIT_NOFILE, which is not raised)"
        )),
        _ => Ok(()),
    }
}

/// A descriptor that stays open until the process ends.
pub fn forever(fd: impl Into<OwnedFd>) -> BorrowedFd<'static> {
    let fd = fd.into().into_raw_fd();
    // SAFETY: nobody owns it any more, so nobody closes it.
    unsafe { BorrowedFd::borrow_raw(fd) }
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

/// What there is before a step, to tell what it added.
pub struct Memory {
    resident: f64,
    objects: f64,
}

impl Memory {
    /// Fewer than this are lost in the pages that everything else needs.
    const COUNTABLE: u64 = 1 << 10;

    pub fn now() -> Self {
        Memory { resident: resident(), objects: kernel_objects() }
    }

    /// Says what was added for each of so many, as far as the family asks for it.
    pub fn say(&self, step: &mut Step, size: u64) {
        if size >= Self::COUNTABLE && step.asks_for(curve::MEMORY.name) {
            step.say(curve::MEMORY.name, (resident() - self.resident) / size as f64);
        }
        // Others use the kernel, too.
        if size >= 16 * Self::COUNTABLE && step.asks_for(curve::KERNEL_MEMORY.name) {
            step.say(curve::KERNEL_MEMORY.name, (kernel_objects() - self.objects) / size as f64);
        }
    }
}
