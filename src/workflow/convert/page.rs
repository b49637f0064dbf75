//! What ComfyUI's page knows by itself and no server tells: nodes that only the page has, and what it adds
//! to some nodes of the server. As of page 1.49.

use serde_json::{Number, Value, json};

use super::sheet::Role;
use crate::workflow::object_info::{Class, Input, Upload, Widget};

/// Grows a line for each of its values.
pub(super) const CUSTOM_COMBO: &str = "CustomCombo";

/// Classes in whose `filename_prefix` the page fills in `%date:…%` and `%Node.widget%`.
pub(super) const SAVES_FILES: &[&str] = &[
    "CLIPSave",
    "LoraSave",
    "ModelSave",
    "Save3DAdvanced",
    "SaveAnimatedPNG",
    "SaveAnimatedWEBP",
    "SaveAudio",
    "SaveAudioAdvanced",
    "SaveAudioMP3",
    "SaveAudioOpus",
    "SaveGLB",
    "SaveGaussianSplat",
    "SaveImage",
    "SaveImageAdvanced",
    "SaveLatent",
    "SavePointCloud",
    "SaveSVGNode",
    "SaveVideo",
    "SaveWEBM",
    "VAESave",
];

/// Nodes of the page, and of extensions of it, that only show or steer something on the page.
const REMARKS: &[&str] = &[
    "Bookmark (rgthree)",
    "Fast Actions Button (rgthree)",
    "Fast Bypasser (rgthree)",
    "Fast Groups Bypasser (rgthree)",
    "Fast Groups Muter (rgthree)",
    "Fast Muter (rgthree)",
    "Label (rgthree)",
    "MarkdownNote",
    "Mute / Bypass Relay (rgthree)",
    "Mute / Bypass Repeater (rgthree)",
    "Node Collector (rgthree)",
    "Note",
    "Note Plus (mtb)",
    "Random Unmuter (rgthree)",
];

/// What the page takes a class for that the server does not have; `None` where it can't know.
pub(super) fn role<'a>(class: &str) -> Option<Role<'a>> {
    Some(match class {
        "Reroute" | "Reroute (rgthree)" | "SetNode" | "easy setNode" => Role::Passage,
        "GetNode" | "easy getNode" => Role::Get,
        "PrimitiveNode" => Role::Primitive,
        class if REMARKS.contains(&class) => Role::Remark,
        _ => return None,
    })
}

/// Whether this class keeps what a [`Role::Get`] gives.
pub(super) fn is_setter(class: &str) -> bool {
    matches!(class, "SetNode" | "easy setNode")
}

/// What the page adds behind the widgets of a class.
pub(super) enum Added {
    /// Saved, never sent.
    Button,
    /// Saved and sent, and always empty.
    Widget(&'static str),
}

pub(super) fn added(name: &str, class: &Class) -> Vec<Added> {
    let mut added = Vec::new();
    if matches!(name, "SaveGLB" | "Preview3D") {
        added.push(Added::Widget("image"));
    }
    let media = class.inputs.iter().any(|input| input.required && input.upload == Some(Upload::Media));
    let audio = class.input("audio").is_some_and(|input| input.required && input.upload == Some(Upload::Audio));
    if media || audio {
        added.push(Added::Button);
    }
    added
}

/// Widgets that are more, or less, than one value.
pub(super) enum Special {
    /// Sent, with this value, and not saved.
    Unsaved(Value),
    /// Saved and not sent.
    Unsent,
    /// Neither.
    Player,
    /// Saved together with its four numbers.
    Box,
    /// Of the microphone: empty until something was recorded.
    Recorder,
    /// A view of a 3D scene, with the buttons to load one.
    Scene,
    /// A view of a 3D scene.
    Viewport,
}

impl Special {
    pub(super) fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "IMAGECOMPARE" => Self::Unsaved(json!(["", ""])),
            "IMAGEUPLOAD" | "AUDIOUPLOAD" => Self::Unsent,
            "AUDIO_UI" => Self::Player,
            "BOUNDING_BOX" => Self::Box,
            "AUDIO_RECORD" => Self::Recorder,
            "LOAD_3D" => Self::Scene,
            "LOAD_3D_ADVANCED" => Self::Viewport,
            _ => return None,
        })
    }
}

