//! Does it loop? The one verdict on a clip that has been watched.
//!
//! Pure. docs/verdict.md explains each number in words and pictures; the thresholds are in
//! [`Thresholds`] (`[verdict]` in comfytop.toml), and that page says how they were found.

use serde::{Deserialize, Serialize};

use super::motion::{Weights, median};
use super::watch::{MOST_JUDGED, Seen, Step};

/// Fewer frames are no clip to judge.
pub const FEWEST_JUDGED: usize = 8;
/// Displacements below this, pixels of the small picture, from the first frame to any later one: nothing has moved.
const UNMOVED: f32 = 0.3;
/// Distances of grids below this, levels: nothing has changed.
const UNCHANGED: f32 = 0.8;
/// A step is a doubled frame's where it is below this share of the slower one beside it.
const DOUBLED: f32 = 0.4;
/// Where that many of the steps are doubled frames' it is how the clip is made ("on twos"), no fault.
const ON_TWOS: usize = 5;

/// What decides between the verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thresholds {
    /// The seam may be slower than an ordinary step by this share of one, at most.
    pub slower: f64,
    /// The seam may be faster than an ordinary step by this share of one, at most.
    pub faster: f64,
    /// Luma and chroma may differ by this many levels (of 255) between last and first frame.
    pub colour: f64,
    /// A cut may drop this many frames, at both ends together.
    pub cut: usize,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { slower: 0.4, faster: 0.5, colour: 2.0, cut: 16 }
    }
}

/// How a clip loops, from best to worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Last to first is a step like any other.
    Loops,
    /// It would, after a cut.
    Nearly,
    /// It would, but for a step of light or colour.
    Pulses,
    Jumps,
    /// Nothing moves: how alike its ends are says nothing.
    Still,
    /// Too few frames, or nobody can tell.
    #[serde(rename = "n/a")]
    #[default]
    Unknown,
}

impl Verdict {
    /// All, from best to worst.
    pub const ALL: [Self; 6] = [Self::Loops, Self::Nearly, Self::Pulses, Self::Jumps, Self::Still, Self::Unknown];

    pub fn word(self) -> &'static str {
        match self {
            Self::Loops => "loops",
            Self::Nearly => "nearly",
            Self::Pulses => "pulses",
            Self::Jumps => "jumps",
            Self::Still => "still",
            Self::Unknown => "n/a",
        }
    }
}

/// Frames to drop so that it loops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    pub drop_start: u32,
    pub drop_end: u32,
}

/// What is said of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub verdict: Verdict,
    /// What to do about it.
    pub advice: Option<String>,
    /// Mean absolute difference last → first over the median of neighbours; none where nothing differs.
    pub seam_ratio: Option<f64>,
    /// Displacement last → first over the median of neighbours; none where nothing is displaced.
    pub motion_ratio: Option<f64>,
    /// Mean luma (BT.601), last less first, levels.
    pub luma_step: f64,
    /// Distance of the mean Cb and Cr, last from first, levels.
    pub chroma_step: f64,
    /// Frames that only repeat the one before them, counted from 1; the last one is among them
    /// where it repeats the first.
    pub doubled: Vec<u64>,
    /// None where the clip passes uncut, and where no cut helps.
    pub cut: Option<Cut>,
}

/// Judges a clip; none where there is nothing to compare (one frame, or frames of several sizes).
#[must_use]
pub fn judge(seen: &Seen, thresholds: &Thresholds) -> Option<Judgement> {
    let (first, last) = (seen.head.first()?, seen.tail.back()?);
    let seam_raw = seen.seam?;
    if seen.other_size.is_some() {
        return None;
    }
    let typical = median(&mut seen.steps.iter().map(|step| step.raw).collect::<Vec<_>>());
    let light = first.grid.light_to(&last.grid);
    let mut judgement = Judgement {
        verdict: Verdict::Unknown,
        advice: None,
        seam_ratio: (typical > 0.0).then(|| f64::from(seam_raw / typical)),
        motion_ratio: None,
        luma_step: f64::from(light.luma),
        chroma_step: f64::from(light.chroma),
        doubled: Vec::new(),
        cut: None,
    };
    if seen.frames < FEWEST_JUDGED || seen.frames > MOST_JUDGED {
        let many = if seen.frames < FEWEST_JUDGED { "few" } else { "many" };
        judgement.advice = Some(format!("{} frames are too {many} to judge a loop by", seen.frames));
        return Some(judgement);
    }
    let clip = Clip::of(seen, thresholds);
    clip.decide(&mut judgement);
    Some(judgement)
}

