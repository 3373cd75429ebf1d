//! The process that measures: one column, a slice of every variant in each round, in random order.
//!
//! How much is in a slice is found out once, with the reference, and is the same for all.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rawring_benches::Spread;
use rawring_benches::ratio::{Contest, Extent, Pace, sections};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

use crate::Options;

/// How long a slice should be.
const SLICE: Duration = Duration::from_micros(400);

/// What a process says of its column.
#[derive(Serialize, Deserialize)]
pub(crate) enum Report {
    Measured {
        operations: f64,
        names: Vec<String>,
        /// For each round, the nanoseconds of each variant's slice.
        rounds: Vec<Vec<f64>>,
        /// The most that was resident at once, in bytes.
        peak: u64,
        skipped: Vec<String>,
    },
    Skipped(String),
}

/// The child: measures one column and reports.
pub(crate) fn execute(what: &[String], options: &Options) -> ExitCode {
    let [section, column, rounds] = what else { unreachable!("clap counts them") };
    let sections = sections();
    let section = sections.iter().find(|known| known.name == section).expect("a section");
    let column = section.columns.iter().find(|known| known.name == *column).expect("a column");
    if section.pinned {
        pin();
    }
    let extent = if options.smoke { Extent::Smoke } else { Extent::Full };
    let report = match column.make(extent) {
        Ok(mut contest) => {
            contest.variants.retain(|variant| options.alone.as_ref().is_none_or(|name| variant.name == *name));
            measure(contest, section.pace, rounds.parse().expect("a number"))
        }
        Err(reason) => Report::Skipped(reason),
    };
    println!("{}", serde_json::to_string(&report).expect("numbers and names"));
    ExitCode::SUCCESS
}

/// To the last processor that this process may use: the first one tends to have the interrupts.
fn pin() {
    let allowed = sched_getaffinity(None).expect("the processors of this process");
    let last = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)).expect("a processor");
    let mut only = CpuSet::new();
    only.set(last);
    sched_setaffinity(None, &only).expect("a processor that is allowed");
}

fn measure(mut contest: Contest, pace: Pace, rounds: u32) -> Report {
    let names = contest.variants.iter().map(|variant| variant.name.clone()).collect();
    let variants: Vec<_> = (0..contest.variants.len()).collect();
    let mut slice = |index: usize, loops: u32| {
        let variant = &mut contest.variants[index];
        let start = Instant::now();
        (variant.run)(loops);
        let took = start.elapsed();
        (variant.settle)();
        took
    };
    let mut loops = 1;
    if pace == Pace::Slices {
        // The fastest of some: what else the machine does must not make the slices short.
        let mut time = |loops| (0..5).map(|_| slice(0, loops)).min().expect("some");
        // Doubled until it is long enough, then cut to measure.
        let mut took = time(loops);
        while took < SLICE {
            loops *= 2;
            took = time(loops);
        }
        loops = ((f64::from(loops) * SLICE.as_secs_f64() / took.as_secs_f64()) as u32).max(1);
        // What happens only once is over then.
        for index in &variants {
            slice(*index, loops);
        }
    }
    let round = |_| {
        let mut order = variants.clone();
        fastrand::shuffle(&mut order);
        let mut times = vec![0.0; order.len()];
        for index in order {
            times[index] = slice(index, loops).as_nanos() as f64;
        }
        times
    };
    let rounds = (0..rounds).map(round).collect();
    let operations = f64::from(loops) * f64::from(contest.operations);
    Report::Measured { operations, names, rounds, peak: peak(), skipped: contest.skipped }
}

/// The most that was ever resident of this process.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("what the kernel says of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak of what was resident");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

impl Report {
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        let Report::Measured { names, .. } = self else { return None };
        names.iter().position(|known| known == name)
    }

    pub(crate) fn operations(&self) -> Option<f64> {
        let Report::Measured { operations, .. } = self else { return None };
        Some(*operations)
    }

    /// The median over the rounds of what is made of a round's times, for the variant of this name.
    pub(crate) fn median(&self, name: &str, of: impl Fn(&[f64], usize) -> Option<f64>) -> Option<f64> {
        let Report::Measured { rounds, .. } = self else { return None };
        let at = self.index(name)?;
        let numbers: Option<Vec<_>> = rounds.iter().map(|times| of(times, at)).collect();
        Some(Spread::of(numbers?).median)
    }
}
