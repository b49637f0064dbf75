//! Does it loop? The one verdict on a clip that has been watched.
//!
//! Pure. docs/verdict.md explains each number in words and pictures; the thresholds are in
//! [`Thresholds`] (`[verdict]` in comfytop.toml), and that page says how they were found.

use serde::{Deserialize, Serialize};

use super::across;
use super::level::Ramp;
use super::motion::{NOISE, Weights, median};
use super::series::{Beside, Doubled, Series};
use super::watch::{MOST_JUDGED, Seen, Step, Trace};

/// Fewer frames are no clip to judge.
pub const FEWEST_JUDGED: usize = 8;
/// Displacements below this, pixels of the small picture, from the first frame to any later one: nothing has moved.
const UNMOVED: f32 = 0.3;
/// Distances of grids below this, levels: nothing has changed.
const UNCHANGED: f32 = 0.8;

/// Grain changes the grids by no more than this from one frame to the next, levels: where more changes, and no block is found
/// again, things go too fast to be found.
const GRAIN: f32 = 1.5;

/// Of a step of light so great a share is left when it is taken out: white gets no brighter.
const CLIPPED: f32 = 20.0;

/// Where more than one of so many steps goes against both of those beside it, a step's direction says nothing.
const WAVERS: usize = 10;
/// A cut of one frame more is the better one where its seam is nearer to an ordinary step by this share of one.
const BETTER: f32 = 0.25;

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

impl Cut {
    /// Frames dropped at the start, and at the end.
    fn dropped(self) -> (usize, usize) {
        (self.drop_start as usize, self.drop_end as usize)
    }
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
    if !first.grid.sees() {
        judgement.advice = Some("a picture below 4x4 pixels is too small to judge a loop by".to_owned());
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
    /// Distance of the grids.
    changes: Series,
    /// From the last frame to the first: the seam of the clip as it is.
    last_step: Step,
    /// Where it stands.
    doubled: Doubled,
    /// It goes to and fro so often that the direction of a step says nothing.
    wavers: bool,
    /// What displacement does not explain, between neighbours and at most.
    unlike: f32,
    most_unlike: f32,
    /// Steps of light up to this are ordinary, levels.
    light: f64,
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
        let light = Series::of(seen.steps.iter().map(|step| step.light).collect());
        // Where nothing is displaced colours may go round; a flicker is so faint that compression lets it stand.
        let ends = seen.tail.back().zip(seen.head.first());
        let last_step = ends.map(|(last, first)| Step::between(seen.layout.as_ref(), last, first)).unwrap_or_default();
        let doubled = match &motion {
            Some(motion) => Doubled::of(seen, motion, weights.distance(&last_step.found)),
            None if light.typical > 5.0 * UNCHANGED => Doubled::of(seen, &light, last_step.light),
            None => Doubled::default(),
        };
        let motion = motion.map(|motion| motion.without(&doubled.steps));
        let (plain, changes) = (plain.without(&doubled.steps), light.without(&doubled.steps));
        // Some clips change their colours all the time.
        let mut light: Vec<f32> = seen.steps.iter().map(|step| step.shift).collect();
        light.sort_unstable_by(f32::total_cmp);
        let usual = light.get(light.len() * 9 / 10).copied().unwrap_or(0.0);
        let light = thresholds.colour.max(1.25 * f64::from(usual));
        let turns = seen.steps.windows(3).filter(|window| {
            let [before, here, after] = window else { return false };
            weights.turns_back(&before.found, &here.found, &after.found)
        });
        let wavers = turns.count() * WAVERS > seen.steps.len();
        Self {
            seen,
            thresholds,
            weights,
            motion,
            plain,
            changes,
            last_step,
            doubled,
            wavers,
            unlike,
            most_unlike,
            light,
        }
    }

    fn is_still(&self) -> bool {
        let changed = self.seen.far.iter().map(|step| step.light).fold(0.0, f32::max);
        let noise = median(&mut self.seen.steps.iter().map(|step| step.light).collect::<Vec<_>>());
        self.motion.is_none() && changed < UNCHANGED.max(1.6 * noise.min(GRAIN))
    }

