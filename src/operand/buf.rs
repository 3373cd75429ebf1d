//! Memory: single buffers, arrays of them, registered ones, and groups of provided ones.

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use std::io::{IoSlice, IoSliceMut};

use super::{Kind, Operand, put_slice};
use crate::register::NotInside;
use crate::ring::Ring;
use crate::sqe::{At, RawSqe};
use rawring_sys as sys;

/// Memory that the kernel reads, borrowed for `'a`.
#[derive(Clone, Copy, Debug)]
pub struct Buf<'a> {
    pub(super) addr: usize,
    pub(super) len: usize,
    names: PhantomData<&'a [u8]>,
}

/// Memory that the kernel writes, borrowed for `'a`.
#[derive(Debug)]
pub struct BufMut<'a> {
    pub(super) addr: usize,
    pub(super) len: usize,
    names: PhantomData<&'a mut [u8]>,
}

impl Buf<'_> {
    /// Memory that no reference stands for.
    ///
    /// # Safety
    ///
    /// `len` bytes from `addr` may be read for all of `'a`.
    #[inline(always)]
    pub unsafe fn from_raw(addr: *const u8, len: usize) -> Self {
        Buf { addr: addr.expose_provenance(), len, names: PhantomData }
    }
}

impl BufMut<'_> {
    /// Memory that no reference stands for.
    ///
    /// # Safety
    ///
    /// `len` bytes from `addr` may be written for all of `'a`, and nothing else accesses them.
    #[inline(always)]
    pub unsafe fn from_raw(addr: *mut u8, len: usize) -> Self {
        BufMut { addr: addr.expose_provenance(), len, names: PhantomData }
    }
}

impl<'a> From<&'a [u8]> for Buf<'a> {
    #[inline(always)]
    fn from(bytes: &'a [u8]) -> Self {
        Buf { addr: bytes.as_ptr().expose_provenance(), len: bytes.len(), names: PhantomData }
    }
}

impl<'a> From<&'a mut [u8]> for BufMut<'a> {
    #[inline(always)]
    fn from(bytes: &'a mut [u8]) -> Self {
        BufMut { addr: bytes.as_mut_ptr().expose_provenance(), len: bytes.len(), names: PhantomData }
    }
}

impl<'a> From<&'a mut [MaybeUninit<u8>]> for BufMut<'a> {
    #[inline(always)]
    fn from(bytes: &'a mut [MaybeUninit<u8>]) -> Self {
        BufMut { addr: bytes.as_mut_ptr().expose_provenance(), len: bytes.len(), names: PhantomData }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Buf<'a> {
    #[inline(always)]
    fn from(bytes: &'a [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a mut [u8; N]> for BufMut<'a> {
    #[inline(always)]
    fn from(bytes: &'a mut [u8; N]) -> Self {
        bytes.as_mut_slice().into()
    }
}

impl<'a> From<&'a Vec<u8>> for Buf<'a> {
    #[inline(always)]
    fn from(bytes: &'a Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

/// The vector's elements, not its spare room.
impl<'a> From<&'a mut Vec<u8>> for BufMut<'a> {
    #[inline(always)]
    fn from(bytes: &'a mut Vec<u8>) -> Self {
        bytes.as_mut_slice().into()
    }
}

impl<'a> From<&'a str> for Buf<'a> {
    #[inline(always)]
    fn from(text: &'a str) -> Self {
        text.as_bytes().into()
    }
}

impl Operand for Buf<'_> {
    const KIND: Kind = Kind::Buffer;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        put_slice(sqe, at, self.addr, self.len);
    }
}

impl Operand for BufMut<'_> {
    const KIND: Kind = Kind::Buffer;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        put_slice(sqe, at, self.addr, self.len);
    }
}

macro_rules! fixed {
    ($(#[doc = $doc:literal])* $fixed:ident, $of:ident, $ptr:ty) => {
        $(#[doc = $doc])*
        ///
        /// The kernel refuses a range that is not inside the registered buffer of that index (`EFAULT`).
        #[derive(Debug)]
        pub struct $fixed<'a> {
            memory: $of<'a>,
            index: u16,
        }

        impl<'a> $fixed<'a> {
            /// Part or all of the memory registered under `index`.
            #[inline(always)]
            pub fn new(memory: impl Into<$of<'a>>, index: u16) -> Self {
                $fixed { memory: memory.into(), index }
            }

            /// As it is, if the memory is inside of what the ring has registered in that slot by the calls of this
            /// crate. What the kernel checks when the operation starts is checked here before it is submitted.
            ///
            /// # Errors
            ///
            /// [`NotInside`] says what is registered there.
            pub fn inside(self, ring: &Ring) -> Result<Self, NotInside> {
                ring.buffers.check(self.index, self.memory.addr, self.memory.len)?;
                Ok(self)
            }
        }

        impl Operand for $fixed<'_> {
            const KIND: Kind = Kind::Buffer;
            /// Takes three places: address, length, index.
            #[inline(always)]
            fn put(self, sqe: &mut RawSqe, at: &[At]) {
                self.memory.put(sqe, at);
                sqe.set(at[2], u64::from(self.index));
            }
        }
    };
}

