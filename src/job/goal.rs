//! What a job wants of its outputs, and what is tried until it has that: `until` and `best_of` of a job file.
//!
//! Pure. After each measurement the engine asks [`Job::another`] whether a try is to follow; which attempt counts
//! is [`Job::chosen`]. A try is an attempt that was measured: one that a dead server lost is none.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Attempt, Job, Mark, Output, Reason, Repaired, Shape};
use crate::verdict::{Measurement, Repair, Verdict, better};

/// So many tries where the job does not say.
pub const TRIES: u32 = 8;
/// The most that a job may say.
pub const MOST_TRIES: u32 = 100;

/// What is tried, and how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What one try must be like to be the last. None: all tries are made, and the best counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// At most.
    pub tries: u32,
    /// No try is begun once so many minutes were rendered for this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    pub vary: Vary,
}

/// When an output is good enough: all that is said here must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Its verdict is `loops`, or it is after the cut that the judge advises.
    #[serde(default)]
    pub loops: bool,
    /// At least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssim: Option<f64>,
    /// The seam against an ordinary step ([`Measurement::seam`]), at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seam: Option<f64>,
}

/// What the next try has that the last one had not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vary {
    /// A seed by chance.
    Seed,
    /// A seed that is one more.
    Increment,
    /// These in turn, all with one seed; then again, with another.
    Values(Vec<Variation>),
}

/// Values that a try has in place of the job's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// By slot or input.
    pub values: Map<String, Value>,
    #[serde(default)]
    pub shape: Shape,
    /// Where the seed is among the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What sets a try apart from the job as it was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Which of [`Vary::Values`].
    #[serde(default)]
    pub variation: usize,
}

/// Why no try follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enough {
    /// The job asks for one render, not for tries.
    NoGoal,
    Passed,
    /// All were made.
    Tries,
    /// So long was rendered.
    Minutes,
    /// Nobody can tell how good the last two are, and more of the same would not help.
    NotJudged,
    /// A person said so.
    Asked,
}

impl Gate {
    /// Whether a clip is good enough. One in which nothing moves, or that nobody could judge, never is.
    #[must_use]
    pub fn passes(&self, known: &Measurement) -> bool {
        let Some(verdict @ (Verdict::Loops | Verdict::Nearly | Verdict::Pulses | Verdict::Jumps)) = known.verdict
        else {
            return false;
        };
        let cuts = || matches!(Repair::advised(known), Some(Repair::Cut(_) | Repair::DropDoubled));
        (!self.loops || verdict == Verdict::Loops || (verdict == Verdict::Nearly && cuts()))
            && self.ssim.is_none_or(|least| known.ssim.is_some_and(|ssim| ssim >= least))
            && self.seam.is_none_or(|most| known.seam().is_some_and(|seam| seam <= most))
    }

    /// `loops · SSIM ≥ 0.85 · seam ≤ 1.5`.
    #[must_use]
    pub fn words(&self) -> String {
        let loops = self.loops.then(|| "loops".to_owned());
        let ssim = self.ssim.map(|least| format!("SSIM ≥ {least}"));
        let seam = self.seam.map(|most| format!("seam ≤ {most}"));
        [loops, ssim, seam].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }
}

impl Goal {
    /// `until loops, 8 tries at most, another seed each`.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { gate, tries, minutes, vary } = self;
        let mut words = match gate {
            Some(gate) => format!("until {}, {tries} tries at most", gate.words()),
            None => format!("the best of {tries}"),
        };
        if let Some(minutes) = minutes {
            let _ = write!(words, ", none begun after {minutes} minutes");
        }
        words.push_str(match vary {
            Vary::Seed => ", another seed each",
            Vary::Increment => ", one more as seed each",
            Vary::Values(_) => ": ",
        });
        if let Vary::Values(list) = vary {
            let value = |(key, value): (&String, &Value)| format!("{key} {value}");
            let one = |variation: &Variation| {
                let seed = variation.seed.map(|seed| format!("seed {seed}"));
                variation.values.iter().map(value).chain(seed).collect::<Vec<_>>().join(" · ")
            };
            words.push_str(&list.iter().map(one).collect::<Vec<_>>().join(", "));
        }
        words
    }
}

impl Vary {
    /// What the try with this number (from 0) of a round has; `random` is drawn where chance is asked.
    #[must_use]
    pub fn pick(&self, nth: u32, first_seed: Option<u64>, random: impl FnOnce() -> u64) -> Pick {
        match self {
            Self::Seed => Pick { seed: Some(random()), variation: 0 },
            Self::Increment => Pick { seed: first_seed.map(|seed| seed.wrapping_add(u64::from(nth))), variation: 0 },
            Self::Values(list) => {
                let (count, nth) = (list.len().max(1), nth as usize);
                let variation = nth % count;
                let own = list.get(variation).and_then(|variation| variation.seed);
                let again = nth >= count && first_seed.is_some();
                Pick { seed: own.filter(|_| !again).or_else(|| again.then(random)), variation }
            }
        }
    }

