//! Memory for the kernel to keep: mappings of their own, whose pages stay at their addresses.
//!
//! Who owns what, when: a [`Memory`] has the sole right to touch its range of a mapping. The mapping goes away when
//! the last holder drops it: pieces of the memory, and every ring that has it registered. Until then nothing else can
//! come to be at its addresses, so that an address means the same page to the kernel, which looked the pages up once,
//! and to the process.

use core::fmt;
use core::ops::{Deref, DerefMut, Range};
use core::ptr::NonNull;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// The size of the huge pages of [`Memory::huge`].
const HUGE: usize = 2 << 20;

/// A mapping that is unmapped when it is dropped, and neither moved nor replaced before.
pub(crate) struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: it is an address range; who may touch the bytes is ruled by those who hold it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed memory that belongs to the process alone.
    pub(crate) fn anonymous(len: usize, flags: MapFlags) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let at = unsafe { mmap_anonymous(core::ptr::null_mut(), len, protection, flags) }?;
        // The kernel chooses address 0 for nobody.
        let at = NonNull::new(at.cast()).ok_or(Errno::NOMEM)?;
        Ok(Mapping { at, len })
    }

    /// Memory that the kernel made and offers to be mapped.
    pub(crate) fn of(fd: impl AsFd, offset: u64, len: usize) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let at = unsafe { mmap(core::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, offset) }?;
        let at = NonNull::new(at.cast()).ok_or(Errno::NOMEM)?;
        Ok(Mapping { at, len })
    }

    pub(crate) fn at(&self) -> NonNull<u8> {
        self.at
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours as a whole, and the last holder of it is gone.
        let unmapped = unsafe { munmap(self.at.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "unmapping one's own mapping: {unmapped:?}");
    }
}

/// Zeroed memory that starts on a page of its own, never moves, and can be registered.
///
/// It is a slice of bytes to use. [`Ring::register_buffers`](crate::Ring::register_buffers) takes it and makes a
/// [`RegisteredBuffer`](super::RegisteredBuffer) of it.
///
/// ```
/// use rawring::register::Memory;
///
/// let mut memory = Memory::new(8192)?;
/// memory[..5].copy_from_slice(b"hello");
/// let pieces: Vec<Memory> = memory.chunks(4096).collect();
/// assert_eq!((pieces.len(), &pieces[0][..6], pieces[1].len()), (2, &b"hello\0"[..], 4096));
/// # Ok::<(), rawring::Errno>(())
/// ```
pub struct Memory {
    mapping: Arc<Mapping>,
    /// Where in the mapping the range begins that is this one's alone.
    start: usize,
    len: usize,
}

impl Memory {
    /// `len` bytes.
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | `len` is 0 |
    /// | `ENOMEM` | no memory, no address space, or as many mappings as a process may have |
    pub fn new(len: usize) -> Result<Self, Errno> {
        Self::map(len, MapFlags::PRIVATE)
    }

    /// `len` bytes, rounded up to huge pages of 2 MiB, which must have been set aside (`vm.nr_hugepages`). They cost
    /// the kernel one entry for 512 pages.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new): `ENOMEM` in particular if too few huge pages are free; `EINVAL` where there are none of
    /// that size.
    pub fn huge(len: usize) -> Result<Self, Errno> {
        let len = len.checked_next_multiple_of(HUGE).ok_or(Errno::NOMEM)?;
        Self::map(len, MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB)
    }

    fn map(len: usize, flags: MapFlags) -> Result<Self, Errno> {
        if len > isize::MAX as usize {
            return Err(Errno::NOMEM);
        }
        Ok(Memory { mapping: Arc::new(Mapping::anonymous(len, flags)?), start: 0, len })
    }

    /// The first `at` bytes, and the rest.
    ///
    /// # Errors
    ///
    /// It comes back whole if one of them would be empty.
    pub fn split_at(self, at: usize) -> Result<(Memory, Memory), Memory> {
        if at == 0 || at >= self.len {
            return Err(self);
        }
        let Memory { mapping, start, len } = self;
        let first = Memory { mapping: mapping.clone(), start, len: at };
        Ok((first, Memory { mapping, start: start + at, len: len - at }))
    }

