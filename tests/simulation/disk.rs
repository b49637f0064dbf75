//! What survives an engine: its store, and the folders, here as maps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use comfytop::job::{JobId, JobState};
use comfytop::protocol::JobRow;
use comfytop::store::Store;

/// A dropped file: its jobs, by name.
#[derive(Debug, Clone)]
pub struct Dropped {
    pub jobs: Vec<String>,
    pub priority: i64,
    pub held: bool,
}

#[derive(Debug)]
pub struct Disk {
    pub store: Store,
    pub inbox: BTreeMap<String, Dropped>,
    /// By number; the name is part of the file's.
    pub queued: BTreeMap<u64, String>,
    /// `done/` and `failed/`: what the sidecar says of each job.
    pub finished: BTreeMap<u64, Vec<(String, JobState)>>,
    /// Names in `outputs/`.
    pub outputs: BTreeSet<String>,
    /// Nothing can be written until then.
    pub full_until: u64,
}

impl Disk {
    pub fn new() -> Self {
        let store = Store::open(Path::new(":memory:")).expect("a store in memory");
        Self {
            store,
            inbox: BTreeMap::new(),
            queued: BTreeMap::new(),
            finished: BTreeMap::new(),
            outputs: BTreeSet::new(),
            full_until: 0,
        }
    }

    pub fn origin(name: &str) -> PathBuf {
        PathBuf::from("/r/jobs").join(name)
    }

    /// The rename out of the inbox; false: it is not there.
    pub fn take(&mut self, name: &str, number: u64) -> bool {
        let taken = self.inbox.remove(name).is_some();
        if taken {
            self.queued.insert(number, name.to_owned());
        }
        taken
    }

    /// The rename into `done/` or `failed/`, and the sidecar, which is written over that of an earlier round.
    pub fn finish(&mut self, number: u64, rows: &[JobRow]) {
        self.queued.remove(&number);
        let rows = rows.iter().map(|row| (row.name.clone(), row.state.clone())).collect();
        self.finished.insert(number, rows);
    }

    /// The rename back out of `done/` or `failed/`; what was said of the last round goes.
    pub fn reopen(&mut self, number: u64, name: &str) {
        if self.finished.remove(&number).is_some() {
            self.queued.insert(number, name.to_owned());
        }
    }

    /// The last word on each job.
    pub fn outcomes(&self) -> BTreeMap<String, JobState> {
        self.finished.values().flatten().cloned().collect()
    }

    /// The prompts of which a file is here.
    pub fn rendered(&self) -> BTreeSet<String> {
        let prompt = |path: &String| Some(path.strip_prefix("outputs/")?.rsplit_once('-')?.0.to_owned());
        self.outputs.iter().filter_map(prompt).collect()
    }

    /// Every job's events, from its taking on, lead by legal steps to its record.
    pub fn replay(&self, taken: &BTreeMap<JobId, comfytop::job::Job>) -> Vec<String> {
        let mut wrongs = Vec::new();
        for job in self.store.jobs().expect("readable") {
            let Some(mut again) = taken.get(&job.id).cloned() else {
                wrongs.push(format!("{} is in the store and was never taken", job.id));
                continue;
            };
            for (_, change) in self.store.events(job.id).expect("readable") {
                if let Err(error) = again.apply(&change) {
                    wrongs.push(format!("an illegal step was written: {error}"));
                }
            }
            // Ranks are spread anew now and then, and that is no event.
            again.rank = job.rank;
            if again != job {
                wrongs.push(format!("{}: its events lead to {again:?}, its record says {job:?}", job.id));
            }
        }
        wrongs
    }
}
