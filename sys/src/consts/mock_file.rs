//! `linux/io_uring/mock_file.h`: the kernel's mock files (`CONFIG_IO_URING_MOCK_FILE`), made for tests of
//! io_uring itself.
//!
//! The features are counted, not masked: [`io_uring_mock_probe`](crate::io_uring_mock_probe)`.features` is the number
//! of features that the kernel has, and a feature is there when its number is below that.

/// Feature: the command [`IORING_MOCK_CMD_COPY_REGBUF`].
pub const IORING_MOCK_FEAT_CMD_COPY: u64 = 0;
/// Feature: reads give zeroes, writes are swallowed.
pub const IORING_MOCK_FEAT_RW_ZERO: u64 = 1;
/// Feature: [`IORING_MOCK_CREATE_F_SUPPORT_NOWAIT`].
pub const IORING_MOCK_FEAT_RW_NOWAIT: u64 = 2;
/// Feature: reads and writes that complete later (`rw_delay_ns`).
pub const IORING_MOCK_FEAT_RW_ASYNC: u64 = 3;
/// Feature: [`IORING_MOCK_CREATE_F_POLL`].
pub const IORING_MOCK_FEAT_POLL: u64 = 4;
/// One past the last feature of this release.
pub const IORING_MOCK_FEAT_END: u64 = 5;

/// [`io_uring_mock_create`](crate::io_uring_mock_create)`.flags`: the file supports attempts that must not block.
pub const IORING_MOCK_CREATE_F_SUPPORT_NOWAIT: u32 = 1;
/// [`io_uring_mock_create`](crate::io_uring_mock_create)`.flags`: the file can be polled.
pub const IORING_MOCK_CREATE_F_POLL: u32 = 2;

/// `sqe.cmd_op` on the manager: fill an [`io_uring_mock_probe`](crate::io_uring_mock_probe).
pub const IORING_MOCK_MGR_CMD_PROBE: u32 = 0;
/// `sqe.cmd_op` on the manager: make a mock file from an [`io_uring_mock_create`](crate::io_uring_mock_create).
pub const IORING_MOCK_MGR_CMD_CREATE: u32 = 1;

/// `sqe.cmd_op` on a mock file: copy between a registered buffer and memory.
pub const IORING_MOCK_CMD_COPY_REGBUF: u32 = 0;

/// Flag of [`IORING_MOCK_CMD_COPY_REGBUF`]: copy out of the registered buffer, not into it.
pub const IORING_MOCK_COPY_FROM: u32 = 1;
