//! A picture, clip or sound in an inbox that has a profile: the job that it stands for.
//!
//! It becomes the text of a job file, and goes on as that. A file that a job file names is an input, and stays.

use std::path::Path;

use serde_json::{Map, Value};

use super::reading::rejection;
use crate::config::InboxConfig;
use crate::embedded;
use crate::job::Failure;
use crate::text;

/// The text of the job that a dropped file stands for.
pub(super) fn job_text(inbox: &InboxConfig, path: &Path) -> Result<String, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut job = Map::new();
    if inbox.extract {
        let graph = std::fs::File::open(path)
            .map_err(embedded::EmbeddedError::Read)
            .and_then(|mut file| embedded::read(&mut file)?.job_graph())
            .map_err(|error| rejection(format!("{}: {error}", text::clean(&name)), ""))?;
        job.insert("workflow".to_owned(), Value::Object(graph));
    } else if let Some(slot) = &inbox.slot {
        job.insert(slot.clone(), Value::String(name));
    }
    // a name may be all that is no text
    if !text::clean(&stem).is_empty() {
        let short: String = stem.chars().take(crate::job_file::MAX_NAME).collect();
        job.insert("name".to_owned(), Value::String(short));
    }
    Ok(format!("{:#}\n", Value::Object(job)))
}
