//! A graph in the page's format, as it was read: sheets of nodes, their slots, and the links between them.
//!
//! The root is a sheet, and so is every subgraph. Reading is lenient (a wrong type is as good as nothing),
//! but for what would make two nodes one.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Number, Value};

use super::error::{Fault, MOST_FAULTS, Problem};
use super::widgets::Row;
use crate::workflow::object_info::Class;

/// The ends of links that lead out of a subgraph, as node ids.
const INPUT_SIDE: &str = "-10";
const OUTPUT_SIDE: &str = "-20";

/// The root (the first) and every subgraph's definition.
#[derive(Debug, Default)]
pub(super) struct Sheets<'a> {
    pub all: Vec<Sheet<'a>>,
    pub by_id: HashMap<&'a str, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Sheet<'a> {
    pub name: &'a str,
    pub nodes: Vec<Node<'a>>,
    pub by_id: HashMap<String, usize>,
    pub links: HashMap<i64, Link>,
    /// Where a subgraph is entered and left; the root has none.
    pub inputs: Vec<Port<'a>>,
    pub outputs: Vec<Port<'a>>,
    /// The highest link id so far: links that are added go on from there.
    pub last_link: i64,
    /// Ids that were taken elsewhere, and those that took their place.
    pub renamed: HashMap<String, String>,
}

/// An input or output of a subgraph.
#[derive(Debug)]
pub(super) struct Port<'a> {
    pub name: Cow<'a, str>,
    pub kind: Cow<'a, str>,
    /// Of the links inside, in the order in which they were made.
    pub links: Vec<i64>,
}

#[derive(Debug, Clone)]
pub(super) struct Link {
    pub from: End,
    pub from_slot: usize,
    pub to: End,
    pub to_slot: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Node(String),
    /// The subgraph's own input side.
    Inputs,
    /// The subgraph's own output side.
    Outputs,
}

#[derive(Debug)]
pub(super) struct Node<'a> {
    pub id: String,
    pub class: &'a str,
    pub title: Option<&'a str>,
    pub mode: Mode,
    pub inputs: Vec<Slot<'a>>,
    pub outputs: Vec<Cow<'a, str>>,
    /// Of its first output, as saved.
    pub output_links: &'a [Value],
    /// Whether anything is linked to it.
    pub is_linked: bool,
    pub saved: Saved<'a>,
    pub properties: Option<&'a Map<String, Value>>,
    /// What it is; known once the sheet is settled.
    pub role: Role<'a>,
    /// Its widgets, likewise.
    pub rows: Vec<Row<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Runs,
    Muted,
    Bypassed,
}

/// An input of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot<'a> {
    pub name: Cow<'a, str>,
    pub kind: Cow<'a, str>,
    pub link: Option<i64>,
    /// The widget that it stands for, as saved.
    pub widget: Option<Cow<'a, str>>,
    /// That widget's place in [`Node::rows`].
    pub row: Option<usize>,
    /// Of a subgraph's node: the value that it gives to what is inside, when nothing is linked here.
    pub promoted: Option<Promoted<'a>>,
}

/// The value of a promoted widget; `None` where the widget has none.
pub(super) type Promoted<'a> = Option<Cow<'a, Value>>;

