//! Setting right, at the start, what a crash left between a file's row, its rename and its place.
//!
//! It never deletes a file, and takes nothing for gone that lies in a folder which can't be read.

use std::path::Path;

use super::numbering::hash;
use crate::engine::core::Effect;
use crate::engine::{Driver, EngineError};
use crate::folder::{Ending, number_of};
use crate::store::{FileRow, Place, StoreError, Write};

impl Driver {
    pub(in crate::engine) fn reconcile_files(&mut self) -> Result<(), EngineError> {
        for file in self.store.open_files()? {
            let queued = self.folder.queued_path(file.origin.as_deref(), file.id, &file.name);
            let is_queued = queued.exists();
            match file.place {
                Place::Taking if is_queued || self.is_ours(&file, &queued)? => {
                    if !is_queued && file.origin.is_none() {
                        self.put_queued(&file)?;
                    }
                    self.place(file.id, Place::Queued);
                }
                Place::Taking => {
                    let jobs = self.state.jobs_of_file(file.id);
                    self.store.untake(&[(file.id, jobs.clone())])?;
                    self.state.forget(file.id, &jobs);
                }
                Place::Returning if is_queued => {
                    let again = self.to_run_again(file.id);
                    self.run_again(file, again);
                }
                Place::Returning => {
                    // It never moved: where it still lies in the inbox, it is offered again.
                    self.place(file.id, Place::Failed);
                    self.state.forget(file.id, &[]);
                }
                _ if !is_queued => self.move_again(&file),
                _ => {}
            }
        }
        self.walk_queued()
    }

    /// Whether a file whose taking was cut off, and that was not moved, is ours all the same.
    fn is_ours(&self, file: &FileRow, queued: &Path) -> Result<bool, StoreError> {
        // Handed in by a verb: the store has its text, and there is no other.
        let Some(origin) = &file.origin else { return Ok(true) };
        for job in self.state.jobs_of_file(file.id) {
            if !self.store.events(job)?.is_empty() {
                return Ok(true);
            }
        }
        // Still there: it is offered again. Nowhere: another engine took it while we were dead; unless
        // the folder itself is away, and nothing can be said.
        Ok(!origin.exists() && !queued.parent().is_some_and(Path::is_dir))
    }

    fn put_queued(&self, file: &FileRow) -> Result<(), StoreError> {
        let text = self.store.file_text(file.id)?.unwrap_or_default();
        if let Err(error) = self.folder.put_queued(file.id, &file.name, &String::from_utf8_lossy(&text)) {
            tracing::warn!("{}: {error}", file.name);
        }
        Ok(())
    }

    /// A power cut may undo a rename that the store knows of.
    fn move_again(&mut self, file: &FileRow) {
        // One whose job was requeued may still lie where it was put away.
        let queued = self.folder.queued_path(file.origin.as_deref(), file.id, &file.name);
        if let Err(error) = self.folder.reopen(&queued) {
            tracing::warn!("{}: {error}", file.name);
        }
        if queued.exists() {
            return;
        }
        let Some(origin) = &file.origin else { return };
        if std::fs::read(origin).is_ok_and(|bytes| hash(&bytes) == file.hash)
            && let Err(error) = self.folder.take(origin, file.id, &file.name)
        {
            tracing::warn!("{}: {error}", file.name);
        }
    }

    /// Files in `queued/` that are ours and have no business there.
    fn walk_queued(&mut self) -> Result<(), EngineError> {
        let files = match self.folder.queued_files() {
            Ok(files) => files,
            Err(error) => {
                // The inbox tells it as a banner.
                tracing::warn!("{error}");
                return Ok(());
            }
        };
        for (number, path) in files {
            let Some(file) = self.store.file(number)? else { continue };
            let ending = match file.place {
                Place::Done => Ending::Done,
                Place::Failed => Ending::Failed,
                Place::Taking | Place::Returning | Place::Queued => continue,
            };
            // On a shared inbox another engine counts from one as well.
            let is_ours = path.file_name().and_then(number_of).is_some_and(|(_, name)| name == file.name)
                && std::fs::read(&path).is_ok_and(|bytes| hash(&bytes) == file.hash);
            if !is_ours {
                continue;
            }
            let again = self.to_run_again(number);
            if ending == Ending::Failed && !again.is_empty() {
                self.store.returning(number, &path)?;
                self.run_again(file, again);
            } else if let Err(error) = self.put_back(number, &path, ending) {
                tracing::warn!("{error}");
            }
        }
        Ok(())
    }

    /// Its result is written anew where that is missing: it went elsewhere while a share was away.
    fn put_back(&mut self, number: u64, path: &Path, ending: Ending) -> std::io::Result<()> {
        if ending == Ending::Failed || self.folder.sidecar_path(path, ending).exists() {
            return self.folder.put_back(path, ending);
        }
        let now = jiff::Timestamp::now();
        let jobs = self.state.jobs_of_file(number);
        let rows: Vec<_> = jobs.into_iter().filter_map(|id| self.state.job_row(id, now)).collect();
        self.folder.finish(path, ending, &super::words::sidecar(ending, &rows)).map(|_| ())
    }

    fn place(&mut self, file: u64, place: Place) {
        self.pending.push(Effect::Write(Write::FilePlace { file, place }));
    }
}
