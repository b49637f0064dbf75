//! ComfyUI's websocket, held by one client id.
//!
//! The server sends no pings and is silent when idle, so we ping. It never reconnects by itself:
//! the engine decides when, after [`Socket::close`] has seen the old one closed (two sockets with
//! one client id make the new one deaf as soon as the server notices the end of the old one).
//! Pings may be answered on a deaf socket, too: [`Socket::silent_for`] counts messages only.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::binary::{Binary, parse_binary};
use super::error::{ComfyError, excerpt, root};
use super::exchange::verdict;
use super::message::{self, Message};
use super::rest::{Client, Patience};

/// The first text message of a socket; flags in later ones do not count.
const FEATURES: &str = r#"{"type":"feature_flags","data":{"supports_preview_metadata":true}}"#;
/// Previews of 40 KB come a few times a second; a node's own message may be far bigger.
const MESSAGE_LIMIT: usize = 64 << 20;
/// How long a close is waited for.
const FAREWELL: Duration = Duration::from_secs(5);

/// An open websocket.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    patience: Patience,
    /// When anything came, pongs included.
    heard: Instant,
    /// When a message came.
    message: Instant,
    /// When the ping was sent that has not been answered yet.
    pinged: Option<Instant>,
    over: bool,
}

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Message(Message),
    Binary(Binary),
    /// The answer to [`Socket::probe`], with its token.
    Pong(u64),
}

/// The socket is over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Closed {
    #[error("the server closed the websocket{}", match code { Some(code) => format!(" ({code}{}{reason})", if reason.is_empty() { "" } else { ": " }), None => String::new() })]
    ByServer { code: Option<u16>, reason: String },
    /// Nothing came for long, not even an answer to a ping.
    #[error("the websocket has been dead for {} s", after.as_secs())]
    Silent { after: Duration },
    /// The connection broke: a killed server, a cut line, or no websocket protocol.
    #[error("the websocket broke ({why})")]
    Lost { why: String },
}

impl Socket {
    /// Connects as `client_id` and announces our features.
    ///
    /// # Errors
    /// As of a request; nothing here may be taken for a verdict on jobs.
    pub async fn connect(client: &Client, client_id: &str) -> Result<Self, ComfyError> {
        let patience = client.patience();
        let mut url = client.address(&["ws"]);
        let secure = url.scheme() == "https";
        let port = url.port_or_known_default().unwrap_or(80);
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        url.query_pairs_mut().append_pair("clientId", client_id);
        // Never fails: both are special schemes of a URL with a host.
        let _ = url.set_scheme(if secure { "wss" } else { "ws" });
        let at = format!("GET {url}");

        let tcp = timeout(patience.connect, TcpStream::connect((host.as_str(), port)))
            .await
            .map_err(|_| ComfyError::TimedOut { at: at.clone(), connecting: true })?
            .map_err(|source| ComfyError::Refused { at: at.clone(), source: source.into() })?;
        // Pings are small and should not wait.
        let _ = tcp.set_nodelay(true);

        let mut request = url.as_str().into_client_request().map_err(|error| refusal(&at, error))?;
        for (name, value) in client.headers() {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let config =
            WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
        let handshake = async {
            let (mut stream, _) = client_async_tls_with_config(request, tcp, Some(config), None).await?;
            stream.send(Frame::text(FEATURES)).await?;
            Ok(stream)
        };
        let stream = timeout(patience.request, handshake)
            .await
            .map_err(|_| ComfyError::TimedOut { at: at.clone(), connecting: false })?
            .map_err(|error| refusal(&at, error))?;
        let now = Instant::now();
        Ok(Self { stream, patience, heard: now, message: now, pinged: None, over: false })
    }

    /// The next message. Pings in a silence, and answers pings; nothing is lost when the future is
    /// dropped halfway.
    ///
    /// # Errors
    /// When the socket is over: drop it, and connect again.
    pub async fn next(&mut self) -> Result<Heard, Closed> {
        while !self.over {
            let deadline = match self.pinged {
                Some(at) => at + self.patience.dead_after,
                None => self.heard + self.patience.ping_after,
            };
            let frame = match timeout_at(deadline, self.stream.next()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(self.end(Closed::Lost { why: root(&error) })),
                Ok(None) => {
                    return Err(self.end(Closed::Lost { why: "it ended".to_owned() }));
                }
                Err(_) if self.pinged.is_none() => {
                    self.ping(&[]).await?;
                    continue;
                }
                Err(_) => {
                    return Err(self.end(Closed::Silent { after: self.heard.elapsed() }));
                }
            };
            self.heard = Instant::now();
            self.pinged = None;
            let heard = match frame {
                Frame::Text(text) => Heard::Message(message::parse(&text)),
                Frame::Binary(bytes) => Heard::Binary(parse_binary(&bytes)),
                Frame::Close(frame) => {
                    // Our answer to the close waits to be sent.
                    let _ = timeout(FAREWELL, self.stream.flush()).await;
                    let (code, reason) = frame
                        .map_or((None, String::new()), |frame| (Some(frame.code.into()), excerpt(&frame.reason, 80)));
                    return Err(self.end(Closed::ByServer { code, reason }));
                }
                Frame::Pong(token) => match <[u8; 8]>::try_from(&token[..]) {
                    Ok(token) => return Ok(Heard::Pong(u64::from_be_bytes(token))),
                    // Pings against silence carry nothing.
                    Err(_) => continue,
                },
                Frame::Ping(_) | Frame::Frame(_) => continue,
            };
            self.message = self.heard;
            return Ok(heard);
        }
        Err(Closed::Lost { why: "it is over".to_owned() })
    }

    /// Asks whether the process that this socket was opened to still lives: [`Heard::Pong`] with the same token.
    ///
    /// # Errors
    /// As of [`Socket::next`].
    pub async fn probe(&mut self, token: u64) -> Result<(), Closed> {
        self.ping(&token.to_be_bytes()).await
    }

    async fn ping(&mut self, token: &[u8]) -> Result<(), Closed> {
        let dead_after = self.patience.dead_after;
        let sent = async {
            self.stream.feed(Frame::Ping(tungstenite::Bytes::copy_from_slice(token))).await?;
            // From here on it is on its way: reading flushes, too, if this future is dropped.
            self.pinged = Some(Instant::now());
            self.stream.flush().await
        };
        match timeout(dead_after, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.end(Closed::Lost { why: root(&error) })),
            Err(_) => Err(self.end(Closed::Silent { after: self.heard.elapsed() })),
        }
    }

