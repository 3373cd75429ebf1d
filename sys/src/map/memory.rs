//! Memory for a ring whose maker provides it (`IORING_SETUP_NO_MMAP`): allocated here, or given by the caller.
//!
//! The kernel pins what it thinks is there: too little would let it write over whatever follows. Since Linux 6.19 it can
//! be asked how large its header is (`IO_URING_QUERY_SCQ`). Without that answer this reserves for the largest header
//! that any kernel may have, and never trusts a limit that a newer kernel could raise.

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use super::{MapError, Mapping};
use crate::{
    IORING_SETUP_CQE32, IORING_SETUP_CQSIZE, IORING_SETUP_NO_MMAP, IORING_SETUP_NO_SQARRAY, IORING_SETUP_SQE128,
    io_uring_cqe, io_uring_params, io_uring_query_scq, io_uring_sqe,
};

/// Room for the words in front of the completion slots. Linux 7.3 uses one cache line (64 to 256
/// bytes), kernels before that up to six.
const HEADER: u64 = 2048;

/// What the index array may be aligned to: the largest cache line of any architecture.
const ARRAY_ALIGN: u64 = 256;

/// The size of the huge pages used.
const HUGE: u64 = 2 << 20;

/// Page-aligned memory for a ring, before it is set up.
///
/// 1. `RingMemory::new(entries, &mut params)` allocates, zeroed, and enters the addresses in the parameters;
///    [`given`](Self::given) takes memory of the caller instead.
/// 2. `io_uring_setup(entries, &mut params)`, with the same `entries`.
/// 3. `RingMap::from_memory(memory, &params, fork)`.
///
/// If the setup fails, drop it; the parameters can be used again only with a new call. While the ring
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
        let sizes = Sizes::of(entries, params, None)?;
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
        let sizes = Sizes::of(entries, params, None)?;
        let mut sqes_at = sizes.ring.next_multiple_of(page_size());
        // In the same huge page if it fits, else at the start of the next.
        if sqes_at % HUGE + sizes.sqes > HUGE {
            sqes_at = sqes_at.next_multiple_of(HUGE);
        }
        let len = (sqes_at + sizes.sqes).next_multiple_of(HUGE);
        let flags = MapFlags::SHARED | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
        Self::allocate(sqes_at, len, flags, params)
    }

    /// How many bytes of [given](Self::given) memory a ring of `entries` entries and these parameters needs: whole pages
    /// for the rings, and for the entries.
    ///
    /// `header` is the kernel's answer to `IO_URING_QUERY_SCQ` (Linux 6.19); without it, room for the largest header of
    /// any kernel is counted. Sizes that `IORING_SETUP_CLAMP` would cut are counted as they are.
    ///
    /// # Errors
    ///
    /// [`MapError::BadEntries`] for sizes that no ring has.
    pub fn needed(
        entries: u32,
        params: &io_uring_params,
        header: Option<&io_uring_query_scq>,
    ) -> Result<usize, MapError> {
        let (_, len) = Self::places(entries, params, header)?;
        Ok(len)
    }

    /// Where the entries begin in memory that is no larger than need be, and where they end: multiples of a page.
    fn places(
        entries: u32,
        params: &io_uring_params,
        header: Option<&io_uring_query_scq>,
    ) -> Result<(usize, usize), MapError> {
        let sizes = Sizes::of(entries, params, header)?;
        // No term exceeds 2^41: no overflow.
        let sqes_at = sizes.ring.next_multiple_of(page_size());
        let len = sqes_at + sizes.sqes.next_multiple_of(page_size());
        let in_memory = |bytes: u64| isize::try_from(bytes).map(isize::unsigned_abs).map_err(|_| too_large(params));
        Ok((in_memory(sqes_at)?, in_memory(len)?))
    }

    /// Takes `memory` for a ring of `entries` entries and these parameters, sets `IORING_SETUP_NO_MMAP` and both
    /// `user_addr`. As much of it as is needed is zeroed. It is never unmapped here. `header` as for
    /// [`needed`](Self::needed).
    ///
    /// Before Linux 6.10 the kernel wants each of the two parts, rings and entries, to be contiguous in fact, as in a page
    /// or a huge page, and `io_uring_setup` fails with `EINVAL`.
    ///
    /// # Errors
    ///
    /// [`MapError::TooSmall`] and [`MapError::Unaligned`] for memory that will not do, [`MapError::BadEntries`] for sizes
    /// that no ring has. The parameters are not changed then.
    ///
    /// # Safety
    ///
    /// 1. `memory` is mapped for reading and writing, and stays so until this value and the [`RingMap`](super::RingMap)
    ///    made of it are dropped.
    /// 2. Nobody else reads or writes it as of this call: not while there is such a ring, nor, once `io_uring_setup` was
    ///    called with these parameters, later. The kernel holds the pages and may write to them for some time after the ring was closed,
    ///    or the call failed, which nothing tells. So it is of use to nobody any more, and can be unmapped.
    pub unsafe fn given(
        memory: NonNull<[u8]>,
        entries: u32,
        params: &mut io_uring_params,
        header: Option<&io_uring_query_scq>,
    ) -> Result<Self, MapError> {
        let page = page_size();
        let (sqes_at, needed) = Self::places(entries, params, header)?;
        let start = memory.cast::<c_void>();
        if start.as_ptr().addr() as u64 % page != 0 {
            return Err(MapError::Unaligned { address: start.as_ptr().addr(), page });
        }
        if memory.len() < needed {
            return Err(MapError::TooSmall { needed, given: memory.len() });
        }
        // What is left of a page may be somebody else's.
        let len = memory.len() - memory.len() % page as usize;
        // Some kernels (6.12 for one) take the ring's words as they find them.
        // SAFETY: that much was given, and nobody else uses it, by the caller's promise.
        unsafe { start.cast::<u8>().write_bytes(0, needed) };
        // SAFETY: the caller's promise; the length is no more than was given.
        let mapping = unsafe { Mapping::lent(start, len) };
        Ok(Self::enter(mapping, sqes_at, params))
    }

    /// Maps `len` bytes and enters their addresses.
    fn allocate(sqes_at: u64, len: u64, flags: MapFlags, params: &mut io_uring_params) -> Result<Self, MapError> {
        let len = isize::try_from(len).map_err(|_| too_large(params))?.unsigned_abs();
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use. It is
        // shared, so that the pages stay those that the kernel pinned, also after a fork.
        let at = unsafe { mmap_anonymous(null_mut(), len, prot, flags) }
            .map_err(|errno| MapError::Mmap { step: "mmap of memory for a ring", errno })?;
        // SAFETY: this is the whole of that mapping, and nobody else knows of it.
        let mapping = unsafe { Mapping::own(at, len) };
        let sqes_at = usize::try_from(sqes_at).map_err(|_| too_large(params))?;
        Ok(Self::enter(mapping, sqes_at, params))
    }

    /// Enters the addresses.
    fn enter(mapping: Mapping, sqes_at: usize, params: &mut io_uring_params) -> Self {
        let address = mapping.start().as_ptr().expose_provenance() as u64;
        params.flags |= IORING_SETUP_NO_MMAP;
        params.cq_off.user_addr = address;
        params.sq_off.user_addr = address + sqes_at as u64;
        Self { mapping, sqes_at }
    }
}

