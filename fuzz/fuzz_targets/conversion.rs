//! Graphs of ComfyUI's page, converted. `cargo +nightly fuzz run conversion`, with `tests/conversion` as corpus
#![no_main]
#![allow(dead_code, reason = "each target takes one of the bodies")]

#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::conversion(bytes));
