//! Job files: what people drop into an inbox, read into [`JobSpec`]s.
//!
//! Pure: bytes in, jobs or every [`JobFileError`] out. It knows the keys that are ours ([`keys`]) and leaves every
//! other one as a slot; whether a workflow has such a slot is said by [`crate::workflow::Workflow::fill`]. It never
//! opens a file. `docs/jobs.md` shows the formats.
//!
//! The parts: [`mod@format`] (which format a file has), `csv` and `toml` (those that are not JSON, made into the same
//! values), `reader` (one value into a job), `vary` (repeat, sweep, lists of seeds), `until` (what is tried until it is good
//! enough), [`places`] (where in the
//! text something stands), [`schema`] (the same for editors).

mod csv;
pub mod format;
pub mod keys;
mod locate;
pub mod places;
mod reader;
pub mod schema;
mod toml;
mod until;
mod vary;
mod write;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

pub use format::Format;
pub use keys::{KEYS, OWN_KEYS};
pub use places::{Place, Places};
pub(crate) use reader::{PAGE_GRAPH, is_page_graph, kind};
pub use until::{Until, Varied};

pub use write::text_of;

use crate::{text, weigh};

/// Larger job files are refused unread.
pub const MAX_BYTES: u64 = 4 << 20;
/// What the values and keys of a job file may weigh ([`crate::weigh`]): some 40 MB in memory, with all that is made of them.
const MOST_WEIGHT: usize = weigh::MOST;
/// More jobs than this in one file are refused.
pub const MAX_JOBS: usize = 1000;
/// The longest job name, in characters.
pub const MAX_NAME: usize = 200;
/// The highest priority, and with a minus the lowest.
pub const MAX_PRIORITY: i64 = 1_000_000;
/// So many faults of a file are told, and that there are more.
pub const MAX_ERRORS: usize = 100;
/// The jobs that `repeat`, `sweep` and lists of seeds make of a file's entries take no more room than this, in bytes.
const MOST_COPIED: usize = 8 << 20;
/// What all the tries of a file's jobs may take, one after another: as long as that, nobody is answered.
const MOST_TRIED: usize = 256 << 20;

/// One job as its file asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSpec {
    pub workflow: Source,
    /// What the job and its outputs are called; the file's name where left out.
    pub name: Option<String>,
    /// Every key that is not one of ours, in the order of the file.
    pub slots: Map<String, Value>,
    /// Edits of single inputs: `"14.cfg": 1.0`.
    pub set: Map<String, Value>,
    /// Higher goes first; 0 where left out. Between -[`MAX_PRIORITY`] and [`MAX_PRIORITY`].
    pub priority: i64,
    pub note: Option<String>,
    /// The only server that may render it, by name.
    pub server: Option<String>,
    pub hold: bool,
    /// Jobs that must be done first, by name or number (`#12`, `12`).
    pub after: Vec<String>,
    pub tags: Vec<String>,
    /// Posted beside the graph.
    pub extra_data: Option<Map<String, Value>>,
    /// `until` and `best_of`.
    pub until: Option<Until>,
    /// `repair` is `auto`.
    pub repair: bool,
    pub origin: Origin,
    /// What tells it from the others of its entry, where that makes several jobs.
    pub variant: Option<Variant>,
}

/// Where a job stands in its file, and how it was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin {
    /// Which entry of the file it comes from, from 0: for [`Places`].
    pub entry: usize,
    /// The key of the entry under which its graph stands; `None`: the entry is the graph, or has none.
    pub graph_under: Option<&'static str>,
    /// Its values are texts (CSV): a slot reads them as what it takes.
    pub textual: bool,
    /// Some of its values could not be read: what seems to be missing may be among them.
    pub is_partial: bool,
}

impl JobSpec {
    /// A job that asks for nothing but this.
    pub fn of(workflow: Source) -> Self {
        Self {
            workflow,
            name: None,
            slots: Map::new(),
            set: Map::new(),
            priority: 0,
            note: None,
            server: None,
            hold: false,
            after: Vec::new(),
            tags: Vec::new(),
            extra_data: None,
            until: None,
            repair: false,
            origin: Origin::default(),
            variant: None,
        }
    }
}

/// One of the jobs that `repeat`, `sweep` or a list of seeds makes of an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its place among them, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// The values that are its own, by slot or input; `repeat` counts from 1.
    pub values: Map<String, Value>,
}

/// What is to be rendered.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A workflow by name; `None` = the inbox's own.
    Named(Option<String>),
    /// A graph in API format that came in the job file itself; shared by the jobs of an entry.
    Graph(Arc<Map<String, Value>>),
    /// A graph as ComfyUI's page saves it: a server must say how it is to be run.
    Page(Arc<Map<String, Value>>),
}

/// A job file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{message}", place.map(|p| format!("line {}, column {}: ", p.line, p.column)).unwrap_or_default())]
pub struct JobFileError {
    /// What is wrong and how to mend it; one line, fit to show.
    pub message: String,
    /// `None` where the file as a whole is wrong.
    pub place: Option<Place>,
    /// The line it is in with a caret below; empty without a place.
    pub excerpt: String,
}

impl JobFileError {
    /// Of the file as a whole.
    pub fn whole(message: impl AsRef<str>) -> Self {
        Self { message: text::clean(message.as_ref()).into_owned(), place: None, excerpt: String::new() }
    }
}

/// What stands in place of all faults after the hundredth.
pub(crate) const AND_MORE: &str = "and more: only the first 100 faults are told, mend them and check it again";

