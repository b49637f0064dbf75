//! Graphs of ComfyUI's page, converted, against what the page itself sends of them; and graphs that nobody
//! should send.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod conversion {
    mod found;
    mod strangers;
}

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use comfytop::workflow::convert::{self, ConvertError, Converted, When};
use comfytop::workflow::object_info::ObjectInfo;
use flate2::read::GzDecoder;
use serde_json::{Map, Value};

/// Of nodes of this class the page sends pictures in this input that it has just taken: docs/workflows.md.
const PICTURES: (&str, &str) = ("Load3D", "image");

fn when() -> When {
    When { now: jiff::civil::date(2026, 1, 2).at(3, 4, 5, 0), seed: 0 }
}

/// Pairs and node classes beside the checkout, or those that the environment names.
fn shared() -> Option<PathBuf> {
    let named = std::env::var_os("COMFYTOP_CONVERSION").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conversion"));
    folder.join("pairs.jsonl.gz").is_file().then_some(folder)
}

fn unzipped(path: &Path) -> GzDecoder<std::fs::File> {
    GzDecoder::new(std::fs::File::open(path).unwrap())
}

/// Numbers are compared as JavaScript has them (1.0 is 1).
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}

/// What differs, a line each; titles are left out.
fn differences(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for id in ours.keys().filter(|id| !theirs.contains_key(*id)) {
        found.push(format!("{id} {}: is too much", ours[id]["class_type"]));
    }
    for (id, node) in theirs {
        let Some(our) = ours.get(id) else {
            found.push(format!("{id} {}: is missing", node["class_type"]));
            continue;
        };
        if our["class_type"] != node["class_type"] {
            found.push(format!("{id}: {} is not {}", our["class_type"], node["class_type"]));
        }
        let (our, their) = (our["inputs"].as_object().unwrap(), node["inputs"].as_object().unwrap());
        for name in our.keys().chain(their.keys().filter(|name| !our.contains_key(*name))) {
            let (a, b) = (our.get(name), their.get(name));
            if node["class_type"] == PICTURES.0 && name == PICTURES.1 && a.is_some() && b.is_some() {
                continue;
            }
            if !matches!((a, b), (Some(a), Some(b)) if same(a, b)) {
                let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                found.push(format!("{id} {} {name}: {} is not {}", node["class_type"], shown(a), shown(b)));
            }
        }
    }
    found
}

/// What the page made of each graph: `name`, `workflow`, `prompt`.
fn pairs(folder: &Path) -> impl Iterator<Item = Value> {
    let lines = BufReader::new(unzipped(&folder.join("pairs.jsonl.gz"))).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

#[test]
fn every_pair_is_converted_as_the_page_does_it() {
    let Some(folder) = shared() else {
        println!("not run: there is no ../shared/conversion");
        return;
    };
    let mut text = String::new();
    unzipped(&folder.join("object_info.json.gz")).read_to_string(&mut text).unwrap();
    let info = ObjectInfo::parse(&text).unwrap();
    let (mut count, mut wrong) = (0, BTreeMap::new());
    for pair in pairs(&folder) {
        count += 1;
        let found = match convert::convert(&pair["workflow"], &info, when()) {
            Ok(converted) => differences(&converted.graph, pair["prompt"].as_object().unwrap()),
            Err(error) => vec![error.to_string()],
        };
        if !found.is_empty() {
            wrong.insert(pair["name"].as_str().unwrap().to_owned(), found);
        }
    }
    let mut report = format!("{} of {count} are not right", wrong.len());
    for (name, found) in &wrong {
        write!(report, "\n{name}").unwrap();
        for line in found.iter().take(12) {
            write!(report, "\n    {}", line.chars().take(300).collect::<String>()).unwrap();
        }
    }
    assert!(count > 0 && wrong.is_empty(), "{report}");
}

fn own(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversion").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

static OWN_INFO: LazyLock<ObjectInfo> = LazyLock::new(|| ObjectInfo::from_value(&own("object_info.json")));

/// The graphs of our own, one for each feature, by name.
static OWN_GRAPHS: LazyLock<Vec<(String, Value)>> = LazyLock::new(own_graphs);

fn own_graphs() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversion");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "object_info.json")
        .collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), own(&name))).collect()
}

fn converted(workflow: &Value) -> Result<Converted, ConvertError> {
    convert::convert(workflow, &OWN_INFO, when())
}

#[test]
fn each_feature_is_converted() {
    let graphs = &*OWN_GRAPHS;
    assert!(graphs.len() >= 10, "the graphs were not found");
    for (name, pair) in graphs {
        let converted = converted(&pair["workflow"]).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = differences(&converted.graph, pair["prompt"].as_object().unwrap());
        assert!(found.is_empty(), "{name}: {}\n{}", pair["about"], found.join("\n"));
        assert!(converted.warnings.is_empty(), "{name}: {:?}", converted.warnings);
    }
}

#[test]
fn the_example_in_the_docs_is_what_comes() {
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/workflows.md")).unwrap();
    let blocks = docs.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut blocks = blocks.map(|block| serde_json::from_str::<Value>(block).unwrap());
    let page = blocks.find(convert::is_page_graph).expect("a graph of the page");
    let becomes = blocks.next().expect("what becomes of it");
    let found = differences(&converted(&page).unwrap().graph, becomes.as_object().unwrap());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_primitive_beside_a_subgraph_reaches_what_is_inside() {
    let id = "33333333-3333-4333-8333-333333333333";
    let workflow = serde_json::json!({
        "nodes": [
            {"id": 1, "type": "PrimitiveNode", "mode": 0, "inputs": [], "widgets_values": [7, "fixed"],
                "outputs": [{"name": "INT", "type": "INT", "widget": {"name": "width"}, "links": [1]}]},
            {"id": 2, "type": id, "mode": 0, "outputs": [], "widgets_values": [],
                "inputs": [{"name": "width", "type": "INT", "widget": {"name": "width"}, "link": 1}]},
        ],
        "links": [[1, 1, 0, 2, 0, "INT"]],
        "definitions": {"subgraphs": [{
            "id": id, "name": "inner", "outputs": [],
            "inputs": [{"name": "width", "type": "INT", "linkIds": [10]}],
            "nodes": [{"id": 5, "type": "EmptyLatentImage", "mode": 0, "outputs": [], "widgets_values": [512, 512, 1],
                "inputs": [{"name": "width", "type": "INT", "widget": {"name": "width"}, "link": 10}]}],
            "links": [{"id": 10, "origin_id": -10, "origin_slot": 0, "target_id": 5, "target_slot": 0, "type": "INT"}],
        }]},
    });
    let graph = converted(&workflow).unwrap().graph;
    assert_eq!(graph["2:5"]["inputs"], serde_json::json!({"width": 7, "height": 512, "batch_size": 1}));
}
