//! How a dropped file becomes jobs: read, filled, its inputs kept, its rows written, the file moved.
//!
//! The row first, then the rename, then the place: whatever dies in between, the file is either
//! still in the inbox and unknown, or known and found again by its number.

mod away;
mod editing;
mod kept;
mod media;
mod numbering;
mod reading;
mod reconcile;
mod shelf;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::core::{Effect, Input, OpenFile};
use super::{Driver, Event};
use crate::config::{Config, InboxConfig};
use crate::folder::{Folder, KeptInput, dropped_name, number_of};
use crate::inbox::{self, Waited, WatchedDir};
use crate::job::{JobId, JobState};
use crate::job_file::Format;
use crate::protocol::{Answer, Level};
use crate::store::{FileRow, NewFile, Place, StoreError, Write};
use crate::text;
use crate::workflow::asked;

use numbering::{Batch, hash};
use reading::{Draft, Drafts, LARGE, Missing, Reader, Wait, rejection};
use shelf::Shelf;

/// What the intake remembers between two offers.
#[derive(Debug, Default)]
pub(super) struct Intake {
    shelf: Shelf,
    /// Folders that can't be read, and why.
    folders: BTreeMap<PathBuf, String>,
    seats: away::Seats,
    /// Files that could not be taken, and why; they are tried again.
    untaken: BTreeMap<PathBuf, String>,
    /// Files that name others which are not there: which.
    wants: HashMap<PathBuf, Missing>,
    /// Files that have lain a moment and can't be taken yet.
    waiting: Vec<Waited>,
}

/// The folders to watch, in the order of [`Folder::inboxes`]. `is_share`: a folder that sends no events; it is
/// polled, whatever the config says.
pub fn watched(config: &Config, folder: &Folder, is_share: impl Fn(&Path) -> bool) -> Vec<WatchedDir> {
    let watch = |(index, path): (usize, &PathBuf)| {
        let usual = WatchedDir::local(path);
        let inbox = config.inboxes.get(index);
        let poll = inbox.is_some_and(|i| i.poll) || is_share(path);
        let settle = if poll { inbox::SETTLE_POLLED } else { usual.settle };
        WatchedDir {
            settle: inbox.and_then(|i| i.settle).unwrap_or(settle),
            max_settle: inbox.and_then(|i| i.max_settle).unwrap_or(usual.max_settle),
            poll,
            held: inbox.is_some_and(|i| i.hold),
            media: inbox.is_some_and(InboxConfig::takes_media),
            ..usual
        }
    };
    folder.inboxes.iter().enumerate().map(watch).collect()
}

/// A file on its way in.
pub(super) struct Drop {
    /// As [`dropped_name`] has it, without the number of an earlier round.
    name: String,
    /// Relative paths are resolved here.
    dir: PathBuf,
    /// `None`: handed in by a verb.
    path: Option<PathBuf>,
    bytes: Vec<u8>,
    held: bool,
    /// Nothing more is waited for.
    last_call: bool,
    /// The inbox's own settings.
    inbox: InboxConfig,
    /// Of a picture's own bytes: its text only stands for it.
    hash: Option<String>,
    /// Its jobs are posted without looking at what the server says of its nodes.
    no_preflight: bool,
    /// Large files that it names, copied already.
    copies: HashMap<PathBuf, Result<KeptInput, String>>,
}

impl Drop {
    fn at(path: PathBuf, bytes: Vec<u8>) -> Self {
        Self {
            name: dropped_name(path.file_name().unwrap_or_default()),
            dir: path.parent().unwrap_or(Path::new(".")).to_owned(),
            path: Some(path),
            bytes,
            held: false,
            last_call: true,
            inbox: InboxConfig::default(),
            hash: None,
            no_preflight: false,
            copies: HashMap::new(),
        }
    }

    /// A picture, clip or sound, not a job file.
    fn is_media(&self) -> bool {
        Format::of(&self.name).is_none() && self.inbox.takes_media()
    }

    /// How its text is written; a picture's is ours.
    fn format(&self) -> Format {
        Format::of(&self.name).unwrap_or(Format::Json)
    }

    /// Nobody waits for an answer.
    fn can_wait(&self) -> bool {
        self.path.is_some()
    }
}