/// No more faults than are told; `more` stands in place of the others.
pub(crate) fn told<T>(mut faults: Vec<T>, more: impl FnOnce() -> T) -> Vec<T> {
    if faults.len() > MAX_ERRORS {
        faults.truncate(MAX_ERRORS);
        faults.push(more());
    }
    faults
}

/// The same of errors.
pub(crate) fn at_most(errors: Vec<JobFileError>) -> Vec<JobFileError> {
    told(errors, || JobFileError::whole(AND_MORE))
}

/// Reads a job file.
///
/// # Errors
/// Everything that is wrong with it, each with its place; of more than a hundred faults the first, and that there are more.
pub fn parse(format: Format, bytes: &[u8]) -> Result<Vec<JobSpec>, Vec<JobFileError>> {
    let Reading { jobs, errors } = read(format, bytes);
    if errors.is_empty() { Ok(jobs) } else { Err(at_most(errors)) }
}

/// What could be read of a job file. With an error none of the jobs is to be taken; they are there so that what else is
/// wrong with them can be told at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub jobs: Vec<JobSpec>,
    /// In the order of the file.
    pub errors: Vec<JobFileError>,
}

impl From<Vec<JobFileError>> for Reading {
    fn from(errors: Vec<JobFileError>) -> Self {
        Self { jobs: Vec::new(), errors }
    }
}

/// Reads a job file as far as that goes.
pub fn read(format: Format, bytes: &[u8]) -> Reading {
    let file = match decode(format, bytes) {
        Ok(file) => file,
        Err(error) => return vec![error].into(),
    };
    let places = Places::of(format, file);
    let entries = match format.entries(file) {
        Ok(entries) if entries.is_empty() => return vec![JobFileError::whole("the file holds no jobs")].into(),
        Ok(entries) => entries,
        Err(errors) => return errors.into(),
    };
    let mut errors = Vec::new();
    let mut bases = Vec::with_capacity(entries.len().min(MAX_JOBS));
    let mut count = 0_usize;
    let (mut copied, mut tried) = (0_usize, 0_usize);
    for (entry, format::Entry { value, errors: unread }) in entries.into_iter().enumerate() {
        let (textual, is_partial) = (format == Format::Csv, !unread.is_empty());
        let origin = Origin { entry, textual, is_partial, graph_under: None };
        errors.extend(unread);
        let reader = reader::Reader { places: &places, origin, errors: &mut errors };
        let job = value.and_then(|value| reader.job(value));
        if let Some((job, ways)) = job {
            count = count.saturating_add(ways.count());
            copied = copied.saturating_add(ways.room(&job));
            tried = tried.saturating_add(job.tries_room().saturating_mul(ways.count()));
            // all of them are counted, and none is kept that will not be taken
            if count <= MAX_JOBS && copied <= MOST_COPIED && tried <= MOST_TRIED {
                bases.push((job, ways));
            } else {
                bases.clear();
            }
        } else {
            count = count.saturating_add(1);
        }
        if errors.len() > MAX_ERRORS {
            break;
        }
    }
    let too_much = |what: &str, size: usize, most: usize| {
        JobFileError::whole(format!(
            "its {count} jobs take {} MB {what}; at most {} MB are taken: shorten the texts and lists that each of \
             them repeats, or split the file",
            size.div_ceil(1 << 20),
            most >> 20
        ))
    };
    if count <= MAX_JOBS && copied > MOST_COPIED {
        errors.insert(0, too_much("together", copied, MOST_COPIED));
    }
    if count <= MAX_JOBS && tried > MOST_TRIED {
        errors.insert(0, too_much("with all the values that `vary` tries", tried, MOST_TRIED));
    }
    if count > MAX_JOBS {
        errors.insert(
            0,
            JobFileError::whole(format!("{count} jobs in one file; at most {MAX_JOBS} are taken: split it")),
        );
    }
    if errors.len() > MAX_ERRORS {
        return errors.into();
    }
    in_order(&mut errors);
    Reading { jobs: bases.into_iter().flat_map(|(job, ways)| ways.jobs(job)).collect(), errors }
}

/// Errors in the order of their file; those of the file as a whole come first.
pub(crate) fn in_order(errors: &mut [JobFileError]) {
    errors.sort_by_key(|error| error.place.map(|place| (place.line, place.column)));
}

/// What a job is called: as it says, else as its file.
pub fn job_name(own: Option<&str>, file: &str) -> String {
    let names = [own.unwrap_or_default(), Format::stem(file), "job"];
    let mut names = names.into_iter().map(text::clean).filter(|name| !name.is_empty());
    names.next().unwrap_or_default().into_owned()
}

fn without_bom(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn decode(format: Format, bytes: &[u8]) -> Result<&str, JobFileError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(JobFileError::whole(format!(
            "the file has {} bytes; a job file has at most {} MiB",
            bytes.len(),
            MAX_BYTES >> 20
        )));
    }
    let bytes = without_bom(bytes);
    if bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(JobFileError::whole(
            "the file is UTF-16 (Windows PowerShell's `>` and Excel's \"Unicode text\" are): save it as UTF-8",
        ));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(JobFileError::whole("the file is empty"));
    }
    if bytes.contains(&0) {
        return Err(JobFileError::whole(format!("the file is binary, not {}", format.name())));
    }
    let file = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        JobFileError::whole(format!("the file is not UTF-8 text (line {line}): save it as UTF-8"))
    })?;
    if format.is_too_heavy(file) {
        // one job can't be split
        let is_one = format == Format::Json && !file.trim_start().starts_with('[');
        let (than, split) = if is_one { ("any graph that people make, and than ", "") } else { ("", "; split it") };
        return Err(JobFileError::whole(format!(
            "the file holds more than {than}can be read into memory at once: {MOST_WEIGHT} values and keys{split}"
        )));
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
