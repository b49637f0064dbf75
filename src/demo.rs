//! `comfytop demo`: everything real but the server.
//!
//! A throw-away render folder, a simulated ComfyUI and the engine in one process of their own; the
//! dashboard is a client of it as always. That process ends when its last face has gone, however
//! that went, and removes the folder; folders that a power cut left behind are swept by the next
//! demo.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{Config, ServerConfig};
use crate::engine::{self, EngineError};
use crate::folder::Folder;
use crate::link::{self, Address, Launch, LinkError, Talk};
use crate::protocol::{Answer, JobRow, Request};
use crate::sim;

/// Names of the throw-away folders begin so.
const PREFIX: &str = "comfytop-demo-";
/// Held by the demo that made the folder, until it ends.
const LOCK: &str = "demo.lock";
/// How long a render takes where nobody says, seconds: to watch, and to get through.
const WATCHED: f64 = 12.0;
const HEADLESS: f64 = 1.0;
/// A headless demo gives up after this long, and what its jobs should take.
const PATIENCE: Duration = Duration::from_mins(10);

/// What the sample jobs are called and what they show (the seed picks the clip).
const SAMPLES: &[(&str, &str)] = &[
    ("reading_loop", "anime style, turning a page of a book, soft light, returning to the first pose"),
    ("swing_short", "anime style, swinging in place, returning to the first pose"),
    ("海辺の散歩", "walking along the shore, waves, gentle wind"),
    ("cat_breathing", "a sleeping cat, breathing slowly, whiskers moving"),
    ("turntable_a", "a ceramic vase on a turntable, studio light, full turn"),
    ("lantern", "a paper lantern swaying in the dark, warm flicker"),
    ("rain_window", "rain running down a window, city lights behind"),
    ("windmill", "a windmill on a hill, sails turning evenly, clouds"),
];

/// One of them is rendered until it loops. Which clips its seeds give is the simulator's to say, and how they loop the
/// judge's: the first pans away, the second brightens.
const TRIED: &str = "swing_short";
const TRIED_SEEDS: [u64; 3] = [121, 127, 122];

const START_IMAGE: &[u8] = include_bytes!("../jobs/examples/reading_start.png");

/// How a demo is run.
#[derive(Debug, Clone)]
pub struct Options {
    pub headless: bool,
    pub jobs: usize,
    pub render_seconds: Option<f64>,
}

impl Options {
    fn seconds(&self) -> f64 {
        self.render_seconds.unwrap_or(if self.headless { HEADLESS } else { WATCHED }).max(0.0)
    }
}

/// A demo's folder, ours while this is kept.
pub struct Stage {
    root: PathBuf,
    _lock: File,
}

