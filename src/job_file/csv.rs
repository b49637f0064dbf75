//! CSV: a header of slot names, then a job a row, as spreadsheets save it.
//!
//! Pure. Every cell is a text; what it stands for is said by the key (here) or by the slot (when it is filled). The
//! separator is the first of comma, semicolon and tab that the header has: spreadsheets use all three.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::format::Entry;
use super::keys::{self, Takes};
use super::places::Places;
use super::{JobFileError, MAX_ERRORS};

const SEED: &str = "seed";

/// The columns of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Header {
    separator: u8,
    names: Vec<String>,
}

/// Where the rows begin, and what parts their cells. A first line `sep=;` says so to spreadsheets; else the header tells.
fn beginning(file: &str) -> (usize, u8) {
    let first = file.lines().next().unwrap_or_default();
    if let Some(&[separator]) = first.trim().strip_prefix("sep=").map(str::as_bytes) {
        return ((first.len() + 1).min(file.len()), separator);
    }
    let header = file.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let found = header.bytes().find(|b| matches!(b, b',' | b';' | b'\t'));
    (0, found.unwrap_or(b','))
}

/// Every row that holds something, with where it begins.
fn rows(file: &str, begin: usize, separator: u8) -> impl Iterator<Item = csv::Result<(usize, csv::StringRecord)>> + '_ {
    let bytes = file.as_bytes().get(begin..).unwrap_or_default();
    let reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(bytes);
    reader
        .into_records()
        .filter(|record| record.as_ref().map_or(true, |record| !is_empty(record)))
        .map(move |record| record.map(|record| (start(file, begin, &record), record)))
}

/// Where a quote opens that nothing closes: all rows after it would be one text.
fn unclosed(file: &str, begin: usize, separator: u8) -> Option<usize> {
    let (mut open, mut cell_begins, mut closed) = (None, true, None);
    for (at, byte) in file.bytes().enumerate().skip(begin) {
        match (byte, open) {
            (b'"', Some(_)) => (open, closed) = (None, open),
            (_, Some(_)) => {}
            (b'"', None) if cell_begins => open = Some(at),
            // a doubled quote within quotes is one of the text
            (b'"', None) => (open, closed) = (closed, None),
            (_, None) => closed = None,
        }
        cell_begins = open.is_none() && (byte == separator || matches!(byte, b'\n' | b'\r'));
    }
    open
}

/// Where a row begins: the reader counts the empty lines before it as its own.
fn start(file: &str, begin: usize, record: &csv::StringRecord) -> usize {
    let at = record.position().map_or(0, |p| usize::try_from(p.byte()).unwrap_or(usize::MAX));
    let at = at.saturating_add(begin).min(file.len());
    let rest = file.get(at..).unwrap_or_default();
    at + (rest.len() - rest.trim_start_matches(['\n', '\r']).len())
}

fn is_empty(record: &csv::StringRecord) -> bool {
    record.iter().all(|cell| cell.trim().is_empty())
}

/// The names of the columns: our own keys in any letters, as spreadsheets like to begin with a capital.
fn names(header: &csv::StringRecord) -> Vec<String> {
    let name = |cell: &str| {
        let name = cell.trim();
        let lower = name.to_lowercase();
        if lower == SEED || keys::find(&lower).is_some() { lower } else { name.to_owned() }
    };
    let mut names: Vec<String> = header.iter().map(name).collect();
    // spreadsheets save columns that were once used
    while names.last().is_some_and(String::is_empty) {
        names.pop();
    }
    names
}

/// The rows as objects.
pub(super) fn entries(file: &str) -> Result<Vec<Entry>, Vec<JobFileError>> {
    let (begin, separator) = beginning(file);
    if let Some(at) = unclosed(file, begin, separator) {
        let words = "this text begins with a quote that nothing closes: all that follows would be part of it. End it \
            with \", and write a quote within it twice, \"\"";
        return Err(vec![Places::error_at(file, at, words)]);
    }
    let mut header: Option<Vec<String>> = None;
    let mut jobs = Vec::new();
    let mut errors = Vec::new();
    let mut wrong = 0;
    for record in rows(file, begin, separator) {
        let (at, record) = match record {
            Ok(row) => row,
            Err(error) => {
                errors.push(JobFileError::whole(format!("not CSV: {error}")));
                break;
            }
        };
        let Some(names) = &header else {
            let names = names(&record);
            let mut seen = HashSet::new();
            for (index, name) in names.iter().enumerate() {
                let wrong = if name.is_empty() {
                    "a column of the header has no name".to_owned()
                } else if !seen.insert(name.as_str()) {
                    format!("the header names `{name}` twice")
                } else {
                    continue;
                };
                let place = cell(file, at, separator, index).unwrap_or(at);
                errors.push(Places::error_at(file, place, wrong));
                if errors.len() > MAX_ERRORS {
                    break;
                }
            }
            if !errors.is_empty() {
                return Err(errors);
            }
            header = Some(names);
            continue;
        };
        let (job, faults) = row(names, &record);
        let place = |index| cell(file, at, separator, index).unwrap_or(at);
        let told = faults.into_iter().take(MAX_ERRORS + 1);
        let told: Vec<_> = told.map(|(index, why)| Places::error_at(file, place(index), why)).collect();
        wrong += told.len();
        jobs.push(Entry { value: Some(Value::Object(job)), errors: told });
        if wrong > MAX_ERRORS {
            break;
        }
    }
    if errors.is_empty() && jobs.is_empty() {
        errors.push(JobFileError::whole("the file has a header and no rows: a row is a job"));
    }
    if errors.is_empty() { Ok(jobs) } else { Err(errors) }
}

