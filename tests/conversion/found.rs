//! Slots that are found in graphs as the page sends them: what a person would set is there, and takes effect.

use std::collections::BTreeMap;

use crate::{pairs, shared};
use comfytop::workflow::{Graph, infer, input};

/// The graphs that have such an input on a node whose class holds one of these words, but none of these slots.
fn without(graphs: &BTreeMap<String, Graph>, name: &str, words: &[&str], slots: &[&str]) -> Vec<String> {
    let has_input = |graph: &Graph| {
        graph.values().any(|node| {
            let class = node["class_type"].as_str().unwrap_or_default();
            node["inputs"].get(name).is_some() && words.iter().any(|word| class.contains(word))
        })
    };
    let has_slot = |graph: &Graph| infer(graph).iter().any(|slot| slots.contains(&slot.name.as_str()));
    let bare = graphs.iter().filter(|(_, graph)| has_input(graph) && !has_slot(graph));
    bare.map(|(name, _)| name.clone()).collect()
}

#[test]
fn what_people_set_is_found_in_every_graph_that_has_it() {
    let Some(folder) = shared() else {
        println!("not run: there is no ../shared/conversion");
        return;
    };
    let mut graphs = BTreeMap::new();
    for pair in pairs(&folder) {
        graphs.insert(pair["name"].as_str().unwrap().to_owned(), pair["prompt"].as_object().unwrap().clone());
    }
    for (name, graph) in &graphs {
        for slot in infer(graph) {
            for at in &slot.inputs {
                let value = input(graph, &at.node, &at.input);
                assert!(value.is_some_and(|value| !value.is_array()), "{name}: {} {at} is {value:?}", slot.name);
            }
        }
    }
    let samplers = ["Sampler", "Scheduler", "Guider"];
    let latents = ["ToVideo", "LatentVideo"];
    // its steps are taken out of JSON
    assert_eq!(without(&graphs, "steps", &samplers, &["steps"]), ["image_ideogram4_t2i.json"]);
    assert_eq!(without(&graphs, "cfg", &samplers, &["cfg"]), [""; 0]);
    // of as many frames as the pictures that it starts from
    assert_eq!(without(&graphs, "length", &latents, &["length", "duration"]), ["Image_capybara_v0_1_image_edit.json"]);
    assert!(graphs.len() > 100, "{}", graphs.len());
}