fn log_taken(name: &str, jobs: &[JobId]) {
    let name = text::clean(name);
    if let [first, .., last] = jobs {
        tracing::info!("{name} is taken: {first} to {last}");
    } else {
        tracing::info!("{name} is taken: {}", jobs.first().copied().unwrap_or(JobId(0)));
    }
}

/// What became of one.
enum Made {
    File(NewFile),
    /// Files that it names are not there yet.
    NotYet(Missing),
    /// Large files are to be copied first.
    Copies(Vec<PathBuf>),
    /// Its workflow can't be read for now.
    Unread(String),
    /// It came back from `failed/`: these of its jobs are to run again.
    Returned(FileRow, Vec<JobId>),
    /// It is the input of another: it stays where it is.
    Input,
}

impl Driver {
    pub(super) fn take_offers(&mut self, events: Vec<inbox::Event>) {
        let before = self.banners();
        let mut drops = Vec::new();
        let mut unread = Batch::default();
        for event in events {
            match event {
                inbox::Event::Offer { path, dir_index, held, bytes, last_call } => {
                    let inbox = self.config.inboxes.get(dir_index).cloned().unwrap_or_default();
                    drops.push(Drop { held, last_call, inbox, ..Drop::at(path, bytes) });
                }
                inbox::Event::Unreadable { path, why, .. } | inbox::Event::TooBig { path, why, .. } => {
                    let mut drop = Drop::at(path, Vec::new());
                    let drafts = Drafts::alone(Draft::rejected(&drop.name, rejection(why, "")));
                    let file = self.number(&mut drop, drafts, &unread);
                    unread.add(drop.path, file);
                }
                inbox::Event::Gone { path } => {
                    self.intake.untaken.remove(&path);
                }
                inbox::Event::Waiting(waiting) => {
                    self.intake.wants.retain(|path, _| waiting.iter().any(|w| w.path == *path));
                    self.intake.waiting = waiting;
                }
                inbox::Event::Trouble { dir, why } => {
                    self.intake.folders.insert(dir, why);
                }
                inbox::Event::Well { dir } => {
                    self.intake.folders.remove(&dir);
                    self.finish_what_waits();
                }
            }
        }
        self.keep(unread);
        // job files first: what they name is no job of its own
        drops.sort_by_key(Drop::is_media);
        self.take_drops(drops);
        if self.banners() != before {
            self.tell_banners();
        }
    }

    pub(super) fn tell_banners(&mut self) {
        let banners = self.banners();
        self.step(Input::Banners(banners));
    }

    pub(super) fn banners(&self) -> Vec<String> {
        let folder = |(dir, why): (&PathBuf, &String)| {
            let waits = match self.intake.seats.unfinished() {
                0 => String::new(),
                count => format!("; {count} finished there are put away when it is back"),
            };
            format!("the inbox {} can't be read: {why}{waits}", text::clean(&dir.display().to_string()))
        };
        let store = |why: &String| format!("{why}: nothing is sent or lost until it can be; it is tried again");
        let mut banners: Vec<_> = self.store_trouble.iter().map(store).collect();
        banners.extend(self.intake.folders.iter().map(folder));
        let more = |count: usize| if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
        if let Some(why) = self.intake.untaken.values().next() {
            banners.push(format!("{why}{}; it is tried again", more(self.intake.untaken.len())));
        }
        let why = |waited: &Waited| {
            let name = text::clean(&waited.path.file_name().unwrap_or_default().to_string_lossy()).into_owned();
            match self.intake.wants.get(&waited.path) {
                _ if !waited.is_whole => Some(format!("{name} is not whole yet")),
                // Without, it is on its way: large files of it are copied.
                missing => missing.map(|missing| format!("{name} waits for {}", missing.words)),
            }
        };
        let waiting: Vec<_> = self.intake.waiting.iter().filter_map(why).collect();
        if let Some(first) = waiting.first() {
            banners.push(format!("{first}{}", more(waiting.len())));
        }
        banners
    }

    /// A file stays in the inbox through no fault of its own.
    fn not_taken(&mut self, path: PathBuf, why: &str) {
        if let Some(inbox) = &self.inbox {
            inbox.again(&path);
        }
        let name = text::clean(&path.file_name().unwrap_or_default().to_string_lossy()).into_owned();
        let why = format!("{name} can't be taken: {why}");
        if self.intake.untaken.get(&path) != Some(&why) {
            tracing::error!("{why}");
            self.intake.untaken.insert(path, why);
        }
    }

