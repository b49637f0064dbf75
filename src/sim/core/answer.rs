//! What each request does and is answered, faults included.
//!
//! Part of `core`'s state machine: no I/O.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Effect, Later, RequestId, State, millis};
use crate::sim::queue::{Habits, Job};
use crate::sim::render::float;
use crate::sim::request::{Body, Request, Response, Sent};
use crate::sim::scenario::{Action, Moment, Occasion};
use crate::sim::validate::{self, Refusal};
use crate::sim::{Dialect, graph, history, object_info, wire};

impl State {
    pub(super) fn request(&mut self, id: RequestId, request: Request) {
        let graph = if let Request::PostPrompt(body) = &request {
            self.posts += 1;
            body.as_ref().and_then(|body| body.get("prompt"))
        } else {
            None
        };
        let post = matches!(request, Request::PostPrompt(_)).then_some(self.posts);
        let now = Occasion { post, graph, route: Some(request.route()), ..Occasion::default() };
        let mut twist = Twist::default();
        for action in self.armed.strike(Moment::Request, &now) {
            match action {
                Action::RefuseWith(refusal) => {
                    let response = Response::new(refusal.status, Body::Text(refusal.body));
                    self.effects.push(Effect::Reply { id, response });
                    return;
                }
                Action::Hang(seconds) => return self.after_ms(millis(seconds), Later::Effect(Effect::Hangup { id })),
                Action::Late(seconds) => return self.after_ms(millis(seconds), Later::Handle { id, request }),
                Action::Crash(seconds) => return self.crash(seconds),
                Action::Slow(seconds) => twist.slow_ms = millis(seconds),
                Action::PostLost => twist.lost = true,
                Action::Post500ButQueued => twist.answer_500 = true,
                Action::View404 => twist.missing = true,
                Action::ViewCut(bytes) | Action::Cut(bytes) => twist.cut = Some(bytes),
                Action::ViewAnnounce(bytes) => twist.announced = Some(bytes),
                other => self.disturb(&other),
            }
        }
        self.handle(id, request, &twist);
    }

    pub(super) fn handle(&mut self, id: RequestId, request: Request, twist: &Twist) {
        let is_view = matches!(request, Request::View(_));
        let before = self.effects.len();
        let mut response = self.answer(request);
        if twist.answer_500 {
            response = Response::trouble();
        }
        if is_view && twist.missing {
            response = Response::empty(404);
        }
        if matches!(response.body, Body::File(..)) || !is_view {
            response.cut = twist.cut;
            response.announced = twist.announced;
        }
        let effect = if twist.lost { Effect::Hangup { id } } else { Effect::Reply { id, response } };
        if twist.slow_ms > 0 {
            self.after_ms(twist.slow_ms, Later::Effect(effect));
        } else {
            // The answer is on its way before the messages that the request sets off.
            self.effects.insert(before, effect);
        }
    }

    fn answer(&mut self, request: Request) -> Response {
        let new = self.dialect == Dialect::V0_33_0;
        match request {
            Request::GetPrompt => Response::json(json!({"exec_info": {"queue_remaining": self.remaining()}})),
            Request::PostPrompt(body) => self.post_prompt(body),
            Request::GetQueue => {
                let running: Vec<Value> = self.running.iter().map(|job| job.tuple()).collect();
                let pending: Vec<Value> = self.queue.iter().map(|job| job.tuple()).collect();
                Response::json(json!({"queue_running": running, "queue_pending": pending}))
            }
            Request::PostQueue(body) => self.post_queue(body),
            Request::Interrupt(body) => self.interrupt(body.as_ref()),
            Request::History { max_items, offset } => self.history.all(max_items.as_deref(), offset.as_deref()),
            Request::HistoryOf(id) => Response::json(self.history.one(&id)),
            Request::PostHistory(body) => self.post_history(body),
            Request::Jobs(query) if new => {
                history::list(&query, self.queue.iter(), self.running.as_ref(), &self.history)
            }
            Request::Job(id) if new => history::detail(&id, self.queue.iter(), self.running.as_ref(), &self.history),
            Request::CancelJob(id) if new => {
                let cancelled = self.cancel(&id);
                Response::json(json!({"cancelled": cancelled}))
            }
            Request::CancelJobs(body) if new => self.cancel_many(body),
            Request::CancelJob(_) | Request::CancelJobs(_) => Response::not_allowed("GET,HEAD"),
            Request::SystemStats => Response::json(self.vram.stats(self.dialect, float(self.now))),
            Request::Features => Response::json(self.features()),
            Request::ObjectInfo => {
                let images = self.files.images();
                let all = object_info::nodes(self.dialect).keys();
                let all =
                    all.filter_map(|class| Some((class.clone(), object_info::entry(self.dialect, class, &images)?)));
                Response::json(Value::Object(all.collect()))
            }
            Request::ObjectInfoOf(class) => {
                let entry = object_info::entry(self.dialect, &class, &self.files.images());
                Response::json(entry.map_or_else(|| json!({}), |entry| json!({class: entry})))
            }
            Request::Embeddings => Response::json(json!([])),
            Request::Models(folder) => self.models(folder.as_deref()),
            Request::Upload(upload) => {
                let (response, stored) = self.files.upload(upload);
                self.effects.extend(stored.map(Effect::Store));
                response
            }
            Request::View(view) => self.files.view(self.dialect, &view),
            Request::Free(body) => {
                let Some(body) = body else { return Response::trouble() };
                self.free_models |= truthy(body.get("unload_models"));
                self.free_memory |= truthy(body.get("free_memory"));
                if self.running.is_none() {
                    self.free_now();
                }
                Response::empty(200)
            }
            Request::Handshake => Response::empty(101),
            Request::PlainWs => {
                let text = "No WebSocket UPGRADE hdr: None\n Can \"Upgrade\" only to \"WebSocket\".";
                Response::new(400, Body::Text(text.to_owned()))
            }
            Request::Jobs(_) | Request::Job(_) | Request::Unknown { get: true, .. } => Response::empty(404),
            Request::Unknown { get: false, allow } => Response::not_allowed(allow),
        }
    }

