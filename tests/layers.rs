//! The rules of the house: who may import whom (ARCHITECTURE.md draws the map).
//!
//! What stands under `#[cfg(test)]` is exempt: it is not in the program, and the test of an edge
//! may well want the simulator. `tests/layers/paths.rs` finds the paths; here is what they may say.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod layers {
    pub mod paths;
}

use std::collections::BTreeSet;
use std::path::Path;

use layers::paths::{Path as Segments, Tree};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Knows nothing of the world.
    Noun,
    /// Knows one outside thing.
    Edge,
    /// The points at which a test may kill the program: whoever touches the outside world passes them.
    Points,
    /// Edges that faces may use: the local socket to the engine, the person's editor.
    Link,
    Engine,
    Sim,
    /// What a person or a script uses.
    Face,
    /// Verbs that need no engine, and the demo.
    Tool,
    /// The command line: opens every room, and nobody opens it.
    Door,
}

use Layer::{Door, Edge, Engine, Face, Link, Noun, Points, Sim, Tool};

/// Every room. A new one is put here, under the layer whose rules it means to keep.
const ROOMS: &[(&str, Layer)] = &[
    ("config", Noun),
    ("embedded", Noun),
    ("estimate", Noun),
    ("job", Noun),
    ("job_file", Noun),
    ("lenient", Noun),
    ("protocol", Noun),
    ("text", Noun),
    ("verdict", Noun),
    ("weigh", Noun),
    ("workflow", Noun),
    ("faults", Points),
    ("alert", Edge),
    ("comfy", Edge),
    ("folder", Edge),
    ("inbox", Edge),
    ("store", Edge),
    ("video", Edge),
    ("editor", Link),
    ("link", Link),
    ("engine", Engine),
    ("sim", Sim),
    ("tui", Face),
    ("verbs", Face),
    ("demo", Tool),
    ("tools", Tool),
    ("cli", Door),
    ("main", Door),
    ("lib", Door),
];

/// What a noun may not touch: the disk, the network, processes, the clock, chance, async.
const OUTSIDE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "axum",
    "crossterm",
    "fastrand",
    "futures_util",
    "interprocess",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "jiff::tz::TimeZone::system",
    "notify",
    "ratatui",
    "reqwest",
    "rusqlite",
    "rustix",
    "signal_hook",
    "tokio",
    "tokio_tungstenite",
];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "types", "manager", "misc"];

fn layer(room: &str) -> Option<Layer> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, layer)| *layer)
}

fn may_import(from: Layer, to: Layer) -> bool {
    match from {
        Noun | Points => to == Noun,
        Sim | Edge | Link => matches!(to, Noun | Points),
        Face => matches!(to, Noun | Link),
        Engine => matches!(to, Noun | Points | Edge | Link),
        Tool => matches!(to, Noun | Edge | Link | Engine | Sim),
        Door => true,
    }
}

fn room_of(module: &[String]) -> &str {
    module.get(1).map_or("lib", String::as_str)
}

