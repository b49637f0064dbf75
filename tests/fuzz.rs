//! What the fuzz targets in `fuzz/` do for hours, done here for a moment: every reader of a stranger's bytes, with made-up
//! ones and with real ones that were broken. An answer or an error, never a panic, and never for ever.

#![allow(clippy::expect_used, reason = "a panic is how a test fails")]

#[path = "fuzz/bodies.rs"]
mod bodies;

use std::path::Path;

use bodies::{conversion, csv, job_files, metadata, object_info, workflows};
use comfytop::job_file::{self, Format};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

/// Bytes of a file, some of them turned, some left out.
fn broken(files: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let pick = (0..files.len(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), any::<prop::sample::Index>());
    pick.prop_map(move |(which, turns, end)| {
        let mut bytes = files.get(which).cloned().unwrap_or_default();
        for (at, byte) in turns {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let keep = if end.index(4) == 0 { end.index(bytes.len() + 1) } else { bytes.len() };
        bytes.truncate(keep);
        bytes
    })
}

fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("there").flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending));
    named.filter_map(|entry| std::fs::read(entry.path()).ok()).collect()
}

fn media() -> Vec<Vec<u8>> {
    files("tests/media/carrying", "")
}

/// Graphs of the page.
fn pages() -> Vec<Vec<u8>> {
    let pairs = files("tests/conversion", ".json").into_iter();
    let pages =
        pairs.filter_map(|pair| Some(serde_json::from_slice::<Value>(&pair).ok()?.get("workflow")?.to_string()));
    pages.map(String::into_bytes).collect()
}

/// Node classes as a server tells them.
fn node_classes() -> Vec<Vec<u8>> {
    files("tests/conversion", "object_info.json")
}

fn written() -> Vec<Vec<u8>> {
    let files = [
        r#"[{"workflow": "w", "seed": [1, 2], "repeat": 2, "sweep": {"14.cfg": [1, 2]}, "set": {"a.b": 1}}, {"3": {"class_type": "A", "inputs": {}}}]"#,
        "{\"prompt\": {\"3\": {\"class_type\": \"A\", \"inputs\": {\"x\": [\"3\", 0]}}}, \"extra_data\": {}}\n{\"seed\": 1}\n",
        "workflow = \"w\"\nprompt = \"\"\"\na\nb\"\"\"\n[set]\n\"14.cfg\" = 1\n[[job]]\nseed = 1\n[[job]]\nseed = [1, 2]\n",
        "workflow,prompt,seed,14.cfg,tags\nw,\"a, \"\"b\"\"\nc\",1,1.5,x;y\nw,d,\"[1,2]\",2,\n",
    ];
    files.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Graphs of all shapes, right and wrong.
fn graphs() -> impl Strategy<Value = String> {
    let id = prop::sample::select(vec!["1", "2", "3", "76:57:1", "x", ""]);
    let class = prop::sample::select(vec![
        "KSampler",
        "KSamplerAdvanced",
        "CLIPTextEncode",
        "LoadImage",
        "SaveImage",
        "ConditioningZeroOut",
        "WanImageToVideo",
        "Odd",
    ]);
    let name = prop::sample::select(vec![
        "seed",
        "noise_seed",
        "steps",
        "cfg",
        "text",
        "positive",
        "negative",
        "conditioning",
        "image",
        "images",
        "width",
        "height",
        "length",
        "fps",
        "lora_name",
        "strength_model",
        "filename_prefix",
        "add_noise",
        "end_at_step",
        "start_at_step",
    ]);
    let value = prop_oneof![
        (id.clone(), 0..3_u64).prop_map(|(id, out)| serde_json::json!([id, out])),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z.é\\x00-\\x1f]{0,12}".prop_map(Value::from),
        Just(Value::Null),
        Just(serde_json::json!({"on": true})),
    ];
    let inputs = prop::collection::hash_map(name, value, 0..8);
    let node = (class, inputs).prop_map(|(class, inputs)| serde_json::json!({"class_type": class, "inputs": inputs}));
    prop::collection::hash_map(id, node, 0..6).prop_map(|graph| serde_json::json!(graph).to_string())
}

