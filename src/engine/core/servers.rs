//! What servers say and what it means for our jobs.
//!
//! The rules come from the wire recordings: the end of a prompt is told before its history is
//! written; an id that is nowhere was forgotten by a restart, or deleted by a person, and only a
//! link that never broke tells which; 200 to an interrupt says nothing.

use super::{About, Found, Heard, INTERRUPT_SHADOW, Look, MAX_LOST, MAX_SAMPLES, Server, State, Timer, Watch, since};
use std::time::Duration;

use jiff::Timestamp;

use super::{CollectFailure, Collected, Effect, First};
use crate::estimate::Run;
use crate::job::{CancelledBy, Change, Ending, Failure, FailureKind, Job, JobId, JobState};
use crate::protocol::{Level, Link, Sample, Update};
use crate::store::Write;

impl State {
    pub(super) fn at_server(&self, server: usize) -> impl Iterator<Item = &Job> {
        let name = self.servers.get(server).map(|s| s.name.as_str());
        self.held
            .iter()
            .filter_map(|id| self.jobs.get(id))
            .filter(move |j| j.attempt().map(|a| a.server.as_str()) == name)
    }

    pub(super) fn server_of(&self, id: JobId) -> Option<usize> {
        let name = &self.jobs.get(&id)?.attempt()?.server;
        self.servers.iter().position(|s| s.name == *name)
    }

    pub(super) fn is_up(&self, server: usize) -> bool {
        self.servers.get(server).is_some_and(|s| matches!(s.link, Link::Up { .. }))
    }

    pub(super) fn up(&mut self, server: usize, about: About, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        s.link = Link::Up { since: now, heard: true };
        s.up_since = Some(now);
        s.heard_at = now;
        s.differs = 0;
        s.surveying = false;
        if let Some(sample) = about.sample {
            s.samples.push_back(sample);
        }
        s.about = about;
        self.dirty_servers.insert(server);
        if let Some(row) = self.server_row(server) {
            self.publish(Update::Server(Box::new(row)));
        }
        self.survey(server, now);
        let waiting: Vec<_> =
            self.jobs.values().filter(|j| matches!(j.state, JobState::Collecting)).map(|j| j.id).collect();
        for id in waiting {
            if self.server_of(id) == Some(server) {
                self.collect(id);
            }
        }
        self.after(now, self.policy.quiet, Timer::Quiet(server));
    }

    pub(super) fn down(&mut self, server: usize, why: String, retry_at: Timestamp, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        let since = match s.link {
            Link::Down { since, .. } => since,
            Link::Connecting | Link::Up { .. } => now,
        };
        s.link = Link::Down { since, why, retry_at };
        s.up_since = None;
        self.dirty_servers.insert(server);
        self.timers.remove(&(retry_at, Timer::Quiet(server)));
    }

    /// Looks where the server has everything of ours, but for what is on its way to it.
    pub(super) fn survey(&mut self, server: usize, now: Timestamp) {
        let posting = self.servers.get(server).map(|s| s.posting.clone()).unwrap_or_default();
        let prompts: Vec<_> = self
            .at_server(server)
            .filter(|j| !posting.contains(&j.id))
            .filter_map(|j| Some((j.id, j.attempt()?.prompt_id.clone())))
            .collect();
        if prompts.is_empty() {
            return;
        }
        for (id, _) in &prompts {
            if matches!(self.jobs.get(id).map(|j| &j.state), Some(JobState::Submitting)) {
                self.unsure.entry(*id).or_insert((now, 0));
            }
        }
        if let Some(s) = self.servers.get_mut(server) {
            s.surveying = true;
        }
        self.out.push(Effect::Look { server, prompts, first: First::Nothing });
    }

    pub(super) fn look(&mut self, id: JobId, first: First) {
        let (Some(server), Some(prompt)) = (self.server_of(id), self.prompt_of(id)) else { return };
        if self.is_up(server) {
            self.out.push(Effect::Look { server, prompts: vec![(id, prompt)], first });
        }
    }

    pub(super) fn prompt_of(&self, id: JobId) -> Option<String> {
        Some(self.jobs.get(&id)?.attempt()?.prompt_id.clone())
    }

    pub(super) fn stats(&mut self, server: usize, sample: Sample) {
        let Some(s) = self.servers.get_mut(server) else { return };
        s.samples.push_back(sample);
        while s.samples.len() > MAX_SAMPLES {
            s.samples.pop_front();
        }
        let name = s.name.clone();
        let running: Vec<_> =
            self.at_server(server).filter(|j| matches!(j.state, JobState::Running)).map(|j| j.id).collect();
        for id in running {
            if let Some(watch) = self.watches.get_mut(&id) {
                watch.peak_vram = watch.peak_vram.max(sample.vram_used);
            }
        }
        self.publish(Update::Stats { server: name, sample });
    }

