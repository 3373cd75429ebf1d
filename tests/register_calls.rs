//! Registrations that stand for themselves: eventfds, personalities, workers, busy polling, clocks, cancelling by a call,
//! and messages without a ring.

mod common;
#[path = "common/io.rs"]
mod io;
#[path = "common/user.rs"]
mod user;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use common::{has, has_registration, has_setup, in_own_process, needs, since};
use io::{next, nothing, of, reap, result, ring};
use rawring::flags::{CqeFlags, SetupFlags};
use rawring::op::*;
use rawring::operand::Fixed;
use rawring::register::{Napi, Registration, Tracking, WorkerLimits, send_message};
use rawring::{Errno, Ring, Setup, UserData, Version, Wait, WaitEnd};
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{CpuSet, sched_getaffinity};
use rustix::time::ClockId;
use user::as_user;

fn signal() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd")
}

/// How many signals there were since it was last asked.
fn signals(eventfd: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(eventfd, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        Err(Errno::AGAIN) => 0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn item_37_signals_can_be_switched_off_and_on() {
    let (mut ring, eventfd) = (ring(), signal());
    ring.register_eventfd(Some(eventfd.as_fd())).expect("registered");
    assert_eq!(ring.eventfd_enabled(), Ok(true));
    assert_eq!((result(&mut ring, Nop::new()), signals(&eventfd) > 0), (Ok(0), true));

    assert_eq!(ring.enable_eventfd(false), Ok(0));
    assert_eq!(ring.eventfd_enabled(), Ok(false));
    ring.push(Nop::new()).expect("room");
    ring.submit().expect("submitted");
    // What was posted meanwhile is not signalled later: it is for us to look.
    assert_eq!((ring.enable_eventfd(true), signals(&eventfd)), (Ok(1), 0));
    assert_eq!(next(&mut ring).result(), Ok(0));
    assert_eq!((result(&mut ring, Nop::new()), signals(&eventfd) > 0), (Ok(0), true));

    // The switch leaves the queue alone.
    for _ in 0..3 {
        assert_eq!((ring.enable_eventfd(false), ring.enable_eventfd(true)), (Ok(0), Ok(0)));
        common::exercise(&mut ring);
    }
    ring.register_eventfd(None).expect("there is one");
    signals(&eventfd);
    assert_eq!((result(&mut ring, Nop::new()), signals(&eventfd)), (Ok(0), 0));
}

#[test]
fn item_37_an_eventfd_is_registered_once() {
    let (mut ring, eventfd) = (ring(), signal());
    assert_eq!(ring.register_eventfd(None), Err(Errno::NXIO));
    ring.register_eventfd_async(eventfd.as_fd()).expect("registered");
    assert_eq!(ring.register_eventfd(Some(eventfd.as_fd())), Err(Errno::BUSY));
    assert_eq!(ring.register_eventfd_async(eventfd.as_fd()), Err(Errno::BUSY));
    ring.register_eventfd(None).expect("there is one");
    assert_eq!(ring.register_eventfd(Some(std::io::stdin().as_fd())), Err(Errno::INVAL));
}

#[test]
fn an_asynchronous_eventfd_is_for_what_workers_post() {
    let (mut ring, eventfd) = (ring(), signal());
    ring.register_eventfd_async(eventfd.as_fd()).expect("registered");
    assert_eq!((result(&mut ring, Nop::new()), signals(&eventfd)), (Ok(0), 0));
    assert_eq!(result(&mut ring, Nop::new().force_async()), Ok(0));
    let seen = (0..2000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        signals(&eventfd) > 0
    });
    assert!(seen, "a worker posted it");
}

#[test]
fn item_39_an_entry_runs_with_the_credentials_of_its_personality() {
    needs!(has(Socket::INFO));
    in_own_process("item_39_an_entry_runs_with_the_credentials_of_its_personality", || {
        let mut ring = ring();
        let raw = || Socket::new(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP));
        let me = ring.register_personality().expect("registered");
        let user = as_user(65534, 65534, || ring.register_personality()).expect("registered");
        assert!(me != user && me.id() != 0 && user.id() != 0, "{me:?} {user:?}");
        // Only root may make such sockets.
        let try_as = |ring: &mut Ring, id: u16| result(ring, raw().personality(id)).map(drop);
        assert_eq!(try_as(&mut ring, me.id()), Ok(()));
        assert_eq!(try_as(&mut ring, user.id()), Err(Errno::PERM));
        assert_eq!(try_as(&mut ring, 0), Ok(()));
        assert_eq!(ring.unregister_personality(user), Ok(()));
        assert_eq!(try_as(&mut ring, user.id()), Err(Errno::INVAL));
        assert_eq!(ring.unregister_personality(user), Err(Errno::INVAL));
    });
}

