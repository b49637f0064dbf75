//! Every recorded frame of the websocket, through the parser the client uses.

use std::collections::BTreeMap;

use comfytop::comfy::binary::parse_binary;
use comfytop::comfy::message::parse;
use comfytop::comfy::{Binary, FileKind, ImageFormat, Message, NodeState};
use serde_json::Value;

use super::recordings::{Recording, VERSIONS, all, on_the_wire, one};

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Status { .. } => "status",
        Message::ExecutionStart { .. } => "execution_start",
        Message::ExecutionCached { .. } => "execution_cached",
        Message::Executing { .. } => "executing",
        Message::Progress { .. } => "progress",
        Message::ProgressState { .. } => "progress_state",
        Message::Executed { .. } => "executed",
        Message::ExecutionSuccess { .. } => "execution_success",
        Message::ExecutionError { .. } => "execution_error",
        Message::ExecutionInterrupted { .. } => "execution_interrupted",
        Message::FeatureFlags { .. } => "feature_flags",
        Message::Other { .. } => "other",
        Message::Unreadable { .. } => "unreadable",
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// Compares a parsed message with the raw one, field by field.
fn check(message: &Message, raw: &Value, place: &str) {
    let data = &raw["data"];
    assert_eq!(kind(message), raw["type"], "{place}: {message:?}");
    match message {
        Message::Status { queue_remaining, sid } => {
            assert_eq!(
                queue_remaining.map(u64::from),
                data["status"]["exec_info"]["queue_remaining"].as_u64(),
                "{place}"
            );
            assert!(queue_remaining.is_some(), "{place}");
            assert_eq!(*sid, text(&data["sid"]), "{place}");
        }
        Message::ExecutionStart { prompt_id, timestamp_ms } | Message::ExecutionSuccess { prompt_id, timestamp_ms } => {
            assert_eq!(
                (prompt_id.as_str(), *timestamp_ms),
                (data["prompt_id"].as_str().unwrap(), data["timestamp"].as_i64())
            );
            assert!(timestamp_ms.is_some(), "{place}");
        }
        Message::ExecutionCached { prompt_id, nodes } => {
            assert_eq!((prompt_id.as_str(), nodes), (data["prompt_id"].as_str().unwrap(), &texts(&data["nodes"])));
        }
        Message::Executing { prompt_id, node, display_node } => {
            assert_eq!(*prompt_id, text(&data["prompt_id"]), "{place}");
            assert_eq!(*node, text(&data["node"]), "{place}");
            assert_eq!(*display_node, text(&data["display_node"]), "{place}");
        }
        Message::Progress { prompt_id, node, value, max } => {
            assert_eq!((prompt_id, node), (&text(&data["prompt_id"]), &text(&data["node"])), "{place}");
            assert_eq!((Some(*value), Some(*max)), (data["value"].as_f64(), data["max"].as_f64()), "{place}");
        }
        Message::ProgressState { prompt_id, nodes } => {
            assert_eq!(*prompt_id, data["prompt_id"], "{place}");
            let raw: Vec<(&String, &Value)> = data["nodes"].as_object().unwrap().iter().collect();
            assert_eq!(nodes.len(), raw.len(), "{place}");
            for (node, (id, raw)) in nodes.iter().zip(raw) {
                assert_eq!((&node.node_id, &node.display_node_id), (id, id), "{place}");
                assert_eq!((Some(node.value), Some(node.max)), (raw["value"].as_f64(), raw["max"].as_f64()), "{place}");
                let state = if raw["state"] == "running" { NodeState::Running } else { NodeState::Finished };
                assert_eq!(node.state, state, "{place}");
            }
        }
        Message::Executed { prompt_id, node, outputs } => {
            assert_eq!(
                (prompt_id.as_str(), node.as_str()),
                (data["prompt_id"].as_str().unwrap(), data["node"].as_str().unwrap())
            );
            let named: usize = outputs.iter().map(|output| output.files.len()).sum();
            assert_eq!(named, data["output"].to_string().matches("\"filename\"").count(), "{place}");
        }
        Message::ExecutionError { prompt_id, timestamp_ms, failure } => {
            assert_eq!(
                (prompt_id.as_str(), *timestamp_ms),
                (data["prompt_id"].as_str().unwrap(), data["timestamp"].as_i64())
            );
            assert_eq!(failure.node_id, text(&data["node_id"]), "{place}");
            assert_eq!(failure.node_type, text(&data["node_type"]), "{place}");
            assert_eq!(failure.exception_type, data["exception_type"], "{place}");
            assert_eq!(failure.exception_message, data["exception_message"].as_str().unwrap().trim_end(), "{place}");
            assert_eq!(failure.traceback, texts(&data["traceback"]), "{place}");
        }
        Message::ExecutionInterrupted { prompt_id, timestamp_ms, node_id, node_type } => {
            assert_eq!(
                (prompt_id.as_str(), *timestamp_ms),
                (data["prompt_id"].as_str().unwrap(), data["timestamp"].as_i64())
            );
            assert_eq!((node_id, node_type), (&text(&data["node_id"]), &text(&data["node_type"])), "{place}");
        }
        Message::FeatureFlags { max_upload_size } => {
            assert_eq!(*max_upload_size, Some(104_857_600), "{place}");
        }
        Message::Other { .. } | Message::Unreadable { .. } => panic!("{place}: {message:?}"),
    }
}

