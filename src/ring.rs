//! The ring: descriptor, mappings and both queues; submitting, waiting and reaping.
//!
//! Invariants: the mapping outlives the queues' use of its pointers (both are fields here, and nothing hands the
//! pointers out); it is unmapped before the descriptor closes. Dropping a ring frees no memory that an operation
//! names, and waits for nothing: the kernel cancels what is in flight some time *after* the descriptor is closed.
//! Whoever submits borrowed memory through the unsafe door keeps it alive until the completion, not until the drop.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::buf_ring::Groups;
use crate::cqe::Cqe;
use crate::flags::{Features, SetupFlags};
use crate::handle::Handle;
use crate::kernel::Entrance;
use crate::queue::{Completions, Cq, Enter, Mode, Places, Sq};
use crate::register::{BufferTable, Region, ZcrxQueues, ZcrxShared};
use crate::setup::{Given, Setup, SetupError};
use crate::sqe::{Sqe, Sqe128};
use crate::submit::{Entry, Refused, Side, Submissions};
use crate::user_data::Keys;
use crate::wait::{Argument, Submitted, Wait, WaitEnd};
use crate::waker::Wakeable;
use rawring_sys as sys;

/// An io_uring.
///
/// One owner submits and reaps; `&mut` sees to that. A ring may be sent to another thread, unless its flags tie it to
/// one: with `SINGLE_ISSUER` the kernel answers `EEXIST` to submissions and registrations of every thread but the one
/// that made (or enabled) the ring, and with `DEFER_TASKRUN` to waiting, too; a ring without a descriptor
/// (`REGISTERED_FD_ONLY`) answers `EBADF` there without asking the kernel.
///
/// ```
/// use rawring::{Ring, op::Nop};
///
/// let mut ring = Ring::new(8)?;
/// ring.push(Nop::new().user_data(7))?;
/// ring.submit_and_wait(1)?;
/// for cqe in ring.completions() {
///     assert_eq!(cqe.user_data().0, 7);
///     assert_eq!(cqe.result(), Ok(0));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # After fork
///
/// The mappings are not inherited (`MADV_DONTFORK`), so that a child does not corrupt the queues of its parent. Dropping
/// the ring in the child is safe and cancels nothing of the parent's, and so is dropping what belongs to it: an
/// [`InFlight`](crate::InFlight) leaks its states there, leases and registered rings give nothing back. For all else,
/// whoever calls `fork`, which is `unsafe`, answers:
///
/// 1. The child uses no ring of its parent's, nor a [`Waker`](crate::Waker) of one. Where the queues were there is nothing,
///    so that touching them is a fault, until the child maps memory of its own, which may be put there and would be
///    written over.
/// 2. It makes no other calls through the descriptor either, registrations for one. They act on the parent's ring, with
///    addresses of the child's.
/// 3. Of a ring that is [inherited](crate::Setup::inherit_on_fork), only one of the two processes makes use from then on, in
///    whatever way, dropping an `InFlight` included.
pub struct Ring {
    pub(crate) submit: Side,
    pub(crate) cq: Cq,
    /// Completions that a scope met and that are not its own. See [`Ring::completions`].
    pub(crate) wakeable: Option<Wakeable>,
    /// Unmapped before the descriptor in `handle` closes.
    pub(crate) map: sys::RingMap,
    /// What the map lies in, if it was handed over. Dropped after it.
    pub(crate) given: Option<Given>,
    /// Whether [`Ring::submit_and_wait`] may take the quick way. See [`Ring::find_way`].
    straight: bool,
    pub(crate) handle: Handle,
    pub(crate) buffers: BufferTable,
    pub(crate) region: Option<Region>,
    pub(crate) zcrx: ZcrxQueues<ZcrxShared>,
    pub(crate) params: sys::io_uring_params,
    /// What children of a fork get of the mappings.
    pub(crate) fork: sys::Fork,
    /// What the kernel made of the queues when it resized them, until they are mapped.
    pub(crate) resized: Option<Box<sys::io_uring_params>>,
    cancel_any: Option<bool>,
    /// What the operations of the safe doors have as `user_data`.
    pub(crate) keys: Keys,
    /// The rings of provided buffers that are registered with this one.
    pub(crate) groups: Groups,
}

