//! `until` and `best_of`: which tries are made, with what, and which of them counts.

use super::*;
use comfytop::job::{Ending, Enough, Gate, Goal, Mark, Variation, Vary};
use comfytop::protocol::{JobRow, job_json};
use comfytop::verdict::{Cut, Verdict};
use serde_json::{Map, json};

const LOOPS: Gate = Gate { loops: true, ssim: None, seam: None };

fn goal(gate: Option<Gate>, tries: u32, vary: Vary) -> Goal {
    Goal { gate, tries, minutes: None, vary }
}

fn clip_of(verdict: Verdict, ssim: f64) -> Measurement {
    let best_cut = (verdict == Verdict::Nearly).then_some(Cut { drop_start: 0, drop_end: 4 });
    Measurement { frames: 33, verdict: Some(verdict), ssim: Some(ssim), best_cut, ..Measurement::default() }
}

/// A world with one job that wants this, submitted.
fn wanting(goal: Goal) -> World {
    let (mut w, _) = World::up(1, 0);
    let file = OpenFile { id: 1, name: "1.json".to_owned(), jobs: vec![JobId(1)] };
    let job = Job { goal: Some(Box::new(goal)), ..job(1) };
    let effects = w.step(Input::Taken { file, jobs: vec![job] });
    assert_eq!(submitted(&effects), [1]);
    w
}

/// Renders the try that was submitted, and lets it be like this.
fn try_one(w: &mut World, known: Measurement) -> Vec<Effect> {
    w.render(1);
    w.measure(1, known)
}

fn the_job(w: &World) -> &Job {
    w.state.job(JobId(1)).unwrap()
}

fn the_row(w: &mut World) -> JobRow {
    let now = w.now;
    w.state.job_row(JobId(1), now).unwrap()
}

fn seeds(w: &World) -> Vec<u64> {
    the_job(w).attempts.iter().filter_map(|a| a.seed).collect()
}

#[test]
fn tries_go_on_until_one_passes() {
    let mut w = wanting(goal(Some(LOOPS), 8, Vary::Increment));
    let effects = try_one(&mut w, clip_of(Verdict::Jumps, 0.61));
    // The end of one try and what the next one has are one change: nothing can come between.
    let written: Vec<_> = effects
        .iter()
        .filter_map(|e| if let Effect::Write(Write::Job { change, .. }) = e { Some(change) } else { None })
        .collect();
    assert!(matches!(written[0], Change::Measured { next: Some(pick), .. } if pick.seed == Some(8)), "{written:?}");
    assert_eq!(submitted(&effects), [1], "the next try goes out at once");
    assert!(!effects.iter().any(|e| matches!(e, Effect::FinishFile { .. })));
    assert_eq!(the_row(&mut w).tries.unwrap().words(), "try 2/8, best 0.61");

    try_one(&mut w, clip_of(Verdict::Pulses, 0.55));
    assert_eq!(the_row(&mut w).tries.unwrap().words(), "try 3/8, best 0.55", "the verdict counts before SSIM");
    let effects = try_one(&mut w, clip_of(Verdict::Loops, 0.5));
    assert!(
        submitted(&effects).is_empty() && effects.iter().any(|e| matches!(e, Effect::FinishFile { failed: false, .. }))
    );
    assert_eq!((w.word(1), seeds(&w)), ("done", vec![7, 8, 9]));
    let row = the_row(&mut w);
    assert_eq!((row.attempt, row.seed, row.ssim), (3, Some(9), Some(0.5)));
    let tries = row.tries.unwrap();
    assert_eq!((tries.number, tries.of, tries.best, tries.passed), (3, 8, Some(3), Some(true)));
}