    fn take_drops(&mut self, drops: Vec<Drop>) {
        let mut batch = Batch::default();
        for mut drop in drops {
            let made = self.make(&mut drop, &batch);
            match (made, drop.path.clone()) {
                (Ok(Made::File(file)), path) => {
                    batch.add(path, file);
                    if batch.is_full() {
                        self.keep(std::mem::take(&mut batch));
                    }
                }
                (Ok(Made::NotYet(missing)), path) => {
                    if let (Some(inbox), Some(path)) = (&self.inbox, path) {
                        // what only a server can say is waited for as long as it takes
                        if drop.last_call {
                            inbox.again(&path);
                        } else {
                            inbox.not_yet(&path);
                        }
                        self.intake.wants.insert(path, missing);
                    }
                }
                (Ok(Made::Copies(paths)), _) => self.copy(drop, paths),
                (Ok(Made::Returned(file, jobs)), Some(path)) => self.bring_back(&path, file, jobs),
                (Err(why), Some(path)) => self.not_taken(path, &why.to_string()),
                (Ok(Made::Unread(why)), Some(path)) => self.not_taken(path, &why),
                (Ok(Made::Returned(..) | Made::Unread(_)) | Err(_), None) | (Ok(Made::Input), _) => {}
            }
        }
        self.keep(batch);
    }

    /// Copies large files beside the engine's own thread; [`Driver::copied`] goes on.
    fn copy(&self, mut drop: Drop, paths: Vec<PathBuf>) {
        let (folder, events) = (Arc::clone(&self.folder), self.events.clone());
        tokio::task::spawn_blocking(move || {
            for path in paths {
                let kept = folder.keep_input(&path).map_err(|e| e.to_string());
                drop.copies.insert(path, kept);
            }
            let _ = events.send(Event::Copied(Box::new(drop)));
        });
    }

    pub(super) fn copied(&mut self, drop: Drop) {
        // Changed or taken away meanwhile: the inbox tells that by itself.
        let path = drop.path.as_ref();
        let is_same = |path: &PathBuf| {
            if drop.is_media() { path.is_file() } else { std::fs::read(path).is_ok_and(|bytes| bytes == drop.bytes) }
        };
        if path.is_some_and(is_same) {
            self.take_drops(vec![drop]);
        }
    }

    /// Writes the rows, moves the files, and hands the jobs to the core.
    fn keep(&mut self, batch: Batch) {
        let (paths, files): (Vec<_>, Vec<_>) = batch.files.into_iter().unzip();
        if files.is_empty() {
            return;
        }
        if let Err(error) = self.store.take(&files) {
            for path in paths.into_iter().flatten() {
                self.not_taken(path, &error.to_string());
            }
            return;
        }
        let mut gone = Vec::new();
        for (path, NewFile { row, text, jobs, .. }) in paths.into_iter().zip(files) {
            let ids: Vec<_> = jobs.iter().map(|(job, _)| job.id).collect();
            let away = self.away(&self.folder.queued_path(path.as_deref(), row.id, &row.name));
            let moved = match (&path, away) {
                (Some(_), Some((_, why))) => Err(std::io::Error::other(why)),
                (Some(path), None) => self.folder.take(path, row.id, &row.name).map(|moved| moved.is_some()),
                // The store has its text.
                (None, Some(_)) => Ok(true),
                (None, None) => {
                    self.folder.put_queued(row.id, &row.name, &String::from_utf8_lossy(&text)).map(|()| true)
                }
            };
            if !matches!(moved, Ok(true)) {
                gone.push((row.id, ids.clone()));
            }
            match (moved, path) {
                (Ok(true), path) => {
                    if let Some(path) = path {
                        self.intake.untaken.remove(&path);
                        self.intake.waiting.retain(|other| other.path != path);
                    }
                    log_taken(&row.name, &ids);
                    // Not written: the place stays `taking`, and the next start sets it right.
                    let place = Write::FilePlace { file: row.id, place: Place::Queued };
                    self.pending.push(Effect::Write(place));
                    let file = OpenFile { id: row.id, name: row.name, jobs: ids };
                    let new: Vec<_> =
                        jobs.iter().filter(|(_, prompt)| prompt.is_some()).map(|(job, _)| job.id).collect();
                    self.step(Input::Taken { file, jobs: jobs.into_iter().map(|(job, _)| job).collect() });
                    self.doubt(new);
                }
                // Somebody else took it, or took it back.
                (Ok(false), Some(path)) => {
                    self.intake.untaken.remove(&path);
                }
                (Err(error), Some(path)) => self.not_taken(path, &error.to_string()),
                (Err(error), None) => self.warn(&format!("{}: {error}", row.name)),
                (Ok(false), None) => {}
            }
        }
        if let Err(error) = self.store.untake(&gone) {
            self.warn(&error.to_string());
        }
    }

