//! Programs on simulated kernels. See `tests/fuzz/sim.rs`.
#![no_main]

#[path = "../../tests/fuzz/sim.rs"]
mod sim;
#[path = "../../tests/programs/mod.rs"]
mod programs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| sim::run(data));
