//! Names and texts from outside that would like to do harm: to the file system, or to a terminal.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, response::IntoResponse};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::stage::{Stage, Wish, assert_harmless, job};

/// Clears the screen, changes the title, asks the terminal to type something back, and turns text round.
const EVIL: &str = "\u{1b}[2J\u{1b}]0;pwned\u{7}\u{9b}31m\u{202e}\r\u{8}\u{7f}";

/// Where the outputs of the evil server say that they are: file name and subfolder.
const PLACES: &[(&str, &str)] = &[
    ("../../escaped.mp4", ""),
    ("/escaped.mp4", ""),
    ("escaped.mp4", "../../.."),
    ("a\u{1b}[2J\nb.mp4", "\u{0}"),
    ("C:\\escaped.mp4", ""),
    ("CON.mp4", ""),
    ("..", ""),
    ("name.mp4/../../escaped", ""),
    ("x.%2e%2e%2fescaped", ""),
];

/// Speaks just enough of ComfyUI.
#[derive(Clone, Default)]
struct Evil {
    ears: Arc<Mutex<Vec<UnboundedSender<String>>>>,
}

async fn stats() -> Json<Value> {
    let name = format!("{EVIL}cuda:0 Evil{EVIL} : x{EVIL}");
    Json(json!({
        "system": {"os": EVIL, "ram_total": 1, "ram_free": -5, "comfyui_version": format!("9{EVIL}"), "python_version": EVIL,
            "pytorch_version": EVIL, "embedded_python": false, "argv": ["main.py", format!("--{EVIL}")]},
        "devices": [{"name": name, "type": "cuda", "index": 0, "vram_total": u64::MAX, "vram_free": -1,
            "torch_vram_total": 1e300, "torch_vram_free": 0}],
    }))
}

async fn hear(State(evil): State<Evil>, upgrade: WebSocketUpgrade) -> impl IntoResponse {
    upgrade.on_upgrade(move |mut socket| async move {
        let (ear, mut said) = unbounded_channel();
        evil.ears.lock().expect("not poisoned").push(ear);
        while let Some(text) = said.recv().await {
            if socket.send(Message::Text(text.into())).await.is_err() {
                break;
            }
        }
    })
}

async fn take(State(evil): State<Evil>, Json(body): Json<Value>) -> Json<Value> {
    let id = body["prompt_id"].clone();
    let say = |kind: &str, data: Value| {
        let text = json!({"type": kind, "data": data}).to_string();
        evil.ears.lock().expect("not poisoned").iter().for_each(|ear| drop(ear.send(text.clone())));
    };
    say("execution_start", json!({"prompt_id": id, "timestamp": 1}));
    say("executing", json!({"prompt_id": id, "node": EVIL, "display_node": EVIL}));
    say("progress", json!({"prompt_id": id, "node": EVIL, "value": -3, "max": 0}));
    say("progress", json!({"prompt_id": id, "node": EVIL, "value": 1e300, "max": 2}));
    say("execution_success", json!({"prompt_id": id, "timestamp": -1}));
    say("executing", json!({"prompt_id": id, "node": null}));
    Json(json!({"prompt_id": id, "number": 1, "node_errors": {}}))
}

async fn history(Path(id): Path<String>) -> Json<Value> {
    let files: Vec<_> =
        PLACES.iter().map(|(name, sub)| json!({"filename": name, "subfolder": sub, "type": "output"})).collect();
    Json(json!({&id: {
        "prompt": [1, id, {}, {}, ["1"]],
        "outputs": {"1": {"images": files}},
        "status": {"status_str": "success", "completed": true, "messages": [["execution_success", {"prompt_id": id}]]},
    }}))
}

/// The evil server, for as long as the test program runs.
fn evil() -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            tell.send(listener.local_addr().expect("bound")).expect("the test waits");
            let app = Router::new()
                .route("/system_stats", get(stats))
                .route("/ws", get(hear))
                .route("/prompt", get(async || Json(json!({"exec_info": {"queue_remaining": 0}}))).post(take))
                .route(
                    "/queue",
                    get(async || Json(json!({"queue_running": [], "queue_pending": []}))).post(async || ()),
                )
                .route("/history/{id}", get(history))
                .route("/view", get(async || "not a clip"))
                .route("/interrupt", post(async || ()))
                .with_state(Evil::default());
            axum::serve(listener, app).await.expect("served");
        });
    });
    told.recv().expect("an address")
}

