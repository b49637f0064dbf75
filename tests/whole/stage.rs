//! What an end-to-end test needs: a render folder of its own, a simulated server as a process, and the real program.
//!
//! Nothing here outlives its test: dropping a [`Stage`] stops the engine, and kills what did not stop.

#![allow(dead_code, reason = "two test programs share this, and neither needs all of it")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long a test waits for what must come: long, so that a busy machine fails no test, also where comfytop is built
/// without optimisation and takes four seconds to look at a clip.
pub const PATIENCE: Duration = Duration::from_mins(4);
/// How often it looks.
const EVERY: Duration = Duration::from_millis(40);

/// The start image of all jobs here.
pub const IMAGE: &[u8] = include_bytes!("../../jobs/examples/reading_start.png");

/// How the simulated server behaves.
#[derive(Debug, Clone)]
pub struct Wish {
    pub version: &'static str,
    pub render_seconds: f64,
    /// Faults, in TOML.
    pub scenario: &'static str,
}

impl Default for Wish {
    fn default() -> Self {
        Self { version: "0.33.0", render_seconds: 0.1, scenario: "" }
    }
}

impl Wish {
    pub fn slow(render_seconds: f64) -> Self {
        Self { render_seconds, ..Self::default() }
    }

    pub fn faulty(scenario: &'static str) -> Self {
        Self { scenario, ..Self::default() }
    }
}

/// A process that is killed with its test.
pub struct Guarded(pub Child);

impl Guarded {
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a verb said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its output, after making sure that it ended well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

pub struct Stage {
    dir: tempfile::TempDir,
    pub root: PathBuf,
    /// The server's address.
    pub url: String,
    /// It is decided already.
    has_port: bool,
    sim: Option<Guarded>,
    engine: Option<Guarded>,
}

impl Stage {
    /// A folder, and an address where nobody listens.
    pub fn bare() -> Self {
        let dir = tempfile::Builder::new().prefix("ct").tempdir().expect("a temporary folder");
        let base = dir.path().canonicalize().expect("it is there");
        for folder in ["home", "tmp", "server/input"] {
            fs::create_dir_all(base.join(folder)).expect("made");
        }
        let url = format!("http://127.0.0.1:{}", free_port());
        Self { root: base.join("r"), dir, url, has_port: true, sim: None, engine: None }
    }

    /// With a simulated server, and an engine that watches.
    pub fn with(wish: &Wish) -> Self {
        let mut stage = Self::served(wish);
        stage.start_engine();
        stage
    }

    /// With a simulated server; no engine yet.
    pub fn served(wish: &Wish) -> Self {
        let mut stage = Self::bare();
        stage.has_port = false;
        stage.start_server(wish);
        stage
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn temp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    /// The folder where the server keeps its uploads and outputs.
    pub fn server_files(&self) -> PathBuf {
        self.dir.path().join("server")
    }

    /// Settings, before the engine starts.
    pub fn configure(&self, toml: &str) {
        fs::create_dir_all(&self.root).expect("made");
        fs::write(self.at("comfytop.toml"), toml).expect("written");
    }

    // ---- the program ----------------------------------------------------------------------------

    /// The program with the environment of this test and nothing of its user's.
    pub fn plain(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_comfytop"));
        let base = self.dir.path();
        command.env("HOME", base.join("home")).env("XDG_STATE_HOME", base.join("home/state"));
        command.env("TMPDIR", base.join("tmp")).env_remove("COMFYTOP_SERVER").env_remove("NO_COLOR");
        command.current_dir(base).stdin(Stdio::null());
        command
    }

    pub fn place(&self) -> [String; 4] {
        ["--dir".into(), self.root.display().to_string(), "--server".into(), self.url.clone()]
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.plain();
        command.args(self.place()).args(args);
        command
    }

    /// Runs a verb to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        ran(self.command(args))
    }

    /// Starts an engine in the foreground and waits until it serves.
    #[track_caller]
    pub fn start_engine(&mut self) {
        self.start_engine_with(&[]);
    }

