//! Job files of all kinds, on the simulated server, as a person would use them.

use std::fs;

use serde_json::{Value, json};

use super::stage::{IMAGE, Stage, Wish, job};

fn graph_of(stage: &Stage, id: u64) -> Value {
    serde_json::from_str(&stage.run(&["show", &id.to_string(), "--graph"]).well()).expect("a graph")
}

fn uploads(stage: &Stage) -> Vec<String> {
    let entries = fs::read_dir(stage.server_files().join("input")).expect("there").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_spreadsheet_is_a_night_of_jobs_and_its_picture_is_uploaded_once() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    stage.drop_file("night.csv", "workflow,name,image,prompt,seed,length\nwan2.2-i2v-loop,a,start.png,\"one, two\",1,33\nwan2.2-i2v-loop,b,start.png,three,2,\n");
    for id in [1, 2] {
        stage.until_state(id, "done");
    }
    assert_eq!(graph_of(&stage, 1)["10"]["inputs"]["text"], "one, two");
    assert_eq!(graph_of(&stage, 1)["12"]["inputs"]["length"], 33);
    stage.until_file("jobs/done/000001-night.csv");
    let there = uploads(&stage);
    assert_eq!(there.len(), 1, "{there:?}");
    assert!(
        there[0].len() == 36 && there[0].rsplit_once('.').is_some_and(|(_, ending)| ending == "png"),
        "under its hash: {there:?}"
    );
}

#[test]
fn a_sweep_is_listed_cancelled_and_held_as_one() {
    let stage = Stage::with(&Wish::slow(60.0));
    stage.put_image();
    stage.drop_file(
        "sweep.toml",
        "workflow = \"wan2.2-i2v-loop\"\nname = \"cat\"\nimage = \"start.png\"\nseed = [1, 2, 3]\n",
    );
    let rows = stage.until("three jobs", |stage| Some(stage.ls()).filter(|rows| rows.len() == 3));
    assert!(rows.iter().all(|row| row["group"] == 1), "{rows:?}");
    assert_eq!(rows[2]["varies"], json!({"seed": 3}));
    stage.until_state(1, "running");
    stage.run(&["hold", "3", "--group"]);
    stage.until_state(3, "held");
    stage.run(&["release", "1", "--group"]);
    stage.until("released", |stage| stage.state(3).filter(|state| state != "held"));
    stage.run(&["cancel", "2", "--group"]).well();
    for id in [1, 2, 3] {
        stage.until_state(id, "cancelled");
    }
}

#[test]
fn a_job_takes_what_another_gave() {
    let stage = Stage::with(&Wish::default());
    let still = json!({
        "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 7}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "still"}},
    });
    let clip = json!({"workflow": "wan2.2-i2v-loop", "name": "clip", "image": "job:still", "seed": 5});
    stage.drop_file("two.json", json!([{"workflow": still, "name": "still"}, clip]).to_string());
    stage.until_state(2, "done");
    assert_eq!(stage.state(1).as_deref(), Some("done"));
    assert_eq!(uploads(&stage), [graph_of(&stage, 2)["1"]["inputs"]["image"].as_str().expect("a name")]);
}

/// The way to a longer clip: the next one begins with the last frame.
#[test]
fn a_picture_slot_takes_the_last_frame_of_an_earlier_clip() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    let next = json!({"workflow": "wan2.2-i2v-loop", "name": "next", "image": "job:first", "seed": 5});
    stage.drop_file("chain.json", json!([job("first", 120), next]).to_string());
    stage.until_state(2, "done");
    let name = graph_of(&stage, 2)["1"]["inputs"]["image"].as_str().expect("a name").to_owned();
    let png = image::open(stage.server_files().join("input").join(&name)).expect("a picture").to_rgb8();

    let clip = stage.at(stage.job(1)["outputs"][0]["path"].as_str().expect("a path"));
    let limits = comfytop::video::Limits::default();
    let (last, _) = comfytop::video::last_and_first(&clip, &limits).expect("decoded");
    assert_eq!((png.width(), png.height()), (last.width(), last.height()));
    let [red, green, blue] = last.planes();
    let packed: Vec<u8> = red.iter().zip(green).zip(blue).flat_map(|((r, g), b)| [*r, *g, *b]).collect();
    assert!(png.into_raw() == packed, "the last frame, as it was decoded");
}

