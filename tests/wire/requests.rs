//! What the client asks, in which order, and what it makes of recorded answers.

use std::collections::BTreeMap;
use std::path::Path;

use comfytop::comfy::{Client, ComfyError, Ending, FileKind, LookUp, OutputRef, Submission};
use serde_json::{Value, json};

use super::recordings::{Http, VERSIONS, one};
use super::server::{Server, client, empty, json as answer, replay, reply};

const ID: &str = "8175da4c-a5b7-4859-bd3e-4c6cbc9949ed";

fn graph() -> Value {
    json!({"1": {"class_type": "EmptyImage", "inputs": {"seed": u64::MAX, "cfg": 1.0}}})
}

fn submission(graph: &Value) -> Submission<'_> {
    Submission { prompt_id: ID, client_id: "me", graph, extra_data: None }
}

fn recorded(version: &str, number: &str, wanted: impl Fn(&Http) -> bool) -> Http {
    one(version, number).http().find(wanted).unwrap()
}

#[tokio::test]
async fn the_jobs_api_is_found_by_asking() {
    for (version, has) in [("0.3.64", false), ("0.33.0", true)] {
        let http = recorded(version, "05", |http| http.path == "/api/jobs");
        let server = Server::start(move |_| replay(&http)).await;
        let client = server.client();
        assert_eq!(client.has_jobs_api().await.unwrap(), has, "{version}");
        assert_eq!(client.running_now().await.unwrap().is_some(), has, "{version}");
        assert_eq!(server.lines()[0], "GET /api/jobs?limit=1");
        assert!(!server.lines().iter().any(|line| line.contains("system_stats") || line.contains("POST")));
    }
    // A page for everything is no jobs API.
    let server = Server::always(200, "text/html", "<!doctype html>").await;
    assert!(!server.client().has_jobs_api().await.unwrap());
}

#[tokio::test]
async fn without_the_jobs_api_the_queue_is_asked_before_the_history() {
    let queue = recorded("0.3.64", "05", |http| http.path == "/queue");
    let ids: Vec<String> = ["queue_running", "queue_pending"]
        .iter()
        .map(|list| queue.response[list][0][1].as_str().unwrap().to_owned())
        .collect();
    let ended = recorded("0.3.64", "01", |http| {
        http.path.starts_with("/history/") && http.response.as_object().is_some_and(|entries| !entries.is_empty())
    });
    let ended_id = ended.path.rsplit('/').next().unwrap().to_owned();
    let server = Server::start(move |seen| match seen.line.as_str() {
        "GET /queue" => replay(&queue),
        line if line.starts_with("GET /api/jobs") => empty(404),
        line if line.ends_with(ended.path.as_str()) => replay(&ended),
        _ => answer("{}"),
    })
    .await;
    let client = server.client();
    assert_eq!(client.look_up(&ids[0]).await.unwrap(), LookUp::Running);
    assert_eq!(client.look_up(&ids[1]).await.unwrap(), LookUp::Pending);
    assert!(
        matches!(client.look_up(&ended_id).await.unwrap(), LookUp::Ended(history) if history.ending == Ending::Success)
    );
    let before = server.lines().len();
    assert_eq!(client.look_up(ID).await.unwrap(), LookUp::Unknown);
    assert_eq!(server.lines()[before..], ["GET /queue".to_owned(), format!("GET /history/{ID}")]);
    assert_eq!(server.lines().iter().filter(|line| line.contains("limit=1")).count(), 1, "features are asked once");
    assert_eq!(client.running_now().await.unwrap(), None);
    assert_eq!(client.queue_outline().await.unwrap(), None);
}

