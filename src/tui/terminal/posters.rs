//! Which pictures the terminal has been sent, for those that are no text: kitty's, iTerm2's and sixels.
//!
//! Pure: what hangs goes in, bytes come out, a unit at a time. A picture that goes, or is replaced, while it is being
//! sent is sent no further.

use std::collections::VecDeque;
use std::sync::Arc;

use ratatui::layout::Rect;

use crate::tui::graphics::{Graphics, Means, Wanted, kitty};

#[derive(Debug)]
struct Poster {
    wanted: Wanted,
    /// Pixels it was sent with.
    pixels: usize,
}

impl Poster {
    fn is(&self, wanted: &Wanted) -> bool {
        self.wanted.area == wanted.area && Arc::ptr_eq(&self.wanted.raster, &wanted.raster)
    }
}

#[derive(Debug, Default)]
pub struct Posters {
    graphics: Graphics,
    /// By slot; what is in `queue` counts as sent.
    sent: Vec<Option<Poster>>,
    queue: VecDeque<Vec<u8>>,
    /// The first units of a picture were written, and not its last.
    open: bool,
    /// Bytes that a picture could have when some were sent last.
    most: usize,
}

impl Posters {
    /// Another way of showing them from here on.
    pub fn set(&mut self, graphics: Graphics) {
        *self = Self { graphics, ..Self::default() };
    }

    /// The screen was lost, with all that was on it.
    pub fn forget(&mut self) {
        self.set(self.graphics);
    }

    /// What hangs now. Returns the areas of those that are no more: their cells are to be written anew.
    /// `most`: bytes that one picture may have; `unit`: those that are written in one.
    pub fn hang(&mut self, wanted: &[Wanted], most: usize, unit: usize) -> Vec<Rect> {
        if self.graphics.means == Means::Blocks {
            return Vec::new();
        }
        let slots = self.sent.len().max(wanted.len());
        self.sent.resize_with(slots, || None);
        let same = (0..slots).all(|slot| match (self.sent.get(slot), wanted.get(slot)) {
            (Some(Some(poster)), Some(wanted)) => poster.is(wanted),
            (Some(None) | None, None) => true,
            _ => false,
        });
        if same {
            return Vec::new();
        }
        self.most = most;
        let mut cleared = Vec::new();
        let cut = std::mem::take(&mut self.open) && !self.queue.is_empty();
        // Of what was not sent to its end, nothing is known.
        let unsent = !self.queue.is_empty();
        self.queue.clear();
        if cut && self.graphics.means == Means::Kitty {
            self.queue.push_back(kitty::cut_short(self.graphics.tmux));
        }
        for slot in 0..slots {
            let before = self.sent.get_mut(slot).and_then(Option::take);
            match (before, wanted.get(slot)) {
                (Some(poster), Some(wanted)) if !unsent && poster.is(wanted) => self.keep(slot, poster),
                (before, Some(wanted)) => {
                    cleared.extend(before.map(|poster| poster.wanted.area).filter(|area| *area != wanted.area));
                    let (units, pixels) = self.graphics.units(&wanted.raster, wanted.area, slot, (most, unit));
                    self.queue.extend(units);
                    self.keep(slot, Poster { wanted: wanted.clone(), pixels });
                }
                (Some(poster), None) => {
                    cleared.push(poster.wanted.area);
                    self.queue.extend(Some(self.graphics.forget(slot)).filter(|bytes| !bytes.is_empty()));
                }
                (None, None) => {}
            }
        }
        self.sent.truncate(wanted.len());
        // Kitty's pictures lie in the text, which is written as such.
        if self.graphics.means == Means::Kitty { Vec::new() } else { cleared }
    }

    fn keep(&mut self, slot: usize, poster: Poster) {
        if let Some(place) = self.sent.get_mut(slot) {
            *place = Some(poster);
        }
    }

