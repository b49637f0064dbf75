//! Takes the terminal's answers: to the question for its pictures, and to how far it has come with them. Runs on the
//! thread that reads keys, in the place of crossterm, which would take some of the answers for keys.

use std::sync::mpsc::Sender;
#[cfg(unix)]
use std::time::{Duration, Instant};

use super::Input;
use super::reader::Keys;
use super::replies::{Hints, Replies};
use crate::config::PictureMeans;
use crate::tui::app::Event;
use crate::tui::graphics::Graphics;

/// After this long without the last answer pictures are shown by what is known.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_millis(700);
/// An answer that comes later than this is not waited for.
#[cfg(unix)]
const LATEST: Duration = Duration::from_secs(6);
/// Behind a tmux, whose own answers come at once.
#[cfg(unix)]
const BEHIND: Duration = Duration::from_millis(300);
/// After this long an escape that nothing follows is the key.
#[cfg(unix)]
const FOLLOWS: Duration = Duration::from_millis(30);

/// Reads until no more answers are wanted; what is typed meanwhile is passed on.
#[cfg(unix)]
pub fn take_answers(sender: &Sender<Input>, keys: &Keys, wanted: PictureMeans, hints: &Hints) {
    let listening = Listening { sender, keys, wanted, hints };
    if listening.run().is_some() {
        // Nobody hears it where the dashboard has ended.
        let _ = sender.send(Input::Listens(false));
    }
}

#[cfg(unix)]
struct Listening<'a> {
    sender: &'a Sender<Input>,
    keys: &'a Keys,
    wanted: PictureMeans,
    hints: &'a Hints,
}

/// The question for pictures, while it is open.
#[cfg(unix)]
struct Asked {
    begun: Instant,
    /// The last answer came.
    ended: Option<Instant>,
    told: Option<Graphics>,
}

#[cfg(unix)]
impl Listening<'_> {
    /// None where the terminal or the dashboard is gone.
    fn run(&self) -> Option<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let stdin = std::io::stdin();
        let mut replies = Replies::default();
        let mut asked = None;
        self.ask(&mut asked)?;
        // What is asked from here on is answered after the question.
        self.sender.send(Input::Listens(true)).ok()?;
        while asked.is_some() || self.keys.listens() {
            if self.keys.are_away() {
                break;
            }
            self.ask(&mut asked)?;
            let is_short = asked.is_some() || replies.is_open();
            let wait = if is_short { FOLLOWS } else { super::reader::LISTENS };
            let wait = Timespec::try_from(wait).unwrap_or_default();
            let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
            let mut bytes = [0; 1024];
            let typed = match poll(&mut ready, Some(&wait)) {
                Ok(0) => replies.pause(),
                Ok(_) => match rustix::io::read(&stdin, &mut bytes[..]) {
                    Ok(0) => return None,
                    Ok(count) => replies.push(bytes.get(..count).unwrap_or_default()),
                    Err(error) if error == rustix::io::Errno::INTR || error == rustix::io::Errno::AGAIN => Vec::new(),
                    Err(_) => return None,
                },
                Err(_) => Vec::new(),
            };
            for event in typed {
                self.sender.send(Input::Event(event)).ok()?;
            }
            let mut answers = replies.take_answers();
            if let Some(question) = &mut asked {
                if answers > 0 && question.ended.is_none() {
                    question.ended = Some(Instant::now());
                    answers -= 1;
                }
                if self.is_answered(question, &replies)? {
                    asked = None;
                }
            }
            for _ in 0..answers {
                self.keys.count_answer();
                self.sender.send(Input::Answered).ok()?;
            }
        }
        Some(())
    }

    /// Has the question asked, where it is to be.
    fn ask(&self, asked: &mut Option<Asked>) -> Option<()> {
        if self.keys.is_asked() {
            self.sender.send(Input::Ready).ok()?;
            *asked = Some(Asked { begun: Instant::now(), ended: None, told: None });
        }
        Some(())
    }

    /// Tells what is known by now, once that is enough; true where no more is to come.
    fn is_answered(&self, asked: &mut Asked, replies: &Replies) -> Option<bool> {
        let patience = if self.hints.tmux { BEHIND } else { Duration::ZERO };
        let is_over = asked.ended.is_some_and(|at| at.elapsed() >= patience) || asked.begun.elapsed() >= LATEST;
        if is_over || asked.begun.elapsed() >= PATIENCE {
            let graphics = replies.graphics(self.wanted, self.hints);
            if asked.told != Some(graphics) {
                self.sender.send(Input::Event(Event::Graphics(graphics))).ok()?;
            }
            asked.told = Some(graphics);
        }
        Some(is_over)
    }
}

/// A console has no bytes to read: by what was set, and by the environment.
#[cfg(windows)]
pub fn take_answers(sender: &Sender<Input>, keys: &Keys, wanted: PictureMeans, hints: &Hints) {
    if keys.is_asked() {
        let _ = sender.send(Input::Event(Event::Graphics(Replies::default().graphics(wanted, hints))));
    }
}
