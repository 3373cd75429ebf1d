//@ E0521
//! Scopes cannot change places: each ends its own operations.
use rawring::Ring;

fn main() {
    let mut one = Ring::new(8).unwrap();
    let mut two = Ring::new(8).unwrap();
    one.scope(|a| {
        two.scope(|b| {
            #[cfg(not(feature = "sound"))]
            std::mem::swap(a, b);
            a.submit().unwrap();
            b.submit().unwrap();
        })
        .unwrap();
    })
    .unwrap();
}
