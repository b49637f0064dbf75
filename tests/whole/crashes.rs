//! Engines and servers that die: nothing is lost, nothing is rendered twice.

use std::fs;

use serde_json::json;

use super::stage::{Stage, Wish, clip_of, job};

/// Kills the engine once #1 `is` in that state (of two jobs in one file), and lets the next one finish.
fn killed_while(is: &str, wish: &Wish) -> Stage {
    let mut stage = Stage::served(wish);
    stage.configure("[queue]\npost_grace = 5\n");
    stage.start_engine();
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    stage.until_state(1, is);
    stage.kill_engine();
    stage.start_engine();
    for (id, seed) in [(1, 1), (2, 2)] {
        let row = stage.until_state(id, "done");
        super::stage::assert_near(&row["ssim"], clip_of(seed).1);
        assert_eq!(stage.attempts(id).len(), 1, "the same attempt:\n{}", stage.show(id));
    }
    let (mut begun, mut prompts) = (stage.begun(), [stage.attempts(1), stage.attempts(2)].concat());
    begun.sort();
    prompts.sort();
    assert_eq!(begun, prompts, "nothing is rendered twice");
    assert_eq!(stage.names("outputs"), ["a.mp4", "b.mp4"]);
    stage.until_file("jobs/done/000001-two.json.result.json");
    assert!(stage.inbox().is_empty() && stage.names("jobs/queued").is_empty() && stage.names("jobs/failed").is_empty());
    stage
}

#[test]
fn an_engine_killed_while_it_submits() {
    // The POST arrives only when the engine that sent it is long dead.
    killed_while("submitting", &Wish::faulty("[[fault]]\non = { post = 1 }\ndo = { late = 2 }\n"));
}

#[test]
fn an_engine_killed_while_its_job_renders() {
    killed_while("running", &Wish::slow(1.0));
}

#[test]
fn an_engine_killed_while_its_job_is_fetched() {
    killed_while("collecting", &Wish::faulty("[[fault]]\non = { request = \"GET /view\" }\ndo = { hang = 30 }\n"));
}

#[test]
fn an_engine_killed_while_its_job_is_pending() {
    let mut stage = Stage::with(&Wish::slow(1.0));
    stage.put_image();
    stage.drop_file("four.json", json!([job("a", 1), job("b", 2), job("c", 3), job("d", 4)]).to_string());
    stage.until_state(2, "pending");
    stage.kill_engine();
    // A verb starts the next engine as well as anything; it renders what waits.
    let other = stage.at("other.json");
    fs::write(stage.at("start.png"), super::stage::IMAGE).unwrap();
    fs::write(&other, job("e", 5).to_string()).unwrap();
    assert_eq!(stage.run(&["add", other.to_str().unwrap()]).well(), "5\n");
    assert_eq!(stage.run(&["wait", "--all", "--timeout", "90"]).code, 0);
    let begun = stage.begun();
    let prompts: Vec<_> = (1..=5).flat_map(|id| stage.attempts(id)).collect();
    assert_eq!(begun, prompts, "each once, in their order");
    stage.until_file("jobs/done/000001-four.json.result.json");
}

#[test]
fn what_ended_while_no_engine_ran_is_collected() {
    let mut stage = Stage::with(&Wish::slow(0.5));
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    stage.kill_engine();
    stage.until("both rendered", |stage| (stage.happened("ended").len() == 2).then_some(()));
    // Looking takes nothing, but what is rendered is there to be seen once an engine works again.
    stage.start_engine();
    for id in [1, 2] {
        let row = stage.until_state(id, "done");
        assert!(row["elapsed_s"].as_f64().is_some(), "{row}");
    }
    assert_eq!(stage.begun().len(), 2);
    stage.until_file("jobs/done/000001-two.json.result.json");
}

#[test]
fn a_server_that_is_restarted_is_found_again_and_renders_what_it_forgot() {
    let mut stage = Stage::with(&Wish::slow(1.5));
    stage.put_image();
    stage.drop_file("three.json", json!([job("a", 1), job("b", 2), job("c", 3)]).to_string());
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    stage.kill_server();
    stage.until("the loss noticed", |stage| {
        let status = stage.run(&["status"]);
        (status.code == 4 && status.out.contains("away: refused")).then_some(())
    });
    // What it had it may still have: nothing is given up while it is not there.
    assert_eq!(stage.state(1).as_deref(), Some("running"));
    assert_eq!(stage.state(2).as_deref(), Some("pending"));
    assert_eq!(stage.state(3).as_deref(), Some("queued"));
    stage.start_server(&Wish::default());
    for (id, seed) in [(1, 1), (2, 2), (3, 3)] {
        let row = stage.until_state(id, "done");
        super::stage::assert_near(&row["ssim"], clip_of(seed).1);
    }
    assert_eq!(stage.begun().len(), 4, "the one that ran was begun twice, the others once");
    assert_eq!(stage.attempts(1).len(), 2);
    assert!(stage.show(1).contains("the server forgot it"), "{}", stage.show(1));
    assert_eq!(stage.attempts(2).len(), 1, "what never ran counts no try");
    assert_eq!(stage.names("outputs"), ["a.mp4", "b.mp4", "c.mp4"]);
    let begun_after: Vec<_> = stage.begun()[1..].to_vec();
    let last: Vec<_> = (1..=3).map(|id| stage.attempts(id).pop().unwrap()).collect();
    assert_eq!(begun_after, last, "in their old order");
    stage.until_file("jobs/done/000001-three.json.result.json");
}

#[test]
fn what_a_restarted_server_still_has_on_its_disk_is_not_rendered_again() {
    let mut stage = Stage::with(&Wish::faulty("[[fault]]\non = { request = \"GET /view\" }\ndo = { hang = 60 }\n"));
    stage.drop_job("kept", 1);
    stage.until_state(1, "collecting");
    stage.kill_server();
    stage.start_server(&Wish::default());
    let row = stage.until_state(1, "done");
    super::stage::assert_near(&row["ssim"], clip_of(1).1);
    assert_eq!(stage.begun().len(), 1, "{}", stage.show(1));
}

#[test]
fn a_job_whose_rendered_file_is_gone_with_the_server_is_rendered_again() {
    let mut stage = Stage::with(&Wish::faulty("[[fault]]\non = { request = \"GET /view\" }\ndo = { hang = 60 }\n"));
    stage.drop_job("gone", 1);
    stage.until_state(1, "collecting");
    stage.kill_server();
    fs::remove_dir_all(stage.server_files().join("output")).unwrap();
    stage.start_server(&Wish::default());
    let row = stage.until_state(1, "done");
    super::stage::assert_near(&row["ssim"], clip_of(1).1);
    assert_eq!(stage.begun().len(), 2, "{}", stage.show(1));
}

#[test]
fn both_may_die_together() {
    let mut stage = Stage::with(&Wish::slow(1.0));
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    stage.kill_engine();
    stage.kill_server();
    stage.start_engine();
    stage.start_server(&Wish::default());
    for id in [1, 2] {
        stage.until_state(id, "done");
    }
    assert_eq!(stage.begun().len(), 3);
    assert_eq!(stage.names("outputs"), ["a.mp4", "b.mp4"]);
    stage.until_file("jobs/done/000001-two.json.result.json");
}
