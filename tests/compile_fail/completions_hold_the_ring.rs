//@ E0499
//! While completions are iterated, the submission side is reached by `split` only.
use rawring::{Ring, op::Nop};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    for _cqe in ring.completions() {
        #[cfg(not(feature = "sound"))]
        ring.push(Nop::new()).unwrap();
    }
}
