//! Operations on open files beside transfers: flushing, space, advice, splicing, closing, status, pipes.
//!
//! Descriptors that go away are owned by their entry ([`Close`]); those that an operation makes belong to whoever reaps
//! its completion, or reads the array that it filled ([`Pipe`]).

use core::ffi::CStr;
use core::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Advice, AtFlags, FallocateFlags, Statx as StatxBuf, StatxFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};

use crate::flags::FsyncFlags;
use crate::operand::{DirectSlot, File, FileIn, Length, SyncRangeFlags};
use crate::sqe::Sqe;
use rawring_sys as sys;

ops! {
    /// Writes a file's data and metadata out to its device (`fsync(2)`).
    ///
    /// Says nothing about writes that are still in flight: link it to them, or [drain](Self::drain).
    Fsync = IORING_OP_FSYNC, "5.1", Once {
        new(into file: File<'a> => [FD] Completed)
        with {
            /// Data only, and the metadata needed to read it: `fdatasync(2)`.
            val fsync_flags: FsyncFlags => [FSYNC_FLAGS];
            /// Where the range to flush starts. Without offset and length it is the whole file.
            val offset: u64 => [OFF];
            /// How long the range is. File systems may flush more than the range.
            val len: u32 => [LEN];
        }
        result "0"
    }

    /// Starts, or waits for, writing out changed pages in a range of a file (`sync_file_range(2)`).
    ///
    /// Not a substitute for [`Fsync`]: metadata and the device's own cache are left alone. `ESPIPE` for what is no
    /// file, directory, block device or link.
    SyncFileRange = IORING_OP_SYNC_FILE_RANGE, "5.2", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val offset: u64 => [OFF],
            val len: u32 => [LEN],
            val range_flags: SyncRangeFlags => [SYNC_RANGE_FLAGS],
        )
        result "0"
    }

    /// Allocates, frees or moves space of a file (`fallocate(2)`).
    ///
    /// ```
    /// use rawring::{Ring, op::{Fallocate, Fsync, Statx}};
    /// use rustix::fs::{AtFlags, FallocateFlags, StatxFlags};
    /// use std::{mem::MaybeUninit, os::fd::AsFd};
    ///
    /// # let path = std::env::temp_dir().join(format!("rawring-file-{}", std::process::id()));
    /// # let file = std::fs::File::options().read(true).write(true).create(true).open(&path)?;
    /// # std::fs::remove_file(path)?;
    /// let mut ring = Ring::new(8)?;
    /// let mut stat = MaybeUninit::uninit();
    /// let mut all_well = true;
    /// ring.scope(|s| {
    ///     s.push(Fallocate::new(&file, FallocateFlags::empty(), 0, 8192).link()).expect("room");
    ///     s.push(Fsync::new(&file).link()).expect("room");
    ///     s.push(Statx::new(file.as_fd(), c"", AtFlags::EMPTY_PATH, StatxFlags::SIZE, &mut stat)).expect("room");
    ///     s.finish(|cqe| all_well &= cqe.result() == Ok(0))
    /// })??;
    /// assert!(all_well);
    /// // SAFETY: the operation has succeeded, so the kernel has filled in all of it.
    /// assert_eq!(unsafe { stat.assume_init() }.stx_size, 8192);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Fallocate = IORING_OP_FALLOCATE, "5.6", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val mode: FallocateFlags => [LEN],
            val offset: u64 => [OFF],
            val len: u64 => [ADDR],
        )
        result "0"
    }

    /// Closes a descriptor (`close(2)`).
    ///
    /// The entry owns the descriptor. If it is never submitted, or dropped before, the descriptor leaks;
    /// [`take_back`](Self::take_back) gets it out of an entry that a ring refused. If the completion says `ECANCELED`
    /// (a link broke), the descriptor is still open and nobody's.
    ///
    /// Cancels nothing: operations in flight keep the open file until they are done. `EBADF` for the descriptor of a
    /// ring, which cannot be closed in this way.
    Close = IORING_OP_CLOSE, "5.6", Once {
        new(into file: OwnedFd => [FD])
        result "0"
    }

    /// Empties a slot of the table of registered files (`io_uring_prep_close_direct(3)`).
    ///
    /// Operations in flight keep the file until they are done. `EBADF` if the slot is empty already, `ENXIO` if there
    /// is no table, `EINVAL` if it has no such slot.
    CloseDirect = IORING_OP_CLOSE, "5.15", Once {
        new(into slot: DirectSlot => [FILE_INDEX])
        marks [FILE_INDEX nonzero]
        result "0"
    }

    /// Asks for facts about a file (`statx(2)`).
    ///
    /// `dir` is where a relative path starts: a directory, or [`CWD`](rustix::fs::CWD). With
    /// [`AtFlags::EMPTY_PATH`] and an empty path it is the file itself.
    Statx = IORING_OP_STATX, "5.6", Once {
        new(
            val dir: BorrowedFd<'a> => [FD] Completed,
            val path: &'a CStr => [ADDR] Submitted,
            val at_flags: AtFlags => [STATX_FLAGS],
            val mask: StatxFlags => [LEN],
            val buf: &'a mut MaybeUninit<StatxBuf> => [ADDR2] Completed out,
        )
        result "0; the buffer is filled in then"
    }

    /// Tells the kernel how a range of a file will be used (`posix_fadvise(2)`).
    ///
    /// A length of 0 means to the end. Kernels before Linux 6.11 refuse lengths of 4 GiB and more (`EINVAL`).
    /// `ESPIPE` for pipes.
    Fadvise = IORING_OP_FADVISE, "5.6", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val offset: u64 => [OFF],
            into len: Length => [LEN, ADDR],
            val advice: Advice => [FADVISE_ADVICE],
        )
        result "0"
    }

    /// Moves bytes between a pipe and another file, or another pipe, without copying them through user space
    /// (`splice(2)`).
    ///
    /// One of the two has to be a pipe; it takes no offset. A result below `len` breaks a chain of links.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBADF` | one of the files is not open, or not for this |
    /// | `EINVAL` | neither is a pipe, both are the same pipe, or the target is in append mode |
    /// | `ESPIPE` | an offset for a pipe |
    Splice = IORING_OP_SPLICE, "5.7", Once {
        new(
            into from: FileIn<'a> => [SPLICE_FD_IN] Completed,
            into to: File<'a> => [FD] Completed,
            val len: u32 => [LEN],
        )
        with {
            /// Where in `from` to start; without it, at its own position.
            val offset_from: u64 => [SPLICE_OFF_IN];
            /// Where in `to` to start; without it, at its own position.
            val offset_to: u64 => [OFF];
            /// How to move them.
            val splice_flags: SpliceFlags => [SPLICE_FLAGS];
        }
        defaults [SPLICE_OFF_IN = u64::MAX, OFF = u64::MAX]
        result "bytes moved, 0 at the end of the input"
    }

    /// Copies bytes from one pipe to another, and leaves them in the first (`tee(2)`).
    ///
    /// `EINVAL` if one of them is no pipe, or both are the same.
    Tee = IORING_OP_TEE, "5.8", Once {
        new(
            into from: FileIn<'a> => [SPLICE_FD_IN] Completed,
            into to: File<'a> => [FD] Completed,
            val len: u32 => [LEN],
        )
        with {
            /// How to copy them.
            val splice_flags: SpliceFlags => [SPLICE_FLAGS];
        }
        result "bytes copied, 0 when the first pipe has no writer and no bytes"
    }

    /// Cuts or extends a file to this length (`ftruncate(2)`).
    Ftruncate = IORING_OP_FTRUNCATE, "6.9", Once {
        new(into file: File<'a> => [FD] Completed, val len: u64 => [OFF])
        result "0"
    }

    /// Makes a pipe (`pipe2(2)`).
    ///
    /// The array gets two descriptors, the one to read from first. Whoever reaps the completion owns them.
    Pipe = IORING_OP_PIPE, "6.16", Once {
        new(val fds: &'a mut [RawFd; 2] => [ADDR] Completed out)
        with {
            /// How to make it.
            val pipe_flags: PipeFlags => [PIPE_FLAGS];
        }
        result "0"
    }

    /// Makes a pipe in two slots of the table of registered files (`io_uring_prep_pipe_direct(3)`).
    ///
    /// The end to write to is in the slot after `slot`. The array gets the indices of both, the one to read from
    /// first. `EINVAL` with [`PipeFlags::CLOEXEC`]; `ENFILE` with [`DirectSlot::ALLOC`] when fewer than two slots are
    /// free, and the first of them stays free then. Some kernels (seen in 6.16 to 6.18) write zeros for slots that were
    /// named.
    PipeDirect = IORING_OP_PIPE, "6.16", Once {
        new(val slots: &'a mut [RawFd; 2] => [ADDR] Completed out, into slot: DirectSlot => [FILE_INDEX])
        with {
            /// How to make it.
            val pipe_flags: PipeFlags => [PIPE_FLAGS];
        }
        marks [FILE_INDEX nonzero]
        result "0"
    }
}

impl Close<'_> {
    /// Gets the descriptor back out of an entry that was not submitted; any other entry comes back as it is.
    ///
    /// ```
    /// use rawring::{Reason, Refused, Ring, UserData, op::Close};
    ///
    /// let (reader, _writer) = rustix::pipe::pipe()?;
    /// let mut ring = Ring::new(8)?;
    /// let refused = ring.push(Close::new(reader).user_data(UserData(0x5afe << 48))).unwrap_err();
    /// assert_eq!(refused.reason, Reason::ReservedUserData);
    /// let reader = Close::take_back(refused.entry).unwrap();
    /// # drop(reader);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_back(entry: Sqe<'_>) -> Result<OwnedFd, Sqe<'_>> {
        let sqe = entry.raw();
        if sqe.opcode != sys::IORING_OP_CLOSE || sqe.file_index != 0 || sqe.fd < 0 {
            return Err(entry);
        }
        // SAFETY: an entry that closes a descriptor is made from an `OwnedFd`, whose only holder it then is (entries
        // are not `Clone`), or by hand, with the promise that the operation may close it. A submitted entry is gone.
        Ok(unsafe { OwnedFd::from_raw_fd(sqe.fd) })
    }
}
