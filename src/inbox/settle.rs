//! When a file in an inbox is whole, and what is due when: a state machine without I/O.
//!
//! Pure. Time is passed in, as the time since the watch began. It never looks at the disk: the driver
//! ([`super::watcher`]) stats and reads, and tells what it saw.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Waited;

/// Between two readings of a file that is being written, unless the end of its writing was seen.
const WRITING: Duration = Duration::from_millis(50);
/// How often a file is offered again of which something is missing, or is tried again that can't be read.
const AGAIN: Duration = Duration::from_secs(1);
/// The same, while things change in its folder.
const AGAIN_STIRRED: Duration = Duration::from_millis(200);
/// How long a file rests that could not be taken.
const REST: Duration = Duration::from_secs(5);
/// So long nobody needs to be told that a file is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Changes in a folder make it walk over the waiting files at most this often.
const WALK: Duration = Duration::from_millis(50);

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub size: u64,
    pub modified: Option<SystemTime>,
    /// The inode, or the time of creation where there are none.
    pub identity: u64,
}

/// Why a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is there, or something happened to it.
    Hint,
    /// Its writing has just ended: closed, or renamed in.
    Ended,
    /// [`Settle::due`] named it.
    Due,
}

/// How a file is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// Where the end of its writing is not seen, it is read once it has stood still for so long; `None`: its bytes
    /// tell by themselves whether it is whole.
    pub still: Option<Duration>,
    /// Larger ones are not read.
    pub most: u64,
}

/// What to do with a file that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Leave,
    Read,
    /// Say that it is too big; asked for once.
    TooBig,
}

/// What reading a file gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// The bytes are whole by themselves.
    Whole,
    /// They are not.
    Torn,
    /// It is there and cannot be read (no permission; on Windows: still open elsewhere).
    Failed,
}

/// What to tell of a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    Nothing,
    Offer { last_call: bool },
    Unreadable,
}

#[derive(Debug)]
struct Entry {
    dir: usize,
    stamp: Stamp,
    /// When this stamp was first seen.
    since: Duration,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not whole, or not readable, when last `read`; to be read again at `again`, or when the time is up.
    Torn {
        read: Duration,
        again: Option<Duration>,
    },
    /// Told of, and not answered.
    Offered {
        at: Duration,
    },
    /// The answer was: something is missing.
    Wanting {
        offered: Duration,
    },
    /// The answer was: it could not be taken, tell of it anew.
    Resting {
        until: Duration,
    },
    /// There is nothing more to say of this state of the file.
    Closed,
    TooBig,
}

/// One watched folder.
#[derive(Debug)]
struct Dir {
    max_settle: Duration,
    stirred: Option<Duration>,
}

/// All job files that lie in the watched folders.
#[derive(Debug)]
pub(super) struct Settle {
    entries: HashMap<PathBuf, Entry>,
    dirs: Vec<Dir>,
    /// How many entries are `Wanting`: as long as none is, a stir costs nothing.
    wanting: usize,
    /// Should rest, and are gone.
    missed: Vec<PathBuf>,
    /// Nothing is due before; kept so that an event among many files costs no walk over them.
    next: Option<Duration>,
    walked: Duration,
}

impl Settle {
    /// `max_settle`: how long to wait at most, one entry a folder.
    pub(super) fn new(max_settle: impl IntoIterator<Item = Duration>) -> Self {
        let dirs = max_settle.into_iter().map(|max_settle| Dir { max_settle, stirred: None }).collect();
        Self { entries: HashMap::new(), dirs, wanting: 0, missed: Vec::new(), next: None, walked: Duration::ZERO }
    }

