//! JSON as ComfyUI writes it, which is not always JSON.
//!
//! Pure. Python writes bare `NaN`, `Infinity` and lone surrogates, and one job of anyone's that
//! holds one would make a whole `/queue` unreadable to a strict parser. So a body that does not
//! parse is repaired and tried once more. Wrong shapes are never repaired, only unreadable tokens.
//! Nesting deeper than `serde_json` allows (128) is an error.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Parses `body`, repairing it when it is not JSON as it stands.
///
/// # Errors
/// What `serde_json` says of the repaired body.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        // The tokens were fine and the shape was not: no repair helps.
        Err(error) if error.is_data() => Err(error),
        Err(_) => serde_json::from_str(&repair(body)),
    }
}

/// `body` with what no JSON parser takes replaced: outside strings `NaN`, `±Infinity` and numbers
/// beyond an f64 by `null`, inside strings lone surrogates by U+FFFD; bytes that are not UTF-8 too.
pub fn repair(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_alphanumeric()) {
        let (before, token) = rest.split_at(at);
        out.push_str(before);
        rest = if token.starts_with('"') { repair_string(token, &mut out) } else { repair_word(token, &mut out) };
    }
    out.push_str(rest);
    out
}

/// Copies the string that `text` starts with, mending its escapes; returns what follows it.
fn repair_string<'a>(text: &'a str, out: &mut String) -> &'a str {
    out.push('"');
    let mut rest = text.get(1..).unwrap_or_default();
    while let Some(at) = rest.find(['"', '\\']) {
        let (before, special) = rest.split_at(at);
        out.push_str(before);
        if special.starts_with('"') {
            out.push('"');
            return special.get(1..).unwrap_or_default();
        }
        let take = match unit(special) {
            Some(0xD800..=0xDBFF) if matches!(special.get(6..).and_then(unit), Some(0xDC00..=0xDFFF)) => 12,
            Some(0xD800..=0xDFFF) => {
                out.push_str("\\ufffd");
                rest = special.get(6..).unwrap_or_default();
                continue;
            }
            Some(_) => 6,
            // A two-character escape; the second may be longer than a byte in a broken body.
            None => special.char_indices().nth(2).map_or(special.len(), |(index, _)| index),
        };
        let (escape, after) = special.split_at(take);
        out.push_str(escape);
        rest = after;
    }
    out.push_str(rest);
    ""
}

/// The UTF-16 unit of a `\uXXXX` at the start of `text`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// Copies the number or word that `text` starts with, or `null` for it; returns what follows it.
fn repair_word<'a>(text: &'a str, out: &mut String) -> &'a str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.'))).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let unwritable = match word {
        "true" | "false" | "null" => false,
        _ => word.parse::<f64>().is_ok_and(|number| !number.is_finite()),
    };
    out.push_str(if unwritable { "null" } else { word });
    rest
}

/// A scalar as text: ids may come as numbers.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A list of scalars as texts; anything else is an empty list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().map(|list| list.iter().filter_map(text).collect()).unwrap_or_default()
}

/// A count that may have been written as a float.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: 0 ≤ x < 2^53, so exact")]
pub(super) fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|x| (0.0..9_007_199_254_740_992.0).contains(x)).map(|x| x as u64))
}

/// A JSON object as pairs in the order they were written. Anything but an object is empty:
/// ComfyUI writes `[]` or `null` where there is nothing to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entries<T>(pub Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries<T>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Entries::default())
    }

    fn visit_unit<E>(self) -> Result<Entries<T>, E> {
        Ok(Entries::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Entries<T>, E> {
        Ok(Entries::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Entries<T>, E> {
        Ok(Entries::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Entries<T>, E> {
        Ok(Entries::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Entries<T>, E> {
        Ok(Entries::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Entries<T>, E> {
        Ok(Entries::default())
    }
}

/// A text or a number as text; anything else (whole workflows, in places) is skipped, not kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Scalar(pub Option<String>);

impl<'de> serde::Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(Some(text.to_owned())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(Some(number.to_string())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(Some(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar(Some(number.to_string())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar(None))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_nan_and_infinity_become_null_outside_strings_only() {
        let body = br#"{"a":NaN,"b":[-Infinity, Infinity,1e999],"c":"NaN \"Infinity\" -Infinity","d":-1.5e3,"e":true}"#;
        let value: Value = parse(body).unwrap();
        let want =
            serde_json::json!({"a":null,"b":[null,null,null],"c":"NaN \"Infinity\" -Infinity","d":-1500.0,"e":true});
        assert_eq!(value, want);
    }

    #[test]
    fn lone_surrogates_become_a_replacement_character_and_pairs_stay() {
        let body = br#"["bad \ud800 x","\udc00\ud83d\ude00\ud83d","\\ud800","\ud800\u0041"]"#;
        let value: Vec<String> = parse(body).unwrap();
        assert_eq!(value, ["bad \u{fffd} x", "\u{fffd}😀\u{fffd}", "\\ud800", "\u{fffd}A"]);
    }

    #[test]
    fn what_is_valid_comes_through_repair_unchanged() {
        let text = r#"{"日":"\u0000 \u2028 \\ \" 😀","n":[18446744073709551615,-18446744073709551615,0.5]}"#;
        assert_eq!(repair(text.as_bytes()), text);
    }

    #[test]
    fn bytes_that_are_not_utf8_do_not_lose_the_rest() {
        let value: Value = parse(b"{\"a\":\"x\xffy\",\"b\":1}").unwrap();
        assert_eq!(value, serde_json::json!({"a":"x\u{fffd}y","b":1}));
    }

    #[test]
    fn a_nesting_bomb_is_an_error() {
        let bomb = "[".repeat(1_000_000);
        assert!(parse::<Value>(bomb.as_bytes()).is_err());
        let objects = r#"{"a":"#.repeat(500_000);
        assert!(parse::<Value>(objects.as_bytes()).is_err());
        assert!(parse::<Entries<Entries<Value>>>(objects.as_bytes()).is_err());
    }

    #[test]
    fn cut_and_broken_bodies_never_panic() {
        let text = r#"{"a":"\ud83d\ude00\u00e4","b":[NaN,-Infinity,"日\n"]}"#.as_bytes();
        for end in 0..text.len() {
            assert!(parse::<Value>(&text[..end]).is_err());
        }
        for odd in ["\"\\u12", "\"\\", "\"\\日", "-", "\"\\ud800\\u", "NaNa"] {
            assert!(parse::<Value>(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn entries_keep_their_order_and_bear_what_is_no_object() {
        let entries: Entries<u8> = parse(br#"{"9":1,"10":2,"1":3}"#).unwrap();
        assert_eq!(entries.0.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["9", "10", "1"]);
        for other in ["[1,[2]]", "null", "3", "-3", "1.5", "\"x\"", "true"] {
            assert_eq!(parse::<Entries<u8>>(other.as_bytes()).unwrap(), Entries::default(), "{other}");
        }
    }
}