    /// `GET /prompt` says another number than the websocket did: twice in a row means that the socket is deaf.
    pub(super) fn count(&mut self, server: usize, remaining: u32) {
        let Some(s) = self.servers.get_mut(server) else { return };
        if remaining == s.remaining {
            s.differs = 0;
            return;
        }
        s.differs += 1;
        if s.differs >= 2 {
            s.differs = 0;
            s.remaining = remaining;
            self.out.push(Effect::Reconnect { server });
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Look(id) => self.look(id, First::Nothing),
                Timer::Cancel(id) => {
                    if matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Cancelling { .. })) {
                        self.send_cancel(id, now);
                    }
                }
                Timer::Collect(id) => self.collect(id),
                Timer::Survey(server) => {
                    if self.is_up(server) && self.count_is_unexplained(server) {
                        self.survey(server, now);
                    }
                }
                Timer::Quiet(server) => self.quiet(server, now),
                Timer::Exit => self.out.push(Effect::Exit),
            }
        }
    }

    /// Fewer prompts at the server than we believe to have there.
    fn count_is_unexplained(&self, server: usize) -> bool {
        let Some(s) = self.servers.get(server) else { return false };
        let ours = self.at_server(server).filter(|j| !matches!(j.state, JobState::Submitting)).count();
        (s.remaining as usize) < ours && !s.surveying
    }

    fn quiet(&mut self, server: usize, now: Timestamp) {
        if !self.is_up(server) {
            return;
        }
        let Some(s) = self.servers.get(server) else { return };
        let silent = since(now, s.heard_at);
        let ours: Vec<_> = self
            .at_server(server)
            .filter(|j| matches!(j.state, JobState::Running | JobState::Pending))
            .map(|j| j.id)
            .collect();
        let next = if silent >= self.policy.quiet && !ours.is_empty() {
            self.survey(server, now);
            self.policy.quiet
        } else {
            self.policy.quiet.saturating_sub(silent).max(Duration::from_secs(1))
        };
        if !ours.is_empty() {
            self.after(now, next, Timer::Quiet(server));
        }
    }

    pub(super) fn heard(&mut self, server: usize, heard: Heard, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        s.heard_at = now;
        match heard {
            Heard::Remaining(remaining) => self.remaining(server, remaining, now),
            Heard::Started { prompt } => {
                if let Some(id) = self.ours(&prompt) {
                    self.begin(id, now, true);
                }
            }
            Heard::Cached { prompt, nodes } => {
                if let Some(watch) = self.ours(&prompt).and_then(|id| self.watches.get_mut(&id)) {
                    watch.run.cached(&nodes);
                }
            }
            Heard::Node { prompt, node } => {
                // After a reconnect in mid-run the server tells the node without the prompt.
                if let Some(id) = self.ours_or_running(server, prompt.as_deref()) {
                    self.begin(id, now, false);
                    self.advance(id, now, |run, at| run.node(&node, at));
                }
            }
            Heard::Step { prompt, node, value, max } => {
                if let Some(id) = prompt.and_then(|p| self.ours(&p)) {
                    self.begin(id, now, false);
                    self.advance(id, now, |run, at| run.step(&node, value, max, at));
                }
            }
            Heard::Rendered { prompt } => {
                if let Some(id) = self.ours(&prompt) {
                    self.rendered(id, now, now);
                    // The history is there with the last word; should that be lost, look anyway.
                    self.after(now, Duration::from_secs(1), Timer::Collect(id));
                }
            }
            Heard::Last { prompt } => {
                let collecting = |id: &JobId| matches!(self.jobs.get(id).map(|j| &j.state), Some(JobState::Collecting));
                if let Some(id) = self.prompts.get(&prompt).copied() {
                    if collecting(&id) {
                        self.timers.retain(|(_, t)| *t != Timer::Collect(id));
                        self.collect(id);
                    } else {
                        // Its end was not heard: ask.
                        self.look(id, First::Nothing);
                    }
                }
            }
            Heard::Failed { prompt, node, why } => {
                if let Some(id) = self.ours(&prompt) {
                    self.failed(id, node.as_deref(), why, now);
                }
            }
            Heard::Interrupted { prompt } => {
                if let Some(id) = self.ours(&prompt) {
                    self.interrupted(id, now);
                }
            }
            Heard::Other => {}
        }
    }

    fn remaining(&mut self, server: usize, remaining: u32, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        s.differs = 0;
        if s.remaining != remaining {
            s.remaining = remaining;
            self.dirty_servers.insert(server);
        }
        if self.count_is_unexplained(server) {
            // The end messages may be on their way: look only if the count stays unexplained.
            self.after(now, Duration::from_secs(1), Timer::Survey(server));
        }
    }

    /// Our job with this `prompt_id`, while a server has it.
    fn ours(&self, prompt: &str) -> Option<JobId> {
        self.prompts.get(prompt).copied().filter(|id| self.held.contains(id))
    }

    fn ours_or_running(&self, server: usize, prompt: Option<&str>) -> Option<JobId> {
        match prompt {
            Some(prompt) => self.ours(prompt),
            None => self.at_server(server).find(|j| matches!(j.state, JobState::Running)).map(|j| j.id),
        }
    }

    /// It renders now. `seen`: this is its very start.
    fn begin(&mut self, id: JobId, now: Timestamp, seen: bool) {
        let known = self.jobs.get(&id).and_then(|j| j.attempt()).is_some_and(|a| a.started_at.is_some());
        if !known || seen {
            self.change(id, Change::Started { at: now, seen }, now);
        }
        if seen || !self.watches.contains_key(&id) {
            let Some(job) = self.jobs.get(&id) else { return };
            let times = self.estimates.get(&job.kind()).cloned().unwrap_or_default();
            let nodes = self.nodes.get(&id).cloned().unwrap_or_default();
            let began = job.attempt().and_then(|a| a.started_at).unwrap_or(now);
            self.watches.insert(id, Watch { run: Run::new(nodes, times), began, peak_vram: 0 });
        }
        if let Some(server) = self.server_of(id) {
            let quiet = self.policy.quiet;
            self.after(now, quiet, Timer::Quiet(server));
        }
    }

    fn advance(&mut self, id: JobId, now: Timestamp, tell: impl FnOnce(&mut Run, f64)) {
        if let Some(watch) = self.watches.get_mut(&id) {
            tell(&mut watch.run, since(now, watch.began).as_secs_f64());
            self.dirty_progress.insert(id);
        }
    }

    /// Rendered well at `at`: learn from it; its files are fetched next.
    fn rendered(&mut self, id: JobId, at: Timestamp, now: Timestamp) {
        self.keep_peak(id, now);
        let seen = self.jobs.get(&id).and_then(|j| j.attempt()).is_some_and(|a| a.start_seen);
        if let Some(mut watch) = self.watches.remove(&id)
            && seen
            && let Some(kind) = self.jobs.get(&id).map(Job::kind)
        {
            watch.run.end(since(at, watch.began).as_secs_f64());
            let times = self.estimates.entry(kind.clone()).or_default();
            times.learn(&watch.run);
            let times = times.clone();
            if let Some(seconds) = times.typical() {
                self.publish(Update::Expect { kind: kind.clone(), seconds });
            }
            self.out.push(Effect::Write(Write::Estimate { key: kind, times }));
        }
        self.change(id, Change::Rendered { at }, now);
    }

    fn keep_peak(&mut self, id: JobId, now: Timestamp) {
        let latest = self.server_of(id).and_then(|s| self.servers.get(s)?.samples.back()).map(|s| s.vram_used);
        if let Some(watch) = self.watches.get(&id) {
            let vram = watch.peak_vram.max(latest.unwrap_or(0));
            if vram > 0 {
                self.change(id, Change::Peak { vram }, now);
            }
        }
    }

    fn failed(&mut self, id: JobId, node: Option<&str>, mut why: Failure, now: Timestamp) {
        let nodes = self.nodes.get(&id).map(Vec::as_slice).unwrap_or_default();
        if let Some(blamed) = nodes.iter().find(|n| Some(n.id.as_str()) == node && !n.title.is_empty()) {
            why.node = Some(blamed.title.clone());
        }
        self.keep_peak(id, now);
        if matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Cancelling { .. })) {
            // It ended by itself, but its owner wanted it gone: that is what it is.
            self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
            return;
        }
        self.change(id, Change::Failed { why, at: now }, now);
    }

    fn interrupted(&mut self, id: JobId, now: Timestamp) {
        self.keep_peak(id, now);
        if matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Cancelling { .. })) {
            self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
            return;
        }
        let ours = self
            .server_of(id)
            .and_then(|s| self.servers.get(s)?.interrupted_at)
            .is_some_and(|at| since(now, at) <= INTERRUPT_SHADOW);
        if ours {
            let why = "an interrupt meant for another job hit this one".to_owned();
            self.change(id, Change::Retry { at: now, why }, now);
        } else {
            self.change(id, Change::Cancelled { by: CancelledBy::Elsewhere, at: now }, now);
        }
    }

    // ---- where prompts are ------------------------------------------------------------------

    pub(super) fn looked(&mut self, server: usize, found: Vec<(JobId, String, Look)>, now: Timestamp) {
        if let Some(s) = self.servers.get_mut(server) {
            s.surveying = false;
        }
        for (id, prompt, look) in found {
            let current = self.held.contains(&id) && self.prompt_of(id).as_ref() == Some(&prompt);
            let posting = self.servers.get(server).is_some_and(|s| s.posting.contains(&id));
            if current && !posting {
                self.found(server, id, look, now);
            }
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

    fn found(&mut self, server: usize, id: JobId, look: Look, now: Timestamp) {
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
            (Look::Unknown, state) => self.found_nowhere(server, id, &state, now),
            _ => {}
        }
    }

    fn found_ended(&mut self, id: JobId, ending: Found, seconds: Option<f64>, now: Timestamp) {
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
    fn found_nowhere(&mut self, server: usize, id: JobId, state: &JobState, now: Timestamp) {
        let submitted = self.jobs.get(&id).and_then(|j| j.attempt()).map(|a| a.submitted_at);
        let unbroken = self
            .servers
            .get(server)
            .and_then(|s: &Server| s.up_since)
            .zip(submitted)
            .is_some_and(|(up, submitted)| up <= submitted);
        match state {
            JobState::Submitting if self.taking_back.contains(&id) => {
                self.change(id, Change::TakenBack, now);
            }
            JobState::Submitting => {
                let (asked, _) = *self.unsure.entry(id).or_insert((now, 0));
                let waited = since(now, asked);
                if waited >= self.policy.post_grace {
                    self.submit_again(server, id, now);
                } else {
                    self.after(now, self.policy.post_grace.saturating_sub(waited), Timer::Look(id));
                }
            }
            JobState::Pending if self.taking_back.contains(&id) => {
                self.change(id, Change::TakenBack, now);
            }
            JobState::Pending if unbroken => {
                self.change(id, Change::Cancelled { by: CancelledBy::Elsewhere, at: now }, now);
            }
            JobState::Pending => {
                // The server was restarted. It had not begun, so no try is counted.
                self.change(id, Change::TakenBack, now);
            }
            JobState::Running => {
                // Its file may be whole all the same: look before rendering again.
                if self.collecting.insert(id)
                    && let Some(prompt_id) = self.prompt_of(id)
                {
                    self.out.push(Effect::Collect { server, job: id, prompt_id, salvage: true });
                }
            }
            JobState::Cancelling { .. } => {
                self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
            }
            _ => {}
        }
    }

    // ---- outputs ----------------------------------------------------------------------------

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
        self.collecting.remove(&id);
        let Some(state) = self.jobs.get(&id).map(|j| j.state.clone()) else { return };
        if self.prompt_of(id).as_deref() != Some(prompt_id) {
            return;
        }
        let salvaged = matches!(state, JobState::Running);
        match result {
            Ok(collected) if salvaged || matches!(state, JobState::Collecting) => {
                if salvaged {
                    self.watches.remove(&id);
                    self.rendered(id, now, now);
                }
                let Collected { outputs, mut notes, to_measure } = collected;
                if salvaged {
                    notes.push("the server was restarted; this file was found whole on it".to_owned());
                }
                let measured = outputs.clone();
                self.change(id, Change::Collected { outputs, notes, to_measure }, now);
                if to_measure {
                    self.out.push(Effect::Measure { job: id, outputs: measured });
                }
            }
            Err(CollectFailure::Later(why)) if matches!(state, JobState::Collecting) => {
                tracing::warn!("{id}: its files could not be fetched yet: {why}");
                self.after(now, Duration::from_secs(5), Timer::Collect(id));
            }
            Err(CollectFailure::Later(_)) if salvaged => self.after(now, Duration::from_secs(5), Timer::Look(id)),
            Err(CollectFailure::Gone(why)) if salvaged || matches!(state, JobState::Collecting) => {
                self.lost(id, why, now);
            }
            _ => {}
        }
    }

    /// The server has forgotten it: to the queue again, but not for ever.
    fn lost(&mut self, id: JobId, why: String, now: Timestamp) {
        let lost = |j: &Job| j.attempts.iter().filter(|a| a.ending == Some(Ending::Lost)).count();
        let before = self.jobs.get(&id).map_or(0, lost);
        if before + 1 >= MAX_LOST {
            let message = format!("given up after {MAX_LOST} attempts: {why}");
            let why = Failure { kind: FailureKind::Server, node: None, message, detail: String::new() };
            self.change(id, Change::Failed { why, at: now }, now);
        } else {
            self.notice(Level::Warning, format!("{id} goes back to the queue: {why}"), now);
            self.change(id, Change::Lost { at: now, why }, now);
        }
    }
}
