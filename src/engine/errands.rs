//! The effects that take time: uploading and posting, looking prompts up, fetching outputs.
//!
//! Each runs in a task of its own and ends in one input for the core. They repeat nothing by
//! themselves but the question for a history that is about to be written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::core::{CollectFailure, Collected, First, Found, Look, PostResult};
use crate::comfy::{self, Client, ComfyError, FileKind, History, LookUp, OutputRef, QueueItem, Submission};
use crate::estimate::Node;
use crate::folder::Folder;
use crate::job::{Failure, FailureKind, JobId, Output};
use crate::store::InputFile;
use crate::text;

/// How often, and how far apart, a history is asked for that should be there.
const HISTORY_TRIES: u32 = 8;
const HISTORY_WAIT: Duration = Duration::from_millis(150);
/// Endings of files that can be measured.
const MEASURABLE: &[&str] = &["mp4", "mov", "m4v", "mkv", "webm", "gif", "webp", "png", "apng", "avi"];

/// The nodes of a graph, as progress names them.
pub fn nodes_of(graph: &Map<String, Value>) -> Vec<Node> {
    let titles = crate::workflow::titles(graph);
    graph
        .iter()
        .map(|(id, node)| Node {
            id: id.clone(),
            title: titles.get(id).map_or_else(|| id.clone(), |t| text::clean(t).into_owned()),
            class: node.get("class_type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
        .collect()
}

fn refused(kind: FailureKind, message: String, detail: String) -> PostResult {
    PostResult::Refused(Failure { kind, node: None, message, detail })
}

/// What a job's file is called on its server, and where the graph wants the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub node: String,
    pub input: String,
    pub name: String,
}

/// Uploads what the graph needs.
pub async fn upload(client: &Client, files: Vec<InputFile>) -> Result<Vec<Uploaded>, PostResult> {
    let mut names = Vec::new();
    for file in files {
        let name = match &file.stored {
            Some(path) => match client.upload(&file.name, path).await {
                Ok(name) => name,
                Err(error @ ComfyError::File { .. }) => {
                    return Err(refused(FailureKind::File, error.to_string(), String::new()));
                }
                Err(error) => return Err(PostResult::NotSent(error.to_string())),
            },
            None => match client.input_exists(&file.name).await {
                Ok(true) => file.name.clone(),
                Ok(false) => {
                    let name = text::clean(&file.name).into_owned();
                    return Err(refused(
                        FailureKind::File,
                        format!("`{name}` is neither beside the job file nor among the server's inputs"),
                        "Put the file beside the job file, or write `input:NAME` with a name that the server has."
                            .to_owned(),
                    ));
                }
                Err(error) => return Err(PostResult::NotSent(error.to_string())),
            },
        };
        names.push(Uploaded { node: file.node, input: file.input, name });
    }
    Ok(names)
}

/// Posts a graph that is kept already.
pub async fn post(client: &Client, client_id: &str, prompt_id: &str, graph: &Value) -> PostResult {
    let nodes = graph.as_object().map(nodes_of).unwrap_or_default();
    let title = |id: &str| nodes.iter().find(|n| n.id == id).map_or(id.to_owned(), |n| n.title.clone());
    let submission = Submission { prompt_id, client_id, graph, extra_data: None };
    match client.submit(&submission).await {
        Ok(accepted) => {
            let notes = accepted
                .node_errors
                .iter()
                .flat_map(|node| {
                    let title = title(&node.node_id);
                    node.errors.iter().map(move |e| {
                        text::clean(&format!("left out by the server: {title}: {} {}", e.message, e.details))
                            .into_owned()
                    })
                })
                .collect();
            PostResult::Accepted { notes, nodes }
        }
        Err(ComfyError::Rejected(validation)) => {
            let node = validation.node_errors.first().map(|e| title(&e.node_id));
            let first = validation.node_errors.first().and_then(|e| e.errors.first());
            let message = first.map_or_else(
                || validation.to_string(),
                |e| {
                    let input = e.input_name.as_deref().map(|i| format!("{i}: ")).unwrap_or_default();
                    format!("{input}{} {}", e.message, e.details)
                },
            );
            PostResult::Refused(Failure {
                kind: FailureKind::Validation,
                node,
                message: text::clean(&message).into_owned(),
                detail: text::clean_lines(&validation.to_string()),
            })
        }
        Err(error) if error.may_have_arrived() => {
            let answered = matches!(error, ComfyError::Status { .. });
            PostResult::Unsure { why: error.to_string(), refused: answered, nodes }
        }
        Err(error @ ComfyError::Status { .. }) => refused(FailureKind::Validation, error.to_string(), String::new()),
        Err(error) => PostResult::NotSent(error.to_string()),
    }
}

/// A node's exception in people's words.
pub fn failure(why: &comfy::Failure, nodes: Option<&[Node]>) -> Failure {
    let message = text::clean(why.exception_message.lines().next().unwrap_or_default()).into_owned();
    let out_of_memory = why.exception_type.contains("OutOfMemory")
        || why.exception_message.contains("ran out of memory on your GPU")
        || why.exception_message.contains("CUDA out of memory");
    let title = |id: &String| nodes.and_then(|n| n.iter().find(|n| n.id == *id)).map(|n| n.title.clone());
    let node = why.node_id.as_ref().and_then(title).or_else(|| why.node_type.clone());
    let kind = text::clean(&why.exception_type).into_owned();
    let mut detail = text::clean_lines(&why.exception_message);
    if !why.traceback.is_empty() {
        detail.push_str("\n\n");
        detail.push_str(&text::clean_lines(&why.traceback.concat()));
    }
    Failure {
        kind: if out_of_memory { FailureKind::OutOfMemory } else { FailureKind::Node },
        node: node.map(|n| text::clean(&n).into_owned()),
        message: if out_of_memory {
            "out of memory".to_owned()
        } else if kind.is_empty() {
            message
        } else {
            format!("{kind}: {message}")
        },
        detail,
    }
}

fn ended(history: &History) -> Look {
    let seconds = match (history.started_ms, history.ended_ms) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one render")]
        (Some(start), Some(end)) if end >= start => Some((end - start) as f64 / 1000.0),
        _ => None,
    };
    let ending = match &history.ending {
        comfy::Ending::Success => Found::Success,
        comfy::Ending::Error(why) => Found::Failed(failure(why, None)),
        comfy::Ending::Interrupted => Found::Interrupted,
    };
    Look::Ended { ending, seconds }
}

/// Does `first` to the prompts, then sees where each is.
pub async fn look(
    client: &Client,
    prompts: Vec<(JobId, String)>,
    first: First,
) -> Result<Vec<(JobId, String, Look)>, ComfyError> {
    let ids: Vec<&str> = prompts.iter().map(|(_, id)| id.as_str()).collect();
    match first {
        First::Nothing => {}
        First::Delete => client.delete_pending(&ids).await?,
        First::Cancel => {
            for id in &ids {
                client.cancel(id).await?;
            }
        }
    }
    if let ([(job, id)], First::Cancel) = (prompts.as_slice(), first) {
        let look = match client.look_up(id).await? {
            LookUp::Unknown => Look::Unknown,
            LookUp::Pending => Look::Pending { copies: 1 },
            LookUp::Running => Look::Running { copies: 1 },
            LookUp::Ended(history) => ended(&history),
        };
        return Ok(vec![(*job, id.clone(), look)]);
    }
    // The queue first, then the history: the other order loses a prompt that ends in between.
    let queue = match client.queue_outline().await? {
        Some(queue) => queue,
        None => client.queue().await?,
    };
    let copies = |items: &[QueueItem], id: &str| items.iter().filter(|i| i.prompt_id == id).count();
    let mut found = Vec::with_capacity(prompts.len());
    for (job, id) in prompts {
        let (running, pending) = (copies(&queue.running, &id), copies(&queue.pending, &id));
        let all = u32::try_from(running + pending).unwrap_or(u32::MAX);
        let look = if running > 0 {
            Look::Running { copies: all }
        } else if pending > 0 {
            Look::Pending { copies: all }
        } else {
            client.history(&id).await?.map_or(Look::Unknown, |h| ended(&h))
        };
        found.push((job, id, look));
    }
    Ok(found)
}

/// What a collection needs.
pub struct Collect {
    pub client: Arc<Client>,
    pub folder: Arc<Folder>,
    pub prompt_id: String,
    /// The job's name: the outputs are called after it.
    pub name: String,
    /// The graph as posted: names the files that a server may still have.
    pub graph: Option<Value>,
    pub salvage: bool,
    pub max_bytes: u64,
    /// The server's own output folder, where it can be read here.
    pub server_folder: Option<PathBuf>,
}

impl Collect {
    /// Fetches all outputs of the attempt.
    pub async fn run(self) -> Result<Collected, CollectFailure> {
        if self.salvage {
            return self.salvage().await;
        }
        let Some(history) = self.history().await? else {
            return self.salvage().await;
        };
        let mut files: Vec<(String, OutputRef)> = Vec::new();
        for output in &history.outputs {
            let results = output.files.iter().filter(|f| f.kind == FileKind::Output && output.key != "latents");
            files.extend(results.map(|f| (output.node_id.clone(), f.clone())));
        }
        // The lowest node first: it is the main one where two are equally long.
        files.sort_by_key(|(node, _)| node.parse::<u64>().unwrap_or(u64::MAX));
        let mut seen = std::collections::HashSet::new();
        let mut collected = Collected { outputs: Vec::new(), notes: Vec::new(), to_measure: false };
        for (_, file) in files.into_iter().filter(|(_, f)| seen.insert(f.clone())) {
            self.fetch(&file, &mut collected).await?;
        }
        if collected.outputs.is_empty() && collected.notes.is_empty() {
            collected.notes.push("the workflow saved no file".to_owned());
        }
        Ok(collected)
    }

    async fn history(&self) -> Result<Option<History>, CollectFailure> {
        for attempt in 0..HISTORY_TRIES {
            if attempt > 0 {
                tokio::time::sleep(HISTORY_WAIT * attempt).await;
            }
            match self.client.history(&self.prompt_id).await {
                Ok(Some(history)) => return Ok(Some(history)),
                Ok(None) => {}
                Err(error) => return Err(CollectFailure::Later(error.to_string())),
            }
        }
        Ok(None)
    }

    async fn fetch(&self, file: &OutputRef, into: &mut Collected) -> Result<(), CollectFailure> {
        let shown = text::clean(&file.filename).into_owned();
        let later = |error: &dyn std::fmt::Display| CollectFailure::Later(format!("{shown}: {error}"));
        if let Some(root) = &self.server_folder {
            match self.folder.adopt_output(&self.name, root, &file.subfolder, &file.filename) {
                Ok(Some(path)) => return self.keep(into, &path).map_err(|e| later(&e)),
                Ok(None) => {}
                Err(error) => tracing::warn!("{shown} could not be linked, it is downloaded: {error}"),
            }
        }
        let mut download = match self.client.view(file, 0).await {
            Ok(download) => download,
            Err(error) if error.is_gone() => {
                return Err(CollectFailure::Gone(format!("the server has its output {shown} no more")));
            }
            Err(
                error @ (ComfyError::Status { .. } | ComfyError::Unauthorized { .. } | ComfyError::NotComfyUi { .. }),
            ) => {
                into.notes.push(format!("{shown} was not fetched: {error}"));
                return Ok(());
            }
            Err(error) => return Err(later(&error)),
        };
        let (reserved, part) = self.folder.reserve_output(&self.name, &file.filename).map_err(|e| later(&e))?;
        let mut part = tokio::fs::File::from_std(part);
        match download.write_to(&mut part, self.max_bytes).await {
            Ok(_) => {
                drop(part);
                let path = reserved.publish().map_err(|e| later(&e))?;
                self.keep(into, &path).map_err(|e| later(&e))
            }
            Err(error @ ComfyError::TooBig { .. }) => {
                into.notes.push(format!("{shown} was not fetched: {error}"));
                Ok(())
            }
            Err(error) => Err(later(&error)),
        }
    }

    fn keep(&self, into: &mut Collected, path: &Path) -> std::io::Result<()> {
        let bytes = path.metadata()?.len();
        let path = self.folder.relative(path);
        into.to_measure |= is_measurable(&path);
        into.outputs.push(Output { path, bytes });
        Ok(())
    }

    /// What a server that has forgotten the prompt still has under the attempt's own prefix.
    async fn salvage(&self) -> Result<Collected, CollectFailure> {
        let mut collected = Collected { outputs: Vec::new(), notes: Vec::new(), to_measure: false };
        let nodes = self.graph.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        let own = self.prompt_id.get(..8).unwrap_or_default();
        for node in nodes.values() {
            let Some((subfolder, base, ending)) = saved_as(node, own) else { continue };
            let filename = format!("{base}_00001_.{ending}");
            let file = OutputRef { filename, subfolder, kind: FileKind::Output };
            match self.fetch(&file, &mut collected).await {
                Ok(()) | Err(CollectFailure::Gone(_)) => {}
                Err(later) => return Err(later),
            }
        }
        // A file that the dying server had only begun does not decode.
        let folder = Arc::clone(&self.folder);
        let outputs = std::mem::take(&mut collected.outputs);
        let whole = tokio::task::spawn_blocking(move || {
            let (whole, broken): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|o| {
                crate::video::measure(&folder.resolve(&o.path), &crate::video::Limits::default()).is_ok()
            });
            for output in broken {
                let _ = std::fs::remove_file(folder.resolve(&output.path));
            }
            whole
        })
        .await
        .unwrap_or_default();
        if whole.is_empty() {
            return Err(CollectFailure::Gone("the server was restarted and has forgotten it".to_owned()));
        }
        collected.outputs = whole;
        Ok(collected)
    }
}

