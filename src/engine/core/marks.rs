//! What people think of attempts: kept, discarded, repaired; and the attempts of several jobs in their order.
//!
//! That one is discarded, or is no more, is written before its files are moved; a start goes on with what a crash cut off.
//! Where they can't be moved, the mark is written back: it says where they lie.

use jiff::Timestamp;

use super::{Effect, State};
use crate::folder::Folder;
use crate::job::{Attempt, Change, JobId, Mark, Repaired};
use crate::protocol::{Answer, Level, Ranked};

/// What was marked before a mark for which files are moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    mark: Option<Mark>,
    /// The attempt that was the one that counts.
    kept: Option<u32>,
}

/// All files of an attempt.
fn files(attempt: &Attempt) -> impl Iterator<Item = &String> {
    let copies = attempt.repaired.iter().map(|repaired| &repaired.output);
    attempt.outputs.iter().chain(copies).map(|output| &output.path)
}

fn is_put_away(path: &str) -> bool {
    path.split('/').any(|part| part == Folder::DISCARDED)
}

/// What brings its files to where its mark says that they lie; none where they do.
fn to_place(job: JobId, attempt: &Attempt) -> Option<Effect> {
    let away = attempt.is_discarded();
    let files: Vec<_> = files(attempt).filter(|path| is_put_away(path) != away).cloned().collect();
    let attempt = attempt.number;
    (!files.is_empty()).then_some(if away {
        Effect::Discard { job, attempt, files }
    } else {
        Effect::BringBack { job, attempt, files }
    })
}

impl State {
    pub(super) fn mark(
        &mut self,
        id: JobId,
        attempt: u32,
        mark: Option<Mark>,
        now: Timestamp,
    ) -> Result<String, String> {
        let job = self.jobs.get(&id).ok_or_else(|| format!("there is no job {id}"))?;
        let one = job.attempts.iter().find(|a| a.number == attempt);
        let one = one.ok_or_else(|| format!("it has no attempt {attempt}"))?;
        let was_discarded = one.is_discarded();
        let kept = job.attempts.iter().find(|a| a.mark == Some(Mark::Kept)).map(|a| a.number);
        let before = Before { mark: one.mark, kept };
        if was_discarded && mark == Some(Mark::Discarded) {
            return Ok("discarded already".to_owned());
        }
        if !self.change(id, Change::Mark { attempt, mark }, now) {
            return Err(format!("attempt {attempt} is not over, or gave nothing"));
        }
        if self.put_to_place(id, attempt) {
            self.marked_before.insert((id, attempt), before);
        }
        Ok(match mark {
            Some(Mark::Kept) if was_discarded => format!("attempt {attempt} is back, and the one that counts"),
            Some(Mark::Kept) => format!("attempt {attempt} is the one that counts"),
            None if was_discarded => format!("attempt {attempt} is back"),
            None => format!("attempt {attempt} is marked no more"),
            Some(Mark::Discarded) => format!("attempt {attempt} is discarded"),
        })
    }

    /// False where nothing is to be moved.
    fn put_to_place(&mut self, id: JobId, attempt: u32) -> bool {
        let effect = self.one(id, attempt).and_then(|one| to_place(id, one));
        let is_some = effect.is_some();
        self.out.extend(effect);
        is_some
    }

    fn one(&self, id: JobId, attempt: u32) -> Option<&Attempt> {
        self.jobs.get(&id)?.attempts.iter().find(|a| a.number == attempt)
    }

    /// The files of an attempt were moved, or some of them.
    pub(super) fn discarded(
        &mut self,
        id: JobId,
        attempt: u32,
        files: Vec<(String, String)>,
        trouble: Option<String>,
        blocked: bool,
        now: Timestamp,
    ) {
        if !files.is_empty() {
            self.change(id, Change::Moved { attempt, files }, now);
        }
        let Some(why) = trouble else {
            // A person may have had another mind meanwhile. What did not go is not asked for again and again.
            if !self.put_to_place(id, attempt) {
                self.marked_before.remove(&(id, attempt));
            }
            return;
        };
        let unmarked = if self.unmark(id, attempt, blocked, now) {
            let is_discarded = self.one(id, attempt).is_some_and(Attempt::is_discarded);
            if is_discarded { " stays discarded" } else { " is not discarded" }
        } else {
            ""
        };
        self.notice(Level::Warning, format!("{id}, attempt {attempt}{unmarked}: {why}"), now);
    }

    /// Its files could not be moved to where its mark says: it gets the one that it had. False where there is nothing to
    /// take back: they lie there (a person had another mind meanwhile), or are gone, which is no reason to keep it.
    fn unmark(&mut self, id: JobId, attempt: u32, blocked: bool, now: Timestamp) -> bool {
        let before = self.marked_before.remove(&(id, attempt));
        let Some(one) = self.one(id, attempt).filter(|one| to_place(id, one).is_some()) else { return false };
        let is_discarded = one.is_discarded();
        if !blocked && (is_discarded || files(one).any(|path| !is_put_away(path))) {
            return false;
        }
        // After a restart only where they lie is known.
        let mark = match before.and_then(|before| before.mark) {
            mark if is_discarded => mark.filter(|mark| *mark != Mark::Discarded),
            _ => Some(Mark::Discarded),
        };
        if !self.change(id, Change::Mark { attempt, mark }, now) {
            return false;
        }
        let others = || self.jobs.get(&id).into_iter().flat_map(|job| &job.attempts);
        let kept = before.and_then(|before| before.kept).filter(|kept| {
            *kept != attempt
                && others().all(|a| a.mark != Some(Mark::Kept))
                && others().any(|a| a.number == *kept && a.mark.is_none())
        });
        if let Some(attempt) = kept.filter(|_| !is_discarded) {
            self.change(id, Change::Mark { attempt, mark: Some(Mark::Kept) }, now);
        }
        true
    }

    /// What was discarded, or brought back, and not moved before the engine died.
    pub(super) fn discard_again(&mut self) {
        let again = self.jobs.values().flat_map(|job| job.attempts.iter().filter_map(|a| to_place(job.id, a)));
        let again: Vec<_> = again.collect();
        self.out.extend(again);
    }

    pub(super) fn repaired(
        &mut self,
        ask: u64,
        id: JobId,
        attempt: u32,
        result: Result<Box<Repaired>, String>,
        now: Timestamp,
    ) {
        let result = result.map(|repaired| {
            let known = &repaired.measurement;
            let note = known
                .note
                .as_ref()
                .filter(|_| known.verdict.is_some())
                .map_or_else(String::new, |note| format!(" ({note})"));
            let words = format!("{}: {}{note}", repaired.output.path, known.words());
            self.change(id, Change::Repaired { attempt, repaired }, now);
            words
        });
        self.out.push(Effect::Reply { ask, result: Ok(Answer::Each(vec![(id, result)])) });
    }

    pub(super) fn ranking(&self, jobs: &[JobId]) -> Vec<Ranked> {
        let jobs = jobs.iter().filter_map(|id| self.jobs.get(id));
        let mut all: Vec<_> = jobs.flat_map(Ranked::all_of).collect();
        all.sort_by(Ranked::order);
        all
    }
}