/// More than there are addresses.
fn too_large(params: &io_uring_params) -> MapError {
    MapError::BadEntries { what: "cq_entries", entries: params.cq_entries }
}

/// How much a ring needs.
struct Sizes {
    ring: u64,
    sqes: u64,
}

impl Sizes {
    /// Computes as the kernel does, but rounds up where kernels differ.
    fn of(entries: u32, p: &io_uring_params, header: Option<&io_uring_query_scq>) -> Result<Self, MapError> {
        // IORING_SETUP_CLAMP is ignored on purpose: where the kernel reduces the sizes there is memory
        // to spare, while limits known here could be lower than a newer kernel's.
        let bad = |what, entries| MapError::BadEntries { what, entries };
        let round = |what, n: u32| match n.checked_next_power_of_two() {
            Some(rounded) if n != 0 => Ok(u64::from(rounded)),
            _ => Err(bad(what, n)),
        };
        let sq = round("entries", entries)?;
        let cq = if p.flags & IORING_SETUP_CQSIZE != 0 { round("cq_entries", p.cq_entries)? } else { 2 * sq };

        // More than a page of words, or none, is no header.
        let header = header.filter(|scq| (1..=4096).contains(&scq.hdr_size) && (1..=4096).contains(&scq.hdr_alignment));
        let (before, align) = header.map_or((HEADER, ARRAY_ALIGN), |scq| (scq.hdr_size, scq.hdr_alignment));

        // No term exceeds 2^39: no overflow.
        let sqe_shift = u64::from(p.flags & IORING_SETUP_SQE128 != 0);
        let cqe_shift = u64::from(p.flags & IORING_SETUP_CQE32 != 0);
        let sqes = (sq * size_of::<io_uring_sqe>() as u64) << sqe_shift;
        // With long completions the kernel doubles the header as well.
        let mut ring = (before + cq * size_of::<io_uring_cqe>() as u64) << cqe_shift;
        if p.flags & IORING_SETUP_NO_SQARRAY == 0 {
            ring = ring.next_multiple_of(align) + sq * size_of::<u32>() as u64;
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
