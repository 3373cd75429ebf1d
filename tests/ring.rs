//! The ring itself on the kernel: publishing, waking, overflow, waiting, and being waited on.

mod common;

use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::{has_setup, needs};
use rawring::flags::{EnterFlags, Features, SetupFlags};
use rawring::op::{Nop, PollAdd, Read, Timeout, TimeoutRemove};
use rawring::operand::{PollMask, Timespec};
use rawring::{At, Cqe, Errno, Ring, Setup, SigSet, Sqe, UserData, Wait, WaitEnd};
use rustix::event::PollFlags;

/// Completions until `n` are there, whoever has to be entered for them.
fn reap(ring: &mut Ring, n: usize) -> Vec<Cqe> {
    let mut all = Vec::new();
    while all.len() < n {
        let outcome = ring.submit_with(&Wait::new(1).timeout(Duration::from_secs(5))).expect("waited");
        assert_ne!(outcome.wait, WaitEnd::TimedOut, "only {} of {n} completions came", all.len());
        all.extend(ring.completions());
    }
    all
}

fn keys(cqes: &[Cqe]) -> Vec<u64> {
    cqes.iter().map(|cqe| cqe.user_data().0).collect()
}

#[test]
fn item_01_all_64_bits_come_back_and_are_the_key() {
    let mut ring = Ring::new(8).expect("a ring");
    for data in [0, 1, u64::MAX, 0x8000_0000, 0xffff_ffff_8000_0000, u64::MAX - 1] {
        ring.push(Nop::new().user_data(data)).expect("room");
        assert_eq!(keys(&reap(&mut ring, 1)), [data]);
    }
    let long = Timespec { seconds: 1000, nanoseconds: 0 };
    let key = UserData(0xffff_ffff_0000_0001);
    // SAFETY: `long` outlives the operation, which is removed and reaped below.
    unsafe { ring.push_unchecked(Timeout::new(&long).user_data(key)) }.expect("room");
    ring.submit().expect("submitted");
    ring.push(TimeoutRemove::new(UserData(1)).user_data(2)).expect("room");
    assert_eq!(reap(&mut ring, 1)[0].result(), Err(Errno::NOENT), "half of the key is not the key");
    ring.push(TimeoutRemove::new(key).user_data(3)).expect("room");
    let mut ended: Vec<_> = reap(&mut ring, 2).iter().map(|cqe| (cqe.user_data().0, cqe.result())).collect();
    ended.sort_by_key(|(key, _)| *key);
    assert_eq!(ended, [(3, Ok(0)), (key.0, Err(Errno::CANCELED))]);
}

#[test]
fn item_02_nothing_happens_before_the_submission() {
    let mut ring = Ring::new(8).expect("a ring");
    ring.push(Nop::new().user_data(1)).expect("room");
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!((ring.pending(), ring.ready()), (1, 0));
    assert_eq!(ring.submit(), Ok(1));
    assert_eq!(ring.pending(), 0);
    assert_eq!(ring.submit(), Ok(0), "nothing to submit is no error");
    assert_eq!(keys(&reap(&mut ring, 1)), [1]);
}

#[test]
fn item_03_a_malformed_entry_makes_a_short_submit_and_the_rest_goes_later() {
    let mut ring = Ring::new(4).expect("a ring");
    let mut bad: Sqe<'static> = Nop::new().user_data(1).into();
    // SAFETY: a NOP with unknown flags names no memory.
    unsafe { bad.raw_mut() }.set(At::NOP_FLAGS, 0x8000_0000);
    ring.push(bad).expect("room");
    ring.push(Nop::new().user_data(2)).expect("room");
    ring.push(Nop::new().user_data(3)).expect("room");
    let taken = ring.submit().expect("submitted");
    assert_eq!(taken, 1, "the kernel stops at the entry that fails");
    assert_eq!((ring.pending(), ring.room()), (2, 2));
    let first = reap(&mut ring, 3);
    assert_eq!(keys(&first), [1, 2, 3], "waiting submitted the rest");
    assert_eq!(first[0].result(), Err(Errno::INVAL));
    needs!(has_setup(SetupFlags::SUBMIT_ALL));
    let mut all = Setup::new(4).submit_all().build().expect("a ring");
    let mut bad: Sqe<'static> = Nop::new().user_data(1).into();
    // SAFETY: as above.
    unsafe { bad.raw_mut() }.set(At::NOP_FLAGS, 0x8000_0000);
    all.push_all([bad, Nop::new().into()]).expect("room");
    assert_eq!(all.submit(), Ok(2), "SUBMIT_ALL goes on");
}

