//! `rawring probe`: what this kernel offers, or why it offers nothing.
//!
//! One report, collected from [`rawring::probe`], and two ways to print it: in columns for people, as JSON for machines.

use std::io::{self, Write};

use rawring::op;
use rawring::probe::{Answer, Flag, Limits, Probe, kernel_release};
use serde::Serialize;

use crate::Failure;

/// Show what this kernel's io_uring offers, or why it is not available.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// The kernel's version as it calls itself.
    kernel: Option<String>,
    available: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    offer: Option<Offer>,
}

#[derive(Serialize)]
struct Offer {
    /// The latest release of which the kernel has anything.
    level: String,
    operations: Vec<Operation>,
    variants: Vec<Variant>,
    registrations: Vec<Registration>,
    features: Vec<Bit>,
    setup_flags: Vec<Bit>,
    enter_flags: Vec<Bit>,
    sqe_flags: Vec<Bit>,
    limits: Sizes,
}

#[derive(Serialize)]
struct Operation {
    opcode: u8,
    name: String,
    since: Option<String>,
    supported: bool,
}

#[derive(Serialize)]
struct Registration {
    number: u32,
    name: String,
    since: Option<String>,
    supported: &'static str,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A way to use an operation that came later than the operation.
#[derive(Serialize)]
struct Variant {
    name: &'static str,
    operation: String,
    since: String,
    supported: &'static str,
}

#[derive(Serialize)]
struct Bit {
    name: &'static str,
    bits: u64,
    since: String,
    supported: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Sizes {
    Measured { sq_entries: u32, cq_entries: u32 },
    NotMeasured { error: String },
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let (report, failure) = match Probe::new() {
        Ok(probe) => (Report::new(None, Some(Offer::of(&probe))), None),
        Err(error) => (Report::new(Some(error.to_string()), None), Some(Failure::failed(error))),
    };
    let mut out = io::stdout().lock();
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(Failure::failed)?;
        writeln!(out, "{text}")?;
    } else {
        report.print(&mut out)?;
    }
    out.flush()?;
    failure.map_or(Ok(()), Err)
}

impl Report {
    fn new(reason: Option<String>, offer: Option<Offer>) -> Report {
        Report { kernel: kernel_release(), available: offer.is_some(), reason, offer }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let kernel = self.kernel.as_deref().unwrap_or("of unknown version");
        let Some(offer) = &self.offer else { return writeln!(out, "Linux {kernel}: io_uring is not available") };
        writeln!(out, "Linux {kernel}: io_uring is available, with parts of Linux {} and before", offer.level)?;
        let line = |name, since, supported| Line { name, since, supported, reason: None };
        let operations = offer.operations.iter();
        table(out, "operations", operations.map(|op| line(&op.name, op.since.as_deref(), yes_no(op.supported))))?;
        let variants = offer.variants.iter();
        table(out, "variants", variants.map(|row| line(row.name, Some(&row.since), row.supported)))?;
        let registrations = offer.registrations.iter().map(|row| {
            let reason = row.reason.as_deref();
            Line { reason, ..line(&row.name, row.since.as_deref(), row.supported) }
        });
        table(out, "registrations", registrations)?;
        for (title, bits) in [
            ("features", &offer.features),
            ("setup flags", &offer.setup_flags),
            ("enter flags", &offer.enter_flags),
            ("entry flags", &offer.sqe_flags),
        ] {
            table(out, title, bits.iter().map(|bit| line(bit.name, Some(&bit.since), yes_no(bit.supported))))?;
        }
        writeln!(out, "\nlimits")?;
        match &offer.limits {
            Sizes::Measured { sq_entries, cq_entries } => {
                writeln!(out, "  {sq_entries} submission entries, {cq_entries} completion entries")
            }
            Sizes::NotMeasured { error } => writeln!(out, "  not measured: {error}"),
        }
    }
}

impl Offer {
    fn of(probe: &Probe) -> Offer {
        let operations = probe.operations().map(|op| Operation {
            opcode: op.opcode.0,
            name: format!("{:?}", op.opcode),
            since: op.since.map(|since| since.to_string()),
            supported: op.supported,
        });
        let registrations = probe.registrations().map(|registered| Registration {
            number: registered.registration.0,
            name: format!("{:?}", registered.registration),
            since: registered.registration.info().map(|row| row.since.to_string()),
            supported: in_words(registered.answer),
            reason: registered.missing.map(|missing| missing.to_string()),
        });
        let later = op::all().filter(|row| op::since(row.opcode).is_some_and(|first| row.since > first));
        let variants = later.map(|row| Variant {
            name: row.name,
            operation: format!("{:?}", row.opcode),
            since: row.since.to_string(),
            supported: in_words(probe.answer(row)),
        });
        Offer {
            level: probe.level().to_string(),
            operations: operations.collect(),
            registrations: registrations.collect(),
            variants: variants.collect(),
            features: bits(probe.features()),
            setup_flags: bits(probe.setup_flags()),
            enter_flags: bits(probe.enter_flags()),
            sqe_flags: bits(probe.sqe_flags()),
            limits: match Limits::measure() {
                Ok(limits) => Sizes::Measured { sq_entries: limits.entries, cq_entries: limits.cq_entries },
                Err(error) => Sizes::NotMeasured { error: error.to_string() },
            },
        }
    }
}

fn bits(flags: impl Iterator<Item = Flag>) -> Vec<Bit> {
    let bit = |flag: Flag| Bit {
        name: flag.info.name,
        bits: flag.info.bits,
        since: flag.info.since.to_string(),
        supported: flag.supported,
    };
    flags.map(bit).collect()
}

fn in_words(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::Likely => "likely",
        Answer::Unlikely => "unlikely",
        Answer::No => "no",
    }
}

fn yes_no(supported: bool) -> &'static str {
    if supported { "yes" } else { "no" }
}

/// One line of a table.
#[derive(Clone, Copy)]
struct Line<'a> {
    name: &'a str,
    since: Option<&'a str>,
    supported: &'static str,
    /// Why it is missing, where that is not the release.
    reason: Option<&'a str>,
}

/// Name, release, and whether it is there or why not, in columns.
fn table<'a>(out: &mut impl Write, title: &str, lines: impl Iterator<Item = Line<'a>> + Clone) -> io::Result<()> {
    let here = lines.clone().filter(|line| matches!(line.supported, "yes" | "likely")).count();
    match lines.clone().count() {
        0 => return writeln!(out, "\n{title}: this kernel does not tell"),
        all => writeln!(out, "\n{title}: {here} of {all}")?,
    }
    let width = lines.clone().map(|line| line.name.len()).max().unwrap_or(0);
    for Line { name, since, supported, reason } in lines {
        write!(out, "  {name:width$}  {:5}  {supported}", since.unwrap_or("?"))?;
        match (supported, reason, since) {
            ("yes" | "likely", ..) | (_, None, None) => writeln!(out)?,
            (_, Some(reason), _) => writeln!(out, ": {reason}")?,
            (_, None, Some(since)) => writeln!(out, ": came with Linux {since}")?,
        }
    }
    Ok(())
}
