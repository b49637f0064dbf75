//! The effects that take time: uploading and posting, looking prompts up, fetching outputs.
//!
//! Each runs in a task of its own and ends in one input for the core. They repeat nothing by
//! themselves but the question for a history that is about to be written.

mod collect;
mod given;
mod look;
mod post;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;

use crate::folder::Folder;
use crate::job::{Output, Repaired};
use crate::protocol::Look;
use crate::text;
use crate::verdict::{Curves, Measurement, Repair, Thresholds};
use crate::video::apart::Mend;
use crate::video::{self, LastFrame, Limits};

pub use collect::Collect;
pub use given::fetched;
pub use look::look;
pub use post::{Uploaded, post, upload};

/// Endings of files that can be measured.
const MEASURABLE: &[&str] = &["mp4", "mov", "m4v", "mkv", "webm", "gif", "webp", "png", "apng", "avi"];

/// Does the work; should it panic, the words of the panic. A job waits for every errand's end.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| words_of(panic.as_ref()))
}

/// Does work that waits for the disk, or decodes, beside the engine's own thread.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => words_of(panic.as_ref()),
        Err(error) => error.to_string(),
    })
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text::clean(&format!("an error inside comfytop: {}", words.unwrap_or("a panic without words"))).into_owned()
}

fn is_measurable(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    MEASURABLE.contains(&ending.as_str())
}

/// How outputs are looked at, and what becomes inputs of them.
#[derive(Debug, Clone, Default)]
pub struct Measurer {
    /// comfytop itself, started anew for each file; none: on the caller's thread.
    pub program: Option<PathBuf>,
    pub thresholds: Thresholds,
}

impl Measurer {
    fn look(&self, path: &Path) -> Result<(Measurement, Curves), String> {
        let limits = Limits::default();
        match &self.program {
            Some(program) => video::apart::examine(program, path, limits.time, &self.thresholds),
            None => video::examine(path, &limits, &self.thresholds)
                .map(|(known, curves)| (known, curves.shortened()))
                .map_err(|error| error.to_string()),
        }
    }

    /// The last frame of a clip.
    pub fn last_frame(&self, path: &Path) -> Result<LastFrame, String> {
        let limits = Limits::default();
        match &self.program {
            Some(program) => video::apart::last_frame(program, path, limits.time),
            None => video::last_frame(path, &limits).map_err(|error| error.to_string()),
        }
    }

    /// A mended copy of an output, measured. With `again` one will do that was made before and not heard of.
    ///
    /// # Errors
    /// Words: why there is none.
    pub fn mend(
        &self,
        folder: &Folder,
        path: &str,
        how: Repair,
        known: &Measurement,
        again: bool,
    ) -> Result<(Repaired, Look), String> {
        let limits = Limits::default();
        let clip = folder.resolve(path);
        let copy = match &self.program {
            Some(program) => {
                video::apart::mend(program, &clip, limits.time, Mend { how, known: known.clone(), again })?
            }
            None => video::repair::repair(&clip, how, known, &limits).map_err(|error| error.to_string())?,
        };
        let bytes = copy.path.metadata().map_or(0, |meta| meta.len());
        let output = Output { path: folder.relative(&copy.path), bytes };
        let (mut measurement, curves) = self.look(&copy.path)?;
        Repair::own_up(known, &mut measurement);
        if let Some(lacks) = &copy.note {
            measurement.add_note(lacks);
        }
        let look = Look { path: output.path.clone(), measurement: measurement.clone(), curves };
        Ok((Repaired { how: how.word().to_owned(), output, measurement }, look))
    }

    /// Does to each of these what the judge advises. What could not be done is told by the look itself.
    pub fn mend_as_advised(&self, folder: &Folder, looks: &mut Vec<Look>) -> Vec<Repaired> {
        let mut all = Vec::new();
        let mut copies = Vec::new();
        for look in looks.iter_mut() {
            let Some(how) = Repair::advised(&look.measurement) else { continue };
            match self.mend(folder, &look.path, how, &look.measurement, true) {
                Ok((repaired, copy)) => {
                    all.push(repaired);
                    copies.push(copy);
                }
                Err(why) => look.measurement.unrepaired = Some(text::clean(&why).into()),
            }
        }
        looks.extend(copies);
        all
    }

    /// Looks at every output that can be measured; the main one, with the most frames, comes first.
    /// One that can't be measured has its reason as note.
    pub fn looks(&self, folder: &Folder, outputs: &[Output]) -> Vec<Look> {
        let mut looks: Vec<_> = outputs
            .iter()
            .filter(|output| is_measurable(&output.path))
            .map(|output| {
                let (measurement, curves) = self.look(&folder.resolve(&output.path)).unwrap_or_else(|why| {
                    let note = Some(text::clean(&why).into_owned());
                    (Measurement { note, ..Measurement::default() }, Curves::default())
                });
                Look { path: output.path.clone(), measurement, curves }
            })
            .collect();
        looks.sort_by_key(|look| std::cmp::Reverse(look.measurement.frames));
        let is_still = |look: &Look| look.measurement.frames <= 1 && look.path.to_ascii_lowercase().ends_with(".png");
        if looks.iter().all(is_still)
            && let Some(main) = looks.first_mut()
            && main.measurement.frames == 1
        {
            main.measurement.ssim = None;
            main.measurement.note = Some("still image".to_owned());
        }
        looks
    }
}
