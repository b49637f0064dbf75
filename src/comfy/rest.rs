//! ComfyUI over HTTP.
//!
//! It asks once and says what came: no request is ever repeated here (a repeated `POST /prompt`
//! renders twice; the engine decides, after looking up). It sends no `Origin` and no `Sec-Fetch-*`
//! (ComfyUI answers 403 to foreign ones), announces no compression that it could not undo, follows
//! no redirect (headers may hold tokens) and uses no proxy of the environment (the websocket could
//! not follow). Every wait and every body has a bound.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use serde::Serialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::address::{base_address, header_map, input_file, upload_name};
use super::answer::{self, Queue, QueueItem, SystemStats};
use super::error::ComfyError;
use super::exchange::{Answer, exchange, head};
use super::history::{self, History, JobAnswer, OutputRef};
use super::json as lenient;
use super::validation::{self, Accepted};

/// How long to wait before calling it a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For a whole request and its answer; for `/view` from one piece of the file to the next.
    pub request: Duration,
    /// A websocket on which nothing came for so long is pinged.
    pub ping_after: Duration,
    /// A ping not answered for so long means that the line is dead.
    pub dead_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(30),
            ping_after: Duration::from_secs(10),
            dead_after: Duration::from_secs(20),
        }
    }
}

/// One server. Cheap to clone; clones share connections and what is known of its features.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Ends with `/`.
    base: Url,
    headers: HeaderMap,
    patience: Patience,
    /// Whether it has the jobs API: see [`Features`].
    jobs_api: Arc<AtomicU8>,
}

/// Values of [`Client::jobs_api`].
struct Features;

impl Features {
    const UNASKED: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
}

/// Headers may hold tokens: only the address is shown.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// What `POST /prompt` takes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Submission<'a> {
    /// A lower-case hyphenated UUID: newer servers refuse anything else.
    pub prompt_id: &'a str,
    /// Where the messages about it go.
    pub client_id: &'a str,
    /// The graph in API format.
    #[serde(rename = "prompt")]
    pub graph: &'a Value,
    /// Kept with the job and put into its files. Everybody can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_data: Option<&'a Map<String, Value>>,
}

/// Where a prompt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUp {
    /// Nowhere: deleted while pending, lost in a restart, or never there.
    Unknown,
    Pending,
    Running,
    Ended(History),
}

impl Client {
    /// A client for `url` (`http(s)://host[:port][/base]`; `http://` may be left out), sending
    /// `headers` with every request and with the websocket's handshake. Connects to nothing yet.
    ///
    /// # Errors
    /// An address or a header that cannot be used.
    pub fn new(url: &str, headers: &BTreeMap<String, String>) -> Result<Self, ComfyError> {
        Self::with_patience(url, headers, Patience::default())
    }

    /// [`Client::new`] with other waits.
    ///
    /// # Errors
    /// An address or a header that cannot be used.
    pub fn with_patience(
        url: &str,
        headers: &BTreeMap<String, String>,
        patience: Patience,
    ) -> Result<Self, ComfyError> {
        // Fails when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = base_address(url)?;
        let headers = header_map(headers)?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("comfytop/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers.clone())
            .connect_timeout(patience.connect)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // ComfyUI closes idle connections after a minute or so: don't meet it at the door.
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|source| ComfyError::Setup { source: source.into() })?;
        Ok(Self { http, base, headers, patience, jobs_api: Arc::new(AtomicU8::new(Features::UNASKED)) })
    }

