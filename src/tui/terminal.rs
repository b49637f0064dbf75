//! The dashboard on a real terminal: keys and signals in, frames out, and every way out clean.
//!
//! One thread decides and draws; others only read (keys, signals, the terminal's end) and send
//! events. Frames are written without ever blocking: while the terminal does not take the last one,
//! no new one is made, so a slow line skips frames and never queues them, and `q` is heard.
//! crossterm 0.29 spins on a terminal that hung up, so that is watched here.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::crossterm::event::{self, Event as TermEvent};

use super::app::{App, Command, Event, Urgency};
use super::graphics::base64;
use super::{Depth, Painter, draw};
use crate::config::PictureMeans;
use crate::editor::Draft;
use crate::job::JobId;

mod ask;
mod budget;
mod posters;
#[cfg_attr(windows, allow(dead_code, reason = "a console gives no bytes to read"))]
mod replies;
mod tty;
mod watch;

use budget::Budget;
use posters::Posters;
use replies::Hints;
use tty::Tty;

/// At most 30 frames a second.
const FRAME: Duration = Duration::from_millis(33);
/// Numbers that move by themselves: four times a second.
const CALM: Duration = Duration::from_millis(250);
/// How often a terminal that took only a part of a frame is offered the rest.
const OFFER: Duration = Duration::from_millis(8);
/// After this much is drained, a frame may be due.
const DRAIN: usize = 4096;

/// How the dashboard is joined to the engine: events come in, commands go out.
pub struct Wires {
    events: Receiver<Input>,
    sender: EventSender,
    commands: Box<dyn FnMut(Command)>,
}

/// Where the link to the engine puts what it hears. Can be cloned and sent to other threads.
#[derive(Debug, Clone)]
pub struct EventSender(Sender<Input>);

impl EventSender {
    /// False once the dashboard has ended.
    pub fn send(&self, event: Event) -> bool {
        self.0.send(Input::Event(event)).is_ok()
    }
}

impl Wires {
    /// `commands` is called, on the drawing thread, with [`Command::Ask`] and
    /// [`Command::StartEngine`]; it must not block (hand them to a thread of its own).
    pub fn new() -> (Self, EventSender) {
        let (sender, events) = channel();
        let sender = EventSender(sender);
        (Self { events, sender: sender.clone(), commands: Box::new(|_| {}) }, sender)
    }

    #[must_use]
    pub fn on_command(mut self, commands: impl FnMut(Command) + 'static) -> Self {
        self.commands = Box::new(commands);
        self
    }
}

/// Why the dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The person left.
    Left,
    /// A signal asked for it (its number).
    Signal(i32),
    /// The terminal is gone.
    HungUp,
}

/// What the threads send.
#[derive(Debug)]
enum Input {
    Event(Event),
    Signal(i32),
    /// The reader of keys is ready for the terminal's answers.
    Ready,
    /// Back from a stop: the shell may have changed the terminal.
    Continued,
    HungUp,
}

/// The size of the terminal, columns and lines; what to hand to [`super::Setup`].
pub fn size() -> (u16, u16) {
    tty::size().unwrap_or((80, 24))
}

/// The colours that the terminal says it has.
pub fn depth() -> Depth {
    let says = |name: &str| std::env::var(name).unwrap_or_default().to_ascii_lowercase();
    let is_full = matches!(says("COLORTERM").as_str(), "truecolor" | "24bit")
        || ["direct", "kitty", "ghostty", "alacritty", "wezterm"].iter().any(|name| says("TERM").contains(name))
        || cfg!(windows);
    if is_full { Depth::Full } else { Depth::Indexed }
}

/// The host that links to files name; none where the terminal would show their escape sequences as text.
pub fn host() -> Option<String> {
    let term = std::env::var("TERM").unwrap_or_default();
    let plain = ["dumb", "linux", "vt", "ansi", "cons"].iter().any(|name| term.starts_with(name));
    if plain || (cfg!(unix) && term.is_empty()) {
        return None;
    }
    #[cfg(unix)]
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let host = String::new();
    Some(host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).collect())
}

