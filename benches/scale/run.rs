//! Runs the steps: the parent, which starts one process after the other, and the child, which makes one step.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::curve::{Curve, Family, Row, Step};
use crate::machine;

/// The longest that a step may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a child says in place of a measure when a limit stops it.
const SKIPPED: &str = "skipped";

/// One step, in a process of its own.
pub fn child(family: &'static Family, variant: usize, size: u64, smoke: bool) -> ExitCode {
    machine::raise_descriptors();
    if let Err(reason) = (family.measure)(variant, size, &mut Step { family, smoke }) {
        println!("{SKIPPED}\t{reason}");
    }
    ExitCode::SUCCESS
}

/// All steps of all variants.
pub fn family(family: &'static Family, smoke: bool) -> Vec<Curve> {
    family.variants.iter().map(|variant| curve(family, variant, smoke)).collect()
}

fn curve(family: &'static Family, variant: &'static str, smoke: bool) -> Curve {
    let mut curve = Curve { variant, rows: Vec::new(), skipped: Vec::new() };
    for &size in family.steps.iter().filter(|size| !smoke || **size <= family.smoke) {
        let begin = Instant::now();
        let (measured, reason) = step(family, variant, size, smoke);
        let values: Vec<_> = family.measures.iter().map(|measure| measured.get(measure.name).copied()).collect();
        if values.iter().any(Option::is_some) {
            curve.rows.push(Row { size, values });
        }
        eprintln!("{}, {variant}, {size}: {:.1} s", family.name, begin.elapsed().as_secs_f64());
        if let Some(reason) = reason {
            let what = format!("{}, {variant}, {size} and more: {reason}", family.title);
            eprintln!("skipped: {what}");
            curve.skipped.push(what);
            break;
        }
    }
    curve
}

/// What a child measured, and what stopped it if it did not get to its end.
fn step(family: &Family, variant: &str, size: u64, smoke: bool) -> (HashMap<String, f64>, Option<String>) {
    let mut command = Command::new(std::env::current_exe().expect("the benchmark has a name"));
    command.args(["--step", family.name, variant, &size.to_string()]).stdout(Stdio::piped());
    if smoke {
        command.arg("--smoke");
    }
    let mut child = command.spawn().expect("a process for a step");
    let lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let end = Instant::now() + PATIENCE;
    let mut measured = HashMap::new();
    let mut reason = None;
    loop {
        match receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.split_once('\t').expect("name and value") {
                (SKIPPED, why) => reason = Some(why.to_string()),
                (name, value) => drop(measured.insert(name.to_string(), value.parse().expect("a number"))),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => {
                reason = Some(format!("not done after {} s", PATIENCE.as_secs()));
                child.kill().expect("ending a child");
                break;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    let _receiver_is_there = reader.join().expect("reading does not panic");
    finish(&mut child, reason.is_some(), family.name);
    (measured, reason)
}

/// # Panics
///
/// If the child failed, rather than that it was stopped.
fn finish(child: &mut Child, stopped: bool, family: &str) {
    let status = child.wait().expect("waiting for a child");
    assert!(status.success() || stopped, "a step of {family} failed: {status}");
}

/// Beside what cargo builds.
pub fn default_pictures() -> PathBuf {
    let this = std::env::current_exe().expect("the benchmark has a name");
    // TARGET/release/deps/scale-…
    this.ancestors().nth(3).expect("it lies in the target directory").join("scale")
}
