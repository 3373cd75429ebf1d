//! Arguments of `io_uring_register`: tables of files and buffers, regions, probes, restrictions and
//! what else has a struct of its own. Provided buffers, queries, zero-copy receive and BPF filters
//! have files beside this one.

use core::fmt;

use super::layout;
use crate::__kernel_timespec;

/// The old name of [`io_uring_rsrc_update`].
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_files_update {
    /// The first slot.
    pub offset: u32,
    /// Reserved, zero.
    pub resv: u32,
    /// The address of an array of `i32`.
    pub fds: u64,
}
layout!(io_uring_files_update: size 16, align 8, align32 8);

/// Memory that is registered, or that the kernel allocates to be mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_region_desc {
    /// With `IORING_MEM_REGION_TYPE_USER`: the address of the memory, page-aligned.
    pub user_addr: u64,
    /// Its size, a multiple of the page size.
    pub size: u64,
    /// `IORING_MEM_REGION_TYPE_*`.
    pub flags: u32,
    /// Reserved, zero.
    pub id: u32,
    /// Out: the offset for `mmap(2)` of memory that the kernel allocated.
    pub mmap_offset: u64,
    /// Reserved, zero.
    pub __resv: [u64; 4],
}
layout!(io_uring_region_desc: size 64, align 8, align32 4);

/// The argument of `IORING_REGISTER_MEM_REGION`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_mem_region_reg {
    /// The address of an [`io_uring_region_desc`].
    pub region_uptr: u64,
    /// What the region is for: `IORING_MEM_REGION_REG_*`.
    pub flags: u64,
    /// Reserved, zero.
    pub __resv: [u64; 2],
}
layout!(io_uring_mem_region_reg: size 32, align 8, align32 4);

/// The argument of `IORING_REGISTER_FILES2` and `IORING_REGISTER_BUFFERS2`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_rsrc_register {
    /// How many slots.
    pub nr: u32,
    /// `IORING_RSRC_REGISTER_*`.
    pub flags: u32,
    /// Reserved, zero.
    pub resv2: u64,
    /// The address of an array of `i32` or `iovec`.
    pub data: u64,
    /// The address of an array of `u64`: each slot's tag, or 0 for none.
    pub tags: u64,
}
layout!(io_uring_rsrc_register: size 32, align 8, align32 8);

/// The argument of `IORING_REGISTER_FILES_UPDATE` and `IORING_REGISTER_RING_FDS`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_rsrc_update {
    /// The first slot; of rings, the slot or `u32::MAX` for any.
    pub offset: u32,
    /// Reserved, zero.
    pub resv: u32,
    /// The address of an array of `i32`; of rings, the descriptor itself.
    pub data: u64,
}
layout!(io_uring_rsrc_update: size 16, align 8, align32 8);

/// The argument of `IORING_REGISTER_FILES_UPDATE2` and `IORING_REGISTER_BUFFERS_UPDATE`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_rsrc_update2 {
    /// The first slot.
    pub offset: u32,
    /// Reserved, zero.
    pub resv: u32,
    /// The address of an array of `i32` or `iovec`.
    pub data: u64,
    /// The address of an array of `u64`: each slot's tag, or 0 for none.
    pub tags: u64,
    /// How many slots.
    pub nr: u32,
    /// Reserved, zero.
    pub resv2: u32,
}
layout!(io_uring_rsrc_update2: size 32, align 8, align32 8);

/// One operation in the answer of `IORING_REGISTER_PROBE`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_probe_op {
    /// Its number.
    pub op: u8,
    /// Reserved.
    pub resv: u8,
    /// `IO_URING_OP_SUPPORTED`, or 0.
    pub flags: u16,
    /// Reserved.
    pub resv2: u32,
}
layout!(io_uring_probe_op: size 8, align 4, align32 4);

/// The head of the answer of `IORING_REGISTER_PROBE`; the operations follow it in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_probe {
    /// The highest operation number that the kernel knows.
    pub last_op: u8,
    /// How many of `ops` it filled.
    pub ops_len: u8,
    /// Reserved, zero.
    pub resv: u16,
    /// Reserved, zero.
    pub resv2: [u32; 3],
    /// Where the operations start.
    pub ops: [io_uring_probe_op; 0],
}
layout!(io_uring_probe: size 16, align 4, align32 4);

