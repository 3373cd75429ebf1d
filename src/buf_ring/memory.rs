//! Mappings: of the buffers themselves, and of the ring that says where they are.
//!
//! Invariant: the bytes of a [`Pages`] are initialised, stay at their address while it lives, and are shared with nobody
//! but the kernel. Dropping one unmaps it; who cannot prove that the kernel is done with it forgets it instead.

use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::process::{Pid, getpid};

use rawring_sys as sys;

/// Whole pages of zeros.
pub(super) struct Pages {
    start: NonNull<u8>,
    len: usize,
    /// The process that keeps them from its children; `None` if those get a copy.
    home: Option<Pid>,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Pages {}
// SAFETY: sharing it gives an address, no access.
unsafe impl Sync for Pages {}

impl Pages {
    /// Memory of this process. What a forked child gets is a copy.
    pub(super) fn anonymous(len: usize) -> Result<Pages, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let start = unsafe { mmap_anonymous(null_mut(), len, prot, MapFlags::PRIVATE | MapFlags::NORESERVE) }?;
        Ok(Pages { start: NonNull::new(start.cast()).ok_or(Errno::FAULT)?, len, home: None })
    }

    /// The entries of a group that the kernel has allocated. A forked child does not get them: it would move the tail of
    /// its parent's ring.
    pub(super) fn of_group(ring: BorrowedFd<'_>, group: u16, len: usize) -> Result<Pages, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let offset = sys::IORING_OFF_PBUF_RING | u64::from(group) << sys::IORING_OFF_PBUF_SHIFT;
        // SAFETY: as in `anonymous`.
        let start = unsafe { mmap(null_mut(), len, prot, MapFlags::SHARED, ring, offset) }?;
        let pages = Pages { start: NonNull::new(start.cast()).ok_or(Errno::FAULT)?, len, home: Some(getpid()) };
        // SAFETY: the range is the mapping just made; the advice changes nothing in this process.
        unsafe { madvise(start, len, Advice::LinuxDontFork) }?;
        Ok(pages)
    }

    /// Whether this is a forked child, which does not have them.
    pub(super) fn are_left_behind(&self) -> bool {
        self.home.is_some_and(|home| home != getpid())
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // At their address there may be something else in a child.
        if self.are_left_behind() {
            return;
        }
        // SAFETY: the range is that of this mapping, and nobody uses an address in it after this.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}
