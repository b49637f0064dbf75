//! What the measurement says of an output: planes in, numbers out.
//!
//! Pure: no files, no clock, no decoder. [`colour`] turns decoded YUV into RGB exactly as
//! ffmpeg's swscale does, [`ssim`](fn@ssim) compares two RGB frames exactly as ffmpeg's `ssim`
//! filter does, so that the numbers are those people already compare with. [`Watch`] sees the frames of
//! a clip one after another, [`judge`](fn@judge) says how it loops; docs/verdict.md explains each number.

mod across;
pub mod colour;
mod judge;
mod level;
mod measurement;
mod motion;
mod rank;
mod repair;
mod series;
mod small;
mod ssim;
mod watch;

pub use judge::{Cut, FEWEST_JUDGED, Judgement, Thresholds, Verdict, judge};
pub use level::{Ramp, ramp};
pub use measurement::{Curves, Measurement};
pub use rank::{better, rank};
pub use repair::Repair;
pub use ssim::ssim;
pub use watch::{MOST_JUDGED, Seen, Watch};

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
        let mut data = vec![0; pixels.checked_mul(3)?];
        let (red, rest) = data.split_at_mut(pixels);
        let (green, blue) = rest.split_at_mut(pixels);
        let planes = red.iter_mut().zip(green).zip(blue);
        for (((red, green), blue), pixel) in planes.zip(packed.as_chunks::<N>().0) {
            [*red, *green, *blue] = [pixel[0], pixel[1], pixel[2]];
        }
        Some(Self { width, height, data })
    }

    /// R, G, B, pixel after pixel, row after row: what [`Rgb::from_packed`] takes with 3 bytes a pixel.
    #[must_use]
    pub fn packed(&self) -> Vec<u8> {
        let [red, green, blue] = self.planes();
        red.iter().zip(green).zip(blue).flat_map(|((red, green), blue)| [*red, *green, *blue]).collect()
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
}
