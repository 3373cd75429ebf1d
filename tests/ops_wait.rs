//! Futexes, children and epoll instances on a real ring, together with the system calls that do the same.

mod common;
#[path = "common/io.rs"]
mod io;

use std::io::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use common::kernel_has_op;
use io::{next, nothing, of, push, reap, result, ring, run};
use rawring::Errno;
use rawring::op::*;
use rawring::operand::{FutexFlags, FutexWaiter};
use rustix::event::epoll;
use rustix::process::{PidfdFlags, WaitId as Which, WaitIdOptions};
use rustix::thread::futex;

/// Whether this kernel has futexes in rings.
fn has_futex(test: &str) -> bool {
    kernel_has_op(test, FutexWait::INFO)
}

#[test]
fn a_futex_wait_ends_with_the_wake_up_of_a_thread() {
    if !has_futex("a_futex_wait_ends_with_the_wake_up_of_a_thread") {
        return;
    }
    let mut ring = ring();
    let word = AtomicU32::new(0);
    for (flags, thread_flags) in
        [(FutexFlags::PRIVATE, futex::Flags::PRIVATE), (FutexFlags::SHARED, futex::Flags::empty())]
    {
        // SAFETY: the word outlives the completion, which is reaped below.
        unsafe { push(&mut ring, FutexWait::new(&word, 0).futex_flags(flags)) };
        nothing(&mut ring);
        let woken = thread::scope(|scope| scope.spawn(|| futex::wake(&word, thread_flags, 1)).join());
        assert_eq!(woken.expect("no panic").expect("woken"), 1, "{flags:?}");
        assert_eq!(next(&mut ring).result(), Ok(0), "{flags:?}");
    }
}

#[test]
fn a_futex_wait_needs_the_value_that_it_was_given() {
    if !has_futex("a_futex_wait_needs_the_value_that_it_was_given") {
        return;
    }
    let mut ring = ring();
    let word = AtomicU32::new(5);
    assert_eq!(result(&mut ring, FutexWait::new(&word, 4)), Err(Errno::AGAIN));
    assert_eq!(result(&mut ring, FutexWait::new(&word, 5).mask(0)), Err(Errno::INVAL));
}

#[test]
fn a_futex_wake_wakes_a_thread() {
    if !has_futex("a_futex_wake_wakes_a_thread") {
        return;
    }
    let mut ring = ring();
    let word = AtomicU32::new(0);
    assert_eq!(result(&mut ring, FutexWake::new(&word, 1)), Ok(0), "nobody waits");
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            while word.load(Ordering::Acquire) == 0 {
                let outcome = futex::wait(&word, futex::Flags::PRIVATE, 0, None);
                assert!(matches!(outcome, Ok(()) | Err(Errno::AGAIN | Errno::INTR)), "{outcome:?}");
            }
        });
        // Wake until one was there to be woken: the thread may not wait yet. The word still says so.
        let wake = || FutexWake::new(&word, 1).futex_flags(FutexFlags::PRIVATE);
        while result(&mut ring, wake()).expect("woken") == 0 {
            thread::yield_now();
        }
        assert!(!waiter.is_finished(), "the word still holds 0, so it waits again");
        word.store(1, Ordering::Release);
        while !waiter.is_finished() {
            result(&mut ring, wake()).expect("woken");
        }
    });
}

#[test]
fn masks_choose_whom_a_wake_up_reaches() {
    if !has_futex("masks_choose_whom_a_wake_up_reaches") {
        return;
    }
    let mut ring = ring();
    let word = AtomicU32::new(0);
    // SAFETY: the word outlives all completions, which are reaped below.
    unsafe {
        push(&mut ring, FutexWait::new(&word, 0).mask(0b01).user_data(1));
        push(&mut ring, FutexWait::new(&word, 0).mask(0b10).user_data(2));
        ring.submit().expect("submitted");
        push(&mut ring, FutexWake::new(&word, 9).mask(0b10).user_data(3));
    }
    let cqes = reap(&mut ring, 2);
    assert_eq!((of(&cqes, 3).result(), of(&cqes, 2).result()), (Ok(1), Ok(0)));
    nothing(&mut ring);
    assert_eq!(futex::wake(&word, futex::Flags::empty(), 9), Ok(1), "the other one waits on");
    assert_eq!(next(&mut ring).user_data().0, 1);
}

#[test]
fn a_private_wake_up_does_not_reach_a_shared_wait() {
    if !has_futex("a_private_wake_up_does_not_reach_a_shared_wait") {
        return;
    }
    let mut ring = ring();
    let word = AtomicU32::new(0);
    // SAFETY: the word outlives all completions, which are reaped below.
    unsafe { push(&mut ring, FutexWait::new(&word, 0).user_data(1)) };
    ring.submit().expect("submitted");
    // SAFETY: as above.
    unsafe { push(&mut ring, FutexWake::new(&word, 9).futex_flags(FutexFlags::PRIVATE).user_data(2)) };
    let cqe = next(&mut ring);
    assert_eq!((cqe.user_data().0, cqe.result()), (2, Ok(0)));
    // SAFETY: as above.
    unsafe { push(&mut ring, FutexWake::new(&word, 9).user_data(3)) };
    assert_eq!(of(&reap(&mut ring, 2), 3).result(), Ok(1), "without the flag a wake-up is shared, as the wait is");
}

