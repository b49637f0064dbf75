//! Fetching a file from `/view`, piece by piece.
//!
//! The size is told before the first byte, so that the caller can refuse; a file that ends before
//! its announced length is an error, never a short file. It writes where it is told to, and names
//! no files.

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Response, StatusCode};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::error::ComfyError;
use super::exchange::{failure, is_html, verdict};
use super::history::OutputRef;
use super::rest::{Client, Patience};
use crate::faults;

/// A file that is about to come.
#[derive(Debug)]
pub struct Download {
    /// `None`: there is nothing left to fetch.
    response: Option<Response>,
    at: String,
    patience: Patience,
    start: u64,
    size: Option<u64>,
    position: u64,
}

impl Client {
    /// Asks for `file` from byte `from` on. [`Download::start`] says from where it really comes.
    ///
    /// # Errors
    /// [`ComfyError::is_gone`] when the server has no such file; 416 as [`ComfyError::Status`] when
    /// `from` lies behind its end.
    pub async fn view(&self, file: &OutputRef, from: u64) -> Result<Download, ComfyError> {
        let url = self.view_address(file);
        let at = format!("GET {url}");
        let patience = self.patience();
        let mut request = self.http().get(url);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = timeout(patience.request, faults::request("comfy", &at, request.send()))
            .await
            .map_err(|_| ComfyError::TimedOut { at: at.clone(), connecting: false })?
            .map_err(|error| failure(&at, error))?;
        let whole = range_size(response.headers());
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE if whole == Some(from) => {
                Ok(Download { response: None, at, patience, start: from, size: whole, position: from })
            }
            StatusCode::PARTIAL_CONTENT => {
                let size = whole.or_else(|| response.content_length().map(|rest| from.saturating_add(rest)));
                Ok(Download { response: Some(response), at, patience, start: from, size, position: from })
            }
            status => {
                // A file that is HTML is one; anything else that comes as HTML is a page in its place.
                let html = is_html(&response) && !file.filename.to_ascii_lowercase().contains(".htm");
                let location = response.headers().get(reqwest::header::LOCATION);
                let location = location.map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
                if let Some(error) = verdict(&at, status.as_u16(), html, location.as_deref(), &[]) {
                    return Err(error);
                }
                let size = response.content_length();
                Ok(Download { response: Some(response), at, patience, start: 0, size, position: 0 })
            }
        }
    }
}

impl Download {
    /// The first byte that comes: what was asked for, or 0 where the server sends all of it anyway.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Bytes of the whole file, where the server says.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next piece; `None` when all of it has come.
    ///
    /// # Errors
    /// [`ComfyError::Cut`] when it ends before its size.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ComfyError> {
        let Some(response) = &mut self.response else {
            return Ok(None);
        };
        let piece = timeout(self.patience.request, response.chunk())
            .await
            .map_err(|_| ComfyError::TimedOut { at: self.at.clone(), connecting: false })?
            .map_err(|error| failure(&self.at, error))?;
        if let Some(piece) = piece {
            self.position += piece.len() as u64;
            return Ok(Some(piece));
        }
        self.response = None;
        match self.size {
            Some(size) if size != self.position => {
                let why = format!("{} of {size} bytes came", self.position);
                Err(ComfyError::Cut { at: self.at.clone(), why })
            }
            _ => Ok(None),
        }
    }

    /// Writes the rest of it to `writer`, and flushes. Returns how many bytes were written.
    ///
    /// # Errors
    /// [`ComfyError::TooBig`] before anything is written when the size says so, or as soon as more
    /// than `max_bytes` came; [`ComfyError::File`] when writing fails.
    pub async fn write_to(
        &mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        max_bytes: u64,
    ) -> Result<u64, ComfyError> {
        let too_big = |at: &str, bytes| ComfyError::TooBig { at: at.to_owned(), bytes, limit: max_bytes };
        if let Some(size) = self.size.filter(|size| *size > max_bytes) {
            return Err(too_big(&self.at, size));
        }
        let mut written = 0;
        let file = |source| ComfyError::File { what: "cannot write what the server sent".to_owned(), source };
        while let Some(piece) = self.chunk().await? {
            if self.position > max_bytes {
                return Err(too_big(&self.at, self.position));
            }
            faults::request("comfy.view.write", "", writer.write_all(&piece)).await.map_err(file)?;
            written += piece.len() as u64;
        }
        writer.flush().await.map_err(file)?;
        Ok(written)
    }
}

/// The size of the whole file, from `Content-Range: bytes 100-2251/2252` or `bytes */2252`.
fn range_size(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_RANGE)?.to_str().ok()?.rsplit_once('/')?.1.trim().parse().ok()
}
