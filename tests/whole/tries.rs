//! `until`, `best_of` and `repair` of a job, on clips that the simulated server gives by the seed: 0 loops, 1 pans away,
//! 2 loops, 5 has four frames too many, 7 brightens.

use serde_json::{Value, json};

use super::stage::{Stage, Wish};

/// A job file's text: this workflow and picture, and these keys.
fn file(more: &Value) -> String {
    let mut job = json!({"workflow": "wan2.2-i2v-loop", "name": "again", "image": "start.png"});
    for (key, value) in more.as_object().expect("an object") {
        job[key] = value.clone();
    }
    job.to_string()
}

fn drop(stage: &Stage, more: &Value) {
    stage.put_image();
    stage.drop_file("again.json", file(more));
}

/// Waits for each try by itself: to measure a clip takes its time.
fn done_after(stage: &Stage, tries: u64) -> Value {
    for number in 2..=tries {
        // it may not be taken yet
        let reached = |stage: &Stage| stage.ls().first().and_then(|row| row["try"].as_u64()).filter(|at| *at >= number);
        stage.until(&format!("try {number}"), reached);
    }
    stage.until_state(1, "done")
}

/// The seeds that the server began to render, by its own log.
fn begun(stage: &Stage) -> usize {
    stage.begun().len()
}

#[test]
fn a_gate_that_fails_twice_passes_at_the_third_try() {
    let stage = Stage::with(&Wish::default());
    drop(&stage, &json!({"until": {"verdict": "loops", "vary": {"seed": [1, 7, 2, 8]}}}));
    let row = done_after(&stage, 3);
    assert_eq!(
        (&row["try"], &row["tries"], &row["best"], &row["passed"]),
        (&json!(3), &json!(4), &json!(3), &json!(true))
    );
    assert_eq!((&row["seed"], &row["verdict"], &row["attempt"]), (&json!(2), &json!("loops"), &json!(3)));
    assert_eq!(begun(&stage), 3);
    let show = stage.show(1);
    assert!(show.contains("until loops: passed at try 3 of 4"), "{show}");
    assert_eq!(show.matches(" outputs/again").count(), 3, "the others stay: {show}");
    let mut slots = show.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert!(slots.any(|line| line == ["seed", "2"]), "that of the attempt that counts: {show}");
    assert_eq!(stage.run(&["wait", "1"]).code, 0);
    let log = stage.run(&["log", "1"]).well();
    assert!(log.contains("another try is made") && log.contains("try 2 of 4; the one before jumps"), "{log}");
    stage.until_file("jobs/done/000001-again.json.result.json");
    let result: Value = serde_json::from_str(&stage.text("jobs/done/000001-again.json.result.json")).expect("JSON");
    assert_eq!((&result[0]["best"], &result[0]["passed"]), (&json!(3), &json!(true)));
}

#[test]
fn where_none_passes_the_best_is_there_and_wait_tells() {
    let stage = Stage::with(&Wish::default());
    drop(&stage, &json!({"until": {"verdict": "loops", "vary": {"seed": [1, 7]}}}));
    let row = done_after(&stage, 2);
    // A step of light is nearer to a loop than a pan.
    assert_eq!(
        (&row["passed"], &row["best"], &row["verdict"], &row["seed"]),
        (&json!(false), &json!(2), &json!("pulses"), &json!(7))
    );
    let wait = stage.run(&["wait", "1"]);
    assert_eq!(wait.code, 1, "{wait:?}");
    assert!(
        wait.err.contains("#1 again: until loops: no try passed (2 of 2); the best is attempt 2: pulses"),
        "{wait:?}"
    );
}

#[test]
fn the_best_of_two_is_rendered_twice() {
    let stage = Stage::with(&Wish::default());
    drop(&stage, &json!({"best_of": 2, "seed": 2}));
    let row = done_after(&stage, 2);
    assert_eq!(
        (&row["try"], &row["tries"], &row["passed"], &row["verdict"]),
        (&json!(2), &json!(2), &Value::Null, &json!("loops"))
    );
    assert_eq!(begun(&stage), 2);
}

#[test]
fn values_are_varied_in_the_graph_that_is_posted() {
    let stage = Stage::with(&Wish::default());
    drop(&stage, &json!({"seed": 1, "until": {"verdict": "loops", "vary": {"length": [33, 65], "13.cfg": [1.5]}}}));
    done_after(&stage, 2);
    assert_eq!(begun(&stage), 2);
    let graph: Value = serde_json::from_str(&stage.run(&["show", "1", "--graph"]).well()).expect("a graph");
    // Both are equal: the first of them counts.
    assert_eq!((&graph["12"]["inputs"]["length"], &graph["13"]["inputs"]["cfg"]), (&json!(33), &json!(1.5)));
    let show = stage.show(1);
    assert!(show.contains("seed 1 · length 65 · 13.cfg 1.5"), "{show}");
}

