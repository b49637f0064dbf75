//! What ComfyUI wrote into a file that it made: the prompt that rendered it, and the graph of its page.
//!
//! Pure: it reads from whatever is handed in, opens no file and decodes no picture. PNG, WebP, FLAC, MP4 and
//! Matroska (`WebM`) are told apart by their first bytes. Only the metadata is read, never more than `MOST` of it; a
//! broken or endless file is an error or nothing found, never a panic.
//!
//! How each is written (read off ComfyUI's `SaveImage`, `SaveAnimatedWEBP`, `SaveAnimatedPNG`, `SaveAudio`, `SaveVideo`,
//! `SaveWEBM`):
//!
//! | file | where |
//! |---|---|
//! | PNG | `tEXt` (or `iTXt`) chunks `prompt` and `workflow`; animated: `comf` chunks after the pictures |
//! | WebP | EXIF: `Model` is `prompt:{…}`, `Make` is `workflow:{…}` |
//! | FLAC | Vorbis comments |
//! | MP4 | `moov/udta/meta`: `keys` and `ilst`; Video Helper Suite: a comment that is JSON with both |
//! | `WebM` | `Tags`, names in capitals; Video Helper Suite: `COMMENT` |

mod flac;
mod matroska;
mod mp4;
mod png;
mod webp;

use std::io::{self, Read, Seek, SeekFrom};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::{job_file, lenient, weigh};

/// The endings of files that may carry a prompt, in small letters.
pub const ENDINGS: &[&str] = &[".png", ".apng", ".webp", ".flac", ".mp4", ".mov", ".m4v", ".webm", ".mkv"];

/// The longest text that is read, bytes.
const MOST: u64 = 8 << 20;
/// So many pieces of a file are looked at.
const PIECES: usize = 200_000;

/// What a file carries, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Embedded {
    /// The graph in API format, as it was posted.
    pub prompt: Option<String>,
    /// The graph as ComfyUI's page saves it.
    pub workflow: Option<String>,
}

/// Why a file gives no prompt. All text is fit to show.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    #[error("it can't be read: {0}")]
    Read(#[from] io::Error),
    #[error("it is none of PNG, WebP, FLAC, MP4 and WebM")]
    Unknown,
    #[error(
        "it carries no prompt: ComfyUI did not make it, was told not to write metadata, or another program took it out"
    )]
    None,
    #[error(
        "it carries no prompt in API format, only the graph of ComfyUI's page: --object-info FILE, a saved answer of a \
         server's /object_info, converts it; --page prints it as it is"
    )]
    OnlyPage,
    #[error("the prompt in it is not JSON: {0}")]
    NotJson(String),
    #[error("the prompt in it holds more than any graph that people make")]
    TooMuch,
    #[error("the prompt in it is no graph")]
    NotAGraph,
}

/// Reads what a file carries.
///
/// # Errors
/// When it can't be read, or is of no kind that is known.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Embedded, EmbeddedError> {
    let mut found = Embedded::default();
    let mut magic = [0; 12];
    file.seek(SeekFrom::Start(0))?;
    let got = fill(file, &mut magic)?;
    let magic = magic.get(..got).unwrap_or_default();
    if magic.starts_with(b"\x89PNG\r\n\x1a\n") {
        png::read(file, &mut found)?;
    } else if magic.starts_with(b"RIFF") && magic.get(8..12) == Some(b"WEBP") {
        webp::read(file, &mut found)?;
    } else if magic.starts_with(b"fLaC") {
        flac::read(file, &mut found)?;
    } else if magic.get(4..8) == Some(b"ftyp") {
        mp4::read(file, &mut found)?;
    } else if magic.starts_with(b"\x1a\x45\xdf\xa3") {
        matroska::read(file, &mut found)?;
    } else {
        return Err(EmbeddedError::Unknown);
    }
    Ok(found)
}

/// The object that a text is.
fn parsed(text: &str) -> Result<Map<String, Value>, EmbeddedError> {
    if weigh::json_is_over(text, weigh::MOST) {
        return Err(EmbeddedError::TooMuch);
    }
    let value = serde_json::from_str(text)
        .map_err(|error| EmbeddedError::NotJson(crate::text::clean(&error.to_string()).into_owned()))?;
    let Value::Object(graph) = value else { return Err(EmbeddedError::NotAGraph) };
    Ok(graph)
}

impl Embedded {
    /// What renders the file again: the graph that rendered it, else that of the page, which a server must make fit to
    /// run.
    ///
    /// # Errors
    /// As [`Self::graph`].
    pub fn job_graph(&self) -> Result<Map<String, Value>, EmbeddedError> {
        match self.graph() {
            Err(EmbeddedError::OnlyPage) => self.page(),
            graph => graph,
        }
    }

    /// The graph of the page.
    ///
    /// # Errors
    /// When there is none, or it is not one.
    pub fn page(&self) -> Result<Map<String, Value>, EmbeddedError> {
        let text = lenient::mended(self.workflow.as_ref().ok_or(EmbeddedError::None)?);
        let graph = parsed(&text)?;
        if job_file::is_page_graph(&graph) { Ok(graph) } else { Err(EmbeddedError::NotAGraph) }
    }

    /// The graph that rendered the file.
    ///
    /// # Errors
    /// When there is none, or it is not one.
    pub fn graph(&self) -> Result<Map<String, Value>, EmbeddedError> {
        let Some(text) = &self.prompt else {
            return Err(if self.workflow.is_some() { EmbeddedError::OnlyPage } else { EmbeddedError::None });
        };
        let mut graph = parsed(&lenient::mended(text))?;
        if !graph.values().any(|node| node.get("class_type").is_some_and(Value::is_string)) {
            return Err(EmbeddedError::NotAGraph);
        }
        for node in graph.values_mut().filter_map(Value::as_object_mut) {
            // the server's own remark on its cache
            node.shift_remove("is_changed");
        }
        Ok(graph)
    }

    /// Takes one text of the file; the first of a name counts.
    fn take(&mut self, name: &str, text: &str) {
        match name.to_ascii_lowercase().as_str() {
            "prompt" => {
                self.prompt.get_or_insert_with(|| text.to_owned());
            }
            "workflow" => {
                self.workflow.get_or_insert_with(|| text.to_owned());
            }
            "comment" | "\u{a9}cmt" => self.comment(text),
            _ => {}
        }
    }

    /// Video Helper Suite's: one object that holds both, each as JSON or as the text of it.
    fn comment(&mut self, text: &str) {
        let Ok(Value::Object(both)) = lenient::parse::<Value>(text.as_bytes()) else { return };
        for name in ["prompt", "workflow"] {
            match both.get(name) {
                Some(Value::String(text)) => self.take(name, text),
                Some(it @ Value::Object(_)) => self.take(name, &it.to_string()),
                _ => {}
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.prompt.is_some() && self.workflow.is_some()
    }
}

/// As much as there is.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// The next bytes; `None` where the file ends before.
fn array<const N: usize>(file: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    Ok((fill(file, &mut bytes)? == N).then_some(bytes))
}

/// The next `length` bytes; `None` where there are fewer, or more than anybody would write.
fn bytes(file: &mut impl Read, length: u64) -> io::Result<Option<Vec<u8>>> {
    if length > MOST {
        return Ok(None);
    }
    // grown as it comes: a length that lies costs nothing
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 == length).then_some(bytes))
}

/// Goes to an offset from the start.
fn go(file: &mut impl Seek, to: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(to)).map(|_| ())
}

#[cfg(test)]
mod tests;
