//! Widgets of a subgraph's inside that its node shows: which input promotes which, and the promotions of
//! older pages (`proxyWidgets`), which had no input of their own.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::sheet::{self, End, Link, Node, Port, Promoted, Role, Saved, Sheet, Sheets, Slot};
use super::widgets::Row;
use crate::workflow::object_info::{Input, Widget};

/// Promotions lead through so many subgraphs at most, as on the page.
const LONGEST_CHAIN: usize = 100;
/// So many old promotions of one node are looked at.
const MOST_ENTRIES: usize = 500;

/// The value of the widget that an input of a subgraph stands for; `None` where it stands for none.
pub(super) fn first_widget<'a>(sheets: &Sheets<'a>, inner: usize, port: usize) -> Option<Promoted<'a>> {
    let sheet = &sheets.all[inner];
    sheet.inputs.get(port)?.links.iter().find_map(|link| {
        let (node, slot) = sheet.target(*link)?;
        let node = &sheet.nodes[node];
        let slot = &node.inputs[slot];
        match (node.role, slot.row) {
            (Role::Host(_), _) => slot.promoted.clone(),
            (_, Some(row)) => Some(node.rows[row].value.clone()),
            _ => None,
        }
    })
}

/// Node and widget inside that an input of a subgraph stands for; of a subgraph in it, its node and input.
fn source<'s>(sheets: &'s Sheets, inner: usize, port: usize) -> Option<(&'s str, &'s str)> {
    let sheet = &sheets.all[inner];
    sheet.inputs.get(port)?.links.iter().find_map(|link| {
        let (node, slot) = sheet.target(*link)?;
        let node = &sheet.nodes[node];
        let slot = &node.inputs[slot];
        match (node.role, slot.row) {
            (Role::Host(_), _) => Some((node.id.as_str(), slot.name.as_ref())),
            (_, Some(row)) => Some((node.id.as_str(), node.rows[row].name.as_ref())),
            _ => None,
        }
    })
}

/// Values that a page could not place when it took over old promotions, by the name of their input.
pub(super) fn refused_values<'a>(node: &Node<'a>) -> HashMap<&'a str, &'a Value> {
    let entries = node.property("proxyWidgetErrorQuarantine").and_then(Value::as_array);
    let entry = |entry: &'a Value| {
        let from = entry.get("originalEntry")?.as_array()?;
        let value = entry.get("hostValue").filter(|value| !value.is_null())?;
        (from.first()?.as_str()? == "-1").then_some((from.get(1)?.as_str()?, value))
    };
    // Of several for one name the first counts.
    entries.into_iter().flatten().rev().filter_map(entry).collect()
}

/// `["57", "seed"]` or `["57", "seed", "3"]`: a widget that a subgraph's node shows.
struct Entry {
    node: String,
    widget: String,
    /// The node further inside that is meant, where several have such a widget.
    deeper: Option<String>,
}

enum Plan {
    /// This input of the subgraph stands for it.
    Known(usize),
    /// It gets an input of its own, to this input of this node.
    New { node: usize, slot: usize },
    /// What it is comes from a primitive inside: its targets get an input in common.
    Primitive(usize),
    /// A preview, or nothing that is there.
    Nothing,
}

/// Gives the values of a node's old promotions to inputs, as the page does when it loads the graph.
pub(super) fn old_promotions(sheets: &mut Sheets, at: usize, number: usize) {
    let host = &sheets.all[at].nodes[number];
    let Role::Host(inner) = host.role else { return };
    if inner == at {
        return;
    }
    let Some(entries) = host.property("proxyWidgets").and_then(read_entries) else { return };
    let entries: Vec<Entry> = entries.into_iter().map(|entry| entry.normal(sheets, inner)).collect();
    let plans: Vec<Plan> = entries.iter().map(|entry| entry.plan(sheets, at, number, inner)).collect();
    let values = match host.saved {
        Saved::List(values) => values,
        _ => &[],
    };
    let value = |entry: usize| values.get(entry).filter(|value| !value.is_null());
    let mut primitives: Vec<(usize, usize)> = Vec::new();
    for (place, plan) in plans.iter().enumerate() {
        let value = value(place).map(Cow::Borrowed);
        match *plan {
            Plan::Known(port) => {
                let host = &mut sheets.all[at].nodes[number];
                if let (Some(slot), Some(value)) = (host.inputs.get_mut(port), value)
                    && slot.promoted.is_some()
                {
                    slot.promoted = Some(Some(value));
                }
            }
            Plan::New { node, slot } => {
                let target = &sheets.all[inner].nodes[node];
                let own = target.inputs[slot].row.map(|row| target.rows[row].value.clone());
                let own = own.or_else(|| target.inputs[slot].promoted.clone()).flatten();
                let kind = target.inputs[slot].kind.clone();
                add_port(sheets, inner, &entries[place].widget, kind.clone(), &[(node, slot)]);
                add_slot(sheets, at, number, kind, Some(value.or(own)));
            }
            Plan::Primitive(primitive) => primitives.push((primitive, place)),
            Plan::Nothing => {
                let entry = &entries[place];
                let host = &mut sheets.all[at].nodes[number];
                let slot = host.inputs.iter_mut().find(|slot| slot.name == entry.widget);
                if let (Some(slot), Some(value), "-1") = (slot, value, entry.node.as_str())
                    && slot.promoted.is_some()
                {
                    slot.promoted = Some(Some(value));
                }
            }
        }
    }
    while let Some(&(primitive, first)) = primitives.first() {
        let mine: Vec<usize> = primitives.iter().filter(|(other, _)| *other == primitive).map(|(_, at)| *at).collect();
        primitives.retain(|(other, _)| *other != primitive);
        // One primitive shown by two of its widgets is left as it is.
        if mine.iter().any(|place| entries[*place].widget != entries[first].widget) {
            continue;
        }
        let given = mine.iter().find_map(|place| value(*place));
        replace_primitive(sheets, (at, number), inner, primitive, &entries[first].widget, given);
    }
}