#[test]
fn a_cut_that_is_advised_meets_the_gate_and_a_still_never_does() {
    let mut w = wanting(goal(Some(LOOPS), 8, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Still, 0.999));
    assert_eq!(w.word(1), "submitting");
    try_one(&mut w, clip_of(Verdict::Nearly, 0.7));
    assert_eq!((w.word(1), the_row(&mut w).attempt), ("done", 2));

    let numbers = Gate { loops: false, ssim: Some(0.85), seam: Some(1.5) };
    let known = |ssim, seam| Measurement { motion_ratio: Some(seam), ..clip_of(Verdict::Jumps, ssim) };
    for (clip, passes) in [(known(0.85, 1.5), true), (known(0.84, 1.0), false), (known(0.9, 1.6), false)] {
        assert_eq!(numbers.passes(&clip), passes, "{clip:?}");
    }
    assert!(!numbers.passes(&Measurement { motion_ratio: Some(1.0), ..clip_of(Verdict::Still, 0.999) }));
    assert_eq!(numbers.words(), "SSIM ≥ 0.85 · seam ≤ 1.5");
}

#[test]
fn when_none_passes_the_best_is_kept_and_that_is_said() {
    let mut w = wanting(goal(Some(LOOPS), 3, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.61));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.81));
    let effects = try_one(&mut w, clip_of(Verdict::Jumps, 0.7));
    assert_eq!((w.word(1), seeds(&w).len()), ("done", 3));
    let told = effects.iter().any(|e| {
        matches!(e, Effect::Publish(update)
        if format!("{update:?}").contains("no try passed; the best is attempt 2: jumps, SSIM 0.81"))
    });
    assert!(told, "{effects:?}");
    let row = the_row(&mut w);
    assert_eq!((row.attempt, row.ssim, row.tries.as_ref().unwrap().passed), (2, Some(0.81), Some(false)));
    let sentence = row.tries.unwrap().sentence();
    assert_eq!(sentence, "until loops: no try passed (3 of 3); the best is attempt 2: jumps, SSIM 0.810");
    // Once more: a new round, with the job's own seed first.
    w.ask(Request::Requeue { jobs: vec![JobId(1)], new_seed: false });
    assert_eq!(the_row(&mut w).tries.unwrap().words(), "try 1/3");
    assert_eq!(seeds(&w).last(), Some(&7));
    try_one(&mut w, clip_of(Verdict::Loops, 0.5));
    assert_eq!((w.word(1), the_row(&mut w).attempt), ("done", 4), "of this round");
}

#[test]
fn the_best_of_several_takes_them_all() {
    let mut w = wanting(goal(None, 3, Vary::Seed));
    for (verdict, ssim) in [(Verdict::Loops, 0.8), (Verdict::Loops, 0.9), (Verdict::Nearly, 0.95)] {
        try_one(&mut w, clip_of(verdict, ssim));
    }
    let row = the_row(&mut w);
    assert_eq!((w.word(1), row.attempt, row.tries.unwrap().passed), ("done", 2, None));
    let all = seeds(&w);
    assert_eq!(all[0], 7);
    assert!(all[1] != all[2] && all[1] != 7, "{all:?}");
}

#[test]
fn values_are_tried_in_turn_and_then_with_another_seed() {
    let value = |length: u32| Variation {
        values: json!({ "length": length }).as_object().cloned().unwrap(),
        shape: Shape { length: Some(length), ..Shape::default() },
        seed: None,
    };
    let mut w = wanting(goal(Some(LOOPS), 4, Vary::Values(vec![value(65), value(81), value(97)])));
    for nth in 0..4 {
        assert_eq!(the_job(&w).variation(), nth % 3);
        try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    }
    let lengths: Vec<_> = the_job(&w).attempts.iter().map(|a| a.values["length"].clone()).collect();
    assert_eq!(lengths, [65, 81, 97, 65]);
    let all = seeds(&w);
    assert!(all[..3] == [7, 7, 7] && all[3] != 7, "{all:?}");
    // Seeds by name come in their order.
    let seed = |seed| Variation { seed: Some(seed), values: Map::new(), shape: Shape::default() };
    let mut w = wanting(goal(Some(LOOPS), 2, Vary::Values(vec![seed(7), seed(40)])));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    assert_eq!((seeds(&w), w.word(1)), (vec![7, 40], "done"));
}

