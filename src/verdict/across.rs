//! How far things go at a seam, seen from a few frames away.
//!
//! Pure. Compression errs by about as much in a step of three frames as in one of a single frame, since its error is
//! one of where a frame's things are. So a step too small to be measured is what a longer one has more than it
//! should have without it.

use super::motion::{Found, Weights};
use super::watch::{Seen, Trace};

/// Steps that are measured as one.
pub const STEPS: usize = 3;
/// Things go on where what was gone before a seam and behind it differ by 60° at most (the cosine of that), and neither is
/// less than such a share of the other: of a turn, or a rest, nothing is known so.
const GOES_ON: f32 = 0.5;
const STEADY: f32 = 0.75;

/// How many of the steps about it the seam is that is left after so many frames were dropped at the start and at the end.
///
/// The mean of two: its own displacement; and that of [`STEPS`] steps of which it is one (of all such, the mean), less
/// those of the others. Both by a step as it is in the displacements over as many steps before the seam and behind it. None
/// where things do not go on, or a step beside it is a doubled frame's.
#[expect(clippy::cast_precision_loss, reason = "a few")]
pub fn steps(seen: &Seen, weights: &Weights, (start, end): (usize, usize), doubled: &[usize]) -> Option<f32> {
    let last = seen.frames.checked_sub(1 + end)?;
    let beside =
        |step: &usize| (start..start + STEPS).contains(step) || (last.saturating_sub(STEPS)..last).contains(step);
    if doubled.iter().any(beside) {
        return None;
    }
    let layout = seen.layout.as_ref()?;
    let before: Vec<&Trace> = seen.tail.iter().rev().skip(end).take(STEPS + 1).collect();
    let behind: Vec<&Trace> = seen.head.iter().skip(start).take(STEPS + 1).collect();
    // From the earliest to the latest, the seam in the middle.
    let frames: Vec<&Trace> = before.into_iter().rev().chain(behind).collect();
    let span = |from: usize| Some(layout.search(&frames.get(from)?.small, &frames.get(from + STEPS)?.small));
    let (leaving, entering) = (span(0)?, span(STEPS + 1)?);
    let length = |pair: &[Found]| weights.along(pair, pair).sqrt().max(f32::MIN_POSITIVE);
    let (away, on) = (length(&leaving), length(&entering));
    let goes_on = weights.along(&leaving, &entering) > GOES_ON * away * on;
    if !goes_on || away.min(on) < STEADY * away.max(on) {
        return None;
    }
    // In the direction of the motion: what leads back is less than nothing.
    let ahead = |pair: &[Found]| (weights.along(pair, &leaving) / away).midpoint(weights.along(pair, &entering) / on);
    let own = ahead(&layout.search(&frames.get(STEPS)?.small, &frames.get(STEPS + 1)?.small));
    let across = (1..=STEPS).map(|from| Some(ahead(&span(from)?))).sum::<Option<f32>>()? / STEPS as f32;
    let step = away.midpoint(on) / STEPS as f32;
    Some((own / step).midpoint(across / step - (STEPS - 1) as f32))
}
