//! Steering the queue: pause, drain, order, hold, retry, edit; as a script does it.

use serde_json::{Value, json};

use super::stage::{Ran, Stage, Wish, job};

/// So many jobs of about this many seconds: the first runs, the second is pending, the rest wait.
fn queue(jobs: u64, seconds: f64) -> Stage {
    let stage = Stage::with(&Wish::slow(seconds));
    drop_jobs(&stage, jobs);
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    stage
}

fn drop_jobs(stage: &Stage, jobs: u64) {
    stage.put_image();
    for seed in 1..=jobs {
        stage.drop_file(&format!("j{seed}.json"), job(&format!("j{seed}"), seed).to_string());
        stage.until("taken", |stage| stage.state(seed));
    }
}

/// The jobs in the order in which their renders began.
fn begun(stage: &Stage) -> Vec<u64> {
    let ids: Vec<_> = stage.ls().iter().map(|row| row["id"].as_u64().unwrap()).collect();
    let tries: Vec<_> = ids.iter().map(|id| (*id, stage.attempts(*id))).collect();
    let of = |prompt: &String| tries.iter().find(|(_, a)| a.contains(prompt)).map_or(0, |(id, _)| *id);
    stage.begun().iter().map(of).collect()
}

/// Cancels each of so many jobs as it renders, which takes until its next step; the order in which they came to that.
fn one_by_one(stage: &Stage, jobs: usize) -> Vec<u64> {
    let mut order = Vec::new();
    while order.len() < jobs {
        let id = stage.until("a job that runs", |stage| {
            stage.ls().iter().find(|row| row["state"] == "running").map(|row| row["id"].as_u64().unwrap())
        });
        stage.run(&["cancel", &id.to_string()]).well();
        stage.until_state(id, "cancelled");
        order.push(id);
    }
    assert!(begun(stage).ends_with(&order), "{order:?}, {:?}", begun(stage));
    order
}

fn all_done(stage: &Stage, jobs: u64) {
    for id in 1..=jobs {
        stage.until_state(id, "done");
    }
}

fn flow(stage: &Stage) -> String {
    stage.status()["engine"]["flow"]["flow"].as_str().unwrap().to_owned()
}

#[test]
fn a_pause_holds_through_a_kill_and_resumes_in_order() {
    let mut stage = queue(4, 1.0);
    assert_eq!(stage.run(&["pause"]).well(), "paused\n");
    stage.until("#2 back", |stage| (stage.state(2)? == "queued").then_some(()));
    stage.until_state(1, "done");
    stage.kill_engine();
    stage.start_engine();
    assert_eq!(flow(&stage), "paused");
    stage.drop_file("late.json", job("late", 5).to_string());
    stage.until("taken", |stage| stage.state(5));
    assert_eq!(stage.begun().len(), 1, "nothing is sent");
    assert!(stage.run(&["status"]).out.contains("queue    paused"));
    assert_eq!(stage.run(&["resume"]).well(), "going\n");
    all_done(&stage, 5);
    assert_eq!(begun(&stage), [1, 2, 3, 4, 5], "each once, in order");
    assert_eq!(stage.attempts(2).len(), 1, "what never ran is no try");
    let log = stage.run(&["log", "2"]).well();
    assert!(log.contains("taken back; it had not begun") && log.contains("measured: SSIM"), "{log}");
}

#[test]
fn a_drain_lets_end_what_was_sent() {
    let stage = queue(4, 30.0);
    assert_eq!(stage.run(&["drain"]).well(), "draining\n");
    assert_eq!(one_by_one(&stage, 2), [1, 2]);
    stage.until("a pause", |stage| (flow(stage) == "paused").then_some(()));
    assert_eq!((stage.state(3).as_deref(), stage.happened("accepted").len()), (Some("queued"), 2));
    stage.run(&["resume"]).well();
    assert_eq!(one_by_one(&stage, 2), [3, 4]);
}

#[test]
fn a_server_is_paused_by_its_name_and_a_wrong_name_is_an_error() {
    let stage = queue(3, 30.0);
    let name = stage.url.strip_prefix("http://").unwrap().to_owned();
    assert_eq!(stage.run(&["pause", &name]).well(), format!("going\n{name} paused\n"));
    stage.until("#2 back", |stage| (stage.state(2)? == "queued").then_some(()));
    let wrong = stage.run(&["pause", "nobody"]);
    assert!(wrong.code == 1 && wrong.err.contains(&name), "{wrong:?}");
    assert_eq!(stage.state(1).as_deref(), Some("running"), "it goes on");
    stage.run(&["resume", &name]).well();
    assert_eq!(one_by_one(&stage, 3), [1, 2, 3]);
}

