//! Sixels: columns of six pixels as letters, a colour at a time.
//!
//! The DEC VT330/340's graphics (`ESC P q … ESC \`), 252 colours, dithered in order (Bayer 4x4). A picture is cut into
//! strips of whole rows of cells, so that nothing is drawn below its place.

use std::fmt::Write as _;

use ratatui::layout::Rect;

use super::{at, rows};
use crate::tui::raster::Raster;

/// Steps of red, green and blue; together the colours of the palette.
const STEPS: [usize; 3] = [6, 7, 6];

pub fn units(raster: &Raster, area: Rect, cell_height: u16, unit: usize) -> Vec<Vec<u8>> {
    // About one byte a pixel.
    let bytes_a_row = raster.width * usize::from(cell_height.max(1));
    let strip = u16::try_from((unit / bytes_a_row.max(1)).max(1)).unwrap_or(u16::MAX).min(area.height);
    let mut units = Vec::new();
    let mut top = 0;
    while top < area.height {
        let bottom = top.saturating_add(strip).min(area.height);
        let row = |cells: u16| usize::from(cells) * usize::from(cell_height);
        if let Some(part) = rows(raster, row(top), row(bottom)) {
            let mut unit = at(area.x, area.y + top);
            encode(&part, row(top), &mut unit);
            units.push(unit.into_bytes());
        }
        top = bottom;
    }
    units
}

/// `above`: rows of the picture above these, for the pattern of the dithering.
fn encode(raster: &Raster, above: usize, out: &mut String) {
    let indexed: Vec<u8> = raster
        .pixels
        .iter()
        .enumerate()
        .map(|(n, pixel)| index(*pixel, n % raster.width, above + n / raster.width))
        .collect();
    let _ = write!(out, "\x1bP0;1;0q\"1;1;{};{}", raster.width, raster.height);
    let mut used: Vec<u8> = indexed.clone();
    used.sort_unstable();
    used.dedup();
    for color in &used {
        let [r, g, b] = percent(*color);
        let _ = write!(out, "#{color};2;{r};{g};{b}");
    }
    for band in indexed.chunks(6 * raster.width) {
        let mut colors: Vec<u8> = band.to_vec();
        colors.sort_unstable();
        colors.dedup();
        for (n, color) in colors.iter().enumerate() {
            let _ = write!(out, "{}#{color}", if n > 0 { "$" } else { "" });
            let bits = |x: usize| {
                let column = band.iter().skip(x).step_by(raster.width);
                column.enumerate().fold(0_u8, |bits, (y, pixel)| bits | u8::from(pixel == color) << y)
            };
            runs((0..raster.width).map(bits), out);
        }
        out.push('-');
    }
    out.push_str("\x1b\\");
}

/// Letters, and counts before those that are repeated.
fn runs(columns: impl Iterator<Item = u8>, out: &mut String) {
    let mut run: Option<(u8, usize)> = None;
    let mut put = |(bits, count): (u8, usize), last: bool| {
        let letter = char::from(b'?' + bits);
        match count {
            // What is empty to the right is left out.
            _ if last && bits == 0 => {}
            0..=3 => out.extend(std::iter::repeat_n(letter, count)),
            _ => {
                let _ = write!(out, "!{count}{letter}");
            }
        }
    };
    for bits in columns {
        run = match run {
            Some((same, count)) if same == bits => Some((same, count + 1)),
            other => {
                if let Some(done) = other {
                    put(done, false);
                }
                Some((bits, 1))
            }
        };
    }
    if let Some(done) = run {
        put(done, true);
    }
}

