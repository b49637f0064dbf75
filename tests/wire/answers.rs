//! Every recorded HTTP answer that the client can meet, through the parser the client uses.

use std::collections::BTreeMap;

use comfytop::comfy::answer::{parse_queue, parse_queue_remaining, parse_system_stats, parse_uploaded};
use comfytop::comfy::history::{JobAnswer, parse_history, parse_job, parse_jobs};
use comfytop::comfy::validation::{parse_accepted, parse_validation};
use comfytop::comfy::{Ending, FileKind, History, OutputRef, json};
use serde_json::Value;

use super::recordings::{Http, VERSIONS, all, body, is_whole, on_the_wire, one};

fn history_of(http: &Http) -> Option<History> {
    let id = http.path.rsplit('/').next().unwrap();
    parse_history(&body(http), id).unwrap_or_else(|error| panic!("{}: {error}", http.place))
}

/// The ending that the README's table gives for a raw status.
fn ending_of(status: &Value) -> &'static str {
    match status["messages"].as_array().and_then(|list| list.last()).and_then(|last| last[0].as_str()) {
        Some("execution_success") => "success",
        Some("execution_error") => "error",
        Some("execution_interrupted") => "interrupted",
        other => panic!("no ending: {other:?}"),
    }
}

fn name(ending: &Ending) -> &'static str {
    match ending {
        Ending::Success => "success",
        Ending::Error(_) => "error",
        Ending::Interrupted => "interrupted",
    }
}

fn check_history(history: &History, outputs: &Value, status: &Value, place: &str) {
    if !status.is_null() {
        assert_eq!(name(&history.ending), ending_of(status), "{place}");
        assert_eq!(history.ending == Ending::Success, status["status_str"] == "success", "{place}");
        let messages = status["messages"].as_array().unwrap();
        assert_eq!(history.started_ms, messages[0][1]["timestamp"].as_i64(), "{place}");
        assert_eq!(history.ended_ms, messages.last().unwrap()[1]["timestamp"].as_i64(), "{place}");
        let cached = messages.iter().find(|event| event[0] == "execution_cached").unwrap();
        assert_eq!(history.cached.len(), cached[1]["nodes"].as_array().unwrap().len(), "{place}");
        if let Ending::Error(failure) = &history.ending {
            let raw = &messages.last().unwrap()[1];
            assert_eq!(failure.node_id.as_deref(), raw["node_id"].as_str(), "{place}");
            assert_eq!(failure.exception_message, raw["exception_message"].as_str().unwrap().trim_end(), "{place}");
            assert!(!failure.exception_type.is_empty(), "{place}");
            // The recorder shortened one to a text.
            assert_eq!(failure.traceback.len(), raw["traceback"].as_array().map_or(0, Vec::len), "{place}");
        }
    }
    let files: usize = history.outputs.iter().map(|output| output.files.len()).sum();
    assert_eq!(files, outputs.to_string().matches("\"filename\"").count(), "{place}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one arm an endpoint, as the docs say where to add one")]
