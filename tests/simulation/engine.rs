//! The engine's driver in virtual time: it does what the core decides, in the order in which the real one does, and
//! may be killed between any two acts.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use comfytop::comfy::Backoff;
use comfytop::engine::core::{
    About, CollectFailure, Effect, Heard, Input, OpenFile, Policy, PostResult, Remembered, ServerSeat, State,
};
use comfytop::engine::hearing;
use comfytop::job::{Change, Gate, Goal, Job, JobId, JobState, Reason, SeedWish, Shape, Vary};
use comfytop::protocol::{EngineRow, Request, Update};
use comfytop::sim::prompts;
use comfytop::store::{FileRow, NewFile, Place, Prompt, Write};
use comfytop::verdict::Measurement;
use comfytop::workflow::{InputRef, own_prefix, set_seed};
use serde_json::{Value, json};

use super::disk::Disk;
use super::errands::{self, Answer, Done, Errand, Line, Mail, Wish};
use super::world::{Event, World};

/// One server's connection.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each can be true without the others")]
pub struct Conn {
    pub has_jobs: Rc<Cell<bool>>,
    pub socket: Option<u64>,
    /// It is found, and its socket listened to.
    pub listens: bool,
    /// What the socket said before that.
    pub buffer: Vec<String>,
    /// Something came at this time; pongs count.
    pub heard_at: u64,
    /// The server's end is dead, and nobody has told us.
    pub half_open: bool,
    pub backoff: Backoff,
    /// Which wait before dialling is the latest.
    pub dial: u64,
    /// It is being dialled.
    pub is_finding: bool,
    posts: VecDeque<(JobId, String, Value)>,
    is_posting: bool,
}

/// What could not be written, and what was to be done after it.
type Unwritten = (Vec<Write>, Vec<(Effect, Option<Value>)>);

pub struct Engine {
    pub life: u64,
    pub state: State,
    pub mail: Rc<RefCell<Mail>>,
    tasks: BTreeMap<u64, Errand>,
    next_task: u64,
    pub conns: Vec<Conn>,
    measuring: VecDeque<JobId>,
    measures: bool,
    pending: Vec<Effect>,
    /// What could not be written, and what is to be done after; as in `engine/unwritten.rs`.
    unwritten: Option<Unwritten>,
    /// Files that could not be put away.
    unfinished: Vec<Effect>,
    next_job: u64,
    /// It dies after so many more points at which it may.
    pub doomed: Option<u32>,
}

/// What the next engine goes on with.
fn core(disk: &Disk, seats: usize, in_flight: u32, seed: u64, now: jiff::Timestamp) -> State {
    let remembered: Remembered = comfytop::engine::remember(&disk.store).expect("readable");
    let seat = |n| ServerSeat { name: format!("s{n}"), url: format!("s{n}"), in_flight };
    let seats = (0..seats).map(seat).collect();
    State::new(Policy::default(), EngineRow::default(), seats, remembered, seed, now)
}

impl World {
    pub fn start_engine(&mut self) {
        if self.engine.is_some() {
            return;
        }
        self.lives += 1;
        self.tell(|| "the engine starts".to_owned());
        let (now, seed) = (self.wall(), self.rng.u64(..));
        let state = core(&self.disk, self.servers.len(), self.in_flight, seed, now);
        for job in self.disk.store.jobs().expect("readable") {
            if state.job(job.id) != Some(&job) {
                self.oracle.wrong(format!("{} was not remembered as it is in the store", job.id));
            }
        }
        let conn = |_: &_| Conn {
            has_jobs: Rc::new(Cell::new(false)),
            socket: None,
            listens: false,
            buffer: Vec::new(),
            heard_at: 0,
            half_open: false,
            backoff: Backoff::default(),
            dial: 0,
            is_finding: false,
            posts: VecDeque::new(),
            is_posting: false,
        };
        self.engine = Some(Engine {
            life: self.lives,
            state,
            mail: Rc::default(),
            tasks: BTreeMap::new(),
            next_task: 0,
            conns: self.servers.iter().map(conn).collect(),
            measuring: VecDeque::new(),
            measures: false,
            pending: Vec::new(),
            unwritten: None,
            unfinished: Vec::new(),
            next_job: self.disk.store.next_job().expect("readable"),
            doomed: None,
        });
        self.reconcile();
        if self.engine.is_none() {
            // It can't set right what the last one left: it is started again when there may be room.
            return self.at(5000, Event::EngineUp);
        }
        let now = self.wall();
        if let Some(engine) = &mut self.engine {
            let effects = engine.state.recover(now);
            engine.pending.extend(effects);
        }
        self.flush();
        for server in 0..self.servers.len() {
            self.dial(server);
        }
        let names: Vec<_> = self.disk.inbox.keys().cloned().collect();
        for name in names {
            self.offer(&name);
        }
    }

