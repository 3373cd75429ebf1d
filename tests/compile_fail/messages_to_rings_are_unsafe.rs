//@ E0133
//! A message puts a `user_data` of the sender's choice into another ring.
use rawring::{Ring, op::{MsgRing, Nop}, operand::Fixed};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    #[cfg(not(feature = "sound"))]
    ring.push(MsgRing::new(Fixed(0), 1, 2)).unwrap();
    ring.push(Nop::new()).unwrap();
    let _ = (Fixed(0), MsgRing::INFO);
}
