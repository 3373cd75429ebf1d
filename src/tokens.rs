//! The operations that a safe door has in flight, and how it gets rid of them.
//!
//! Who owns what, when: an operation is *live* from the moment its entry is pushed until either its completion without
//! `MORE` is reaped or the entry is taken back unseen by the kernel. While it is live, what its entry names is not
//! touched by us and not freed. The value `T` rides along and is given back at the end.
//!
//! Completions are recognised by slot and generation, with the prefix that the safe ways to submit refuse to everybody
//! else ([`UserData::is_reserved`]). A completion that matches no live operation is foreign: it is kept for its owner
//! and never counted.

use std::time::{Duration, Instant};

use crate::buf_ring::{BadBuffer, Delivery, Source};
use crate::cqe::Cqe;
use crate::op;
use crate::queue::Pos;
use crate::ring::Ring;
use crate::sqe::{RawSqe, Sqe};
use crate::submit::{Entry, Reason, Refused};
use crate::user_data::UserData;
use crate::wait::{Wait, WaitEnd};
use rawring_sys as sys;
use rustix::io::Errno;

/// What a slot is used for.
enum Use<T> {
    Free,
    /// An operation of the door's user.
    Operation(T),
    /// A cancellation that the door started itself.
    Cancellation,
}

struct Slot<T> {
    key: UserData,
    used: Use<T>,
    /// Whether only a notification is to come if this is a zero-copy send.
    reported: bool,
    zero_copy: bool,
    /// Where it takes provided buffers from.
    source: Option<Source>,
}

/// The table of live operations.
pub(crate) struct Tokens<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    operations: usize,
    cancellations: usize,
    /// The slots of entries that the kernel may not have taken yet, with the position after each.
    queued: Vec<(Pos, u32)>,
}

/// What a completion is to the door that met it.
pub(crate) enum Met<'t, T> {
    /// Somebody else's.
    Foreign,
    /// The door's own business; nobody needs to see it.
    Internal,
    /// One of an operation's, and not the last.
    More(&'t mut T),
    /// An operation's last: it is no longer live, and the kernel is done with what it names.
    Last(T),
}

impl<T> Tokens<T> {
    pub(crate) fn new() -> Self {
        Tokens { slots: Vec::new(), free: Vec::new(), operations: 0, cancellations: 0, queued: Vec::new() }
    }

    /// Operations that are live.
    pub(crate) fn live(&self) -> usize {
        self.operations
    }

    /// The slot that the next operation will get; `None` when no number is left.
    #[inline(always)]
    pub(crate) fn next_slot(&self) -> Option<u32> {
        match self.free.last() {
            Some(&slot) => Some(slot),
            None if self.slots.len() <= UserData::MAX_SLOT as usize => Some(self.slots.len() as u32),
            None => None,
        }
    }

    /// Pushes an entry under a key of ours and makes its operation live, in the slot that
    /// [`next_slot`](Self::next_slot) named. A refused entry comes back as it was.
    ///
    /// # Safety
    ///
    /// Everything that the entry names stays valid, and un-aliased as its reference demands, until the operation is no
    /// longer live: [`meet`](Self::meet) said [`Met::Last`], or [`retract`](Self::retract) gave its value back.
    #[inline(always)]
    pub(crate) unsafe fn push<E: Entry>(
        &mut self,
        ring: &mut Ring,
        value: T,
        mut entry: E,
    ) -> Result<UserData, (T, Refused<E>)> {
        if entry.bytes().flags & sys::IOSQE_CQE_SKIP_SUCCESS != 0 {
            return Err((value, Refused { entry, reason: Reason::SkipSuccess }));
        }
        let Some(slot) = self.next_slot() else {
            return Err((value, Refused { entry, reason: Reason::TooMany }));
        };
        let key = UserData::token(slot, ring.generation);
        let zero_copy = op::notifies(entry.bytes().opcode);
        let source = match ring.groups.source(entry.bytes()) {
            Ok(source) => source,
            Err(reason) => return Err((value, Refused { entry, reason })),
        };
        let own = core::mem::replace(&mut entry.bytes_mut().user_data, key.0);
        // SAFETY: the caller's promise covers clauses 1 and 2. The reserved key of clause 3 is this table's own.
        if let Err(mut refused) = unsafe { entry.put(&mut ring.submit) } {
            refused.entry.bytes_mut().user_data = own;
            return Err((value, refused));
        }
        ring.generation = ring.generation.wrapping_add(1);
        self.occupy(slot, key, Use::Operation(value), zero_copy, source);
        self.operations += 1;
        self.queued.push((ring.mark(), slot));
        Ok(key)
    }

    #[inline(always)]
    fn occupy(&mut self, slot: u32, key: UserData, used: Use<T>, zero_copy: bool, source: Option<Source>) {
        let entry = Slot { key, used, reported: false, zero_copy, source };
        if slot as usize == self.slots.len() {
            self.slots.push(entry);
        } else {
            self.free.pop();
            self.slots[slot as usize] = entry;
        }
    }

