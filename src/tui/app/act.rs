//! What the keys do.

use super::orders::{NO_ENGINE, can_cancel, can_edit, can_hold, can_move, can_requeue, ends_tries};
use super::{App, Command, EngineState, Question};
use crate::config::PictureMeans;
use crate::job::JobState;
use crate::protocol::{Level, Link, MoveTo, Ranked, Request};
use crate::tui::keys::{Action, Mode};
use crate::tui::layout::Pane;

impl App {
    /// Whether a key would do something now: the footer shows only those.
    pub(in crate::tui) fn can(&self, action: Action) -> bool {
        let row = self.jobs.selected().map(|e| &e.row);
        let state = row.map(|r| &r.state);
        match action {
            Action::Cancel => self.can_all(can_cancel) || (self.is_up() && row.is_some_and(ends_tries)),
            Action::Requeue => self.can_all(can_requeue),
            Action::RequeueNewSeed => {
                self.can_all(can_requeue) && (self.jobs.marks() > 0 || row.is_some_and(|r| r.seed.is_some()))
            }
            Action::Edit => self.is_up() && self.jobs.marks() == 0 && state.is_some_and(can_edit),
            Action::Hold => self.can_all(|s| matches!(s, JobState::Held) || can_hold(s)),
            Action::MoveUp
            | Action::MoveDown
            | Action::MoveTop
            | Action::MoveBottom
            | Action::PriorityUp
            | Action::PriorityDown => self.can_all(can_move),
            Action::Pictures => self.setup.ui.pictures != PictureMeans::Off && self.gallery.has_any(),
            Action::Play => self.setup.ui.pictures != PictureMeans::Off && self.gallery.can_play(),
            Action::CopyPath | Action::Open if self.ranking.is_some() => self.ranked().is_some(),
            Action::CopyPath | Action::Open => row.is_some_and(|r| !r.outputs.is_empty()),
            Action::Keep | Action::Discard => self.is_up() && self.ranked().is_some(),
            Action::Repair if self.ranking.is_some() => {
                self.is_up() && self.ranked().is_some_and(|row| !row.is_discarded())
            }
            Action::Repair => {
                self.is_up()
                    && row.is_some_and(|r| {
                        r.state.is_ended() && !r.discarded && r.measured.as_ref().is_some_and(|m| m.frames > 1)
                    })
            }
            Action::Ranking => {
                self.ranking.is_some()
                    || (self.is_up() && row.is_some_and(|r| r.attempt > 1 || r.tries.is_some() || r.group.is_some()))
                    || self.jobs.marks() > 1
            }
            Action::Details | Action::Mark | Action::MarkRange | Action::MarkAll => row.is_some(),
            Action::Fold => row.is_some_and(|r| r.group.is_some() && self.jobs.folded(r).is_none()),
            Action::Unfold => row.is_some_and(|r| self.jobs.folded(r).is_some()),
            Action::Filter => self.jobs.total() > 0,
            Action::Sort | Action::SortTurn => self.jobs.len() > 1,
            Action::Start => {
                !matches!(self.state, EngineState::Up | EngineState::Connecting)
                    || (self.is_up() && self.servers.iter().any(|s| matches!(s.link, Link::Down { .. })))
            }
            Action::StopEngine | Action::Pause | Action::Drain => self.is_up(),
            Action::Back => {
                self.help.is_some()
                    || self.menu.is_some()
                    || self.ranking.is_some()
                    || self.zoomed
                    || self.focus != Pane::Jobs
                    || self.jobs.marks() > 0
                    || !self.jobs.filter().is_empty()
                    || self.away.is_some()
                    || (!self.jobs.following() && self.jobs.running().is_some())
            }
            _ => true,
        }
    }

