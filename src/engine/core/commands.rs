//! What people ask for: cancel, requeue, stop.
//!
//! A cancel is not optimistic: the job is `cancelling` until the server agrees.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Effect, First, State, Timer};
use crate::job::{CancelledBy, Change, Job, JobId, JobState, SeedWish};
use crate::protocol::{Answer, Cause, Flow, Request, Update};
use crate::store::{Place, Write};

/// How long a stop waits for the servers to give back what is pending.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// A wait looks first after this long: a file dropped just before is taken by then.
const WAIT_FOR_DROPS: Duration = Duration::from_millis(400);

impl State {
    pub(super) fn asked(&mut self, ask: u64, request: Request, now: Timestamp) {
        let answer = match request {
            Request::Cancel { jobs } => Answer::Each(self.cancel_all(jobs, now)),
            Request::Hold { jobs } => Answer::Each(jobs.into_iter().map(|id| (id, self.hold(id, now))).collect()),
            Request::Release { jobs } => {
                let release = |id| (id, self.change_one(id, &Change::Release, now));
                Answer::Each(jobs.into_iter().map(release).collect())
            }
            Request::Move { jobs, to } => Answer::Each(self.move_jobs(jobs, to, now)),
            Request::Priority { jobs, priority } => Answer::Each(self.set_priority(jobs, priority, now)),
            Request::Pause { servers } => {
                return self.flow_asked(ask, &servers, &Flow::Paused { since: now, cause: Cause::You }, now);
            }
            Request::Resume { servers } => return self.flow_asked(ask, &servers, &Flow::Going, now),
            Request::Drain { servers } => return self.flow_asked(ask, &servers, &Flow::Draining { since: now }, now),
            Request::Wait { jobs } => {
                self.waits.push((ask, jobs));
                // What was dropped a moment ago is taken first.
                self.after(now, WAIT_FOR_DROPS, Timer::Waits);
                return;
            }
            Request::Requeue { jobs, new_seed } => {
                Answer::Each(jobs.into_iter().map(|id| (id, self.requeue(id, new_seed, now))).collect())
            }
            Request::Mark { attempts, mark } => {
                let marked = |(id, attempt)| (id, self.mark(id, attempt, mark, now));
                Answer::Each(attempts.into_iter().map(marked).collect())
            }
            Request::Ranking { jobs } => Answer::Ranking(self.ranking(&jobs)),
            Request::List => {
                let ids: Vec<_> = self.jobs.keys().copied().collect();
                let places: HashMap<_, _> = self.line().zip(1..).collect();
                let mut rows = self.rows(&ids, now);
                for row in &mut rows {
                    row.position = places.get(&row.id).copied();
                }
                Answer::List(rows)
            }
            Request::Status => Answer::Status(Box::new(self.status())),
            Request::Reconnect => {
                for server in 0..self.servers.len() {
                    self.out.push(Effect::Reconnect { server });
                }
                Answer::Done
            }
            Request::Stop => {
                self.stop(ask, now);
                return;
            }
            // These need the store or the folder: the driver answers them.
            Request::Add { .. }
            | Request::Show { .. }
            | Request::Repair { .. }
            | Request::Text { .. }
            | Request::Edit { .. }
            | Request::Log { .. }
            | Request::Clean { .. }
            | Request::Pictures { .. }
            | Request::Previews { .. } => return,
        };
        self.out.push(Effect::Reply { ask, result: Ok(answer) });
    }

    fn flow_asked(&mut self, ask: u64, servers: &[String], flow: &Flow, now: Timestamp) {
        let result = self.ask_flow(servers, flow, now);
        self.out.push(Effect::Reply { ask, result });
    }

    fn cancel_all(&mut self, jobs: Vec<JobId>, now: Timestamp) -> Vec<(JobId, Result<String, String>)> {
        let mut sent = Vec::new();
        let answers = jobs.into_iter().map(|id| (id, self.cancel(id, &mut sent, now))).collect();
        self.send_cancel(&sent, now);
        answers
    }

    fn cancel(&mut self, id: JobId, sent: &mut Vec<JobId>, now: Timestamp) -> Result<String, String> {
        let Some(state) = self.jobs.get(&id).map(|j| j.state.clone()) else {
            return Err(format!("there is no job {id}"));
        };
        match state {
            JobState::Held | JobState::Waiting { .. } | JobState::Queued => {
                self.change(id, Change::Cancel { at: now }, now);
                Ok("cancelled".to_owned())
            }
            // Its server is not among ours any more: nobody could agree.
            state if state.is_at_server() && self.server_of(id).is_none() => {
                self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
                Ok("cancelled here; its server is not in the config, so nobody told it".to_owned())
            }
            JobState::Submitting | JobState::Pending | JobState::Running => {
                self.change(id, Change::Cancel { at: now }, now);
                sent.push(id);
                Ok("cancelling".to_owned())
            }
            JobState::Cancelling { .. } => Ok("is being cancelled already".to_owned()),
            JobState::Collecting => {
                self.change(id, Change::Cancelled { by: CancelledBy::You, at: now }, now);
                Ok("cancelled; it is rendered, its files stay on the server".to_owned())
            }
            JobState::Measuring if self.jobs.get(&id).is_some_and(Job::another_may_follow) => {
                self.change(id, Change::Settle, now);
                Ok("no more tries: it is done once this one is measured".to_owned())
            }
            JobState::Measuring => Err("it is rendered already, and being measured".to_owned()),
            state => Err(format!("it is {} already", state.word())),
        }
    }

