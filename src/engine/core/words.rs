//! What the core hears and what it wants done: plain data, no I/O.

use jiff::Timestamp;

use crate::estimate::Node;
use crate::job::{Edit, Failure, Job, JobId, Output, Repaired};
use crate::protocol::{Answer, JobRow, Level, Request, Sample, Update};
use crate::store::Write;
use crate::verdict::Measurement;

/// Something happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A timer that `State::next_wake` named is due.
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
        asked: u64,
        found: Vec<(JobId, String, Look)>,
    },
    /// The answer to [`Effect::Look`], where the server could not be asked.
    LookFailed {
        server: usize,
        asked: u64,
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
        /// What was mended of it at once.
        repaired: Vec<Repaired>,
    },
    /// The answer to [`Effect::Discard`] and [`Effect::BringBack`]: from, to; and why some could not be moved. `blocked`:
    /// not because they are gone, and so none of them was.
    Discarded {
        job: JobId,
        attempt: u32,
        files: Vec<(String, String)>,
        trouble: Option<String>,
        blocked: bool,
    },
    /// A mended copy was made, because a person asked for it.
    Repaired {
        ask: u64,
        job: JobId,
        attempt: u32,
        result: Result<Box<Repaired>, String>,
    },
    /// No server could render it as it is: found before it was sent.
    Unfit {
        job: JobId,
        why: Failure,
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
    /// The answer to [`Effect::Free`].
    Freed {
        server: usize,
        result: Result<(), String>,
    },
    /// Bytes free on the disk of the outputs and the store, the smaller of both.
    Disk {
        free: u64,
    },
    /// A job's edited text was read: what it asks for now, and the prompt as the store keeps it.
    Edited {
        ask: u64,
        job: JobId,
        edit: Box<Edit>,
        prompt: String,
    },
    /// A file that was put away is open again: one of its jobs was requeued.
    Reopened {
        file: OpenFile,
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
    pub other_devices: Vec<String>,
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
    /// The answer to [`Effect::Ping`]: the process is still the one that this websocket was opened to.
    Pong {
        token: u64,
    },
    /// Anything else: the server is alive.
    Other,
}

/// Where a server has a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// Neither in its queue nor in its history.
    Unknown,
    /// It was deleted as was asked, and had not begun: what rendered before renders still.
    Deleted,
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
    /// It was not sent, as nobody wants it any more: the server is not to blame.
    NotWanted,
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
    /// See where the server has these prompts, having done `first` to them. `asked` comes back with the answer.
    Look {
        server: usize,
        asked: u64,
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
        /// And do to them what the judge advises.
        repair: bool,
    },
    /// Move the files of an attempt out of the way.
    Discard {
        job: JobId,
        attempt: u32,
        files: Vec<String>,
    },
    /// And back again.
    BringBack {
        job: JobId,
        attempt: u32,
        files: Vec<String>,
    },
    /// Tell the server to unload its models and free its memory.
    Free {
        server: usize,
    },
    /// Close the websocket, await the close, connect anew.
    Reconnect {
        server: usize,
    },
    /// Ask over the websocket whether the process at its other end still lives: [`Heard::Pong`].
    Ping {
        server: usize,
        token: u64,
    },
    /// All jobs of the file have ended.
    FinishFile {
        file: OpenFile,
        failed: bool,
        rows: Vec<JobRow>,
    },
    /// A job of a file that was put away is requeued: back to `queued/` with it; the answer is [`Input::Reopened`].
    ReopenFile {
        file: u64,
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
    /// Remove them from the queue, having seen what waits there.
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
