//! What the engine knows and how it decides: a state machine without I/O.
//!
//! [`State::step`] takes one input and the time, and answers with effects for the driver. Effects
//! are run in order, and all [`Effect::Write`]s of a step are committed before any other: nothing
//! is acted on that is not written. It never waits, never reads a clock, never draws a number
//! from outside its own seeded generator; so it runs in virtual time as well.

mod commands;
mod plan;
mod recover;
mod servers;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::estimate::{Node, NodeTimes, Run};
use crate::job::{Change, Failure, Job, JobId, JobState, Output};
use crate::protocol::{
    Answer, Away, EngineRow, JobRow, Level, Link, Notice, Progress, Request, Sample, ServerPrompt, ServerRow, Snapshot,
    Status, Update,
};
use crate::store::Write;
use crate::verdict::Measurement;

/// How often an attempt may be lost to a dying server before the job fails.
const MAX_LOST: usize = 3;
/// How often a POST may be answered with a 5xx, and the prompt then be nowhere.
const MAX_REFUSALS: u32 = 3;
/// Samples kept for each server: ten minutes at one a second.
const MAX_SAMPLES: usize = 600;
/// An interruption of another job of ours this soon after our own interrupt was caused by it.
const INTERRUPT_SHADOW: Duration = Duration::from_secs(2);
/// Pending rows that show their place.
const SHOWN_PLACES: usize = 20;

/// What does not change while the engine runs.
#[derive(Debug, Clone)]
pub struct Policy {
    /// After a POST whose answer never came, wait this long before posting again.
    pub post_grace: Duration,
    /// Nothing heard this long while our job runs: ask.
    pub quiet: Duration,
    /// Take and submit nothing.
    pub look_only: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { post_grace: Duration::from_secs(10), quiet: Duration::from_secs(20), look_only: false }
    }
}

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A timer that [`State::next_wake`] named is due.
    Tick,
    /// A file was taken; its rows are in the store already.
    Taken {
        file: OpenFile,
        jobs: Vec<Job>,
    },
    /// A server answers, and its websocket listens.
    Up {
        server: usize,
        about: About,
    },
    /// Its websocket is closed, or it does not answer.
    Down {
        server: usize,
        why: String,
        retry_at: Timestamp,
    },
    Heard {
        server: usize,
        heard: Heard,
    },
    Stats {
        server: usize,
        sample: Sample,
    },
    /// `GET /prompt`: running + pending, everybody's.
    Count {
        server: usize,
        remaining: u32,
    },
    /// The answer to [`Effect::Look`].
    Looked {
        server: usize,
        found: Vec<(JobId, String, Look)>,
    },
    /// The answer to [`Effect::Look`], where the server could not be asked.
    LookFailed {
        server: usize,
        jobs: Vec<JobId>,
    },
    Posted {
        server: usize,
        job: JobId,
        prompt_id: String,
        result: PostResult,
    },
    Collected {
        job: JobId,
        prompt_id: String,
        result: Result<Collected, CollectFailure>,
    },
    Measured {
        job: JobId,
        measurement: Measurement,
    },
    Ask {
        ask: u64,
        request: Request,
    },
    /// A dashboard came, or left.
    Dashboard {
        here: bool,
    },
    Banners(Vec<String>),
    Notice {
        level: Level,
        text: String,
    },
    /// A file of jobs came back into the inbox: run those again that are not done.
    Returned {
        file: OpenFile,
        jobs: Vec<JobId>,
    },
}

/// What a server says of itself when it is found.
#[derive(Debug, Clone, Default)]
pub struct About {
    pub version: String,
    pub device: Option<String>,
    pub is_cpu: bool,
    pub flags: Vec<String>,
    pub sample: Option<Sample>,
}

/// A message of the websocket, reduced to what matters here. `prompt` is a `prompt_id`.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Running + pending, everybody's.
    Remaining(u32),
    Started {
        prompt: String,
    },
    Cached {
        prompt: String,
        nodes: Vec<String>,
    },
    Node {
        prompt: Option<String>,
        node: String,
    },
    Step {
        prompt: Option<String>,
        node: String,
        value: u64,
        max: u64,
    },
    Rendered {
        prompt: String,
    },
    /// `node`: the id of the one to blame.
    Failed {
        prompt: String,
        node: Option<String>,
        why: Failure,
    },
    Interrupted {
        prompt: String,
    },
    /// The last word on a prompt: its history is written.
    Last {
        prompt: String,
    },
    /// Anything else: the server is alive.
    Other,
}

