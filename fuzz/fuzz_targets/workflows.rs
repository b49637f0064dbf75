//! Workflows in API format: read, their slots found, declared and read again. `cargo +nightly fuzz run workflows`
#![no_main]
#![allow(dead_code, reason = "each target takes one of the bodies")]

#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::workflows(bytes));