    /// The same, in an environment that has these.
    #[track_caller]
    pub fn start_engine_with(&mut self, environment: &[(&str, &str)]) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let mut command = self.command(&["engine"]);
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        command.envs(environment.iter().copied());
        self.start(command);
    }

    /// One whose disk [`Stage::disk_is_full`] can fill: its files may not grow then, which it hears as an error.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub fn start_engine_on_a_small_disk(&mut self) {
        let inner = self.command(&["engine"]);
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.start(command);
    }

    /// From now on its engine's files may not grow, or may again.
    #[cfg(target_os = "linux")]
    pub fn disk_is_full(&self, full: bool) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let pid = self.engine.as_ref().expect("an engine of this test").pid();
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
        let limit = Rlimit { current: full.then_some(1), maximum: None };
        prlimit(pid, Resource::Fsize, limit).expect("a limit");
    }

    /// The engine of this test has ended by itself.
    #[track_caller]
    pub fn until_engine_ends(&mut self) {
        let mut engine = self.engine.take().expect("an engine of this test");
        self.until("the engine's end", |_| engine.0.try_wait().expect("a child"));
    }

    #[track_caller]
    fn start(&mut self, mut command: Command) {
        let mut engine = Guarded(command.spawn().expect("an engine"));
        self.until("an engine that serves", |stage| {
            if let Ok(Some(status)) = engine.0.try_wait() {
                panic!("the engine ended with {status}: {}", stage.logged());
            }
            stage.is_served().then_some(())
        });
        self.engine = Some(engine);
    }

    /// Does an engine answer? `cancel` starts none: there is no job 0.
    pub fn is_served(&self) -> bool {
        match self.run(&["cancel", "0"]) {
            Ran { code: 1, .. } => true,
            Ran { code: 4, .. } => false,
            other => panic!("neither served nor not: {other:?}"),
        }
    }

    pub fn engine_pid(&self) -> u32 {
        let status = self.status();
        status["engine"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid")
    }

    /// As a power cut would.
    #[track_caller]
    pub fn kill_engine(&mut self) {
        let mut engine = self.engine.take().expect("an engine of this test");
        engine.kill();
    }

    /// `comfytop stop`, and the process gone.
    #[track_caller]
    pub fn stop_engine(&mut self) {
        self.run(&["stop"]).well();
        if let Some(mut engine) = self.engine.take() {
            self.until("the engine's end", |_| engine.0.try_wait().expect("a child"));
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("engine.log")
    }

    /// What the engines said, whoever started them.
    pub fn logged(&self) -> String {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        read(&self.log()) + &read(&self.at(".comfytop/engine.log"))
    }

    // ---- the server -----------------------------------------------------------------------------

    fn server_log(&self) -> PathBuf {
        self.dir.path().join("server.jsonl")
    }

    /// Starts the simulated server; on the port of the last one, if there was one.
    #[track_caller]
    pub fn start_server(&mut self, wish: &Wish) {
        assert!(self.sim.is_none(), "one server at a time");
        let scenario = self.dir.path().join("scenario.toml");
        fs::write(&scenario, wish.scenario).expect("written");
        // Any, the first time; what a free port was may be taken when it is asked for.
        let port = if self.has_port { self.url.rsplit(':').next().expect("a port") } else { "0" };
        let mut command = self.plain();
        command.args(["sim", "--port", port, "--as", wish.version]);
        command.args(["--render-seconds", &wish.render_seconds.to_string()]);
        command.arg("--scenario").arg(scenario).arg("--files").arg(self.server_files());
        command.arg("--log").arg(self.server_log()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut sim = Guarded(command.spawn().expect("a simulated server"));
        let mut line = String::new();
        BufReader::new(sim.0.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let said = line.split_whitespace().last().expect("it says where it listens").to_owned();
        assert!(said.starts_with("http://") && (!self.has_port || said == self.url), "{line:?}");
        (self.url, self.has_port) = (said, true);
        self.sim = Some(sim);
    }

    #[track_caller]
    pub fn kill_server(&mut self) {
        self.sim.take().expect("a server").kill();
    }

    pub fn server_pid(&self) -> u32 {
        self.sim.as_ref().expect("a server").pid()
    }

    /// What happened at the server, as it wrote it down itself: the test's oracle.
    pub fn happened(&self, event: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.server_log()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == event).collect()
    }

    /// How many renders were begun, by prompt.
    pub fn begun(&self) -> Vec<String> {
        self.happened("started").iter().map(|e| e["prompt_id"].as_str().expect("an id").to_owned()).collect()
    }

    /// A picture in the server's own input folder; before the server starts.
    pub fn put_on_server(&self, name: &str) {
        fs::write(self.server_files().join("input").join(name), IMAGE).expect("written");
    }

    // ---- job files ------------------------------------------------------------------------------

    /// Writes a file beside the inbox and renames it in.
    pub fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) {
        self.drop_into("jobs", name, content);
    }

    pub fn drop_into(&self, inbox: &str, name: &str, content: impl AsRef<[u8]>) {
        let part = self.at(inbox).join(format!(".{name}.part"));
        fs::write(&part, content).expect("written");
        fs::rename(part, self.at(inbox).join(name)).expect("renamed");
    }

    /// The start image beside the job files.
    pub fn put_image(&self) {
        self.drop_file("start.png", IMAGE);
    }

    /// Drops one job of the loop workflow, with the image beside it.
    pub fn drop_job(&self, name: &str, seed: u64) {
        self.put_image();
        self.drop_file(&format!("{name}.json"), job(name, seed).to_string());
    }

    /// Names in a folder below the render folder, sorted, without hidden ones.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.at(folder)) else { return Vec::new() };
        let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// Job files that still lie in the inbox.
    pub fn inbox(&self) -> Vec<String> {
        self.names("jobs")
            .into_iter()
            .filter(|name| self.at("jobs").join(name).is_file())
            .filter(|n| n != "start.png")
            .collect()
    }

    pub fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path))
            .unwrap_or_else(|e| panic!("{path}: {e}; there are {:?}", self.names("jobs/failed")))
    }

    // ---- waiting --------------------------------------------------------------------------------

    /// `ls --json`.
    #[track_caller]
    pub fn ls(&self) -> Vec<Value> {
        let out = self.run(&["ls", "--json"]).well();
        out.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    /// `status --json`, whether or not a server answers.
    pub fn status(&self) -> Value {
        let ran = self.run(&["status", "--json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
    }

    #[track_caller]
    pub fn job(&self, id: u64) -> Value {
        self.ls().into_iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no job {id}: {}", self.told()))
    }

    pub fn state(&self, id: u64) -> Option<String> {
        self.ls().into_iter().find(|row| row["id"] == id)?["state"].as_str().map(str::to_owned)
    }

    #[track_caller]
    pub fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            assert!(Instant::now() < until, "{what} did not come:\n{}", self.told());
            std::thread::sleep(EVERY);
        }
    }

    /// Waits until the job is in this state; one that ended otherwise fails the test at once.
    #[track_caller]
    pub fn until_state(&self, id: u64, wanted: &str) -> Value {
        self.until(&format!("#{id} {wanted}"), |stage| {
            let row = stage.ls().into_iter().find(|row| row["id"] == id)?;
            let state = row["state"].as_str().expect("a state");
            let ended = ["done", "failed", "cancelled", "rejected", "duplicate"].contains(&state);
            assert!(!ended || state == wanted, "#{id} should be {wanted}:\n{}", stage.told());
            (state == wanted).then_some(row)
        })
    }

    #[track_caller]
    pub fn until_file(&self, path: &str) {
        self.until(path, |stage| stage.at(path).is_file().then_some(()));
    }

    /// Everything that helps when a test fails.
    fn told(&self) -> String {
        let ls = self.run(&["ls", "--json"]);
        format!("{}{}\ninbox: {:?}\n{}", ls.out, ls.err, self.inbox(), self.logged())
    }

    /// What `show N` says.
    #[track_caller]
    pub fn show(&self, id: u64) -> String {
        self.run(&["show", &id.to_string()]).well()
    }

    /// The prompt ids of a job's attempts, as `show` lists them.
    pub fn attempts(&self, id: u64) -> Vec<String> {
        let shown = self.show(id);
        let tries = shown.lines().filter(|line| line.starts_with("try "));
        tries.map(|line| line.split_whitespace().nth(2).expect("an id").to_owned()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A server that does not answer would make the engine wait for it.
        let _ = self.run(&["stop"]);
        self.engine = None;
        if !until_free(&self.at(".comfytop/engine.lock")) {
            let holder = fs::read(self.at(".comfytop/engine.json")).unwrap_or_default();
            if let Some(pid) = serde_json::from_slice::<Value>(&holder).ok().and_then(|h| h["pid"].as_u64()) {
                kill_stray(pid);
            }
        }
        self.sim = None;
    }
}

/// Waits until nobody holds this lock (or there is none).
fn until_free(lock: &Path) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match File::options().write(true).open(lock) {
            Ok(file) if file.try_lock().is_err() => {}
            _ => return true,
        }
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(EVERY);
    }
}

