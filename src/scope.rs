//! Safe submission of borrowed memory, in batches.
//!
//! Who owns what, when: an entry pushed in a scope may borrow anything that outlives the call of [`Ring::scope`]. The
//! kernel may use it from the submission until the entry's last completion, and the call returns only when every
//! entry has either had that or was never seen by the kernel; also when the closure panics. The borrow checker holds
//! the memory for the whole call (`'env`), and the closure sees the scope by reference only, so that it can neither
//! leak it nor end it early.

use std::io::Write as _;
use std::marker::PhantomData;

use rustix::io::Errno;

use crate::buf_ring::{BadBuffer, Delivery};
use crate::cqe::Cqe;
use crate::ring::Ring;
use crate::sqe::{Sqe, Sqe128};
use crate::submit::{Entry, Reason, Refused};
use crate::tokens::{Met, Next, Target, Tokens};
use crate::user_data::UserData;
use crate::wait::{Submitted, Wait};

/// The ring, while a scope runs on it. See [`Ring::scope`].
pub struct Scope<'r, 'env> {
    ring: &'r mut Ring,
    /// The operations in flight, each with the `user_data` that its entry came with.
    tokens: Tokens<UserData>,
    /// Where the scope's first entry is, or will be.
    start: u64,
    /// Invariant in `'env`: an entry for a shorter borrow must not pass for one that lives as long as the call.
    env: PhantomData<&'env mut &'env ()>,
}

/// Names an operation started by a safe door, to cancel or to update it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ticket(pub(crate) UserData);

impl Ticket {
    /// The `user_data` under which the kernel knows the operation: the key for
    /// [`TimeoutUpdate`](crate::op::TimeoutUpdate) and its kin. It is not what the operation's completions show.
    pub fn key(self) -> UserData {
        self.0
    }
}

impl Ring {
    /// Runs `f` with a [`Scope`], in which entries may borrow whatever outlives this call.
    ///
    /// When `f` returns, entries that were not submitted are taken back and never run, operations in flight are
    /// cancelled, and the call returns after the last of their completions. So `f` waits for what it wants to happen:
    /// with [`Scope::submit_and_wait`] and [`Scope::completions`], or for everything with [`Scope::finish`]. The same
    /// goes when `f` panics; the panic goes on afterwards.
    ///
    /// ```
    /// use rawring::{Ring, op::{Read, Write}};
    /// use std::io::Seek;
    ///
    /// let mut ring = Ring::new(8)?;
    /// # let path = std::env::temp_dir().join(format!("rawring-scope-{}", std::process::id()));
    /// # let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// let text = *b"hello";
    /// let mut back = [0; 5];
    /// ring.scope(|s| {
    ///     s.push(Write::new(&file, &text).offset(0).link())?;
    ///     s.push(Read::new(&file, &mut back).offset(0))?;
    ///     s.finish(|cqe| assert_eq!(cqe.result(), Ok(5)))?;
    ///     Ok::<_, std::io::Error>(())
    /// })??;
    /// assert_eq!(back, text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Cancelling does not end everything at once. A write to a disk goes on until the disk has it, and a zero-copy send
    /// that sent something ends with its notification: while its peer does not read, that does not come, and neither
    /// does the end of the scope.
    ///
    /// There are operations that no cancellation finds: a zero-copy send held back by a drain (see
    /// [`SendZc`](crate::op::SendZc)), and on a ring with a polling thread what a worker runs, while a drain behind it holds
    /// back the requests to cancel it; before Linux 6.0, whatever has a drain behind it. The scope ends when they do.
    ///
    /// Operations of others on the same ring are left alone, and their completions kept for
    /// [`Ring::completions`], with one exception: an operation of the scope that waits behind somebody else's, drained or
    /// linked to it, can only be ended by cancelling everything on the ring, which is then done.
    ///
    /// # Errors
    ///
    /// Before `f` runs: the kernel cannot cancel by "any" (it came with Linux 5.19), or asking it failed.
    ///
    /// # Aborts
    ///
    /// If operations are in flight and the kernel no longer lets this thread submit or wait on the ring (a polling
    /// thread that died, say), nothing sound is left to do but to abort the process.
    pub fn scope<'env, T>(&mut self, f: impl for<'r> FnOnce(&mut Scope<'r, 'env>) -> T) -> Result<T, ScopeError> {
        if !self.has_cancel_any().map_err(ScopeError::Probe)? {
            return Err(ScopeError::NoCancelAny);
        }
        let start = self.mark();
        let mut scope = Scope { ring: self, tokens: Tokens::new(), start, env: PhantomData };
        // Dropping the scope is what makes returning sound; on a panic, unwinding drops it.
        Ok(f(&mut scope))
    }
}

