//! The ring of entries that the kernel takes buffers from, as it lies in memory.
//!
//! Who owns what, when: we write entries and the tail. The entries in `[head, tail)` are the kernel's from the moment the
//! tail is stored: it reads them at any time, and in incremental groups writes address and length of the one at its
//! head. All others are ours. The head is the kernel's own and nowhere in this memory.
//!
//! The tail lies in the last two bytes of entry 0, so an entry is only ever written field by field: storing all of entry
//! 0 would store a tail of 0. Tail and positions count modulo 65536, whatever the number of entries.

use crate::queue::{Pos, Slots};
use crate::sync::{HalfWord, Ordering};
use rawring_sys as sys;

/// The entries of a group, and its tail.
pub(crate) struct Queue {
    entries: Slots<sys::io_uring_buf>,
    tail: HalfWord,
    /// Where the next entry goes. Those from `published` on the kernel does not see yet.
    next: u16,
    published: u16,
}

impl Queue {
    /// An empty ring. The kernel's tail is `start`, which is 0 but in models.
    pub(crate) fn new(entries: Slots<sys::io_uring_buf>, tail: HalfWord, start: u16) -> Self {
        Queue { entries, tail, next: start, published: start }
    }

    /// Writes an entry and tells its position. The kernel sees it with the next [`publish`](Self::publish).
    ///
    /// The caller sees to it that never more entries are the kernel's than there are.
    #[inline(always)]
    pub(crate) fn add(&mut self, addr: u64, len: u32, bid: u16) -> u16 {
        let at = self.next;
        self.entries.at(Pos(at.into())).with_mut(|entry| {
            // SAFETY: the entry is valid memory, and ours until the tail is stored. The fourth field is left alone: in
            // entry 0 it is the tail.
            unsafe {
                (&raw mut (*entry).addr).write(addr);
                (&raw mut (*entry).len).write(len);
                (&raw mut (*entry).bid).write(bid);
            }
        });
        self.next = at.wrapping_add(1);
        at
    }

    /// Shows the kernel all entries added so far.
    #[inline(always)]
    pub(crate) fn publish(&mut self) {
        if self.published != self.next {
            self.published = self.next;
            // Release: pairs with smp_load_acquire of the tail in io_ring_buffer_select and io_ring_buffers_peek;
            // without it the kernel could take an entry that is not written yet, or a buffer that is still being read.
            // [loom: entries_are_written_before_the_tail, buffers_go_round]
            self.tail.store(self.next, Ordering::Release);
        }
    }

    /// Where the next entry goes.
    pub(super) fn next(&self) -> u16 {
        self.next
    }

    /// What is left of the buffer in the entry at `at`, as the kernel keeps it in incremental groups.
    pub(super) fn len_at(&self, at: u16) -> u32 {
        let field = self.entries.at(Pos(at.into())).with(|entry| {
            // SAFETY: the entry is valid memory; this computes an address.
            unsafe { &raw const (*entry).len }
        });
        // SAFETY: valid and aligned; volatile, since the kernel may write it meanwhile.
        unsafe { field.read_volatile() }
    }

    /// Where the unused part of that buffer begins.
    pub(super) fn addr_at(&self, at: u16) -> u64 {
        let field = self.entries.at(Pos(at.into())).with(|entry| {
            // SAFETY: as in `len_at`.
            unsafe { &raw const (*entry).addr }
        });
        // SAFETY: as in `len_at`.
        unsafe { field.read_volatile() }
    }

    /// Changes the length in an entry that may be the kernel's at present.
    pub(super) fn set_len_at(&mut self, at: u16, len: u32) {
        let field = self.entries.at(Pos(at.into())).with_mut(|entry| {
            // SAFETY: as in `len_at`.
            unsafe { &raw mut (*entry).len }
        });
        // SAFETY: valid and aligned; volatile, since the kernel may read it meanwhile.
        unsafe { field.write_volatile(len) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::ptr::NonNull;

    use super::*;

    /// Entries as they lie in memory: the tail in the last two bytes of the first.
    fn queue(memory: &mut [sys::io_uring_buf; 4], start: u16) -> (Queue, NonNull<sys::io_uring_buf>) {
        let first = NonNull::from(memory).cast::<sys::io_uring_buf>();
        // SAFETY: four entries, which the tests keep for as long as the queue; nothing else accesses them meanwhile but
        // through the same pointer.
        let queue = unsafe {
            let tail = NonNull::new_unchecked(&raw mut (*first.as_ptr()).resv);
            Queue::new(Slots::new(first.cast(), 3, 0), HalfWord::new(tail.cast()), start)
        };
        (queue, first)
    }

    #[test]
    fn item_19_entry_0_keeps_the_tail_and_a_batch_moves_it_once() {
        let empty = sys::io_uring_buf { addr: 0, len: 0, bid: 0, resv: 0xabcd };
        let mut memory = [empty; 4];
        let (mut queue, first) = queue(&mut memory, 65_533);
        // SAFETY: valid memory, and no reference to it is in use.
        let entry = |at: usize| unsafe { first.add(at).read() };
        for bid in 0..4 {
            let at = queue.add(100 + u64::from(bid), 8, bid);
            assert_eq!(at, 65_533_u16.wrapping_add(bid));
            assert_eq!(entry(0).resv, 0xabcd, "the tail is stored with the batch, and never with an entry");
        }
        queue.publish();
        assert_eq!(entry(0).resv, 1, "65,537 counts as 1");
        // Position 65,533 is entry 1.
        assert_eq!([0, 1, 2, 3].map(|at| entry(at).bid), [3, 0, 1, 2]);
        assert_eq!([0, 1, 2, 3].map(|at| entry(at).addr), [103, 100, 101, 102]);
        assert!((1..4).all(|at| entry(at).resv == 0xabcd), "nobody's");
        queue.set_len_at(0, 5);
        assert_eq!((queue.len_at(0), queue.addr_at(0), entry(0).resv), (5, 103, 1));
    }
}