#[test]
fn limits_on_workers_are_kept() {
    in_own_process("limits_on_workers_are_kept", || {
        let ring = ring();
        let before = ring.limit_workers(WorkerLimits::default()).expect("told");
        assert!(before.bounded > 0 && before.unbounded > 0, "{before:?}");
        let limits = WorkerLimits { bounded: 3, unbounded: 0 };
        assert_eq!(ring.limit_workers(limits), Ok(before));
        let after = ring.limit_workers(WorkerLimits { bounded: 0, unbounded: 7 }).expect("told");
        assert_eq!(after, WorkerLimits { bounded: 3, ..before });
        assert_eq!(ring.limit_workers(WorkerLimits::default()), Ok(WorkerLimits { bounded: 3, unbounded: 7 }));
        let huge = WorkerLimits { bounded: 1 << 31, unbounded: 0 };
        assert_eq!(ring.limit_workers(huge), Err(Errno::INVAL));
    });
}

/// The processors that each worker thread of this process may use.
fn affinities() -> Vec<CpuSet> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let workers = tasks.filter_map(|task| {
        let path = task.expect("a thread").path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        name.starts_with("iou-wrk-").then(|| path.file_name()?.to_str()?.parse::<i32>().ok()).flatten()
    });
    workers.filter_map(|id| sched_getaffinity(rustix::process::Pid::from_raw(id)).ok()).collect()
}

#[test]
fn workers_run_where_they_are_told() {
    in_own_process("workers_run_where_they_are_told", || {
        let mut ring = ring();
        let mine = sched_getaffinity(None).expect("told");
        let first = (0..CpuSet::MAX_CPU).find(|&cpu| mine.is_set(cpu)).expect("a processor");
        let mut one = CpuSet::new();
        one.set(first);
        ring.register_worker_affinity(&one).expect("a processor of ours");
        assert_eq!(result(&mut ring, Nop::new().force_async()), Ok(0));
        let workers = affinities();
        assert!(!workers.is_empty() && workers.iter().all(|cpus| *cpus == one), "{workers:?}");
        ring.unregister_worker_affinity().expect("as before");
        // Workers stay what they are. What may wait for ever is not for the one that there is, and gets a new one.
        let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
        ring.register_files(&[reader.as_fd().into()]).expect("registered");
        ring.push(Read::new(Fixed(0), Box::leak(Box::new([0; 1]))).force_async()).expect("room");
        ring.submit().expect("submitted");
        let everywhere = |cpus: &CpuSet| (0..CpuSet::MAX_CPU).all(|cpu| cpus.is_set(cpu) || !mine.is_set(cpu));
        let started = (0..5000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            affinities().iter().any(everywhere)
        });
        assert!(started, "{:?}", affinities());
    });
}

#[test]
fn busy_polling_is_set_up_changed_and_ended() {
    needs!(has_registration(Registration::NAPI));
    let mut ring = ring();
    let short = Napi { prefer_busy_poll: true, ..Napi::new(Duration::from_micros(50)) };
    let before = ring.register_napi(short).expect("registered");
    assert!(!before.prefer_busy_poll, "{before:?}");
    let long = Napi::new(Duration::from_secs(1));
    assert_eq!(ring.register_napi(long), Ok(short));
    common::exercise(&mut ring);
    let end = ring.unregister_napi().expect("ended");
    // Newer kernels poll no longer than that; of 6.18, the late updates.
    let capped = end.busy_poll == Duration::from_millis(10);
    let old = since(Version::new(7, 0)).is_err() && end.busy_poll == long.busy_poll;
    assert!((capped || old) && !end.prefer_busy_poll, "{end:?}");
    assert_eq!(ring.unregister_napi().map(|napi| napi.busy_poll), Ok(Duration::ZERO));
    let polled = Setup::new(8).iopoll().build().expect("a ring");
    assert_eq!(polled.register_napi(short), Err(Errno::INVAL));
}