#[test]
fn the_order_on_the_list_is_the_order_of_rendering() {
    let stage = queue(6, 30.0);
    assert_eq!(stage.run(&["move", "5", "6", "--top"]).well().lines().count(), 2);
    assert_eq!(stage.run(&["move", "2", "--before", "4"]).well(), "#2 moved before #4\n");
    assert_eq!(stage.run(&["priority", "4", "7"]).well(), "#4 priority 7\n");
    let moved = stage.run(&["move", "1", "--bottom"]);
    assert!(moved.code == 1 && moved.err.contains("only what waits can be moved"), "{moved:?}");
    assert_eq!(one_by_one(&stage, 6), [1, 4, 5, 6, 3, 2]);
}

#[test]
fn a_higher_priority_goes_before_what_the_server_holds() {
    let stage = queue(3, 0.8);
    let mut urgent = job("urgent", 4);
    urgent["priority"] = json!(1);
    stage.drop_file("urgent.json", urgent.to_string());
    stage.until("taken", |stage| stage.state(4));
    all_done(&stage, 4);
    assert_eq!(begun(&stage), [1, 4, 2, 3]);
}

#[test]
fn what_is_held_waits_at_a_server_or_not_dropped_held_or_not() {
    let mut stage = Stage::served(&Wish::slow(0.8));
    stage.configure("[[inbox]]\npath = \"jobs\"\n[[inbox]]\npath = \"later\"\nhold = true\n");
    std::fs::create_dir_all(stage.at("later")).unwrap();
    stage.start_engine();
    drop_jobs(&stage, 3);
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    stage.run(&["hold", "2"]).well();
    stage.until_state(2, "held");
    let waited = stage.run(&["wait", "2", "--timeout", "0.1"]);
    assert!(waited.code == 3 && waited.err.contains("`comfytop release 2`"), "{waited:?}");
    stage.drop_into("jobs/held", "j4.json", job("j4", 4).to_string());
    std::fs::copy(stage.at("jobs/start.png"), stage.at("jobs/held/start.png")).unwrap();
    stage.drop_into("later", "start.png", super::stage::IMAGE);
    stage.drop_into("later", "j5.json", job("j5", 5).to_string());
    stage.until("both taken", |stage| stage.state(5));
    for name in ["j4", "j5"] {
        assert!(stage.ls().iter().any(|row| row["name"] == name && row["state"] == "held"), "{name}");
    }
    stage.until_state(3, "done");
    stage.run(&["release", "2", "4", "5"]).well();
    all_done(&stage, 5);
    assert_eq!(begun(&stage), [1, 3, 2, 4, 5]);
}

#[test]
fn out_of_memory_is_tried_once_more_alone() {
    let mut stage = Stage::served(&Wish {
        render_seconds: 0.5,
        scenario: "[[fault]]\non = { node = \"UNETLoader\" }\ndo = \"oom\"\n",
        ..Wish::default()
    });
    stage.start_engine();
    drop_jobs(&stage, 3);
    all_done(&stage, 3);
    assert_eq!(stage.attempts(1).len(), 2);
    let order = begun(&stage);
    assert_eq!(order.iter().filter(|id| **id == 1).count(), 2, "{order:?}");
    assert_eq!(order.len(), 4, "nothing else is rendered twice");
    let log = stage.run(&["log", "1"]).well();
    assert!(log.contains("out of memory; tried again") && log.contains("alone"), "{log}");
    // Nothing of ours stood beside the second try.
    let again = stage.attempts(1).pop().unwrap();
    let events: Vec<Value> = ["accepted", "ended"].iter().flat_map(|event| stage.happened(event)).collect();
    let at = |event: &str, of: &dyn Fn(&Value) -> bool| {
        let found = events.iter().filter(|e| e["event"] == event && of(e)).map(|e| e["t"].as_u64().unwrap());
        found.collect::<Vec<_>>()
    };
    let is_it = |e: &Value| e["prompt_id"] == again;
    let (from, to) = (at("accepted", &is_it)[0], at("ended", &is_it)[0]);
    let others = at("accepted", &|e| !is_it(e));
    assert!(others.iter().all(|t| *t < from || *t >= to), "{events:?}");
}

