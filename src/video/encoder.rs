//! What a mended copy is written with: the options of an ffmpeg that stay near the source.
//!
//! Pure.

use super::about::About;
use super::animated;

/// A writer, as ffmpeg calls it, and its options.
pub(super) struct Encoder {
    pub(super) codec: &'static str,
    quality: &'static [&'static str],
}

impl Encoder {
    /// The source's own codec where ffmpeg has a writer for it, so good that nobody sees the second compression.
    pub(super) fn near(about: &About, ending: &str) -> Self {
        let (codec, quality): (_, &[_]) = match about.codec.as_str() {
            "hevc" => ("libx265", &["-crf", "16", "-tag:v", "hvc1", "-x265-params", "log-level=error"]),
            "vp9" | "vp8" => ("libvpx-vp9", &["-crf", "18", "-b:v", "0"]),
            "av1" => ("libaom-av1", &["-crf", "18", "-b:v", "0", "-cpu-used", "6"]),
            "prores" => ("prores_ks", &["-profile:v", "3"]),
            "ffv1" => ("ffv1", &[]),
            "gif" => ("gif", &[]),
            "apng" => ("apng", &[]),
            "webp" if about.pixels == "bgra" => (animated::ENCODER, &["-lossless", "1"]),
            "webp" => (animated::ENCODER, &["-quality", "92"]),
            _ if ending == "webm" => ("libvpx-vp9", &["-crf", "18", "-b:v", "0"]),
            _ if ending == "gif" => ("gif", &[]),
            _ => ("libx264", &["-crf", "14"]),
        };
        Self { codec, quality }
    }

    /// What it writes is an animated image, not a video.
    pub(super) fn is_image(&self) -> bool {
        matches!(self.codec, "gif" | "apng" | animated::ENCODER)
    }

    /// `timed`: frames may come at any time, not only at multiples of the rate. `loops`: as the format itself counts (an
    /// image's only); none where a GIF says nothing.
    pub(super) fn arguments(&self, about: &About, timed: bool, loops: Option<u16>) -> Vec<String> {
        let mut arguments = vec!["-map", "[out]", "-fps_mode", "passthrough", "-c:v", self.codec];
        arguments.extend(self.quality);
        if !about.pixels.is_empty() && self.codec != "gif" {
            arguments.extend(["-pix_fmt", about.pixels.as_str()]);
        }
        if timed {
            arguments.extend(["-enc_time_base", "1/90000"]);
        }
        let loops = loops.map_or_else(|| "-1".to_owned(), |loops| loops.to_string());
        // An animated PNG is one by its bytes, whatever its name says, and so is a WebP.
        match self.codec {
            "apng" => arguments.extend(["-f", "apng", "-plays", loops.as_str()]),
            animated::ENCODER => arguments.extend(["-f", "webp", "-loop", loops.as_str()]),
            "gif" => arguments.extend(["-loop", loops.as_str()]),
            _ => {}
        }
        // ComfyUI's prompt and workflow are tags that mp4 does not know.
        arguments.extend(["-map_metadata", "0"]);
        if !self.is_image() {
            arguments.extend(["-movflags", "+faststart+use_metadata_tags"]);
        }
        arguments.into_iter().map(str::to_owned).collect()
    }

    /// Lets the last of so many frames be shown until these seconds after the first one began. Where they come unevenly
    /// ffmpeg would guess.
    pub(super) fn until(frames: u64, seconds: f64) -> [String; 2] {
        let last = frames.saturating_sub(1);
        let ticks = format!("round({seconds:.6}/TB)-(PTS-STARTPTS)");
        ["-bsf:v".to_owned(), format!("setts=pts=PTS:dts=DTS:duration='if(eq(N,{last}),{ticks},DURATION)'")]
    }
}
