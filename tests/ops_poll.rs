//! Polls on a real ring, compared with `poll(2)`.

mod common;
#[path = "common/io.rs"]
mod io;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::needs;
use io::{next, nothing, of, push, reap, result, ring, run};
use rawring::flags::PollFlags as UringPollFlags;
use rawring::op::*;
use rawring::operand::PollMask;
use rawring::{Errno, Sqe, Version, Wait, WaitEnd};
use rustix::event::{PollFd, PollFlags, epoll};

/// What `poll(2)` says, without waiting.
fn twin(socket: &UnixStream, events: PollFlags) -> u32 {
    let mut fds = [PollFd::new(socket, events)];
    rustix::event::poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).expect("polled");
    PollMask::from(fds[0].revents()).0
}

fn bits(flags: PollFlags) -> u32 {
    PollMask::from(flags).0
}

#[test]
fn a_poll_reports_what_is_there() {
    let mut ring = ring();
    let (left, right) = UnixStream::pair().expect("a pair");
    let both = PollFlags::IN | PollFlags::OUT;
    assert_eq!(result(&mut ring, PollAdd::new(&right, both)), Ok(bits(PollFlags::OUT)));
    (&left).write_all(b"x").expect("written");
    assert_eq!(result(&mut ring, PollAdd::new(&right, both)), Ok(twin(&right, both)));
    drop(left);
    let found = result(&mut ring, PollAdd::new(&right, both | PollFlags::RDHUP)).expect("events");
    assert_eq!(found, twin(&right, both | PollFlags::RDHUP));
    assert_eq!(found & bits(PollFlags::HUP | PollFlags::RDHUP), bits(PollFlags::HUP | PollFlags::RDHUP));
}

#[test]
fn a_poll_waits_for_what_comes() {
    let mut ring = ring();
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, PollAdd::new(&right, PollFlags::IN)) };
    nothing(&mut ring);
    left.write_all(b"x").expect("written");
    let cqe = next(&mut ring);
    assert_eq!((cqe.result(), cqe.more()), (Ok(bits(PollFlags::IN)), false));
    left.write_all(b"y").expect("written");
    nothing(&mut ring);
}

#[test]
fn item_28_the_upper_half_of_the_mask_arrives() {
    // EPOLLWAKEUP and its kin are above bit 15: a kernel that got the halves the wrong way round would see events of
    // the lower half in them, or miss IN.
    let mut ring = ring();
    let (left, right) = UnixStream::pair().expect("a pair");
    (&left).write_all(b"x").expect("written");
    let events = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
    assert_eq!(result(&mut ring, PollAdd::new(&right, events)), Ok(bits(PollFlags::IN)));
    let upper = PollMask(epoll::EventFlags::EXCLUSIVE.bits());
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, PollAdd::new(&right, upper).user_data(1)) };
    nothing(&mut ring);
    assert_eq!(of(&[run_with(&mut ring, PollRemove::new(1u64), 1)], 1).result(), Err(Errno::CANCELED));
}

/// Runs an operation that makes the one with `other` complete; returns that one's completion.
fn run_with(ring: &mut rawring::Ring, entry: impl Into<Sqe<'static>>, other: u64) -> rawring::Cqe {
    ring.push(entry.into().user_data(1000)).expect("room");
    let cqes = reap(ring, 2);
    assert_eq!(of(&cqes, 1000).result(), Ok(0));
    of(&cqes, other)
}

#[test]
fn item_18_a_poll_for_many_events_goes_on() {
    let mut ring = ring();
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, PollMulti::new(&right, PollFlags::IN).user_data(1)) };
    for _ in 0..3 {
        left.write_all(b"x").expect("written");
        let cqe = next(&mut ring);
        assert_eq!((cqe.result(), cqe.more()), (Ok(bits(PollFlags::IN)), true));
    }
    let last = run_with(&mut ring, PollRemove::new(1u64), 1);
    assert_eq!((last.result(), last.more()), (Err(Errno::CANCELED), false));
}

#[test]
fn a_poll_reports_changes_and_not_a_state() {
    let mut ring = ring();
    let (mut left, right) = UnixStream::pair().expect("a pair");
    left.write_all(b"x").expect("written");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, PollMulti::new(&right, PollFlags::IN).user_data(1)) };
    assert!(next(&mut ring).more(), "what is there at first is reported");
    nothing(&mut ring);
    assert_eq!(twin(&right, PollFlags::IN), bits(PollFlags::IN), "it is still readable, and that is no news");
    run_with(&mut ring, PollRemove::new(1u64), 1);
}