/// A clip with what is ordinary in it.
struct Clip<'a> {
    seen: &'a Seen,
    thresholds: &'a Thresholds,
    weights: Weights,
    /// Displacement of each step; none where nothing is displaced.
    motion: Option<Series>,
    /// Distance of the grids, light taken out.
    plain: Series,
    /// Steps that are doubled frames'.
    doubled: Vec<usize>,
    /// What displacement does not explain, between neighbours and at most.
    unlike: f32,
    most_unlike: f32,
    /// Steps of light up to this are ordinary, levels.
    light: f64,
}

/// One number for each step from a frame to the next.
#[derive(Debug, Default)]
struct Series {
    steps: Vec<f32>,
    /// The median of those that are not doubled frames'.
    typical: f32,
}

/// The steps on either side of a seam, the nearest first.
#[derive(Debug, Clone, Copy)]
struct Beside {
    leaving: [f32; 3],
    entering: [f32; 3],
}

impl Series {
    fn of(steps: Vec<f32>) -> Self {
        let typical = median(&mut steps.clone());
        Self { steps, typical }
    }

    fn without(mut self, doubled: &[usize]) -> Self {
        let moving = self.steps.iter().enumerate().filter(|(n, _)| !doubled.contains(n));
        self.typical = median(&mut moving.map(|(_, step)| *step).collect::<Vec<_>>());
        self
    }

    /// The steps beside a seam; those of doubled frames are passed over.
    fn beside(&self, cut: Cut, doubled: &[usize]) -> Beside {
        let three = |steps: &mut dyn Iterator<Item = (usize, &f32)>| {
            let mut steps = steps.filter(|(n, _)| !doubled.contains(n)).map(|(_, step)| *step);
            [0; 3].map(|_| steps.next().unwrap_or(self.typical))
        };
        Beside {
            leaving: three(&mut self.steps.iter().enumerate().rev().skip(cut.drop_end as usize)),
            entering: three(&mut self.steps.iter().enumerate().skip(cut.drop_start as usize)),
        }
    }

    /// True where a seam stands while there is motion on both sides of it. Shorter by `least` is not shorter.
    fn stands(&self, seam: f32, beside: Beside, slower: f32, least: f32) -> bool {
        let Beside { leaving, entering } = beside;
        let mut slow = self.typical.min(leaving[0]).min(entering[0]);
        if slow < self.typical / 2.0 {
            // A motion that comes to rest slows down first, and may well come to rest at the seam.
            let next = |[near, far, _]: [f32; 3]| (2.0 * near - far).abs();
            slow = slow.min(next(leaving).max(next(entering)));
        }
        // What a frame came too far before the seam it may stand at it.
        let ahead = |[near, far, _]: [f32; 3]| (near - self.typical.max(far)).max(0.0);
        let seam = seam + ahead(leaving).max(ahead(entering));
        seam < (1.0 - slower) * slow && slow - seam > least.max(self.typical / 16.0)
    }

    /// How many times an ordinary step a seam is that is faster than any beside it.
    fn leap(&self, seam: f32, beside: Beside) -> f32 {
        let Beside { leaving, entering } = beside;
        // Of two, so that one stray step is no pace.
        let pace = |[near, far, _]: [f32; 3]| near.min(far);
        let fast = self.typical.max(pace(leaving).midpoint(pace(entering)));
        // What a frame stayed far behind before the seam it may make up for at it: compression holds back what moves little.
        let behind = |[near, ..]: [f32; 3]| if near < self.typical / 2.0 { self.typical - near } else { 0.0 };
        (seam - behind(leaving) - behind(entering)) / fast.max(f32::MIN_POSITIVE)
    }
}

