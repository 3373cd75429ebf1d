//! Time as ratios: variants of the same work in one process, a slice of each in every round.
//!
//!     cargo bench --bench ratio                      prints all tables (some minutes)
//!     cargo bench --bench ratio -- --only nop        prints one
//!     cargo bench --bench ratio -- --smoke           only sees that everything works
//!
//! This process only starts others (`execute.rs`) and does the sums (`table.rs`). Each of the others is given one column
//! of one section. What goes to the standard output is Markdown.

mod execute;
mod table;

use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use rawring_benches::PLACES;
use rawring_benches::ratio::{Pace, Section, sections};

use execute::{Report, execute};
use table::Measured;

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
         Where the code of a loop lies moves a batch of one by 3 %, whatever the code; on some processors it adds 100 ns \
         and more to every round. No number here knows better than that. Of `nop` and `read`, each process picks one of \
         {PLACES} copies of each loop by chance (of liburing and the safe doors there is one), so that the ranges show it.",
        options.rounds, options.executions
    );
    if options.smoke {
        println!("\nThis was a smoke test: the numbers mean nothing.");
    }
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
fn ask(section: &Section, column: &str, rounds: u32, alone: Option<&str>, smoke: bool) -> Report {
    let mut child = Command::new(std::env::current_exe().expect("the benchmark has a name"));
    child.args(["--execute", section.name, column, &rounds.to_string()]);
    child.args(alone.map(|name| ["--alone", name]).iter().flatten());
    child.args(smoke.then_some("--smoke"));
    let output = child.stderr(Stdio::inherit()).output().expect("this program again");
    assert!(output.status.success(), "{}, {column} failed", section.name);
    serde_json::from_slice(&output.stdout).expect("a report")
}
