//! SSIM as ffmpeg's `ssim` filter computes it on 8-bit RGB ("All").
//!
//! Pure. Formula and constants are those of `libavfilter/vf_ssim.c`: 8x8 windows that step by 4
//! pixels, built of 4x4 blocks whose sums are shared; whatever does not fill a block at the right
//! and the bottom is ignored. No other SSIM gives these numbers, so there is none to take.
//!
//! A frame of a clip is compared with the first and with the one before it, and half of the work
//! of a comparison is the frame's own: [`Summed`] keeps that half.

use super::Rgb;

/// `(0.01 * 255)^2 * 64`, rounded.
const C1: i32 = 416;
/// `(0.03 * 255)^2 * 64 * 63`, rounded.
const C2: i32 = 235_963;

/// SSIM of two frames: the mean of the R, G and B planes' numbers, 1 where they are equal.
/// None where the sizes differ or one is below 8 pixels (there is no window then). Below 12
/// pixels of width, where a row has one window, ffmpeg's SIMD answers 1 whatever the frames
/// are; this answers by the formula.
#[must_use]
pub fn ssim(a: &Rgb, b: &Rgb) -> Option<f64> {
    can_compare(a, b).then(|| of_planes(a, &Sums::of(a), b, &Sums::of(b)))
}

fn can_compare(a: &Rgb, b: &Rgb) -> bool {
    a.width() == b.width() && a.height() == b.height() && a.width() >= 8 && a.height() >= 8
}

/// A frame with its own sums.
#[derive(Debug, Clone)]
pub struct Summed {
    frame: Rgb,
    sums: Sums,
}

impl Summed {
    #[must_use]
    pub fn of(frame: Rgb) -> Self {
        Self { sums: Sums::of(&frame), frame }
    }

    /// As [`ssim`](fn@ssim).
    #[must_use]
    pub fn ssim(&self, other: &Self) -> Option<f64> {
        can_compare(&self.frame, &other.frame).then(|| of_planes(&self.frame, &self.sums, &other.frame, &other.sums))
    }

    #[must_use]
    pub fn frame(&self) -> &Rgb {
        &self.frame
    }

    #[must_use]
    pub fn sums(&self) -> &Sums {
        &self.sums
    }
}

/// The sums of a frame's 4x4 blocks, row of blocks by row of blocks.
#[derive(Debug, Clone)]
pub struct Sums {
    columns: usize,
    rows: usize,
    planes: [PlaneSums; 3],
}

#[derive(Debug, Clone)]
struct PlaneSums {
    /// Of 16 pixels: at most 4080.
    pixels: Vec<i32>,
    squares: Vec<i32>,
}

impl Sums {
    fn of(frame: &Rgb) -> Self {
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let planes = frame.planes().map(|plane| PlaneSums::of(plane, width));
        Self { columns: width / 4, rows: height / 4, planes }
    }

    /// Blocks in a row, and rows of them.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.columns, self.rows)
    }

    /// The sums of the blocks' R, G and B pixels.
    #[must_use]
    pub fn blocks(&self) -> [&[i32]; 3] {
        self.planes.each_ref().map(|plane| plane.pixels.as_slice())
    }
}

impl PlaneSums {
    fn of(plane: &[u8], width: usize) -> Self {
        let blocks = plane.len() / 16;
        let mut own = Self { pixels: Vec::with_capacity(blocks), squares: Vec::with_capacity(blocks) };
        // First down the columns, then across: the first, which is most of the work, vectorises.
        let (mut sums, mut squares) = (vec![0; width], vec![0; width]);
        for rows in plane.chunks_exact(4 * width) {
            sums.fill(0);
            squares.fill(0);
            for row in rows.chunks_exact(width) {
                for ((sum, square), pixel) in sums.iter_mut().zip(&mut squares).zip(row) {
                    let pixel = i32::from(*pixel);
                    *sum += pixel;
                    *square += pixel * pixel;
                }
            }
            own.pixels.extend(across(&sums));
            own.squares.extend(across(&squares));
        }
        own
    }
}

/// Sums of four columns each.
fn across(columns: &[i32]) -> impl Iterator<Item = i32> {
    columns.as_chunks::<4>().0.iter().map(|[a, b, c, d]| a + b + c + d)
}

/// The mean of the planes' numbers; the frames have one size, at least 8x8.
fn of_planes(a: &Rgb, a_sums: &Sums, b: &Rgb, b_sums: &Sums) -> f64 {
    let mut work = Work::new(a.width() as usize);
    let planes = a.planes().into_iter().zip(b.planes());
    let sums = a_sums.planes.iter().zip(&b_sums.planes);
    let total: f64 = planes.zip(sums).map(|((a, b), (a_sums, b_sums))| work.plane(a, b, a_sums, b_sums)).sum();
    total / 3.0
}

/// Room for the row in work.
struct Work {
    width: usize,
    columns: Vec<i32>,
    /// Sums of a·b of the row of blocks above, and of the one below it.
    products: [Vec<i32>; 2],
    windows: Vec<f32>,
}

impl Work {
    fn new(width: usize) -> Self {
        let blocks = width / 4;
        let products = [vec![0; blocks], vec![0; blocks]];
        Self { width, columns: vec![0; width], products, windows: vec![0.0; blocks - 1] }
    }

