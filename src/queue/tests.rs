//! The queues over plain words, with the test in the kernel's part. Positions start just below the wrap.

use proptest::prelude::*;

use super::*;
use crate::cqe::Cqe;
use crate::sqe::RawSqe;
use crate::sync::Ordering;
use crate::user_data::UserData;
use kernel::Shared;
use rawring_sys as sys;

mod arbitrary;
mod kernel;
#[cfg(loom)]
mod models;
#[cfg(not(loom))]
mod threads;

const START: u32 = u32::MAX - 1;

fn entry(user_data: u64) -> RawSqe {
    RawSqe { user_data, ..RawSqe::ZERO }
}

fn keys(entries: &[RawSqe]) -> Vec<u64> {
    entries.iter().map(|sqe| sqe.user_data).collect()
}

/// Takes one completion, as a door does that knows of none.
fn pop(cq: &mut Cq) -> Option<crate::Cqe> {
    // SAFETY: none is said to be left.
    unsafe { cq.pop(&mut 0) }
}

#[test]
fn item_02_entries_are_published_once_a_batch() {
    let shared = Shared::new(4, 0, START);
    let mut sq = shared.sq(Mode::default());
    for key in 0..3 {
        sq.push(&entry(key)).expect("room");
        assert_eq!(shared.sq_tail.load(Ordering::Relaxed), START, "nothing is visible before plan");
    }
    let enter = sq.plan(0, 0).expect("entries wait");
    assert_eq!(enter, Enter { to_submit: 3, min_complete: 0, flags: 0 });
    assert_eq!(shared.sq_tail.load(Ordering::Relaxed), START.wrapping_add(3));
    assert_eq!(keys(&shared.take(9)), [0, 1, 2]);
    assert_eq!(sq.plan(0, 0), None, "nothing left, nothing asked: no system call");
}

#[test]
fn item_31_a_queue_that_moves_takes_along_what_is_left_and_where_it_ends() {
    let (old, new) = (Shared::new(4, 0, START), Shared::new(8, 0, START));
    let mut sq = old.sq(Mode::default());
    (0..3).for_each(|key| sq.push(&entry(key)).expect("room"));
    let last = sq.next() - 1;
    sq.plan(0, 0);
    assert_eq!(keys(&old.take(1)), [0]);
    // As a kernel leaves it: positions are the same there, and it has seen all three.
    new.sq_head.store(old.sq_head.load(Ordering::Relaxed), Ordering::Relaxed);
    new.sq_tail.store(old.sq_tail.load(Ordering::Relaxed), Ordering::Relaxed);
    sq.close();
    assert_eq!((sq.room(), sq.push(&entry(9))), (0, Err(NoSlot::Full)));
    assert_eq!(sq.retract(last), 1, "the kernel has seen it, and taken nothing since");
    let (words, slots) = new.sq_parts();
    sq.move_to(words, slots, 0);
    assert_eq!((sq.len(), sq.room(), new.entries()), (1, 7, 1), "what was taken back is in neither");
    assert_eq!(keys(&new.take(9)), [1]);
}

#[test]
fn item_03_a_short_submit_leaves_its_slots_taken() {
    let shared = Shared::new(4, 0, START);
    let mut sq = shared.sq(Mode::default());
    for key in 0..4 {
        sq.push(&entry(key)).expect("room");
    }
    assert_eq!(sq.push(&entry(9)), Err(NoSlot::Full));
    sq.plan(0, 0);
    assert_eq!(keys(&shared.take(1)), [0]);
    assert_eq!((sq.len(), sq.room()), (3, 1), "the head is the kernel's, not a cached one");
    sq.push(&entry(4)).expect("one slot is free");
    assert_eq!(sq.push(&entry(9)), Err(NoSlot::Full));
    assert_eq!(sq.plan(0, 0).map(|enter| enter.to_submit), Some(4));
    assert_eq!(keys(&shared.take(9)), [1, 2, 3, 4]);
}

