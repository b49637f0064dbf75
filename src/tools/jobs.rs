//! `comfytop check` and `comfytop add --dry-run`: job files read as the engine reads them, and nothing taken.

mod difference;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::workflows::{self, now_for_pages, read_workflow};
use crate::config::{Config, InboxConfig};
use crate::embedded;
use crate::folder::{Folder, is_text};
use crate::job_file::{self, Format, JobFileError, JobSpec, MAX_BYTES, MAX_ERRORS, Places, job_name};
use crate::text::{clean, did_you_mean};
use crate::workflow::asked::{self, Asked, Sames, no_file, no_picture};
use crate::workflow::convert::When;
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::{self, FileInput, FileValue, Filled, Graph, InputRef, SlotType, Workflow, preflight};

/// What job files are held against.
pub struct Ground<'a> {
    pub folder: &'a Folder,
    pub config: &'a Config,
    /// Names of the servers, for `"server"` in a job.
    pub servers: &'a [String],
    /// What a server says of its nodes, and its name.
    pub info: Option<(Arc<ObjectInfo>, &'a str)>,
    /// The graphs are held against it, too.
    pub preflight: bool,
}

/// One job of a file, filled.
struct Planned {
    spec: JobSpec,
    workflow: Arc<Workflow>,
    filled: Filled,
}

/// Says all that is wrong with these files, each with its line; true when nothing is.
///
/// # Errors
/// When `out` can't be written to.
pub fn check(ground: &Ground<'_>, files: &[PathBuf], out: &mut dyn Write) -> io::Result<bool> {
    let mut well = true;
    for file in files {
        let mut count = 0;
        match ground.plan(file, &mut |_| count += 1) {
            Ok(doubts) => {
                let words = if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") };
                tell(file, "note: ", &doubts, out)?;
                writeln!(out, "{}: {words}, nothing wrong", shown(file))?;
            }
            Err(errors) => {
                well = false;
                tell(file, "", &errors, out)?;
            }
        }
    }
    Ok(well)
}

/// Says what would be submitted, as a difference to the workflows; true when all of it could be.
///
/// # Errors
/// When `out` can't be written to.
pub fn dry_run(ground: &Ground<'_>, files: &[PathBuf], out: &mut dyn Write) -> io::Result<bool> {
    let mut well = true;
    for file in files {
        let mut said = Vec::new();
        let planned = ground.plan(file, &mut |job| {
            // Writing to memory can't fail.
            let _ = difference::difference(file, job, &mut said);
        });
        match planned {
            Ok(doubts) => {
                out.write_all(&said)?;
                tell(file, "note: ", &doubts, out)?;
            }
            Err(errors) => {
                well = false;
                tell(file, "", &errors, out)?;
            }
        }
    }
    Ok(well)
}

fn tell(file: &Path, mark: &str, errors: &[JobFileError], out: &mut dyn Write) -> io::Result<()> {
    for error in errors {
        let place = error.place.map(|p| format!(":{}:{}", p.line, p.column)).unwrap_or_default();
        writeln!(out, "{}{place}: {mark}{}", shown(file), error.message)?;
        for line in error.excerpt.lines() {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    clean(&path.display().to_string()).into_owned()
}

/// A job file's bytes; of a file that ComfyUI made, the job that it carries.
fn read(file: &Path) -> Result<(Format, Vec<u8>), JobFileError> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if Format::of(&name).is_none() && embedded::ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        let graph = super::extract::graph(file).map_err(|error| JobFileError::whole(error.to_string()))?;
        return Ok((Format::Json, Value::Object(graph).to_string().into_bytes()));
    }
    let size = fs::metadata(file).map_err(|error| JobFileError::whole(error.to_string()))?.len();
    if size > MAX_BYTES {
        return Err(JobFileError::whole(format!(
            "the file has {size} bytes; a job file has at most {} MiB",
            MAX_BYTES >> 20
        )));
    }
    let bytes = fs::read(file).map_err(|error| JobFileError::whole(error.to_string()))?;
    Ok((Format::of(&name).unwrap_or(Format::Json), bytes))
}

/// One file, while it is read.
struct Reading<'a> {
    ground: &'a Ground<'a>,
    dir: &'a Path,
    /// The name of the file.
    file: &'a str,
    workflows: HashMap<String, Arc<Workflow>>,
    /// What its jobs are called, in their order.
    names: Vec<String>,
    /// The job that is read.
    at: usize,
}

