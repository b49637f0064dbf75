//! A frame made small: what is left of it when neither noise nor compression is to be seen.
//!
//! Pure. [`Small`] is for finding displacements, [`Grid`] for changes of light and colour that
//! displace nothing.

use super::ssim::Summed;

/// Pixels that a small picture has at most.
const PIXELS: usize = 26_000;
/// Cells of a grid, each way.
const CELLS: usize = 8;

/// A blurred luma picture of fixed mean and contrast, and the same at half its size.
#[derive(Debug, Clone)]
pub struct Small {
    pub fine: Plane,
    pub coarse: Plane,
}

/// One plane of numbers, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub data: Vec<f32>,
}

impl Small {
    /// Averages over squares of 1, 2 or a multiple of 4 pixels, whatever brings it below
    /// 26,000 pixels, then blurs.
    #[must_use]
    pub fn of(frame: &Summed) -> Self {
        let (width, height) = (frame.frame().width() as usize, frame.frame().height() as usize);
        let scale = [1, 2].into_iter().chain((4..).step_by(4)).find(|n| (width / n) * (height / n) <= PIXELS);
        let scale = scale.unwrap_or(4);
        let luma = if scale < 4 { luma_of_pixels(frame) } else { luma_of_blocks(frame) };
        let small = luma.averaged(if scale < 4 { scale } else { scale / 4 });
        // The smaller the squares, the less noise they have averaged away.
        let fine = if scale == 1 { small.blurred().blurred() } else { small.blurred() }.levelled();
        Self { coarse: fine.averaged(2), fine }
    }
}

/// Weights of ITU-R BT.601.
fn luma(red: f32, green: f32, blue: f32) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

fn luma_of_pixels(frame: &Summed) -> Plane {
    let [red, green, blue] = frame.frame().planes();
    let pixels = red.iter().zip(green).zip(blue);
    let data = pixels.map(|((r, g), b)| luma(f32::from(*r), f32::from(*g), f32::from(*b))).collect();
    Plane { width: frame.frame().width() as usize, height: frame.frame().height() as usize, data }
}

/// One pixel for each 4x4 block, whose sums are there already.
#[expect(clippy::cast_precision_loss, reason = "sums of 16 bytes")]
fn luma_of_blocks(frame: &Summed) -> Plane {
    let (width, height) = frame.sums().size();
    let [red, green, blue] = frame.sums().blocks();
    let pixels = red.iter().zip(green).zip(blue);
    let data = pixels.map(|((r, g), b)| luma(*r as f32, *g as f32, *b as f32) / 16.0).collect();
    Plane { width, height, data }
}

impl Plane {
    pub fn row(&self, y: usize) -> &[f32] {
        self.data.get(y * self.width..(y + 1) * self.width).unwrap_or_default()
    }

    /// The means over squares of `side` pixels; what fills none is left out.
    #[expect(clippy::cast_precision_loss, reason = "a side is a small number")]
    fn averaged(&self, side: usize) -> Self {
        if side <= 1 {
            return self.clone();
        }
        let (width, height) = (self.width / side, self.height / side);
        let mut data = vec![0.0; width * height];
        for (y, out) in data.chunks_exact_mut(width.max(1)).enumerate() {
            for row in (y * side..(y + 1) * side).map(|y| self.row(y)) {
                for (sum, pixels) in out.iter_mut().zip(row.chunks_exact(side)) {
                    *sum += pixels.iter().sum::<f32>();
                }
            }
        }
        let count = (side * side) as f32;
        for sum in &mut data {
            *sum /= count;
        }
        Self { width, height, data }
    }

    /// Mean 0 and one contrast for all, so that a picture and a brighter one match. What has next to no
    /// contrast gets none.
    #[expect(clippy::cast_precision_loss, reason = "a count of pixels")]
    fn levelled(mut self) -> Self {
        let count = self.data.len().max(1) as f32;
        let mean = self.data.iter().sum::<f32>() / count;
        let variance = self.data.iter().map(|pixel| (pixel - mean).powi(2)).sum::<f32>() / count;
        let scale = 50.0 / variance.sqrt().max(2.0);
        for pixel in &mut self.data {
            *pixel = (*pixel - mean) * scale;
        }
        self
    }

    /// Weights 1 2 1 along rows and columns; at the edges the outermost pixel is repeated.
    fn blurred(&self) -> Self {
        let (width, height) = (self.width, self.height);
        if width < 2 || height < 2 {
            return self.clone();
        }
        let mut across = Vec::with_capacity(self.data.len());
        for row in self.data.chunks_exact(width) {
            let left = row.first().into_iter().chain(row);
            let right = row.iter().skip(1).chain(row.last());
            across
                .extend(row.iter().zip(left.zip(right)).map(|(here, (left, right))| (left + right) / 4.0 + here / 2.0));
        }
        let across = Self { width, height, data: across };
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..height {
            let (above, here, below) =
                (across.row(y.saturating_sub(1)), across.row(y), across.row((y + 1).min(height - 1)));
            data.extend(here.iter().zip(above.iter().zip(below)).map(|(here, (a, b))| (a + b) / 4.0 + here / 2.0));
        }
        Self { width, height, data }
    }
}

