//! What is done with a stranger's bytes, a function for each reader: `fuzz/fuzz_targets/` does it for hours, `tests/fuzz.rs`
//! for a moment in every test run. An answer or an error, never a panic.

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::sync::LazyLock;

use comfytop::job_file::{self, Format, Places};
use comfytop::workflow::convert::{self, When};
use comfytop::workflow::object_info::ObjectInfo;
use comfytop::workflow::{BUILT_IN, Workflow, preflight, slots_toml};
use comfytop::{embedded, lenient};
use serde_json::Value;

/// A graph of the page that has most of what there is to convert, and the node classes for it.
const PAGE_GRAPH: &str = include_str!("../conversion/subgraphs.json");
static NODE_CLASSES: LazyLock<ObjectInfo> =
    LazyLock::new(|| ObjectInfo::parse(include_str!("../conversion/object_info.json")).unwrap_or_default());

/// Job files that are JSON, JSON lines or TOML.
pub fn job_files(bytes: &[u8]) {
    for format in [Format::Json, Format::JsonLines, Format::Toml] {
        job_file(format, bytes);
    }
}

/// Job files that are CSV.
pub fn csv(bytes: &[u8]) {
    job_file(Format::Csv, bytes);
}

fn job_file(format: Format, bytes: &[u8]) {
    let _ = format.is_complete(bytes);
    let places = Places::new(format, bytes);
    match job_file::parse(format, bytes) {
        Ok(jobs) => {
            assert!(!jobs.is_empty() && jobs.len() <= job_file::MAX_JOBS);
            for job in jobs {
                let _ = (job_file::text_of(&job), places.error(job.origin.entry, &["set", "1.a"], "x"));
            }
        }
        Err(errors) => assert!(!errors.is_empty() && errors.iter().all(|e| !e.message.contains('\n'))),
    }
}

/// Workflows: read, their slots found, declared and read again.
pub fn workflows(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(workflow) = Workflow::parse("fuzz", text, None) {
        let toml = slots_toml("", &workflow.slots);
        let again = Workflow::parse("fuzz", text, Some(&toml));
        assert!(again.is_ok(), "what is inferred can be declared: {again:?}\n{toml}");
        let info = ObjectInfo::from_value(&Value::Object((*workflow.graph).clone()));
        let _ = preflight::check(&workflow.graph, &info, &HashSet::new(), &HashMap::new());
    }
}

/// Graphs of the page, converted: the links of what comes of it lead to nodes of it.
pub fn conversion(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if convert::is_too_large(text) {
        return;
    }
    let Ok(page) = serde_json::from_str(text) else { return };
    convert_one(&page, &NODE_CLASSES);
}

/// What servers say of their nodes: a graph converted by it, and one held against it.
pub fn object_info(bytes: &[u8]) {
    let Ok(info) = ObjectInfo::parse(&lenient::repair(bytes)) else { return };
    if let Ok(Value::Object(pair)) = serde_json::from_str(PAGE_GRAPH)
        && let Some(page) = pair.get("workflow")
    {
        convert_one(page, &info);
    }
    let Some((_, graph, _)) = BUILT_IN.first() else { return };
    if let Ok(Value::Object(graph)) = serde_json::from_str(graph) {
        let _ = preflight::check(&graph, &info, &HashSet::new(), &HashMap::new());
    }
}

/// Prompts in PNG, WebP, FLAC, MP4 and Matroska.
pub fn metadata(bytes: &[u8]) {
    if let Ok(found) = embedded::read(&mut Cursor::new(bytes)) {
        let _ = found.graph();
    }
}

fn convert_one(page: &Value, info: &ObjectInfo) {
    let when = When { now: jiff::civil::DateTime::default(), seed: 0 };
    match convert::convert(page, info, when) {
        Ok(converted) => {
            let inputs = converted.graph.values().filter_map(|node| node.get("inputs")?.as_object());
            for value in inputs.flat_map(serde_json::Map::values) {
                if let Some([Value::String(from), Value::Number(_)]) = value.as_array().map(Vec::as_slice) {
                    assert!(converted.graph.contains_key(from), "a link to {from}, which is not there");
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
