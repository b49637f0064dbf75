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
    /// Those before them in the same places, as long as not all rows of the new ones are shown.
    pub(in crate::tui) under: Vec<Hung>,
    /// Rows of the pane that show the new ones.
    pub(in crate::tui) unrolled: u16,
    /// Where, and how they are shown.
    hung_in: (Rect, Option<Graphics>),
    /// They are others than in the frame before.
    is_new: bool,
    /// No more of them now; else so many cells with a frame.
    held: bool,
    piece: usize,
}

impl Default for Wall {
    fn default() -> Self {
        Self {
            hung: Vec::new(),
            under: Vec::new(),
            unrolled: 0,
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

    pub(super) fn want_pictures(&mut self) -> Option<Command> {
        let has_room = self.gallery.is_open() && !self.areas().pictures.is_empty();
        self.gallery.want(self.now, self.is_up(), has_room)
    }

    pub(super) fn prepare_pictures(&mut self) {
        // One is unrolled to its end before the next begins.
        self.gallery.hold(self.wall.held || self.unrolls());
        let changed = self.gallery.hang(self.graphics.is_some());
        // Another size of the screen hangs them anew, too.
        let hung_in = (self.areas().pictures, self.graphics);
        if changed || self.wall.hung_in != hung_in {
            let hung = panes::pictures::hung(self);
            let before = std::mem::replace(&mut self.wall.hung, hung);
            let is_same_place = before.iter().map(|hung| hung.area).eq(self.wall.hung.iter().map(|hung| hung.area));
            self.wall.under = if is_same_place { before } else { Vec::new() };
            // Others are sent piece by piece by the terminal's side.
            self.wall.unrolled = if self.means() == Means::Blocks { 0 } else { u16::MAX };
            self.wall.hung_in = hung_in;
        }
        self.wall.is_new = self.unrolls() && !self.wall.held;
        if self.wall.is_new {
            let rows = self.wall.piece / usize::from(hung_in.0.width.max(1));
            self.wall.unrolled = self.wall.unrolled.saturating_add(u16::try_from(rows).unwrap_or(u16::MAX).max(1));
        }
    }

    /// Rows of new pictures are still to be shown.
    fn unrolls(&self) -> bool {
        !self.wall.hung.is_empty() && self.wall.unrolled < self.wall.hung_in.0.height
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
        self.gallery.waits() || self.unrolls()
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