    fn variation(&self, pick: &Pick) -> Option<&Variation> {
        match self {
            Self::Values(list) => list.get(pick.variation),
            Self::Seed | Self::Increment => None,
        }
    }
}

impl Enough {
    /// For people, where the gate was not met.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NoGoal | Self::Passed => "",
            Self::Tries => "no try passed",
            Self::Minutes => "no try passed in its minutes",
            Self::NotJudged => "two in a row can't be judged",
            Self::Asked => "no try passed, and no more were wanted",
        }
    }
}

/// The best of what was measured of an output and of its mended copies.
#[must_use]
pub fn best_known<'a>(own: Option<&'a Measurement>, repaired: &'a [Repaired]) -> Option<&'a Measurement> {
    let all = repaired.iter().map(|repaired| &repaired.measurement);
    Some(all.fold(own?, |best, other| if better(other, best) { other } else { best }))
}

impl Attempt {
    /// The best that is known of it: as it is, or repaired.
    #[must_use]
    pub fn result(&self) -> Option<&Measurement> {
        best_known(self.measurement.as_ref(), &self.repaired)
    }

    /// What others may take from it: a mended copy that is the better loop stands first.
    #[must_use]
    pub fn files(&self) -> Vec<Output> {
        let known = self.measurement.as_ref();
        let mended = self.repaired.iter().rev().find(|r| known.is_none_or(|known| better(&r.measurement, known)));
        mended.map(|repaired| &repaired.output).into_iter().chain(&self.outputs).cloned().collect()
    }

    /// Why the repair was not made that it needs and that its job asks for; none where there is a copy by now.
    #[must_use]
    pub fn unrepaired(&self) -> Option<&str> {
        let known = self.measurement.as_ref().filter(|_| self.repaired.is_empty() && !self.is_discarded());
        known?.unrepaired.as_deref()
    }

    /// One of its files passes the gate, and it is not discarded.
    #[must_use]
    pub fn passes(&self, gate: &Gate) -> bool {
        let all = self.measurement.iter().chain(self.repaired.iter().map(|repaired| &repaired.measurement));
        !self.is_discarded() && all.into_iter().any(|known| gate.passes(known))
    }
}

impl Job {
    /// The attempts since a person last asked for it.
    #[must_use]
    pub fn round(&self) -> &[Attempt] {
        if self.state.is_waiting() && self.next_reason == Reason::Requeued {
            return &[];
        }
        let from = self.attempts.iter().rposition(|a| a.reason == Reason::Requeued).unwrap_or(0);
        self.attempts.get(from..).unwrap_or_default()
    }

    fn tried(&self) -> u32 {
        u32::try_from(self.round().iter().filter(|a| a.measurement.is_some()).count()).unwrap_or(u32::MAX)
    }

    /// The number of the try that it is at, waits for, or ended with; from 1.
    #[must_use]
    pub fn try_number(&self) -> u32 {
        let tried = self.tried();
        let is_over = self.state.is_ended() && self.round().last().is_some_and(|a| a.measurement.is_some());
        if is_over { tried } else { tried.saturating_add(1) }
    }

    /// Rendering time of this round, minutes.
    fn rendered_minutes(&self) -> f64 {
        let ended = self.round().iter().filter_map(|a| Some(a.ended_at?.duration_since(a.started_at?).as_secs_f64()));
        ended.map(|seconds| seconds.max(0.0)).sum::<f64>() / 60.0
    }

    /// Whether a try is to follow the one that was just measured: its place in the round, from 0.
    ///
    /// # Errors
    /// Why none is.
    pub fn another(&self) -> Result<u32, Enough> {
        let goal = self.goal.as_ref().ok_or(Enough::NoGoal)?;
        if let Some(gate) = &goal.gate
            && self.round().iter().any(|a| a.passes(gate))
        {
            return Err(Enough::Passed);
        }
        // One may have been looked at while the machine had no time; two in a row tell of the job.
        let measured = self.round().iter().rev().filter_map(Attempt::result);
        let unjudged = |known: &&Measurement| matches!(known.verdict, None | Some(Verdict::Unknown));
        if measured.take_while(unjudged).count() >= 2 {
            return Err(Enough::NotJudged);
        }
        let tried = self.tried();
        if self.settled {
            Err(Enough::Asked)
        } else if tried >= goal.tries {
            Err(Enough::Tries)
        } else if goal.minutes.is_some_and(|most| self.rendered_minutes() >= most) {
            Err(Enough::Minutes)
        } else {
            Ok(tried)
        }
    }

