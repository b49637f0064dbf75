//! One render folder, one server, and jobs that come in while engine and server are killed and started again.
//!
//! Believed are the server's own log, to which a line is added for each of its deaths, and the folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{Guarded, Stage};

/// What is waited for must have come by then; long, as the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(3);
pub const EVERY: Duration = Duration::from_millis(10);

/// How a process is to die.
#[derive(Debug, Clone, Default)]
pub enum Death {
    #[default]
    None,
    /// At a point: see `COMFYTOP_KILL`.
    Point(String),
    /// So long after its start.
    After(Duration),
}

#[derive(Default)]
struct Process {
    child: Option<Guarded>,
    dies_at: Option<Instant>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Killed,
    ByItself,
}

impl Process {
    fn start(command: &mut Command, death: &Death) -> Self {
        let mut dies_at = None;
        match death {
            Death::None => {}
            Death::Point(point) => {
                command.env("COMFYTOP_KILL", point);
            }
            Death::After(wait) => dies_at = Some(Instant::now() + *wait),
        }
        let child: Child = command.stdin(Stdio::null()).spawn().expect("it starts");
        Self { child: Some(Guarded(child)), dies_at }
    }

    /// Kills it when its time has come; how it ended, once it has.
    fn end(&mut self) -> Option<End> {
        let child = self.child.as_mut()?;
        if self.dies_at.take_if(|at| *at <= Instant::now()).is_some() {
            child.kill();
        }
        let status = child.0.try_wait().expect("a child")?;
        self.child = None;
        Some(if status.success() { End::ByItself } else { End::Killed })
    }
}

/// How often what died.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deaths {
    pub engine: u32,
    pub server: u32,
}

/// How a job must come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// In `done/`, rendered whole no more often than this, with so many outputs.
    Done { renders: usize, outputs: usize },
    /// In `failed/`, cancelled, and begun no more often than this.
    Cancelled { begun: usize },
}

const USUAL: Fate = Fate::Done { renders: 1, outputs: 1 };

pub struct Night {
    pub stage: Stage,
    engine: Process,
    server: Process,
    fates: BTreeMap<String, Fate>,
    /// Points passed while it is armed are written down.
    pub traces: bool,
    /// Those.
    pub passed: Option<BTreeSet<String>>,
    /// The point at which whoever passes it dies, while it is armed.
    pub doom: Option<String>,
    /// The server dies with the engine.
    pub both: bool,
    /// Who died of that.
    pub killed: Option<String>,
    pub deaths: Deaths,
    pub render_seconds: f64,
    /// The simulated server's version.
    pub version: &'static str,
    /// What else goes wrong at the server, in TOML.
    pub scenario: String,
}

impl Night {
    pub fn new() -> Self {
        let stage = Stage::bare();
        stage.configure(QUEUE);
        for folder in ["jobs", "workflows"] {
            fs::create_dir_all(stage.at(folder)).expect("made");
        }
        fs::write(stage.at("workflows/shot.json"), workflow().to_string()).expect("written");
        fs::write(stage.at("workflows/shot.toml"), SLOTS).expect("written");
        stage.put_image();
        Self {
            stage,
            engine: Process::default(),
            server: Process::default(),
            fates: BTreeMap::new(),
            traces: false,
            passed: None,
            doom: None,
            both: false,
            killed: None,
            deaths: Deaths::default(),
            render_seconds: 0.05,
            version: "0.33.0",
            scenario: String::new(),
        }
    }

    pub fn base(&self) -> &std::path::Path {
        self.stage.root.parent().expect("a folder")
    }

    fn log(&self) -> File {
        File::options().create(true).append(true).open(self.base().join("engine.log")).expect("a log")
    }

    // ---- points

    fn doom_file(&self) -> PathBuf {
        self.base().join("doom")
    }

    fn points(&self, who: &str) -> PathBuf {
        self.base().join(format!("{who}.points"))
    }

