//! One thread, one clock: servers, an engine, the network between them, people, and what goes wrong, all in the order
//! of virtual time. The same seed gives the same run.

use std::cell::RefCell;
use std::collections::BTreeMap;

use comfytop::engine::core::{Heard, Input};
use comfytop::job::{Job, JobId, JobState};
use comfytop::protocol::Request as Ask;
use comfytop::sim::{Body, Request, Response, prompts};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::chance::Chances;
use super::disk::{Disk, Dropped};
use super::engine::Engine;
use super::errands::{self, Answer, Trouble};
use super::oracle::{Oracle, Story};
use super::server::{Said, Server};

/// Faults strike for so long, milliseconds.
const NIGHT: u64 = 20 * 60_000;
/// After that everything must have ended within so much more.
const MORNING: u64 = 12 * 3_600_000;
/// The client's patience with one request.
const PATIENCE: u64 = 30_000;
/// A request whose sender has given up arrives no later than so long after: less than `post_grace`.
const STRAY: u64 = 8_000;
/// Events in one run, at most: more means that somebody runs in circles.
const MOST: u64 = 400_000;
const EPOCH_MS: i64 = 1_790_000_000_000;

#[derive(Debug)]
pub enum Event {
    /// A request reaches its server.
    Arrive {
        life: u64,
        id: u64,
        server: usize,
        request: Request,
    },
    /// A handshake does.
    Open {
        life: u64,
        id: u64,
        server: usize,
    },
    Answer {
        life: u64,
        id: u64,
        answer: Answer,
    },
    /// The sender's patience is at an end.
    Expire {
        life: u64,
        id: u64,
    },
    Nap {
        life: u64,
        id: u64,
    },
    Message {
        life: u64,
        server: usize,
        socket: u64,
        text: String,
    },
    /// The engine hears that its socket is over.
    SocketEnd {
        life: u64,
        server: usize,
        socket: u64,
    },
    /// The server hears that.
    Closed {
        server: usize,
        socket: u64,
    },
    Ping {
        life: u64,
        server: usize,
        socket: u64,
    },
    /// The answer to a ping that the core asked for.
    Pong {
        life: u64,
        server: usize,
        socket: u64,
        token: u64,
    },
    Dial {
        life: u64,
        server: usize,
        dial: u64,
    },
    Count {
        life: u64,
        server: usize,
    },
    Measured {
        life: u64,
        job: JobId,
    },
    Offer {
        life: u64,
        name: String,
    },
    TryToWrite {
        life: u64,
    },
    FinishWhatWaits {
        life: u64,
    },
    EngineUp,
    ServerUp {
        server: usize,
    },
    Drop {
        name: String,
        dropped: Dropped,
    },
    Havoc(Havoc),
    Calm,
}

/// What is drawn beforehand, and strikes once.
#[derive(Debug, Clone, Copy)]
pub enum Havoc {
    KillEngine,
    KillServer,
    KillBoth,
    CutSockets,
    Deaf,
    Twin,
    TwinLeaves(usize, u64),
    Partition,
    Stranger,
    Meddle,
    Cancel,
    Hold,
    Release,
    Pause,
    Resume,
    Move,
    Requeue,
    Stop,
    Reconnect,
    ClockJump,
    Sleep,
    DiskFull,
}

pub struct World {
    pub rng: fastrand::Rng,
    pub chances: Chances,
    /// Milliseconds since the beginning; the servers' clocks are right.
    pub now: u64,
    /// How wrong the engine's clock is.
    skew: i64,
    /// The engine's machine sleeps until then.
    asleep_until: u64,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub servers: Vec<Server>,
    pub disk: Disk,
    pub engine: Option<Engine>,
    pub lives: u64,
    /// Requests that somebody waits for, and their servers.
    pub inflight: BTreeMap<u64, usize>,
    pub oracle: Oracle,
    /// Every job as it was taken.
    pub taken: BTreeMap<JobId, Job>,
    pub flushes: bool,
    /// As in the settings of each server.
    pub in_flight: u32,
    next_socket: u64,
    /// What happened, line by line, where somebody wants to read it.
    story: Option<RefCell<Vec<String>>>,
}

