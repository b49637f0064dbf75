//! The simulated server as a state machine: [`step`] takes what happened and the time, and says
//! what to do about it; [`next_wake`] says when it wants to be asked again.
//!
//! No I/O, no clock, no chance but the seed's: a night of rendering runs in milliseconds, and the
//! same inputs give the same effects. `http.rs` drives it on a real socket.

mod answer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::files::{Files, Folder, Stored};
use super::history::{Entry, History};
use super::queue::{Habits, Job, Queue};
use super::render::{Run, WARM_SECONDS, float};
use super::request::{Request, Response};
use super::scenario::{Action, Armed};
use super::vram::Vram;
use super::{Dialect, Options, prompts, wire};

/// A websocket, named by the driver.
pub type SocketId = u64;
/// A request that waits for its answer, named by the driver.
pub type RequestId = u64;

/// What happened.
#[derive(Debug)]
pub enum Input {
    Request {
        id: RequestId,
        request: Request,
    },
    /// A websocket was accepted; `client_id` as its URL gave it.
    SocketOpened {
        socket: SocketId,
        client_id: Option<String>,
    },
    SocketText {
        socket: SocketId,
        text: String,
    },
    SocketClosed {
        socket: SocketId,
    },
    /// It is [`next_wake`] o'clock.
    Timer,
}

/// What to do about it, in this order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    Reply {
        id: RequestId,
        response: Response,
    },
    /// Close the connection of this request without an answer.
    Hangup {
        id: RequestId,
    },
    Text {
        socket: SocketId,
        text: Arc<str>,
    },
    Binary {
        socket: SocketId,
        bytes: Bytes,
    },
    /// Cut this websocket without a close frame.
    Close {
        socket: SocketId,
    },
    /// Let this websocket stand as it is: nothing is read from it or written to it any more.
    Freeze {
        socket: SocketId,
    },
    /// A file was stored; keep it where there is a folder for it.
    Store(Stored),
    /// The process is dead: cut every connection, and refuse new ones for so long. The state has
    /// forgotten what a process forgets, and is what stands up again.
    Crash {
        seconds: f64,
    },
    /// A line for the log.
    Log(Value),
}

/// What a scenario has put off.
#[derive(Debug)]
pub(super) enum Later {
    Effect(Effect),
    Handle {
        id: RequestId,
        request: Request,
    },
    History(Box<Entry>),
    Strike(Action),
    /// The other client of these ids leaves, and they are nobody's.
    TwinLeaves(Vec<String>),
}

/// Who hears a message.
#[derive(Debug, Clone)]
pub(super) enum To {
    Everyone,
    Client(String),
}

#[derive(Debug)]
struct Socket {
    sid: String,
    /// `supports_preview_metadata`, told in the first text message.
    metadata: bool,
    spoken: bool,
}

/// The whole simulated server.
#[derive(Debug)]
pub struct State {
    pub(super) dialect: Dialect,
    /// Milliseconds a second of recording 27 takes here.
    pub(super) scale_ms: f64,
    pub(super) previews: bool,
    pub(super) rng: fastrand::Rng,
    /// Turns what is arbitrary in the real one (sets of text) into one order a process.
    salt: u64,
    pub(super) temp_tag: String,
    pub(super) now: u64,
    pub(super) files: Files,
    sockets: BTreeMap<SocketId, Socket>,
    /// Which socket hears for a clientId. Closing any socket of that id empties the place (trap 15).
    pub(super) names: BTreeMap<String, SocketId>,
    pub(super) queue: Queue,
    pub(super) run: Option<Run>,
    pub(super) running: Option<Arc<Job>>,
    pub(super) start_at: Option<u64>,
    pub(super) history: History,
    number: i64,
    /// Signature of a node to its `ui` output.
    pub(super) cache: HashMap<u64, Value>,
    /// Models that are on the card.
    pub(super) warm: HashSet<u64>,
    /// The clientId of the job that runs or ran last.
    pub(super) listening: Option<String>,
    pub(super) last_node: Option<String>,
    free_models: bool,
    free_memory: bool,
    pub(super) vram: Vram,
    pub(super) armed: Armed,
    posts: u64,
    accepted: u64,
    later: BTreeMap<(u64, u64), Later>,
    /// Messages are late by up to so many milliseconds.
    disorder_ms: u64,
    sequence: u64,
    effects: Vec<Effect>,
}

