//! When the frames of a clip are shown, as ffmpeg tells it.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use super::{Budget, Limits, VideoError, ffmpeg};

/// Seconds by which a step may differ from the mean one in a clip of constant rate: some formats know whole milliseconds only.
const ROUNDED: f64 = 0.0011;

/// When each frame begins, seconds, on the clock that the sound goes by as well.
#[derive(Debug)]
pub(super) struct Clock(Vec<f64>);

impl Clock {
    /// # Errors
    /// Where ffmpeg does not tell.
    pub(super) fn of(path: &Path, limits: &Limits) -> Result<Self, VideoError> {
        let budget = Budget::new(limits);
        let most = usize::try_from(limits.frames).unwrap_or(usize::MAX);
        let told = "[0:v:0]scale=8:8:flags=neighbor,format=gray[small]";
        let rest = ["-map", "[small]", "-fps_mode", "passthrough", "-enc_time_base", "1/90000", "-f", "framecrc", "-"];
        let output = ["-filter_complex", told].into_iter().chain(rest).collect::<Vec<_>>();
        let run = ffmpeg::run(path, &output, &budget, move |stdout| {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.filter_map(|line| shown_at(&line)).take(most).collect::<Vec<_>>()
        })?;
        let run = run.ok_or_else(|| VideoError::Ffmpeg("there is no ffmpeg any more".to_owned()))?;
        run.check(run.result.len() as u64)?;
        Ok(Self(run.result))
    }

    /// From the first frame of a span to the one behind it; the last of a clip is taken to be as long as the one before.
    pub(super) fn seconds(&self, span: &Range<u64>) -> Range<f64> {
        let at = |frame: u64| usize::try_from(frame).ok().and_then(|frame| self.0.get(frame)).copied();
        let last = self.0.last().copied().unwrap_or_default();
        let step = self.0.len().checked_sub(2).and_then(|n| self.0.get(n)).map_or(0.0, |before| last - before);
        at(span.start).unwrap_or(last)..at(span.end).unwrap_or(last + step)
    }

    /// The mean from one frame to the next, seconds; none of a still.
    #[expect(clippy::cast_precision_loss, reason = "a count of frames is far below 2^52")]
    pub(super) fn step(&self) -> Option<f64> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        Some((last - first) / self.0.len().checked_sub(1)? as f64).filter(|step| *step > 0.0)
    }

    /// The frames come at varying steps.
    pub(super) fn is_uneven(&self) -> bool {
        let steps = || self.0.iter().zip(self.0.iter().skip(1)).map(|(a, b)| b - a);
        self.step().is_some_and(|mean| steps().any(|step| (step - mean).abs() > ROUNDED))
    }
}

/// `0,       5625,       5625,     5625,       64, 0x53e3f2d1` of ffmpeg's `framecrc`: stream, dts, pts, …
fn shown_at(line: &str) -> Option<f64> {
    let ticks: f64 = line.strip_prefix("0,")?.split(',').nth(1)?.trim().parse().ok()?;
    Some(ticks / 90000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_where_the_next_frame_begins() {
        let clock = Clock(vec![0.0, 0.1, 0.3, 0.4]);
        assert_eq!(clock.seconds(&(1..3)), 0.1..0.4);
        assert_eq!(clock.seconds(&(2..4)), 0.3..0.5);
        assert_eq!(shown_at("0,      45000,      45000,     5625,       64, 0x53e3f2d1"), Some(0.5));
        assert_eq!(shown_at("#tb 0: 1/90000"), None);
    }

    #[test]
    fn times_in_whole_milliseconds_are_even() {
        let clock = |times: &[f64]| Clock(times.to_vec());
        assert!(!clock(&[0.0, 0.042, 0.083, 0.125]).is_uneven() && clock(&[0.0, 0.04, 0.08, 0.18]).is_uneven());
        assert!(!clock(&[]).is_uneven() && !clock(&[0.5]).is_uneven() && clock(&[0.5]).step().is_none());
    }
}
