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
    two_jobs_in(&[], version, render_seconds, scenario)
}

/// The same by an engine that waits no longer than a second for any answer.
const HASTY: &[(&str, &str)] = &[("COMFYTOP_PATIENCE", "1")];

fn two_jobs_in(
    environment: &[(&str, &str)],
    version: &'static str,
    render_seconds: f64,
    scenario: &'static str,
) -> Stage {
    let mut stage = Stage::served(&Wish { version, render_seconds, scenario });
    impatient(&stage);
    stage.start_engine_with(environment);
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

#[test]
fn requests_hang_for_longer_than_anybody_waits() {
    let hang = "[[fault]]\non = { post = 1 }\ndo = { hang = 30 }\n\
        [[fault]]\non = { request = \"GET /api/jobs/{id}\" }\ntimes = 2\ndo = { hang = 30 }\n\
        [[fault]]\non = { request = \"GET /history/{id}\" }\ntimes = 2\ndo = { hang = 30 }\n\
        [[fault]]\non = { request = \"GET /view\" }\ntimes = 1\ndo = { hang = 30 }\n";
    for version in ["0.33.0", "0.3.64"] {
        two_jobs_in(HASTY, version, 0.1, hang);
    }
}

/// A POST whose id the server knows already, as one that was given up for lost and comes late: it does not refuse it. Once
/// while the job renders, once while another waits.
#[test]
fn a_repeated_id_is_deleted_and_not_rendered() {
    for version in ["0.33.0", "0.3.64"] {
        let mut stage = Stage::served(&Wish { version, ..Wish::slow(30.0) });
        impatient(&stage);
        stage.start_engine();
        stage.put_image();
        stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
        stage.until_state(1, "running");
        stage.until_state(2, "pending");
        for id in [1, 2] {
            let prompt = stage.attempts(id).pop().unwrap();
            let is_it = |event: &serde_json::Value| event["prompt_id"] == prompt.as_str();
            let client = stage.happened("accepted").into_iter().find(is_it).unwrap()["client_id"].clone();
            let graph = stage.run(&["show", &id.to_string(), "--graph"]).well();
            let graph: serde_json::Value = serde_json::from_str(&graph).unwrap();
            let again = json!({"prompt": graph, "prompt_id": prompt, "client_id": client}).to_string();
            super::places::post(&stage.url, "/prompt", &again);
            assert_eq!(stage.happened("accepted").into_iter().filter(is_it).count(), 2, "it stands there twice");
            stage.until("one copy deleted", |stage| stage.happened("deleted").iter().any(is_it).then_some(()));
        }
        // One copy of each is left: they are there, and nothing else is.
        stage.run(&["cancel", "1"]).well();
        stage.until_state(1, "cancelled");
        stage.until_state(2, "running");
        stage.run(&["cancel", "2"]).well();
        stage.until_state(2, "cancelled");
        assert_eq!(stage.begun(), [stage.attempts(1), stage.attempts(2)].concat(), "each was begun once");
        assert_eq!(stage.happened("deleted").len(), 2);
    }
}

/// Somebody clears the history while nobody watches: the file is found on the server's disk.
#[test]
fn a_history_that_was_evicted() {
    use std::io::{Read as _, Write as _};
    let mut stage = Stage::served(&Wish::slow(1.0));
    impatient(&stage);
    stage.start_engine();
    stage.drop_job("clip", 1);
    stage.until_state(1, "running");
    stage.kill_engine();
    stage.until("its end", |stage| (stage.happened("ended").len() == 1).then_some(()));
    let at = stage.url.trim_start_matches("http://").to_owned();
    let mut stranger = std::net::TcpStream::connect(&at).unwrap();
    let body = "{\"clear\": true}";
    let head = format!("POST /history HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\n");
    write!(stranger, "{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stranger.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stage.start_engine();
    let row = stage.until_state(1, "done");
    assert_near(&row["ssim"], clip_of(1).1);
    assert_eq!(stage.begun().len(), 1, "it is not rendered again");
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

/// An engine that soon gives up waiting, with two jobs of one file; the first renders.
fn two_under_way() -> Stage {
    let mut stage = Stage::served(&Wish::slow(0.5));
    impatient(&stage);
    stage.start_engine();
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    stage.until_state(1, "running");
    stage
}

/// A laptop that is closed: the process stands still while the server goes on.
#[cfg(unix)]
#[test]
fn an_engine_that_slept_through_the_night_finds_what_ended() {
    use rustix::process::Signal;
    let mut stage = two_under_way();
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
    // Pictures: looking at a dozen clips takes longer than all the rest.
    let picture = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "start.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "shot"}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    });
    for stage in &mut stages {
        stage.configure(&format!("[[inbox]]\npath = {:?}\n", shared.display().to_string()));
        fs::create_dir_all(stage.at("workflows")).unwrap();
        fs::write(stage.at("workflows/shot.json"), picture.to_string()).unwrap();
        stage.start_engine();
    }
    fs::write(shared.join("start.png"), super::stage::IMAGE).unwrap();
    for n in 0..12 {
        let part = shared.join(format!(".{n}.part"));
        let job =
            json!({"workflow": "shot", "name": format!("s{n}"), "image": "start.png", "set": {"3.width": 64 + 8 * n}});
        fs::write(&part, job.to_string()).unwrap();
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

/// What is asked of a store that can't be written fails at once, in words, and is not done later.
#[cfg(target_os = "linux")]
#[test]
fn a_wish_on_a_full_disk_is_refused_and_not_done_later() {
    let mut stage = Stage::served(&Wish::slow(600.0));
    impatient(&stage);
    stage.start_engine_on_a_small_disk();
    stage.put_image();
    stage.drop_file("three.json", json!([job("a", 1), job("b", 2), job("c", 3)]).to_string());
    stage.until_state(1, "running");
    stage.disk_is_full(true);
    for verb in [&["pause"][..], &["cancel", "3"], &["hold", "3"], &["priority", "3", "5"], &["requeue", "3"]] {
        let said = stage.run(verb);
        assert_ne!(said.code, 0, "{verb:?}: {said:?}");
        assert!(said.err.contains("the store can't be written"), "{verb:?}: {said:?}");
        assert!(said.err.contains("nothing was changed"), "{verb:?}: {said:?}");
    }
    assert_eq!(stage.job(3)["state"], "queued", "looking is answered");
    stage.disk_is_full(false);
    stage.until("room for a wish", |stage| (stage.run(&["priority", "3", "1"]).code == 0).then_some(()));
    let rows = stage.ls();
    assert_eq!(rows[2]["priority"], 1, "the last wish, not one that was refused");
    assert!(["queued", "submitting", "pending"].contains(&rows[2]["state"].as_str().unwrap()), "{rows:?}");
    assert_eq!(stage.status()["engine"]["flow"]["flow"], "going");
    stage.disk_is_full(true);
    let said = stage.run(&["stop"]);
    assert!(said.code != 0 && said.err.contains("the engine ends"), "{said:?}");
    stage.until_engine_ends();
}

/// The disk is full when a clip comes, and has room again later: it is fetched then, and rendered once.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_while_a_clip_is_fetched() {
    let slow = "[[fault]]\non = { request = \"GET /view\" }\ntimes = 1\ndo = { slow = 1 }\n";
    let mut stage = Stage::served(&Wish::faulty(slow));
    impatient(&stage);
    stage.start_engine_on_a_small_disk();
    stage.drop_job("clip", 1);
    stage.until_state(1, "collecting");
    stage.disk_is_full(true);
    let why = stage.until("its trouble", |stage| stage.job(1)["error"].as_str().map(str::to_owned));
    assert!(why.contains("cannot write what the server sent"), "{why}");
    stage.disk_is_full(false);
    let row = stage.until_state(1, "done");
    assert_near(&row["ssim"], clip_of(1).1);
    assert_eq!((stage.begun().len(), stage.names("outputs")), (1, vec!["clip.mp4".to_owned()]));
}

/// Back and forth by hours: before the first job, while jobs render, and while the fate of a POST is unknown.
#[test]
fn a_clock_that_jumps_back_and_forth() {
    let scenario = "[[fault]]\non = { post = 2 }\ndo = \"post_lost\"\n";
    let mut stage = Stage::served(&Wish { render_seconds: 0.5, scenario, ..Wish::default() });
    impatient(&stage);
    let clock = stage.temp().join("clock");
    let set = |seconds: &str| {
        fs::write(clock.with_extension("draft"), seconds).unwrap();
        fs::rename(clock.with_extension("draft"), &clock).unwrap();
    };
    set("-90000");
    stage.start_engine_with(&[("COMFYTOP_CLOCK", clock.to_str().unwrap())]);
    stage.put_image();
    stage.drop_file("three.json", json!([job("a", 1), job("b", 2), job("c", 3)]).to_string());
    for (begun, seconds) in [(1, "36000"), (2, "-36000"), (3, "7")] {
        stage.until("the next render", |stage| (stage.begun().len() >= begun).then_some(()));
        set(seconds);
    }
    for (id, seed) in [(1, 1), (2, 2), (3, 3)] {
        assert_near(&stage.until_state(id, "done")["ssim"], clip_of(seed).1);
        assert_eq!(stage.attempts(id).len(), 1, "{}", stage.show(id));
    }
    assert_eq!(stage.begun().len(), 3, "each once");
    assert_eq!(stage.names("outputs"), ["a.mp4", "b.mp4", "c.mp4"]);
}

/// A share goes away while jobs of it render, and leaves an empty folder; what ends meanwhile is put away on its return.
#[test]
fn a_share_that_goes_away_while_its_jobs_render() {
    let stage = two_under_way();
    fs::rename(stage.at("jobs"), stage.at("share")).unwrap();
    fs::create_dir(stage.at("jobs")).unwrap();
    for id in [1, 2] {
        stage.until_state(id, "done");
    }
    let banner = stage.until("a banner", |stage| {
        let banners = stage.status()["engine"]["banners"].to_string();
        banners.contains("put away when it is back").then_some(banners)
    });
    assert!(banner.contains("jobs can't be read"), "{banner}");
    assert!(stage.names("jobs").is_empty(), "nothing is made there: {:?}", stage.names("jobs"));
    fs::remove_dir(stage.at("jobs")).unwrap();
    fs::rename(stage.at("share"), stage.at("jobs")).unwrap();
    stage.until_file("jobs/done/000001-two.json.result.json");
    assert_eq!(stage.names("jobs/done"), ["000001-two.json", "000001-two.json.result.json"]);
    assert!(stage.names("jobs/queued").is_empty());
    stage.until("no banner", |stage| stage.status()["engine"]["banners"].as_array()?.is_empty().then_some(()));
    stage.drop_job("after", 3);
    stage.until_state(3, "done");
}
