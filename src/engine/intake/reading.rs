//! Reading a dropped file: its jobs, their graphs filled, its inputs kept.
//!
//! What is wrong with one job rejects that job; what is wrong with the file rejects all of it.

mod inputs;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Drop;
use super::numbering::{Batch, fingerprint};
use super::shelf::{Shelf, now_for_pages};
use crate::engine::core::State;
use crate::engine::preflight::{Known, Preflight};
use crate::folder::Folder;
use crate::job::{Failure, FailureKind, Goal, JobId, Shape};
use crate::job_file::{self, Format, JobFileError, JobSpec, Places, Source, Variant};
use crate::store::Prompt;
use crate::text;
use crate::workflow::asked::{self, Asked, Ground, Sames, Wrong, no_file};
use crate::workflow::convert::When;
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::{FileValue, Filled, InputRef, SeedChoice, Workflow};
use inputs::NoInput;

/// Larger files are not copied on the engine's own thread.
pub(super) const LARGE: u64 = 8 << 20;

/// A job as its file asks for it, before it has a number.
pub(super) struct Draft {
    pub name: String,
    pub workflow: String,
    pub server: Option<String>,
    pub priority: i64,
    pub note: Option<String>,
    pub tags: Vec<String>,
    pub hold: bool,
    /// Jobs that must be done first.
    pub after: Vec<JobId>,
    pub variant: Option<Variant>,
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
    pub goal: Option<Goal>,
    pub repair: bool,
}

/// What a file waits for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    /// Fit to show.
    pub words: String,
    /// The files that it names.
    pub files: Vec<PathBuf>,
}

/// Why a file can't be taken now.
pub(super) enum Wait {
    /// This is missing, and may still come.
    NotThereYet(Missing),
    /// These are to be copied first, and not here.
    Copies(Vec<PathBuf>),
    /// Its workflow is there, and can't be read; or the folder of the workflows is away.
    Unread(String),
}

/// All that was read of a file.
pub(super) struct Drafts {
    pub jobs: Vec<Draft>,
    /// What its owner may not have meant, fit to show.
    pub doubts: Vec<String>,
    /// The files beside it that it names.
    pub named: Vec<PathBuf>,
}

impl Drafts {
    /// Of a file that is one job.
    pub fn alone(job: Draft) -> Self {
        Self { jobs: vec![job], doubts: Vec::new(), named: Vec::new() }
    }
}

pub(super) fn rejection(message: impl Into<String>, detail: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::JobFile, node: None, message: message.into(), detail: detail.into() }
}

impl Draft {
    /// For a file that can't be read.
    pub fn rejected(file: &str, why: Failure) -> Self {
        Self {
            name: job_file::job_name(None, file),
            workflow: String::new(),
            server: None,
            priority: 0,
            note: None,
            tags: Vec::new(),
            hold: false,
            after: Vec::new(),
            variant: None,
            filled: Err(why),
        }
    }
}

/// Reads one dropped file.
pub(super) struct Reader<'a> {
    pub folder: &'a Folder,
    pub state: &'a State,
    /// What is taken together with it.
    pub batch: &'a Batch,
    /// The number that its first job will have.
    pub first: JobId,
    pub drop: &'a Drop,
    pub shelf: &'a mut Shelf,
    /// Where its jobs stand, once an error asks.
    places: OnceCell<Places<'a>>,
    /// Files to be copied elsewhere.
    large: Vec<PathBuf>,
    missing: Missing,
    /// Why a workflow that is there can't be read now.
    unread: Option<String>,
    /// The job that is read asks what only a server can say, and none has.
    wants_server: bool,
    named: Vec<PathBuf>,
    /// The names of its jobs so far, and which each means: a job that is rendered already, or itself.
    names: Vec<(String, JobId)>,
    /// The names of all its jobs.
    all_names: Vec<String>,
    graphs: usize,
    sames: Sames,
    /// What an edited job was before: what it names unchanged is what was kept then.
    before: Option<&'a Prompt>,
    /// What is known of the servers.
    servers: &'a [Option<Known>],
}

impl<'a> Reader<'a> {
    pub fn new(
        folder: &'a Folder,
        state: &'a State,
        batch: &'a Batch,
        first: JobId,
        drop: &'a Drop,
        shelf: &'a mut Shelf,
    ) -> Self {
        Self {
            folder,
            state,
            batch,
            first,
            drop,
            shelf,
            places: OnceCell::new(),
            large: Vec::new(),
            missing: Missing::default(),
            unread: None,
            wants_server: false,
            named: Vec::new(),
            names: Vec::new(),
            all_names: Vec::new(),
            graphs: 0,
            sames: Sames::default(),
            before: None,
            servers: &[],
        }
    }

    /// With what is known of the servers.
    pub fn knowing(self, preflight: &'a Preflight) -> Self {
        Self { servers: &preflight.known, ..self }
    }

    /// For the edit of a job.
    pub fn editing(self, before: Option<&'a Prompt>) -> Self {
        Self { before, ..self }
    }

