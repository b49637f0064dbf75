//! Stores that can't be opened: refused with words, and left as they are. Never started clean over.

use std::fs;

use rusqlite::Connection;

use crate::stage::{IMAGE, Stage, Wish, job};

const STORE: &str = ".comfytop/store.db";

/// A folder with one finished job, and no engine.
fn used() -> Stage {
    let mut stage = Stage::with(&Wish::default());
    stage.drop_job("kept", 1);
    stage.until_state(1, "done");
    stage.stop_engine();
    stage
}

/// Whoever wants an engine is told; the store's file stays as it is.
#[track_caller]
fn is_refused(stage: &Stage, words: &[&str]) {
    let file = stage.at("more.json");
    fs::write(stage.at("start.png"), IMAGE).unwrap();
    fs::write(&file, job("more", 2).to_string()).unwrap();
    stage.drop_file("dropped.json", job("dropped", 3).to_string());
    let before = fs::read(stage.at(STORE)).ok();
    for args in [&["engine"][..], &["add", file.to_str().unwrap()], &["ls"]] {
        let ran = stage.run(args);
        assert!(ran.code == 1 || ran.code == 4, "{args:?}: {ran:?}");
        for words in words {
            assert!(ran.err.contains(words), "{args:?}: `{words}` is not in: {}", ran.err);
        }
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
    }
    assert!(fs::read(stage.at(STORE)).ok() == before, "the file is left as it is");
    assert_eq!(stage.inbox(), ["dropped.json"], "nothing is taken");
}

/// Once the store is as it was, everything goes on.
fn goes_on(mut stage: Stage) {
    stage.start_engine();
    assert_eq!(stage.state(1).as_deref(), Some("done"));
    stage.until("the dropped one", |stage| {
        let rows = stage.ls();
        rows.iter().any(|row| row["name"] == "dropped" && row["state"] == "done").then_some(())
    });
}

#[test]
fn a_store_of_a_newer_version() {
    let stage = used();
    let set = |version: i64| {
        let db = Connection::open(stage.at(STORE)).unwrap();
        let old: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
        db.close().unwrap();
        old
    };
    let ours = set(999);
    is_refused(&stage, &["was written by a newer comfytop", "999", "left as it is"]);
    set(ours);
    goes_on(stage);
}

#[test]
fn somebody_elses_database() {
    let stage = used();
    fs::rename(stage.at(STORE), stage.at("ours")).unwrap();
    let db = Connection::open(stage.at(STORE)).unwrap();
    db.execute_batch("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup');").unwrap();
    db.close().unwrap();
    is_refused(&stage, &["is not a comfytop store", "store.db", "left as it is"]);
    fs::rename(stage.at("ours"), stage.at(STORE)).unwrap();
    goes_on(stage);
}

#[test]
fn a_file_that_is_no_database() {
    let stage = used();
    fs::rename(stage.at(STORE), stage.at("ours")).unwrap();
    fs::write(stage.at(STORE), "Dear diary,\n".repeat(1000)).unwrap();
    is_refused(&stage, &["store.db", "is not a comfytop store", "left as it is"]);
    fs::rename(stage.at("ours"), stage.at(STORE)).unwrap();
    goes_on(stage);
}

#[test]
fn a_store_that_is_damaged() {
    let stage = used();
    let whole = fs::read(stage.at(STORE)).unwrap();
    let mut damaged = whole.clone();
    // The first page stays: it is ours, and everything behind it is not.
    damaged[4096..].fill(0xAA);
    fs::write(stage.at(STORE), &damaged).unwrap();
    is_refused(&stage, &["the store"]);
    fs::write(stage.at(STORE), whole).unwrap();
    goes_on(stage);
}