/// What is wrong with one place that a path leads to, for somebody in `room`.
fn fault(tree: &Tree, room: &str, from: Layer, to: &Segments, glob: bool) -> Option<String> {
    if from == Door {
        return None;
    }
    let shown = to.join("::");
    if to[0] != "crate" {
        let banned = OUTSIDE.iter().find(|banned| {
            let at_or_below =
                shown.strip_prefix(**banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
            let above = glob && banned.strip_prefix(&shown).is_some_and(|rest| rest.starts_with("::"));
            at_or_below || above
        });
        return banned
            .filter(|_| from == Noun)
            .map(|banned| format!("{room} is a noun and may not touch `{banned}` (`{shown}`)"));
    }
    let Some(target) = to.get(1) else {
        return glob.then(|| format!("{room} takes in every room at once (`{shown}::*`)"));
    };
    if target == room {
        return None;
    }
    match layer(target) {
        Some(Door) => Some(format!("{room} may not open the door `{target}` (`{shown}`)")),
        Some(layer) if may_import(from, layer) => None,
        Some(layer) => Some(format!("{room} ({from:?}) may not import {target} ({layer:?}): `{shown}`")),
        None if tree.root_knows(target) => None, // What it stands for is in the trail, too.
        None => Some(format!("{room} reaches for `{shown}`, which is in no room of tests/layers.rs")),
    }
}

/// All that breaks the rules, one line each.
fn violations<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let tree = match Tree::read(sources) {
        Ok(tree) => tree,
        Err(error) => return vec![error],
    };
    let mut found = BTreeSet::new();
    let at = |file: &str, line: usize, what: &str| format!("{file}:{line}: {what}");
    for mention in &tree.mentions {
        let room = room_of(&mention.module);
        let Some(from) = layer(room) else {
            found.insert(at(&mention.file, 1, &format!("room `{room}` is not in tests/layers.rs: give it a layer")));
            continue;
        };
        let trail = tree.trail(mention);
        found.extend(
            trail
                .iter()
                .filter_map(|to| fault(&tree, room, from, to, mention.glob))
                .map(|what| at(&mention.file, mention.line, &what)),
        );
    }
    for act in &tree.acts {
        let room = room_of(&act.module);
        if act.what != "is async" || layer(room) == Some(Noun) {
            found.insert(at(&act.file, act.line, &format!("{room} {}", act.what)));
        }
    }
    found.into_iter().collect()
}

/// All `.rs` files below a folder, with their texts; paths relative to the crate, with `/`.
fn sources(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(folder), root, &mut found);
    found.sort();
    found
}

