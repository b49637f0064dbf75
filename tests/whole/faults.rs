//! Everything that may go wrong between an engine and its server, made to happen one by one: two jobs, each
//! rendered once, collected, measured, and put away. docs/simulator.md has the table.

use std::fs;

use serde_json::json;

use super::stage::{Stage, Wish, assert_near, clip_of, job};

fn impatient(stage: &Stage) {
    stage.configure("[queue]\npost_grace = 1\nquiet = 2\n");
}

/// Two jobs through this fault. How they come out is for the test to look at further.
fn two_jobs(version: &'static str, render_seconds: f64, scenario: &'static str) -> Stage {
    let mut stage = Stage::served(&Wish { version, render_seconds, scenario });
    impatient(&stage);
    stage.start_engine();
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    for (id, seed) in [(1, 1), (2, 2)] {
        let row = stage.until_state(id, "done");
        assert_near(&row["ssim"], clip_of(seed).1);
    }
    stage.until_file("jobs/done/000001-two.json.result.json");
    assert_eq!(stage.names("outputs"), ["a.mp4", "b.mp4"]);
    let ours: Vec<_> = [stage.attempts(1), stage.attempts(2)].concat();
    for prompt in &ours {
        assert_eq!(
            stage.begun().iter().filter(|begun| *begun == prompt).count(),
            1,
            "rendered once: {}",
            stage.show(1)
        );
    }
    assert_eq!(ours.len(), 2, "one try each");
    stage
}

/// One test a fault, with both servers' dialects where they differ.
macro_rules! survives {
    ($($name:ident: $render_seconds:literal, $scenario:literal;)*) => {
        $(
            #[test]
            fn $name() {
                two_jobs("0.33.0", $render_seconds, $scenario);
            }
        )*
    };
}

survives! {
    the_answer_to_a_post_is_lost: 0.1, "[[fault]]\non = { post = 1 }\ndo = \"post_lost\"\n";
    a_post_is_queued_and_answered_500: 0.1, "[[fault]]\non = { post = 2 }\ndo = \"post_500_but_queued\"\n";
    a_post_is_answered_500_and_not_queued: 0.1,
        "[[fault]]\non = { post = 1 }\ndo = { refuse_with = { status = 500, body = \"Server got itself in trouble\" } }\n";
    a_history_comes_late: 0.1, "[[fault]]\non = { prompt = 1 }\ndo = { history_late = 2500 }\n";
    a_history_never_comes: 0.1, "[[fault]]\non = { prompt = 1 }\ndo = \"history_missing\"\n";
    an_end_is_never_told: 0.1, "[[fault]]\non = { prompt = 2 }\ndo = \"end_never_sent\"\n";
    the_websocket_is_cut_in_mid_render: 1.0,
        "[[fault]]\non = { node = \"KSamplerAdvanced\" }\ntimes = 2\ndo = \"drop_sockets\"\n";
    the_websocket_is_deaf: 1.0, "[[fault]]\non = { node = \"UNETLoader\" }\ndo = \"deaf\"\n";
    the_websocket_is_half_open: 1.0, "[[fault]]\non = { node = \"UNETLoader\" }\ndo = \"half_open\"\n";
    the_websocket_is_refused: 0.1,
        "[[fault]]\non = { request = \"GET /ws\" }\ntimes = 3\ndo = { refuse_with = { status = 503 } }\n";
    another_client_has_our_id: 1.0, "[[fault]]\non = { post = 1 }\ndo = { twin = 4 }\n";
    others_jobs_stand_between_ours: 0.1, "[[fault]]\non = { post = 1 }\ntimes = 2\ndo = { foreign = 3 }\n";
    messages_come_for_a_job_we_do_not_know: 0.1, "[[fault]]\non = { node = \"VAEDecode\" }\ntimes = 2\ndo = \"stray\"\n";
    messages_overtake_each_other: 0.3, "[[fault]]\non = { after = 0 }\ndo = { disorder = 700 }\n";
    a_message_breaks_off: 0.3,
        "[[fault]]\non = { node = \"KSamplerAdvanced\" }\ntimes = 0\ndo = \"truncated_message\"\n";
    a_strangers_job_holds_a_bare_nan: 0.1, "[[fault]]\non = { post = 1 }\ndo = \"nan\"\n";
    a_request_hangs: 0.1, "[[fault]]\non = { request = \"GET /history/{id}\" }\ntimes = 2\ndo = { hang = 1 }\n";
    an_answer_is_reset_in_its_body: 0.1,
        "[[fault]]\non = { request = \"GET /history/{id}\" }\ntimes = 2\ndo = { cut = 40 }\n\
         [[fault]]\non = { request = \"GET /system_stats\" }\ntimes = 2\ndo = { cut = 10 }\n";
    the_answer_to_a_post_is_reset_in_its_body: 0.1, "[[fault]]\non = { post = 1 }\ndo = { cut = 10 }\n";
}