    /// A file is there.
    pub(super) fn look(
        &mut self,
        path: &Path,
        dir: usize,
        stamp: Stamp,
        cause: Cause,
        manner: Manner,
        now: Duration,
    ) -> Look {
        let new = Phase::Torn { read: now, again: Some(now) };
        let (changed, phase) = match self.entries.get_mut(path) {
            None => {
                self.entries.insert(path.to_owned(), Entry { dir, stamp, since: now, phase: new });
                (true, new)
            }
            Some(entry) => {
                let changed = entry.stamp != stamp;
                if changed {
                    (entry.stamp, entry.since) = (stamp, now);
                }
                (changed, entry.phase)
            }
        };
        if stamp.size > manner.most {
            if matches!(phase, Phase::Resting { until } if now < until) {
                return Look::Leave;
            }
            self.put(path, Phase::TooBig);
            return if phase == Phase::TooBig { Look::Leave } else { Look::TooBig };
        }
        if let Some(still) = manner.still
            && changed
            && cause != Cause::Ended
            && !matches!(phase, Phase::Resting { .. })
        {
            self.put(path, Phase::Torn { read: now, again: Some(now + still) });
            return Look::Leave;
        }
        match phase {
            Phase::Torn { .. } if cause != Cause::Hint => Look::Read,
            Phase::Torn { read, again } => {
                let again = if changed { Some(again.unwrap_or(read + WRITING)) } else { again };
                if again.is_some_and(|again| now >= again) {
                    return Look::Read;
                }
                self.put(path, Phase::Torn { read, again });
                Look::Leave
            }
            Phase::Wanting { .. } if cause == Cause::Due && !changed => Look::Read,
            Phase::Resting { until } if now >= until => {
                self.put(path, new);
                Look::Read
            }
            Phase::Resting { .. } => Look::Leave,
            // another file by the same name, or changed before it was taken
            _ if changed => {
                self.put(path, new);
                Look::Read
            }
            _ => Look::Leave,
        }
    }

