//! The widgets of a node, as the page lays them out: `widgets_values` gives their values in this order.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::sheet::{Node, Saved};
use super::{page, scene};
use crate::workflow::object_info::{self, Class, Control, Form, Input, Widget};

/// One widget.
#[derive(Debug, Clone)]
pub(super) struct Row<'a> {
    pub name: Cow<'a, str>,
    /// `None` goes into no prompt.
    pub value: Option<Cow<'a, Value>>,
    /// Whether it belongs into the prompt.
    pub sent: bool,
    pub how: How,
    /// How the server declares it; nothing for what the page adds by itself.
    pub input: Option<&'a Input>,
}

/// What the page makes of a value when it sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Plain,
    /// `{a|b}` and comments are resolved.
    Dynamic,
    /// `%date:…%` and `%Node.widget%` are filled in.
    FileName,
}

/// Hands out the saved values, in order or by name.
struct Feed<'a, 'o> {
    values: Vec<&'a Value>,
    at: usize,
    saved: Saved<'a>,
    /// Inputs that have no value there.
    left_out: &'o [&'o str],
}

impl<'a> Feed<'a, '_> {
    fn next(&mut self, name: &str) -> Option<&'a Value> {
        if let Saved::Named(values) = self.saved {
            return values.get(name);
        }
        self.at += 1;
        self.values.get(self.at - 1).copied()
    }

    /// Passes over what is saved but never sent.
    fn skip(&mut self, count: usize) {
        self.at += count;
    }
}

/// The widgets of a node of this class with the values saved for it.
pub(super) fn rows<'a>(node: &Node<'a>, class: &'a Class) -> Vec<Row<'a>> {
    rows_without(node, class, &[]).0
}

/// The same without some inputs; and how many of the saved values there are for them.
pub(super) fn rows_without<'a>(node: &Node<'a>, class: &'a Class, left_out: &[&str]) -> (Vec<Row<'a>>, usize) {
    let saved = node.saved;
    let mut feed = Feed { values: values(class, saved), at: 0, saved, left_out };
    let mut rows = Vec::new();
    lay(&mut rows, node, &class.inputs, "", &mut feed);
    for added in page::added(node.class, class) {
        match added {
            page::Added::Button => feed.skip(1),
            page::Added::Widget(name) => {
                feed.skip(1);
                rows.push(Row::fixed(name, json!("")));
            }
        }
    }
    if node.class == page::CUSTOM_COMBO {
        lay_options(&mut rows, &mut feed);
    }
    for row in &mut rows {
        row.fall_back(node.class);
    }
    (rows, feed.at)
}

impl<'a> Row<'a> {
    fn fixed(name: &'a str, value: Value) -> Self {
        let value = Some(Cow::Owned(value));
        Self { name: Cow::Borrowed(name), value, sent: true, how: How::Plain, input: None }
    }

    /// What the page repairs when it has loaded a graph.
    fn fall_back(&mut self, class_name: &str) {
        let empty = self.value.as_deref().is_none_or(Value::is_null);
        match self.input.and_then(Input::widget) {
            Some(Widget::Combo { options, .. }) if empty => {
                if let Some(first) = options.first() {
                    self.value = Some(Cow::Borrowed(first));
                }
            }
            Some(Widget::Text { multiline: true, .. }) if empty => self.value = Some(Cow::Owned(json!(""))),
            _ => {}
        }
        if self.name == "sampler_name"
            && matches!(class_name, "KSampler" | "KSamplerAdvanced")
            && let Some(Value::String(sampler)) = self.value.as_deref()
            && let Some(rest) = sampler.strip_prefix("sample_")
        {
            self.value = Some(Cow::Owned(json!(rest)));
        }
    }
}

/// Pages before 1.16 saved a value for inputs that are only ever linked, too: those are taken out.
fn values<'a>(class: &Class, saved: Saved<'a>) -> Vec<&'a Value> {
    let Saved::List(list) = saved else { return Vec::new() };
    let mut forced = Vec::new();
    for input in class.inputs.iter().filter(|input| input.force_input || input.widget().is_some()) {
        forced.push(input.force_input);
        if input.control == Control::Yes {
            forced.push(false);
        }
    }
    if class.inputs.iter().any(|input| input.upload.is_some() && input.required) {
        forced.push(false);
    }
    if !forced.contains(&true) || forced.len() != list.len() {
        return list.iter().collect();
    }
    list.iter().zip(forced).filter(|(_, forced)| !forced).map(|(value, _)| value).collect()
}

