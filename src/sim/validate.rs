//! What `POST /prompt` refuses, in the words and shapes of recordings 09 and 11.
//!
//! Pure. Follows ComfyUI's `validate_prompt`: each output is walked upwards, the error sits on the
//! node that fails, a valid output lets the prompt in although another is broken (traps 1 to 3).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Dialect;
use super::graph::{self, Prompt};
use super::object_info::{self, Slot};
use super::wire;

/// Why a prompt is not taken.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// 400 with this body.
    Bad { error: Value, node_errors: Value },
    /// The handler throws: 500.
    Thrown,
}

/// A prompt that runs: what of it, and what of it does not.
#[derive(Debug, PartialEq)]
pub struct Accepted {
    pub outputs: Vec<String>,
    pub node_errors: Value,
}

fn bad(kind: &str, message: &str, details: &str, extra: &Value) -> Box<Refusal> {
    let error = json!({"type": kind, "message": message, "details": details, "extra_info": extra});
    Box::new(Refusal::Bad { error, node_errors: json!({}) })
}

/// The refusal of a body without a prompt.
pub fn no_prompt() -> Box<Refusal> {
    bad("no_prompt", "No prompt provided", "No prompt provided", &json!({}))
}

/// The `prompt_id` of a body, by the rules of each version (recording 11). `fresh` makes one.
pub fn prompt_id(dialect: Dialect, body: &Value, fresh: impl FnOnce() -> String) -> Result<String, Box<Refusal>> {
    match (dialect, body.get("prompt_id")) {
        (_, None) | (Dialect::V0_33_0, Some(Value::Null)) => Ok(fresh()),
        (Dialect::V0_3_64, Some(any)) => Ok(wire::str(any)),
        (Dialect::V0_33_0, Some(Value::String(id))) if is_canonical(id) => Ok(id.clone()),
        (Dialect::V0_33_0, Some(_)) => Err(bad(
            "invalid_prompt_id",
            "prompt_id must be a valid UUID",
            "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one",
            &json!({}),
        )),
    }
}

/// A lower-case hyphenated UUID.
pub fn is_canonical(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

/// Checks a prompt. Numbers are converted in place, as the server does; `has_file` says whether an
/// image input names a file that is there.
pub fn validate(
    dialect: Dialect,
    prompt: &mut Prompt,
    targets: Option<&[String]>,
    has_file: &dyn Fn(&str) -> bool,
) -> Result<Accepted, Box<Refusal>> {
    let mut outputs = Vec::new();
    for (id, node) in &*prompt {
        let Some(class) = class_of(dialect, id, node)? else { continue };
        if object_info::is_output(dialect, class) && targets.is_none_or(|only| only.contains(id)) {
            outputs.push(id.clone());
        }
    }
    if outputs.is_empty() {
        return Err(bad("prompt_no_outputs", "Prompt has no outputs", "", &json!({})));
    }
    let mut walk =
        Walk { dialect, prompt, has_file, seen: BTreeMap::new(), order: Vec::new(), path: Vec::new(), cyclic: false };
    let mut good = Vec::new();
    let mut details = Vec::new();
    let mut node_errors = Map::new();
    for output in outputs {
        if let Err(thrown) = walk.node(&output) {
            walk.note(&output, false, vec![thrown.into_error(dialect, "exception_during_validation")]);
        }
        walk.path.clear();
        let (valid, errors) = walk.seen.get(&output).cloned().unwrap_or((true, Vec::new()));
        if valid {
            good.push(output);
            continue;
        }
        let line = |error: &Value| format!("{}: {}", wire::str(&error["message"]), wire::str(&error["details"]));
        details.extend(errors.iter().map(line));
        for node in walk.order.clone() {
            let Some((false, errors)) = walk.seen.get(&node).filter(|(_, errors)| !errors.is_empty()) else { continue };
            let entry = node_errors.entry(node.clone()).or_insert_with(
                || json!({"errors": errors, "dependent_outputs": [], "class_type": graph::class(walk.prompt, &node)}),
            );
            if let Some(Value::Array(list)) = entry.get_mut("dependent_outputs") {
                list.push(json!(output));
            }
        }
    }
    let node_errors = Value::Object(node_errors);
    if good.is_empty() {
        // 0.3.64 runs into its recursion limit on a cycle, and loses its words (recording 09).
        let details = if walk.cyclic { String::new() } else { details.join("\n") };
        let words = "Prompt outputs failed validation";
        let error = json!({
            "type": "prompt_outputs_failed_validation", "message": words, "details": details, "extra_info": {},
        });
        return Err(Box::new(Refusal::Bad { error, node_errors }));
    }
    Ok(Accepted { outputs: good, node_errors })
}

fn class_of<'a>(dialect: Dialect, id: &str, node: &'a Value) -> Result<Option<&'a str>, Box<Refusal>> {
    let details = format!("Node ID '#{id}'");
    let missing = || match dialect {
        Dialect::V0_3_64 => bad(
            "invalid_prompt",
            "Cannot execute because a node is missing the class_type property.",
            &details,
            &json!({}),
        ),
        Dialect::V0_33_0 => bad(
            "missing_node_type",
            &format!("Node 'ID #{id}' has no class_type. The workflow may be corrupted or a custom node is missing."),
            &details,
            &json!({"node_id": id, "class_type": null, "node_title": null}),
        ),
    };
    let class = match (node, dialect) {
        (Value::Object(map), _) => map.get("class_type").ok_or_else(missing)?,
        // `'class_type' not in "text"` is true in Python, and only that version asks it of a text.
        (Value::String(_) | Value::Array(_), Dialect::V0_3_64) => return Err(missing()),
        _ => return Err(Box::new(Refusal::Thrown)),
    };
    let name = wire::str(class);
    match class.as_str() {
        Some(class) if object_info::nodes(dialect).contains_key(class) => Ok(Some(class)),
        _ => Err(match dialect {
            Dialect::V0_3_64 => bad(
                "invalid_prompt",
                &format!("Cannot execute because node {name} does not exist."),
                &details,
                &json!({}),
            ),
            Dialect::V0_33_0 => {
                let title = node.pointer("/_meta/title").cloned().unwrap_or_else(|| json!(name));
                bad(
                    "missing_node_type",
                    &format!("Node '{name}' not found. The custom node may not be installed."),
                    &details,
                    &json!({"node_id": id, "class_type": name, "node_title": title}),
                )
            }
        }),
    }
}

