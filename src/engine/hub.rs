//! The faces' side of the engine: who is attached, what each is told.
//!
//! A slow or stopped face never slows the engine: each has a bounded queue of lines, and one that
//! lags gets a fresh snapshot when it has caught up. Nothing is decided here.

use std::collections::HashMap;
use std::sync::Arc;

use interprocess::local_socket::tokio::{Listener, Stream, prelude::*};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use crate::protocol::{FromEngine, FromFace, MAX_LINE, Update};

/// Lines that may wait for one face.
const QUEUE: usize = 512;

/// What comes from the faces.
#[derive(Debug)]
pub enum FaceEvent {
    Came { face: u64, lines: mpsc::Sender<Arc<str>> },
    Said { face: u64, said: Box<FromFace> },
    Left { face: u64 },
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts of a face")]
struct Face {
    lines: mpsc::Sender<Arc<str>>,
    watch: bool,
    dashboard: bool,
    /// Its queue overflowed: it gets a snapshot once it is empty, and nothing until then.
    lagging: bool,
    greeted: bool,
    /// It shows what renders.
    previews: bool,
}

/// Everyone who is attached.
#[derive(Default)]
pub struct Hub {
    faces: HashMap<u64, Face>,
}

impl Hub {
    pub fn came(&mut self, face: u64, lines: mpsc::Sender<Arc<str>>) {
        self.faces.insert(
            face,
            Face { lines, watch: false, dashboard: false, lagging: false, greeted: false, previews: false },
        );
    }

    /// True if a dashboard left.
    pub fn left(&mut self, face: u64) -> bool {
        self.faces.remove(&face).is_some_and(|f| f.dashboard)
    }

    pub fn greet(&mut self, face: u64, watch: bool, dashboard: bool) {
        if let Some(f) = self.faces.get_mut(&face) {
            f.watch = watch;
            f.dashboard = dashboard;
            f.greeted = true;
        }
    }

    pub fn is_greeted(&self, face: u64) -> bool {
        self.faces.get(&face).is_some_and(|f| f.greeted)
    }

    pub fn count(&self) -> usize {
        self.faces.len()
    }

    pub fn has_watchers(&self) -> bool {
        self.faces.values().any(|f| f.watch)
    }

    /// One line to one face; one that does not read what it asked for is let go.
    pub fn send(&mut self, face: u64, line: &FromEngine) {
        let Some(f) = self.faces.get_mut(&face) else { return };
        if let Some(text) = text(line)
            && f.lines.try_send(text).is_err()
        {
            // It asked and does not read: an answer can't be made up for by a snapshot.
            self.close(face);
        }
    }

    /// Closes the connection to a face, after what waits for it has been sent.
    pub fn close(&mut self, face: u64) {
        self.faces.remove(&face);
    }

    /// One change to all who watch.
    pub fn publish(&mut self, update: Update) {
        if !self.has_watchers() {
            return;
        }
        let Some(text) = text(&FromEngine::Update(update)) else { return };
        for f in self.faces.values_mut().filter(|f| f.watch && !f.lagging) {
            f.lagging = f.lines.try_send(Arc::clone(&text)).is_err();
        }
    }

    /// This face wants previews, or no more.
    pub fn want_previews(&mut self, face: u64, on: bool) {
        if let Some(f) = self.faces.get_mut(&face) {
            f.previews = on;
        }
    }

    /// Somebody shows previews.
    pub fn wants_previews(&self) -> bool {
        self.faces.values().any(|f| f.previews)
    }

    /// A preview to those who show them. One that is behind goes without: the next one is newer.
    pub fn preview(&mut self, update: Update) {
        let Some(text) = text(&FromEngine::Update(update)) else { return };
        for f in self.faces.values_mut().filter(|f| f.previews && !f.lagging && f.lines.capacity() == QUEUE) {
            let _ = f.lines.try_send(Arc::clone(&text));
        }
    }

    /// Watchers that lagged and have drained their queue: each wants a snapshot now.
    pub fn caught_up(&mut self) -> Vec<u64> {
        let mut ready = Vec::new();
        for (id, f) in &mut self.faces {
            if f.lagging && f.lines.capacity() == QUEUE {
                f.lagging = false;
                ready.push(*id);
            }
        }
        ready
    }

    pub fn is_anyone_lagging(&self) -> bool {
        self.faces.values().any(|f| f.lagging)
    }
}

fn text(line: &FromEngine) -> Option<Arc<str>> {
    match serde_json::to_string(line) {
        Ok(mut text) => {
            text.push('\n');
            Some(text.into())
        }
        Err(error) => {
            tracing::error!("a line for faces can't be written as JSON: {error}");
            None
        }
    }
}

/// Accepts faces for ever.
pub async fn accept(listener: Listener, events: mpsc::UnboundedSender<FaceEvent>) {
    // Unique across listeners: the engine may bind again.
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    loop {
        match listener.accept().await {
            Ok(stream) => {
                let face = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tokio::spawn(serve(face, stream, events.clone()));
            }
            Err(error) => {
                tracing::warn!("a face could not be accepted: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve(face: u64, stream: Stream, events: mpsc::UnboundedSender<FaceEvent>) {
    let stream = Arc::new(stream);
    let out = Arc::clone(&stream);
    let (lines, mut waiting) = mpsc::channel::<Arc<str>>(QUEUE);
    if events.send(FaceEvent::Came { face, lines }).is_err() {
        return;
    }
    let mut writer = tokio::spawn(async move {
        while let Some(line) = waiting.recv().await {
            if (&*out).write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
    });
    let mut reader = BufReader::new(&*stream);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let mut limited = (&mut reader).take(MAX_LINE as u64);
        let read = tokio::select! {
            read = limited.read_until(b'\n', &mut buffer) => read,
            // The engine has closed this face.
            _ = &mut writer => break,
        };
        if !matches!(read, Ok(n) if n > 0) || buffer.last() != Some(&b'\n') {
            break;
        }
        match serde_json::from_slice(&buffer) {
            Ok(said) => {
                if events.send(FaceEvent::Said { face, said }).is_err() {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!("face {face} said something unreadable: {error}");
                break;
            }
        }
    }
    let _ = events.send(FaceEvent::Left { face });
    writer.abort();
}
