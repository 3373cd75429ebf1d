//! A group's memory and its state, held by the [`BufRing`](super::BufRing), by every lease, and by the ring that the
//! group is registered with.
//!
//! Who owns what, when: the bytes of a buffer are the kernel's while the ledger has it lent and not delivered, and
//! belong to the lease that delivered them until that is dropped. The memory of the buffers is unmapped only with the
//! last holder, and only if [`Shared::release`] was called, whose caller had the proof that the kernel holds nothing. It
//! is leaked otherwise: dropping things in whatever order, or forgetting them, lets the kernel write into nobody's memory.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ledger::{Ledger, Taken};
use super::memory::Pages;
use super::queue::Queue;
use super::{BadBuffer, Pick};
use crate::cqe::Cqe;

/// See the module's text.
pub(crate) struct Shared {
    pub(super) group: u16,
    /// Tells this group from one that had its number before.
    pub(super) serial: u32,
    pub(super) size: u32,
    /// Somebody has promised that a bundle is what its completion says.
    pub(super) bundles: bool,
    /// Buffers are filled and provided by hand, and not lent by themselves.
    pub(super) sends: bool,
    /// The buffers, one behind the other.
    memory: ManuallyDrop<Pages>,
    state: Mutex<State>,
}

/// What changes.
pub(super) struct State {
    pub(super) ledger: Ledger,
    pub(super) queue: Queue,
    /// Where `queue` lies. The kernel has pages of its own references to, so unmapping takes nothing from it.
    entries: Pages,
    /// The kernel holds nothing and will get nothing.
    released: bool,
}

impl State {
    fn publish(&mut self) {
        if !self.entries.are_left_behind() {
            self.queue.publish();
        }
    }

    /// Makes the entries of all lent buffers zero bytes long, and tells which had more.
    pub(super) fn empty_entries(&mut self) -> Vec<u16> {
        let mut emptied = Vec::new();
        for id in 0..self.ledger.count() {
            if let Some(at) = self.ledger.position(id).filter(|&at| self.queue.len_at(at) != 0) {
                self.queue.set_len_at(at, 0);
                emptied.push(id);
            }
        }
        emptied
    }

    /// Whether the entries of all lent buffers are zero bytes long.
    pub(super) fn is_emptied(&self) -> bool {
        let mut lent = (0..self.ledger.count()).filter_map(|id| self.ledger.position(id));
        lent.all(|at| self.queue.len_at(at) == 0)
    }
}

// SAFETY: the pointers in `queue` lead into `entries`, which belongs to no thread, and are used under the lock only.
unsafe impl Send for State {}

impl Shared {
    /// A group whose buffers are all idle.
    ///
    /// `memory` has room for all buffers of the ledger; `queue` lies in `entries`, and the kernel has nothing of it yet.
    pub(super) fn new(
        (group, serial, size): (u16, u32, u32),
        (bundles, sends): (bool, bool),
        memory: Pages,
        ledger: Ledger,
        queue: Queue,
        entries: Pages,
    ) -> Self {
        let state = State { ledger, queue, entries, released: false };
        Shared { group, serial, size, bundles, sends, memory: ManuallyDrop::new(memory), state: Mutex::new(state) }
    }

    /// Nothing panics under the lock, so it is never poisoned.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a buffer begins.
    pub(super) fn buffer(&self, id: u16) -> NonNull<u8> {
        // SAFETY: the ledger hands out only ids of buffers, which lie in the memory.
        unsafe { self.memory.start().add(usize::from(id) * self.size as usize) }
    }

    /// Takes an idle buffer to be filled.
    pub(super) fn reserve(&self) -> Option<u16> {
        self.lock().ledger.reserve()
    }

    /// Shows the kernel the first `len` bytes of a buffer that was reserved.
    pub(super) fn provide(&self, id: u16, len: u32) {
        let state = &mut *self.lock();
        if state.released || state.entries.are_left_behind() {
            state.ledger.release(id);
            return;
        }
        state.ledger.lend_reserved(id, state.queue.next(), len);
        let address = self.buffer(id).as_ptr().expose_provenance() as u64;
        state.queue.add(address, len, id);
        state.publish();
    }

    /// Lends every idle buffer to the kernel, if buffers are lent by themselves, and shows it all of them by one store.
    pub(super) fn refill(&self, state: &mut State) {
        self.lend_idle(state);
        state.publish();
    }

    fn lend_idle(&self, state: &mut State) {
        if self.sends || state.released || state.entries.are_left_behind() {
            return;
        }
        while let Some(id) = state.ledger.lend(state.queue.next()) {
            let address = self.buffer(id).as_ptr().expose_provenance() as u64;
            state.queue.add(address, self.size, id);
        }
    }

    /// Ends a lease, and lends the buffer again. The kernel sees it at once, or with the next buffer that it is shown.
    pub(super) fn give_back(&self, id: u16, at_once: bool) {
        let state = &mut *self.lock();
        state.ledger.release(id);
        self.lend_idle(state);
        if at_once {
            state.publish();
        }
    }

    /// Shows the kernel what was given back.
    pub(super) fn show(&self) {
        self.lock().publish();
    }

    /// See [`BufRing::take`](super::BufRing::take).
    pub(super) fn take(&self, cqe: &Cqe, pick: Pick) -> Result<Taken, BadBuffer> {
        let id = cqe.buffer_id().ok_or(BadBuffer::None)?;
        let state = &mut *self.lock();
        // In an incremental group, the kernel leaves no length in the entry of a buffer that it has done with. The flag
        // alone does not say so: kernels leave it out where they do not mean it, at the end of a stream for instance.
        let at = state.ledger.position(id);
        let emptied = !cqe.buffer_more() && at.is_some_and(|at| state.queue.len_at(at) == 0);
        let taken = state.ledger.take(id, cqe.res(), pick, emptied)?;
        self.refill(state);
        Ok(taken)
    }

    /// Undoes [`State::empty_entries`].
    pub(super) fn restore_entries(&self, state: &mut State, emptied: Vec<u16>) {
        for id in emptied {
            let Some(at) = state.ledger.position(id).filter(|&at| state.queue.len_at(at) == 0) else { continue };
            // In an incremental group the kernel has moved the address on by what it has used.
            let len = u64::from(state.ledger.len_of(id));
            let end = self.buffer(id).as_ptr().addr() as u64 + len;
            let left = end.saturating_sub(state.queue.addr_at(at));
            state.queue.set_len_at(at, left.min(len) as u32);
        }
    }

    /// From now on nothing is lent, and the memory goes with the last holder.
    ///
    /// # Safety
    ///
    /// The group is no longer registered, and the kernel writes to no buffer of it any more.
    pub(super) unsafe fn release(&self) {
        self.lock().released = true;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if state.released {
            // SAFETY: dropped once, here, and not used afterwards. No lease is left, and the kernel writes to it no more.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
