//! Where in the text of a job file something stands, so that an error can point at it.
//!
//! Pure. Works on text that its reader has accepted; in anything else it finds nothing. It never decides whether
//! a file is right.

use std::cell::Cell;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr;

use super::locate::{self, Spot};
use super::{Format, JobFileError, csv, decode, toml};
use crate::text;

/// A place in a job file; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// Where the jobs of a file stand in its text, found in one walk.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    file: &'a str,
    /// Where each entry begins.
    entries: Vec<Spot>,
    keys: Keys,
    /// How many bytes were looked through for keys so far.
    walked: Cell<usize>,
}

/// So many bytes are looked through for keys. After that an error has the place of its entry: a hundred faults in each of
/// a thousand large jobs would take minutes.
const MOST_WALKED: usize = 256 << 20;

/// How the place of a key is found.
#[derive(Debug, Clone)]
enum Keys {
    /// The entry's JSON is walked.
    Json,
    /// By entry and path.
    Known(HashMap<(usize, Vec<String>), usize>),
    /// By column; the same for every row.
    Columns(csv::Header),
}

impl<'a> Places<'a> {
    /// Of a job file's bytes; nothing has a place in bytes that are no text.
    #[must_use]
    pub fn new(format: Format, bytes: &'a [u8]) -> Self {
        Self::of(format, decode(format, bytes).unwrap_or_default())
    }

    pub(super) fn of(format: Format, file: &'a str) -> Self {
        let start = Spot { offset: 0, line: 1, column: 1 };
        let spots = |offsets: &mut dyn Iterator<Item = usize>| {
            offsets
                .scan(start, |spot, offset| {
                    *spot = spot.on(file, offset);
                    Some(*spot)
                })
                .collect::<Vec<_>>()
        };
        let (entries, keys) = match format {
            Format::Json => (locate::jobs(file), Keys::Json),
            Format::JsonLines => (spots(&mut lines(file).map(|(offset, _)| offset)), Keys::Json),
            Format::Toml => {
                let (offsets, known) = toml::places(file);
                (spots(&mut offsets.into_iter()), Keys::Known(known))
            }
            Format::Csv => {
                let (offsets, header) = csv::places(file);
                (spots(&mut offsets.into_iter()), Keys::Columns(header))
            }
        };
        Self { file, entries, keys, walked: Cell::new(0) }
    }

    /// The same error as [`super::parse`] makes, for something found wrong later (a slot, say): `path` leads to it
    /// within the entry with this index, `["set", "14.cfg"]`. What is not there has the place of what would hold it (a
    /// value that a sweep gave that of the sweep, a slot that is missing that of its entry).
    #[must_use]
    pub fn error(&self, entry: usize, path: &[impl AsRef<str>], message: &str) -> JobFileError {
        let Some(start) = self.entries.get(entry) else { return JobFileError::whole(message) };
        let path: &[&str] = &path.iter().map(AsRef::as_ref).collect::<Vec<_>>();
        let swept = path.last().map(|key| ["sweep", *key]);
        let parts = (1..path.len()).rev().filter_map(|end| path.get(..end));
        let mut ways = std::iter::once(path).chain(swept.iter().map(|swept| &swept[..])).chain(parts);
        let found = ways.find_map(|way| self.find(entry, start.offset, way));
        let spot = match found {
            Some(offset) if offset >= start.offset => start.on(self.file, offset),
            Some(offset) => Spot { offset: 0, line: 1, column: 1 }.on(self.file, offset),
            None => *start,
        };
        error(self.file, spot, message)
    }

    /// Where the key that exactly this path leads to stands.
    fn find(&self, entry: usize, start: usize, path: &[&str]) -> Option<usize> {
        match &self.keys {
            Keys::Json => {
                let end = self.entries.get(entry + 1).map_or(self.file.len(), |next| next.offset);
                let walked = self.walked.get().saturating_add(end.saturating_sub(start));
                if walked > MOST_WALKED {
                    return None;
                }
                self.walked.set(walked);
                locate::offset(self.file, start, path)
            }
            Keys::Known(known) => {
                let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
                // what a group shares stands at its head
                [entry, toml::SHARED].into_iter().find_map(|entry| known.get(&(entry, path.clone())).copied())
            }
            Keys::Columns(header) => header.cell(self.file, start, path),
        }
    }

    /// An error at a byte of the file.
    pub(super) fn error_at(file: &str, offset: usize, message: impl AsRef<str>) -> JobFileError {
        let offset = file.floor_char_boundary(offset.min(file.len()));
        error(file, Spot { offset: 0, line: 1, column: 1 }.on(file, offset), message.as_ref())
    }
}

fn error(file: &str, spot: Spot, message: &str) -> JobFileError {
    JobFileError {
        place: Some(Place { line: spot.line, column: spot.column }),
        excerpt: excerpt(file, spot.line, spot.offset),
        ..JobFileError::whole(message)
    }
}

/// The lines that hold something, each from its first character that is no space, with its offset.
pub(super) fn lines(file: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    file.split_inclusive('\n').filter_map(move |line| {
        let start = next;
        next += line.len();
        let trimmed = line.trim_start();
        (!trimmed.trim().is_empty()).then(|| (start + line.len() - trimmed.len(), trimmed.trim_end()))
    })
}

/// The line with its number and a caret below the character at `offset`; a long line is cut round the caret.
pub(super) fn excerpt(file: &str, line: usize, offset: usize) -> String {
    const AROUND: usize = 44;
    let (before, after) = file.split_at(file.floor_char_boundary(offset));
    let mut back = before.chars().rev().take_while(|c| *c != '\n');
    let mut head: Vec<char> = back.by_ref().take(AROUND).collect();
    head.reverse();
    let lead = if back.next().is_some() { "…" } else { "" };
    let mut rest = after.chars().take_while(|c| *c != '\n');
    let tail: Vec<char> = rest.by_ref().take(2 * AROUND - head.len()).collect();
    let more = if rest.next().is_some_and(|c| c != '\r') { "…" } else { "" };
    // each character by itself, so that what `clean` drops or widens cannot shift the caret
    let shown = |chars: &[char]| -> String {
        let show = |c: &char| {
            let probe = format!("x{c}x");
            if text::clean(&probe) == probe { *c } else { ' ' }
        };
        chars.iter().map(show).collect()
    };
    let head = shown(&head);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let pad = " ".repeat(lead.width() + head.width());
    let source = format!("{head}{}", shown(&tail));
    format!("{number} | {lead}{}{more}\n{margin} | {pad}^", source.trim_end())
}
