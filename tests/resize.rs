//! Queues that get other sizes while they are in use. Named after the items of the semantics list.

mod common;

use std::thread;
use std::time::Duration;

use common::{exercise, has_setup, in_own_process, kernel_has, needs, skipped};
use rawring::flags::SetupFlags;
use rawring::op::{Nop, Nop128, Read, Timeout};
use rawring::operand::Timespec;
use rawring::register::{Resize, ResizeError};
use rawring::{Cqe, Errno, Event, InFlight, Ring, Setup, UserData, Version, WaitEnd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The release that brought it.
const RESIZE: Version = Version::new(6, 13);

/// The release that does it right for rings in memory of the process. Linux 6.16 loses sight of that memory.
const OWN_MEMORY: Version = Version::new(6, 17);

/// The release that takes it for disabled rings, too.
const DISABLED: Version = Version::new(6, 18);

fn deferred(entries: u32) -> Setup<'static> {
    Setup::new(entries).single_issuer().defer_taskrun()
}

fn push(ring: &mut Ring, keys: impl IntoIterator<Item = u64>) {
    for key in keys {
        ring.push(Nop::new().user_data(key)).expect("room");
    }
}

fn keys(ring: &mut Ring) -> Vec<u64> {
    ring.completions().map(|cqe: Cqe| cqe.user_data().0).collect()
}

fn refused(errno: Errno) -> Result<(), ResizeError> {
    Err(ResizeError::Refused(errno))
}

/// The kinds of ring that differ in what a resize has to move, as far as this kernel has them.
fn kinds(test: &str) -> Vec<(SetupFlags, bool)> {
    use SetupFlags as F;
    let none = F::empty();
    let kinds = [
        (none, true),
        (none, false),
        (F::TASKRUN_FLAG, true),
        (F::SQE128, true),
        (F::SQE128, false),
        (F::CQE32, true),
        (F::CQE_MIXED, true),
        (F::SQE_MIXED, true),
        (F::SQE_MIXED, false),
        (F::SQ_REWIND, true),
        (F::SQ_REWIND | F::SQE128, true),
        (F::NO_MMAP, true),
        (F::NO_MMAP, false),
        (F::NO_MMAP | F::SQE128 | F::CQE32, true),
        (F::NO_MMAP | F::REGISTERED_FD_ONLY, true),
    ];
    let whole = |flags: SetupFlags| !flags.contains(F::NO_MMAP) || common::newer(test, OWN_MEMORY);
    kinds.into_iter().filter(|&(flags, _)| kernel_has(test, flags) && whole(flags)).collect()
}

#[test]
fn item_31_what_is_in_the_queues_stays_in_them() {
    const TEST: &str = "item_31_what_is_in_the_queues_stays_in_them";
    needs!(common::since(RESIZE));
    for (kind, no_array) in kinds(TEST) {
        let mut ring = deferred(4).raw_flags(kind).no_sqarray(no_array).build().expect("a ring");
        let flags = ring.setup_flags();
        // Positions that are not multiples of a size: what is at one index before is at another after.
        push(&mut ring, 0..3);
        ring.submit_and_wait(3).expect("submitted");
        assert_eq!(keys(&mut ring), [0, 1, 2]);
        let mut next = 0;
        for entries in [16, 4, 64, 8, 8, 256, 4] {
            // Two completions to move, and two entries that the kernel has not seen.
            let these = next..next + 4;
            push(&mut ring, these.start..these.start + 2);
            ring.submit_and_wait(2).expect("submitted");
            push(&mut ring, these.start + 2..these.end);
            assert_eq!((ring.pending(), ring.ready()), (2, 2));
            ring.resize(Resize::new(entries)).unwrap_or_else(|error| panic!("{kind:?} to {entries}: {error}"));
            assert_eq!((ring.sq_entries(), ring.cq_entries()), (entries, 2 * entries));
            assert_eq!((ring.params().sq_entries, ring.params().cq_entries), (entries, 2 * entries));
            assert_eq!((ring.setup_flags(), ring.pending(), ring.ready()), (flags, 2, 2), "{kind:?}");
            assert_eq!(ring.submit_and_wait(4).expect("submitted").entries, 2, "{kind:?} to {entries}");
            assert_eq!(keys(&mut ring), these.clone().collect::<Vec<_>>(), "{kind:?} to {entries}");
            exercise(&mut ring);
            // Something that only work of the task itself completes, too.
            let soon = Timespec::from(Duration::from_millis(1));
            // SAFETY: the time outlives the operation, which is waited for.
            unsafe { ring.push_unchecked(Timeout::new(&soon).user_data(99)) }.expect("room");
            // A timeout that is about to complete may end the wait before its completion is there.
            while ring.ready() == 0 {
                ring.submit_and_wait(1).expect("waited");
            }
            assert_eq!(keys(&mut ring), [99]);
            next = these.end;
        }
    }
}

