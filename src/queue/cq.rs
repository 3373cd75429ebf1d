//! The completion queue: snapshots of it, and taking completions one by one. Who owns what is said in [`super`].

use std::collections::VecDeque;

use super::{Pos, Slots};
use crate::cqe::Cqe;
use crate::sync::{Ordering, Word};
use rawring_sys as sys;

/// The completion queue.
pub(crate) struct Cq {
    head: Word,
    tail: Word,
    overflow: Word,
    slots: Slots<sys::io_uring_cqe>,
    mixed: bool,
    /// There may be completions that nobody is to see: of fillers in the submission queue, which complete if the chain that
    /// they are in fails, and messages of wakers.
    hides: bool,
    /// Completions that a door met that were not its own; older than those in the queue.
    stash: VecDeque<Cqe>,
    /// What the next completions are.
    kind: Kind,
    /// Our head: everything before it was consumed.
    at: Pos,
    /// The head that the kernel sees.
    published: Pos,
}

/// The shared words of a completion queue.
pub(crate) struct CqWords {
    pub(crate) head: Word,
    pub(crate) tail: Word,
    pub(crate) overflow: Word,
}

impl Cq {
    pub(crate) fn new(words: CqWords, slots: Slots<sys::io_uring_cqe>, mixed: bool, hides: bool) -> Self {
        let CqWords { head, tail, overflow } = words;
        // Relaxed: nobody else writes our head.
        let at = Pos(head.load(Ordering::Relaxed));
        let mut cq = Cq {
            head,
            tail,
            overflow,
            slots,
            mixed,
            hides,
            stash: VecDeque::new(),
            kind: Kind::Special,
            at,
            published: at,
        };
        cq.look_again();
        cq
    }

    /// Finds out anew what the next completions are.
    fn look_again(&mut self) {
        self.kind = if self.hides || self.mixed || !self.stash.is_empty() {
            Kind::Special
        } else if self.slots.shift == 0 {
            Kind::Narrow
        } else {
            Kind::Wide
        };
    }

    /// Keeps a completion for whoever iterates next.
    pub(crate) fn keep(&mut self, cqe: Cqe) {
        self.stash.push_back(cqe);
        self.kind = Kind::Special;
    }

    /// The oldest completion that was kept.
    #[inline(always)]
    pub(crate) fn kept(&mut self) -> Option<Cqe> {
        if self.kind == Kind::Special { self.unstash() } else { None }
    }

    fn unstash(&mut self) -> Option<Cqe> {
        let kept = self.stash.pop_front();
        self.look_again();
        kept
    }

    /// Goes on in other memory, to which the kernel has moved what was in the queue, each completion at its position.
    ///
    /// They are copied once more here: some kernels (6.19 for one) copy 16 bytes for each, also where slots have 32.
    pub(crate) fn move_to(&mut self, words: CqWords, slots: Slots<sys::io_uring_cqe>) {
        for at in (0..self.ready()).map(|n| self.at.plus(n)) {
            for (from, to) in self.slots.units(at).zip(slots.units(at)) {
                // SAFETY: between head and tail the slots of both memories are ours.
                let unit = from.with(|unit| unsafe { unit.cast::<[u64; 2]>().read() });
                // SAFETY: as above.
                to.with_mut(|to| unsafe { to.cast::<[u64; 2]>().write(unit) });
            }
        }
        (self.head, self.tail, self.overflow) = (words.head, words.tail, words.overflow);
        self.slots = slots;
        // What was consumed since the kernel looked is consumed there, too.
        self.store_head();
    }

    /// The kernel's tail, and with it the entries before it.
    #[inline(always)]
    fn tail(&self) -> Pos {
        // Acquire: pairs with the kernel's store-release of the tail in io_commit_cqring; without it an entry could be
        // read before it is there. [loom: completions_are_handed_over, a_buffer_is_handed_over_and_back]
        Pos(self.tail.load(Ordering::Acquire))
    }

    /// Slots that hold completions, fillers included. None where the tail cannot be right: a reader that followed it would
    /// meet what is no completion, and would not be back at the real tail before 2^32 of those.
    #[inline(always)]
    pub(crate) fn ready(&self) -> u32 {
        let ready = self.tail().since(self.at);
        if ready > self.slots.len() { nonsense() } else { ready }
    }

    /// Whether at least this many slots are filled. A tail that cannot be right counts as well: whoever goes by this must
    /// have entered the kernel since it last did.
    #[inline(always)]
    pub(crate) fn holds(&self, slots: u32) -> bool {
        self.tail().since(self.at) >= slots
    }