#[test]
fn a_wrong_setting_does_not_burn_the_night() {
    let stage = Stage::with(&Wish::faulty(
        "[[fault]]\non = { node = \"VAEDecode\" }\ntimes = 3\ndo = { node_error = { type = \"RuntimeError\", message = \"boom\" } }\n",
    ));
    drop_jobs(&stage, 5);
    for id in 1..=3 {
        stage.until_state(id, "failed");
    }
    stage.until("a pause", |stage| (flow(stage) == "paused").then_some(()));
    let said = stage.run(&["status"]).out;
    assert!(said.contains("3 jobs failed in a row: a node failed"), "{said}");
    stage.run(&["resume"]).well();
    // What had begun before the pause went on.
    stage.until_state(4, "done");
    stage.until_state(5, "done");
    let shown = stage.show(1);
    assert!(shown.contains("RuntimeError: boom") && shown.contains("nodes.py"), "{shown}");
}

#[test]
fn a_full_disk_pauses_the_queue() {
    let mut stage = Stage::served(&Wish::default());
    stage.configure("[outputs]\nmin_free = 1000000000000000000\n");
    stage.start_engine();
    stage.until("a pause", |stage| (flow(stage) == "paused").then_some(()));
    stage.drop_job("waits", 1);
    stage.until("taken", |stage| stage.state(1));
    let said = stage.run(&["status"]).out;
    assert!(said.contains("free on the disk, min_free is"), "{said}");
    assert!(stage.happened("accepted").is_empty());
    // Who goes on in spite of it means it.
    stage.run(&["resume"]).well();
    stage.until_state(1, "done");
}

#[test]
fn an_engine_comes_back_paused_where_the_config_says_so() {
    let mut stage = Stage::served(&Wish::slow(30.0));
    stage.configure("[queue]\nafter_restart = \"pause\"\n");
    stage.start_engine();
    drop_jobs(&stage, 3);
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    stage.kill_engine();
    stage.start_engine();
    assert_eq!(flow(&stage), "paused");
    stage.until("#2 back", |stage| (stage.state(2)? == "queued").then_some(()));
    stage.run(&["resume"]).well();
    assert_eq!(one_by_one(&stage, 3), [1, 2, 3], "each once");
    assert_eq!(stage.begun().len(), 3);
}

// ---- editing ------------------------------------------------------------------------------------

/// Edits with a script for an editor.
#[cfg(unix)]
fn edit(stage: &Stage, id: u64, script: &str) -> Ran {
    let mut command = stage.command(&["edit", &id.to_string()]);
    command.env("EDITOR", script).env_remove("VISUAL");
    super::stage::ran(command)
}

#[cfg(unix)]
#[test]
fn a_job_that_waits_is_edited_in_place_at_the_server_or_not() {
    let stage = queue(4, 1.0);
    // The image is gone by now: what was kept is used.
    std::fs::remove_file(stage.at("jobs/start.png")).unwrap();
    for id in [2, 4] {
        let said = edit(&stage, id, "sed -i 's/turning a page/closing a book/'");
        assert_eq!(said.well(), format!("#{id} edited\n"));
        let shown = stage.show(id);
        assert!(shown.contains("closing a book"), "{shown}");
    }
    assert_eq!(edit(&stage, 3, "true").well(), "#3 not changed\n");
    all_done(&stage, 4);
    assert_eq!(begun(&stage), [1, 2, 3, 4], "each once, in its place");
    for (id, words) in [(1, "turning a page"), (2, "closing a book"), (3, "turning a page"), (4, "closing a book")] {
        let graph = stage.run(&["show", &id.to_string(), "--graph"]).well();
        assert!(graph.contains(words), "#{id}: {graph}");
    }
}

#[cfg(unix)]
#[test]
fn a_job_that_has_ended_gets_a_new_attempt_when_it_is_edited() {
    let stage = Stage::with(&Wish::default());
    stage.drop_job("loop", 1);
    stage.until_state(1, "done");
    assert_eq!(edit(&stage, 1, "sed -i 's/\"seed\": 1/\"seed\": 2/'").well(), "#1 edited, and queued again\n");
    stage.until("done again", |stage| (stage.begun().len() == 2 && stage.job(1)["state"] == "done").then_some(()));
    assert_eq!(stage.job(1)["seed"], 2);
    assert_eq!(stage.attempts(1).len(), 2);
}

