//! Pause, order, retries, watchdog: what people ask of the queue as a whole, and what it does by itself.

use comfytop::engine::core::KeptFlow;
use comfytop::protocol::{Cause, Flow, MoveTo, NewPriority};

use super::*;

fn out_of_memory() -> Failure {
    Failure { kind: FailureKind::OutOfMemory, node: None, message: "out of memory".to_owned(), detail: String::new() }
}

fn broken() -> Failure {
    Failure { kind: FailureKind::Node, node: None, message: "it broke".to_owned(), detail: String::new() }
}

fn frees(effects: &[Effect]) -> usize {
    effects.iter().filter(|e| matches!(e, Effect::Free { .. })).count()
}

fn pause() -> Request {
    Request::Pause { servers: Vec::new() }
}

fn resume() -> Request {
    Request::Resume { servers: Vec::new() }
}

fn ids(jobs: impl IntoIterator<Item = u64>) -> Vec<JobId> {
    jobs.into_iter().map(JobId).collect()
}

impl World {
    /// Two servers, `a` and `b`, of which nothing was heard yet.
    fn of_two(in_flight: u32) -> Self {
        let seat = |name: &str| ServerSeat { name: name.to_owned(), url: name.to_owned(), in_flight };
        let now: Timestamp = "2026-11-22T20:00:00Z".parse().unwrap();
        let seats = vec![seat("a"), seat("b")];
        let state = State::new(Policy::default(), EngineRow::default(), seats, Remembered::default(), 1, now);
        Self { state, now, asked: None }
    }

    fn both_up(&mut self) {
        for server in [0, 1] {
            self.step(Input::Up { server, about: About::default() });
        }
    }

    fn fail(&mut self, id: u64, why: Failure) -> Vec<Effect> {
        let prompt = self.prompt(id);
        self.hear(Heard::Failed { prompt, node: None, why })
    }

    fn end(&mut self, id: u64) -> Vec<Effect> {
        let prompt = self.prompt(id);
        self.hear(Heard::Rendered { prompt })
    }

    /// One is running, one pending, the rest queued.
    fn busy(jobs: u64) -> Self {
        let (mut w, _) = World::up(2, jobs);
        w.accept(1);
        w.accept(2);
        w.begin(1);
        w
    }

    /// What waits, as the screen has it.
    fn line(&self) -> Vec<u64> {
        let mut waiting: Vec<_> = self
            .state
            .jobs()
            .filter(|j| matches!(j.state.word(), "queued" | "submitting" | "pending"))
            .map(|j| (j.order(), j.id.0))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    fn place(&mut self, jobs: &[u64], to: MoveTo) -> Vec<Effect> {
        self.ask(Request::Move { jobs: ids(jobs.iter().copied()), to })
    }

    fn flow(&self) -> &Flow {
        &self.state.engine_row().flow
    }

    /// What a new engine would be told of the queue as a whole.
    fn kept(effects: &[Effect]) -> Option<KeptFlow> {
        effects.iter().rev().find_map(|e| match e {
            Effect::Write(comfytop::store::Write::Meta { key: "flow", value }) => serde_json::from_str(value).ok(),
            _ => None,
        })
    }
}

#[test]
fn a_pause_takes_back_what_has_not_begun_and_sends_nothing_more() {
    let mut w = World::busy(4);
    let effects = w.ask(pause());
    assert_eq!(looks(&effects), [(First::Delete, vec![2])]);
    assert!(World::kept(&effects).unwrap().engine.is_paused(), "it outlives the engine");
    w.looked(2, Look::Deleted);
    assert_eq!((w.word(1), w.word(2), w.word(3)), ("running", "queued", "queued"));
    assert!(w.state.job(JobId(2)).unwrap().attempts.is_empty(), "it never ran: no try is counted");
    let effects = w.end(1);
    assert!(submitted(&effects).is_empty() && submitted(&w.wait(60)).is_empty());
    assert_eq!(submitted(&w.take(5)), [0_u64; 0]);
    assert_eq!(submitted(&w.ask(resume())), [2, 3], "in the order that they had");
}

#[test]
fn what_began_while_it_was_taken_back_goes_on() {
    let mut w = World::busy(3);
    w.ask(pause());
    w.end(1);
    w.looked(2, Look::Running { copies: 1 });
    assert_eq!(w.word(2), "running");
    w.end(2);
    assert_eq!((w.word(2), w.word(3)), ("collecting", "queued"));
}

#[test]
fn a_deletion_that_did_not_take_is_asked_for_again() {
    let mut w = World::busy(3);
    w.ask(pause());
    w.looked(2, Look::Pending { copies: 1 });
    assert_eq!(looks(&w.wait(3)), [(First::Delete, vec![2])]);
    let asked = w.answered();
    w.step(Input::LookFailed { server: 0, asked, jobs: vec![JobId(2)] });
    assert_eq!(looks(&w.wait(3)), [(First::Delete, vec![2])]);
}

#[test]
fn a_post_that_is_under_way_is_taken_back_when_it_has_arrived() {
    let (mut w, _) = World::up(2, 1);
    assert!(looks(&w.ask(pause())).is_empty());
    assert_eq!(looks(&w.accept(1)), [(First::Delete, vec![1])]);
    w.looked(1, Look::Deleted);
    assert_eq!(w.word(1), "queued");
}

#[test]
fn a_post_of_which_nothing_was_heard_is_waited_for_before_it_is_taken_back() {
    let (mut w, _) = World::up(2, 1);
    w.posted(1, PostResult::Unsure { why: "cut".to_owned(), refused: false, nodes: Vec::new() });
    w.ask(pause());
    w.looked(1, Look::Unknown);
    assert_eq!(w.word(1), "submitting", "it may still arrive");
    assert!(looks(&w.wait(11)).contains(&(First::Delete, vec![1])));
    w.nowhere(1);
    assert_eq!(w.word(1), "queued");
}

#[test]
fn a_server_that_comes_back_to_a_paused_engine_gives_back_what_it_holds() {
    let mut w = World::busy(3);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "gone".to_owned(), retry_at: now });
    w.ask(pause());
    w.step(Input::Up { server: 0, about: About::default() });
    w.looked(2, Look::Pending { copies: 1 });
    assert_eq!(looks(&w.wait(2)), [(First::Delete, vec![2])]);
}

