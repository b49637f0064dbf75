//! What a job of a file asks for, held against what is there: its server, the jobs it waits for, its workflow, its slots.
//!
//! Pure. The engine and `comfytop check` both read jobs by this, so that what one says the other says; what is there
//! each of them knows in its own way ([`Ground`]).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::convert::{ConvertError, Fault, When};
use super::object_info::ObjectInfo;
use super::{FileInput, FillFault, Filled, Graph, InputRef, SeedChoice, Workflow, WorkflowError, graph};
use crate::config::InboxConfig;
use crate::job_file::{JobSpec, PAGE_GRAPH, Source};
use crate::text;

/// What is there to ask for. Words are fit to show.
pub trait Ground {
    /// The names of the servers.
    fn servers(&self) -> Vec<String>;
    fn workflow_names(&self) -> Vec<String>;
    /// A workflow by its name, for a job that only this server may render.
    ///
    /// # Errors
    /// What is wrong with it.
    fn workflow(&mut self, name: &str, server: Option<&str>) -> Result<Arc<Workflow>, String>;
    /// What the first server that may render it says of its nodes; `None`: none has said anything yet.
    fn nodes(&mut self, server: Option<&str>) -> Option<Arc<ObjectInfo>>;
    /// What the page would take from the clock and from chance.
    fn when(&self) -> When;
    /// Whether a job is there that goes by this name or number.
    ///
    /// # Errors
    /// There is none.
    fn after(&self, job: &str) -> Result<(), String>;
}

/// One thing that is wrong with a job, and what in it leads there, for [`crate::job_file::Places::error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub path: Vec<String>,
    pub words: String,
}

impl Wrong {
    fn at(path: &[&str], words: impl Into<String>) -> Self {
        Self { path: path.iter().map(|key| (*key).to_owned()).collect(), words: words.into() }
    }
}

/// What the inbox says of jobs of its own workflow that don't say it themselves.
pub fn take_profile(spec: &mut JobSpec, inbox: &InboxConfig) {
    if let Source::Named(named @ None) = &mut spec.workflow {
        named.clone_from(&inbox.workflow);
    }
    if !matches!(&spec.workflow, Source::Named(named) if *named == inbox.workflow) {
        return;
    }
    let fill = |own: &mut Map<String, Value>, more: &Map<String, Value>| {
        for (key, value) in more {
            if !own.contains_key(key) {
                own.insert(key.clone(), value.clone());
            }
        }
    };
    fill(&mut spec.slots, &inbox.slots);
    fill(&mut spec.set, &inbox.set);
}

/// What is wrong with an inbox's profile: a picture dropped there would be rejected.
pub fn profile_faults(inbox: &InboxConfig, workflow: &Workflow) -> Vec<String> {
    let mut spec = JobSpec::of(Source::Named(inbox.workflow.clone()));
    take_profile(&mut spec, inbox);
    if let Some(slot) = &inbox.slot {
        spec.slots.insert(slot.clone(), "picture.png".into());
    }
    let faults = workflow.fill(&spec).err().unwrap_or_default().into_iter();
    // without a slot it is for job files, which give the others
    let is_one = |fault: &FillFault| inbox.slot.is_some() || !matches!(fault, FillFault::Missing { .. });
    faults.filter(is_one).map(|fault| fault.to_string()).collect()
}

/// What came of a job.
#[derive(Debug)]
pub struct Asked {
    /// False where parts of its graph could not be used, and are left out.
    pub is_whole: bool,
    /// Its workflow, and the graph with the job's values in it as far as they fit.
    pub filled: Option<(Arc<Workflow>, Filled)>,
    /// All that is wrong.
    pub wrong: Vec<Wrong>,
}

