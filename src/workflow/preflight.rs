//! A graph held against what a server says of its nodes, before anything is uploaded or posted.
//!
//! Pure. It finds what the server would refuse: unknown classes, model files that it lacks, values out of range, missing
//! inputs, links of the wrong type, links in a circle, no output. Where the server is known to be lenient, or says too
//! little, it is silent: a fault here must be one there. Only what leads to an output is looked at, as there; an output
//! that nothing is linked to is left out there, and the others are rendered.

mod values;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use super::graph::{self, Graph, class, link};
use super::object_info::{Class, Form, Input, ObjectInfo, Widget};
use super::slots::InputRef;
use super::tries::{self, Edits};
use crate::job_file::{AND_MORE, kind};
use crate::text;
pub use values::is_elsewhere;
use values::{is_file, is_listed, number, one_of, wanted};

/// So many faults of a graph are told.
const MOST: usize = 100;
/// So many of a list of allowed values are named.
const SHOWN: usize = 12;

/// One thing that the server would refuse. All text is fit to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The node's id; `None`: the graph as a whole.
    pub node: Option<String>,
    /// Its title, or its class where it has none.
    pub title: String,
    pub input: Option<String>,
    /// What is wrong, and what would be right: goes on from `KSampler (3): `.
    pub words: String,
    /// It is a link to a node that is not there.
    pub is_loose: bool,
}

impl Fault {
    /// The input that it is about.
    pub fn place(&self) -> Option<InputRef> {
        Some(InputRef::new(self.node.as_deref()?, self.input.as_deref()?))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(id) => write!(f, "{} ({id}): {}", self.title, self.words),
            None => f.write_str(&self.words),
        }
    }
}

/// What is wrong with a graph, or with what any of its later tries makes of it.
#[expect(clippy::implicit_hasher, reason = "made by its callers from scratch")]
pub fn check_tries(
    graph: &Graph,
    tries: &[Edits],
    extra_data: Option<&Map<String, Value>>,
    info: &ObjectInfo,
    brought: &HashSet<InputRef>,
) -> Vec<Fault> {
    let packs = packs(graph, extra_data);
    let mut faults = check(graph, info, brought, &packs);
    for edits in tries {
        let mut graph = graph.clone();
        tries::vary(&mut graph, edits);
        let more = check(&graph, info, brought, &packs).into_iter();
        faults.extend(more.filter(|fault| !faults.contains(fault)).collect::<Vec<_>>());
    }
    faults
}

/// Everything that is wrong with a graph. `brought`: inputs whose files are uploaded with it. `packs`: which extension
/// a node comes from, by its id, where the graph says ([`packs`]).
#[expect(clippy::implicit_hasher, reason = "made by its callers from scratch")]
pub fn check(
    graph: &Graph,
    info: &ObjectInfo,
    brought: &HashSet<InputRef>,
    packs: &HashMap<String, String>,
) -> Vec<Fault> {
    let titles = graph::titles(graph);
    let mut check = Check { graph, info, brought, titles, faults: Vec::new() };
    check.classes(packs);
    let outputs: Vec<&String> = graph
        .iter()
        .filter(|(_, node)| class(node).and_then(|name| info.class(name)).is_some_and(|class| class.output_node))
        .map(|(id, _)| id)
        .collect();
    if outputs.is_empty() && check.faults.is_empty() {
        check.fault(None, None, "no node of it saves or shows anything: add SaveVideo or SaveImage");
    }
    // with nothing to lead to, all of it is looked at
    let outputs = if outputs.is_empty() { graph.keys().collect() } else { check.linked(outputs) };
    check.circle(&outputs);
    for id in check.leading_to(&outputs) {
        check.node(&id);
        if check.faults.len() > MOST {
            break;
        }
    }
    if check.faults.len() > MOST {
        check.faults.truncate(MOST);
        check.fault(None, None, AND_MORE);
    }
    check.faults
}

/// Which extension brings a node: what the page notes in its properties (`cnr_id`, else `aux_id`), in a graph itself or
/// in the page's own that is posted beside it.
pub fn packs(graph: &Graph, extra_data: Option<&Map<String, Value>>) -> HashMap<String, String> {
    let name = |properties: &Value| {
        let text = |key: &str| properties.get(key).and_then(Value::as_str).filter(|name| !name.is_empty());
        text("cnr_id").or_else(|| text("aux_id")).map(|name| text::clean(name).into_owned())
    };
    let of = |node: &Value| ["properties", "_meta"].into_iter().find_map(|key| name(node.get(key)?));
    let mut packs: HashMap<_, _> = graph.iter().filter_map(|(id, node)| Some((id.clone(), of(node)?))).collect();
    let page = extra_data.and_then(|extra| extra.get("extra_pnginfo")?.get("workflow")?.get("nodes")?.as_array());
    for node in page.into_iter().flatten() {
        let id = match node.get("id") {
            Some(Value::Number(id)) => id.to_string(),
            Some(Value::String(id)) => id.clone(),
            _ => continue,
        };
        if let Some(pack) = of(node) {
            packs.entry(id).or_insert(pack);
        }
    }
    packs
}

