//! A job, its attempts, and the one way its state may change.
//!
//! Pure: no I/O and no clock ("now" comes in with the [`Change`]). [`Job::apply`] is the only
//! place where a state changes; a change that does not fit the state is an [`IllegalChange`],
//! never a silent repair.

mod goal;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::verdict::Measurement;

pub use goal::{Enough, Gate, Goal, MOST_TRIES, Pick, TRIES, Variation, Vary, best_known};

/// A job's number: given once, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Who ended a job that was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledBy {
    /// A person, through comfytop.
    You,
    /// Somebody else, at the server (its own page, another script).
    Elsewhere,
}

/// Why something failed, for people: one line, and the long text behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// The node's title (or class and id), where one is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// One line.
    pub message: String,
    /// Traceback, server's words, an excerpt of the file: several lines, may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    OutOfMemory,
    /// A node raised an exception.
    Node,
    /// The server refused the prompt.
    Validation,
    /// A file that the job needs, or its output, could not be had.
    File,
    /// The server died or was restarted under the job, too often.
    Server,
    /// It rendered without a step for too long, and was interrupted.
    Stalled,
    /// The job file itself is at fault.
    JobFile,
    /// A job that it waited for was not done.
    After,
}

/// Where a job stands. The words of [`JobState::word`] are what people and JSON see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    Held,
    /// Waits for other jobs to end.
    Waiting {
        after: Vec<JobId>,
    },
    Queued,
    /// The attempt's `prompt_id` is stored; a POST may be on its way or may have arrived.
    Submitting,
    /// The server has it in its queue.
    Pending,
    Running,
    /// Rendered; its files are being fetched.
    Collecting,
    Measuring,
    Done,
    /// We asked the server to stop it; it has not agreed yet.
    Cancelling {
        since: Timestamp,
    },
    Cancelled {
        by: CancelledBy,
    },
    Failed {
        why: Failure,
    },
    /// The job file could not be turned into a prompt.
    Rejected {
        why: Failure,
    },
    Duplicate {
        of: JobId,
    },
}

impl FailureKind {
    /// In two or three words, for notices: `3 jobs in a row: out of memory`.
    pub fn words(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out of memory",
            Self::Node => "a node failed",
            Self::Validation => "refused by the server",
            Self::File => "a file could not be had",
            Self::Server => "the server was lost",
            Self::Stalled => "no step for too long",
            Self::JobFile => "bad job file",
            Self::After => "what it waited for was not done",
        }
    }
}

impl JobState {
    /// The word for this state, on screen and as `state` in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Waiting { .. } => "waiting",
            Self::Queued => "queued",
            Self::Submitting => "submitting",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Collecting => "collecting",
            Self::Measuring => "measuring",
            Self::Done => "done",
            Self::Cancelling { .. } => "cancelling",
            Self::Cancelled { .. } => "cancelled",
            Self::Failed { .. } => "failed",
            Self::Rejected { .. } => "rejected",
            Self::Duplicate { .. } => "duplicate",
        }
    }

    /// The same in a sentence: `has failed`, `is done`.
    pub fn said(&self) -> String {
        match self {
            Self::Failed { .. } => "has failed".to_owned(),
            Self::Rejected { .. } => "was rejected".to_owned(),
            Self::Cancelled { .. } => "was cancelled".to_owned(),
            Self::Duplicate { of } => format!("is a duplicate of {of}"),
            other => format!("is {}", other.word()),
        }
    }

    /// Nothing more will happen to it unless somebody asks.
    pub fn is_ended(&self) -> bool {
        matches!(
            self,
            Self::Done | Self::Cancelled { .. } | Self::Failed { .. } | Self::Rejected { .. } | Self::Duplicate { .. }
        )
    }

    /// A server has it, or may have it.
    pub fn is_at_server(&self) -> bool {
        matches!(self, Self::Submitting | Self::Pending | Self::Running | Self::Cancelling { .. })
    }

    /// A server may have it in its queue, and has not begun it as far as is known.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Submitting | Self::Pending)
    }

    /// It has not been sent to a server.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Held | Self::Waiting { .. } | Self::Queued)
    }
}

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
    fn ran_out_of_memory(&self) -> bool {
        matches!(&self.ending, Some(Ending::Failed(why)) if why.kind == FailureKind::OutOfMemory)
    }

    /// Rendering time so far, seconds: from the start to the end, or to `now`. `None` before the start.
    pub fn elapsed_s(&self, now: Timestamp) -> Option<f64> {
        let end = self.ended_at.unwrap_or(now);
        self.started_at.map(|start| end.duration_since(start).as_secs_f64().max(0.0))
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

/// What an edit replaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    pub name: String,
    pub workflow: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_server: Option<String>,
    pub priority: i64,
    pub seed: SeedWish,
    #[serde(default)]
    pub shape: Shape,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Box<Goal>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repair: bool,
    pub fingerprint: String,
}