impl Asked {
    /// The inputs that something wrong was meant for: what stands there is not what the job wants.
    pub fn unsure(&self) -> HashSet<InputRef> {
        let Some((workflow, _)) = &self.filled else { return HashSet::new() };
        let titles = graph::titles(&workflow.graph);
        let keys = self.wrong.iter().filter_map(|wrong| wrong.path.last());
        let inputs = keys.flat_map(|key| match workflow.slots.iter().find(|slot| slot.name == *key) {
            Some(slot) => slot.inputs.iter().chain(slot.also.iter().map(|also| &also.input)).cloned().collect(),
            None => graph::place(&workflow.graph, &titles, key).ok().into_iter().collect::<Vec<_>>(),
        });
        inputs.collect()
    }
}

/// Fills a job. `name`: what a graph of its own is called.
pub fn fill(spec: &JobSpec, name: &str, ground: &mut impl Ground) -> Asked {
    let mut wrong = Vec::new();
    if let Some(server) = &spec.server {
        let there = ground.servers();
        if !there.contains(server) {
            let hint = text::did_you_mean(server, there.iter().map(String::as_str));
            let words = format!("no server `{}`{hint}; there are: {}", text::clean(server), there.join(", "));
            wrong.push(Wrong::at(&["server"], words));
        }
    }
    let lacking = spec.after.iter().filter_map(|job| ground.after(job).err());
    wrong.extend(lacking.map(|words| Wrong::at(&["after"], words)));
    let (workflow, more) = match workflow(spec, name, ground) {
        Ok(workflow) => (Some(workflow), Vec::new()),
        Err(more) => (left_of(spec, name), more),
    };
    let is_whole = more.is_empty();
    wrong.extend(more);
    let Some(workflow) = workflow else { return Asked { is_whole, filled: None, wrong } };
    let (filled, faults) = workflow.fill_as_far(spec);
    // a node that is missing may be one that could not be used
    let faults = faults.iter().filter(|fault| is_whole || !matches!(fault, FillFault::UnknownNode { .. }));
    wrong.extend(faults.map(|fault| Wrong::at(&fault.path(), fault.to_string())));
    Asked { is_whole, filled: Some((workflow, filled)), wrong }
}

/// What can be used of a job's graph that is not fit to run.
fn left_of(spec: &JobSpec, name: &str) -> Option<Arc<Workflow>> {
    let Source::Graph(graph) = &spec.workflow else { return None };
    Some(Arc::new(Workflow::of_whole_nodes(name, graph)))
}

/// Where a node of a graph stands in its job: for one within a subgraph the node that stands for that.
pub fn path_to(spec: &JobSpec, node: &str) -> Vec<String> {
    let root = node.split(':').next().unwrap_or(node);
    let own = match &spec.workflow {
        Source::Graph(_) => vec![node.to_owned()],
        Source::Page(page) => {
            let nodes = page.get("nodes").and_then(Value::as_array);
            let is_it = |value: &Value| match value.get("id") {
                Some(Value::String(id)) => id == root,
                Some(Value::Number(id)) => id.to_string() == root,
                _ => false,
            };
            let at = nodes.and_then(|nodes| nodes.iter().position(is_it));
            at.map(|at| vec!["nodes".to_owned(), at.to_string()]).unwrap_or_default()
        }
        Source::Named(_) => vec!["workflow".to_owned()],
    };
    spec.origin.graph_under.map(str::to_owned).into_iter().chain(own).collect()
}

/// Where an input stands in its job that neither a slot nor an edit fills.
pub fn path_to_input(spec: &JobSpec, node: &str, input: &str) -> Vec<String> {
    let mut path = path_to(spec, node);
    if matches!(spec.workflow, Source::Graph(_)) {
        path.extend(["inputs".to_owned(), input.to_owned()]);
    }
    path
}

/// What in a job names a file.
pub fn path_to_file(spec: &JobSpec, file: &FileInput) -> Vec<String> {
    let is_own = !spec.slots.contains_key(&file.slot);
    match &spec.workflow {
        _ if spec.set.contains_key(&file.slot) => vec!["set".to_owned(), file.slot.clone()],
        Source::Graph(_) | Source::Page(_) if is_own => path_to_input(spec, &file.node, &file.input),
        _ => vec![file.slot.clone()],
    }
}

