//! A graph in API format: what makes one usable, and the edits that a job makes in it.
//!
//! Pure. Knows the format (`{"13": {"class_type": …, "inputs": {…}}}`), not what the nodes do; what a
//! server thinks of a graph only the server says.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::WorkflowError;
use super::slots::InputRef;
use crate::job_file::{self, kind};
use crate::text;

/// Nodes by id, in the order of the file.
pub type Graph = Map<String, Value>;

/// Core nodes of which is known that they give no output. A graph of nothing else renders nothing.
const NO_OUTPUT: &[&str] = &[
    "BasicGuider",
    "BasicScheduler",
    "CFGGuider",
    "CLIPLoader",
    "CLIPSetLastLayer",
    "CLIPTextEncode",
    "CLIPVisionEncode",
    "CLIPVisionLoader",
    "CheckpointLoaderSimple",
    "ConditioningCombine",
    "ConditioningZeroOut",
    "ControlNetApplyAdvanced",
    "ControlNetLoader",
    "CreateVideo",
    "DualCLIPLoader",
    "EmptyAudio",
    "EmptyHunyuanLatentVideo",
    "EmptyImage",
    "EmptyLatentImage",
    "EmptySD3LatentImage",
    "FluxGuidance",
    "ImageBatch",
    "ImageBlur",
    "ImageScale",
    "ImageUpscaleWithModel",
    "KSampler",
    "KSamplerAdvanced",
    "KSamplerSelect",
    "LatentUpscale",
    "LoadAudio",
    "LoadImage",
    "LoadImageMask",
    "LoadVideo",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "ModelSamplingFlux",
    "ModelSamplingSD3",
    "RandomNoise",
    "RepeatImageBatch",
    "SamplerCustom",
    "SamplerCustomAdvanced",
    "TripleCLIPLoader",
    "UNETLoader",
    "UpscaleModelLoader",
    "VAEDecode",
    "VAEDecodeTiled",
    "VAEEncode",
    "VAELoader",
    "WanFirstLastFrameToVideo",
    "WanImageToVideo",
];

/// What keeps a node of a graph from being one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenNode {
    pub id: String,
    /// Fit to show.
    title: String,
    /// `None`: the node as a whole.
    pub input: Option<String>,
    /// Fit to show.
    why: String,
}

impl BrokenNode {
    /// Where in the graph it stands.
    pub fn path(&self) -> Vec<&str> {
        let input = self.input.iter().flat_map(|input| ["inputs", input.as_str()]);
        std::iter::once(self.id.as_str()).chain(input).collect()
    }
}

impl fmt::Display for BrokenNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", text::clean(&self.id))?;
        if !self.title.is_empty() {
            write!(f, " ({})", self.title)?;
        }
        write!(f, " {}", self.why)
    }
}

/// So many faults of a graph are told.
const MOST_FAULTS: usize = 20;

/// Checks that this is a graph a server could run.
pub(super) fn check(graph: &Graph) -> Result<(), WorkflowError> {
    if job_file::is_page_graph(graph) {
        return Err(WorkflowError::PageFormat);
    }
    if graph.is_empty() {
        return Err(WorkflowError::NoNodes);
    }
    let mut broken = Vec::new();
    for (id, node) in graph {
        let mut fault = |input: Option<&String>, why: String| {
            broken.push(BrokenNode { id: id.clone(), title: title(node), input: input.cloned(), why });
        };
        let inputs = match inputs_of(node) {
            Ok(inputs) => inputs,
            Err(why) => {
                fault(None, why);
                continue;
            }
        };
        for (input, value) in inputs {
            if let Some(from) = link(value)
                && !graph.contains_key(from)
            {
                let (name, from) = (text::clean(input), text::clean(from));
                fault(Some(input), format!("takes its `{name}` from node {from}, which is not there"));
            }
        }
        if broken.len() >= MOST_FAULTS {
            break;
        }
    }
    if !broken.is_empty() {
        broken.truncate(MOST_FAULTS);
        return Err(WorkflowError::BrokenNodes(broken));
    }
    if graph.values().filter_map(class).all(|class| NO_OUTPUT.contains(&class)) {
        return Err(WorkflowError::NoOutputs);
    }
    Ok(())
}

