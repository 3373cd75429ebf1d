//! What operations take from other kernel headers, where the crates at hand have none that serves.
//!
//! What has a good name elsewhere is not repeated:
//!
//! - rustix has typed flags for `openat2` (`ResolveFlags`), `statx`, `renameat2`, `fallocate`, `fadvise`,
//!   `splice`, `poll`, `epoll`, `waitid` (as `WaitIdOptions`), sockets and messages, futexes
//!   (`thread::futex::WaitFlags`), extended attributes, and `RWF_*` up to `APPEND`.
//! - libc has the same as plain numbers, and `iovec`, `msghdr`, `epoll_event`, `siginfo_t`, `FUTEX2_*`,
//!   `RESOLVE_*`, `STATX_*`, `MADV_*`.
//!
//! What is here: structs that libc has with private or non-exhaustive fields, so that none can be made
//! ([`open_how`], [`futex_waitv`]), or not at all ([`__kernel_timespec`], [`nvme_uring_cmd`]); numbers that
//! rustix lacks (the later `RWF_*`, [`FUTEX2_MPOL`]), that libc has with a type that sign-extends
//! ([`FUTEX_BITSET_MATCH_ANY`]), and the commands for block and NVMe devices. Commands of ublk, FUSE
//! and other servers belong to crates for those.

use crate::abi::layout;
use rustix::ioctl::{Opcode, opcode};

/// `linux/time_types.h`: a time of 64-bit fields on every target; not libc's `timespec`, which is
/// smaller on some 32-bit targets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct __kernel_timespec {
    /// Seconds.
    pub tv_sec: i64,
    /// Nanoseconds.
    pub tv_nsec: i64,
}
layout!(__kernel_timespec: size 16, align 8, align32 4);

/// `linux/openat2.h`: the argument of `IORING_OP_OPENAT2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct open_how {
    /// `O_*`.
    pub flags: u64,
    /// The mode of a new file; zero without `O_CREAT` or `O_TMPFILE`.
    pub mode: u64,
    /// `RESOLVE_*`.
    pub resolve: u64,
}
layout!(open_how: size 24, align 8, align32 4);

/// `linux/futex.h`: one futex of `IORING_OP_FUTEX_WAITV`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct futex_waitv {
    /// The value that the futex must have for the wait to begin.
    pub val: u64,
    /// The address of the futex.
    pub uaddr: u64,
    /// `FUTEX2_*`.
    pub flags: u32,
    /// Reserved, zero.
    pub __reserved: u32,
}
layout!(futex_waitv: size 24, align 8, align32 4);

/// `linux/futex.h`: the mask of a wait or wake that no bit restricts (`sqe.addr3`, 64 bits wide).
pub const FUTEX_BITSET_MATCH_ANY: u64 = 0xffff_ffff;
/// `linux/futex.h`: how many futexes `IORING_OP_FUTEX_WAITV` takes at most.
pub const FUTEX_WAITV_MAX: u32 = 128;
/// `linux/futex.h`: take the NUMA node from the memory policy of the futex (since 6.16).
pub const FUTEX2_MPOL: u32 = 0x08;

/// `linux/fs.h`, `sqe.rw_flags`: write where the offset says although the file was opened with `O_APPEND`.
pub const RWF_NOAPPEND: u32 = 0x20;
/// `linux/fs.h`, `sqe.rw_flags`: write all or nothing, also if power fails.
pub const RWF_ATOMIC: u32 = 0x40;
/// `linux/fs.h`, `sqe.rw_flags`: drop the pages from the cache afterwards.
pub const RWF_DONTCACHE: u32 = 0x80;
/// `linux/fs.h`, `sqe.rw_flags`: a write to a pipe or socket whose other end is gone raises no `SIGPIPE`.
pub const RWF_NOSIGNAL: u32 = 0x100;

/// `linux/errqueue.h`, the type of a transmit timestamp: when the driver or the card took the packet.
pub const SCM_TSTAMP_SND: u32 = 0;
/// `linux/errqueue.h`, the type of a transmit timestamp: when the packet entered the scheduler.
pub const SCM_TSTAMP_SCHED: u32 = 1;
/// `linux/errqueue.h`, the type of a transmit timestamp: when the peer acknowledged the data.
pub const SCM_TSTAMP_ACK: u32 = 2;
/// `linux/errqueue.h`, the type of a transmit timestamp: when the device reported the packet as sent.
pub const SCM_TSTAMP_COMPLETION: u32 = 3;

/// An ioctl number as a command. It has 32 bits; rustix's type for it has 32 or 64, depending on the target.
const fn command(number: Opcode) -> u32 {
    number as usize as u32
}

/// `linux/blkdev.h`, `sqe.cmd_op` on a block device: discard `sqe.addr3` bytes from `sqe.addr` on.
pub const BLOCK_URING_CMD_DISCARD: u32 = command(opcode::none(0x12, 0));
/// `linux/blkdev.h`, `sqe.cmd_op` on a block device: reset all zones.
pub const BLOCK_URING_CMD_ZONE_RESET_ALL: u32 = command(opcode::none(0x12, 1));

/// `linux/nvme_ioctl.h`: an NVMe command, in `cmd` of an entry of 128 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct nvme_uring_cmd {
    /// The command's opcode.
    pub opcode: u8,
    /// The command's flags.
    pub flags: u8,
    /// Reserved, zero.
    pub rsvd1: u16,
    /// The namespace.
    pub nsid: u32,
    /// Dword 2 of the command.
    pub cdw2: u32,
    /// Dword 3 of the command.
    pub cdw3: u32,
    /// The address of the metadata.
    pub metadata: u64,
    /// The address of the data, or of an array of `iovec`.
    pub addr: u64,
    /// The size of the metadata.
    pub metadata_len: u32,
    /// The size of the data, or the number of vectors.
    pub data_len: u32,
    /// Dword 10 of the command.
    pub cdw10: u32,
    /// Dword 11 of the command.
    pub cdw11: u32,
    /// Dword 12 of the command.
    pub cdw12: u32,
    /// Dword 13 of the command.
    pub cdw13: u32,
    /// Dword 14 of the command.
    pub cdw14: u32,
    /// Dword 15 of the command.
    pub cdw15: u32,
    /// After how many milliseconds to give up; 0 for the default.
    pub timeout_ms: u32,
    /// Reserved, zero.
    pub rsvd2: u32,
}
layout!(nvme_uring_cmd: size 72, align 8, align32 4);

/// `linux/nvme_ioctl.h`, `sqe.cmd_op` on a namespace: an I/O command.
pub const NVME_URING_CMD_IO: u32 = command(opcode::read_write::<nvme_uring_cmd>(b'N', 0x80));
/// `linux/nvme_ioctl.h`, `sqe.cmd_op` on a namespace: an I/O command with vectors.
pub const NVME_URING_CMD_IO_VEC: u32 = command(opcode::read_write::<nvme_uring_cmd>(b'N', 0x81));
/// `linux/nvme_ioctl.h`, `sqe.cmd_op` on a controller: an admin command.
pub const NVME_URING_CMD_ADMIN: u32 = command(opcode::read_write::<nvme_uring_cmd>(b'N', 0x82));
/// `linux/nvme_ioctl.h`, `sqe.cmd_op` on a controller: an admin command with vectors.
pub const NVME_URING_CMD_ADMIN_VEC: u32 = command(opcode::read_write::<nvme_uring_cmd>(b'N', 0x83));
