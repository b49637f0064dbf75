//! The store: SQLite under `.comfytop/`, written before anything is acted on.
//!
//! An edge: it knows the database and nothing else. Only the engine has one open. It never starts
//! clean over a file that it cannot read or that a newer comfytop wrote: it refuses, and says why.

mod migrations;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::estimate::NodeTimes;
use crate::faults;
use crate::job::{Change, Job, JobId};
use crate::protocol::Look;
use crate::workflow::tries::{Edits, vary};
use crate::workflow::{InputRef, SlotType};

/// Marks the file as ours (`PRAGMA application_id`): "cftp".
const APPLICATION_ID: i32 = 0x6366_7470;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("the store {path} can't be opened: {source}")]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error(
        "the store {path} was written by a newer comfytop (its version is {found}, this one knows {known}): use that one; the file is left as it is"
    )]
    Newer { path: PathBuf, found: i64, known: usize },
    #[error(
        "the store {path} is not a comfytop store, or is damaged: it is left as it is; move it away, or name another folder with --state"
    )]
    Foreign { path: PathBuf },
    #[error("the store {path} may only be read: make the file and its folder writable for this user")]
    ReadOnly { path: PathBuf },
    #[error("the store holds something unreadable in {table} {key}: {source}")]
    Record { table: &'static str, key: String, source: serde_json::Error },
    #[error("the store can't be written: {0}")]
    Write(#[from] rusqlite::Error),
    #[error("a record can't be written as JSON: {0}")]
    Json(serde_json::Error),
}

impl StoreError {
    /// Room on the disk, a lock or a right is missing: what failed now may do later, unchanged.
    pub fn may_pass(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, ReadOnly, SystemIoFailure};
        let Self::Write(error) = self else { return false };
        let code = error.sqlite_error_code();
        code.is_some_and(|code| {
            matches!(code, DiskFull | SystemIoFailure | DatabaseBusy | DatabaseLocked | CannotOpen | ReadOnly)
        })
    }
}

/// What is needed to post a job, any number of times: too large to keep in memory by the thousand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// The filled graph, API format, before seed, prefix and uploaded names.
    pub graph: Map<String, Value>,
    /// Inputs that take the seed.
    pub seed_inputs: Vec<InputRef>,
    pub files: Vec<InputFile>,
    /// What the job asked for, slot by slot, for people.
    pub slots: Vec<(String, Value)>,
    /// Its text, once it was edited; before that its file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What each variation of its tries changes in the graph.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variations: Vec<Edits>,
    /// Posted beside the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_data: Option<Map<String, Value>>,
}

impl Prompt {
    /// With the values of one of its tries.
    #[must_use]
    pub fn varied(mut self, variation: usize) -> Self {
        if let Some(edits) = std::mem::take(&mut self.variations).get(variation) {
            vary(&mut self.graph, edits);
        }
        self
    }

    /// As the store keeps it. Written down at once, so that a thousand drafts are not kept as trees of values.
    pub fn to_text(&self) -> Result<String, StoreError> {
        json(self)
    }
}

/// A file that an input names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputFile {
    pub node: String,
    pub input: String,
    /// Kept in `.comfytop/inputs/` under the hash of its bytes; `None`: the server must have it.
    pub stored: Option<PathBuf>,
    /// What it was called, or the server's own name.
    pub name: String,
    /// The job names it as the server's (`input:NAME`).
    #[serde(default)]
    pub of_server: bool,
    /// It is what this job gave; kept when that one is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<JobId>,
    /// What the input takes.
    #[serde(default = "image")]
    pub takes: SlotType,
}

fn image() -> SlotType {
    SlotType::Image
}

/// A file to be taken: everything that is kept of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFile {
    pub row: FileRow,
    pub text: Vec<u8>,
    /// Each with its [`Prompt::to_text`]; `None` for a rejected one.
    pub jobs: Vec<(Job, Option<String>)>,
    /// Files in watched folders that it names: inputs, never jobs themselves.
    pub named: Vec<PathBuf>,
}

/// A dropped job file, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// The number of its first job.
    pub id: u64,
    pub name: String,
    pub place: Place,
    /// Where it was dropped; `None` for one that a verb handed in.
    pub origin: Option<PathBuf>,
    /// Hash of its bytes.
    pub hash: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Its row is written, the file may still lie in the inbox.
    Taking,
    /// It came back from `failed/` and may still lie in the inbox; its jobs are not requeued yet.
    Returning,
    Queued,
    Done,
    Failed,
}

