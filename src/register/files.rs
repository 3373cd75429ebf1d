//! Registered files: the table that entries name by index ([`Fixed`](crate::operand::Fixed)) instead of by descriptor.
//!
//! Who owns what, when: the table has references of its own, so a descriptor may be closed once its file is registered.
//! A slot that is replaced or cleared keeps its file alive until the operations that started with it have ended, and so
//! does the whole table when it is unregistered or the ring goes away. Nothing here waits for that; a [`Tag`] tells.
//!
//! These are the calls. [`FileTable`](super::FileTable) keeps account of the slots.

use core::fmt;
use core::ops::Range;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::Tag;
use crate::operand::FileSlot;
use crate::ring::Ring;
use rawring_sys as sys;

/// The largest table that kernels make, as they are in Linux 7.3 and were since 5.12. Used to explain a refusal, never to
/// refuse.
const MAX_SLOTS: usize = 1 << 20;

/// Why files were not registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FilesError {
    /// The table has more slots than this process may have descriptors, which the kernel demands although slots are no
    /// descriptors. The crate does not raise limits.
    Limit {
        /// The slots that were asked for.
        slots: usize,
        /// `RLIMIT_NOFILE`, as it is now.
        limit: u64,
    },
    /// No kernel makes a table this large.
    TooLarge {
        /// The slots that were asked for.
        slots: usize,
    },
    /// There has to be a tag, or `None`, for each element.
    Tags {
        /// The elements.
        files: usize,
        /// The tags.
        tags: usize,
    },
    /// An element that puts no file into its slot has a tag, which would never come back.
    TaggedNothing {
        /// Which.
        index: usize,
    },
    /// All slots of the table that it may choose from are taken.
    Full,
    /// What the kernel says; the documentation of the call tells what it means.
    Kernel(Errno),
}

impl fmt::Display for FilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilesError::Limit { slots, limit } => write!(
                f,
                "a table of {slots} files exceeds the limit on open files (RLIMIT_NOFILE is {limit}): raise it with \
                 setrlimit(2), or register fewer"
            ),
            FilesError::TooLarge { slots } => {
                write!(f, "a table of {slots} files exceeds what kernels make, which is {MAX_SLOTS}")
            }
            FilesError::Tags { files, tags } => {
                write!(f, "{tags} tags for {files} files: pass one for each, None for a file without")
            }
            FilesError::TaggedNothing { index } => {
                write!(f, "element {index} has a tag, but puts no file into its slot: pass None for it")
            }
            FilesError::Full => f.write_str("the table of registered files has no free slot: remove a file first"),
            FilesError::Kernel(errno) => fmt::Display::fmt(errno, f),
        }
    }
}

impl std::error::Error for FilesError {}

impl From<Errno> for FilesError {
    fn from(errno: Errno) -> Self {
        FilesError::Kernel(errno)
    }
}

impl From<FilesError> for std::io::Error {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Kernel(errno) => errno.into(),
            FilesError::Full => std::io::Error::new(std::io::ErrorKind::QuotaExceeded, error),
            _ => std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
        }
    }
}

/// What an errno means for a table of this size.
fn explain(errno: Errno, slots: usize) -> FilesError {
    if errno != Errno::MFILE {
        return FilesError::Kernel(errno);
    }
    match getrlimit(Resource::Nofile).current {
        Some(limit) if slots as u64 > limit => FilesError::Limit { slots, limit },
        _ => FilesError::TooLarge { slots },
    }
}

