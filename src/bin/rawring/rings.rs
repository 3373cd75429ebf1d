//! `rawring rings`: which combinations of setup flags this kernel makes rings with.
//!
//! Every set of the flags that the kernel knows is asked of it, by [`RingTrials`]; what is printed is what it answered,
//! and where that differs from the rules of the crate. Flags that change nothing about the answer for any other are left
//! to a sample, unless all sets are asked for.

use std::io::{self, Write};

use rawring::Conflict;
use rawring::flags::{FlagInfo, SetupFlags};
use rawring::probe::{Probe, RingTrials, kernel_release};
use rustix::io::Errno;
use serde::Serialize;

use crate::Failure;

/// Show which combinations of modes this kernel makes rings with, and what excludes or needs what.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// List every combination that is accepted
    #[arg(long)]
    list: bool,
    /// Ask for every set of all flags, which takes up to a few minutes
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Report {
    /// The kernel's version as it calls itself.
    kernel: Option<String>,
    flags: Vec<Flag>,
    rules: Vec<Rule>,
    /// How many sets of flags were asked for.
    tried: usize,
    /// How many made a ring.
    accepted: usize,
    /// Those where kernel and rules differ.
    differing: Vec<Vec<&'static str>>,
    /// Pairs that no accepted combination has both of.
    excluded: Vec<[&'static str; 2]>,
    /// Flags that no accepted combination has without the other, and the other.
    needed: Vec<[&'static str; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    combinations: Option<Vec<Vec<&'static str>>>,
}

#[derive(Serialize)]
struct Flag {
    name: &'static str,
    bits: u64,
    since: String,
    supported: bool,
    /// Whether it goes with every flag, and needs none.
    free: bool,
}

#[derive(Serialize)]
struct Rule {
    text: String,
    /// Whether the kernel knows the flags that the rule is about.
    applies: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let sweep = Sweep::run(args.all)?;
    let report = sweep.report(args.list);
    let mut out = io::stdout().lock();
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(Failure::failed)?;
        writeln!(out, "{text}")?;
    } else {
        report.print(&mut out)?;
    }
    out.flush()?;
    if report.differing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed("this kernel's answers differ from the rules of rawring: please report it"))
}

/// What the kernel answered.
struct Sweep {
    known: SetupFlags,
    tried: usize,
    accepted: Vec<SetupFlags>,
    differing: Vec<SetupFlags>,
}

impl Sweep {
    fn run(all: bool) -> Result<Sweep, Failure> {
        let probe = Probe::new().map_err(Failure::failed)?;
        let trials = RingTrials::new().map_err(Failure::failed)?;
        let known = probe.setup_flags().filter(|flag| flag.supported);
        let known = known.fold(SetupFlags::empty(), |known, flag| known | bits(&flag.info));
        let mut sweep = Sweep { known, tried: 0, accepted: Vec::new(), differing: Vec::new() };
        let sampled = if all { SetupFlags::empty() } else { RingTrials::FREE };
        for set in RingTrials::sets(known, sampled) {
            sweep.ask(&trials, set)?;
        }
        Ok(sweep)
    }

    fn ask(&mut self, trials: &RingTrials, set: SetupFlags) -> Result<(), Failure> {
        let accepted = loop {
            match trials.accepts(set) {
                Ok(()) => break true,
                Err(Errno::INVAL) => break false,
                // Rings are taken apart some time after they are closed.
                Err(Errno::NOMEM) => std::thread::yield_now(),
                Err(errno) => {
                    return Err(Failure::failed(format_args!("a ring with {}: {errno}", names(set).join(", "))));
                }
            }
        };
        self.tried += 1;
        if accepted != Conflict::of(set).is_none() {
            self.differing.push(set);
        }
        if accepted {
            self.accepted.push(set);
        }
        Ok(())
    }

