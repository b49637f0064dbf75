//! `comfytop check` and `comfytop add --dry-run`: job files read as the engine reads them, and nothing taken.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::workflows::{self, now_for_pages, read_workflow};
use crate::embedded;
use crate::folder::Folder;
use crate::job_file::{self, Format, JobFileError, JobSpec, MAX_BYTES, MAX_ERRORS, Places, Source};
use crate::text::{clean, clean_lines};
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::{self, FileInput, FileValue, Filled, Graph, InputRef, SeedChoice, Workflow, preflight};

/// What job files are held against.
pub struct Ground<'a> {
    pub folder: &'a Folder,
    /// Names of the servers, for `"server"` in a job.
    pub servers: &'a [String],
    /// The workflow of jobs that name none.
    pub workflow: Option<&'a str>,
    /// What a server says of its nodes, and its name.
    pub info: Option<(&'a ObjectInfo, &'a str)>,
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
        match ground.plan(file) {
            Ok(jobs) => {
                let words = if jobs.len() == 1 { "1 job".to_owned() } else { format!("{} jobs", jobs.len()) };
                writeln!(out, "{}: {words}, nothing wrong", shown(file))?;
            }
            Err(errors) => {
                well = false;
                tell(file, &errors, out)?;
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
        match ground.plan(file) {
            Ok(jobs) => {
                for job in &jobs {
                    difference(file, job, out)?;
                }
            }
            Err(errors) => {
                well = false;
                tell(file, &errors, out)?;
            }
        }
    }
    Ok(well)
}