/// What is wrong with one input of a node, for a server that said so in words of its own.
pub fn input_fault(graph: &Graph, info: &ObjectInfo, node: &str, input: &str) -> Option<Fault> {
    let nothing = HashSet::new();
    let mut check = Check { graph, info, brought: &nothing, titles: graph::titles(graph), faults: Vec::new() };
    check.node(node);
    check.faults.into_iter().find(|fault| fault.input.as_deref() == Some(input))
}

/// The values that an input takes, where they are a list.
pub fn choices<'i>(info: &'i ObjectInfo, class: &str, input: &str) -> Option<&'i [Value]> {
    match info.class(class)?.input(input)?.widget()? {
        Widget::Combo { options, .. } => Some(options),
        _ => None,
    }
}

struct Check<'a> {
    graph: &'a Graph,
    info: &'a ObjectInfo,
    brought: &'a HashSet<InputRef>,
    titles: BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl<'a> Check<'a> {
    fn title(&self, id: &str) -> String {
        self.titles.get(id).cloned().unwrap_or_default()
    }

    fn fault(&mut self, node: Option<&str>, input: Option<&str>, words: impl AsRef<str>) {
        let title = node.map(|id| self.title(id)).unwrap_or_default();
        self.faults.push(Fault {
            node: node.map(|id| text::clean(id).into_owned()),
            title,
            input: input.map(|name| text::clean(name).into_owned()),
            words: text::clean(words.as_ref()).into_owned(),
            is_loose: false,
        });
    }

    fn class_of(&self, id: &str) -> Option<&'a Class> {
        self.info.class(class(self.graph.get(id)?)?)
    }

    /// Every node's class must be there, whether or not it leads to an output.
    fn classes(&mut self, packs: &HashMap<String, String>) {
        for (id, node) in self.graph {
            let Some(name) = class(node).filter(|name| self.info.class(name).is_none()) else { continue };
            let from = packs.get(id).map_or_else(String::new, |pack| format!("; `{pack}` brings it"));
            let hint = text::did_you_mean(name, self.info.names());
            self.fault(Some(id), None, format!("the server has no node `{name}`{hint}{from}"));
            if self.faults.len() > MOST {
                return;
            }
        }
    }

    fn links(&self, id: &str) -> impl Iterator<Item = &'a str> {
        let inputs = self.graph.get(id).and_then(|node| node.get("inputs")?.as_object());
        inputs.into_iter().flat_map(Map::values).filter_map(link).filter(|from| self.graph.contains_key(*from))
    }

    /// The outputs without those that lack a link; where all do, all.
    fn linked<'o>(&self, outputs: Vec<&'o String>) -> Vec<&'o String> {
        let lacks_link = |id: &String| {
            let given = self.graph.get(id).and_then(|node| node.get("inputs")?.as_object());
            let mut declared = self.class_of(id).into_iter().flat_map(|class| &class.inputs);
            declared.any(|input| {
                let is_given = given.is_some_and(|given| given.contains_key(&input.name));
                input.required && input.form == Form::Link && !is_given
            })
        };
        let linked: Vec<_> = outputs.iter().copied().filter(|id| !lacks_link(id)).collect();
        if linked.is_empty() { outputs } else { linked }
    }

    /// The outputs, and all nodes above them, in the order of the graph.
    fn leading_to(&self, outputs: &[&String]) -> Vec<String> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut line: Vec<&str> = outputs.iter().map(|id| id.as_str()).collect();
        while let Some(id) = line.pop() {
            if let Some((id, _)) = self.graph.get_key_value(id)
                && seen.insert(id)
            {
                line.extend(self.links(id));
            }
        }
        self.graph.keys().filter(|id| seen.contains(id.as_str())).cloned().collect()
    }

    /// Nodes that wait for each other.
    fn circle(&mut self, outputs: &[&String]) {
        let mut done: HashSet<&str> = HashSet::new();
        for output in outputs {
            let mut way: Vec<(&str, Vec<&str>)> = vec![(output, self.links(output).collect())];
            let mut on_way: HashSet<&str> = HashSet::from([output.as_str()]);
            while let Some((id, left)) = way.last_mut() {
                let Some(next) = left.pop() else {
                    done.insert(id);
                    on_way.remove(id);
                    way.pop();
                    continue;
                };
                if on_way.contains(next) {
                    let from = way.iter().position(|(id, _)| *id == next).unwrap_or(0);
                    let mut names: Vec<String> =
                        way.iter().skip(from).take(SHOWN).map(|(id, _)| format!("{} ({id})", self.title(id))).collect();
                    names.push(format!("{} ({next})", self.title(next)));
                    self.fault(Some(next), None, format!("it waits for itself: {}", names.join(" ← ")));
                    return;
                }
                if !done.contains(next) {
                    on_way.insert(next);
                    way.push((next, self.links(next).collect()));
                }
            }
        }
    }

    fn node(&mut self, id: &str) {
        let Some(class) = self.class_of(id) else { return };
        let Some(given) = self.graph.get(id).and_then(|node| node.get("inputs")?.as_object()) else { return };
        self.inputs(id, "", &class.inputs, given, 0);
    }

    /// Declared inputs against those given; `prefix`: of the dynamic combo that they belong to.
    fn inputs(&mut self, id: &str, prefix: &str, declared: &[Input], given: &Map<String, Value>, depth: usize) {
        for input in declared {
            let name = format!("{prefix}{}", input.name);
            match given.get(&name) {
                None => {
                    // of a group that grows, each round is an input of its own; what belongs to a choice may be left out
                    // (`SaveVideo` without `format.codec` is taken)
                    if input.required && depth == 0 && !matches!(input.form, Form::Autogrow(_)) {
                        self.fault(Some(id), Some(&name), format!("`{name}` is missing: it takes {}", wanted(input)));
                    }
                }
                Some(value) => self.value(id, &name, input, value),
            }
            if let Some(Widget::DynamicCombo(choices)) = input.widget()
                && let Some(choice) = given.get(&name).and_then(|key| choices.iter().find(|choice| *key == choice.key))
                && depth < 8
            {
                self.inputs(id, &format!("{name}."), &choice.inputs, given, depth + 1);
            }
        }
    }

    fn value(&mut self, id: &str, name: &str, input: &Input, value: &Value) {
        if let Some(from) = link(value) {
            let output = value.get(1).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
            let Some(words) = self.link(input, from, output) else { return };
            self.fault(Some(id), Some(name), format!("`{name}` {words}"));
            if let Some(fault) = self.faults.last_mut() {
                fault.is_loose = !self.graph.contains_key(from);
            }
            return;
        }
        let Form::Widget(widget) = &input.form else {
            if let Some(words) = no_link(input, value) {
                self.fault(Some(id), Some(name), format!("`{name}` {words}"));
            }
            return;
        };
        // a list that is no link
        let value = value.get("__value__").unwrap_or(value);
        let is_brought = self.brought.contains(&InputRef::new(id, name)) || input.upload.is_some();
        let words = match widget {
            Widget::Int | Widget::Float => number(input, value, *widget == Widget::Int),
            Widget::Combo { many: false, remote: false, options, .. } if !is_brought && is_listed(value) => {
                let custom = self.class_of(id).is_none_or(|class| class.python_module.starts_with("custom_nodes"));
                // an extension that fills its lists in the page has none to tell
                if options.is_empty() && custom { None } else { one_of(options, value, is_file(options)) }
            }
            Widget::DynamicCombo(choices) => {
                let keys: Vec<Value> = choices.iter().map(|choice| Value::String(choice.key.clone())).collect();
                if keys.is_empty() { None } else { one_of(&keys, value, false) }
            }
            _ => None,
        };
        if let Some(words) = words {
            self.fault(Some(id), Some(name), format!("`{name}` {words}"));
        }
    }

    fn link(&self, input: &Input, from: &str, output: Option<usize>) -> Option<String> {
        if !self.graph.contains_key(from) {
            return Some(format!("comes from node {from}, which is not there"));
        }
        let class = self.class_of(from)?;
        let from = format!("{} ({from})", self.title(from));
        let count = class.outputs.len();
        let Some(output) = output.and_then(|at| class.outputs.get(at)) else {
            let has = match count {
                0 => "has none".to_owned(),
                1 => "has one".to_owned(),
                n => format!("has {n}"),
            };
            return Some(format!("comes from an output that {from} does not have: it {has}, counted from 0"));
        };
        let is_any = |kind: &str| kind == "*" || kind == "COMBO" || kind.is_empty() || kind.starts_with("COMFY_");
        let overlap = input.kind.split(',').any(|a| output.kind.split(',').any(|b| a.trim() == b.trim()));
        let fits = overlap || is_any(&input.kind) || is_any(&output.kind);
        (!fits).then(|| format!("takes {}, and gets {} from {from}", input.kind, output.kind))
    }
}

