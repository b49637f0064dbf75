//! Writes the prompt: each node that runs, with the values of its widgets and its links.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::error::{Fault, MOST_FAULTS, Problem};
use super::follow::{Source, Unfolded};
use super::sheet::{Mode, Node, Role, Sheets};
use super::text::{Dice, fill_name, resolve_choices};
use super::widgets::{How, Row};
use super::{MOST_BYTES, When, page, settle};
use crate::text;
use crate::workflow::graph::Graph;
use crate::workflow::object_info::{Class, Input, ObjectInfo, Widget};

/// A longer name of a class is none that was misspelt.
const LONGEST_CLASS: usize = 100;

pub(super) struct Sender<'s, 'a> {
    unfolded: &'s Unfolded<'s, 'a>,
    info: &'a ObjectInfo,
    when: When,
    dice: Dice,
    bytes: usize,
    faults: Vec<Fault>,
    /// Of the rows that a choice is made of: the page makes one a node, wherever its subgraph stands.
    texts: HashMap<(usize, usize, usize), String>,
}

impl<'s, 'a> Sender<'s, 'a> {
    pub fn new(unfolded: &'s Unfolded<'s, 'a>, info: &'a ObjectInfo, when: When) -> Self {
        let dice = Dice(when.seed);
        Self { unfolded, info, when, dice, bytes: 0, faults: Vec::new(), texts: HashMap::new() }
    }

