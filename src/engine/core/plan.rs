//! What is submitted next, and what the answers to a POST mean.
//!
//! Each server holds a window of the queue (`in_flight`). The driver sends POSTs one after the
//! other, so prompts arrive in order; a few are decided ahead, so that one transaction serves them. A `prompt_id` is written before it is posted, and a POST
//! whose fate is unknown is looked up before it is posted again, under the same id.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Effect, First, MAX_REFUSALS, PostResult, Sent, State, Timer};
use crate::job::{Attempt, CancelledBy, Change, Failure, FailureKind, Job, JobId, JobState};
use crate::protocol::Level;

/// POSTs decided ahead of the one under way, each server.
const POSTS: usize = 32;

impl State {
    /// Fills every server's window from the queue.
    pub(super) fn plan(&mut self, now: Timestamp) {
        if self.policy.look_only || self.stopping.is_some() {
            return;
        }
        // One to each, those that hold the fewest first, and so on: none waits behind another while a server idles.
        let mut open: Vec<usize> = (0..self.servers.len()).collect();
        while !open.is_empty() {
            if open.len() > 1 {
                open.sort_by_cached_key(|server| (self.at_server(*server).take(POSTS).count(), *server));
            }
            let mut given = false;
            open.retain(|&server| {
                if given {
                    return true;
                }
                let next = self.next_for(server).filter(|_| self.has_room(server, now));
                let next = next.filter(|id| !self.recovering.contains(id) || self.is_ready_for_alone(server));
                if let Some(id) = next {
                    self.submit(server, id, now);
                    given = true;
                }
                given
            });
        }
        self.let_the_next_ask(now);
        if std::mem::take(&mut self.reordered) {
            for server in 0..self.servers.len() {
                // What a server has is asked for first: one that was restarted has rendered nobody knows what.
                if self.servers.get(server).is_some_and(|s| s.surveying.is_some()) {
                    self.reordered = true;
                } else {
                    // What nobody knows to be there is looked at again when that is known.
                    self.reordered |= self.is_unsure(server) || self.salvages(server);
                    self.straighten(server);
                }
            }
        }
    }

    fn has_room(&self, server: usize, now: Timestamp) -> bool {
        let Some(s) = self.servers.get(server) else { return false };
        // What a restarted server has forgotten goes first: nothing is sent until that is known.
        self.is_up(server)
            && self.goes(server)
            && s.surveying.is_none()
            && !self.salvages(server)
            && !self.is_unsure(server)
            && s.posting.len() < POSTS
            && s.not_before.is_none_or(|at| at <= now)
            && !self.is_taken_alone(server)
            && (s.in_flight == 0 || self.at_server(server).take(s.in_flight).count() < s.in_flight)
    }

    /// A job that ran out of memory has the server for itself.
    fn is_taken_alone(&self, server: usize) -> bool {
        // The window is one wide then: more than one held means that none of them is alone.
        let mut held = self.at_server(server);
        let first = held.next();
        first.is_some_and(Job::is_alone) && held.next().is_none()
    }

    fn salvages(&self, server: usize) -> bool {
        !self.collecting.is_empty() && self.at_server(server).any(|j| self.collecting.contains(&j.id))
    }

    /// Nobody knows yet whether a POST arrived: what stands behind it would overtake it.
    fn is_unsure(&self, server: usize) -> bool {
        let submits = |id: &JobId| matches!(self.jobs.get(id).map(|j| &j.state), Some(JobState::Submitting));
        self.unsure.keys().any(|id| submits(id) && self.server_of(*id) == Some(server))
    }

    pub(super) fn next_for(&self, server: usize) -> Option<JobId> {
        if let Some(id) = self.recovering_at(server) {
            return Some(id);
        }
        let name = &self.servers.get(server)?.name;
        let fits = |id: &JobId| {
            let only = self.jobs.get(id).map(|j| j.only_server.as_ref());
            only.is_some_and(|only| only.is_none_or(|only| only == name))
        };
        // One that waits for a server's memory waits for that server, as long as there is such a one.
        let waits = |id: &JobId| self.recovering.contains(id) && self.server_of(*id).is_some();
        self.queue.iter().map(|(_, _, id)| JobId(*id)).find(|id| fits(id) && !waits(id))
    }

