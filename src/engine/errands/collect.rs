//! The files of a finished render, fetched from its server.
//!
//! All are fetched before the first gets its name; what an earlier try fetched or named is taken up.
//! Whatever waits for the disk or decodes runs beside the engine's own thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::core::{CollectFailure, Collected};
use super::{blocking, caught, is_measurable};
use crate::comfy::{Client, ComfyError, FileKind, History, OutputRef};
use crate::folder::{Collecting, Folder, Part};
use crate::job::Output;
use crate::text;
use crate::video;

/// How often, and how far apart, a history is asked for that should be there.
const HISTORY_TRIES: u32 = 8;
const HISTORY_WAIT: Duration = Duration::from_millis(150);
/// Files of one node that are looked for on a server that has forgotten the prompt.
const MOST_COUNTED: u32 = 1000;

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

/// A file that is here, without a name as yet.
struct Fetched {
    node: String,
    part: Part,
}

/// What came of asking for one file.
enum Fetch {
    Here(Part),
    /// It will not be fetched: why.
    LeftOut(String),
    /// The server has no such file.
    Gone(String),
}

fn later(error: impl std::fmt::Display) -> CollectFailure {
    CollectFailure::Later(text::clean(&error.to_string()).into_owned())
}

impl Collect {
    /// Fetches all outputs of the attempt; the main one first: the most frames, then the lowest node.
    pub async fn run(self) -> Result<Collected, CollectFailure> {
        caught(self.run_on()).await.unwrap_or_else(|why| Err(CollectFailure::Later(why)))
    }

    async fn run_on(self) -> Result<Collected, CollectFailure> {
        let (folder, prompt_id, name) = (Arc::clone(&self.folder), self.prompt_id.clone(), self.name.clone());
        // Everything may be here already, and only the store not know it.
        let opened = blocking(move || {
            let mut collecting = Collecting::open(folder, &prompt_id, &name)?;
            let resumed = collecting.resume()?;
            Ok::<_, std::io::Error>((collecting, resumed))
        });
        let (collecting, resumed) = opened.await.map_err(later)?.map_err(later)?;
        if let Some((paths, notes)) = resumed {
            return self.outputs(paths, notes).await;
        }
        let history = if self.salvage { None } else { self.history().await? };
        let found = match history {
            Some(history) => self.fetch_all(&collecting, &history).await,
            None => self.salvage(&collecting).await,
        };
        let (fetched, mut notes) = match found {
            Ok(found) => found,
            Err(gone @ CollectFailure::Gone(_)) => {
                let _ = blocking(move || collecting.give_up()).await;
                return Err(gone);
            }
            Err(later) => return Err(later),
        };
        if fetched.is_empty() {
            if notes.is_empty() {
                notes.push("the workflow saved no file".to_owned());
            }
            return Ok(Collected { outputs: Vec::new(), notes, to_measure: false });
        }
        let published = blocking(move || {
            let mut collecting = collecting;
            let parts = main_first(fetched);
            collecting.publish(&parts, &notes).map(|paths| (paths, notes))
        });
        let (paths, notes) = published.await.map_err(later)?.map_err(later)?;
        self.outputs(paths, notes).await
    }

    async fn outputs(&self, paths: Vec<PathBuf>, notes: Vec<String>) -> Result<Collected, CollectFailure> {
        let folder = Arc::clone(&self.folder);
        let outputs = blocking(move || {
            let output = |path: PathBuf| Ok(Output { bytes: path.metadata()?.len(), path: folder.relative(&path) });
            paths.into_iter().map(output).collect::<std::io::Result<Vec<_>>>()
        });
        let outputs = outputs.await.map_err(later)?.map_err(later)?;
        let to_measure = outputs.iter().any(|output| is_measurable(&output.path));
        Ok(Collected { outputs, notes, to_measure })
    }

    async fn history(&self) -> Result<Option<History>, CollectFailure> {
        for attempt in 0..HISTORY_TRIES {
            if attempt > 0 {
                tokio::time::sleep(HISTORY_WAIT * attempt).await;
            }
            match self.client.history(&self.prompt_id).await {
                Ok(Some(history)) => return Ok(Some(history)),
                Ok(None) => {}
                Err(error) => return Err(later(error)),
            }
        }
        Ok(None)
    }

