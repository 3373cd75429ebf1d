//! Both queues as pure logic over shared words: no descriptor, no system call.
//!
//! Who owns what, when:
//!
//! - Submission queue. We write entries and the tail; the kernel writes the head and the flags. The slots in
//!   `[head, tail)` are the kernel's from the moment the tail is stored until the head passes them; all others are ours.
//!   The head moves only inside our own `io_uring_enter`, except with a polling thread (`SQPOLL`), when it moves at any
//!   time. Of everything that we write we keep private copies and never read it back.
//! - Completion queue. The kernel writes entries and the tail; we write the head. The slots in `[head, tail)` are ours
//!   from the moment we have loaded the tail until we store the head.
//!
//! [`Sq::plan`] publishes and says which call the kernel needs, as a value; `Ring` makes that call. The same code
//! runs on the kernel's mappings and in models: the seam is the pointer.

use core::ptr::NonNull;

use crate::sync::UnsafeCell;

mod cq;
mod places;
pub(crate) mod signals;
mod sq;
#[cfg(test)]
mod tests;

pub use cq::Completions;
pub(crate) use cq::{Cq, CqWords};
pub(crate) use places::Places;
pub(crate) use sq::{Enter, Mode, NoSlot, Sq, SqWords};

/// A position in a queue: a count modulo 2^32. It wraps, so it has an equality and distances, but no order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pos(pub(crate) u32);

impl Pos {
    /// How far `self` is ahead of `behind`.
    #[inline(always)]
    pub(crate) fn since(self, behind: Pos) -> u32 {
        self.0.wrapping_sub(behind.0)
    }

    #[inline(always)]
    pub(crate) fn plus(self, n: u32) -> Pos {
        Pos(self.0.wrapping_add(n))
    }
}

/// The slots of a queue: a power of two of them, each one or two units wide.
///
/// Invariant: `base` points at `(mask + 1) << shift` units that stay valid while the queue is used.
pub(crate) struct Slots<T> {
    base: NonNull<UnsafeCell<T>>,
    mask: u32,
    shift: u32,
}

impl<T> Slots<T> {
    /// # Safety
    ///
    /// The type's invariant holds.
    pub(crate) unsafe fn new(base: NonNull<UnsafeCell<T>>, mask: u32, shift: u32) -> Self {
        Slots { base, mask, shift }
    }

    /// The slot at `pos`, or the first unit of it.
    #[inline(always)]
    pub(crate) fn at(&self, pos: Pos) -> &UnsafeCell<T> {
        let index = (pos.0 & self.mask) << self.shift;
        // SAFETY: masked and shifted, the index is below the number of units that the invariant promises. A reference to
        // a cell may exist whoever is writing to it.
        unsafe { self.base.add(index as usize).as_ref() }
    }

    /// The slot at `pos` of a queue whose slots have one unit. Of others, some unit.
    #[inline(always)]
    fn narrow(&self, pos: Pos) -> &UnsafeCell<T> {
        // SAFETY: masked, the index is below the number of units that the invariant promises. A reference to a cell may
        // exist whoever is writing to it.
        unsafe { self.base.add((pos.0 & self.mask) as usize).as_ref() }
    }

    /// The second unit of the slot at `pos`, in a queue whose slots have two.
    #[inline(always)]
    fn second(&self, pos: Pos) -> Option<&UnsafeCell<T>> {
        if self.shift == 0 {
            return None;
        }
        let index = ((pos.0 & self.mask) << self.shift) + 1;
        // SAFETY: as in `at`; shifted, the first unit's index is even, so the next one belongs to the same slot.
        Some(unsafe { self.base.add(index as usize).as_ref() })
    }

    /// All units of the slot at `pos`.
    fn units(&self, pos: Pos) -> impl Iterator<Item = &UnsafeCell<T>> {
        core::iter::once(self.at(pos)).chain(self.second(pos))
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.mask + 1
    }
}
