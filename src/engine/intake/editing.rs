//! A job's text for people to edit, and what it asks for once they have.

use super::Drop;
use super::numbering::{Batch, short_hash};
use super::reading::{Draft, Reader, Ready, Wait};
use crate::engine::Driver;
use crate::job::{Edit, JobId, SeedWish};
use crate::job_file::{self, Format};
use crate::workflow::SeedChoice;

impl Driver {
    /// As it was edited last, else as its file has it: this job of it alone.
    pub(in crate::engine) fn job_text(&self, id: JobId) -> Result<String, String> {
        let job = self.state.job(id).ok_or_else(|| format!("there is no job {id}"))?;
        let trouble = |e: crate::store::StoreError| e.to_string();
        let prompt = self.store.prompt(id).map_err(trouble)?;
        if let Some(text) = prompt.as_ref().and_then(|prompt| prompt.text.clone()) {
            return Ok(text);
        }
        let file = job.file.ok_or_else(|| format!("{id} came from no file"))?;
        let format = self.format_of(file).map_err(trouble)?;
        let bytes = self.store.file_text(file).map_err(trouble)?;
        let bytes = bytes.ok_or_else(|| format!("the text of {id} is not in the store"))?;
        let index = usize::try_from(id.0.saturating_sub(file)).unwrap_or(usize::MAX);
        match job_file::parse(format, &bytes) {
            Ok(mut specs) => {
                let spec = specs.get_mut(index).ok_or_else(|| format!("{id} is not in its file"))?;
                if spec.origin.textual {
                    // the cells as the slots read them
                    for (slot, value) in prompt.map(|prompt| prompt.slots).unwrap_or_default() {
                        if let Some(cell) = spec.slots.get_mut(&slot) {
                            *cell = value;
                        }
                    }
                }
                Ok(job_file::text_of(spec))
            }
            // A file that can't be read is one rejected job: all of it.
            Err(_) => String::from_utf8(bytes).map_err(|_| "its file is no text".to_owned()),
        }
    }

    /// How a taken file is written; a picture's text is ours.
    fn format_of(&self, file: u64) -> Result<Format, crate::store::StoreError> {
        Ok(self.store.file(file)?.and_then(|file| Format::of(&file.name)).unwrap_or(Format::Json))
    }

    /// What an edited text asks for; the reason in words, with its place, where it can't be used.
    pub(in crate::engine) fn read_edit(&mut self, id: JobId, text: String) -> Result<(Box<Edit>, String), String> {
        self.state.can_edit(id)?;
        let trouble = |e: crate::store::StoreError| e.to_string();
        let before = self.store.prompt(id).map_err(trouble)?.unwrap_or_default();
        let file = match self.state.job(id).and_then(|j| j.file) {
            Some(file) => self.store.file(file).map_err(trouble)?,
            None => None,
        };
        let name = file.as_ref().map_or_else(|| id.0.to_string(), |f| f.name.clone());
        // what can be read is shown as JSON, whatever the file was
        let is_json = Format::Json.is_complete(text.as_bytes()) == Some(true);
        let name = if is_json { format!("{}.json", Format::stem(&name)) } else { name };
        let dir = file.and_then(|f| f.origin).and_then(|path| path.parent().map(std::path::Path::to_owned));
        let dir = dir.or_else(|| self.folder.inboxes.first().cloned()).unwrap_or_default();
        let inbox = self.inbox_of(&dir);
        let drop = Drop { name, dir, path: None, inbox, ..Drop::at(std::path::PathBuf::new(), text.into_bytes()) };
        let batch = Batch::default();
        let reader = Reader::new(&self.folder, &self.state, &batch, id, &drop, &mut self.intake.shelf);
        let mut drafts = match reader.knowing(&self.preflight).editing(Some(&before)).drafts() {
            Ok(drafts) => drafts.jobs,
            // Nothing is waited for here.
            Err(Wait::NotThereYet(missing)) => {
                return Err(format!("`{}`, which it names, is not there", missing.words));
            }
            Err(Wait::Unread(why)) => return Err(why),
            Err(Wait::Copies(_)) => return Err("a file that it names is too large to be copied here".to_owned()),
        };
        let (Some(draft), None) = (drafts.pop(), drafts.pop()) else {
            return Err("an edited text is one job: drop several as a file".to_owned());
        };
        let Draft { name, workflow, server, priority, note, tags, after, filled, .. } = draft;
        let Ready { prompt, fingerprint, seed, shape, goal, repair } = filled.map_err(|why| {
            if why.detail.is_empty() { why.message } else { format!("{}\n{}", why.message, why.detail) }
        })?;
        let old = self.state.job(id).map(|j| j.seed);
        let seed = match (seed, old) {
            (SeedChoice::Given(seed), _) => SeedWish::Given(seed),
            (SeedChoice::Random | SeedChoice::Next(_), Some(SeedWish::Drawn(seed))) => SeedWish::Drawn(seed),
            (SeedChoice::Next(own), _) => {
                SeedWish::Drawn(self.state.last_seed(&workflow).map_or(own, |last| last.wrapping_add(1)))
            }
            (SeedChoice::Random, _) => SeedWish::Drawn(self.state.draw_seed()),
            (SeedChoice::None, _) => SeedWish::None,
        };
        let fingerprint = match seed {
            SeedWish::Drawn(_) => short_hash(&[&drop.bytes, &id.0.to_le_bytes()]),
            _ => fingerprint,
        };
        Ok((
            Box::new(Edit {
                name,
                workflow,
                only_server: server,
                priority,
                seed,
                shape,
                note,
                tags,
                after,
                goal: goal.map(Box::new),
                repair,
                fingerprint,
            }),
            prompt,
        ))
    }
}
