//! Descriptors: ordinary ones, registered ones, and the slots that operations fill.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use super::{Kind, Operand};
use crate::sqe::{At, RawSqe};
use core::marker::PhantomData;
use rawring_sys as sys;

/// The index of a registered file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fixed(pub u32);

/// An index where the row itself says that it is one.
///
/// No table has `u32::MAX` slots; for [`FilesUpdate`](crate::op::FilesUpdate) that number would mean "allocate", and
/// have the kernel write to an array that it was lent for reading. It is stored as one less, which the kernel refuses.
impl Operand for Fixed {
    const KIND: Kind = Kind::Unsigned;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.0.min(u32::MAX - 1)));
    }
}

/// The file that an operation works on: a descriptor borrowed for `'a`, or a registered file.
///
/// Made from a [`BorrowedFd`], from a reference to anything that is [`AsFd`], or from [`Fixed`].
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    raw: i32,
    fixed: bool,
    names: PhantomData<BorrowedFd<'a>>,
}

impl<'a, T: AsFd> From<&'a T> for File<'a> {
    #[inline(always)]
    fn from(file: &'a T) -> Self {
        file.as_fd().into()
    }
}

impl<'a> From<BorrowedFd<'a>> for File<'a> {
    #[inline(always)]
    fn from(fd: BorrowedFd<'a>) -> Self {
        File { raw: fd.as_raw_fd(), fixed: false, names: PhantomData }
    }
}

impl From<Fixed> for File<'_> {
    #[inline(always)]
    fn from(Fixed(index): Fixed) -> Self {
        File { raw: index as i32, fixed: true, names: PhantomData }
    }
}

impl Operand for File<'_> {
    const KIND: Kind = Kind::File;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.raw as u32));
        // The latest file counts: an earlier one may have been a registered one.
        sqe.flags &= !sys::IOSQE_FIXED_FILE;
        if self.fixed {
            sqe.flags |= sys::IOSQE_FIXED_FILE;
        }
    }
}

/// The input of [`Splice`](crate::op::Splice) and [`Tee`](crate::op::Tee), which says "registered" by a bit of its own.
#[derive(Clone, Copy, Debug)]
pub struct FileIn<'a>(File<'a>);

impl<'a, T: Into<File<'a>>> From<T> for FileIn<'a> {
    #[inline(always)]
    fn from(file: T) -> Self {
        FileIn(file.into())
    }
}

impl Operand for FileIn<'_> {
    const KIND: Kind = Kind::FileIn;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.0.raw as u32));
        if self.0.fixed {
            let flags = sqe.get(At::SPLICE_FLAGS) | u64::from(sys::SPLICE_F_FD_IN_FIXED);
            sqe.set(At::SPLICE_FLAGS, flags);
        }
    }
}

/// A descriptor that cannot be a registered one.
impl Operand for BorrowedFd<'_> {
    const KIND: Kind = Kind::Fd;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.as_raw_fd() as u32));
    }
}

/// A descriptor that the operation closes: the entry owns it.
impl Operand for OwnedFd {
    const KIND: Kind = Kind::Fd;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.into_raw_fd() as u32));
    }
}

/// Where an operation puts the file that it opens, in the table of registered files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectSlot(u32);

impl DirectSlot {
    /// The kernel picks a free slot; the completion's result is its index.
    pub const ALLOC: DirectSlot = DirectSlot(sys::IORING_FILE_INDEX_ALLOC);

    /// The slot with this index; a file that is there is replaced.
    ///
    /// The entry holds the index plus one, and all ones mean [`ALLOC`](Self::ALLOC). The indices for which that leaves
    /// no encoding are beyond any table's size; they are stored as the largest one there is, which the kernel refuses
    /// in the same way.
    #[inline(always)]
    pub const fn at(index: u32) -> Self {
        if index >= u32::MAX - 2 { DirectSlot(u32::MAX - 1) } else { DirectSlot(index + 1) }
    }
}

impl From<Fixed> for DirectSlot {
    #[inline(always)]
    fn from(Fixed(index): Fixed) -> Self {
        DirectSlot::at(index)
    }
}

impl Operand for DirectSlot {
    const KIND: Kind = Kind::Slot;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        sqe.set(at[0], u64::from(self.0));
    }
}

/// One element of the array that [`FilesUpdate`](crate::op::FilesUpdate) takes.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSlot<'a> {
    raw: RawFd,
    names: PhantomData<BorrowedFd<'a>>,
}

