//! `cqe.flags`. The upper 16 bits are data (a buffer id, or a timestamp's type), the lower are flags.

/// The upper 16 bits are the id of the buffer that was used.
pub const IORING_CQE_F_BUFFER: u32 = 1 << 0;
/// More completions follow for the same submission. Its absence ends a multishot request.
pub const IORING_CQE_F_MORE: u32 = 1 << 1;
/// After a receive: the socket holds more data.
pub const IORING_CQE_F_SOCK_NONEMPTY: u32 = 1 << 2;
/// This is the notification of a zero-copy send: the kernel is done with the buffer.
pub const IORING_CQE_F_NOTIF: u32 = 1 << 3;
/// The buffer is not used up and will appear in more completions (rings with
/// [`IOU_PBUF_RING_INC`](crate::IOU_PBUF_RING_INC) only).
pub const IORING_CQE_F_BUF_MORE: u32 = 1 << 4;
/// Not a completion but filler at the end of a ring of mixed sizes: skip the slot.
pub const IORING_CQE_F_SKIP: u32 = 1 << 5;
/// In a ring of mixed sizes: this completion has 32 bytes and takes two slots.
pub const IORING_CQE_F_32: u32 = 1 << 15;

/// How far to shift `cqe.flags` to the right to get the buffer id.
pub const IORING_CQE_BUFFER_SHIFT: u32 = 16;
