//! A job's slots and edits put into a workflow's graph, with every fault found at once.
//!
//! Pure. What it leaves open is said in [`Filled`]: the seed that is to be chosen, the files that are to be
//! uploaded.

mod fault;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::from_graph;
use super::graph::{self, Graph, NoPlace};
use super::infer::LOADERS;
use super::slots::{self, Fit, InputRef, Slot, SlotType};
use super::tries::Tries;
use super::{OF_JOB, ON_SERVER, Workflow};
use crate::job::Shape;
use crate::job_file::{self, JobSpec, MAX_ERRORS, OWN_KEYS, Source, kind};
use crate::text;

pub use fault::FillFault;

/// A graph with a job's values in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    pub graph: Graph,
    pub seed: SeedChoice,
    /// Where the seed goes ([`graph::set_seed`]).
    pub seed_inputs: Vec<InputRef>,
    /// The files that the job names.
    pub files: Vec<FileInput>,
    pub shape: Shape,
    /// What is tried, where the job asks for several tries.
    pub tries: Tries,
}

/// Which seed the job wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedChoice {
    Given(u64),
    /// Any; choose one, put it in, and record it.
    Random,
    /// One more than the last job of this workflow had; where there was none, this one.
    Next(u64),
    /// The graph has no place for a seed.
    None,
}

/// An input that takes a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInput {
    pub node: String,
    pub input: String,
    pub slot: String,
    /// What the input takes.
    pub takes: SlotType,
    pub value: FileValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileValue {
    /// A path as written, to be resolved in the folder of the drop. It stands in the graph until the name
    /// that the server answers to the upload replaces it ([`graph::set_input`]).
    Local(String),
    /// A name that the server knows, already in the graph.
    Server(String),
    /// What the job with this name or number gave.
    Job(String),
    /// The name that a graph came with, or that an edit put there: a file beside the job file, if there is one, else
    /// the server's.
    Perhaps(String),
}

impl FileValue {
    /// What is written in a job, and the name that stands in the graph for it; `else_`: what has no mark.
    fn read(written: &str, else_: impl FnOnce(String) -> Self) -> (Self, &str) {
        match (written.strip_prefix(ON_SERVER), written.strip_prefix(OF_JOB)) {
            (Some(name), _) => (Self::Server(name.to_owned()), name),
            (_, Some(job)) => (Self::Job(job.trim().to_owned()), written),
            (None, None) => (else_(written.to_owned()), written),
        }
    }
}

impl Workflow {
    /// Puts the values of one try into a copy of the graph, as far as they fit.
    pub(super) fn fill_once(&self, job: &JobSpec) -> (Filled, Vec<FillFault>) {
        // a graph that came in the job file keeps its own seed; a workflow's is only a placeholder
        let raw = !matches!(job.workflow, Source::Named(_));
        let mut filling = Filling {
            workflow: self,
            graph: (*self.graph).clone(),
            seed: None,
            seed_inputs: self.seed_inputs().to_vec(),
            files: Vec::new(),
            faults: Vec::new(),
            textual: job.origin.textual,
        };
        for (key, value) in &job.slots {
            filling.slot(key, value);
            if filling.is_full() {
                break;
            }
        }
        // what seems to be missing may be what could not be read
        if !job.origin.is_partial {
            filling.missing(&job.slots);
        }
        if raw {
            filling.own_files();
        }
        filling.set(&job.set);
        let seed = match filling.seed {
            Some(seed) => seed,
            None if filling.seed_inputs.is_empty() => SeedChoice::None,
            None if raw => filling.keep_seed(),
            None => SeedChoice::Random,
        };
        let shape = self.shape(&filling.graph);
        let Filling { graph, seed_inputs, files, faults, .. } = filling;
        (Filled { graph, seed, seed_inputs, files, shape, tries: Tries::default() }, at_most(faults))
    }

    fn shape(&self, graph: &Graph) -> Shape {
        let by_name = |name: &str| {
            let place = self.slots.iter().find(|slot| slot.name == name)?.inputs.first()?;
            from_graph::small(graph::input(graph, &place.node, &place.input)?)
        };
        let seen = from_graph::shape(graph);
        Shape {
            width: by_name("width").or(seen.width),
            height: by_name("height").or(seen.height),
            length: by_name("length").or(seen.length),
            steps: by_name("steps").or(seen.steps),
        }
    }
}

/// No more faults than are told.
pub(super) fn at_most(faults: Vec<FillFault>) -> Vec<FillFault> {
    job_file::told(faults, || FillFault::More)
}

struct Filling<'w> {
    workflow: &'w Workflow,
    graph: Graph,
    seed: Option<SeedChoice>,
    seed_inputs: Vec<InputRef>,
    files: Vec<FileInput>,
    faults: Vec<FillFault>,
    /// The values are texts, to be read as what the slot takes.
    textual: bool,
}

