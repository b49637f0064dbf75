//! What a face and the engine say to each other: one JSON object a line, over a local socket.
//!
//! Pure: shapes only. On attach a face gets a [`Snapshot`], then only what changed. Nothing here
//! grows with the queue but the snapshot itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::{
    Attempt, CancelledBy, Change, FailureKind, Group, Job, JobId, JobState, Mark, Output, Repaired, Shape, best_known,
};
use crate::text::{clean, size_words};
use crate::verdict::{Curves, Measurement, Repair, Verdict, rank};

/// Raised when an older face or engine could not understand a newer one.
pub const PROTOCOL: u32 = 1;

/// The longest line that either side accepts, bytes.
pub const MAX_LINE: usize = 64 << 20;

/// A line from a face.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromFace {
    /// The first line.
    Hello(Hello),
    /// Everything else: answered by [`FromEngine::Answer`] with the same `id`.
    Ask { id: u64, request: Request },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    /// comfytop's version.
    pub version: String,
    /// Wants the snapshot and what follows; a verb that only asks does not.
    pub watch: bool,
    /// A person's dashboard (its coming and going is remembered for "since you last looked").
    #[serde(default)]
    pub dashboard: bool,
    /// The server that a flag or the environment named: an engine that has another one refuses.
    #[serde(default)]
    pub server: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A job file's text. Relative paths in it are resolved in `dir`.
    Add {
        name: String,
        dir: PathBuf,
        text: String,
        /// Post it without looking at what the server says of its nodes.
        #[serde(default)]
        no_preflight: bool,
    },
    Cancel {
        jobs: Vec<JobId>,
    },
    Requeue {
        jobs: Vec<JobId>,
        new_seed: bool,
    },
    /// All about one job; `graph` adds the graph that was posted.
    Show {
        job: JobId,
        graph: bool,
    },
    /// Waiting jobs are not submitted until they are released.
    Hold {
        jobs: Vec<JobId>,
    },
    Release {
        jobs: Vec<JobId>,
    },
    /// Submit nothing more, and take back what is not begun. No server named: the whole engine.
    Pause {
        servers: Vec<String>,
    },
    Resume {
        servers: Vec<String>,
    },
    /// Submit nothing more, let end what a server has, then pause.
    Drain {
        servers: Vec<String>,
    },
    /// To another place in the queue; several keep their order among themselves.
    Move {
        jobs: Vec<JobId>,
        to: MoveTo,
    },
    Priority {
        jobs: Vec<JobId>,
        priority: NewPriority,
    },
    /// The job's text, as a job file would have it.
    Text {
        job: JobId,
    },
    /// That text, edited. Answered once the job has changed, or with what is wrong.
    Edit {
        job: JobId,
        text: String,
    },
    /// What happened to a job.
    Log {
        job: JobId,
    },
    /// Delete what the limits of the config no longer keep; `pretend`: only say what.
    Clean {
        pretend: bool,
    },
    /// The attempts of these jobs that gave something, the best first.
    Ranking {
        jobs: Vec<JobId>,
    },
    /// What a person thinks of attempts; none takes it back.
    Mark {
        attempts: Vec<(JobId, u32)>,
        mark: Option<Mark>,
    },
    /// A mended copy of an output, beside it: in this way, or as the judge advises.
    Repair {
        job: JobId,
        attempt: u32,
        /// Empty: the main one.
        path: String,
        how: Option<Repair>,
    },
    /// Small pictures of the job's main output, made where they are not there yet.
    Pictures {
        job: JobId,
        /// Of this attempt; none: of the one that the job shows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        what: Pictures,
    },
    /// This face wants to see what the sampler is at, or no more; see [`Update::Preview`].
    Previews {
        on: bool,
    },
    /// Answered with their rows when these have all ended; none named means all.
    Wait {
        jobs: Vec<JobId>,
    },
    /// All rows.
    List,
    Status,
    /// Try the servers again now, do not wait for the back-off.
    Reconnect,
    /// Take back what is pending and end.
    Stop,
}

