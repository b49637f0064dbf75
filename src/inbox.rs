//! Watched folders: tells which job files lie there, whole, with their bytes.
//!
//! Edge: the events of the file system, and listing folders. It runs on a thread of its own, moves and changes no
//! file, and decides nothing about jobs: whoever listens takes a file away ([`crate::folder::Folder::take`]) or
//! answers [`Handle::not_yet`]. It must never take a folder that it cannot read for an empty one.
//!
//! Start-up scan and slow re-scan are the truth, events are hints; a file that parses is offered at once.

mod settle;
mod watcher;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use watcher::{Message, Thread};

use crate::job_file::Format;

/// The usual [`WatchedDir::settle`] of a local folder, and of a polled one.
pub const SETTLE: Duration = Duration::from_secs(1);
pub const SETTLE_POLLED: Duration = Duration::from_secs(10);
/// The usual [`WatchedDir::max_settle`].
pub const MAX_SETTLE: Duration = Duration::from_secs(30);
/// The sub-folder whose files are on hold.
const HELD: &str = "held";
/// What is taken goes there: an inbox that has lost it is a share that is not there.
const QUEUED: &str = "queued";

/// One folder to watch. Its `held/` is watched with it; no other sub-folder is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedDir {
    pub path: PathBuf,
    /// How long a file must stand still of which a part could be whole too, where the end of its writing was not
    /// seen. JSON never waits for it.
    pub settle: Duration,
    /// How long a file that is not whole, or of which something is missing, is waited for.
    pub max_settle: Duration,
    /// Only list it, every 2 s: network shares send no events.
    pub poll: bool,
    /// Everything here is on hold.
    pub held: bool,
    /// Pictures, clips and sounds are told of, too.
    pub media: bool,
}

impl WatchedDir {
    /// A local folder with the usual times.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), settle: SETTLE, max_settle: MAX_SETTLE, poll: false, held: false, media: false }
    }
}

/// What the inbox tells. `dir_index` is the folder's place in the list given to [`watch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A job file, or (without bytes) a picture, clip or sound. Told once for each state of the file, and again as
    /// [`Handle::not_yet`] says.
    Offer {
        path: PathBuf,
        dir_index: usize,
        held: bool,
        bytes: Vec<u8>,
        /// It has waited as long as it may: take it or reject it.
        last_call: bool,
    },
    /// A job file that is larger than [`crate::job_file::MAX_BYTES`]; it was not read.
    TooBig {
        path: PathBuf,
        dir_index: usize,
        why: String,
    },
    /// A job file that could not be read for `max_settle`.
    Unreadable {
        path: PathBuf,
        dir_index: usize,
        why: String,
    },
    /// A file to be offered [`Handle::again`] is not there any more.
    Gone {
        path: PathBuf,
    },
    /// All the files that have lain here for a moment, are not taken, and may still be: not whole, or something that
    /// they name is missing. Told when the list changes, with a second's delay.
    Waiting(Vec<Waited>),
    /// A folder that cannot be listed; told once, until it is [`Event::Well`] again.
    Trouble {
        dir: PathBuf,
        why: String,
    },
    Well {
        dir: PathBuf,
    },
}

/// A file that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waited {
    pub path: PathBuf,
    /// False: its bytes are not, or can't be read.
    pub is_whole: bool,
}

/// The watch. Dropping it ends the thread.
#[derive(Debug)]
pub struct Handle {
    sender: Sender<Message>,
}

impl Handle {
    /// The answer to an offer that can't be taken because a file that it names is missing: it is offered again when
    /// something changes in its folder, and each second; after `max_settle` one last time.
    pub fn not_yet(&self, path: &Path) {
        let _ = self.sender.send(Message::NotYet(path.to_owned()));
    }

    /// The answer to anything told of a file that could not be taken, though nothing is wrong with it (the store
    /// is full, the file can't be moved): after a pause it is told anew, as often as it takes.
    pub fn again(&self, path: &Path) {
        let _ = self.sender.send(Message::Again(path.to_owned()));
    }

    /// Looks at everything anew: what still lies there is offered again.
    pub fn rescan(&self) {
        let _ = self.sender.send(Message::Rescan);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Stop);
    }
}

/// Watches folders. `on_event` runs on the inbox's thread: what it spends there, files wait.
///
/// # Errors
/// When no thread can be started.
pub fn watch(dirs: Vec<WatchedDir>, on_event: impl FnMut(Event) + Send + 'static) -> io::Result<Handle> {
    let (sender, messages) = mpsc::channel();
    let events = sender.clone();
    std::thread::Builder::new()
        .name("inbox".to_owned())
        .spawn(move || Thread::new(dirs, events, on_event).run(&messages))?;
    Ok(Handle { sender })
}

/// Endings of pictures, clips and sounds, in small letters.
const MEDIA: &[&str] = &[
    ".png", ".apng", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mp4", ".mov", ".m4v", ".webm",
    ".mkv", ".avi", ".flac", ".wav", ".mp3", ".ogg", ".opus", ".m4a",
];

/// What a file is by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A new format is a line in `job_file/format.rs`.
    Job(Format),
    Media,
}

/// What a file is, if this folder takes such. Hidden files, drafts and back-ups of editors and copying tools, and our
/// own result files are nothing.
fn kind_of(path: &Path, media: bool) -> Option<Kind> {
    const NEVER: &[&str] = &[".tmp", ".part", "~", ".swp", ".result.json"];
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    if name.starts_with(['.', '~', '#']) || NEVER.iter().any(|ending| name.ends_with(ending)) {
        return None;
    }
    let is_media = || media && MEDIA.iter().any(|ending| name.ends_with(ending));
    Format::of(&name).map(Kind::Job).or_else(|| is_media().then_some(Kind::Media))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_job_files_are_job_files() {
        for name in
            ["a.json", "A.JSON", "漢字.json", "a b.json", "x.tmp.json", "a.toml", "a.csv", "a.jsonl", "a.ndjson"]
        {
            assert!(matches!(kind_of(Path::new(name), false), Some(Kind::Job(_))), "{name}");
        }
        for name in ["a.png", "漢字.MP4", "x.webp"] {
            assert_eq!(kind_of(Path::new(name), true), Some(Kind::Media), "{name}");
            assert_eq!(kind_of(Path::new(name), false), None, "{name}: only where they are asked for");
        }
        for name in [
            ".a.json",
            "a.json.tmp",
            "a.json.part",
            "a.json~",
            ".a.json.swp",
            "~$a.json",
            "#a.json#",
            "a.txt",
            ".a.png",
            "a.png.part",
            "json",
            "a.result.json",
            "..",
            "",
        ] {
            assert!(kind_of(Path::new(name), true).is_none(), "{name}");
        }
    }
}
