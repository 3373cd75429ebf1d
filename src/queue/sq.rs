//! The submission queue: entries in, a planned system call out. Who owns what is said in [`super`].

use super::{Pos, Slots};
use crate::sqe::RawSqe;
use crate::sync::{Ordering, UnsafeCell, Word, fence};
use crate::user_data::UserData;
use rawring_sys as sys;

/// How the submission queue of a ring behaves; fixed when the ring is made.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Mode {
    /// A kernel thread takes entries (`SQPOLL`).
    pub(crate) polled: bool,
    /// Completions must be fetched by entering (`IOPOLL` without a polling thread, `DEFER_TASKRUN` without its flag).
    pub(crate) fetch: bool,
    /// 128-byte entries take two slots (`SQE_MIXED`).
    pub(crate) mixed: bool,
    /// Entries are taken from index 0 by count; head and tail are not used (`SQ_REWIND`).
    pub(crate) rewind: bool,
}

/// The call to `io_uring_enter` that the state of the queues asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Enter {
    pub(crate) to_submit: u32,
    pub(crate) min_complete: u32,
    pub(crate) flags: u32,
}

/// Why an entry could not be put into the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoSlot {
    /// There is no room until entries are submitted.
    Full,
    /// This ring has no entries of 128 bytes.
    NotWide,
}

/// The submission queue.
pub(crate) struct Sq {
    head: Word,
    tail: Word,
    flags: Word,
    dropped: Word,
    slots: Slots<RawSqe>,
    /// How many of the slots may be taken: all, but none between a resize and the mapping of the new memory.
    limit: u32,
    /// Slots that were found free and have not been taken since; there may be more. While this lasts, pushing looks at no
    /// word that the kernel writes. Always 0 where slots have two units, of which pushing writes one.
    free: i32,
    mode: Mode,
    /// Where the next entry goes, ahead of the tail that the kernel sees until `publish`. The words have the lower half
    /// of it; the whole does not wrap, so that an entry from long ago is not taken for a late one.
    next: u64,
    /// The tail that the kernel sees.
    published: Pos,
    /// Where entries of two slots end that are not published yet, in a mixed ring.
    wide_ends: Vec<Pos>,
    /// How far entries have moved to the front, all told, in a queue that rewinds. Positions that are handed out count
    /// it in, so that an entry keeps its own when it moves.
    moved: u64,
}

/// The shared words of a submission queue.
pub(crate) struct SqWords {
    pub(crate) head: Word,
    pub(crate) tail: Word,
    pub(crate) flags: Word,
    pub(crate) dropped: Word,
}

impl SqWords {
    /// As a queue of this mode uses them. One that rewinds begins at 0 each time, whatever is in the word.
    fn of(self, mode: Mode) -> Self {
        if mode.rewind { SqWords { head: Word::zero(), ..self } } else { self }
    }
}

impl Sq {
    pub(crate) fn new(words: SqWords, slots: Slots<RawSqe>, mode: Mode) -> Self {
        let SqWords { head, tail, flags, dropped } = words.of(mode);
        // Relaxed: nobody else writes our tail.
        let start = if mode.rewind { Pos(0) } else { Pos(tail.load(Ordering::Relaxed)) };
        let limit = slots.len();
        let (next, published) = (start.0.into(), start);
        Sq { head, tail, flags, dropped, slots, limit, free: 0, mode, next, published, wide_ends: Vec::new(), moved: 0 }
    }

    /// Takes no more entries until it [moves](Self::move_to).
    pub(crate) fn close(&mut self) {
        (self.limit, self.free) = (0, 0);
    }

    /// Whether what is queued can go on in a queue of `entries` slots: all of it fits, and no entry of two slots would
    /// be cut by the end. Some kernels do not look for the latter.
    pub(crate) fn fits(&self, entries: u32) -> bool {
        let waiting = self.len();
        let first = Pos(self.at().0.wrapping_sub(waiting));
        let cut = |at: Pos| {
            // SAFETY: slots between head and tail are not written by the kernel, so they may be read while they are
            // not written by us either.
            let opcode = self.slots.at(at).with(|slot| unsafe { (*slot).opcode });
            let last = at.0 & (entries - 1) == entries - 1;
            last && matches!(opcode, sys::IORING_OP_NOP128 | sys::IORING_OP_URING_CMD128)
        };
        waiting <= entries && !(self.mode.mixed && (0..waiting).any(|n| cut(first.plus(n))))
    }

