//! Operations on the ring itself and on other requests: nop, cancel, messages between rings, the table of registered
//! files.
//!
//! Cancelling ends a request early; it frees nothing. The request still posts its own completion, before or after that
//! of the cancellation, and only that one says that the kernel is done with its memory.
//!
//! Messages put a `user_data` of the sender's choice into another ring's completions. Whoever owns that ring may have
//! staked memory on such values, which is why their constructors are `unsafe`.

use rawring_sys as sys;

use crate::flags::{CancelFlags, CqeFlags, FixedFdInstallFlags, MsgRingFlags, NopFlags};
use crate::op::Opcode;
use crate::operand::{DirectSlot, File, FileSlot, FilesToPlace, Fixed};
use crate::user_data::UserData;

ops! {
    /// Does nothing, and completes. For measuring, for testing and for filling chains.
    ///
    /// Some kernels (seen in 6.16 to 7.0) do not tell that a registered file or a buffer is missing.
    ///
    /// ```
    /// use rawring::{Ring, op::Nop};
    ///
    /// let mut ring = Ring::new(8)?;
    /// ring.push(Nop::new().link())?;
    /// ring.push(Nop::new())?;
    /// ring.submit_and_wait(2)?;
    /// assert!(ring.completions().all(|cqe| cqe.result() == Ok(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Nop = IORING_OP_NOP, "5.1", Once {
        new()
        with {
            /// The result to post. A negative one makes the operation fail, as far as links are concerned.
            val result: i32 => [LEN] + [NOP_FLAGS has sys::IORING_NOP_INJECT_RESULT] "6.10";
            /// A file to take and release a reference to; `EBADF` if there is none.
            into file: File<'a> => [FD] + [NOP_FLAGS has sys::IORING_NOP_FILE] Completed "6.13";
            /// A registered buffer to take and release a reference to; `EFAULT` if there is none.
            val buffer: u16 => [BUF_INDEX] + [NOP_FLAGS has sys::IORING_NOP_FIXED_BUFFER] "6.13";
            /// The first of two more words for a completion of 32 bytes; `EINVAL` on a ring that has none.
            val extra1: u64 => [OFF] + [NOP_FLAGS has sys::IORING_NOP_CQE32] "6.18";
            /// The second of them.
            val extra2: u64 => [ADDR] + [NOP_FLAGS has sys::IORING_NOP_CQE32] "6.18";
            /// What else to do; the other setters add the flags that they need.
            val nop_flags: NopFlags => [NOP_FLAGS] "6.10";
        }
        result "0, or what was asked for"
    }

    /// Does nothing with an entry of 128 bytes. For testing rings that have such entries; on others it fails with
    /// `EINVAL`.
    Nop128 = IORING_OP_NOP128, "6.19", Once, wide {
        new()
        with {
            /// The result to post. A negative one makes the operation fail, as far as links are concerned.
            val result: i32 => [LEN] + [NOP_FLAGS has sys::IORING_NOP_INJECT_RESULT];
            /// A file to take and release a reference to; `EBADF` if there is none.
            into file: File<'a> => [FD] + [NOP_FLAGS has sys::IORING_NOP_FILE] Completed;
            /// A registered buffer to take and release a reference to; `EFAULT` if there is none.
            val buffer: u16 => [BUF_INDEX] + [NOP_FLAGS has sys::IORING_NOP_FIXED_BUFFER];
            /// The first of two more words for a completion of 32 bytes; `EINVAL` on a ring that has none.
            val extra1: u64 => [OFF] + [NOP_FLAGS has sys::IORING_NOP_CQE32];
            /// The second of them.
            val extra2: u64 => [ADDR] + [NOP_FLAGS has sys::IORING_NOP_CQE32];
            /// What else to do; the other setters add the flags that they need.
            val nop_flags: NopFlags => [NOP_FLAGS];
        }
        result "0, or what was asked for"
    }

    /// Cancels the request with this `user_data` (`io_uring_prep_cancel(3)`).
    ///
    /// The cancelled request completes, too, mostly with `ECANCELED`. Requests that are pushed but not submitted are
    /// not found. Closing a descriptor cancels nothing; this does.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `ENOENT` | there is no such request: completed, or not submitted yet |
    /// | `EALREADY` | it is running on a worker thread and may or may not be interrupted |
    ///
    /// With [`all`](Self::all) neither is reported: the result is then how many requests were found, which may be 0.
    ///
    /// ```
    /// use rawring::{Errno, Ring, op::{Cancel, Read}};
    ///
    /// let (reader, _writer) = rustix::pipe::pipe()?;
    /// let mut bytes = [0; 8];
    /// let mut ring = Ring::new(8)?;
    /// let mut results = [None; 2];
    /// ring.scope(|s| {
    ///     // In a scope the kernel knows an operation by its ticket.
    ///     let read = s.push(Read::new(&reader, &mut bytes).user_data(0)).expect("room");
    ///     s.push(Cancel::new(read.key()).user_data(1)).expect("room");
    ///     s.finish(|cqe| results[cqe.user_data().0 as usize] = Some(cqe.result()))
    /// })??;
    /// assert_eq!(results, [Some(Err(Errno::CANCELED)), Some(Ok(0))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Cancel = IORING_OP_ASYNC_CANCEL, "5.5", Once {
        new(into target: UserData => [ADDR])
        with {
            /// How to find the target.
            val cancel_flags: CancelFlags => [CANCEL_FLAGS] "5.19";
        }
        result "0, or with `all` the number of requests found"
    }

    /// Cancels a request of this operation (`io_uring_prep_cancel(3)`). Errors as of [`Cancel`]. To match by
    /// file, too, start from [`CancelFd`].
    CancelOp = IORING_OP_ASYNC_CANCEL, "6.6", Once {
        new(val op: Opcode => [LEN])
        with {
            /// The request must have this `user_data`, too.
            into target: UserData => [ADDR] + [CANCEL_FLAGS has sys::IORING_ASYNC_CANCEL_USERDATA];
            /// How to find the target.
            val cancel_flags: CancelFlags => [CANCEL_FLAGS];
        }
        marks [CANCEL_FLAGS has sys::IORING_ASYNC_CANCEL_OP]
        result "0, or with `all` the number of requests found"
    }

    /// Cancels a request on this file (`io_uring_prep_cancel_fd(3)`).
    ///
    /// Requests are matched by the open file, not by the number: one made through a duplicate of the descriptor or
    /// through the table of registered files is found as well. Errors as of [`Cancel`], and `EBADF` if there is no such
    /// file. With all of the setters below at once, Linux 6.16 and 6.17 find nothing.
    CancelFd = IORING_OP_ASYNC_CANCEL, "5.19", Once {
        new(into file: File<'a> => [FD] Completed)
        with {
            /// The request must have this `user_data`, too.
            into target: UserData => [ADDR] + [CANCEL_FLAGS has sys::IORING_ASYNC_CANCEL_USERDATA] "6.6";
            /// The request must be of this operation, too.
            val op: Opcode => [LEN] + [CANCEL_FLAGS has sys::IORING_ASYNC_CANCEL_OP] "6.6";
            /// How to find the target.
            val cancel_flags: CancelFlags => [CANCEL_FLAGS];
        }
        marks [CANCEL_FLAGS has sys::IORING_ASYNC_CANCEL_FD]
        result "0, or with `all` the number of requests found"
    }

    /// Cancels every request of this ring that was submitted before (`io_uring_prep_cancel(3)`). Never fails for
    /// having found none.
    CancelAny = IORING_OP_ASYNC_CANCEL, "5.19", Once {
        new()
        with {
            /// How to find the targets.
            val cancel_flags: CancelFlags => [CANCEL_FLAGS];
        }
        marks [CANCEL_FLAGS has sys::IORING_ASYNC_CANCEL_ANY]
        result "the number of requests found"
    }

    /// Posts a completion on another ring, or on this one (`io_uring_prep_msg_ring(3)`).
    ///
    /// The target's completion has `data` as its `user_data` and `value` as its result. The sender gets a completion of
    /// its own, which says whether that worked. A target with `DEFER_TASKRUN` sees the message when it next enters the
    /// kernel.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBADFD` | `ring` is no ring, or one that is disabled |
    /// | `EOVERFLOW` | the target had no memory to keep the completion |
    MsgRing = IORING_OP_MSG_RING, "5.18", Once {
        contract unsafe "1. `data` is not [reserved](crate::UserData::is_reserved).\n\
            2. Nobody who reaps the target ring takes the completion, its flags included, for one of an operation of \
            their own on which the validity of memory depends: a value that stands for a pointer there must not be \
            sent, nor the id of a buffer.";
        new(into ring: File<'a> => [FD] Completed, into data: UserData => [OFF], val value: i32 => [LEN])
        with {
            /// The flags of the target's completion, 0 otherwise. A target without completions of 32 bytes refuses a
            /// message that claims to be one (`EINVAL`).
            val cqe_flags: CqeFlags => [FILE_INDEX] + [MSG_RING_FLAGS has sys::IORING_MSG_RING_FLAGS_PASS] "6.3";
            /// How to post it.
            val msg_flags: MsgRingFlags => [MSG_RING_FLAGS];
        }
        result "0"
    }

    /// Puts a registered file of this ring into the table of registered files of another one, too
    /// (`io_uring_prep_msg_ring_fd(3)`).
    ///
    /// The target gets a completion with `data` as its `user_data`, and 0 or, with [`DirectSlot::ALLOC`], the index as
    /// its result; the flag [`MsgRingFlags::CQE_SKIP`] leaves that completion out. If it is `EOVERFLOW`, the target has
    /// the file but was not told.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `EBADF` | `source` is an empty slot |
    /// | `EBADFD` | `ring` is no ring, or one that is disabled |
    /// | `EINVAL` | `ring` is this ring, or has no slot of that index |
    /// | `ENXIO` | `ring` has no table |
    MsgRingFd = IORING_OP_MSG_RING, "6.0", Once {
        contract unsafe "1. `data` is not [reserved](crate::UserData::is_reserved).\n\
            2. Nobody who reaps the target ring takes the completion for one of an operation of their own on which \
            the validity of memory depends: a value that stands for a pointer there must not be sent.";
        new(
            into ring: File<'a> => [FD] Completed,
            val source: Fixed => [ADDR3],
            into slot: DirectSlot => [FILE_INDEX],
            into data: UserData => [OFF],
        )
        with {
            /// Whether the target is told.
            val msg_flags: MsgRingFlags => [MSG_RING_FLAGS];
        }
        marks [ADDR is sys::IORING_MSG_SEND_FD]
        result "0, or the index with `DirectSlot::ALLOC`"
    }

    /// Puts files into the table of registered files from index `first` on (`io_uring_prep_files_update(3)`).
    ///
    /// A result below `files.len()` is that of an update that failed half-way.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `ENXIO` | the ring has no table |
    /// | `EINVAL` | the range is not inside the table, or empty |
    /// | `EBADF` | an element is not open |
    ///
    /// ```
    /// use rawring::{Errno, Ring, op::FilesUpdate, operand::{FileSlot, Fixed}};
    ///
    /// let mut ring = Ring::new(8)?;
    /// let stdin = std::io::stdin();
    /// let files = [FileSlot::from(std::os::fd::AsFd::as_fd(&stdin)), FileSlot::CLEAR];
    /// let mut result = None;
    /// ring.scope(|s| {
    ///     s.push(FilesUpdate::new(&files, Fixed(0))).expect("room");
    ///     s.finish(|cqe| result = Some(cqe.result()))
    /// })??;
    /// // This ring has registered no table.
    /// assert_eq!(result, Some(Err(Errno::NXIO)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    FilesUpdate = IORING_OP_FILES_UPDATE, "5.6", Once {
        new(val files: &'a [FileSlot<'a>] => [ADDR, LEN] Completed, val first: Fixed => [OFF])
        result "how many elements were used"
    }

    /// Puts files into free slots of the table of registered files, and tells which
    /// (`io_uring_prep_files_update(3)`).
    ///
    /// A result below the number of files is that of an update that failed half-way; so many elements hold indices.
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `ENXIO` | the ring has no table |
    /// | `ENFILE` | no slot is free |
    /// | `EBADF` | an element is not open |
    FilesUpdateAlloc = IORING_OP_FILES_UPDATE, "5.19", Once {
        new(val files: FilesToPlace<'a> => [ADDR, LEN] Completed out)
        marks [OFF is sys::IORING_FILE_INDEX_ALLOC]
        result "how many files were placed"
    }

    /// Makes an ordinary descriptor for a registered file (`io_uring_prep_fixed_fd_install(3)`).
    ///
    /// The descriptor is closed on exec unless told otherwise. Whoever reaps the completion owns it. `EBADF` if the
    /// slot is empty; `EPERM` with a [`personality`](Self::personality).
    FixedFdInstall = IORING_OP_FIXED_FD_INSTALL, "6.8", Once {
        new(val file: Fixed => [FD])
        with {
            /// How to make it.
            val install_flags: FixedFdInstallFlags => [INSTALL_FD_FLAGS];
        }
        marks [FLAGS has sys::IOSQE_FIXED_FILE]
        result "the new descriptor"
    }
}

macro_rules! cancel_all {
    ($($cancel:ident),*) => { $(
        impl $cancel<'_> {
            /// All requests that match, not only the first (`IORING_ASYNC_CANCEL_ALL`, Linux 5.19).
            pub fn all(self) -> Self {
                self.cancel_flags(CancelFlags::ALL)
            }
        }
    )* };
}

cancel_all!(Cancel, CancelFd, CancelOp);
