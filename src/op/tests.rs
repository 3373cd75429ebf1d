//! Tests of the table itself: whatever holds for every row is checked over [`all`], rows of other files and of later
//! releases included. What operations do is tested on rings (`tests/ops_*.rs`); what builders store, in [`built`] and,
//! for arbitrary operands, in [`arbitrary`].

mod arbitrary;
mod built;
mod decoded;
mod drawn;
mod drawn_memory;
mod source;

pub(crate) use source::Source;

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// The bytes of a field.
fn bytes(at: At) -> core::ops::Range<usize> {
    at.offset()..at.offset() + at.size()
}

fn overlap(a: At, b: At) -> bool {
    bytes(a).start < bytes(b).end && bytes(b).start < bytes(a).end
}

/// A value that no row gives a meaning of its own.
const ORDINARY: u64 = 0x7f;

/// An entry with what `new` stores whatever its arguments are, 1 where the row only asks for something, and where a
/// required operand decides which row it is, a value that is no other row's.
fn template(row: &OpInfo) -> RawSqe {
    let mut sqe = RawSqe::ZERO;
    sqe.opcode = row.opcode.0;
    let others = all().filter(|other| other.opcode == row.opcode).flat_map(|other| other.marks);
    for (at, value) in others.filter_map(|mark| if let Mark::Is(at, value) = *mark { Some((at, value)) } else { None })
    {
        assert_ne!(value, ORDINARY);
        if row.operands.iter().any(|operand| operand.required && operand.at.contains(&at)) {
            sqe.set(at, ORDINARY);
        }
    }
    for &(at, value) in row.defaults {
        sqe.set(at, value);
    }
    for mark in row.marks {
        match *mark {
            Mark::Has(at, bits) => sqe.set(at, sqe.get(at) | bits),
            Mark::Is(at, value) => sqe.set(at, value),
            Mark::NonZero(at) => sqe.set(at, 1),
        }
    }
    sqe
}

/// Where a row keeps flags: words that several operands and marks share, bit by bit.
fn flag_words(row: &OpInfo) -> Vec<At> {
    let named = row.operands.iter().filter(|operand| matches!(operand.kind, Kind::Flags(_)));
    let set = row.operands.iter().flat_map(|operand| operand.sets.iter().map(|(at, _)| *at));
    // The second place of a poll mask is the word that says what to do with it.
    let masks = row.operands.iter().filter(|operand| matches!(operand.kind, Kind::PollMask(_)));
    let beside = masks.flat_map(|operand| operand.at[1..].iter().copied());
    named.flat_map(|operand| operand.at.iter().copied()).chain(set).chain(beside).chain([At::FLAGS]).collect()
}

#[test]
fn no_two_operands_of_a_row_overlap() {
    for row in all() {
        let words = flag_words(row);
        for (i, one) in row.operands.iter().enumerate() {
            for other in &row.operands[i + 1..] {
                for (a, b) in one.at.iter().flat_map(|a| other.at.iter().map(move |b| (*a, *b))) {
                    let shared = a == b && words.contains(&a);
                    assert!(!overlap(a, b) || shared, "{}: {} and {} overlap", row.name, one.name, other.name);
                }
            }
        }
    }
}

#[test]
fn marks_defaults_and_operands_do_not_collide() {
    for row in all() {
        let words = flag_words(row);
        let required = || row.operands.iter().filter(|operand| operand.required);
        let is_required = |at: At| required().any(|operand| operand.at.iter().any(|&place| overlap(at, place)));
        for mark in row.marks {
            match *mark {
                Mark::Has(at, bits) => {
                    assert!(bits.is_power_of_two(), "{}: a mark of {bits:#x}, which is not one bit", row.name);
                    assert!(
                        !is_required(at) || words.contains(&at),
                        "{}: {} is a mark and required",
                        row.name,
                        at.name()
                    );
                }
                Mark::Is(at, _) => {
                    let taken = row.operands.iter().any(|operand| operand.at.iter().any(|&place| overlap(at, place)));
                    assert!(!taken, "{}: {} is a mark and an operand", row.name, at.name());
                }
                Mark::NonZero(at) => assert!(is_required(at), "{}: nothing makes {} nonzero", row.name, at.name()),
            }
            let (Mark::Has(at, _) | Mark::Is(at, _) | Mark::NonZero(at)) = *mark;
            let default = row.defaults.iter().any(|&(place, _)| overlap(at, place));
            assert!(!default, "{}: {} is a mark and a default", row.name, at.name());
        }
        for &(at, _) in row.defaults {
            assert!(!is_required(at), "{}: {} has a default and is required", row.name, at.name());
        }
        for operand in row.operands {
            for &(at, bits) in operand.sets {
                assert_ne!(bits, 0, "{}: {} sets no bits", row.name, operand.name);
                assert!(!is_required(at), "{}: {} sets bits in a required operand", row.name, operand.name);
            }
        }
    }
}