impl<'a> Clip<'a> {
    fn of(seen: &'a Seen, thresholds: &'a Thresholds) -> Self {
        let found = |steps: &'a [Step]| steps.iter().map(|step| step.found.as_slice()).collect::<Vec<_>>();
        let weights = Weights::of(seen.layout.as_ref(), &found(&seen.far), &found(&seen.steps));
        // Only where the picture was found again: whatever resembles it least may be anywhere.
        let known = seen.far.iter().filter(|step| weights.unlike(&step.found) < 0.25);
        let travelled = known.map(|step| weights.distance(&step.found)).fold(0.0, f32::max);
        let unlike = median(&mut seen.steps.iter().map(|step| weights.unlike(&step.found)).collect::<Vec<_>>());
        let most_unlike = seen.far.iter().map(|step| weights.unlike(&step.found)).fold(0.0, f32::max);
        let motion = Series::of(seen.steps.iter().map(|step| weights.distance(&step.found)).collect());
        // What moves gets somewhere: grain goes as far from one frame to the next as over the whole clip.
        let moves = travelled > UNMOVED && (motion.typical > UNMOVED || travelled > 2.5 * motion.typical);
        let motion = Some(motion).filter(|_| weights.tell() && moves);
        let plain = Series::of(seen.steps.iter().map(|step| step.plain).collect());
        let doubled = doubled_steps(seen, motion.as_ref().unwrap_or(&plain));
        let (motion, plain) = (motion.map(|motion| motion.without(&doubled)), plain.without(&doubled));
        // Some clips change their colours all the time.
        let mut light: Vec<f32> = seen.steps.iter().map(|step| step.shift).collect();
        light.sort_unstable_by(f32::total_cmp);
        let usual = light.get(light.len() * 9 / 10).copied().unwrap_or(0.0);
        let light = thresholds.colour.max(1.25 * f64::from(usual));
        Self { seen, thresholds, weights, motion, plain, doubled, unlike, most_unlike, light }
    }

    fn is_still(&self) -> bool {
        let changed = self.seen.far.iter().map(|step| step.light).fold(0.0, f32::max);
        let noise = median(&mut self.seen.steps.iter().map(|step| step.light).collect::<Vec<_>>());
        self.motion.is_none() && changed < UNCHANGED.max(1.6 * noise)
    }

    fn decide(&self, judgement: &mut Judgement) {
        let Some(seam) = self.seam(Cut::default()) else { return };
        if self.is_still() {
            judgement.verdict = Verdict::Still;
            judgement.advice = Some("nothing moves in it, so its SSIM says nothing".to_owned());
            return;
        }
        judgement.motion_ratio = seam.motion_ratio;
        if !self.is_on_twos() {
            judgement.doubled.extend(self.doubled.iter().map(|step| *step as u64 + 2));
        }
        if seam.kind == Kind::Doubled {
            judgement.doubled.push(self.seen.frames as u64);
        }
        let passes = |seam: &Seam| seam.kind == Kind::Ordinary && seam.light <= self.light;
        let helps = |cut: &Cut| self.seam(*cut).is_some_and(|seam| passes(&seam));
        judgement.cut = if passes(&seam) { None } else { self.cuts().find(helps) };
        (judgement.verdict, judgement.advice) = match (judgement.cut, seam.kind) {
            (Some(cut), _) => (Verdict::Nearly, Some(advice_on(cut, &judgement.doubled, self.seen.frames))),
            (None, Kind::Ordinary) if passes(&seam) => (Verdict::Loops, drop_doubled(&judgement.doubled)),
            (None, Kind::Ordinary) => (Verdict::Pulses, Some(pulse(judgement))),
            (None, _) => (Verdict::Jumps, None),
        };
    }

    fn is_on_twos(&self) -> bool {
        self.doubled.len() * ON_TWOS >= self.seen.steps.len()
    }

    /// All cuts, the one with the fewest frames dropped first; of those the one that drops most at the end.
    fn cuts(&self) -> impl Iterator<Item = Cut> + use<> {
        // What is left must be the clip, and long enough to be judged.
        let most = self.thresholds.cut.min(self.seen.frames / 3).min(self.seen.frames.saturating_sub(FEWEST_JUDGED));
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        (1..=most).flat_map(|dropped| (0..=dropped).map(move |n| Cut { drop_start: n, drop_end: dropped - n }))
    }

    /// The seam that is left after a cut.
    fn seam(&self, cut: Cut) -> Option<Seam> {
        let (start, end) = (cut.drop_start as usize, cut.drop_end as usize);
        let first = self.seen.head.get(start)?;
        let last = self.seen.tail.len().checked_sub(end + 1).and_then(|n| self.seen.tail.get(n))?;
        let step = Step::between(self.seen.layout.as_ref(), last, first);
        let motion = self.motion.as_ref().map(|motion| (motion, self.weights.distance(&step.found)));
        let motion_ratio = motion.filter(|(motion, _)| motion.typical > 0.0);
        let motion_ratio = motion_ratio.map(|(motion, seam)| f64::from(seam / motion.typical));
        let kind = self.kind(&step, motion, cut);
        Some(Seam { motion_ratio, light: f64::from(first.grid.light_to(&last.grid).largest()), kind })
    }

