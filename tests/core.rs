//! The engine's core, stepped by hand in virtual time: what it decides, and that nothing is acted
//! on before it is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use comfytop::engine::core::{
    About, CollectFailure, Collected, Effect, First, Found, HOLD_KEY, Heard, Input, Look, OpenFile, Policy, PostResult,
    Remembered, ServerSeat, State,
};
use comfytop::estimate::Node;
use comfytop::job::{CancelledBy, Change, Failure, FailureKind, Job, JobId, JobState, Output, Reason, SeedWish, Shape};
use comfytop::protocol::{Answer, EngineRow, Request};
use comfytop::store::Write;
use comfytop::verdict::Measurement;
use jiff::{SignedDuration, Timestamp};

struct World {
    state: State,
    now: Timestamp,
    /// The latest look, until it is answered.
    asked: Option<u64>,
}

fn job(id: u64) -> Job {
    Job {
        id: JobId(id),
        name: format!("job {id}"),
        workflow: "w".to_owned(),
        file: Some(id),
        only_server: None,
        priority: 0,
        rank: i64::try_from(id).unwrap(),
        seed: SeedWish::Given(7),
        shape: Shape::default(),
        note: None,
        tags: Vec::new(),
        group: None,
        after: Vec::new(),
        no_preflight: false,
        goal: None,
        pick: None,
        settled: false,
        repair: false,
        fingerprint: Some(format!("print {id}")),
        queued_at: Timestamp::UNIX_EPOCH,
        next_reason: Reason::First,
        state: JobState::Queued,
        attempts: Vec::new(),
    }
}

impl World {
    fn with(in_flight: u32) -> Self {
        let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight }];
        let now: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        let state = State::new(Policy::default(), EngineRow::default(), seats, Remembered::default(), 1, now);
        Self { state, now, asked: None }
    }

    /// A world with a server that answers, and these jobs dropped.
    fn up(in_flight: u32, jobs: u64) -> (Self, Vec<Effect>) {
        let mut world = Self::with(in_flight);
        world.step(Input::Up { server: 0, about: About::default() });
        let mut effects = Vec::new();
        for id in 1..=jobs {
            effects.extend(world.take(id));
        }
        (world, effects)
    }

    /// This engine dies, and the next one has found its server.
    fn next_engine(&self) -> Self {
        let mut next = Self::with(2);
        let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 2 }];
        let remembered = Remembered { jobs: self.state.jobs().cloned().collect(), ..Remembered::default() };
        next.state = State::new(Policy::default(), EngineRow::default(), seats, remembered, 2, next.now);
        next.step(Input::Up { server: 0, about: About::default() });
        next
    }

    fn take(&mut self, id: u64) -> Vec<Effect> {
        let file = OpenFile { id, name: format!("{id}.json"), jobs: vec![JobId(id)] };
        self.step(Input::Taken { file, jobs: vec![job(id)] })
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        self.now = self.now.checked_add(SignedDuration::from_millis(10)).unwrap();
        let effects = self.state.step(input, self.now);
        let first_act = effects.iter().position(|e| !matches!(e, Effect::Write(_))).unwrap_or(effects.len());
        assert!(!effects[first_act..].iter().any(|e| matches!(e, Effect::Write(_))), "written before acted on");
        self.note_looks(&effects);
        effects
    }

    /// Lets time pass, timers and all.
    fn wait(&mut self, seconds: u64) -> Vec<Effect> {
        let until = self.now.checked_add(SignedDuration::try_from(Duration::from_secs(seconds)).unwrap()).unwrap();
        let mut effects = Vec::new();
        while let Some(at) = self.state.next_wake().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            effects.extend(self.state.step(Input::Tick, self.now));
        }
        self.now = until;
        self.note_looks(&effects);
        effects
    }

    /// The number of the look that is answered; of one asked just now, where none is known.
    fn answered(&mut self) -> u64 {
        self.asked.take().unwrap_or(u64::MAX)
    }

    fn note_looks(&mut self, effects: &[Effect]) {
        let asked = effects.iter().filter_map(|e| if let Effect::Look { asked, .. } = e { Some(*asked) } else { None });
        self.asked = asked.max().or(self.asked);
    }

    fn word(&self, id: u64) -> &'static str {
        self.state.job(JobId(id)).unwrap().state.word()
    }

    fn prompt(&self, id: u64) -> String {
        self.state.job(JobId(id)).unwrap().attempt().unwrap().prompt_id.clone()
    }

    fn posted(&mut self, id: u64, result: PostResult) -> Vec<Effect> {
        let prompt_id = self.prompt(id);
        self.step(Input::Posted { server: 0, job: JobId(id), prompt_id, result })
    }

    fn accept(&mut self, id: u64) -> Vec<Effect> {
        self.posted(id, PostResult::Accepted { notes: Vec::new(), nodes: Vec::new() })
    }

    fn hear(&mut self, heard: Heard) -> Vec<Effect> {
        self.step(Input::Heard { server: 0, heard })
    }

    fn begin(&mut self, id: u64) -> Vec<Effect> {
        let prompt = self.prompt(id);
        self.hear(Heard::Started { prompt })
    }

    fn looked(&mut self, id: u64, look: Look) -> Vec<Effect> {
        let prompt = self.prompt(id);
        let asked = self.answered();
        self.step(Input::Looked { server: 0, asked, found: vec![(JobId(id), prompt, look)] })
    }

    /// Nowhere, and no file of it either.
    fn nowhere(&mut self, id: u64) -> Vec<Effect> {
        self.looked(id, Look::Unknown);
        self.gone(id)
    }

    /// No file of it is on the server.
    fn gone(&mut self, id: u64) -> Vec<Effect> {
        let gone = Err(CollectFailure::Gone("forgotten".to_owned()));
        let prompt_id = self.prompt(id);
        self.step(Input::Collected { job: JobId(id), prompt_id, result: gone })
    }

    fn measure(&mut self, id: u64, measurement: Measurement) -> Vec<Effect> {
        self.step(Input::Measured { job: JobId(id), measurement, repaired: Vec::new() })
    }

    /// Renders what was submitted, up to its measurement.
    fn render(&mut self, id: u64) {
        self.accept(id);
        self.begin(id);
        let prompt = self.prompt(id);
        self.hear(Heard::Rendered { prompt: prompt.clone() });
        self.hear(Heard::Last { prompt: prompt.clone() });
        self.step(Input::Collected { job: JobId(id), prompt_id: prompt, result: Ok(clip()) });
        assert_eq!(self.word(id), "measuring");
    }

    fn ask(&mut self, request: Request) -> Vec<Effect> {
        self.step(Input::Ask { ask: 9, request })
    }
}

