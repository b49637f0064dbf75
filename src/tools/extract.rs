//! `comfytop extract`: the prompt that a file of ComfyUI's carries.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value};

use crate::embedded::{self, EmbeddedError};
use crate::text::json_text;

/// The graph in API format that rendered a file.
///
/// # Errors
/// When the file can't be read, or carries none.
pub fn graph(file: &Path) -> Result<Map<String, Value>, EmbeddedError> {
    embedded::read(&mut File::open(file)?)?.graph()
}

/// Prints what a file carries: the graph that rendered it, or with `page` the one of ComfyUI's page.
///
/// # Errors
/// When the file can't be read, or carries none.
pub fn run(file: &Path, page: bool, out: &mut dyn Write) -> Result<(), EmbeddedError> {
    let text = if page {
        let found = embedded::read(&mut File::open(file)?)?;
        found.workflow.ok_or(EmbeddedError::None)?
    } else {
        format!("{:#}", Value::Object(graph(file)?))
    };
    // A closed pipe is no error of ours.
    let _ = writeln!(out, "{}", json_text(&text));
    Ok(())
}