    fn warn(&mut self, why: &str) {
        tracing::error!("{why}");
        self.step(Input::Notice { level: Level::Error, text: text::clean(why).into_owned() });
    }

    /// Reads a file and fills its jobs' graphs.
    fn make(&mut self, drop: &mut Drop, batch: &Batch) -> Result<Made, StoreError> {
        if drop.is_media()
            && let Some(made) = self.stand_for(drop, batch)?
        {
            return Ok(made);
        }
        if let Some((number, name)) = number_of(drop.name.as_ref())
            && let Some(file) = self.store.file(number)?
            && file.name == name
        {
            // One of ours, dropped again; mended it is a new one, by the name that it first had.
            let again = self.to_run_again(number);
            let is_same = file.hash == drop.hash.clone().unwrap_or_else(|| hash(&drop.bytes));
            if file.place == Place::Failed && is_same && !again.is_empty() {
                return Ok(Made::Returned(file, again));
            }
            drop.name = file.name;
        }
        let first = JobId(self.next_job);
        let reader = Reader::new(&self.folder, &self.state, batch, first, drop, &mut self.intake.shelf);
        let drafts = match reader.knowing(&self.preflight).drafts() {
            Ok(drafts) => drafts,
            Err(Wait::NotThereYet(missing)) => return Ok(Made::NotYet(missing)),
            Err(Wait::Copies(paths)) => return Ok(Made::Copies(paths)),
            Err(Wait::Unread(why)) => return Ok(Made::Unread(why)),
        };
        for doubt in &drafts.doubts {
            let text = format!("{}: {doubt}", text::clean(&drop.name));
            self.step(Input::Notice { level: Level::Warning, text });
        }
        Ok(Made::File(self.number(drop, drafts, batch)))
    }

    /// The text that a dropped picture stands for; an answer where that is not to be read on.
    fn stand_for(&mut self, drop: &mut Drop, batch: &Batch) -> Result<Option<Made>, StoreError> {
        let Some(path) = drop.path.clone() else { return Ok(None) };
        let is_named = batch.files.iter().any(|(_, file)| file.named.contains(&path));
        let is_wanted = || self.intake.wants.values().any(|missing| missing.files.contains(&path));
        if is_named || is_wanted() || self.store.is_named(&path)? {
            return Ok(Some(Made::Input));
        }
        let kept = match drop.copies.get(&path) {
            Some(kept) => kept.clone(),
            None if self.intake.shelf.is_large(&path, LARGE) => return Ok(Some(Made::Copies(vec![path]))),
            None => self.intake.shelf.keep(&self.folder, &path).map_err(|e| e.to_string()),
        };
        let text = match kept {
            Ok(kept) => {
                drop.hash = Some(kept.hash);
                media::job_text(&drop.inbox, &path)
            }
            Err(why) => Err(rejection(why, "")),
        };
        match text {
            Ok(text) => {
                drop.bytes = text.into_bytes();
                Ok(None)
            }
            Err(why) => {
                let drafts = Drafts::alone(Draft::rejected(&drop.name, why));
                Ok(Some(Made::File(self.number(drop, drafts, batch))))
            }
        }
    }

    /// The jobs of a file that are to run when it comes back from `failed/`.
    fn to_run_again(&self, file: u64) -> Vec<JobId> {
        let jobs = self.state.jobs_of_file(file).into_iter();
        jobs.filter(|id| {
            self.state.job(*id).is_some_and(|j| {
                !matches!(j.state, JobState::Done | JobState::Duplicate { .. } | JobState::Rejected { .. })
            })
        })
        .collect()
    }