#[test]
fn a_failed_node_is_called_by_its_title() {
    let why = |class: &str| Failure {
        kind: FailureKind::Node,
        node: Some(class.to_owned()),
        message: "it broke".to_owned(),
        detail: String::new(),
    };
    let node =
        |id: &str, title: &str| Node { id: id.to_owned(), title: title.to_owned(), class: "KSampler".to_owned() };
    for (blamed, shown) in
        [(Some("13"), "High noise"), (Some("14"), "KSampler"), (Some("99"), "KSampler"), (None, "KSampler")]
    {
        let (mut heard, _) = World::up(2, 2);
        for id in [1, 2] {
            heard.posted(
                id,
                PostResult::Accepted { notes: Vec::new(), nodes: vec![node("13", "High noise"), node("14", "")] },
            );
        }
        heard.begin(1);
        let (prompt, node) = (heard.prompt(1), blamed.map(str::to_owned));
        heard.hear(Heard::Failed { prompt, node: node.clone(), why: why("KSampler") });
        heard.looked(2, Look::Ended { ending: Found::Failed { node, why: why("KSampler") }, seconds: None });
        for id in [1, 2] {
            match &heard.state.job(JobId(id)).unwrap().state {
                JobState::Failed { why } => assert_eq!(why.node.as_deref(), Some(shown), "{blamed:?}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn submitted(effects: &[Effect]) -> Vec<u64> {
    effects.iter().filter_map(|e| if let Effect::Submit { job, .. } = e { Some(job.0) } else { None }).collect()
}

fn looks(effects: &[Effect]) -> Vec<(First, Vec<u64>)> {
    let ids = |prompts: &[(JobId, String)]| prompts.iter().map(|(id, _)| id.0).collect();
    effects
        .iter()
        .filter_map(|e| if let Effect::Look { prompts, first, .. } = e { Some((*first, ids(prompts))) } else { None })
        .collect()
}

fn pings(effects: &[Effect]) -> Vec<u64> {
    effects.iter().filter_map(|e| if let Effect::Ping { token, .. } = e { Some(*token) } else { None }).collect()
}

fn collects(effects: &[Effect]) -> Vec<(u64, bool)> {
    effects
        .iter()
        .filter_map(|e| if let Effect::Collect { job, salvage, .. } = e { Some((job.0, *salvage)) } else { None })
        .collect()
}

fn clip() -> Collected {
    let outputs = vec![Output { path: "outputs/a.mp4".to_owned(), bytes: 5 }];
    Collected { outputs, notes: Vec::new(), to_measure: true }
}

#[test]
fn the_plain_path() {
    let (mut w, effects) = World::up(2, 1);
    assert_eq!(submitted(&effects), [1]);
    assert_eq!(w.word(1), "submitting");
    w.accept(1);
    assert_eq!(w.word(1), "pending");
    w.begin(1);
    assert_eq!(w.word(1), "running");
    let prompt = w.prompt(1);
    // The end is told before the history is written: nothing is fetched yet.
    let effects = w.hear(Heard::Rendered { prompt: prompt.clone() });
    assert_eq!((w.word(1), collects(&effects).len()), ("collecting", 0));
    let effects = w.hear(Heard::Last { prompt: prompt.clone() });
    assert_eq!(collects(&effects), [(1, false)]);
    let effects = w.step(Input::Collected { job: JobId(1), prompt_id: prompt, result: Ok(clip()) });
    assert_eq!(w.word(1), "measuring");
    assert!(effects.iter().any(|e| matches!(e, Effect::Measure { job: JobId(1), .. })));
    let effects = w.measure(1, Measurement { ssim: Some(0.9), ..Default::default() });
    assert_eq!(w.word(1), "done");
    assert!(effects.iter().any(|e| matches!(e, Effect::FinishFile { failed: false, .. })));
}

#[test]
fn a_last_word_that_never_comes_is_not_waited_for() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    let prompt = w.prompt(1);
    w.hear(Heard::Rendered { prompt });
    assert_eq!(collects(&w.wait(2)), [(1, false)]);
}

#[test]
fn a_server_holds_a_window_and_posts_come_one_by_one_in_order() {
    let (mut w, effects) = World::up(2, 5);
    assert_eq!(submitted(&effects), [1, 2], "decided ahead; the driver posts one after the other");
    assert!(submitted(&w.accept(1)).is_empty(), "the window is full");
    assert!(submitted(&w.accept(2)).is_empty());
    w.begin(1);
    let prompt = w.prompt(1);
    assert_eq!(submitted(&w.hear(Heard::Rendered { prompt })), [3], "the next is sent when one has rendered");
}

#[test]
fn no_window_submits_everything() {
    let (_, effects) = World::up(0, 20);
    assert_eq!(submitted(&effects), (1..=20).collect::<Vec<_>>());
}

#[test]
fn nothing_is_sent_to_a_server_that_is_away_and_nothing_is_lost() {
    let mut w = World::with(2);
    assert!(submitted(&w.take(1)).is_empty());
    assert_eq!(w.word(1), "queued");
    assert_eq!(submitted(&w.step(Input::Up { server: 0, about: About::default() })), [1]);
    assert_eq!(w.word(1), "submitting");
    w.accept(1);
    w.begin(1);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "gone".to_owned(), retry_at: now });
    w.wait(600);
    assert_eq!(w.word(1), "running", "a server that can't be reached has forgotten nothing");
}

#[test]
fn a_post_that_was_never_sent_counts_no_try() {
    let (mut w, _) = World::up(2, 1);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "gone".to_owned(), retry_at: now });
    w.posted(1, PostResult::NotSent("refused".to_owned()));
    assert_eq!(w.word(1), "queued");
    assert!(w.state.job(JobId(1)).unwrap().attempts.is_empty());
}

