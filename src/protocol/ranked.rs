//! Attempts beside each other, the best loop first, and all there is to see of one.
//!
//! Pure.

use serde::{Deserialize, Serialize};

use crate::job::{Attempt, Group, Job, JobId, Mark, Output, Repaired, best_known};
use crate::verdict::{Curves, Measurement, rank};

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
                passes: gate.filter(|_| !a.is_discarded()).map(|gate| a.passes(&gate)),
            }
        };
        some.map(ranked).collect()
    }

    /// Its files lie apart, and it counts no more.
    pub fn is_discarded(&self) -> bool {
        self.mark == Some(Mark::Discarded)
    }

    /// A mended copy is the better loop.
    pub fn is_mended(&self) -> bool {
        self.best() != self.measurement.as_ref()
    }

    /// What it is ranked by: its main output, or a mended copy that is the better loop.
    pub fn best(&self) -> Option<&Measurement> {
        best_known(self.measurement.as_ref(), &self.repaired)
    }

    /// The better one is less: what is discarded last, then by the verdict and the numbers of the better file.
    #[must_use]
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        let unknown = Measurement::default();
        self.is_discarded()
            .cmp(&other.is_discarded())
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
