//! What names a ring to the kernel: a descriptor, or a place in a thread's table of registered rings.
//!
//! Invariant: a place is given back exactly once, by the thread whose table it is in. Everywhere else the same index
//! may name another ring, so there it is neither used nor given back.

use std::os::fd::{OwnedFd, RawFd};
use std::thread::ThreadId;

use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use rawring_sys as sys;

/// What names the ring to the kernel.
pub(crate) enum Handle {
    Fd(OwnedFd),
    Registered(Place),
}

impl Handle {
    /// # Errors
    ///
    /// `EBADF` where the ring has no name.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        match self {
            Handle::Registered(place) if !place.is_here() => Err(Errno::BADF),
            _ => Ok(()),
        }
    }
}

/// A place in the table of the thread that made the ring, taken until this is dropped.
///
/// On another thread dropping it does nothing: the place goes with its thread and the whole table.
pub(crate) struct Place {
    index: u32,
    thread: ThreadId,
    /// A forked child's thread has the same number as the one that it is a copy of, and an empty table.
    process: Pid,
}

impl Place {
    /// A place that the calling thread has just taken.
    pub(crate) fn taken(index: u32) -> Self {
        Place { index, thread: std::thread::current().id(), process: getpid() }
    }

    pub(crate) fn index(&self) -> RawFd {
        self.index as RawFd
    }

    pub(crate) fn thread(&self) -> ThreadId {
        self.thread
    }

    fn is_here(&self) -> bool {
        self.thread == std::thread::current().id() && self.process == getpid()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_here() {
            return;
        }
        let mut update = sys::io_uring_rsrc_update { offset: self.index, ..Default::default() };
        let op = sys::IORING_UNREGISTER_RING_FDS | sys::IORING_REGISTER_USE_REGISTERED_RING;
        // Restrictions of the ring may forbid it. The place then goes with its thread, too.
        // SAFETY: the argument is one update, read and written during the call. The operation acts on the calling
        // task's table, where the place is ours.
        let _ = unsafe { sys::io_uring_register(self.index(), op, (&raw mut update).cast(), 1) };
    }
}
