//! What the driver, the intake and the faces ask of the state, and the little they may put into it between two steps.

use jiff::Timestamp;

use super::{RANK_STEP, State, counts};
use crate::estimate::Node;
use crate::job::{Job, JobId, JobState};
use crate::protocol::{EngineRow, Progress, ServerRow, Update};

impl State {
    /// When [`super::Input::Tick`] is due next.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A place at the end of the queue.
    pub fn take_rank(&mut self) -> i64 {
        let rank = self.next_rank;
        self.next_rank = rank.saturating_add(RANK_STEP);
        rank
    }

    /// A seed for a job that leaves it to chance: below 2^48, so that every tool and JSON reader keeps it whole.
    pub fn draw_seed(&mut self) -> u64 {
        self.rng.u64(1..1 << 48)
    }

    /// A job that counts as the one of its kind goes before one that failed or was cancelled.
    pub(super) fn know_twin(&mut self, fingerprint: String, job: &Job) {
        let known = self.fingerprints.get(&fingerprint).and_then(|id| self.jobs.get(id));
        if known.is_none_or(|known| known.id == job.id || !counts(known)) {
            self.fingerprints.insert(fingerprint, job.id);
        }
    }

    /// The job that renders, has rendered or will render the same.
    pub fn same_as(&self, fingerprint: &str) -> Option<JobId> {
        let id = *self.fingerprints.get(fingerprint)?;
        let job = self.jobs.get(&id)?;
        counts(job).then_some(id)
    }

    pub fn jobs_of_file(&self, file: u64) -> Vec<JobId> {
        // Numbers of one file follow each other.
        self.jobs.range(JobId(file)..).take_while(|(_, j)| j.file == Some(file)).map(|(id, _)| *id).collect()
    }

    /// Drops jobs whose file was never taken after all.
    pub fn forget(&mut self, file: u64, jobs: &[JobId]) {
        self.files.remove(&file);
        for id in jobs {
            if let Some(job) = self.jobs.remove(id) {
                self.queue.remove(&job.order());
            }
        }
        self.fingerprints.retain(|_, id| !jobs.contains(id));
    }

    /// All jobs, in the order of their numbers.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// The nodes of a graph that is about to be posted: its start may be heard before the POST's answer.
    pub fn know_nodes(&mut self, id: JobId, nodes: Vec<Node>) {
        self.nodes.insert(id, nodes);
    }

    /// Cancelled, or to be taken back, while its files were uploaded: it need not be posted any more.
    pub fn is_wanted(&self, id: JobId) -> bool {
        self.stopping.is_none()
            && !self.taking_back.contains(&id)
            && self.jobs.get(&id).is_some_and(|j| matches!(j.state, JobState::Submitting))
    }

    /// Names of the servers, for `"server"` in a job file.
    pub fn server_names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|s| s.name.as_str())
    }

    /// The version of a server that has been found.
    pub fn server_version(&self, server: usize) -> Option<String> {
        self.servers.get(server).map(|s| s.about.version.clone())
    }

    pub fn is_server_up(&self, server: usize) -> bool {
        self.is_up(server)
    }

    /// True while something of ours renders or waits at this server: it is asked more often then.
    pub fn is_busy(&self, server: usize) -> bool {
        self.servers.get(server).is_some_and(|s| s.remaining > 0) || self.at_server(server).next().is_some()
    }

    /// Rows of the servers whose counts or link changed since the last call. Their samples went
    /// out one by one and are not repeated.
    pub fn take_server_rows(&mut self) -> Vec<ServerRow> {
        let dirty = std::mem::take(&mut self.dirty_servers);
        let bare = |row: ServerRow| ServerRow { samples: Vec::new(), ..row };
        dirty.into_iter().filter_map(|server| self.server_row(server).map(bare)).collect()
    }

    /// A look-only engine takes and submits from now on.
    pub fn take_up_work(&mut self, now: Timestamp) {
        self.policy.look_only = false;
        self.row.look_only = false;
        self.begin_paused(now);
        self.publish(Update::Engine(self.row.clone()));
    }

    /// Some progress has not been taken yet.
    pub fn has_progress(&self) -> bool {
        !self.dirty_progress.is_empty()
    }

    /// Something of ours renders.
    pub fn renders(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Nothing is at a server, being collected or measured, and nothing waits to be sent.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self
                .jobs
                .values()
                .all(|j| !j.state.is_at_server() && !matches!(j.state, JobState::Collecting | JobState::Measuring))
    }

    /// Progress of the jobs whose progress changed since the last call.
    pub fn take_progress(&mut self, now: Timestamp) -> Vec<(JobId, Progress)> {
        let dirty = std::mem::take(&mut self.dirty_progress);
        dirty.into_iter().filter_map(|id| Some((id, self.progress(id, now)?))).collect()
    }

    /// Marks all running renders, whose bars move with time alone.
    pub fn touch_progress(&mut self) {
        self.dirty_progress.extend(self.watches.keys());
    }

    pub fn engine_row(&self) -> &EngineRow {
        &self.row
    }
}