    /// As `Driver::reconcile_files`: rows in `taking` and the folders are made to agree.
    fn reconcile(&mut self) {
        for file in self.disk.store.open_files().expect("readable") {
            if file.place != Place::Taking {
                continue;
            }
            let Some(engine) = &mut self.engine else { return };
            if self.disk.queued.contains_key(&file.id) || self.disk.finished.contains_key(&file.id) {
                engine.pending.push(Effect::Write(Write::FilePlace { file: file.id, place: Place::Queued }));
            } else if self.now < self.disk.full_until {
                self.engine = None;
                return;
            } else {
                let jobs = engine.state.jobs_of_file(file.id);
                self.disk.store.untake(&[(file.id, jobs.clone())]).expect("written");
                engine.state.forget(file.id, &jobs);
                self.taken.retain(|id, _| !jobs.contains(id));
            }
        }
    }

    /// The engine may die here. True if it did.
    fn point(&mut self) -> bool {
        let Some(engine) = &mut self.engine else { return true };
        match &mut engine.doomed {
            Some(0) => {
                self.kill_engine();
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Memory and store say the same whenever nothing is left to write.
    pub fn compare(&mut self) {
        let Some(engine) =
            self.engine.as_ref().filter(|engine| engine.pending.is_empty() && engine.unwritten.is_none())
        else {
            return;
        };
        for job in self.disk.store.jobs().expect("readable") {
            if engine.state.job(job.id) != Some(&job) {
                let memory = engine.state.job(job.id).map(|job| job.state.clone());
                self.oracle.wrong(format!("{} is {:?} in the store, and {memory:?} in memory", job.id, job.state));
            }
        }
    }

    pub fn kill_engine(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        self.tell(|| "the engine dies".to_owned());
        self.in_doubt(&engine);
        self.hang_up(&engine);
        let rest = self.rng.u64(50..40_000);
        self.at(rest, Event::EngineUp);
    }

    /// What was decided and may not have arrived, or was being taken back, can be overtaken.
    fn in_doubt(&mut self, engine: &Engine) {
        for job in self.taken.values() {
            if let Some(now) = engine.state.job(job.id)
                && matches!(now.state, JobState::Submitting)
                && let Some(story) = self.oracle.stories.get_mut(&job.name)
            {
                story.touched = true;
            }
        }
    }

    /// Its sockets end at the servers a moment later.
    fn hang_up(&mut self, engine: &Engine) {
        for (server, conn) in engine.conns.iter().enumerate() {
            if let Some(socket) = conn.socket {
                let after = self.rng.u64(1..200);
                self.at(after, Event::Closed { server, socket });
            }
        }
        self.inflight.clear();
    }

    // ---- errands

    fn line(&self, server: usize) -> Option<Line> {
        let engine = self.engine.as_ref()?;
        Some(Line { server, mail: Rc::clone(&engine.mail), has_jobs: Rc::clone(&engine.conns[server].has_jobs) })
    }

    pub fn begin<F: Future<Output = Done> + 'static>(&mut self, server: usize, errand: impl FnOnce(Line) -> F) {
        let Some(line) = self.line(server) else { return };
        let Some(engine) = &mut self.engine else { return };
        engine.next_task += 1;
        engine.tasks.insert(engine.next_task, Box::pin(errand(line)));
        self.poll();
    }

    /// Lets the errands go on as far as they can.
    pub fn poll(&mut self) {
        loop {
            let Some(engine) = &mut self.engine else { return };
            let life = engine.life;
            let mut ended = Vec::new();
            engine.tasks.retain(|_, task| match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(done) => {
                    ended.push(done);
                    false
                }
                Poll::Pending => true,
            });
            let wishes = std::mem::take(&mut engine.mail.borrow_mut().wishes);
            for (id, server, wish) in wishes {
                match wish {
                    Wish::Nap(ms) => self.at(ms, Event::Nap { life, id }),
                    Wish::Open => self.send_open(life, id, server),
                    Wish::Ask(request) => self.send(life, id, server, request),
                }
            }
            if ended.is_empty() {
                return;
            }
            for done in ended {
                self.done(done);
            }
        }
    }

    pub fn answered(&mut self, id: u64, answer: Answer) {
        if let Some(engine) = &mut self.engine {
            engine.mail.borrow_mut().answers.insert(id, answer);
        }
        self.poll();
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Input(input) => self.step(input),
            Done::Found { server, found } => self.found(server, found),
            Done::Posted { server, job, prompt_id, result } => self.posted(server, job, prompt_id, result),
            Done::Collected { job, prompt_id, result: Ok(_), .. } if self.is_full() => {
                let result = Err(CollectFailure::Later("the disk is full".to_owned()));
                self.step(Input::Collected { job, prompt_id, result });
            }
            Done::Collected { job, prompt_id, files, result } => {
                for (path, _) in files {
                    self.disk.outputs.insert(path);
                }
                if !self.point() {
                    self.step(Input::Collected { job, prompt_id, result });
                }
            }
        }
    }