/// Whether there is a tag for each file, and none for nothing.
fn check_tags(files: &[FileSlot<'_>], tags: &[Option<Tag>]) -> Result<(), FilesError> {
    if files.len() != tags.len() {
        return Err(FilesError::Tags { files: files.len(), tags: tags.len() });
    }
    let nothing = |(file, tag): (&FileSlot<'_>, &Option<Tag>)| tag.is_some() && !file.is_file();
    match files.iter().zip(tags).position(nothing) {
        Some(index) => Err(FilesError::TaggedNothing { index }),
        None => Ok(()),
    }
}

/// The number of elements; more than the kernel can be told are more than it takes.
fn count(files: &[FileSlot<'_>]) -> Result<u32, FilesError> {
    u32::try_from(files.len()).map_err(|_| FilesError::TooLarge { slots: files.len() })
}

impl Ring {
    /// Registers a table of files. [`FileSlot::CLEAR`] stands for an empty slot.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_FILES`, Linux 5.1.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    ///
    /// use rawring::{Ring, op::Fsync, operand::{FileSlot, Fixed}};
    ///
    /// let mut ring = Ring::new(8)?;
    /// let manifest = std::fs::File::open("Cargo.toml")?;
    /// ring.register_files(&[manifest.as_fd().into(), FileSlot::CLEAR])?;
    /// // The table has a reference of its own.
    /// drop(manifest);
    /// ring.push(Fsync::new(Fixed(0)))?;
    /// ring.submit_and_wait(1)?;
    /// assert_eq!(ring.completions().next().expect("waited for it").result(), Ok(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | error | meaning |
    /// | --- | --- |
    /// | [`FilesError::Limit`] | more slots than `RLIMIT_NOFILE` (`EMFILE`) |
    /// | [`FilesError::TooLarge`] | more slots than any kernel makes (`EMFILE`) |
    /// | `EBUSY` | there is a table already |
    /// | `EBADF` | an element is a ring, which cannot be registered, or [`FileSlot::SKIP`] |
    /// | `EINVAL` | no slots |
    /// | `ENOMEM` | no memory for the table |
    /// | `EEXIST`, `EBADF`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn register_files(&self, files: &[FileSlot<'_>]) -> Result<(), FilesError> {
        // SAFETY: the argument is an array of as many descriptors as `count` says, read during the call; the kernel
        // takes references of its own.
        unsafe { self.register_raw(sys::IORING_REGISTER_FILES, files.as_ptr().cast_mut().cast(), count(files)?) }
            .map(drop)
            .map_err(|errno| explain(errno, files.len()))
    }

    /// As [`register_files`](Self::register_files), with tags: each comes back in a [completion](crate::Cqe::tag) of
    /// this ring once its file was replaced or unregistered, and the last operation with it has ended.
    ///
    /// `IORING_REGISTER_FILES2`, Linux 5.13.
    ///
    /// # Errors
    ///
    /// As for `register_files`; [`FilesError::Tags`] and [`FilesError::TaggedNothing`] without asking the kernel.
    pub fn register_files_tagged(&self, files: &[FileSlot<'_>], tags: &[Option<Tag>]) -> Result<(), FilesError> {
        check_tags(files, tags)?;
        let argument = sys::io_uring_rsrc_register {
            nr: count(files)?,
            data: files.as_ptr().expose_provenance() as u64,
            tags: tags.as_ptr().expose_provenance() as u64,
            ..sys::io_uring_rsrc_register::ZERO
        };
        self.register_table(argument).map_err(|errno| explain(errno, files.len()))
    }

    /// Registers a table of empty slots.
    ///
    /// `IORING_REGISTER_FILES2` with `IORING_RSRC_REGISTER_SPARSE`, Linux 5.19; before that, an array of empty slots is
    /// registered.
    ///
    /// # Errors
    ///
    /// As for [`register_files`](Self::register_files).
    pub fn register_sparse_files(&self, slots: u32) -> Result<(), FilesError> {
        let argument = sys::io_uring_rsrc_register {
            nr: slots,
            flags: sys::IORING_RSRC_REGISTER_SPARSE,
            ..sys::io_uring_rsrc_register::ZERO
        };
        match self.register_table(argument) {
            Err(Errno::INVAL) if slots > 0 && slots as usize <= MAX_SLOTS => {
                self.register_files(&vec![FileSlot::CLEAR; slots as usize])
            }
            result => result.map_err(|errno| explain(errno, slots as usize)),
        }
    }

    /// The argument names arrays that are valid during the call, or none.
    fn register_table(&self, mut argument: sys::io_uring_rsrc_register) -> Result<(), Errno> {
        let size = size_of_val(&argument) as u32;
        // SAFETY: the argument is a struct of the size given. Both callers pass the addresses of arrays with `nr`
        // elements that they borrow, or none; they are read during the call.
        unsafe { self.register_raw(sys::IORING_REGISTER_FILES2, (&raw mut argument).cast(), size) }.map(drop)
    }

    /// Replaces files of the table from slot `first` on, and returns how many elements were used: fewer than there are
    /// if one of them failed. [`FileSlot::CLEAR`] empties a slot, [`FileSlot::SKIP`] leaves it alone.
    ///
    /// The slot of the element that failed is empty then. Operations that have started keep the file that they started
    /// with.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_FILES_UPDATE`, Linux 5.5. The operation
    /// [`FilesUpdate`](crate::op::FilesUpdate) does the same in order with others.
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `ENXIO` | the ring has no table |
    /// | `EINVAL` | the range is not inside the table, or empty |
    /// | `EOVERFLOW` | the range ends beyond all numbers |
    /// | `EBADF` | the first element is a ring; or the ring has no name here |
    /// | `ENOMEM` | no memory |
    /// | `EEXIST`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn update_files(&self, first: u32, files: &[FileSlot<'_>]) -> Result<u32, Errno> {
        let mut argument = sys::io_uring_rsrc_update {
            offset: first,
            data: files.as_ptr().expose_provenance() as u64,
            ..sys::io_uring_rsrc_update::ZERO
        };
        let count = u32::try_from(files.len()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the argument names an array of `count` descriptors; both are read during the call, and the kernel takes
        // references of its own.
        unsafe { self.register_raw(sys::IORING_REGISTER_FILES_UPDATE, (&raw mut argument).cast(), count) }
    }

    /// As [`update_files`](Self::update_files), with tags for the files that are put in. The tags of those that they
    /// replace come back.
    ///
    /// `IORING_REGISTER_FILES_UPDATE2`, Linux 5.13.
    ///
    /// # Errors
    ///
    /// As for `update_files`; [`FilesError::Tags`] and [`FilesError::TaggedNothing`] without asking the kernel.
    pub fn update_files_tagged(
        &self,
        first: u32,
        files: &[FileSlot<'_>],
        tags: &[Option<Tag>],
    ) -> Result<u32, FilesError> {
        check_tags(files, tags)?;
        let mut argument = sys::io_uring_rsrc_update2 {
            offset: first,
            data: files.as_ptr().expose_provenance() as u64,
            tags: tags.as_ptr().expose_provenance() as u64,
            nr: count(files)?,
            ..sys::io_uring_rsrc_update2::ZERO
        };
        let size = size_of_val(&argument) as u32;
        // SAFETY: the argument is a struct of the size given and names arrays of `nr` elements each; all are read during
        // the call, and the kernel takes references of its own.
        Ok(unsafe { self.register_raw(sys::IORING_REGISTER_FILES_UPDATE2, (&raw mut argument).cast(), size) }?)
    }

    /// Drops the whole table. Operations that have started keep their files. Tags come back since Linux 6.13; before that
    /// they are lost, and this waits for the operations that use the table.
    ///
    /// Works in every state of a ring. `IORING_UNREGISTER_FILES`, Linux 5.1.
    ///
    /// # Errors
    ///
    /// `ENXIO` if there is no table; `EEXIST`, `EBADF` and `EACCES` as for [`register_files`](Self::register_files).
    pub fn unregister_files(&self) -> Result<(), Errno> {
        // SAFETY: the operation takes no argument; what it drops are references of the kernel's own.
        unsafe { self.register_raw(sys::IORING_UNREGISTER_FILES, core::ptr::null_mut(), 0) }.map(drop)
    }

    /// Limits the slots that the kernel picks where an operation leaves it the choice
    /// ([`DirectSlot::ALLOC`](crate::operand::DirectSlot::ALLOC)). A new table starts with all of them.
    ///
    /// Files that are there, and operations that name their slots, are not affected. Works in every state of a ring.
    /// `IORING_REGISTER_FILE_ALLOC_RANGE`, Linux 6.0.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the range is not inside the table (or the kernel is older), `EOVERFLOW` if it ends beyond all numbers;
    /// `EEXIST`, `EBADF` and `EACCES` as for [`register_files`](Self::register_files).
    pub fn file_alloc_range(&self, slots: Range<u32>) -> Result<(), Errno> {
        let len = slots.end.saturating_sub(slots.start);
        let mut argument =
            sys::io_uring_file_index_range { off: slots.start, len, ..sys::io_uring_file_index_range::ZERO };
        // SAFETY: the argument is one range, read during the call.
        unsafe { self.register_raw(sys::IORING_REGISTER_FILE_ALLOC_RANGE, (&raw mut argument).cast(), 0) }.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn tags_and_files_go_in_pairs() {
        let stdin = std::io::stdin();
        let (file, tag) = (FileSlot::from(stdin.as_fd()), Tag::new(1));
        assert_eq!(check_tags(&[file, FileSlot::CLEAR], &[tag, None]), Ok(()));
        assert_eq!(check_tags(&[file], &[]), Err(FilesError::Tags { files: 1, tags: 0 }));
        for nothing in [FileSlot::CLEAR, FileSlot::SKIP] {
            assert_eq!(check_tags(&[file, nothing], &[tag, tag]), Err(FilesError::TaggedNothing { index: 1 }));
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        let text = explain(Errno::MFILE, usize::MAX).to_string();
        assert!(text.contains("RLIMIT_NOFILE") || text.contains("exceeds what kernels make"), "{text}");
        assert_eq!(explain(Errno::BUSY, 1), FilesError::Kernel(Errno::BUSY));
        let io = std::io::Error::from(FilesError::Kernel(Errno::BUSY));
        assert_eq!(io.raw_os_error(), Some(libc::EBUSY));
        assert!(std::io::Error::from(FilesError::Full).to_string().contains("no free slot"));
    }
}