#[test]
fn item_31_the_array_is_filled_again() {
    needs!(common::since(RESIZE));
    let mut ring = deferred(2).no_sqarray(false).build().expect("a ring");
    assert_ne!(ring.params().sq_off.array, 0);
    for entries in [8, 2, 32] {
        // A slot that the array does not name is dropped, or is another's.
        push(&mut ring, 0..2);
        ring.resize(Resize::new(entries)).expect("resized");
        let more = ring.room();
        push(&mut ring, (2..).take(more as usize));
        let all = 2 + more;
        assert_eq!(ring.submit_and_wait(all).expect("submitted").entries, all);
        assert_eq!(keys(&mut ring), (0..u64::from(all)).collect::<Vec<_>>());
        assert_eq!(ring.dropped(), 0);
    }
}

#[test]
fn item_31_a_refused_resize_changes_nothing() {
    needs!(common::since(RESIZE));
    let check = |ring: &mut Ring, to: Resize, expected: Errno| {
        let before = (ring.sq_entries(), ring.cq_entries(), ring.pending(), ring.ready(), *ring.params());
        assert_eq!(ring.resize(to), refused(expected), "{to:?}");
        let after = (ring.sq_entries(), ring.cq_entries(), ring.pending(), ring.ready(), *ring.params());
        assert_eq!(before, after);
    };
    let mut plain = Ring::new(4).expect("a ring");
    check(&mut plain, Resize::new(8), Errno::INVAL);
    exercise(&mut plain);

    let mut ring = deferred(8).build().expect("a ring");
    for wrong in [Resize::new(0), Resize::new(1 << 20), Resize::new(u32::MAX), Resize::new(8).cq_entries(4)] {
        check(&mut ring, wrong, Errno::INVAL);
    }
    for wrong in [Resize::new(4).cq_entries(1 << 20), Resize::new(4).cq_entries(0)] {
        check(&mut ring, wrong, Errno::INVAL);
    }
    // Entries that the kernel has seen, and such that it has not.
    push(&mut ring, 0..5);
    check(&mut ring, Resize::new(4), Errno::OVERFLOW);
    ring.submit_and_wait(5).expect("submitted");
    check(&mut ring, Resize::new(2), Errno::OVERFLOW);
    check(&mut ring, Resize::new(4).cq_entries(4), Errno::OVERFLOW);
    assert_eq!(keys(&mut ring), [0, 1, 2, 3, 4]);
    // What was consumed does not count.
    ring.resize(Resize::new(2).cq_entries(2)).expect("resized");
    exercise(&mut ring);
    ring.resize(Resize::new(1 << 20).clamp()).expect("resized");
    assert_eq!((ring.sq_entries(), ring.cq_entries()), (32_768, 65_536));
    exercise(&mut ring);
}

#[test]
fn item_31_a_short_submission_is_moved_as_far_as_it_was_not_taken() {
    const TEST: &str = "item_31_a_short_submission_is_moved_as_far_as_it_was_not_taken";
    needs!(common::since(RESIZE));
    for (kind, no_array) in kinds(TEST) {
        let mut ring = deferred(4).raw_flags(kind).no_sqarray(no_array).build().expect("a ring");
        // Such that positions differ from indices.
        push(&mut ring, [5, 6, 7]);
        ring.submit_and_wait(3).expect("submitted");
        assert_eq!(keys(&mut ring), [5, 6, 7]);
        let bad = rawring::RawSqe { opcode: 255, user_data: 9, ..rawring::RawSqe::ZERO };
        // SAFETY: the entry is malformed, and names nothing.
        unsafe { ring.push_unchecked(rawring::Sqe::from_raw(bad)) }.expect("room");
        push(&mut ring, [1, 2]);
        assert_eq!(ring.submit(), Ok(1), "it stops at the malformed entry");
        assert_eq!(ring.pending(), 2);
        for entries in [2, 64] {
            ring.resize(Resize::new(entries)).expect("resized");
            assert_eq!((ring.pending(), ring.room()), (2, entries - 2), "{kind:?}");
        }
        ring.submit_and_wait(3).expect("submitted");
        assert_eq!(keys(&mut ring), [9, 1, 2], "{kind:?}, {no_array}");
    }
}

