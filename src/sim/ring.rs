//! One simulated ring: the kernel's side of both queues.
//!
//! What is here is the protocol: entries are taken from the head on, completions are posted at the tail or, where there
//! is no room, kept on the overflow list in their order. What entries mean and when things happen is not here.
//!
//! Invariant: the kernel's own positions are private copies; what the user can write is read, masked and never trusted.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread::ThreadId;

use super::files::Files;
use super::memory::Memory;
use super::ops::Groups;
use super::registered::Registered;
use super::request::RequestId;
use crate::flags::SetupFlags;
use rawring_sys as sys;

/// A completion, before it is in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Completion {
    pub(super) user_data: u64,
    pub(super) res: i32,
    pub(super) flags: u32,
    pub(super) big: [u64; 2],
}

/// An entry, with its second half where it has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) sqe: sys::io_uring_sqe,
    pub(super) second: Option<[u8; 64]>,
}

/// What a drain holds back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deferred {
    /// The first request of a chain.
    pub(super) head: RequestId,
    /// Whether it is the one that waits for everything before it.
    pub(super) drain: bool,
}

/// The polling thread of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Poller {
    Awake,
    Asleep,
}

/// A ring.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) flags: SetupFlags,
    pub(super) memory: Memory,
    pub(super) layout: sys::Layout,
    /// The kernel's copy of the submission head.
    pub(super) head: u32,
    /// The kernel's copy of the completion tail.
    tail: u32,
    /// Completions that found no room.
    pub(super) overflow: VecDeque<Completion>,
    /// Made with `R_DISABLED` and not enabled yet.
    pub(super) disabled: bool,
    /// The thread to which the ring belongs (`SINGLE_ISSUER`).
    pub(super) owner: Option<ThreadId>,
    pub(super) poller: Option<Poller>,
    /// Messages from other rings that this ring's own thread has to post (`DEFER_TASKRUN`).
    pub(super) messages: VecDeque<Completion>,
    pub(super) deferred: VecDeque<Deferred>,
    /// A drained request that runs alone.
    pub(super) draining: Option<RequestId>,
    /// Entries go to `deferred` until everything drained has run.
    pub(super) drain_active: bool,
    /// The entry after the current chain drains, too.
    pub(super) drain_next: bool,
    /// An entry with `CQE_SKIP_SUCCESS` was seen: no drains any more.
    pub(super) drain_disabled: bool,
    /// Timeouts that ended: their completions do not count as events for other timeouts, and end waits.
    pub(super) timeouts: u32,
    /// Completions were lost, and nobody was told yet.
    pub(super) lost: bool,
    /// The user has closed it.
    pub(super) closed: bool,
    pub(super) eventfd: Option<std::os::fd::OwnedFd>,
    /// Provided buffers.
    pub(super) groups: Groups,
    /// Registered files.
    pub(super) files: Files,
    pub(super) registered: Registered,
}

impl Ring {
    pub(super) fn new(params: &sys::io_uring_params, memory: Memory, layout: sys::Layout, start: u32) -> Ring {
        let flags = SetupFlags::from_bits_retain(params.flags);
        // A ring that rewinds has no positions.
        let head = if flags.contains(SetupFlags::SQ_REWIND) { 0 } else { start };
        let owned = flags.contains(SetupFlags::SINGLE_ISSUER) && !flags.contains(SetupFlags::R_DISABLED);
        let ring = Ring {
            flags,
            memory,
            layout,
            head,
            tail: start,
            overflow: VecDeque::new(),
            disabled: flags.contains(SetupFlags::R_DISABLED),
            owner: owned.then(|| std::thread::current().id()),
            poller: flags.contains(SetupFlags::SQPOLL).then_some(Poller::Awake),
            messages: VecDeque::new(),
            deferred: VecDeque::new(),
            draining: None,
            drain_active: false,
            drain_next: false,
            drain_disabled: false,
            timeouts: 0,
            lost: false,
            closed: false,
            eventfd: None,
            groups: Groups::default(),
            files: Files::default(),
            registered: Registered::default(),
        };
        let sys::Layout { sq_entries, cq_entries, .. } = ring.layout;
        for (offset, value) in [
            (layout.sq_head, head),
            (layout.sq_tail, head),
            (layout.sq_ring_mask, sq_entries - 1),
            (layout.sq_ring_entries, sq_entries),
            (layout.sq_flags, 0),
            (layout.sq_dropped, 0),
            (layout.cq_head, start),
            (layout.cq_tail, start),
            (layout.cq_ring_mask, cq_entries - 1),
            (layout.cq_ring_entries, cq_entries),
            (layout.cq_overflow, 0),
        ] {
            ring.memory.word(offset).store(value, Relaxed);
        }
        ring
    }

