//! What people order: of the job under the cursor, or of all that are marked; and of the queue.
//!
//! Many at once are one request, and one question that says how many.

use super::{App, Command, Question};
use crate::job::{JobId, JobState};
use crate::protocol::{Flow, JobRow, Level, MoveTo, NewPriority, Request};
use crate::tui::figures;
use crate::tui::layout::Pane;

pub(super) const NO_ENGINE: &str = "no engine runs: E starts it";

pub(super) fn can_cancel(state: &JobState) -> bool {
    !state.is_ended() && !matches!(state, JobState::Cancelling { .. } | JobState::Collecting | JobState::Measuring)
}

/// It is being measured, and others may be tried after that.
pub(super) fn ends_tries(row: &JobRow) -> bool {
    matches!(row.state, JobState::Measuring) && row.tries.as_ref().is_some_and(|tries| tries.number < tries.of)
}

pub(super) fn can_requeue(state: &JobState) -> bool {
    state.is_ended() && !matches!(state, JobState::Rejected { .. })
}

pub(super) fn can_hold(state: &JobState) -> bool {
    matches!(state, JobState::Queued | JobState::Waiting { .. }) || state.is_pending()
}

pub(super) fn can_move(state: &JobState) -> bool {
    state.is_waiting() || state.is_pending()
}

pub(super) fn can_edit(state: &JobState) -> bool {
    can_move(state) || state.is_ended()
}

/// Why an action is not for a job in this state.
type Unfit = fn(&JobRow) -> String;

impl App {
    /// At least one of those that an action is for fits it.
    pub(super) fn can_all(&self, fits: impl Fn(&JobState) -> bool) -> bool {
        if !self.is_up() {
            return false;
        }
        match self.jobs.marks() {
            0 => self.jobs.selected().is_some_and(|e| fits(&e.row.state)),
            // With thousands marked, nobody looks at each for a footer.
            1..=200 => self.jobs.targets().iter().any(|e| fits(&e.row.state)),
            _ => true,
        }
    }

    /// Those that an action is for and that fit it, with their rows; says why where none does.
    fn targets(&mut self, fits: fn(&JobState) -> bool, unfit: Unfit) -> Option<Vec<JobRow>> {
        if !self.is_up() {
            self.tell(Level::Warning, NO_ENGINE.to_owned());
            return None;
        }
        let targets = self.jobs.targets();
        let first = targets.first().map(|e| unfit(&e.row))?;
        let many = targets.len();
        let fit: Vec<_> = targets.into_iter().filter(|e| fits(&e.row.state)).map(|e| e.row.clone()).collect();
        if fit.is_empty() {
            let words = if many == 1 { first } else { format!("none of the {many} marked jobs: {first}") };
            self.tell(Level::Info, words);
            return None;
        }
        Some(fit)
    }

    /// Asked first where it is for many, or (`always`) costs something.
    fn order(&mut self, request: Request, many: usize, words: String, always: bool) -> Option<Command> {
        let ask = Command::Ask(request);
        if many < 2 && !always {
            self.jobs.unmark();
            return Some(ask);
        }
        self.question = Some(Question { words, yes: ask, no: None });
        None
    }

    pub(super) fn cancel(&mut self) -> Option<Command> {
        // One that is measured has nothing to cancel but the tries after it.
        if let [one] = self.jobs.targets().as_slice()
            && self.is_up()
            && ends_tries(&one.row)
        {
            return Some(Command::Ask(Request::Cancel { jobs: vec![one.row.id] }));
        }
        let rows = self.targets(can_cancel, |r| format!("{} is {}: nothing to cancel", r.id, r.state.word()))?;
        let running: Vec<_> = rows.iter().filter(|r| matches!(r.state, JobState::Running)).collect();
        let words = match (&rows[..], running.len()) {
            ([row], _) => {
                let spent = row.elapsed_s(self.now).map(|s| format!(" after {}", figures::duration(s)));
                format!("cancel {} {}{}?", row.id, row.name, spent.unwrap_or_default())
            }
            (many, 0) => format!("cancel {} jobs?", many.len()),
            (many, n) => format!("cancel {} jobs, {n} of them running?", many.len()),
        };
        // What waits costs nothing to requeue; what runs has cost minutes.
        let costs = !running.is_empty();
        self.order(Request::Cancel { jobs: ids(&rows) }, rows.len(), words, costs)
    }

