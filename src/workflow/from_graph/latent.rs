//! Which node makes the latent that is sampled, and which nodes take part at all.
//!
//! Pure. It follows links by the names of inputs that carry latents, and switches by the branch that they take now.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::source;
use crate::workflow::graph::{Graph, class, input, link};

pub const LENGTHS: &[&str] = &["length", "num_frames", "video_frames", "frames", "frame_count"];
/// Pictures of nothing: a place to stand in for a picture, not what is sampled.
const PLACEHOLDERS: &[&str] = &["EmptyImage", "SolidMask"];

/// What the sampler starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Latent {
    /// A node with a width and a height.
    Made(String),
    /// A node that encodes the pictures in this input.
    Encoded(String, &'static str),
}

impl Latent {
    /// It has a length, wherever that comes from.
    pub fn has_length(&self, graph: &Graph) -> bool {
        matches!(self, Self::Made(node) if LENGTHS.iter().any(|name| input(graph, node, name).is_some()))
    }

    /// The places that its size is made of: `dimension` 0 is the width, 1 the height, 2 the number of frames.
    pub fn size<'g>(&self, graph: &'g Graph, dimension: u64) -> Option<source::Made<'g>> {
        match self {
            Self::Encoded(node, name) => source::picture(graph, node, name, dimension),
            Self::Made(node) => {
                let names = match dimension {
                    0 => &["width"],
                    1 => &["height"],
                    _ => LENGTHS,
                };
                names.iter().find_map(|name| source::made(graph, node, name))
            }
        }
    }
}

/// What the samplers start from: that which has a length, else the first. Where no sampler takes a latent by that name,
/// or one without a size, the node that has a size by the names that nodes use, preferably with a length, or one that
/// makes it of nothing.
pub fn latent(graph: &Graph, live: &HashSet<&str>) -> Option<Latent> {
    let samplers = || graph.keys().filter(|id| live.contains(id.as_str()));
    let starts: Vec<&Value> = samplers().filter_map(|id| input(graph, id, "latent_image")).collect();
    let is_unsampled = starts.is_empty();
    let found = upwards(graph, starts);
    let has_length = |latent: &&Latent| latent.size(graph, 2).is_some();
    if let Some(latent) = found.iter().find(has_length).or_else(|| found.first()) {
        return Some(latent.clone());
    }
    let is_placeholder = |id: &str| graph.get(id).and_then(class).is_some_and(|class| PLACEHOLDERS.contains(&class));
    let number = |id: &str, name: &str| source::source(graph, id, name).is_some_and(|found| found.value.is_number());
    let all_sized = || samplers().filter(|id| number(id, "width") && number(id, "height"));
    let sized = || all_sized().filter(|id| !is_placeholder(id));
    let empty = |id: &&String| graph.get(*id).and_then(class).is_some_and(|class| class.starts_with("Empty"));
    let found = sized().find(|id| LENGTHS.iter().any(|name| number(id, name)));
    let found = found.or_else(|| sized().find(empty)).or_else(|| sized().next());
    // where nothing is sampled, what else stands for nothing is the picture itself
    let found = found.or_else(|| all_sized().next().filter(|_| is_unsampled));
    found.map(|id| Latent::Made(id.clone()))
}

fn upwards(graph: &Graph, starts: Vec<&Value>) -> Vec<Latent> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut line: Vec<&Value> = starts.into_iter().rev().collect();
    while let Some(node) = line.pop().and_then(link) {
        let Some(inputs) = graph.get(node).and_then(inputs).filter(|_| seen.insert(node)) else { continue };
        if source::is_switch(graph, node) {
            let branch = source::taken(graph, node);
            line.extend(branch.and_then(|at| inputs.get(&at.input)));
            continue;
        }
        let carries = |name: &str| (name.contains("latent") || name.contains("samples")) && !name.contains("audio");
        let before: Vec<&Value> =
            inputs.iter().filter(|(name, value)| carries(name) && link(value).is_some()).map(|(_, v)| v).collect();
        if !before.is_empty() {
            line.extend(before.into_iter().rev());
        } else if inputs.contains_key("width") && inputs.contains_key("height") {
            found.push(Latent::Made(node.to_owned()));
        } else if inputs.contains_key("pixels") {
            found.push(Latent::Encoded(node.to_owned(), "pixels"));
        }
    }
    found
}

/// The nodes that something comes of: those that nobody takes from, and all before them but for the branches that
/// switches do not take.
pub fn live(graph: &Graph) -> HashSet<&str> {
    let links = |node: &'_ Value| -> Vec<String> {
        let values = inputs(node).into_iter().flat_map(Map::values);
        values.filter_map(link).map(str::to_owned).collect()
    };
    let taken_from: HashSet<String> = graph.values().flat_map(links).collect();
    let mut found = HashSet::new();
    let mut line: Vec<&str> = graph.keys().map(String::as_str).filter(|id| !taken_from.contains(*id)).collect();
    while let Some(id) = line.pop() {
        let Some((id, node)) = graph.get_key_value(id).filter(|(id, _)| found.insert(id.as_str())) else { continue };
        let branch = source::taken(graph, id);
        let is_left = |name: &str| {
            let is_branch = name.starts_with("on_") || name.ends_with(|c: char| c.is_ascii_digit());
            branch.as_ref().is_some_and(|taken| is_branch && taken.input != name)
        };
        let inputs = inputs(node).into_iter().flatten();
        line.extend(inputs.filter(|(name, _)| !is_left(name)).filter_map(|(_, value)| link(value)));
    }
    found
}

fn inputs(node: &Value) -> Option<&Map<String, Value>> {
    node.get("inputs")?.as_object()
}
