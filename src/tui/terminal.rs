//! The dashboard on a real terminal: keys and signals in, frames out, and every way out clean.
//!
//! One thread decides and draws; others only read (keys, signals, the terminal's end) and send
//! events. Frames are written without ever blocking: while the terminal does not take the last one,
//! no new one is made, so a slow line skips frames and never queues them, and `q` is heard.
//! crossterm 0.29 spins on a terminal that hung up, so that is watched here.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::app::{App, Command, Event, Urgency};
use super::graphics::{base64, kitty};
use super::{Depth, Painter, draw};
use crate::editor::Draft;
use crate::job::JobId;

mod ask;
mod budget;
mod link;
mod posters;
mod reader;
#[cfg_attr(windows, allow(dead_code, reason = "a console gives no bytes to read"))]
mod replies;
mod tty;
mod watch;

use budget::Budget;
use link::Link;
use posters::Posters;
use reader::Keys;
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
/// Asks the terminal for its status: it answers when it has taken all that came before.
const PROBE: &str = "\x1b[5n";
/// Nobody waits longer than this for the last answers.
const SETTLES: Duration = Duration::from_secs(2);
/// How long the first answer may take; and behind a tmux, which lets the question through only if it is set so.
const ANSWERS: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(1)];

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
    /// The reader of keys is ready for the terminal's answers to the question for its pictures.
    Ready,
    /// It takes the terminal's answers to [`PROBE`], or no longer.
    Listens(bool),
    /// The terminal has got as far as the oldest [`PROBE`] that was not answered.
    Answered,
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
    let hints = Hints::from_environment();
    let mut screen = Screen::new(tty, &app, &hints)?;
    if let Some((width, height)) = tty::size() {
        app.update(Event::Resize(width, height));
    }
    // The first frame waits for nobody.
    app.update(Event::Tick(Timestamp::now()));
    screen.draw(&mut app)?;
    let keys = Keys::default();
    reader::read(sender.0, keys.clone(), (app.picture_means(), hints.clone()));

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
                    Command::Suspend => screen.suspend(&keys)?,
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
                Some(Input::Listens(listens)) => screen.hears(listens),
                Some(Input::Answered) => screen.answered(),
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
        screen.listen(&keys, app.shows_pictures());
    };
    if matches!(outcome, Outcome::Left) {
        screen.settle(&keys);
    }
    drop(screen);
    drop(guard);
    finished.finish();
    Ok(outcome)
}

/// The terminal and what it shows.
struct Screen {
    tty: Tty,
    painter: Painter,
    drawn_at: Option<Instant>,
    /// What pictures may take of the line.
    budget: Budget,
    /// What of them is on its way.
    link: Link,
    /// Asks how far it has come.
    probe: Vec<u8>,
    /// The answers are wanted.
    listens: bool,
    /// Those that are no text.
    posters: Posters,
}

impl Screen {
    fn new(mut tty: Tty, app: &App, hints: &Hints) -> io::Result<Self> {
        // A tmux would answer for itself, long before the terminal behind it.
        let probe = if hints.tmux { kitty::wrapped(PROBE) } else { PROBE.to_owned() };
        tty.enter()?;
        let (width, height) = size();
        let budget = Budget::new(app.picture_rate(), budget::is_remote(), Instant::now());
        Ok(Self {
            tty,
            painter: Painter::new(width, height),
            drawn_at: None,
            budget,
            link: Link::default(),
            probe: probe.into_bytes(),
            listens: false,
            posters: Posters::default(),
        })
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
        let pictures = waiting.then(|| self.ready_in(Instant::now()));
        // A little late rather than early: then it is past what was waited for. A clock that was
        // set back must not make it wait for the old time.
        (Duration::try_from(left).unwrap_or_default() + Duration::from_millis(2))
            .min(pictures.unwrap_or(Duration::MAX))
            .min(Duration::from_mins(1))
    }