/// What a restriction restricts: the union of [`io_uring_restriction`]; unnamed in C.
#[repr(C)]
#[derive(Clone, Copy)]
pub union io_uring_restriction_arg {
    /// The registration to allow, with `IORING_RESTRICTION_REGISTER_OP`.
    pub register_op: u8,
    /// The operation to allow, with `IORING_RESTRICTION_SQE_OP`.
    pub sqe_op: u8,
    /// `IOSQE_*`, with `IORING_RESTRICTION_SQE_FLAGS_*`.
    pub sqe_flags: u8,
}

impl fmt::Debug for io_uring_restriction_arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: every member is a u8, so whichever was written, a u8 is there.
        let value = unsafe { self.register_op };
        f.debug_tuple("io_uring_restriction_arg").field(&value).finish()
    }
}

/// One element of the argument of `IORING_REGISTER_RESTRICTIONS`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct io_uring_restriction {
    /// `IORING_RESTRICTION_*`.
    pub opcode: u16,
    /// What it applies to.
    pub arg: io_uring_restriction_arg,
    /// Reserved, zero.
    pub resv: u8,
    /// Reserved, zero.
    pub resv2: [u32; 3],
}
layout!(io_uring_restriction: size 16, align 4, align32 4);

/// The argument of `IORING_REGISTER_RESTRICTIONS` without a ring; the restrictions follow it in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct io_uring_task_restriction {
    /// Reserved, zero.
    pub flags: u16,
    /// How many restrictions follow.
    pub nr_res: u16,
    /// Reserved, zero.
    pub resv: [u32; 3],
    /// Where the restrictions start.
    pub restrictions: [io_uring_restriction; 0],
}
layout!(io_uring_task_restriction: size 16, align 4, align32 4);

/// The argument of `IORING_REGISTER_CLOCK`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_clock_register {
    /// `CLOCK_MONOTONIC` or `CLOCK_BOOTTIME`.
    pub clockid: u32,
    /// Reserved, zero.
    pub __resv: [u32; 3],
}
layout!(io_uring_clock_register: size 16, align 4, align32 4);

/// The argument of `IORING_REGISTER_CLONE_BUFFERS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_clone_buffers {
    /// The ring to clone from.
    pub src_fd: u32,
    /// `IORING_REGISTER_SRC_REGISTERED`, `IORING_REGISTER_DST_REPLACE`.
    pub flags: u32,
    /// The first slot there.
    pub src_off: u32,
    /// The first slot here.
    pub dst_off: u32,
    /// How many slots; 0 for all.
    pub nr: u32,
    /// Reserved, zero.
    pub pad: [u32; 3],
}
layout!(io_uring_clone_buffers: size 32, align 4, align32 4);

/// The argument of `IORING_REGISTER_NAPI` and of its counterpart; the old settings come back in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_napi {
    /// How long to poll, in microseconds.
    pub busy_poll_to: u32,
    /// Not zero: keep the device from using interrupts meanwhile.
    pub prefer_busy_poll: u8,
    /// `IO_URING_NAPI_REGISTER_OP`, `IO_URING_NAPI_STATIC_*`.
    pub opcode: u8,
    /// Reserved, zero.
    pub pad: [u8; 2],
    /// `IO_URING_NAPI_TRACKING_*`, or the NAPI id to add or remove.
    pub op_param: u32,
    /// Reserved, zero.
    pub resv: u32,
}
layout!(io_uring_napi: size 16, align 4, align32 4);

/// The argument of `IORING_REGISTER_SYNC_CANCEL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_sync_cancel_reg {
    /// The `user_data` to match.
    pub addr: u64,
    /// The file to match.
    pub fd: i32,
    /// `IORING_ASYNC_CANCEL_*`.
    pub flags: u32,
    /// How long to wait for the end of the requests; both fields -1: as long as it takes.
    pub timeout: __kernel_timespec,
    /// The operation to match.
    pub opcode: u8,
    /// Reserved, zero.
    pub pad: [u8; 7],
    /// Reserved, zero.
    pub pad2: [u64; 3],
}
layout!(io_uring_sync_cancel_reg: size 64, align 8, align32 4);

/// The argument of `IORING_REGISTER_FILE_ALLOC_RANGE`: the slots from `off` on, `len` of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_file_index_range {
    /// The first slot.
    pub off: u32,
    /// How many slots.
    pub len: u32,
    /// Reserved, zero.
    pub resv: u64,
}
layout!(io_uring_file_index_range: size 16, align 8, align32 4);