/// A node's inputs; else why it is no node.
fn inputs_of(node: &Value) -> Result<&Map<String, Value>, String> {
    let wanted = "a graph in API format is wanted";
    if !node.is_object() {
        return Err(format!("is {}, not a node; {wanted}", kind(node)));
    }
    if class(node).is_none() {
        return Err(match node.get("class_type") {
            None => format!("has no `class_type`; {wanted}"),
            Some(other) => format!("has {} as its `class_type`; {wanted}", kind(other)),
        });
    }
    match node.get("inputs") {
        Some(Value::Object(inputs)) => Ok(inputs),
        None => Err(format!("has no `inputs`; {wanted}")),
        Some(other) => Err(format!("has {} as its `inputs`; {wanted}", kind(other))),
    }
}

/// A graph without what is no node in it.
pub(super) fn whole_nodes(graph: &Graph) -> Graph {
    graph.iter().filter(|(_, node)| inputs_of(node).is_ok()).map(|(id, node)| (id.clone(), node.clone())).collect()
}

/// What kind of node it is.
pub fn class(node: &Value) -> Option<&str> {
    node.get("class_type")?.as_str()
}

/// The node that a linked input takes its value from. ComfyUI takes any pair of a text and a number as a link.
pub(super) fn link(value: &Value) -> Option<&str> {
    match value.as_array()?.as_slice() {
        [Value::String(node), Value::Number(_)] => Some(node),
        _ => None,
    }
}

/// The value of an input, or the link in it.
pub fn input<'g>(graph: &'g Graph, node: &str, input: &str) -> Option<&'g Value> {
    graph.get(node)?.get("inputs")?.get(input)
}

/// What keeps a key of `set` from naming one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPlace {
    /// No node has this id, title or class.
    Node(String),
    /// The node has no such input.
    Input(InputRef),
    /// Several nodes have that name, and the input.
    Several { name: String, nodes: Vec<String> },
}

/// No node's title and input are longer together, in bytes: each dot of a key is tried.
const MOST_KEY: usize = 2000;

/// The input that a key names: by the node's id, by its title, or by its class where it is the only one.
/// Titles and names of inputs may hold dots themselves.
pub fn place(graph: &Graph, titles: &BTreeMap<String, String>, key: &str) -> Result<InputRef, NoPlace> {
    let mut wrong = None;
    let first = key.split('.').next().unwrap_or(key);
    if key.len() > MOST_KEY {
        return Err(NoPlace::Node(first.to_owned()));
    }
    for (dot, _) in key.match_indices('.') {
        let (Some(name), Some(field)) = (key.get(..dot), key.get(dot + 1..)) else { continue };
        if name.is_empty() || field.is_empty() {
            continue;
        }
        let nodes = named(graph, titles, name);
        let with_input: Vec<&String> = nodes.iter().copied().filter(|id| input(graph, id, field).is_some()).collect();
        match (with_input.as_slice(), nodes.as_slice()) {
            ([one], _) => return Ok(InputRef::new(*one, field)),
            ([], []) => {}
            ([], [one, ..]) => wrong = wrong.or(Some(NoPlace::Input(InputRef::new(*one, field)))),
            (several, _) => {
                let nodes = several.iter().map(|id| (*id).clone()).collect();
                wrong = wrong.or(Some(NoPlace::Several { name: name.to_owned(), nodes }));
            }
        }
    }
    Err(wrong.unwrap_or_else(|| NoPlace::Node(first.to_owned())))
}

/// The nodes that go by a name: the one with that id, else all with that title, else all of that class.
fn named<'g>(graph: &'g Graph, titles: &BTreeMap<String, String>, name: &str) -> Vec<&'g String> {
    if let Some((id, _)) = graph.get_key_value(name) {
        return vec![id];
    }
    let name = name.trim().to_lowercase();
    let by_title: Vec<_> =
        graph.keys().filter(|id| titles.get(*id).is_some_and(|title| title.to_lowercase() == name)).collect();
    if !by_title.is_empty() {
        return by_title;
    }
    graph
        .iter()
        .filter(|(_, node)| class(node).is_some_and(|class| class.to_lowercase() == name))
        .map(|(id, _)| id)
        .collect()
}

/// Puts a value into an input that is there; false when it is not.
pub fn set_input(graph: &mut Graph, node: &str, input: &str, value: Value) -> bool {
    let place = graph.get_mut(node).and_then(|node| node.get_mut("inputs")).and_then(|inputs| inputs.get_mut(input));
    match place {
        Some(place) => {
            *place = value;
            true
        }
        None => false,
    }
}

/// Puts the seed of an attempt into all inputs that take it.
pub fn set_seed(graph: &mut Graph, seed_inputs: &[InputRef], seed: u64) {
    for place in seed_inputs {
        set_input(graph, &place.node, &place.input, seed.into());
    }
}

