//! What the server remembers of ended jobs, as `/history` and (0.33.0) `/api/jobs` tell it.
//!
//! Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::queue::Job;
use super::request::{Body, Response};

/// Older entries are forgotten (ComfyUI's `MAXIMUM_HISTORY_SIZE`).
const MOST: usize = 10_000;

/// One ended job.
#[derive(Debug, Clone)]
pub struct Entry {
    pub job: Arc<Job>,
    pub outputs: Map<String, Value>,
    pub meta: Map<String, Value>,
    pub success: bool,
    /// `[event, data]` in order.
    pub messages: Vec<Value>,
}

impl Entry {
    fn status(&self) -> Value {
        let word = if self.success { "success" } else { "error" };
        json!({"status_str": word, "completed": self.success, "messages": self.messages})
    }

    fn told(&self) -> Value {
        json!({"prompt": self.job.tuple(), "outputs": self.outputs, "status": self.status(), "meta": self.meta})
    }

    fn message(&self, name: &str) -> Option<&Value> {
        let pair = self.messages.iter().find(|pair| pair.get(0).and_then(Value::as_str) == Some(name))?;
        pair.get(1)
    }

    fn state(&self) -> &'static str {
        match (self.success, self.message("execution_interrupted")) {
            (true, _) => "completed",
            (false, Some(_)) => "cancelled",
            (false, None) => "failed",
        }
    }
}

/// Ended jobs by id, oldest first. An id that ends again keeps its old place.
#[derive(Debug, Default)]
pub struct History {
    order: VecDeque<String>,
    entries: HashMap<String, Entry>,
}

impl History {
    pub fn insert(&mut self, entry: Entry) {
        let id = entry.job.id.clone();
        if self.entries.insert(id.clone(), entry).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }

