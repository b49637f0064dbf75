//! Reading a dropped file: its jobs, their graphs filled, its inputs kept.
//!
//! What is wrong with one job rejects that job; what is wrong with the file rejects all of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Drop;
use crate::folder::Folder;
use crate::job::{Failure, FailureKind};
use crate::job_file::{self, JobFileError, JobSpec, Source};
use crate::store::InputFile;
use crate::text;
use crate::workflow::{FileValue, Filled, Workflow};

/// A job as its file asks for it, before it has a number.
pub(super) struct Draft {
    pub name: String,
    pub workflow: String,
    /// `None` for a file that could not be read.
    pub spec: Option<JobSpec>,
    pub filled: Result<Ready, Failure>,
}

/// A graph that only waits for seed, prefix and the names of uploads.
pub(super) struct Ready {
    pub filled: Filled,
    pub files: Vec<InputFile>,
    /// For people.
    pub slots: Vec<(String, Value)>,
}

/// A file is missing that may still come.
pub(super) struct NotThereYet;

/// Why an input can't be had.
enum NoInput {
    NotYet,
    Never(String),
}

pub(super) fn rejection(message: impl Into<String>, detail: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::JobFile, node: None, message: message.into(), detail: detail.into() }
}

impl Draft {
    /// For a file that can't be read.
    pub fn rejected(file: &str, why: Failure) -> Self {
        Self { name: text::clean(stem(file)).into_owned(), workflow: String::new(), spec: None, filled: Err(why) }
    }
}

fn stem(file: &str) -> &str {
    file.strip_suffix(".json").unwrap_or(file)
}

/// Reads one dropped file.
pub(super) struct Reader<'a> {
    pub folder: &'a Folder,
    /// Names of the servers.
    pub servers: Vec<&'a str>,
    pub drop: &'a Drop,
}

impl Reader<'_> {
    /// All its jobs.
    pub fn drafts(&self) -> Result<Vec<Draft>, NotThereYet> {
        match job_file::parse(&self.drop.bytes) {
            Ok(specs) => specs.into_iter().enumerate().map(|(index, spec)| self.draft(index, spec)).collect(),
            Err(error) => Ok(vec![Draft::rejected(&self.drop.name, placed(error))]),
        }
    }

    fn draft(&self, index: usize, spec: JobSpec) -> Result<Draft, NotThereYet> {
        let stem = stem(&self.drop.name);
        let name = text::clean(spec.name.as_deref().unwrap_or(stem)).into_owned();
        let named = match &spec.workflow {
            Source::Named(named) => named.clone().or_else(|| self.drop.workflow.clone()),
            Source::Graph(_) => Some(stem.to_owned()),
        };
        let filled = match self.fill(index, &spec, named.as_deref()) {
            Ok((workflow, filled)) => self.ready(index, &workflow, filled)?,
            Err(why) => Err(why),
        };
        let workflow = text::clean(&named.unwrap_or_default()).into_owned();
        Ok(Draft { name, workflow, spec: Some(spec), filled })
    }

    fn ready(&self, index: usize, workflow: &Workflow, filled: Filled) -> Result<Result<Ready, Failure>, NotThereYet> {
        let slots =
            workflow.values(&filled.graph).into_iter().map(|(slot, value)| (slot.to_owned(), value.clone())).collect();
        let mut files = Vec::new();
        for file in &filled.files {
            match self.input(&file.value) {
                Ok((stored, name)) => {
                    files.push(InputFile { node: file.node.clone(), input: file.input.clone(), stored, name });
                }
                Err(NoInput::Never(why)) => return Ok(Err(self.at(index, &[&file.slot], &why))),
                Err(NoInput::NotYet) => return Err(NotThereYet),
            }
        }
        Ok(Ok(Ready { filled, files, slots }))
    }

    /// A rejection that names the place in the file.
    fn at(&self, index: usize, path: &[&str], message: &str) -> Failure {
        placed(job_file::Places::new(&self.drop.bytes).error(index, path, message))
    }

    fn fill(&self, index: usize, spec: &JobSpec, named: Option<&str>) -> Result<(Workflow, Filled), Failure> {
        if let Some(server) = &spec.server
            && !self.servers.contains(&server.as_str())
        {
            let hint = text::did_you_mean(server, self.servers.iter().copied());
            let names = self.servers.join(", ");
            let message = format!("no server `{}`{hint}; there are: {names}", text::clean(server));
            return Err(self.at(index, &["server"], &message));
        }
        let workflow = match (&spec.workflow, named) {
            (Source::Graph(graph), _) => {
                Workflow::from_graph(&self.drop.name, graph.clone()).map_err(|e| rejection(e.to_string(), ""))?
            }
            (Source::Named(_), Some(name)) => {
                let file =
                    self.folder.read_workflow(name).map_err(|e| self.at(index, &["workflow"], &e.to_string()))?;
                Workflow::parse(&file.name, &file.json, file.toml.as_deref())
                    .map_err(|e| rejection(format!("the workflow `{}`: {e}", file.name), ""))?
            }
            (Source::Named(_), None) => {
                let names = self.folder.workflow_names().unwrap_or_default().join(", ");
                return Err(self.at(index, &[], &format!("`workflow` is missing: name one of {names}")));
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
        Ok((workflow, filled))
    }

    /// Where an input's file is kept (`None`: on the server), and its name.
    fn input(&self, value: &FileValue) -> Result<(Option<PathBuf>, String), NoInput> {
        let written = match value {
            FileValue::Server(name) => return Ok((None, name.clone())),
            FileValue::Local(path) => path,
        };
        let path = self.drop.dir.join(written);
        if path.is_file() {
            let kept = self.folder.keep_input(&path).map_err(|e| NoInput::Never(e.to_string()))?;
            return Ok((Some(kept.stored), kept.name));
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
