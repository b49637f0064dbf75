//! What a server can do: the node classes of its `/object_info`, their inputs and outputs.
//!
//! Pure and lenient: what is not understood is left out or taken as a plain link, and never an error,
//! because custom nodes write there what they like. It knows how an input is declared, not what a
//! graph makes of it ([`super::convert`] and the preflight do).

mod read;

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::{Number, Value};

use crate::weigh;
use read::count;
pub(super) use read::truthy;

/// What an answer may weigh, and one class in it: a bare server's weighs 180,000, one with hundreds of extensions some
/// times as much.
const MOST_WEIGHT: usize = 1_000_000;
const MOST_OF_A_CLASS: usize = 150_000;
/// So many inputs are read in all.
const MOST_INPUTS: usize = 100_000;
const TOO_MUCH: &str = "more in it than any server says of its nodes";
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
    /// The input of this name; of a dynamic combo or an autogrow group only the outer one.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }
}

impl Input {
    pub fn widget(&self) -> Option<&Widget> {
        match &self.form {
            Form::Widget(widget) => Some(widget),
            _ => None,
        }
    }
}

impl Autogrow {
    /// Which round an input of this group (its name after the dot) belongs to.
    pub fn round_of(&self, name: &str) -> Option<usize> {
        if !self.names.is_empty() {
            return self.names.iter().position(|known| known == name);
        }
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        name[name.len() - digits..].parse().ok()
    }
}

#[cfg(test)]
mod tests;
