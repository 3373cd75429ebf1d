//! Giving the queues of a ring other sizes while it is in use.
//!
//! Who owns what, when: the kernel makes new queues, moves into them what it can see of the old ones, and from then on
//! uses the new ones only; all of that is one call, which either happens as a whole or changes nothing. User space maps
//! the new memory *after* that. Should this fail, the old memory is still mapped here and nobody else uses it any more:
//! so completions in it can be reaped, but entries can no longer be put into it and the kernel must not be entered,
//! until mapping has succeeded. Each further submission tries that again, and nothing gets lost.
//!
//! Invariant: positions are counts that no resize changes. Every entry and completion keeps its own, so what the safe
//! doors remember of queued entries stays right, and what was consumed or taken back meanwhile is not repeated.

use rustix::io::Errno;

use crate::flags::SetupFlags;
use crate::inflight::InFlight;
use crate::queue::Places;
use crate::ring::Ring;
use crate::setup::Setup;
use rawring_sys as sys;

/// The flags that say how a size is meant. All others are the ring's for ever.
const SIZES: u32 = sys::IORING_SETUP_CQSIZE | sys::IORING_SETUP_CLAMP;

/// The sizes that the queues of a ring are to get. See [`Ring::resize`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resize {
    entries: u32,
    cq_entries: Option<u32>,
    clamp: bool,
}

impl Resize {
    /// A submission queue of `entries` slots, rounded up to a power of two, and a completion queue of twice as many.
    #[must_use]
    pub fn new(entries: u32) -> Self {
        Resize { entries, cq_entries: None, clamp: false }
    }

    /// A completion queue of this size, rounded up to a power of two, and no smaller than the submission queue.
    #[must_use]
    pub fn cq_entries(mut self, entries: u32) -> Self {
        self.cq_entries = Some(entries);
        self
    }

    /// Cuts sizes above the kernel's limits to the limits, where the call would fail.
    #[must_use]
    pub fn clamp(mut self) -> Self {
        self.clamp = true;
        self
    }

    /// The parameters for setting up a ring with these flags and sizes.
    fn params(self, flags: u32) -> sys::io_uring_params {
        let mut params = sys::io_uring_params { flags: flags & !SIZES, ..sys::io_uring_params::ZERO };
        params.sq_entries = self.entries;
        if let Some(entries) = self.cq_entries {
            params.cq_entries = entries;
            params.flags |= sys::IORING_SETUP_CQSIZE;
        }
        if self.clamp {
            params.flags |= sys::IORING_SETUP_CLAMP;
        }
        params
    }
}

/// Why the queues of a ring did not get other sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ResizeError {
    /// The ring is as it was. The errors are listed at [`Ring::resize`].
    Refused(Errno),
    /// This process has no memory for queues of that size (rings with `NO_MMAP` only). The kernel was not asked, and the
    /// ring is as it was.
    Memory(sys::MapError),
    /// The kernel resized the queues, but their new memory could not be mapped.
    ///
    /// Nothing is lost: what was queued goes on later, and completions that were in the queue can be reaped. But until
    /// the memory is mapped, no entry can be pushed (there is no [room](Ring::room)) and the kernel is not entered.
    /// What would enter it, [`Ring::submit`] for instance, tries to map first, and fails as `mmap(2)` does as long as
    /// that fails. Usually a limit of the process is in the way: `RLIMIT_AS`, or `vm.max_map_count`.
    Unmapped(sys::MapError),
}

impl core::fmt::Display for ResizeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ResizeError::Refused(Errno::OVERFLOW) => f.write_str(
                "the queues hold more than fits into queues of that size: submit and reap first, or ask for more",
            ),
            ResizeError::Refused(Errno::EXIST) => {
                f.write_str("the ring belongs to another thread: resize it on the one that made or enabled it")
            }
            ResizeError::Refused(Errno::INVAL) => f.write_str(
                "the kernel refuses: resizing needs Linux 6.13, a ring with defer_taskrun(), and sizes that a ring can have",
            ),
            ResizeError::Refused(errno) => write!(f, "the ring was not resized: {errno}"),
            ResizeError::Memory(error) => write!(f, "no memory for queues of that size: {error}"),
            ResizeError::Unmapped(error) => {
                write!(f, "the ring was resized, but its memory could not be mapped (submit, to try again): {error}")
            }
        }
    }
}

