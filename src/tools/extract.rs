//! `comfytop extract`: the prompt that a file of ComfyUI's carries.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value};
use thiserror::Error;

use super::workflows::now_for_pages;
use crate::embedded::{self, EmbeddedError};
use crate::text::json_text;
use crate::workflow::convert::{self, ConvertError};
use crate::workflow::object_info::ObjectInfo;

/// The graph that renders a file again: in API format, or where it carries no such as the page saved it.
///
/// # Errors
/// When the file can't be read, or carries none.
pub fn graph(file: &Path) -> Result<Map<String, Value>, EmbeddedError> {
    embedded::read(&mut File::open(file)?)?.job_graph()
}

/// The text of what a file carries: the graph that rendered it, or where it carries only that of the page, what comes of
/// it by these node classes.
fn api_text(file: &Path, info: Option<&ObjectInfo>) -> Result<String, Unextracted> {
    let found = embedded::read(&mut File::open(file).map_err(EmbeddedError::Read)?)?;
    let graph = match (found.graph(), info) {
        (Err(EmbeddedError::OnlyPage), Some(info)) => {
            convert::convert_object(&found.page()?, info, now_for_pages())?.graph
        }
        (graph, _) => graph?,
    };
    Ok(format!("{:#}", Value::Object(graph)))
}

/// Why nothing is printed. All text is fit to show.
#[derive(Debug, Error)]
pub enum Unextracted {
    #[error("{0}")]
    Embedded(#[from] EmbeddedError),
    /// Several lines: a fault each.
    #[error("the graph of ComfyUI's page that it carries can't be made fit to run: {0}")]
    Convert(#[from] ConvertError),
}

/// Prints what a file carries: the graph that rendered it, or with `page` the one of ComfyUI's page.
///
/// # Errors
/// When the file can't be read, or carries none.
pub fn run(file: &Path, page: bool, info: Option<&ObjectInfo>, out: &mut dyn Write) -> Result<(), Unextracted> {
    let text = if page {
        let found = embedded::read(&mut File::open(file).map_err(EmbeddedError::Read)?)?;
        found.workflow.ok_or(EmbeddedError::None)?
    } else {
        api_text(file, info)?
    };
    // A closed pipe is no error of ours.
    let _ = writeln!(out, "{}", json_text(&text));
    Ok(())
}