/// Which pictures of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pictures {
    /// The first frame, the last, and their difference.
    Ends,
    /// A few from the first to the last.
    Strip,
    /// As many as it takes to see it move, small.
    Play,
}

/// Pictures that lie in the cache, as PNG without alpha. Faces run where the engine runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Album {
    pub stills: Vec<Still>,
    /// Frames of the clip.
    pub frames: u64,
    /// Of the clip, a second.
    pub fps: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Still {
    /// What it shows: `first`, `last`, `difference`, or the number of a frame, from 1.
    pub name: String,
    pub path: PathBuf,
}

/// What is said of a job that is at the end already.
pub const STAYS: &str = "stays where it is";

/// Where jobs are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveTo {
    Top,
    Bottom,
    Before(JobId),
    /// One place.
    Up,
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewPriority {
    Is(i64),
    By(i64),
}

/// Whether the engine, or a server, gets new work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "flow", rename_all = "snake_case")]
pub enum Flow {
    #[default]
    Going,
    /// Nothing more is submitted; what a server has ends, then it is paused.
    Draining {
        since: Timestamp,
    },
    Paused {
        since: Timestamp,
        cause: Cause,
    },
}

/// Why something is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// A person said so.
    You,
    /// A person said so, and what ran has ended.
    Drained,
    /// The engine, or the server, was restarted, and the config says `after_restart = "pause"`.
    Restarted,
    /// So many jobs failed in a row, all in the same way.
    Failures { kind: FailureKind, count: u32 },
    /// Bytes free on the disk, and how many there must be.
    Disk { free: u64, least: u64 },
}

impl Flow {
    pub fn goes(&self) -> bool {
        matches!(self, Self::Going)
    }

    pub fn is_paused(&self) -> bool {
        matches!(self, Self::Paused { .. })
    }

    /// `paused`, `draining`; empty while it goes.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Going => "",
            Self::Draining { .. } => "draining",
            Self::Paused { .. } => "paused",
        }
    }

    /// Paused, and by no person: `p` and `resume` lift that of a server along with that of the engine.
    pub fn is_paused_by_itself(&self) -> bool {
        matches!(self, Self::Paused { cause, .. } if cause.words().is_some())
    }

    /// `paused: it was restarted`, `paused by hand`; empty while it goes.
    pub fn words(&self) -> String {
        match self {
            Self::Going | Self::Draining { .. } => self.word().to_owned(),
            Self::Paused { cause: Cause::You, .. } => "paused by hand".to_owned(),
            Self::Paused { cause: Cause::Drained, .. } => "paused, drained".to_owned(),
            Self::Paused { .. } => format!("paused: {}", self.why().unwrap_or_default()),
        }
    }

    /// Why it was paused, where no person did it.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Paused { cause, .. } => cause.words(),
            _ => None,
        }
    }
}

impl Cause {
    fn words(&self) -> Option<String> {
        match self {
            Self::You | Self::Drained => None,
            Self::Restarted => Some("it was restarted".to_owned()),
            Self::Failures { kind, count } => Some(format!("{count} jobs failed in a row: {}", kind.words())),
            Self::Disk { free, least } => {
                Some(format!("only {} free on the disk, min_free is {}", size_words(*free), size_words(*least)))
            }
        }
    }
}

/// A line from the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromEngine {
    /// The answer to `hello`.
    Welcome(EngineRow),
    /// The engine will not serve this face, and says why; it closes the connection.
    Refused {
        why: String,
        version: String,
    },
    /// Everything as it is now: the first thing a watcher hears, and again when it lagged behind.
    Snapshot(Box<Snapshot>),
    /// More jobs of the snapshot before it; nothing else comes between.
    Jobs(Vec<JobRow>),
    Update(Update),
    Answer {
        id: u64,
        result: Result<Answer, String>,
    },
}

