//! How a server writes a node class: lenient, as custom nodes write there what they like.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Autogrow, Choice, Class, Control, Form, Input, Output, Upload, Widget};

/// Types of inputs that the page shows as a widget. Every other type is only ever linked.
const WIDGET_TYPES: &[&str] = &[
    "AUDIOUPLOAD",
    "AUDIO_RECORD",
    "AUDIO_UI",
    "BOUNDING_BOX",
    "BOUNDING_BOXES",
    "CHART",
    "COLOR",
    "COLORS",
    "COMPOSITOR",
    "CURVE",
    "GALLERIA",
    "IMAGECOMPARE",
    "IMAGEUPLOAD",
    "LOAD_3D",
    "LOAD_3D_ADVANCED",
    "MARKDOWN",
    "PAINTER",
    "PREVIEW_3D",
    "RANGE",
    "TEXTAREA",
    "VIDEO_EDIT",
    "WEBCAM",
];

/// Dynamic combos and autogrow groups may hold each other; deeper than this they are not followed.
pub(super) const DEEPEST: usize = 16;

/// So many inputs of a section are read.
const MOST_OF_A_SECTION: usize = 1_000;

impl Class {
    pub(super) fn read(name: &str, value: &Value) -> Option<Self> {
        let value = value.as_object()?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let input = value.get("input").and_then(Value::as_object);
        let display_name = Some(text("display_name")).filter(|shown| !shown.is_empty());
        let hidden = input.and_then(|input| input.get("hidden")).and_then(Value::as_object);
        Some(Self {
            display_name: display_name.unwrap_or_else(|| name.to_owned()),
            inputs: input.map(|input| read_inputs(input, value.get("input_order"), 0)).unwrap_or_default(),
            hidden: hidden.map(|hidden| hidden.keys().cloned().collect()).unwrap_or_default(),
            outputs: read_outputs(value),
            output_node: value.get("output_node").and_then(Value::as_bool).unwrap_or_default(),
            python_module: text("python_module"),
        })
    }
}

/// Inputs, and those in them.
pub(super) fn count(inputs: &[Input]) -> usize {
    let inner = |input: &Input| match &input.form {
        Form::Widget(Widget::DynamicCombo(choices)) => choices.iter().map(|choice| count(&choice.inputs)).sum(),
        Form::Autogrow(group) => count(&group.inputs),
        _ => 0,
    };
    inputs.iter().map(|input| 1 + inner(input)).sum()
}

fn read_outputs(class: &Map<String, Value>) -> Vec<Output> {
    let list = |key: &str| class.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (names, lists, same) = (list("output_name"), list("output_is_list"), list("output_matchtypes"));
    let output = |(at, kind): (usize, &Value)| {
        let kind = match kind {
            Value::String(kind) if kind == "COMFY_MATCHTYPE_V3" => "*".to_owned(),
            Value::String(kind) => kind.clone(),
            _ => "COMBO".to_owned(),
        };
        Output {
            name: names.get(at).and_then(Value::as_str).map_or_else(|| kind.clone(), str::to_owned),
            kind,
            is_list: lists.get(at).and_then(Value::as_bool).unwrap_or_default(),
            same_as: same.get(at).and_then(Value::as_str).map(str::to_owned),
        }
    };
    list("output").iter().enumerate().map(output).collect()
}

/// `{"required": {…}, "optional": {…}}`, in the order that the page lays out: what `order` says, then the rest.
fn read_inputs(sections: &Map<String, Value>, order: Option<&Value>, depth: usize) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for (section, required) in [("required", true), ("optional", false)] {
        let Some(specs) = sections.get(section).and_then(Value::as_object) else { continue };
        let place = order.and_then(|order| order.get(section)).and_then(Value::as_array);
        let mut names: Vec<&String> = specs.keys().collect();
        if let Some(place) = place {
            let rank: HashMap<&str, usize> = place.iter().filter_map(Value::as_str).zip(0..).collect();
            names.sort_by_key(|name| rank.get(name.as_str()).copied().unwrap_or(usize::MAX));
        }
        for name in names.into_iter().take(MOST_OF_A_SECTION) {
            let input = Input::read(name, required, &specs[name.as_str()], depth);
            // Of a name in both sections the page keeps the second.
            inputs.retain(|other| other.name != input.name);
            inputs.push(input);
        }
    }
    inputs
}

