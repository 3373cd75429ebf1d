//! Arbitrary uses of queues that hold entries of both sizes, compared with a plain list of what was pushed or posted.
//! Positions start anywhere. Queues of one size are compared beside this file.

use std::collections::VecDeque;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::kernel::Shared;
use super::*;

const LINKS: u8 = sys::IOSQE_IO_LINK | sys::IOSQE_IO_HARDLINK;

#[derive(Clone, Debug)]
enum Step {
    Push {
        flags: u8,
    },
    PushWide {
        flags: u8,
    },
    Plan,
    /// The kernel takes up to this many slots.
    Take(u32),
    /// What is pushed from here on may be retracted.
    Mark,
    Retract,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flags = prop::sample::select(vec![0, sys::IOSQE_IO_LINK, sys::IOSQE_IO_HARDLINK, sys::IOSQE_ASYNC]);
    let step = prop_oneof![
        3 => flags.clone().prop_map(|flags| Step::Push { flags }),
        5 => flags.prop_map(|flags| Step::PushWide { flags }),
        2 => Just(Step::Plan),
        3 => (0u32..12).prop_map(Step::Take),
        2 => Just(Step::Mark),
        2 => Just(Step::Retract),
    ];
    prop::collection::vec(step, 0..100)
}

fn narrow(key: u64, flags: u8) -> RawSqe {
    RawSqe { flags, opcode: sys::IORING_OP_NOP, ..entry(key) }
}

fn wide(key: u64, flags: u8) -> (RawSqe, [u8; 64]) {
    // All bits set where an entry has its flags, had it been one.
    (RawSqe { flags, opcode: sys::IORING_OP_NOP128, ..entry(key) }, [0xff; 64])
}

fn filler(flags: u8) -> RawSqe {
    RawSqe {
        flags: sys::IOSQE_CQE_SKIP_SUCCESS | flags,
        opcode: sys::IORING_OP_NOP,
        user_data: UserData::FILLER.0,
        ..RawSqe::ZERO
    }
}

/// What a submission queue of `entries` slots has to hold, unit by unit.
struct Model {
    mixed: bool,
    entries: u32,
    /// Each slot's content, from the one that the kernel takes next: one unit, or two in a queue of wide slots.
    slots: VecDeque<RawSqe>,
    /// The position of the slot behind the last.
    next: u32,
    /// How many slots of the last ones were pushed since the last plan.
    fresh: usize,
}

impl Model {
    /// The index of the next slot.
    fn index(&self) -> u32 {
        self.next & (self.entries - 1)
    }

    fn room(&self) -> usize {
        self.entries as usize - self.slots.len()
    }

    fn add(&mut self, unit: RawSqe) {
        self.slots.push_back(unit);
        self.next = self.next.wrapping_add(1);
        self.fresh += 1;
    }

    /// The links of the entry that was pushed last, if the kernel cannot have seen it.
    fn open_link(&self) -> u8 {
        let (mut flags, mut units) = (0, self.slots.iter().skip(self.slots.len() - self.fresh));
        while let Some(unit) = units.next() {
            flags = unit.flags & LINKS;
            if unit.opcode == sys::IORING_OP_NOP128 && self.mixed {
                units.next();
            }
        }
        flags
    }

    /// Whether there was room.
    fn push_wide(&mut self, key: u64, flags: u8) -> bool {
        let (first, second) = wide(key, flags);
        if !self.mixed {
            let fits = self.room() > 0;
            if fits {
                self.add(first);
            }
            return fits;
        }
        let at_end = self.index() == self.entries - 1;
        if self.room() < 2 + usize::from(at_end) {
            return false;
        }
        if at_end {
            self.add(filler(self.open_link()));
        }
        self.add(first);
        self.add(RawSqe::from_bytes(second));
        true
    }

    /// Forgets the last slots.
    fn retract(&mut self, count: usize) {
        self.slots.truncate(self.slots.len() - count);
        self.next = self.next.wrapping_sub(count as u32);
        self.fresh = self.fresh.saturating_sub(count);
    }
}

