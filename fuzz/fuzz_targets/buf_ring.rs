//! Walks of rings of provided buffers. See `tests/fuzz/buf_ring.rs`.
#![no_main]

#[path = "../../tests/fuzz/buf_ring.rs"]
mod buf_ring;

libfuzzer_sys::fuzz_target!(|data: &[u8]| buf_ring::run(data));
