//! The way into the queue: pushing entries by the safe and the unsafe door, and submitting them.

use std::os::fd::RawFd;

use rustix::io::Errno;

use crate::handle::{Place, Thread};
use crate::kernel::Entrance;
use crate::queue::{Enter, NoSlot, Sq};
use crate::sqe::{RawSqe, Sqe, Sqe128};
use crate::user_data::UserData;
use crate::wait::Argument;
use rawring_sys as sys;

/// The submission side of a ring: its queue, and how the kernel is entered.
///
/// Never handed out by `&mut`: two sides that changed places would outlive the mappings that they point into.
pub(crate) struct Side {
    pub(crate) sq: Sq,
    pub(crate) entrance: Entrance,
    /// What every call needs: `REGISTERED_RING` for an index.
    pub(crate) enter_flags: u32,
    /// The only thread on which the entrance leads to this ring, for an index.
    pub(crate) owner: Option<Thread>,
    /// The place in a thread's table by which that thread enters instead. See
    /// [`Ring::register_ring_fd`](crate::Ring::register_ring_fd).
    pub(crate) shortcut: Option<Place>,
    /// The kernel has resized the queues, and the new ones are not mapped yet.
    pub(crate) stale: bool,
}

impl Side {
    /// See [`Submissions::submit`].
    #[inline(always)]
    pub(crate) fn submit(&mut self) -> Result<u32, Errno> {
        if self.stale {
            // The kernel would take entries from where nobody here sees it.
            return Err(Errno::NOMEM);
        }
        match self.sq.plan(0, 0) {
            Some(enter) => self.enter(enter, &Argument::None),
            None => Ok(0),
        }
    }

    /// Makes the planned call.
    #[inline(always)]
    pub(crate) fn enter(&mut self, enter: Enter, arg: &Argument) -> Result<u32, Errno> {
        let Some((index, named)) = self.name() else { return Err(Errno::BADF) };
        let Enter { to_submit, min_complete, flags } = enter;
        let flags = flags | named;
        let (arg, size, ext) = match arg {
            Argument::None => (core::ptr::null(), 0, 0),
            Argument::Given(arg) => (core::ptr::from_ref(arg).cast(), size_of_val(arg), sys::IORING_ENTER_EXT_ARG),
            Argument::Registered(offset) => (
                core::ptr::without_provenance(*offset),
                size_of::<sys::io_uring_reg_wait>(),
                sys::IORING_ENTER_EXT_ARG | sys::IORING_ENTER_EXT_ARG_REG,
            ),
        };
        // SAFETY: the entrance is this ring's, and so is the index on this thread. What the entries name is the business
        // of the door that took them. `arg`, if any, is a valid argument of the size given, and the call reads it only
        // while it runs; or it is an offset, which the kernel holds against the region that it has for this ring.
        let taken = unsafe { self.entrance.enter(index, to_submit, min_complete, flags | ext, arg, size) }?;
        self.sq.taken(taken);
        Ok(taken)
    }

    /// How the calling thread names the ring, by an index or as always, and the flags that say so; nothing where it has
    /// no name for it.
    #[inline(always)]
    fn name(&self) -> Option<(Option<RawFd>, u32)> {
        match (&self.shortcut, self.owner) {
            (Some(place), _) if place.is_on_this_thread() => {
                Some((Some(place.index()), sys::IORING_ENTER_REGISTERED_RING))
            }
            (_, Some(owner)) if !owner.is_here() => None,
            _ => Some((None, self.enter_flags)),
        }
    }

    /// Whether [`enter_straight`](Self::enter_straight) will do.
    pub(crate) fn is_straight(&self) -> bool {
        !self.stale && self.owner.is_none() && self.sq.is_straight()
    }

    /// Submits everything and waits for `want` completions, at least one, where [`is_straight`](Self::is_straight). Gives
    /// what the kernel returned.
    #[inline(always)]
    pub(crate) fn enter_straight(&mut self, want: u32) -> isize {
        let to_submit = self.sq.publish_straight();
        if let Some(place) = &self.shortcut {
            if place.is_on_this_thread() {
                let flags = sys::IORING_ENTER_GETEVENTS | sys::IORING_ENTER_REGISTERED_RING;
                // SAFETY: as in `enter`, without an argument.
                return unsafe { self.entrance.enter_raw(Some(place.index()), to_submit, want, flags) };
            }
        }
        // SAFETY: as in `enter`, without an argument.
        unsafe { self.entrance.enter_raw(None, to_submit, want, sys::IORING_ENTER_GETEVENTS) }
    }
}

