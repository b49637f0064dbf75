//! Random commands and server events against [`Job::apply`] and the core's plan, beside a model that knows only what
//! the design says: which states follow which, that nothing is posted without room, in another order, or twice.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]
#![allow(clippy::too_many_lines, clippy::needless_pass_by_value, reason = "one arm a step, each step taken once")]
#![allow(clippy::single_match_else, reason = "both outcomes of a change are checked, side by side")]

use std::collections::BTreeMap;

use comfytop::engine::core::{
    About, CollectFailure, Collected, Effect, Found, Heard, Input, Look, OpenFile, Policy, PostResult, Remembered,
    ServerSeat, State,
};
use comfytop::job::{
    Attempt, CancelledBy, Change, Failure, FailureKind, Job, JobId, JobState, Output, Reason, SeedWish, Shape,
};
use comfytop::protocol::{EngineRow, MoveTo, NewPriority, Request};
use comfytop::store::Write;
use comfytop::verdict::Measurement;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const IN_FLIGHT: usize = 2;

fn job(id: u64, priority: i64) -> Job {
    Job {
        id: JobId(id),
        name: format!("job {id}"),
        workflow: "w".to_owned(),
        file: Some(id),
        only_server: None,
        priority,
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

fn failure() -> Failure {
    Failure { kind: FailureKind::Node, node: None, message: "no".to_owned(), detail: String::new() }
}

// ---- one job

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        prompt_id: format!("{number}"),
        server: "s".to_owned(),
        url: "s".to_owned(),
        seed: Some(7),
        reason: Reason::First,
        submitted_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        start_seen: false,
        ended_at: None,
        ending: None,
        peak_vram: None,
        outputs: Vec::new(),
        measurement: None,
        repaired: Vec::new(),
        mark: None,
        values: serde_json::Map::new(),
        notes: Vec::new(),
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = Timestamp::UNIX_EPOCH;
    prop_oneof![
        (1..9_u32).prop_map(|n| Change::Submit { attempt: Box::new(attempt(n)) }),
        Just(Change::Posted { notes: Vec::new() }),
        Just(Change::Recall),
        Just(Change::TakenBack),
        any::<bool>().prop_map(move |seen| Change::Started { at, seen }),
        Just(Change::Salvaged { at }),
        Just(Change::Rendered { at }),
        any::<bool>().prop_map(|to_measure| Change::Collected { outputs: Vec::new(), notes: Vec::new(), to_measure }),
        Just(Change::Measured { measurement: Box::default(), repaired: Vec::new(), next: None }),
        Just(Change::Measured {
            measurement: Box::default(),
            repaired: Vec::new(),
            next: Some(comfytop::job::Pick::default())
        }),
        Just(Change::Settle),
        Just(Change::Cancel { at }),
        Just(Change::Cancelled { by: CancelledBy::Elsewhere, at }),
        Just(Change::Failed { why: failure(), at }),
        Just(Change::Lost { at, why: String::new() }),
        Just(Change::Retry { at, why: String::new() }),
        Just(Change::Requeue { seed: SeedWish::None, rank: 9, at }),
        (-1..2_i64).prop_map(|priority| Change::Move { priority, rank: 3 }),
        Just(Change::TryAgain { failure: failure(), at, why: String::new() }),
        Just(Change::Hold),
        Just(Change::Release),
        Just(Change::Peak { vram: 1 }),
    ]
}

/// The states that may follow, as the drawing in the design has them.
fn may_follow(from: &str) -> &'static [&'static str] {
    match from {
        "held" | "waiting" => &["queued", "held", "cancelled", "failed"],
        "queued" => &["submitting", "held", "cancelled", "failed"],
        "submitting" => &["pending", "queued", "running", "collecting", "cancelling", "cancelled", "failed"],
        "pending" => &["submitting", "queued", "running", "collecting", "cancelling", "cancelled", "failed"],
        "running" => &["queued", "collecting", "cancelling", "cancelled", "failed"],
        "cancelling" => &["queued", "cancelled", "failed", "collecting"],
        "collecting" => &["measuring", "done", "queued", "cancelled", "failed"],
        "measuring" => &["done", "queued"],
        "done" | "cancelled" | "failed" | "duplicate" => &["queued"],
        _ => &[],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_job_changes_only_as_it_may(changes in proptest::collection::vec(change(), 1..60)) {
        let mut job = job(1, 0);
        for change in changes {
            let before = job.clone();
            match job.apply(&change) {
                Err(_) => prop_assert_eq!(&job, &before, "an error changes nothing"),
                Ok(()) => {
                    let (from, to) = (before.state.word(), job.state.word());
                    prop_assert!(from == to || may_follow(from).contains(&to), "{} to {} by {:?}", from, to, change);
                    // What is at a server has an attempt to be known by; what has ended well has an ended one.
                    prop_assert!(!job.state.is_at_server() || job.attempt().is_some_and(|a| a.ending.is_none() || from == to));
                    // A try is never forgotten, but the one that was taken back before it ran.
                    let gone = before.attempts.len().saturating_sub(job.attempts.len());
                    prop_assert!(gone == 0 || (gone == 1 && matches!(change, Change::TakenBack)));
                }
            }
            // What is written comes back as it was.
            let text = serde_json::to_string(&job).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Job>(&text).unwrap(), &job);
        }
    }
}

