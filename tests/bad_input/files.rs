//! Job files, workflows and inboxes that can't be used.

use std::fs;

use serde_json::{Value, json};

use crate::stage::{Stage, Wish, assert_harmless, job};

/// With an inbox that waits for nothing for long.
fn impatient(wish: &Wish) -> Stage {
    let mut stage = Stage::served(wish);
    stage.configure("[[inbox]]\npath = \"jobs\"\nmax_settle = 0.3\n");
    stage.start_engine();
    stage
}

/// Drops the file, and sees that it is put aside as `ending` with these words, wherever people look for them.
#[track_caller]
fn put_aside(stage: &Stage, ending: &str, name: &str, content: &[u8], words: &[&str]) {
    let id = stage.ls().len() as u64 + 1;
    stage.drop_file(name, content);
    let row = stage.until_state(id, ending);
    let kept = format!("jobs/failed/{id:06}-{name}");
    stage.until_file(&format!("{kept}.error.txt"));
    let error = stage.text(&format!("{kept}.error.txt"));
    let shown = stage.show(id);
    for words in words {
        assert!(error.contains(words), "{name}: `{words}` is not in the error file:\n{error}");
        assert!(shown.contains(words), "{name}: `{words}` is not in:\n{shown}");
    }
    assert!(row["error"].as_str().is_some_and(|error| words.iter().any(|w| error.contains(w))), "{name}: {row}");
    assert!(error.contains("drop it into the inbox again"), "how to go on: {error}");
    assert_harmless(&error);
    assert_harmless(&shown);
    assert!(fs::read(stage.at(&kept)).expect("kept") == content, "{name} is kept as it was");
    assert!(stage.inbox().is_empty(), "{:?}", stage.inbox());
}

#[track_caller]
fn rejected(stage: &Stage, name: &str, content: &[u8], words: &[&str]) {
    put_aside(stage, "rejected", name, content, words);
}

#[test]
fn what_is_not_json_is_rejected_with_its_place() {
    let stage = impatient(&Wish::default());
    let deep = "[".repeat(200_000);
    let cases: &[(&str, &[u8], &[&str])] = &[
        (
            "torn.json",
            b"{\"workflow\": \"wan2.2-i2v-loop\",\n \"seed\": 1",
            &["line 2, column 10", "not JSON", "ends too early", "2 |  \"seed\": 1"],
        ),
        ("comma.json", b"{\"seed\": 1,}", &["line 1, column 12", "take the last comma away"]),
        ("python.json", b"{\"seed\": None}", &["line 1, column 10", "JSON knows only"]),
        ("quotes.json", "{“seed”: 1}".as_bytes(), &["straight double quotes"]),
        ("empty.json", b"", &["the file is empty"]),
        ("blank.json", b" \n\t\n", &["the file is empty"]),
        ("binary.json", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &["the file is binary"]),
        ("latin1.json", b"{\"prompt\": \"caf\xe9\"}", &["not UTF-8", "line 1"]),
        ("utf16.json", b"\xff\xfe{\0}\0", &["UTF-16", "save it as UTF-8"]),
        ("deep.json", deep.as_bytes(), &["not JSON", "recursion limit"]),
    ];
    for (name, content, words) in cases {
        rejected(&stage, name, content, words);
    }
    assert!(stage.happened("accepted").is_empty());
}

#[test]
fn json_of_the_wrong_shape_is_rejected() {
    let stage = impatient(&Wish::default());
    let cases: &[(&str, &str, &[&str])] = &[
        ("number.json", "42", &["a job is an object, {…}, not the number 42"]),
        ("list.json", "[1, 2]", &["a job is an object"]),
        ("none.json", "[]", &["the list holds no jobs"]),
        ("hollow.json", "{}", &["the job is empty"]),
        ("page.json", "{\"nodes\": [], \"links\": []}", &["the graph has no nodes"]),
        (
            "until.json",
            "{\"workflow\": \"wan2.2-i2v-loop\", \"until\": {}}",
            &["`until` says not until what", "line 1"],
        ),
        (
            "passwd.json",
            "{\"workflow\": \"wan2.2-i2v-loop\", \"image\": \"../notes\", \"prompt\": \"x\"}",
            &["`../notes` is a text, not a picture"],
        ),
        (
            "name.json",
            "{\"workflow\": \"wan2.2-i2v-loop\", \"name\": 5}",
            &["`name` must be a text", "`image` is missing"],
        ),
        ("noflow.json", "{\"seed\": 5}", &["`workflow` is missing", "wan2.2-i2v, wan2.2-i2v-loop"]),
    ];
    fs::write(stage.at("notes"), "root:x:0:0:root:/root:/bin/bash\n").expect("written");
    for (name, content, words) in cases {
        rejected(&stage, name, content.as_bytes(), words);
    }
}

