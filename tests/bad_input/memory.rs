//! What a stranger's file may cost: whatever it holds, 64 MB of memory are enough, and the answer is words.
//!
//! The real program under a limit that the system holds it to; where it would take more, it dies.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::stage::{Ran, Stage, assert_harmless, ran};

/// Of what a process may write, in KiB; with the program itself that is below 64 MB.
const LIMIT: u32 = 56 << 10;

/// Runs a verb that needs no engine.
#[track_caller]
fn confined(stage: &Stage, args: &[&str]) -> Ran {
    let plain = stage.plain();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -d {LIMIT} && exec \"$@\"")).arg("sh").arg(plain.get_program()).args(args);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(stage.temp());
    let ran = ran(command);
    assert_harmless(&ran.err);
    assert!(!ran.err.contains("memory allocation") && matches!(ran.code, 0..=2), "{args:?}: {}: {}", ran.code, ran.err);
    ran
}

fn own_info() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversion/object_info.json").display().to_string()
}

#[track_caller]
fn converted(stage: &Stage, graph: &str) -> Ran {
    fs::write(stage.temp().join("graph.json"), graph).expect("written");
    confined(stage, &["workflow", "convert", "graph.json", "--object-info", &own_info()])
}

fn loader(id: usize) -> Value {
    json!({
        "id": id, "type": "LoadImage", "pos": [100, 200], "size": [315, 314], "flags": {}, "order": id, "mode": 0,
        "inputs": [{"name": "image", "type": "COMBO", "widget": {"name": "image"}, "link": null}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": []}, {"name": "MASK", "type": "MASK", "links": null}],
        "properties": {}, "widgets_values": ["example.png", "image"],
    })
}

fn in_a_row(id: usize, is_last: bool) -> Value {
    let (class, input, values) = match id {
        0 => return loader(0),
        _ if is_last => ("SaveImage", "images", json!(["x"])),
        _ => ("ImageScaleBy", "image", json!(["lanczos", 1.0])),
    };
    json!({
        "id": id, "type": class, "pos": [100, 200], "size": [315, 314], "flags": {}, "order": id, "mode": 0,
        "inputs": [{"name": input, "type": "IMAGE", "link": id}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [id + 1]}],
        "properties": {"Node name for S&R": class}, "widgets_values": values,
    })
}

fn page(nodes: &[Value], subgraphs: &[Value]) -> String {
    json!({"nodes": nodes, "links": [], "definitions": {"subgraphs": subgraphs}, "version": 0.4}).to_string()
}

#[test]
fn graphs_of_the_page() {
    let stage = Stage::bare();
    let many = |count: usize| page(&(0..count).map(loader).collect::<Vec<_>>(), &[]);
    let graph: Value = serde_json::from_str(&converted(&stage, &many(4_500)).well()).expect("a graph");
    assert_eq!(graph.as_object().map(serde_json::Map::len), Some(4_500));
    assert!(converted(&stage, &many(12_000)).err.contains("graph.json: "));

    // as the page saves them, each linked to the one before
    let linked = |count: usize| {
        let nodes: Vec<_> = (0..count).map(|id| in_a_row(id, id + 1 == count)).collect();
        let links: Vec<_> = (1..count).map(|id| json!([id, id - 1, 0, id, 0, "IMAGE"])).collect();
        json!({"nodes": nodes, "links": links, "version": 0.4}).to_string()
    };
    let graph: Value = serde_json::from_str(&converted(&stage, &linked(4_500)).well()).expect("a graph");
    assert_eq!(graph["4499"]["inputs"]["images"], json!(["4498", 0]));
    assert!(converted(&stage, &linked(10_000)).err.contains("260000 values and keys"));
    // and dropped
    let dropped = |count: usize| {
        fs::write(stage.temp().join("graph.json"), linked(count)).expect("written");
        let root = stage.root.display().to_string();
        confined(&stage, &["--dir", &root, "check", "graph.json", "--object-info", &own_info()])
    };
    assert!(dropped(3_600).well().contains("1 job"));
    let refused = dropped(10_000);
    assert!(
        refused.out.contains("than any graph that people make") && !refused.out.contains("split"),
        "{}",
        refused.out
    );

    let lean = |id: usize| json!({"id": id, "type": "LoadImage", "widgets_values": ["example.png"]});
    let graph = converted(&stage, &page(&(0..10_000).map(lean).collect::<Vec<_>>(), &[])).well();
    assert_eq!(
        serde_json::from_str::<Value>(&graph).expect("a graph").as_object().map(serde_json::Map::len),
        Some(10_000)
    );

    // each holds the next one four times, or in a chain
    let subgraph = |n: usize, nodes: Vec<Value>| json!({"id": format!("a{n}"), "name": "x", "nodes": nodes, "links": [], "inputs": [], "outputs": []});
    let host =
        |id: usize, of: usize| json!({"id": id, "type": format!("a{of}"), "mode": 0, "inputs": [], "outputs": []});
    let bomb: Vec<_> = (0..30).map(|n| subgraph(n, (0..4).map(|k| host(10 * n + k, n + 1)).collect())).collect();
    assert!(converted(&stage, &page(&[host(1, 0)], &bomb)).err.contains("more than 10000 nodes"));
    let mut chain: Vec<_> = (0..100).map(|n| subgraph(n, vec![host(n + 10, n + 1)])).collect();
    chain.push(subgraph(100, vec![loader(5)]));
    assert!(converted(&stage, &page(&[host(1, 0)], &chain)).well().contains("LoadImage"));

    // one long text, a thousand times over
    let text = json!({"id": 5, "type": "CLIPTextEncode", "widgets_values": ["x".repeat(1 << 20)]});
    let hosts: Vec<_> = (0..1_000).map(|n| host(n + 10, 0)).collect();
    assert_eq!(converted(&stage, &page(&hosts, &[subgraph(0, vec![text])])).code, 2);

    for (head, piece, tail) in [
        ("{\"nodes\":[", "0,", "0],\"links\":[]}"),
        ("{\"nodes\":[", "{},", "0],\"links\":[]}"),
        ("{\"nodes\":[],\"links\":[", "[1,1,0,1,0,\"*\"],", "0]}"),
        ("{\"nodes\":[],\"links\":[NaN,", "0,", "0]}"),
        ("", "[", ""),
        ("", "{\"nodes\":", ""),
        ("{\"nodes\":[],\"links\":\"", "x", "\"}"),
    ] {
        let graph = format!("{head}{}{tail}", piece.repeat((8 << 20) / piece.len() - 32));
        converted(&stage, &graph);
    }
}

