//! Programs on the kernel that this runs on, each in a process of its own.

use std::sync::OnceLock;

use crate::child;
use crate::programs::check;
use crate::programs::generate::from_bytes;
use crate::programs::world::Kernel;

/// One input.
pub fn run(data: &[u8]) {
    static KERNEL: OnceLock<Option<Kernel>> = OnceLock::new();
    let Some(kernel) = KERNEL.get_or_init(kernel) else { return };
    let program = from_bytes(data);
    child::run(&program, || check(&program, kernel).map(drop));
}

/// The kernel, if programs can be ended on it.
fn kernel() -> Option<Kernel> {
    let kernel = Kernel::new().map_err(|error| error.to_string());
    kernel.map_err(|why| eprintln!("skipped: programs on the kernel: {why}")).ok()
}