#[test]
fn a_drain_lets_end_what_a_server_has_and_pauses_then() {
    let mut w = World::busy(3);
    let effects = w.ask(Request::Drain { servers: Vec::new() });
    assert!(looks(&effects).is_empty());
    w.end(1);
    w.begin(2);
    assert!(matches!(w.flow(), Flow::Draining { .. }));
    w.end(2);
    assert!(matches!(w.flow(), Flow::Paused { cause: Cause::Drained, .. }));
    assert_eq!(w.word(3), "queued");
}

#[test]
fn one_server_can_be_paused_alone() {
    let mut w = World::of_two(1);
    w.ask(Request::Pause { servers: vec!["a".to_owned()] });
    w.both_up();
    w.take(1);
    w.take(2);
    assert_eq!(w.state.job(JobId(1)).unwrap().attempt().unwrap().server, "b");
    assert_eq!(w.word(2), "queued");
    let effects = w.ask(Request::Pause { servers: vec!["c".to_owned()] });
    assert!(effects.iter().any(|e| matches!(e, Effect::Reply { result: Err(why), .. } if why.contains("a, b"))));
    w.ask(Request::Resume { servers: vec!["a".to_owned()] });
    assert_eq!(w.state.job(JobId(2)).unwrap().attempt().unwrap().server, "a");
}

#[test]
fn an_engine_that_was_paused_starts_paused() {
    let (_, now) = (0, "2026-11-22T20:00:00Z".parse::<Timestamp>().unwrap());
    let start = |policy: Policy, flow: KeptFlow| {
        let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 2 }];
        let remembered = Remembered { jobs: vec![job(1)], flow, ..Remembered::default() };
        let mut w =
            World { state: State::new(policy, EngineRow::default(), seats, remembered, 1, now), now, asked: None };
        let effects = w.step(Input::Up { server: 0, about: About::default() });
        (submitted(&effects).len(), w.flow().clone())
    };
    let paused = Flow::Paused { since: now, cause: Cause::You };
    let kept = KeptFlow { engine: paused.clone(), ..KeptFlow::default() };
    assert_eq!(start(Policy::default(), kept), (0, paused));
    assert_eq!(start(Policy::default(), KeptFlow::default()).0, 1);
    let careful = Policy { pause_after_restart: true, ..Policy::default() };
    let (sent, flow) = start(careful, KeptFlow::default());
    assert!(sent == 0 && matches!(flow, Flow::Paused { cause: Cause::Restarted, .. }), "{flow:?}");
}

