//! The kept files of a job that is to run again: `comfytop clean` may have taken them away since it ended.
//!
//! They are taken anew where the file that the job named still has the same bytes; else the job is not queued again.

use std::path::{Path, PathBuf};

use crate::engine::Driver;
use crate::job::JobId;
use crate::store::{InputFile, Prompt};
use crate::text;

impl Driver {
    /// Parts jobs that are to run again: those that have all their files, and the others with what is missing.
    pub(in crate::engine) fn with_their_files(&mut self, jobs: Vec<JobId>) -> (Vec<JobId>, Vec<(JobId, String)>) {
        let (mut fit, mut lacking) = (Vec::new(), Vec::new());
        for id in jobs {
            match self.has_files(id) {
                Ok(()) => fit.push(id),
                Err(why) => lacking.push((id, why)),
            }
        }
        (fit, lacking)
    }

    fn has_files(&mut self, id: JobId) -> Result<(), String> {
        // One that has not ended keeps its files; what it may become is for the core to say.
        if self.state.job(id).is_none_or(|job| !job.state.is_ended()) {
            return Ok(());
        }
        let Some(prompt) = self.store.prompt(id).map_err(|e| e.to_string())? else { return Ok(()) };
        for file in &prompt.files {
            let Some(stored) = file.stored.as_deref().filter(|stored| !stored.is_file()) else { continue };
            let mut named = self.named_by(id, &prompt, file)?.into_iter();
            if !named.any(|path| self.folder.keep_again(&path, stored)) {
                return Err(format!(
                    "its {} is not kept any more (`comfytop clean`), and the file has gone or is another: \
                     put it back where it was, or drop the job anew",
                    text::clean(&file.name)
                ));
            }
        }
        Ok(())
    }

    /// The files that this may have been.
    fn named_by(&self, id: JobId, prompt: &Prompt, file: &InputFile) -> Result<Vec<PathBuf>, String> {
        let row = match self.state.job(id).and_then(|job| job.file) {
            Some(row) => self.store.file(row).map_err(|e| e.to_string())?,
            None => None,
        };
        let dir = row.and_then(|row| row.origin).and_then(|origin| origin.parent().map(Path::to_owned));
        let dir = dir.or_else(|| self.folder.inboxes.first().cloned()).unwrap_or_default();
        let of_slots = prompt.slots.iter().filter_map(|(_, value)| value.as_str());
        let in_graph = prompt.graph.get(&file.node).and_then(|node| node.get("inputs")?.get(&file.input)?.as_str());
        let mut paths: Vec<PathBuf> = of_slots.chain(in_graph).map(|written| dir.join(written)).collect();
        // A verb may have handed it in from anywhere.
        paths.extend(self.store.named_like(&file.name).map_err(|e| e.to_string())?);
        paths.retain(|path| path.is_file());
        Ok(paths)
    }
}
