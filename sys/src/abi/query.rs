//! `linux/io_uring/query.h`: questions to the kernel, answered without a ring.
//!
//! A question is a header that points at room for the answer; headers form a list. The kernel may
//! fill less than it was offered (an older kernel) or know more than it was asked (a newer one).

use super::layout;

/// One question of a list.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_query_hdr {
    /// The address of the next header, or 0.
    pub next_entry: u64,
    /// The address of room for the answer.
    pub query_data: u64,
    /// `IO_URING_QUERY_*`.
    pub query_op: u32,
    /// In: the size of that room. Out: how much of it was filled.
    pub size: u32,
    /// Out: zero or a negated error number; must be zero going in.
    pub result: i32,
    /// Reserved, zero.
    pub __resv: [u32; 3],
}
layout!(io_uring_query_hdr: size 40, align 8, align32 4);

/// The answer to `IO_URING_QUERY_OPCODES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_query_opcode {
    /// How many operations the kernel has.
    pub nr_request_opcodes: u32,
    /// How many registrations the kernel has.
    pub nr_register_opcodes: u32,
    /// `IORING_FEAT_*` that it reports.
    pub feature_flags: u64,
    /// `IORING_SETUP_*` that it takes.
    pub ring_setup_flags: u64,
    /// `IORING_ENTER_*` that it takes.
    pub enter_flags: u64,
    /// `IOSQE_*` that it takes.
    pub sqe_flags: u64,
    /// How many queries it has.
    pub nr_query_opcodes: u32,
    /// Padding.
    pub __pad: u32,
}
layout!(io_uring_query_opcode: size 48, align 8, align32 4);

/// The answer to `IO_URING_QUERY_ZCRX`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_query_zcrx {
    /// `ZCRX_REG_*` that it takes.
    pub register_flags: u64,
    /// `IORING_ZCRX_AREA_*` flags that it takes.
    pub area_flags: u64,
    /// How many `ZCRX_CTRL_*` commands it has.
    pub nr_ctrl_opcodes: u32,
    /// `ZCRX_FEATURE_*` that it has.
    pub features: u32,
    /// The size of the refill ring's header.
    pub rq_hdr_size: u32,
    /// The alignment of the refill ring's header.
    pub rq_hdr_alignment: u32,
    /// Reserved.
    pub __resv2: u64,
}
layout!(io_uring_query_zcrx: size 40, align 8, align32 4);

/// The answer to `IO_URING_QUERY_ZCRX_EVENT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_query_zcrx_event {
    /// The events that it has, a bit each.
    pub event_flags: u32,
    /// The size of its [`zcrx_stats`](crate::zcrx_stats).
    pub stats_size: u32,
    /// How the statistics must be aligned in the refill region.
    pub stats_off_alignment: u32,
    /// Reserved.
    pub __resv1: u32,
    /// Reserved.
    pub __resv2: [u64; 4],
}
layout!(io_uring_query_zcrx_event: size 48, align 8, align32 4);

/// The answer to `IO_URING_QUERY_SCQ`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_query_scq {
    /// The size of the header in front of the completion entries.
    pub hdr_size: u64,
    /// The alignment of that header.
    pub hdr_alignment: u64,
}
layout!(io_uring_query_scq: size 16, align 8, align32 4);