impl FileSlot<'_> {
    /// Empties the slot.
    pub const CLEAR: FileSlot<'static> = FileSlot { raw: -1, names: PhantomData };
    /// Leaves the slot as it is.
    pub const SKIP: FileSlot<'static> = FileSlot { raw: sys::IORING_REGISTER_FILES_SKIP, names: PhantomData };
}

impl FileSlot<'_> {
    /// Whether this puts a file into the slot.
    pub(crate) fn is_file(&self) -> bool {
        self.raw >= 0
    }
}

impl<'a> From<BorrowedFd<'a>> for FileSlot<'a> {
    fn from(fd: BorrowedFd<'a>) -> Self {
        FileSlot { raw: fd.as_raw_fd(), names: PhantomData }
    }
}

impl Operand for &[FileSlot<'_>] {
    const KIND: Kind = Kind::Buffer;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        super::put_slice(sqe, at, self.as_ptr().expose_provenance(), self.len());
    }
}

/// Descriptors to be put into free slots, in an array that the kernel fills with the indices of those slots.
///
/// The kernel reads each element as a descriptor and then overwrites it. So the array is plain numbers of the caller's,
/// and the descriptors are borrowed apart from it: an index can never be taken for a descriptor by a second use.
#[derive(Debug)]
pub struct FilesToPlace<'a> {
    array: &'a mut [i32],
    names: PhantomData<BorrowedFd<'a>>,
}

impl<'a> FilesToPlace<'a> {
    /// Fills `array` with the descriptors; those for which it has no room are not taken.
    ///
    /// When the operation has completed with a result of `n`, the first `n` elements are indices.
    pub fn new(array: &'a mut [i32], files: impl IntoIterator<Item = BorrowedFd<'a>>) -> Self {
        let mut len = 0;
        for (element, file) in array.iter_mut().zip(files) {
            *element = file.as_raw_fd();
            len += 1;
        }
        FilesToPlace { array: &mut array[..len], names: PhantomData }
    }
}

impl Operand for FilesToPlace<'_> {
    const KIND: Kind = Kind::Buffer;
    #[inline(always)]
    fn put(self, sqe: &mut RawSqe, at: &[At]) {
        super::put_slice(sqe, at, self.array.as_mut_ptr().expose_provenance(), self.array.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(slot: DirectSlot) -> u32 {
        let mut sqe = RawSqe::ZERO;
        slot.put(&mut sqe, &[At::FILE_INDEX]);
        sqe.file_index
    }

    #[test]
    fn item_14_direct_slots_are_stored_plus_one_and_never_become_alloc_or_none() {
        assert_eq!(stored(DirectSlot::at(0)), 1);
        assert_eq!(stored(DirectSlot::at(41)), 42);
        assert_eq!(stored(DirectSlot::ALLOC), u32::MAX);
        for index in [u32::MAX - 3, u32::MAX - 2, u32::MAX - 1, u32::MAX] {
            assert_ne!(stored(DirectSlot::at(index)), u32::MAX, "{index:#x} must not read as ALLOC");
            assert_ne!(stored(DirectSlot::at(index)), 0, "{index:#x} must not read as none");
        }
    }

    #[test]
    fn item_14_registered_files_are_not_off_by_one() {
        let mut sqe = RawSqe::ZERO;
        File::from(Fixed(7)).put(&mut sqe, &[At::FD]);
        assert_eq!((sqe.fd, sqe.flags), (7, sys::IOSQE_FIXED_FILE));
        let mut sqe = RawSqe::ZERO;
        FileIn::from(Fixed(7)).put(&mut sqe, &[At::SPLICE_FD_IN]);
        assert_eq!((sqe.file_index, sqe.flags), (7, 0));
        assert_eq!(sqe.get(At::SPLICE_FLAGS), u64::from(sys::SPLICE_F_FD_IN_FIXED));
    }
    #[test]
    fn no_index_reads_as_allocate() {
        let mut sqe = RawSqe::ZERO;
        Fixed(u32::MAX).put(&mut sqe, &[At::OFF]);
        assert_ne!(sqe.off as u32, sys::IORING_FILE_INDEX_ALLOC);
        Fixed(7).put(&mut sqe, &[At::OFF]);
        assert_eq!(sqe.off, 7);
    }

    #[test]
    fn files_to_place_take_no_more_than_there_is_room() {
        let stdin = std::io::stdin();
        let mut array = [-7; 2];
        let files = FilesToPlace::new(&mut array, [stdin.as_fd()]);
        assert_eq!(files.array, [stdin.as_raw_fd()]);
        assert_eq!(FilesToPlace::new(&mut array, [stdin.as_fd(); 3]).array.len(), 2);
    }
}
