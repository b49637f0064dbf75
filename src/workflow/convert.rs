//! A graph as ComfyUI's page saves it, made into the graph that a server runs (API format).
//!
//! Pure: graph and node classes in, graph or all that is wrong out. It does what the page itself does when it
//! loads a graph and sends it (page 1.49), so that the result is the same; docs/workflows.md names the
//! exceptions. Input is a stranger's: every wrong shape is an answer, and the work and memory it may
//! cost are bounded.
//!
//! The steps: `groups` makes subgraphs of group nodes, `sheet` reads, `settle` and `promote` load, `follow` finds where links come from, `send` writes.
//! `widgets` is about the order of `widgets_values`; `page` and `scene` hold what only
//! the page knows.

mod error;
mod follow;
mod groups;
mod page;
mod promote;
mod scene;
mod send;
mod settle;
mod sheet;
mod text;
mod widgets;

use jiff::civil::DateTime;
use serde_json::{Map, Value};

pub use error::{ConvertError, Fault, MOST_FAULTS, Problem};

use super::graph::Graph;
use super::object_info::ObjectInfo;
use crate::job_file;
use crate::weigh;

/// Subgraphs may be nested so deep.
const DEEPEST: usize = 200;
/// So many nodes may come of unfolding subgraphs.
const MOST_NODES: usize = 10_000;
/// So large may the result be, about, in memory.
const MOST_BYTES: usize = 12 << 20;
/// What the text of a graph may weigh, so that with all that comes of it 64 MB are enough.
pub const MOST_WEIGHT: usize = 260_000;

/// What the page would take from the clock and from chance.
#[derive(Debug, Clone, Copy)]
pub struct When {
    /// For `%date:…%` in file names; the user's own time.
    pub now: DateTime,
    /// For `{a|b}` in prompts: the same seed chooses the same.
    pub seed: u64,
}

/// A graph in API format, and what is not as the page would have sent it, in words fit to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    pub graph: Graph,
    pub warnings: Vec<String>,
}

/// Converts a graph in the page's format with the node classes of a server.
///
/// # Errors
/// What is no such graph; else the faults of its nodes, with their ids and titles.
pub fn convert(workflow: &Value, info: &ObjectInfo, when: When) -> Result<Converted, ConvertError> {
    convert_object(workflow.as_object().ok_or(ConvertError::NotAPageGraph)?, info, when)
}

/// The same of an object.
///
/// # Errors
/// As [`convert`].
pub fn convert_object(root: &Map<String, Value>, info: &ObjectInfo, when: When) -> Result<Converted, ConvertError> {
    if !root.get("nodes").is_some_and(Value::is_array) {
        let is_api = !root.is_empty() && root.values().all(|node| node.get("class_type").is_some());
        return Err(if is_api { ConvertError::ApiFormat } else { ConvertError::NotAPageGraph });
    }
    let unpacked = groups::as_subgraphs(root, info);
    let root = unpacked.as_ref().unwrap_or(root);
    let mut sheets = sheet::Sheets::read(root).map_err(ConvertError::Faults)?;
    settle::settle(&mut sheets, info);
    settle::apply_primitives(&mut sheets);
    let mut unfolded = follow::Unfolded::new(&sheets)?;
    unfolded.everywhere = send::everywhere(&sheets, root);
    let mut warnings = send::warnings(&unfolded);
    let graph = send::Sender::new(&unfolded, info, when).send().map_err(ConvertError::Faults)?;
    if graph.is_empty() {
        warnings.push("nothing comes of it: it has no node that runs".to_owned());
    }
    Ok(Converted { graph, warnings })
}

/// Whether a graph's text holds more than any graph that people make.
pub fn is_too_large(json: &str) -> bool {
    weigh::json_is_over(json, MOST_WEIGHT)
}

/// Takes from a parsed graph what only the page's canvas needs, and the room that parsing left in its lists: a third of
/// its memory.
pub fn slim(graph: &mut Map<String, Value>) {
    const CANVAS: [&str; 6] = ["pos", "size", "flags", "order", "color", "bgcolor"];
    let nodes = graph.get_mut("nodes").and_then(Value::as_array_mut);
    for node in nodes.into_iter().flatten().filter_map(Value::as_object_mut) {
        node.retain(|key, _| !CANVAS.contains(&key.as_str()));
    }
    graph.values_mut().for_each(shrink);
}

fn shrink(value: &mut Value) {
    match value {
        Value::Array(list) => {
            list.shrink_to_fit();
            list.iter_mut().for_each(shrink);
        }
        Value::Object(map) => map.values_mut().for_each(shrink),
        _ => {}
    }
}

/// Whether this looks like a graph in the page's format.
pub fn is_page_graph(value: &Value) -> bool {
    value.as_object().is_some_and(job_file::is_page_graph)
}