/// The submission side of a ring, borrowed apart from its completions by [`Ring::split`](crate::Ring::split).
pub struct Submissions<'r>(pub(crate) &'r mut Side);

/// An entry that was not taken, and why. Nothing is lost: the entry is in it.
pub struct Refused<T> {
    /// The entry.
    pub entry: T,
    /// Why it was refused.
    pub reason: Reason,
}

/// Why an entry was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The queue has no room; submit, and push again.
    ///
    /// On a ring with a polling thread (`SQPOLL`) the slots come back after the completions: the queue may be full with
    /// nothing left to wait for. Wait for [room](crate::Ring::wait_for_room) there, not for a completion.
    Full,
    /// The entry has 128 bytes, and the ring was made without `SQE128` and without `SQE_MIXED`.
    NotWide,
    /// The entry's `user_data` has the prefix that `scope` and `InFlight` use, or that of tags
    /// ([`UserData::is_reserved`]).
    ///
    /// [`UserData::is_reserved`]: crate::UserData::is_reserved
    ReservedUserData,
    /// The entry asks for no completion on success, and this door counts completions.
    SkipSuccess,
    /// The entry picks a bundle from a [buffer ring](crate::buf_ring) of this ring that was made without
    /// [`bundles`](crate::buf_ring::BufRingSetup::bundles), and this door turns completions into leases.
    Bundle,
    /// The table of operations in flight has no number left (16,777,215 at once).
    TooMany,
}

impl From<NoSlot> for Reason {
    fn from(reason: NoSlot) -> Self {
        match reason {
            NoSlot::Full => Reason::Full,
            NoSlot::NotWide => Reason::NotWide,
        }
    }
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Reason::Full => "the submission queue is full: submit, then push the entry again",
            Reason::NotWide => "an entry of 128 bytes needs a ring made with sqe128() or sqe_mixed()",
            Reason::ReservedUserData => {
                "user_data values whose upper 16 bits are 0x5afe (scope, InFlight) or 0x5aff (tags) are taken: choose another"
            }
            Reason::SkipSuccess => {
                "scope and InFlight count completions: push an entry with skip_success() to the ring itself"
            }
            Reason::Bundle => {
                "a bundle of a group that was made without bundles(): make it with that, or receive into one buffer at a time"
            }
            Reason::TooMany => "16,777,215 operations are in flight, and no more can be told apart",
        })
    }
}

impl<T> core::fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Refused").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> core::fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> std::error::Error for Refused<T> {}

impl std::error::Error for Reason {}

/// For `?` in functions that return [`std::io::Result`]. The entry is dropped; whoever wants it back matches first.
impl<T> From<Refused<T>> for std::io::Error {
    fn from(refused: Refused<T>) -> Self {
        let kind = match refused.reason {
            Reason::Full | Reason::TooMany => std::io::ErrorKind::WouldBlock,
            Reason::NotWide | Reason::ReservedUserData | Reason::SkipSuccess | Reason::Bundle => {
                std::io::ErrorKind::InvalidInput
            }
        };
        std::io::Error::new(kind, refused.reason)
    }
}

/// What [`Sqe`] and [`Sqe128`] have in common on their way into the queue.
pub(crate) trait Entry: Sized {
    /// The first 64 bytes.
    fn bytes(&self) -> &RawSqe;
    /// Hands the entry back.
    fn refuse(self, reason: impl Into<Reason>) -> Refused<Self>;
    /// Puts a copy of the entry with this `user_data` into the queue.
    ///
    /// # Safety
    ///
    /// As for [`put`](Self::put), and of this entry and its copies only one is put into the queue.
    unsafe fn put_as(&self, key: UserData, to: &mut Side) -> Result<(), NoSlot>;
    /// Puts the entry into the queue.
    ///
    /// # Safety
    ///
    /// As for [`Submissions::push_unchecked`].
    unsafe fn put(self, to: &mut Side) -> Result<(), Refused<Self>>;
}

