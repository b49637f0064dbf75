//! Makes of what was read what the page makes of it when it loads a graph: which node is what, which
//! inputs it has today, and the values of its widgets, those that subgraphs promote included.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::sheet::{End, Promoted, Role, Saved, Sheet, Sheets, Slot};
use super::widgets::{self, Row, full_name};
use super::{page, promote};
use crate::workflow::object_info::{Autogrow, Class, Form, Input, ObjectInfo, Widget};

/// Settles all sheets, those that others hold first.
pub(super) fn settle<'a>(sheets: &mut Sheets<'a>, info: &'a ObjectInfo) {
    for at in inside_out(sheets) {
        for node in 0..sheets.all[at].nodes.len() {
            settle_node(sheets, at, node, info);
        }
        for node in 0..sheets.all[at].nodes.len() {
            promote::old_promotions(sheets, at, node);
        }
        for _ in 0..LONGEST_MATCH {
            if !(0..sheets.all[at].nodes.len())
                .fold(false, |changed, node| match_types(&mut sheets.all[at], node) | changed)
            {
                break;
            }
        }
    }
}

/// Types are handed on through so many nodes that take any type.
const LONGEST_MATCH: usize = 16;

/// Narrows the inputs and outputs of a node that must be of one type to what is linked to them. True where
/// something changed.
fn match_types(sheet: &mut Sheet, number: usize) -> bool {
    let Role::Real(class) = sheet.nodes[number].role else { return false };
    let mut groups: Vec<&str> = class.inputs.iter().filter_map(|input| input.same_as.as_deref()).collect();
    groups.dedup();
    let mut changed = false;
    for group in groups {
        let node = &sheet.nodes[number];
        let of_group = |slot: &Slot| {
            class.inputs.iter().find(|input| input.name == slot.name && input.same_as.as_deref() == Some(group))
        };
        let slots: Vec<(usize, &Input)> =
            node.inputs.iter().enumerate().filter_map(|(at, slot)| Some((at, of_group(slot)?))).collect();
        let linked: Vec<String> = slots.iter().map(|(at, _)| linked_kind(sheet, node.inputs[*at].link)).collect();
        let narrowed: Vec<(usize, Option<String>)> = slots
            .iter()
            .enumerate()
            .map(|(own, (at, input))| {
                let others =
                    linked.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, kind)| kind.as_str());
                (*at, common(others.chain([input.kind.as_str()])))
            })
            .collect();
        let Some(given) = common(linked.iter().map(String::as_str)) else { continue };
        let node = &mut sheet.nodes[number];
        for (at, kind) in narrowed {
            if let Some(kind) = kind.filter(|kind| *kind != node.inputs[at].kind) {
                node.inputs[at].kind = Cow::Owned(kind);
                changed = true;
            }
        }
        for (at, output) in class.outputs.iter().enumerate() {
            if output.same_as.as_deref() == Some(group) && node.outputs[at] != given {
                node.outputs[at] = Cow::Owned(given.clone());
                changed = true;
            }
        }
    }
    changed
}

/// The type of the output that a link comes from.
fn linked_kind(sheet: &Sheet, link: Option<i64>) -> String {
    let Some(link) = link.and_then(|link| sheet.links.get(&link)) else { return "*".to_owned() };
    let kind = match &link.from {
        End::Inputs => sheet.inputs.get(link.from_slot).map(|port| &port.kind),
        End::Node(id) => sheet.node(id).and_then(|node| sheet.nodes[node].outputs.get(link.from_slot)),
        End::Outputs => None,
    };
    kind.map_or("*", AsRef::as_ref).to_owned()
}

/// The types that are in all of these lists; `None` where there is none.
fn common<'t>(kinds: impl Iterator<Item = &'t str>) -> Option<String> {
    let mut found: Option<Vec<&str>> = None;
    for kind in kinds.filter(|kind| *kind != "*") {
        let parts: Vec<&str> = kind.split(',').collect();
        match &mut found {
            None => found = Some(parts),
            Some(found) => found.retain(|part| parts.contains(part)),
        }
    }
    match found {
        None => Some("*".to_owned()),
        Some(found) if found.is_empty() => None,
        Some(found) => Some(found.join(",")),
    }
}

/// The numbers of all sheets: each after those that it holds, the root last. Where subgraphs hold each
/// other in a circle, in the order of the file.
fn inside_out(sheets: &Sheets) -> Vec<usize> {
    let count = sheets.all.len();
    let mut holders: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut waits = vec![0_usize; count];
    for (at, sheet) in sheets.all.iter().enumerate() {
        for held in sheet.nodes.iter().filter_map(|node| sheets.host_of(node.class)) {
            holders[held].push(at);
            waits[at] += 1;
        }
    }
    let mut order: Vec<usize> = (1..count).filter(|at| waits[*at] == 0).collect();
    let mut next = 0;
    while let Some(&at) = order.get(next) {
        next += 1;
        for &holder in &holders[at] {
            waits[holder] -= 1;
            if waits[holder] == 0 && holder != 0 {
                order.push(holder);
            }
        }
    }
    order.extend((1..count).filter(|at| waits[*at] > 0));
    order.push(0);
    order
}