#[test]
fn item_03_positions_wrap_on_the_kernel_too() {
    let mut ring = Ring::new(1).expect("a ring");
    for round in 0..10_000u64 {
        ring.push(Nop::new().user_data(round)).expect("room");
        assert!(ring.push(Nop::new()).is_err(), "one entry is all there is");
        ring.submit_and_wait(1).expect("waited");
        assert_eq!(keys(&ring.completions().collect::<Vec<_>>()), [round]);
    }
}

#[test]
fn item_05_a_sleeping_poller_never_misses_an_entry() {
    let mut ring = Setup::new(8).sqpoll(Duration::from_millis(1)).build().expect("a ring");
    for round in 0..200u64 {
        ring.push(Nop::new().user_data(round)).expect("room");
        ring.submit().expect("submitted");
        let start = Instant::now();
        while ring.ready() == 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "round {round}: the entry waits for ever");
            std::hint::spin_loop();
        }
        assert_eq!(ring.completions().count(), 1);
        if round % 20 == 0 {
            // Long enough for the thread to fall asleep.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn item_06_a_polled_ring_has_taken_entries_only_when_the_head_says_so() {
    let mut ring = Setup::new(8).sqpoll(Duration::from_millis(100)).build().expect("a ring");
    for key in 0..8 {
        ring.push(Nop::new().user_data(key)).expect("room");
    }
    assert!(ring.push(Nop::new()).is_err());
    ring.submit().expect("submitted");
    ring.wait_for_room().expect("the thread takes entries");
    assert!(ring.room() > 0);
    assert_eq!(reap(&mut ring, 8).len(), 8);
    assert_eq!(ring.pending(), 0);
}

#[test]
fn item_07_overflow_loses_nothing_and_is_no_loss() {
    for setup in [Setup::new(4), Setup::new(4).sqpoll(Duration::from_millis(1))] {
        let mut ring = setup.build().expect("a ring");
        let all = 3 * u64::from(ring.cq_entries());
        let mut pushed = 0;
        while pushed < all {
            if ring.push(Nop::new().user_data(pushed)).is_ok() {
                pushed += 1;
            } else {
                match ring.submit() {
                    // The queue of completions is full, and so is the patience of the kernel: it wants them reaped.
                    Ok(_) | Err(Errno::BUSY) => std::thread::yield_now(),
                    Err(errno) => panic!("{errno}"),
                }
            }
        }
        while ring.pending() > 0 {
            let _moved = ring.submit();
        }
        let start = Instant::now();
        while !ring.overflowed() {
            assert!(start.elapsed() < Duration::from_secs(5), "{all} completions do not fit, so some must overflow");
        }
        assert_eq!(ring.lost(), 0, "overflowed completions are kept, not lost");
        let mut seen = Vec::new();
        while seen.len() < all as usize {
            assert!(start.elapsed() < Duration::from_secs(10), "only {} of {all} completions came", seen.len());
            seen.extend(ring.peek().expect("entered").map(|cqe| cqe.user_data().0));
        }
        assert_eq!(seen, (0..all).collect::<Vec<_>>());
        assert!(!ring.overflowed());
    }
}

#[test]
fn item_08_peek_sees_deferred_completions_with_and_without_the_flag() {
    needs!(has_setup(SetupFlags::DEFER_TASKRUN));
    let plain = || Setup::new(8).single_issuer().defer_taskrun();
    for (flag, setup) in [(true, plain().taskrun_flag()), (false, plain())] {
        let mut ring = setup.build().expect("a ring");
        let (reader, mut writer) = UnixStream::pair().expect("a pair");
        let poll = PollAdd::new(&reader, PollMask::from(PollFlags::IN)).user_data(1);
        // SAFETY: `reader` outlives the operation, which completes below.
        unsafe { ring.push_unchecked(poll) }.expect("room");
        ring.submit().expect("submitted");
        writer.write_all(b"x").expect("written");
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(ring.completions().count(), 0, "the task itself has to post it, in the kernel");
        assert_eq!(ring.peek().expect("entered").count(), 1, "with the flag: {flag}");
    }
}

