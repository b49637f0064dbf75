//! What servers say of their nodes: fetched when one is found, kept, and held against jobs.
//!
//! A job is looked at when it is taken, so that its fault is told hours before its turn, and once more before it is
//! posted. What is known may be old (a model was added meanwhile): nothing is refused before the server was asked anew.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::core::Input;
use super::{Driver, Event, errands};
use crate::comfy::Client;
use crate::config::shown_url;
use crate::job::{Failure, FailureKind, JobId};
use crate::store::Prompt;
use crate::workflow::InputRef;
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::preflight::{self, Fault};

/// What was asked so lately is believed.
const FRESH: Duration = Duration::from_secs(10);
/// Jobs looked at in one go.
const AT_ONCE: usize = 100;

/// What a server can do.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub info: Arc<ObjectInfo>,
    /// When it was asked; `None`: kept from another day.
    pub asked: Option<Instant>,
}

/// Asked once, whoever asks first.
pub(super) type First = Arc<OnceCell<(String, Arc<ObjectInfo>)>>;

/// What the driver remembers of it.
#[derive(Debug, Default)]
pub(super) struct Preflight {
    /// By server.
    pub known: Vec<Option<Known>>,
    /// The first answer of each, for all who wait for it.
    first: Vec<First>,
    /// Servers that are being asked.
    asking: HashSet<usize>,
    /// Jobs that were not found fit yet.
    doubtful: BTreeSet<JobId>,
}

/// The answer of a server.
pub(super) struct Told {
    pub server: usize,
    /// What it said, to be kept; nothing where it could not be asked.
    pub said: Option<(String, Arc<ObjectInfo>)>,
    pub fresh: bool,
}

/// Inputs whose files come with the job.
fn brought(prompt: &Prompt) -> HashSet<InputRef> {
    prompt.files.iter().map(|file| InputRef::new(&file.node, &file.input)).collect()
}

/// What is wrong with a prompt, at one server; with any of its tries.
pub(super) fn faults(prompt: &Prompt, info: &ObjectInfo) -> Vec<Fault> {
    preflight::check_tries(&prompt.graph, &prompt.variations, prompt.extra_data.as_ref(), info, &brought(prompt))
}

/// All of it as the reason of a failure.
pub(super) fn failure(server: &str, faults: &[Fault]) -> Failure {
    let first = faults.first();
    let more = match faults.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Failure {
        kind: FailureKind::Validation,
        node: first.and_then(|fault| fault.node.as_ref().map(|_| fault.title.clone())),
        message: format!("{}{more}", first.map_or("", |fault| fault.words.as_str())),
        detail: format!(
            "{}\n\nNot sent to {server}: it would refuse this. Where that is wrong: --no-preflight.",
            lines.join("\n")
        ),
    }
}

impl Driver {
    pub(super) fn preflights(&self) -> bool {
        self.config.queue.preflight
    }

    /// What was kept of the servers, until they answer.
    pub(super) fn recall_servers(&mut self) {
        self.preflight.known = vec![None; self.servers.len()];
        self.preflight.first = self.servers.iter().map(|_| First::default()).collect();
        for (server, config) in super::server_configs(&self.config).iter().enumerate() {
            let Ok(Some((_, text))) = self.store.object_info(&shown_url(&config.url)) else { continue };
            let events = self.events.clone();
            tokio::task::spawn_blocking(move || {
                if let Ok(info) = ObjectInfo::parse(&text) {
                    let told = Told { server, said: Some((String::new(), Arc::new(info))), fresh: false };
                    let _ = events.send(Event::Told(Box::new(told)));
                }
            });
        }
    }

    /// Asks a server what it can do, which graphs of the page are converted by, whether or not jobs are held against it;
    /// the answer is [`Event::Told`].
    pub(super) fn ask_server(&mut self, server: usize) {
        let Some(end) = self.servers.get(server) else { return };
        if !self.preflight.asking.insert(server) {
            return;
        }
        let (client, events) = (Arc::clone(&end.client), self.events.clone());
        let first = self.first_of(server);
        tokio::spawn(async move {
            let said = match first {
                Some(first) => wait_for(&first, &client).await,
                None => fetch(&client).await,
            };
            let _ = events.send(Event::Told(Box::new(Told { server, said, fresh: true })));
        });
    }

    pub(super) fn told(&mut self, told: Told) {
        let Told { server, said, fresh } = told;
        if fresh {
            self.preflight.asking.remove(&server);
        }
        let Some((text, info)) = said else { return };
        let known = Known { info, asked: fresh.then(Instant::now) };
        if let Some(slot) = self.preflight.known.get_mut(server)
            && (fresh || slot.is_none())
        {
            *slot = Some(known);
        }
        if fresh && let Some(config) = super::server_configs(&self.config).get(server) {
            let version = self.state.server_version(server).unwrap_or_default();
            if let Err(error) = self.store.keep_object_info(&shown_url(&config.url), &version, Timestamp::now(), &text)
            {
                tracing::warn!("{error}");
            }
        }
        self.look_again(None);
    }