    fn decide(&self, judgement: &mut Judgement) {
        let Some(seam) = self.seam(Cut::default()) else { return };
        if self.is_still() {
            judgement.verdict = Verdict::Still;
            judgement.advice = Some("nothing moves in it, so its SSIM says nothing".to_owned());
            return;
        }
        judgement.motion_ratio = seam.motion_ratio;
        let frames = self.seen.frames as u64;
        if !self.doubled.on_twos {
            judgement.doubled.clone_from(&self.doubled.frames);
        }
        if seam.kind == Kind::Doubled && !judgement.doubled.contains(&frames) {
            judgement.doubled.push(frames);
        }
        let uncut = Cut::default();
        judgement.cut = if self.passes(uncut, &seam) { None } else { self.best_cut() };
        (judgement.verdict, judgement.advice) = match (judgement.cut, seam.kind) {
            (Some(cut), _) => (Verdict::Nearly, Some(advice_on(cut, &judgement.doubled, frames))),
            (None, Kind::Ordinary) if self.passes(uncut, &seam) => {
                (Verdict::Loops, drop_doubled(&judgement.doubled).or_else(|| self.doubt()))
            }
            (None, Kind::Ordinary) if seam.light > self.light && self.can_be_levelled() => {
                (Verdict::Pulses, Some(pulse(judgement)))
            }
            // It stands longer than a cut may be.
            (None, Kind::Ordinary | Kind::Doubled) if self.stands_at(uncut) => {
                (Verdict::Nearly, drop_doubled(&judgement.doubled))
            }
            (None, _) => (Verdict::Jumps, None),
        };
    }

    fn passes(&self, cut: Cut, seam: &Seam) -> bool {
        seam.kind == Kind::Ordinary && seam.light <= self.light && !self.stands_at(cut)
    }

    /// True where the seam is no leap once the repair's own ramp has taken the step of light out.
    fn can_be_levelled(&self) -> bool {
        let Some((first, last)) = self.ends(Cut::default()) else { return false };
        let left = Ramp::between(&first.grid, &last.grid).left(&first.grid, &last.grid);
        // White gets no brighter: of a step of light some is left, of one of colour nothing.
        let by = first.grid.light_to(&last.grid);
        let shift = if by.luma.abs() >= by.chroma { by.luma.abs() } else { 0.0 };
        let step = Step { plain: left, light: left, shift, ..self.last_step.clone() };
        let motion = self.motion.as_ref().map(|motion| (motion, self.weights.distance(&step.found)));
        self.kind(&step, motion, (0, 0)) != Kind::Jump
    }

    /// True where the picture stands just before or behind the seam.
    fn stands_at(&self, cut: Cut) -> bool {
        self.doubled.touch(cut.dropped(), self.seen.frames)
    }

    /// The cut with the fewest frames dropped, or with one more where that closes the loop better.
    fn best_cut(&self) -> Option<Cut> {
        let off = |cut: Cut| {
            let seam = self.may_pass(cut).then(|| self.seam(cut))??;
            (self.passes(cut, &seam) && self.holds(cut)).then_some(seam.off)
        };
        let (cut, rough) = self.cuts().find_map(|cut| Some((cut, off(cut)?)))?;
        let more = match cut {
            Cut { drop_start, drop_end: 0 } => Cut { drop_start: drop_start + 1, drop_end: 0 },
            cut => Cut { drop_end: cut.drop_end + 1, ..cut },
        };
        let better = self.cuts().any(|cut| cut == more) && off(more).is_some_and(|off| off < rough - BETTER);
        Some(if better { more } else { cut })
    }

    /// What is to be said where no block is found again although everything changes.
    fn doubt(&self) -> Option<String> {
        let is_lost = self.seen.layout.is_some() && !self.weights.tell() && self.plain.typical > GRAIN;
        is_lost.then(|| "it moves too fast to be followed: by its colours alone it loops, look at it".to_owned())
    }

    /// True where what a cut leaves is a loop by its own pace: that of the whole clip may be another.
    fn holds(&self, cut: Cut) -> bool {
        let left = self.seen.without(cut.dropped());
        let clip = Clip::of(&left, self.thresholds);
        let uncut = Cut::default();
        !clip.is_still() && clip.seam(uncut).is_some_and(|seam| clip.passes(uncut, &seam))
    }

    /// False where the grids alone tell that it does not pass: looking for blocks takes a hundred times as long.
    fn may_pass(&self, cut: Cut) -> bool {
        self.ends(cut).is_some_and(|(first, last)| {
            let light = f64::from(first.grid.light_to(&last.grid).largest());
            let plain = last.grid.apart(&first.grid, false);
            let beside = self.plain.beside(cut.dropped(), &self.doubled.steps);
            light <= self.light && !self.stands_at(cut) && !self.all_changes(plain, beside)
        })
    }

