//! What people think of attempts: kept, discarded, repaired; and the attempts of several jobs in their order.
//!
//! That one is discarded is written before its files are moved; a start goes on with what a crash cut off.

use jiff::Timestamp;

use super::{Effect, State};
use crate::folder::Folder;
use crate::job::{Attempt, Change, JobId, Mark, Repaired};
use crate::protocol::{Answer, Level, Ranked};

/// Its files that lie where they were rendered.
fn files_of(attempt: &Attempt) -> Vec<String> {
    let all = attempt.outputs.iter().chain(attempt.repaired.iter().map(|repaired| &repaired.output));
    let is_there = |path: &&String| !path.split('/').any(|part| part == Folder::DISCARDED);
    all.map(|output| &output.path).filter(is_there).cloned().collect()
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
        match (one.mark, mark) {
            (Some(Mark::Discarded), Some(Mark::Discarded)) => return Ok("discarded already".to_owned()),
            (Some(Mark::Discarded), _) => {
                return Err(format!("attempt {attempt} is discarded: its files lie in outputs/{}/", Folder::DISCARDED));
            }
            _ => {}
        }
        let files = files_of(one);
        if !self.change(id, Change::Mark { attempt, mark }, now) {
            return Err(format!("attempt {attempt} is not over, or gave nothing"));
        }
        Ok(match mark {
            Some(Mark::Kept) => format!("attempt {attempt} is the one that counts"),
            None => format!("attempt {attempt} is marked no more"),
            Some(Mark::Discarded) => {
                self.out.push(Effect::Discard { job: id, attempt, files });
                format!("attempt {attempt} is discarded")
            }
        })
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
        }
        if let Some(why) = trouble {
            self.notice(Level::Warning, format!("{id}, attempt {attempt}: {why}"), now);
        }
    }

    /// What was discarded and not moved before the engine died.
    pub(super) fn discard_again(&mut self) {
        let discarded = self.jobs.values().flat_map(|job| {
            let marked = job.attempts.iter().filter(|a| a.mark == Some(Mark::Discarded));
            marked.map(|a| Effect::Discard { job: job.id, attempt: a.number, files: files_of(a) })
        });
        let left = |effect: &Effect| matches!(effect, Effect::Discard { files, .. } if !files.is_empty());
        let again: Vec<_> = discarded.filter(left).collect();
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
