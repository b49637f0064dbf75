//! YUV 4:2:0 to RGB with swscale's own arithmetic.
//!
//! Pure. Not the textbook's formula: anything more exact than swscale (rounding, floats, smooth
//! chroma) gives another SSIM than ffmpeg's, by up to 0.09. This is what libswscale's x86 code
//! computes for `yuv420p -> rgb24` with an even height: 16-bit signed integers, every product
//! floored to its high half, chroma replicated over its 2x2 block, no rounding anywhere.

use super::Rgb;

/// Which YUV the numbers are, as the stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// `matrix_coefficients` of ITU-T H.273: 1 = BT.709, 4 = FCC, 7 = SMPTE 240M, 9 and 10 =
    /// BT.2020; everything else, "unspecified" too and whatever the frame's size, is BT.601.
    pub matrix: u8,
    /// Luma spans 0..=255 rather than 16..=235.
    pub full_range: bool,
}

/// An 8-bit planar 4:2:0 frame without padding. Both sizes are even.
#[derive(Debug, Clone, Copy)]
pub struct Yuv420<'a> {
    pub width: u32,
    pub height: u32,
    /// `width * height` bytes.
    pub y: &'a [u8],
    /// `width/2 * height/2` bytes.
    pub u: &'a [u8],
    /// `width/2 * height/2` bytes.
    pub v: &'a [u8],
}

/// The coefficients in units of 1/8192, as the SIMD code holds them; green's are negative.
struct Factors {
    y: i16,
    y_offset: i16,
    red_v: i16,
    blue_u: i16,
    green_u: i16,
    green_v: i16,
}

impl Factors {
    /// `ff_yuv2rgb_coeffs` and `ff_yuv2rgb_c_init_tables` of libswscale.
    fn of(colour: Colour) -> Self {
        let (red_v, blue_u, green_u, green_v) = match colour.matrix {
            1 => (117_489, 138_438, -13_975, -34_925),
            4 => (104_448, 132_798, -24_759, -53_109),
            7 => (117_579, 136_230, -16_907, -35_559),
            9 | 10 => (110_013, 140_363, -12_277, -42_626),
            _ => (104_597, 132_201, -25_675, -53_279),
        };
        let chroma = |value: i64| fixed(if colour.full_range { value * 224 / 255 } else { value });
        Self {
            y: fixed(if colour.full_range { 65_536 } else { 65_536 * 255 / 219 }),
            y_offset: if colour.full_range { 0 } else { 128 },
            red_v: chroma(red_v),
            blue_u: chroma(blue_u),
            green_u: chroma(green_u),
            green_v: chroma(green_v),
        }
    }
}

/// A coefficient in units of 1/65536, in units of 1/8192.
#[expect(clippy::cast_possible_truncation, reason = "clamped to 16 bits just before")]
fn fixed(value: i64) -> i16 {
    ((value * 8192 + 32_768) >> 16).clamp(-32_767, 32_767) as i16
}

/// The high half of a 32-bit product (x86's `pmulhw`): a floor, not a rounding.
fn high_half(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 16) as i16
}

/// One channel of one pixel: the saturating sum, clamped to a byte.
#[expect(clippy::cast_sign_loss, reason = "clamped to 0..=255 just before")]
fn channel(luma: i16, term: i16) -> u8 {
    luma.saturating_add(term).clamp(0, 255) as u8
}