#[test]
fn minutes_of_rendering_end_the_tries() {
    let mut w = wanting(Goal { minutes: Some(2.0), ..goal(Some(LOOPS), 100, Vary::Seed) });
    try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    let mut job = the_job(&w).clone();
    job.attempts.truncate(1);
    job.attempts[0].started_at = Some(Timestamp::UNIX_EPOCH);
    job.attempts[0].ended_at = Some(Timestamp::from_second(70).unwrap());
    job.state = JobState::Measuring;
    assert_eq!(job.another(), Ok(1));
    // A try that a server lost has taken its time, too.
    let lost = comfytop::job::Attempt { measurement: None, ending: Some(Ending::Lost), ..job.attempts[0].clone() };
    job.attempts.insert(0, lost);
    assert_eq!(job.another(), Err(Enough::Minutes));
    job.state = JobState::Done;
    let tries = JobRow::of(&job).tries.unwrap();
    assert_eq!((tries.number, tries.passed, tries.why.as_str()), (1, Some(false), "no try passed in its minutes"));
}

#[test]
fn a_dead_server_costs_no_try_and_changes_no_seed() {
    let mut w = wanting(goal(Some(LOOPS), 2, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    let second = seeds(&w)[1];
    for _ in 0..2 {
        w.accept(1);
        w.begin(1);
        w.looked(1, Look::Unknown);
        w.gone(1);
        assert_eq!(the_row(&mut w).tries.unwrap().number, 2);
    }
    assert_eq!(seeds(&w)[1..], [second, second, second], "the same try, with the same seed");
    try_one(&mut w, clip_of(Verdict::Jumps, 0.5));
    assert_eq!((w.word(1), the_row(&mut w).attempt), ("done", 1));
}

#[test]
fn what_cannot_be_judged_twice_is_not_tried_again() {
    let hevc = || Measurement { note: Some("n/a (needs ffmpeg: hevc)".to_owned()), ..Measurement::default() };
    let mut w = wanting(goal(Some(LOOPS), 8, Vary::Seed));
    try_one(&mut w, hevc());
    assert_eq!(w.word(1), "submitting", "once may be by chance");
    try_one(&mut w, clip_of(Verdict::Jumps, 0.5));
    try_one(&mut w, hevc());
    try_one(&mut w, hevc());
    let row = the_row(&mut w);
    assert_eq!((w.word(1), row.tries.unwrap().why.as_str()), ("done", "two in a row can't be judged"));
    assert_eq!(row.attempt, 2, "the one that could be judged is the best");
}

#[test]
fn a_cancel_ends_the_tries_and_the_best_stays_shown() {
    let mut w = wanting(goal(Some(LOOPS), 8, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    w.render(1);
    // While it is measured there is nothing to stop but the tries after it.
    let effects = w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    assert!(
        effects.iter().any(|e| matches!(e, Effect::Reply { result: Ok(Answer::Each(each)), .. } if each[0].1.is_ok()))
    );
    w.measure(1, clip_of(Verdict::Jumps, 0.5));
    assert_eq!((w.word(1), the_row(&mut w).attempt), ("done", 1));
    assert_eq!(the_row(&mut w).tries.unwrap().why, "no try passed, and no more were wanted");

    let mut w = wanting(goal(Some(LOOPS), 8, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    w.ask(Request::Pause { servers: Vec::new() });
    w.posted(1, PostResult::NotWanted);
    w.ask(Request::Hold { jobs: vec![JobId(1)] });
    w.ask(Request::Cancel { jobs: vec![JobId(1)] });
    let row = the_row(&mut w);
    assert_eq!((w.word(1), row.attempt, row.ssim), ("cancelled", 1, Some(0.6)));
}

#[test]
fn an_engine_that_died_goes_on_with_the_same_try() {
    let mut w = wanting(goal(Some(LOOPS), 3, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.6));
    w.posted(1, PostResult::NotWanted);
    // What stands in the store.
    let kept: Job = serde_json::from_str(&serde_json::to_string(the_job(&w)).unwrap()).unwrap();
    let job = Job { state: JobState::Queued, attempts: kept.attempts[..1].to_vec(), ..kept };
    let seed = job.pick.as_ref().unwrap().seed;
    let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 1 }];
    let remembered = Remembered { jobs: vec![job], ..Remembered::default() };
    w.state = State::new(Policy::default(), EngineRow::default(), seats, remembered, 99, w.now);
    w.step(Input::Up { server: 0, about: About::default() });
    assert_eq!(the_job(&w).attempts[1].seed, seed);
    assert_eq!(the_row(&mut w).tries.unwrap().number, 2);
}

#[test]
fn a_person_has_the_last_word() {
    let mut w = wanting(goal(None, 2, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Loops, 0.9));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.5));
    assert_eq!(the_row(&mut w).attempt, 1);
    assert_eq!(the_job(&w).shown().unwrap().number, 1, "its pictures and details are of that one");
    let mut job = the_job(&w).clone();
    job.attempts[1].mark = Some(Mark::Kept);
    assert_eq!(job.chosen().unwrap().number, 2);
    job.attempts[1].mark = None;
    job.attempts[0].mark = Some(Mark::Discarded);
    assert_eq!(job.chosen().unwrap().number, 2);
}

fn discards(effects: &[Effect]) -> Vec<(u32, Vec<String>)> {
    let one = |e: &Effect| {
        if let Effect::Discard { attempt, files, .. } = e { Some((*attempt, files.clone())) } else { None }
    };
    effects.iter().filter_map(one).collect()
}

#[test]
fn what_is_discarded_is_written_first_and_moved_after_a_crash_too() {
    let mut w = wanting(goal(None, 2, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Loops, 0.9));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.5));
    let mark = |attempt, mark| Request::Mark { attempts: vec![(JobId(1), attempt)], mark };
    let effects = w.ask(mark(1, Some(Mark::Discarded)));
    assert!(matches!(&effects[0], Effect::Write(Write::Job { change: Change::Mark { .. }, .. })), "{effects:?}");
    assert_eq!(discards(&effects), [(1, vec!["outputs/a.mp4".to_owned()])]);
    assert_eq!(the_row(&mut w).attempt, 2, "it counts no more");
    // The engine dies before they are moved.
    let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 1 }];
    let remembered = Remembered { jobs: vec![the_job(&w).clone()], ..Remembered::default() };
    w.state = State::new(Policy::default(), EngineRow::default(), seats, remembered, 99, w.now);
    let now = w.now;
    assert_eq!(discards(&w.state.recover(now)).len(), 1);
    let files = vec![("outputs/a.mp4".to_owned(), "outputs/.discarded/000001-1-a.mp4".to_owned())];
    w.step(Input::Discarded { job: JobId(1), attempt: 1, files, trouble: None, blocked: false });
    assert_eq!(the_job(&w).attempts[0].outputs[0].path, "outputs/.discarded/000001-1-a.mp4");
    assert!(discards(&w.state.recover(now)).is_empty(), "once is enough");
    // Back again: that, too, is written first.
    let effects = w.ask(mark(1, None));
    assert!(matches!(&effects[0], Effect::Write(Write::Job { change: Change::Mark { .. }, .. })), "{effects:?}");
    let back = |effects: &[Effect]| {
        effects.iter().any(|e| {
            matches!(e, Effect::BringBack { attempt: 1, files, .. } if files[0] == "outputs/.discarded/000001-1-a.mp4")
        })
    };
    assert!(back(&effects) && format!("{effects:?}").contains("attempt 1 is back"), "{effects:?}");
    assert!(back(&w.state.recover(now)), "after a crash as well");
    // Discarded once more before it was back: the last word counts.
    assert!(discards(&w.ask(mark(1, Some(Mark::Discarded)))).is_empty(), "it is still there");
    let files = vec![("outputs/.discarded/000001-1-a.mp4".to_owned(), "outputs/a.mp4".to_owned())];
    let effects = w.step(Input::Discarded { job: JobId(1), attempt: 1, files, trouble: None, blocked: false });
    assert_eq!(discards(&effects), [(1, vec!["outputs/a.mp4".to_owned()])]);
    let effects = w.ask(mark(1, Some(Mark::Kept)));
    assert!(format!("{effects:?}").contains("attempt 1 is back, and the one that counts"));
    assert_eq!((the_row(&mut w).attempt, the_row(&mut w).ssim), (1, Some(0.9)));
    // One that is kept counts, and it is the only one.
    w.ask(mark(2, Some(Mark::Kept)));
    assert_eq!(the_row(&mut w).attempt, 2);
    w.ask(mark(2, None));
    assert_eq!(the_job(&w).attempts[1].mark, None);
}