#[test]
fn a_server_that_was_restarted_is_paused_where_the_config_says_so() {
    let mut w = World::with(2);
    let policy = Policy { pause_after_restart: true, ..Policy::default() };
    let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 2 }];
    w.state = State::new(policy, EngineRow::default(), seats, Remembered::default(), 1, w.now);
    w.step(Input::Up { server: 0, about: About::default() });
    w.take(1);
    w.accept(1);
    w.begin(1);
    let now = w.now;
    w.step(Input::Down { server: 0, why: "gone".to_owned(), retry_at: now });
    w.step(Input::Up { server: 0, about: About::default() });
    let effects = w.nowhere(1);
    assert_eq!((w.word(1), submitted(&effects).len()), ("queued", 0));
    assert!(w.flow().goes(), "only that server waits");
    assert_eq!(submitted(&w.ask(resume())), [1], "a bare resume lifts what no person did");
}

#[test]
fn a_bare_resume_leaves_the_server_paused_that_a_person_paused() {
    let mut w = World::busy(3);
    w.ask(Request::Pause { servers: vec!["s".to_owned()] });
    w.looked(2, Look::Deleted);
    assert!(submitted(&w.ask(resume())).is_empty());
    assert_eq!(submitted(&w.ask(Request::Resume { servers: vec!["s".to_owned()] })), [2]);
}

#[test]
fn jobs_that_no_server_would_take_pause_the_queue_too() {
    let mut w = World::with(2);
    for id in 1..=5 {
        w.take(id);
    }
    let why = Failure { kind: FailureKind::Validation, ..broken() };
    for job in ids(1..=3) {
        assert!(w.flow().goes() && !w.state.spares_the_unfit());
        w.step(Input::Unfit { job, why: why.clone() });
    }
    assert!(matches!(w.flow(), Flow::Paused { cause: Cause::Failures { count: 3, .. }, .. }));
    assert!(w.state.spares_the_unfit(), "the others wait for a person");
    w.ask(resume());
    assert!(!w.state.spares_the_unfit());
}

// ---- order ------------------------------------------------------------------------------------------

#[test]
fn a_job_moved_to_the_top_goes_before_what_the_server_holds_already() {
    let mut w = World::busy(5);
    let effects = w.place(&[5], MoveTo::Top);
    assert_eq!(looks(&effects), [(First::Delete, vec![2])]);
    assert_eq!(w.line(), [5, 2, 3, 4]);
    assert_eq!(submitted(&w.looked(2, Look::Deleted)), [5], "the window is one behind the running one");
    assert_eq!(w.word(2), "queued");
}

#[test]
fn what_is_dropped_with_a_higher_priority_goes_first_too() {
    let mut w = World::busy(3);
    let file = OpenFile { id: 9, name: "9.json".to_owned(), jobs: vec![JobId(9)] };
    let effects = w.step(Input::Taken { file, jobs: vec![Job { priority: 1, ..job(9) }] });
    assert_eq!(looks(&effects), [(First::Delete, vec![2])]);
    assert_eq!(w.line(), [9, 2, 3]);
}

#[test]
fn moves_keep_the_order_of_those_that_are_moved() {
    let mut w = World::with(1);
    for id in 1..=6 {
        w.take(id);
    }
    w.place(&[5, 3], MoveTo::Top);
    assert_eq!(w.line(), [3, 5, 1, 2, 4, 6]);
    w.place(&[3, 1], MoveTo::Bottom);
    assert_eq!(w.line(), [5, 2, 4, 6, 3, 1]);
    w.place(&[6, 3], MoveTo::Before(JobId(2)));
    assert_eq!(w.line(), [5, 6, 3, 2, 4, 1]);
    w.place(&[6, 3], MoveTo::Up);
    assert_eq!(w.line(), [6, 3, 5, 2, 4, 1]);
    w.place(&[6, 3], MoveTo::Up);
    assert_eq!(w.line(), [6, 3, 5, 2, 4, 1], "they are at the top");
    w.place(&[6, 3], MoveTo::Down);
    assert_eq!(w.line(), [5, 6, 3, 2, 4, 1]);
    w.place(&[1], MoveTo::Down);
    assert_eq!(w.line(), [5, 6, 3, 2, 4, 1]);
    let effects = w.place(&[5], MoveTo::Before(JobId(99)));
    assert!(effects.iter().any(|e| matches!(e, Effect::Reply { result: Ok(Answer::Each(each)), .. }
        if matches!(&each[..], [(JobId(5), Err(why))] if why.contains("there is no job #99")))));
}