fn settle_node<'a>(sheets: &mut Sheets<'a>, at: usize, number: usize, info: &'a ObjectInfo) {
    let node = &sheets.all[at].nodes[number];
    let role = if let Some(inner) = sheets.host_of(node.class) {
        Role::Host(inner)
    } else if let Some(class) = info.class(node.class) {
        Role::Real(class)
    } else if let Some(role) = page::role(node.class) {
        role
    } else if !node.is_linked && !is_subgraph_id(node.class) {
        Role::Stray
    } else {
        Role::Unknown
    };
    match role {
        Role::Real(class) => {
            let node = &mut sheets.all[at].nodes[number];
            node.rows = widgets::rows(node, class);
            node.inputs = real_slots(class, &node.rows, std::mem::take(&mut node.inputs));
            for (at, output) in class.outputs.iter().enumerate() {
                match node.outputs.get_mut(at) {
                    Some(kind) => *kind = Cow::Borrowed(&output.kind),
                    None => node.outputs.push(Cow::Borrowed(&output.kind)),
                }
            }
        }
        Role::Host(inner) => {
            let slots = host_slots(sheets, at, number, inner);
            let outputs = sheets.all[inner].outputs.iter().map(|port| port.kind.clone()).collect();
            let node = &mut sheets.all[at].nodes[number];
            (node.inputs, node.outputs) = (slots, outputs);
        }
        _ => {}
    }
    sheets.all[at].nodes[number].role = role;
}

/// Subgraphs are called by UUIDs.
pub(super) fn is_subgraph_id(class: &str) -> bool {
    class.len() == 36 && class.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// An input as the server declares it today.
struct Declared<'a> {
    name: Cow<'a, str>,
    kind: &'a str,
    row: Option<usize>,
}

/// The inputs that a class declares, for the values that its dynamic combos have.
struct Declaring<'a, 'r> {
    rows: &'r [Row<'a>],
    inputs: Vec<Declared<'a>>,
    /// Autogrow groups by name. Those inside a dynamic combo keep only what they have grown to.
    groups: HashMap<String, Group<'a>>,
}

struct Group<'a> {
    autogrow: &'a Autogrow,
    inside_combo: bool,
    rounds: usize,
}

impl<'a> Declaring<'a, '_> {
    /// The page lays out all sockets first, then the widgets; within a dynamic combo input by input.
    fn declare(&mut self, inputs: &'a [Input], prefix: &str, sockets: bool, widgets: bool) {
        for input in inputs {
            let name = full_name(prefix, &input.name);
            match &input.form {
                Form::Link if sockets => self.inputs.push(Declared { name, kind: &input.kind, row: None }),
                Form::Autogrow(autogrow) if sockets => self.declare_group(name, autogrow, !prefix.is_empty()),
                Form::Widget(widget) if widgets => {
                    let row = self.rows.iter().position(|row| row.name == name);
                    let value = row.and_then(|row| self.rows[row].value.as_deref()).map(page::js_text);
                    if !input.socketless && row.is_some() {
                        self.inputs.push(Declared { name: name.clone(), kind: &input.kind, row });
                    }
                    if let (Widget::DynamicCombo(choices), Some(value)) = (widget, value)
                        && let Some(choice) = choices.iter().rev().find(|choice| choice.key == value)
                    {
                        self.declare(&choice.inputs, &format!("{name}."), true, true);
                    }
                }
                _ => {}
            }
        }
    }

    fn declare_group(&mut self, name: Cow<'a, str>, autogrow: &'a Autogrow, inside_combo: bool) {
        let rounds = (autogrow.min.saturating_add(1)).min(autogrow.max);
        for round in 0..rounds {
            for input in &autogrow.inputs {
                let name = match autogrow.names.get(round) {
                    Some(own) => format!("{name}.{own}"),
                    None if autogrow.inputs.len() == 1 => format!("{name}.{}{round}", autogrow.prefix),
                    None => format!("{name}.{}{round}", input.name),
                };
                self.inputs.push(Declared { name: Cow::Owned(name), kind: &input.kind, row: None });
            }
        }
        self.groups.insert(name.into_owned(), Group { autogrow, inside_combo, rounds });
    }
}