#[test]
fn every_recorded_message_parses_into_what_it_says() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for recording in all() {
        for exchange in &recording.exchanges {
            let Some(raw) = exchange.get("ws") else {
                continue;
            };
            check(&parse(&on_the_wire(raw)), raw, &recording.place(exchange));
            *seen.entry(raw["type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let seen: Vec<(&str, usize)> = seen.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(
        seen,
        [
            ("executed", 269),
            ("executing", 967),
            ("execution_cached", 207),
            ("execution_error", 11),
            ("execution_interrupted", 30),
            ("execution_start", 207),
            ("execution_success", 168),
            ("feature_flags", 6),
            ("progress", 189),
            ("progress_state", 1760),
            ("status", 1010),
        ]
    );
}

#[test]
fn every_recorded_binary_frame_is_framed_right() {
    let mut seen = BTreeMap::new();
    for recording in all() {
        for exchange in &recording.exchanges {
            let Some(raw) = exchange.get("binary") else {
                continue;
            };
            let place = recording.place(exchange);
            let length = usize::try_from(raw["len"].as_u64().unwrap()).unwrap();
            let event = raw["event_type"].as_u64().unwrap();
            *seen.entry(event).or_insert(0) += 1;
            let mut frame = hex(raw["head_hex"].as_str().unwrap_or_default());
            match event {
                1 => {
                    if frame.is_empty() {
                        // Of the GPU's previews only the length was kept.
                        frame = b"\0\0\0\x01\0\0\0\x01\xff\xd8\xff".to_vec();
                    }
                    frame.resize(length, 0);
                    let Binary::Preview { of: None, format, image } = parse_binary(&frame) else { panic!("{place}") };
                    assert_eq!((format, image.len()), (ImageFormat::Jpeg, length - 8), "{place}");
                    assert!(image.starts_with(&[0xff, 0xd8, 0xff]), "{place}");
                }
                3 => {
                    assert_eq!(frame.len(), length, "{place}");
                    let Binary::Text { node, text } = parse_binary(&frame) else { panic!("{place}") };
                    assert_eq!(
                        (node.as_str(), text.as_str()),
                        ("sz", "width: 65, height: 48\n batch size: 4"),
                        "{place}"
                    );
                }
                4 => {
                    let metadata = python_json(&raw["metadata"]);
                    assert_eq!(metadata.len() as u64, raw["metadata_len"].as_u64().unwrap(), "{place}");
                    let mut whole = 4u32.to_be_bytes().to_vec();
                    whole.extend(u32::try_from(metadata.len()).unwrap().to_be_bytes());
                    whole.extend(metadata.as_bytes());
                    assert!(whole.starts_with(&frame), "{place}: not as it was on the wire");
                    whole.extend(hex(raw["image_head_hex"].as_str().unwrap()));
                    whole.resize(length, 0);
                    let Binary::Preview { of: Some(of), format, image } = parse_binary(&whole) else {
                        panic!("{place}")
                    };
                    assert_eq!((format, image.len()), (ImageFormat::Jpeg, length - 8 - metadata.len()), "{place}");
                    assert_eq!(of.prompt_id, text(&raw["metadata"]["prompt_id"]), "{place}");
                    assert_eq!(of.node_id, text(&raw["metadata"]["node_id"]), "{place}");
                    assert_eq!(of.display_node_id, text(&raw["metadata"]["display_node_id"]), "{place}");
                }
                other => panic!("{place}: event {other}"),
            }
        }
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!(seen.values().sum::<i32>(), 30);
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// As Python's `json.dumps` spaces it.
fn python_json(value: &Value) -> String {
    let items = value.as_object().unwrap().iter().map(|(key, value)| format!("\"{key}\": {value}"));
    format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
}

/// The kinds of a prompt's own messages, repeats of one kind drawn together.
fn life(recording: &Recording, prompt_id: &str) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    for raw in recording.messages(None) {
        if raw["data"]["prompt_id"] == prompt_id {
            kinds.push(match parse(&raw.to_string()) {
                Message::Executing { node: None, .. } => "the last word",
                message => kind(&message),
            });
        }
    }
    kinds.dedup();
    kinds
}

/// Prompt ids whose ending of the given kind was heard.
fn ended(recording: &Recording, kind: &str) -> Vec<String> {
    let raw = recording.messages(None);
    let mut ids: Vec<String> = raw
        .iter()
        .filter(|raw| raw["type"] == kind)
        .map(|raw| raw["data"]["prompt_id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn the_last_word_on_a_job_is_executing_nothing_in_all_three_endings() {
    for version in VERSIONS {
        for (number, ending) in [
            ("01", "execution_success"),
            ("10", "execution_error"),
            ("06", "execution_interrupted"),
            ("02", "execution_success"),
        ] {
            let recording = one(version, number);
            let ids = ended(recording, ending);
            assert!(!ids.is_empty(), "{version} {number}");
            for id in ids {
                let life = life(recording, &id);
                assert_eq!(life[..2], ["execution_start", "execution_cached"], "{version} {number} {id}");
                assert_eq!(life[life.len() - 2..], [ending, "the last word"], "{version} {number} {id}");
            }
        }
    }
}

#[test]
fn a_fully_cached_job_runs_no_node_and_names_old_files() {
    for version in VERSIONS {
        let recording = one(version, "02");
        let messages: Vec<Message> = recording.messages(None).iter().map(|raw| parse(&raw.to_string())).collect();
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut cached = Vec::new();
        for message in &messages {
            match message {
                Message::Executed { prompt_id, outputs, .. } => {
                    let names = outputs.iter().flat_map(|output| &output.files);
                    let results = names.filter(|file| file.kind == FileKind::Output).map(|file| file.filename.clone());
                    files.entry(prompt_id.clone()).or_default().extend(results);
                }
                Message::ExecutionCached { prompt_id, nodes } if nodes.len() == 4 => cached.push(prompt_id.clone()),
                _ => {}
            }
        }
        assert!(cached.len() >= 2, "{version}");
        for id in &cached {
            let owners = files.values().filter(|names| **names == files[id]).count();
            assert!(owners > 1, "{version}: {id} has files of its own");
            let ran = |message: &Message| matches!(message, Message::Executing { prompt_id, node: Some(_), .. } if prompt_id.as_ref() == Some(id));
            assert!(!messages.iter().any(ran), "{version}");
        }
    }
}

#[test]
fn after_a_reconnect_executing_comes_without_a_prompt() {
    for version in VERSIONS {
        let found = one(version, "13").messages(None).iter().map(|raw| parse(&raw.to_string())).any(|message| {
            message == Message::Executing { prompt_id: None, node: Some("16".into()), display_node: None }
        });
        assert!(found, "{version}");
    }
}

#[test]
fn a_socket_without_a_client_id_is_told_one() {
    for version in VERSIONS {
        let recording = one(version, "13");
        let nameless: Vec<&str> = recording
            .exchanges
            .iter()
            .filter(|exchange| exchange["ws_open"]["path"].as_str().is_some_and(|path| !path.contains("clientId")))
            .filter_map(|exchange| exchange["client"].as_str())
            .collect();
        assert!(!nameless.is_empty(), "{version}");
        for client in nameless {
            let first = parse(&recording.messages(Some(client))[0].to_string());
            assert!(
                matches!(&first, Message::Status { sid: Some(sid), .. } if sid.len() == 32),
                "{version}: {first:?}"
            );
        }
    }
}

#[test]
fn out_of_memory_is_told_with_all_its_lines() {
    let recording = one("gpu-0.3.64", "28");
    let failure = recording
        .messages(None)
        .iter()
        .find_map(|raw| match parse(&raw.to_string()) {
            Message::ExecutionError { failure, .. } => Some(failure),
            _ => None,
        })
        .unwrap();
    assert_eq!(failure.exception_type, "torch.OutOfMemoryError");
    assert_eq!(failure.node_type.as_deref(), Some("CLIPLoader"));
    assert!(failure.exception_message.starts_with("Allocation on device"), "{}", failure.exception_message);
    assert!(failure.exception_message.lines().count() > 5);
}

#[test]
fn progress_is_of_one_node_and_thinned_by_the_newer_server() {
    let steps = |version: &str| {
        let recording = one(version, "06");
        let messages = recording.messages(None);
        messages.iter().filter(|raw| matches!(parse(&raw.to_string()), Message::Progress { .. })).count()
    };
    assert!(steps("0.33.0") < steps("0.3.64"));
    let recording = one("gpu-0.3.64", "27");
    let bars: Vec<(String, f64, f64)> = recording
        .messages(None)
        .iter()
        .filter_map(|raw| match parse(&raw.to_string()) {
            Message::Progress { node: Some(node), value, max, .. } => Some((node, value, max)),
            _ => None,
        })
        .collect();
    // Two samplers, each with a bar of its own that starts again.
    for sampler in ["13", "14"] {
        assert!(bars.iter().any(|(node, value, max)| node == sampler && value < max), "{sampler}");
    }
}