    /// From now on, messages of wakers may come.
    pub(crate) fn hide(&mut self) {
        self.hides = true;
        self.look_again();
    }

    /// As [`ready`](Self::ready), without completions that nobody is to see. Those at the front are consumed.
    pub(crate) fn visible(&mut self) -> u32 {
        let mut left = self.ready();
        let (mut at, mut visible) = (self.at, 0);
        while left > 0 {
            let (cqe, slots) = self.read(at);
            let slots = slots.min(left);
            left -= slots;
            at = at.plus(slots);
            if cqe.is_some() {
                visible += slots;
            } else if visible == 0 {
                self.at = at;
            }
        }
        self.publish();
        visible
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.slots.len()
    }

    /// Completions lost for good, because the kernel had no memory to keep them.
    pub(crate) fn lost(&self) -> u32 {
        // Relaxed: a statistic that orders nothing.
        self.overflow.load(Ordering::Relaxed)
    }

    /// The completions there are now, after those that were kept; later ones belong to the next snapshot.
    #[inline(always)]
    pub(crate) fn snapshot(&mut self) -> Completions<'_> {
        let at = self.at;
        let end = at.plus(self.ready());
        Completions { kind: self.kind, at, end, cq: self }
    }

    /// Takes one completion. It counts as consumed at once; the kernel sees that with the next `publish`, which is due
    /// when this gives `None`. `left` is how many are known to be there: at 0 the tail is looked at again.
    ///
    /// # Safety
    ///
    /// `left` is 0, or what this has left in it, with nothing consumed otherwise since.
    #[inline(always)]
    pub(crate) unsafe fn pop(&mut self, left: &mut u32) -> Option<Cqe> {
        if !self.is_narrow() {
            *left = 0;
            return self.pop_special();
        }
        // SAFETY: the caller's promise.
        let cqe = unsafe { self.front(left) };
        if cqe.is_some() {
            self.consume(left);
        }
        cqe
    }

    /// Whether the next completion is the next slot, of one unit.
    #[inline(always)]
    pub(crate) fn is_narrow(&self) -> bool {
        self.kind == Kind::Narrow
    }

    /// The completion that [`pop`](Self::pop) would take, where that [is narrow](Self::is_narrow). It stays until it is
    /// [consumed](Self::consume).
    ///
    /// # Safety
    ///
    /// As for [`pop`](Self::pop).
    #[inline(always)]
    pub(crate) unsafe fn front(&mut self, left: &mut u32) -> Option<Cqe> {
        if *left == 0 {
            *left = self.ready();
            if *left == 0 {
                return None;
            }
        }
        Some(self.narrow(self.at))
    }

    /// Takes what [`front`](Self::front) has just given.
    #[inline(always)]
    pub(crate) fn consume(&mut self, left: &mut u32) {
        *left -= 1;
        self.at = self.at.plus(1);
    }

    #[inline(never)]
    fn pop_special(&mut self) -> Option<Cqe> {
        let mut left = self.ready();
        while left > 0 {
            let (cqe, slots) = self.read(self.at);
            let slots = slots.min(left);
            self.at = self.at.plus(slots);
            left -= slots;
            if cqe.is_some() {
                return cqe;
            }
        }
        None
    }

    /// Gives the slots of everything consumed back to the kernel.
    #[inline(always)]
    pub(crate) fn publish(&mut self) {
        if self.published != self.at {
            self.store_head();
        }
    }

    #[inline(always)]
    fn store_head(&mut self) {
        self.published = self.at;
        // Release: pairs with the control dependency from the kernel's load of the head to its writes of entries
        // (io_cqe_cache_refill); without it the kernel could overwrite a slot before our reads of it are done.
        // [loom: completions_are_handed_over, slots_given_back_early_were_read,
        // completions_taken_one_by_one_are_read_first]
        self.head.store(self.at.0, Ordering::Release);
    }

    /// Reads the completion at `at`, where slots have one unit.
    #[inline(always)]
    fn narrow(&self, at: Pos) -> Cqe {
        // SAFETY: the callers pass positions in [head, tail), which are ours to read.
        let sys::io_uring_cqe { user_data, res, flags, .. } = self.slots.narrow(at).with(|slot| unsafe { slot.read() });
        Cqe { user_data, res, flags, wide: false, big: [0; 2] }
    }

    /// Reads the completion at `at`, where slots have two units.
    #[inline(always)]
    fn wide(&self, at: Pos) -> Cqe {
        // SAFETY: as above.
        let sys::io_uring_cqe { user_data, res, flags, .. } = self.slots.at(at).with(|slot| unsafe { slot.read() });
        // SAFETY: the second unit belongs to the same slot, and is as long as two words.
        let big = self.slots.second(at).map(|unit| unit.with(|unit| unsafe { unit.cast::<[u64; 2]>().read() }));
        Cqe { user_data, res, flags, wide: true, big: big.unwrap_or_default() }
    }

    /// Reads the completion at `at` and tells how many slots it takes; `None` for a filler.
    fn read(&self, at: Pos) -> (Option<Cqe>, u32) {
        let cqe = if self.slots.shift == 0 { self.narrow(at) } else { self.wide(at) };
        if self.hides && cqe.user_data().is_hidden() {
            return (None, 1);
        }
        if self.mixed && cqe.flags & (sys::IORING_CQE_F_32 | sys::IORING_CQE_F_SKIP) != 0 {
            return self.read_mixed(at, cqe);
        }
        (Some(cqe), 1)
    }

    fn read_mixed(&self, at: Pos, mut cqe: Cqe) -> (Option<Cqe>, u32) {
        if cqe.flags & sys::IORING_CQE_F_SKIP != 0 {
            return (None, 1);
        }
        cqe.wide = true;
        // SAFETY: the other half of a wide completion is in the next slot, which came with the same tail. A kernel that
        // puts one into the last slot lies, and gets the first slot's bytes.
        cqe.big = self.slots.at(at.plus(1)).with(|slot| unsafe { slot.cast::<[u64; 2]>().read() });
        (Some(cqe), 2)
    }
}

