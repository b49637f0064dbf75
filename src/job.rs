//! A job, its attempts, and the one way its state may change.
//!
//! Pure: no I/O and no clock ("now" comes in with the [`Change`]). [`Job::apply`] is the only
//! place where a state changes; a change that does not fit the state is an [`IllegalChange`],
//! never a silent repair.

mod attempt;
mod change;
mod goal;
mod state;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use attempt::{Attempt, Ending, Mark, Output, Reason, Repaired};
pub use change::{Change, Edit, IllegalChange};
pub use goal::{Enough, Gate, Goal, MOST_TRIES, Pick, TRIES, Variation, Vary, best_known};
pub use state::{CancelledBy, Failure, FailureKind, JobState};

/// A job's number: given once, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Picture size and length of a job's render, where the workflow tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
}

/// Where a job's seed comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedWish {
    /// The job file says it.
    Given(u64),
    /// Left to chance; drawn when the job is taken, and recorded.
    Drawn(u64),
    /// The workflow has no seed.
    None,
}

impl SeedWish {
    pub fn value(self) -> Option<u64> {
        match self {
            Self::Given(seed) | Self::Drawn(seed) => Some(seed),
            Self::None => None,
        }
    }
}

/// The jobs that `repeat`, `sweep` or a list of seeds made of one entry of a job file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The number of its first job.
    pub first: JobId,
    /// How many jobs it has.
    pub of: usize,
    /// The values that only this job has, by slot or input.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

impl Group {
    /// What tells the job from the others: `seed 1 · length 65`.
    pub fn label(&self) -> String {
        let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let one = |(key, it): (&String, &Value)| format!("{key} {}", value(it));
        self.values.iter().map(one).collect::<Vec<_>>().join(" · ")
    }
}

/// One thing to render. Kept in memory by the thousand, so it holds no graph: the text and the
/// filled graph stay in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    pub name: String,
    /// The workflow's name, or the file's for a graph dropped as it is.
    pub workflow: String,
    /// The job file it came from (a row of the store's `files`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<u64>,
    /// Only this server may have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_server: Option<String>,
    #[serde(default)]
    pub priority: i64,
    /// Place in the queue among equals: lower goes first.
    pub rank: i64,
    pub seed: SeedWish,
    #[serde(default)]
    pub shape: Shape,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// Jobs that must be done before it is rendered. (`after` is the state's, of those that are not yet.)
    #[serde(default, rename = "waits_for", skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobId>,
    /// Its graph is posted without being held against what the server says of its nodes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_preflight: bool,
    /// What is tried until it is good enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Box<Goal>>,
    /// What its next attempt has that is not the job's own: the seed and the values of that try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<Pick>,
    /// A person wants no more tries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
    /// What the judge advises is done to its outputs at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repair: bool,
    /// Hash of the filled graph and its inputs' bytes: what makes two jobs the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    pub queued_at: Timestamp,
    /// Why the next attempt will be made.
    pub next_reason: Reason,
    #[serde(flatten)]
    pub state: JobState,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
}

impl Job {
    /// The latest attempt.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// It ran out of memory, and its next try is to have the server for itself.
    pub fn wants_alone(&self) -> bool {
        matches!(self.next_reason, Reason::Retried(_)) && self.attempts.last().is_some_and(Attempt::ran_out_of_memory)
    }

    /// Its latest attempt is such a try.
    pub fn is_alone(&self) -> bool {
        let Some((latest, earlier)) = self.attempts.split_last() else { return false };
        matches!(latest.reason, Reason::Retried(_)) && earlier.last().is_some_and(Attempt::ran_out_of_memory)
    }

    /// Attempts that ended so, since a person last asked for the job or its last try began.
    pub fn tries(&self, ended_so: impl Fn(&Ending) -> bool) -> usize {
        let begins = |a: &Attempt| matches!(a.reason, Reason::Requeued | Reason::NextTry(_));
        let after = self.attempts.iter().rposition(begins).unwrap_or(0);
        let own = self.attempts.get(after..).unwrap_or_default();
        own.iter().filter_map(|a| a.ending.as_ref()).filter(|e| ended_so(e)).count()
    }

    /// The place in the queue: higher priority first, then rank, then age.
    pub fn order(&self) -> (i64, i64, u64) {
        (self.priority.saturating_neg(), self.rank, self.id.0)
    }

    /// What renders of about the same cost share: the key of estimates.
    pub fn kind(&self) -> String {
        let Shape { width, height, length, steps } = self.shape;
        let n = |v: Option<u32>| v.map_or_else(|| "?".to_owned(), |v| v.to_string());
        format!("{} {}x{}x{} {}", self.workflow, n(width), n(height), n(length), n(steps))
    }
}
