//! How a dropped file becomes jobs: read, filled, its inputs kept, its rows written, the file moved.
//!
//! The row first, then the rename, then the place: whatever dies in between, the file is either
//! still in the inbox and unknown, or known and found again by its number.

mod reading;
mod words;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::core::{Input, OpenFile};
use super::{Driver, EngineError};
use crate::config::Config;
use crate::folder::{Folder, number_of};
use crate::inbox::{self, WatchedDir};
use crate::job::{Job, JobId, JobState, Reason, SeedWish};
use crate::protocol::{Answer, Level};
use crate::store::{FileRow, InputFile, Place, Prompt};
use crate::text;
use crate::workflow::{Filled, SeedChoice};

pub use words::error_text;

use reading::{Draft, Reader, Ready, rejection};

/// Files taken in one transaction, at most.
const BATCH: usize = 256;

/// The folders to watch, in the order of [`Folder::inboxes`].
pub fn watched(config: &Config, folder: &Folder) -> Vec<WatchedDir> {
    let watch = |(index, path): (usize, &PathBuf)| {
        let usual = WatchedDir::local(path);
        let Some(inbox) = config.inboxes.get(index) else { return usual };
        WatchedDir {
            settle: inbox.settle.unwrap_or(if inbox.poll { inbox::SETTLE_POLLED } else { usual.settle }),
            max_settle: inbox.max_settle.unwrap_or(usual.max_settle),
            poll: inbox.poll,
            held: inbox.hold,
            ..usual
        }
    };
    folder.inboxes.iter().enumerate().map(watch).collect()
}

/// A file on its way in.
struct Drop {
    name: String,
    /// Relative paths are resolved here.
    dir: PathBuf,
    /// `None`: handed in by a verb.
    path: Option<PathBuf>,
    bytes: Vec<u8>,
    held: bool,
    /// Nothing more is waited for.
    last_call: bool,
    /// The inbox's own workflow.
    workflow: Option<String>,
}

/// What became of one.
enum Made {
    File(FileRow, Vec<(Job, Option<Prompt>)>),
    /// A file that it names is not there yet.
    NotYet,
    /// It came back from `failed/`.
    Returned(Vec<JobId>, u64),
}

