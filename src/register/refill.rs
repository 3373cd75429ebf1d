//! The refill ring of zero-copy receive, as it lies in memory, and what waits for room in it.
//!
//! Who owns what, when: we write entries and the tail, the kernel writes the head. The entries in `[head, tail)` are the
//! kernel's from the moment the tail is stored until the head has passed them; all others are ours. With its entry, the
//! part of the area that it names is the kernel's again.
//!
//! The kernel may look at any time, so the tail is published with each part.

use std::collections::VecDeque;

use crate::queue::{Pos, Slots};
use crate::sync::{Ordering, Word};
use rawring_sys as sys;

/// The shared words and entries.
pub(crate) struct RefillPlaces {
    pub(crate) head: Word,
    pub(crate) tail: Word,
    pub(crate) entries: Slots<sys::io_uring_zcrx_rqe>,
}

/// Our side of a refill ring.
pub(crate) struct Refill {
    /// `None` where the kernel's is none that there can be: nothing can be given back then.
    places: Option<RefillPlaces>,
    /// Where the next entry goes.
    next: Pos,
    /// What did not fit.
    waiting: VecDeque<(u64, u32)>,
}

// SAFETY: the pointers lead into memory that belongs to no thread, and to this value's owner.
unsafe impl Send for Refill {}

impl Refill {
    /// An empty ring. The kernel's positions are at `start`, which is 0 but in models.
    pub(crate) fn new(places: Option<RefillPlaces>, start: u32) -> Self {
        Refill { places, next: Pos(start), waiting: VecDeque::new() }
    }

    /// Gives a part back, now or when there is room.
    pub(crate) fn push(&mut self, offset: u64, len: u32) {
        self.waiting.push_back((offset, len));
        self.publish();
    }

    /// Gives back what has room.
    pub(crate) fn publish(&mut self) {
        let Some(RefillPlaces { head, tail, entries }) = &self.places else { return };
        // Acquire: pairs with the kernel's store-release of the head in io_zcrx_ring_refill; without it an entry could be
        // overwritten before the kernel's reads of it are done. [loom: parts_go_back]
        let head = Pos(head.load(Ordering::Acquire));
        while self.next.since(head) < entries.len() {
            let Some((off, len)) = self.waiting.pop_front() else { break };
            let new = sys::io_uring_zcrx_rqe { off, len, ..sys::io_uring_zcrx_rqe::ZERO };
            // SAFETY: the entry is valid memory, and not the kernel's: it has read this one, and reads it again only when
            // the tail has passed it.
            entries.at(self.next).with_mut(|entry| unsafe { entry.write(new) });
            self.next = self.next.plus(1);
        }
        // Release: pairs with smp_load_acquire of the tail in zcrx_rq_entries; without it the kernel could see the tail
        // before the entry, or use a part that is still being read. [loom: parts_go_back]
        tail.store(self.next.0, Ordering::Release);
    }

    /// Parts that have no room yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}
