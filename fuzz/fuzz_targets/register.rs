//! Sequences of registrations, typed and raw. See `tests/fuzz/register.rs`.
#![no_main]

#[path = "../../tests/fuzz/child.rs"]
mod child;
#[path = "../../tests/fuzz/register.rs"]
mod register;

libfuzzer_sys::fuzz_target!(|data: &[u8]| register::run(data));
