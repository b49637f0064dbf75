//! A picture as pixels, made as small as cells need it, and fitted into places.
//!
//! Pure.

use ratatui::layout::Rect;

/// Pixels, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Raster {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<[u8; 3]>,
}

impl std::fmt::Debug for Raster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Raster({}x{})", self.width, self.height)
    }
}

impl Raster {
    /// None unless there are as many pixels as the size says, and at least one.
    pub fn new(width: usize, height: usize, pixels: Vec<[u8; 3]>) -> Option<Self> {
        (width.checked_mul(height)? == pixels.len() && !pixels.is_empty()).then_some(Self { width, height, pixels })
    }

    /// Each pixel of the new one is the mean of those that it stands for (or the nearest, where it is larger).
    #[must_use]
    pub fn scaled(&self, width: usize, height: usize) -> Self {
        let part = |n: usize, of: usize, from: usize| {
            let start = n * from / of.max(1);
            start..((n + 1) * from / of.max(1)).max(start + 1).min(from)
        };
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let rows = part(y, height, self.height);
            for x in 0..width {
                let columns = part(x, width, self.width);
                let (mut sum, mut count) = ([0_u32; 3], 0_u32);
                for row in rows.clone() {
                    let from = row * self.width;
                    for pixel in self.pixels.get(from + columns.start..from + columns.end).unwrap_or_default() {
                        for (sum, value) in sum.iter_mut().zip(pixel) {
                            *sum += u32::from(*value);
                        }
                        count += 1;
                    }
                }
                pixels.push(sum.map(|sum| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX)));
            }
        }
        Self { width, height, pixels }
    }
}

/// The cells that a picture takes within a place: as large as it can be, in its shape, in the middle.
/// `cell`: the size of a cell in pixels.
pub fn fitted(raster: &Raster, place: Rect, cell: (u16, u16)) -> Rect {
    let (wide, high) = (u64::from(place.width) * u64::from(cell.0), u64::from(place.height) * u64::from(cell.1));
    let (width, height) = (raster.width.max(1) as u64, raster.height.max(1) as u64);
    // As wide as the place, or as high, whichever is less.
    let (wide, high) =
        if wide * height <= high * width { (wide, wide * height / width) } else { (high * width / height, high) };
    let cells = |pixels: u64, cell: u16, most: u16| {
        let cell = u64::from(cell.max(1));
        u16::try_from((pixels + cell / 2) / cell).unwrap_or(most).clamp(most.min(1), most)
    };
    let (width, height) = (cells(wide, cell.0, place.width), cells(high, cell.1, place.height));
    Rect { x: place.x + (place.width - width) / 2, y: place.y + (place.height - height) / 2, width, height }
}

/// Cells that a label wants, and those between pictures.
const LABEL: u16 = 10;
const GAP: u16 = 2;

/// How many of a place's columns so many pictures of one shape can use: side by side, as high as it is.
pub fn wanted(count: usize, like: &Raster, place: Rect, cell: (u16, u16)) -> u16 {
    let count = u16::try_from(count).unwrap_or(u16::MAX).max(1);
    let one = fitted(like, Rect { height: place.height.saturating_sub(1), ..place }, cell).width.max(LABEL);
    count.saturating_mul(one + GAP).saturating_sub(GAP).min(place.width)
}

/// Places for so many pictures of one shape, in rows: those in which they are largest, close together in the middle.
/// Each has a line for its label above it.
pub fn places(count: usize, like: &Raster, area: Rect, cell: (u16, u16)) -> Vec<Rect> {
    let count = u16::try_from(count).unwrap_or(u16::MAX).max(1);
    let slot = |columns: u16| {
        let (width, height) = ((area.width + GAP) / columns, area.height / count.div_ceil(columns));
        Rect { x: 0, y: 0, width: width.saturating_sub(GAP), height: height.saturating_sub(1) }
    };
    let size = |columns: &u16| {
        let Rect { width, height, .. } = fitted(like, slot(*columns), cell);
        u32::from(width) * u32::from(height)
    };
    // The last of equals wins: fewer columns leave more room for labels.
    let columns = (1..=count).rev().max_by_key(size).unwrap_or(1);
    let slot = slot(columns);
    let width = fitted(like, slot, cell).width.max(LABEL).min(slot.width);
    let left = (area.width + GAP).saturating_sub(columns * (width + GAP)) / 2;
    let place = |n: u16| Rect {
        x: area.x + left + (n % columns) * (width + GAP),
        y: area.y + (n / columns) * (slot.height + 1) + 1,
        width,
        height: slot.height,
    };
    (0..count).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: (u16, u16) = (10, 20);

    fn raster(width: usize, height: usize) -> Raster {
        Raster::new(width, height, vec![[7, 8, 9]; width * height]).unwrap()
    }

    #[test]
    fn pixels_are_means() {
        let two = Raster::new(2, 1, vec![[0, 10, 255], [100, 20, 255]]).unwrap();
        assert_eq!(two.scaled(1, 1).pixels, [[50, 15, 255]]);
        assert_eq!(two.scaled(4, 2).pixels[3], [100, 20, 255]);
        assert!(Raster::new(2, 2, vec![[0; 3]; 3]).is_none());
    }

    #[test]
    fn pictures_keep_their_shape_and_stay_in_their_place() {
        // 480x848 in 20x20 cells of 200x400 pixels: as wide as the place.
        assert_eq!(fitted(&raster(480, 848), Rect::new(0, 0, 20, 20), CELL), Rect::new(0, 1, 20, 18));
        assert_eq!(fitted(&raster(848, 480), Rect::new(3, 0, 20, 20), CELL), Rect::new(3, 7, 20, 6));
        let shapes = [raster(48, 85), raster(85, 48), raster(1, 400), raster(400, 1)];
        for (width, height) in (0..40).flat_map(|w| (0..30).map(move |h| (w, h))) {
            for shape in &shapes {
                let place = Rect::new(5, 7, width, height);
                let at = fitted(shape, place, CELL);
                assert_eq!(at.intersection(place), at, "{place:?}");
                for count in 1..9 {
                    for at in places(count, shape, place, CELL) {
                        assert!(at.is_empty() || at.intersection(place) == at, "{place:?}: {at:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn wide_pictures_lie_above_each_other_and_high_ones_side_by_side() {
        let area = Rect::new(0, 0, 55, 22);
        let high = places(2, &raster(480, 848), area, CELL);
        assert_eq!((high[0].y, high[1].y), (1, 1));
        assert_eq!(high[1].x - high[0].right(), 2, "close together");
        let wide = places(2, &raster(848, 480), area, CELL);
        assert_eq!(wide[0].x, wide[1].x);
        assert_eq!(places(8, &raster(480, 848), Rect::new(0, 0, 118, 12), CELL)[7].y, 1, "all in one row");
        // They need no more columns than that.
        let needed = wanted(2, &raster(480, 848), area, CELL);
        assert_eq!(needed, 2 * high[0].width + 2);
        assert_eq!(wanted(1, &raster(480, 848), area, CELL), high[0].width);
        assert_eq!(wanted(2, &raster(848, 480), area, CELL), 55, "all that there are");
    }
}
