//! The dashboard in a terminal of its own, and every way out of it.

use std::io::{Read as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::Signal;

use super::stage::{IMAGE, PATIENCE, Stage, Wish, job, signal};

/// A terminal with the program in it.
struct Screen {
    child: Box<dyn Child + Send + Sync>,
    keys: Option<Box<dyn Write + Send>>,
    master: Option<Box<dyn MasterPty + Send>>,
    shown: Arc<Mutex<vt100::Parser>>,
    /// Every byte that the program wrote.
    raw: Arc<Mutex<Vec<u8>>>,
    /// The reader is to let go of the terminal.
    cut: Arc<AtomicBool>,
}

impl Screen {
    /// The dashboard of the stage's render folder.
    fn open(stage: &Stage) -> Self {
        let place = stage.place();
        Self::with(stage, &place.each_ref().map(String::as_str), (100, 30))
    }

    /// With this program for an editor.
    fn edited_by(stage: &Stage, args: &[&str], editor: &str) -> Self {
        Self::made(stage, args, (100, 30), editor)
    }

    fn with(stage: &Stage, args: &[&str], size: (u16, u16)) -> Self {
        Self::made(stage, args, size, "true")
    }

    fn made(stage: &Stage, args: &[&str], (cols, rows): (u16, u16), editor: &str) -> Self {
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let like = stage.plain();
        let mut command = CommandBuilder::new(like.get_program());
        command.args(args);
        command.cwd(stage.temp());
        command.env("TERM", "xterm-256color");
        command.env("EDITOR", editor);
        // Whatever the terminal is that the tests are run in, this is another one.
        for name in ["VISUAL", "COLORTERM", "DISPLAY", "WAYLAND_DISPLAY", "TMUX", "TERM_PROGRAM", "LC_TERMINAL"] {
            command.env_remove(name);
        }
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            }
        }
        let child = pair.slave.spawn_command(command).expect("it starts");
        // Ours would keep the terminal open after the program's end.
        drop(pair.slave);
        let at_least_one = |n| std::num::NonZero::new(n).expect("a size");
        let shown = Arc::new(Mutex::new(vt100::Parser::new(at_least_one(rows), at_least_one(cols), 0)));
        let mut from = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let cut = Arc::new(AtomicBool::new(false));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let (into, kept, is_cut) = (Arc::clone(&shown), Arc::clone(&raw), Arc::clone(&cut));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                into.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..read]);
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..read]);
                if is_cut.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        Self { child, keys: Some(keys), master: Some(pair.master), shown, raw, cut }
    }

    fn look<T>(&self, at: impl FnOnce(&vt100::Screen) -> T) -> T {
        at(self.shown.lock().unwrap_or_else(PoisonError::into_inner).screen())
    }

    fn text(&self) -> String {
        self.look(vt100::Screen::contents)
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(Instant::now() < until, "{what} did not come:\n{}", self.text());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn until_shown(&mut self, words: &str) {
        self.until(words, |screen| screen.text().contains(words));
    }

    fn press(&mut self, keys: &str) {
        let out = self.keys.as_mut().expect("a terminal");
        out.write_all(keys.as_bytes()).and_then(|()| out.flush()).expect("pressed");
    }

    fn pid(&self) -> u32 {
        self.child.process_id().expect("a pid")
    }

    /// Waits for its end; its exit code.
    #[track_caller]
    fn ended(&mut self) -> u32 {
        let mut code = None;
        self.until("its end", |screen| {
            code = screen.child.try_wait().expect("a child").map(|status| status.exit_code());
            code.is_some()
        });
        code.expect("ended")
    }

    /// The terminal is as it was: the usual screen, and a cursor.
    #[track_caller]
    fn until_clean(&mut self) {
        self.until("a clean terminal", |screen| screen.look(|s| !s.alternate_screen() && !s.hide_cursor()));
        assert!(self.look(|s| !s.bracketed_paste() && s.mouse_protocol_mode() == vt100::MouseProtocolMode::None));
    }

    /// Hangs up, as a cut connection does.
    fn hang_up(&mut self) {
        // What the help page writes wakes the reader; with it goes the last hold on the terminal.
        self.cut.store(true, Ordering::SeqCst);
        self.press("?");
        self.keys = None;
        self.master = None;
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_dashboard_shows_its_job_and_leaves_the_engine_at_work() {
    let stage = Stage::served(&Wish::slow(0.5));
    let mut screen = Screen::open(&stage);
    screen.until("the alternate screen", |screen| screen.look(vt100::Screen::alternate_screen));
    stage.until("an inbox", |stage| stage.at("jobs/queued").is_dir().then_some(()));
    stage.drop_job("reading_loop", 120);
    screen.until_shown("reading_loop");
    screen.until_shown("0.854");
    assert_eq!(stage.state(1).as_deref(), Some("done"));
    assert!(screen.look(vt100::Screen::hide_cursor));
    let pid = stage.engine_pid();
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.until_clean();
    stage.drop_job("afterwards", 1);
    stage.until_state(2, "done");
    assert_eq!(stage.engine_pid(), pid);
}

#[test]
fn pictures_are_made_when_somebody_looks() {
    let stage = Stage::served(&Wish::default());
    let mut screen = Screen::with(&stage, &stage.place().each_ref().map(String::as_str), (120, 40));
    stage.until("an inbox", |stage| stage.at("jobs/queued").is_dir().then_some(()));
    stage.drop_job("reading_loop", 120);
    stage.until_state(1, "done");
    screen.until_shown("0.854");
    assert!(!stage.at(".comfytop/cache/stills").exists(), "nobody has asked for any");
    let has_colours = |screen: &mut Screen| {
        screen.look(|s| {
            (0..40).any(|y| {
                (0..120).any(|x| matches!(s.cell(y, x).map(vt100::Cell::bgcolor), Some(vt100::Color::Idx(16..))))
            })
        })
    };
    assert!(!has_colours(&mut screen));
    screen.press("i");
    screen.until("pictures", has_colours);
    screen.until_shown("last");
    screen.press("i");
    screen.until_shown("difference");
    screen.press("i");
    screen.until("a strip", |screen| ["1", "19", "33"].iter().all(|frame| screen.text().contains(frame)));
    screen.until("pictures of it", has_colours);
    screen.press("P");
    screen.until_shown("/33");
    screen.press("P");
    screen.until("its end", |screen| !screen.text().contains("/33"));
    screen.press("i");
    screen.until("no pictures", |screen| !has_colours(screen));
    screen.press("o");
    screen.until_shown("no display here");
    let raw = String::from_utf8_lossy(&screen.raw.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    assert!(raw.contains("\x1b]8;;file://") && raw.contains("/outputs/reading_loop"), "its path is a link");
}

#[test]
fn what_renders_is_seen_while_somebody_looks() {
    let stage = Stage::served(&Wish::slow(8.0));
    let mut screen = Screen::with(&stage, &stage.place().each_ref().map(String::as_str), (120, 40));
    stage.until("an inbox", |stage| stage.at("jobs/queued").is_dir().then_some(()));
    stage.drop_job("reading_loop", 120);
    stage.until_state(1, "running");
    screen.press("i");
    screen.until_shown("live #1");
    assert!(stage.at(".comfytop/cache/live").is_dir());
}

/// A terminal that answers: kitty, in this case.
#[test]
fn a_terminal_that_knows_pictures_gets_them_and_no_key_is_lost() {
    let stage = Stage::served(&Wish::default());
    let mut screen = Screen::with(&stage, &stage.place().each_ref().map(String::as_str), (120, 40));
    stage.until("an inbox", |stage| stage.at("jobs/queued").is_dir().then_some(()));
    stage.drop_job("reading_loop", 120);
    screen.until_shown("0.854");
    let wrote = |screen: &Screen, what: &str| {
        let raw = screen.raw.lock().unwrap_or_else(PoisonError::into_inner);
        raw.windows(what.len()).any(|bytes| bytes == what.as_bytes())
    };
    assert!(!wrote(&screen, "\x1b_G"), "nobody was asked yet");
    screen.press("i");
    screen.until("the question", |screen| wrote(screen, "\x1b[5n"));
    // Typed between the answers, and one of them looks like keys.
    screen.press("\x1b_Gi=31;OK\x1b\\?\x1bP>|kitty(0.35.2)\x1b\\\x1b[?62;c\x1b[6;20;10t\x1b[0n");
    screen.until_shown("scroll");
    screen.press("?");
    screen.until("a picture", |screen| wrote(screen, "a=T,U=1,i=201,f=100") && wrote(screen, "a=T,U=1,i=202,f=100"));
    screen.until("its cells", |screen| screen.text().contains('\u{10eeee}'));
    screen.press("iii");
    screen.until("their end", |screen| wrote(screen, "a=d,d=I,i=201"));
}

#[test]
fn two_dashboards_are_faces_of_one_engine() {
    let stage = Stage::with(&Wish::default());
    let (mut one, mut two) = (Screen::open(&stage), Screen::open(&stage));
    stage.drop_job("seen_by_both", 0);
    one.until_shown("seen_by_both");
    two.until_shown("seen_by_both");
    one.press("q");
    one.ended();
    stage.drop_job("seen_by_one", 1);
    two.until_shown("seen_by_one");
}

#[test]
fn a_dashboard_makes_an_engine_work_that_only_looked() {
    let mut stage = Stage::with(&Wish::default());
    stage.stop_engine();
    stage.drop_job("left_alone", 0);
    stage.run(&["ls"]).well();
    let mut screen = Screen::open(&stage);
    screen.until_shown("left_alone");
    stage.until_state(1, "done");
    assert_eq!(stage.status()["engine"]["look_only"], false);
}

#[test]
fn an_engine_survives_its_dashboard() {
    let stage = Stage::served(&Wish::slow(1.0));
    let mut screen = Screen::open(&stage);
    stage.until("an inbox", |stage| stage.at("jobs/queued").is_dir().then_some(()));
    stage.drop_job("goes_on", 1);
    screen.until_shown("goes_on");
    stage.until_state(1, "running");
    signal(screen.pid(), Signal::KILL);
    screen.ended();
    stage.until_state(1, "done");
    assert_eq!(stage.begun().len(), 1);
    stage.until_file("jobs/done/000001-goes_on.json.result.json");
}

#[test]
fn a_dashboard_survives_its_engine_and_starts_the_next() {
    let stage = Stage::served(&Wish::slow(1.0));
    let mut screen = Screen::open(&stage);
    stage.until("an inbox", |stage| stage.at("jobs/queued").is_dir().then_some(()));
    stage.drop_job("twice_seen", 1);
    screen.until_shown("twice_seen");
    let first = stage.engine_pid();
    signal(first, Signal::KILL);
    screen.until_shown("the engine stopped");
    assert!(screen.text().contains("twice_seen"), "what was seen stays to be seen");
    screen.press("E");
    screen.until("an engine", |screen| !screen.text().contains("the engine stopped"));
    stage.until_state(1, "done");
    screen.until_shown("0.468");
    assert_ne!(stage.engine_pid(), first);
    assert_eq!(stage.begun().len(), 1, "the render went on without either");
}

#[test]
fn the_next_engine_works_at_the_server_that_a_flag_gave_to_the_one_before() {
    let stage = Stage::served(&Wish::default());
    std::fs::create_dir_all(&stage.root).expect("made");
    let file = stage.at("first.json");
    std::fs::write(stage.at("start.png"), IMAGE).expect("written");
    std::fs::write(&file, job("first", 1).to_string()).expect("written");
    // The flag is this verb's alone; who looks later does not repeat it.
    stage.run(&["add", file.to_str().expect("a path")]).well();
    let root = stage.root.display().to_string();
    let mut screen = Screen::with(&stage, &["--dir", &root], (100, 30));
    screen.until_shown("first");
    let before = stage.engine_pid();
    signal(before, Signal::KILL);
    screen.until_shown("the engine stopped");
    screen.press("E");
    screen.until("an engine", |screen| !screen.text().contains("the engine stopped"));
    stage.until("another one", |stage| (stage.engine_pid() != before).then_some(()));
    let address = stage.url.trim_start_matches("http://");
    screen.until_shown(address);
    assert_eq!(stage.status()["servers"][0]["name"], address);
}

#[test]
fn a_dashboard_whose_engine_is_stopped_by_a_verb_says_so() {
    let stage = Stage::served(&Wish::default());
    let mut screen = Screen::open(&stage);
    stage.until("an engine", |stage| (stage.at("jobs/queued").is_dir() && stage.is_served()).then_some(()));
    stage.drop_job("known", 1);
    screen.until_shown("0.468");
    stage.run(&["stop"]).well();
    screen.until_shown("the engine stopped");
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.until_clean();
}

/// Ends by a signal, with the terminal clean and the engine at work.
fn a_signal_leaves_the_terminal_clean(by: Signal) {
    let stage = Stage::with(&Wish::default());
    stage.drop_job("known", 1);
    let mut screen = Screen::open(&stage);
    screen.until_shown("known");
    signal(screen.pid(), by);
    screen.ended();
    screen.until_clean();
    assert!(stage.is_served());
}

#[test]
fn sigterm_leaves_the_terminal_clean() {
    a_signal_leaves_the_terminal_clean(Signal::TERM);
}

#[test]
fn sighup_leaves_the_terminal_clean() {
    a_signal_leaves_the_terminal_clean(Signal::HUP);
}

#[test]
fn ctrl_c_leaves_the_terminal_clean() {
    let stage = Stage::with(&Wish::default());
    let mut screen = Screen::open(&stage);
    stage.drop_job("known", 1);
    screen.until_shown("known");
    screen.press("\u{3}");
    screen.ended();
    screen.until_clean();
    assert!(stage.is_served());
}

#[test]
fn a_terminal_that_is_gone_ends_the_dashboard_and_not_the_engine() {
    let stage = Stage::served(&Wish::default());
    let mut screen = Screen::open(&stage);
    stage.until("an inbox", |stage| stage.at("jobs/queued").is_dir().then_some(()));
    stage.drop_job("known", 1);
    screen.until_shown("known");
    screen.hang_up();
    screen.ended();
    stage.drop_job("afterwards", 2);
    stage.until_state(2, "done");
}

#[test]
fn the_smallest_terminals_break_nothing() {
    let stage = Stage::with(&Wish::default());
    stage.drop_file("many.json", serde_json::json!([job("漢字の名前", 1), job("b", 2)]).to_string());
    stage.put_image();
    stage.until_state(2, "done");
    for size in [(1, 1), (2, 40), (40, 10)] {
        let place = stage.place();
        let mut screen = Screen::with(&stage, &place.each_ref().map(String::as_str), size);
        screen.until("the alternate screen", |screen| screen.look(vt100::Screen::alternate_screen));
        screen.press("?jjG\u{1b}");
        screen.press("q");
        screen.until("its end", |screen| {
            // An Esc that has just gone by may have eaten the q.
            screen.press("q");
            screen.child.try_wait().expect("a child").is_some()
        });
        screen.until_clean();
    }
}

#[test]
fn what_jobs_are_called_and_say_moves_no_cursor() {
    let throws = r#"[[fault]]
        on = { node = "VAEDecode" }
        do = { node_error = { type = "Error", message = "boom\u001b]0;pwned\u0007\u009b2J" } }
        "#;
    let stage = Stage::with(&Wish::faulty(throws));
    stage.put_image();
    let mut evil = job("visible\u{1b}]0;pwned\u{7}\u{1b}[31;5m\u{9b}31m\u{202e}", 1);
    evil["prompt"] = serde_json::json!("read\u{1b}]0;pwned\u{7}me\u{202e}");
    evil["note"] = serde_json::json!("note\u{1b}]0;pwned\u{7}\n\r\u{8}");
    let mut screen = Screen::open(&stage);
    stage.drop_file("evil\u{1b}]0;pwned\u{7}.json", evil.to_string());
    screen.until_shown("visible");
    stage.until_state(1, "failed");
    screen.press("\r");
    screen.until_shown("boom");
    screen.press("q");
    screen.press("q");
    screen.ended();
    let raw = String::from_utf8_lossy(&screen.raw.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    for tooth in ["\u{1b}]0;", "\u{7}", "\u{1b}[31;5m", "\u{9b}", "\u{202e}"] {
        assert!(!raw.contains(tooth), "{tooth:?}");
    }
}

/// The folders of demos below the temporary directory.
fn demos(stage: &Stage) -> Vec<String> {
    let entries = std::fs::read_dir(stage.temp()).expect("there").flatten();
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("comfytop-demo"))
        .collect()
}

fn demo(stage: &Stage) -> Screen {
    let mut screen = Screen::with(stage, &["demo", "--jobs", "2", "--render-seconds", "0.5"], (120, 40));
    screen.until_shown("simulated");
    screen.until_shown("reading_loop");
    assert_eq!(demos(stage).len(), 1);
    screen
}

#[test]
fn a_demo_that_is_left_leaves_nothing() {
    let stage = Stage::bare();
    let mut screen = demo(&stage);
    screen.until_shown("0.854");
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.until_clean();
    stage.until("nothing left", |stage| demos(stage).is_empty().then_some(()));
}

#[test]
fn a_demo_that_is_killed_leaves_nothing() {
    let stage = Stage::bare();
    let mut screen = demo(&stage);
    signal(screen.pid(), Signal::KILL);
    screen.ended();
    stage.until("nothing left", |stage| demos(stage).is_empty().then_some(()));
}

#[test]
fn a_demo_whose_engine_died_goes_on_with_the_jobs_that_it_has() {
    let stage = Stage::bare();
    let mut screen = demo(&stage);
    screen.until_shown("0.854");
    let folder = stage.temp().join(&demos(&stage)[0]);
    let holder = std::fs::read_to_string(folder.join(".comfytop/engine.json")).expect("it runs");
    let holder: serde_json::Value = serde_json::from_str(&holder).expect("JSON");
    let pid = holder["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process");
    signal(pid, Signal::KILL);
    screen.until_shown("E starts it again");
    screen.press("E");
    screen.until("an engine", |screen| !screen.text().contains("E starts it again"));
    screen.until_shown("in step");
    assert!(!screen.text().contains("duplicate"), "{}", screen.text());
    let left = std::fs::read_dir(folder.join("jobs")).expect("there").flatten();
    let left: Vec<_> = left.map(|e| e.file_name()).filter(|name| name.to_string_lossy().ends_with(".json")).collect();
    assert!(left.is_empty(), "nothing was dropped again: {left:?}");
    screen.press("q");
    screen.ended();
}

#[test]
fn a_demo_whose_line_is_cut_leaves_nothing() {
    let stage = Stage::bare();
    let mut screen = demo(&stage);
    screen.hang_up();
    screen.ended();
    stage.until("nothing left", |stage| demos(stage).is_empty().then_some(()));
}

#[test]
fn the_queue_is_steered_by_keys() {
    let stage = Stage::with(&Wish::slow(1.5));
    stage.put_image();
    for seed in 1..=4 {
        stage.drop_file(&format!("j{seed}.json"), job(&format!("j{seed}"), seed).to_string());
        stage.until("taken", |stage| stage.state(seed));
    }
    let mut screen = Screen::open(&stage);
    screen.until_shown("j4");
    screen.press("p");
    screen.until_shown("‖ paused");
    stage.until("#2 back", |stage| (stage.state(2)? == "queued").then_some(()));
    // The last to the top, then two marked and held with one question.
    screen.press("GT");
    stage.until("#4 moved", |stage| stage.run(&["log", "4"]).out.contains("moved").then_some(()));
    screen.press("Gk ");
    screen.until_shown("marked");
    screen.press("\u{1b}");
    screen.until("no marks", |screen| !screen.text().contains("marked"));
    screen.press("Gvk");
    screen.until_shown("2 marked");
    screen.press("H");
    screen.until_shown("hold 2 jobs?");
    screen.press("y");
    stage.until_state(2, "held");
    stage.until_state(3, "held");
    screen.press("p");
    screen.until("no pause", |screen| !screen.text().contains("‖ paused"));
    stage.until_state(4, "done");
    assert_eq!((stage.state(2).as_deref(), stage.state(3).as_deref()), (Some("held"), Some("held")));
}

#[test]
fn a_job_is_edited_from_the_dashboard_and_a_mistake_loses_nothing() {
    let stage = Stage::with(&Wish::default());
    stage.run(&["pause"]).well();
    stage.drop_job("loop", 1);
    stage.until("taken", |stage| stage.state(1));
    // Each time it is opened it does the next of these.
    let script = stage.temp().join("editor.sh");
    std::fs::write(
        &script,
        "n=$(cat \"$0.n\" 2>/dev/null || echo 0); echo $((n+1)) > \"$0.n\"\n\
         if [ $n = 0 ]; then sed -i 's/\"prompt\"/\"promt\"/' \"$1\"\n\
         else sed -i 's/promt/prompt/; s/turning a page/closing a book/' \"$1\"; fi\n",
    )
    .expect("written");
    let place = stage.place();
    let editor = format!("sh {}", script.display());
    let mut screen = Screen::edited_by(&stage, &place.each_ref().map(String::as_str), &editor);
    screen.until_shown("loop");
    screen.press("e");
    screen.until_shown("edit again?");
    assert!(!stage.show(1).contains("promt"));
    screen.press("y");
    screen.until_shown("#1: edited");
    assert!(stage.show(1).contains("closing a book"));
    screen.press("q");
    assert_eq!(screen.ended(), 0);
    screen.until_clean();
}