#[cfg(unix)]
#[test]
fn a_text_that_cannot_be_used_changes_nothing_and_is_not_lost() {
    let stage = queue(3, 600.0);
    let before = stage.show(3);
    let said = edit(&stage, 3, "sed -i 's/\"prompt\"/\"promt\"/'");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("did you mean `prompt`?") && said.err.contains('^'), "{}", said.err);
    let path = said.err.lines().last().unwrap().split(" is in ").nth(1).unwrap().to_owned();
    assert!(std::fs::read_to_string(path).unwrap().contains("\"promt\""));
    assert_eq!(stage.show(3), before);
    let broken = edit(&stage, 3, "sh -c 'echo \"{\" > \"$0\"'");
    assert!(broken.code == 1 && broken.err.contains("not JSON"), "{}", broken.err);
    let running = edit(&stage, 1, "sed -i 's/page/book/'");
    assert!(running.code == 1 && running.err.contains("it is running"), "{}", running.err);
}

#[cfg(unix)]
#[test]
fn a_rejected_job_is_mended_by_an_edit() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    let mut wrong = job("loop", 1);
    wrong["promt"] = wrong.as_object_mut().unwrap().remove("prompt").unwrap();
    stage.drop_file("loop.json", wrong.to_string());
    stage.until_state(1, "rejected");
    edit(&stage, 1, "sed -i 's/promt/prompt/'").well();
    stage.until("done", |stage| (stage.job(1)["state"] == "done").then_some(()));
}

// ---- looking after it ---------------------------------------------------------------------------

#[test]
fn the_doctor_looks_at_everything_and_says_what_to_do() {
    let mut stage = Stage::with(&Wish::default());
    stage.drop_job("loop", 1);
    stage.until_state(1, "done");
    let said = stage.run(&["doctor"]);
    for what in [
        "inbox",
        "outputs",
        "store        1 jobs",
        "engine       serves the folder",
        "disk",
        "ComfyUI 0.33.0",
        "ffmpeg",
    ] {
        assert!(said.out.contains(what), "{what}: {}", said.out);
    }
    assert_eq!(said.code, 0, "{}", said.out);
    // Also where only the engine was told of the server.
    let said = stage.plain().arg("--dir").arg(&stage.root).arg("doctor").output().unwrap();
    assert!(String::from_utf8_lossy(&said.stdout).contains("ComfyUI 0.33.0"), "{said:?}");
    stage.stop_engine();
    stage.kill_server();
    let said = stage.run(&["doctor", "--json"]);
    let lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let server = lines.iter().find(|l| l["check"].as_str().unwrap().starts_with("server")).unwrap();
    assert_eq!((said.code, server["level"].as_str()), (1, Some("bad")));
    assert!(server["advice"].as_str().unwrap().contains("--listen"));
}

#[test]
fn cleaning_keeps_what_is_needed_and_says_what_it_would_do() {
    let mut stage = Stage::served(&Wish::default());
    stage.configure("[keep]\ndays = 0\ninputs = 0\n");
    stage.start_engine();
    stage.drop_job("old", 1);
    stage.until_state(1, "done");
    let inputs = || stage.names(".comfytop/inputs").len();
    let pretended = stage.run(&["clean", "--dry-run"]).well();
    assert!(pretended.contains("inputs: 1 files") && pretended.contains("1 posted graphs"), "{pretended}");
    assert_eq!((inputs(), stage.run(&["show", "1", "--graph"]).code), (1, 0));
    // A job that waits needs its picture.
    stage.run(&["pause"]).well();
    stage.drop_job("waits", 2);
    stage.until("taken", |stage| stage.state(2));
    let cleaned = stage.run(&["clean"]).well();
    assert!(!cleaned.contains("inputs") && cleaned.contains("1 posted graphs"), "{cleaned}");
    assert_eq!((inputs(), stage.run(&["show", "1", "--graph"]).code), (1, 1));
    stage.run(&["resume"]).well();
    stage.until_state(2, "done");
    assert_eq!(stage.names("outputs").len(), 2, "outputs are never cleaned");
}

#[test]
fn a_server_that_was_restarted_goes_on_with_a_bare_resume_and_says_why_it_waits() {
    let mut stage = Stage::served(&Wish::slow(600.0));
    stage.configure("[queue]\nafter_restart = \"pause\"\npost_grace = 1\n");
    stage.start_engine();
    drop_jobs(&stage, 3);
    stage.until_state(1, "running");
    stage.kill_server();
    stage.start_server(&Wish::default());
    let said = stage.until("a pause", |stage| Some(stage.run(&["status"]).out).filter(|s| s.contains("paused")));
    assert!(said.contains("paused: it was restarted"), "{said}");
    assert_eq!(flow(&stage), "going", "only the server waits");
    assert_eq!(stage.run(&["resume"]).well(), "going\n");
    all_done(&stage, 3);
}