/// Its files did not move: something lies in their way.
fn in_the_way(w: &mut World, attempt: u32) -> Vec<Effect> {
    let trouble = Some("outputs/x.mp4 is in the way".to_owned());
    w.step(Input::Discarded { job: JobId(1), attempt, files: Vec::new(), trouble, blocked: true })
}

#[test]
fn a_mark_whose_files_cannot_be_moved_is_what_it_was_before() {
    let mut w = wanting(goal(None, 2, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Loops, 0.9));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.5));
    let mark = |attempt, mark| Request::Mark { attempts: vec![(JobId(1), attempt)], mark };
    let marks = |w: &World| the_job(w).attempts.iter().map(|a| a.mark).collect::<Vec<_>>();
    let is_written = |effects: &[Effect], to| {
        let is_one = |e: &Effect| matches!(e, Effect::Write(Write::Job { change: Change::Mark { attempt: 2, mark }, .. }) if *mark == to);
        effects.iter().any(is_one)
    };
    // On the way out: kept, as it was.
    w.ask(mark(2, Some(Mark::Kept)));
    w.ask(mark(2, Some(Mark::Discarded)));
    let effects = in_the_way(&mut w, 2);
    assert_eq!(marks(&w), [None, Some(Mark::Kept)]);
    assert!(is_written(&effects, Some(Mark::Kept)), "{effects:?}");
    let told = format!("{effects:?}");
    assert!(told.contains("attempt 2 is not discarded: outputs/x.mp4 is in the way"), "{told}");
    assert!(w.state.recover(w.now).iter().all(|e| !matches!(e, Effect::Discard { .. } | Effect::BringBack { .. })));
    // On the way back: discarded, as it was, and another stays the one that counts.
    w.ask(mark(2, Some(Mark::Discarded)));
    let files = vec![("outputs/a.mp4".to_owned(), "outputs/.discarded/000001-2-a.mp4".to_owned())];
    w.step(Input::Discarded { job: JobId(1), attempt: 2, files, trouble: None, blocked: false });
    w.ask(mark(1, Some(Mark::Kept)));
    w.ask(mark(2, Some(Mark::Kept)));
    assert_eq!(marks(&w), [None, Some(Mark::Kept)]);
    let effects = in_the_way(&mut w, 2);
    assert_eq!(marks(&w), [Some(Mark::Kept), Some(Mark::Discarded)]);
    assert!(is_written(&effects, Some(Mark::Discarded)), "{effects:?}");
    assert!(format!("{effects:?}").contains("attempt 2 stays discarded: "), "{effects:?}");
    // The engine died meanwhile: what was before is known by where the files lie.
    w.ask(mark(2, None));
    let seats = vec![ServerSeat { name: "s".to_owned(), url: "s".to_owned(), in_flight: 1 }];
    let remembered = Remembered { jobs: vec![the_job(&w).clone()], ..Remembered::default() };
    w.state = State::new(Policy::default(), EngineRow::default(), seats, remembered, 99, w.now);
    let now = w.now;
    assert!(w.state.recover(now).iter().any(|e| matches!(e, Effect::BringBack { attempt: 2, .. })));
    in_the_way(&mut w, 2);
    assert_eq!(marks(&w)[1], Some(Mark::Discarded));
}