#[test]
fn what_is_wrong_with_an_until_is_told_with_its_place() {
    let stage = Stage::with(&Wish::default());
    for (more, words) in [
        (json!({"until": {}}), "says not until what"),
        (json!({"until": {"verdict": "jumps"}}), "must be \"loops\", not the text \"jumps\""),
        (json!({"until": {"verdict": "loops", "trys": 3}}), "did you mean `tries`?"),
        (json!({"until": {"ssim": 2}}), "a number above 0, and 1 at most"),
        (json!({"until": {"ssim": 0.8, "vary": {"length": [66]}}}), "`length` in `vary`"),
        (json!({"until": {"ssim": 0.8, "vary": {"lenght": [65]}}}), "`lenght`"),
        (json!({"length": 65, "until": {"ssim": 0.8, "vary": {"length": [65]}}}), "stands in `vary` and beside it"),
        (json!({"until": {"ssim": 0.8}, "best_of": 3}), "leave one out"),
        (json!({"best_of": 1}), "between 2 and 100"),
        (json!({"repair": "yes"}), "must be \"auto\" or \"none\""),
    ] {
        let path = stage.temp().join("wrong.json");
        stage.put_image();
        std::fs::write(&path, file(&more)).expect("written");
        let checked = stage.run(&["check", path.to_str().expect("UTF-8")]);
        assert!(
            checked.code != 0 && format!("{checked:?}").contains(&words.replace('"', "\\\"")),
            "{more}: {checked:?}"
        );
    }
}

/// Whether there is a live ffmpeg: copies are written by it.
fn has_ffmpeg() -> bool {
    let found = std::process::Command::new("ffmpeg").arg("-version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "CI has ffmpeg");
    found
}

#[test]
fn what_is_advised_is_done_at_once_and_measured_again() {
    if !has_ffmpeg() {
        eprintln!("no ffmpeg: not tested");
        return;
    }
    let stage = Stage::with(&Wish::default());
    drop(&stage, &json!({"seed": 5, "repair": "auto", "until": {"verdict": "loops"}}));
    let row = stage.until_state(1, "done");
    // The numbers are of the file that passed, as the list shows it; those of the output beside it stay.
    assert_eq!((&row["passed"], &row["try"], &row["verdict"]), (&json!(true), &json!(1), &json!("loops")));
    assert_eq!((&row["counts"], &row["ssim"]), (&row["repaired"][0]["path"], &row["repaired"][0]["ssim"]));
    assert_eq!(
        (&row["unrepaired"]["verdict"], &row["unrepaired"]["path"]),
        (&json!("nearly"), &row["outputs"][0]["path"])
    );
    let [copy] = row["repaired"].as_array().expect("a list").as_slice() else { panic!("{row}") };
    assert_eq!((&copy["how"], &copy["verdict"]), (&json!("cut"), &json!("loops")));
    let outputs = row["outputs"].as_array().expect("a list");
    assert_eq!((outputs.len(), &outputs[1]["path"]), (2, &copy["path"]));
    for output in outputs {
        assert!(stage.at(output["path"].as_str().expect("a path")).is_file(), "{output}");
    }
}

#[test]
fn without_ffmpeg_a_repair_says_what_to_install() {
    let mut stage = Stage::served(&Wish::default());
    stage.start_engine_with(&[("COMFYTOP_FFMPEG", "no-such-program")]);
    drop(&stage, &json!({"seed": 5, "repair": "auto"}));
    let row = stage.until_state(1, "done");
    assert_eq!(row["repaired"], json!([]));
    let note = row["note"].as_str().expect("a note");
    assert!(note.contains("not repaired: ffmpeg is needed") && note.contains("apt install ffmpeg"), "{note}");
}

/// The gate counts as met, and nobody can overlook that the cut is missing.
#[test]
fn a_gate_met_without_ffmpeg_says_that_the_cut_is_missing() {
    let mut stage = Stage::served(&Wish::default());
    stage.start_engine_with(&[("COMFYTOP_FFMPEG", "no-such-program")]);
    drop(&stage, &json!({"seed": 5, "repair": "auto", "until": {"verdict": "loops"}}));
    let row = stage.until_state(1, "done");
    assert_eq!((&row["passed"], &row["try"]), (&json!(true), &json!(1)));
    let wait = stage.run(&["wait", "1"]);
    let words = "#1 again: the repair that it asks for was not made (`until` counts as met by that): ffmpeg is needed";
    assert!(wait.code == 0 && wait.err.contains(words) && wait.err.contains("apt install ffmpeg"), "{wait:?}");
    let ls = stage.run(&["ls"]).well();
    assert!(ls.contains("done, unrepaired"), "{ls}");
    let show = stage.show(1);
    assert!(show.contains("by a cut that was not made") && show.contains("unrepaired ffmpeg is needed"), "{show}");
}

#[cfg(unix)]
fn discard(stage: &Stage, job: u64, attempt: u32) {
    mark(stage, job, attempt, Some(comfytop::job::Mark::Discarded), "is discarded");
}

/// By a face, as the ranking does it.
#[cfg(unix)]
fn mark(stage: &Stage, job: u64, attempt: u32, mark: Option<comfytop::job::Mark>, told: &str) {
    use std::io::{BufRead as _, Write as _};
    let folders = [stage.temp().with_file_name("home").join("state/comfytop"), stage.temp()];
    let files = folders.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let socket = files.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|ending| ending == "sock"));
    let mut stream = std::os::unix::net::UnixStream::connect(socket.expect("a socket")).expect("an engine");
    let hello = serde_json::to_value(comfytop::protocol::FromFace::Hello(comfytop::link::hello(false, false, None)));
    let request = comfytop::protocol::Request::Mark { attempts: vec![(comfytop::job::JobId(job), attempt)], mark };
    let ask = serde_json::to_value(comfytop::protocol::FromFace::Ask { id: 1, request });
    for line in [hello, ask] {
        writeln!(stream, "{}", line.expect("JSON")).expect("sent");
    }
    let mut answers = std::io::BufReader::new(stream).lines().map_while(Result::ok);
    assert!(answers.any(|line| line.contains(told)), "not marked: {told}");
}

