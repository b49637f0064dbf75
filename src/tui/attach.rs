//! Joins a dashboard to the engine of its render folder: connects, starts one where none serves,
//! carries lines both ways. It decides nothing, and the drawing thread never waits for it.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use jiff::Timestamp;

use super::app::{Command, Event};
use super::stills;
use super::terminal::{EventSender, Wires};
use crate::editor::player;
use crate::link::{self, Address, Launch, LinkError, Reader, Talk, Writer};
use crate::protocol::{Level, Notice, Request};

/// How the engine is reached, and started.
#[derive(Debug, Clone)]
pub struct Door {
    pub address: Address,
    pub launch: Launch,
    /// The server that a flag or the environment named.
    pub server: Option<String>,
}

/// Begins to connect, and hands out the dashboard's ends.
pub fn attach(door: Door) -> Wires {
    let (wires, sender) = Wires::new();
    let (commands, asked) = channel();
    let events = sender.clone();
    std::thread::spawn(move || carry(&door, &sender, &asked));
    // Begun with the first picture: most dashboards show none.
    let mut pictures = None;
    wires.on_command(move |command| {
        // The other ends go only with the process.
        let _ = match command {
            Command::Load(path) => {
                pictures.get_or_insert_with(|| stills::reader(events.clone())).send(path).map_err(drop)
            }
            Command::Open(path) => {
                let events = events.clone();
                std::thread::spawn(move || {
                    let (level, text) = match player::open(&path) {
                        Ok(()) => (Level::Info, format!("opened {path}")),
                        Err(error) => (Level::Warning, error.to_string()),
                    };
                    events.send(Event::Notice(Notice { at: Timestamp::now(), level, text }));
                });
                Ok(())
            }
            other => commands.send(other).map_err(drop),
        };
    })
}

fn carry(door: &Door, events: &EventSender, asked: &Receiver<Command>) {
    let mut writer = join(door, events, false, None);
    while let Ok(command) = asked.recv() {
        match command {
            Command::Ask(request) => {
                if let Some(out) = &mut writer
                    && out.ask(request).is_err()
                {
                    // The reader says so.
                    writer = None;
                }
            }
            Command::StartEngine { replace, server } => {
                // Close first: one dashboard is one face.
                drop(writer.take());
                writer = join(door, events, replace, server);
            }
            _ => {}
        }
    }
}

fn join(door: &Door, events: &EventSender, replace: bool, before: Option<String>) -> Option<Writer> {
    events.send(Event::Connecting);
    match connect(door, replace, before) {
        Ok((reader, writer)) => {
            let events = events.clone();
            std::thread::spawn(move || pump(reader, &events));
            Some(writer)
        }
        Err(error) => {
            events.send(Event::EngineGone { why: error.to_string() });
            None
        }
    }
}

/// `before`: the server that a flag had named to the engine before.
fn connect(door: &Door, replace: bool, mut before: Option<String>) -> Result<(Reader, Writer), LinkError> {
    if replace && let Ok(mut talk) = Talk::open(&door.address, None) {
        before = talk.engine.server.take();
        let _ = talk.ask(Request::Stop);
        talk.await_end(Duration::from_secs(12));
    }
    link::end_looking(&door.address);
    let hello = link::hello(true, true, door.server.as_deref());
    match link::connect(&door.address, &hello) {
        Err(LinkError::NoEngine) => {
            // The connection that waited for it is kept until ours stands: an engine that ends
            // with its faces must not take this moment for the end.
            // What this dashboard was told stands in the launch already, and wins.
            let launch = match before.filter(|_| door.server.is_none()) {
                Some(server) => door.launch.at_server(&server),
                None => door.launch.clone(),
            };
            let _waited = link::start(&door.address, &launch, door.server.as_deref())?;
            link::connect(&door.address, &hello)
        }
        other => other,
    }
}

fn pump(mut reader: Reader, events: &EventSender) {
    loop {
        match reader.next_line() {
            Ok(line) => {
                if !events.send(Event::FromEngine(line)) {
                    return;
                }
            }
            Err(error) => {
                // That it is closed is all that "gone" says.
                let why = if matches!(error, LinkError::Closed) { String::new() } else { error.to_string() };
                events.send(Event::EngineGone { why });
                return;
            }
        }
    }
}