impl Entry for Sqe<'_> {
    #[inline(always)]
    fn bytes(&self) -> &RawSqe {
        self.raw()
    }

    /// The entry is copied first, so that it has to be in memory on this path only.
    #[inline(always)]
    fn refuse(self, reason: impl Into<Reason>) -> Refused<Self> {
        #[cold]
        #[inline(never)]
        fn refused<'a>(entry: Sqe<'a>, reason: impl Into<Reason>) -> Refused<Sqe<'a>> {
            Refused { entry, reason: reason.into() }
        }
        // SAFETY: it is the same entry, and the other is gone.
        refused(unsafe { Sqe::from_raw(self.into_raw()) }, reason)
    }

    #[inline(always)]
    unsafe fn put_as(&self, key: UserData, to: &mut Side) -> Result<(), NoSlot> {
        to.sq.push(&RawSqe { user_data: key.0, ..*self.raw() })
    }

    #[inline(always)]
    unsafe fn put(self, to: &mut Side) -> Result<(), Refused<Self>> {
        match to.sq.push(self.raw()) {
            Ok(()) => Ok(()),
            Err(reason) => Err(self.refuse(reason)),
        }
    }
}

impl Entry for Sqe128<'_> {
    fn bytes(&self) -> &RawSqe {
        self.raw()
    }

    fn refuse(self, reason: impl Into<Reason>) -> Refused<Self> {
        Refused { entry: self, reason: reason.into() }
    }

    unsafe fn put_as(&self, key: UserData, to: &mut Side) -> Result<(), NoSlot> {
        to.sq.push_wide(&RawSqe { user_data: key.0, ..*self.raw() }, self.second())
    }

    unsafe fn put(self, to: &mut Side) -> Result<(), Refused<Self>> {
        let pushed = to.sq.push_wide(self.raw(), self.second());
        pushed.map_err(|reason| self.refuse(reason))
    }
}

