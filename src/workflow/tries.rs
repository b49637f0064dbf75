//! A job that is tried several times, put into its workflow: what each try has in place of the first one's values.
//!
//! Pure. The first try is filled as any job; of the others only the inputs that differ are kept.

use serde_json::{Map, Value};

use super::fill::{FillFault, Filled};
use super::graph::{self, Graph};
use super::slots::InputRef;
use super::{SeedChoice, Workflow};
use crate::job::{Goal, TRIES, Variation, Vary};
use crate::job_file::{JobSpec, Until, Varied};
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
        let Some(until) = &job.until else { return self.fill_once(job) };
        let variations = job.variations();
        let mut faults = Vec::new();
        let mut filled = Vec::new();
        for (spec, values) in &variations {
            match self.fill_once(spec) {
                Ok(one) => filled.push((one, values)),
                Err(more) => {
                    let more = more.into_iter().map(|fault| in_vary(fault, values));
                    faults.extend(more.filter(|fault| !faults.contains(fault)).collect::<Vec<_>>());
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut first = match filled.first() {
            Some((first, _)) => first.clone(),
            None => self.fill_once(job)?,
        };
        let vary = match &until.vary {
            Varied::Seed => Vary::Seed,
            Varied::Increment => Vary::Increment,
            Varied::Lists(_) => Vary::Values(filled.iter().map(|(one, values)| variation(one, values)).collect()),
        };
        let tries = until.tries.unwrap_or(match (&until.vary, until.minutes) {
            (Varied::Lists(_), _) => u32::try_from(variations.len()).unwrap_or(u32::MAX),
            (_, Some(_)) => crate::job::MOST_TRIES,
            (_, None) => TRIES,
        });
        check(&first, &filled, until, tries)?;
        first.tries.edits = filled.iter().map(|(one, _)| edits(&first.graph, &one.graph)).collect();
        first.tries.goal = Some(Goal { gate: until.gate, tries, minutes: until.minutes, vary });
        Ok(first)
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

/// What can't be tried.
fn check(
    first: &Filled,
    all: &[(Filled, &Map<String, Value>)],
    until: &Until,
    tries: u32,
) -> Result<(), Vec<FillFault>> {
    let key = if until.gate.is_some() { "until" } else { "best_of" };
    let count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    if first.seed == SeedChoice::None && (all.is_empty() || tries > count) {
        let why = if all.is_empty() {
            "varies the seed, and the workflow has none: vary a slot, {\"vary\": {\"length\": [65, 81]}}".to_owned()
        } else {
            format!("has {tries} tries and {count} values to vary, and the workflow has no seed for more")
        };
        return Err(vec![FillFault::Tries { key, why }]);
    }
    for (one, values) in all {
        if one.files != first.files {
            let slot = values.keys().find(|slot| one.files.iter().any(|file| file.slot == **slot));
            let slot = slot.or_else(|| values.keys().next()).cloned().unwrap_or_default();
            let why = "names files, which can't be varied: use `sweep`".to_owned();
            return Err(vec![FillFault::Varied { slot, why }]);
        }
        if values.contains_key("seed") && !matches!(one.seed, SeedChoice::Given(_)) {
            let why = "must be numbers: random ones come with \"vary\": \"seed\"".to_owned();
            return Err(vec![FillFault::Varied { slot: "seed".to_owned(), why }]);
        }
    }
    Ok(())
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
