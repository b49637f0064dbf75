//! Inboxes on a share that comes and goes while jobs are under way.
//!
//! An inbox that has lost its `queued/`, or is another folder than before without the files that were taken, is away:
//! nothing is made in it, and files whose jobs have ended are put away when it is back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::engine::Driver;
use crate::engine::core::{Effect, OpenFile};
use crate::folder::{Ending, Seat};
use crate::job::JobId;
use crate::protocol::JobRow;
use crate::store::{Place, Write};

/// A file whose jobs have all ended.
#[derive(Debug)]
pub struct Unfinished {
    file: OpenFile,
    failed: bool,
    rows: Vec<JobRow>,
    /// A notice has told why it waits.
    is_told: bool,
}

/// What is known of the inboxes' folders.
#[derive(Debug, Default)]
pub struct Seats {
    known: BTreeMap<PathBuf, Seat>,
    /// They wait for their inbox, by number.
    unfinished: BTreeMap<u64, Unfinished>,
}

impl Seats {
    pub fn unfinished(&self) -> usize {
        self.unfinished.len()
    }
}

impl Driver {
    /// Notes which folders the inboxes are, now that they are about to be watched.
    pub(in crate::engine) fn know_inboxes(&mut self) {
        for inbox in &self.folder.inboxes {
            if let Ok(seat) = self.folder.seat(inbox) {
                self.intake.seats.known.insert(inbox.clone(), seat);
            }
        }
    }

    /// Why the inbox of a file is away, with the inbox.
    pub(super) fn away(&mut self, queued: &Path) -> Option<(PathBuf, String)> {
        let inbox = self.folder.inbox_of_queued(queued)?.to_owned();
        let seat = match self.folder.seat(&inbox) {
            Ok(seat) => seat,
            Err(error) => return Some((inbox, error.to_string())),
        };
        if self.intake.seats.known.get(&inbox).is_some_and(|known| *known != seat) && !self.holds_ours(&inbox) {
            return Some((inbox, "another folder lies there now, without the files that were taken".to_owned()));
        }
        self.intake.seats.known.insert(inbox, seat);
        None
    }

    /// Whether a folder that came in place of an inbox is that inbox again: it has what was taken, or nothing was.
    fn holds_ours(&self, inbox: &Path) -> bool {
        let Ok(open) = self.store.open_files() else { return false };
        let mut queued: Vec<_> =
            open.iter().map(|file| self.folder.queued_path(file.origin.as_deref(), file.id, &file.name)).collect();
        queued.retain(|path| self.folder.inbox_of_queued(path) == Some(inbox));
        queued.is_empty() || queued.iter().any(|path| path.exists())
    }

    /// Puts a file away whose jobs have all ended; later, where its inbox is away, or has no room.
    pub(in crate::engine) fn finish_file(&mut self, file: OpenFile, failed: bool, rows: Vec<JobRow>) {
        self.put_away(Unfinished { file, failed, rows, is_told: false });
    }

    /// Where a taken file lies.
    fn queued_of(&self, file: &OpenFile) -> PathBuf {
        let origin = self.store.file(file.id).ok().flatten().and_then(|row| row.origin);
        self.folder.queued_path(origin.as_deref(), file.id, &file.name)
    }

    fn put_away(&mut self, mut it: Unfinished) {
        let number = it.file.id;
        let queued = self.queued_of(&it.file);
        if let Some((inbox, why)) = self.away(&queued) {
            tracing::warn!("{} waits to be put away: {why}", it.file.name);
            self.intake.folders.entry(inbox).or_insert(why);
            self.intake.seats.unfinished.insert(number, it);
            return self.tell_banners();
        }
        let ending = if it.failed { Ending::Failed } else { Ending::Done };
        if let Err(error) = self.folder.finish(&queued, ending, &super::words::sidecar(ending, &it.rows)) {
            if !std::mem::replace(&mut it.is_told, true) {
                self.warn(&format!("{} could not be put away, it is tried again: {error}", it.file.name));
            }
            self.intake.seats.unfinished.insert(number, it);
            return;
        }
        let place = if it.failed { Place::Failed } else { Place::Done };
        // After the move: a crash in between moves it once more.
        self.pending.push(Effect::Write(Write::FilePlace { file: number, place }));
    }

    /// What stands beside the file of a job that is done is written anew: more has become known of the job.
    pub(in crate::engine) fn tell_result_again(&mut self, job: JobId) {
        let Some(number) = self.state.job(job).and_then(|job| job.file) else { return };
        let Ok(Some(row)) = self.store.file(number) else { return };
        let queued = self.folder.queued_path(row.origin.as_deref(), row.id, &row.name);
        if row.place != Place::Done || self.away(&queued).is_some() {
            return;
        }
        let rows = self.state.rows(&self.state.jobs_of_file(number), Timestamp::now());
        if let Err(error) = self.folder.tell_again(&queued, Ending::Done, &super::words::sidecar(Ending::Done, &rows)) {
            self.warn(&format!("the result file of {} could not be written anew: {error}", row.name));
        }
    }

    /// Files whose inbox may be back, or have room again.
    pub(in crate::engine) fn finish_what_waits(&mut self) {
        let waits = std::mem::take(&mut self.intake.seats.unfinished);
        if waits.is_empty() {
            return;
        }
        for (_, it) in waits {
            let queued = self.queued_of(&it.file);
            if let Some(inbox) = self.folder.inbox_of_queued(&queued).map(Path::to_owned)
                && self.away(&queued).is_none()
            {
                self.intake.folders.remove(&inbox);
            }
            self.put_away(it);
        }
        self.tell_banners();
    }

    /// One of its jobs is to run again: it is not to be put away now.
    pub(in crate::engine) fn is_open_again(&mut self, file: u64) {
        self.intake.seats.unfinished.remove(&file);
    }
}