impl Driver {
    pub(super) fn take_offers(&mut self, events: Vec<inbox::Event>) {
        let mut drops = Vec::new();
        for event in events {
            match event {
                inbox::Event::Offer { path, dir_index, held, bytes, last_call } => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
                    let workflow = self.config.inboxes.get(dir_index).and_then(|i| i.workflow.clone());
                    drops.push(Drop { name, dir, path: Some(path), bytes, held, last_call, workflow });
                }
                inbox::Event::Unreadable { path, why, .. } | inbox::Event::TooBig { path, why, .. } => {
                    self.reject_unread(&path, &why);
                }
                inbox::Event::Gone { .. } => {}
                inbox::Event::Trouble { dir, why } => {
                    self.inbox_trouble.insert(dir, why);
                    self.tell_banners();
                }
                inbox::Event::Well { dir } => {
                    if self.inbox_trouble.remove(&dir).is_some() {
                        self.tell_banners();
                    }
                }
            }
        }
        let mut rest = drops.into_iter().peekable();
        while rest.peek().is_some() {
            let batch: Vec<_> = rest.by_ref().take(BATCH).collect();
            self.take_batch(batch);
        }
    }

    fn tell_banners(&mut self) {
        let mut banners: Vec<_> = self.inbox_trouble.values().cloned().collect();
        banners.sort();
        self.step(Input::Banners(banners));
    }

    fn reject_unread(&mut self, path: &Path, why: &str) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        let drop = Drop {
            name,
            dir,
            path: Some(path.to_owned()),
            bytes: Vec::new(),
            held: false,
            last_call: true,
            workflow: None,
        };
        let draft = Draft::rejected(&drop.name, rejection(why, ""));
        let made = self.number(&drop, vec![draft]);
        self.keep(vec![(drop, made)]);
    }

    fn trouble(&mut self, why: &str) {
        tracing::error!("{why}");
        self.step(Input::Notice { level: Level::Error, text: why.to_owned() });
    }

    fn take_batch(&mut self, drops: Vec<Drop>) {
        let mut taken = Vec::new();
        for drop in drops {
            match self.make(&drop) {
                Ok(Made::NotYet) => {
                    if let (Some(inbox), Some(path)) = (&self.inbox, &drop.path) {
                        inbox.not_yet(path);
                    }
                }
                Ok(Made::Returned(jobs, file)) => {
                    let Some(path) = &drop.path else { continue };
                    if let Err(error) = self.folder.take(path, file) {
                        self.trouble(&format!("{}: {error}", drop.name));
                        continue;
                    }
                    let open = OpenFile { id: file, name: drop.name.clone(), jobs: jobs.clone() };
                    if let Err(error) =
                        self.store.write(&[crate::store::Write::FilePlace { file, place: Place::Queued }])
                    {
                        self.trouble(&error.to_string());
                        continue;
                    }
                    self.step(Input::Returned { file: open, jobs });
                }
                Ok(made) => taken.push((drop, made)),
                Err(why) => self.trouble(&why),
            }
        }
        self.keep(taken);
    }

    /// Writes the rows, moves the files, and hands the jobs to the core.
    fn keep(&mut self, taken: Vec<(Drop, Made)>) {
        let mut rows = Vec::new();
        let mut drops = Vec::new();
        for (drop, made) in taken {
            if let Made::File(file, jobs) = made {
                rows.push((file, jobs));
                drops.push(drop);
            }
        }
        if rows.is_empty() {
            return;
        }
        if let Err(error) = self.store.take(&rows) {
            // The files stay in the inbox: the next scan offers them again.
            self.trouble(&format!("job files can't be taken: {error}"));
            return;
        }
        let mut gone = Vec::new();
        let mut there = Vec::new();
        for ((file, jobs), drop) in rows.into_iter().zip(drops) {
            let ids: Vec<_> = jobs.iter().map(|(job, _)| job.id).collect();
            let moved = match &drop.path {
                Some(path) => self.folder.take(path, file.id).map(|moved| moved.is_some()),
                None => {
                    self.folder.put_queued(file.id, &file.name, &String::from_utf8_lossy(&file.text)).map(|()| true)
                }
            };
            match moved {
                Ok(true) => there.push((file, jobs, ids)),
                // Somebody else took it, or took it back.
                Ok(false) => gone.push((file.id, ids)),
                Err(error) => {
                    self.trouble(&format!("{} can't be moved to queued/: {error}", drop.name));
                    gone.push((file.id, ids));
                }
            }
        }
        if !gone.is_empty()
            && let Err(error) = self.store.untake(&gone)
        {
            self.trouble(&error.to_string());
        }
        let places: Vec<_> = there
            .iter()
            .map(|(file, ..)| crate::store::Write::FilePlace { file: file.id, place: Place::Queued })
            .collect();
        if let Err(error) = self.store.write(&places) {
            // The place stays `taking`: the next start sets it right.
            tracing::error!("{error}");
        }
        for (file, jobs, ids) in there {
            let file = OpenFile { id: file.id, name: file.name, jobs: ids };
            let jobs = jobs.into_iter().map(|(job, _)| job).collect();
            self.step(Input::Taken { file, jobs });
        }
    }

    /// Reads a file and fills its jobs' graphs.
    fn make(&mut self, drop: &Drop) -> Result<Made, String> {
        let hash = hash(&drop.bytes);
        if let Some(made) = self.returned(drop, &hash)? {
            return Ok(made);
        }
        let servers = self.state.server_names().collect();
        let reader = Reader { folder: &self.folder, servers, drop };
        let Ok(drafts) = reader.drafts() else { return Ok(Made::NotYet) };
        Ok(self.number(drop, drafts))
    }

    /// A file that was moved from `failed/` back into the inbox, unchanged.
    fn returned(&self, drop: &Drop, hash: &str) -> Result<Option<Made>, String> {
        let Some((number, name)) = number_of(drop.name.as_ref()) else { return Ok(None) };
        let Some(file) = self.store.file(number).map_err(|e| e.to_string())? else { return Ok(None) };
        if file.place != Place::Failed || file.name != name || file.hash != hash {
            return Ok(None);
        }
        let jobs = self.state.jobs_of_file(number);
        let again: Vec<_> = jobs
            .into_iter()
            .filter(|id| {
                self.state.job(*id).is_some_and(|j| !matches!(j.state, JobState::Done | JobState::Rejected { .. }))
            })
            .collect();
        Ok((!again.is_empty()).then_some(Made::Returned(again, number)))
    }

    /// Gives the drafts their numbers, ranks, seeds and states.
    fn number(&mut self, drop: &Drop, drafts: Vec<Draft>) -> Made {
        let now = Timestamp::now();
        let first = self.take_numbers(drafts.len() as u64);
        let file_hash = hash(&drop.bytes);
        let same_file = short_hash(&[drop.name.as_bytes(), file_hash.as_bytes()]);
        let mut jobs = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.into_iter().enumerate() {
            let id = JobId(first + index as u64);
            let spec = draft.spec;
            let mut job = Job {
                id,
                name: draft.name,
                workflow: draft.workflow,
                file: Some(first),
                only_server: spec.as_ref().and_then(|s| s.server.clone()),
                priority: spec.as_ref().map_or(0, |s| s.priority),
                rank: self.state.take_rank(),
                seed: SeedWish::None,
                shape: crate::job::Shape::default(),
                note: spec.as_ref().and_then(|s| s.note.clone()),
                tags: spec.as_ref().map(|s| s.tags.clone()).unwrap_or_default(),
                fingerprint: None,
                queued_at: now,
                next_reason: Reason::First,
                state: JobState::Queued,
                attempts: Vec::new(),
            };
            let prompt = match draft.filled {
                Err(why) => {
                    job.state = JobState::Rejected { why };
                    None
                }
                Ok(Ready { filled, files, slots }) => {
                    job.shape = filled.shape;
                    job.seed = match filled.seed {
                        SeedChoice::Given(seed) => SeedWish::Given(seed),
                        SeedChoice::Random => SeedWish::Drawn(self.state.draw_seed()),
                        SeedChoice::None => SeedWish::None,
                    };
                    let print = match job.seed {
                        // Left to chance: the same only if the whole file is (rsync does that).
                        SeedWish::Drawn(_) => short_hash(&[same_file.as_bytes(), &index.to_le_bytes()]),
                        _ => fingerprint(&filled, &files),
                    };
                    if let Some(of) = self.state.same_as(&print) {
                        job.state = JobState::Duplicate { of };
                    } else if drop.held || spec.as_ref().is_some_and(|s| s.hold) {
                        job.state = JobState::Held;
                    }
                    job.fingerprint = Some(print);
                    let seed_inputs = filled.seed_inputs;
                    Some(Prompt { graph: filled.graph, seed_inputs, files, slots })
                }
            };
            jobs.push((job, prompt));
        }
        let file = FileRow {
            id: first,
            name: drop.name.clone(),
            place: Place::Taking,
            origin: drop.path.clone(),
            hash: file_hash,
            text: drop.bytes.clone(),
        };
        Made::File(file, jobs)
    }

    /// A job file's text from a verb.
    pub(super) fn add(&mut self, name: &str, dir: &Path, text: &str) -> Result<Answer, String> {
        let name = text::clean(name).replace(['/', '\\'], "-");
        let drop = Drop {
            name,
            dir: dir.to_owned(),
            path: None,
            bytes: text.as_bytes().to_vec(),
            held: false,
            last_call: true,
            workflow: None,
        };
        let Made::File(file, jobs) = self.make(&drop)? else {
            return Err("it could not be taken".to_owned());
        };
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
        self.keep(vec![(drop, Made::File(file, jobs))]);
        if ids.iter().any(|id| self.state.job(*id).is_none()) {
            return Err("it could not be written: see the engine's log".to_owned());
        }
        Ok(Answer::Added { jobs: ids, rejected })
    }

    /// Sets right what a crash left between row, rename and place.
    pub(super) fn reconcile_files(&mut self) -> Result<(), EngineError> {
        let mut gone = Vec::new();
        let mut places = Vec::new();
        for file in self.store.open_files()? {
            if file.place != Place::Taking {
                continue;
            }
            let moved = self.folder.queued_path(file.origin.as_deref(), file.id, &file.name).exists();
            let still_there = file.origin.as_ref().is_some_and(|p| p.exists());
            if moved || !still_there {
                // Moved, or handed in by a verb: the store has its text, the file may be missing.
                places.push(crate::store::Write::FilePlace { file: file.id, place: Place::Queued });
            } else {
                gone.push((file.id, self.state.jobs_of_file(file.id)));
            }
        }
        self.store.write(&places)?;
        self.store.untake(&gone)?;
        for (file, jobs) in gone {
            self.state.forget(file, &jobs);
        }
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> String {
    text::hex(&Sha256::digest(bytes))
}

fn short_hash(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_le_bytes());
        sha.update(part);
    }
    text::hex(&sha.finalize()[..16])
}

/// What makes two jobs the same: the filled graph, and the bytes of its inputs.
fn fingerprint(filled: &Filled, files: &[InputFile]) -> String {
    let graph = Value::Object(filled.graph.clone()).to_string();
    let mut parts: Vec<Vec<u8>> = vec![graph.into_bytes()];
    for file in files {
        // Inputs are kept under the hash of their bytes.
        let name = file.stored.as_ref().and_then(|p| p.file_name()).map(|n| n.as_encoded_bytes().to_vec());
        parts.push(name.unwrap_or_else(|| file.name.clone().into_bytes()));
    }
    short_hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
