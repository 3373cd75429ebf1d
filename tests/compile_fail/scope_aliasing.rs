//@ E0499
//! Two entries cannot write to one buffer.
use rawring::{Ring, op::Read, operand::Fixed};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let mut buf = [0u8; 16];
    ring.scope(|s| {
        s.push(Read::new(Fixed(0), &mut buf)).unwrap();
        #[cfg(not(feature = "sound"))]
        s.push(Read::new(Fixed(0), &mut buf)).unwrap();
    })
    .unwrap();
}