fixed! {
    /// Memory inside a registered buffer, to be read by the kernel.
    FixedBuf, Buf, *const u8
}
fixed! {
    /// Memory inside a registered buffer, to be written by the kernel.
    FixedBufMut, BufMut, *mut u8
}

/// An array of buffers that the kernel reads, borrowed for `'a`. The kernel takes at most 1024.
#[derive(Clone, Copy, Debug)]
pub struct IoVec<'a> {
    addr: usize,
    len: usize,
    names: PhantomData<&'a [IoSlice<'a>]>,
}

/// An array of buffers that the kernel writes, borrowed for `'a`. The kernel takes at most 1024.
#[derive(Debug)]
pub struct IoVecMut<'a> {
    addr: usize,
    len: usize,
    names: PhantomData<&'a mut [u8]>,
}

impl<'a> From<&'a [IoSlice<'_>]> for IoVec<'a> {
    #[inline(always)]
    fn from(slices: &'a [IoSlice<'_>]) -> Self {
        IoVec { addr: slices.as_ptr().expose_provenance(), len: slices.len(), names: PhantomData }
    }
}

impl<'a, const N: usize> From<&'a [IoSlice<'_>; N]> for IoVec<'a> {
    #[inline(always)]
    fn from(slices: &'a [IoSlice<'_>; N]) -> Self {
        slices.as_slice().into()
    }
}

impl<'a> From<&'a mut [IoSliceMut<'_>]> for IoVecMut<'a> {
    #[inline(always)]
    fn from(slices: &'a mut [IoSliceMut<'_>]) -> Self {
        IoVecMut { addr: slices.as_mut_ptr().expose_provenance(), len: slices.len(), names: PhantomData }
    }
}

impl<'a, const N: usize> From<&'a mut [IoSliceMut<'_>; N]> for IoVecMut<'a> {
    #[inline(always)]
    fn from(slices: &'a mut [IoSliceMut<'_>; N]) -> Self {
        slices.as_mut_slice().into()
    }
}

macro_rules! iovec {
    ($($vec:ident),*) => { $(
        impl $vec<'_> {
            /// An array that no reference stands for.
            ///
            /// # Safety
            ///
            /// For all of `'a`: `len` elements from `slices` may be read, and the memory that they name may be
            /// accessed as the operation does.
            #[inline(always)]
            pub unsafe fn from_raw(slices: *const libc::iovec, len: usize) -> Self {
                $vec { addr: slices.expose_provenance(), len, names: PhantomData }
            }

            pub(super) fn addr(&self) -> usize {
                self.addr
            }

            pub(super) fn count(&self) -> usize {
                self.len
            }

            fn elements(&self) -> &[RawVec] {
                if self.len == 0 {
                    return &[];
                }
                // SAFETY: an array of `iovec`, by a reference or the promise of who made this from a pointer: as many
                // may be read. `RawVec` is laid out like them.
                unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(self.addr), self.len) }
            }
        }

        impl FixedIoVec<$vec<'_>> {
            /// As [`FixedBuf::inside`], for each buffer of the array.
            ///
            /// # Errors
            ///
            /// [`NotInside`] is about the first that is not.
            pub fn inside(self, ring: &Ring) -> Result<Self, NotInside> {
                for vec in self.vecs.elements() {
                    ring.buffers.check(self.index, vec.base, vec.len)?;
                }
                Ok(self)
            }
        }

        impl Operand for $vec<'_> {
            const KIND: Kind = Kind::Buffer;
            #[inline(always)]
            fn put(self, sqe: &mut RawSqe, at: &[At]) {
                put_slice(sqe, at, self.addr, self.len);
            }
        }
    )* };
}

iovec!(IoVec, IoVecMut);

