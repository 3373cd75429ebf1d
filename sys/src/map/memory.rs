//! Memory for a ring whose maker provides it (`IORING_SETUP_NO_MMAP`).
//!
//! The kernel does not say beforehand how much it needs, and pins what it thinks is there: too little
//! would let it write over whatever follows. So this reserves for the largest header that any
//! kernel may have and never trusts a limit that a newer kernel could raise.

use core::ptr::null_mut;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::{MapError, Mapping};
use crate::{
    IORING_SETUP_CQE32, IORING_SETUP_CQSIZE, IORING_SETUP_NO_MMAP, IORING_SETUP_NO_SQARRAY, IORING_SETUP_SQE128,
    io_uring_cqe, io_uring_params, io_uring_sqe,
};

/// Room for the words in front of the completion slots. Linux 7.3 uses one cache line (64 to 256
/// bytes), kernels before that up to six.
const HEADER: u64 = 2048;

/// What the index array may be aligned to: the largest cache line of any architecture.
const ARRAY_ALIGN: u64 = 256;

/// The size of the huge pages used.
const HUGE: u64 = 2 << 20;

/// Zeroed, page-aligned memory for a ring, before it is set up.
///
/// 1. `RingMemory::new(entries, &mut params)` allocates and enters the addresses in the parameters.
/// 2. `io_uring_setup(entries, &mut params)`, with the same `entries`.
/// 3. `RingMap::from_memory(memory, &params, fork)`.
///
/// If the setup fails, drop it; it can be used again only with a new call of `new`. While the ring
/// lives, the kernel holds the pages, so that dropping this too early harms nobody else's memory.
#[derive(Debug)]
pub struct RingMemory {
    pub(super) mapping: Mapping,
    /// Where the submission entries begin; the rings have what is before.
    pub(super) sqes_at: usize,
}

impl RingMemory {
    /// Allocates memory for a ring of `entries` entries and these parameters (`flags`, and with
    /// `IORING_SETUP_CQSIZE` `cq_entries`), sets `IORING_SETUP_NO_MMAP` and both `user_addr`.
    ///
    /// Before Linux 6.10 this works only for rings that fit in a page each, rings and entries: the kernel wants
    /// memory that is contiguous in fact, and `io_uring_setup` fails with `EINVAL`. See [`new_huge`](Self::new_huge).
    ///
    /// # Errors
    ///
    /// [`MapError::BadEntries`] for sizes that no ring has, [`MapError::Mmap`] if there is no memory.
    pub fn new(entries: u32, params: &mut io_uring_params) -> Result<Self, MapError> {
        let page = page_size();
        let sizes = Sizes::of(entries, params)?;
        let sqes_at = sizes.ring.next_multiple_of(page);
        let len = sqes_at + sizes.sqes.next_multiple_of(page);
        Self::allocate(sqes_at, len, MapFlags::SHARED, params)
    }

    /// As [`new`](Self::new), in huge pages of 2 MiB, which must have been set aside (`vm.nr_hugepages`).
    /// They are contiguous, so this works on Linux 6.5 to 6.9 too, and is kinder to the TLB.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); in particular [`MapError::Mmap`] with `ENOMEM` if no huge page is free, and `EINVAL`
    /// where pages of that size do not exist.
    pub fn new_huge(entries: u32, params: &mut io_uring_params) -> Result<Self, MapError> {
        let sizes = Sizes::of(entries, params)?;
        let mut sqes_at = sizes.ring.next_multiple_of(page_size());
        // In the same huge page if it fits, else at the start of the next.
        if sqes_at % HUGE + sizes.sqes > HUGE {
            sqes_at = sqes_at.next_multiple_of(HUGE);
        }
        let len = (sqes_at + sizes.sqes).next_multiple_of(HUGE);
        let flags = MapFlags::SHARED | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        Self::allocate(sqes_at, len, flags, params)
    }

    /// Maps `len` bytes and enters their addresses.
    fn allocate(sqes_at: u64, len: u64, flags: MapFlags, params: &mut io_uring_params) -> Result<Self, MapError> {
        let too_large = MapError::BadEntries { what: "cq_entries", entries: params.cq_entries };
        let len = isize::try_from(len).map_err(|_| too_large)?.unsigned_abs();
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use. It is
        // shared, so that the pages stay those that the kernel pinned, also after a fork.
        let at = unsafe { mmap_anonymous(null_mut(), len, prot, flags) }
            .map_err(|errno| MapError::Mmap { step: "mmap of memory for a ring", errno })?;
        // SAFETY: this is the whole of that mapping, and nobody else knows of it.
        let mapping = unsafe { Mapping::own(at, len) };
        let sqes_at = usize::try_from(sqes_at).map_err(|_| too_large)?;

        let address = at.expose_provenance() as u64;
        params.flags |= IORING_SETUP_NO_MMAP;
        params.cq_off.user_addr = address;
        params.sq_off.user_addr = address + sqes_at as u64;
        Ok(Self { mapping, sqes_at })
    }
}

/// How much a ring needs.
struct Sizes {
    ring: u64,
    sqes: u64,
}

impl Sizes {
    /// Computes as the kernel does, but rounds up where kernels differ.
    fn of(entries: u32, p: &io_uring_params) -> Result<Self, MapError> {
        // IORING_SETUP_CLAMP is ignored on purpose: where the kernel reduces the sizes there is memory
        // to spare, while limits known here could be lower than a newer kernel's.
        let bad = |what, entries| MapError::BadEntries { what, entries };
        let round = |what, n: u32| match n.checked_next_power_of_two() {
            Some(rounded) if n != 0 => Ok(u64::from(rounded)),
            _ => Err(bad(what, n)),
        };
        let sq = round("entries", entries)?;
        let cq = if p.flags & IORING_SETUP_CQSIZE != 0 { round("cq_entries", p.cq_entries)? } else { 2 * sq };

        // No term exceeds 2^39: no overflow.
        let sqe_shift = u64::from(p.flags & IORING_SETUP_SQE128 != 0);
        let cqe_shift = u64::from(p.flags & IORING_SETUP_CQE32 != 0);
        let sqes = (sq * size_of::<io_uring_sqe>() as u64) << sqe_shift;
        // With long completions the kernel doubles the header as well.
        let mut ring = (HEADER + cq * size_of::<io_uring_cqe>() as u64) << cqe_shift;
        if p.flags & IORING_SETUP_NO_SQARRAY == 0 {
            ring = ring.next_multiple_of(ARRAY_ALIGN) + sq * size_of::<u32>() as u64;
        }
        Ok(Self { ring, sqes })
    }
}

/// The size of a page.
fn page_size() -> u64 {
    // SAFETY: sysconf only reads a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(0).max(4096)
}
