//@ E0503, E0506, E0597
//! What an entry of a scope borrows must outlive the scope, not only the closure.
use rawring::{Ring, op::Read, operand::Fixed};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    ring.scope(|s| {
        let mut buf = [0u8; 16];
        #[cfg(not(feature = "sound"))]
        s.push(Read::new(Fixed(0), &mut buf)).unwrap();
        s.submit().unwrap();
        buf[0] = 1;
    })
    .unwrap();
}
