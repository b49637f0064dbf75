//! The inbox against a real folder and the system's own events.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use comfytop::inbox::{Event, Handle, WatchedDir, watch};

/// How long a test waits for what must come: long, so that a busy machine does not fail it.
const PATIENCE: Duration = Duration::from_secs(30);

struct Inbox {
    dir: tempfile::TempDir,
    events: Receiver<Event>,
    handle: Handle,
}

impl Inbox {
    fn open(change: impl FnOnce(&Path, &mut WatchedDir)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut watched = WatchedDir::local(dir.path().join("jobs"));
        fs::create_dir_all(watched.path.join("held")).expect("made");
        fs::create_dir(watched.path.join("queued")).expect("made");
        change(dir.path(), &mut watched);
        let (sender, events) = mpsc::channel();
        let handle = watch(vec![watched], move |event| {
            let _ = sender.send(event);
        });
        Self { dir, events, handle: handle.expect("a thread") }
    }

    fn jobs(&self) -> PathBuf {
        self.dir.path().join("jobs")
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event")
    }

    fn offer(&self) -> (PathBuf, Vec<u8>) {
        match self.next() {
            Event::Offer { path, bytes, dir_index: 0, .. } => (path, bytes),
            other => panic!("an offer, not {other:?}"),
        }
    }

    /// Everything told before an offer of this file, which is dropped last for that purpose.
    fn until(&self, name: &str) -> Vec<Event> {
        fs::write(self.jobs().join(name), "{}").expect("written");
        let mut events = Vec::new();
        loop {
            match self.next() {
                Event::Offer { path, .. } if path.ends_with(name) => return events,
                event => events.push(event),
            }
        }
    }
}

#[test]
fn what_lies_there_at_the_start_is_offered_in_the_order_it_was_written() {
    let inbox = Inbox::open(|_, watched| {
        for (name, age) in [("b.json", 20), ("a.json", 10), ("c.json", 20)] {
            let file = fs::File::create(watched.path.join(name)).expect("made");
            (&file).write_all(b"{}").expect("written");
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).expect("dated");
        }
    });
    let names: Vec<PathBuf> = (0..3).map(|_| inbox.offer().0).collect();
    assert_eq!(names, ["b.json", "c.json", "a.json"].map(|name| inbox.jobs().join(name)));
}

#[test]
fn a_file_renamed_in_or_written_there_is_offered_with_its_bytes() {
    let inbox = Inbox::open(|_, _| {});
    assert!(inbox.until("first.json").is_empty());
    let outside = inbox.dir.path().join("outside");
    fs::write(&outside, "{\"n\": 1}").expect("written");
    fs::rename(&outside, inbox.jobs().join("moved.json")).expect("moved");
    assert_eq!(inbox.offer(), (inbox.jobs().join("moved.json"), b"{\"n\": 1}".to_vec()));
    let mut file = fs::File::create(inbox.jobs().join("slow.json")).expect("made");
    file.write_all(b"{\"n\": ").expect("written");
    file.sync_all().expect("on disk");
    assert!(inbox.until("between.json").is_empty(), "half a file is not offered");
    file.write_all(b"2}").expect("written");
    drop(file);
    assert_eq!(inbox.offer(), (inbox.jobs().join("slow.json"), b"{\"n\": 2}".to_vec()));
}

#[test]
fn what_is_no_job_file_is_left_alone() {
    let inbox = Inbox::open(|_, _| {});
    for name in
        [".hidden.json", "a.json.tmp", "b.json.part", "c.json~", "d.png", "queued/000001-x.json", "e.result.json"]
    {
        fs::write(inbox.jobs().join(name), "{}").expect("written");
    }
    fs::create_dir(inbox.jobs().join("folder.json")).expect("made");
    assert!(inbox.until("last.json").is_empty());
}

#[test]
fn held_is_watched_and_says_so() {
    let inbox = Inbox::open(|_, _| {});
    fs::write(inbox.jobs().join("held/a.json"), "{}").expect("written");
    assert!(matches!(inbox.next(), Event::Offer { held: true, path, .. } if path.ends_with("held/a.json")));
    assert!(inbox.until("b.json").is_empty());
}

#[test]
fn what_never_parses_comes_as_a_last_call() {
    let inbox = Inbox::open(|_, watched| watched.max_settle = Duration::from_millis(300));
    fs::write(inbox.jobs().join("bad.json"), "{\"a\": ").expect("written");
    assert!(matches!(inbox.next(), Event::Offer { last_call: true, bytes, .. } if bytes == b"{\"a\": "));
}

