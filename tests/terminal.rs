//! The dashboard in a real (pseudo) terminal: every way out leaves it clean, and soon.
//!
//! This test binary runs itself again inside the terminal, as a dashboard that is told nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![cfg(unix)]

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use comfytop::config::UiConfig;
use comfytop::tui::{App, Setup, Wires, run, terminal};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

const INSIDE: &str = "COMFYTOP_TEST_DASHBOARD";

/// Long enough for a busy machine; reached only where something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Not a test: the dashboard that the others run in a terminal.
#[test]
fn dashboard() {
    let Some(how) = std::env::var_os(INSIDE) else { return };
    let setup = Setup {
        ui: UiConfig::default(),
        zone: TimeZone::UTC,
        folder: "/renders".into(),
        inbox: "/renders/jobs".into(),
        home: None,
        now: Timestamp::now(),
        size: terminal::size(),
        depth: comfytop::tui::Depth::Full,
        links: None,
    };
    let (wires, events) = Wires::new();
    if how == "panic" {
        let wires = wires.on_command(|_| panic!("as planned"));
        events.send(comfytop::tui::Event::EngineGone { why: String::new() });
        let _ = run(App::new(setup), wires);
    } else {
        let outcome = run(App::new(setup), wires).expect("a terminal");
        println!("ended: {outcome:?}");
    }
    std::process::exit(0);
}

struct Terminal {
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    output: Receiver<Vec<u8>>,
    heard: Vec<u8>,
    before: Option<rustix::termios::Termios>,
}