pub(super) fn default_box() -> Value {
    json!({"x": 0, "y": 0, "width": 512, "height": 512})
}

/// The value of a widget of this type for which nothing is declared.
pub(super) fn empty_value(kind: &str) -> Value {
    match kind {
        "COLOR" => json!("#000000"),
        "CURVE" => json!({"points": [[0, 0], [1, 1]], "interpolation": "monotone_cubic"}),
        "RANGE" => json!({"min": 0.0, "max": 1.0}),
        "BOUNDING_BOXES" | "COLORS" | "GALLERIA" => json!([]),
        "CHART" | "COMPOSITOR" => json!({}),
        "VIDEO_EDIT" => {
            json!({"trim": {"start_time": 0, "duration": 0}, "crop": {"x": 0, "y": 0, "width": 0, "height": 0}})
        }
        _ => json!(""),
    }
}

/// A value as JavaScript writes it into a text.
pub(super) fn js_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            // 8.0 is 8 there.
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        Value::Array(values) => values.iter().map(js_text).collect::<Vec<_>>().join(","),
        Value::Object(_) => "[object Object]".to_owned(),
        Value::Bool(is) => is.to_string(),
    }
}

/// The value of a primitive as the page keeps it: within the range that all its targets allow.
pub(super) fn in_range<'a>(value: &Value, targets: impl Iterator<Item = &'a Input>) -> Value {
    let Some(mut number) = value.as_f64() else { return value.clone() };
    let mut changed = false;
    for input in targets.filter(|input| matches!(input.widget(), Some(Widget::Int | Widget::Float))) {
        for (limit, beyond) in [(&input.min, f64::lt as fn(&f64, &f64) -> bool), (&input.max, f64::gt)] {
            if let Some(limit) = limit.as_ref().and_then(Number::as_f64)
                && beyond(&number, &limit)
            {
                (number, changed) = (limit, true);
            }
        }
    }
    if changed { from_float(number) } else { value.clone() }
}

/// A number as a widget takes it when it is told to: whole numbers in steps from the least, others rounded.
pub(super) fn stepped(value: &Value, input: &Input) -> Value {
    let Some(number) = value.as_f64() else { return value.clone() };
    let float = |number: &Option<Number>| number.as_ref().and_then(Number::as_f64);
    match input.widget() {
        Some(Widget::Int) => {
            let step = float(&input.step).filter(|step| *step != 0.0).unwrap_or(1.0);
            if (step - 1.0).abs() < f64::EPSILON {
                return if number.fract() == 0.0 { value.clone() } else { from_float(js_round(number)) };
            }
            let offset = float(&input.min).unwrap_or_default() % step;
            from_float(js_round((number - offset) / step) * step + offset)
        }
        Some(Widget::Float) => {
            let step = float(&input.step).unwrap_or(0.5);
            let digits = (-step.log10().floor()).clamp(0.0, 15.0);
            let round = float(&input.round).filter(|round| *round != 0.0);
            let Some(round) = round.or((digits > 0.0).then(|| 10_f64.powf(-digits))) else { return value.clone() };
            let shown = 10_f64.powf(digits);
            let rounded = (js_round(number / round) * round * shown).round() / shown;
            from_float(rounded.max(float(&input.min).unwrap_or(0.0)).min(float(&input.max).unwrap_or(2048.0)))
        }
        _ => value.clone(),
    }
}

/// Halves go up, also below zero.
fn js_round(number: f64) -> f64 {
    (number + 0.5).floor()
}

/// Whole where it is whole, as JavaScript writes numbers.
fn from_float(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within what both hold exactly")]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
