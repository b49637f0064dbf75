//! Pictures, from what is wanted to what hangs in the pane, and what the terminal's side is told of them.

use std::sync::Arc;

use ratatui::layout::Rect;

use super::{App, Command};
use crate::config::PictureMeans;
use crate::tui::gallery::Subject;
use crate::tui::graphics::{Graphics, Means, Wanted};
use crate::tui::paint::Hyperlink;
use crate::tui::panes::{self, pictures::Hung};
use crate::tui::theme::Depth;

/// The pictures as they hang.
#[derive(Debug)]
pub(in crate::tui) struct Wall {
    pub(in crate::tui) hung: Vec<Hung>,
    /// Those before them in the same places.
    pub(in crate::tui) under: Vec<Hung>,
    /// What each cell of the pane shows, row by row.
    cells: Vec<Shows>,
    /// Cells that are to show the new ones still.
    left: usize,
    /// Where, and how they are shown.
    hung_in: (Rect, Option<Graphics>),
    /// They are others than in the frame before.
    is_new: bool,
    /// No more of them now; else so many cells with a frame.
    held: bool,
    piece: usize,
}

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tui) enum Shows {
    /// The picture.
    Now,
    /// The one before it.
    Before,
    /// None yet: what lay over it has just gone.
    Nothing,
}

impl Wall {
    pub(in crate::tui) fn shows(&self, (x, y): (u16, u16)) -> Shows {
        let pane = self.hung_in.0;
        let at =
            usize::from(y.saturating_sub(pane.y)) * usize::from(pane.width) + usize::from(x.saturating_sub(pane.x));
        self.cells.get(at).copied().unwrap_or(Shows::Now)
    }

    /// Pictures in half blocks come cell by cell, as many as the line bears with this frame; where something lies over
    /// them, they come again when it goes. Others are sent by the terminal's side.
    fn unroll(&mut self, covers: &[Rect]) {
        let mut room = if self.held { 0 } else { self.piece.max(1) };
        (self.is_new, self.left) = (false, 0);
        for (shows, at) in self.cells.iter_mut().zip(self.hung_in.0.positions()) {
            let is_covered = covers.iter().any(|area| area.contains(at));
            if !self.hung.iter().any(|hung| hung.area.contains(at)) {
                *shows = Shows::Now;
            } else if is_covered {
                *shows = Shows::Nothing;
            } else if *shows != Shows::Now && room > 0 {
                (*shows, room, self.is_new) = (Shows::Now, room - 1, true);
            } else if *shows != Shows::Now {
                self.left += 1;
            }
        }
    }
}

impl Default for Wall {
    fn default() -> Self {
        Self {
            hung: Vec::new(),
            under: Vec::new(),
            cells: Vec::new(),
            left: 0,
            hung_in: (Rect::ZERO, None),
            is_new: false,
            held: false,
            piece: usize::MAX,
        }
    }
}

impl App {
    /// Pictures are of the selected job, or of the attempt under the ranking's cursor.
    pub(super) fn turn_pictures(&mut self) {
        let subject = match &self.ranking {
            // Until the engine has answered those of the job stay.
            Some(ranking) if ranking.rows.is_none() => return,
            Some(ranking) => ranking.selected().map(Subject::of_attempt),
            None => {
                let running = self.jobs.running().map(|entry| entry.row.id);
                self.jobs.selected().map(|entry| Subject::of(&entry.row, running))
            }
        };
        self.gallery.turn_to(subject, self.now);
    }

    /// Pictures have a place on the screen.
    pub fn shows_pictures(&self) -> bool {
        self.gallery.is_open() && !self.areas().pictures.is_empty()
    }

    pub(super) fn want_pictures(&mut self) -> Option<Command> {
        let has_room = self.shows_pictures();
        self.gallery.want(self.now, self.is_up(), has_room)
    }

    pub(super) fn prepare_pictures(&mut self) {
        // One is unrolled to its end before the next begins.
        self.gallery.hold(self.wall.held || self.wall.left > 0);
        let changed = self.gallery.hang(self.graphics.is_some());
        // Another size of the screen hangs them anew, too.
        let hung_in = (self.areas().pictures, self.graphics);
        if changed || self.wall.hung_in != hung_in {
            let hung = panes::pictures::hung(self);
            let before = std::mem::replace(&mut self.wall.hung, hung);
            let is_same_place = before.iter().map(|hung| hung.area).eq(self.wall.hung.iter().map(|hung| hung.area));
            self.wall.under = if is_same_place { before } else { Vec::new() };
            let count = if self.means() == Means::Blocks {
                usize::from(hung_in.0.width) * usize::from(hung_in.0.height)
            } else {
                0
            };
            if std::mem::replace(&mut self.wall.hung_in, hung_in) != hung_in {
                self.wall.cells.clear();
            }
            self.wall.cells.resize(count, Shows::Before);
            // Where something lies over it, the one before is not to be seen either.
            for shows in self.wall.cells.iter_mut().filter(|shows| **shows == Shows::Now) {
                *shows = Shows::Before;
            }
        }
        // The help is laid out for this: not where no picture hangs in cells.
        let covers = if self.wall.cells.is_empty() { Vec::new() } else { panes::covers(self) };
        self.wall.unroll(&covers);
    }

    /// The terminal lost what was on it.
    pub fn lose_pictures(&mut self) {
        self.wall.cells.fill(Shows::Nothing);
    }

    /// How pictures are to be shown, as set.
    pub fn picture_means(&self) -> PictureMeans {
        self.setup.ui.pictures
    }

    /// Bytes a second that pictures may take, as set.
    pub fn picture_rate(&self) -> u32 {
        self.setup.ui.picture_rate
    }

    /// What of pictures is not on the screen yet must wait, or not; and how many cells of it may come with a frame.
    pub fn hold_pictures(&mut self, held: bool, piece: usize) {
        (self.wall.held, self.wall.piece) = (held, piece);
    }

    /// Pictures wait for that.
    pub fn pictures_wait(&self) -> bool {
        self.gallery.waits() || self.wall.left > 0
    }

    /// What was prepared has pictures that the frame before had not.
    pub fn has_new_pictures(&self) -> bool {
        self.wall.is_new
    }

    /// The size of a cell in pixels; of the usual shape where nobody knows.
    pub(in crate::tui) fn cell(&self) -> (u16, u16) {
        self.graphics.unwrap_or_default().cell
    }

    /// Something lies over the pictures.
    fn is_covered(&self) -> bool {
        self.help.is_some() || self.menu.is_some()
    }

    /// What on the screen leads somewhere.
    pub fn links(&self) -> Vec<Hyperlink> {
        let host = self.setup.links.as_deref().filter(|_| !self.is_covered() && self.ranking.is_none());
        host.map(|host| panes::detail::links(self, host)).unwrap_or_default()
    }

    pub(in crate::tui) fn means(&self) -> Means {
        self.graphics.unwrap_or_default().means
    }

    /// The pictures that are no text, and where they are to be.
    pub fn posters(&self) -> Vec<Wanted> {
        let room = !self.is_covered() && !self.areas().pictures.is_empty();
        let hung = self.wall.hung.iter().filter(|_| room);
        hung.map(|hung| Wanted { area: hung.area, raster: Arc::clone(&hung.raster) }).collect()
    }

    pub(in crate::tui) fn depth(&self) -> Depth {
        if self.setup.ui.color { self.setup.depth } else { Depth::None }
    }
}
