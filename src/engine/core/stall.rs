//! The watchdog: a render without a step for longer than such a step takes is flagged, and
//! interrupted only where the config says so.

use std::time::Duration;

use jiff::Timestamp;

use super::{First, State, Timer, since};
use crate::job::{Change, Failure, FailureKind, JobId, JobState};
use crate::protocol::{Level, Link};

/// A node may take so many times what it took before.
const SLOWER: f64 = 4.0;

impl State {
    /// How long the current node of a render may be silent: learnt, where earlier runs tell.
    fn allowed(&self, id: JobId) -> Duration {
        let stall = self.policy.stall;
        let learnt = self.watches.get(&id).and_then(|w| w.run.expected_now());
        let learnt = learnt.and_then(|s| Duration::try_from_secs_f64(s * SLOWER).ok());
        learnt.map_or(stall, |learnt| learnt.max(stall / 2))
    }

    /// It has made a step.
    pub(super) fn moved(&mut self, id: JobId, now: Timestamp) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.moved_at = now;
        let (stalled, watched) = (std::mem::take(&mut watch.stalled), std::mem::replace(&mut watch.watched, true));
        if stalled {
            self.dirty_jobs.insert(id);
        }
        if !watched {
            let allowed = self.allowed(id);
            self.after(now, allowed, Timer::Stall(id));
        }
    }

    /// Looks whether it has made a step since.
    pub(super) fn watchdog(&mut self, id: JobId, now: Timestamp) {
        let allowed = self.allowed(id);
        let running = matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Running));
        let heard = self
            .server_of(id)
            .and_then(|s| self.servers.get(s))
            .is_some_and(|s| matches!(s.link, Link::Up { heard: true, .. }));
        let Some(watch) = self.watches.get_mut(&id) else { return };
        let silent = since(now, watch.moved_at);
        if !running {
            watch.watched = false;
            return;
        }
        if silent < allowed || !heard {
            // Steps since then have moved the end of its patience; nobody hears a server that is away.
            let wait = allowed.saturating_sub(silent).max(Duration::from_secs(1));
            self.after(now, if heard { wait } else { allowed }, Timer::Stall(id));
            return;
        }
        watch.watched = false;
        watch.stalled = true;
        let node = watch.run.current_title().map(|n| format!(" in {n}")).unwrap_or_default();
        self.dirty_jobs.insert(id);
        let silent = match silent.as_secs() {
            seconds @ 0..60 => format!("{seconds} s"),
            seconds => format!("{} min", seconds / 60),
        };
        if self.policy.stall_interrupts {
            self.notice(Level::Warning, format!("{id}: no step for {silent}{node}: it is interrupted"), now);
            self.stalled.insert(id, format!("no step for {silent}{node}"));
            self.interrupt(id, now);
        } else {
            self.notice(Level::Warning, format!("{id}: no step for {silent}{node}; c cancels it"), now);
        }
    }

    /// Asks the server to stop it, again and again until it has.
    pub(super) fn interrupt(&mut self, id: JobId, now: Timestamp) {
        if !self.stalled.contains_key(&id) || !matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Running)) {
            return;
        }
        if let Some(server) = self.server_of(id).and_then(|s| self.servers.get_mut(s)) {
            server.interrupted_at = Some(now);
        }
        self.look(&[id], First::Cancel);
        self.after(now, Duration::from_secs(5), Timer::Stall(id));
    }

    /// It was interrupted; true if the watchdog did it.
    pub(super) fn ended_by_watchdog(&mut self, id: JobId, now: Timestamp) -> bool {
        let Some(message) = self.stalled.remove(&id) else { return false };
        let why = Failure {
            kind: FailureKind::Stalled,
            node: None,
            message: format!("{message}: interrupted (on_stall = \"interrupt\")"),
            detail: String::new(),
        };
        self.change(id, Change::Failed { why, at: now }, now);
        true
    }
}
