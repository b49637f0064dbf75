//! CSV: a header of slot names, then a job a row, as spreadsheets save it.
//!
//! Pure. Every cell is a text; what it stands for is said by the key (here) or by the slot (when it is filled). The
//! separator is the first of comma, semicolon and tab that the header has: spreadsheets use all three.

use serde_json::{Map, Value};

use super::keys::{self, Takes};
use super::places::Places;
use super::{JobFileError, MAX_ERRORS};

/// The columns of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Header {
    separator: u8,
    names: Vec<String>,
}

fn separator(file: &str) -> u8 {
    let header = file.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let found = header.bytes().find(|b| matches!(b, b',' | b';' | b'\t'));
    found.unwrap_or(b',')
}

fn rows(file: &str, separator: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(file.as_bytes())
}

/// Where a row begins: the reader counts the empty lines before it as its own.
fn start(file: &str, record: &csv::StringRecord) -> usize {
    let at = record.position().map_or(0, |p| usize::try_from(p.byte()).unwrap_or(usize::MAX)).min(file.len());
    let rest = file.get(at..).unwrap_or_default();
    at + (rest.len() - rest.trim_start_matches(['\n', '\r']).len())
}

fn is_empty(record: &csv::StringRecord) -> bool {
    record.iter().all(|cell| cell.trim().is_empty())
}

/// The rows as objects.
pub(super) fn entries(file: &str) -> Result<Vec<Value>, Vec<JobFileError>> {
    let separator = separator(file);
    let mut header: Option<Vec<String>> = None;
    let mut jobs = Vec::new();
    let mut errors = Vec::new();
    for record in rows(file, separator).records() {
        let record = match record {
            Ok(record) if is_empty(&record) => continue,
            Ok(record) => record,
            Err(error) => {
                errors.push(JobFileError::whole(format!("not CSV: {error}")));
                break;
            }
        };
        let at = start(file, &record);
        let Some(names) = &header else {
            let names: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
            for (index, name) in names.iter().enumerate() {
                let wrong = if name.is_empty() && index + 1 < names.len() {
                    "a column of the header has no name".to_owned()
                } else if !name.is_empty() && names.iter().take(index).any(|other| other == name) {
                    format!("the header names `{name}` twice")
                } else {
                    continue;
                };
                let place = cell(file, at, separator, index).unwrap_or(at);
                errors.push(Places::error_at(file, place, wrong));
            }
            header = Some(names);
            continue;
        };
        match row(names, &record) {
            Ok(job) => jobs.push(Value::Object(job)),
            Err((index, why)) => {
                errors.push(Places::error_at(file, cell(file, at, separator, index).unwrap_or(at), why));
            }
        }
        if errors.len() >= MAX_ERRORS {
            break;
        }
    }
    if errors.is_empty() && jobs.is_empty() {
        errors.push(JobFileError::whole("the file has a header and no rows: a row is a job"));
    }
    if errors.is_empty() { Ok(jobs) } else { Err(errors) }
}

/// A row as the object that JSON would have; empty cells are left out.
fn row(names: &[String], record: &csv::StringRecord) -> Result<Map<String, Value>, (usize, String)> {
    let mut job = Map::new();
    let mut set = Map::new();
    for (index, cell) in record.iter().enumerate() {
        let text = cell.trim();
        if text.is_empty() {
            continue;
        }
        let Some(name) = names.get(index).filter(|name| !name.is_empty()) else {
            let (has, wants) = (record.len(), names.len());
            return Err((
                index,
                format!(
                    "the row has {has} cells and the header {wants}: a text with the separator in it stands in \"…\""
                ),
            ));
        };
        if let Some(key) = keys::find(name) {
            job.insert(name.clone(), own(key.takes, text).map_err(|why| (index, format!("`{name}` {why}")))?);
        } else if name == "seed" {
            job.insert(name.clone(), json(text).unwrap_or_else(|| text.into()));
        } else if name.contains('.') {
            set.insert(name.strip_prefix("set.").unwrap_or(name).to_owned(), cell.into());
        } else {
            job.insert(name.clone(), cell.into());
        }
    }
    if !set.is_empty() {
        let own = job.entry("set").or_insert_with(|| Value::Object(Map::new()));
        if let Some(own) = own.as_object_mut() {
            own.extend(set);
        }
    }
    Ok(job)
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
    let separator = separator(file);
    let mut offsets = Vec::new();
    let mut header = Header { separator, names: Vec::new() };
    let mut is_header = true;
    for record in rows(file, separator).records().map_while(Result::ok).filter(|record| !is_empty(record)) {
        if std::mem::take(&mut is_header) {
            header.names = record.iter().map(|name| name.trim().to_owned()).collect();
        } else {
            offsets.push(start(file, &record));
        }
    }
    (offsets, header)
}

impl Header {
    /// Where the cell that `path` leads to begins, in the row that begins at `row`.
    pub(super) fn cell(&self, file: &str, row: usize, path: &[&str]) -> Option<usize> {
        let name = path.last()?;
        let index = self.names.iter().position(|n| n == name || n.strip_prefix("set.") == Some(name));
        cell(
            file,
            row,
            self.separator,
            index.or_else(|| self.names.iter().position(|n| Some(&n.as_str()) == path.first()))?,
        )
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
