//! Timeouts on a real ring, and what links to them and to other operations do.

mod common;
#[path = "common/io.rs"]
mod io;

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{kernel_has_op, needs, since};
use io::{nothing, of, push, reap, result, ring, run};
use rawring::flags::TimeoutFlags;
use rawring::op::*;
use rawring::operand::Timespec;
use rawring::{Errno, Sqe, Version};
use rustix::time::{ClockId, clock_gettime};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(600);

fn span(time: Duration) -> Timespec {
    time.into()
}

/// A point in the near future of a clock.
fn soon(clock: ClockId) -> Timespec {
    let now = clock_gettime(clock);
    (Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + SHORT).into()
}

#[test]
fn a_timeout_ends_after_its_time_and_not_before() {
    let mut ring = ring();
    let start = Instant::now();
    assert_eq!(result(&mut ring, Timeout::new(&span(SHORT))), Err(Errno::TIME));
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn a_timeout_can_be_a_point_on_each_clock() {
    let mut ring = ring();
    for (id, clock) in [
        (ClockId::Monotonic, TimeoutFlags::empty()),
        (ClockId::Realtime, TimeoutFlags::REALTIME),
        (ClockId::Boottime, TimeoutFlags::BOOTTIME),
    ] {
        let start = Instant::now();
        let point = soon(id);
        let timeout = Timeout::new(&point).timeout_flags(TimeoutFlags::ABS | clock);
        assert_eq!(result(&mut ring, timeout), Err(Errno::TIME), "{clock:?}");
        assert!(start.elapsed() >= SHORT && Timespec::from(clock_gettime(id)) >= point, "{clock:?}");
        let past =
            Timeout::new(const { &Timespec { seconds: 0, nanoseconds: 0 } }).timeout_flags(TimeoutFlags::ABS | clock);
        assert_eq!(result(&mut ring, past), Err(Errno::TIME), "a point in the past, {clock:?}");
    }
    let two = TimeoutFlags::REALTIME | TimeoutFlags::BOOTTIME;
    assert_eq!(result(&mut ring, Timeout::new(&span(SHORT)).timeout_flags(two)), Err(Errno::INVAL));
}

#[test]
fn a_timeout_ends_with_zero_after_so_many_completions() {
    let mut ring = ring();
    let time = span(LONG);
    // SAFETY: the time outlives the completion of the timeout, which is reaped below.
    unsafe { push(&mut ring, Timeout::new(&time).completions(2).user_data(1)) };
    ring.submit().expect("submitted");
    nothing(&mut ring);
    ring.push_all([Nop::new().user_data(2).into(), Nop::new().user_data(3).into()]).expect("room");
    let cqes = reap(&mut ring, 3);
    assert_eq!(of(&cqes, 1).result(), Ok(0), "{cqes:?}");
}

#[test]
fn item_15_a_time_may_change_once_it_was_submitted() {
    let mut ring = ring();
    let mut time = span(SHORT);
    // SAFETY: the time is needed until submitted; the memory is there until the completion all the same.
    unsafe { push(&mut ring, Timeout::new(&time)) };
    ring.submit().expect("submitted");
    time = span(LONG);
    let start = Instant::now();
    assert_eq!(io::next(&mut ring).result(), Err(Errno::TIME));
    assert!(start.elapsed() < LONG / 10 && time == span(LONG));
}

#[test]
fn item_18_a_timeout_for_many_times_ends_without_more() {
    needs!(common::probe().require(TimeoutMulti::INFO));
    let mut ring = ring();
    let time = span(Duration::from_millis(2));
    // SAFETY: the time outlives all three completions, which are reaped below.
    unsafe { push(&mut ring, TimeoutMulti::new(&time).repeats(3).user_data(1)) };
    let cqes = reap(&mut ring, 3);
    assert!(cqes.iter().all(|cqe| cqe.result() == Err(Errno::TIME)), "{cqes:?}");
    assert_eq!(cqes.iter().map(|cqe| cqe.more()).collect::<Vec<_>>(), [true, true, false]);
    nothing(&mut ring);

    let point = TimeoutMulti::new(&time).timeout_flags(TimeoutFlags::ABS);
    assert_eq!(result(&mut ring, point), Err(Errno::INVAL), "a point in time comes once");
}

#[test]
fn a_timeout_without_end_goes_on_until_it_is_removed() {
    needs!(common::probe().require(TimeoutMulti::INFO));
    let mut ring = ring();
    let time = span(Duration::from_millis(1));
    // SAFETY: the time outlives the last completion, which is reaped below.
    unsafe { push(&mut ring, TimeoutMulti::new(&time).user_data(1)) };
    assert!(reap(&mut ring, 5).iter().all(|cqe| cqe.more()));
    ring.push(TimeoutRemove::new(1u64).user_data(2)).expect("room");
    let (mut removed, mut last) = (None, None);
    while removed.is_none() || last.is_none() {
        let cqe = io::next(&mut ring);
        match cqe.user_data().0 {
            2 => removed = Some(cqe.result()),
            _ if !cqe.more() => last = Some(cqe.result()),
            _ => assert_eq!(cqe.result(), Err(Errno::TIME)),
        }
    }
    assert_eq!((removed, last), (Some(Ok(0)), Some(Err(Errno::CANCELED))));
    nothing(&mut ring);
}

#[test]
fn a_removed_timeout_is_cancelled() {
    let mut ring = ring();
    let time = span(LONG);
    // SAFETY: the time outlives the completion, which is reaped below.
    unsafe { push(&mut ring, Timeout::new(&time).user_data(1)) };
    ring.push(TimeoutRemove::new(1u64).user_data(2)).expect("room");
    let cqes = reap(&mut ring, 2);
    assert_eq!(of(&cqes, 1).result(), Err(Errno::CANCELED));
    assert_eq!(of(&cqes, 2).result(), Ok(0));
    assert_eq!(result(&mut ring, TimeoutRemove::new(1u64)), Err(Errno::NOENT), "it is gone");
}

#[test]
fn an_updated_timeout_ends_at_its_new_time() {
    let mut ring = ring();
    let (long, short) = (span(LONG), span(SHORT));
    let start = Instant::now();
    // SAFETY: the times outlive both completions, which are reaped below.
    unsafe {
        push(&mut ring, Timeout::new(&long).user_data(1));
        push(&mut ring, TimeoutUpdate::new(1u64, &short).user_data(2));
    }
    let cqes = reap(&mut ring, 2);
    assert_eq!(of(&cqes, 2).result(), Ok(0));
    assert_eq!(of(&cqes, 1).result(), Err(Errno::TIME));
    assert!(start.elapsed() >= SHORT && start.elapsed() < LONG / 10);

    let point = soon(ClockId::Monotonic);
    // SAFETY: as above.
    unsafe {
        push(&mut ring, Timeout::new(&long).user_data(1));
        push(&mut ring, TimeoutUpdate::new(1u64, &point).timeout_flags(TimeoutFlags::ABS).user_data(2));
    }
    assert_eq!(of(&reap(&mut ring, 2), 1).result(), Err(Errno::TIME), "the new time may be a point");
    assert_eq!(result(&mut ring, TimeoutUpdate::new(1u64, &short)), Err(Errno::NOENT));
}

#[test]
fn item_23_a_linked_timeout_cancels_what_takes_too_long() {
    let mut ring = ring();
    let (_left, right) = UnixStream::pair().expect("a pair");
    let mut buffer = [0; 4];
    let time = span(SHORT);
    // SAFETY: socket, buffer and time outlive both completions, which are reaped below.
    unsafe {
        push(&mut ring, Recv::new(&right, &mut buffer).link().user_data(1));
        push(&mut ring, LinkTimeout::new(&time).user_data(2));
    }
    let cqes = reap(&mut ring, 2);
    assert_eq!(of(&cqes, 1).result(), Err(Errno::CANCELED));
    assert_eq!(of(&cqes, 2).result(), Err(Errno::TIME));
}

#[test]
fn item_23_a_linked_timeout_is_cancelled_when_its_operation_is_in_time() {
    let mut ring = ring();
    let (left, right) = UnixStream::pair().expect("a pair");
    let mut buffer = [0; 4];
    let time = span(LONG);
    // SAFETY: socket, buffer and time outlive all completions, which are reaped below.
    unsafe {
        push(&mut ring, Recv::new(&right, &mut buffer).link().user_data(1));
        push(&mut ring, LinkTimeout::new(&time).user_data(2));
        push(&mut ring, Send::new(&left, "in!!").user_data(3));
    }
    let cqes = reap(&mut ring, 3);
    assert_eq!(of(&cqes, 1).result(), Ok(4));
    assert_eq!(of(&cqes, 2).result(), Err(Errno::CANCELED));
    assert_eq!(&buffer, b"in!!");
}

#[test]
fn item_23_a_linked_timeout_alone_is_refused() {
    let mut ring = ring();
    assert_eq!(result(&mut ring, LinkTimeout::new(&span(LONG))), Err(Errno::INVAL));
    // Nor does it count when what stands before it is not linked.
    let time = span(LONG);
    // SAFETY: the time outlives both completions, which are reaped below.
    unsafe {
        push(&mut ring, Nop::new().user_data(1));
        push(&mut ring, LinkTimeout::new(&time).user_data(2));
    }
    let cqes = reap(&mut ring, 2);
    assert_eq!((of(&cqes, 1).result(), of(&cqes, 2).result()), (Ok(0), Err(Errno::INVAL)));
}

#[test]
fn an_updated_linked_timeout_ends_at_its_new_time() {
    let mut ring = ring();
    let (_left, right) = UnixStream::pair().expect("a pair");
    let mut buffer = [0; 4];
    let (long, short) = (span(LONG), span(SHORT));
    let start = Instant::now();
    // SAFETY: socket, buffer and times outlive all completions, which are reaped below.
    unsafe {
        push(&mut ring, Recv::new(&right, &mut buffer).link().user_data(1));
        push(&mut ring, LinkTimeout::new(&long).user_data(2));
    }
    ring.submit().expect("submitted");
    nothing(&mut ring);
    // SAFETY: as above.
    unsafe { push(&mut ring, LinkTimeoutUpdate::new(2u64, &short).user_data(3)) };
    let cqes = reap(&mut ring, 3);
    assert_eq!(of(&cqes, 3).result(), Ok(0));
    assert_eq!(of(&cqes, 2).result(), Err(Errno::TIME));
    assert_eq!(of(&cqes, 1).result(), Err(Errno::CANCELED));
    assert!(start.elapsed() >= SHORT && start.elapsed() < LONG / 10);
    assert_eq!(result(&mut ring, LinkTimeoutUpdate::new(2u64, &short)), Err(Errno::NOENT));
}

/// A chain of `first` and a nop: what became of the nop.
fn after(first: impl for<'a> FnOnce(&'a UnixStream, &'a mut [u8; 8]) -> Sqe<'a>) -> Result<u32, Errno> {
    let mut ring = ring();
    let (left, right) = UnixStream::pair().expect("a pair");
    rustix::io::write(&left, b"abc").expect("written");
    let mut buffer = [0; 8];
    // SAFETY: socket and buffer outlive both completions, which are reaped below.
    unsafe { push(&mut ring, first(&right, &mut buffer).user_data(1)) };
    ring.push(Nop::new().user_data(2)).expect("room");
    let cqes = reap(&mut ring, 2);
    assert_eq!((of(&cqes, 1).result(), &buffer[..3]), (Ok(3), &b"abc"[..]), "3 of 8 bytes were there");
    of(&cqes, 2).result()
}

#[test]
fn item_23_a_short_read_breaks_a_chain_and_a_short_receive_does_not() {
    assert_eq!(after(|socket, buffer| Read::new(socket, buffer).link().into()), Err(Errno::CANCELED));
    assert_eq!(after(|socket, buffer| Read::new(socket, buffer).hard_link().into()), Ok(0), "a hard link holds");
    assert_eq!(after(|socket, buffer| Recv::new(socket, buffer).link().into()), Ok(0), "a receive is never short");
}

#[test]
fn item_23_a_chain_ends_with_its_submission() {
    let mut ring = ring();
    ring.push(TimeoutRemove::new(99u64).link().user_data(1)).expect("room");
    ring.submit().expect("submitted");
    ring.push(Nop::new().user_data(2)).expect("room");
    let cqes = reap(&mut ring, 2);
    assert_eq!(of(&cqes, 1).result(), Err(Errno::NOENT));
    assert_eq!(of(&cqes, 2).result(), Ok(0), "the link led nowhere: its chain had ended");

    ring.push_all([TimeoutRemove::new(99u64).link().user_data(1).into(), Nop::new().user_data(2).into()])
        .expect("room");
    assert_eq!(of(&reap(&mut ring, 2), 2).result(), Err(Errno::CANCELED), "in one submission it is a chain");
}

#[test]
fn the_end_of_a_timeout_breaks_a_chain_unless_it_counts_as_success() {
    let mut ring = ring();
    let time = span(Duration::from_millis(2));
    for (flags, then) in [(TimeoutFlags::empty(), Err(Errno::CANCELED)), (TimeoutFlags::ETIME_SUCCESS, Ok(0))] {
        if flags == TimeoutFlags::ETIME_SUCCESS {
            needs!(since(Version::new(5, 16)));
        }
        // SAFETY: the time outlives both completions, which are reaped below.
        unsafe { push(&mut ring, Timeout::new(&time).timeout_flags(flags).link().user_data(1)) };
        ring.push(Nop::new().user_data(2)).expect("room");
        let cqes = reap(&mut ring, 2);
        assert_eq!((of(&cqes, 1).result(), of(&cqes, 2).result()), (Err(Errno::TIME), then), "{flags:?}");
    }
}

#[test]
fn a_time_in_the_entry_works_as_one_in_memory() {
    if !kernel_has_op("a_time_in_the_entry_works_as_one_in_memory", TimeoutImmediate::INFO) {
        return;
    }
    let mut ring = ring();
    let start = Instant::now();
    ring.push(TimeoutImmediate::new(SHORT)).expect("room");
    assert_eq!(io::next(&mut ring).result(), Err(Errno::TIME));
    assert!(start.elapsed() >= SHORT);
    let now = clock_gettime(ClockId::Monotonic);
    let point = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + SHORT;
    let point = TimeoutImmediate::new(point).timeout_flags(TimeoutFlags::ABS);
    assert_eq!(run(&mut ring, point).result(), Err(Errno::TIME));

    ring.push(TimeoutMultiImmediate::new(Duration::from_millis(1)).repeats(2)).expect("room");
    assert_eq!(reap(&mut ring, 2).iter().map(|cqe| cqe.more()).collect::<Vec<_>>(), [true, false]);

    ring.push(TimeoutImmediate::new(LONG).user_data(1)).expect("room");
    ring.push(TimeoutUpdateImmediate::new(1u64, SHORT).user_data(2)).expect("room");
    assert_eq!(of(&reap(&mut ring, 2), 1).result(), Err(Errno::TIME));

    let (_left, right) = UnixStream::pair().expect("a pair");
    let mut buffer = [0; 4];
    // SAFETY: socket and buffer outlive all completions, which are reaped below.
    unsafe { push(&mut ring, Recv::new(&right, &mut buffer).link().user_data(1)) };
    ring.push(LinkTimeoutImmediate::new(LONG).user_data(2)).expect("room");
    ring.push(LinkTimeoutUpdateImmediate::new(2u64, SHORT).user_data(3)).expect("room");
    let cqes = reap(&mut ring, 3);
    assert_eq!((of(&cqes, 2).result(), of(&cqes, 3).result()), (Err(Errno::TIME), Ok(0)));
    assert_eq!(of(&cqes, 1).result(), Err(Errno::CANCELED));
}
