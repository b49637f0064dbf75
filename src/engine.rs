//! The engine: it owns the store, the watcher and the connections, and decides.
//!
//! [`core`] is the deciding: a state machine without I/O. The driver here runs its effects on the
//! edges and brings their answers back to it. Nothing else writes the store.

pub mod core;

mod connection;
mod errands;
mod hub;
mod intake;
mod lock;
pub mod log;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::Listener;
use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::comfy::{Client, ComfyError};
use crate::config::{Config, DEFAULT_SERVER, ServerConfig};
use crate::folder::{Folder, FolderError};
use crate::inbox;
use crate::job::JobId;
use crate::link::{Address, LinkError, VERSION};
use crate::protocol::{Answer, Detail, EngineRow, FromEngine, FromFace, Hello, Level, PROTOCOL, Request, Update};
use crate::store::{Place, Prompt, Store, StoreError, Write};
use connection::{Connection, Reconnect};
use core::{CollectFailure, Effect, Input, OpenFile, Policy, PostResult, Remembered, ServerSeat, State};
use errands::Uploaded;
use hub::{FaceEvent, Hub};

/// How often progress goes to the faces, and how often bars that move with time alone are looked at.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
const TOUCH_EVERY: Duration = Duration::from_secs(1);
/// How often a lagging face is looked at.
const LAG_EVERY: Duration = Duration::from_millis(50);
/// How often the socket's file is looked for.
const SOCKET_EVERY: Duration = Duration::from_secs(30);
/// How long an engine that ends with its faces waits for the first, and after the last.
const FIRST_FACE: Duration = Duration::from_secs(20);
const LAST_FACE: Duration = Duration::from_millis(300);

/// How an engine is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The render folder; made ready by the engine unless it only looks.
    pub root: PathBuf,
    /// Where store, inputs and cache are; `.comfytop` in the render folder where left out.
    pub state: Option<PathBuf>,
    pub config: Config,
    /// Take and submit nothing; end with the last face.
    pub look_only: bool,
    /// The server is simulated: faces say so.
    pub simulated: bool,
    /// End when the last face has gone.
    pub ends_with_faces: bool,
    /// Where its log goes, for people.
    pub log: String,
}

