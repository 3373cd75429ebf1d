//@ E0133
//! An entry filled in by hand can name any memory.
use rawring::{RawSqe, Ring, Sqe};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    // SAFETY: all zeros are a NOP, which names nothing.
    let nop = unsafe { Sqe::from_raw(RawSqe::ZERO) };
    #[cfg(not(feature = "sound"))]
    let nop = Sqe::from_raw(RawSqe::ZERO);
    ring.push(nop).unwrap();
}
