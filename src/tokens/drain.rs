//! How a door gets rid of what it has in flight: cancelling, and reaping until nothing is live.
//!
//! Invariant: nothing here ends an operation. It is live until its last completion was reaped, however often it was
//! cancelled. What the cancellations of ours come to is nobody else's business.

use std::time::{Duration, Instant};

use super::{Extra, Met, Tokens};
use crate::cqe::Cqe;
use crate::ring::Ring;
use crate::sqe::{RawSqe, Sqe};
use crate::submit::{Entry, Reason};
use crate::user_data::UserData;
use crate::wait::{Wait, WaitEnd};
use rawring_sys as sys;
use rustix::io::Errno;

impl<T: Copy + Default> Tokens<T> {
    /// Queues a cancellation of one operation, on the door's own account.
    pub(crate) fn push_cancellation(&mut self, ring: &mut Ring, target: Target) -> Result<(), Reason> {
        let (slot, value) = self.next_slot().ok_or(Reason::TooMany)?;
        let mut raw = RawSqe::ZERO;
        raw.opcode = sys::IORING_OP_ASYNC_CANCEL;
        match target {
            Target::Key(key) => raw.addr = key.0,
            Target::Everything => raw.op_flags = sys::IORING_ASYNC_CANCEL_ALL | sys::IORING_ASYNC_CANCEL_ANY,
        }
        let key = ring.keys.key(slot);
        raw.user_data = key.0;
        // SAFETY: the entry names no memory and no descriptor, and its reserved key is this table's own.
        unsafe { Sqe::from_raw(raw).put(&mut ring.submit) }.map_err(|refused| refused.reason)?;
        ring.keys.advance();
        self.occupy(ring, slot, key, value);
        self.note(slot, Extra { cancellation: true, ..Extra::default() });
        self.cancellations += 1;
        Ok(())
    }