    /// POSTs go out one after the other; when one finds nobody there, those behind it are not tried.
    fn posted(&mut self, server: usize, job: JobId, prompt_id: String, result: PostResult) {
        let away = if let PostResult::NotSent(why) = &result { Some(why.clone()) } else { None };
        if let Some(conn) = self.engine.as_mut().and_then(|engine| engine.conns.get_mut(server)) {
            conn.is_posting = false;
            let behind = if away.is_some() { std::mem::take(&mut conn.posts) } else { VecDeque::new() };
            self.step(Input::Posted { server, job, prompt_id, result });
            for (job, prompt_id, _) in behind {
                let result = PostResult::NotSent(away.clone().unwrap_or_default());
                self.step(Input::Posted { server, job, prompt_id, result });
            }
        }
        self.post_next(server);
    }

    fn post_next(&mut self, server: usize) {
        let Some(conn) = self.engine.as_mut().and_then(|engine| engine.conns.get_mut(server)) else { return };
        if conn.is_posting {
            return;
        }
        if let Some((job, prompt_id, graph)) = conn.posts.pop_front() {
            conn.is_posting = true;
            let client_id = self.client_id(server);
            self.begin(server, move |line| errands::post(line, job, prompt_id, client_id, graph));
        }
    }

    pub fn client_id(&mut self, server: usize) -> String {
        self.disk.store.client_id(&format!("s{server}"), || format!("client{server}")).expect("written")
    }

    fn found(&mut self, server: usize, found: Result<u32, String>) {
        let now = self.now;
        let Some(engine) = &mut self.engine else { return };
        let life = engine.life;
        let Some(conn) = engine.conns.get_mut(server) else { return };
        conn.is_finding = false;
        match found {
            Ok(remaining) => {
                conn.backoff.reset();
                conn.listens = true;
                conn.heard_at = now;
                let said = std::mem::take(&mut conn.buffer);
                let socket = conn.socket;
                self.step(Input::Up { server, about: About::default() });
                self.step(Input::Heard { server, heard: Heard::Remaining(remaining) });
                for text in said {
                    self.hear(server, &text);
                }
                self.at(5000, Event::Count { life, server });
                match socket {
                    Some(socket) => self.at(10_000, Event::Ping { life, server, socket }),
                    // It ended before we came to listen.
                    None => self.lost(server, "it ended"),
                }
            }
            Err(why) => self.lost(server, &why),
        }
    }

    /// The connection is over; it is dialled again later.
    pub fn lost(&mut self, server: usize, why: &str) {
        let random = self.rng.f64();
        let Some(engine) = &mut self.engine else { return };
        let life = engine.life;
        let Some(conn) = engine.conns.get_mut(server) else { return };
        conn.listens = false;
        conn.buffer.clear();
        conn.dial += 1;
        let (dial, wait) = (conn.dial, conn.backoff.next(random));
        let socket = conn.socket.take();
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        if let Some(socket) = socket {
            self.at(20, Event::Closed { server, socket });
        }
        self.at(wait, Event::Dial { life, server, dial });
        let retry_at = self.wall();
        self.step(Input::Down { server, why: why.to_owned(), retry_at });
    }

