//! What people do to outputs: a mended copy beside one, or one out of the way and back.
//!
//! Beside the engine's own thread; each ends in one input for the core.

use std::io::ErrorKind;
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

    /// Moves the files of an attempt out of the way, or back: all that are there, or none.
    pub(super) fn shift(&mut self, job: JobId, attempt: u32, files: Vec<String>, away: bool) {
        let (folder, events) = (Arc::clone(&self.folder), self.events.clone());
        tokio::spawn(async move {
            let mark = format!("{:06}-{attempt}", job.0);
            let shifted = errands::blocking(move || shift_all(&folder, files, &mark, away)).await;
            let Shifted { moved: files, trouble, blocked } =
                shifted.unwrap_or_else(|why| Shifted { trouble: Some(why), ..Shifted::default() });
            let _ = events.send(Event::Input(Input::Discarded { job, attempt, files, trouble, blocked }));
        });
    }
}

/// What came of a move.
#[derive(Debug, Default, PartialEq)]
struct Shifted {
    /// From, to.
    moved: Vec<(String, String)>,
    trouble: Option<String>,
    /// One that is there could not be moved, so none was: what lies here is what could not be moved back.
    blocked: bool,
}

fn shift_all(folder: &Folder, files: Vec<String>, mark: &str, away: bool) -> Shifted {
    let (shift, undo): (Shift, Shift) =
        if away { (Folder::discard, Folder::bring_back) } else { (Folder::bring_back, Folder::discard) };
    let mut shifted = Shifted::default();
    for file in files {
        match shift(folder, &file, mark) {
            Ok(to) => shifted.moved.push((file, to)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                shifted.trouble = Some(format!("{file} is gone"));
            }
            Err(error) => {
                shifted.trouble = Some(match error.kind() {
                    // It says which, and what to do.
                    ErrorKind::AlreadyExists => error.to_string(),
                    _ => format!("{file} can't be moved: {error}"),
                });
                shifted.blocked = true;
                shifted.moved.retain(|(_, to)| undo(folder, to, mark).is_err());
                break;
            }
        }
    }
    shifted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn all_files_of_an_attempt_are_moved_or_none() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::with(dir.path(), &[], Path::new("outputs"), None).expect("a folder");
        std::fs::create_dir_all(dir.path().join("outputs/.discarded")).expect("made");
        let read = |path: &str| std::fs::read_to_string(folder.resolve(path)).unwrap_or_default();
        let write = |path: &str, text: &str| std::fs::write(folder.resolve(path), text).expect("written");
        let out = ["outputs/a.mp4", "outputs/a-cut.mp4"].map(str::to_owned).to_vec();
        let away = ["outputs/.discarded/7-1-a.mp4", "outputs/.discarded/7-1-a-cut.mp4"].map(str::to_owned).to_vec();
        write(&out[0], "a");
        write(&out[1], "a-cut");
        // Another's file has the name of the second.
        write(&away[1], "another's");
        let shifted = shift_all(&folder, out.clone(), "7-1", true);
        let told = "outputs/.discarded/7-1-a-cut.mp4 is in the way: rename it or move it elsewhere, then try again";
        assert_eq!(shifted, Shifted { moved: Vec::new(), trouble: Some(told.to_owned()), blocked: true });
        assert_eq!([&out[0], &out[1], &away[0], &away[1]].map(|path| read(path)), ["a", "a-cut", "", "another's"]);
        std::fs::remove_file(folder.resolve(&away[1])).expect("removed");
        let shifted = shift_all(&folder, out.clone(), "7-1", true);
        assert!(shifted.trouble.is_none() && shifted.moved.len() == 2, "{shifted:?}");
        // The way back.
        write(&out[1], "another's");
        let shifted = shift_all(&folder, away.clone(), "7-1", false);
        let told = "outputs/a-cut.mp4 is in the way: rename it or move it elsewhere, then try again";
        assert_eq!(shifted, Shifted { moved: Vec::new(), trouble: Some(told.to_owned()), blocked: true });
        assert_eq!([&out[0], &out[1], &away[0], &away[1]].map(|path| read(path)), ["", "another's", "a", "a-cut"]);
        // One that is gone keeps nobody from moving the other.
        std::fs::remove_file(folder.resolve(&out[1])).expect("removed");
        std::fs::remove_file(folder.resolve(&away[1])).expect("removed");
        let shifted = shift_all(&folder, away.clone(), "7-1", false);
        assert_eq!(shifted.moved, [(away[0].clone(), out[0].clone())]);
        assert_eq!((shifted.trouble, shifted.blocked), (Some(format!("{} is gone", away[1])), false));
    }
}