#[derive(Debug, Error)]
pub enum EngineError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the render folder {folder} is served by another engine already ({holder})")]
    Served { folder: PathBuf, holder: String },
    #[error("the lock {path} can't be used: {source}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("the socket {path} can't be bound: {source}")]
    Socket { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Server(#[from] ComfyError),
    #[error("the render folder {path}: {source}")]
    FolderIo { path: PathBuf, source: std::io::Error },
    #[error("the inbox can't be watched: {0}")]
    Inbox(String),
}

/// What reaches the driver from outside its own steps.
enum Event {
    Input(Input),
    Face(FaceEvent),
    Inbox(inbox::Event),
    /// What a job's files are called on its server, or why it can't be posted.
    Uploaded {
        server: usize,
        job: JobId,
        prompt_id: String,
        seed: Option<u64>,
        names: Result<Vec<Uploaded>, PostResult>,
    },
    Stop,
}

/// A graph as it will be posted.
struct Ready {
    graph: Value,
    text: String,
}

/// What is done after the writes.
enum Act {
    Effect(Effect),
    Post { server: usize, job: JobId, prompt_id: String, graph: Value },
}

struct ServerEnd {
    client: Arc<Client>,
    client_id: String,
    orders: mpsc::UnboundedSender<Reconnect>,
    busy: watch::Sender<bool>,
}

struct Driver {
    state: State,
    store: Store,
    folder: Arc<Folder>,
    config: Config,
    hub: Hub,
    servers: Vec<ServerEnd>,
    events: mpsc::UnboundedSender<Event>,
    inbox: Option<inbox::Handle>,
    inbox_trouble: HashMap<PathBuf, String>,
    /// Who asked, by the core's number for it.
    asks: HashMap<u64, (u64, u64)>,
    next_ask: u64,
    /// The first number that no job has.
    next_job: u64,
    measuring: VecDeque<(JobId, Vec<crate::job::Output>)>,
    measures: bool,
    progress_due: bool,
    /// What the core decided and nobody has carried out yet.
    pending: Vec<Effect>,
    exit: bool,
}

/// Runs the engine of a render folder until it is told to stop.
///
/// # Errors
/// When it can't start: the folder, the lock, the store, the socket or an address is at fault.
pub async fn run(options: Options) -> Result<(), EngineError> {
    let folder_trouble = |source| EngineError::FolderIo { path: options.root.clone(), source };
    let inboxes: Vec<PathBuf> = options.config.inboxes.iter().map(|i| i.path.clone()).collect();
    let folder = Folder::with(&options.root, &inboxes, &options.config.outputs.path, options.state.as_deref());
    let folder = Arc::new(folder.map_err(folder_trouble)?);
    folder.check_layout()?;
    crate::folder::refuse_network_disk(&folder.state)?;
    if options.look_only {
        std::fs::create_dir_all(&folder.state).map_err(folder_trouble)?;
    } else {
        folder.create().map_err(folder_trouble)?;
    }
    let lock = lock::take(&folder)?;
    if !options.look_only {
        // What a crash left half fetched.
        folder.sweep();
    }
    let mut store = Store::open(&folder.state.join("store.db"))?;
    let address = Address::of(&options.root)?;
    let listener = bind(&address)?;

    let (events, mut inputs) = mpsc::unbounded_channel();
    let row = EngineRow {
        protocol: PROTOCOL,
        version: VERSION.to_owned(),
        pid: std::process::id(),
        folder: options.root.display().to_string(),
        log: options.log.clone(),
        simulated: options.simulated,
        look_only: options.look_only,
        banners: Vec::new(),
    };
    let configured = server_configs(&options.config);
    let seats = configured.iter().map(seat).collect();
    let remembered = remember(&store)?;
    let mut policy = Policy { look_only: options.look_only, ..Policy::default() };
    if let Some(grace) = options.config.queue.post_grace {
        policy.post_grace = grace;
    }
    if let Some(quiet) = options.config.queue.quiet {
        policy.quiet = quiet;
    }
    let state = State::new(policy, row, seats, remembered, fastrand::u64(..), Timestamp::now());
    let next_job = store.next_job()?;
    let servers = connect(&configured, &mut store, &events)?;
    let mut driver = Driver {
        state,
        store,
        folder: Arc::clone(&folder),
        config: options.config.clone(),
        hub: Hub::default(),
        servers,
        events: events.clone(),
        inbox: None,
        inbox_trouble: HashMap::new(),
        asks: HashMap::new(),
        next_ask: 1,
        next_job,
        measuring: VecDeque::new(),
        measures: false,
        progress_due: false,
        pending: Vec::new(),
        exit: false,
    };
    driver.reconcile_files()?;
    let effects = driver.state.recover(Timestamp::now());
    driver.pending.extend(effects);
    driver.flush();
    if !options.look_only {
        let offers = events.clone();
        let watched = inbox::watch(intake::watched(&options.config, &folder), move |event| {
            let _ = offers.send(Event::Inbox(event));
        });
        driver.inbox = Some(watched.map_err(|e| EngineError::Inbox(e.to_string()))?);
    }
    let mut acceptor = accept(listener, &events);
    let signals = tokio::spawn(signals(events.clone()));
    tracing::info!("engine {VERSION} serves {} (pid {})", options.root.display(), std::process::id());

    let started = tokio::time::Instant::now();
    let mut had_face = false;
    let mut lonely_since = started;
    let mut touch = tokio::time::interval(TOUCH_EVERY);
    touch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut socket_check = tokio::time::interval(SOCKET_EVERY);
    let mut batch = Vec::new();
    while !driver.exit {
        let now = Timestamp::now();
        let wake = driver.state.next_wake().map(|at| until(now, at));
        let lonely = options.ends_with_faces && driver.hub.count() == 0;
        let patience = if had_face { LAST_FACE } else { FIRST_FACE };
        tokio::select! {
            biased;
            count = inputs.recv_many(&mut batch, 256) => {
                if count == 0 {
                    break;
                }
                driver.take(std::mem::take(&mut batch));
            }
            () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => driver.step(Input::Tick),
            () = tokio::time::sleep(PROGRESS_EVERY), if driver.progress_due => driver.tell_progress(),
            () = tokio::time::sleep(LAG_EVERY), if driver.hub.is_anyone_lagging() => driver.catch_up(),
            _ = touch.tick(), if driver.hub.has_watchers() && driver.state.renders() => {
                driver.state.touch_progress();
                driver.progress_due = true;
            }
            _ = socket_check.tick() => {
                if cfg!(unix) && !address.path().exists() {
                    tracing::warn!("the socket's file has vanished: binding again");
                    acceptor.abort();
                    acceptor = accept(bind(&address)?, &events);
                }
            }
            () = tokio::time::sleep_until(lonely_since + patience), if lonely => break,
        }
        driver.flush();
        if driver.hub.count() > 0 {
            had_face = true;
            lonely_since = tokio::time::Instant::now();
        }
    }
    // Answers reach the faces before the process ends. Their connections stay open until the lock
    // is free: whoever waits for the end may start the next engine at once.
    acceptor.abort();
    signals.abort();
    tokio::time::sleep(Duration::from_millis(20)).await;
    #[cfg(unix)]
    let _ = std::fs::remove_file(address.path());
    drop(lock);
    tracing::info!("engine ends");
    Ok(())
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    at.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

fn server_configs(config: &Config) -> Vec<ServerConfig> {
    if config.servers.is_empty() {
        return vec![ServerConfig {
            name: None,
            url: DEFAULT_SERVER.to_owned(),
            headers: std::collections::BTreeMap::new(),
            in_flight: 2,
        }];
    }
    config.servers.clone()
}

/// The server's name and address for people: without user, password and query.
fn seat(config: &ServerConfig) -> ServerSeat {
    let shown = url::Url::parse(&config.url).map_or_else(
        |_| config.url.clone(),
        |url| {
            let host = url.host_str().unwrap_or_default();
            let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
            format!("{host}{port}{}", url.path().trim_end_matches('/'))
        },
    );
    let name = config.name.clone().unwrap_or_else(|| shown.clone());
    ServerSeat { name, url: shown, in_flight: config.in_flight }
}

fn remember(store: &Store) -> Result<Remembered, EngineError> {
    let jobs = store.jobs()?;
    let mut files: HashMap<u64, OpenFile> = store
        .open_files()?
        .into_iter()
        .map(|f| (f.id, OpenFile { id: f.id, name: f.name, jobs: Vec::new() }))
        .collect();
    let mut nodes = HashMap::new();
    for job in &jobs {
        if let Some(file) = job.file.and_then(|f| files.get_mut(&f)) {
            file.jobs.push(job.id);
        }
        if job.state.is_at_server()
            && let Some(attempt) = job.attempt()
            && let Some(Value::Object(graph)) = store.posted(&attempt.prompt_id)?
        {
            nodes.insert(job.id, errands::nodes_of(&graph));
        }
    }
    let away_since = store.meta("away_since")?.and_then(|at| at.parse().ok());
    Ok(Remembered {
        jobs,
        files: files.into_values().filter(|f| !f.jobs.is_empty()).collect(),
        estimates: store.estimates()?,
        nodes,
        away_since,
    })
}

fn connect(
    configured: &[ServerConfig],
    store: &mut Store,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<Vec<ServerEnd>, EngineError> {
    let mut servers = Vec::new();
    for (index, config) in configured.iter().enumerate() {
        let client = Arc::new(Client::new(&config.url, &config.headers)?);
        let client_id = store.client_id(&config.url, || {
            uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().simple().to_string()
        })?;
        let (orders, order_inbox) = mpsc::unbounded_channel();
        let (busy, is_busy) = watch::channel(false);
        let (inputs, mut heard) = mpsc::unbounded_channel();
        let connection = Connection {
            server: index,
            client: Arc::clone(&client),
            client_id: client_id.clone(),
            inputs,
            orders: order_inbox,
            busy: is_busy,
        };
        tokio::spawn(connection.hold());
        let events = events.clone();
        tokio::spawn(async move {
            while let Some(input) = heard.recv().await {
                if events.send(Event::Input(input)).is_err() {
                    break;
                }
            }
        });
        servers.push(ServerEnd { client, client_id, orders, busy });
    }
    Ok(servers)
}

fn bind(address: &Address) -> Result<Listener, EngineError> {
    let failed = |source| EngineError::Socket { path: address.path().to_owned(), source };
    // Only the holder of the lock comes here: a file that is there is stale.
    #[cfg(unix)]
    let _ = std::fs::remove_file(address.path());
    ListenerOptions::new().name(address.name().map_err(failed)?).create_tokio().map_err(failed)
}

fn accept(listener: Listener, events: &mpsc::UnboundedSender<Event>) -> JoinHandle<()> {
    let (faces, mut said) = mpsc::unbounded_channel();
    let events = events.clone();
    tokio::spawn(async move {
        let accepting = hub::accept(listener, faces);
        tokio::pin!(accepting);
        loop {
            tokio::select! {
                () = &mut accepting => return,
                event = said.recv() => match event {
                    Some(event) => if events.send(Event::Face(event)).is_err() { return },
                    None => return,
                },
            }
        }
    })
}

/// A stop that the system asks for takes back what is pending, as any other. A hang-up is ignored.
async fn signals(events: mpsc::UnboundedSender<Event>) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut hup), Ok(mut int)) =
            (signal(SignalKind::terminate()), signal(SignalKind::hangup()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = hup.recv() => continue,
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if events.send(Event::Stop).is_err() {
                return;
            }
        }
    }
    #[cfg(not(unix))]
    while tokio::signal::ctrl_c().await.is_ok() {
        if events.send(Event::Stop).is_err() {
            return;
        }
    }
}

