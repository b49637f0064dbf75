//! What a face and the engine say to each other: one JSON object a line, over a local socket.
//!
//! Pure: shapes only. On attach a face gets a [`Snapshot`], then only what changed. Nothing here
//! grows with the queue but the snapshot itself.

mod flow;
mod ranked;
mod row;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::{Attempt, Change, JobId, Mark};
use crate::verdict::Repair;

pub use flow::{Cause, Flow};
pub use ranked::{Look, Ranked};
pub use row::{DISCARDED, JobRow, NodeTime, Progress, Tries, error_of, job_json, told};
pub use server::{DeviceUse, Link, Sample, ServerPrompt, ServerRow};

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
    /// Numbers of the jobs that an `add` made, with what was wrong with those refused, and the jobs of which some are
    /// duplicates.
    Added {
        jobs: Vec<JobId>,
        rejected: Vec<(JobId, String)>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        duplicates: Vec<(JobId, JobId)>,
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
