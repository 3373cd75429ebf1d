//! Registered rings: a ring's place in a thread's table of 16, and entering the kernel by it.
//!
//! Who owns what, when: a place belongs to the thread that took it, since the same index means another ring, or none, to
//! every other thread. The place holds a reference to the ring: as long as it is taken, the kernel keeps the ring and
//! what it has, even when the [`Ring`] is gone. It is given back when its holder is dropped on that thread, or when the
//! thread ends.
//!
//! Entering by an index saves the kernel looking up and holding the descriptor, which shows with threads that share
//! their table of files. Rings made with [`registered_fd_only`](crate::Setup::registered_fd_only) have nothing else.

use core::marker::PhantomData;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

use crate::handle::{Handle, Place};
use crate::ring::Ring;
use rawring_sys as sys;

/// A ring's place in the table of the thread that registered it; given back on drop.
///
/// For calls that are made by hand with [`index`](Self::index). The ring itself makes use of a place that it took
/// [for itself](Ring::register_ring_fd).
///
/// Cannot be sent to another thread, where the index would mean another ring:
///
/// ```compile_fail
/// # let ring = rawring::Ring::new(8)?;
/// let registered = ring.registered(None)?;
/// std::thread::scope(|threads| threads.spawn(|| registered.index()).join());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RegisteredRing<'r> {
    place: Place,
    ring: PhantomData<(&'r Ring, *mut ())>,
}

impl RegisteredRing<'_> {
    /// The index in this thread's table.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.place.index() as u32
    }
}

impl Ring {
    /// Registers the ring with the calling thread, in the slot with this index or in any.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_RING_FDS`, Linux 5.18.
    ///
    /// ```
    /// use rawring::Ring;
    ///
    /// let ring = Ring::new(8)?;
    /// let registered = ring.registered(None)?;
    /// assert!(registered.index() < 16);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBUSY` | the thread's 16 slots, or the one that was asked for, are taken |
    /// | `EINVAL` | an index above 15, or an older kernel |
    /// | `EOPNOTSUPP` | the ring has no descriptor: it is registered already |
    /// | `EEXIST`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn registered(&self, index: Option<u32>) -> Result<RegisteredRing<'_>, Errno> {
        Ok(RegisteredRing { place: self.take_place(index)?, ring: PhantomData })
    }

    fn take_place(&self, index: Option<u32>) -> Result<Place, Errno> {
        let Handle::Fd(fd) = &self.handle else { return Err(Errno::OPNOTSUPP) };
        // An index that is asked for must not be taken for "any".
        if index == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        // SAFETY: the descriptor is open while the ring is there, which the holders of a place do not outlive. The argument
        // is one update, read and written during the call.
        unsafe { Place::take(fd.as_raw_fd(), index, |op, arg, count| self.register_raw(op, arg, count)) }
    }

    /// Registers the ring with the calling thread, and has it enter the kernel by that from now on when it is this thread
    /// that uses it. Other threads enter by the descriptor as before, and so does this one if there is no slot left.
    ///
    /// Worth it for a ring that stays with a thread. While the place is taken the kernel keeps the ring: one that is
    /// dropped on another thread goes when this thread ends. Does nothing if the place is taken already.
    ///
    /// Linux 5.18.
    ///
    /// ```
    /// use rawring::{Ring, op::Nop};
    ///
    /// let mut ring = Ring::new(8)?;
    /// // Without it, everything works as well.
    /// let _ = ring.register_ring_fd();
    /// ring.push(Nop::new())?;
    /// ring.submit_and_wait(1)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`registered`](Self::registered); also `EOPNOTSUPP` for a ring whose memory is
    /// [left to children of `fork`](crate::Setup::inherit_on_fork), where the index would mean another ring.
    pub fn register_ring_fd(&mut self) -> Result<(), Errno> {
        if self.fork == sys::Fork::Keep {
            return Err(Errno::OPNOTSUPP);
        }
        if !self.is_registered() {
            self.submit.shortcut = Some(self.take_place(None)?);
        }
        Ok(())
    }

    /// Gives the place back that [`register_ring_fd`](Self::register_ring_fd) took. On another thread than that one, it
    /// stays taken until that thread ends, but is not used any more.
    ///
    /// `IORING_UNREGISTER_RING_FDS`, Linux 5.18.
    pub fn unregister_ring_fd(&mut self) {
        self.submit.shortcut = None;
    }

    /// Whether the calling thread enters the kernel by an index for this ring.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        match &self.handle {
            Handle::Fd(_) => self.submit.shortcut.as_ref().is_some_and(Place::is_on_this_thread),
            Handle::Registered(place) => place.is_on_this_thread(),
        }
    }
}
