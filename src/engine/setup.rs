//! What an engine needs before it can serve: what the store remembers, the servers' connections,
//! the socket, the signals.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use interprocess::local_socket::ListenerOptions;
use interprocess::local_socket::tokio::Listener;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::connection::{Connection, Previews};
use super::core::{FLOW_KEY, HOLD_KEY, OpenFile, Remembered, ServerSeat};
use super::hub::FaceEvent;
use super::posting::send_posts;
use super::{EngineError, Event, ServerEnd, hearing};
use crate::comfy::{Client, Patience};
use crate::config::{Config, DEFAULT_SERVER, ServerConfig, shown_url};
use crate::link::Address;
use crate::store::Store;

pub(super) fn server_configs(config: &Config) -> Vec<ServerConfig> {
    if config.servers.is_empty() {
        return vec![ServerConfig::at(DEFAULT_SERVER)];
    }
    config.servers.clone()
}

/// The server as people see it: without user, password and query.
pub(super) fn seat(config: &ServerConfig) -> ServerSeat {
    ServerSeat { name: config.label(), url: shown_url(&config.url), in_flight: config.in_flight }
}

/// All that an engine goes on with after the one before it has died.
///
/// # Errors
/// A store that can't be read.
pub fn remember(store: &Store) -> Result<Remembered, EngineError> {
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
            nodes.insert(job.id, hearing::nodes_of(&graph));
        }
    }
    let away_since = store.meta("away_since")?.and_then(|at| at.parse().ok());
    // What can't be read (an older comfytop after a newer one) is as if nothing had been said.
    let flow = store.meta(FLOW_KEY)?.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default();
    let to_hold = store.meta(HOLD_KEY)?.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default();
    Ok(Remembered {
        flow,
        to_hold,
        jobs,
        files: files.into_values().filter(|f| !f.jobs.is_empty()).collect(),
        estimates: store.estimates()?,
        nodes,
        away_since,
    })
}

pub(super) fn connect(
    configured: &[ServerConfig],
    store: &mut Store,
    events: &mpsc::UnboundedSender<Event>,
    previews: &watch::Receiver<bool>,
) -> Result<Vec<ServerEnd>, EngineError> {
    let mut servers = Vec::new();
    for (index, config) in configured.iter().enumerate() {
        let client = Arc::new(Client::with_patience(&config.url, &config.headers, patience())?);
        let client_id = store.client_id(&shown_url(&config.url), || {
            uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().simple().to_string()
        })?;
        let (orders, order_inbox) = mpsc::unbounded_channel();
        let (busy, is_busy) = watch::channel(false);
        let (inputs, mut heard) = mpsc::unbounded_channel();
        let (to, mut seen) = mpsc::unbounded_channel();
        let own_events = events.clone();
        tokio::spawn(async move {
            while let Some(preview) = seen.recv().await {
                if own_events.send(Event::Preview(preview)).is_err() {
                    break;
                }
            }
        });
        let connection = Connection {
            previews: Previews { wanted: previews.clone(), to },
            server: index,
            client: Arc::clone(&client),
            client_id: client_id.clone(),
            inputs,
            orders: order_inbox,
            busy: is_busy,
        };
        tokio::spawn(connection.hold());
        let own_events = events.clone();
        let events = events.clone();
        tokio::spawn(async move {
            while let Some(input) = heard.recv().await {
                if events.send(Event::Input(input)).is_err() {
                    break;
                }
            }
        });
        let (poster, posts) = mpsc::unbounded_channel();
        tokio::spawn(send_posts(index, Arc::clone(&client), client_id.clone(), posts, own_events));
        servers.push(ServerEnd { client, line: VecDeque::new(), poster, orders, busy });
    }
    Ok(servers)
}

/// How long servers are waited for; tests, which can't wait for minutes, say so by the environment.
fn patience() -> Patience {
    let usual = Patience::default();
    let told = std::env::var("COMFYTOP_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    let told = told.and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok());
    Patience { request: told.unwrap_or(usual.request), ..usual }
}

pub(super) fn bind(address: &Address) -> Result<Listener, EngineError> {
    let failed = |source| EngineError::Socket { path: address.path().to_owned(), source };
    // Only the holder of the lock comes here: a file that is there is stale.
    #[cfg(unix)]
    let _ = std::fs::remove_file(address.path());
    ListenerOptions::new().name(address.name().map_err(failed)?).create_tokio().map_err(failed)
}

/// Where faces' words go. It outlives the listener: the engine may bind again.
pub(super) fn faces(events: &mpsc::UnboundedSender<Event>) -> mpsc::UnboundedSender<FaceEvent> {
    let (faces, mut said) = mpsc::unbounded_channel();
    let events = events.clone();
    tokio::spawn(async move {
        while let Some(event) = said.recv().await {
            if events.send(Event::Face(event)).is_err() {
                return;
            }
        }
    });
    faces
}

/// A stop that the system asks for takes back what is pending, as any other. A hang-up is ignored.
pub(super) async fn signals(events: mpsc::UnboundedSender<Event>) {
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