impl Input {
    /// From `["INT", {…}]` or `[["euler", …], {…}]`.
    fn read(name: &str, required: bool, spec: &Value, depth: usize) -> Self {
        let (head, options) = match spec {
            Value::Array(parts) => (parts.first(), parts.get(1).and_then(Value::as_object)),
            other => (Some(other), None),
        };
        let option = |key: &str| options.and_then(|options| options.get(key)).filter(|value| !value.is_null());
        let is = |key: &str| option(key).is_some_and(truthy);
        let number = |key: &str| option(key).and_then(Value::as_number).cloned();
        let kind = match head {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(_)) => "COMBO",
            _ => "*",
        };
        let drawn_as = option("widgetType").and_then(Value::as_str).unwrap_or(kind);
        // For an optional input `defaultInput` means what `forceInput` means.
        let force_input = is("forceInput") || (!required && is("defaultInput"));
        let form = if kind == "COMFY_AUTOGROW_V3" {
            Autogrow::read(option("template"), depth).map_or(Form::Link, Form::Autogrow)
        } else if force_input {
            Form::Link
        } else {
            match Widget::read(drawn_as, head, options, depth) {
                Some(widget) => Form::Widget(widget),
                None => Form::Link,
            }
        };
        let template = |key: &str| option("template").and_then(|template| template.get(key)).and_then(Value::as_str);
        let (kind, same_as) = match kind {
            "COMFY_MATCHTYPE_V3" => (template("allowed_types").unwrap_or("*"), template("template_id")),
            kind => (kind, None),
        };
        let media = ["image_upload", "video_upload", "animated_image_upload"];
        let upload = if kind == "COMBO" && media.iter().any(|key| option(key) == Some(&Value::Bool(true))) {
            Some(Upload::Media)
        } else if option("audio_upload") == Some(&Value::Bool(true)) {
            Some(Upload::Audio)
        } else {
            None
        };
        Self {
            name: name.to_owned(),
            required,
            kind: kind.to_owned(),
            same_as: same_as.map(str::to_owned),
            form,
            default: option("default").cloned(),
            min: number("min"),
            max: number("max"),
            step: number("step"),
            round: number("round"),
            force_input,
            socketless: is("socketless"),
            control: match option("control_after_generate") {
                None => Control::Unsaid,
                Some(value) if truthy(value) => Control::Yes,
                Some(_) => Control::No,
            },
            upload,
        }
    }
}

impl Widget {
    fn read(drawn_as: &str, head: Option<&Value>, options: Option<&Map<String, Value>>, depth: usize) -> Option<Self> {
        let option = |key: &str| options.and_then(|options| options.get(key));
        let is = |key: &str| option(key).is_some_and(truthy);
        Some(match drawn_as {
            "INT" => Self::Int,
            "FLOAT" => Self::Float,
            "BOOLEAN" => Self::Boolean,
            "STRING" => Self::Text { multiline: is("multiline"), dynamic: is("dynamicPrompts") },
            "COMBO" => Self::Combo {
                options: match head {
                    Some(Value::Array(values)) => values.clone(),
                    _ => option("options").and_then(Value::as_array).cloned().unwrap_or_default(),
                },
                many: is("multi_select"),
                remote: option("remote").is_some_and(truthy),
                refresh: option("remote").and_then(|remote| remote.get("refresh_button")).is_some_and(truthy),
            },
            "COMFY_DYNAMICCOMBO_V3" => {
                let entries = option("options").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                Self::DynamicCombo(entries.iter().filter_map(|entry| Choice::read(entry, depth)).collect())
            }
            other if WIDGET_TYPES.contains(&other) => Self::Other(other.to_owned()),
            _ => return None,
        })
    }
}

impl Choice {
    fn read(entry: &Value, depth: usize) -> Option<Self> {
        let key = entry.get("key")?.as_str()?.to_owned();
        let sections = entry.get("inputs").and_then(Value::as_object).filter(|_| depth < DEEPEST);
        Some(Self { key, inputs: sections.map(|it| read_inputs(it, None, depth + 1)).unwrap_or_default() })
    }
}

impl Autogrow {
    fn read(template: Option<&Value>, depth: usize) -> Option<Self> {
        let template = template?;
        let sections = template.get("input").and_then(Value::as_object).filter(|_| depth < DEEPEST)?;
        let names: Vec<String> = template
            .get("names")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default();
        let count = |key: &str| template.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        Some(Self {
            inputs: read_inputs(sections, None, depth + 1),
            prefix: template.get("prefix").and_then(Value::as_str).unwrap_or_default().to_owned(),
            min: count("min").unwrap_or(1),
            max: if names.is_empty() { count("max").unwrap_or(100) } else { names.len() },
            names,
        })
    }
}

/// As JavaScript sees it: the page reads these options so.
pub(in crate::workflow) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
