//! Programs on the kernel that this runs on. See `tests/fuzz/kernel.rs`.
#![no_main]

#[path = "../../tests/fuzz/child.rs"]
mod child;
#[path = "../../tests/fuzz/kernel.rs"]
mod kernel;
#[path = "../../tests/programs/mod.rs"]
mod programs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| kernel::run(data));
