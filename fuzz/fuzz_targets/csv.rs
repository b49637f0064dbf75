//! Job files in CSV. `cargo +nightly fuzz run csv`
#![no_main]
#![allow(dead_code, reason = "each target takes one of the bodies")]

#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::csv(bytes));