    pub fn hear(&mut self, server: usize, text: &str) {
        let heard = hearing::heard(comfytop::comfy::message::parse(text));
        self.step(Input::Heard { server, heard });
    }

    // ---- steps

    pub fn step(&mut self, input: Input) {
        let now = self.wall();
        if self.engine.is_some() {
            self.tell(|| format!("{input:?}"));
        }
        let Some(engine) = &mut self.engine else { return };
        let effects = engine.state.step(input, now);
        engine.pending.extend(effects);
        if !self.flushes {
            self.flush();
        }
    }

    /// As `Driver::flush`: all writes in one transaction, then the rest.
    fn flush(&mut self) {
        self.flushes = true;
        self.carry_out();
        self.flushes = false;
    }

    fn is_full(&self) -> bool {
        self.now < self.disk.full_until
    }

    fn carry_out(&mut self) {
        let is_full = self.is_full();
        while let Some(engine) =
            self.engine.as_mut().filter(|engine| engine.unwritten.is_some() || !engine.pending.is_empty())
        {
            if engine.unwritten.is_some() && is_full {
                // An engine that is to end does not wait: what is not written was not acted on.
                if engine.pending.iter().any(|effect| matches!(effect, Effect::Exit)) {
                    self.act(Effect::Exit, None);
                }
                return;
            }
            let (mut writes, mut acts) = engine.unwritten.take().unwrap_or_default();
            let fresh =
                if writes.is_empty() && acts.is_empty() { std::mem::take(&mut engine.pending) } else { Vec::new() };
            for effect in fresh {
                match effect {
                    Effect::Write(write) => writes.push(write),
                    Effect::Submit { server, job, prompt_id, seed } => {
                        let prompt = self.disk.store.prompt(job).expect("readable").expect("there");
                        let mut graph = prompt.graph;
                        set_seed(&mut graph, &prompt.seed_inputs, seed.unwrap_or_default());
                        own_prefix(&mut graph, prompt_id.get(..8).unwrap_or_default());
                        engine.state.know_nodes(job, hearing::nodes_of(&graph));
                        let graph = Value::Object(graph);
                        writes.push(Write::Posted { prompt_id: prompt_id.clone(), job, graph: graph.to_string() });
                        acts.push((Effect::Submit { server, job, prompt_id, seed }, Some(graph)));
                    }
                    other => acts.push((other, None)),
                }
            }
            if self.point() {
                return;
            }
            if !writes.is_empty() && is_full {
                let Some(engine) = &mut self.engine else { return };
                engine.unwritten = Some((writes, acts));
                let life = engine.life;
                self.tell(|| "the disk is full".to_owned());
                self.at(2000, Event::TryToWrite { life });
                continue;
            }
            if !writes.is_empty() {
                for write in &writes {
                    if let Write::Job { job, change, .. } = write {
                        self.tell(|| format!("    {} is {}: {change:?}", job.id, job.state.word()));
                        // Until it is known whether it is back, others may go by.
                        if matches!(change, Change::Recall)
                            && let Some(story) = self.oracle.stories.get_mut(&job.name)
                        {
                            story.touched = true;
                        }
                    }
                }
                self.disk.store.write(&writes).expect("written");
            }
            for (act, graph) in acts {
                if self.point() {
                    return;
                }
                self.act(act, graph);
            }
        }
    }

