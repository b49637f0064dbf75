//! WebP, still and animated: each frame decoded as a still by `image-webp`, composited here.
//!
//! `image-webp` 0.2.4 has a compositor of its own, whose blending comes out one too low even
//! where everything is opaque (SSIM off by up to 0.012): never use it. The container's layout is
//! RFC 9649; compositing is libwebp's, to the bit.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use image_webp::{DecodingError, WebPDecoder};

use super::images::frames_a_second;
use super::{Budget, Refusal, Sink, VideoError};
use crate::verdict::Rgb;

/// Bytes a pixel: canvas, a frame (decoded, and the decoder's own copies), three frames of RGB with their sums.
const PLANES: u64 = 30;
/// One frame's data is never this long below the pixel limit.
const FRAME_BYTES: u64 = 32 << 20;

/// The frames of a WebP file of `length` bytes; frames a second.
pub(super) fn frames(file: File, length: u64, budget: &Budget, sink: &mut Sink) -> Result<Option<f64>, Refusal> {
    rgba_frames(file, length, budget, &mut |width, height, rgba| {
        sink(Rgb::from_packed::<4>(width, height, rgba).ok_or(VideoError::NoFrames)?)
    })
}

/// Where frames go as RGBA, with their width and height.
pub(super) type RgbaSink<'a> = dyn FnMut(u32, u32, &[u8]) -> Result<(), VideoError> + 'a;

/// The same frames, with what can be seen through.
pub(super) fn rgba_frames(
    file: File,
    length: u64,
    budget: &Budget,
    sink: &mut RgbaSink,
) -> Result<Option<f64>, Refusal> {
    let mut file = BufReader::new(file);
    let mut riff = [0; 12];
    file.read_exact(&mut riff).map_err(|_| cut_off())?;
    let [_, _, _, _, a, b, c, d, ..] = riff;
    let end = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
    if end > length {
        return Err(cut_off().into());
    }
    let mut position = 12;
    let mut canvas: Option<Canvas> = None;
    let (mut frames, mut milliseconds) = (0, 0.0);
    while end.saturating_sub(position) >= 8 {
        file.seek(SeekFrom::Start(position))?;
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let [name @ .., a, b, c, d] = header;
        let size = u64::from(u32::from_le_bytes([a, b, c, d]));
        if size > end - position - 8 {
            return Err(cut_off().into());
        }
        match &name {
            b"VP8X" => canvas = Canvas::of_header(&body(&mut file, size)?, budget)?,
            b"ANMF" => {
                let canvas = canvas.as_mut().ok_or_else(|| damaged("a frame outside of an animation"))?;
                budget.time()?;
                frames += 1;
                budget.frames(frames)?;
                milliseconds += canvas.show(&body(&mut file, size)?, budget)?;
                sink(canvas.width, canvas.height, &canvas.rgba)?;
            }
            b"VP8 " | b"VP8L" | b"ALPH" if canvas.is_none() => {
                file.seek(SeekFrom::Start(0))?;
                let still = Still::decode(file, None, budget)?;
                sink(still.width, still.height, &still.rgba)?;
                return Ok(None);
            }
            _ => {}
        }
        position += 8 + size + size % 2;
    }
    Ok(frames_a_second(frames, milliseconds))
}

/// How an animation was compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Make {
    pub(super) lossless: bool,
    /// It may be seen through.
    pub(super) alpha: bool,
}

impl Make {
    /// By its header and its first frame, as far as they stand in the first 64 KiB.
    pub(super) fn of(file: &mut impl Read) -> std::io::Result<Self> {
        let mut head = Vec::new();
        file.take(64 << 10).read_to_end(&mut head)?;
        let first = head.windows(4).position(|name| name == b"ANMF").and_then(|at| head.get(at + 24..));
        let lossless = first.is_some_and(|payload| payload.starts_with(b"VP8L"));
        let alpha = head.get(12..16) == Some(b"VP8X") && head.get(20).is_some_and(|flags| flags & 0x10 != 0);
        Ok(Self { lossless, alpha })
    }
}

/// What has been drawn so far, as RGBA; transparent black at first.
struct Canvas {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
    /// Cleared before the next frame is drawn.
    dispose: Option<Place>,
}

/// Where a frame lies on the canvas.
#[derive(Clone, Copy)]
struct Place {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl Canvas {
    /// From the body of the `VP8X` chunk; none where the file isn't animated.
    fn of_header(body: &[u8], budget: &Budget) -> Result<Option<Self>, Refusal> {
        let (Some(flags), Some(width), Some(height)) = (body.first(), int24(body, 4), int24(body, 7)) else {
            return Err(damaged("its header is too short").into());
        };
        if flags & 2 == 0 {
            return Ok(None);
        }
        let (width, height) = (width + 1, height + 1);
        budget.picture(width.into(), height.into(), PLANES)?;
        let rgba = vec![0; width as usize * height as usize * 4];
        Ok(Some(Self { width, height, rgba, dispose: None }))
    }

