//! Filling buffers before they are provided: groups to send from.
//!
//! Who owns what, when: a [`Blank`] is an idle buffer that nobody else has, neither the kernel nor a lease. Providing it
//! lends the filled part to the kernel; the completion of the send that used it delivers it as a [`Lease`] on the bytes
//! that were sent, and when that ends, the buffer is idle again, to be had as the next blank. It is never lent by itself.

use core::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::shared::Shared;
use super::{BufRing, Lease};

/// An idle buffer of a group to send from: bytes to be filled and then [provided](Self::provide). Dropping it leaves the
/// buffer idle.
pub struct Blank {
    shared: Arc<Shared>,
    id: u16,
}

impl BufRing {
    /// An idle buffer to be filled, of a group made with [`sending`](super::BufRingSetup::sending); `None` while all of
    /// them are provided or leased, and for other groups.
    ///
    /// What was in the buffer before is still there.
    pub fn blank(&self) -> Option<Blank> {
        let shared = self.shared.clone();
        let id = if shared.sends { shared.reserve()? } else { return None };
        Some(Blank { shared, id })
    }
}

impl Blank {
    /// The number of the buffer, as completions report it.
    pub fn buffer_id(&self) -> u16 {
        self.id
    }

    /// Provides the first `len` bytes, behind all that were provided before.
    ///
    /// # Errors
    ///
    /// It comes back if `len` is 0, which the kernel would take for the whole, or more than the buffer has.
    pub fn provide(self, len: usize) -> Result<(), Blank> {
        if len == 0 || len > self.len() {
            return Err(self);
        }
        let blank = ManuallyDrop::new(self);
        // SAFETY: `blank` is neither used nor dropped after this, so the reference is taken out once.
        let shared = unsafe { std::ptr::read(&blank.shared) };
        shared.provide(blank.id, len as u32);
        Ok(())
    }
}

impl Deref for Blank {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer lies in the memory, which stays while `shared` does, and is initialised as all of it is. It was
        // idle and is reserved: neither the kernel nor a lease has it.
        unsafe { std::slice::from_raw_parts(self.shared.buffer(self.id).as_ptr(), self.shared.size as usize) }
    }
}

impl DerefMut for Blank {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.shared.buffer(self.id).as_ptr(), self.shared.size as usize) }
    }
}

impl Drop for Blank {
    fn drop(&mut self) {
        self.shared.give_back(self.id, false);
    }
}

impl fmt::Debug for Blank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blank").field("buffer_id", &self.id).field("len", &self.len()).finish()
    }
}

impl Lease {
    /// What was provided behind these bytes and was not sent, because the send came up short; it will not be sent any more.
    /// Empty for what was received.
    pub fn unsent(&self) -> &[u8] {
        let shared = &self.shared;
        if !shared.sends {
            return &[];
        }
        let end = self.start + self.len;
        let left = shared.lock().ledger.len_of(self.id).saturating_sub(end);
        // SAFETY: no more than was lent of the buffer, which is used up: it is this lease's, as in its `deref`.
        unsafe { std::slice::from_raw_parts(shared.buffer(self.id).as_ptr().add(end as usize), left as usize) }
    }
}