    /// The mean over the windows of one plane.
    #[expect(clippy::cast_precision_loss, reason = "a count of windows is far below 2^52")]
    fn plane(&mut self, a: &[u8], b: &[u8], a_sums: &PlaneSums, b_sums: &PlaneSums) -> f64 {
        let (blocks, four_rows) = (self.width / 4, 4 * self.width);
        let mut total = 0.0_f64;
        let mut windows = 0;
        for (row, (a, b)) in a.chunks_exact(four_rows).zip(b.chunks_exact(four_rows)).enumerate() {
            self.products.swap(0, 1);
            self.multiply(a, b);
            let Some(above) = row.checked_sub(1) else { continue };
            let sums = [&a_sums.pixels, &b_sums.pixels, &a_sums.squares, &b_sums.squares]
                .map(|sums| sums.get(above * blocks..(row + 1) * blocks).unwrap_or_default());
            self.row_of_windows(sums);
            // As ffmpeg: a row is summed in single precision, the rows in double.
            total += f64::from(self.windows.iter().sum::<f32>());
            windows += self.windows.len();
        }
        total / windows as f64
    }

    /// The sums of a·b of a row of blocks, from its four rows of pixels.
    fn multiply(&mut self, a: &[u8], b: &[u8]) {
        self.columns.fill(0);
        for (a, b) in a.chunks_exact(self.width).zip(b.chunks_exact(self.width)) {
            for ((sum, a), b) in self.columns.iter_mut().zip(a).zip(b) {
                *sum += i32::from(*a) * i32::from(*b);
            }
        }
        let [_, below] = &mut self.products;
        for (product, sum) in below.iter_mut().zip(across(&self.columns)) {
            *product = sum;
        }
    }

    /// The windows over two rows of blocks; `sums` are those of a, b, a² and b², the row above first.
    fn row_of_windows(&mut self, sums: [&[i32]; 4]) {
        let [a, b, a_squares, b_squares] = sums.map(|sums| sums.split_at(sums.len() / 2)).map(four);
        let [above, below] = &self.products;
        let products = four((above, below));
        let inputs = a.zip(b).zip(a_squares.zip(b_squares)).zip(products);
        for (number, (((a, b), (a_squares, b_squares)), products)) in self.windows.iter_mut().zip(inputs) {
            *number = window(a, b, a_squares + b_squares, products);
        }
    }
}

/// Sums of the 2x2 blocks of each window over two rows of blocks.
fn four<'a>((above, below): (&'a [i32], &'a [i32])) -> impl Iterator<Item = i32> + 'a {
    let two = |row: &'a [i32]| row.iter().zip(row.get(1..).unwrap_or_default()).map(|(left, right)| left + right);
    two(above).zip(two(below)).map(|(above, below)| above + below)
}

/// One 8x8 window, from its four sums (`ssim_end1`). Nothing overflows: the sums of 64 pixels
/// are at most 16,320, so the largest term is 64 · 64 · 2 · 255² = 532,684,800.
#[expect(clippy::cast_precision_loss, reason = "ffmpeg casts each bracket to single precision, and so must we")]
fn window(a: i32, b: i32, squares: i32, products: i32) -> f32 {
    let variances = squares * 64 - a * a - b * b;
    let covariance = products * 64 - a * b;
    (2 * a * b + C1) as f32 * (2 * covariance + C2) as f32 / ((a * a + b * b + C1) as f32 * (variances + C2) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(width: u32, height: u32, data: Vec<u8>) -> Rgb {
        Rgb::from_planes(width, height, data).unwrap()
    }

    #[test]
    fn black_and_white_are_nearly_zero_and_sizes_must_agree() {
        let black = frame(8, 8, vec![0; 192]);
        let white = frame(8, 8, vec![255; 192]);
        // C1 / (64² · 255² + C1) by the formula.
        let expected = 416.0 / (16_320.0_f64.powi(2) + 416.0);
        assert!((ssim(&black, &white).unwrap() - expected).abs() < 1e-9);
        assert_eq!(ssim(&black, &frame(8, 12, vec![0; 288])), None);
        assert_eq!(ssim(&frame(7, 8, vec![0; 168]), &frame(7, 8, vec![0; 168])), None);
    }

    #[test]
    fn what_does_not_fill_a_block_is_ignored() {
        let mut a = vec![7; 11 * 9 * 3];
        let b = frame(11, 9, a.clone());
        for plane in 0..3 {
            a[plane * 99 + 8] = 255; // ninth column
            a[plane * 99 + 8 * 11] = 255; // ninth row
        }
        assert_eq!(ssim(&frame(11, 9, a), &b), Some(1.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_frame_equals_itself_and_the_order_is_nothing(
            (width, height, a, b) in (8_u32..34, 8_u32..26).prop_flat_map(|(w, h)| {
                let bytes = || proptest::collection::vec(any::<u8>(), (w * h * 3) as usize);
                (Just(w), Just(h), bytes(), bytes())
            })
        ) {
            let (a, b) = (frame(width, height, a), frame(width, height, b));
            prop_assert_eq!(ssim(&a, &a), Some(1.0));
            let (there, back) = (ssim(&a, &b).unwrap(), ssim(&b, &a).unwrap());
            prop_assert!((there - back).abs() < 1e-9);
            prop_assert!((-1.0..=1.0).contains(&there));
        }
    }
}