#[test]
fn a_ring_that_polls_devices_is_entered_for_completions() {
    const TEST: &str = "a_ring_that_polls_devices_is_entered_for_completions";
    #[repr(align(4096))]
    struct Aligned([u8; 4096]);
    let mut ring = Setup::new(8).iopoll().build().expect("a ring");
    ring.push(Nop::new().user_data(1)).expect("room");
    assert_eq!(ring.submit(), Ok(1));
    let nop: Vec<Cqe> = ring.peek().expect("entered").collect();
    let understood = if common::probe().level() < rawring::Version::new(5, 19) { Err(Errno::INVAL) } else { Ok(0) };
    assert_eq!((keys(&nop), nop[0].result()), (vec![1], understood));

    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("polled-{}", std::process::id()));
    std::fs::write(&path, [7; 4096]).expect("a file");
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
    let file = rustix::fs::open(&path, flags, rustix::fs::Mode::empty());
    std::fs::remove_file(&path).expect("removed");
    let file = match file {
        Ok(file) => file,
        Err(errno) => return common::skipped(TEST, &format!("opening for direct transfers: {errno}")),
    };
    let mut block = Aligned([0; 4096]);
    // SAFETY: block and file outlive the operation, which completes below.
    unsafe { ring.push_unchecked(Read::new(&file, &mut block.0).offset(0).user_data(2)) }.expect("room");
    let start = Instant::now();
    let cqe = loop {
        ring.submit().expect("submitted");
        if let Some(cqe) = ring.peek().expect("entered").next() {
            break cqe;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the read waits for ever");
    };
    match cqe.result() {
        Ok(read) => assert_eq!((read, block.0), (4096, [7; 4096])),
        Err(Errno::OPNOTSUPP) => common::skipped(TEST, "a read: the device under the build directory has no polling"),
        Err(errno) => panic!("{errno}"),
    }
}

#[test]
fn item_24_dropping_a_ring_waits_for_nothing_and_frees_nothing() {
    let (reader, writer) = UnixStream::pair().expect("a pair");
    // Kept for ever, as clause 1 of `push_unchecked` demands: the completion will never be reaped.
    let buf = Box::leak(Box::new([7u8; 4]));
    let mut ring = Ring::new(8).expect("a ring");
    // SAFETY: `buf` is leaked; the socket's descriptor stays open past the submission, and the kernel has its file.
    unsafe { ring.push_unchecked(Read::new(&reader, buf)) }.expect("room");
    ring.submit().expect("submitted");
    let start = Instant::now();
    drop(ring);
    assert!(start.elapsed() < Duration::from_secs(1));
    // The kernel lets go of the file some time later.
    drop(reader);
    writer.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    // The end of the ring reaches this thread as task work, which interrupts a read that has a time limit.
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&writer, &mut [0; 1]));
    assert_eq!(read.expect("the end of the stream"), 0);
}

#[test]
fn item_25_the_outcome_tells_how_the_wait_ended() {
    let mut ring = Ring::new(8).expect("a ring");
    let short = Duration::from_millis(2);
    let timed_out = ring.submit_with(&Wait::new(1).timeout(short)).expect("waited");
    assert_eq!((timed_out.entries, timed_out.wait), (0, WaitEnd::TimedOut));
    ring.push(Nop::new().user_data(1)).expect("room");
    let masked = ring.submit_with(&Wait::new(2).timeout(short)).expect("waited");
    assert_eq!(
        (masked.entries, masked.wait),
        (1, WaitEnd::Short),
        "the time ran out, but the kernel reports the entry"
    );
    let ready = ring.submit_with(&Wait::new(1).timeout(short)).expect("waited");
    assert_eq!((ready.entries, ready.wait), (0, WaitEnd::Ready));
    assert_eq!(keys(&ring.completions().collect::<Vec<_>>()), [1], "submitted once");
    assert_eq!(ring.submit_and_wait(0).expect("nothing to wait for").wait, WaitEnd::Ready);
}

/// Sends `SIGUSR1` to this thread after a while, from another one, and runs `f` in between.
fn with_signal<T>(f: impl FnOnce() -> T) -> T {
    extern "C" fn ignore(_: i32) {}
    // SAFETY: the handler does nothing; without SA_RESTART it makes blocking calls end with EINTR.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = ignore as extern "C" fn(i32) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    // SAFETY: the id of the calling thread, which outlives the scope below.
    let this = unsafe { libc::pthread_self() };
    std::thread::scope(|s| {
        s.spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            // SAFETY: the thread is alive: it waits for this scope.
            assert_eq!(unsafe { libc::pthread_kill(this, libc::SIGUSR1) }, 0);
        });
        f()
    })
}

