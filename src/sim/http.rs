//! The simulator on a socket: axum takes requests apart, `core` decides, this carries it out.
//!
//! Thin: nothing is decided here. One task owns the state; requests and websockets talk to it
//! through a channel. Connections can be cut as a dying process cuts them.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{self, Body as HttpBody};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Multipart, Query};
use axum::extract::{FromRequest, State as Shared, connect_info::Connected};
use axum::http::{HeaderValue, Request as HttpRequest, Response as HttpResponse, StatusCode, header};
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::core::{Effect, Input, RequestId, SocketId, State, next_wake, step};
use super::files::{Files, Folder, Stored};
use super::request::{Body, Request, Response, Upload};
use super::{Options, wire};
use crate::faults;

/// The largest body taken, as `/features` tells it.
const MAX_BODY: usize = 104_857_600;
/// The largest websocket message taken (aiohttp's default; trap 19).
const MAX_MESSAGE: usize = 4 << 20;

/// Serves the simulator on this listener until an I/O error ends it.
///
/// # Errors
/// The folder or the log cannot be used, or the port cannot be taken again after a crash.
pub async fn serve(listener: TcpListener, options: Options) -> io::Result<()> {
    let addr = listener.local_addr()?;
    let (to_core, from_net) = mpsc::unbounded_channel();
    let mut driver = Driver::new(&options, from_net)?;
    let mut listener = listener;
    loop {
        let (kill, _) = watch::channel(false);
        let kill = Arc::new(kill);
        let ids = Arc::clone(&driver.ids);
        let gate = Gate { to_core: to_core.clone(), ids };
        let app = Router::new().fallback(answer).with_state(gate).into_make_service_with_connect_info::<Cut>();
        let seconds = tokio::select! {
            ended = axum::serve(Door { listener, kill: Arc::clone(&kill) }, app).into_future() => return ended,
            crashed = driver.live() => crashed?,
        };
        // A process that dies has mostly got its last answers out.
        tokio::time::sleep(Duration::from_millis(20)).await;
        kill.send_replace(true);
        driver.forget();
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        listener = bind_again(addr).await?;
    }
}

/// Serves a simulator on a free port of 127.0.0.1, in the background. Aborting the task ends it.
///
/// # Errors
/// No port can be taken.
pub async fn spawn(options: Options) -> io::Result<(SocketAddr, JoinHandle<io::Result<()>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    Ok((addr, tokio::spawn(serve(listener, options))))
}