    pub fn remove(&mut self, id: &str) {
        if self.entries.remove(id).is_some() {
            self.order.retain(|other| other != id);
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// `GET /history/{id}`: `{}` where it is not known.
    pub fn one(&self, id: &str) -> Value {
        self.entries.get(id).map_or_else(|| json!({}), |entry| json!({id: entry.told()}))
    }

    /// `GET /history` with its odd paging (trap 35).
    pub fn all(&self, max_items: Option<&str>, offset: Option<&str>) -> Response {
        let (Ok(most), Ok(offset)) =
            (max_items.map(str::parse::<i64>).transpose(), offset.map(str::parse::<i64>).transpose())
        else {
            return Response::trouble();
        };
        let length = i64::try_from(self.order.len()).unwrap_or(i64::MAX);
        let first = match (offset.filter(|offset| *offset >= 0), most) {
            (Some(offset), _) => offset,
            (None, Some(most)) => length - most,
            (None, None) => 0,
        };
        let skip = usize::try_from(first).unwrap_or(0);
        let take = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(0).max(1));
        let told =
            self.order.iter().skip(skip).take(take).filter_map(|id| Some((id.clone(), self.entries.get(id)?.told())));
        Response::json(Value::Object(told.collect()))
    }
}

/// A job wherever it stands, for `/api/jobs`.
enum Standing<'a> {
    Pending(&'a Job),
    Running(&'a Job),
    Ended(&'a Entry),
}

impl Standing<'_> {
    fn job(&self) -> &Job {
        match self {
            Self::Pending(job) | Self::Running(job) => job,
            Self::Ended(entry) => &entry.job,
        }
    }

    fn state(&self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Running(_) => "in_progress",
            Self::Ended(entry) => entry.state(),
        }
    }

    fn times(&self) -> (Option<u64>, Option<u64>) {
        let Self::Ended(entry) = self else { return (None, None) };
        let stamp = |data: Option<&Value>| data?.get("timestamp")?.as_u64();
        let last = entry.messages.last().and_then(|pair| pair.get(1));
        (stamp(entry.message("execution_start")), stamp(last))
    }

    /// As the list tells it; what is not known is absent, not null.
    fn told(&self) -> Map<String, Value> {
        let job = self.job();
        let mut told = Map::new();
        let mut add = |key: &str, value: Option<Value>| value.map(|value| told.insert(key.to_owned(), value));
        add("id", Some(json!(job.id)));
        add("status", Some(json!(self.state())));
        add("priority", Some(job.number.clone()));
        add("create_time", Some(json!(job.created)));
        let (start, end) = self.times();
        add("execution_start_time", start.map(Value::from));
        add("execution_end_time", end.map(Value::from));
        let entry = if let Self::Ended(entry) = self { Some(*entry) } else { None };
        add("execution_error", entry.and_then(|entry| entry.message("execution_error")).cloned());
        let shown = entry.map(|entry| Shown::of(&entry.outputs)).unwrap_or_default();
        add("outputs_count", Some(json!(shown.count)));
        add("previewable_outputs_count", Some(json!(shown.previewable)));
        add("preview_output", shown.preview);
        add("workflow_id", job.extra.pointer("/extra_pnginfo/workflow/id").cloned());
        told
    }
}

#[derive(Default)]
struct Shown {
    count: usize,
    previewable: usize,
    preview: Option<Value>,
}

impl Shown {
    fn of(outputs: &Map<String, Value>) -> Self {
        let mut shown = Self::default();
        let mut is_final = false;
        for (node, media) in outputs.iter().filter_map(|(node, output)| Some((node, output.as_object()?))) {
            for (kind, item) in media
                .iter()
                .filter(|(kind, _)| *kind != "animated")
                .flat_map(|(kind, items)| items.as_array().into_iter().flatten().map(move |item| (kind, item)))
            {
                shown.count += 1;
                let mut preview = match item {
                    Value::Object(map) => {
                        shown.previewable += 1;
                        map.clone()
                    }
                    text => Map::from_iter([("content".to_owned(), text.clone())]),
                };
                let saved = preview.get("type").and_then(Value::as_str) == Some("output");
                if shown.preview.is_none() || (saved && !is_final) {
                    preview.insert("nodeId".to_owned(), json!(node));
                    preview.insert("mediaType".to_owned(), json!(kind));
                    shown.preview = Some(Value::Object(preview));
                    is_final = saved;
                }
            }
        }
        shown
    }
}

/// `GET /api/jobs`, of what waits, runs and has ended.
pub fn list<'a>(
    query: &[(String, String)],
    pending: impl Iterator<Item = &'a Arc<Job>>,
    running: Option<&'a Arc<Job>>,
    history: &'a History,
) -> Response {
    let wrong = |text: &str| {
        let mut response = Response::json(json!({"error": text}));
        response.status = 400;
        response
    };
    let one = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let states: Option<Vec<&str>> = one("status").map(|list| list.split(',').map(str::trim).collect());
    let known = ["pending", "in_progress", "completed", "failed", "cancelled"];
    let unknown: Vec<&str> = states.iter().flatten().copied().filter(|state| !known.contains(state)).collect();
    if !unknown.is_empty() {
        let text = format!("Invalid status value(s): {}. Valid values: {}", unknown.join(", "), known.join(", "));
        return wrong(&text);
    }
    let Ok(limit) = one("limit").map(str::parse::<i64>).transpose() else { return wrong("limit must be an integer") };
    if limit.is_some_and(|limit| limit <= 0) {
        return wrong("limit must be a positive integer");
    }
    let Ok(offset) = one("offset").map(str::parse::<i64>).transpose() else {
        return wrong("offset must be an integer");
    };
    let by_duration = match one("sort_by") {
        None | Some("created_at") => false,
        Some("execution_duration") => true,
        Some(_) => return wrong("sort_by must be 'created_at' or 'execution_duration'"),
    };
    let workflow = one("workflow_id");
    let mut all: Vec<Standing<'_>> = pending
        .map(|job| Standing::Pending(job))
        .chain(running.map(|job| Standing::Running(job)))
        .chain(history.order.iter().filter_map(|id| Some(Standing::Ended(history.entries.get(id)?))))
        .filter(|standing| states.as_ref().is_none_or(|states| states.contains(&standing.state())))
        .filter(|standing| {
            let id = standing.job().extra.pointer("/extra_pnginfo/workflow/id").and_then(Value::as_str);
            workflow.is_none_or(|wanted| id == Some(wanted))
        })
        .collect();
    all.sort_by_key(|standing| {
        let (start, end) = standing.times();
        let duration = end.unwrap_or(0).saturating_sub(start.unwrap_or(0));
        (if by_duration { duration } else { standing.job().created }, standing.job().nth)
    });
    if one("sort_order") != Some("asc") {
        all.reverse();
    }
    let total = all.len();
    let skip = usize::try_from(offset.unwrap_or(0)).unwrap_or(0);
    let take = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let jobs: Vec<Map<String, Value>> = all.iter().skip(skip).take(take).map(Standing::told).collect();
    let more = skip.saturating_add(jobs.len()) < total;
    let pagination = json!({"offset": skip, "limit": limit, "total": total, "has_more": more});
    Response::json(json!({"jobs": jobs, "pagination": pagination}))
}

/// `GET /api/jobs/{id}`.
pub fn detail<'a>(
    id: &str,
    mut pending: impl Iterator<Item = &'a Arc<Job>>,
    running: Option<&'a Arc<Job>>,
    history: &'a History,
) -> Response {
    let standing = if let Some(job) = running.filter(|job| job.id == id) {
        Standing::Running(job)
    } else if let Some(job) = pending.find(|job| job.id == id) {
        Standing::Pending(job)
    } else if let Some(entry) = history.entries.get(id) {
        Standing::Ended(entry)
    } else {
        return Response::new(404, Body::Json(json!({"error": "Job not found"})));
    };
    let mut told = standing.told();
    if let Standing::Ended(entry) = standing {
        told.insert("outputs".to_owned(), json!(entry.outputs));
        told.insert("execution_status".to_owned(), entry.status());
        told.insert("workflow".to_owned(), json!({"prompt": entry.job.prompt, "extra_data": entry.job.extra}));
    }
    Response::json(Value::Object(told))
}