/// The colour of the palette for a pixel at this place.
fn index([red, green, blue]: [u8; 3], x: usize, y: usize) -> u8 {
    const BAYER: [[usize; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    let threshold = BAYER[y % 4][x % 4];
    let step = |value: u8, steps: usize| {
        // In sixteenths of a step.
        let level = usize::from(value) * (steps - 1) * 16 / 255;
        (level / 16 + usize::from(level % 16 > threshold)).min(steps - 1)
    };
    let index = (step(red, STEPS[0]) * STEPS[1] + step(green, STEPS[1])) * STEPS[2] + step(blue, STEPS[2]);
    u8::try_from(index).unwrap_or(u8::MAX)
}

/// A colour of the palette, in percent of each channel.
fn percent(color: u8) -> [usize; 3] {
    let color = usize::from(color);
    let (r, g, b) = (color / (STEPS[1] * STEPS[2]), color / STEPS[2] % STEPS[1], color % STEPS[2]);
    [r * 100 / (STEPS[0] - 1), g * 100 / (STEPS[1] - 1), b * 100 / (STEPS[2] - 1)]
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    /// What a terminal would draw: colours of the palette, by place.
    fn decoded(unit: &str, width: usize, height: usize) -> Vec<Option<u8>> {
        let body = unit.split_once('q').unwrap().1.strip_suffix("\x1b\\").unwrap();
        let mut seen = vec![None; width * height];
        let (mut x, mut y, mut color) = (0, 0, 0_u8);
        let mut letters = body.chars().peekable();
        let number = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = letters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits.parse::<usize>().unwrap()
        };
        while let Some(letter) = letters.next() {
            let mut count = 1;
            let mut letter = letter;
            match letter {
                '"' => {
                    while letters.next_if(|c| c.is_ascii_digit() || *c == ';').is_some() {}
                    continue;
                }
                '#' => {
                    color = u8::try_from(number(&mut letters)).unwrap();
                    while letters.next_if(|c| c.is_ascii_digit() || *c == ';').is_some() {}
                    continue;
                }
                '$' => {
                    x = 0;
                    continue;
                }
                '-' => {
                    (x, y) = (0, y + 6);
                    continue;
                }
                '!' => {
                    count = number(&mut letters);
                    letter = letters.next().unwrap();
                }
                _ => {}
            }
            let bits = u32::from(letter) - u32::from('?');
            for _ in 0..count {
                for bit in 0..6 {
                    if bits >> bit & 1 == 1 {
                        seen[(y + bit) * width + x] = Some(color);
                    }
                }
                x += 1;
            }
        }
        seen
    }

    #[test]
    fn every_pixel_is_drawn_in_its_own_colour() {
        for (width, height) in [(1, 1), (5, 6), (17, 20), (40, 13)] {
            let raster = noise(width, height);
            let mut out = String::new();
            encode(&raster, 0, &mut out);
            let wanted: Vec<_> =
                raster.pixels.iter().enumerate().map(|(n, pixel)| Some(index(*pixel, n % width, n / width))).collect();
            assert_eq!(decoded(&out, width, height), wanted, "{width}x{height}");
        }
    }

    #[test]
    fn the_palette_has_black_and_white_and_means_what_it_says() {
        for (x, y) in (0..4).flat_map(|x| (0..4).map(move |y| (x, y))) {
            assert_eq!(percent(index([0; 3], x, y)), [0; 3]);
            assert_eq!(percent(index([255; 3], x, y)), [100; 3]);
        }
        // Over a whole pattern a grey between two steps is as light as it should be.
        let all = (0..16).map(|n| percent(index([140; 3], n % 4, n / 4))[0]).sum::<usize>();
        assert!((all / 16).abs_diff(140 * 100 / 255) <= 3, "{}", all / 16);
    }

    #[test]
    fn strips_are_rows_of_cells() {
        let area = Rect::new(2, 3, 10, 4);
        let units = units(&noise(100, 80), area, 20, 4096);
        assert_eq!(units.len(), 2);
        assert!(units[0].starts_with(b"\x1b[4;3H\x1bP0;1;0q\"1;1;100;40"), "two rows of cells fill a unit");
        assert!(units[1].starts_with(b"\x1b[6;3H"));
    }
}