    fn models(&self, folder: Option<&str>) -> Response {
        let lists = [
            ("checkpoints", "CheckpointLoaderSimple", "ckpt_name"),
            ("loras", "LoraLoaderModelOnly", "lora_name"),
            ("vae", "VAELoader", "vae_name"),
            ("text_encoders", "CLIPLoader", "clip_name"),
            ("diffusion_models", "UNETLoader", "unet_name"),
        ];
        let Some(folder) = folder else { return Response::json(json!(lists.map(|(name, ..)| name))) };
        let Some((_, class, input)) = lists.into_iter().find(|(name, ..)| *name == folder) else {
            return Response::empty(404);
        };
        let info = object_info::nodes(self.dialect).get(class);
        let list = info.and_then(|info| info.pointer(&format!("/input/required/{input}/0"))).cloned();
        Response::json(list.unwrap_or_else(|| json!([])))
    }

    fn post_prompt(&mut self, body: Sent) -> Response {
        let thrown = Response::trouble;
        let Some(body) = body else { return thrown() };
        if !matches!(body, Value::Object(_) | Value::Array(_) | Value::String(_)) {
            return thrown();
        }
        let number = if let Some(number) = body.get("number") {
            match python_float(number) {
                Some(number) => json!(number),
                None => return thrown(),
            }
        } else {
            let number = self.number;
            self.number += 1;
            json!(if truthy(body.get("front")) { -number } else { number })
        };
        let Some(prompt) = body.get("prompt").cloned() else { return refuse(*validate::no_prompt()) };
        let fresh = self.fresh_id();
        let id = match validate::prompt_id(self.dialect, &body, || fresh) {
            Ok(id) => id,
            Err(refusal) => return refuse(*refusal),
        };
        let mut prompt = match (prompt, self.dialect) {
            (Value::Object(prompt), _) => prompt,
            (Value::Array(items), Dialect::V0_3_64) if items.is_empty() => Map::new(),
            _ => return thrown(),
        };
        let sent = Value::Object(prompt.clone());
        let targets: Option<Vec<String>> = body
            .get("partial_execution_targets")
            .and_then(Value::as_array)
            .map(|list| list.iter().map(wire::str).collect());
        let files = &self.files;
        let has_file = |name: &str| files.annotated(name).is_some();
        let accepted = match validate::validate(self.dialect, &mut prompt, targets.as_deref(), &has_file) {
            Ok(accepted) => accepted,
            Err(refusal) => return refuse(*refusal),
        };
        let mut extra = body.get("extra_data").filter(|extra| extra.is_object()).cloned().unwrap_or_else(|| json!({}));
        if let Some(client) = body.get("client_id") {
            extra["client_id"] = client.clone();
        }
        if self.dialect == Dialect::V0_33_0 {
            extra["create_time"] = json!(self.now);
        }
        let mut outputs = accepted.outputs;
        outputs.sort_by_key(|output| scrambled(self.salt, output));
        let hash = Sha256::digest(wire::to_text(&sent).as_bytes());
        let hash = format!("{:016x}", hash.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte)));
        let client = extra.get("client_id").cloned();
        let texts = graph::texts(&prompt);
        self.log("accepted", &id, json!({"number": number, "graph": hash, "client_id": client, "texts": texts}));
        let answer = json!({"prompt_id": id, "number": number, "node_errors": accepted.node_errors});
        self.accepted += 1;
        let (post, nth) = (self.posts, self.accepted);
        let now = Occasion { post: Some(post), prompt: Some(nth), graph: Some(&sent), ..Occasion::default() };
        let actions = self.armed.strike(Moment::Accepted, &now);
        let habits = Habits::of(&actions);
        let clean = self.enqueue(Job { id, number, prompt, extra, outputs, created: self.now, post, nth, habits });
        for action in &actions {
            self.disturb(action);
        }
        if clean { Response::json(answer) } else { thrown() }
    }

    pub(super) fn enqueue(&mut self, job: Job) -> bool {
        let clean = self.queue.push(job);
        if clean {
            self.status();
        }
        if self.running.is_none() && self.start_at.is_none() {
            self.start_at = Some(self.now + 1);
        }
        clean
    }

    pub(super) fn fresh_id(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_le_bytes()).into_uuid().to_string()
    }

    fn post_queue(&mut self, body: Sent) -> Response {
        let Some(body) = body else { return Response::trouble() };
        if truthy(body.get("clear")) {
            let gone: Vec<String> = self.queue.iter().map(|job| job.id.clone()).collect();
            self.queue.clear();
            for id in &gone {
                self.log("deleted", id, json!({}));
            }
            self.status();
        }
        for id in body.get("delete").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.delete(id);
        }
        Response::empty(200)
    }

    fn delete(&mut self, id: &str) -> bool {
        let found = self.queue.remove(id);
        if found {
            self.log("deleted", id, json!({}));
            self.status();
        }
        found
    }

    fn interrupt(&mut self, body: Option<&Value>) -> Response {
        let wanted = body.and_then(|body| body.get("prompt_id")).filter(|id| truthy(Some(id)));
        let hits =
            wanted.is_none_or(|id| self.running.as_ref().is_some_and(|job| *id == Value::String(job.id.clone())));
        if hits && let Some(run) = &mut self.run {
            run.interrupt = true;
            let id = self.running.as_ref().map_or_else(String::new, |job| job.id.clone());
            self.log("interrupt", &id, json!({}));
        }
        Response::empty(200)
    }

    fn cancel(&mut self, id: &str) -> bool {
        if self.running.as_ref().is_some_and(|job| job.id == id) {
            self.interrupt(Some(&json!({"prompt_id": id})));
            return true;
        }
        self.delete(id)
    }

    fn cancel_many(&mut self, body: Sent) -> Response {
        let bad = |body: Value| Response { status: 400, ..Response::json(body) };
        let Some(body) = body else { return bad(json!({"error": "Request body must be valid JSON"})) };
        let Some(ids) = body.get("job_ids").and_then(Value::as_array) else {
            return bad(json!({"error": "job_ids must be a list"}));
        };
        let invalid: Vec<&Value> = ids.iter().filter(|id| !id.as_str().is_some_and(validate::is_canonical)).collect();
        if !invalid.is_empty() {
            return bad(json!({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}));
        }
        let cancelled = ids.iter().filter_map(Value::as_str).filter(|id| self.cancel(id)).count();
        Response::json(json!({"cancelled": cancelled > 0}))
    }

    fn post_history(&mut self, body: Sent) -> Response {
        let Some(body) = body else { return Response::trouble() };
        if truthy(body.get("clear")) {
            self.history.clear();
        }
        for id in body.get("delete").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.history.remove(id);
        }
        Response::empty(200)
    }
}

/// What a scenario does to one request.
#[derive(Debug, Default)]
pub(super) struct Twist {
    slow_ms: u64,
    lost: bool,
    answer_500: bool,
    missing: bool,
    cut: Option<usize>,
    announced: Option<u64>,
}

fn refuse(refusal: Refusal) -> Response {
    match refusal {
        Refusal::Bad { error, node_errors } => {
            Response { status: 400, ..Response::json(json!({"error": error, "node_errors": node_errors})) }
        }
        Refusal::Thrown => Response::trouble(),
    }
}

fn truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
    }
}

fn python_float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    }
}

/// FNV-1a: an order that looks arbitrary and is the same for the same seed.
fn scrambled(salt: u64, text: &str) -> u64 {
    text.bytes()
        .fold(salt ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
