//! Text that came from outside, made fit to show; numbers in people's words; and the nearest right name for a wrong one.
//!
//! Pure. Whatever a server, a file or a prompt says goes through [`clean`] (one line) or
//! [`clean_lines`] (several) before it reaches a terminal or a log.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Seconds as `0:41`, `12:05`, `1:02:03`. Fractions are dropped: a clock never shows a second that has not passed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..1e12 first")]
pub fn duration(seconds: f64) -> String {
    let s = if seconds.is_finite() { seconds.clamp(0.0, 1e12) as u64 } else { 0 };
    if s < 3600 {
        format!("{}:{:02}", s / 60, s % 60)
    } else {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    }
}

/// True for characters that may move a cursor, change colours or turn text round: C0, DEL, C1,
/// line and paragraph separators, and the bidirectional and invisible format controls.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

/// The characters, each with whether it may be shown where it stands. The two joiners may, between letters that they
/// can join: they make one picture of several emoji, and Persian and Indian words what they are. Elsewhere they are
/// invisible and make two names that look the same.
fn judged(text: &str) -> impl Iterator<Item = (char, bool)> {
    let joinable = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && !c.is_whitespace() && !is_unsafe(c));
    let mut chars = text.chars().peekable();
    let mut before = None;
    std::iter::from_fn(move || {
        let c = chars.next()?;
        let joins = matches!(c, '\u{200C}' | '\u{200D}') && joinable(before) && joinable(chars.peek().copied());
        before = Some(c);
        Some((c, joins || !is_unsafe(c)))
    })
}

/// One line of showable text: every run of control characters becomes one space, and the ends are trimmed.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    if judged(text).all(|(_, safe)| safe) {
        return Cow::Borrowed(text.trim());
    }
    let mut out = String::with_capacity(text.len());
    for (c, safe) in judged(text) {
        if safe {
            out.push(c);
        } else if !out.ends_with(' ') {
            out.push(' ');
        }
    }
    Cow::Owned(out.trim().to_owned())
}

/// Several lines of showable text: line breaks stay, a tab becomes four spaces, other controls go.
#[must_use]
pub fn clean_lines(text: &str) -> String {
    text.trim_end()
        .lines()
        .map(|line| {
            let line = line.replace('\t', "    ");
            judged(&line).filter(|(_, safe)| *safe).map(|(c, _)| c).collect::<String>()
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// JSON as it may be printed: what could move a cursor or turn text round stands there as `\\uXXXX`,
/// which reads the same.
pub fn json_text(json: &str) -> Cow<'_, str> {
    let is_risky = |c: char| is_unsafe(c) && !matches!(c, '\n' | '\r' | '\t');
    if !json.contains(is_risky) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_risky(c) {
            // Writing to a String can't fail. All of them are below U+10000.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A file's size: `820 B`, `14 kB`, `1.2 MB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn size_words(bytes: u64) -> String {
    let b = bytes as f64;
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.0} kB", b / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", b / 1e6),
        _ => format!("{:.1} GB", b / 1e9),
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a String can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The name in `names` nearest to `wrong`, if one is near enough to be what was meant. Of a text that is no name, and
/// of more names than people have, none is sought: each costs the product of both lengths.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 300;
    const MOST: usize = 20_000;
    if wrong.len() > LONGEST {
        return None;
    }
    let wrong = wrong.to_lowercase();
    let length = wrong.chars().count();
    let may_differ = |other: usize| 1 + length.max(other) / 3;
    names
        .into_iter()
        .take(MOST)
        .filter(|name| name.len() <= LONGEST)
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let other = lower.chars().count();
            // so many characters must come or go
            if length.abs_diff(other) > may_differ(other) {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&wrong, &lower);
            (distance <= may_differ(other)).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `" (did you mean `x`?)"`, or nothing: the tail of an error about a wrong name.
pub fn did_you_mean<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, names).map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_teeth() {
        assert_eq!(clean("a\u{1b}[2Jb"), "a [2Jb");
        assert_eq!(clean("x\u{9b}31my\u{202e}z\n"), "x 31my z");
        assert_eq!(clean_lines("one\ttwo\r\n\u{7}three\n"), "one    two\nthree");
    }

    #[test]
    fn joiners_stay_where_they_join() {
        for joined in ["👨\u{200D}👩\u{200D}👧 home", "🏳\u{FE0F}\u{200D}🌈", "می\u{200C}خواهم", "क्\u{200D}ष"]
        {
            assert_eq!(clean(joined), joined);
            assert_eq!(clean_lines(joined), joined);
        }
        for (stray, shown) in [
            ("a\u{200D}b", "a b"),
            ("\u{200D}👧", "👧"),
            ("👧\u{200D}", "👧"),
            ("👧\u{200D}\u{200D}👧", "👧 👧"),
            ("👧\u{200D}\u{202E}👧", "👧 👧"),
        ] {
            assert_eq!(clean(stray), shown);
        }
    }

    #[test]
    fn printed_json_reads_the_same_and_steers_no_terminal() {
        let json = serde_json::json!({"name": "a\u{9b}31m\u{202e}b\u{1b}[2J\n漢"}).to_string();
        let printed = json_text(&json);
        assert!(!printed.contains(is_unsafe));
        let (a, b): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&json).unwrap(), serde_json::from_str(&printed).unwrap());
        assert_eq!(a, b);
    }

    #[test]
    fn a_near_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(nearest("sed", ["seed", "steps"]), Some("seed"));
        assert_eq!(nearest("Lenght", ["seed", "length"]), Some("length"));
        assert_eq!(nearest("zebra", ["seed", "length"]), None);
        let long = "x".repeat(1 << 20);
        assert_eq!(
            (nearest(&long, [long.as_str(), "seed"]), nearest("sed", [long.as_str(), "seed"])),
            (None, Some("seed"))
        );
    }
}
