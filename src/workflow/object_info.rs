//! What a server can do: the node classes of its `/object_info`, their inputs and outputs.
//!
//! Pure and lenient: what is not understood is left out or taken as a plain link, and never an error,
//! because custom nodes write there what they like. It knows how an input is declared, not what a
//! graph makes of it ([`super::convert`] and the preflight do).

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::weigh;

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

/// What an answer may weigh, and one class in it: a bare server's weighs 180,000, one with hundreds of extensions some
/// times as much.
const MOST_WEIGHT: usize = 1_000_000;
const MOST_OF_A_CLASS: usize = 150_000;
/// So many inputs are read, of a section and in all.
const MOST_OF_A_SECTION: usize = 1_000;
const MOST_INPUTS: usize = 100_000;
const TOO_MUCH: &str = "more in it than any server says of its nodes";
/// Dynamic combos and autogrow groups may hold each other; deeper than this they are not followed.
const DEEPEST: usize = 16;

/// All node classes of a server, by `class_type`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectInfo {
    classes: HashMap<String, Class>,
}

/// One node class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Class {
    /// What the page calls a node of it; the class's name where the server says nothing.
    pub display_name: String,
    /// Required first, then optional, each in the order in which the page lays them out.
    pub inputs: Vec<Input>,
    /// Inputs that the server fills by itself (`prompt`, `unique_id`, `auth_token_comfy_org`).
    pub hidden: Vec<String>,
    pub outputs: Vec<Output>,
    /// A prompt needs at least one node of such a class.
    pub output_node: bool,
    /// Where it comes from: `nodes`, `comfy_extras.nodes_wan`, `custom_nodes.ComfyUI-KJNodes`.
    pub python_module: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub name: String,
    /// `IMAGE`, …; `*` for any.
    pub kind: String,
    pub is_list: bool,
    /// Has the type of what is linked to the inputs of this name ([`Input::same_as`]).
    pub same_as: Option<String>,
}

/// One declared input.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub name: String,
    pub required: bool,
    /// What a link into it may carry: `IMAGE`, `COMBO`, `INT,FLOAT`; `*` for anything.
    pub kind: String,
    /// All inputs of a class that have the same name here carry the same type.
    pub same_as: Option<String>,
    pub form: Form,
    pub default: Option<Value>,
    pub min: Option<Number>,
    pub max: Option<Number>,
    pub step: Option<Number>,
    /// A float is rounded to a multiple of this.
    pub round: Option<Number>,
    /// Declared with a widget's type, but only ever linked.
    pub force_input: bool,
    /// Has no socket: it can't be linked.
    pub socketless: bool,
    /// The page puts `control_after_generate` behind it. What the server says: a name, or yes or no.
    pub control: Control,
    /// A file of this kind may be chosen and uploaded (`image_upload` and its like).
    pub upload: Option<Upload>,
}

/// How an input gets its value.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// By a link only.
    Link,
    /// From a widget, or by a link that overrules it.
    Widget(Widget),
    /// As many links as one likes: `images.image0`, `images.image1`, …
    Autogrow(Autogrow),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Widget {
    Int,
    Float,
    Boolean,
    /// `dynamic`: the page resolves `{a|b}` and comments when it sends it.
    Text {
        multiline: bool,
        dynamic: bool,
    },
    /// One of these values (or several, where `many`). `remote`: the page gets them from elsewhere; `refresh`: with a
    /// button to ask there anew.
    Combo {
        options: Vec<Value>,
        many: bool,
        remote: bool,
        refresh: bool,
    },
    /// One of these keys, each with inputs of its own, named `combo.input`.
    DynamicCombo(Vec<Choice>),
    /// Any other that the page knows, by its type (`COLOR`, `CURVE`, `LOAD_3D`, …).
    Other(String),
}

/// One entry of a dynamic combo.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub key: String,
    pub inputs: Vec<Input>,
}

/// A group of inputs that grows by one whenever its last one is linked.
#[derive(Debug, Clone, PartialEq)]
pub struct Autogrow {
    /// What each round adds.
    pub inputs: Vec<Input>,
    /// Names of the rounds; where empty they are `prefix` and a number from 0.
    pub names: Vec<String>,
    pub prefix: String,
    pub min: usize,
    pub max: usize,
}

/// What the server says of `control_after_generate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Control {
    #[default]
    Unsaid,
    No,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upload {
    /// Pictures and clips.
    Media,
    Audio,
}

impl ObjectInfo {
    /// Reads the text of `GET /object_info`, one class at a time, so that it is never in memory twice.
    ///
    /// # Errors
    /// Not JSON, or not an object.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        struct Classes;
        impl<'de> Visitor<'de> for Classes {
            type Value = HashMap<String, Class>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of node classes, as `/object_info` gives it")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut classes, mut inputs) = (HashMap::new(), 0);
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if let Some(class) = Class::read(&name, &value) {
                        inputs += count(&class.inputs);
                        if inputs > MOST_INPUTS {
                            return Err(A::Error::custom(TOO_MUCH));
                        }
                        classes.insert(name, class);
                    }
                }
                if classes.is_empty() { Err(A::Error::custom("no node class in it")) } else { Ok(classes) }
            }
        }
        if weigh::members_are_over(json, MOST_OF_A_CLASS, MOST_WEIGHT) {
            return Err(serde_json::Error::custom(TOO_MUCH));
        }
        let mut reader = serde_json::Deserializer::from_str(json);
        let classes = reader.deserialize_map(Classes)?;
        reader.end()?;
        Ok(Self { classes })
    }

    /// From an answer that was read already. What is no class is left out.
    pub fn from_value(value: &Value) -> Self {
        let classes = value.as_object().into_iter().flatten();
        Self { classes: classes.filter_map(|(name, value)| Some((name.clone(), Class::read(name, value)?))).collect() }
    }

    /// The class of this name, `class_type` in a graph.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.get(name)
    }

    /// The names of all classes, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.classes.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }
}

impl Class {
    fn read(name: &str, value: &Value) -> Option<Self> {
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

    /// The input of this name; of a dynamic combo or an autogrow group only the outer one.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

/// Inputs, and those in them.
fn count(inputs: &[Input]) -> usize {
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

    pub fn widget(&self) -> Option<&Widget> {
        match &self.form {
            Form::Widget(widget) => Some(widget),
            _ => None,
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

    /// Which round an input of this group (its name after the dot) belongs to.
    pub fn round_of(&self, name: &str) -> Option<usize> {
        if !self.names.is_empty() {
            return self.names.iter().position(|known| known == name);
        }
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        name[name.len() - digits..].parse().ok()
    }
}

/// As JavaScript sees it: the page reads these options so.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64().is_some_and(|number| number != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests;
