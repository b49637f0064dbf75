//! What a file is, read from what ffmpeg prints of it.
//!
//! Pure: never trusts that ffmpeg says anything.

/// What ffmpeg prints of the input's streams.
#[derive(Debug, Default, PartialEq)]
pub(super) struct About {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fps: Option<f64>,
    /// Its frames come at another mean rate than at most of its times: ffmpeg takes the latter for its rate.
    pub(super) uneven: bool,
    /// As ffmpeg calls it: `h264`; empty where unknown.
    pub(super) codec: String,
    /// The pixel format, as ffmpeg calls it: `yuv420p`; empty where unknown.
    pub(super) pixels: String,
    /// Luma spans 0..=255.
    pub(super) full_range: bool,
    /// The codec of its sound, as ffmpeg calls it: `aac`; empty where it has none.
    pub(super) sound: String,
}

impl About {
    /// Bits of a sample, by the pixel format's name: `yuv422p10le` has 10. No video has more than 16.
    pub(super) fn bits(&self) -> u32 {
        let name = self.pixels.trim_end_matches("le").trim_end_matches("be");
        let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        // What stands behind the `p` of a planar format or of `p010`; `yuv420p` and `nv12` have 8.
        let planar = name.strip_suffix(digits).is_some_and(|rest| rest.ends_with('p'));
        digits.parse().ok().filter(|bits| planar && (9..=16).contains(bits)).unwrap_or(8)
    }

    /// Bytes of a decoded frame; that of an unknown format as if it had all there can be.
    pub(super) fn frame_bytes(&self) -> u64 {
        let is = |starts: &[&str]| starts.iter().any(|start| self.pixels.starts_with(start));
        let halves = match () {
            () if is(&["gray"]) => 2,
            () if is(&["yuv420", "yuvj420", "nv12", "nv21", "p010", "p016"]) => 3,
            () if is(&["yuv422", "yuvj422", "yuv440", "yuvj440", "nv16", "p210"]) => 4,
            () if is(&["yuv444", "yuvj444", "gbrp", "rgb24", "bgr24", "yuva420"]) => 6,
            () => 8,
        };
        let sample = if self.bits() > 8 { 2 } else { 1 };
        u64::from(self.width) * u64::from(self.height) * halves * sample / 2
    }

    /// Stored as luma and chroma, in planes.
    pub(super) fn is_yuv(&self) -> bool {
        self.pixels.starts_with("yuv") && self.pixels != "yuyv422"
    }
}

/// Reads `Stream #0:0…: Video: hevc (Main), yuv420p(tv), 96x64 [SAR 1:1 DAR 3:2], 16 fps, …`.
pub(super) fn about(words: &str) -> About {
    let mut about = About::default();
    let line = words.lines().map(str::trim).find(|line| line.starts_with("Stream #") && line.contains(" Video: "));
    let sound = words.lines().map(str::trim).filter(|line| line.starts_with("Stream #"));
    let sound = sound.filter_map(|line| line.split_once(" Audio: ")).map(|(_, sound)| sound).next();
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    about.sound = sound.map(word).unwrap_or_default();
    let (_, video) = line.and_then(|line| line.split_once(" Video: ")).unwrap_or_default();
    // Commas in brackets part nothing: `yuv420p(tv, bt709), 96x64 [SAR 1:1 DAR 3:2]`.
    let mut depth = 0_i32;
    let parts = video.split(|c| {
        depth += i32::from(matches!(c, '(' | '[')) - i32::from(matches!(c, ')' | ']'));
        c == ',' && depth == 0
    });
    let mut ticks = None;
    for (n, part) in parts.map(str::trim).enumerate() {
        let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, more) = part.split_at(part.find(|c| !letters(c)).unwrap_or(part.len()));
        match n {
            0 => name.clone_into(&mut about.codec),
            1 => {
                name.clone_into(&mut about.pixels);
                about.full_range = more.starts_with("(pc") || name.starts_with("yuvj");
            }
            _ => {}
        }
        let word = part.split(' ').next().unwrap_or_default();
        if let Some((width, height)) = word.split_once('x')
            && let (Ok(width), Ok(height), 0) = (width.parse(), height.parse(), about.width)
        {
            (about.width, about.height) = (width, height);
        }
        if let Some(fps) = part.strip_suffix(" fps") {
            about.fps = fps.parse().ok().filter(|fps: &f64| fps.is_finite() && *fps > 0.0);
        }
        if let Some(rate) = part.strip_suffix(" tbr") {
            let (rate, unit) = rate.strip_suffix('k').map_or((rate, 1.0), |rate| (rate, 1000.0));
            ticks = rate.parse().ok().map(|rate: f64| rate * unit);
        }
    }
    about.uneven = about.fps.zip(ticks).is_some_and(|(mean, ticks)| (ticks / mean - 1.0).abs() > 0.01);
    about
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_rate_are_read_from_what_is_said_of_the_input() {
        let words = "Input #0\n  Stream #0:0[0x1](und): Video: hevc (Main) (hev1 / 0x31766568), \
                     yuv420p(tv, bt709), 96x64 [SAR 1:1 DAR 3:2], 35 kb/s, 23.98 fps, 1k tbr, 90k tbn\nOutput";
        let (codec, pixels) = ("hevc".to_owned(), "yuv420p".to_owned());
        let fps = Some(23.98);
        assert_eq!(about(words), About { width: 96, height: 64, fps, codec, pixels, uneven: true, ..About::default() });
        let full = about("Stream #0:0: Video: h264 (High), yuvj420p(pc, progressive), 8x8, 25 fps, 25 tbr");
        assert_eq!((full.pixels.as_str(), full.full_range, full.uneven), ("yuvj420p", true, false));
        let sounds =
            about("Stream #0:0: Video: vp9, gray\nStream #0:1(und): Audio: pcm_s16le ([1][0]), 44100 Hz, mono");
        assert_eq!((sounds.codec.as_str(), sounds.sound.as_str(), full.sound.as_str()), ("vp9", "pcm_s16le", ""));
        assert_eq!(about("nothing"), About::default());
        let bytes =
            |pixels: &str| About { width: 10, height: 10, pixels: pixels.to_owned(), ..About::default() }.frame_bytes();
        assert_eq!(
            ["gray", "yuv420p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "gbrp", "bgra", ""].map(bytes),
            [100, 150, 300, 400, 600, 300, 400, 400]
        );
        let bits = |pixels: &str| About { pixels: pixels.to_owned(), ..About::default() }.bits();
        assert_eq!(
            ["yuv420p", "yuv422p10le", "yuv444p12be", "nv12", "gray", "p010le", ""].map(bits),
            [8, 10, 12, 8, 8, 10, 8]
        );
    }
}
