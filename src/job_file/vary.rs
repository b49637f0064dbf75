//! One entry, several jobs: `sweep` (every combination), a list of seeds, `repeat`.
//!
//! Pure. The first key of a sweep changes slowest, then come the seeds, then the repetitions. The jobs are counted
//! before they are made: a sweep of a million combinations costs nothing but its error.

use serde_json::{Map, Value};

use super::keys;
use super::reader::{Reader, kind};
use super::{JobSpec, Source, Until, Variant, Varied};
use crate::weigh;

const SEED: &str = "seed";

/// In how many ways an entry is rendered.
#[derive(Debug)]
pub(super) struct Ways {
    /// Each with the values it takes, none of them empty.
    axes: Vec<(String, Vec<Value>)>,
    repeat: usize,
}

impl Ways {
    pub(super) fn one() -> Self {
        Self { axes: Vec::new(), repeat: 1 }
    }

    /// Every combination of these.
    pub(super) fn of(axes: Vec<(String, Vec<Value>)>) -> Self {
        Self { axes, repeat: 1 }
    }

    pub(super) fn count(&self) -> usize {
        self.axes.iter().fold(self.repeat, |count, (_, values)| count.saturating_mul(values.len()))
    }

    /// Whether its jobs differ in this.
    pub(super) fn vary(&self, key: &str) -> bool {
        self.axes.iter().any(|(name, _)| name == key)
    }

    /// What its jobs take in memory, in bytes, where they are copies of the entry.
    pub(super) fn room(&self, base: &JobSpec) -> usize {
        let count = self.count();
        if count <= 1 {
            return 0;
        }
        // each value stands in the job, and in what sets it apart
        let values = self.axes.iter().map(|(key, values)| {
            let each = values.iter().map(weigh::room).sum::<usize>().saturating_add(values.len() * key.len());
            each.saturating_mul(2).saturating_mul(count / values.len().max(1))
        });
        values.fold(base.room().saturating_mul(count), usize::saturating_add)
    }

    /// The jobs, each made when it is asked for; only when there are few enough.
    pub(super) fn jobs(self, base: JobSpec) -> impl Iterator<Item = JobSpec> {
        let is_plain = self.axes.is_empty() && self.repeat == 1;
        let count = if is_plain { 0 } else { self.count() };
        let (one, base) = if is_plain { (Some(base), None) } else { (None, Some(base)) };
        one.into_iter().chain((0..count).filter_map(move |index| Some(self.copy(base.as_ref()?, index))))
    }

    fn copy(&self, base: &JobSpec, index: usize) -> JobSpec {
        let mut job = base.clone();
        let mut values = Map::new();
        let copy = index % self.repeat;
        let mut left = index / self.repeat;
        // the last axis changes fastest
        let mut picked = Vec::with_capacity(self.axes.len());
        for (key, all) in self.axes.iter().rev() {
            let at = left % all.len();
            left /= all.len();
            if let Some(value) = all.get(at) {
                picked.push((key, value));
            }
        }
        for (key, value) in picked.into_iter().rev() {
            values.insert(key.clone(), value.clone());
            put(&mut job, key, value.clone());
        }
        if self.repeat > 1 {
            values.insert("repeat".to_owned(), (copy + 1).into());
        }
        job.variant = Some(Variant { number: index + 1, of: self.count(), values });
        job
    }
}

impl JobSpec {
    /// What a copy of it takes in memory, in bytes.
    fn room(&self) -> usize {
        let texts = |list: &[String]| list.iter().map(|text| size_of::<String>() + text.len()).sum::<usize>();
        let lists = match &self.until {
            Some(Until { vary: Varied::Lists(lists), .. }) => lists.as_slice(),
            _ => &[],
        };
        let maps = [Some(&self.slots), Some(&self.set), self.extra_data.as_ref()];
        let shorts = [&self.name, &self.note, &self.server].into_iter().flatten().map(String::len);
        size_of::<Self>()
            + maps.into_iter().flatten().map(weigh::room_of).sum::<usize>()
            + texts(&self.after)
            + texts(&self.tags)
            + shorts.sum::<usize>()
            + lists.iter().flat_map(|(_, values)| values).map(weigh::room).sum::<usize>()
    }

    /// What its tries take, one after another, where values are varied: each fills a copy of the job and of its graph.
    pub(super) fn tries_room(&self) -> usize {
        let Some(Until { vary: Varied::Lists(lists), .. }) = &self.until else { return 0 };
        let graph = match &self.workflow {
            Source::Graph(graph) | Source::Page(graph) => weigh::room_of(graph),
            Source::Named(_) => 0,
        };
        let count = lists.iter().fold(1_usize, |count, (_, values)| count.saturating_mul(values.len()));
        self.room().saturating_add(graph).saturating_mul(count)
    }
}

fn put(job: &mut JobSpec, key: &str, value: Value) {
    match value {
        Value::String(name) if key == "workflow" => job.workflow = Source::Named(Some(name)),
        value if key.contains('.') && !job.slots.contains_key(key) => {
            job.set.insert(key.to_owned(), value);
        }
        value => {
            job.slots.insert(key.to_owned(), value);
        }
    }
}

/// Takes the lists out of an entry.
pub(super) fn ways(reader: &mut Reader<'_>, spec: &mut JobSpec, repeat: Option<&Value>, sweep: Option<Value>) -> Ways {
    let mut ways = Ways::one();
    if let Some(repeat) = repeat.and_then(Value::as_u64) {
        ways.repeat = usize::try_from(repeat).unwrap_or(1).max(1);
    }
    if let Some(Value::Object(sweep)) = sweep {
        if sweep.is_empty() {
            reader.error(&["sweep"], "`sweep` is empty: name a slot and the list of its values");
        }
        for (key, values) in sweep {
            if let Some(values) = axis(reader, spec, &key, &values) {
                ways.axes.push((key, values));
            }
        }
    }
    if matches!(spec.slots.get(SEED), Some(Value::Array(_)))
        && let Some(Value::Array(seeds)) = spec.slots.shift_remove(SEED)
    {
        if seeds.is_empty() {
            reader.error(&[SEED], "`seed` is an empty list: give a number, a list of numbers, or leave it out");
        } else {
            ways.axes.push((SEED.to_owned(), seeds));
        }
    }
    ways
}

/// The values of one key of a sweep.
fn axis(reader: &mut Reader<'_>, spec: &JobSpec, key: &str, values: &Value) -> Option<Vec<Value>> {
    let path = ["sweep", key];
    if key != "workflow" && keys::find(key).is_some() {
        reader.error(&path, format!("`{key}` is no slot: it can't be swept"));
        return None;
    }
    if spec.slots.contains_key(key) || spec.set.contains_key(key) {
        reader.error(&path, format!("`{key}` stands in `sweep` and beside it: leave one of them out"));
        return None;
    }
    let Some(values) = values.as_array().cloned() else {
        reader.error(&path, format!("`{key}` in `sweep` must be a list of values, not {}", kind(values)));
        return None;
    };
    if values.is_empty() {
        reader.error(&path, format!("`{key}` in `sweep` is an empty list"));
        return None;
    }
    if key == "workflow" && !values.iter().all(|v| v.as_str().is_some_and(|name| !name.trim().is_empty())) {
        reader.error(&path, "`workflow` in `sweep` must be a list of names of workflows");
        return None;
    }
    Some(values)
}
