//! Constants of the submission entry that belong to no single operation: the entry's flags, the
//! attribute mask and the "pick a slot for me" index. Flags of operations are in `op.rs`.

/// Bit of `sqe.attr_type_mask`: `sqe.attr_ptr` points at an
/// [`io_uring_attr_pi`](crate::io_uring_attr_pi) with protection information.
pub const IORING_RW_ATTR_FLAG_PI: u64 = 1 << 0;

/// Value of `sqe.file_index`: let the kernel choose a free slot of the registered file table and
/// report it in the completion (`-ENFILE` when the table is full).
///
/// Any other non-zero value is a slot plus one.
pub const IORING_FILE_INDEX_ALLOC: u32 = !0;

/// Bit number of [`IOSQE_FIXED_FILE`].
pub const IOSQE_FIXED_FILE_BIT: u32 = 0;
/// Bit number of [`IOSQE_IO_DRAIN`].
pub const IOSQE_IO_DRAIN_BIT: u32 = 1;
/// Bit number of [`IOSQE_IO_LINK`].
pub const IOSQE_IO_LINK_BIT: u32 = 2;
/// Bit number of [`IOSQE_IO_HARDLINK`].
pub const IOSQE_IO_HARDLINK_BIT: u32 = 3;
/// Bit number of [`IOSQE_ASYNC`].
pub const IOSQE_ASYNC_BIT: u32 = 4;
/// Bit number of [`IOSQE_BUFFER_SELECT`].
pub const IOSQE_BUFFER_SELECT_BIT: u32 = 5;
/// Bit number of [`IOSQE_CQE_SKIP_SUCCESS`].
pub const IOSQE_CQE_SKIP_SUCCESS_BIT: u32 = 6;

/// Flag of an entry: `sqe.fd` is a slot of the registered file table, not a descriptor.
pub const IOSQE_FIXED_FILE: u8 = 1 << IOSQE_FIXED_FILE_BIT;
/// Flag of an entry: start it only when everything submitted before it has completed, and hold back
/// everything submitted after it until it has.
pub const IOSQE_IO_DRAIN: u8 = 1 << IOSQE_IO_DRAIN_BIT;
/// Flag of an entry: the next entry of the same submission starts when this one has succeeded; if it
/// fails or comes up short, the rest of the chain completes with `-ECANCELED`.
pub const IOSQE_IO_LINK: u8 = 1 << IOSQE_IO_LINK_BIT;
/// Flag of an entry: as [`IOSQE_IO_LINK`], but a failure does not break the chain.
pub const IOSQE_IO_HARDLINK: u8 = 1 << IOSQE_IO_HARDLINK_BIT;
/// Flag of an entry: hand it to a worker thread without first trying to do it at once.
pub const IOSQE_ASYNC: u8 = 1 << IOSQE_ASYNC_BIT;
/// Flag of an entry: take a buffer from the group in `sqe.buf_group` when data is there.
pub const IOSQE_BUFFER_SELECT: u8 = 1 << IOSQE_BUFFER_SELECT_BIT;
/// Flag of an entry: post a completion only on failure.
pub const IOSQE_CQE_SKIP_SUCCESS: u8 = 1 << IOSQE_CQE_SKIP_SUCCESS_BIT;
