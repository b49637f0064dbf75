//! The last frame of a clip as a picture: what the next clip may begin with.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use super::{Budget, Ends, Limits, Refusal, VideoError, ends, ffmpeg};
use crate::verdict::Rgb;

/// The last frame of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Still {
    /// Of the file; 1: it is a picture itself.
    pub frames: u64,
    /// 8-bit RGB.
    pub png: Vec<u8>,
}

/// The last frame of a clip, as a PNG.
///
/// # Errors
/// As [`super::measure`].
pub fn last_frame(path: &Path, limits: &Limits) -> Result<Still, VideoError> {
    let budget = Budget::new(limits);
    let Ends { first, last, frames, .. } = match ends(path, &budget) {
        Ok(ends) => ends,
        Err(Refusal::Final(error)) => return Err(error),
        Err(Refusal::AskFfmpeg(otherwise)) => ffmpeg::ends(path, &budget, otherwise)?,
    };
    let frame = last.unwrap_or(first);
    Ok(Still { frames, png: png(&frame).map_err(|error| VideoError::Damaged(error.to_string()))? })
}

fn png(frame: &Rgb) -> Result<Vec<u8>, image::ImageError> {
    let [red, green, blue] = frame.planes();
    let packed: Vec<u8> = red.iter().zip(green).zip(blue).flat_map(|((r, g), b)| [*r, *g, *b]).collect();
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&packed, frame.width(), frame.height(), ExtendedColorType::Rgb8)?;
    Ok(png)
}