// ---- the core

#[derive(Debug, Clone)]
enum Step {
    Take { priority: i64 },
    Up,
    Down,
    Answer { job: u64, kind: u8 },
    Look { job: u64, kind: u8 },
    Hear { job: u64, kind: u8 },
    Collected { job: u64, well: u8 },
    Measured { job: u64 },
    Ask { job: u64, kind: u8 },
    Count { remaining: u32 },
    Pong { token: u64 },
    Wait { seconds: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let job = || 1..8_u64;
    prop_oneof![
        3 => (-1..2_i64).prop_map(|priority| Step::Take { priority }),
        3 => Just(Step::Up),
        1 => Just(Step::Down),
        6 => (job(), 0..10_u8).prop_map(|(job, kind)| Step::Answer { job, kind }),
        4 => (job(), 0..7_u8).prop_map(|(job, kind)| Step::Look { job, kind }),
        8 => (job(), 0..7_u8).prop_map(|(job, kind)| Step::Hear { job, kind }),
        5 => (job(), 0..4_u8).prop_map(|(job, well)| Step::Collected { job, well }),
        4 => job().prop_map(|job| Step::Measured { job }),
        4 => (job(), 0..9_u8).prop_map(|(job, kind)| Step::Ask { job, kind }),
        1 => (0..4_u32).prop_map(|remaining| Step::Count { remaining }),
        1 => (0..3_u64).prop_map(|token| Step::Pong { token }),
        4 => (1..30_u64).prop_map(|seconds| Step::Wait { seconds }),
        1 => Just(Step::Restart),
    ]
}

struct World {
    state: State,
    now: Timestamp,
    up: bool,
    /// What the store would hold.
    stored: BTreeMap<JobId, Job>,
    /// POSTs that have no answer yet: prompt and job.
    posting: Vec<(String, u64)>,
    asked: u64,
    lives: u64,
}

impl World {
    fn new() -> Self {
        let now: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        let mut world = Self {
            state: core(Vec::new(), 1, now),
            now,
            up: false,
            stored: BTreeMap::new(),
            posting: Vec::new(),
            asked: 0,
            lives: 1,
        };
        world.up = false;
        world
    }

    fn at_server(&self) -> usize {
        self.stored.values().filter(|j| j.state.is_at_server()).count()
    }

    fn apply(&mut self, effects: Vec<Effect>) -> Result<(), TestCaseError> {
        let first_act = effects.iter().position(|e| !matches!(e, Effect::Write(_))).unwrap_or(effects.len());
        prop_assert!(!effects[first_act..].iter().any(|e| matches!(e, Effect::Write(_))), "written before acted on");
        for effect in effects {
            match effect {
                Effect::Write(Write::Job { job, change, .. }) => {
                    if let Change::Submit { .. } = change {
                        // The first of those that wait goes first, whoever they are.
                        let waiting = self.stored.values().filter(|j| matches!(j.state, JobState::Queued));
                        let first = waiting.min_by_key(|j| j.order()).map(|j| j.id);
                        prop_assert_eq!(first, Some(job.id), "in order");
                        prop_assert!(self.up, "only to a server that answers");
                        prop_assert!(self.at_server() < IN_FLIGHT, "the window is full");
                    }
                    let mut model = self.stored.get(&job.id).cloned().expect("taken before");
                    prop_assert_eq!(model.apply(&change), Ok(()), "a legal step");
                    prop_assert_eq!(&model, &*job, "the record is what the step makes of it");
                    self.stored.insert(job.id, model);
                }
                Effect::Submit { job, prompt_id, .. } => {
                    let known = self.stored[&job].attempt().map(|a| a.prompt_id.clone());
                    prop_assert_eq!(known.as_ref(), Some(&prompt_id), "its id is written before it is posted");
                    prop_assert!(self.posting.iter().all(|(id, _)| *id != prompt_id), "posted twice at once");
                    self.posting.push((prompt_id, job.0));
                }
                Effect::Look { asked, .. } => self.asked = asked,
                _ => {}
            }
        }
        for (id, job) in &self.stored {
            prop_assert_eq!(self.state.job(*id), Some(job), "memory is what is written");
        }
        Ok(())
    }

    fn step(&mut self, input: Input) -> Result<(), TestCaseError> {
        self.now = self.now.checked_add(SignedDuration::from_millis(10)).unwrap();
        let effects = self.state.step(input, self.now);
        self.apply(effects)
    }

