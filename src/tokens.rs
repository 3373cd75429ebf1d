//! The operations that a safe door has in flight, and how it gets rid of them.
//!
//! Who owns what, when: an operation is *live* from the moment its entry is pushed until either its completion without
//! `MORE` is reaped or the entry is taken back unseen by the kernel. While it is live, what its entry names is not
//! touched by us and not freed. The value `T` rides along and is given back at the end.
//!
//! Most operations end with their first completion. What there is to know of others is kept apart, so that a slot is no
//! more than a key and a position, and one comparison with the key says that a completion is the end of such a one.
//!
//! Completions are recognised by slot and generation, with the prefix that the safe ways to submit refuse to everybody
//! else ([`UserData::is_reserved`]). A completion that matches no live operation is foreign: it is kept for its owner
//! and never counted.

use std::time::{Duration, Instant};

use crate::buf_ring::{BadBuffer, Delivery, Source};
use crate::cqe::Cqe;
use crate::op;
use crate::ring::Ring;
use crate::sqe::{RawSqe, Sqe};
use crate::submit::{Entry, Reason};
use crate::user_data::UserData;
use crate::wait::{Wait, WaitEnd};
use rawring_sys as sys;
use rustix::io::Errno;

/// A place for an operation, or for a cancellation that the door started itself.
struct Slot<T> {
    /// The key under which the kernel knows what is in it, or its [twin](UserData::twin) if there is more to know; [`FREE`]
    /// if it is free. Only the first names this slot, so no completion that leads here has one of the others.
    key: UserData,
    /// The position in the submission queue after its entry; of a free slot, the slot that is free after this one.
    at: u64,
    value: T,
}

/// The key of a free slot: it names a slot that there is not.
const FREE: UserData = UserData(u64::MAX);

/// What there is to know of an operation that is not of the usual kind, which ends with its first completion.
#[derive(Clone, Copy, Default)]
struct Extra {
    /// A cancellation of the door's own, not an operation of its user.
    cancellation: bool,
    zero_copy: bool,
    timeout: bool,
    /// Its latest completion with more to come: for a zero-copy send, the result. Only a notification is to come then.
    report: Option<Cqe>,
    /// Where it takes provided buffers from.
    source: Option<Source>,
}

/// The table of live operations.
pub(crate) struct Tokens<T> {
    slots: Vec<Slot<T>>,
    /// The slot that is taken next. The free ones are a list, whose end is the slot that does not exist yet.
    free: u32,
    operations: usize,
    cancellations: usize,
    /// By slot, and only as long as the latest slot that needed one.
    extras: Vec<Extra>,
    /// Completions that are known to be in the queue.
    left: u32,
    /// What the latest completion delivered.
    delivered: Option<Result<Delivery, BadBuffer>>,
}

/// What is next in the queue, for a door.
pub(crate) enum Next<T> {
    /// The end of a usual operation, which is no longer live: the kernel is done with what it names. It is taken.
    End(Cqe, T),
    /// No completion.
    Nothing,
    /// Something else.
    Other,
}

/// What a completion is to the door that met it.
pub(crate) enum Met<T> {
    /// Somebody else's.
    Foreign,
    /// The door's own business; nobody needs to see it.
    Internal,
    /// One of an operation's, and not the last.
    More(T),
    /// An operation's last: it is no longer live, and the kernel is done with what it names. With it comes the latest one
    /// before.
    Last(T, Option<Cqe>),
}

impl<T: Copy + Default> Tokens<T> {
    pub(crate) fn new() -> Self {
        Tokens {
            slots: Vec::new(),
            free: 0,
            operations: 0,
            cancellations: 0,
            extras: Vec::new(),
            left: 0,
            delivered: None,
        }
    }

    /// Operations that are live.
    pub(crate) fn live(&self) -> usize {
        self.operations
    }

