//! The dashboard on a real terminal: keys and signals in, frames out, and every way out clean.
//!
//! One thread decides and draws; others only read (keys, signals, the terminal's end) and send
//! events. Frames are written without ever blocking: while the terminal does not take the last one,
//! no new one is made, so a slow line skips frames and never queues them, and `q` is heard.
//! crossterm 0.29 spins on a terminal that hung up, so that is watched here.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use jiff::Timestamp;

use super::Depth;
use super::app::{App, Command, Event};
use super::graphics::base64;
use crate::editor::Draft;

mod ask;
mod budget;
mod link;
mod posters;
mod reader;
#[cfg_attr(windows, allow(dead_code, reason = "a console gives no bytes to read"))]
mod replies;
mod screen;
mod tty;
mod watch;

use reader::Keys;
use replies::Hints;
use screen::Screen;
use tty::Tty;

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
#[cfg_attr(windows, allow(dead_code, reason = "a console gives no signals and no answers"))]
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
                    Command::Copy(text) => screen.write(clipboard(&text).as_bytes()),
                    other => commands(other),
                }
            }
            match next.take() {
                Some(Input::Event(event)) => {
                    if let Event::Resize(width, height) = event {
                        screen.resize(width, height);
                    }
                    if let Event::Graphics(graphics) = event {
                        screen.show_by(graphics);
                    }
                    pending = app.update(event);
                }
                Some(Input::Signal(number)) => ended = Some(Outcome::Signal(number)),
                Some(Input::HungUp) => ended = Some(Outcome::HungUp),
                Some(Input::Continued) => screen.enter()?,
                Some(Input::Ready) => screen.write(replies::question(&hints).as_bytes()),
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

/// OSC 52: the terminal's clipboard takes base64.
fn clipboard(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", base64(text.as_bytes()))
}
