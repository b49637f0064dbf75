//! What the engine says, taken in.
//!
//! Marks the screen as changed only where something that is seen did change: a screen that would be
//! the same is not drawn.

use std::time::Duration;

use super::{App, EngineState, GRAPH_SPAN, Urgency};
use crate::job::JobId;
use crate::protocol::{Answer, FromEngine, Level, Progress, STAYS, Sample, ServerRow, Snapshot, Update};
use crate::tui::figures;
use crate::tui::list::Seen;

impl App {
    pub(super) fn hear(&mut self, message: FromEngine) {
        match message {
            FromEngine::Welcome(engine) => {
                self.coming = None;
                self.engine = engine;
                self.state = EngineState::Up;
                self.gallery.forget_asked();
                self.stop_asked = false;
                self.lost_at = None;
                self.forecast_due = true;
                self.mark(Urgency::Now);
            }
            FromEngine::Refused { why, version } => {
                self.state = EngineState::Refused { why, version };
                self.mark(Urgency::Now);
            }
            FromEngine::Snapshot(snapshot) => self.snapshot_part(*snapshot),
            FromEngine::Jobs(jobs) => {
                if let Some(mut snapshot) = self.coming.take() {
                    snapshot.more = snapshot.more.saturating_sub(jobs.len().max(1));
                    snapshot.jobs.extend(jobs);
                    self.snapshot_part(snapshot);
                }
            }
            FromEngine::Update(update) => self.change(update),
            FromEngine::Answer { result, .. } => self.answer(result),
        }
    }

    /// It is shown when it is whole.
    fn snapshot_part(&mut self, snapshot: Snapshot) {
        if snapshot.more > 0 {
            self.coming = Some(snapshot);
        } else {
            self.snapshot(snapshot);
        }
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        let Snapshot { engine, servers, jobs, more: _, expect, notices, away } = snapshot;
        let shown = self.shown_server().map(|s| s.name.clone());
        self.server = servers.iter().position(|s| Some(&s.name) == shown.as_ref()).unwrap_or(0);
        self.engine = engine;
        self.servers = servers;
        self.expect = expect;
        self.notices = notices.into();
        // A fresh snapshot after a lag says nothing of having been away.
        self.away = away.or_else(|| self.away.take());
        self.state = EngineState::Up;
        self.lost_at = None;
        self.jobs.replace(jobs, self.now);
        self.forecast_due = true;
        self.want_detail();
        self.mark(Urgency::Now);
    }

    fn change(&mut self, update: Update) {
        match update {
            Update::Job(row) => {
                let id = row.id;
                if let Some(ranking) = &mut self.ranking {
                    ranking.heard_of(id);
                }
                self.forecast_due = true;
                if self.jobs.upsert(*row, self.now) == Seen::Something {
                    self.mark(Urgency::Now);
                }
                if self.selected_job() == Some(id) {
                    self.want_detail();
                    self.mark(Urgency::Now);
                }
            }
            Update::Progress { job, progress } => self.progress(job, progress),
            Update::Server(row) => {
                match self.servers.iter_mut().find(|s| s.name == row.name) {
                    Some(known) => {
                        // A row without its history is about the link only.
                        let samples =
                            if row.samples.is_empty() { std::mem::take(&mut known.samples) } else { Vec::new() };
                        *known = *row;
                        if known.samples.is_empty() {
                            known.samples = samples;
                        }
                    }
                    None => self.servers.push(*row),
                }
                self.forecast_due = true;
                self.mark(Urgency::Now);
            }
            Update::Stats { server, sample } => {
                if let Some(server) = self.servers.iter_mut().find(|s| s.name == server) {
                    remember(server, sample);
                    self.mark(Urgency::Soon);
                }
            }
            Update::Expect { kind, seconds } => {
                self.expect.insert(kind, seconds);
                self.forecast_due = true;
                self.mark(Urgency::Soon);
            }
            Update::Preview { job, still } => self.gallery.preview_came(job, still),
            Update::Notice(notice) => self.say(notice),
            Update::Engine(engine) => {
                self.engine = engine;
                self.forecast_due = true;
                self.mark(Urgency::Now);
            }
        }
    }

