//! The demo without a terminal: everything real but the server.

use std::fs;

use serde_json::{Value, json};

use super::stage::{PATIENCE, Stage, ran, ran_within};

#[test]
fn a_headless_demo_renders_its_jobs_and_leaves_nothing() {
    let stage = Stage::bare();
    let mut command = stage.plain();
    command.args(["demo", "--headless", "--jobs", "3", "--render-seconds", "0.2", "--json"]);
    // Three clips, and two more that the gate of the second job does not let pass: each is measured.
    let demo = ran_within(command, 5 * PATIENCE);
    let rows: Vec<Value> = demo.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(demo.code, 0, "{demo:?}");
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert_eq!(row["state"], "done");
        assert!(row["ssim"].is_f64(), "{row}");
    }
    // By what the judge saw: the simulator knows of no gate.
    let tried = &rows[1];
    assert_eq!((&tried["try"], &tried["passed"], &tried["verdict"]), (&json!(3), &json!(true), &json!("loops")));
    assert_eq!(fs::read_dir(stage.temp()).unwrap().count(), 0, "its folder is gone");
    let left = stage.names("../home/state/comfytop");
    assert_eq!(left, Vec::<String>::new(), "and so is the lock beside its socket");
}

#[test]
fn without_a_terminal_a_demo_says_what_there_is_and_makes_nothing() {
    let stage = Stage::bare();
    let mut command = stage.plain();
    command.arg("demo");
    let demo = ran(command);
    assert_eq!(demo.code, 2, "{demo:?}");
    assert!(demo.err.contains("`comfytop demo --headless`"), "{}", demo.err);
    assert_eq!(fs::read_dir(stage.temp()).unwrap().count(), 0);
}
