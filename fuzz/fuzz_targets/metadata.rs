//! Prompts in PNG, WebP, FLAC, MP4 and Matroska. `cargo +nightly fuzz run metadata`, with `tests/media/carrying` as corpus
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(found) = comfytop::embedded::read(&mut std::io::Cursor::new(bytes)) {
        let _ = found.graph();
    }
});
