//! Which format a job file has: by its name, as nothing else tells TOML from a text.
//!
//! Pure. A new format is one more [`Format`], its ending in [`ENDINGS`], and bytes to values in `Format::entries`.

use serde_json::Value;

use super::places::{self, Places};
use super::{JobFileError, csv, locate, toml, without_bom};
use crate::weigh;

/// How a job file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One job, a list of jobs, or a graph.
    Json,
    /// A job a line.
    JsonLines,
    /// One job, or `[[job]]` tables.
    Toml,
    /// A header of slot names, then a job a row.
    Csv,
}

/// The endings of job files, in small letters.
pub const ENDINGS: &[(&str, Format)] = &[
    (".json", Format::Json),
    (".jsonl", Format::JsonLines),
    (".ndjson", Format::JsonLines),
    (".toml", Format::Toml),
    (".csv", Format::Csv),
    (".tsv", Format::Csv),
];

/// What stands in a file for one job.
pub(super) struct Entry {
    /// `None` where nothing of it can be read.
    pub value: Option<Value>,
    /// What is wrong with it as text.
    pub errors: Vec<JobFileError>,
}

impl From<Value> for Entry {
    fn from(value: Value) -> Self {
        Self { value: Some(value), errors: Vec::new() }
    }
}

impl Entry {
    fn unread(error: JobFileError) -> Self {
        Self { value: None, errors: vec![error] }
    }
}

impl Format {
    /// By the name of the file.
    pub fn of(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| *format)
    }

    /// The file's name without its ending.
    pub fn stem(name: &str) -> &str {
        let lower = name.to_lowercase();
        let ending = ENDINGS.iter().find(|(ending, _)| lower.ends_with(ending)).map_or(0, |(ending, _)| ending.len());
        name.get(..name.len() - ending).unwrap_or(name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::JsonLines => "JSON lines",
            Self::Toml => "TOML",
            Self::Csv => "CSV",
        }
    }

    /// Whether the bytes tell by themselves that they are whole. A JSON value does; of the others every part up to
    /// some line is a file of its own: whoever watches must wait for the end of its writing.
    pub fn is_complete(self, bytes: &[u8]) -> Option<bool> {
        (self == Self::Json).then(|| serde_json::from_slice::<serde::de::IgnoredAny>(without_bom(bytes)).is_ok())
    }

    /// Whether there is more in a file than in any that people make.
    pub(super) fn is_too_heavy(self, file: &str) -> bool {
        match self {
            Self::Json => weigh::json_is_over(file, super::MOST_WEIGHT),
            Self::JsonLines => {
                let mut lines = places::lines(file);
                lines.try_fold(super::MOST_WEIGHT, |left, (_, line)| weigh::left_of(line, left)).is_none()
            }
            Self::Toml | Self::Csv => weigh::text_is_over(file, super::MOST_WEIGHT),
        }
    }

    /// What stands in a file for its jobs; or what is wrong with the file as a whole.
    pub(super) fn entries(self, file: &str) -> Result<Vec<Entry>, Vec<JobFileError>> {
        match self {
            Self::Json => {
                let Entry { value, errors } = read(file, file, 0);
                let mut entries: Vec<Entry> = match value {
                    Some(Value::Array(list)) => list.into_iter().map(Entry::from).collect(),
                    Some(single) => vec![single.into()],
                    None => return Err(errors),
                };
                match entries.first_mut() {
                    Some(first) => first.errors = errors,
                    None => return Err(vec![JobFileError::whole("the list holds no jobs")]),
                }
                Ok(entries)
            }
            Self::JsonLines => {
                let mut wrong = 0;
                let mut entries = Vec::new();
                for (offset, line) in places::lines(file) {
                    let entry = read(file, line, offset);
                    wrong += entry.errors.len();
                    entries.push(entry);
                    if wrong > super::MAX_ERRORS {
                        break;
                    }
                }
                Ok(entries)
            }
            Self::Toml => toml::entries(file),
            Self::Csv => csv::entries(file),
        }
    }
}

/// One JSON value, `part` of the file from `start` on.
fn read(file: &str, part: &str, start: usize) -> Entry {
    // first, so that its names and the values are not in memory together
    let twins = locate::twins(part, super::MAX_ERRORS + 1);
    match serde_json::from_str(part) {
        Ok(value) => {
            let words = |key: &str| format!("`{key}` stands twice: only one of them could count, take the other away");
            let error = |(at, key): &(usize, String)| Places::error_at(file, start + at, words(key));
            Entry { value: Some(value), errors: twins.iter().map(error).collect() }
        }
        Err(error) => Entry::unread(syntax_error(file, part, start, &error)),
    }
}

/// The line that `serde_json` names: where in `part` it begins, its text, and how far in the error is. It counts
/// bytes, and stands on the last byte it has read.
fn line_of<'a>(part: &'a str, error: &serde_json::Error) -> (usize, &'a str, usize) {
    let before: usize = part.split_inclusive('\n').take(error.line().max(1) - 1).map(str::len).sum();
    let source = part.get(before..).and_then(|rest| rest.lines().next()).unwrap_or("");
    (before, source, source.floor_char_boundary(error.column().saturating_sub(1)))
}

/// What `serde_json` says of `part`, which begins at `start` in the file; its place counted in characters, and a hint
/// for the usual slips.
fn syntax_error(file: &str, part: &str, start: usize, error: &serde_json::Error) -> JobFileError {
    let full = error.to_string();
    let said = full.rsplit_once(" at line ").map_or(&*full, |(said, _)| said);
    let (before, source, wrong_at) = line_of(part, error);
    let here = source.get(wrong_at..).and_then(|rest| rest.chars().next());
    let hint = match (said, here) {
        (said, _) if said.starts_with("EOF") => "; the file ends too early",
        ("invalid escape", _) => "; write a backslash as \\\\, or paths with /",
        (said, _) if said.starts_with("control character") => "; a line break in a text is written \\n",
        ("trailing comma", _) => "; take the last comma away",
        (_, Some('/' | '#')) => "; JSON has no comments",
        (_, Some('\'' | '“' | '”' | '„' | '‘' | '’')) => "; JSON wants straight double quotes: \"…\"",
        (_, Some('N' | 'I' | 'T' | 'F')) => "; JSON knows only true, false, null and finite numbers",
        _ => "",
    };
    Places::error_at(file, start + before + wrong_at, format!("not JSON: {said}{hint}"))
}
