//! `comfytop workflow convert FILE`: a graph of ComfyUI's page as the graph that a server runs.
//!
//! Reads the file, gets the node classes from a file or a server, and leaves the rest to
//! [`workflow::convert`](crate::workflow::convert). Writes nothing but what it is asked to print.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;
use thiserror::Error;

use crate::comfy::{Client, ComfyError};
use crate::config::{DEFAULT_SERVER, ServerConfig};
use crate::lenient;
use crate::text::{clean, json_text};
use crate::workflow::Graph;
use crate::workflow::convert::{self, ConvertError, Converted, When};
use crate::workflow::object_info::ObjectInfo;

/// Larger graphs are not read.
const LARGEST_GRAPH: u64 = 8 << 20;
/// Of a server with hundreds of extensions; unzipped.
const LARGEST_OBJECT_INFO: u64 = 24 << 20;

/// Why a graph could not be converted. All text is fit to show.
#[derive(Debug, Error)]
pub enum Trouble {
    #[error("{path}: {source}", path = shown(.path))]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: larger than {most} MB", path = shown(.path), most = .most >> 20)]
    TooLarge { path: PathBuf, most: u64 },
    #[error("{path}: line {line}, column {column}: not JSON: {message}", path = shown(.path))]
    NotJson { path: PathBuf, line: usize, column: usize, message: String },
    #[error("{path}: {source}", path = shown(.path))]
    Graph { path: PathBuf, source: ConvertError },
    #[error("{path}: it holds more than can be read into memory at once{}", .most.map(|most| format!(
        ", which is {most} values and keys, some {} nodes", most / 55
    )).unwrap_or_default(), path = shown(.path))]
    TooMuch { path: PathBuf, most: Option<usize> },
    #[error("{0}")]
    Server(String),
}

fn shown(path: &Path) -> String {
    clean(&path.to_string_lossy()).into_owned()
}

/// Converts `file` and prints the graph as JSON; what could not be done as the page does it goes to `notes`.
///
/// # Errors
/// A file that can't be read or is no such graph; no server that answers.
pub fn run(
    file: &Path,
    info: &ObjectInfo,
    when: When,
    out: &mut dyn Write,
    notes: &mut dyn Write,
) -> Result<(), Trouble> {
    let page = {
        let text = read(file, LARGEST_GRAPH)?;
        let text = lenient::mended(&text);
        if convert::is_too_large(&text) {
            return Err(Trouble::TooMuch { path: file.to_owned(), most: Some(convert::MOST_WEIGHT) });
        }
        let mut graph = parse(&text, file, |text| serde_json::from_str::<Value>(text))?;
        if let Some(graph) = graph.as_object_mut() {
            convert::slim(graph);
        }
        graph
    };
    let Converted { graph, warnings } =
        convert::convert(&page, info, when).map_err(|source| Trouble::Graph { path: file.to_owned(), source })?;
    drop(page);
    for warning in warnings {
        let _ = writeln!(notes, "comfytop: {}: {warning}", shown(file));
    }
    // A closed pipe is no error of ours.
    let _ = print(&graph, out);
    Ok(())
}

/// A node at a time, so that the whole text is never in memory.
fn print(graph: &Graph, out: &mut dyn Write) -> io::Result<()> {
    let mut before = "{";
    for (id, node) in graph {
        let (id, node) = (serde_json::to_string(id)?, serde_json::to_string_pretty(node)?.replace('\n', "\n  "));
        write!(out, "{before}\n  {}: {}", json_text(&id), json_text(&node))?;
        before = ",";
    }
    writeln!(out, "{}", if graph.is_empty() { "{}" } else { "\n}" })
}

/// The node classes in a file that holds the answer of `/object_info`, gzipped or not.
///
/// # Errors
/// The file can't be read or is no such answer.
pub fn object_info(path: &Path) -> Result<ObjectInfo, Trouble> {
    let text = read(path, LARGEST_OBJECT_INFO)?;
    parse(&lenient::mended(&text), path, ObjectInfo::parse)
}

/// The node classes of the first of these servers that answers.
///
/// # Errors
/// None does: what each said, and what to do.
pub async fn ask(servers: &[ServerConfig]) -> Result<ObjectInfo, Trouble> {
    let usual = [ServerConfig::at(DEFAULT_SERVER)];
    let servers = if servers.is_empty() { &usual } else { servers };
    let mut said = Vec::new();
    for server in servers {
        let info = match Client::new(&server.url, &server.headers) {
            Ok(client) => client.object_info_text().await,
            Err(error) => Err(error),
        };
        match info.map(|text| ObjectInfo::parse(&text)) {
            Ok(Ok(info)) => return Ok(info),
            Ok(Err(error)) => said.push(format!("{}: its /object_info: {error}", server.label())),
            Err(error) => said.push(format!("{}: {}", server.label(), in_full(&error))),
        }
    }
    Err(Trouble::Server(format!(
        "the graph can't be converted without the node classes of a server, and none could be asked ({}); \
         name one with --server, or give a saved answer of its /object_info with --object-info",
        clean(&said.join("; "))
    )))
}

/// An error with what caused it.
fn in_full(error: &ComfyError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}

fn read(path: &Path, most: u64) -> Result<String, Trouble> {
    let trouble = |source| Trouble::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(trouble)?;
    // A vector that grows by doubling takes three times the file.
    let size = file.metadata().map_or(0, |meta| meta.len()).min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(most + 1).read_to_end(&mut bytes).map_err(trouble)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unzipped = Vec::new();
        GzDecoder::new(bytes.as_slice()).take(most + 1).read_to_end(&mut unzipped).map_err(trouble)?;
        bytes = unzipped;
    }
    if u64::try_from(bytes.len()).is_ok_and(|len| len > most) {
        return Err(Trouble::TooLarge { path: path.to_owned(), most });
    }
    let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn parse<T>(text: &str, path: &Path, read: impl Fn(&str) -> Result<T, serde_json::Error>) -> Result<T, Trouble> {
    read(text).map_err(|error| {
        // what was refused before it was read has no place
        if error.line() == 0 {
            return Trouble::TooMuch { path: path.to_owned(), most: None };
        }
        let full = error.to_string();
        let message = clean(full.split(" at line ").next().unwrap_or(&full)).into_owned();
        Trouble::NotJson { path: path.to_owned(), line: error.line(), column: error.column(), message }
    })
}
