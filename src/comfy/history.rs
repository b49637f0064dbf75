//! How an attempt ended, from `/history/{id}` or `/api/jobs/{id}`, and the files it left.
//!
//! Pure. Failed and interrupted both say `error`; the last of the status messages tells them
//! apart. A failed job keeps the outputs of nodes that finished before, so outputs are not success.

use serde::Deserialize;
use serde_json::Value;

use super::json::{self, Entries, text, texts};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub ending: Ending,
    pub outputs: Vec<NodeOutput>,
    /// Unix milliseconds of the server's clock: from here to `ended_ms` it was rendering.
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    /// Nodes that did not run because their results were still there.
    pub cached: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Success,
    Error(Failure),
    Interrupted,
}

/// A node raised an exception. Texts are the server's: clean them before showing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    pub node_id: Option<String>,
    pub node_type: Option<String>,
    /// `torch.OutOfMemoryError`, …
    pub exception_type: String,
    /// Without the line break that the server ends it with; may be several lines.
    pub exception_message: String,
    pub traceback: Vec<String>,
}

/// The files under one key (`images`, `audio`, …) of one node's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeOutput {
    pub node_id: String,
    /// Says little: videos come under `images`, too.
    pub key: String,
    pub files: Vec<OutputRef>,
}

/// A file on the server, as `/view` wants it named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutputRef {
    pub filename: String,
    /// Empty, or a path with `/`.
    pub subfolder: String,
    pub kind: FileKind,
}

/// Which of the server's folders. `Temp` files are previews, not results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    Output,
    Temp,
    Input,
}

impl FileKind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Temp => "temp",
            Self::Input => "input",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Output, Self::Temp, Self::Input].into_iter().find(|kind| kind.name() == name)
    }
}

/// `GET /api/jobs/{id}`, answered 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobAnswer {
    Pending,
    Running,
    Ended(History),
    /// A status we don't know, or an end without its outputs: ask `/queue` and `/history`.
    Unclear,
}

/// `{node: {key: value}}` of one node, as `executed` and the histories have it.
pub(super) type Outputs = Entries<Entries<Value>>;

/// Every list of objects with a `filename`. Strings (under `text`), flags (`animated`) and files
/// outside the three folders that `/view` serves are left out.
pub(super) fn files_of(node_id: &str, output: &Entries<Value>) -> Vec<NodeOutput> {
    let of_key = |(key, value): &(String, Value)| {
        let files: Vec<OutputRef> = value.as_array()?.iter().filter_map(file).collect();
        (!files.is_empty()).then(|| NodeOutput { node_id: node_id.to_owned(), key: key.clone(), files })
    };
    output.0.iter().filter_map(of_key).collect()
}

fn file(item: &Value) -> Option<OutputRef> {
    let filename = item.get("filename")?.as_str().filter(|name| !name.is_empty())?.to_owned();
    let subfolder = item.get("subfolder").and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = match item.get("type").and_then(Value::as_str) {
        // `/view` takes a missing type for `output`.
        None => FileKind::Output,
        Some(name) => FileKind::from_name(name)?,
    };
    Some(OutputRef { filename, subfolder, kind })
}

/// What a message about a job carries and we use, in the socket and in a history alike. Inputs and
/// tensors of a failed node are skipped.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub prompt_id: Value,
    pub timestamp: Value,
    pub node_id: Value,
    pub node_type: Value,
    pub nodes: Value,
    exception_type: Value,
    exception_message: Value,
    traceback: Value,
}