// SAFETY: the pointers inside lead to the ring's own mappings, which belong to no thread; `&mut` serialises all use.
unsafe impl Send for Ring {}
// SAFETY: `&Ring` gives access to plain numbers and to atomic loads of the shared words only.
unsafe impl Sync for Ring {}

impl Ring {
    /// A ring of `entries` submissions (rounded up to a power of two) and twice as many completions, with defaults
    /// that suit every use; [`Setup`] has the choices.
    pub fn new(entries: u32) -> Result<Ring, SetupError> {
        Setup::new(entries).build()
    }

    /// A builder for rings of other kinds.
    pub fn setup(entries: u32) -> Setup<'static> {
        Setup::new(entries)
    }

    /// Puts a made and mapped ring together.
    ///
    /// # Safety
    ///
    /// `map` is the mapping of the ring that `handle` names, `entrance` leads to, and `params` describes.
    pub(crate) unsafe fn assemble(
        entrance: Entrance,
        handle: Handle,
        map: sys::RingMap,
        params: sys::io_uring_params,
        fork: sys::Fork,
    ) -> Ring {
        let flags = SetupFlags::from_bits_retain(params.flags);
        let polled = flags.contains(SetupFlags::SQPOLL);
        let deferred = flags.contains(SetupFlags::DEFER_TASKRUN) && !flags.contains(SetupFlags::TASKRUN_FLAG);
        let mode = Mode {
            polled,
            fetch: !polled && (flags.contains(SetupFlags::IOPOLL) || deferred),
            mixed: flags.contains(SetupFlags::SQE_MIXED),
            rewind: flags.contains(SetupFlags::SQ_REWIND),
        };
        // SAFETY: the map lives as long as the queues: all are fields of the ring.
        let places = unsafe { Places::of(&map) };
        let sq = Sq::new(places.sq, places.sqes, mode);
        let cq = Cq::new(places.cq, places.cqes, flags.contains(SetupFlags::CQE_MIXED), mode.mixed);
        let (enter_flags, owner) = match &handle {
            Handle::Fd(_) => (0, None),
            Handle::Registered(place) => (sys::IORING_ENTER_REGISTERED_RING, Some(place.thread())),
        };
        let submit = Side { sq, entrance, enter_flags, owner, shortcut: None, stale: false };
        let mut ring = Ring {
            submit,
            straight: false,
            cq,
            wakeable: None,
            map,
            given: None,
            handle,
            buffers: BufferTable::default(),
            region: None,
            zcrx: ZcrxQueues::default(),
            params,
            fork,
            resized: None,
            cancel_any: None,
            keys: Keys::new(),
            groups: Groups::default(),
        };
        ring.find_way();
        ring
    }

    #[inline(always)]
    fn submissions(&mut self) -> Submissions<'_> {
        Submissions(&mut self.submit)
    }

    /// See [`Submissions::push`].
    #[inline(always)]
    pub fn push(&mut self, entry: impl Into<Sqe<'static>>) -> Result<(), Refused<Sqe<'static>>> {
        self.submissions().push(entry)
    }

    /// See [`Submissions::push128`].
    pub fn push128(&mut self, entry: impl Into<Sqe128<'static>>) -> Result<(), Refused<Sqe128<'static>>> {
        self.submissions().push128(entry)
    }

    /// See [`Submissions::push_all`].
    pub fn push_all<const N: usize>(&mut self, entries: [Sqe<'static>; N]) -> Result<(), Refused<[Sqe<'static>; N]>> {
        self.submissions().push_all(entries)
    }

    /// See [`Submissions::push_unchecked`].
    ///
    /// # Safety
    ///
    /// As for [`Submissions::push_unchecked`].
    #[inline(always)]
    pub unsafe fn push_unchecked<'a>(&mut self, entry: impl Into<Sqe<'a>>) -> Result<(), Refused<Sqe<'a>>> {
        // SAFETY: the caller's promise is the same.
        unsafe { entry.into().put(&mut self.submit) }
    }

    /// See [`Submissions::push128_unchecked`].
    ///
    /// # Safety
    ///
    /// As for [`Submissions::push_unchecked`].
    pub unsafe fn push128_unchecked<'a>(&mut self, entry: impl Into<Sqe128<'a>>) -> Result<(), Refused<Sqe128<'a>>> {
        // SAFETY: the caller's promise is the same.
        unsafe { entry.into().put(&mut self.submit) }
    }

    /// See [`Submissions::push_all_unchecked`].
    ///
    /// # Safety
    ///
    /// As for [`Submissions::push_unchecked`].
    pub unsafe fn push_all_unchecked<'a, const N: usize>(
        &mut self,
        entries: [Sqe<'a>; N],
    ) -> Result<(), Refused<[Sqe<'a>; N]>> {
        // SAFETY: the caller's promise is the same.
        unsafe { self.submissions().push_all_unchecked(entries) }
    }

    /// See [`Submissions::room`].
    pub fn room(&self) -> u32 {
        self.submit.sq.room()
    }

    /// See [`Submissions::pending`].
    pub fn pending(&self) -> u32 {
        self.submit.sq.len()
    }

    /// See [`Submissions::submit`].
    #[inline(always)]
    pub fn submit(&mut self) -> Result<u32, Errno> {
        self.mapped()?;
        self.submit.submit()
    }

    /// Submits, and waits until at least `want` completions are in the queue. See [`Ring::submit_with`].
    #[inline(always)]
    pub fn submit_and_wait(&mut self, want: u32) -> Result<Submitted, Errno> {
        if !self.straight {
            return self.wait_slowly(want);
        }
        if self.cq.holds(want) {
            return self.submit_only(want);
        }
        let entries = self.submit.enter_straight(want);
        if entries < 0 {
            return self.not_entered(sys::errno(entries), want);
        }
        let entries = entries as u32;
        if self.cq.holds(want) { Ok(Submitted { entries, wait: WaitEnd::Ready }) } else { short(entries) }
    }

    #[cold]
    #[inline(never)]
    fn wait_slowly(&mut self, want: u32) -> Result<Submitted, Errno> {
        self.submit_with(&Wait::new(want))
    }

    /// For a wait that is over before it began, unless that is by a tail that cannot be right.
    #[inline(never)]
    fn submit_only(&mut self, want: u32) -> Result<Submitted, Errno> {
        if self.cq.ready() < want {
            return self.wait_slowly(want);
        }
        let entries = self.submit.submit()?;
        Ok(Submitted { entries, wait: WaitEnd::Ready })
    }

    /// Finds out anew whether the quick way is open. To be called whenever one of the conditions may have changed.
    pub(crate) fn find_way(&mut self) {
        self.straight = self.submit.is_straight() && self.wakeable.is_none();
    }

    /// What an error of a call means that was to wait for `want` completions.
    #[cold]
    #[inline(never)]
    fn not_entered(&self, errno: Errno, want: u32) -> Result<Submitted, Errno> {
        let short = match errno {
            Errno::TIME if want > 0 => WaitEnd::TimedOut,
            Errno::INTR if want > 0 => WaitEnd::Interrupted,
            _ => return Err(errno),
        };
        Ok(Submitted { entries: 0, wait: if self.cq.holds(want) { WaitEnd::Ready } else { short } })
    }

    /// Submits, and waits as `wait` says. Does not wait, nor enters the kernel for waiting, when the completion queue
    /// already holds enough.
    ///
    /// The outcome tells how many entries the kernel took and how the wait ended. A signal or the end of the time is no
    /// error here. The kernel says why a wait ended only if it took no entries and no completion is there; otherwise,
    /// with fewer completions than wanted, the reason is unknown ([`WaitEnd::Short`]). Calling again submits nothing
    /// twice: what was taken is no longer queued.
    ///
    /// # Errors
    ///
    /// As [`Submissions::submit`].
    #[inline(always)]
    pub fn submit_with(&mut self, wait: &Wait<'_>) -> Result<Submitted, Errno> {
        self.mapped()?;
        // What `pop` consumed must make room before the kernel is asked for more.
        self.cq.publish();
        if self.wakeable.is_some() {
            return self.submit_wakeable(wait);
        }
        self.enter_for(wait, if self.cq.ready() >= wait.want { 0 } else { wait.want })
    }

    /// Submits, and waits until `want` slots of the completion queue are filled.
    #[inline(always)]
    pub(crate) fn enter_for(&mut self, wait: &Wait<'_>, want: u32) -> Result<Submitted, Errno> {
        let Some(enter) = self.submit.sq.plan(want, wait.flags(want)) else {
            return Ok(Submitted { entries: 0, wait: WaitEnd::Ready });
        };
        match self.submit.enter(enter, &wait.argument(want)) {
            Ok(entries) => {
                let enough = want == 0 || self.cq.holds(want);
                Ok(Submitted { entries, wait: if enough { WaitEnd::Ready } else { WaitEnd::Short } })
            }
            Err(errno) => self.not_entered(errno, want),
        }
    }

    /// Enters the kernel to bring in completions that wait outside the queue: those that overflowed, those that this
    /// task has to post itself (`DEFER_TASKRUN`), and those that are found by polling (`IOPOLL`). Submits nothing, waits for
    /// nothing.
    pub fn get_events(&mut self) -> Result<(), Errno> {
        self.mapped()?;
        let flags = sys::IORING_ENTER_GETEVENTS;
        self.submit.enter(Enter { to_submit: 0, min_complete: 0, flags }, &Argument::None).map(drop)
    }

    /// Waits until a polled ring (`SQPOLL`) has room in its submission queue.
    pub fn wait_for_room(&mut self) -> Result<(), Errno> {
        // The thread may be asleep with the queue full: planning publishes and says whether to wake it.
        let wake = self.submit.sq.plan(0, 0).map_or(0, |enter| enter.flags);
        let flags = sys::IORING_ENTER_SQ_WAIT | wake;
        self.submit.enter(Enter { to_submit: 0, min_complete: 0, flags }, &Argument::None).map(drop)
    }

    /// Has the kernel take entries, so that there is room: by submitting, or by waiting for the polling thread.
    pub(crate) fn make_room(&mut self) -> Result<(), Errno> {
        if self.setup_flags().contains(SetupFlags::SQPOLL) { self.wait_for_room() } else { self.submit().map(drop) }
    }

    /// The completions that are in the queue now. Makes no system call; see [`Ring::peek`].
    ///
    /// Iterating reads each from the ring when it is asked for. The slots go back to the kernel when the iterator is
    /// dropped, or earlier by [`Completions::publish`]. Completions that a `scope` met but that are not its own come
    /// first.
    #[inline(always)]
    pub fn completions(&mut self) -> Completions<'_> {
        self.cq.snapshot()
    }

    /// As [`completions`](Self::completions), but first enters the kernel where completions may exist that only a call
    /// brings in: after an overflow, when the kernel set its flag for deferred work, on polled devices, and always on
    /// rings with `DEFER_TASKRUN` but without `TASKRUN_FLAG`.
    pub fn peek(&mut self) -> Result<Completions<'_>, Errno> {
        if self.submit.sq.asks_for_visit() {
            self.get_events()?;
        }
        Ok(self.completions())
    }

    /// Both sides at once: entries can be pushed and submitted while completions are iterated.
    ///
    /// ```
    /// # use rawring::{Ring, op::Nop};
    /// # let mut ring = Ring::new(8)?;
    /// # ring.push(Nop::new().user_data(3))?;
    /// # ring.submit_and_wait(1)?;
    /// let (mut submissions, completions) = ring.split();
    /// for cqe in completions {
    ///     if cqe.user_data().0 > 0 {
    ///         submissions.push(Nop::new().user_data(cqe.user_data().0 - 1))?;
    ///     }
    /// }
    /// ring.submit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn split(&mut self) -> (Submissions<'_>, Completions<'_>) {
        (Submissions(&mut self.submit), self.cq.snapshot())
    }

    /// Completion slots that are filled.
    pub fn ready(&self) -> u32 {
        self.cq.ready()
    }

    /// Whether completions found the queue full and wait in the kernel; they come in with the next call that waits or
    /// with [`Ring::get_events`].
    pub fn overflowed(&self) -> bool {
        self.submit.sq.flags() & sys::IORING_SQ_CQ_OVERFLOW != 0
    }

    /// How many completions were lost for good, because the kernel had no memory to keep them. Not the number that
    /// overflowed: those are kept.
    pub fn lost(&self) -> u32 {
        self.cq.lost()
    }

    /// How many entries the kernel dropped for a bad index in the submission array; rings made by this crate have no
    /// bad index, and most have no array.
    pub fn dropped(&self) -> u32 {
        self.submit.sq.dropped()
    }

    /// Slots of the submission queue.
    pub fn sq_entries(&self) -> u32 {
        self.submit.sq.capacity()
    }

    /// Slots of the completion queue.
    pub fn cq_entries(&self) -> u32 {
        self.cq.capacity()
    }

    /// Whether entries of 128 bytes can be pushed.
    pub fn is_wide(&self) -> bool {
        self.submit.sq.is_wide()
    }

    /// The flags with which the ring was made.
    pub fn setup_flags(&self) -> SetupFlags {
        SetupFlags::from_bits_retain(self.params.flags)
    }

    /// What the kernel said of itself when the ring was made.
    pub fn features(&self) -> Features {
        Features::from_bits_retain(self.params.features)
    }

    /// What the kernel answered when the ring was made.
    pub fn params(&self) -> &sys::io_uring_params {
        &self.params
    }

    /// The descriptor; `None` for a ring made with `REGISTERED_FD_ONLY`.
    ///
    /// It is readable for `poll`, `select` and `epoll` while completions are in the queue or waiting to be fetched.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.handle {
            Handle::Fd(fd) => Some(fd.as_fd()),
            Handle::Registered(_) => None,
        }
    }

    /// Whether the kernel can cancel by "any" (Linux 5.19), which the safe doors that cancel need. Asked once.
    pub(crate) fn has_cancel_any(&mut self) -> Result<bool, Errno> {
        if let Some(known) = self.cancel_any {
            return Ok(known);
        }
        // The flag has no bit of its own. SOCKET came with the same release, and distributions that backport io_uring
        // take it whole.
        let known = crate::probe::has_opcode(self, sys::IORING_OP_SOCKET)?;
        self.cancel_any = Some(known);
        Ok(known)
    }

    /// Takes one completion from the queue, past the stash. For the doors that sort completions. `left` is the door's
    /// own count of those that it knows of.
    ///
    /// # Safety
    ///
    /// As for [`Cq::pop`].
    #[inline(always)]
    pub(crate) unsafe fn pop(&mut self, left: &mut u32) -> Option<Cqe> {
        // SAFETY: the caller's promise.
        let cqe = unsafe { self.cq.pop(left) };
        if cqe.is_none() {
            self.cq.publish();
        }
        cqe
    }

    /// Keeps a completion for whoever iterates next.
    pub(crate) fn keep(&mut self, cqe: Cqe) {
        self.cq.keep(cqe);
    }

    /// The oldest completion that was kept.
    #[inline(always)]
    pub(crate) fn kept(&mut self) -> Option<Cqe> {
        self.cq.kept()
    }

    /// The position of the next entry; what was pushed since can be taken back with [`Ring::retract`].
    #[inline(always)]
    pub(crate) fn mark(&self) -> u64 {
        self.submit.sq.next()
    }

    /// Takes back what was pushed since `mark` and the kernel cannot have seen; tells how many slots.
    pub(crate) fn retract(&mut self, mark: u64) -> u32 {
        self.submit.sq.retract(mark)
    }
}

#[cold]
#[inline(never)]
fn short(entries: u32) -> Result<Submitted, Errno> {
    Ok(Submitted { entries, wait: WaitEnd::Short })
}

/// # Panics
///
/// For a ring made with `REGISTERED_FD_ONLY`, which has no descriptor; [`Ring::fd`] says `None` then.
impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd().expect("a ring made with registered_fd_only() has no descriptor: use Ring::fd()")
    }
}

impl core::fmt::Debug for Ring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ring")
            .field("fd", &self.fd())
            .field("flags", &self.setup_flags())
            .field("sq_entries", &self.sq_entries())
            .field("pending", &self.pending())
            .field("cq_entries", &self.cq_entries())
            .field("ready", &self.ready())
            .finish()
    }
}
