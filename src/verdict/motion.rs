//! How far a picture has moved between two frames: block matching on small, blurred pictures.
//!
//! Pure. Each block of the one is looked for in the other, within a few pixels and to a part of
//! a pixel; the sum of squared differences is taken with both blocks' means removed, so a step of
//! light is no motion. Which blocks tell something is known only when the whole clip has been
//! seen, so a pair of frames gives one [`Found`] a block, and [`Weights`] make one number of them.

use super::small::{Plane, Small};

/// Side of a block, pixels of the small picture.
const BLOCK: usize = 16;
/// How far a block is looked for, pixels of the small picture.
const REACH: usize = 8;
/// Blocks at most.
const BLOCKS: usize = 72;
/// A displacement of `d` pixels must lessen the difference by this share of the block's own
/// contrast, times d²: along a stripe, where every place fits as well, that decides for the nearest.
const NEARER: f32 = 0.002;

/// A block is found with an error of this many pixels at most. Blocks that went farther apart went apart.
pub const NOISE: f32 = 0.3;

/// The cosine of the angle (120°) beyond which one displacement goes against another.
const AGAINST: f32 = -0.5;

/// What became of one block.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Found {
    /// Where it went, pixels of the small picture.
    pub moved: [f32; 2],
    /// What is left of the difference where it fits best: 0 = nothing, 1 = as unlike as two
    /// pictures that have nothing to do with each other.
    pub unlike: f32,
    /// The mean squared difference in place, means removed, levels².
    pub change: f32,
}

/// Where the blocks lie. The same for all frames of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    side: usize,
    reach: usize,
    /// Upper left corners; even numbers, so that they are whole on the coarse picture too.
    corners: Vec<(usize, usize)>,
    /// Blocks that lie side by side and share no pixel.
    neighbours: Vec<(usize, usize)>,
}

impl Layout {
    /// Blocks that can be looked for in all directions without leaving the picture; none where it is too small.
    #[must_use]
    pub fn of(small: &Small) -> Self {
        let (width, height) = (small.fine.width, small.fine.height);
        let shorter = width.min(height);
        let side = if shorter >= 40 { BLOCK } else { BLOCK / 2 };
        // One pixel more than the reach, for the parts of a pixel.
        let reach = REACH.min((shorter.saturating_sub(side) / 2).saturating_sub(2) & !1);
        let margin = (reach + 2) & !1;
        if reach < 2 || shorter < side + 2 * margin {
            return Self { side, reach: 0, corners: Vec::new(), neighbours: Vec::new() };
        }
        let mut stride = side / 2;
        loop {
            let along = |length: usize| (margin..=length - margin - side).step_by(stride);
            let corners: Vec<_> = along(height).flat_map(|y| along(width).map(move |x| (x, y))).collect();
            if corners.len() <= BLOCKS {
                let neighbours = neighbours(&corners, side.next_multiple_of(stride));
                return Self { side, reach, corners, neighbours };
            }
            stride += 2;
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.corners.is_empty()
    }

    /// Looks for each block of `from` in `to`.
    #[must_use]
    pub fn search(&self, from: &Small, to: &Small) -> Vec<Found> {
        self.corners.iter().map(|corner| self.find(from, to, *corner)).collect()
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_wrap, reason = "a few pixels")]
    fn find(&self, from: &Small, to: &Small, (x, y): (usize, usize)) -> Found {
        let (side, reach) = (self.side, self.reach as isize);
        // On the coarse picture everywhere, then near the best of it and near the place itself.
        let half = Place { x: x / 2, y: y / 2, side: side / 2 };
        let coarse_reach = reach / 2;
        let coarse_bias = NEARER * 4.0 * half.contrast(&from.coarse);
        let mut near = (f32::INFINITY, 0, 0);
        for dy in -coarse_reach..=coarse_reach {
            for dx in -coarse_reach..=coarse_reach {
                let cost = half.difference(&from.coarse, &to.coarse, dx, dy) + coarse_bias * (dx * dx + dy * dy) as f32;
                if cost < near.0 {
                    near = (cost, 2 * dx, 2 * dy);
                }
            }
        }
        let place = Place { x, y, side };
        let own = place.contrast(&from.fine);
        let bias = NEARER * own;
        let still = place.difference(&from.fine, &to.fine, 0, 0);
        let mut best = (still, 0, 0);
        let mut look = |dx: isize, dy: isize| {
            let (dx, dy) = (dx.clamp(-reach, reach), dy.clamp(-reach, reach));
            let cost = place.difference(&from.fine, &to.fine, dx, dy) + bias * (dx * dx + dy * dy) as f32;
            if cost < best.0 {
                best = (cost, dx, dy);
            }
        };
        for dy in -1..=1 {
            for dx in -1..=1 {
                look(dx, dy);
            }
        }
        for dy in near.2 - 1..=near.2 + 1 {
            for dx in near.1 - 1..=near.1 + 1 {
                look(dx, dy);
            }
        }
        let (_, dx, dy) = best;
        let at = |dx: isize, dy: isize| place.difference(&from.fine, &to.fine, dx, dy);
        let here = at(dx, dy);
        let (part_x, left_x) = vertex(at(dx - 1, dy), here, at(dx + 1, dy));
        let (part_y, left_y) = vertex(at(dx, dy - 1), here, at(dx, dy + 1));
        let (dx, dy) = (dx as f32 + part_x, dy as f32 + part_y);
        let other = place.moved(best.1, best.2).contrast(&to.fine);
        let left = (here - left_x - left_y).max(0.0);
        Found {
            moved: [dx, dy],
            unlike: (left / (own + other).max(f32::MIN_POSITIVE)).min(1.0),
            change: still / (side * side) as f32,
        }
    }
}

