//! The thread of the inbox: listens, scans, stats and reads, and lets [`super::settle`] decide.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::settle::{Cause, Look, Manner, Read, Settle, Stamp, Tell};
use super::{Event, HELD, Kind, QUEUED, Waited, WatchedDir, kind_of};
use crate::job_file::MAX_BYTES;

/// Folders are listed this often whatever events say.
const RESCAN: Duration = Duration::from_secs(5);
/// After events were lost.
const SCAN_SOON: Duration = Duration::from_millis(20);
/// The same for folders without events.
const RESCAN_POLLED: Duration = Duration::from_secs(2);

/// What is waited for is told at most this often.
const TELL_WAITING: Duration = Duration::from_secs(1);

/// What reaches the thread.
#[derive(Debug)]
pub(super) enum Message {
    Notify(notify::Result<notify::Event>),
    NotYet(PathBuf),
    Again(PathBuf),
    Rescan,
    Stop,
}

/// One folder that is really watched: a [`WatchedDir`], or its `held/`.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a folder")]
#[derive(Debug)]
struct Place {
    path: PathBuf,
    dir: usize,
    held: bool,
    /// `held/` may be missing; an inbox may not.
    optional: bool,
    media: bool,
    settle: Duration,
    /// The path with links resolved, as some systems report it.
    real: PathBuf,
    watch: Watch,
    troubled: bool,
    /// Which folder it was last; and that it had its `queued/`.
    seen: Option<[u64; 2]>,
    had_queued: bool,
}

/// Whether a folder sends events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// It is not asked to.
    Polled,
    Off,
    /// This folder does; one that was removed and made again is another.
    On(u64),
}

pub(super) struct Thread<F> {
    places: Vec<Place>,
    settle: Settle,
    watcher: Option<RecommendedWatcher>,
    started: Instant,
    next_scan: Duration,
    /// What was last told to be waited for, and when.
    told_waiting: (Vec<Waited>, Duration),
    on_event: F,
}

impl<F: FnMut(Event)> Thread<F> {
    pub(super) fn new(dirs: Vec<WatchedDir>, sender: Sender<Message>, on_event: F) -> Self {
        let settle = Settle::new(dirs.iter().map(|dir| dir.max_settle));
        let polled_only = dirs.iter().all(|dir| dir.poll);
        let mut places = Vec::with_capacity(dirs.len() * 2);
        for (index, dir) in dirs.into_iter().enumerate() {
            let place = |path: PathBuf, held, optional| Place {
                real: path.clone(),
                path,
                dir: index,
                held,
                optional,
                media: dir.media,
                settle: dir.settle,
                watch: if dir.poll { Watch::Polled } else { Watch::Off },
                troubled: false,
                seen: None,
                had_queued: false,
            };
            let held = place(dir.path.join(HELD), true, true);
            places.push(place(dir.path, dir.held, false));
            places.push(held);
        }
        // without events (no inotify instance left, say) the scans do it alone
        let watcher = if polled_only {
            None
        } else {
            notify::recommended_watcher(move |event| {
                let _ = sender.send(Message::Notify(event));
            })
            .inspect_err(|error| tracing::warn!("no file events, scanning instead: {error}"))
            .ok()
        };
        Self {
            places,
            settle,
            watcher,
            started: Instant::now(),
            next_scan: Duration::ZERO,
            told_waiting: (Vec::new(), Duration::ZERO),
            on_event,
        }
    }

    /// Runs until it is told to stop, or nobody is left who could.
    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        self.scan();
        loop {
            let wake = self.settle.next().map_or(self.next_scan, |next| next.min(self.next_scan));
            let message = messages.recv_timeout(wake.saturating_sub(self.now()));
            match message {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Message::Notify(event)) => self.event(event),
                Ok(Message::NotYet(path)) => self.settle.not_yet(&path),
                Ok(Message::Again(path)) => self.settle.again(&path, self.now()),
                Ok(Message::Rescan) => {
                    self.settle.forget();
                    self.scan();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            for (path, dir) in self.settle.due(self.now()) {
                let held = self.places.iter().any(|place| place.held && path.parent() == Some(&place.path));
                self.look(&path, dir, held, Cause::Due);
            }
            if self.now() >= self.next_scan {
                self.scan();
            }
            for path in self.settle.missed() {
                (self.on_event)(Event::Gone { path });
            }
            self.tell_waiting();
        }
    }