    pub(super) fn requeue(&mut self, new_seed: bool) -> Option<Command> {
        let rows = self.targets(can_requeue, |r| match r.state {
            JobState::Rejected { .. } => format!("{} was rejected: e mends its text", r.id),
            _ => format!("{} is {}: it can be requeued once it has ended", r.id, r.state.word()),
        })?;
        if new_seed
            && let [row] = &rows[..]
            && row.seed.is_none()
        {
            let words = format!("{} has no seed to change", row.id);
            self.tell(Level::Info, words);
            return None;
        }
        let with = if new_seed { " with new seeds" } else { "" };
        let words = format!("requeue {} jobs{with}?", rows.len());
        self.order(Request::Requeue { jobs: ids(&rows), new_seed }, rows.len(), words, false)
    }

    /// Holds, or releases where all that could be held are held already.
    pub(super) fn hold(&mut self) -> Option<Command> {
        let either = |s: &JobState| matches!(s, JobState::Held) || can_hold(s);
        let rows = self.targets(either, |r| format!("{} is {}: only what waits can be held", r.id, r.state.word()))?;
        let held = |r: &&JobRow| matches!(r.state, JobState::Held);
        let free: Vec<_> = rows.iter().filter(|r| !held(r)).cloned().collect();
        let (request, word, many) = if free.is_empty() {
            (Request::Release { jobs: ids(&rows) }, "release", rows.len())
        } else {
            (Request::Hold { jobs: ids(&free) }, "hold", free.len())
        };
        self.order(request, many, format!("{word} {many} jobs?"), false)
    }

