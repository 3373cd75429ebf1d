//! Rings of provided buffers: entries in memory of the user, which publishes them by a tail in the first of them.
//!
//! The memory is read where the user says that it is. A kernel keeps the pages; here the user has to keep them until the
//! group is unregistered or the ring closed, as this crate does. Not here: entries in memory of the kernel; and in an
//! incremental group, single operations that complete in another order than they took their bytes in.

use std::sync::atomic::{AtomicU16, Ordering};

use rustix::io::Errno;

use super::buffers::Buffer;
use crate::version::Version;
use rawring_sys as sys;

/// A group whose buffers are in a ring.
#[derive(Debug)]
pub(super) struct BufRing {
    entries: u64,
    mask: u16,
    /// Buffers that were taken.
    pub(super) head: u16,
    /// In an incremental group, how many bytes have to be left in a buffer for it not to be used up.
    least: Option<u32>,
}

impl BufRing {
    /// The group that a registration asks for.
    pub(super) fn new(request: &sys::io_uring_buf_reg, knows: impl Fn(Version) -> bool) -> Result<BufRing, Errno> {
        let &sys::io_uring_buf_reg { ring_addr, ring_entries, bgid: _, flags, min_left, resv } = request;
        let incremental = flags == sys::IOU_PBUF_RING_INC;
        let known = match flags {
            0 => knows(Version::new(5, 19)) && min_left == 0,
            _ => incremental && knows(Version::new(6, 12)) && (min_left == 0 || knows(Version::new(7, 1))),
        };
        let sound = ring_entries.is_power_of_two() && ring_entries <= 1 << 15;
        let aligned = ring_addr != 0 && ring_addr % rustix::param::page_size() as u64 == 0;
        if resv != [0; 5] || !known || !sound || !aligned {
            return Err(Errno::INVAL);
        }
        let least = incremental.then_some(min_left.max(1));
        Ok(BufRing { entries: ring_addr, mask: (ring_entries - 1) as u16, head: 0, least })
    }

    fn entry_at(&self, at: u16) -> *mut sys::io_uring_buf {
        let offset = u64::from(at & self.mask) * size_of::<sys::io_uring_buf>() as u64;
        std::ptr::with_exposed_provenance_mut((self.entries + offset) as usize)
    }

    /// Buffers that can be taken.
    fn available(&self) -> u16 {
        // SAFETY: by the contract of the registration there are entries at this address until the group is gone, and both
        // sides access the tail by atomics.
        let tail = unsafe { AtomicU16::from_ptr(&raw mut (*self.entry_at(0)).resv) };
        tail.load(Ordering::Acquire).wrapping_sub(self.head)
    }

    /// The buffer that is the `nth` to be taken.
    pub(super) fn peek(&self, nth: u16) -> Option<Buffer> {
        if nth >= self.available() {
            return None;
        }
        // SAFETY: as in `available`; what is behind the tail is not written by the user.
        let sys::io_uring_buf { addr, len, bid, resv: _ } =
            unsafe { self.entry_at(self.head.wrapping_add(nth)).read_volatile() };
        Some(Buffer { id: bid, address: addr, len: len as usize })
    }

    /// Whether there can be a buffer of this number, by a user who counts them from 0.
    pub(super) fn may_have(&self, id: u16) -> bool {
        id <= self.mask
    }

    pub(super) fn is_incremental(&self) -> bool {
        self.least.is_some()
    }

    /// How much of a buffer a request gets to write that fills so much of it.
    pub(super) fn lends(&self, buffer: Buffer, filled: usize) -> usize {
        if self.least.is_some() { filled } else { buffer.len }
    }

    /// Takes `buffers` buffers, or from these as many bytes. Tells whether the last one stays in use.
    pub(super) fn commit(&mut self, buffers: u16, mut bytes: usize) -> bool {
        let Some(least) = self.least else {
            self.head = self.head.wrapping_add(buffers);
            return false;
        };
        if bytes == 0 {
            return true;
        }
        loop {
            let entry = self.entry_at(self.head);
            // SAFETY: as in `peek`; address and length of an entry that the user has published are the kernel's to write.
            unsafe {
                let used = bytes.min((*entry).len as usize) as u32;
                let left = (*entry).len - used;
                bytes -= used as usize;
                if left >= least {
                    (&raw mut (*entry).addr).write_volatile((*entry).addr + u64::from(used));
                    (&raw mut (*entry).len).write_volatile(left);
                    return true;
                }
                (&raw mut (*entry).len).write_volatile(0);
            }
            self.head = self.head.wrapping_add(1);
            if bytes == 0 {
                return false;
            }
        }
    }
}
