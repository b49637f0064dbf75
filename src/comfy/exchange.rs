//! One request and its answer, bounded in size, and what a status or a broken line means.
//!
//! It sends once, follows nothing and reads no meaning into a body: that is for the parsers.

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{RequestBuilder, Response};

use super::error::{ComfyError, excerpt, root};
use crate::faults;

/// The biggest body that is read into memory. 300 pending jobs with prompts of 40 KB are 12 MB.
const BODY_LIMIT: u64 = 64 << 20;
/// Of the body of an error, this much is read: a validation names every node that fails.
const ERROR_LIMIT: u64 = 4 << 20;

/// An answer whose body has been read.
pub(super) struct Answer {
    pub at: String,
    pub code: u16,
    pub html: bool,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer if it is a success; else what its status means.
    pub fn ok(self) -> Result<Self, ComfyError> {
        let html = self.html;
        match verdict(&self.at, self.code, html, self.location.as_deref(), &self.body) {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    pub fn read<T>(&self, parse: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>) -> Result<T, ComfyError> {
        let at = self.at.clone();
        if self.body.is_empty() {
            return Err(ComfyError::NotComfyUi { at, code: self.code, what: "an empty body".to_owned() });
        }
        parse(&self.body).map_err(|source| {
            if source.is_eof() {
                ComfyError::Cut { at, why: source.to_string() }
            } else {
                ComfyError::Unreadable { at, source }
            }
        })
    }
}

/// What a status says is wrong, or `None` for a success. `at` names the request.
pub(super) fn verdict(at: &str, code: u16, html: bool, location: Option<&str>, body: &[u8]) -> Option<ComfyError> {
    let at = at.to_owned();
    let text = String::from_utf8_lossy(body);
    Some(match code {
        401 | 403 => ComfyError::Unauthorized { at, code },
        300..=399 => {
            let to = location.map_or_else(String::new, |to| format!(" to {}", excerpt(to, 200)));
            let what = format!("a redirect{to} ({code}): if that is ComfyUI, set it as the address");
            ComfyError::NotComfyUi { at, code, what }
        }
        // A 404 page, too: ComfyUI's own have no body. Other errors may be of a proxy in front of it.
        200..=299 | 404 | 405 if html => ComfyError::NotComfyUi { at, code, what: html_page(&text) },
        200..=299 => return None,
        _ => {
            let excerpt = if html { html_page(&text) } else { excerpt(&text, 200) };
            ComfyError::Status { at, code, excerpt }
        }
    })
}

/// `an HTML page ("its title")`.
fn html_page(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        let end = start + lower.get(start..)?.find("</title>")?;
        text.get(start..end)
    });
    title.map_or_else(|| "an HTML page".to_owned(), |title| format!("an HTML page (\"{}\")", excerpt(title, 80)))
}

/// Sends a request and reads its answer, whatever its status.
pub(super) async fn exchange(request: RequestBuilder, at: String) -> Result<Answer, ComfyError> {
    let mut response = faults::request("comfy", &at, request.send()).await.map_err(|error| failure(&at, error))?;
    let code = response.status().as_u16();
    let limit = if response.status().is_success() { BODY_LIMIT } else { ERROR_LIMIT };
    let mut html = is_html(&response);
    let location = response.headers().get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
    let success = response.status().is_success();
    let mut body = Vec::new();
    if let Some(bytes) = response.content_length().filter(|bytes| success && *bytes > limit) {
        return Err(ComfyError::TooBig { at, bytes, limit });
    }
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => break,
            // Of an error the status has said the main thing.
            Err(_) if !success => break,
            Err(error) => return Err(failure(&at, error)),
        }
        if body.len() as u64 > limit {
            if success {
                return Err(ComfyError::TooBig { at, bytes: body.len() as u64, limit });
            }
            break;
        }
    }
    html = html || body.trim_ascii_start().first() == Some(&b'<');
    Ok(Answer { at, code, html, location, body })
}

/// Sends a `HEAD`: the answer without a body, and how long that would be.
pub(super) async fn head(request: RequestBuilder, at: String) -> Result<(Answer, Option<u64>), ComfyError> {
    let response = faults::request("comfy.head", &at, request.send()).await.map_err(|error| failure(&at, error))?;
    let code = response.status().as_u16();
    let text = |name| response.headers().get(name).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let location = text(LOCATION);
    // of a file that is HTML this says nothing
    let html = code != 200 && is_html(&response);
    Ok((Answer { at, code, html, location, body: Vec::new() }, length))
}

pub(super) fn is_html(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.trim_ascii_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case(b"text/html"))
}

/// What an error of the HTTP library means.
pub(super) fn failure(at: &str, error: reqwest::Error) -> ComfyError {
    let at = at.to_owned();
    let connecting = error.is_connect();
    if error.is_timeout() {
        ComfyError::TimedOut { at, connecting }
    } else if connecting {
        ComfyError::Refused { at, source: error.without_url().into() }
    } else if error.is_builder() {
        ComfyError::Setup { source: error.into() }
    } else {
        ComfyError::Cut { at, why: root(&error) }
    }
}
