//! When the driver does what no event asks for: timers, progress for the faces, faces that lagged,
//! a look at the socket's file, and the end of an engine that nobody needs.
//!
//! Deadlines are points in time, so that a flood of events does not push them away; where nothing
//! is due, the engine sleeps.

use std::time::Duration;

use tokio::time::Instant;

use super::Driver;
use super::core::Input;
use crate::faults;

/// How often progress goes to the faces.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// How often bars that move with time alone are looked at.
const TOUCH_EVERY: Duration = Duration::from_secs(1);
/// How often a lagging face is looked at.
const LAG_EVERY: Duration = Duration::from_millis(50);
/// How often the socket's file is looked for.
const SOCKET_EVERY: Duration = Duration::from_secs(30);
/// How often the disk is asked how much room it has.
const DISK_EVERY: Duration = Duration::from_secs(30);
/// How long an engine that ends with its faces waits for the first, and after the last.
const FIRST_FACE: Duration = Duration::from_secs(20);
const LAST_FACE: Duration = Duration::from_millis(300);

pub struct Pace {
    progress_at: Option<Instant>,
    touch_at: Option<Instant>,
    lag_at: Option<Instant>,
    socket_at: Instant,
    disk_at: Instant,
    had_face: bool,
    /// No face is attached since then.
    lonely_since: Instant,
    /// Nothing was to be done since then.
    idle_since: Instant,
    idle_exit: Option<Duration>,
}

impl Pace {
    pub fn new(idle_exit: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            progress_at: None,
            touch_at: None,
            lag_at: None,
            socket_at: now + SOCKET_EVERY,
            disk_at: now,
            had_face: false,
            lonely_since: now,
            idle_since: now,
            idle_exit,
        }
    }

    /// True once each time that the socket's file should be looked for.
    pub fn socket_check_is_due(&mut self) -> bool {
        let due = Instant::now() >= self.socket_at;
        if due {
            self.socket_at = Instant::now() + SOCKET_EVERY;
        }
        due
    }

    /// Does what is due, and sets the next deadlines.
    pub fn keep(&mut self, driver: &mut Driver) {
        let now = Instant::now();
        if driver.state.next_wake().is_some_and(|at| at <= faults::now()) {
            driver.step(Input::Tick);
        }
        if now >= self.disk_at {
            self.disk_at = now + DISK_EVERY;
            driver.look_at_disk();
        }
        let moves = driver.hub.has_watchers() && driver.state.renders();
        if due(&mut self.touch_at, moves, now, TOUCH_EVERY) {
            driver.state.touch_progress();
            driver.progress_due = true;
        }
        if due(&mut self.progress_at, driver.progress_due, now, PROGRESS_EVERY) {
            driver.tell_progress();
        }
        if due(&mut self.lag_at, driver.hub.is_anyone_lagging(), now, LAG_EVERY) {
            driver.catch_up();
        }
        if driver.hub.count() > 0 {
            self.had_face = true;
            self.lonely_since = now;
        }
        if self.idle_exit.is_some() && (driver.hub.count() > 0 || !driver.state.is_idle()) {
            self.idle_since = now;
        }
    }

    fn end_at(&self, driver: &Driver) -> Option<Instant> {
        let patience = if self.had_face { LAST_FACE } else { FIRST_FACE };
        let lonely = (driver.ends_with_faces && driver.hub.count() == 0).then(|| self.lonely_since + patience);
        let idle = self.idle_exit.map(|exit| self.idle_since + exit);
        lonely.into_iter().chain(idle).min()
    }

    /// Nobody needs this engine any longer.
    pub fn is_over(&self, driver: &Driver) -> bool {
        self.end_at(driver).is_some_and(|at| Instant::now() >= at)
    }

    /// Why it is over, for the log.
    pub fn why_over(&self, driver: &Driver) -> &'static str {
        match (driver.ends_with_faces && driver.hub.count() == 0, self.had_face) {
            (true, true) => "the last face has gone",
            (true, false) => "no face came",
            (false, _) => "nothing was to be done for as long as `idle_exit` says",
        }
    }

    /// When [`Pace::keep`] is due next.
    pub fn next(&self, driver: &Driver) -> Instant {
        let now = Instant::now();
        let timer = driver.state.next_wake().map(|at| {
            let wait = at.duration_since(faults::now());
            now + Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        let store = driver.unwritten.as_ref().map(|waits| waits.try_at);
        let deadlines = [timer, store, self.progress_at, self.touch_at, self.lag_at, self.end_at(driver)];
        deadlines.into_iter().flatten().min().unwrap_or(self.socket_at).min(self.socket_at).min(self.disk_at)
    }
}

/// True when the deadline has come. While `wanted` there is one, `every` apart; else there is none.
fn due(deadline: &mut Option<Instant>, wanted: bool, now: Instant, every: Duration) -> bool {
    if !wanted {
        *deadline = None;
        return false;
    }
    match *deadline {
        None => {
            *deadline = Some(now + every);
            false
        }
        Some(at) if now >= at => {
            *deadline = Some(now + every);
            true
        }
        Some(_) => false,
    }
}