#[test]
fn a_wait_on_several_futexes_tells_which_was_woken() {
    if !has_futex("a_wait_on_several_futexes_tells_which_was_woken") {
        return;
    }
    let mut ring = ring();
    let words = [const { AtomicU32::new(0) }; 3];
    let waiter = |word| FutexWaiter::new(word, 0, FutexFlags::PRIVATE);
    {
        let mut waiters = words.each_ref().map(waiter);
        // SAFETY: the array is needed until submitted, the words until the completion, which is reaped below.
        unsafe { push(&mut ring, FutexWaitv::new(&waiters)) };
        nothing(&mut ring);
        waiters.fill(waiter(&words[0]));
    }
    assert_eq!(futex::wake(&words[2], futex::Flags::PRIVATE, 1), Ok(1), "the array was copied at submission");
    assert_eq!(next(&mut ring).result(), Ok(2));

    words[1].store(1, Ordering::Release);
    assert_eq!(result(&mut ring, FutexWaitv::new(&words.each_ref().map(waiter))), Err(Errno::AGAIN));
    assert_eq!(result(&mut ring, FutexWaitv::new(&[])), Err(Errno::INVAL));
}

fn sleeper() -> Child {
    let mut sleep = Command::new("sleep");
    // Whoever reads what this test writes does not wait for a child that it left behind.
    sleep.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sleep.spawn().expect("a child")
}

fn exits_with(code: u8) -> Child {
    Command::new("sh").args(["-c", &format!("exit {code}")]).stdin(Stdio::null()).spawn().expect("a child")
}

fn has_waitid(test: &str) -> bool {
    kernel_has_op(test, WaitId::INFO)
}

fn pid(child: &Child) -> rustix::process::Pid {
    rustix::process::Pid::from_child(child)
}

/// What `waitid(2)` says of a child that is left waitable.
fn twin(child: &Child) -> libc::siginfo_t {
    let mut info = MaybeUninit::zeroed();
    let flags = libc::WEXITED | libc::WNOWAIT;
    // SAFETY: `info` is room for the result.
    let outcome = unsafe { libc::waitid(libc::P_PID, child.id(), info.as_mut_ptr(), flags) };
    assert_eq!(outcome, 0);
    // SAFETY: zeroed, and then written by the call.
    unsafe { info.assume_init() }
}

/// The fields that `waitid(2)` names.
fn fields(info: &libc::siginfo_t) -> [i32; 6] {
    // SAFETY: the info is one of a child, which has these fields.
    unsafe { [info.si_signo, info.si_errno, info.si_code, info.si_pid(), info.si_uid() as i32, info.si_status()] }
}

#[test]
fn a_child_that_ended_is_waited_for() {
    if !has_waitid("a_child_that_ended_is_waited_for") {
        return;
    }
    let mut ring = ring();
    let mut child = exits_with(42);
    let expected = fields(&twin(&child));
    let mut info = MaybeUninit::zeroed();
    let leave = WaitId::new(Which::Pid(pid(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).info(&mut info);
    assert_eq!(result(&mut ring, leave), Ok(0));
    // SAFETY: zeroed, and then written by the kernel.
    let found = fields(&unsafe { info.assume_init() });
    assert_eq!(found, expected);
    assert_eq!((found[0], found[2], found[5]), (libc::SIGCHLD, libc::CLD_EXITED, 42));

    assert_eq!(result(&mut ring, WaitId::new(Which::Pid(pid(&child)), WaitIdOptions::EXITED)), Ok(0));
    assert_eq!(result(&mut ring, WaitId::new(Which::Pid(pid(&child)), WaitIdOptions::EXITED)), Err(Errno::CHILD));
    assert!(child.wait().is_err(), "it was reaped by the ring");
}

#[test]
fn a_child_that_runs_is_waited_for_until_it_ends() {
    if !has_waitid("a_child_that_runs_is_waited_for_until_it_ends") {
        return;
    }
    let mut ring = ring();
    let mut child = sleeper();
    let pidfd = rustix::process::pidfd_open(pid(&child), PidfdFlags::empty()).expect("a pidfd");
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    // SAFETY: descriptor and info outlive the completion, which is reaped below.
    unsafe { push(&mut ring, WaitId::new(Which::PidFd(pidfd.as_fd()), options).info(&mut info)) };
    nothing(&mut ring);
    child.kill().expect("killed");
    assert_eq!(next(&mut ring).result(), Ok(0));
    // SAFETY: zeroed, and then written by the kernel.
    let found = fields(&unsafe { info.assume_init() });
    assert_eq!(found, fields(&twin(&child)));
    assert_eq!((found[2], found[5]), (libc::CLD_KILLED, libc::SIGKILL));
    assert_eq!(child.wait().expect("left waitable").signal(), Some(libc::SIGKILL));
}

#[test]
fn item_18_a_wait_for_children_comes_once() {
    if !has_waitid("item_18_a_wait_for_children_comes_once") {
        return;
    }
    common::in_own_process("item_18_a_wait_for_children_comes_once", || {
        let mut ring = ring();
        let _children = [exits_with(0), exits_with(0)];
        let any = || WaitId::new(Which::All, WaitIdOptions::EXITED);
        let first = run(&mut ring, any());
        assert_eq!((first.result(), first.more()), (Ok(0), false));
        nothing(&mut ring);
        assert_eq!(result(&mut ring, any()), Ok(0));
        assert_eq!(result(&mut ring, any()), Err(Errno::CHILD));
    });
}

fn event(flags: epoll::EventFlags, data: u64) -> epoll::Event {
    epoll::Event { flags, data: epoll::EventData::new_u64(data) }
}

/// What `epoll_wait(2)` says, without waiting.
fn epoll_twin(epoll: impl AsFd) -> Vec<(epoll::EventFlags, u64)> {
    let mut events = Vec::with_capacity(8);
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), Some(&now)).expect("waited");
    events.iter().map(|event: &epoll::Event| (event.flags, event.data.u64())).collect()
}

