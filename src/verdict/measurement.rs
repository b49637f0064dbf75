//! What is known of one output: the numbers, and the two curves behind them.

use serde::{Deserialize, Serialize};

use super::judge::{Cut, Judgement, Thresholds, Verdict, judge};
use super::watch::Seen;
use super::{Rgb, ssim};

/// What is known of one output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measurement {
    /// Frames that are shown (an edit list may hide some that are stored).
    pub frames: u64,
    /// Pixels; 0 where unknown.
    pub width: u32,
    /// Pixels; 0 where unknown.
    pub height: u32,
    /// Frames a second, on average; none for a still.
    pub fps: Option<f64>,
    /// SSIM of the first and the last frame, "All" of ffmpeg's filter on RGB: 1 = equal.
    pub ssim: Option<f64>,
    /// Mean absolute difference last → first over the median of neighbours: 1 = a step like any other.
    pub seam_ratio: Option<f64>,
    /// Displacement last → first over the median of neighbours; none where nothing is displaced.
    pub motion_ratio: Option<f64>,
    /// Mean luma (BT.601), last less first, levels.
    pub luma_step: Option<f64>,
    /// Distance of mean Cb and Cr, last from first, levels.
    pub chroma_step: Option<f64>,
    /// Frames that only repeat the one before, counted from 1; the last one is among them where it
    /// repeats the first. None where nobody looked.
    pub doubled_frames: Option<Vec<u64>>,
    /// None where nobody judged (an image, a file that can't be read).
    pub verdict: Option<Verdict>,
    /// What to do about it, for people.
    pub advice: Option<String>,
    /// None where the clip passes uncut, and where no cut helps.
    pub best_cut: Option<Cut>,
    /// Why there is no number, or what to know about it (`single frame`).
    pub note: Option<String>,
    /// Why the repair was not made that it needs and that its job asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unrepaired: Option<Box<str>>,
}

impl Measurement {
    /// The note of a file with one frame, whose SSIM is 1 by definition and says nothing.
    pub const SINGLE_FRAME: &str = "single frame";

    /// What two frames say; `last` is none where the file has but one.
    #[must_use]
    pub fn of_ends(first: &Rgb, last: Option<&Rgb>, frames: u64, fps: Option<f64>) -> Self {
        let size = |frame: &Rgb| (frame.width(), frame.height());
        let (ssim, note) = match last {
            None => (Some(1.0), Some(Self::SINGLE_FRAME.to_owned())),
            Some(last) => match ssim(first, last) {
                Some(number) => (Some(number), None),
                None => (None, Some(no_ssim(size(first), size(last)))),
            },
        };
        Self { frames, width: first.width(), height: first.height(), fps, ssim, note, ..Self::default() }
    }

    /// What a clip says that was watched from end to end, and its curves.
    #[must_use]
    pub fn of_clip(seen: &Seen, fps: Option<f64>, thresholds: &Thresholds) -> (Self, Curves) {
        let curves = Curves { ssim_first: seen.ssim_first.clone(), ssim_before: seen.ssim_before.clone() };
        let (width, height) = seen.size;
        let (ssim, note) = match (seen.frames, seen.other_size, seen.ssim_first.last()) {
            (0 | 1, ..) => (Some(1.0), Some(Self::SINGLE_FRAME.to_owned())),
            (_, None, Some(number)) => (Some(*number), None),
            (_, other, _) => (None, Some(no_ssim(seen.size, other.unwrap_or(seen.size)))),
        };
        let frames = seen.frames as u64;
        let mut known = Self { frames, width, height, fps, ssim, note, ..Self::default() };
        if seen.frames > 1 {
            known.verdict = Some(Verdict::Unknown);
        }
        if let Some(judgement) = judge(seen, thresholds) {
            known.take(judgement);
        }
        (known, curves)
    }

    fn take(&mut self, judgement: Judgement) {
        self.seam_ratio = judgement.seam_ratio;
        self.motion_ratio = judgement.motion_ratio;
        self.luma_step = Some(judgement.luma_step);
        self.chroma_step = Some(judgement.chroma_step);
        self.doubled_frames = (judgement.verdict != Verdict::Unknown).then_some(judgement.doubled);
        self.verdict = Some(judgement.verdict);
        self.advice = judgement.advice;
        self.best_cut = judgement.cut;
    }

    /// One more thing to know about it.
    pub fn add_note(&mut self, words: &str) {
        self.note = Some(self.note.take().map_or_else(|| words.to_owned(), |note| format!("{note}; {words}")));
    }

