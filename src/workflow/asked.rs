//! What a job of a file asks for, held against what is there: its server, the jobs it waits for, its workflow, its slots.
//!
//! Pure. The engine and `comfytop check` both read jobs by this, so that what one says the other says; what is there
//! each of them knows in its own way ([`Ground`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::convert::When;
use super::object_info::ObjectInfo;
use super::{FillFault, Filled, Graph, SeedChoice, Workflow};
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

/// The workflow of a job, and its graph with the job's values in it. `name`: what a graph of its own is called.
///
/// # Errors
/// All that is wrong.
pub fn fill(spec: &JobSpec, name: &str, ground: &mut impl Ground) -> Result<(Arc<Workflow>, Filled), Vec<Wrong>> {
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
    let workflow = match workflow(spec, name, ground) {
        Ok(workflow) => workflow,
        Err(why) => {
            wrong.push(why);
            return Err(wrong);
        }
    };
    match workflow.fill(spec) {
        Ok(filled) if wrong.is_empty() => Ok((workflow, filled)),
        Ok(_) => Err(wrong),
        Err(faults) => {
            wrong.extend(faults.iter().map(|fault| Wrong::at(&fault.path(), fault.to_string())));
            Err(wrong)
        }
    }
}

fn workflow(spec: &JobSpec, name: &str, ground: &mut impl Ground) -> Result<Arc<Workflow>, Wrong> {
    let only = spec.server.as_deref();
    match &spec.workflow {
        Source::Graph(graph) => {
            Workflow::from_graph(name, Arc::<Graph>::clone(graph)).map_err(|why| Wrong::at(&[], why.to_string()))
        }
        Source::Page(page) => match ground.nodes(only) {
            None => Err(Wrong::at(&[], PAGE_GRAPH)),
            Some(nodes) => Workflow::from_page(name, page, None, &nodes, ground.when())
                .map_err(|why| Wrong::at(&[], why.to_string())),
        },
        Source::Named(Some(named)) => {
            return ground.workflow(named, only).map_err(|why| Wrong::at(&["workflow"], why));
        }
        Source::Named(None) => {
            let there = ground.workflow_names().join(", ");
            Err(Wrong::at(&[], format!("`workflow` is missing: name one of {there}")))
        }
    }
    .map(Arc::new)
}

/// What is said of a job that is to be waited for and is not there; `names`: those that are.
pub fn no_job<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let hint = text::did_you_mean(name, names);
    format!("no job `{}`{hint}: it must have been taken before this one", text::clean(name))
}

/// Jobs of a file that `repeat` makes and that give the same again and again.
#[derive(Debug, Default)]
pub struct Sames(BTreeMap<usize, u64>);

impl Sames {
    /// One job of the file.
    pub fn see(&mut self, spec: &JobSpec, filled: &Filled) {
        let copy = spec.variant.as_ref().and_then(|variant| variant.values.get("repeat")?.as_u64());
        if let (Some(copy), SeedChoice::Given(_) | SeedChoice::None) = (copy, filled.seed) {
            let count = self.0.entry(spec.entry).or_default();
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

/// What is said of a file that is named as a picture and is none.
pub fn no_picture(name: &str) -> String {
    format!("`{}` is a text, not a picture", text::clean(name))
}

/// What is said of a file that a job names and that is not there.
pub fn no_file(path: &std::path::Path) -> String {
    format!("there is no file {}", text::clean(&path.display().to_string()))
}