    /// Asks the servers to drop these: from the queue and, by their ids, from rendering; then looks what came of it.
    pub(super) fn send_cancel(&mut self, jobs: &[JobId], now: Timestamp) {
        let mut sent = Vec::new();
        for id in jobs {
            let Some(server) = self.server_of(*id) else { continue };
            let up = self.is_up(server);
            let Some(s) = self.servers.get_mut(server) else { continue };
            // While its POST is under way, the answer to that calls for the cancel.
            if up && !s.posting.contains(id) {
                s.interrupted_at = Some(now);
                sent.push(*id);
            }
            self.after(now, Duration::from_secs(5), Timer::Cancel(*id));
        }
        self.look(&sent, First::Cancel);
    }

    /// Answers those whose jobs have all ended.
    pub(super) fn answer_waits(&mut self, now: Timestamp) {
        for (ask, jobs) in std::mem::take(&mut self.waits) {
            let unknown = jobs.iter().find(|id| !self.jobs.contains_key(id));
            if let Some(id) = unknown {
                self.out.push(Effect::Reply { ask, result: Err(format!("there is no job {id}")) });
                continue;
            }
            let ids = if jobs.is_empty() { self.jobs.keys().copied().collect() } else { jobs.clone() };
            if ids.iter().all(|id| self.jobs.get(id).is_some_and(|j| j.state.is_ended())) {
                let rows = ids.into_iter().filter_map(|id| self.job_row(id, now)).collect();
                self.out.push(Effect::Reply { ask, result: Ok(Answer::List(rows)) });
            } else {
                self.waits.push((ask, jobs));
            }
        }
    }

    pub(super) fn requeue(&mut self, id: JobId, new_seed: bool, now: Timestamp) -> Result<String, String> {
        let Some(job) = self.jobs.get(&id) else { return Err(format!("there is no job {id}")) };
        if matches!(job.state, JobState::Rejected { .. }) {
            return Err("it was rejected, for what stands beside it: mend its job file and drop it again".to_owned());
        }
        if !job.state.is_ended() {
            return Err(format!("it is {}: only a job that has ended can be requeued", job.state.word()));
        }
        let file = job.file;
        let seed = match job.seed {
            SeedWish::None if new_seed => return Err("its workflow has no seed".to_owned()),
            seed if !new_seed => seed,
            _ => SeedWish::Drawn(self.draw_seed()),
        };
        let rank = self.take_rank();
        self.change(id, Change::Requeue { seed, rank, at: now }, now);
        self.reopen(file);
        Ok(seed.value().map_or_else(|| "requeued".to_owned(), |seed| format!("requeued with seed {seed}")))
    }

    /// A job's file that was put away is open again, and moves once more when all its jobs have ended.
    pub(super) fn reopen(&mut self, file: Option<u64>) {
        if let Some(file) = file.filter(|file| !self.files.contains_key(file)) {
            self.out.push(Effect::Write(Write::FilePlace { file, place: Place::Queued }));
            self.out.push(Effect::ReopenFile { file });
        }
    }

    pub(super) fn dashboard(&mut self, here: bool, now: Timestamp) {
        if here {
            self.dashboards += 1;
            return;
        }
        self.dashboards = self.dashboards.saturating_sub(1);
        if self.dashboards == 0 {
            self.away_since = Some(now);
            self.out.push(Effect::Write(Write::Meta { key: "away_since", value: now.to_string() }));
        }
    }

    /// Takes back what is pending on the servers, then ends. What renders goes on and is collected next time.
    fn stop(&mut self, ask: u64, now: Timestamp) {
        if let Some(asks) = &mut self.stopping {
            asks.push(ask);
            return;
        }
        self.stopping = Some(vec![ask]);
        let back: Vec<_> = self
            .held
            .iter()
            .copied()
            .filter(|id| matches!(self.jobs.get(id).map(|j| &j.state), Some(JobState::Pending | JobState::Submitting)))
            .collect();
        let mut sent = Vec::new();
        for id in back {
            let Some(server) = self.server_of(id) else { continue };
            if self.is_up(server) {
                self.taking_back.insert(id);
                if self.servers.get(server).is_none_or(|s| !s.posting.contains(&id)) {
                    sent.push(id);
                }
            }
        }
        self.look(&sent, First::Delete);
        self.after(now, STOP_PATIENCE, Timer::Exit);
        self.stop_if_all_is_back(now);
    }

    pub(super) fn stop_if_all_is_back(&mut self, now: Timestamp) {
        let Some(asks) = &self.stopping else { return };
        let back = self
            .taking_back
            .iter()
            .all(|id| !matches!(self.jobs.get(id).map(|j| &j.state), Some(JobState::Pending | JobState::Submitting)));
        if back {
            for ask in asks.clone() {
                self.out.push(Effect::Reply { ask, result: Ok(Answer::Done) });
            }
            self.publish(Update::Engine(self.row.clone()));
            self.out.push(Effect::Exit);
            let _ = now;
        }
    }
}
