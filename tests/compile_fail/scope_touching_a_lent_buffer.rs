//@ E0503, E0506
//! A buffer lent to an operation is not ours until the scope has ended.
use rawring::{Ring, op::Read, operand::Fixed};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let mut buf = [0u8; 16];
    ring.scope(|s| {
        s.push(Read::new(Fixed(0), &mut buf)).unwrap();
        s.submit_and_wait(1).unwrap();
        #[cfg(not(feature = "sound"))]
        { buf[0] = 1 }
    })
    .unwrap();
    buf[0] = 1;
}