#[test]
fn an_epoll_instance_watches_what_the_ring_told_it() {
    let mut ring = ring();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll instance");
    let (mut left, right) = UnixStream::pair().expect("a pair");
    let (epoll, right) = (epoll.as_fd(), right.as_fd());
    left.write_all(b"x").expect("written");
    let (readable, writable) = (event(epoll::EventFlags::IN, 7), event(epoll::EventFlags::OUT, 8));

    assert_eq!(result(&mut ring, EpollModify::new(epoll, right, &readable)), Err(Errno::NOENT));
    assert_eq!(result(&mut ring, EpollAdd::new(epoll, right, &readable)), Ok(0));
    assert_eq!(epoll_twin(epoll), [(epoll::EventFlags::IN, 7)]);
    assert_eq!(result(&mut ring, EpollAdd::new(epoll, right, &readable)), Err(Errno::EXIST));
    assert_eq!(result(&mut ring, EpollModify::new(epoll, right, &writable)), Ok(0));
    assert_eq!(epoll_twin(epoll), [(epoll::EventFlags::OUT, 8)]);
    assert_eq!(result(&mut ring, EpollDelete::new(epoll, right)), Ok(0));
    assert_eq!(epoll_twin(epoll), []);
    assert_eq!(result(&mut ring, EpollDelete::new(epoll, right)), Err(Errno::NOENT));
}

#[test]
fn events_of_an_epoll_instance_are_waited_for() {
    if !kernel_has_op("events_of_an_epoll_instance_are_waited_for", EpollWait::INFO) {
        return;
    }
    let mut ring = ring();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll instance");
    let pairs = [(); 3].map(|()| UnixStream::pair().expect("a pair"));
    for (i, (_, right)) in pairs.iter().enumerate() {
        epoll::add(&epoll, right, epoll::EventData::new_u64(i as u64), epoll::EventFlags::IN).expect("added");
    }
    let mut events = [MaybeUninit::uninit(); 8];
    // SAFETY: instance and events outlive the completion, which is reaped below.
    unsafe { push(&mut ring, EpollWait::new(&epoll, &mut events)) };
    nothing(&mut ring);
    (&pairs[1].0).write_all(b"x").expect("written");
    assert_eq!(next(&mut ring).result(), Ok(1));
    let found = read_events(&events[..1]);
    assert_eq!(found, epoll_twin(&epoll));
    assert_eq!(found, [(epoll::EventFlags::IN, 1)]);

    pairs.iter().for_each(|(left, _)| (&*left).write_all(b"x").expect("written"));
    assert_eq!(result(&mut ring, EpollWait::new(&epoll, &mut events[..2])), Ok(2), "no more than there is room for");
    assert_eq!(read_events(&events[..2]).len(), 2);
}

/// Events that a completion has counted.
fn read_events(events: &[MaybeUninit<epoll::Event>]) -> Vec<(epoll::EventFlags, u64)> {
    let read = |event: &MaybeUninit<epoll::Event>| {
        // SAFETY: the callers pass as many events as the result counted, which the kernel has written.
        let event = unsafe { event.assume_init() };
        (event.flags, event.data.u64())
    };
    events.iter().map(read).collect()
}
