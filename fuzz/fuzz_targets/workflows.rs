//! Workflows: read, their slots found, declared and read again. `cargo +nightly fuzz run workflows`
#![no_main]

use comfytop::workflow::{Workflow, slots_toml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(workflow) = Workflow::parse("fuzz", text, None) {
        let toml = slots_toml("", &workflow.slots);
        Workflow::parse("fuzz", text, Some(&toml)).expect("what is inferred can be declared");
    }
});