impl<'env> Scope<'_, 'env> {
    /// Puts an entry into the queue. It starts when it is submitted.
    ///
    /// The entry's `user_data` is shown by its completions as always; the ticket is what cancels or updates the
    /// operation.
    ///
    /// # Errors
    ///
    /// The entry comes back when the queue is full, or when it asks for no completion on success.
    #[inline(always)]
    pub fn push(&mut self, entry: impl Into<Sqe<'env>>) -> Result<Ticket, Refused<Sqe<'env>>> {
        self.put(entry.into())
    }

    /// As [`push`](Self::push), for an entry of 128 bytes.
    pub fn push128(&mut self, entry: impl Into<Sqe128<'env>>) -> Result<Ticket, Refused<Sqe128<'env>>> {
        self.put(entry.into())
    }

    /// Called with entries for `'env` only.
    #[inline(always)]
    fn put<E: Entry>(&mut self, entry: E) -> Result<Ticket, Refused<E>> {
        let shown = UserData(entry.bytes().user_data);
        let Some((slot, _)) = self.tokens.next_slot() else {
            return Err(entry.refuse(Reason::TooMany));
        };
        // SAFETY: what the entry borrows outlives the scope (`'env`), and the scope's drop, which nobody can prevent,
        // returns only when none of its operations is live.
        // The entry itself goes back only if it was refused.
        match unsafe { self.tokens.push(self.ring, slot, shown, &entry) } {
            Ok(key) => Ok(Ticket(key)),
            Err(reason) => Err(entry.refuse(reason)),
        }
    }

    /// Asks the kernel to cancel an operation of this scope. Its own completion tells what became of it; the request's
    /// is not shown. An operation that has ended already is left alone.
    ///
    /// # Errors
    ///
    /// `Reason::Full` if the submission queue has no room.
    pub fn cancel(&mut self, ticket: Ticket) -> Result<(), Reason> {
        if self.tokens.is_live(ticket.0) {
            self.tokens.push_cancellation(self.ring, Target::Key(ticket.0))
        } else {
            Ok(())
        }
    }

    /// See [`Submissions::submit`](crate::Submissions::submit).
    #[inline]
    pub fn submit(&mut self) -> Result<u32, Errno> {
        self.tokens.look_again(self.ring);
        self.ring.submit()
    }

    /// See [`Ring::submit_and_wait`].
    #[inline(always)]
    pub fn submit_and_wait(&mut self, want: u32) -> Result<Submitted, Errno> {
        self.tokens.look_again(self.ring);
        self.ring.submit_and_wait(want)
    }

    /// See [`Ring::submit_with`].
    #[inline]
    pub fn submit_with(&mut self, wait: &Wait<'_>) -> Result<Submitted, Errno> {
        self.tokens.look_again(self.ring);
        self.ring.submit_with(wait)
    }

    /// The next completion of this scope's operations that is in the queue, with the `user_data` that its entry came
    /// with. Foreign completions on the way are kept; see [`foreign`](Self::foreign).
    #[inline(always)]
    pub fn completion(&mut self) -> Option<Cqe> {
        // SAFETY: nobody else has the ring, and submitting, which may consume completions, makes the table look again.
        match unsafe { self.tokens.next_end(self.ring) } {
            Next::End(cqe, shown) => Some(Cqe { user_data: shown.0, ..cqe }),
            Next::Nothing => None,
            Next::Other => self.other_completion(),
        }
    }

    /// The next completion, whatever it is.
    #[inline(never)]
    fn other_completion(&mut self) -> Option<Cqe> {
        // SAFETY: as in `completion`.
        while let Some(cqe) = unsafe { self.tokens.pop(self.ring) } {
            match self.tokens.meet(self.ring, &cqe) {
                Met::Last(shown, _) | Met::More(shown) => return Some(Cqe { user_data: shown.0, ..cqe }),
                Met::Internal => {}
                Met::Foreign => self.ring.keep(cqe),
            }
        }
        None
    }

    /// What the latest [`completion`](Self::completion) delivered in [provided buffers](crate::buf_ring), as
    /// [`InFlight::delivered`](crate::InFlight::delivered) tells it of an event. What nobody asks for goes back to its group
    /// with the next completion, and with the end of the scope.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delivered(&mut self) -> Option<Result<Delivery, BadBuffer>> {
        self.tokens.take_delivered()
    }

    /// All completions of this scope's operations that are in the queue, each as by
    /// [`completion`](Self::completion).
    pub fn completions(&mut self) -> impl Iterator<Item = Cqe> {
        std::iter::from_fn(|| self.completion())
    }

    /// The oldest completion that was met here and belongs to nothing started here. Those not taken come first from
    /// [`Ring::completions`] after the scope.
    pub fn foreign(&mut self) -> Option<Cqe> {
        self.ring.kept()
    }

    /// Submits, and waits for everything in flight, calling `each` with every completion.
    ///
    /// An operation that never ends by itself (a multishot one, a poll) has to be cancelled first, or this waits for
    /// ever.
    ///
    /// # Errors
    ///
    /// As [`Ring::submit_with`].
    pub fn finish(&mut self, mut each: impl FnMut(Cqe)) -> Result<(), Errno> {
        while self.in_flight() > 0 {
            self.submit_and_wait(1)?;
            while let Some(cqe) = self.completion() {
                each(cqe);
            }
        }
        Ok(())
    }

    /// Operations that were pushed here and have not ended.
    pub fn in_flight(&self) -> usize {
        self.tokens.live()
    }

    /// Entries that fit into the submission queue now.
    pub fn room(&self) -> u32 {
        self.ring.room()
    }
}