#[test]
fn a_missing_file_that_every_job_names_fails_a_few_and_the_others_wait() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    let with_lora = |seed| {
        let mut job = job(&format!("l{seed}"), seed);
        job["lora_high"] = json!("nope.safetensors");
        job
    };
    let jobs: Vec<_> = (1..=12).map(with_lora).collect();
    stage.drop_file("many.json", json!(jobs).to_string());
    stage.until("a pause", |stage| (flow(stage) == "paused").then_some(()));
    let said = stage.run(&["status"]).out;
    assert!(said.contains("jobs failed in a row"), "{said}");
    let count = |state: &str| stage.ls().iter().filter(|row| row["state"] == state).count();
    let failed = stage.until("all at rest", |_| Some(count("failed")).filter(|n| n + count("queued") == 12));
    // Two may have been on their way.
    assert!((3..=5).contains(&failed), "{failed} failed");
    stage.run(&["resume"]).well();
    stage.until("three more", |_| (count("failed") > failed && flow(&stage) == "paused").then_some(()));
    assert!(count("failed") <= failed + 5, "{:?}", stage.ls());
}

#[test]
fn priority_and_place_are_told() {
    let stage = queue(4, 600.0);
    stage.run(&["priority", "4", "2"]).well();
    let first = stage.until("#4 in front", |stage| Some(stage.job(4)).filter(|row| row["position"] == 1));
    assert_eq!(first["priority"], 2);
    assert_eq!(stage.job(1)["position"], Value::Null, "it renders");
    stage.until("the others behind it", |stage| {
        (stage.job(2)["position"] == 2 && stage.job(3)["position"] == 3).then_some(())
    });
    let table = stage.run(&["ls"]).well();
    assert!(table.contains(" 1 +2 "), "{table}");
    let shown = stage.show(4);
    assert!(shown.contains("priority     +2"), "{shown}");
}

/// Cleaned, and asked for again: taken anew from where it was, or refused in words.
#[test]
fn a_requeued_job_whose_picture_was_cleaned_away() {
    let mut stage = Stage::served(&Wish::default());
    stage.configure("");
    stage.start_engine();
    stage.drop_job("again", 1);
    stage.until_state(1, "done");
    // Who changes the limits means those: the running engine reads them.
    stage.configure("[keep]\ninputs = 0\nlog = 0\n");
    let cleaned = stage.run(&["clean"]).well();
    assert!(cleaned.contains("inputs: 1 files"), "{cleaned}");
    stage.run(&["requeue", "1"]).well();
    stage.until("done again", |stage| (stage.begun().len() == 2 && stage.job(1)["state"] == "done").then_some(()));
    stage.run(&["clean"]).well();
    std::fs::write(stage.at("jobs/start.png"), b"another picture").unwrap();
    let said = stage.run(&["requeue", "1"]);
    assert!(said.code == 1 && said.err.contains("start.png is not kept any more"), "{said:?}");
    assert_eq!(stage.job(1)["state"], "done");
    stage.configure("[keep]\ninputs = many\n");
    let said = stage.run(&["clean"]);
    assert_eq!(said.code, 2, "nothing is cleaned by limits that can't be read: {said:?}");
}

#[test]
fn what_is_asked_wrongly_is_told_in_whole_sentences() {
    let stage = queue(4, 600.0);
    let said = stage.run(&["move", "4", "--before", "1"]).err;
    assert!(said.contains("#4: not before #1, which is running: only what waits can be moved"), "{said}");
}

/// A folder of workflows that is away for a moment rejects nothing.
#[test]
fn drops_wait_for_workflows_that_cannot_be_read() {
    let stage = Stage::with(&Wish::default());
    std::fs::rename(stage.at("workflows"), stage.at("away")).unwrap();
    stage.drop_job("waits", 1);
    let banner = stage.until("a banner", |stage| {
        let banners = stage.status()["engine"]["banners"].to_string();
        banners.contains("waits.json can't be taken").then_some(banners)
    });
    assert!(banner.contains("workflows") && banner.contains("tried again"), "{banner}");
    assert!(stage.ls().is_empty());
    std::fs::rename(stage.at("away"), stage.at("workflows")).unwrap();
    stage.until_state(1, "done");
}