impl Place {
    fn word(self) -> &'static str {
        match self {
            Self::Taking => "taking",
            Self::Returning => "returning",
            Self::Queued => "queued",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "taking" => Self::Taking,
            "returning" => Self::Returning,
            "done" => Self::Done,
            "failed" => Self::Failed,
            _ => Self::Queued,
        }
    }
}

/// One thing to write. A step's writes go in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A job changed: its record as it is now, and what happened.
    Job {
        job: Box<Job>,
        change: Change,
        at: Timestamp,
    },
    /// [`Prompt::to_text`] of a job that was edited.
    Prompt {
        job: JobId,
        prompt: String,
    },
    Estimate {
        key: String,
        times: NodeTimes,
    },
    FilePlace {
        file: u64,
        place: Place,
    },
    /// A graph exactly as it is about to be posted.
    Posted {
        prompt_id: String,
        job: JobId,
        graph: String,
    },
    /// What was seen of an attempt's outputs, the main one first.
    Looks {
        prompt_id: String,
        looks: Vec<Look>,
    },
    Meta {
        key: &'static str,
        value: String,
    },
}

/// The open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
}

impl Store {
    /// Opens the store, makes it where there is none, and brings an older one up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let open = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                StoreError::Foreign { path: path.to_owned() }
            }
            _ => StoreError::Open { path: path.to_owned(), source },
        };
        let mut db = Connection::open(path).map_err(open)?;
        // SQLite opens what it may not write all the same, and says so at the first write. Before the first
        // look: that would leave files beside it which may not be written either.
        if db.is_readonly("main").map_err(open)? {
            return Err(StoreError::ReadOnly { path: path.to_owned() });
        }
        db.busy_timeout(std::time::Duration::from_secs(5)).map_err(open)?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(open)?;
        let ours: i32 = db.query_row("PRAGMA application_id", [], |r| r.get(0)).map_err(open)?;
        let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0)).map_err(open)?;
        if ours != APPLICATION_ID && (tables > 0 || version != 0) {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        let done = usize::try_from(version).unwrap_or(usize::MAX);
        if done > migrations::STEPS.len() {
            return Err(StoreError::Newer { path: path.to_owned(), found: version, known: migrations::STEPS.len() });
        }
        db.pragma_update(None, "journal_mode", "WAL").map_err(open)?;
        // FULL: a job that was taken, or a prompt_id that was posted, must outlive a power cut.
        db.pragma_update(None, "synchronous", "FULL").map_err(open)?;
        db.pragma_update(None, "foreign_keys", true).map_err(open)?;
        // Can it be written at all? Asked now rather than when the first job comes.
        db.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(open)?;
        let missing = migrations::STEPS.get(done..).unwrap_or_default();
        // One that is up to date is not written to: it may turn out to be damaged.
        if !missing.is_empty() {
            let tx = db.transaction().map_err(open)?;
            for step in missing {
                tx.execute_batch(step).map_err(open)?;
            }
            tx.pragma_update(None, "application_id", APPLICATION_ID).map_err(open)?;
            let version = i64::try_from(migrations::STEPS.len()).unwrap_or(i64::MAX);
            tx.pragma_update(None, "user_version", version).map_err(open)?;
            faults::step("store.migrate", || tx.commit()).map_err(open)?;
        }
        Ok(Self { db })
    }

    /// All jobs, in the order of their numbers.
    pub fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        let mut query = self.db.prepare("SELECT id, record FROM jobs ORDER BY id")?;
        let rows = query.query_map([], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?)))?;
        rows.map(|row| {
            let (id, record) = row?;
            read("jobs", &id.to_string(), &record)
        })
        .collect()
    }

    /// The first number that was never given to a job.
    pub fn next_job(&self) -> Result<u64, StoreError> {
        let last: Option<i64> =
            self.db.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'", [], |r| r.get(0)).optional()?;
        Ok(last.map_or(1, |n| n.unsigned_abs() + 1))
    }

    /// Files that are not finished yet: taking, returning or queued.
    pub fn open_files(&self) -> Result<Vec<FileRow>, StoreError> {
        self.files("place IN ('taking', 'returning', 'queued')", [])
    }

    /// The latest file with these bytes.
    pub fn file_by_hash(&self, hash: &str) -> Result<Option<FileRow>, StoreError> {
        Ok(self.files("hash = ?1 ORDER BY id DESC LIMIT 1", [hash])?.pop())
    }

    pub fn file(&self, id: u64) -> Result<Option<FileRow>, StoreError> {
        Ok(self.files("id = ?1", [id.cast_signed()])?.pop())
    }

    /// The bytes of a file, as it was dropped.
    pub fn file_text(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT text FROM files WHERE id = ?1";
        Ok(self.db.query_row(sql, [id.cast_signed()], |r| r.get(0)).optional()?)
    }

    fn files(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<FileRow>, StoreError> {
        let sql = format!("SELECT id, name, place, origin, hash FROM files WHERE {condition}");
        let mut query = self.db.prepare_cached(&sql)?;
        let rows = query.query_map(params, |r| {
            Ok(FileRow {
                id: r.get::<_, i64>(0)?.unsigned_abs(),
                name: r.get(1)?,
                place: Place::from_word(&r.get::<_, String>(2)?),
                origin: r.get::<_, Option<String>>(3)?.map(PathBuf::from),
                hash: r.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Takes files: their rows and their jobs, in one transaction.
    pub fn take(&mut self, taken: &[NewFile]) -> Result<(), StoreError> {
        let tx = self.db.transaction()?;
        for NewFile { row, text, jobs, named } in taken {
            tx.prepare_cached(
                "INSERT INTO files (id, name, place, origin, hash, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                row.id.cast_signed(),
                row.name,
                row.place.word(),
                row.origin.as_ref().map(|p| p.to_string_lossy()),
                row.hash,
                text
            ])?;
            for path in named {
                tx.prepare_cached("INSERT OR IGNORE INTO named (path) VALUES (?1)")?
                    .execute([path.to_string_lossy()])?;
            }
            for (job, prompt) in jobs {
                tx.prepare_cached("INSERT INTO jobs (id, record, prompt) VALUES (?1, ?2, ?3)")?.execute(params![
                    job.id.0.cast_signed(),
                    json(job)?,
                    prompt
                ])?;
            }
        }
        Ok(faults::step("store.take", || tx.commit())?)
    }

    /// Whether a job file has named this file of a watched folder.
    pub fn is_named(&self, path: &Path) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM named WHERE path = ?1";
        Ok(self.db.query_row(sql, [path.to_string_lossy()], |_| Ok(())).optional()?.is_some())
    }

    /// The files of watched folders that job files have named, and that have this name.
    pub fn named_like(&self, name: &str) -> Result<Vec<PathBuf>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT path FROM named WHERE substr(path, -length(?1)) = ?1")?;
        let paths = query.query_map([name], |row| row.get::<_, String>(0))?;
        Ok(paths.collect::<Result<Vec<_>, _>>()?.into_iter().map(PathBuf::from).collect())
    }

    /// What a server said of its nodes (`/object_info`, as text), and which version it was.
    pub fn object_info(&self, url: &str) -> Result<Option<(String, String)>, StoreError> {
        let sql = "SELECT version, text FROM object_info WHERE url = ?1 ORDER BY at DESC LIMIT 1";
        Ok(self.db.query_row(sql, [url], |r| Ok((r.get(0)?, r.get(1)?))).optional()?)
    }

    /// Keeps what a server says of its nodes: the latest of each version.
    pub fn keep_object_info(&mut self, url: &str, version: &str, at: Timestamp, text: &str) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO object_info (url, version, at, text) VALUES (?1, ?2, ?3, ?4)";
        let row = params![url, version, at.to_string(), text];
        faults::step("store.object_info", || self.db.execute(sql, row))?;
        Ok(())
    }

    /// A file is coming back from `failed/`, from here.
    pub fn returning(&mut self, file: u64, origin: &Path) -> Result<(), StoreError> {
        let (file, origin, place) = (file.cast_signed(), origin.to_string_lossy(), Place::Returning.word());
        let sql = "UPDATE files SET place = ?3, origin = ?2 WHERE id = ?1";
        faults::step("store.returning", || self.db.execute(sql, params![file, origin, place]))?;
        Ok(())
    }

    /// Gives up files whose taking was won by another engine: as if they had never been seen.
    pub fn untake(&mut self, files: &[(u64, Vec<JobId>)]) -> Result<(), StoreError> {
        let tx = self.db.transaction()?;
        for (file, jobs) in files {
            tx.execute("DELETE FROM files WHERE id = ?1", [file.cast_signed()])?;
            for job in jobs {
                tx.execute("DELETE FROM jobs WHERE id = ?1", [job.0.cast_signed()])?;
            }
        }
        Ok(faults::step("store.untake", || tx.commit())?)
    }

    /// Writes what a step decided, all of it or nothing.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let tx = self.db.transaction()?;
        for write in writes {
            apply(&tx, write)?;
        }
        Ok(faults::step("store.write", || tx.commit())?)
    }

    /// What is needed to post this job; `None` for a rejected one.
    pub fn prompt(&self, job: JobId) -> Result<Option<Prompt>, StoreError> {
        let text: Option<Option<String>> = self
            .db
            .query_row("SELECT prompt FROM jobs WHERE id = ?1", [job.0.cast_signed()], |r| r.get(0))
            .optional()?;
        text.flatten().map(|text| read("jobs", &job.to_string(), &text)).transpose()
    }

    /// The graph of an attempt, as posted.
    pub fn posted(&self, prompt_id: &str) -> Result<Option<Value>, StoreError> {
        let text: Option<Option<String>> = self
            .db
            .query_row("SELECT graph FROM attempts WHERE prompt_id = ?1", [prompt_id], |r| r.get(0))
            .optional()?;
        text.flatten().map(|text| read("attempts", prompt_id, &text)).transpose()
    }

    /// What was seen of an attempt's outputs, the main one first.
    pub fn looks(&self, prompt_id: &str) -> Result<Vec<Look>, StoreError> {
        let mut query = self.db.prepare_cached("SELECT look FROM looks WHERE prompt_id = ?1 ORDER BY place")?;
        let rows = query.query_map([prompt_id], |r| r.get::<_, String>(0))?;
        rows.map(|look| read("looks", prompt_id, &look?)).collect()
    }

    /// What happened to a job, oldest first.
    pub fn events(&self, job: JobId) -> Result<Vec<(Timestamp, Change)>, StoreError> {
        let mut query = self.db.prepare("SELECT at, change FROM events WHERE job = ?1 ORDER BY seq")?;
        let rows = query.query_map([job.0.cast_signed()], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
        rows.map(|row| {
            let (at, change) = row?;
            let at = at.parse().unwrap_or(Timestamp::UNIX_EPOCH);
            Ok((at, read("events", &job.to_string(), &change)?))
        })
        .collect()
    }

    /// Forgets what jobs that ended before then no longer need: their histories, and the graphs of their
    /// attempts. Says how many of each there are; `pretend` deletes nothing.
    pub fn forget_before(&mut self, ended: &[JobId], pretend: bool) -> Result<(u64, u64), StoreError> {
        let tx = self.db.transaction()?;
        let (mut events, mut graphs) = (0, 0);
        for job in ended {
            let job = job.0.cast_signed();
            let count = |sql: &str| tx.query_row(sql, [job], |r| r.get::<_, i64>(0)).map(i64::unsigned_abs);
            events += count("SELECT count(*) FROM events WHERE job = ?1")?;
            graphs += count("SELECT count(*) FROM attempts WHERE job = ?1 AND graph IS NOT NULL")?;
            if !pretend {
                tx.execute("DELETE FROM events WHERE job = ?1", [job])?;
                tx.execute("UPDATE attempts SET graph = NULL WHERE job = ?1", [job])?;
            }
        }
        faults::step("store.clean", || tx.commit())?;
        Ok((events, graphs))
    }

    /// Gives the disk back what was forgotten.
    pub fn shrink(&self) -> Result<(), StoreError> {
        Ok(self.db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?)
    }

    /// The kept files that these jobs' prompts name.
    pub fn inputs_of(&self, jobs: impl Iterator<Item = JobId>) -> Result<Vec<PathBuf>, StoreError> {
        let mut inputs = Vec::new();
        for job in jobs {
            let prompt = self.prompt(job)?.unwrap_or_default();
            inputs.extend(prompt.files.into_iter().filter_map(|file| file.stored));
        }
        Ok(inputs)
    }

    /// Looks at a store without changing it, whoever has it open: how many jobs it holds, and what is wrong
    /// with the file, as `SQLite` finds it (nothing where all is well).
    pub fn inspect(path: &Path) -> Result<(u64, Vec<String>), StoreError> {
        let open = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                StoreError::Foreign { path: path.to_owned() }
            }
            _ => StoreError::Open { path: path.to_owned(), source },
        };
        let db = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(open)?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(open)?;
        if usize::try_from(version).unwrap_or(usize::MAX) > migrations::STEPS.len() {
            return Err(StoreError::Newer { path: path.to_owned(), found: version, known: migrations::STEPS.len() });
        }
        let jobs: i64 = db.query_row("SELECT count(*) FROM jobs", [], |r| r.get(0)).map_err(open)?;
        let mut query = db.prepare("PRAGMA quick_check(10)").map_err(open)?;
        let rows = query.query_map([], |r| r.get::<_, String>(0)).map_err(open)?;
        let said = rows.collect::<Result<Vec<_>, _>>().map_err(open)?;
        Ok((jobs.unsigned_abs(), said.into_iter().filter(|line| line != "ok").collect()))
    }

    /// The clientId for this server: made by `make` the first time, the same ever after.
    pub fn client_id(&mut self, url: &str, make: impl FnOnce() -> String) -> Result<String, StoreError> {
        let known: Option<String> =
            self.db.query_row("SELECT client_id FROM servers WHERE url = ?1", [url], |r| r.get(0)).optional()?;
        if let Some(id) = known {
            return Ok(id);
        }
        let id = make();
        let sql = "INSERT INTO servers (url, client_id) VALUES (?1, ?2)";
        faults::step("store.client_id", || self.db.execute(sql, [url, &id]))?;
        Ok(id)
    }

    pub fn estimates(&self) -> Result<BTreeMap<String, NodeTimes>, StoreError> {
        let mut query = self.db.prepare("SELECT key, times FROM estimates")?;
        let rows = query.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)))?;
        rows.map(|row| {
            let (key, times) = row?;
            let times = read("estimates", &key, &times)?;
            Ok((key, times))
        })
        .collect()
    }

    pub fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |r| r.get(0)).optional()?)
    }
}