/// A longer chain of nodes is more than can be walked down. In Python that is about a thousand; a thread's stack holds
/// fewer of these calls in a build that is not optimized.
const DEEPEST: usize = 300;

/// A Python exception out of the walk.
struct Thrown {
    kind: &'static str,
    text: String,
    line: u32,
}

impl Thrown {
    fn into_error(self, dialect: Dialect, kind: &str) -> Value {
        let outer = if dialect == Dialect::V0_3_64 { 1010 } else { 1184 };
        let frame = |line: u32, name: &str| {
            format!("  File \"<comfyui>/execution.py\", line {line}, in {name}\n    <source line trimmed>\n")
        };
        json!({
            "type": kind,
            "message": "Exception when validating node",
            "details": self.text,
            "extra_info": {
                "exception_type": self.kind,
                "traceback": [frame(outer, "validate_prompt"), frame(self.line, "validate_inputs")],
            },
        })
    }
}

struct Walk<'a> {
    dialect: Dialect,
    prompt: &'a mut Prompt,
    has_file: &'a dyn Fn(&str) -> bool,
    seen: BTreeMap<String, (bool, Vec<Value>)>,
    order: Vec<String>,
    path: Vec<String>,
    cyclic: bool,
}

impl Walk<'_> {
    fn note(&mut self, id: &str, valid: bool, errors: Vec<Value>) {
        if !self.order.iter().any(|other| other == id) {
            self.order.push(id.to_owned());
        }
        self.seen.insert(id.to_owned(), (valid, errors));
    }

    fn node(&mut self, id: &str) -> Result<bool, Thrown> {
        if let Some((valid, _)) = self.seen.get(id) {
            return Ok(*valid);
        }
        let class = graph::class(self.prompt, id).to_owned();
        let Some(given) = graph::inputs(self.prompt, id).cloned() else {
            return Err(Thrown { kind: "KeyError", text: "'inputs'".to_owned(), line: 770 });
        };
        let Some(info) = object_info::nodes(self.dialect).get(&class) else {
            return Err(Thrown { kind: "KeyError", text: wire::repr(&json!(class)), line: 770 });
        };
        if self.path.len() >= DEEPEST {
            let text = "maximum recursion depth exceeded".to_owned();
            return Err(Thrown { kind: "RecursionError", text, line: 770 });
        }
        self.path.push(id.to_owned());
        let mut errors = Vec::new();
        let mut valid = true;
        for slot in object_info::slots(info) {
            match given.get(slot.name) {
                None if slot.required => errors.push(missing(&slot)),
                None => {}
                Some(Value::Array(items)) => valid &= self.linked(&slot, items, &mut errors)?,
                Some(value) => match self.plain(&class, &slot, value) {
                    Ok(converted) => self.store(id, slot.name, converted),
                    Err(error) => errors.push(error),
                },
            }
        }
        self.path.pop();
        // A cycle has put errors on nodes that were still being walked.
        if let Some((false, found)) = self.seen.remove(id) {
            errors.extend(found);
            valid = false;
        }
        valid &= errors.is_empty();
        self.note(id, valid, errors);
        Ok(valid)
    }

    fn linked(&mut self, slot: &Slot<'_>, items: &[Value], errors: &mut Vec<Value>) -> Result<bool, Thrown> {
        let [from, index] = items else {
            errors.push(no_link(slot, items));
            return Ok(true);
        };
        let new = self.dialect == Dialect::V0_33_0;
        let from = wire::str(from);
        let info =
            self.prompt.get(&from).map(|_| object_info::nodes(self.dialect).get(graph::class(self.prompt, &from)));
        let Some(Some(info)) = info else {
            return Err(Thrown { kind: "KeyError", text: wire::repr(&json!(from)), line: if new { 933 } else { 788 } });
        };
        let received = index.as_u64().and_then(|at| object_info::outputs(info).get(usize::try_from(at).ok()?));
        let Some(received) = received else {
            let text = "tuple index out of range".to_owned();
            return Err(Thrown { kind: "IndexError", text, line: if new { 935 } else { 790 } });
        };
        if received != slot.kind && !accepts_any(slot.kind) && !accepts_any(received) {
            errors.push(mismatch(slot, items, received));
            return Ok(true);
        }
        if let Some(start) = self.path.iter().position(|id| *id == from) {
            self.cycle(start);
            return Ok(false);
        }
        self.node(&from).or_else(|thrown| {
            self.inner(&from, slot, items, thrown);
            Ok(false)
        })
    }

    /// What a node above threw.
    fn inner(&mut self, from: &str, slot: &Slot<'_>, items: &[Value], thrown: Thrown) {
        self.path.truncate(self.path.iter().position(|id| *id == from).unwrap_or(self.path.len()));
        let mut error = thrown.into_error(self.dialect, "exception_during_inner_validation");
        error["message"] = json!("Exception when validating inner node");
        error["extra_info"]["input_name"] = json!(slot.name);
        error["extra_info"]["linked_node"] = json!(items);
        self.note(from, false, vec![error]);
    }

    fn cycle(&mut self, start: usize) {
        if self.dialect == Dialect::V0_3_64 {
            self.cyclic = true;
            return;
        }
        let members: Vec<String> = self.path[start..].to_vec();
        let name = |id: &String| format!("{id} ({})", graph::class(self.prompt, id));
        let way: Vec<String> = members.iter().chain(members.first()).map(name).collect();
        for id in &members {
            let error = json!({
                "type": "dependency_cycle",
                "message": "Dependency cycle detected",
                "details": way.join(" -> "),
                "extra_info": {"node_id": id, "cycle_nodes": members},
            });
            self.note(id, false, vec![error]);
        }
    }

    fn plain(&self, class: &str, slot: &Slot<'_>, value: &Value) -> Result<Value, Value> {
        let kind = slot.kind.as_str().unwrap_or("");
        let converted = convert(kind, value).map_err(|text| {
            json!({
                "type": "invalid_input_type",
                "message": format!("Failed to convert an input value to a {kind} value"),
                "details": format!("{}, {}, {text}", slot.name, wire::str(value)),
                "extra_info": {
                    "input_name": slot.name, "input_config": slot.config(),
                    "received_value": value, "exception_message": text,
                },
            })
        })?;
        if class == "LoadImage" && slot.name == "image" {
            let name = wire::str(&converted);
            return if (self.has_file)(&name) {
                Ok(converted)
            } else {
                Err(json!({
                    "type": "custom_validation_failed",
                    "message": "Custom validation failed for node",
                    "details": format!("image - Invalid image file: {name}"),
                    "extra_info": {"input_name": "image"},
                }))
            };
        }
        let limit =
            |name: &str| slot.settings.and_then(|settings| settings.get(name)).filter(|limit| limit.is_number());
        let number = converted.as_f64().filter(|_| matches!(kind, "INT" | "FLOAT"));
        if let (Some(number), Some(min)) = (number, limit("min"))
            && min.as_f64().is_some_and(|min| number < min)
        {
            return Err(out_of_range("value_smaller_than_min", "smaller than min", slot, &converted, min));
        }
        if let (Some(number), Some(max)) = (number, limit("max"))
            && max.as_f64().is_some_and(|max| number > max)
        {
            return Err(out_of_range("value_bigger_than_max", "bigger than max", slot, &converted, max));
        }
        // 0.3.64 checks only lists given as such, not `COMBO` with options (recording 03, form e).
        let checked = slot.kind.is_array() || self.dialect == Dialect::V0_33_0;
        if let Some(choices) = slot.choices().filter(|_| checked)
            && !choices.contains(&converted)
        {
            let long = choices.len() > 20;
            let list =
                if long { format!("(list of length {})", choices.len()) } else { wire::repr(&Value::Array(choices)) };
            return Err(json!({
                "type": "value_not_in_list",
                "message": "Value not in list",
                "details": format!("{}: '{}' not in {list}", slot.name, wire::str(&converted)),
                "extra_info": {
                    "input_name": slot.name,
                    "input_config": if long { Value::Null } else { slot.config() },
                    "received_value": converted,
                },
            }));
        }
        Ok(converted)
    }

    fn store(&mut self, id: &str, name: &str, value: Value) {
        let place =
            self.prompt.get_mut(id).and_then(|node| node.get_mut("inputs")).and_then(|inputs| inputs.get_mut(name));
        if let Some(place) = place {
            *place = value;
        }
    }
}

