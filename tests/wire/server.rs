//! A server on loopback that answers what a test tells it to, and one that speaks raw bytes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use comfytop::comfy::{Client, Patience};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::recordings::{Http, body};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `POST /prompt`, with the query.
    pub line: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(answer: impl Fn(&Seen) -> Response + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let log = seen.clone();
        let handler = move |request: Request| {
            let (log, answer) = (log.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
                let seen = Seen { line: format!("{} {}", parts.method, parts.uri), headers: parts.headers, body };
                log.lock().unwrap().push(seen.clone());
                answer(&seen)
            }
        };
        let (url, task) = serve(Router::new().fallback(handler)).await;
        Self { url, seen, task }
    }

    /// A server that gives the same answer to everything.
    pub async fn always(status: u16, kind: &'static str, body: impl Into<String>) -> Self {
        let body = body.into();
        Self::start(move |_| reply(status, kind, &body)).await
    }

    pub fn client(&self) -> Client {
        client(&self.url)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The request lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

pub async fn serve(router: Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

/// Gives up soon: for what never answers.
pub fn impatient() -> Patience {
    Patience { request: Duration::from_millis(200), ..Patience::default() }
}

pub fn client(url: &str) -> Client {
    Client::new(url, &BTreeMap::new()).unwrap()
}

pub fn reply(status: u16, kind: &'static str, body: &str) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("content-type", kind)], body.to_owned()).into_response()
}

pub fn json(body: &str) -> Response {
    reply(200, "application/json; charset=utf-8", body)
}

pub fn empty(status: u16) -> Response {
    StatusCode::from_u16(status).unwrap().into_response()
}

/// A recorded answer, as the server sent it.
pub fn replay(http: &Http) -> Response {
    let mut response = Response::new(Body::from(body(http)));
    *response.status_mut() = StatusCode::from_u16(http.status).unwrap();
    if let Some(kind) = http.headers["Content-Type"].as_str() {
        response.headers_mut().insert("content-type", kind.parse().unwrap());
    }
    response
}

/// What a raw server does after its bytes.
#[derive(Clone, Copy)]
pub enum Then {
    Close,
    Hold,
}

/// A server that reads a request and answers `bytes`, whatever they are; counts its requests.
pub async fn raw(bytes: &'static [u8], then: Then) -> (String, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(Mutex::new(0));
    let requests = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let requests = requests.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                // Bodies of these tests are small: the head and a body that fits come together or not.
                while !whole(&request) {
                    match stream.read(&mut piece).await {
                        Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
                        _ => return,
                    }
                }
                *requests.lock().unwrap() += 1;
                let _ = stream.write_all(bytes).await;
                if let Then::Hold = then {
                    // Until the client gives up.
                    while matches!(stream.read(&mut piece).await, Ok(count) if count > 0) {}
                }
            });
        }
    });
    (url, count)
}

/// Whether a request has come to the end of its body.
fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some(head) = text.find("\r\n\r\n") else {
        return false;
    };
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    request.len() >= head + 4 + length.unwrap_or(0)
}
