//! The last frame of a clip as a picture: what the next clip may begin with.

use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use super::{Ends, Limits, VideoError, both_ends};
use crate::verdict::Rgb;

/// The last frame of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFrame {
    /// Of the file; 1: it is a picture itself.
    pub frames: u64,
    /// 8-bit RGB.
    pub png: Vec<u8>,
}

/// The last frame of a clip, as a PNG.
///
/// # Errors
/// As [`super::measure`].
pub fn last_frame(path: &Path, limits: &Limits) -> Result<LastFrame, VideoError> {
    let Ends { first, last, frames, .. } = both_ends(path, limits)?;
    let frame = last.unwrap_or(first);
    Ok(LastFrame { frames, png: png(&frame).map_err(|error| VideoError::Damaged(error.to_string()))? })
}

fn png(frame: &Rgb) -> Result<Vec<u8>, image::ImageError> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png).write_image(&frame.packed(), frame.width(), frame.height(), ExtendedColorType::Rgb8)?;
    Ok(png)
}