    /// The address, with a `/` at the end.
    pub fn base(&self) -> &str {
        self.base.as_str()
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// `base` + `path`, each segment escaped.
    pub(super) fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// `GET /system_stats`: version, memory, devices. The probe whether this is ComfyUI at all.
    pub async fn system_stats(&self) -> Result<SystemStats, ComfyError> {
        let answer = self.get(&["system_stats"], &[]).await?.ok()?;
        answer.read(answer::parse_system_stats).map_err(|error| match error {
            ComfyError::Unreadable { at, source } if source.is_data() => {
                ComfyError::NotComfyUi { at, code: 200, what: format!("other JSON ({source})") }
            }
            error => error,
        })
    }

    /// Asks whether the server has the jobs API, and remembers the answer for [`Client::look_up`]
    /// and [`Client::running_now`]. Ask again after a reconnect: the server may have been updated.
    pub async fn has_jobs_api(&self) -> Result<bool, ComfyError> {
        let answer = self.get(&["api", "jobs"], &[("limit", "1")]).await?;
        let has = match answer.code {
            200 => history::parse_jobs(&answer.body).is_some(),
            404 | 405 => false,
            _ => answer.ok().map(|_| false)?,
        };
        self.jobs_api.store(if has { Features::YES } else { Features::NO }, Ordering::Relaxed);
        Ok(has)
    }

    async fn uses_jobs_api(&self) -> Result<bool, ComfyError> {
        match self.jobs_api.load(Ordering::Relaxed) {
            Features::UNASKED => self.has_jobs_api().await,
            known => Ok(known == Features::YES),
        }
    }

    /// `GET /prompt`: running + pending, everybody's, in 39 bytes.
    pub async fn queue_remaining(&self) -> Result<u32, ComfyError> {
        self.get(&["prompt"], &[]).await?.ok()?.read(answer::parse_queue_remaining)
    }

    /// `GET /queue`: costs the server every prompt whole (12 MB at 300 jobs).
    pub async fn queue(&self) -> Result<Queue, ComfyError> {
        self.get(&["queue"], &[]).await?.ok()?.read(answer::parse_queue)
    }

    /// What runs and what waits, without the owners, from the jobs API (60 KB at 300 jobs);
    /// `None` where there is none.
    pub async fn queue_outline(&self) -> Result<Option<Queue>, ComfyError> {
        let Some(entries) = self.jobs("pending,in_progress").await? else {
            return Ok(None);
        };
        let (running, pending): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.status == "in_progress");
        let items = |entries: Vec<history::JobEntry>| {
            let item = |entry: history::JobEntry| QueueItem {
                number: entry.number,
                prompt_id: entry.prompt_id,
                client_id: None,
            };
            entries.into_iter().map(item).collect()
        };
        Ok(Some(Queue { running: items(running), pending: items(pending) }.in_run_order()))
    }

    /// The ids that run, from the jobs API (256 bytes); `None` where there is none.
    pub async fn running_now(&self) -> Result<Option<Vec<String>>, ComfyError> {
        let entries = self.jobs("in_progress").await?;
        Ok(entries.map(|entries| entries.into_iter().map(|entry| entry.prompt_id).collect()))
    }

    async fn jobs(&self, status: &str) -> Result<Option<Vec<history::JobEntry>>, ComfyError> {
        if !self.uses_jobs_api().await? {
            return Ok(None);
        }
        let answer = self.get(&["api", "jobs"], &[("status", status)]).await?;
        if answer.code == 404 {
            self.jobs_api.store(Features::UNASKED, Ordering::Relaxed);
            return Ok(None);
        }
        Ok(history::parse_jobs(&answer.ok()?.body))
    }

    /// `GET /history/{id}`. `None` says only that the history has no entry: see [`Client::look_up`].
    pub async fn history(&self, id: &str) -> Result<Option<History>, ComfyError> {
        self.get(&["history", id], &[]).await?.ok()?.read(|body| history::parse_history(body, id))
    }

    /// Where a prompt is: `/api/jobs/{id}` where that exists, else `/queue` and **then**
    /// `/history/{id}` (the other order loses a job that ends in between).
    pub async fn look_up(&self, id: &str) -> Result<LookUp, ComfyError> {
        if self.uses_jobs_api().await? {
            let answer = self.get(&["api", "jobs", id], &[]).await?;
            if answer.code == 404 {
                // The API's own 404 is JSON; an older server in its place says 404 with no body.
                if answer.body.first() == Some(&b'{') {
                    return Ok(LookUp::Unknown);
                }
                self.jobs_api.store(Features::UNASKED, Ordering::Relaxed);
            } else {
                match answer.ok()?.read(history::parse_job)? {
                    JobAnswer::Pending => return Ok(LookUp::Pending),
                    JobAnswer::Running => return Ok(LookUp::Running),
                    JobAnswer::Ended(history) => return Ok(LookUp::Ended(history)),
                    JobAnswer::Unclear => {}
                }
            }
        }
        let queue = self.queue().await?;
        let holds = |items: &[QueueItem]| items.iter().any(|item| item.prompt_id == id);
        if holds(&queue.running) {
            return Ok(LookUp::Running);
        }
        if holds(&queue.pending) {
            return Ok(LookUp::Pending);
        }
        Ok(self.history(id).await?.map_or(LookUp::Unknown, LookUp::Ended))
    }

