//! The built-in workflows against what two real servers say of their nodes; the docs and examples against the parser.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use std::fs;
use std::path::{Path, PathBuf};

use comfytop::job::{Goal, Shape, Vary};
use comfytop::job_file::{self, Format, JobSpec, Source};
use comfytop::workflow::{
    self, BUILT_IN, FileValue, FillFault, Filled, Graph, InputRef, SeedChoice, Workflow, input, own_prefix, set_seed,
};
use serde_json::{Map, Value, json};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn built_in(name: &str) -> Workflow {
    let (name, json, toml) = BUILT_IN.iter().find(|(built_in, ..)| *built_in == name).expect("built in");
    Workflow::parse(name, json, Some(toml)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn job(value: &Value) -> JobSpec {
    job_file::parse(Format::Json, value.to_string().as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}")).remove(0)
}

fn fill(workflow: &str, value: &Value) -> Filled {
    built_in(workflow).fill(&job(value)).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn faults(workflow: &str, value: &Value) -> Vec<FillFault> {
    built_in(workflow).fill(&job(value)).expect_err("faults")
}

fn at<'g>(graph: &'g Graph, place: &str) -> &'g Value {
    let place = InputRef::parse(place).expect("a place");
    input(graph, &place.node, &place.input).unwrap_or_else(|| panic!("no {place}"))
}

/// What a recorded server answers to `/object_info/CLASS`.
struct ObjectInfo(Map<String, Value>);

impl ObjectInfo {
    fn of(version: &str) -> Self {
        let text = fs::read_to_string(here(&format!("tests/wire/{version}/00-object-info-selected.json")))
            .expect("a recording");
        let recording: Value = serde_json::from_str(&text).expect("JSON");
        let mut classes = Map::new();
        for exchange in recording["exchanges"].as_array().expect("exchanges") {
            let path = exchange["http"]["path"].as_str().unwrap_or_default();
            if let Some(class) = path.strip_prefix("/object_info/") {
                classes.insert(class.to_owned(), exchange["http"]["response"][class].clone());
            }
        }
        Self(classes)
    }

    /// An input's declaration, and whether it is required.
    fn input(&self, class: &str, name: &str) -> Option<(&Value, bool)> {
        let inputs = &self.0.get(class)?["input"];
        let find = |kind: &str| inputs.get(kind)?.get(name);
        find("required").map(|found| (found, true)).or_else(|| find("optional").map(|found| (found, false)))
    }
}

/// The choices of a combo in its several forms.
fn choices(declared: &Value) -> Option<Vec<Value>> {
    if let Some(list) = declared[0].as_array() {
        return Some(list.clone());
    }
    let options = declared[1]["options"].as_array()?;
    Some(options.iter().map(|option| option.get("key").unwrap_or(option).clone()).collect())
}

#[test]
fn the_built_in_workflows_pass_what_both_recorded_servers_ask() {
    // file names: those on the recorded machine are not those of these workflows
    const FILES: &[&str] = &["image", "clip_name", "vae_name", "unet_name", "lora_name"];
    for version in ["0.3.64", "0.33.0"] {
        let info = ObjectInfo::of(version);
        for (name, ..) in BUILT_IN {
            let workflow = built_in(name);
            for (id, node) in &*workflow.graph {
                let class = node["class_type"].as_str().expect("a class");
                let place = format!("{version} {name} {id} {class}");
                let declared = info.0.get(class).unwrap_or_else(|| panic!("{place}: no such class"));
                let given = node["inputs"].as_object().expect("inputs");
                for required in declared["input"]["required"].as_object().expect("required").keys() {
                    assert!(given.contains_key(required), "{place}: {required} is missing");
                }
                for (key, value) in given {
                    let (declared, _) = info.input(class, key).unwrap_or_else(|| panic!("{place}: no input {key}"));
                    if let [Value::String(from), Value::Number(output)] =
                        value.as_array().map_or(&[][..], Vec::as_slice)
                    {
                        let from_class = workflow.graph[from]["class_type"].as_str().expect("a class");
                        let output = usize::try_from(output.as_u64().expect("an index")).expect("small");
                        assert_eq!(info.0[from_class]["output"][output], declared[0], "{place}: {key}");
                    } else if let Some(choices) = choices(declared) {
                        assert!(FILES.contains(&key.as_str()) || choices.contains(value), "{place}: {key} = {value}");
                    } else {
                        let options = &declared[1];
                        match declared[0].as_str().expect("a type") {
                            "INT" => assert!(value.is_u64(), "{place}: {key}"),
                            "FLOAT" => assert!(value.is_number(), "{place}: {key}"),
                            "STRING" => assert!(value.is_string(), "{place}: {key}"),
                            "COMBO" => {}
                            other => panic!("{place}: {key} wants a link of {other}"),
                        }
                        if let Some(number) = value.as_f64() {
                            assert!(options["min"].as_f64().is_none_or(|min| number >= min), "{place}: {key}");
                            assert!(options["max"].as_f64().is_none_or(|max| number <= max), "{place}: {key}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn they_are_the_graph_that_people_know() {
    for (name, image_node) in [("wan2.2-i2v", "WanImageToVideo"), ("wan2.2-i2v-loop", "WanFirstLastFrameToVideo")] {
        let graph = built_in(name).graph;
        for (id, class) in [
            ("1", "LoadImage"),
            ("3", "VAELoader"),
            ("10", "CLIPTextEncode"),
            ("11", "CLIPTextEncode"),
            ("12", image_node),
            ("13", "KSamplerAdvanced"),
            ("14", "KSamplerAdvanced"),
            ("17", "SaveVideo"),
        ] {
            assert_eq!(graph[id]["class_type"], class, "{name} {id}");
        }
        for (place, value) in [
            ("2.type", json!("wan")),
            ("4.unet_name", json!("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors")),
            ("5.unet_name", json!("wan2.2_i2v_low_noise_14B_fp8_scaled.safetensors")),
            ("6.lora_name", json!("wan2.2_i2v_lightx2v_4steps_lora_v1_high_noise.safetensors")),
            ("7.lora_name", json!("wan2.2_i2v_lightx2v_4steps_lora_v1_low_noise.safetensors")),
            ("6.strength_model", json!(1.0)),
            ("8.shift", json!(5.0)),
            ("9.shift", json!(5.0)),
            ("12.positive", json!(["10", 0])),
            ("12.negative", json!(["11", 0])),
            ("12.length", json!(129)),
            ("13.add_noise", json!("enable")),
            ("13.return_with_leftover_noise", json!("enable")),
            ("13.end_at_step", json!(2)),
            ("14.add_noise", json!("disable")),
            ("14.start_at_step", json!(2)),
            ("14.end_at_step", json!(4)),
            ("14.cfg", json!(1.0)),
            ("14.latent_image", json!(["13", 0])),
            ("16.fps", json!(16.0)),
            ("17.format", json!("mp4")),
            ("17.codec", json!("h264")),
        ] {
            assert_eq!(at(&graph, place), &value, "{name} {place}");
        }
    }
    let graph = built_in("wan2.2-i2v-loop").graph;
    assert_eq!(at(&graph, "12.start_image"), at(&graph, "12.end_image"));
}

#[test]
fn a_job_fills_its_slots() {
    let filled = fill(
        "wan2.2-i2v-loop",
        &json!({"image": "a/start.png", "prompt": "x", "seed": u64::MAX, "length": 33, "steps": 8, "fps": 24, "lora_low": "l"}),
    );
    for (place, value) in [
        ("10.text", json!("x")),
        ("12.length", json!(33)),
        ("13.steps", json!(8)),
        ("13.end_at_step", json!(4)),
        ("14.steps", json!(8)),
        ("14.start_at_step", json!(4)),
        ("14.end_at_step", json!(8)),
        ("13.noise_seed", json!(u64::MAX)),
        ("14.noise_seed", json!(0)),
        ("16.fps", json!(24.0)),
        ("7.lora_name", json!("l")),
    ] {
        assert_eq!(at(&filled.graph, place), &value, "{place}");
    }
    assert_eq!(filled.seed, SeedChoice::Given(u64::MAX));
    assert_eq!(filled.seed_inputs, [InputRef::new("13", "noise_seed")]);
    assert_eq!(filled.shape, Shape { width: Some(480), height: Some(848), length: Some(33), steps: Some(8) });
    let [file] = filled.files.as_slice() else { panic!("one file: {:?}", filled.files) };
    assert_eq!((file.node.as_str(), file.input.as_str(), file.slot.as_str()), ("1", "image", "image"));
    assert_eq!(file.value, FileValue::Local("a/start.png".to_owned()));
}

#[test]
fn the_order_of_nodes_and_inputs_stays() {
    let workflow = built_in("wan2.2-i2v");
    let filled = fill("wan2.2-i2v", &json!({"image": "a.png"}));
    assert_eq!(filled.graph.keys().collect::<Vec<_>>(), workflow.graph.keys().collect::<Vec<_>>());
    assert!(filled.graph.keys().map(|id| id.parse::<u32>().expect("a number")).eq(1..=17));
}

#[test]
fn a_seed_left_out_is_left_to_chance_and_put_in_later() {
    for value in [json!({"image": "a.png"}), json!({"image": "a.png", "seed": -1})] {
        let mut filled = fill("wan2.2-i2v", &value);
        assert_eq!(filled.seed, SeedChoice::Random);
        set_seed(&mut filled.graph, &filled.seed_inputs, 77);
        assert_eq!(at(&filled.graph, "13.noise_seed"), &json!(77));
    }
}

#[test]
fn the_servers_own_file_is_named_with_input() {
    let filled = fill("wan2.2-i2v", &json!({"image": "input:sub/start.png"}));
    assert_eq!(at(&filled.graph, "1.image"), "sub/start.png");
    assert_eq!(filled.files[0].value, FileValue::Server("sub/start.png".to_owned()));
}

#[test]
fn set_comes_last_and_wins() {
    let filled = fill(
        "wan2.2-i2v",
        &json!({"image": "a.png", "steps": 8, "set": {"13.end_at_step": 3, "14.cfg": 2, "1.image": "b.png", "13.noise_seed": 5}}),
    );
    assert_eq!(at(&filled.graph, "13.end_at_step"), &json!(3));
    assert_eq!(at(&filled.graph, "14.cfg"), &json!(2));
    let files: Vec<_> = filled.files.iter().map(|file| (file.node.as_str(), &file.value)).collect();
    assert_eq!(files, [("1", &FileValue::Perhaps("b.png".to_owned()))], "the edit's, not the slot's");
    assert_eq!(filled.seed, SeedChoice::Given(5));
    assert_eq!(filled.seed_inputs, [InputRef::new("13", "noise_seed")]);
}

#[test]
fn an_edit_of_an_input_that_takes_a_file_names_one() {
    let file = |value: &str| {
        let filled = fill("wan2.2-i2v", &json!({"image": "a.png", "set": {"1.image": value}}));
        (at(&filled.graph, "1.image").clone(), filled.files[0].value.clone())
    };
    assert_eq!(file("input:x/b.png"), (json!("x/b.png"), FileValue::Server("x/b.png".to_owned())));
    assert_eq!(file("job:first"), (json!("job:first"), FileValue::Job("first".to_owned())));
}

#[test]
fn every_fault_is_told_at_once() {
    let faults = faults(
        "wan2.2-i2v",
        &json!({"promt": "x", "length": 130, "seed": "7", "worklfow": "y", "set": {"99.cfg": 1, "14.cgf": 1, "14.cfg": "1", "13.model": ["44", 0]}}),
    );
    let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
    for (word, wanted) in words.iter().zip([
        "no slot `promt` in `wan2.2-i2v` (did you mean `prompt`?); its slots: image, prompt, negative, seed, length,",
        "`length` must be 4n+1, not 130; the nearest is 129 or 133",
        "`seed` must be a whole number from 0",
        "no slot `worklfow` in `wan2.2-i2v` (did you mean `workflow`?)",
        "`image` is missing: the picture that the clip starts from",
        "`set` names node 99, which is not in `wan2.2-i2v`; its nodes: 1 (start image), 2 (",
        "`set` names `14.cgf`: node 14 has no input `cgf` (did you mean `cfg`?); its inputs: model,",
        "`set`: `14.cfg` is the number 1.0 there, and cannot become the text \"1\"",
        "`set`: `13.model` links to node 44, which is not there",
    ]) {
        assert!(word.starts_with(wanted), "{word}\nnot\n{wanted}");
    }
    assert_eq!(words.len(), 9);
    assert_eq!(faults[0].path(), ["promt"]);
    assert_eq!(faults[6].path(), ["set", "14.cgf"]);
}

#[test]
fn text_from_a_job_file_is_fit_to_show() {
    let faults = faults(
        "wan2.2-i2v",
        &json!({"a\u{1b}[2J": 1, "image": 7, "length": "\u{1b}]0;x", "set": {"\u{9b}1.a": 1, "13.\u{202e}x": 1, "13.cfg": "\u{7}"}}),
    );
    assert_eq!(faults.len(), 6);
    for fault in faults {
        assert!(!fault.to_string().chars().any(|c| c.is_control() || c == '\u{202e}'), "{fault:?}");
    }
}

fn raw() -> Value {
    json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 20, "model": ["4", 0]}},
        "4": {"class_type": "Loader", "inputs": {}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768}},
        "8": {"class_type": "LoadImage", "inputs": {"image": "there.png"}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}},
    })
}

#[test]
fn a_graph_dropped_as_it_is_keeps_its_seed() {
    let spec = job(&raw());
    let Source::Graph(graph) = &spec.workflow else { panic!("a graph") };
    let workflow = Workflow::from_graph("dropped", (**graph).clone()).expect("usable");
    let mut filled = workflow.fill(&spec).expect("filled");
    assert_eq!(filled.graph, **graph);
    assert_eq!(filled.seed, SeedChoice::Given(42));
    assert_eq!(filled.files[0].value, FileValue::Perhaps("there.png".to_owned()), "it may lie beside the file");
    assert_eq!(filled.shape, Shape { width: Some(512), height: Some(768), length: None, steps: Some(20) });
    assert_eq!(own_prefix(&mut filled.graph, "00c0ffee"), 1);
    assert_eq!(at(&filled.graph, "9.filename_prefix"), "x-00c0ffee");
}

#[test]
fn a_graph_in_a_job_takes_a_seed_and_edits() {
    let spec = job(&json!({"workflow": raw(), "seed": 7, "set": {"3.steps": 30}}));
    let Source::Graph(graph) = &spec.workflow else { panic!("a graph") };
    let filled = Workflow::from_graph("inline", (**graph).clone()).expect("usable").fill(&spec).expect("filled");
    assert_eq!(
        (filled.seed, at(&filled.graph, "3.seed"), at(&filled.graph, "3.steps")),
        (SeedChoice::Given(7), &json!(7), &json!(30))
    );
}

#[test]
fn a_named_workflow_without_a_toml_has_a_seed_left_to_chance() {
    let workflow = Workflow::parse("mine", &raw().to_string(), None).expect("usable");
    let filled = workflow.fill(&job(&json!({"workflow": "mine"}))).expect("filled");
    assert_eq!(filled.seed, SeedChoice::Random);
    let faults = workflow.fill(&job(&json!({"zebra": 1}))).expect_err("faults");
    assert!(faults[0].to_string().contains("its slots: image, seed, width, height, steps, prefix"), "{}", faults[0]);
}

#[test]
fn a_workflow_that_cannot_be_used_says_why() {
    for (json, toml, words) in [
        ("{", "", "line 1, column 1: not JSON"),
        ("[]", "", "not an empty list"),
        ("{}", "", "no nodes"),
        (r#"{"nodes": [], "links": []}"#, "", "Export (API)"),
        (r#"{"1": {"class_type": "LoadImage", "inputs": {"image": "x"}}}"#, "", "without outputs"),
    ] {
        let error = Workflow::parse("w", json, (!toml.is_empty()).then_some(toml)).expect_err("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
    let slot = |rules: &str| format!("[[slot]]\nname = \"x\"\n{rules}\n");
    let int = "type = \"int\"\ninputs = [\"3.steps\"]";
    for (toml, words) in [
        ("[[slot]]".to_owned(), "name"),
        (slot("type = \"inta\"\ninputs = []"), "unknown variant"),
        (slot(&format!("{int}\nmaxx = 3")), "unknown field `maxx`"),
        (slot("type = \"int\"\ninputs = [\"steps\"]"), "names no input"),
        (slot("type = \"int\"\ninputs = [\"3.stepz\"]"), "which the graph does not have"),
        (slot("type = \"int\"\ninputs = [\"3.model\"]"), "linked to another node"),
        (slot("type = \"int\"\ninputs = []"), "fills no input"),
        (slot("type = \"string\"\ninputs = [\"8.image\"]\nmin = 1"), "no number"),
        (slot("type = \"float\"\ninputs = [\"3.steps\"]\nmultiple_of = 4"), "no int"),
        (slot(&format!("{int}\nplus = 1")), "multiple_of"),
        (slot(&format!("{int}\nchoices = [\"a\"]")), "texts and models"),
        (slot(int).repeat(2), "twice"),
        (slot(int).replace("\"x\"", "\"priority\""), "every job has"),
        (
            slot("type = \"seed\"\ninputs = [\"3.seed\"]")
                + &slot("type = \"seed\"\ninputs = [\"3.seed\"]").replace("\"x\"", "\"y\""),
            "second seed",
        ),
    ] {
        let error = Workflow::parse("w", &raw().to_string(), Some(&toml)).expect_err(&toml).to_string();
        assert!(error.contains(words), "{toml}\n{error}");
    }
}

/// Reads and fills a job file with the built-in workflows, and gives the local files that it names.
fn check_file(format: Format, text: &str, place: &str) -> Vec<String> {
    let jobs = job_file::parse(format, text.as_bytes()).unwrap_or_else(|errors| panic!("{place}: {errors:?}"));
    let mut files = Vec::new();
    for job in jobs {
        let workflow = match &job.workflow {
            Source::Named(Some(name)) => built_in(name),
            Source::Graph(graph) => {
                Workflow::from_graph("graph", (**graph).clone()).unwrap_or_else(|error| panic!("{place}: {error}"))
            }
            Source::Named(None) | Source::Page(_) => panic!("{place}: an example names its workflow"),
        };
        let filled = workflow.fill(&job).unwrap_or_else(|faults| panic!("{place}: {faults:?}"));
        files.extend(filled.files.into_iter().filter_map(|file| match file.value {
            FileValue::Local(path) => Some(path),
            FileValue::Server(_) | FileValue::Job(_) | FileValue::Perhaps(_) => None,
        }));
    }
    files
}

#[test]
fn the_examples_work() {
    let mut seen = 0;
    for entry in fs::read_dir(here("jobs/examples")).expect("examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|ending| ending == "json") {
            seen += 1;
            for file in check_file(Format::Json, &fs::read_to_string(&path).expect("text"), &path.display().to_string())
            {
                let image = image::open(path.with_file_name(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(image.width() >= 64 && image.height() >= 64);
            }
        }
    }
    assert!(seen >= 3);
}

#[test]
fn the_docs_work() {
    let docs = fs::read_to_string(here("docs/jobs.md")).expect("docs");
    let blocks = |language: &str| {
        let fence = format!("```{language}\n");
        docs.split(&fence)
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let jobs = blocks("json");
    assert!(jobs.len() >= 10);
    for block in jobs {
        check_file(Format::Json, &block, &block);
    }
    for (language, format) in [("jsonl", Format::JsonLines), ("csv", Format::Csv)] {
        let examples = blocks(language);
        assert!(!examples.is_empty(), "{language}");
        for block in examples {
            check_file(format, &block, &block);
        }
    }
    let (settings, tables): (Vec<_>, Vec<_>) =
        blocks("toml").into_iter().partition(|block| block.contains("[[inbox]]"));
    assert!(!settings.is_empty() && !tables.is_empty());
    for block in settings {
        comfytop::config::Config::parse(&block, "docs/jobs.md").unwrap_or_else(|error| panic!("{error}\n{block}"));
    }
    for block in tables {
        check_file(Format::Toml, &block, &block);
    }
    // the two tables name what there is
    for key in job_file::OWN_KEYS {
        assert!(docs.contains(&format!("`{key}`")), "{key}");
    }
    for (name, ..) in BUILT_IN {
        for slot in built_in(name).slots {
            assert!(docs.contains(&format!("`{}`", slot.name)), "{}", slot.name);
        }
    }
    // and the error it shows is the one that comes
    let file = "{\n  \"workflow\": \"wan2.2-i2v\",\n  \"image\": \"a.png\",\n  \"lenght\": 33\n}";
    let fault = &faults("wan2.2-i2v", &serde_json::from_str(file).expect("JSON"))[0];
    let error = job_file::Places::new(Format::Json, file.as_bytes()).error(0, &fault.path(), &fault.to_string());
    let shown = format!("{error}\n{}", error.excerpt);
    let wanted = blocks("text").remove(0);
    for (shown, wanted) in shown.lines().zip(wanted.lines()) {
        assert!(shown.starts_with(wanted.trim_end_matches('…')), "{shown}\nnot\n{wanted}");
    }
}

#[test]
fn the_docs_of_workflows_work() {
    let docs = fs::read_to_string(here("docs/workflows.md")).expect("docs");
    let blocks = |language: &str| {
        let fence = format!("```{language}\n");
        docs.split(&fence)
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let (_, graph, _) = BUILT_IN[0];
    let declared: Vec<_> = blocks("toml").into_iter().filter(|block| block.contains("[[slot]]")).collect();
    assert!(!declared.is_empty());
    for block in declared {
        Workflow::parse("docs", graph, Some(&block)).unwrap_or_else(|error| panic!("{error}"));
    }
    let example = blocks("json").into_iter().find(|block| block.contains("KSampler")).expect("an example");
    let found = Workflow::parse("docs", &example, None).expect("usable");
    let names: Vec<_> = found.slots.iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(names, ["prompt", "seed", "width", "height", "steps", "prefix"]);
}

#[test]
fn tries_change_only_what_they_vary() {
    let until = |until: Value| json!({"workflow": "wan2.2-i2v-loop", "image": "a.png", "until": until});
    let filled = fill(
        "wan2.2-i2v-loop",
        &until(json!({"verdict": "loops", "vary": {"length": [65, 81], "13.cfg": [1.0, 1.5]}})),
    );
    let goal = filled.tries.goal.as_ref().expect("a goal");
    assert_eq!((goal.tries, filled.shape.length), (4, Some(65)));
    let Vary::Values(variations) = &goal.vary else { panic!("{goal:?}") };
    let all: Vec<_> = variations.iter().map(|v| (v.shape.length, v.values["13.cfg"].clone())).collect();
    assert_eq!(all, [(Some(65), json!(1.0)), (Some(65), json!(1.5)), (Some(81), json!(1.0)), (Some(81), json!(1.5))]);
    assert!(filled.tries.edits[0].is_empty());
    assert_eq!(filled.tries.edits[1], [(InputRef::new("13", "cfg"), json!(1.5))]);
    let mut graph = filled.graph.clone();
    workflow::tries::vary(&mut graph, &filled.tries.edits[3]);
    assert_eq!((at(&graph, "12.length"), at(&graph, "13.cfg")), (&json!(81), &json!(1.5)));
    // A fault stands where the list is.
    let fault = &faults("wan2.2-i2v-loop", &until(json!({"ssim": 0.8, "vary": {"length": [65, 66]}})))[0];
    assert_eq!(fault.path(), ["until", "vary", "length"]);
    let fault = &faults("wan2.2-i2v-loop", &until(json!({"ssim": 0.8, "vary": {"seed": [1, "random"]}})))[0];
    assert!(fault.to_string().contains("must be numbers"), "{fault}");
    let seeds = fill("wan2.2-i2v-loop", &until(json!({"verdict": "loops", "vary": {"seed": [7, 8]}})));
    assert_eq!(seeds.seed, SeedChoice::Given(7));
    let Some(Goal { vary: Vary::Values(list), .. }) = &seeds.tries.goal else { panic!("{seeds:?}") };
    assert_eq!(list.iter().map(|v| v.seed).collect::<Vec<_>>(), [Some(7), Some(8)]);
}
