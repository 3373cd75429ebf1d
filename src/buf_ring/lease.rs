//! Bytes that a completion delivered, for as long as somebody reads them.

use core::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::ledger::Taken;
use super::shared::Shared;

/// Bytes that the kernel put into a provided buffer, and the right to use them until this is dropped. Then the kernel
/// gets the buffer again.
///
/// It is a slice of bytes, and outlives whatever came after it: further completions, the [`BufRing`](super::BufRing),
/// the ring. `std::io::Cursor` reads from it without a copy. Where an operation failed, or found the end of a stream,
/// and a buffer was used up by it all the same, there is a lease of no bytes.
///
/// Forgetting one keeps its buffer from the kernel for good.
pub struct Lease {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u16,
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Lease {
    /// The number of the buffer, as completions report it.
    pub fn buffer_id(&self) -> u16 {
        self.id
    }

    /// Whether it is of this group.
    pub(super) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// Gives the buffer back without showing the kernel yet.
    pub(super) fn give_back_later(self) {
        let lease = std::mem::ManuallyDrop::new(self);
        // SAFETY: `lease` is neither used nor dropped after this, so the reference is taken out once.
        let shared = unsafe { std::ptr::read(&lease.shared) };
        shared.give_back(lease.id, false);
    }
}

impl Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the ledger delivered these bytes, once: they lie inside the buffer, are initialised as all of the
        // memory is, the kernel is done with them, and until this lease ends it does not get them again. The memory
        // stays while `shared` does.
        unsafe {
            let start = self.shared.buffer(self.id).add(self.start as usize);
            std::slice::from_raw_parts(start.as_ptr(), self.len as usize)
        }
    }
}

impl DerefMut for Lease {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; no other lease has these bytes, and `self` is borrowed mutably.
        unsafe {
            let start = self.shared.buffer(self.id).add(self.start as usize);
            std::slice::from_raw_parts_mut(start.as_ptr(), self.len as usize)
        }
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Lease {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.shared.give_back(self.id, true);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("buffer_id", &self.id)
            .field("start", &self.start)
            .field("len", &self.len)
            .finish()
    }
}

/// What one completion delivered: a [`Lease`] for each buffer that it stands for, in the order in which the kernel filled
/// them. That is one buffer, unless the operation was a bundle.
///
/// Dropping it gives what was not taken out of it back to the kernel.
pub struct Delivery {
    shared: Arc<Shared>,
    /// What is still in it.
    rest: Taken,
}

impl Delivery {
    pub(super) fn new(shared: Arc<Shared>, rest: Taken) -> Self {
        Delivery { shared, rest }
    }

    /// The group that it came from.
    pub fn group(&self) -> crate::operand::Group {
        crate::operand::Group(self.shared.group)
    }

    /// Bytes in all buffers that are still in it.
    pub fn bytes(&self) -> usize {
        self.rest.bytes as usize
    }
}

impl Iterator for Delivery {
    type Item = Lease;

    fn next(&mut self) -> Option<Lease> {
        let Taken { first: id, start, bytes, buffers } = self.rest;
        if buffers == 0 {
            return None;
        }
        let lent = if self.shared.sends { self.shared.lock().ledger.len_of(id) } else { self.shared.size };
        let len = bytes.min(lent - start);
        // Before the lease exists: with its end the buffer gets another successor.
        let next = if buffers == 1 { id } else { self.shared.lock().ledger.after(id) };
        self.rest = Taken { first: next, start: 0, bytes: bytes - len, buffers: buffers - 1 };
        Some(Lease { shared: self.shared.clone(), id, start, len })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let buffers = usize::from(self.rest.buffers);
        (buffers, Some(buffers))
    }
}

impl ExactSizeIterator for Delivery {}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.rest.buffers > 0 {
            self.by_ref().for_each(Lease::give_back_later);
            self.shared.show();
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("group", &self.shared.group)
            .field("first", &self.rest.first)
            .field("bytes", &self.rest.bytes)
            .field("buffers", &self.rest.buffers)
            .finish()
    }
}
