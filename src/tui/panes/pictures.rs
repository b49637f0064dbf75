//! Pictures of the selected job: first and last frame, their difference, a strip, or what renders now.
//!
//! In half blocks a cell has two pixels, one above the other; without colours it has one of five shades.

use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};

use crate::tui::app::{App, Shows};
use crate::tui::canvas;
use crate::tui::graphics::{Means, kitty};
use crate::tui::raster::{Raster, fitted, places};
use crate::tui::theme::{Depth, Role};

/// Where one picture hangs.
#[derive(Debug, Clone)]
pub struct Hung {
    /// The cells of its pixels.
    pub area: Rect,
    label: (Rect, String),
    pub raster: Arc<Raster>,
    /// For half blocks: two rows of pixels a row of cells.
    small: Option<Raster>,
}

impl PartialEq for Hung {
    fn eq(&self, other: &Self) -> bool {
        (self.area, &self.label) == (other.area, &other.label) && Arc::ptr_eq(&self.raster, &other.raster)
    }
}

/// Hangs what is to be shown into the pane.
pub fn hung(app: &App) -> Vec<Hung> {
    let area = app.areas().pictures;
    let pictures = &app.gallery.exhibit.pictures;
    let Some(first) = pictures.first().filter(|_| !area.is_empty()) else { return Vec::new() };
    let places = places(pictures.len(), &first.raster, area, app.cell());
    let hang = |(shown, place): (&crate::tui::gallery::Shown, Rect)| {
        let area = fitted(&shown.raster, place, app.cell());
        let above = Rect { y: area.y.saturating_sub(1), height: 1, x: place.x, width: place.width };
        let in_blocks = app.means() == Means::Blocks;
        let small = in_blocks.then(|| shown.raster.scaled(area.width.into(), 2 * usize::from(area.height)));
        Hung { area, label: (above, shown.label.clone()), raster: Arc::clone(&shown.raster), small }
    };
    let places = places.into_iter().filter(|place| !place.is_empty());
    pictures.iter().zip(places).map(hang).collect()
}

pub fn pictures(app: &App, buf: &mut Buffer, area: Rect) {
    let theme = app.live_theme();
    if let Some(words) = &app.gallery.exhibit.words {
        let lines = canvas::wrap(&crate::text::clean(words), area.width.into());
        for (y, line) in (area.y..area.bottom()).zip(lines) {
            canvas::text(buf, area.x, y, area.width, &line, theme.style(Role::Quiet));
        }
        return;
    }
    for (slot, Hung { area, label: (above, label), small, .. }) in app.wall.hung.iter().enumerate() {
        let wide = canvas::cells(label).min(above.width);
        let x = above.x + (above.width - wide) / 2;
        canvas::text(buf, x, above.y, wide, label, theme.style(Role::Quiet));
        match small {
            Some(small) => {
                let under = app.wall.under.get(slot).and_then(|under| under.small.as_ref());
                paint(buf, *area, (small, under), |at| app.wall.shows(at), app.depth());
            }
            None if app.means() == Means::Kitty => stand_in(buf, *area, slot),
            // Drawn over these cells; see `terminal`.
            None => {}
        }
    }
}

/// Cells that stand for a picture.
fn stand_in(buf: &mut Buffer, area: Rect, slot: usize) {
    for (row, y) in (area.y..area.bottom()).enumerate() {
        for (column, x) in (area.x..area.right()).enumerate() {
            let place = u16::try_from(column).ok().zip(u16::try_from(row).ok());
            if let Some((symbol, color)) = place.and_then(|(column, row)| kitty::cell(slot, column, row)) {
                canvas::put(buf, x, y, &symbol, Style::new().fg(color));
            }
        }
    }
}

