//! Programs for `proptest`.

use proptest::prelude::*;

use crate::programs::generate::{FIXED, GIVE_BACK, HEADER, KINDS, MAX_STEPS, PICKS, STEP, TABLE, from_bytes};
use crate::programs::program::Program;

/// Programs of every kind.
pub fn programs() -> impl Strategy<Value = Program> {
    let header = any::<[u8; HEADER]>();
    let steps = prop::collection::vec(any::<[u8; STEP]>(), 1..MAX_STEPS);
    (header, steps).prop_map(|(header, steps)| {
        let bytes: Vec<u8> = header.into_iter().chain(steps.into_iter().flatten()).collect();
        from_bytes(&bytes)
    })
}

/// Programs of which most steps have to do with provided buffers in rings.
pub fn picking_programs() -> impl Strategy<Value = Program> {
    let feeds = Just(55u8);
    let kinds = prop_oneof![4 => PICKS..GIVE_BACK, 3 => feeds, 2 => GIVE_BACK..TABLE, 2 => 0..KINDS];
    let step = (kinds, any::<[u8; STEP - 1]>()).prop_map(|(kind, [a, b, c, d])| [kind, a, b, c, d]);
    let steps = prop::collection::vec(step, 1..MAX_STEPS);
    // Of these rows the second and the third have rings of buffers, the fourth incremental ones.
    (16u8..64, any::<u8>(), steps)
        .prop_map(|(kind, door, steps)| from_bytes(&[&[kind, door], steps.concat().as_slice()].concat()))
}

/// Programs whose entries name registered files, in a table that changes all the time.
pub fn tabled_programs() -> impl Strategy<Value = Program> {
    let kinds = prop_oneof![2 => 0..TABLE, 1 => TABLE..KINDS, 1 => FIXED..KINDS, 1 => 8..47u8];
    let step = (kinds, any::<[u8; STEP - 1]>()).prop_map(|(kind, [a, b, c, d])| [kind, a, b, c, d | 0x80]);
    let steps = prop::collection::vec(step, 1..MAX_STEPS);
    (any::<[u8; HEADER]>(), steps)
        .prop_map(|(header, steps)| from_bytes(&[&header, steps.concat().as_slice()].concat()))
}