/// Tells the state what happened; returns what to do. `now_ms`: milliseconds since the epoch.
pub fn step(state: &mut State, input: Input, now_ms: u64) -> Vec<Effect> {
    state.now = state.now.max(now_ms);
    state.advance();
    match input {
        Input::Request { id, request } => state.request(id, request),
        Input::SocketOpened { socket, client_id } => state.opened(socket, client_id),
        Input::SocketText { socket, text } => state.heard(socket, &text),
        Input::SocketClosed { socket } => state.closed(socket),
        Input::Timer => {}
    }
    state.advance();
    std::mem::take(&mut state.effects)
}

/// When [`step`] wants to be called at the latest, milliseconds since the epoch.
pub fn next_wake(state: &State) -> Option<u64> {
    let run = state.run.as_ref().map(|run| wake_ms(run.at));
    let start = state.start_at.filter(|_| state.run.is_none());
    let later = state.later.keys().next().map(|(at, _)| *at);
    [run, start, later].into_iter().flatten().min()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds since the epoch, rounded up")]
fn wake_ms(at: f64) -> u64 {
    at.ceil().max(0.0) as u64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scenario seconds, checked when read")]
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0).max(0.0) as u64
}

impl State {
    /// A server that has just come up, with these files in its folders.
    pub fn new(options: &Options, files: Files, now_ms: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(options.seed);
        let salt = rng.u64(..);
        let temp_tag = std::iter::repeat_with(|| rng.lowercase()).take(5).collect();
        let mut state = Self {
            dialect: options.dialect,
            scale_ms: options.render_seconds.max(0.0) / WARM_SECONDS * 1000.0,
            previews: options.previews,
            rng,
            salt,
            temp_tag,
            now: now_ms,
            files,
            sockets: BTreeMap::new(),
            names: BTreeMap::new(),
            queue: Queue::default(),
            run: None,
            running: None,
            start_at: None,
            history: History::default(),
            number: 0,
            cache: HashMap::new(),
            warm: HashSet::new(),
            listening: None,
            last_node: None,
            free_models: false,
            free_memory: false,
            vram: Vram::new(options.vram_total),
            armed: Armed::new(&options.scenario),
            posts: 0,
            accepted: 0,
            later: BTreeMap::new(),
            disorder_ms: 0,
            sequence: 0,
            effects: Vec::new(),
        };
        let timed: Vec<(f64, Action)> = state.armed.timed().map(|(at, action)| (at, action.clone())).collect();
        for (at, action) in timed {
            state.after_ms(millis(at), Later::Strike(action));
        }
        state
    }

    /// Does what is due.
    fn advance(&mut self) {
        loop {
            let late = self.later.first_key_value().map(|(key, _)| *key).filter(|(at, _)| *at <= self.now);
            if let Some(later) = late.and_then(|key| self.later.remove(&key)) {
                match later {
                    Later::Effect(effect) => self.effects.push(effect),
                    Later::Handle { id, request } => self.handle(id, request, &answer::Twist::default()),
                    Later::History(entry) => self.history.insert(*entry),
                    Later::Strike(action) => self.disturb(&action),
                    Later::TwinLeaves(ids) => self.names.retain(|sid, _| !ids.contains(sid)),
                }
            } else if let Some(run) = self.run.take_if(|run| run.at <= float(self.now)) {
                self.turn(run);
            } else if self.run.is_none() && self.start_at.take_if(|at| *at <= self.now).is_some() {
                self.begin();
            } else {
                return;
            }
        }
    }

    // ---- sockets

