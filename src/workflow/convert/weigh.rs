//! How much there is in a JSON text, before it is read into memory: there one digit takes a hundred bytes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::MOST_VALUES;

/// Whether this text holds more values than any graph that people make. A text that is no JSON holds too
/// few.
pub fn is_too_large(json: &str) -> bool {
    let mut count = 0;
    // What is wrong with it is said when it is read.
    let _ = Weigh(&mut count).deserialize(&mut serde_json::Deserializer::from_str(json));
    count > MOST_VALUES
}

struct Weigh<'c>(&'c mut usize);

impl Weigh<'_> {
    fn one<E: serde::de::Error>(self) -> Result<(), E> {
        *self.0 += 1;
        if *self.0 > MOST_VALUES { Err(E::custom("too many values")) } else { Ok(()) }
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
            entries.next_value_seed(Weigh(self.0))?;
        }
        self.one()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_wherever_they_stand() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count));
        assert!(!is_too_large(&list(MOST_VALUES / 2)));
        assert!(is_too_large(&list(MOST_VALUES)));
        assert!(is_too_large(&format!(r#"{{"a": {{"b": {}}}}}"#, list(MOST_VALUES))));
        assert!(!is_too_large("{") && !is_too_large("") && !is_too_large(&"x".repeat(1 << 20)));
    }
}
