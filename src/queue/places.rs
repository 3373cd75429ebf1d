//! Where the queues of a ring lie: from the pointers of a mapping to words and slots.
//!
//! Made once for a new ring, and again when a ring was resized. The index array between queue and entries is dealt with
//! here and nowhere else: where there is one, each slot stands at its own index for good.

use core::ptr::NonNull;

use super::{CqWords, Slots, SqWords};
use crate::sqe::RawSqe;
use crate::sync::Word;
use rawring_sys as sys;

/// The words and slots of both queues.
pub(crate) struct Places {
    pub(crate) sq: SqWords,
    pub(crate) sqes: Slots<RawSqe>,
    pub(crate) cq: CqWords,
    pub(crate) cqes: Slots<sys::io_uring_cqe>,
}

impl Places {
    /// Those of this mapping, whose index array is filled.
    ///
    /// # Safety
    ///
    /// The result, and what is made of it, is used only while the map lives. It is the map of a ring from which the
    /// kernel takes no entries meanwhile.
    pub(crate) unsafe fn of(map: &sys::RingMap) -> Places {
        let p = map.pointers();
        if let Some(array) = p.sq_array {
            for index in 0..p.sq_entries {
                // SAFETY: the array has `sq_entries` elements inside the mapping, and the kernel reads them only
                // when it takes entries.
                unsafe { array.add(index as usize).write(index) };
            }
        }
        // SAFETY: the map's pointers are valid while it lives, which by the caller's promise is long enough. Kernel
        // words are 32 bits wide and accessed atomically by both sides.
        let word = |pointer: NonNull<u32>| unsafe { Word::new(pointer.cast()) };
        Places {
            sq: SqWords {
                head: word(p.sq_head),
                tail: word(p.sq_tail),
                flags: word(p.sq_flags),
                dropped: word(p.sq_dropped),
            },
            // SAFETY: as above. A cell is laid out as what it holds, and mask and shift are those of the mapping, which
            // has checked that its slots fit.
            sqes: unsafe { Slots::new(p.sqes.cast(), p.sq_ring_mask, p.sqe_shift) },
            cq: CqWords { head: word(p.cq_head), tail: word(p.cq_tail), overflow: word(p.cq_overflow) },
            // SAFETY: as for the other slots.
            cqes: unsafe { Slots::new(p.cqes.cast(), p.cq_ring_mask, p.cqe_shift) },
        }
    }
}
