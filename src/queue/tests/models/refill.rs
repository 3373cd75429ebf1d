//! A model of the refill ring of zero-copy receive: parts of the area go back to the kernel, by entries that it reads at
//! any time.

use core::ptr::NonNull;

use super::*;
use crate::queue::{Pos, Slots};
use crate::register::{Refill, RefillPlaces};
use crate::sync::{UnsafeCell, Word};

/// More than fit into either ring.
const PARTS: u32 = 3;

/// What both sides share, and the parts themselves.
struct Region {
    head: AtomicU32,
    tail: AtomicU32,
    entries: Box<[UnsafeCell<sys::io_uring_zcrx_rqe>]>,
    parts: [UnsafeCell<u32>; PARTS as usize],
}

// SAFETY: who may touch which cell when is what the model finds out.
unsafe impl Sync for Region {}
// SAFETY: numbers.
unsafe impl Send for Region {}

impl Region {
    fn places(&self) -> RefillPlaces {
        // SAFETY: the model keeps the region for longer than both sides use it, and there are as many entries as the mask
        // says.
        unsafe {
            RefillPlaces {
                head: Word::new(NonNull::from(&self.head)),
                tail: Word::new(NonNull::from(&self.tail)),
                entries: Slots::new(NonNull::from(&*self.entries).cast(), self.entries.len() as u32 - 1, 0),
            }
        }
    }

    /// io_zcrx_ring_refill with zcrx_rq_entries (zcrx.c): one entry, if there is one, whose part is then used again.
    fn refill(&self) -> bool {
        let head = self.head.load(Ordering::Relaxed);
        // smp_load_acquire of the tail.
        if self.tail.load(Ordering::Acquire) == head {
            return false;
        }
        // SAFETY: the entry is valid memory; the model checks that it is not written meanwhile.
        let entry = self.places().entries.at(Pos(head)).with(|entry| unsafe { entry.read() });
        assert_eq!(entry.len, 7, "an entry that is not whole");
        // SAFETY: as above, of the part.
        self.parts[entry.off as usize].with_mut(|part| unsafe { *part += 1 });
        // smp_store_release of the head.
        self.head.store(head.wrapping_add(1), Ordering::Release);
        true
    }
}

#[test]
fn parts_go_back() {
    check_bounded(3, |entries| {
        let region = Arc::new(Region {
            head: AtomicU32::new(START),
            tail: AtomicU32::new(START),
            entries: (0..entries).map(|_| UnsafeCell::new(sys::io_uring_zcrx_rqe::ZERO)).collect(),
            parts: [(); PARTS as usize].map(|()| UnsafeCell::new(41)),
        });
        let kernel = thread::spawn({
            let region = region.clone();
            move || {
                let mut taken = 0;
                while taken < PARTS {
                    if region.refill() {
                        taken += 1;
                    } else {
                        thread::yield_now();
                    }
                }
            }
        });
        let mut refill = Refill::new(Some(region.places()), START);
        for part in 0..PARTS {
            // SAFETY: the part is valid memory; the model checks that it is not written meanwhile.
            assert_eq!(region.parts[part as usize].with(|part| unsafe { *part }), 41);
            refill.push(part.into(), 7);
        }
        while refill.waiting() > 0 {
            thread::yield_now();
            refill.publish();
        }
        kernel.join().expect("no panic");
    });
}
