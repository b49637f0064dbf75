//! Files dropped into the inbox, and what becomes of them.

use std::fs;

use serde_json::{Value, json};

use super::stage::{IMAGE, Stage, Wish, assert_near, clip_of, job};

/// A job file with its image, from the drop to the last file that it leaves behind.
fn a_dropped_file_ends_as_a_measured_clip(version: &'static str) {
    let stage = Stage::with(&Wish { version, ..Wish::default() });
    stage.drop_job("reading_loop", 120);
    let row = stage.until_state(1, "done");
    let (clip, ssim) = clip_of(120);
    assert_eq!(row["name"], "reading_loop");
    assert_eq!(row["workflow"], "wan2.2-i2v-loop");
    assert_eq!(row["seed"], 120);
    assert_eq!(row["error"], Value::Null);
    assert_near(&row["ssim"], ssim);
    assert_eq!(row["outputs"], json!([{"path": "outputs/reading_loop.mp4", "bytes": clip.len()}]));
    assert!(fs::read(stage.at("outputs/reading_loop.mp4")).unwrap() == clip, "the clip as the server has it");
    for time in ["queued_at", "started_at", "finished_at"] {
        let said = row[time].as_str().unwrap_or_default();
        assert!(said.parse::<jiff::Timestamp>().is_ok() && said.ends_with('Z'), "{time}: {said}");
    }
    assert!(row["elapsed_s"].as_f64().is_some_and(|s| s > 0.0));

    // The file lies in done/, its result beside it; the image stays where it was put.
    stage.until_file("jobs/done/000001-reading_loop.json.result.json");
    assert_eq!(stage.text("jobs/done/000001-reading_loop.json"), job("reading_loop", 120).to_string());
    assert_eq!(stage.names("jobs"), ["done", "examples", "failed", "held", "queued", "start.png"]);
    assert!(stage.names("jobs/queued").is_empty() && stage.names("jobs/failed").is_empty());
    let result: Value = serde_json::from_str(&stage.text("jobs/done/000001-reading_loop.json.result.json")).unwrap();
    assert_eq!(result, json!([row]), "a list with the line of `ls --json`");
    let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    let promised = [
        "id",
        "name",
        "state",
        "cancelling_since",
        "stalled_since",
        "position",
        "priority",
        "workflow",
        "server",
        "seed",
        "group",
        "varies",
        "queued_at",
        "started_at",
        "finished_at",
        "elapsed_s",
        "progress",
        "outputs",
        "repaired",
        "attempt",
        "try",
        "tries",
        "discarded",
        "best",
        "passed",
        "counts",
        "unrepaired",
        "ssim",
        "seam_ratio",
        "motion_ratio",
        "luma_step",
        "chroma_step",
        "doubled",
        "verdict",
        "advice",
        "best_cut",
        "frames",
        "fps",
        "error",
        "not_repaired",
        "note",
    ];
    assert_eq!(keys, promised);

    // The server was given the image, asked once, and told everything that the job said.
    let uploaded = stage.server_files().join("input");
    let uploads: Vec<_> = fs::read_dir(&uploaded).unwrap().flatten().collect();
    assert!(matches!(uploads.as_slice(), [one] if fs::read(one.path()).unwrap() == IMAGE), "{uploads:?}");
    assert_eq!(stage.begun().len(), 1);
    let graph: Value = serde_json::from_str(&stage.run(&["show", "1", "--graph"]).well()).unwrap();
    assert_eq!(graph["13"]["inputs"]["noise_seed"], 120);
    assert_eq!(graph["10"]["inputs"]["text"], "turning a page");
    assert_eq!(graph["1"]["inputs"]["image"], uploads[0].file_name().to_str().unwrap());
    let shown = stage.show(1);
    for words in ["reading_loop", "done", "120", "turning a page", "outputs/reading_loop.mp4", "SSIM 0.85", "33 frames"]
    {
        assert!(shown.contains(words), "{words} in {shown}");
    }
}

#[test]
fn a_dropped_file_ends_as_a_measured_clip_on_0_33_0() {
    a_dropped_file_ends_as_a_measured_clip("0.33.0");
}

#[test]
fn a_dropped_file_ends_as_a_measured_clip_on_0_3_64() {
    a_dropped_file_ends_as_a_measured_clip("0.3.64");
}