#[test]
fn item_25_a_signal_ends_the_wait_and_nothing_is_submitted_twice() {
    let mut ring = Ring::new(8).expect("a ring");
    ring.push(Nop::new().user_data(1)).expect("room");
    let long = Wait::new(2).timeout(Duration::from_secs(5));
    let first = with_signal(|| ring.submit_with(&long)).expect("waited");
    assert_eq!((first.entries, first.wait), (1, WaitEnd::Short), "the entry counts, the signal is not reported");
    let masked = with_signal(|| ring.submit_with(&long)).expect("waited");
    assert_eq!((masked.entries, masked.wait), (0, WaitEnd::Short), "nor while there is a completion to look at");
    assert_eq!(keys(&ring.completions().collect::<Vec<_>>()), [1]);
    let second = with_signal(|| ring.submit_with(&long)).expect("waited");
    assert_eq!((second.entries, second.wait), (0, WaitEnd::Interrupted));
    assert_eq!((ring.pending(), ring.ready()), (0, 0), "and nothing was submitted twice");
}

#[test]
fn item_26_a_signal_mask_holds_during_the_wait() {
    let mut ring = Ring::new(8).expect("a ring");
    let blocked = SigSet::EMPTY.with(libc::SIGUSR1);
    let wait = Wait::new(1).timeout(Duration::from_millis(100)).sigmask(&blocked);
    let outcome = with_signal(|| ring.submit_with(&wait)).expect("waited");
    assert_eq!(outcome.wait, WaitEnd::TimedOut, "the signal was blocked while waiting");
}

