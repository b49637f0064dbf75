//! JSON as ComfyUI writes it, which is not always JSON.
//!
//! Pure. Python writes bare `NaN`, `Infinity` and lone surrogates, and one job of anyone's that
//! holds one would make a whole `/queue` unreadable to a strict parser; ComfyUI's own files hold them, too
//! (`"is_changed": [NaN]`). So what does not parse is repaired and tried once more. Wrong shapes are never repaired,
//! only unreadable tokens. Nesting deeper than `serde_json` allows (128) is an error.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use crate::weigh;

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

/// A text that is JSON as it is; one that is not, repaired where that makes it JSON.
pub fn mended(text: &str) -> Cow<'_, str> {
    if weigh::is_json(text) {
        return Cow::Borrowed(text);
    }
    let repaired = repair(text.as_bytes());
    if weigh::is_json(&repaired) { Cow::Owned(repaired) } else { Cow::Borrowed(text) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

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
}