    /// Where the first answer of a server is waited for; `None` once something is known of it.
    pub(super) fn first_of(&self, server: usize) -> Option<First> {
        let known = self.preflight.known.get(server).is_some_and(Option::is_some);
        self.preflight.first.get(server).filter(|_| !known).cloned()
    }

    /// New jobs: those that no server would have are looked at again when the servers have been asked.
    pub(super) fn doubt(&mut self, jobs: impl IntoIterator<Item = JobId>) {
        if !self.preflights() {
            return;
        }
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        self.preflight.doubtful.extend(&jobs);
        // While nothing is known of any server, there is nothing to see.
        if let (Some(first), true) = (jobs.first(), self.preflight.known.iter().any(Option::is_some)) {
            self.look_again(Some(JobId(first.0.saturating_sub(1))));
        }
    }

    /// Looks at the doubtful jobs after this one, some at a time.
    pub(super) fn look_again(&mut self, after: Option<JobId>) {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let some: Vec<JobId> =
            self.preflight.doubtful.range((from, std::ops::Bound::Unbounded)).take(AT_ONCE).copied().collect();
        let last = some.last().copied().filter(|_| some.len() == AT_ONCE);
        for id in some {
            self.look_at(id);
        }
        if let Some(last) = last {
            let _ = self.events.send(Event::LookAgain(last));
        }
    }

    fn look_at(&mut self, id: JobId) {
        if self.state.spares_the_unfit() {
            return;
        }
        let job = self.state.job(id).filter(|job| job.state.is_waiting() && !job.no_preflight);
        let Some(only) = job.map(|job| job.only_server.clone()) else {
            self.preflight.doubtful.remove(&id);
            return;
        };
        let names: Vec<String> = self.state.server_names().map(str::to_owned).collect();
        let fit_for = |name: &str| only.as_deref().is_none_or(|only| only == name);
        let seats: Vec<usize> =
            (0..names.len()).filter(|at| names.get(*at).is_some_and(|name| fit_for(name))).collect();
        let Ok(Some(prompt)) = self.store.prompt(id) else { return };
        let mut worst: Option<(usize, Vec<Fault>)> = None;
        let mut wait = false;
        for seat in seats {
            let Some(known) = self.preflight.known.get(seat).cloned().flatten() else {
                wait = true;
                continue;
            };
            let faults = faults(&prompt, &known.info);
            if faults.is_empty() {
                self.preflight.doubtful.remove(&id);
                return;
            }
            if known.asked.is_none_or(|at| at.elapsed() > FRESH) {
                // What it says now may be another thing.
                wait = true;
                if self.state.is_server_up(seat) {
                    self.ask_server(seat);
                }
            }
            if worst.as_ref().is_none_or(|(_, other)| faults.len() < other.len()) {
                worst = Some((seat, faults));
            }
        }
        if let (false, Some((seat, faults))) = (wait, worst) {
            self.preflight.doubtful.remove(&id);
            let why = failure(names.get(seat).map_or("", String::as_str), &faults);
            self.step(Input::Unfit { job: id, why });
        }
    }
}

async fn fetch(client: &Client) -> Option<(String, Arc<ObjectInfo>)> {
    let text = client.object_info_text().await.inspect_err(|error| tracing::warn!("its nodes: {error}")).ok()?;
    let parsed = errands::blocking(move || ObjectInfo::parse(&text).map(|info| (text, Arc::new(info)))).await.ok()?;
    parsed.inspect_err(|error| tracing::warn!("its nodes: {error}")).ok()
}

async fn wait_for(first: &First, client: &Client) -> Option<(String, Arc<ObjectInfo>)> {
    first.get_or_try_init(|| async { fetch(client).await.ok_or(()) }).await.ok().cloned()
}

/// What is known of a server when a job is about to be posted.
pub(super) enum Sight {
    /// Not to be looked at.
    Blind,
    /// Nothing yet: its first answer is waited for.
    First(First),
    Known(Known),
}

/// Looks once more right before a job is posted: what is known first, then what the server says now. What can't be
/// asked is left to the server itself.
pub(super) async fn last_look(
    client: &Client,
    server: &str,
    sight: Sight,
    prompt: &Prompt,
) -> (Result<(), Failure>, Option<(String, Arc<ObjectInfo>)>) {
    let verdict = |told: &[Fault]| if told.is_empty() { Ok(()) } else { Err(failure(server, told)) };
    let known = match sight {
        Sight::Blind => return (Ok(()), None),
        Sight::First(first) => {
            let Some(said) = wait_for(&first, client).await else { return (Ok(()), None) };
            return (verdict(&faults(prompt, &said.1)), Some(said));
        }
        Sight::Known(known) => known,
    };
    let told = faults(prompt, &known.info);
    if told.is_empty() || known.asked.is_some_and(|at| at.elapsed() <= FRESH) {
        return (verdict(&told), None);
    }
    let Some(said) = fetch(client).await else { return (Ok(()), None) };
    (verdict(&faults(prompt, &said.1)), Some(said))
}