async fn bind_again(addr: SocketAddr) -> io::Result<TcpListener> {
    let mut last = None;
    for _ in 0..100 {
        match TcpListener::bind(addr).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

// ---- connections that can be cut

/// Accepts connections whose ends we hold.
struct Door {
    listener: TcpListener,
    kill: Arc<watch::Sender<bool>>,
}

impl Listener for Door {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        let (stream, addr) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        let (own, mut own_ear) = watch::channel(false);
        let mut all_ear = self.kill.subscribe();
        let cut = Box::pin(async move {
            // A sender that is gone cuts too: so an aborted `serve` leaves no connection behind.
            tokio::select! {
                _ = own_ear.wait_for(|cut| *cut) => {}
                _ = all_ear.wait_for(|cut| *cut) => {}
            }
        });
        (Line { stream, cut, own: Cut(Arc::new(own)) }, addr)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Cuts one connection.
#[derive(Debug, Clone)]
struct Cut(Arc<watch::Sender<bool>>);

impl Connected<IncomingStream<'_, Door>> for Cut {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().own.clone()
    }
}

/// A TCP stream that fails once it is cut.
struct Line {
    stream: TcpStream,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    own: Cut,
}

impl Line {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => {
                self.cut = Box::pin(std::future::ready(()));
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// ---- requests

/// From the network to the core.
enum Call {
    Request { id: RequestId, request: Box<Request>, answer: oneshot::Sender<Option<Response>> },
    Opened { socket: SocketId, client_id: Option<String>, out: mpsc::UnboundedSender<Out> },
    Text { socket: SocketId, text: String },
    Closed { socket: SocketId },
}

/// From the core to a websocket.
enum Out {
    Text(Arc<str>),
    Binary(Bytes),
    Cut,
    Freeze,
}

#[derive(Clone)]
struct Gate {
    to_core: mpsc::UnboundedSender<Call>,
    ids: Arc<AtomicU64>,
}

impl Gate {
    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

async fn answer(
    Shared(gate): Shared<Gate>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: HttpRequest<HttpBody>,
) -> HttpResponse<HttpBody> {
    let path = request.uri().path().to_owned();
    let is_ws = matches!(path.as_str(), "/ws" | "/api/ws") && request.headers().contains_key(header::UPGRADE);
    if is_ws {
        return upgrade(gate, cut, request).await;
    }
    let method = request.method().as_str().to_owned();
    let query = request.uri().query().unwrap_or("").to_owned();
    let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut parsed = Request::parse(&method, &path, &query, b"");
    match &mut parsed {
        Request::View(view) => view.range = range,
        Request::Upload(upload) => *upload = take_apart(request).await,
        _ => match body::to_bytes(request.into_body(), MAX_BODY).await {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => parsed = Request::parse(&method, &path, &query, &bytes),
            Err(_) => {
                let text = format!("Maximum request body size {MAX_BODY} exceeded.");
                return told(Response::new(413, Body::Text(text)), false);
            }
        },
    }
    let (answer, wait) = oneshot::channel();
    let call = Call::Request { id: gate.id(), request: Box::new(parsed), answer };
    let sent = gate.to_core.send(call);
    if let (Ok(()), Ok(Some(response))) = (sent, wait.await) {
        return told(response, method == "HEAD");
    }
    cut.0.send_replace(true);
    // The line is cut before anything is written to it.
    std::future::pending().await
}

async fn take_apart(request: HttpRequest<HttpBody>) -> Upload {
    let mut upload = Upload::default();
    let Ok(mut parts) = Multipart::from_request(request, &()).await else { return upload };
    while let Ok(Some(field)) = parts.next_field().await {
        let name = field.name().unwrap_or("").to_owned();
        let filename = field.file_name().map(str::to_owned);
        let Ok(bytes) = field.bytes().await else { return upload };
        let text = || Some(String::from_utf8_lossy(&bytes).into_owned());
        match name.as_str() {
            "image" => upload.image = filename.map(|filename| (filename, bytes)),
            "type" => upload.kind = text(),
            "subfolder" => upload.subfolder = text(),
            "overwrite" => upload.overwrite = text(),
            _ => {}
        }
    }
    upload
}

fn told(response: Response, head: bool) -> HttpResponse<HttpBody> {
    let (kind, bytes) = match response.body {
        Body::Empty => ("application/octet-stream", Bytes::new()),
        Body::Json(value) => ("application/json; charset=utf-8", Bytes::from(wire::to_text(&value))),
        Body::Text(text) => ("text/plain; charset=utf-8", Bytes::from(text)),
        Body::File(bytes, kind) => (kind, bytes),
    };
    let length = bytes.len();
    let announced = response.announced.unwrap_or(length as u64);
    let at = response.cut.or(response.announced.map(|_| length));
    let body = match at {
        _ if head => HttpBody::empty(),
        Some(at) if at < length || announced > length as u64 => {
            let start = futures_util::stream::iter([Ok::<_, io::Error>(bytes.slice(..at))]);
            let torn = futures_util::stream::once(async {
                // What stands before the cut gets through.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(io::ErrorKind::ConnectionReset.into())
            });
            HttpBody::from_stream(start.chain(torn))
        }
        _ => HttpBody::from(bytes),
    };
    let mut out = HttpResponse::new(body);
    *out.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = out.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(announced));
    headers.insert(header::SERVER, HeaderValue::from_static("Python/3.11 aiohttp/3.14.5"));
    for (name, value) in response.headers {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(name.to_ascii_lowercase().parse().unwrap_or(header::WARNING), value);
        }
    }
    out
}

// ---- websockets

async fn upgrade(gate: Gate, cut: Cut, request: HttpRequest<HttpBody>) -> HttpResponse<HttpBody> {
    let (mut parts, _) = request.into_parts();
    let query = Query::<HashMap<String, String>>::from_request_parts(&mut parts, &()).await;
    let client_id = query.ok().and_then(|Query(mut query)| query.remove("clientId"));
    let (answer, wait) = oneshot::channel();
    let call = Call::Request { id: gate.id(), request: Box::new(Request::Handshake), answer };
    let sent = gate.to_core.send(call);
    match (sent, wait.await) {
        (Ok(()), Ok(Some(response))) if response.status == 101 => {}
        (Ok(()), Ok(Some(response))) => return told(response, false),
        _ => {
            cut.0.send_replace(true);
            return std::future::pending().await;
        }
    }
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => {
            upgrade.max_message_size(MAX_MESSAGE).on_upgrade(move |socket| talk(gate, cut, client_id, socket))
        }
        Err(rejection) => axum::response::IntoResponse::into_response(rejection),
    }
}

async fn talk(gate: Gate, cut: Cut, client_id: Option<String>, ws: WebSocket) {
    let socket = gate.id();
    let (out, mut from_core) = mpsc::unbounded_channel();
    if gate.to_core.send(Call::Opened { socket, client_id, out }).is_err() {
        return;
    }
    let (mut write, mut read) = ws.split();
    loop {
        tokio::select! {
            out = from_core.recv() => {
                let message = match out {
                    Some(Out::Text(text)) => Message::Text((&*text).into()),
                    Some(Out::Binary(bytes)) => Message::Binary(bytes),
                    // Until the process dies.
                    Some(Out::Freeze) => return std::future::pending().await,
                    Some(Out::Cut) | None => {
                        cut.0.send_replace(true);
                        break;
                    }
                };
                if write.send(message).await.is_err() {
                    break;
                }
            }
            heard = read.next() => match heard {
                Some(Ok(Message::Text(text))) => {
                    let _ = gate.to_core.send(Call::Text { socket, text: text.as_str().to_owned() });
                }
                // Pings are answered by the library; binary frames are ignored (trap 19).
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            },
        }
    }
    let _ = gate.to_core.send(Call::Closed { socket });
}

// ---- the one task that owns the state

struct Driver {
    state: State,
    calls: mpsc::UnboundedReceiver<Call>,
    ids: Arc<AtomicU64>,
    waiting: HashMap<RequestId, oneshot::Sender<Option<Response>>>,
    sockets: HashMap<SocketId, mpsc::UnboundedSender<Out>>,
    started: (Instant, u64),
    dir: Option<PathBuf>,
    log: Option<File>,
}

impl Driver {
    fn new(options: &Options, calls: mpsc::UnboundedReceiver<Call>) -> io::Result<Self> {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch_ms = u64::try_from(epoch.as_millis()).unwrap_or(u64::MAX);
        let mut files = Files::default();
        if let Some(dir) = &options.dir {
            for folder in [Folder::Input, Folder::Output] {
                load(&mut files, folder, &dir.join(folder.name()), "")?;
            }
        }
        let open = |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path);
        Ok(Self {
            state: State::new(options, files, epoch_ms),
            calls,
            ids: Arc::new(AtomicU64::new(1)),
            waiting: HashMap::new(),
            sockets: HashMap::new(),
            started: (Instant::now(), epoch_ms),
            dir: options.dir.clone(),
            log: options.log.as_ref().map(open).transpose()?,
        })
    }

    fn now_ms(&self) -> u64 {
        self.started.1 + u64::try_from(self.started.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs until the process "crashes"; says for how many seconds it stays away.
    async fn live(&mut self) -> io::Result<f64> {
        loop {
            let wake = next_wake(&self.state).map(|at| Duration::from_millis(at.saturating_sub(self.now_ms())));
            let input = tokio::select! {
                call = self.calls.recv() => match call {
                    Some(call) => self.take(call),
                    None => return Err(io::ErrorKind::BrokenPipe.into()),
                },
                () = tokio::time::sleep(wake.unwrap_or_default()), if wake.is_some() => Input::Timer,
            };
            let now = self.now_ms();
            let effects = step(&mut self.state, input, now);
            if let Some(seconds) = self.run(effects)? {
                return Ok(seconds);
            }
        }
    }

    fn take(&mut self, call: Call) -> Input {
        match call {
            Call::Request { id, request, answer } => {
                self.waiting.insert(id, answer);
                Input::Request { id, request: *request }
            }
            Call::Opened { socket, client_id, out } => {
                self.sockets.insert(socket, out);
                Input::SocketOpened { socket, client_id }
            }
            Call::Text { socket, text } => Input::SocketText { socket, text },
            Call::Closed { socket } => {
                self.sockets.remove(&socket);
                Input::SocketClosed { socket }
            }
        }
    }

    fn run(&mut self, effects: Vec<Effect>) -> io::Result<Option<f64>> {
        let mut crash = None;
        for effect in effects {
            match effect {
                Effect::Reply { id, response } => self.settle(id, Some(response)),
                Effect::Hangup { id } => self.settle(id, None),
                Effect::Text { socket, text } => self.send(socket, Out::Text(text)),
                Effect::Binary { socket, bytes } => self.send(socket, Out::Binary(bytes)),
                Effect::Close { socket } => self.send(socket, Out::Cut),
                Effect::Freeze { socket } => self.send(socket, Out::Freeze),
                Effect::Store(stored) => self.keep(&stored)?,
                Effect::Crash { seconds } => crash = Some(seconds),
                Effect::Log(line) => {
                    if let Some(log) = &mut self.log {
                        faults::step("sim.log", || writeln!(log, "{line}"))?;
                    }
                }
            }
        }
        Ok(crash)
    }

    /// A client that no longer waits is no error.
    fn settle(&mut self, id: RequestId, response: Option<Response>) {
        if let Some(answer) = self.waiting.remove(&id) {
            faults::step("sim.answer", || drop(answer.send(response)));
        }
    }

    fn send(&self, socket: SocketId, out: Out) {
        if let Some(sender) = self.sockets.get(&socket) {
            faults::step("sim.message", || drop(sender.send(out)));
        }
    }

    fn keep(&self, stored: &Stored) -> io::Result<()> {
        let Some(dir) = self.dir.as_ref().filter(|_| stored.folder != Folder::Temp) else { return Ok(()) };
        let path = dir.join(stored.folder.name()).join(&stored.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        faults::step("sim.store", || fs::write(path, &stored.bytes))
    }

    /// Nothing that was under way survives; what the old connections still send is for nobody.
    fn forget(&mut self) {
        self.waiting.clear();
        self.sockets.clear();
        while self.calls.try_recv().is_ok() {}
    }
}

fn load(files: &mut Files, folder: Folder, dir: &Path, below: &str) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            load(files, folder, &entry.path(), &path)?;
        } else {
            files.insert(folder, path, fs::read(entry.path())?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