    /// Goes on in other memory, in which the kernel has published as much as in this. The caller has checked that what is
    /// queued [fits](Self::fits). `spurious` are flags that the kernel sets there and does not clear.
    ///
    /// All entries are copied here: some the kernel has not seen, and not every kernel copies the others to the slots of
    /// their positions.
    pub(crate) fn move_to(&mut self, words: SqWords, slots: Slots<RawSqe>, spurious: u32) {
        let waiting = self.len();
        let first = Pos(self.at().0.wrapping_sub(waiting));
        for at in (0..waiting).map(|n| first.plus(n)) {
            for (from, to) in self.slots.units(at).zip(slots.units(at)) {
                // SAFETY: the kernel takes entries from the other memory only, so nobody writes this one.
                let unit = from.with(|unit| unsafe { unit.read() });
                // SAFETY: the kernel looks at what it has not taken only when it is entered, which we do not do here.
                to.with_mut(|to| unsafe { to.write(unit) });
            }
        }
        let SqWords { head, tail, flags, dropped } = words.of(self.mode);
        self.slots = slots;
        (self.head, self.tail, self.flags, self.dropped) = (head, tail, flags, dropped);
        (self.limit, self.free) = (self.slots.len(), 0);
        // What was taken back since the kernel looked is not in the queue there either.
        self.expose();
        self.flags.clear(spurious);
    }

    /// The kernel's head, never a cached one: after a short submit it lags behind what was published.
    #[inline(always)]
    fn head(&self) -> Pos {
        // Acquire: pairs with the kernel's store-release of the head in io_commit_sqring; without it a slot could be
        // overwritten before a polling thread's reads of it are done. [loom: entries_are_handed_over]
        Pos(self.head.load(Ordering::Acquire))
    }

