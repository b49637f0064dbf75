//! A simulated ComfyUI in virtual time: the simulator's core, its files, which survive it, and its connections.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use comfytop::sim::files::{Files, Folder};
use comfytop::sim::scenario::{Action, Fault, NodeError, Trigger};
use comfytop::sim::{Dialect, Effect, Input, Options, Request, Response, Scenario, State, step};
use fastrand::Rng;
use serde_json::Value;

use super::chance::Chances;

/// What a server says to the outside.
#[derive(Debug)]
pub enum Said {
    Answer { id: u64, answer: Option<Response> },
    Message { socket: u64, text: String },
    Log(Value),
}

#[derive(Debug)]
pub struct Server {
    /// `None` while it is dead.
    state: Option<State>,
    options: Options,
    /// Survives: input and output files.
    pub files: BTreeMap<String, Bytes>,
    /// Requests that wait for their answer: our number, whose life, their number.
    waiting: HashMap<u64, (u64, u64)>,
    pub sockets: BTreeSet<u64>,
    /// How often it was started.
    pub incarnation: u64,
    next: u64,
    /// Nothing gets through to it until then.
    pub cut_off_until: u64,
}

fn fault(nth: u64, action: Action) -> Fault {
    Fault { on: Trigger { prompt: Some(nth), ..Trigger::default() }, skip: 0, times: 1, action }
}

/// What will be odd about the prompts of one life of a server.
fn scenario(chances: &Chances, rng: &mut Rng) -> Scenario {
    let mut faults = Vec::new();
    for nth in 1..40 {
        let late = rng.u64(500..90_000);
        for (chance, action) in [
            (chances.history_late, Action::HistoryLate(late)),
            (chances.history_missing, Action::HistoryMissing),
            (chances.end_silent, Action::EndNeverSent),
        ] {
            if rng.f64() < chance {
                faults.push(fault(nth, action));
            }
        }
        if rng.f64() < chances.node_error {
            let thrown = NodeError { kind: "RuntimeError".to_owned(), message: "drawn by lot".to_owned() };
            let action = if rng.bool() { Action::Oom } else { Action::NodeError(thrown) };
            let mut thrown = fault(nth, action);
            thrown.on.node = Some("VAEDecode".to_owned());
            faults.push(thrown);
        }
    }
    Scenario { faults }
}

impl Server {
    pub fn new(rng: &mut Rng) -> Self {
        let options = Options {
            dialect: if rng.bool() { Dialect::V0_33_0 } else { Dialect::V0_3_64 },
            // A warm picture takes a sixtieth of this.
            render_seconds: if rng.u8(..) < 20 { 0.0 } else { 30.0 + rng.f64() * 3000.0 },
            previews: false,
            ..Options::default()
        };
        Self {
            state: None,
            options,
            files: BTreeMap::new(),
            waiting: HashMap::new(),
            sockets: BTreeSet::new(),
            incarnation: 0,
            next: 0,
            cut_off_until: 0,
        }
    }

    pub fn is_alive(&self) -> bool {
        self.state.is_some()
    }

    pub fn start(&mut self, chances: &Chances, rng: &mut Rng, now: u64) {
        let mut files = Files::default();
        for (path, bytes) in &self.files {
            files.insert(Folder::Output, path.clone(), bytes.clone());
        }
        self.incarnation += 1;
        let options = Options { scenario: scenario(chances, rng), seed: rng.u64(..), ..self.options.clone() };
        self.state = Some(State::new(&options, files, now));
    }

    /// Dies; whose requests are cut off, and which sockets.
    pub fn kill(&mut self) -> (Vec<(u64, u64)>, Vec<u64>) {
        self.state = None;
        let mut waiting: Vec<_> = std::mem::take(&mut self.waiting).into_values().collect();
        waiting.sort_unstable();
        (waiting, std::mem::take(&mut self.sockets).into_iter().collect())
    }

    pub fn next_wake(&self) -> Option<u64> {
        comfytop::sim::next_wake(self.state.as_ref()?)
    }

    /// A request of an engine's life, or of somebody who waits for no answer.
    pub fn ask(&mut self, from: Option<(u64, u64)>, request: Request, now: u64) -> Vec<Said> {
        self.next += 1;
        let id = self.next;
        if let Some(from) = from {
            self.waiting.insert(id, from);
        }
        self.step(Input::Request { id, request }, now)
    }

    /// Whose request this was.
    pub fn asker(&mut self, id: u64) -> Option<(u64, u64)> {
        self.waiting.remove(&id)
    }

    pub fn open(&mut self, socket: u64, client_id: &str, now: u64) -> Vec<Said> {
        self.sockets.insert(socket);
        self.step(Input::SocketOpened { socket, client_id: Some(client_id.to_owned()) }, now)
    }

    pub fn close(&mut self, socket: u64, now: u64) -> Vec<Said> {
        if self.sockets.remove(&socket) { self.step(Input::SocketClosed { socket }, now) } else { Vec::new() }
    }

    pub fn wake(&mut self, now: u64) -> Vec<Said> {
        self.step(Input::Timer, now)
    }

    fn step(&mut self, input: Input, now: u64) -> Vec<Said> {
        let Some(state) = &mut self.state else { return Vec::new() };
        let mut said = Vec::new();
        for effect in step(state, input, now) {
            match effect {
                Effect::Reply { id, response } => said.push(Said::Answer { id, answer: Some(response) }),
                Effect::Hangup { id } => said.push(Said::Answer { id, answer: None }),
                Effect::Text { socket, text } => said.push(Said::Message { socket, text: text.to_string() }),
                Effect::Store(stored) if stored.folder == Folder::Output => {
                    self.files.insert(stored.path, stored.bytes);
                }
                Effect::Log(line) => said.push(Said::Log(line)),
                // Our scenarios cut and crash nothing: the world does.
                Effect::Store(_)
                | Effect::Binary { .. }
                | Effect::Close { .. }
                | Effect::Freeze { .. }
                | Effect::Crash { .. } => {}
            }
        }
        said
    }
}
