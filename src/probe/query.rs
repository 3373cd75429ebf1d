//! What a kernel says of itself (`IORING_REGISTER_QUERY`, Linux 6.18): operations and flags, zero-copy receive, and the
//! memory of queues. With a ring or without; the answers are the same.
//!
//! An older kernel than the one that `sys` mirrors fills less of an answer: what it does not fill is 0.

use core::mem::size_of;

use rustix::io::Errno;

use crate::kernel::Kernel;
use crate::ring::Ring;
use rawring_sys as sys;

/// A question that a kernel may have an answer to. The type is the answer.
///
/// | answer | question | Linux |
/// | --- | --- | --- |
/// | [`io_uring_query_opcode`](sys::io_uring_query_opcode) | operations, registrations and flags | 6.18 |
/// | [`io_uring_query_zcrx`](sys::io_uring_query_zcrx) | zero-copy receive | 6.19 |
/// | [`io_uring_query_scq`](sys::io_uring_query_scq) | the memory of queues | 6.19 |
/// | [`io_uring_query_zcrx_event`](sys::io_uring_query_zcrx_event) | events of zero-copy receive | 7.2 |
pub trait Query: sealed::Answer {}

mod sealed {
    use rawring_sys as sys;

    /// # Safety
    ///
    /// Made of integers without gaps between them.
    pub unsafe trait Answer: Copy {
        const QUESTION: u32;
        const EMPTY: Self;
    }

    macro_rules! answers {
        ($($answer:ident = $question:ident;)*) => { $(
            // SAFETY: the struct of the header has explicit padding.
            unsafe impl Answer for sys::$answer {
                const QUESTION: u32 = sys::$question;
                const EMPTY: Self = sys::$answer::ZERO;
            }

            impl super::Query for sys::$answer {}
        )* };
    }

    answers! {
        io_uring_query_opcode = IO_URING_QUERY_OPCODES;
        io_uring_query_zcrx = IO_URING_QUERY_ZCRX;
        io_uring_query_scq = IO_URING_QUERY_SCQ;
        io_uring_query_zcrx_event = IO_URING_QUERY_ZCRX_EVENT;
    }
}

/// Asks the kernel, without a ring.
///
/// ```
/// use rawring::{Errno, probe, sys::io_uring_query_scq};
///
/// match probe::query::<io_uring_query_scq>() {
///     Ok(queues) => println!("{} bytes before the completions", queues.hdr_size),
///     Err(Errno::INVAL) => println!("this kernel cannot be asked"),
///     Err(Errno::OPNOTSUPP) => println!("this kernel can be asked other things"),
///     Err(errno) => return Err(errno),
/// }
/// # Ok::<(), Errno>(())
/// ```
///
/// # Errors
///
/// | errno | meaning |
/// | --- | --- |
/// | `EINVAL` | the kernel cannot be asked (it came with Linux 6.18) |
/// | `EOPNOTSUPP` | it has no answer to this question |
/// | `EACCES` | restrictions of the thread forbid it |
pub fn query<Q: Query>() -> Result<Q, Errno> {
    let answer = asked_of(&Kernel::default());
    // Before there were calls without a ring, the kernel looks for one of that number.
    answer.map_err(|errno| if errno == Errno::BADF { Errno::INVAL } else { errno })
}

impl Ring {
    /// Asks the kernel by means of this ring. Works in every state of a ring.
    ///
    /// # Errors
    ///
    /// As for [`probe::query`](query); `EEXIST`, `EBADF` and `EACCES` where the ring belongs to another thread, or
    /// restrictions forbid it.
    pub fn query<Q: Query>(&self) -> Result<Q, Errno> {
        // SAFETY: the promise of `asked` is that of the call.
        asked(|arg| unsafe { self.register_raw(sys::IORING_REGISTER_QUERY, arg, 0) })
    }
}

/// Makes a list of one question for `ask`, which is a call of the kernel: the argument is valid for it, and names room
/// that is read and written during the call only.
fn asked<Q: Query>(ask: impl FnOnce(*mut core::ffi::c_void) -> Result<u32, Errno>) -> Result<Q, Errno> {
    let mut answer = Q::EMPTY;
    let mut question = sys::io_uring_query_hdr {
        query_data: (&raw mut answer).expose_provenance() as u64,
        query_op: Q::QUESTION,
        size: size_of::<Q>() as u32,
        ..sys::io_uring_query_hdr::ZERO
    };
    ask((&raw mut question).cast())?;
    match question.result {
        0.. => Ok(answer),
        error => Err(crate::cqe::errno(error)),
    }
}

/// The kernel's answer about operations, registrations and flags; `None` where it cannot be asked.
#[must_use]
pub fn query_opcodes() -> Option<sys::io_uring_query_opcode> {
    query_of(&Kernel::default())
}

/// The answer of this kernel.
pub(crate) fn query_of(kernel: &Kernel) -> Option<sys::io_uring_query_opcode> {
    asked_of(kernel).ok()
}

/// This kernel's answer about the memory of queues.
pub(crate) fn queues_of(kernel: &Kernel) -> Option<sys::io_uring_query_scq> {
    asked_of(kernel).ok()
}

/// Asks this kernel, without a ring.
fn asked_of<Q: Query>(kernel: &Kernel) -> Result<Q, Errno> {
    // SAFETY: the promise of `asked` is that of the call.
    asked(|arg| unsafe { kernel.register(-1, sys::IORING_REGISTER_QUERY, arg, 0) })
}
