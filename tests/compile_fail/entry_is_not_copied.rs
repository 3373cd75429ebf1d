//@ E0382
//! One entry names its buffer once.
use rawring::{Ring, Sqe, op::Read, operand::Fixed};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let mut buf = [0u8; 16];
    ring.scope(|s| {
        let entry: Sqe<'_> = Read::new(Fixed(0), &mut buf).into();
        s.push(entry).unwrap();
        #[cfg(not(feature = "sound"))]
        s.push(entry).unwrap();
    })
    .unwrap();
}