#[test]
fn item_31_completions_that_overflowed_are_not_lost() {
    needs!(common::since(RESIZE));
    let mut ring = deferred(4).cq_entries(4).build().expect("a ring");
    for round in 0..3 {
        push(&mut ring, round * 4..round * 4 + 4);
        // The kernel may answer that completions wait.
        while ring.pending() > 0 {
            ring.submit().expect("submitted");
        }
    }
    assert!(ring.overflowed());
    assert_eq!(ring.ready(), 4);
    assert_eq!(ring.resize(Resize::new(4).cq_entries(2).clamp()), refused(Errno::INVAL), "smaller than the other");
    ring.resize(Resize::new(4).cq_entries(32)).expect("resized");
    assert!(ring.overflowed(), "they wait in the kernel still");
    let mut seen = keys(&mut ring);
    while ring.overflowed() {
        ring.get_events().expect("fetched");
        seen.extend(keys(&mut ring));
    }
    assert_eq!(seen, (0..12).collect::<Vec<_>>());
    assert_eq!(ring.lost(), 0);
    exercise(&mut ring);
}

#[test]
fn item_31_the_ring_belongs_to_one_thread() {
    needs!(common::since(RESIZE));
    let mut ring = deferred(4).build().expect("a ring");
    push(&mut ring, [1]);
    thread::scope(|scope| {
        let other = || ring.resize(Resize::new(8));
        assert_eq!(scope.spawn(other).join().expect("the other thread"), refused(Errno::EXIST));
    });
    assert_eq!((ring.sq_entries(), ring.pending()), (4, 1));
    ring.resize(Resize::new(8)).expect("on its own thread");
    ring.submit_and_wait(1).expect("submitted");
    assert_eq!(keys(&mut ring), [1]);
    // Before it is enabled it belongs to nobody, which older kernels do not count as the calling thread.
    let mut ring = deferred(4).disabled().build().expect("a ring");
    push(&mut ring, [1, 2]);
    let disabled = if common::since(DISABLED).is_ok() { Ok(()) } else { refused(Errno::EXIST) };
    assert_eq!(ring.resize(Resize::new(16)), disabled);
    ring.enable().expect("enabled");
    ring.submit_and_wait(2).expect("submitted");
    assert_eq!(keys(&mut ring), [1, 2]);
}

#[test]
fn item_31_memory_that_cannot_be_mapped_loses_nothing() {
    const TEST: &str = "item_31_memory_that_cannot_be_mapped_loses_nothing";
    needs!(common::since(RESIZE));
    in_own_process(TEST, || {
        let lift = Rlimit { current: getrlimit(Resource::As).maximum, maximum: getrlimit(Resource::As).maximum };
        let limit = |at: Option<u64>| setrlimit(Resource::As, Rlimit { current: at, ..lift }).expect("a limit");
        for taskrun_flag in [SetupFlags::empty(), SetupFlags::TASKRUN_FLAG] {
            let mut ring = deferred(4).no_sqarray(true).raw_flags(taskrun_flag).build().expect("a ring");
            push(&mut ring, 0..2);
            ring.submit_and_wait(2).expect("submitted");
            push(&mut ring, 2..5);
            let old = *ring.params();
            limit(Some(1 << 20));
            let resized = ring.resize(Resize::new(4096));
            let entries = (ring.sq_entries(), ring.room(), ring.pending(), ring.ready());
            let pushed = ring.push(Nop::new()).map_err(|refused| refused.reason);
            let calls = (ring.submit(), ring.get_events(), ring.submit_and_wait(1).err(), ring.resize(Resize::new(8)));
            let through_split = ring.split().0.submit();
            // One of the two completions is reaped meanwhile, from the old memory.
            let first = ring.completions().next().map(|cqe| cqe.user_data());
            limit(lift.current);
            let unmapped = rawring_sys::MapError::Mmap { step: "mmap of the rings", errno: Errno::NOMEM };
            assert_eq!(resized, Err(ResizeError::Unmapped(unmapped)));
            assert_eq!(entries, (4, 0, 3, 2));
            assert_eq!(pushed, Err(rawring::Reason::Full));
            let nomem = Errno::NOMEM;
            assert_eq!(calls, (Err(nomem), Err(nomem), Some(nomem), Err(ResizeError::Refused(nomem))));
            assert_eq!(through_split, Err(nomem));
            assert_eq!((first, *ring.params()), (Some(UserData(0)), old));
            // Whatever enters the kernel maps first.
            ring.get_events().expect("mapped");
            assert_eq!((ring.sq_entries(), ring.room(), ring.pending(), ring.ready()), (4096, 4093, 3, 1));
            push(&mut ring, [5]);
            assert_eq!(ring.submit_and_wait(5).expect("submitted").entries, 4);
            assert_eq!(keys(&mut ring), [1, 2, 3, 4, 5]);
            exercise(&mut ring);
        }
        // Where there is an array, the lack shows before the kernel resizes anything.
        let mut ring = deferred(4).no_sqarray(false).build().expect("a ring");
        push(&mut ring, 0..2);
        limit(Some(1 << 20));
        let resized = ring.resize(Resize::new(4096));
        limit(lift.current);
        assert_eq!(resized, refused(Errno::NOMEM));
        assert_eq!((ring.sq_entries(), ring.submit_and_wait(2).expect("submitted").entries), (4, 2));
        assert_eq!(keys(&mut ring), [0, 1]);
    });
}