fn missing(slot: &Slot<'_>) -> Value {
    json!({
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": slot.name,
        "extra_info": {"input_name": slot.name},
    })
}

fn no_link(slot: &Slot<'_>, items: &[Value]) -> Value {
    json!({
        "type": "bad_linked_input",
        "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]",
        "details": slot.name,
        "extra_info": {"input_name": slot.name, "input_config": slot.config(), "received_value": items},
    })
}

fn mismatch(slot: &Slot<'_>, items: &[Value], received: &Value) -> Value {
    let (from, into) = (wire::str(received), wire::str(slot.kind));
    json!({
        "type": "return_type_mismatch",
        "message": "Return type mismatch between linked nodes",
        "details": format!("{}, received_type({from}) mismatch input_type({into})", slot.name),
        "extra_info": {
            "input_name": slot.name, "input_config": slot.config(),
            "received_type": received, "linked_node": items,
        },
    })
}

fn out_of_range(kind: &str, words: &str, slot: &Slot<'_>, value: &Value, limit: &Value) -> Value {
    json!({
        "type": kind,
        "message": format!("Value {} {words} of {}", wire::str(value), wire::str(limit)),
        "details": slot.name,
        "extra_info": {"input_name": slot.name, "input_config": slot.config(), "received_value": value},
    })
}