    /// The whole prompt, or all that is wrong.
    pub fn send(mut self) -> Result<Graph, Vec<Fault>> {
        let mut nodes = Vec::new();
        for place in 0..self.unfolded.places.len() {
            for node in 0..self.unfolded.sheets.all[self.unfolded.places[place].sheet].nodes.len() {
                if self.faults.len() >= MOST_FAULTS {
                    return Err(self.faults);
                }
                if self.bytes > MOST_BYTES {
                    self.refuse(place, node, Problem::TooLarge);
                    return Err(self.faults);
                }
                let it = self.unfolded.node(place, node);
                match it.role {
                    _ if it.mode != Mode::Runs => {}
                    Role::Real(class) => nodes.push((self.unfolded.id(place, node), self.node(place, node, class))),
                    Role::Unknown | Role::Unsettled => self.refuse_unknown(place, node),
                    _ => {}
                }
            }
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        // As JavaScript orders an object: whole numbers first and by size, then the rest as it came.
        nodes.sort_by_key(|(id, _)| id.parse::<u32>().unwrap_or(u32::MAX));
        Ok(nodes.into_iter().collect())
    }

    fn node(&mut self, place: usize, number: usize, class: &'a Class) -> Value {
        let node = self.unfolded.node(place, number);
        let mut inputs = Map::new();
        for (at, row) in node.rows.iter().enumerate().filter(|(_, row)| row.sent) {
            let Some(value) = &row.value else { continue };
            let value = match (row.how, value.as_ref()) {
                (How::Dynamic, Value::String(prompt)) => json!(self.prompt(place, number, at, prompt)),
                (How::FileName, Value::String(name)) => json!(self.file_name(name)),
                (_, value) => wrapped(value, Some(row)),
            };
            self.bytes += size(&value);
            inputs.insert(row.name.to_string(), value);
        }
        for (at, slot) in node.inputs.iter().enumerate() {
            let value = match self.unfolded.source(place, number, at) {
                Ok(Source::Nothing | Source::Value(None)) => continue,
                Ok(Source::Node { place, node, output }) => json!([self.unfolded.id(place, node), output]),
                Ok(Source::Value(value)) => {
                    let row = slot.row.map(|row| &node.rows[row]);
                    match settle::fit(value, row) {
                        Some(value) => wrapped(&value, None),
                        None => continue,
                    }
                }
                Err(fault) => {
                    self.faults.push(fault);
                    continue;
                }
            };
            self.bytes += size(&value);
            inputs.insert(slot.name.to_string(), value);
        }
        let title = node.title.unwrap_or(&class.display_name);
        self.bytes += title.len() + 200;
        json!({"inputs": inputs, "class_type": node.class, "_meta": {"title": title}})
    }

    fn prompt(&mut self, place: usize, node: usize, row: usize, prompt: &str) -> String {
        let key = (self.unfolded.places[place].sheet, node, row);
        let dice = &mut self.dice;
        if place == 0 {
            return resolve_choices(prompt, dice);
        }
        self.texts.entry(key).or_insert_with(|| resolve_choices(prompt, dice)).clone()
    }

    fn file_name(&self, name: &str) -> String {
        if !name.contains('%') {
            return name.to_owned();
        }
        fill_name(name, self.when.now, |node, widget| widget_text(self.unfolded.sheets, node, widget))
    }

    fn refuse(&mut self, place: usize, node: usize, problem: Problem) {
        let (id, node) = (self.unfolded.id(place, node), self.unfolded.node(place, node));
        self.faults.push(Fault::new(&id, node.shown(), problem));
    }

    fn refuse_unknown(&mut self, place: usize, number: usize) {
        let node = self.unfolded.node(place, number);
        if settle::is_subgraph_id(node.class) {
            return self.refuse(place, number, Problem::NoSubgraph(node.class.to_owned()));
        }
        let said = |name: &str| node.property(name).and_then(Value::as_str).filter(|pack| *pack != "comfy-core");
        let problem = Problem::NoClass {
            class: node.class.to_owned(),
            pack: said("cnr_id").or_else(|| said("aux_id")).map(str::to_owned),
            near: if node.class.len() > LONGEST_CLASS {
                String::new()
            } else {
                text::did_you_mean(node.class, self.info.names())
            },
        };
        self.refuse(place, number, problem);
    }
}

/// The value of a widget, found as the page finds it: by the name for search and replace, else by the title.
fn widget_text(sheets: &Sheets, name: &str, widget: &str) -> Option<String> {
    let nodes = || sheets.all.iter().flat_map(|sheet| &sheet.nodes);
    let alias = |node: &&Node| match node.property("Node name for S&R") {
        Some(alias) => alias.as_str() == Some(name),
        None => node.class == name && !page::SAVES_FILES.contains(&name),
    };
    let node = nodes().find(alias).or_else(|| nodes().find(|node| node.shown() == name))?;
    let row = &node.rows[node.row(widget)?];
    Some(row.value.as_deref().map(page::js_text).unwrap_or_default())
}

/// A list of two would look like a link: lists are wrapped.
fn wrapped(value: &Value, row: Option<&Row>) -> Value {
    match value {
        Value::Array(_) => {
            let curve = row.and_then(|row| row.input).and_then(Input::widget);
            if matches!(curve, Some(Widget::Other(kind)) if kind == "CURVE") {
                json!({"__type__": "CURVE", "__value__": value})
            } else {
                json!({"__value__": value})
            }
        }
        value => value.clone(),
    }
}

/// About how much memory a value takes.
fn size(value: &Value) -> usize {
    let mut open = vec![value];
    let mut total = 0;
    while let Some(value) = open.pop() {
        total += 64;
        match value {
            Value::String(text) => total += text.len(),
            Value::Array(values) => open.extend(values),
            Value::Object(map) => {
                total += map.keys().map(|key| key.len() + 64).sum::<usize>();
                open.extend(map.values());
            }
            _ => {}
        }
    }
    total
}

/// What [`Unfolded::everywhere`] holds of the "use everywhere" extension, where a node of it is at work.
pub(super) fn everywhere(sheets: &Sheets, workflow: &Map<String, Value>) -> HashMap<(usize, usize), (usize, usize)> {
    let root = &sheets.all[0];
    let links = workflow.get("extra").and_then(|extra| extra.get("ue_links")).and_then(Value::as_array);
    let Some(links) = links.filter(|_| root.nodes.iter().any(|node| node.class.contains("Everywhere"))) else {
        return HashMap::new();
    };
    let end = |link: &Value, node: &str, slot: &str| {
        let node = root.node(&super::sheet::id(link.get(node)?)?)?;
        Some((node, usize::try_from(link.get(slot)?.as_u64()?).ok()?))
    };
    let pair = |link: &Value| {
        let controller = root.node(&super::sheet::id(link.get("controller")?)?)?;
        let works = root.nodes[controller].mode == Mode::Runs;
        works.then_some((end(link, "downstream", "downstream_slot")?, end(link, "upstream", "upstream_slot")?))
    };
    links.iter().filter_map(pair).collect()
}

/// What can't be sent as the page would send it, in words.
pub(super) fn warnings(unfolded: &Unfolded) -> Vec<String> {
    let mut found = Vec::new();
    for place in 0..unfolded.places.len() {
        for (number, node) in unfolded.sheets.all[unfolded.places[place].sheet].nodes.iter().enumerate() {
            let pictures = |row: &Row| match row.input.and_then(Input::widget) {
                Some(Widget::Other(kind)) if kind == "LOAD_3D" => row.name == "image",
                Some(Widget::Other(kind)) => matches!(kind.as_str(), "WEBCAM" | "AUDIO_RECORD"),
                _ => false,
            };
            let what = match node.role {
                _ if node.mode != Mode::Runs || found.len() >= MOST_FAULTS => continue,
                Role::Stray => "left out: the server does not have its class, and nothing is linked to it",
                Role::Get if node.is_linked && unfolded.setter(place, node).is_none() => {
                    "gives nothing: no Set node has its name, and what is linked to it loses that link"
                }
                Role::Real(_) if node.rows.iter().any(pictures) => {
                    "a picture or sound that the page takes when it sends this node is left empty"
                }
                _ => continue,
            };
            // Shown as faults are.
            let Fault { node, title, .. } = Fault::new(&unfolded.id(place, number), node.shown(), Problem::Shapeless);
            found.push(format!("node {node} ({title}): {what}"));
        }
    }
    found
}
