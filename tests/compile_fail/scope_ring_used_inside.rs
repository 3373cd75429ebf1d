//@ E0499
//! The ring cannot be used while a scope holds it.
use rawring::Ring;

fn main() {
    let mut ring = Ring::new(8).unwrap();
    ring.scope(|s| {
        s.submit().unwrap();
        #[cfg(not(feature = "sound"))]
        ring.submit().unwrap();
    })
    .unwrap();
    ring.submit().unwrap();
}
