//! The jobs as the list shows them: their order, filter, sorting, cursor and counts.
//!
//! Pure. The order is kept, not made: a change of one job moves one entry (found by binary search),
//! progress moves none, so a frame costs the same with 100 jobs and with 10,000. Must never build
//! more rows than a screen shows.

mod groups;

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::columns::{COLUMNS, Value};
use crate::job::{JobId, JobState};
use crate::protocol::{JobRow, Progress};

/// A job's place in the order in which jobs matter: the ended ones by their end, then what runs,
/// then what waits in the order of rendering, then what is held. The last part is the job's number.
pub type Place = (u8, i64, i64, u64);

pub const ENDED: u8 = 0;
const COLLECTING: u8 = 1;
pub const RUNNING: u8 = 2;
pub const PENDING: u8 = 3;
pub const QUEUED: u8 = 4;
const AFTER: u8 = 5;
const HELD: u8 = 6;

/// Where a row stands.
pub fn place(row: &JobRow) -> Place {
    let id = row.id.0;
    let started = row.started_at.unwrap_or(row.queued_at).as_microsecond();
    let ended = row.finished_at.unwrap_or(row.queued_at).as_microsecond();
    match &row.state {
        s if s.is_ended() => (ENDED, ended, 0, id),
        JobState::Collecting | JobState::Measuring => (COLLECTING, ended, 0, id),
        JobState::Running => (RUNNING, started, 0, id),
        JobState::Cancelling { .. } if row.started_at.is_some() => (RUNNING, started, 0, id),
        JobState::Pending | JobState::Submitting | JobState::Cancelling { .. } => {
            (PENDING, row.position.map_or(i64::MAX, i64::from), row.rank, id)
        }
        JobState::Waiting { .. } => (AFTER, row.priority.saturating_neg(), row.rank, id),
        JobState::Held => (HELD, row.priority.saturating_neg(), row.rank, id),
        _ => (QUEUED, row.priority.saturating_neg(), row.rank, id),
    }
}

/// What a job counts as in the list's title.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub running: usize,
    pub queued: usize,
    pub held: usize,
    pub done: usize,
    /// Refused job files among them.
    pub failed: usize,
    pub cancelled: usize,
    pub duplicates: usize,
}

impl Counts {
    fn of(&mut self, state: &JobState) -> &mut usize {
        match state {
            JobState::Running | JobState::Cancelling { .. } | JobState::Collecting | JobState::Measuring => {
                &mut self.running
            }
            JobState::Queued | JobState::Waiting { .. } | JobState::Submitting | JobState::Pending => &mut self.queued,
            JobState::Held => &mut self.held,
            JobState::Done => &mut self.done,
            JobState::Failed { .. } | JobState::Rejected { .. } => &mut self.failed,
            JobState::Cancelled { .. } => &mut self.cancelled,
            JobState::Duplicate { .. } => &mut self.duplicates,
        }
    }
}

/// One job of the list.
#[derive(Debug, Clone)]
pub struct Entry {
    pub row: JobRow,
    /// When the running job should end: what its progress said was left, from when it was said.
    pub ends: Option<Timestamp>,
    shown: Option<Key>,
}

/// Where an entry stands in the shown order.
#[derive(Debug, Clone, PartialEq)]
struct Key {
    /// What the chosen column sorts by.
    value: Option<Value>,
    place: Place,
}

/// What the list is sorted by: `None` is the queue's own order, else an index in [`COLUMNS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sort {
    pub column: Option<usize>,
    pub high_first: bool,
}

impl Sort {
    /// Missing values stand last whichever way it goes; equal ones in the queue's order.
    fn compare(self, a: &Key, b: &Key) -> Ordering {
        let turn = |o: Ordering| if self.high_first { o.reverse() } else { o };
        match (&a.value, &b.value) {
            (None, None) if self.column.is_none() => turn(a.place.cmp(&b.place)),
            (None, None) => a.place.cmp(&b.place),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(x), Some(y)) => turn(x.compare(y)).then_with(|| a.place.cmp(&b.place)),
        }
    }
}

/// What changed on the screen by a change of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    Something,
}

#[derive(Debug, Default)]
pub struct JobList {
    entries: HashMap<JobId, Entry>,
    /// What is shown, in order.
    order: Vec<Key>,
    /// Everything that has not ended, in the queue's order.
    active: BTreeSet<Place>,
    counts: Counts,
    sort: Sort,
    filter: String,
    filter_words: Vec<String>,
    selected: Option<JobId>,
    /// Chosen for the next action.
    marked: BTreeSet<JobId>,
    /// Where a range of marks begins, and what was marked before it.
    range: Option<(JobId, BTreeSet<JobId>)>,
    groups: groups::Groups,
    /// The cursor goes with what runs, until the person moves it.
    following: bool,
    top: usize,
    height: usize,
    highest_id: u64,
}