/// Where a server has a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// Neither in its queue nor in its history.
    Unknown,
    /// `copies`: a repeated id stands there more than once.
    Pending {
        copies: u32,
    },
    Running {
        copies: u32,
    },
    Ended {
        ending: Found,
        seconds: Option<f64>,
    },
}

/// How history says that a prompt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Success,
    /// `node`: the id of the one to blame.
    Failed {
        node: Option<String>,
        why: Failure,
    },
    Interrupted,
}

#[derive(Debug, Clone, PartialEq)]
pub enum PostResult {
    /// In the server's queue. `notes`: parts that it refused while it took the rest.
    Accepted { notes: Vec<String>, nodes: Vec<Node> },
    /// The server will not have it.
    Refused(Failure),
    /// It can't have arrived.
    NotSent(String),
    /// It may have arrived. `nodes` as for `Accepted`.
    Unsure { why: String, refused: bool, nodes: Vec<Node> },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    pub outputs: Vec<Output>,
    pub notes: Vec<String>,
    /// At least one of them can be measured.
    pub to_measure: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CollectFailure {
    /// Try again: the server can't be reached, the disk is full.
    Later(String),
    /// The server has no such file any more: only a new render helps.
    Gone(String),
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Write(Write),
    /// Upload what the job needs, fill its graph, keep it, POST it.
    Submit {
        server: usize,
        job: JobId,
        prompt_id: String,
        seed: Option<u64>,
    },
    /// See where the server has these prompts, having done `first` to them.
    Look {
        server: usize,
        prompts: Vec<(JobId, String)>,
        first: First,
    },
    /// Remove one copy of a prompt that stands twice.
    Delete {
        server: usize,
        prompt_id: String,
    },
    /// Fetch the outputs. `salvage`: the server has forgotten the prompt; look for files under its own prefix.
    Collect {
        server: usize,
        job: JobId,
        prompt_id: String,
        salvage: bool,
    },
    Measure {
        job: JobId,
        outputs: Vec<Output>,
    },
    /// Close the websocket, await the close, connect anew.
    Reconnect {
        server: usize,
    },
    /// All jobs of the file have ended.
    FinishFile {
        file: OpenFile,
        failed: bool,
        rows: Vec<JobRow>,
    },
    Publish(Box<Update>),
    Reply {
        ask: u64,
        result: Result<Answer, String>,
    },
    Exit,
}

/// What to do to prompts before looking where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    Nothing,
    /// Remove them from the queue.
    Delete,
    /// Remove them from the queue, and interrupt them by id.
    Cancel,
}

/// A job file whose jobs have not all ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    pub id: u64,
    pub name: String,
    pub jobs: Vec<JobId>,
}

#[derive(Debug)]
struct Server {
    name: String,
    url: String,
    /// 0 = all.
    in_flight: usize,
    link: Link,
    /// The link has held since then.
    up_since: Option<Timestamp>,
    about: About,
    samples: VecDeque<Sample>,
    remaining: u32,
    /// Their POSTs are under way: decided, not answered.
    posting: BTreeSet<JobId>,
    interrupted_at: Option<Timestamp>,
    heard_at: Timestamp,
    /// `GET /prompt` differed from the last status this often in a row.
    differs: u8,
    /// A look at the unexplained count is on its way.
    surveying: bool,
}

/// A render that is being watched.
#[derive(Debug)]
struct Watch {
    run: Run,
    began: Timestamp,
    peak_vram: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// See where the job's prompt is.
    Look(JobId),
    /// Cancel again: the server has not agreed yet.
    Cancel(JobId),
    Collect(JobId),
    /// The count of this server is unexplained.
    Survey(usize),
    /// See whether anything was heard.
    Quiet(usize),
    /// Stop without waiting any longer.
    Exit,
}