    fn opened(&mut self, socket: SocketId, client_id: Option<String>) {
        let sid = client_id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("{:032x}", self.rng.u128(..)));
        self.names.insert(sid.clone(), socket);
        self.sockets.insert(socket, Socket { sid: sid.clone(), metadata: false, spoken: false });
        let status = json!({"status": {"exec_info": {"queue_remaining": self.remaining()}}, "sid": sid});
        self.send_one(socket, "status", &status);
        // No prompt_id, no display_node: as recorded (trap 16).
        if let Some(node) = self.last_node.clone().filter(|_| self.listening.as_ref() == Some(&sid)) {
            self.send_one(socket, "executing", &json!({"node": node}));
        }
    }

    fn heard(&mut self, socket: SocketId, text: &str) {
        let Some(entry) = self.sockets.get_mut(&socket) else { return };
        if std::mem::replace(&mut entry.spoken, true) {
            return;
        }
        let Some(message) = wire::parse(text.as_bytes()) else { return };
        if message.get("type").and_then(Value::as_str) == Some("feature_flags") {
            entry.metadata = message.pointer("/data/supports_preview_metadata") == Some(&Value::Bool(true));
            let features = self.features();
            self.send_one(socket, "feature_flags", &features);
        }
    }

    fn closed(&mut self, socket: SocketId) {
        if let Some(entry) = self.sockets.remove(&socket) {
            // The name goes, whichever socket it belongs to by now: that is how one gets deaf.
            self.names.remove(&entry.sid);
        }
    }

    pub(super) fn wants_metadata(&self, socket: SocketId) -> bool {
        self.sockets.get(&socket).is_some_and(|entry| entry.metadata)
    }

    pub(super) fn anyone_hears(&self, to: &To) -> bool {
        match to {
            To::Everyone => !self.names.is_empty(),
            To::Client(client) => self.names.contains_key(client),
        }
    }

    pub(super) fn send(&mut self, to: &To, kind: &str, data: &Value) {
        if !self.anyone_hears(to) {
            return;
        }
        let text: Arc<str> = message(kind, data).into();
        let sockets = match to {
            To::Everyone => self.names.values().copied().collect(),
            To::Client(client) => self.names.get(client).copied().into_iter().collect::<Vec<_>>(),
        };
        for socket in sockets {
            self.tell(socket, text.clone());
        }
    }

    fn tell(&mut self, socket: SocketId, text: Arc<str>) {
        let effect = Effect::Text { socket, text };
        if self.disorder_ms == 0 {
            self.effects.push(effect);
        } else {
            let late = self.rng.u64(0..self.disorder_ms);
            self.after_ms(late, Later::Effect(effect));
        }
    }

    fn send_one(&mut self, socket: SocketId, kind: &str, data: &Value) {
        self.effects.push(Effect::Text { socket, text: message(kind, data).into() });
    }

    pub(super) fn send_binary(&mut self, socket: SocketId, bytes: Bytes) {
        self.effects.push(Effect::Binary { socket, bytes });
    }

    fn remaining(&self) -> usize {
        self.queue.len() + usize::from(self.running.is_some())
    }

    /// The count, to everybody.
    pub(super) fn status(&mut self) {
        let data = json!({"status": {"exec_info": {"queue_remaining": self.remaining()}}});
        self.send(&To::Everyone, "status", &data);
    }

    fn features(&self) -> Value {
        match self.dialect {
            Dialect::V0_3_64 => json!({"supports_preview_metadata": true, "max_upload_size": 104_857_600}),
            Dialect::V0_33_0 => json!({
                "supports_preview_metadata": true, "supports_model_type_tags": true, "max_upload_size": 104_857_600,
                "extension": {"manager": {"supports_v4": true}}, "node_replacements": true, "assets": false,
            }),
        }
    }

    // ---- what is remembered and told aside

    pub(super) fn log(&mut self, event: &str, id: &str, more: Value) {
        let mut line = json!({"t": self.now, "event": event, "prompt_id": id});
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        self.effects.push(Effect::Log(line));
    }

    pub(super) fn store(&mut self, folder: Folder, path: String, bytes: Bytes) {
        let stored = self.files.insert(folder, path, bytes);
        self.effects.push(Effect::Store(stored));
    }

    pub(super) fn after_ms(&mut self, ms: u64, later: Later) {
        self.sequence += 1;
        self.later.insert((self.now + ms, self.sequence), later);
    }

    /// `/free` is obeyed between jobs.
    pub(super) fn free_now(&mut self) {
        if std::mem::take(&mut self.free_memory) {
            self.cache.clear();
        }
        if std::mem::take(&mut self.free_models) {
            self.vram.unload();
            self.warm.clear();
        }
    }

    // ---- faults

    /// The faults that need no request and no node.
    pub(super) fn disturb(&mut self, action: &Action) {
        match action {
            Action::DropSockets => {
                self.names.clear();
                let sockets: Vec<SocketId> = std::mem::take(&mut self.sockets).into_keys().collect();
                self.effects.extend(sockets.into_iter().map(|socket| Effect::Close { socket }));
            }
            Action::Deaf => self.names.clear(),
            Action::HalfOpen => {
                self.names.clear();
                let sockets: Vec<SocketId> = std::mem::take(&mut self.sockets).into_keys().collect();
                self.effects.extend(sockets.into_iter().map(|socket| Effect::Freeze { socket }));
            }
            Action::Twin(seconds) => {
                let ids: Vec<String> = self.names.keys().cloned().collect();
                // No socket of ours has this number.
                self.names.values_mut().for_each(|socket| *socket = SocketId::MAX);
                self.after_ms(millis(*seconds), Later::TwinLeaves(ids));
            }
            Action::TruncatedMessage => self.tell_everybody(r#"{"type": "progress", "data": {"value": 1, "ma"#),
            Action::Stray => {
                let id = self.fresh_id();
                for text in [
                    json!({"type": "execution_start", "data": {"prompt_id": id, "timestamp": self.now}}),
                    json!({"type": "executing", "data": {"node": "1", "display_node": "1", "prompt_id": id}}),
                    json!({"type": "execution_success", "data": {"prompt_id": id, "timestamp": self.now}}),
                    json!({"type": "executing", "data": {"node": null, "prompt_id": id}}),
                ] {
                    self.tell_everybody(&wire::to_text(&text));
                }
            }
            Action::Nan => {
                self.tell_everybody(
                    r#"{"type": "progress", "data": {"value": NaN, "max": NaN, "prompt_id": "x", "node": "1"}}"#,
                );
                self.foreign(0, wire::parse(b"NaN"));
            }
            Action::Disorder(ms) => self.disorder_ms = *ms,
            Action::Crash(seconds) => self.crash(*seconds),
            Action::Foreign(jobs) => (0..*jobs).for_each(|nth| self.foreign(nth, None)),
            _ => {}
        }
    }

    fn tell_everybody(&mut self, text: &str) {
        let text: Arc<str> = text.into();
        let sockets: Vec<SocketId> = self.names.values().copied().collect();
        self.effects.extend(sockets.into_iter().map(|socket| Effect::Text { socket, text: text.clone() }));
    }

    /// A stranger's picture, with something odd in it perhaps.
    fn foreign(&mut self, nth: u32, odd: Option<Value>) {
        let seed = self.rng.u64(..1 << 32);
        let mut prompt = prompts::picture(seed);
        if let (Some(odd), Some(inputs)) = (odd, prompt.get_mut("15").and_then(|node| node.get_mut("inputs"))) {
            inputs["odd"] = odd;
        }
        let extra = if nth.is_multiple_of(2) { json!({"client_id": "a-stranger"}) } else { json!({}) };
        let number = json!(self.number);
        self.number += 1;
        let id = self.fresh_id();
        let job = Job {
            id,
            number,
            prompt,
            extra,
            outputs: vec!["18".to_owned()],
            created: self.now,
            post: 0,
            nth: 0,
            habits: Habits::default(),
        };
        self.enqueue(job);
    }

    /// Everything a process holds in memory is gone (trap 33).
    pub(super) fn crash(&mut self, seconds: f64) {
        self.log("crashed", "", json!({"running": self.running.as_ref().map(|job| job.id.clone())}));
        self.files.clear_temp();
        self.sockets.clear();
        self.names.clear();
        self.queue.clear();
        self.run = None;
        self.running = None;
        self.start_at = None;
        self.history.clear();
        self.number = 0;
        self.cache.clear();
        self.warm.clear();
        self.listening = None;
        self.last_node = None;
        self.vram.unload();
        // What the clock has in store is of the scenario, not of the process.
        self.later.retain(|_, later| matches!(later, Later::Strike(_)));
        self.effects.push(Effect::Crash { seconds });
    }
}

fn message(kind: &str, data: &Value) -> String {
    format!("{{\"type\": \"{kind}\", \"data\": {}}}", wire::to_text(data))
}

#[cfg(test)]
mod tests;
