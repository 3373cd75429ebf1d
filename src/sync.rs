//! The words shared with the kernel, and the fence between them. The only file under the queues that names atomics, so
//! that those of a model checker can take their place.

pub(crate) use core::sync::atomic::{AtomicU32, Ordering, fence};

use core::ptr::NonNull;

/// A word of the mapping that both sides read and one side writes.
///
/// Invariant: the pointer is valid for as long as the queue that holds it is used. Who makes one promises it.
#[derive(Clone, Copy)]
pub(crate) struct Word(NonNull<AtomicU32>);

impl Word {
    /// # Safety
    ///
    /// `word` points at an atomic word that outlives all uses of the result.
    pub(crate) unsafe fn new(word: NonNull<AtomicU32>) -> Self {
        Word(word)
    }

    #[inline(always)]
    pub(crate) fn load(self, order: Ordering) -> u32 {
        // SAFETY: valid by the type's invariant; the access is atomic, as are the kernel's.
        unsafe { self.0.as_ref() }.load(order)
    }

    #[inline(always)]
    pub(crate) fn store(self, value: u32, order: Ordering) {
        // SAFETY: valid by the type's invariant; the access is atomic, as are the kernel's.
        unsafe { self.0.as_ref() }.store(value, order);
    }
}