#[test]
fn node_classes() {
    let stage = Stage::bare();
    fs::write(stage.temp().join("graph.json"), page(&[loader(1)], &[])).expect("written");
    for (head, piece, tail) in [
        ("{\"LoadImage\":{\"input\":{\"required\":{\"image\":[[", "0,", "0]]}}}}"),
        ("{\"LoadImage\":{\"input\":{\"required\":{", "\"a\":0,", "\"b\":0}}}}"),
        ("{", "\"a\":{},", "\"b\":0}"),
        ("{\"a\":", "[", "]}"),
    ] {
        let info = format!("{head}{}{tail}", piece.repeat((16 << 20) / piece.len()));
        fs::write(stage.temp().join("info.json"), info).expect("written");
        confined(&stage, &["workflow", "convert", "graph.json", "--object-info", "info.json"]);
    }
}

#[test]
fn job_files_and_what_carries_a_prompt() {
    let stage = Stage::bare();
    let root = stage.root.display().to_string();
    for (name, head, piece, tail) in [
        ("a.json", "[", "0,", "0]"),
        ("a.json", "{\"workflow\":{", "\"a\":{},", "\"b\":{\"class_type\":\"A\"}}}"),
        ("a.json", "{\"nodes\":[", "{},", "0],\"links\":[]}"),
        ("a.jsonl", "", "{\"seed\":1}\n", ""),
        ("a.jsonl", "", "[0,0,0,0]\n", ""),
        ("a.toml", "a = [", "0,", "0]"),
        ("a.toml", "", "[[job]]\n", ""),
        ("a.toml", "", "a.", "b = 1"),
        ("a.toml", "", "[", ""),
        ("a.csv", "", "a,", "\n"),
        ("a.csv", "a\n", "b\n", ""),
        ("a.csv", "a\n\"", "\n", ""),
    ] {
        let text = format!("{head}{}{tail}", piece.repeat((4 << 20) / piece.len() - 24));
        fs::write(stage.temp().join(name), text).expect("written");
        let ran = confined(&stage, &["--dir", &root, "check", name]);
        assert_eq!(ran.code, 1, "{name} {piece}: {} {}", ran.out, ran.err);
    }

    // nothing wrong, but much: one long text, a thousand long ones, a thousand times the same, and 10,000 nodes in a row
    let job =
        |prompt: usize| json!({"workflow": "wan2.2-i2v-loop", "image": "input:a.png", "prompt": "x".repeat(prompt)});
    let mut same = job(7 << 10);
    same["repeat"] = 1000.into();
    let scaled = |id: usize| {
        let image = if id == 0 { json!("a.png") } else { json!([(id - 1).to_string(), 0]) };
        json!({"class_type": "ImageScaleBy", "inputs": {"image": image, "upscale_method": "lanczos", "scale_by": 1.0},
            "_meta": {"title": "scale it"}})
    };
    let mut row: serde_json::Map<_, _> = (0..10_000).map(|id| (id.to_string(), scaled(id))).collect();
    row.insert("save".to_owned(), json!({"class_type": "SaveImage", "inputs": {"images": ["9999", 0]}}));
    let long = json!({"1": {"class_type": "CLIPTextEncode", "inputs": {"text": "x".repeat(4_100_000)}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}});
    let jobs: Value = (0..1000).map(|_| job(4 << 10)).collect();
    for job in [job(4_100_000), jobs, same, Value::Object(row), long] {
        fs::write(stage.temp().join("a.json"), job.to_string()).expect("written");
        assert!(confined(&stage, &["--dir", &root, "check", "a.json"]).well().contains("nothing wrong"));
        assert!(!confined(&stage, &["--dir", &root, "add", "--dry-run", "a.json"]).well().is_empty());
    }

    let carrying = |prompt: &[u8]| {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        let chunk = [b"prompt\0".as_slice(), prompt].concat();
        png.extend(u32::try_from(chunk.len()).expect("small").to_be_bytes());
        png.extend([b"tEXt".as_slice(), &chunk, b"\0\0\0\0"].concat());
        png
    };
    for prompt in [format!("{{\"a\":[{}0]}}", "0,".repeat(7 << 19)), "[".repeat(7 << 20), "x".repeat(40 << 20)] {
        fs::write(stage.temp().join("a.png"), carrying(prompt.as_bytes())).expect("written");
        assert_eq!(confined(&stage, &["extract", "a.png"]).code, 1);
    }
}