    /// What a process dies of, and where it writes down what it passes.
    fn arms(&self, command: &mut Command, who: &str) {
        if self.doom.is_some() {
            command.env("COMFYTOP_KILL", format!("@{}", self.doom_file().display()));
        }
        if self.traces {
            command.env("COMFYTOP_POINTS", self.points(who));
        }
    }

    /// From now on whoever passes the point of this night's doom dies.
    pub fn arm(&mut self) {
        self.passed = None;
        for who in ["engine", "server"] {
            let _ = fs::remove_file(self.points(who));
        }
        if let Some(point) = &self.doom {
            // Whole or not at all.
            let draft = self.base().join("doom.draft");
            fs::write(&draft, point).expect("written");
            fs::rename(draft, self.doom_file()).expect("renamed");
        }
    }

    /// From now on nobody does.
    pub fn disarm(&mut self) {
        let _ = fs::remove_file(self.doom_file());
        if self.passed.is_none() {
            let read = |who| fs::read_to_string(self.points(who)).unwrap_or_default();
            self.passed = Some((read("engine") + &read("server")).lines().map(str::to_owned).collect());
        }
    }

    // ---- processes

    pub fn start(&mut self) {
        self.start_server(&Death::None);
        self.start_engine(&Death::None);
    }

    pub fn start_server(&mut self, death: &Death) {
        self.bury_server();
        let port = self.stage.url.rsplit(':').next().expect("a port").to_owned();
        let mut command = self.stage.plain();
        let scenario = self.base().join("scenario.toml");
        fs::write(&scenario, &self.scenario).expect("written");
        command.args(["sim", "--port", &port, "--as", self.version]);
        command.args(["--render-seconds", &self.render_seconds.to_string()]);
        command
            .arg("--scenario")
            .arg(scenario)
            .arg("--files")
            .arg(self.stage.server_files())
            .arg("--log")
            .arg(self.base().join("server.jsonl"));
        self.arms(&mut command, "server");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Process::start(&mut command, death);
    }

    pub fn start_engine(&mut self, death: &Death) {
        self.engine = Process::default();
        let mut command = self.stage.command(&["engine"]);
        self.arms(&mut command, "engine");
        let log = self.log();
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.engine = Process::start(&mut command, death);
    }

    pub fn kill_engine(&mut self) {
        self.engine = Process::default();
    }

    /// Its death goes into its log: what it had begun is cut off.
    fn bury_server(&mut self) {
        if std::mem::take(&mut self.server).child.take().is_some_and(|mut child| {
            child.kill();
            true
        }) {
            self.note_death();
        }
    }

    fn note_death(&self) {
        let path = self.base().join("server.jsonl");
        let mut log = File::options().create(true).append(true).open(path).expect("a log");
        // What it was writing when it died may lack its end.
        let _ = writeln!(log, "\n{}", json!({"event": "died"}));
    }

    /// Waits for the doom of the engine, which is not started again.
    pub fn until_doom(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.engine.end().is_none() {
            assert!(Instant::now() < until, "it does not die at {:?}\n{}", self.doom, self.told());
            std::thread::sleep(EVERY);
        }
    }

    /// Starts again what has ended.
    pub fn tend(&mut self) {
        let doomed = |night: &mut Self, who: &str| {
            if night.doom_file().exists() {
                night.disarm();
                night.killed = Some(who.to_owned());
            }
        };
        if let Some(end) = self.engine.end() {
            if end == End::Killed {
                self.deaths.engine += 1;
                doomed(self, "engine");
                if self.both {
                    self.start_server(&Death::None);
                    self.deaths.server += 1;
                }
            }
            self.start_engine(&Death::None);
        }
        if self.server.end().is_some() {
            self.deaths.server += 1;
            self.note_death();
            doomed(self, "server");
            self.start_server(&Death::None);
        }
    }

