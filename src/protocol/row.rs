//! A job as lists, scripts and result files show it.
//!
//! Pure: what is shown of a [`Job`] is decided here, once for all faces.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::{Attempt, CancelledBy, Group, Job, JobId, JobState, Output, Repaired, Shape, best_known};
use crate::text::clean;
use crate::verdict::{Measurement, Verdict};

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
    /// It passed by a cut that the job asks for, and that could not be made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncut: bool,
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
        let all_discarded = !job.round().is_empty() && job.round().iter().all(Attempt::is_discarded);
        let why = match job.another() {
            _ if passed != Some(false) || !matches!(job.state, JobState::Done) => "",
            _ if all_discarded => "all its attempts are discarded",
            // It had ended well, and what passed was put away.
            Ok(_) => "no attempt that is left passes",
            Err(why) => why.words(),
        };
        let why = why.to_owned();
        let uncut = passed == Some(true) && best.is_some_and(|best| best.unrepaired().is_some());
        Some(Self {
            number: job.try_number(),
            of: goal.tries,
            gate: goal.gate.map(|gate| gate.words()).unwrap_or_default(),
            passed,
            why,
            uncut,
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
            (Some(true), _) if self.uncut => {
                format!("{gate}: passed at try {number} of {of}, by a cut that was not made")
            }
            (Some(true), _) => format!("{gate}: passed at try {number} of {of}"),
            (_, "") => format!("{gate}: try {number} of {of}{best}"),
            (_, why) => format!("{gate}: {why} ({number} of {of}){best}"),
        }
    }

    /// `try 3/8, best 0.81`.
    #[must_use]
    pub fn words(&self) -> String {
        let best = self.best_words().map_or_else(String::new, |best| format!(", {best}"));
        format!("try {}/{}{best}", self.number, self.of)
    }

    /// `best 0.81`; none before there is one.
    #[must_use]
    pub fn best_words(&self) -> Option<String> {
        match (self.best_ssim, self.best_verdict) {
            (Some(ssim), _) => Some(format!("best {ssim:.2}")),
            (None, verdict) => verdict.map(|verdict| format!("best {}", verdict.word())),
        }
    }
}

/// What is said in place of the numbers of a discarded attempt.
pub const DISCARDED: &str = "discarded: its files lie in outputs/.discarded/";

/// A job as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    pub id: JobId,
    pub name: String,
    pub workflow: String,
    /// What renders of about the same cost share; key of [`super::Snapshot::expect`].
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
    /// Place among the server's pending prompts, 1 = next; in an answer to [`super::Request::List`] or
    /// [`super::Request::Show`] among all that wait for their turn.
    pub position: Option<u32>,
    /// What holds it up, and what to do; it goes on by itself once that is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    pub progress: Option<Progress>,
    pub outputs: Vec<Output>,
    /// The attempt that it would go by is discarded: no numbers and no copies, only where the outputs lie now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub discarded: bool,
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
        let discarded = chosen.is_some_and(Attempt::is_discarded);
        let counted = chosen.filter(|_| !discarded);
        let measurement = counted.and_then(|a| a.measurement.as_ref());
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
            discarded,
            repaired: counted.map_or_else(Vec::new, |a| a.repaired.clone()),
            ssim: measurement.and_then(|m| m.ssim),
            measure_note: measurement.and_then(|m| m.note.clone()).or_else(|| discarded.then(|| DISCARDED.to_owned())),
            measured: measurement.cloned().map(Box::new),
            peak_vram: timed.and_then(|a| a.peak_vram),
            stalled_since: None,
        }
    }

    /// What counts of it: its main output, or a mended copy that is the better loop.
    pub fn best(&self) -> Option<&Measurement> {
        best_known(self.measured.as_deref(), &self.repaired)
    }

    /// Which file that is, where anything is known of it.
    fn counted_path(&self) -> Option<&str> {
        let best = self.best()?;
        let copy = self.repaired.iter().find(|repaired| self.is_mended() && &repaired.measurement == best);
        copy.map(|repaired| &repaired.output).or(self.outputs.first()).map(|output| output.path.as_str())
    }

    /// A mended copy is the better loop.
    pub fn is_mended(&self) -> bool {
        self.best() != self.measured.as_deref()
    }

    /// None of its tries was good enough.
    pub fn is_unmet(&self) -> bool {
        self.tries.as_ref().is_some_and(|tries| tries.passed == Some(false))
    }

    /// Why the repair was not made that it asks for and needs; none where there is a copy by now.
    pub fn unrepaired(&self) -> Option<&str> {
        let known = self.measured.as_deref().filter(|_| self.repaired.is_empty());
        known?.unrepaired.as_deref()
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
    // As the list shows it: of the main output, or of a mended copy that is the better loop.
    let known = row.best().unwrap_or(&unknown);
    let counts = row.counted_path();
    let own = row.measured.as_deref().zip(row.outputs.first()).filter(|_| row.is_mended());
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
        "discarded": row.discarded,
        "best": row.tries.as_ref().and_then(|tries| tries.best),
        "passed": row.tries.as_ref().and_then(|tries| tries.passed),
        "counts": counts,
        "unrepaired": own.map(|(known, output)| numbers(&output.path, known)),
        "ssim": row.best().map_or(row.ssim, |best| best.ssim).map(|s| round(s, 1_000_000.0)),
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
        "not_repaired": row.unrepaired(),
        "note": if row.is_mended() { known.note.clone() } else { note_of(row) },
    })
}

fn note_of(row: &JobRow) -> Option<String> {
    let unrepaired = row.unrepaired().map(|why| format!("not repaired: {why}"));
    let both = [row.measure_note.clone(), unrepaired].into_iter().flatten().collect::<Vec<_>>();
    (!both.is_empty()).then(|| both.join("; "))
}

fn repaired_json(repaired: &Repaired) -> Value {
    let mut json = numbers(&repaired.output.path, &repaired.measurement);
    json["how"] = repaired.how.as_str().into();
    json
}

/// A file and what was measured of it.
fn numbers(path: &str, known: &Measurement) -> Value {
    let round = |number: Option<f64>, by: f64| number.map(|number| (number * by).round() / by);
    serde_json::json!({
        "path": path,
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
