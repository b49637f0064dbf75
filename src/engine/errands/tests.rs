//! Errands against a server that answers what each test wants, on a real socket.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::core::{CollectFailure, Collected, First, PostResult};
use super::*;
use crate::comfy::Client;
use crate::job::{FailureKind, JobId};
use crate::store::InputFile;

const PROMPT: &str = "0a1b2c3d-0000-4000-8000-000000000001";

/// A server that answers with what `answer` says to method, path and query, and keeps what it was asked.
struct Server {
    client: Arc<Client>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answer = (u16, &'static str, Vec<u8>);

impl Server {
    async fn with(answer: impl Fn(&str) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let app = Router::new().fallback(move |request: Request| {
            let line = format!("{} {}", request.method(), request.uri());
            log.lock().unwrap().push(line.clone());
            let answer = answer.clone();
            async move {
                // Whatever was sent is read before it is answered, else the sender sees a cut line.
                let _ = axum::body::to_bytes(request.into_body(), 1 << 20).await;
                let (code, kind, body) = answer(&line);
                Response::builder().status(code).header("Content-Type", kind).body(Body::from(body)).unwrap()
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { client: Arc::new(Client::new(&url, &BTreeMap::new()).unwrap()), asked }
    }

    fn asked_for(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.contains(what)).count()
    }
}

fn json_answer(body: &Value) -> Answer {
    (200, "application/json", body.to_string().into_bytes())
}

fn history(outputs: &Value) -> Answer {
    json_answer(&json!({PROMPT: {
        "prompt": [0, PROMPT, {}, {}, []],
        "outputs": outputs,
        "status": {"status_str": "success", "completed": true, "messages": []},
    }}))
}

fn file(name: &str, kind: &str) -> Value {
    json!({"filename": name, "subfolder": "", "type": kind})
}

fn folder() -> (tempfile::TempDir, Arc<Folder>) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path()).unwrap();
    folder.create().unwrap();
    (dir, Arc::new(folder))
}

fn names(folder: &Folder) -> Vec<String> {
    let entries = std::fs::read_dir(&folder.outputs).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn paths(collected: &Collected) -> Vec<&str> {
    collected.outputs.iter().map(|o| o.path.as_str()).collect()
}

fn media(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)).unwrap()
}

fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(16, 16).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

async fn collect(server: &Server, folder: &Arc<Folder>, graph: Option<Value>) -> Result<Collected, CollectFailure> {
    let collect = Collect {
        client: Arc::clone(&server.client),
        folder: Arc::clone(folder),
        prompt_id: PROMPT.to_owned(),
        name: "two".to_owned(),
        salvage: graph.is_some(),
        graph,
        max_bytes: 1 << 20,
        server_folder: None,
    };
    collect.run().await
}

#[tokio::test]
async fn a_file_that_fails_once_leaves_no_second_copy_of_the_others() {
    let (_dir, folder) = folder();
    let fails = Arc::new(Mutex::new(2));
    let still_fails = Arc::clone(&fails);
    let server = Server::with(move |asked| {
        if asked.contains("/history") {
            return history(&json!({"9": {"images": [file("a.txt", "output"), file("b.txt", "output")]}}));
        }
        let mut left = still_fails.lock().unwrap();
        if asked.contains("b.txt") && *left > 0 {
            *left -= 1;
            return (502, "text/html", b"<html>".to_vec());
        }
        (200, "text/plain", asked.as_bytes().to_vec())
    })
    .await;
    for _ in 0..2 {
        assert!(matches!(collect(&server, &folder, None).await, Err(CollectFailure::Later(_))));
        assert!(names(&folder).is_empty(), "{:?}", names(&folder));
    }
    let collected = collect(&server, &folder, None).await.unwrap();
    assert_eq!(paths(&collected), ["outputs/two.txt", "outputs/two-2.txt"]);
    assert_eq!(names(&folder), ["two-2.txt", "two.txt"]);
    assert_eq!(server.asked_for("a.txt"), 1, "what is here is not fetched again");
}

#[tokio::test]
async fn what_was_named_before_a_crash_is_found_again_even_without_its_server() {
    let (_dir, folder) = folder();
    let server = Server::with(|asked| {
        if asked.contains("/history") {
            return history(&json!({"9": {"images": [file("a.txt", "output"), file("huge.txt", "output")]}}));
        }
        let bytes = if asked.contains("huge") { 2 << 20 } else { 10 };
        (200, "text/plain", vec![b'x'; bytes])
    })
    .await;
    let first = collect(&server, &folder, None).await.unwrap();
    assert_eq!(first.notes.len(), 1, "{:?}", first.notes);
    // The engine died before the store had it.
    folder.sweep(|prompt| prompt == PROMPT);
    let gone = Server::with(|_| (502, "text/plain", Vec::new())).await;
    assert_eq!(collect(&gone, &folder, None).await.unwrap(), first);
    assert_eq!(names(&folder), ["two.txt"]);
    assert_eq!(gone.asked_for(""), 0);
}

#[tokio::test]
async fn previews_latents_and_texts_are_no_outputs() {
    let (_dir, folder) = folder();
    let server = Server::with(|asked| {
        assert!(asked.contains("/history"), "nothing is fetched: {asked}");
        history(&json!({
            "7": {"images": [file("p.png", "temp")]},
            "8": {"latents": [file("l.latent", "output")]},
            "9": {"text": ["a caption"]},
        }))
    })
    .await;
    let collected = collect(&server, &folder, None).await.unwrap();
    assert_eq!((collected.outputs.len(), collected.to_measure), (0, false));
    assert_eq!(collected.notes, ["the workflow saved no file"]);
}

#[tokio::test]
async fn the_main_output_is_first_and_the_measurement_is_its() {
    let (_dir, folder) = folder();
    let server = Server::with(|asked| {
        if asked.contains("/history") {
            return history(&json!({
                "9": {"images": [file("one.mp4", "output")]},
                "10": {"images": [file("long.mp4", "output")]},
                "57:8": {"images": [file("two.mp4", "output")]},
                "57:10": {"audio": [file("sound.flac", "output")]},
            }));
        }
        let name = if asked.contains("long") { "still.mp4" } else { "two_frames.mp4" };
        (200, "video/mp4", media(name))
    })
    .await;
    let collected = collect(&server, &folder, None).await.unwrap();
    assert_eq!(paths(&collected), ["outputs/two.mp4", "outputs/two-2.mp4", "outputs/two-3.mp4", "outputs/two.flac"]);
    let main = collected.outputs.first().unwrap();
    assert_eq!(main.bytes, media("still.mp4").len() as u64);
    assert!(collected.to_measure);
    let looks = Measurer::default().looks(&folder, &collected.outputs);
    let frames: Vec<_> = looks.iter().map(|look| look.measurement.frames).collect();
    assert_eq!(frames, [33, 2, 2]);
    assert_eq!(looks[0].curves.ssim_first.len(), 33);
}

#[tokio::test]
async fn a_names_escape_sequences_are_not_shown() {
    let (_dir, folder) = folder();
    let server = Server::with(|asked| {
        if asked.contains("/history") {
            return history(&json!({"9": {"images": [file("a\u{1b}[2Jb.png", "output")]}}));
        }
        (400, "text/plain", Vec::new())
    })
    .await;
    let collected = collect(&server, &folder, None).await.unwrap();
    assert!(collected.notes.iter().all(|note| !note.contains('\u{1b}')), "{:?}", collected.notes);
}

#[tokio::test]
async fn a_proxy_that_wants_a_token_is_asked_again_later() {
    let (_dir, folder) = folder();
    let server = Server::with(|asked| {
        if asked.contains("/history") {
            return history(&json!({"9": {"images": [file("a.png", "output")]}}));
        }
        (403, "text/html", b"<html>log in</html>".to_vec())
    })
    .await;
    assert!(matches!(collect(&server, &folder, None).await, Err(CollectFailure::Later(_))));
}

// ---- salvage --------------------------------------------------------------------------------

fn saving(id: &str, class: &str) -> (String, Value) {
    let prefix = format!("video/x{id}-0a1b2c3d");
    (id.to_owned(), json!({"class_type": class, "inputs": {"filename_prefix": prefix}}))
}

/// A file's name on the server, and its bytes.
type Kept = (&'static str, fn() -> Vec<u8>);

/// A server that has forgotten the prompt, and has these files.
async fn restarted(files: &'static [Kept]) -> Server {
    Server::with(move |asked| {
        assert!(asked.contains("subfolder=video") || !asked.contains("/view"), "{asked}");
        match files.iter().find(|(name, _)| asked.contains(&format!("filename={name}&"))) {
            Some((_, bytes)) => (200, "application/octet-stream", bytes()),
            None => (404, "text/plain", Vec::new()),
        }
    })
    .await
}

#[tokio::test]
async fn a_whole_batch_is_salvaged() {
    let (_dir, folder) = folder();
    let graph: Value = [saving("9", "SaveImage"), saving("10", "SaveLatent")].into_iter().collect();
    let server =
        restarted(&[("x9-0a1b2c3d_00001_.png", png), ("x9-0a1b2c3d_00002_.png", png), ("x9-0a1b2c3d_00003_.png", png)])
            .await;
    let collected = collect(&server, &folder, Some(graph)).await.unwrap();
    assert_eq!(paths(&collected), ["outputs/two.png", "outputs/two-2.png", "outputs/two-3.png"]);
}

#[tokio::test]
async fn what_was_not_finished_is_not_salvaged_and_leaves_nothing() {
    let broken = || media("truncated.mp4");
    let nodes = || -> Value { [saving("9", "SaveImage"), saving("17", "SaveVideo")].into_iter().collect() };
    let unknown = || -> Value { [saving("9", "SaveImage"), saving("17", "SaveSomethingElse")].into_iter().collect() };
    let servers: [(Server, Value); 4] = [
        // The render died before its video, or while it was written.
        (restarted(&[("x9-0a1b2c3d_00001_.png", png)]).await, nodes()),
        (
            Server::with(move |asked| match asked {
                _ if asked.contains("_00001_.png") => (200, "image/png", png()),
                _ if asked.contains("_00001_.mp4") => (200, "video/mp4", broken()),
                _ => (404, "text/plain", Vec::new()),
            })
            .await,
            nodes(),
        ),
        (restarted(&[("x9-0a1b2c3d_00001_.png", png)]).await, unknown()),
        (restarted(&[]).await, json!({})),
    ];
    for (server, graph) in servers {
        let (_dir, folder) = folder();
        assert!(matches!(collect(&server, &folder, Some(graph)).await, Err(CollectFailure::Gone(_))));
        assert_eq!(std::fs::read_dir(&folder.outputs).unwrap().count(), 0, "not even hidden");
    }
}

// ---- uploads and posts ----------------------------------------------------------------------

const PAGE: &str = "<html><title>a proxy</title></html>";

#[tokio::test]
async fn an_upload_that_would_fail_again_is_refused_and_any_other_waits() {
    let dir = tempfile::tempdir().unwrap();
    let stored = dir.path().join("x.png");
    std::fs::write(&stored, "x").unwrap();
    for (code, body, is_refused) in [
        (400, "", true),
        (413, "too large", true),
        (413, PAGE, true),
        (415, "", true),
        (500, "500 Internal Server Error", true),
        (400, PAGE, false),
        (500, PAGE, false),
        (401, "", false),
        (403, PAGE, false),
        (200, PAGE, false),
        (302, "", false),
        (404, "", false),
        (502, PAGE, false),
        (503, "", false),
        (504, "", false),
    ] {
        let kind = if body == PAGE { "text/html" } else { "text/plain" };
        let server = Server::with(move |_| (code, kind, body.as_bytes().to_vec())).await;
        let file = InputFile {
            node: "1".to_owned(),
            input: "image".to_owned(),
            name: "x.png".to_owned(),
            stored: Some(stored.clone()),
            from: None,
            takes: crate::workflow::SlotType::Image,
            of_server: false,
        };
        match upload(&server.client, vec![file]).await {
            Err(PostResult::Refused(why)) if is_refused => {
                assert_eq!(why.kind, FailureKind::File);
                assert!(why.message.contains("x.png") && why.message.contains(&code.to_string()), "{}", why.message);
            }
            Err(PostResult::NotSent(_)) if !is_refused => {}
            other => panic!("{code} {body:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_post_is_refused_by_comfyui_alone() {
    for (code, body, expected) in [
        (400, "no", "refused"),
        (413, PAGE, "refused"),
        (400, PAGE, "not sent"),
        (401, "", "not sent"),
        (403, PAGE, "not sent"),
        (302, "", "not sent"),
        (200, PAGE, "not sent"),
        (404, "404 page not found", "not sent"),
        (404, PAGE, "not sent"),
        (429, "", "not sent"),
        (200, "", "unsure"),
        (500, "500 Internal Server Error", "unsure, refused"),
        (500, PAGE, "unsure"),
        (502, PAGE, "unsure"),
        (503, "", "unsure"),
        (504, "gateway time-out", "unsure"),
    ] {
        let kind = if body == PAGE { "text/html" } else { "text/plain" };
        let server = Server::with(move |_| (code, kind, body.as_bytes().to_vec())).await;
        let found = match post(&server.client, "me", PROMPT, &json!({}), None, None).await {
            PostResult::Accepted { .. } => "accepted",
            PostResult::Refused(_) => "refused",
            PostResult::NotSent(_) => "not sent",
            PostResult::NotWanted => "not wanted",
            PostResult::Unsure { refused: true, .. } => "unsure, refused",
            PostResult::Unsure { .. } => "unsure",
        };
        assert_eq!(found, expected, "{code} {body:?}");
    }
}

// ---- panics ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_panic_is_an_answer() {
    let words = caught(async { panic!("a \u{1b}[2Jbug") }).await.map(|(): ()| ()).unwrap_err();
    assert_eq!(words, "an error inside comfytop: a [2Jbug");
    assert_eq!(caught(async { 7 }).await, Ok(7));
    let words = blocking(|| panic!("bug {}", 7)).await.map(|(): ()| ()).unwrap_err();
    assert!(words.ends_with("bug 7"), "{words}");
}

#[tokio::test]
async fn a_look_that_fails_says_why() {
    let server = Server::with(|_| (502, "text/plain", Vec::new())).await;
    let why = look(&server.client, vec![(JobId(1), PROMPT.to_owned())], First::Nothing).await.unwrap_err();
    assert!(why.contains("502"), "{why}");
}