#[test]
fn every_room_keeps_to_its_layer() {
    let sources = sources("src");
    assert!(sources.len() > 10, "the sources were not found");
    let found = violations(sources.iter().map(|(file, text)| (file.as_str(), text.as_str())));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_file_has_a_room_and_a_name_that_says_something() {
    for (file, _) in sources("src").iter().chain(&sources("tests")) {
        let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
        assert!(!parts.ends_with(&["mod"]), "{file}: write foo.rs beside foo/, not foo/mod.rs");
        let empty = parts.iter().find(|part| EMPTY_NAMES.contains(part));
        assert!(empty.is_none(), "{file}: `{}` says nothing of what is inside", empty.unwrap());
        if parts[0] == "src" {
            assert!(layer(parts[1]).is_some(), "{file}: give the room `{}` a layer in tests/layers.rs", parts[1]);
        }
    }
}

/// The single complaint about one file among a small house, or "".
fn planted(file: &str, text: &str) -> String {
    let house = [
        (
            "src/lib.rs",
            "pub mod job; pub mod text; pub mod faults; pub mod store; pub mod tui; pub mod cli; pub use store::Row as Shortcut;",
        ),
        ("src/store.rs", "pub struct Row; #[macro_export] macro_rules! rows { () => {} }"),
        ("src/text.rs", "pub fn clean() {}"),
        ("src/tui.rs", "pub struct App;"),
        ("src/cli.rs", "pub fn main() { crate::tui::run(); std::process::exit(0) }"),
    ];
    let house = house.into_iter().filter(|(name, _)| *name != file).chain([(file, text)]);
    violations(house).join("\n")
}

#[test]
fn what_is_allowed_passes() {
    for (file, text) in [
        ("src/job.rs", "use crate::text::clean; use std::time::Duration; fn f(at: jiff::Timestamp) { clean() }"),
        ("src/comfy.rs", "use crate::{job, text::{self, clean}}; async fn f() { tokio::fs::read(\"x\").await; }"),
        ("src/engine.rs", "use crate::store::*; use crate::job; use std::time::Instant;"),
        ("src/engine/core.rs", "use super::*; use crate::store::Row;"),
        ("src/tui/app.rs", "use super::App; use crate::protocol; use crate::config; use crate::link;"),
        ("src/engine.rs", "use crate::link::address;"),
        ("src/tools.rs", "use crate::{engine, sim, store, video, job};"),
        ("src/main.rs", "fn main() { comfytop::cli::main() }"),
        ("src/job.rs", "mod store { pub struct Row; } use store::Row; fn f() -> self::store::Row { store::Row }"),
        ("src/job.rs", "use url; fn f() { url::parse() }"),
        // Test code may use what it needs.
        ("src/job.rs", "#[cfg(test)] mod tests { use crate::store::Row; fn f() { std::fs::read(\"x\"); } }"),
        ("src/comfy.rs", "#[cfg(all(test, unix))] use crate::sim; #[cfg(test)] fn f() { crate::sim::serve() }"),
        // A string, a comment and a doc are no path.
        ("src/job.rs", "/// See `crate::store::Row`.\nfn f() -> &'static str { \"crate::store::Row\" }"),
    ] {
        assert_eq!(planted(file, text), "", "{file}: {text}");
    }
}

#[test]
fn a_planted_import_is_found_however_it_is_written() {
    for (file, text) in [
        // use: plain, group, nested group, rename, glob, `super`, `self`, leading path of the crate's own name
        ("src/job.rs", "use crate::store::Row;"),
        ("src/job.rs", "use crate::{text, store};"),
        ("src/job.rs", "use crate::{text::{self}, store::{self as shelf, Row}};"),
        ("src/job.rs", "use crate::store as shelf;"),
        ("src/job.rs", "use crate::store::*;"),
        ("src/job.rs", "use super::store::Row;"),
        ("src/job/step.rs", "use super::super::store::Row;"),
        ("src/job.rs", "mod inner { use super::super::store::Row; }"),
        ("src/job.rs", "use self::super::store::Row;"),
        ("src/job.rs", "use comfytop::store::Row;"),
        ("src/job.rs", "use crate::*;"),
        ("src/job.rs", "fn f() { use crate::store::Row; }"),
        ("src/job.rs", "pub use crate::store::Row;"),
        ("src/job.rs", "pub(crate) use crate::store as shelf;"),
        ("src/job.rs", "extern crate self as house; fn f() { house::store::open() }"),
        // full paths: expressions, types, patterns, generics, bounds, qualified
        ("src/job.rs", "fn f() { crate::store::open() }"),
        ("src/job.rs", "struct J { row: crate::store::Row }"),
        ("src/job.rs", "fn f(x: u8) { match x { crate::store::ONE => {} _ => {} } }"),
        ("src/job.rs", "fn f<T: crate::store::Shelf>(x: Vec<crate::text::Line>) {}"),
        ("src/job.rs", "fn f() { <crate::store::Row>::new() }"),
        ("src/job.rs", "impl crate::store::Shelf for u8 {}"),
        ("src/job.rs", "fn f() { super::store::open() }"),
        // through another name for the root, and through names of the root
        ("src/job.rs", "use crate as house; fn f() { house::store::open() }"),
        ("src/job.rs", "use super as up; use up::store::Row;"),
        ("src/job.rs", "use crate::Shortcut;"),
        ("src/job.rs", "fn f() -> crate::Shortcut { todo!() }"),
        ("src/job.rs", "fn f() { crate::rows!() }"),
        // in macros' tokens and attributes
        ("src/job.rs", "fn f() { println!(\"{}\", crate::store::count()) }"),
        ("src/job.rs", "macro_rules! m { () => { $crate::store::open() } }"),
        ("src/job.rs", "macro_rules! m { () => { use crate::{text, store::{Row}}; } }"),
        ("src/job.rs", "macro_rules! m { () => { use super::store::*; } }"),
        ("src/job.rs", "struct J { #[serde(with = \"crate::store::seconds\")] x: u8 }"),
        ("src/job.rs", "#[derive(crate::store::Kept)] struct J;"),
        // source text from elsewhere
        ("src/job.rs", "#[path = \"store.rs\"] mod shelf;"),
        ("src/job.rs", "include!(\"store.rs\");"),
        // who may not import whom
        ("src/job.rs", "use crate::faults;"),
        ("src/tui.rs", "use crate::faults;"),
        ("src/comfy.rs", "use crate::store::Row;"),
        ("src/folder.rs", "use crate::inbox;"),
        ("src/link.rs", "use crate::folder;"),
        ("src/store.rs", "use crate::link;"),
        ("src/text.rs", "use crate::engine;"),
        ("src/sim.rs", "use crate::link;"),
        ("src/sim.rs", "use crate::comfy;"),
        ("src/engine.rs", "use crate::sim;"),
        ("src/engine.rs", "use crate::tui::App;"),
        ("src/tui.rs", "use crate::engine;"),
        ("src/tui/app.rs", "use crate::store;"),
        ("src/verbs.rs", "use crate::tui::App;"),
        ("src/tui.rs", "use crate::tools;"),
        ("src/tools.rs", "use crate::demo;"),
        ("src/demo.rs", "use crate::verbs;"),
        ("src/tui.rs", "use crate::cli;"),
        ("src/job.rs", "use crate::cellar::Wine;"),
        ("src/cellar.rs", "use crate::job;"),
        // `not(test)` and `any(test, …)` are in the program
        ("src/job.rs", "#[cfg(not(test))] use crate::store::Row;"),
        ("src/job.rs", "#[cfg(any(test, unix))] use crate::store::Row;"),
    ] {
        // A file that cannot be read is a complaint too, but has no line.
        let found = planted(file, text);
        assert!(found.starts_with(&format!("{file}:1: ")), "not seen in {file}: {text} ({found})");
    }
}

#[test]
fn a_noun_that_touches_the_world_is_found() {
    for text in [
        "use std::fs;",
        "use std::{fmt, fs::File};",
        "fn f() { std::fs::read(\"x\"); }",
        "use std as s; fn f() { s::fs::read(\"x\"); }",
        "use std::net::TcpStream;",
        "use std::process::Command;",
        "use std::time::{Duration, SystemTime};",
        "use std::time; fn f() { time::Instant::now(); }",
        "use std::time::*;",
        "use jiff::Timestamp; fn f() { Timestamp::now(); }",
        "fn f() { jiff::Zoned::now(); }",
        "use jiff::Timestamp as T; fn f() { vec![T::now()]; }",
        "use jiff::Timestamp; mod inner { use super::*; fn f() { Timestamp::now(); } }",
        "use jiff::Timestamp; fn f() { <Timestamp>::now(); }",
        "use jiff::Timestamp; fn f() { None.unwrap_or_else(Timestamp::now) }",
        "use tokio::sync::mpsc;",
        "async fn f() {}",
        "fn f() { async {} }",
        "struct S; impl S { async fn f() {} }",
    ] {
        let found = planted("src/job.rs", text);
        assert!(found.starts_with("src/job.rs:1: job "), "not seen: {text} ({found})");
    }
}

#[test]
fn a_complaint_says_where_and_what() {
    assert_eq!(
        planted("src/job.rs", "\nuse crate::store::Row;"),
        "src/job.rs:2: job (Noun) may not import store (Edge): `crate::store::Row`"
    );
    assert_eq!(
        planted("src/job.rs", "use std::fs::File;"),
        "src/job.rs:1: job is a noun and may not touch `std::fs` (`std::fs::File`)"
    );
}

#[test]
fn a_file_of_tests_is_exempt_and_so_is_what_it_holds() {
    let found = violations([
        ("src/lib.rs", "pub mod comfy;"),
        ("src/comfy.rs", "#[cfg(test)] mod replay;"),
        ("src/comfy/replay.rs", "use crate::sim::Server; mod deeper { use crate::store; }"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}
