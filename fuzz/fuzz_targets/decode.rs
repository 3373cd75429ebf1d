//! Readers of bytes that they did not make. See `tests/fuzz/decode.rs`.
#![no_main]

#[path = "../../tests/fuzz/decode.rs"]
mod decode;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decode::run(data));
