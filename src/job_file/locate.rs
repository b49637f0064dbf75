//! Finding a key or an element again in the text of a JSON file, so that an error can point at it.
//!
//! Pure. Works on text that `serde_json` has already accepted; on anything else it finds nothing.
//! It never decides whether JSON is right.

use std::borrow::Cow;
use std::collections::HashSet;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Spot {
    /// The place of a later offset: only what lies between is looked at.
    pub(super) fn on(self, text: &str, offset: usize) -> Self {
        let between = text.get(self.offset..offset).unwrap_or_default();
        match between.rfind('\n') {
            None => Self { offset, column: self.column + between.chars().count(), ..self },
            Some(last) => Self {
                offset,
                line: self.line + between.bytes().filter(|b| *b == b'\n').count(),
                column: between.get(last + 1..).unwrap_or_default().chars().count() + 1,
            },
        }
    }
}

/// Where the elements of a list begin; where the value begins, for any other value.
pub(super) fn jobs(text: &str) -> Vec<Spot> {
    let mut cursor = Cursor { text: text.as_bytes(), at: 0 };
    cursor.space();
    let mut spot = Spot { offset: 0, line: 1, column: 1 }.on(text, cursor.at);
    if cursor.take(b'[').is_none() {
        return if cursor.peek().is_some() { vec![spot] } else { Vec::new() };
    }
    let mut spots = Vec::new();
    loop {
        spot = spot.on(text, cursor.at);
        if cursor.skip_value().is_none() || cursor.at == spot.offset {
            return spots;
        }
        spots.push(spot);
        if cursor.take(b',').is_none() {
            return spots;
        }
    }
}

/// The byte offset of the key that `path` leads to, from the value that begins at `start`; in a list a key is a number
/// from 0.
pub(super) fn offset(text: &str, start: usize, path: &[&str]) -> Option<usize> {
    let mut cursor = Cursor { text: text.as_bytes(), at: start };
    let mut found = start;
    for key in path {
        found = if cursor.peek() == Some(b'[') { cursor.enter_item(key)? } else { cursor.enter_member(text, key)? };
    }
    Some(found)
}

/// The keys that stand twice in one object, and where the second stands: JSON readers take the last, and silently lose
/// the first. No more than `most` of them.
pub(super) fn twins(text: &str, most: usize) -> Vec<(usize, String)> {
    let mut cursor = Cursor { text: text.as_bytes(), at: 0 };
    let mut twins = Vec::new();
    // what stands open: of an object the keys so far
    let mut open: Vec<Option<HashSet<Cow<'_, str>>>> = Vec::new();
    loop {
        match cursor.peek() {
            Some(b'{') => open.push(Some(HashSet::new())),
            Some(b'[') => open.push(None),
            Some(b'}' | b']') => drop(open.pop()),
            Some(b'"') => {
                let key_at = cursor.at;
                let Some(written) = cursor.skip_string().and_then(|()| text.get(key_at..cursor.at)) else { break };
                if cursor.take(b':').is_some()
                    && let Some(Some(keys)) = open.last_mut()
                {
                    let key = plain(written);
                    if keys.contains(&key) {
                        twins.push((key_at, key.into_owned()));
                    } else {
                        keys.insert(key);
                    }
                    if twins.len() >= most {
                        break;
                    }
                }
                continue;
            }
            Some(_) => {}
            None => break,
        }
        cursor.at += 1;
    }
    twins
}