#[cfg(unix)]
fn kill_stray(pid: u64) {
    signal(u32::try_from(pid).expect("a pid"), rustix::process::Signal::KILL);
}

#[cfg(not(unix))]
fn kill_stray(_: u64) {}

#[cfg(unix)]
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("not 0");
    let _ = rustix::process::kill_process(pid, signal);
}

/// Runs a program to its end; one that does not end fails the test.
#[track_caller]
pub fn ran(command: Command) -> Ran {
    ran_within(command, PATIENCE)
}

/// The same, for one that has much to do.
#[track_caller]
pub fn ran_within(mut command: Command, patience: Duration) -> Ran {
    let mut child = Guarded(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"));
    let out = heard(child.0.stdout.take().expect("piped"));
    let err = heard(child.0.stderr.take().expect("piped"));
    let until = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.0.try_wait().expect("a child") {
            break status;
        }
        assert!(Instant::now() < until, "{command:?} does not end");
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |reader: JoinHandle<String>| reader.join().expect("UTF-8");
    Ran { code: status.code().unwrap_or(-1), out: text(out), err: text(err) }
}

fn heard(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("UTF-8");
        text
    })
}

pub fn free_port() -> u16 {
    // Below those that the system gives out by itself: while a server is dead nobody else may get its port.
    const FIRST: u16 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(613);
    for _ in 0..COUNT {
        let at = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(at).expect("below 20,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// One job of the loop workflow.
pub fn job(name: &str, seed: u64) -> Value {
    json!({"workflow": "wan2.2-i2v-loop", "name": name, "image": "start.png", "prompt": "turning a page", "seed": seed})
}

/// What the simulated server renders for a seed: the clip's bytes, and its SSIM as ffmpeg has it.
pub fn clip_of(seed: u64) -> (&'static [u8], f64) {
    let clip = comfytop::sim::clips::clip(Some(seed));
    let truth: Value = serde_json::from_str(include_str!("../media/truth.json")).expect("JSON");
    let ssim = truth[format!("{}.mp4", clip.name)]["ssim_first_last"].as_f64().expect("a number");
    (clip.mp4, ssim)
}

#[track_caller]
pub fn assert_near(found: &Value, wanted: f64) {
    let found = found.as_f64().unwrap_or_else(|| panic!("{found} is no number"));
    assert!((found - wanted).abs() < 0.001, "{found} should be {wanted}");
}

/// Fails where a text could move a cursor, change a colour or turn text round.
#[track_caller]
pub fn assert_harmless(text: &str) {
    let turns = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let bad = text.chars().find(|c| c.is_control() && *c != '\n' || turns(*c));
    assert!(bad.is_none(), "{bad:?} in {text:?}");
}