/// Room for `N` elements of an `iovec` array inside a state that owns the buffers, too.
///
/// An `IoSlice` borrows, so a struct cannot hold both a buffer and the `IoSlice` over it. This holds the raw array;
/// filling it borrows array and buffers together, for as long as the entry lives:
///
/// ```
/// use rawring::{Sqe, op::Readv, operand::{Fixed, IoVecs}};
///
/// struct State { header: [u8; 16], body: Vec<u8>, vecs: IoVecs<2> }
///
/// fn entry(state: &mut State) -> Sqe<'_> {
///     let vecs = state.vecs.fill_mut([&mut state.header[..], &mut state.body[..]]);
///     Readv::new(Fixed(0), vecs).into()
/// }
/// # let mut state = State { header: [0; 16], body: vec![0; 100], vecs: IoVecs::default() };
/// # assert!(format!("{:?}", entry(&mut state)).contains("[2]"));
/// ```
#[derive(Debug)]
#[repr(transparent)]
pub struct IoVecs<const N: usize>([RawVec; N]);

/// `struct iovec`, with an address that is a number, so that it is `Send`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct RawVec {
    base: usize,
    len: usize,
}

const _: () = assert!(size_of::<RawVec>() == size_of::<libc::iovec>());

impl<const N: usize> Default for IoVecs<N> {
    fn default() -> Self {
        IoVecs([RawVec::default(); N])
    }
}

impl<const N: usize> IoVecs<N> {
    /// Fills the array with buffers to be read; those past the first `N` are not taken.
    pub fn fill<'a>(&'a mut self, buffers: impl IntoIterator<Item = &'a [u8]>) -> IoVec<'a> {
        let mut len = 0;
        for (vec, bytes) in self.0.iter_mut().zip(buffers) {
            *vec = RawVec { base: bytes.as_ptr().expose_provenance(), len: bytes.len() };
            len += 1;
        }
        IoVec { addr: self.0.as_ptr().expose_provenance(), len, names: PhantomData }
    }

    /// Fills the array with buffers to be written; those past the first `N` are not taken.
    pub fn fill_mut<'a>(&'a mut self, buffers: impl IntoIterator<Item = &'a mut [u8]>) -> IoVecMut<'a> {
        let mut len = 0;
        for (vec, bytes) in self.0.iter_mut().zip(buffers) {
            *vec = RawVec { base: bytes.as_mut_ptr().expose_provenance(), len: bytes.len() };
            len += 1;
        }
        IoVecMut { addr: self.0.as_mut_ptr().expose_provenance(), len, names: PhantomData }
    }
}

/// An array of buffers that all lie in one registered buffer.
#[derive(Debug)]
pub struct FixedIoVec<V> {
    vecs: V,
    index: u16,
}

impl<V> FixedIoVec<V> {
    /// The buffers of `vecs`, each inside the memory registered under `index`.
    #[inline(always)]
    pub fn new(vecs: V, index: u16) -> Self {
        FixedIoVec { vecs, index }
    }
}

impl<V: Operand> Operand for FixedIoVec<V> {
    const KIND: Kind = Kind::Buffer;
    /// Takes three places: address, count, index.
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        self.vecs.put(sqe, at);
        sqe.set(at[2], u64::from(self.index));
    }
}

/// A group of provided buffers, from which the kernel picks when data is there: a [`BufRing`](crate::buf_ring::BufRing), or
/// what [`ProvideBuffers`](crate::op::ProvideBuffers) has put into it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Group(pub u16);

impl Operand for Group {
    const KIND: Kind = Kind::Unsigned;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.0));
        sqe.flags |= sys::IOSQE_BUFFER_SELECT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_16_lengths_saturate_and_are_never_cut() {
        let mut sqe = RawSqe::ZERO;
        let too_long = (u32::MAX as usize).saturating_add(5);
        // SAFETY: the entry is never submitted, so nothing is accessed.
        let buf = unsafe { BufMut::from_raw(core::ptr::without_provenance_mut(4096), too_long) };
        buf.put(&mut sqe, &[At::ADDR, At::LEN]);
        assert_eq!(sqe.len, u32::MAX, "the lower 32 bits would be 4");
        assert_eq!(crate::operand::len32(0x7fff_f000), 0x7fff_f000);
    }

    #[test]
    fn a_vector_is_taken_by_its_elements() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"abc");
        let mut sqe = RawSqe::ZERO;
        BufMut::from(&mut bytes).put(&mut sqe, &[At::ADDR, At::LEN]);
        assert_eq!((sqe.addr, sqe.len), (bytes.as_ptr().addr() as u64, 3));
    }
}
