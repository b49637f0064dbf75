//! One try at a job: when, where, how it ended, what came out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{CancelledBy, Failure, FailureKind};
use crate::verdict::Measurement;

/// Why an attempt was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    First,
    /// A person asked for it again.
    Requeued,
    /// comfytop tried again by itself; the words say why.
    Retried(String),
    /// The try before it did not pass the job's gate, or the best of several is wanted; the words say which try it is.
    NextTry(String),
}

/// What a person said of an attempt in the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// This one counts, whatever the numbers say.
    Kept,
    /// Its files lie in `outputs/.discarded/`, or are on their way there.
    Discarded,
}

/// A mended copy of an output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repaired {
    /// What was done to it ([`crate::verdict::Repair::word`]).
    pub how: String,
    pub output: Output,
    pub measurement: Measurement,
}

/// One collected file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Relative to the render folder, with `/`.
    pub path: String,
    pub bytes: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Success,
    Failed(Failure),
    Cancelled(CancelledBy),
    /// The server forgot it (it was restarted).
    Lost,
}

/// One try at a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// 1 for the first try.
    pub number: u32,
    /// A lower-case hyphenated UUID that we made.
    pub prompt_id: String,
    /// The server's name.
    pub server: String,
    /// Its address, without user, password and query; empty in attempts of before it was kept. A server may get
    /// another name while it has our prompts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    pub reason: Reason,
    pub submitted_at: Timestamp,
    /// When rendering began. Where `start_seen` is false it began no later than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub start_seen: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// Highest VRAM in use on the device while it ran, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_vram: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<Measurement>,
    /// Mended copies of its outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<Repaired>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// What it has that other tries have not, by slot or input; the seed stands apart.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
    /// What people should know of it: an output that was left out, a partial run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Attempt {
    pub(super) fn ran_out_of_memory(&self) -> bool {
        matches!(&self.ending, Some(Ending::Failed(why)) if why.kind == FailureKind::OutOfMemory)
    }

    /// A person has put it away: its files lie apart, and it counts no more.
    #[must_use]
    pub fn is_discarded(&self) -> bool {
        self.mark == Some(Mark::Discarded)
    }

    /// Rendering time so far, seconds: from the start to the end, or to `now`. `None` before the start.
    pub fn elapsed_s(&self, now: Timestamp) -> Option<f64> {
        let end = self.ended_at.unwrap_or(now);
        self.started_at.map(|start| end.duration_since(start).as_secs_f64().max(0.0))
    }
}
