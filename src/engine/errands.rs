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

use futures_util::FutureExt;

use crate::folder::Folder;
use crate::job::Output;
use crate::text;

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
