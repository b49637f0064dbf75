//! iTerm2's inline images: a file in base64 within one escape sequence, as large as so many cells.
//!
//! <https://iterm2.com/documentation-images.html>. A picture is cut into strips of whole rows of cells.

use std::fmt::Write as _;

use ratatui::layout::Rect;

use super::{at, base64, png, rows};
use crate::tui::raster::Raster;

pub fn units(raster: &Raster, area: Rect, unit: usize) -> Vec<Vec<u8>> {
    // Two bytes a pixel, about.
    let bytes_a_row = 2 * raster.width * raster.height / usize::from(area.height.max(1));
    let strip = u16::try_from((unit / bytes_a_row.max(1)).max(1)).unwrap_or(u16::MAX).min(area.height);
    let pixels_to = |row: u16| usize::from(row) * raster.height / usize::from(area.height.max(1));
    let mut units = Vec::new();
    let mut top = 0;
    while top < area.height {
        let bottom = top.saturating_add(strip).min(area.height);
        // A poor picture may have fewer rows of pixels than of cells.
        let (from, to) = (pixels_to(top).min(raster.height.saturating_sub(1)), pixels_to(bottom));
        if let Some(part) = rows(raster, from, to.max(from + 1)) {
            let file = png(&part);
            let mut unit = at(area.x, area.y + top);
            let _ = write!(
                unit,
                "\x1b]1337;File=inline=1;size={};width={};height={};preserveAspectRatio=0;doNotMoveCursor=1:{}\x07",
                file.len(),
                area.width,
                bottom - top,
                base64(&file),
            );
            units.push(unit.into_bytes());
        }
        top = bottom;
    }
    units
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn strips_cover_the_place_from_top_to_bottom() {
        for (raster, area) in [(noise(100, 90), Rect::new(4, 6, 20, 10)), (noise(6, 3), Rect::new(0, 0, 20, 10))] {
            let units = units(&raster, area, 4096);
            let mut next = area.y;
            for unit in &units {
                let words = String::from_utf8(unit.clone()).unwrap();
                assert!(words.starts_with(&at(area.x, next)), "{words}");
                assert!(words.contains(";width=20;") && words.ends_with('\x07'));
                let high = words.split("height=").nth(1).unwrap().split(';').next().unwrap();
                next += high.parse::<u16>().unwrap();
            }
            assert_eq!(next, area.bottom());
        }
    }
}
