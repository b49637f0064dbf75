//! The local socket between faces and the engine of a render folder: where it is, how a face
//! connects, and how it starts an engine where none serves.
//!
//! An edge, the only one that faces use. It carries lines of the protocol and decides nothing.
//! The socket lies in a folder of its owner's alone, outside the login session's lifetime.

mod address;
mod start;

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::Stream;
use interprocess::local_socket::traits::Stream as _;
use thiserror::Error;

pub use address::Address;
pub use start::{Launch, SERVED, start};

use crate::protocol::{Answer, FromEngine, FromFace, Hello, MAX_LINE, PROTOCOL, Request};

/// comfytop's version, as both sides tell it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Error)]
pub enum LinkError {
    #[error("no engine serves this render folder")]
    NoEngine,
    #[error("the engine's socket can't be used: {0}")]
    Socket(#[source] io::Error),
    #[error("the folder of the engine's socket, {path}, {why}")]
    Folder { path: PathBuf, why: String },
    #[error("the engine would not serve this face: {why}")]
    Refused { why: String, version: String },
    #[error("the engine said something unreadable: {0}")]
    Unreadable(#[source] serde_json::Error),
    #[error("the engine closed the connection")]
    Closed,
    #[error("the engine could not be started: {0}")]
    Start(String),
    #[error("{0}")]
    Answer(String),
}

/// One end of the connection, read here while it is written to elsewhere.
struct Shared(Arc<Stream>);

impl io::Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

/// The receiving end.
pub struct Reader {
    lines: BufReader<Shared>,
    buffer: Vec<u8>,
}

/// The sending end.
pub struct Writer {
    out: Arc<Stream>,
    next: u64,
}

/// Connects and says hello; what comes then is in the [`Reader`].
///
/// # Errors
/// [`LinkError::NoEngine`] when nobody listens there.
pub fn connect(address: &Address, hello: &Hello) -> Result<(Reader, Writer), LinkError> {
    let name = address.name().map_err(LinkError::Socket)?;
    let stream = Stream::connect(name).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => LinkError::NoEngine,
        _ => LinkError::Socket(error),
    })?;
    let stream = Arc::new(stream);
    let mut writer = Writer { out: Arc::clone(&stream), next: 1 };
    writer.send(&FromFace::Hello(hello.clone()))?;
    Ok((Reader { lines: BufReader::with_capacity(64 << 10, Shared(stream)), buffer: Vec::new() }, writer))
}

/// What this face says first.
pub fn hello(watch: bool, dashboard: bool, server: Option<&str>) -> Hello {
    let server = server.map(str::to_owned);
    Hello { protocol: PROTOCOL, version: VERSION.to_owned(), watch, dashboard, server }
}

/// An engine that only looks, for somebody else, makes way. False: there is none, or it works.
pub fn end_looking(address: &Address) -> bool {
    match Talk::open(address, None) {
        Ok(mut talk) if talk.engine.look_only => {
            // It may be gone before it has answered.
            let _ = talk.ask(Request::Stop);
            talk.await_end(Duration::from_secs(5))
        }
        _ => false,
    }
}

impl Reader {
    /// Waits for the next line of the engine.
    ///
    /// # Errors
    /// [`LinkError::Closed`] at the end.
    pub fn next_line(&mut self) -> Result<FromEngine, LinkError> {
        self.buffer.clear();
        let limit = MAX_LINE as u64 + 1;
        let read =
            (&mut self.lines).take(limit).read_until(b'\n', &mut self.buffer).map_err(|error| match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => LinkError::Closed,
                _ => LinkError::Socket(error),
            })?;
        if read == 0 || self.buffer.last() != Some(&b'\n') {
            return Err(LinkError::Closed);
        }
        let line = serde_json::from_slice(&self.buffer).map_err(LinkError::Unreadable)?;
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        Ok(line)
    }
}

impl Writer {
    /// Sends a request; the answer comes with the number returned.
    ///
    /// # Errors
    /// When the engine is gone.
    pub fn ask(&mut self, request: Request) -> Result<u64, LinkError> {
        let id = self.next;
        self.next += 1;
        self.send(&FromFace::Ask { id, request })?;
        Ok(id)
    }

    fn send(&mut self, line: &FromFace) -> Result<(), LinkError> {
        let mut text = serde_json::to_vec(line).map_err(LinkError::Unreadable)?;
        text.push(b'\n');
        (&*self.out).write_all(&text).map_err(|_| LinkError::Closed)
    }
}

/// A connection of a verb: asks, and waits for the answer.
pub struct Talk {
    reader: Reader,
    writer: Writer,
    /// Who answered.
    pub engine: crate::protocol::EngineRow,
}

impl Talk {
    /// Connects to the engine that serves `address`.
    ///
    /// # Errors
    /// [`LinkError::NoEngine`] when nobody listens, [`LinkError::Refused`] when it will not serve us.
    pub fn open(address: &Address, server: Option<&str>) -> Result<Self, LinkError> {
        let (mut reader, writer) = connect(address, &hello(false, false, server))?;
        match reader.next_line()? {
            FromEngine::Welcome(engine) => Ok(Self { reader, writer, engine }),
            FromEngine::Refused { why, version } => Err(LinkError::Refused { why, version }),
            _ => Err(LinkError::Closed),
        }
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// What the engine says against it ([`LinkError::Answer`]), or that it is gone.
    pub fn ask(&mut self, request: Request) -> Result<Answer, LinkError> {
        let wanted = self.writer.ask(request)?;
        loop {
            if let FromEngine::Answer { id, result } = self.reader.next_line()?
                && id == wanted
            {
                return result.map_err(LinkError::Answer);
            }
        }
    }

    /// Waits until the engine has closed the connection, at most so long; false if it has not.
    pub fn await_end(mut self, most: Duration) -> bool {
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            while self.reader.next_line().is_ok() {}
            let _ = done.send(());
        });
        ended.recv_timeout(most).is_ok()
    }
}
