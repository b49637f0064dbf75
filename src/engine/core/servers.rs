//! What servers say and what it means for our jobs.
//!
//! The rules come from the wire recordings: the end of a prompt is told before its history is
//! written; an id that is nowhere was forgotten by a restart, or deleted by a person, and only a
//! link that never broke tells which; 200 to an interrupt says nothing.

use std::time::Duration;

use jiff::Timestamp;

use super::{About, DEAF_OFTEN, Effect, First, Heard, INTERRUPT_SHADOW, MAX_SAMPLES, State, Timer, Watch, since};
use crate::estimate::Run;
use crate::job::{Attempt, CancelledBy, Change, Failure, Job, JobId, JobState};
use crate::protocol::{Link, Sample, Update};
use crate::store::Write;

impl State {
    pub(super) fn at_server(&self, server: usize) -> impl Iterator<Item = &Job> {
        self.held
            .iter()
            .filter_map(|id| self.jobs.get(id))
            .filter(move |j| j.attempt().and_then(|a| self.seat(a)) == Some(server))
    }

    pub(super) fn server_of(&self, id: JobId) -> Option<usize> {
        self.seat(self.jobs.get(&id)?.attempt()?)
    }

    /// The server that an attempt was sent to: the one at its address, whatever that is called now, else the one of
    /// its name, wherever that is now. `None`: the config has neither any more.
    pub(super) fn seat(&self, attempt: &Attempt) -> Option<usize> {
        let at_address = self.servers.iter().position(|s| s.url == attempt.url);
        at_address.or_else(|| self.servers.iter().position(|s| s.name == attempt.server))
    }

    pub(super) fn is_up(&self, server: usize) -> bool {
        self.servers.get(server).is_some_and(|s| matches!(s.link, Link::Up { .. }))
    }

    pub(super) fn up(&mut self, server: usize, about: About, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        s.up_since = Some(now);
        s.links += 1;
        s.doubted.clear();
        s.heard_at = now;
        s.differs = 0;
        s.surveying = None;
        s.not_before = None;
        s.misses = 0;
        self.reordered = true;
        s.freeing = false;
        s.freed = false;
        let heard = s.deaf_at.len() < DEAF_OFTEN;
        s.link = Link::Up { since: now, heard };
        if let Some(sample) = &about.sample {
            s.samples.push_back(sample.clone());
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
        s.doubted.clear();
        s.lost_at = Some(since);
        self.dirty_servers.insert(server);
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
            if let Some(s) = self.servers.get_mut(server) {
                s.surveying = None;
            }
            return;
        }
        for (id, _) in &prompts {
            let Some(job) = self.jobs.get(id) else { continue };
            // A POST of an earlier engine may still arrive, also one of a job that was cancelled meanwhile.
            let may_come = match job.state {
                JobState::Submitting => true,
                JobState::Cancelling { .. } => {
                    let begun = job.attempt().is_some_and(|a| a.started_at.is_some());
                    !begun && self.sent.get(id).is_some_and(|sent| sent.link == 0)
                }
                _ => false,
            };
            if may_come {
                self.unsure.entry(*id).or_insert((now, 0));
            }
        }
        self.looks += 1;
        if let Some(s) = self.servers.get_mut(server) {
            s.surveying = Some(self.looks);
        }
        self.out.push(Effect::Look { server, asked: self.looks, prompts, first: First::Nothing });
    }

    /// Sees where these are, one question a server; `first` is done to them before.
    pub(super) fn look(&mut self, jobs: &[JobId], first: First) {
        if first == First::Delete {
            // Written before it is done: an engine that starts after a crash must not take it for a person's doing.
            for id in jobs {
                let server = self.server_of(*id);
                let is_pending = matches!(self.jobs.get(id).map(|j| &j.state), Some(JobState::Pending));
                if is_pending && server.is_some_and(|server| self.is_up(server)) {
                    self.change(*id, Change::Recall, self.clock);
                }
            }
        }
        for server in 0..self.servers.len() {
            let prompts: Vec<_> = jobs
                .iter()
                .filter(|id| self.server_of(**id) == Some(server))
                .filter_map(|id| Some((*id, self.prompt_of(*id)?)))
                .collect();
            if self.is_up(server) && !prompts.is_empty() {
                self.looks += 1;
                self.out.push(Effect::Look { server, asked: self.looks, prompts, first });
            }
        }
    }

    pub(super) fn prompt_of(&self, id: JobId) -> Option<String> {
        Some(self.jobs.get(&id)?.attempt()?.prompt_id.clone())
    }

