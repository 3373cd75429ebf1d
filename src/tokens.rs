//! The operations that a safe door has in flight; how it gets rid of them is in [`drain`].
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

use crate::buf_ring::{BadBuffer, Delivery, Source};
use crate::cqe::Cqe;
use crate::op;
use crate::ring::Ring;
use crate::submit::{Entry, Reason};
use crate::user_data::UserData;
use rawring_sys as sys;

mod drain;

pub(crate) use drain::Target;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::CqeFlags;
    use crate::op::Nop;
    use crate::sqe::Sqe;
    use std::time::Duration;

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
