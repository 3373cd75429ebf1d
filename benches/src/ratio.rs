//! What `cargo bench --bench ratio` compares: sections of contests, in which variants do the same work by turns.
//!
//! A contest is made anew in every process. Its first variant is the reference; one of the others is that again, with a
//! ring of its own and all, so that what chance does can be told from what code does. Each variant checks its own work
//! in every slice: one that does nothing panics.

#![expect(missing_debug_implementations, reason = "tables of closures, which nobody prints")]

mod blocks;
mod copies;
mod echo;
mod echo_peer;
mod many;
mod messages;
mod paths;
mod polled;

use crate::{LARGEST, Liburing, Make, PLACES, VARIANTS, Work, rawring};

/// A contest for each column, and what is expected of them.
pub struct Section {
    /// What it is called by `--only`, and in the heading.
    pub name: &'static str,
    /// What is done, and what has to be known to read the numbers.
    pub note: &'static str,
    /// What an operation is.
    pub unit: &'static str,
    /// Whether all happens on one processor.
    pub pinned: bool,
    /// How long it lasts.
    pub pace: Pace,
    /// The contests.
    pub columns: Vec<Column>,
    /// What the numbers should be.
    pub targets: Vec<Target>,
    /// Memory, where it is measured.
    pub memory: Option<Memory>,
}

/// What is measured of memory: the peak of what is resident in a process that does nothing but one variant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Bytes of it that are the work's own, whoever does it.
    pub buffers: u64,
    /// How many more there should be at most.
    pub most: u64,
}

/// How many rounds there are, of what length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Many rounds of short slices.
    Slices,
    /// Whole commands, too long for more than a few.
    Commands {
        /// In each process.
        rounds: u32,
        /// Processes.
        executions: u32,
    },
}

/// One column of a section.
pub struct Column {
    /// Its heading.
    pub name: String,
    make: Box<dyn Fn(Extent) -> Result<Contest, String>>,
}

/// How much is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// What the tables are made from.
    Full,
    /// Enough to see that it works.
    Smoke,
}

/// Variants that do the same.
pub struct Contest {
    /// How many operations a loop has.
    pub operations: u32,
    /// The first is the reference.
    pub variants: Vec<Variant>,
    /// What is missing, and why.
    pub skipped: Vec<String>,
}

/// One way of doing it.
pub struct Variant {
    /// As the tables call it.
    pub name: String,
    /// Does it so many times.
    pub run: Box<dyn FnMut(u32)>,
    /// What comes after a slice and is not counted.
    pub settle: Box<dyn FnMut()>,
}

/// What the ratio of one variant to another should be: no more than this, by column.
pub struct Target {
    /// Whose time.
    pub who: &'static str,
    /// Divided by whose.
    pub against: &'static str,
    /// For each column.
    pub most: Vec<f64>,
}

/// What a variant is called that is the reference again.
pub const AGAIN: &str = ", its copy";

impl Column {
    fn new(name: impl Into<String>, make: impl Fn(Extent) -> Result<Contest, String> + 'static) -> Self {
        Column { name: name.into(), make: Box::new(make) }
    }

    /// Makes the contest of this column, or says why it cannot be held here.
    ///
    /// # Errors
    ///
    /// The reason.
    pub fn make(&self, extent: Extent) -> Result<Contest, String> {
        (self.make)(extent)
    }
}

impl Variant {
    fn new(name: impl Into<String>, run: impl FnMut(u32) + 'static) -> Self {
        Variant { name: name.into(), run: Box::new(run), settle: Box::new(|| ()) }
    }
}

/// All sections, in the order in which they are printed.
pub fn sections() -> Vec<Section> {
    vec![
        nops(),
        small_reads(),
        many::section(),
        blocks::cached(),
        blocks::direct(),
        blocks::writes(),
        echo::section(),
        paths::section(),
        polled::section(),
        messages::section(),
        copies::section(),
    ]
}

const BY_HAND: &str = "by hand, sound";
const ONE_THREAD: &str = "rawring, one thread";

/// The variants of `work`, with the loop by hand as reference.
fn of_all(work: Work, batch: u32) -> Result<Contest, String> {
    let mut contest = Contest { operations: batch, variants: Vec::new(), skipped: Vec::new() };
    let of_reference = fastrand::usize(..PLACES);
    let mut add = |name: String, make: Make| {
        if let Some(mut rounds) = make(work) {
            // The copy of the reference is a copy of the work, not of the code.
            let place = if contest.variants.len() < 2 { of_reference } else { fastrand::usize(..PLACES) };
            contest.variants.push(Variant::new(name, move |loops| rounds.rounds_at(place, loops, batch)));
        }
    };
    let (_, by_hand) = VARIANTS.iter().find(|(name, _)| *name == BY_HAND).expect("the loop by hand");
    add(BY_HAND.into(), *by_hand);
    add(format!("{BY_HAND}{AGAIN}"), *by_hand);
    for (name, make) in VARIANTS.iter().filter(|(name, _)| *name != BY_HAND) {
        add((*name).into(), *make);
    }
    add(ONE_THREAD.into(), rawring::one_thread);
    if let Err(reason) = Liburing::get() {
        contest.skipped.push(format!("liburing: {reason}"));
    }
    Ok(contest)
}

fn by_batch(work: Work) -> Vec<Column> {
    let column = |batch| Column::new(format!("b{batch}"), move |_| of_all(work, batch));
    [1, 8, 32, LARGEST].map(column).into()
}

fn nops() -> Section {
    let target = |who, against, most: [f64; 4]| Target { who, against, most: most.into() };
    let (by_hand, peer) = ([1.03, 1.015, 1.01, 1.01], [0.97, 0.99, 1.005, 1.005]);
    Section {
        name: "nop",
        note: "`NOP`, by batch: push a batch, submit it and wait for it in one call, reap it. All rings have the same \
               flags (none but `NO_SQARRAY`, where the library has it), except that of one thread, which has \
               `SINGLE_ISSUER`, `DEFER_TASKRUN` and a registered ring.",
        unit: "operation",
        pinned: true,
        pace: Pace::Slices,
        columns: by_batch(Work::Nop),
        targets: vec![
            target("rawring push_unchecked", BY_HAND, by_hand),
            target("rawring push", BY_HAND, by_hand),
            target("rawring push_unchecked", "io-uring", peer),
            target("rawring push", "io-uring", peer),
            target(ONE_THREAD, "io-uring", [0.62, 0.89, 0.93, 0.95]),
        ],
        memory: None,
    }
}

fn small_reads() -> Section {
    Section {
        name: "read",
        note: "`READ` of random blocks of 256 bytes from the page cache, by batch.",
        unit: "operation",
        pinned: true,
        pace: Pace::Slices,
        columns: by_batch(Work::Read),
        targets: Vec::new(),
        memory: None,
    }
}