    fn act(&mut self, effect: Effect, graph: Option<Value>) {
        match effect {
            // Nobody discards anything here.
            Effect::Write(_) | Effect::Reply { .. } | Effect::Discard { .. } | Effect::BringBack { .. } => {}
            Effect::Submit { server, job, prompt_id, .. } => {
                let now = self.now;
                if let Some(story) = self.story(job) {
                    story.decided.get_or_insert(now);
                }
                let Some(graph) = graph else { return };
                if let Some(conn) = self.engine.as_mut().and_then(|engine| engine.conns.get_mut(server)) {
                    conn.posts.push_back((job, prompt_id, graph));
                }
                self.post_next(server);
            }
            Effect::Look { server, asked, prompts, first } => {
                self.begin(server, move |line| errands::look(line, asked, prompts, first));
            }
            Effect::Delete { server, prompt_id } => {
                self.begin(server, move |line| errands::delete_copy(line, prompt_id));
            }
            Effect::Collect { server, job, prompt_id, salvage } => {
                let graph = self.disk.store.posted(&prompt_id).expect("readable");
                self.begin(server, move |line| errands::collect(line, job, prompt_id, graph, salvage));
            }
            Effect::Measure { job, .. } => {
                if let Some(engine) = &mut self.engine {
                    engine.measuring.push_back(job);
                }
                self.measure_next();
            }
            Effect::Free { server } => self.begin(server, errands::free),
            Effect::Reconnect { server } => self.reconnect(server),
            Effect::Ping { server, token } => self.probe(server, token),
            Effect::ReopenFile { file } => {
                if let Some(engine) = &mut self.engine {
                    let is_it =
                        |effect: &Effect| matches!(effect, Effect::FinishFile { file: it, .. } if it.id == file);
                    engine.unfinished.retain(|effect| !is_it(effect));
                }
                let row = self.disk.store.file(file).expect("readable").expect("it has a row");
                self.disk.reopen(file, &row.name);
                if self.point() {
                    return;
                }
                let Some(engine) = &self.engine else { return };
                let jobs = engine.state.jobs_of_file(file);
                self.step(Input::Reopened { file: OpenFile { id: file, name: row.name, jobs } });
            }
            Effect::FinishFile { .. } if self.is_full() => {
                let Some(engine) = &mut self.engine else { return };
                engine.unfinished.push(effect);
                let life = engine.life;
                self.at(30_000, Event::FinishWhatWaits { life });
            }
            Effect::FinishFile { file, rows, .. } => {
                self.disk.finish(file.id, &rows);
                if self.point() {
                    return;
                }
                if let Some(engine) = &mut self.engine {
                    engine.pending.push(Effect::Write(Write::FilePlace { file: file.id, place: Place::Done }));
                }
            }
            Effect::Publish(update) => {
                let now = self.now;
                if let Update::Job(row) = *update
                    && matches!(row.state, JobState::Cancelled { .. })
                    && let Some(story) = self.oracle.stories.get_mut(&row.name)
                {
                    story.confirmed.get_or_insert(now);
                }
            }
            Effect::Exit => {
                self.tell(|| "the engine ends".to_owned());
                if let Some(engine) = self.engine.take() {
                    self.in_doubt(&engine);
                    self.hang_up(&engine);
                }
                let rest = self.rng.u64(50..60_000);
                self.at(rest, Event::EngineUp);
            }
        }
    }

    pub fn story(&mut self, job: JobId) -> Option<&mut super::oracle::Story> {
        self.oracle.stories.get_mut(&self.taken.get(&job)?.name)
    }

    fn measure_next(&mut self) {
        let wait = self.rng.u64(5..3000);
        let Some(engine) = &mut self.engine else { return };
        if !engine.measures
            && let Some(job) = engine.measuring.pop_front()
        {
            engine.measures = true;
            let life = engine.life;
            self.at(wait, Event::Measured { life, job });
        }
    }

    pub fn measured(&mut self, job: JobId) {
        if let Some(engine) = &mut self.engine {
            engine.measures = false;
        }
        let measurement = self.seen(job);
        self.step(Input::Measured { job, measurement, repaired: Vec::new() });
        self.measure_next();
    }

    /// What its clip is like: by its prompt alone, however often it is looked at.
    fn seen(&self, job: JobId) -> Measurement {
        let attempt = self.engine.as_ref().and_then(|engine| engine.state.job(job)?.attempt());
        let verdict = attempt.map(|attempt| super::oracle::verdict_of(&attempt.prompt_id));
        Measurement { frames: 33, verdict, ..Measurement::default() }
    }

    // ---- files

