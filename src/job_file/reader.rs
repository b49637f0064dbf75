//! One value of a job file into a job: our own keys taken out, everything else left as slots.
//!
//! Pure. It goes on after a fault, so that all of them are told.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::keys::{self, KEYS, Takes};
use super::places::Places;
use super::until::Until;
use super::vary::{self, Ways};
use super::{JobFileError, JobSpec, MAX_ERRORS, MAX_JOBS, Origin, Source};
use crate::text;

/// What is said of a graph in the format of ComfyUI's page.
pub(crate) const PAGE_GRAPH: &str = "this is a graph as ComfyUI's page saves it: how it is to be run only a server can \
    tell, and none has answered yet. Start it, or in ComfyUI use Workflow > Export (API) and take that file";

/// What `POST /prompt` takes beside the graph, and we make ourselves.
const POSTED: &[&str] = &["client_id", "prompt_id", "number", "front", "partial_execution_targets"];

/// Reads one entry of a file.
pub(super) struct Reader<'a> {
    pub places: &'a Places<'a>,
    pub origin: Origin,
    pub errors: &'a mut Vec<JobFileError>,
}

/// The keys whose values fill the graph.
const FILLING: &[&str] = &["set", "sweep", "seed"];

impl Reader<'_> {
    /// Of those that are not told only one is kept: finding the place of each takes time.
    pub(super) fn error(&mut self, path: &[&str], message: impl AsRef<str>) {
        if self.errors.len() > MAX_ERRORS {
            return;
        }
        self.origin.is_partial |= path.first().is_some_and(|key| FILLING.contains(key));
        let error = self.places.error(self.origin.entry, path, message.as_ref());
        // what several jobs share is wrong once
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    fn wrong(&mut self, key: &str, wanted: &str, value: &Value) {
        self.error(&[key], format!("`{key}` must be {wanted}, not {}", kind(value)));
    }

    /// The job as far as it can be read, and in how many ways; `None` where it can't be told what it would render.
    pub(super) fn job(mut self, value: Value) -> Option<(JobSpec, Ways)> {
        let Value::Object(mut map) = value else {
            self.error(&[], format!("a job is an object, {{…}}, not {}", kind(&value)));
            return None;
        };
        let mut spec = JobSpec { origin: self.origin, ..JobSpec::of(Source::Named(None)) };
        if is_page_graph(&map) {
            spec.workflow = Source::Page(Arc::new(map));
            return Some((spec, Ways::one()));
        }
        if is_api_graph(&map) {
            spec.workflow = Source::Graph(Arc::new(map));
            return Some((spec, Ways::one()));
        }
        if map.is_empty() {
            self.error(&[], "the job is empty: name a workflow and fill its slots");
            return None;
        }
        if is_posted(&map) {
            // the body of a POST: its graph is the workflow
            if let Some(graph) = map.shift_remove("prompt") {
                map.insert("workflow".to_owned(), graph);
                spec.origin.graph_under = Some("prompt");
            }
            map.retain(|key, _| !POSTED.contains(&key.as_str()));
        } else if !map.contains_key("workflow") && map.get("prompt").is_some_and(Value::is_object) {
            self.error(
                &["prompt"],
                "`prompt` is an object, and no graph: what is POSTed to /prompt has one there, {\"3\": {\"class_type\": …}}; \
                 a job has a text, and names its `workflow`",
            );
            return None;
        }
        let names_workflow =
            map.contains_key("workflow") || map.get("sweep").is_some_and(|sweep| sweep.get("workflow").is_some());
        for key in KEYS {
            // remove() would swap the last key into the gap; the order of the slots is to stay
            if let Some(value) = map.shift_remove(key.name) {
                self.own(&mut spec, key, value, &mut map);
            }
        }
        // what the own keys left behind for later
        let (repeat, sweep) = (map.shift_remove(REPEAT), map.shift_remove(SWEEP));
        spec.slots = map;
        self.check_varied(&spec, sweep.as_ref());
        let ways = vary::ways(&mut self, &mut spec, repeat.as_ref(), sweep);
        spec.origin.is_partial = self.origin.is_partial;
        let is_named = spec.workflow != Source::Named(None) || ways.vary("workflow");
        (is_named || !names_workflow).then_some((spec, ways))
    }

    fn own(&mut self, spec: &mut JobSpec, key: &keys::Key, value: Value, rest: &mut Map<String, Value>) {
        let name = key.name;
        match key.takes {
            Takes::Until => match value {
                Value::Object(map) => {
                    spec.until = Some(self.until(map));
                }
                other => self.wrong(name, "an object, {\"verdict\": \"loops\", \"tries\": 8}", &other),
            },
            Takes::Word(words) => match value.as_str().filter(|word| words.contains(word)) {
                Some(word) => spec.repair = word == "auto",
                None => self.wrong(name, &format!("\"{}\"", words.join("\" or \"")), &value),
            },
            Takes::Workflow => {
                if let Some(source) = self.source(value) {
                    if !matches!(source, Source::Named(_)) {
                        spec.origin.graph_under.get_or_insert("workflow");
                    }
                    spec.workflow = source;
                }
            }
            Takes::Text { most } => {
                let text = self.text(name, most, value);
                match name {
                    "name" => spec.name = text,
                    "note" => spec.note = text,
                    _ => spec.server = text,
                }
            }
            Takes::Whole { least, most } => {
                let number = self.whole(name, least, most, &value);
                match (name, number) {
                    ("priority", Some(number)) => spec.priority = number,
                    ("best_of", Some(_)) if spec.until.is_some() => {
                        self.error(
                            &[name],
                            "`best_of` renders all, `until` ends with the first good one: leave one out",
                        );
                    }
                    ("best_of", Some(number)) => spec.until = Some(Until::best_of(number)),
                    (_, Some(number)) => {
                        rest.insert(REPEAT.to_owned(), number.into());
                    }
                    (_, None) => {}
                }
            }
            Takes::Switch => match value.as_bool() {
                Some(it) => spec.hold = it,
                None => self.wrong(name, "true or false", &value),
            },
            Takes::Texts => match texts(&value) {
                Some(list) => spec.tags = list,
                None => self.wrong(name, "a list of texts, [\"a\", \"b\"]", &value),
            },
            Takes::Jobs => match jobs(&value) {
                Some(list) if list.len() > MAX_JOBS => {
                    self.error(&[name], format!("`{name}` names {} jobs; at most {MAX_JOBS} are taken", list.len()));
                }
                Some(list) => spec.after = list,
                None => self.wrong(name, "the name or number of a job, or a list of them", &value),
            },
            Takes::Edits => {
                if let Some(set) = self.set(value) {
                    spec.set = set;
                }
            }
            Takes::Lists => match value {
                Value::Object(_) => {
                    rest.insert(SWEEP.to_owned(), value);
                }
                other => self.wrong(name, "an object of lists, {\"seed\": [1, 2], \"length\": [65, 129]}", &other),
            },
            Takes::Object => match value {
                Value::Object(map) => spec.extra_data = Some(map),
                other => self.wrong(name, "an object", &other),
            },
        }
    }

    pub(super) fn source(&mut self, value: Value) -> Option<Source> {
        match value {
            Value::String(name) if name.trim().is_empty() => {
                self.error(&["workflow"], "`workflow` is empty");
                None
            }
            Value::String(name) => Some(Source::Named(Some(name))),
            Value::Object(map) if is_page_graph(&map) => Some(Source::Page(Arc::new(map))),
            Value::Object(map) if is_api_graph(&map) => Some(Source::Graph(Arc::new(map))),
            other => {
                self.wrong("workflow", "the name of a workflow, or a graph in API format", &other);
                None
            }
        }
    }

    fn whole(&mut self, key: &str, least: i64, most: i64, value: &Value) -> Option<i64> {
        let Some(number) = value.as_number().filter(|n| !n.is_f64()) else {
            let usual = if key == "priority" { ", 0 being usual" } else { "" };
            self.wrong(key, &format!("a whole number{usual}"), value);
            return None;
        };
        let fit = number.as_i64().filter(|n| (least..=most).contains(n));
        if fit.is_none() {
            self.error(&[key], format!("`{key}` is {number}: it lies between {least} and {most}"));
        }
        fit
    }

    fn text(&mut self, key: &str, most: usize, value: Value) -> Option<String> {
        match value {
            // control characters alone are nothing to show either
            Value::String(text) if text::clean(&text).is_empty() => {
                self.error(&[key], format!("`{key}` is empty: fill it or leave it out"));
                None
            }
            Value::String(text) => {
                let length = text.chars().count();
                if length > most {
                    self.error(&[key], format!("`{key}` has {length} characters; at most {most} are taken"));
                    return None;
                }
                Some(text)
            }
            other => {
                self.wrong(key, "a text, \"…\"", &other);
                None
            }
        }
    }

    fn set(&mut self, value: Value) -> Option<Map<String, Value>> {
        let Value::Object(mut set) = value else {
            self.wrong("set", "an object, {\"14.cfg\": 1.0}", &value);
            return None;
        };
        set.retain(|key, _| self.names_input("set", key));
        Some(set)
    }

    /// Whether a key has the form `node.input`.
    pub(super) fn names_input(&mut self, under: &str, key: &str) -> bool {
        let is_one = key.split_once('.').is_some_and(|(node, input)| !node.is_empty() && !input.is_empty());
        if !is_one {
            self.error(
                &[under, key],
                format!("`{key}` names no input: write node id (or title), dot, input, as in \"14.cfg\""),
            );
        }
        is_one
    }
}

