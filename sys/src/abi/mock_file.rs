//! `linux/io_uring/mock_file.h`: arguments of the mock file manager, a test device of the kernel.

use super::layout;

/// What the manager says about itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_mock_probe {
    /// Out: how many of the `IORING_MOCK_FEAT_*` it has.
    pub features: u64,
    /// Reserved, zero.
    pub __resv: [u64; 9],
}
layout!(io_uring_mock_probe: size 80, align 8, align32 4);

/// A mock file to make.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_mock_create {
    /// Out: its descriptor.
    pub out_fd: u32,
    /// `IORING_MOCK_CREATE_F_*`.
    pub flags: u32,
    /// Its size, at most 1 GiB.
    pub file_size: u64,
    /// How long reads and writes take in nanoseconds, at most a second; 0: they complete at once.
    pub rw_delay_ns: u64,
    /// Reserved, zero.
    pub __resv: [u64; 13],
}
layout!(io_uring_mock_create: size 128, align 8, align32 4);