#[test]
fn no_kernel_takes_the_flag_for_levels() {
    // The header has it since 6.0; it was taken out before the release. If a kernel takes it, there should be a row.
    let mut ring = ring();
    let (_left, right) = UnixStream::pair().expect("a pair");
    for flags in [UringPollFlags::LEVEL, UringPollFlags::LEVEL | UringPollFlags::MULTI] {
        let mut entry = Sqe::from(PollAdd::new(&right, PollFlags::OUT));
        // SAFETY: the flags change when the operation completes, not what it names.
        unsafe { entry.raw_mut() }.len = flags.bits();
        assert_eq!(run(&mut ring, entry).result(), Err(Errno::INVAL), "{flags:?}");
    }
}

#[test]
fn a_removed_poll_is_cancelled() {
    let mut ring = ring();
    let (mut left, mut right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, PollAdd::new(&right, PollFlags::IN).user_data(7)) };
    ring.submit().expect("submitted");
    assert_eq!(run_with(&mut ring, PollRemove::new(7u64), 7).result(), Err(Errno::CANCELED));
    assert_eq!(result(&mut ring, PollRemove::new(7u64)), Err(Errno::NOENT));
    left.write_all(b"x").expect("written");
    nothing(&mut ring);
    right.read_exact(&mut [0]).expect("the data is still there");
}

/// Whether a poll completes that is given events which are there already.
fn updates_complete() -> Result<(), &'static str> {
    let mut ring = ring();
    let (_left, right) = UnixStream::pair().expect("a pair");
    // The socket has to be there for as long as the poll, which may be for ever.
    let right: &'static UnixStream = Box::leak(Box::new(right));
    ring.push(PollAdd::new(right, PollFlags::PRI).user_data(1)).expect("room");
    ring.push(PollUpdate::new(1u64, PollFlags::OUT).user_data(2)).expect("room");
    let outcome = ring.submit_with(&Wait::new(2).timeout(Duration::from_millis(500))).expect("submitted");
    if outcome.wait == WaitEnd::Ready || common::probe().level() >= Version::new(6, 18) {
        return Ok(());
    }
    Err("this kernel loses a poll that is updated to events which are there already")
}

#[test]
fn an_updated_poll_waits_for_its_new_events() {
    needs!(updates_complete());
    let mut ring = ring();
    let (_left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, PollAdd::new(&right, PollFlags::IN).user_data(7)) };
    nothing(&mut ring);
    assert_eq!(run_with(&mut ring, PollUpdate::new(7u64, PollFlags::OUT), 7).result(), Ok(bits(PollFlags::OUT)));
    assert_eq!(result(&mut ring, PollUpdate::new(7u64, PollFlags::OUT)), Err(Errno::NOENT), "it had its event");
}

#[test]
fn an_updated_poll_for_many_events_goes_on() {
    let mut ring = ring();
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, PollMulti::new(&right, PollFlags::PRI).user_data(7)) };
    left.write_all(b"x").expect("written");
    nothing(&mut ring);
    let first = run_with(&mut ring, PollUpdate::new(7u64, PollFlags::IN), 7);
    assert_eq!((first.result(), first.more()), (Ok(bits(PollFlags::IN)), true));
    left.write_all(b"x").expect("written");
    assert!(next(&mut ring).more());
    run_with(&mut ring, PollRemove::new(7u64), 7);
}

#[test]
fn a_poll_can_be_given_another_user_data() {
    let mut ring = ring();
    let (mut left, right) = UnixStream::pair().expect("a pair");
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, PollAdd::new(&right, PollFlags::IN).user_data(7)) };
    // SAFETY: neither value is reserved.
    let renamed = unsafe { PollUpdateUserData::new(7u64, 8u64) };
    assert_eq!(result(&mut ring, renamed.user_data(1)), Ok(0));
    nothing(&mut ring);
    left.write_all(b"x").expect("written");
    let cqe = next(&mut ring);
    assert_eq!((cqe.user_data().0, cqe.result()), (8, Ok(bits(PollFlags::IN))));

    needs!(updates_complete());
    // SAFETY: the socket outlives the completion, which is reaped below.
    unsafe { push(&mut ring, PollAdd::new(&right, PollFlags::PRI).user_data(7)) };
    nothing(&mut ring);
    // SAFETY: neither value is reserved.
    let both = unsafe { PollUpdateUserData::new(7u64, 9u64) }.events(PollFlags::OUT);
    assert_eq!(run_with(&mut ring, both, 9).result(), Ok(bits(PollFlags::OUT)), "events and user_data at once");
}