    #[expect(clippy::cast_possible_truncation, reason = "shares near 1")]
    fn kind(&self, step: &Step, motion: Option<(&Series, f32)>, cut: Cut) -> Kind {
        let (slower, faster) = (self.thresholds.slower as f32, 1.0 + self.thresholds.faster as f32);
        let beside = |series: &Series| series.beside(cut, &self.doubled);
        let plain = beside(&self.plain);
        let (leaps, stands) = match motion {
            Some((motion, seam)) => {
                let beside = beside(motion);
                (
                    motion.leap(seam, beside) > faster || self.is_lost(step),
                    motion.stands(seam, beside, slower, UNMOVED / 10.0),
                )
            }
            None => (self.plain.leap(step.plain - UNCHANGED / 2.0, plain) > faster, false),
        };
        // The grids know of no direction, but next to no noise: where they stand nothing has moved.
        let nothing_changes = self.plain.stands(step.plain, plain, 0.5, UNCHANGED / 4.0);
        let everything_changes = self.plain.leap(step.plain - 2.0 * UNCHANGED, plain) > 3.0;
        if nothing_changes && !self.is_on_twos() {
            Kind::Doubled
        } else if leaps || everything_changes {
            Kind::Jump
        } else if stands && !self.is_on_twos() {
            Kind::Doubled
        } else {
            Kind::Ordinary
        }
    }

    /// Fast motion: a block that is nowhere to be found does not seem to have gone far.
    fn is_lost(&self, step: &Step) -> bool {
        let unlike = self.weights.unlike(&step.found);
        let room = self.most_unlike - self.unlike;
        room > 0.1 && unlike > 0.3 && unlike - self.unlike > room / 2.0
    }
}

/// Steps at which the picture stands while it moves before and after. A motion that comes to rest slows
/// down first.
fn doubled_steps(seen: &Seen, series: &Series) -> Vec<usize> {
    let is_doubled = |window: &[(f32, f32)]| {
        let [before, here, after] = window else { return false };
        let (pace, raw) = (before.0.min(after.0), before.1.min(after.1));
        pace >= series.typical / 2.0 && here.0 < DOUBLED * pace && here.1 < DOUBLED * raw
    };
    let steps: Vec<_> = series.steps.iter().zip(&seen.steps).map(|(pace, step)| (*pace, step.raw)).collect();
    steps.windows(3).enumerate().filter(|(_, window)| is_doubled(window)).map(|(n, _)| n + 1).collect()
}

/// Last to first.
struct Seam {
    motion_ratio: Option<f64>,
    /// Levels.
    light: f64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// It stands.
    Doubled,
    Jump,
}

fn advice_on(cut: Cut, doubled: &[u64], frames: usize) -> String {
    let at_end = cut == Cut { drop_start: 0, drop_end: 1 };
    if at_end
        && doubled.contains(&(frames as u64))
        && let Some(advice) = drop_doubled(doubled)
    {
        return advice;
    }
    let part = |count: u32, place: &str| match count {
        0 => None,
        1 => Some(format!("the {place} frame")),
        n => Some(format!("the {place} {n} frames")),
    };
    let parts: Vec<_> = [part(cut.drop_start, "first"), part(cut.drop_end, "last")].into_iter().flatten().collect();
    format!("cut {}", parts.join(" and "))
}

fn drop_doubled(doubled: &[u64]) -> Option<String> {
    match doubled {
        [] => None,
        [one] => Some(format!("drop the doubled frame ({one})")),
        more => {
            let numbers: Vec<_> = more.iter().take(8).map(ToString::to_string).collect();
            let rest = if more.len() > numbers.len() { ", …" } else { "" };
            Some(format!("drop the doubled frames ({}{rest})", numbers.join(", ")))
        }
    }
}

fn pulse(judgement: &Judgement) -> String {
    if judgement.luma_step.abs() >= judgement.chroma_step {
        let towards = if judgement.luma_step > 0.0 { "brighter" } else { "darker" };
        format!("level the light: it ends {:.0} levels {towards} than it begins", judgement.luma_step.abs())
    } else {
        format!("level the colour: it ends {:.0} levels off", judgement.chroma_step)
    }
}
