//! An animated WebP on its way to a mended copy: ffmpeg can't read one, so it is handed the frames that are decoded here.
//!
//! Writes nothing but into the ffmpeg that it feeds.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::about::About;
use super::ffmpeg::Frames;
use super::webp::{self, Make};
use super::{Budget, Limits, VideoError, open, unpanicked};
use crate::verdict::Measurement;

/// The writer, as ffmpeg calls it.
pub(super) const ENCODER: &str = "libwebp_anim";
/// Frames a second of a clip that does not say.
const FPS: f64 = 10.0;

/// What it is, in ffmpeg's words for what its copy is to be.
///
/// # Errors
/// Of the disk.
pub(super) fn look(path: &Path, known: &Measurement) -> Result<About, VideoError> {
    let make = Make::of(&mut File::open(path)?)?;
    let pixels = match make {
        // It alone is written without loss.
        Make { lossless: true, .. } => "bgra",
        Make { alpha: true, .. } => "yuva420p",
        Make { .. } => "yuv420p",
    };
    let (width, height) = (known.width, known.height);
    Ok(About { width, height, fps: known.fps, codec: "webp".to_owned(), pixels: pixels.to_owned(), ..About::default() })
}

/// Its frames for ffmpeg.
pub(super) fn frames(path: &Path, known: &Measurement, limits: &Limits) -> Frames {
    let (path, limits) = (path.to_owned(), limits.clone());
    let (width, height) = (known.width, known.height);
    Frames {
        width,
        height,
        fps: known.fps.unwrap_or(FPS),
        feed: Box::new(move |mut stdin| {
            let budget = Budget::new(&limits);
            let Ok((file, length, _)) = open(&path, &budget) else { return };
            let fed =
                unpanicked(|| webp::rgba_frames(file, length, &budget, &mut |_, _, rgba| Ok(stdin.write_all(rgba)?)));
            if let Err(why) = fed {
                tracing::debug!("not all frames were handed over: {why:?}");
            }
        }),
    }
}