/// What no widget gives: a value of these in a graph is a mistake. Of other types an extension's own page may.
const LINKED: &[&str] = &[
    "AUDIO",
    "CLIP",
    "CLIP_VISION",
    "CLIP_VISION_OUTPUT",
    "CONDITIONING",
    "CONTROL_NET",
    "GUIDER",
    "IMAGE",
    "LATENT",
    "MASK",
    "MODEL",
    "NOISE",
    "SAMPLER",
    "SIGMAS",
    "STYLE_MODEL",
    "UPSCALE_MODEL",
    "VAE",
    "VIDEO",
];

/// What is wrong with a value where only a link can stand. Nothing at all may stand where nothing is required.
fn no_link(input: &Input, value: &Value) -> Option<String> {
    if !input.kind.split(',').all(|kind| LINKED.contains(&kind.trim())) || (value.is_null() && !input.required) {
        return None;
    }
    let link = "a link is the id of a node, a text, and the number of its output, [\"4\", 0]";
    Some(match value {
        Value::Array(_) => {
            let written = value.to_string();
            let written = if written.len() > 40 { "as a long list".to_owned() } else { written };
            format!("takes a link of {}, and is written {written}: {link}", input.kind)
        }
        other => format!("takes a link from an output of type {}, not {}: {link}", input.kind, kind(other)),
    })
}

#[cfg(test)]
mod tests;
