//! Slots: the named places of a workflow, as the `.toml` beside it declares them, and what fits in.
//!
//! Pure. It checks one value against one slot; which slots a job fills is [`super::fill`]'s work.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::job_file::kind;
use crate::text;

/// The `.toml` beside a workflow.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsFile {
    #[serde(default)]
    pub description: String,
    #[serde(default, rename = "slot")]
    pub slots: Vec<Slot>,
}

/// One named place that a job may fill.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(rename = "type")]
    pub kind: SlotType,
    /// The inputs that get the value as it is; what stands in the first one is the default.
    pub inputs: Vec<InputRef>,
    /// Inputs that get a number made from the value.
    #[serde(default)]
    pub also: Vec<Also>,
    /// A job that leaves it out is refused; else the workflow's own value stays.
    #[serde(default)]
    pub required: bool,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// With [`Slot::plus`]: the value is a multiple of this, plus that (4 and 1: 1, 5, 9, …).
    pub multiple_of: Option<i64>,
    #[serde(default)]
    pub plus: i64,
    /// The only texts allowed.
    #[serde(default)]
    pub choices: Vec<String>,
}

/// What a slot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotType {
    String,
    Int,
    Float,
    Bool,
    /// A file to upload, `input:NAME` for one that the server has, or `job:NAME` for what another job gave.
    Image,
    Video,
    Audio,
    Mask,
    /// 0 to 2^64-1; -1 or `"random"` for a random one; `"increment"` for one more than the last.
    Seed,
    /// The name of a model file on the server.
    Model,
}

impl SlotType {
    /// As the `.toml` writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Mask => "mask",
            Self::Seed => "seed",
            Self::Model => "model",
        }
    }

    /// What it takes, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::String => "a text",
            Self::Int => "a whole number",
            Self::Float => "a number",
            Self::Bool => "true or false",
            Self::Image => "a picture",
            Self::Video => "a clip",
            Self::Audio => "a sound",
            Self::Mask => "a mask",
            Self::Seed => "a seed",
            Self::Model => "the name of a model file",
        }
    }

    /// It takes a file that is brought to the server.
    pub fn is_file(self) -> bool {
        matches!(self, Self::Image | Self::Video | Self::Audio | Self::Mask)
    }
}

/// An input of a node: `13.noise_seed`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InputRef {
    pub node: String,
    pub input: String,
}

impl InputRef {
    pub fn new(node: impl Into<String>, input: impl Into<String>) -> Self {
        Self { node: node.into(), input: input.into() }
    }

    /// Node ids hold no dots, names of inputs may (`format.codec`).
    pub fn parse(text: &str) -> Option<Self> {
        let (node, input) = text.split_once('.')?;
        (!node.is_empty() && !input.is_empty()).then(|| Self::new(node, input))
    }
}

impl std::fmt::Display for InputRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.node, self.input)
    }
}

impl From<InputRef> for String {
    fn from(place: InputRef) -> Self {
        place.to_string()
    }
}

impl TryFrom<String> for InputRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
            .ok_or_else(|| format!("`{text}` names no input: write node id, dot, input, as in \"14.cfg\""))
    }
}

/// An input that gets value × `times` + `plus`; rounded down where the graph has a whole number there.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Also {
    pub input: InputRef,
    #[serde(default = "one")]
    pub times: f64,
    #[serde(default)]
    pub plus: f64,
}

fn one() -> f64 {
    1.0
}

impl Also {
    pub(super) fn value(&self, of: &Value, there: &Value) -> Option<Value> {
        let made = of.as_f64()?.mul_add(self.times, self.plus);
        if there.is_f64() {
            return Number::from_f64(made).map(Value::Number);
        }
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates; steps and frames are far from 2^63")]
        let whole = made.floor() as i64;
        made.is_finite().then(|| whole.into())
    }
}

/// A value that fits its slot.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fit {
    Value(Value),
    RandomSeed,
    /// One more than the last job of this workflow had.
    NextSeed,
}

