//! What the engine knows and how it decides: a state machine without I/O.
//!
//! [`State::step`] takes one input and the time, and answers with effects for the driver. Effects
//! are run in order, and all [`Effect::Write`]s of a step are committed before any other: nothing
//! is acted on that is not written. It never waits, never reads a clock, never draws a number
//! from outside its own seeded generator; so it runs in virtual time as well.

mod after;
mod amend;
mod asked;
mod change;
mod collecting;
mod commands;
mod flow;
mod looking;
mod marks;
mod order;
mod plan;
mod policy;
mod recover;
mod retry;
mod servers;
mod stall;
mod tries;
mod views;
mod words;

pub use amend::HOLD_KEY;
pub use flow::{FLOW_KEY, KeptFlow};
pub use policy::Policy;
pub use retry::Retries;
pub use words::{About, CollectFailure, Collected, Effect, First, Found, Heard, Input, Look, OpenFile, PostResult};

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::estimate::{Node, NodeTimes, Run};
use crate::job::{Change, FailureKind, Job, JobId, JobState};
use crate::protocol::{EngineRow, Flow, Level, Link, Notice, Sample, Update};

/// How often a POST may be answered with a 5xx, and the prompt then be nowhere.
const MAX_REFUSALS: u32 = 3;
/// Samples kept for each server: ten minutes at one a second.
const MAX_SAMPLES: usize = 600;
/// An interruption of another job of ours this soon after our own interrupt was caused by it.
const INTERRUPT_SHADOW: Duration = Duration::from_secs(2);
/// A socket found deaf so often within so long is taken for one with a foreign twin.
const DEAF_OFTEN: usize = 3;
const DEAF_WITHIN: Duration = Duration::from_mins(5);
/// Between two jobs of the queue there is room for others.
const RANK_STEP: i64 = 1 << 20;
/// Pending rows that show their place.
const SHOWN_PLACES: usize = 20;

#[derive(Debug)]
struct Server {
    name: String,
    url: String,
    /// 0 = all.
    in_flight: usize,
    link: Link,
    /// The link has held since then.
    up_since: Option<Timestamp>,
    /// How often the link came about: two things said over one link were said to one process, if a ping can prove
    /// that the link still holds.
    links: u64,
    /// These are nowhere, so a person deleted them there, if only the process is still the one that had them: the
    /// answer to this ping, or a later one, proves it.
    doubted: BTreeMap<JobId, u64>,
    pings: u64,
    about: About,
    samples: VecDeque<Sample>,
    remaining: u32,
    /// Their POSTs are under way: decided, not answered.
    posting: BTreeSet<JobId>,
    interrupted_at: Option<Timestamp>,
    heard_at: Timestamp,
    /// `GET /prompt` differed from the last status this often in a row.
    differs: u8,
    /// This look at all that it has is on its way, or failed and comes again. Nothing is sent before it is answered.
    surveying: Option<u64>,
    /// What it has pending of ours, in the order of submission.
    pending: BTreeSet<(Timestamp, JobId)>,
    /// Nothing is posted before then: the last POST could not be sent. How often in a row that was so.
    not_before: Option<Timestamp>,
    misses: u32,
    flow: Flow,
    /// It was asked to free its memory; it has answered.
    freeing: bool,
    freed: bool,
    /// When it was last lost.
    lost_at: Option<Timestamp>,
    /// When the socket was last found deaf.
    deaf_at: VecDeque<Timestamp>,
}

/// When a server took a prompt, by the order of all that servers took. No clock: it may jump.
#[derive(Debug, Clone, Copy)]
struct Sent {
    /// Over which link of its server; 0: of an earlier engine.
    link: u64,
    /// No sooner than, and (once it is known that it was taken) no later than.
    after: u64,
    before: u64,
    /// Looks up to this one were asked before it could have arrived: that they did not find it says nothing.
    looks: u64,
    /// Posted before, and nowhere: the first may still arrive.
    again: bool,
}