/// The inputs that a primitive inside a subgraph was linked to are linked to an input of the subgraph instead.
fn replace_primitive<'a>(
    sheets: &mut Sheets<'a>,
    (at, number): (usize, usize),
    inner: usize,
    primitive: usize,
    widget: &str,
    given: Option<&'a Value>,
) {
    let sheet = &sheets.all[inner];
    let node = &sheet.nodes[primitive];
    let kind = node.outputs.first().cloned().unwrap_or(Cow::Borrowed("*"));
    let Some(targets) = primitive_targets(sheet, node).filter(|targets| !targets.is_empty()) else { return };
    let slots = || targets.iter().map(|(node, slot)| &sheet.nodes[*node].inputs[*slot]);
    let rows: Vec<_> = targets
        .iter()
        .filter_map(|(node, slot)| Some(&sheet.nodes[*node].rows[sheet.nodes[*node].inputs[*slot].row?]))
        .collect();
    let spec = |row: &Row<'a>| row.input.map(|input| (&input.kind, &input.min, &input.max, &input.step));
    if !slots().all(|slot| slot.kind == kind || slot.kind == "*" || kind == "*")
        || rows.windows(2).any(|pair| spec(pair[0]) != spec(pair[1]))
    {
        return;
    }
    let own = rows.first().map(|row| row.value.clone());
    let name = node.title.filter(|title| *title != node.class).unwrap_or(widget).to_owned();
    add_port(sheets, inner, &name, kind.clone(), &targets);
    add_slot(sheets, at, number, kind, own.map(|own| given.map(Cow::Borrowed).or(own)));
}

/// The inputs that a primitive's links name. The page goes by the number that the file has for an input,
/// though its own order may be another by now; only those of dynamic combos it has put right at this time.
/// `None` where a link leads to nothing.
fn primitive_targets(sheet: &Sheet, primitive: &Node) -> Option<Vec<(usize, usize)>> {
    let target = |id: &Value| {
        let id = sheet::number(id)?;
        let link = sheet.links.get(&id)?;
        let End::Node(node) = &link.to else { return None };
        let number = sheet.node(node)?;
        let node = &sheet.nodes[number];
        let dynamic = |slot: &Slot| {
            let input = slot.row.and_then(|row| node.rows[row].input);
            matches!(input.and_then(Input::widget), Some(Widget::DynamicCombo(_)))
        };
        let real = node.inputs.iter().position(|slot| slot.link == Some(id));
        let put_right = real.filter(|real| node.inputs[..*real].iter().any(dynamic));
        let slot = put_right.unwrap_or(link.to_slot);
        (slot < node.inputs.len()).then_some((number, slot))
    };
    primitive.output_links.iter().map(target).collect()
}

fn add_port<'a>(sheets: &mut Sheets<'a>, inner: usize, name: &str, kind: Cow<'a, str>, targets: &[(usize, usize)]) {
    let sheet = &mut sheets.all[inner];
    let taken = |name: &str| sheet.inputs.iter().any(|port| port.name == name);
    let mut unique = name.to_owned();
    let mut count = 0;
    while taken(&unique) {
        count += 1;
        unique = format!("{name}_{count}");
    }
    let from_slot = sheet.inputs.len();
    let mut links = Vec::new();
    for &(node, slot) in targets {
        sheet.last_link = sheet.last_link.saturating_add(1);
        let (id, node) = (sheet.last_link, &mut sheet.nodes[node]);
        if let Some(old) = node.inputs[slot].link.replace(id) {
            sheet.links.remove(&old);
        }
        let to = End::Node(node.id.clone());
        sheet.links.insert(id, Link { from: End::Inputs, from_slot, to, to_slot: slot });
        links.push(id);
    }
    sheet.inputs.push(Port { name: Cow::Owned(unique), kind, links });
}