    /// All that is to be known of it: its note, and why it is not repaired.
    #[must_use]
    pub fn notes(&self) -> Option<String> {
        let unrepaired = self.unrepaired.as_ref().map(|why| format!("not repaired: {why}"));
        let both = [self.note.clone(), unrepaired].into_iter().flatten().collect::<Vec<_>>();
        (!both.is_empty()).then(|| both.join("; "))
    }

    /// A frame of it only repeats the one before. None where nobody looked.
    #[must_use]
    pub fn doubled(&self) -> Option<bool> {
        self.doubled_frames.as_ref().map(|frames| !frames.is_empty())
    }

    /// How the seam compares with an ordinary step: the noise-proof ratio where something moves, else that of plain
    /// differences.
    #[must_use]
    pub fn seam(&self) -> Option<f64> {
        self.motion_ratio.or(self.seam_ratio)
    }

    /// The same as lists show it: `1.02`, at most `99.00`.
    #[must_use]
    pub fn seam_words(&self) -> Option<String> {
        self.seam().map(|seam| format!("{:.2}", seam.min(99.0)))
    }

    /// `jumps, SSIM 0.61`; the reason where there is neither.
    #[must_use]
    pub fn words(&self) -> String {
        let verdict = self.verdict.map(|verdict| verdict.word().to_owned());
        let ssim = self.ssim.map(|ssim| format!("SSIM {ssim:.2}"));
        let both = [verdict, ssim].into_iter().flatten().collect::<Vec<_>>().join(", ");
        if both.is_empty() { self.note.clone().unwrap_or_else(|| "not measured".to_owned()) } else { both }
    }

    /// Seconds; none where the rate is unknown.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
    pub fn duration(&self) -> Option<f64> {
        self.fps.filter(|fps| *fps > 0.0).map(|fps| self.frames as f64 / fps)
    }
}

/// Why [`ssim`](fn@ssim) had no answer.
fn no_ssim(first: (u32, u32), other: (u32, u32)) -> String {
    let words = |(width, height): (u32, u32)| format!("{width}x{height}");
    if first == other {
        format!("n/a ({} is smaller than 8x8)", words(first))
    } else {
        format!("n/a (the first frame is {}, the last {})", words(first), words(other))
    }
}

/// SSIM frame by frame.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Of each frame and the first; the first of them is 1.
    #[serde(rename = "ssim_vs_first")]
    pub ssim_first: Vec<f64>,
    /// Of each frame but the first and the one before it.
    #[serde(rename = "ssim_adjacent")]
    pub ssim_before: Vec<f64>,
}

impl Curves {
    /// Points that a stored curve has at most.
    pub const STORED: usize = 128;

    /// Short enough to be stored and sent: at most [`Self::STORED`] points of four digits. Of those
    /// that fall together the lowest stays, because dips are what one looks for.
    #[must_use]
    pub fn shortened(&self) -> Self {
        Self { ssim_first: shortened(&self.ssim_first), ssim_before: shortened(&self.ssim_before) }
    }
}

fn shortened(curve: &[f64]) -> Vec<f64> {
    let points = curve.len().min(Curves::STORED);
    let lowest = |n: usize| {
        let place = n * curve.len() / points..(n + 1) * curve.len() / points;
        curve.get(place).unwrap_or_default().iter().copied().fold(f64::INFINITY, f64::min)
    };
    (0..points).map(|n| (lowest(n) * 1e4).round() / 1e4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_is_shortened_and_keeps_its_dips() {
        let mut curve = vec![0.9; 1000];
        curve[777] = 0.123_456;
        let short = Curves { ssim_first: curve, ssim_before: vec![0.5; 3] }.shortened();
        assert_eq!((short.ssim_first.len(), short.ssim_before.len()), (128, 3));
        assert!((short.ssim_first[777 * 128 / 1000] - 0.1235).abs() < 1e-9);
        assert_eq!(Curves::default().shortened(), Curves::default());
    }

    #[test]
    fn one_frame_is_one_with_a_note_and_a_tiny_frame_has_no_number() {
        let tiny = Rgb::from_planes(4, 4, vec![9; 48]).unwrap();
        let one = Measurement::of_ends(&tiny, None, 1, None);
        assert_eq!((one.ssim, one.note.as_deref()), (Some(1.0), Some("single frame")));
        let two = Measurement::of_ends(&tiny, Some(&tiny), 2, None);
        assert_eq!((two.ssim, two.note.as_deref()), (None, Some("n/a (4x4 is smaller than 8x8)")));
    }

    #[test]
    fn an_older_record_can_be_read() {
        let old = r#"{"frames":33,"width":480,"height":848,"fps":16.0,"ssim":0.886,"note":null}"#;
        let known: Measurement = serde_json::from_str(old).unwrap();
        assert_eq!((known.frames, known.ssim, known.verdict), (33, Some(0.886), None));
    }
}
