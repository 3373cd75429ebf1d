//! Operations on names: opening, renaming, linking, unlinking, extended attributes.
//!
//! What they share about paths and directories is told at [`OpenAt`], what they share about slots at [`OpenAtDirect`].

use core::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, XattrFlags};

use crate::operand::{Buf, BufMut, DirectSlot, File, OpenHow};

ops! {
    /// Opens a file (`openat(2)`).
    ///
    /// Whoever reaps the completion owns the descriptor. `mode` counts only when a file is created.
    ///
    /// Paths, names and what is written are copied when the entry is taken: they are needed until submitted. A
    /// directory that a relative path starts from is looked up when the operation starts; [`CWD`](rustix::fs::CWD) is
    /// the current one. None of the directories can be a registered file.
    ///
    /// ```
    /// use rawring::{Ring, op::{MkdirAt, OpenAt, UnlinkAt}};
    /// use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    /// use std::{ffi::CString, os::fd::{FromRawFd, OwnedFd}};
    ///
    /// let dir = CString::new(format!("{}/rawring-dir-{}", std::env::temp_dir().display(), std::process::id()))?;
    /// let mut ring = Ring::new(8)?;
    /// let mut results = [None; 3];
    /// ring.scope(|s| {
    ///     s.push(MkdirAt::new(CWD, &dir, Mode::RWXU).link().user_data(0)).expect("room");
    ///     let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    ///     s.push(OpenAt::new(CWD, &dir, flags, Mode::empty()).link().user_data(1)).expect("room");
    ///     s.push(UnlinkAt::new(CWD, &dir).at_flags(AtFlags::REMOVEDIR).user_data(2)).expect("room");
    ///     s.finish(|cqe| results[cqe.user_data().0 as usize] = Some(cqe.result()))
    /// })??;
    /// let [Some(Ok(0)), Some(Ok(fd)), Some(Ok(0))] = results else { panic!("{results:?}") };
    /// // SAFETY: the kernel made this descriptor for us, and nobody else has seen it.
    /// drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    OpenAt = IORING_OP_OPENAT, "5.6", Once {
        new(
            val dir: BorrowedFd<'a> => [FD] Completed,
            val path: &'a CStr => [ADDR] Submitted,
            val open_flags: OFlags => [OPEN_FLAGS],
            val mode: Mode => [LEN],
        )
        result "the new descriptor"
    }

    /// Opens a file in a slot of the table of registered files (`openat(2)`, `io_uring_prep_openat_direct(3)`).
    ///
    /// An open that ends in a slot of the table of registered files (`…Direct`) makes no descriptor: nothing can leak
    /// on exec, and the next entry of a chain can use the slot already.
    ///
    /// `EINVAL` with [`OFlags::CLOEXEC`], which means nothing there, and for an index that the table does not have;
    /// `ENXIO` if there is no table; `ENFILE` if the kernel is to pick a slot and has none.
    OpenAtDirect = IORING_OP_OPENAT, "5.15", Once {
        new(
            val dir: BorrowedFd<'a> => [FD] Completed,
            val path: &'a CStr => [ADDR] Submitted,
            val open_flags: OFlags => [OPEN_FLAGS],
            val mode: Mode => [LEN],
            into slot: DirectSlot => [FILE_INDEX],
        )
        marks [FILE_INDEX nonzero]
        result "0, or the index with `DirectSlot::ALLOC`"
    }

    /// Opens a file, with limits on how the path is resolved (`openat2(2)`).
    ///
    /// Whoever reaps the completion owns the descriptor.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EINVAL` | flags that the kernel does not know, or a mode where nothing can be created |
    /// | `EXDEV`, `ELOOP` | the path leaves what `resolve` allows |
    /// | `EAGAIN` | with `ResolveFlags::CACHED`: it would have to block |
    OpenAt2 = IORING_OP_OPENAT2, "5.6", Once {
        new(
            val dir: BorrowedFd<'a> => [FD] Completed,
            val path: &'a CStr => [ADDR] Submitted,
            val how: &'a OpenHow => [ADDR2, LEN] Submitted,
        )
        result "the new descriptor"
    }

    /// Opens a file in a slot of the table of registered files, with limits on how the path is resolved (`openat2(2)`,
    /// `io_uring_prep_openat2_direct(3)`).
    ///
    /// Errors as of [`OpenAt2`] and [`OpenAtDirect`].
    OpenAt2Direct = IORING_OP_OPENAT2, "5.15", Once {
        new(
            val dir: BorrowedFd<'a> => [FD] Completed,
            val path: &'a CStr => [ADDR] Submitted,
            val how: &'a OpenHow => [ADDR2, LEN] Submitted,
            into slot: DirectSlot => [FILE_INDEX],
        )
        marks [FILE_INDEX nonzero]
        result "0, or the index with `DirectSlot::ALLOC`"
    }

    /// Renames a file (`renameat2(2)`).
    RenameAt = IORING_OP_RENAMEAT, "5.11", Once {
        new(
            val old_dir: BorrowedFd<'a> => [FD] Completed,
            val old_path: &'a CStr => [ADDR] Submitted,
            val new_dir: BorrowedFd<'a> => [LEN] Completed,
            val new_path: &'a CStr => [ADDR2] Submitted,
        )
        with {
            /// Exchange both, or do not replace: `EEXIST` then if the new name is taken.
            val rename_flags: RenameFlags => [RENAME_FLAGS];
        }
        result "0"
    }

    /// Removes a name (`unlinkat(2)`).
    UnlinkAt = IORING_OP_UNLINKAT, "5.11", Once {
        new(val dir: BorrowedFd<'a> => [FD] Completed, val path: &'a CStr => [ADDR] Submitted)
        with {
            /// [`AtFlags::REMOVEDIR`] removes a directory, and only an empty one.
            val at_flags: AtFlags => [UNLINK_FLAGS];
        }
        result "0"
    }

    /// Makes a directory (`mkdirat(2)`).
    MkdirAt = IORING_OP_MKDIRAT, "5.15", Once {
        new(
            val dir: BorrowedFd<'a> => [FD] Completed,
            val path: &'a CStr => [ADDR] Submitted,
            val mode: Mode => [LEN],
        )
        result "0"
    }

    /// Makes a symbolic link at `path` that leads to `target` (`symlinkat(2)`).
    SymlinkAt = IORING_OP_SYMLINKAT, "5.15", Once {
        new(
            val target: &'a CStr => [ADDR] Submitted,
            val dir: BorrowedFd<'a> => [FD] Completed,
            val path: &'a CStr => [ADDR2] Submitted,
        )
        result "0"
    }

    /// Gives a file another name (`linkat(2)`).
    LinkAt = IORING_OP_LINKAT, "5.15", Once {
        new(
            val old_dir: BorrowedFd<'a> => [FD] Completed,
            val old_path: &'a CStr => [ADDR] Submitted,
            val new_dir: BorrowedFd<'a> => [LEN] Completed,
            val new_path: &'a CStr => [ADDR2] Submitted,
        )
        with {
            /// Follow the old path if it is a symbolic link, or take `old_dir` itself for an empty one.
            val at_flags: AtFlags => [HARDLINK_FLAGS];
        }
        result "0"
    }

    /// Sets an extended attribute of an open file (`fsetxattr(2)`). Errors as of [`Setxattr`]; Linux 6.12 and before
    /// refuse registered files with `EBADF`.
    Fsetxattr = IORING_OP_FSETXATTR, "5.19", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val name: &'a CStr => [ADDR] Submitted,
            into value: Buf<'a> => [ADDR2, LEN] Submitted,
        )
        with {
            /// Only if it is there, or only if it is not.
            val xattr_flags: XattrFlags => [XATTR_FLAGS];
        }
        result "0"
    }

    /// Sets an extended attribute (`setxattr(2)`).
    ///
    /// A relative path starts from the current directory. `EEXIST` and `ENODATA` by the flags; `EOPNOTSUPP` where
    /// the file system has no such attributes; `E2BIG` for more than 64 KiB.
    Setxattr = IORING_OP_SETXATTR, "5.19", Once {
        new(
            val path: &'a CStr => [ADDR3] Submitted,
            val name: &'a CStr => [ADDR] Submitted,
            into value: Buf<'a> => [ADDR2, LEN] Submitted,
        )
        with {
            /// Only if it is there, or only if it is not.
            val xattr_flags: XattrFlags => [XATTR_FLAGS];
        }
        result "0"
    }

    /// Reads an extended attribute of an open file (`fgetxattr(2)`). Errors as of [`Getxattr`]; Linux 6.12 and before
    /// refuse registered files with `EBADF`.
    Fgetxattr = IORING_OP_FGETXATTR, "5.19", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val name: &'a CStr => [ADDR] Submitted,
            into value: BufMut<'a> => [ADDR2, LEN] Completed out,
        )
        result "the length of the value"
    }

    /// Reads an extended attribute (`getxattr(2)`).
    ///
    /// A relative path starts from the current directory. With an empty buffer the result is the length that there is.
    /// `ERANGE` if the value does not fit; `ENODATA` if there is no such attribute.
    Getxattr = IORING_OP_GETXATTR, "5.19", Once {
        new(
            val path: &'a CStr => [ADDR3] Submitted,
            val name: &'a CStr => [ADDR] Submitted,
            into value: BufMut<'a> => [ADDR2, LEN] Completed out,
        )
        result "the length of the value"
    }
}
