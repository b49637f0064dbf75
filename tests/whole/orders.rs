//! What people ask of jobs: cancel, requeue.

use serde_json::{Value, json};

use super::stage::{Stage, Wish, assert_near, clip_of, job};

/// Three jobs: one runs, one is pending, one waits.
fn three() -> Stage {
    let stage = Stage::with(&Wish::slow(1.5));
    stage.put_image();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        stage.drop_file(&format!("{name}.json"), job(name, seed).to_string());
        stage.until("taken", |stage| stage.state(seed));
    }
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    assert_eq!(stage.state(3).as_deref(), Some("queued"));
    stage
}

#[test]
fn cancelling_what_waits_never_reaches_the_server() {
    let stage = three();
    assert_eq!(stage.run(&["cancel", "3"]).well(), "#3 cancelled\n");
    assert_eq!(stage.state(3).as_deref(), Some("cancelled"));
    stage.until_file("jobs/failed/000003-c.json.error.txt");
    stage.until_state(1, "done");
    stage.until_state(2, "done");
    assert_eq!(stage.happened("accepted").len(), 2);
    assert!(stage.happened("deleted").is_empty() && stage.happened("interrupt").is_empty());
}

#[test]
fn cancelling_what_is_pending_takes_it_out_of_the_servers_queue() {
    let stage = three();
    let prompt = stage.attempts(2).pop().unwrap();
    assert_eq!(stage.run(&["cancel", "2"]).well(), "#2 cancelling\n");
    stage.until_state(2, "cancelled");
    stage.until_file("jobs/failed/000002-b.json.error.txt");
    stage.until_state(1, "done");
    stage.until_state(3, "done");
    assert!(!stage.begun().contains(&prompt));
    assert_eq!(stage.happened("deleted").len(), 1);
    assert!(stage.happened("interrupt").is_empty(), "nobody else is hit");
}

#[test]
fn cancelling_what_runs_interrupts_that_and_nothing_else() {
    let stage = three();
    let prompt = stage.attempts(1).pop().unwrap();
    assert_eq!(stage.run(&["cancel", "1"]).well(), "#1 cancelling\n");
    stage.until_state(1, "cancelled");
    stage.until_file("jobs/failed/000001-a.json.error.txt");
    let error = stage.text("jobs/failed/000001-a.json.error.txt");
    assert!(error.contains("#1 a was cancelled"), "{error}");
    stage.until_state(2, "done");
    stage.until_state(3, "done");
    let hit = stage.happened("interrupt");
    assert!(hit.iter().all(|e| e["prompt_id"] == prompt) && !hit.is_empty(), "{hit:?}");
    assert_eq!(stage.attempts(2).len(), 1);
    let ended: Vec<Value> = stage.happened("ended").into_iter().filter(|e| e["prompt_id"] == prompt).collect();
    assert!(ended[0]["as"].to_string().contains("interrupted"), "{ended:?}");
    // It has ended: there is nothing left to cancel.
    let again = stage.run(&["cancel", "1", "2", "99"]);
    assert_eq!(again.code, 1);
    for words in ["#1: it is cancelled already", "#2: it is done already", "#99: there is no job #99"] {
        assert!(again.err.contains(words), "{}", again.err);
    }
    assert_eq!(stage.run(&["wait", "1"]).code, 1);
    assert_eq!(stage.run(&["wait", "2", "3"]).code, 0);
}

#[test]
fn what_somebody_deletes_at_the_server_is_cancelled_elsewhere() {
    let stage = three();
    let prompt = stage.attempts(2).pop().unwrap();
    let body = json!({"delete": [prompt]}).to_string();
    super::places::post(&stage.url, "/queue", &body);
    let row = stage.until_state(2, "cancelled");
    assert_eq!(row["error"], "cancelled at the server, not by comfytop");
    stage.until_state(1, "done");
    stage.until_state(3, "done");
}

#[test]
fn requeue_renders_once_more_and_replaces_nothing() {
    let stage = Stage::with(&Wish::default());
    stage.drop_job("loop", 1);
    stage.until_state(1, "done");

    assert_eq!(stage.run(&["requeue", "1"]).well(), "#1 requeued with seed 1\n");
    let row = stage.until("the second attempt done", |stage| {
        let row = stage.job(1);
        (row["state"] == "done" && stage.begun().len() == 2).then_some(row)
    });
    assert_eq!(row["seed"], 1);
    assert_eq!(row["outputs"][0]["path"], "outputs/loop-2.mp4");

    let said = stage.run(&["requeue", "1", "--new-seed"]).well();
    let row = stage.until("the third attempt done", |stage| {
        let row = stage.job(1);
        (row["state"] == "done" && stage.begun().len() == 3).then_some(row)
    });
    let seed = row["seed"].as_u64().unwrap();
    assert!(seed != 1 && said == format!("#1 requeued with seed {seed}\n"), "{said}");
    assert_near(&row["ssim"], clip_of(seed).1);
    let graph: Value = serde_json::from_str(&stage.run(&["show", "1", "--graph"]).well()).unwrap();
    assert_eq!(graph["13"]["inputs"]["noise_seed"], seed);
    assert_eq!(stage.names("outputs"), ["loop-2.mp4", "loop-3.mp4", "loop.mp4"]);
    let attempts = stage.attempts(1);
    assert_eq!(attempts, stage.begun());
    let shown = stage.show(1);
    for output in ["outputs/loop.mp4", "outputs/loop-2.mp4", "outputs/loop-3.mp4"] {
        assert!(shown.contains(output), "{shown}");
    }
    assert_eq!(stage.ls().len(), 1, "still one job");
}

#[test]
fn a_cancelled_job_can_be_requeued_and_one_that_has_not_ended_can_not() {
    let stage = Stage::with(&Wish::slow(1.5));
    stage.drop_job("loop", 1);
    stage.until_state(1, "running");
    let early = stage.run(&["requeue", "1"]);
    assert_eq!(early.code, 1);
    assert!(early.err.contains("it is running"), "{}", early.err);
    stage.run(&["cancel", "1"]).well();
    stage.until_state(1, "cancelled");
    stage.run(&["requeue", "1"]).well();
    stage.until_state(1, "done");
    assert_eq!(stage.attempts(1).len(), 2);
    assert_eq!(stage.begun().len(), 2);
}
