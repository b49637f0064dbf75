//! Workflows: graphs in API format with named slots, and jobs filled into them.
//!
//! Pure: texts in, graphs out. It never opens a file (`folder.rs` does) and never asks a server.
//! The parts: [`graph`] (the format and the edits), [`slots`] (the `.toml` beside a workflow), [`fill`]
//! (a job put in), [`tries`] (what its later tries change), [`asked`] (a job held against
//! what is there), [`from_graph`] (size and seed, as a graph tells them), [`mod@infer`] (slots where there is no
//! `.toml`), [`object_info`] (the node classes of a server), [`preflight`] (a graph held against them).

pub mod asked;
pub mod convert;
pub mod fill;
pub mod from_graph;
pub mod graph;
pub mod infer;
pub mod object_info;
pub mod preflight;
pub mod slots;
pub mod tries;

use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

pub use fill::{FileInput, FileValue, FillFault, Filled, SeedChoice};

pub use graph::{Graph, input, own_prefix, set_input, set_seed, titles};
pub use infer::{infer, slots_toml};
pub use slots::{InputRef, Slot, SlotType};

use crate::{job_file, text, weigh};
use convert::When;
use object_info::ObjectInfo;
use slots::SlotsFile;

/// Before a file name: the server's own, not one to upload.
pub const ON_SERVER: &str = "input:";
/// Before the name or number of a job: what that one gave.
pub const OF_JOB: &str = "job:";

/// The workflows that come with the program: name, graph, slots.
pub const BUILT_IN: &[(&str, &str, &str)] = &[
    ("wan2.2-i2v", include_str!("../workflows/wan2.2-i2v.json"), include_str!("../workflows/wan2.2-i2v.toml")),
    (
        "wan2.2-i2v-loop",
        include_str!("../workflows/wan2.2-i2v-loop.json"),
        include_str!("../workflows/wan2.2-i2v-loop.toml"),
    ),
];

/// The sample jobs that a render folder begins with: name, bytes.
pub const EXAMPLES: &[(&str, &[u8])] = &[
    ("reading_loop.json", include_bytes!("../jobs/examples/reading_loop.json")),
    ("reading_seeds.json", include_bytes!("../jobs/examples/reading_seeds.json")),
    ("reading_short.json", include_bytes!("../jobs/examples/reading_short.json")),
    ("reading_start.png", include_bytes!("../jobs/examples/reading_start.png")),
];

/// A graph and its slots.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    pub name: String,
    pub description: String,
    /// Shared with the job file that brought it.
    pub graph: Arc<Graph>,
    /// As declared; for a graph without a `.toml` as [`mod@infer`] finds them.
    pub slots: Vec<Slot>,
}

/// A workflow that cannot be used. All text is fit to show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WorkflowError {
    #[error("line {line}, column {column}: not JSON: {message}")]
    NotJson { line: usize, column: usize, message: String },
    #[error("a workflow is an object of nodes, {{\"1\": {{\"class_type\": …}}}}, not {0}")]
    NotAGraph(String),
    #[error("{}", job_file::PAGE_GRAPH)]
    PageFormat,
    /// Several lines: a fault each.
    #[error("this graph of ComfyUI's page can't be made fit to run: {0}")]
    Convert(#[from] convert::ConvertError),
    #[error(
        "it holds more than any graph that people make, and than can be read into memory at once: {0} values and keys"
    )]
    TooMuch(usize),
    #[error("the graph has no nodes")]
    NoNodes,
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BrokenNodes(Vec<graph::BrokenNode>),
    #[error("workflow without outputs: no node saves or shows anything; add SaveVideo or SaveImage")]
    NoOutputs,
    /// Several lines: TOML's own words with the place.
    #[error("its .toml is wrong: {0}")]
    Toml(String),
    #[error("its .toml is wrong: slot `{slot}` {why}")]
    Slot { slot: String, why: String },
}

impl Workflow {
    /// Reads `NAME.json` and, where there is one, `NAME.toml`.
    pub fn parse(name: &str, json: &str, slots_toml: Option<&str>) -> Result<Self, WorkflowError> {
        Self::from_graph(name, read(json)?)?.with_slots(slots_toml)
    }