/// Pairs of corners that are `apart` pixels from each other, along or across.
fn neighbours(corners: &[(usize, usize)], apart: usize) -> Vec<(usize, usize)> {
    let at = |corner: (usize, usize)| corners.iter().position(|other| *other == corner);
    let both =
        |(n, (x, y)): (usize, &(usize, usize))| [at((x + apart, *y)), at((*x, y + apart))].map(|m| Some((n, m?)));
    corners.iter().enumerate().flat_map(both).flatten().collect()
}

/// The lowest point of the parabola through three points at -1, 0 and 1: where, and how much below the middle.
fn vertex(before: f32, here: f32, after: f32) -> (f32, f32) {
    let bend = before - 2.0 * here + after;
    if bend <= 0.0 || here > before || here > after {
        return (0.0, 0.0);
    }
    let place = ((before - after) / (2.0 * bend)).clamp(-0.5, 0.5);
    (place, bend * place * place / 2.0)
}

#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    side: usize,
}

impl Place {
    fn moved(self, dx: isize, dy: isize) -> Self {
        Self { x: self.x.saturating_add_signed(dx), y: self.y.saturating_add_signed(dy), ..self }
    }

    fn rows(self, plane: &Plane) -> impl Iterator<Item = &[f32]> {
        let rows = plane.data.chunks_exact(plane.width.max(1)).skip(self.y).take(self.side);
        rows.map(move |row| row.get(self.x..self.x + self.side).unwrap_or_default())
    }

    /// The sum of squares about the mean.
    fn contrast(self, plane: &Plane) -> f32 {
        let mut sums = Sums::default();
        for row in self.rows(plane) {
            sums.add(row.as_chunks::<4>().0.iter().copied());
        }
        sums.about_the_mean(self.side)
    }

    /// The sum of squared differences, the mean difference taken out.
    fn difference(self, from: &Plane, to: &Plane, dx: isize, dy: isize) -> f32 {
        let mut sums = Sums::default();
        for (from, to) in self.rows(from).zip(self.moved(dx, dy).rows(to)) {
            let fours = from.as_chunks::<4>().0.iter().zip(to.as_chunks::<4>().0);
            sums.add(fours.map(|(a, b)| std::array::from_fn(|n| b[n] - a[n])));
        }
        sums.about_the_mean(self.side)
    }
}

/// Sums of numbers and of their squares, in four lanes.
#[derive(Default)]
struct Sums {
    sum: [f32; 4],
    squares: [f32; 4],
}

