//! What people think of attempts: kept, discarded, repaired; and the attempts of several jobs in their order.
//!
//! That one is discarded, or is no more, is written before its files are moved; a start goes on with what a crash cut off.

use jiff::Timestamp;

use super::{Effect, State};
use crate::folder::Folder;
use crate::job::{Attempt, Change, JobId, Mark, Repaired};
use crate::protocol::{Answer, Level, Ranked};

/// What brings its files to where its mark says that they lie; none where they do.
fn to_place(job: JobId, attempt: &Attempt) -> Option<Effect> {
    let all = attempt.outputs.iter().chain(attempt.repaired.iter().map(|repaired| &repaired.output));
    let is_put_away = |path: &str| path.split('/').any(|part| part == Folder::DISCARDED);
    let away = attempt.is_discarded();
    let files: Vec<_> = all.map(|output| &output.path).filter(|path| is_put_away(path) != away).cloned().collect();
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
        if was_discarded && mark == Some(Mark::Discarded) {
            return Ok("discarded already".to_owned());
        }
        if !self.change(id, Change::Mark { attempt, mark }, now) {
            return Err(format!("attempt {attempt} is not over, or gave nothing"));
        }
        self.put_to_place(id, attempt);
        Ok(match mark {
            Some(Mark::Kept) if was_discarded => format!("attempt {attempt} is back, and the one that counts"),
            Some(Mark::Kept) => format!("attempt {attempt} is the one that counts"),
            None if was_discarded => format!("attempt {attempt} is back"),
            None => format!("attempt {attempt} is marked no more"),
            Some(Mark::Discarded) => format!("attempt {attempt} is discarded"),
        })
    }

    fn put_to_place(&mut self, id: JobId, attempt: u32) {
        let one = self.jobs.get(&id).and_then(|job| job.attempts.iter().find(|a| a.number == attempt));
        self.out.extend(one.and_then(|one| to_place(id, one)));
    }

    /// The files of an attempt were moved, or some of them.
    pub(super) fn discarded(
        &mut self,
        id: JobId,
        attempt: u32,
        files: Vec<(String, String)>,
        trouble: Option<String>,
        now: Timestamp,
    ) {
        if !files.is_empty() {
            self.change(id, Change::Moved { attempt, files }, now);
            // A person may have had another mind meanwhile. What did not go is not asked for again and again.
            if trouble.is_none() {
                self.put_to_place(id, attempt);
            }
        }
        if let Some(why) = trouble {
            self.notice(Level::Warning, format!("{id}, attempt {attempt}: {why}"), now);
        }
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
