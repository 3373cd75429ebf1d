//! Entries to words: for every row, what its operands hold is printed under their names, and no bit is hidden.

use proptest::prelude::*;

use super::*;
use crate::flags::FlagNames;
use crate::sqe::{Sqe, Sqe128};

fn text(sqe: &RawSqe, second: [u8; 64]) -> String {
    // SAFETY: the entry is printed, never submitted.
    format!("{:?}", unsafe { Sqe128::from_raw(*sqe, second) })
}

/// A flag of `names` with which the entry is still one of `row`, and its name.
fn flag(row: &OpInfo, sqe: &RawSqe, at: At, names: FlagNames) -> (u64, &'static str) {
    let mut found = None;
    names.for_each(&mut |name, bits| {
        let mut with = *sqe;
        with.set(at, sqe.get(at) | bits);
        let fits = bits != 0 && with.get(at) != sqe.get(at) && bits.is_power_of_two();
        if found.is_none() && fits && describe(&with).is_some_and(|described| described.name == row.name) {
            found = Some((bits, name));
        }
    });
    found.unwrap_or_else(|| panic!("{}: no flag of {} is left", row.name, at.name()))
}

/// Stores a value of `operand` that no other has (`seed` differs for each), and says how it has to be printed.
fn store(row: &OpInfo, sqe: &mut RawSqe, operand: &OperandInfo, seed: u64) -> String {
    let places = operand.at;
    let first = places[0];
    // Within any field's size, and nonzero.
    let value = 0x10 + seed;
    operand.sets.iter().for_each(|&(at, bits)| sqe.set(at, sqe.get(at) | bits));
    let expected = match operand.kind {
        Kind::Flags(names) => {
            let (bits, name) = flag(row, sqe, first, names);
            sqe.set(first, sqe.get(first) | bits);
            return name.to_owned();
        }
        Kind::PollMask(_) => {
            sqe.set(first, u64::from(crate::operand::swap_poll(1)));
            return "IN".to_owned();
        }
        Kind::Command => {
            *sqe.cmd_mut() = [value as u8; 16];
            return format!("{:02x?}", [value as u8; 16]);
        }
        Kind::Signed => {
            sqe.set(first, (-(value as i64)) as u64);
            return format!("-{value}");
        }
        Kind::File | Kind::FileIn | Kind::Fd | Kind::Unsigned | Kind::Length => format!("{value}"),
        Kind::Slot => format!("{}", value - 1),
        Kind::Octal => format!("{value:#o}"),
        Kind::Opcode => format!("{:?}", Opcode(value as u8)),
        Kind::Bits | Kind::Pointer => format!("{value:#x}"),
        Kind::Buffer => match places {
            [_] => format!("{value:#x}"),
            [_, _] => format!("{value:#x}[{}]", value + 0x20),
            _ => format!("{value:#x}[{}] of buffer {}", value + 0x20, value + 0x40),
        },
    };
    if row.marks.iter().any(|mark| matches!(mark, Mark::Has(at, _) if *at == first)) {
        // A number among flags: leave it as the template has it.
        return String::new();
    }
    sqe.set(first, value);
    if let Kind::Buffer = operand.kind {
        for (&at, more) in places[1..].iter().zip([0x20, 0x40]) {
            sqe.set(at, value + more);
        }
    }
    expected
}

#[test]
fn every_operand_of_every_row_is_printed_under_its_name() {
    for row in all() {
        let mut sqe = template(row);
        sqe.user_data = 0xfeed;
        let mut expected = Vec::new();
        for (seed, operand) in row.operands.iter().enumerate() {
            // Flags of a registered file change how descriptors print; that has tests of its own.
            expected.push((operand.name, store(row, &mut sqe, operand, seed as u64)));
        }
        let text = text(&sqe, [0; 64]);
        assert!(text.starts_with(&format!("{} {{ opcode: {:?}", row.name, row.opcode)), "{}: {text}", row.name);
        for (name, value) in expected {
            let start =
                text.find(&format!(", {name}: ")).unwrap_or_else(|| panic!("{}: {name} is not in {text}", row.name));
            let shown = &text[start + name.len() + 4..];
            assert!(shown.contains(&value), "{}: {name} should be {value} in {text}", row.name);
            let exact = !matches!(row.operands.iter().find(|o| o.name == name).unwrap().kind, Kind::Flags(_));
            assert!(!exact || shown.starts_with(&value), "{}: {name} should be {value} in {text}", row.name);
        }
        assert!(text.contains("user_data: 0xfeed"), "{text}");
    }
}

