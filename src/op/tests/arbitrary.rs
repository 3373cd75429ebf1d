//! Every builder with arbitrary operands: that a setter changes nothing but its own bits is checked by [`Source`] after
//! each step; here, that decoding gives back the row and every operand. And every bit of any entry shows in its text.

use bumpalo::Bump;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestCaseResult, TestError, TestRunner};

use super::source::Said;
use super::*;
use crate::flags::FlagNames;
use crate::sqe::{Decoded, Sqe, Sqe128};

/// Runs `property` on many strings of bytes for each row.
fn for_each_row(property: impl Fn(&'static OpInfo, &[u8]) -> TestCaseResult) {
    let config = Config { cases: 64, max_shrink_iters: 20_000, failure_persistence: None, ..Config::default() };
    for row in all() {
        let bytes = prop::collection::vec(any::<u8>(), 0..400);
        let result = TestRunner::new(config.clone()).run(&bytes, |bytes| property(row, &bytes));
        match result {
            Ok(()) => {}
            Err(TestError::Fail(reason, bytes)) => panic!("{}: {reason}\nThe smallest such bytes: {bytes:?}", row.name),
            Err(error) => panic!("{}: {error}", row.name),
        }
    }
}

/// A text of the form `Name { field: value, field: value }`, taken apart.
fn fields(text: &str) -> (&str, BTreeMap<&str, String>) {
    let (name, rest) = text.split_once(" { ").unwrap_or_else(|| panic!("{text}"));
    let rest = rest.strip_suffix(" }").unwrap_or_else(|| panic!("{text}"));
    let mut fields: Vec<(&str, String)> = Vec::new();
    for part in rest.split(", ") {
        match part.split_once(": ") {
            Some((field, value)) => fields.push((field, value.to_owned())),
            // A value of several numbers goes on.
            None => fields.last_mut().unwrap_or_else(|| panic!("{text}")).1.push_str(&format!(", {part}")),
        }
    }
    let count = fields.len();
    let fields: BTreeMap<_, _> = fields.into_iter().collect();
    assert_eq!(fields.len(), count, "a field twice in {text}");
    (name, fields)
}

/// The bits that `text` names.
fn named(text: &str, names: FlagNames) -> u64 {
    let number = |part: &str| part.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    text.split('|').fold(0, |all, part| {
        let mut bits = number(part);
        names.for_each(&mut |name, flag| bits = bits.or((name == part).then_some(flag)));
        all | bits.unwrap_or_else(|| panic!("{part} is no flag"))
    })
}

/// An error unless both are the same.
fn same<T: PartialEq + core::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

/// Compares the text of an entry with what its operands have said.
fn check(row: &'static OpInfo, entry: &Sqe128<'_>, text: &str, said: &BTreeMap<&str, Said>) -> Result<(), String> {
    let (name, mut fields) = fields(text);
    same("the row", name, row.name)?;
    same("opcode", fields.remove("opcode"), Some(format!("{:?}", row.opcode)))?;
    let own = row.operands.iter().map(|operand| (operand.name, operand.at, operand.kind));
    for (name, at, kind) in own.chain(source::COMMON) {
        let stored = entry.raw().get(at[0]);
        let untouched = at.iter().all(|&at| entry.raw().get(at) == row.initial(at));
        let Some(shown) = fields.remove(name) else {
            same(&format!("{name} is missing, untouched"), untouched, true)?;
            continue;
        };
        match (said.get(name), kind) {
            (Some(Said::Text(expected)), _) => same(name, &shown, expected)?,
            (Some(&Said::Exactly(bits)), Kind::PollMask(names)) => same(name, named(&shown, names), bits)?,
            (Some(&Said::Among(bits)), Kind::Flags(names)) => {
                same(name, stored & bits, bits)?;
                same(name, named(&shown, names), stored)?;
            }
            (None, Kind::Flags(names)) => same(name, named(&shown, names), stored)?,
            // Not set, but shown, because the bits that come with it are there.
            (None, _) => same(&format!("{name} was not set, untouched"), untouched, true)?,
            (said, kind) => return Err(format!("{name}: {said:?} cannot be said of {kind:?}")),
        }
    }
    // What every entry of the row has is shown raw, so that another value in its place is seen.
    fields.retain(|name, shown| {
        !row.defaults.iter().any(|(at, value)| at.name() == *name && *shown == format!("{value:#x}"))
    });
    same("unexplained fields", fields, BTreeMap::new())?;
    same("the second half", entry.second(), &[0; 64])
}

#[test]
fn item_27_setters_change_only_their_own_bits_and_decoding_gives_back_what_was_built() {
    for_each_row(|row, bytes| {
        let memory = Bump::new();
        let mut source = Source::new(row, bytes, &memory);
        let entry = (row.arbitrary)(&mut source);
        let text = format!("{entry:?}");
        let checked = source.wrong.map_or(Ok(()), Err).and_then(|()| check(row, &entry, &text, &source.said));
        checked.map_err(|why| TestCaseError::fail(format!("{why}, in {text}")))
    });
}

#[test]
fn every_operand_of_every_row_is_drawn_and_shown() {
    // The properties above would hold of setters that are never called.
    for row in all() {
        let mut shown = BTreeSet::new();
        for seed in 0..200u64 {
            let mut state = seed;
            let bytes: [u8; 300] = core::array::from_fn(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                (state >> 56) as u8
            });
            let memory = Bump::new();
            let entry = (row.arbitrary)(&mut Source::new(row, &bytes, &memory));
            shown.extend(fields(&format!("{entry:?}")).1.into_keys().map(str::to_owned));
        }
        for operand in row.operands {
            assert!(shown.contains(operand.name), "{}: {} was never shown", row.name, operand.name);
        }
    }
}

