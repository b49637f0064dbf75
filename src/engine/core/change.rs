//! How a job changes, and what follows from it for the queue, its server and its file.

use std::time::Duration;

use jiff::Timestamp;

use super::{Effect, OpenFile, SHOWN_PLACES, State, Timer, counts};
use crate::job::{Change, FailureKind, Job, JobId, JobState};
use crate::store::Write;

impl State {
    /// The one way a job changes: applied, written, shown, and its file finished with the last of its jobs.
    pub(super) fn change(&mut self, id: JobId, change: Change, now: Timestamp) -> bool {
        let attempt = self.jobs.get(&id).and_then(Job::attempt);
        let pending_was = attempt.and_then(|a| Some((self.seat(a)?, a.submitted_at)));
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let (before, waited) = (job.order(), job.state.is_waiting());
        let had_prompt = job.attempt().map(|a| a.prompt_id.clone());
        if let Err(error) = job.apply(&change) {
            tracing::warn!("{error}");
            return false;
        }
        self.queue.remove(&before);
        self.recovering.remove(&id);
        let result = match &change {
            Change::Rendered { .. } | Change::Salvaged { .. } => Some(None),
            // What waited failed for what it waited for, or was looked at and never sent.
            Change::Failed { why, .. } if !waited || why.kind == FailureKind::Validation => Some(Some(why.kind)),
            _ => None,
        };
        if matches!(change, Change::TakenBack)
            && let Some((seat, at)) = pending_was
            && let Some(server) = self.servers.get_mut(seat)
        {
            server.pending.remove(&(at, id));
        }
        if matches!(job.state, JobState::Queued) {
            self.queue.insert(job.order());
            if job.wants_alone() {
                self.recovering.insert(id);
            }
        }
        self.reordered |= matches!(job.state, JobState::Queued) || matches!(change, Change::Move { .. });
        let (ended, waiting) = (job.state.is_ended(), job.state.is_waiting());
        let prompt = job.attempt().map(|a| a.prompt_id.clone());
        let job = Box::new(job.clone());
        let file = job.file;
        let at_server = job.state.is_at_server();
        self.out.push(Effect::Write(Write::Job { job, change, at: now }));
        if let Some(old) = had_prompt {
            self.prompts.remove(&old);
        }
        if let Some(new) = prompt
            && !ended
            && !waiting
        {
            self.prompts.insert(new, id);
        }
        if at_server {
            self.held.insert(id);
        } else {
            self.held.remove(&id);
        }
        if let Some(job) = self.jobs.get(&id).filter(|job| counts(job))
            && let Some(print) = job.fingerprint.clone()
            && self.same_as(&print).is_none()
        {
            self.fingerprints.insert(print, id);
        }
        self.dirty_jobs.insert(id);
        self.note_after(id);
        if let Some(server) = self.server_of(id) {
            self.dirty_servers.insert(server);
        }
        if self.note_pending(id) {
            self.place_anew(id);
        }
        if !at_server {
            self.watches.remove(&id);
            self.unsure.remove(&id);
            self.taking_back.remove(&id);
            self.behind.remove(&id);
            self.stalled.remove(&id);
            self.sent.remove(&id);
            self.deleted.remove(&id);
        }
        if !self.when_back.is_empty() {
            self.came_back(id, now);
        }
        if ended || waiting {
            self.nodes.remove(&id);
            self.collecting.remove(&id);
        }
        self.troubles.remove(&id);
        if ended {
            if let Some(file) = file {
                self.finish_file(file, now);
            }
            if !self.waits.is_empty() {
                self.after(now, Duration::ZERO, Timer::Waits);
            }
        }
        if let Some(failed) = result {
            self.count_streak(failed, now);
        }
        true
    }

    /// Keeps the servers' pending lists; true if they changed.
    pub(super) fn note_pending(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else { return false };
        let pending = matches!(job.state, JobState::Pending);
        let Some(attempt) = job.attempt() else { return false };
        let (at, seat) = (attempt.submitted_at, self.seat(attempt));
        let Some(server) = seat.and_then(|seat| self.servers.get_mut(seat)) else { return false };
        if pending { server.pending.insert((at, id)) } else { server.pending.remove(&(at, id)) }
    }

    /// The places behind this job have changed: the rows that show one go out again.
    pub(super) fn place_anew(&mut self, id: JobId) {
        if let Some(server) = self.server_of(id).and_then(|s| self.servers.get(s)) {
            self.dirty_jobs.extend(server.pending.iter().take(SHOWN_PLACES).map(|(_, id)| *id));
        }
    }

    /// New jobs, written already.
    pub(super) fn taken(&mut self, file: OpenFile, jobs: Vec<Job>, now: Timestamp) {
        let id = file.id;
        self.files.insert(id, file);
        for job in jobs {
            self.dirty_jobs.insert(job.id);
            self.remember(job);
        }
        self.finish_file(id, now);
    }

    pub(super) fn finish_file(&mut self, file: u64, now: Timestamp) {
        let Some(open) = self.files.get(&file) else { return };
        let ended = |id: &JobId| self.jobs.get(id).is_none_or(|j| j.state.is_ended());
        if !open.jobs.iter().all(ended) {
            return;
        }
        let Some(open) = self.files.remove(&file) else { return };
        let rows: Vec<_> = open.jobs.iter().filter_map(|id| self.job_row(*id, now)).collect();
        let failed = !rows.iter().all(|r| matches!(r.state, JobState::Done | JobState::Duplicate { .. }));
        self.out.push(Effect::FinishFile { file: open, failed, rows });
    }
}
