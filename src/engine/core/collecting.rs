//! From rendered to done: outputs fetched, or found on a server that has forgotten the prompt. Only
//! the fetch is tried again; a new render only where the server says that the file is gone.

use std::time::Duration;

use jiff::Timestamp;

use super::{CollectFailure, Collected, Effect, State, Timer};
use crate::job::{CancelledBy, Change, Ending, Failure, FailureKind, Job, JobId, JobState};
use crate::protocol::Level;

impl State {
    pub(super) fn collect(&mut self, id: JobId) {
        let collecting = matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Collecting));
        let (Some(server), Some(prompt_id)) = (self.server_of(id), self.prompt_of(id)) else { return };
        if collecting && self.is_up(server) && self.collecting.insert(id) {
            self.out.push(Effect::Collect { server, job: id, prompt_id, salvage: false });
        }
    }

    pub(super) fn collected(
        &mut self,
        id: JobId,
        prompt_id: &str,
        result: Result<Collected, CollectFailure>,
        now: Timestamp,
    ) {
        let awaited = self.collecting.remove(&id);
        let Some(state) = self.jobs.get(&id).map(|j| j.state.clone()) else { return };
        if self.prompt_of(id).as_deref() != Some(prompt_id) {
            return;
        }
        let salvaged = matches!(state, JobState::Submitting | JobState::Pending | JobState::Running);
        match result {
            Ok(collected) if salvaged || matches!(state, JobState::Collecting) => {
                // Its server may have lost nothing but its end.
                let recalled = self.taking_back.contains(&id);
                if salvaged {
                    self.keep_peak(id, now);
                    let lost_at = self.server_of(id).and_then(|s| self.servers.get(s)?.lost_at);
                    let started = self.jobs.get(&id).and_then(Job::attempt).and_then(|a| a.started_at);
                    let at = lost_at.max(started).unwrap_or(now);
                    self.change(id, Change::Salvaged { at }, now);
                }
                let Collected { outputs, mut notes, to_measure } = collected;
                if salvaged {
                    let why = if recalled { "its end was not heard" } else { "the server was restarted" };
                    notes.push(format!("{why}; this file was found whole on the server"));
                }
                let measured = outputs.clone();
                self.change(id, Change::Collected { outputs, notes, to_measure }, now);
                if to_measure {
                    let repair = self.jobs.get(&id).is_some_and(|job| job.repair);
                    self.out.push(Effect::Measure { job: id, outputs: measured, repair });
                }
            }
            Err(CollectFailure::Later(why)) if matches!(state, JobState::Collecting) => {
                tracing::warn!("{id}: its files could not be fetched yet: {why}");
                let known = self.troubles.contains_key(&id);
                if !known {
                    self.notice(Level::Warning, format!("{id} is rendered, but can't be fetched yet: {why}"), now);
                }
                self.hold_up(id, format!("can't be fetched yet: {why}"));
                self.after(now, Duration::from_secs(5), Timer::Collect(id));
            }
            // Nothing is sent before it is known, as what goes back to the queue goes first.
            Err(CollectFailure::Later(_)) if salvaged => {
                if let Some(server) = self.server_of(id) {
                    if let Some(s) = self.servers.get_mut(server) {
                        s.surveying.get_or_insert(0);
                    }
                    self.after(now, Duration::from_secs(5), Timer::Survey(server));
                }
            }
            // It turned up meanwhile.
            Err(CollectFailure::Gone(_)) if salvaged && !awaited => {}
            Err(CollectFailure::Gone(why)) => match state {
                JobState::Pending if self.deleted.contains(&id) => {
                    self.change(id, Change::Cancelled { by: CancelledBy::Elsewhere, at: now }, now);
                }
                // It had not begun, so no try is counted.
                JobState::Pending => {
                    self.change(id, Change::TakenBack, now);
                }
                JobState::Submitting if self.taking_back.contains(&id) => {
                    self.change(id, Change::TakenBack, now);
                }
                JobState::Submitting => {
                    if let Some(server) = self.server_of(id) {
                        self.submit_again(server, id, now);
                    }
                }
                JobState::Running | JobState::Collecting => self.lost(id, why, now),
                _ => {}
            },
            _ => {}
        }
        self.stop_if_all_is_back(now);
    }

    /// The server has forgotten it: to the queue again, but not for ever.
    pub(super) fn lost(&mut self, id: JobId, why: String, now: Timestamp) {
        let before = self.jobs.get(&id).map_or(0, |j| j.tries(|e| *e == Ending::Lost));
        let most = usize::try_from(self.policy.retries.server).unwrap_or(usize::MAX);
        if before >= most {
            let message = format!("given up after {} attempts: {why}", before + 1);
            let why = Failure { kind: FailureKind::Server, node: None, message, detail: String::new() };
            self.change(id, Change::Failed { why, at: now }, now);
        } else {
            self.notice(Level::Warning, format!("{id} goes back to the queue: {why}"), now);
            self.change(id, Change::Lost { at: now, why }, now);
        }
    }
}