fn every_recorded_answer_parses_into_what_it_says() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for recording in all() {
        for http in recording.http().filter(is_whole) {
            let Http { place, response, .. } = &http;
            let bytes = body(&http);
            let path = http.path.as_str();
            let what = match (http.method.as_str(), path, http.status) {
                ("GET", "/prompt", 200) => {
                    let remaining = parse_queue_remaining(&bytes).unwrap();
                    assert_eq!(
                        Some(u64::from(remaining)),
                        response["exec_info"]["queue_remaining"].as_u64(),
                        "{place}"
                    );
                    "count"
                }
                ("POST", "/prompt", 200) => {
                    let accepted = parse_accepted(&bytes).unwrap();
                    assert_eq!(accepted.prompt_id.as_deref(), response["prompt_id"].as_str(), "{place}");
                    assert_eq!(Some(accepted.number), response["number"].as_f64(), "{place}");
                    assert_eq!(
                        accepted.node_errors.len(),
                        response["node_errors"].as_object().unwrap().len(),
                        "{place}"
                    );
                    "accepted"
                }
                ("POST", "/prompt", 400) => {
                    let validation = parse_validation(&bytes).unwrap();
                    assert_eq!(validation.kind, response["error"]["type"], "{place}");
                    assert_eq!(validation.message, response["error"]["message"], "{place}");
                    assert_eq!(
                        validation.node_errors.len(),
                        response["node_errors"].as_object().unwrap().len(),
                        "{place}"
                    );
                    for node in &validation.node_errors {
                        let raw = &response["node_errors"][&node.node_id];
                        assert_eq!(node.class_type.as_deref(), raw["class_type"].as_str(), "{place}");
                        assert_eq!(node.errors.len(), raw["errors"].as_array().unwrap().len(), "{place}");
                        assert!(!node.dependent_outputs.is_empty(), "{place}");
                    }
                    assert!(!validation.to_string().chars().any(char::is_control), "{place}");
                    "rejected"
                }
                ("GET", "/queue", 200) => {
                    let queue = parse_queue(&bytes).unwrap();
                    assert_eq!(queue.running.len(), response["queue_running"].as_array().unwrap().len(), "{place}");
                    assert_eq!(queue.pending.len(), response["queue_pending"].as_array().unwrap().len(), "{place}");
                    "queue"
                }
                ("GET", _, 200) if path.starts_with("/history/") => {
                    match (history_of(&http), response.as_object().unwrap().values().next()) {
                        (Some(history), Some(raw)) => {
                            let status = if raw.get("status_str").is_some() { raw } else { &raw["status"] };
                            check_history(&history, raw, status, place);
                        }
                        (None, None) => {}
                        other => panic!("{place}: {other:?}"),
                    }
                    "history"
                }
                ("GET", "/api/jobs", 200) => {
                    let jobs = parse_jobs(&bytes).unwrap();
                    let whole = response["jobs"].as_array().unwrap().iter().filter(|job| job.is_object());
                    assert_eq!(jobs.len(), whole.count(), "{place}");
                    "jobs"
                }
                ("GET", _, 200) if path.starts_with("/api/jobs/") => {
                    match (parse_job(&bytes).unwrap(), response["status"].as_str().unwrap()) {
                        (JobAnswer::Pending, "pending") | (JobAnswer::Running, "in_progress") => {}
                        (JobAnswer::Ended(history), word @ ("completed" | "failed" | "cancelled")) => {
                            check_history(&history, &response["outputs"], &response["execution_status"], place);
                            let want = match word {
                                "completed" => "success",
                                "failed" => "error",
                                _ => "interrupted",
                            };
                            assert_eq!(name(&history.ending), want, "{place}");
                        }
                        other => panic!("{place}: {other:?}"),
                    }
                    "job"
                }
                ("GET", "/system_stats", 200) => {
                    let stats = parse_system_stats(&bytes).unwrap();
                    let version = recording.folder.trim_start_matches("gpu-");
                    assert_eq!(stats.comfyui_version.as_deref(), Some(version), "{place}");
                    assert_eq!(stats.devices.len(), 1, "{place}");
                    assert!(stats.ram_total > stats.ram_free && stats.ram_free > 0, "{place}");
                    "system_stats"
                }
                ("POST", "/upload/image", 200) => {
                    let used = parse_uploaded(&bytes).unwrap();
                    assert!(used.contains(response["name"].as_str().unwrap()), "{place}");
                    "upload"
                }
                ("GET", _, 200) if path.starts_with("/object_info/") => {
                    json::parse::<Value>(&bytes).unwrap();
                    "object_info"
                }
                _ => continue,
            };
            *seen.entry(what).or_default() += 1;
        }
    }
    for (what, least) in [
        ("accepted", 220),
        ("count", 60),
        ("history", 80),
        ("job", 10),
        ("jobs", 12),
        ("object_info", 60),
        ("queue", 25),
        ("rejected", 50),
        ("system_stats", 6),
        ("upload", 30),
    ] {
        assert!(seen.get(what).is_some_and(|count| *count >= least), "{what}: {:?}", seen.get(what));
    }
}