#[cfg(unix)]
#[test]
fn a_job_takes_what_is_left_of_another_and_is_refused_where_all_is_discarded() {
    let stage = Stage::with(&Wish::default());
    drop(&stage, &json!({"until": {"verdict": "loops", "vary": {"seed": [1, 7]}}}));
    let row = done_after(&stage, 2);
    discard(&stage, 1, 2);
    let next = |seed: u64| {
        json!({"workflow": "wan2.2-i2v-loop", "name": "next", "image": "job:again", "seed": seed}).to_string()
    };
    stage.drop_file("next.json", next(2));
    stage.until_state(2, "done");
    assert_eq!(row["attempt"], 2);
    discard(&stage, 1, 1);
    let wait = stage.run(&["wait", "1"]);
    assert!(wait.code == 1 && wait.err.contains("all its attempts are discarded"), "{wait:?}");
    let begun_before = begun(&stage);
    stage.drop_file("last.json", next(0));
    let row = stage.until_state(3, "failed");
    let error = row["error"].as_str().expect("words");
    assert!(error.contains("all that #1 again made is discarded"), "{error}");
    assert_eq!(begun(&stage), begun_before, "it was not posted");
}

/// Another's file has the name: it stays, and so does what was marked before.
#[cfg(unix)]
#[test]
fn a_file_in_the_way_of_an_attempt_leaves_its_mark_as_it_was() {
    let mut stage = Stage::with(&Wish::default());
    drop(&stage, &json!({"seed": 5}));
    let row = stage.until_state(1, "done");
    let here = row["outputs"][0]["path"].as_str().expect("a path").to_owned();
    let there = here.replace("outputs/", "outputs/.discarded/000001-1-");
    let is_now = |stage: &Stage, path: &str, discarded: bool| {
        let row = stage.job(1);
        row["outputs"][0]["path"] == path && row["discarded"] == discarded && stage.at(path).is_file()
    };
    std::fs::create_dir_all(stage.at("outputs/.discarded")).expect("made");
    std::fs::write(stage.at(&there), "another's").expect("written");
    discard(&stage, 1, 1);
    stage.until("the mark taken back", |stage| is_now(stage, &here, false).then_some(()));
    for _ in 0..2 {
        assert!(is_now(&stage, &here, false), "{}", stage.job(1));
        stage.stop_engine();
        stage.start_engine();
    }
    assert_eq!(stage.text(&there), "another's");
    std::fs::remove_file(stage.at(&there)).expect("removed");
    discard(&stage, 1, 1);
    stage.until("discarded", |stage| is_now(stage, &there, true).then_some(()));
    std::fs::write(stage.at(&here), "another's").expect("written");
    mark(&stage, 1, 1, None, "is back");
    stage.until("the mark taken back", |stage| is_now(stage, &there, true).then_some(()));
    for _ in 0..2 {
        assert!(is_now(&stage, &there, true), "{}", stage.job(1));
        stage.stop_engine();
        stage.start_engine();
    }
    assert_eq!(stage.text(&here), "another's");
}