/// A render that is being watched.
#[derive(Debug)]
struct Watch {
    run: Run,
    began: Timestamp,
    peak_vram: u64,
    /// Its last step.
    moved_at: Timestamp,
    /// A timer looks for the next one.
    watched: bool,
    stalled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// See where the job's prompt is.
    Look(JobId),
    /// Cancel again: the server has not agreed yet.
    Cancel(JobId),
    Collect(JobId),
    /// See whether the render has made a step.
    Stall(JobId),
    /// The count of this server is unexplained.
    Survey(usize),
    /// See whether anything was heard.
    Quiet(usize),
    /// Something may be posted there again.
    Room(usize),
    /// Somebody waits for jobs to end.
    Waits,
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
    /// Who waits for a job.
    dependents: HashMap<JobId, Vec<JobId>>,
    /// Jobs whose waiting is to be looked at.
    after_due: BTreeSet<JobId>,
    estimates: BTreeMap<String, NodeTimes>,
    /// POSTs whose fate is unknown: since when, and how often the server refused with a 5xx.
    unsure: HashMap<JobId, (Timestamp, u32)>,
    /// They are being deleted at their server, to be queued again: a stop, a pause, a move.
    taking_back: HashSet<JobId>,
    /// They arrived nowhere, and are sent again once it is known of those before them.
    behind: BTreeSet<JobId>,
    /// What is done to some of them then.
    when_back: HashMap<JobId, amend::Then>,
    /// Queued jobs that ran out of memory and want their server for themselves.
    recovering: BTreeSet<JobId>,
    /// Interrupted by the watchdog, and in which words.
    stalled: HashMap<JobId, String>,
    /// Failures of one kind in a row.
    streak: Option<(FailureKind, u32)>,
    disk_is_low: bool,
    /// The queue got new members, or another order.
    reordered: bool,
    last_submitted: Timestamp,
    /// What holds up jobs that go on by themselves once it is mended.
    troubles: HashMap<JobId, String>,
    /// What servers have.
    sent: HashMap<JobId, Sent>,
    /// How many prompts servers took.
    takings: u64,
    /// How often servers were asked where prompts are.
    looks: u64,
    /// Of attempts whose files are being moved.
    marked_before: HashMap<(JobId, u32), marks::Before>,
    /// Deleted by a person, unless a file of theirs is there after all.
    deleted: HashSet<JobId>,
    /// The latest time that was told.
    clock: Timestamp,
    collecting: HashSet<JobId>,
    timers: BTreeSet<(Timestamp, Timer)>,
    notices: VecDeque<Notice>,
    away_since: Option<Timestamp>,
    dashboards: u32,
    stopping: Option<Vec<u64>>,
    /// Who waits for which jobs to end; no job named means all.
    waits: Vec<(u64, Vec<JobId>)>,
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
    /// Whether the queue went or was paused.
    pub flow: KeptFlow,
    /// These are held once their server has given them back.
    pub to_hold: Vec<JobId>,
}

