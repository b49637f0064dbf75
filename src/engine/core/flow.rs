//! Whether work is sent: pause, resume, drain; for the engine, and for each server alone.
//!
//! What a server holds and has not begun is taken back: deleted there, then looked for. What began
//! meanwhile goes on. All of it is written, so that a restart changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Effect, First, State};
use crate::job::{FailureKind, Job, JobId, JobState};
use crate::protocol::{Answer, Cause, Flow, Level, Update};
use crate::store::Write;

/// What of the queue as a whole outlives the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptFlow {
    #[serde(default)]
    pub engine: Flow,
    /// Of servers that do not simply go, by name.
    #[serde(default)]
    pub servers: BTreeMap<String, Flow>,
    /// The latest failures, if nothing succeeded since: of which kind, and how many in a row.
    #[serde(default)]
    pub streak: Option<(FailureKind, u32)>,
}

/// Where it stands in the store's `meta`.
pub const FLOW_KEY: &str = "flow";

impl State {
    /// This server gets new work.
    pub(super) fn goes(&self, server: usize) -> bool {
        self.row.flow.goes() && self.servers.get(server).is_some_and(|s| s.flow.goes())
    }

    /// What waits there is to come back.
    pub(super) fn is_paused(&self, server: usize) -> bool {
        self.row.flow.is_paused() || self.servers.get(server).is_some_and(|s| s.flow.is_paused())
    }

    pub(super) fn ask_flow(&mut self, names: &[String], flow: &Flow, now: Timestamp) -> Result<Answer, String> {
        let mut servers = Vec::new();
        for name in names {
            let known = self.servers.iter().position(|s| s.name == *name || s.url == *name);
            servers.push(known.ok_or_else(|| {
                let there: Vec<_> = self.servers.iter().map(|s| s.name.as_str()).collect();
                let hint = crate::text::did_you_mean(name, there.iter().copied());
                format!("no server `{}`{hint}; there are: {}", crate::text::clean(name), there.join(", "))
            })?);
        }
        if servers.is_empty() {
            self.set_flow(None, flow, now);
            if flow.goes() {
                self.go_on(now);
            }
        }
        for server in servers {
            self.set_flow(Some(server), flow, now);
        }
        Ok(Answer::Done)
    }

    /// A person says go on, and names no server: what stopped by itself goes on too, wherever it did.
    fn go_on(&mut self, now: Timestamp) {
        for server in 0..self.servers.len() {
            if self.servers.get(server).is_some_and(|s| s.flow.is_paused_by_itself()) {
                self.set_flow(Some(server), &Flow::Going, now);
            }
        }
        // What failed before has been seen.
        if self.streak.take().is_some() {
            self.keep_flow();
        }
    }

    /// `None`: the whole engine.
    pub(super) fn set_flow(&mut self, server: Option<usize>, flow: &Flow, now: Timestamp) {
        let of = match server {
            None => Some(&mut self.row.flow),
            Some(index) => self.servers.get_mut(index).map(|s| &mut s.flow),
        };
        let Some(of) = of else { return };
        if *of == *flow || (of.is_paused() && matches!(flow, Flow::Draining { .. })) {
            return;
        }
        of.clone_from(flow);
        self.keep_flow();
        self.dirty_servers.extend(server.map_or(0..self.servers.len(), |s| s..s + 1));
        if server.is_none() {
            self.publish(Update::Engine(self.row.clone()));
        }
        if let Some(why) = flow.why() {
            let whose = server.and_then(|s| self.servers.get(s)).map_or("the queue", |s| s.name.as_str());
            let text = format!("{whose} is paused: {why}; p, or `comfytop resume`, goes on");
            self.notice(Level::Error, text, now);
        }
        if flow.is_paused() {
            let back: Vec<_> = match server {
                Some(index) => self.pending_at(index),
                None => (0..self.servers.len()).flat_map(|s| self.pending_at(s)).collect(),
            };
            self.take_back(&back);
        }
    }

    /// Writes how the queue as a whole stands.
    pub(super) fn keep_flow(&mut self) {
        let other = |s: &super::Server| (!s.flow.goes()).then(|| (s.name.clone(), s.flow.clone()));
        let kept = KeptFlow {
            engine: self.row.flow.clone(),
            servers: self.servers.iter().filter_map(other).collect(),
            streak: self.streak,
        };
        // Plain data is always JSON.
        let value = serde_json::to_string(&kept).unwrap_or_default();
        self.out.push(Effect::Write(Write::Meta { key: FLOW_KEY, value }));
    }

    fn pending_at(&self, server: usize) -> Vec<JobId> {
        self.at_server(server).filter(|j| j.state.is_pending()).map(|j| j.id).collect()
    }

