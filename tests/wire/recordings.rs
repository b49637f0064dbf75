//! The recordings, and how to turn what the recorder wrote back into what was on the wire.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// One scenario with one server.
pub struct Recording {
    /// `0.3.64`, `0.33.0` or `gpu-0.3.64`.
    pub folder: String,
    /// `01-image-success`
    pub name: String,
    pub exchanges: Vec<Value>,
}

/// One HTTP exchange.
pub struct Http {
    pub place: String,
    pub method: String,
    /// Without `/api` in front and without a query, except for the jobs API.
    pub path: String,
    pub status: u16,
    pub headers: Value,
    pub response: Value,
}

pub const VERSIONS: [&str; 2] = ["0.3.64", "0.33.0"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire")
}

pub fn all() -> &'static [Recording] {
    static ALL: OnceLock<Vec<Recording>> = OnceLock::new();
    ALL.get_or_init(read)
}

fn read() -> Vec<Recording> {
    let mut all = Vec::new();
    for folder in ["0.3.64", "0.33.0", "gpu-0.3.64"] {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let recording: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            all.push(Recording {
                folder: folder.to_owned(),
                name: file.file_stem().unwrap().to_string_lossy().into_owned(),
                exchanges: recording["exchanges"].as_array().unwrap().clone(),
            });
        }
    }
    assert_eq!(all.len(), 27 + 27 + 3, "a recording is missing");
    all
}

/// The recording whose name starts with `number`.
pub fn one(folder: &str, number: &str) -> &'static Recording {
    all().iter().find(|recording| recording.folder == folder && recording.name.starts_with(number)).unwrap()
}

impl Recording {
    pub fn place(&self, exchange: &Value) -> String {
        format!("{}/{} at {}", self.folder, self.name, exchange["t"])
    }

    pub fn http(&self) -> impl Iterator<Item = Http> {
        self.exchanges.iter().filter_map(|exchange| {
            let http = exchange.get("http")?;
            let path = http["path"].as_str()?;
            let path = path.split('?').next()?;
            let short = path.strip_prefix("/api").filter(|rest| !rest.starts_with("/jobs")).unwrap_or(path);
            Some(Http {
                place: format!("{} {} {path}", self.place(exchange), http["method"]),
                method: http["method"].as_str()?.to_owned(),
                path: short.to_owned(),
                status: u16::try_from(http["status"].as_u64()?).ok()?,
                headers: http["headers"].clone(),
                response: http["response"].clone(),
            })
        })
    }

    /// The messages that `client` received, or all of them.
    pub fn messages(&self, client: Option<&str>) -> Vec<Value> {
        let heard = |exchange: &&Value| client.is_none_or(|client| exchange["client"] == client);
        self.exchanges.iter().filter(heard).filter_map(|exchange| exchange.get("ws").cloned()).collect()
    }
}

/// JSON as ComfyUI writes it: ASCII with `\u` escapes, and the tokens that the recorder had to
/// replace by marks put back.
pub fn on_the_wire(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").unwrap();
            }
        }
    }
    out.replace("\"<bare NaN token on the wire: not valid JSON>\"", "NaN")
        .replace("\"<bare -Infinity token on the wire: not valid JSON>\"", "-Infinity")
        .replace("<lone surrogate U+D800: on the wire as a \\\\u escape>", "\\ud800")
}

/// An answer's body. The recorder shortened some of `/history/{id}`: put the frame back.
pub fn body(http: &Http) -> Vec<u8> {
    let mut response = http.response.clone();
    if let Some(text) = response.get("text").filter(|_| response.as_object().is_some_and(|object| object.len() == 1)) {
        return text.as_str().unwrap().as_bytes().to_vec();
    }
    if response.is_null() {
        return Vec::new();
    }
    if http.path.starts_with("/history/") {
        for entry in response.as_object_mut().into_iter().flatten().map(|(_, entry)| entry) {
            if entry.get("status_str").is_some() {
                *entry = json!({ "status": entry.clone(), "outputs": {} });
            } else if entry.get("outputs").is_none() && entry.get("status").is_none() {
                *entry = json!({ "outputs": entry.clone() });
            }
        }
    }
    on_the_wire(&response).into_bytes()
}

/// Whether the recorder kept enough of this answer for it to mean anything.
pub fn is_whole(http: &Http) -> bool {
    !matches!(&http.response, Value::String(_)) && !http.response.is_array()
}
