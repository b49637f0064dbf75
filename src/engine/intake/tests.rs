//! The intake against a real folder and store, with no server and no thread of the inbox. A kill is a
//! driver that is dropped; what it had not written is lost with it.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::*;
use crate::engine::core::{Policy, State};
use crate::engine::hub::Hub;
use crate::engine::setup::remember;
use crate::protocol::{EngineRow, PROTOCOL, Request};
use crate::store::Store;

struct World {
    dir: tempfile::TempDir,
    driver: Driver,
    events: mpsc::UnboundedReceiver<Event>,
}

fn start(dir: &Path) -> (Driver, mpsc::UnboundedReceiver<Event>) {
    let folder = Folder::new(dir).expect("a folder");
    fs::create_dir_all(&folder.state).expect("made");
    let store = Store::open(&folder.state.join("store.db")).expect("a store");
    let row = EngineRow {
        protocol: PROTOCOL,
        version: String::new(),
        pid: 1,
        folder: String::new(),
        log: String::new(),
        simulated: false,
        server: None,
        look_only: false,
        banners: Vec::new(),
        flow: crate::protocol::Flow::Going,
    };
    let remembered = remember(&store).expect("remembered");
    let (events, inputs) = mpsc::unbounded_channel();
    let mut driver = Driver {
        previews: tokio::sync::watch::channel(false).0,
        studio: crate::engine::pictures::Studio::new(None, folder.cache(), 0),
        state: State::new(Policy::default(), row, Vec::new(), remembered, 1, Timestamp::now()),
        next_job: store.next_job().expect("a number"),
        store,
        folder: Arc::new(folder),
        config: Config::default(),
        hub: Hub::default(),
        servers: Vec::new(),
        events,
        inbox: None,
        intake: Intake::default(),
        preflight: crate::engine::preflight::Preflight::default(),
        asks: HashMap::new(),
        next_ask: 1,
        refused: HashMap::new(),
        measuring: VecDeque::new(),
        measures: false,
        measurer: super::super::errands::Measurer::default(),
        progress_due: false,
        links: HashMap::new(),
        pending: Vec::new(),
        unwritten: None,
        store_trouble: None,
        ends_with_faces: false,
        exit: false,
    };
    driver.reconcile_files().expect("reconciled");
    let effects = driver.state.recover(Timestamp::now());
    driver.pending.extend(effects);
    driver.flush();
    driver.folder.create().expect("made");
    (driver, inputs)
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (driver, events) = start(dir.path());
        fs::write(dir.path().join("jobs/a.png"), "an image").expect("written");
        Self { dir, driver, events }
    }

    /// Kills the engine, and starts the next.
    fn restart(self) -> Self {
        let Self { dir, driver, events } = self;
        drop((driver, events));
        let (driver, events) = start(dir.path());
        Self { dir, driver, events }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).expect("written");
    }

    fn offer(&self, path: &str, last_call: bool) -> inbox::Event {
        let path = self.path(path);
        let bytes = fs::read(&path).unwrap_or_default();
        inbox::Event::Offer { path, dir_index: 0, held: false, bytes, last_call }
    }

    fn take(&mut self, path: &str) {
        self.driver.take_offers(vec![self.offer(path, false)]);
        self.driver.flush();
    }

    /// Drops a file of jobs.
    fn drop(&mut self, name: &str, text: &str) {
        self.write(&format!("jobs/{name}"), text);
        self.take(&format!("jobs/{name}"));
    }

    fn cancel(&mut self, job: u64) {
        self.driver.step(Input::Ask { ask: 0, request: Request::Cancel { jobs: vec![JobId(job)] } });
        self.driver.flush();
    }

    fn move_back(&self, name: &str) {
        fs::rename(self.path("jobs/failed").join(name), self.path("jobs").join(name)).expect("moved");
    }

    fn state(&self, job: u64) -> &'static str {
        self.driver.state.job(JobId(job)).map_or("none", |job| job.state.word())
    }

    fn place(&self, file: u64) -> Option<Place> {
        self.driver.store.file(file).expect("readable").map(|file| file.place)
    }

    fn there(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn banners(&self) -> &[String] {
        &self.driver.state.engine_row().banners
    }
}

