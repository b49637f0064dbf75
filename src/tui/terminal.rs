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
use super::{Painter, draw};
use crate::editor::Draft;
use crate::job::JobId;

mod tty;
mod watch;

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
    /// Back from a stop: the shell may have changed the terminal.
    Continued,
    HungUp,
}

/// The size of the terminal, columns and lines; what to hand to [`super::Setup`].
pub fn size() -> (u16, u16) {
    tty::size().unwrap_or((80, 24))
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
    let mut screen = Screen::new(tty)?;
    if let Some((width, height)) = tty::size() {
        app.update(Event::Resize(width, height));
    }
    // The first frame waits for nobody.
    app.update(Event::Tick(Timestamp::now()));
    screen.draw(&mut app)?;
    let keys = Keys::default();
    read_keys(sender.0, keys.clone());

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
                    Command::Redraw => screen.forget(),
                    Command::Copy(text) => screen.tty.queue(clipboard(&text).as_bytes()),
                    other => commands(other),
                }
            }
            match next.take() {
                Some(Input::Event(event)) => {
                    if let Event::Resize(width, height) = event {
                        screen.painter.resize(width, height);
                    }
                    pending = app.update(event);
                }
                Some(Input::Signal(number)) => ended = Some(Outcome::Signal(number)),
                Some(Input::HungUp) => ended = Some(Outcome::HungUp),
                Some(Input::Continued) => screen.enter()?,
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
fn read_keys(sender: Sender<Input>, keys: Keys) {
    std::thread::spawn(move || {
        loop {
            keys.rest();
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
}

impl Screen {
    fn new(mut tty: Tty) -> io::Result<Self> {
        tty.enter()?;
        let (width, height) = size();
        Ok(Self { tty, painter: Painter::new(width, height), drawn_at: None })
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
        // A little late rather than early: then it is past what was waited for. A clock that was
        // set back must not make it wait for the old time.
        (Duration::try_from(left).unwrap_or_default() + Duration::from_millis(2)).min(Duration::from_mins(1))
    }

    /// How soon a frame is due: by what changed, or because the terminal's picture is lost.
    fn due(&self, app: &App) -> Option<Urgency> {
        if self.painter.is_lost() { Some(Urgency::Now) } else { app.due() }
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
        if self.due(app).is_some_and(|urgency| self.pause(urgency).is_zero()) {
            self.draw(app)?;
        }
        Ok(())
    }

    fn draw(&mut self, app: &mut App) -> io::Result<()> {
        app.prepare();
        let bytes = self.painter.frame(|buf| draw(app, buf));
        app.drawn();
        self.drawn_at = Some(Instant::now());
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
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("\x1b]52;c;");
    for three in text.as_bytes().chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out.push('\x07');
    out
}

#[cfg(test)]
mod tests {
    use super::clipboard;

    #[test]
    fn the_clipboard_speaks_base64() {
        assert_eq!(clipboard("a"), "\x1b]52;c;YQ==\x07");
        assert_eq!(clipboard("outputs/x.mp4"), "\x1b]52;c;b3V0cHV0cy94Lm1wNA==\x07");
        assert_eq!(clipboard("歩"), "\x1b]52;c;5q2p\x07");
    }
}
