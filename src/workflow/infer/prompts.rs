//! Which texts of a graph are its prompts: what is wired to `positive` and `negative`, through all that lies between.
//!
//! Pure. Where a text is made of several (put together, or one of two by a switch) it is the one that a person writes.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Found, MOST, input};
use crate::workflow::from_graph::VALUES;
use crate::workflow::graph::{class, link};
use crate::workflow::slots::{InputRef, SlotType};

/// Inputs that hold the words of a prompt.
const TEXTS: &[&str] = &["text", "prompt", "text_g", "text_l", "clip_l", "clip_g", "t5xxl", "llama", "tags"];
/// Inputs of nodes that make one text of two, or take one of two.
const PARTS: &[&str] = &["string_a", "string_b", "on_true", "on_false", "text_a", "text_b", "text1", "text2"];
/// How far a text is followed.
const HOPS: usize = 12;

/// Which of the two prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Positive,
    Negative,
}

impl Found<'_> {
    pub(super) fn prompts(&mut self) {
        let mut sides: HashMap<Side, Vec<InputRef>> = HashMap::new();
        // what was walked for one sampler need not be for the next
        let mut seen = HashSet::new();
        for (id, node) in self.graph {
            let guider = class(node).is_some_and(|class| class.contains("Guider"));
            let named = |name: &str| {
                let both = [(Side::Positive, "positive"), (Side::Negative, "negative")];
                let side = both.into_iter().find(|(_, word)| name == *word || name == format!("{word}_prompt"));
                let is_wanted = guider && matches!(name, "conditioning" | "cond1");
                side.map(|(side, _)| side).or(is_wanted.then_some(Side::Positive))
            };
            for (name, value) in node.get("inputs").and_then(Value::as_object).into_iter().flatten() {
                let Some(side) = named(name) else { continue };
                let texts = if value.is_string() {
                    vec![InputRef::new(id, name)]
                } else {
                    self.texts_behind(value, side, &mut seen)
                };
                let all = sides.entry(side).or_default();
                all.extend(texts.into_iter().filter(|at| !all.contains(at)).collect::<Vec<_>>());
            }
        }
        let mut positive = sides.remove(&Side::Positive).unwrap_or_default();
        let mut negative = sides.remove(&Side::Negative).unwrap_or_default();
        if positive.is_empty() && negative.is_empty() {
            (positive, negative) = self.texts_by_title();
        }
        if positive.is_empty() {
            positive = self.texts_by_name();
        }
        // One text for both (its negative is zeroed out, or it is the same node): it is what is wanted.
        negative.retain(|at| !positive.contains(at));
        for (name, words, texts) in
            [("prompt", "what is to be seen", positive), ("negative", "what is not to be seen", negative)]
        {
            // Inputs that hold the same words are one slot: the two encoders of one prompt.
            let mut groups: Vec<(&Value, Vec<InputRef>)> = Vec::new();
            for at in texts.into_iter().take(MOST) {
                let Some(value) = input(self.graph, &at.node, &at.input) else { continue };
                match groups.iter_mut().find(|(words, _)| *words == value) {
                    Some((_, group)) => group.push(at),
                    None => groups.push((value, vec![at])),
                }
            }
            let groups: Vec<_> = groups.into_iter().map(|(_, group)| group).collect();
            for group in groups {
                self.add(name, SlotType::String, group, words);
            }
        }
        let lyrics: Vec<_> = self.graph.keys().flat_map(|id| self.texts_of(id, "lyrics")).collect();
        self.add("lyrics", SlotType::String, lyrics, "what is to be sung");
    }

    /// The texts that a conditioning is made from, however many nodes it goes through.
    fn texts_behind(
        &self,
        start: &Value,
        side: Side,
        seen: &mut HashSet<(Side, String, Option<u64>)>,
    ) -> Vec<InputRef> {
        let mut texts = Vec::new();
        let mut line = vec![start.clone()];
        while let Some(value) = line.pop() {
            let Some(id) = link(&value) else { continue };
            let output = value.get(1).and_then(Value::as_u64);
            let Some(inputs) = self.graph.get(id).and_then(|node| node.get("inputs")?.as_object()) else { continue };
            if !seen.insert((side, id.to_owned(), output)) {
                continue;
            }
            let before = texts.len();
            for at in TEXTS.iter().flat_map(|name| self.texts_of(id, name)) {
                if !texts.contains(&at) {
                    texts.push(at);
                }
            }
            if texts.len() > before || self.graph.get(id).and_then(class) == Some("ConditioningZeroOut") {
                continue;
            }
            let through = match (inputs.get("positive"), inputs.get("negative"), output) {
                (Some(positive), Some(_), Some(0)) => vec![positive],
                (Some(_), Some(negative), Some(1)) => vec![negative],
                (Some(positive), _, _) if side == Side::Positive => vec![positive],
                (_, Some(negative), _) if side == Side::Negative => vec![negative],
                _ => inputs
                    .iter()
                    .filter(|(name, _)| name.starts_with("cond") || name.starts_with("on_"))
                    .map(|(_, value)| value)
                    .collect(),
            };
            line.extend(through.into_iter().rev().cloned());
        }
        texts
    }

    /// The texts that an input is made of, or the one that a person would change.
    fn texts_of(&self, node: &str, name: &str) -> Vec<InputRef> {
        let mut found = Vec::new();
        self.follow(node, name, 0, HOPS, &mut HashSet::new(), &mut found);
        let best = found.iter().map(|(rank, _)| *rank).min();
        found.into_iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, at)| at).collect()
    }

    /// Follows an input to the texts behind it, each with how little it looks like what a person writes. `made`: a node
    /// on the way makes another text of it.
    fn follow(
        &self,
        node: &str,
        name: &str,
        made: usize,
        hops: usize,
        seen: &mut HashSet<(String, String)>,
        found: &mut Vec<(usize, InputRef)>,
    ) {
        let Some(value) = input(self.graph, node, name).filter(|_| hops > 0 && seen.len() < MOST) else { return };
        if !seen.insert((node.to_owned(), name.to_owned())) {
            return;
        }
        if let Some(text) = value.as_str() {
            let title = self.titles.get(node).map(|title| title.to_lowercase()).unwrap_or_default();
            let is_named = title.contains("prompt") && !title.contains("system");
            // a node of its own for one text is there to be written into
            let is_own = VALUES.contains(&name);
            let rank =
                8 * made + 4 * usize::from(text.trim().is_empty()) + usize::from(!is_own) + usize::from(!is_named);
            found.push((rank, InputRef::new(node, name)));
        }
        let Some(from) = link(value) else { return };
        let kind = self.graph.get(from).and_then(class).unwrap_or_default();
        let makes = ["Replace", "Extract", "Generate"].iter().any(|word| kind.contains(word));
        let made = made + usize::from(makes);
        let through: &[&[&str]] = if makes { &[VALUES, &["prompt"]] } else { &[VALUES, PARTS] };
        for name in through.iter().copied().flatten() {
            self.follow(from, name, made, hops - 1, seen, found);
        }
    }

    fn texts_by_title(&self) -> (Vec<InputRef>, Vec<InputRef>) {
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for (id, title) in &self.titles {
            let title = title.to_lowercase();
            let Some(side) = (if title.contains("negative") {
                Some(&mut negative)
            } else {
                (title.contains("positive") || title.contains("prompt")).then_some(&mut positive)
            }) else {
                continue;
            };
            let texts = TEXTS.iter().chain(VALUES).map(|name| self.texts_of(id, name)).find(|texts| !texts.is_empty());
            let new = texts.into_iter().flatten().filter(|at| !side.contains(at)).collect::<Vec<_>>();
            side.extend(new);
        }
        (positive, negative)
    }

    /// Where a service does all the work: what its node calls a prompt.
    fn texts_by_name(&self) -> Vec<InputRef> {
        let mut texts = Vec::new();
        for (id, node) in self.graph {
            let inputs = node.get("inputs").and_then(Value::as_object);
            let names = inputs.into_iter().flat_map(serde_json::Map::keys);
            // of a dynamic combo: `model.prompt`
            for name in names.filter(|name| name.rsplit('.').next() == Some("prompt")) {
                let new = self.texts_of(id, name).into_iter().filter(|at| !texts.contains(at)).collect::<Vec<_>>();
                texts.extend(new);
            }
        }
        texts
    }
}
