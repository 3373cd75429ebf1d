//@ E0597
//! The closure that makes the entry can borrow from the state only.
use rawring::{InFlight, Ring, op::Read, operand::Fixed};

fn main() {
    let mut ring: InFlight<[u8; 16]> = InFlight::new(Ring::new(8).unwrap()).unwrap();
    let mut local = [0u8; 16];
    ring.start([0; 16], |state| {
        #[cfg(not(feature = "sound"))]
        let state = (&mut local, state).0;
        Read::new(Fixed(0), state).into()
    })
    .unwrap();
}
