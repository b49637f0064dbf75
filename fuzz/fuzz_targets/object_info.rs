//! What servers say of their nodes. `cargo +nightly fuzz run object_info`, with `tests/conversion/object_info.json` in its corpus
#![no_main]
#![allow(dead_code, reason = "each target takes one of the bodies")]

#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::object_info(bytes));