#[test]
fn a_record_that_cannot_be_read() {
    let stage = used();
    let db = Connection::open(stage.at(STORE)).unwrap();
    let record: String = db.query_row("SELECT record FROM jobs WHERE id = 1", [], |row| row.get(0)).unwrap();
    let put = |text: &str| db.execute("UPDATE jobs SET record = ?1 WHERE id = 1", [text]).unwrap();
    put("{\"id\": 1, \"state\": \"exploded\"}");
    is_refused(&stage, &["the store holds something unreadable in jobs 1"]);
    put(&record);
    db.close().unwrap();
    goes_on(stage);
}

#[test]
fn a_store_that_another_program_holds() {
    let stage = used();
    let db = Connection::open(stage.at(STORE)).unwrap();
    db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;").unwrap();
    stage.drop_file("dropped.json", job("dropped", 3).to_string());
    // It is waited for a while. (Nothing here may open the file meanwhile: closing it would drop the lock.)
    let ran = stage.run(&["engine"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("the store") && ran.err.contains("locked"), "{}", ran.err);
    assert_eq!(stage.inbox(), ["dropped.json"]);
    db.execute_batch("COMMIT;").unwrap();
    db.close().unwrap();
    goes_on(stage);
}

#[test]
fn a_folder_where_the_store_should_be() {
    let stage = used();
    fs::rename(stage.at(STORE), stage.at("ours")).unwrap();
    fs::create_dir(stage.at(STORE)).unwrap();
    is_refused(&stage, &["store.db", "can't be opened"]);
    fs::remove_dir(stage.at(STORE)).unwrap();
    fs::rename(stage.at("ours"), stage.at(STORE)).unwrap();
    goes_on(stage);
}

#[cfg(unix)]
#[test]
fn a_store_that_may_only_be_read() {
    use std::os::unix::fs::PermissionsExt as _;
    if rustix::process::geteuid().is_root() {
        eprintln!("not run: nothing is read-only to root");
        return;
    }
    let stage = used();
    let set = |mode| fs::set_permissions(stage.at(STORE), fs::Permissions::from_mode(mode)).unwrap();
    set(0o444);
    is_refused(&stage, &["the store", "may only be read", "store.db"]);
    set(0o644);
    goes_on(stage);
}

/// Files may not grow beyond a limit, as on a full disk: whatever fails then, nothing is lost and nothing rendered twice.
#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    use crate::stage::{Guarded, PATIENCE};
    use std::process::{Command, Stdio};
    const JOBS: u64 = 16;
    let mut stage = Stage::served(&Wish::default());
    stage.configure("[queue]\npost_grace = 1\n");
    // Everything is set up while there is room.
    stage.start_engine();
    stage.put_image();
    stage.stop_engine();
    let inner = stage.command(&["engine"]);
    let mut limited = Command::new("sh");
    // In blocks of 512 or 1024 bytes, as the shell has it; without the signal a write fails with an error.
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 300; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let errors = stage.at("full.log");
    limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
    let mut engine = Guarded(limited.spawn().expect("a shell"));
    for n in 0..JOBS {
        stage.drop_file(&format!("{n}.json"), job(&format!("j{n}"), n).to_string());
    }
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let ended = engine.0.try_wait().expect("a child").is_some();
        let said = fs::read_to_string(&errors).unwrap_or_default();
        if ended || said.contains("can't be") || said.contains("could not be") {
            assert!(!said.contains("panicked"), "{said}");
            assert!(said.contains("the store can't be written"), "it says what it could not do: {said}");
            break;
        }
        assert!(std::time::Instant::now() < until, "a full disk was not noticed: {said}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    engine.kill();
    // There is room again.
    stage.start_engine();
    stage.until("all of them", |stage| {
        let rows = stage.ls();
        (rows.len() as u64 == JOBS && rows.iter().all(|row| row["state"] == "done")).then_some(())
    });
    assert_eq!(stage.begun().len() as u64, JOBS, "none lost, none twice");
    assert_eq!(stage.names("outputs").len() as u64, JOBS);
    assert!(stage.inbox().is_empty());
}
