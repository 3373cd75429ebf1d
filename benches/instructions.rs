//! Instructions in user space for each operation, exact: the difference of two runs under `valgrind --tool=callgrind`
//! that differ in nothing but the number of rounds.
//!
//!     cargo bench --bench instructions               prints the table
//!     cargo bench --bench instructions -- --check    measures the rows of the committed table, and fails where one is worse
//!     cargo bench --bench instructions -- --write    writes the committed table

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

use clap::Parser;
use rawring_benches::{DIRECT, LARGEST, Liburing, VARIANTS, Work, make};

const BATCHES: [u32; 4] = [1, 8, 32, LARGEST];
/// The rounds of the two runs. The first has to be past whatever happens only once.
const LOOPS: [u32; 2] = [100, 1100];
/// What a row may be above the committed one: an instruction for each operation, and three for each enter.
const SLACK: (f64, f64) = (1.0, 3.0);

#[derive(Parser)]
struct Options {
    /// Measure what is in the committed table only, and fail where that needs more than the table says.
    #[arg(long, conflicts_with = "only")]
    check: bool,
    /// Write the committed table.
    #[arg(long, conflicts_with_all = ["check", "only"])]
    write: bool,
    /// Measure only variants whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// What cargo hands to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
    /// Make rounds and end: variant, work, loops, batch.
    #[arg(long, hide = true, num_args = 4)]
    rounds: Option<Vec<String>>,
}

/// Instructions of a round of each batch, by work and variant, in the order of both.
type Table = Vec<(Work, &'static str, [f64; BATCHES.len()])>;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(rounds) = &options.rounds {
        return run(rounds);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: instructions: valgrind is not installed");
        return if options.check { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.tsv");
    let committed = options.check.then(|| std::fs::read_to_string(&place).expect("the committed table"));
    let table = measure(|work, variant| match &committed {
        Some(committed) => committed.contains(&format!("\n{}\t{variant}\t", work.name())),
        None => variant.contains(&options.only),
    });
    print(&table);
    if options.write {
        std::fs::write(&place, to_text(&table)).expect("writing the table");
    }
    if committed.is_some_and(|committed| !holds(&table, &committed)) {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The child: makes the rounds. What is counted is all that it does.
fn run(rounds: &[String]) -> ExitCode {
    let [variant, work, loops, batch] = rounds else { unreachable!("clap counts them") };
    let work = Work::ALL.into_iter().find(|known| known.name() == work).expect("a work");
    let Some(mut work) = make(variant, work) else { return ExitCode::FAILURE };
    work.rounds_at(0, loops.parse().expect("a number"), batch.parse().expect("a number"));
    ExitCode::SUCCESS
}

/// One row to be measured, and the program that can.
struct Job {
    program: PathBuf,
    variant: &'static str,
    work: Work,
}

fn measure(wanted: impl Fn(Work, &str) -> bool) -> Table {
    let this = std::env::current_exe().expect("the benchmark has a name");
    let mut variants: Vec<_> = VARIANTS.iter().map(|(name, _)| (*name, this.clone())).collect();
    let any = |variant: &str| Work::ALL.into_iter().any(|work| wanted(work, variant));
    if let (true, Err(reason)) = (any("liburing"), Liburing::get()) {
        println!("skipped: liburing: {reason}");
    }
    // Another build of everything: not for nothing.
    if any(DIRECT) {
        match direct_syscall() {
            Ok(program) => variants.push((DIRECT, program)),
            Err(reason) => println!("skipped: {DIRECT}: {reason}"),
        }
    }
    let jobs: Vec<_> = Work::ALL
        .into_iter()
        .flat_map(|work| variants.iter().map(move |(variant, program)| Job { program: program.clone(), variant, work }))
        .filter(|job| wanted(job.work, job.variant))
        .enumerate()
        .collect();
    let total = jobs.len();
    let (jobs, results) = (Mutex::new(jobs.into_iter()), Mutex::new(BTreeMap::new()));
    let next = || jobs.lock().expect("no thread panics with it").next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while let Some((index, job)) = next() {
                    let row = BATCHES.map(|batch| round(&job, batch));
                    results.lock().expect("no thread panics with it").insert(index, (job, row));
                }
            });
        }
    });
    let results = results.into_inner().expect("no thread panicked");
    assert_eq!(results.len(), total);
    let whole = |(job, row): (Job, [Option<f64>; BATCHES.len()])| {
        let mut numbers = [0.0; BATCHES.len()];
        for (to, from) in numbers.iter_mut().zip(row) {
            *to = from?;
        }
        Some((job.work, job.variant, numbers))
    };
    results.into_values().filter_map(whole).collect()
}

