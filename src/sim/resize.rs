//! `IORING_REGISTER_RESIZE_RINGS`: new memory for both queues, and what is in them copied to it.
//!
//! As the kernel does it: the rings change at once, and the user, who maps them only afterwards, finds new memory behind
//! the descriptor at the offsets at which the old was.

use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;

use rustix::io::{DupFlags, Errno, dup3};

use super::memory::Memory;
use super::request::RingId;
use super::ring::Ring;
use super::setup::sizes;
use super::user;
use super::world::World;
use crate::flags::SetupFlags;
use crate::version::Version;
use rawring_sys as sys;

/// The release that brought it.
const RESIZE: Version = Version::new(6, 13);

/// A release that tells where the index array is; 6.18 does not.
const TOLD: Version = Version::new(7, 3);

/// What can be asked for.
const ASKED: SetupFlags = SetupFlags::CQSIZE.union(SetupFlags::CLAMP);

impl World {
    /// # Safety
    ///
    /// `arg` is the address of parameters.
    pub(super) unsafe fn resize(&mut self, id: RingId, fd: RawFd, arg: u64) -> Result<(), Errno> {
        let release = self.config.release();
        let kept = self.ring(id).flags.difference(ASKED);
        if !release.is(RESIZE) || !kept.contains(SetupFlags::DEFER_TASKRUN) {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's promise.
        let mut params: sys::io_uring_params = unsafe { user::read_struct(arg) }?;
        let asked = SetupFlags::from_bits_retain(params.flags);
        if !ASKED.contains(asked) {
            return Err(Errno::INVAL);
        }
        params.flags = (kept | asked).bits();
        (params.sq_entries, params.cq_entries) = sizes(params.sq_entries, params.cq_entries, kept | asked)?;
        let (sq_off, cq_off, ring_len) = release.offsets(params.sq_entries, params.cq_entries, kept);
        params.sq_off = sys::io_sqring_offsets { user_addr: params.sq_off.user_addr, ..sq_off };
        params.cq_off = sys::io_cqring_offsets { user_addr: params.cq_off.user_addr, ..cq_off };
        let entries_len = sys::map::sqes_len(&params).map_err(|_| Errno::OVERFLOW)?;
        let layout = sys::map::layout(&params, ring_len as usize, entries_len).map_err(|_| Errno::OVERFLOW)?;
        let (memory, file) = Memory::new(&params, ring_len as usize, entries_len)?;
        self.ring(id).move_to(memory, layout)?;
        if !release.is(TOLD) {
            params.sq_off.array = 0;
        }
        // SAFETY: the descriptor is the ring's, whose owner is in this call; what is made of it here is not closed.
        let mut number = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(fd) });
        dup3(&file, &mut number, DupFlags::CLOEXEC)?;
        // SAFETY: the caller's promise.
        unsafe { user::write(arg, &user::bytes_of(&params)) }
    }
}

impl Ring {
    /// Goes on in other memory, if it holds what is in the queues.
    fn move_to(&mut self, memory: Memory, layout: sys::Layout) -> Result<(), Errno> {
        let old = self.layout;
        let (sq_head, sq_tail) = (self.load(old.sq_head), self.load(old.sq_tail));
        let (cq_head, cq_tail) = self.cq_positions();
        let (entries, completions) = (sq_tail.wrapping_sub(sq_head), cq_tail.wrapping_sub(cq_head));
        if entries > layout.sq_entries || completions > layout.cq_entries {
            return Err(Errno::OVERFLOW);
        }
        let unit = |at: u32, entries: u32, shift: u32| ((at & (entries - 1)) << shift) as usize;
        for at in (0..entries).map(|n| sq_head.wrapping_add(n)) {
            let (to, from) = (unit(at, layout.sq_entries, layout.sqe_shift), unit(at, old.sq_entries, old.sqe_shift));
            (0..1 << layout.sqe_shift).for_each(|half| memory.write_entry(to + half, self.entry(from + half)));
        }
        for at in (0..completions).map(|n| cq_head.wrapping_add(n)) {
            let (to, from) = (unit(at, layout.cq_entries, layout.cqe_shift), unit(at, old.cq_entries, old.cqe_shift));
            for half in 0..1 << layout.cqe_shift {
                let bytes = self.memory.completion(old.cqes + (from + half) * 16);
                memory.write_completion(layout.cqes + (to + half) * 16, bytes);
            }
        }
        let flags = self.load(old.sq_flags) | sys::IORING_SQ_TASKRUN | sys::IORING_SQ_NEED_WAKEUP;
        for (offset, value) in [
            (layout.sq_head, sq_head),
            (layout.sq_tail, sq_tail),
            (layout.sq_ring_mask, layout.sq_entries - 1),
            (layout.sq_ring_entries, layout.sq_entries),
            (layout.sq_flags, flags),
            (layout.sq_dropped, self.load(old.sq_dropped)),
            (layout.cq_head, cq_head),
            (layout.cq_tail, cq_tail),
            (layout.cq_ring_mask, layout.cq_entries - 1),
            (layout.cq_ring_entries, layout.cq_entries),
            (layout.cq_overflow, self.load(old.cq_overflow)),
        ] {
            memory.word(offset).store(value, Relaxed);
        }
        (self.memory, self.layout) = (memory, layout);
        Ok(())
    }
}