#[test]
fn a_thousand_moves_between_the_same_two_find_room() {
    let mut w = World::with(1);
    for id in 1..=4 {
        w.take(id);
    }
    for _ in 0..500 {
        w.place(&[4], MoveTo::Before(JobId(2)));
        w.place(&[3], MoveTo::Before(JobId(4)));
        assert_eq!(w.line(), [1, 3, 4, 2]);
        w.place(&[4], MoveTo::Before(JobId(3)));
        assert_eq!(w.line(), [1, 4, 3, 2]);
    }
}

#[test]
fn a_job_moved_past_another_priority_takes_that_priority() {
    let mut w = World::with(1);
    for id in 1..=4 {
        w.take(id);
    }
    w.ask(Request::Priority { jobs: ids([3, 4]), priority: NewPriority::Is(5) });
    assert_eq!(w.line(), [3, 4, 1, 2]);
    w.place(&[1], MoveTo::Up);
    assert_eq!((w.line(), w.state.job(JobId(1)).unwrap().priority), (vec![3, 1, 4, 2], 5));
    w.place(&[3], MoveTo::Bottom);
    assert_eq!((w.line(), w.state.job(JobId(3)).unwrap().priority), (vec![1, 4, 2, 3], 0));
    w.ask(Request::Priority { jobs: ids([2]), priority: NewPriority::By(1) });
    assert_eq!(w.line(), [1, 4, 2, 3]);
    w.ask(Request::Priority { jobs: ids([2]), priority: NewPriority::By(i64::MAX) });
    assert_eq!(w.line(), [2, 1, 4, 3]);
    w.place(&[2], MoveTo::Down);
    assert_eq!((w.line(), w.state.job(JobId(2)).unwrap().priority), (vec![1, 2, 4, 3], 5));
}

#[test]
fn what_runs_or_has_ended_is_not_moved() {
    let mut w = World::busy(3);
    for request in [
        Request::Move { jobs: ids([1]), to: MoveTo::Top },
        Request::Priority { jobs: ids([1]), priority: NewPriority::Is(3) },
    ] {
        let effects = w.ask(request);
        assert!(effects.iter().any(|e| matches!(e, Effect::Reply { result: Ok(Answer::Each(each)), .. }
            if matches!(&each[..], [(JobId(1), Err(why))] if why.contains("running")))));
    }
}

#[test]
fn holding_what_a_server_holds_takes_it_back_first() {
    let mut w = World::busy(3);
    let effects = w.ask(Request::Hold { jobs: ids([2, 3]) });
    assert_eq!((looks(&effects), w.word(3)), (vec![(First::Delete, vec![2])], "held"));
    w.looked(2, Look::Deleted);
    assert_eq!(w.word(2), "held");
    // One that began meanwhile goes on.
    w.ask(Request::Release { jobs: ids([2, 3]) });
    w.accept(2);
    w.ask(Request::Hold { jobs: ids([2]) });
    w.begin(2);
    assert_eq!(w.word(2), "running");
}

/// The engine dies when the server has given it back and nobody has heard of it yet.
#[test]
fn a_hold_that_was_answered_outlives_its_engine() {
    let mut w = World::busy(2);
    let effects = w.ask(Request::Hold { jobs: ids([2]) });
    let kept = effects.iter().find_map(|effect| match effect {
        Effect::Write(Write::Meta { key: HOLD_KEY, value }) => Some(value.clone()),
        _ => None,
    });
    let to_hold: Vec<JobId> = serde_json::from_str(&kept.expect("it is written")).unwrap();
    assert_eq!(to_hold, ids([2]));
    let jobs = (1..=2).filter_map(|id| w.state.job(JobId(id)).cloned()).collect();
    let remembered = Remembered { jobs, to_hold, ..Remembered::default() };
    let seat = ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 2 };
    let state = State::new(Policy::default(), EngineRow::default(), vec![seat], remembered, 2, w.now);
    let mut again = World { state, now: w.now, asked: None };
    again.step(Input::Up { server: 0, about: About::default() });
    again.looked(1, Look::Running { copies: 1 });
    again.nowhere(2);
    let mut effects = again.wait(10);
    again.nowhere(2);
    effects.extend(again.wait(10));
    assert_eq!((again.word(2), submitted(&effects)), ("held", Vec::new()));
}

