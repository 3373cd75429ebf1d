//! The memory of a ring: mapped, checked, and given out as typed pointers.
//!
//! Who owns what: a [`RingMap`] owns the mappings, unless they are lent, and unmaps them when it is dropped; it does not own
//! the file descriptor. [`RingPointers`] own nothing and are good for as long as the map lives.
//!
//! Drop the map *before* closing the descriptor: closing does not wait for requests in flight, and
//! neither does unmapping, so neither tells you that the kernel is done with your buffers.
//!
//! Not here: what to do with the pointers. Heads, tails and flags are shared with the kernel, and must
//! only be touched by atomics or volatile accesses, with the orderings that the protocol needs.
//!
//! Invariant: every pointer lies inside of its mapping with all it points at, aligned (`layout.rs`).

mod error;
mod layout;
mod memory;

pub use error::MapError;
pub use layout::{Layout, layout, ring_len, sqes_len};
pub use memory::RingMemory;

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicI32, Ordering};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::{
    IORING_FEAT_SINGLE_MMAP, IORING_OFF_SQ_RING, IORING_OFF_SQES, IORING_SETUP_NO_MMAP, io_uring_cqe, io_uring_params,
    io_uring_sqe,
};

/// What a child process gets of a ring's memory after `fork(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fork {
    /// Nothing (`MADV_DONTFORK`). Touching the ring in the child is a segmentation fault, where otherwise
    /// parent and child would both move the same heads and tails; once the child has mapped other memory, that may be at
    /// the same addresses. Dropping the map there unmaps nothing.
    #[default]
    DontFork,
    /// The same memory, shared. For programs that pass a ring on to a child on purpose.
    Keep,
}

/// The mapped memory of one ring.
#[derive(Debug)]
pub struct RingMap {
    /// Both rings; with memory of the caller's, the entries too.
    ring: Mapping,
    /// The submission entries, unless they lie in `ring`.
    sqes: Option<Mapping>,
    pointers: RingPointers,
}

/// Where everything in a ring lies. Sizes and masks were read once and cannot change any more.
///
/// All pointers are aligned, and valid for reads and writes until the [`RingMap`] they came from is dropped.
#[derive(Clone, Copy, Debug)]
pub struct RingPointers {
    /// The head of the submission queue, which the kernel moves.
    pub sq_head: NonNull<u32>,
    /// The tail of the submission queue, which user space moves.
    pub sq_tail: NonNull<u32>,
    /// `sq_entries - 1`.
    pub sq_ring_mask: u32,
    /// The number of slots for entries, a power of two.
    pub sq_entries: u32,
    /// `IORING_SQ_*`, which the kernel changes.
    pub sq_flags: NonNull<u32>,
    /// The count of dropped entries, which the kernel changes.
    pub sq_dropped: NonNull<u32>,
    /// `sq_entries` indices of slots; `None` with `IORING_SETUP_NO_SQARRAY`.
    pub sq_array: Option<NonNull<u32>>,
    /// `sq_entries` slots, each of `1 << sqe_shift` times this type.
    pub sqes: NonNull<io_uring_sqe>,
    /// 1 if slots for entries have 128 bytes, 0 if they have 64.
    pub sqe_shift: u32,
    /// The head of the completion queue, which user space moves.
    pub cq_head: NonNull<u32>,
    /// The tail of the completion queue, which the kernel moves.
    pub cq_tail: NonNull<u32>,
    /// `cq_entries - 1`.
    pub cq_ring_mask: u32,
    /// The number of slots for completions, a power of two.
    pub cq_entries: u32,
    /// The count of lost completions, which the kernel changes.
    pub cq_overflow: NonNull<u32>,
    /// `IORING_CQ_*`, which user space changes; `None` where the kernel has no such word.
    pub cq_flags: Option<NonNull<u32>>,
    /// `cq_entries` slots, each of `1 << cqe_shift` times this type.
    pub cqes: NonNull<io_uring_cqe>,
    /// 1 if slots for completions have 32 bytes, 0 if they have 16.
    pub cqe_shift: u32,
}

// SAFETY: the pointers are addresses of shared memory, the same for all threads of the process. To use
// them takes `unsafe` anyway, and there the user answers for the order of accesses.
unsafe impl Send for RingPointers {}
// SAFETY: as for Send.
unsafe impl Sync for RingPointers {}