    pub(super) fn has(&self, flags: SetupFlags) -> bool {
        self.flags.contains(flags)
    }

    /// Entries that wait to be taken.
    pub(super) fn waiting_entries(&self) -> u32 {
        if self.has(SetupFlags::SQ_REWIND) {
            return self.layout.sq_entries;
        }
        let tail = self.memory.word(self.layout.sq_tail).load(Acquire);
        tail.wrapping_sub(self.head).min(self.layout.sq_entries)
    }

    /// Whether there is no room for another entry, as the ring's user sees it.
    pub(super) fn is_full(&self) -> bool {
        let head = self.memory.word(self.layout.sq_head).load(Relaxed);
        let tail = self.memory.word(self.layout.sq_tail).load(Relaxed);
        tail.wrapping_sub(head) >= self.layout.sq_entries
    }

    /// Takes the next entry and tells its slot; `None` where the index array names no slot.
    pub(super) fn take(&mut self) -> Option<(u32, Taken)> {
        let mask = self.layout.sq_entries - 1;
        let mut slot = self.head & mask;
        self.head = self.head.wrapping_add(1);
        if let Some(array) = self.layout.sq_array {
            slot = self.memory.word(array + 4 * slot as usize).load(Relaxed);
            if slot > mask {
                self.memory.word(self.layout.sq_dropped).fetch_add(1, Relaxed);
                return None;
            }
        }
        let unit = (slot as usize) << self.layout.sqe_shift;
        let sqe = self.memory.entry(unit);
        let second = (self.layout.sqe_shift == 1).then(|| *self.memory.entry(unit + 1).as_bytes());
        Some((slot, Taken { sqe, second }))
    }

    /// Takes the slot after this one as the second half of an entry of a mixed ring; `None` at the end of the slots.
    pub(super) fn take_second(&mut self, slot: u32) -> Option<[u8; 64]> {
        if slot + 1 >= self.layout.sq_entries {
            return None;
        }
        self.head = self.head.wrapping_add(1);
        Some(*self.memory.entry(slot as usize + 1).as_bytes())
    }

    /// Gives the slots of everything taken back.
    pub(super) fn commit(&mut self) {
        if self.has(SetupFlags::SQ_REWIND) {
            self.head = 0;
        } else {
            // Release: the reads of the slots are done before the user may write them.
            self.memory.word(self.layout.sq_head).store(self.head, Release);
        }
    }