    /// Takes a file that was moved from `failed/` back into the inbox, unchanged. The row first, then the
    /// rename, then place and jobs in one transaction: see [`Driver::reconcile_files`] for a crash in between.
    fn bring_back(&mut self, path: &Path, file: FileRow, jobs: Vec<JobId>) {
        if let Err(error) = self.store.returning(file.id, path) {
            return self.not_taken(path.to_owned(), &error.to_string());
        }
        let moved = self.folder.take(path, file.id, &file.name);
        if let Ok(Some(_)) = moved {
            self.intake.untaken.remove(path);
            return self.run_again(file, jobs);
        }
        self.pending.push(Effect::Write(Write::FilePlace { file: file.id, place: Place::Failed }));
        if let Err(error) = moved {
            self.not_taken(path.to_owned(), &error.to_string());
        }
    }

    /// A file lies in `queued/` again: these of its jobs go back into the queue.
    fn run_again(&mut self, file: FileRow, jobs: Vec<JobId>) {
        self.pending.push(Effect::Write(Write::FilePlace { file: file.id, place: Place::Queued }));
        let all = self.state.jobs_of_file(file.id);
        let (jobs, lacking) = self.with_their_files(jobs);
        for (job, why) in lacking {
            self.warn(&format!("{job} is not queued again: {why}"));
        }
        self.step(Input::Returned { file: OpenFile { id: file.id, name: file.name, jobs: all }, jobs });
    }

    /// Says at the start what would otherwise be said of every picture that is dropped.
    pub(super) fn tell_of_profiles(&mut self) {
        for inbox in self.config.inboxes.clone() {
            let Some(name) = &inbox.workflow else { continue };
            let faults = match self.intake.shelf.workflow(&self.folder, name, None) {
                Ok(Ok(workflow)) => asked::profile_faults(&inbox, &workflow),
                Ok(Err(unfit)) if unfit.wants_server => continue,
                Ok(Err(unfit)) => vec![unfit.words],
                Err(error) => vec![error.to_string()],
            };
            let path = inbox.path.display();
            for why in faults {
                self.warn(&format!(
                    "the inbox {path} rejects what is dropped: {why}; mend its [[inbox]] in comfytop.toml"
                ));
            }
        }
    }

    /// The settings of what a verb hands in: as if it were dropped.
    fn inbox_of(&self, dir: &Path) -> InboxConfig {
        let inbox = self.config.inboxes.get(self.folder.inbox_of(dir)).cloned().unwrap_or_default();
        // it is a job file, whatever it is called
        InboxConfig { slot: None, extract: false, ..inbox }
    }

    /// A job file's text from a verb.
    pub(super) fn add(&mut self, name: &str, dir: &Path, text: &str, no_preflight: bool) -> Result<Answer, String> {
        let name = dropped_name(text::clean(name).replace(['/', '\\', ':'], "-").as_ref());
        let drop = Drop::at(PathBuf::from(&name), text.as_bytes().to_vec());
        let inbox = self.inbox_of(dir);
        let mut drop = Drop { name, dir: dir.to_owned(), path: None, inbox, no_preflight, ..drop };
        let mut batch = Batch::default();
        let made = self.make(&mut drop, &batch).map_err(|e| e.to_string())?;
        if let Made::Unread(why) = made {
            return Err(why);
        }
        let Made::File(file) = made else {
            return Err("the file lies in failed/: `comfytop requeue` runs its jobs again".to_owned());
        };
        let jobs = &file.jobs;
        let ids: Vec<_> = jobs.iter().map(|(job, _)| job.id).collect();
        let rejected = jobs
            .iter()
            .filter_map(|(job, _)| match &job.state {
                JobState::Rejected { why } => {
                    let detail = if why.detail.is_empty() { String::new() } else { format!("\n{}", why.detail) };
                    Some((job.id, format!("{}{detail}", why.message)))
                }
                _ => None,
            })
            .collect();
        let duplicates = jobs.iter().filter_map(|(job, _)| match job.state {
            JobState::Duplicate { of } => Some((job.id, of)),
            _ => None,
        });
        let duplicates = duplicates.collect();
        batch.add(None, file);
        self.keep(batch);
        if ids.iter().any(|id| self.state.job(*id).is_none()) {
            return Err("it could not be written: see the engine's log".to_owned());
        }
        Ok(Answer::Added { jobs: ids, rejected, duplicates })
    }
}