    /// How the file stood when it was read, which may be later than when it was looked at.
    pub(super) fn restamp(&mut self, path: &Path, stamp: Stamp) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.stamp = stamp;
        }
    }

    /// The file was read, as [`Settle::look`] asked for.
    pub(super) fn read(&mut self, path: &Path, result: Read, now: Duration) -> Tell {
        let Some(entry) = self.entries.get(path) else { return Tell::Nothing };
        let time_is_up = now >= self.end(entry);
        let was_offered = matches!(entry.phase, Phase::Wanting { .. });
        let (phase, tell) = match result {
            Read::Whole if was_offered && time_is_up => (Phase::Closed, Tell::Offer { last_call: true }),
            Read::Whole => (Phase::Offered { at: now }, Tell::Offer { last_call: false }),
            Read::Torn if time_is_up => (Phase::Closed, Tell::Offer { last_call: true }),
            Read::Torn => (Phase::Torn { read: now, again: None }, Tell::Nothing),
            Read::Failed if time_is_up => (Phase::Closed, Tell::Unreadable),
            // what can't be opened may become readable without a change
            Read::Failed => (Phase::Torn { read: now, again: Some(now + AGAIN) }, Tell::Nothing),
        };
        self.put(path, phase);
        tell
    }

    /// The engine could not take it: something that it names is missing.
    pub(super) fn not_yet(&mut self, path: &Path) {
        if let Some(Entry { phase: Phase::Offered { at }, .. }) = self.entries.get(path) {
            let offered = *at;
            self.put(path, Phase::Wanting { offered });
        }
    }

    /// The engine could not take it, through no fault of the file.
    pub(super) fn again(&mut self, path: &Path, now: Duration) {
        if self.entries.contains_key(path) {
            self.put(path, Phase::Resting { until: now + REST });
        } else {
            self.missed.push(path.to_owned());
        }
    }

    /// The files that should rest and are gone.
    pub(super) fn missed(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.missed)
    }

    /// Something changed in a folder: what was missing may have come.
    pub(super) fn stir(&mut self, dir: usize, now: Duration) {
        if let Some(dir) = self.dirs.get_mut(dir) {
            dir.stirred = Some(now);
        }
        if self.wanting > 0 {
            self.due_at(now.max(self.walked + WALK));
        }
    }

    /// It is not there any more.
    pub(super) fn gone(&mut self, path: &Path) {
        match self.entries.remove(path).map(|entry| entry.phase) {
            Some(Phase::Wanting { .. }) => self.wanting -= 1,
            Some(Phase::Resting { .. }) => self.missed.push(path.to_owned()),
            _ => {}
        }
    }

    /// A folder was listed: what is known there and not among these is gone.
    pub(super) fn listed(&mut self, folder: &Path, there: &HashSet<PathBuf>) {
        let gone: Vec<PathBuf> = self
            .entries
            .keys()
            .filter(|path| path.parent() == Some(folder) && !there.contains(*path))
            .cloned()
            .collect();
        for path in gone {
            self.gone(&path);
        }
    }

    /// The files that have been waited for longer than a moment, sorted.
    pub(super) fn waiting(&self, now: Duration) -> Vec<Waited> {
        let waited = |(path, entry): (&PathBuf, &Entry)| {
            let is_whole = match entry.phase {
                Phase::Torn { .. } => false,
                // What is offered again each second has not been taken before.
                Phase::Wanting { .. } | Phase::Offered { .. } => true,
                Phase::Resting { .. } | Phase::Closed | Phase::TooBig => return None,
            };
            (now >= entry.since + PATIENCE).then(|| Waited { path: path.clone(), is_whole })
        };
        let mut waiting: Vec<_> = self.entries.iter().filter_map(waited).collect();
        waiting.sort_unstable();
        waiting
    }

    /// Forgets everything, so that all that lies there is offered again.
    pub(super) fn forget(&mut self) {
        self.entries.clear();
        (self.wanting, self.next) = (0, None);
    }

    /// When [`Settle::due`] may have something, at the earliest.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    /// The files to look at now, with the index of their folder, in no order.
    pub(super) fn due(&mut self, now: Duration) -> Vec<(PathBuf, usize)> {
        if self.next.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let (mut due, mut next) = (Vec::new(), None);
        for (path, entry) in &self.entries {
            match self.entry_due(entry) {
                Some(at) if at <= now => due.push((path.clone(), entry.dir)),
                Some(at) => next = Some(next.map_or(at, |next: Duration| next.min(at))),
                None => {}
            }
        }
        (self.next, self.walked) = (next, now);
        due
    }

    fn end(&self, entry: &Entry) -> Duration {
        entry.since + self.dirs.get(entry.dir).map_or(Duration::ZERO, |dir| dir.max_settle)
    }

    fn entry_due(&self, entry: &Entry) -> Option<Duration> {
        let end = self.end(entry);
        match entry.phase {
            Phase::Torn { again, .. } => Some(again.map_or(end, |again| again.min(end))),
            Phase::Wanting { offered } => {
                let stirred = self.dirs.get(entry.dir).and_then(|dir| dir.stirred).is_some_and(|at| at >= offered);
                let soon = offered + AGAIN_STIRRED;
                Some(if stirred { soon } else { (offered + AGAIN).min(end.max(soon)) })
            }
            Phase::Resting { until } => Some(until),
            Phase::Offered { .. } | Phase::Closed | Phase::TooBig => None,
        }
    }

    fn put(&mut self, path: &Path, phase: Phase) {
        let Some(entry) = self.entries.get_mut(path) else { return };
        let was = std::mem::replace(&mut entry.phase, phase);
        let is_wanting = |phase: &Phase| usize::from(matches!(phase, Phase::Wanting { .. }));
        self.wanting = self.wanting + is_wanting(&phase) - is_wanting(&was);
        if let Some(at) = self.entries.get(path).and_then(|entry| self.entry_due(entry)) {
            self.due_at(at);
        }
    }

    fn due_at(&mut self, at: Duration) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_file::MAX_BYTES;

    const JSON: Manner = Manner { still: None, most: MAX_BYTES };

    const MAX: Duration = Duration::from_secs(30);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn stamp(size: u64) -> Stamp {
        Stamp { size, modified: None, identity: 1 }
    }

    fn path() -> &'static Path {
        Path::new("jobs/a.json")
    }

    fn settle() -> Settle {
        Settle::new([MAX])
    }

    /// One look, and the reading that it asks for.
    fn step(settle: &mut Settle, size: u64, cause: Cause, result: Read, now: Duration) -> Option<Tell> {
        match settle.look(path(), 0, stamp(size), cause, JSON, now) {
            Look::Read => Some(settle.read(path(), result, now)),
            Look::Leave => None,
            Look::TooBig => panic!("too big"),
        }
    }

    fn due(settle: &mut Settle, now: Duration) -> usize {
        settle.due(now).len()
    }

    const OFFER: Option<Tell> = Some(Tell::Offer { last_call: false });
    const LAST_CALL: Option<Tell> = Some(Tell::Offer { last_call: true });

    #[test]
    fn a_whole_file_is_offered_at_once_and_once() {
        let mut s = settle();
        assert_eq!(step(&mut s, 10, Cause::Ended, Read::Whole, ms(0)), OFFER);
        for at in 1..100 {
            assert_eq!(step(&mut s, 10, Cause::Hint, Read::Whole, ms(at * 1000)), None);
            assert_eq!(step(&mut s, 10, Cause::Ended, Read::Whole, ms(at * 1000)), None);
        }
        assert_eq!(s.next(), None, "nothing is due: no work while nothing happens");
        // changed before it was taken, or another by the same name
        assert_eq!(step(&mut s, 11, Cause::Hint, Read::Whole, ms(200_000)), OFFER);
        s.gone(path());
        assert_eq!(step(&mut s, 11, Cause::Hint, Read::Whole, ms(300_000)), OFFER);
    }

    #[test]
    fn what_was_written_between_look_and_reading_is_not_told_twice() {
        let mut s = settle();
        assert_eq!(s.look(path(), 0, stamp(0), Cause::Hint, JSON, ms(0)), Look::Read);
        s.restamp(path(), stamp(10));
        assert_eq!(Some(s.read(path(), Read::Whole, ms(0))), OFFER);
        assert_eq!(step(&mut s, 10, Cause::Ended, Read::Whole, ms(1)), None);
    }

    #[test]
    fn a_file_being_written_is_read_seldom_and_at_its_end() {
        let mut s = settle();
        assert_eq!(step(&mut s, 0, Cause::Hint, Read::Torn, ms(0)), Some(Tell::Nothing));
        let readings = (1..=1000).filter(|at| step(&mut s, *at, Cause::Hint, Read::Torn, ms(*at)).is_some()).count();
        assert!((10..=21).contains(&readings), "{readings} readings in a second of writing");
        assert_eq!(step(&mut s, 1001, Cause::Ended, Read::Whole, ms(1001)), OFFER);
    }

    #[test]
    fn where_the_end_of_writing_is_not_told_it_is_read_soon_after() {
        let mut s = settle();
        step(&mut s, 0, Cause::Hint, Read::Torn, ms(0));
        assert_eq!(step(&mut s, 50, Cause::Hint, Read::Whole, ms(10)), None);
        assert_eq!(s.next(), Some(WRITING));
        assert_eq!((due(&mut s, ms(49)), due(&mut s, ms(50))), (0, 1));
        assert_eq!(step(&mut s, 50, Cause::Due, Read::Whole, ms(50)), OFFER);
    }

    #[test]
    fn what_never_parses_gets_a_last_call_when_it_stood_still_long_enough() {
        let mut s = settle();
        step(&mut s, 5, Cause::Ended, Read::Torn, ms(0));
        // still growing at 20 s: the time starts anew
        step(&mut s, 6, Cause::Ended, Read::Torn, ms(20_000));
        assert_eq!(due(&mut s, MAX), 0);
        let end = ms(20_000) + MAX;
        assert_eq!((s.next(), due(&mut s, end)), (Some(end), 1));
        assert_eq!(step(&mut s, 6, Cause::Due, Read::Torn, end), LAST_CALL);
        assert_eq!(due(&mut s, end * 10), 0, "nothing more is said of it");
        assert_eq!(step(&mut s, 6, Cause::Hint, Read::Torn, end * 2), None);
        assert_eq!(step(&mut s, 9, Cause::Ended, Read::Whole, end * 3), OFFER, "mended where it lies");
    }

    #[test]
    fn what_cannot_be_read_is_tried_again_and_then_told() {
        let mut s = settle();
        let mut now = ms(0);
        assert_eq!(step(&mut s, 5, Cause::Hint, Read::Failed, now), Some(Tell::Nothing));
        let mut told = Vec::new();
        while let Some(next) = s.next() {
            now = next;
            if due(&mut s, now) == 1 {
                told.extend(step(&mut s, 5, Cause::Due, Read::Failed, now));
            }
        }
        assert_eq!(told.last(), Some(&Tell::Unreadable));
        assert_eq!((told.len(), now), (30, MAX));
        let mut s = settle();
        step(&mut s, 5, Cause::Hint, Read::Failed, ms(0));
        assert_eq!(due(&mut s, AGAIN), 1);
        assert_eq!(step(&mut s, 5, Cause::Due, Read::Whole, AGAIN), OFFER, "the lock on it was let go");
    }

    #[test]
    fn a_missing_input_is_asked_for_each_second_until_the_last_call() {
        let mut s = settle();
        assert_eq!(step(&mut s, 5, Cause::Ended, Read::Whole, ms(0)), OFFER);
        s.not_yet(path());
        let (mut offers, mut now) = (Vec::new(), ms(0));
        while let Some(next) = s.next() {
            now = next;
            for (path, _) in s.due(now) {
                if s.look(&path, 0, stamp(5), Cause::Due, JSON, now) == Look::Read {
                    offers.push(s.read(&path, Read::Whole, now));
                    s.not_yet(&path);
                }
            }
        }
        assert_eq!((offers.len(), now), (30, MAX));
        assert_eq!(offers.pop(), LAST_CALL);
        assert!(offers.iter().all(|tell| Some(*tell) == OFFER));
    }

    #[test]
    fn what_is_waited_for_is_told_after_a_moment_and_no_longer_than_it_is_waited_for() {
        let waited = |is_whole| [Waited { path: path().to_owned(), is_whole }];
        let mut s = settle();
        step(&mut s, 5, Cause::Ended, Read::Torn, ms(0));
        assert!(s.waiting(ms(1999)).is_empty());
        assert_eq!(s.waiting(ms(2000)), waited(false));
        assert_eq!(step(&mut s, 6, Cause::Ended, Read::Whole, ms(3000)), OFFER);
        assert!(s.waiting(ms(4999)).is_empty(), "it was changed, and may be taken any moment");
        s.not_yet(path());
        assert_eq!(s.waiting(ms(5000)), waited(true), "it names something that is missing");
        assert_eq!(step(&mut s, 6, Cause::Due, Read::Whole, ms(5000)), OFFER);
        assert_eq!(s.waiting(ms(5000)), waited(true), "also while it is offered again");
        s.gone(path());
        assert!(s.waiting(ms(9000)).is_empty());
    }

    #[test]
    fn a_change_in_the_folder_asks_sooner_but_not_for_ever() {
        let mut s = settle();
        step(&mut s, 5, Cause::Ended, Read::Whole, ms(0));
        s.not_yet(path());
        s.stir(0, ms(500));
        assert_eq!(due(&mut s, ms(500)), 1);
        assert_eq!(step(&mut s, 5, Cause::Due, Read::Whole, ms(500)), OFFER);
        // the file that was missing came while the engine looked for it
        s.stir(0, ms(501));
        s.not_yet(path());
        assert_eq!((due(&mut s, ms(699)), due(&mut s, ms(700))), (0, 1));
        step(&mut s, 5, Cause::Due, Read::Whole, ms(700));
        s.not_yet(path());
        assert_eq!((due(&mut s, ms(1699)), due(&mut s, ms(1700))), (0, 1), "unstirred again");
    }

    #[test]
    fn a_thousand_waiting_files_in_a_busy_folder_are_not_walked_for_each_change() {
        let mut s = settle();
        let paths: Vec<PathBuf> = (0..1000).map(|n| PathBuf::from(format!("jobs/{n}.json"))).collect();
        for path in &paths {
            s.look(path, 0, stamp(5), Cause::Ended, JSON, ms(0));
            s.read(path, Read::Whole, ms(0));
            s.not_yet(path);
        }
        let mut offers = 0;
        for at in 1..=1000 {
            s.stir(0, ms(at));
            for (path, _) in s.due(ms(at)) {
                s.look(&path, 0, stamp(5), Cause::Due, JSON, ms(at));
                s.read(&path, Read::Whole, ms(at));
                s.not_yet(&path);
                offers += 1;
            }
        }
        assert!(offers <= 5000, "{offers}");
        s.listed(Path::new("jobs"), &HashSet::new());
        assert_eq!((s.entries.len(), s.wanting), (0, 0));
    }

    #[test]
    fn too_big_is_said_once_while_it_grows() {
        let mut s = settle();
        let mut look = |size| s.look(path(), 0, stamp(size), Cause::Hint, JSON, ms(0));
        assert_eq!(look(MAX_BYTES + 1), Look::TooBig);
        assert_eq!((look(MAX_BYTES + 2), look(MAX_BYTES + 2)), (Look::Leave, Look::Leave));
        assert_eq!(look(3), Look::Read, "replaced by a small one");
    }

    #[test]
    fn what_could_not_be_taken_is_told_anew_after_a_pause_as_often_as_it_takes() {
        let mut s = settle();
        // also past the time that a file is waited for
        for round in 0..20 {
            let now = ms(round * 5000);
            let cause = if round == 0 { Cause::Ended } else { Cause::Due };
            step(&mut s, 5, cause, Read::Whole, now);
            s.again(path(), now);
            assert_eq!(s.look(path(), 0, stamp(6), Cause::Hint, JSON, now + ms(1)), Look::Leave, "it rests");
            assert_eq!(s.look(path(), 0, stamp(5), Cause::Hint, JSON, now + ms(2)), Look::Leave);
            assert_eq!((due(&mut s, now + ms(4999)), due(&mut s, now + ms(5000))), (0, 1), "{round}");
        }
        assert!(s.missed().is_empty());
        s.gone(path());
        assert_eq!((s.missed(), s.missed()), (vec![path().to_owned()], Vec::new()));
    }

    #[test]
    fn one_too_big_that_could_not_be_put_away_is_told_anew() {
        let mut s = settle();
        assert_eq!(s.look(path(), 0, stamp(MAX_BYTES + 1), Cause::Hint, JSON, ms(0)), Look::TooBig);
        s.again(path(), ms(0));
        assert_eq!(s.look(path(), 0, stamp(MAX_BYTES + 1), Cause::Hint, JSON, ms(10)), Look::Leave);
        assert_eq!(s.look(path(), 0, stamp(MAX_BYTES + 1), Cause::Due, JSON, ms(5000)), Look::TooBig);
    }

    #[test]
    fn an_answer_to_what_is_no_longer_asked_is_nothing() {
        let mut s = settle();
        s.not_yet(path());
        assert_eq!(s.read(path(), Read::Whole, ms(0)), Tell::Nothing);
        step(&mut s, 5, Cause::Hint, Read::Torn, ms(0));
        s.not_yet(path());
        assert_eq!(s.wanting, 0);
        s.forget();
        assert_eq!(s.next(), None);
    }

    #[test]
    fn what_does_not_tell_that_it_is_whole_must_stand_still() {
        let csv = Manner { still: Some(ms(1000)), most: MAX_BYTES };
        let mut s = Settle::new([ms(30_000)]);
        assert_eq!(s.look(path(), 0, stamp(5), Cause::Hint, csv, ms(0)), Look::Leave);
        assert!(s.due(ms(900)).is_empty());
        // it grows: the time begins anew
        assert_eq!(s.look(path(), 0, stamp(9), Cause::Hint, csv, ms(900)), Look::Leave);
        assert!(s.due(ms(1500)).is_empty());
        assert_eq!(s.due(ms(1900)), [(path().to_owned(), 0)]);
        assert_eq!(s.look(path(), 0, stamp(9), Cause::Due, csv, ms(1900)), Look::Read);
        assert_eq!(s.read(path(), Read::Whole, ms(1900)), Tell::Offer { last_call: false });
        assert_eq!(s.look(path(), 0, stamp(9), Cause::Hint, csv, ms(2000)), Look::Leave, "told once");
        // the end of its writing was seen
        assert_eq!(s.look(path(), 0, stamp(12), Cause::Ended, csv, ms(3000)), Look::Read);
    }
}
