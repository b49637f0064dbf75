//! Group nodes (`workflow>NAME`), the forerunners of subgraphs: each is made a subgraph before a graph is read.
//!
//! The new ids are those that the page gives. What the page loses on the way (texts, combos and links of
//! group nodes, as of 1.49) is kept.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::sheet::{Node, Role, Saved, number};
use super::{page, widgets};
use crate::workflow::object_info::{Class, Form, Input, ObjectInfo, Widget};

/// The same graph with a subgraph for every group node of the root; `None` where there is none.
pub(super) fn as_subgraphs(root: &Map<String, Value>, info: &ObjectInfo) -> Option<Map<String, Value>> {
    let groups = root.get("extra")?.get("groupNodes")?.as_object()?;
    let nodes = root.get("nodes")?.as_array()?;
    let group = |node: &Value| {
        let class = node.get("type")?.as_str()?;
        let name = class.strip_prefix("workflow>").or_else(|| class.strip_prefix("workflow/"))?;
        groups.get(name)?.as_object()
    };
    if !nodes.iter().any(|node| group(node).is_some()) {
        return None;
    }
    let mut last = root.get("last_node_id").and_then(number).unwrap_or_default();
    for id in nodes.iter().filter_map(|node| node.get("id").and_then(number)) {
        last = last.max(id);
    }
    let mut renamed = HashMap::new();
    let mut definitions = Vec::new();
    let mut result = root.clone();
    for node in result.get_mut("nodes")?.as_array_mut()? {
        let Some(group) = group(node) else { continue };
        let Some(definition) = Definition::of(node, group, info, last) else { continue };
        last = last.saturating_add(i64::try_from(definition.nodes.len()).unwrap_or(i64::MAX)).saturating_add(1);
        let id = format!("group {last}");
        let old = node.get("id").cloned().unwrap_or_default();
        let host = definition.host(node, last, &id);
        definitions.push(definition.finished(&id));
        *node = host;
        renamed.insert(old.to_string(), Value::from(last));
    }
    for link in result.get_mut("links").and_then(Value::as_array_mut).into_iter().flatten() {
        for (place, key) in [(1, "origin_id"), (3, "target_id")] {
            let end = if link.is_array() { link.get_mut(place) } else { link.get_mut(key) };
            if let Some(end) = end
                && let Some(new) = renamed.get(&end.to_string())
            {
                end.clone_from(new);
            }
        }
    }
    let known = result.entry("definitions").or_insert_with(|| json!({}));
    if !known.get("subgraphs").is_some_and(Value::is_array) {
        *known = json!({"subgraphs": []});
    }
    known.get_mut("subgraphs")?.as_array_mut()?.extend(definitions);
    Some(result)
}

/// The inside of one group node, while it is made.
struct Definition {
    nodes: Vec<Value>,
    links: Vec<Value>,
    /// Names, types and links of the ports; in the order of the group node's own.
    inputs: Vec<(String, Value, i64)>,
    outputs: Vec<(Value, i64)>,
    title: Value,
}

/// An input that the group node shows.
struct Shown {
    name: String,
    node: usize,
    input: String,
    kind: String,
}