/// One change, as a watcher hears it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// A job is new, or changed.
    Job(Box<JobRow>),
    /// A running job came on (coalesced: at most 10 a second a job).
    Progress {
        job: JobId,
        progress: Progress,
    },
    /// A server came, went, or its counts changed.
    Server(Box<ServerRow>),
    /// VRAM and RAM of a server, as it reports them.
    Stats {
        server: String,
        sample: Sample,
    },
    /// How long a job of this kind takes, learnt anew.
    Expect {
        kind: String,
        seconds: f64,
    },
    Notice(Notice),
    /// What the sampler is at: the newest picture only, and only for faces that asked for them.
    Preview {
        job: JobId,
        still: Still,
    },
    /// The engine's own row changed (banners, counts of faces, stopping).
    Engine(EngineRow),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done,
    /// Numbers of the jobs that an `add` made, with what was wrong with those refused.
    Added {
        jobs: Vec<JobId>,
        rejected: Vec<(JobId, String)>,
    },
    /// One entry a job that was asked for: what was done, or why not.
    Each(Vec<(JobId, Result<String, String>)>),
    Detail(Box<Detail>),
    /// A job's text.
    Text {
        job: JobId,
        text: String,
    },
    /// The pictures, or why there are none.
    Pictures {
        job: JobId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        what: Pictures,
        album: Result<Album, String>,
    },
    /// What happened to a job, oldest first.
    Log(Vec<(Timestamp, Change)>),
    Ranking(Vec<Ranked>),
    /// What was cleaned, or would be: a line each.
    Cleaned(Vec<String>),
    List(Vec<JobRow>),
    Status(Box<Status>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub engine: EngineRow,
    pub servers: Vec<ServerRow>,
    /// In the order of their numbers.
    pub jobs: Vec<JobRow>,
    /// So many jobs follow in [`FromEngine::Jobs`].
    pub more: usize,
    /// Expected rendering time by [`JobRow::kind`], seconds.
    pub expect: BTreeMap<String, f64>,
    /// The latest notices, oldest first.
    pub notices: Vec<Notice>,
    /// What happened since the last dashboard left.
    pub away: Option<Away>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub engine: EngineRow,
    pub servers: Vec<ServerRow>,
    /// What the watchdog has flagged, and its last step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalled: Vec<(JobId, Timestamp)>,
}

/// The engine itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineRow {
    pub protocol: u32,
    pub version: String,
    pub pid: u32,
    /// The render folder.
    pub folder: String,
    /// Where its log is.
    pub log: String,
    /// It serves `comfytop demo`: the server is simulated.
    pub simulated: bool,
    /// It only looks: takes and submits nothing.
    pub look_only: bool,
    /// The server that a flag or the environment named, as it was named: its address (one with a password in it is
    /// refused at the door), or its name in the config. The next engine of this folder is started with it.
    #[serde(default)]
    pub server: Option<String>,
    /// What stays wrong until it is mended: an inbox that can't be read, a disk that is full.
    pub banners: Vec<String>,
    #[serde(default)]
    pub flow: Flow,
}

/// How far a job is with its tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tries {
    /// The one that it is at, waits for, or ended with.
    pub number: u32,
    pub of: u32,
    /// What one must be like, in words; empty where all are made and the best counts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub gate: String,
    /// Whether one was; nothing while it is tried, and without a gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// Why there are no more, where none passed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The number of the best attempt so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<u32>,
    /// Of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_ssim: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_verdict: Option<Verdict>,
}

impl Tries {
    fn of(job: &Job) -> Option<Self> {
        let goal = job.goal.as_ref()?;
        let best = job.best();
        let known = best.and_then(Attempt::result);
        let passed = job.passed();
        let why = match job.another() {
            Err(why) if passed == Some(false) && matches!(job.state, JobState::Done) => why.words().to_owned(),
            _ => String::new(),
        };
        Some(Self {
            number: job.try_number(),
            of: goal.tries,
            gate: goal.gate.map(|gate| gate.words()).unwrap_or_default(),
            passed,
            why,
            best: best.map(|attempt| attempt.number),
            best_ssim: known.and_then(|known| known.ssim),
            best_verdict: known.and_then(|known| known.verdict),
        })
    }