/// Bytes of any entry, mostly of a known operation.
fn any_entry() -> impl Strategy<Value = RawSqe> {
    let bytes = (any::<[u8; 32]>(), any::<[u8; 32]>(), prop::option::weighted(0.9, 0..sys::IORING_OP_LAST));
    // Most entries are mostly zeros.
    (bytes, any::<u64>()).prop_map(|((one, two, opcode), zeros)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&one);
        bytes[32..].copy_from_slice(&two);
        bytes.iter_mut().enumerate().filter(|(i, _)| zeros >> i & 1 != 0).for_each(|(_, byte)| *byte = 0);
        bytes[0] = opcode.unwrap_or(bytes[0]);
        RawSqe::from_bytes(bytes)
    })
}

proptest! {
    #![proptest_config(Config { cases: 4096, failure_persistence: None, ..Config::default() })]

    /// Whatever is known or unknown of an entry: another bit is another text.
    #[test]
    fn every_bit_of_any_entry_shows(raw in any_entry(), bit in 0usize..512) {
        let mut changed = *raw.as_bytes();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = RawSqe::from_bytes(changed);
        let (before, after) = (format!("{:?}", Decoded::new(&raw)), format!("{:?}", Decoded::new(&changed)));
        prop_assert_ne!(before, after);
    }

    #[test]
    fn bytes_of_any_entry_are_kept(raw in any_entry(), second in any::<[u8; 32]>()) {
        let second = [second, second].as_flattened().try_into().unwrap();
        // SAFETY: neither entry is submitted.
        let (narrow, wide) = unsafe { (Sqe::from_raw(raw), Sqe128::from_raw(raw, second)) };
        prop_assert_eq!(format!("{wide:?}"), format!("{:?}", Decoded::wide(&raw, &second)));
        prop_assert_eq!(format!("{narrow:?}"), format!("{:?}", Decoded::new(&raw)));
        prop_assert_eq!((wide.raw(), wide.second()), (&raw, &second));
        // Setters of the common fields leave all other bytes alone, whatever those are.
        let set = narrow.user_data(raw.user_data ^ 1).personality(raw.personality ^ 1).link();
        let mut expected = raw;
        expected.user_data ^= 1;
        expected.personality ^= 1;
        expected.flags |= sys::IOSQE_IO_LINK;
        prop_assert_eq!(set.into_raw(), expected);
    }
}
