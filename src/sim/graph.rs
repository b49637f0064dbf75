//! The prompt as a graph: in what order its nodes run, what the cache knows them by, and what the
//! nodes above one say of it (seed, size, batch).
//!
//! Pure. The order is that of ComfyUI's `ExecutionList.ux_friendly_pick_node`; recordings 01 and
//! 27 hold it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use serde_json::{Map, Value};

/// Node id to node, as posted.
pub type Prompt = Map<String, Value>;

/// `[node id, output index]`, if this input is a link.
pub fn link(value: &Value) -> Option<(&str, u64)> {
    match value.as_array()?.as_slice() {
        [Value::String(node), Value::Number(slot)] => Some((node, slot.as_u64().unwrap_or(0))),
        _ => None,
    }
}

pub fn class<'a>(prompt: &'a Prompt, node: &str) -> &'a str {
    prompt.get(node).and_then(|n| n.get("class_type")).and_then(Value::as_str).unwrap_or("")
}

pub fn inputs<'a>(prompt: &'a Prompt, node: &str) -> Option<&'a Map<String, Value>> {
    prompt.get(node)?.get("inputs")?.as_object()
}

/// What its texts say, in the order of its nodes: tells whose prompt it is.
pub fn texts(prompt: &Prompt) -> Vec<&str> {
    let encoders = prompt.keys().filter(|id| class(prompt, id) == "CLIPTextEncode");
    encoders.filter_map(|id| input(prompt, id, "text")?.as_str()).filter(|text| !text.is_empty()).collect()
}

pub fn input<'a>(prompt: &'a Prompt, node: &str, name: &str) -> Option<&'a Value> {
    inputs(prompt, node)?.get(name)
}

fn links<'a>(prompt: &'a Prompt, node: &str) -> impl Iterator<Item = &'a str> {
    inputs(prompt, node).into_iter().flat_map(|map| map.values()).filter_map(|value| link(value).map(|(id, _)| id))
}

/// What is left to run.
#[derive(Debug, Default)]
pub struct Plan {
    pending: Vec<String>,
    blocked_by: HashMap<String, usize>,
    blocking: HashMap<String, Vec<String>>,
}

impl Plan {
    /// `cached` nodes are left out, unless they are outputs themselves: those are told once more.
    pub fn new(prompt: &Prompt, outputs: &[String], cached: &HashSet<String>) -> Self {
        let mut plan = Self::default();
        for output in outputs {
            plan.add(prompt, output, cached);
        }
        plan
    }

    fn add(&mut self, prompt: &Prompt, root: &str, cached: &HashSet<String>) {
        let mut stack = vec![root.to_owned()];
        let mut found = Vec::new();
        while let Some(node) = stack.pop() {
            if self.blocked_by.contains_key(&node) {
                continue;
            }
            self.pending.push(node.clone());
            self.blocked_by.insert(node.clone(), 0);
            for from in links(prompt, &node).filter(|from| !cached.contains(*from) && prompt.contains_key(*from)) {
                stack.push(from.to_owned());
                found.push((from.to_owned(), node.clone()));
            }
        }
        for (from, to) in found {
            let blocked = self.blocking.entry(from).or_default();
            if !blocked.contains(&to) {
                *self.blocked_by.entry(to.clone()).or_default() += 1;
                blocked.push(to);
            }
        }
    }

    /// The node to run next: an output, else what an output waits for, else the first that can.
    pub fn next(&self, is_output: impl Fn(&str) -> bool) -> Option<&str> {
        let ready: Vec<&String> = self.pending.iter().filter(|node| self.blocked_by.get(*node) == Some(&0)).collect();
        let after = |node: &str| self.blocking.get(node).map_or(&[][..], Vec::as_slice);
        let serves = |node: &str| after(node).iter().any(|to| is_output(to));
        ready
            .iter()
            .find(|node| is_output(node))
            .or_else(|| ready.iter().find(|node| serves(node)))
            .or_else(|| ready.iter().find(|node| after(node).iter().any(|to| serves(to))))
            .or_else(|| ready.first())
            .map(|node| node.as_str())
    }