    fn run(&mut self, step: Step) -> Result<(), TestCaseError> {
        let prompt = |world: &Self, job: u64| {
            let job = world.stored.get(&JobId(job))?;
            Some(job.attempt()?.prompt_id.clone())
        };
        match step {
            Step::Take { priority } => {
                let id = self.stored.len() as u64 + 1;
                let job = job(id, priority);
                self.stored.insert(job.id, job.clone());
                let file = OpenFile { id, name: format!("{id}.json"), jobs: vec![job.id] };
                self.step(Input::Taken { file, jobs: vec![job] })
            }
            Step::Up => {
                self.up = true;
                self.step(Input::Up { server: 0, about: About::default() })
            }
            Step::Down => {
                self.up = false;
                let retry_at = self.now;
                self.step(Input::Down { server: 0, why: "gone".to_owned(), retry_at })
            }
            Step::Answer { job, kind } => {
                let Some(at) = self.posting.iter().position(|(_, of)| *of == job) else { return Ok(()) };
                let (prompt_id, _) = self.posting.remove(at);
                let result = match kind {
                    0 => PostResult::Refused(failure()),
                    1 => PostResult::NotSent("refused".to_owned()),
                    2 => PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() },
                    3 => PostResult::Unsure { why: "500".to_owned(), refused: true, nodes: Vec::new() },
                    _ => PostResult::Accepted { notes: Vec::new(), nodes: Vec::new() },
                };
                self.step(Input::Posted { server: 0, job: JobId(job), prompt_id, result })
            }
            Step::Look { job, kind } => {
                let Some(prompt) = prompt(self, job) else { return Ok(()) };
                let look = match kind {
                    0 => Look::Pending { copies: 1 },
                    1 => Look::Running { copies: 2 },
                    2 => Look::Ended { ending: Found::Success, seconds: Some(3.0) },
                    3 => Look::Ended { ending: Found::Interrupted, seconds: None },
                    4 => Look::Deleted,
                    _ => Look::Unknown,
                };
                let asked = self.asked;
                self.step(Input::Looked { server: 0, asked, found: vec![(JobId(job), prompt, look)] })
            }
            Step::Hear { job, kind } => {
                let Some(prompt) = prompt(self, job) else { return Ok(()) };
                let heard = match kind {
                    0 => Heard::Started { prompt },
                    1 => Heard::Step { prompt: Some(prompt), node: "1".to_owned(), value: 1, max: 2 },
                    2 => Heard::Rendered { prompt },
                    3 => Heard::Failed { prompt, node: None, why: failure() },
                    4 => Heard::Interrupted { prompt },
                    5 => Heard::Node { prompt: None, node: "1".to_owned() },
                    _ => Heard::Last { prompt },
                };
                self.step(Input::Heard { server: 0, heard })
            }
            Step::Collected { job, well } => {
                let Some(prompt_id) = prompt(self, job) else { return Ok(()) };
                let outputs = vec![Output { path: "outputs/a.png".to_owned(), bytes: 1 }];
                let result = match well {
                    0 => Err(CollectFailure::Later("full".to_owned())),
                    1 => Err(CollectFailure::Gone("no such file".to_owned())),
                    _ => Ok(Collected { outputs, notes: Vec::new(), to_measure: true }),
                };
                self.step(Input::Collected { job: JobId(job), prompt_id, result })
            }
            Step::Measured { job } => self.step(Input::Measured {
                job: JobId(job),
                measurement: Measurement::default(),
                repaired: Vec::new(),
            }),
            Step::Ask { job, kind } => {
                let jobs = vec![JobId(job)];
                let request = match kind {
                    0 => Request::Cancel { jobs },
                    1 => Request::Requeue { jobs, new_seed: false },
                    2 => Request::Hold { jobs },
                    3 => Request::Release { jobs },
                    4 => Request::Move { jobs, to: MoveTo::Top },
                    5 => Request::Priority { jobs, priority: NewPriority::By(1) },
                    6 => Request::Pause { servers: Vec::new() },
                    7 => Request::Drain { servers: Vec::new() },
                    _ => Request::Resume { servers: Vec::new() },
                };
                self.step(Input::Ask { ask: 1, request })
            }
            Step::Count { remaining } => self.step(Input::Count { server: 0, remaining }),
            Step::Pong { token } => self.step(Input::Heard { server: 0, heard: Heard::Pong { token } }),
            Step::Wait { seconds } => {
                let until = self.now.checked_add(SignedDuration::from_secs(i64::try_from(seconds).unwrap())).unwrap();
                while let Some(at) = self.state.next_wake().filter(|at| *at <= until) {
                    self.now = self.now.max(at);
                    let effects = self.state.step(Input::Tick, self.now);
                    self.apply(effects)?;
                }
                self.now = until;
                Ok(())
            }
            Step::Restart => {
                self.lives += 1;
                self.up = false;
                self.posting.clear();
                self.state = core(self.stored.values().cloned().collect(), self.lives, self.now);
                let effects = self.state.recover(self.now);
                self.apply(effects)
            }
        }
    }
}

fn core(jobs: Vec<Job>, seed: u64, now: Timestamp) -> State {
    let seats =
        vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: u32::try_from(IN_FLIGHT).unwrap() }];
    State::new(Policy::default(), EngineRow::default(), seats, Remembered { jobs, ..Remembered::default() }, seed, now)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_the_core_keeps_its_rules(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.run(step)?;
        }
    }
}