#[test]
fn an_unanswered_post_is_looked_up_and_posted_again_under_its_own_id() {
    let (mut w, _) = World::up(2, 1);
    let id = w.prompt(1);
    let effects = w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    assert_eq!(looks(&effects), [(First::Nothing, vec![1])]);
    let effects = w.looked(1, Look::Unknown);
    assert!(submitted(&effects).is_empty(), "it may still arrive");
    assert_eq!(w.word(1), "submitting");
    assert_eq!(looks(&w.wait(11)), [(First::Nothing, vec![1])]);
    assert_eq!(submitted(&w.nowhere(1)), [1]);
    assert_eq!(w.prompt(1), id, "the same id: should both arrive, one copy is deleted");
    w.accept(1);
    assert_eq!(looks(&w.wait(11)), [(First::Nothing, vec![1])], "the first may have arrived after all");
    let effects = w.looked(1, Look::Pending { copies: 2 });
    assert!(effects.iter().any(|e| matches!(e, Effect::Delete { .. })));
}

#[test]
fn an_unanswered_post_that_arrived_is_not_posted_again() {
    let (mut w, _) = World::up(2, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.looked(1, Look::Pending { copies: 1 });
    assert_eq!(w.word(1), "pending");
    assert!(submitted(&w.wait(60)).is_empty());
}

#[test]
fn a_copy_that_arrives_long_after_is_seen_and_deleted() {
    let (mut w, _) = World::up(2, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.looked(1, Look::Unknown);
    w.wait(11);
    w.nowhere(1);
    w.accept(1);
    w.hear(Heard::Remaining(1));
    w.wait(11);
    w.looked(1, Look::Running { copies: 1 });
    assert!(looks(&w.wait(15)).is_empty());
    // A minute later there is one more, and nobody posted it.
    w.hear(Heard::Remaining(2));
    assert_eq!(looks(&w.wait(2)), [(First::Nothing, vec![1])]);
    let effects = w.looked(1, Look::Running { copies: 2 });
    assert!(effects.iter().any(|e| matches!(e, Effect::Delete { .. })));
}

#[test]
fn nothing_overtakes_a_post_whose_fate_is_unknown() {
    let (mut w, _) = World::up(2, 3);
    w.accept(1);
    w.posted(2, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.begin(1);
    let prompt = w.prompt(1);
    assert!(submitted(&w.hear(Heard::Rendered { prompt })).is_empty(), "#3 would be rendered before #2");
    w.looked(2, Look::Unknown);
    assert!(!looks(&w.wait(11)).is_empty());
    assert_eq!(submitted(&w.nowhere(2)), [2]);
    assert_eq!(submitted(&w.accept(2)), [3]);
}

#[test]
fn a_server_that_refuses_with_its_own_error_is_not_asked_for_ever() {
    let (mut w, _) = World::up(2, 1);
    for _ in 0..3 {
        w.posted(1, PostResult::Unsure { why: "500".to_owned(), refused: true, nodes: Vec::new() });
        w.looked(1, Look::Unknown);
        w.wait(11);
        w.nowhere(1);
    }
    assert_eq!(w.word(1), "failed");
}

#[test]
fn a_refused_prompt_fails_with_its_reason() {
    let (mut w, _) = World::up(2, 1);
    let why = Failure { kind: FailureKind::Validation, node: None, message: "no".to_owned(), detail: String::new() };
    let effects = w.posted(1, PostResult::Refused(why));
    assert_eq!(w.word(1), "failed");
    assert!(effects.iter().any(|e| matches!(e, Effect::FinishFile { failed: true, .. })));
}

#[test]
fn a_waiting_job_is_cancelled_at_once() {
    let mut w = World::with(2);
    w.take(1);
    let effects = w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    assert_eq!(w.word(1), "cancelled");
    assert!(looks(&effects).is_empty());
}

#[test]
fn a_cancel_is_not_optimistic() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    let effects = w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    assert_eq!(looks(&effects), [(First::Cancel, vec![1])]);
    w.looked(1, Look::Running { copies: 1 });
    assert_eq!(w.word(1), "cancelling");
    assert_eq!(looks(&w.wait(6)), [(First::Cancel, vec![1])], "it is asked for again");
    let prompt = w.prompt(1);
    w.hear(Heard::Interrupted { prompt });
    assert_eq!(w.state.job(JobId(1)).unwrap().state, JobState::Cancelled { by: CancelledBy::You });
}

#[test]
fn a_cancel_during_the_post_waits_for_its_answer() {
    let (mut w, _) = World::up(2, 1);
    let effects = w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    assert!(looks(&effects).is_empty());
    assert_eq!(w.word(1), "cancelling");
    assert_eq!(looks(&w.accept(1)), [(First::Cancel, vec![1])]);
    w.looked(1, Look::Unknown);
    assert_eq!(w.word(1), "cancelled");
}

#[test]
fn a_cancel_that_comes_too_late_keeps_the_render() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    let effects = w.looked(1, Look::Ended { ending: Found::Success, seconds: Some(3.0) });
    assert_eq!((w.word(1), collects(&effects)), ("collecting", vec![(1, false)]));
}

#[test]
fn an_interrupt_that_hits_the_wrong_job_of_ours_is_made_good() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    let (first, second) = (w.prompt(1), w.prompt(2));
    w.hear(Heard::Interrupted { prompt: first });
    w.begin(2);
    let effects = w.hear(Heard::Interrupted { prompt: second });
    assert_eq!(w.word(2), "submitting", "it is tried again");
    assert_eq!(submitted(&effects), [2]);
}

