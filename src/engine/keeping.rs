//! What people do to outputs: a mended copy beside one, or one out of the way and back.
//!
//! Beside the engine's own thread; each ends in one input for the core.

use std::sync::Arc;

use super::core::{Effect, Input};
use super::{Driver, Event, errands};
use crate::folder::Folder;
use crate::job::{JobId, Repaired};
use crate::protocol::Look;
use crate::store::Write;
use crate::text;
use crate::verdict::Repair;

/// Where a file goes, under a mark of its job and attempt.
type Shift = fn(&Folder, &str, &str) -> std::io::Result<String>;

/// What came of a repair.
pub(super) struct Mended {
    ask: u64,
    job: JobId,
    attempt: u32,
    prompt_id: String,
    made: Result<(Repaired, Look), String>,
}

impl Driver {
    /// Begins a mended copy; `face` is answered when it is there.
    ///
    /// # Errors
    /// Words: why it can't even begin.
    pub(super) fn mend(
        &mut self,
        job: JobId,
        number: u32,
        path: &str,
        how: Option<Repair>,
        face: (u64, u64),
    ) -> Result<(), String> {
        let known = self.state.job(job).ok_or_else(|| format!("there is no job {job}"))?;
        let attempt = known.attempts.iter().find(|a| a.number == number);
        let attempt = attempt.ok_or_else(|| format!("{job} has no attempt {number}"))?;
        if attempt.is_discarded() {
            return Err(format!("attempt {number} is discarded"));
        }
        let prompt_id = attempt.prompt_id.clone();
        // Only what is its own: no other file is read, or written beside, because a face names it.
        let looks = self.store.looks(&prompt_id).map_err(|error| error.to_string())?;
        let look = looks.into_iter().find(|look| path.is_empty() || look.path == path);
        let look = look.ok_or_else(|| format!("{job} has no such output that was measured: {}", text::clean(path)))?;
        let how = how.or_else(|| Repair::advised(&look.measurement));
        let how = how.ok_or_else(|| {
            let verdict = look.measurement.verdict.unwrap_or_default().word();
            format!("its verdict is `{verdict}`, which advises nothing: name a repair")
        })?;
        let ask = self.next_ask;
        self.next_ask += 1;
        self.asks.insert(ask, face);
        let (folder, events, measurer) = (Arc::clone(&self.folder), self.events.clone(), self.measurer.clone());
        tokio::spawn(async move {
            let made = errands::blocking(move || measurer.mend(&folder, &look.path, how, &look.measurement, false));
            let made = made.await.and_then(|made| made).map_err(|why| text::clean(&why).into_owned());
            let mended = Mended { ask, job, attempt: number, prompt_id, made };
            let _ = events.send(Event::Mended(Box::new(mended)));
        });
        Ok(())
    }

    pub(super) fn mended(&mut self, mended: Mended) {
        let Mended { ask, job, attempt, prompt_id, made } = mended;
        let result = made.map(|(repaired, look)| {
            // Kept together with the copy itself, in one transaction.
            if let Ok(mut looks) = self.store.looks(&prompt_id) {
                looks.push(look);
                self.pending.push(Effect::Write(Write::Looks { prompt_id, looks }));
            }
            Box::new(repaired)
        });
        let is_made = result.is_ok();
        self.step(Input::Repaired { ask, job, attempt, result });
        if is_made {
            self.tell_result_again(job);
        }
    }

    /// Moves the files of an attempt out of the way, or back.
    pub(super) fn shift(&mut self, job: JobId, attempt: u32, files: Vec<String>, how: Shift) {
        let (folder, events) = (Arc::clone(&self.folder), self.events.clone());
        tokio::spawn(async move {
            let moved = errands::blocking(move || {
                let (mut moved, mut trouble) = (Vec::new(), None);
                for file in files {
                    match how(&folder, &file, &format!("{:06}-{attempt}", job.0)) {
                        Ok(to) => moved.push((file, to)),
                        Err(error) => trouble = Some(format!("{file} can't be moved: {error}")),
                    }
                }
                (moved, trouble)
            });
            let (files, trouble) = moved.await.unwrap_or_else(|why| (Vec::new(), Some(why)));
            let _ = events.send(Event::Input(Input::Discarded { job, attempt, files, trouble }));
        });
    }
}