impl asked::Ground for Reading<'_> {
    fn servers(&self) -> Vec<String> {
        self.ground.servers.to_vec()
    }

    fn workflow_names(&self) -> Vec<String> {
        workflows::names(self.ground.folder)
    }

    fn workflow(&mut self, name: &str, _: Option<&str>) -> Result<Arc<Workflow>, String> {
        if let Some(known) = self.workflows.get(name) {
            return Ok(Arc::clone(known));
        }
        let info = || self.ground.info.as_ref().map(|(info, _)| &**info);
        let workflow = Arc::new(read_workflow(self.ground.folder, name, &info)?);
        self.workflows.insert(name.to_owned(), Arc::clone(&workflow));
        Ok(workflow)
    }

    fn nodes(&mut self, _: Option<&str>) -> Option<Arc<ObjectInfo>> {
        self.ground.info.as_ref().map(|(info, _)| Arc::clone(info))
    }

    fn when(&self) -> When {
        now_for_pages()
    }

    /// Which jobs were taken before only the engine knows; of this file the later ones were not.
    fn after(&self, job: &str) -> Result<(), String> {
        let is_it = |name: &String| name == job;
        let first = self.names.iter().position(is_it);
        if first.is_none_or(|first| first < self.at) { Ok(()) } else { Err(asked::no_earlier_job(job)) }
    }
}

impl Ground<'_> {
    /// Reads a file and hands on each of its jobs; the answer is what its owner may not have meant.
    fn plan(&self, file: &Path, each: &mut dyn FnMut(&Planned)) -> Result<Vec<JobFileError>, Vec<JobFileError>> {
        let (format, bytes) = read(file).map_err(|error| vec![error])?;
        let read = job_file::read(format, &bytes);
        let places = Places::new(format, &bytes);
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let usual = InboxConfig::default();
        let inbox = self.config.inboxes.get(self.folder.inbox_of(dir)).unwrap_or(&usual);
        let file = file.file_name().unwrap_or_default().to_string_lossy();
        let names = read.jobs.iter().map(|spec| job_name(spec.name.as_deref(), &file)).collect();
        let mut reading = Reading { ground: self, dir, file: &file, workflows: HashMap::new(), names, at: 0 };
        let (mut sames, mut errors, mut graphs) = (Sames::default(), read.errors, 0);
        for (at, mut spec) in read.jobs.into_iter().enumerate() {
            reading.at = at;
            asked::take_profile(&mut spec, inbox);
            match reading.job(spec, &places) {
                Ok(job) => {
                    graphs += size(&job.filled.graph);
                    sames.see(&job.spec, &job.filled);
                    each(&job);
                }
                // the jobs of a sweep have their faults in common
                Err(more) => errors.extend(more.into_iter().filter(|e| !errors.contains(e)).collect::<Vec<_>>()),
            }
            if graphs > asked::MOST_GRAPHS {
                errors.push(JobFileError::whole(asked::TOO_LARGE));
                break;
            }
            if errors.len() > MAX_ERRORS {
                break;
            }
        }
        if errors.is_empty() {
            Ok(sames.words().map(|(entry, words)| places.error(entry, &["repeat"], &words)).collect())
        } else {
            job_file::in_order(&mut errors);
            Err(job_file::at_most(errors))
        }
    }

    /// What the server lists among its inputs where this name would stand; `None`: it says nothing of that, or of such a
    /// name.
    fn listed(&self, graph: &Graph, file: &FileInput, name: &str) -> Option<&[Value]> {
        let class = graph.get(&file.node).and_then(workflow::graph::class).unwrap_or_default();
        let (info, _) = self.info.as_ref()?;
        // it lists none of its subfolders
        if name.contains(['/', '\\']) || preflight::is_elsewhere(name) {
            return None;
        }
        preflight::choices(info, class, &file.input)
    }

    /// Whether it lists this name.
    fn lists(&self, graph: &Graph, file: &FileInput, name: &str) -> Option<bool> {
        Some(self.listed(graph, file, name)?.iter().any(|known| known.as_str() == Some(name)))
    }
}