/// A picture, and where it is not to be seen yet the one before it.
fn paint(
    buf: &mut Buffer,
    area: Rect,
    (new, before): (&Raster, Option<&Raster>),
    shows: impl Fn((u16, u16)) -> Shows,
    depth: Depth,
) {
    for y in 0..area.height {
        for x in 0..area.width {
            let small = match shows((area.x + x, area.y + y)) {
                Shows::Now => Some(new),
                Shows::Before => before,
                Shows::Nothing => None,
            };
            let Some(small) = small else { continue };
            let pixel = |row: u16| {
                let (x, y) = (usize::from(x), 2 * usize::from(y) + usize::from(row));
                let pixel = small.pixels.get(y * small.width + x).copied().unwrap_or_default();
                if depth == Depth::Indexed { dithered(pixel, x, y) } else { pixel }
            };
            let (symbol, style) = cell(pixel(0), pixel(1), depth);
            canvas::put(buf, area.x + x, area.y + y, symbol, style);
        }
    }
}

/// Two pixels in one cell.
fn cell(upper: [u8; 3], lower: [u8; 3], depth: Depth) -> (&'static str, Style) {
    let color = |[r, g, b]: [u8; 3]| match depth {
        Depth::Full => Color::Rgb(r, g, b),
        _ => Color::Indexed(indexed([r, g, b])),
    };
    if depth == Depth::None {
        const SHADES: [&str; 5] = [" ", "░", "▒", "▓", "█"];
        let light = |[r, g, b]: [u8; 3]| 3 * usize::from(r) + 6 * usize::from(g) + usize::from(b);
        let shade = (light(upper) + light(lower)) * SHADES.len() / (2 * 10 * 256);
        return (SHADES.get(shade).copied().unwrap_or("█"), Style::new());
    }
    let (upper, lower) = (color(upper), color(lower));
    if upper == lower { (" ", Style::new().bg(lower)) } else { ("▀", Style::new().fg(upper).bg(lower)) }
}

/// A little lighter or darker, by its place: where few colours are left, neighbours together come nearer to the true one.
fn dithered(pixel: [u8; 3], x: usize, y: usize) -> [u8; 3] {
    const BAYER: [[i16; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];
    // Less than half of the 40 levels between two colours.
    let by = BAYER[y % 4][x % 4] * 2 - 15;
    pixel.map(|value| u8::try_from((i16::from(value) + by).clamp(0, 255)).unwrap_or(value))
}

/// The nearest of the 256 colours that all terminals have alike: a cube of 6 a side, and 24 greys.
fn indexed(pixel: [u8; 3]) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |value: u8| {
        let at = (0..6_u8).min_by_key(|n| STEPS.get(usize::from(*n)).map_or(u8::MAX, |step| step.abs_diff(value)));
        at.unwrap_or(0)
    };
    let far =
        |one: [u8; 3]| one.iter().zip(pixel).map(|(one, other)| u32::from(one.abs_diff(other)).pow(2)).sum::<u32>();
    let cube = pixel.map(nearest);
    let as_cube = cube.map(|n| STEPS.get(usize::from(n)).copied().unwrap_or(0));
    let mean = pixel.iter().map(|value| u16::from(*value)).sum::<u16>() / 3;
    let grey = u8::try_from(mean.saturating_sub(3) / 10).unwrap_or(23).min(23);
    let as_grey = [8 + 10 * grey; 3];
    if far(as_grey) < far(as_cube) { 232 + grey } else { 16 + 36 * cube[0] + 6 * cube[1] + cube[2] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_256_are_the_nearest() {
        assert_eq!(indexed([0, 0, 0]), 16);
        assert_eq!(indexed([255, 255, 255]), 231);
        assert_eq!(indexed([255, 0, 0]), 196);
        assert_eq!(indexed([128, 128, 128]), 244);
        assert_eq!(indexed([95, 135, 175]), 67);
    }

    #[test]
    fn a_cell_is_two_pixels_or_one_shade() {
        let (black, white) = ([0; 3], [255; 3]);
        assert_eq!(cell(black, white, Depth::Full).0, "▀");
        assert_eq!(cell(white, white, Depth::Indexed), (" ", Style::new().bg(Color::Indexed(231))));
        assert_eq!(cell(white, white, Depth::None), ("█", Style::new()));
        assert_eq!(cell(black, white, Depth::None).0, "▒");
    }
}
