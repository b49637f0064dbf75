//! Prompts in PNG, WebP, FLAC, MP4 and Matroska. `cargo +nightly fuzz run metadata`, with `tests/media/carrying` as corpus
#![no_main]
#![allow(dead_code, reason = "each target takes one of the bodies")]

#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bodies::metadata(bytes));
