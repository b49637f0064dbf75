//! A job that is tried several times, put into its workflow: what each try has in place of the first one's values.
//!
//! Pure. The first try is filled as any job; of the others only the inputs that differ are kept.

use serde_json::{Map, Value};

use super::fill::{self, FillFault, Filled};
use super::graph::{self, Graph};
use super::slots::InputRef;
use super::{SeedChoice, Workflow};
use crate::job::{Goal, TRIES, Variation, Vary};
use crate::job_file::{JobSpec, MAX_ERRORS, Until, Varied};
use crate::text;

/// Inputs and what stands in them.
pub type Edits = Vec<(InputRef, Value)>;

/// The tries of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tries {
    pub goal: Option<Goal>,
    /// What each variation changes in the graph; the first one nothing.
    pub edits: Vec<Edits>,
}

impl Workflow {
    /// Puts a job's values, those of its first try, into a copy of the graph, and says what the other tries change.
    /// `set` comes last and wins.
    ///
    /// # Errors
    /// Every fault, in the order of the job's keys; those that are missing last.
    pub fn fill(&self, job: &JobSpec) -> Result<Filled, Vec<FillFault>> {
        let (filled, faults) = self.fill_as_far(job);
        if faults.is_empty() { Ok(filled) } else { Err(faults) }
    }

    /// The same, and what fits although other values don't: so that all else that is wrong can be told at once.
    pub fn fill_as_far(&self, job: &JobSpec) -> (Filled, Vec<FillFault>) {
        let Some(until) = &job.until else { return self.fill_once(job) };
        let mut faults = Vec::new();
        let mut filled = Tried::default();
        // one after another: a hundred copies of a large graph would take much room
        for (spec, values) in job.variations() {
            let (one, more) = self.fill_once(&spec);
            filled.add(&one, &values);
            let more = more.into_iter().map(|fault| in_vary(fault, &values));
            faults.extend(more.filter(|fault| !faults.contains(fault)).collect::<Vec<_>>());
            if faults.len() > MAX_ERRORS {
                break;
            }
        }
        let Tried { first, variations, edits, wrong } = filled;
        let mut first = first.unwrap_or_else(|| {
            let (one, more) = self.fill_once(job);
            faults.extend(more);
            one
        });
        let count = variations.len();
        let tries = until.tries.unwrap_or(match (&until.vary, until.minutes) {
            (Varied::Lists(_), _) => u32::try_from(count).unwrap_or(u32::MAX),
            (_, Some(_)) => crate::job::MOST_TRIES,
            (_, None) => TRIES,
        });
        faults.extend(check(first.seed, count, until, tries));
        faults.extend(wrong);
        let vary = match &until.vary {
            Varied::Seed => Vary::Seed,
            Varied::Increment => Vary::Increment,
            Varied::Lists(_) => Vary::Values(variations),
        };
        first.tries.edits = edits;
        first.tries.goal = Some(Goal { gate: until.gate, tries, minutes: until.minutes, vary });
        (first, fill::at_most(faults))
    }
}

/// The tries so far: of all but the first only what differs.
#[derive(Default)]
struct Tried {
    first: Option<Filled>,
    variations: Vec<Variation>,
    edits: Vec<Edits>,
    wrong: Option<FillFault>,
}

impl Tried {
    fn add(&mut self, one: &Filled, values: &Map<String, Value>) {
        self.variations.push(variation(one, values));
        let first = self.first.get_or_insert_with(|| one.clone());
        self.edits.push(edits(&first.graph, &one.graph));
        if self.wrong.is_none() {
            self.wrong = unlike(first, one, values);
        }
    }
}

/// The graph of one of the tries.
pub fn vary(graph: &mut Graph, edits: &Edits) {
    for (place, value) in edits {
        graph::set_input(graph, &place.node, &place.input, value.clone());
    }
}

fn variation(filled: &Filled, values: &Map<String, Value>) -> Variation {
    let seed = match filled.seed {
        SeedChoice::Given(seed) if values.contains_key("seed") => Some(seed),
        _ => None,
    };
    // The seed of an attempt stands apart.
    let values = values.iter().filter(|(key, _)| *key != "seed").map(|(key, value)| (key.clone(), value.clone()));
    Variation { values: values.collect(), shape: filled.shape, seed }
}

/// What can't be tried so often.
fn check(seed: SeedChoice, count: usize, until: &Until, tries: u32) -> Option<FillFault> {
    let key = if until.gate.is_some() { "until" } else { "best_of" };
    let most = u32::try_from(count).unwrap_or(u32::MAX);
    if seed == SeedChoice::None && (count == 0 || tries > most) {
        let why = if count == 0 {
            "varies the seed, and the workflow has none: vary a slot, {\"vary\": {\"length\": [65, 81]}}".to_owned()
        } else {
            format!("has {tries} tries and {count} values to vary, and the workflow has no seed for more")
        };
        return Some(FillFault::Tries { key, why });
    }
    None
}

/// What can't be varied.
fn unlike(first: &Filled, one: &Filled, values: &Map<String, Value>) -> Option<FillFault> {
    if one.files != first.files {
        let slot = values.keys().find(|slot| one.files.iter().any(|file| file.slot == **slot));
        let slot = slot.or_else(|| values.keys().next()).cloned().unwrap_or_default();
        let why = "names files, which can't be varied: use `sweep`".to_owned();
        return Some(FillFault::Varied { slot, why });
    }
    if values.contains_key("seed") && !matches!(one.seed, SeedChoice::Given(_)) {
        let why = "must be numbers: random ones come with \"vary\": \"seed\"".to_owned();
        return Some(FillFault::Varied { slot: "seed".to_owned(), why });
    }
    None
}

/// A fault of a varied value stands where the list is.
fn in_vary(fault: FillFault, values: &Map<String, Value>) -> FillFault {
    let Some(slot) = fault.path().last().map(|key| (*key).to_owned()).filter(|key| values.contains_key(key)) else {
        return fault;
    };
    let why = match fault {
        FillFault::BadValue { why, .. } | FillFault::BadSet { why, .. } => why,
        other => format!("can't be varied: {other}"),
    };
    FillFault::Varied { slot: text::clean(&slot).into_owned(), why }
}

/// The inputs in which a graph differs from the first one.
fn edits(first: &Graph, other: &Graph) -> Edits {
    let mut edits = Vec::new();
    for (id, node) in other {
        let Some(inputs) = node.get("inputs").and_then(Value::as_object) else { continue };
        for (input, value) in inputs {
            if graph::input(first, id, input) != Some(value) {
                edits.push((InputRef::new(id, input), value.clone()));
            }
        }
    }
    edits
}
