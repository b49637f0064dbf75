//! The pace of a clip: one number for each step from a frame to the next, and where it stands.
//!
//! Pure. What a number means is the judge's: a displacement, or a distance of colours.

use super::motion::median;
use super::watch::Seen;

/// A step is a doubled frame's where it is below this share of the slower one beside it.
const DOUBLED: f32 = 0.4;
/// Where it stands for longer than a step the plain differences must be below this share of those beside it: of the two steps
/// about the place where a swing turns each is a third of the next.
const EQUAL: f32 = 0.25;
/// A motion whose step is below this share of the one before it slows down, and may come to rest by itself.
const SLOWS: f32 = 0.75;
/// Where one of so many steps is a doubled frame's, in several places, it is how the clip is made ("on twos"), no fault.
const ON_TWOS: usize = 5;

/// One number for each step from a frame to the next.
#[derive(Debug, Default)]
pub struct Series {
    pub steps: Vec<f32>,
    /// The median of those that are not doubled frames'.
    pub typical: f32,
}

/// The steps on either side of a seam, the nearest first.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    leaving: [f32; 3],
    entering: [f32; 3],
}

impl Series {
    pub fn of(steps: Vec<f32>) -> Self {
        let typical = median(&mut steps.clone());
        Self { steps, typical }
    }

    pub fn without(mut self, doubled: &[usize]) -> Self {
        let moving = self.steps.iter().enumerate().filter(|(n, _)| !doubled.contains(n));
        self.typical = median(&mut moving.map(|(_, step)| *step).collect::<Vec<_>>());
        self
    }

    /// The steps beside a seam that is left after so many frames were dropped at the start and at the end; those of
    /// doubled frames are passed over.
    pub fn beside(&self, (start, end): (usize, usize), doubled: &[usize]) -> Beside {
        let three = |steps: &mut dyn Iterator<Item = (usize, &f32)>| {
            let mut steps = steps.filter(|(n, _)| !doubled.contains(n)).map(|(_, step)| *step);
            [0; 3].map(|_| steps.next().unwrap_or(self.typical))
        };
        Beside {
            leaving: three(&mut self.steps.iter().enumerate().rev().skip(end)),
            entering: three(&mut self.steps.iter().enumerate().skip(start)),
        }
    }

    /// True where a seam stands while there is motion on both sides of it. Shorter by `least` is not shorter.
    pub fn stands(&self, seam: f32, beside: Beside, slower: f32, least: f32) -> bool {
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
    pub fn leap(&self, seam: f32, beside: Beside) -> f32 {
        let Beside { leaving, entering } = beside;
        // Of two, so that one stray step is no pace.
        let pace = |[near, far, _]: [f32; 3]| near.min(far);
        let fast = self.typical.max(pace(leaving).midpoint(pace(entering)));
        // What a frame stayed far behind before the seam it may make up for at it: compression holds back what moves little.
        let behind = |[near, ..]: [f32; 3]| if near < self.typical / 2.0 { self.typical - near } else { 0.0 };
        (seam - behind(leaving) - behind(entering)) / fast.max(f32::MIN_POSITIVE)
    }
}

/// Frames that only repeat the one beside them.
#[derive(Debug, Default)]
pub struct Doubled {
    /// Steps at which the picture stands, from a frame to the next.
    pub steps: Vec<usize>,
    /// What is to be dropped, counted from 1: of a run of equal frames all but the first, and of one that goes
    /// round the seam all but the first frame of the clip.
    pub frames: Vec<u64>,
    /// The seam is one of those steps: the last frame repeats the first.
    pub seam: bool,
    /// It is how the clip is made.
    pub on_twos: bool,
}

impl Doubled {
    /// Steps at which the picture stands while it moves before and after, the seam being one of them. A motion that comes
    /// to rest slows down first. `seam` is the seam's number beside those of the series.
    pub fn of(seen: &Seen, series: &Series, seam: f32) -> Self {
        let mut found = Self::default();
        let count = series.steps.len();
        let inside =
            series.steps.iter().zip(&seen.steps).map(|(pace, step)| Step { pace: *pace, low: step.raw, raw: step.raw });
        // Neighbours share the noise of compression, last and first frame don't: there the pace alone decides.
        let last = seen.seam.map(|raw| Step { pace: seam, low: 0.0, raw });
        let circle: Vec<_> = inside.chain(last).collect();
        let mut runs = 0;
        for start in 0..circle.len() {
            let length = run(&circle, start, series.typical);
            if length == 0 {
                continue;
            }
            runs += 1;
            let steps = || (start..start + length).map(|n| n % circle.len());
            let round = steps().any(|n| n == count);
            found.seam |= round;
            for n in steps() {
                // The frame behind the step; before the seam the one before it, since the first one of the clip is kept.
                let before = round && n >= start;
                found.frames.push(n as u64 + if before { 1 } else { 2 });
                found.steps.extend((n < count).then_some(n));
            }
        }
        found.frames.sort_unstable();
        found.on_twos = runs > 2 && found.steps.len() * ON_TWOS >= count;
        found
    }

    /// True where the picture stands just before or after a seam that is left after so many frames were dropped.
    pub fn touch(&self, (start, end): (usize, usize), frames: usize) -> bool {
        let last = frames.checked_sub(2 + end);
        let at_seam = self.seam && (start, end) == (0, 0);
        !self.on_twos && (at_seam || self.steps.contains(&start) || last.is_some_and(|last| self.steps.contains(&last)))
    }
}

/// A step of the circle that a loop is.
#[derive(Clone, Copy, Default)]
struct Step {
    pace: f32,
    /// The plain difference, as one that may stand and as one beside such.
    low: f32,
    raw: f32,
}

/// How many steps of a circle, from this one on, are doubled frames', with motion before the first and behind the last.
fn run(circle: &[Step], start: usize, typical: f32) -> usize {
    let at = |n: usize| circle.get((start + circle.len() + n - 2) % circle.len().max(1)).copied().unwrap_or_default();
    let (far, near) = (at(0), at(1));
    let stands = |step: Step, beside: Step| step.pace < DOUBLED * beside.pace && step.low < DOUBLED * beside.raw;
    let length = (0..circle.len() / 2).take_while(|n| stands(at(n + 2), near)).count();
    let (then, later) = (at(length + 2), at(length + 3));
    let pace = near.pace.midpoint(then.pace);
    let slows = pace < SLOWS * far.pace.midpoint(later.pace);
    // Of one that lasts more must be seen.
    let moves = near.pace.min(then.pace) >= typical / 2.0 && (length == 1 || pace >= SLOWS * typical);
    let least = near.raw.min(then.raw);
    let low =
        |step: Step| stands(step, then) && (length == 1 || step.pace < DOUBLED * typical && step.low < EQUAL * least);
    if moves && !slows && (0..length).all(|n| low(at(n + 2))) { length } else { 0 }
}
