//! Jobs that wait for others: released when those are done, failed when one of them ends otherwise.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::State;
use crate::job::{Change, Failure, FailureKind, JobId, JobState};

impl State {
    /// Notes what a change of this job may mean to those that wait for it, or for its own waiting.
    pub(super) fn note_after(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.state.is_waiting() && !job.after.is_empty() {
            let after: BTreeSet<_> = job.after.iter().flat_map(|other| [*other, self.meant_by(*other)]).collect();
            for other in after {
                let waiting = self.dependents.entry(other).or_default();
                if !waiting.contains(&id) {
                    waiting.push(id);
                }
            }
            self.after_due.insert(id);
        }
        if job.state.is_ended()
            && let Some(waiting) = self.dependents.get(&id)
        {
            self.after_due.extend(waiting);
        }
    }

    /// Sees what became of the jobs that others wait for.
    pub(super) fn settle_after(&mut self, now: Timestamp) {
        // A job that fails here may be waited for itself.
        while let Some(id) = self.after_due.pop_first() {
            let Some(job) = self.jobs.get(&id) else { continue };
            if !matches!(job.state, JobState::Queued | JobState::Waiting { .. }) {
                continue;
            }
            let mut unmet = Vec::new();
            let mut lost = None;
            for other in job.after.iter().map(|other| self.meant_by(*other)) {
                match self.jobs.get(&other).map(|other| &other.state) {
                    Some(JobState::Done) => {}
                    Some(state) if !state.is_ended() => unmet.push(other),
                    state => {
                        lost = Some((other, state.map_or("is gone".to_owned(), JobState::said)));
                        break;
                    }
                }
            }
            let change = match (lost, &job.state) {
                (Some((other, state)), _) => {
                    let name = self.jobs.get(&other).map(|job| job.name.clone()).unwrap_or_default();
                    let why = Failure {
                        kind: FailureKind::After,
                        node: None,
                        message: format!("it waits for {other} {name}, which {state}"),
                        detail: "Requeue that one, then this one.".to_owned(),
                    };
                    Change::Failed { why, at: now }
                }
                (None, JobState::Waiting { .. }) if unmet.is_empty() => Change::Ready,
                (None, JobState::Waiting { after }) if *after == unmet => continue,
                (None, _) if unmet.is_empty() => continue,
                (None, _) => Change::Wait { after: unmet },
            };
            self.change(id, change, now);
        }
    }

    /// The jobs that go by a name or a number (`#12`, `12`): of a name the latest, with the others of its group.
    pub fn jobs_called(&self, name: &str) -> Vec<JobId> {
        let name = name.trim();
        if let Ok(number) = name.strip_prefix('#').unwrap_or(name).parse::<u64>()
            && self.jobs.contains_key(&JobId(number))
        {
            return vec![JobId(number)];
        }
        let is_one = |state: &JobState| !matches!(state, JobState::Rejected { .. });
        let Some(latest) = self.jobs.values().rev().find(|job| job.name == name && is_one(&job.state)) else {
            return Vec::new();
        };
        let Some(group) = &latest.group else { return vec![self.meant_by(latest.id)] };
        let last = JobId(group.first.0 + group.of as u64);
        let all: BTreeSet<_> = self.jobs.range(group.first..last).map(|(id, _)| self.meant_by(*id)).collect();
        all.into_iter().collect()
    }

    /// A duplicate is what it is a duplicate of, for those that wait for it or take what it gave.
    pub fn meant_by(&self, id: JobId) -> JobId {
        match self.jobs.get(&id).map(|job| &job.state) {
            Some(JobState::Duplicate { of }) => *of,
            _ => id,
        }
    }

    /// Names of jobs, the latest first, for hints.
    pub fn job_names(&self) -> impl Iterator<Item = &str> {
        self.jobs.values().rev().take(1000).map(|job| job.name.as_str())
    }

    /// The seed of the last job of this workflow that has one.
    pub fn last_seed(&self, workflow: &str) -> Option<u64> {
        self.jobs.values().rev().filter(|job| job.workflow == workflow).find_map(|job| job.seed.value())
    }
}
