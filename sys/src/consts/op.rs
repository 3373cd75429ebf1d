//! Flags and commands of single operations, in header order. The doc of each names the field that
//! carries it; its type is that field's type.

/// `sqe.uring_cmd_flags`: the command uses the registered buffer in `sqe.buf_index`.
pub const IORING_URING_CMD_FIXED: u32 = 1 << 0;
/// `sqe.uring_cmd_flags`: the command keeps posting completions; needs buffer selection and excludes
/// [`IORING_URING_CMD_FIXED`].
pub const IORING_URING_CMD_MULTISHOT: u32 = 1 << 1;
/// Every bit of `sqe.uring_cmd_flags` that user space may set.
pub const IORING_URING_CMD_MASK: u32 = IORING_URING_CMD_FIXED | IORING_URING_CMD_MULTISHOT;

/// `sqe.fsync_flags`: flush data and only the metadata that is needed to read it, as `fdatasync(2)`.
pub const IORING_FSYNC_DATASYNC: u32 = 1 << 0;

/// `sqe.timeout_flags`: the time is a point on the clock, not a span.
pub const IORING_TIMEOUT_ABS: u32 = 1 << 0;
/// `sqe.timeout_flags` of `IORING_OP_TIMEOUT_REMOVE`: give the timeout a new time, do not remove it.
pub const IORING_TIMEOUT_UPDATE: u32 = 1 << 1;
/// `sqe.timeout_flags`: measure with `CLOCK_BOOTTIME`.
pub const IORING_TIMEOUT_BOOTTIME: u32 = 1 << 2;
/// `sqe.timeout_flags`: measure with `CLOCK_REALTIME`.
pub const IORING_TIMEOUT_REALTIME: u32 = 1 << 3;
/// `sqe.timeout_flags` of `IORING_OP_TIMEOUT_REMOVE`: give the *linked* timeout a new time.
pub const IORING_LINK_TIMEOUT_UPDATE: u32 = 1 << 4;
/// `sqe.timeout_flags`: expiry (`-ETIME`) counts as success, so that it does not break a chain.
pub const IORING_TIMEOUT_ETIME_SUCCESS: u32 = 1 << 5;
/// `sqe.timeout_flags`: expire again and again, as often as `sqe.off` says (0: without end).
pub const IORING_TIMEOUT_MULTISHOT: u32 = 1 << 6;
/// `sqe.timeout_flags`: `sqe.addr` holds the time itself in nanoseconds, not a pointer to a timespec.
pub const IORING_TIMEOUT_IMMEDIATE_ARG: u32 = 1 << 7;
/// The bits of `sqe.timeout_flags` that choose a clock; at most one may be set.
pub const IORING_TIMEOUT_CLOCK_MASK: u32 = IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME;
/// The bits of `sqe.timeout_flags` that turn a removal into an update.
pub const IORING_TIMEOUT_UPDATE_MASK: u32 = IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE;

/// `sqe.splice_flags`, beside the `SPLICE_F_*` of `splice(2)`: `sqe.splice_fd_in` is a slot of the
/// registered file table.
pub const SPLICE_F_FD_IN_FIXED: u32 = 1 << 31;

/// `sqe.len` of `IORING_OP_POLL_ADD`: report every time, not only once.
pub const IORING_POLL_ADD_MULTI: u32 = 1 << 0;
/// `sqe.len` of `IORING_OP_POLL_REMOVE`: change the events of the poll request instead of removing it.
pub const IORING_POLL_UPDATE_EVENTS: u32 = 1 << 1;
/// `sqe.len` of `IORING_OP_POLL_REMOVE`: change the `user_data` of the poll request to `sqe.off`.
pub const IORING_POLL_UPDATE_USER_DATA: u32 = 1 << 2;
/// `sqe.len` of `IORING_OP_POLL_ADD`: level-triggered.
pub const IORING_POLL_ADD_LEVEL: u32 = 1 << 3;

/// `sqe.cancel_flags`: cancel every request that matches, and report how many.
pub const IORING_ASYNC_CANCEL_ALL: u32 = 1 << 0;
/// `sqe.cancel_flags`: match by the file of `sqe.fd`, not by `user_data`.
pub const IORING_ASYNC_CANCEL_FD: u32 = 1 << 1;
/// `sqe.cancel_flags`: match every request.
pub const IORING_ASYNC_CANCEL_ANY: u32 = 1 << 2;
/// `sqe.cancel_flags`: the `sqe.fd` to match is a slot of the registered file table.
pub const IORING_ASYNC_CANCEL_FD_FIXED: u32 = 1 << 3;
/// `sqe.cancel_flags`: match by `user_data`; said explicitly only beside other keys.
pub const IORING_ASYNC_CANCEL_USERDATA: u32 = 1 << 4;
/// `sqe.cancel_flags`: match by the operation number in `sqe.len`.
pub const IORING_ASYNC_CANCEL_OP: u32 = 1 << 5;

