//! Drafts become jobs: their numbers, ranks, seeds and states, and whether they are duplicates; and
//! the batches in which they go into the store.

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Drop;
use super::reading::{Drafts, Ready};
use crate::engine::Driver;
use crate::job::{Goal, Group, Job, JobId, JobState, Reason, SeedWish, Shape};
use crate::store::{FileRow, InputFile, NewFile, Place};
use crate::text;
use crate::workflow::SeedChoice;

/// Jobs taken in one transaction, about: a file is never parted.
const BATCH_JOBS: usize = 256;
/// The same in bytes of prompts and files, so that many large ones take no more room than a few.
const BATCH_BYTES: usize = 4 << 20;

/// Files on their way into the store together.
#[derive(Default)]
pub(super) struct Batch {
    pub files: Vec<(Option<PathBuf>, NewFile)>,
    jobs: usize,
    bytes: usize,
    /// What their jobs render: the state does not know them yet.
    prints: HashMap<String, JobId>,
}

impl Batch {
    pub fn add(&mut self, path: Option<PathBuf>, file: NewFile) {
        self.jobs += file.jobs.len();
        self.bytes += file.text.len();
        for (job, prompt) in &file.jobs {
            self.bytes += prompt.as_ref().map_or(0, String::len);
            if let Some(print) = job.fingerprint.as_ref().filter(|_| !job.state.is_ended()) {
                self.prints.entry(print.clone()).or_insert(job.id);
            }
        }
        self.files.push((path, file));
    }

    /// The jobs of the latest of these files that go by this name.
    pub fn jobs_called(&self, name: &str) -> Vec<JobId> {
        let of = |file: &NewFile| {
            let named = file.jobs.iter().filter(|(job, prompt)| job.name == name && prompt.is_some());
            named.map(|(job, _)| job.id).collect::<Vec<_>>()
        };
        self.files.iter().rev().map(|(_, file)| of(file)).find(|jobs| !jobs.is_empty()).unwrap_or_default()
    }

    fn last_seed(&self, workflow: &str) -> Option<u64> {
        let jobs = self.files.iter().rev().flat_map(|(_, file)| file.jobs.iter().rev());
        jobs.filter(|(job, _)| job.workflow == workflow).find_map(|(job, _)| job.seed.value())
    }

    pub fn is_full(&self) -> bool {
        self.jobs >= BATCH_JOBS || self.bytes >= BATCH_BYTES
    }
}

impl Driver {
    /// Gives the drafts their numbers, ranks, seeds and states.
    pub(super) fn number(&mut self, drop: &mut Drop, drafts: Drafts, batch: &Batch) -> NewFile {
        let Drafts { jobs: drafts, named, .. } = drafts;
        let now = Timestamp::now();
        let first = self.take_numbers(drafts.len() as u64);
        let text = std::mem::take(&mut drop.bytes);
        // A picture goes by its own bytes, not by the words that stand for it.
        let file_hash = drop.hash.take().unwrap_or_else(|| hash(&text));
        let same_file = short_hash(&[drop.name.as_bytes(), file_hash.as_bytes()]);
        let mut jobs: Vec<(Job, Option<String>)> = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.into_iter().enumerate() {
            let mut job = Job {
                id: JobId(first + index as u64),
                name: draft.name,
                workflow: draft.workflow,
                file: Some(first),
                only_server: draft.server,
                priority: draft.priority,
                rank: self.state.take_rank(),
                seed: SeedWish::None,
                shape: Shape::default(),
                note: draft.note,
                tags: draft.tags,
                group: draft.variant.map(|variant| Group {
                    first: JobId(first + (index + 1).saturating_sub(variant.number) as u64),
                    of: variant.of,
                    values: variant.values,
                }),
                after: draft.after,
                no_preflight: drop.no_preflight,
                goal: None,
                pick: None,
                settled: false,
                repair: false,
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
                Ok(Ready { prompt, fingerprint, seed, shape, goal, repair }) => {
                    job.shape = shape;
                    job.goal = goal.map(Box::new);
                    job.repair = repair;
                    job.seed = match seed {
                        SeedChoice::Given(seed) => SeedWish::Given(seed),
                        SeedChoice::Random => SeedWish::Drawn(self.state.draw_seed()),
                        SeedChoice::Next(own) => {
                            let mut here = jobs.iter().rev().filter(|(other, _)| other.workflow == job.workflow);
                            let last = here.find_map(|(other, _)| other.seed.value());
                            let last = last.or_else(|| batch.last_seed(&job.workflow));
                            let last = last.or_else(|| self.state.last_seed(&job.workflow));
                            SeedWish::Drawn(last.map_or(own, |last| last.wrapping_add(1)))
                        }
                        SeedChoice::None => SeedWish::None,
                    };
                    let print = match job.seed {
                        // Left to chance: the same only if the whole file is (rsync does that).
                        SeedWish::Drawn(_) => short_hash(&[same_file.as_bytes(), &index.to_le_bytes()]),
                        _ => fingerprint,
                    };
                    if let Some(of) = self.state.same_as(&print).or_else(|| batch.prints.get(&print).copied()) {
                        job.state = JobState::Duplicate { of };
                    } else if drop.held || draft.hold {
                        job.state = JobState::Held;
                    }
                    job.fingerprint = Some(print);
                    Some(prompt)
                }
            };
            jobs.push((job, prompt));
        }
        let row = FileRow {
            id: first,
            name: drop.name.clone(),
            place: Place::Taking,
            origin: drop.path.clone(),
            hash: file_hash,
        };
        NewFile { row, text, jobs, named }
    }
}

pub(super) fn hash(bytes: &[u8]) -> String {
    text::hex(&Sha256::digest(bytes))
}

pub(super) fn short_hash(parts: &[&[u8]]) -> String {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_le_bytes());
        sha.update(part);
    }
    text::hex(&sha.finalize()[..16])
}

/// Of a graph's JSON, which is not written down for it.
fn digest(graph: &Map<String, Value>) -> Vec<u8> {
    let mut sha = Sha256::new();
    // A map of values is always JSON, and a digest takes all.
    let _ = serde_json::to_writer(&mut sha, graph);
    sha.finalize().to_vec()
}

/// What makes two jobs the same: the filled graph, the bytes of its inputs, and what is wanted of the outputs.
pub(super) fn fingerprint(
    graph: &Map<String, Value>,
    files: &[InputFile],
    goal: Option<&Goal>,
    repair: bool,
) -> String {
    let mut parts: Vec<Vec<u8>> = vec![digest(graph)];
    for file in files {
        // Inputs are kept under the hash of their bytes.
        let name = file.stored.as_ref().and_then(|p| p.file_name()).map(|n| n.as_encoded_bytes().to_vec());
        let name = name.or_else(|| file.from.map(|from| format!("job:{from}").into_bytes()));
        parts.push(name.unwrap_or_else(|| file.name.clone().into_bytes()));
    }
    if goal.is_some() || repair {
        parts.push(serde_json::to_vec(&(goal, repair)).unwrap_or_default());
    }
    short_hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