#[tokio::test]
async fn with_the_jobs_api_one_small_question_is_enough() {
    let list = recorded("0.33.0", "05", |http| http.path == "/api/jobs");
    let jobs: BTreeMap<String, Http> = one("0.33.0", "05")
        .http()
        .chain(one("0.33.0", "01").http())
        .filter(|http| http.path.starts_with("/api/jobs/"))
        .map(|http| (format!("GET {}", http.path), http))
        .collect();
    let of = |status: &str| {
        let found = jobs.values().find(|http| http.response["status"] == status).unwrap();
        found.path.rsplit('/').next().unwrap().to_owned()
    };
    let (pending, running, done) = (of("pending"), of("in_progress"), of("completed"));
    let server = Server::start(move |seen| match jobs.get(&seen.line) {
        Some(http) => replay(http),
        None if seen.line == "GET /api/jobs?limit=1" => replay(&list),
        None => reply(404, "application/json", r#"{"error": "Job not found"}"#),
    })
    .await;
    let client = server.client();
    assert_eq!(client.look_up(&pending).await.unwrap(), LookUp::Pending);
    assert_eq!(client.look_up(&running).await.unwrap(), LookUp::Running);
    assert!(matches!(client.look_up(&done).await.unwrap(), LookUp::Ended(history) if !history.outputs.is_empty()));
    assert_eq!(client.look_up("ffffffff-ffff-4fff-8fff-ffffffffffff").await.unwrap(), LookUp::Unknown);
    assert!(server.lines().iter().all(|line| line.starts_with("GET /api/jobs")), "{:?}", server.lines());
}

#[tokio::test]
async fn an_older_server_in_the_place_of_a_newer_is_noticed() {
    let list = recorded("0.33.0", "05", |http| http.path == "/api/jobs");
    let server = Server::start(move |seen| match seen.line.as_str() {
        "GET /api/jobs?limit=1" => replay(&list),
        "GET /queue" => answer(
            r#"{"queue_running": [], "queue_pending": [[1, "8175da4c-a5b7-4859-bd3e-4c6cbc9949ed", {}, {}, []]]}"#,
        ),
        _ => empty(404),
    })
    .await;
    assert_eq!(server.client().look_up(ID).await.unwrap(), LookUp::Pending);
}

#[tokio::test]
async fn what_runs_is_told_in_a_few_bytes_where_that_is_possible() {
    let running = recorded("0.33.0", "05", |http| {
        http.path == "/api/jobs" && http.response["jobs"].as_array().is_some_and(|jobs| jobs.len() == 5)
    });
    let server = Server::start(move |_| replay(&running)).await;
    let queue = server.client().queue_outline().await.unwrap().unwrap();
    assert_eq!((queue.running.len(), queue.pending.len()), (1, 4));
    assert!(queue.pending.is_sorted_by(|a, b| a.number <= b.number));
    assert_eq!(server.lines()[1], "GET /api/jobs?status=pending%2Cin_progress");
}

#[tokio::test]
async fn a_job_is_posted_with_its_client_next_to_its_prompt() {
    let server = Server::always(
        200,
        "application/json",
        r#"{"prompt_id": "8175da4c-a5b7-4859-bd3e-4c6cbc9949ed", "number": 7, "node_errors": {}}"#,
    )
    .await;
    let headers = BTreeMap::from([("X-Token".to_owned(), "secret".to_owned())]);
    let client = Client::new(&server.url, &headers).unwrap();
    let accepted = client.submit(&submission(&graph())).await.unwrap();
    assert_eq!((accepted.number, accepted.prompt_id.as_deref()), (7.0, Some(ID)));
    let extra = json!({"extra_pnginfo": {}});
    client.submit(&Submission { extra_data: extra.as_object(), ..submission(&graph()) }).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /prompt");
    let bodies: Vec<Value> = seen.iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    assert_eq!(bodies[0], json!({"prompt_id": ID, "client_id": "me", "prompt": graph()}));
    assert_eq!(bodies[1]["extra_data"], extra);
    // The server answers 403 to foreign origins, and compresses with what we could not undo.
    for name in ["origin", "referer", "accept-encoding", "cookie"] {
        assert!(!seen[0].headers.contains_key(name), "{name}");
    }
    assert!(!seen[0].headers.keys().any(|name| name.as_str().starts_with("sec-")));
    assert_eq!(seen[0].headers["x-token"], "secret");
}

#[tokio::test]
async fn every_recorded_refusal_of_a_post_is_told_apart() {
    for version in VERSIONS {
        let mut kinds = BTreeMap::new();
        for number in ["09", "11", "12", "19"] {
            let refused = one(version, number)
                .http()
                .filter(|http| http.method == "POST" && http.path == "/prompt" && http.status != 200)
                .collect::<Vec<_>>();
            for http in refused {
                let (place, status) = (http.place.clone(), http.status);
                let server = Server::start(move |_| replay(&http)).await;
                let error = server.client().submit(&submission(&graph())).await.unwrap_err();
                let expected = match (&error, status) {
                    (ComfyError::Rejected(_), 400) | (ComfyError::Unauthorized { code: 403, .. }, 403) => {
                        !error.may_have_arrived()
                    }
                    (ComfyError::Status { code: 413, excerpt, .. }, 413) => {
                        excerpt.starts_with("Maximum request body size") && !error.may_have_arrived()
                    }
                    // One of these was queued: the README's trap 7.
                    (ComfyError::Status { code: 500, excerpt, .. }, 500) => {
                        excerpt == "500 Internal Server Error Server got itself in trouble" && error.may_have_arrived()
                    }
                    _ => false,
                };
                assert!(expected && !error.is_unreachable(), "{place}: {error:?}");
                *kinds.entry(status).or_insert(0) += 1;
            }
        }
        assert_eq!(kinds.keys().copied().collect::<Vec<_>>(), [400, 403, 413, 500], "{version}: {kinds:?}");
    }
}

#[tokio::test]
async fn a_cancel_deletes_and_interrupts_and_never_interrupts_anyone_else() {
    let server = Server::start(|_| empty(200)).await;
    let client = server.client();
    client.cancel(ID).await.unwrap();
    client.delete_pending(&[]).await.unwrap();
    client.interrupt("").await.unwrap();
    client.free(true, false).await.unwrap();
    let sent: Vec<(String, Value)> =
        server.seen().iter().map(|seen| (seen.line.clone(), serde_json::from_slice(&seen.body).unwrap())).collect();
    let want = [
        ("POST /queue".to_owned(), json!({"delete": [ID]})),
        ("POST /interrupt".to_owned(), json!({"prompt_id": ID})),
        ("POST /free".to_owned(), json!({"unload_models": true, "free_memory": false})),
    ];
    assert_eq!(sent, want);
}

#[tokio::test]
async fn an_upload_sends_a_name_the_server_takes_and_uses_the_answered_one() {
    let server =
        Server::always(200, "application/json", r#"{"name": "rec_a (1).png", "subfolder": "sub", "type": "input"}"#)
            .await;
    let client = server.client();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, b"\x89PNG bytes").unwrap();
    assert_eq!(client.upload("../日本 語.png", &path).await.unwrap(), "sub/rec_a (1).png");
    let seen = &server.seen()[0];
    let body = String::from_utf8_lossy(&seen.body);
    assert_eq!(seen.line, "POST /upload/image");
    assert!(body.contains("name=\"image\"; filename=\"日本 語.png\""), "{body}");
    assert!(seen.body.windows(10).any(|part| part == b"\x89PNG bytes"));
    assert!(!body.contains("overwrite"));
    let error = client.upload("x", Path::new("no/such/file")).await.unwrap_err();
    assert!(matches!(&error, ComfyError::File { .. }) && error.to_string().contains("file"), "{error}");
}

#[tokio::test]
async fn an_input_is_looked_for_by_its_head() {
    let server = Server::start(|seen| empty(if seen.line.contains("there.png") { 200 } else { 404 })).await;
    let client = server.client();
    assert!(client.input_exists("sub/deep/there.png").await.unwrap());
    assert!(!client.input_exists("no.png").await.unwrap());
    assert!(!client.input_exists("../there.png").await.unwrap(), "not even asked");
    assert_eq!(
        server.lines(),
        [
            "HEAD /view?filename=there.png&subfolder=sub%2Fdeep&type=input",
            "HEAD /view?filename=no.png&subfolder=&type=input"
        ]
    );
}

#[tokio::test]
async fn a_class_that_the_server_lacks_is_none() {
    for version in VERSIONS {
        let http = recorded(version, "17", |http| http.path == "/object_info/NoSuchNode");
        let server = Server::start(move |_| replay(&http)).await;
        assert_eq!(server.client().object_info_class("NoSuchNode").await.unwrap(), None, "{version}");
    }
    let server = Server::always(200, "application/json", r#"{"A B": {"input": {}}}"#).await;
    assert!(server.client().object_info_class("A B").await.unwrap().is_some());
    assert_eq!(server.lines(), ["GET /object_info/A%20B"]);
}

#[tokio::test]
async fn a_base_path_goes_before_every_address() {
    let server = Server::always(200, "application/json", r#"{"exec_info": {"queue_remaining": 3}}"#).await;
    let client = client(&format!("{}/comfy", server.url));
    assert_eq!(client.queue_remaining().await.unwrap(), 3);
    assert_eq!(server.lines(), ["GET /comfy/prompt"]);
}

// /view

fn clip(name: &str) -> OutputRef {
    OutputRef { filename: name.to_owned(), subfolder: "rec/video".to_owned(), kind: FileKind::Output }
}

fn whole_file() -> Vec<u8> {
    (0..2252u32).map(|at| (at % 251) as u8).collect()
}

/// Serves `whole_file` as aiohttp does, ranges included (recording 03).
async fn file_server() -> Server {
    Server::start(|seen| {
        let file = whole_file();
        let size = file.len();
        let from = seen.headers.get("range").map(|range| {
            range.to_str().unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap()
        });
        let response = axum::http::Response::builder().header("content-type", "video/mp4");
        let response = match from {
            None => response.status(200).body(axum::body::Body::from(file)),
            Some(from) if from < size => response
                .status(206)
                .header("content-range", format!("bytes {from}-{}/{size}", size - 1))
                .body(axum::body::Body::from(file[from..].to_vec())),
            Some(_) => {
                response.status(416).header("content-range", format!("bytes */{size}")).body(axum::body::Body::empty())
            }
        };
        response.unwrap()
    })
    .await
}

#[tokio::test]
async fn a_file_is_announced_and_then_comes_whole() {
    let server = file_server().await;
    let mut download = server.client().view(&clip("v.mp4"), 0).await.unwrap();
    assert_eq!((download.start(), download.size()), (0, Some(2252)));
    let mut got = Vec::new();
    assert_eq!(download.write_to(&mut got, 1 << 20).await.unwrap(), 2252);
    assert_eq!(got, whole_file());
    assert_eq!(server.lines(), ["GET /view?filename=v.mp4&subfolder=rec%2Fvideo&type=output"]);
}

#[tokio::test]
async fn a_download_goes_on_where_it_stopped() {
    let server = file_server().await;
    let client = server.client();
    let mut download = client.view(&clip("v.mp4"), 100).await.unwrap();
    assert_eq!((download.start(), download.size()), (100, Some(2252)));
    let mut got = whole_file()[..100].to_vec();
    download.write_to(&mut got, 1 << 20).await.unwrap();
    assert_eq!(got, whole_file());
    // All of it was here already; and a file that is shorter than what we have.
    let mut download = client.view(&clip("v.mp4"), 2252).await.unwrap();
    assert_eq!(download.write_to(&mut got, 1 << 20).await.unwrap(), 0);
    assert!(matches!(client.view(&clip("v.mp4"), 9999).await, Err(ComfyError::Status { code: 416, .. })));
    // A server without ranges sends all of it again, and says so.
    let server = Server::always(200, "video/mp4", "whole").await;
    let download = server.client().view(&clip("v.mp4"), 3).await.unwrap();
    assert_eq!((download.start(), download.size()), (0, Some(5)));
}

#[tokio::test]
async fn a_file_that_is_too_big_is_refused_before_it_comes() {
    let server = file_server().await;
    let mut download = server.client().view(&clip("v.mp4"), 0).await.unwrap();
    let mut got = Vec::new();
    let error = download.write_to(&mut got, 2251).await.unwrap_err();
    assert!(matches!(error, ComfyError::TooBig { bytes: 2252, limit: 2251, .. }), "{error}");
    assert!(got.is_empty());
}

#[tokio::test]
async fn a_file_that_is_gone_is_told_from_a_server_that_is() {
    for version in VERSIONS {
        for http in
            one(version, "16").http().filter(|http| http.path == "/view" && http.method == "GET" && http.status >= 400)
        {
            let (status, place) = (http.status, http.place.clone());
            let server = Server::start(move |_| replay(&http)).await;
            let error = server.client().view(&clip("nope.mp4"), 0).await.map(drop).unwrap_err();
            assert_eq!(error.is_gone(), status == 404, "{place}: {error}");
            assert!(!error.is_unreachable(), "{place}: {error}");
        }
    }
}

#[tokio::test]
async fn a_page_in_the_place_of_a_clip_is_no_clip() {
    let server = Server::always(200, "text/html; charset=utf-8", "<html><title>Log in</title>").await;
    let client = server.client();
    assert!(matches!(client.view(&clip("v.mp4"), 0).await, Err(ComfyError::NotComfyUi { .. })));
    assert!(client.view(&clip("page.html"), 0).await.is_ok(), "0.3.64 serves saved pages as what they are");
}