impl Terminal {
    fn start(how: &str) -> Self {
        let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 80, ..PtySize::default() }).expect("a pty");
        let mut command = CommandBuilder::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "dashboard", "--nocapture", "--test-threads", "1"]);
        command.env(INSIDE, how);
        command.env("TERM", "xterm-256color");
        let before = modes(&*pty.master);
        let child = pty.slave.spawn_command(command).expect("itself");
        drop(pty.slave);
        let mut reader = pty.master.try_clone_reader().expect("a reader");
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut chunk) {
                if sender.send(chunk[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keys = pty.master.take_writer().expect("a writer");
        Self { master: Some(pty.master), keys: Some(keys), child, output, heard: Vec::new(), before }
    }

    /// Reads until the screen has said `words`.
    fn wait_for(&mut self, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.text().contains(words) {
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(chunk) => self.heard.extend(chunk),
                Err(error) => panic!("no `{words}` ({error}) in {:?}", self.text()),
            }
        }
    }

    fn press(&mut self, keys: &str) {
        let writer = self.keys.as_mut().expect("not hung up");
        writer.write_all(keys.as_bytes()).expect("the terminal takes keys");
        writer.flush().expect("at once");
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.child.process_id().and_then(|p| i32::try_from(p).ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process"), signal).expect("it lives");
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    /// Waits for its end; the exit code.
    fn ended(&mut self) -> u32 {
        let until = Instant::now() + PATIENCE;
        loop {
            while let Ok(chunk) = self.output.try_recv() {
                self.heard.extend(chunk);
            }
            if let Some(status) = self.child.try_wait().expect("our child") {
                while let Ok(chunk) = self.output.recv_timeout(Duration::from_millis(200)) {
                    self.heard.extend(chunk);
                }
                return status.exit_code();
            }
            assert!(Instant::now() < until, "it lives on: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The other screen left, the cursor shown, no modes left on, the line discipline as it was.
    fn assert_clean(&self) {
        let text = self.text();
        for (on, off) in [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?2004h", "\x1b[?2004l")] {
            let (on, off) = (text.rfind(on), text.rfind(off));
            assert!(off > on, "{off:?} after {on:?} in {text:?}");
        }
        assert!(!text.contains("\x1b[?1000h") && !text.contains("\x1b[?1003h"), "no mouse");
        let now = self.master.as_ref().and_then(|m| modes(&**m));
        let flags =
            |t: &Option<rustix::termios::Termios>| t.as_ref().map(|t| (t.input_modes, t.output_modes, t.local_modes));
        assert_eq!(flags(&now), flags(&self.before));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line discipline, asked through the master.
fn modes(master: &(dyn MasterPty + Send)) -> Option<rustix::termios::Termios> {
    let path = master.tty_name()?;
    let file = std::fs::File::open(path).ok()?;
    rustix::termios::tcgetattr(file).ok()
}

#[test]
fn q_leaves_a_clean_terminal() {
    let mut terminal = Terminal::start("plain");
    terminal.wait_for("comfytop");
    terminal.wait_for("leave");
    terminal.press("q");
    assert_eq!(terminal.ended(), 0);
    terminal.assert_clean();
    assert!(terminal.text().contains("ended: Left"));
}

#[test]
fn ctrl_c_leaves_a_clean_terminal() {
    let mut terminal = Terminal::start("plain");
    terminal.wait_for("leave");
    terminal.press("?/\x03");
    assert_eq!(terminal.ended(), 0);
    terminal.assert_clean();
}

#[test]
fn signals_leave_a_clean_terminal() {
    use rustix::process::Signal;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut terminal = Terminal::start("plain");
        terminal.wait_for("leave");
        terminal.signal(signal);
        terminal.ended();
        terminal.assert_clean();
        assert!(terminal.text().contains("ended: Signal"), "{signal:?}");
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_words() {
    let mut terminal = Terminal::start("panic");
    terminal.wait_for("start engine");
    terminal.press("E");
    assert_ne!(terminal.ended(), 0);
    terminal.assert_clean();
    let text = terminal.text();
    assert!(text.find("as planned") > text.rfind("\x1b[?1049l"), "{text:?}");
}

#[test]
fn a_terminal_that_hangs_up_ends_it() {
    let mut terminal = Terminal::start("plain");
    terminal.wait_for("leave");
    // The reader holds the terminal, too: it goes with the next thing that it hears.
    let (_, nothing) = channel();
    drop(std::mem::replace(&mut terminal.output, nothing));
    terminal.press("\x0c");
    terminal.keys = None;
    terminal.master = None;
    terminal.ended();
}

#[test]
fn a_continued_dashboard_paints_itself_anew() {
    let mut terminal = Terminal::start("plain");
    terminal.wait_for("leave");
    terminal.heard.clear();
    terminal.signal(rustix::process::Signal::CONT);
    terminal.wait_for("\x1b[?1049h");
    terminal.wait_for("comfytop");
    // Nobody could continue a session leader, so Ctrl-Z only gives the terminal back and takes it again.
    terminal.heard.clear();
    terminal.press("\x1a");
    terminal.wait_for("\x1b[?1049l");
    terminal.wait_for("\x1b[?1049h");
    terminal.wait_for("comfytop");
    terminal.press("q");
    terminal.ended();
    terminal.assert_clean();
}

#[test]
fn another_size_is_painted_anew() {
    let mut terminal = Terminal::start("plain");
    terminal.wait_for("connecting");
    terminal.heard.clear();
    let size = PtySize { rows: 40, cols: 120, ..PtySize::default() };
    terminal.master.as_ref().unwrap().resize(size).unwrap();
    terminal.wait_for("\x1b[2J");
    terminal.press("q");
    assert_eq!(terminal.ended(), 0);
    terminal.assert_clean();
}

#[test]
fn a_terminal_that_takes_nothing_does_not_keep_it() {
    let mut terminal = Terminal::start("plain");
    terminal.wait_for("leave");
    // Ctrl-S would be a key; the reader that stops is the slow line. Many full repaints fill it.
    let (_, nothing) = channel();
    drop(std::mem::replace(&mut terminal.output, nothing));
    for _ in 0..400 {
        terminal.press("?\x0c");
    }
    terminal.press("q");
    terminal.ended();
}