fn lay<'a>(rows: &mut Vec<Row<'a>>, node: &Node<'a>, inputs: &'a [Input], prefix: &str, feed: &mut Feed<'a, '_>) {
    for input in inputs {
        let Form::Widget(widget) = &input.form else { continue };
        let name = full_name(prefix, &input.name);
        if feed.left_out.contains(&name.as_ref()) {
            continue;
        }
        if let Widget::Other(kind) = widget
            && let Some(special) = page::Special::of(kind)
        {
            lay_special(rows, special, name, node, input, feed);
            continue;
        }
        let value = feed.next(&name).map(Cow::Borrowed).or_else(|| default(input, widget));
        let how = match widget {
            Widget::Text { dynamic: true, .. } if prefix.is_empty() => How::Dynamic,
            _ if name == "filename_prefix" && page::SAVES_FILES.contains(&node.class) => How::FileName,
            _ => How::Plain,
        };
        let seed = matches!(widget, Widget::Int) && matches!(name.as_ref(), "seed" | "noise_seed");
        let choice = match widget {
            Widget::DynamicCombo(choices) => {
                let chosen = value.as_deref().map(page::js_text);
                choices.iter().rev().find(|choice| chosen.as_deref() == Some(choice.key.as_str()))
            }
            _ => None,
        };
        let group = choice.map(|_| format!("{name}."));
        rows.push(Row { name, value, sent: true, how, input: Some(input) });
        if let (Some(choice), Some(group)) = (choice, group) {
            lay(rows, node, &choice.inputs, &group, feed);
        }
        let controlled = input.control == Control::Yes;
        match widget {
            Widget::Int => feed.skip(usize::from(controlled || (seed && input.control == Control::Unsaid))),
            Widget::Float => feed.skip(usize::from(controlled)),
            Widget::Combo { many, refresh, .. } => {
                if *refresh {
                    let value = feed.next("refresh").cloned().unwrap_or_else(|| json!("refresh"));
                    rows.push(Row::fixed("refresh", value));
                }
                // With a line for a filter of the values behind it.
                feed.skip(if !controlled {
                    0
                } else if *many {
                    1
                } else {
                    2
                });
            }
            _ => {}
        }
    }
}

/// Widgets of which only the page knows how they are made up.
fn lay_special<'a>(
    rows: &mut Vec<Row<'a>>,
    special: page::Special,
    name: Cow<'a, str>,
    node: &Node<'a>,
    input: &'a Input,
    feed: &mut Feed<'a, '_>,
) {
    let mut push = |name: Cow<'a, str>, value: Option<Cow<'a, Value>>| {
        rows.push(Row { name, value, sent: true, how: How::Plain, input: Some(input) });
    };
    match special {
        page::Special::Unsaved(value) => push(name, Some(Cow::Owned(value))),
        page::Special::Unsent => feed.skip(1),
        page::Special::Player => {}
        page::Special::Box => {
            let value = feed.next(&name).map(Cow::Borrowed);
            push(name, value.or_else(|| Some(Cow::Owned(input.default.clone().unwrap_or_else(page::default_box)))));
            // Its four numbers once more, for the canvas.
            feed.skip(4);
        }
        page::Special::Recorder => {
            feed.skip(2);
            push(name, Some(Cow::Owned(json!(""))));
        }
        page::Special::Scene => {
            if rows.iter().any(|row| row.name == "model_file") {
                for (button, value) in scene::BUTTONS {
                    let value = feed.next(button).cloned().unwrap_or_else(|| json!(value));
                    rows.push(Row::fixed(button, value));
                }
            }
            feed.skip(1);
            let name = scene::widget_name(node.class);
            rows.push(Row { input: Some(input), ..Row::fixed(name, scene::view(node.properties)) });
        }
        page::Special::Viewport => {
            feed.skip(1);
            push(name, Some(Cow::Owned(scene::viewport(node.properties))));
        }
    }
}

/// `CustomCombo`: its values are widgets too, and there is always an empty one at the end.
fn lay_options<'a>(rows: &mut Vec<Row<'a>>, feed: &mut Feed<'a, '_>) {
    feed.skip(1);
    let choice = rows.first().and_then(|row| row.value.clone());
    let mut options: Vec<Cow<'a, Value>> = Vec::new();
    loop {
        let name = format!("option{}", options.len() + 1);
        let value = feed.next(&name).map_or_else(|| Cow::Owned(json!("")), Cow::Borrowed);
        let empty = page::js_text(&value).is_empty();
        options.push(value);
        if empty {
            break;
        }
    }
    let at = options.iter().position(|option| Some(option) == choice.as_ref());
    let at = at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1);
    rows.push(Row::fixed("index", json!(at)));
    for (number, option) in (1..).zip(options) {
        let name = Cow::Owned(format!("option{number}"));
        rows.push(Row { name, value: Some(option), sent: true, how: How::Plain, input: None });
    }
}

pub(super) fn full_name<'a>(prefix: &str, name: &'a str) -> Cow<'a, str> {
    if prefix.is_empty() { Cow::Borrowed(name) } else { Cow::Owned(format!("{prefix}{name}")) }
}

/// The value of a widget for which none is saved.
fn default<'a>(input: &'a Input, widget: &'a Widget) -> Option<Cow<'a, Value>> {
    let declared = input.default.as_ref().map(Cow::Borrowed);
    let or = |value: Value| declared.clone().or(Some(Cow::Owned(value)));
    match widget {
        Widget::Int | Widget::Float => or(json!(0)),
        Widget::Boolean => or(json!(false)),
        Widget::Text { .. } => or(json!("")),
        Widget::Combo { many: true, .. } => Some(Cow::Owned(json!([]))),
        Widget::Combo { options, .. } => {
            declared.filter(|value| object_info::truthy(value)).or_else(|| options.first().map(Cow::Borrowed))
        }
        Widget::DynamicCombo(choices) => choices.first().map(|choice| Cow::Owned(json!(choice.key))),
        Widget::Other(kind) => or(page::empty_value(kind)),
    }
}
