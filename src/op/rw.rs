//! Transfers: reading and writing, into or from one buffer or several, registered or provided ones.
//!
//! What all of them share (offsets, short transfers, errnos) is told at [`Read`] and [`Write`]; the setters are written
//! out in each row, as the rows are the reference of what each operation reads of its entry.

use rustix::io::ReadWriteFlags;

use crate::operand::{
    Buf, BufMut, File, FixedBuf, FixedBufMut, FixedIoVec, Group, IoVec, IoVecMut, ReadProtection, WriteProtection,
};
use rawring_sys as sys;

ops! {
    /// Reads into an array of buffers, one after the other (`preadv2(2)`).
    ///
    /// The array itself is needed until submitted only. `EINVAL` for more than 1024 buffers; else errors as of
    /// [`Read`].
    Readv = IORING_OP_READV, "5.1", Once {
        new(into file: File<'a> => [FD] Completed, into bufs: IoVecMut<'a> => [ADDR, LEN] Completed out)
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `preadv2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// Protection information, for direct reads from block devices that have it.
            val attributes: ReadProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed out "6.14";
        }
        defaults [OFF = u64::MAX]
        result "bytes read, 0 at the end of the file"
    }

    /// Writes an array of buffers, one after the other (`pwritev2(2)`).
    ///
    /// The array itself is needed until submitted only. `EINVAL` for more than 1024 buffers; else errors as of
    /// [`Write`].
    Writev = IORING_OP_WRITEV, "5.1", Once {
        new(into file: File<'a> => [FD] Completed, into bufs: IoVec<'a> => [ADDR, LEN] Completed)
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `pwritev2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// The write stream of the device to place the data in; 0 is none.
            val write_stream: u8 => [WRITE_STREAM] "6.16";
            /// Protection information, for direct writes to block devices that have it.
            val attributes: WriteProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed "6.14";
        }
        defaults [OFF = u64::MAX]
        result "bytes written"
    }

    /// Reads into part of a registered buffer (`preadv2(2)`, `io_uring_prep_read_fixed(3)`).
    ///
    /// `EFAULT` if the memory is not inside the registered buffer, or there is none; else errors as of [`Read`].
    ReadFixed = IORING_OP_READ_FIXED, "5.1", Once {
        new(into file: File<'a> => [FD] Completed, into buf: FixedBufMut<'a> => [ADDR, LEN, BUF_INDEX] Completed out)
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `preadv2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// Protection information, for direct reads from block devices that have it.
            val attributes: ReadProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed out "6.14";
        }
        defaults [OFF = u64::MAX]
        result "bytes read, 0 at the end of the file"
    }

    /// Writes part of a registered buffer (`pwritev2(2)`, `io_uring_prep_write_fixed(3)`).
    ///
    /// `EFAULT` if the memory is not inside the registered buffer, or there is none; else errors as of [`Write`].
    WriteFixed = IORING_OP_WRITE_FIXED, "5.1", Once {
        new(into file: File<'a> => [FD] Completed, into buf: FixedBuf<'a> => [ADDR, LEN, BUF_INDEX] Completed)
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `pwritev2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// The write stream of the device to place the data in; 0 is none.
            val write_stream: u8 => [WRITE_STREAM] "6.16";
            /// Protection information, for direct writes to block devices that have it.
            val attributes: WriteProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed "6.14";
        }
        defaults [OFF = u64::MAX]
        result "bytes written"
    }

    /// Reads into one buffer (`preadv2(2)`).
    ///
    /// An offset of `u64::MAX`, which is what transfers start with, means the file's own position; it moves on as it
    /// does for `read(2)`. Files without a position take `u64::MAX` or 0; sockets fail with `ESPIPE` for others. With
    /// several transfers in flight the own position is a race; give offsets then.
    ///
    /// A transfer may move fewer bytes than asked, as the system calls may, and never more than 2,147,479,552. Within a
    /// chain of links that counts as a failure.
    ///
    /// ```
    /// use rawring::{Ring, op::{Fsync, Read, Write}};
    ///
    /// # let path = std::env::temp_dir().join(format!("rawring-rw-{}", std::process::id()));
    /// # let file = std::fs::File::options().read(true).write(true).create(true).open(&path)?;
    /// # std::fs::remove_file(path)?;
    /// let mut ring = Ring::new(8)?;
    /// let mut back = [0; 16];
    /// let mut results = Vec::new();
    /// ring.scope(|s| {
    ///     s.push(Write::new(&file, "hello").offset(3).link()).expect("room");
    ///     s.push(Fsync::new(&file).link()).expect("room");
    ///     s.push(Read::new(&file, &mut back).offset(0)).expect("room");
    ///     s.finish(|cqe| results.push(cqe.result()))
    /// })??;
    /// assert_eq!(results, [Ok(5), Ok(0), Ok(8)]);
    /// assert_eq!(&back[..8], b"\0\0\0hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBADF` | not open, or not for reading |
    /// | `EISDIR` | a directory |
    /// | `EINVAL` | an offset that the file cannot have, or a direct read that is not aligned |
    /// | `EAGAIN` | nothing to read now, with `O_NONBLOCK` or `RWF_NOWAIT` |
    /// | `EOPNOTSUPP` | flags that the file does not have, or a file that an `IOPOLL` ring cannot poll |
    Read = IORING_OP_READ, "5.6", Once {
        new(into file: File<'a> => [FD] Completed, into buf: BufMut<'a> => [ADDR, LEN] Completed out)
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `preadv2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// Protection information, for direct reads from block devices that have it.
            val attributes: ReadProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed out "6.14";
        }
        defaults [OFF = u64::MAX]
        result "bytes read, 0 at the end of the file"
    }

    /// Reads into a buffer that the kernel takes from a group when there is data (`preadv2(2)`).
    ///
    /// The completion says which buffer it was ([`Cqe::buffer_id`](crate::Cqe::buffer_id)). `ENOBUFS` if the group is
    /// empty or unknown; else errors as of [`Read`].
    ReadProvided = IORING_OP_READ, "5.7", Once {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// The most to read; 0, as without this, is the whole buffer.
            val len: u32 => [LEN];
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `preadv2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
        }
        marks [FLAGS has sys::IOSQE_BUFFER_SELECT]
        defaults [OFF = u64::MAX]
        result "bytes read, 0 at the end of the file"
    }

    /// Writes one buffer (`pwritev2(2)`). Offsets and short transfers are as for [`Read`].
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBADF` | not open, or not for writing |
    /// | `EINVAL` | an offset that the file cannot have, or a direct write that is not aligned |
    /// | `EFBIG`, `ENOSPC`, `EDQUOT` | no room |
    /// | `EPIPE` | nobody reads; the task gets `SIGPIPE` too, unless a worker wrote (to pipes always on Linux 6.1) |
    /// | `EAGAIN` | no room now, with `O_NONBLOCK` or `RWF_NOWAIT` |
    /// | `EOPNOTSUPP` | flags that the file does not have, or a file that an `IOPOLL` ring cannot poll |
    Write = IORING_OP_WRITE, "5.6", Once {
        new(into file: File<'a> => [FD] Completed, into buf: Buf<'a> => [ADDR, LEN] Completed)
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `pwritev2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// The write stream of the device to place the data in; 0 is none.
            val write_stream: u8 => [WRITE_STREAM] "6.16";
            /// Protection information, for direct writes to block devices that have it.
            val attributes: WriteProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed "6.14";
        }
        defaults [OFF = u64::MAX]
        result "bytes written"
    }

    /// Reads again and again, each time into a buffer that the kernel takes from a group when there is data
    /// (`io_uring_prep_read_multishot(3)`).
    ///
    /// Goes on for as long as completions have [`more`](crate::Cqe::more); ends with an error, with 0 at the end of
    /// the file, with `ENOBUFS` when the group is empty (at the end of the file, too), or because the completion
    /// queue overflowed. `EBADFD` for files that cannot be polled, such as regular ones: this is for pipes, terminals
    /// and devices.
    ReadMulti = IORING_OP_READ_MULTISHOT, "6.7", Multi {
        new(into file: File<'a> => [FD] Completed, val group: Group => [BUF_GROUP])
        with {
            /// Where in the file to read, for files that have positions.
            val offset: u64 => [OFF];
            /// Flags of `preadv2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
        }
        defaults [OFF = u64::MAX]
        result "bytes read, 0 at the end of the file"
    }

    /// Reads into an array of buffers that all lie in one registered buffer (`preadv2(2)`,
    /// `io_uring_prep_readv_fixed(3)`).
    ///
    /// The array itself is needed until submitted only. Errors as of [`ReadFixed`] and [`Readv`].
    ReadvFixed = IORING_OP_READV_FIXED, "6.15", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val bufs: FixedIoVec<IoVecMut<'a>> => [ADDR, LEN, BUF_INDEX] Completed out,
        )
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `preadv2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// Protection information, for direct reads from block devices that have it.
            val attributes: ReadProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed out;
        }
        defaults [OFF = u64::MAX]
        result "bytes read, 0 at the end of the file"
    }

    /// Writes an array of buffers that all lie in one registered buffer (`pwritev2(2)`,
    /// `io_uring_prep_writev_fixed(3)`).
    ///
    /// The array itself is needed until submitted only. Errors as of [`WriteFixed`] and [`Writev`].
    WritevFixed = IORING_OP_WRITEV_FIXED, "6.15", Once {
        new(
            into file: File<'a> => [FD] Completed,
            val bufs: FixedIoVec<IoVec<'a>> => [ADDR, LEN, BUF_INDEX] Completed,
        )
        with {
            /// Where in the file to start.
            val offset: u64 => [OFF];
            /// Flags of `pwritev2(2)`, known to rustix or not.
            val rw_flags: ReadWriteFlags => [RW_FLAGS];
            /// The I/O priority, as for `ioprio_set(2)`.
            val ioprio: u16 => [IOPRIO];
            /// The write stream of the device to place the data in; 0 is none.
            val write_stream: u8 => [WRITE_STREAM] "6.16";
            /// Protection information, for direct writes to block devices that have it.
            val attributes: WriteProtection<'a> => [ATTR_PTR, ATTR_TYPE_MASK] Completed;
        }
        defaults [OFF = u64::MAX]
        result "bytes written"
    }
}