/// Instructions of one round; nothing where this variant does not do this work.
fn round(job: &Job, batch: u32) -> Option<f64> {
    let [few, many] = LOOPS.map(|loops| {
        let out = std::env::temp_dir().join(format!("rawring-callgrind-{:?}", thread::current().id()));
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["-q", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", out.display()));
        valgrind.arg(&job.program).args(["--rounds", job.variant, job.work.name()]);
        let output = valgrind.args([loops.to_string(), batch.to_string()]).output().expect("valgrind");
        let counts = std::fs::read_to_string(&out);
        let _ = std::fs::remove_file(&out);
        if output.status.code() == Some(1) {
            return None;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} failed under valgrind: {said}", job.variant);
        let counts = counts.expect("what callgrind has counted");
        let total = counts.lines().find_map(|line| line.strip_prefix("summary: ")).expect("the sum");
        Some(total.trim().parse::<u64>().expect("a number"))
    });
    Some((many? - few?) as f64 / f64::from(LOOPS[1] - LOOPS[0]))
}

/// This benchmark with the other system calls of io-uring: a build of its own, since a build has one set of features.
fn direct_syscall() -> Result<PathBuf, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["bench", "-q", "--bench", "instructions", "--features", "direct-syscall", "--no-run"]);
    let output = cargo.arg("--message-format=json").output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    programs.next_back().ok_or_else(|| format!("it cannot be built: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What an operation adds to a large batch, and what is left of a batch of one.
fn split(row: &[f64]) -> (f64, f64) {
    let [one, .., large, largest] = *row else { unreachable!("there are four") };
    let operation = (largest - large) / f64::from(BATCHES[3] - BATCHES[2]);
    (operation, one - operation)
}

fn print(table: &Table) {
    for work in Work::ALL.into_iter().filter(|work| table.iter().any(|(of, ..)| of == work)) {
        println!("\n{}: instructions in user space for each operation, by batch; exact\n", work.name());
        println!("| | {} | of it an operation | an enter |", BATCHES.map(|batch| format!("b{batch}")).join(" | "));
        println!("| --- |{}", " --- |".repeat(BATCHES.len() + 2));
        for (_, variant, row) in table.iter().filter(|(of, ..)| *of == work) {
            let each = BATCHES.iter().zip(row).map(|(batch, round)| format!("{:.1} | ", round / f64::from(*batch)));
            let (operation, enter) = split(row);
            println!("| {variant} | {}{operation:.1} | {enter:.1} |", each.collect::<String>());
        }
    }
}

/// One line for each row of rawring: work, variant, an operation, an enter.
fn to_text(table: &Table) -> String {
    let ours = table.iter().filter(|(_, variant, _)| variant.starts_with("rawring"));
    let lines = ours.map(|(work, variant, row)| {
        let (operation, enter) = split(row);
        format!("{}\t{variant}\t{operation:.2}\t{enter:.2}\n", work.name())
    });
    format!("work\tvariant\toperation\tenter\n{}", lines.collect::<String>())
}

/// Whether every row of the committed table was measured and is no worse.
fn holds(table: &Table, committed: &str) -> bool {
    let mut holds = true;
    for line in committed.lines().skip(1) {
        let [work, variant, operation, enter] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a line of the committed table has four columns: {line}")
        };
        let (operation, enter): (f64, f64) = (operation.parse().expect("a number"), enter.parse().expect("a number"));
        let measured = table.iter().find(|(of, name, _)| of.name() == work && *name == variant);
        let Some((.., row)) = measured else {
            println!("{work}, {variant}: not measured");
            holds = false;
            continue;
        };
        let now = split(row);
        if now.0 > operation + SLACK.0 || now.1 > enter + SLACK.1 {
            println!("{work}, {variant}: {:.1} and {:.1} instead of {operation} and {enter}", now.0, now.1);
            holds = false;
        }
    }
    println!("\n{}", if holds { "no row is above the committed table" } else { "above the committed table" });
    holds
}