fn workflow(spec: &JobSpec, name: &str, ground: &mut impl Ground) -> Result<Arc<Workflow>, Vec<Wrong>> {
    let only = spec.server.as_deref();
    let in_graph = |path: &[&str], words: String| {
        let path: Vec<&str> = spec.origin.graph_under.into_iter().chain(path.iter().copied()).collect();
        Wrong::at(&path, words)
    };
    let wrong = |error: WorkflowError| match error {
        WorkflowError::BrokenNodes(nodes) => {
            nodes.iter().map(|node| in_graph(&node.path(), node.to_string())).collect()
        }
        WorkflowError::Convert(ConvertError::Faults(faults)) => {
            let wrong = |fault: &Fault| Wrong { path: path_to(spec, &fault.node), words: fault.to_string() };
            faults.iter().map(wrong).collect()
        }
        other => vec![in_graph(&[], other.to_string())],
    };
    match &spec.workflow {
        Source::Graph(graph) => Workflow::from_graph(name, Arc::<Graph>::clone(graph)).map(Arc::new).map_err(wrong),
        Source::Page(page) => match ground.nodes(only) {
            None => Err(vec![Wrong::at(&[], PAGE_GRAPH)]),
            Some(nodes) => Workflow::from_page(name, page, None, &nodes, ground.when()).map(Arc::new).map_err(wrong),
        },
        Source::Named(Some(named)) => ground.workflow(named, only).map_err(|why| vec![Wrong::at(&["workflow"], why)]),
        Source::Named(None) => {
            let there = ground.workflow_names().join(", ");
            Err(vec![Wrong::at(&[], format!("`workflow` is missing: name one of {there}"))])
        }
    }
}

/// What is said of a job that is to be waited for and is not there; `names`: those that are.
pub fn no_job<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let hint = text::did_you_mean(name, names);
    format!("no job `{}`{hint}: it must have been taken before this one", text::clean(name))
}

/// What is said of a job of the same file that stands no earlier than the one that is to wait for it.
pub fn no_earlier_job(name: &str) -> String {
    let name = text::clean(name);
    format!("`{name}` does not stand before this job in the file: a job waits only for what was taken before it")
}

/// Jobs of a file that `repeat` makes and that give the same again and again.
#[derive(Debug, Default)]
pub struct Sames(BTreeMap<usize, u64>);

impl Sames {
    /// One job of the file.
    pub fn see(&mut self, spec: &JobSpec, filled: &Filled) {
        let copy = spec.variant.as_ref().and_then(|variant| variant.values.get("repeat")?.as_u64());
        if let (Some(copy), SeedChoice::Given(_) | SeedChoice::None) = (copy, filled.seed) {
            let count = self.0.entry(spec.origin.entry).or_default();
            *count = copy.max(*count);
        }
    }

    /// What is said of each entry that has such jobs.
    pub fn words(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.0.iter().map(|(entry, count)| {
            let words = format!(
                "`repeat` renders the same {count} times: nothing differs, not even the seed; \
                 \"seed\": \"random\" or \"increment\" makes {count} different ones"
            );
            (*entry, words)
        })
    }
}

/// The graphs of one file, filled, take no more room than this as text, in bytes: a sweep of a thousand large graphs would.
pub const MOST_GRAPHS: usize = 32 << 20;
/// What is said of a file whose graphs do.
pub const TOO_LARGE: &str = "the graphs of its jobs are too large together: split it into several files";

/// What is said of a file that is named as a picture and is none.
pub fn no_picture(name: &str) -> String {
    format!("`{}` is a text, not a picture", text::clean(name))
}

/// What is said of a file that a job names and that is not there.
pub fn no_file(path: &std::path::Path) -> String {
    format!("there is no file {}", text::clean(&path.display().to_string()))
}