/// The node's own input for a port that was just added. Other nodes of the same subgraph have none: to
/// them the widget inside keeps its value.
fn add_slot<'a>(sheets: &mut Sheets<'a>, at: usize, number: usize, kind: Cow<'a, str>, promoted: Option<Promoted<'a>>) {
    let host = &sheets.all[at].nodes[number];
    let Role::Host(inner) = host.role else { return };
    let Some(port) = sheets.all[inner].inputs.len().checked_sub(1) else { return };
    let name = sheets.all[inner].inputs[port].name.clone();
    let host = &mut sheets.all[at].nodes[number];
    // A slot stands where its port stands; another node of this subgraph may have added some before.
    while host.inputs.len() < port {
        host.inputs.push(Slot::default());
    }
    host.inputs.push(Slot { name, kind, promoted, ..Slot::default() });
}

fn read_entries(property: &Value) -> Option<Vec<Entry>> {
    let text;
    let list = match property {
        Value::Array(list) => list,
        Value::String(json) => {
            text = serde_json::from_str::<Vec<Value>>(json).ok()?;
            &text
        }
        _ => return None,
    };
    // One that is written wrong makes the page drop them all.
    let entry = |entry: &Value| {
        let parts: Option<Vec<&str>> = entry.as_array()?.iter().map(Value::as_str).collect();
        match parts?.as_slice() {
            [node, widget] => Some(Entry { node: (*node).into(), widget: (*widget).into(), deeper: None }),
            [node, widget, deeper] => {
                Some(Entry { node: (*node).into(), widget: (*widget).into(), deeper: Some((*deeper).into()) })
            }
            _ => None,
        }
    };
    list.iter().take(MOST_ENTRIES).map(entry).collect()
}

impl Entry {
    /// Old pages wrote `57: 3: seed` for a widget further inside.
    fn normal(mut self, sheets: &Sheets, inner: usize) -> Self {
        if let Some(new) = sheets.all[inner].renamed.get(&self.node) {
            self.node.clone_from(new);
        }
        if self.resolves(sheets, inner) {
            return self;
        }
        while let Some((id, rest)) = self.widget.split_once(':') {
            let (id, rest) = (id.trim(), rest.trim_start());
            if id.is_empty() || rest.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
                break;
            }
            self.deeper = Some(id.to_owned());
            self.widget = rest.to_owned();
        }
        self
    }

    /// Whether the chain of promotions from this node and widget ends at a widget.
    fn resolves(&self, sheets: &Sheets, inner: usize) -> bool {
        let (mut inner, mut node, mut widget) = (inner, self.node.as_str(), self.widget.as_str());
        for _ in 0..LONGEST_CHAIN {
            let sheet = &sheets.all[inner];
            let Some(found) = sheet.node(node).map(|node| &sheet.nodes[node]) else { return false };
            let Role::Host(deeper) = found.role else { return found.row(widget).is_some() };
            let port = sheets.all[deeper].inputs.iter().position(|port| port.name == widget);
            let Some(next) = port.and_then(|port| source(sheets, deeper, port)) else { return false };
            (inner, node, widget) = (deeper, next.0, next.1);
        }
        false
    }

    fn plan(&self, sheets: &Sheets, at: usize, number: usize, inner: usize) -> Plan {
        let sheet = &sheets.all[inner];
        let meant = Some((self.node.as_str(), self.widget.as_str()));
        let known = sheets.all[at].nodes[number].inputs.len().min(sheet.inputs.len());
        if let Some(port) = (0..known).find(|port| source(sheets, inner, *port) == meant) {
            return Plan::Known(port);
        }
        let Some(node) = sheet.node(&self.node) else { return Plan::Nothing };
        let found = &sheet.nodes[node];
        let slot = match found.role {
            Role::Primitive => return Plan::Primitive(node),
            Role::Host(deeper) => found.inputs.iter().enumerate().position(|(port, slot)| {
                let target = source(sheets, deeper, port);
                let same_widget = target.is_some_and(|(_, widget)| widget == self.widget);
                slot.promoted.is_some()
                    && match &self.deeper {
                        Some(id) => same_widget && target.is_some_and(|(node, _)| node == id),
                        None => slot.name == self.widget || same_widget,
                    }
            }),
            _ => found.row(&self.widget).and_then(|row| found.inputs.iter().position(|slot| slot.row == Some(row))),
        };
        slot.map_or(Plan::Nothing, |slot| Plan::New { node, slot })
    }
}