impl Event {
    pub fn failure(&self) -> Failure {
        Failure {
            node_id: text(&self.node_id),
            node_type: text(&self.node_type),
            exception_type: text(&self.exception_type).unwrap_or_default(),
            exception_message: text(&self.exception_message).unwrap_or_default().trim_end().to_owned(),
            traceback: texts(&self.traceback),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusWire {
    status_str: Value,
    completed: Value,
    /// `[kind, data]` pairs; data has the keys of the websocket message of that kind.
    messages: Vec<(String, Event)>,
}

impl StatusWire {
    fn event(&self, kinds: &[&str]) -> Option<&(String, Event)> {
        self.messages.iter().rev().find(|(kind, _)| kinds.contains(&kind.as_str()))
    }

    fn history(&self, outputs: &Outputs) -> History {
        let end = self.event(&["execution_success", "execution_error", "execution_interrupted"]);
        let start = self.event(&["execution_start"]);
        let outputs: Vec<NodeOutput> = outputs.0.iter().flat_map(|(node, output)| files_of(node, output)).collect();
        let succeeded = match self.status_str.as_str() {
            Some(word) => word == "success",
            // Never recorded: then a word on completion, or else results, must do.
            None => self.completed.as_bool().unwrap_or(!outputs.is_empty()),
        };
        let ending = match end.map(|(kind, event)| (kind.as_str(), event)) {
            Some(("execution_error", event)) => Ending::Error(event.failure()),
            Some(("execution_interrupted", _)) => Ending::Interrupted,
            _ if succeeded => Ending::Success,
            _ => Ending::Error(Failure {
                exception_message: "the server says `error` and not why".to_owned(),
                ..Failure::default()
            }),
        };
        let cached = self.event(&["execution_cached"]);
        History {
            ending,
            outputs,
            started_ms: start.and_then(|(_, event)| event.timestamp.as_i64()),
            ended_ms: end.and_then(|(_, event)| event.timestamp.as_i64()),
            cached: cached.map(|(_, event)| texts(&event.nodes)).unwrap_or_default(),
        }
    }
}

/// `GET /history/{id}`. `None` is `{}`: pending, running, deleted, lost, or never there.
///
/// # Errors
/// Not a JSON object of histories.
pub fn parse_history(body: &[u8], id: &str) -> Result<Option<History>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        outputs: Outputs,
        #[serde(default)]
        status: Option<StatusWire>,
    }
    let wire: Entries<Wire> = json::parse(body)?;
    let entry = wire.0.into_iter().find(|(key, _)| key == id);
    Ok(entry.map(|(_, entry)| entry.status.unwrap_or_default().history(&entry.outputs)))
}

/// `GET /api/jobs/{id}`, answered 200.
///
/// # Errors
/// Not a JSON object with `status`.
pub fn parse_job(body: &[u8]) -> Result<JobAnswer, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        status: Value,
        #[serde(default)]
        execution_start_time: Value,
        #[serde(default)]
        execution_end_time: Value,
        outputs: Option<Outputs>,
        execution_status: Option<StatusWire>,
    }
    let wire: Wire = json::parse(body)?;
    Ok(match (wire.status.as_str(), wire.outputs, wire.execution_status) {
        (Some("pending"), ..) => JobAnswer::Pending,
        (Some("in_progress"), ..) => JobAnswer::Running,
        (Some(word @ ("completed" | "failed" | "cancelled")), Some(outputs), Some(status)) => {
            let mut history = status.history(&outputs);
            if word == "cancelled" {
                history.ending = Ending::Interrupted;
            }
            history.started_ms = history.started_ms.or(wire.execution_start_time.as_i64());
            history.ended_ms = history.ended_ms.or(wire.execution_end_time.as_i64());
            JobAnswer::Ended(history)
        }
        _ => JobAnswer::Unclear,
    })
}

/// `GET /api/jobs?…`: `None` when the answer is not that of the jobs API.
pub fn parse_jobs(body: &[u8]) -> Option<Vec<JobEntry>> {
    #[derive(Deserialize)]
    struct Wire {
        jobs: Vec<Entries<Value>>,
    }
    let wire: Wire = json::parse(body).ok()?;
    let entry = |job: Entries<Value>| {
        let find = |key: &str| job.0.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        Some(JobEntry {
            prompt_id: find("id").and_then(text)?,
            status: find("status").and_then(text).unwrap_or_default(),
            number: find("priority").and_then(Value::as_f64).unwrap_or(0.0),
        })
    };
    Some(wire.jobs.into_iter().filter_map(entry).collect())
}

/// One line of `GET /api/jobs`.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEntry {
    pub prompt_id: String,
    /// `pending`, `in_progress`, `completed`, `failed`, `cancelled`.
    pub status: String,
    pub number: f64,
}
