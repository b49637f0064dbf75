//! What can go wrong between us and a server, told apart as far as the engine must act differently.
//!
//! Every text of the server's is cleaned before it is kept. Headers never appear here.

use thiserror::Error;

use super::validation::Validation;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// `at` names method and address of the request, e.g. `GET http://127.0.0.1:8188/queue`.
#[derive(Debug, Error)]
pub enum ComfyError {
    #[error("`{url}` is not a server address: {why}")]
    Address { url: String, why: String },
    /// The address itself is not repeated: it holds a password.
    #[error(
        "the address of {host} has a name or password in it: those go into `headers` (Authorization = \"Basic …\")"
    )]
    Credentials { host: String },
    #[error("the header `{name}` of the server's settings cannot be sent: {why}")]
    Header { name: String, why: String },
    /// No connection: nobody listens, no such host, no route, no TLS. Nothing was sent.
    #[error("cannot connect for {at}: {}", root(source.as_ref()))]
    Refused { at: String, source: Cause },
    /// `connecting`: not even the connection came about, so nothing was sent.
    #[error("no answer to {at} in time{}", if *connecting { " (connecting)" } else { "" })]
    TimedOut { at: String, connecting: bool },
    /// 401 or 403. ComfyUI itself answers 403 only to foreign `Origin`s, which we never send, so
    /// this is a proxy that wants a token.
    #[error("{at} is not allowed ({code}): set what the proxy wants as `headers` of this server")]
    Unauthorized { at: String, code: u16 },
    #[error("{at} was not answered by ComfyUI but with {what}")]
    NotComfyUi { at: String, code: u16, what: String },
    #[error("{at} was answered with {code}{}{excerpt}", if excerpt.is_empty() { "" } else { ": " })]
    Status { at: String, code: u16, excerpt: String },
    #[error("the answer to {at} cannot be read: {source}")]
    Unreadable { at: String, source: serde_json::Error },
    /// The connection ended before the answer did.
    #[error("the answer to {at} ended early ({why})")]
    Cut { at: String, why: String },
    #[error("the answer to {at} is too big: {bytes} bytes, and {limit} are allowed")]
    TooBig { at: String, bytes: u64, limit: u64 },
    /// A 400 to a posted graph: it will not be queued however often it is posted.
    #[error("{0}")]
    Rejected(Box<Validation>),
    /// A file of ours that could not be read (upload) or written (download).
    #[error("{what}: {source}")]
    File { what: String, source: std::io::Error },
    #[error("cannot set up the HTTP client: {source}")]
    Setup { source: Cause },
}

impl ComfyError {
    /// Nothing is wrong with the request: the server, or the way to it, is not there now.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::TimedOut { .. } | Self::Cut { .. } => true,
            // A proxy that stands in front of a ComfyUI which does not run.
            Self::Status { code, .. } => matches!(code, 502..=504),
            _ => false,
        }
    }

    /// For a `POST /prompt` that failed: may the prompt have been queued all the same? Then its id
    /// must be looked up before it is posted again. (A 500 may mean queued: ComfyUI answers so when
    /// `number` and `prompt_id` both repeat, and runs it.)
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::TimedOut { connecting, .. } => !connecting,
            Self::Cut { .. } | Self::Unreadable { .. } | Self::TooBig { .. } => true,
            Self::Status { code, .. } => *code >= 500,
            Self::NotComfyUi { code, .. } => (200..300).contains(code),
            _ => false,
        }
    }

    /// For a file asked for: the server answers, and says that it has no such file.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Status { code: 404, .. })
    }
}

/// The innermost cause: the outer ones of HTTP libraries say only that something went wrong.
pub(super) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    crate::text::clean(&inner.to_string()).into_owned()
}

/// At most `most` characters of `text`, fit to show, with `…` where it was cut.
pub(super) fn excerpt(text: &str, most: usize) -> String {
    let clean = crate::text::clean(text);
    match clean.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", clean.get(..end).unwrap_or_default().trim_end()),
        None => clean.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_harmless() {
        assert_eq!(excerpt("a\u{1b}[2Jb\r\nc", 80), "a [2Jb c");
        assert_eq!(excerpt(&"日".repeat(9), 3), "日日日…");
    }
}
