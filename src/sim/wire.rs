//! JSON as Python reads and writes it: ASCII with `\u` escapes, bare `NaN` and `Infinity`, lone
//! surrogates (traps 28 and 29 of the wire notes).
//!
//! Pure. What strict JSON cannot hold is carried inside a [`Value`] as strings that start with a
//! private-use mark, and comes out as it went in.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};
use std::fmt::Write as _;
use std::io;

/// Stands before `NaN`, `Infinity` and `-Infinity` in a string that is no string.
const MARK: char = '\u{F8FF}';
/// A lone surrogate `S` is carried as the private-use character `LONE + S`.
const LONE: u32 = 0x10_0000;

/// Reads a body; `None` where Python's parser would refuse it.
pub fn parse(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::from_str(text).or_else(|_| serde_json::from_str(&lenient(text))).ok()
}

/// The float a carried non-number stands for.
pub fn non_number(value: &Value) -> Option<f64> {
    match value.as_str()?.strip_prefix(MARK)? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn lenient(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        if in_string {
            if let Some(unit) = escaped_unit(rest) {
                let low = rest.get(6..).and_then(escaped_unit);
                if (0xD800..0xDC00).contains(&unit) && low.is_some_and(|l| (0xDC00..0xE000).contains(&l)) {
                    out.push_str(&rest[..12]);
                    rest = &rest[12..];
                } else if (0xD800..0xE000).contains(&unit) {
                    out.extend(char::from_u32(LONE + unit));
                    rest = &rest[6..];
                } else {
                    out.push_str(&rest[..6]);
                    rest = &rest[6..];
                }
                continue;
            }
            if c == '\\' {
                let two: String = rest.chars().take(2).collect();
                out.push_str(&two);
                rest = &rest[two.len()..];
                continue;
            }
            in_string = c != '"';
        } else if let Some(token) = ["NaN", "-Infinity", "Infinity"].into_iter().find(|t| rest.starts_with(t)) {
            let _ = write!(out, "\"{MARK}{token}\"");
            rest = &rest[token.len()..];
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

fn escaped_unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// Writes a value as Python's `json.dumps` does.
pub fn to_text(value: &Value) -> String {
    let mut out = Vec::with_capacity(256);
    // Writing a Value into memory cannot fail; an empty answer would show in any test.
    if value.serialize(&mut Serializer::with_formatter(&mut out, Python)).is_err() {
        return String::new();
    }
    let text = String::from_utf8(out).unwrap_or_default();
    if !text.contains("\"\\uf8ff") {
        return text;
    }
    ["NaN", "-Infinity", "Infinity"]
        .into_iter()
        .fold(text, |text, token| text.replace(&format!("\"\\uf8ff{token}\""), token))
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| *c >= '\u{7f}') {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            plain = at + c.len_utf8();
            let code = u32::from(c);
            if (LONE + 0xD800..LONE + 0xE000).contains(&code) {
                write!(writer, "\\u{:04x}", code - LONE)?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

/// `repr()` of a JSON value in Python, as it stands in error texts.
pub fn repr(value: &Value) -> String {
    match value {
        Value::String(text) if non_number(value).is_none() => {
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            let body = text.replace('\\', "\\\\").replace('\n', "\\n");
            format!("{quote}{}{quote}", if quote == '\'' { body.replace('\'', "\\'") } else { body })
        }
        Value::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let items = map.iter().map(|(k, v)| format!("'{k}': {}", repr(v)));
            format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
        }
        other => str(other),
    }
}

/// `str()` of a JSON value in Python.
pub fn str(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text
            .strip_prefix(MARK)
            .map_or_else(|| text.clone(), |token| token.to_lowercase().trim_end_matches("inity").to_owned()),
        other => repr(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_as_python_does() {
        assert_eq!(to_text(&json!({"queue_running": [], "queue_pending": []})).len(), 42);
        assert_eq!(to_text(&json!({"a": [1, 0.0, "Ü😀\u{7f}\n"]})), r#"{"a": [1, 0.0, "\u00dc\ud83d\ude00\u007f\n"]}"#);
    }

    #[test]
    fn what_strict_json_cannot_hold_comes_back() {
        let odd = r#"{"x": NaN, "y": [-Infinity, Infinity], "s": "NaN \" \ud800 x \ud83d\ude00"}"#;
        let value = parse(odd.as_bytes()).unwrap();
        assert!(non_number(&value["x"]).unwrap().is_nan());
        assert_eq!(to_text(&value), odd);
        assert_eq!(parse(b"{nope"), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn reprs() {
        assert_eq!(repr(&json!(["a.safetensors", 1, true, null])), "['a.safetensors', 1, True, None]");
        assert_eq!(str(&parse(b"NaN").unwrap()), "nan");
    }
}
