//! What names a ring to the kernel: a descriptor, or a place in a thread's table of registered rings.
//!
//! Invariant: a place is given back exactly once, by the thread whose table it is in. Everywhere else the same index
//! may name another ring, so there it is neither used nor given back.

use std::cell::Cell;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A thread of this process, which no other has the number of, not even after it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Thread(u64);

thread_local! {
    /// The number of the calling thread; 0 as long as nobody has asked. The standard library has such a number, too, but
    /// this is asked for on every entrance by index, and needs no initialisation.
    static HERE: Cell<u64> = const { Cell::new(0) };
}

impl Thread {
    /// The calling thread.
    pub(crate) fn here() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        if HERE.get() == 0 {
            // Relaxed: the numbers only have to differ.
            HERE.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        Thread(HERE.get())
    }

    #[inline(always)]
    pub(crate) fn is_here(self) -> bool {
        HERE.get() == self.0
    }
}

/// A place in a thread's table, taken until this is dropped.
///
/// On another thread dropping it does nothing: the place goes with its thread and the whole table.
#[derive(Debug)]
pub(crate) struct Place {
    index: u32,
    thread: Thread,
    /// A forked child's thread has the same number as the one that it is a copy of, and an empty table.
    process: Pid,
    /// The descriptor by which the place is given back, if the ring has one, which then outlives this.
    fd: Option<RawFd>,
}

impl Place {
    /// The place of a ring without descriptor, which the calling thread has just taken.
    pub(crate) fn taken(index: u32) -> Self {
        Place { index, thread: Thread::here(), process: getpid(), fd: None }
    }

    /// Takes a place for a ring that has a descriptor: this one, or any.
    ///
    /// # Safety
    ///
    /// `fd` is the ring's descriptor, and stays so until the place is dropped. `register` makes calls of
    /// `io_uring_register` on that ring.
    pub(crate) unsafe fn take(
        fd: RawFd,
        index: Option<u32>,
        register: impl FnOnce(u32, *mut core::ffi::c_void, u32) -> Result<u32, Errno>,
    ) -> Result<Self, Errno> {
        let mut update = sys::io_uring_rsrc_update {
            offset: index.unwrap_or(u32::MAX),
            data: fd as u64,
            ..sys::io_uring_rsrc_update::ZERO
        };
        register(sys::IORING_REGISTER_RING_FDS, (&raw mut update).cast(), 1)?;
        let mut place = Place::taken(update.offset);
        place.fd = Some(fd);
        Ok(place)
    }

    pub(crate) fn index(&self) -> RawFd {
        self.index as RawFd
    }

    pub(crate) fn thread(&self) -> Thread {
        self.thread
    }

    /// Whether this is the thread whose table it is in, or a copy of it in a forked child.
    #[inline(always)]
    pub(crate) fn is_on_this_thread(&self) -> bool {
        self.thread.is_here()
    }

    fn is_here(&self) -> bool {
        self.is_on_this_thread() && self.process == getpid()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_here() {
            return;
        }
        let mut update = sys::io_uring_rsrc_update { offset: self.index, ..Default::default() };
        let op = sys::IORING_UNREGISTER_RING_FDS;
        let (ring, op) = match self.fd {
            Some(fd) => (fd, op),
            None => (self.index(), op | sys::IORING_REGISTER_USE_REGISTERED_RING),
        };
        // Restrictions of the ring may forbid it. The place then goes with its thread, too.
        // SAFETY: the argument is one update, read and written during the call. The operation acts on the calling
        // task's table, where the place is ours.
        let _ = unsafe { sys::io_uring_register(ring, op, (&raw mut update).cast(), 1) };
    }
}
