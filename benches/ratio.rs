//! Time as ratios: variants of the same work in one process, a slice of each in every round.
//!
//!     cargo bench --bench ratio                      prints all tables (some minutes)
//!     cargo bench --bench ratio -- --only nop        prints one
//!     cargo bench --bench ratio -- --smoke           only sees that everything works
//!
//! This process only starts others and does the sums. Each of the others is given one column of one section, calibrates
//! how much is in a slice, and reports what every slice took. What goes to the standard output is Markdown.

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use rawring_benches::Spread;
use rawring_benches::ratio::{AGAIN, Contest, Extent, Memory, Pace, Section, Target, sections};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// How long a slice should be.
const SLICE: Duration = Duration::from_micros(400);
/// How far a variant may be from its copy for a verdict.
const NOISE: f64 = 0.01;

#[derive(Parser)]
struct Options {
    /// Measure only sections whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// How many processes measure each column.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    executions: u32,
    /// How many rounds each process makes.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// See that everything works: a few rounds of each. The numbers mean nothing.
    #[arg(long)]
    smoke: bool,
    /// What cargo hands to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// Measure one column: section, column, rounds.
    #[arg(long, hide = true, num_args = 3)]
    execute: Option<Vec<String>>,
    /// Only this variant of it.
    #[arg(long, hide = true)]
    alone: Option<String>,
}

/// What a process says of its column.
#[derive(Serialize, Deserialize)]
enum Report {
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

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(what) = &options.execute {
        return execute(what, &options);
    }
    let sections: Vec<_> = sections().into_iter().filter(|section| section.name.contains(&options.only)).collect();
    if sections.is_empty() {
        eprintln!("no section is called like {:?}", options.only);
        return ExitCode::FAILURE;
    }
    introduce(&options);
    for section in &sections {
        Measured::new(section, &options).print(&options);
    }
    ExitCode::SUCCESS
}

fn introduce(options: &Options) {
    println!(
        "Time in relation to a reference: less is better, 0.90 means a tenth less time. All variants of a column are in \
         one process, and a round has a slice of each, in random order. What is compared are slices of the same round; a \
         process says the median over its {} rounds, and here are the median and, in brackets, the range over {} \
         processes, each with addresses of its own. The reference runs against a copy of itself, too: where that is off by \
         more than 1 %, the column is noisy, and there is no verdict.\n\n\
         Where the linker puts the code of a loop moves a batch of one by 3 %, whatever the code. No number here knows \
         better than that.",
        options.rounds, options.executions
    );
    if options.smoke {
        println!("\nThis was a smoke test: the numbers mean nothing.");
    }
}

