//@ E0502, E0503
//! A registered buffer is lent like any other: it is not ours until the scope has ended.
use rawring::{Ring, op::ReadFixed, operand::Fixed, register::Memory};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let mut buffer = ring.register_buffers([Memory::new(16).unwrap()]).unwrap().remove(0);
    ring.scope(|s| {
        s.push(ReadFixed::new(Fixed(0), &mut buffer)).unwrap();
        s.submit_and_wait(1).unwrap();
        #[cfg(not(feature = "sound"))]
        { assert_eq!(buffer[0], 1) }
    })
    .unwrap();
    assert_eq!(buffer[0], 0);
}
