//@ E0505, E0597
//! A descriptor lent to an operation stays open.
use rawring::{Ring, op::Fsync};

fn main() {
    let mut ring = Ring::new(8).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    ring.scope(|s| {
        s.push(Fsync::new(&file)).unwrap();
        s.submit().unwrap();
        #[cfg(not(feature = "sound"))]
        drop(file);
    })
    .unwrap();
}