/// `scp` brings a graph before the picture that it names; what only the server has is not waited for.
#[test]
fn a_graph_waits_for_its_picture_unless_the_server_has_it() {
    let mut stage = Stage::bare();
    stage.put_on_server("theirs.png");
    stage.start_server(&Wish::default());
    stage.start_engine();
    let graph = |image: &str| {
        json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": image}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        })
    };
    stage.drop_file("a.json", graph("mine.png").to_string());
    stage.until("told", |stage| {
        stage.status()["engine"]["banners"].to_string().contains("waits for mine.png").then_some(())
    });
    assert!(stage.ls().is_empty());
    stage.drop_file("b.json", graph("theirs.png").to_string());
    stage.until_state(1, "done");
    assert_eq!((&stage.job(1)["name"], stage.names("jobs/queued").len()), (&json!("b"), 0));

    stage.drop_file("mine.png", IMAGE);
    stage.until_state(2, "done");
    let brought = graph_of(&stage, 2)["1"]["inputs"]["image"].as_str().expect("a name").to_owned();
    assert_eq!(fs::read(stage.server_files().join("input").join(brought)).expect("there"), IMAGE);
}

/// What a job file names is an input, also where it comes later and would be a job by itself.
#[test]
fn pictures_that_a_waiting_file_names_are_no_jobs() {
    let mut stage = Stage::served(&Wish::default());
    stage.configure("[[inbox]]\npath = \"jobs\"\nworkflow = \"wan2.2-i2v-loop\"\nslot = \"image\"\n");
    stage.start_engine();
    let of = |image: &str| json!({"workflow": "wan2.2-i2v-loop", "image": image, "seed": 5, "hold": true});
    stage.drop_file("two.json", json!([of("one.png"), of("two.png")]).to_string());
    stage.until("told", |stage| {
        stage.status()["engine"]["banners"].to_string().contains("waits for one.png").then_some(())
    });
    stage.drop_file("two.png", IMAGE);
    stage.drop_file("one.png", IMAGE);
    stage.until_state(2, "held");
    assert_eq!(stage.ls().len(), 2, "{:?}", stage.ls());
    assert_eq!(stage.inbox(), ["one.png", "two.png"]);
}

#[test]
fn a_picture_dropped_into_an_inbox_with_a_profile_is_a_clip() {
    let mut stage = Stage::served(&Wish::default());
    stage.configure(
        "[[inbox]]\npath = \"jobs\"\n[[inbox]]\npath = \"portraits\"\nworkflow = \"wan2.2-i2v-loop\"\nslot = \"image\"\nslots = { prompt = \"breathing\" }\n",
    );
    stage.start_engine();
    stage.drop_into("portraits", "ada.png", IMAGE);
    let row = stage.until_state(1, "done");
    assert_eq!((&row["name"], &row["workflow"]), (&json!("ada"), &json!("wan2.2-i2v-loop")));
    assert_eq!(graph_of(&stage, 1)["10"]["inputs"]["text"], "breathing");
    stage.until_file("portraits/done/000001-ada.png");
    stage.until_file("portraits/done/000001-ada.png.result.json");
    assert_eq!(fs::read(stage.at("portraits/done/000001-ada.png")).expect("there"), IMAGE);
}

#[test]
fn what_the_server_would_refuse_is_told_before_anything_is_sent() {
    let stage = Stage::with(&Wish::default());
    stage.put_image();
    let mut bad = job("bad", 1);
    bad["set"] = json!({"13.cfg": 1000.0, "14.sampler_name": "eular"});
    stage.drop_file("bad.json", bad.to_string());
    stage.until_state(1, "failed");
    stage.until_file("jobs/failed/000001-bad.json.error.txt");
    let told = stage.text("jobs/failed/000001-bad.json.error.txt");
    for words in ["`cfg` must be from 0.0 to 100.0", "`sampler_name`", "did you mean `euler`", "Not sent to"] {
        assert!(told.contains(words), "{words} in\n{told}");
    }
    assert!(stage.happened("accepted").is_empty() && uploads(&stage).is_empty());
}

/// A person with a graph as ComfyUI's page saves it, and a picture.
#[test]
fn a_graph_of_the_page_and_a_picture_are_enough() {
    let stage = Stage::with(&Wish::default());
    let page = json!({
        "nodes": [
            {"id": 1, "type": "LoadImage", "inputs": [], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}], "widgets_values": ["mine.png", "image"], "mode": 0},
            {"id": 2, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "outputs": [], "widgets_values": ["again"], "mode": 0},
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "version": 0.4,
    });
    stage.drop_file("mine.png", IMAGE);
    stage.drop_file("mine.json", page.to_string());
    stage.until_state(1, "done");
    assert_eq!(uploads(&stage), [graph_of(&stage, 1)["1"]["inputs"]["image"].as_str().expect("a name")]);
    stage.until_file("jobs/done/000001-mine.json");
}

