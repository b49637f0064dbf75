//! The ranking: attempts of a job, of its group, or of all that are marked, the best first; and the ways to repair an
//! output. What a person decides here goes to the engine like every order.

use super::{App, Command, Question, Urgency};
use crate::job::{JobId, Mark};
use crate::protocol::{DISCARDED, JobRow, Level, Ranked, Request};
use crate::tui::layout::{self, RankingAreas};
use crate::verdict::{Measurement, Repair};

/// Attempts side by side.
#[derive(Debug)]
pub struct Ranking {
    /// Whose.
    jobs: Vec<JobId>,
    /// What is compared, for the title.
    pub title: String,
    /// `None` until the engine has answered.
    pub rows: Option<Vec<Ranked>>,
    /// The one under the cursor.
    pub at: usize,
    /// Something has changed since the engine was asked.
    due: bool,
}

/// The ways to repair one output, the advised one first.
#[derive(Debug)]
pub struct Menu {
    job: JobId,
    attempt: u32,
    /// What it is called, for the title.
    pub title: String,
    pub ways: Vec<Repair>,
    /// The first of them is the judge's advice.
    pub is_advised: bool,
    pub at: usize,
}

impl Ranking {
    /// Where it lies on a screen of so many columns and lines.
    pub fn areas(&self, (width, height): (u16, u16), pictures: bool) -> RankingAreas {
        let count = self.rows.as_ref().map_or(1, Vec::len).max(1);
        layout::ranking(width, height, u16::try_from(count).unwrap_or(u16::MAX), pictures)
    }

    pub fn selected(&self) -> Option<&Ranked> {
        self.rows.as_ref()?.get(self.at)
    }

    /// A job changed: the engine is asked again if it is one of these.
    pub(super) fn heard_of(&mut self, job: JobId) {
        self.due |= self.jobs.contains(&job);
    }
}

impl App {
    /// Opens it, or closes it.
    pub(super) fn toggle_ranking(&mut self) -> Option<Command> {
        if self.ranking.take().is_some() {
            return None;
        }
        let targets = self.jobs.targets();
        let (jobs, title) = match targets.as_slice() {
            [] => return None,
            [one] => match &one.row.group {
                Some(group) => {
                    let all = group.first.0..group.first.0 + group.of as u64;
                    (all.map(JobId).collect(), format!("{} and its group of {}", one.row.name, group.of))
                }
                None => (vec![one.row.id], format!("{} {}", one.row.id, one.row.name)),
            },
            many => {
                let group = |row: &JobRow| row.group.as_ref().map(|group| group.first);
                let first = many.first().map(|entry| &entry.row);
                let own = first.filter(|row| group(row).is_some() && many.iter().all(|e| group(&e.row) == group(row)));
                let title = own.map_or_else(String::new, |row| format!("{}, ", row.name));
                (many.iter().map(|entry| entry.row.id).collect::<Vec<_>>(), format!("{title}{} jobs", many.len()))
            }
        };
        self.ranking = Some(Ranking { jobs, title, rows: None, at: 0, due: false });
        self.ask_ranking()
    }

    fn ask_ranking(&mut self) -> Option<Command> {
        let ranking = self.ranking.as_mut()?;
        ranking.due = false;
        Some(Command::Ask(Request::Ranking { jobs: ranking.jobs.clone() }))
    }

    /// Asks again where something has changed.
    pub(super) fn ask_ranking_again(&mut self) -> Option<Command> {
        if self.is_up() && self.ranking.as_ref().is_some_and(|ranking| ranking.due) { self.ask_ranking() } else { None }
    }

    pub(super) fn ranking_came(&mut self, rows: Vec<Ranked>) {
        let Some(ranking) = &mut self.ranking else { return };
        let was = ranking.selected().map(|row| (row.job, row.attempt, row.is_discarded()));
        // The cursor stays on its attempt; where that goes down because it is discarded, on the next one.
        let stays = |row: &Ranked, discarded: bool| discarded || !row.is_discarded();
        let again = was.and_then(|(job, attempt, discarded)| {
            rows.iter().position(|row| (row.job, row.attempt) == (job, attempt) && stays(row, discarded))
        });
        ranking.at = again.unwrap_or(ranking.at).min(rows.len().saturating_sub(1));
        if ranking.rows.as_ref() != Some(&rows) {
            ranking.rows = Some(rows);
            self.mark(Urgency::Now);
        }
    }

    /// The one under the cursor counts, or no more.
    pub(super) fn keep(&mut self) -> Option<Command> {
        let row = self.ranking.as_ref()?.selected()?;
        let mark = if row.mark == Some(Mark::Kept) { None } else { Some(Mark::Kept) };
        Some(Command::Ask(Request::Mark { attempts: vec![(row.job, row.attempt)], mark }))
    }

    /// Puts it away, after a question; or brings it back.
    pub(super) fn discard(&mut self) -> Option<Command> {
        let row = self.ranking.as_ref()?.selected()?;
        if row.is_discarded() {
            return Some(Command::Ask(Request::Mark { attempts: vec![(row.job, row.attempt)], mark: None }));
        }
        let files = row.outputs.len() + row.repaired.len();
        let files = if files == 1 { "its file goes".to_owned() } else { format!("its {files} files go") };
        let words = format!("discard attempt {} of {}? {files} to outputs/.discarded/", row.attempt, row.job);
        let attempts = vec![(row.job, row.attempt)];
        let yes = Command::Ask(Request::Mark { attempts, mark: Some(Mark::Discarded) });
        self.question = Some(Question { words, yes, no: None });
        None
    }

    /// What the key does now.
    pub fn discard_words(&self) -> &'static str {
        if self.ranked().is_some_and(Ranked::is_discarded) { "bring back" } else { "discard" }
    }

    /// Lists the ways to repair the output under the cursor.
    pub(super) fn open_menu(&mut self) {
        let seen = match self.ranking.as_ref() {
            Some(ranking) => {
                ranking.selected().map(|row| (row.job, row.attempt, row.is_discarded(), row.measurement.clone()))
            }
            None => self.jobs.selected().map(|entry| {
                let row = &entry.row;
                (row.id, row.attempt, row.discarded, row.measured.as_deref().cloned())
            }),
        };
        let Some((job, attempt, is_discarded, known)) = seen else { return };
        if is_discarded {
            self.tell(Level::Info, format!("{job}: attempt {attempt} is {DISCARDED}"));
            return;
        }
        let known = known.unwrap_or_default();
        let ways = Repair::sensible(&known);
        if ways.is_empty() {
            self.tell(Level::Info, format!("{job}: {}", why_not(&known)));
            return;
        }
        let title = format!("Repair {job}, attempt {attempt}: {}", known.words());
        let is_advised = Repair::advised(&known).is_some();
        self.menu = Some(Menu { job, attempt, title, ways, is_advised, at: 0 });
    }

    pub(super) fn choose(&mut self) -> Option<Command> {
        let menu = self.menu.take()?;
        let how = *menu.ways.get(menu.at)?;
        self.tell(Level::Info, format!("{} is being repaired: {}", menu.job, how.sentence()));
        // Without a path: the main output.
        let Menu { job, attempt, .. } = menu;
        Some(Command::Ask(Request::Repair { job, attempt, path: String::new(), how: Some(how) }))
    }
}

fn why_not(known: &Measurement) -> &str {
    if known.frames > 1 { "nothing is known to repair" } else { "it has no clip to repair" }
}