#[test]
fn devices_can_be_named() {
    needs!(has_registration(Registration::NAPI));
    needs!(since(Version::new(6, 13)));
    let ring = ring();
    // A number above those of processors, which no device has to have yet.
    const ID: u32 = 1 << 20;
    let by_hand = Napi { tracking: Tracking::Static, ..Napi::new(Duration::from_micros(50)) };
    assert_eq!(ring.register_napi(by_hand).map(|before| before.tracking), Ok(Tracking::Inactive));
    assert_eq!(ring.add_napi_id(0), Err(Errno::INVAL));
    assert_eq!((ring.add_napi_id(ID), ring.add_napi_id(ID)), (Ok(()), Err(Errno::EXIST)));
    assert_eq!((ring.remove_napi_id(ID), ring.remove_napi_id(ID)), (Ok(()), Err(Errno::NOENT)));
    let inactive = Napi { tracking: Tracking::Inactive, ..by_hand };
    assert_eq!(ring.register_napi(inactive), Err(Errno::INVAL));
    let dynamic = Napi::new(Duration::from_micros(50));
    assert_eq!(ring.register_napi(dynamic).map(|before| before.tracking), Ok(Tracking::Static));
    assert_eq!((ring.add_napi_id(ID), ring.remove_napi_id(ID)), (Err(Errno::INVAL), Err(Errno::INVAL)));
}