    /// Deletes these where they wait, and looks what came of it. Nobody is told of a cancel, and no try is counted.
    pub(super) fn take_back(&mut self, jobs: &[JobId]) {
        let mut sent = Vec::new();
        for id in jobs {
            let Some(server) = self.server_of(*id) else { continue };
            // A render that a dead server left behind is being looked for.
            if self.collecting.contains(id) {
                continue;
            }
            self.taking_back.insert(*id);
            // While its POST is under way, the answer to that calls for the deletion.
            if self.servers.get(server).is_some_and(|s| !s.posting.contains(id)) {
                sent.push(*id);
            }
        }
        self.look(&sent, First::Delete);
    }

    /// What drained is paused once it is empty.
    pub(super) fn end_drains(&mut self, now: Timestamp) {
        let paused = Flow::Paused { since: now, cause: Cause::Drained };
        if matches!(self.row.flow, Flow::Draining { .. }) && self.held.is_empty() {
            self.set_flow(None, &paused, now);
        }
        for server in 0..self.servers.len() {
            let drains = self.servers.get(server).is_some_and(|s| matches!(s.flow, Flow::Draining { .. }));
            if drains && self.at_server(server).next().is_none() {
                self.set_flow(Some(server), &paused, now);
            }
        }
    }

    /// A job ended: failures of one kind in a row, with no success between them, pause the queue.
    pub(super) fn count_streak(&mut self, failed: Option<FailureKind>, now: Timestamp) {
        let streak = failed.map(|kind| match self.streak {
            Some((same, count)) if same == kind => (kind, count.saturating_add(1)),
            _ => (kind, 1),
        });
        if self.streak == streak {
            return;
        }
        self.streak = streak;
        let most = self.policy.pause_after;
        if let Some((kind, count)) = streak
            && most > 0
            && count >= most
            && self.row.flow.goes()
        {
            self.streak = None;
            self.set_flow(None, &Flow::Paused { since: now, cause: Cause::Failures { kind, count } }, now);
        }
        self.keep_flow();
    }

    /// So many jobs in a row were no good before they were sent that the others wait for a person, who may have a model
    /// to put in its place: they are not looked at until then.
    pub fn spares_the_unfit(&self) -> bool {
        let by_them = |flow: &Flow| {
            let kind = FailureKind::Validation;
            matches!(flow, Flow::Paused { cause: Cause::Failures { kind: it, .. }, .. } if *it == kind)
        };
        let most = self.policy.pause_after;
        let many = self.streak.is_some_and(|(kind, count)| kind == FailureKind::Validation && count >= most);
        most > 0 && (by_them(&self.row.flow) || (many && !self.row.flow.goes()))
    }

    /// Free bytes of the disk that outputs and store are on.
    pub(super) fn disk(&mut self, free: u64, now: Timestamp) {
        let least = self.policy.min_free;
        let is_low = free < least;
        // Said once: who resumes in spite of it is not stopped again until it was well in between.
        if std::mem::replace(&mut self.disk_is_low, is_low) == is_low {
            return;
        }
        let by_disk = matches!(self.row.flow, Flow::Paused { cause: Cause::Disk { .. }, .. });
        if is_low && !self.row.flow.is_paused() {
            self.set_flow(None, &Flow::Paused { since: now, cause: Cause::Disk { free, least } }, now);
        } else if !is_low && by_disk {
            self.notice(Level::Info, "there is room on the disk again: the queue goes on".to_owned(), now);
            self.set_flow(None, &Flow::Going, now);
        }
    }

    /// The engine starts: it goes on as it was left.
    pub(super) fn recall_flow(&mut self, kept: KeptFlow, now: Timestamp) {
        self.row.flow = kept.engine;
        self.streak = kept.streak;
        for server in &mut self.servers {
            server.flow = kept.servers.get(&server.name).cloned().unwrap_or_default();
        }
        self.disk_is_low = matches!(self.row.flow, Flow::Paused { cause: Cause::Disk { .. }, .. });
        self.begin_paused(now);
    }

    /// After a restart a person says when to go on, where the config wants that and something is under way.
    pub(super) fn begin_paused(&mut self, now: Timestamp) {
        let unfinished = !self.queue.is_empty() || self.jobs.values().any(|j| j.state.is_pending());
        if self.policy.pause_after_restart && !self.policy.look_only && self.row.flow.goes() && unfinished {
            self.set_flow(None, &Flow::Paused { since: now, cause: Cause::Restarted }, now);
        }
    }

    /// A server turned out to have forgotten what it was given.
    pub(super) fn was_restarted(&mut self, server: usize, now: Timestamp) {
        if self.policy.pause_after_restart && self.goes(server) {
            self.set_flow(Some(server), &Flow::Paused { since: now, cause: Cause::Restarted }, now);
        }
    }

    /// Whether this job is one that its server should not hold now.
    pub(super) fn is_to_come_back(&self, server: usize, id: JobId) -> bool {
        let pending =
            self.jobs.get(&id).is_some_and(|j: &Job| matches!(j.state, JobState::Pending | JobState::Submitting));
        pending && (self.taking_back.contains(&id) || self.is_paused(server))
    }
}