/// Both were decided on and not sent when the engine died: whichever is known first to be nowhere, the first goes first.
#[test]
fn what_arrived_nowhere_is_sent_again_in_its_order() {
    let (w, _) = World::up(2, 2);
    let jobs = (1..=2).filter_map(|id| w.state.job(JobId(id)).cloned()).collect();
    let remembered = Remembered { jobs, ..Remembered::default() };
    let seat = ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 2 };
    let state = State::new(Policy::default(), EngineRow::default(), vec![seat], remembered, 2, w.now);
    let mut w = World { state, now: w.now, asked: None };
    w.step(Input::Up { server: 0, about: About::default() });
    w.wait(15);
    w.looked(2, Look::Unknown);
    assert_eq!(submitted(&w.gone(2)), [] as [u64; 0], "nobody knows of the first");
    w.looked(1, Look::Unknown);
    assert_eq!(submitted(&w.gone(1)), [1]);
    w.accept(1);
    assert!(looks(&w.wait(1)).contains(&(First::Nothing, vec![2])), "it may have come meanwhile");
    w.looked(2, Look::Unknown);
    assert_eq!(submitted(&w.gone(2)), [2]);
}

// ---- retries ----------------------------------------------------------------------------------------

#[test]
fn out_of_memory_is_tried_once_more_alone_and_after_the_memory_was_freed() {
    let mut w = World::busy(3);
    w.hear(Heard::Remaining(2));
    let effects = w.fail(1, out_of_memory());
    assert_eq!(w.word(1), "queued");
    assert_eq!(looks(&effects), [(First::Delete, vec![2])], "nothing else of ours is there meanwhile");
    // It had begun.
    w.looked(2, Look::Running { copies: 1 });
    assert!(submitted(&effects).is_empty() && frees(&effects) == 0, "the server is not idle");
    w.end(2);
    assert_eq!(frees(&w.hear(Heard::Remaining(1))), 0, "somebody else's job renders");
    let effects = w.hear(Heard::Remaining(0));
    assert_eq!((frees(&effects), submitted(&effects).len()), (1, 0));
    let effects = w.step(Input::Freed { server: 0, result: Ok(()) });
    assert!(submitted(&effects).is_empty(), "it reads the flags only when it has a moment");
    assert_eq!(submitted(&w.wait(2)), [1], "and nothing beside it");
    w.accept(1);
    w.begin(1);
    assert!(submitted(&w.take(9)).is_empty());
    assert_eq!(w.state.job(JobId(1)).unwrap().attempts.len(), 2);
    w.fail(1, out_of_memory());
    assert_eq!(w.word(1), "failed", "once more, not for ever");
    assert_eq!(w.word(3), "submitting", "the others go on");
}

#[test]
fn a_server_that_cannot_free_its_memory_gets_the_job_all_the_same() {
    let (mut w, _) = World::up(1, 1);
    w.accept(1);
    w.begin(1);
    assert_eq!(frees(&w.fail(1, out_of_memory())), 1);
    w.step(Input::Freed { server: 0, result: Err("404".to_owned()) });
    assert_eq!(submitted(&w.wait(2)), [1]);
    let reason = w.state.job(JobId(1)).unwrap().attempt().unwrap().reason.clone();
    assert!(matches!(reason, Reason::Retried(why) if why.contains("out of memory")));
}

#[test]
fn a_node_that_fails_is_never_tried_again_by_itself_but_where_the_config_says_so() {
    let (mut w, _) = World::up(1, 1);
    w.accept(1);
    w.begin(1);
    w.fail(1, broken());
    assert_eq!(w.word(1), "failed");

    let policy =
        Policy { retries: comfytop::engine::core::Retries { node: 2, ..Default::default() }, ..Policy::default() };
    let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 1 }];
    let mut w = World::with(1);
    w.state = State::new(policy, EngineRow::default(), seats, Remembered::default(), 1, w.now);
    w.step(Input::Up { server: 0, about: About::default() });
    w.take(1);
    for _ in 0..3 {
        w.accept(1);
        w.begin(1);
        w.fail(1, broken());
    }
    assert_eq!((w.word(1), w.state.job(JobId(1)).unwrap().attempts.len()), ("failed", 3));
}