impl JobList {
    pub fn new() -> Self {
        Self { following: true, ..Self::default() }
    }

    /// Everything anew, as a snapshot says; the cursor stays on its job where that is still there.
    pub fn replace(&mut self, rows: Vec<JobRow>, now: Timestamp) {
        self.entries = HashMap::with_capacity(rows.len());
        self.active.clear();
        self.counts = Counts::default();
        self.highest_id = 0;
        self.groups.clear();
        for row in rows {
            self.groups.note(&row);
            let place = place(&row);
            if place.0 != ENDED {
                self.active.insert(place);
            }
            *self.counts.of(&row.state) += 1;
            self.highest_id = self.highest_id.max(row.id.0);
            let ends = ends(row.progress.as_ref(), now);
            self.entries.insert(row.id, Entry { row, ends, shown: None });
        }
        let there = |id: &JobId| self.entries.contains_key(id);
        self.marked.retain(there);
        self.rebuild();
    }

    /// One job is new or has changed. Says whether anything on the screen did.
    pub fn upsert(&mut self, mut row: JobRow, now: Timestamp) -> Seen {
        let id = row.id;
        let line = self.selected_index().map(|i| i.saturating_sub(self.top));
        let was_selected = self.selected;
        let counts = self.counts;
        let mut seen = self.is_visible(id);

        let old = self.entries.remove(&id);
        let mut ends = None;
        if let Some(old) = old {
            *self.counts.of(&old.row.state) -= 1;
            self.active.remove(&place(&old.row));
            if let Some(key) = &old.shown
                && let Ok(at) = self.find(key)
            {
                self.order.remove(at);
            }
            // An update of the row alone says nothing new of how far it is.
            if matches!((&old.row.state, &row.state), (JobState::Running, JobState::Running)) {
                if row.progress.is_none() {
                    row.progress = old.row.progress;
                }
                ends = old.ends;
            }
        }
        ends = self::ends(row.progress.as_ref(), now).or(ends);
        *self.counts.of(&row.state) += 1;
        let at = place(&row);
        if at.0 != ENDED {
            self.active.insert(at);
        }
        self.highest_id = self.highest_id.max(id.0);
        self.groups.note(&row);
        let shown = self.shows(&row).then(|| self.key(&row));
        if let Some(key) = &shown {
            let at = self.find(key).unwrap_or_else(|at| at);
            self.order.insert(at, key.clone());
        }
        self.entries.insert(id, Entry { row, ends, shown });
        self.refold(id);

        let top = self.top;
        self.settle(was_selected, line);
        seen |= self.is_visible(id) || counts != self.counts || top != self.top || was_selected != self.selected;
        if seen { Seen::Something } else { Seen::Nothing }
    }