/// Where [`Reader::own`] leaves what is taken up when the slots are known: no key of a file can be called so.
const REPEAT: &str = "\0repeat";
const SWEEP: &str = "\0sweep";

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|it| it.as_str().map(str::to_owned)).collect()
}

fn jobs(value: &Value) -> Option<Vec<String>> {
    let one = |it: &Value| match it {
        Value::String(name) if !text::clean(name).is_empty() => Some(name.clone()),
        Value::Number(number) => number.as_u64().map(|number| format!("#{number}")),
        _ => None,
    };
    match value {
        Value::Array(list) => list.iter().map(one).collect(),
        single => one(single).map(|it| vec![it]),
    }
}

/// The format that ComfyUI's page saves: a list of nodes and one of links.
pub(crate) fn is_page_graph(map: &Map<String, Value>) -> bool {
    map.get("nodes").is_some_and(Value::is_array) && map.contains_key("links")
}

/// The API format: every value is a node. One that is not makes it a broken graph, not a job with slots.
fn is_api_graph(map: &Map<String, Value>) -> bool {
    map.values().any(|node| node.get("class_type").is_some_and(Value::is_string))
}

/// What people POST to `/prompt`: the graph under `prompt`, also as the page saves it.
fn is_posted(map: &Map<String, Value>) -> bool {
    let is_graph = |map| is_api_graph(map) || is_page_graph(map);
    !map.contains_key("workflow") && map.get("prompt").and_then(Value::as_object).is_some_and(is_graph)
}

/// A JSON value's kind in words, with the value where it is short; of a long text the beginning.
pub(crate) fn kind(value: &Value) -> String {
    // the name of a model must be seen whole
    const LONGEST: usize = 120;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(it) => it.to_string(),
        Value::Number(it) => format!("the number {it}"),
        Value::String(it) => match it.char_indices().nth(LONGEST) {
            None => format!("the text \"{it}\""),
            Some((end, _)) => format!("the text \"{}…\"", it.get(..end).unwrap_or_default()),
        },
        Value::Array(list) if list.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