#[test]
fn a_file_that_waits_for_another_is_offered_when_that_comes_and_one_last_time() {
    let inbox = Inbox::open(|_, watched| watched.max_settle = Duration::from_secs(4));
    let path = inbox.jobs().join("a.json");
    fs::write(&path, "{}").expect("written");
    assert_eq!(inbox.offer().0, path);
    inbox.handle.not_yet(&path);
    fs::write(inbox.jobs().join("start.png"), "png").expect("written");
    let mut offers = 0;
    loop {
        match inbox.next() {
            Event::Offer { last_call: false, .. } => inbox.handle.not_yet(&path),
            Event::Offer { last_call: true, .. } => break,
            // It is said what lies there, and offered again all the same.
            Event::Waiting(_) => continue,
            other => panic!("an offer, not {other:?}"),
        }
        offers += 1;
    }
    assert!(offers >= 1);
}

#[test]
fn a_file_that_could_not_be_taken_and_is_removed_is_said_to_be_gone() {
    let inbox = Inbox::open(|_, _| {});
    let path = inbox.jobs().join("a.json");
    fs::write(&path, "{}").expect("written");
    assert_eq!(inbox.offer().0, path);
    inbox.handle.again(&path);
    fs::remove_file(&path).expect("removed");
    assert_eq!(inbox.next(), Event::Gone { path });
}

#[test]
fn a_rescan_offers_again_what_still_lies_there() {
    let inbox = Inbox::open(|_, _| {});
    let path = inbox.jobs().join("a.json");
    fs::write(&path, "{}").expect("written");
    assert_eq!(inbox.offer().0, path);
    inbox.handle.rescan();
    assert_eq!(inbox.offer().0, path);
}

#[test]
fn a_file_too_big_is_said_to_be() {
    let inbox = Inbox::open(|_, _| {});
    let file = fs::File::create(inbox.jobs().join("big.json")).expect("made");
    file.set_len(17 << 20).expect("sized");
    loop {
        match inbox.next() {
            Event::TooBig { why, .. } => break assert!(why.contains("4 MiB"), "{why}"),
            // seen between its making and its growing
            Event::Offer { last_call: false, .. } => {}
            other => panic!("too big, not {other:?}"),
        }
    }
}

#[test]
fn a_folder_that_is_not_there_is_trouble_and_gets_well() {
    let inbox = Inbox::open(|_, watched| fs::remove_dir_all(&watched.path).expect("removed"));
    assert!(matches!(inbox.next(), Event::Trouble { .. }));
    fs::create_dir_all(inbox.jobs().join("held")).expect("made");
    assert_eq!(inbox.next(), Event::Well { dir: inbox.jobs() });
    // and events come again
    assert!(inbox.until("a.json").is_empty());
}

#[test]
fn a_folder_made_anew_is_watched_anew() {
    let inbox = Inbox::open(|_, _| {});
    assert!(inbox.until("a.json").is_empty());
    fs::rename(inbox.jobs(), inbox.dir.path().join("old")).expect("moved away");
    fs::create_dir_all(inbox.jobs().join("queued")).expect("made");
    let events = inbox.until("b.json");
    assert!(events.iter().all(|event| matches!(event, Event::Trouble { .. } | Event::Well { .. })), "{events:?}");
}

#[test]
fn a_polled_folder_is_scanned() {
    let inbox = Inbox::open(|_, watched| watched.poll = true);
    fs::write(inbox.jobs().join("a.json"), "{}").expect("written");
    assert_eq!(inbox.offer().0, inbox.jobs().join("a.json"));
    assert!(inbox.until("b.json").is_empty());
}

#[test]
fn a_thousand_at_once_are_all_offered_once() {
    let inbox = Inbox::open(|_, _| {});
    assert!(inbox.until("first.json").is_empty());
    let wanted: HashSet<PathBuf> = (0..1000).map(|n| inbox.jobs().join(format!("{n}.json"))).collect();
    for path in &wanted {
        fs::write(path, "{\"a\": 1}").expect("written");
    }
    let mut seen = HashSet::new();
    while seen.len() < wanted.len() {
        let (path, bytes) = inbox.offer();
        assert_eq!(bytes, b"{\"a\": 1}");
        assert!(seen.insert(path), "offered twice");
    }
    assert_eq!(seen, wanted);
}

#[test]
fn dropping_the_handle_ends_the_thread() {
    let Inbox { dir, events, handle } = Inbox::open(|_, _| {});
    drop(handle);
    // the thread owns the sender: its end closes the channel
    assert_eq!(events.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    drop(dir);
}