#[test]
fn history_and_the_jobs_api_tell_the_same_story() {
    let mut compared = 0;
    for recording in all() {
        let mut histories = BTreeMap::new();
        for http in recording.http().filter(|http| http.status == 200 && http.response.is_object()) {
            let id = http.path.rsplit('/').next().unwrap().to_owned();
            let whole = http.response[&id].get("meta").is_some();
            if http.path.starts_with("/history/") && whole {
                histories.insert(id, history_of(&http));
            } else if http.method == "GET"
                && http.path.starts_with("/api/jobs/")
                && let JobAnswer::Ended(history) = parse_job(&body(&http)).unwrap()
                && let Some(other) = histories.get(&id)
            {
                assert_eq!(other.as_ref(), Some(&history), "{}", http.place);
                compared += 1;
            }
        }
    }
    assert!(compared >= 6, "{compared}");
}

#[test]
fn an_empty_history_is_no_ending() {
    for version in VERSIONS {
        for (number, why) in [("01", "never existed or pending"), ("06", "deleted"), ("14", "lost in a restart")] {
            let recording = one(version, number);
            let empty = recording.http().filter(|http| {
                http.path.starts_with("/history/") && http.response.as_object().is_some_and(serde_json::Map::is_empty)
            });
            let nothing: Vec<Option<History>> = empty.map(|http| history_of(&http)).collect();
            assert!(!nothing.is_empty() && nothing.iter().all(Option::is_none), "{version}: {why}");
        }
    }
}

#[test]
fn failed_and_interrupted_both_say_error_and_are_told_apart() {
    for version in VERSIONS {
        let endings = |number: &str| -> Vec<&str> {
            let recording = one(version, number);
            let mut endings: Vec<&str> = recording
                .http()
                .filter(|http| http.path.starts_with("/history/"))
                .filter_map(|http| history_of(&http))
                .map(|history| name(&history.ending))
                .collect();
            endings.sort_unstable();
            endings.dedup();
            endings
        };
        assert!(endings("07").contains(&"interrupted") && !endings("07").contains(&"error"), "{version}");
        assert!(endings("10").contains(&"error") && !endings("10").contains(&"interrupted"), "{version}");
    }
}

#[test]
fn a_failed_job_keeps_what_was_saved_before() {
    for version in VERSIONS {
        let recording = one(version, "10");
        let kept =
            recording.http().filter(|http| http.path.starts_with("/history/")).filter_map(|http| history_of(&http));
        let kept: Vec<History> =
            kept.filter(|history| matches!(history.ending, Ending::Error(_)) && !history.outputs.is_empty()).collect();
        assert_eq!(kept.len(), 1, "{version}");
        assert_eq!(kept[0].outputs[0].files[0].filename.split('_').next(), Some("partial"), "{version}");
    }
}

#[test]
fn a_job_accepted_in_part_says_what_will_not_run() {
    for version in VERSIONS {
        let recording = one(version, "09");
        let partial = recording
            .http()
            .filter(|http| http.method == "POST" && http.status == 200 && http.path == "/prompt")
            .map(|http| parse_accepted(&body(&http)).unwrap())
            .find(|accepted| !accepted.node_errors.is_empty())
            .unwrap();
        let nodes: Vec<&str> = partial.node_errors.iter().map(|node| node.node_id.as_str()).collect();
        assert_eq!(nodes, ["5", "6"], "{version}");
        assert_eq!(
            partial.node_errors[1].to_string(),
            "node 6 (SaveImage): Required input is missing: filename_prefix"
        );
        assert_eq!(partial.node_errors[0].dependent_outputs, ["5", "6"], "{version}");
        let id = partial.prompt_id.unwrap();
        let history =
            recording.http().find(|http| http.path == format!("/history/{id}")).map(|http| history_of(&http).unwrap());
        assert_eq!(history.unwrap().ending, Ending::Success, "{version}: and yet it ends as a success");
    }
}

