//! Who has which buffer. No memory, no kernel: numbers in, decisions out, so that any nonsense can be thrown at it.
//!
//! A buffer is *idle* (ours, unused), *lent* (the kernel's, since its entry was added to the ring), or *leased* (a
//! completion delivered bytes in it, and somebody reads them). In an incremental group it can be lent and leased at
//! once: the kernel goes on behind the bytes that it has delivered. Invariant: no byte is delivered twice between two
//! times that its buffer was idle, and a buffer that was used up is idle again once nobody reads in it.
//!
//! The order in which buffers were lent is kept as a chain from each to the next, which is how the kernel takes several
//! at once. Ids say nothing about it, and neither do places in the ring, which other buffers have taken by then.

use super::{BadBuffer, Pick};

/// No buffer: there are at most 32768.
const NONE: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Slot {
    /// What was lent after it; of an idle buffer, the idle one below it.
    next: u16,
    /// The position of its entry, if it is lent.
    at: u16,
    lent: bool,
    /// How many bytes of it are lent, or were last.
    len: u32,
    /// Leases of bytes in it.
    leases: u32,
    /// Bytes that were delivered already.
    used: u32,
}

/// The buffers of a group.
pub(super) struct Ledger {
    slots: Box<[Slot]>,
    size: u32,
    /// In an incremental group, how many bytes must be left for a buffer not to be used up.
    least: Option<u32>,
    idle: u16,
    /// Of those that are lent, the first and the last.
    oldest: u16,
    newest: u16,
    lent: u32,
}

/// What a completion delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    /// The first buffer, where in it the bytes begin, and how many there are, in how many buffers.
    pub(super) first: u16,
    pub(super) start: u32,
    pub(super) bytes: u32,
    pub(super) buffers: u16,
}

impl Ledger {
    /// `count` idle buffers of `size` bytes, which come out in the order of their ids.
    pub(super) fn new(count: u16, size: u32, least: Option<u32>) -> Self {
        let slot = |id: u16| {
            let next = if id + 1 == count { NONE } else { id + 1 };
            Slot { next, at: 0, lent: false, len: 0, leases: 0, used: 0 }
        };
        let slots = (0..count).map(slot).collect();
        Ledger { slots, size, least, idle: 0, oldest: NONE, newest: NONE, lent: 0 }
    }

    /// Buffers that the kernel has, as far as completions told.
    pub(super) fn lent(&self) -> u32 {
        self.lent
    }

    pub(super) fn count(&self) -> u16 {
        self.slots.len() as u16
    }

    /// The position of a buffer's entry, if it is lent.
    pub(super) fn position(&self, id: u16) -> Option<u16> {
        self.slots.get(usize::from(id)).filter(|slot| slot.lent).map(|slot| slot.at)
    }

    /// Lends all of an idle buffer at the ring's position `at`. Positions follow one another.
    pub(super) fn lend(&mut self, at: u16) -> Option<u16> {
        let id = self.reserve()?;
        self.lend_reserved(id, at, self.size);
        Some(id)
    }

    /// Takes an idle buffer, as if somebody had a lease on it.
    pub(super) fn reserve(&mut self) -> Option<u16> {
        let id = self.idle;
        let slot = self.slots.get_mut(usize::from(id))?;
        self.idle = slot.next;
        slot.leases = 1;
        Some(id)
    }

    /// Lends the first `len` bytes of a buffer that was reserved.
    pub(super) fn lend_reserved(&mut self, id: u16, at: u16, len: u32) {
        let slot = &mut self.slots[usize::from(id)];
        *slot = Slot { next: NONE, at, lent: true, len, leases: 0, used: 0 };
        if self.lent == 0 {
            self.oldest = id;
        } else if let Some(before) = self.slots.get_mut(usize::from(self.newest)).filter(|before| before.lent) {
            before.next = id;
        }
        self.newest = id;
        self.lent += 1;
    }