    fn end(&mut self, why: Closed) -> Closed {
        self.over = true;
        why
    }

    /// How long since the last message (pongs don't count): the engine's sign of deafness.
    pub fn silent_for(&self) -> Duration {
        self.message.elapsed()
    }

    /// Closes, and waits until the server has closed, too. False when it did not within 5 s: then a
    /// new socket with the same client id may fall deaf when the server notices at last.
    pub async fn close(mut self) -> bool {
        if self.over {
            return true;
        }
        let farewell = async {
            if self.stream.close(None).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        timeout(FAREWELL, farewell).await.is_ok()
    }
}

/// What a failed handshake means.
fn refusal(at: &str, error: tungstenite::Error) -> ComfyError {
    let at = at.to_owned();
    match error {
        tungstenite::Error::Http(response) => {
            let code = response.status().as_u16();
            let header = |name| response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            let html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
            let body = response.body().as_deref().unwrap_or_default();
            verdict(&at, code, html, header("location").as_deref(), body).unwrap_or_else(|| ComfyError::NotComfyUi {
                at,
                code,
                what: format!("{code} instead of a websocket (a proxy that passes no upgrades?)"),
            })
        }
        tungstenite::Error::Tls(source) => ComfyError::Refused { at, source: source.into() },
        tungstenite::Error::Io(source) => match source.kind() {
            std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::ConnectionAborted
            | std::io::ErrorKind::BrokenPipe
            | std::io::ErrorKind::UnexpectedEof => ComfyError::Cut { at, why: source.to_string() },
            _ => ComfyError::Refused { at, source: source.into() },
        },
        tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed => {
            ComfyError::Cut { at, why: error.to_string() }
        }
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::HandshakeIncomplete) => {
            ComfyError::Cut { at, why: "in the handshake".to_owned() }
        }
        error => ComfyError::NotComfyUi { at, code: 0, what: excerpt(&format!("no websocket: {error}"), 200) },
    }
}

/// How long to wait before the next try to connect: 0.25 s, doubling up to 15 s, the upper half of
/// it at random, so that many clients of one restarted server don't come at once. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    const CAP: Duration = Duration::from_secs(15);

    /// The next wait. `random` is uniform in 0..1; what lies outside is taken for the nearest end.
    pub fn next(&mut self, random: f64) -> Duration {
        let whole = Self::FIRST.saturating_mul(1 << self.tries.min(16)).min(Self::CAP);
        self.tries = self.tries.saturating_add(1);
        let random = if random.is_nan() { 0.5 } else { random.clamp(0.0, 1.0) };
        whole.mul_f64(0.5 + random / 2.0)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap_and_jitters_the_upper_half() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
        assert_eq!(backoff.next(0.0), Duration::from_millis(7500));
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_micros(187_500));
        assert_eq!(backoff.next(f64::NAN), Duration::from_millis(375));
        let mut tired = Backoff { tries: u32::MAX };
        assert_eq!(tired.next(7.0), Duration::from_secs(15));
    }
}
