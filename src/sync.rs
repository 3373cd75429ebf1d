//! The words and slots shared with the kernel, and the fence between them: those of the standard library, or under
//! `cfg(loom)` those of the model checker, which tries every order that the memory model allows and objects when a slot
//! is read or written without a happens-before. The only file under the queues that names atomics and cells.
//!
//! Outside of models all of this is nothing but loads, stores and pointers.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU16, AtomicU32, Ordering, fence},
};

use core::ptr::NonNull;

/// A unit of a queue, which belongs to us or to the kernel by turns. With the interface of `loom::cell::UnsafeCell`.
#[cfg(not(loom))]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    /// For tests: the kernel makes all others.
    #[cfg(test)]
    pub(crate) fn new(value: T) -> Self {
        UnsafeCell(core::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer that it may read through while the unit is ours.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer that it may also write through while the unit is ours.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

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

    /// A word that is 0 for good, in the place of one that is not used.
    pub(crate) fn zero() -> Self {
        Word(NonNull::from(zero()))
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

    /// Clears bits of a word that the other side sets bits of.
    pub(crate) fn clear(self, bits: u32) {
        // SAFETY: valid by the type's invariant; the access is atomic, as are the kernel's.
        let word = unsafe { self.0.as_ref() };
        // Relaxed: the bits are gone at some time; nothing else depends on when.
        word.fetch_and(!bits, Ordering::Relaxed);
    }
}

#[cfg(not(loom))]
fn zero() -> &'static AtomicU32 {
    static ZERO: AtomicU32 = AtomicU32::new(0);
    &ZERO
}

/// An atomic of a model belongs to one run of it.
#[cfg(loom)]
fn zero() -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(0)))
}

/// As [`Word`], of 16 bits: the tail of a ring of provided buffers, which only we write.
#[derive(Clone, Copy)]
pub(crate) struct HalfWord(NonNull<AtomicU16>);

impl HalfWord {
    /// # Safety
    ///
    /// `word` points at an atomic word that outlives all uses of the result.
    pub(crate) unsafe fn new(word: NonNull<AtomicU16>) -> Self {
        HalfWord(word)
    }

    #[inline(always)]
    pub(crate) fn store(self, value: u16, order: Ordering) {
        // SAFETY: valid by the type's invariant; the access is atomic, as are the kernel's.
        unsafe { self.0.as_ref() }.store(value, order);
    }
}