/// Whether there is a terminal to draw on and to read from.
pub fn is_terminal() -> bool {
    use std::io::IsTerminal as _;
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// Runs the dashboard until somebody leaves it, or the terminal goes.
///
/// The last act of a process: threads that read keys and signals stay behind.
///
/// # Errors
/// The terminal can't be had.
pub fn run(mut app: App, wires: Wires) -> io::Result<Outcome> {
    let Wires { events, sender, mut commands } = wires;
    let tty = Tty::open()?;
    // Before the terminal is taken: from then on nothing may end us without giving it back.
    let finished = watch::start(&tty, &sender.0)?;
    let guard = tty::restore_on_panic();
    let mut screen = Screen::new(tty, &app)?;
    if let Some((width, height)) = tty::size() {
        app.update(Event::Resize(width, height));
    }
    // The first frame waits for nobody.
    app.update(Event::Tick(Timestamp::now()));
    screen.draw(&mut app)?;
    let (keys, hints) = (Keys::default(), Hints::from_environment());
    read_keys(sender.0, keys.clone(), (app.picture_means(), hints.clone()));

    let outcome = loop {
        let wait = screen.wait(&app);
        let mut next = match events.recv_timeout(wait) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            // Cannot be: the reader of keys holds a sender.
            Err(RecvTimeoutError::Disconnected) => break Outcome::HungUp,
        };
        let mut ended = None;
        let mut drained = 0;
        let mut pending = app.update(Event::Tick(Timestamp::now()));
        loop {
            if let Some(command) = pending.take() {
                match command {
                    Command::Leave => ended = ended.or(Some(Outcome::Left)),
                    Command::Suspend => screen.suspend()?,
                    Command::Editor { job, text } => {
                        let text = screen.edit(job, &text, &keys)?;
                        pending = app.update(Event::Edited { job, text });
                    }
                    Command::KeepText { job, text } => {
                        let draft = Draft::new(&job.0.to_string(), "json", &text);
                        let path = draft.map(|draft| draft.keep().display().to_string()).map_err(|e| e.to_string());
                        pending = app.update(Event::TextKept { job, path });
                    }
                    Command::Redraw => screen.forget(),
                    Command::AskTerminal => keys.ask(),
                    Command::Copy(text) => screen.tty.queue(clipboard(&text).as_bytes()),
                    other => commands(other),
                }
            }
            match next.take() {
                Some(Input::Event(event)) => {
                    if let Event::Resize(width, height) = event {
                        screen.painter.resize(width, height);
                    }
                    if let Event::Graphics(graphics) = event {
                        screen.posters.set(graphics);
                    }
                    pending = app.update(event);
                }
                Some(Input::Signal(number)) => ended = Some(Outcome::Signal(number)),
                Some(Input::HungUp) => ended = Some(Outcome::HungUp),
                Some(Input::Continued) => screen.enter()?,
                Some(Input::Ready) => screen.tty.queue(replies::question(&hints).as_bytes()),
                None => {}
            }
            if pending.is_some() {
                continue;
            }
            drained += 1;
            if ended.is_some() || drained > DRAIN {
                break;
            }
            match events.try_recv() {
                Ok(input) => next = Some(input),
                Err(_) => break,
            }
        }
        if let Some(outcome) = ended {
            break outcome;
        }
        match screen.refresh(&mut app) {
            Ok(()) => {}
            Err(error) if tty::is_gone(&error) => break Outcome::HungUp,
            Err(error) => return Err(error),
        }
    };
    drop(screen);
    drop(guard);
    finished.finish();
    Ok(outcome)
}

/// How long the reader of keys waits before it sees whether somebody else wants them.
const LISTENS: Duration = Duration::from_millis(400);