#[test]
fn a_list_is_several_jobs_that_are_never_duplicates_of_each_other() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    // The last two are the same, and yet both are wanted: one file asks for both.
    let jobs = json!([job("a", 1), job("b", 2), job("c", 3), job("c", 3)]);
    stage.drop_file("four.json", jobs.to_string());
    for (id, seed) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        let row = stage.until_state(id, "done");
        assert_eq!(row["seed"], seed);
        assert_near(&row["ssim"], clip_of(seed).1);
    }
    stage.until_file("jobs/done/000001-four.json.result.json");
    let result: Value = serde_json::from_str(&stage.text("jobs/done/000001-four.json.result.json")).unwrap();
    let names: Vec<_> = result.as_array().unwrap().iter().map(|job| &job["name"]).collect();
    assert_eq!(names, ["a", "b", "c", "c"]);
    assert_eq!(stage.names("outputs"), ["a.mp4", "b.mp4", "c-2.mp4", "c.mp4"], "nothing is replaced");
    assert_eq!(stage.begun().len(), 4);
    assert_eq!(stage.run(&["wait", "--all"]).code, 0);
}

#[test]
fn what_a_dropped_file_waits_for_is_said() {
    let stage = Stage::with(&Wish::default());
    let banners = |stage: &Stage| stage.status()["engine"]["banners"].to_string();
    stage.drop_file("s1.json", job("s1", 1).to_string());
    stage.until("a banner", |stage| banners(stage).contains("s1.json waits for start.png").then_some(()));
    stage.put_image();
    stage.until_state(1, "done");
    stage.until("no banner", |stage| (banners(stage) == "[]").then_some(()));
    stage.drop_file("s2.json", "{\"workflow\": ");
    stage.until("a banner", |stage| banners(stage).contains("s2.json is not whole yet").then_some(()));
}

#[test]
fn the_log_tells_the_way_of_a_job() {
    let mut stage = Stage::with(&Wish::default());
    stage.put_image();
    stage.drop_file("LOUD.JSON", job("loud", 1).to_string());
    stage.until_state(1, "done");
    let prompt = stage.attempts(1).pop().unwrap();
    stage.kill_server();
    stage.until("the loss", |stage| stage.logged().contains("is away: ").then_some(()));
    stage.stop_engine();
    let log = stage.logged();
    let address = stage.url.trim_start_matches("http://");
    for words in [
        format!("server {address} is there: ComfyUI 0.33.0"),
        "LOUD.JSON is taken: #1".to_owned(),
        format!("#1 is queued at {address} as {prompt}"),
        "#1 loud is done".to_owned(),
        format!("server {address} is away: "),
        "a face asks the engine to stop".to_owned(),
        "engine ends".to_owned(),
    ] {
        assert!(log.contains(&words), "{words} in {log}");
    }
}

#[test]
fn a_picture_is_no_clip_and_yet_no_error() {
    let stage = Stage::with(&Wish::default());
    let graph = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "plain"}},
    });
    stage.drop_file("plain.json", graph.to_string());
    let row = stage.until_state(1, "done");
    assert_eq!((&row["ssim"], &row["error"], &row["note"]), (&Value::Null, &Value::Null, &json!("still image")));
    let shown = stage.show(1);
    assert!(shown.contains("still image") && !shown.contains("error"), "{shown}");
}

#[test]
fn a_graph_in_api_format_is_a_job_as_it_is() {
    let mut graph: Value = serde_json::from_str(include_str!("../../workflows/wan2.2-i2v-loop.json")).unwrap();
    graph["1"]["inputs"]["image"] = json!("from_the_page.png");
    graph["13"]["inputs"]["noise_seed"] = json!(4);
    let mut stage = Stage::bare();
    stage.put_on_server("from_the_page.png");
    stage.start_server(&Wish::default());
    stage.start_engine();
    stage.drop_file("my_export.json", graph.to_string());
    let row = stage.until_state(1, "done");
    assert_eq!((&row["name"], &row["seed"]), (&json!("my_export"), &json!(4)));
    assert_near(&row["ssim"], clip_of(4).1);
    let mut posted: Value = serde_json::from_str(&stage.run(&["show", "1", "--graph"]).well()).unwrap();
    // Its saving node alone is changed, so that no two attempts share a file on the server.
    let saver = posted.as_object().unwrap().iter().find(|(_, n)| n["class_type"] == "SaveVideo").unwrap().0.clone();
    let prefix = posted[&saver]["inputs"]["filename_prefix"].as_str().unwrap().to_owned();
    let theirs = graph[&saver]["inputs"]["filename_prefix"].as_str().unwrap();
    assert_eq!(prefix, format!("{theirs}-{}", &stage.attempts(1)[0][..8]));
    posted[&saver]["inputs"]["filename_prefix"] = json!(theirs);
    assert_eq!(posted, graph);
}

