//! Slots of a graph that has no `.toml`: found by what is wired to what, by the names of inputs, and by titles.
//!
//! Pure. It reads what stands in the graph and never guesses what a custom node does: what it does not know stays to
//! be edited with `set`. Every slot is optional, and its default is what the graph has.

mod declared;
mod prompts;

use serde_json::Value;

use super::from_graph;
use super::graph::{self, Graph, class, input, link};
use super::slots::{Also, InputRef, Slot, SlotType};

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

const LENGTHS: &[&str] = &["length", "num_frames", "video_frames", "frames", "frame_count"];
const RATES: &[&str] = &["fps", "frame_rate"];
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
    let mut found = Found { graph, titles: graph::titles(graph), slots: Vec::new() };
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
    titles: std::collections::BTreeMap<String, String>,
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

    /// The value of an input, or of the input behind the nodes that only hand it on.
    fn value(&self, node: &str, name: &str) -> Option<(InputRef, &Value)> {
        from_graph::behind(self.graph, node, name)
    }

    fn number(&self, node: &str, name: &str) -> Option<(InputRef, f64)> {
        let (at, value) = self.value(node, name)?;
        Some((at, value.as_f64()?))
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

    // ---- numbers --------------------------------------------------------------------------------

    fn seed(&mut self) {
        let inputs = from_graph::seed_inputs(self.graph);
        self.add("seed", SlotType::Seed, inputs, "the seed of the noise");
    }

    fn length_of(&self, id: &str) -> Option<InputRef> {
        LENGTHS.iter().find_map(|name| self.number(id, name)).map(|(at, _)| at)
    }

    /// The node that makes the latent: with a length, else one that makes it of nothing, else the first with a size.
    fn latent(&self) -> Option<String> {
        let sized = || {
            let has = |id: &&String| self.number(id, "width").is_some() && self.number(id, "height").is_some();
            self.graph.keys().filter(has)
        };
        let empty = |id: &&String| self.graph.get(*id).and_then(class).is_some_and(|class| class.starts_with("Empty"));
        let found = sized().find(|id| self.length_of(id).is_some()).or_else(|| sized().find(empty));
        found.or_else(|| sized().next()).cloned()
    }

    fn size(&mut self) {
        let latent = self.latent();
        if let Some(id) = &latent {
            for name in ["width", "height"] {
                if let Some((at, _)) = self.number(id, name) {
                    self.add(name, SlotType::Int, vec![at], "pixels");
                }
            }
        }
        let length = latent.as_ref().and_then(|id| self.length_of(id));
        if let Some(at) = length.or_else(|| self.graph.keys().find_map(|id| self.length_of(id))) {
            self.add("length", SlotType::Int, vec![at], "frames");
        }
        self.same("fps", RATES, SlotType::Float, "frames a second");
    }

    /// One slot for each value that these inputs have: samplers that agree are set together.
    fn same(&mut self, slot: &str, names: &[&str], kind: SlotType, words: &str) {
        let mut groups: Vec<(f64, Vec<InputRef>)> = Vec::new();
        for id in self.graph.keys() {
            for name in names {
                let Some((at, value)) = self.number(id, name) else { continue };
                match groups.iter_mut().find(|(other, _)| (*other - value).abs() < f64::EPSILON) {
                    Some((_, group)) if !group.contains(&at) => group.push(at),
                    Some(_) => {}
                    None => groups.push((value, vec![at])),
                }
            }
        }
        for (_, group) in groups {
            self.add(slot, kind, group, words);
        }
    }

    /// Steps; samplers that share them (`start_at_step`, `end_at_step`) keep their parts.
    fn steps(&mut self) {
        let before = self.slots.len();
        self.same("steps", &["steps"], SlotType::Int, "steps of the sampler");
        for at in before..self.slots.len() {
            let Some(slot) = self.slots.get(at) else { continue };
            let Some(first) = slot.inputs.first() else { continue };
            let Some(steps) = input(self.graph, &first.node, &first.input).and_then(Value::as_f64) else { continue };
            let users: Vec<String> = self
                .graph
                .keys()
                .filter(|id| self.number(id, "steps").is_some_and(|(place, _)| slot.inputs.contains(&place)))
                .cloned()
                .collect();
            let (mut whole, mut part) = (Vec::new(), Vec::new());
            for id in users {
                for name in ["start_at_step", "end_at_step"] {
                    let Some(value) = input(self.graph, &id, name).and_then(Value::as_f64) else { continue };
                    let place = InputRef::new(&id, name);
                    if !can_be_written(&place) {
                        continue;
                    }
                    if (value - steps).abs() < f64::EPSILON {
                        whole.push(place);
                    } else if value > 0.0 && value < steps {
                        part.push(Also { input: place, times: value / steps, plus: 0.0 });
                    }
                }
            }
            if let Some(slot) = self.slots.get_mut(at) {
                slot.inputs.extend(whole);
                slot.also = part;
                slot.min = Some(1.0);
            }
        }
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
            self.add(&name, SlotType::Model, vec![at.clone()], "a file on the server");
            let name = self.slots.get(before).map_or(name, |slot| slot.name.clone());
            for (input, tail) in
                [("strength_model", "strength"), ("strength_clip", "clip_strength"), ("strength", "strength")]
            {
                if *slot == "lora"
                    && let Some((at, _)) = self.number(&at.node, input)
                {
                    self.add(&format!("{name}_{tail}"), SlotType::Float, vec![at], "its strength");
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