    /// The first and the last frame that a cut leaves.
    fn ends(&self, cut: Cut) -> Option<(&Trace, &Trace)> {
        let (start, end) = cut.dropped();
        let last = self.seen.tail.len().checked_sub(end + 1)?;
        Some((self.seen.head.get(start)?, self.seen.tail.get(last)?))
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
        let (start, end) = cut.dropped();
        let (first, last) = self.ends(cut)?;
        let step = match (start, end) {
            (0, 0) => self.last_step.clone(),
            _ => Step::between(self.seen.layout.as_ref(), last, first),
        };
        let motion = self.motion.as_ref().map(|motion| (motion, self.weights.distance(&step.found)));
        let motion_ratio = motion.filter(|(motion, _)| motion.typical > 0.0);
        let motion_ratio = motion_ratio.map(|(motion, seam)| f64::from(seam / motion.typical));
        let (before, after) = self.beside((start, end))?;
        let off = match &self.motion {
            Some(motion) => {
                let apart = |other: &Step| self.weights.apart(&step.found, &other.found);
                apart(before).midpoint(apart(after)) / motion.typical.max(f32::MIN_POSITIVE)
            }
            None => (step.plain / self.plain.typical.max(f32::MIN_POSITIVE) - 1.0).abs(),
        };
        let kind = self.kind(&step, motion, (start, end));
        let light = f64::from(first.grid.light_to(&last.grid).largest());
        Some(Seam { motion_ratio, light, kind, off })
    }

    #[expect(clippy::cast_possible_truncation, reason = "shares near 1")]
    fn kind(&self, step: &Step, motion: Option<(&Series, f32)>, cut: (usize, usize)) -> Kind {
        let (slower, faster) = (self.thresholds.slower as f32, 1.0 + self.thresholds.faster as f32);
        let beside = |series: &Series| series.beside(cut, &self.doubled.steps);
        let plain = beside(&self.plain);
        // Of small steps compression shows what it likes: there those about the seam must agree.
        let small = motion.is_some_and(|(motion, _)| motion.typical < NOISE);
        let across = if small { self.across(cut) } else { None };
        let (leaps, stands) = match motion {
            Some((motion, seam)) => {
                let beside = beside(motion);
                let leaps = motion.leap(seam, beside) > faster && across.is_none_or(|steps| steps > faster);
                let stands = || motion.stands(seam, beside, slower, UNMOVED / 10.0);
                (
                    leaps || self.is_lost(step) || self.turns_back(step, cut),
                    across.map_or_else(stands, |steps| steps < 1.0 - slower),
                )
            }
            // Where all colours go round together the grids show it only with their light.
            None => (
                self.plain.leap(step.plain - UNCHANGED / 2.0 - step.shift / CLIPPED, plain) > faster,
                self.changes.stands(step.light, beside(&self.changes), 0.5, UNCHANGED / 4.0),
            ),
        };
        // The grids know of no direction, but next to no noise: where they stand nothing has moved.
        let nothing_changes = self.plain.stands(step.plain, plain, 0.5, UNCHANGED / 4.0);
        let repeats = self.doubled.seam && cut == (0, 0);
        if (nothing_changes || repeats) && !self.doubled.on_twos {
            Kind::Doubled
        } else if leaps || self.all_changes(step.plain, plain) {
            Kind::Jump
        } else if stands && !self.doubled.on_twos {
            Kind::Doubled
        } else {
            Kind::Ordinary
        }
    }

    /// True where the picture changes at a seam, light taken out, far more than at the steps beside it.
    fn all_changes(&self, plain: f32, beside: Beside) -> bool {
        self.plain.leap(plain - 2.0 * UNCHANGED, beside) > 3.0
    }

    /// The seam in steps like those about it; see [`across`].
    fn across(&self, cut: (usize, usize)) -> Option<f32> {
        across::steps(self.seen, &self.weights, cut, &self.doubled.steps)
    }

    /// A turn is no fault, but then it goes on from the step before it, or into the step behind it.
    fn turns_back(&self, step: &Step, cut: (usize, usize)) -> bool {
        let beside = self.beside(cut);
        !self.wavers
            && beside.is_some_and(|(before, after)| self.weights.turns_back(&before.found, &step.found, &after.found))
    }

    /// The steps before and behind the seam that is left after so many frames are dropped at the start and at the end.
    fn beside(&self, (start, end): (usize, usize)) -> Option<(&Step, &Step)> {
        let mut steps = self.seen.steps.iter().enumerate().filter(|(n, _)| !self.doubled.steps.contains(n));
        let last = self.seen.steps.len().checked_sub(1 + end)?;
        let before = steps.clone().rev().find(|(n, _)| *n <= last)?.1;
        Some((before, steps.find(|(n, _)| *n >= start)?.1))
    }

    /// Fast motion: a block that is nowhere to be found does not seem to have gone far.
    fn is_lost(&self, step: &Step) -> bool {
        let unlike = self.weights.unlike(&step.found);
        let room = self.most_unlike - self.unlike;
        room > 0.1 && unlike > 0.3 && unlike - self.unlike > room / 2.0
    }
}

/// Last to first.
struct Seam {
    motion_ratio: Option<f64>,
    /// Levels.
    light: f64,
    kind: Kind,
    /// How far it is from the steps beside it, in ordinary steps.
    off: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    /// It stands.
    Doubled,
    Jump,
}

fn advice_on(cut: Cut, doubled: &[u64], frames: u64) -> String {
    if cut.drops_only(doubled, frames)
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
