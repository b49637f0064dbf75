//! What an earlier job gave, as the input of a later one: kept as any other file that a job names.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::super::core::PostResult;
use super::{Measurer, blocking};
use crate::folder::{Folder, KeptInput};
use crate::job::{Failure, FailureKind, JobId, Output};
use crate::store::InputFile;
use crate::text;
use crate::workflow::SlotType;

const PICTURES: &[&str] = &["png", "jpg", "jpeg", "webp", "apng", "gif", "bmp", "tif", "tiff"];
const CLIPS: &[&str] = &["mp4", "mov", "webm", "mkv", "m4v", "avi", "gif", "webp", "apng"];
const SOUNDS: &[&str] = &["flac", "wav", "mp3", "ogg", "opus", "m4a"];

/// What to do where all is discarded.
const GONE: &str = "Its files lie in outputs/.discarded/. Requeue that job, then this one; or name the file itself.";

/// The files of a job, those that other jobs gave kept as well.
pub async fn fetched(
    folder: &Arc<Folder>,
    measurer: &Measurer,
    files: Vec<InputFile>,
    given: HashMap<JobId, Result<Vec<Output>, String>>,
) -> Result<Vec<InputFile>, PostResult> {
    let mut all = Vec::with_capacity(files.len());
    for mut file in files {
        if let Some(from) = file.from {
            let outputs = match given.get(&from) {
                Some(Ok(outputs)) => outputs.as_slice(),
                Some(Err(why)) => return Err(refused(text::clean(why).into_owned(), GONE.to_owned())),
                None => &[],
            };
            let output = choose(outputs, file.takes).ok_or_else(|| nothing(from, file.takes, outputs))?;
            let (folder, path, measurer) = (Arc::clone(folder), folder.resolve(&output.path), measurer.clone());
            let takes_picture = matches!(file.takes, SlotType::Image | SlotType::Mask);
            let kept =
                blocking(
                    move || {
                        if takes_picture { keep_picture(&folder, &measurer, &path) } else { keep(&folder, &path) }
                    },
                );
            file.stored = Some(kept.await.and_then(|kept| kept).map_err(|why| refused(why, String::new()))?.stored);
        }
        all.push(file);
    }
    Ok(all)
}

fn keep(folder: &Folder, path: &Path) -> Result<KeptInput, String> {
    folder.keep_input(path).map_err(|error| error.to_string())
}

/// A picture as it is; of a clip the last frame, with which the next one goes on.
fn keep_picture(folder: &Folder, measurer: &Measurer, path: &Path) -> Result<KeptInput, String> {
    if !is_one_of(CLIPS, path) {
        return keep(folder, path);
    }
    let name = text::clean(&path.file_name().unwrap_or_default().to_string_lossy()).into_owned();
    let still = measurer.last_frame(path).map_err(|why| format!("the last frame of {name}: {}", text::clean(&why)))?;
    if still.frames <= 1 && is_one_of(PICTURES, path) {
        return keep(folder, path);
    }
    folder.keep_bytes(&format!("{name}.png"), &still.png).map_err(|error| error.to_string())
}

/// The first output that the input can take; for a picture, where there is none, the first clip.
fn choose(outputs: &[Output], takes: SlotType) -> Option<&Output> {
    let kinds: &[&[&str]] = match takes {
        SlotType::Video => &[CLIPS],
        SlotType::Audio => &[SOUNDS],
        _ => &[PICTURES, CLIPS],
    };
    kinds.iter().find_map(|endings| outputs.iter().find(|output| is_one_of(endings, Path::new(&output.path))))
}

fn is_one_of(endings: &[&str], path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    endings.contains(&ending.as_str())
}

fn nothing(from: JobId, takes: SlotType, outputs: &[Output]) -> PostResult {
    let names = outputs.iter().map(|output| text::clean(&output.path).into_owned()).collect::<Vec<_>>();
    let gave = if names.is_empty() { "no output".to_owned() } else { names.join(", ") };
    refused(format!("{from} gave no file for {}: it has {gave}", takes.words()), String::new())
}

fn refused(message: String, detail: String) -> PostResult {
    PostResult::Refused(Failure { kind: FailureKind::File, node: None, message, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(paths: &[&str]) -> Vec<Output> {
        paths.iter().map(|path| Output { path: (*path).to_owned(), bytes: 1 }).collect()
    }

    #[test]
    fn an_output_is_chosen_by_what_the_input_takes() {
        let all = outputs(&["outputs/a.mp4", "outputs/a.PNG", "outputs/a.flac"]);
        let chosen = |takes| choose(&all, takes).map(|output| output.path.as_str());
        assert_eq!(chosen(SlotType::Image), Some("outputs/a.PNG"));
        assert_eq!(chosen(SlotType::Video), Some("outputs/a.mp4"));
        assert_eq!(chosen(SlotType::Audio), Some("outputs/a.flac"));
        let clip = outputs(&["outputs/a.flac", "outputs/a.mp4"]);
        assert_eq!(choose(&clip, SlotType::Image).map(|output| output.path.as_str()), Some("outputs/a.mp4"));
        assert_eq!(choose(&outputs(&["outputs/a.flac"]), SlotType::Image), None);
    }

    #[test]
    fn a_job_that_gave_nothing_fit_says_so() {
        let PostResult::Refused(why) = nothing(JobId(3), SlotType::Image, &outputs(&["outputs/a.flac"])) else {
            panic!("refused")
        };
        assert_eq!(why.message, "#3 gave no file for a picture: it has outputs/a.flac");
    }
}