    /// What the history names, previews and latents left out, and notes on what stays on the server.
    async fn fetch_all(
        &self,
        collecting: &Collecting,
        history: &History,
    ) -> Result<(Vec<Fetched>, Vec<String>), CollectFailure> {
        let mut files: Vec<(String, OutputRef)> = Vec::new();
        for output in &history.outputs {
            let results = output.files.iter().filter(|f| f.kind == FileKind::Output && output.key != "latents");
            files.extend(results.map(|f| (output.node_id.clone(), f.clone())));
        }
        // The order in which the history has its nodes is arbitrary.
        files.sort_by_cached_key(|(node, _)| by_number(node));
        let mut seen = std::collections::HashSet::new();
        let (mut fetched, mut notes) = (Vec::new(), Vec::new());
        for (node, file) in files.into_iter().filter(|(_, f)| seen.insert(f.clone())) {
            match self.fetch(collecting, &file).await? {
                Fetch::Here(part) => fetched.push(Fetched { node, part }),
                Fetch::LeftOut(note) => notes.push(note),
                Fetch::Gone(why) => return Err(CollectFailure::Gone(why)),
            }
        }
        Ok((fetched, notes))
    }

    async fn fetch(&self, collecting: &Collecting, file: &OutputRef) -> Result<Fetch, CollectFailure> {
        let shown = text::clean(&file.filename).into_owned();
        let later = |error: &dyn std::fmt::Display| later(format!("{shown}: {error}"));
        let part = collecting.part(&file.subfolder, &file.filename);
        let (here, own, root) = (part.clone(), file.clone(), self.server_folder.clone());
        let is_here = blocking(move || {
            here.place().is_some()
                || root.is_some_and(|root| {
                    here.adopt(&root, &own.subfolder, &own.filename).unwrap_or_else(|error| {
                        tracing::warn!("an output could not be linked, it is downloaded: {error}");
                        false
                    })
                })
        });
        if is_here.await.map_err(|e| later(&e))? {
            return Ok(Fetch::Here(part));
        }
        let mut download = match self.client.view(file, 0).await {
            Ok(download) => download,
            Err(error) if error.is_gone() => {
                return Ok(Fetch::Gone(format!("the server has its output {shown} no more")));
            }
            Err(error) if is_final(&error, file) => {
                return Ok(Fetch::LeftOut(format!("{shown} was not fetched: {error}")));
            }
            Err(error) => return Err(later(&error)),
        };
        let begun = part.clone();
        let begun = blocking(move || begun.begin()).await.map_err(|e| later(&e))?;
        let mut to = tokio::fs::File::from_std(begun.map_err(|e| later(&e))?);
        let written = download.write_to(&mut to, self.max_bytes).await;
        let (to, done) = (to.into_std().await, part.clone());
        match written {
            Ok(_) => {
                let finished = blocking(move || done.finish(to)).await.map_err(|e| later(&e))?;
                finished.map_err(|e| later(&e))?;
                Ok(Fetch::Here(part))
            }
            Err(error) => {
                let dropped = blocking(move || {
                    drop(to);
                    done.discard();
                });
                dropped.await.map_err(|e| later(&e))?;
                match error {
                    ComfyError::TooBig { .. } => Ok(Fetch::LeftOut(format!("{shown} was not fetched: {error}"))),
                    error => Err(later(&error)),
                }
            }
        }
    }