/// The frame as RGB; none where a size is odd or a plane has not the length it should.
///
/// (An odd height takes another path through swscale with other results; 4:2:0 H.264 is never odd.)
#[must_use]
pub fn rgb_from_yuv420(frame: &Yuv420<'_>, colour: Colour) -> Option<Rgb> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let pixels = width.checked_mul(height)?;
    let fits = frame.y.len() == pixels && frame.u.len() == pixels / 4 && frame.v.len() == pixels / 4;
    if pixels == 0 || width % 2 != 0 || height % 2 != 0 || !fits {
        return None;
    }
    let factors = Factors::of(colour);
    let mut data = vec![0; pixels.checked_mul(3)?];
    let (red, rest) = data.split_at_mut(pixels);
    let (green, blue) = rest.split_at_mut(pixels);

    // The chroma terms of a row, each written twice, so that the loops over luma are straight zips.
    let mut terms = [vec![0_i16; width], vec![0_i16; width], vec![0_i16; width]];
    let two_rows = 2 * width;
    let mut lumas = vec![0_i16; two_rows];
    let rows = frame.y.chunks_exact(two_rows).zip(frame.u.chunks_exact(width / 2).zip(frame.v.chunks_exact(width / 2)));
    let outs =
        red.chunks_exact_mut(two_rows).zip(green.chunks_exact_mut(two_rows).zip(blue.chunks_exact_mut(two_rows)));
    for ((luma, (u, v)), (red, (green, blue))) in rows.zip(outs) {
        chroma_terms(u, v, &factors, &mut terms);
        for (scaled, y) in lumas.iter_mut().zip(luma) {
            *scaled = high_half(8 * i16::from(*y) - factors.y_offset, factors.y);
        }
        for (plane, term) in [red, green, blue].into_iter().zip(&terms) {
            for (out, luma) in plane.chunks_exact_mut(width).zip(lumas.chunks_exact(width)) {
                for ((out, luma), term) in out.iter_mut().zip(luma).zip(term) {
                    *out = channel(*luma, *term);
                }
            }
        }
    }
    Rgb::from_planes(frame.width, frame.height, data)
}

fn chroma_terms(u: &[u8], v: &[u8], factors: &Factors, terms: &mut [Vec<i16>; 3]) {
    let [red, green, blue] = terms;
    let pairs = red.chunks_exact_mut(2).zip(green.chunks_exact_mut(2)).zip(blue.chunks_exact_mut(2));
    for ((u, v), ((red, green), blue)) in u.iter().zip(v).zip(pairs) {
        let u = 8 * i16::from(*u) - 1024;
        let v = 8 * i16::from(*v) - 1024;
        red.fill(high_half(v, factors.red_v));
        green.fill(high_half(u, factors.green_u).saturating_add(high_half(v, factors.green_v)));
        blue.fill(high_half(u, factors.blue_u));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: Colour = Colour { matrix: 2, full_range: false };

    fn pixel(y: u8, u: u8, v: u8, colour: Colour) -> [u8; 3] {
        let frame = Yuv420 { width: 2, height: 2, y: &[y; 4], u: &[u], v: &[v] };
        let rgb = rgb_from_yuv420(&frame, colour).unwrap();
        rgb.planes().map(|plane| plane[3])
    }

    /// What ffmpeg 5.1 on x86-64 makes of one colour (`-vf scale=in_color_matrix=…:in_range=…,format=rgb24`).
    #[test]
    fn pixels_are_those_of_ffmpeg() {
        let limited = |matrix| Colour { matrix, full_range: false };
        let full = |matrix| Colour { matrix, full_range: true };
        let known = [
            ((16, 128, 128), LIMITED, [0, 0, 0]),
            ((235, 128, 128), LIMITED, [255, 255, 255]),
            ((0, 128, 128), LIMITED, [0, 0, 0]),
            ((255, 255, 255), LIMITED, [255, 124, 255]),
            ((255, 128, 128), full(2), [255, 255, 255]),
            ((100, 90, 200), LIMITED, [211, 52, 20]),
            ((100, 90, 200), full(6), [200, 61, 32]),
            ((100, 90, 200), limited(1), [226, 66, 16]),
            ((100, 90, 200), limited(4), [211, 52, 19]),
            ((100, 90, 200), limited(7), [226, 66, 18]),
            ((100, 90, 200), limited(9), [217, 57, 15]),
            ((180, 220, 40), limited(1), [32, 216, 255]),
            ((180, 220, 40), limited(4), [49, 226, 255]),
            ((180, 220, 40), limited(7), [32, 213, 255]),
            ((180, 220, 40), limited(10), [42, 229, 255]),
            ((60, 60, 70), full(1), [0, 99, 0]),
        ];
        for ((y, u, v), colour, expected) in known {
            assert_eq!(pixel(y, u, v, colour), expected, "{y} {u} {v} {colour:?}");
        }
    }

    #[test]
    fn planes_that_do_not_fit_are_refused() {
        let frame = Yuv420 { width: 2, height: 2, y: &[0; 3], u: &[0], v: &[0] };
        assert!(rgb_from_yuv420(&frame, LIMITED).is_none());
        let odd = Yuv420 { width: 2, height: 3, y: &[0; 6], u: &[0], v: &[0] };
        assert!(rgb_from_yuv420(&odd, LIMITED).is_none());
    }
}
