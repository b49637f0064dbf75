//! What servers say of their nodes, and a graph held against it. `cargo +nightly fuzz run object_info`
#![no_main]

use std::collections::{HashMap, HashSet};

use comfytop::workflow::object_info::ObjectInfo;
use comfytop::workflow::{BUILT_IN, preflight};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(info) = ObjectInfo::parse(&comfytop::lenient::repair(text.as_bytes())) else { return };
    if let Ok(serde_json::Value::Object(graph)) = serde_json::from_str(BUILT_IN[0].1) {
        let _ = preflight::check(&graph, &info, &HashSet::new(), &HashMap::new());
    }
});
