//! Job files in all formats. `cargo +nightly fuzz run job_files`
#![no_main]

use comfytop::job_file::{Format, Places, parse, text_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for format in [Format::Json, Format::JsonLines, Format::Toml, Format::Csv] {
        let _ = format.is_complete(bytes);
        let places = Places::new(format, bytes);
        for job in parse(format, bytes).unwrap_or_default() {
            let _ = (text_of(&job), places.error(job.entry, &["set", "1.a"], "x"));
        }
    }
});
