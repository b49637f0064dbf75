//! Servers that are not there, not ComfyUI, slow, or cut off in the middle.

use std::collections::BTreeMap;

use axum::response::IntoResponse;
use comfytop::comfy::{Client, ComfyError, FileKind, OutputRef, Submission};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::server::{Server, Then, client, impatient, json as answer, raw};

fn hasty(url: &str) -> Client {
    Client::with_patience(url, &BTreeMap::new(), impatient()).unwrap()
}

async fn post(client: &Client) -> ComfyError {
    let graph = json!({});
    let submission = Submission {
        prompt_id: "8175da4c-a5b7-4859-bd3e-4c6cbc9949ed",
        client_id: "me",
        graph: &graph,
        extra_data: None,
    };
    client.submit(&submission).await.unwrap_err()
}

/// An address where nobody listens.
pub async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A server that speaks no TLS: it answers whatever comes with a 400.
pub async fn babble() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    url
}

#[tokio::test]
async fn nobody_listening_is_refused_and_nothing_was_posted() {
    let client = client(&nobody().await);
    let error = client.queue_remaining().await.unwrap_err();
    assert!(matches!(&error, ComfyError::Refused { .. }) && error.is_unreachable(), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(!post(&client).await.may_have_arrived());
}

#[tokio::test]
async fn a_slow_server_is_given_up_and_the_post_may_have_arrived() {
    let (url, _) = raw(b"", Then::Hold).await;
    let client = hasty(&url);
    let error = client.queue().await.unwrap_err();
    assert!(matches!(error, ComfyError::TimedOut { connecting: false, .. }) && error.is_unreachable(), "{error:?}");
    assert!(post(&client).await.may_have_arrived());
    // Slow in the middle of its body.
    let (url, _) = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"queue_", Then::Hold).await;
    let error = hasty(&url).queue().await.unwrap_err();
    assert!(matches!(error, ComfyError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_cut_answer_is_told_from_a_wrong_one() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"exec_info\": {\"queue_",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"exec\r\n",
        // Neither a length nor chunks: only the JSON tells.
        b"HTTP/1.0 200 OK\r\n\r\n{\"exec_info\": {\"queue_",
    ] {
        let (url, requests) = raw(bytes, Then::Close).await;
        let error = client(&url).queue_remaining().await.unwrap_err();
        let shown = String::from_utf8_lossy(bytes);
        assert!(matches!(error, ComfyError::Cut { .. }) && error.is_unreachable(), "{shown}: {error:?}");
        let error = post(&client(&url)).await;
        assert!(error.may_have_arrived(), "{shown}: {error:?}");
        // A POST that failed is never sent a second time: ComfyUI would render twice.
        assert_eq!(*requests.lock().unwrap(), 2, "{shown}");
    }
}

#[tokio::test]
async fn a_cut_download_is_an_error_and_not_a_short_file() {
    let (url, _) =
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 99\r\n\r\nabc", Then::Close).await;
    let file = OutputRef { filename: "v.mp4".into(), subfolder: String::new(), kind: FileKind::Output };
    let mut download = client(&url).view(&file, 0).await.unwrap();
    assert_eq!(download.size(), Some(99));
    let mut got = Vec::new();
    let error = download.write_to(&mut got, 1 << 20).await.unwrap_err();
    assert!(matches!(error, ComfyError::Cut { .. }), "{error:?}");
    let (url, _) =
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: 99\r\n\r\nabc", Then::Hold).await;
    // On a busy machine already its head may be too slow.
    let error = match hasty(&url).view(&file, 0).await {
        Ok(mut download) => download.write_to(&mut got, 1 << 20).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, ComfyError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn pages_are_not_comfyui() {
    let page = "<!DOCTYPE html><html><head><TITLE>Sign\u{1b}[31m in</TITLE>";
    for (status, kind) in [(200, "text/html"), (404, "text/html; charset=utf-8"), (200, "text/plain")] {
        let server = Server::always(status, kind, page).await;
        let error = server.client().system_stats().await.unwrap_err();
        assert!(matches!(error, ComfyError::NotComfyUi { .. }), "{error:?}");
        assert!(error.to_string().contains("an HTML page (\"Sign [31m in\")"), "{error}");
    }
    // Other JSON, nothing at all, and no HTTP.
    for body in ["{}", r#"{"status": "ok"}"#, ""] {
        let server = Server::always(200, "application/json", body).await;
        let error = server.client().system_stats().await.unwrap_err();
        assert!(matches!(error, ComfyError::NotComfyUi { .. }), "{body}: {error:?}");
    }
    let (url, _) = raw(b"SSH-2.0-OpenSSH_9.6\r\n", Then::Close).await;
    assert!(client(&url).system_stats().await.is_err());
}

#[tokio::test]
async fn a_proxy_that_wants_a_token_or_misses_its_server_says_so() {
    for code in [401, 403] {
        let server = Server::always(code, "text/html", "<html>").await;
        let error = server.client().queue().await.unwrap_err();
        assert!(matches!(error, ComfyError::Unauthorized { .. }) && error.to_string().contains("headers"), "{error}");
        assert!(!error.is_unreachable() && !post(&server.client()).await.may_have_arrived());
    }
    let server = Server::always(502, "text/html", "<html><title>502 Bad Gateway</title>").await;
    let error = server.client().queue().await.unwrap_err();
    assert!(error.is_unreachable() && error.to_string().contains("502 Bad Gateway"), "{error}");
    assert!(post(&server.client()).await.may_have_arrived());
    let server = Server::always(413, "text/html", "<html><title>413</title>").await;
    assert!(!post(&server.client()).await.may_have_arrived());
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let other = Server::start(|_| answer("{}")).await;
    let to = format!("{}/comfy/", other.url);
    let server = Server::start(move |_| axum::response::Redirect::temporary(&to).into_response()).await;
    let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer secret".to_owned())]);
    let client = Client::new(&server.url, &headers).unwrap();
    let error = client.system_stats().await.unwrap_err();
    assert!(matches!(error, ComfyError::NotComfyUi { .. }) && error.to_string().contains(&other.url), "{error}");
    assert!(!post(&client).await.may_have_arrived());
    assert!(other.lines().is_empty(), "the token went elsewhere");
}

#[tokio::test]
async fn broken_json_and_bombs_are_errors_with_words() {
    let bomb = format!("{{\"queue_running\":{}", "[".repeat(2_000_000));
    for body in [r#"{"queue_running": [}"#, "nonsense", bomb.as_str(), r#"{"queue_running": 3}"#] {
        let server = Server::always(200, "application/json", body).await;
        let error = server.client().queue().await.unwrap_err();
        assert!(matches!(error, ComfyError::Unreadable { .. } | ComfyError::Cut { .. }), "{error:?}");
        assert!(error.to_string().contains("/queue"), "{error}");
    }
    let nan = r#"{"queue_running": [], "queue_pending": [[1, "a", {"x": NaN}, {"y": "\ud800"}, []]]}"#;
    let server = Server::always(200, "application/json", nan).await;
    assert_eq!(server.client().queue().await.unwrap().pending.len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_big_is_not_read() {
    let (url, _) = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{", Then::Hold).await;
    let error = client(&url).queue().await.unwrap_err();
    assert!(matches!(error, ComfyError::TooBig { bytes: 99_999_999_999, .. }), "{error:?}");
}

#[tokio::test]
async fn what_a_server_says_is_shown_without_its_escapes() {
    let server = Server::always(500, "text/plain", format!("bad\u{1b}[2J\u{7} {}", "x".repeat(9999))).await;
    let error = server.client().queue().await.unwrap_err().to_string();
    assert!(!error.chars().any(char::is_control) && error.len() < 400, "{error}");
    let body = r#"{"error": {"type": "t", "message": "no\u001b]0;title\u0007", "details": "", "extra_info": {}}, "node_errors": []}"#;
    let server = Server::always(400, "application/json", body).await;
    let error = post(&server.client()).await;
    assert!(matches!(error, ComfyError::Rejected(_)) && !error.to_string().chars().any(char::is_control), "{error}");
}

#[tokio::test]
async fn https_where_there_is_none_is_an_error_with_words() {
    let url = babble().await.replace("http://", "https://");
    let error = client(&url).queue_remaining().await.unwrap_err();
    assert!(error.is_unreachable() && !error.may_have_arrived(), "{error:?}");
}
