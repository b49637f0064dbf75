//! Made-up clips with known truth: textures that move, close or don't, with faults and noise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use comfytop::verdict::{Rgb, Verdict};

/// What is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Texture {
    /// Clouds of several sizes; the number is the finest one's, pixels.
    Clouds(f32),
    /// Diagonal waves.
    Stripes(f32),
    Checks(f32),
    /// A few soft discs on a plain ground.
    Discs,
}

/// How it moves; numbers are pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Motion {
    /// The view goes round a circle once.
    Circle {
        speed: f32,
    },
    /// There and back, slower at the ends.
    Swing {
        width: f32,
    },
    /// Straight on, never back.
    Pan {
        speed: f32,
    },
    /// A patch of it goes round a circle over a ground that stands.
    Patch {
        speed: f32,
    },
    /// The picture turns by an angle there and back.
    Sway {
        degrees: f32,
    },
    /// Nothing moves; the colours go round.
    Hues,
    Nothing,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// The first frame once more at the end.
    DoubledLast,
    /// The first frame so many times more at the end.
    FirstHeld(usize),
    /// The last frame so many times more at the end.
    LastHeld(usize),
    /// The first frame so many times more at the beginning.
    StartHeld(usize),
    /// Its own first frames again at the end, so many.
    Overrun(usize),
    /// So many frames are missing before the end.
    Skipped(usize),
    /// So many stray frames at the end.
    Tail(usize),
    /// So many stray frames at the beginning.
    Head(usize),
    /// Ends brighter by this share.
    Brighter(f32),
    /// A + reverse(A), both ends twice.
    NaiveBoomerang,
    /// A + reverse(A) without both ends twice.
    TrimmedBoomerang,
    /// Cut off in the middle of the loop.
    Half,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clip {
    pub width: u32,
    pub height: u32,
    pub frames: usize,
    pub texture: Texture,
    pub motion: Motion,
    pub fault: Fault,
    /// Standard deviation of grain, levels; new in each frame.
    pub grain: f32,
    pub seed: u32,
}

impl Clip {
    /// What the judge must say, and how many frames at the end its cut must drop (± 1).
    pub fn truth(&self) -> (Verdict, Option<u32>) {
        match (self.motion, self.fault) {
            (Motion::Nothing, _) => (Verdict::Still, None),
            (Motion::Pan { .. }, Fault::None) => (Verdict::Jumps, None),
            (_, Fault::None | Fault::TrimmedBoomerang) => (Verdict::Loops, None),
            (_, Fault::DoubledLast) => (Verdict::Nearly, Some(1)),
            (_, Fault::StartHeld(_)) => (Verdict::Nearly, None),
            (_, Fault::Tail(count) | Fault::FirstHeld(count) | Fault::LastHeld(count) | Fault::Overrun(count)) => {
                (Verdict::Nearly, Some(u32::try_from(count).unwrap()))
            }
            (_, Fault::Head(_)) | (_, Fault::NaiveBoomerang) => (Verdict::Nearly, None),
            (_, Fault::Brighter(_)) => (Verdict::Pulses, None),
            (_, Fault::Skipped(_) | Fault::Half) => (Verdict::Jumps, None),
        }
    }

    /// Its frames, one after another.
    pub fn frames(&self) -> Vec<Rgb> {
        let ground = Ground::new(self.texture, self.seed);
        let mut noise = Chance(self.seed ^ 0x5bd1_e995);
        self.moments().iter().map(|moment| self.frame(&ground, moment, &mut noise)).collect()
    }

