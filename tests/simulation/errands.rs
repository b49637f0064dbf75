//! The engine's errands over a line in virtual time: the same requests in the same order as the real ones, their
//! answers read by the same parsers and understood by the same `engine::hearing`.
//!
//! Each is a future that waits for nothing but [`Line::ask`] and [`Line::nap`]; the world polls it when an answer came.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use comfytop::comfy::{
    ComfyError, FileKind, History, OutputRef, Queue, QueueItem, Submission, answer, history, validation,
};
use comfytop::engine::core::{CollectFailure, Collected, First, Input, Look, PostResult};
use comfytop::engine::hearing::{ended, nodes_of, posted, standing, was_deleted};
use comfytop::job::{JobId, Output};
use comfytop::sim::{Body, Request, Response, request::View, wire};
use serde_json::{Value, json};

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens: nothing was sent.
    Refused,
    /// It may have arrived.
    TimedOut,
    Cut,
}

pub type Answer = Result<Response, Trouble>;

#[derive(Debug)]
pub enum Wish {
    Ask(Request),
    /// The websocket's handshake.
    Open,
    /// Milliseconds.
    Nap(u64),
}

/// What errands wait for, and what they were given.
#[derive(Debug, Default)]
pub struct Mail {
    next: u64,
    /// Number, server, wish; for the world to take.
    pub wishes: Vec<(u64, usize, Wish)>,
    pub answers: HashMap<u64, Answer>,
    pub awake: HashSet<u64>,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub server: usize,
    pub mail: Rc<RefCell<Mail>>,
    /// The server has the jobs API.
    pub has_jobs: Rc<Cell<bool>>,
}

/// How an errand ended.
#[derive(Debug)]
pub enum Done {
    Input(Input),
    /// A connection was looked for.
    Found {
        server: usize,
        found: Result<u32, String>,
    },
    /// A POST has its answer.
    Posted {
        server: usize,
        job: JobId,
        prompt_id: String,
        result: PostResult,
    },
    /// Outputs by their path in `outputs/`, to be put there.
    Collected {
        job: JobId,
        prompt_id: String,
        files: Vec<(String, Vec<u8>)>,
        result: Result<Collected, CollectFailure>,
    },
    Nothing,
}

pub type Errand = Pin<Box<dyn Future<Output = Done>>>;

impl Line {
    fn wish(&self, wish: Wish) -> u64 {
        let mut mail = self.mail.borrow_mut();
        mail.next += 1;
        let id = mail.next;
        mail.wishes.push((id, self.server, wish));
        id
    }

    async fn answer(&self, wish: Wish) -> Answer {
        let id = self.wish(wish);
        poll_fn(|_| self.mail.borrow_mut().answers.remove(&id).map_or(Poll::Pending, Poll::Ready)).await
    }

