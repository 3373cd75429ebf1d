//! Cancelling requests by a call instead of by an entry, and waiting for their end.
//!
//! What is to be cancelled is said by the entries that do the same: [`Cancel`], [`CancelFd`], [`CancelOp`], [`CancelAny`].
//! The requests complete as they do when an entry cancels them; the kernel is done with their memory when those
//! completions were reaped, not when the call returns.

use core::time::Duration;

use rustix::io::Errno;

use crate::op::{Cancel, CancelAny, CancelFd, CancelOp};
use crate::operand::Timespec;
use crate::ring::Ring;
use crate::sqe::{At, RawSqe, Sqe};
use rawring_sys as sys;

/// Entries that say what to cancel: [`Cancel`], [`CancelFd`], [`CancelOp`] and [`CancelAny`], and no others.
pub trait CancelRequest: sealed::Request {}

mod sealed {
    pub trait Request: Sized {
        fn with<R>(self, f: impl FnOnce(&crate::sqe::RawSqe) -> R) -> R;
    }
}

macro_rules! requests {
    ($($entry:ident),*) => { $(
        impl<'a> sealed::Request for $entry<'a> {
            fn with<R>(self, f: impl FnOnce(&RawSqe) -> R) -> R {
                f(Sqe::<'a>::from(self).raw())
            }
        }

        impl CancelRequest for $entry<'_> {}
    )* };
}

requests!(Cancel, CancelFd, CancelOp, CancelAny);

/// The argument that says what the entry says.
fn argument(entry: &RawSqe, timeout: Option<Duration>) -> sys::io_uring_sync_cancel_reg {
    let fixed = if entry.flags & sys::IOSQE_FIXED_FILE != 0 { sys::IORING_ASYNC_CANCEL_FD_FIXED } else { 0 };
    let timeout = timeout.map_or(Timespec { seconds: -1, nanoseconds: -1 }, Timespec::from);
    sys::io_uring_sync_cancel_reg {
        addr: entry.addr,
        fd: entry.fd,
        flags: entry.get(At::CANCEL_FLAGS) as u32 | fixed,
        timeout: sys::__kernel_timespec { tv_sec: timeout.seconds, tv_nsec: timeout.nanoseconds },
        // The field of an entry has 32 bits, and no operation more than 8.
        opcode: entry.len as u8,
        ..sys::io_uring_sync_cancel_reg::ZERO
    }
}

impl Ring {
    /// Cancels what the entry names, and waits until those requests have ended, or for `timeout`. Returns what the
    /// completion of the entry would have as its result if nothing had to be waited for, and 0 otherwise.
    ///
    /// Requests that others submit meanwhile are found, too, if they match. Pushed entries that were not submitted are not
    /// found.
    ///
    /// Works in every state of a ring. `IORING_REGISTER_SYNC_CANCEL`, Linux 6.0.
    ///
    /// ```
    /// use rawring::{Errno, Ring, op::{CancelAny, PollAdd}};
    ///
    /// let mut ring = Ring::new(8)?;
    /// let (reader, _writer) = rustix::pipe::pipe()?;
    /// ring.register_files(&[std::os::fd::AsFd::as_fd(&reader).into()])?;
    /// ring.push(PollAdd::new(rawring::operand::Fixed(0), rustix::event::PollFlags::IN))?;
    /// ring.submit()?;
    /// ring.sync_cancel(CancelAny::new(), None)?;
    /// ring.submit_and_wait(1)?;
    /// assert_eq!(ring.completions().next().expect("waited for it").result(), Err(Errno::CANCELED));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// | errno | meaning |
    /// | --- | --- |
    /// | `ENOENT` | there is no such request; of `all` and of [`CancelAny`] 0 is returned instead |
    /// | `ETIME` | a request that runs on a worker thread has not ended in time |
    /// | `EINTR` | a signal came |
    /// | `EBADF` | there is no such file; or the ring has no name here |
    /// | `EINVAL` | a flag that the kernel does not know, or a timeout that is none |
    /// | `EEXIST`, `EACCES` | the ring belongs to another thread, or restrictions forbid it |
    pub fn sync_cancel<C: CancelRequest>(&self, request: C, timeout: Option<Duration>) -> Result<u32, Errno> {
        request.with(|entry| {
            let mut argument = argument(entry, timeout);
            // SAFETY: the argument is one struct, read during the call; the file that it names is borrowed by the entry.
            unsafe { self.register_raw(sys::IORING_REGISTER_SYNC_CANCEL, (&raw mut argument).cast(), 1) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::sealed::Request;
    use super::*;
    use crate::op::Read;
    use crate::operand::Fixed;
    use crate::user_data::UserData;

    #[test]
    fn an_entry_and_the_call_name_the_same() {
        let by =
            |argument: sys::io_uring_sync_cancel_reg| (argument.addr, argument.fd, argument.flags, argument.opcode);
        let of = |entry: &RawSqe| argument(entry, None);
        let one = Cancel::new(UserData(7)).all().with(of);
        assert_eq!(by(one), (7, 0, sys::IORING_ASYNC_CANCEL_ALL, 0));
        assert_eq!((one.timeout.tv_sec, one.timeout.tv_nsec), (-1, -1), "for ever");
        let file = CancelFd::new(Fixed(3)).op(Read::INFO.opcode).target(UserData(9)).with(of);
        let flags = sys::IORING_ASYNC_CANCEL_FD
            | sys::IORING_ASYNC_CANCEL_FD_FIXED
            | sys::IORING_ASYNC_CANCEL_OP
            | sys::IORING_ASYNC_CANCEL_USERDATA;
        assert_eq!(by(file), (9, 3, flags, sys::IORING_OP_READ));
        assert_eq!(by(CancelAny::new().with(of)).2, sys::IORING_ASYNC_CANCEL_ANY);
        let op = CancelOp::new(Read::INFO.opcode).with(|entry| argument(entry, Some(Duration::from_millis(1500))));
        assert_eq!((op.opcode, op.timeout.tv_sec, op.timeout.tv_nsec), (sys::IORING_OP_READ, 1, 500_000_000));
    }
}