/// Runs the steps on a queue and on its model.
fn compare(log_entries: u32, shift: u32, mixed: bool, rewind: bool, start: u32, steps: &[Step]) -> TestCaseResult {
    let start = if rewind { 0 } else { start };
    let entries = 1 << log_entries;
    let shared = Shared::new(entries, shift, start);
    let mut sq = shared.sq(Mode { mixed, rewind, ..Mode::default() });
    let mut model = Model { mixed, entries, slots: VecDeque::new(), next: start, fresh: 0 };
    let mut mark = None;
    for (key, step) in (1u64..).zip(steps) {
        match *step {
            Step::Push { flags } => {
                let fits = model.room() > 0;
                prop_assert_eq!(sq.push(&narrow(key, flags)).is_ok(), fits);
                if fits {
                    model.add(narrow(key, flags));
                }
            }
            Step::PushWide { flags } => {
                let (first, second) = wide(key, flags);
                prop_assert_eq!(sq.push_wide(&first, &second).is_ok(), model.push_wide(key, flags));
            }
            Step::Plan => {
                let submit = sq.plan(0, 0).map_or(0, |enter| enter.to_submit);
                prop_assert_eq!(submit as usize, model.slots.len());
                model.fresh = 0;
            }
            Step::Take(n) => {
                // Only what was published is there to be taken, and never half of an entry.
                let published = model.slots.len() - model.fresh;
                let mut count = published.min(n as usize);
                let (mut at, mut whole) = (0, 0);
                while at < count {
                    at += if mixed && model.slots[at].opcode == sys::IORING_OP_NOP128 { 2 } else { 1 };
                    whole = if at <= count { at } else { whole };
                }
                count = whole;
                let (head, units) = if rewind {
                    (0, (0..count as u32).map(|i| shared.slot(i << shift)).collect())
                } else {
                    (shared.sq_head.load(Ordering::Relaxed), shared.take(count as u32))
                };
                for (i, unit) in units.iter().enumerate() {
                    prop_assert_eq!(unit, &model.slots[i]);
                    let index = head.wrapping_add(i as u32) & (entries - 1);
                    if unit.opcode == sys::IORING_OP_NOP128 {
                        if mixed {
                            prop_assert_ne!(index, entries - 1, "an entry of two slots is in one piece");
                        } else if shift == 1 {
                            prop_assert_eq!(shared.slot((index << 1) + 1), RawSqe::from_bytes([0xff; 64]));
                        }
                    } else if shift == 1 {
                        prop_assert_eq!(shared.slot((index << 1) + 1), RawSqe::ZERO, "nothing of an earlier entry");
                    }
                }
                sq.taken(units.len() as u32);
                model.slots.drain(..units.len());
                if rewind {
                    model.next = model.slots.len() as u32;
                    model.fresh = model.slots.len();
                    mark = None;
                }
            }
            Step::Mark => mark = Some((sq.next(), model.next)),
            Step::Retract => {
                if let Some((from, at)) = mark.take() {
                    let count = (model.next.wrapping_sub(at) as usize).min(model.slots.len());
                    prop_assert_eq!(sq.retract(from) as usize, count);
                    model.retract(count);
                }
            }
        }
        prop_assert_eq!((sq.len() as usize, sq.room() as usize), (model.slots.len(), model.room()));
    }
    Ok(())
}

/// How a completion comes.
#[derive(Clone, Debug)]
enum Arrival {
    Narrow,
    Wide,
    /// A filler where no wide completion follows it: the kernel may leave one anywhere.
    Filler,
}

/// What a program does with its completions.
#[derive(Clone, Debug)]
enum Reap {
    Post(Vec<Arrival>),
    /// Iterates over a snapshot, up to this many, and publishes after this many.
    Iterate(usize, usize),
    Pop(usize),
    Publish,
}

fn reaps() -> impl Strategy<Value = Vec<Reap>> {
    let arrival = prop_oneof![4 => Just(Arrival::Narrow), 4 => Just(Arrival::Wide), 1 => Just(Arrival::Filler)];
    let reap = prop_oneof![
        prop::collection::vec(arrival, 1..5).prop_map(Reap::Post),
        (0usize..6, 0usize..6).prop_map(|(take, publish)| Reap::Iterate(take, publish)),
        (0usize..6).prop_map(Reap::Pop),
        Just(Reap::Publish),
    ];
    prop::collection::vec(reap, 0..100)
}

