//! Signals, and the terminal's end. Whatever the other threads do, the process ends within a second
//! of either.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Input;
use super::tty::{self, Tty};
use crate::tui::app::Event;

/// The dashboard gets this long to end by itself.
const PATIENCE: Duration = Duration::from_millis(700);

/// The person's editor has the terminal: its Ctrl-C is not ours.
static EDITING: AtomicBool = AtomicBool::new(false);

pub fn set_editing(editing: bool) {
    EDITING.store(editing, Ordering::SeqCst);
}

/// Told when the dashboard has ended.
#[derive(Debug, Clone, Default)]
pub struct Finished(Arc<(Mutex<bool>, Condvar)>);

impl Finished {
    pub fn finish(&self) {
        let (done, told) = &*self.0;
        *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        told.notify_all();
    }

    /// Ends the process, unless the dashboard ends first.
    fn or_exit(&self, code: i32) {
        let (done, told) = &*self.0;
        let lock = done.lock().unwrap_or_else(PoisonError::into_inner);
        let (lock, _) = told.wait_timeout_while(lock, PATIENCE, |done| !*done).unwrap_or_else(PoisonError::into_inner);
        if !*lock {
            tty::restore();
            std::process::exit(code);
        }
    }
}

#[cfg(unix)]
pub fn start(tty: &Tty, sender: &Sender<Input>) -> io::Result<Finished> {
    use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};

    let finished = Finished::default();
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCONT, SIGWINCH])?;
    let (to, done) = (sender.clone(), finished.clone());
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGCONT {
                let _ = to.send(Input::Continued);
                continue;
            }
            if signal == SIGWINCH {
                if let Some((width, height)) = tty::size() {
                    let _ = to.send(Input::Event(Event::Resize(width, height)));
                }
                continue;
            }
            if signal == SIGINT && EDITING.load(Ordering::SeqCst) {
                continue;
            }
            let _ = to.send(Input::Signal(signal));
            done.or_exit(128 + signal);
        }
    });
    let (to, done, watched) = (sender.clone(), finished.clone(), tty.handle()?);
    std::thread::spawn(move || {
        wait_for_hang_up(&watched);
        let _ = to.send(Input::HungUp);
        done.or_exit(128 + SIGHUP);
    });
    Ok(finished)
}

#[cfg(windows)]
pub fn start(_: &Tty, _: &Sender<Input>) -> io::Result<Finished> {
    // A console that closes ends its processes by itself; Ctrl-C arrives as a key.
    Ok(Finished::default())
}

/// Sleeps until the terminal is gone.
#[cfg(unix)]
fn wait_for_hang_up(terminal: &std::fs::File) {
    use rustix::event::{PollFd, PollFlags, poll};

    let gone = PollFlags::HUP | PollFlags::ERR;
    loop {
        // Asked for nothing, poll wakes for a hang-up only.
        let mut fds = [PollFd::new(terminal, PollFlags::empty())];
        match poll(&mut fds, None) {
            Ok(_) if fds.iter().any(|fd| fd.revents().intersects(gone)) => return,
            Err(rustix::io::Errno::INTR) => {}
            // Some systems do not poll terminals: then ask now and then.
            Ok(_) | Err(_) => {
                if rustix::termios::tcgetattr(terminal).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    }
}

/// Stops the process (and what was started with it) as Ctrl-Z does, until it is continued. The
/// kernel ignores it where nobody could continue us.
#[cfg(unix)]
pub fn stop_here() {
    let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
    // The signal may go to another thread: give it time to stop this one before it draws again.
    std::thread::sleep(Duration::from_millis(50));
}

#[cfg(windows)]
pub fn stop_here() {}
