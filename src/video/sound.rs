//! The sound of a clip in its mended copy.
//!
//! It goes along where the copy shows a span of frames in their own time: cut to that span by the times of the frames
//! themselves, which may vary. Only its first track is taken.

use std::ops::Range;

use super::about::About;
use super::clock::Clock;

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
    pub(super) fn of(about: &About, span: Option<&Range<u64>>, frames: u64, clock: Option<&Clock>) -> Self {
        match (span, clock) {
            (Some(span), Some(_)) if !about.sound.is_empty() && *span == (0..frames) => Self::Copied,
            (Some(span), Some(clock)) if !about.sound.is_empty() => Self::Cut(clock.seconds(span)),
            _ => Self::None,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