    /// How soon a frame is due: by what changed, or because the terminal's picture is lost.
    fn due(&self, app: &App) -> Option<Urgency> {
        let goes = app.pictures_wait() && self.posters.is_empty() && self.ready_in(Instant::now()).is_zero();
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
        self.learn();
        if self.due(app).is_some_and(|urgency| self.pause(urgency).is_zero()) {
            self.draw(app)?;
        }
        self.send_pictures()
    }

    /// Bytes that are written in one.
    fn unit(&self) -> usize {
        self.budget.unit(self.link.room())
    }

    /// When the next piece of a picture may go.
    fn ready_in(&self, now: Instant) -> Duration {
        self.budget.ready_in(now).max(self.link.ready_in(now))
    }

    /// Where nobody answers, what is known of the line is how it takes what is written.
    fn learn(&mut self) {
        if let Some((bytes, took)) = self.tty.drained().filter(|_| !self.link.is_measured()) {
            self.budget.drained(bytes, took, Instant::now());
        }
    }

    /// The terminal's answers are taken, or no longer.
    fn hears(&mut self, hears: bool) {
        let patience = ANSWERS[usize::from(self.probe != PROBE.as_bytes())];
        if self.link.listen(hears, patience, Instant::now()) {
            self.tty.queue(&self.probe);
        }
    }

    fn answered(&mut self) {
        let now = Instant::now();
        if let Some((bytes, took)) = self.link.answered(now) {
            self.budget.learn(bytes, took, now);
        }
    }

    /// A piece of a picture was queued.
    fn spend(&mut self, bytes: usize, now: Instant) {
        self.budget.spend(bytes, now);
        if bytes > 0 && self.link.is_measured() {
            self.tty.queue(&self.probe);
            self.link.sent(bytes, now);
        }
    }

    /// As much of the pictures as the line bears now.
    fn send_pictures(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            self.link.expire(now);
            if !self.tty.is_flushed() || !self.ready_in(now).is_zero() {
                return Ok(());
            }
            self.posters.refine(self.budget.most(), self.unit());
            let Some(unit) = self.posters.next_unit() else { return Ok(()) };
            self.painter.lose_place();
            self.tty.queue(&unit);
            self.spend(unit.len(), now);
            self.tty.flush()?;
            self.learn();
        }
    }

    fn draw(&mut self, app: &mut App) -> io::Result<()> {
        let now = Instant::now();
        self.link.expire(now);
        let held = !self.posters.is_empty() || !self.ready_in(now).is_zero();
        app.hold_pictures(held, self.budget.piece(self.link.room()));
        if self.painter.is_lost() {
            self.posters.forget();
            app.lose_pictures();
        }
        app.prepare();
        for area in self.posters.hang(&app.posters(), self.budget.most(), self.unit()) {
            self.painter.damage(area);
        }
        let links = app.links();
        let bytes = self.painter.linked_frame(&links, |buf| draw(app, buf));
        app.drawn();
        self.drawn_at = Some(now);
        self.tty.queue(&bytes);
        if app.has_new_pictures() {
            self.spend(bytes.len(), now);
        }
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

    /// Has the answers taken while pictures are shown.
    fn listen(&mut self, keys: &Keys, shows: bool) {
        if cfg!(unix) && self.listens != shows {
            self.listens = shows;
            self.link.want(shows, Instant::now());
            keys.listen(shows);
        }
    }

    /// Before the terminal is given back: what it answers after that would be taken for typed.
    fn settle(&mut self, keys: &Keys) {
        let Some(answers) = self.link.awaits() else { return };
        let until = Instant::now() + SETTLES;
        // What was not asked yet, as it waits for room, is asked now, or would be answered later.
        while self.tty.flush().is_ok() && !keys.wait_for_answers(answers, OFFER) && Instant::now() < until {}
    }

    /// Gives the terminal to the person's editor until it ends.
    fn edit(&mut self, job: JobId, text: &str, keys: &Keys) -> io::Result<Result<String, String>> {
        self.settle(keys);
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
    fn suspend(&mut self, keys: &Keys) -> io::Result<()> {
        self.settle(keys);
        self.tty.leave();
        watch::stop_here();
        self.enter()
    }
}

/// OSC 52: the terminal's clipboard takes base64.
fn clipboard(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", base64(text.as_bytes()))
}
