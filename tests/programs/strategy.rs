//! Programs for `proptest`.

use proptest::prelude::*;

use crate::programs::generate::{HEADER, MAX_STEPS, STEP, from_bytes};
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