#[test]
fn item_03_positions_wrap() {
    assert_eq!(Pos(1).since(Pos(u32::MAX)), 2);
    assert_eq!(Pos(u32::MAX).plus(3), Pos(2));
}

#[test]
fn item_04_a_snapshot_ends_even_if_completions_keep_coming() {
    let shared = Shared::new(4, 0, START);
    let mut cq = shared.cq(false);
    shared.post(0, 0);
    shared.post(1, 0);
    let mut seen = Vec::new();
    for cqe in cq.snapshot().take(9) {
        seen.push(cqe.user_data().0);
        shared.post(100, 0);
    }
    assert_eq!(seen, [0, 1]);
    assert_eq!(cq.ready(), 2, "what came during the iteration is still there");
}

#[test]
fn item_04_the_head_is_published_on_drop_or_early() {
    let shared = Shared::new(4, 0, START);
    let mut cq = shared.cq(false);
    (0..4).for_each(|key| assert!(shared.post(key, 0)));
    let mut completions = cq.snapshot();
    completions.next();
    completions.next();
    assert!(!shared.post(9, 0), "consumed slots are not free before they are published");
    completions.publish();
    assert!(shared.post(9, 0));
    completions.next();
    drop(completions);
    assert_eq!(shared.cq_head.load(Ordering::Relaxed), START.wrapping_add(3));
    assert_eq!(cq.ready(), 2);
}

#[test]
fn item_05_a_sleeping_poller_is_woken_after_the_tail_moved() {
    let shared = Shared::new(4, 0, START);
    let mut sq = shared.sq(Mode { polled: true, ..Mode::default() });
    sq.push(&entry(1)).expect("room");
    assert_eq!(sq.plan(0, 0), None, "an awake thread needs no call");
    assert_eq!(shared.sq_tail.load(Ordering::Relaxed), START.wrapping_add(1));
    shared.sq_flags.store(sys::IORING_SQ_NEED_WAKEUP, Ordering::Relaxed);
    sq.push(&entry(2)).expect("room");
    let enter = sq.plan(0, 0).expect("the thread sleeps");
    assert_eq!(enter.flags, sys::IORING_ENTER_SQ_WAKEUP);
    assert_eq!(shared.sq_tail.load(Ordering::Relaxed), START.wrapping_add(2), "published before waking");
    assert!(sq.plan(0, 0).is_some(), "it is woken even when nothing new was pushed: it may have missed the last");
}

#[test]
fn item_07_overflow_makes_every_plan_enter() {
    for polled in [false, true] {
        let shared = Shared::new(4, 0, START);
        let mut sq = shared.sq(Mode { polled, ..Mode::default() });
        assert_eq!(sq.plan(0, 0), None);
        shared.sq_flags.store(sys::IORING_SQ_CQ_OVERFLOW, Ordering::Relaxed);
        assert_eq!(sq.plan(0, 0).map(|enter| enter.flags), Some(sys::IORING_ENTER_GETEVENTS), "polled: {polled}");
        assert!(sq.asks_for_visit());
    }
}

#[test]
fn item_08_deferred_work_makes_plan_and_peek_enter() {
    let shared = Shared::new(4, 0, START);
    let mut sq = shared.sq(Mode::default());
    assert!(!sq.asks_for_visit());
    shared.sq_flags.store(sys::IORING_SQ_TASKRUN, Ordering::Relaxed);
    assert_eq!(sq.plan(0, 0).map(|enter| enter.flags), Some(sys::IORING_ENTER_GETEVENTS));
    assert!(sq.asks_for_visit());
    shared.sq_flags.store(0, Ordering::Relaxed);
    assert!(
        shared.sq(Mode { fetch: true, ..Mode::default() }).asks_for_visit(),
        "without the flag, peek always enters"
    );
}

