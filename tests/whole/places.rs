//! Who serves a render folder, who may look, and what every verb answers with.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use super::stage::{IMAGE, Stage, Wish, job};

/// A POST as any other program makes it; the answer's body.
pub fn post(url: &str, path: &str, body: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a server");
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json");
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_second_engine_is_refused_and_told_who_holds_the_folder() {
    let stage = Stage::with(&Wish::default());
    let pid = stage.engine_pid();
    let second = stage.run(&["engine"]);
    assert_eq!(second.code, 1);
    assert!(second.err.contains("is served by another engine already"), "{}", second.err);
    assert!(
        second.err.contains(&format!("pid {pid}")) && second.err.contains(env!("CARGO_PKG_VERSION")),
        "{}",
        second.err
    );
    assert_eq!(stage.engine_pid(), pid, "the first one serves on");
}

#[test]
fn verbs_that_come_together_share_one_engine() {
    let stage = Stage::served(&Wish::default());
    fs::create_dir_all(&stage.root).unwrap();
    fs::write(stage.at("start.png"), IMAGE).unwrap();
    let mut adds = Vec::new();
    for seed in 0..4 {
        let file = stage.at(&format!("{seed}.json"));
        fs::write(&file, job(&format!("j{seed}"), seed).to_string()).unwrap();
        let command = stage.command(&["add", file.to_str().unwrap()]);
        adds.push(std::thread::spawn(move || super::stage::ran(command)));
    }
    let mut numbers: Vec<String> = adds.into_iter().map(|add| add.join().expect("no panic").well()).collect();
    numbers.sort();
    assert_eq!(numbers, ["1\n", "2\n", "3\n", "4\n"]);
    assert_eq!(stage.run(&["wait", "--timeout", "90"]).code, 0);
    assert_eq!(stage.begun().len(), 4);
    let pid = stage.engine_pid();
    assert_eq!(stage.engine_pid(), pid, "one engine, still there");
}

#[test]
fn looking_takes_nothing_and_makes_nothing() {
    let mut stage = Stage::with(&Wish::default());
    stage.drop_job("seen", 1);
    stage.until_state(1, "done");
    stage.stop_engine();
    stage.drop_file("waits.json", job("waits", 2).to_string());
    for args in [&["ls"][..], &["ls", "--json"], &["status"], &["show", "1"], &["wait", "1"]] {
        let ran = stage.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    }
    let looks = stage.status();
    assert_eq!(looks["engine"]["look_only"], true);
    assert!(stage.run(&["status"]).out.contains("only looking"));
    // The look-only engine ends with those who look.
    stage.until("no engine", |stage| (!stage.is_served()).then_some(()));
    assert_eq!(stage.inbox(), ["waits.json"], "nothing was taken");
    assert_eq!(stage.happened("accepted").len(), 1, "nothing was submitted");
    // Only now it is.
    stage.start_engine();
    stage.until_state(2, "done");
}

#[test]
fn a_verb_that_works_is_not_stopped_by_one_that_looks() {
    let mut stage = Stage::with(&Wish::default());
    stage.drop_job("first", 1);
    stage.until_state(1, "done");
    stage.stop_engine();
    // `ls` has left a look-only engine behind that is about to end.
    stage.run(&["ls"]).well();
    let file = stage.at("second.json");
    fs::write(stage.at("start.png"), IMAGE).unwrap();
    fs::write(&file, job("second", 2).to_string()).unwrap();
    assert_eq!(stage.run(&["add", file.to_str().unwrap()]).well(), "2\n");
    stage.until_state(2, "done");
    stage.stop_engine();
    // And one that looks for long does not hold work up either.
    stage.run(&["requeue", "1"]).well();
    stage.until("#1 done again", |stage| (stage.begun().len() == 3 && stage.state(1)? == "done").then_some(()));
    assert_eq!(stage.status()["engine"]["look_only"], false);
}

#[test]
fn a_wait_that_only_looked_sees_the_work_that_another_verb_starts() {
    let mut stage = Stage::with(&Wish::slow(1.0));
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    stage.until_state(2, "pending");
    stage.stop_engine();
    assert_eq!(stage.state(2).as_deref(), Some("queued"));
    let wait = stage.command(&["wait", "--timeout", "60"]);
    let wait = std::thread::spawn(move || super::stage::ran(wait));
    let file = stage.at("c.json");
    fs::write(stage.at("start.png"), IMAGE).unwrap();
    fs::write(&file, job("c", 3).to_string()).unwrap();
    assert_eq!(stage.run(&["add", file.to_str().unwrap()]).well(), "3\n");
    assert_eq!(wait.join().expect("no panic").code, 0);
    assert_eq!(stage.state(2).as_deref(), Some("done"));
    assert_eq!(stage.begun().len(), 3);
}

#[test]
fn an_engine_may_follow_a_stop_at_once() {
    let mut stage = Stage::with(&Wish::default());
    for _ in 0..3 {
        // No waiting for the old process: its connection is closed, its lock may still be held.
        stage.run(&["stop"]).well();
        stage.start_engine();
    }
    stage.drop_job("after_all", 1);
    stage.until_state(1, "done");
}

#[test]
fn without_an_engine_stop_and_cancel_say_so() {
    let mut stage = Stage::with(&Wish::default());
    stage.stop_engine();
    for args in [&["stop"][..], &["cancel", "1"]] {
        let ran = stage.run(args);
        assert_eq!(ran.code, 4, "{ran:?}");
        assert!(ran.err.contains("no engine serves this render folder"), "{}", ran.err);
    }
}

#[test]
fn no_verb_but_add_makes_a_render_folder() {
    let stage = Stage::bare();
    fs::create_dir_all(stage.at("jobs")).unwrap();
    fs::write(stage.at("jobs/other_peoples.json"), "{}").unwrap();
    let looks = [&["ls"][..], &["status"], &["show", "1"], &["wait"], &["stop"], &["cancel", "1"], &["requeue", "1"]];
    for args in looks {
        let ran = stage.run(args);
        assert_eq!(ran.code, 4, "{args:?}: {ran:?}");
        assert!(ran.err.contains("no render folder here"), "{}", ran.err);
        assert_eq!(stage.names(""), ["jobs"]);
        assert_eq!(fs::read_dir(stage.at("jobs")).unwrap().count(), 1);
        assert!(!stage.at(".comfytop").exists());
    }
    // Not for a file that is not there, and not where a file lies.
    let ran = stage.run(&["add", "nope.json"]);
    assert_eq!((ran.code, stage.at(".comfytop").exists()), (1, false), "{ran:?}");
    assert!(ran.err.contains("nope.json: there is no such file"), "{}", ran.err);
    let file = stage.at("a.json");
    fs::write(&file, job("a", 1).to_string()).unwrap();
    let ran = stage.plain().arg("--dir").arg(&file).arg("add").arg(&file).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    assert!(err.contains("is a file, not a folder") && !err.contains("becomes"), "{err}");
    fs::write(stage.at("start.png"), IMAGE).unwrap();
    let added = stage.run(&["add", file.to_str().unwrap()]);
    assert!(
        added.err.contains("becomes a render folder: jobs/ workflows/ outputs/ .comfytop/ are created"),
        "{added:?}"
    );
    // The other file may have been taken first: this folder is an inbox now.
    assert!(added.well().trim().parse::<u64>().is_ok());
    for made in ["jobs/queued", "jobs/held", "workflows/wan2.2-i2v-loop.json", "outputs", ".comfytop/store.db"] {
        assert!(stage.at(made).exists(), "{made}");
    }
}

#[test]
fn wait_tells_how_it_went() {
    let stage = Stage::with(&Wish::slow(2.0));
    stage.drop_job("slow", 1);
    stage.until_state(1, "running");
    assert_eq!(stage.run(&["wait", "1", "--timeout", "0.1"]).code, 3);
    assert_eq!(stage.run(&["wait", "--timeout", "0"]).code, 3);
    stage.drop_file("wrong.json", "{\"workflow\": \"nope\"}");
    stage.until_state(2, "rejected");
    assert_eq!(stage.run(&["wait", "2"]).code, 1);
    assert_eq!(stage.run(&["wait", "1", "--timeout", "90"]).code, 0);
    assert_eq!(stage.run(&["wait"]).code, 1, "one was not done");
    let nobody = stage.run(&["wait", "7"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.contains("there is no job #7"));
}

#[test]
fn usage_errors_are_2_and_say_what_is_right() {
    let stage = Stage::bare();
    for (args, words) in [
        (&["lss"][..], "ls"),
        (&["cancel"], "JOBS"),
        (&["show", "x"], "invalid"),
        (&["wait", "1", "--all"], "--all"),
        (&["ls", "--jsn"], "--json"),
        (&["wait", "--timeout", "nan"], "seconds"),
        (&["wait", "--timeout=-1"], "from 0 on"),
        // The flags that name a place, where there is none.
        (&["sim"], "`comfytop sim` takes no --dir"),
        (&["measure", "a.mp4"], "`comfytop measure` takes no --dir"),
        (&["demo", "--headless"], "`comfytop demo` takes no --dir"),
    ] {
        let ran = stage.run(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.err.contains(words), "{args:?}: {}", ran.err);
    }
    // A wrong config is one, too; without a terminal the dashboard says what to use.
    stage.configure("[[server]]\nurl = \"http://a\"\nin_fligth = 1\n");
    let ran = stage.run(&["ls"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `in_flight`"), "{}", ran.err);
    let dashboard = super::stage::ran(stage.plain());
    assert_eq!(dashboard.code, 2, "{dashboard:?}");
    for (args, words) in
        [(&["sim", "--render-seconds", "nan"][..], "seconds"), (&["demo", "--render-seconds=-1"], "from 0 on")]
    {
        let mut command = stage.plain();
        command.args(args);
        let ran = super::stage::ran(command);
        assert!(ran.code == 2 && ran.err.contains(words), "{ran:?}");
    }
}

#[test]
fn a_dashboard_without_a_terminal_makes_no_render_folder() {
    let stage = Stage::bare();
    let ran = stage.run(&[]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("needs a terminal") && !ran.err.contains("becomes"), "{}", ran.err);
    assert!(!stage.root.exists());
}

#[test]
fn a_server_that_cannot_be_one_is_called_by_what_named_it() {
    let stage = Stage::bare();
    fs::create_dir_all(stage.at(".comfytop")).unwrap();
    let root = stage.root.display().to_string();
    for (flag, environment, words) in [
        (None, Some("ftp://a"), &["COMFYTOP_SERVER: ", "http://"][..]),
        (Some("ftp://a"), None, &["--server: "]),
        (Some("http://me:secret@127.0.0.1:1"), None, &["--server: the address of 127.0.0.1 has", "`headers`"]),
    ] {
        let mut command = stage.plain();
        command.args(["--dir", &root, "ls"]).args(flag.map(|url| ["--server", url]).into_iter().flatten());
        command.envs(environment.map(|url| ("COMFYTOP_SERVER", url)));
        let ran = super::stage::ran(command);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(words.iter().all(|w| ran.err.contains(w)) && !ran.err.contains("secret"), "{}", ran.err);
    }
}

#[test]
fn stop_takes_back_what_is_pending_and_lets_run_what_runs() {
    let mut stage = Stage::with(&Wish::slow(1.5));
    stage.put_image();
    stage.drop_file("three.json", json!([job("a", 1), job("b", 2), job("c", 3)]).to_string());
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    let taken_back = stage.attempts(2).pop().unwrap();
    stage.stop_engine();
    let deleted = stage.happened("deleted");
    assert!(matches!(deleted.as_slice(), [one] if one["prompt_id"] == taken_back), "{deleted:?}");
    assert!(stage.happened("interrupt").is_empty());
    assert_eq!(stage.state(2).as_deref(), Some("queued"));
    assert_eq!(stage.state(3).as_deref(), Some("queued"));
    // What ran ends by itself, and nothing follows it.
    stage.until("#1 rendered", |stage| (stage.happened("ended").len() == 1).then_some(()));
    assert_eq!(stage.happened("accepted").len(), 2);
    stage.start_engine();
    for id in [1, 2, 3] {
        stage.until_state(id, "done");
    }
    assert_eq!(stage.begun().len(), 3, "none twice");
    assert_eq!(stage.attempts(2).len(), 1, "what was taken back never ran: no try is counted");
    stage.until_file("jobs/done/000001-three.json.result.json");
}

#[test]
fn a_face_that_asks_for_another_server_is_told() {
    let stage = Stage::with(&Wish::default());
    let root = stage.root.display().to_string();
    let mut other = stage.plain();
    other.args(["--dir", &root, "--server", "http://127.0.0.1:1", "ls"]);
    let ran = super::stage::ran(other);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.err.contains("works with") && ran.err.contains(stage.url.trim_start_matches("http://")), "{}", ran.err);
    // Who names none takes the one that is there; so does the environment.
    let mut same = stage.plain();
    same.args(["--dir", &root, "ls"]);
    assert_eq!(super::stage::ran(same).code, 0);
    let mut by_environment = stage.plain();
    by_environment.args(["--dir", &root, "ls"]).env("COMFYTOP_SERVER", "http://127.0.0.1:1");
    assert_eq!(super::stage::ran(by_environment).code, 4);
}

#[test]
fn a_server_that_comes_later_is_found() {
    let mut stage = Stage::bare();
    stage.start_engine();
    stage.drop_job("patient", 1);
    stage.until_state(1, "queued");
    let status = stage.run(&["status"]);
    assert_eq!(status.code, 4);
    assert!(status.out.contains("away: refused"), "{}", status.out);
    stage.start_server(&Wish::default());
    stage.until_state(1, "done");
    let status = stage.run(&["status"]);
    assert_eq!(status.code, 0);
    assert!(status.out.contains("ComfyUI 0.33.0") && status.out.contains("in step"), "{}", status.out);
}

#[cfg(unix)]
#[test]
fn a_system_that_ends_asks_the_engine_to_stop_and_a_hangup_does_not() {
    use rustix::process::Signal;
    let mut stage = Stage::with(&Wish::slow(1.5));
    stage.put_image();
    stage.drop_file("two.json", json!([job("a", 1), job("b", 2)]).to_string());
    stage.until_state(1, "running");
    stage.until_state(2, "pending");
    let pid = stage.engine_pid();
    super::stage::signal(pid, Signal::HUP);
    assert_eq!(stage.engine_pid(), pid);
    super::stage::signal(pid, Signal::TERM);
    stage.until("the pending one taken back", |stage| (stage.happened("deleted").len() == 1).then_some(()));
    stage.until("no engine", |stage| (!stage.is_served()).then_some(()));
    stage.start_engine();
    stage.until_state(1, "done");
    stage.until_state(2, "done");
    assert_eq!(stage.begun().len(), 2);
}