fn is_measurable(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    MEASURABLE.contains(&ending.as_str())
}

/// Subfolder, name and ending of what a saving node writes, if its prefix is this attempt's own.
fn saved_as(node: &Value, own: &str) -> Option<(String, String, &'static str)> {
    let class = node.get("class_type")?.as_str()?;
    let prefix = node.get("inputs")?.get("filename_prefix")?.as_str()?;
    let ending = match class {
        "SaveVideo" => "mp4",
        "SaveWEBM" => "webm",
        "SaveAnimatedWEBP" => "webp",
        "SaveImage" | "SaveAnimatedPNG" => "png",
        _ => return None,
    };
    if own.is_empty() || !prefix.ends_with(own) {
        return None;
    }
    let (subfolder, base) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    Some((subfolder.to_owned(), base.to_owned(), ending))
}

/// Measures the outputs; the main one is the one with the most frames, then the first.
pub fn measure(folder: &Folder, outputs: &[Output]) -> crate::verdict::Measurement {
    let mut best: Option<crate::verdict::Measurement> = None;
    let mut trouble = None;
    let measurable = |o: &&Output| is_measurable(&o.path);
    for output in outputs.iter().filter(measurable) {
        match crate::video::measure(&folder.resolve(&output.path), &crate::video::Limits::default()) {
            Ok(measured) => {
                if best.as_ref().is_none_or(|b| measured.frames > b.frames) {
                    best = Some(measured);
                }
            }
            Err(error) => {
                trouble.get_or_insert(error.to_string());
            }
        }
    }
    let is_still = outputs.iter().filter(measurable).all(|o| o.path.to_ascii_lowercase().ends_with(".png"));
    match (best, trouble) {
        (Some(mut still), _) if still.frames <= 1 && is_still => {
            still.ssim = None;
            still.note = Some("still image".to_owned());
            still
        }
        (Some(measured), _) => measured,
        (None, why) => crate::verdict::Measurement { note: why, ..Default::default() },
    }
}