#[test]
fn required_operands_come_first() {
    for row in all() {
        let required: Vec<bool> = row.operands.iter().map(|operand| operand.required).collect();
        assert!(required.is_sorted_by(|a, b| a >= b), "{}: {required:?}", row.name);
    }
}

#[test]
fn every_opcode_of_the_header_has_a_row_and_no_row_another() {
    let missing: Vec<_> =
        (0..sys::IORING_OP_LAST).map(Opcode).filter(|&op| !all().any(|row| row.opcode == op)).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    for row in all() {
        assert!(row.opcode.0 < sys::IORING_OP_LAST && row.opcode.name().is_some(), "{}: {:?}", row.name, row.opcode);
    }
}

#[test]
fn every_opcode_has_a_row_that_needs_no_marks_or_one_for_each_value() {
    // An entry that `describe` cannot place prints as unknown although its opcode is known. That may happen only where
    // the rows of an opcode differ in the value of a field, so that other values mean nothing to us.
    for op in all().map(|row| row.opcode) {
        let rows = || all().filter(|row| row.opcode == op);
        let values = rows().all(|row| row.marks.iter().any(|mark| matches!(mark, Mark::Is(..))));
        assert!(values || rows().any(|row| row.marks.is_empty()) || rows().count() == 1, "{op:?}");
    }
}

#[test]
fn releases_never_decrease_with_the_opcode() {
    let first: BTreeMap<Opcode, Version> = all().map(|row| (row.opcode, since(row.opcode).unwrap())).collect();
    let releases: Vec<_> = first.iter().collect();
    for pair in releases.windows(2) {
        assert!(pair[0].1 <= pair[1].1, "{:?} before {:?}", pair[0], pair[1]);
    }
    for row in all() {
        for operand in row.operands {
            assert!(operand.since >= row.since, "{}: {} is older than its row", row.name, operand.name);
            assert!(!operand.required || operand.since == row.since, "{}: {}", row.name, operand.name);
        }
    }
}

#[test]
fn names_are_unique() {
    let mut names = BTreeSet::new();
    for row in all() {
        assert!(names.insert(row.name), "two rows are called {}", row.name);
        let mut operands = BTreeSet::new();
        assert!(row.operands.iter().all(|operand| operands.insert(operand.name)), "{}", row.name);
    }
}

#[test]
fn variants_are_told_apart() {
    for row in all() {
        let sqe = template(row);
        let described = describe(&sqe).map(|row| row.name);
        assert_eq!(described, Some(row.name), "an entry of exactly its marks and defaults");
        let ties = all().filter(|other| other.matches(&sqe) && other.marks.len() == row.marks.len()).count();
        assert_eq!(ties, 1, "{} ties with another row", row.name);
    }
}

#[test]
fn item_14_slots_plus_one_are_where_the_kernel_subtracts_one() {
    let with_slots: BTreeSet<Opcode> = all()
        .filter(|row| row.operands.iter().any(|operand| matches!(operand.kind, Kind::Slot)))
        .map(|row| row.opcode)
        .collect();
    let expected = [
        sys::IORING_OP_OPENAT,
        sys::IORING_OP_OPENAT2,
        sys::IORING_OP_CLOSE,
        sys::IORING_OP_ACCEPT,
        sys::IORING_OP_SOCKET,
        sys::IORING_OP_MSG_RING,
        sys::IORING_OP_PIPE,
    ];
    assert_eq!(with_slots, expected.map(Opcode).into());
    for operand in all().flat_map(|row| row.operands).filter(|operand| matches!(operand.kind, Kind::Slot)) {
        assert_eq!(operand.at, [At::FILE_INDEX]);
    }
}

#[test]
fn item_15_what_points_at_something_has_a_life() {
    for row in all() {
        for OperandInfo { name, kind, life, output, .. } in row.operands {
            match kind {
                Kind::Fd if row.name == "Close" => assert_eq!(*life, Life::Value, "the entry owns the descriptor"),
                Kind::File | Kind::FileIn | Kind::Fd => {
                    let why = "descriptors are looked up when the operation starts, which may be after the submission";
                    assert_eq!(*life, Life::Completed, "{}: {name}: {why}", row.name);
                }
                Kind::Pointer | Kind::Buffer | Kind::Command => {}
                _ => assert_eq!((*life, *output), (Life::Value, false), "{}: {name} is a number", row.name),
            }
            assert!(!output || *life >= Life::Completed, "{}: {name} is written before completion", row.name);
        }
    }
}

#[test]
fn item_17_the_operations_that_notify_are_those_whose_rows_say_so() {
    for row in all() {
        assert_eq!(notifies(row.opcode.0), row.completes == Completes::Notif, "{}", row.name);
    }
}
