//! The dashboard's state, and the one way it changes.
//!
//! Pure: [`App::update`] takes an [`Event`] and may ask for a [`Command`]; the clock comes in with
//! [`Event::Tick`]. Drawing reads it and changes nothing. Must never talk to the engine or the
//! terminal itself.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input, InputRequest};

use super::forecast::Forecast;
use super::gallery::Gallery;
use super::graphics::Graphics;
use super::keys::{self, Action, Mode};
use super::layout::{self, Areas, Pane, Wide};
use super::list::{Entry, JobList};
use super::raster::Raster;
use super::theme::{Depth, Role, Theme};
use crate::config::{PictureMeans, UiConfig};
use crate::job::JobId;
use crate::protocol::{Away, Detail, EngineRow, Flow, FromEngine, Level, Link, Notice, Request, ServerRow};

mod act;
mod hear;
mod orders;
mod pictures;
mod ranking;

pub(in crate::tui) use pictures::Shows;
use pictures::Wall;
pub(in crate::tui) use ranking::Menu;
use ranking::Ranking;

/// What the dashboard is told once, at its start.
#[derive(Debug, Clone)]
pub struct Setup {
    pub ui: UiConfig,
    /// Clocks are shown in this zone.
    pub zone: TimeZone,
    /// The render folder, and the inbox to name on an empty screen.
    pub folder: String,
    pub inbox: String,
    /// The person's home, shown as `~`.
    pub home: Option<String>,
    pub now: Timestamp,
    /// Columns and lines.
    pub size: (u16, u16),
    /// The colours that pictures may have.
    pub depth: Depth,
    /// Paths of outputs are links (OSC 8) to files of this host; none where the terminal would show rubbish.
    pub links: Option<String>,
}

/// What can happen to a dashboard.
#[derive(Debug, Clone)]
pub enum Event {
    Key(KeyEvent),
    /// Text put in at once: for an input, nothing else.
    Paste(String),
    Resize(u16, u16),
    /// It is now this late.
    Tick(Timestamp),
    /// The engine is being looked for, or started.
    Connecting,
    FromEngine(FromEngine),
    /// The connection ended, or none could be had.
    EngineGone {
        why: String,
    },
    /// How the terminal shows pictures.
    Graphics(Graphics),
    /// A picture was read, or can't be.
    Raster {
        path: PathBuf,
        raster: Result<Raster, String>,
    },
    /// The person's editor was closed on a job's text; `Err`: why there was none.
    Edited {
        job: JobId,
        text: Result<String, String>,
    },
    /// Where a job's text that was not taken is kept.
    TextKept {
        job: JobId,
        path: Result<String, String>,
    },
    /// Words of the door's own (a copy of the log's path, what the link tries).
    Notice(Notice),
    /// The process is asked to end (a signal).
    Terminate,
}

/// What the dashboard wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Send it to the engine; the answer comes back as an event.
    Ask(Request),
    /// End the dashboard; the engine goes on.
    Leave,
    /// Start an engine (or find one) and connect. With `replace` the one that refused us is stopped first. `server`:
    /// where the one before worked, if a flag had said so.
    StartEngine { replace: bool, server: Option<String> },
    /// Open this text in the person's editor; what comes of it is [`Event::Edited`].
    Editor { job: JobId, text: String },
    /// Keep this text of a job in a file; what comes of it is [`Event::TextKept`].
    KeepText { job: JobId, text: String },
    /// Ask the terminal how it shows pictures; what comes of it is [`Event::Graphics`].
    AskTerminal,
    /// Read this picture; what comes of it is [`Event::Raster`].
    Load(PathBuf),
    /// Open this file with the system's player.
    Open(String),
    /// Give the terminal back until `fg`.
    Suspend,
    /// Paint the whole screen anew.
    Redraw,
    /// Put this text on the terminal's clipboard (OSC 52).
    Copy(String),
}

/// How soon a change should be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Numbers that move by themselves: a few times a second is enough.
    Soon,
    /// What a person did, or waits for.
    Now,
}

/// Where the engine stands, seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    Connecting,
    Up,
    /// It speaks another version, or serves another server.
    Refused {
        why: String,
        version: String,
    },
    Gone {
        /// Empty where there is no more to say than that.
        why: String,
        /// The person stopped it here.
        asked: bool,
    },
}

/// A question that waits for `y` or `n`.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub words: String,
    yes: Command,
    no: Option<Command>,
}