    pub(super) fn set_flag(&self, bit: u32, on: bool) {
        let word = self.memory.word(self.layout.sq_flags);
        if on {
            word.fetch_or(bit, std::sync::atomic::Ordering::SeqCst);
        } else {
            word.fetch_and(!bit, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn cq_head(&self) -> u32 {
        self.memory.word(self.layout.cq_head).load(Acquire)
    }

    /// The user's head, and the tail, of the completion queue.
    pub(super) fn cq_positions(&self) -> (u32, u32) {
        (self.cq_head(), self.tail)
    }

    pub(super) fn cq_entries(&self) -> u32 {
        self.layout.cq_entries
    }

    /// Counts the completions that are no timeouts' own.
    pub(super) fn events(&self) -> u32 {
        self.tail.wrapping_sub(self.timeouts)
    }

    /// Slots that hold completions.
    pub(super) fn ready(&self) -> u32 {
        self.tail.wrapping_sub(self.cq_head()).min(self.layout.cq_entries)
    }

    /// Whether a completion would find room.
    pub(super) fn has_room(&self) -> bool {
        self.overflow.is_empty() && self.ready() < self.layout.cq_entries
    }

    /// Posts a completion, or keeps it where there is no room. What has waited longer goes first.
    pub(super) fn post(&mut self, completion: Completion) {
        if !self.overflow.is_empty() || !self.put(completion) {
            self.overflow.push_back(completion);
            self.set_flag(sys::IORING_SQ_CQ_OVERFLOW, true);
        }
        self.signal();
    }

    /// Counts a completion for which there was neither room nor memory.
    pub(super) fn lose(&mut self) {
        self.memory.word(self.layout.cq_overflow).fetch_add(1, Relaxed);
        self.lost = true;
    }

    /// Moves what overflowed into the queue, as far as there is room.
    pub(super) fn flush_overflow(&mut self) {
        while let Some(&completion) = self.overflow.front() {
            if !self.put(completion) {
                return;
            }
            self.overflow.pop_front();
            self.signal();
        }
        self.set_flag(sys::IORING_SQ_CQ_OVERFLOW, false);
    }

    /// Puts a completion into the queue, if there is room.
    fn put(&mut self, completion: Completion) -> bool {
        let Completion { user_data, res, flags, big } = completion;
        let entries = self.layout.cq_entries;
        let wide = self.has(SetupFlags::CQE32) || flags & sys::IORING_CQE_F_32 != 0;
        let slots = if wide && self.has(SetupFlags::CQE_MIXED) { 2 } else { 1 };
        if slots == 2 && self.tail & (entries - 1) == entries - 1 && self.ready() < entries {
            // The halves have to be neighbours. The filler stays, whether the completion fits after it or not.
            self.write(0, [0, filler()]);
            self.advance(1);
        }
        if self.ready() + slots > entries {
            return false;
        }
        let second = u64::from_ne_bytes(halves(res.to_ne_bytes(), flags.to_ne_bytes()));
        self.write(0, [user_data, second]);
        if wide {
            self.write(1, big);
        }
        self.advance(slots);
        true
    }

    /// Puts a completion at the tail, whatever its flags say of its size.
    pub(super) fn put_at_tail(&mut self, completion: Completion) {
        let Completion { user_data, res, flags, big } = completion;
        let second = u64::from_ne_bytes(halves(res.to_ne_bytes(), flags.to_ne_bytes()));
        self.write(0, [user_data, second]);
        if self.has(SetupFlags::CQE32) {
            self.write(1, big);
        }
        self.advance(1);
    }

    pub(super) fn load(&self, offset: usize) -> u32 {
        self.memory.word(offset).load(Relaxed)
    }

    pub(super) fn store(&self, offset: usize, value: u32) {
        self.memory.word(offset).store(value, Relaxed);
    }

    /// The entry in a slot, by its place in units of 64 bytes.
    pub(super) fn entry(&self, unit: usize) -> sys::io_uring_sqe {
        self.memory.entry(unit)
    }

    /// Writes one unit of the completion at the tail.
    fn write(&self, unit: usize, bytes: [u64; 2]) {
        let slot = (self.tail & (self.layout.cq_entries - 1)) as usize;
        let at = (slot << self.layout.cqe_shift) + unit;
        self.memory.write_completion(self.layout.cqes + at * 16, bytes);
    }

    fn advance(&mut self, slots: u32) {
        self.tail = self.tail.wrapping_add(slots);
        // Release: the completion is there before the user sees the tail.
        self.memory.word(self.layout.cq_tail).store(self.tail, Release);
    }

    /// Tells a registered eventfd.
    fn signal(&self) {
        let disabled = self
            .layout
            .cq_flags
            .is_some_and(|flags| self.memory.word(flags).load(Relaxed) & sys::IORING_CQ_EVENTFD_DISABLED != 0);
        if let (Some(eventfd), false) = (&self.eventfd, disabled) {
            // A counter that is full has been signalled already.
            let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
        }
    }
}

/// The second word of a filler.
fn filler() -> u64 {
    u64::from_ne_bytes(halves([0; 4], sys::IORING_CQE_F_SKIP.to_ne_bytes()))
}

fn halves(first: [u8; 4], second: [u8; 4]) -> [u8; 8] {
    let mut both = [0; 8];
    both[..4].copy_from_slice(&first);
    both[4..].copy_from_slice(&second);
    both
}
