//! What can happen to a job, and the one way in which its state changes: [`Job::apply`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Attempt, CancelledBy, Ending, Failure, Goal, Job, JobId, JobState, Mark, Output, Pick, Reason, Repaired, SeedWish,
    Shape,
};
use crate::verdict::Measurement;

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
        measurement: Box<Measurement>,
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
                    a.measurement = Some((**measurement).clone());
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
