//! Pictures in the languages that terminals have for them: kitty's, iTerm2's and sixel, beside half blocks.
//!
//! Pure: a picture and a place in, units of bytes out. A unit is complete in itself: text may be written between two of
//! them, so that a picture on a slow line keeps nobody from typing. docs/adr/0002 says why no library does this.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::raster::Raster;

mod inline;
pub mod kitty;
mod sixel;

/// How pictures are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Means {
    /// Two pixels a cell.
    #[default]
    Blocks,
    /// Kitty's protocol with its placeholders: cells that stand for parts of a picture.
    Kitty,
    /// iTerm2's inline images.
    Iterm2,
    Sixel,
}

/// What is known of a terminal's pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graphics {
    pub means: Means,
    /// Pixels of a cell, width and height.
    pub cell: (u16, u16),
    /// There is a tmux between, which passes on what is wrapped for it.
    pub tmux: bool,
}

/// A picture that should be on the screen, and its cells.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub area: Rect,
    pub raster: Arc<Raster>,
}

/// Pixels of a cell where the terminal does not say.
pub const USUAL_CELL: (u16, u16) = (10, 20);

impl Default for Graphics {
    fn default() -> Self {
        Self { means: Means::Blocks, cell: USUAL_CELL, tmux: false }
    }
}

impl Graphics {
    /// A picture as units to be written one after the other, at most about `most` bytes in all and `unit` in each, and how
    /// many pixels it then has. `slot`: which of the pictures on the screen, from 0.
    pub fn units(
        &self,
        raster: &Raster,
        area: Rect,
        slot: usize,
        (most, unit): (usize, usize),
    ) -> (Vec<Vec<u8>>, usize) {
        if area.is_empty() || self.means == Means::Blocks {
            return (Vec::new(), 0);
        }
        let full =
            (usize::from(area.width) * usize::from(self.cell.0), usize::from(area.height) * usize::from(self.cell.1));
        // Sixel has no scaling: its pixels are the terminal's.
        let (width, height) = match self.means {
            Means::Sixel => full,
            _ => within(full, (raster.width, raster.height), most / BYTES_A_PIXEL),
        };
        let scaled = raster.scaled(width, height);
        let units = match self.means {
            Means::Kitty => kitty::units(&scaled, area, kitty::id(slot), self.tmux, unit),
            Means::Iterm2 => inline::units(&scaled, area, unit),
            _ => sixel::units(&scaled, area, self.cell.1, unit),
        };
        (units, width * height)
    }

    /// What the terminal should forget of the picture in a slot.
    pub fn forget(&self, slot: usize) -> Vec<u8> {
        if self.means == Means::Kitty { kitty::forget(kitty::id(slot), self.tmux) } else { Vec::new() }
    }
}

/// Of a PNG in base64, about.
const BYTES_A_PIXEL: usize = 2;

/// The size in pixels: no more than the place has, nor than the picture, nor than `most` in all.
fn within(place: (usize, usize), picture: (usize, usize), most: usize) -> (usize, usize) {
    let (mut width, mut height) = place;
    // Never more pixels than there are, and never so many that they cost too much.
    let allowed = (picture.0 * picture.1).min(most).max(64);
    while width * height > allowed && width > 1 && height > 1 {
        width = (width * 15 / 16).max(1);
        height = (height * 15 / 16).max(1);
    }
    (width, height)
}

/// A picture as PNG. Empty where it can't be: it has pixels, and memory takes all bytes.
fn png(raster: &Raster) -> Vec<u8> {
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    use image::{ExtendedColorType, ImageEncoder as _};
    let mut out = Vec::new();
    let size = u32::try_from(raster.width).ok().zip(u32::try_from(raster.height).ok());
    let Some((width, height)) = size else { return out };
    let encoder = PngEncoder::new_with_quality(&mut out, CompressionType::Default, FilterType::Adaptive);
    let written = encoder.write_image(raster.pixels.as_flattened(), width, height, ExtendedColorType::Rgb8);
    if written.is_err() {
        out.clear();
    }
    out
}

/// Some rows of a picture.
fn rows(raster: &Raster, from: usize, to: usize) -> Option<Raster> {
    let to = to.min(raster.height);
    let pixels = raster.pixels.get(from * raster.width..to * raster.width)?.to_vec();
    Raster::new(raster.width, to.checked_sub(from)?, pixels)
}

/// Moves the cursor to a cell.
fn at(x: u16, y: u16) -> String {
    format!("\x1b[{};{}H", y + 1, x + 1)
}

/// Bytes as text, four letters for three.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    pub const UNIT: usize = 4096;

    pub fn noise(width: usize, height: usize) -> Raster {
        let mut seed = 7_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_be_bytes()[0]
        };
        Raster::new(width, height, (0..width * height).map(|_| [next(), next(), next()]).collect()).unwrap()
    }

    #[test]
    fn base64_is_as_everywhere() {
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"outputs/x.mp4"), "b3V0cHV0cy94Lm1wNA==");
        assert_eq!(base64("歩".as_bytes()), "5q2p");
    }

    #[test]
    fn a_poor_line_gets_fewer_pixels_of_the_same_place() {
        let area = Rect::new(3, 4, 20, 10);
        for means in [Means::Kitty, Means::Iterm2] {
            let graphics = Graphics { means, ..Graphics::default() };
            let (units, pixels) = graphics.units(&noise(640, 640), area, 0, (1 << 20, UNIT));
            assert_eq!(pixels, 200 * 200, "{means:?}: never more than the place has");
            // Noise does not get smaller: 4 bytes a pixel, and one row of cells is the least.
            assert!(units.iter().all(|unit| unit.len() < 5 * UNIT), "{means:?}");
            let (_, fewer) = graphics.units(&noise(640, 640), area, 0, (8 << 10, UNIT));
            assert!(fewer <= 4096, "{means:?}: {fewer}");
            let (_, small) = graphics.units(&noise(20, 20), area, 0, (1 << 20, UNIT));
            assert!(small <= 400, "{means:?}: nothing is blown up on our side of the line");
        }
        assert_eq!(Graphics::default().units(&noise(9, 9), area, 0, (1 << 20, UNIT)), (Vec::new(), 0));
    }
}
