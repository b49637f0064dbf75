//! The engine: it owns the store, the watcher and the connections, and decides.
//!
//! [`core`] is the deciding: a state machine without I/O. The driver here runs its effects on the
//! edges and brings their answers back to it. Nothing else writes the store.

pub mod core;
pub mod hearing;

mod clean;
mod connection;
mod errands;
mod faces;
mod hub;
mod intake;
mod keeping;
mod lock;
pub mod log;
mod pace;
mod pictures;
mod posting;
mod preflight;
mod setup;
mod unwritten;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::comfy::{Client, ComfyError};
use crate::config::{AfterRestart, Config, OnStall};
use crate::faults;
use crate::folder::{Folder, FolderError};
use crate::inbox;
use crate::job::{Job, JobId, JobState, Output, Repaired};
use crate::link::{Address, LinkError, VERSION};
use crate::protocol::{
    Answer, EngineRow, Flow, FromEngine, Level, Link, Look, PROTOCOL, Request, ServerRow, Still, Update,
};
use crate::store::{Store, StoreError, Write};
use connection::Order;
use core::{Effect, Input, OpenFile, Policy, PostResult, State};
use errands::Uploaded;
use hub::{FaceEvent, Hub};
use pace::Pace;
use posting::{Post, Ready, Submission};
pub use setup::remember;
use setup::{bind, connect, faces, seat, server_configs, signals};

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
    /// The server that a flag or the environment named; it is in `config` already.
    pub server: Option<String>,
    /// The server is simulated: faces say so.
    pub simulated: bool,
    /// End when the last face has gone.
    pub ends_with_faces: bool,
    /// comfytop itself, started anew to look at each output; none: that is done in this process.
    pub program: Option<PathBuf>,
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
    #[error("the render folder {folder} {} ({holder})", crate::link::SERVED)]
    Served { folder: PathBuf, holder: String },
    #[error("the lock {path} can't be used: {source}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("the socket {path} can't be bound: {source}")]
    Socket { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Server(#[from] ComfyError),
    #[error("the render folder {path}: {source}")]
    FolderIo { path: PathBuf, source: std::io::Error },
}

/// Removes what an engine leaves beside its socket, once its render folder is gone for good.
pub fn remove_lock(address: &Address) {
    lock::forget(address);
}

/// What reaches the driver from outside its own steps.
enum Event {
    Input(Input),
    Face(FaceEvent),
    Inbox(inbox::Event),
    /// The large files that a dropped one names are kept.
    Copied(Box<intake::Drop>),
    /// What a job's files are called on its server, or why it can't be posted.
    Uploaded {
        server: usize,
        job: JobId,
        prompt_id: String,
        seed: Option<u64>,
        names: Result<Vec<Uploaded>, PostResult>,
    },
    /// What a server says of its nodes.
    Told(Box<preflight::Told>),
    /// What came of a repair that a person asked for.
    Mended(Box<keeping::Mended>),
    /// More jobs are to be held against it: those after this one.
    LookAgain(JobId),
    /// What was seen of a job's outputs.
    Measured {
        job: JobId,
        prompt_id: String,
        seen: Result<(Vec<Look>, Vec<Repaired>), String>,
    },
    /// A server showed what it is at.
    Preview(connection::Preview),
    /// And that is a picture now.
    Previewed {
        job: JobId,
        still: Result<Still, String>,
    },
    /// The pictures that a face asked for.
    Drawn {
        face: u64,
        id: u64,
        answer: Box<Answer>,
    },
    Stop,
}

/// Outputs that are to be looked at, and mended as advised where that is asked for.
struct Measuring {
    job: JobId,
    outputs: Vec<Output>,
    repair: bool,
}

/// What is done after the writes.
enum Act {
    Effect(Effect),
    Post { server: usize, post: Post },
}

struct ServerEnd {
    client: Arc<Client>,
    /// Submissions in the order in which they are to arrive; the front ones wait for their uploads.
    line: VecDeque<Submission>,
    poster: mpsc::UnboundedSender<Post>,
    orders: mpsc::UnboundedSender<Order>,
    busy: watch::Sender<bool>,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts of a process")]
struct Driver {
    state: State,
    store: Store,
    folder: Arc<Folder>,
    config: Config,
    hub: Hub,
    servers: Vec<ServerEnd>,
    events: mpsc::UnboundedSender<Event>,
    inbox: Option<inbox::Handle>,
    intake: intake::Intake,
    preflight: preflight::Preflight,
    /// Who asked, by the core's number for it.
    asks: HashMap<u64, (u64, u64)>,
    next_ask: u64,
    /// Jobs of an ask that were refused before the core was asked, and why.
    refused: HashMap<u64, Vec<(JobId, String)>>,
    /// The first number that no job has.
    next_job: u64,
    measuring: VecDeque<Measuring>,
    measures: bool,
    measurer: errands::Measurer,
    studio: pictures::Studio,
    /// Somebody looks at what renders.
    previews: watch::Sender<bool>,
    progress_due: bool,
    /// Which servers were up when the log was told last.
    links: HashMap<String, bool>,
    /// What the core decided and nobody has carried out yet.
    pending: Vec<Effect>,
    /// What could not be written, and is tried again before anything else is done.
    unwritten: Option<unwritten::Unwritten>,
    /// Why the store can't be written to, while it can't.
    store_trouble: Option<String>,
    /// End when the last face has gone.
    ends_with_faces: bool,
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
    std::fs::create_dir_all(&folder.state).map_err(folder_trouble)?;
    let address = Address::of(&options.root)?;
    let lock = lock::take(&folder, &address)?;
    let mut store = Store::open(&folder.state.join("store.db"))?;
    let listener = bind(&address)?;

    let (events, mut inputs) = mpsc::unbounded_channel();
    let state = state_of(&options, &store, &folder)?;
    let next_job = store.next_job()?;
    let (previews, wanted) = watch::channel(false);
    let servers = connect(&server_configs(&options.config), &mut store, &events, &wanted)?;
    let mut driver = Driver {
        state,
        store,
        folder: Arc::clone(&folder),
        config: options.config.clone(),
        hub: Hub::default(),
        servers,
        events: events.clone(),
        inbox: None,
        intake: intake::Intake::default(),
        preflight: preflight::Preflight::default(),
        asks: HashMap::new(),
        next_ask: 1,
        refused: HashMap::new(),
        next_job,
        measuring: VecDeque::new(),
        measures: false,
        measurer: errands::Measurer { program: options.program.clone(), thresholds: options.config.verdict },
        studio: pictures::Studio::new(options.program.clone(), folder.cache(), options.config.keep.cache),
        previews,
        progress_due: false,
        links: HashMap::new(),
        pending: Vec::new(),
        unwritten: None,
        store_trouble: None,
        ends_with_faces: options.ends_with_faces,
        exit: false,
    };
    driver.recall_servers();
    driver.reconcile_files()?;
    let effects = driver.state.recover(faults::now());
    driver.pending.extend(effects);
    driver.flush();
    if !options.look_only {
        driver.watch_inboxes()?;
        driver.tell_of_profiles();
    }
    let faces = faces(&events);
    let mut acceptor = tokio::spawn(hub::accept(listener, faces.clone()));
    let signals = tokio::spawn(signals(events.clone()));
    tracing::info!("engine {VERSION} serves {} (pid {})", options.root.display(), std::process::id());

    let mut pace = Pace::new(options.config.queue.idle_exit);
    let mut batch = Vec::new();
    while !driver.exit && !pace.is_over(&driver) {
        if pace.socket_check_is_due() && cfg!(unix) && !address.path().exists() {
            tracing::warn!("the socket's file has vanished: binding again");
            match Address::of(&options.root).map_err(EngineError::from).and_then(|again| bind(&again)) {
                Ok(listener) => {
                    acceptor.abort();
                    acceptor = tokio::spawn(hub::accept(listener, faces.clone()));
                }
                Err(error) => tracing::error!("{error}"),
            }
        }
        pace.keep(&mut driver);
        driver.flush();
        tokio::select! {
            count = inputs.recv_many(&mut batch, 256) => {
                if count == 0 {
                    break;
                }
                driver.take(std::mem::take(&mut batch));
                driver.flush();
            }
            () = tokio::time::sleep_until(pace.next(&driver)) => {}
        }
    }
    if !driver.exit {
        tracing::info!("{}", pace.why_over(&driver));
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

/// What the store remembers, and how it is to be gone on with.
fn state_of(options: &Options, store: &Store, folder: &Folder) -> Result<State, EngineError> {
    let row = EngineRow {
        protocol: PROTOCOL,
        version: VERSION.to_owned(),
        pid: std::process::id(),
        folder: options.root.display().to_string(),
        log: options.log.clone(),
        simulated: options.simulated,
        server: options.server.clone(),
        look_only: options.look_only,
        banners: Vec::new(),
        flow: Flow::Going,
    };
    let seats = server_configs(&options.config).iter().map(seat).collect();
    let remembered = remember(store)?;
    // What a crash left half fetched, but for what is about to be collected.
    let collected_next = |j: &&Job| j.state.is_at_server() || matches!(j.state, JobState::Collecting);
    let open = remembered.jobs.iter().filter(collected_next).filter_map(|j| Some(j.attempt()?.prompt_id.as_str()));
    let open: HashSet<&str> = open.collect();
    folder.sweep(|prompt| open.contains(prompt));
    let mut policy = Policy { look_only: options.look_only, ..Policy::default() };
    if let Some(grace) = options.config.queue.post_grace {
        policy.post_grace = grace;
    }
    let Config { queue, retry, .. } = &options.config;
    if let Some(quiet) = queue.quiet {
        policy.quiet = quiet;
    }
    if let Some(stall) = queue.stall {
        policy.stall = stall;
    }
    policy.stall_interrupts = queue.on_stall == OnStall::Interrupt;
    policy.pause_after = queue.pause_after;
    policy.pause_after_restart = queue.after_restart == AfterRestart::Pause;
    policy.min_free = options.config.outputs.min_free;
    policy.retries = core::Retries {
        out_of_memory: retry.out_of_memory,
        server: retry.server,
        node: retry.node,
        validation: retry.validation,
    };
    Ok(State::new(policy, row, seats, remembered, fastrand::u64(..), faults::now()))
}

impl Driver {
    /// Takes what came, inbox offers together: one transaction for many files.
    fn take(&mut self, events: Vec<Event>) {
        let mut offers = Vec::new();
        for event in events {
            match event {
                Event::Inbox(event) => offers.push(event),
                Event::Input(input) => {
                    self.log_input(&input);
                    if let Input::Up { server, .. } = &input {
                        let server = *server;
                        self.ask_server(server);
                    }
                    self.step(input);
                }
                Event::Face(event) => self.face(event),
                Event::Uploaded { server, job, prompt_id, seed, names } => {
                    self.uploaded(server, job, prompt_id, seed, names);
                }
                Event::Measured { job, prompt_id, seen } => self.measured(job, prompt_id, seen),
                Event::Mended(mended) => self.mended(*mended),
                Event::Preview(preview) => self.preview(preview),
                Event::Previewed { job, still } => self.previewed(job, still),
                Event::Drawn { face, id, answer } => self.drawn(face, id, *answer),
                Event::Copied(drop) => self.copied(*drop),
                Event::Told(told) => self.told(*told),
                Event::LookAgain(after) => self.look_again(Some(after)),
                Event::Stop => {
                    tracing::info!("a signal asks the engine to stop");
                    self.step(Input::Ask { ask: 0, request: Request::Stop });
                }
            }
        }
        if !offers.is_empty() {
            self.take_offers(offers);
        }
    }

    /// Lets the core decide; [`Driver::flush`] carries it out.
    fn step(&mut self, input: Input) {
        if self.exit {
            // What is in memory may be ahead of the store.
            return;
        }
        let effects = self.state.step(input, faults::now());
        self.pending.extend(effects);
    }

    /// Carries out what was decided since the last time: all writes in one transaction, then the rest.
    fn flush(&mut self) {
        while !self.exit && (self.unwritten.is_some() || !self.pending.is_empty()) {
            let Some((writes, acts)) = self.next_to_write() else { break };
            if !writes.is_empty()
                && let Err(error) = self.store.write(&writes)
            {
                self.not_written(&error, writes, acts);
                break;
            }
            self.is_written();
            self.forget_collected(&writes);
            for act in acts {
                match act {
                    Act::Effect(effect) => self.act(effect),
                    Act::Post { server, post } => self.line_up(server, post.job, Some(post)),
                }
            }
        }
        for row in self.state.take_server_rows() {
            self.log_link(&row);
            self.hub.publish(Update::Server(Box::new(row)));
        }
        for (index, server) in self.servers.iter().enumerate() {
            let busy = self.state.is_busy(index);
            server.busy.send_if_modified(|b| std::mem::replace(b, busy) != busy);
        }
        self.progress_due |= self.state.has_progress() && self.hub.has_watchers();
    }

    /// What became of a submission, for the log.
    fn log_input(&self, input: &Input) {
        let Input::Posted { server, job, prompt_id, result } = input else { return };
        let server = self.state.server_names().nth(*server).unwrap_or_default();
        match result {
            PostResult::Accepted { .. } => tracing::info!("{job} is queued at {server} as {prompt_id}"),
            PostResult::Refused(why) => tracing::warn!("{job} is refused by {server}: {}", why.message),
            PostResult::NotWanted => tracing::info!("{job} is not sent to {server}: it is not wanted any more"),
            PostResult::NotSent(why) => tracing::warn!("{job} could not be sent to {server}: {why}"),
            PostResult::Unsure { why, .. } => tracing::warn!("{job} may have reached {server} as {prompt_id}: {why}"),
        }
    }

    /// A server that came or went, for the log.
    fn log_link(&mut self, row: &ServerRow) {
        let is_up = match row.link {
            Link::Connecting => return,
            Link::Up { .. } => true,
            Link::Down { .. } => false,
        };
        if self.links.insert(row.name.clone(), is_up) == Some(is_up) {
            return;
        }
        if let Link::Down { why, .. } = &row.link {
            tracing::warn!("server {} is away: {}", row.name, why.lines().last().unwrap_or_default());
        } else {
            tracing::info!("server {} is there: ComfyUI {}", row.name, row.version.as_deref().unwrap_or("?"));
        }
    }

    /// What was decided since the last time: what is to be written, and what is to be done after.
    fn sorted_out(&mut self) -> (Vec<Write>, Vec<Act>) {
        let mut writes = Vec::new();
        let mut acts = Vec::new();
        for effect in std::mem::take(&mut self.pending) {
            match effect {
                Effect::Write(write) => writes.push(write),
                Effect::Submit { server, job, prompt_id, seed } => {
                    // A graph that needs no upload is kept in the same transaction as its attempt.
                    match self.prepare(server, job, &prompt_id, seed) {
                        Some(Ready { graph, text, extra_data }) => {
                            self.know_nodes(job, &graph);
                            writes.push(Write::Posted { prompt_id: prompt_id.clone(), job, graph: text });
                            let info = self.info_of(server);
                            acts.push(Act::Post { server, post: Post { job, prompt_id, graph, extra_data, info } });
                        }
                        None => acts.push(Act::Effect(Effect::Submit { server, job, prompt_id, seed })),
                    }
                }
                other => acts.push(Act::Effect(other)),
            }
        }
        (writes, acts)
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            // Written before anything was acted on.
            Effect::Write(_) => {}
            Effect::Submit { server, job, prompt_id, seed } => self.upload(server, job, prompt_id, seed),
            Effect::Look { server, asked, prompts, first } => self.look(server, asked, prompts, first),
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
            Effect::Free { server } => self.free(server),
            Effect::Collect { server, job, prompt_id, salvage } => self.collect(server, job, prompt_id, salvage),
            Effect::Measure { job, outputs, repair } => {
                self.measuring.push_back(Measuring { job, outputs, repair });
                self.measure_next();
            }
            Effect::Discard { job, attempt, files } => self.shift(job, attempt, files, true),
            Effect::BringBack { job, attempt, files } => self.shift(job, attempt, files, false),
            Effect::Reconnect { server } => {
                if let Some(end) = self.servers.get(server) {
                    let _ = end.orders.send(Order::Reconnect);
                }
            }
            Effect::Ping { server, token } => {
                if let Some(end) = self.servers.get(server) {
                    let _ = end.orders.send(Order::Ping { token });
                }
            }
            Effect::ReopenFile { file } => self.reopen_file(file),
            Effect::FinishFile { file, failed, rows } => self.finish_file(file, failed, rows),
            Effect::Publish(update) => {
                if let Update::Job(row) = &*update
                    && row.state.is_ended()
                {
                    tracing::info!("{} {} is {}", row.id, row.name, row.state.word());
                }
                self.hub.publish(*update);
            }
            Effect::Reply { ask, mut result } => {
                if let (Some(refused), Ok(Answer::Each(each))) = (self.refused.remove(&ask), &mut result) {
                    each.extend(refused.into_iter().map(|(job, why)| (job, Err(why))));
                    each.sort_by_key(|(job, _)| *job);
                }
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

    /// Makes what is missing in the render folder, and takes what is dropped.
    fn watch_inboxes(&mut self) -> Result<(), EngineError> {
        let failed = |source| EngineError::FolderIo { path: self.folder.root.clone(), source };
        self.folder.create().map_err(failed)?;
        let offers = self.events.clone();
        let watched =
            inbox::watch(intake::watched(&self.config, &self.folder, crate::folder::is_network_disk), move |event| {
                let _ = offers.send(Event::Inbox(event));
            });
        self.inbox = Some(watched.map_err(failed)?);
        self.know_inboxes();
        self.finish_what_waits();
        Ok(())
    }

    /// A look-only engine becomes a whole one when somebody wants more than to look.
    fn take_up_work(&mut self) -> Result<(), EngineError> {
        if self.state.engine_row().look_only {
            self.watch_inboxes()?;
            self.ends_with_faces = false;
            self.state.take_up_work(faults::now());
            tracing::info!("the engine takes up work");
        }
        Ok(())
    }

    // ---- files ------------------------------------------------------------------------------

    fn reopen_file(&mut self, file: u64) {
        self.is_open_again(file);
        let Ok(Some(row)) = self.store.file(file) else { return };
        let queued = self.folder.queued_path(row.origin.as_deref(), file, &row.name);
        if let Err(error) = self.folder.reopen(&queued) {
            let text = format!("{} could not be moved back to queued: {error}", row.name);
            self.step(Input::Notice { level: Level::Warning, text });
        }
        let jobs = self.state.jobs_of_file(file);
        self.step(Input::Reopened { file: OpenFile { id: file, name: row.name, jobs } });
    }
}