/// A row as the object that JSON would have, without the cells that are empty or wrong; and what is wrong, by cell.
fn row(names: &[String], record: &csv::StringRecord) -> (Map<String, Value>, Vec<(usize, String)>) {
    let mut wrong = Vec::new();
    let mut job = Map::new();
    let mut set = Map::new();
    for (index, cell) in record.iter().enumerate() {
        let text = cell.trim();
        if text.is_empty() {
            continue;
        }
        let Some(name) = names.get(index).filter(|name| !name.is_empty()) else {
            let (has, wants) = (record.len(), names.len());
            wrong.push((
                index,
                format!(
                    "the row has {has} cells and the header {wants}: a text with the separator in it stands in \"…\""
                ),
            ));
            break;
        };
        if let Some(key) = keys::find(name) {
            match own(key.takes, text) {
                Ok(value) => {
                    job.insert(name.clone(), value);
                }
                Err(why) => wrong.push((index, format!("`{name}` {why}"))),
            }
        } else if name == SEED {
            job.insert(name.clone(), json(text).unwrap_or_else(|| text.into()));
        } else if name.contains('.') {
            set.insert(name.strip_prefix("set.").unwrap_or(name).to_owned(), text.into());
        } else {
            job.insert(name.clone(), text.into());
        }
    }
    if !set.is_empty() {
        let own = job.entry("set").or_insert_with(|| Value::Object(Map::new()));
        if let Some(own) = own.as_object_mut() {
            own.extend(set);
        }
    }
    (job, wrong)
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// A cell of one of our own keys.
fn own(takes: Takes, text: &str) -> Result<Value, String> {
    Ok(match takes {
        Takes::Whole { .. } => json(text).unwrap_or_else(|| text.into()),
        Takes::Switch => match text.to_lowercase().as_str() {
            "true" | "yes" | "1" | "x" => true.into(),
            "false" | "no" | "0" => false.into(),
            _ => return Err(format!("must be true or false, not the text \"{text}\"")),
        },
        Takes::Texts | Takes::Jobs => match json(text).filter(Value::is_array) {
            Some(list) => list,
            None => text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect(),
        },
        Takes::Edits | Takes::Lists | Takes::Object | Takes::Until => {
            json(text).ok_or_else(|| "must be written in JSON, {\"seed\": [1, 2]}".to_owned())?
        }
        Takes::Workflow if text.starts_with('{') => json(text).unwrap_or_else(|| text.into()),
        Takes::Workflow | Takes::Text { .. } | Takes::Word(_) => text.into(),
    })
}

/// Where the rows begin, and their columns.
pub(super) fn places(file: &str) -> (Vec<usize>, Header) {
    let (begin, separator) = beginning(file);
    let mut offsets = Vec::new();
    let mut header = Header { separator, names: Vec::new() };
    let mut is_header = true;
    for (at, record) in rows(file, begin, separator).map_while(Result::ok) {
        if std::mem::take(&mut is_header) {
            header.names = names(&record);
        } else {
            offsets.push(at);
        }
    }
    (offsets, header)
}

impl Header {
    /// Where the cell that `path` leads to begins, in the row that begins at `row`.
    pub(super) fn cell(&self, file: &str, row: usize, path: &[&str]) -> Option<usize> {
        let key = path.last()?;
        let is_it = |name: &String| name.strip_prefix("set.").unwrap_or(name).eq_ignore_ascii_case(key);
        cell(file, row, self.separator, self.names.iter().position(is_it)?)
    }
}

/// Where the cell with this index begins, quotes and all.
fn cell(file: &str, row: usize, separator: u8, index: usize) -> Option<usize> {
    let bytes = file.as_bytes();
    let (mut at, mut left, mut quoted) = (row, index, false);
    while left > 0 {
        match bytes.get(at)? {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => return None,
            b if *b == separator && !quoted => left -= 1,
            _ => {}
        }
        at += 1;
    }
    Some(at)
}
