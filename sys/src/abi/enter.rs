//! Arguments of `io_uring_enter`, and structs that the kernel writes or reads beside a completion:
//! the header of a multishot `recvmsg` and a transmit timestamp.

use super::layout;
use crate::__kernel_timespec;

/// A wait argument in registered memory (`IORING_ENTER_EXT_ARG_REG`); found by its offset.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_reg_wait {
    /// The timeout, if `flags` has `IORING_REG_WAIT_TS`.
    pub ts: __kernel_timespec,
    /// How long to wait for the whole number of completions before a single one suffices, in microseconds.
    pub min_wait_usec: u32,
    /// `IORING_REG_WAIT_*`.
    pub flags: u32,
    /// The address of a signal mask to wait with, or 0.
    pub sigmask: u64,
    /// The kernel's size of that mask.
    pub sigmask_sz: u32,
    /// Reserved, zero.
    pub pad: [u32; 3],
    /// Reserved, zero.
    pub pad2: [u64; 2],
}
layout!(io_uring_reg_wait: size 64, align 8, align32 4);

/// The argument of `io_uring_enter` with `IORING_ENTER_EXT_ARG`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_getevents_arg {
    /// The address of a signal mask to wait with, or 0.
    pub sigmask: u64,
    /// The kernel's size of that mask.
    pub sigmask_sz: u32,
    /// How long to wait for the whole number of completions before a single one suffices, in
    /// microseconds (with `IORING_FEAT_MIN_TIMEOUT`; zero without).
    pub min_wait_usec: u32,
    /// The address of a [`__kernel_timespec`] with the timeout, or 0.
    pub ts: u64,
}
layout!(io_uring_getevents_arg: size 24, align 8, align32 4);

/// What a multishot `recvmsg` writes at the start of a buffer, before name, control data and payload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_uring_recvmsg_out {
    /// The length of the sender's address; it may exceed the room there was.
    pub namelen: u32,
    /// The length of the control data.
    pub controllen: u32,
    /// The length of the payload; it may exceed the room there was.
    pub payloadlen: u32,
    /// `MSG_*` flags of the message.
    pub flags: u32,
}
layout!(io_uring_recvmsg_out: size 16, align 4, align32 4);

/// The second half of a `SOCKET_URING_OP_TX_TIMESTAMP` completion: the time.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct io_timespec {
    /// Seconds.
    pub tv_sec: u64,
    /// Nanoseconds.
    pub tv_nsec: u64,
}
layout!(io_timespec: size 16, align 8, align32 4);