impl Definition {
    fn of(host: &Value, group: &Map<String, Value>, info: &ObjectInfo, last: i64) -> Option<Self> {
        let inner = group.get("nodes")?.as_array()?;
        let items = |key: &str| group.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut this = Self {
            nodes: inner.clone(),
            links: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            title: Value::Null,
        };
        this.title = host.get("type").cloned().unwrap_or_default();
        let id = |node: usize| last.saturating_add(i64::try_from(node).unwrap_or(i64::MAX)).saturating_add(1);
        for (at, node) in this.nodes.iter_mut().enumerate() {
            let map = node.as_object_mut()?;
            map.insert("id".to_owned(), id(at).into());
            for slot in map.get_mut("inputs").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(slot) = slot.as_object_mut() {
                    slot.insert("link".to_owned(), Value::Null);
                }
            }
        }
        // From, its output, to, its input: numbers of nodes in the group.
        let mut linked_from = HashSet::new();
        for link in items("links") {
            let field = |at: usize| link.get(at).and_then(number).and_then(|field| usize::try_from(field).ok());
            let (Some(from), Some(output), Some(to), Some(input)) = (field(0), field(1), field(2), field(3)) else {
                continue;
            };
            if from >= this.nodes.len() || to >= this.nodes.len() {
                continue;
            }
            let link = this.link(&id(from).into(), output, &id(to).into(), input);
            linked_from.insert((from, output));
            if let Some(slot) = this.nodes[to].get_mut("inputs").and_then(|inputs| inputs.get_mut(input)) {
                slot["link"] = link.into();
            }
            let outputs = this.nodes[from].get_mut("outputs").and_then(|outputs| outputs.get_mut(output));
            if let Some(output) = outputs.and_then(Value::as_object_mut) {
                output.insert("links".to_owned(), json!([link]));
            }
        }
        let shown = this.take_values(host, group, info);
        for input in shown {
            this.add_input(host, input, &id);
        }
        let external: HashSet<(i64, i64)> =
            items("external").iter().filter_map(|it| Some((number(it.get(0)?)?, number(it.get(1)?)?))).collect();
        for (at, node) in inner.iter().enumerate() {
            let Some(class) = node.get("type").and_then(Value::as_str) else { continue };
            let kinds: Vec<Value> = match info.class(class) {
                Some(class) => class.outputs.iter().map(|output| json!(output.kind)).collect(),
                None if page::role(class).is_some_and(|role| !matches!(role, Role::Remark)) => vec![json!("*")],
                None => Vec::new(),
            };
            for (output, kind) in kinds.into_iter().enumerate() {
                let outside = external.contains(&(i64::try_from(at).ok()?, i64::try_from(output).ok()?));
                let hidden = linked_from.contains(&(at, output)) && !outside;
                if config(group, at, "output", &output.to_string(), "visible")
                    .and_then(Value::as_bool)
                    .unwrap_or(!hidden)
                {
                    let port = this.outputs.len();
                    let link = this.link(&id(at).into(), output, &json!(-20), port);
                    this.outputs.push((kind, link));
                }
            }
        }
        Some(this)
    }

    fn link(&mut self, from: &Value, output: usize, to: &Value, input: usize) -> i64 {
        let link = i64::try_from(self.links.len()).unwrap_or(i64::MAX).saturating_add(1);
        self.links.push(json!([link, from, output, to, input, "*"]));
        link
    }

    /// Gives the values of the group node to the widgets inside; returns its inputs, in order.
    fn take_values(&mut self, host: &Value, group: &Map<String, Value>, info: &ObjectInfo) -> Vec<Shown> {
        let saved = host.get("widgets_values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (mut at, mut seen) = (0, HashMap::new());
        let (mut shown, mut converted) = (Vec::new(), Vec::new());
        for (number, value) in self.nodes.iter_mut().enumerate() {
            let Some(mut node) = Node::read(value) else { continue };
            if node.class == "PrimitiveNode" {
                let kind = node.outputs.first().map(ToString::to_string).unwrap_or_default();
                let own = saved.get(at).cloned();
                at += match kind.as_str() {
                    "COMBO" => 3,
                    "INT" | "FLOAT" => 2,
                    _ => 1,
                };
                if let (Some(own), Some(map)) = (own, value.as_object_mut()) {
                    map.insert("widgets_values".to_owned(), json!([own]));
                }
                continue;
            }
            let Some(class) = info.class(node.class) else {
                if node.class == "Reroute" && node.inputs.first().is_none_or(|slot| slot.link.is_none()) {
                    let kind = node.outputs.first().map_or("*", AsRef::as_ref).to_owned();
                    let name = input_name(group, number, &node, &kind, &mut seen);
                    shown.push(Shown { name, node: number, input: String::new(), kind });
                }
                continue;
            };
            let is_converted = |input: &Input| {
                node.inputs.iter().any(|slot| slot.name == input.name && slot.widget.as_deref() == Some(&input.name))
            };
            let skip: Vec<&str> =
                class.inputs.iter().filter(|input| is_converted(input)).map(|input| input.name.as_str()).collect();
            for input in class.inputs.iter().filter(|input| input.widget().is_some() && !is_converted(input)) {
                let name = input_name(group, number, &node, &input.name, &mut seen);
                shown.push(Shown { name, node: number, input: input.name.clone(), kind: input.kind.clone() });
            }
            for input in class.inputs.iter().filter(|input| input.widget().is_none() || is_converted(input)) {
                if node.inputs.iter().any(|slot| slot.name == input.name && slot.link.is_some()) {
                    continue;
                }
                let target = if is_converted(input) { &mut converted } else { &mut shown };
                if input.widget().is_some() || matches!(input.form, Form::Link) {
                    let name = input_name(group, number, &node, &input.name, &mut seen);
                    target.push(Shown { name, node: number, input: input.name.clone(), kind: input.kind.clone() });
                }
            }
            let mut values = named(&mut node, class);
            node.saved = Saved::List(saved.get(at..).unwrap_or_default());
            let (rows, used) = widgets::rows_without(&node, class, &skip);
            let given = saved.len().saturating_sub(at);
            for row in rows.into_iter().take(given) {
                if let Some(value) = row.value {
                    values.insert(row.name.into_owned(), value.into_owned());
                }
            }
            at += used;
            if let Some(map) = value.as_object_mut() {
                map.insert("widgets_values".to_owned(), Value::Object(values));
            }
        }
        shown.extend(converted);
        shown
    }

    /// A port for an input of the group node, if something is linked to it there.
    fn add_input(&mut self, host: &Value, input: Shown, id: &impl Fn(usize) -> i64) {
        let slots = host.get("inputs").and_then(Value::as_array);
        let linked = slots.into_iter().flatten().any(|slot| {
            slot.get("name").and_then(Value::as_str) == Some(&input.name)
                && slot.get("link").is_some_and(|it| !it.is_null())
        });
        if !linked {
            return;
        }
        let port = self.inputs.len();
        let link = self.link(&json!(-10), port, &id(input.node).into(), 0);
        let Some(node) = self.nodes[input.node].as_object_mut() else { return };
        let slots = node.entry("inputs").or_insert_with(|| json!([]));
        if let Some(slots) = slots.as_array_mut() {
            let at = slots.iter().position(|slot| slot.get("name").and_then(Value::as_str) == Some(&input.input));
            let at = if input.input.is_empty() && !slots.is_empty() { Some(0) } else { at };
            match at {
                Some(at) => slots[at]["link"] = link.into(),
                None => slots.push(json!({"name": input.input, "type": input.kind, "link": link})),
            }
        }
        self.inputs.push((input.name, json!(input.kind), link));
    }

    /// The node that takes the group node's place.
    fn host(&self, group: &Value, id: i64, class: &str) -> Value {
        let link = |name: &str| {
            let slots = group.get("inputs").and_then(Value::as_array);
            let slot = slots.into_iter().flatten().find(|slot| slot.get("name").and_then(Value::as_str) == Some(name));
            slot.and_then(|slot| slot.get("link")).cloned().unwrap_or_default()
        };
        let inputs: Vec<Value> =
            self.inputs.iter().map(|(name, kind, _)| json!({"name": name, "type": kind, "link": link(name)})).collect();
        let mode = group.get("mode").cloned().unwrap_or_default();
        json!({"id": id, "type": class, "mode": mode, "inputs": inputs, "outputs": [], "title": group.get("title").unwrap_or(&self.title)})
    }

    fn finished(self, id: &str) -> Value {
        let inputs: Vec<Value> = self
            .inputs
            .iter()
            .map(|(name, kind, link)| json!({"name": name, "type": kind, "linkIds": [link]}))
            .collect();
        let outputs: Vec<Value> =
            self.outputs.iter().map(|(kind, link)| json!({"name": "", "type": kind, "linkIds": [link]})).collect();
        json!({"id": id, "name": self.title, "nodes": self.nodes, "links": self.links, "inputs": inputs, "outputs": outputs})
    }
}

