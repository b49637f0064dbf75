//! Reading a dropped file: its jobs, their graphs filled, its inputs kept.
//!
//! What is wrong with one job rejects that job; what is wrong with the file rejects all of it.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Drop;
use super::numbering::fingerprint;
use super::shelf::Shelf;
use crate::folder::Folder;
use crate::job::{Failure, FailureKind, Shape};
use crate::job_file::{self, JobFileError, JobSpec, Places, Source};
use crate::store::{InputFile, Prompt};
use crate::text;
use crate::workflow::{FileInput, FileValue, Filled, SeedChoice, Workflow};

/// Larger files are not copied on the engine's own thread.
const LARGE: u64 = 8 << 20;

/// A job as its file asks for it, before it has a number.
pub(super) struct Draft {
    pub name: String,
    pub workflow: String,
    pub server: Option<String>,
    pub priority: i64,
    pub note: Option<String>,
    pub tags: Vec<String>,
    pub hold: bool,
    pub filled: Result<Ready, Failure>,
}

/// A graph that only waits for seed, prefix and the names of uploads: written down already, as a
/// thousand graphs take much room.
pub(super) struct Ready {
    /// [`Prompt::to_text`].
    pub prompt: String,
    pub fingerprint: String,
    pub seed: SeedChoice,
    pub shape: Shape,
}

/// Why a file can't be taken now.
pub(super) enum Wait {
    /// A file is missing that may still come.
    NotThereYet,
    /// These are to be copied first, and not here.
    Copies(Vec<PathBuf>),
}

/// What a job asked for, slot by slot.
type Slots = Vec<(String, Value)>;

/// Why an input can't be had.
enum NoInput {
    NotYet,
    Never(String),
    /// It is large; noted in [`Reader::large`].
    Later,
}

pub(super) fn rejection(message: impl Into<String>, detail: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::JobFile, node: None, message: message.into(), detail: detail.into() }
}

impl Draft {
    /// For a file that can't be read.
    pub fn rejected(file: &str, why: Failure) -> Self {
        Self {
            name: job_name(None, file),
            workflow: String::new(),
            server: None,
            priority: 0,
            note: None,
            tags: Vec::new(),
            hold: false,
            filled: Err(why),
        }
    }
}

fn stem(file: &str) -> &str {
    file.strip_suffix(".json").unwrap_or(file)
}

/// What a job is called: as it says, else as its file.
fn job_name(own: Option<&str>, file: &str) -> String {
    let names = [own.unwrap_or_default(), stem(file), "job"];
    let mut names = names.into_iter().map(text::clean).filter(|name| !name.is_empty());
    names.next().unwrap_or_default().into_owned()
}

/// Reads one dropped file.
pub(super) struct Reader<'a> {
    pub folder: &'a Folder,
    /// Names of the servers.
    pub servers: Vec<&'a str>,
    pub drop: &'a Drop,
    pub shelf: &'a mut Shelf,
    /// Where its jobs stand, once an error asks.
    places: OnceCell<Places<'a>>,
    /// Files to be copied elsewhere.
    large: Vec<PathBuf>,
    /// What an edited job was before: what it names unchanged is what was kept then.
    before: Option<&'a Prompt>,
}

impl<'a> Reader<'a> {
    pub fn new(folder: &'a Folder, servers: Vec<&'a str>, drop: &'a Drop, shelf: &'a mut Shelf) -> Self {
        Self { folder, servers, drop, shelf, places: OnceCell::new(), large: Vec::new(), before: None }
    }

    /// For the edit of a job.
    pub fn editing(self, before: Option<&'a Prompt>) -> Self {
        Self { before, ..self }
    }

    /// All its jobs.
    pub fn drafts(mut self) -> Result<Vec<Draft>, Wait> {
        let specs = match job_file::parse(&self.drop.bytes) {
            Ok(specs) => specs,
            Err(error) => return Ok(vec![Draft::rejected(&self.drop.name, placed(error))]),
        };
        let mut drafts = Vec::with_capacity(specs.len());
        for (index, spec) in specs.into_iter().enumerate() {
            drafts.push(self.draft(index, spec)?);
        }
        if self.large.is_empty() { Ok(drafts) } else { Err(Wait::Copies(self.large)) }
    }

    fn draft(&mut self, index: usize, spec: JobSpec) -> Result<Draft, Wait> {
        let stem = stem(&self.drop.name);
        let named = match &spec.workflow {
            Source::Named(named) => named.clone().or_else(|| self.drop.workflow.clone()),
            Source::Graph(_) => Some(stem.to_owned()),
        };
        let filled = match self.fill(index, &spec, named.as_deref()) {
            Ok((slots, filled)) => self.ready(index, slots, filled)?,
            Err(why) => Err(why),
        };
        Ok(Draft {
            name: job_name(spec.name.as_deref(), &self.drop.name),
            workflow: text::clean(&named.unwrap_or_default()).into_owned(),
            server: spec.server,
            priority: spec.priority,
            note: spec.note,
            tags: spec.tags,
            hold: spec.hold,
            filled,
        })
    }

