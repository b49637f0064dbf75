//! The driver on real sockets: answers, websockets, cut connections, a crash and a return.

use std::io::ErrorKind;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::super::{Scenario, clips, prompts};
use super::*;

async fn up(scenario: &str, options: Options) -> SocketAddr {
    let scenario = Scenario::parse(scenario).unwrap();
    spawn(Options { scenario, render_seconds: 0.0, ..options }).await.unwrap().0
}

/// One request on a connection of its own; the whole answer as bytes.
async fn raw(addr: SocketAddr, request: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn ask(addr: SocketAddr, method: &str, path: &str, body: &str) -> io::Result<(String, Vec<u8>)> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(addr, &request).await?;
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    Ok((String::from_utf8_lossy(&answer[..split]).into_owned(), answer[split + 4..].to_vec()))
}

async fn json_of(addr: SocketAddr, method: &str, path: &str, body: &str) -> Value {
    let (head, body) = ask(addr, method, path, body).await.unwrap();
    wire::parse(&body).unwrap_or_else(|| panic!("{method} {path}: {head}"))
}

fn wan(seed: u64) -> String {
    let mut prompt = prompts::wan_loop(seed);
    // No upload needed.
    prompt.insert(
        "1".to_owned(),
        json!({"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}),
    );
    json!({"prompt": prompt, "client_id": "me"}).to_string()
}

type Ws = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

async fn listen(addr: SocketAddr) -> Ws {
    tokio_tungstenite::connect_async(format!("ws://{addr}/ws?clientId=me")).await.unwrap().0
}

async fn heard(ws: &mut Ws, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        if let WsMessage::Text(text) = ws.next().await.expect("the socket stays open").unwrap() {
            let message = wire::parse(text.as_bytes()).unwrap();
            if wanted(&message) {
                return message;
            }
        }
    }
}

fn is_end(message: &Value) -> bool {
    message["type"] == "executing" && message["data"]["node"].is_null()
}

#[tokio::test]
async fn a_job_goes_through_and_its_file_comes_back() {
    let addr = up("", Options::default()).await;
    let mut ws = listen(addr).await;
    ws.send(WsMessage::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    let id = json_of(addr, "POST", "/api/prompt", &wan(3)).await["prompt_id"].as_str().unwrap().to_owned();
    heard(&mut ws, is_end).await;
    let history = json_of(addr, "GET", &format!("/history/{id}"), "").await;
    assert_eq!(history[&id]["outputs"]["17"]["images"][0]["filename"], "wan22_00001_.mp4");
    let path = "/view?filename=wan22_00001_.mp4&subfolder=video&type=output";
    let (head, body) = ask(addr, "GET", path, "").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: video/mp4"), "{head}");
    assert_eq!(body, clips::CLIPS[3].mp4);
    let (head, body) = ask(addr, "HEAD", path, "").await.unwrap();
    assert!(body.is_empty() && head.contains(&format!("content-length: {}", clips::CLIPS[3].mp4.len())), "{head}");
    let (head, _) = ask(addr, "POST", "/nope", "").await.unwrap();
    assert!(head.starts_with("HTTP/1.1 405") && head.contains("allow: GET,HEAD"), "{head}");
}

#[tokio::test]
async fn pings_are_answered() {
    let addr = up("", Options::default()).await;
    let mut ws = listen(addr).await;
    ws.send(WsMessage::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    loop {
        if let WsMessage::Pong(bytes) = ws.next().await.unwrap().unwrap() {
            assert_eq!(&bytes[..], b"there?");
            return;
        }
    }
}

#[tokio::test]
async fn an_upload_is_taken_apart() {
    let addr = up("", Options::default()).await;
    let part = "--b\r\nContent-Disposition: form-data; name=\"image\"; filename=\"日本 x.png\"\r\nContent-Type: image/png\r\n\r\nbytes\r\n\
                --b\r\nContent-Disposition: form-data; name=\"subfolder\"\r\n\r\nsub\r\n--b--\r\n";
    let request = format!(
        "POST /upload/image HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n{part}",
        part.len()
    );
    let answer = String::from_utf8(raw(addr, &request).await.unwrap()).unwrap();
    assert!(answer.ends_with(r#"{"name": "\u65e5\u672c x.png", "subfolder": "sub", "type": "input"}"#), "{answer}");
}

#[tokio::test]
async fn a_lost_answer_leaves_a_queued_job() {
    let addr = up("[[fault]]\non = { post = 1 }\ndo = \"post_lost\"\n", Options::default()).await;
    assert!(ask(addr, "POST", "/prompt", &wan(1)).await.is_err());
    while json_of(addr, "GET", "/history", "").await == json!({}) {}
}

#[tokio::test]
async fn a_cut_download_is_announced_whole() {
    let addr = up("[[fault]]\non = { request = \"GET /view\" }\ndo = { view_cut = 100 }\n", Options::default()).await;
    let mut ws = listen(addr).await;
    json_of(addr, "POST", "/prompt", &wan(0)).await;
    heard(&mut ws, is_end).await;
    let path = "/view?filename=wan22_00001_.mp4&subfolder=video";
    let whole = clips::CLIPS[0].mp4.len();
    // Where the cut is seen as an error, the bytes before it are lost to this simple reader.
    if let Ok((head, body)) = ask(addr, "GET", path, "").await {
        assert!(head.contains(&format!("content-length: {whole}")), "{head}");
        assert!(body.len() <= 100, "{}", body.len());
    }
    assert_eq!(ask(addr, "GET", path, "").await.unwrap().1.len(), whole);
}

#[tokio::test]
async fn a_crash_cuts_everything_and_the_server_returns_with_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.jsonl");
    let options = Options { dir: Some(dir.path().to_owned()), log: Some(log.clone()), ..Options::default() };
    let addr = up("[[fault]]\non = { post = 2 }\ndo = { crash = 0.3 }\n", options).await;
    let mut ws = listen(addr).await;
    json_of(addr, "POST", "/prompt", &wan(1)).await;
    heard(&mut ws, is_end).await;
    assert!(ask(addr, "POST", "/prompt", &wan(2)).await.is_err());
    // No close frame: an error, or the bare end of the stream.
    loop {
        match ws.next().await {
            None | Some(Err(_)) => break,
            Some(Ok(WsMessage::Close(frame))) => panic!("a dying process says no goodbye: {frame:?}"),
            Some(Ok(_)) => {}
        }
    }
    let forgotten = |answer: io::Result<(String, Vec<u8>)>| answer.is_ok_and(|(_, body)| body == b"{}");
    while !forgotten(ask(addr, "GET", "/history", "").await) {
        tokio::task::yield_now().await;
    }
    let view = "/view?filename=wan22_00001_.mp4&subfolder=video";
    assert_eq!(ask(addr, "GET", view, "").await.unwrap().1, clips::CLIPS[1].mp4);
    assert!(dir.path().join("output/video/wan22_00001_.mp4").is_file());
    assert!(fs::read_to_string(log).unwrap().contains("\"event\":\"crashed\""));

    // Another process on the same folder serves them too.
    let options = Options { dir: Some(dir.path().to_owned()), ..Options::default() };
    let again = up("", options).await;
    assert_eq!(ask(again, "GET", view, "").await.unwrap().1, clips::CLIPS[1].mp4);
}

#[tokio::test]
async fn while_it_is_away_connections_are_refused() {
    let addr = up("[[fault]]\non = { after = 0.05 }\ndo = { crash = 3600 }\n", Options::default()).await;
    while TcpStream::connect(addr).await.is_ok() {}
    assert_eq!(TcpStream::connect(addr).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn aborting_the_task_ends_its_connections() {
    let (addr, task) = spawn(Options::default()).await.unwrap();
    let mut ws = listen(addr).await;
    task.abort();
    while let Some(Ok(_)) = ws.next().await {}
    while TcpStream::connect(addr).await.is_ok() {}
}