    /// All its jobs.
    pub fn drafts(mut self) -> Result<Drafts, Wait> {
        let read = job_file::read(self.drop.format(), &self.drop.bytes);
        self.all_names = read.jobs.iter().map(|spec| self.name_of(spec)).collect();
        if !read.errors.is_empty() {
            let why = self.faults(read);
            return Ok(self.rejected(why));
        }
        let mut jobs = Vec::with_capacity(read.jobs.len());
        for spec in read.jobs {
            jobs.push(self.draft(spec)?);
            if self.graphs > asked::MOST_GRAPHS {
                return Ok(self.rejected(rejection(asked::TOO_LARGE, "")));
            }
        }
        if let Some(why) = self.unread {
            return Err(Wait::Unread(why));
        }
        if !self.missing.files.is_empty() {
            return Err(Wait::NotThereYet(self.missing));
        }
        if !self.large.is_empty() {
            return Err(Wait::Copies(self.large));
        }
        let doubts =
            self.sames.words().map(|(entry, words)| self.place(entry, &["repeat"], &words).to_string()).collect();
        Ok(Drafts { jobs, doubts, named: self.named })
    }

    /// All that is wrong with a file that can't be read, and with those of its jobs that can.
    fn faults(&mut self, read: job_file::Reading) -> Failure {
        let mut errors = read.errors;
        for mut spec in read.jobs {
            asked::take_profile(&mut spec, &self.drop.inbox);
            self.wants_server = false;
            let asked = asked::fill(&spec, &self.drop.name, self);
            self.names.push((self.name_of(&spec), self.next_id()));
            let unsure = asked.unsure();
            let Asked { filled, mut wrong, .. } = asked;
            if self.wants_server {
                // what only a server can say is told when the file can be read
                wrong.clear();
            }
            // nothing is waited for any more
            let files = filled.iter().flat_map(|(_, filled)| &filled.files);
            let files = files.filter(|file| !unsure.contains(&InputRef::new(&file.node, &file.input)));
            wrong.extend(files.filter_map(|file| match &file.value {
                FileValue::Local(path) if !self.drop.dir.join(path).is_file() => {
                    let words = no_file(&self.drop.dir.join(path));
                    Some(Wrong { path: asked::path_to_file(&spec, file), words })
                }
                _ => None,
            }));
            for wrong in &wrong {
                let error = self.place(spec.origin.entry, &wrong.path, &wrong.words);
                // the jobs of a sweep have their faults in common
                if !errors.contains(&error) {
                    errors.push(error);
                }
            }
            if errors.len() > job_file::MAX_ERRORS {
                break;
            }
        }
        job_file::in_order(&mut errors);
        all(job_file::at_most(errors).into_iter().map(placed))
    }

    /// The file as one job that was rejected.
    fn rejected(&self, why: Failure) -> Drafts {
        Drafts::alone(Draft::rejected(&self.drop.name, why))
    }

    fn draft(&mut self, mut spec: JobSpec) -> Result<Draft, Wait> {
        asked::take_profile(&mut spec, &self.drop.inbox);
        let named = match &spec.workflow {
            Source::Named(named) => named.clone().unwrap_or_default(),
            Source::Graph(_) | Source::Page(_) => Format::stem(&self.drop.name).to_owned(),
        };
        self.wants_server = false;
        let Asked { filled, wrong, .. } = asked::fill(&spec, &self.drop.name, self);
        // A server may say so any moment; only who waits for an answer is told so at once.
        if !wrong.is_empty() && self.wants_server && self.drop.can_wait() {
            let words = "a server that says what its nodes can do".to_owned();
            return Err(Wait::NotThereYet(Missing { words, files: Vec::new() }));
        }
        let mut after: Vec<JobId> = spec.after.iter().flat_map(|name| self.jobs_called(name)).flatten().collect();
        let filled = match filled {
            Some((workflow, filled)) if wrong.is_empty() => {
                self.sames.see(&spec, &filled);
                self.ready(&spec, &workflow, filled, &mut after)
            }
            _ => Err(all(wrong.iter().map(|wrong| self.at(spec.origin.entry, &wrong.path, &wrong.words)))),
        };
        after.sort_unstable();
        after.dedup();
        let (name, own) = (self.name_of(&spec), self.next_id());
        let is_set = |ready: &&Ready| matches!(ready.seed, SeedChoice::Given(_) | SeedChoice::None);
        let same = filled.as_ref().ok().filter(is_set).and_then(|ready| self.state.same_as(&ready.fingerprint));
        self.names.push((name.clone(), same.unwrap_or(own)));
        Ok(Draft {
            name,
            workflow: text::clean(&named).into_owned(),
            server: spec.server,
            priority: spec.priority,
            note: spec.note,
            tags: spec.tags,
            hold: spec.hold,
            after,
            variant: spec.variant,
            filled,
        })
    }

    fn name_of(&self, spec: &JobSpec) -> String {
        job_file::job_name(spec.name.as_deref(), &self.drop.name)
    }

    /// The number of the job that is read.
    fn next_id(&self) -> JobId {
        JobId(self.first.0 + self.names.len() as u64)
    }