proptest! {
    #[test]
    fn job_files_of_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        job_files(&bytes);
        csv(&bytes);
    }

    #[test]
    fn job_files_that_were_broken(bytes in broken(written())) {
        job_files(&bytes);
        csv(&bytes);
    }

    #[test]
    fn job_files_of_likely_words(text in "[\\[\\]{}\":,a-z0-9_.\n\\\\é=#;\t-]{0,120}") {
        job_files(text.as_bytes());
        csv(text.as_bytes());
    }

    #[test]
    fn workflows_of_all_shapes(text in graphs()) {
        workflows(text.as_bytes());
        job_files(text.as_bytes());
    }

    #[test]
    fn graphs_of_the_page_that_were_broken(bytes in broken(pages())) {
        conversion(&bytes);
        job_files(&bytes);
    }

    #[test]
    fn node_classes_of_all_shapes(text in graphs()) {
        object_info(text.as_bytes());
        object_info(text.replace("class_type", "output").replace("inputs", "input").as_bytes());
    }

    #[test]
    fn node_classes_that_were_broken(bytes in broken(node_classes())) {
        object_info(&bytes);
    }

    #[test]
    fn metadata_that_was_broken(bytes in broken(media())) {
        metadata(&bytes);
    }

    #[test]
    fn metadata_of_any_bytes(magic in 0..5_usize, bytes in vec(any::<u8>(), 0..300)) {
        let magics: [&[u8]; 5] = [b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"fLaC", b"\0\0\0\x10ftypisom\0\0\0\0", b"\x1a\x45\xdf\xa3"];
        metadata(&[magics[magic], &bytes].concat());
    }
}

#[test]
fn ten_thousand_nodes_and_deep_nesting_are_answers() {
    let node = |at: usize| {
        let inputs = serde_json::json!({"positive": [(at + 1).to_string(), 0], "conditioning": [(at + 1).to_string(), 0], "width": ["0", 0]});
        serde_json::json!({"class_type": "Odd", "inputs": inputs})
    };
    let mut graph: serde_json::Map<String, Value> = (0..10_000).map(|at| (at.to_string(), node(at))).collect();
    graph.insert("10000".to_owned(), serde_json::json!({"class_type": "CLIPTextEncode", "inputs": {"text": "x"}}));
    let started = graph.len();
    workflows(Value::Object(graph).to_string().as_bytes());
    assert_eq!(started, 10_001);
    for deep in ["[", "{\"a\":", "a = [", "[a"] {
        let deep = deep.repeat(100_000);
        job_files(deep.as_bytes());
        csv(deep.as_bytes());
        conversion(deep.as_bytes());
        object_info(deep.as_bytes());
    }
    let sweep = format!(
        "{{\"sweep\": {{{}}}}}",
        (0..30).map(|n| format!("\"s{n}\": [1, 2, 3, 4]")).collect::<Vec<_>>().join(",")
    );
    let errors = job_file::parse(Format::Json, sweep.as_bytes()).expect_err("too many");
    assert!(errors[0].message.contains("jobs in one file; at most 1000"), "{}", errors[0]);
}

#[test]
fn every_body_is_a_target_and_every_target_is_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("there");
    let bodies = read("tests/fuzz/bodies.rs");
    let mut names: Vec<&str> =
        bodies.lines().filter_map(|line| line.strip_prefix("pub fn ")?.split('(').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["conversion", "csv", "job_files", "metadata", "object_info", "workflows"]);
    let manifest = read("fuzz/Cargo.toml");
    for name in &names {
        let target = read(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(target.contains(&format!("bodies::{name}(bytes)")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
    assert_eq!(std::fs::read_dir(root.join("fuzz/fuzz_targets")).expect("there").count(), names.len());
}