    /// Whether this key is that of a live operation.
    pub(crate) fn is_live(&self, key: UserData) -> bool {
        let slot = key.slot().and_then(|slot| self.slots.get(slot as usize));
        slot.is_some_and(|slot| slot.key == key && matches!(slot.used, Use::Operation(_)))
    }

    /// What a completion that was just reaped brought in provided buffers. To be asked once, before it is sorted.
    ///
    /// `None` if it names no buffer, is not of an operation started here, or names one of a group that was not registered
    /// when that was pushed.
    #[inline(always)]
    pub(crate) fn delivered(&self, ring: &Ring, cqe: &Cqe) -> Option<Result<Delivery, BadBuffer>> {
        cqe.buffer_id()?;
        let slot = self.slots.get(cqe.user_data().slot()? as usize)?;
        let live = slot.key == cqe.user_data() && matches!(slot.used, Use::Operation(_));
        let source = slot.source.filter(|_| live)?;
        // SAFETY: the key is a live operation's, and nobody else has it: the completion belongs to the entry that was
        // pushed with this source, and the callers hand in each that they reap, once and in order.
        unsafe { ring.groups.take(cqe, source) }
    }

    /// Sorts a completion.
    #[inline(always)]
    pub(crate) fn meet(&mut self, cqe: &Cqe) -> Met<'_, T> {
        let key = cqe.user_data();
        let Some(index) = key.slot() else { return Met::Foreign };
        let Some(slot) = self.slots.get_mut(index as usize).filter(|slot| slot.key == key) else {
            return unclaimed(cqe);
        };
        if cqe.more() {
            slot.reported = true;
            return match &mut slot.used {
                Use::Operation(value) => Met::More(value),
                Use::Cancellation => Met::Internal,
                Use::Free => Met::Foreign,
            };
        }
        match core::mem::replace(&mut slot.used, Use::Free) {
            Use::Operation(value) => {
                self.operations -= 1;
                self.free.push(index);
                Met::Last(value)
            }
            Use::Cancellation => {
                self.cancellations -= 1;
                self.free.push(index);
                Met::Internal
            }
            Use::Free => unclaimed(cqe),
        }
    }

    /// To be called after each submission: forgets which entries were queued, as far as the kernel took them.
    #[inline(always)]
    pub(crate) fn submitted(&mut self, ring: &Ring) {
        let pending = ring.pending();
        if pending == 0 {
            self.queued.clear();
        } else {
            let next = ring.mark();
            self.queued.retain(|(end, _)| next.since(*end) < pending);
        }
    }

    /// Takes back the entries that the kernel cannot have seen, of those pushed since `mark`. Their operations never
    /// happen; `each` gets their slots and values.
    pub(crate) fn retract(&mut self, ring: &mut Ring, mark: Pos, mut each: impl FnMut(u32, T)) {
        self.submitted(ring);
        let next = ring.mark();
        let taken = ring.retract(mark);
        for (end, index) in core::mem::take(&mut self.queued) {
            if next.since(end) >= taken {
                // Seen, or perhaps seen: where the kernel cannot be believed now, it may be later.
                self.queued.push((end, index));
                continue;
            }
            match core::mem::replace(&mut self.slots[index as usize].used, Use::Free) {
                Use::Operation(value) => {
                    self.operations -= 1;
                    self.free.push(index);
                    each(index, value);
                }
                // It will not run, so nothing is to come of it.
                Use::Cancellation => {
                    self.cancellations -= 1;
                    self.free.push(index);
                }
                Use::Free => {}
            }
        }
    }

    /// Queues a cancellation of one operation, on the door's own account.
    pub(crate) fn push_cancellation(&mut self, ring: &mut Ring, target: Target) -> Result<(), Reason> {
        let slot = self.next_slot().ok_or(Reason::TooMany)?;
        let mut raw = RawSqe::ZERO;
        raw.opcode = sys::IORING_OP_ASYNC_CANCEL;
        match target {
            Target::Key(key) => raw.addr = key.0,
            Target::Everything => raw.op_flags = sys::IORING_ASYNC_CANCEL_ALL | sys::IORING_ASYNC_CANCEL_ANY,
        }
        let key = UserData::token(slot, ring.generation);
        raw.user_data = key.0;
        // SAFETY: the entry names no memory and no descriptor, and its reserved key is this table's own.
        unsafe { Sqe::from_raw(raw).put(&mut ring.submit) }.map_err(|refused| refused.reason)?;
        ring.generation = ring.generation.wrapping_add(1);
        self.occupy(slot, key, Use::Cancellation, false, None);
        self.cancellations += 1;
        self.queued.push((ring.mark(), slot));
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
        mut each: impl FnMut(Cqe, Met<'_, T>),
    ) -> Result<(), Errno> {
        const FIRST_PAUSE: Duration = Duration::from_millis(1);
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
    fn reap(&mut self, ring: &mut Ring, hunt: &mut Hunt, each: &mut impl FnMut(Cqe, Met<'_, T>)) -> bool {
        let mut any = false;
        while let Some(cqe) = ring.pop() {
            // Nobody is there to read it: what was delivered goes back at once.
            drop(self.delivered(ring, &cqe));
            match self.meet(&cqe) {
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
    fn hunt_down(
        &mut self,
        ring: &mut Ring,
        hunt: &mut Hunt,
        each: &mut impl FnMut(Cqe, Met<'_, T>),
    ) -> Result<(), Errno> {
        /// Rounds, each twice as long as the one before: a quarter of a second in all.
        const STUCK: u32 = 8;
        let held_back = self.cancellations > 0;
        hunt.rounds = if hunt.missed || held_back { hunt.rounds + 1 } else { 0 };
        hunt.missed = false;
        if hunt.rounds >= STUCK {
            self.cancel_everything(ring);
            return Ok(());
        }
        for index in 0..self.slots.len() {
            let Slot { key, used: Use::Operation(_), reported, zero_copy, source: _ } = &self.slots[index] else {
                continue;
            };
            if *reported && *zero_copy {
                // Sent. The notification comes when the network is done with the data, and nothing makes it come.
                continue;
            }
            let target = Target::Key(*key);
            if held_back {
                // Whatever holds the requests back may be waiting for one of ours.
                let _missed = call_off(ring, target);
                continue;
            }
            while self.push_cancellation(ring, target) == Err(Reason::Full) {
                ring.make_room().or_else(retryable)?;
                self.reap(ring, hunt, each);
            }
        }
        Ok(())
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

/// What a completion with a reserved key is to whom it tells nothing.
///
/// A zero-copy send that is cancelled because an entry it is linked to failed ends without `MORE`, and yet a
/// notification comes (seen with Linux 6.18). Nothing was sent, so nothing waits for it; and nobody who is handed it
/// could make anything of its key.
#[cold]
fn unclaimed<'t, T>(cqe: &Cqe) -> Met<'t, T> {
    if cqe.is_notification() { Met::Internal } else { Met::Foreign }
}

/// How the search for operations to cancel goes.
#[derive(Default)]
struct Hunt {
    /// The kernel did not find one since the last round began.
    missed: bool,
    /// Rounds in a row in which it did not, while nothing ended.
    rounds: u32,
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::CqeFlags;
    use crate::op::Nop;

    fn ended(key: UserData) -> Cqe {
        Cqe::new(key, 0, CqeFlags::empty())
    }

    #[test]
    fn an_operation_ends_once_and_by_its_own_key_only() {
        let mut ring = Ring::new(8).expect("a ring");
        let mut tokens = Tokens::new();
        let push = |tokens: &mut Tokens<&'static str>, ring: &mut Ring, value| {
            // SAFETY: a NOP names nothing.
            let pushed = unsafe { tokens.push(ring, value, Sqe::from(Nop::new())) };
            pushed.map_err(|(_, refused)| refused).expect("room")
        };
        let first = push(&mut tokens, &mut ring, "first");
        assert!(matches!(tokens.meet(&ended(UserData(0))), Met::Foreign));
        assert!(matches!(tokens.meet(&ended(UserData::token(1, 0))), Met::Foreign), "no such slot");
        assert!(matches!(tokens.meet(&ended(UserData::token(0, 1))), Met::Foreign), "another generation");
        assert!(matches!(tokens.meet(&Cqe::new(first, 0, CqeFlags::MORE)), Met::More(&mut "first")));
        assert_eq!(tokens.live(), 1);
        assert!(matches!(tokens.meet(&ended(first)), Met::Last("first")));
        assert_eq!(tokens.live(), 0);
        assert!(matches!(tokens.meet(&ended(first)), Met::Foreign), "a second end is nobody's");
        let second = push(&mut tokens, &mut ring, "second");
        assert_eq!(second.slot(), first.slot(), "the slot is used again");
        assert!(matches!(tokens.meet(&ended(first)), Met::Foreign), "the old key is not the new one");
        assert!(tokens.is_live(second) && !tokens.is_live(first));
    }

    #[test]
    fn a_cancellation_that_is_taken_back_is_not_waited_for() {
        let mut ring = Ring::new(8).expect("a ring");
        let mut tokens = Tokens::new();
        let start = ring.mark();
        let endless = crate::operand::Timespec::from(Duration::from_secs(1000));
        // SAFETY: the time outlives the operation, which is drained below.
        let pushed = unsafe { tokens.push(&mut ring, (), Sqe::from(op::Timeout::new(&endless))) };
        let key = pushed.map_err(|(_, refused)| refused).expect("room");
        ring.submit().expect("submitted");
        tokens.submitted(&ring);
        tokens.push_cancellation(&mut ring, Target::Key(key)).expect("room");
        tokens.retract(&mut ring, start, |_, ()| panic!("the timeout was submitted"));
        assert_eq!(ring.pending(), 0, "the cancellation was not");
        tokens.drain(&mut ring, Some(Duration::from_secs(2)), |_, _| {}).expect("drained");
        assert_eq!((tokens.live(), tokens.cancellations), (0, 0));
    }
}
