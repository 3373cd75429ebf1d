//@ E0499, E0597
//! A state that borrows could outlive what it borrows: an `InFlight` can be forgotten.
use rawring::{InFlight, Ring, op::Read, operand::Fixed};

fn main() {
    let mut local = vec![0u8; 16];
    let mut ring = InFlight::new(Ring::new(8).unwrap()).unwrap();
    #[cfg(not(feature = "sound"))]
    let state = local.as_mut_slice();
    #[cfg(feature = "sound")]
    let state = vec![0u8; 16];
    ring.start(state, |state| Read::new(Fixed(0), &mut **state).into()).unwrap();
    local[0] = 1;
}