#[test]
fn outputs_stay_in_their_folder_whatever_the_server_calls_them() {
    let mut stage = Stage::bare();
    stage.url = format!("http://{}", evil());
    stage.start_engine();
    let outside = |stage: &Stage| {
        let base = stage.root.parent().expect("a parent");
        let names = |at: &std::path::Path| {
            let entries =
                fs::read_dir(at).expect("there").flatten().map(|e| e.file_name().to_string_lossy().into_owned());
            let mut names: Vec<_> = entries.filter(|name| name != "engine.log").collect();
            names.sort();
            names
        };
        (names(base), names(&stage.root), names(&stage.at("jobs")))
    };
    let before = outside(&stage);
    let saver = json!({"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}});
    let graph = json!({"1": saver, "2": {"class_type": "Anything", "inputs": {}, "_meta": {"title": EVIL}}});
    let job = json!({"workflow": graph, "name": format!("../../../evil{EVIL}")});
    stage.drop_file("evil.json", job.to_string());
    let row = stage.until_state(1, "done");
    let outputs = stage.names("outputs");
    assert_eq!(outputs.len(), PLACES.len(), "{outputs:?}");
    for name in &outputs {
        assert_harmless(name);
        assert!(name.contains("evil") && !name.starts_with('.'), "{name}");
    }
    for output in row["outputs"].as_array().unwrap() {
        let path = output["path"].as_str().unwrap();
        assert!(path.starts_with("outputs/") && stage.at(path).is_file(), "{path}");
    }
    stage.until_file("jobs/done/000001-evil.json.result.json");
    assert_eq!(outside(&stage), before, "nothing anywhere else");
    for args in
        [&["ls"][..], &["ls", "--json"], &["show", "1"], &["show", "1", "--graph"], &["status"], &["status", "--json"]]
    {
        let ran = stage.run(args);
        assert_harmless(&ran.out);
        assert_harmless(&ran.err);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_harmless(&stage.logged());
}

#[test]
fn texts_with_escape_sequences_reach_no_terminal_raw() {
    // The node fails with a message as evil as the rest.
    let throws = r#"[[fault]]
        on = { node = "VAEDecode" }
        do = { node_error = { type = "Evil\u001b[31mError", message = "boom\u001b]0;pwned\u0007\u009b2J\u202e" } }
        "#;
    let stage = Stage::with(&Wish::faulty(throws));
    stage.put_image();
    let mut evil = job(&format!("name{EVIL}"), 1);
    evil["prompt"] = json!(format!("a prompt{EVIL}"));
    evil["note"] = json!(format!("a note{EVIL}"));
    evil["tags"] = json!([format!("tag{EVIL}")]);
    let mut good = evil.clone();
    good["seed"] = json!(2);
    let unknown = json!({"workflow": format!("flow{EVIL}"), EVIL: EVIL});
    stage.drop_file("evil.json", json!([evil, good, unknown]).to_string());
    stage.until_state(1, "failed");
    stage.until_state(2, "done");
    stage.until_state(3, "rejected");
    stage.until_file("jobs/failed/000001-evil.json.error.txt");
    assert_harmless(&stage.text("jobs/failed/000001-evil.json.error.txt"));
    assert_harmless(&stage.names("outputs").concat());
    for id in ["1", "2", "3"] {
        let shown = stage.run(&["show", id]).well();
        assert_harmless(&shown);
    }
    let shown = stage.show(2);
    assert!(shown.contains("a prompt") && shown.contains("a note") && shown.contains("tag"), "{shown}");
    for args in [&["ls"][..], &["ls", "--json"], &["show", "2", "--graph"], &["status"]] {
        let out = stage.run(args).well();
        assert_harmless(&out);
        assert!(!out.contains('\u{9b}'), "{out}");
    }
    // What was asked of the server is what the job said, unchanged.
    let graph: Value = serde_json::from_str(&stage.run(&["show", "2", "--graph"]).well()).unwrap();
    assert_eq!(graph["10"]["inputs"]["text"], format!("a prompt{EVIL}"));
    assert_harmless(&stage.logged());
}