#[test]
fn item_26_deadlines_and_minimum_waits() {
    let mut ring = Ring::new(8).expect("a ring");
    if !ring.features().contains(Features::MIN_TIMEOUT) {
        common::skipped("item_26_deadlines_and_minimum_waits", "needs IORING_FEAT_MIN_TIMEOUT (Linux 6.12)");
        return;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let mut then = Timespec::from(now);
    then.nanoseconds += 20_000_000;
    if then.nanoseconds >= 1_000_000_000 {
        then = Timespec { seconds: then.seconds + 1, nanoseconds: then.nanoseconds - 1_000_000_000 };
    }
    let start = Instant::now();
    assert_eq!(ring.submit_with(&Wait::new(1).deadline(then)).expect("waited").wait, WaitEnd::TimedOut);
    let waited = start.elapsed();
    assert!((Duration::from_millis(15)..Duration::from_secs(2)).contains(&waited), "waited {waited:?}");

    // One completion is there at once, two are wanted: after the minimum wait, one is enough.
    ring.push(Nop::new()).expect("room");
    let start = Instant::now();
    let wait = Wait::new(2).min_wait(Duration::from_millis(20)).timeout(Duration::from_secs(5));
    ring.submit_with(&wait).expect("waited");
    let waited = start.elapsed();
    assert!((Duration::from_millis(15)..Duration::from_secs(2)).contains(&waited), "waited {waited:?}");
    assert_eq!(ring.completions().count(), 1);

    if ring.features().contains(Features::NO_IOWAIT) {
        let wait = Wait::new(1).timeout(Duration::from_millis(1)).no_iowait();
        assert_eq!(ring.submit_with(&wait).expect("waited").wait, WaitEnd::TimedOut);
    } else {
        common::skipped("item_26_deadlines_and_minimum_waits: NO_IOWAIT", "needs Linux 6.15");
    }
}

#[test]
fn item_26_unknown_enter_flags_reach_the_kernel() {
    let mut ring = Ring::new(8).expect("a ring");
    let unknown = EnterFlags::from_bits_retain(1 << 31);
    assert_eq!(ring.submit_with(&Wait::new(0).flag(unknown)), Err(Errno::INVAL));
}

#[test]
fn item_27_a_reused_slot_keeps_nothing_of_the_old_entry() {
    let mut ring = Ring::new(1).expect("a ring");
    let mut buf = [0u8; 8];
    let zero = std::fs::File::open("/dev/zero").expect("/dev/zero");
    // SAFETY: buffer and file outlive the operation, which completes below.
    unsafe { ring.push_unchecked(Read::new(&zero, &mut buf).user_data(u64::MAX)) }.expect("room");
    assert_eq!(reap(&mut ring, 1)[0].result(), Ok(8));
    // The kernel refuses a NOP with leftovers in its flags, and shows a stale user_data.
    ring.push(Nop::new()).expect("room");
    let nop = reap(&mut ring, 1)[0];
    assert_eq!((nop.user_data().0, nop.result()), (0, Ok(0)));
}

#[test]
fn item_40_entries_are_pushed_and_submitted_while_completions_are_iterated() {
    let mut ring = Ring::new(4).expect("a ring");
    for key in 0..4 {
        ring.push(Nop::new().user_data(key)).expect("room");
    }
    ring.submit_and_wait(4).expect("waited");
    let (mut submissions, mut completions) = ring.split();
    let mut seen = 0;
    // Each completion pushes another entry until 1000 were seen: far more than either queue holds at once.
    while seen < 1000 {
        for cqe in completions.by_ref() {
            seen += 1;
            submissions.push(Nop::new().user_data(cqe.user_data().0 + 4)).expect("room");
            submissions.submit().expect("submitted");
        }
        completions.refresh();
    }
    drop(completions);
    assert_eq!(ring.lost(), 0);
    assert!(!ring.overflowed(), "publishing early kept the queue from overflowing");
}

#[test]
fn a_ring_is_readable_when_completions_are_there() {
    for setup in [Setup::new(8), Setup::new(8).single_issuer().defer_taskrun()] {
        needs!(has_setup(setup.flags()));
        let mut ring = setup.build().expect("a ring");
        let readable = |ring: &Ring, wait: i64| {
            let mut fds = [rustix::event::PollFd::new(ring, PollFlags::IN)];
            let span = rustix::time::Timespec { tv_sec: 0, tv_nsec: wait as _ };
            rustix::event::poll(&mut fds, Some(&span)).expect("polled") == 1
        };
        let (reader, mut writer) = UnixStream::pair().expect("a pair");
        let poll = PollAdd::new(&reader, PollMask::from(PollFlags::IN));
        // SAFETY: `reader` outlives the operation, which completes below.
        unsafe { ring.push_unchecked(poll) }.expect("room");
        ring.submit().expect("submitted");
        assert!(!readable(&ring, 0));
        writer.write_all(b"x").expect("written");
        assert!(readable(&ring, 900_000_000));
        assert_eq!(ring.peek().expect("entered").count(), 1);
        assert!(!readable(&ring, 0));
    }
}

#[test]
fn an_eventfd_is_signalled_for_completions() {
    let mut ring = Ring::new(8).expect("a ring");
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("an eventfd");
    let count = |fd: &OwnedFd| {
        let mut count = [0; 8];
        rustix::io::read(fd, &mut count).map(|_| u64::from_ne_bytes(count))
    };
    ring.register_eventfd(Some(eventfd.as_fd())).expect("registered");
    assert_eq!(ring.register_eventfd(Some(eventfd.as_fd())), Err(Errno::BUSY));
    assert_eq!(count(&eventfd), Err(Errno::AGAIN));
    ring.push(Nop::new()).expect("room");
    ring.submit().expect("submitted");
    assert!(count(&eventfd).expect("signalled") >= 1);
    ring.register_eventfd(None).expect("unregistered");
    ring.push(Nop::new()).expect("room");
    ring.submit().expect("submitted");
    assert_eq!(count(&eventfd), Err(Errno::AGAIN));
    assert_eq!(ring.register_eventfd(None), Err(Errno::NXIO));
}

#[test]
fn a_chain_is_pushed_whole_or_not_at_all() {
    let mut ring = Ring::new(4).expect("a ring");
    ring.push(Nop::new().user_data(0)).expect("room");
    ring.push(Nop::new().user_data(1)).expect("room");
    let chain = [2, 3, 4].map(|key| Nop::new().user_data(key).link().into());
    let refused = ring.push_all(chain).expect_err("two slots are not three");
    assert_eq!((refused.reason, ring.pending()), (rawring::Reason::Full, 2));
    ring.submit().expect("submitted");
    ring.push_all(refused.entry).expect("room now");
    assert_eq!(keys(&reap(&mut ring, 5)), [0, 1, 2, 3, 4]);
}

#[test]
fn wide_completions_carry_their_payload() {
    needs!(has_setup(SetupFlags::CQE32));
    let mut ring = Setup::new(4).cqe32().build().expect("a ring");
    ring.push(Nop::new().user_data(1)).expect("room");
    let cqe = reap(&mut ring, 1)[0];
    assert_eq!(cqe.big(), Some([0, 0]));
    let mut narrow = Ring::new(4).expect("a ring");
    narrow.push(Nop::new()).expect("room");
    assert_eq!(reap(&mut narrow, 1)[0].big(), None);
}

#[test]
fn a_ring_moves_between_threads() {
    let mut ring = Ring::new(4).expect("a ring");
    ring.push(Nop::new().user_data(1)).expect("room");
    let mut ring = std::thread::spawn(move || {
        ring.submit().expect("submitted");
        ring
    })
    .join()
    .expect("no panic");
    assert_eq!(keys(&reap(&mut ring, 1)), [1]);
    // The descriptor is a descriptor like others: it can be duplicated, and is closed on exec.
    // SAFETY: the number was just made by dup.
    let copy = unsafe { OwnedFd::from_raw_fd(libc::dup(ring.as_fd().as_raw_fd())) };
    assert!(copy.as_raw_fd() > 0);
    let flags = rustix::io::fcntl_getfd(&ring).expect("flags");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}
