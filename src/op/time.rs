//! Timeouts: of their own, and linked to another operation.
//!
//! A timeout that expires completes with `ETIME`, which is its success. As a link it still breaks the chain, unless
//! [`TimeoutFlags::ETIME_SUCCESS`] says otherwise.
//!
//! Each operation comes twice: with a [`Timespec`] that is read when the entry is submitted, and, since Linux 7.1,
//! with a time inside the entry, so that it borrows nothing.

use core::time::Duration;

use crate::UserData;
use crate::flags::TimeoutFlags;
use crate::operand::Timespec;
use rawring_sys as sys;

ops! {
    /// Completes after a time; see `io_uring_enter(2)`.
    ///
    /// `ETIME` when the time is over, 0 when as many completions as asked for came first, `ECANCELED` when it was
    /// removed.
    ///
    /// ```
    /// use rawring::{Errno, Ring, op::Timeout, operand::Timespec};
    /// use std::time::{Duration, Instant};
    ///
    /// let span = Timespec::from(Duration::from_millis(5));
    /// let start = Instant::now();
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: the time stays as it is until the completion was reaped, below.
    /// unsafe { ring.push_unchecked(Timeout::new(&span)).expect("there is room") };
    /// ring.submit_and_wait(1)?;
    /// assert_eq!(ring.completions().next().expect("waited for one").result(), Err(Errno::TIME));
    /// assert!(start.elapsed() >= Duration::from_millis(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    Timeout = IORING_OP_TIMEOUT, "5.4", Once {
        new(val time: &'a Timespec => [ADDR] Submitted)
        with {
            /// Completes with 0 once so many other completions came after it; 0 for only the time.
            val completions: u32 => [OFF];
            /// Whether the time is a point, which clock measures it, and what its end means to a chain.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        defaults [LEN = 1]
        result "0 after the completions asked for; the end of the time is `ETIME`"
    }

    /// Completes each time that a span is over, as often as is said; see `io_uring_enter(2)`.
    ///
    /// Each completion is `ETIME`; the last is without [`more`](crate::Cqe::more). The time cannot be a point
    /// (`EINVAL`).
    TimeoutMulti = IORING_OP_TIMEOUT, "6.4", Multi {
        new(val time: &'a Timespec => [ADDR] Submitted)
        with {
            /// How often; 0 until it is removed.
            val repeats: u32 => [OFF];
            /// Which clock measures the time, and what its end means to a chain.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [TIMEOUT_FLAGS has sys::IORING_TIMEOUT_MULTISHOT]
        defaults [LEN = 1]
        result "none; the end of the time is `ETIME`"
    }

    /// As [`Timeout`], with the time in the entry; see `io_uring_enter(2)`.
    TimeoutImmediate = IORING_OP_TIMEOUT, "7.1", Once {
        new(val time: Duration => [ADDR])
        with {
            /// Completes with 0 once so many other completions came after it; 0 for only the time.
            val completions: u32 => [OFF];
            /// Whether the time is a point, which clock measures it, and what its end means to a chain.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [TIMEOUT_FLAGS has sys::IORING_TIMEOUT_IMMEDIATE_ARG]
        defaults [LEN = 1]
        result "0 after the completions asked for; the end of the time is `ETIME`"
    }

    /// As [`TimeoutMulti`], with the time in the entry; see `io_uring_enter(2)`.
    TimeoutMultiImmediate = IORING_OP_TIMEOUT, "7.1", Multi {
        new(val time: Duration => [ADDR])
        with {
            /// How often; 0 until it is removed.
            val repeats: u32 => [OFF];
            /// Which clock measures the time, and what its end means to a chain.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [
            TIMEOUT_FLAGS has sys::IORING_TIMEOUT_MULTISHOT,
            TIMEOUT_FLAGS has sys::IORING_TIMEOUT_IMMEDIATE_ARG,
        ]
        defaults [LEN = 1]
        result "none; the end of the time is `ETIME`"
    }

    /// Ends a timeout, which then completes with `ECANCELED`; see `io_uring_enter(2)`.
    ///
    /// `ENOENT` if there is none with this `user_data`, `EALREADY` if it is just expiring.
    TimeoutRemove = IORING_OP_TIMEOUT_REMOVE, "5.5", Once {
        new(into target: UserData => [ADDR])
        result "0"
    }

    /// Gives a timeout that is running another time; see `io_uring_enter(2)`.
    ///
    /// The timeout keeps its clock and waits for the time alone from now on. Errors as for [`TimeoutRemove`].
    TimeoutUpdate = IORING_OP_TIMEOUT_REMOVE, "5.11", Once {
        new(into target: UserData => [ADDR], val time: &'a Timespec => [ADDR2] Submitted)
        with {
            /// Whether the time is a point.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [TIMEOUT_FLAGS has sys::IORING_TIMEOUT_UPDATE]
        result "0"
    }

    /// As [`TimeoutUpdate`], with the time in the entry; see `io_uring_enter(2)`.
    TimeoutUpdateImmediate = IORING_OP_TIMEOUT_REMOVE, "7.1", Once {
        new(into target: UserData => [ADDR], val time: Duration => [ADDR2])
        with {
            /// Whether the time is a point.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [
            TIMEOUT_FLAGS has sys::IORING_TIMEOUT_UPDATE,
            TIMEOUT_FLAGS has sys::IORING_TIMEOUT_IMMEDIATE_ARG,
        ]
        result "0"
    }

    /// Cancels the operation before it in the chain if that takes longer than this; see `io_uring_enter(2)`.
    ///
    /// It has to follow its operation in the same submission, and that one has to be linked. If the operation ends in
    /// time, this completes with `ECANCELED`. Otherwise it completes with `ETIME` and the operation with `ECANCELED`
    /// (or with what it had done until then); where the operation could not be found or stopped any more, with
    /// `ENOENT` or `EALREADY`. On its own it is refused (`EINVAL`).
    ///
    /// ```
    /// use rawring::{Errno, Ring, op::{LinkTimeout, PollAdd}, operand::Timespec};
    /// use rustix::event::PollFlags;
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// let (_left, right) = UnixStream::pair()?;
    /// let patience = Timespec::from(Duration::from_millis(5));
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: socket and time stay as they are until both completions were reaped, below.
    /// unsafe {
    ///     ring.push_unchecked(PollAdd::new(&right, PollFlags::IN).link().user_data(1)).expect("there is room");
    ///     ring.push_unchecked(LinkTimeout::new(&patience).user_data(2)).expect("there is room");
    /// }
    /// ring.submit_and_wait(2)?;
    /// for cqe in ring.completions() {
    ///     let expected = if cqe.user_data().0 == 1 { Errno::CANCELED } else { Errno::TIME };
    ///     assert_eq!(cqe.result(), Err(expected));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    LinkTimeout = IORING_OP_LINK_TIMEOUT, "5.5", Once {
        new(val time: &'a Timespec => [ADDR] Submitted)
        with {
            /// Whether the time is a point, and which clock measures it.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        defaults [LEN = 1]
        result "none; the end of the time is `ETIME`"
    }

    /// As [`LinkTimeout`], with the time in the entry; see `io_uring_enter(2)`.
    LinkTimeoutImmediate = IORING_OP_LINK_TIMEOUT, "7.1", Once {
        new(val time: Duration => [ADDR])
        with {
            /// Whether the time is a point, and which clock measures it.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [TIMEOUT_FLAGS has sys::IORING_TIMEOUT_IMMEDIATE_ARG]
        defaults [LEN = 1]
        result "none; the end of the time is `ETIME`"
    }

    /// Gives a linked timeout that is running another time; see `io_uring_enter(2)`.
    ///
    /// `ENOENT` if there is none with this `user_data`, or if its operation has ended.
    LinkTimeoutUpdate = IORING_OP_TIMEOUT_REMOVE, "5.15", Once {
        new(into target: UserData => [ADDR], val time: &'a Timespec => [ADDR2] Submitted)
        with {
            /// Whether the time is a point.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [
            TIMEOUT_FLAGS has sys::IORING_TIMEOUT_UPDATE,
            TIMEOUT_FLAGS has sys::IORING_LINK_TIMEOUT_UPDATE,
        ]
        result "0"
    }

    /// As [`LinkTimeoutUpdate`], with the time in the entry; see `io_uring_enter(2)`.
    LinkTimeoutUpdateImmediate = IORING_OP_TIMEOUT_REMOVE, "7.1", Once {
        new(into target: UserData => [ADDR], val time: Duration => [ADDR2])
        with {
            /// Whether the time is a point.
            val timeout_flags: TimeoutFlags => [TIMEOUT_FLAGS];
        }
        marks [
            TIMEOUT_FLAGS has sys::IORING_TIMEOUT_UPDATE,
            TIMEOUT_FLAGS has sys::IORING_LINK_TIMEOUT_UPDATE,
            TIMEOUT_FLAGS has sys::IORING_TIMEOUT_IMMEDIATE_ARG,
        ]
        result "0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sqe;
    use crate::sqe::At;

    #[test]
    fn item_23_a_linked_timeout_is_updated_not_removed() {
        // Without TIMEOUT_UPDATE beside it, the bit of linked timeouts makes the kernel remove an unlinked one.
        let time = Timespec::default();
        let update = sys::IORING_TIMEOUT_UPDATE | sys::IORING_LINK_TIMEOUT_UPDATE;
        let sqe = Sqe::from(LinkTimeoutUpdate::new(1u64, &time));
        assert_eq!(sqe.get(At::TIMEOUT_FLAGS), u64::from(update));
        let sqe = Sqe::from(LinkTimeoutUpdateImmediate::new(1u64, Duration::ZERO));
        assert_eq!(sqe.get(At::TIMEOUT_FLAGS), u64::from(update | sys::IORING_TIMEOUT_IMMEDIATE_ARG));
    }

    #[test]
    fn item_15_a_time_in_the_entry_borrows_nothing() {
        let sqe: Sqe<'static> = TimeoutImmediate::new(Duration::from_micros(3)).into();
        assert_eq!(sqe.get(At::ADDR), 3000);
        // The kernel's field is signed; what does not fit is the longest time, not a negative one.
        let sqe = Sqe::from(TimeoutUpdateImmediate::new(1u64, Duration::MAX));
        assert_eq!(sqe.get(At::ADDR2), i64::MAX as u64);
    }

    #[test]
    fn every_timeout_has_the_one_time_that_the_kernel_asks_for() {
        for row in ROWS.iter().filter(|row| row.opcode.0 != sys::IORING_OP_TIMEOUT_REMOVE) {
            assert_eq!(row.defaults, [(At::LEN, 1)], "{}", row.name);
        }
    }
}
