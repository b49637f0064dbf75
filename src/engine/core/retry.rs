//! What is tried again by itself, and how often: by the kind of failure.
//!
//! Out of memory: nothing else of ours is sent to that server, it is told to free its memory once
//! it is idle, then the job has it for itself. The network is waited for elsewhere, for ever.

use std::time::Duration;

use jiff::Timestamp;

use super::{Effect, State, Timer};
use crate::job::{Change, Ending, Failure, FailureKind, JobId};
use crate::protocol::Level;

/// After its answer to `/free` a server is given this long to do it: a prompt that comes at once is begun first.
const FREEING: Duration = Duration::from_secs(1);

/// How often a job that failed is tried again, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    pub out_of_memory: u32,
    /// Died or restarted under the job.
    pub server: u32,
    pub node: u32,
    pub validation: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Self { out_of_memory: 1, server: 2, node: 0, validation: 0 }
    }
}

impl State {
    /// It failed: once more, where the policy has a try left, else for good.
    pub(super) fn fail(&mut self, id: JobId, why: Failure, now: Timestamp) {
        let Some(job) = self.jobs.get(&id) else { return };
        let most = match why.kind {
            FailureKind::OutOfMemory => self.policy.retries.out_of_memory,
            FailureKind::Node => self.policy.retries.node,
            FailureKind::Validation => self.policy.retries.validation,
            FailureKind::File
            | FailureKind::Server
            | FailureKind::Stalled
            | FailureKind::JobFile
            | FailureKind::After => 0,
        };
        let tried = job.tries(|e| matches!(e, Ending::Failed(earlier) if earlier.kind == why.kind));
        let left = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(tried);
        if left == 0 || !(job.state.is_at_server()) {
            self.change(id, Change::Failed { why, at: now }, now);
            return;
        }
        let again = match why.kind {
            FailureKind::OutOfMemory => {
                "out of memory: once more, alone, after the server has freed its memory".to_owned()
            }
            kind => format!("{}: {}", kind.words(), why.message),
        };
        self.notice(Level::Warning, format!("{id} is tried again: {again}"), now);
        self.change(id, Change::TryAgain { failure: why, at: now, why: again }, now);
    }

    /// A job that wants this server for itself, having run out of its memory.
    pub(super) fn recovering_at(&self, server: usize) -> Option<JobId> {
        self.recovering.iter().copied().find(|id| self.server_of(*id) == Some(server))
    }

    /// The server is idle and has freed its memory; if it is idle only, it is told to.
    pub(super) fn is_ready_for_alone(&mut self, server: usize) -> bool {
        let idle = self.at_server(server).next().is_none();
        let Some(s) = self.servers.get_mut(server) else { return false };
        if !idle || s.remaining > 0 {
            return false;
        }
        if s.freed {
            return true;
        }
        if !s.freeing {
            s.freeing = true;
            self.out.push(Effect::Free { server });
        }
        false
    }

    pub(super) fn freed(&mut self, server: usize, result: Result<(), String>, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        // A link that broke meanwhile asks again.
        if !std::mem::take(&mut s.freeing) {
            return;
        }
        if let Err(why) = result {
            // The job is tried all the same: the server unloads by itself when it runs out of memory.
            tracing::warn!("{} could not be told to free its memory: {why}", s.name);
        }
        s.freed = true;
        s.not_before = Some(super::plus(now, FREEING));
        self.after(now, FREEING, Timer::Room(server));
    }
}