#[test]
fn an_interruption_that_nobody_here_asked_for_was_made_elsewhere() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    let prompt = w.prompt(1);
    w.hear(Heard::Interrupted { prompt });
    assert_eq!(w.state.job(JobId(1)).unwrap().state, JobState::Cancelled { by: CancelledBy::Elsewhere });
}

#[test]
fn what_vanished_pending_from_a_living_server_was_deleted_there() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    w.hear(Heard::Remaining(1));
    let effects = w.wait(2);
    assert_eq!(looks(&effects).len(), 1, "an unexplained count is looked into");
    let effects = w.looked(2, Look::Unknown);
    // The websocket may not have noticed yet that the process behind it is another one.
    assert_eq!(pings(&effects), [1]);
    assert_eq!(w.word(2), "pending");
    w.hear(Heard::Pong { token: 1 });
    w.gone(2);
    assert_eq!(w.state.job(JobId(2)).unwrap().state, JobState::Cancelled { by: CancelledBy::Elsewhere });
}

#[test]
fn what_a_server_forgot_that_died_unnoticed_is_not_taken_for_deleted() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    assert_eq!(pings(&w.looked(2, Look::Unknown)), [1]);
    // No answer: the line turns out to be dead, and another process answers the next one.
    let now = w.now;
    w.step(Input::Down { server: 0, why: "reset".to_owned(), retry_at: now });
    w.step(Input::Up { server: 0, about: About::default() });
    w.hear(Heard::Pong { token: 1 });
    assert_eq!(w.word(2), "pending");
    let found = vec![(JobId(1), w.prompt(1), Look::Unknown), (JobId(2), w.prompt(2), Look::Unknown)];
    let asked = w.answered();
    w.step(Input::Looked { server: 0, asked, found });
    w.gone(1);
    w.gone(2);
    assert_ne!(w.word(2), "cancelled", "nobody deleted it");
}

#[test]
fn what_was_taken_before_a_server_died_is_not_vouched_for_by_what_was_taken_after() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    // It dies and stands up again, and the websocket notices only after the next POST.
    w.accept(2);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "silent".to_owned(), retry_at: now });
    w.step(Input::Up { server: 0, about: About::default() });
    let found = vec![(JobId(1), w.prompt(1), Look::Unknown), (JobId(2), w.prompt(2), Look::Running { copies: 1 })];
    let asked = w.answered();
    w.step(Input::Looked { server: 0, asked, found });
    w.gone(1);
    assert_ne!(w.word(1), "cancelled", "nobody deleted it");
}

#[test]
fn what_vanished_and_left_a_file_was_rendered() {
    // Its messages got lost, and its history was cleared by a person.
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.looked(2, Look::Unknown);
    let effects = w.hear(Heard::Pong { token: 1 });
    assert_eq!(collects(&effects), [(2, true)]);
    let prompt_id = w.prompt(2);
    w.step(Input::Collected { job: JobId(2), prompt_id, result: Ok(clip()) });
    assert_eq!(w.word(2), "measuring");
}