impl Stage {
    /// Sweeps what earlier demos left, and makes a new folder.
    ///
    /// # Errors
    /// In words, when the temporary directory can't be written.
    pub fn set() -> Result<Self, String> {
        let temp = std::env::temp_dir();
        sweep(&temp);
        let root = temp.join(format!("{PREFIX}{:08x}", fastrand::u32(..)));
        let failed = |e: std::io::Error| format!("{}: {e}", root.display());
        make_own(&root).map_err(failed)?;
        let lock = File::create(root.join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        Ok(Self { root, _lock: lock })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How the process with simulator and engine is started.
    pub fn launch(&self, options: &Options) -> Launch {
        let args = vec![
            "demo".into(),
            "--serve".into(),
            self.root.clone().into(),
            "--jobs".into(),
            options.jobs.to_string().into(),
            "--render-seconds".into(),
            options.seconds().to_string().into(),
        ];
        Launch { args, log: self.root.join("demo.log") }
    }
}

fn make_own(root: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(root)
}

/// Removes folders of demos that are over: nobody holds their locks.
fn sweep(temp: &Path) {
    let Ok(entries) = std::fs::read_dir(temp) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let path = entry.path();
        let old = entry
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > Duration::from_secs(10)));
        if !name.to_string_lossy().starts_with(PREFIX) || !old || path.is_symlink() {
            continue;
        }
        let free = |lock: &Path| match OpenOptions::new().write(true).open(lock) {
            Ok(file) => file.try_lock().is_ok(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if free(&path.join(LOCK)) && free(&path.join(".comfytop/engine.lock")) {
            remove(&path);
        }
    }
}

/// Removes a demo's folder, and the lock beside its socket: nobody comes back to it.
fn remove(root: &Path) {
    let address = Address::of(root);
    let _ = std::fs::remove_dir_all(root);
    if let Ok(address) = address {
        engine::remove_lock(&address);
    }
}

/// The other process: simulator and engine, until the last face has gone.
///
/// # Errors
/// When either can't start.
pub async fn serve(root: &Path, jobs: usize, render_seconds: f64) -> Result<(), EngineError> {
    let failed = |source| EngineError::Socket { path: root.to_owned(), source };
    let options = sim::Options { render_seconds, ..sim::Options::default() };
    let (address, simulator) = sim::spawn(options).await.map_err(failed)?;
    let config = Config {
        servers: vec![ServerConfig {
            name: Some("simulated".to_owned()),
            ..ServerConfig::at(&format!("http://{address}"))
        }],
        ..Config::default()
    };
    let folder = Folder::with(root, &[], &config.outputs.path, None).map_err(failed)?;
    folder.create().map_err(failed)?;
    // A store is there where the process before this one died: it has taken the samples already.
    if !folder.state.join("store.db").exists() {
        drop_samples(&root.join("jobs"), jobs).map_err(failed)?;
    }
    let result = engine::run(engine::Options {
        root: root.to_owned(),
        state: None,
        config,
        look_only: false,
        server: None,
        simulated: true,
        ends_with_faces: true,
        program: crate::video::apart::this_program(),
        log: root.join("demo.log").display().to_string(),
    })
    .await;
    simulator.abort();
    remove(root);
    result
}

/// What a person would drop: a start image, and a job file each.
fn drop_samples(jobs: &Path, count: usize) -> std::io::Result<()> {
    std::fs::write(jobs.join("start.png"), START_IMAGE)?;
    for (index, (name, prompt)) in SAMPLES.iter().cycle().take(count).enumerate() {
        let round = index / SAMPLES.len();
        let is_tried = *name == TRIED;
        let name = if round == 0 { (*name).to_owned() } else { format!("{name}_{}", round + 1) };
        let mut job = serde_json::json!({
            "workflow": "wan2.2-i2v-loop",
            "name": name,
            "image": "start.png",
            "prompt": prompt,
        });
        if is_tried {
            job["until"] = serde_json::json!({ "verdict": "loops", "vary": { "seed": TRIED_SEEDS } });
        } else {
            job["seed"] = (120 + index).into();
        }
        // Written beside and renamed in, as careful scripts do.
        let part = jobs.join(format!(".{index}.part"));
        std::fs::write(&part, format!("{job:#}\n"))?;
        std::fs::rename(part, jobs.join(format!("{:02}_{name}.json", index + 1)))?;
    }
    Ok(())
}

/// `demo --headless`: runs the jobs; gives their rows as they ended.
///
/// # Errors
/// In words.
pub fn headless(options: &Options) -> Result<Vec<JobRow>, String> {
    let stage = Stage::set()?;
    let address = Address::of(stage.root()).map_err(|e| e.to_string())?;
    let mut talk = link::start(&address, &stage.launch(options), None).map_err(|e| e.to_string())?;
    let rows = run_jobs(&mut talk, options)?;
    // Leaving is what ends the other process; its folder goes with it.
    let root = stage.root().to_owned();
    drop(talk);
    let until = Instant::now() + Duration::from_secs(5);
    while root.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(rows)
}

fn run_jobs(talk: &mut Talk, options: &Options) -> Result<Vec<JobRow>, String> {
    let expected = options.seconds() * u32::try_from(options.jobs).map_or(f64::MAX, f64::from);
    // A cold run takes twice a warm one, and there is more to a job than rendering.
    let patience = PATIENCE.saturating_add(Duration::try_from_secs_f64(4.0 * expected).unwrap_or(Duration::MAX));
    let began = Instant::now();
    loop {
        let rows = match talk.ask(Request::List) {
            Ok(Answer::List(rows)) => rows,
            Ok(_) => return Err(LinkError::Closed.to_string()),
            Err(error) => return Err(error.to_string()),
        };
        let ended = rows.iter().filter(|r| r.state.is_ended()).count();
        if rows.len() >= options.jobs && ended == rows.len() {
            return Ok(rows);
        }
        if began.elapsed() > patience {
            let minutes = patience.as_secs() / 60;
            return Err(format!(
                "the demo gives up after {minutes} minutes: {ended} of {} jobs have ended",
                options.jobs
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
