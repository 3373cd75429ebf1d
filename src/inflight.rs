//! Safe submission of owned state: pipelines, servers, futures.
//!
//! Who owns what, when: [`InFlight::start`] moves the state to a place whose address does not change and lets a
//! closure borrow from it what the entry needs. From then on nobody touches the state: it is lent to the kernel until
//! the operation's last completion, which for a zero-copy send is the notification, and then it is moved out to the
//! caller. An entry that the kernel never saw gives its state back at once. Dropping the whole cancels and drains; what
//! cannot be drained is leaked, never freed. Forgetting it frees nothing either.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;

use crate::buf_ring::{BadBuffer, Delivery};
use crate::cqe::{Cqe, Notification};
use crate::ring::Ring;
use crate::scope::{ScopeError, Ticket};
use crate::sqe::{Sqe, Sqe128};
use crate::submit::{Entry, Reason, Refused};
use crate::tokens::{Met, Next, Target, Tokens};
use crate::wait::{Submitted, Wait};

mod states;

use states::{DropInPlace, Place, States};

/// How long a drop waits for operations that show no sign of ending, before it leaks their states.
const PATIENCE: Duration = Duration::from_secs(5);

/// A ring, and the states that are lent to its operations.
///
/// ```
/// use rawring::{Event, InFlight, Ring, op::Read};
/// use std::fs::File;
///
/// struct Block { file: File, bytes: Vec<u8> }
///
/// let mut ring = InFlight::new(Ring::new(8)?)?;
/// # let path = std::env::temp_dir().join(format!("rawring-inflight-{}", std::process::id()));
/// # std::fs::write(&path, b"some text")?;
/// let block = Block { file: File::open(&path)?, bytes: vec![0; 4096] };
/// # std::fs::remove_file(&path)?;
/// ring.start(block, |block| Read::new(&block.file, &mut block.bytes).offset(0).into())?;
/// ring.submit_and_wait(1)?;
/// while let Some(event) = ring.next_event() {
///     if let Event::Done(done) = event {
///         let read = done.cqe.result()? as usize;
///         assert_eq!(&done.state.bytes[..read], b"some text");
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Dropping it cancels what is in flight and waits for it. When nothing has ended for five seconds (a zero-copy send
/// whose peer does not read, say), or the kernel refuses this thread, the states that are still lent are leaked; in a
/// forked child all are, at once.
/// [`InFlight::shutdown`] waits as long as it takes, and gives the states back.
///
/// The closure can name nothing but the state and what is `'static`:
///
/// ```compile_fail
/// # use rawring::{InFlight, Ring, op::Read, operand::Fixed};
/// # let mut ring: InFlight<()> = InFlight::new(Ring::new(8)?)?;
/// let mut local = [0; 16];
/// ring.start((), |_| Read::new(Fixed(0), &mut local).into())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct InFlight<S: 'static> {
    inner: ManuallyDrop<Inner<S>>,
}

struct Inner<S> {
    ring: Ring,
    tokens: Tokens<Place<S>>,
    states: States<S>,
    /// Where the first entry is, or will be.
    start: u64,
}

/// What a completion meant.
#[derive(Debug)]
pub enum Event<S> {
    /// An operation ended, and its state is back.
    Done(Done<S>),
    /// An operation reported and goes on: a shot of a multishot operation, or the result of a zero-copy send whose data
    /// the kernel still needs.
    More(Ticket, Cqe),
    /// A completion of something that was not started here.
    Foreign(Cqe),
}

/// An operation that ended.
#[derive(Debug)]
pub struct Done<S> {
    /// What was lent to it.
    pub state: S,
    /// Its name since it was started.
    pub ticket: Ticket,
    /// Its result. For a zero-copy send this is the first completion, not the notification.
    pub cqe: Cqe,
    /// The notification of a zero-copy send.
    pub notification: Option<Notification>,
}

/// What [`InFlight::shutdown`] gives back: a ring on which nothing of this `InFlight` is in flight any more.
#[derive(Debug)]
pub struct Drained<S> {
    /// The ring. Completions that were not ours come first from its [`completions`](Ring::completions).
    pub ring: Ring,
    /// The operations that ended while draining, cancelled ones among them.
    pub ended: Vec<Done<S>>,
    /// The states of entries that the kernel never saw.
    pub unsubmitted: Vec<S>,
}