/// How long a notice stays in the footer.
const NOTICE_STAYS: Duration = Duration::from_secs(8);
/// The cursor rests this long before details are asked for.
const DETAIL_RESTS: Duration = Duration::from_millis(120);
const NOTICES_KEPT: usize = 50;
/// How far back the memory graph goes.
pub const GRAPH_SPAN: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub struct App {
    pub(super) setup: Setup,
    pub(super) now: Timestamp,
    size: (u16, u16),
    pub(super) state: EngineState,
    /// The person stops the engine: that it goes is no surprise.
    stop_asked: bool,
    /// Since when nothing is heard of the engine.
    lost_at: Option<Timestamp>,
    pub(super) engine: EngineRow,
    pub(super) servers: Vec<ServerRow>,
    /// Which server the panes show.
    pub(super) server: usize,
    pub(super) jobs: JobList,
    expect: BTreeMap<String, f64>,
    pub(super) forecast: Forecast,
    forecast_due: bool,
    pub(super) notices: VecDeque<Notice>,
    /// A snapshot whose last jobs have not come.
    coming: Option<crate::protocol::Snapshot>,
    /// The footer's notice, and until when it stays.
    said: Option<(Notice, Timestamp)>,
    pub(super) away: Option<Away>,
    pub(super) detail: Option<Box<Detail>>,
    detail_due: Option<Timestamp>,
    pub(super) detail_scroll: usize,
    pub(super) focus: Pane,
    zoomed: bool,
    /// The help page is open, and scrolled this far.
    pub(super) help: Option<usize>,
    /// Attempts side by side, over the panes.
    pub(super) ranking: Option<Ranking>,
    /// Ways to repair an output, over that.
    pub(super) menu: Option<Menu>,
    pub(super) question: Option<Question>,
    pub(super) typing: Option<Input>,
    editing: Editing,
    pub(super) gallery: Gallery,
    pub(super) wall: Wall,
    /// How pictures are shown, once that is known.
    pub(super) graphics: Option<Graphics>,
    due: Option<Urgency>,
}

/// A job's text on its way to the editor and back.
#[derive(Debug, Default)]
struct Editing {
    /// Its text was asked for.
    asked: Option<JobId>,
    /// As it came.
    text: String,
    /// As it was edited, until the engine has taken it: nothing that was typed is lost.
    draft: Option<(JobId, String)>,
    /// What is wanted next.
    then: Option<Command>,
}

impl App {
    pub fn new(setup: Setup) -> Self {
        let mut app = Self {
            now: setup.now,
            size: setup.size,
            state: EngineState::Connecting,
            stop_asked: false,
            lost_at: None,
            engine: EngineRow { folder: setup.folder.clone(), ..EngineRow::default() },
            servers: Vec::new(),
            server: 0,
            jobs: JobList::new(),
            expect: BTreeMap::new(),
            forecast: Forecast::default(),
            forecast_due: false,
            notices: VecDeque::new(),
            coming: None,
            said: None,
            away: None,
            detail: None,
            detail_due: None,
            detail_scroll: 0,
            focus: Pane::Jobs,
            zoomed: false,
            help: None,
            ranking: None,
            menu: None,
            question: None,
            typing: None,
            editing: Editing::default(),
            gallery: Gallery::default(),
            wall: Wall::default(),
            // Without colours there are shades, and nobody needs to be asked.
            graphics: (!setup.ui.color || setup.ui.pictures == PictureMeans::Blocks).then(Graphics::default),
            due: Some(Urgency::Now),
            setup,
        };
        app.arrange();
        app
    }