    /// The same where `NAME.json` may be a graph as ComfyUI's page saves it, and a server's node classes are known.
    pub fn parse_any(
        name: &str,
        json: &str,
        slots_toml: Option<&str>,
        info: Option<&ObjectInfo>,
        when: When,
    ) -> Result<Self, WorkflowError> {
        let mut graph = read(json)?;
        match info.filter(|_| job_file::is_page_graph(&graph)) {
            Some(info) => {
                convert::slim(&mut graph);
                Self::from_page(name, &graph, slots_toml, info, when)
            }
            None => Self::from_graph(name, graph)?.with_slots(slots_toml),
        }
    }

    /// From a graph as ComfyUI's page saves it.
    pub fn from_page(
        name: &str,
        page: &Graph,
        slots_toml: Option<&str>,
        info: &ObjectInfo,
        when: When,
    ) -> Result<Self, WorkflowError> {
        Self::from_graph(name, convert::convert_object(page, info, when)?.graph)?.with_slots(slots_toml)
    }

    fn with_slots(mut self, toml: Option<&str>) -> Result<Self, WorkflowError> {
        if let Some(toml) = toml {
            let file: SlotsFile =
                toml::from_str(toml).map_err(|error| WorkflowError::Toml(text::clean_lines(&error.to_string())))?;
            check_slots(&file.slots, &self.graph)?;
            self.description = file.description;
            self.slots = file.slots;
        }
        Ok(self)
    }

    /// A graph without a `.toml`: one that a job file brought along.
    pub fn from_graph(name: &str, graph: impl Into<Arc<Graph>>) -> Result<Self, WorkflowError> {
        let graph = graph.into();
        graph::check(&graph)?;
        let slots = infer::infer(&graph);
        Ok(Self { name: name.to_owned(), description: String::new(), graph, slots })
    }

    /// What can be used of a graph that [`Self::from_graph`] refuses, so that what else is wrong can be told.
    fn of_whole_nodes(name: &str, graph: &Graph) -> Self {
        let graph = Arc::new(graph::whole_nodes(graph));
        let slots = infer::infer(&graph);
        Self { name: name.to_owned(), description: String::new(), graph, slots }
    }

    /// What every slot holds in a graph made from this workflow, in the order of the `.toml`.
    pub fn values<'g>(&self, graph: &'g Graph) -> Vec<(&str, &'g Value)> {
        let value = |slot: &Slot| slot.inputs.first().and_then(|place| input(graph, &place.node, &place.input));
        self.slots.iter().filter_map(|slot| Some((slot.name.as_str(), value(slot)?))).collect()
    }

    fn seed_inputs(&self) -> &[InputRef] {
        self.slots.iter().find(|slot| slot.kind == SlotType::Seed).map_or(&[], |slot| &slot.inputs)
    }

    fn shown_name(&self) -> String {
        text::clean(&self.name).into_owned()
    }
}

/// The object that a workflow's text is.
fn read(json: &str) -> Result<Graph, WorkflowError> {
    let json = json.strip_prefix('\u{feff}').unwrap_or(json);
    // a graph of the page weighs twice what comes of it
    let most = convert::MOST_WEIGHT;
    let left = weigh::left_of(json, most).ok_or(WorkflowError::TooMuch(most))?;
    let value: Value = serde_json::from_str(json).map_err(|error| {
        let full = error.to_string();
        let message = text::clean(full.split(" at line ").next().unwrap_or(&full)).into_owned();
        WorkflowError::NotJson { line: error.line(), column: error.column(), message }
    })?;
    match value {
        Value::Object(graph) if most - left > weigh::MOST && !job_file::is_page_graph(&graph) => {
            Err(WorkflowError::TooMuch(weigh::MOST))
        }
        Value::Object(graph) => Ok(graph),
        other => Err(WorkflowError::NotAGraph(job_file::kind(&other))),
    }
}

fn check_slots(slots: &[Slot], graph: &Graph) -> Result<(), WorkflowError> {
    let wrong = |slot: &Slot, why: String| WorkflowError::Slot {
        slot: text::clean(&slot.name).into_owned(),
        why: text::clean(&why).into_owned(),
    };
    for (at, slot) in slots.iter().enumerate() {
        slot.check(graph).map_err(|why| wrong(slot, why))?;
        let earlier = slots.iter().take(at);
        if earlier.clone().any(|other| other.name == slot.name) {
            return Err(wrong(slot, "stands there twice".to_owned()));
        }
        if slot.kind == SlotType::Seed && earlier.clone().any(|other| other.kind == SlotType::Seed) {
            return Err(wrong(slot, "is a second seed; a workflow has one".to_owned()));
        }
    }
    Ok(())
}
