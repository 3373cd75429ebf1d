//@ E0503, E0506, E0597
//! `Ring::push` takes only entries that borrow nothing.
use rawring::{Ring, op::Read, operand::Fixed};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let mut buf = [0u8; 16];
    #[cfg(not(feature = "sound"))]
    ring.push(Read::new(Fixed(0), &mut buf)).unwrap();
    ring.submit().unwrap();
    buf[0] = 1;
}
