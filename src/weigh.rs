//! How much there is in a text, before it is read into memory: there one digit takes a hundred bytes.
//!
//! Pure, and in no more memory than the text takes. What people make weighs little: the largest graph of ComfyUI's
//! own templates 15,000.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

use serde_json::{Map, Value};

/// What a graph in API format may weigh: some 10,000 nodes.
pub const MOST: usize = 200_000;

/// Whether the values and keys in a JSON text are more than `most`. What is wrong with the text is said when it is
/// read; up to there it is counted.
pub fn json_is_over(json: &str, most: usize) -> bool {
    left_of(json, most).is_none()
}

/// What a JSON text leaves of `most`; `None`: it is over.
pub fn left_of(json: &str, most: usize) -> Option<usize> {
    let mut left = most;
    let _ = Weigh(&mut left).deserialize(&mut serde_json::Deserializer::from_str(json));
    (left > 0).then_some(left)
}

/// Whether a text is JSON, and nested no deeper than `serde_json` reads.
pub fn is_json(text: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut left = usize::MAX;
    Weigh(&mut left).deserialize(&mut reader).and_then(|()| reader.end()).is_ok()
}

/// Whether a member of a JSON object is over `each`, or all of it over `most`.
pub fn members_are_over(json: &str, each: usize, most: usize) -> bool {
    let mut left = most;
    let mut is_over = false;
    let _ = Members { each, left: &mut left, is_over: &mut is_over }
        .deserialize(&mut serde_json::Deserializer::from_str(json));
    is_over || left == 0
}

/// Whether a text that is no JSON (CSV, TOML) has more than `most` signs that part values or lines.
pub fn text_is_over(text: &str, most: usize) -> bool {
    text.bytes()
        .filter(|byte| matches!(byte, b',' | b';' | b'\t' | b'\n' | b'=' | b'[' | b'{' | b'.'))
        .nth(most)
        .is_some()
}

/// What a value that was read takes in memory, in bytes; about, and rather too much.
pub fn room(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(list) => list.iter().map(room).sum(),
            Value::Object(map) => room_of(map),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
}

/// [`room`] of an object's members.
pub fn room_of(map: &Map<String, Value>) -> usize {
    map.iter().map(|(key, value)| 2 * size_of::<String>() + key.len() + room(value)).sum()
}

/// What may still come.
struct Weigh<'c>(&'c mut usize);

impl Weigh<'_> {
    fn one<E: serde::de::Error>(self) -> Result<(), E> {
        *self.0 = self.0.checked_sub(1).ok_or_else(|| E::custom("too much"))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Weigh<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Weigh<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        self.one()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        self.one()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        self.one()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        self.one()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        self.one()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Weigh(self.0))?.is_some() {}
        self.one()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key::<IgnoredAny>()?.is_some() {
            Weigh(self.0).one()?;
            entries.next_value_seed(Weigh(self.0))?;
        }
        self.one()
    }
}

/// An object whose members are weighed one by one.
struct Members<'c> {
    each: usize,
    left: &'c mut usize,
    is_over: &'c mut bool,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key::<IgnoredAny>()?.is_some() {
            let most = self.each.min(*self.left);
            let mut left = most;
            let weighed = entries.next_value_seed(Weigh(&mut left));
            *self.is_over |= left == 0;
            weighed?;
            *self.left -= most - left;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_keys_are_counted_wherever_they_stand() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count));
        assert!(!json_is_over(&list(50), 100) && json_is_over(&list(100), 100));
        assert!(json_is_over(&format!(r#"{{"a": {{"b": {}}}}}"#, list(98)), 100));
        assert!(!json_is_over("{", 100) && !json_is_over("", 100) && !json_is_over(&"x".repeat(1 << 20), 100));
        assert!(json_is_over(&format!("{{{}\"z\": 0}}", "\"a\": 0, ".repeat(60)), 100));
    }

    #[test]
    fn what_is_json_is_told_without_reading_it() {
        assert!(is_json(r#" {"a": [1, "b", null, {"c": 0.5}]} "#));
        for text in ["", "{", "[1] 2", "[NaN]", &"[".repeat(200), &format!("{}{}", "[".repeat(200), "]".repeat(200))] {
            assert!(!is_json(text), "{text}");
        }
    }

    #[test]
    fn what_was_read_takes_at_least_what_it_holds() {
        let value = serde_json::json!({"a": ["x".repeat(1000), 1, null], "b": {"c": true}});
        assert!((1000 + 6 * size_of::<Value>()..2000).contains(&room(&value)), "{}", room(&value));
    }

    #[test]
    fn of_other_texts_the_signs_count() {
        assert!(text_is_over(&",".repeat(101), 100) && !text_is_over(&",".repeat(100), 100));
        assert!(!text_is_over(&"a long text ".repeat(100), 100));
    }
}