#[test]
fn an_end_that_nobody_told_is_found_on_an_idle_server() {
    // Deaf from the start: not even the POST's own status was heard.
    let (mut w, _) = World::up(2, 1);
    w.wait(60);
    w.accept(1);
    assert!(looks(&w.wait(25)).contains(&(First::Nothing, vec![1])), "silence is looked into");
    w.looked(1, Look::Pending { copies: 1 });
    w.step(Input::Count { server: 0, remaining: 0 });
    assert!(looks(&w.wait(2)).contains(&(First::Nothing, vec![1])), "so is a count that leaves no room for it");
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait() {
    let (mut w, _) = World::up(2, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.now = w.now.checked_sub(SignedDuration::from_hours(5)).unwrap();
    w.looked(1, Look::Unknown);
    assert_eq!(looks(&w.wait(11)), [(First::Nothing, vec![1])]);
}

#[test]
fn what_a_dead_engine_was_taking_back_is_not_taken_for_deleted_by_a_person() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    let effects = w.ask(Request::Stop);
    let written = effects
        .iter()
        .any(|e| matches!(e, Effect::Write(Write::Job { job, change: Change::Recall, .. }) if job.id == JobId(2)));
    assert!(written && looks(&effects) == [(First::Delete, vec![2])], "written before it is deleted: {effects:?}");
    // The engine dies here; the next one finds it nowhere.
    let mut next = w.next_engine();
    let found =
        vec![(JobId(1), next.prompt(1), Look::Running { copies: 1 }), (JobId(2), next.prompt(2), Look::Unknown)];
    let asked = next.answered();
    next.step(Input::Looked { server: 0, asked, found });
    next.wait(11);
    next.nowhere(2);
    assert_eq!(next.word(2), "submitting", "posted again, under its own id");
}

#[test]
fn a_cancel_that_a_dead_engine_left_behind_waits_for_a_post_that_may_still_arrive() {
    let (mut w, _) = World::up(2, 1);
    w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    let mut next = w.next_engine();
    next.looked(1, Look::Unknown);
    assert_eq!(next.word(1), "cancelling", "its POST may be on its way");
    assert!(looks(&next.wait(11)).contains(&(First::Cancel, vec![1])));
    next.looked(1, Look::Unknown);
    assert_eq!(next.word(1), "cancelled");
    // One that is found there is cancelled at once.
    let mut next = w.next_engine();
    next.looked(1, Look::Pending { copies: 1 });
    assert_eq!(looks(&next.wait(0)), [(First::Cancel, vec![1])]);
}

#[test]
fn a_cancel_of_what_was_posted_twice_waits_for_the_first_of_them() {
    let (mut w, _) = World::up(2, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.looked(1, Look::Unknown);
    w.wait(11);
    w.nowhere(1);
    w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    w.posted(1, PostResult::NotSent("refused".to_owned()));
    assert_eq!(w.word(1), "cancelling");
    assert!(looks(&w.wait(11)).contains(&(First::Cancel, vec![1])));
    w.looked(1, Look::Unknown);
    assert_eq!(w.word(1), "cancelled");
}

#[test]
fn nothing_is_sent_while_it_is_not_known_what_a_server_has_forgotten() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "cut".to_owned(), retry_at: now });
    w.step(Input::Up { server: 0, about: About::default() });
    let failed = |asked| Input::LookFailed { server: 0, asked, jobs: vec![JobId(1)] };
    assert!(submitted(&w.step(failed(1))).is_empty());
    assert!(submitted(&w.take(2)).is_empty(), "the one before it may have to go first");
    let effects = w.wait(3);
    assert!(submitted(&effects).is_empty() && looks(&effects).contains(&(First::Nothing, vec![1])));
    // Another question, answered meanwhile, is not the one that this waits for.
    let found = vec![(JobId(1), w.prompt(1), Look::Pending { copies: 1 })];
    assert!(submitted(&w.step(Input::Looked { server: 0, asked: 99, found })).is_empty());
    assert_eq!(submitted(&w.looked(1, Look::Pending { copies: 1 })), [2]);
}

#[test]
fn nothing_is_sent_while_a_forgotten_file_cannot_be_looked_for() {
    let (mut w, _) = World::up(1, 1);
    w.accept(1);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "cut".to_owned(), retry_at: now });
    w.step(Input::Up { server: 0, about: About::default() });
    w.looked(1, Look::Unknown);
    let (prompt_id, later) = (w.prompt(1), Err(CollectFailure::Later("refused".to_owned())));
    w.step(Input::Collected { job: JobId(1), prompt_id, result: later });
    assert!(submitted(&w.take(2)).is_empty(), "the one before it may have to go first");
    assert!(looks(&w.wait(6)).contains(&(First::Nothing, vec![1])));
    assert_eq!(submitted(&w.nowhere(1)), [1], "in its old place");
}

#[test]
fn what_is_taken_back_may_have_been_rendered_unheard() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    w.ask(Request::Stop);
    // Nowhere, and nothing says that it was deleted rather than rendered a moment before, with its history late.
    let effects = w.looked(2, Look::Unknown);
    assert_eq!(collects(&effects), [(2, true)], "its file may be there");
    let prompt_id = w.prompt(2);
    w.step(Input::Collected { job: JobId(2), prompt_id, result: Ok(clip()) });
    assert_eq!(w.word(2), "measuring");
    let notes = &w.state.job(JobId(2)).unwrap().attempt().unwrap().notes;
    assert_eq!(notes[..], ["its end was not heard; this file was found whole on the server"]);
}

