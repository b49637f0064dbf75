//! Who reads what is typed: crossterm; while pictures are shown, `ask`, as the terminal's answers come among the keys;
//! and nobody while another program has the terminal.

use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event as TermEvent};

use super::replies::Hints;
use super::{Input, ask};
use crate::config::PictureMeans;
use crate::tui::app::Event;

/// How long the reader of keys waits before it sees whether somebody else wants them.
pub(super) const LISTENS: Duration = Duration::from_millis(400);

/// Whose the keys are: ours, or those of a program that has the terminal for a while.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<(Mutex<Owner>, Condvar)>);

/// Who reads them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Holder {
    #[default]
    Reader,
    /// Our reader, until it has heard that another wants them.
    Waited,
    Other,
}

#[derive(Debug, Default)]
struct Owner {
    holder: Holder,
    /// The terminal is to be asked how it shows pictures.
    asked: bool,
    /// It is asked now and then how far it has come.
    listens: bool,
    /// Answers to that so far.
    answers: u64,
}

impl Keys {
    fn set(&self, change: impl FnOnce(&mut Owner)) {
        let (owner, told) = &*self.0;
        change(&mut owner.lock().unwrap_or_else(PoisonError::into_inner));
        told.notify_all();
    }

    fn get<T>(&self, read: impl FnOnce(&mut Owner) -> T) -> T {
        read(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wait_while(&self, condition: impl Fn(&Owner) -> bool) {
        let (owner, told) = &*self.0;
        let lock = owner.lock().unwrap_or_else(PoisonError::into_inner);
        drop(told.wait_while(lock, |owner| condition(owner)));
    }

    /// Our reader reads nothing more from here on.
    pub fn give_away(&self) {
        self.set(|owner| owner.holder = Holder::Waited);
        let (owner, told) = &*self.0;
        let lock = owner.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended (the terminal is gone) reads nothing either.
        drop(told.wait_timeout_while(lock, LISTENS * 3, |owner| owner.holder == Holder::Waited));
    }

    /// Has the reader take the terminal's answers.
    pub fn ask(&self) {
        self.set(|owner| owner.asked = true);
    }

    /// Has the reader take the terminal's answers from here on, or no longer; true where that is new.
    pub fn listen(&self, listens: bool) -> bool {
        self.get(|owner| std::mem::replace(&mut owner.listens, listens) != listens)
    }

    /// An answer has come.
    #[cfg(unix)]
    pub(super) fn count_answer(&self) {
        self.set(|owner| owner.answers += 1);
    }

    /// Waits a little for so many answers; false where they have not come.
    pub fn wait_for_answers(&self, count: u64, patience: Duration) -> bool {
        let (owner, told) = &*self.0;
        let lock = owner.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = told.wait_timeout_while(lock, patience, |owner| owner.answers < count);
        waited.is_ok_and(|(_, waited)| !waited.timed_out())
    }

    /// The question for pictures is to be asked now.
    pub(super) fn is_asked(&self) -> bool {
        self.get(|owner| std::mem::take(&mut owner.asked))
    }

    /// What comes is to be read for answers.
    pub(super) fn listens(&self) -> bool {
        self.get(|owner| owner.holder == Holder::Reader && (owner.asked || owner.listens))
    }

    #[cfg(unix)]
    pub(super) fn are_away(&self) -> bool {
        self.get(|owner| owner.holder != Holder::Reader)
    }

    pub fn take_back(&self) {
        self.set(|owner| owner.holder = Holder::Reader);
    }

    /// For the reader: rests while they are given away.
    fn rest(&self) {
        self.set(|owner| {
            if owner.holder == Holder::Waited {
                owner.holder = Holder::Other;
            }
        });
        self.wait_while(|owner| owner.holder != Holder::Reader);
    }
}

/// Keys and pastes, from crossterm, on a thread of their own. Sizes are told by their signal, where there are signals.
pub fn read(sender: Sender<Input>, keys: Keys, pictures: (PictureMeans, Hints)) {
    std::thread::spawn(move || {
        loop {
            keys.rest();
            if keys.listens() {
                ask::take_answers(&sender, &keys, pictures.0, &pictures.1);
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
                Ok(TermEvent::Resize(width, height)) if cfg!(windows) => Input::Event(Event::Resize(width, height)),
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
