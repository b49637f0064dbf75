//! Groups of jobs (sweeps, repetitions, lists of seeds) folded to one row, and unfolded again.
//!
//! A folded group stands where its next job stands: the first of those that have not ended, else the first of all.

use std::collections::{BTreeSet, HashMap};

use super::{ENDED, JobList, place};
use crate::job::JobId;
use crate::protocol::JobRow;

#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By the number of the group's first job.
    members: HashMap<JobId, BTreeSet<JobId>>,
    /// Those that are folded, each with the job that stands for it.
    folded: HashMap<JobId, JobId>,
}

fn group_of(row: &JobRow) -> Option<JobId> {
    row.group.as_ref().map(|group| group.first)
}

impl Groups {
    pub(super) fn clear(&mut self) {
        self.members.clear();
    }

    pub(super) fn note(&mut self, row: &JobRow) {
        if let Some(first) = group_of(row) {
            self.members.entry(first).or_default().insert(row.id);
        }
    }

    /// Whether the row is not hidden in a folded group.
    pub(super) fn shows(&self, row: &JobRow) -> bool {
        group_of(row).and_then(|first| self.folded.get(&first)).is_none_or(|stands| *stands == row.id)
    }
}

impl JobList {
    /// The group that this row stands for, folded: how many jobs it has.
    pub fn folded(&self, row: &JobRow) -> Option<usize> {
        let first = group_of(row).filter(|first| self.groups.folded.get(first) == Some(&row.id))?;
        self.groups.members.get(&first).map(BTreeSet::len)
    }

    /// Folds the group of the job under the cursor; whether there was one to fold.
    pub fn fold(&mut self) -> bool {
        let first = self.selected().and_then(|entry| group_of(&entry.row));
        let Some(first) = first.filter(|first| !self.groups.folded.contains_key(first)) else { return false };
        let Some(stands) = self.representative(first) else { return false };
        self.groups.folded.insert(first, stands);
        self.selected = Some(stands);
        self.rebuild();
        true
    }

    /// Unfolds the group under the cursor; whether there was one.
    pub fn unfold(&mut self) -> bool {
        let first = self.selected().and_then(|entry| group_of(&entry.row));
        let was = first.is_some_and(|first| self.groups.folded.remove(&first).is_some());
        if was {
            self.rebuild();
        }
        was
    }

    /// The jobs that a row is about: all of its group, where it stands for one.
    pub(super) fn meant_by(&self, id: JobId) -> Vec<JobId> {
        let first = self.entries.get(&id).and_then(|entry| group_of(&entry.row));
        let first = first.filter(|first| self.groups.folded.get(first) == Some(&id));
        match first.and_then(|first| self.groups.members.get(&first)) {
            Some(all) => all.iter().copied().collect(),
            None => vec![id],
        }
    }

    fn representative(&self, first: JobId) -> Option<JobId> {
        let rows =
            self.groups.members.get(&first)?.iter().filter_map(|id| self.entries.get(id)).map(|entry| &entry.row);
        let (ended, open): (Vec<_>, Vec<_>) = rows.partition(|row| place(row).0 == ENDED);
        let next = open.into_iter().min_by_key(|row| place(row)).map(|row| row.id);
        next.or_else(|| ended.iter().map(|row| row.id).min())
    }

    /// After one of its jobs changed: another may stand for a folded group now.
    pub(super) fn refold(&mut self, id: JobId) {
        let Some(first) = self.entries.get(&id).and_then(|entry| group_of(&entry.row)) else { return };
        let Some(before) = self.groups.folded.get(&first).copied() else { return };
        let Some(now) = self.representative(first).filter(|now| *now != before) else { return };
        self.groups.folded.insert(first, now);
        if let Some(key) = self.entries.get_mut(&before).and_then(|entry| entry.shown.take())
            && let Ok(at) = self.find(&key)
        {
            self.order.remove(at);
        }
        let key = self.entries.get(&now).filter(|entry| self.matches(&entry.row)).map(|entry| self.key(&entry.row));
        if let Some(key) = key {
            let at = self.find(&key).unwrap_or_else(|at| at);
            self.order.insert(at, key.clone());
            if let Some(entry) = self.entries.get_mut(&now) {
                entry.shown = Some(key);
            }
        }
        if self.selected == Some(before) {
            self.selected = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Group, JobState};
    use jiff::Timestamp;

    fn row(id: u64, group: Option<u64>, state: JobState) -> JobRow {
        JobRow {
            id: JobId(id),
            name: format!("job {id}"),
            workflow: "w".to_owned(),
            kind: "k".to_owned(),
            state,
            tries: None,
            repaired: Vec::new(),
            attempt: 0,
            server: None,
            seed: None,
            group: group.map(|first| Group { first: JobId(first), of: 3, values: serde_json::Map::new() }),
            shape: crate::job::Shape::default(),
            priority: 0,
            rank: i64::try_from(id).unwrap_or(0),
            queued_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            start_seen: false,
            finished_at: None,
            position: None,
            progress: None,
            outputs: Vec::new(),
            discarded: false,
            ssim: None,
            measure_note: None,
            measured: None,
            peak_vram: None,
            stalled_since: None,
            trouble: None,
        }
    }

    fn shown(list: &JobList) -> Vec<u64> {
        list.visible().map(|entry| entry.row.id.0).collect()
    }

    #[test]
    fn a_folded_group_is_one_row_that_follows_its_next_job_and_means_all_of_them() {
        let mut list = JobList::new();
        list.set_height(10);
        let queued = |id| row(id, (2..=4).contains(&id).then_some(2), JobState::Queued);
        list.replace((1..=5).map(queued).collect(), Timestamp::UNIX_EPOCH);
        assert_eq!(shown(&list), [1, 2, 3, 4, 5]);
        list.go(2);
        assert!(list.fold() && !list.fold());
        assert_eq!(shown(&list), [1, 2, 5]);
        assert_eq!(list.selected().map(|entry| list.folded(&entry.row)), Some(Some(3)));
        assert_eq!(list.targets().iter().map(|entry| entry.row.id.0).collect::<Vec<_>>(), [2, 3, 4]);
        list.upsert(row(2, Some(2), JobState::Done), Timestamp::UNIX_EPOCH);
        assert_eq!(shown(&list), [1, 3, 5], "its next job stands for it");
        assert_eq!(list.selected().map(|entry| entry.row.id), Some(JobId(3)));
        list.toggle_mark();
        assert_eq!(list.targets().len(), 3);
        list.unmark();
        list.go(1);
        assert!(list.unfold() && !list.unfold());
        assert_eq!(shown(&list), [2, 1, 3, 4, 5]);
        list.go(1);
        assert!(!list.fold(), "no group");
    }
}