    /// Cancels everything live and reaps until nothing is, cancellations included. `each` gets every completion of an
    /// operation with what it was; foreign completions are kept for the ring's owner.
    ///
    /// # Errors
    ///
    /// The call that failed for good, or `TIMEDOUT` after `patience` in which nothing happened. Operations are still
    /// live then.
    pub(crate) fn drain(
        &mut self,
        ring: &mut Ring,
        patience: Option<Duration>,
        mut each: impl FnMut(Cqe, Met<T>),
    ) -> Result<(), Errno> {
        let mut pause = FIRST_PAUSE;
        let mut hunt = Hunt::default();
        let mut due = true;
        let mut last = Instant::now();
        loop {
            let reaped = self.reap(ring, &mut hunt, &mut each);
            if self.operations == 0 && self.cancellations == 0 {
                return Ok(());
            }
            if reaped {
                last = Instant::now();
                pause = FIRST_PAUSE;
            } else if patience.is_some_and(|patience| last.elapsed() >= patience) {
                return Err(Errno::TIMEDOUT);
            }
            if due {
                due = false;
                self.hunt_down(ring, &mut hunt, &mut each)?;
            }
            match ring.submit_with(&Wait::new(1).timeout(pause)) {
                Ok(outcome) if outcome.wait == WaitEnd::TimedOut => {
                    due = true;
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                Ok(_) => {}
                Err(errno) => retryable(errno)?,
            }
        }
    }

    /// Sorts all completions that are there; tells whether there was any of an operation.
    fn reap(&mut self, ring: &mut Ring, hunt: &mut Hunt, each: &mut impl FnMut(Cqe, Met<T>)) -> bool {
        let mut any = false;
        self.look_again(ring);
        // SAFETY: nobody else comes to the queue in this loop.
        while let Some(cqe) = unsafe { self.pop(ring) } {
            let met = self.meet(ring, &cqe);
            // Nobody is there to read it: what was delivered goes back at once.
            self.forget_delivered();
            match met {
                Met::Foreign => ring.keep(cqe),
                Met::Internal => {
                    hunt.missed |= cqe.result() == Err(Errno::NOENT);
                }
                met => {
                    *hunt = Hunt::default();
                    any = true;
                    each(cqe, met);
                }
            }
        }
        any
    }

    /// Asks the kernel to cancel every live operation.
    ///
    /// One that it repeatedly cannot find is waiting behind somebody else's operation, drained or linked to one; and
    /// where a drain holds back everything later, it holds back our requests, too. The way to end that is to cancel
    /// everything there is.
    fn hunt_down(&mut self, ring: &mut Ring, hunt: &mut Hunt, each: &mut impl FnMut(Cqe, Met<T>)) -> Result<(), Errno> {
        /// Rounds, each twice as long as the one before: a quarter of a second in all.
        const STUCK: u32 = 8;
        let held_back = self.cancellations > 0;
        hunt.rounds = if hunt.missed || held_back { hunt.rounds + 1 } else { 0 };
        hunt.missed = false;
        if hunt.rounds >= STUCK {
            self.cancel_everything(ring);
            return Ok(());
        }
        for key in self.quarry() {
            if !self.is_live(key) {
                continue;
            }
            let target = Target::Key(key);
            if held_back {
                // Whatever holds the requests back may be waiting for one of ours.
                let _missed = call_off(ring, target);
                continue;
            }
            while self.push_cancellation(ring, target) == Err(Reason::Full) {
                ring.make_room().or_else(retryable)?;
                // What is cancelled stays in the way of the search until it has completed.
                let both = ring.cq_entries().min(2 * ring.sq_entries());
                ring.submit_with(&Wait::new(both).timeout(FIRST_PAUSE)).map(drop).or_else(retryable)?;
                self.reap(ring, hunt, each);
            }
        }
        Ok(())
    }

    /// The operations that can be cancelled, in the order in which the kernel finds them at once.
    ///
    /// It looks for what waits for a file among all that hashes alike, from the latest to the oldest, and for a timeout
    /// among all timeouts, from the oldest to the latest. With 65,536 in flight, the other order takes minutes.
    pub(super) fn quarry(&self) -> Vec<UserData> {
        let mut found = Vec::with_capacity(self.operations);
        for slot in 0..self.slots.len() as u32 {
            let Some((key, extra)) = self.occupant(slot) else { continue };
            // Of a send whose result is there, only the notification is to come: when the network is done with the data, and
            // nothing makes it come.
            let sent = extra.report.is_some() && extra.zero_copy;
            if extra.cancellation || sent {
                continue;
            }
            let at = self.slots[slot as usize].at;
            found.push((if extra.timeout { at } else { u64::MAX - at }, key));
        }
        found.sort_unstable_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, key)| key).collect()
    }

    /// Cancels whatever there is on the ring, by a call that no drain holds back, or else by an entry.
    fn cancel_everything(&mut self, ring: &mut Ring) {
        if call_off(ring, Target::Everything) == Err(Errno::INVAL) {
            let _full = self.push_cancellation(ring, Target::Everything);
        }
        // Not found, found and still ending, or interrupted: the next round sees.
    }
}

/// Cancels by a call (Linux 6.0; `INVAL` before). It waits for nothing.
fn call_off(ring: &Ring, target: Target) -> Result<u32, Errno> {
    let mut request = sys::io_uring_sync_cancel_reg { fd: -1, ..Default::default() };
    match target {
        Target::Key(key) => request.addr = key.0,
        Target::Everything => request.flags = sys::IORING_ASYNC_CANCEL_ALL | sys::IORING_ASYNC_CANCEL_ANY,
    }
    // SAFETY: the argument is one request, read during the call, which touches no memory of an operation itself.
    unsafe { ring.register_raw(sys::IORING_REGISTER_SYNC_CANCEL, (&raw mut request).cast(), 1) }
}

/// How the search for operations to cancel goes.
#[derive(Default)]
struct Hunt {
    /// The kernel did not find one since the last round began.
    missed: bool,
    /// Rounds in a row in which it did not, while nothing ended.
    rounds: u32,
}

/// How long a round of cancellations is waited for at first.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// What a cancellation is aimed at.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    Key(UserData),
    Everything,
}

/// Errors of a submission after which reaping and trying again helps.
fn retryable(errno: Errno) -> Result<(), Errno> {
    match errno {
        Errno::INTR | Errno::AGAIN | Errno::BUSY | Errno::BADR => Ok(()),
        errno => Err(errno),
    }
}