    async fn nap(&self, ms: u64) {
        let id = self.wish(Wish::Nap(ms));
        poll_fn(|_| if self.mail.borrow_mut().awake.remove(&id) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// The answer's status and bytes.
    async fn whole(&self, request: Request) -> Result<(u16, Vec<u8>), ComfyError> {
        let at = request.route().to_owned();
        match self.answer(Wish::Ask(request)).await {
            Ok(response) if response.cut.is_some() => Err(ComfyError::Cut { at, why: "reset".to_owned() }),
            Ok(response) => Ok((response.status, bytes_of(response.body))),
            Err(Trouble::Refused) => Err(ComfyError::Refused { at, source: "refused".into() }),
            Err(Trouble::TimedOut) => Err(ComfyError::TimedOut { at, connecting: false }),
            Err(Trouble::Cut) => Err(ComfyError::Cut { at, why: "reset".to_owned() }),
        }
    }

    async fn ask(&self, request: Request) -> Result<Vec<u8>, ComfyError> {
        let at = request.route().to_owned();
        match self.whole(request).await? {
            (200..=299, bytes) => Ok(bytes),
            (code, bytes) => {
                Err(ComfyError::Status { at, code, excerpt: String::from_utf8_lossy(&bytes).into_owned() })
            }
        }
    }

    async fn read<T>(
        &self,
        request: Request,
        parse: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, ComfyError> {
        let at = request.route().to_owned();
        parse(&self.ask(request).await?).map_err(|source| ComfyError::Unreadable { at, source })
    }

    async fn history(&self, id: &str) -> Result<Option<History>, ComfyError> {
        self.read(Request::HistoryOf(id.to_owned()), |body| history::parse_history(body, id)).await
    }

    async fn queue(&self) -> Result<Queue, ComfyError> {
        if !self.has_jobs.get() {
            return self.read(Request::GetQueue, answer::parse_queue).await;
        }
        let query = vec![("status".to_owned(), "pending,in_progress".to_owned())];
        let body = self.ask(Request::Jobs(query)).await?;
        let jobs = history::parse_jobs(&body).unwrap_or_default();
        let (running, pending): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.status == "in_progress");
        let items = |jobs: Vec<history::JobEntry>| {
            let item =
                |job: history::JobEntry| QueueItem { number: job.number, prompt_id: job.prompt_id, client_id: None };
            jobs.into_iter().map(item).collect()
        };
        Ok(Queue { running: items(running), pending: items(pending) })
    }

    /// One prompt alone, as `Client::look_up` does.
    async fn look_up(&self, id: &str) -> Result<Look, ComfyError> {
        if self.has_jobs.get() {
            match self.whole(Request::Job(id.to_owned())).await? {
                (404, _) => return Ok(Look::Unknown),
                (200, bytes) => match history::parse_job(&bytes) {
                    Ok(history::JobAnswer::Pending) => return Ok(Look::Pending { copies: 1 }),
                    Ok(history::JobAnswer::Running) => return Ok(Look::Running { copies: 1 }),
                    Ok(history::JobAnswer::Ended(history)) => return Ok(ended(&history)),
                    Ok(history::JobAnswer::Unclear) | Err(_) => {}
                },
                (code, _) => {
                    return Err(ComfyError::Status {
                        at: "GET /api/jobs/{id}".to_owned(),
                        code,
                        excerpt: String::new(),
                    });
                }
            }
        }
        let queue = self.queue().await?;
        match standing(&queue, id) {
            Some(Look::Pending { .. }) => Ok(Look::Pending { copies: 1 }),
            Some(_) => Ok(Look::Running { copies: 1 }),
            None => Ok(self.history(id).await?.map_or(Look::Unknown, |history| ended(&history))),
        }
    }
}

fn bytes_of(body: Body) -> Vec<u8> {
    match body {
        Body::Empty => Vec::new(),
        Body::Json(value) => wire::to_text(&value).into_bytes(),
        Body::Text(text) => text.into_bytes(),
        Body::File(bytes, _) => bytes.to_vec(),
    }
}

/// Finds a server, as `Connection::find` does.
pub async fn find(line: Line) -> Done {
    let found = async {
        line.read(Request::SystemStats, answer::parse_system_stats).await?;
        let (code, body) = line.whole(Request::Jobs(vec![("limit".to_owned(), "1".to_owned())])).await?;
        match code {
            200 => line.has_jobs.set(history::parse_jobs(&body).is_some()),
            404 | 405 => line.has_jobs.set(false),
            code => return Err(ComfyError::Status { at: "GET /api/jobs".to_owned(), code, excerpt: String::new() }),
        }
        if line.answer(Wish::Open).await.is_err() {
            return Err(ComfyError::Cut { at: "GET /ws".to_owned(), why: "reset".to_owned() });
        }
        line.read(Request::GetPrompt, answer::parse_queue_remaining).await
    };
    Done::Found { server: line.server, found: found.await.map_err(|error| error.to_string()) }
}

pub async fn count(line: Line) -> Done {
    match line.read(Request::GetPrompt, answer::parse_queue_remaining).await {
        Ok(remaining) => Done::Input(Input::Count { server: line.server, remaining }),
        Err(_) => Done::Nothing,
    }
}

pub async fn delete_copy(line: Line, prompt_id: String) -> Done {
    let _ = line.ask(Request::PostQueue(Some(json!({ "delete": [prompt_id] })))).await;
    Done::Nothing
}

pub async fn free(line: Line) -> Done {
    let wish = json!({ "unload_models": true, "free_memory": true });
    let result = line.ask(Request::Free(Some(wish))).await.map(|_| ()).map_err(|error| error.to_string());
    Done::Input(Input::Freed { server: line.server, result })
}

/// As the engine's `errands::look`.
pub async fn look(line: Line, asked: u64, prompts: Vec<(JobId, String)>, first: First) -> Done {
    let server = line.server;
    let jobs = prompts.iter().map(|(job, _)| *job).collect();
    let found = async {
        let ids: Vec<&str> = prompts.iter().map(|(_, id)| id.as_str()).collect();
        let mut before = None;
        match first {
            First::Nothing => {}
            First::Delete => {
                before = Some(line.queue().await?);
                line.ask(Request::PostQueue(Some(json!({ "delete": ids })))).await?;
            }
            First::Cancel => {
                for id in &ids {
                    line.ask(Request::PostQueue(Some(json!({ "delete": [id] })))).await?;
                    line.ask(Request::Interrupt(Some(json!({ "prompt_id": id })))).await?;
                }
            }
        }
        if let ([(job, id)], First::Cancel) = (prompts.as_slice(), first) {
            return Ok(vec![(*job, id.clone(), line.look_up(id).await?)]);
        }
        let queue = line.queue().await?;
        let mut found = Vec::new();
        for (job, id) in &prompts {
            let look = match standing(&queue, id) {
                Some(look) => look,
                None if before.as_ref().is_some_and(|before| was_deleted(before, &queue, id)) => Look::Deleted,
                None => line.history(id).await?.map_or(Look::Unknown, |history| ended(&history)),
            };
            found.push((*job, id.clone(), look));
        }
        Ok::<_, ComfyError>(found)
    };
    Done::Input(match found.await {
        Ok(found) => Input::Looked { server, asked, found },
        Err(_) => Input::LookFailed { server, asked, jobs },
    })
}

pub async fn post(line: Line, job: JobId, prompt_id: String, client_id: String, graph: Value) -> Done {
    let nodes = graph.as_object().map(nodes_of).unwrap_or_default();
    let submission = Submission { prompt_id: &prompt_id, client_id: &client_id, graph: &graph, extra_data: None };
    let body = serde_json::to_value(submission).expect("plain data");
    let accepted = async {
        match line.whole(Request::PostPrompt(Some(body))).await? {
            (200, bytes) => validation::parse_accepted(&bytes)
                .map_err(|source| ComfyError::Unreadable { at: "POST /prompt".to_owned(), source }),
            (code, bytes) => match validation::parse_validation(&bytes) {
                Ok(wrong) if code == 400 => Err(ComfyError::Rejected(Box::new(wrong))),
                _ => Err(ComfyError::Status {
                    at: "POST /prompt".to_owned(),
                    code,
                    excerpt: String::from_utf8_lossy(&bytes).into_owned(),
                }),
            },
        }
    };
    let result = posted(accepted.await, nodes, &graph, None);
    Done::Posted { server: line.server, job, prompt_id, result }
}

/// Why files are not here: as `CollectFailure`, or an error of the line's.
fn later(error: &ComfyError) -> CollectFailure {
    CollectFailure::Later(error.to_string())
}

async fn fetch(line: &Line, file: &OutputRef) -> Result<Vec<u8>, CollectFailure> {
    let view = View {
        filename: Some(file.filename.clone()),
        subfolder: Some(file.subfolder.clone()),
        kind: Some(file.kind.name().to_owned()),
        ..View::default()
    };
    match line.ask(Request::View(view)).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.is_gone() => Err(CollectFailure::Gone(format!("{} is no more", file.filename))),
        Err(error) => Err(later(&error)),
    }
}

/// As the engine's `errands::Collect`; here every graph has one node that saves.
pub async fn collect(line: Line, job: JobId, prompt_id: String, graph: Option<Value>, salvage: bool) -> Done {
    let fetched = async {
        let mut history = None;
        for attempt in 0..8 {
            if salvage {
                break;
            }
            if attempt > 0 {
                line.nap(150 * attempt).await;
            }
            history = line.history(&prompt_id).await.map_err(|error| later(&error))?;
            if history.is_some() {
                break;
            }
        }
        let mut files = Vec::new();
        if let Some(history) = history {
            for file in history.outputs.iter().flat_map(|output| &output.files) {
                if file.kind == FileKind::Output {
                    files.push(fetch(&line, file).await?);
                }
            }
            return Ok(files);
        }
        let forgotten = || CollectFailure::Gone("forgotten".to_owned());
        let own = prompt_id.get(..8).unwrap_or_default();
        let prefix = graph.as_ref().and_then(|graph| prefix_of(graph)).filter(|prefix| prefix.ends_with(own));
        let base = prefix.ok_or_else(forgotten)?;
        for count in 1.. {
            let file = OutputRef {
                filename: format!("{base}_{count:05}_.png"),
                subfolder: String::new(),
                kind: FileKind::Output,
            };
            match fetch(&line, &file).await {
                Ok(bytes) => files.push(bytes),
                Err(CollectFailure::Gone(_)) if count > 1 => break,
                Err(CollectFailure::Gone(_)) => return Err(forgotten()),
                Err(later) => return Err(later),
            }
        }
        Ok(files)
    };
    let (files, result) = match fetched.await {
        Ok(files) => {
            let name = |nth: usize| format!("outputs/{prompt_id}-{nth}.png");
            let files: Vec<_> = files.into_iter().enumerate().map(|(nth, bytes)| (name(nth), bytes)).collect();
            let output = |(path, bytes): &(String, Vec<u8>)| Output { path: path.clone(), bytes: bytes.len() as u64 };
            let outputs = files.iter().map(output).collect();
            (files, Ok(Collected { outputs, notes: Vec::new(), to_measure: true }))
        }
        Err(why) => (Vec::new(), Err(why)),
    };
    Done::Collected { job, prompt_id, files, result }
}

/// The prefix of the node that saves.
pub fn prefix_of(graph: &Value) -> Option<&str> {
    let nodes = graph.as_object()?;
    nodes.values().find_map(|node| node.get("inputs")?.get("filename_prefix")?.as_str())
}