impl std::error::Error for ResizeError {}

impl Ring {
    /// Gives the queues other sizes. Whatever is in them stays in them, and operations in flight do not notice.
    ///
    /// `IORING_REGISTER_RESIZE_RINGS`, Linux 6.13. Only rings with `DEFER_TASKRUN` can be resized; while they are disabled
    /// since Linux 6.18. Rings with `NO_MMAP` get new memory of ordinary pages; before Linux 6.17 do not resize
    /// them, for the kernel may end up with other memory than the new one ([`ResizeError::Unmapped`], for good).
    ///
    /// ```
    /// use rawring::register::{Resize, ResizeError};
    /// use rawring::{Errno, Setup, op::Nop};
    ///
    /// let mut ring = Setup::new(2).single_issuer().defer_taskrun().build()?;
    /// ring.push_all([Nop::new().into(), Nop::new().into()])?;
    /// match ring.resize(Resize::new(64)) {
    ///     Ok(()) => assert_eq!((ring.sq_entries(), ring.cq_entries(), ring.pending()), (64, 128, 2)),
    ///     // Before Linux 6.13. The ring is as it was.
    ///     Err(error) => assert_eq!(error, ResizeError::Refused(Errno::INVAL)),
    /// }
    /// assert_eq!(ring.submit_and_wait(2)?.entries, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResizeError::Unmapped`] if the kernel resized the ring and the memory could not be mapped. Otherwise the ring
    /// is as it was:
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | the ring is without `DEFER_TASKRUN`; a size is zero, or above the kernel's limits (see [`Resize::clamp`]); the completion queue would be smaller than the submission queue; or the kernel is older than Linux 6.13 |
    /// | `EOVERFLOW` | what is in one of the queues, entries that were not submitted yet included, does not fit into the new one; in queues with entries of two sizes also where one of two slots would be cut by the queue's end |
    /// | `EEXIST` | the ring belongs to another thread; before Linux 6.18 also while it is disabled |
    /// | `EBADF` | a ring without descriptor was used on a thread that did not make it |
    /// | `ENOMEM` | the kernel has no memory for the queues |
    /// | `EACCES` | the ring's restrictions do not allow it |
    pub fn resize(&mut self, to: Resize) -> Result<(), ResizeError> {
        self.mapped().map_err(ResizeError::Refused)?;
        // What was consumed need not be moved.
        self.cq.publish();
        // Entries that are not published are moved here: the kernel knows nothing of them.
        let rounded = to.entries.checked_next_power_of_two().filter(|_| to.entries > 0);
        if rounded.is_some_and(|entries| !self.submit.sq.fits(entries)) {
            return Err(ResizeError::Refused(Errno::OVERFLOW));
        }
        let array = self.array_of(to)?;
        let mut params = to.params(self.params.flags);
        let memory = if self.setup_flags().contains(SetupFlags::NO_MMAP) {
            Some(sys::RingMemory::new(to.entries, &mut params).map_err(ResizeError::Memory)?)
        } else {
            None
        };
        params.flags &= SIZES;
        let arg = (&raw mut params).cast();
        // SAFETY: the argument is one set of parameters, read and written during the call. With NO_MMAP the addresses in
        // it are those of `memory`, which is nobody else's; the kernel holds the pages themselves.
        unsafe { self.register_raw(sys::IORING_REGISTER_RESIZE_RINGS, arg, 1) }.map_err(ResizeError::Refused)?;
        // From here on the kernel uses the new queues, whatever happens.
        self.submit.stale = true;
        self.find_way();
        self.submit.sq.close();
        // The answer leaves out what a resize does not change.
        params = sys::io_uring_params {
            sq_entries: params.sq_entries,
            cq_entries: params.cq_entries,
            flags: self.params.flags & !SIZES | params.flags,
            sq_off: params.sq_off,
            cq_off: params.cq_off,
            ..self.params
        };
        if let Some(array) = array {
            params.sq_off.array = array;
        }
        self.resized = Some(Box::new(params));
        let map = match memory {
            Some(memory) => sys::RingMap::from_memory(memory, &params, self.fork),
            None => self.map_resized(&params),
        };
        map.and_then(|map| self.move_to(map)).map_err(ResizeError::Unmapped)
    }