fn tell(file: &Path, errors: &[JobFileError], out: &mut dyn Write) -> io::Result<()> {
    for error in errors {
        let place = error.place.map(|p| format!(":{}:{}", p.line, p.column)).unwrap_or_default();
        writeln!(out, "{}{place}: {}", shown(file), error.message)?;
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

impl Ground<'_> {
    fn plan(&self, file: &Path) -> Result<Vec<Planned>, Vec<JobFileError>> {
        let (format, bytes) = read(file).map_err(|error| vec![error])?;
        let specs = job_file::parse(format, &bytes)?;
        let places = Places::new(format, &bytes);
        let dir = file.parent().unwrap_or(Path::new("."));
        let mut workflows = HashMap::new();
        let (mut jobs, mut errors) = (Vec::new(), Vec::new());
        for spec in specs {
            match self.job(spec, dir, &places, &mut workflows) {
                Ok(job) => jobs.push(job),
                // the jobs of a sweep have their faults in common
                Err(more) => errors.extend(more.into_iter().filter(|e| !errors.contains(e)).collect::<Vec<_>>()),
            }
            if errors.len() > MAX_ERRORS {
                break;
            }
        }
        if errors.is_empty() { Ok(jobs) } else { Err(job_file::at_most(errors)) }
    }

    /// Whether the server lists its inputs, and not this one; it lists none of its subfolders.
    fn lacks(&self, graph: &Graph, file: &FileInput, name: &str) -> bool {
        let class = graph.get(&file.node).and_then(workflow::graph::class).unwrap_or_default();
        let listed = self.info.and_then(|(info, _)| preflight::choices(info, class, &file.input));
        let is_plain = !name.contains(['/', '\\']) && !preflight::is_elsewhere(name);
        is_plain && listed.is_some_and(|names| !names.iter().any(|known| known.as_str() == Some(name)))
    }

    fn job(
        &self,
        spec: JobSpec,
        dir: &Path,
        places: &Places<'_>,
        known: &mut HashMap<String, Arc<Workflow>>,
    ) -> Result<Planned, Vec<JobFileError>> {
        let at = |path: &[&str], words: &str| places.error(spec.entry, path, words);
        let mut errors = Vec::new();
        if let Some(server) = spec.server.as_ref().filter(|name| !self.servers.contains(name)) {
            let hint = crate::text::did_you_mean(server, self.servers.iter().map(String::as_str));
            errors.push(at(
                &["server"],
                &format!("no server `{}`{hint}; there are: {}", clean(server), self.servers.join(", ")),
            ));
        }
        let workflow = match &spec.workflow {
            Source::Graph(graph) => Workflow::from_graph("graph", (**graph).clone()).map(Arc::new).map_err(|error| {
                // a link to nothing hides none of the others
                if let Some((info, server)) = self.info.filter(|_| self.preflight) {
                    let packs = preflight::packs(graph, spec.extra_data.as_ref());
                    let more = preflight::check(graph, info, &HashSet::new(), &packs);
                    let more = more.iter().filter(|fault| !fault.is_loose);
                    errors.extend(more.map(|fault| at(&[], &format!("{server} would refuse it: {fault}"))));
                }
                at(&[], &error.to_string())
            }),
            Source::Page(page) => match self.info {
                None => Err(at(&[], job_file::PAGE_GRAPH)),
                Some((info, _)) => Workflow::from_page("graph", page, None, info, now_for_pages())
                    .map(Arc::new)
                    .map_err(|error| at(&[], &error.to_string())),
            },
            Source::Named(name) => match name.as_deref().or(self.workflow) {
                None => Err(at(
                    &[],
                    &format!("`workflow` is missing: name one of {}", workflows::names(self.folder).join(", ")),
                )),
                Some(name) => match known.get(name) {
                    Some(workflow) => Ok(Arc::clone(workflow)),
                    None => read_workflow(self.folder, name, &|| self.info.map(|(info, _)| info))
                        .map(|workflow| {
                            let workflow = Arc::new(workflow);
                            known.insert(name.to_owned(), Arc::clone(&workflow));
                            workflow
                        })
                        .map_err(|words| at(&["workflow"], &words)),
                },
            },
        };
        let workflow = match workflow {
            Ok(workflow) => workflow,
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        let filled = match workflow.fill(&spec) {
            Ok(filled) => filled,
            Err(faults) => {
                errors.extend(faults.iter().map(|fault| at(&fault.path(), &fault.to_string())));
                return Err(errors);
            }
        };
        for file in &filled.files {
            match &file.value {
                FileValue::Local(path) if !dir.join(path).is_file() => {
                    errors.push(at(&[&file.slot], &format!("there is no file {}", shown(&dir.join(path)))));
                }
                FileValue::Perhaps(name) if !dir.join(name).is_file() && self.lacks(&filled.graph, file, name) => {
                    let words = format!("`{}` is neither beside the file nor among the server's inputs", clean(name));
                    errors.push(at(&[&file.slot], &words));
                }
                _ => {}
            }
        }
        if let Some((info, server)) = self.info.filter(|_| self.preflight) {
            let graphs = std::iter::once(filled.graph.clone()).chain(filled.tries.edits.iter().map(|edits| {
                let mut graph = filled.graph.clone();
                workflow::tries::vary(&mut graph, edits);
                graph
            }));
            let brought: HashSet<_> = filled.files.iter().map(|file| InputRef::new(&file.node, &file.input)).collect();
            let packs = preflight::packs(&filled.graph, spec.extra_data.as_ref());
            for fault in graphs.flat_map(|graph| preflight::check(&graph, info, &brought, &packs)) {
                let path = place_of(&fault, &spec, &workflow);
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let error = at(&path, &format!("{server} would refuse it: {fault}"));
                if !errors.contains(&error) {
                    errors.push(error);
                }
            }
        }
        if errors.is_empty() { Ok(Planned { spec, workflow, filled }) } else { Err(errors) }
    }
}

/// What in a job leads to the input that a server would refuse: the slot or edit that filled it, or the graph's own.
fn place_of(fault: &preflight::Fault, spec: &JobSpec, workflow: &Workflow) -> Vec<String> {
    let Some(node) = &fault.node else { return Vec::new() };
    let input = fault.input.as_deref().unwrap_or_default();
    let place = InputRef::new(node, input);
    let titles = workflow::titles(&workflow.graph);
    let is_it = |key: &&String| workflow::graph::place(&workflow.graph, &titles, key).as_ref() == Ok(&place);
    if let Some(key) = spec.set.keys().find(is_it) {
        return vec!["set".to_owned(), key.clone()];
    }
    let filled = |slot: &&workflow::Slot| slot.inputs.contains(&place) && spec.slots.contains_key(&slot.name);
    if let Some(slot) = workflow.slots.iter().find(filled) {
        return vec![slot.name.clone()];
    }
    match &spec.workflow {
        Source::Graph(_) => [node.as_str(), "inputs", input].map(str::to_owned).to_vec(),
        Source::Page(_) | Source::Named(_) => vec!["workflow".to_owned()],
    }
}

/// What a job changes in its workflow, an input a line.
fn difference(file: &Path, job: &Planned, out: &mut dyn Write) -> io::Result<()> {
    let Planned { spec, workflow, filled } = job;
    let stem = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = spec.name.clone().unwrap_or_else(|| Format::stem(&stem).to_owned());
    let variant = spec.variant.as_ref().map(|v| format!(" {} of {}", v.number, v.of)).unwrap_or_default();
    let of = match &spec.workflow {
        Source::Graph(_) | Source::Page(_) => "a graph of its own".to_owned(),
        Source::Named(_) => workflow.name.clone(),
    };
    writeln!(out, "{}{variant} ({})", clean(&name), clean(&of))?;
    let titles = workflow::titles(&workflow.graph);
    let mut line = |place: &InputRef, before: &str, after: &str| {
        let title = titles.get(&place.node).map_or("", String::as_str);
        writeln!(out, "    {place} {title}: {} → {}", short(before), short(after))
    };
    for place in places(&workflow.graph) {
        let value = |graph: &Graph| workflow::input(graph, &place.node, &place.input).map(Value::to_string);
        let (before, after) = (value(&workflow.graph).unwrap_or_default(), value(&filled.graph).unwrap_or_default());
        let brought = filled.files.iter().find(|file| file.node == place.node && file.input == place.input);
        let after = match brought.map(|file| &file.value) {
            Some(FileValue::Local(path)) => format!("{path} (uploaded)"),
            Some(FileValue::Job(name)) => format!("what the job {name} gives"),
            _ if filled.seed_inputs.contains(&place) => match filled.seed {
                SeedChoice::Given(seed) => seed.to_string(),
                SeedChoice::Random => "a random seed".to_owned(),
                SeedChoice::Next(_) => "one more than the last seed".to_owned(),
                SeedChoice::None => after,
            },
            _ => after,
        };
        if before != after {
            line(&place, &before, &after)?;
        }
    }
    for (key, value) in [("server", spec.server.clone()), ("note", spec.note.clone())] {
        if let Some(value) = value {
            writeln!(out, "    {key}: {}", clean(&value))?;
        }
    }
    if !spec.after.is_empty() {
        writeln!(out, "    after: {}", clean(&spec.after.join(", ")))?;
    }
    if let Some(goal) = &filled.tries.goal {
        writeln!(out, "    {}", clean(&goal.words()))?;
    }
    if spec.repair {
        writeln!(out, "    repaired as advised")?;
    }
    if spec.hold {
        writeln!(out, "    on hold")?;
    }
    Ok(())
}

fn places(graph: &Graph) -> Vec<InputRef> {
    let inputs = |(id, node): (&String, &Value)| {
        let names = node.get("inputs").and_then(Value::as_object).into_iter().flat_map(|inputs| inputs.keys().cloned());
        names.map(|name| InputRef::new(id, name)).collect::<Vec<_>>()
    };
    graph.iter().flat_map(inputs).collect()
}

fn short(value: &str) -> String {
    const MOST: usize = 100;
    let text = clean_lines(value).replace('\n', " ");
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
