//! Where a server has our prompts, and what it means when it has one nowhere: forgotten by a
//! restart, deleted by a person, or not arrived yet.

use std::time::Duration;

use jiff::Timestamp;

use super::{DEAF_OFTEN, DEAF_WITHIN, Effect, Found, Look, Sent, State, Timer, since};
use crate::job::{CancelledBy, Change, JobId, JobState};
use crate::protocol::Link;

/// What is known beside a prompt's absence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    /// The server still has what it was given no later: it was not restarted since.
    remembers: bool,
    /// We deleted it before it began.
    deleted: bool,
}

impl State {
    pub(super) fn looked(&mut self, server: usize, asked: u64, found: Vec<(JobId, String, Look)>, now: Timestamp) {
        let mut silent = Duration::ZERO;
        if let Some(s) = self.servers.get_mut(server) {
            s.surveying.take_if(|survey| *survey == asked);
            silent = since(now, s.heard_at);
        }
        let known: Vec<JobId> =
            found.iter().filter(|(_, _, look)| *look != Look::Unknown).map(|(id, ..)| *id).collect();
        for id in &known {
            if let Some(sent) = self.sent.get_mut(id).filter(|sent| sent.before == u64::MAX) {
                self.takings += 1;
                sent.before = self.takings;
            }
        }
        // A server that still knows what it was given no later was not restarted since.
        let oldest = known.iter().filter_map(|id| self.sent.get(id)).map(|sent| sent.before).min();
        // Something ran or waited there, and is nowhere: it was restarted.
        let links = self.servers.get(server).map_or(0, |s| s.links);
        let forgot = found.iter().any(|(id, _, look)| {
            let state = self.jobs.get(id).map(|j| &j.state);
            let began = matches!(state, Some(JobState::Pending | JobState::Running));
            let sent = self.sent.get(id).filter(|sent| sent.link != links);
            let remembers = |sent: &Sent| oldest.is_some_and(|oldest| oldest <= sent.after);
            *look == Look::Unknown && began && sent.is_some_and(|sent| !remembers(sent))
        });
        // Our own end should have been heard.
        if silent >= self.policy.quiet && found.iter().any(|(_, _, look)| matches!(look, Look::Ended { .. })) {
            self.deaf(server, now);
        }
        for (id, prompt, look) in found {
            let current = self.held.contains(&id) && self.prompt_of(id).as_ref() == Some(&prompt);
            let posting = self.servers.get(server).is_some_and(|s| s.posting.contains(&id));
            let remembers = oldest.zip(self.sent.get(&id)).is_some_and(|(oldest, sent)| oldest <= sent.after);
            // Asked before the latest POST could have arrived.
            let is_old = look == Look::Unknown && self.sent.get(&id).is_some_and(|sent| asked <= sent.looks);
            if current && !posting && !is_old {
                self.found(server, id, look, remembers, now);
            }
        }
        if forgot {
            self.was_restarted(server, now);
        }
        self.stop_if_all_is_back(now);
    }