#[test]
fn item_21_mixed_completions_take_one_or_two_slots_and_fillers_are_passed_over() {
    let shared = Shared::new(8, 0, START);
    let mut cq = shared.cq(true);
    shared.post(0, sys::IORING_CQE_F_SKIP);
    shared.post(1, 0);
    shared.post(2, sys::IORING_CQE_F_32);
    shared.post(0xaaaa, 0xbbbb);
    shared.post(3, 0);
    shared.post(0, sys::IORING_CQE_F_SKIP);
    let seen: Vec<Cqe> = cq.snapshot().collect();
    assert_eq!(seen.iter().map(|cqe| cqe.user_data().0).collect::<Vec<_>>(), [1, 2, 3]);
    let second = if cfg!(target_endian = "little") { 0xbbbb_0000_0000 } else { 0xbbbb };
    assert_eq!(seen[1].big(), Some([0xaaaa, second]), "the next slot's bytes: user_data, then res and flags");
    assert_eq!(seen[0].big(), None);
    assert_eq!(shared.cq_head.load(Ordering::Relaxed), START.wrapping_add(6), "all slots are given back");
    // A kernel that announces a wide completion in the last slot of a snapshot moves the head no further than the tail.
    shared.post(4, sys::IORING_CQE_F_32);
    assert_eq!(cq.snapshot().count(), 1);
    assert_eq!(shared.cq_head.load(Ordering::Relaxed), START.wrapping_add(7));
}

#[test]
fn item_22_a_wide_entry_at_the_last_slot_gets_a_filler_that_keeps_the_link() {
    for (linked, link) in [(true, sys::IOSQE_IO_LINK), (false, 0)] {
        let shared = Shared::new(8, 0, 0);
        let mut sq = shared.sq(Mode { mixed: true, ..Mode::default() });
        (0..6).for_each(|key| sq.push(&entry(key)).expect("room"));
        sq.plan(0, 0);
        shared.take(6);
        let flags = if linked { sys::IOSQE_IO_LINK } else { 0 };
        sq.push(&RawSqe { flags, ..entry(6) }).expect("room");
        sq.push_wide(&entry(7), &[7; 64]).expect("room");
        let filler = shared.slot(7);
        assert_eq!(filler.opcode, sys::IORING_OP_NOP);
        assert_eq!(filler.flags, sys::IOSQE_CQE_SKIP_SUCCESS | link);
        assert_eq!((shared.slot(0).user_data, shared.slot(1)), (7, RawSqe::from_bytes([7; 64])));
        assert_eq!(sq.len(), 4);
    }
}

#[test]
fn item_22_a_filler_that_fails_with_its_chain_is_nobodys_completion() {
    let shared = Shared::new(8, 0, 7);
    let mut sq = shared.sq(Mode { mixed: true, ..Mode::default() });
    sq.push_wide(&entry(1), &[0; 64]).expect("room");
    let filler = shared.slot(7);
    // The kernel takes the flag that leaves its completion out off it, when an entry before it in its chain fails.
    let mut cq = shared.cq(true);
    for key in [0, filler.user_data, 2] {
        assert!(shared.post(key, 0));
    }
    let keys: Vec<u64> = cq.snapshot().map(|cqe| cqe.user_data().0).collect();
    assert_eq!(keys, [0, 2], "no key of a user's is taken for the filler's");
    assert!(UserData(filler.user_data).is_reserved(), "and no user can have it");
    assert_eq!(cq.ready(), 0);
}

#[test]
fn item_22_a_fillers_link_is_that_of_the_entry_and_not_of_its_second_half() {
    let shared = Shared::new(8, 0, 5);
    let mut sq = shared.sq(Mode { mixed: true, ..Mode::default() });
    // The byte of the second half that lies where flags are in an entry has all bits set.
    sq.push_wide(&entry(1), &[0xff; 64]).expect("room");
    sq.push_wide(&entry(2), &[0; 64]).expect("room");
    assert_eq!(shared.slot(7).flags, sys::IOSQE_CQE_SKIP_SUCCESS);
}