impl Submissions<'_> {
    /// Puts an entry that borrows nothing into the queue. It starts when it is submitted.
    ///
    /// # Errors
    ///
    /// The entry comes back when the queue is full, or when its `user_data` is reserved.
    #[inline(always)]
    pub fn push(&mut self, entry: impl Into<Sqe<'static>>) -> Result<(), Refused<Sqe<'static>>> {
        let entry = entry.into();
        if entry.key().is_reserved() {
            return Err(Refused { entry, reason: Reason::ReservedUserData });
        }
        // SAFETY: the entry borrows nothing (clauses 1 and 2), and its key is not reserved (clause 3).
        unsafe { entry.put(self.0) }
    }

    /// As [`push`](Self::push), for an entry of 128 bytes.
    ///
    /// In a mixed queue, where such an entry takes two slots, one that would not fit before the end of the queue gets a
    /// filler before it: an entry of the crate's that does nothing. It counts as an entry that was taken, and as of then
    /// the ring can [drain](crate::Sqe::drain) no more (`EOPNOTSUPP`), as after any entry that skips its completion. If
    /// it is in a chain that fails, a wait may take its completion, which is not shown, for one.
    pub fn push128(&mut self, entry: impl Into<Sqe128<'static>>) -> Result<(), Refused<Sqe128<'static>>> {
        let entry = entry.into();
        if entry.first.key().is_reserved() {
            return Err(Refused { entry, reason: Reason::ReservedUserData });
        }
        // SAFETY: the entry borrows nothing (clauses 1 and 2), and its key is not reserved (clause 3).
        unsafe { entry.put(self.0) }
    }

    /// Puts an entry that borrows into the queue.
    ///
    /// # Safety
    ///
    /// 1. Everything that the entry names stays valid for the operation, and un-aliased as a reference of its kind
    ///    demands, until the kernel is done with it. That is: until the completion without
    ///    [`more`](crate::Cqe::more) was reaped, which for a zero-copy send is the notification. Neither dropping the
    ///    ring, nor a cancellation, nor the return of a submit ends it sooner. If the completion never comes, the
    ///    memory is never freed.
    /// 2. With a polling thread (`SQPOLL`) "submitted" is no moment that the caller sees, so what the documentation of
    ///    an operation calls needed until submitted is needed until completed.
    /// 3. None of its completions, on this ring or another, arrives with a [reserved](crate::UserData::is_reserved)
    ///    `user_data` while a `scope` runs there or an `InFlight` owns that ring.
    #[inline(always)]
    pub unsafe fn push_unchecked<'a>(&mut self, entry: impl Into<Sqe<'a>>) -> Result<(), Refused<Sqe<'a>>> {
        // SAFETY: the caller's promise is the same.
        unsafe { entry.into().put(self.0) }
    }

    /// As [`push_unchecked`](Self::push_unchecked), for an entry of 128 bytes.
    ///
    /// # Safety
    ///
    /// As for [`push_unchecked`](Self::push_unchecked).
    pub unsafe fn push128_unchecked<'a>(&mut self, entry: impl Into<Sqe128<'a>>) -> Result<(), Refused<Sqe128<'a>>> {
        // SAFETY: the caller's promise is the same.
        unsafe { entry.into().put(self.0) }
    }

    /// Puts all of the entries into the queue, or none: a chain of links must not be cut by a full queue, since a
    /// submission ends it.
    pub fn push_all<const N: usize>(&mut self, entries: [Sqe<'static>; N]) -> Result<(), Refused<[Sqe<'static>; N]>> {
        if entries.iter().any(|entry| entry.key().is_reserved()) {
            return Err(Refused { entry: entries, reason: Reason::ReservedUserData });
        }
        // SAFETY: the entries borrow nothing (clauses 1 and 2), and no value is reserved (clause 3).
        unsafe { self.push_all_unchecked(entries) }
    }

    /// As [`push_all`](Self::push_all), for entries that borrow.
    ///
    /// # Safety
    ///
    /// As for [`push_unchecked`](Self::push_unchecked).
    pub unsafe fn push_all_unchecked<'a, const N: usize>(
        &mut self,
        entries: [Sqe<'a>; N],
    ) -> Result<(), Refused<[Sqe<'a>; N]>> {
        if (self.0.sq.room() as usize) < N {
            return Err(Refused { entry: entries, reason: Reason::Full });
        }
        for entry in entries {
            // SAFETY: the caller's promise is the same.
            let put = unsafe { entry.put(self.0) };
            debug_assert!(put.is_ok(), "the room was checked");
        }
        Ok(())
    }

    /// Entries that fit into the queue now (128-byte entries of mixed rings count twice).
    pub fn room(&self) -> u32 {
        self.0.sq.room()
    }

    /// Entries that were pushed and that the kernel has not taken yet.
    pub fn pending(&self) -> u32 {
        self.0.sq.len()
    }

    /// Hands all pushed entries to the kernel, without waiting. Makes no system call where none is needed: when
    /// nothing was pushed, or a polling thread is awake.
    ///
    /// Returns how many entries the kernel took. Fewer than were pushed is possible, for instance when one of them
    /// was malformed and the ring is without `SUBMIT_ALL`; the rest stays queued and goes with the next submission.
    /// With a polling thread it is the number handed over.
    ///
    /// # Errors
    ///
    /// Nothing was submitted then, and everything is still queued.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EAGAIN` | no memory for a request; reap completions and try again |
    /// | `EBUSY` | completions overflowed and could not all be moved to the queue; reap, then try again |
    /// | `EBADR` | completions were lost, see [`Ring::lost`](crate::Ring::lost); reported once |
    /// | `EEXIST` | the ring belongs to another thread (`SINGLE_ISSUER`) |
    /// | `EBADFD` | the ring is disabled; see [`Ring::enable`](crate::Ring::enable) |
    /// | `EBADF` | a ring without descriptor was used on a thread that did not make it |
    /// | `EOWNERDEAD` | the polling thread is gone |
    /// | `ENOMEM` | the ring was resized, and its new memory could not be mapped; see [`ResizeError::Unmapped`](crate::register::ResizeError::Unmapped) |
    /// | `EINTR`, `ENXIO`, `EINVAL`, `EFAULT`, `EOPNOTSUPP` | see `io_uring_enter(2)` |
    #[inline(always)]
    pub fn submit(&mut self) -> Result<u32, Errno> {
        self.0.submit()
    }
}

impl core::fmt::Debug for Submissions<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Submissions").field("pending", &self.pending()).field("room", &self.room()).finish()
    }
}