    /// Now and then: a thousand files that wait are not sorted for each event.
    fn tell_waiting(&mut self) {
        let now = self.now();
        if now < self.told_waiting.1 + TELL_WAITING {
            return;
        }
        let waiting = self.settle.waiting(now);
        self.told_waiting.1 = now;
        if waiting != self.told_waiting.0 {
            self.told_waiting.0.clone_from(&waiting);
            (self.on_event)(Event::Waiting(waiting));
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn event(&mut self, event: notify::Result<notify::Event>) {
        let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
            // the kernel's queue ran over; several such at once are one scan
            self.next_scan = self.next_scan.min(self.now() + SCAN_SOON);
            return;
        };
        let (cause, stirs) = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Any)) => (Cause::Ended, true),
            EventKind::Access(_) => return,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => (Cause::Hint, false),
            // on Linux both halves of a rename also come by themselves
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) if cfg!(target_os = "linux") => return,
            EventKind::Modify(ModifyKind::Name(_)) => (Cause::Ended, true),
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any | EventKind::Other => (Cause::Hint, true),
        };
        for path in event.paths {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let place = self.places.iter().find(|place| place.path == parent || place.real == parent);
            // What lies in the place of an inbox that is away is not for us.
            let place = place.filter(|place| !place.troubled);
            let Some((dir, held, path)) = place.map(|place| (place.dir, place.held, place.path.join(name))) else {
                continue;
            };
            if stirs {
                self.settle.stir(dir, self.now());
            }
            self.look(&path, dir, held, cause);
        }
    }

    /// Lists every folder: the truth, of which events are only hints.
    fn scan(&mut self) {
        let mut polled = false;
        for at in 0..self.places.len() {
            self.watch(at);
            let Some(place) = self.places.get(at) else { continue };
            let (path, dir, held) = (place.path.clone(), place.dir, place.held);
            polled |= !matches!(place.watch, Watch::On(_)) && !place.optional;
            let media = place.media;
            match self.is_here(at).and_then(|()| list(&path, media)) {
                Ok(mut files) => {
                    self.well(at);
                    let there: HashSet<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
                    self.settle.listed(&path, &there);
                    // in the order in which they were written
                    files.sort_by(|(a, a_meta), (b, b_meta)| {
                        (a_meta.modified().ok(), a).cmp(&(b_meta.modified().ok(), b))
                    });
                    for (path, meta) in files {
                        self.look_at(&path, dir, held, Cause::Hint, &meta);
                    }
                }
                Err(error) => self.trouble(at, &error),
            }
        }
        self.next_scan = self.now() + if polled { RESCAN_POLLED } else { RESCAN };
    }

    /// An inbox that had its `queued/` and has lost it is the empty place of a share. One that is another folder than
    /// before is told to be well: it may be back.
    fn is_here(&mut self, at: usize) -> io::Result<()> {
        let Some(place) = self.places.get_mut(at).filter(|place| !place.optional) else { return Ok(()) };
        let meta = fs::metadata(&place.path)?;
        match fs::metadata(place.path.join(QUEUED)) {
            Ok(_) => place.had_queued = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound && place.had_queued => {
                let why = "its folder queued is gone; if no share is to be mounted there, make that folder again";
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let now = [device(&meta), identity(&meta)];
        let is_another = place.seen.replace(now).is_some_and(|seen| seen != now);
        if is_another && !place.troubled {
            let event = Event::Well { dir: place.path.clone() };
            (self.on_event)(event);
        }
        Ok(())
    }

    /// Puts a watch on a folder that has none, or that is another than before.
    fn watch(&mut self, at: usize) {
        let (Some(place), Some(watcher)) = (self.places.get_mut(at), self.watcher.as_mut()) else { return };
        let there = fs::metadata(&place.path).ok().filter(Metadata::is_dir).map(|meta| identity(&meta));
        let wanted = there.map_or(Watch::Off, Watch::On);
        if place.watch == Watch::Polled || place.watch == wanted {
            return;
        }
        if place.watch != Watch::Off {
            // usually the system has dropped it with the folder
            let _ = watcher.unwatch(&place.path);
            place.watch = Watch::Off;
        }
        if wanted != Watch::Off {
            match watcher.watch(&place.path, RecursiveMode::NonRecursive) {
                Ok(()) => place.watch = wanted,
                Err(error) => tracing::warn!("no file events for {}, scanning instead: {error}", place.path.display()),
            }
        }
        place.real = place.path.canonicalize().unwrap_or_else(|_| place.path.clone());
    }

    fn trouble(&mut self, at: usize, error: &io::Error) {
        let Some(place) = self.places.get_mut(at) else { return };
        if place.optional && error.kind() == io::ErrorKind::NotFound {
            place.troubled = false;
            return;
        }
        if !std::mem::replace(&mut place.troubled, true) {
            let event = Event::Trouble { dir: place.path.clone(), why: error.to_string() };
            (self.on_event)(event);
        }
    }

    fn well(&mut self, at: usize) {
        let Some(place) = self.places.get_mut(at) else { return };
        if std::mem::take(&mut place.troubled) {
            let event = Event::Well { dir: place.path.clone() };
            (self.on_event)(event);
        }
    }

    fn look(&mut self, path: &Path, dir: usize, held: bool, cause: Cause) {
        match fs::metadata(path) {
            Ok(meta) => self.look_at(path, dir, held, cause, &meta),
            // a folder that cannot be read any more is not an empty one: the scan tells
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.settle.gone(path),
            Err(_) => {}
        }
    }

    fn look_at(&mut self, path: &Path, dir: usize, held: bool, cause: Cause, meta: &Metadata) {
        let place = self.places.iter().find(|place| place.dir == dir);
        let (media, settle) = place.map_or((false, Duration::ZERO), |place| (place.media, place.settle));
        let Some(kind) = kind_of(path, media).filter(|_| meta.is_file()) else { return };
        // what does not tell by itself that it is whole must stand still
        let tells = matches!(kind, Kind::Job(format) if format.is_complete(b"").is_some());
        let manner =
            Manner { still: (!tells).then_some(settle), most: if kind == Kind::Media { u64::MAX } else { MAX_BYTES } };
        match self.settle.look(path, dir, stamp(meta), cause, manner, self.now()) {
            Look::Leave => {}
            Look::TooBig => {
                let why = format!("it has {} bytes; a job file has at most {} MiB", meta.len(), MAX_BYTES >> 20);
                (self.on_event)(Event::TooBig { path: path.to_owned(), dir_index: dir, why });
            }
            Look::Read => {
                let readable = match kind {
                    Kind::Job(_) => read(path, meta.len()),
                    // its bytes are for whoever takes it
                    Kind::Media => fs::File::open(path).and_then(|file| Ok((Vec::new(), file.metadata()?))),
                };
                let (result, bytes, why) = match readable {
                    Ok((bytes, after)) => {
                        // what was written between the stat and the reading was read, too: not to be told twice
                        self.settle.restamp(path, stamp(&after));
                        let whole = match kind {
                            Kind::Media => after.len() > 0,
                            Kind::Job(format) => {
                                let all = bytes.len() as u64 == after.len();
                                all && format.is_complete(&bytes).unwrap_or(!bytes.trim_ascii().is_empty())
                            }
                        };
                        (if whole { Read::Whole } else { Read::Torn }, bytes, None)
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return self.settle.gone(path),
                    Err(error) => (Read::Failed, Vec::new(), Some(error)),
                };
                let (path, dir_index) = (path.to_owned(), dir);
                match (self.settle.read(&path, result, self.now()), why) {
                    (Tell::Nothing, _) => {}
                    (Tell::Offer { last_call }, _) => {
                        (self.on_event)(Event::Offer { path, dir_index, held, bytes, last_call });
                    }
                    (Tell::Unreadable, why) => {
                        let why = why.map_or_else(String::new, |why| why.to_string());
                        (self.on_event)(Event::Unreadable { path, dir_index, why });
                    }
                }
            }
        }
    }
}

/// The job files of a folder. Entries that vanish meanwhile are left out; anything else that fails, fails.
fn list(folder: &Path, media: bool) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if kind_of(&path, media).is_none() {
            continue;
        }
        match fs::metadata(&path) {
            Ok(meta) => files.push((path, meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// The whole file, and how it stood right after; one that has grown past the limit meanwhile is cut beyond it.
fn read(path: &Path, size: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let file = fs::File::open(path)?;
    (&file).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok((bytes, file.metadata()?))
}

fn stamp(meta: &Metadata) -> Stamp {
    Stamp { size: meta.len(), modified: meta.modified().ok(), identity: identity(meta) }
}

/// The disk that it is on, where that has a number.
fn device(meta: &Metadata) -> u64 {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::dev(meta)
    }
    #[cfg(not(unix))]
    {
        let _ = meta;
        0
    }
}

/// Tells a file from another by the same name.
fn identity(meta: &Metadata) -> u64 {
    #[cfg(unix)]
    {
        std::os::unix::fs::MetadataExt::ino(meta)
    }
    #[cfg(not(unix))]
    {
        let created = meta.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        created.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}