impl Drop for Scope<'_, '_> {
    fn drop(&mut self) {
        let Scope { ring, tokens, start, env: _ } = self;
        let drained = if ring.map.is_left_behind() {
            // A forked child. What is in flight is the parent's, and memory may still be shared with it.
            if tokens.live() == 0 { Ok(()) } else { Err(Errno::BADF) }
        } else {
            tokens.retract(ring, *start, |_| {});
            tokens.drain(ring, None, |_, _| {})
        };
        if let Err(errno) = drained {
            // The kernel may still use what the entries borrow, and returning would end those borrows. So would a panic,
            // which is what `eprintln!` does where standard error takes nothing.
            let mut err = std::io::stderr();
            let _unsaid =
                writeln!(err, "rawring: a scope cannot end, because waiting for its operations failed: {errno}");
            std::process::abort();
        }
    }
}

impl core::fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Scope").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

/// Why a scope was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScopeError {
    /// The kernel cannot cancel by "any", which came with Linux 5.19: a scope could not be sure to end.
    NoCancelAny,
    /// Asking the kernel what it can do failed.
    Probe(Errno),
}

impl core::fmt::Display for ScopeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            ScopeError::NoCancelAny => f.write_str(
                "scope and InFlight need IORING_ASYNC_CANCEL_ANY (Linux 5.19), which this kernel lacks: \
                 use Ring::push, or the unsafe Ring::push_unchecked",
            ),
            ScopeError::Probe(errno) => write!(f, "asking the kernel for its operations failed: {errno}"),
        }
    }
}

impl std::error::Error for ScopeError {}