fn apply(tx: &Transaction<'_>, write: &Write) -> Result<(), StoreError> {
    match write {
        Write::Job { job, change, at } => {
            tx.prepare_cached("UPDATE jobs SET record = ?2 WHERE id = ?1")?
                .execute(params![job.id.0.cast_signed(), json(job)?])?;
            tx.prepare_cached("INSERT INTO events (job, at, change) VALUES (?1, ?2, ?3)")?.execute(params![
                job.id.0.cast_signed(),
                at.to_string(),
                json(change)?
            ])?;
        }
        Write::Prompt { job, prompt } => {
            tx.prepare_cached("UPDATE jobs SET prompt = ?2 WHERE id = ?1")?
                .execute(params![job.0.cast_signed(), prompt])?;
        }
        Write::Estimate { key, times } => {
            tx.execute("INSERT OR REPLACE INTO estimates (key, times) VALUES (?1, ?2)", params![key, json(times)?])?;
        }
        Write::FilePlace { file, place } => {
            tx.execute("UPDATE files SET place = ?2 WHERE id = ?1", params![file.cast_signed(), place.word()])?;
        }
        Write::Posted { prompt_id, job, graph } => {
            tx.prepare_cached("INSERT OR REPLACE INTO attempts (prompt_id, job, graph) VALUES (?1, ?2, ?3)")?
                .execute(params![prompt_id, job.0.cast_signed(), graph])?;
        }
        Write::Looks { prompt_id, looks } => {
            tx.execute("DELETE FROM looks WHERE prompt_id = ?1", [prompt_id])?;
            for (place, look) in looks.iter().enumerate() {
                tx.prepare_cached("INSERT INTO looks (prompt_id, place, look) VALUES (?1, ?2, ?3)")?
                    .execute(params![prompt_id, i64::try_from(place).unwrap_or(i64::MAX), json(look)?])?;
            }
        }
        Write::Meta { key, value } => {
            tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", params![key, value])?;
        }
    }
    Ok(())
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::Json)
}

fn read<T: DeserializeOwned>(table: &'static str, key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Record { table, key: key.to_owned(), source })
}
