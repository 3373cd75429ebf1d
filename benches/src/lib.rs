//! What the benchmarks measure: the same rounds of work, by rawring, by its peers and by hand.
//!
//! A round pushes a batch of operations, submits them, waits for all of them and reaps them. Each variant is a file of
//! its own and does that as its users would. Whether all have completed is checked in the cheapest way there is, the
//! same for all: each adds up the numbers that come back.

mod floor;
mod io_uring;
mod liburing;
pub mod ratio;
mod rawring;
mod rustix_uring;
mod statistics;
mod work;

pub use liburing::Liburing;
pub use statistics::Spread;
pub use work::Reads;

/// Work that comes in rounds.
pub trait Rounds {
    /// Whether there are copies of its code, see [`PLACES`]. Not where much of it is called: what has many callers is
    /// compiled otherwise.
    const COPIED: bool = true;

    /// One round of `batch` operations whose `user_data` is [`MARK`]. Gives the sum of what came back.
    fn round(&mut self, batch: u32) -> u64;

    /// Many rounds: a loop inside of the variant, so that calling it through a table costs nothing that counts.
    ///
    /// # Panics
    ///
    /// If any operation did not complete.
    #[inline(always)]
    fn rounds(&mut self, loops: u32, batch: u32) {
        let sum: u64 = (0..loops).map(|_| self.round(batch)).sum();
        assert_eq!(sum, MARK * u64::from(loops) * u64::from(batch), "operations are missing");
        self.check(batch);
    }

    /// What can be said of the results only when all is done.
    fn check(&self, _batch: u32) {}
}

/// How many copies there are of the code of each variant.
pub const PLACES: usize = 4;

/// [`Rounds`], by one of [`PLACES`] copies of the code: how fast a loop around a system call is depends on where it is.
pub trait Placed {
    /// Many rounds.
    fn rounds_at(&mut self, place: usize, loops: u32, batch: u32);
}

impl<R: Rounds> Placed for R {
    fn rounds_at(&mut self, place: usize, loops: u32, batch: u32) {
        match if R::COPIED { place } else { 0 } {
            0 => at::<R, 0>(self, loops, batch),
            1 => at::<R, 1>(self, loops, batch),
            2 => at::<R, 2>(self, loops, batch),
            _ => at::<R, 3>(self, loops, batch),
        }
    }
}

#[inline(never)]
fn at<R: Rounds, const PLACE: usize>(work: &mut R, loops: u32, batch: u32) {
    // SAFETY: they do nothing. Without them, the compiler would make one of all copies.
    unsafe {
        core::arch::asm!(".rept {}", "nop", ".endr", const PLACE * 9 + 1, options(nomem, nostack, preserves_flags))
    };
    work.rounds(loops, batch);
}

/// The `user_data` of all operations. Whoever adds it up can tell whether some are missing.
pub const MARK: u64 = 3;

/// Hides from the compiler what a number is, at no cost. Loops with it stay loops: unrolling them, which is possible only
/// where there is nothing to do, would favour large batches and burden small ones.
#[inline(always)]
fn opaque(mut number: u64) -> u64 {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {} */", inout(reg) number, options(nomem, nostack, preserves_flags)) };
    number
}

/// The most operations of a round.
pub const LARGEST: u32 = 128;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// `NOP`.
    Nop,
    /// `READ` of random blocks of a file that is in the page cache.
    Read,
    /// `NOP` in entries of 128 bytes, with completions of 32.
    NopWide,
}

impl Work {
    /// All of them.
    pub const ALL: [Work; 3] = [Work::Nop, Work::Read, Work::NopWide];

    /// As it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Work::Nop => "nop",
            Work::Read => "read",
            Work::NopWide => "wide nop",
        }
    }
}

/// Makes the work of a variant; nothing where this machine or this build lacks it, which is said.
type Make = fn(Work) -> Option<Box<dyn Placed>>;

/// All variants, the floors first. The names are those of the tables.
pub const VARIANTS: &[(&str, Make)] = &[
    ("by hand, no checks", floor::bare),
    ("by hand, sound", floor::sound),
    ("rawring push_unchecked", rawring::unchecked),
    ("rawring push", rawring::push),
    ("rawring scope", rawring::scope),
    ("rawring InFlight", rawring::in_flight),
    (io_uring::NAME, io_uring::make),
    ("rustix-uring", rustix_uring::make),
    ("liburing", liburing::make),
];

/// How tables call io-uring with its feature direct-syscall.
pub const DIRECT: &str = "io-uring, direct-syscall";

/// Makes the work of a variant.
pub fn make(variant: &str, work: Work) -> Option<Box<dyn Placed>> {
    let (_, make) = VARIANTS.iter().find(|(name, _)| *name == variant)?;
    make(work)
}
