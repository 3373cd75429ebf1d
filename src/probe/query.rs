//! What a kernel says of itself without a ring (`IORING_REGISTER_QUERY`, Linux 6.18).

use core::mem::size_of;

use crate::kernel::Kernel;
use rawring_sys as sys;

/// The kernel's answer about operations, registrations and flags; `None` where it cannot be asked.
///
/// An older kernel than the one that `sys` mirrors fills less: what it does not fill is 0.
#[must_use]
pub fn query_opcodes() -> Option<sys::io_uring_query_opcode> {
    query_of(&Kernel::default())
}

/// The answer of this kernel.
pub(crate) fn query_of(kernel: &Kernel) -> Option<sys::io_uring_query_opcode> {
    let mut answer = sys::io_uring_query_opcode::ZERO;
    let mut question = sys::io_uring_query_hdr {
        query_data: (&raw mut answer).expose_provenance() as u64,
        query_op: sys::IO_URING_QUERY_OPCODES,
        size: size_of::<sys::io_uring_query_opcode>() as u32,
        ..sys::io_uring_query_hdr::ZERO
    };
    let at: *mut sys::io_uring_query_hdr = &raw mut question;
    // SAFETY: the argument is a list of one header, and it names room for `size` bytes; both are read and written
    // during the call only. Without a ring, -1 stands for it.
    unsafe { kernel.register(-1, sys::IORING_REGISTER_QUERY, at.cast(), 0) }.ok()?;
    (question.result == 0).then_some(answer)
}
