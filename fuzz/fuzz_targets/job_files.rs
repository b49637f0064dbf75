//! Job files in JSON, JSON lines and TOML. `cargo +nightly fuzz run job_files`
#![no_main]
#![allow(dead_code, reason = "each target takes one of the bodies")]

#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::job_files(bytes));