/// What a refusal says, by the note that stands before it in recording 09.
fn refusal(version: &str, note: &str) -> String {
    let recording = one(version, "09");
    let mut noted = recording
        .exchanges
        .iter()
        .skip_while(|exchange| exchange["note"].as_str().is_none_or(|text| !text.starts_with(note)));
    let exchange = noted.find(|exchange| exchange.get("http").is_some()).unwrap();
    parse_validation(on_the_wire(&exchange["http"]["response"]).as_bytes()).unwrap().to_string()
}

#[test]
fn a_refusal_says_which_node_and_why() {
    for version in VERSIONS {
        let model = refusal(version, "value not in list: missing model file");
        assert!(model.ends_with("node 10 (UNETLoader): Value not in list: unet_name: 'missing_model.safetensors' not in ['tiny_unet.safetensors']"), "{model}");
        // Long lists are cut by the server: only their length is told.
        let sampler = refusal(version, "value not in list: sampler_name");
        assert!(sampler.contains("sampler_name: 'nope' not in (list of length "), "{sampler}");
        let image = refusal(version, "value not in list: LoadImage");
        assert!(
            image.ends_with(
                "node 1 (LoadImage): Custom validation failed for node: image - Invalid image file: no_such.png"
            ),
            "{image}"
        );
        let link = refusal(version, "bad link: node id absent");
        assert!(link.ends_with("node 2 (PreviewImage): Exception when validating node: '99'"), "{link}");
        assert_eq!(refusal(version, "no outputs"), "the server refused the workflow: Prompt has no outputs");
        let cycle = refusal(version, "cycle");
        assert!(cycle.starts_with("the server refused the workflow: "), "{cycle}");
    }
    let class = refusal("0.3.64", "missing node class");
    assert_eq!(
        class,
        "the server refused the workflow: Cannot execute because node NoSuchNode does not exist. (Node ID '#1')"
    );
    let class = refusal("0.33.0", "missing node class");
    assert!(class.contains("Node 'NoSuchNode' not found. The custom node may not be installed."), "{class}");
}

#[test]
fn the_queue_is_sorted_as_it_will_run() {
    for version in VERSIONS {
        let recording = one(version, "12");
        let queues: Vec<_> = recording.http().filter(|http| http.path == "/queue" && http.method == "GET").collect();
        let queue = parse_queue(&body(&queues[0])).unwrap();
        let numbers: Vec<f64> = queue.pending.iter().map(|item| item.number).collect();
        assert!(
            numbers.is_sorted() && numbers.starts_with(&[-1000.0]) && numbers.contains(&0.5),
            "{version}: {numbers:?}"
        );
        // Equal numbers run in the order of their ids as text.
        let twins = br#"{"queue_running":[],"queue_pending":[[50,"f",{},{},[]],[50.0,"a",{},{},[]],[-1,"z",{},{},[]],[50,"c"]]}"#;
        let ids: Vec<String> = parse_queue(twins).unwrap().pending.into_iter().map(|item| item.prompt_id).collect();
        assert_eq!(ids, ["z", "a", "c", "f"]);
    }
}

#[test]
fn the_queue_says_whose_a_job_is_and_shows_an_id_twice() {
    for version in VERSIONS {
        let recording = one(version, "05");
        let http = recording
            .http()
            .find(|http| http.path == "/queue" && !http.response["queue_running"].as_array().unwrap().is_empty())
            .unwrap();
        let queue = parse_queue(&body(&http)).unwrap();
        let raw = &http.response["queue_running"][0];
        assert_eq!(queue.running[0].client_id.as_deref(), raw[3]["client_id"].as_str(), "{version}");
        assert!(queue.running[0].client_id.is_some(), "{version}");

        let recording = one(version, "12");
        let twice = recording.http().filter(|http| http.path == "/queue" && http.method == "GET").any(|http| {
            let pending = parse_queue(&body(&http)).unwrap().pending;
            pending.windows(2).any(|pair| pair[0] == pair[1])
        });
        assert!(twice, "{version}: a 500 that was queued all the same");
    }
}