/// The kernel posts one completion to a mixed queue, as far as there is room: a wide one in one piece, behind a filler
/// where that needs it.
fn post_mixed(shared: &Shared, entries: u32, key: u64, arrival: &Arrival) -> Option<(u64, Option<[u64; 2]>)> {
    let tail = shared.cq_tail.load(Ordering::Relaxed);
    let room = entries - tail.wrapping_sub(shared.cq_head.load(Ordering::Relaxed));
    let skip = (0, sys::IORING_CQE_F_SKIP);
    let last = tail & (entries - 1) == entries - 1;
    match arrival {
        Arrival::Narrow => shared.post(key, 0).then_some((key, None)),
        Arrival::Wide if room < if last { 3 } else { 2 } => None,
        Arrival::Wide => {
            let whole = [skip, (key, sys::IORING_CQE_F_32), (!key, 7)];
            let slots = &whole[usize::from(!last)..];
            assert_eq!(shared.post_all(slots), slots.len());
            // The second slot's words: user_data, then result and flags.
            let second = if cfg!(target_endian = "little") { 7 << 32 } else { 7 };
            Some((key, Some([!key, second])))
        }
        Arrival::Filler => {
            shared.post(skip.0, skip.1);
            None
        }
    }
}

fn reap(entries: u32, start: u32, steps: &[Reap]) -> TestCaseResult {
    let shared = Shared::new(entries, 0, start);
    let mut cq = shared.cq(true);
    let (mut posted, mut key) = (VecDeque::new(), 0);
    for step in steps {
        let mut seen = Vec::new();
        match step {
            Reap::Post(arrivals) => {
                for arrival in arrivals {
                    key += 1;
                    posted.extend(post_mixed(&shared, entries, key, arrival));
                }
            }
            Reap::Iterate(take, publish) => {
                let mut completions = cq.snapshot();
                for i in 0..*take {
                    if i == *publish {
                        completions.publish();
                    }
                    seen.extend(completions.next());
                }
            }
            Reap::Pop(n) => {
                let mut left = 0;
                // SAFETY: it is what was left.
                (0..*n).for_each(|_| seen.extend(unsafe { cq.pop(&mut left) }));
            }
            Reap::Publish => cq.publish(),
        }
        for cqe in seen {
            prop_assert_eq!(Some((cqe.user_data().0, cqe.big())), posted.pop_front());
        }
        prop_assert!(cq.ready() as usize >= posted.len());
    }
    // Whatever is left comes out, and then the queue is empty for both sides.
    while let Some(cqe) = pop(&mut cq) {
        prop_assert_eq!(Some((cqe.user_data().0, cqe.big())), posted.pop_front());
    }
    cq.publish();
    prop_assert_eq!((posted.len(), cq.ready()), (0, 0));
    prop_assert_eq!(shared.cq_head.load(Ordering::Relaxed), shared.cq_tail.load(Ordering::Relaxed));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn item_22_a_queue_of_both_sizes_holds_what_was_pushed(start: u32, log_entries in 1u32..4, steps in steps()) {
        compare(log_entries, 0, true, false, start, &steps)?;
    }

    #[test]
    fn item_27_a_queue_of_wide_slots_holds_what_was_pushed(start: u32, log_entries in 0u32..5, steps in steps()) {
        compare(log_entries, 1, false, false, start, &steps)?;
    }

    #[test]
    fn item_32_a_rewinding_queue_holds_what_was_pushed(
        (shift, mixed) in prop::sample::select(vec![(0, false), (1, false), (0, true)]),
        log_entries in 1u32..4,
        steps in steps(),
    ) {
        let fits = |step: &&Step| shift == 1 || mixed || !matches!(step, Step::PushWide { .. });
        let steps: Vec<_> = steps.iter().filter(fits).cloned().collect();
        compare(log_entries, shift, mixed, true, 0, &steps)?;
    }

    #[test]
    fn item_21_completions_of_both_sizes_come_out_once_and_in_order(
        start: u32,
        log_entries in 1u32..5,
        steps in reaps(),
    ) {
        reap(1 << log_entries, start, &steps)?;
    }
}
