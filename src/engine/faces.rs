//! What faces say and hear: greeting, asking, details, progress at its own pace.

use super::core::Input;
use super::hub::FaceEvent;
use super::{Driver, seat};
use crate::config::ServerConfig;
use crate::folder::Ending;
use crate::job::{Attempt, JobId};
use crate::link::VERSION;
use crate::protocol::{Answer, Detail, FromEngine, FromFace, Hello, PROTOCOL, Request, Snapshot, Update};
use crate::store::{FileRow, Place, StoreError};
use jiff::Timestamp;

/// Jobs in a line to a face, at least.
const PIECE: usize = 200;
/// Lines of a snapshot at most: fewer than may wait for a face.
const MOST_PIECES: usize = 200;

impl Driver {
    pub(super) fn face(&mut self, event: FaceEvent) {
        match event {
            FaceEvent::Came { face, lines } => self.hub.came(face, lines),
            FaceEvent::Left { face } => {
                if self.hub.left(face) {
                    self.step(Input::Dashboard { here: false });
                }
                self.look_for_previews();
            }
            FaceEvent::Said { face, said } => match *said {
                FromFace::Hello(hello) => self.greet(face, &hello),
                FromFace::Ask { id, request } if self.hub.is_greeted(face) => self.asked(face, id, request),
                FromFace::Ask { .. } => self.hub.close(face),
            },
        }
    }

    fn greet(&mut self, face: u64, hello: &Hello) {
        let unwell = if hello.dashboard { self.take_up_work().err().map(|e| e.to_string()) } else { None };
        if let Some(why) = self.against(hello).or(unwell) {
            self.hub.send(face, &FromEngine::Refused { why, version: VERSION.to_owned() });
            self.hub.close(face);
            return;
        }
        self.hub.send(face, &FromEngine::Welcome(self.state.engine_row().clone()));
        if hello.watch {
            self.send_snapshot(face);
        }
        self.hub.greet(face, hello.watch, hello.dashboard);
        if hello.dashboard {
            self.step(Input::Dashboard { here: true });
        }
    }

    fn against(&self, hello: &Hello) -> Option<String> {
        // A verb of another version is served (`stop` must work), a dashboard is not.
        if hello.protocol != PROTOCOL || (hello.watch && hello.version != VERSION) {
            return Some(format!(
                "this engine is comfytop {VERSION}, the face is {}: `comfytop stop` ends the engine (renders go on), then start again",
                crate::text::clean(&hello.version)
            ));
        }
        let wanted = hello.server.as_deref()?;
        let wanted_shown = seat(&ServerConfig::at(wanted)).url;
        let status = self.state.status();
        if status.servers.iter().any(|s| s.url == wanted_shown || s.name == wanted) {
            return None;
        }
        let has: Vec<_> = status.servers.iter().map(|s| s.url.as_str()).collect();
        Some(format!(
            "the engine of this render folder works with {}, not with {}: `comfytop stop` ends it, then start again",
            has.join(", "),
            crate::text::clean(&wanted_shown)
        ))
    }

    fn asked(&mut self, face: u64, id: u64, request: Request) {
        let look_only = self.state.engine_row().look_only;
        let wants_work = matches!(
            request,
            Request::Add { .. }
                | Request::Requeue { .. }
                | Request::Release { .. }
                | Request::Resume { .. }
                | Request::Edit { .. }
        );
        if wants_work && let Err(error) = self.take_up_work() {
            let result = Err(error.to_string());
            self.hub.send(face, &FromEngine::Answer { id, result });
            return;
        }
        if matches!(request, Request::Wait { .. })
            && let Some(inbox) = &self.inbox
        {
            // What was dropped a moment ago belongs to it.
            inbox.rescan();
        }
        let looks = matches!(
            request,
            Request::Show { .. }
                | Request::Log { .. }
                | Request::Text { .. }
                | Request::List
                | Request::Status
                | Request::Wait { .. }
                | Request::Ranking { .. }
                | Request::Pictures { .. }
                | Request::Previews { .. }
                // It may make the room that is missing.
                | Request::Clean { .. }
        );
        if !looks && let Err(why) = self.can_write() {
            let is_stop = matches!(request, Request::Stop);
            let result = Err(if is_stop {
                format!("{why}; the engine ends, and what waits on servers stays there until the next one")
            } else {
                why
            });
            self.hub.send(face, &FromEngine::Answer { id, result });
            self.exit |= is_stop;
            return;
        }
        let result = match request {
            Request::Cancel { .. }
            | Request::Hold { .. }
            | Request::Pause { .. }
            | Request::Drain { .. }
            | Request::Move { .. }
            | Request::Priority { .. }
                if look_only =>
            {
                Err("this engine only looks: nothing of it runs".to_owned())
            }
            Request::Stop => {
                tracing::info!("a face asks the engine to stop");
                self.ask(face, id, Request::Stop);
                return;
            }
            Request::Show { job, graph } => self.detail(job, graph),
            Request::Log { job } => self.history(job),
            Request::Text { job } => self.job_text(job).map(|text| Answer::Text { job, text }),
            Request::Repair { job, attempt, path, how } => match self.mend(job, attempt, &path, how, (face, id)) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            Request::Clean { pretend } => self.clean(pretend).map(Answer::Cleaned),
            Request::Edit { job, text } => match self.read_edit(job, text) {
                Ok((edit, prompt)) => {
                    let ask = self.next_ask;
                    self.next_ask += 1;
                    self.asks.insert(ask, (face, id));
                    return self.step(Input::Edited { ask, job, edit, prompt });
                }
                Err(why) => Ok(Answer::Each(vec![(job, Err(why))])),
            },
            Request::Previews { on } => {
                self.hub.want_previews(face, on);
                self.look_for_previews();
                Ok(Answer::Done)
            }
            Request::Pictures { job, attempt, what } => return self.pictures((face, id), job, attempt, what),
            Request::Requeue { jobs, new_seed } => {
                let (jobs, lacking) = self.with_their_files(jobs);
                self.refused.insert(self.next_ask, lacking);
                self.ask(face, id, Request::Requeue { jobs, new_seed });
                return;
            }
            Request::Resume { .. } => {
                self.ask(face, id, request);
                // Those that were spared while the queue was paused.
                self.look_again(None);
                return;
            }
            Request::Add { name, dir, text, no_preflight } => self.add(&name, &dir, &text, no_preflight),
            other => {
                self.ask(face, id, other);
                return;
            }
        };
        self.hub.send(face, &FromEngine::Answer { id, result });
    }