impl Slot {
    /// One without rules, to be left out.
    pub fn plain(name: &str, kind: SlotType, inputs: Vec<InputRef>) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            kind,
            inputs,
            also: Vec::new(),
            required: false,
            min: None,
            max: None,
            multiple_of: None,
            plus: 0,
            choices: Vec::new(),
        }
    }

    /// A text (a cell of a spreadsheet) as the value that the slot takes, where it is one.
    pub(super) fn read(&self, text: &str) -> Value {
        let trimmed = text.trim();
        let read = match self.kind {
            SlotType::Int | SlotType::Float | SlotType::Seed => {
                serde_json::from_str::<Number>(trimmed).ok().map(Value::Number)
            }
            SlotType::Bool => switch(trimmed).map(Value::Bool),
            _ => None,
        };
        read.unwrap_or_else(|| text.into())
    }

    /// The value in the form that goes into the graph.
    ///
    /// # Errors
    /// What is wrong with it, in words that go on from "`length` ".
    pub(super) fn fit(&self, value: &Value) -> Result<Fit, String> {
        let fit = match self.kind {
            SlotType::String => self.text(value, "a text")?,
            SlotType::Image | SlotType::Video | SlotType::Audio | SlotType::Mask => self.file(value, "a file name")?,
            SlotType::Model => self.file(value, "the name of a model file")?,
            SlotType::Bool => Value::Bool(value.as_bool().ok_or_else(|| must_be("true or false", value))?),
            SlotType::Int => self.whole(value)?,
            SlotType::Float => self.float(value)?,
            SlotType::Seed if value == "random" => return Ok(Fit::RandomSeed),
            SlotType::Seed if value == "increment" => return Ok(Fit::NextSeed),
            SlotType::Seed => match whole_number(value) {
                Some(-1) => return Ok(Fit::RandomSeed),
                Some(seed) => u64::try_from(seed)
                    .map_err(|_| must_be("from 0 to 18446744073709551615, or -1 for a random one", value))?
                    .into(),
                None => {
                    let wanted = "a whole number from 0 to 18446744073709551615, \"random\" or \"increment\"";
                    return Err(must_be(wanted, value));
                }
            },
        };
        Ok(Fit::Value(fit))
    }

    fn text(&self, value: &Value, what: &str) -> Result<Value, String> {
        let text = value.as_str().ok_or_else(|| must_be(what, value))?;
        if self.choices.is_empty() || self.choices.iter().any(|choice| choice == text) {
            return Ok(value.clone());
        }
        let hint = text::did_you_mean(text, self.choices.iter().map(String::as_str));
        Err(format!("{}{hint}", must_be(&format!("one of {}", self.choices.join(", ")), value)))
    }

    fn file(&self, value: &Value, what: &str) -> Result<Value, String> {
        let fit = self.text(value, what)?;
        let bare = |name: &'_ str| -> String {
            let own = [super::ON_SERVER, super::OF_JOB].into_iter().find_map(|prefix| name.strip_prefix(prefix));
            own.unwrap_or(name).to_owned()
        };
        match value.as_str().map(bare) {
            Some(name) if name.trim().is_empty() => Err(format!("must be {what}, and is empty")),
            Some(name) if name.contains('\0') => Err(format!("must be {what}; no name holds a NUL character")),
            _ => Ok(fit),
        }
    }

    fn whole(&self, value: &Value) -> Result<Value, String> {
        let number = whole_number(value).and_then(|number| i64::try_from(number).ok());
        let number = number.ok_or_else(|| must_be("a whole number", value))?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "limits are small; a number that loses digits is far outside them"
        )]
        self.within(number as f64, value)?;
        if let Some(multiple) = self.multiple_of.filter(|multiple| *multiple > 0) {
            let over = number.saturating_sub(self.plus).rem_euclid(multiple);
            if over != 0 {
                let (below, above) = (number - over, number.saturating_sub(over).saturating_add(multiple));
                let rule = if self.plus == 0 {
                    format!("a multiple of {multiple}")
                } else {
                    format!("{multiple}n+{}", self.plus)
                };
                #[expect(clippy::cast_precision_loss, reason = "as above")]
                let near: Vec<String> = [below, above]
                    .into_iter()
                    .filter(|near| self.within(*near as f64, value).is_ok())
                    .map(|near| near.to_string())
                    .collect();
                return Err(format!("must be {rule}, not {number}; the nearest is {}", near.join(" or ")));
            }
        }
        Ok(number.into())
    }

    fn float(&self, value: &Value) -> Result<Value, String> {
        let number = value.as_f64().ok_or_else(|| must_be("a number", value))?;
        self.within(number, value)?;
        Number::from_f64(number).map(Value::Number).ok_or_else(|| must_be("a number", value))
    }

    fn within(&self, number: f64, value: &Value) -> Result<(), String> {
        let low = self.min.is_some_and(|min| number < min);
        let high = self.max.is_some_and(|max| number > max);
        if !low && !high {
            return Ok(());
        }
        let wanted = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("at least {min}"),
            (None, Some(max)) => format!("at most {max}"),
            (None, None) => return Ok(()),
        };
        Err(must_be(&wanted, value))
    }

    /// What is wrong with the declaration itself.
    pub(super) fn check(&self, graph: &Map<String, Value>) -> Result<(), String> {
        let numeric = matches!(self.kind, SlotType::Int | SlotType::Float);
        if self.name.trim().is_empty() {
            return Err("has no name".to_owned());
        }
        if crate::job_file::OWN_KEYS.contains(&self.name.as_str()) {
            return Err("has the name of a key that every job has; choose another".to_owned());
        }
        if self.inputs.is_empty() {
            return Err("fills no input: `inputs = [\"13.steps\"]`".to_owned());
        }
        if !numeric && (self.min.is_some() || self.max.is_some() || !self.also.is_empty()) {
            return Err("is no number, so `min`, `max` and `also` mean nothing".to_owned());
        }
        if self.kind != SlotType::Int && (self.multiple_of.is_some() || self.plus != 0) {
            return Err("is no int, so `multiple_of` and `plus` mean nothing".to_owned());
        }
        if self.multiple_of.is_some_and(|multiple| multiple < 1) || (self.plus != 0 && self.multiple_of.is_none()) {
            return Err("wants a `multiple_of` of 1 or more".to_owned());
        }
        if !self.choices.is_empty() && !matches!(self.kind, SlotType::String | SlotType::Model) {
            return Err("has `choices`, which are for texts and models".to_owned());
        }
        for place in self.inputs.iter().chain(self.also.iter().map(|also| &also.input)) {
            match super::graph::input(graph, &place.node, &place.input) {
                None => return Err(format!("fills {place}, which the graph does not have")),
                Some(value) if super::graph::link(value).is_some() => {
                    return Err(format!("fills {place}, which is linked to another node"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// A switch as people write it in a cell.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Whole numbers as people write them: 129, and 129.0 too.
fn whole_number(value: &Value) -> Option<i128> {
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    let number = value.as_f64()?;
    // above 2^53 a float no longer says which whole number was meant
    #[expect(clippy::cast_possible_truncation, reason = "checked to be small and whole")]
    (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i128)
}

fn must_be(wanted: &str, value: &Value) -> String {
    format!("must be {wanted}, not {}", kind(value))
}

#[cfg(test)]
mod tests;
