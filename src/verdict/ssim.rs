//! SSIM as ffmpeg's `ssim` filter computes it on 8-bit RGB ("All").
//!
//! Pure. Formula and constants are those of `libavfilter/vf_ssim.c`: 8x8 windows that step by 4
//! pixels, built of 4x4 blocks whose sums are shared; whatever does not fill a block at the right
//! and the bottom is ignored. No other SSIM gives these numbers, so there is none to take.

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
    if a.width() != b.width() || a.height() != b.height() || a.width() < 8 || a.height() < 8 {
        return None;
    }
    let width = a.width() as usize;
    let sum: f64 = a.planes().into_iter().zip(b.planes()).map(|(a, b)| plane(a, b, width)).sum();
    Some(sum / 3.0)
}

/// The sums of one row of 4x4 blocks, block by block.
struct Blocks {
    a: Vec<i32>,
    b: Vec<i32>,
    /// Of a² + b².
    squares: Vec<i32>,
    /// Of a·b.
    products: Vec<i32>,
}

impl Blocks {
    fn new(count: usize) -> Self {
        Self { a: vec![0; count], b: vec![0; count], squares: vec![0; count], products: vec![0; count] }
    }

    /// Fills the sums from four rows of pixels; `columns` is room for one row's worth of column sums.
    fn fill(&mut self, a: &[u8], b: &[u8], width: usize, columns: &mut Blocks) {
        for sums in [&mut columns.a, &mut columns.b, &mut columns.squares, &mut columns.products] {
            sums.fill(0);
        }
        // First down the columns, then across: the first, which is most of the work, vectorises.
        for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
            let sums =
                columns.a.iter_mut().zip(&mut columns.b).zip(columns.squares.iter_mut().zip(&mut columns.products));
            for ((a, b), ((sum_a, sum_b), (squares, products))) in a.iter().zip(b).zip(sums) {
                let (a, b) = (i32::from(*a), i32::from(*b));
                *sum_a += a;
                *sum_b += b;
                *squares += a * a + b * b;
                *products += a * b;
            }
        }
        across(&columns.a, &mut self.a);
        across(&columns.b, &mut self.b);
        across(&columns.squares, &mut self.squares);
        across(&columns.products, &mut self.products);
    }
}

fn across(columns: &[i32], blocks: &mut [i32]) {
    for (block, four) in blocks.iter_mut().zip(columns.chunks_exact(4)) {
        *block = four.iter().sum();
    }
}

/// The mean over the windows of one plane, at least 8x8.
#[expect(clippy::cast_precision_loss, reason = "a count of windows is far below 2^52")]
fn plane(a: &[u8], b: &[u8], width: usize) -> f64 {
    let blocks = width / 4;
    let mut columns = Blocks::new(width);
    let mut above = Blocks::new(blocks);
    let mut below = Blocks::new(blocks);
    let mut total = 0.0_f64;
    let mut windows = 0_usize;
    for (row, (a, b)) in a.chunks_exact(4 * width).zip(b.chunks_exact(4 * width)).enumerate() {
        std::mem::swap(&mut above, &mut below);
        below.fill(a, b, width, &mut columns);
        if row > 0 {
            // As ffmpeg: a row is summed in single precision, the rows in double.
            total += f64::from(row_of_windows(&above, &below));
            windows += blocks - 1;
        }
    }
    total / windows as f64
}

fn row_of_windows(above: &Blocks, below: &Blocks) -> f32 {
    fn four<'a>(above: &'a [i32], below: &'a [i32]) -> impl Iterator<Item = i32> + 'a {
        above
            .windows(2)
            .zip(below.windows(2))
            .map(|(above, below)| above.iter().sum::<i32>() + below.iter().sum::<i32>())
    }
    four(&above.a, &below.a)
        .zip(four(&above.b, &below.b))
        .zip(four(&above.squares, &below.squares).zip(four(&above.products, &below.products)))
        .map(|((a, b), (squares, products))| window(a, b, squares, products))
        .sum()
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