    /// How many bytes of a buffer are lent, or were last.
    pub(super) fn len_of(&self, id: u16) -> u32 {
        self.slots[usize::from(id)].len
    }

    /// What follows a buffer in the order in which they were lent.
    pub(super) fn after(&self, id: u16) -> u16 {
        self.slots[usize::from(id)].next
    }

    /// Ends a lease. A buffer that nobody uses any more is idle.
    pub(super) fn release(&mut self, id: u16) {
        let slot = &mut self.slots[usize::from(id)];
        slot.leases -= 1;
        self.settle(id);
    }

    fn settle(&mut self, id: u16) {
        let slot = &mut self.slots[usize::from(id)];
        if !slot.lent && slot.leases == 0 {
            slot.next = self.idle;
            self.idle = id;
        }
    }

    /// Accounts for a completion that names buffer `id`. `emptied` tells that the kernel says so of the buffer, which
    /// counts in incremental groups only: all others use a buffer once. Each buffer delivered has one more lease.
    ///
    /// Nothing changes if it cannot be right.
    pub(super) fn take(&mut self, id: u16, res: i32, pick: Pick, emptied: bool) -> Result<Taken, BadBuffer> {
        let count = self.count();
        let slot = self.slots.get(usize::from(id)).ok_or(BadBuffer::NoSuchBuffer { id, count })?;
        if !slot.lent {
            return Err(BadBuffer::NotLent { id });
        }
        let start = slot.used;
        let said = res.max(0) as u32;
        let (bytes, buffers) = match pick {
            Pick::One if said > slot.len - start => {
                return Err(BadBuffer::TooLong { id, said, room: slot.len - start });
            }
            Pick::One => (said, 1),
            Pick::Truncating => (said.min(slot.len - start), 1),
            Pick::Bundle => (said, self.bundle(id, said)?),
        };
        if self.least.is_some() {
            self.skip_to(id)?;
        }
        let mut at = id;
        let mut left = bytes;
        for nth in 1..=buffers {
            let slot = &mut self.slots[usize::from(at)];
            let part = left.min(slot.len - slot.used);
            left -= part;
            slot.used += part;
            slot.leases += 1;
            let kept = self.least.is_some_and(|least| slot.len - slot.used >= least && nth == buffers && !emptied);
            let next = slot.next;
            if !kept {
                slot.lent = false;
                self.lent -= 1;
                // Only incremental groups go by it, and those are emptied in order.
                self.oldest = next;
            }
            at = next;
        }
        Ok(Taken { first: id, start, bytes, buffers })
    }

    /// How many buffers a bundle of so many bytes covers, one after the other as they were lent.
    fn bundle(&self, first: u16, bytes: u32) -> Result<u16, BadBuffer> {
        let mut slot = &self.slots[usize::from(first)];
        let mut room = u64::from(slot.len - slot.used);
        let mut buffers = 1;
        while room < u64::from(bytes) {
            let next = self.slots.get(usize::from(slot.next));
            // One that was lent again meanwhile is not what followed then.
            let next = next.filter(|next| next.lent && next.at == slot.at.wrapping_add(1));
            slot = next.ok_or(BadBuffer::TooLong { id: first, said: bytes, room: room as u32 })?;
            room += u64::from(slot.len - slot.used);
            buffers += 1;
        }
        Ok(buffers)
    }

    /// In an incremental group the kernel uses buffers in order: one further on means that it is done with those before,
    /// said or not.
    fn skip_to(&mut self, id: u16) -> Result<(), BadBuffer> {
        let ahead =
            |ledger: &Self, of: u16| ledger.slots[usize::from(id)].at.wrapping_sub(ledger.slots[usize::from(of)].at);
        if self.oldest == NONE || u32::from(ahead(self, self.oldest)) >= self.lent {
            return Err(BadBuffer::NotLent { id });
        }
        while self.oldest != id {
            let passed = self.oldest;
            let slot = &mut self.slots[usize::from(passed)];
            slot.lent = false;
            self.oldest = slot.next;
            self.lent -= 1;
            self.settle(passed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
