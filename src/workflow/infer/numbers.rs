//! Numbers of a graph that people set: seed, size, length or duration, frame rate, steps, cfg.
//!
//! Pure. Only what takes effect: of the nodes that take part, and of switches the branch that they take now.

use super::{Found, can_be_written};
use crate::workflow::from_graph::{self, CUT, LENGTHS, Made, Source};
use crate::workflow::graph::class;
use crate::workflow::slots::{Also, InputRef, SlotType};

const RATES: &[&str] = &["fps", "frame_rate"];

impl<'g> Found<'g> {
    pub(super) fn number(&self, node: &str, name: &str) -> Option<(Source<'g>, f64)> {
        let from = from_graph::source(self.graph, node, name)?;
        let value = from.value.as_f64()?;
        Some((from, value))
    }

    fn nodes(&self) -> impl Iterator<Item = &'g String> + '_ {
        self.graph.keys().filter(|id| self.live.contains(id.as_str()))
    }

    pub(super) fn seed(&mut self) {
        let inputs = from_graph::seed_inputs(self.graph);
        self.add("seed", SlotType::Seed, inputs, "the seed of the noise");
    }

    pub(super) fn size(&mut self) {
        let latent = from_graph::latent(self.graph, &self.live);
        for (name, dimension) in [("width", 0), ("height", 1)] {
            let made = latent.as_ref().and_then(|latent| latent.size(self.graph, dimension));
            let Some(Made { of, is_same }) = made else { continue };
            let [from] = of.as_slice() else { continue };
            if from.value.is_number() {
                let words = if is_same { "pixels" } else { "pixels, of which the graph makes others" };
                self.set(name, SlotType::Int, from, words);
            }
        }
        let length = latent.as_ref().and_then(|latent| latent.size(self.graph, 2));
        let has_own = latent.is_some_and(|latent| latent.has_length(self.graph));
        let elsewhere = || {
            let is_cut = |id: &str| self.graph.get(id).and_then(class).is_some_and(|class| CUT.contains(&class));
            let mut others = self.nodes().filter(|id| !has_own && !is_cut(id));
            others.find_map(|id| LENGTHS.iter().find_map(|name| from_graph::made(self.graph, id, name)))
        };
        if let Some(made) = length.or_else(elsewhere) {
            self.length(&made);
        }
        self.same("fps", RATES, SlotType::Float, "frames a second");
    }

    /// The number of frames, or the seconds that it is made of.
    fn length(&mut self, made: &Made<'g>) {
        let numbers = || made.of.iter().filter(|from| from.value.is_number());
        if let (true, Some(from)) = (made.is_same, numbers().next()) {
            self.set("length", SlotType::Int, from, "frames");
            return;
        }
        let rates = self.places(RATES);
        let mut rest = numbers().filter(|from| !rates.contains(&from.at));
        let (Some(from), None) = (rest.next(), rest.next()) else { return };
        let title = self.titles.get(&from.at.node).map(|title| title.to_lowercase()).unwrap_or_default();
        let has = |words: &[&str]| words.iter().any(|word| title.contains(word));
        if made.of.len() > 1 || has(&["duration", "second"]) {
            let kind = if self.is_whole(from) { SlotType::Int } else { SlotType::Float };
            self.set("duration", kind, from, "seconds, of which the graph makes frames");
        } else if has(&["length", "frames"]) {
            self.set("length", SlotType::Int, from, "frames, of which the graph makes another number");
        }
    }

    /// A node that is there for one whole number.
    fn is_whole(&self, from: &Source) -> bool {
        let kind = self.graph.get(&from.at.node).and_then(class).map(str::to_lowercase).unwrap_or_default();
        kind.ends_with("int") || kind.starts_with("int")
    }

    fn set(&mut self, name: &str, kind: SlotType, from: &Source, words: &str) {
        let words = format!("{words}{}", self.switched(std::slice::from_ref(from)));
        self.add(name, kind, vec![from.at.clone()], &words);
    }

    /// What must stay as it is for these places to take effect.
    fn switched(&self, sources: &[Source]) -> String {
        let mut ways: Vec<String> = Vec::new();
        for (at, value) in sources.iter().flat_map(|from| &from.switches) {
            let title = self.titles.get(&at.node).map_or(at.node.as_str(), String::as_str);
            let way = format!("{title} is {value}");
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        if ways.is_empty() { String::new() } else { format!(", while {}", ways.join(" and ")) }
    }

    /// The places behind these inputs.
    fn places(&self, names: &[&str]) -> Vec<InputRef> {
        let found = self.nodes().flat_map(|id| names.iter().filter_map(|name| self.number(id, name)));
        found.map(|(from, _)| from.at).collect()
    }

    /// One slot for each value that these inputs have: samplers that agree are set together.
    pub(super) fn same(&mut self, slot: &str, names: &[&str], kind: SlotType, words: &str) {
        let mut groups: Vec<(f64, Vec<Source>)> = Vec::new();
        for id in self.nodes() {
            for name in names {
                let Some((from, value)) = self.number(id, name) else { continue };
                match groups.iter_mut().find(|(other, _)| (*other - value).abs() < f64::EPSILON) {
                    Some((_, group)) if group.iter().all(|known| known.at != from.at) => group.push(from),
                    Some(_) => {}
                    None => groups.push((value, vec![from])),
                }
            }
        }
        for (_, group) in groups {
            let words = format!("{words}{}", self.switched(&group));
            let is_whole = kind == SlotType::Float && group.iter().all(|from| self.is_whole(from));
            let kind = if is_whole { SlotType::Int } else { kind };
            self.add(slot, kind, group.into_iter().map(|from| from.at).collect(), &words);
        }
    }

    /// Steps; samplers that share them (`start_at_step`, `end_at_step`) keep their parts.
    pub(super) fn steps(&mut self) {
        let before = self.slots.len();
        self.same("steps", &["steps"], SlotType::Int, "steps of the sampler");
        for at in before..self.slots.len() {
            let Some(slot) = self.slots.get(at) else { continue };
            let (mut whole, mut part) = (Vec::new(), Vec::<Also>::new());
            for id in self.nodes() {
                let Some((_, steps)) = self.number(id, "steps").filter(|(from, _)| slot.inputs.contains(&from.at))
                else {
                    continue;
                };
                for name in ["start_at_step", "end_at_step"] {
                    let Some((Source { at: place, .. }, value)) = self.number(id, name) else { continue };
                    let is_known = || slot.inputs.contains(&place) || part.iter().any(|also| also.input == place);
                    if !can_be_written(&place) || whole.contains(&place) || is_known() {
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
}
