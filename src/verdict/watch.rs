//! Watching a clip: its frames go in one after another, what is left of them comes out.
//!
//! Pure. Never holds more than three frames in full size, however long the clip is: the first, the
//! one before, and the one just seen. Of the rest there are numbers, and small pictures of those
//! frames near either end that a cut could bring to the seam.

use std::collections::VecDeque;

use super::Rgb;
use super::motion::{Found, Layout, median};
use super::small::{Grid, Small};
use super::ssim::Summed;

/// Clips of more frames are not judged: nobody watches them as a loop, and the numbers of each step take memory.
pub const MOST_JUDGED: usize = 20_000;

/// A clip while it is watched.
#[derive(Debug)]
pub struct Watch {
    /// Frames kept small at either end.
    kept: usize,
    first: Option<(Summed, Trace)>,
    before: Option<(Summed, Trace)>,
    layout: Option<Layout>,
    seen: Seen,
    /// The next frame that is compared with the first for displacement.
    next_far: usize,
}

/// What is left of a clip.
#[derive(Debug, Default)]
pub struct Seen {
    pub frames: usize,
    /// SSIM of each frame and the first; the first of them is 1. Empty where there is none (below 8x8).
    pub ssim_first: Vec<f64>,
    /// SSIM of each frame but the first and the one before it.
    pub ssim_before: Vec<f64>,
    /// From each frame to the next.
    pub steps: Vec<Step>,
    /// From the first frame to later ones, ever fewer.
    pub far: Vec<Step>,
    /// `Step::raw` from the last frame to the first; none for one frame.
    pub seam: Option<f32>,
    /// The first frames, and the last ones; they may be the same.
    pub head: Vec<Trace>,
    pub tail: VecDeque<Trace>,
    pub layout: Option<Layout>,
    /// Size of the first frame, and of one that has another.
    pub size: (u32, u32),
    pub other_size: Option<(u32, u32)>,
}

/// What is kept of a frame.
#[derive(Debug, Clone)]
pub struct Trace {
    pub small: Small,
    pub grid: Grid,
}

/// From one frame to another.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Block by block; empty where the picture is too small, or the clip too long.
    pub found: Vec<Found>,
    /// Distance of the grids, levels, with and without the step of light.
    pub light: f32,
    pub plain: f32,
    /// The larger one of the steps of luma and chroma, levels.
    pub shift: f32,
    /// Mean absolute difference over all pixels and channels, levels; 0 where nobody looked.
    pub raw: f32,
}

impl Seen {
    /// What would have been seen of the clip without so many frames at its start and at its end; no curves. The looks
    /// from the first frame to later ones stay those from the first frame of all, and of the seam only the traces tell.
    #[must_use]
    pub fn without(&self, (start, end): (usize, usize)) -> Self {
        let last = self.steps.len().saturating_sub(end);
        let steps: Vec<Step> = self.steps.get(start..last).unwrap_or_default().to_vec();
        let far = far_frames().zip(&self.far).take_while(|(frame, _)| *frame <= last).map(|(_, step)| step.clone());
        Self {
            frames: self.frames.saturating_sub(start + end),
            far: far.collect(),
            seam: Some(median(&mut steps.iter().map(|step| step.raw).collect::<Vec<_>>())),
            steps,
            head: self.head.get(start..).unwrap_or_default().to_vec(),
            tail: self.tail.iter().take(self.tail.len().saturating_sub(end)).cloned().collect(),
            layout: self.layout.clone(),
            size: self.size,
            ..Self::default()
        }
    }
}

/// The frames that the first one is held against, ever fewer.
fn far_frames() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1), |frame: &usize| Some(frame + (frame / 3).max(1)))
}

impl Step {
    /// Between two frames of which only traces are left.
    #[must_use]
    pub fn between(layout: Option<&Layout>, from: &Trace, to: &Trace) -> Self {
        Self {
            found: layout.map(|layout| layout.search(&from.small, &to.small)).unwrap_or_default(),
            light: from.grid.apart(&to.grid, true),
            plain: from.grid.apart(&to.grid, false),
            shift: from.grid.light_to(&to.grid).largest(),
            raw: 0.0,
        }
    }
}

impl Watch {
    /// `cut`: how many frames a cut may drop at most.
    #[must_use]
    pub fn new(cut: usize) -> Self {
        // Some more for the steps beside the cut.
        let kept = cut + 1 + super::across::STEPS;
        Self { kept, first: None, before: None, layout: None, seen: Seen::default(), next_far: 1 }
    }

    /// The next frame.
    pub fn see(&mut self, frame: Rgb) {
        let index = self.seen.frames;
        self.seen.frames += 1;
        let size = (frame.width(), frame.height());
        if index == 0 {
            self.seen.size = size;
        } else if size != self.seen.size {
            self.seen.other_size = Some(size);
        }
        if self.seen.other_size.is_some() {
            return;
        }
        let frame = Summed::of(frame);
        let trace = Trace { small: Small::of(&frame), grid: Grid::of(&frame) };
        self.compare(index, &frame, &trace);
        if self.seen.head.len() < self.kept {
            self.seen.head.push(trace.clone());
        }
        if self.seen.tail.len() == self.kept {
            self.seen.tail.pop_front();
        }
        self.seen.tail.push_back(trace.clone());
        if index == 0 {
            self.layout = Some(Layout::of(&trace.small)).filter(|layout| !layout.is_empty());
            self.first = Some((frame, trace));
        } else {
            self.before = Some((frame, trace));
        }
    }

    fn compare(&mut self, index: usize, frame: &Summed, trace: &Trace) {
        let Some((first, first_trace)) = &self.first else {
            self.seen.ssim_first.extend(frame.ssim(frame).map(|_| 1.0));
            return;
        };
        let (before, before_trace) = self.before.as_ref().map_or((first, first_trace), |(frame, trace)| (frame, trace));
        self.seen.ssim_first.extend(first.ssim(frame));
        self.seen.ssim_before.extend(if index == 1 {
            self.seen.ssim_first.last().copied()
        } else {
            before.ssim(frame)
        });
        let layout = self.layout.as_ref().filter(|_| index <= MOST_JUDGED);
        let raw = difference(before.frame(), frame.frame());
        self.seen.steps.push(Step { raw, ..Step::between(layout, before_trace, trace) });
        if index == self.next_far {
            self.next_far = far_frames().find(|frame| *frame > index).unwrap_or(usize::MAX);
            self.seen.far.push(Step::between(layout, first_trace, trace));
        }
    }

    /// No frame comes any more.
    #[must_use]
    pub fn close(mut self) -> Seen {
        self.seen.layout = self.layout;
        if let (Some((first, _)), Some((last, _)), None) = (&self.first, &self.before, self.seen.other_size) {
            let difference = difference(last.frame(), first.frame());
            self.seen.seam = Some(difference);
        }
        self.seen
    }
}

/// Mean absolute difference over all pixels and channels.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a mean of bytes")]
fn difference(a: &Rgb, b: &Rgb) -> f32 {
    let sum = |a: &[u8], b: &[u8]| u64::from(a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>());
    let planes = a.planes().into_iter().zip(b.planes());
    let total: u64 = planes.flat_map(|(a, b)| a.chunks(1 << 16).zip(b.chunks(1 << 16))).map(|(a, b)| sum(a, b)).sum();
    let pixels = u64::from(a.width()) * u64::from(a.height());
    (total as f64 / (3 * pixels).max(1) as f64) as f32
}