/// A job of the built-in workflow.
fn job(seed: u64) -> String {
    format!(r#"{{"workflow": "wan2.2-i2v", "image": "a.png", "prompt": "a cat", "seed": {seed}}}"#)
}

#[test]
fn a_dropped_file_becomes_jobs() {
    let mut world = World::new();
    world.drop("a.json", &format!("[{}, {}]", job(1), job(2)));
    assert_eq!((world.state(1), world.state(2), world.place(1)), ("queued", "queued", Some(Place::Queued)));
    assert!(world.there("jobs/queued/000001-a.json"));
    let files = world.driver.store.open_files().expect("read");
    assert_eq!(files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["a.json"]);
    assert!(world.driver.store.file_text(1).expect("read").expect("there").starts_with(b"[{"));
    let prompt = world.driver.store.prompt(JobId(2)).expect("read").expect("there");
    assert_eq!(prompt.files.len(), 1);
    let world = world.restart();
    assert_eq!((world.state(1), world.place(1)), ("queued", Some(Place::Queued)));
}

#[test]
fn the_same_render_in_two_files_that_come_together_is_a_duplicate() {
    let mut world = World::new();
    world.write("jobs/a.json", &format!("[{}, {}]", job(1), job(1)));
    world.write("jobs/b.json", &job(1));
    world.driver.take_offers(vec![world.offer("jobs/a.json", false), world.offer("jobs/b.json", false)]);
    world.driver.flush();
    // jobs of one file are never each other's duplicates
    assert_eq!((world.state(1), world.state(2), world.state(3)), ("queued", "queued", "duplicate"));
}

#[test]
fn many_files_at_once_are_all_taken_and_copy_their_image_once() {
    let mut world = World::new();
    let old = SystemTime::now() - Duration::from_mins(1);
    let image = fs::File::options().write(true).open(world.path("jobs/a.png")).expect("open");
    image.set_modified(old).expect("dated");
    let offers: Vec<_> = (0..300_u64)
        .map(|n| {
            world.write(&format!("jobs/{n}.json"), &job(n));
            world.offer(&format!("jobs/{n}.json"), false)
        })
        .collect();
    world.driver.take_offers(offers);
    world.driver.flush();
    assert_eq!(world.state(300), "queued");
    assert_eq!(fs::read_dir(world.path("jobs/queued")).expect("there").count(), 300);
    assert_eq!(fs::read_dir(world.path(".comfytop/inputs")).expect("there").count(), 1);
}

#[test]
fn an_image_that_changed_is_kept_anew() {
    let mut world = World::new();
    let old = SystemTime::now() - Duration::from_mins(1);
    for (n, text) in [(1, "one"), (2, "two")] {
        world.write("jobs/a.png", text);
        fs::File::options().write(true).open(world.path("jobs/a.png")).expect("open").set_modified(old).expect("dated");
        world.drop(&format!("{n}.json"), &job(7));
    }
    assert_eq!((world.state(1), world.state(2)), ("queued", "queued"), "other bytes are another render");
}

#[tokio::test]
async fn a_large_image_is_copied_beside_the_engine() {
    let mut world = World::new();
    world.write("jobs/a.png", &"x".repeat(9 << 20));
    world.drop("a.json", &format!("[{}, {}]", job(1), job(2)));
    assert_eq!(world.state(1), "none", "not yet");
    let Some(Event::Copied(copied)) = world.events.recv().await else { panic!("a copy") };
    assert_eq!(copied.copies.len(), 1);
    world.driver.copied(*copied);
    world.driver.flush();
    assert_eq!((world.state(1), world.state(2)), ("queued", "queued"));
    assert_eq!(fs::read_dir(world.path(".comfytop/inputs")).expect("there").count(), 1);

    // one that is changed meanwhile is offered anew by the inbox, and not taken as it was
    world.drop("b.json", &job(3).replace("a cat", "a dog"));
    let Some(Event::Copied(copied)) = world.events.recv().await else { panic!("a copy") };
    world.write("jobs/b.json", &job(4));
    world.driver.copied(*copied);
    assert!(world.there("jobs/b.json"));
    assert_eq!(world.state(3), "none");
}

#[test]
fn an_image_that_never_comes_is_said_to_be_missing() {
    let mut world = World::new();
    let text = r#"{"workflow": "wan2.2-i2v", "prompt": "x", "image": "pics/none.png"}"#;
    world.drop("a.json", text);
    assert_eq!(world.state(1), "none", "it may still come");
    assert!(world.there("jobs/a.json"));
    world.driver.take_offers(vec![world.offer("jobs/a.json", true)]);
    world.driver.flush();
    assert_eq!(world.state(1), "rejected");
    let words = fs::read_to_string(world.path("jobs/failed/000001-a.json.error.txt")).expect("there");
    assert!(words.contains("there is no file") && words.contains("pics/none.png"), "{words}");
    // a bare name may be one of the server's: that is asked before the job is posted
    world.write("jobs/b.json", &text.replace("pics/", ""));
    world.driver.take_offers(vec![world.offer("jobs/b.json", true)]);
    assert_eq!(world.state(2), "queued");
}

#[test]
fn a_name_that_shows_nothing_falls_back_to_the_file() {
    let mut world = World::new();
    world.drop(" \u{1b}.json", &job(1));
    world.drop("漢字.json", &job(2));
    let name = |job| world.driver.state.job(JobId(job)).expect("there").name.clone();
    assert_eq!((name(1), name(2)), ("job".to_owned(), "漢字".to_owned()));
}

#[test]
fn a_file_moved_back_from_failed_runs_what_is_not_done() {
    let mut world = World::new();
    world.drop("a.json", &format!("[{}, {}]", job(1), job(2)));
    world.cancel(1);
    world.cancel(2);
    assert_eq!(world.place(1), Some(Place::Failed));
    world.move_back("000001-a.json");
    world.take("jobs/000001-a.json");
    assert_eq!((world.state(1), world.state(2), world.state(3)), ("queued", "queued", "none"));
    assert_eq!(world.place(1), Some(Place::Queued));
    assert!(world.there("jobs/queued/000001-a.json"));
    world.cancel(1);
    world.cancel(2);
    assert!(world.there("jobs/failed/000001-a.json") && !world.there("jobs/queued/000001-a.json"));
}

#[test]
fn a_file_copied_back_from_failed_does_not_stay_in_queued() {
    let mut world = World::new();
    world.drop("a.json", &job(1));
    world.cancel(1);
    fs::copy(world.path("jobs/failed/000001-a.json"), world.path("jobs/000001-a.json")).expect("copied");
    world.take("jobs/000001-a.json");
    assert_eq!(world.state(1), "queued");
    world.cancel(1);
    assert!(!world.there("jobs/queued/000001-a.json") && world.there("jobs/failed/000001-a.json"));
}

#[test]
fn wherever_a_return_is_cut_off_the_next_start_sets_it_right() {
    for kill_after in ["the row", "the rename", "the step"] {
        let mut world = World::new();
        world.drop("a.json", &job(1));
        world.cancel(1);
        world.move_back("000001-a.json");
        let path = world.path("jobs/000001-a.json");
        if kill_after == "the row" {
            world.driver.store.returning(1, &path).expect("written");
        } else if kill_after == "the rename" {
            world.driver.store.returning(1, &path).expect("written");
            world.driver.folder.take(&path, 1, "a.json").expect("moved");
        } else {
            // decided, not written
            world.driver.take_offers(vec![world.offer("jobs/000001-a.json", false)]);
        }
        let mut world = world.restart();
        if kill_after == "the row" {
            assert_eq!((world.state(1), world.place(1)), ("cancelled", Some(Place::Failed)));
            world.take("jobs/000001-a.json");
        }
        assert_eq!((world.state(1), world.place(1)), ("queued", Some(Place::Queued)), "{kill_after}");
        assert!(world.there("jobs/queued/000001-a.json") && !world.there("jobs/000001-a.json"), "{kill_after}");
        let world = world.restart();
        assert_eq!(world.state(1), "queued", "{kill_after}");
    }
}

#[test]
fn files_that_lie_in_queued_for_no_reason_are_set_right() {
    let mut world = World::new();
    for (name, seed) in [("a.json", 1), ("b.json", 2), ("c.json", 3)] {
        world.drop(name, &job(seed));
    }
    world.cancel(1);
    world.cancel(2);
    let to_queued = |world: &World, name: &str| {
        fs::rename(world.path("jobs/failed").join(name), world.path("jobs/queued").join(name)).expect("moved");
    };
    to_queued(&world, "000001-a.json");
    to_queued(&world, "000002-b.json");
    world.driver.store.write(&[Write::FilePlace { file: 2, place: Place::Done }]).expect("written");
    // gone by hand: nothing changes
    fs::remove_file(world.path("jobs/queued/000003-c.json")).expect("removed");
    // another engine's, on a shared inbox
    world.write("jobs/queued/000009-x.json", "{}");
    world.write("jobs/queued/000002-other.json", "{}");
    let world = world.restart();
    assert_eq!((world.state(1), world.place(1)), ("queued", Some(Place::Queued)));
    assert!(world.there("jobs/queued/000001-a.json"));
    assert!(world.there("jobs/done/000002-b.json") && !world.there("jobs/queued/000002-b.json"));
    assert_eq!(world.state(3), "queued");
    assert!(world.there("jobs/queued/000009-x.json") && world.there("jobs/queued/000002-other.json"));
}

#[test]
fn a_taking_that_was_cut_off_is_kept_only_where_it_is_ours() {
    // where the file lies after the kill, and whether its job is kept
    for (lies, kept) in [("queued", true), ("inbox", false), ("nowhere", false), ("unknown", true)] {
        let mut world = World::new();
        world.write("jobs/a.json", &job(1));
        let mut drop = Drop::at(world.path("jobs/a.json"), job(1).into_bytes());
        let Ok(Made::File(file)) = world.driver.make(&mut drop, &Batch::default()) else { panic!("made") };
        world.driver.store.take(&[file]).expect("written");
        match lies {
            "queued" => {
                world.driver.folder.take(&world.path("jobs/a.json"), 1, "a.json").expect("moved");
            }
            "nowhere" => fs::remove_file(world.path("jobs/a.json")).expect("taken by another"),
            "unknown" => fs::remove_dir_all(world.path("jobs")).expect("unmounted"),
            _ => {}
        }
        let world = world.restart();
        assert_eq!(world.state(1) == "queued", kept, "{lies}");
        assert_eq!(world.place(1), kept.then_some(Place::Queued), "{lies}");
    }
}

#[test]
fn one_handed_in_by_a_verb_is_ours_wherever_its_file_is() {
    let mut world = World::new();
    let Ok(Answer::Added { jobs, .. }) = world.driver.add("a.json", &world.path("jobs"), &job(1), false) else {
        panic!("added")
    };
    assert_eq!(jobs, [JobId(1)]);
    // killed before the place was written
    fs::remove_file(world.path("jobs/queued/000001-a.json")).expect("removed");
    let world = world.restart();
    assert_eq!((world.state(1), world.place(1)), ("queued", Some(Place::Queued)));
    assert!(world.there("jobs/queued/000001-a.json"), "put there again");
}

#[test]
fn a_file_that_cannot_be_moved_is_a_banner_and_taken_later() {
    let mut world = World::new();
    fs::remove_dir(world.path("jobs/queued")).expect("removed");
    world.write("jobs/queued", "not a folder");
    world.drop("a.json", &job(1));
    world.drop("b.json", &job(2));
    assert_eq!((world.state(1), world.state(2), world.place(1)), ("none", "none", None));
    assert_eq!(world.banners().len(), 1);
    let banner = &world.banners()[0];
    assert!(banner.starts_with("a.json can't be taken") && banner.contains("(and 1 more)"), "{banner}");
    fs::remove_file(world.path("jobs/queued")).expect("removed");
    fs::create_dir(world.path("jobs/queued")).expect("made");
    world.take("jobs/a.json");
    assert!(world.banners()[0].starts_with("b.json"), "{:?}", world.banners());
    world.driver.take_offers(vec![inbox::Event::Gone { path: world.path("jobs/b.json") }]);
    assert!(world.banners().is_empty());
    assert_eq!(world.state(3), "queued", "numbers are never used again");
}

/// As on a disk that is full when a job ends: the file is put away when that can be done, by this engine.
#[test]
fn a_file_that_cannot_be_put_away_is_put_away_later() {
    let mut world = World::new();
    world.drop("a.json", &job(1));
    fs::remove_dir(world.path("jobs/failed")).expect("removed");
    world.write("jobs/failed", "not a folder");
    world.cancel(1);
    assert_eq!((world.state(1), world.place(1)), ("cancelled", Some(Place::Queued)));
    world.driver.finish_what_waits();
    assert!(world.there("jobs/queued/000001-a.json"), "nothing has changed");
    fs::remove_file(world.path("jobs/failed")).expect("removed");
    world.driver.finish_what_waits();
    world.driver.flush();
    assert_eq!(world.place(1), Some(Place::Failed));
    assert!(world.there("jobs/failed/000001-a.json.error.txt") && !world.there("jobs/queued/000001-a.json"));
}

#[test]
fn a_store_that_takes_nothing_is_a_banner_and_the_file_stays() {
    let mut world = World::new();
    let other = rusqlite::Connection::open(world.path(".comfytop/store.db")).expect("opened");
    let full = "CREATE TRIGGER full BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'disk full'); END";
    other.execute_batch(full).expect("made");
    world.drop("a.json", &job(1));
    assert!(world.there("jobs/a.json"));
    assert!(world.banners()[0].contains("disk full"), "{:?}", world.banners());
    other.execute_batch("DROP TRIGGER full").expect("dropped");
    world.take("jobs/a.json");
    assert!(world.banners().is_empty() && !world.there("jobs/a.json"));
}

#[test]
fn a_mended_file_keeps_its_first_name() {
    let mut world = World::new();
    world.drop("clip.json", r#"{"workflow": "wan2.2-i2v", "imag": "a.png", "prompt": "a cat"}"#);
    assert_eq!((world.state(1), world.place(1)), ("rejected", Some(Place::Failed)));
    world.move_back("000001-clip.json");
    world.drop("000001-clip.json", &job(1));
    assert!(world.there("jobs/queued/000002-clip.json"));
    assert_eq!(world.driver.state.job(JobId(2)).expect("there").name, "clip");
    // the same unchanged: its rejected job can't be run, so it is read anew
    world.drop("000007-clip.json", &job(2));
    assert!(world.there("jobs/queued/000003-000007-clip.json"), "not one of ours");
}

#[test]
fn a_sweep_is_a_group_and_its_seeds_go_on() {
    let mut world = World::new();
    world.drop(
        "s.json",
        r#"{"workflow": "wan2.2-i2v", "image": "a.png", "sweep": {"length": [33, 65]}, "seed": [1, 2]}"#,
    );
    let group = |world: &World, id: u64| world.driver.state.job(JobId(id)).and_then(|job| job.group.clone());
    for id in 1..=4 {
        let group = group(&world, id).expect("a group");
        assert_eq!((group.first, group.of), (JobId(1), 4));
    }
    assert_eq!(group(&world, 3).expect("a group").label(), "length 65 · seed 1");
    // one more than the last of this workflow, job by job, and over a restart
    let next = r#"{"workflow": "wan2.2-i2v", "image": "a.png", "seed": "increment", "repeat": 2}"#;
    world.drop("n.json", next);
    let seed = |world: &World, id: u64| world.driver.state.job(JobId(id)).and_then(|job| job.seed.value());
    assert_eq!((seed(&world, 5), seed(&world, 6)), (Some(3), Some(4)));
    let world = world.restart();
    assert_eq!(group(&world, 4).expect("kept").values["seed"], 2);
}

#[test]
fn csv_rows_and_toml_tables_become_jobs() {
    let mut world = World::new();
    world.drop("rows.csv", "workflow;image;prompt;seed;length;13.cfg\nwan2.2-i2v;a.png;42;7;33;2.5\n");
    assert_eq!(world.state(1), "queued");
    let prompt = world.driver.store.prompt(JobId(1)).expect("read").expect("there");
    let input = |node: &str, input: &str| prompt.graph[node]["inputs"][input].clone();
    assert_eq!((input("10", "text"), input("12", "length"), input("13", "cfg")), ("42".into(), 33.into(), 2.5.into()));
    assert!(world.there("jobs/queued/000001-rows.csv"));
    world.drop(
        "two.toml",
        "workflow = \"wan2.2-i2v\"\nimage = \"a.png\"\n[[job]]\nseed = 1\n[[job]]\nseed = 2\nlenght = 5\n",
    );
    assert_eq!((world.state(2), world.state(3)), ("queued", "rejected"));
    let JobState::Rejected { why } = &world.driver.state.job(JobId(3)).expect("a job").state else {
        panic!("rejected")
    };
    assert!(why.message.starts_with("line 7, column 1: no slot `lenght`"), "{}", why.message);
}

#[test]
fn a_job_waits_for_the_one_whose_output_it_takes() {
    let mut world = World::new();
    world.drop(
        "one.json",
        &format!(
            "[{}, {}]",
            job(1).replace('{', r#"{"name": "first", "#),
            r#"{"workflow": "wan2.2-i2v", "image": "job:first", "seed": 9}"#
        ),
    );
    assert_eq!((world.state(1), world.state(2)), ("queued", "waiting"));
    world.drop("two.json", r#"{"workflow": "wan2.2-i2v", "image": "a.png", "seed": 3, "after": ["first", 2]}"#);
    assert_eq!(world.state(3), "waiting");
    let prompt = world.driver.store.prompt(JobId(2)).expect("read").expect("there");
    assert_eq!(prompt.files[0].from, Some(JobId(1)));
    world.drop("bad.json", r#"{"workflow": "wan2.2-i2v", "image": "a.png", "after": "frist"}"#);
    let JobState::Rejected { why } = &world.driver.state.job(JobId(4)).expect("a job").state else {
        panic!("rejected")
    };
    assert!(why.message.contains("no job `frist` (did you mean `first`?)"), "{}", why.message);
    // dropped again, with one more: what is there already is not rendered again, and is what the new one takes
    world.drop(
        "again.json",
        &format!(
            "[{}, {}, {}]",
            job(1).replace('{', r#"{"name": "first", "#),
            r#"{"workflow": "wan2.2-i2v", "image": "job:first", "seed": 9, "name": "second"}"#,
            r#"{"workflow": "wan2.2-i2v", "image": "job:first", "seed": 10}"#
        ),
    );
    assert_eq!((world.state(5), world.state(6), world.state(7)), ("duplicate", "duplicate", "waiting"));
    assert_eq!(world.driver.state.job(JobId(7)).expect("a job").after, [JobId(1)]);
    // what it waits for is cancelled: it can't be rendered, nor what waits for it
    let mut world = world.restart();
    assert_eq!(world.state(2), "waiting");
    world.cancel(1);
    assert_eq!((world.state(2), world.state(3)), ("failed", "failed"));
}

#[test]
fn a_workflow_that_changes_does_not_reach_jobs_that_are_taken() {
    let mut world = World::new();
    world.drop("a.json", &job(1));
    let path = world.path("workflows/wan2.2-i2v.json");
    let text = fs::read_to_string(&path).expect("there").replace("\"steps\": 4", "\"steps\": 44");
    fs::write(&path, text).expect("written");
    world.drop("b.json", &job(2));
    let steps =
        |id| world.driver.store.prompt(JobId(id)).expect("read").expect("there").graph["13"]["inputs"]["steps"].clone();
    assert_eq!((steps(1), steps(2)), (4.into(), 44.into()));
}

fn with_inbox(world: &mut World, toml: &str) {
    world.driver.config = Config::parse(toml, "test").expect("settings");
}

#[test]
fn a_picture_in_an_inbox_with_a_profile_is_a_job() {
    let mut world = World::new();
    let toml = "[[inbox]]\npath = \"jobs\"\nworkflow = \"wan2.2-i2v\"\nslot = \"image\"\nslots = { prompt = \"a dog\" }\nset = { \"13.cfg\" = 2.5 }\n";
    with_inbox(&mut world, toml);
    let offer = |world: &World, name: &str| {
        let path = world.path(&format!("jobs/{name}"));
        let bytes = if Format::of(name).is_some() { fs::read(&path).expect("there") } else { Vec::new() };
        inbox::Event::Offer { path, dir_index: 0, held: false, bytes, last_call: false }
    };
    world.write("jobs/cat.png", "a cat");
    world.driver.take_offers(vec![offer(&world, "cat.png")]);
    world.driver.flush();
    assert_eq!(world.state(1), "queued");
    let job = world.driver.state.job(JobId(1)).expect("a job").clone();
    assert_eq!((job.name.as_str(), job.workflow.as_str()), ("cat", "wan2.2-i2v"));
    let prompt = world.driver.store.prompt(JobId(1)).expect("read").expect("there");
    assert_eq!(
        (&prompt.graph["10"]["inputs"]["text"], &prompt.graph["13"]["inputs"]["cfg"]),
        (&"a dog".into(), &2.5.into())
    );
    assert!(world.there("jobs/queued/000001-cat.png") && !world.there("jobs/cat.png"));
    // a picture that a job file names is an input, never a job: now, and when it is offered again after a restart
    world.write("jobs/b.png", "b");
    world.write("jobs/b.json", r#"{"image": "b.png", "seed": 5}"#);
    let offers = vec![offer(&world, "b.png"), offer(&world, "b.json")];
    world.driver.take_offers(offers);
    world.driver.flush();
    assert_eq!((world.state(2), world.state(3)), ("queued", "none"));
    let mut world = world.restart();
    with_inbox(&mut world, toml);
    let again = offer(&world, "b.png");
    world.driver.take_offers(vec![again]);
    world.driver.flush();
    assert_eq!(world.state(3), "none");
    assert!(world.there("jobs/b.png"));
}

#[test]
fn what_comfyui_made_renders_again_where_the_inbox_says_so() {
    let mut world = World::new();
    with_inbox(&mut world, "[[inbox]]\npath = \"jobs\"\nextract = true\n");
    let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/carrying");
    for (name, state) in [("video.mp4", "queued"), ("bare.png", "rejected")] {
        fs::copy(media.join(name), world.path("jobs").join(name)).expect("copied");
        let path = world.path("jobs").join(name);
        let offer = inbox::Event::Offer { path, dir_index: 0, held: false, bytes: Vec::new(), last_call: false };
        world.driver.take_offers(vec![offer]);
        world.driver.flush();
        let last = world.driver.next_job - 1;
        assert_eq!(world.state(last), state, "{name}");
    }
    assert_eq!(world.driver.state.job(JobId(1)).expect("a job").seed.value(), Some(u64::MAX));
    assert!(world.there("jobs/queued/000001-video.mp4"));
    // another file under that name is another job
    assert!(world.there("jobs/failed/000002-bare.png.error.txt"));
}

#[test]
fn a_graph_of_the_page_waits_for_a_server_as_long_as_it_takes() {
    let mut world = World::new();
    let page = r#"{"nodes": [{"id": 1, "type": "SaveImage"}], "links": []}"#;
    world.write("jobs/page.json", page);
    for last_call in [false, true, true] {
        let offer = world.offer("jobs/page.json", last_call);
        world.driver.take_offers(vec![offer]);
        world.driver.flush();
        assert_eq!(world.state(1), "none");
        assert!(world.there("jobs/page.json"));
    }
}

#[test]
fn all_that_is_wrong_with_a_job_is_told_at_once() {
    let mut world = World::new();
    world.drop(
        "bad.json",
        r#"{"workflow": "wan2.2-i2v", "server": "gup", "after": "none", "lenght": 3, "set": {"99.cfg": 1}}"#,
    );
    let JobState::Rejected { why } = &world.driver.state.job(JobId(1)).expect("a job").state else {
        panic!("rejected")
    };
    let told = format!("{}\n{}", why.message, why.detail);
    for words in ["no job `none`", "no server `gup`", "no slot `lenght`", "node 99", "`image` is missing"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn an_inbox_on_a_share_is_polled_whatever_the_config_says() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = Config::parse("[[inbox]]\npath = \"jobs\"\n[[inbox]]\npath = \"share\"\n", "").expect("a config");
    let inboxes: Vec<_> = config.inboxes.iter().map(|i| i.path.clone()).collect();
    let folder = Folder::with(dir.path(), &inboxes, Path::new("outputs"), None).expect("a folder");
    let watched = watched(&config, &folder, |path| path.ends_with("share"));
    let told: Vec<_> = watched.iter().map(|dir| (dir.poll, dir.settle)).collect();
    assert_eq!(told, [(false, inbox::SETTLE), (true, inbox::SETTLE_POLLED)]);
    // No inbox is named: the usual one may lie on a share, too.
    let usual = Folder::new(dir.path()).expect("a folder");
    assert!(super::watched(&Config::default(), &usual, |_| true).iter().all(|dir| dir.poll));
}
