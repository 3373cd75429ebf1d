//! The memory that a simulated ring shares with its user: a file in memory, mapped here a second time.
//!
//! Who maps what: the crate maps the ring's descriptor at the offsets at which a kernel would show the rings and the
//! entries; that descriptor is this file. A ring in its maker's memory (`NO_MMAP`) has that memory mapped here again.
//! So neither side's unmapping concerns the other, and closing a ring in the wrong order stays harmless.
//!
//! Invariant: both mappings live as long as the value, and every word handed out lies inside of them.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU32;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap, mremap, munmap};

use rawring_sys as sys;

/// A mapping of a ring's memory.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Region {}

impl Region {
    /// Maps a part of a file.
    fn of_file(file: impl AsFd, offset: u64, len: usize) -> Result<Region, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe { mmap(null_mut(), len, prot, MapFlags::SHARED, file, offset) }?;
        Ok(Region { start: NonNull::new(start.cast()).ok_or(Errno::FAULT)?, len })
    }

    /// Maps memory of the ring's maker once more.
    fn again(address: u64, len: usize) -> Result<Region, Errno> {
        let at = usize::try_from(address).map_err(|_| Errno::FAULT)?;
        if at == 0 || at % rustix::param::page_size() != 0 {
            return Err(Errno::INVAL);
        }
        // SAFETY: with an old size of 0 the old mapping stays; the new one is at an address of the kernel's choice.
        let start = unsafe { mremap(std::ptr::with_exposed_provenance_mut(at), 0, len, MremapFlags::MAYMOVE) }?;
        Ok(Region { start: NonNull::new(start.cast()).ok_or(Errno::FAULT)?, len })
    }

    /// The address of `size` bytes at `offset`.
    fn at(&self, offset: usize, size: usize) -> NonNull<u8> {
        assert!(offset + size <= self.len, "the ring's layout was checked against this mapping");
        // SAFETY: inside of the mapping, as was just checked.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the words handed out borrow it.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

/// The memory of one ring.
#[derive(Debug)]
pub(super) struct Memory {
    ring: Region,
    entries: Region,
}

impl Memory {
    /// Makes the memory, and the descriptor by which the ring's user maps it.
    pub(super) fn new(
        params: &sys::io_uring_params,
        ring_len: usize,
        entries_len: usize,
    ) -> Result<(Memory, OwnedFd), Errno> {
        let page = rustix::param::page_size();
        let (ring_len, entries_len) = (ring_len.next_multiple_of(page), entries_len.next_multiple_of(page));
        let file = memfd_create("rawring-sim", MemfdFlags::CLOEXEC)?;
        let memory = if params.flags & sys::IORING_SETUP_NO_MMAP != 0 {
            Memory {
                ring: Region::again(params.cq_off.user_addr, ring_len)?,
                entries: Region::again(params.sq_off.user_addr, entries_len)?,
            }
        } else {
            ftruncate(&file, sys::IORING_OFF_SQES + entries_len as u64)?;
            Memory {
                ring: Region::of_file(&file, sys::IORING_OFF_SQ_RING, ring_len)?,
                entries: Region::of_file(&file, sys::IORING_OFF_SQES, entries_len)?,
            }
        };
        Ok((memory, file))
    }

    /// A word among the rings.
    pub(super) fn word(&self, offset: usize) -> &AtomicU32 {
        let at = self.ring.at(offset, 4).cast::<u32>();
        // SAFETY: inside of the mapping, which lives as long as `self`; aligned, since the layout is and mappings are.
        // Both sides access words by atomics only.
        unsafe { AtomicU32::from_ptr(at.as_ptr()) }
    }

    /// Half of an entry, or all of a short one, by its place in units of 64 bytes.
    pub(super) fn entry(&self, unit: usize) -> sys::io_uring_sqe {
        let at = self.entries.at(unit * 64, 64).cast();
        // SAFETY: inside of the mapping and aligned. The slot is the kernel's, which is us, until the head passes it;
        // volatile, since a user who breaks that rule must not make two reads of ours differ.
        unsafe { at.read_volatile() }
    }

    /// Writes half of an entry, or all of a short one, of a ring that is being resized.
    pub(super) fn write_entry(&self, unit: usize, entry: sys::io_uring_sqe) {
        let at = self.entries.at(unit * 64, 64).cast();
        // SAFETY: inside of the mapping and aligned. The user does not map the memory before the call returns.
        unsafe { at.write_volatile(entry) };
    }

    /// One unit of 16 bytes of a completion.
    pub(super) fn completion(&self, offset: usize) -> [u64; 2] {
        let at = self.ring.at(offset, 16).cast();
        // SAFETY: inside of the mapping and aligned to 8. The user does not write completions.
        unsafe { at.read_volatile() }
    }

    /// Writes one unit of 16 bytes of a completion.
    pub(super) fn write_completion(&self, offset: usize, unit: [u64; 2]) {
        let at = self.ring.at(offset, 16).cast();
        // SAFETY: inside of the mapping and aligned to 8. The slot is the kernel's, which is us, until the tail passes it.
        unsafe { at.write_volatile(unit) };
    }
}