/// What can happen to a job. Each is written to the store's log as it is applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A new attempt is recorded; its POST may go out after this is stored.
    Submit {
        attempt: Box<Attempt>,
    },
    /// The server has it in its queue.
    Posted {
        notes: Vec<String>,
    },
    /// It is about to be deleted at its server, to be queued again: from here on nobody knows whether it is there.
    Recall,
    /// It never ran and no server has it: back to the queue, and the try does not count.
    TakenBack,
    /// Rendering began at `at`, or (not `seen`) no later than that.
    Started {
        at: Timestamp,
        seen: bool,
    },
    /// A server that forgot it still had its file. It rendered at least until `at`.
    Salvaged {
        at: Timestamp,
    },
    /// Rendering ended well.
    Rendered {
        at: Timestamp,
    },
    Collected {
        outputs: Vec<Output>,
        notes: Vec<String>,
        to_measure: bool,
    },
    /// What its outputs are like; with `next` another try is made.
    Measured {
        measurement: Measurement,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        repaired: Vec<Repaired>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Pick>,
    },
    /// A person wants no more tries: it is done with the best of those that were made.
    Settle,
    /// A person marks an attempt, or takes that back. The files of a discarded one are moved after this is stored.
    Mark {
        attempt: u32,
        mark: Option<Mark>,
    },
    /// Files of an attempt lie elsewhere: from, to.
    Moved {
        attempt: u32,
        files: Vec<(String, String)>,
    },
    /// A mended copy was made of an output.
    Repaired {
        attempt: u32,
        repaired: Box<Repaired>,
    },
    /// A person wants it gone.
    Cancel {
        at: Timestamp,
    },
    /// It is gone.
    Cancelled {
        by: CancelledBy,
        at: Timestamp,
    },
    Failed {
        why: Failure,
        at: Timestamp,
    },
    /// The server forgot it: to the queue again.
    Lost {
        at: Timestamp,
        why: String,
    },
    /// An interrupt of ours hit it by mistake, or the like: to the queue again.
    Retry {
        at: Timestamp,
        why: String,
    },
    /// It failed, and the policy gives it another try: to the queue again.
    TryAgain {
        failure: Failure,
        at: Timestamp,
        why: String,
    },
    /// A person wants it once more.
    Requeue {
        seed: SeedWish,
        rank: i64,
        at: Timestamp,
    },
    /// A person changed what it is to render. One that waits stays where it is; one that has ended is
    /// queued again, at this rank.
    Edit {
        edit: Box<Edit>,
        rank: i64,
        at: Timestamp,
    },
    /// Its place in the queue.
    Move {
        priority: i64,
        rank: i64,
    },
    /// Another rank, and the same place: room was made between others.
    Rerank {
        rank: i64,
    },
    Hold,
    Release,
    /// These must be done first.
    Wait {
        after: Vec<JobId>,
    },
    /// What it waited for is done.
    Ready,
    /// Highest VRAM seen while it ran.
    Peak {
        vram: u64,
    },
}

/// A change that does not fit the job's state.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("job {id} is {state}: `{change}` does not apply")]
pub struct IllegalChange {
    pub id: JobId,
    pub state: &'static str,
    pub change: &'static str,
}