#[test]
fn an_answer_to_an_earlier_attempt_says_nothing_of_the_next() {
    let (mut w, _) = World::up(2, 1);
    let first = w.prompt(1);
    // It fails before its POST is answered, and is wanted once more.
    let why = Failure { kind: FailureKind::Node, node: None, message: "no".to_owned(), detail: String::new() };
    w.hear(Heard::Failed { prompt: first.clone(), node: None, why });
    assert_eq!(submitted(&w.ask(Request::Requeue { jobs: vec![JobId(1)], new_seed: false })), [1]);
    let result = PostResult::Accepted { notes: Vec::new(), nodes: Vec::new() };
    w.step(Input::Posted { server: 0, job: JobId(1), prompt_id: first, result });
    // The second is still on its way: what a look does not find may yet arrive.
    w.step(Input::Up { server: 0, about: About::default() });
    w.looked(1, Look::Unknown);
    assert!(submitted(&w.wait(30)).is_empty() && w.word(1) == "submitting");
}

#[test]
fn a_slow_answer_that_is_older_than_one_which_found_it_says_nothing() {
    let (mut w, _) = World::up(2, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.wait(11);
    let found = |w: &World, look| vec![(JobId(1), w.prompt(1), look)];
    // The second of two questions is answered first.
    let second = found(&w, Look::Pending { copies: 1 });
    w.step(Input::Looked { server: 0, asked: 2, found: second });
    let first = found(&w, Look::Unknown);
    let effects = w.step(Input::Looked { server: 0, asked: 1, found: first });
    assert!(pings(&effects).is_empty() && collects(&effects).is_empty(), "{effects:?}");
}

#[test]
fn what_is_being_taken_back_and_seen_once_more_is_still_being_taken_back() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    w.ask(Request::Stop);
    // A look that was asked before the delete.
    let found = vec![(JobId(2), w.prompt(2), Look::Pending { copies: 1 })];
    w.step(Input::Looked { server: 0, asked: 0, found });
    assert_eq!(looks(&w.wait(3)), [(First::Delete, vec![2])]);
    let effects = w.looked(2, Look::Deleted);
    assert_eq!(w.word(2), "queued");
    assert!(effects.contains(&Effect::Exit));
}

#[test]
fn a_slow_answer_during_a_stop_makes_nothing_pending_that_was_deleted() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    w.ask(Request::Stop);
    let asked = w.asked.take().unwrap();
    // The link is opened anew, and all is looked for while the deletion is on its way.
    w.step(Input::Up { server: 0, about: About::default() });
    let deleted = vec![(JobId(2), w.prompt(2), Look::Deleted)];
    let effects = w.step(Input::Looked { server: 0, asked, found: deleted });
    assert!(w.word(2) == "queued" && effects.contains(&Effect::Exit), "it came once, and is gone");

    let (mut w, _) = World::up(1, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.ask(Request::Stop);
    w.looked(1, Look::Unknown);
    let found = vec![(JobId(1), w.prompt(1), Look::Pending { copies: 1 })];
    w.step(Input::Looked { server: 0, asked: 0, found });
    assert_eq!(w.word(1), "submitting", "the next engine looks for it, and takes its absence for no person's doing");
}

#[test]
fn an_answer_from_before_a_post_says_nothing_of_it() {
    let (mut w, _) = World::up(2, 2);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    // Two looks are on their way; the first finds nothing, and it is posted again before the second comes back.
    w.wait(11);
    w.nowhere(1);
    w.accept(1);
    let found = vec![(JobId(1), w.prompt(1), Look::Unknown)];
    let effects = w.step(Input::Looked { server: 0, asked: 1, found });
    assert!(pings(&effects).is_empty() && collects(&effects).is_empty(), "{effects:?}");
    assert_eq!(w.word(1), "pending");
    // Nor does a search for its file that began before.
    w.looked(1, Look::Unknown);
    w.hear(Heard::Pong { token: 1 });
    w.looked(1, Look::Pending { copies: 1 });
    w.gone(1);
    assert_eq!(w.word(1), "pending");
}

#[test]
fn what_a_restarted_server_forgot_goes_back_in_order() {
    let (mut w, _) = World::up(2, 3);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "gone".to_owned(), retry_at: now });
    w.step(Input::Up { server: 0, about: About::default() });
    // Both may have left their files: looked for before anything is rendered again.
    for id in [2, 1] {
        let old = w.prompt(id);
        let effects = w.looked(id, Look::Unknown);
        assert_eq!(collects(&effects), [(id, true)]);
        let gone = Err(CollectFailure::Gone("forgotten".to_owned()));
        w.step(Input::Collected { job: JobId(id), prompt_id: old.clone(), result: gone });
        assert_ne!(w.prompt(id), old, "posted anew");
    }
    assert_eq!(w.state.job(JobId(2)).unwrap().attempts.len(), 1, "it had not begun, so no try is counted");
    assert_eq!(w.state.job(JobId(1)).unwrap().attempts.len(), 2);
    assert_eq!(w.word(3), "queued", "those that were before it go first");
}