/// `widgets_values`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Saved<'a> {
    Nothing,
    List(&'a [Value]),
    /// Some custom nodes save them by name.
    Named(&'a Map<String, Value>),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Role<'a> {
    Unsettled,
    /// One that the server runs.
    Real(&'a Class),
    /// A node that stands for a subgraph: the number of its sheet.
    Host(usize),
    /// Hands on what comes into the input of the same number.
    Passage,
    /// Gives what the Set node of the same name was given.
    Get,
    /// Writes its value into the widgets that it is linked to.
    Primitive,
    /// A note, a label: nothing to do with the prompt.
    Remark,
    /// Neither the server nor we know it, but nothing is linked to it either.
    Stray,
    /// Neither the server nor we know it.
    Unknown,
}

impl<'a> Sheets<'a> {
    /// Reads the root and the definitions in it; else every node that is none.
    pub fn read(root: &'a Map<String, Value>) -> Result<Self, Vec<Fault>> {
        let mut sheets = Self::default();
        let mut faults = Vec::new();
        sheets.all.push(Sheet::read(root, &mut faults));
        let mut open = vec![root];
        while let Some(holder) = open.pop() {
            let definitions = holder.get("definitions").and_then(|it| it.get("subgraphs")).and_then(Value::as_array);
            for definition in definitions.into_iter().flatten().filter_map(Value::as_object) {
                let Some(id) = definition.get("id").and_then(Value::as_str) else { continue };
                sheets.by_id.insert(id, sheets.all.len());
                sheets.all.push(Sheet::read(definition, &mut faults));
                open.push(definition);
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        sheets.part_ids(root);
        Ok(sheets)
    }

    /// The page keeps the widgets of all nodes in one place: a node of a subgraph whose id is taken already
    /// gets the next free number.
    fn part_ids(&mut self, root: &Map<String, Value>) {
        let last = root.get("last_node_id").or_else(|| root.get("state").and_then(|state| state.get("lastNodeId")));
        let mut last = last.and_then(number).unwrap_or_default();
        let mut used: HashSet<String> =
            self.all[0].nodes.iter().filter(|node| whole(&node.id).is_some()).map(|node| node.id.clone()).collect();
        for sheet in self.all.iter_mut().skip(1) {
            for node in &mut sheet.nodes {
                if used.insert(node.id.clone()) {
                    last = last.max(whole(&node.id).unwrap_or(last));
                    continue;
                }
                let new = loop {
                    last = last.saturating_add(1);
                    let new = last.to_string();
                    if used.insert(new.clone()) {
                        break new;
                    }
                };
                sheet.renamed.insert(std::mem::replace(&mut node.id, new.clone()), new);
            }
            if sheet.renamed.is_empty() {
                continue;
            }
            sheet.by_id = sheet.nodes.iter().enumerate().map(|(at, node)| (node.id.clone(), at)).collect();
            for link in sheet.links.values_mut() {
                for end in [&mut link.from, &mut link.to] {
                    if let End::Node(id) = end
                        && let Some(new) = sheet.renamed.get(id)
                    {
                        id.clone_from(new);
                    }
                }
            }
        }
    }

    pub fn host_of(&self, class: &str) -> Option<usize> {
        self.by_id.get(class).copied()
    }
}

impl<'a> Sheet<'a> {
    fn read(value: &'a Map<String, Value>, faults: &mut Vec<Fault>) -> Self {
        let list = |key: &str| value.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut sheet = Self { name: text(value, "name").unwrap_or("a subgraph"), ..Self::default() };
        sheet.nodes.reserve_exact(list("nodes").len());
        for (at, node) in list("nodes").iter().enumerate() {
            if faults.len() >= MOST_FAULTS {
                break;
            }
            let Some(node) = Node::read(node) else {
                faults.push(Fault::new(&format!("number {}", at + 1), "", Problem::Shapeless));
                continue;
            };
            if let Some(first) = sheet.by_id.insert(node.id.clone(), sheet.nodes.len()) {
                let other = sheet.nodes[first].shown().to_owned();
                faults.push(Fault::new(&node.id, node.shown(), Problem::SameId { other }));
            }
            sheet.nodes.push(node);
        }
        // Links are a list of lists, a list of objects, or (by some tools) an object of either.
        match value.get("links") {
            Some(Value::Object(links)) => sheet.add_links(links.values()),
            _ => sheet.add_links(list("links").iter()),
        }
        sheet.inputs = list("inputs").iter().map(Port::read).collect();
        sheet.outputs = list("outputs").iter().map(Port::read).collect();
        sheet.mend_ports();
        sheet
    }

    fn add_links(&mut self, links: impl Iterator<Item = &'a Value>) {
        for (id, link) in links.filter_map(Link::read) {
            self.last_link = self.last_link.max(id);
            self.links.insert(id, link);
        }
    }

    /// A port that names a link which is gone gets the first one that ends at it.
    fn mend_ports(&mut self) {
        let mut first: HashMap<(bool, usize), i64> = HashMap::new();
        for (id, link) in &self.links {
            for key in [
                (link.from == End::Inputs).then_some((true, link.from_slot)),
                (link.to == End::Outputs).then_some((false, link.to_slot)),
            ] {
                let Some(key) = key else { continue };
                let known = first.entry(key).or_insert(*id);
                *known = (*known).min(*id);
            }
        }
        for (inward, ports) in [(true, &mut self.inputs), (false, &mut self.outputs)] {
            for (at, port) in ports.iter_mut().enumerate() {
                for id in &mut port.links {
                    if !self.links.contains_key(id)
                        && let Some(found) = first.get(&(inward, at))
                    {
                        *id = *found;
                    }
                }
            }
        }
    }

    pub fn node(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The node and the number of its input that a link leads to.
    pub fn target(&self, link: i64) -> Option<(usize, usize)> {
        let End::Node(id) = &self.links.get(&link)?.to else { return None };
        let node = self.node(id)?;
        let slot = self.nodes[node].inputs.iter().position(|slot| slot.link == Some(link))?;
        Some((node, slot))
    }
}

impl<'a> Port<'a> {
    fn read(value: &'a Value) -> Self {
        let links = value.get("linkIds").and_then(Value::as_array);
        Self {
            name: Cow::Borrowed(value.get("name").and_then(Value::as_str).unwrap_or_default()),
            kind: kind(value.get("type")),
            links: links.into_iter().flatten().filter_map(number).collect(),
        }
    }
}

impl Link {
    /// `[7, 4, 0, 5, 1, "MODEL"]` or `{"id": 7, "origin_id": 4, …}`.
    fn read(value: &Value) -> Option<(i64, Self)> {
        let field = |at: usize, name: &str| match value {
            Value::Array(fields) => fields.get(at),
            other => other.get(name),
        };
        let slot = |value: Option<&Value>| value.and_then(number).and_then(|slot| usize::try_from(slot).ok());
        let end = |value: Option<&Value>| {
            Some(match id(value?)?.as_str() {
                INPUT_SIDE => End::Inputs,
                OUTPUT_SIDE => End::Outputs,
                other => End::Node(other.to_owned()),
            })
        };
        let link = Self {
            from: end(field(1, "origin_id"))?,
            from_slot: slot(field(2, "origin_slot"))?,
            to: end(field(3, "target_id"))?,
            to_slot: slot(field(4, "target_slot")).unwrap_or_default(),
        };
        Some((number(field(0, "id")?)?, link))
    }
}

impl<'a> Node<'a> {
    pub fn read(value: &'a Value) -> Option<Self> {
        let map = value.as_object()?;
        let list = |key: &str| map.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter();
        Some(Self {
            id: id(map.get("id")?)?,
            class: text(map, "type").unwrap_or_default(),
            title: text(map, "title").filter(|title| !title.is_empty()),
            mode: match map.get("mode").and_then(number) {
                Some(2) => Mode::Muted,
                Some(4) => Mode::Bypassed,
                _ => Mode::Runs,
            },
            inputs: list("inputs").map(Slot::read).collect(),
            outputs: list("outputs").map(|output| kind(output.get("type"))).collect(),
            is_linked: list("inputs").any(|input| input.get("link").is_some_and(|link| !link.is_null()))
                || list("outputs").any(|output| !links_of(output).is_empty()),
            output_links: list("outputs").next().map_or(&[], links_of),
            saved: match map.get("widgets_values") {
                Some(Value::Array(values)) => Saved::List(values),
                Some(Value::Object(values)) => Saved::Named(values),
                _ => Saved::Nothing,
            },
            properties: map.get("properties").and_then(Value::as_object),
            role: Role::Unsettled,
            rows: Vec::new(),
        })
    }

    /// What people call it: its title, else its class.
    pub fn shown(&self) -> &'a str {
        self.title.unwrap_or(self.class)
    }

    pub fn property(&self, name: &str) -> Option<&'a Value> {
        self.properties?.get(name)
    }

    pub fn row(&self, name: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.name == name)
    }

    /// The first of its saved values, as a text: what Set and Get nodes are called.
    pub fn first_value(&self) -> Option<&'a str> {
        match self.saved {
            Saved::List(values) => values.first()?.as_str(),
            _ => None,
        }
    }
}

impl<'a> Slot<'a> {
    fn read(value: &'a Value) -> Self {
        let widget = value.get("widget").and_then(|widget| widget.get("name")).and_then(Value::as_str);
        Self {
            name: Cow::Borrowed(value.get("name").and_then(Value::as_str).unwrap_or_default()),
            kind: kind(value.get("type")),
            link: value.get("link").and_then(number),
            widget: widget.map(Cow::Borrowed),
            ..Self::default()
        }
    }
}

/// A node's id: a number or a text, which mean the same.
pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(id) if !id.is_empty() => Some(id.clone()),
        Value::Number(id) => Some(whole_number(id).map_or_else(|| id.to_string(), |id| id.to_string())),
        _ => None,
    }
}

/// A whole number, written as one or as text.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => whole_number(number),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// To JavaScript 5.0 is 5.
fn whole_number(number: &Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within what both hold exactly")]
    let from_float = |float: f64| (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64);
    number.as_i64().or_else(|| number.as_f64().and_then(from_float))
}

/// An id that is a whole number, written as JavaScript writes it.
fn whole(id: &str) -> Option<i64> {
    id.parse().ok().filter(|number: &i64| number.to_string() == id)
}

fn links_of(output: &Value) -> &[Value] {
    output.get("links").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The type of a slot. Old graphs say 0 or -1 for any, and list the values of a combo.
fn kind(value: Option<&Value>) -> Cow<'_, str> {
    Cow::Borrowed(match value {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(_)) => "COMBO",
        _ => "*",
    })
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}