    /// Where in its loop each frame is, and how far astray and how bright.
    fn moments(&self) -> Vec<Moment> {
        let count = self.frames;
        let at = |n: usize| Moment { phase: n as f32 / count as f32, astray: 0.0, light: 1.0 };
        let mut moments: Vec<_> = (0..count).map(at).collect();
        match self.fault {
            Fault::None => {}
            Fault::DoubledLast => moments.push(at(0)),
            Fault::FirstHeld(more) => moments.extend((0..more).map(|_| at(0))),
            Fault::LastHeld(more) => moments.extend((0..more).map(|_| at(count - 1))),
            Fault::StartHeld(more) => moments = (0..more).map(|_| at(0)).chain(moments).collect(),
            Fault::Overrun(more) => moments.extend((0..more).map(at)),
            Fault::Skipped(skipped) => moments.truncate(count - skipped),
            Fault::Half => moments.truncate(count / 2),
            Fault::Tail(stray) => moments.extend((1..=stray).map(|n| Moment { astray: n as f32, ..at(0) })),
            Fault::Head(stray) => {
                let head = (1..=stray).rev().map(|n| Moment { astray: n as f32, ..at(0) });
                moments = head.chain(moments).collect();
            }
            Fault::Brighter(share) => {
                for (n, moment) in moments.iter_mut().enumerate() {
                    moment.light = 1.0 + share * n as f32 / (count - 1) as f32;
                }
            }
            Fault::NaiveBoomerang | Fault::TrimmedBoomerang => {
                moments.truncate(count / 2);
                let mut back: Vec<_> = moments.iter().rev().copied().collect();
                if self.fault == Fault::TrimmedBoomerang {
                    back.remove(0);
                    back.pop();
                }
                moments.extend(back);
            }
        }
        moments
    }

    /// Pixels that a frame differs from the next, about.
    pub fn speed(&self) -> f32 {
        let count = self.frames as f32;
        match self.motion {
            Motion::Circle { speed } | Motion::Pan { speed } | Motion::Patch { speed } => speed,
            Motion::Swing { width } => 2.0 * width / count,
            Motion::Sway { degrees } => degrees.to_radians() * 2.0 / count * self.width.min(self.height) as f32 / 3.0,
            Motion::Hues | Motion::Nothing => 1.0,
        }
    }

    fn frame(&self, ground: &Ground, moment: &Moment, noise: &mut Chance) -> Rgb {
        let (width, height) = (self.width as usize, self.height as usize);
        let turn = moment.phase * std::f32::consts::TAU;
        let count = self.frames as f32;
        let stray = moment.astray * self.speed() * 2.0;
        let mut offset = (stray * 0.8, stray * 0.6);
        let (mut angle, mut hue) = (0.0_f32, 0.0_f32);
        match self.motion {
            Motion::Circle { speed } | Motion::Patch { speed } => {
                let radius = speed * count / std::f32::consts::TAU;
                offset.0 += radius * turn.cos();
                offset.1 += radius * turn.sin();
            }
            Motion::Swing { width } => offset.0 += width / 2.0 * turn.cos(),
            Motion::Pan { speed } => offset.0 += speed * moment.phase * count,
            Motion::Sway { degrees } => angle = degrees.to_radians() / 2.0 * turn.sin(),
            Motion::Hues => hue = turn,
            Motion::Nothing => {}
        }
        let middle = (width as f32 / 2.0, height as f32 / 2.0);
        let patch = matches!(self.motion, Motion::Patch { .. });
        let side = width.min(height) as f32 / 4.0;
        let (sin, cos) = angle.sin_cos();
        let mut data = vec![0; width * height * 3];
        for y in 0..height {
            for x in 0..width {
                let (u, v) = (x as f32 - middle.0, y as f32 - middle.1);
                let inside = !patch || ((u - offset.0).abs() < side && (v - offset.1).abs() < side);
                let colour = if inside {
                    ground.at(u * cos - v * sin - offset.0, u * sin + v * cos - offset.1)
                } else {
                    ground.at(u + 300.5, v + 77.25)
                };
                let colour = turned(colour, hue);
                for (channel, level) in colour.into_iter().enumerate() {
                    let level = level * moment.light + self.grain * noise.normal();
                    data[channel * width * height + y * width + x] = level.round().clamp(0.0, 255.0) as u8;
                }
            }
        }
        Rgb::from_planes(self.width, self.height, data).unwrap()
    }
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    phase: f32,
    astray: f32,
    light: f32,
}

/// Red, green and blue, changed into each other.
fn turned(colour: [f32; 3], hue: f32) -> [f32; 3] {
    if hue == 0.0 {
        return colour;
    }
    std::array::from_fn(|n| {
        let weight = |m: usize| (1.0 + 2.0 * (hue + (n + 3 - m) as f32 * std::f32::consts::TAU / 3.0).cos()) / 3.0;
        (0..3).map(|m| weight(m) * colour[m]).sum()
    })
}