    /// Where it stands, in a sentence: `loops · SSIM ≥ 0.85: passed at try 3 of 8`.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { number, of, .. } = self;
        let best = match (self.best, self.best_verdict, self.best_ssim) {
            (Some(best), Some(verdict), ssim) => {
                let ssim = ssim.map(|ssim| format!(", SSIM {ssim:.3}")).unwrap_or_default();
                format!("; the best is attempt {best}: {}{ssim}", verdict.word())
            }
            (Some(best), None, Some(ssim)) => format!("; the best is attempt {best}: SSIM {ssim:.3}"),
            _ => String::new(),
        };
        let gate = if self.gate.is_empty() { "best of several".to_owned() } else { format!("until {}", self.gate) };
        match (self.passed, self.why.as_str()) {
            (Some(true), _) => format!("{gate}: passed at try {number} of {of}"),
            (_, "") => format!("{gate}: try {number} of {of}{best}"),
            (_, why) => format!("{gate}: {why} ({number} of {of}){best}"),
        }
    }

    /// `try 3/8, best 0.81`.
    #[must_use]
    pub fn words(&self) -> String {
        let best = match (self.best_ssim, self.best_verdict) {
            (Some(ssim), _) => format!(", best {ssim:.2}"),
            (None, Some(verdict)) => format!(", best {}", verdict.word()),
            (None, None) => String::new(),
        };
        format!("try {}/{}{best}", self.number, self.of)
    }
}

/// A job as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    pub id: JobId,
    pub name: String,
    pub workflow: String,
    /// What renders of about the same cost share; key of [`Snapshot::expect`].
    pub kind: String,
    #[serde(flatten)]
    pub state: JobState,
    /// 1 for the first; 0 before it. Of an ended job the one that counts: its outputs and numbers are these.
    pub attempt: u32,
    /// Of a job that is tried until it is good enough, or of which the best of several counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<Tries>,
    pub server: Option<String>,
    pub seed: Option<u64>,
    /// The sweep, repetition or list of seeds that it is one of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    #[serde(default)]
    pub shape: Shape,
    pub priority: i64,
    pub rank: i64,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// False: rendering began no later than `started_at`, show `≥`.
    pub start_seen: bool,
    pub finished_at: Option<Timestamp>,
    /// Place among the server's pending prompts, 1 = next; in an answer to [`Request::List`] or [`Request::Show`] among
    /// all that wait for their turn.
    pub position: Option<u32>,
    /// What holds it up, and what to do; it goes on by itself once that is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    pub progress: Option<Progress>,
    pub outputs: Vec<Output>,
    /// Mended copies of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<Repaired>,
    pub ssim: Option<f64>,
    /// Why there is no SSIM, or what to know of it.
    pub measure_note: Option<String>,
    /// All numbers of the main output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Box<Measurement>>,
    pub peak_vram: Option<u64>,
    /// It renders, and this was its last step: longer ago than such a step takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalled_since: Option<Timestamp>,
}

impl JobRow {
    /// What lists show of a job; place and progress are the engine's to add.
    pub fn of(job: &Job) -> Self {
        // A queued job shows nothing of its earlier attempts: they are in the details.
        let latest = job.attempt().filter(|_| !job.state.is_waiting());
        let chosen = job.shown().filter(|_| !job.state.is_waiting());
        // One that ended otherwise still has the best of its tries.
        let timed = if matches!(job.state, JobState::Done) { chosen } else { latest };
        let measurement = chosen.and_then(|a| a.measurement.as_ref());
        Self {
            id: job.id,
            name: job.name.clone(),
            workflow: job.workflow.clone(),
            kind: job.kind(),
            state: job.state.clone(),
            attempt: chosen.or(job.attempt()).map_or(0, |a| a.number),
            tries: Tries::of(job),
            server: timed.map(|a| a.server.clone()).or_else(|| job.only_server.clone()),
            seed: chosen.and_then(|a| a.seed).or_else(|| job.next_seed()),
            group: job.group.clone(),
            shape: job.shape,
            priority: job.priority,
            rank: job.rank,
            queued_at: job.queued_at,
            started_at: timed.and_then(|a| a.started_at),
            start_seen: timed.is_some_and(|a| a.start_seen),
            finished_at: timed.and_then(|a| a.ended_at),
            trouble: None,
            position: None,
            progress: None,
            outputs: chosen.map_or_else(Vec::new, |a| a.outputs.clone()),
            repaired: chosen.map_or_else(Vec::new, |a| a.repaired.clone()),
            ssim: measurement.and_then(|m| m.ssim),
            measure_note: measurement.and_then(|m| m.note.clone()),
            measured: measurement.cloned().map(Box::new),
            peak_vram: timed.and_then(|a| a.peak_vram),
            stalled_since: None,
        }
    }