#[test]
fn what_was_not_set_is_not_printed() {
    for row in all() {
        let text = text(&template(row), [0; 64]);
        for operand in row.operands.iter().filter(|operand| !operand.required) {
            assert!(!text.contains(&format!(", {}: ", operand.name)), "{} in {text}", operand.name);
        }
    }
}

#[test]
fn a_field_that_the_kernel_does_not_look_at_is_no_operand() {
    // SAFETY: the entry is printed, never submitted.
    let mut sqe = *Sqe::from(unsafe { PollUpdateUserData::new(7, 8) }).raw();
    let mask = crate::operand::swap_poll(1);
    sqe.set(At::POLL32_EVENTS, mask.into());
    let fields = format!("target: 0x7, user_data_after: 0x8, user_data: 0x0, rw_flags: {mask:#x} }}");
    assert!(text(&sqe, [0; 64]).ends_with(&fields), "{}", text(&sqe, [0; 64]));
    sqe.set(At::LEN, sqe.get(At::LEN) | u64::from(sys::IORING_POLL_UPDATE_EVENTS));
    let fields = "target: 0x7, user_data_after: 0x8, events: IN, user_data: 0x0 }";
    assert!(text(&sqe, [0; 64]).ends_with(fields), "{}", text(&sqe, [0; 64]));
}

#[test]
fn registered_files_print_as_such() {
    let mut sqe = RawSqe::ZERO;
    sqe.opcode = sys::IORING_OP_SPLICE;
    sqe.fd = 5;
    sqe.file_index = 6;
    assert!(text(&sqe, [0; 64]).contains("from: 6, to: 5"));
    sqe.flags = sys::IOSQE_FIXED_FILE;
    assert!(text(&sqe, [0; 64]).contains("from: 6, to: fixed 5"));
    sqe.set(At::SPLICE_FLAGS, u64::from(sys::SPLICE_F_FD_IN_FIXED));
    assert!(text(&sqe, [0; 64]).contains("from: fixed 6, to: fixed 5"));
    sqe.opcode = sys::IORING_OP_MKDIRAT;
    sqe.fd = libc::AT_FDCWD;
    assert!(text(&sqe, [0; 64]).contains("dir: CWD"));
}

#[test]
fn no_bit_is_hidden() {
    for row in all() {
        let base = template(row);
        let before = text(&base, [0; 64]);
        for bit in 0..512 {
            let mut changed = *base.as_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            let after = text(&RawSqe::from_bytes(changed), [0; 64]);
            assert_ne!(before, after, "{}: byte {} bit {} does not show", row.name, bit / 8, bit % 8);
        }
        assert_ne!(before, text(&base, [1; 64]), "{}: the second half does not show", row.name);
    }
}

#[test]
fn an_unknown_operation_prints_raw() {
    let sqe = RawSqe::from_bytes(core::array::from_fn(|i| 0xc0 + (i as u8 & 7)));
    let text = text(&sqe, [0; 64]);
    assert!(text.starts_with("Unknown { opcode: IORING_OP_192, flags: "), "{text}");
    for at in [At::IOPRIO, At::FD, At::OFF, At::ADDR, At::LEN, At::RW_FLAGS, At::ADDR3, At::ATTR_TYPE_MASK] {
        assert!(text.contains(&format!("{}: {:#x}", at.name(), sqe.get(at))), "{} in {text}", at.name());
    }
}

proptest! {
    #[test]
    fn printing_never_panics_and_shows_the_opcode(first in proptest::array::uniform32(any::<[u8; 2]>()), second: [u8; 32]) {
        let sqe = RawSqe::from_bytes(first.as_flattened().try_into().unwrap());
        let wide = text(&sqe, [second, second].as_flattened().try_into().unwrap());
        // SAFETY: the entry is printed, never submitted.
        let narrow = format!("{:#?}", unsafe { Sqe::from_raw(sqe) });
        let opcode = format!("{:?}", Opcode(sqe.opcode));
        prop_assert!(wide.contains(&opcode) && narrow.contains(&opcode));
    }

    #[test]
    fn printing_known_operations_never_panics(op in 0..sys::IORING_OP_LAST, bytes in proptest::array::uniform32(any::<[u8; 2]>())) {
        let mut sqe = RawSqe::from_bytes(bytes.as_flattened().try_into().unwrap());
        sqe.opcode = op;
        let known = format!("{:?}", Opcode(op));
        prop_assert!(text(&sqe, [0; 64]).contains(&known));
    }
}