    /// The core answers, now or later.
    fn ask(&mut self, face: u64, id: u64, request: Request) {
        let ask = self.next_ask;
        self.next_ask += 1;
        self.asks.insert(ask, (face, id));
        self.step(Input::Ask { ask, request });
    }

    fn detail(&mut self, id: JobId, graph: bool) -> Result<Answer, String> {
        let Some(mut row) = self.state.job_row(id, Timestamp::now()) else {
            return Err(format!("there is no job {id}"));
        };
        let Some(job) = self.state.job(id).cloned() else { return Err(format!("there is no job {id}")) };
        row.position = self.state.line().zip(1..).find(|(other, _)| *other == id).map(|(_, place)| place);
        let words = |e: StoreError| e.to_string();
        let prompt = self.store.prompt(id).map_err(words)?;
        let file = match job.file {
            Some(file) => self.store.file(file).map_err(words)?.map(|file| self.lies_at(&file)),
            None => None,
        };
        // As the row does.
        let shown = job.shown();
        let graph = match shown {
            Some(attempt) if graph => self.store.posted(&attempt.prompt_id).map_err(words)?,
            _ => None,
        };
        let looks = match shown.filter(|attempt| !attempt.is_discarded()) {
            Some(attempt) => self.store.looks(&attempt.prompt_id).map_err(words)?,
            None => Vec::new(),
        };
        let mut slots = prompt.map(|p| p.slots).unwrap_or_default();
        for (slot, value) in &mut slots {
            let own = |attempt: &Attempt| {
                let seed = attempt.seed.filter(|_| slot == "seed").map(serde_json::Value::from);
                attempt.values.get(slot).cloned().or(seed)
            };
            if let Some(own) = shown.and_then(own) {
                *value = own;
            }
        }
        let minutes = job.goal.as_ref().and_then(|goal| goal.minutes);
        Ok(Answer::Detail(Box::new(Detail {
            looks,
            minutes,
            row,
            file,
            slots,
            note: job.note.clone(),
            tags: job.tags.clone(),
            attempts: job.attempts,
            graph,
        })))
    }

    fn history(&self, id: JobId) -> Result<Answer, String> {
        if self.state.job(id).is_none() {
            return Err(format!("there is no job {id}"));
        }
        self.store.events(id).map(Answer::Log).map_err(|e| e.to_string())
    }

    /// Where a job file lies now, or its name where it is not there any more.
    fn lies_at(&self, file: &FileRow) -> String {
        let queued = self.folder.queued_path(file.origin.as_deref(), file.id, &file.name);
        let path = match file.place {
            Place::Taking | Place::Returning | Place::Queued => queued,
            Place::Done => self.folder.put_away_path(&queued, Ending::Done),
            Place::Failed => self.folder.put_away_path(&queued, Ending::Failed),
        };
        if path.exists() { self.folder.relative(&path) } else { file.name.clone() }
    }

    pub(super) fn tell_progress(&mut self) {
        self.progress_due = false;
        for (job, progress) in self.state.take_progress(Timestamp::now()) {
            self.hub.publish(Update::Progress { job, progress });
        }
    }

    pub(super) fn catch_up(&mut self) {
        for face in self.hub.caught_up() {
            self.send_snapshot(face);
        }
    }

    /// Piece by piece: ten thousand rows at once would stay in memory as long as the engine lives.
    fn send_snapshot(&mut self, face: u64) {
        let now = Timestamp::now();
        let all: Vec<JobId> = self.state.jobs().map(|job| job.id).collect();
        let mut pieces = all.chunks(PIECE.max(all.len() / MOST_PIECES));
        let first = pieces.next().unwrap_or_default();
        let snapshot = Snapshot { more: all.len() - first.len(), ..self.state.snapshot(first, now) };
        self.hub.send(face, &FromEngine::Snapshot(Box::new(snapshot)));
        for piece in pieces {
            let rows = self.state.rows(piece, now);
            self.hub.send(face, &FromEngine::Jobs(rows));
        }
    }
}
