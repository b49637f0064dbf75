//! TOML: one job, or `[[job]]` tables; what stands before the first of them holds for all.
//!
//! Pure. The same values as JSON would have, in the order of the file; dates and numbers that JSON lacks are texts.

use std::collections::HashMap;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::format::Entry;
use super::places::Places;
use super::{JobFileError, MAX_ERRORS, MAX_JOBS, MOST_COPIED};
use crate::weigh;

/// The tables of several jobs.
const JOBS: &str = "job";

/// What stands before the first of them is noted under this entry.
pub(super) const SHARED: usize = usize::MAX;

/// By entry and path.
type Known = HashMap<(usize, Vec<String>), usize>;

pub(super) fn entries(file: &str) -> Result<Vec<Entry>, Vec<JobFileError>> {
    let (table, errors) = DeTable::parse_recoverable(file);
    if !errors.is_empty() {
        let error = |error: &toml::de::Error| {
            let message = format!("not TOML: {}", error.message().replace('\n', ", "));
            match error.span() {
                Some(span) => Places::error_at(file, span.start, message),
                None => JobFileError::whole(message),
            }
        };
        return Err(errors.iter().take(MAX_ERRORS + 1).map(error).collect());
    }
    let table = table.into_inner();
    let no_job = "this table is no job: each of several jobs begins with [[job]]";
    let not_jobs: Vec<_> = not_jobs(&table).map(|at| Places::error_at(file, at, no_job)).into_iter().collect();
    let Some(jobs) = jobs(&table) else {
        // what stands before it is only what its jobs were to share
        return if not_jobs.is_empty() { Ok(vec![Value::Object(object(&table, &[])).into()]) } else { Err(not_jobs) };
    };
    let shared = object(&table, if not_jobs.is_empty() { &[JOBS] } else { &[JOBS, "jobs"] });
    let (count, room) = (jobs.clone().count(), weigh::room_of(&shared));
    if count > MAX_JOBS {
        return Err(vec![JobFileError::whole(format!(
            "{count} jobs in one file; at most {MAX_JOBS} are taken: split it"
        ))]);
    }
    if room.saturating_mul(count) > MOST_COPIED {
        let words = "what stands before the first [[job]] is too much to be repeated for each of";
        return Err(vec![JobFileError::whole(format!("{words} the {count} jobs: shorten it, or split the file"))]);
    }
    let entry = |job: &Spanned<DeValue<'_>>| match job.get_ref() {
        DeValue::Table(own) => {
            let mut entry = shared.clone();
            for (key, value) in object(own, &[]) {
                match (entry.get_mut(&key), value) {
                    // edits add up
                    (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
                    (_, value) => {
                        entry.insert(key, value);
                    }
                }
            }
            Value::Object(entry)
        }
        other => value(other),
    };
    let mut entries: Vec<Entry> = jobs.map(entry).map(Entry::from).collect();
    if let Some(first) = entries.first_mut() {
        first.errors = not_jobs;
    }
    Ok(entries)
}

/// The `[[job]]` tables, if the file has any.
fn jobs<'t, 'i>(table: &'t DeTable<'i>) -> Option<std::slice::Iter<'t, Spanned<DeValue<'i>>>> {
    let list = table.iter().find(|(key, _)| key.get_ref() == JOBS)?.1.get_ref().as_array()?;
    list.iter().any(|job| job.get_ref().is_table()).then(|| list.iter())
}

/// Where a table stands that was meant to be a job: `[job]`, `[jobs]`, `[[jobs]]`.
fn not_jobs(table: &DeTable<'_>) -> Option<usize> {
    let is_meant = |name: &str, value: &DeValue<'_>| match value {
        DeValue::Table(_) => name == JOBS || name == "jobs",
        DeValue::Array(list) => name == "jobs" && list.iter().any(|job| job.get_ref().is_table()),
        _ => false,
    };
    let found = table.iter().find(|(key, value)| is_meant(key.get_ref(), value.get_ref()))?;
    Some(found.0.span().start)
}

/// A table's members in the order of the file, without some.
fn members<'t, 'i>(table: &'t DeTable<'i>, without: &[&str]) -> Vec<(usize, &'t str, &'t DeValue<'i>)> {
    let mut members: Vec<_> = table
        .iter()
        .filter(|(key, _)| !without.contains(&key.get_ref().as_ref()))
        .map(|(key, value)| (key.span().start, key.get_ref().as_ref(), value.get_ref()))
        .collect();
    members.sort_by_key(|(at, ..)| *at);
    members
}

fn object(table: &DeTable<'_>, without: &[&str]) -> Map<String, Value> {
    members(table, without).into_iter().map(|(_, key, it)| (key.to_owned(), value(it))).collect()
}

fn value(it: &DeValue<'_>) -> Value {
    match it {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix()).ok();
            let whole = parsed
                .and_then(|n| u64::try_from(n).map(Value::from).or_else(|_| i64::try_from(n).map(Value::from)).ok());
            whole.unwrap_or_else(|| Value::String(number.to_string()))
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse::<f64>().ok().and_then(Number::from_f64);
            parsed.map_or_else(|| Value::String(number.to_string()), Value::Number)
        }
        DeValue::Boolean(it) => Value::Bool(*it),
        DeValue::Datetime(it) => Value::String(it.to_string()),
        DeValue::Array(list) => list.iter().map(|it| value(it.get_ref())).collect(),
        DeValue::Table(table) => Value::Object(object(table, &[])),
    }
}

/// Where the jobs begin, and their keys, and the keys in those (`set`).
pub(super) fn places(file: &str) -> (Vec<usize>, Known) {
    let table = DeTable::parse_recoverable(file).0.into_inner();
    let mut known = Known::new();
    let mut note = |entry: usize, table: &DeTable<'_>| {
        for (at, key, value) in members(table, &[JOBS]) {
            known.insert((entry, vec![key.to_owned()]), at);
            if let DeValue::Table(inner) = value {
                for (at, inner, _) in members(inner, &[]) {
                    known.insert((entry, vec![key.to_owned(), inner.to_owned()]), at);
                }
            }
        }
    };
    let Some(jobs) = jobs(&table) else {
        note(0, &table);
        let first = members(&table, &[]).first().map_or(0, |(at, ..)| *at);
        return (vec![first], known);
    };
    let mut offsets = Vec::new();
    note(SHARED, &table);
    for (entry, job) in jobs.enumerate() {
        offsets.push(job.span().start);
        if let Some(own) = job.get_ref().as_table() {
            note(entry, own);
        }
    }
    (offsets, known)
}