    fn submit(&mut self, server: usize, id: JobId, now: Timestamp) {
        let prompt_id = uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid().to_string();
        // Submitted one after the other, even within a step; but a clock that was set back is followed.
        let next = self.last_submitted.checked_add(SignedDuration::from_micros(1)).unwrap_or(now);
        let soon = super::plus(now, Duration::from_secs(1));
        let submitted_at = if next > now && next < soon { next } else { now };
        self.last_submitted = submitted_at;
        let (Some(job), Some(s)) = (self.jobs.get(&id), self.servers.get_mut(server)) else { return };
        s.freed = false;
        let seed = job.next_seed();
        let attempt = Attempt {
            number: u32::try_from(job.attempts.len() + 1).unwrap_or(u32::MAX),
            prompt_id: prompt_id.clone(),
            server: s.name.clone(),
            url: s.url.clone(),
            seed,
            reason: job.next_reason.clone(),
            submitted_at,
            started_at: None,
            start_seen: false,
            ended_at: None,
            ending: None,
            peak_vram: None,
            outputs: Vec::new(),
            measurement: None,
            repaired: Vec::new(),
            mark: None,
            values: job.varied().map(|variation| variation.values.clone()).unwrap_or_default(),
            notes: Vec::new(),
        };
        s.posting.insert(id);
        if self.change(id, Change::Submit { attempt: Box::new(attempt) }, now) {
            self.send(server, id, (prompt_id, seed), false);
        }
    }

    /// Posts it. `again`: it was posted before.
    fn send(&mut self, server: usize, id: JobId, (prompt_id, seed): (String, Option<u64>), again: bool) {
        let Some(s) = self.servers.get_mut(server) else { return };
        let sent = Sent { link: s.links, after: self.takings, before: u64::MAX, looks: self.looks, again };
        self.sent.insert(id, sent);
        self.out.push(Effect::Submit { server, job: id, prompt_id, seed });
    }