impl<S: 'static> InFlight<S> {
    /// Takes the ring over. Entries already in its queue, and operations in flight on it, stay what they are; their
    /// completions arrive as [`Event::Foreign`].
    ///
    /// # Errors
    ///
    /// The ring comes back if the kernel cannot cancel by "any" (it came with Linux 5.19), or asking it failed.
    pub fn new(mut ring: Ring) -> Result<Self, Unfit> {
        let reason = match ring.has_cancel_any() {
            Ok(true) => {
                let start = ring.mark();
                let (tokens, states) = (Tokens::new(), States::new());
                let inner = Inner { ring, tokens, states, start };
                return Ok(InFlight { inner: ManuallyDrop::new(inner) });
            }
            Ok(false) => ScopeError::NoCancelAny,
            Err(errno) => ScopeError::Probe(errno),
        };
        Err(Unfit { ring, reason })
    }

    /// Lends `state` to an operation: `entry` borrows from it what the operation needs. The operation starts when it is
    /// submitted.
    ///
    /// The entry's `user_data` is overwritten; the ticket names the operation.
    ///
    /// # Errors
    ///
    /// The state comes back when the queue is full, or when the entry asks for no completion on success.
    #[inline(always)]
    pub fn start<F>(&mut self, state: S, entry: F) -> Result<Ticket, Refused<S>>
    where
        F: for<'a> FnOnce(&'a mut S) -> Sqe<'a>,
    {
        self.lend(state, entry)
    }

    /// As [`start`](Self::start), for an entry of 128 bytes.
    pub fn start128<F>(&mut self, state: S, entry: F) -> Result<Ticket, Refused<S>>
    where
        F: for<'a> FnOnce(&'a mut S) -> Sqe128<'a>,
    {
        self.lend(state, entry)
    }

    #[inline(always)]
    fn lend<'a, E: Entry + 'a>(&mut self, state: S, entry: impl FnOnce(&'a mut S) -> E) -> Result<Ticket, Refused<S>> {
        let Inner { ring, tokens, states, .. } = &mut *self.inner;
        let Some((slot, known)) = tokens.next_slot() else {
            return Err(Refused { entry: state, reason: Reason::TooMany });
        };
        let home = states.place(slot, known);
        let place = home.get();
        // SAFETY: the slot is free, so its place holds nothing that would have to be dropped, and nobody uses it.
        unsafe { place.write(state) };
        let unwinding = DropInPlace(place);
        // SAFETY: the place was just filled and does not move or go away until the state is taken out of it. Nobody
        // else has a reference to it; what the entry keeps of this one is the kernel's from here on.
        let entry = entry(unsafe { &mut *place });
        std::mem::forget(unwinding);
        // SAFETY: the entry borrows from the state in its place, or what is `'static`. The state is taken out, or its place
        // freed, only when the operation is no longer live.
        match unsafe { tokens.push(ring, slot, home, &entry) } {
            Ok(key) => Ok(Ticket(key)),
            Err(reason) => {
                drop(entry);
                // SAFETY: the entry, which borrowed from the state, never reached the queue and is gone.
                Err(Refused { entry: unsafe { place.read() }, reason })
            }
        }
    }

    /// What the next completion in the queue means; `None` when there is none. Makes no system call.
    #[inline(always)]
    pub fn next_event(&mut self) -> Option<Event<S>> {
        let Inner { ring, tokens, .. } = &mut *self.inner;
        // SAFETY: whatever else may consume completions makes the table look again: submitting, and `ring_mut`.
        match unsafe { tokens.next_end(ring) } {
            // SAFETY: this was the operation's last completion.
            Next::End(cqe, place) => Some(Event::Done(unsafe { done(place, cqe, None) })),
            Next::Nothing => None,
            Next::Other => self.next_other(),
        }
    }

    /// The next event, whatever it is.
    #[inline(never)]
    fn next_other(&mut self) -> Option<Event<S>> {
        let Inner { ring, tokens, .. } = &mut *self.inner;
        if let Some(kept) = ring.kept() {
            tokens.forget_delivered();
            return Some(Event::Foreign(kept));
        }
        // SAFETY: as in `next_event`.
        while let Some(cqe) = unsafe { tokens.pop(ring) } {
            match tokens.meet(ring, &cqe) {
                // SAFETY: this was the operation's last completion.
                Met::Last(place, report) => return Some(Event::Done(unsafe { done(place, cqe, report) })),
                Met::More(_) => return Some(Event::More(Ticket(cqe.user_data()), cqe)),
                Met::Foreign => return Some(Event::Foreign(cqe)),
                Met::Internal => {}
            }
        }
        None
    }

    /// What the completion of the latest event delivered in [provided buffers](crate::buf_ring); `None` if nothing, or if it
    /// was asked before. What nobody asks for goes back to its group with the next event, and so does all that is delivered
    /// while a shutdown or a drop waits for operations to end.
    ///
    /// The operation has to have been started after its group was registered.
    ///
    /// ```
    /// use rawring::{Event, InFlight, Ring, buf_ring::BufRing, op::RecvMulti, operand::Group};
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let mut ring = Ring::new(8)?;
    /// let bufs = BufRing::setup(Group(0), 16, 4096).build(&mut ring)?;
    /// let mut ring = InFlight::new(ring)?;
    /// let (mut left, right) = UnixStream::pair()?;
    /// left.write_all(b"hello")?;
    /// ring.start(right, |socket| RecvMulti::new(&*socket, bufs.group()).into())?;
    /// if let Event::More(..) = ring.wait_event()? {
    ///     let mut delivery = ring.delivered().expect("something was received")?;
    ///     let bytes = delivery.next().expect("a buffer of it");
    ///     assert_eq!(&bytes[..], b"hello");
    /// }
    /// let mut ring = ring.shutdown()?.ring;
    /// ring.unregister_buf_ring(bufs)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BadBuffer`], if the kernel lies, or if a receive counts bytes that are in no buffer.
    pub fn delivered(&mut self) -> Option<Result<Delivery, BadBuffer>> {
        self.inner.tokens.take_delivered()
    }

    /// The next event; submits, and waits for one, as long as there is none.
    ///
    /// Waits for ever if nothing is in flight or queued.
    ///
    /// # Errors
    ///
    /// As [`Ring::submit_with`].
    pub fn wait_event(&mut self) -> Result<Event<S>, Errno> {
        loop {
            if let Some(event) = self.next_event() {
                return Ok(event);
            }
            self.submit_and_wait(1)?;
        }
    }

    /// Asks the kernel to cancel an operation. Its [`Done`] tells what became of it; the request itself is not
    /// reported. An operation that has ended already is left alone.
    ///
    /// # Errors
    ///
    /// `Reason::Full` if the submission queue has no room.
    pub fn cancel(&mut self, ticket: Ticket) -> Result<(), Reason> {
        let Inner { ring, tokens, .. } = &mut *self.inner;
        if tokens.is_live(ticket.0) { tokens.push_cancellation(ring, Target::Key(ticket.0)) } else { Ok(()) }
    }

    /// Puts an entry that borrows nothing, and has no state, into the queue. See
    /// [`Submissions::push`](crate::Submissions::push). Its completions arrive as [`Event::Foreign`].
    pub fn push(&mut self, entry: impl Into<Sqe<'static>>) -> Result<(), Refused<Sqe<'static>>> {
        self.inner.ring.push(entry)
    }

    /// See [`Submissions::submit`](crate::Submissions::submit).
    #[inline]
    pub fn submit(&mut self) -> Result<u32, Errno> {
        self.ring_again().submit()
    }

    /// See [`Ring::submit_and_wait`].
    #[inline(always)]
    pub fn submit_and_wait(&mut self, want: u32) -> Result<Submitted, Errno> {
        self.ring_again().submit_and_wait(want)
    }

    /// See [`Ring::submit_with`].
    #[inline]
    pub fn submit_with(&mut self, wait: &Wait<'_>) -> Result<Submitted, Errno> {
        self.ring_again().submit_with(wait)
    }

    /// The ring, for what may consume completions that nobody is to see.
    #[inline(always)]
    fn ring_again(&mut self) -> &mut Ring {
        let Inner { ring, tokens, .. } = &mut *self.inner;
        tokens.look_again(ring);
        ring
    }

    /// Operations that were started and have not ended.
    pub fn in_flight(&self) -> usize {
        self.inner.tokens.live()
    }

    /// Entries that fit into the submission queue now.
    pub fn room(&self) -> u32 {
        self.inner.ring.room()
    }

    /// The ring, for asking it things.
    pub fn ring(&self) -> &Ring {
        &self.inner.ring
    }

    /// The ring, for everything else.
    ///
    /// # Safety
    ///
    /// 1. The ring stays in its place: it is not swapped or replaced.
    /// 2. Nobody but this `InFlight` reaps completions from it while operations are in flight.
    /// 3. Nothing pushed to it has a `user_data` that is [reserved](crate::UserData::is_reserved).
    pub unsafe fn ring_mut(&mut self) -> &mut Ring {
        self.ring_again()
    }

    /// Takes back what was not submitted, cancels everything in flight, waits for the last completions, and gives back
    /// the ring and all states.
    ///
    /// What was [pushed](Self::push) without a state and not submitted is taken back as well, and is gone: submit first
    /// what is to happen.
    ///
    /// # Errors
    ///
    /// If the kernel no longer lets this thread submit or wait on the ring; `EBADF` in a forked child, whose ring it is
    /// not. What ended before that is in the error, and so is this `InFlight`.
    pub fn shutdown(self) -> Result<Drained<S>, ShutdownError<S>> {
        self.end(None)
    }

    fn end(mut self, patience: Option<Duration>) -> Result<Drained<S>, ShutdownError<S>> {
        if self.inner.ring.map.is_left_behind() {
            // What is in flight is the parent's.
            return Err(ShutdownError { in_flight: self, ended: vec![], unsubmitted: vec![], errno: Errno::BADF });
        }
        let Inner { ring, tokens, states: _, start } = &mut *self.inner;
        tokens.forget_delivered();
        let mut ended = Vec::new();
        let mut unsubmitted = Vec::new();
        // SAFETY: of an entry taken back, the kernel has seen nothing, so its state is ours again.
        tokens.retract(ring, *start, |place| unsubmitted.push(unsafe { place.get().read() }));
        let drained = tokens.drain(ring, patience, |cqe, met| match met {
            // SAFETY: this was the operation's last completion.
            Met::Last(place, report) => ended.push(unsafe { done(place, cqe, report) }),
            Met::More(_) | Met::Foreign | Met::Internal => {}
        });
        if let Err(errno) = drained {
            return Err(ShutdownError { in_flight: self, ended, unsubmitted, errno });
        }
        // SAFETY: `self` is forgotten, so its drop does not take `inner` a second time.
        let Inner { ring, states, .. } = unsafe { ManuallyDrop::take(&mut self.inner) };
        std::mem::forget(self);
        // SAFETY: nothing is live, so no place is lent to the kernel and none holds a state.
        unsafe { states.free() };
        Ok(Drained { ring, ended, unsubmitted })
    }
}

impl<S: 'static> Drop for InFlight<S> {
    fn drop(&mut self) {
        // SAFETY: this is the drop, so `inner` is not used afterwards.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        let again = InFlight { inner: ManuallyDrop::new(inner) };
        if let Err(ShutdownError { mut in_flight, .. }) = again.end(Some(PATIENCE)) {
            // SAFETY: `in_flight` is forgotten, so nothing takes `inner` a second time.
            let Inner { ring, states, .. } = unsafe { ManuallyDrop::take(&mut in_flight.inner) };
            std::mem::forget(in_flight);
            // The kernel may still use the states: they stay where they are for good.
            drop(ring);
            std::mem::forget(states);
        }
    }
}