/// How many completions there are by a tail that cannot be right. A function, so that asking costs a comparison.
#[cold]
#[inline(never)]
fn nonsense() -> u32 {
    0
}

/// The completions of one snapshot. Each is read from the ring when it is asked for; the head is published once, when
/// this is dropped, or earlier by [`publish`](Self::publish).
pub struct Completions<'r> {
    cq: &'r mut Cq,
    kind: Kind,
    at: Pos,
    end: Pos,
}

/// What completions are, as far as they are known to be alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One a slot, of one unit.
    Narrow,
    /// One a slot, of two units.
    Wide,
    /// Any of them may be another thing than the next slot: one that was kept, hidden, or of two slots.
    Special,
}

impl Completions<'_> {
    /// Gives the slots of all completions yielded so far back to the kernel, so that a slow handler does not make the
    /// queue overflow.
    #[inline(always)]
    pub fn publish(&mut self) {
        self.cq.at = self.at;
        self.cq.publish();
    }

    /// Looks again for completions that arrived since the snapshot.
    #[inline(always)]
    pub fn refresh(&mut self) {
        self.publish();
        self.end = self.at.plus(self.cq.ready());
    }
}

impl Cq {
    /// The next completion, which is the oldest of those that were kept, or in the queue before `end`; and what is left
    /// then. Takes and gives positions, not the iterator, which can be in registers then.
    #[inline(never)]
    fn next_special(&mut self, mut at: Pos, mut end: Pos) -> (Option<Cqe>, Pos, Pos) {
        let kept = self.unstash();
        if kept.is_some() {
            if self.stash.is_empty() {
                // Those in the queue are shown as of now: handling what was kept may have taken its time.
                end = at.plus(self.ready());
            }
            return (kept, at, end);
        }
        while at != end {
            let (cqe, slots) = self.read(at);
            at = at.plus(slots.min(end.since(at)));
            if cqe.is_some() {
                return (cqe, at, end);
            }
        }
        (None, at, end)
    }
}

impl Iterator for Completions<'_> {
    type Item = Cqe;

    #[inline(always)]
    fn next(&mut self) -> Option<Cqe> {
        if self.kind == Kind::Special {
            let cqe;
            (cqe, self.at, self.end) = self.cq.next_special(self.at, self.end);
            return cqe;
        }
        if self.at == self.end {
            return None;
        }
        let cqe = if self.kind == Kind::Wide { self.cq.wide(self.at) } else { self.cq.narrow(self.at) };
        self.at = self.at.plus(1);
        Some(cqe)
    }
}

impl Drop for Completions<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.publish();
    }
}

impl core::fmt::Debug for Completions<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Completions").field("slots_left", &self.end.since(self.at)).finish()
    }
}