/// The values that a node inside was saved with, by name.
fn named(node: &mut Node, class: &Class) -> Map<String, Value> {
    let rows = widgets::rows(node, class);
    let dynamic = |row: &widgets::Row| matches!(row.input.and_then(Input::widget), Some(Widget::Other(_)));
    rows.into_iter()
        .filter(|row| !dynamic(row))
        .filter_map(|row| Some((row.name.into_owned(), row.value?.into_owned())))
        .collect()
}

/// What the group node calls an input of a node in it: a name that is taken gets the node's title before it.
fn input_name(
    group: &Map<String, Value>,
    number: usize,
    node: &Node,
    input: &str,
    seen: &mut HashMap<String, usize>,
) -> String {
    let own = config(group, number, "input", input, "name").and_then(Value::as_str);
    let mut name = own.unwrap_or(input).to_owned();
    let mut key = name.clone();
    if seen.contains_key(&name) {
        key = format!("{} {input}", node.shown());
        name.clone_from(&key);
        if let Some(count) = seen.get(&name) {
            name = format!("{} {count} {input}", node.shown());
        }
    }
    *seen.entry(key).or_insert(1) += 1;
    name
}

/// What the group's owner has set for an input or output of a node in it.
fn config<'v>(group: &'v Map<String, Value>, node: usize, side: &str, slot: &str, key: &str) -> Option<&'v Value> {
    group.get("config")?.get(node.to_string())?.get(side)?.get(slot)?.get(key)
}
