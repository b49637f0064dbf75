//! Pictures for faces that show them: made on demand by a process of their own, one at a time, kept in the cache.
//!
//! Nobody's render waits for them, and nothing is made that nobody asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::connection::Preview;
use super::{Driver, Event, clean, errands};
use crate::job::{JobId, JobState};
use crate::protocol::{Album, Answer, FromEngine, Pictures, Still, Update};
use crate::video::{self, Limits};

/// A person waits for them: what takes longer is not shown.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who makes pictures, and where they go.
#[derive(Debug, Clone)]
pub(super) struct Studio {
    /// comfytop itself, started anew for each file; none: on the caller's thread.
    program: Option<PathBuf>,
    cache: PathBuf,
    /// Bytes that the cache may take.
    most: u64,
    /// One at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Previews so far, and whether one is being made.
    previews: u64,
    previewing: bool,
}

impl Studio {
    pub(super) fn new(program: Option<PathBuf>, cache: PathBuf, most: u64) -> Self {
        Self { program, cache, most, turn: Arc::default(), previews: 0, previewing: false }
    }

    fn make(&self, path: &Path, what: Pictures, into: &Path) -> Result<Album, String> {
        if let Some(program) = &self.program {
            return video::apart::draw(program, path, what, into, PATIENCE);
        }
        let limits = Limits { time: PATIENCE, ..Limits::default() };
        video::stills::make(path, what, into, &limits).map_err(|error| words(&error))
    }

    fn preview(&self, image: &[u8], number: u64) -> Result<Still, String> {
        video::stills::preview(image, &self.cache, number, |raw, into| self.make(raw, Pictures::Ends, into))
    }

    fn draw(&self, path: &Path, what: Pictures) -> Result<Album, String> {
        let into = self.cache.join("stills").join(name_of(path).map_err(|error| words(&error))?);
        let album = self.make(path, what, &into)?;
        clean::trim("cache", &self.cache, self.most, |path| path.starts_with(&into), false);
        Ok(album)
    }
}

fn words(error: &dyn std::fmt::Display) -> String {
    crate::text::clean(&error.to_string()).into_owned()
}

/// Where the pictures of a file lie: another file, or the same written anew, has another place.
fn name_of(path: &Path) -> std::io::Result<String> {
    let about = path.metadata()?;
    let age = about.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.update(about.len().to_le_bytes());
    hash.update(age.as_nanos().to_le_bytes());
    Ok(crate::text::hex(hash.finalize().get(..12).unwrap_or_default()))
}

impl Driver {
    /// Answers once the pictures of a job's main output are there, or of one of its attempts'.
    pub(super) fn pictures(&mut self, (face, id): (u64, u64), job: JobId, attempt: Option<u32>, what: Pictures) {
        let shown = self.state.job(job).and_then(|job| match attempt {
            Some(number) => job.attempts.iter().find(|attempt| attempt.number == number),
            None => job.shown(),
        });
        let output = shown.and_then(|attempt| Some(attempt.outputs.first()?.path.clone()));
        let (studio, events) = (self.studio.clone(), self.events.clone());
        let path = output.map(|output| self.folder.resolve(&output));
        tokio::spawn(async move {
            let _turn = studio.turn.clone().lock_owned().await;
            let album = match path {
                Some(path) => errands::blocking(move || studio.draw(&path, what)).await.and_then(|album| album),
                None => Err("it has no output".to_owned()),
            };
            let answer = Box::new(Answer::Pictures { job, attempt, what, album });
            let _ = events.send(Event::Drawn { face, id, answer });
        });
    }

    pub(super) fn drawn(&mut self, face: u64, id: u64, answer: Answer) {
        self.hub.send(face, &FromEngine::Answer { id, result: Ok(answer) });
    }
}

impl Driver {
    /// Servers' previews are listened to while somebody looks.
    pub(super) fn look_for_previews(&self) {
        let wanted = self.hub.wants_previews();
        self.previews.send_if_modified(|was| std::mem::replace(was, wanted) != wanted);
    }

    /// A preview came; while one is being made others pass by.
    pub(super) fn preview(&mut self, preview: Preview) {
        if self.studio.previewing || !self.hub.wants_previews() {
            return;
        }
        let Preview { server, prompt_id, image } = preview;
        let server = self.state.server_names().nth(server);
        let is_it = |job: &&crate::job::Job| {
            let attempt = job.attempt().filter(|_| matches!(job.state, JobState::Running));
            attempt.is_some_and(|attempt| match &prompt_id {
                Some(id) => attempt.prompt_id == *id,
                None => Some(attempt.server.as_str()) == server,
            })
        };
        let Some(job) = self.state.jobs().find(is_it).map(|job| job.id) else { return };
        self.studio.previewing = true;
        self.studio.previews += 1;
        let (studio, number, events) = (self.studio.clone(), self.studio.previews, self.events.clone());
        tokio::spawn(async move {
            let still = errands::blocking(move || studio.preview(&image, number)).await.and_then(|still| still);
            let _ = events.send(Event::Previewed { job, still });
        });
    }

    pub(super) fn previewed(&mut self, job: JobId, still: Result<Still, String>) {
        self.studio.previewing = false;
        match still {
            Ok(still) => self.hub.preview(Update::Preview { job, still }),
            Err(why) => tracing::debug!("a preview of {job} can't be shown: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_anew_has_pictures_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let clip = dir.path().join("clip.mp4");
        std::fs::write(&clip, "one").unwrap();
        let before = name_of(&clip).unwrap();
        assert_eq!(before, name_of(&clip).unwrap());
        std::fs::write(&clip, "another").unwrap();
        assert_ne!(before, name_of(&clip).unwrap());
        assert!(name_of(&dir.path().join("gone.mp4")).is_err());
    }
}