#[test]
fn three_failures_of_a_kind_in_a_row_pause_the_queue() {
    let (mut w, _) = World::up(1, 6);
    let mut kept = None;
    for id in 1..=3 {
        w.accept(id);
        w.begin(id);
        kept = World::kept(&w.fail(id, broken())).or(kept);
    }
    let wanted = Cause::Failures { kind: FailureKind::Node, count: 3 };
    assert!(matches!(w.flow(), Flow::Paused { cause, .. } if *cause == wanted), "{:?}", w.flow());
    assert_eq!(kept.unwrap().engine, *w.flow());
    assert_eq!(w.word(4), "queued");
    assert_eq!(submitted(&w.ask(resume())), [4]);
    w.accept(4);
    w.begin(4);
    w.fail(4, broken());
    assert!(w.flow().goes(), "it counts from anew");
}

#[test]
fn a_success_between_them_is_a_new_start() {
    let (mut w, _) = World::up(1, 6);
    for (id, well) in [(1, false), (2, false), (3, true), (4, false), (5, false)] {
        w.accept(id);
        w.begin(id);
        if well {
            w.end(id);
        } else {
            w.fail(id, broken());
        }
    }
    assert!(w.flow().goes());
}

#[test]
fn a_full_disk_pauses_until_there_is_room() {
    let mut w = World::busy(3);
    w.step(Input::Disk { free: 1_000_000_000 });
    assert!(matches!(w.flow(), Flow::Paused { cause: Cause::Disk { .. }, .. }));
    w.step(Input::Disk { free: 3_000_000_000 });
    assert!(w.flow().goes());
    // Who resumes in spite of it means it.
    w.step(Input::Disk { free: 1_000_000_000 });
    w.ask(resume());
    w.step(Input::Disk { free: 900_000_000 });
    assert!(w.flow().goes());
}

// ---- watchdog ---------------------------------------------------------------------------------------

#[test]
fn a_render_without_a_step_is_flagged_and_not_killed() {
    let mut w = World::busy(1 + 1);
    let row = |w: &mut World| w.state.job_row(JobId(1), w.now).unwrap().stalled_since;
    let effects = w.wait(9 * 60);
    assert!(row(&mut w).is_none() && !looks(&effects).iter().any(|(first, _)| *first == First::Cancel));
    let effects = w.wait(2 * 60);
    assert!(row(&mut w).is_some());
    assert_eq!(w.state.status().stalled.len(), 1, "the status says so, too");
    assert!(!looks(&effects).iter().any(|(first, _)| *first == First::Cancel));
    let prompt = Some(w.prompt(1));
    w.hear(Heard::Step { prompt, node: "3".to_owned(), value: 1, max: 2 });
    assert!(row(&mut w).is_none(), "it goes on");
    w.wait(11 * 60);
    assert!(row(&mut w).is_some());
    assert_eq!(w.word(1), "running");
}

#[test]
fn the_watchdog_interrupts_where_the_config_says_so() {
    let mut w = World::with(1);
    let policy = Policy { stall: Duration::from_secs(50), stall_interrupts: true, ..Policy::default() };
    let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 1 }];
    w.state = State::new(policy, EngineRow::default(), seats, Remembered::default(), 1, w.now);
    w.step(Input::Up { server: 0, about: About::default() });
    w.take(1);
    w.accept(1);
    w.begin(1);
    let cancels = |effects: &[Effect]| looks(effects).iter().filter(|(first, _)| *first == First::Cancel).count();
    let effects = w.wait(51);
    assert_eq!((cancels(&effects), w.word(1)), (1, "running"));
    assert_eq!(cancels(&w.wait(6)), 1, "again, until it has stopped");
    let prompt = w.prompt(1);
    w.hear(Heard::Interrupted { prompt });
    match &w.state.job(JobId(1)).unwrap().state {
        JobState::Failed { why } => {
            assert_eq!(why.kind, FailureKind::Stalled);
            assert!(why.message.starts_with("no step for 50 s"), "{}", why.message);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_job_waits_behind_another_while_a_server_idles() {
    let mut w = World::of_two(2);
    w.both_up();
    w.ask(pause());
    for id in 1..=5 {
        w.take(id);
    }
    w.ask(resume());
    let at = |id| w.state.job(JobId(id)).unwrap().attempt().map(|attempt| attempt.server.clone());
    assert_eq!([1, 2, 3, 4, 5].map(at), ["a", "b", "a", "b", ""].map(|s| (!s.is_empty()).then(|| s.to_owned())));
}