    /// `POST /prompt`, once. Where this fails, [`ComfyError::may_have_arrived`] says whether the id
    /// must be looked up; dropping the future closes its connection.
    pub async fn submit(&self, submission: &Submission<'_>) -> Result<Accepted, ComfyError> {
        let answer = self.post(&["prompt"], submission).await?;
        if answer.code == 400
            && let Ok(validation) = validation::parse_validation(&answer.body)
        {
            return Err(ComfyError::Rejected(Box::new(validation)));
        }
        answer.ok()?.read(validation::parse_accepted)
    }

    /// Takes ids off the queue; of an id that stands there twice, one. The server says 200 whatever
    /// it did, it does nothing to what runs, and nobody gets a message: look afterwards.
    pub async fn delete_pending(&self, ids: &[&str]) -> Result<(), ComfyError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.post(&["queue"], &json!({ "delete": ids })).await?.ok().map(drop)
    }

    /// Interrupts this prompt if it runs, at its next sampler step or node. 200 whatever it did.
    pub async fn interrupt(&self, id: &str) -> Result<(), ComfyError> {
        // Without an id the server stops whatever runs, also other people's jobs.
        if id.is_empty() {
            return Ok(());
        }
        self.post(&["interrupt"], &json!({ "prompt_id": id })).await?.ok().map(drop)
    }

    /// A cancel that works whether it waits or runs; look afterwards.
    pub async fn cancel(&self, id: &str) -> Result<(), ComfyError> {
        self.delete_pending(&[id]).await?;
        self.interrupt(id).await
    }

    /// `POST /free`. `free_memory` drops the cache of node results, too.
    pub async fn free(&self, unload_models: bool, free_memory: bool) -> Result<(), ComfyError> {
        let body = json!({ "unload_models": unload_models, "free_memory": free_memory });
        self.post(&["free"], &body).await?.ok().map(drop)
    }

    /// `GET /object_info` as text, JSON that is mended where Python wrote what is none.
    pub async fn object_info_text(&self) -> Result<String, ComfyError> {
        let answer = self.get(&["object_info"], &[]).await?.ok()?;
        Ok(match String::from_utf8(answer.body) {
            Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() => text,
            Ok(text) => crate::lenient::repair(text.as_bytes()),
            Err(bytes) => crate::lenient::repair(bytes.as_bytes()),
        })
    }

    /// `GET /object_info`: all node classes (0.5 to 2 MB, with custom nodes more).
    pub async fn object_info(&self) -> Result<Value, ComfyError> {
        self.get(&["object_info"], &[]).await?.ok()?.read(lenient::parse)
    }

    /// One node class of `/object_info`; `None` when the server does not have it.
    pub async fn object_info_class(&self, class: &str) -> Result<Option<Value>, ComfyError> {
        let mut all: Value = self.get(&["object_info", class], &[]).await?.ok()?.read(lenient::parse)?;
        Ok(all.get_mut(class).map(Value::take))
    }

    /// Uploads a file into the server's input folder; returns the name to use in a graph, which
    /// differs from `name` where other bytes have that name already.
    pub async fn upload(&self, name: &str, path: &Path) -> Result<String, ComfyError> {
        // The server takes 100 MB at most, so there is no harm in holding it.
        let bytes = tokio::fs::read(path)
            .await
            .map_err(|source| ComfyError::File { what: format!("cannot read {}", path.display()), source })?;
        self.upload_bytes(name, bytes).await
    }

    /// [`Client::upload`] of bytes.
    pub async fn upload_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<String, ComfyError> {
        // 64 KB/s is the slowest line that is still waited for.
        let patience = self.patience.request + Duration::from_secs(bytes.len() as u64 / (64 << 10));
        let form = Form::new().part("image", Part::bytes(bytes).file_name(upload_name(name)));
        let url = self.address(&["upload", "image"]);
        let at = format!("POST {url}");
        let request = self.http.post(url).multipart(form).timeout(patience);
        exchange(request, at).await?.ok()?.read(answer::parse_uploaded)
    }

    /// Whether the server has this input, named as a graph names it (`sub/x.png`, `x.png [output]`).
    pub async fn input_exists(&self, name: &str) -> Result<bool, ComfyError> {
        Ok(self.input_size(name).await?.is_some())
    }

    /// How many bytes this input has, where the server has it; 0 where it does not say.
    pub async fn input_size(&self, name: &str) -> Result<Option<u64>, ComfyError> {
        let Some(file) = input_file(name) else {
            return Ok(None);
        };
        let url = self.view_address(&file);
        let at = format!("HEAD {url}");
        let request = self.http.request(Method::HEAD, url).timeout(self.patience.request);
        let (answer, length) = head(request, at).await?;
        match answer.code {
            400 | 404 => Ok(None),
            _ => answer.ok().map(|_| Some(length.unwrap_or(0))),
        }
    }

    pub(super) fn view_address(&self, file: &OutputRef) -> Url {
        let mut url = self.address(&["view"]);
        url.query_pairs_mut()
            .append_pair("filename", &file.filename)
            .append_pair("subfolder", &file.subfolder)
            .append_pair("type", file.kind.name());
        // As the recorded clients write a space; a real `+` is escaped by now.
        let query = url.query().map(|query| query.replace('+', "%20"));
        url.set_query(query.as_deref());
        url
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, ComfyError> {
        let mut url = self.address(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let at = format!("GET {url}");
        exchange(self.http.get(url).timeout(self.patience.request), at).await
    }

    async fn post(&self, path: &[&str], body: &impl Serialize) -> Result<Answer, ComfyError> {
        let url = self.address(path);
        let at = format!("POST {url}");
        exchange(self.http.post(url).json(body).timeout(self.patience.request), at).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::FileKind;
    use super::*;

    fn client(url: &str) -> Client {
        Client::new(url, &BTreeMap::new()).unwrap()
    }

    #[test]
    fn base_paths_and_left_out_schemes_are_respected() {
        let address = |url: &str| client(url).address(&["history", "a b"]).to_string();
        assert_eq!(address("http://127.0.0.1:8188"), "http://127.0.0.1:8188/history/a%20b");
        assert_eq!(address(" https://host/comfy "), "https://host/comfy/history/a%20b");
        assert_eq!(address("https://host/a/comfy/?x=1#y"), "https://host/a/comfy/history/a%20b");
        assert_eq!(address("localhost:8188"), "http://localhost:8188/history/a%20b");
    }

    #[test]
    fn unusable_addresses_and_headers_are_refused_with_words_and_without_secrets() {
        for (url, words) in [
            ("", "not a server address"),
            ("ftp://x", "not a server address"),
            ("http://", "not a server address"),
            ("http://user:secret@host/", "the address of host has a name or password in it"),
        ] {
            let error = Client::new(url, &BTreeMap::new()).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("secret"), "{error}");
        }
        for (name, value) in [("a b", "x"), ("X-Token", "se\ncret"), ("Accept-Encoding", "br")] {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let error = Client::new("http://x", &headers).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("cret"), "{error}");
        }
        let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer secret".to_owned())]);
        let shown = format!("{:?}", Client::new("http://x", &headers).unwrap());
        assert!(shown.contains("http://x/") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn view_names_the_subfolder_apart_and_escapes_both() {
        let file =
            OutputRef {
                filename: "ф &1.png".to_owned(), subfolder: "rec/日本 😀".to_owned(), kind: FileKind::Output
            };
        let url = client("http://h/c/").view_address(&file);
        assert_eq!(
            url.as_str(),
            "http://h/c/view?filename=%D1%84%20%261.png&subfolder=rec%2F%E6%97%A5%E6%9C%AC%20%F0%9F%98%80&type=output"
        );
    }
}