/// Whose the keys are: ours, or those of a program that has the terminal for a while.
#[derive(Debug, Clone, Default)]
struct Keys(Arc<(Mutex<Owner>, Condvar)>);

#[derive(Debug, Default)]
struct Owner {
    /// They are given away.
    away: bool,
    /// Our reader has stopped reading.
    quiet: bool,
    /// The terminal is to be asked how it shows pictures.
    asked: bool,
}

impl Keys {
    fn set(&self, change: impl FnOnce(&mut Owner)) {
        let (owner, told) = &*self.0;
        change(&mut owner.lock().unwrap_or_else(PoisonError::into_inner));
        told.notify_all();
    }

    fn wait_while(&self, condition: impl Fn(&Owner) -> bool) {
        let (owner, told) = &*self.0;
        let lock = owner.lock().unwrap_or_else(PoisonError::into_inner);
        drop(told.wait_while(lock, |owner| condition(owner)));
    }

    /// Our reader reads nothing more from here on.
    fn give_away(&self) {
        self.set(|owner| owner.away = true);
        let (owner, told) = &*self.0;
        let lock = owner.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended (the terminal is gone) reads nothing either.
        drop(told.wait_timeout_while(lock, LISTENS * 3, |owner| !owner.quiet));
    }

    /// Has the reader take the terminal's answers.
    fn ask(&self) {
        self.set(|owner| owner.asked = true);
    }

    fn is_asked(&self) -> bool {
        std::mem::take(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner).asked)
    }

    fn take_back(&self) {
        self.set(|owner| owner.away = false);
    }

    /// For the reader: rests while they are given away.
    fn rest(&self) {
        self.set(|owner| owner.quiet = owner.away);
        self.wait_while(|owner| owner.away);
        self.set(|owner| owner.quiet = false);
    }
}

/// Keys, pastes and sizes, from crossterm, on a thread of their own.
fn read_keys(sender: Sender<Input>, keys: Keys, pictures: (PictureMeans, Hints)) {
    std::thread::spawn(move || {
        loop {
            keys.rest();
            if keys.is_asked() {
                ask::take_answers(&sender, pictures.0, &pictures.1);
            }
            match event::poll(LISTENS) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    let _ = sender.send(Input::HungUp);
                    break;
                }
            }
            let input = match event::read() {
                Ok(TermEvent::Key(key)) => Input::Event(Event::Key(key)),
                Ok(TermEvent::Paste(text)) => Input::Event(Event::Paste(text)),
                Ok(TermEvent::Resize(width, height)) => Input::Event(Event::Resize(width, height)),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Input::HungUp,
            };
            let gone = matches!(input, Input::HungUp);
            if sender.send(input).is_err() || gone {
                break;
            }
        }
    });
}

/// The terminal and what it shows.
struct Screen {
    tty: Tty,
    painter: Painter,
    drawn_at: Option<Instant>,
    /// What pictures may take of the line.
    budget: Budget,
    /// Those that are no text.
    posters: Posters,
}

impl Screen {
    fn new(mut tty: Tty, app: &App) -> io::Result<Self> {
        tty.enter()?;
        let (width, height) = size();
        let budget = Budget::new(app.picture_rate(), budget::is_remote(), Instant::now());
        Ok(Self { tty, painter: Painter::new(width, height), drawn_at: None, budget, posters: Posters::default() })
    }

    /// How long nothing needs to be done.
    fn wait(&self, app: &App) -> Duration {
        if !self.tty.is_flushed() {
            return OFFER;
        }
        if let Some(urgency) = self.due(app) {
            return self.pause(urgency);
        }
        let left = app.next_tick().duration_since(Timestamp::now());
        let waiting = app.pictures_wait() || !self.posters.is_empty();
        let pictures = waiting.then(|| self.budget.ready_in(Instant::now()));
        // A little late rather than early: then it is past what was waited for. A clock that was
        // set back must not make it wait for the old time.
        (Duration::try_from(left).unwrap_or_default() + Duration::from_millis(2))
            .min(pictures.unwrap_or(Duration::MAX))
            .min(Duration::from_mins(1))
    }