#[test]
fn item_22_room_is_checked_for_the_filler_too() {
    let shared = Shared::new(4, 0, 3);
    let mut sq = shared.sq(Mode { mixed: true, ..Mode::default() });
    shared.sq_head.store(1, Ordering::Relaxed);
    assert_eq!(sq.room(), 2);
    assert_eq!(sq.push_wide(&entry(1), &[0; 64]), Err(NoSlot::Full), "two slots are free, three are needed");
    let narrow = Shared::new(4, 0, 0);
    assert_eq!(narrow.sq(Mode::default()).push_wide(&entry(1), &[0; 64]), Err(NoSlot::NotWide));
}

#[test]
fn item_27_a_reused_slot_of_128_bytes_is_overwritten_whole() {
    let shared = Shared::new(2, 1, START);
    let mut sq = shared.sq(Mode::default());
    for _ in 0..2 {
        sq.push_wide(&entry(1), &[0xff; 64]).expect("room");
    }
    sq.plan(0, 0);
    shared.take(2);
    sq.push(&entry(2)).expect("room");
    assert_eq!(shared.slot(0).user_data, 2);
    assert_eq!(shared.slot(1), RawSqe::ZERO, "the second half must not keep another entry's bytes");
}

#[test]
fn item_32_a_rewinding_ring_keeps_what_a_short_submit_left() {
    let shared = Shared::new(4, 0, 0);
    let mut sq = shared.sq(Mode { rewind: true, ..Mode::default() });
    (0..4).for_each(|key| sq.push(&entry(key)).expect("room"));
    assert_eq!(sq.plan(0, 0).map(|enter| enter.to_submit), Some(4));
    assert_eq!(shared.sq_tail.load(Ordering::Relaxed), 0, "the tail stays 0");
    sq.taken(3);
    assert_eq!(sq.len(), 1);
    assert_eq!(shared.slot(0).user_data, 3, "the rest moves to the front");
    sq.push(&entry(4)).expect("room");
    assert_eq!(sq.plan(0, 0).map(|enter| enter.to_submit), Some(2));
    sq.taken(2);
    assert_eq!(sq.len(), 0);
}

#[test]
fn retracting_takes_back_what_the_kernel_cannot_have_seen() {
    let shared = Shared::new(8, 0, START);
    let mut sq = shared.sq(Mode::default());
    sq.push(&entry(0)).expect("room");
    let mark = sq.next();
    (1..5).for_each(|key| sq.push(&entry(key)).expect("room"));
    sq.plan(0, 0);
    shared.take(2);
    assert_eq!(sq.retract(mark), 3, "2, 3 and 4: entry 1 was taken by the kernel");
    assert_eq!(shared.sq_tail.load(Ordering::Relaxed), START.wrapping_add(2), "published entries are unpublished");
    assert_eq!(sq.plan(0, 0), None);

    let polled = Shared::new(8, 0, START);
    let mut sq = polled.sq(Mode { polled: true, ..Mode::default() });
    let mark = sq.next();
    sq.push(&entry(0)).expect("room");
    sq.plan(0, 0);
    sq.push(&entry(1)).expect("room");
    assert_eq!(sq.retract(mark), 1, "what a polling thread may have seen stays");
    assert_eq!(polled.sq_tail.load(Ordering::Relaxed), START.wrapping_add(1));
}

#[test]
fn positions_that_cannot_be_right_make_nothing_go_wrong() {
    for (lie, plausible) in
        [(0, true), (1, true), (START, true), (5, false), (0x8000_0000, false), (u32::MAX - 9, false)]
    {
        let shared = Shared::new(4, 0, START);
        let mut sq = shared.sq(Mode::default());
        let mut cq = shared.cq(true);
        shared.cq_tail.store(lie, Ordering::Relaxed);
        let ready = lie.wrapping_sub(START);
        assert_eq!(cq.ready(), if plausible { ready } else { 0 });
        assert!(cq.snapshot().count() <= ready as usize);
        let consumed = shared.cq_head.load(Ordering::Relaxed);
        shared.cq_tail.store(consumed.wrapping_add(1), Ordering::Relaxed);
        assert_eq!(cq.ready(), 1, "with the truth, all is well again");

        let start = sq.next();
        sq.push(&entry(1)).expect("room");
        sq.plan(0, 0);
        shared.sq_head.store(lie, Ordering::Relaxed);
        // One entry is queued: the head can be before or behind it.
        if lie == START || lie == START.wrapping_add(1) {
            continue;
        }
        assert_eq!(sq.room(), 0);
        assert_eq!(sq.plan(0, 0).map(|enter| enter.to_submit), Some(4));
        assert_eq!(sq.retract(start), 0, "an entry that may have been seen is not taken back");
        shared.sq_head.store(START, Ordering::Relaxed);
        assert_eq!(keys(&shared.take(9)), [1]);
    }
}