    /// It is being measured, and another try may come of that.
    #[must_use]
    pub fn another_may_follow(&self) -> bool {
        !self.settled && self.goal.as_ref().is_some_and(|goal| self.try_number() < goal.tries)
    }

    /// Whether the gate was met; nothing while it is tried, and where there is no gate.
    #[must_use]
    pub fn passed(&self) -> Option<bool> {
        let gate = self.goal.as_ref()?.gate.as_ref()?;
        let passed = self.round().iter().any(|a| a.passes(gate));
        (passed || self.state.is_ended()).then_some(passed)
    }

    /// The best try of this round.
    #[must_use]
    pub fn best(&self) -> Option<&Attempt> {
        let gate = self.goal.as_ref().and_then(|goal| goal.gate.as_ref());
        best_of(self.round(), gate)
    }

    /// The attempt that counts: the one that a person keeps; of several tries the best; else the latest.
    #[must_use]
    pub fn chosen(&self) -> Option<&Attempt> {
        let kept = self.attempts.iter().rev().find(|a| a.mark == Some(Mark::Kept));
        let latest = self.attempts.last().filter(|a| self.goal.is_none() && a.mark.is_none());
        let earlier = || best_of(&self.attempts, None).filter(|_| self.goal.is_none());
        kept.or(latest).or_else(|| self.best()).or_else(earlier).or_else(|| self.attempt())
    }

    /// The files that others may take from it: those of the attempt that counts, or else of the best that is left.
    ///
    /// # Errors
    /// Words: all that it made is discarded.
    pub fn gives(&self) -> Result<Vec<Output>, String> {
        let has_some = |attempt: &&Attempt| !attempt.outputs.is_empty();
        let is_left = |attempt: &&Attempt| has_some(attempt) && !attempt.is_discarded();
        let latest = || self.attempts.iter().rev().find(is_left);
        let left = self.chosen().filter(is_left).or_else(|| best_of(&self.attempts, None).filter(is_left));
        match left.or_else(latest) {
            Some(attempt) => Ok(attempt.files()),
            None if self.attempts.iter().any(|attempt| has_some(&attempt)) => {
                Err(format!("all that {} {} made is discarded", self.id, self.name))
            }
            None => Ok(Vec::new()),
        }
    }

    /// The attempt that lists and details show: once the job has ended the one that counts, until then the latest.
    #[must_use]
    pub fn shown(&self) -> Option<&Attempt> {
        if self.state.is_ended() { self.chosen() } else { self.attempt() }
    }

    /// What its next attempt, or the one that is under way, has in place of its own.
    #[must_use]
    pub fn varied(&self) -> Option<&Variation> {
        let none = Pick::default();
        self.goal.as_ref()?.vary.variation(self.pick.as_ref().unwrap_or(&none))
    }

    /// The seed of that attempt.
    #[must_use]
    pub fn next_seed(&self) -> Option<u64> {
        self.pick.as_ref().and_then(|pick| pick.seed).or_else(|| self.seed.value())
    }

    /// Which of the variations of its prompt is rendered.
    #[must_use]
    pub fn variation(&self) -> usize {
        self.pick.as_ref().map_or(0, |pick| pick.variation)
    }

    /// What the latest try lacked, for the next one's reason.
    #[must_use]
    pub fn lacked(&self) -> String {
        let of = self.goal.as_ref().map_or(0, |goal| goal.tries);
        let mut words = format!("try {} of {of}", self.tried().saturating_add(1));
        if let Some(known) = self.round().last().and_then(Attempt::result) {
            let _ = write!(words, "; the one before {}", known.words());
        }
        words
    }
}

/// The best of these; of equals the first. What was discarded does not count.
fn best_of<'a>(attempts: &'a [Attempt], gate: Option<&Gate>) -> Option<&'a Attempt> {
    let judged = attempts.iter().filter(|a| !a.is_discarded()).filter_map(|a| Some((a, a.result()?)));
    let first_of = |best: (&'a Attempt, &'a Measurement), other: (&'a Attempt, &'a Measurement)| {
        let passes = |a: &Attempt| gate.is_some_and(|gate| a.passes(gate));
        let is_better = match (passes(other.0), passes(best.0)) {
            (true, false) => true,
            (false, true) => false,
            _ => better(other.1, best.1),
        };
        if is_better { other } else { best }
    };
    judged.reduce(first_of).map(|(attempt, _)| attempt)
}