#[test]
fn a_queue_of_odd_jobs_is_read_all_the_same() {
    // One job with NaN, one with a lone surrogate, extra_data of any kind, a sixth item.
    let body = br#"{"queue_running":[[0,"a",{"1":{"inputs":{"x":NaN,"y":"\ud800"}}},{"client_id":"me","extra_pnginfo":{"w":[-Infinity]}},[]]],
        "queue_pending":[[1,"b",{},null,[],{}],[2,"c",{},"x",[]],[3,"d",{},[1,[2]],[]],[4,7,{},{"client_id":{"a":[]}},[]],[5,"e",{},{"client_id":9}]]}"#;
    let queue = parse_queue(body).unwrap();
    assert_eq!(queue.running[0].client_id.as_deref(), Some("me"));
    let ids: Vec<&str> = queue.pending.iter().map(|item| item.prompt_id.as_str()).collect();
    assert_eq!(ids, ["b", "c", "d", "7", "e"]);
    let owners: Vec<_> = queue.pending.iter().map(|item| item.client_id.as_deref()).collect();
    assert_eq!(owners, [None, None, None, None, Some("9")]);
}

#[test]
fn nan_and_lone_surrogates_make_no_history_unreadable() {
    for version in VERSIONS {
        let recording = one(version, "20");
        let odd: Vec<Http> = recording.http().filter(|http| http.path.starts_with("/history/")).collect();
        let marks = ["NaN", "-Infinity"];
        let with_marks =
            odd.iter().filter(|http| marks.iter().all(|mark| String::from_utf8_lossy(&body(http)).contains(mark)));
        let endings: Vec<Ending> = with_marks.map(|http| history_of(http).unwrap().ending).collect();
        assert_eq!(endings, [Ending::Success], "{version}");
        let surrogate = recording.messages(None).iter().any(|raw| on_the_wire(raw).contains("\\ud800"));
        assert!(surrogate, "{version}: checked among the messages");
    }
}

#[test]
fn unicode_comes_through() {
    for version in VERSIONS {
        let recording = one(version, "20");
        let files: Vec<OutputRef> = recording
            .http()
            .filter(|http| http.path.starts_with("/history/"))
            .filter_map(|http| history_of(&http))
            .flat_map(|history| history.outputs)
            .flat_map(|output| output.files)
            .collect();
        assert!(
            files.iter().any(|file| file.subfolder == "rec/日本 😀" && file.filename.starts_with('ф')),
            "{version}: {files:?}"
        );
    }
}

#[test]
fn outputs_are_lists_of_files_whatever_their_key() {
    for version in VERSIONS {
        let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for number in ["03", "04"] {
            for http in one(version, number).http().filter(|http| http.path.starts_with("/history/")) {
                for output in history_of(&http).into_iter().flat_map(|history| history.outputs) {
                    let names = output.files.iter().filter(|file| file.kind == FileKind::Output);
                    keys.entry(output.key).or_default().extend(names.map(|file| file.filename.clone()));
                }
            }
        }
        // Videos come under `images`; `text` holds strings, `animated` flags.
        assert_eq!(keys.keys().map(String::as_str).collect::<Vec<_>>(), ["audio", "images", "latents"], "{version}");
        for ending in ["mp4", "webm", "webp", "png"] {
            assert!(keys["images"].iter().any(|name| name.ends_with(ending)), "{version}: {ending}");
        }
        assert!(keys["audio"].iter().any(|name| name.starts_with("au_")), "{version}");
        assert!(keys["images"].iter().all(|name| !name.contains("temp")), "{version}: previews are no results");
    }
}