impl World {
    /// Runs one night; what was wrong about it, and its story if that is wanted.
    pub fn run(seed: u64, tame: bool, tells: bool) -> (Vec<String>, Vec<String>) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let chances = Chances::draw(&mut rng, tame);
        let servers = if rng.u8(..) < 80 { 2 } else { 1 };
        let in_flight = chances.in_flight;
        let mut world = Self {
            servers: (0..servers).map(|_| Server::new(&mut rng)).collect(),
            rng,
            chances,
            now: 0,
            skew: 0,
            asleep_until: 0,
            events: BTreeMap::new(),
            sequence: 0,
            disk: Disk::new(),
            engine: None,
            lives: 0,
            inflight: BTreeMap::new(),
            oracle: Oracle::new(servers == 1),
            taken: BTreeMap::new(),
            flushes: false,
            in_flight,
            next_socket: 0,
            story: tells.then(RefCell::default),
        };
        world.prepare();
        world.live();
        world.judge();
        (world.oracle.wrongs, world.story.map(RefCell::into_inner).unwrap_or_default())
    }

    pub fn tell(&self, what: impl FnOnce() -> String) {
        if let Some(story) = &self.story {
            story.borrow_mut().push(format!("{:>9} {}", self.now, what()));
        }
    }

    /// What the engine's clock shows.
    pub fn wall(&self) -> Timestamp {
        let now = EPOCH_MS + i64::try_from(self.now).expect("a night") + self.skew;
        Timestamp::from_millisecond(now).expect("in our time")
    }

    pub fn at(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), event);
    }

    fn latency(&mut self) -> u64 {
        if self.rng.u8(..) < 10 { self.rng.u64(100..3000) } else { self.rng.u64(1..60) }
    }

    fn strikes(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.rng.f64() < chance
    }

    // ---- the course of the night

    fn prepare(&mut self) {
        for server in 0..self.servers.len() {
            let after = self.rng.u64(0..5000);
            self.at(after, Event::ServerUp { server });
        }
        let after = self.rng.u64(0..5000);
        self.at(after, Event::EngineUp);
        let mut jobs = 0;
        for file in 0..self.rng.u64(2..8) {
            let names: Vec<_> = (0..self.rng.u64(1..4)).map(|n| format!("picture {} of the night", jobs + n)).collect();
            jobs += names.len() as u64;
            let priority = if self.rng.u8(..) < 40 { self.rng.i64(-1..3) } else { 0 };
            let dropped = Dropped { jobs: names, priority, held: self.rng.u8(..) < 20 };
            let after = self.rng.u64(0..NIGHT / 2);
            self.at(after, Event::Drop { name: format!("{file}.json"), dropped });
        }
        let c = self.chances.clone();
        let plan = [
            (Havoc::KillEngine, c.engine_kills),
            (Havoc::KillServer, c.server_kills),
            (Havoc::KillBoth, c.both_kills),
            (Havoc::CutSockets, c.socket_cuts),
            (Havoc::Deaf, c.deaf),
            (Havoc::Twin, c.twins),
            (Havoc::Partition, c.partitions),
            (Havoc::Stranger, c.strangers),
            (Havoc::Meddle, c.meddling),
            (Havoc::Cancel, c.cancels),
            (Havoc::Hold, c.holds),
            (Havoc::Release, c.holds),
            (Havoc::Pause, c.pauses),
            (Havoc::Resume, c.pauses),
            (Havoc::Move, c.moves),
            (Havoc::Requeue, c.requeues),
            (Havoc::Stop, c.stops),
            (Havoc::Reconnect, c.reconnects),
            (Havoc::ClockJump, c.clock_jumps),
            (Havoc::Sleep, c.sleeps),
            (Havoc::DiskFull, c.disk_fulls),
        ];
        for (havoc, times) in plan {
            for _ in 0..times {
                let after = self.rng.u64(0..NIGHT);
                self.at(after, Event::Havoc(havoc));
            }
        }
        self.at(NIGHT, Event::Calm);
    }

    fn live(&mut self) {
        for _ in 0..MOST {
            if self.now > NIGHT && self.is_over() {
                return;
            }
            if self.now > NIGHT + MORNING {
                self.stuck("it is morning");
                return;
            }
            self.turn();
        }
        self.stuck("it runs in circles");
    }

    fn is_over(&self) -> bool {
        let idle = self.engine.as_ref().is_some_and(|engine| {
            let ended = |job: &JobId| engine.state.job(*job).is_some_and(|job| job.state.is_ended());
            self.taken.keys().all(ended)
        });
        idle && self.disk.inbox.is_empty() && self.disk.queued.is_empty() && self.oracle.is_quiet()
    }

    fn stuck(&mut self, why: &str) {
        let mut left = Vec::new();
        if let Some(engine) = &self.engine {
            let jobs = self.taken.values().filter_map(|job| engine.state.job(job.id));
            left.extend(jobs.filter(|j| !j.state.is_ended()).map(|j| format!("{} {}", j.name, j.state.word())));
        }
        let (inbox, queued) = (&self.disk.inbox.len(), &self.disk.queued);
        self.oracle.wrong(format!("stuck, {why}: {left:?}; {inbox} in the inbox, {queued:?} in queued/"));
    }

    fn judge(&mut self) {
        self.compare();
        for wrong in self.disk.replay(&self.taken) {
            self.oracle.wrong(wrong);
        }
        self.oracle.judge(&self.disk.outcomes(), &self.disk.rendered());
    }

    /// The next thing that happens, whatever it is.
    fn turn(&mut self) {
        let event = self.events.keys().next().copied();
        let server =
            (0..self.servers.len()).filter_map(|n| Some((self.servers[n].next_wake()?.max(self.now), n))).min();
        let tick = self.engine.as_ref().and_then(|engine| engine.state.next_wake()).map(|at| {
            let at = at.as_millisecond() - EPOCH_MS - self.skew;
            // A timer never comes early: what is less than a millisecond is rounded up.
            u64::try_from(at + 1).unwrap_or(0).max(self.now).max(self.asleep_until)
        });
        let first = [event.map(|(at, _)| at), server.map(|(at, _)| at), tick].into_iter().flatten().min();
        let Some(first) = first else {
            self.now = NIGHT + MORNING + 1;
            return;
        };
        self.now = self.now.max(first);
        if let Some((_, n)) = server.filter(|(at, _)| *at == first) {
            let said = self.servers[n].wake(self.now);
            self.said(n, said);
        } else if let Some(key) = event.filter(|(at, _)| *at == first) {
            if let Some(event) = self.events.remove(&key) {
                self.happen(event);
            }
        } else {
            self.step(Input::Tick);
        }
    }

    fn is_life(&self, life: u64) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.life == life)
    }

    /// While its machine sleeps the engine hears nothing: what comes waits, or is lost.
    fn sleeps_through(&mut self, event: Event) -> Option<Event> {
        let wait = self.asleep_until.saturating_sub(self.now);
        if wait == 0 {
            return Some(event);
        }
        match event {
            Event::Message { .. } => {}
            Event::SocketEnd { life, server, socket } => {
                if self.rng.bool() {
                    self.at(wait, Event::SocketEnd { life, server, socket });
                } else if let Some(conn) = self.engine.as_mut().and_then(|e| e.conns.get_mut(server)) {
                    conn.half_open = true;
                }
            }
            Event::Answer { life, id, answer } => {
                let answer = if self.rng.bool() { answer } else { Err(Trouble::Cut) };
                self.at(wait, Event::Answer { life, id, answer });
            }
            Event::Expire { .. }
            | Event::Nap { .. }
            | Event::Ping { .. }
            | Event::Pong { .. }
            | Event::Dial { .. }
            | Event::Count { .. }
            | Event::Measured { .. }
            | Event::Offer { .. }
            | Event::TryToWrite { .. }
            | Event::FinishWhatWaits { .. }
            | Event::EngineUp
            | Event::Havoc(
                Havoc::KillEngine
                | Havoc::KillBoth
                | Havoc::Cancel
                | Havoc::Hold
                | Havoc::Release
                | Havoc::Pause
                | Havoc::Resume
                | Havoc::Move
                | Havoc::Requeue
                | Havoc::Stop
                | Havoc::Reconnect
                | Havoc::ClockJump
                | Havoc::Sleep,
            )
            | Event::Calm => self.at(wait, event),
            other => return Some(other),
        }
        None
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.sleeps_through(event) else { return };
        match event {
            Event::Arrive { life, id, server, request } => self.arrive(life, id, server, request),
            Event::Open { life, id, server } => self.open(life, id, server),
            Event::Answer { life, id, answer } => {
                if self.is_life(life) && self.inflight.remove(&id).is_some() {
                    self.answered(id, answer);
                }
            }
            Event::Expire { life, id } => {
                if self.is_life(life) && self.inflight.remove(&id).is_some() {
                    self.answered(id, Err(Trouble::TimedOut));
                }
            }
            Event::Nap { life, id } => {
                if let Some(engine) = self.engine.as_ref().filter(|engine| engine.life == life) {
                    engine.mail.borrow_mut().awake.insert(id);
                    self.poll();
                }
            }
            Event::Message { life, server, socket, text } => self.message(life, server, socket, text),
            Event::SocketEnd { life, server, socket } => {
                if self.is_life(life) && self.socket_of(server) == Some(socket) {
                    let listens = self.engine.as_ref().is_some_and(|engine| engine.conns[server].listens);
                    if listens {
                        self.lost(server, "the websocket broke");
                    } else if let Some(engine) = &mut self.engine {
                        engine.conns[server].socket = None;
                    }
                }
            }
            Event::Closed { server, socket } => {
                let said = self.servers[server].close(socket, self.now);
                self.said(server, said);
            }
            Event::Ping { life, server, socket } => self.ping(life, server, socket),
            Event::Pong { life, server, socket, token } => {
                if self.is_life(life) && self.socket_of(server) == Some(socket) {
                    self.step(Input::Heard { server, heard: Heard::Pong { token } });
                }
            }
            Event::Dial { life, server, dial } => {
                let current = |engine: &Engine| engine.life == life && engine.conns[server].dial == dial;
                if self.engine.as_ref().is_some_and(current) {
                    self.dial(server);
                }
            }
            Event::Count { life, server } => {
                let busy = |engine: &Engine| engine.life == life && engine.conns[server].listens;
                if self.engine.as_ref().is_some_and(busy) {
                    if self.engine.as_ref().is_some_and(|engine| engine.state.is_busy(server)) {
                        self.begin(server, errands::count);
                    }
                    self.at(5000, Event::Count { life, server });
                }
            }
            Event::Measured { life, job } => {
                if self.is_life(life) {
                    self.measured(job);
                }
            }
            Event::Offer { life, name } => {
                if self.is_life(life) {
                    self.offer(&name);
                }
            }
            Event::TryToWrite { life } => {
                if self.is_life(life) {
                    self.try_to_write();
                }
            }
            Event::FinishWhatWaits { life } => {
                if self.is_life(life) {
                    self.finish_what_waits();
                }
            }
            Event::EngineUp => self.start_engine(),
            Event::ServerUp { server } => {
                if !self.servers[server].is_alive() {
                    self.tell(|| format!("server {server} starts"));
                    self.servers[server].start(&self.chances, &mut self.rng, self.now);
                }
            }
            Event::Drop { name, dropped } => self.drop_in(name, dropped),
            Event::Havoc(havoc) => {
                self.tell(|| format!("{havoc:?}"));
                self.havoc(havoc);
            }
            Event::Calm => self.calm(),
        }
    }

    /// A file lies in the inbox, and is offered soon.
    fn drop_in(&mut self, name: String, dropped: Dropped) {
        for job in &dropped.jobs {
            // Some are rendered until they loop.
            let tries = job.bytes().map(u32::from).sum::<u32>() % 7;
            let tries = if tries > 4 { 1 } else { tries.max(1) };
            self.oracle.stories.insert(job.clone(), Story { tries, ..Story::default() });
        }
        self.disk.inbox.insert(name.clone(), dropped);
        let after = self.rng.u64(1..1500);
        if let Some(life) = self.engine.as_ref().map(|engine| engine.life) {
            self.at(after, Event::Offer { life, name });
        }
    }

    /// The night is over: everything is up again, and nothing goes wrong any more.
    fn calm(&mut self) {
        self.tell(|| "calm".to_owned());
        self.chances = Chances::default();
        for server in 0..self.servers.len() {
            self.servers[server].cut_off_until = 0;
            self.at(1000, Event::ServerUp { server });
        }
        self.disk.full_until = 0;
        self.at(1000, Event::EngineUp);
        if let Some(engine) = &mut self.engine {
            engine.doomed = None;
            let held = |job: &&Job| engine.state.job(job.id).is_some_and(|job| matches!(job.state, JobState::Held));
            let held: Vec<JobId> = self.taken.values().filter(held).map(|job| job.id).collect();
            if !held.is_empty() {
                self.ask(Ask::Release { jobs: held });
            }
            // Whoever paused it, or whatever failed.
            self.ask(Ask::Resume { servers: Vec::new() });
            let servers = (0..self.servers.len()).map(|n| format!("s{n}")).collect();
            self.ask(Ask::Resume { servers });
        }
        // What nobody has released yet: an engine was away, or a file was taken only now.
        if !self.is_over() && self.now < NIGHT + MORNING {
            self.at(10 * 60_000, Event::Calm);
        }
    }

    // ---- the network

    pub fn send(&mut self, life: u64, id: u64, server: usize, request: Request) {
        self.inflight.insert(id, server);
        self.at(PATIENCE, Event::Expire { life, id });
        let (there, back) = (self.latency(), self.latency());
        let is_post = matches!(request, Request::PostPrompt(_));
        let c = self.chances.clone();
        if self.servers[server].cut_off_until > self.now {
            self.disturbed(&request);
            if self.rng.bool() {
                self.at(there, Event::Answer { life, id, answer: Err(Trouble::Refused) });
            }
        } else if self.strikes(c.refused) {
            self.at(there, Event::Answer { life, id, answer: Err(Trouble::Refused) });
        } else if self.strikes(c.request_lost) {
            self.disturbed(&request);
            if self.rng.bool() {
                self.at(there + back, Event::Answer { life, id, answer: Err(Trouble::Cut) });
            }
        } else if self.strikes(c.request_late) {
            self.disturbed(&request);
            if self.rng.bool() {
                let stray = self.rng.u64(0..STRAY);
                self.at(there, Event::Answer { life, id, answer: Err(Trouble::Cut) });
                self.at(there + stray, Event::Arrive { life, id, server, request });
            } else {
                let slow = self.rng.u64(0..PATIENCE + STRAY);
                self.at(slow, Event::Arrive { life, id, server, request });
            }
        } else if is_post && self.strikes(c.refused_500) {
            self.disturbed(&request);
            self.refused_500(&request);
            self.at(there + back, Event::Answer { life, id, answer: Ok(Response::trouble()) });
        } else {
            self.at(there, Event::Arrive { life, id, server, request });
        }
    }

    /// Who this request is about may be overtaken.
    fn disturbed(&mut self, request: &Request) {
        if let Some(story) = job_in(request).and_then(|job| self.oracle.stories.get_mut(&job)) {
            story.touched = true;
        }
    }

    fn refused_500(&mut self, request: &Request) {
        if let Some(story) = job_in(request).and_then(|job| self.oracle.stories.get_mut(&job)) {
            story.refused_500 += 1;
        }
    }

    fn arrive(&mut self, life: u64, id: u64, server: usize, mut request: Request) {
        let back = self.latency();
        if !self.servers[server].is_alive() {
            self.disturbed(&request);
            self.at(back, Event::Answer { life, id, answer: Err(Trouble::Refused) });
            return;
        }
        let is_post = matches!(request, Request::PostPrompt(_));
        let is_500 = is_post && self.strikes(self.chances.answer_500);
        let goes_astray = self.strikes(self.chances.answer_lost);
        if is_500 || goes_astray {
            self.disturbed(&request);
        }
        if is_500 {
            self.refused_500(&request);
        }
        if let Request::PostPrompt(Some(Value::Object(body))) = &mut request {
            body.remove("extra_data");
        }
        let said = self.servers[server].ask(Some((life, id)), request, self.now);
        for said in said {
            match said {
                Said::Answer { answer: Some(_), .. } if goes_astray => {
                    if self.rng.bool() {
                        self.at(back, Event::Answer { life, id, answer: Err(Trouble::Cut) });
                    }
                }
                Said::Answer { answer: Some(_), .. } if is_500 => {
                    self.at(back, Event::Answer { life, id, answer: Ok(Response::trouble()) });
                }
                other => self.said(server, vec![other]),
            }
        }
    }

    pub fn send_open(&mut self, life: u64, id: u64, server: usize) {
        self.inflight.insert(id, server);
        let there = self.latency();
        let lost = self.servers[server].cut_off_until > self.now || self.strikes(self.chances.refused);
        if lost {
            self.at(there, Event::Answer { life, id, answer: Err(Trouble::Refused) });
        } else {
            self.at(there, Event::Open { life, id, server });
        }
    }

    fn open(&mut self, life: u64, id: u64, server: usize) {
        let back = self.latency();
        if !self.servers[server].is_alive() || !self.is_life(life) {
            self.at(back, Event::Answer { life, id, answer: Err(Trouble::Refused) });
            return;
        }
        self.next_socket += 1;
        let socket = self.next_socket;
        let client_id = self.client_id(server);
        if let Some(engine) = &mut self.engine {
            let conn = &mut engine.conns[server];
            conn.socket = Some(socket);
            conn.half_open = false;
            conn.buffer.clear();
        }
        let said = self.servers[server].open(socket, &client_id, self.now);
        let answer = Ok(Response::new(101, Body::Empty));
        self.at(back, Event::Answer { life, id, answer });
        self.said(server, said);
    }

    /// What a server says is on its way.
    pub fn said(&mut self, server: usize, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Log(line) => {
                    self.tell(|| format!("server {server}: {line}"));
                    self.oracle.log(server, &line, self.now);
                }
                Said::Answer { id, answer } => {
                    if let Some((life, id)) = self.servers[server].asker(id) {
                        let back = self.latency();
                        let answer = answer.ok_or(Trouble::Cut);
                        self.at(back, Event::Answer { life, id, answer });
                    }
                }
                Said::Message { socket, text } => {
                    let c = &self.chances;
                    let (lost, doubled, late) = (c.message_lost, c.message_doubled, c.message_late);
                    if self.servers[server].cut_off_until > self.now || self.strikes(lost) {
                        continue;
                    }
                    let life = self.lives;
                    let usual = 20 + u64::from(self.rng.bool());
                    let mut copies = vec![usual];
                    if self.strikes(late) {
                        copies[0] += self.rng.u64(0..4000);
                    }
                    if self.strikes(doubled) {
                        copies.push(usual + self.rng.u64(0..4000));
                    }
                    for after in copies {
                        self.at(after, Event::Message { life, server, socket, text: text.clone() });
                    }
                }
            }
        }
    }

    fn socket_of(&self, server: usize) -> Option<u64> {
        self.engine.as_ref()?.conns.get(server)?.socket
    }

    fn message(&mut self, life: u64, server: usize, socket: u64, text: String) {
        if !self.is_life(life) || self.socket_of(server) != Some(socket) {
            return;
        }
        let now = self.now;
        let Some(conn) = self.engine.as_mut().and_then(|engine| engine.conns.get_mut(server)) else { return };
        if conn.half_open {
            return;
        }
        conn.heard_at = now;
        if conn.listens {
            self.hear(server, &text);
        } else {
            conn.buffer.push(text);
        }
    }

    /// Ten seconds of silence, and a ping; twenty without an answer, and the line is dead.
    fn ping(&mut self, life: u64, server: usize, socket: u64) {
        if !self.is_life(life) || self.socket_of(server) != Some(socket) {
            return;
        }
        let now = self.now;
        let (cut_off, there) =
            (self.servers[server].cut_off_until > now, self.servers[server].sockets.contains(&socket));
        let Some(conn) = self.engine.as_mut().and_then(|engine| engine.conns.get_mut(server)) else { return };
        let silent = now.saturating_sub(conn.heard_at);
        if there && !cut_off && !conn.half_open {
            conn.heard_at = now;
            self.at(10_000, Event::Ping { life, server, socket });
        } else if silent >= 30_000 {
            self.lost(server, "silent");
        } else {
            self.at(2000, Event::Ping { life, server, socket });
        }
    }

    /// A ping that the core asked for: only a process that lives answers it, over a line that holds.
    pub fn probe(&mut self, server: usize, token: u64) {
        let latency = self.latency();
        let Some(conn) = self.engine.as_ref().map(|engine| &engine.conns[server]) else { return };
        let (life, socket, half_open) = (self.lives, conn.socket, conn.half_open);
        let cut_off = self.servers[server].cut_off_until > self.now;
        // While it dials the order waits, and comes after the word that another link is up: it proves nothing then.
        if let Some(socket) = socket.filter(|_| conn.listens)
            && !half_open
            && !cut_off
            && self.servers[server].sockets.contains(&socket)
        {
            self.at(latency, Event::Pong { life, server, socket, token });
        }
    }

    pub fn dial(&mut self, server: usize) {
        if let Some(conn) = self.engine.as_mut().and_then(|engine| engine.conns.get_mut(server)) {
            conn.dial += 1;
            conn.is_finding = true;
        }
        self.begin(server, errands::find);
    }

    /// Closes, awaits the close, and dials; where it waits to dial, the wait is over.
    pub fn reconnect(&mut self, server: usize) {
        let Some(engine) = &mut self.engine else { return };
        let life = engine.life;
        let conn = &mut engine.conns[server];
        if conn.is_finding {
            return;
        }
        conn.listens = false;
        conn.buffer.clear();
        conn.dial += 1;
        let dial = conn.dial;
        if let Some(socket) = conn.socket.take() {
            self.at(20, Event::Closed { server, socket });
        }
        self.at(100, Event::Dial { life, server, dial });
    }

    pub fn stranger_asks(&mut self, server: usize, request: Request) {
        if self.servers[server].is_alive() {
            let said = self.servers[server].ask(None, request, self.now);
            self.said(server, said);
        }
    }

    pub fn stranger_prompt(&mut self) -> Request {
        let mut body = json!({ "prompt": prompts::picture(self.rng.u64(..1 << 40)) });
        if self.rng.bool() {
            body["client_id"] = json!("a-stranger");
        }
        Request::PostPrompt(Some(body))
    }

    pub fn new_socket(&mut self) -> u64 {
        self.next_socket += 1;
        self.next_socket
    }

    pub fn skew_clock(&mut self, ms: i64) {
        self.skew += ms;
    }

    pub fn sleep(&mut self, ms: u64) {
        self.asleep_until = self.now + ms;
    }
}

/// The job that a POST is of: the text in its graph.
fn job_in(request: &Request) -> Option<String> {
    let Request::PostPrompt(Some(body)) = request else { return None };
    Some(body.pointer("/prompt/13/inputs/text")?.as_str()?.to_owned())
}
