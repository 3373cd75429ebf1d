//! Which sets of setup flags a kernel takes, found out by asking for a ring with each.
//!
//! What the crate says of the matter is a table of rules ([`Conflict`](crate::Conflict)); this is how to hold it against
//! a kernel. The rings are tiny, are never used, and are closed at once.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::flags::SetupFlags;
use crate::handle::Place;
use crate::kernel::Kernel;
use crate::ring::Ring;
use crate::setup::{Setup, SetupError};
use rawring_sys as sys;

/// Slots of the rings that are tried: two, for queues with entries of two sizes.
const ENTRIES: u32 = 2;

/// What it takes to ask for rings with any flags: rings to attach to, memory, and a processor.
///
/// ```
/// use rawring::flags::SetupFlags;
/// use rawring::probe::RingTrials;
///
/// let trials = RingTrials::new()?;
/// let alone = SetupFlags::SQ_AFF;
/// assert!(trials.accepts(alone).is_err(), "it needs SQPOLL");
/// assert_eq!(trials.accepts(alone | SetupFlags::SQPOLL), Ok(()));
/// # Ok::<(), rawring::SetupError>(())
/// ```
#[derive(Debug)]
pub struct RingTrials {
    plain: Ring,
    polling: Ring,
    /// Large enough for any of the rings. Rings in it may follow each other: nobody looks into them.
    _memory: sys::RingMemory,
    /// With the addresses in that memory.
    params: sys::io_uring_params,
}

impl RingTrials {
    /// Flags that exclude and need nothing.
    pub const FREE: SetupFlags = SetupFlags::CQSIZE
        .union(SetupFlags::CLAMP)
        .union(SetupFlags::ATTACH_WQ)
        .union(SetupFlags::R_DISABLED)
        .union(SetupFlags::SUBMIT_ALL);

    /// Every set of the flags in `among`. Of those also in `sampled`, each set of the others comes with two opposite
    /// choices only, and different ones with different choices: with [`FREE`](Self::FREE) there, the 21 flags of Linux
    /// 7.3 make 131,072 sets instead of 2,097,152.
    pub fn sets(among: SetupFlags, sampled: SetupFlags) -> impl Iterator<Item = SetupFlags> {
        let sampled = among & sampled;
        let full = among - sampled;
        (0..1_u32 << full.bits().count_ones()).flat_map(move |number| {
            let (set, some) = (spread(number, full), spread(number, sampled));
            let opposite = (!sampled.is_empty()).then(|| set | (sampled - some));
            core::iter::once(set | some).chain(opposite)
        })
    }

    /// # Errors
    ///
    /// If not even plain rings can be made.
    pub fn new() -> Result<Self, SetupError> {
        let plain = Setup::new(ENTRIES).build()?;
        // It sleeps at once: nothing is ever submitted.
        let polling = Setup::new(ENTRIES).sqpoll(core::time::Duration::from_millis(1)).build()?;
        let mut params = sys::io_uring_params {
            flags: sys::IORING_SETUP_SQE128 | sys::IORING_SETUP_CQE32,
            ..sys::io_uring_params::ZERO
        };
        let memory = sys::RingMemory::new(ENTRIES, &mut params).map_err(SetupError::of_memory)?;
        params.cq_entries = 2 * ENTRIES;
        params.sq_thread_idle = 1;
        params.sq_thread_cpu = first_cpu();
        Ok(RingTrials { plain, polling, _memory: memory, params })
    }

    /// Whether the kernel makes a ring with exactly these flags.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it does not take them, or not together. Anything else says nothing about the flags: `ENOMEM`,
    /// `EMFILE`, `EBUSY` where all 16 places for rings without descriptor are taken.
    pub fn accepts(&self, flags: SetupFlags) -> Result<(), Errno> {
        let other = if flags.contains(SetupFlags::SQPOLL) { &self.polling } else { &self.plain };
        let mut params = sys::io_uring_params { flags: flags.bits(), ..self.params };
        params.wq_fd = other.as_fd().as_raw_fd() as u32;
        // SAFETY: `params` is valid for reads and writes, and `wq_fd` that of a ring of ours. With NO_MMAP, the memory at
        // the addresses is ours, larger than any of these rings, and nobody reads or writes it.
        let answer = unsafe { Kernel::default().setup(ENTRIES, &mut params) }?;
        if flags.contains(SetupFlags::REGISTERED_FD_ONLY) {
            drop(Place::taken(answer));
        } else {
            // SAFETY: the descriptor is new, and nobody else has it.
            drop(unsafe { OwnedFd::from_raw_fd(answer as i32) });
        }
        Ok(())
    }
}

/// The subset that has those flags, counted from the lowest, whose bits are set in `number`.
fn spread(number: u32, of: SetupFlags) -> SetupFlags {
    let flags = (0..32).map(|bit| 1 << bit).filter(|bit| of.bits() & bit != 0);
    let chosen = flags.enumerate().filter(|(n, _)| number >> n & 1 == 1);
    SetupFlags::from_bits_retain(chosen.fold(0, |set, (_, bit)| set | bit))
}

/// The number of a processor on which this thread may run.
fn first_cpu() -> u32 {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    let cpus = 0..rustix::thread::CpuSet::MAX_CPU;
    cpus.into_iter().find(|&cpu| set.is_set(cpu)).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_sets_are_all_there_are_once_or_a_sample_with_every_pair() {
        let among = SetupFlags::all() & SetupFlags::from_bits_retain(0b1_1111_1000_0000);
        let every: HashSet<u32> = RingTrials::sets(among, SetupFlags::empty()).map(|set| set.bits()).collect();
        assert_eq!(every.len(), 64);
        assert!(every.iter().all(|&set| among.contains(SetupFlags::from_bits_retain(set))));
        let flags: Vec<_> = SetupFlags::INFO.iter().map(|info| info.bits as u32).collect();
        let known = flags.iter().fold(0, |all, flag| all | flag);
        let sample: Vec<u32> =
            RingTrials::sets(SetupFlags::from_bits_retain(known), RingTrials::FREE).map(|set| set.bits()).collect();
        assert_eq!(sample.len(), 131_072);
        for pair in flags.iter().flat_map(|one| flags.iter().map(move |other| one | other)) {
            assert!(sample.iter().any(|set| set & pair == pair), "{pair:#x}");
            assert!(sample.iter().any(|set| set & pair == 0), "{pair:#x}");
        }
    }
}