    /// What counts of it: its main output, or a mended copy that is the better loop.
    pub fn best(&self) -> Option<&Measurement> {
        best_known(self.measured.as_deref(), &self.repaired)
    }

    /// A mended copy is the better loop.
    pub fn is_mended(&self) -> bool {
        self.best() != self.measured.as_deref()
    }

    /// Since when it waits for a thing that should have come: the server to agree to a cancel, a step of its render.
    pub fn waits_since(&self) -> Option<Timestamp> {
        match self.state {
            JobState::Cancelling { since } => Some(since),
            JobState::Running => self.stalled_since,
            _ => None,
        }
    }

    /// ` +2`, where its priority is not the usual one.
    pub fn priority_words(&self) -> String {
        if self.priority == 0 { String::new() } else { format!(" {:+}", self.priority) }
    }

    /// Rendering time so far, seconds.
    pub fn elapsed_s(&self, now: Timestamp) -> Option<f64> {
        let end = self.finished_at.unwrap_or(now);
        self.started_at.map(|start| end.duration_since(start).as_secs_f64().max(0.0))
    }
}

/// A job in the keys of `ls --json`: for scripts, and for the result file beside a finished job file.
pub fn job_json(row: &JobRow, now: Timestamp) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| format!("{at:.3}"));
    let fraction = row.progress.as_ref().and_then(|p| p.fraction);
    let round = |v: f64, by: f64| (v * by).round() / by;
    let unknown = Measurement::default();
    let known = row.measured.as_deref().unwrap_or(&unknown);
    let three = |number: Option<f64>| number.map(|number| round(number, 1e3));
    serde_json::json!({
        "id": row.id,
        "name": row.name,
        "state": row.state.word(),
        "cancelling_since": time(row.waits_since().filter(|_| matches!(row.state, JobState::Cancelling { .. }))),
        "stalled_since": time(row.stalled_since),
        "position": row.position,
        "priority": row.priority,
        "workflow": row.workflow,
        "server": row.server,
        "seed": row.seed,
        "group": row.group.as_ref().map(|group| group.first),
        "varies": row.group.as_ref().map(|group| &group.values),
        "queued_at": time(Some(row.queued_at)),
        "started_at": time(row.started_at),
        "finished_at": time(row.finished_at),
        "elapsed_s": row.elapsed_s(now).map(|s| round(s, 1000.0)),
        "progress": fraction.map(|f| round(f, 1000.0)),
        "outputs": row.outputs.iter().chain(row.repaired.iter().map(|repaired| &repaired.output)).collect::<Vec<_>>(),
        "repaired": row.repaired.iter().map(repaired_json).collect::<Vec<_>>(),
        "attempt": Some(row.attempt).filter(|number| *number > 0),
        "try": row.tries.as_ref().map(|tries| tries.number),
        "tries": row.tries.as_ref().map(|tries| tries.of),
        "best": row.tries.as_ref().and_then(|tries| tries.best),
        "passed": row.tries.as_ref().and_then(|tries| tries.passed),
        "ssim": row.ssim.map(|s| round(s, 1_000_000.0)),
        "seam_ratio": three(known.seam_ratio),
        "motion_ratio": three(known.motion_ratio),
        "luma_step": three(known.luma_step),
        "chroma_step": three(known.chroma_step),
        "doubled": known.doubled(),
        "verdict": known.verdict.map(Verdict::word),
        "advice": known.advice,
        "best_cut": known.best_cut,
        "frames": Some(known.frames).filter(|frames| *frames > 0),
        "fps": three(known.fps),
        "error": error_of(row),
        "note": row.measure_note,
    })
}

