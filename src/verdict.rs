//! What the measurement says of an output: planes in, numbers out.
//!
//! Pure: no files, no clock, no decoder. [`colour`] turns decoded YUV into RGB exactly as
//! ffmpeg's swscale does, [`ssim`](fn@ssim) compares two RGB frames exactly as ffmpeg's `ssim`
//! filter does, so that the numbers are those people already compare with.

use serde::{Deserialize, Serialize};

pub mod colour;
mod ssim;

pub use ssim::ssim;

/// What is known of one output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Frames that are shown (an edit list may hide some that are stored).
    pub frames: u64,
    /// Pixels; 0 where unknown.
    pub width: u32,
    /// Pixels; 0 where unknown.
    pub height: u32,
    /// Frames a second, on average; none for a still.
    pub fps: Option<f64>,
    /// SSIM of the first and the last frame, "All" of ffmpeg's filter on RGB: 1 = equal.
    pub ssim: Option<f64>,
    /// Why there is no number, or what to know about it (`single frame`).
    pub note: Option<String>,
}

impl Measurement {
    /// The note of a file with one frame, whose SSIM is 1 by definition and says nothing.
    pub const SINGLE_FRAME: &str = "single frame";

    /// What two frames say; `last` is none where the file has but one.
    #[must_use]
    pub fn of_ends(first: &Rgb, last: Option<&Rgb>, frames: u64, fps: Option<f64>) -> Self {
        let (ssim, note) = match last {
            None => (Some(1.0), Some(Self::SINGLE_FRAME.to_owned())),
            Some(last) => match ssim(first, last) {
                Some(number) => (Some(number), None),
                None => (None, Some(no_ssim(first, last))),
            },
        };
        Self { frames, width: first.width(), height: first.height(), fps, ssim, note }
    }
}

/// Why [`ssim`](fn@ssim) had no answer.
fn no_ssim(first: &Rgb, last: &Rgb) -> String {
    if first.width() == last.width() && first.height() == last.height() {
        format!("n/a ({}x{} is smaller than 8x8)", first.width(), first.height())
    } else {
        format!(
            "n/a (the first frame is {}x{}, the last {}x{})",
            first.width(),
            first.height(),
            last.width(),
            last.height()
        )
    }
}

/// One frame, 8 bits a channel, planar: all of R, then all of G, then all of B, each row by row
/// without padding. Planar, because both the conversion and the SSIM work plane by plane.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Rgb {
    /// A frame of planar bytes; none unless there are exactly `3 * width * height` (and at least one pixel).
    #[must_use]
    pub fn from_planes(width: u32, height: u32, data: Vec<u8>) -> Option<Self> {
        let pixels = pixel_count(width, height)?;
        (pixels.checked_mul(3)? == data.len()).then_some(Self { width, height, data })
    }

    /// A frame of packed pixels of `N` bytes, of which the first three are R, G, B (alpha is
    /// dropped, not blended: that is what ffmpeg's conversion to RGB does). None unless there
    /// are exactly `N * width * height` bytes.
    #[must_use]
    pub fn from_packed<const N: usize>(width: u32, height: u32, packed: &[u8]) -> Option<Self> {
        let pixels = pixel_count(width, height)?;
        if N < 3 || pixels.checked_mul(N)? != packed.len() {
            return None;
        }
        let mut data = Vec::with_capacity(pixels.checked_mul(3)?);
        for channel in 0..3 {
            data.extend(packed.iter().skip(channel).step_by(N));
        }
        Some(Self { width, height, data })
    }

    /// Pixels in a row.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The R, G and B planes, `width * height` bytes each.
    #[must_use]
    pub fn planes(&self) -> [&[u8]; 3] {
        let (red, rest) = self.data.split_at(self.data.len() / 3);
        let (green, blue) = rest.split_at(rest.len() / 2);
        [red, green, blue]
    }
}

impl std::fmt::Debug for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb({}x{})", self.width, self.height)
    }
}

fn pixel_count(width: u32, height: u32) -> Option<usize> {
    let pixels = usize::try_from(u64::from(width).checked_mul(u64::from(height))?).ok()?;
    (pixels > 0).then_some(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_pixels_become_planes_and_lose_their_alpha() {
        let frame = Rgb::from_packed::<4>(2, 1, &[1, 2, 3, 255, 4, 5, 6, 0]).unwrap();
        assert_eq!(frame.planes(), [&[1, 4][..], &[2, 5], &[3, 6]]);
        assert_eq!(Rgb::from_packed::<3>(2, 1, &[1, 2, 3]), None);
        assert_eq!(Rgb::from_planes(0, 5, vec![]), None);
    }

    #[test]
    fn one_frame_is_one_with_a_note_and_a_tiny_frame_has_no_number() {
        let tiny = Rgb::from_planes(4, 4, vec![9; 48]).unwrap();
        let one = Measurement::of_ends(&tiny, None, 1, None);
        assert_eq!((one.ssim, one.note.as_deref()), (Some(1.0), Some("single frame")));
        let two = Measurement::of_ends(&tiny, Some(&tiny), 2, None);
        assert_eq!((two.ssim, two.note.as_deref()), (None, Some("n/a (4x4 is smaller than 8x8)")));
    }
}
