//! What faces are shown: rows, snapshot, status. Nothing is decided here.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{SHOWN_PLACES, State, since};
use crate::estimate::NodeTimes;
use crate::job::{Job, JobId, JobState};
use crate::protocol::{Away, JobRow, Progress, ServerPrompt, ServerRow, Snapshot, Status};

impl State {
    pub(super) fn progress(&mut self, id: JobId, now: Timestamp) -> Option<Progress> {
        let watch = self.watches.get_mut(&id)?;
        Some(watch.run.progress(since(now, watch.began).as_secs_f64()))
    }

    pub fn job_row(&mut self, id: JobId, now: Timestamp) -> Option<JobRow> {
        let mut row = JobRow::of(self.jobs.get(&id)?);
        row.progress = self.progress(id, now);
        row.stalled_since = self.watches.get(&id).filter(|w| w.stalled).map(|w| w.moved_at);
        if matches!(row.state, JobState::Pending) {
            row.position = self.place(id);
        }
        row.trouble = self.troubles.get(&id).cloned().or_else(|| self.stray(id));
        Some(row)
    }

    /// Its server is not in the config any more: nobody can go on with it, and only a person can say what is to be.
    pub(super) fn stray(&self, id: JobId) -> Option<String> {
        let job = self.jobs.get(&id)?;
        if matches!(job.state, JobState::Queued) {
            let only = job.only_server.as_ref()?;
            let known = self.servers.iter().any(|s| s.name == *only);
            return (!known).then(|| format!("waits for the server `{only}`, which is not in the config"));
        }
        let held = job.state.is_at_server() || matches!(job.state, JobState::Collecting);
        let attempt = job.attempt().filter(|attempt| held && self.seat(attempt).is_none())?;
        let address = if attempt.url.is_empty() || attempt.url.trim_start_matches("http://") == attempt.server {
            String::new()
        } else {
            format!(" ({})", attempt.url)
        };
        Some(format!(
            "its server {}{address} is not in the config: name it there again, or cancel and requeue the job",
            attempt.server
        ))
    }

    /// All that wait for their turn, the next to render first: what servers have and have not begun, then the queue.
    pub fn line(&self) -> impl Iterator<Item = JobId> {
        let mut sent: Vec<_> = self.held.iter().filter_map(|id| self.jobs.get(id)).collect();
        sent.retain(|job| job.state.is_pending());
        sent.sort_by_key(|job| (job.attempt().map(|attempt| attempt.submitted_at), job.id));
        let sent: Vec<_> = sent.into_iter().map(|job| job.id).collect();
        sent.into_iter().chain(self.queue.iter().map(|(_, _, id)| JobId(*id)))
    }

    /// 1 = the next to render of what its server holds of ours.
    fn place(&self, id: JobId) -> Option<u32> {
        let pending = &self.servers.get(self.server_of(id)?)?.pending;
        let index = pending.iter().take(SHOWN_PLACES).position(|(_, other)| *other == id)?;
        u32::try_from(index + 1).ok()
    }

    /// Everything as it is now, but with these of the jobs only.
    pub fn snapshot(&mut self, jobs: &[JobId], now: Timestamp) -> Snapshot {
        Snapshot {
            engine: self.row.clone(),
            servers: (0..self.servers.len()).filter_map(|s| self.server_row(s)).collect(),
            jobs: self.rows(jobs, now),
            more: 0,
            expect: self.expectations(),
            notices: self.notices.iter().cloned().collect(),
            away: self.away(),
        }
    }

    pub fn rows(&mut self, jobs: &[JobId], now: Timestamp) -> Vec<JobRow> {
        jobs.iter().filter_map(|id| self.job_row(*id, now)).collect()
    }

    pub fn status(&self) -> Status {
        Status {
            engine: self.row.clone(),
            stalled: self.watches.iter().filter(|(_, w)| w.stalled).map(|(id, w)| (*id, w.moved_at)).collect(),
            // As it is now: the past is for graphs.
            servers: (0..self.servers.len())
                .filter_map(|s| self.server_row(s))
                .map(|row| ServerRow { samples: row.samples.last().cloned().into_iter().collect(), ..row })
                .collect(),
        }
    }

    fn expectations(&self) -> BTreeMap<String, f64> {
        let typical = |(kind, times): (&String, &NodeTimes)| Some((kind.clone(), times.typical()?));
        self.estimates.iter().filter_map(typical).collect()
    }

    fn away(&self) -> Option<Away> {
        let since = self.away_since?;
        let ended = |j: &&Job| j.attempt().and_then(|a| a.ended_at).is_some_and(|at| at > since);
        let mut away = Away { since, done: 0, failed: 0, best_ssim: None };
        for job in self.jobs.values().filter(ended) {
            match job.state {
                JobState::Done => away.done += 1,
                JobState::Failed { .. } => away.failed += 1,
                _ => {}
            }
            let ssim = job.chosen().filter(|a| !a.is_discarded()).and_then(|a| a.result()?.ssim);
            away.best_ssim = match (away.best_ssim, ssim) {
                (Some(a), Some(b)) => Some(f64::max(a, b)),
                (a, b) => a.or(b),
            };
        }
        (away.done + away.failed > 0).then_some(away)
    }

    pub(super) fn server_row(&self, index: usize) -> Option<ServerRow> {
        let server = self.servers.get(index)?;
        let mut ours_running = Vec::new();
        let mut ours = 0;
        let mut pending_ours = 0;
        for job in self.at_server(index) {
            ours += 1;
            match job.state {
                JobState::Pending => pending_ours += 1,
                JobState::Running | JobState::Cancelling { .. } => {
                    ours_running.push(ServerPrompt { job: Some(job.id) });
                }
                _ => {}
            }
        }
        let others = server.remaining.saturating_sub(ours);
        let mut running = ours_running;
        let mut pending_others = others;
        if running.is_empty() && others > 0 {
            running.push(ServerPrompt { job: None });
            pending_others -= 1;
        }
        Some(ServerRow {
            name: server.name.clone(),
            url: server.url.clone(),
            link: server.link.clone(),
            version: (!server.about.version.is_empty()).then(|| server.about.version.clone()),
            running,
            pending_ours,
            pending_others,
            device: server.about.device.clone(),
            other_devices: server.about.other_devices.clone(),
            is_cpu: server.about.is_cpu,
            flags: server.about.flags.clone(),
            samples: server.samples.iter().cloned().collect(),
            flow: server.flow.clone(),
        })
    }
}