    /// Pieces of `size` bytes, the last of which may be shorter. Each can go its own way: the mapping stays for as long
    /// as one of them is there.
    ///
    /// # Panics
    ///
    /// If `size` is 0, as [`slice::chunks`] does.
    pub fn chunks(self, size: usize) -> impl Iterator<Item = Memory> {
        assert_ne!(size, 0, "pieces of 0 bytes");
        let mut rest = Some(self);
        std::iter::from_fn(move || match rest.take()?.split_at(size) {
            Ok((piece, left)) => {
                rest = Some(left);
                Some(piece)
            }
            Err(last) => Some(last),
        })
    }

    /// Keeps the addresses from meaning anything else for as long as the result lives.
    pub(super) fn hold(&self) -> Arc<Mapping> {
        self.mapping.clone()
    }

    /// Where a range of it is, for memory that the kernel writes while nobody has a reference to it.
    pub(super) fn part(&self, range: Range<usize>) -> Option<NonNull<[u8]>> {
        if range.start > range.end || range.end > self.len {
            return None;
        }
        // SAFETY: inside of this value's range, which is inside of the mapping.
        let at = unsafe { self.mapping.at.add(self.start + range.start) };
        Some(NonNull::slice_from_raw_parts(at, range.len()))
    }

    /// Where it is, for those who have the sole right to it.
    pub(crate) fn place(&self) -> NonNull<[u8]> {
        // SAFETY: inside of the mapping.
        let at = unsafe { self.mapping.at.add(self.start) };
        NonNull::slice_from_raw_parts(at, self.len)
    }

    /// How many pages the range touches.
    pub(super) fn pages(&self) -> u64 {
        let page = rustix::param::page_size();
        let first = self.start / page;
        ((self.start + self.len).div_ceil(page) - first) as u64
    }
}

impl Deref for Memory {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies inside the mapping, which lives, and is initialised since it was mapped. It is this
        // value's alone: pieces do not overlap. Whoever has the kernel write there borrows this value mutably.
        unsafe { core::slice::from_raw_parts(self.mapping.at.as_ptr().add(self.start), self.len) }
    }
}

impl DerefMut for Memory {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, with `self` borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.mapping.at.as_ptr().add(self.start), self.len) }
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Memory {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("at", &self.as_ptr()).field("len", &self.len).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_memory_and_outlive_each_other() {
        let page = rustix::param::page_size();
        let mut memory = Memory::new(2 * page + 10).expect("memory");
        assert!(memory.as_ptr().addr() % page == 0 && memory.iter().all(|&byte| byte == 0));
        memory[page..].fill(7);
        let start = memory.as_ptr().addr();
        assert_eq!(memory.pages(), 3);
        let mut pieces: Vec<_> = memory.chunks(page - 1).collect();
        let ranges: Vec<_> = pieces.iter().map(|piece| (piece.as_ptr().addr() - start, piece.len())).collect();
        assert_eq!(ranges, [(0, page - 1), (page - 1, page - 1), (2 * page - 2, 12)]);
        assert_eq!(pieces.iter().map(Memory::pages).collect::<Vec<_>>(), [1, 2, 2]);
        let mut last = pieces.pop().expect("three");
        drop(pieces);
        last[0] = 1;
        assert_eq!(last[..], [1, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(Memory::new(0).err(), Some(Errno::INVAL));
        assert_eq!(Memory::new(usize::MAX).err(), Some(Errno::NOMEM));
        assert_eq!(Memory::huge(usize::MAX).err(), Some(Errno::NOMEM));
        let memory = Memory::new(8).expect("memory");
        let whole = memory.split_at(8).expect_err("nothing would be left").split_at(0);
        assert_eq!(whole.expect_err("nothing would be first").len(), 8);
    }
}