#[test]
fn a_job_is_not_lost_for_ever() {
    let (mut w, _) = World::up(2, 1);
    for _ in 0..3 {
        w.accept(1);
        w.begin(1);
        w.looked(1, Look::Unknown);
        let prompt_id = w.prompt(1);
        let gone = Err(CollectFailure::Gone("forgotten".to_owned()));
        w.step(Input::Collected { job: JobId(1), prompt_id, result: gone });
    }
    assert_eq!(w.word(1), "failed");
}

#[test]
fn an_end_that_was_never_heard_is_asked_for() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    assert_eq!(looks(&w.wait(25)), [(First::Nothing, vec![1])]);
    let effects = w.looked(1, Look::Ended { ending: Found::Success, seconds: Some(12.0) });
    assert_eq!(collects(&effects), [(1, false)]);
    let attempt = w.state.job(JobId(1)).unwrap().attempt().unwrap().clone();
    assert!((attempt.elapsed_s(w.now).unwrap() - 12.0).abs() < 0.1, "the time is the server's own");
}

#[test]
fn a_count_that_differs_twice_means_a_deaf_socket() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    w.hear(Heard::Remaining(1));
    assert!(w.step(Input::Count { server: 0, remaining: 0 }).is_empty());
    let effects = w.step(Input::Count { server: 0, remaining: 0 });
    assert!(effects.iter().any(|e| matches!(e, Effect::Reconnect { server: 0 })));
}

#[test]
fn a_reattached_render_says_that_its_start_was_not_seen() {
    let (mut w, _) = World::up(2, 1);
    w.looked(1, Look::Running { copies: 1 });
    w.accept(1);
    w.looked(1, Look::Running { copies: 1 });
    let attempt = w.state.job(JobId(1)).unwrap().attempt().unwrap();
    assert_eq!((w.word(1), attempt.start_seen), ("running", false));
}

#[test]
fn fetching_is_tried_again_and_never_renders_anew() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    let prompt = w.prompt(1);
    w.hear(Heard::Rendered { prompt: prompt.clone() });
    w.hear(Heard::Last { prompt: prompt.clone() });
    for _ in 0..4 {
        let later = Err(CollectFailure::Later("disk full".to_owned()));
        w.step(Input::Collected { job: JobId(1), prompt_id: prompt.clone(), result: later });
        assert_eq!(w.word(1), "collecting");
        assert_eq!(collects(&w.wait(6)), [(1, false)]);
    }
}

#[test]
fn a_stop_takes_back_what_waits_and_leaves_what_runs() {
    let (mut w, _) = World::up(2, 3);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    let effects = w.ask(Request::Stop);
    assert_eq!(looks(&effects), [(First::Delete, vec![2])]);
    assert!(!effects.contains(&Effect::Exit));
    let effects = w.looked(2, Look::Deleted);
    assert_eq!((w.word(1), w.word(2), w.word(3)), ("running", "queued", "queued"));
    assert!(w.state.job(JobId(2)).unwrap().attempts.is_empty(), "it never ran: no try is counted");
    assert!(submitted(&effects).is_empty());
    assert!(effects.contains(&Effect::Exit));
    assert!(effects.contains(&Effect::Reply { ask: 9, result: Ok(Answer::Done) }));
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_is_silent() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.ask(Request::Stop);
    assert!(w.wait(10).contains(&Effect::Exit));
}

#[test]
fn a_requeue_is_a_new_attempt_and_a_new_seed_is_recorded() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    let prompt = w.prompt(1);
    w.hear(Heard::Interrupted { prompt: prompt.clone() });
    w.ask(Request::Requeue { jobs: vec![JobId(1)], new_seed: true });
    let job = w.state.job(JobId(1)).unwrap();
    assert_eq!((job.attempts.len(), w.word(1)), (2, "submitting"));
    assert_ne!(w.prompt(1), prompt);
    assert_ne!(job.seed.value(), Some(7));
    assert_eq!(job.attempt().unwrap().seed, job.seed.value());
}

#[test]
fn messages_of_others_and_of_old_attempts_change_nothing() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    let before = w.state.job(JobId(1)).unwrap().clone();
    for heard in [
        Heard::Started { prompt: "x".to_owned() },
        Heard::Step { prompt: Some("x".to_owned()), node: "3".to_owned(), value: 1, max: 2 },
        Heard::Step { prompt: None, node: "3".to_owned(), value: 1, max: 2 },
        Heard::Rendered { prompt: "x".to_owned() },
        Heard::Interrupted { prompt: String::new() },
        Heard::Last { prompt: "x".to_owned() },
        Heard::Other,
    ] {
        w.hear(heard);
    }
    assert_eq!(*w.state.job(JobId(1)).unwrap(), before);
}

#[test]
fn a_file_that_a_restarted_server_still_has_is_not_rendered_again() {
    let (mut w, _) = World::up(2, 1);
    w.accept(1);
    w.begin(1);
    w.wait(3);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "gone".to_owned(), retry_at: now });
    w.wait(3600);
    w.step(Input::Up { server: 0, about: About::default() });
    w.looked(1, Look::Unknown);
    let prompt_id = w.prompt(1);
    w.step(Input::Collected { job: JobId(1), prompt_id, result: Ok(clip()) });
    assert_eq!(w.word(1), "measuring");
    let attempt = w.state.job(JobId(1)).unwrap().attempt().unwrap();
    assert!(attempt.elapsed_s(w.now).unwrap() < 10.0, "the outage is not rendering time");
    assert!(!attempt.start_seen, "and the time is a lower bound");
}