    pub(super) fn look_failed(&mut self, server: usize, asked: u64, jobs: &[JobId], now: Timestamp) {
        if self.servers.get(server).is_some_and(|s| s.surveying == Some(asked)) {
            self.after(now, Duration::from_secs(2), Timer::Survey(server));
            return;
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
            self.is_there(id);
            // A POST that we took for lost arrived after all: one copy is enough.
            if copies > 1
                && let Some(prompt_id) = self.prompt_of(id)
            {
                self.out.push(Effect::Delete { server, prompt_id });
            }
        }
        let is_pending = matches!(look, Look::Pending { .. });
        let deleted = look == Look::Deleted;
        match (look, state) {
            // Said before it was deleted, or it was deleted before it came: it stays recalled.
            (Look::Pending { .. }, JobState::Submitting)
                if self.taking_back.contains(&id) || self.stopping.is_some() => {}
            (Look::Pending { .. }, JobState::Submitting) => {
                self.change(id, Change::Posted { notes: Vec::new() }, now);
            }
            // Cancelled by an engine that is no more; this one has not asked yet.
            (Look::Pending { .. } | Look::Running { .. }, JobState::Cancelling { .. })
                if !self.timers.iter().any(|(_, timer)| *timer == Timer::Cancel(id)) =>
            {
                self.after(now, Duration::ZERO, Timer::Cancel(id));
            }
            (Look::Running { .. }, JobState::Submitting | JobState::Pending) => {
                self.taking_back.remove(&id);
                self.begin(id, now, false);
            }
            (Look::Running { .. }, JobState::Running) => self.begin(id, now, false),
            (Look::Ended { ending, seconds }, _) => self.found_ended(id, ending, seconds, now),
            (Look::Deleted, JobState::Pending) => {
                self.change(id, Change::TakenBack, now);
            }
            (Look::Unknown | Look::Deleted, state) => {
                let evidence = Evidence { remembers, deleted };
                self.found_nowhere(server, id, &state, evidence, now);
            }
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
        evidence: Evidence,
        now: Timestamp,
    ) {
        let link = self.servers.get(server).map(|s| s.links);
        let unbroken = link.is_some_and(|link| self.sent.get(&id).is_some_and(|sent| sent.link == link));
        // A POST whose answer never came may still arrive.
        let grace = self.unsure.get(&id).map(|(asked, _)| self.policy.post_grace.saturating_sub(since(now, *asked)));
        let grace = grace.filter(|left| !left.is_zero());
        match state {
            JobState::Submitting if self.taking_back.contains(&id) => {
                // It came once, and is gone.
                let once = self.sent.get(&id).is_some_and(|sent| !sent.again && sent.link != 0);
                if evidence.deleted && once {
                    self.change(id, Change::TakenBack, now);
                } else if let Some(left) = grace.filter(|_| self.stopping.is_none()) {
                    self.after(now, left, Timer::Look(id));
                } else if grace.is_some() {
                    // It keeps its id: the next engine looks for it before it is posted again.
                    self.taking_back.remove(&id);
                } else if evidence.deleted {
                    self.change(id, Change::TakenBack, now);
                } else {
                    // It may have been rendered unheard, and its history be late, or gone with its process.
                    self.salvage(server, id);
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
            JobState::Pending if evidence.remembers => {
                self.deleted.insert(id);
                self.salvage(server, id);
            }
            // One that died and stood up again at once: the websocket may not have noticed yet.
            JobState::Pending if unbroken => {
                if let Some(s) = self.servers.get_mut(server) {
                    s.pings += 1;
                    s.doubted.insert(id, s.pings);
                    self.out.push(Effect::Ping { server, token: s.pings });
                }
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

    /// The server has it after all: what is being looked for in its place no longer matters.
    pub(super) fn is_there(&mut self, id: JobId) {
        if self.held.contains(&id) {
            self.collecting.remove(&id);
            self.deleted.remove(&id);
            // A question that is still on its way may have come before it arrived.
            if let Some(sent) = self.sent.get_mut(&id) {
                sent.looks = self.looks;
            }
        }
    }

    /// The process that answers is the one that had them: a person has deleted what it has no longer.
    pub(super) fn is_the_same(&mut self, server: usize, token: u64, now: Timestamp) {
        let Some(s) = self.servers.get(server) else { return };
        let answered: Vec<_> = s.doubted.iter().filter(|(_, ping)| **ping <= token).map(|(id, _)| *id).collect();
        for id in answered {
            if let Some(s) = self.servers.get_mut(server) {
                s.doubted.remove(&id);
            }
            let pending = matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Pending));
            if pending && self.server_of(id) == Some(server) {
                let evidence = Evidence { remembers: true, deleted: false };
                self.found_nowhere(server, id, &JobState::Pending, evidence, now);
            }
        }
    }

    /// The order in which servers took what an earlier engine sent them: that of sending, as far as is known.
    pub(super) fn remember_order(&mut self) {
        let held = self.held.iter().filter_map(|id| self.jobs.get(id));
        let mut sent: Vec<_> = held.filter_map(|j| Some((j.attempt()?.submitted_at, j.id))).collect();
        sent.sort_unstable();
        for (_, id) in sent {
            self.takings += 1;
            let taken = !matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Submitting));
            let (after, before) = if taken { (self.takings, self.takings) } else { (0, u64::MAX) };
            self.sent.insert(id, Sent { link: 0, after, before, looks: 0, again: false });
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