fn repaired_json(repaired: &Repaired) -> Value {
    let known = &repaired.measurement;
    let round = |number: Option<f64>, by: f64| number.map(|number| (number * by).round() / by);
    serde_json::json!({
        "path": repaired.output.path,
        "how": repaired.how,
        "frames": known.frames,
        "verdict": known.verdict.map(Verdict::word),
        "ssim": round(known.ssim, 1e6),
        "seam_ratio": round(known.seam_ratio, 1e3),
        "motion_ratio": round(known.motion_ratio, 1e3),
        "note": known.note,
    })
}

/// `#12 walk has failed: no such file`: how a job stands, and what went wrong with it. Fit to show.
pub fn told(row: &JobRow) -> String {
    let why = error_of(row).filter(|_| !matches!(row.state, JobState::Done | JobState::Duplicate { .. }));
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    clean(&format!("{} {} {}{why}", row.id, row.name, row.state.said())).into_owned()
}

/// What went wrong with a job, in one line; nothing of a job that is done: a measurement that was not to be had is a
/// note on it.
pub fn error_of(row: &JobRow) -> Option<String> {
    match &row.state {
        JobState::Failed { why } | JobState::Rejected { why } => Some(match &why.node {
            Some(node) => format!("{node}: {}", why.message),
            None => why.message.clone(),
        }),
        JobState::Cancelled { by: CancelledBy::Elsewhere } => {
            Some("cancelled at the server, not by comfytop".to_owned())
        }
        JobState::Duplicate { of } => Some(format!("duplicate of {of}")),
        _ => row.trouble.clone(),
    }
}

/// How far a running job is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Of the whole job, 0 to 1; `None` while nothing is known. Never runs backwards.
    pub fraction: Option<f64>,
    /// The current node's title.
    pub node: Option<String>,
    /// Of the current node.
    pub step: Option<(u64, u64)>,
    /// Seconds left, where earlier runs tell.
    pub left_s: Option<f64>,
    /// The job's nodes in the order they ran, with their rendering time so far, seconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeTime>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeTime {
    pub title: String,
    pub seconds: f64,
    pub finished: bool,
}

/// A server as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRow {
    pub name: String,
    /// Without user, password or query.
    pub url: String,
    pub link: Link,
    pub version: Option<String>,
    pub running: Vec<ServerPrompt>,
    /// Ours, waiting in its queue.
    pub pending_ours: u32,
    pub pending_others: u32,
    /// The first device's name, the middle of what the server says: `NVIDIA GeForce RTX 4070`.
    pub device: Option<String>,
    /// The names of its other devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_devices: Vec<String>,
    /// The device is the CPU: its "VRAM" numbers are RAM.
    pub is_cpu: bool,
    pub flags: Vec<String>,
    /// The last ten minutes, oldest first.
    pub samples: Vec<Sample>,
    /// Of this server alone; the engine has its own.
    #[serde(default)]
    pub flow: Flow,
}

/// What a server renders now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerPrompt {
    /// `None`: somebody else's.
    pub job: Option<JobId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "link", rename_all = "snake_case")]
pub enum Link {
    Connecting,
    Up {
        since: Timestamp,
        /// The websocket is heard; otherwise progress is unknown and the server is polled.
        heard: bool,
    },
    Down {
        since: Timestamp,
        /// A few words; where there is more to say, all of it on a second line.
        why: String,
        retry_at: Timestamp,
    },
}

