//! Waking a thread that waits on a ring, in every mode.

use std::mem::ManuallyDrop;
use std::thread;
use std::time::{Duration, Instant};

use rawring::flags::SetupFlags;
use rawring::op::Nop;
use rawring::operand::Timespec;
use rawring::{Conflict, Event, InFlight, Ring, Setup, Submitted, UserData, Wait, WaitEnd};

use crate::common::{in_own_process, probe, with};

/// No wait in these tests ends by its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, and goes on where the kernel gave no reason to stop: rings that poll devices do not sleep.
fn wait(ring: &mut Ring, want: u32) -> Submitted {
    let start = Instant::now();
    loop {
        let done = ring.submit_with(&Wait::new(want).timeout(PATIENCE)).expect("waited");
        if done.wait != WaitEnd::Short {
            return done;
        }
        assert!(start.elapsed() < PATIENCE, "{ring:?}: nobody ended it");
    }
}

/// The kinds of ring on which waiting differs.
fn kinds() -> Vec<SetupFlags> {
    use SetupFlags as F;
    let issues = [
        F::empty(),
        F::SQPOLL,
        F::COOP_TASKRUN,
        F::COOP_TASKRUN | F::TASKRUN_FLAG,
        F::SINGLE_ISSUER,
        F::SINGLE_ISSUER | F::DEFER_TASKRUN,
        F::SINGLE_ISSUER | F::DEFER_TASKRUN | F::TASKRUN_FLAG,
    ];
    let others = [
        F::empty(),
        F::IOPOLL,
        F::CQE32,
        F::CQE_MIXED,
        F::SQE_MIXED,
        F::NO_SQARRAY | F::SQ_REWIND,
        F::NO_MMAP | F::REGISTERED_FD_ONLY,
        F::NO_MMAP | F::REGISTERED_FD_ONLY | F::IOPOLL,
    ];
    let known = |&kind: &F| {
        SetupFlags::INFO.iter().all(|info| {
            let flag = F::from_bits_retain(info.bits as u32);
            !kind.contains(flag) || probe().supports_setup(flag)
        })
    };
    let kinds = issues.iter().flat_map(|&issue| others.iter().map(move |&other| issue | other));
    kinds.filter(known).filter(|&kind| Conflict::of(kind).is_none()).collect()
}

fn ring(kind: SetupFlags) -> Ring {
    let flags = SetupFlags::INFO.iter().map(|info| SetupFlags::from_bits_retain(info.bits as u32));
    let nobody = Ring::new(1).expect("a ring");
    let array = !kind.contains(SetupFlags::NO_SQARRAY);
    let setup = Setup::new(8).no_sqarray(!array);
    let setup = flags.filter(|&flag| kind.contains(flag)).fold(setup, |setup, flag| with(setup, flag, &nobody, 0));
    setup.build().unwrap_or_else(|error| panic!("{kind:?}: {error}"))
}

fn keys(ring: &mut Ring) -> Vec<u64> {
    ring.peek().expect("a visit").map(|cqe| cqe.user_data().0).collect()
}

#[test]
fn item_09_a_waiting_thread_is_woken_in_every_mode() {
    in_own_process("waker::item_09_a_waiting_thread_is_woken_in_every_mode", || {
        for kind in kinds() {
            let mut ring = ring(kind);
            let waker = ring.waker().unwrap_or_else(|errno| panic!("{kind:?}: {errno}"));
            for want in [1, 3, 16] {
                let start = Instant::now();
                thread::scope(|scope| {
                    let other = scope.spawn(|| {
                        thread::sleep(Duration::from_millis(10));
                        waker.wake()
                    });
                    assert_eq!(wait(&mut ring, want).wait, WaitEnd::Woken, "{kind:?}, {want}");
                    other.join().expect("no panic").expect("woken");
                });
                assert!(start.elapsed() < Duration::from_secs(5), "{kind:?}: {:?}", start.elapsed());
                // It is no completion, and the queue works as ever.
                assert_eq!(keys(&mut ring), [0_u64; 0], "{kind:?}");
                for key in 0..3 {
                    ring.push(Nop::new().user_data(key)).expect("room");
                }
                assert_eq!(wait(&mut ring, 3).wait, WaitEnd::Ready, "{kind:?}");
                assert_eq!(keys(&mut ring), [0, 1, 2], "{kind:?}");
            }
        }
    });
}

#[test]
fn a_wait_for_more_than_there_can_be_takes_no_more_calls_than_fill_the_queue() {
    const TEST: &str = "waker::a_wait_for_more_than_there_can_be_takes_no_more_calls_than_fill_the_queue";
    in_own_process(TEST, || {
        for kind in kinds() {
            // If this fails, dropping it would wait for the calls.
            let mut ring = ManuallyDrop::new(ring(kind));
            let waker = ring.waker().expect("a waker");
            let (done, woken) = std::sync::mpsc::channel();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(10));
                done.send(waker.wake())
            });
            assert_eq!(wait(&mut ring, u32::MAX).wait, WaitEnd::Woken, "{kind:?}");
            woken.recv_timeout(Duration::from_secs(5)).expect("it ended its calls").expect("woken");
            assert_eq!(keys(&mut ring), [0_u64; 0], "{kind:?}");
            assert!(!ring.overflowed(), "{kind:?}");
            drop(ManuallyDrop::into_inner(ring));
        }
    });
}