    /// As `Driver::keep`: the row, the rename, the place.
    pub fn offer(&mut self, name: &str) {
        let now = self.wall();
        let Some(dropped) = self.disk.inbox.get(name).cloned() else { return };
        let is_full = self.is_full();
        let Some(engine) = &mut self.engine else { return };
        if is_full {
            let life = engine.life;
            return self.at(5000, Event::Offer { life, name: name.to_owned() });
        }
        let first = engine.next_job;
        engine.next_job += dropped.jobs.len() as u64;
        let mut jobs = Vec::new();
        for (nth, own) in dropped.jobs.iter().enumerate() {
            let id = first + nth as u64;
            let mut graph = prompts::picture(id);
            graph["13"]["inputs"]["text"] = json!(own);
            graph["18"]["inputs"]["filename_prefix"] = json!("ours");
            let prompt = Prompt { graph, seed_inputs: vec![InputRef::new("16", "seed")], ..Prompt::default() };
            let tries = self.oracle.stories.get(own).map_or(1, |story| story.tries);
            let gate = Some(Gate { loops: true, ..Gate::default() });
            let goal = (tries > 1).then(|| Box::new(Goal { gate, tries, minutes: None, vary: Vary::Seed }));
            let job = Job {
                id: JobId(id),
                name: own.clone(),
                workflow: "picture".to_owned(),
                file: Some(first),
                only_server: None,
                priority: dropped.priority,
                rank: engine.state.take_rank(),
                seed: SeedWish::Drawn(engine.state.draw_seed()),
                shape: Shape::default(),
                note: None,
                tags: Vec::new(),
                group: None,
                after: Vec::new(),
                no_preflight: false,
                goal,
                pick: None,
                settled: false,
                repair: false,
                fingerprint: Some(own.clone()),
                queued_at: now,
                next_reason: Reason::First,
                state: if dropped.held { JobState::Held } else { JobState::Queued },
                attempts: Vec::new(),
            };
            jobs.push((job, Some(prompt.to_text().expect("JSON"))));
        }
        let row = FileRow {
            id: first,
            name: name.to_owned(),
            place: Place::Taking,
            origin: Some(Disk::origin(name)),
            hash: name.to_owned(),
        };
        if self.point() {
            return;
        }
        self.disk
            .store
            .take(&[NewFile { row, text: Vec::new(), jobs: jobs.clone(), named: Vec::new() }])
            .expect("written");
        let jobs: Vec<Job> = jobs.into_iter().map(|(job, _)| job).collect();
        for job in &jobs {
            self.taken.insert(job.id, job.clone());
            // An engine that dies here leaves them in the store: the next one finds their order there.
            if let Some(story) = self.oracle.stories.get_mut(&job.name) {
                story.order = (-job.priority, job.id.0);
                story.touched |= dropped.held;
            }
        }
        if self.point() {
            return;
        }
        self.disk.take(name, first);
        if self.point() {
            return;
        }
        let now = self.now;
        for job in &jobs {
            if let Some(story) = self.oracle.stories.get_mut(&job.name) {
                story.taken = Some(now);
            }
        }
        if let Some(engine) = &mut self.engine {
            engine.pending.push(Effect::Write(Write::FilePlace { file: first, place: Place::Queued }));
            let file = OpenFile { id: first, name: name.to_owned(), jobs: jobs.iter().map(|job| job.id).collect() };
            self.step(Input::Taken { file, jobs });
        }
    }

    /// Tries again what could not be written.
    pub fn try_to_write(&mut self) {
        if self.is_full() {
            let life = self.lives;
            self.at(2000, Event::TryToWrite { life });
        }
        self.flush();
    }

    /// Tries again to put away what could not be.
    pub fn finish_what_waits(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        for effect in std::mem::take(&mut engine.unfinished) {
            self.act(effect, None);
        }
        self.flush();
    }

    /// What can't be written is not asked of the core: who asks is told so. A stop ends the engine all the same.
    pub fn ask(&mut self, request: Request) {
        let is_full = self.is_full();
        if let Some(engine) = self.engine.as_ref().filter(|engine| is_full || engine.unwritten.is_some()) {
            let life = engine.life;
            self.tell(|| format!("refused, the disk is full: {request:?}"));
            if matches!(request, Request::Stop) {
                self.act(Effect::Exit, None);
            } else if !is_full {
                self.at(0, Event::TryToWrite { life });
            }
            return;
        }
        self.step(Input::Ask { ask: 0, request });
    }
}