#[test]
fn item_31_entries_taken_back_before_the_memory_is_mapped_do_not_run() {
    const TEST: &str = "item_31_entries_taken_back_before_the_memory_is_mapped_do_not_run";
    needs!(common::since(RESIZE));
    in_own_process(TEST, || {
        let lift = Rlimit { current: getrlimit(Resource::As).maximum, maximum: getrlimit(Resource::As).maximum };
        for published in [false, true] {
            let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
            rustix::io::write(&writer, b"untouched").expect("written");
            let mut ring = InFlight::new(deferred(4).build().expect("a ring")).expect("fit");
            if published {
                // Stops the submission, so that the kernel has seen the next entry, and not taken it.
                let bad = rawring::RawSqe { opcode: 255, ..rawring::RawSqe::ZERO };
                // SAFETY: the entry is malformed, and names nothing; the ring stays where it is.
                unsafe { ring.ring_mut().push_unchecked(rawring::Sqe::from_raw(bad)) }.expect("room");
            }
            let state = (reader, [0_u8; 9]);
            ring.start(state, |(reader, bytes)| Read::new(&*reader, bytes).into()).expect("room");
            if published {
                assert_eq!((ring.submit(), ring.ring().pending()), (Ok(1), 1));
            }
            setrlimit(Resource::As, Rlimit { current: Some(1 << 20), ..lift }).expect("a limit");
            let resized = ring.resize(Resize::new(4096));
            let ended = ring.shutdown();
            setrlimit(Resource::As, lift).expect("no limit");
            assert!(matches!(resized, Err(ResizeError::Unmapped(_))), "{resized:?}");
            let mut drained = ended.expect("nothing is in flight");
            assert_eq!((drained.ended.len(), drained.unsubmitted.len()), (0, 1));
            // The kernel had seen nothing of it, or is told that it is gone.
            assert_eq!(drained.ring.submit(), Ok(0), "published: {published}");
            let bad = drained.ring.completions().count();
            assert_eq!(bad, usize::from(published));
            exercise(&mut drained.ring);
            let (reader, _) = drained.unsubmitted.pop().expect("a state");
            assert_eq!(rustix::io::read(&reader, &mut [0; 16]), Ok(9), "nobody has read");
        }
    });
}