/// `sqe.ioprio` of sends and receives: wait for readiness first, do not try at once.
pub const IORING_RECVSEND_POLL_FIRST: u16 = 1 << 0;
/// `sqe.ioprio` of receives: keep receiving, one completion at a time, into selected buffers.
pub const IORING_RECV_MULTISHOT: u16 = 1 << 1;
/// `sqe.ioprio` of sends: the data lies in the registered buffer `sqe.buf_index`.
pub const IORING_RECVSEND_FIXED_BUF: u16 = 1 << 2;
/// `sqe.ioprio` of zero-copy sends: the notification says in `cqe.res` whether the data was copied after all.
pub const IORING_SEND_ZC_REPORT_USAGE: u16 = 1 << 3;
/// `sqe.ioprio` of sends and receives with buffer selection: use as many buffers of the group as there
/// is data for, in one request.
pub const IORING_RECVSEND_BUNDLE: u16 = 1 << 4;
/// `sqe.ioprio` of `IORING_OP_SEND` and `IORING_OP_SEND_ZC`: `sqe.addr` and `sqe.len` are an array of `iovec`.
pub const IORING_SEND_VECTORIZED: u16 = 1 << 5;

/// Bit of `cqe.res` in a notification asked for with [`IORING_SEND_ZC_REPORT_USAGE`]: at least part of
/// the data was copied. Such a `res` is a set of flags, not an error, although it is negative.
pub const IORING_NOTIF_USAGE_ZC_COPIED: u32 = 1 << 31;

/// `sqe.ioprio` of `IORING_OP_ACCEPT`: keep accepting, one completion for each connection.
pub const IORING_ACCEPT_MULTISHOT: u16 = 1 << 0;
/// `sqe.ioprio` of `IORING_OP_ACCEPT`: fail with `-EAGAIN` when no connection waits.
pub const IORING_ACCEPT_DONTWAIT: u16 = 1 << 1;
/// `sqe.ioprio` of `IORING_OP_ACCEPT`: wait for readiness first, do not try at once.
pub const IORING_ACCEPT_POLL_FIRST: u16 = 1 << 2;

/// `sqe.addr` of `IORING_OP_MSG_RING`: post a completion with `res = sqe.len` and
/// `user_data = sqe.off` to the other ring.
pub const IORING_MSG_DATA: u64 = 0;
/// `sqe.addr` of `IORING_OP_MSG_RING`: install a registered file of this ring in the table of the other.
pub const IORING_MSG_SEND_FD: u64 = 1;

/// `sqe.msg_ring_flags`: post no completion to the other ring. Only with [`IORING_MSG_SEND_FD`].
pub const IORING_MSG_RING_CQE_SKIP: u32 = 1 << 0;
/// `sqe.msg_ring_flags`: the posted completion's flags are `sqe.file_index`.
pub const IORING_MSG_RING_FLAGS_PASS: u32 = 1 << 1;

/// `sqe.install_fd_flags`: the new descriptor survives `execve(2)`.
pub const IORING_FIXED_FD_NO_CLOEXEC: u32 = 1 << 0;

/// `sqe.nop_flags`: complete with `sqe.len` as the result.
pub const IORING_NOP_INJECT_RESULT: u32 = 1 << 0;
/// `sqe.nop_flags`: take a reference to the file in `sqe.fd`, as a real operation would.
pub const IORING_NOP_FILE: u32 = 1 << 1;
/// `sqe.nop_flags`, with [`IORING_NOP_FILE`]: the file is a slot of the registered table.
pub const IORING_NOP_FIXED_FILE: u32 = 1 << 2;
/// `sqe.nop_flags`: look up the registered buffer in `sqe.buf_index`.
pub const IORING_NOP_FIXED_BUFFER: u32 = 1 << 3;
/// `sqe.nop_flags`: complete through task work, not inline.
pub const IORING_NOP_TW: u32 = 1 << 4;
/// `sqe.nop_flags`: post a completion of 32 bytes with `sqe.off` and `sqe.addr` as its second half.
pub const IORING_NOP_CQE32: u32 = 1 << 5;
