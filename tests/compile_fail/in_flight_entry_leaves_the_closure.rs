//@ E0521
//! What the closure borrows from the state cannot be kept.
use rawring::{InFlight, Ring, op::Read, operand::Fixed};

fn main() {
    let mut ring: InFlight<[u8; 16]> = InFlight::new(Ring::new(8).unwrap()).unwrap();
    let mut kept: Option<&mut u8> = None;
    ring.start([0; 16], |state| {
        let (_first, rest) = state.split_first_mut().unwrap();
        #[cfg(not(feature = "sound"))]
        kept.replace(_first);
        Read::new(Fixed(0), rest).into()
    })
    .unwrap();
    assert!(kept.take().is_none());
}
