//! Where a server has our prompts, and what it means when it has one nowhere: forgotten by a
//! restart, deleted by a person, or not arrived yet.

use std::time::Duration;

use jiff::Timestamp;

use super::{DEAF_OFTEN, DEAF_WITHIN, Effect, Found, Look, State, Timer, since};
use crate::job::{CancelledBy, Change, Job, JobId, JobState};
use crate::protocol::Link;

impl State {
    pub(super) fn looked(&mut self, server: usize, found: Vec<(JobId, String, Look)>, now: Timestamp) {
        let (mut up_since, mut silent) = (now, Duration::ZERO);
        if let Some(s) = self.servers.get_mut(server) {
            s.surveying = false;
            up_since = s.up_since.unwrap_or(now);
            silent = since(now, s.heard_at);
        }
        // A server that still knows what it was given before the link broke was not restarted.
        let older = |id: &JobId| {
            let attempt = self.jobs.get(id).and_then(Job::attempt);
            attempt.is_some_and(|a| a.submitted_at < up_since)
        };
        let remembers = found.iter().any(|(id, _, look)| *look != Look::Unknown && older(id));
        // Something ran or waited there, and is nowhere: it was restarted.
        let began = |id: &JobId| {
            let state = self.jobs.get(id).map(|j| &j.state);
            matches!(state, Some(JobState::Pending | JobState::Running)) && !self.taking_back.contains(id)
        };
        let forgot = found.iter().any(|(id, _, look)| *look == Look::Unknown && older(id) && began(id));
        // Our own end should have been heard.
        if silent >= self.policy.quiet && found.iter().any(|(_, _, look)| matches!(look, Look::Ended { .. })) {
            self.deaf(server, now);
        }
        for (id, prompt, look) in found {
            let current = self.held.contains(&id) && self.prompt_of(id).as_ref() == Some(&prompt);
            let posting = self.servers.get(server).is_some_and(|s| s.posting.contains(&id));
            if current && !posting {
                self.found(server, id, look, remembers, now);
            }
        }
        if forgot && !remembers {
            self.was_restarted(server, now);
        }
        self.stop_if_all_is_back(now);
    }

    pub(super) fn look_failed(&mut self, server: usize, jobs: &[JobId], now: Timestamp) {
        if let Some(s) = self.servers.get_mut(server) {
            s.surveying = false;
        }
        for id in jobs {
            if self.held.contains(id) && self.is_up(server) {
                let cancelling = matches!(self.jobs.get(id).map(|j| &j.state), Some(JobState::Cancelling { .. }));
                let timer = if cancelling { Timer::Cancel(*id) } else { Timer::Look(*id) };
                self.after(now, Duration::from_secs(2), timer);
            }
        }
    }

    pub(super) fn found(&mut self, server: usize, id: JobId, look: Look, remembers: bool, now: Timestamp) {
        let Some(state) = self.jobs.get(&id).map(|j| j.state.clone()) else { return };
        if let Look::Pending { copies } | Look::Running { copies } = look {
            self.unsure.remove(&id);
            // A POST that we took for lost arrived after all: one copy is enough.
            if copies > 1
                && let Some(prompt_id) = self.prompt_of(id)
            {
                self.out.push(Effect::Delete { server, prompt_id });
            }
        }
        let is_pending = matches!(look, Look::Pending { .. });
        match (look, state) {
            (Look::Pending { .. }, JobState::Submitting) => {
                self.change(id, Change::Posted { notes: Vec::new() }, now);
            }
            (Look::Pending { .. } | Look::Running { .. }, JobState::Cancelling { .. }) => {
                self.after(now, Duration::from_secs(5), Timer::Cancel(id));
            }
            (Look::Running { .. }, JobState::Submitting | JobState::Pending) => {
                self.taking_back.remove(&id);
                self.begin(id, now, false);
            }
            (Look::Running { .. }, JobState::Running) => self.begin(id, now, false),
            (Look::Ended { ending, seconds }, _) => self.found_ended(id, ending, seconds, now),
            (Look::Unknown, state) => self.found_nowhere(server, id, &state, remembers, now),
            _ => {}
        }
        if is_pending && self.is_to_come_back(server, id) {
            // It was deleted before it was there, or not at all: once more.
            self.taking_back.insert(id);
            self.after(now, Duration::from_secs(1), Timer::Look(id));
        }
    }