// SAFETY: the raw pointers in it lead to states that it owns, and no thread but the owner's uses them.
unsafe impl<S: Send> Send for InFlight<S> {}

impl<S> AsFd for InFlight<S> {
    /// # Panics
    ///
    /// As for [`Ring`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.ring.as_fd()
    }
}

impl<S> std::fmt::Debug for InFlight<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InFlight").field("in_flight", &self.in_flight()).field("ring", self.ring()).finish()
    }
}

/// Moves the state of an operation out, now that it has ended. `report` is its completion before the last.
///
/// # Safety
///
/// `cqe` is the last completion of an operation that was live until now, and whose state is in `place`.
#[inline(always)]
unsafe fn done<S>(place: Place<S>, cqe: Cqe, report: Option<Cqe>) -> Done<S> {
    // SAFETY: by the caller's promise the place was filled when the operation started, and the kernel is done with it.
    let state = unsafe { place.get().read() };
    let (ticket, notification) = (Ticket(cqe.user_data()), cqe.notification());
    let cqe = if notification.is_some() { report.unwrap_or(cqe) } else { cqe };
    Done { state, ticket, cqe, notification }
}

/// A ring on which states cannot be lent safely.
#[derive(Debug)]
pub struct Unfit {
    /// The ring, as it was.
    pub ring: Ring,
    /// Why not.
    pub reason: ScopeError,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for Unfit {}

/// A shutdown that could not wait for everything.
pub struct ShutdownError<S: 'static> {
    /// What is left. Dropping it tries again for a while, then leaks the states that are still lent.
    pub in_flight: InFlight<S>,
    /// The operations that ended.
    pub ended: Vec<Done<S>>,
    /// The states of entries that the kernel never saw.
    pub unsubmitted: Vec<S>,
    /// The call that failed.
    pub errno: Errno,
}

impl<S> std::fmt::Display for ShutdownError<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let left = self.in_flight.in_flight();
        write!(f, "{left} operations are still in flight, and waiting for them failed: {}", self.errno)
    }
}

impl<S> std::fmt::Debug for ShutdownError<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShutdownError")
            .field("in_flight", &self.in_flight)
            .field("ended", &self.ended.len())
            .field("unsubmitted", &self.unsubmitted.len())
            .field("errno", &self.errno)
            .finish()
    }
}

impl<S> std::error::Error for ShutdownError<S> {}