impl Change {
    /// The change's name, for logs and errors.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Submit { .. } => "submit",
            Self::Posted { .. } => "posted",
            Self::Recall => "recall",
            Self::TakenBack => "taken back",
            Self::Started { .. } => "started",
            Self::Rendered { .. } => "rendered",
            Self::Salvaged { .. } => "salvaged",
            Self::Collected { .. } => "collected",
            Self::Measured { .. } => "measured",
            Self::Settle => "settle",
            Self::Mark { .. } => "mark",
            Self::Moved { .. } => "moved",
            Self::Repaired { .. } => "repaired",
            Self::Cancel { .. } => "cancel",
            Self::Cancelled { .. } => "cancelled",
            Self::Failed { .. } => "failed",
            Self::Lost { .. } => "lost",
            Self::Retry { .. } => "retry",
            Self::TryAgain { .. } => "try again",
            Self::Requeue { .. } => "requeue",
            Self::Edit { .. } => "edit",
            Self::Move { .. } => "move",
            Self::Rerank { .. } => "rerank",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Wait { .. } => "wait",
            Self::Ready => "ready",
            Self::Peak { .. } => "peak",
        }
    }
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

    /// Applies one change, or says why it does not fit. On an error nothing is changed.
    pub fn apply(&mut self, change: &Change) -> Result<(), IllegalChange> {
        use JobState as S;
        let illegal = IllegalChange { id: self.id, state: self.state.word(), change: change.word() };
        match (&self.state, change) {
            (S::Queued, Change::Submit { attempt }) => {
                self.attempts.push((**attempt).clone());
                self.state = S::Submitting;
            }
            (S::Submitting | S::Cancelling { .. }, Change::Posted { notes }) => {
                if matches!(self.state, S::Submitting) {
                    self.state = S::Pending;
                }
                self.latest(|a| a.notes.extend(notes.iter().cloned()));
            }
            // Its start, or its end, was heard before the answer to its POST.
            (S::Running | S::Collecting | S::Measuring | S::Done, Change::Posted { notes }) => {
                self.latest(|a| a.notes.extend(notes.iter().cloned()));
            }
            (S::Pending, Change::Recall) => self.state = S::Submitting,
            (S::Submitting | S::Pending, Change::TakenBack) => {
                self.attempts.pop();
                self.state = S::Queued;
            }
            (S::Submitting | S::Pending | S::Running | S::Cancelling { .. }, Change::Started { at, seen }) => {
                if !matches!(self.state, S::Cancelling { .. }) {
                    self.state = S::Running;
                }
                self.latest(|a| {
                    if a.started_at.is_none() || (*seen && !a.start_seen) {
                        a.started_at = Some(*at);
                        a.start_seen = *seen;
                    }
                });
            }
            (s, Change::Salvaged { at }) if s.is_at_server() => {
                self.close(*at, Ending::Success);
                self.latest(|a| a.start_seen = false);
                self.state = S::Collecting;
            }
            (s, Change::Rendered { at }) if s.is_at_server() => {
                self.close(*at, Ending::Success);
                self.state = S::Collecting;
            }
            (S::Collecting, Change::Collected { outputs, notes, to_measure }) => {
                self.latest(|a| {
                    a.outputs.clone_from(outputs);
                    a.notes.extend(notes.iter().cloned());
                });
                self.state = if *to_measure { S::Measuring } else { S::Done };
            }
            (S::Measuring, Change::Measured { measurement, repaired, next }) => {
                self.latest(|a| {
                    a.measurement = Some(measurement.clone());
                    a.repaired.clone_from(repaired);
                });
                self.go_on(next.as_ref());
            }
            (S::Measuring, Change::Settle) if self.goal.is_some() => self.settled = true,
            (S::Held | S::Waiting { .. } | S::Queued, Change::Cancel { .. }) => {
                self.state = S::Cancelled { by: CancelledBy::You };
            }
            (S::Submitting | S::Pending | S::Running, Change::Cancel { at }) => {
                self.state = S::Cancelling { since: *at };
            }
            (s, Change::Cancelled { by, at }) if s.is_at_server() || matches!(s, S::Collecting) => {
                let by = *by;
                self.close(*at, Ending::Cancelled(by));
                self.state = S::Cancelled { by };
            }
            (s, Change::Failed { why, at }) if s.is_at_server() || matches!(s, S::Collecting) => {
                self.close(*at, Ending::Failed(why.clone()));
                self.state = S::Failed { why: why.clone() };
            }
            (s, Change::Failed { why, .. }) if s.is_waiting() => {
                self.state = S::Failed { why: why.clone() };
            }
            (S::Submitting | S::Pending | S::Running | S::Collecting, Change::Lost { at, why }) => {
                self.close(*at, Ending::Lost);
                self.next_reason = Reason::Retried(why.clone());
                self.state = S::Queued;
            }
            (S::Submitting | S::Pending | S::Running | S::Failed { .. }, Change::Retry { at, why }) => {
                self.close(*at, Ending::Cancelled(CancelledBy::You));
                self.next_reason = Reason::Retried(why.clone());
                self.state = S::Queued;
            }
            (s, Change::TryAgain { failure, at, why }) if s.is_at_server() || matches!(s, S::Collecting) => {
                self.close(*at, Ending::Failed(failure.clone()));
                self.next_reason = Reason::Retried(why.clone());
                self.state = S::Queued;
            }
            (_, Change::Peak { vram }) if !self.attempts.is_empty() => {
                let vram = *vram;
                self.latest(|a| a.peak_vram = Some(a.peak_vram.unwrap_or(0).max(vram)));
            }
            (_, Change::Mark { .. } | Change::Moved { .. } | Change::Repaired { .. }) => {
                return if self.note(change) { Ok(()) } else { Err(illegal) };
            }
            _ => return if self.steer(change) { Ok(()) } else { Err(illegal) },
        }
        Ok(())
    }

    /// Measured: it is done, or the next try is queued.
    fn go_on(&mut self, next: Option<&Pick>) {
        self.state = match next {
            None => JobState::Done,
            Some(pick) => {
                self.next_reason = Reason::NextTry(self.lacked());
                self.take_pick(Some(pick.clone()));
                JobState::Queued
            }
        };
    }

    /// What people do to a job that is at no server, or only waits at one. False where it does not fit.
    fn steer(&mut self, change: &Change) -> bool {
        use JobState as S;
        match (&self.state, change) {
            (s, Change::Edit { edit, rank, at }) if s.is_waiting() || s.is_ended() => {
                let was_over = s.is_ended();
                if was_over {
                    self.rank = *rank;
                    self.queued_at = *at;
                    self.state = S::Queued;
                }
                // What was tried before was another thing.
                if was_over || (self.goal.is_some() && !self.round().is_empty()) {
                    self.next_reason = if self.attempts.is_empty() { Reason::First } else { Reason::Requeued };
                }
                self.take_over(edit);
            }
            (s, Change::Rerank { rank }) if s.is_waiting() || s.is_pending() => self.rank = *rank,
            (s, Change::Move { priority, rank }) if s.is_waiting() || s.is_pending() => {
                self.priority = *priority;
                self.rank = *rank;
            }
            (s, Change::Requeue { seed, rank, at }) if s.is_ended() && !matches!(s, S::Rejected { .. }) => {
                self.seed = *seed;
                self.take_pick(None);
                self.rank = *rank;
                self.queued_at = *at;
                self.next_reason = if self.attempts.is_empty() { Reason::First } else { Reason::Requeued };
                self.state = S::Queued;
            }
            (S::Queued | S::Waiting { .. }, Change::Hold) => self.state = S::Held,
            (S::Held, Change::Release) | (S::Waiting { .. }, Change::Ready) => self.state = S::Queued,
            (S::Queued | S::Waiting { .. }, Change::Wait { after }) => {
                self.state = S::Waiting { after: after.clone() };
            }
            _ => return false,
        }
        true
    }

    /// What becomes of an attempt after it is over, whatever the job does. False where there is no such attempt.
    fn note(&mut self, change: &Change) -> bool {
        let (Change::Mark { attempt, .. } | Change::Moved { attempt, .. } | Change::Repaired { attempt, .. }) = change
        else {
            return false;
        };
        // One that is under way has nothing to be judged by.
        let is_over = |a: &Attempt| a.ending.is_some() && !a.outputs.is_empty();
        let Some(at) = self.attempts.iter().position(|a| a.number == *attempt && is_over(a)) else { return false };
        if matches!(change, Change::Mark { mark: Some(Mark::Kept), .. }) {
            // One of a job's attempts can be the one that counts.
            let kept = self.attempts.iter_mut().filter(|a| a.mark == Some(Mark::Kept));
            kept.for_each(|a| a.mark = None);
        }
        let Some(one) = self.attempts.get_mut(at) else { return false };
        match change {
            Change::Mark { mark, .. } => one.mark = *mark,
            Change::Moved { files, .. } => {
                let copies = one.repaired.iter_mut().map(|repaired| &mut repaired.output);
                for output in one.outputs.iter_mut().chain(copies) {
                    if let Some((_, to)) = files.iter().find(|(from, _)| *from == output.path) {
                        output.path.clone_from(to);
                    }
                }
            }
            Change::Repaired { repaired, .. } => one.repaired.push((**repaired).clone()),
            _ => {}
        }
        true
    }

    fn take_over(&mut self, edit: &Edit) {
        let Edit { name, workflow, only_server, priority, seed, shape, note, tags, after, goal, repair, fingerprint } =
            edit.clone();
        self.goal = goal;
        self.take_pick(None);
        self.repair = repair;
        self.name = name;
        self.workflow = workflow;
        self.only_server = only_server;
        self.priority = priority;
        self.seed = seed;
        self.shape = shape;
        self.note = note;
        self.tags = tags;
        self.after = after;
        self.fingerprint = Some(fingerprint);
    }

    /// The next try begins, or the first one of a round.
    fn take_pick(&mut self, pick: Option<Pick>) {
        self.settled = false;
        self.pick = pick;
        if let Some(variation) = self.varied() {
            self.shape = variation.shape;
        }
    }

    fn latest(&mut self, edit: impl FnOnce(&mut Attempt)) {
        if let Some(attempt) = self.attempts.last_mut() {
            edit(attempt);
        }
    }

    /// Ends the latest attempt, unless it has ended already.
    fn close(&mut self, at: Timestamp, ending: Ending) {
        self.latest(|a| {
            if a.ended_at.is_none() {
                a.ended_at = Some(at);
            }
            a.ending = Some(ending);
        });
    }
}
