//! Flags and commands of `io_uring_register`'s arguments, and what the header declares behind them:
//! wait regions, socket commands and transmit timestamps. The numbers of the registrations themselves
//! are in [`crate::opcode`].

/// Added to the registration's number: the first argument of the call is the index of a registered
/// ring, not a descriptor.
pub const IORING_REGISTER_USE_REGISTERED_RING: u32 = 1 << 31;

/// Index of the limit for bounded workers (regular files, block devices) in the pair of `IORING_REGISTER_IOWQ_MAX_WORKERS`.
pub const IO_WQ_BOUND: u32 = 0;
/// Index of the limit for unbounded workers (sockets and the like) in the pair of `IORING_REGISTER_IOWQ_MAX_WORKERS`.
pub const IO_WQ_UNBOUND: u32 = 1;

/// [`io_uring_region_desc`](crate::io_uring_region_desc)`.flags`: the memory is the caller's, at `user_addr`.
pub const IORING_MEM_REGION_TYPE_USER: u32 = 1;
/// [`io_uring_mem_region_reg`](crate::io_uring_mem_region_reg)`.flags`: the region holds wait arguments.
pub const IORING_MEM_REGION_REG_WAIT_ARG: u64 = 1;

/// [`io_uring_rsrc_register`](crate::io_uring_rsrc_register)`.flags`: make a table of empty slots.
pub const IORING_RSRC_REGISTER_SPARSE: u32 = 1 << 0;
/// In the array of a file table update: leave this slot as it is.
pub const IORING_REGISTER_FILES_SKIP: i32 = -2;
/// [`io_uring_probe_op`](crate::io_uring_probe_op)`.flags`: this kernel has the operation.
pub const IO_URING_OP_SUPPORTED: u16 = 1 << 0;

/// [`io_uring_clone_buffers`](crate::io_uring_clone_buffers)`.flags`: `src_fd` is the index of a registered ring.
pub const IORING_REGISTER_SRC_REGISTERED: u32 = 1 << 0;
/// [`io_uring_clone_buffers`](crate::io_uring_clone_buffers)`.flags`: replace buffers that the target has already.
pub const IORING_REGISTER_DST_REPLACE: u32 = 1 << 1;

/// [`io_uring_buf_reg`](crate::io_uring_buf_reg)`.flags`: the kernel allocates the buffer ring; map it at
/// [`IORING_OFF_PBUF_RING`](crate::IORING_OFF_PBUF_RING).
pub const IOU_PBUF_RING_MMAP: u16 = 1;
/// [`io_uring_buf_reg`](crate::io_uring_buf_reg)`.flags`: buffers are consumed piece by piece.
pub const IOU_PBUF_RING_INC: u16 = 2;

/// [`io_uring_napi`](crate::io_uring_napi)`.opcode`: set up busy polling; `op_param` is the tracking strategy.
pub const IO_URING_NAPI_REGISTER_OP: u8 = 0;
/// [`io_uring_napi`](crate::io_uring_napi)`.opcode`: add the NAPI id in `op_param` to the static list.
pub const IO_URING_NAPI_STATIC_ADD_ID: u8 = 1;
/// [`io_uring_napi`](crate::io_uring_napi)`.opcode`: remove the NAPI id in `op_param` from the static list.
pub const IO_URING_NAPI_STATIC_DEL_ID: u8 = 2;

/// [`io_uring_napi`](crate::io_uring_napi)`.op_param`: follow the NAPI ids of the sockets that are used.
pub const IO_URING_NAPI_TRACKING_DYNAMIC: u32 = 0;
/// [`io_uring_napi`](crate::io_uring_napi)`.op_param`: poll the NAPI ids of a list that the caller keeps.
pub const IO_URING_NAPI_TRACKING_STATIC: u32 = 1;
/// [`io_uring_napi`](crate::io_uring_napi)`.op_param`: poll nothing. The kernel reports it where busy polling is off.
pub const IO_URING_NAPI_TRACKING_INACTIVE: u32 = 255;

/// [`io_uring_restriction`](crate::io_uring_restriction)`.opcode`: allow the registration in `register_op`.
pub const IORING_RESTRICTION_REGISTER_OP: u16 = 0;
/// [`io_uring_restriction`](crate::io_uring_restriction)`.opcode`: allow the operation in `sqe_op`.
pub const IORING_RESTRICTION_SQE_OP: u16 = 1;
/// [`io_uring_restriction`](crate::io_uring_restriction)`.opcode`: allow the entry flags in `sqe_flags`.
pub const IORING_RESTRICTION_SQE_FLAGS_ALLOWED: u16 = 2;
/// [`io_uring_restriction`](crate::io_uring_restriction)`.opcode`: demand the entry flags in `sqe_flags` of every entry.
pub const IORING_RESTRICTION_SQE_FLAGS_REQUIRED: u16 = 3;
/// One past the last kind of restriction in this release.
pub const IORING_RESTRICTION_LAST: u16 = 4;

/// [`io_uring_reg_wait`](crate::io_uring_reg_wait)`.flags`: `ts` is valid.
pub const IORING_REG_WAIT_TS: u32 = 1 << 0;

/// `sqe.cmd_op` of `IORING_OP_URING_CMD` on a socket: how many bytes can be read, as `SIOCINQ`.
pub const SOCKET_URING_OP_SIOCINQ: u32 = 0;
/// `sqe.cmd_op` of `IORING_OP_URING_CMD` on a socket: how many bytes are still to be sent, as `SIOCOUTQ`.
pub const SOCKET_URING_OP_SIOCOUTQ: u32 = 1;
/// `sqe.cmd_op` of `IORING_OP_URING_CMD` on a socket: `getsockopt(2)`.
pub const SOCKET_URING_OP_GETSOCKOPT: u32 = 2;
/// `sqe.cmd_op` of `IORING_OP_URING_CMD` on a socket: `setsockopt(2)`.
pub const SOCKET_URING_OP_SETSOCKOPT: u32 = 3;
/// `sqe.cmd_op` of `IORING_OP_URING_CMD` on a socket: receive transmit timestamps, one long completion each.
pub const SOCKET_URING_OP_TX_TIMESTAMP: u32 = 4;
/// `sqe.cmd_op` of `IORING_OP_URING_CMD` on a socket: `getsockname(2)`, or `getpeername(2)`.
pub const SOCKET_URING_OP_GETSOCKNAME: u32 = 5;

/// Bit number in `cqe.flags` of [`IORING_CQE_F_TSTAMP_HW`].
pub const IORING_TIMESTAMP_HW_SHIFT: u32 = 16;
/// First bit in `cqe.flags` of the timestamp's type (`SCM_TSTAMP_*`).
pub const IORING_TIMESTAMP_TYPE_SHIFT: u32 = IORING_TIMESTAMP_HW_SHIFT + 1;
/// `cqe.flags` of a transmit timestamp: the network card took it, not the kernel.
pub const IORING_CQE_F_TSTAMP_HW: u32 = 1 << IORING_TIMESTAMP_HW_SHIFT;