    pub(super) fn found_ended(&mut self, id: JobId, ending: Found, seconds: Option<f64>, now: Timestamp) {
        self.unsure.remove(&id);
        // The end may have been minutes ago; what history gives is how long it took, on the server's clock.
        let start_seen = self.jobs.get(&id).and_then(|j| j.attempt()).is_some_and(|a| a.start_seen);
        let mut at = now;
        if let Some(seconds) = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok()) {
            let began = self.jobs.get(&id).and_then(|j| j.attempt()).and_then(|a| a.started_at).filter(|_| start_seen);
            if let Some(began) = began {
                at = super::plus(began, seconds).min(now);
            } else {
                let began = now.checked_sub(seconds).unwrap_or(now);
                self.change(id, Change::Started { at: began, seen: true }, now);
            }
        }
        match ending {
            Found::Success => {
                // Heard too late to learn node by node.
                self.keep_peak(id, now);
                self.watches.remove(&id);
                self.rendered(id, at, now);
                self.collect(id);
            }
            Found::Failed { node, why } => self.failed(id, node.as_deref(), why, now),
            Found::Interrupted => self.interrupted(id, now),
        }
    }

    /// The server answers, and has the id nowhere.
    pub(super) fn found_nowhere(
        &mut self,
        server: usize,
        id: JobId,
        state: &JobState,
        remembers: bool,
        now: Timestamp,
    ) {
        let submitted = self.jobs.get(&id).and_then(|j| j.attempt()).map(|a| a.submitted_at);
        let up_since = self.servers.get(server).and_then(|s| s.up_since);
        let unbroken = up_since.zip(submitted).is_some_and(|(up, submitted)| up <= submitted);
        // A POST whose answer never came may still arrive.
        let grace = self.unsure.get(&id).map(|(asked, _)| self.policy.post_grace.saturating_sub(since(now, *asked)));
        let grace = grace.filter(|left| !left.is_zero());
        match state {
            JobState::Submitting if self.taking_back.contains(&id) => {
                if let Some(left) = grace.filter(|_| self.stopping.is_none()) {
                    self.after(now, left, Timer::Look(id));
                } else if grace.is_some() {
                    // It keeps its id: the next engine looks for it before it is posted again.
                    self.taking_back.remove(&id);
                } else {
                    self.change(id, Change::TakenBack, now);
                }
            }
            JobState::Submitting => {
                let (asked, _) = *self.unsure.entry(id).or_insert((now, 0));
                let waited = since(now, asked);
                if waited >= self.policy.post_grace {
                    self.salvage(server, id);
                } else {
                    self.after(now, self.policy.post_grace.saturating_sub(waited), Timer::Look(id));
                }
            }
            JobState::Pending if self.taking_back.contains(&id) => {
                self.change(id, Change::TakenBack, now);
            }
            JobState::Pending if unbroken || remembers => {
                self.change(id, Change::Cancelled { by: CancelledBy::Elsewhere, at: now }, now);
            }
            // Its file may be whole all the same: look before rendering again.
            JobState::Pending | JobState::Running => self.salvage(server, id),
            JobState::Cancelling { .. } => match grace {
                Some(left) => self.after(now, left, Timer::Cancel(id)),
                None => {
                    self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
                }
            },
            _ => {}
        }
    }

    /// The server has forgotten it: sees whether its file is there.
    pub(super) fn salvage(&mut self, server: usize, id: JobId) {
        if self.collecting.insert(id)
            && let Some(prompt_id) = self.prompt_of(id)
        {
            self.out.push(Effect::Collect { server, job: id, prompt_id, salvage: true });
        }
    }

    /// The websocket answers pings and tells nothing: connect anew. One that stays deaf (a foreign
    /// twin with our clientId) is left alone for a while, and the server asked instead.
    pub(super) fn deaf(&mut self, server: usize, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        while s.deaf_at.front().is_some_and(|at| since(now, *at) > DEAF_WITHIN) {
            s.deaf_at.pop_front();
        }
        if s.deaf_at.len() >= DEAF_OFTEN {
            if let Link::Up { heard, .. } = &mut s.link {
                *heard = false;
            }
            self.dirty_servers.insert(server);
            self.survey(server, now);
            return;
        }
        s.deaf_at.push_back(now);
        self.out.push(Effect::Reconnect { server });
    }
}