impl RingMap {
    /// Maps the ring behind `fd`, by the parameters as `io_uring_setup` left them.
    ///
    /// After `IORING_REGISTER_RESIZE_RINGS`, map anew by the parameters it filled, with `features` kept from
    /// the setup: the kernel does not fill them again.
    ///
    /// # Errors
    ///
    /// [`MapError::NoSingleMmap`] on kernels below the floor, [`MapError::UserMemory`] for a ring in memory
    /// of its maker, [`MapError::Mmap`] if the kernel refuses, and the others if the parameters are not those of this ring.
    pub fn new(fd: BorrowedFd<'_>, p: &io_uring_params, fork: Fork) -> Result<Self, MapError> {
        if p.flags & IORING_SETUP_NO_MMAP != 0 {
            return Err(MapError::UserMemory);
        }
        if p.features & IORING_FEAT_SINGLE_MMAP == 0 {
            return Err(MapError::NoSingleMmap);
        }
        let (ring_len, sqes_len) = (ring_len(p)?, sqes_len(p)?);
        // Before anything is mapped: nonsense should not get that far.
        let layout = layout(p, ring_len, sqes_len)?;
        let ring = Mapping::of(fd, IORING_OFF_SQ_RING, ring_len, "mmap of the rings")?;
        let sqes = Mapping::of(fd, IORING_OFF_SQES, sqes_len, "mmap of the submission entries")?;
        let entries = sqes.start();
        Self::finish(ring, Some(sqes), entries, &layout, fork)
    }

    /// Takes over the memory in which a ring was set up, by the parameters as `io_uring_setup` left them.
    ///
    /// # Errors
    ///
    /// [`MapError::OtherMemory`] if the parameters do not name this memory, and others as [`new`](Self::new).
    pub fn from_memory(memory: RingMemory, p: &io_uring_params, fork: Fork) -> Result<Self, MapError> {
        let RingMemory { mapping, sqes_at } = memory;
        let address = mapping.start().as_ptr().addr() as u64;
        let expected = (address, address + sqes_at as u64);
        if p.flags & IORING_SETUP_NO_MMAP == 0 || (p.cq_off.user_addr, p.sq_off.user_addr) != expected {
            return Err(MapError::OtherMemory);
        }
        let layout = layout(p, sqes_at, mapping.len - sqes_at)?;
        // SAFETY: `sqes_at` is inside of the mapping, by its construction in RingMemory.
        let entries = unsafe { mapping.start().byte_add(sqes_at) };
        Self::finish(mapping, None, entries, &layout, fork)
    }

    /// Makes the pointers, reads the words that never change, and applies `fork`.
    fn finish(
        ring: Mapping,
        sqes: Option<Mapping>,
        entries: NonNull<c_void>,
        l: &Layout,
        fork: Fork,
    ) -> Result<Self, MapError> {
        // SAFETY: of all offsets below `layout` checked that they are inside of the mapping, with all that they are
        // the start of, and that they are aligned in a mapping that is page-aligned itself.
        let at = |offset: usize| unsafe { ring.start().byte_add(offset) };
        let word = |offset: usize| at(offset).cast::<u32>();
        let expect = |what, offset, expected| {
            // SAFETY: as above; the kernel wrote this word before the ring came to be.
            let found = unsafe { word(offset).read_volatile() };
            if found == expected { Ok(found) } else { Err(MapError::BadWord { what, found, expected }) }
        };
        expect("sq_ring_entries", l.sq_ring_entries, l.sq_entries)?;
        expect("cq_ring_entries", l.cq_ring_entries, l.cq_entries)?;
        let pointers = RingPointers {
            sq_head: word(l.sq_head),
            sq_tail: word(l.sq_tail),
            sq_ring_mask: expect("sq_ring_mask", l.sq_ring_mask, l.sq_entries - 1)?,
            sq_entries: l.sq_entries,
            sq_flags: word(l.sq_flags),
            sq_dropped: word(l.sq_dropped),
            sq_array: l.sq_array.map(word),
            sqes: entries.cast(),
            sqe_shift: l.sqe_shift,
            cq_head: word(l.cq_head),
            cq_tail: word(l.cq_tail),
            cq_ring_mask: expect("cq_ring_mask", l.cq_ring_mask, l.cq_entries - 1)?,
            cq_entries: l.cq_entries,
            cq_overflow: word(l.cq_overflow),
            cq_flags: l.cq_flags.map(word),
            cqes: at(l.cqes).cast(),
            cqe_shift: l.cqe_shift,
        };
        let map = Self { ring, sqes, pointers };
        if fork == Fork::DontFork {
            map.dont_fork().map_err(|errno| MapError::Mmap { step: "madvise(MADV_DONTFORK)", errno })?;
        }
        Ok(map)
    }

