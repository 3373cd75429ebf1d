//! The C names of the places in a submission entry: name, offset and size of every member of the C
//! struct, its unions included.
//!
//! This is the one list of them. Which operation uses which place, and with which meaning, is not
//! told here. Invariant, checked when this crate is compiled: every place lies inside of 64 bytes,
//! which the unchecked stores of [`io_uring_sqe::set`](crate::io_uring_sqe::set) rely on.

/// A place in [`io_uring_sqe`](crate::io_uring_sqe) under one of its C names.
///
/// There are no others than the constants below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqeField {
    name: &'static str,
    offset: u8,
    size: u8,
}

impl SqeField {
    /// The C name.
    #[inline(always)]
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The offset in the entry, in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn offset(self) -> usize {
        self.offset as usize
    }

    /// The size in bytes; of [`CMD`](Self::CMD), what an entry of 64 bytes has of it.
    #[inline(always)]
    #[must_use]
    pub const fn size(self) -> usize {
        self.size as usize
    }
}

/// Declares the constants and the list of them all from one table.
macro_rules! sqe_fields {
    ($($constant:ident $name:ident $offset:literal $size:literal,)*) => {
        impl SqeField {
            $(
                #[doc = concat!("`", stringify!($name), "`: offset ", $offset, ", size ", $size, ".")]
                pub const $constant: Self =
                    Self { name: stringify!($name), offset: $offset, size: $size };
            )*

            /// Every place under every name, in header order.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

sqe_fields! {
    OPCODE opcode 0 1,
    FLAGS flags 1 1,
    IOPRIO ioprio 2 2,
    FD fd 4 4,
    OFF off 8 8,
    ADDR2 addr2 8 8,
    CMD_OP cmd_op 8 4,
    PAD1 __pad1 12 4,
    ADDR addr 16 8,
    SPLICE_OFF_IN splice_off_in 16 8,
    LEVEL level 16 4,
    OPTNAME optname 20 4,
    LEN len 24 4,
    RW_FLAGS rw_flags 28 4,
    FSYNC_FLAGS fsync_flags 28 4,
    POLL_EVENTS poll_events 28 2,
    POLL32_EVENTS poll32_events 28 4,
    SYNC_RANGE_FLAGS sync_range_flags 28 4,
    MSG_FLAGS msg_flags 28 4,
    TIMEOUT_FLAGS timeout_flags 28 4,
    ACCEPT_FLAGS accept_flags 28 4,
    CANCEL_FLAGS cancel_flags 28 4,
    OPEN_FLAGS open_flags 28 4,
    STATX_FLAGS statx_flags 28 4,
    FADVISE_ADVICE fadvise_advice 28 4,
    SPLICE_FLAGS splice_flags 28 4,
    RENAME_FLAGS rename_flags 28 4,
    UNLINK_FLAGS unlink_flags 28 4,
    HARDLINK_FLAGS hardlink_flags 28 4,
    XATTR_FLAGS xattr_flags 28 4,
    MSG_RING_FLAGS msg_ring_flags 28 4,
    URING_CMD_FLAGS uring_cmd_flags 28 4,
    WAITID_FLAGS waitid_flags 28 4,
    FUTEX_FLAGS futex_flags 28 4,
    INSTALL_FD_FLAGS install_fd_flags 28 4,
    NOP_FLAGS nop_flags 28 4,
    PIPE_FLAGS pipe_flags 28 4,
    USER_DATA user_data 32 8,
    BUF_INDEX buf_index 40 2,
    BUF_GROUP buf_group 40 2,
    PERSONALITY personality 42 2,
    SPLICE_FD_IN splice_fd_in 44 4,
    FILE_INDEX file_index 44 4,
    ZCRX_IFQ_IDX zcrx_ifq_idx 44 4,
    OPTLEN optlen 44 4,
    ADDR_LEN addr_len 44 2,
    PAD3 __pad3 46 2,
    WRITE_STREAM write_stream 44 1,
    PAD4 __pad4 45 3,
    ADDR3 addr3 48 8,
    PAD2 __pad2 56 8,
    ATTR_PTR attr_ptr 48 8,
    ATTR_TYPE_MASK attr_type_mask 56 8,
    OPTVAL optval 48 8,
    CMD cmd 48 16,
}

const _: () = {
    let mut i = 0;
    while i < SqeField::ALL.len() {
        let field = SqeField::ALL[i];
        assert!(field.offset() + field.size() <= size_of::<crate::io_uring_sqe>());
        i += 1;
    }
};