    /// What `E` would do now, for the footer.
    pub(in crate::tui) fn start_words(&self) -> &'static str {
        match self.state {
            EngineState::Up => "try again now",
            EngineState::Refused { .. } => "restart engine",
            EngineState::Connecting | EngineState::Gone { .. } => "start engine",
        }
    }

    /// What `Esc` would do now, for the footer; in the order of [`App::back`].
    pub(in crate::tui) fn back_words(&self) -> &'static str {
        if self.help.is_some() || self.menu.is_some() || self.ranking.is_some() {
            "close"
        } else if self.zoomed || self.focus != Pane::Jobs {
            "back"
        } else if self.jobs.marks() > 0 {
            "unmark"
        } else if !self.jobs.filter().is_empty() {
            "show all"
        } else if self.away.is_some() {
            "seen"
        } else {
            "follow"
        }
    }

    pub(super) fn act(&mut self, action: Action) -> Option<Command> {
        match action {
            Action::Leave => return Some(Command::Leave),
            Action::Suspend => return Some(Command::Suspend),
            Action::Redraw => return Some(Command::Redraw),
            Action::Yes => {
                let yes = self.question.take()?.yes;
                // What was asked about is done with; moves keep their marks.
                self.jobs.unmark();
                self.stop_asked |= yes == Command::Ask(Request::Stop);
                return Some(yes);
            }
            Action::No => return self.question.take()?.no,
            Action::Edit => return self.edit(),
            Action::Hold => return self.hold(),
            Action::MoveUp => return self.place(MoveTo::Up),
            Action::MoveDown => return self.place(MoveTo::Down),
            Action::MoveTop => return self.place(MoveTo::Top),
            Action::MoveBottom => return self.place(MoveTo::Bottom),
            Action::PriorityUp => return self.priority(1),
            Action::PriorityDown => return self.priority(-1),
            Action::Pause => return self.pause(),
            Action::Drain => return self.drain(),
            Action::Mark => self.jobs.toggle_mark(),
            Action::MarkRange => self.jobs.toggle_range(),
            Action::MarkAll => self.jobs.mark_all(),
            Action::Cancel => return self.cancel(),
            Action::Requeue => return self.requeue(false),
            Action::RequeueNewSeed => return self.requeue(true),
            Action::Pictures => return self.next_pictures(),
            Action::Play => return self.play(),
            Action::Open => return self.output_path().map(Command::Open),
            Action::CopyPath => return self.copy_path(),
            Action::Ranking => return self.toggle_ranking(),
            Action::Repair => self.open_menu(),
            Action::Choose => return self.choose(),
            Action::Keep => return self.keep(),
            Action::Discard => return self.discard(),
            Action::Start => return self.start(),
            Action::StopEngine => self.ask_stop(),
            Action::Filter => self.typing = Some(self.jobs.filter().to_owned().into()),
            Action::KeepFilter => self.typing = None,
            Action::DropFilter => {
                self.typing = None;
                self.jobs.set_filter("");
            }
            Action::Sort => {
                let shown: Vec<_> = crate::tui::panes::jobs::placed(self).iter().map(|p| p.index).collect();
                self.jobs.sort_next(&shown);
            }
            Action::SortTurn => self.jobs.sort_turn(),
            Action::Details => {
                if self.jobs.selected().is_some() {
                    self.focus = Pane::Detail;
                    self.zoomed = true;
                }
            }
            Action::NextPane => self.focus_on(1),
            Action::PreviousPane => self.focus_on(2),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::Help => self.help = if self.help.is_some() { None } else { Some(0) },
            Action::Back => self.back(),
            Action::Down => self.scroll(Scroll::By(1)),
            Action::Up => self.scroll(Scroll::By(-1)),
            Action::HalfDown => self.scroll(Scroll::HalfPages(1)),
            Action::HalfUp => self.scroll(Scroll::HalfPages(-1)),
            Action::Fold => {
                self.jobs.fold();
            }
            Action::Unfold => {
                self.jobs.unfold();
            }
            Action::PageDown => self.scroll(Scroll::HalfPages(2)),
            Action::PageUp => self.scroll(Scroll::HalfPages(-2)),
            Action::First => self.scroll(Scroll::First),
            Action::Last => self.scroll(Scroll::Last),
        }
        None
    }

    /// Closes the innermost thing that is open; never leaves.
    fn back(&mut self) {
        if self.help.take().is_some() || self.menu.take().is_some() || self.ranking.take().is_some() {
            return;
        }
        if self.zoomed || self.focus != Pane::Jobs {
            self.zoomed = false;
            self.focus = Pane::Jobs;
        } else if self.jobs.marks() > 0 {
            self.jobs.unmark();
        } else if !self.jobs.filter().is_empty() {
            self.jobs.set_filter("");
        } else if self.away.take().is_none() {
            self.jobs.follow();
        }
    }

    fn focus_on(&mut self, step: usize) {
        const PANES: [Pane; 3] = [Pane::Jobs, Pane::Detail, Pane::Server];
        let at = PANES.iter().position(|p| *p == self.focus).unwrap_or(0);
        self.focus = PANES[(at + step) % PANES.len()];
    }

    fn scroll(&mut self, scroll: Scroll) {
        if self.mode() == Mode::Help {
            let last = crate::tui::panes::help::overflow(self);
            self.help = self.help.map(|at| scroll.apply(at, last, last.max(2)));
            return;
        }
        if let Some(menu) = &mut self.menu {
            menu.at = scroll.apply(menu.at, menu.ways.len().saturating_sub(1), 2);
            return;
        }
        if let Some(ranking) = &mut self.ranking {
            let last = ranking.rows.as_ref().map_or(0, Vec::len).saturating_sub(1);
            ranking.at = scroll.apply(ranking.at, last, 20);
            return;
        }
        match self.focus {
            Pane::Jobs => match scroll {
                Scroll::By(n) => self.jobs.step(n),
                Scroll::HalfPages(n) => self.jobs.page(n),
                Scroll::First => self.jobs.go(0),
                Scroll::Last => self.jobs.go(usize::MAX),
            },
            Pane::Detail => {
                let (last, page) = crate::tui::panes::detail::overflow(self);
                self.detail_scroll = scroll.apply(self.detail_scroll, last, page);
            }
            Pane::Server => self.server = scroll.apply(self.server, self.servers.len().saturating_sub(1), 2),
        }
    }

    /// The attempt under the ranking's cursor.
    pub(super) fn ranked(&self) -> Option<&Ranked> {
        self.ranking.as_ref()?.selected()
    }

    fn next_pictures(&mut self) -> Option<Command> {
        if self.setup.ui.pictures == PictureMeans::Off {
            self.tell(Level::Info, "pictures are off: `pictures` in [ui] of comfytop.toml".to_owned());
        } else if !self.gallery.next() {
            self.tell(Level::Info, "no pictures: it has no output yet, and nothing renders".to_owned());
        } else if self.gallery.is_open() && self.areas().pictures.is_empty() {
            self.tell(Level::Info, "no room for pictures: z or Enter, or a larger terminal".to_owned());
        }
        (self.gallery.is_open() && self.graphics.is_none()).then_some(Command::AskTerminal)
    }

    fn play(&mut self) -> Option<Command> {
        if self.setup.ui.pictures == PictureMeans::Off {
            self.tell(Level::Info, "pictures are off: `pictures` in [ui] of comfytop.toml".to_owned());
        } else if !self.gallery.toggle_play(self.now) {
            self.tell(Level::Info, "it has no clip to play yet".to_owned());
        }
        (self.gallery.is_open() && self.graphics.is_none()).then_some(Command::AskTerminal)
    }

    /// What `P` would do now, for the footer.
    pub(in crate::tui) fn play_words(&self) -> &'static str {
        if self.gallery.plays() { "stop" } else { "play" }
    }

    /// The whole path of the main output of the selected job or attempt; says so where there is none.
    fn output_path(&mut self) -> Option<String> {
        let (id, output) = match self.ranked() {
            Some(row) => (row.job, row.outputs.first().cloned()),
            None => self.jobs.selected().map(|entry| (entry.row.id, entry.row.outputs.first().cloned()))?,
        };
        let Some(output) = output else {
            let words = format!("{id} has no output yet");
            self.tell(Level::Info, words);
            return None;
        };
        Some(self.whole_path(&output.path))
    }

    /// A path as the engine tells it, from the root on.
    pub(in crate::tui) fn whole_path(&self, path: &str) -> String {
        format!("{}/{path}", self.engine.folder.trim_end_matches('/'))
    }

    fn copy_path(&mut self) -> Option<Command> {
        let path = self.output_path()?;
        self.tell(Level::Info, format!("copied {}", self.short(&path)));
        Some(Command::Copy(path))
    }

    fn start(&mut self) -> Option<Command> {
        match &self.state {
            EngineState::Gone { .. } => {
                Some(Command::StartEngine { replace: false, server: self.engine.server.clone() })
            }
            EngineState::Refused { .. } => Some(Command::StartEngine { replace: true, server: None }),
            EngineState::Up => Some(Command::Ask(Request::Reconnect)),
            EngineState::Connecting => None,
        }
    }

    fn ask_stop(&mut self) {
        if self.is_up() {
            let words = "stop the engine? what waits is taken back, what renders goes on".to_owned();
            self.question = Some(Question { words, yes: Command::Ask(Request::Stop), no: None });
        } else {
            self.tell(Level::Info, NO_ENGINE.to_owned());
        }
    }
}

/// A movement, wherever it is made.
#[derive(Debug, Clone, Copy)]
enum Scroll {
    By(isize),
    HalfPages(isize),
    First,
    Last,
}

impl Scroll {
    fn apply(self, at: usize, last: usize, page: usize) -> usize {
        match self {
            Self::By(n) => at.saturating_add_signed(n),
            Self::HalfPages(n) => at.saturating_add_signed((page / 2).max(1).cast_signed() * n),
            Self::First => 0,
            Self::Last => last,
        }
        .min(last)
    }
}
