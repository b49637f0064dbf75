//! The sound of a clip in its mended copy.
//!
//! It goes along where the copy shows a span of frames in their own time: cut to that span by the times of the frames
//! themselves, which may vary. Only its first track is taken.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use super::about::About;
use super::{Budget, Limits, VideoError, ffmpeg};

/// What becomes of it.
#[derive(Debug, PartialEq)]
pub(super) enum Sound {
    /// There is none, or it can't go along.
    None,
    /// All of it, as it is.
    Copied,
    /// From and to these seconds, compressed anew.
    Cut(Range<f64>),
}

impl Sound {
    /// Of a copy that shows this span of the clip's frames.
    ///
    /// # Errors
    /// Where ffmpeg does not tell when the frames are shown.
    pub(super) fn of(
        path: &Path,
        about: &About,
        span: Option<Range<u64>>,
        frames: u64,
        limits: &Limits,
    ) -> Result<Self, VideoError> {
        Ok(match span {
            Some(_) if about.sound.is_empty() => Self::None,
            Some(span) if span == (0..frames) => Self::Copied,
            Some(span) => Self::Cut(seconds(path, &span, limits)?),
            None => Self::None,
        })
    }

    /// What stands in the filter graph for it, behind the pictures' part.
    pub(super) fn filter(&self) -> String {
        let Self::Cut(Range { start, end }) = self else { return String::new() };
        format!(";[0:a:0]atrim=start={start:.6}:end={end:.6},asetpts=PTS-{start:.6}/TB[sound]")
    }

    /// What it is written with: the source's own codec where ffmpeg has a writer for it, so good that nobody hears it.
    pub(super) fn arguments(&self, codec: &str, ending: &str) -> Vec<String> {
        let arguments: &[&str] = match (self, codec) {
            (Self::None, _) => &["-an"],
            (Self::Copied, _) => &["-map", "0:a:0", "-c:a", "copy"],
            (Self::Cut(_), "vorbis") => &["-map", "[sound]", "-c:a", "libvorbis", "-q:a", "7"],
            (Self::Cut(_), "mp3") => &["-map", "[sound]", "-c:a", "libmp3lame", "-q:a", "0"],
            (Self::Cut(_), "flac") => &["-map", "[sound]", "-c:a", "flac"],
            (Self::Cut(_), codec) if codec.starts_with("pcm_") => {
                return ["-map", "[sound]", "-c:a", codec].map(str::to_owned).to_vec();
            }
            (Self::Cut(_), codec) if codec == "opus" || ending == "webm" => {
                &["-map", "[sound]", "-c:a", "libopus", "-b:a", "192k"]
            }
            (Self::Cut(_), _) => &["-map", "[sound]", "-c:a", "aac", "-b:a", "192k"],
        };
        arguments.iter().map(|word| (*word).to_owned()).collect()
    }
}

/// From the first frame of a span to the one behind it, as [`times`].
///
/// # Errors
/// Where ffmpeg does not tell.
pub(super) fn seconds(path: &Path, span: &Range<u64>, limits: &Limits) -> Result<Range<f64>, VideoError> {
    Ok(between(&times(path, limits)?, span))
}

/// When each frame is shown, seconds, on the clock that the sound goes by as well.
fn times(path: &Path, limits: &Limits) -> Result<Vec<f64>, VideoError> {
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
    Ok(run.result)
}

/// `0,       5625,       5625,     5625,       64, 0x53e3f2d1` of ffmpeg's `framecrc`: stream, dts, pts, …
fn shown_at(line: &str) -> Option<f64> {
    let ticks: f64 = line.strip_prefix("0,")?.split(',').nth(1)?.trim().parse().ok()?;
    Some(ticks / 90000.0)
}

/// From the first frame of a span to the one behind it; the last of a clip is taken to be as long as the one before.
fn between(times: &[f64], span: &Range<u64>) -> Range<f64> {
    let at = |frame: u64| usize::try_from(frame).ok().and_then(|frame| times.get(frame)).copied();
    let last = times.last().copied().unwrap_or_default();
    let step = times.len().checked_sub(2).and_then(|n| times.get(n)).map_or(0.0, |before| last - before);
    at(span.start).unwrap_or(last)..at(span.end).unwrap_or(last + step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_where_the_next_frame_begins() {
        let times = [0.0, 0.1, 0.3, 0.4];
        assert_eq!(between(&times, &(1..3)), 0.1..0.4);
        assert_eq!(between(&times, &(2..4)), 0.3..0.5);
        assert_eq!(shown_at("0,      45000,      45000,     5625,       64, 0x53e3f2d1"), Some(0.5));
        assert_eq!(shown_at("#tb 0: 1/90000"), None);
    }

    #[test]
    fn a_codec_stays_what_it_is() {
        let written = |codec: &str, ending: &str| Sound::Cut(0.0..1.0).arguments(codec, ending)[3].clone();
        let codecs = [("aac", "mp4"), ("pcm_s16le", "mov"), ("opus", "mkv"), ("ac3", "webm"), ("", "mp4")];
        assert_eq!(
            codecs.map(|(codec, ending)| written(codec, ending)),
            ["aac", "pcm_s16le", "libopus", "libopus", "aac"]
        );
    }
}
