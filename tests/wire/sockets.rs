//! The websocket against servers of every temper.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use comfytop::comfy::{Binary, Client, Closed, ComfyError, Heard, Message, Patience, Socket};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::misbehaving::{babble, nobody};
use super::recordings::{VERSIONS, on_the_wire, one};
use super::server::{Server, Then, client, impatient, raw, serve};

const STATUS: &str = r#"{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "me"}}"#;

fn with(url: &str, patience: Patience) -> Client {
    Client::with_patience(url, &BTreeMap::new(), patience).unwrap()
}

/// Pings soon, and gives up as late as ever.
fn nervous() -> Patience {
    Patience { ping_after: Duration::from_millis(20), ..Patience::default() }
}

/// Serves `talk` on `/comfy/ws`; gives the URL of `/comfy`.
async fn talk<F>(talk: impl Fn(WebSocket) -> F + Clone + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = move |upgrade: WebSocketUpgrade| {
        let talk = talk.clone();
        async move { upgrade.on_upgrade(talk) }
    };
    let (url, _) = serve(Router::new().route("/comfy/ws", any(upgrade))).await;
    format!("{url}/comfy")
}

async fn message(socket: &mut Socket) -> Message {
    match socket.next().await {
        Ok(Heard::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn features_are_announced_first_with_headers_and_client_id() {
    let (told, heard) = oneshot::channel();
    let told = Arc::new(Mutex::new(Some(told)));
    let asked = Arc::new(Mutex::new(None));
    let note = asked.clone();
    let handler = move |upgrade: WebSocketUpgrade, request: Request| {
        let told = told.clone();
        *note.lock().unwrap() = Some((request.uri().to_string(), request.headers().clone()));
        async move {
            upgrade.on_upgrade(move |mut socket| async move {
                if let Some(Ok(frame)) = socket.recv().await {
                    told.lock().unwrap().take().unwrap().send(frame).unwrap();
                }
                while socket.recv().await.is_some() {}
            })
        }
    };
    let (url, _) = serve(Router::new().fallback(handler)).await;
    let headers = BTreeMap::from([("X-Token".to_owned(), "secret".to_owned())]);
    let client = Client::new(&format!("{url}/comfy/"), &headers).unwrap();
    let _socket = Socket::connect(&client, "a b&c").await.unwrap();
    let Frame::Text(first) = heard.await.unwrap() else { panic!("not a text") };
    assert_eq!(first.as_str(), r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#);
    let (uri, headers) = asked.lock().unwrap().take().unwrap();
    assert_eq!(uri, "/comfy/ws?clientId=a+b%26c");
    assert_eq!(headers["x-token"], "secret");
    assert!(!headers.contains_key("origin") && !headers.keys().any(|name| name.as_str().starts_with("sec-fetch")));
}

#[tokio::test]
async fn a_recorded_conversation_comes_through() {
    for version in VERSIONS {
        let recorded = one(version, "01").messages(Some("A"));
        let count = recorded.len();
        let url = talk(move |mut socket: WebSocket| {
            let recorded = recorded.clone();
            async move {
                for raw in &recorded {
                    socket.send(Frame::Text(on_the_wire(raw).into())).await.unwrap();
                }
                socket.send(Frame::Binary(b"\0\0\0\x01\0\0\0\x01\xff\xd8".to_vec().into())).await.unwrap();
                while socket.recv().await.is_some() {}
            }
        })
        .await;
        let mut socket = Socket::connect(&client(&url), "me").await.unwrap();
        assert!(matches!(message(&mut socket).await, Message::Status { sid: Some(_), .. }), "{version}");
        let mut last = None;
        for _ in 1..count {
            last = Some(message(&mut socket).await);
        }
        assert!(matches!(last, Some(Message::Executing { node: None, .. })), "{version}: {last:?}");
        assert!(matches!(socket.next().await, Ok(Heard::Binary(Binary::Preview { .. }))), "{version}");
        assert!(socket.close().await, "{version}");
    }
}

#[tokio::test]
async fn big_messages_are_borne() {
    let url = talk(|mut socket: WebSocket| async move {
        let text = format!(r#"{{"type":"odd","data":"{}"}}"#, "x".repeat(6 << 20));
        socket.send(Frame::Text(text.into())).await.unwrap();
        while socket.recv().await.is_some() {}
    })
    .await;
    let mut socket = Socket::connect(&client(&url), "me").await.unwrap();
    assert_eq!(message(&mut socket).await, Message::Other { kind: "odd".into() });
}

#[tokio::test]
async fn silence_is_pinged_and_no_death_as_long_as_pongs_come() {
    let url = talk(|mut socket: WebSocket| async move {
        let mut pings = 0;
        while pings < 3 {
            if let Some(Ok(Frame::Ping(_))) = socket.recv().await {
                pings += 1;
            }
        }
        socket.send(Frame::Text(STATUS.into())).await.unwrap();
        while socket.recv().await.is_some() {}
    })
    .await;
    let mut socket = Socket::connect(&with(&url, nervous()), "me").await.unwrap();
    assert!(matches!(message(&mut socket).await, Message::Status { .. }));
}

/// A server that finishes the handshake and then never reads.
async fn half_dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let _socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        std::future::pending::<()>().await;
    });
    url
}

#[tokio::test]
async fn a_ping_that_nobody_answers_means_death() {
    let patience = Patience { dead_after: Duration::from_millis(100), ..nervous() };
    let mut socket = Socket::connect(&with(&half_dead().await, patience), "me").await.unwrap();
    let closed = socket.next().await.unwrap_err();
    assert!(matches!(closed, Closed::Silent { .. }), "{closed:?}");
    assert!(socket.next().await.is_err(), "it stays over");
}

#[tokio::test]
async fn a_message_future_may_be_dropped_without_loss() {
    let url = talk(|mut socket: WebSocket| async move {
        for _ in 0..50 {
            socket.send(Frame::Text(STATUS.into())).await.unwrap();
            tokio::task::yield_now().await;
        }
        while socket.recv().await.is_some() {}
    })
    .await;
    let mut socket = Socket::connect(&with(&url, nervous()), "me").await.unwrap();
    let mut heard = 0;
    while heard < 50 {
        tokio::select! {
            biased;
            message = socket.next() => { message.unwrap(); heard += 1; }
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn a_server_that_closes_and_one_that_is_killed_are_told_apart() {
    let url = talk(|mut socket: WebSocket| async move {
        let frame = axum::extract::ws::CloseFrame { code: 1001, reason: "going\u{1b}[2J away".into() };
        socket.send(Frame::Close(Some(frame))).await.unwrap();
        while socket.recv().await.is_some() {}
    })
    .await;
    let mut socket = Socket::connect(&client(&url), "me").await.unwrap();
    let closed = socket.next().await.unwrap_err();
    assert_eq!(closed, Closed::ByServer { code: Some(1001), reason: "going [2J away".into() });
    assert_eq!(closed.to_string(), "the server closed the websocket (1001: going [2J away)");
    assert!(socket.close().await);
    let url = talk(|socket: WebSocket| async move { drop(socket) }).await;
    let mut socket = Socket::connect(&client(&url), "me").await.unwrap();
    assert!(matches!(socket.next().await, Err(Closed::Lost { .. })));
}

#[tokio::test]
async fn closing_waits_until_the_server_has_closed_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (release, released) = oneshot::channel::<()>();
    let (connected, ready) = oneshot::channel::<()>();
    let gone = Arc::new(Mutex::new(false));
    let server_gone = gone.clone();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let _features = socket.next().await;
        connected.send(()).unwrap();
        // Busy: it notices the close only after a while.
        released.await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        *server_gone.lock().unwrap() = true;
    });
    let socket = Socket::connect(&client(&url), "me").await.unwrap();
    ready.await.unwrap();
    let closing = tokio::spawn(socket.close());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!closing.is_finished(), "it did not wait");
    release.send(()).unwrap();
    assert!(closing.await.unwrap());
    assert!(*gone.lock().unwrap());
}

#[tokio::test]
async fn a_refused_handshake_says_why() {
    for (status, kind, body) in [(403, "text/plain", ""), (401, "text/html", "<html>")] {
        let server = Server::always(status, kind, body).await;
        let error = Socket::connect(&server.client(), "me").await.map(drop).unwrap_err();
        assert!(matches!(error, ComfyError::Unauthorized { code, .. } if code == status), "{error:?}");
    }
    for (status, kind) in [(200, "text/html"), (404, "text/html"), (200, "application/json"), (302, "text/plain")] {
        let server = Server::always(status, kind, "{}").await;
        let error = Socket::connect(&server.client(), "me").await.map(drop).unwrap_err();
        assert!(matches!(error, ComfyError::NotComfyUi { .. }), "{status} {kind}: {error:?}");
    }
    let server = Server::always(502, "text/html", "<title>Bad Gateway</title>").await;
    assert!(Socket::connect(&server.client(), "me").await.map(drop).unwrap_err().is_unreachable());
    let error = Socket::connect(&client(&nobody().await), "me").await.map(drop).unwrap_err();
    assert!(matches!(error, ComfyError::Refused { .. }), "{error:?}");
    let (url, _) = raw(b"", Then::Close).await;
    let error = Socket::connect(&client(&url), "me").await.map(drop).unwrap_err();
    assert!(error.is_unreachable(), "{error:?}");
    let (url, _) = raw(b"", Then::Hold).await;
    let error = Socket::connect(&with(&url, impatient()), "me").await.map(drop).unwrap_err();
    assert!(matches!(error, ComfyError::TimedOut { .. }), "{error:?}");
    let url = babble().await.replace("http://", "https://");
    let error = Socket::connect(&client(&url), "me").await.map(drop).unwrap_err();
    assert!(error.is_unreachable() && !error.may_have_arrived(), "{error:?}");
}
