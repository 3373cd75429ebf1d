//! Which kernel a ring talks to: the one that runs this process or, with the feature `sim`, a simulated one.
//!
//! The three system calls of io_uring go through here and nowhere else. Without the feature both types below hold
//! nothing but the ring's number, and each call is the system call itself.
//!
//! Invariant: an [`Entrance`] leads to the kernel that made its ring, and a simulated kernel hears when it is dropped.

use core::ffi::c_void;
use std::os::fd::RawFd;

use rustix::io::Errno;

#[cfg(feature = "sim")]
use crate::sim::Sim;
use rawring_sys as sys;

/// A kernel to ask for rings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    #[cfg(feature = "sim")]
    sim: Option<Sim>,
}

impl Kernel {
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(sim: Sim) -> Self {
        Kernel { sim: Some(sim) }
    }

    /// `io_uring_setup`.
    ///
    /// # Safety
    ///
    /// As for [`sys::io_uring_setup`], with valid `params`.
    pub(crate) unsafe fn setup(&self, entries: u32, params: &mut sys::io_uring_params) -> Result<u32, Errno> {
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.sim {
            // SAFETY: the caller's promise.
            return unsafe { sim.setup_ring(entries, params) };
        }
        // SAFETY: the caller's promise.
        unsafe { sys::io_uring_setup(entries, params) }
    }

    /// `io_uring_register`, of the ring with this number, or of none with -1.
    ///
    /// # Safety
    ///
    /// As for [`sys::io_uring_register`].
    pub(crate) unsafe fn register(&self, fd: RawFd, op: u32, arg: *mut c_void, count: u32) -> Result<u32, Errno> {
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.sim {
            // SAFETY: the caller's promise.
            return unsafe { sim.register(fd, op, arg, count) };
        }
        // SAFETY: the caller's promise.
        unsafe { sys::io_uring_register(fd, op, arg, count) }
    }
}

/// The way into the kernel that a ring is of.
#[derive(Debug)]
pub(crate) struct Entrance {
    kernel: Kernel,
    /// The descriptor, or the registered index.
    raw: RawFd,
}

impl Entrance {
    /// The way to the ring that this kernel has just made.
    pub(crate) fn new(kernel: &Kernel, raw: RawFd) -> Self {
        Entrance { kernel: kernel.clone(), raw }
    }

    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// `io_uring_enter`, by the ring's own name or by an index.
    ///
    /// # Safety
    ///
    /// As for [`sys::io_uring_enter`]; the index, if any, is one of this ring in the calling thread's table.
    #[inline(always)]
    pub(crate) unsafe fn enter(
        &self,
        index: Option<RawFd>,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        arg: *const c_void,
        size: usize,
    ) -> Result<u32, Errno> {
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.kernel.sim {
            // SAFETY: the caller's promise.
            return unsafe { sim.enter(self.raw, to_submit, min_complete, flags, arg, size) };
        }
        // SAFETY: the caller's promise.
        unsafe { sys::io_uring_enter(index.unwrap_or(self.raw), to_submit, min_complete, flags, arg, size) }
    }

    /// `io_uring_enter` without an argument, with what the kernel returned.
    ///
    /// # Safety
    ///
    /// As for [`enter`](Self::enter).
    #[inline(always)]
    pub(crate) unsafe fn enter_raw(
        &self,
        index: Option<RawFd>,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
    ) -> isize {
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.kernel.sim {
            // SAFETY: the caller's promise.
            let result = unsafe { sim.enter(self.raw, to_submit, min_complete, flags, core::ptr::null(), 0) };
            // A liar's count may be more than a result can be.
            let count = |taken| isize::try_from(taken).unwrap_or(isize::MAX);
            return result.map_or_else(|errno| -(errno.raw_os_error() as isize), count);
        }
        let name = index.unwrap_or(self.raw);
        // SAFETY: the caller's promise.
        unsafe { sys::io_uring_enter_raw(name, to_submit, min_complete, flags, core::ptr::null(), 0) }
    }

    /// `io_uring_register`, of this ring.
    ///
    /// # Safety
    ///
    /// As for [`sys::io_uring_register`].
    pub(crate) unsafe fn register(&self, op: u32, arg: *mut c_void, count: u32) -> Result<u32, Errno> {
        // SAFETY: the caller's promise.
        unsafe { self.kernel.register(self.raw, op, arg, count) }
    }
}

#[cfg(feature = "sim")]
impl Drop for Entrance {
    fn drop(&mut self) {
        if let Some(sim) = &self.kernel.sim {
            sim.close(self.raw);
        }
    }
}

// A ring is both, and says so by hand.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Entrance>();
};
