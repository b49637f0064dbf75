//! What an earlier job gave, as the input of a later one: kept as any other file that a job names.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::core::PostResult;
use super::blocking;
use crate::folder::Folder;
use crate::job::{Failure, FailureKind, JobId, Output};
use crate::store::InputFile;
use crate::text;
use crate::workflow::SlotType;

const PICTURES: &[&str] = &["png", "jpg", "jpeg", "webp", "apng", "gif", "bmp", "tif", "tiff"];
const CLIPS: &[&str] = &["mp4", "mov", "webm", "mkv", "m4v", "avi", "gif", "webp", "apng"];
const SOUNDS: &[&str] = &["flac", "wav", "mp3", "ogg", "opus", "m4a"];

/// The files of a job, those that other jobs gave kept as well.
pub async fn fetched(
    folder: &Arc<Folder>,
    files: Vec<InputFile>,
    given: HashMap<JobId, Vec<Output>>,
) -> Result<Vec<InputFile>, PostResult> {
    let mut all = Vec::with_capacity(files.len());
    for mut file in files {
        if let Some(from) = file.from {
            let output = given.get(&from).and_then(|outputs| choose(outputs, file.takes));
            let Some(output) = output else { return Err(nothing(from, file.takes, given.get(&from))) };
            let (folder, path) = (Arc::clone(folder), folder.resolve(&output.path));
            file.stored = Some(kept(folder, path).await?);
        }
        all.push(file);
    }
    Ok(all)
}

async fn kept(folder: Arc<Folder>, path: PathBuf) -> Result<PathBuf, PostResult> {
    let kept = blocking(move || folder.keep_input(&path)).await.and_then(|kept| kept.map_err(|e| e.to_string()));
    kept.map(|kept| kept.stored).map_err(|why| refused(why, String::new()))
}

/// The first output that the input can take.
fn choose(outputs: &[Output], takes: SlotType) -> Option<&Output> {
    let endings = match takes {
        SlotType::Video => CLIPS,
        SlotType::Audio => SOUNDS,
        _ => PICTURES,
    };
    outputs.iter().find(|output| {
        let ending = output.path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        endings.contains(&ending.as_str())
    })
}

fn nothing(from: JobId, takes: SlotType, outputs: Option<&Vec<Output>>) -> PostResult {
    let names = outputs.into_iter().flatten().map(|output| text::clean(&output.path).into_owned()).collect::<Vec<_>>();
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
        assert_eq!(choose(&outputs(&["outputs/a.mp4"]), SlotType::Image), None);
    }

    #[test]
    fn a_job_that_gave_nothing_fit_says_so() {
        let PostResult::Refused(why) = nothing(JobId(3), SlotType::Image, Some(&outputs(&["outputs/a.mp4"]))) else {
            panic!("refused")
        };
        assert_eq!(why.message, "#3 gave no file for a picture: it has outputs/a.mp4");
    }
}
