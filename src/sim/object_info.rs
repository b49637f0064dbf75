//! The nodes the simulator knows: cut out of the recorded `/object_info` of each version, the
//! model lists extended with the Wan files.
//!
//! Pure. The list of `LoadImage` is the only part that changes while the server runs.

use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::Dialect;

static V0_3_64: OnceLock<Map<String, Value>> = OnceLock::new();
static V0_33_0: OnceLock<Map<String, Value>> = OnceLock::new();

/// Class name to its entry.
pub fn nodes(dialect: Dialect) -> &'static Map<String, Value> {
    let (cell, text) = match dialect {
        Dialect::V0_3_64 => (&V0_3_64, include_str!("object_info/0.3.64.json")),
        Dialect::V0_33_0 => (&V0_33_0, include_str!("object_info/0.33.0.json")),
    };
    // Embedded and covered by a test: an empty map would only mean a broken build.
    cell.get_or_init(|| serde_json::from_str(text).unwrap_or_default())
}

/// One class with the input files that are there now.
pub fn entry(dialect: Dialect, class: &str, images: &[String]) -> Option<Value> {
    let mut info = nodes(dialect).get(class)?.clone();
    if class == "LoadImage"
        && let Some(list) = info.pointer_mut("/input/required/image/0")
    {
        *list = json!(images);
    }
    Some(info)
}

/// True for nodes that save or show something.
pub fn is_output(dialect: Dialect, class: &str) -> bool {
    nodes(dialect).get(class).and_then(|info| info.get("output_node")) == Some(&Value::Bool(true))
}

/// The types of a class's outputs.
pub fn outputs(info: &Value) -> &[Value] {
    info.get("output").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// One declared input: its name, whether it must be there, its type and its settings.
pub struct Slot<'a> {
    pub name: &'a str,
    pub required: bool,
    /// `"INT"`, `"IMAGE"`, …, or a list of choices.
    pub kind: &'a Value,
    pub settings: Option<&'a Map<String, Value>>,
}

impl Slot<'_> {
    /// `[type, settings]`, as errors tell it.
    pub fn config(&self) -> Value {
        json!([self.kind, self.settings.cloned().unwrap_or_default()])
    }

    /// What may be chosen, where this is a choice.
    pub fn choices(&self) -> Option<Vec<Value>> {
        match self.kind {
            Value::Array(list) => Some(list.clone()),
            Value::String(kind) if kind == "COMBO" => self.settings?.get("options")?.as_array().cloned(),
            Value::String(kind) if kind == "COMFY_DYNAMICCOMBO_V3" => {
                let options = self.settings?.get("options")?.as_array()?;
                Some(options.iter().filter_map(|option| option.get("key").cloned()).collect())
            }
            _ => None,
        }
    }
}

/// The declared inputs of a class, required ones first.
pub fn slots(info: &Value) -> Vec<Slot<'_>> {
    let section = |name: &'static str| {
        let declared = info.get("input").and_then(|input| input.get(name)).and_then(Value::as_object);
        declared.into_iter().flatten().filter_map(move |(slot, spec)| {
            let spec = spec.as_array()?;
            Some(Slot {
                name: slot,
                required: name == "required",
                kind: spec.first()?,
                settings: spec.get(1).and_then(Value::as_object),
            })
        })
    };
    section("required").chain(section("optional")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_know_the_nodes_of_the_workflows() {
        for dialect in [Dialect::V0_3_64, Dialect::V0_33_0] {
            for class in crate::sim::prompts::wan_loop(1).values().filter_map(|node| node["class_type"].as_str()) {
                assert!(nodes(dialect).contains_key(class), "{dialect:?} {class}");
            }
            assert!(is_output(dialect, "SaveVideo") && is_output(dialect, "PreviewImage"));
            assert!(!is_output(dialect, "VAEDecode"));
        }
        let info = entry(Dialect::V0_33_0, "SaveVideo", &[]).unwrap();
        let format = slots(&info).into_iter().find(|slot| slot.name == "format").unwrap().choices().unwrap();
        assert!(format.contains(&json!("mp4")));
    }
}
