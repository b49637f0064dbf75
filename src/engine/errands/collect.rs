//! The files of a finished render, fetched from its server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::is_measurable;
use super::super::core::{CollectFailure, Collected};
use crate::comfy::{Client, ComfyError, FileKind, History, OutputRef};
use crate::folder::Folder;
use crate::job::Output;
use crate::text;

/// How often, and how far apart, a history is asked for that should be there.
const HISTORY_TRIES: u32 = 8;
const HISTORY_WAIT: Duration = Duration::from_millis(150);

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
