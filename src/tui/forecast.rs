//! When waiting jobs should start, and when the queue should be empty.
//!
//! Pure. Worked out from what the running jobs have left and what earlier renders of the same kind
//! took. Where anything on the way is unknown, everything behind it is too: nothing is guessed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use super::list::{Entry, JobList, PENDING, QUEUED, RUNNING};
use crate::job::{JobId, JobState};
use crate::protocol::{Link, ServerRow};

/// A forecast is kept until what it rests on has moved by this much: a clock that flickers between
/// two minutes helps nobody.
const STEADY: f64 = 20.0;

#[derive(Debug, Default)]
pub struct Forecast {
    starts: HashMap<JobId, Timestamp>,
    empty: Option<Timestamp>,
    /// When the servers were expected to be free as it was made.
    free: Option<Vec<Timestamp>>,
}

impl Forecast {
    pub fn starts(&self, id: JobId) -> Option<Timestamp> {
        self.starts.get(&id).copied()
    }

    pub fn empty(&self) -> Option<Timestamp> {
        self.empty
    }

    /// Whether the running jobs' ends have moved enough to forecast anew.
    pub fn is_stale(&self, jobs: &JobList, servers: &[ServerRow], now: Timestamp) -> bool {
        match (&self.free, free(jobs, servers, now)) {
            (None, None) => false,
            (Some(was), Some(is)) => {
                was.len() != is.len()
                    || was.iter().zip(&is).any(|(a, b)| a.duration_since(*b).as_secs_f64().abs() > STEADY)
            }
            _ => true,
        }
    }

    /// `expect`: seconds a render of a kind takes.
    pub fn of(jobs: &JobList, servers: &[ServerRow], expect: &BTreeMap<String, f64>, now: Timestamp) -> Self {
        let mut made = Self { free: free(jobs, servers, now), ..Self::default() };
        let Some(mut free) = made.free.clone() else { return made };
        let mut any = running(jobs).next().is_some();
        for (_, entry) in jobs.active().filter(|(place, _)| (PENDING..=QUEUED).contains(&place.0)) {
            any = true;
            let Some(first) = free.iter_mut().min() else { return made };
            made.starts.insert(entry.row.id, *first);
            let after = expect
                .get(&entry.row.kind)
                .and_then(|s| Duration::try_from_secs_f64(s.clamp(0.0, 1e8)).ok())
                .and_then(|takes| first.checked_add(takes).ok());
            let Some(after) = after else { return made };
            *first = after;
        }
        made.empty = free.into_iter().max().filter(|_| any);
        made
    }
}

/// What a server renders now; they stand at the front, so nothing here grows with the queue.
fn running(jobs: &JobList) -> impl Iterator<Item = &Entry> {
    jobs.active()
        .take_while(|(place, _)| place.0 <= RUNNING)
        .map(|(_, e)| e)
        .filter(|e| matches!(e.row.state, JobState::Running))
}

/// When each server that is there should be free; `None` where one of them can't be known.
fn free(jobs: &JobList, servers: &[ServerRow], now: Timestamp) -> Option<Vec<Timestamp>> {
    let mut free = Vec::new();
    for server in servers.iter().filter(|s| matches!(s.link, Link::Up { .. }) && s.flow.goes()) {
        let others = server.running.iter().any(|p| p.job.is_none());
        if others || server.pending_others > 0 {
            return None;
        }
        let mut at = now;
        for entry in running(jobs) {
            let here = entry.row.server.as_deref().is_none_or(|name| name == server.name);
            if here {
                at = at.max(entry.ends?);
            }
        }
        free.push(at);
    }
    if free.is_empty() { None } else { Some(free) }
}
