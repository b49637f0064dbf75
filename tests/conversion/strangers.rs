//! Graphs that nobody should send: each is an answer with the node in it, never a panic, a hang or a flood.

#![allow(clippy::needless_pass_by_value, reason = "what is passed here was just made")]

use comfytop::workflow::convert::{self, ConvertError, Converted};
use comfytop::workflow::object_info::ObjectInfo;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{OWN_GRAPHS, converted, own, when};

fn refusal(workflow: &Value) -> String {
    converted(workflow).expect_err("refused").to_string()
}

fn node(id: impl Into<Value>, class: &str, inputs: Value, outputs: Value) -> Value {
    json!({"id": id.into(), "type": class, "mode": 0, "inputs": inputs, "outputs": outputs, "title": format!("my {class}")})
}

fn graph(nodes: Value, links: Value) -> Value {
    json!({"nodes": nodes, "links": links, "version": 0.4})
}

fn image(link: i64) -> Value {
    json!([{"name": "images", "type": "IMAGE", "link": link}])
}

#[test]
fn what_can_never_run_is_refused_with_the_node_and_its_title() {
    let circle = graph(
        json!([
            node(1, "Reroute", json!([{"name": "", "type": "*", "link": 1}]), json!([{"type": "*"}])),
            node(2, "Reroute", json!([{"name": "", "type": "*", "link": 2}]), json!([{"type": "*"}])),
            node(3, "PreviewImage", image(3), json!([])),
        ]),
        json!([[1, 2, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"], [3, 2, 0, 3, 0, "*"]]),
    );
    assert_eq!(refusal(&circle), "node 3 (my PreviewImage): its input `images` is linked in a circle");

    for links in [json!([]), json!([[3, 77, 0, 3, 0, "IMAGE"]]), json!([[3, null, "x", {}, 0]]), json!(7)] {
        let loose = graph(json!([node(3, "PreviewImage", image(3), json!([]))]), links);
        assert_eq!(
            refusal(&loose),
            "node 3 (my PreviewImage): its input `images` has the link 3, which leads to nothing"
        );
    }

    let twice = graph(
        json!([node(3, "PreviewImage", json!([]), json!([])), node("3", "LoadImage", json!([]), json!([]))]),
        json!([]),
    );
    assert_eq!(refusal(&twice), "node 3 (my LoadImage): another node (my PreviewImage) has the same id");

    let mut unknown = node(4, "KSamplerr", image(1), json!([]));
    unknown["properties"] = json!({"cnr_id": "some-\u{1b}[2Jpack"});
    assert_eq!(
        refusal(&graph(json!([unknown]), json!([]))),
        "node 4 (my KSamplerr): the server has no node class `KSamplerr` (the graph says that it comes from some- [2Jpack) \
         (did you mean `KSampler`?)"
    );

    let gone =
        graph(json!([node(5, "5f6e8b1a-0000-4000-8000-000000000000", json!([]), json!([{"type": "*"}]))]), json!([]));
    assert!(refusal(&gone).starts_with("node 5 (my 5f6e8b1a-0000-4000-8000-000000000000): there is no subgraph"));

    assert_eq!(converted(&json!({"1": {"class_type": "SaveImage", "inputs": {}}})), Err(ConvertError::ApiFormat));
    for nothing in [json!(null), json!([]), json!({}), json!({"nodes": {}}), json!("nodes")] {
        assert_eq!(converted(&nothing), Err(ConvertError::NotAPageGraph));
    }
    for shapeless in [json!(3), json!({}), json!({"id": null}), json!({"id": []})] {
        assert_eq!(refusal(&graph(json!([shapeless]), json!([]))), "node number 1: it is not an object with an `id`");
    }
    let several = graph(json!([3, node(3, "LoadImage", json!([]), json!([])), {}]), json!([]));
    assert_eq!(refusal(&several).lines().count(), 2, "{}", refusal(&several));
}

#[test]
fn what_nobody_knows_and_nobody_needs_is_left_out_with_a_word() {
    let stray =
        node(7, "SomePanel", json!([{"name": "opt", "type": "*", "link": null}]), json!([{"type": "*", "links": []}]));
    let label = node(8, "Label (rgthree)", json!([]), json!([]));
    let loaded = node(9, "LoadImage", json!([]), json!([]));
    let converted = converted(&graph(json!([stray, label, loaded]), json!([]))).unwrap();
    assert_eq!(converted.graph.keys().collect::<Vec<_>>(), ["9"]);
    let [warning] = converted.warnings.as_slice() else { panic!("{:?}", converted.warnings) };
    assert!(warning.starts_with("node 7 (my SomePanel): left out"), "{warning}");
}

#[test]
fn a_link_that_the_page_loses_is_told() {
    let mut get = node(1, "GetNode", json!([]), json!([{"type": "IMAGE", "links": [1]}]));
    get["widgets_values"] = json!(["nobody's"]);
    let lost = converted(&graph(
        json!([get, node(2, "PreviewImage", image(1), json!([]))]),
        json!([[1, 1, 0, 2, 0, "IMAGE"]]),
    ));
    let Converted { graph: sent, warnings } = lost.expect("as the page does");
    assert_eq!(sent["2"]["inputs"], json!({}));
    assert!(warnings[0].starts_with("node 1 (my GetNode): gives nothing: no Set node has its name"), "{warnings:?}");

    let empty = converted(&graph(json!([node(8, "Note", json!([]), json!([]))]), json!([]))).expect("as the page does");
    assert_eq!((empty.graph.len(), empty.warnings.len()), (0, 1), "{:?}", empty.warnings);
}

#[test]
fn all_that_is_wrong_is_said_at_once_up_to_a_limit() {
    let nodes: Vec<Value> = (0..50).map(|id| node(id, "NoSuch", image(1), json!([]))).collect();
    assert_eq!(refusal(&graph(json!(nodes), json!([]))).lines().count(), convert::MOST_FAULTS);
}

fn subgraph(id: &str, nodes: Value) -> Value {
    json!({"id": id, "name": format!("sub {id}"), "nodes": nodes, "links": [], "inputs": [], "outputs": []})
}

#[test]
fn subgraphs_that_hold_themselves_or_too_many_are_refused() {
    let host = |id: i64, class: &str| node(id, class, json!([]), json!([]));
    let with = |subgraphs: Vec<Value>| {
        let mut workflow = graph(json!([host(1, "a0")]), json!([]));
        workflow["definitions"] = json!({"subgraphs": subgraphs});
        workflow
    };
    let circle = with(vec![subgraph("a0", json!([host(2, "a1")])), subgraph("a1", json!([host(3, "a0")]))]);
    assert_eq!(refusal(&circle), "node 1:2:3 (my a0): the subgraph `sub a0` contains itself");

    // Each holds the next one twice: 2^40 of the last.
    let double = (0..40).map(|n| {
        let next = format!("a{}", n + 1);
        subgraph(&format!("a{n}"), json!([host(2 * n + 2, &next), host(2 * n + 3, &next)]))
    });
    assert!(refusal(&with(double.collect())).contains("has more than 10000 nodes"));

    let chain = |length: i64| {
        let last = subgraph(&format!("a{length}"), json!([node(999, "LoadImage", json!([]), json!([]))]));
        with(
            (0..length)
                .map(|n| subgraph(&format!("a{n}"), json!([host(n + 2, &format!("a{}", n + 1))])))
                .chain([last])
                .collect(),
        )
    };
    let deep = converted(&chain(100)).unwrap().graph;
    assert_eq!(deep.keys().next().unwrap().split(':').count(), 102);
    assert!(refusal(&chain(300)).contains("nested more than 200 deep"));
}

#[test]
fn a_large_graph_is_converted_and_a_huge_one_refused() {
    let count = 2_500;
    let mut nodes = vec![node(0, "LoadImage", json!([]), json!([{"name": "IMAGE", "type": "IMAGE", "links": [1]}]))];
    let mut links = Vec::new();
    for id in 1..count {
        nodes.push(node(
            id,
            "Reroute",
            json!([{"name": "", "type": "*", "link": id}]),
            json!([{"name": "", "type": "*"}]),
        ));
        links.push(json!([id, id - 1, 0, id, 0, "*"]));
    }
    nodes.push(node(count, "PreviewImage", image(count), json!([])));
    links.push(json!([count, count - 1, 0, count, 0, "*"]));
    let graph_of = converted(&graph(json!(nodes), json!(links))).unwrap().graph;
    assert_eq!(graph_of.len(), 2);
    assert_eq!(graph_of["2500"]["inputs"]["images"], json!(["0", 0]));

    let many = |count: i64| {
        let nodes: Vec<Value> = (0..count).map(|id| node(id, "LoadImage", json!([]), json!([]))).collect();
        graph(json!(nodes), json!([]))
    };
    assert_eq!(converted(&many(10_000)).unwrap().graph.len(), 10_000);
    assert!(refusal(&many(10_001)).starts_with("node 10000 (my LoadImage): "));
    assert!(!convert::is_too_large(&many(10_000).to_string()) && convert::is_too_large(&many(80_000).to_string()));

    // One long prompt, a thousand times over.
    let mut text = node(2, "StringConcatenate", json!([]), json!([]));
    text["widgets_values"] = json!(["x".repeat(1 << 20), "", ""]);
    let hosts: Vec<Value> = (0..1000).map(|n| node(10 + n, "a0", json!([]), json!([]))).collect();
    let mut workflow = graph(json!(hosts), json!([]));
    workflow["definitions"] = json!({"subgraphs": [subgraph("a0", json!([text]))]});
    assert!(refusal(&workflow).contains("larger than"));
}

/// Puts something else at one place of a JSON value; `path` picks the place.
fn mangle(value: &mut Value, path: &[usize], scrap: &Value) {
    let Some((step, rest)) = path.split_first() else {
        *value = scrap.clone();
        return;
    };
    match value {
        Value::Array(list) if !list.is_empty() => {
            let at = step % list.len();
            match rest.first() {
                Some(3) => drop(list.remove(at)),
                Some(5) => list.push(list[at].clone()),
                _ => mangle(&mut list[at], rest, scrap),
            }
        }
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(step % map.len()).unwrap().clone();
            if rest.first() == Some(&3) {
                map.remove(&key);
            } else {
                mangle(&mut map[&key], rest, scrap);
            }
        }
        other => *other = scrap.clone(),
    }
}

fn scrap() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-30_i64..120).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:{}|%./*\\\\]{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            json!([]),
            json!({}),
            json!([[]]),
            json!([1, 2]),
            json!(["5", 0]),
            json!("-10"),
            json!(-20),
            json!(4),
            json!("Reroute"),
            json!("GetNode"),
            json!("PrimitiveNode"),
            json!("KSampler"),
            json!("workflow>draw"),
            json!("11111111-1111-4111-8111-111111111111"),
            json!("22222222-2222-4222-8222-222222222222"),
            json!([["-1", "seed"], ["57", "seed"], ["58", "x"]]),
            json!({"name": "seed"}),
            json!(u64::MAX),
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// A mangled graph is converted or refused, never more: and all links of a prompt lead to nodes of it.
    #[test]
    fn a_mangled_graph_is_an_answer(
        which in 0_usize..100,
        changes in prop::collection::vec((prop::collection::vec(0_usize..24, 1..9), scrap()), 1..6),
    ) {
        let graphs = &*OWN_GRAPHS;
        let mut workflow = graphs[which % graphs.len()].1["workflow"].clone();
        for (path, scrap) in &changes {
            mangle(&mut workflow, path, scrap);
        }
        match converted(&workflow) {
            Ok(converted) => {
                for node in converted.graph.values() {
                    for value in node["inputs"].as_object().unwrap().values() {
                        if let [Value::String(from), Value::Number(_)] = value.as_array().map_or(&[][..], Vec::as_slice) {
                            prop_assert!(converted.graph.contains_key(from), "{from}");
                        }
                    }
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn mangled_node_classes_are_read(
        changes in prop::collection::vec((prop::collection::vec(0_usize..24, 1..9), scrap()), 1..12),
        which in 0_usize..100,
    ) {
        let mut info = own("object_info.json");
        for (path, scrap) in &changes {
            mangle(&mut info, path, scrap);
        }
        let graphs = &*OWN_GRAPHS;
        let info = ObjectInfo::from_value(&info);
        let _ = convert::convert(&graphs[which % graphs.len()].1["workflow"], &info, when());
    }
}