/// Somebody removed it: it can be discarded all the same, but not be brought back.
#[test]
fn an_attempt_whose_file_is_gone_can_be_discarded_and_not_brought_back() {
    let mut w = wanting(goal(None, 2, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Loops, 0.9));
    let mark = |mark| Request::Mark { attempts: vec![(JobId(1), 1)], mark };
    let gone = |w: &mut World, files| {
        let trouble = Some("it is gone".to_owned());
        w.step(Input::Discarded { job: JobId(1), attempt: 1, files, trouble, blocked: false });
        the_job(w).attempts[0].mark
    };
    w.ask(mark(Some(Mark::Discarded)));
    assert_eq!(gone(&mut w, Vec::new()), Some(Mark::Discarded));
    w.ask(mark(None));
    let files = vec![("outputs/a.mp4".to_owned(), "outputs/.discarded/000001-1-a.mp4".to_owned())];
    w.ask(mark(Some(Mark::Discarded)));
    w.step(Input::Discarded { job: JobId(1), attempt: 1, files, trouble: None, blocked: false });
    w.ask(mark(None));
    assert_eq!(gone(&mut w, Vec::new()), Some(Mark::Discarded));
}

#[test]
fn what_is_discarded_shows_no_numbers() {
    let mut w = wanting(goal(Some(LOOPS), 1, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Loops, 0.9));
    assert_eq!(the_row(&mut w).ssim, Some(0.9));
    w.ask(Request::Mark { attempts: vec![(JobId(1), 1)], mark: Some(Mark::Discarded) });
    let row = the_row(&mut w);
    assert!(row.discarded && row.best().is_none() && row.ssim.is_none() && row.repaired.is_empty(), "{row:?}");
    assert_eq!(row.outputs[0].path, "outputs/a.mp4", "where it lies is still told");
    let tries = row.tries.clone().unwrap();
    assert_eq!((tries.passed, tries.best, tries.best_ssim), (Some(false), None, None));
    let json = job_json(&row, w.now);
    for number in ["ssim", "verdict", "advice", "seam_ratio", "motion_ratio", "frames"] {
        assert!(json[number].is_null(), "{number}: {json}");
    }
    assert_eq!(json["discarded"], true);
    assert!(json["note"].as_str().unwrap().starts_with("discarded"), "{json}");
}