    /// The slot that the next operation will get, with the value that was in it; `None` when no number is left.
    #[inline(always)]
    pub(crate) fn next_slot(&mut self) -> Option<(u32, T)> {
        match self.slots.get(self.free as usize) {
            Some(place) => Some((self.free, place.value)),
            None => self.grow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Option<(u32, T)> {
        if self.slots.len() > UserData::MAX_SLOT as usize {
            return None;
        }
        let end = self.slots.len() as u64 + 1;
        self.slots.push(Slot { key: FREE, at: end, value: T::default() });
        Some((self.free, T::default()))
    }

    /// Pushes an entry under a key of ours and makes its operation live, in the slot that
    /// [`next_slot`](Self::next_slot) named.
    ///
    /// # Safety
    ///
    /// Everything that the entry names stays valid, and un-aliased as its reference demands, until the operation is no
    /// longer live: [`next_end`](Self::next_end) gave it, [`meet`](Self::meet) said [`Met::Last`], or
    /// [`retract`](Self::retract) gave its value back. The entry itself goes to no ring if this was not refused.
    #[inline(always)]
    pub(crate) unsafe fn push<E: Entry>(
        &mut self,
        ring: &mut Ring,
        slot: u32,
        value: T,
        entry: &E,
    ) -> Result<UserData, Reason> {
        if entry.bytes().flags & sys::IOSQE_CQE_SKIP_SUCCESS != 0 {
            return Err(Reason::SkipSuccess);
        }
        let opcode = entry.bytes().opcode;
        let (zero_copy, timeout) = (op::notifies(opcode), op::is_timeout(opcode));
        let source = ring.groups.source(entry.bytes())?;
        let key = ring.keys.key(slot);
        // SAFETY: the caller's promise covers clauses 1 and 2, and the entry itself. The reserved key of clause 3 is this
        // table's own.
        unsafe { entry.put_as(key, &mut ring.submit) }?;
        // Not before: with keys that nobody gets, they could go round while a late notification with one is in the queue.
        ring.keys.advance();
        self.occupy(ring, slot, key, value);
        if zero_copy || timeout || source.is_some() {
            self.note(slot, Extra { zero_copy, timeout, source, ..Extra::default() });
        }
        self.operations += 1;
        Ok(key)
    }

    /// Takes the first free slot for the entry that was just pushed with this key.
    #[inline(always)]
    fn occupy(&mut self, ring: &Ring, slot: u32, key: UserData, value: T) {
        let at = ring.mark();
        let place = &mut self.slots[slot as usize];
        self.free = place.at as u32;
        *place = Slot { key, at, value };
    }

    /// Frees a slot.
    #[inline(always)]
    fn vacate(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        (place.key, place.at) = (FREE, self.free.into());
        self.free = slot;
    }

    /// Says that there is more to know of what is in a slot.
    #[cold]
    #[inline(never)]
    fn note(&mut self, slot: u32, extra: Extra) {
        let place = &mut self.slots[slot as usize];
        if place.key.lower() == slot {
            place.key = place.key.twin();
        }
        if self.extras.len() <= slot as usize {
            self.extras.resize(slot as usize + 1, Extra::default());
        }
        self.extras[slot as usize] = extra;
    }

    /// The key of what is in a slot, and what there is to know of it; `None` if it is free.
    fn occupant(&self, slot: u32) -> Option<(UserData, Extra)> {
        let key = self.slots.get(slot as usize)?.key;
        if key == FREE {
            None
        } else if key.lower() == slot {
            Some((key, Extra::default()))
        } else {
            Some((key.twin(), self.extras[slot as usize]))
        }
    }

    /// Whether this key is that of a live operation.
    pub(crate) fn is_live(&self, key: UserData) -> bool {
        let occupant = key.slot().and_then(|slot| self.occupant(slot));
        occupant.is_some_and(|(of, extra)| of == key && !extra.cancellation)
    }

    /// Takes the next completion from the queue.
    ///
    /// # Safety
    ///
    /// Where others have consumed completions since the latest one, [`look_again`](Self::look_again) was called.
    #[inline(always)]
    pub(crate) unsafe fn pop(&mut self, ring: &mut Ring) -> Option<Cqe> {
        self.forget_delivered();
        // SAFETY: `left` is what the queue left in it, or 0 after others came to the queue.
        unsafe { ring.pop(&mut self.left) }
    }

    /// To be called before others than this table may consume completions: gives back to the kernel what was popped, and
    /// forgets how many are left.
    #[inline(always)]
    pub(crate) fn look_again(&mut self, ring: &mut Ring) {
        self.left = 0;
        ring.cq.publish();
    }

    /// What the latest completion delivered, once.
    pub(crate) fn take_delivered(&mut self) -> Option<Result<Delivery, BadBuffer>> {
        self.delivered.take()
    }

    /// What nobody asked for goes back to its group.
    #[inline(always)]
    pub(crate) fn forget_delivered(&mut self) {
        if self.delivered.is_some() {
            self.delivered = None;
        }
    }

    /// Takes the next completion from the queue if it is the end of a usual operation. Whatever else is there stays, for
    /// [`pop`](Self::pop) and [`meet`](Self::meet).
    ///
    /// # Safety
    ///
    /// As for [`pop`](Self::pop).
    #[inline(always)]
    pub(crate) unsafe fn next_end(&mut self, ring: &mut Ring) -> Next<T> {
        if self.delivered.is_some() || !ring.cq.is_narrow() {
            return Next::Other;
        }
        // SAFETY: as in `pop`.
        let Some(cqe) = (unsafe { ring.cq.front(&mut self.left) }) else {
            ring.cq.publish();
            return Next::Nothing;
        };
        let key = cqe.user_data();
        if cqe.raw_flags() & (sys::IORING_CQE_F_MORE | sys::IORING_CQE_F_NOTIF) != 0 {
            return Next::Other;
        }
        let Some(place) = self.slots.get_mut(key.lower() as usize).filter(|place| place.key == key) else {
            return Next::Other;
        };
        let value = place.value;
        (place.key, place.at) = (FREE, self.free.into());
        self.free = key.lower();
        self.operations -= 1;
        ring.cq.consume(&mut self.left);
        Next::End(cqe, value)
    }

    /// Sorts the completion that was just popped. What it brought in provided buffers is there to be
    /// [taken](Self::take_delivered) then: nothing if it names no buffer, or one of a group that was not registered when its
    /// operation was pushed.
    pub(crate) fn meet(&mut self, ring: &Ring, cqe: &Cqe) -> Met<T> {
        let Some(slot) = cqe.user_data().slot() else { return Met::Foreign };
        let Some((_, extra)) = self.occupant(slot).filter(|(key, _)| *key == cqe.user_data()) else {
            return unclaimed(cqe);
        };
        let value = self.slots[slot as usize].value;
        if let Some(source) = extra.source.filter(|_| cqe.buffer_id().is_some()) {
            // SAFETY: the key is a live operation's, and nobody else has it: the completion belongs to the entry that was
            // pushed with this source, and the callers hand in each that they reap, once and in order.
            self.delivered = unsafe { ring.groups.take(cqe, source) };
        }
        if cqe.more() {
            self.note(slot, Extra { report: Some(*cqe), ..extra });
            return if extra.cancellation { Met::Internal } else { Met::More(value) };
        }
        self.vacate(slot);
        if extra.cancellation {
            self.cancellations -= 1;
            return Met::Internal;
        }
        self.operations -= 1;
        Met::Last(value, extra.report)
    }

    /// Takes back the entries that the kernel cannot have seen, of those pushed since `mark`. Their operations never
    /// happen; `each` gets their values.
    pub(crate) fn retract(&mut self, ring: &mut Ring, mark: u64, mut each: impl FnMut(T)) {
        let next = ring.mark();
        let taken = ring.retract(mark);
        if taken == 0 {
            // Seen, or perhaps seen: where the kernel cannot be believed now, it may be later.
            return;
        }
        for slot in 0..self.slots.len() as u32 {
            let Slot { key: _, at, value } = self.slots[slot as usize];
            let Some((_, extra)) = self.occupant(slot) else { continue };
            if next.wrapping_sub(at) >= u64::from(taken) {
                continue;
            }
            self.vacate(slot);
            if extra.cancellation {
                // It will not run, so nothing is to come of it.
                self.cancellations -= 1;
            } else {
                self.operations -= 1;
                each(value);
            }
        }
    }

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
    fn quarry(&self) -> Vec<UserData> {
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

/// What a completion with a reserved key is to whom it tells nothing.
///
/// A zero-copy send that is cancelled because an entry it is linked to failed ends without `MORE`, and yet a
/// notification comes (seen with Linux 6.18). Nothing was sent, so nothing waits for it; and nobody who is handed it
/// could make anything of its key.
#[cold]
fn unclaimed<T>(cqe: &Cqe) -> Met<T> {
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
            let (slot, _) = tokens.next_slot().expect("a number");
            // SAFETY: a NOP names nothing.
            unsafe { tokens.push(ring, slot, value, &Sqe::from(Nop::new())) }.expect("room")
        };
        let first = push(&mut tokens, &mut ring, "first");
        let meet = |tokens: &mut Tokens<&'static str>, key| tokens.meet(&ring, &ended(key));
        assert!(matches!(meet(&mut tokens, UserData(0)), Met::Foreign));
        assert!(matches!(meet(&mut tokens, UserData::token(1, 0)), Met::Foreign), "no such slot");
        assert!(matches!(meet(&mut tokens, UserData::token(0, 1)), Met::Foreign), "another generation");
        for free in [UserData(u64::MAX), FREE, FREE.twin()] {
            assert!(matches!(meet(&mut tokens, free), Met::Foreign), "what stands for no operation");
        }
        let more = Cqe::new(first, 3, CqeFlags::MORE);
        assert!(matches!(tokens.meet(&ring, &more), Met::More("first")));
        assert_eq!((tokens.live(), tokens.is_live(first)), (1, true));
        assert!(matches!(meet(&mut tokens, first.twin()), Met::Foreign), "what stands for an operation with a report");
        assert!(matches!(meet(&mut tokens, first), Met::Last("first", Some(report)) if report == more));
        assert_eq!((tokens.live(), tokens.is_live(first)), (0, false));
        assert!(matches!(meet(&mut tokens, first), Met::Foreign), "a second end is nobody's");
        let second = push(&mut tokens, &mut ring, "second");
        assert_eq!(second.slot(), first.slot(), "the slot is used again");
        assert!(tokens.is_live(second) && !tokens.is_live(first));
        let meet = |tokens: &mut Tokens<&'static str>, key| tokens.meet(&ring, &ended(key));
        assert!(matches!(meet(&mut tokens, first), Met::Foreign), "the old key is not the new one");
        assert!(matches!(meet(&mut tokens, second), Met::Last("second", None)), "nor has it the old one's report");
    }

    #[test]
    fn slots_are_used_again_before_there_are_more() {
        let mut ring = Ring::new(8).expect("a ring");
        let mut tokens = Tokens::new();
        for round in 0..5_u32 {
            let push = |value| {
                let (slot, _) = tokens.next_slot().expect("a number");
                // SAFETY: a NOP names nothing.
                unsafe { tokens.push(&mut ring, slot, value, &Sqe::from(Nop::new())) }.expect("room")
            };
            let keys = [round, 1, 2].map(push);
            assert_eq!((tokens.live(), tokens.slots.len()), (3, 3));
            for key in [keys[round as usize % 3], keys[(round as usize + 2) % 3], keys[(round as usize + 1) % 3]] {
                assert!(matches!(tokens.meet(&ring, &ended(key)), Met::Last(..)));
            }
            ring.submit_and_wait(3).expect("submitted");
            ring.completions().for_each(drop);
        }
    }

    #[test]
    fn what_is_cancelled_comes_in_the_order_in_which_the_kernel_finds_it() {
        let mut ring = Ring::new(8).expect("a ring");
        let mut tokens = Tokens::new();
        let endless = crate::operand::Timespec::from(Duration::from_secs(1000));
        let mut push = |tokens: &mut Tokens<()>, entry: &Sqe<'_>| {
            let (slot, ()) = tokens.next_slot().expect("a number");
            // SAFETY: nothing is submitted.
            unsafe { tokens.push(&mut ring, slot, (), entry) }.expect("room")
        };
        let (file, timeout) = (Sqe::from(Nop::new()), Sqe::from(op::Timeout::new(&endless)));
        let [a, b, c, d, e] = [&file, &timeout, &file, &timeout, &file].map(|entry| push(&mut tokens, entry));
        tokens.vacate(a.lower());
        let f = push(&mut tokens, &file);
        assert_eq!(f.slot(), a.slot(), "the slot is used again");
        assert_eq!(tokens.quarry(), [b, d, f, e, c], "timeouts from the oldest on, the others from the latest on");
    }

    #[test]
    fn what_is_refused_uses_up_no_key() {
        let mut ring = Ring::new(1).expect("a ring");
        let mut tokens = Tokens::new();
        let push = |tokens: &mut Tokens<()>, ring: &mut Ring| {
            let (slot, _) = tokens.next_slot().expect("a number");
            // SAFETY: a NOP names nothing.
            unsafe { tokens.push(ring, slot, (), &Sqe::from(Nop::new())) }
        };
        let first = push(&mut tokens, &mut ring).expect("room");
        let next = ring.keys.key(0);
        assert_ne!(next, first);
        assert_eq!(push(&mut tokens, &mut ring), Err(Reason::Full));
        assert_eq!(tokens.push_cancellation(&mut ring, Target::Key(first)), Err(Reason::Full));
        // Else a loop that tries would come back to a key that a completion in the queue has.
        assert_eq!(ring.keys.key(0), next);
    }

    #[test]
    fn a_cancellation_that_is_taken_back_is_not_waited_for() {
        let mut ring = Ring::new(8).expect("a ring");
        let mut tokens = Tokens::new();
        let start = ring.mark();
        let endless = crate::operand::Timespec::from(Duration::from_secs(1000));
        let (slot, _) = tokens.next_slot().expect("a number");
        // SAFETY: the time outlives the operation, which is drained below.
        let pushed = unsafe { tokens.push(&mut ring, slot, (), &Sqe::from(op::Timeout::new(&endless))) };
        let key = pushed.expect("room");
        ring.submit().expect("submitted");
        tokens.push_cancellation(&mut ring, Target::Key(key)).expect("room");
        tokens.retract(&mut ring, start, |()| panic!("the timeout was submitted"));
        assert_eq!(ring.pending(), 0, "the cancellation was not");
        tokens.drain(&mut ring, Some(Duration::from_secs(2)), |_, _| {}).expect("drained");
        assert_eq!((tokens.live(), tokens.cancellations), (0, 0));
    }
}