impl Reading<'_> {
    fn job(&mut self, spec: JobSpec, places: &Places<'_>) -> Result<Planned, Vec<JobFileError>> {
        let at = |path: &[String], words: &str| places.error(spec.origin.entry, path, words);
        // what could not be read would have filled it otherwise
        let server = self.ground.info.as_ref().filter(|_| self.ground.preflight && !spec.origin.is_partial);
        let asked = asked::fill(&spec, self.file, self);
        let unsure = asked.unsure();
        let Asked { is_whole, filled, wrong } = asked;
        let mut errors: Vec<_> = wrong.iter().map(|wrong| at(&wrong.path, &wrong.words)).collect();
        let mut refused = Vec::new();
        if let Some((_, filled)) = &filled {
            let places = filled.files.iter().map(|file| (file, InputRef::new(&file.node, &file.input)));
            for (file, _) in places.clone().filter(|(_, place)| !unsure.contains(place)) {
                errors
                    .extend(self.lacks(&filled.graph, file).map(|words| at(&asked::path_to_file(&spec, file), &words)));
            }
            if let Some((info, _)) = server {
                let brought = places.map(|(_, place)| place).collect();
                let (edits, extra) = (&filled.tries.edits, spec.extra_data.as_ref());
                refused = preflight::check_tries(&filled.graph, edits, extra, info, &brought);
                refused.retain(|fault| fault.place().is_none_or(|place| !unsure.contains(&place)));
            }
            if !is_whole {
                // what leads to a node that is left out, and what is said of the whole, was told already
                refused.retain(|fault| !fault.is_loose && fault.node.is_some());
            }
        }
        if let Some((_, server)) = server {
            for fault in refused {
                let path = path_of(&fault, &spec, filled.as_ref().map(|(workflow, _)| &**workflow));
                let error = at(&path, &format!("{server} would refuse it: {fault}"));
                if !errors.contains(&error) {
                    errors.push(error);
                }
            }
        }
        match filled {
            Some((workflow, filled)) if errors.is_empty() => Ok(Planned { spec, workflow, filled }),
            _ => Err(errors),
        }
    }

    /// Why an input's file can't be had.
    fn lacks(&self, graph: &Graph, file: &FileInput) -> Option<String> {
        let is_there = |name: &str| self.dir.join(name).is_file();
        match &file.value {
            FileValue::Job(job) => asked::Ground::after(self, job).err(),
            FileValue::Server(name) if self.ground.lists(graph, file, name) == Some(false) => {
                let listed = self.ground.listed(graph, file, name).unwrap_or_default();
                let hint = did_you_mean(name, listed.iter().filter_map(Value::as_str));
                Some(format!("`{}` is not among the server's inputs{}", clean(name), clean(&hint)))
            }
            FileValue::Local(path) if !is_there(path) && self.ground.lists(graph, file, path) != Some(true) => {
                Some(no_file(&self.dir.join(path)))
            }
            FileValue::Perhaps(name) if !is_there(name) && self.ground.lists(graph, file, name) == Some(false) => {
                Some(format!("`{}` is neither beside the file nor among the server's inputs", clean(name)))
            }
            FileValue::Local(name) | FileValue::Perhaps(name)
                if file.takes == SlotType::Image && is_text(&self.dir.join(name)) =>
            {
                Some(no_picture(name))
            }
            _ => None,
        }
    }
}

/// What in a job leads to the input that a server would refuse: the slot or edit that filled it, or the graph's own.
fn path_of(fault: &preflight::Fault, spec: &JobSpec, workflow: Option<&Workflow>) -> Vec<String> {
    let Some(node) = &fault.node else { return Vec::new() };
    if let (Some(workflow), Some(place)) = (workflow, fault.place()) {
        let titles = workflow::titles(&workflow.graph);
        let is_it = |key: &&String| workflow::graph::place(&workflow.graph, &titles, key).as_ref() == Ok(&place);
        if let Some(key) = spec.set.keys().find(is_it) {
            return vec!["set".to_owned(), key.clone()];
        }
        let filled = |slot: &&workflow::Slot| slot.inputs.contains(&place) && spec.slots.contains_key(&slot.name);
        if let Some(slot) = workflow.slots.iter().find(filled) {
            return vec![slot.name.clone()];
        }
    }
    match &fault.input {
        Some(input) => asked::path_to_input(spec, node, input),
        None => asked::path_to(spec, node),
    }
}

/// How long a graph is as text, in bytes.
fn size(graph: &Graph) -> usize {
    serde_json::to_vec(graph).map_or(0, |text| text.len())
}