/// The older server has no `/api/jobs`: its queue is read instead, `NaN` and all.
#[test]
fn the_older_server_with_nan_and_a_lost_answer() {
    two_jobs(
        "0.3.64",
        0.1,
        "[[fault]]\non = { post = 1 }\ndo = \"nan\"\n[[fault]]\non = { post = 2 }\ndo = \"post_lost\"\n",
    );
}

#[test]
fn ten_gigabytes_are_announced_and_left_where_they_are() {
    let huge = "[[fault]]\non = { request = \"GET /view\" }\ntimes = 0\ndo = { view_announce = 10000000000 }\n";
    let stage = Stage::with(&Wish::faulty(huge));
    stage.drop_job("huge", 1);
    stage.until_state(1, "done");
    assert!(stage.names("outputs").is_empty());
    assert!(stage.show(1).contains("was not fetched"), "{}", stage.show(1));
    assert_eq!(stage.begun().len(), 1);
}

/// A laptop that is closed: the process stands still while the server goes on.
#[cfg(unix)]
#[test]
fn an_engine_that_slept_through_the_night_finds_what_ended() {
    use rustix::process::Signal;
    let mut stage = Stage::served(&Wish::slow(0.5));
    impatient(&stage);
    stage.start_engine();
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    stage.until_state(1, "running");
    let pid = stage.engine_pid();
    super::stage::signal(pid, Signal::STOP);
    stage.until("both rendered", |stage| (stage.happened("ended").len() == 2).then_some(()));
    stage.kill_server();
    super::stage::signal(pid, Signal::CONT);
    stage.start_server(&Wish::default());
    for id in [1, 2] {
        stage.until_state(id, "done");
    }
    assert_eq!(stage.begun().len(), 2, "what the dead server had rendered is found on its disk");
}

#[test]
fn a_file_that_is_told_of_many_times_is_taken_once() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    let path = stage.at("jobs/again.json");
    let text = job("again", 1).to_string();
    for _ in 0..20 {
        // Written, touched, renamed over itself: events without end for one file.
        fs::write(&path, &text).unwrap();
        let part = stage.at("jobs/.again.part");
        fs::write(&part, &text).unwrap();
        fs::rename(&part, &path).unwrap();
    }
    stage.until_state(1, "done");
    stage.until("an empty inbox", |stage| stage.inbox().is_empty().then_some(()));
    let others: Vec<_> = stage.ls().into_iter().filter(|row| row["state"] != "done").collect();
    assert!(others.iter().all(|row| row["state"] == "duplicate"), "{others:?}");
    assert_eq!(stage.begun().len(), 1);
}

#[test]
fn two_engines_share_an_inbox_and_each_file_is_rendered_once() {
    let mut stages = [Stage::served(&Wish::default()), Stage::served(&Wish::default())];
    let shared = stages[0].at("shared");
    fs::create_dir_all(&shared).unwrap();
    for stage in &mut stages {
        stage.configure(&format!("[[inbox]]\npath = {:?}\n", shared.display().to_string()));
        stage.start_engine();
    }
    fs::write(shared.join("start.png"), super::stage::IMAGE).unwrap();
    for n in 0..12 {
        let part = shared.join(format!(".{n}.part"));
        fs::write(&part, job(&format!("s{n}"), n).to_string()).unwrap();
        fs::rename(&part, shared.join(format!("s{n}.json"))).unwrap();
    }
    let done = |stage: &Stage| stage.ls().iter().filter(|row| row["state"] == "done").count();
    stages[0].until("all done", |first| (done(first) + done(&stages[1]) == 12).then_some(()));
    let begun = stages[0].begun().len() + stages[1].begun().len();
    assert_eq!(begun, 12, "each once");
    let results = || fs::read_dir(shared.join("done")).unwrap().flatten();
    stages[0].until("all put away", |_| (results().count() == 24).then_some(()));
    assert!(fs::read_dir(shared.join("queued")).unwrap().next().is_none());
}
