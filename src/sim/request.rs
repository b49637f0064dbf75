//! What a client asks and what it is answered, parsed, without a socket in sight.
//!
//! Pure. [`Request::parse`] knows the routes; `core` knows the answers.

use bytes::Bytes;
use serde_json::Value;
use url::form_urlencoded;

use super::wire;

/// A JSON body: `None` where it is missing or does not parse.
pub type Sent = Option<Value>;

/// A multipart upload, taken apart. `image` is `None` where the field is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    pub image: Option<(String, Bytes)>,
    pub kind: Option<String>,
    pub subfolder: Option<String>,
    pub overwrite: Option<String>,
}

/// The query of `/view`, each part as sent; `range` is the header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub filename: Option<String>,
    pub subfolder: Option<String>,
    pub kind: Option<String>,
    pub preview: Option<String>,
    pub range: Option<String>,
    /// Only whether it is there, and how large.
    pub head: bool,
}

/// One HTTP request. `/api/X` has already become `/X`.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    GetPrompt,
    PostPrompt(Sent),
    GetQueue,
    PostQueue(Sent),
    Interrupt(Sent),
    History {
        max_items: Option<String>,
        offset: Option<String>,
    },
    HistoryOf(String),
    PostHistory(Sent),
    Jobs(Vec<(String, String)>),
    Job(String),
    CancelJob(String),
    CancelJobs(Sent),
    SystemStats,
    Features,
    ObjectInfo,
    ObjectInfoOf(String),
    Embeddings,
    Models(Option<String>),
    Upload(Upload),
    View(View),
    Free(Sent),
    /// A GET of `/ws` that is no websocket handshake.
    PlainWs,
    /// One that is: refused where it is not answered 101.
    Handshake,
    /// No such route, or not with this method.
    Unknown {
        get: bool,
        allow: &'static str,
    },
}

/// The names a scenario may use for a kind of request, as [`Request::route`] gives them.
pub const ROUTES: &[&str] = &[
    "GET /prompt",
    "POST /prompt",
    "GET /queue",
    "POST /queue",
    "POST /interrupt",
    "GET /history",
    "GET /history/{id}",
    "POST /history",
    "GET /api/jobs",
    "GET /api/jobs/{id}",
    "POST /api/jobs/{id}/cancel",
    "POST /api/jobs/cancel",
    "GET /system_stats",
    "GET /features",
    "GET /object_info",
    "POST /upload/image",
    "GET /view",
    "HEAD /view",
    "GET /ws",
    "POST /free",
    "other",
];

impl Request {
    /// Finds the route. Uploads come from the driver, which takes the multipart body apart.
    pub fn parse(method: &str, path: &str, query: &str, body: &[u8]) -> Self {
        let is_get = matches!(method, "GET" | "HEAD");
        let inner = path.strip_prefix("/api/").map_or(path, |_| &path["/api".len()..]);
        let under_api = inner.len() != path.len();
        let parts: Vec<String> = inner.trim_start_matches('/').split('/').map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let pairs = || form_urlencoded::parse(query.as_bytes()).into_owned().collect::<Vec<_>>();
        let one = |name: &str| pairs().into_iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let json = || wire::parse(body);
        match (method, parts.as_slice()) {
            ("POST", ["prompt"]) => Self::PostPrompt(json()),
            ("POST", ["queue"]) => Self::PostQueue(json()),
            ("POST", ["interrupt"]) => Self::Interrupt(json()),
            ("POST", ["history"]) => Self::PostHistory(json()),
            ("POST", ["free"]) => Self::Free(json()),
            ("POST", ["upload", "image"]) => Self::Upload(Upload::default()),
            ("POST", ["jobs", "cancel"]) if under_api => Self::CancelJobs(json()),
            ("POST", ["jobs", id, "cancel"]) if under_api => Self::CancelJob((*id).to_owned()),
            (_, ["prompt"]) if is_get => Self::GetPrompt,
            (_, ["queue"]) if is_get => Self::GetQueue,
            (_, ["history"]) if is_get => Self::History { max_items: one("max_items"), offset: one("offset") },
            (_, ["history", id]) if is_get => Self::HistoryOf((*id).to_owned()),
            (_, ["jobs"]) if is_get && under_api => Self::Jobs(pairs()),
            (_, ["jobs", id]) if is_get && under_api => Self::Job((*id).to_owned()),
            (_, ["system_stats"]) if is_get => Self::SystemStats,
            (_, ["features"]) if is_get => Self::Features,
            (_, ["object_info"]) if is_get => Self::ObjectInfo,
            (_, ["object_info", class]) if is_get => Self::ObjectInfoOf((*class).to_owned()),
            (_, ["embeddings"]) if is_get => Self::Embeddings,
            (_, ["models"]) if is_get => Self::Models(None),
            (_, ["models", folder]) if is_get => Self::Models(Some((*folder).to_owned())),
            (_, ["ws"]) if is_get => Self::PlainWs,
            (_, ["view"]) if is_get => Self::View(View {
                filename: one("filename"),
                subfolder: one("subfolder"),
                kind: one("type"),
                preview: one("preview"),
                range: None,
                head: method == "HEAD",
            }),
            (_, ["prompt" | "queue" | "history"]) => Self::Unknown { get: false, allow: "GET,HEAD,POST" },
            _ => Self::Unknown { get: is_get, allow: "GET,HEAD" },
        }
    }

