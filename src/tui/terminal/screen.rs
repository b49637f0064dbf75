//! The terminal and what it shows: frames, and pictures between them as the line bears them.
//!
//! Never waits for the terminal, but before it is given back.

use std::io;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::budget::{self, Budget};
use super::link::Link;
use super::posters::Posters;
use super::reader::Keys;
use super::replies::Hints;
use super::tty::Tty;
use super::{size, watch};
use crate::editor::Draft;
use crate::job::JobId;
use crate::tui::app::{App, Urgency};
use crate::tui::graphics::{Graphics, kitty};
use crate::tui::{Painter, draw};

/// At most 30 frames a second.
const FRAME: Duration = Duration::from_millis(33);
/// Numbers that move by themselves: four times a second.
const CALM: Duration = Duration::from_millis(250);
/// How often a terminal that took only a part of a frame is offered the rest.
const OFFER: Duration = Duration::from_millis(8);
/// Asks the terminal for its status: it answers when it has taken all that came before.
const PROBE: &str = "\x1b[5n";
/// Nobody waits longer than this for the last answers.
const SETTLES: Duration = Duration::from_secs(2);
/// How long the first answer may take; and behind a tmux, which lets the question through only if it is set so.
const ANSWERS: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(1)];

/// The terminal and what it shows.
pub struct Screen {
    tty: Tty,
    painter: Painter,
    drawn_at: Option<Instant>,
    /// What pictures may take of the line.
    budget: Budget,
    /// What of them is on its way.
    link: Link,
    /// Asks how far it has come.
    probe: Vec<u8>,
    /// Those that are no text.
    posters: Posters,
}

impl Screen {
    pub fn new(mut tty: Tty, app: &App, hints: &Hints) -> io::Result<Self> {
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
            posters: Posters::default(),
        })
    }

    /// Bytes for the terminal that are none of a frame.
    pub fn write(&mut self, bytes: &[u8]) {
        self.tty.queue(bytes);
    }

    /// The terminal has another size: all is painted anew.
    pub fn resize(&mut self, width: u16, height: u16) {
        self.painter.resize(width, height);
    }

    /// How pictures are shown from here on.
    pub fn show_by(&mut self, graphics: Graphics) {
        self.posters.set(graphics);
    }

    /// How long nothing needs to be done.
    pub fn wait(&self, app: &App) -> Duration {
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
    pub fn refresh(&mut self, app: &mut App) -> io::Result<()> {
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
    pub fn hears(&mut self, hears: bool) {
        let patience = ANSWERS[usize::from(self.probe != PROBE.as_bytes())];
        if self.link.listen(hears, patience, Instant::now()) {
            self.tty.queue(&self.probe);
        }
    }

    pub fn answered(&mut self) {
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

    pub fn draw(&mut self, app: &mut App) -> io::Result<()> {
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
    pub fn enter(&mut self) -> io::Result<()> {
        self.tty.enter()?;
        let (width, height) = size();
        self.painter.resize(width, height);
        self.drawn_at = None;
        Ok(())
    }

    pub fn forget(&mut self) {
        self.painter.forget();
    }

    /// Has the answers taken while pictures are shown.
    pub fn listen(&mut self, keys: &Keys, shows: bool) {
        if cfg!(unix) && keys.listen(shows) {
            self.link.want(shows, Instant::now());
        }
    }

    /// Before the terminal is given back: what it answers after that would be taken for typed.
    pub fn settle(&mut self, keys: &Keys) {
        let Some(answers) = self.link.awaits() else { return };
        let until = Instant::now() + SETTLES;
        // What was not asked yet, as it waits for room, is asked now, or would be answered later.
        while self.tty.flush().is_ok() && !keys.wait_for_answers(answers, OFFER) && Instant::now() < until {}
    }

    /// Gives the terminal to the person's editor until it ends.
    pub fn edit(&mut self, job: JobId, text: &str, keys: &Keys) -> io::Result<Result<String, String>> {
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
    pub fn suspend(&mut self, keys: &Keys) -> io::Result<()> {
        self.settle(keys);
        self.tty.leave();
        watch::stop_here();
        self.enter()
    }
}