    /// With more bytes to spend, sends anew what was sent poorer than it could be.
    pub fn refine(&mut self, most: usize, unit: usize) {
        if !self.queue.is_empty() || most < self.most * 3 / 2 {
            return;
        }
        self.most = most;
        for slot in 0..self.sent.len() {
            let Some(Some(poster)) = self.sent.get(slot) else { continue };
            let wanted = poster.wanted.clone();
            let (units, pixels) = self.graphics.units(&wanted.raster, wanted.area, slot, (most, unit));
            if pixels > poster.pixels * 3 / 2 {
                self.queue.extend(units);
                self.keep(slot, Poster { wanted, pixels });
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next bytes to write.
    pub fn next_unit(&mut self) -> Option<Vec<u8>> {
        let unit = self.queue.pop_front()?;
        self.open = !self.queue.is_empty();
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::raster::Raster;

    fn wanted(x: u16, value: u8) -> Wanted {
        let raster = Raster::new(40, 40, vec![[value; 3]; 1600]).unwrap();
        Wanted { area: Rect::new(x, 2, 8, 4), raster: Arc::new(raster) }
    }

    fn sent(posters: &mut Posters) -> String {
        std::iter::from_fn(|| posters.next_unit()).map(|unit| String::from_utf8(unit).unwrap()).collect()
    }

    fn posters(means: Means) -> Posters {
        let mut posters = Posters::default();
        posters.set(Graphics { means, ..Graphics::default() });
        posters
    }

    #[test]
    fn what_hangs_is_sent_once_and_only_what_changes_again() {
        for means in [Means::Kitty, Means::Iterm2, Means::Sixel] {
            let mut posters = posters(means);
            let (one, two) = (wanted(1, 10), wanted(20, 20));
            assert!(posters.hang(&[one.clone(), two.clone()], 1 << 20, 4096).is_empty());
            assert!(!sent(&mut posters).is_empty());
            posters.hang(&[one.clone(), two.clone()], 1 << 20, 4096);
            assert_eq!(sent(&mut posters), "", "{means:?}");
            let all = sent({
                posters.hang(&[one.clone(), wanted(20, 30)], 1 << 20, 4096);
                &mut posters
            });
            assert!(!all.contains("\x1b[3;2H") && !all.contains("i=201,"), "{means:?}: the first stays");
            posters.forget();
            posters.hang(&[one], 1 << 20, 4096);
            assert!(!sent(&mut posters).is_empty(), "a lost screen is painted anew");
        }
    }

    #[test]
    fn the_cells_of_one_that_goes_are_written_anew() {
        let one = wanted(1, 10);
        let mut inline = posters(Means::Iterm2);
        inline.hang(std::slice::from_ref(&one), 1 << 20, 4096);
        sent(&mut inline);
        assert_eq!(inline.hang(&[], 1 << 20, 4096), [one.area]);
        let mut kitty = posters(Means::Kitty);
        kitty.hang(std::slice::from_ref(&one), 1 << 20, 4096);
        sent(&mut kitty);
        assert!(kitty.hang(&[], 1 << 20, 4096).is_empty());
        assert!(sent(&mut kitty).contains("a=d,d=I,i=201"));
        let mut blocks = posters(Means::Blocks);
        assert!(blocks.hang(&[one], 1 << 20, 4096).is_empty() && blocks.is_empty());
    }

    #[test]
    fn one_that_is_replaced_half_way_is_sent_no_further() {
        let mut posters = posters(Means::Kitty);
        let large = |value| {
            let pixels = (0..160_000_u32).map(|n| [n.to_le_bytes()[0] ^ value, n.to_le_bytes()[1], value]).collect();
            Wanted { area: Rect::new(0, 0, 40, 20), raster: Arc::new(Raster::new(400, 400, pixels).unwrap()) }
        };
        posters.hang(&[large(1)], 1 << 20, 4096);
        posters.next_unit();
        posters.hang(&[wanted(0, 9)], 1 << 20, 4096);
        let all = sent(&mut posters);
        assert!(all.starts_with("\x1b_Gq=2,m=0;\x1b\\"), "{}", &all[..40]);
        assert_eq!(all.matches("a=T").count(), 1);
    }

    #[test]
    fn what_was_sent_poor_is_sent_better_when_the_line_bears_it() {
        let mut posters = posters(Means::Kitty);
        let pixels = (0..160_000_u32).map(|n| [n.to_le_bytes()[0], n.to_le_bytes()[1], 9]).collect();
        let picture =
            Wanted { area: Rect::new(0, 0, 40, 20), raster: Arc::new(Raster::new(400, 400, pixels).unwrap()) };
        posters.hang(&[picture], 4096, 4096);
        sent(&mut posters);
        posters.refine(4096, 4096);
        assert!(posters.is_empty());
        posters.refine(1 << 20, 4096);
        assert!(!posters.is_empty());
        sent(&mut posters);
        posters.refine(1 << 20, 4096);
        assert!(posters.is_empty(), "once is enough");
    }
}