#[test]
fn a_call_before_the_wait_ends_the_next_one_and_only_that() {
    in_own_process("waker::a_call_before_the_wait_ends_the_next_one_and_only_that", || {
        for kind in kinds() {
            let mut ring = ring(kind);
            let waker = ring.waker().expect("a waker");
            for _ in 0..3 {
                waker.clone().wake().expect("woken");
            }
            ring.push(Nop::new().user_data(1)).expect("room");
            ring.push(Nop::new().user_data(2)).expect("room");
            let done = ring.submit_with(&Wait::new(1).timeout(PATIENCE)).expect("waited");
            assert_eq!(done.wait, WaitEnd::Woken, "{kind:?}");
            // A polling thread that is awake takes them without a call.
            let entries = if kind.contains(SetupFlags::SQPOLL) { done.entries } else { 2 };
            assert_eq!(done.entries, entries, "{kind:?}: entries are submitted all the same");
            assert_eq!(wait(&mut ring, 2).wait, WaitEnd::Ready, "{kind:?}: three calls were one");
            assert_eq!(keys(&mut ring), [1, 2], "{kind:?}");
            if !kind.contains(SetupFlags::IOPOLL) {
                let brief = Wait::new(1).timeout(Duration::from_millis(12));
                let mut end = ring.submit_with(&brief).expect("waited").wait;
                // What was sent too late ends a wait early, once.
                if end == WaitEnd::Short {
                    end = ring.submit_with(&brief).expect("waited").wait;
                }
                assert_eq!(end, WaitEnd::TimedOut, "{kind:?}");
            }
            // A submission that waits for nothing leaves the call to one that waits.
            waker.wake().expect("woken");
            assert_eq!(ring.submit(), Ok(0));
            assert_eq!(ring.submit_and_wait(0).expect("submitted").wait, WaitEnd::Ready);
            assert_eq!(wait(&mut ring, 1).wait, WaitEnd::Woken, "{kind:?}");
        }
    });
}

#[test]
fn making_a_waker_ends_no_wait() {
    in_own_process("waker::making_a_waker_ends_no_wait", || {
        for kind in kinds().into_iter().filter(|kind| !kind.contains(SetupFlags::IOPOLL)) {
            let mut ring = ring(kind);
            let _waker = ring.waker().expect("a waker");
            let brief = Wait::new(1).timeout(Duration::from_millis(12));
            assert_eq!(ring.submit_with(&brief).expect("waited").wait, WaitEnd::TimedOut, "{kind:?}");
        }
    });
}

#[test]
fn a_ring_that_is_gone_is_not_called() {
    let mut ring = Ring::new(2).expect("a ring");
    let waker = ring.waker().expect("a waker");
    drop(ring);
    // Most likely with the descriptor of the one before.
    let mut other = Ring::new(2).expect("a ring");
    waker.wake().expect("nothing happens");
    let brief = Wait::new(1).timeout(Duration::from_millis(5));
    assert_eq!(other.submit_with(&brief).expect("waited").wait, WaitEnd::TimedOut);
    assert_eq!(other.ready(), 0);
}

#[test]
fn a_disabled_ring_is_called_for_later() {
    let mut ring = Setup::new(2).disabled().build().expect("a ring");
    let waker = ring.waker().expect("a waker");
    waker.wake().expect("raised");
    ring.enable().expect("enabled");
    assert_eq!(wait(&mut ring, 1).wait, WaitEnd::Woken);
}

#[test]
fn drains_and_safe_doors_do_not_notice_wakers() {
    if let Err(reason) = crate::common::safe_doors() {
        return crate::common::skipped("waker::drains_and_safe_doors_do_not_notice_wakers", &reason.to_string());
    }
    let mut ring = InFlight::new(Ring::new(4).expect("a ring")).expect("fit");
    let waker = ring.waker().expect("a waker");
    ring.start("first", |_| Nop::new().into()).expect("room");
    ring.start("drained", |_| Nop::new().drain().into()).expect("room");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        waker.wake().expect("woken");
        match ring.wait_event().expect("waited") {
            Event::Done(done) => seen.push(done.state),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["first", "drained"]);
    let never = Box::leak(Box::new(Timespec::from(PATIENCE)));
    ring.start("never", move |_| rawring::op::Timeout::new(never).into()).expect("room");
    ring.submit().expect("submitted");
    thread::scope(|scope| {
        scope.spawn(|| (0..100).for_each(|_| waker.wake().expect("woken")));
        assert_eq!(ring.shutdown().expect("drained").ended.len(), 1);
    });
}

#[test]
fn waking_and_waiting_race_and_no_call_is_missed() {
    let mut ring = Ring::new(2).expect("a ring");
    let waker = ring.waker().expect("a waker");
    let turns = std::sync::atomic::AtomicU32::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..2000 {
                waker.wake().expect("woken");
                while turns.load(std::sync::atomic::Ordering::Acquire) == turn {
                    std::hint::spin_loop();
                    thread::yield_now();
                }
            }
        });
        for turn in 0..2000 {
            assert_eq!(wait(&mut ring, 1).wait, WaitEnd::Woken, "turn {turn}");
            turns.store(turn + 1, std::sync::atomic::Ordering::Release);
        }
    });
    assert_eq!(ring.completions().map(|cqe| cqe.user_data()).collect::<Vec<_>>(), [UserData(0); 0]);
    assert_eq!(ring.lost(), 0);
}