/// The child: measures one column and reports.
fn execute(what: &[String], options: &Options) -> ExitCode {
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
        // Doubled until it is long enough, then cut to measure.
        let mut took = slice(0, loops);
        while took < SLICE {
            loops *= 2;
            took = slice(0, loops);
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

/// A section with what all of its processes said: for each column, each of them.
struct Measured<'s> {
    section: &'s Section,
    columns: Vec<Vec<Report>>,
}

/// How many rounds there are in how many processes.
fn extent(section: &Section, options: &Options) -> (u32, u32) {
    match (options.smoke, section.pace) {
        (true, Pace::Slices) => (3, 1),
        (true, Pace::Commands { .. }) => (1, 1),
        (false, Pace::Slices) => (options.rounds, options.executions),
        (false, Pace::Commands { rounds, executions }) => (rounds, executions),
    }
}

/// Has another process measure a column, or one variant of it.
fn child(section: &Section, column: &str, rounds: u32, alone: Option<&str>, smoke: bool) -> Report {
    let mut child = Command::new(std::env::current_exe().expect("the benchmark has a name"));
    child.args(["--execute", section.name, column, &rounds.to_string()]);
    child.args(alone.map(|name| ["--alone", name]).iter().flatten());
    child.args(smoke.then_some("--smoke"));
    let output = child.stderr(Stdio::inherit()).output().expect("this program again");
    assert!(output.status.success(), "{}, {column} failed", section.name);
    serde_json::from_slice(&output.stdout).expect("a report")
}

impl<'s> Measured<'s> {
    fn new(section: &'s Section, options: &Options) -> Self {
        let (rounds, executions) = extent(section, options);
        let mut columns: Vec<_> = section.columns.iter().map(|_| Vec::new()).collect();
        for number in 1..=executions {
            eprintln!("{}: {number} of {executions}", section.name);
            for (column, reports) in section.columns.iter().zip(&mut columns) {
                reports.push(child(section, &column.name, rounds, None, options.smoke));
            }
        }
        Measured { section, columns }
    }

    /// The names of all variants that are in any column, in order.
    fn names(&self) -> Vec<&str> {
        let mut all = Vec::new();
        for report in self.columns.iter().flatten() {
            let Report::Measured { names, .. } = report else { continue };
            for name in names {
                if !all.contains(&name.as_str()) {
                    all.push(name);
                }
            }
        }
        all
    }

    /// One number for each process, from the time of a variant and what it is put in relation to.
    fn spread(&self, column: usize, of: impl Fn(&Report) -> Option<f64>) -> Option<Spread> {
        let numbers: Option<Vec<_>> = self.columns[column].iter().map(of).collect();
        numbers.map(Spread::of)
    }

    fn ratio(&self, column: usize, who: &str, against: &str) -> Option<Spread> {
        self.spread(column, |report| report.median(who, |times, at| Some(times[at] / times[report.index(against)?])))
    }

    fn print(&self, options: &Options) {
        let Section { name, note, unit, columns, .. } = self.section;
        println!("\n### {name}\n\n{note}");
        if let Pace::Commands { rounds, executions } = self.section.pace {
            println!("A slice takes long here: {rounds} rounds in each of {executions} processes.");
        }
        let mut skipped: Vec<String> = Vec::new();
        for (column, reports) in columns.iter().zip(&self.columns) {
            for report in reports {
                let lines = match report {
                    Report::Skipped(reason) => vec![format!("{name}, {}: {reason}", column.name)],
                    Report::Measured { skipped, .. } => skipped.clone(),
                };
                skipped.extend(lines);
            }
        }
        skipped.sort();
        skipped.dedup();
        for line in skipped {
            println!("\nskipped: {line}");
        }
        let names = self.names();
        let Some(reference) = names.first() else { return };
        let head = |title: &str| {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            println!("\n| {title} | {} |\n| --- |{}", names.join(" | "), " --- |".repeat(names.len()));
        };
        let row = |title: &str, cell: &dyn Fn(usize) -> Option<String>| {
            let cells = (0..columns.len()).map(|column| cell(column).unwrap_or_else(|| "–".to_owned()));
            println!("| {title} | {} |", cells.collect::<Vec<_>>().join(" | "));
        };
        head("");
        row(&format!("{reference}, time for each {unit}"), &|column| {
            let time = self
                .spread(column, |report| report.median(reference, |times, at| Some(times[at] / report.operations()?)));
            time.map(|time| duration(time.median))
        });
        for name in &names[1..] {
            row(name, &|column| self.ratio(column, name, reference).map(|ratio| text(&ratio)));
        }
        if !self.section.targets.is_empty() {
            head("target");
        }
        for Target { who, against, most } in &self.section.targets {
            row(&format!("{who} to {against}"), &|column| {
                let measured = self.ratio(column, who, against)?;
                let copy = self.ratio(column, &format!("{reference}{AGAIN}"), reference)?;
                let verdict = match measured.median <= most[column] {
                    _ if options.smoke => "not judged",
                    _ if (copy.median - 1.0).abs() > NOISE => "noisy",
                    true => "holds",
                    false => "**missed**",
                };
                let digits = if most[column] < 1.0 { 2 } else { 3 };
                Some(format!("{:.3}, at most {:.digits$}: {verdict}", measured.median, most[column]))
            });
        }
        if let Some(memory) = self.section.memory {
            self.print_memory(memory, &names, options);
        }
    }

    /// What each variant needs, measured now in a process of its own.
    fn print_memory(&self, Memory { buffers, most }: Memory, names: &[&str], options: &Options) {
        println!("\n| peak of the resident memory of a process that does only this | bytes beyond the buffers | |");
        println!("| --- | --- | --- |");
        let (rounds, _) = extent(self.section, options);
        let columns = || self.section.columns.iter().map(|column| &column.name);
        for (column, name) in columns().flat_map(|column| names.iter().map(move |name| (column, name))) {
            let Report::Measured { peak, .. } = child(self.section, column, rounds, Some(name), options.smoke) else {
                continue;
            };
            let beyond = peak.saturating_sub(buffers);
            let verdict = match beyond <= most {
                _ if options.smoke => "not judged",
                true => "holds",
                false => "**missed**",
            };
            let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            println!("| {name} | {:.2} MiB | at most {} MiB: {verdict} |", mebibytes(beyond), mebibytes(most));
        }
    }
}

impl Report {
    fn index(&self, name: &str) -> Option<usize> {
        let Report::Measured { names, .. } = self else { return None };
        names.iter().position(|known| known == name)
    }

    fn operations(&self) -> Option<f64> {
        let Report::Measured { operations, .. } = self else { return None };
        Some(*operations)
    }

    /// The median over the rounds of what is made of a round's times, for the variant of this name.
    fn median(&self, name: &str, of: impl Fn(&[f64], usize) -> Option<f64>) -> Option<f64> {
        let Report::Measured { rounds, .. } = self else { return None };
        let at = self.index(name)?;
        let numbers: Option<Vec<_>> = rounds.iter().map(|times| of(times, at)).collect();
        Some(Spread::of(numbers?).median)
    }
}

fn text(ratio: &Spread) -> String {
    format!("{:.3} ({:.3}..{:.3})", ratio.median, ratio.min, ratio.max)
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e4 => format!("{nanoseconds:.1} ns"),
        ..1e7 => format!("{:.1} µs", nanoseconds / 1e3),
        _ => format!("{:.0} ms", nanoseconds / 1e6),
    }
}
