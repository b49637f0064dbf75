//! The states of a job, why it failed, and their words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::JobId;

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