#[test]
fn an_image_may_come_after_its_job_file() {
    let stage = Stage::with(&Wish::default());
    stage.drop_file("early.json", json!({"workflow": "wan2.2-i2v-loop", "image": "late.png", "seed": 5}).to_string());
    // What was dropped later and lacks nothing is through: so the first has been looked at, and waits.
    stage.drop_job("whole", 6);
    stage.until_state(1, "done");
    assert_eq!(stage.inbox(), ["early.json"]);
    assert_eq!(stage.ls().len(), 1);
    stage.drop_file("late.png", IMAGE);
    let row = stage.until_state(2, "done");
    assert_eq!((&row["name"], &row["seed"]), (&json!("early"), &json!(5)));
    stage.until_file("jobs/done/000002-early.json");
}

#[test]
fn an_image_may_be_the_servers_own() {
    let mut stage = Stage::bare();
    stage.put_on_server("theirs.png");
    stage.start_server(&Wish::default());
    // A bare name that is not here either is asked for there, once nothing more is waited for.
    stage.configure("[[inbox]]\npath = \"jobs\"\nmax_settle = 0.2\n");
    stage.start_engine();
    for (name, image, seed) in [("named", "input:theirs.png", 1), ("bare", "theirs.png", 2)] {
        let job = json!({"workflow": "wan2.2-i2v-loop", "image": image, "seed": seed});
        stage.drop_file(&format!("{name}.json"), job.to_string());
        let row = stage.until_state(seed, "done");
        assert_eq!(row["name"], name);
        let graph: Value = serde_json::from_str(&stage.run(&["show", &seed.to_string(), "--graph"]).well()).unwrap();
        assert_eq!(graph["1"]["inputs"]["image"], "theirs.png");
    }
    assert_eq!(fs::read_dir(stage.server_files().join("input")).unwrap().count(), 1, "nothing was uploaded");
}

#[test]
fn a_graph_of_the_page_waits_for_a_server_longer_than_for_anything_else() {
    let mut stage = Stage::bare();
    stage.configure("[[inbox]]\npath = \"jobs\"\nmax_settle = 0.2\n");
    stage.start_engine();
    let page = json!({
        "nodes": [
            {"id": 1, "type": "EmptyImage", "mode": 0, "inputs": [], "widgets_values": [64, 48, 1, 7],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}]},
            {"id": 2, "type": "SaveImage", "mode": 0, "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
             "outputs": [], "widgets_values": ["mine"]},
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]], "version": 0.4,
    });
    stage.drop_file("page.json", page.to_string());
    // One whose picture is missing has been waited for as long as any may be: nothing else is waited for longer.
    let missing = json!({"workflow": "wan2.2-i2v-loop", "image": "sub/never.png"});
    stage.drop_file("torn.json", missing.to_string());
    stage.until_state(1, "rejected");
    assert_eq!(stage.inbox(), ["page.json"]);
    stage.start_server(&Wish::default());
    let row = stage.until_state(2, "done");
    assert_eq!(row["name"], "page");
}

#[test]
fn a_seed_that_is_left_out_is_drawn_and_recorded() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    let mut random = job("chance", 0);
    random.as_object_mut().unwrap().remove("seed");
    stage.drop_file("chance.json", random.to_string());
    let row = stage.until_state(1, "done");
    let seed = row["seed"].as_u64().expect("a seed");
    let graph: Value = serde_json::from_str(&stage.run(&["show", "1", "--graph"]).well()).unwrap();
    assert_eq!(graph["13"]["inputs"]["noise_seed"], seed);
    assert_near(&row["ssim"], clip_of(seed).1);
}

#[test]
fn what_was_in_the_inbox_before_the_engine_is_taken_and_other_files_are_left_alone() {
    let mut stage = Stage::served(&Wish::default());
    fs::create_dir_all(stage.at("jobs/mine")).unwrap();
    stage.drop_file("notes.txt", "mine");
    stage.drop_file("half.json.tmp", "{");
    stage.drop_into("jobs/mine", "other.json", job("other", 1).to_string());
    stage.drop_job("before", 7);
    stage.start_engine();
    stage.until_state(1, "done");
    stage.until_file("jobs/done/000001-before.json");
    assert_eq!(
        stage.names("jobs"),
        ["done", "examples", "failed", "half.json.tmp", "held", "mine", "notes.txt", "queued", "start.png"]
    );
    assert_eq!(stage.names("jobs/mine"), ["other.json"]);
    assert_eq!(stage.ls().len(), 1);
}
