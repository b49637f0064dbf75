//! Takes the terminal's answers to the question for its pictures. Runs on the thread that reads keys, in the place of
//! crossterm, which would take some of the answers for keys.

use std::sync::mpsc::Sender;
#[cfg(unix)]
use std::time::Duration;

use super::Input;
use super::replies::{Hints, Replies};
use crate::config::PictureMeans;
use crate::tui::app::Event;

/// After this long without the last answer pictures are shown by what is known.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_millis(700);
/// An answer that comes later than this would be taken for keys.
#[cfg(unix)]
const LATEST: Duration = Duration::from_secs(6);
/// Behind a tmux, whose own answers come at once.
#[cfg(unix)]
const BEHIND: Duration = Duration::from_millis(300);

/// Has the question sent, and tells what comes of it; keys that are typed meanwhile are passed on.
#[cfg(unix)]
pub fn take_answers(sender: &Sender<Input>, wanted: PictureMeans, hints: &Hints) {
    use std::time::Instant;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdin = std::io::stdin();
    let mut replies = Replies::default();
    let begun = Instant::now();
    let mut ended: Option<Instant> = None;
    let mut told = None;
    if sender.send(Input::Ready).is_err() {
        return;
    }
    loop {
        let wait = Timespec { tv_sec: 0, tv_nsec: 30_000_000 };
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let mut bytes = [0; 1024];
        let keys = match poll(&mut ready, Some(&wait)) {
            Ok(0) => replies.pause(),
            Ok(_) => match rustix::io::read(&stdin, &mut bytes[..]) {
                Ok(0) => return,
                Ok(count) => replies.push(bytes.get(..count).unwrap_or_default()),
                Err(error) if error == rustix::io::Errno::INTR || error == rustix::io::Errno::AGAIN => Vec::new(),
                Err(_) => return,
            },
            Err(_) => Vec::new(),
        };
        if keys.into_iter().any(|key| sender.send(Input::Event(Event::Key(key))).is_err()) {
            return;
        }
        if replies.done {
            ended.get_or_insert_with(Instant::now);
        }
        let patience = if hints.tmux { BEHIND } else { Duration::ZERO };
        let is_over = ended.is_some_and(|at| at.elapsed() >= patience) || begun.elapsed() >= LATEST;
        if is_over || begun.elapsed() >= PATIENCE {
            let graphics = replies.graphics(wanted, hints);
            if told != Some(graphics) && sender.send(Input::Event(Event::Graphics(graphics))).is_err() {
                return;
            }
            told = Some(graphics);
        }
        if is_over {
            return;
        }
    }
}

/// A console has no bytes to read: by what was set, and by the environment.
#[cfg(windows)]
pub fn take_answers(sender: &Sender<Input>, wanted: PictureMeans, hints: &Hints) {
    let _ = sender.send(Input::Event(Event::Graphics(Replies::default().graphics(wanted, hints))));
}