    /// What a server that has forgotten the prompt still has under the attempt's own prefix. All or nothing: each
    /// node that saves must have saved something, and all of it decodes; else the render was not finished.
    async fn salvage(&self, collecting: &Collecting) -> Result<(Vec<Fetched>, Vec<String>), CollectFailure> {
        let forgotten = || CollectFailure::Gone("the server was restarted and has forgotten it".to_owned());
        let empty = serde_json::Map::new();
        let graph = self.graph.as_ref().and_then(Value::as_object).unwrap_or(&empty);
        let own = self.prompt_id.get(..8).unwrap_or_default();
        let (mut fetched, mut notes) = (Vec::new(), Vec::new());
        for (id, node) in graph {
            let Some(prefix) = own_prefix(node, own) else { continue };
            let Some(ending) = saved_ending(node) else { return Err(forgotten()) };
            let (subfolder, base) = prefix.rsplit_once('/').unwrap_or(("", prefix));
            for count in 1..=MOST_COUNTED {
                let filename = format!("{base}_{count:05}_.{ending}");
                let file = OutputRef { filename, subfolder: subfolder.to_owned(), kind: FileKind::Output };
                match self.fetch(collecting, &file).await? {
                    Fetch::Here(part) => {
                        let place = part.clone();
                        let decodes = blocking(move || {
                            let place = place.place();
                            place.is_some_and(|path| video::measure(&path, &video::Limits::default()).is_ok())
                        });
                        // A file that the dying server had only begun.
                        if !decodes.await.map_err(later)? {
                            return Err(forgotten());
                        }
                        fetched.push(Fetched { node: id.clone(), part });
                    }
                    Fetch::LeftOut(note) => {
                        notes.push(note);
                        break;
                    }
                    Fetch::Gone(_) if count == 1 => return Err(forgotten()),
                    Fetch::Gone(_) => break,
                }
            }
        }
        if fetched.is_empty() { Err(forgotten()) } else { Ok((fetched, notes)) }
    }
}

/// Asking for this file again gives the same answer. What a proxy says (it wants a token, it has a page of its own)
/// may pass; 403 is ComfyUI's own word only for a name that leads out of its folder.
fn is_final(error: &ComfyError, file: &OutputRef) -> bool {
    let leads_out = || {
        let path = PathBuf::from(&file.subfolder).join(&file.filename);
        !path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    match error {
        ComfyError::Status { .. } => !error.is_unreachable(),
        ComfyError::Unauthorized { code, .. } => *code == 403 && leads_out(),
        _ => false,
    }
}

/// The main output first: the one with the most frames, then the one of the lowest node; the rest likewise.
fn main_first(fetched: Vec<Fetched>) -> Vec<Part> {
    let alone = fetched.len() == 1;
    let frames = |part: &Part| {
        let path = part.place().filter(|_| !alone && part.is_named(is_measurable))?;
        video::measure(&path, &video::Limits::default()).ok().map(|measured| measured.frames)
    };
    let key = |f: &Fetched| (std::cmp::Reverse(frames(&f.part).unwrap_or(0)), by_number(&f.node));
    let mut fetched = fetched;
    fetched.sort_by_cached_key(key);
    fetched.into_iter().map(|f| f.part).collect()
}

/// Node ids in the order people count them: 9 before 10, and 57:8 (a node of a subgraph) before 57:10.
fn by_number(node: &str) -> (Vec<u64>, String) {
    (node.split(':').map(|part| part.parse().unwrap_or(u64::MAX)).collect(), node.to_owned())
}

/// The prefix under which a node saves, if it is this attempt's own. Latents are no outputs.
fn own_prefix<'a>(node: &'a Value, own: &str) -> Option<&'a str> {
    let prefix = node.get("inputs")?.get("filename_prefix")?.as_str()?;
    let is_latent = node.get("class_type").and_then(Value::as_str) == Some("SaveLatent");
    (!own.is_empty() && !is_latent && prefix.ends_with(own)).then_some(prefix)
}

/// The ending of what a saving node writes, where that is known.
fn saved_ending(node: &Value) -> Option<&'static str> {
    match node.get("class_type")?.as_str()? {
        "SaveVideo" => match node.get("inputs")?.get("format").and_then(Value::as_str) {
            Some("mkv") => Some("mkv"),
            Some("webm") => Some("webm"),
            _ => Some("mp4"),
        },
        "SaveWEBM" => Some("webm"),
        "SaveAnimatedWEBP" => Some("webp"),
        "SaveImage" | "SaveAnimatedPNG" => Some("png"),
        _ => None,
    }
}