fn plus(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

fn since(now: Timestamp, then: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or(Duration::ZERO)
}

/// It renders, has rendered or will render: the same once more would be a duplicate of it.
fn counts(job: &Job) -> bool {
    !job.state.is_ended() || matches!(job.state, JobState::Done)
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
                links: 0,
                doubted: BTreeMap::new(),
                pings: 0,
                about: About::default(),
                samples: VecDeque::new(),
                remaining: 0,
                posting: BTreeSet::new(),
                interrupted_at: None,
                heard_at: now,
                differs: 0,
                surveying: None,
                pending: BTreeSet::new(),
                not_before: None,
                misses: 0,
                flow: Flow::Going,
                freeing: false,
                freed: false,
                lost_at: None,
                deaf_at: VecDeque::new(),
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
            dependents: HashMap::new(),
            after_due: BTreeSet::new(),
            estimates: remembered.estimates,
            unsure: HashMap::new(),
            taking_back: HashSet::new(),
            behind: BTreeSet::new(),
            when_back: HashMap::new(),
            recovering: BTreeSet::new(),
            stalled: HashMap::new(),
            streak: None,
            disk_is_low: false,
            reordered: false,
            last_submitted: Timestamp::MIN,
            troubles: HashMap::new(),
            sent: HashMap::new(),
            takings: 0,
            looks: 0,
            marked_before: HashMap::new(),
            deleted: HashSet::new(),
            clock: now,
            collecting: HashSet::new(),
            timers: BTreeSet::new(),
            notices: VecDeque::new(),
            away_since: remembered.away_since,
            dashboards: 0,
            stopping: None,
            waits: Vec::new(),
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
        state.remember_order();
        state.hold_again(remembered.to_hold);
        state.recall_flow(remembered.flow, now);
        state
    }

    fn remember(&mut self, job: Job) {
        self.next_rank = self.next_rank.max(job.rank.saturating_add(RANK_STEP));
        if let Some(print) = &job.fingerprint
            && !matches!(job.state, JobState::Duplicate { .. } | JobState::Rejected { .. })
        {
            self.know_twin(print.clone(), &job);
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
            self.reordered = true;
            if job.wants_alone() {
                self.recovering.insert(job.id);
            }
        }
        let id = job.id;
        self.jobs.insert(id, job);
        self.note_pending(id);
        self.note_after(id);
    }

    // ---- the step ---------------------------------------------------------------------------

    /// Takes one input, answers with what to do.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        self.keep_time(now);
        match input {
            Input::Tick => self.tick(now),
            Input::Taken { file, jobs } => self.taken(file, jobs, now),
            Input::Up { server, about } => self.up(server, about, now),
            Input::Down { server, why, retry_at } => self.down(server, why, retry_at, now),
            Input::Heard { server, heard } => self.heard(server, heard, now),
            Input::Stats { server, sample } => self.stats(server, sample),
            Input::Count { server, remaining } => self.count(server, remaining, now),
            Input::Looked { server, asked, found } => self.looked(server, asked, found, now),
            Input::LookFailed { server, asked, jobs } => self.look_failed(server, asked, &jobs, now),
            Input::Posted { server, job, prompt_id, result } => self.posted(server, job, &prompt_id, result, now),
            Input::Collected { job, prompt_id, result } => self.collected(job, &prompt_id, result, now),
            Input::Measured { job, measurement, repaired } => self.measured(job, measurement, repaired, now),
            Input::Discarded { job, attempt, files, trouble, blocked } => {
                self.discarded(job, attempt, files, trouble, blocked, now);
            }
            Input::Repaired { ask, job, attempt, result } => self.repaired(ask, job, attempt, result, now),
            Input::Ask { ask, request } => self.asked(ask, request, now),
            Input::Dashboard { here } => self.dashboard(here, now),
            Input::Unfit { job, why } => {
                if self.jobs.get(&job).is_some_and(|j| j.state.is_waiting()) {
                    self.change(job, Change::Failed { why, at: now }, now);
                }
            }
            Input::Banners(banners) => {
                if self.row.banners != banners {
                    self.row.banners = banners;
                    self.publish(Update::Engine(self.row.clone()));
                }
            }
            Input::Notice { level, text } => self.notice(level, text, now),
            Input::Freed { server, result } => self.freed(server, result, now),
            Input::Disk { free } => self.disk(free, now),
            Input::Edited { ask, job, edit, prompt } => self.edited(ask, job, edit, prompt, now),
            Input::Reopened { file } => {
                let id = file.id;
                self.files.insert(id, file);
                self.finish_file(id, now);
            }
            Input::Returned { file, jobs } => {
                let number = file.id;
                self.files.insert(number, file);
                for id in jobs {
                    let again = self.jobs.get(&id).is_some_and(|j| {
                        j.state.is_ended() && !matches!(j.state, JobState::Done | JobState::Rejected { .. })
                    });
                    if again {
                        let _ = self.requeue(id, false, now);
                    }
                }
                self.finish_file(number, now);
            }
        }
        self.settle_after(now);
        self.plan(now);
        self.end_drains(now);
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

    /// What a job waits for that is not its turn; shown until it changes.
    fn hold_up(&mut self, id: JobId, why: String) {
        if self.troubles.get(&id) != Some(&why) {
            self.troubles.insert(id, why);
            self.dirty_jobs.insert(id);
        }
    }

    fn notice(&mut self, level: Level, text: String, now: Timestamp) {
        let notice = Notice { at: now, level, text };
        self.notices.push_back(notice.clone());
        if self.notices.len() > 50 {
            self.notices.pop_front();
        }
        self.publish(Update::Notice(notice));
    }

    /// A clock that was set back must not make anybody wait until it has caught up: what was to come in a minute
    /// comes in a minute. (One that was set forward can't be told from a machine that slept.)
    fn keep_time(&mut self, now: Timestamp) {
        let back = self.clock.duration_since(now);
        self.clock = now;
        if !back.is_positive() {
            return;
        }
        let shift = |at: &mut Timestamp| *at = at.checked_sub(back).unwrap_or(*at);
        let timers = std::mem::take(&mut self.timers);
        self.timers.extend(timers.into_iter().map(|(mut at, timer)| {
            shift(&mut at);
            (at, timer)
        }));
        self.unsure.values_mut().for_each(|(asked, _)| shift(asked));
        self.watches.values_mut().for_each(|watch| shift(&mut watch.moved_at));
        for s in &mut self.servers {
            shift(&mut s.heard_at);
            let maybe = [&mut s.up_since, &mut s.interrupted_at, &mut s.not_before, &mut s.lost_at];
            maybe.into_iter().flatten().chain(&mut s.deaf_at).for_each(shift);
        }
    }

    fn after(&mut self, now: Timestamp, wait: Duration, timer: Timer) {
        self.timers.retain(|(_, other)| *other != timer);
        self.timers.insert((plus(now, wait), timer));
    }
}
