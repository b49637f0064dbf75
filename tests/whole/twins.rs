//! Duplicates, jobs on hold, and files that come back from `failed/`.

use std::fs;

use serde_json::{Value, json};

use super::stage::{Stage, Wish, job};

fn chance(name: &str) -> String {
    json!({"workflow": "wan2.2-i2v-loop", "name": name, "image": "start.png"}).to_string()
}

#[test]
fn the_same_job_dropped_twice_is_rendered_once() {
    let stage = Stage::with(&Wish::default());
    stage.drop_job("loop", 9);
    stage.until_state(1, "done");
    // Under another file name, and with another name of its own: it is the same render all the same.
    stage.drop_file("again.json", job("other_name", 9).to_string());
    let row = stage.until_state(2, "duplicate");
    assert_eq!(row["error"], "duplicate of #1");
    stage.until_file("jobs/done/000002-again.json.result.json");
    assert!(stage.show(2).contains("duplicate of #1"));
    assert_eq!(stage.begun().len(), 1);
    fs::write(stage.at("start.png"), super::stage::IMAGE).expect("written");
    fs::write(stage.at("third.json"), job("third", 9).to_string()).expect("written");
    let added = stage.run(&["add", &stage.at("third.json").display().to_string()]);
    assert_eq!((added.code, added.out.trim()), (0, "3"));
    assert!(added.err.contains("(#3): a duplicate of #1, not rendered; `comfytop requeue 3` does"), "{}", added.err);
    // Asked for, it runs.
    stage.run(&["requeue", "2"]).well();
    stage.until_state(2, "done");
    assert_eq!(stage.begun().len(), 2);
}

#[test]
fn a_job_that_differs_in_its_image_alone_is_no_duplicate() {
    let stage = Stage::with(&Wish::default());
    stage.drop_job("loop", 9);
    stage.until_state(1, "done");
    let mut other = super::stage::IMAGE.to_vec();
    other.push(0);
    stage.drop_file("start.png", other);
    stage.drop_file("loop.json", job("loop", 9).to_string());
    stage.until_state(2, "done");
    assert_eq!(stage.begun().len(), 2);
}

#[test]
fn with_a_seed_left_to_chance_only_the_very_same_file_is_a_duplicate() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    stage.drop_file("chance.json", chance("a"));
    stage.until_state(1, "done");
    stage.drop_file("chance.json", chance("a"));
    assert_eq!(stage.until_state(2, "duplicate")["error"], "duplicate of #1");
    // Another name, or other bytes: somebody wants another roll of the dice.
    stage.drop_file("chance-2.json", chance("a"));
    stage.until_state(3, "done");
    stage.drop_file("chance.json", chance("b"));
    stage.until_state(4, "done");
    assert_eq!(stage.begun().len(), 3);
}

#[test]
fn a_twin_of_a_job_that_failed_or_was_cancelled_runs() {
    let stage = Stage::with(&Wish::faulty(
        "[[fault]]\non = { node = \"VAEDecode\" }\ndo = { node_error = { type = \"RuntimeError\", message = \"it broke\" } }\n",
    ));
    stage.drop_job("loop", 9);
    stage.until_state(1, "failed");
    stage.drop_job("loop", 9);
    stage.until_state(2, "done");
    assert_eq!(stage.begun().len(), 2);
}

#[test]
fn what_is_dropped_into_held_is_held() {
    let stage = Stage::with(&Wish::default());
    fs::write(stage.at("jobs/held/start.png"), super::stage::IMAGE).unwrap();
    stage.drop_into("jobs/held", "later.json", job("later", 1).to_string());
    stage.until_state(1, "held");
    let mut by_key = job("too", 2);
    by_key["hold"] = json!(true);
    stage.put_image();
    stage.drop_file("too.json", by_key.to_string());
    stage.until_state(2, "held");
    // Others pass it by.
    stage.drop_job("now", 3);
    stage.until_state(3, "done");
    assert_eq!(stage.state(1).as_deref(), Some("held"));
    assert_eq!(stage.begun().len(), 1);
    stage.until_file("jobs/queued/000001-later.json");
    stage.run(&["cancel", "1"]).well();
    stage.until_state(1, "cancelled");
    stage.until_file("jobs/failed/000001-later.json.error.txt");
    assert!(stage.text("jobs/failed/000001-later.json.error.txt").contains("#1 later was cancelled"));
}

#[test]
fn a_file_moved_back_from_failed_runs_what_is_not_done() {
    // The second of three fails, once.
    let broken = "[[fault]]\non = { node = \"VAEDecode\" }\nskip = 1\n\
        do = { node_error = { type = \"RuntimeError\", message = \"it broke\" } }\n";
    let stage = Stage::with(&Wish::faulty(broken));
    stage.put_image();
    stage.drop_file("three.json", json!([job("a", 1), job("b", 2), job("c", 3)]).to_string());
    stage.until_state(1, "done");
    stage.until_state(2, "failed");
    stage.until_state(3, "done");
    stage.until_file("jobs/failed/000001-three.json.error.txt");
    let error = stage.text("jobs/failed/000001-three.json.error.txt");
    assert!(error.contains("#2 b has failed: ") && error.contains("it broke"), "{error}");
    assert!(error.contains("#1 a is done\n") && error.contains("#3 c is done\n"), "{error}");
    assert!(stage.show(2).contains("it broke"));

    fs::rename(stage.at("jobs/failed/000001-three.json"), stage.at("jobs/000001-three.json")).unwrap();
    stage.until("#2 done", |stage| (stage.state(2)? == "done").then_some(()));
    stage.until_file("jobs/done/000001-three.json.result.json");
    let result: Value = serde_json::from_str(&stage.text("jobs/done/000001-three.json.result.json")).unwrap();
    let states: Vec<_> = result.as_array().unwrap().iter().map(|job| &job["state"]).collect();
    assert_eq!(states, ["done", "done", "done"]);
    assert_eq!(stage.begun().len(), 4, "a and c are not rendered again");
    assert_eq!(stage.attempts(2).len(), 2);
    assert_eq!(stage.ls().len(), 3, "no new jobs");
    assert!(stage.inbox().is_empty());
    assert!(stage.names("jobs/failed").is_empty(), "what was wrong is mended: {:?}", stage.names("jobs/failed"));
}