    /// Slots that are taken: pushed and not yet taken by the kernel. All of them where the head cannot be right.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.at().since(self.head()).min(self.capacity())
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.slots.len()
    }

    /// Slots that are free.
    #[inline(always)]
    pub(crate) fn room(&self) -> u32 {
        self.limit.saturating_sub(self.len())
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.slots.shift == 1 || self.mode.mixed
    }

    /// Entries that the kernel counted as invalid indices; always 0 without the index array.
    pub(crate) fn dropped(&self) -> u32 {
        // Relaxed: a statistic that orders nothing.
        self.dropped.load(Ordering::Relaxed)
    }

    /// The flags word as it is now.
    #[inline(always)]
    pub(crate) fn flags(&self) -> u32 {
        // Relaxed: the bits are hints to enter; entering synchronises whatever they announce. The fence that
        // NEED_WAKEUP needs is in `plan`.
        self.flags.load(Ordering::Relaxed)
    }

    /// Puts a 64-byte entry into the next slot.
    #[inline(always)]
    pub(crate) fn push(&mut self, sqe: &RawSqe) -> Result<(), NoSlot> {
        self.free -= 1;
        let slot = if self.free >= 0 { self.slots.narrow(self.at()) } else { self.find_slot().ok_or(NoSlot::Full)? };
        // SAFETY: the slot was found free, so it is ours until published.
        slot.with_mut(|slot| unsafe { slot.write(*sqe) });
        self.next += 1;
        Ok(())
    }

    /// Looks how far the kernel is. Gives the next slot if it is free, all of it but the first unit zeroed.
    #[cold]
    #[inline(never)]
    fn find_slot(&mut self) -> Option<&UnsafeCell<RawSqe>> {
        self.free = 0;
        let room = self.room();
        if room == 0 {
            return None;
        }
        self.write_second(&[0; 64]);
        if self.slots.shift == 0 {
            self.free = (room - 1) as i32;
        }
        Some(self.slots.at(self.at()))
    }

    /// Puts a 128-byte entry into the next slot, or the next two in a mixed ring.
    pub(crate) fn push_wide(&mut self, first: &RawSqe, second: &[u8; 64]) -> Result<(), NoSlot> {
        if self.slots.shift == 1 {
            if self.room() == 0 {
                return Err(NoSlot::Full);
            }
            self.write(first);
            self.write_second(second);
            self.next += 1;
            return Ok(());
        }
        if !self.mode.mixed {
            return Err(NoSlot::NotWide);
        }
        // Both halves have to be neighbours. At the last slot a filler that completes silently moves them to the first;
        // where entries are always taken from index 0 there is no room for that.
        let at_end = self.at().0 & self.slots.mask == self.slots.mask;
        let slots = if at_end { 3 } else { 2 };
        if self.room() < slots {
            return Err(NoSlot::Full);
        }
        self.free = (self.room() - slots) as i32;
        if at_end {
            let filler = self.filler();
            self.write(&filler);
            self.next += 1;
        }
        self.write(first);
        self.next += 1;
        self.write(&RawSqe::from_bytes(*second));
        self.next += 1;
        self.wide_ends.push(self.at());
        Ok(())
    }

    /// A `NOP` that posts nothing. If the entry before it is linked to what follows, so is the filler: otherwise the
    /// chain would end in it.
    fn filler(&self) -> RawSqe {
        let mut nop = RawSqe::ZERO;
        nop.opcode = sys::IORING_OP_NOP;
        nop.user_data = UserData::FILLER.0;
        nop.flags = sys::IOSQE_CQE_SKIP_SUCCESS;
        if self.at() != self.published {
            let slots = if self.wide_ends.last() == Some(&self.at()) { 2 } else { 1 };
            let before = Pos(self.at().0.wrapping_sub(slots));
            // SAFETY: the entry before `next` is ours: it is not published yet.
            let flags = self.slots.at(before).with(|slot| unsafe { (*slot).flags });
            nop.flags |= flags & (sys::IOSQE_IO_LINK | sys::IOSQE_IO_HARDLINK);
        }
        nop
    }

    #[inline(always)]
    fn write(&mut self, sqe: &RawSqe) {
        // SAFETY: the callers have checked that the slot is free, so it is ours until published.
        self.slots.at(self.at()).with_mut(|slot| unsafe { slot.write(*sqe) });
    }

    /// Writes the other half of a slot, where slots have one.
    #[inline(always)]
    fn write_second(&mut self, second: &[u8; 64]) {
        if let Some(unit) = self.slots.second(self.at()) {
            // SAFETY: as in `write`: it belongs to the same slot.
            unit.with_mut(|unit| unsafe { unit.write(RawSqe::from_bytes(*second)) });
        }
    }

    /// Takes back what the kernel cannot have seen, down to `floor` entries pushed since `from`; tells how many.
    ///
    /// Without a polling thread the kernel reads the tail only inside our own enter, so published entries that it
    /// did not take can be taken back as well.
    pub(crate) fn retract(&mut self, from: u64) -> u32 {
        let from = Pos(from.wrapping_sub(self.moved) as u32);
        let bottom = if self.mode.polled { self.published } else { self.head() };
        if self.at().since(bottom) > self.capacity() {
            // A head that was never given to the kernel. Whatever that means, it does not mean that entries are unseen.
            return 0;
        }
        // The later of the two positions; both are at most a queue's length behind `next`.
        let keep = if self.at().since(bottom) < self.at().since(from) { bottom } else { from };
        let taken = self.at().since(keep);
        let published = self.at().since(self.published) < taken;
        let at = self.at();
        self.wide_ends.retain(|end| at.since(*end) >= taken);
        (self.next, self.free) = (self.next.wrapping_sub(taken.into()), 0);
        if published {
            self.store_tail();
        }
        taken
    }

    /// The position of the next entry. No other entry has it unless this one is taken back.
    #[inline(always)]
    pub(crate) fn next(&self) -> u64 {
        self.next.wrapping_add(self.moved)
    }

    /// Where that is among the slots.
    #[inline(always)]
    fn at(&self) -> Pos {
        Pos(self.next as u32)
    }

    #[inline(always)]
    fn store_tail(&mut self) {
        self.published = self.at();
        if self.mode.mixed {
            self.wide_ends.clear();
        }
        self.expose();
    }

    /// Shows the kernel how far entries are published.
    #[inline(always)]
    fn expose(&self) {
        if !self.mode.rewind {
            self.expose_always();
        }
    }

    #[inline(always)]
    fn expose_always(&self) {
        // Release: pairs with the kernel's load-acquire of the tail in io_sqring_entries; without it a polling thread
        // could read a slot before the entry is in it. [loom: entries_are_handed_over,
        // a_buffer_is_handed_over_and_back]
        self.tail.store(self.published.0, Ordering::Release);
    }

    /// Publishes all entries and says which call is needed: none if nothing waits to be submitted, the polling thread is
    /// awake, `want` completions need not be waited for, and the flags do not ask for a visit.
    #[inline(always)]
    pub(crate) fn plan(&mut self, want: u32, extra: u32) -> Option<Enter> {
        let fresh = self.at() != self.published;
        if fresh {
            self.store_tail();
        }
        let pending = self.len();
        let mut flags = extra;
        let word;
        if self.mode.polled {
            // SeqCst: pairs with the kernel's smp_mb__after_atomic after it sets NEED_WAKEUP in io_sq_thread; without
            // it our load of the flags may pass our store of the tail (store buffer, x86 too): the thread sees no
            // entry, we see no NEED_WAKEUP, and the entry waits for ever.
            // [loom: a_thread_that_falls_asleep_strands_no_entry, waiting_for_room_wakes_the_thread_that_makes_it]
            fence(Ordering::SeqCst);
            word = self.flags();
            if word & sys::IORING_SQ_NEED_WAKEUP != 0 {
                flags |= sys::IORING_ENTER_SQ_WAKEUP;
            }
        } else {
            word = self.flags();
        }
        // Completions that did not fit, or that wait to be posted by our own task, move only on such a call.
        if want > 0 || word & (sys::IORING_SQ_CQ_OVERFLOW | sys::IORING_SQ_TASKRUN) != 0 {
            flags |= sys::IORING_ENTER_GETEVENTS;
        }
        let submit = pending > 0 && !self.mode.polled;
        if !submit && flags == 0 {
            return None;
        }
        Some(Enter { to_submit: pending, min_complete: want, flags })
    }

    /// Whether the queue is of the kind that [`publish_straight`](Self::publish_straight) is for: entries of any size
    /// of slot, which the kernel takes in our own enter, by position.
    pub(crate) fn is_straight(&self) -> bool {
        let Mode { polled, fetch: _, mixed, rewind } = self.mode;
        !(polled || mixed || rewind)
    }

    /// What [`plan`](Self::plan) does before a wait in the usual kind of queue: publishes all entries, and tells how many
    /// there are (more than there can be, if the head is not right: the kernel takes no more than there are). No flag is
    /// to be looked at, since waiting brings in whatever they would announce.
    #[inline(always)]
    pub(crate) fn publish_straight(&mut self) -> u32 {
        self.published = self.at();
        self.expose_always();
        self.at().since(self.head())
    }

    /// Whether completions may exist that only an enter brings into the queue.
    #[inline(always)]
    pub(crate) fn asks_for_visit(&self) -> bool {
        self.mode.fetch || self.flags() & (sys::IORING_SQ_CQ_OVERFLOW | sys::IORING_SQ_TASKRUN) != 0
    }

    /// Records that the kernel took `taken` entries. Only rings that rewind need it: what is left moves to the front.
    #[inline(always)]
    pub(crate) fn taken(&mut self, taken: u32) {
        if self.mode.rewind {
            self.rewind(taken);
        }
    }

    fn rewind(&mut self, taken: u32) {
        let taken = taken.min(self.at().0);
        let left = self.at().0 - taken;
        for slot in 0..left {
            for (from, to) in self.slots.units(Pos(taken + slot)).zip(self.slots.units(Pos(slot))) {
                // SAFETY: both belong to slots that were pushed. The kernel reads them only inside our enter, which has
                // returned.
                let unit = from.with(|unit| unsafe { unit.read() });
                // SAFETY: as above.
                to.with_mut(|to| unsafe { to.write(unit) });
            }
        }
        self.moved += u64::from(taken);
        (self.next, self.free) = (left.into(), 0);
        self.published = Pos(0);
    }
}
