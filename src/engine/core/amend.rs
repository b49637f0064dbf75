//! Changes of jobs that a server holds already: they are taken back first, then held or edited.
//!
//! One that began meanwhile goes on as it was, and whoever asked is told.

use jiff::Timestamp;

use super::{Effect, State};
use crate::job::{Change, Edit, JobId, JobState};
use crate::protocol::{Answer, Level};
use crate::store::Write;

/// Jobs that are held once their server has given them back are kept under this key: a hold outlives its engine.
pub const HOLD_KEY: &str = "to_hold";

/// What is done to a job once its server has given it back.
#[derive(Debug, Clone)]
pub(super) enum Then {
    Hold,
    Edit { ask: u64, edit: Box<Edit>, prompt: String },
}

impl State {
    pub(super) fn hold(&mut self, id: JobId, now: Timestamp) -> Result<String, String> {
        let state = self.jobs.get(&id).map(|j| j.state.clone()).ok_or_else(|| format!("there is no job {id}"))?;
        if state.is_pending() && self.server_of(id).is_some() {
            self.when_back.insert(id, Then::Hold);
            self.keep_holds();
            self.take_back(&[id]);
            return Ok("is taken back to be held".to_owned());
        }
        self.change_one(id, &Change::Hold, now)
    }

    fn keep_holds(&mut self) {
        let held = self.when_back.iter().filter(|(_, then)| matches!(then, Then::Hold));
        let mut held: Vec<JobId> = held.map(|(id, _)| *id).collect();
        held.sort_unstable();
        // Plain data is always JSON.
        let value = serde_json::to_string(&held).unwrap_or_default();
        self.out.push(Effect::Write(Write::Meta { key: HOLD_KEY, value }));
    }

    /// What was to be held when the last engine ended: its server is asked for it once more.
    pub(super) fn hold_again(&mut self, jobs: Vec<JobId>) {
        for id in jobs {
            if self.jobs.get(&id).is_some_and(|job| job.state.is_pending()) {
                self.when_back.insert(id, Then::Hold);
                self.taking_back.insert(id);
            }
        }
    }

    pub(super) fn change_one(&mut self, id: JobId, change: &Change, now: Timestamp) -> Result<String, String> {
        let word = self.jobs.get(&id).map(|j| j.state.word()).ok_or_else(|| format!("there is no job {id}"))?;
        if self.change(id, change.clone(), now) {
            Ok(self.jobs.get(&id).map_or(word, |j| j.state.word()).to_owned())
        } else {
            Err(format!("it is {word}"))
        }
    }

    /// Whether a job's text can be changed now; why not.
    pub fn can_edit(&self, id: JobId) -> Result<(), String> {
        let job = self.jobs.get(&id).ok_or_else(|| format!("there is no job {id}"))?;
        match &job.state {
            state if state.is_waiting() || state.is_pending() || state.is_ended() => Ok(()),
            state => Err(format!("it is {}: it can be edited once it has ended", state.word())),
        }
    }

    /// A job's new text was read. Answered when it has taken effect.
    pub(super) fn edited(&mut self, ask: u64, id: JobId, edit: Box<Edit>, prompt: String, now: Timestamp) {
        let pending = self.jobs.get(&id).is_some_and(|j| j.state.is_pending());
        if pending && self.server_of(id).is_some() {
            let earlier = self.when_back.insert(id, Then::Edit { ask, edit, prompt });
            self.not_done(id, earlier.as_ref(), "it was edited again");
            if matches!(earlier, Some(Then::Hold)) {
                self.keep_holds();
            }
            self.take_back(&[id]);
            return;
        }
        let result = self.can_edit(id).map(|()| self.edit(id, edit, prompt, now));
        self.out.push(Effect::Reply { ask, result: Ok(Answer::Each(vec![(id, result)])) });
    }

    fn edit(&mut self, id: JobId, edit: Box<Edit>, prompt: String, now: Timestamp) -> String {
        let ended = self.jobs.get(&id).is_some_and(|j| j.state.is_ended());
        let rank = if ended { self.take_rank() } else { 0 };
        let (print, old) = (edit.fingerprint.clone(), self.jobs.get(&id).and_then(|j| j.fingerprint.clone()));
        if self.change(id, Change::Edit { edit, rank, at: now }, now) {
            self.out.push(Effect::Write(Write::Prompt { job: id, prompt }));
            if ended {
                let file = self.jobs.get(&id).and_then(|j| j.file);
                self.reopen(file);
            }
            if let Some(old) = old.filter(|old| self.fingerprints.get(old) == Some(&id)) {
                self.fingerprints.remove(&old);
            }
            self.fingerprints.entry(print).or_insert(id);
        }
        if ended { "edited, and queued again".to_owned() } else { "edited".to_owned() }
    }

    /// What waited for this job to come back is done, or can't be any more.
    pub(super) fn came_back(&mut self, id: JobId, now: Timestamp) {
        let Some(state) = self.jobs.get(&id).map(|j| j.state.clone()) else { return };
        if state.is_pending() {
            return;
        }
        let Some(then) = self.when_back.remove(&id) else { return };
        if matches!(then, Then::Hold) {
            self.keep_holds();
        }
        match (then, state.is_waiting()) {
            (Then::Hold, true) => {
                self.change(id, Change::Hold, now);
            }
            (Then::Edit { ask, edit, prompt }, true) => {
                let words = self.edit(id, edit, prompt, now);
                self.out.push(Effect::Reply { ask, result: Ok(Answer::Each(vec![(id, Ok(words))])) });
            }
            (Then::Hold, false) => {
                if matches!(state, JobState::Running) {
                    self.notice(Level::Warning, format!("{id} is not held: it had begun"), now);
                }
            }
            (then @ Then::Edit { .. }, false) => {
                let why = format!("it is {} by now, and was not changed", state.word());
                self.not_done(id, Some(&then), &why);
            }
        }
    }

    fn not_done(&mut self, id: JobId, then: Option<&Then>, why: &str) {
        if let Some(Then::Edit { ask, .. }) = then {
            self.out.push(Effect::Reply { ask: *ask, result: Ok(Answer::Each(vec![(id, Err(why.to_owned()))])) });
        }
    }
}