#[test]
fn slots_that_were_found_free_are_not_found_twice() {
    let shared = Shared::new(4, 0, START);
    let mut sq = shared.sq(Mode::default());
    sq.push(&entry(1)).expect("room");
    // The other three were found free, and stay so whatever the head says.
    shared.sq_head.store(0x8000_0000, Ordering::Relaxed);
    for number in 2..5 {
        sq.push(&entry(number)).expect("room");
    }
    assert_eq!(sq.push(&entry(5)), Err(NoSlot::Full), "a head that cannot be right frees nothing");
    shared.sq_head.store(START, Ordering::Relaxed);
    assert_eq!(sq.push(&entry(5)), Err(NoSlot::Full));
    sq.plan(0, 0);
    assert_eq!(keys(&shared.take(9)), [1, 2, 3, 4]);
    sq.push(&entry(5)).expect("room");
}

proptest! {
    /// Whatever is pushed, planned and taken in whatever steps: the kernel sees each entry once and in order.
    #[test]
    fn every_entry_is_seen_once_and_in_order(
        start in any::<u32>(),
        log_entries in 0u32..5,
        steps in prop::collection::vec((0u32..3, 0u32..9), 0..200),
    ) {
        let shared = Shared::new(1 << log_entries, 0, start);
        let mut sq = shared.sq(Mode::default());
        let (mut pushed, mut seen) = (0u64, 0u64);
        for (kind, n) in steps {
            match kind {
                0 => for _ in 0..n {
                    if sq.push(&entry(pushed)).is_ok() {
                        pushed += 1;
                    }
                },
                1 => {
                    let pending = sq.len();
                    prop_assert_eq!(sq.plan(0, 0).map_or(0, |enter| enter.to_submit), pending);
                }
                _ => for sqe in shared.take(n) {
                    prop_assert_eq!(sqe.user_data, seen);
                    seen += 1;
                },
            }
            prop_assert_eq!(u64::from(sq.len()), pushed - seen);
        }
    }

    /// Completions come out once and in order, however iteration is interrupted and published.
    #[test]
    fn every_completion_is_seen_once_and_in_order(
        start in any::<u32>(),
        log_entries in 0u32..5,
        steps in prop::collection::vec((0u32..4, 0usize..9), 0..200),
    ) {
        let shared = Shared::new(1 << log_entries, 0, start);
        let mut cq = shared.cq(false);
        let (mut posted, mut seen) = (0u64, 0u64);
        for (kind, n) in steps {
            match kind {
                0 => for _ in 0..n {
                    posted += u64::from(shared.post(posted, 0));
                },
                1 => for cqe in cq.snapshot().take(n) {
                    prop_assert_eq!(cqe.user_data().0, seen);
                    seen += 1;
                },
                2 => {
                    let mut completions = cq.snapshot();
                    if let Some(cqe) = completions.next() {
                        prop_assert_eq!(cqe.user_data().0, seen);
                        seen += 1;
                        completions.refresh();
                    }
                }
                _ => if let Some(cqe) = pop(&mut cq) {
                    prop_assert_eq!(cqe.user_data().0, seen);
                    seen += 1;
                },
            }
            prop_assert_eq!(u64::from(cq.ready()), posted - seen);
        }
    }
}
