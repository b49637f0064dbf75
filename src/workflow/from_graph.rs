//! What a graph tells by itself: its seeds and its size, where no `.toml` says.
//!
//! Pure. It reads names of inputs, as people and nodes use them; it never guesses what a custom node does.

use serde_json::Value;

use crate::job::Shape;

use super::graph::{Graph, class, input, link};
use super::slots::InputRef;

/// Inputs of nodes that only hand a value on.
pub(super) const VALUES: &[&str] = &["value", "text", "string", "int", "float", "number", "Value", "Number"];
/// How far a linked value is followed.
const HOPS: usize = 8;

/// The value of an input, or of the input behind the nodes that only hand it on.
pub(super) fn behind<'g>(graph: &'g Graph, node: &str, name: &str) -> Option<(InputRef, &'g Value)> {
    let mut at = InputRef::new(node, name);
    for _ in 0..HOPS {
        let value = input(graph, &at.node, &at.input)?;
        let Some(from) = link(value) else { return Some((at, value)) };
        let next = VALUES.iter().find(|name| input(graph, from, name).is_some_and(|v| !v.is_object()))?;
        at = InputRef::new(from, *next);
    }
    None
}

/// The inputs that take the seed: `seed` and `noise_seed` with a number in them or behind them, but not of a sampler
/// that adds no noise (its seed has no effect).
pub(super) fn seed_inputs(graph: &Graph) -> Vec<InputRef> {
    let mut found = Vec::new();
    for id in graph.keys() {
        if input(graph, id, "add_noise").and_then(Value::as_str) == Some("disable") {
            continue;
        }
        for name in ["seed", "noise_seed"] {
            if let Some((at, _)) = behind(graph, id, name).filter(|(_, value)| value.is_u64())
                && !found.contains(&at)
            {
                found.push(at);
            }
        }
    }
    found
}

/// The size by the names that nodes use: the node that makes the latent (width, height and perhaps length in
/// one place, preferably an `Empty…` one), and the first `steps`.
pub(super) fn shape(graph: &Graph) -> Shape {
    let number = |id: &str, name: &str| small(input(graph, id, name)?);
    let length = |id: &str| number(id, "length").or_else(|| number(id, "num_frames"));
    let sized = || graph.keys().filter(|id| number(id, "width").is_some() && number(id, "height").is_some());
    let empty = |id: &&String| graph.get(*id).and_then(class).is_some_and(|class| class.starts_with("Empty"));
    let latent = sized().find(|id| length(id).is_some()).or_else(|| sized().find(empty)).or_else(|| sized().next());
    Shape {
        width: latent.and_then(|id| number(id, "width")),
        height: latent.and_then(|id| number(id, "height")),
        length: latent.and_then(|id| length(id)),
        steps: graph.keys().find_map(|id| number(id, "steps")),
    }
}

pub(super) fn small(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph(value: Value) -> Graph {
        let Value::Object(graph) = value else { panic!("an object") };
        graph
    }

    #[test]
    fn a_sampler_that_adds_no_noise_has_no_seed() {
        let graph = graph(json!({
            "13": {"class_type": "KSamplerAdvanced", "inputs": {"add_noise": "enable", "noise_seed": 7}},
            "14": {"class_type": "KSamplerAdvanced", "inputs": {"add_noise": "disable", "noise_seed": 8}},
            "15": {"class_type": "KSampler", "inputs": {"seed": ["16", 0]}},
            "16": {"class_type": "Seeds", "inputs": {"seed": 9}},
            "17": {"class_type": "Odd", "inputs": {"seed": -1}},
            "18": {"class_type": "KSampler", "inputs": {"seed": ["20", 0]}},
            "19": {"class_type": "RandomNoise", "inputs": {"noise_seed": ["20", 0]}},
            "20": {"class_type": "PrimitiveInt", "inputs": {"value": 10}},
        }));
        let places = [("13", "noise_seed"), ("16", "seed"), ("20", "value")].map(|(id, name)| InputRef::new(id, name));
        assert_eq!(seed_inputs(&graph), places);
    }

    #[test]
    fn the_size_is_that_of_the_latent() {
        let graph = graph(json!({
            "1": {"class_type": "ImageScale", "inputs": {"width": 1, "height": 2}},
            "2": {"class_type": "WanImageToVideo", "inputs": {"width": 480, "height": 848, "length": 129}},
            "3": {"class_type": "KSampler", "inputs": {"steps": 4}},
        }));
        assert_eq!(shape(&graph), Shape { width: Some(480), height: Some(848), length: Some(129), steps: Some(4) });
        assert_eq!(shape(&Graph::new()), Shape::default());
    }
}