impl Driver {
    /// Takes what came, inbox offers together: one transaction for many files.
    fn take(&mut self, events: Vec<Event>) {
        let mut offers = Vec::new();
        for event in events {
            match event {
                Event::Inbox(event) => offers.push(event),
                Event::Input(input) => {
                    let measured = matches!(input, Input::Measured { .. });
                    self.step(input);
                    if measured {
                        self.measures = false;
                        self.measure_next();
                    }
                }
                Event::Face(event) => self.face(event),
                Event::Uploaded { server, job, prompt_id, seed, names } => {
                    self.uploaded(server, job, prompt_id, seed, names);
                }
                Event::Stop => self.step(Input::Ask { ask: 0, request: Request::Stop }),
            }
        }
        if !offers.is_empty() {
            self.take_offers(offers);
        }
    }

    /// Lets the core decide; [`Driver::flush`] carries it out.
    fn step(&mut self, input: Input) {
        let effects = self.state.step(input, Timestamp::now());
        self.pending.extend(effects);
    }

    /// Carries out what was decided since the last time: all writes in one transaction, then the rest.
    fn flush(&mut self) {
        while !self.pending.is_empty() && !self.exit {
            let mut writes = Vec::new();
            let mut acts = Vec::new();
            for effect in std::mem::take(&mut self.pending) {
                match effect {
                    Effect::Write(write) => writes.push(write),
                    Effect::Submit { server, job, prompt_id, seed } => {
                        // A graph that needs no upload is kept in the same transaction as its attempt.
                        match self.prepare(server, job, &prompt_id, seed) {
                            Some(Ready { graph, text }) => {
                                writes.push(Write::Posted { prompt_id: prompt_id.clone(), job, graph: text });
                                acts.push(Act::Post { server, job, prompt_id, graph });
                            }
                            None => acts.push(Act::Effect(Effect::Submit { server, job, prompt_id, seed })),
                        }
                    }
                    other => acts.push(Act::Effect(other)),
                }
            }
            if !writes.is_empty()
                && let Err(error) = self.store.write(&writes)
            {
                // Nothing may be acted on that is not written, and what is in memory is ahead of the
                // store now: end, say so, and let the next engine start from what is written.
                tracing::error!("{error}; the engine ends, nothing that it decided since is acted on");
                self.exit = true;
                return;
            }
            for act in acts {
                match act {
                    Act::Effect(effect) => self.act(effect),
                    Act::Post { server, job, prompt_id, graph } => self.post(server, job, prompt_id, graph),
                }
            }
        }
        for row in self.state.take_server_rows() {
            self.hub.publish(Update::Server(Box::new(row)));
        }
        for (index, server) in self.servers.iter().enumerate() {
            let busy = self.state.is_busy(index);
            server.busy.send_if_modified(|b| std::mem::replace(b, busy) != busy);
        }
        self.progress_due |= self.state.has_progress() && self.hub.has_watchers();
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            // Written before anything was acted on.
            Effect::Write(_) => {}
            Effect::Submit { server, job, prompt_id, seed } => self.upload(server, job, prompt_id, seed),
            Effect::Look { server, prompts, first } => self.look(server, prompts, first),
            Effect::Delete { server, prompt_id } => {
                if let Some(end) = self.servers.get(server) {
                    let client = Arc::clone(&end.client);
                    tokio::spawn(async move {
                        if let Err(error) = client.delete_pending(&[&prompt_id]).await {
                            tracing::warn!("one copy of {prompt_id} could not be deleted: {error}");
                        }
                    });
                }
            }
            Effect::Collect { server, job, prompt_id, salvage } => self.collect(server, job, prompt_id, salvage),
            Effect::Measure { job, outputs } => {
                self.measuring.push_back((job, outputs));
                self.measure_next();
            }
            Effect::Reconnect { server } => {
                if let Some(end) = self.servers.get(server) {
                    let _ = end.orders.send(Reconnect);
                }
            }
            Effect::FinishFile { file, failed, rows } => self.finish_file(&file, failed, &rows),
            Effect::Publish(update) => {
                if let Update::Job(row) = &*update
                    && row.state.is_ended()
                {
                    tracing::info!("{} {} is {}", row.id, row.name, row.state.word());
                }
                self.hub.publish(*update);
            }
            Effect::Reply { ask, result } => {
                if let Some((face, id)) = self.asks.remove(&ask) {
                    self.hub.send(face, &FromEngine::Answer { id, result });
                }
            }
            Effect::Exit => self.exit = true,
        }
    }

    fn take_numbers(&mut self, count: u64) -> u64 {
        let first = self.next_job;
        self.next_job += count;
        first
    }

    // ---- servers ----------------------------------------------------------------------------

    fn posted(&mut self, server: usize, job: JobId, prompt_id: String, result: PostResult) {
        self.step(Input::Posted { server, job, prompt_id, result });
    }

    /// The graph of a job that needs no upload, ready to post.
    fn prepare(&mut self, server: usize, job: JobId, prompt_id: &str, seed: Option<u64>) -> Option<Ready> {
        self.servers.get(server)?;
        let prompt = self.store.prompt(job).ok()??;
        prompt.files.is_empty().then(|| self.fill_in(prompt, prompt_id, seed, Vec::new()))
    }

    /// Puts seed, prefix and the names of uploads into a graph.
    fn fill_in(&self, prompt: Prompt, prompt_id: &str, seed: Option<u64>, names: Vec<Uploaded>) -> Ready {
        let mut graph = prompt.graph;
        if let Some(seed) = seed {
            crate::workflow::set_seed(&mut graph, &prompt.seed_inputs, seed);
        }
        if self.config.queue.own_prefix {
            crate::workflow::own_prefix(&mut graph, prompt_id.get(..8).unwrap_or_default());
        }
        for Uploaded { node, input, name } in names {
            crate::workflow::set_input(&mut graph, &node, &input, Value::String(name));
        }
        let graph = Value::Object(graph);
        Ready { text: graph.to_string(), graph }
    }

    /// Brings the job's files to its server; the answer is [`Event::Uploaded`].
    fn upload(&mut self, server: usize, job: JobId, prompt_id: String, seed: Option<u64>) {
        let Some(end) = self.servers.get(server) else { return };
        match self.store.prompt(job) {
            Ok(Some(prompt)) => {
                let (client, events) = (Arc::clone(&end.client), self.events.clone());
                tokio::spawn(async move {
                    let names = errands::upload(&client, prompt.files).await;
                    let _ = events.send(Event::Uploaded { server, job, prompt_id, seed, names });
                });
            }
            Ok(None) => self.cannot_post(server, job, prompt_id, "its prompt is not in the store"),
            Err(error) => self.cannot_post(server, job, prompt_id, &error.to_string()),
        }
    }

    fn cannot_post(&mut self, server: usize, job: JobId, prompt_id: String, why: &str) {
        let result = PostResult::Refused(crate::job::Failure {
            kind: crate::job::FailureKind::File,
            node: None,
            message: why.to_owned(),
            detail: String::new(),
        });
        self.posted(server, job, prompt_id, result);
    }

    fn uploaded(
        &mut self,
        server: usize,
        job: JobId,
        prompt_id: String,
        seed: Option<u64>,
        names: Result<Vec<Uploaded>, PostResult>,
    ) {
        let names = match names {
            Ok(names) => names,
            Err(result) => return self.posted(server, job, prompt_id, result),
        };
        let prompt = match self.store.prompt(job) {
            Ok(Some(prompt)) => prompt,
            Ok(None) => return self.cannot_post(server, job, prompt_id, "its prompt is not in the store"),
            Err(error) => return self.cannot_post(server, job, prompt_id, &error.to_string()),
        };
        let Ready { graph, text } = self.fill_in(prompt, &prompt_id, seed, names);
        if let Err(error) = self.store.write(&[Write::Posted { prompt_id: prompt_id.clone(), job, graph: text }]) {
            return self.cannot_post(server, job, prompt_id, &error.to_string());
        }
        self.post(server, job, prompt_id, graph);
    }

    /// Posts a graph that is kept.
    fn post(&mut self, server: usize, job: JobId, prompt_id: String, graph: Value) {
        let Some(end) = self.servers.get(server) else { return };
        let (client, client_id, events) = (Arc::clone(&end.client), end.client_id.clone(), self.events.clone());
        tokio::spawn(async move {
            let result = errands::post(&client, &client_id, &prompt_id, &graph).await;
            let _ = events.send(Event::Input(Input::Posted { server, job, prompt_id, result }));
        });
    }

    fn look(&mut self, server: usize, prompts: Vec<(JobId, String)>, first: core::First) {
        let Some(end) = self.servers.get(server) else { return };
        let (client, events) = (Arc::clone(&end.client), self.events.clone());
        tokio::spawn(async move {
            let jobs = prompts.iter().map(|(job, _)| *job).collect();
            let input = match errands::look(&client, prompts, first).await {
                Ok(found) => Input::Looked { server, found },
                Err(error) => {
                    tracing::warn!("the server could not be asked: {error}");
                    Input::LookFailed { server, jobs }
                }
            };
            let _ = events.send(Event::Input(input));
        });
    }

    fn collect(&mut self, server: usize, job: JobId, prompt_id: String, salvage: bool) {
        let Some(end) = self.servers.get(server) else { return };
        let graph = match self.store.posted(&prompt_id) {
            Ok(graph) => graph,
            Err(error) => {
                tracing::warn!("{job}: {error}");
                None
            }
        };
        let errand = errands::Collect {
            client: Arc::clone(&end.client),
            folder: Arc::clone(&self.folder),
            prompt_id: prompt_id.clone(),
            name: self.state.job(job).map(|j| j.name.clone()).unwrap_or_default(),
            graph,
            salvage,
            max_bytes: self.config.outputs.max_bytes,
            server_folder: self.config.outputs.server_folder.clone(),
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let result: Result<_, CollectFailure> = errand.run().await;
            let _ = events.send(Event::Input(Input::Collected { job, prompt_id, result }));
        });
    }

    /// One measurement at a time, beside the engine's own thread.
    fn measure_next(&mut self) {
        if self.measures {
            return;
        }
        let Some((job, outputs)) = self.measuring.pop_front() else { return };
        self.measures = true;
        let (folder, events) = (Arc::clone(&self.folder), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let measurement = errands::measure(&folder, &outputs);
            let _ = events.send(Event::Input(Input::Measured { job, measurement }));
        });
    }

    // ---- faces ------------------------------------------------------------------------------

    fn face(&mut self, event: FaceEvent) {
        match event {
            FaceEvent::Came { face, lines } => self.hub.came(face, lines),
            FaceEvent::Left { face } => {
                if self.hub.left(face) {
                    self.step(Input::Dashboard { here: false });
                }
            }
            FaceEvent::Said { face, said } => match *said {
                FromFace::Hello(hello) => self.greet(face, &hello),
                FromFace::Ask { id, request } if self.hub.is_greeted(face) => self.asked(face, id, request),
                FromFace::Ask { .. } => self.hub.close(face),
            },
        }
    }

    fn greet(&mut self, face: u64, hello: &Hello) {
        if let Some(why) = self.against(hello) {
            self.hub.send(face, &FromEngine::Refused { why, version: VERSION.to_owned() });
            self.hub.close(face);
            return;
        }
        self.hub.send(face, &FromEngine::Welcome(self.state.engine_row().clone()));
        if hello.watch {
            let snapshot = self.state.snapshot(Timestamp::now());
            self.hub.send(face, &FromEngine::Snapshot(Box::new(snapshot)));
        }
        self.hub.greet(face, hello.watch, hello.dashboard);
        if hello.dashboard {
            self.step(Input::Dashboard { here: true });
        }
    }

    fn against(&self, hello: &Hello) -> Option<String> {
        // A verb of another version is served (`stop` must work), a dashboard is not.
        if hello.protocol != PROTOCOL || (hello.watch && hello.version != VERSION) {
            return Some(format!(
                "this engine is comfytop {VERSION}, the face is {}: `comfytop stop` ends the engine (renders go on), then start again",
                crate::text::clean(&hello.version)
            ));
        }
        let wanted = hello.server.as_deref()?;
        let wanted_shown = seat(&ServerConfig {
            name: None,
            url: wanted.to_owned(),
            headers: std::collections::BTreeMap::new(),
            in_flight: 0,
        })
        .url;
        let status = self.state.status();
        if status.servers.iter().any(|s| s.url == wanted_shown || s.name == wanted) {
            return None;
        }
        let has: Vec<_> = status.servers.iter().map(|s| s.url.as_str()).collect();
        Some(format!(
            "the engine of this render folder works with {}, not with {}: `comfytop stop` ends it, then start again",
            has.join(", "),
            crate::text::clean(&wanted_shown)
        ))
    }

    fn asked(&mut self, face: u64, id: u64, request: Request) {
        let result = match request {
            Request::Add { .. } | Request::Cancel { .. } | Request::Requeue { .. }
                if self.state.engine_row().look_only =>
            {
                Err("this engine only looks: it takes and submits nothing".to_owned())
            }
            Request::Show { job, graph } => self.detail(job, graph),
            Request::Add { name, dir, text } => self.add(&name, &dir, &text),
            other => {
                let ask = self.next_ask;
                self.next_ask += 1;
                self.asks.insert(ask, (face, id));
                self.step(Input::Ask { ask, request: other });
                return;
            }
        };
        self.hub.send(face, &FromEngine::Answer { id, result });
    }

    fn detail(&mut self, id: JobId, graph: bool) -> Result<Answer, String> {
        let Some(row) = self.state.job_row(id, Timestamp::now()) else { return Err(format!("there is no job {id}")) };
        let Some(job) = self.state.job(id).cloned() else { return Err(format!("there is no job {id}")) };
        let words = |e: StoreError| e.to_string();
        let prompt = self.store.prompt(id).map_err(words)?;
        let file = match job.file {
            Some(file) => self.store.file(file).map_err(words)?.map(|f| f.name),
            None => None,
        };
        let graph = match job.attempt() {
            Some(attempt) if graph => self.store.posted(&attempt.prompt_id).map_err(words)?,
            _ => None,
        };
        Ok(Answer::Detail(Box::new(Detail {
            row,
            file,
            slots: prompt.map(|p| p.slots).unwrap_or_default(),
            note: job.note.clone(),
            tags: job.tags.clone(),
            attempts: job.attempts,
            graph,
        })))
    }

    fn tell_progress(&mut self) {
        self.progress_due = false;
        for (job, progress) in self.state.take_progress(Timestamp::now()) {
            self.hub.publish(Update::Progress { job, progress });
        }
    }

    fn catch_up(&mut self) {
        for face in self.hub.caught_up() {
            let snapshot = self.state.snapshot(Timestamp::now());
            self.hub.send(face, &FromEngine::Snapshot(Box::new(snapshot)));
        }
    }

    // ---- files ------------------------------------------------------------------------------

    fn finish_file(&mut self, file: &OpenFile, failed: bool, rows: &[crate::protocol::JobRow]) {
        let now = Timestamp::now();
        let (ending, sidecar) = if failed {
            (crate::folder::Ending::Failed, intake::error_text(rows))
        } else {
            let list: Vec<Value> = rows.iter().map(|r| crate::protocol::job_json(r, now)).collect();
            (crate::folder::Ending::Done, format!("{:#}\n", Value::Array(list)))
        };
        let origin = self.store.file(file.id).ok().flatten().and_then(|f| f.origin);
        let queued = self.folder.queued_path(origin.as_deref(), file.id, &file.name);
        if let Err(error) = self.folder.finish(&queued, ending, &sidecar) {
            let text = format!("{} could not be put away: {error}", file.name);
            self.step(Input::Notice { level: Level::Warning, text });
            return;
        }
        let place = if failed { Place::Failed } else { Place::Done };
        // After the move: a crash in between moves it once more.
        self.pending.push(Effect::Write(Write::FilePlace { file: file.id, place }));
    }
}
