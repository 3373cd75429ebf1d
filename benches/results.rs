//! All benchmarks in one run, and what they say in one file.
//!
//!     cargo bench --bench results                                    writes benches/RESULTS.md and benches/curves
//!     cargo bench --bench results -- --smoke --output /tmp/R.md      only sees that everything works
//!
//! The benchmarks are built first, then the machine is asked what it is and whether it is quiet, and then they run, one
//! after the other. Nothing is written before all of them have succeeded.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use clap::Parser;

/// The benchmarks, the headings of what they say, and what makes them quick.
const BENCHMARKS: [(&str, &str, &[&str]); 3] = [
    ("instructions", "Instructions", &["--only", "rawring push_unchecked"]),
    ("ratio", "Time, as ratios", &["--smoke"]),
    ("scale", "What grows", &["--smoke"]),
];
/// The packages whose versions matter.
const PACKAGES: [&str; 4] = ["rawring", "io-uring", "rustix-uring", "rustix"];
/// Where the pictures are, beside the file.
const CURVES: &str = "curves";
/// How busy the processors may be on a quiet machine.
const QUIET: f64 = 0.05;

#[derive(Parser)]
struct Options {
    /// See that everything works: the numbers mean nothing.
    #[arg(long, requires = "output")]
    smoke: bool,
    /// Write this file, and the pictures into a directory beside it.
    #[arg(long)]
    output: Option<PathBuf>,
    /// What cargo hands to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(to) => {
            eprintln!("written: {}", to.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("nothing was written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<PathBuf, String> {
    let to = options.output.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md"));
    let names = BENCHMARKS.iter().flat_map(|(name, ..)| ["--bench", *name]);
    said(cargo().arg("bench").args(names).arg("--no-run"))?;
    let mut text = introduction(options.smoke)?;
    let pictures = std::env::temp_dir().join(format!("rawring-curves-{}", std::process::id()));
    for (name, heading, smoke) in BENCHMARKS {
        eprintln!("\n=== {name}");
        let mut command = cargo();
        command.args(["bench", "--bench", name, "--"]);
        if options.smoke {
            command.args(smoke);
        }
        if name == "scale" {
            command.arg("--svg").arg(&pictures).args(["--link", CURVES]);
        }
        text += &format!("\n## {heading}\n\n{}\n", said(&mut command)?.trim());
    }
    publish(&to, &text, &pictures).map_err(|error| format!("{}: {error}", to.display()))?;
    Ok(to)
}

/// Puts text and pictures in their places.
fn publish(to: &Path, text: &str, pictures: &Path) -> std::io::Result<()> {
    let curves = to.parent().unwrap_or(Path::new("")).join(CURVES);
    std::fs::create_dir_all(&curves)?;
    for old in std::fs::read_dir(&curves)? {
        let old = old?.path();
        if old.extension() == Some(OsStr::new("svg")) {
            std::fs::remove_file(old)?;
        }
    }
    for picture in std::fs::read_dir(pictures)? {
        let picture = picture?;
        std::fs::copy(picture.path(), curves.join(picture.file_name()))?;
    }
    std::fs::remove_dir_all(pictures)?;
    std::fs::write(to, text)
}

/// Where, when and of what the numbers are.
fn introduction(smoke: bool) -> Result<String, String> {
    let busy = busy();
    let cpu = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = line("/proc/meminfo", "MemTotal").unwrap_or_default();
    let memory = memory.trim_end_matches(" kB").parse::<f64>().map_or(0.0, |kilobytes| kilobytes / 1024.0 / 1024.0);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").map_err(|error| error.to_string())?;
    let mut text = String::from(
        "# Results\n\nWritten by `cargo bench --bench results`, and never by hand. What is measured how: [README](README.md).\n",
    );
    if smoke {
        text += "\n**This was a smoke test: the numbers mean nothing.**\n";
    }
    if busy > QUIET {
        text += &format!(
            "\n**The machine was not quiet:** its processors were busy for {:.0} % of the time before this began. Counts of \
             instructions are exact all the same.\n",
            busy * 100.0
        );
    }
    text += "\n| | |\n| --- | --- |\n";
    let mut row = |what: &str, value: &str| text += &format!("| {what} | {} |\n", value.trim());
    row("processor", &format!("{cpu}, {} of them", thread::available_parallelism().map_or(1, usize::from)));
    row("memory", &format!("{memory:.1} GiB"));
    row("busy before it began", &format!("{:.1} %", busy * 100.0));
    row("Linux", &kernel);
    row("compiler", &said(Command::new("rustc").arg("--version"))?);
    for (name, version) in versions()? {
        row(&name, &version);
    }
    row("liburing", &liburing());
    row("date", &said(Command::new("date").args(["-u", "+%Y-%m-%d"]))?);
    row("commit", &commit());
    Ok(text)
}

/// The share of time in which the processors did something, over some seconds.
fn busy() -> f64 {
    let [(idle, all), (idle_later, all_later)] = [Duration::from_secs(5), Duration::ZERO].map(|pause| {
        let times = line("/proc/stat", "cpu ").unwrap_or_default();
        let times: Vec<f64> = times.split_whitespace().filter_map(|time| time.parse().ok()).collect();
        thread::sleep(pause);
        // Idle, and waiting for a device. The last two are in others already.
        (times.iter().skip(3).take(2).sum::<f64>(), times.iter().take(8).sum::<f64>())
    });
    1.0 - (idle_later - idle) / (all_later - all)
}

/// What follows a name in a file of the kernel.
fn line(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim_matches([' ', '\t', ':']).to_string())
}

/// The versions of our packages and of the peers.
fn versions() -> Result<Vec<(String, String)>, String> {
    let tree = said(cargo().args(["tree", "-q", "-e", "normal", "--depth", "1", "--prefix", "none"]))?;
    let version = |name: &str| {
        let after = tree.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" v"))?;
        Some((name.to_string(), after.split(' ').next()?.to_string()))
    };
    PACKAGES.iter().map(|name| version(name).ok_or_else(|| format!("{name} is not among the packages"))).collect()
}

fn liburing() -> String {
    let version = Command::new("pkg-config").args(["--modversion", "liburing"]).output();
    match version {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(_) => "not installed".into(),
        Err(_) => "unknown: there is no pkg-config".into(),
    }
}

fn commit() -> String {
    let git = |arguments: &[&str]| said(Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments));
    match (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain", "--untracked-files=no"])) {
        (Ok(commit), Ok(changes)) if changes.trim().is_empty() => commit,
        (Ok(commit), _) => format!("{}, changed", commit.trim()),
        _ => "none: not a repository".into(),
    }
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

/// What a command says, if it succeeds.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{command:?}: {error}"))
}
