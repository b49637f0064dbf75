//! Whether work is sent: pauses and drains, whose they are, and their words.
//!
//! Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::FailureKind;
use crate::text::size_words;

/// Whether the engine, or a server, gets new work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "flow", rename_all = "snake_case")]
pub enum Flow {
    #[default]
    Going,
    /// Nothing more is submitted; what a server has ends, then it is paused.
    Draining {
        since: Timestamp,
    },
    Paused {
        since: Timestamp,
        cause: Cause,
    },
}

/// Why something is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// A person said so.
    You,
    /// A person said so, and what ran has ended.
    Drained,
    /// The engine, or the server, was restarted, and the config says `after_restart = "pause"`.
    Restarted,
    /// So many jobs failed in a row, all in the same way.
    Failures { kind: FailureKind, count: u32 },
    /// Bytes free on the disk, and how many there must be.
    Disk { free: u64, least: u64 },
}

impl Flow {
    pub fn goes(&self) -> bool {
        matches!(self, Self::Going)
    }

    pub fn is_paused(&self) -> bool {
        matches!(self, Self::Paused { .. })
    }

    /// `paused`, `draining`; empty while it goes.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Going => "",
            Self::Draining { .. } => "draining",
            Self::Paused { .. } => "paused",
        }
    }

    /// Paused, and by no person: `p` and `resume` lift that of a server along with that of the engine.
    pub fn is_paused_by_itself(&self) -> bool {
        matches!(self, Self::Paused { cause, .. } if cause.words().is_some())
    }

    /// `paused: it was restarted`, `paused by hand`; empty while it goes.
    pub fn words(&self) -> String {
        match self {
            Self::Going | Self::Draining { .. } => self.word().to_owned(),
            Self::Paused { cause: Cause::You, .. } => "paused by hand".to_owned(),
            Self::Paused { cause: Cause::Drained, .. } => "paused, drained".to_owned(),
            Self::Paused { .. } => format!("paused: {}", self.why().unwrap_or_default()),
        }
    }

    /// Why it was paused, where no person did it.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Paused { cause, .. } => cause.words(),
            _ => None,
        }
    }
}

impl Cause {
    fn words(&self) -> Option<String> {
        match self {
            Self::You | Self::Drained => None,
            Self::Restarted => Some("it was restarted".to_owned()),
            Self::Failures { kind, count } => Some(format!("{count} jobs failed in a row: {}", kind.words())),
            Self::Disk { free, least } => {
                Some(format!("only {} free on the disk, min_free is {}", size_words(*free), size_words(*least)))
            }
        }
    }
}