#[test]
fn a_job_that_does_not_fit_its_workflow_is_rejected_with_what_would_fit() {
    let stage = impatient(&Wish::default());
    stage.put_image();
    let with = |key: &str, value: Value| {
        let mut job = job("x", 1);
        job[key] = value;
        job.to_string()
    };
    let cases: &[(&str, String, &[&str])] = &[
        (
            "flow.json",
            with("workflow", json!("wan2.2-i2v-lop")),
            &["no workflow `wan2.2-i2v-lop`", "did you mean `wan2.2-i2v-loop`", "wan2.2-i2v, "],
        ),
        ("path.json", with("workflow", json!("../secret")), &["is no name of a workflow"]),
        (
            "slot.json",
            with("sed", json!(1)),
            &["no slot `sed` in `wan2.2-i2v-loop`", "did you mean `seed`", "image, prompt, negative, seed"],
        ),
        ("type.json", with("seed", json!("abc")), &["`seed`", "line 1"]),
        ("below.json", with("width", json!(-16)), &["`width`"]),
        ("rule.json", with("length", json!(130)), &["`length`", "4"]),
        ("text.json", with("prompt", json!(["a"])), &["`prompt`"]),
        ("node.json", with("set", json!({"99.cfg": 1.0})), &["node 99, which is not in `wan2.2-i2v-loop`"]),
        ("input.json", with("set", json!({"14.cgf": 1.0})), &["did you mean `cfg`"]),
        ("server.json", with("server", json!("attic")), &["no server `attic`"]),
        ("image.json", with("image", json!(7)), &["`image`"]),
    ];
    for (name, content, words) in cases {
        rejected(&stage, name, content.as_bytes(), words);
    }
    // Every fault at once, and a good job in the same file is not dragged along.
    let mixed = json!([job("good", 1), {"workflow": "wan2.2-i2v-loop", "image": "start.png", "sed": 1, "promt": "a"}]);
    let first = stage.ls().len() as u64 + 1;
    stage.drop_file("mixed.json", format!("{mixed:#}"));
    stage.until_state(first, "done");
    let row = stage.until_state(first + 1, "rejected");
    assert!(row["error"].as_str().unwrap().starts_with("line "), "{row}");
    stage.until_file(&format!("jobs/failed/{first:06}-mixed.json.error.txt"));
    let error = stage.text(&format!("jobs/failed/{first:06}-mixed.json.error.txt"));
    for words in ["good is done", "did you mean `seed`", "did you mean `prompt`"] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_image_that_is_nowhere_is_named() {
    let stage = impatient(&Wish::default());
    let with = |image: &str| json!({"workflow": "wan2.2-i2v-loop", "image": image, "seed": 1}).to_string();
    rejected(
        &stage,
        "path.json",
        with("sub/none.png").as_bytes(),
        &["there is no file", "jobs/sub/none.png", "line 1"],
    );
    // A bare name could be one of the server's: it is asked.
    put_aside(
        &stage,
        "failed",
        "bare.json",
        with("none.png").as_bytes(),
        &["`none.png` is neither beside the job file nor among the server's inputs"],
    );
    put_aside(
        &stage,
        "failed",
        "named.json",
        with("input:none.png").as_bytes(),
        &["the server has no input `none.png`", "ComfyUI's input folder"],
    );
    assert!(stage.begun().is_empty());
}

#[test]
fn a_file_that_is_too_big_is_not_read() {
    let stage = impatient(&Wish::default());
    let mut big = b"{\"workflow\": \"".to_vec();
    big.resize((4 << 20) + 1, b'a');
    rejected(&stage, "big.json", &big, &["4 MiB"]);
    // The verb as well.
    let path = stage.at("big.json");
    fs::write(&path, &big).unwrap();
    let ran = stage.run(&["add", path.to_str().unwrap()]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("too many"), "{}", ran.err);
    // What is just not too big is read.
    stage.put_image();
    let large = format!("{}{}", " ".repeat(3 << 20), job("large", 1));
    stage.drop_file("large.json", large);
    stage.until_state(2, "done");
}

#[test]
fn a_graph_that_saves_nothing_or_has_unknown_nodes_fails_with_the_reason() {
    let mut stage = Stage::bare();
    stage.put_on_server("example.png");
    stage.start_server(&Wish::default());
    stage.start_engine();
    let outputless = json!({"1": {"class_type": "VAELoader", "inputs": {"vae_name": "wan_2.1_vae.safetensors"}}});
    rejected(&stage, "outputless.json", outputless.to_string().as_bytes(), &["workflow without outputs", "SaveVideo"]);
    let broken = json!({"1": {"class_type": "SaveImage", "inputs": {}}, "2": "not a node"});
    rejected(&stage, "broken.json", broken.to_string().as_bytes(), &["node 2"]);
    let mut graph: Value = serde_json::from_str(include_str!("../../workflows/wan2.2-i2v-loop.json")).unwrap();
    graph["1"]["inputs"]["image"] = json!("example.png");
    let mut unknown = graph.clone();
    unknown["15"]["class_type"] = json!("NoSuchNode");
    put_aside(&stage, "failed", "unknown.json", unknown.to_string().as_bytes(), &["NoSuchNode"]);
    graph["4"]["inputs"]["unet_name"] = json!("no_such_model.safetensors");
    put_aside(&stage, "failed", "model.json", graph.to_string().as_bytes(), &["no_such_model.safetensors"]);
    assert!(stage.happened("accepted").is_empty());
}

#[test]
fn a_workflow_of_ours_that_is_broken_is_named_with_its_place() {
    let stage = impatient(&Wish::default());
    stage.put_image();
    let flow = |name: &str| json!({"workflow": name, "image": "start.png"}).to_string();
    fs::write(stage.at("workflows/torn.json"), "{\"1\": ").unwrap();
    rejected(&stage, "a.json", flow("torn").as_bytes(), &["the workflow `torn`", "line 1", "not JSON"]);
    fs::copy(stage.at("workflows/wan2.2-i2v.json"), stage.at("workflows/odd.json")).unwrap();
    fs::write(stage.at("workflows/odd.toml"), "[[slot]]\nname = \"image\"\ntipe = \"image\"\n").unwrap();
    rejected(&stage, "b.json", flow("odd").as_bytes(), &["the workflow `odd`", "its .toml is wrong", "tipe"]);
    fs::write(stage.at("workflows/outputless.json"), r#"{"1": {"class_type": "VAELoader", "inputs": {}}}"#).unwrap();
    rejected(
        &stage,
        "c.json",
        flow("outputless").as_bytes(),
        &["the workflow `outputless`", "workflow without outputs"],
    );
}

#[test]
fn add_tells_at_once_what_is_wrong() {
    let stage = Stage::with(&Wish::default());
    let path = stage.at("bad.json");
    fs::write(&path, "{\"workflow\": \"wan2.2-i2v-loop\",\n\"sed\": 1}").unwrap();
    let ran = stage.run(&["add", path.to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    for words in ["bad.json (#1)", "line 2", "did you mean `seed`", "`image` is missing"] {
        assert!(ran.err.contains(words), "{}", ran.err);
    }
    let nothing = stage.run(&["add", stage.at("none.json").to_str().unwrap()]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.err.contains("none.json"), "{}", nothing.err);
    let folder = stage.run(&["add", stage.at("jobs").to_str().unwrap()]);
    assert_eq!(folder.code, 1, "{folder:?}");
}

#[cfg(unix)]
#[test]
fn names_that_no_terminal_should_see_are_shown_without_their_teeth() {
    use std::os::unix::ffi::OsStrExt as _;
    let stage = impatient(&Wish::default());
    let mut long = "漢".repeat(83).into_bytes();
    long.extend(b".json");
    for (id, name) in (1..).zip([&b"a\x1b[31mb.json"[..], b"line\nbreak.json", b"latin-\xff.json", &long]) {
        let name = std::ffi::OsStr::from_bytes(name);
        fs::write(stage.at("jobs").join(name), "{\"sed\": 1}").unwrap();
        stage.until_state(id, "rejected");
        stage.until("put aside", |stage| {
            (stage.names("jobs/failed").len() == 2 * usize::try_from(id).unwrap()).then_some(())
        });
        assert_harmless(&stage.run(&["ls"]).well());
        assert_harmless(&stage.show(id));
    }
    let left: Vec<_> = fs::read_dir(stage.at("jobs")).unwrap().flatten().filter(|e| e.path().is_file()).collect();
    assert!(left.is_empty(), "{left:?}");
    let put_aside = stage.names("jobs/failed");
    assert_eq!(put_aside.len(), 8, "four files, each with its error: {put_aside:?}");
    assert!(stage.names("jobs/queued").is_empty());
}

#[test]
fn an_inbox_that_vanishes_is_a_banner_and_comes_back() {
    let stage = Stage::with(&Wish::default());
    stage.drop_job("before", 1);
    stage.until_state(1, "done");
    fs::rename(stage.at("jobs"), stage.at("elsewhere")).unwrap();
    stage.until("a banner", |stage| stage.run(&["status"]).out.contains("\n!        ").then_some(()));
    assert_eq!(stage.state(1).as_deref(), Some("done"), "nothing is forgotten");
    fs::rename(stage.at("elsewhere"), stage.at("jobs")).unwrap();
    stage.drop_job("after", 2);
    stage.until_state(2, "done");
    stage.until("no banner", |stage| (!stage.run(&["status"]).out.contains("\n!        ")).then_some(()));
}

#[test]
fn an_inbox_among_the_outputs_is_refused() {
    for (inbox, outputs) in [("outputs/in", "outputs"), ("jobs", "jobs/out"), (".comfytop/in", "outputs")] {
        let stage = Stage::bare();
        stage.configure(&format!("[[inbox]]\npath = \"{inbox}\"\n[outputs]\npath = \"{outputs}\"\n"));
        let ran = stage.run(&["engine"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains("lies inside the") && ran.err.contains("keep them apart"), "{}", ran.err);
    }
}