    fn progress(&mut self, job: JobId, progress: Progress) {
        let Some(entry) = self.jobs.get(job) else { return };
        let changed = entry.row.progress.as_ref().map(seen) != Some(seen(&progress));
        self.jobs.progress(job, progress, self.now);
        let first = self.jobs.running().is_some_and(|e| e.row.id == job);
        let shown =
            self.jobs.is_visible(job) || self.selected_job() == Some(job) || (first && self.areas().line.width > 0);
        if changed && shown {
            self.mark(Urgency::Soon);
        }
    }

    fn answer(&mut self, result: Result<Answer, String>) {
        match result {
            Ok(Answer::Detail(detail)) => {
                if self.selected_job() == Some(detail.row.id) && self.detail.as_ref() != Some(&detail) {
                    self.mark(Urgency::Now);
                    self.detail = Some(detail);
                }
            }
            Ok(Answer::Pictures { job, attempt, what, album }) => {
                self.gallery.album_came((job, attempt), what, album);
                self.mark(Urgency::Soon);
            }
            Ok(Answer::Each(each)) => self.each(&each),
            Ok(Answer::Ranking(rows)) => self.ranking_came(rows),
            Ok(Answer::Text { job, text }) => self.text_came(job, text),
            Ok(_) => {}
            Err(words) => self.tell(Level::Warning, words),
        }
    }
}

impl App {
    /// What became of an action: of one job in its words, of many as a sum, and the first that could not.
    fn each(&mut self, each: &[(JobId, Result<String, String>)]) {
        if let [(job, result)] = each
            && self.is_draft_of(*job)
        {
            return self.edit_answered(*job, result);
        }
        if let [(job, Ok(words))] = each {
            if !words.is_empty() {
                self.tell(Level::Info, format!("{job}: {words}"));
            }
            return;
        }
        let wrong: Vec<_> = each.iter().filter_map(|(job, r)| Some((*job, r.as_ref().err()?))).collect();
        let well = each.len() - wrong.len();
        let all = each.iter().find_map(|(_, r)| r.as_ref().ok()).map_or("", String::as_str);
        match wrong.first() {
            None if well > 0 => {
                let all = if all == STAYS { "stay where they are" } else { all };
                self.tell(Level::Info, format!("{well} jobs: {all}"));
            }
            Some((job, why)) if each.len() == 1 => self.tell(Level::Warning, format!("{job}: {why}")),
            Some((job, why)) => {
                let words = format!("{} of {} jobs could not; {job}: {why}", wrong.len(), each.len());
                self.tell(Level::Warning, words);
            }
            None => {}
        }
    }
}

/// Adds a sample, and drops those that are older than the graph.
fn remember(server: &mut ServerRow, sample: Sample) {
    let oldest = sample.at.checked_sub(GRAPH_SPAN + Duration::from_mins(1)).unwrap_or(sample.at);
    let keep = server.samples.iter().position(|s| s.at >= oldest).unwrap_or(server.samples.len());
    server.samples.drain(..keep);
    server.samples.push(sample);
}

/// As much of a progress as the screen can show.
type Shown<'a> = (Option<usize>, Option<u8>, Option<&'a str>, Option<(u64, u64)>, usize, Option<&'a str>);

/// What can be seen of a progress: two that give the same look the same. The seconds that tick by are the clock's.
fn seen(progress: &Progress) -> Shown<'_> {
    (
        // The widest bar has 24 cells.
        progress.fraction.map(|f| figures::eighths(f, 24)),
        progress.fraction.map(figures::percent),
        progress.node.as_deref(),
        progress.step,
        progress.nodes.len(),
        progress.nodes.last().map(|n| n.title.as_str()),
    )
}