    fn report(&self, list: bool) -> Report {
        let free = |flag: SetupFlags| RingTrials::FREE.contains(flag);
        let flags = SetupFlags::INFO.iter().map(|info| Flag {
            name: short(info),
            bits: info.bits,
            since: info.since.to_string(),
            supported: self.known.contains(bits(info)),
            free: free(bits(info)),
        });
        let rules = Conflict::ALL.iter().map(|rule| {
            let (one, other) = match *rule {
                Conflict::Excludes(one, other) => (one, other),
                Conflict::Needs(flag, any) => (flag, any),
                _ => (SetupFlags::empty(), SetupFlags::empty()),
            };
            Rule { text: rule.to_string(), applies: self.known.contains(one) && self.known.intersects(other) }
        });
        let bound = SetupFlags::INFO.iter().filter(|info| self.known.contains(bits(info)));
        let bound: Vec<_> = bound.filter(|info| !free(bits(info))).collect();
        let pairs = bound.iter().flat_map(|one| bound.iter().map(move |other| (*one, *other)));
        let has =
            |one: &FlagInfo, other: &FlagInfo| self.accepted.iter().any(|set| set.contains(bits(one) | bits(other)));
        let without = |one: &FlagInfo, other: &FlagInfo| {
            self.accepted.iter().any(|set| set.contains(bits(one)) && !set.intersects(bits(other)))
        };
        let excluded = pairs.clone().filter(|(one, other)| one.bits < other.bits && !has(one, other));
        let needed = pairs.filter(|(one, other)| one.bits != other.bits && !without(one, other));
        let mut combinations: Vec<_> = self.accepted.iter().map(|&set| set - RingTrials::FREE).collect();
        combinations.sort_by_key(|set| (set.bits().count_ones(), set.bits()));
        combinations.dedup();
        Report {
            kernel: kernel_release(),
            flags: flags.collect(),
            rules: rules.collect(),
            tried: self.tried,
            accepted: self.accepted.len(),
            differing: self.differing.iter().map(|&set| names(set)).collect(),
            excluded: excluded.map(|(one, other)| [short(one), short(other)]).collect(),
            needed: needed.map(|(one, other)| [short(one), short(other)]).collect(),
            combinations: list.then(|| combinations.into_iter().map(names).collect()),
        }
    }
}

impl Report {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let kernel = self.kernel.as_deref().unwrap_or("of unknown version");
        let known = self.flags.iter().filter(|flag| flag.supported).count();
        writeln!(out, "Linux {kernel} knows {known} of {} setup flags", self.flags.len())?;
        writeln!(out, "{} of {} sets of them that were tried make a ring", self.accepted, self.tried)?;
        let rows: Vec<_> = self.flags.iter().filter(|flag| flag.supported && !flag.free).collect();
        writeln!(out, "\npairs: + go together, - exclude each other, n the row's flag needs the column's")?;
        let width = self.flags.iter().map(|flag| flag.name.len()).max().unwrap_or(0);
        write!(out, "  {:width$}    ", "")?;
        (1..=rows.len()).try_for_each(|number| write!(out, "{number:>3}"))?;
        writeln!(out)?;
        for (number, row) in (1..).zip(&rows) {
            write!(out, "  {:width$}  {number:>2}", row.name)?;
            for column in &rows {
                let pair = |list: &[[&str; 2]], a: &Flag, b: &Flag| list.contains(&[a.name, b.name]);
                let sign = match () {
                    () if row.name == column.name => '.',
                    () if pair(&self.excluded, row, column) || pair(&self.excluded, column, row) => '-',
                    () if pair(&self.needed, row, column) => 'n',
                    () => '+',
                };
                write!(out, "{sign:>3}")?;
            }
            writeln!(out)?;
        }
        let free: Vec<_> = self.flags.iter().filter(|flag| flag.free && flag.supported).map(|flag| flag.name).collect();
        writeln!(out, "\ngo with everything: {}", free.join(", "))?;
        writeln!(out, "\nrules")?;
        for rule in &self.rules {
            writeln!(out, "  {}{}", rule.text, if rule.applies { "" } else { " (not on this kernel)" })?;
        }
        let missing: Vec<_> = self.flags.iter().filter(|flag| !flag.supported).collect();
        if !missing.is_empty() {
            writeln!(out, "\nnot in this kernel")?;
        }
        for flag in missing {
            writeln!(out, "  {:width$}  Linux {}", flag.name, flag.since)?;
        }
        if let Some(combinations) = &self.combinations {
            writeln!(out, "\ncombinations: {}", combinations.len())?;
            for set in combinations {
                writeln!(out, "  {}", if set.is_empty() { "(none)".into() } else { set.join(" ") })?;
            }
        }
        for set in &self.differing {
            writeln!(out, "\nunlike the rules: {}", set.join(" "))?;
        }
        Ok(())
    }
}

fn bits(info: &FlagInfo) -> SetupFlags {
    SetupFlags::from_bits_retain(info.bits as u32)
}

/// The kernel's name, without what all of them begin with.
fn short(info: &FlagInfo) -> &'static str {
    info.name.trim_start_matches("IORING_SETUP_")
}

fn names(set: SetupFlags) -> Vec<&'static str> {
    SetupFlags::INFO.iter().filter(|info| set.contains(bits(info))).map(short).collect()
}