    /// Whether the fate of a POST that was decided on before this one's is not known yet: sent again, this one would
    /// overtake it.
    fn is_behind(&self, server: usize, id: JobId) -> bool {
        let at = |id: JobId| self.jobs.get(&id).and_then(|j| j.attempt()).map(|attempt| attempt.submitted_at);
        let submits = |id: JobId| matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Submitting));
        let is_before = |other: JobId| submits(other) && self.server_of(other) == Some(server) && at(other) < at(id);
        self.unsure.keys().any(|other| *other != id && is_before(*other))
    }

    /// Those that stood behind one whose fate is known by now: they are looked for once more, and sent.
    fn let_the_next_ask(&mut self, now: Timestamp) {
        for id in std::mem::take(&mut self.behind) {
            match self.server_of(id).filter(|_| self.held.contains(&id)) {
                Some(server) if self.is_behind(server, id) => {
                    self.behind.insert(id);
                }
                Some(_) => self.after(now, Duration::ZERO, Timer::Look(id)),
                None => {}
            }
        }
    }

    /// Posts an attempt once more, under its own id: the first POST arrived nowhere.
    pub(super) fn submit_again(&mut self, server: usize, id: JobId, now: Timestamp) {
        if self.policy.look_only || self.stopping.is_some() {
            return;
        }
        if self.goes(server) && self.is_behind(server, id) {
            self.behind.insert(id);
            return;
        }
        if !self.goes(server) {
            // Nothing is sent; it is nowhere, so it waits here.
            self.change(id, Change::TakenBack, now);
            return;
        }
        let refused = self.unsure.get(&id).map_or(0, |(_, refused)| *refused);
        if refused >= MAX_REFUSALS {
            let why = Failure {
                kind: FailureKind::Server,
                node: None,
                message: format!("the server answered {refused} times with an error of its own and took nothing"),
                detail: "Its console says more. Requeue the job when it is mended.".to_owned(),
            };
            self.fail(id, why, now);
            return;
        }
        let Some(attempt) = self.jobs.get(&id).and_then(|j| j.attempt()) else { return };
        let (prompt_id, seed) = (attempt.prompt_id.clone(), attempt.seed);
        let Some(s) = self.servers.get_mut(server) else { return };
        if s.posting.len() >= POSTS || s.posting.contains(&id) {
            self.after(now, Duration::from_secs(1), Timer::Look(id));
            return;
        }
        s.posting.insert(id);
        self.send(server, id, (prompt_id, seed), true);
    }

    pub(super) fn posted(&mut self, server: usize, id: JobId, prompt_id: &str, result: PostResult, now: Timestamp) {
        // The answer to an attempt that is over says nothing of the one that is being posted now.
        let is_over = self.prompt_of(id).as_deref() != Some(prompt_id);
        let submits = matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Submitting));
        if let Some(s) = self.servers.get_mut(server).filter(|_| !(is_over && submits)) {
            s.posting.remove(&id);
        }
        if self.prompt_of(id).as_deref() != Some(prompt_id) || !self.held.contains(&id) {
            return;
        }
        if let Some(sent) = self.sent.get_mut(&id) {
            sent.looks = self.looks;
        }
        let cancelling = matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Cancelling { .. }));
        match result {
            PostResult::Accepted { notes, nodes } => {
                self.unsure.remove(&id);
                if let Some(s) = self.servers.get_mut(server) {
                    s.misses = 0;
                }
                self.is_there(id);
                // POSTs are sent one after the other: answered in the order in which they were taken.
                self.takings += 1;
                if let Some(sent) = self.sent.get_mut(&id) {
                    (sent.after, sent.before) = (self.takings, self.takings);
                    // Should the first have arrived after all, one copy is enough.
                    if sent.again {
                        self.after(now, self.policy.post_grace, Timer::Look(id));
                    }
                }
                self.after(now, self.policy.quiet, Timer::Quiet(server));
                self.nodes.entry(id).or_insert(nodes);
                for note in &notes {
                    self.notice(Level::Warning, format!("{id}: {note}"), now);
                }
                // Its start may have been heard before the answer to the POST.
                let waits = matches!(self.jobs.get(&id).map(|j| &j.state), Some(JobState::Submitting));
                if waits || !notes.is_empty() {
                    self.change(id, Change::Posted { notes }, now);
                }
                if cancelling {
                    self.send_cancel(&[id], now);
                } else if self.taking_back.contains(&id) || self.stopping.is_some() || self.is_paused(server) {
                    self.taking_back.insert(id);
                    self.look(&[id], First::Delete);
                }
            }
            // An earlier POST of this id may still arrive.
            PostResult::NotSent(_) | PostResult::NotWanted if cancelling && self.unsure.contains_key(&id) => {
                self.after(now, self.policy.post_grace, Timer::Cancel(id));
            }
            PostResult::Refused(_) | PostResult::NotSent(_) | PostResult::NotWanted if cancelling => {
                self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
            }
            PostResult::Refused(why) => self.fail(id, why, now),
            PostResult::NotWanted if self.unsure.contains_key(&id) => {
                self.after(now, self.policy.post_grace, Timer::Look(id));
            }
            PostResult::NotWanted => {
                self.change(id, Change::TakenBack, now);
            }
            PostResult::NotSent(why) => {
                tracing::warn!("{id} was not sent: {why}");
                self.wait_before_posting(server, now);
                let retried = self.unsure.contains_key(&id);
                if retried {
                    // An earlier POST of this id may still arrive: it stays as it is and is looked up again.
                    self.after(now, self.policy.post_grace, Timer::Look(id));
                } else {
                    self.change(id, Change::TakenBack, now);
                }
            }
            PostResult::Unsure { why, refused, nodes } => {
                tracing::warn!("{id}: the answer to its POST did not come: {why}");
                self.nodes.entry(id).or_insert(nodes);
                let refusals = self.unsure.get(&id).map_or(0, |(_, refusals)| *refusals);
                // Each doubtful POST has its own time of grace.
                self.unsure.insert(id, (now, refusals + u32::from(refused)));
                let first = if self.taking_back.contains(&id) { First::Delete } else { First::Nothing };
                self.look(&[id], first);
                self.after(now, self.policy.post_grace, Timer::Look(id));
            }
        }
        self.stop_if_all_is_back(now);
    }

    /// Nobody took the last POST: the next one waits, longer each time.
    fn wait_before_posting(&mut self, server: usize, now: Timestamp) {
        let Some(s) = self.servers.get_mut(server) else { return };
        let wait = Duration::from_secs(1 << s.misses.min(5));
        s.misses += 1;
        s.not_before = Some(super::plus(now, wait));
        self.after(now, wait, Timer::Room(server));
    }
}
