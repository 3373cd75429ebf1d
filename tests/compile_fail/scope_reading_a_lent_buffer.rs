//@ E0502, E0503
//! Not even for reading.
use rawring::{Ring, op::Read, operand::Fixed};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let mut buf = [0u8; 16];
    ring.scope(|s| {
        s.push(Read::new(Fixed(0), &mut buf)).unwrap();
        s.submit_and_wait(1).unwrap();
        #[cfg(not(feature = "sound"))]
        assert_eq!(buf[0], 0);
    })
    .unwrap();
    assert_eq!(buf[0], 0);
}