/// Memory of a server's devices at one moment, bytes. Those of the first stand here, as nearly all have but one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub vram_total: u64,
    /// By anyone; what torch has reserved and does not use counts as free.
    pub vram_used: u64,
    /// The part of `vram_used` that is in use by the server's own torch; 0 on a CPU, where nobody can tell.
    pub torch: u64,
    pub ram_total: u64,
    pub ram_used: u64,
    /// The other devices, in the order of [`ServerRow::other_devices`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<DeviceUse>,
}

/// One device of a [`Sample`], in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUse {
    pub vram_total: u64,
    pub vram_used: u64,
    pub torch: u64,
}

impl Sample {
    /// All devices, the first one first.
    pub fn devices(&self) -> impl Iterator<Item = DeviceUse> {
        let first = DeviceUse { vram_total: self.vram_total, vram_used: self.vram_used, torch: self.torch };
        std::iter::once(first).chain(self.others.iter().copied())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub at: Timestamp,
    pub level: Level,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// What happened while nobody looked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Away {
    pub since: Timestamp,
    pub done: u32,
    pub failed: u32,
    pub best_ssim: Option<f64>,
}

/// One attempt among others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    pub job: JobId,
    pub name: String,
    pub attempt: u32,
    pub seed: Option<u64>,
    /// What sets it apart from the others, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub varies: String,
    pub elapsed_s: Option<f64>,
    pub outputs: Vec<Output>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<Repaired>,
    pub measurement: Option<Measurement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// It is the one that its job goes by.
    pub counts: bool,
    /// Whether it meets the job's gate, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes: Option<bool>,
}

impl Ranked {
    /// Attempts of a job that gave something.
    pub fn all_of(job: &Job) -> Vec<Self> {
        let chosen = job.chosen().map(|a| a.number).filter(|_| job.state.is_ended());
        let gate = job.goal.as_ref().and_then(|goal| goal.gate);
        let some = job.attempts.iter().filter(|a| !a.outputs.is_empty());
        let ranked = |a: &Attempt| {
            let own = Group { first: job.id, of: 1, values: a.values.clone() };
            let group = job.group.as_ref().map(Group::label);
            let varies = [group.unwrap_or_default(), own.label()];
            let varies: Vec<_> = varies.into_iter().filter(|words| !words.is_empty()).collect();
            Self {
                job: job.id,
                name: job.name.clone(),
                attempt: a.number,
                seed: a.seed,
                varies: varies.join(" · "),
                elapsed_s: a.ended_at.and_then(|end| a.elapsed_s(end)),
                outputs: a.outputs.clone(),
                repaired: a.repaired.clone(),
                measurement: a.measurement.clone(),
                mark: a.mark,
                counts: chosen == Some(a.number),
                passes: gate.map(|gate| a.passes(&gate)),
            }
        };
        some.map(ranked).collect()
    }

    fn best(&self) -> Option<&Measurement> {
        best_known(self.measurement.as_ref(), &self.repaired)
    }

    /// The better one is less: what is discarded last, then by the verdict and the numbers of the better file.
    #[must_use]
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        let unknown = Measurement::default();
        let discarded = |ranked: &Self| ranked.mark == Some(Mark::Discarded);
        discarded(self)
            .cmp(&discarded(other))
            .then_with(|| rank(self.best().unwrap_or(&unknown), other.best().unwrap_or(&unknown)))
            .then_with(|| (self.job, self.attempt).cmp(&(other.job, other.attempt)))
    }
}

/// One output that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// As [`Output::path`].
    pub path: String,
    pub measurement: Measurement,
    /// Shortened; empty where there are none.
    pub curves: Curves,
}

/// All about one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    pub row: JobRow,
    /// Where the job file lies now, relative to the render folder; its name alone where it is gone.
    pub file: Option<String>,
    /// What the job asked for, slot by slot.
    pub slots: Vec<(String, Value)>,
    pub note: Option<String>,
    pub tags: Vec<String>,
    pub attempts: Vec<Attempt>,
    /// No try is begun once so many minutes were rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// What was seen of the outputs of the attempt that the row shows, the main one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// The graph as it was posted, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Value>,
}