#[test]
fn a_gate_that_is_met_by_a_cut_that_could_not_be_made_says_so() {
    let mut w = wanting(goal(Some(LOOPS), 8, Vary::Seed));
    let unrepaired = Some("ffmpeg is needed".into());
    let effects = try_one(&mut w, Measurement { unrepaired, ..clip_of(Verdict::Nearly, 0.7) });
    assert!(format!("{effects:?}").contains("is not repaired: ffmpeg is needed"), "{effects:?}");
    let row = the_row(&mut w);
    assert_eq!((w.word(1), row.unrepaired()), ("done", Some("ffmpeg is needed")));
    let tries = row.tries.clone().unwrap();
    assert_eq!((tries.passed, tries.uncut), (Some(true), true), "the gate counts as met");
    assert_eq!(tries.sentence(), "until loops: passed at try 1 of 8, by a cut that was not made");
    let json = job_json(&row, w.now);
    assert_eq!((&json["note"], &json["passed"]), (&json!("not repaired: ffmpeg is needed"), &json!(true)));
    assert_eq!(json["not_repaired"], "ffmpeg is needed");
    // A person makes it later.
    let output = Output { path: "outputs/a-cut.mp4".to_owned(), bytes: 4 };
    let copy = comfytop::job::Repaired { how: "cut".to_owned(), output, measurement: clip_of(Verdict::Loops, 0.95) };
    w.step(Input::Repaired { ask: 4, job: JobId(1), attempt: 1, result: Ok(Box::new(copy)) });
    let row = the_row(&mut w);
    assert_eq!(
        (row.unrepaired(), row.tries.as_ref().unwrap().sentence().as_str()),
        (None, "until loops: passed at try 1 of 8")
    );
}

