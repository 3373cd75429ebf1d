//! `linux/io_uring/zcrx.h`: zero-copy receive, where the network card writes into memory of the
//! application. Structs of the refill ring, of completions and of the registrations.

use core::fmt;

use super::layout;

/// One entry of the refill ring: a buffer handed back.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_zcrx_rqe {
    /// The offset from the completion, with the area's token in place of its id.
    pub off: u64,
    /// The length from the completion.
    pub len: u32,
    /// Padding, zero.
    pub __pad: u32,
}
layout!(io_uring_zcrx_rqe: size 16, align 8, align32 4);

/// The second half of a receive's completion: where the data is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_zcrx_cqe {
    /// The offset in the area; the area's id is in the bits of `IORING_ZCRX_AREA_MASK`.
    pub off: u64,
    /// Padding.
    pub __pad: u64,
}
layout!(io_uring_zcrx_cqe: size 16, align 8, align32 4);

/// Where the words of the refill ring lie in its region.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_zcrx_offsets {
    /// The head: the kernel moves it.
    pub head: u32,
    /// The tail: user space moves it.
    pub tail: u32,
    /// The entries.
    pub rqes: u32,
    /// Reserved.
    pub __resv2: u32,
    /// Reserved.
    pub __resv: [u64; 2],
}
layout!(io_uring_zcrx_offsets: size 32, align 8, align32 4);

/// The memory that receives.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_zcrx_area_reg {
    /// Its address; zero for a dma-buf.
    pub addr: u64,
    /// Its size.
    pub len: u64,
    /// Out: the token that names it in refill entries; zero going in.
    pub rq_area_token: u64,
    /// `IORING_ZCRX_AREA_DMABUF`, or 0.
    pub flags: u32,
    /// The dma-buf.
    pub dmabuf_fd: u32,
    /// Reserved, zero.
    pub __resv2: [u64; 2],
}
layout!(io_uring_zcrx_area_reg: size 48, align 8, align32 4);

/// Statistics that the kernel keeps in the refill region.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct zcrx_stats {
    /// How many completions were for copied data.
    pub copy_count: u64,
    /// How many bytes were copied.
    pub copy_bytes: u64,
}
layout!(zcrx_stats: size 16, align 8, align32 4);

/// Which events to report, and where to keep statistics.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct zcrx_event_desc {
    /// The `user_data` of the completions that report events.
    pub user_data: u64,
    /// The events, a bit each: `1 << ZCRX_EVENT_*`.
    pub type_mask: u32,
    /// `ZCRX_EVENT_DESC_FLAG_*`.
    pub flags: u32,
    /// The offset of a [`zcrx_stats`] in the refill region.
    pub stats_offset: u64,
    /// Reserved, zero.
    pub __resv2: [u64; 9],
}
layout!(zcrx_event_desc: size 96, align 8, align32 4);

/// The argument of `IORING_REGISTER_ZCRX_IFQ`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_zcrx_ifq_reg {
    /// The network interface's index.
    pub if_idx: u32,
    /// Its receive queue.
    pub if_rxq: u32,
    /// How many entries the refill ring has.
    pub rq_entries: u32,
    /// `ZCRX_REG_*`.
    pub flags: u32,
    /// The address of an [`io_uring_zcrx_area_reg`].
    pub area_ptr: u64,
    /// The address of an [`io_uring_region_desc`](crate::io_uring_region_desc) for the refill ring.
    pub region_ptr: u64,
    /// Out: the layout of the refill ring.
    pub offsets: io_uring_zcrx_offsets,
    /// Out: the id of the instance, for `sqe.zcrx_ifq_idx`.
    pub zcrx_id: u32,
    /// The size of a buffer that the card should use, or 0.
    pub rx_buf_len: u32,
    /// The address of a [`zcrx_event_desc`], or 0.
    pub event_desc: u64,
    /// Reserved, zero.
    pub __resv: [u64; 2],
}
layout!(io_uring_zcrx_ifq_reg: size 96, align 8, align32 4);

/// The argument of `ZCRX_CTRL_FLUSH_RQ`: nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct zcrx_ctrl_flush_rq {
    /// Reserved, zero.
    pub __resv: [u64; 6],
}
layout!(zcrx_ctrl_flush_rq: size 48, align 8, align32 4);

/// The argument of `ZCRX_CTRL_EXPORT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct zcrx_ctrl_export {
    /// Out: the descriptor.
    pub zcrx_fd: u32,
    /// Reserved, zero.
    pub __resv1: [u32; 11],
}
layout!(zcrx_ctrl_export: size 48, align 4, align32 4);

/// The argument of `ZCRX_CTRL_ARM_EVENT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct zcrx_ctrl_arm_event {
    /// `ZCRX_EVENT_*`.
    pub event_type: u32,
    /// Reserved, zero.
    pub __resv: [u32; 11],
}
layout!(zcrx_ctrl_arm_event: size 48, align 4, align32 4);

/// The argument of `ZCRX_CTRL_ADD_AREA`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct zcrx_ctrl_add_area {
    /// The address of an [`io_uring_zcrx_area_reg`].
    pub area_ptr: u64,
    /// Reserved, zero.
    pub __resv: [u64; 5],
}
layout!(zcrx_ctrl_add_area: size 48, align 8, align32 4);

/// The argument of the command in [`zcrx_ctrl`]; unnamed in C.
#[repr(C)]
#[derive(Clone, Copy)]
pub union zcrx_ctrl_arg {
    /// Of `ZCRX_CTRL_EXPORT`.
    pub zc_export: zcrx_ctrl_export,
    /// Of `ZCRX_CTRL_FLUSH_RQ`.
    pub zc_flush: zcrx_ctrl_flush_rq,
    /// Of `ZCRX_CTRL_ARM_EVENT`.
    pub zc_arm_event: zcrx_ctrl_arm_event,
    /// Of `ZCRX_CTRL_ADD_AREA`.
    pub zc_area: zcrx_ctrl_add_area,
}

impl fmt::Debug for zcrx_ctrl_arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: every member is 48 bytes of integers without padding, so whichever was written, six u64 are there.
        let raw = unsafe { self.zc_flush.__resv };
        f.debug_tuple("zcrx_ctrl_arg").field(&raw).finish()
    }
}

/// The argument of `IORING_REGISTER_ZCRX_CTRL`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct zcrx_ctrl {
    /// The instance.
    pub zcrx_id: u32,
    /// `ZCRX_CTRL_*`.
    pub op: u32,
    /// Reserved, zero.
    pub __resv: [u64; 2],
    /// The command's argument.
    pub arg: zcrx_ctrl_arg,
}
layout!(zcrx_ctrl: size 72, align 8, align32 4);