/// A text without its quotes, as it is meant.
fn plain(written: &str) -> Cow<'_, str> {
    match written.get(1..written.len().saturating_sub(1)) {
        Some(plain) if !plain.contains('\\') => plain.into(),
        _ => serde_json::from_str(written).map_or(written.into(), |text: String| text.into()),
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Steps over `wanted` (and the space around it), or stays.
    fn take(&mut self, wanted: u8) -> Option<()> {
        self.space();
        (self.peek()? == wanted).then(|| self.at += 1)?;
        self.space();
        Some(())
    }

    /// Stops before the value of `key`; the answer is where the key itself stands. Of a key that
    /// stands twice it is the last, as that is the one `serde_json` keeps.
    fn enter_member(&mut self, text: &str, key: &str) -> Option<usize> {
        self.take(b'{')?;
        let mut found = None;
        loop {
            let key_at = self.at;
            self.skip_string()?;
            let written = text.get(key_at..self.at)?;
            self.take(b':')?;
            if plain(written) == key {
                found = Some((key_at, self.at));
            }
            self.skip_value()?;
            if self.take(b',').is_none() {
                break;
            }
        }
        let (key_at, value_at) = found?;
        self.at = value_at;
        Some(key_at)
    }

    /// Stops before the item with this number.
    fn enter_item(&mut self, number: &str) -> Option<usize> {
        self.take(b'[')?;
        for _ in 0..number.parse::<usize>().ok()? {
            self.skip_value()?;
            self.take(b',')?;
        }
        (self.peek()? != b']').then_some(self.at)
    }

    fn skip_string(&mut self) -> Option<()> {
        (self.peek()? == b'"').then_some(())?;
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Over one whole value: brackets are counted, so depth costs no stack.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    // a closing bracket that is not ours ends a bare number or word
                    if depth == 0 {
                        return Some(());
                    }
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',') if depth == 0 => return Some(()),
                Some(_) => {
                    self.at += 1;
                    continue;
                }
                None => return (depth == 0).then_some(()),
            }
            if depth == 0 {
                self.space();
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "[\n {\"a\": 1, \"b\": [1, {\"é\\n\": 2}], \"a\": 3},\n  {\"set\": {\"14.cfg\" : true}, \"x\":-1.5e3}\n]";

    fn place(job: usize, path: &[&str]) -> Option<(usize, usize)> {
        let start = *jobs(TEXT).get(job)?;
        let spot = start.on(TEXT, offset(TEXT, start.offset, path)?);
        Some((spot.line, spot.column))
    }

    #[test]
    fn jobs_and_keys_are_found_where_they_stand() {
        assert_eq!(place(0, &[]), Some((2, 2)));
        assert_eq!(place(1, &[]), Some((3, 3)));
        assert_eq!(place(1, &["set", "14.cfg"]), Some((3, 12)));
        assert_eq!(place(1, &["x"]), Some((3, 30)));
        assert_eq!(jobs(" \n {}"), [Spot { offset: 3, line: 2, column: 2 }], "a single one");
    }

    #[test]
    fn items_of_lists_are_found_by_their_number() {
        let text = r#"{"nodes": [ {"id": 1}, [2],{"id": 3} ]}"#;
        let found = |path: &[&str]| offset(text, 0, path).and_then(|at| text.get(at..)).map(|rest| rest.split_at(5).0);
        assert_eq!(found(&["nodes", "2"]), Some("{\"id\""));
        assert_eq!(found(&["nodes", "1", "0"]), Some("2],{\""));
        assert_eq!((found(&["nodes", "3"]), found(&["nodes", "x"]), found(&["nodes", "2", "no"])), (None, None, None));
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_is_meant() {
        assert_eq!(offset(TEXT, 3, &["a"]), TEXT.rfind("\"a\""));
    }

    #[test]
    fn all_keys_that_stand_twice_are_found() {
        let found = |text| twins(text, 9);
        let second = TEXT.rfind("\"a\"").expect("there");
        assert_eq!(found(TEXT), [(second, "a".to_owned())]);
        let text = r#"{"a": {"b": ["b", {"b": "b"}], "\u0062": 1}, "c": "a", "a": "a"}"#;
        assert_eq!(found(text), [(31, "b".to_owned()), (55, "a".to_owned())]);
        assert_eq!(twins(r#"{"a":1,"a":1,"a":1}"#, 1).len(), 1);
        for torn in ["", "{\"a", "{\"a\":", "}", "]{\"a\"", "{\"a\":1,\"a\\"] {
            assert_eq!(found(torn), [], "{torn}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for (job, path) in [(2, &[][..]), (0, &["c"]), (0, &["b", "c"]), (1, &["set", "x"])] {
            assert_eq!(place(job, path), None, "{job} {path:?}");
        }
        for torn in ["", "{\"a", "[", "[]", "[,", "[{\"a\": ", "[1 2"] {
            assert_eq!(offset(torn, 0, &["a"]), None, "{torn}");
            assert!(jobs(torn).len() <= 1, "{torn}");
        }
    }
}
