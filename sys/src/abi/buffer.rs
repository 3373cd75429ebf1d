//! Provided buffers: the ring that user space and the kernel share, and its registration.

use super::layout;

/// One entry of a ring of provided buffers.
///
/// The kernel reads it at any time, and with `IOU_PBUF_RING_INC` writes `addr` and `len`: in a live ring
/// it must be reached through raw pointers, and never written as a whole, because `resv` of entry 0
/// is the ring's tail.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_buf {
    /// The address of the buffer.
    pub addr: u64,
    /// The size of the buffer.
    pub len: u32,
    /// The id that a completion reports.
    pub bid: u16,
    /// Reserved; in entry 0 it is the tail.
    pub resv: u16,
}
layout!(io_uring_buf: size 16, align 8, align32 4);

/// The head of a ring of provided buffers, which is at once its entry 0.
///
/// A copy of this struct is not a ring: `bufs` are the entries where the ring lies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_buf_ring {
    /// The entries, from the first byte on: entry 0 shares its bytes with the fields below.
    pub bufs: [io_uring_buf; 0],
    /// Entry 0's `addr`.
    pub resv1: u64,
    /// Entry 0's `len`.
    pub resv2: u32,
    /// Entry 0's `bid`.
    pub resv3: u16,
    /// The tail: user space moves it to publish buffers. It counts on and wraps at 65536.
    pub tail: u16,
}
layout!(io_uring_buf_ring: size 16, align 8, align32 4);

/// The argument of `IORING_REGISTER_PBUF_RING` and of its counterpart.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_buf_reg {
    /// The address of the ring, page-aligned; zero with `IOU_PBUF_RING_MMAP`.
    pub ring_addr: u64,
    /// The number of entries, a power of two, at most 32768.
    pub ring_entries: u32,
    /// The buffer group.
    pub bgid: u16,
    /// `IOU_PBUF_RING_*`.
    pub flags: u16,
    /// With `IOU_PBUF_RING_INC`: a buffer with less room than this left counts as used up.
    pub min_left: u32,
    /// Reserved, zero.
    pub resv: [u32; 5],
}
layout!(io_uring_buf_reg: size 40, align 8, align32 4);

/// The argument of `IORING_REGISTER_PBUF_STATUS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_buf_status {
    /// In: the buffer group.
    pub buf_group: u32,
    /// Out: the kernel's head of the ring.
    pub head: u32,
    /// Reserved, zero.
    pub resv: [u32; 8],
}
layout!(io_uring_buf_status: size 40, align 4, align32 4);