/// Everything the engine knows.
#[derive(Debug)]
pub struct State {
    policy: Policy,
    row: EngineRow,
    jobs: BTreeMap<JobId, Job>,
    /// What waits to be submitted, in order: see [`Job::order`].
    queue: BTreeSet<(i64, i64, u64)>,
    /// What a server has, or may have.
    held: BTreeSet<JobId>,
    files: BTreeMap<u64, OpenFile>,
    servers: Vec<Server>,
    watches: HashMap<JobId, Watch>,
    nodes: HashMap<JobId, Vec<Node>>,
    prompts: HashMap<String, JobId>,
    fingerprints: HashMap<String, JobId>,
    estimates: BTreeMap<String, NodeTimes>,
    /// POSTs whose fate is unknown: since when, and how often the server refused with a 5xx.
    unsure: HashMap<JobId, (Timestamp, u32)>,
    /// Cancels that wait for the answer to a POST, and stops that take back.
    taking_back: HashSet<JobId>,
    collecting: HashSet<JobId>,
    timers: BTreeSet<(Timestamp, Timer)>,
    notices: VecDeque<Notice>,
    away_since: Option<Timestamp>,
    dashboards: u32,
    stopping: Option<Vec<u64>>,
    rng: fastrand::Rng,
    next_rank: i64,
    // what this step decided
    out: Vec<Effect>,
    dirty_jobs: BTreeSet<JobId>,
    dirty_servers: BTreeSet<usize>,
    dirty_progress: BTreeSet<JobId>,
}

/// A server as the config names it.
#[derive(Debug, Clone)]
pub struct ServerSeat {
    pub name: String,
    /// Shown: without user, password and query.
    pub url: String,
    pub in_flight: u32,
}

/// What the store held when the engine started.
#[derive(Debug, Default)]
pub struct Remembered {
    pub jobs: Vec<Job>,
    pub files: Vec<OpenFile>,
    pub estimates: BTreeMap<String, NodeTimes>,
    /// Nodes of the graphs that may be rendering.
    pub nodes: HashMap<JobId, Vec<Node>>,
    /// When the last dashboard left.
    pub away_since: Option<Timestamp>,
}