    /// Takes in what happened; may ask for something to be done.
    pub fn update(&mut self, event: Event) -> Option<Command> {
        let selected = self.jobs.selected().map(|e| e.row.id);
        let command = match event {
            Event::Key(key) if key.kind == KeyEventKind::Release => None,
            Event::Key(key) => {
                self.mark(Urgency::Now);
                self.key(&key)
            }
            Event::Paste(text) => {
                if let Some(input) = &mut self.typing {
                    for c in crate::text::clean(&text).chars() {
                        input.handle(InputRequest::InsertChar(c));
                    }
                    self.typed();
                }
                None
            }
            Event::Resize(width, height) => {
                self.size = (width, height);
                self.mark(Urgency::Now);
                None
            }
            Event::Tick(now) => {
                self.tick(now);
                None
            }
            Event::Connecting => {
                self.state = EngineState::Connecting;
                self.mark(Urgency::Now);
                None
            }
            Event::FromEngine(message) => {
                self.hear(message);
                self.editing.then.take()
            }
            Event::Graphics(graphics) => {
                self.graphics = Some(graphics);
                self.mark(Urgency::Now);
                None
            }
            Event::Raster { path, raster } => {
                self.gallery.raster_came(&path, raster);
                self.mark(Urgency::Soon);
                None
            }
            Event::Edited { job, text } => self.edited(job, text),
            Event::TextKept { job, path } => {
                self.text_kept(job, &path);
                None
            }
            Event::EngineGone { why } => {
                // An engine that refused us closes the connection: its words are the reason.
                if !matches!(self.state, EngineState::Refused { .. }) {
                    self.state = EngineState::Gone { why, asked: self.stop_asked };
                }
                self.lost_at.get_or_insert(self.now);
                self.forecast_due = true;
                self.mark(Urgency::Now);
                None
            }
            Event::Notice(notice) => {
                self.say(notice);
                None
            }
            Event::Terminate => Some(Command::Leave),
        };
        self.arrange();
        let now_selected = self.jobs.selected().map(|e| e.row.id);
        if selected != now_selected {
            self.detail_scroll = 0;
            self.want_detail();
        }
        self.turn_pictures();
        command.or_else(|| self.ask_ranking_again()).or_else(|| self.ask_detail()).or_else(|| self.want_pictures())
    }

    /// Makes ready for drawing what is worked out only when somebody looks.
    pub fn prepare(&mut self) {
        self.prepare_pictures();
        // What is paused starts nothing.
        let goes = self.is_up() && self.engine.flow.goes();
        if self.forecast_due || (goes && self.forecast.is_stale(&self.jobs, &self.servers, self.now)) {
            self.forecast_due = false;
            self.forecast = if goes {
                Forecast::of(&self.jobs, &self.servers, &self.expect, self.now)
            } else {
                Forecast::default()
            };
        }
    }

    /// Whether something on the screen changed since this was asked last, and how soon it should be seen.
    pub fn due(&self) -> Option<Urgency> {
        self.due
    }

    /// The screen shows everything up to now.
    pub fn drawn(&mut self) {
        self.due = None;
    }

    /// When the screen would change by the clock alone.
    pub fn next_tick(&self) -> Timestamp {
        let second = |n: i64| Timestamp::from_second(n).unwrap_or(Timestamp::MAX);
        let at = self.now.as_second();
        let mut next = second(at - at.rem_euclid(60) + 60);
        if self.counts_seconds() {
            next = next.min(second(at + 1));
        }
        let said = self.said.as_ref().map(|(_, until)| *until);
        // What nobody can be asked for now must not wake anybody.
        let detail = self.detail_due.filter(|_| self.is_up());
        let pictures = self.gallery.due().filter(|_| self.is_up() && !self.areas().pictures.is_empty());
        let played = self.gallery.next_step().filter(|_| !self.areas().pictures.is_empty());
        [said, detail, pictures, played].into_iter().flatten().fold(next, Timestamp::min)
    }

    /// Columns and lines.
    pub fn screen_size(&self) -> (u16, u16) {
        self.size
    }