    /// What `H` would do now, for the footer.
    pub(in crate::tui) fn hold_words(&self) -> &'static str {
        let held = self.jobs.selected().is_some_and(|e| matches!(e.row.state, JobState::Held));
        if held && self.jobs.marks() == 0 { "release" } else { "hold" }
    }

    /// Moves keep the marks: they are pressed again and again.
    pub(super) fn place(&mut self, to: MoveTo) -> Option<Command> {
        let rows = self.targets(can_move, unmoved)?;
        Some(Command::Ask(Request::Move { jobs: ids(&rows), to }))
    }

    pub(super) fn priority(&mut self, by: i64) -> Option<Command> {
        let rows = self.targets(can_move, unmoved)?;
        Some(Command::Ask(Request::Priority { jobs: ids(&rows), priority: NewPriority::By(by) }))
    }

    /// The server that `p` and `D` are for: only where the server pane has the focus.
    fn flow_of(&self) -> (Vec<String>, &Flow) {
        match self.shown_server().filter(|_| self.focus == Pane::Server) {
            Some(server) => (vec![server.name.clone()], &server.flow),
            None => (Vec::new(), &self.engine.flow),
        }
    }

    pub(super) fn pause(&mut self) -> Option<Command> {
        if !self.is_up() {
            self.tell(Level::Warning, NO_ENGINE.to_owned());
            return None;
        }
        let (servers, _) = self.flow_of();
        let request = if self.pauses() { Request::Pause { servers } } else { Request::Resume { servers } };
        Some(Command::Ask(request))
    }

    /// `p` would pause now. For all servers, it first lifts what stopped by itself.
    fn pauses(&self) -> bool {
        let (servers, flow) = self.flow_of();
        flow.goes() && (!servers.is_empty() || !self.servers.iter().any(|s| s.flow.is_paused_by_itself()))
    }

    /// What `p` would do now, for the footer.
    pub(in crate::tui) fn pause_words(&self) -> &'static str {
        if self.pauses() { "pause" } else { "go on" }
    }

    /// How this pause, of a server or of them all, is lifted: by `p`, unless that is for another server now.
    pub(in crate::tui) fn resume_words(&self, server: Option<&str>) -> String {
        let (servers, _) = self.flow_of();
        let is_meant = servers.is_empty() || server.is_some_and(|server| servers.iter().any(|s| s == server));
        if is_meant { "p goes on".to_owned() } else { "p in the list of jobs goes on".to_owned() }
    }

    pub(super) fn drain(&mut self) -> Option<Command> {
        if !self.is_up() {
            self.tell(Level::Warning, NO_ENGINE.to_owned());
            return None;
        }
        let (servers, _) = self.flow_of();
        Some(Command::Ask(Request::Drain { servers }))
    }

    // ---- editing --------------------------------------------------------------------------------

    pub(super) fn edit(&mut self) -> Option<Command> {
        if self.jobs.marks() > 1 {
            self.tell(Level::Info, "one job at a time is edited: Esc unmarks".to_owned());
            return None;
        }
        let rows = self.targets(can_edit, |r| format!("{} is {}: edit it when it has ended", r.id, r.state.word()))?;
        let job = rows.first()?.id;
        // What was typed before, and not taken, is there again.
        if let Some((_, text)) = self.editing.draft.take_if(|(of, _)| *of == job) {
            return Some(Command::Editor { job, text });
        }
        self.editing.asked = Some(job);
        Some(Command::Ask(Request::Text { job }))
    }

    pub(super) fn text_came(&mut self, job: JobId, text: String) {
        if self.editing.asked.take_if(|asked| *asked == job).is_some() {
            self.editing.text.clone_from(&text);
            self.editing.then = Some(Command::Editor { job, text });
        }
    }

    pub(super) fn edited(&mut self, job: JobId, text: Result<String, String>) -> Option<Command> {
        match text {
            Ok(text) if text == self.editing.text => {
                self.tell(Level::Info, format!("{job}: not changed"));
                None
            }
            Ok(text) => {
                self.editing.draft = Some((job, text.clone()));
                Some(Command::Ask(Request::Edit { job, text }))
            }
            Err(why) => {
                self.tell(Level::Warning, why);
                None
            }
        }
    }

    /// What was typed and not taken lies in a file; `e` brings it back, too.
    pub(super) fn text_kept(&mut self, job: JobId, path: &Result<String, String>) {
        match path {
            Ok(path) => self.tell(Level::Info, format!("{job}: not changed; what you wrote is in {path}")),
            Err(why) => self.tell(Level::Warning, format!("{job}: not changed; e shows what you wrote ({why})")),
        }
    }

    pub(super) fn is_draft_of(&self, job: JobId) -> bool {
        self.editing.draft.as_ref().is_some_and(|(of, _)| *of == job)
    }

    /// Taken, or the error and the editor again.
    pub(super) fn edit_answered(&mut self, job: JobId, result: &Result<String, String>) {
        match result {
            Ok(words) => {
                self.editing.draft = None;
                self.tell(Level::Info, format!("{job}: {words}"));
            }
            Err(why) => {
                let Some((_, text)) = self.editing.draft.clone() else { return };
                // Whatever stands in it then is sent: it has not been taken as it is.
                self.editing.text.clear();
                let first = crate::text::clean(why.lines().next().unwrap_or_default()).into_owned();
                let words = format!("edit again? {first}");
                let no = Some(Command::KeepText { job, text: text.clone() });
                self.question = Some(Question { words, yes: Command::Editor { job, text }, no });
                self.mark(super::Urgency::Now);
            }
        }
    }
}

fn unmoved(row: &JobRow) -> String {
    format!("{} is {}: only what waits can be moved", row.id, row.state.word())
}

fn ids(rows: &[JobRow]) -> Vec<JobId> {
    rows.iter().map(|row| row.id).collect()
}