/// An endless picture.
struct Ground {
    texture: Texture,
    tile: Arc<Tile>,
    discs: Vec<(f32, f32, f32, [f32; 3])>,
}

const TILE: usize = 256;

impl Ground {
    fn new(texture: Texture, seed: u32) -> Self {
        let mut chance = Chance(seed.wrapping_mul(2_654_435_761).max(1));
        let tile = if let Texture::Clouds(finest) = texture { clouds(finest, seed) } else { Arc::default() };
        let discs = (0..60)
            .map(|_| {
                let mut within = |most: f32| (chance.unit() - 0.5) * most;
                (within(600.0), within(600.0), 14.0 + within(40.0).abs(), [within(180.0), within(180.0), within(180.0)])
            })
            .collect();
        Self { texture, tile, discs }
    }

    fn at(&self, x: f32, y: f32) -> [f32; 3] {
        match self.texture {
            Texture::Clouds(_) => smooth(&self.tile, TILE, x + 128.0, y + 128.0),
            Texture::Stripes(length) => {
                let wave = ((x * 0.8 + y * 0.6) * std::f32::consts::TAU / length).sin();
                [128.0 + 80.0 * wave, 120.0 + 60.0 * wave, 100.0 - 50.0 * wave]
            }
            Texture::Checks(side) => {
                let edge = |at: f32| ((at * std::f32::consts::PI / side).sin() * 6.0).clamp(-1.0, 1.0);
                let level = edge(x) * edge(y);
                [130.0 + 90.0 * level, 130.0 + 80.0 * level, 120.0 - 60.0 * level]
            }
            Texture::Discs => {
                let mut colour = [120.0, 130.0, 140.0];
                for (u, v, radius, paint) in &self.discs {
                    let wrap = |d: f32| d - (d / 600.0).round() * 600.0;
                    let distance = wrap(x - u).hypot(wrap(y - v));
                    let share = ((radius - distance) / 6.0 + 0.5).clamp(0.0, 1.0);
                    for channel in 0..3 {
                        colour[channel] += share * paint[channel];
                    }
                }
                colour
            }
        }
    }
}

/// The colours of its pixels, row by row.
type Tile = Vec<[f32; 3]>;

/// Made once for all clips that show it.
fn clouds(finest: f32, seed: u32) -> Arc<Tile> {
    static MADE: Mutex<BTreeMap<(u32, u32), Arc<Tile>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(made.entry((finest.to_bits(), seed)).or_insert_with(|| {
        let mut chance = Chance(seed.wrapping_mul(2_654_435_761).max(1));
        let mut tile = vec![[128.0; 3]; TILE * TILE];
        let mut size = 64.0_f32;
        while size >= finest {
            let cells = (TILE as f32 / size) as usize;
            let mut knot = |_| std::array::from_fn(|_| chance.unit() - 0.5);
            let knots: Vec<[f32; 3]> = (0..cells * cells).map(&mut knot).collect();
            for (n, pixel) in tile.iter_mut().enumerate() {
                let place = |at: usize| at as f32 * cells as f32 / TILE as f32;
                let value = smooth(&knots, cells, place(n % TILE), place(n / TILE));
                for channel in 0..3 {
                    pixel[channel] += 70.0 * value[channel];
                }
            }
            size /= 2.0;
        }
        Arc::new(tile)
    }))
}

/// Between four knots of a tile that repeats.
fn smooth(knots: &[[f32; 3]], side: usize, x: f32, y: f32) -> [f32; 3] {
    let (left, top) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - left), ease(y - top));
    let wrap = |n: f32| (n as i64).rem_euclid(side as i64) as usize;
    let knot = |dx: f32, dy: f32| knots[wrap(top + dy) * side + wrap(left + dx)];
    let (a, b, c, d) = (knot(0.0, 0.0), knot(1.0, 0.0), knot(0.0, 1.0), knot(1.0, 1.0));
    std::array::from_fn(|n| (a[n] * (1.0 - u) + b[n] * u) * (1.0 - v) + (c[n] * (1.0 - u) + d[n] * u) * v)
}

/// Numbers without a pattern, the same for the same seed (xorshift).
struct Chance(u32);

impl Chance {
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0 >> 8) as f32 / (1 << 24) as f32
    }

    /// About normal, standard deviation 1.
    fn normal(&mut self) -> f32 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732
    }
}