    /// Draws the frame of an `ANMF` chunk; its duration in milliseconds.
    fn show(&mut self, body: &[u8], budget: &Budget) -> Result<f64, Refusal> {
        let too_short = || damaged("a frame's header is too short");
        let (header, payload) = body.split_at_checked(16).ok_or_else(too_short)?;
        let field = |at: usize| int24(header, at).ok_or_else(too_short);
        let place = Place { x: field(0)? * 2, y: field(3)? * 2, width: field(6)? + 1, height: field(9)? + 1 };
        let duration = field(12)?;
        let flags = header.last().copied().unwrap_or(0);
        if place.x + place.width > self.width || place.y + place.height > self.height {
            return Err(damaged("a frame reaches beyond the canvas").into());
        }
        let still = Still::decode(Cursor::new(as_file(payload, place)), Some(place), budget)?;
        if let Some(place) = self.dispose.take() {
            self.rows(place).for_each(|row| row.fill(0));
        }
        let blended = flags & 2 == 0;
        let source_rows = still.rgba.chunks_exact(place.width as usize * 4);
        for (row, source) in self.rows(place).zip(source_rows) {
            for (pixel, source) in row.as_chunks_mut::<4>().0.iter_mut().zip(source.as_chunks::<4>().0) {
                *pixel = if blended { blend(*pixel, *source) } else { *source };
            }
        }
        self.dispose = (flags & 1 != 0).then_some(place);
        Ok(f64::from(duration))
    }

    /// The part of each canvas row that a frame covers. The place lies within the canvas.
    fn rows(&mut self, place: Place) -> impl Iterator<Item = &mut [u8]> {
        let (left, width) = (place.x as usize * 4, place.width as usize * 4);
        let rows = self.rgba.chunks_exact_mut(self.width as usize * 4);
        let rows = rows.skip(place.y as usize).take(place.height as usize);
        rows.filter_map(move |row| row.get_mut(left..left + width))
    }
}

/// `BlendPixelNonPremult` of libwebp (`src/demux/anim_decode.c`).
#[expect(clippy::cast_possible_truncation, reason = "a weighted mean of bytes is a byte")]
fn blend(under: [u8; 4], over: [u8; 4]) -> [u8; 4] {
    match over[3] {
        0 => under,
        255 => over,
        alpha => {
            let alpha = u32::from(alpha);
            let rest = (u32::from(under[3]) * (256 - alpha)) >> 8;
            let sum = alpha + rest;
            let scale = (1 << 24) / sum;
            let channel = |n: usize| {
                let mixed = u32::from(over[n]) * alpha + u32::from(under[n]) * rest;
                ((u64::from(mixed) * u64::from(scale)) >> 24) as u8
            };
            [channel(0), channel(1), channel(2), sum as u8]
        }
    }
}

/// A frame's payload as a WebP file of its own; with an extended header where it has an alpha
/// chunk, without which that would not be looked for.
fn as_file(payload: &[u8], place: Place) -> Vec<u8> {
    let mut chunks = Vec::with_capacity(payload.len() + 32);
    chunks.extend_from_slice(b"WEBP");
    if payload.starts_with(b"ALPH") {
        chunks.extend_from_slice(b"VP8X\x0a\0\0\0\x10\0\0\0");
        for size in [place.width - 1, place.height - 1] {
            let [a, b, c, _] = size.to_le_bytes();
            chunks.extend_from_slice(&[a, b, c]);
        }
    }
    chunks.extend_from_slice(payload);
    let size = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(chunks.len() + 8);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&size.to_le_bytes());
    file.append(&mut chunks);
    file
}

/// One still image as RGBA.
struct Still {
    width: u32,
    height: u32,
    rgba: Vec<u8>,
}

impl Still {
    /// `place`: the size it must have, since the image's own header says it once more.
    fn decode(file: impl BufRead + Seek, place: Option<Place>, budget: &Budget) -> Result<Self, Refusal> {
        let mut decoder = WebPDecoder::new(file).map_err(|error| refusal(&error))?;
        decoder.set_memory_limit(usize::try_from(budget.limits.memory).unwrap_or(usize::MAX));
        let (width, height) = decoder.dimensions();
        if place.is_some_and(|place| (place.width, place.height) != (width, height)) {
            return Err(damaged("a frame's two headers disagree on its size").into());
        }
        budget.picture(width.into(), height.into(), PLANES)?;
        let mut pixels = vec![0; decoder.output_buffer_size().ok_or(VideoError::NoFrames)?];
        decoder.read_image(&mut pixels).map_err(|error| refusal(&error))?;
        let rgba = if decoder.has_alpha() {
            pixels
        } else {
            pixels.as_chunks::<3>().0.iter().flat_map(|[r, g, b]| [*r, *g, *b, 255]).collect()
        };
        Ok(Self { width, height, rgba })
    }
}

/// The body of a chunk, which is known to lie within the file.
fn body(file: &mut impl Read, size: u64) -> Result<Vec<u8>, VideoError> {
    if size > FRAME_BYTES {
        return Err(VideoError::TooLarge(format!("a frame of {size} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A little-endian number of 24 bits.
fn int24(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk::<3>()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

fn refusal(error: &DecodingError) -> Refusal {
    match error {
        DecodingError::MemoryLimitExceeded => {
            VideoError::TooLarge("the image takes more memory than a frame may".to_owned()).into()
        }
        DecodingError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => cut_off().into(),
        error => {
            let words = error.to_string();
            damaged(&crate::text::clean(&words)).into()
        }
    }
}

fn damaged(words: &str) -> VideoError {
    VideoError::Damaged(format!("WebP: {words}"))
}

fn cut_off() -> VideoError {
    VideoError::CutOff("the WebP ends too early".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opaque_pixels_replace_and_clear_ones_keep_to_the_bit() {
        assert_eq!(blend([10, 20, 30, 255], [200, 100, 50, 255]), [200, 100, 50, 255]);
        assert_eq!(blend([10, 20, 30, 255], [200, 100, 50, 0]), [10, 20, 30, 255]);
        // Half red over opaque blue.
        let [r, g, b, a] = blend([0, 0, 255, 255], [255, 0, 0, 128]);
        assert!((127..=129).contains(&r) && g == 0 && (126..=128).contains(&b) && a >= 254);
    }
}