    /// A running job came on. Moves nothing.
    pub fn progress(&mut self, id: JobId, progress: Progress, now: Timestamp) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.ends = ends(Some(&progress), now);
            entry.row.progress = Some(progress);
        }
    }

    pub fn get(&self, id: JobId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn sort(&self) -> Sort {
        self.sort
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// All jobs, shown or not.
    pub fn total(&self) -> usize {
        self.entries.len()
    }

    /// Jobs that pass the filter.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn highest_id(&self) -> u64 {
        self.highest_id
    }

    pub fn following(&self) -> bool {
        self.following
    }

    /// Jobs that have not ended, in the order in which they are or will be rendered.
    pub fn active(&self) -> impl Iterator<Item = (Place, &Entry)> {
        self.active.iter().filter_map(|place| self.entries.get(&JobId(place.3)).map(|e| (*place, e)))
    }

    /// The first job that runs.
    pub fn running(&self) -> Option<&Entry> {
        let first = self.active.range((RUNNING, i64::MIN, i64::MIN, 0)..).next()?;
        self.entries.get(&JobId(first.3)).filter(|_| first.0 == RUNNING)
    }

    /// The rows on the screen, from the top: only these are ever built.
    pub fn visible(&self) -> impl Iterator<Item = &Entry> {
        let end = (self.top + self.height).min(self.order.len());
        let keys = self.order.get(self.top.min(end)..end).unwrap_or_default();
        keys.iter().filter_map(|key| self.entries.get(&JobId(key.place.3)))
    }

    pub fn is_visible(&self, id: JobId) -> bool {
        self.index_of(id).is_some_and(|i| i >= self.top && i < self.top + self.height)
    }

    pub fn selected(&self) -> Option<&Entry> {
        self.selected.and_then(|id| self.entries.get(&id))
    }

    /// The cursor's place among the shown rows, 0 = first.
    pub fn selected_index(&self) -> Option<usize> {
        self.selected.and_then(|id| self.index_of(id))
    }

    /// The list got room for `height` rows.
    pub fn set_height(&mut self, height: usize) {
        if self.height != height {
            self.height = height;
            self.show_cursor();
        }
    }

    /// Moves the cursor by `by` rows; it then stays where the person put it.
    pub fn step(&mut self, by: isize) {
        let now = self.selected_index().unwrap_or(0);
        self.go(now.saturating_add_signed(by));
    }

    /// Puts the cursor on a row (the last one where there are fewer).
    pub fn go(&mut self, index: usize) {
        let index = index.min(self.order.len().saturating_sub(1));
        if let Some(key) = self.order.get(index) {
            self.selected = Some(JobId(key.place.3));
            self.following = false;
            self.show_cursor();
            self.stretch();
        }
    }

    pub fn is_marked(&self, id: JobId) -> bool {
        self.marked.contains(&id)
    }

    pub fn marks(&self) -> usize {
        self.marked.len()
    }

    /// Marks the job under the cursor, or takes its mark away, and goes on to the next.
    pub fn toggle_mark(&mut self) {
        self.range = None;
        let Some(id) = self.selected else { return };
        if !self.marked.remove(&id) {
            self.marked.insert(id);
        }
        self.step(1);
    }

    /// Marks from here to wherever the cursor goes; once more ends that.
    pub fn toggle_range(&mut self) {
        if self.range.take().is_some() {
            return;
        }
        if let Some(id) = self.selected {
            self.following = false;
            self.range = Some((id, self.marked.clone()));
            self.stretch();
        }
    }

    /// Marks all that the filter shows; where all are marked, none.
    pub fn mark_all(&mut self) {
        self.range = None;
        let shown: Vec<_> = self.order.iter().map(|key| JobId(key.place.3)).collect();
        if shown.iter().all(|id| self.marked.contains(id)) {
            self.marked.clear();
        } else {
            self.following = false;
            self.marked.extend(shown);
        }
    }

    pub fn unmark(&mut self) {
        self.range = None;
        self.marked.clear();
    }

    /// What an action is for: the marked jobs in the order of the list, else the one under the cursor; of a folded group all.
    pub fn targets(&self) -> Vec<&Entry> {
        let rows: Vec<JobId> = if self.marked.is_empty() {
            self.selected.into_iter().collect()
        } else {
            self.marked.iter().copied().collect()
        };
        let meant: BTreeSet<JobId> = rows.into_iter().flat_map(|id| self.meant_by(id)).collect();
        let mut targets: Vec<_> = meant.iter().filter_map(|id| self.entries.get(id)).collect();
        targets.sort_by_cached_key(|entry| place(&entry.row));
        targets
    }

    fn stretch(&mut self) {
        let Some((from, before)) = &self.range else { return };
        let (Some(from), Some(to)) = (self.index_of(*from), self.selected_index()) else { return };
        let between = self.order.get(from.min(to)..=from.max(to)).unwrap_or_default();
        self.marked = before.iter().copied().chain(between.iter().map(|key| JobId(key.place.3))).collect();
    }

    /// Moves the cursor and what is shown by `pages` of the list's height, less a line to read on from.
    pub fn page(&mut self, half_pages: isize) {
        let by = (self.height.max(2) / 2).cast_signed() * half_pages;
        self.top = self.top.saturating_add_signed(by).min(self.last_top());
        self.step(by);
    }

    /// The cursor goes with what runs again.
    pub fn follow(&mut self) {
        self.following = true;
        self.selected = self.target().or(self.selected);
        self.show_cursor();
    }

    pub fn set_filter(&mut self, filter: &str) {
        if self.filter != filter {
            filter.clone_into(&mut self.filter);
            self.filter_words = filter.split_whitespace().map(str::to_lowercase).collect();
            self.rebuild();
        }
    }

    /// The next column to sort by, in the table's order; after the last, the queue's own order.
    /// Sorts by the next of the columns that are `shown`, indices in [`COLUMNS`]; after the last by the queue again.
    pub fn sort_next(&mut self, shown: &[usize]) {
        let from = self.sort.column.map_or(0, |i| i + 1);
        let column = (from..COLUMNS.len()).find(|i| COLUMNS[*i].sort.is_some() && shown.contains(i));
        self.sort = Sort { column, high_first: column.is_some_and(|i| COLUMNS[i].high_first) };
        self.rebuild();
    }

    pub fn sort_turn(&mut self) {
        self.sort.high_first = !self.sort.high_first;
        self.rebuild();
    }

    fn rebuild(&mut self) {
        let line = self.selected_index().map(|i| i.saturating_sub(self.top));
        let mut entries = std::mem::take(&mut self.entries);
        let mut order = Vec::with_capacity(entries.len());
        for entry in entries.values_mut() {
            entry.shown = self.shows(&entry.row).then(|| self.key(&entry.row));
            order.extend(entry.shown.clone());
        }
        order.sort_unstable_by(|a, b| self.sort.compare(a, b));
        self.entries = entries;
        self.order = order;
        self.settle(self.selected, line);
    }

    fn shows(&self, row: &JobRow) -> bool {
        self.groups.shows(row) && self.matches(row)
    }

    fn key(&self, row: &JobRow) -> Key {
        let value = self.sort.column.and_then(|i| COLUMNS.get(i)).and_then(|c| c.sort).and_then(|by| by(row));
        Key { value, place: place(row) }
    }

    fn find(&self, key: &Key) -> Result<usize, usize> {
        self.order.binary_search_by(|other| self.sort.compare(other, key))
    }

    fn index_of(&self, id: JobId) -> Option<usize> {
        let key = self.entries.get(&id)?.shown.as_ref()?;
        self.find(key).ok()
    }

    /// Every word of the filter stands somewhere in what the row shows.
    fn matches(&self, row: &JobRow) -> bool {
        if self.filter_words.is_empty() {
            return true;
        }
        let server = row.server.as_deref().unwrap_or_default();
        let seed = row.seed.map_or_else(String::new, |s| s.to_string());
        let text =
            format!("{} {} {} {} {server} {seed}", row.id, row.name, row.workflow, row.state.word()).to_lowercase();
        self.filter_words.iter().all(|word| text.contains(word.as_str()))
    }

    /// What the cursor follows: what runs, else what was rendered last but is not ended, else what
    /// runs next, else what ended last.
    fn target(&self) -> Option<JobId> {
        let first = |from: u8| self.active.range((from, i64::MIN, i64::MIN, 0)..).next();
        let shown = |place: &Place| Some(JobId(place.3)).filter(|id| self.index_of(*id).is_some());
        first(RUNNING)
            .filter(|p| p.0 == RUNNING)
            .or_else(|| first(COLLECTING))
            .and_then(shown)
            .or_else(|| self.order.last().map(|key| JobId(key.place.3)))
    }

    /// After the order changed: the cursor's job keeps its line, so that nothing jumps under the eye.
    fn settle(&mut self, was: Option<JobId>, line: Option<usize>) {
        if self.following {
            self.selected = self.target();
        }
        if let Some(index) = self.selected_index() {
            if was == self.selected
                && let Some(line) = line
            {
                self.top = index.saturating_sub(line);
            }
        } else {
            let at = (self.top + line.unwrap_or(0)).min(self.order.len().saturating_sub(1));
            self.selected = self.order.get(at).map(|key| JobId(key.place.3));
        }
        self.show_cursor();
    }

    /// Brings the cursor onto the screen: by half a page, not line by line (an eighth of the bytes).
    fn show_cursor(&mut self) {
        let Some(index) = self.selected_index() else {
            self.top = 0;
            return;
        };
        // Whoever follows wants to see what comes next, too.
        let ahead = if self.following { (self.height / 4).min(3) } else { 0 };
        if index < self.top || index + ahead >= self.top + self.height {
            let above = if self.following { self.height / 3 } else { self.height / 2 };
            self.top = if index < self.top && !self.following {
                (index + 1).saturating_sub(self.height - above)
            } else {
                index.saturating_sub(above)
            };
        }
        self.top = self.top.min(self.last_top());
    }

    fn last_top(&self) -> usize {
        self.order.len().saturating_sub(self.height)
    }
}

fn ends(progress: Option<&Progress>, now: Timestamp) -> Option<Timestamp> {
    let left = progress?.left_s.filter(|s| s.is_finite())?;
    let left = std::time::Duration::try_from_secs_f64(left.clamp(0.0, 1e8)).ok()?;
    now.checked_add(left).ok()
}