/// The mean colours of 8x8 cells: noise of single pixels is gone, light and colour are not.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// R, G and B of each cell, 0..=255.
    cells: Vec<[f32; 3]>,
    /// Of the whole frame.
    mean: [f32; 3],
    /// The frame has fewer than 4x4 pixels: nothing is known of its cells.
    is_blind: bool,
}

impl Grid {
    /// False where the frame is too small to be told apart from another.
    pub fn sees(&self) -> bool {
        !self.is_blind
    }

    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of pixels below 2^24")]
    pub fn of(frame: &Summed) -> Self {
        let (columns, rows) = frame.sums().size();
        let across = CELLS.min(columns).max(1);
        let down = CELLS.min(rows).max(1);
        let mut sums = vec![[0_i64; 3]; across * down];
        let mut counts = vec![0_i64; across * down];
        for (channel, blocks) in frame.sums().blocks().into_iter().enumerate() {
            for (y, row) in blocks.chunks_exact(columns.max(1)).enumerate() {
                for (x, block) in row.iter().enumerate() {
                    let cell = (y * down / rows) * across + x * across / columns;
                    if let (Some(sum), Some(count)) = (sums.get_mut(cell), counts.get_mut(cell)) {
                        sum[channel] += i64::from(*block);
                        *count += i64::from(channel == 0) * 16;
                    }
                }
            }
        }
        let cell = |(sum, count): (&[i64; 3], &i64)| sum.map(|sum| sum as f32 / (*count).max(1) as f32);
        let cells: Vec<_> = sums.iter().zip(&counts).map(cell).collect();
        let mean = frame.frame().planes().map(mean_of);
        Self { cells, mean, is_blind: columns * rows == 0 }
    }

    /// The mean of R, G and B.
    pub fn mean(&self) -> [f32; 3] {
        self.mean
    }

    /// How far two frames are apart once something is done to each cell of this one, levels.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of cells")]
    pub fn apart_once(&self, other: &Self, done: impl Fn([f32; 3]) -> [f32; 3]) -> f32 {
        let far =
            |(a, b): (&[f32; 3], &[f32; 3])| -> f32 { done(*a).iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum() };
        let sum: f32 = self.cells.iter().zip(&other.cells).map(far).sum();
        (sum / (3 * self.cells.len().max(1)) as f32).sqrt()
    }

    /// The step of light from this frame to another.
    #[must_use]
    pub fn light_to(&self, other: &Self) -> Light {
        let [red, green, blue] = std::array::from_fn(|n| other.mean[n] - self.mean[n]);
        let luma = luma(red, green, blue);
        // Cb and Cr of BT.601, full range.
        Light { luma, chroma: ((blue - luma) / 1.772).hypot((red - luma) / 1.402) }
    }

    /// How far two frames are apart: the root of the mean square over cells and channels, in levels.
    /// `light` = what the whole frame became brighter or more colourful counts as well.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count of cells")]
    pub fn apart(&self, other: &Self, light: bool) -> f32 {
        let mean: [f32; 3] = std::array::from_fn(|c| if light { 0.0 } else { other.mean[c] - self.mean[c] });
        let gain: [f32; 3] =
            std::array::from_fn(|c| if light { 1.0 } else { other.mean[c].max(1.0) / self.mean[c].max(1.0) });
        // A step of light adds, or multiplies; whichever explains more of it is taken out.
        let [mut added, mut multiplied] = [0.0_f32; 2];
        for (a, b) in self.cells.iter().zip(&other.cells) {
            for channel in 0..3 {
                added += (b[channel] - a[channel] - mean[channel]).powi(2);
                multiplied += (b[channel] - a[channel] * gain[channel]).powi(2);
            }
        }
        (added.min(multiplied) / (3 * self.cells.len().max(1)) as f32).sqrt()
    }
}

/// A step of light between two frames, levels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Light {
    /// Of the mean luma.
    pub luma: f32,
    /// How far the mean Cb and Cr are apart.
    pub chroma: f32,
}

impl Light {
    #[must_use]
    pub fn largest(self) -> f32 {
        self.luma.abs().max(self.chroma)
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a mean of bytes")]
fn mean_of(plane: &[u8]) -> f32 {
    let sum: u64 = plane.chunks(4096).map(|part| u64::from(part.iter().map(|p| u32::from(*p)).sum::<u32>())).sum();
    (sum as f64 / plane.len().max(1) as f64) as f32
}
