//! What all processes said of a section, in tables.

use std::collections::BTreeSet;

use rawring_benches::Spread;
use rawring_benches::ratio::{AGAIN, Memory, Pace, Section, Target};

use crate::execute::Report;
use crate::{Options, ask, extent};

/// How far the reference may be from its copy for a verdict.
const NOISE: f64 = 0.01;

/// A section with what all of its processes said: for each column, each of them.
pub(crate) struct Measured<'s> {
    section: &'s Section,
    columns: Vec<Vec<Report>>,
}

impl<'s> Measured<'s> {
    pub(crate) fn new(section: &'s Section, options: &Options) -> Self {
        let (rounds, executions) = extent(section, options);
        let mut columns: Vec<_> = section.columns.iter().map(|_| Vec::new()).collect();
        for number in 1..=executions {
            eprintln!("{}: {number} of {executions}", section.name);
            for (column, reports) in section.columns.iter().zip(&mut columns) {
                reports.push(ask(section, &column.name, rounds, None, options.smoke));
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

    /// What could not be measured, and why.
    fn skipped(&self) -> BTreeSet<String> {
        let columns = self.section.columns.iter().zip(&self.columns);
        let all = columns.flat_map(|(column, reports)| reports.iter().map(move |report| (column, report)));
        let lines = all.flat_map(|(column, report)| match report {
            Report::Skipped(reason) => vec![format!("{}, {}: {reason}", self.section.name, column.name)],
            Report::Measured { skipped, .. } => skipped.clone(),
        });
        lines.collect()
    }

    /// One number for each process, from the time of a variant and what it is put in relation to.
    fn spread(&self, column: usize, of: impl Fn(&Report) -> Option<f64>) -> Option<Spread> {
        let numbers: Option<Vec<_>> = self.columns[column].iter().map(of).collect();
        numbers.map(Spread::of)
    }

    fn ratio(&self, column: usize, who: &str, against: &str) -> Option<Spread> {
        self.spread(column, |report| report.median(who, |times, at| Some(times[at] / times[report.index(against)?])))
    }

    /// Whether the reference is as fast as its copy.
    fn is_quiet(&self, column: usize, reference: &str) -> bool {
        let copy = self.ratio(column, &format!("{reference}{AGAIN}"), reference);
        copy.is_some_and(|ratio| (ratio.median - 1.0).abs() <= NOISE)
    }

    pub(crate) fn print(&self, options: &Options) {
        let Section { name, note, unit, columns, .. } = self.section;
        println!("\n### {name}\n\n{note}");
        if let Pace::Commands { rounds, executions } = self.section.pace {
            println!("A slice takes long here: {rounds} rounds in each of {executions} processes.");
        }
        for line in self.skipped() {
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
        let copy = format!("{reference}{AGAIN}");
        for name in &names[1..] {
            row(name, &|column| {
                let ratio = self.ratio(column, name, reference)?;
                let noisy = *name == copy && !self.is_quiet(column, reference);
                Some(format!("{}{}", text(&ratio), if noisy { ": noisy" } else { "" }))
            });
        }
        if !self.section.targets.is_empty() {
            head("target");
        }
        for Target { who, against, most } in &self.section.targets {
            row(&format!("{who} to {against}"), &|column| {
                let measured = self.ratio(column, who, against)?;
                let verdict = match measured.median <= most[column] {
                    _ if options.smoke => "not judged",
                    _ if !self.is_quiet(column, reference) => "noisy",
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
            let Report::Measured { peak, .. } = ask(self.section, column, rounds, Some(name), options.smoke) else {
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