    /// Where the index array is going to be, if the ring has one.
    ///
    /// Older kernels (6.18 for one) do not say so when they resize: the answer has the 0 with which they were asked, and
    /// that is where the head is. But the place depends on sizes and flags only, so a ring of its own can tell.
    fn array_of(&self, to: Resize) -> Result<Option<u32>, ResizeError> {
        let wide = SetupFlags::SQE128 | SetupFlags::CQE32 | SetupFlags::CQE_MIXED | SetupFlags::SQE_MIXED;
        if self.setup_flags().contains(SetupFlags::NO_SQARRAY) {
            return Ok(None);
        }
        let params = to.params(self.params.flags & wide.bits());
        // SAFETY: nothing is attached to, and all flags are known to the crate.
        let model = unsafe { Setup::of(self.submit.entrance.kernel().clone(), to.entries).raw_params(params) }.build();
        let ring = model.map_err(|error| ResizeError::Refused(error.errno().unwrap_or(Errno::NOMEM)))?;
        Ok(Some(ring.params.sq_off.array))
    }

    /// Makes sure that the memory mapped here is that which the kernel uses.
    #[inline(always)]
    pub(crate) fn mapped(&mut self) -> Result<(), Errno> {
        if self.submit.stale { self.map_again() } else { Ok(()) }
    }

    #[cold]
    fn map_again(&mut self) -> Result<(), Errno> {
        let Some(params) = &self.resized else { return Err(Errno::NOMEM) };
        let moved = self.map_resized(params).and_then(|map| self.move_to(map));
        moved.map_err(|error| match error {
            sys::MapError::Mmap { errno, .. } => errno,
            _ => Errno::NOMEM,
        })
    }

    /// Maps the queues as the kernel has them now.
    fn map_resized(&self, params: &sys::io_uring_params) -> Result<sys::RingMap, sys::MapError> {
        // A ring without a descriptor has its memory from user space.
        let fd = self.fd().ok_or(sys::MapError::UserMemory)?;
        sys::RingMap::new(fd, params, self.fork)
    }

    /// Goes on in this memory, which has been that of the ring since it was resized.
    fn move_to(&mut self, map: sys::RingMap) -> Result<(), sys::MapError> {
        let entries = map.pointers().sq_entries;
        // Checked before the call, but the sizes are what the kernel made of them.
        let Some(params) = self.resized.take_if(|_| self.submit.sq.fits(entries)) else {
            return Err(sys::MapError::BadEntries { what: "sq_entries", entries });
        };
        // SAFETY: the map becomes the ring's own below, and lives as long as the queues. The kernel takes entries only
        // when it is entered: rings with a polling thread cannot be resized.
        let places = unsafe { Places::of(&map) };
        // The kernel sets the flag, in case it missed something, and never clears it on rings that were not to have it.
        let flagged = self.setup_flags().contains(SetupFlags::TASKRUN_FLAG);
        let spurious = if flagged { 0 } else { sys::IORING_SQ_TASKRUN };
        self.submit.sq.move_to(places.sq, places.sqes, spurious);
        self.cq.move_to(places.cq, places.cqes);
        self.submit.stale = false;
        self.find_way();
        self.params = *params;
        // Only now, when nothing leads there any more, does the old memory go.
        self.map = map;
        self.given = None;
        Ok(())
    }
}

impl<S: 'static> InFlight<S> {
    /// See [`Ring::resize`]. Operations in flight, and their states, are not touched.
    ///
    /// # Errors
    ///
    /// As [`Ring::resize`].
    pub fn resize(&mut self, to: Resize) -> Result<(), ResizeError> {
        // SAFETY: resizing leaves the ring in its place (clause 1), reaps nothing (2) and pushes nothing (3).
        unsafe { self.ring_mut() }.resize(to)
    }
}