/// Faults of the file, of its slots, of its inputs, and what the server would refuse: none hides another.
#[test]
fn all_that_is_wrong_with_a_file_is_told_at_once() {
    let stage = Stage::with(&Wish::default());
    let wrong = r#"[{"workflow": "wan2.2-i2v-loop", "image": "none.png",
  "priority": "high",
  "lenght": 5, "set": {"nodot": 1}},
 {"workflow": {"1": {"class_type": "EmptyImage", "inputs": {"batch_size": 1, "color": 0, "height": 64,
   "width": 70000}},
  "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}},
  "nonesuch": 1},
 {"workflow": {"2": {"class_type": "SaveImage", "inputs": {
   "images": ["9", 0], "filename_prefix": "x"}}},
  "name": "a", "name": "b", "after": "c"},
 {"workflow": "wan2.2-i2v-loop", "image": "input:gone.png", "name": "c"}]"#;
    fs::write(stage.at("wrong.json"), wrong).expect("written");
    let told = stage.run(&["check", &stage.at("wrong.json").display().to_string()]);
    let of_file = [
        "1:34: there is no file",
        "2:3: `priority` must be",
        "3:3: no slot `lenght` in",
        "3:24: `nodot` names no input",
        "7:3: no slot `nonesuch` in",
        "9:4: node 2 (SaveImage) takes its `images` from node 9",
        "10:16: `name` stands twice",
        "10:29: `c` does not stand before this job in the file",
    ];
    let more = [
        "5:4: the server would refuse it: EmptyImage (1): `width` must be from 1 to 16384",
        "11:34: `gone.png` is not among the server's inputs",
    ];
    for words in of_file.iter().chain(&more) {
        assert!(told.out.contains(&format!("wrong.json:{words}")), "{words} in\n{}", told.out);
    }
    assert_eq!(told.out.matches("wrong.json:").count(), of_file.len() + more.len(), "nothing else in\n{}", told.out);

    // dropped, it is refused for all that its text tells
    stage.drop_file("wrong.json", wrong);
    stage.until_state(1, "rejected");
    stage.until_file("jobs/failed/000001-wrong.json.error.txt");
    let error = stage.text("jobs/failed/000001-wrong.json.error.txt");
    for words in of_file {
        let (line, rest) = words.split_once(':').expect("a line");
        let (column, words) = rest.split_once(": ").expect("a column");
        assert!(error.contains(&format!("line {line}, column {column}: {words}")), "{words} in\n{error}");
    }
    let lines = error.lines().filter_map(|line| line.strip_prefix("line ")?.split(',').next()?.parse::<u32>().ok());
    assert!(lines.is_sorted(), "in the order of the file:\n{error}");
}

/// Of a graph of the page, too, each fault stands where its node does.
#[test]
fn faults_of_a_graph_of_the_page_have_their_places() {
    let stage = Stage::served(&Wish::default());
    stage.configure("");
    let page = r#"{"nodes": [
  {"id": 4, "type": "EmptyImage", "mode": 0, "inputs": [], "widgets_values": [0, 64, 1, 0],
   "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}]},
  {"id": 7, "type": "SaveImage", "mode": 0, "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
   "outputs": [], "widgets_values": ["x"]}],
 "links": [[1, 4, 0, 7, 0, "IMAGE"]]}"#;
    let check = |name: &str, text: &str| {
        fs::write(stage.at(name), text).expect("written");
        stage.run(&["check", &stage.at(name).display().to_string()]).out
    };
    let told = check("page.json", page);
    assert!(told.contains("page.json:2:3: the server would refuse it: Empty Image (4): `width`"), "{told}");
    let under = check("under.json", &format!("{{\"name\": \"a\",\n\"workflow\": {page}}}"));
    assert!(under.contains("under.json:3:3: the server would refuse it: Empty Image (4): `width`"), "{under}");
    let unknown = check("unknown.json", &page.replace("EmptyImage", "EmptyImag").replace("SaveImage", "SavImage"));
    assert!(unknown.contains("unknown.json:2:3: node 4 (EmptyImag): the server has no node class"), "{unknown}");
    assert!(unknown.contains("unknown.json:4:3: node 7 (SavImage): the server has no node class"), "{unknown}");
}