#[test]
fn others_take_what_is_left_and_where_nothing_is_left_that_is_said() {
    let mut w = wanting(goal(Some(LOOPS), 2, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.9));
    try_one(&mut w, clip_of(Verdict::Loops, 0.8));
    let discard = |attempt| Request::Mark { attempts: vec![(JobId(1), attempt)], mark: Some(Mark::Discarded) };
    let takes = |job: &Job| job.gives().map(|files| files[0].path.clone());
    let named = |w: &World, first: &str, second: &str| {
        let mut job = the_job(w).clone();
        job.attempts[0].outputs[0].path = first.to_owned();
        job.attempts[1].outputs[0].path = second.to_owned();
        job
    };
    assert_eq!(takes(&named(&w, "1.mp4", "2.mp4")).as_deref(), Ok("2.mp4"));
    w.ask(discard(2));
    assert_eq!(takes(&named(&w, "1.mp4", "2.mp4")).as_deref(), Ok("1.mp4"));
    assert_eq!(the_row(&mut w).tries.unwrap().why, "no try passed");
    // A new round of which all is discarded: what is left of the one before.
    let mut job = named(&w, "1.mp4", "2.mp4");
    job.attempts[1].reason = comfytop::job::Reason::Requeued;
    assert_eq!(takes(&job).as_deref(), Ok("1.mp4"));
    w.ask(discard(1));
    assert_eq!(takes(the_job(&w)).unwrap_err(), "all that #1 job 1 made is discarded");
    let tries = the_row(&mut w).tries.unwrap();
    assert_eq!(tries.sentence(), "until loops: all its attempts are discarded (2 of 2)");
    assert_eq!(tries.passed, Some(false));
}

#[test]
fn a_job_whose_only_good_try_was_put_away_says_why_it_is_unmet() {
    let mut w = wanting(goal(Some(LOOPS), 8, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Jumps, 0.9));
    try_one(&mut w, clip_of(Verdict::Loops, 0.8));
    w.ask(Request::Mark { attempts: vec![(JobId(1), 2)], mark: Some(Mark::Discarded) });
    assert_eq!(the_row(&mut w).tries.unwrap().why, "no attempt that is left passes");
}

#[test]
fn a_repair_is_told_and_ranked_by_its_better_file() {
    let mut w = wanting(goal(None, 2, Vary::Seed));
    try_one(&mut w, clip_of(Verdict::Nearly, 0.7));
    try_one(&mut w, clip_of(Verdict::Loops, 0.8));
    assert_eq!(the_row(&mut w).attempt, 2);
    let output = Output { path: "outputs/a-cut.mp4".to_owned(), bytes: 4 };
    let repaired =
        comfytop::job::Repaired { how: "cut".to_owned(), output, measurement: clip_of(Verdict::Loops, 0.95) };
    let result = Ok(Box::new(repaired));
    let effects = w.step(Input::Repaired { ask: 4, job: JobId(1), attempt: 1, result });
    assert!(format!("{effects:?}").contains("outputs/a-cut.mp4: loops, SSIM 0.95"), "{effects:?}");
    let row = the_row(&mut w);
    assert_eq!((row.attempt, row.repaired.len()), (1, 1));
    assert_eq!(the_job(&w).chosen().unwrap().files()[0].path, "outputs/a-cut.mp4", "what others take from it");
    let effects = w.ask(Request::Ranking { jobs: vec![JobId(1)] });
    let order = effects.iter().find_map(|e| match e {
        Effect::Reply { result: Ok(Answer::Ranking(rows)), .. } => {
            Some(rows.iter().map(|r| r.attempt).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(order.unwrap(), [1, 2]);
}