    fn ready(&mut self, index: usize, slots: Slots, filled: Filled) -> Result<Result<Ready, Failure>, Wait> {
        let mut files = Vec::new();
        for file in &filled.files {
            if let Some(kept) = self.kept_before(file) {
                files.push(kept);
                continue;
            }
            match self.input(&file.value) {
                Ok((stored, name)) => {
                    files.push(InputFile { node: file.node.clone(), input: file.input.clone(), stored, name });
                }
                Err(NoInput::Never(why)) => return Ok(Err(self.at(index, &[&file.slot], &why))),
                Err(NoInput::NotYet) => return Err(Wait::NotThereYet),
                Err(NoInput::Later) => {}
            }
        }
        let fingerprint = fingerprint(&filled.graph, &files);
        let text = self.before.is_some().then(|| String::from_utf8_lossy(&self.drop.bytes).into_owned());
        let prompt = Prompt { graph: filled.graph, seed_inputs: filled.seed_inputs, files, slots, text };
        let ready = |prompt| Ready { prompt, fingerprint, seed: filled.seed, shape: filled.shape };
        Ok(prompt.to_text().map(ready).map_err(|error| rejection(error.to_string(), "")))
    }

    /// A rejection that names the place in the file.
    fn at(&self, index: usize, path: &[&str], message: &str) -> Failure {
        placed(self.places.get_or_init(|| Places::new(&self.drop.bytes)).error(index, path, message))
    }

    /// The filled graph, and its slots for people.
    fn fill(&mut self, index: usize, spec: &JobSpec, named: Option<&str>) -> Result<(Slots, Filled), Failure> {
        if let Some(server) = &spec.server
            && !self.servers.contains(&server.as_str())
        {
            let hint = text::did_you_mean(server, self.servers.iter().copied());
            let there = self.servers.join(", ");
            let message = format!("no server `{}`{hint}; there are: {there}", text::clean(server));
            return Err(self.at(index, &["server"], &message));
        }
        let workflow = match (&spec.workflow, named) {
            (Source::Graph(graph), _) => {
                let workflow = Workflow::from_graph(&self.drop.name, graph.clone());
                Arc::new(workflow.map_err(|e| rejection(e.to_string(), ""))?)
            }
            (Source::Named(_), Some(name)) => {
                let read = self.shelf.workflow(self.folder, name);
                read.map_err(|e| self.at(index, &["workflow"], &e.to_string()))??
            }
            (Source::Named(_), None) => {
                let there = self.folder.workflow_names().unwrap_or_default().join(", ");
                return Err(self.at(index, &[], &format!("`workflow` is missing: name one of {there}")));
            }
        };
        let filled = workflow.fill(spec).map_err(|faults| {
            let mut faults = faults.iter().map(|f| self.at(index, &f.path(), &f.to_string()));
            let mut first = faults.next().unwrap_or_else(|| rejection("the workflow could not be filled", ""));
            for other in faults {
                first.detail = format!("{}\n\n{}\n{}", first.detail, other.message, other.detail);
            }
            first
        })?;
        let values = workflow.values(&filled.graph).into_iter();
        Ok((values.map(|(slot, value)| (slot.to_owned(), value.clone())).collect(), filled))
    }

    /// The file that this input had before the edit, if it is still the one that is named.
    fn kept_before(&self, file: &FileInput) -> Option<InputFile> {
        let before = self.before?;
        let FileValue::Local(written) = &file.value else { return None };
        let named = before.graph.get(&file.node)?.get("inputs")?.get(&file.input)?.as_str()?;
        let kept = before.files.iter().find(|f| f.node == file.node && f.input == file.input)?;
        (named == written && kept.stored.as_ref().is_some_and(|path| path.is_file())).then(|| kept.clone())
    }

    /// Where an input's file is kept (`None`: on the server), and its name.
    fn input(&mut self, value: &FileValue) -> Result<(Option<PathBuf>, String), NoInput> {
        let written = match value {
            FileValue::Server(name) => return Ok((None, name.clone())),
            FileValue::Local(path) => path,
        };
        let path = self.drop.dir.join(written);
        if path.is_file() {
            let kept = match self.drop.copies.get(&path) {
                Some(kept) => kept.clone(),
                None if self.drop.can_wait() && self.shelf.is_large(&path, LARGE) => {
                    self.large.push(path);
                    return Err(NoInput::Later);
                }
                None => self.shelf.keep(self.folder, &path).map_err(|e| e.to_string()),
            };
            return kept.map(|kept| (Some(kept.stored), kept.name)).map_err(NoInput::Never);
        }
        if !self.drop.last_call {
            return Err(NoInput::NotYet);
        }
        let is_bare = Path::new(written).components().count() == 1;
        if is_bare {
            // Perhaps one of the server's: it is asked before the job is posted.
            return Ok((None, written.clone()));
        }
        Err(NoInput::Never(format!("there is no file {}", text::clean(&path.display().to_string()))))
    }
}

fn placed(error: JobFileError) -> Failure {
    let place = error.place.map(|p| format!("line {}, column {}: ", p.line, p.column)).unwrap_or_default();
    rejection(format!("{place}{}", error.message), error.excerpt)
}