impl Sums {
    #[inline]
    fn add(&mut self, fours: impl Iterator<Item = [f32; 4]>) {
        for four in fours {
            for (lane, value) in four.into_iter().enumerate() {
                self.sum[lane] += value;
                self.squares[lane] += value * value;
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of pixels")]
    fn about_the_mean(&self, side: usize) -> f32 {
        let sum: f32 = self.sum.iter().sum();
        let squares: f32 = self.squares.iter().sum();
        (squares - sum * sum / (side * side) as f32).max(0.0)
    }
}

/// How much each block tells.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    /// They add up to 1, or there are none.
    of_blocks: Vec<f32>,
    neighbours: Vec<(usize, usize)>,
}

impl Weights {
    /// `far`: the first frame against later ones. `near`: neighbours. A block tells the more the more
    /// it changes over the clip, and nothing where its own neighbours don't resemble it.
    #[must_use]
    pub fn of(layout: Option<&Layout>, far: &[&[Found]], near: &[&[Found]]) -> Self {
        let Some(layout) = layout else { return Self::default() };
        let weight = |block: usize| {
            let change: f32 = far.iter().filter_map(|pair| pair.get(block)).map(|found| found.change).sum();
            let mut unlike: Vec<f32> = near.iter().filter_map(|pair| pair.get(block)).map(|f| f.unlike).collect();
            change * (1.0 - 2.0 * median(&mut unlike)).max(0.0)
        };
        let weights: Vec<f32> = (0..layout.corners.len()).map(weight).collect();
        let total: f32 = weights.iter().sum();
        if total <= 0.0 {
            return Self::default();
        }
        let of_blocks = weights.into_iter().map(|weight| weight / total).collect();
        Self { of_blocks, neighbours: layout.neighbours.clone() }
    }

    /// False where no block tells anything.
    #[must_use]
    pub fn tell(&self) -> bool {
        !self.of_blocks.is_empty()
    }

    /// The displacement of a pair, pixels of the small picture: the root of the mean square over the
    /// blocks, less the noise of finding them. Of that each block has its own, so half the mean square of what
    /// blocks side by side differ by is about as much.
    #[must_use]
    pub fn distance(&self, pair: &[Found]) -> f32 {
        let squares: f32 = self.of_blocks.iter().zip(pair).map(|(weight, found)| weight * square(found.moved)).sum();
        let (mut noise, mut total) = (0.0, 0.0);
        for (a, b) in &self.neighbours {
            let (Some(one), Some(other)) = (pair.get(*a), pair.get(*b)) else { continue };
            let weight = |n: usize| self.of_blocks.get(n).copied().unwrap_or(0.0);
            let weight = weight(*a).min(weight(*b));
            let apart = [0, 1].map(|axis| one.moved[axis] - other.moved[axis]);
            noise += weight * square(apart) / 2.0;
            total += weight;
        }
        let noise = if total > 0.0 { (noise / total).min(NOISE * NOISE) } else { 0.0 };
        (squares - noise).max(0.0).sqrt()
    }

    /// How far two pairs go along each other: the mean product of their displacements, pixels².
    #[must_use]
    pub fn along(&self, one: &[Found], other: &[Found]) -> f32 {
        let products = one.iter().zip(other).map(|(one, other)| dot(one.moved, other.moved));
        self.of_blocks.iter().zip(products).map(|(weight, product)| weight * product).sum()
    }

    /// How far the displacements of two pairs are from each other, pixels.
    #[must_use]
    pub fn apart(&self, one: &[Found], other: &[Found]) -> f32 {
        (self.along(one, one) - 2.0 * self.along(one, other) + self.along(other, other)).max(0.0).sqrt()
    }

    /// True where a step goes against the one before it and the one behind it, and all three go far enough to tell.
    #[must_use]
    pub fn turns_back(&self, before: &[Found], here: &[Found], after: &[Found]) -> bool {
        let length = |pair: &[Found]| self.along(pair, pair).sqrt();
        let against = |one, other| self.along(one, other) < AGAINST * length(one) * length(other);
        let tells = [before, here, after].iter().all(|pair| self.distance(pair) > NOISE / 2.0);
        tells && against(before, here) && against(here, after)
    }

    /// The mean of what no displacement explains, 0 to 1.
    #[must_use]
    pub fn unlike(&self, pair: &[Found]) -> f32 {
        self.of_blocks.iter().zip(pair).map(|(weight, found)| weight * found.unlike).sum()
    }
}

fn dot([x, y]: [f32; 2], [u, v]: [f32; 2]) -> f32 {
    x * u + y * v
}

fn square(moved: [f32; 2]) -> f32 {
    dot(moved, moved)
}

/// The middle one, the higher of two; 0 of none.
pub fn median(values: &mut [f32]) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
