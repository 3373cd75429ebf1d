//@ E0521
//! A scope cannot be kept beyond its closure.
use rawring::{Ring, Scope};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let mut kept: Option<&mut Scope<'_, '_>> = None;
    ring.scope(|s| {
        s.submit().unwrap();
        #[cfg(not(feature = "sound"))]
        kept.replace(s);
    })
    .unwrap();
    assert!(kept.take().is_none());
}