fn plus(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

fn since(now: Timestamp, then: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or(Duration::ZERO)
}

impl State {
    pub fn new(
        policy: Policy,
        row: EngineRow,
        seats: Vec<ServerSeat>,
        remembered: Remembered,
        seed: u64,
        now: Timestamp,
    ) -> Self {
        let servers = seats
            .into_iter()
            .map(|seat| Server {
                name: seat.name,
                url: seat.url,
                in_flight: seat.in_flight as usize,
                link: Link::Connecting,
                up_since: None,
                about: About::default(),
                samples: VecDeque::new(),
                remaining: 0,
                posting: BTreeSet::new(),
                interrupted_at: None,
                heard_at: now,
                differs: 0,
                surveying: false,
            })
            .collect();
        let mut state = Self {
            policy,
            row,
            jobs: BTreeMap::new(),
            queue: BTreeSet::new(),
            held: BTreeSet::new(),
            files: remembered.files.into_iter().map(|f| (f.id, f)).collect(),
            servers,
            watches: HashMap::new(),
            nodes: remembered.nodes,
            prompts: HashMap::new(),
            fingerprints: HashMap::new(),
            estimates: remembered.estimates,
            unsure: HashMap::new(),
            taking_back: HashSet::new(),
            collecting: HashSet::new(),
            timers: BTreeSet::new(),
            notices: VecDeque::new(),
            away_since: remembered.away_since,
            dashboards: 0,
            stopping: None,
            rng: fastrand::Rng::with_seed(seed),
            next_rank: 0,
            out: Vec::new(),
            dirty_jobs: BTreeSet::new(),
            dirty_servers: BTreeSet::new(),
            dirty_progress: BTreeSet::new(),
        };
        for job in remembered.jobs {
            state.remember(job);
        }
        state
    }

    fn remember(&mut self, job: Job) {
        self.next_rank = self.next_rank.max(job.rank + 1);
        if let Some(print) = &job.fingerprint
            && !matches!(job.state, JobState::Duplicate { .. } | JobState::Rejected { .. })
        {
            self.fingerprints.entry(print.clone()).or_insert(job.id);
        }
        if let Some(attempt) = job.attempt()
            && !job.state.is_ended()
        {
            self.prompts.insert(attempt.prompt_id.clone(), job.id);
        }
        if job.state.is_at_server() {
            self.held.insert(job.id);
        }
        if matches!(job.state, JobState::Queued) {
            self.queue.insert(job.order());
        }
        self.jobs.insert(job.id, job);
    }

    // ---- what the driver and the intake ask -------------------------------------------------

    /// When [`Input::Tick`] is due next.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A place at the end of the queue.
    pub fn take_rank(&mut self) -> i64 {
        self.next_rank += 1;
        self.next_rank - 1
    }

    /// A seed for a job that leaves it to chance: below 2^48, so that every tool and JSON reader keeps it whole.
    pub fn draw_seed(&mut self) -> u64 {
        self.rng.u64(1..1 << 48)
    }

    /// The job that renders, has rendered or will render the same.
    pub fn same_as(&self, fingerprint: &str) -> Option<JobId> {
        let id = *self.fingerprints.get(fingerprint)?;
        let job = self.jobs.get(&id)?;
        let counts = !job.state.is_ended() || matches!(job.state, JobState::Done);
        counts.then_some(id)
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

    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Names of the servers, for `"server"` in a job file.
    pub fn server_names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|s| s.name.as_str())
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
    pub fn take_up_work(&mut self) {
        self.policy.look_only = false;
        self.row.look_only = false;
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

    fn progress(&mut self, id: JobId, now: Timestamp) -> Option<Progress> {
        let watch = self.watches.get_mut(&id)?;
        Some(watch.run.progress(since(now, watch.began).as_secs_f64()))
    }

    pub fn job_row(&mut self, id: JobId, now: Timestamp) -> Option<JobRow> {
        let mut row = JobRow::of(self.jobs.get(&id)?);
        row.progress = self.progress(id, now);
        if matches!(row.state, JobState::Pending) {
            row.position = self.place(id);
        }
        Some(row)
    }

    /// 1 = the next to render of what its server holds of ours.
    fn place(&self, id: JobId) -> Option<u32> {
        let server = self.server_of(id)?;
        let mut pending: Vec<_> = self
            .at_server(server)
            .filter(|j| matches!(j.state, JobState::Pending))
            .filter_map(|j| Some((j.attempt()?.submitted_at, j.id)))
            .take(SHOWN_PLACES)
            .collect();
        pending.sort_unstable();
        let index = pending.iter().position(|(_, other)| *other == id)?;
        u32::try_from(index + 1).ok()
    }

    pub fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        let ids: Vec<_> = self.jobs.keys().copied().collect();
        Snapshot {
            engine: self.row.clone(),
            servers: (0..self.servers.len()).filter_map(|s| self.server_row(s)).collect(),
            jobs: ids.into_iter().filter_map(|id| self.job_row(id, now)).collect(),
            expect: self.expectations(),
            notices: self.notices.iter().cloned().collect(),
            away: self.away(),
        }
    }

    pub fn status(&self) -> Status {
        Status {
            engine: self.row.clone(),
            servers: (0..self.servers.len()).filter_map(|s| self.server_row(s)).collect(),
        }
    }

    pub fn engine_row(&self) -> &EngineRow {
        &self.row
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
            let ssim = job.attempt().and_then(|a| a.measurement.as_ref()).and_then(|m| m.ssim);
            away.best_ssim = match (away.best_ssim, ssim) {
                (Some(a), Some(b)) => Some(f64::max(a, b)),
                (a, b) => a.or(b),
            };
        }
        (away.done + away.failed > 0).then_some(away)
    }

    fn server_row(&self, index: usize) -> Option<ServerRow> {
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
            is_cpu: server.about.is_cpu,
            flags: server.about.flags.clone(),
            samples: server.samples.iter().copied().collect(),
        })
    }

    // ---- the step ---------------------------------------------------------------------------

    /// Takes one input, answers with what to do.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        match input {
            Input::Tick => self.tick(now),
            Input::Taken { file, jobs } => self.taken(file, jobs, now),
            Input::Up { server, about } => self.up(server, about, now),
            Input::Down { server, why, retry_at } => self.down(server, why, retry_at, now),
            Input::Heard { server, heard } => self.heard(server, heard, now),
            Input::Stats { server, sample } => self.stats(server, sample),
            Input::Count { server, remaining } => self.count(server, remaining),
            Input::Looked { server, found } => self.looked(server, found, now),
            Input::LookFailed { server, jobs } => self.look_failed(server, &jobs, now),
            Input::Posted { server, job, prompt_id, result } => self.posted(server, job, &prompt_id, result, now),
            Input::Collected { job, prompt_id, result } => self.collected(job, &prompt_id, result, now),
            Input::Measured { job, measurement } => {
                if matches!(self.jobs.get(&job).map(|j| &j.state), Some(JobState::Measuring)) {
                    self.change(job, Change::Measured { measurement }, now);
                }
            }
            Input::Ask { ask, request } => self.asked(ask, request, now),
            Input::Dashboard { here } => self.dashboard(here, now),
            Input::Banners(banners) => {
                if self.row.banners != banners {
                    self.row.banners = banners;
                    self.publish(Update::Engine(self.row.clone()));
                }
            }
            Input::Notice { level, text } => self.notice(level, text, now),
            Input::Returned { file, jobs } => {
                self.files.insert(file.id, file);
                for id in jobs {
                    let again = self.jobs.get(&id).is_some_and(|j| {
                        j.state.is_ended() && !matches!(j.state, JobState::Done | JobState::Rejected { .. })
                    });
                    if again {
                        let _ = self.requeue(id, false, now);
                    }
                }
            }
        }
        self.plan(now);
        self.finish(now)
    }

    /// Gathers the step's effects: writes first, then acts, then what faces are told.
    fn finish(&mut self, now: Timestamp) -> Vec<Effect> {
        for id in std::mem::take(&mut self.dirty_jobs) {
            if let Some(row) = self.job_row(id, now) {
                self.publish(Update::Job(Box::new(row)));
            }
        }
        let mut effects = std::mem::take(&mut self.out);
        effects.sort_by_key(|effect| match effect {
            Effect::Write(_) => 0,
            Effect::Publish(_) | Effect::Reply { .. } => 2,
            Effect::Exit => 3,
            _ => 1,
        });
        effects
    }

    fn publish(&mut self, update: Update) {
        self.out.push(Effect::Publish(Box::new(update)));
    }

    fn notice(&mut self, level: Level, text: String, now: Timestamp) {
        let notice = Notice { at: now, level, text };
        self.notices.push_back(notice.clone());
        if self.notices.len() > 50 {
            self.notices.pop_front();
        }
        self.publish(Update::Notice(notice));
    }

    fn after(&mut self, now: Timestamp, wait: Duration, timer: Timer) {
        self.timers.retain(|(_, other)| *other != timer);
        self.timers.insert((plus(now, wait), timer));
    }

    /// The one way a job changes: applied, written, shown, and its file finished with the last of its jobs.
    fn change(&mut self, id: JobId, change: Change, now: Timestamp) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        let before = job.order();
        let had_prompt = job.attempt().map(|a| a.prompt_id.clone());
        if let Err(error) = job.apply(&change) {
            tracing::warn!("{error}");
            return false;
        }
        self.queue.remove(&before);
        if matches!(job.state, JobState::Queued) {
            self.queue.insert(job.order());
        }
        let (ended, waiting) = (job.state.is_ended(), job.state.is_waiting());
        let prompt = job.attempt().map(|a| a.prompt_id.clone());
        let job = Box::new(job.clone());
        let file = job.file;
        let at_server = job.state.is_at_server();
        self.out.push(Effect::Write(Write::Job { job, change, at: now }));
        if let Some(old) = had_prompt {
            self.prompts.remove(&old);
        }
        if let Some(new) = prompt
            && !ended
            && !waiting
        {
            self.prompts.insert(new, id);
        }
        if at_server {
            self.held.insert(id);
        } else {
            self.held.remove(&id);
        }
        self.dirty_jobs.insert(id);
        if let Some(server) = self.server_of(id) {
            self.dirty_servers.insert(server);
            let pending: Vec<_> = self
                .at_server(server)
                .filter(|j| matches!(j.state, JobState::Pending))
                .map(|j| j.id)
                .take(SHOWN_PLACES)
                .collect();
            self.dirty_jobs.extend(pending);
        }
        if !at_server {
            self.watches.remove(&id);
            self.unsure.remove(&id);
            self.taking_back.remove(&id);
        }
        if ended || waiting {
            self.nodes.remove(&id);
            self.collecting.remove(&id);
        }
        if ended && let Some(file) = file {
            self.finish_file(file, now);
        }
        true
    }

    /// New jobs, written already.
    fn taken(&mut self, file: OpenFile, jobs: Vec<Job>, now: Timestamp) {
        let id = file.id;
        self.files.insert(id, file);
        for job in jobs {
            self.dirty_jobs.insert(job.id);
            self.remember(job);
        }
        self.finish_file(id, now);
    }

    fn finish_file(&mut self, file: u64, now: Timestamp) {
        let Some(open) = self.files.get(&file) else { return };
        let ended = |id: &JobId| self.jobs.get(id).is_none_or(|j| j.state.is_ended());
        if !open.jobs.iter().all(ended) {
            return;
        }
        let Some(open) = self.files.remove(&file) else { return };
        let rows: Vec<_> = open.jobs.iter().filter_map(|id| self.job_row(*id, now)).collect();
        let failed = !rows.iter().all(|r| matches!(r.state, JobState::Done | JobState::Duplicate { .. }));
        self.out.push(Effect::FinishFile { file: open, failed, rows });
    }
}