fn accepts_any(kind: &Value) -> bool {
    matches!(kind.as_str(), Some("*" | "COMFY_MATCHTYPE_V3"))
}

/// `int(value)` and the like; the error is Python's.
fn convert(kind: &str, value: &Value) -> Result<Value, String> {
    let none = |what: &str| {
        format!("{what} argument must be a string, a bytes-like object or a real number, not '{}'", type_name(value))
    };
    match (kind, value) {
        ("INT" | "FLOAT", _) if wire::non_number(value).is_some() => {
            let float = wire::non_number(value).unwrap_or(f64::NAN);
            match kind {
                "FLOAT" => Ok(value.clone()),
                _ if float.is_nan() => Err("cannot convert float NaN to integer".to_owned()),
                _ => Err("cannot convert float infinity to integer".to_owned()),
            }
        }
        ("INT" | "FLOAT", Value::Bool(flag)) => Ok(json!(u8::from(*flag))),
        ("INT", Value::Number(number)) => Ok(match number.as_f64() {
            Some(float) if number.is_f64() => integer(float),
            _ => value.clone(),
        }),
        ("INT", Value::String(text)) => {
            let trimmed = text.trim();
            let whole = trimmed.parse::<i64>().map(|n| json!(n)).or_else(|_| trimmed.parse::<u64>().map(|n| json!(n)));
            whole.map_err(|_| format!("invalid literal for int() with base 10: {}", wire::repr(value)))
        }
        ("INT", _) => Err(none("int()")),
        ("FLOAT", Value::Number(_)) | ("STRING", Value::String(_)) => Ok(value.clone()),
        ("FLOAT", Value::String(text)) => {
            let float = text.trim().parse::<f64>().map(|f| json!(f));
            float.map_err(|_| format!("could not convert string to float: {}", wire::repr(value)))
        }
        ("FLOAT", _) => Err(none("float()")),
        ("STRING", other) => Ok(json!(wire::str(other))),
        _ => Ok(value.clone()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "Python's int() cuts towards zero; the ranges of nodes are far smaller"
)]
fn integer(float: f64) -> Value {
    json!(float.trunc() as i64)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Object(_) => "dict",
        Value::Array(_) => "list",
        _ => "object",
    }
}
