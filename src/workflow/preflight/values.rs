//! What an input takes, and what keeps a value from it, in words.
//!
//! Pure.

use serde_json::{Number, Value};

use super::SHOWN;
use crate::job_file::kind;
use crate::text;
use crate::workflow::object_info::{Form, Input, Widget};

/// What an input takes, for people.
pub(super) fn wanted(input: &Input) -> String {
    match &input.form {
        Form::Widget(Widget::Int) => "a whole number".to_owned(),
        Form::Widget(Widget::Float) => "a number".to_owned(),
        Form::Widget(Widget::Boolean) => "true or false".to_owned(),
        Form::Widget(Widget::Text { .. }) => "a text".to_owned(),
        Form::Widget(Widget::Combo { options, .. }) if !options.is_empty() => format!("one of {}", list(options)),
        _ => format!("a link of {}", input.kind),
    }
}

/// Whether the server looks a value up in the list: not several of them, and no file in another of its folders.
pub(super) fn is_listed(value: &Value) -> bool {
    !value.is_array() && value.as_str().is_none_or(|name| !is_elsewhere(name))
}

/// A file in another folder of the server than the one that is listed: `x.latent [output]`.
pub fn is_elsewhere(name: &str) -> bool {
    [" [input]", " [output]", " [temp]"].iter().any(|ending| name.ends_with(ending))
}

/// Whether a list is one of files: its names have endings.
pub(super) fn is_file(options: &[Value]) -> bool {
    let ending = |value: &Value| value.as_str().is_some_and(|text| text.rfind('.').is_some_and(|at| at > 0));
    options.first().is_some_and(ending)
}

fn list(options: &[Value]) -> String {
    let mut names: Vec<String> = options.iter().take(SHOWN).map(shown).collect();
    if options.len() > SHOWN {
        names.push(format!("… ({} in all)", options.len()));
    }
    names.join(", ")
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text::clean(text).into_owned())
}

/// What keeps a value from being one of a list.
pub(super) fn one_of(options: &[Value], value: &Value, is_file: bool) -> Option<String> {
    let same = |option: &Value| option == value || (option.as_f64().is_some() && option.as_f64() == value.as_f64());
    if options.iter().any(same) {
        return None;
    }
    let texts = || options.iter().filter_map(Value::as_str);
    let hint = value.as_str().map(|text| nearest_file(text, texts())).unwrap_or_default();
    let value = kind(value);
    Some(if options.is_empty() {
        format!("is {value}, and the server has none to choose from")
    } else if is_file {
        format!("is {value}, which the server does not have{hint}; it has {}", list(options))
    } else {
        format!("must be one of {}, not {value}{hint}", list(options))
    })
}

/// The nearest of several names: of files, the one in another folder first.
fn nearest_file<'t>(wrong: &str, names: impl Iterator<Item = &'t str> + Clone) -> String {
    let base = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase();
    let moved = names.clone().find(|name| base(name) == base(wrong));
    let near = text::nearest(wrong, names.clone());
    // next to nothing is wrong with its letters; else its words tell more
    let slip = near.filter(|name| strsim::damerau_levenshtein(&base(name), &base(wrong)) <= 2);
    let found = moved.or(slip).or_else(|| most_alike(&base(wrong), names, &base)).or(near);
    found.map_or_else(String::new, |name| format!(" (did you mean `{}`?)", text::clean(name)))
}

/// The name that has most of the words of another: people write models in many ways (`wan2.2_high`,
/// `Wan2_2-I2V-A14B-HIGH_fp8`). Half of the letters must be in words that both have; with as many, the shorter name is it.
fn most_alike<'t>(wrong: &str, names: impl Iterator<Item = &'t str>, base: &dyn Fn(&str) -> String) -> Option<&'t str> {
    const MOST: usize = 20_000;
    let words = |name: &str| -> Vec<String> {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        stem.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let wanted = words(wrong);
    let letters = |words: &[String]| words.iter().map(String::len).sum::<usize>();
    let shared = |name: &str| {
        let has = words(&base(name));
        wanted.iter().filter(|word| has.contains(word)).map(String::len).sum::<usize>()
    };
    let scored = names.take(MOST).map(|name| (shared(name), std::cmp::Reverse(name.len()), name));
    let (score, _, name) = scored.max_by_key(|(score, shorter, _)| (*score, *shorter))?;
    (score > 0 && 2 * score >= letters(&wanted)).then_some(name)
}

/// What keeps a value from being the number that is wanted. The server takes texts that are numbers, and cuts fractions.
pub(super) fn number(input: &Input, value: &Value, whole: bool) -> Option<String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok().filter(|n| !whole || n.fract() == 0.0),
        Value::Bool(it) => Some(f64::from(u8::from(*it))),
        _ => None,
    };
    let Some(number) = number else {
        let what = if whole { "a whole number" } else { "a number" };
        return Some(format!("must be {what}, not {}", kind(value)));
    };
    let limit = |limit: &Option<Number>| limit.as_ref().and_then(Number::as_f64);
    let (min, max) = (limit(&input.min), limit(&input.max));
    let fits = min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
    if fits {
        return None;
    }
    let wanted = match (&input.min, &input.max) {
        (Some(min), Some(max)) => format!("from {min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => return None,
    };
    Some(format!("must be {wanted}, not {}", kind(value)))
}
