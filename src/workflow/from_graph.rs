//! What a graph tells by itself: its seeds and its size, where no `.toml` says.
//!
//! Pure. It reads names of inputs, as people and nodes use them; it never guesses what a custom node does.

mod latent;
mod source;

use serde_json::Value;

use crate::job::Shape;

use super::graph::{Graph, input};
use super::slots::InputRef;

pub(super) use latent::{LENGTHS, latent, live};
pub(super) use source::{CUT, Made, Source, VALUES, made, source};

/// The inputs that take the seed: `seed` and `noise_seed` with a number in them or behind them, but not of a sampler
/// that adds no noise (its seed has no effect).
pub(super) fn seed_inputs(graph: &Graph) -> Vec<InputRef> {
    let mut found = Vec::new();
    for id in graph.keys() {
        if input(graph, id, "add_noise").and_then(Value::as_str) == Some("disable") {
            continue;
        }
        for name in ["seed", "noise_seed"] {
            if let Some(from) = source(graph, id, name).filter(|from| from.value.is_u64())
                && !found.contains(&from.at)
            {
                found.push(from.at);
            }
        }
    }
    found
}

/// The size of the latent that is sampled, and the first `steps`, each where it stands in the graph as it is.
pub(super) fn shape(graph: &Graph) -> Shape {
    let live = live(graph);
    let latent = latent(graph, &live);
    let size = |dimension| {
        let made = latent.as_ref()?.size(graph, dimension).filter(|made| made.is_same)?;
        small(made.of.first()?.value)
    };
    let mut nodes = graph.keys().filter(|id| live.contains(id.as_str()));
    Shape {
        width: size(0),
        height: size(1),
        length: size(2),
        steps: nodes.find_map(|id| small(source(graph, id, "steps")?.value)),
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

    #[test]
    fn the_size_is_read_behind_links_and_what_is_made_of_it_is_not_guessed() {
        let graph = graph(json!({
            "1": {"class_type": "EmptyImage", "inputs": {"width": 512, "height": 512}},
            "2": {"class_type": "PrimitiveInt", "inputs": {"value": 640}},
            "3": {"class_type": "ComfyMathExpression", "inputs": {"expression": "a * 16", "values.a": ["2", 0]}},
            "4": {"class_type": "ComfySwitchNode", "inputs": {"switch": false, "on_false": ["2", 0], "on_true": 1}},
            "5": {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": ["4", 0], "height": 480, "length": ["3", 1]}},
            "6": {"class_type": "KSampler", "inputs": {"latent_image": ["5", 0], "steps": ["7", 0]}},
            "7": {"class_type": "PrimitiveInt", "inputs": {"value": 8}},
        }));
        assert_eq!(shape(&graph), Shape { width: Some(640), height: Some(480), length: None, steps: Some(8) });
    }
}