    pub fn done(&mut self, node: &str) {
        self.pending.retain(|other| other != node);
        for to in self.blocking.remove(node).unwrap_or_default() {
            if let Some(count) = self.blocked_by.get_mut(&to) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

/// What ComfyUI's cache knows each node by: its class and inputs, and the same of all above it.
/// `content` tells what a named input file holds (`IS_CHANGED` of `LoadImage`).
pub fn signatures(prompt: &Prompt, content: impl Fn(&str) -> u64) -> HashMap<String, u64> {
    let mut known = HashMap::new();
    for node in prompt.keys() {
        sign(prompt, node, &content, &mut known, &mut HashSet::new());
    }
    known
}

fn sign(
    prompt: &Prompt,
    node: &str,
    content: &impl Fn(&str) -> u64,
    known: &mut HashMap<String, u64>,
    above: &mut HashSet<String>,
) -> u64 {
    if let Some(hash) = known.get(node) {
        return *hash;
    }
    let mut hasher = DefaultHasher::new();
    class(prompt, node).hash(&mut hasher);
    if above.insert(node.to_owned()) {
        let mut sorted: Vec<_> = inputs(prompt, node).into_iter().flatten().collect();
        sorted.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in sorted {
            name.hash(&mut hasher);
            match link(value) {
                Some((from, slot)) if prompt.contains_key(from) => {
                    (sign(prompt, from, content, known, above), slot).hash(&mut hasher);
                }
                _ => value.to_string().hash(&mut hasher),
            }
        }
        above.remove(node);
    }
    if class(prompt, node) == "LoadImage"
        && let Some(file) = input(prompt, node, "image").and_then(Value::as_str)
    {
        content(file).hash(&mut hasher);
    }
    let hash = hasher.finish();
    known.insert(node.to_owned(), hash);
    hash
}

/// The nearest node at or above `from` of which `want` says something, nearest first.
pub fn above<T>(prompt: &Prompt, from: &str, want: impl Fn(&str, &str) -> Option<T>) -> Option<T> {
    let mut seen = HashSet::from([from.to_owned()]);
    let mut line = VecDeque::from([from.to_owned()]);
    while let Some(node) = line.pop_front() {
        if let Some(found) = want(&node, class(prompt, &node)) {
            return Some(found);
        }
        line.extend(links(prompt, &node).filter(|id| seen.insert((*id).to_owned())).map(str::to_owned));
    }
    None
}

fn number(prompt: &Prompt, node: &str, name: &str) -> Option<u64> {
    let value = input(prompt, node, name)?;
    value.as_u64().or_else(|| value.as_f64().filter(|f| *f >= 0.0).map(whole))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size or a step, not negative")]
fn whole(float: f64) -> u64 {
    float as u64
}

/// The seed of the sampler that makes the noise.
pub fn seed(prompt: &Prompt, from: &str) -> Option<u64> {
    above(prompt, from, |node, class| match class {
        "KSamplerAdvanced" if input(prompt, node, "add_noise")?.as_str()? == "enable" => {
            number(prompt, node, "noise_seed")
        }
        "KSampler" => number(prompt, node, "seed"),
        _ => None,
    })
}

/// Width, height and frames of what a node makes.
pub fn size(prompt: &Prompt, from: &str) -> Option<(u64, u64, u64)> {
    above(prompt, from, |node, _| {
        let (width, height) = (number(prompt, node, "width")?, number(prompt, node, "height")?);
        Some((width, height, number(prompt, node, "length").unwrap_or(1)))
    })
}

/// How many pictures a node hands on.
pub fn batch(prompt: &Prompt, from: &str) -> u64 {
    let mut factor = 1;
    let mut node = from.to_owned();
    for _ in 0..prompt.len() {
        match class(prompt, &node) {
            "LoadImage" => return factor,
            "RepeatImageBatch" => factor *= number(prompt, &node, "amount").unwrap_or(1),
            _ => {}
        }
        if let Some(own) = number(prompt, &node, "length").or_else(|| number(prompt, &node, "batch_size")) {
            return factor * own;
        }
        let up = ["images", "image", "samples", "latent_image", "pixels", "video"];
        let Some((next, _)) = up.iter().find_map(|name| link(input(prompt, &node, name)?)) else { return factor };
        next.clone_into(&mut node);
    }
    factor
}

/// How many steps a sampler does.
pub fn steps(prompt: &Prompt, node: &str) -> Option<u64> {
    let steps = number(prompt, node, "steps")?;
    match class(prompt, node) {
        "KSampler" => Some(steps),
        "KSamplerAdvanced" => {
            let end = number(prompt, node, "end_at_step").unwrap_or(steps).min(steps);
            Some(end.saturating_sub(number(prompt, node, "start_at_step").unwrap_or(0)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::prompts;

    fn order(prompt: &Prompt, outputs: &[&str], sinks: &[&str], cached: &[&str]) -> Vec<String> {
        let outputs: Vec<String> = outputs.iter().map(|o| (*o).to_owned()).collect();
        let cached = cached.iter().map(|c| (*c).to_owned()).collect();
        let mut plan = Plan::new(prompt, &outputs, &cached);
        let mut done = Vec::new();
        while let Some(node) = plan.next(|node| sinks.contains(&node)).map(str::to_owned) {
            plan.done(&node);
            done.push(node);
        }
        done
    }

    /// Recording 27, cold and warm.
    #[test]
    fn the_wan_graph_runs_in_the_recorded_order() {
        let prompt = prompts::wan_loop(123);
        let cold = ["3", "1", "2", "11", "10", "12", "4", "6", "8", "13", "5", "7", "9", "14", "15", "16", "17"];
        assert_eq!(order(&prompt, &["17"], &["17"], &[]), cold);
        let cached = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
        assert_eq!(order(&prompt, &["17"], &["17"], &cached), ["13", "14", "15", "16", "17"]);
        assert_eq!(seed(&prompt, "17"), Some(123));
        assert_eq!(size(&prompt, "14"), Some((480, 848, 129)));
        assert_eq!((steps(&prompt, "13"), steps(&prompt, "14"), batch(&prompt, "15")), (Some(2), Some(2), 129));
    }

    #[test]
    fn a_signature_changes_with_what_is_above() {
        let (one, two) = (signatures(&prompts::wan_loop(1), |_| 0), signatures(&prompts::wan_loop(2), |_| 0));
        assert_eq!(one["12"], two["12"]);
        assert_ne!(one["17"], two["17"]);
        assert_ne!(one["12"], signatures(&prompts::wan_loop(1), |_| 7)["12"]);
    }
}