#[test]
fn item_31_operations_in_flight_do_not_notice() {
    needs!(common::since(RESIZE));
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let mut ring = InFlight::new(deferred(2).build().expect("a ring")).expect("fit");
    let reader = std::sync::Arc::new(reader);
    for _ in 0..2 {
        ring.start((reader.clone(), [0_u8; 4]), |(reader, bytes)| Read::new(&**reader, bytes).into()).expect("room");
    }
    ring.submit().expect("submitted");
    ring.start((reader.clone(), [0_u8; 4]), |(reader, bytes)| Read::new(&**reader, bytes).into()).expect("room");
    ring.resize(Resize::new(64)).expect("resized");
    assert_eq!((ring.in_flight(), ring.room()), (3, 63));
    assert_eq!(rustix::io::write(&writer, b"onetwosix..."), Ok(12));
    let mut seen = 0;
    while seen < 3 {
        let Event::Done(done) = ring.wait_event().expect("waited") else { panic!("not an end") };
        assert_eq!(done.cqe.result(), Ok(4));
        seen += 1;
    }
    // And while it drains.
    ring.start((reader.clone(), [0_u8; 4]), |(reader, bytes)| Read::new(&**reader, bytes).into()).expect("room");
    ring.submit().expect("submitted");
    ring.resize(Resize::new(2)).expect("resized");
    let mut drained = ring.shutdown().expect("drained");
    assert_eq!(drained.ended[0].cqe.result(), Err(Errno::CANCELED));
    exercise(&mut drained.ring);
}

#[test]
fn item_31_an_entry_of_two_slots_is_not_cut() {
    const TEST: &str = "item_31_an_entry_of_two_slots_is_not_cut";
    needs!(common::since(RESIZE));
    if !kernel_has(TEST, SetupFlags::SQE_MIXED) {
        return;
    }
    for published in [false, true] {
        let mut ring = deferred(8).sqe_mixed().build().expect("a ring");
        if published {
            // A malformed entry stops the submission, so that the rest is queued and seen.
            // SAFETY: it names nothing.
            let bad = unsafe { rawring::Sqe::from_raw(rawring::RawSqe { opcode: 255, ..rawring::RawSqe::ZERO }) };
            // SAFETY: as above.
            unsafe { ring.push_unchecked(bad) }.expect("room");
            push(&mut ring, [1, 2]);
        } else {
            push(&mut ring, [0, 1, 2]);
        }
        // At slots 3 and 4: cut in a queue of four.
        ring.push128(Nop128::new().user_data(3)).expect("room");
        if published {
            assert_eq!(ring.submit(), Ok(1));
        }
        let left = ring.pending();
        assert_eq!(ring.resize(Resize::new(4)), refused(Errno::OVERFLOW));
        assert_eq!(ring.pending(), left);
        ring.resize(Resize::new(16)).expect("resized");
        ring.submit_and_wait(4).expect("submitted");
        assert_eq!(keys(&mut ring), [0, 1, 2, 3]);
        // In the longer queue the next one is not at the end.
        push(&mut ring, [4, 5]);
        ring.push128(Nop128::new().user_data(6)).expect("room");
        assert_eq!(ring.pending(), 4, "no filler");
        ring.submit_and_wait(3).expect("submitted");
        assert_eq!(keys(&mut ring), [4, 5, 6]);
    }
}

#[test]
fn after_a_resize_a_queue_at_rest_makes_no_calls() {
    needs!(common::since(RESIZE));
    // The kernel sets a flag that asks for a visit. Rings that are to have it lose it with the next work of the task's.
    for setup in [deferred(4), deferred(4).taskrun_flag()] {
        let mut ring = setup.build().expect("a ring");
        ring.resize(Resize::new(8)).expect("resized");
        if ring.setup_flags().contains(SetupFlags::TASKRUN_FLAG) {
            let soon = Timespec::from(Duration::from_millis(1));
            // SAFETY: the time outlives the operation, which is waited for.
            unsafe { ring.push_unchecked(Timeout::new(&soon)) }.expect("room");
            while ring.ready() == 0 {
                ring.submit_and_wait(1).expect("waited");
            }
        }
        thread::scope(|scope| {
            // Any call would be refused here.
            scope.spawn(|| assert_eq!(ring.submit(), Ok(0))).join().expect("the other thread");
        });
    }
}

#[test]
fn a_ring_without_the_registration_says_so() {
    if common::since(RESIZE).is_ok() {
        return skipped("a_ring_without_the_registration_says_so", "for kernels before Linux 6.13");
    }
    if let Err(reason) = has_setup(SetupFlags::DEFER_TASKRUN) {
        return skipped("a_ring_without_the_registration_says_so", &reason);
    }
    let mut ring = deferred(4).build().expect("a ring");
    push(&mut ring, [1]);
    assert_eq!(ring.resize(Resize::new(8)), refused(Errno::INVAL));
    assert_eq!(ring.submit_and_wait(1).expect("submitted").wait, WaitEnd::Ready);
    assert_eq!(keys(&mut ring), [1]);
}