    /// Where everything lies. The pointers are good until this map is dropped.
    #[inline]
    #[must_use]
    pub const fn pointers(&self) -> RingPointers {
        self.pointers
    }

    /// Whether this is a forked child, which did not get the memory ([`Fork::DontFork`]): at its addresses there is nothing
    /// here, or memory of another use.
    #[must_use]
    pub fn is_left_behind(&self) -> bool {
        self.ring.is_left_behind()
    }

    /// Keeps the memory from children of later forks, as [`Fork::DontFork`] does from the start.
    ///
    /// # Errors
    ///
    /// What `madvise(2)` reports.
    pub fn dont_fork(&self) -> Result<(), Errno> {
        self.ring.dont_fork()?;
        self.sqes.as_ref().map_or(Ok(()), Mapping::dont_fork)
    }
}

/// A mapping, unmapped on drop unless it is lent.
#[derive(Debug)]
struct Mapping {
    start: NonNull<c_void>,
    len: usize,
    /// Somebody else's, who unmaps it.
    lent: bool,
    /// The process that keeps this mapping from its children; 0 if they inherit it.
    home: AtomicI32,
}

// SAFETY: a mapping belongs to the process, not to a thread; this type gives out its address and unmaps it.
unsafe impl Send for Mapping {}
// SAFETY: nothing here changes through a shared reference but by system calls, which may race.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of a ring.
    fn of(fd: BorrowedFd<'_>, offset: u64, len: usize, step: &'static str) -> Result<Self, MapError> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // Populated: no page faults later, in the middle of things.
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let at = unsafe { mmap(null_mut(), len, prot, flags, fd, offset) }
            .map_err(|errno| MapError::Mmap { step, errno })?;
        // SAFETY: this is the whole of that mapping, and nobody else knows of it.
        Ok(unsafe { Self::own(at, len) })
    }

    /// Takes over a mapping.
    ///
    /// # Safety
    ///
    /// It must be what a successful mmap returned, all of it, and nobody else's to unmap.
    unsafe fn own(at: *mut c_void, len: usize) -> Self {
        // SAFETY: mmap maps at zero only by MAP_FIXED.
        Self { start: unsafe { NonNull::new_unchecked(at) }, len, lent: false, home: AtomicI32::new(0) }
    }

    /// Uses mapped memory that somebody else unmaps.
    ///
    /// # Safety
    ///
    /// It must stay mapped for reading and writing until this is dropped.
    unsafe fn lent(start: NonNull<c_void>, len: usize) -> Self {
        Self { start, len, lent: true, home: AtomicI32::new(0) }
    }

    const fn start(&self) -> NonNull<c_void> {
        self.start
    }

    fn is_left_behind(&self) -> bool {
        // Relaxed: see `dont_fork`.
        let home = self.home.load(Ordering::Relaxed);
        home != 0 && home != process()
    }

    fn dont_fork(&self) -> Result<(), Errno> {
        // SAFETY: the range is a mapping of ours, and the advice changes nothing in this process.
        unsafe { madvise(self.start.as_ptr(), self.len, Advice::LinuxDontFork) }?;
        // Relaxed: whoever drops the mapping has it for itself by then, and a child is a copy.
        self.home.store(process(), Ordering::Relaxed);
        Ok(())
    }
}

/// The number of this process.
fn process() -> i32 {
    // SAFETY: getpid only returns a number, and never fails.
    unsafe { libc::getpid() }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // There is no such mapping in a forked child; at its address there may be another by now.
        if self.lent || self.is_left_behind() {
            return;
        }
        // SAFETY: the mapping is ours, and who uses its pointers later breaks the promise of RingPointers.
        let unmapped = unsafe { munmap(self.start.as_ptr(), self.len) };
        // It can fail only for a range that is not a mapping's, or if splitting one needs memory.
        debug_assert_eq!(unmapped, Ok(()));
    }
}
