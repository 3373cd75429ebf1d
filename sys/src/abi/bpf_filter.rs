//! `linux/io_uring/bpf_filter.h`: what a filter program sees of an entry, and how it is installed.

use core::fmt;

use super::layout;

/// What is known of `IORING_OP_SOCKET`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_bpf_ctx_socket {
    /// The address family.
    pub family: u32,
    /// The socket type.
    pub r#type: u32,
    /// The protocol.
    pub protocol: u32,
}

/// What is known of `IORING_OP_OPENAT` and `IORING_OP_OPENAT2`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_bpf_ctx_open {
    /// `O_*`.
    pub flags: u64,
    /// The mode of a new file.
    pub mode: u64,
    /// `RESOLVE_*`.
    pub resolve: u64,
}

/// The address in [`io_uring_bpf_ctx_connect`]; unnamed in C.
#[repr(C)]
#[derive(Clone, Copy)]
pub union io_uring_bpf_ctx_connect_addr {
    /// The IPv4 address, big-endian.
    pub v4_addr: u32,
    /// The IPv6 address.
    pub v6_addr: [u8; 16],
}

/// What is known of `IORING_OP_CONNECT`. What the given address is too short for is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct io_uring_bpf_ctx_connect {
    /// The address family.
    pub family: u32,
    /// The port, big-endian.
    pub port: u16,
    /// Padding.
    pub pad: [u8; 2],
    /// The address.
    pub addr: io_uring_bpf_ctx_connect_addr,
}

/// The part of [`io_uring_bpf_ctx`] that depends on the operation; unnamed in C.
#[repr(C)]
#[derive(Clone, Copy)]
pub union io_uring_bpf_ctx_arg {
    /// Of `IORING_OP_SOCKET`.
    pub socket: io_uring_bpf_ctx_socket,
    /// Of `IORING_OP_OPENAT` and `IORING_OP_OPENAT2`.
    pub open: io_uring_bpf_ctx_open,
    /// Of `IORING_OP_CONNECT`.
    pub connect: io_uring_bpf_ctx_connect,
}

// The members differ in size, and only the operation says which was written: neither is printed.
impl fmt::Debug for io_uring_bpf_ctx_arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("io_uring_bpf_ctx_arg").finish_non_exhaustive()
    }
}

impl fmt::Debug for io_uring_bpf_ctx_connect_addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("io_uring_bpf_ctx_connect_addr").finish_non_exhaustive()
    }
}

/// What a filter program sees of an entry.
///
/// User space never makes one: its offsets are what a program's loads name. Loads must be of 4 bytes
/// at offsets that are multiples of 4.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct io_uring_bpf_ctx {
    /// The entry's `user_data`.
    pub user_data: u64,
    /// The entry's `opcode`.
    pub opcode: u8,
    /// The entry's `flags`.
    pub sqe_flags: u8,
    /// How many bytes of `arg` the operation fills.
    pub pdu_size: u8,
    /// Padding.
    pub pad: [u8; 5],
    /// What the operation adds.
    pub arg: io_uring_bpf_ctx_arg,
}
layout!(io_uring_bpf_ctx: size 40, align 8, align32 4);

/// A filter program for one operation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_bpf_filter {
    /// The operation.
    pub opcode: u32,
    /// `IO_URING_BPF_FILTER_*`.
    pub flags: u32,
    /// How many instructions.
    pub filter_len: u32,
    /// How much of the operation's data the program expects. Out: how much there is.
    pub pdu_size: u8,
    /// Reserved, zero.
    pub resv: [u8; 3],
    /// The address of the instructions (classic BPF, `sock_filter`).
    pub filter_ptr: u64,
    /// Reserved, zero.
    pub resv2: [u64; 5],
}
layout!(io_uring_bpf_filter: size 64, align 8, align32 4);

/// The argument of `IORING_REGISTER_BPF_FILTER`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_bpf {
    /// `IO_URING_BPF_CMD_*`.
    pub cmd_type: u16,
    /// Reserved, zero.
    pub cmd_flags: u16,
    /// Reserved, zero.
    pub resv: u32,
    /// The filter. In C the only member of an unnamed union.
    pub filter: io_uring_bpf_filter,
}
layout!(io_uring_bpf: size 72, align 8, align32 4);
