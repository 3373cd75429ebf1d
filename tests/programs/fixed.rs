//! Memory that is registered with the ring of a run: two buffers, in which each entry has a window of its own.

use super::job::POISON;

/// Buffers in the table.
pub const SLOTS: usize = 2;
/// Bytes that an entry has at most.
const WINDOW: usize = 32;

/// Who owns what, when: the run has the memory until its ring is gone, an entry its window from its job's making to its
/// end. Nobody takes a reference to more than a window.
pub struct FixedMemory {
    start: *mut [u8],
}

/// Which buffer has an entry's window.
pub fn slot_of(index: usize) -> usize {
    index % SLOTS
}

impl FixedMemory {
    pub fn new(entries: usize) -> FixedMemory {
        let len = entries.div_ceil(SLOTS).max(1) * SLOTS * WINDOW;
        FixedMemory { start: Box::into_raw(vec![POISON; len].into()) }
    }

    /// Address and length of a buffer.
    pub fn buffer(&self, slot: usize) -> (usize, usize) {
        let len = self.start.len() / SLOTS;
        (self.start.cast::<u8>().expose_provenance() + slot * len, len)
    }

    /// The first bytes of an entry's window.
    pub fn window(&self, index: usize, len: usize) -> *mut [u8] {
        let at = slot_of(index) * (self.start.len() / SLOTS) + index / SLOTS * WINDOW;
        assert!(len <= WINDOW && at + len <= self.start.len(), "there is a window for each entry");
        std::ptr::slice_from_raw_parts_mut(self.start.cast::<u8>().wrapping_add(at), len)
    }
}

impl Drop for FixedMemory {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw`, and dropped with the last job, after the ring.
        drop(unsafe { Box::from_raw(self.start) });
    }
}
