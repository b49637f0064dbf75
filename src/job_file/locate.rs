//! Finding a key or an element again in the text of a JSON file, so that an error can point at it.
//!
//! Pure. Works on text that `serde_json` has already accepted; on anything else it finds nothing.
//! It never decides whether JSON is right.

/// One step down into a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Index(usize),
    Key(&'a str),
}

/// The byte offset of what `path` leads to: of the key for a key, of the value for an element.
pub(super) fn offset(text: &str, path: &[Step<'_>]) -> Option<usize> {
    let mut cursor = Cursor { text: text.as_bytes(), at: 0 };
    cursor.space();
    let mut found = cursor.at;
    for step in path {
        found = match *step {
            Step::Index(index) => cursor.enter_element(index)?,
            Step::Key(key) => cursor.enter_member(text, key)?,
        };
    }
    Some(found)
}

/// Line and column, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or("").chars().count() + 1)
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

    /// Stops before the value of element `index`.
    fn enter_element(&mut self, index: usize) -> Option<usize> {
        self.take(b'[')?;
        for _ in 0..index {
            self.skip_value()?;
            self.take(b',')?;
        }
        Some(self.at)
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
            if serde_json::from_str::<String>(written).is_ok_and(|written| written == key) {
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

    #[test]
    fn keys_and_elements_are_found_where_they_stand() {
        let place = |path: &[Step<'_>]| offset(TEXT, path).map(|at| line_and_column(TEXT, at));
        assert_eq!(place(&[]), Some((1, 1)));
        assert_eq!(place(&[Step::Index(0)]), Some((2, 2)));
        assert_eq!(place(&[Step::Index(1)]), Some((3, 3)));
        assert_eq!(place(&[Step::Index(1), Step::Key("set"), Step::Key("14.cfg")]), Some((3, 12)));
        assert_eq!(place(&[Step::Index(1), Step::Key("x")]), Some((3, 30)));
        assert_eq!(place(&[Step::Index(0), Step::Key("b"), Step::Index(1), Step::Key("é\n")]), Some((2, 21)));
    }

    #[test]
    fn of_a_key_that_stands_twice_the_last_is_meant() {
        assert_eq!(offset(TEXT, &[Step::Index(0), Step::Key("a")]), TEXT.rfind("\"a\""));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in [
            &[Step::Index(2)][..],
            &[Step::Key("a")],
            &[Step::Index(0), Step::Key("c")],
            &[Step::Index(0), Step::Index(0)],
        ] {
            assert_eq!(offset(TEXT, path), None, "{path:?}");
        }
        assert_eq!(offset("", &[Step::Key("a")]), None);
        assert_eq!(offset("{\"a", &[Step::Key("a")]), None);
    }
}
