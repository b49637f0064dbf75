//! One render folder, one server, and jobs that come in rounds while engine and server are killed and started again.
//!
//! Believed are the server's own log, to which a line is added for each of its deaths, and the folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::stage::{Guarded, Stage};

/// One round must be over by then; long, as the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(3);
const EVERY: Duration = Duration::from_millis(10);

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

    /// Kills it when its time has come; true once it is dead.
    fn is_dead(&mut self) -> bool {
        let Some(child) = &mut self.child else { return false };
        if self.dies_at.take_if(|at| *at <= Instant::now()).is_some() {
            child.kill();
        }
        let dead = child.0.try_wait().expect("a child").is_some();
        if dead {
            self.child = None;
        }
        dead
    }
}

/// How often what died in one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deaths {
    pub engine: u32,
    pub server: u32,
}

pub struct Night {
    stage: Stage,
    engine: Process,
    server: Process,
    names: Vec<String>,
    /// Points passed are written there.
    pub points: Option<&'static str>,
    pub render_seconds: f64,
    /// What else goes wrong at the server, in TOML.
    pub scenario: String,
}

impl Night {
    pub fn new() -> Self {
        let stage = Stage::bare();
        stage.configure("[queue]\npost_grace = 1\nquiet = 2\n");
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
            names: Vec::new(),
            points: None,
            render_seconds: 0.05,
            scenario: String::new(),
        }
    }

    fn base(&self) -> &std::path::Path {
        self.stage.root.parent().expect("a folder")
    }

    fn log(&self) -> File {
        File::options().create(true).append(true).open(self.base().join("engine.log")).expect("a log")
    }

    fn traced(&self, command: &mut Command, who: &str) {
        if let Some(name) = self.points {
            command.env("COMFYTOP_POINTS", self.base().join(format!("{name}-{who}.points")));
        }
    }

    /// The points that the engine, or the server, has passed so far.
    pub fn passed(&self, who: &str) -> Vec<String> {
        let path = self.base().join(format!("{}-{who}.points", self.points.expect("traced")));
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    pub fn start_server(&mut self, death: &Death) {
        self.bury_server();
        let port = self.stage.url.rsplit(':').next().expect("a port").to_owned();
        let mut command = self.stage.plain();
        let scenario = self.base().join("scenario.toml");
        fs::write(&scenario, &self.scenario).expect("written");
        command.args(["sim", "--port", &port, "--render-seconds", &self.render_seconds.to_string()]);
        command
            .arg("--scenario")
            .arg(scenario)
            .arg("--files")
            .arg(self.stage.server_files())
            .arg("--log")
            .arg(self.base().join("server.jsonl"));
        self.traced(&mut command, "server");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Process::start(&mut command, death);
    }

    pub fn start_engine(&mut self, death: &Death) {
        self.engine = Process::default();
        let mut command = self.stage.command(&["engine"]);
        self.traced(&mut command, "engine");
        let log = self.log();
        command.stdout(log.try_clone().expect("a file")).stderr(log);
        self.engine = Process::start(&mut command, death);
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

    /// Drops one job a name, and lives until all have ended, starting again what dies. With `both`, the server is
    /// killed whenever the engine dies.
    pub fn round(&mut self, names: &[String], both: bool) -> Deaths {
        for name in names {
            let job = json!({"workflow": "shot", "image": "start.png", "text": name});
            self.stage.drop_file(&format!("{name}.json"), job.to_string());
        }
        self.names.extend_from_slice(names);
        let mut deaths = Deaths::default();
        let until = Instant::now() + PATIENCE;
        while !names.iter().all(|name| self.is_over(name)) {
            if self.engine.is_dead() {
                deaths.engine += 1;
                if both {
                    self.start_server(&Death::None);
                    deaths.server += 1;
                }
                self.start_engine(&Death::None);
            }
            if self.server.is_dead() {
                deaths.server += 1;
                self.note_death();
                self.start_server(&Death::None);
            }
            assert!(Instant::now() < until, "stuck: {names:?}\n{}", self.told());
            std::thread::sleep(EVERY);
        }
        deaths
    }

    fn put_away(&self, folder: &str, name: &str) -> Option<String> {
        let ending = format!("-{name}.json");
        self.stage.names(folder).into_iter().find(|file| file.ends_with(&ending))
    }

    fn is_over(&self, name: &str) -> bool {
        let whole = |folder: &str, sidecar: &str| {
            self.put_away(folder, name)
                .is_some_and(|file| self.stage.at(&format!("{folder}/{file}{sidecar}")).is_file())
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

    /// What is wrong with all rounds so far: lost, and doubled.
    pub fn judge(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        let text = fs::read_to_string(self.base().join("server.jsonl")).unwrap_or_default();
        let mut of_prompt = BTreeMap::new();
        let (mut well, mut open) = (BTreeMap::<String, u32>::new(), BTreeMap::<String, String>::new());
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let prompt = line["prompt_id"].as_str().unwrap_or_default().to_owned();
            match line["event"].as_str() {
                Some("accepted") => {
                    let name = line["texts"][0].as_str().unwrap_or_default().to_owned();
                    of_prompt.insert(prompt, name);
                }
                Some("started") => {
                    let name = of_prompt.get(&prompt).cloned().unwrap_or_default();
                    open.insert(prompt, name);
                }
                Some("ended") => {
                    if let Some(name) = open.remove(&prompt)
                        && line["as"] == "execution_success"
                    {
                        *well.entry(name).or_default() += 1;
                    }
                }
                Some("died") => open.clear(),
                _ => {}
            }
        }
        let outputs = self.stage.names("outputs");
        for name in &self.names {
            let renders = well.get(name).copied().unwrap_or_default();
            if renders > 1 {
                wrongs.push(format!("{name} was rendered {renders} times"));
            }
            let own = outputs.iter().filter(|file| **file == format!("{name}.png")).count();
            let more = outputs.iter().filter(|file| file.starts_with(&format!("{name}-"))).count();
            if (own, more) != (1, 0) {
                wrongs.push(format!("{name} has {} outputs", own + more));
            }
            match self.put_away("jobs/done", name) {
                Some(file) => {
                    let sidecar = self.stage.text(&format!("jobs/done/{file}.result.json"));
                    let result: Value = serde_json::from_str(&sidecar).expect("JSON");
                    if result[0]["state"] != "done" {
                        wrongs.push(format!("{name} is not done: {sidecar}"));
                    }
                }
                None => wrongs.push(format!("{name} is not in done/")),
            }
        }
        for folder in ["jobs/queued", "jobs/failed"] {
            let left = self.stage.names(folder);
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

/// A workflow that takes a picture and gives it back. Its text tells whose prompt it is.
fn workflow() -> Value {
    json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "start.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "shot"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 0]}},
        "4": {"class_type": "CLIPLoader", "inputs": {"clip_name": "tiny_clip.safetensors", "type": "stable_diffusion"}},
    })
}

const SLOTS: &str = r#"
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