impl Filling<'_> {
    /// Whether there are more faults than are told: looking for others would cost time, and tell nobody anything.
    fn is_full(&self) -> bool {
        self.faults.len() > MAX_ERRORS
    }

    /// The header of a spreadsheet is often written with capitals.
    fn is_named(&self, slot: &Slot, key: &str) -> bool {
        slot.name == key || (self.textual && slot.name.eq_ignore_ascii_case(key))
    }

    fn slot(&mut self, key: &str, value: &Value) {
        let slots = &self.workflow.slots;
        let exact = slots.iter().find(|slot| slot.name == key);
        let Some(slot) = exact.or_else(|| slots.iter().find(|slot| self.is_named(slot, key))) else {
            self.faults.push(self.unknown_slot(key));
            return;
        };
        let read = value.as_str().filter(|_| self.textual).map(|text| slot.read(text));
        let value = match slot.fit(read.as_ref().unwrap_or(value)) {
            Ok(Fit::Value(value)) => value,
            Ok(Fit::NextSeed) => {
                let own = slot.inputs.first().and_then(|at| graph::input(&self.graph, &at.node, &at.input));
                self.seed = Some(SeedChoice::Next(own.and_then(Value::as_u64).unwrap_or(0)));
                return;
            }
            Ok(Fit::RandomSeed) => {
                self.seed = Some(SeedChoice::Random);
                return;
            }
            Err(why) => {
                let why = text::clean(&why).into_owned();
                self.faults.push(FillFault::BadValue { slot: key.to_owned(), why });
                return;
            }
        };
        if slot.kind == SlotType::Seed {
            self.seed = value.as_u64().map(SeedChoice::Given);
        }
        let value = if slot.kind.is_file() { self.file(slot, &value) } else { value };
        for also in &slot.also {
            let made = graph::input(&self.graph, &also.input.node, &also.input.input)
                .and_then(|there| also.value(&value, there));
            if let Some(made) = made {
                graph::set_input(&mut self.graph, &also.input.node, &also.input.input, made);
            }
        }
        for place in &slot.inputs {
            graph::set_input(&mut self.graph, &place.node, &place.input, value.clone());
        }
    }

    /// Notes the file for each input that takes it; the answer is what stands in the graph.
    fn file(&mut self, slot: &Slot, value: &Value) -> Value {
        let written = value.as_str().unwrap_or_default();
        let (value, name) = FileValue::read(written, FileValue::Local);
        self.files.extend(slot.inputs.iter().map(|place| FileInput {
            node: place.node.clone(),
            input: place.input.clone(),
            slot: slot.name.clone(),
            takes: slot.kind,
            value: value.clone(),
        }));
        name.into()
    }

    /// The files that a graph of its own names: they may lie beside it.
    fn own_files(&mut self) {
        for (id, node) in &*self.workflow.graph {
            let class = graph::class(node);
            for (_, input, kind) in LOADERS.iter().filter(|(loader, ..)| Some(*loader) == class) {
                let is_given = self.files.iter().any(|file| file.node == *id && file.input == *input);
                if let Some(name) = graph::input(&self.graph, id, input).and_then(Value::as_str)
                    && !is_given
                    && !name.trim().is_empty()
                {
                    let value = FileValue::Perhaps(name.to_owned());
                    self.files.push(FileInput {
                        node: id.clone(),
                        input: (*input).to_owned(),
                        slot: kind.word().to_owned(),
                        takes: *kind,
                        value,
                    });
                }
            }
        }
    }

    /// An edit of an input that takes a file names one, too, in place of what a slot put there.
    fn edited_file(&mut self, place: &InputRef) {
        self.files.retain(|file| (&file.node, &file.input) != (&place.node, &place.input));
        let class = self.graph.get(&place.node).and_then(graph::class);
        let loader = LOADERS.iter().find(|(loader, input, _)| Some(*loader) == class && *input == place.input);
        let written = graph::input(&self.graph, &place.node, &place.input).and_then(Value::as_str);
        let (Some((.., takes)), Some(written)) = (loader, written.filter(|name| !name.trim().is_empty())) else {
            return;
        };
        let (value, name) = FileValue::read(written, FileValue::Perhaps);
        let name = Value::from(name);
        self.files.push(FileInput {
            node: place.node.clone(),
            input: place.input.clone(),
            slot: format!("{}.{}", place.node, place.input),
            takes: *takes,
            value,
        });
        graph::set_input(&mut self.graph, &place.node, &place.input, name);
    }

    fn unknown_slot(&self, key: &str) -> FillFault {
        let (slot, workflow) = (text::clean(key).into_owned(), self.workflow.shown_name());
        let slots: Vec<String> = self.workflow.slots.iter().map(|slot| slot.name.clone()).collect();
        // a misspelt `workflow` or `priority` lands here too
        let nearest =
            text::nearest(key, slots.iter().map(String::as_str).chain(OWN_KEYS.iter().copied())).map(str::to_owned);
        if slots.is_empty() && nearest.is_none() {
            return FillFault::NoSlots { slot, workflow };
        }
        FillFault::UnknownSlot { slot, workflow, slots, nearest }
    }

    fn missing(&mut self, given: &Map<String, Value>) {
        for slot in self.workflow.slots.iter().filter(|slot| slot.required) {
            if given.keys().any(|key| self.is_named(slot, key)) {
                continue;
            }
            let description = if slot.description.is_empty() { "it must be given" } else { &slot.description };
            self.faults.push(FillFault::Missing {
                slot: slot.name.clone(),
                description: text::clean(description).into_owned(),
            });
        }
    }

    fn set(&mut self, set: &Map<String, Value>) {
        let mut seeds_set = Vec::new();
        // an edit changes no title
        let titles = if set.is_empty() { BTreeMap::new() } else { graph::titles(&self.graph) };
        for (key, value) in set {
            if self.is_full() {
                break;
            }
            match self.edit(key, value, &titles) {
                Ok(place) if self.seed_inputs.contains(&place) => seeds_set.push((place, value.as_u64())),
                Ok(place) => self.edited_file(&place),
                Err(fault) => self.faults.push(fault),
            }
        }
        if seeds_set.is_empty() {
            return;
        }
        self.seed_inputs.retain(|place| !seeds_set.iter().any(|(set, _)| set == place));
        // every seed was set by hand: the first is the job's, and stays to be changed by a new-seed requeue
        if self.seed_inputs.is_empty()
            && let Some(seed) = seeds_set.iter().find_map(|(_, seed)| *seed)
        {
            self.seed = Some(SeedChoice::Given(seed));
            self.seed_inputs =
                seeds_set.into_iter().filter(|(_, set)| *set == Some(seed)).map(|(place, _)| place).collect();
        }
    }

    fn edit(&mut self, key: &str, value: &Value, titles: &BTreeMap<String, String>) -> Result<InputRef, FillFault> {
        let shown = text::clean(key).into_owned();
        let bad = |why: String| FillFault::BadSet { key: key.to_owned(), why: text::clean(&why).into_owned() };
        let place = graph::place(&self.graph, titles, key).map_err(|wrong| match wrong {
            NoPlace::Node(node) => {
                let classes = self.graph.values().filter_map(graph::class);
                let names = self.graph.keys().map(String::as_str).filter(|id| id.len() > 2);
                let names = names.chain(titles.values().map(String::as_str)).chain(classes);
                FillFault::UnknownNode {
                    key: key.to_owned(),
                    nearest: text::nearest(&node, names).map(|name| text::clean(name).into_owned()),
                    node: text::clean(&node).into_owned(),
                    workflow: self.workflow.shown_name(),
                    nodes: self.graph.keys().take(fault::SHOWN + 1).map(|id| shown_node(id, titles)).collect(),
                }
            }
            NoPlace::Input(place) => {
                let inputs = self.graph.get(&place.node).and_then(|node| node.get("inputs")?.as_object());
                let inputs: Vec<String> = inputs.into_iter().flat_map(Map::keys).cloned().collect();
                let nearest = text::nearest(&place.input, inputs.iter().map(String::as_str)).map(str::to_owned);
                FillFault::UnknownInput {
                    key: shown,
                    node: text::clean(&place.node).into_owned(),
                    input: text::clean(&place.input).into_owned(),
                    inputs,
                    nearest,
                }
            }
            NoPlace::Several { name, nodes } => {
                bad(format!("names several nodes that are called `{name}`: name one by its id, {}", nodes.join(", ")))
            }
        })?;
        let Some(there) = graph::input(&self.graph, &place.node, &place.input) else {
            return Err(bad("names no input".to_owned()));
        };
        let read = value.as_str().filter(|_| self.textual).and_then(|text| match there {
            Value::Number(_) => serde_json::from_str::<serde_json::Number>(text.trim()).ok().map(Value::Number),
            Value::Bool(_) => slots::switch(text.trim()).map(Value::Bool),
            _ => None,
        });
        let value = read.as_ref().unwrap_or(value);
        if let Some(from) = graph::link(value) {
            if !self.graph.contains_key(from) {
                return Err(bad(format!("links to node {from}, which is not there")));
            }
        } else if !same_kind(there, value) {
            return Err(bad(format!("is {} there, and cannot become {}", kind(there), kind(value))));
        }
        graph::set_input(&mut self.graph, &place.node, &place.input, value.clone());
        Ok(place)
    }

    /// The seed that the graph came with; inputs that hold another number are left alone.
    fn keep_seed(&mut self) -> SeedChoice {
        let value = |place: &InputRef| graph::input(&self.graph, &place.node, &place.input).and_then(Value::as_u64);
        let Some(seed) = self.seed_inputs.iter().find_map(value) else { return SeedChoice::None };
        let kept = self.seed_inputs.iter().filter(|place| value(place) == Some(seed)).cloned().collect();
        self.seed_inputs = kept;
        SeedChoice::Given(seed)
    }
}

/// A node's id with its title, where it has one.
fn shown_node(id: &str, titles: &BTreeMap<String, String>) -> String {
    match titles.get(id).filter(|title| !title.is_empty()) {
        Some(title) => format!("{id} ({title})"),
        None => id.to_owned(),
    }
}

/// True when a value may stand where another stood: a scalar keeps its kind, a link may become anything.
fn same_kind(there: &Value, value: &Value) -> bool {
    match there {
        Value::Bool(_) => value.is_boolean(),
        Value::Number(_) => value.is_number(),
        Value::String(_) => value.is_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => true,
    }
}