    pub(super) fn areas(&self) -> Areas {
        let banners = u16::try_from(self.banners().len()).unwrap_or(u16::MAX);
        let open = self.gallery.is_open();
        let wide = |place| self.gallery.width_in(place, self.cell());
        let pictures = (open && self.ranking.is_none()).then_some(&wide as Wide<'_>);
        let mut areas = layout::areas(self.size.0, self.size.1, banners, self.focus, self.zoomed, pictures);
        // It has pictures of its own.
        if let Some(ranking) = &self.ranking {
            areas.pictures = ranking.areas(self.size, open).pictures;
        }
        areas
    }

    pub(super) fn theme(&self) -> Theme {
        Theme::new(self.setup.ui.color)
    }

    /// For what only the engine knows: quiet once it is gone.
    pub(super) fn live_theme(&self) -> Theme {
        if matches!(self.state, EngineState::Gone { .. } | EngineState::Refused { .. }) {
            self.theme().faded()
        } else {
            self.theme()
        }
    }

    /// The moment that the rows speak of: now, or when the engine was heard last.
    pub(super) fn known_at(&self) -> Timestamp {
        self.lost_at.unwrap_or(self.now)
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == EngineState::Up
    }

    pub(super) fn mode(&self) -> Mode {
        if self.question.is_some() {
            Mode::Asking
        } else if self.typing.is_some() {
            Mode::Typing
        } else if self.help.is_some() {
            Mode::Help
        } else if self.menu.is_some() {
            Mode::Menu
        } else if self.ranking.is_some() {
            Mode::Ranking
        } else {
            match self.focus {
                Pane::Jobs => Mode::Jobs,
                Pane::Detail => Mode::Detail,
                Pane::Server => Mode::Server,
            }
        }
    }

    /// The server that header and side panel show.
    pub(super) fn shown_server(&self) -> Option<&ServerRow> {
        self.servers.get(self.server).or_else(|| self.servers.first())
    }

    /// What stands under the header: what is wrong until somebody mends it.
    pub(super) fn banners(&self) -> Vec<(Role, String)> {
        let mut out = Vec::new();
        match &self.state {
            EngineState::Gone { asked: true, .. } => {
                out.push((Role::Plain, " The engine has stopped, as you asked. E starts it again.".to_owned()));
            }
            EngineState::Gone { why, .. } => {
                // What kept it from starting comes first; and then another try helps only when that is mended.
                let words = if self.engine.log.is_empty() && !why.is_empty() {
                    format!("{why} · E tries again")
                } else {
                    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                    let log = match self.engine.log.as_str() {
                        "" => String::new(),
                        log => format!(" (log: {})", self.short(log)),
                    };
                    format!("E starts it again: the engine stopped{why}{log}")
                };
                out.push((Role::Bad, words));
            }
            EngineState::Refused { why, version } => {
                let version = if version.is_empty() { String::new() } else { format!(" (engine {version})") };
                out.push((Role::Bad, format!("E restarts the engine, renders go on: {why}{version}")));
            }
            EngineState::Connecting | EngineState::Up => {}
        }
        let paused = |flow: &Flow, server: Option<&str>| {
            let why = flow.why().filter(|_| self.is_up())?;
            let whose = server.map(|name| format!("{name} is ")).unwrap_or_default();
            Some((Role::Nearly, format!("{whose}paused: {why} · {}", self.resume_words(server))))
        };
        out.extend(paused(&self.engine.flow, None));
        let servers = self.servers.iter().filter(|_| self.engine.flow.goes());
        out.extend(servers.filter_map(|s| paused(&s.flow, Some(&s.name))));
        out.extend(self.engine.banners.iter().map(|words| (Role::Nearly, words.clone())));
        if let Some(away) = &self.away {
            let since = super::figures::moment(away.since, self.now, &self.setup.zone);
            let mut words = format!("since {since}: {} done", away.done);
            if away.failed > 0 {
                words = format!("{words}, {} failed", away.failed);
            }
            if let Some(best) = away.best_ssim {
                words = format!("{words}, best {best:.3}");
            }
            out.push((Role::Plain, words + " · Esc"));
        }
        out
    }

    /// When a running job should end, as long as its server can be heard.
    pub(super) fn ends(&self, entry: &Entry) -> Option<Timestamp> {
        let name = entry.row.server.as_deref();
        let server = self.servers.iter().find(|s| name.is_none_or(|name| s.name == name));
        entry.ends.filter(|_| server.is_some_and(|s| matches!(s.link, Link::Up { .. })))
    }

    /// The footer's notice, while it is fresh.
    pub(super) fn said(&self) -> Option<&Notice> {
        self.said.as_ref().map(|(notice, _)| notice)
    }

    /// A path with the home folder as `~`.
    pub(super) fn short(&self, path: &str) -> String {
        let home = self.setup.home.as_deref().filter(|h| h.len() > 1).map(|h| h.trim_end_matches(['/', '\\']));
        match home.and_then(|home| path.strip_prefix(home)) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '\\']) => format!("~{rest}"),
            _ => path.to_owned(),
        }
    }

    fn mark(&mut self, urgency: Urgency) {
        self.due = self.due.max(Some(urgency));
    }

    fn say(&mut self, notice: Notice) {
        let until = self.now.checked_add(NOTICE_STAYS).unwrap_or(Timestamp::MAX);
        self.said = Some((notice.clone(), until));
        self.notices.push_back(notice);
        while self.notices.len() > NOTICES_KEPT {
            self.notices.pop_front();
        }
        self.mark(Urgency::Now);
    }

    fn tell(&mut self, level: Level, text: String) {
        self.say(Notice { at: self.now, level, text });
    }

    fn tick(&mut self, now: Timestamp) {
        let was = std::mem::replace(&mut self.now, now);
        if now.as_second().div_euclid(60) != was.as_second().div_euclid(60)
            || (now.as_second() != was.as_second() && self.counts_seconds())
        {
            self.mark(Urgency::Soon);
        }
        if self.gallery.step(now) && !self.areas().pictures.is_empty() {
            self.mark(Urgency::Now);
        }
        if self.said.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.said = None;
            self.mark(Urgency::Soon);
        }
    }

    /// A number on the screen counts seconds.
    fn counts_seconds(&self) -> bool {
        self.is_up()
            && (self.jobs.running().is_some() || self.servers.iter().any(|s| matches!(s.link, Link::Down { .. })))
    }

    /// The list's height follows from the screen.
    fn arrange(&mut self) {
        let rows = usize::from(self.areas().jobs.height);
        if rows > 0 {
            self.jobs.set_height(rows);
        }
    }

    fn want_detail(&mut self) {
        self.detail_due = self.jobs.selected().and_then(|_| self.now.checked_add(DETAIL_RESTS).ok());
    }

    fn ask_detail(&mut self) -> Option<Command> {
        if !self.is_up() || self.detail_due.is_none_or(|due| due > self.now) {
            return None;
        }
        self.detail_due = None;
        let job = self.jobs.selected()?.row.id;
        Some(Command::Ask(Request::Show { job, graph: false }))
    }

    /// The details of the selected job, once they have come.
    pub(super) fn selected_detail(&self) -> Option<&Detail> {
        let id = self.jobs.selected()?.row.id;
        self.detail.as_deref().filter(|d| d.row.id == id)
    }

    fn key(&mut self, key: &KeyEvent) -> Option<Command> {
        let mode = self.mode();
        if let Some(action) = keys::action(mode, key) {
            return self.act(action);
        }
        if mode == Mode::Typing
            && let (Some(request), Some(input)) = (typed(key), &mut self.typing)
        {
            input.handle(request);
            self.typed();
        }
        None
    }

    /// The list follows the filter letter by letter.
    fn typed(&mut self) {
        if let Some(input) = &self.typing {
            self.jobs.set_filter(input.value());
            self.mark(Urgency::Now);
        }
    }

    /// The job under the cursor.
    pub fn selected_job(&self) -> Option<JobId> {
        self.jobs.selected().map(|e| e.row.id)
    }

    /// What the list is sorted by, an index in [`super::columns::COLUMNS`]; `None`: the queue's order.
    pub fn sorted_by(&self) -> Option<usize> {
        self.jobs.sort().column
    }

    /// What the keys in the footer do, from left to right.
    pub fn footer_actions(&self) -> Vec<Action> {
        super::panes::footer::bindings(self).iter().map(|b| b.action).collect()
    }

    /// Rows of the list that a frame builds.
    pub fn rows_built(&self) -> usize {
        self.jobs.visible().count()
    }
}

/// What a key means in a line of text.
fn typed(key: &KeyEvent) -> Option<InputRequest> {
    use InputRequest as R;
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('u') if ctrl => Some(R::DeleteLine),
        KeyCode::Char('w') if ctrl => Some(R::DeletePrevWord),
        KeyCode::Char('k') if ctrl => Some(R::DeleteTillEnd),
        KeyCode::Char('a') if ctrl => Some(R::GoToStart),
        KeyCode::Char('e') if ctrl => Some(R::GoToEnd),
        // AltGr arrives as Ctrl and Alt at once on Windows: its characters are text.
        KeyCode::Char(c) if !ctrl || key.modifiers.contains(KeyModifiers::ALT) => Some(R::InsertChar(c)),
        KeyCode::Backspace => Some(R::DeletePrevChar),
        KeyCode::Delete => Some(R::DeleteNextChar),
        KeyCode::Left => Some(R::GoToPrevChar),
        KeyCode::Right => Some(R::GoToNextChar),
        KeyCode::Home => Some(R::GoToStart),
        KeyCode::End => Some(R::GoToEnd),
        _ => None,
    }
}
