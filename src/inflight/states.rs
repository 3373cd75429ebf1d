//! Where states live while they are lent: a slab whose places never move.
//!
//! It frees nothing by itself. Whether a place is lent to the kernel only its owner knows, so what is dropped without
//! [`States::free`] is leaked: the worst that can happen to a state.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// Drops a state whose closure panicked.
pub(super) struct DropInPlace<S>(pub(super) *mut S);

impl<S> Drop for DropInPlace<S> {
    fn drop(&mut self) {
        // SAFETY: made only for a filled place whose entry never came to be.
        unsafe { self.0.drop_in_place() };
    }
}

/// Places for states, in chunks that never move. Frees nothing by itself: places may be lent to the kernel.
pub(super) struct States<S> {
    chunks: Vec<*mut Cell<S>>,
}

type Cell<S> = UnsafeCell<MaybeUninit<S>>;

/// Where the state of a slot lives; nowhere as long as the slot has had none.
pub(super) struct Place<S>(*mut S);

impl<S> Clone for Place<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Place<S> {}

impl<S> Default for Place<S> {
    fn default() -> Self {
        Place(core::ptr::null_mut())
    }
}

impl<S> Place<S> {
    pub(super) fn get(self) -> *mut S {
        self.0
    }
}

/// Places in a chunk.
const CHUNK: usize = 64;

impl<S> States<S> {
    pub(super) fn new() -> Self {
        States { chunks: Vec::new() }
    }

    /// The place of a slot, which is `known` if it has had a state.
    #[inline(always)]
    pub(super) fn place(&mut self, slot: u32, known: Place<S>) -> Place<S> {
        if known.0.is_null() { self.find(slot) } else { known }
    }

    #[cold]
    #[inline(never)]
    fn find(&mut self, slot: u32) -> Place<S> {
        let (chunk, index) = (slot as usize / CHUNK, slot as usize % CHUNK);
        while chunk >= self.chunks.len() {
            self.grow();
        }
        // SAFETY: a chunk has `CHUNK` places, and the index is below that.
        Place(UnsafeCell::raw_get(unsafe { self.chunks[chunk].add(index) }).cast())
    }

    fn grow(&mut self) {
        let chunk: Box<[Cell<S>]> = (0..CHUNK).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
        self.chunks.push(Box::into_raw(chunk).cast());
    }

    /// # Safety
    ///
    /// No place holds a state, and none is lent to the kernel.
    pub(super) unsafe fn free(self) {
        for chunk in self.chunks {
            let places = std::ptr::slice_from_raw_parts_mut(chunk, CHUNK);
            // SAFETY: the chunk came from a box of that many places, which the caller says are empty.
            drop(unsafe { Box::from_raw(places) });
        }
    }
}