/// Gives every saving node a `filename_prefix` of this attempt's own (theirs, `-`, 8 hex digits of the
/// `prompt_id`) and says how many there were. A prefix that is linked from another node is left.
///
/// So the cache never gives two jobs one file, and what a restarted server still has can be told apart.
pub fn own_prefix(graph: &mut Graph, prompt_id_hex8: &str) -> usize {
    let mut changed = 0;
    for node in graph.values_mut() {
        if let Some(Value::String(prefix)) = node.get_mut("inputs").and_then(|inputs| inputs.get_mut("filename_prefix"))
        {
            prefix.push('-');
            prefix.push_str(prompt_id_hex8);
            changed += 1;
        }
    }
    changed
}

/// What each node is called: its title where it has one, else its class. Fit to show.
pub fn titles(graph: &Graph) -> BTreeMap<String, String> {
    graph.iter().map(|(id, node)| (id.clone(), title(node))).collect()
}

fn title(node: &Value) -> String {
    let title = node.get("_meta").and_then(|meta| meta.get("title")).and_then(Value::as_str).map(text::clean);
    let title = title.filter(|title| !title.is_empty()).or_else(|| class(node).map(text::clean));
    title.unwrap_or_default().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph(value: Value) -> Graph {
        let Value::Object(graph) = value else { panic!("an object") };
        graph
    }

    fn refusal(value: Value) -> String {
        check(&graph(value)).expect_err("refused").to_string()
    }

    #[test]
    fn what_cannot_run_is_refused_with_words() {
        assert!(refusal(json!({})).contains("no nodes"));
        assert!(refusal(json!({"nodes": [], "links": []})).contains("Export (API)"));
        assert!(refusal(json!({"3": 5})).contains("node 3 is the number 5, not a node"));
        let broken = json!({
            "3": {"class_type": "SaveImage", "inputs": {"images": ["9", 0]}, "_meta": {"title": "Keep it"}},
            "4": {"class_type": "SaveImage"},
        });
        assert_eq!(
            refusal(broken),
            "node 3 (Keep it) takes its `images` from node 9, which is not there; node 4 (SaveImage) has no `inputs`; a \
             graph in API format is wanted"
        );
        let mute = json!({"1": {"class_type": "LoadImage", "inputs": {"image": "a"}}, "2": {"class_type": "KSampler", "inputs": {}}});
        assert!(refusal(mute).contains("without outputs"));
    }

    #[test]
    fn a_node_nobody_knows_may_give_an_output() {
        for class in ["SaveVideo", "PreviewAny", "VHS_VideoCombine", "SomethingCustom"] {
            assert!(check(&graph(json!({"1": {"class_type": class, "inputs": {}}}))).is_ok(), "{class}");
        }
    }

    #[test]
    fn each_attempt_gets_a_prefix_of_its_own() {
        let mut graph = graph(json!({
            "1": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "video/loop"}},
            "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": ["3", 0]}},
            "3": {"class_type": "Text", "inputs": {"text": "x"}},
        }));
        assert_eq!(own_prefix(&mut graph, "0a1b2c3d"), 1);
        assert_eq!(input(&graph, "1", "filename_prefix"), Some(&json!("video/loop-0a1b2c3d")));
        assert_eq!(input(&graph, "2", "filename_prefix"), Some(&json!(["3", 0])));
    }

    #[test]
    fn titles_fall_back_to_the_class_and_are_fit_to_show() {
        let graph = graph(json!({
            "1": {"class_type": "SaveVideo", "_meta": {"title": "save\u{1b}[2J it"}},
            "2": {"class_type": "VAEDecode", "_meta": {"title": " "}},
            "3": {"class_type": "LoadImage"},
        }));
        assert_eq!(titles(&graph).into_values().collect::<Vec<_>>(), ["save [2J it", "VAEDecode", "LoadImage"]);
    }

    #[test]
    fn only_an_input_that_is_there_is_set() {
        let mut graph = graph(json!({"1": {"class_type": "A", "inputs": {"x": 1}}}));
        assert!(set_input(&mut graph, "1", "x", json!(2)));
        assert!(!set_input(&mut graph, "1", "y", json!(2)));
        assert!(!set_input(&mut graph, "2", "x", json!(2)));
        assert_eq!(Value::Object(graph), json!({"1": {"class_type": "A", "inputs": {"x": 2}}}));
    }
}
