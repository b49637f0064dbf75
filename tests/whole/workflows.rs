//! `workflow convert`, as a script uses it.

use std::path::Path;

use serde_json::{Value, json};

use super::stage::{Stage, Wish, assert_harmless};

fn own(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conversion").join(name).display().to_string()
}

/// A graph of the page that only has nodes of the simulated server.
fn page_graph(title: &str) -> String {
    json!({
        "nodes": [
            {"id": 1, "type": "EmptyImage", "mode": 0, "inputs": [], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}], "widgets_values": [64, 48, 1, 7]},
            {"id": 2, "type": "SaveImage", "title": title, "mode": 0, "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "outputs": [], "widgets_values": ["mine"]},
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"]], "version": 0.4,
    })
    .to_string()
}

#[test]
fn a_graph_is_converted_with_a_file_of_node_classes() {
    let stage = Stage::bare();
    let pair: Value = serde_json::from_str(&std::fs::read_to_string(own("bypass_mute.json")).unwrap()).unwrap();
    let file = stage.temp().join("graph.json");
    std::fs::write(&file, format!("\u{feff}{}", pair["workflow"])).unwrap();
    let info = own("object_info.json");
    let out = stage.run(&["workflow", "convert", &file.display().to_string(), "--object-info", &info]).well();
    let graph: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(graph, pair["prompt"]);
    assert!(!stage.root.exists(), "no render folder was made");
}

#[test]
fn the_server_is_asked_where_no_file_is_given() {
    let stage = Stage::served(&Wish::default());
    let file = stage.temp().join("graph.json");
    std::fs::write(&file, page_graph("ti\u{1b}[2Jtle")).unwrap();
    let ran = stage.run(&["workflow", "convert", &file.display().to_string()]);
    assert_harmless(&ran.out);
    let graph: Value = serde_json::from_str(&ran.well()).unwrap();
    assert_eq!(graph["2"]["inputs"], json!({"filename_prefix": "mine", "images": ["1", 0]}));
    assert_eq!(graph["1"]["inputs"]["height"], 48);
}

/// A graph as it was saved, in `workflows/`: the verbs about workflows know it as any other.
#[test]
fn a_graph_of_the_page_is_a_workflow() {
    let stage = Stage::served(&Wish::default());
    stage.configure("");
    std::fs::create_dir_all(stage.at("workflows")).unwrap();
    std::fs::write(stage.at("workflows/mine.json"), page_graph("Save")).unwrap();
    let listed = stage.run(&["workflow", "ls"]).well();
    assert!(listed.contains("mine") && listed.contains("slots: width, height, prefix"), "{listed}");
    let shown = stage.run(&["workflow", "show", "mine"]).well();
    assert!(shown.contains("fills 2.filename_prefix (Save)"), "{shown}");
    let file = stage.at("workflows/mine.json").display().to_string();
    let inferred = stage.run(&["workflow", "infer", &file]).well();
    assert!(inferred.contains("inputs = [\"2.filename_prefix\"]"), "{inferred}");
    let draft = stage.run(&["new", "mine", "-o", "-"]).well();
    assert!(draft.contains("workflow = \"mine\""), "{draft}");
    assert!(!stage.is_served(), "none of them starts an engine");
}

#[test]
fn a_picture_that_is_nowhere_is_told_before_anything_is_sent() {
    let stage = Stage::served(&Wish::default());
    stage.configure("");
    let graph = |image: &str| {
        json!({
            "1": {"class_type": "LoadImage", "inputs": {"image": image}},
            "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        })
        .to_string()
    };
    let file = stage.at("graph.json").display().to_string();
    std::fs::write(&file, graph("nowhere.png")).unwrap();
    let told = stage.run(&["check", &file]);
    assert_eq!(told.code, 1, "{told:?}");
    let words = "`nowhere.png` is neither beside the file nor among the server's inputs";
    assert!(told.out.contains(words), "{}", told.out);
    for image in ["sub/nowhere.png", "nowhere.png [output]"] {
        std::fs::write(&file, graph(image)).unwrap();
        stage.run(&["check", &file]).well();
    }
}

#[test]
fn without_a_server_and_a_file_it_says_what_is_missing() {
    let stage = Stage::bare();
    let file = stage.temp().join("graph.json");
    std::fs::write(&file, page_graph("x")).unwrap();
    let file = file.display().to_string();
    let ran = stage.run(&["workflow", "convert", &file]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("--object-info") && ran.err.contains("--server"), "{ran:?}");

    let info = own("object_info.json");
    for (content, wanted) in [
        ("{", "line 1, column 1: not JSON"),
        ("[1]", "no graph as ComfyUI's page saves it"),
        (r#"{"1": {"class_type": "A", "inputs": {}}}"#, "API format already"),
    ] {
        std::fs::write(&file, content).unwrap();
        let ran = stage.run(&["workflow", "convert", &file, "--object-info", &info]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
        assert!(ran.err.contains(wanted), "{ran:?}");
    }
    let ran = stage.run(&["workflow", "convert", "/no/such", "--object-info", &info]);
    assert_eq!(ran.code, 2, "{ran:?}");
}