/// The inputs of a node: what its class declares today, with the links that the graph has for them.
fn real_slots<'a>(class: &'a Class, rows: &[Row<'a>], saved: Vec<Slot<'a>>) -> Vec<Slot<'a>> {
    let mut declaring = Declaring { rows, inputs: Vec::new(), groups: HashMap::new() };
    declaring.declare(&class.inputs, "", true, false);
    declaring.declare(&class.inputs, "", false, true);
    let Declaring { inputs, mut groups, .. } = declaring;
    let mut slots: Vec<Slot<'a>> = inputs
        .into_iter()
        .map(|input| Slot { name: input.name, kind: Cow::Borrowed(input.kind), row: input.row, ..Slot::default() })
        .collect();
    let declared = slots.len();
    for slot in saved {
        let group = slot.name.rsplit_once('.').and_then(|(group, name)| Some((groups.get_mut(group)?, name)));
        let mut grown = None;
        if let Some((group, name)) = group {
            let round = group.autogrow.round_of(name);
            if group.inside_combo {
                let Some(round) = round.filter(|round| *round < group.rounds) else { continue };
                if slot.link.is_some() {
                    group.rounds = group.rounds.max(round + 2).min(group.autogrow.max);
                }
            }
            grown = Some(group.autogrow.inputs.first().map_or("*", |input| input.kind.as_str()));
        }
        // Of inputs with one name the last one counts.
        if let Some(known) = slots[..declared].iter_mut().find(|known| known.name == slot.name) {
            known.link = slot.link;
            continue;
        }
        let of_combo = |row: &Row| {
            matches!(row.input.and_then(Input::widget), Some(Widget::DynamicCombo(_)))
                && slot.name.strip_prefix(row.name.as_ref()).is_some_and(|rest| rest.starts_with('.'))
        };
        if grown.is_none() && rows.iter().any(of_combo) {
            continue;
        }
        // Not declared: an extension of the page may have added it, or the class has changed.
        let row = match &slot.widget {
            Some(widget) if grown.is_none() => match rows.iter().position(|row| row.name == *widget) {
                Some(row) => Some(row),
                None => continue,
            },
            _ => None,
        };
        let kind = grown.map_or_else(|| slot.kind.clone(), Cow::Borrowed);
        slots.push(Slot { kind, row, ..slot });
    }
    slots
}

/// The inputs of a node that stands for a subgraph, and the values that it promotes.
fn host_slots<'a>(sheets: &Sheets<'a>, at: usize, number: usize, inner: usize) -> Vec<Slot<'a>> {
    let node = &sheets.all[at].nodes[number];
    let refused = promote::refused_values(node);
    let mut values = match node.saved {
        Saved::List(values) => values.iter(),
        _ => [].iter(),
    };
    // Of inputs with one name the last one counts.
    let links: HashMap<&str, Option<i64>> = node.inputs.iter().map(|slot| (slot.name.as_ref(), slot.link)).collect();
    let slot = |(port, it): (usize, &super::sheet::Port<'a>)| {
        let link = links.get(it.name.as_ref()).copied().flatten();
        let mut promoted = promote::first_widget(sheets, inner, port);
        if let Some(value) = &mut promoted {
            let saved = values.next();
            if let Some(own) = refused.get(it.name.as_ref()).copied().or(saved) {
                *value = Some(Cow::Borrowed(own));
            }
        }
        Slot { name: it.name.clone(), kind: it.kind.clone(), link, promoted, ..Slot::default() }
    };
    sheets.all[inner].inputs.iter().enumerate().map(slot).collect()
}

/// What a [`Role::Primitive`] writes into the widgets that it is linked to, and into which.
pub(super) fn apply_primitives(sheets: &mut Sheets) {
    for sheet in &mut sheets.all {
        if !sheet.nodes.iter().any(|node| matches!(node.role, Role::Primitive)) {
            continue;
        }
        let mut targets: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
        let mut hosts: Vec<(usize, usize, usize)> = Vec::new();
        for (number, node) in sheet.nodes.iter().enumerate() {
            let is_host = matches!(node.role, Role::Host(_));
            for (at, slot) in node.inputs.iter().enumerate() {
                let from = slot.link.and_then(|link| sheet.links.get(&link)).map(|link| &link.from);
                if let Some(End::Node(id)) = from
                    && let Some(from) = sheet.node(id)
                    && matches!(sheet.nodes[from].role, Role::Primitive)
                {
                    match slot.row {
                        Some(row) => targets.entry(from).or_default().push((number, row)),
                        None if is_host => hosts.push((from, number, at)),
                        None => {}
                    }
                }
            }
        }
        for (primitive, targets) in targets {
            let Saved::List([value, ..]) = sheet.nodes[primitive].saved else { continue };
            let specs = targets.iter().filter_map(|(node, row)| sheet.nodes[*node].rows[*row].input);
            let value = page::in_range(value, specs);
            for (node, row) in targets {
                let row = &mut sheet.nodes[node].rows[row];
                row.value =
                    Some(Cow::Owned(row.input.map_or_else(|| value.clone(), |input| page::stepped(&value, input))));
            }
        }
        // Into a subgraph it writes as a promoted widget does.
        for (primitive, node, at) in hosts {
            let Saved::List([value, ..]) = sheet.nodes[primitive].saved else { continue };
            let slot = &mut sheet.nodes[node].inputs[at];
            (slot.link, slot.promoted) = (None, Some(Some(Cow::Borrowed(value))));
        }
    }
}

/// The value of a promoted widget or of a row, made to fit the row that takes it.
pub(super) fn fit<'a>(value: Promoted<'a>, row: Option<&Row<'a>>) -> Promoted<'a> {
    if value.as_deref().is_some_and(Value::is_null)
        && let Some(Widget::Combo { options, .. }) = row.and_then(|row| row.input).and_then(Input::widget)
        && let Some(first) = options.first()
    {
        return Some(Cow::Borrowed(first));
    }
    value
}
