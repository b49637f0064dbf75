//! Slots of a graph that has no `.toml`: found by what is wired to what, by the names of inputs, and by titles.
//!
//! Pure. It reads what stands in the graph and never guesses what a custom node does: what it does not know stays to
//! be edited with `set`. Every slot is optional, and its default is what the graph has.

mod declared;
mod numbers;
mod prompts;

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::from_graph;
use super::graph::{self, Graph, class, input, link};
use super::slots::{InputRef, Slot, SlotType};

pub use declared::slots_toml;

/// Nodes that take a file from the server's input folder, the input that names it, and what it is.
pub const LOADERS: &[(&str, &str, SlotType)] = &[
    ("LoadImage", "image", SlotType::Image),
    ("LoadImageMask", "image", SlotType::Mask),
    ("LoadVideo", "file", SlotType::Video),
    ("LoadAudio", "audio", SlotType::Audio),
    ("VHS_LoadVideo", "video", SlotType::Video),
    ("VHS_LoadVideoFFmpeg", "video", SlotType::Video),
    ("VHS_LoadAudioUpload", "audio", SlotType::Audio),
];

/// Inputs that name a model file, and what its slot is called.
const MODELS: &[(&str, &str)] = &[
    ("ckpt_name", "checkpoint"),
    ("unet_name", "model"),
    ("clip_name", "clip"),
    ("clip_name1", "clip"),
    ("clip_name2", "clip"),
    ("clip_name3", "clip"),
    ("vae_name", "vae"),
    ("lora_name", "lora"),
    ("control_net_name", "controlnet"),
];
/// So many slots are found at most: a graph that has more is nobody's to fill by name.
const MOST: usize = 200;

/// The slots of a graph, in the order in which people think of them.
pub fn infer(graph: &Graph) -> Vec<Slot> {
    let live = from_graph::live(graph);
    let mut found = Found { graph, live, titles: graph::titles(graph), slots: Vec::new() };
    found.files();
    found.prompts();
    found.seed();
    found.size();
    found.steps();
    found.same("cfg", &["cfg"], SlotType::Float, "how closely the prompt is followed");
    found.models();
    found.prefixes();
    found.slots
}

struct Found<'g> {
    graph: &'g Graph,
    /// The nodes that something comes of.
    live: HashSet<&'g str>,
    titles: BTreeMap<String, String>,
    slots: Vec<Slot>,
}

impl Found<'_> {
    fn add(&mut self, name: &str, kind: SlotType, mut inputs: Vec<InputRef>, words: &str) {
        // an id with a dot, or without a letter, can't be written as a place
        inputs.retain(can_be_written);
        if inputs.is_empty() || self.slots.len() >= MOST {
            return;
        }
        let is_taken = |name: &str| self.slots.iter().any(|slot| slot.name == name);
        let mut free = name.to_owned();
        let mut number = 2;
        while is_taken(&free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        let titles: Vec<&str> = inputs.iter().filter_map(|at| self.titles.get(&at.node)).map(String::as_str).collect();
        let mut shown: Vec<&str> = Vec::new();
        for title in titles {
            if !shown.contains(&title) {
                shown.push(title);
            }
        }
        let description = format!("{words} ({})", shown.join(", "));
        self.slots.push(Slot { description, ..Slot::plain(&free, kind, inputs) });
    }

    // ---- files ----------------------------------------------------------------------------------

    fn files(&mut self) {
        let mut files = Vec::new();
        for (id, node) in self.graph {
            let loader = class(node).and_then(|class| LOADERS.iter().find(|(known, ..)| *known == class));
            if let Some((_, name, kind)) = loader
                && input(self.graph, id, name).is_some_and(Value::is_string)
            {
                files.push((InputRef::new(id, *name), *kind));
            }
        }
        files.truncate(MOST);
        let count = |kind: SlotType| files.iter().filter(|(_, other)| *other == kind).count();
        let named: Vec<_> = files
            .iter()
            .map(|(at, kind)| {
                let plain = kind.word();
                let own = (count(*kind) > 1).then(|| self.fed_as(&at.node)).flatten();
                (own.unwrap_or_else(|| plain.to_owned()), *kind, at.clone())
            })
            .collect();
        for (name, kind, at) in named {
            self.add(&name, kind, vec![at], &format!("{} to start from", kind.words()));
        }
    }

    /// The name of the input that a node feeds, where it tells more than the kind: `start_image`, `end_image`.
    fn fed_as(&self, from: &str) -> Option<String> {
        let mut names = self.graph.values().filter_map(|node| node.get("inputs")?.as_object()).flat_map(|inputs| {
            inputs.iter().filter(|(_, value)| link(value) == Some(from)).map(|(name, _)| name.as_str())
        });
        let name =
            names.find(|name| name.contains('_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))?;
        (!crate::job_file::OWN_KEYS.contains(&name)).then(|| name.to_owned())
    }

    // ---- names ----------------------------------------------------------------------------------

    fn models(&mut self) {
        let mut models = Vec::new();
        for (id, node) in self.graph {
            for (name, value) in node.get("inputs").and_then(Value::as_object).into_iter().flatten() {
                if let (Some((_, slot)), Some(file)) = (MODELS.iter().find(|(known, _)| known == name), value.as_str())
                {
                    models.push((*slot, InputRef::new(id, name), file.to_lowercase()));
                }
            }
        }
        for (slot, at, file) in &models {
            let alone = models.iter().filter(|(other, ..)| other == slot).count() == 1;
            let title = self.titles.get(&at.node).map(|title| title.to_lowercase()).unwrap_or_default();
            let half = ["high", "low"].into_iter().find(|half| file.contains(half) || title.contains(half));
            let name = match half.filter(|_| !alone) {
                Some(half) => format!("{slot}_{half}"),
                None => (*slot).to_owned(),
            };
            let before = self.slots.len();
            let left = if self.live.contains(at.node.as_str()) { "" } else { ", which no switch takes as they stand" };
            self.add(&name, SlotType::Model, vec![at.clone()], &format!("a file on the server{left}"));
            let name = self.slots.get(before).map_or(name, |slot| slot.name.clone());
            for (input, tail) in
                [("strength_model", "strength"), ("strength_clip", "clip_strength"), ("strength", "strength")]
            {
                if *slot == "lora"
                    && let Some((from, _)) = self.number(&at.node, input)
                {
                    self.add(&format!("{name}_{tail}"), SlotType::Float, vec![from.at], &format!("its strength{left}"));
                }
            }
        }
    }

    fn prefixes(&mut self) {
        let places: Vec<_> = self
            .graph
            .keys()
            .filter(|id| input(self.graph, id, "filename_prefix").is_some_and(Value::is_string))
            .map(|id| InputRef::new(id, "filename_prefix"))
            .collect();
        for at in places {
            self.add("prefix", SlotType::String, vec![at], "where the output goes on the server");
        }
    }
}

fn can_be_written(place: &InputRef) -> bool {
    InputRef::parse(&place.to_string()).as_ref() == Some(place)
}

#[cfg(test)]
mod tests;