#[test]
fn waits_run_by_the_chosen_clock() {
    needs!(has_registration(Registration::CLOCK));
    let mut ring = ring();
    for clock in [ClockId::Boottime, ClockId::Monotonic] {
        ring.register_clock(clock).expect("a clock of waits");
        let start = Instant::now();
        let outcome = ring.submit_with(&Wait::new(1).timeout(Duration::from_millis(30))).expect("waited");
        assert_eq!(outcome.wait, WaitEnd::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
    for clock in [ClockId::Realtime, ClockId::MonotonicRaw] {
        assert_eq!(ring.register_clock(clock), Err(Errno::INVAL), "{clock:?}");
    }
}

/// Polls a pipe in which nothing ever happens, which is registered as file 0.
fn polls(ring: &mut Ring, reader: &OwnedFd, keys: &[u64]) {
    ring.register_files(&[reader.as_fd().into()]).expect("registered");
    for &key in keys {
        ring.push(PollAdd::new(Fixed(0), PollFlags::IN).user_data(key)).expect("room");
    }
    ring.submit().expect("submitted");
}

/// The operations that ended by being cancelled.
fn cancelled(ring: &mut Ring, count: usize) -> Vec<u64> {
    let cqes = reap(ring, count);
    assert!(cqes.iter().all(|cqe| cqe.result() == Err(Errno::CANCELED)), "{cqes:?}");
    let mut keys: Vec<_> = cqes.iter().map(|cqe| cqe.user_data().0).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn item_30_requests_are_cancelled_by_a_call_and_complete() {
    needs!(has_registration(Registration::SYNC_CANCEL));
    let mut ring = ring();
    let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
    polls(&mut ring, &reader, &[1, 2, 2, 3, 4, 5]);
    assert_eq!(ring.sync_cancel(Cancel::new(UserData(9)), None), Err(Errno::NOENT));
    assert_eq!(ring.sync_cancel(Cancel::new(UserData(9)).all(), None), Ok(0));
    assert_eq!(ring.sync_cancel(Cancel::new(UserData(1)), None), Ok(0));
    assert_eq!(cancelled(&mut ring, 1), [1]);
    assert_eq!(ring.sync_cancel(Cancel::new(UserData(2)).all(), None), Ok(2));
    assert_eq!(cancelled(&mut ring, 2), [2, 2]);
    // By file: one of them, the one that is meant by another number of the same file, and by its slot.
    let again = reader.try_clone().expect("a descriptor");
    assert_eq!(ring.sync_cancel(CancelFd::new(&again), None), Ok(0));
    assert_eq!(ring.sync_cancel(CancelFd::new(Fixed(0)), None), Ok(0));
    assert_eq!(ring.sync_cancel(CancelFd::new(Fixed(1)), None), Err(Errno::BADF));
    assert_eq!(cancelled(&mut ring, 2).len(), 2);
    nothing(&mut ring);
    assert_eq!(ring.sync_cancel(CancelAny::new(), None), Ok(1));
    assert_eq!(cancelled(&mut ring, 1).len(), 1);
    assert_eq!(ring.sync_cancel(CancelAny::new(), None), Ok(0));
}

#[test]
fn item_30_requests_are_cancelled_by_their_operation() {
    needs!(has_registration(Registration::SYNC_CANCEL));
    needs!(since(Version::new(6, 6)));
    let mut ring = ring();
    let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
    polls(&mut ring, &reader, &[1, 2]);
    assert_eq!(ring.sync_cancel(CancelOp::new(Read::INFO.opcode), None), Err(Errno::NOENT));
    let second = CancelOp::new(PollAdd::INFO.opcode).target(UserData(2));
    assert_eq!(ring.sync_cancel(second, None), Ok(0));
    assert_eq!(cancelled(&mut ring, 1), [2]);
    assert_eq!(ring.sync_cancel(CancelOp::new(PollAdd::INFO.opcode).all(), None), Ok(1));
    assert_eq!(cancelled(&mut ring, 1), [1]);
}

#[test]
fn item_30_a_call_waits_for_what_runs_on_a_worker_and_not_for_what_was_not_submitted() {
    needs!(has_registration(Registration::SYNC_CANCEL));
    let mut ring = ring();
    let (reader, _writer) = rustix::pipe::pipe().expect("a pipe");
    ring.register_files(&[reader.as_fd().into()]).expect("registered");
    let byte = Box::leak(Box::new([0; 1]));
    ring.push(Read::new(Fixed(0), byte).force_async().user_data(1)).expect("room");
    assert_eq!(ring.sync_cancel(Cancel::new(UserData(1)), None), Err(Errno::NOENT), "not submitted");
    ring.submit().expect("submitted");
    // A worker takes it, and is interrupted; before it does, it is simply taken out of the queue.
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(ring.sync_cancel(Cancel::new(UserData(1)), Some(Duration::from_secs(20))), Ok(0));
    assert!(matches!(next(&mut ring).result(), Err(Errno::CANCELED | Errno::INTR)));
}

/// Memory whose first use waits until the other value is dropped (`userfaultfd(2)`).
fn memory_that_waits() -> Result<(&'static [u8], OwnedFd), Errno> {
    use rustix::ioctl::{Opcode, opcode};
    use rustix::mm::{MapFlags, ProtFlags, UserfaultfdFlags, mmap_anonymous, userfaultfd};
    let len = rustix::param::page_size();
    // SAFETY: a new mapping at an address of the kernel's choice, never undone; all of it is zeros.
    let memory: &'static [u8] = unsafe {
        let at = mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?;
        std::slice::from_raw_parts(at.cast(), len)
    };
    // SAFETY: a new descriptor.
    let faults = unsafe { userfaultfd(UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::NONBLOCK) }?;
    let call = |number: Opcode, argument: &mut [u64]| {
        // SAFETY: the argument is a struct of as many words as the call has, read and written during it.
        let done = unsafe { libc::ioctl(faults.as_raw_fd(), number as _, argument.as_mut_ptr()) };
        if done == 0 { Ok(()) } else { Err(Errno::from_io_error(&std::io::Error::last_os_error()).expect("an errno")) }
    };
    // UFFDIO_API and UFFDIO_REGISTER, for pages that are missing.
    call(opcode::read_write::<[u64; 3]>(0xaa, 0x3f), &mut [0xaa, 0, 0])?;
    let address = memory.as_ptr().expose_provenance() as u64;
    call(opcode::read_write::<[u64; 4]>(0xaa, 0), &mut [address, len as u64, 1, 0])?;
    Ok((memory, faults))
}

#[test]
fn item_30_a_call_that_waits_too_long_says_so_and_the_request_ends_later() {
    needs!(has_registration(Registration::SYNC_CANCEL));
    let (memory, faults) = match memory_that_waits() {
        Ok(both) => both,
        Err(errno) => return needs!(Err::<(), _>(format!("needs userfaultfd for faults of the kernel: {errno}"))),
    };
    let mut ring = ring();
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    ring.register_files(&[reader.as_fd().into()]).expect("registered");
    // A writer has the pipe locked while it waits for its memory, and for a lock nobody is interrupted.
    let write = std::thread::spawn(move || rustix::io::write(&writer, memory));
    let mut fault = [rustix::event::PollFd::new(&faults, PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut fault, None), Ok(1));
    let bytes = Box::leak(Box::new([0; 8]));
    ring.push(Read::new(Fixed(0), bytes).force_async().user_data(1)).expect("room");
    ring.submit().expect("submitted");
    // A worker has taken it.
    std::thread::sleep(Duration::from_millis(50));
    // At last the memory is there, so that a call that waits for ever ends, too.
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let patience = std::thread::spawn(move || {
        let _finished = finished.recv_timeout(Duration::from_secs(20));
        drop(faults);
    });
    let start = Instant::now();
    let cancelled = ring.sync_cancel(Cancel::new(UserData(1)), Some(Duration::from_millis(80)));
    assert_eq!((cancelled, start.elapsed() >= Duration::from_millis(80)), (Err(Errno::TIME), true));
    nothing(&mut ring);
    drop(finish);
    patience.join().expect("no panic");
    let end = next(&mut ring).result();
    assert!(matches!(end, Ok(8) | Err(Errno::CANCELED | Errno::INTR)), "{end:?}");
    assert_eq!(write.join().expect("no panic"), Ok(memory.len()));
}

#[test]
fn item_29_a_thread_without_a_ring_sends_messages() {
    needs!(has_registration(Registration::SEND_MSG_RING));
    let mut target = ring();
    fn message(ring: &Ring, value: i32) -> MsgRing<'_> {
        // SAFETY: this test, which owns the target, takes these values for no operation's.
        unsafe { MsgRing::new(ring, UserData(5), value) }
    }
    let sent =
        std::thread::scope(|threads| threads.spawn(|| send_message(message(&target, 7))).join().expect("no panic"));
    let cqe = next(&mut target);
    assert_eq!((sent, cqe.user_data(), cqe.result()), (Ok(()), UserData(5), Ok(7)));
    send_message(message(&target, -libc::EIO)).expect("sent");
    assert_eq!(next(&mut target).result(), Err(Errno::IO));
    let flagged = message(&target, 1).cqe_flags(CqeFlags::SOCK_NONEMPTY);
    send_message(flagged).expect("sent");
    assert!(next(&mut target).socket_nonempty());

    assert_eq!(send_message(message(&target, 1).link()), Err(Errno::INVAL));
    let file = std::io::stdin();
    // SAFETY: there is no ring to get it.
    let to_file = unsafe { MsgRing::new(&file, UserData(5), 1) };
    assert_eq!(send_message(to_file), Err(Errno::BADFD));
    let disabled = Setup::new(8).disabled().build().expect("a ring");
    assert_eq!(send_message(message(&disabled, 1)), Err(Errno::BADFD));
    nothing(&mut target);
}

#[test]
fn a_message_without_a_ring_wakes_one_that_waits() {
    needs!(has_registration(Registration::SEND_MSG_RING));
    needs!(has_setup(SetupFlags::DEFER_TASKRUN));
    let mut target = Setup::new(8).single_issuer().defer_taskrun().build().expect("a ring");
    let other = target.fd().expect("a descriptor").try_clone_to_owned().expect("a descriptor");
    let sender = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        // SAFETY: the test takes this value for no operation's.
        send_message(unsafe { MsgRing::new(&other, UserData(5), 7) })
    });
    let outcome = target.submit_with(&Wait::new(1).timeout(Duration::from_secs(20))).expect("waited");
    assert_eq!(outcome.wait, WaitEnd::Ready);
    assert_eq!(of(&target.completions().collect::<Vec<_>>(), 5).result(), Ok(7));
    assert_eq!(sender.join().expect("no panic"), Ok(()));
}