#[test]
fn a_gpu_is_named_as_people_know_it_and_its_use_is_told() {
    let recording = one("gpu-0.3.64", "27");
    let stats = recording.http().find(|http| http.path == "/system_stats").unwrap();
    let mut gpu = parse_system_stats(&body(&stats)).unwrap().devices.remove(0);
    assert_eq!((gpu.name.as_str(), gpu.kind.as_str(), gpu.is_cpu()), ("NVIDIA H100 80GB HBM3", "cuda", false));
    // On this card nothing else ran: what is used is torch's, and the loaders of CUDA.
    let stats: Vec<&Value> = recording.exchanges.iter().filter_map(|exchange| exchange.get("stats")).collect();
    assert!(stats.len() > 100);
    let mut peak = 0;
    for stats in stats {
        let bytes = |key: &str| stats[key].as_u64().unwrap();
        gpu.vram_free = bytes("vram_free");
        gpu.torch_vram_total = bytes("torch_vram_total");
        gpu.torch_vram_free = bytes("torch_vram_free");
        assert!(gpu.used().abs_diff(gpu.torch_used()) < 1_000_000_000, "{gpu:?}");
        peak = peak.max(gpu.used());
    }
    assert_eq!(peak, 45_828_010_958);
    for version in VERSIONS {
        let stats = one(version, "17").http().find(|http| http.path == "/system_stats").unwrap();
        let cpu = parse_system_stats(&body(&stats)).unwrap().devices.remove(0);
        assert_eq!((cpu.name.as_str(), cpu.is_cpu()), ("cpu", true));
    }
}

#[test]
fn uploads_are_known_by_the_answered_name() {
    for (body, name) in [
        (r#"{"name": "rec_a (1).png", "subfolder": "", "type": "input"}"#, "rec_a (1).png"),
        (r#"{"name": "rec_b.png", "subfolder": "sub/deep", "type": "input"}"#, "sub/deep/rec_b.png"),
        (r#"{"name": "rec_t.png", "subfolder": "", "type": "temp"}"#, "rec_t.png [temp]"),
    ] {
        assert_eq!(parse_uploaded(body.as_bytes()).unwrap(), name);
    }
    for version in VERSIONS {
        let recording = one(version, "15");
        let used: Vec<String> = recording
            .http()
            .filter(|http| http.path == "/upload/image" && http.status == 200)
            .map(|http| parse_uploaded(&body(&http)).unwrap())
            .collect();
        for name in
            ["rec_a (1).png", "sub/deep/rec_b.png", "rec_t.png [temp]", "rec_o.png [output]", "日本 語 фото.png"]
        {
            assert!(used.iter().any(|used| used == name), "{version}: {name} in {used:?}");
        }
    }
}

#[test]
fn the_biggest_seed_is_exact_and_the_smallest_minimum_is_borne() {
    let value: Value = json::parse(br#"{"max":18446744073709551615,"min":-18446744073709551615}"#).unwrap();
    assert_eq!(value["max"].as_u64(), Some(u64::MAX));
    assert!(value["min"].as_f64().is_some_and(|min| min < -1.8e19));
    for version in VERSIONS {
        let seeds =
            one(version, "00").http().any(|http| body(&http).windows(20).any(|part| part == b"18446744073709551615"));
        assert!(seeds, "{version}");
    }
}

#[test]
fn what_is_not_the_jobs_api_is_not_taken_for_it() {
    for other in ["", "<html>", "[]", "{}", r#"{"jobs":{}}"#, r#"{"error":"x"}"#, "null"] {
        assert!(parse_jobs(other.as_bytes()).is_none(), "{other}");
    }
    assert!(parse_system_stats(b"{}").unwrap_err().is_data());
    assert_eq!(parse_job(br#"{"status":"completed"}"#).unwrap(), JobAnswer::Unclear);
    assert_eq!(parse_job(br#"{"status":"frozen"}"#).unwrap(), JobAnswer::Unclear);
}