#[test]
fn a_pending_job_that_vanished_while_the_line_was_cut_was_deleted_if_the_server_remembers_others() {
    let (mut w, _) = World::up(2, 2);
    w.accept(1);
    w.accept(2);
    w.begin(1);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "line cut".to_owned(), retry_at: now });
    w.step(Input::Up { server: 0, about: About::default() });
    let found = vec![(JobId(1), w.prompt(1), Look::Running { copies: 1 }), (JobId(2), w.prompt(2), Look::Unknown)];
    let asked = w.answered();
    w.step(Input::Looked { server: 0, asked, found });
    w.gone(2);
    assert_eq!(w.state.job(JobId(2)).unwrap().state, JobState::Cancelled { by: CancelledBy::Elsewhere });
}

#[test]
fn a_post_that_nobody_takes_is_not_tried_in_a_hot_loop() {
    let (mut w, _) = World::up(1, 1);
    let mut posts = 0;
    let mut next = w.posted(1, PostResult::NotSent("413".to_owned()));
    for _ in 0..60 {
        if !submitted(&next).is_empty() {
            posts += 1;
            w.posted(1, PostResult::NotSent("413".to_owned()));
        }
        let mut effects = w.wait(1);
        effects.extend(w.step(Input::Tick));
        next = effects;
    }
    assert!((3..=8).contains(&posts), "{posts} in a minute");
}

#[test]
fn a_stop_keeps_the_id_of_a_post_that_may_still_arrive() {
    let (mut w, _) = World::up(1, 1);
    let id = w.prompt(1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.ask(Request::Stop);
    let effects = w.looked(1, Look::Unknown);
    assert!(effects.contains(&Effect::Exit));
    assert_eq!((w.word(1), w.prompt(1)), ("submitting", id));
}

#[test]
fn a_cancel_of_a_post_that_may_still_arrive_waits_for_it() {
    let (mut w, _) = World::up(1, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    w.looked(1, Look::Unknown);
    assert_eq!(w.word(1), "cancelling");
    assert!(looks(&w.wait(12)).contains(&(First::Cancel, vec![1])));
    w.looked(1, Look::Unknown);
    assert_eq!(w.word(1), "cancelled");
}

#[test]
fn many_cancels_are_one_question() {
    let (mut w, _) = World::up(0, 30);
    for id in 1..=30 {
        w.accept(id);
    }
    let effects = w.ask(Request::Cancel { jobs: (1..=30).map(JobId).collect() });
    assert_eq!(looks(&effects), [(First::Cancel, (1..=30).collect::<Vec<_>>())]);
}

#[test]
fn a_socket_that_stays_deaf_is_left_alone_and_the_server_asked() {
    let (mut w, _) = World::up(1, 1);
    w.accept(1);
    w.begin(1);
    w.hear(Heard::Remaining(1));
    let mut reconnects = 0;
    for _ in 0..20 {
        let effects = w.step(Input::Count { server: 0, remaining: 0 });
        reconnects += effects.iter().filter(|e| matches!(e, Effect::Reconnect { .. })).count();
        w.hear(Heard::Remaining(1));
        w.step(Input::Count { server: 0, remaining: 2 });
        w.step(Input::Count { server: 0, remaining: 2 });
    }
    assert!(reconnects <= 3, "{reconnects}");
}

#[test]
fn the_smallest_priority_breaks_nothing() {
    let mut job = job(1);
    job.priority = i64::MIN;
    let _ = job.order();
    let mut world = World::with(1);
    let file = OpenFile { id: 1, name: "1.json".to_owned(), jobs: vec![JobId(1)] };
    world.step(Input::Taken { file, jobs: vec![job] });
    assert_eq!(world.word(1), "queued");
}

#[test]
fn a_held_job_waits_until_it_is_released() {
    let mut w = World::with(1);
    w.take(1);
    w.ask(Request::Hold { jobs: vec![JobId(1)] });
    assert_eq!(w.word(1), "held");
    assert!(submitted(&w.step(Input::Up { server: 0, about: About::default() })).is_empty());
    assert_eq!(submitted(&w.ask(Request::Release { jobs: vec![JobId(1)] })), [1]);
}

#[test]
fn whoever_waits_is_answered_when_the_jobs_have_ended() {
    let (mut w, _) = World::up(1, 1);
    w.ask(Request::Wait { jobs: vec![JobId(1)] });
    assert!(w.wait(2).is_empty());
    w.accept(1);
    let why = Failure { kind: FailureKind::Node, node: None, message: "no".to_owned(), detail: String::new() };
    let prompt = w.prompt(1);
    w.hear(Heard::Failed { prompt, node: None, why });
    let replies = w.wait(1);
    assert!(matches!(&replies[..], [Effect::Reply { ask: 9, result: Ok(Answer::List(rows)) }] if rows.len() == 1));
}

#[path = "core/control.rs"]
mod control;
#[path = "core/tries.rs"]
mod tries;
#[path = "core/upkeep.rs"]
mod upkeep;
