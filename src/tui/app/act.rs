//! What the keys do.

use super::{App, Command, EngineState, Question};
use crate::job::JobState;
use crate::protocol::{Level, Link, Request};
use crate::tui::figures;
use crate::tui::keys::{Action, Mode};
use crate::tui::layout::Pane;

impl App {
    /// Whether a key would do something now: the footer shows only those.
    pub(in crate::tui) fn can(&self, action: Action) -> bool {
        let row = self.jobs.selected().map(|e| &e.row);
        let state = row.map(|r| &r.state);
        match action {
            Action::Cancel => self.is_up() && state.is_some_and(can_cancel),
            Action::Requeue => self.is_up() && state.is_some_and(can_requeue),
            Action::RequeueNewSeed => {
                self.is_up() && state.is_some_and(can_requeue) && row.is_some_and(|r| r.seed.is_some())
            }
            Action::CopyPath => row.is_some_and(|r| !r.outputs.is_empty()),
            Action::Details => row.is_some(),
            Action::Filter => self.jobs.total() > 0,
            Action::Sort | Action::SortTurn => self.jobs.len() > 1,
            Action::Start => {
                !matches!(self.state, EngineState::Up | EngineState::Connecting)
                    || (self.is_up() && self.servers.iter().any(|s| matches!(s.link, Link::Down { .. })))
            }
            Action::StopEngine => self.is_up(),
            Action::Back => {
                self.help.is_some()
                    || self.zoomed
                    || self.focus != Pane::Jobs
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
        if self.help.is_some() {
            "close"
        } else if self.zoomed || self.focus != Pane::Jobs {
            "back"
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
                self.stop_asked |= yes == Command::Ask(Request::Stop);
                return Some(yes);
            }
            Action::No => self.question = None,
            Action::Cancel => return self.cancel(),
            Action::Requeue => return self.requeue(false),
            Action::RequeueNewSeed => return self.requeue(true),
            Action::CopyPath => return self.copy_path(),
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
            Action::PageDown => self.scroll(Scroll::HalfPages(2)),
            Action::PageUp => self.scroll(Scroll::HalfPages(-2)),
            Action::First => self.scroll(Scroll::First),
            Action::Last => self.scroll(Scroll::Last),
        }
        None
    }

    /// Closes the innermost thing that is open; never leaves.
    fn back(&mut self) {
        if self.help.take().is_some() {
            return;
        }
        if self.zoomed || self.focus != Pane::Jobs {
            self.zoomed = false;
            self.focus = Pane::Jobs;
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

    fn cancel(&mut self) -> Option<Command> {
        let row = &self.jobs.selected()?.row;
        let (id, word) = (row.id, row.state.word());
        if !self.is_up() {
            self.tell(Level::Warning, NO_ENGINE.to_owned());
            return None;
        }
        if !can_cancel(&row.state) {
            self.tell(Level::Info, format!("{id} is {word}: nothing to cancel"));
            return None;
        }
        let ask = Command::Ask(Request::Cancel { jobs: vec![id] });
        // What waits costs nothing to requeue; what runs has cost minutes.
        if !matches!(row.state, JobState::Running) {
            return Some(ask);
        }
        let spent = row.elapsed_s(self.now).map_or_else(String::new, |s| format!(" after {}", figures::duration(s)));
        self.question = Some(Question { words: format!("cancel {id} {}{spent}?", row.name), yes: ask });
        None
    }

    fn requeue(&mut self, new_seed: bool) -> Option<Command> {
        let row = &self.jobs.selected()?.row;
        let (id, word) = (row.id, row.state.word());
        if !self.is_up() {
            self.tell(Level::Warning, NO_ENGINE.to_owned());
            return None;
        }
        if matches!(row.state, JobState::Rejected { .. }) {
            self.tell(Level::Info, format!("{id} was rejected: mend its file and drop it again"));
            return None;
        }
        if !can_requeue(&row.state) {
            self.tell(Level::Info, format!("{id} is {word}: it can be requeued once it has ended"));
            return None;
        }
        if new_seed && row.seed.is_none() {
            self.tell(Level::Info, format!("{id} has no seed to change"));
            return None;
        }
        Some(Command::Ask(Request::Requeue { jobs: vec![id], new_seed }))
    }

    fn copy_path(&mut self) -> Option<Command> {
        let row = &self.jobs.selected()?.row;
        let Some(output) = row.outputs.first() else {
            let words = format!("{} has no output yet", row.id);
            self.tell(Level::Info, words);
            return None;
        };
        let path = format!("{}/{}", self.engine.folder.trim_end_matches('/'), output.path);
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
            self.question = Some(Question { words, yes: Command::Ask(Request::Stop) });
        } else {
            self.tell(Level::Info, NO_ENGINE.to_owned());
        }
    }
}

const NO_ENGINE: &str = "no engine runs: E starts it";

fn can_cancel(state: &JobState) -> bool {
    !state.is_ended() && !matches!(state, JobState::Cancelling { .. } | JobState::Collecting | JobState::Measuring)
}

fn can_requeue(state: &JobState) -> bool {
    state.is_ended() && !matches!(state, JobState::Rejected { .. })
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