    /// The name of its route, one of [`ROUTES`].
    pub fn route(&self) -> &'static str {
        match self {
            Self::GetPrompt => "GET /prompt",
            Self::PostPrompt(_) => "POST /prompt",
            Self::GetQueue => "GET /queue",
            Self::PostQueue(_) => "POST /queue",
            Self::Interrupt(_) => "POST /interrupt",
            Self::History { .. } => "GET /history",
            Self::HistoryOf(_) => "GET /history/{id}",
            Self::PostHistory(_) => "POST /history",
            Self::Jobs(_) => "GET /api/jobs",
            Self::Job(_) => "GET /api/jobs/{id}",
            Self::CancelJob(_) => "POST /api/jobs/{id}/cancel",
            Self::CancelJobs(_) => "POST /api/jobs/cancel",
            Self::SystemStats => "GET /system_stats",
            Self::Features => "GET /features",
            Self::ObjectInfo | Self::ObjectInfoOf(_) => "GET /object_info",
            Self::Upload(_) => "POST /upload/image",
            Self::View(View { head: true, .. }) => "HEAD /view",
            Self::View(_) => "GET /view",
            Self::Free(_) => "POST /free",
            Self::Handshake => "GET /ws",
            Self::Embeddings | Self::Models(_) | Self::PlainWs | Self::Unknown { .. } => "other",
        }
    }
}

fn decode(segment: &str) -> String {
    // In a path a plus is a plus; form decoding is the decoder at hand.
    let kept = segment.replace('+', "%2B");
    form_urlencoded::parse(format!("s={kept}").as_bytes())
        .next()
        .map_or_else(|| segment.to_owned(), |(_, value)| value.into_owned())
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Empty,
    Json(Value),
    Text(String),
    /// Bytes of a file, with their content type.
    File(Bytes, &'static str),
}

/// One answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// Announce the whole body, send only this many bytes of it, then cut the connection.
    pub cut: Option<usize>,
    /// Announce so many bytes instead, and cut the connection where the body ends.
    pub announced: Option<u64>,
}

impl Response {
    pub fn new(status: u16, body: Body) -> Self {
        Self { status, headers: Vec::new(), body, cut: None, announced: None }
    }

    pub fn json(value: Value) -> Self {
        Self::new(200, Body::Json(value))
    }

    pub fn empty(status: u16) -> Self {
        Self::new(status, Body::Empty)
    }

    /// What aiohttp answers when the handler threw (trap 4).
    pub fn trouble() -> Self {
        let text = "500 Internal Server Error\n\nServer got itself in trouble";
        Self::new(500, Body::Text(text.to_owned())).header("Connection", "close")
    }

    pub fn not_allowed(allow: &str) -> Self {
        Self::new(405, Body::Text("405: Method Not Allowed".to_owned())).header("Allow", allow)
    }

    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_with_and_without_api() {
        let get = |path, query| Request::parse("GET", path, query, b"");
        assert_eq!(get("/api/queue", ""), Request::GetQueue);
        assert_eq!(get("/history/a%20b+", ""), Request::HistoryOf("a b+".to_owned()));
        assert_eq!(get("/jobs", ""), Request::Unknown { get: true, allow: "GET,HEAD" });
        assert_eq!(get("/api/jobs/x", ""), Request::Job("x".to_owned()));
        assert_eq!(get("/interrupt", ""), Request::Unknown { get: true, allow: "GET,HEAD" });
        assert_eq!(Request::parse("POST", "/prompt", "", b"{nope"), Request::PostPrompt(None));
        let Request::View(view) = get("/view", "filename=%D1%84+x.png&type=temp") else { panic!("not a view") };
        assert_eq!(view.filename.as_deref(), Some("ф x.png"));
        assert!(ROUTES.contains(&get("/nope", "").route()));
    }
}