    /// How soon a frame is due: by what changed, or because the terminal's picture is lost.
    fn due(&self, app: &App) -> Option<Urgency> {
        let goes = app.pictures_wait() && self.posters.is_empty() && self.budget.is_ready(Instant::now());
        let pictures = goes.then_some(Urgency::Now);
        if self.painter.is_lost() { Some(Urgency::Now) } else { app.due().max(pictures) }
    }

    /// What is left until the next frame may be drawn.
    fn pause(&self, urgency: Urgency) -> Duration {
        let least = match urgency {
            Urgency::Now => FRAME,
            Urgency::Soon => CALM,
        };
        self.drawn_at.map_or(Duration::ZERO, |at| least.saturating_sub(at.elapsed()))
    }

    /// Offers the terminal what is left of the last frame, or draws the next one if it is due.
    fn refresh(&mut self, app: &mut App) -> io::Result<()> {
        if !self.tty.flush()? {
            return Ok(());
        }
        if let Some((bytes, took)) = self.tty.drained() {
            self.budget.learn(bytes, took, Instant::now());
        }
        if self.due(app).is_some_and(|urgency| self.pause(urgency).is_zero()) {
            self.draw(app)?;
        }
        self.send_pictures()
    }

    /// As much of the pictures as the line bears now.
    fn send_pictures(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if !self.tty.is_flushed() || !self.budget.is_ready(now) {
                return Ok(());
            }
            self.posters.refine(self.budget.most(), self.budget.unit());
            let Some(unit) = self.posters.next_unit() else { return Ok(()) };
            self.budget.spend(unit.len(), now);
            self.painter.lose_place();
            self.tty.queue(&unit);
            self.tty.flush()?;
            if let Some((bytes, took)) = self.tty.drained() {
                self.budget.learn(bytes, took, Instant::now());
            }
        }
    }

    fn draw(&mut self, app: &mut App) -> io::Result<()> {
        let now = Instant::now();
        let held = !self.posters.is_empty() || !self.budget.is_ready(now);
        app.hold_pictures(held, self.budget.piece());
        app.prepare();
        if self.painter.is_lost() {
            self.posters.forget();
        }
        for area in self.posters.hang(&app.posters(), self.budget.most(), self.budget.unit()) {
            self.painter.damage(area);
        }
        let links = app.links();
        let bytes = self.painter.linked_frame(&links, |buf| draw(app, buf));
        if app.has_new_pictures() {
            self.budget.spend(bytes.len(), now);
        }
        app.drawn();
        self.drawn_at = Some(now);
        self.tty.queue(&bytes);
        self.tty.flush().map(|_| ())
    }

    /// Takes the terminal again, whatever was done to it, and paints it whole.
    fn enter(&mut self) -> io::Result<()> {
        self.tty.enter()?;
        let (width, height) = size();
        self.painter.resize(width, height);
        self.drawn_at = None;
        Ok(())
    }

    fn forget(&mut self) {
        self.painter.forget();
    }

    /// Gives the terminal to the person's editor until it ends.
    fn edit(&mut self, job: JobId, text: &str, keys: &Keys) -> io::Result<Result<String, String>> {
        keys.give_away();
        self.tty.leave();
        watch::set_editing(true);
        let draft = Draft::new(&job.0.to_string(), "json", text);
        let edited = draft.and_then(|draft| draft.open()).map_err(|error| error.to_string());
        watch::set_editing(false);
        let entered = self.enter();
        keys.take_back();
        entered.map(|()| edited)
    }

    /// Gives the terminal back to the shell until `fg`.
    fn suspend(&mut self) -> io::Result<()> {
        self.tty.leave();
        watch::stop_here();
        self.enter()
    }
}

/// OSC 52: the terminal's clipboard takes base64.
fn clipboard(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", base64(text.as_bytes()))
}
