//! Waiting for readiness: poll, and the two operations on epoll instances.

use core::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use crate::UserData;
use crate::operand::{File, PollMask};
use rawring_sys as sys;
use rustix::event::epoll;

ops! {
    /// Waits until a file is ready, as `poll(2)`.
    ///
    /// Reports what is there when it is submitted, or else what comes next.
    ///
    /// ```
    /// use rawring::{Ring, op::PollAdd};
    /// use rustix::event::PollFlags;
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (mut left, right) = UnixStream::pair()?;
    /// let mut ring = Ring::new(8)?;
    /// // SAFETY: the socket is open until the completion was reaped, below.
    /// unsafe { ring.push_unchecked(PollAdd::new(&right, PollFlags::IN)).expect("there is room") };
    /// ring.submit()?;
    /// assert_eq!(ring.completions().count(), 0);
    /// left.write_all(b"x")?;
    /// ring.submit_and_wait(1)?;
    /// let events = ring.completions().next().expect("waited for one").result()?;
    /// assert_eq!(events & u32::from(PollFlags::IN.bits()), u32::from(PollFlags::IN.bits()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PollAdd = IORING_OP_POLL_ADD, "5.1", Once {
        new(into file: File<'a> => [FD] Completed, into events: PollMask => [POLL32_EVENTS])
        result "the events"
    }

    /// Reports every time that a file becomes ready; otherwise as `poll(2)`.
    ///
    /// It is the change that is reported, not the state: who leaves data unread hears of it again only when more
    /// comes. (The kernel's header has a flag for the other way, `IORING_POLL_ADD_LEVEL`; no release accepts it.) It
    /// ends, and has to be submitted again, with the first completion without [`more`](crate::Cqe::more).
    PollMulti = IORING_OP_POLL_ADD, "5.13", Multi {
        new(into file: File<'a> => [FD] Completed, into events: PollMask => [POLL32_EVENTS])
        marks [LEN is sys::IORING_POLL_ADD_MULTI]
        result "the events"
    }

    /// Ends a poll, which then completes with `ECANCELED`. There is no system call like it, see `io_uring_enter(2)`.
    ///
    /// `ENOENT` if there is none with this `user_data`, `EALREADY` if it is just completing.
    PollRemove = IORING_OP_POLL_REMOVE, "5.1", Once {
        new(into target: UserData => [ADDR])
        result "0"
    }

    /// Has a poll that is running wait for other events; see `io_uring_enter(2)`.
    ///
    /// A poll for many events goes on, and one for a single event keeps its only completion. Errors as for
    /// [`PollRemove`].
    ///
    /// Some kernels (seen in 5.15, 6.16 and 6.17) lose a poll for a single event if the new ones are there already: it
    /// never completes, and a `scope` waits for it for ever.
    PollUpdate = IORING_OP_POLL_REMOVE, "5.13", Once {
        new(into target: UserData => [ADDR], into events: PollMask => [POLL32_EVENTS])
        marks [LEN has sys::IORING_POLL_UPDATE_EVENTS]
        result "0"
    }

    /// Gives a poll that is running another `user_data`, and other events if wanted; see `io_uring_enter(2)`.
    PollUpdateUserData = IORING_OP_POLL_REMOVE, "5.13", Once {
        contract unsafe "Neither the poll's present `user_data` nor the new one belongs to a `scope` or an `InFlight` \
            ([`is_reserved`](crate::UserData::is_reserved)). They know an operation by that value and free what it \
            borrowed when its last completion came: with the value of another, they would free too early or wait for \
            ever.";
        new(into target: UserData => [ADDR], into user_data_after: UserData => [OFF])
        with {
            /// The events to wait for from now on.
            into events: PollMask => [POLL32_EVENTS] + [LEN has sys::IORING_POLL_UPDATE_EVENTS];
        }
        marks [LEN has sys::IORING_POLL_UPDATE_USER_DATA]
        result "0"
    }

    /// Has an epoll instance watch a file, as `epoll_ctl(2)`.
    ///
    /// Both descriptors have to be ordinary ones.
    EpollAdd = IORING_OP_EPOLL_CTL, "5.6", Once {
        new(
            val epoll: BorrowedFd<'a> => [FD] Completed,
            val file: BorrowedFd<'a> => [OFF] Completed,
            val event: &'a epoll::Event => [ADDR] Submitted,
        )
        marks [LEN is libc::EPOLL_CTL_ADD]
        result "0"
    }

    /// Changes what an epoll instance watches a file for, as `epoll_ctl(2)`.
    EpollModify = IORING_OP_EPOLL_CTL, "5.6", Once {
        new(
            val epoll: BorrowedFd<'a> => [FD] Completed,
            val file: BorrowedFd<'a> => [OFF] Completed,
            val event: &'a epoll::Event => [ADDR] Submitted,
        )
        marks [LEN is libc::EPOLL_CTL_MOD]
        result "0"
    }

    /// Has an epoll instance no longer watch a file, as `epoll_ctl(2)`.
    EpollDelete = IORING_OP_EPOLL_CTL, "5.6", Once {
        new(val epoll: BorrowedFd<'a> => [FD] Completed, val file: BorrowedFd<'a> => [OFF] Completed)
        marks [LEN is libc::EPOLL_CTL_DEL]
        result "0"
    }

    /// Waits for events of an epoll instance, as `epoll_wait(2)`.
    ///
    /// Of `events`, as many as the result says are initialised then.
    EpollWait = IORING_OP_EPOLL_WAIT, "6.15", Once {
        new(
            into epoll: File<'a> => [FD] Completed,
            val events: &'a mut [MaybeUninit<epoll::Event>] => [ADDR, LEN] Completed out,
        )
        result "the number of events"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sqe;
    use crate::operand::Fixed;
    use crate::sqe::At;
    use rustix::event::PollFlags;

    #[test]
    fn item_28_every_poll_row_stores_its_events_where_the_kernel_looks() {
        let events = PollFlags::IN | PollFlags::RDHUP;
        // SAFETY: the entry is never submitted.
        let renamed = unsafe { PollUpdateUserData::new(1u64, 2u64) };
        let rows: [Sqe<'_>; 4] = [
            PollAdd::new(Fixed(0), events).into(),
            PollMulti::new(Fixed(0), events).into(),
            PollUpdate::new(1u64, events).into(),
            renamed.events(events).into(),
        ];
        for row in rows {
            // The 16-bit field overlays the half that holds these bits, on either byte order.
            assert_eq!(row.get(At::POLL_EVENTS), u64::from(PollMask::from(events).0), "{row:?}");
            assert!(format!("{row:?}").contains("events: IN|RDHUP"), "{row:?}");
        }
    }

    #[test]
    fn an_update_says_what_it_updates() {
        let sqe = Sqe::from(PollUpdate::new(7u64, PollFlags::OUT));
        assert_eq!(sqe.get(At::LEN), u64::from(sys::IORING_POLL_UPDATE_EVENTS));
        // SAFETY: the entry is never submitted.
        let sqe = Sqe::from(unsafe { PollUpdateUserData::new(7u64, 8u64) });
        assert_eq!((sqe.get(At::LEN), sqe.get(At::OFF)), (u64::from(sys::IORING_POLL_UPDATE_USER_DATA), 8));
        // SAFETY: the entry is never submitted.
        let sqe = Sqe::from(unsafe { PollUpdateUserData::new(7u64, 8u64) }.events(PollFlags::OUT));
        let both = sys::IORING_POLL_UPDATE_USER_DATA | sys::IORING_POLL_UPDATE_EVENTS;
        assert_eq!(sqe.get(At::LEN), u64::from(both));
        assert_eq!(sqe.info().map(|row| row.name), Some("PollUpdateUserData"));
    }
}