    /// Lives until this is so, starting again what ends.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut look: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !look(self) {
            self.tend();
            assert!(Instant::now() < until, "stuck: {what}\n{}", self.told());
            std::thread::sleep(EVERY);
        }
    }

    // ---- jobs

    /// Drops a job of this workflow that must come out so.
    pub fn drop_as(&mut self, workflow: &str, name: &str, fate: Fate) {
        self.expect(name, fate);
        self.stage.drop_file(&format!("{name}.json"), job(workflow, name));
    }

    pub fn expect(&mut self, name: &str, fate: Fate) {
        self.fates.insert(name.to_owned(), fate);
    }

    pub fn drop_job(&mut self, name: &str) {
        self.drop_as("shot", name, USUAL);
    }

    /// Drops one job a name, and lives until all have ended.
    pub fn round(&mut self, names: &[String]) -> Deaths {
        let before = self.deaths;
        for name in names {
            self.drop_job(name);
        }
        self.until(&format!("{names:?}"), |night| names.iter().all(|name| night.is_over(name)));
        Deaths { engine: self.deaths.engine - before.engine, server: self.deaths.server - before.server }
    }

    #[track_caller]
    pub fn until_over(&mut self) {
        self.until("all over", |night| night.fates.keys().all(|name| night.is_over(name)));
    }

    /// The file of a job in one of our folders.
    pub fn file_of(&self, folder: &str, name: &str) -> Option<String> {
        let ending = format!("-{name}.json");
        self.stage.names(folder).into_iter().find(|file| file.ends_with(&ending))
    }

    pub fn is_over(&self, name: &str) -> bool {
        let whole = |folder: &str, sidecar: &str| {
            self.file_of(folder, name).is_some_and(|file| self.stage.at(&format!("{folder}/{file}{sidecar}")).is_file())
        };
        whole("jobs/done", ".result.json") || whole("jobs/failed", ".error.txt")
    }

    fn told(&self) -> String {
        let log = fs::read_to_string(self.base().join("server.jsonl")).unwrap_or_default();
        let folders = ["jobs", "jobs/queued", "jobs/done", "jobs/failed", "outputs"];
        let folders: Vec<_> = folders.iter().map(|f| (*f, self.stage.names(f))).collect();
        let engine = fs::read_to_string(self.base().join("engine.log")).unwrap_or_default();
        format!("{folders:?}\n{log}\n{engine}")
    }

    // ---- what the server wrote down

    /// `(event, name, line)`; the name is the first word of the prompt's first text.
    pub fn happened(&self) -> Vec<(String, String, Value)> {
        let text = fs::read_to_string(self.base().join("server.jsonl")).unwrap_or_default();
        let mut of_prompt = BTreeMap::new();
        let mut all = Vec::new();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let event = line["event"].as_str().unwrap_or_default().to_owned();
            let prompt = line["prompt_id"].as_str().unwrap_or_default().to_owned();
            if event == "accepted" {
                let text = line["texts"][0].as_str().unwrap_or_default();
                of_prompt.insert(prompt.clone(), text.split(' ').next().unwrap_or_default().to_owned());
            }
            let name = of_prompt.get(&prompt).cloned().unwrap_or_default();
            all.push((event, name, line));
        }
        all
    }

    /// The jobs whose renders began, in this order.
    pub fn begun(&self) -> Vec<String> {
        let began = |(event, name, _): (String, String, _)| (event == "started" && !name.is_empty()).then_some(name);
        self.happened().into_iter().filter_map(began).filter(|name| self.fates.contains_key(name)).collect()
    }

    /// What the server holds of ours and has not begun, in the order in which it came.
    pub fn pending(&self) -> Vec<String> {
        let mut pending: Vec<(String, Value)> = Vec::new();
        for (event, name, line) in self.happened() {
            match event.as_str() {
                "accepted" if self.fates.contains_key(&name) => pending.push((name, line["prompt_id"].clone())),
                "started" | "deleted" => {
                    if let Some(at) = pending.iter().position(|(_, prompt)| *prompt == line["prompt_id"]) {
                        pending.remove(at);
                    }
                }
                "died" => pending.clear(),
                _ => {}
            }
        }
        pending.into_iter().map(|(name, _)| name).collect()
    }

    /// What is wrong so far: lost, and doubled.
    pub fn judge(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        let (mut well, mut begun) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
        let mut open = BTreeMap::<String, String>::new();
        for (event, name, line) in self.happened() {
            let prompt = line["prompt_id"].as_str().unwrap_or_default().to_owned();
            match event.as_str() {
                "started" => {
                    *begun.entry(name.clone()).or_default() += 1;
                    open.insert(prompt, name);
                }
                "ended" => {
                    if let Some(name) = open.remove(&prompt)
                        && line["as"] == "execution_success"
                    {
                        *well.entry(name).or_default() += 1;
                    }
                }
                "died" => open.clear(),
                _ => {}
            }
        }
        let outputs = self.stage.names("outputs");
        for (name, fate) in &self.fates {
            let count = |of: &BTreeMap<String, usize>| of.get(name).copied().unwrap_or_default();
            let (folder, sidecar, state, renders, most) = match *fate {
                Fate::Done { renders, outputs } => ("jobs/done", ".result.json", "done", renders, outputs),
                Fate::Cancelled { begun: most } => {
                    if count(&begun) > most {
                        wrongs.push(format!("{name} is cancelled, and was begun {} times", count(&begun)));
                    }
                    ("jobs/failed", ".error.txt", "cancelled", 0, 0)
                }
            };
            if count(&well) > renders {
                wrongs.push(format!("{name} was rendered {} times", count(&well)));
            }
            let own = |file: &&String| **file == format!("{name}.png") || file.starts_with(&format!("{name}-"));
            let own = outputs.iter().filter(own).count();
            if own != most {
                wrongs.push(format!("{name} has {own} outputs"));
            }
            match self.file_of(folder, name) {
                Some(file) => {
                    let sidecar = self.stage.text(&format!("{folder}/{file}{sidecar}"));
                    let result: Value = serde_json::from_str(&sidecar).unwrap_or_default();
                    let said = if state == "done" { result[0]["state"] == state } else { sidecar.contains(state) };
                    if !said {
                        wrongs.push(format!("{name} is not {state}: {sidecar}"));
                    }
                }
                None => wrongs.push(format!("{name} is not in {}/", folder.trim_start_matches("jobs/"))),
            }
        }
        let cancelled = self.fates.iter().filter(|(_, fate)| matches!(fate, Fate::Cancelled { .. }));
        let cancelled: Vec<_> = cancelled.map(|(name, _)| format!("-{name}.json")).collect();
        for folder in ["jobs/queued", "jobs/failed"] {
            let mut left = self.stage.names(folder);
            left.retain(|file| folder == "jobs/queued" || !cancelled.iter().any(|name| file.contains(name)));
            if !left.is_empty() {
                wrongs.push(format!("{folder} holds {left:?}"));
            }
        }
        if !wrongs.is_empty() {
            wrongs.push(self.told());
        }
        wrongs
    }
}

/// The settings of every night, before what a life adds.
pub const QUEUE: &str = "[queue]\npost_grace = 1\nquiet = 2\n";

/// A job file's text; its own text tells whose prompt it is.
pub fn job(workflow: &str, text: &str) -> String {
    let mut job = json!({"workflow": workflow, "text": text});
    if workflow != "long" {
        job["image"] = json!("start.png");
    }
    job.to_string()
}

/// A workflow that takes a picture and gives it back.
pub fn workflow() -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "start.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "shot"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 0]}},
        "4": {"class_type": "CLIPLoader", "inputs": {"clip_name": "tiny_clip.safetensors", "type": "stable_diffusion"}},
    })
}

pub const SLOTS: &str = r#"
[[slot]]
name = "image"
type = "image"
inputs = ["1.image"]
required = true

[[slot]]
name = "text"
type = "string"
inputs = ["3.text"]
"#;