    /// The jobs that go by this name: of this file, of those that come with it, of those that are there.
    fn jobs_called(&self, name: &str) -> Result<Vec<JobId>, String> {
        let own = self.names.iter().filter(|(other, _)| other == name);
        let mut found: Vec<JobId> = own.map(|(_, meant)| *meant).collect();
        if found.is_empty() {
            found = self.batch.jobs_called(name);
        }
        if found.is_empty() {
            found = self.state.jobs_called(name);
        }
        if found.is_empty() && self.all_names.iter().any(|other| other == name) {
            return Err(asked::no_earlier_job(name));
        }
        if found.is_empty() {
            let names = self.names.iter().map(|(name, _)| name.as_str()).chain(self.state.job_names());
            return Err(asked::no_job(name, names));
        }
        Ok(found)
    }

    fn ready(
        &mut self,
        spec: &JobSpec,
        workflow: &Workflow,
        filled: Filled,
        after: &mut Vec<JobId>,
    ) -> Result<Ready, Failure> {
        let (mut files, mut wrong) = (Vec::new(), Vec::new());
        for file in &filled.files {
            if let Some(kept) = self.kept_before(file) {
                files.push(kept);
                continue;
            }
            match self.input(spec, &filled.graph, file, after) {
                Ok(Some(input)) => files.push(input),
                Ok(None) | Err(NoInput::Later) => {}
                Err(NoInput::Never(why)) => {
                    wrong.push(self.at(spec.origin.entry, &asked::path_to_file(spec, file), &why));
                }
            }
        }
        if !wrong.is_empty() {
            return Err(all(wrong));
        }
        let goal = filled.tries.goal;
        let fingerprint = fingerprint(&filled.graph, &files, goal.as_ref(), spec.repair);
        let text = self.before.is_some().then(|| String::from_utf8_lossy(&self.drop.bytes).into_owned());
        let slots = workflow.values(&filled.graph).into_iter();
        let prompt = Prompt {
            slots: slots.map(|(slot, value)| (slot.to_owned(), value.clone())).collect(),
            graph: filled.graph,
            seed_inputs: filled.seed_inputs,
            files,
            text,
            variations: filled.tries.edits,
            extra_data: spec.extra_data.clone().or_else(|| page_beside(&spec.workflow)),
        };
        let prompt = prompt.to_text().map_err(|error| rejection(error.to_string(), ""))?;
        self.graphs += prompt.len();
        Ok(Ready { prompt, fingerprint, seed: filled.seed, shape: filled.shape, goal, repair: spec.repair })
    }

    /// A rejection that names the place in the file.
    fn at(&self, entry: usize, path: &[String], message: &str) -> Failure {
        placed(self.place(entry, path, message))
    }

    fn place(&self, entry: usize, path: &[impl AsRef<str>], message: &str) -> JobFileError {
        let places = self.places.get_or_init(|| Places::new(self.drop.format(), &self.drop.bytes));
        places.error(entry, path, message)
    }
}

impl Ground for Reader<'_> {
    fn servers(&self) -> Vec<String> {
        self.state.server_names().map(str::to_owned).collect()
    }

    fn workflow_names(&self) -> Vec<String> {
        self.folder.workflow_names().unwrap_or_default()
    }

    fn workflow(&mut self, name: &str, server: Option<&str>) -> Result<Arc<Workflow>, String> {
        let nodes = self.info_for(server);
        match self.shelf.workflow(self.folder, name, nodes.as_deref()) {
            Ok(read) => read.map_err(|wrong| {
                self.wants_server |= wrong.wants_server;
                wrong.words
            }),
            Err(error) => {
                if error.may_pass() {
                    self.unread = Some(error.to_string());
                }
                Err(error.to_string())
            }
        }
    }

    fn nodes(&mut self, server: Option<&str>) -> Option<Arc<ObjectInfo>> {
        let nodes = self.info_for(server);
        self.wants_server |= nodes.is_none();
        nodes
    }

    fn when(&self) -> When {
        now_for_pages()
    }

    fn after(&self, job: &str) -> Result<(), String> {
        self.jobs_called(job).map(|_| ())
    }
}

/// The page's own graph is posted beside the one that runs, so that the outputs carry it.
fn page_beside(source: &Source) -> Option<Map<String, Value>> {
    let Source::Page(page) = source else { return None };
    let beside = serde_json::json!({ "extra_pnginfo": { "workflow": &**page } });
    beside.as_object().cloned()
}

/// Several rejections as one: the first, the others in its detail.
fn all(rejections: impl IntoIterator<Item = Failure>) -> Failure {
    let mut rejections = rejections.into_iter();
    let mut first = rejections.next().unwrap_or_else(|| rejection("the file can't be used", ""));
    for other in rejections {
        for part in ["\n\n", &other.message, "\n", &other.detail] {
            first.detail.push_str(part);
        }
    }
    first
}

fn placed(error: JobFileError) -> Failure {
    let place = error.place.map(|p| format!("line {}, column {}: ", p.line, p.column)).unwrap_or_default();
    rejection(format!("{place}{}", error.message), error.excerpt)
}