/// A picture that a graph names may be the server's: it is asked, and its own words would not tell what to do.
#[test]
fn a_graph_whose_picture_is_nowhere_is_not_posted() {
    let stage = Stage::with(&Wish::default());
    let graph = r#"{"1": {"class_type": "LoadImage", "inputs": {"image": "gone.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}}"#;
    fs::write(stage.at("gone.json"), graph).expect("written");
    stage.run(&["add", &stage.at("gone.json").display().to_string()]).well();
    stage.until_state(1, "failed");
    let told = stage.show(1);
    for words in ["`gone.png` is neither beside the job file nor among the server's inputs", "Put the file beside"] {
        assert!(told.contains(words), "{words} in\n{told}");
    }
    assert!(stage.happened("accepted").is_empty());
}

#[test]
fn the_verbs_about_job_files_and_workflows() {
    let stage = Stage::served(&Wish::default());
    stage.configure("");
    fs::write(stage.at("start.png"), IMAGE).expect("written");
    let path = |name: &str| stage.at(name).display().to_string();

    // what comes with the program, as no engine has made the folder yet
    assert!(!stage.at("workflows").exists());
    let listed = stage.run(&["workflow", "ls"]).well();
    assert!(listed.contains("wan2.2-i2v-loop") && listed.contains("slots: image, prompt"), "{listed}");
    let shown = stage.run(&["workflow", "show", "wan2.2-i2v"]).well();
    assert!(shown.contains("length") && shown.contains("a whole number from 5 to 1025, 4n+1 · 129"), "{shown}");
    fs::write(stage.at("graph.json"), include_str!("../../workflows/wan2.2-i2v.json")).expect("written");
    let inferred = stage.run(&["workflow", "infer", &path("graph.json")]).well();
    assert!(inferred.contains("name = \"lora_high\"") && inferred.contains("times = 0.5"), "{inferred}");

    stage.run(&["new", "wan2.2-i2v", "-o", &path("mine.toml")]).well();
    assert_ne!(stage.run(&["new", "wan2.2-i2v", "-o", &path("mine.toml")]).code, 0, "nothing is replaced");
    fs::create_dir_all(stage.at("jobs")).expect("made");
    let inbox = stage.run(&["new", "wan2.2-i2v", "-o", &path("jobs/mine.toml")]);
    assert!(inbox.code != 0 && inbox.err.contains("is an inbox"), "{}", inbox.err);
    let other = stage.run(&["new", "wan2.2-i2v", "-o", &path("mine.json")]);
    assert!(other.code != 0 && other.err.contains("mine.toml"), "{}", other.err);
    let text = fs::read_to_string(stage.at("mine.toml")).expect("there");
    let image = text.lines().find(|line| line.starts_with("image = ")).expect("to be filled").to_owned();
    fs::write(stage.at("mine.toml"), text.replace(&image, "image = \"start.png\"\nseed = 5")).expect("written");
    let checked = stage.run(&["check", &path("mine.toml")]).well();
    assert!(checked.contains("1 job, nothing wrong"), "{checked}");
    fs::write(stage.at("same.json"), r#"{"workflow": "wan2.2-i2v", "image": "start.png", "seed": 5, "repeat": 4}"#)
        .expect("written");
    let same = stage.run(&["check", &path("same.json")]).well();
    assert!(same.contains("same.json:1:") && same.contains("renders the same 4 times"), "{same}");
    let dry = stage.run(&["add", "--dry-run", &path("mine.toml")]).well();
    assert!(dry.contains("13.noise_seed") && dry.contains("→ 5") && dry.contains("start.png (uploaded)"), "{dry}");

    fs::write(stage.at("bad.json"), "[{\"workflow\": \"wan2.2-i2v\", \"image\": \"none.png\"},\n {\"workflow\": \"wan2.2-i2v\", \"imgae\": \"start.png\", \"length\": 6}]").expect("written");
    let told = stage.run(&["check", &path("bad.json")]);
    assert_eq!(told.code, 1);
    for words in [
        "bad.json:1:29: there is no file",
        "bad.json:2:29: no slot `imgae`",
        "did you mean `image`?",
        "bad.json:2:51: `length` must be 4n+1",
        "`image` is missing",
        "^",
    ] {
        assert!(told.out.contains(words), "{words} in\n{}", told.out);
    }

    let carrying = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/media/carrying/video.mp4");
    let graph: Value = serde_json::from_str(&stage.run(&["extract", carrying]).well()).expect("a graph");
    assert_eq!(graph["3"]["inputs"]["seed"], u64::MAX);
    let bare = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/media/carrying/bare.png");
    assert_eq!(stage.run(&["extract", bare]).code, 1);
    assert!(!stage.is_served(), "none of them starts an engine");
}
