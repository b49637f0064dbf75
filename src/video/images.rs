//! PNG, APNG and GIF, by the `image` crate.
//!
//! Never keeps a frame. Alpha is dropped, not blended,
//! because that is what ffmpeg's conversion to RGB does.

use std::fs::File;
use std::io::BufReader;

use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::error::ImageError;
use image::{AnimationDecoder, DynamicImage, Frame, ImageDecoder, RgbaImage};

use super::{Budget, Refusal, Sink, VideoError};
use crate::verdict::Rgb;

/// Bytes a pixel of an animation: four canvases of RGBA, and three frames of RGB with their sums.
const ANIMATION: u64 = 30;
/// Bytes of whatever a PNG holds besides its pixels.
const BESIDES: u64 = 16 << 20;

/// The frames of a PNG: one, or those of its animation; frames a second.
pub(super) fn png(file: File, budget: &Budget, sink: &mut Sink) -> Result<Option<f64>, Refusal> {
    // What is set here also bounds texts and colour profiles, which may be tightly packed bombs.
    let mut decoder = PngDecoder::with_limits(BufReader::new(file), image_limits(BESIDES)).map_err(error)?;
    decoder.set_limits(image_limits(budget.limits.memory)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    if decoder.is_apng().map_err(error)? {
        budget.picture(width.into(), height.into(), ANIMATION)?;
        return animation(decoder.apng().map_err(error)?.into_frames(), budget, sink, |_| {});
    }
    // 8 bytes a pixel at most (16-bit RGBA), then RGB.
    budget.picture(width.into(), height.into(), 14)?;
    let image = DynamicImage::from_decoder(decoder).map_err(error)?;
    sink(Rgb::from_packed::<3>(width, height, &image.into_rgb8()).ok_or(VideoError::NoFrames)?)?;
    Ok(None)
}

/// The one frame of a JPEG.
pub(super) fn jpeg(file: File, budget: &Budget, sink: &mut Sink) -> Result<Option<f64>, Refusal> {
    let mut decoder = JpegDecoder::new(BufReader::new(file)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    // The file, its coefficients, and RGB twice.
    budget.picture(width.into(), height.into(), 14)?;
    decoder.set_limits(image_limits(budget.limits.memory)).map_err(error)?;
    let image = DynamicImage::from_decoder(decoder).map_err(error)?;
    sink(Rgb::from_packed::<3>(width, height, &image.into_rgb8()).ok_or(VideoError::NoFrames)?)?;
    Ok(None)
}

/// The frames of a GIF; frames a second.
pub(super) fn gif(file: File, budget: &Budget, sink: &mut Sink) -> Result<Option<f64>, Refusal> {
    let mut decoder = GifDecoder::new(BufReader::new(file)).map_err(error)?;
    let (width, height) = decoder.dimensions();
    budget.picture(width.into(), height.into(), ANIMATION)?;
    decoder.set_limits(image_limits(budget.limits.memory)).map_err(error)?;
    // Where nothing was drawn ffmpeg's canvas is a transparent white, `image`'s a transparent black.
    animation(decoder.into_frames(), budget, sink, |canvas| {
        for pixel in canvas.pixels_mut().filter(|pixel| pixel.0[3] == 0) {
            pixel.0 = [255; 4];
        }
    })
}

fn animation(
    frames: image::Frames,
    budget: &Budget,
    sink: &mut Sink,
    mend: impl Fn(&mut RgbaImage),
) -> Result<Option<f64>, Refusal> {
    let mut count = 0_u64;
    let mut milliseconds = 0.0;
    for frame in frames {
        budget.time()?;
        let frame: Frame = frame.map_err(error)?;
        count += 1;
        budget.frames(count)?;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        milliseconds += f64::from(numerator) / f64::from(denominator.max(1));
        let mut canvas = frame.into_buffer();
        mend(&mut canvas);
        sink(Rgb::from_packed::<4>(canvas.width(), canvas.height(), &canvas).ok_or(VideoError::NoFrames)?)?;
    }
    Ok(frames_a_second(count, milliseconds))
}

/// The mean over an animation that is shown for so long in all; none for a still.
#[expect(clippy::cast_precision_loss, reason = "a count of frames is far below 2^52")]
pub(super) fn frames_a_second(frames: u64, milliseconds: f64) -> Option<f64> {
    (frames > 1 && milliseconds > 0.0).then(|| frames as f64 * 1000.0 / milliseconds)
}

fn image_limits(bytes: u64) -> image::Limits {
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(bytes);
    limits
}

/// What `image` says, in our words.
fn error(error: ImageError) -> Refusal {
    Refusal::Final(match error {
        ImageError::Limits(_) => VideoError::TooLarge("the image takes more memory than a frame may".to_owned()),
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => cut_off(),
        ImageError::IoError(error) => VideoError::Read(error),
        ImageError::Unsupported(what) => {
            let words = what.to_string();
            return Refusal::needs_ffmpeg(crate::text::clean(&words));
        }
        error => {
            let words = error.to_string();
            if words.contains("unexpected end of file") || words.contains("failed to fill whole buffer") {
                cut_off()
            } else {
                VideoError::Damaged(crate::text::clean(&words).into_owned())
            }
        }
    })
}

fn cut_off() -> VideoError {
    VideoError::CutOff("the image ends too early".to_owned())
}