    pub(super) fn stats(&mut self, server: usize, sample: Sample) {
        let Some(s) = self.servers.get_mut(server) else { return };
        s.samples.push_back(sample.clone());
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
    pub(super) fn count(&mut self, server: usize, remaining: u32, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        if remaining == s.remaining {
            s.differs = 0;
            // Nobody told of the end of what it had.
            if self.count_is_unexplained(server) {
                self.after(now, Duration::from_secs(1), Timer::Survey(server));
            }
            return;
        }
        s.differs += 1;
        if s.differs >= 2 {
            s.differs = 0;
            s.remaining = remaining;
            self.deaf(server, now);
        }
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Look(id) => {
                    let first = if self.taking_back.contains(&id) { First::Delete } else { First::Nothing };
                    self.look(&[id], first);
                }
                Timer::Cancel(id) => {
                    if matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Cancelling { .. })) {
                        self.send_cancel(&[id], now);
                    }
                }
                Timer::Collect(id) => self.collect(id),
                Timer::Stall(id) if self.stalled.contains_key(&id) => self.interrupt(id, now),
                Timer::Stall(id) => self.watchdog(id, now),
                Timer::Survey(server) => {
                    // What failed is tried again.
                    let surveying = self.servers.get(server).is_some_and(|s| s.surveying.is_some());
                    if self.is_up(server)
                        && (surveying || self.count_is_unexplained(server) || self.may_have_copies(server))
                    {
                        self.survey(server, now);
                    }
                }
                Timer::Quiet(server) => self.quiet(server, now),
                // The plan that follows every step fills the room.
                Timer::Room(_) => {}
                Timer::Waits => self.answer_waits(now),
                Timer::Exit => self.out.push(Effect::Exit),
            }
        }
    }

    /// Fewer prompts at the server than we believe to have there.
    pub(super) fn count_is_unexplained(&self, server: usize) -> bool {
        let Some(s) = self.servers.get(server) else { return false };
        let ours = self.at_server(server).filter(|j| !matches!(j.state, JobState::Submitting)).count();
        (s.remaining as usize) < ours && s.surveying.is_none()
    }

    /// Something was posted to it a second time, or nobody knows how often: the first POST may arrive at any time.
    fn may_have_copies(&self, server: usize) -> bool {
        let posted_again = |j: &Job| self.sent.get(&j.id).is_some_and(|sent| sent.again || sent.link == 0);
        self.at_server(server).any(posted_again)
    }

    pub(super) fn quiet(&mut self, server: usize, now: Timestamp) {
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
                        self.look(&[id], First::Nothing);
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
            Heard::Pong { token } => self.is_the_same(server, token, now),
            Heard::Other => {}
        }
    }

    pub(super) fn remaining(&mut self, server: usize, remaining: u32, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        s.differs = 0;
        let more = remaining > s.remaining;
        if s.remaining != remaining {
            s.remaining = remaining;
            self.dirty_servers.insert(server);
        }
        if self.count_is_unexplained(server) || (more && self.may_have_copies(server)) {
            // The end messages may be on their way: look only if the count stays unexplained.
            self.after(now, Duration::from_secs(1), Timer::Survey(server));
        }
    }

    /// Our job with this `prompt_id`, while a server has it.
    pub(super) fn ours(&self, prompt: &str) -> Option<JobId> {
        self.prompts.get(prompt).copied().filter(|id| self.held.contains(id))
    }

    pub(super) fn ours_or_running(&self, server: usize, prompt: Option<&str>) -> Option<JobId> {
        match prompt {
            Some(prompt) => self.ours(prompt),
            None => self.at_server(server).find(|j| matches!(j.state, JobState::Running)).map(|j| j.id),
        }
    }

    /// It renders now. `seen`: this is its very start.
    pub(super) fn begin(&mut self, id: JobId, now: Timestamp, seen: bool) {
        self.is_there(id);
        let known = self.jobs.get(&id).and_then(|j| j.attempt()).is_some_and(|a| a.started_at.is_some());
        if !known || seen {
            self.change(id, Change::Started { at: now, seen }, now);
        }
        if seen || !self.watches.contains_key(&id) {
            let Some(job) = self.jobs.get(&id) else { return };
            let times = self.estimates.get(&job.kind()).cloned().unwrap_or_default();
            let nodes = self.nodes.get(&id).cloned().unwrap_or_default();
            let began = job.attempt().and_then(|a| a.started_at).unwrap_or(now);
            let run = Run::new(nodes, times);
            let watch = Watch { run, began, peak_vram: 0, moved_at: now, watched: false, stalled: false };
            self.watches.insert(id, watch);
            self.moved(id, now);
        }
        if let Some(server) = self.server_of(id) {
            let quiet = self.policy.quiet;
            self.after(now, quiet, Timer::Quiet(server));
        }
    }

    pub(super) fn advance(&mut self, id: JobId, now: Timestamp, tell: impl FnOnce(&mut Run, f64)) {
        if let Some(watch) = self.watches.get_mut(&id) {
            tell(&mut watch.run, since(now, watch.began).as_secs_f64());
            self.dirty_progress.insert(id);
            self.moved(id, now);
        }
    }

    /// Rendered well at `at`: learn from it; its files are fetched next.
    pub(super) fn rendered(&mut self, id: JobId, at: Timestamp, now: Timestamp) {
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

    pub(super) fn keep_peak(&mut self, id: JobId, now: Timestamp) {
        let latest = self.server_of(id).and_then(|s| self.servers.get(s)?.samples.back()).map(|s| s.vram_used);
        if let Some(watch) = self.watches.get(&id) {
            let vram = watch.peak_vram.max(latest.unwrap_or(0));
            if vram > 0 {
                self.change(id, Change::Peak { vram }, now);
            }
        }
    }

    pub(super) fn failed(&mut self, id: JobId, node: Option<&str>, mut why: Failure, now: Timestamp) {
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
        self.fail(id, why, now);
    }

    pub(super) fn interrupted(&mut self, id: JobId, now: Timestamp) {
        self.keep_peak(id, now);
        if matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Cancelling { .. })) {
            self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
            return;
        }
        if self.ended_by_watchdog(id, now) {
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
}
