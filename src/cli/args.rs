//! The words of the command line.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand};

use crate::sim;
use crate::verdict::{Cut, Repair};

/// top for ComfyUI: drop a job file into jobs/, watch it render, see how well it loops.
///
/// Without a verb it opens the dashboard of this render folder and starts its engine where none
/// runs. Closing the dashboard leaves the engine at work.
#[derive(Debug, Parser)]
#[command(
    name = "comfytop",
    version,
    after_help = "Exit codes: 0 well, 1 not, 2 usage or config, 3 timed out, 4 no engine or server."
)]
pub struct Args {
    #[command(flatten)]
    pub place: PlaceArgs,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Which render folder, and which server.
#[derive(Debug, Clone, Group)]
pub struct PlaceArgs {
    /// The render folder [default: the nearest parent with comfytop.toml or .comfytop/, else here]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "ComfyUI's address [default: comfytop.toml, COMFYTOP_SERVER, else http://127.0.0.1:8188]"
    )]
    pub server: Option<String>,
    /// Where store, inputs and cache are kept [default: .comfytop in the render folder]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the jobs
    Ls {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// All about one job
    Show {
        job: u64,
        /// Only the graph, exactly as it was posted
        #[arg(long)]
        graph: bool,
    },
    /// Take job files from anywhere; prints the new numbers
    Add {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Cancel jobs, waiting or rendering
    Cancel {
        #[arg(required = true)]
        jobs: Vec<u64>,
    },
    /// Render ended jobs once more
    Requeue {
        #[arg(required = true)]
        jobs: Vec<u64>,
        /// With a new seed
        #[arg(long)]
        new_seed: bool,
    },
    /// Keep waiting jobs back until they are released
    Hold {
        #[arg(required = true)]
        jobs: Vec<u64>,
    },
    /// Let held jobs go
    Release {
        #[arg(required = true)]
        jobs: Vec<u64>,
    },
    /// Wait until jobs have ended: 0 all done, 1 any not, 3 timed out
    Wait {
        jobs: Vec<u64>,
        /// All jobs (as when none is named)
        #[arg(long, conflicts_with = "jobs")]
        all: bool,
        /// Seconds
        #[arg(long, value_name = "S")]
        timeout: Option<f64>,
    },
    /// How well clips loop: SSIM, seam, verdict, best cut; needs no engine
    Measure {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// SSIM frame by frame, too
        #[arg(long)]
        curves: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write a mended copy of a clip beside it; what its verdict advises where nothing is named. Needs ffmpeg
    Repair(RepairArgs),
    /// Look at one file for the engine, within limits
    #[command(hide = true)]
    Examine { order: String, file: PathBuf },
    /// Engine, servers and memory
    Status {
        #[arg(long)]
        json: bool,
    },
    /// Take back what is pending on the servers and end the engine
    Stop,
    /// Run the engine in the foreground (for systemd)
    Engine {
        /// Leave the terminal's session, log to a file
        #[arg(long, hide = true)]
        detached: bool,
        /// Take and submit nothing
        #[arg(long, hide = true)]
        look_only: bool,
    },
    /// See it work: a simulated ComfyUI, a throw-away render folder, sample jobs
    Demo(DemoArgs),
    /// Serve a simulated ComfyUI
    Sim(SimArgs),
}

#[derive(Debug, Clone, Group)]
pub struct RepairArgs {
    pub file: PathBuf,
    /// Leave the last N frames out
    #[arg(long, value_name = "N", conflicts_with = "way")]
    pub cut_end: Option<u32>,
    /// Leave the first N frames out
    #[arg(long, value_name = "N", conflicts_with = "way")]
    pub cut_start: Option<u32>,
    #[command(flatten)]
    pub way: Way,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Group)]
#[group(id = "way", multiple = false)]
pub struct Way {
    /// Leave the frames out that only repeat the one before
    #[arg(long)]
    pub drop_doubled: bool,
    /// There and back, neither end twice
    #[arg(long)]
    pub boomerang: bool,
    /// Blend the last N frames into the first N
    #[arg(long, value_name = "N")]
    pub crossfade: Option<u32>,
    /// Take a step of light or colour back, a little in each frame
    #[arg(long)]
    pub level: bool,
}

impl RepairArgs {
    /// The repair that is named; none where what the verdict advises is meant.
    pub fn named(&self) -> Option<Repair> {
        if self.cut_end.is_some() || self.cut_start.is_some() {
            let (drop_start, drop_end) = (self.cut_start.unwrap_or(0), self.cut_end.unwrap_or(0));
            return Some(Repair::Cut(Cut { drop_start, drop_end }));
        }
        let Way { drop_doubled, boomerang, crossfade, level } = self.way;
        match (drop_doubled, boomerang, crossfade, level) {
            (true, ..) => Some(Repair::DropDoubled),
            (_, true, ..) => Some(Repair::Boomerang),
            (_, _, Some(frames), _) => Some(Repair::Crossfade(frames)),
            (.., true) => Some(Repair::Level),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Group)]
pub struct DemoArgs {
    /// Without a terminal: run the jobs, print how they ended, exit 0 when all are done
    #[arg(long)]
    pub headless: bool,
    /// How many sample jobs
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub jobs: usize,
    /// How long a render takes
    #[arg(long, value_name = "S")]
    pub render_seconds: Option<f64>,
    /// With --headless: one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The engine and simulator of a demo
    #[arg(long, hide = true, value_name = "FOLDER")]
    pub serve: Option<PathBuf>,
}

#[derive(Debug, Clone, Group)]
pub struct SimArgs {
    #[arg(long, default_value_t = 8188)]
    pub port: u16,
    /// How long a warm render of the Wan workflow takes
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    pub render_seconds: f64,
    /// Which ComfyUI it speaks like: 0.3.64 or 0.33.0
    #[arg(long = "as", default_value = "0.33.0", value_name = "VERSION")]
    pub dialect: String,
    /// Faults to inject (docs/simulator.md)
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Keep uploads and outputs here; in memory where left out
    #[arg(long = "files", value_name = "FOLDER")]
    pub files: Option<PathBuf>,
    /// Write what happened as JSON lines
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

impl DemoArgs {
    pub fn options(&self) -> crate::demo::Options {
        crate::demo::Options { headless: self.headless, jobs: self.jobs, render_seconds: self.render_seconds }
    }
}

impl SimArgs {
    /// The simulator's options, and the port.
    ///
    /// # Errors
    /// In words: an unknown version, or a scenario that can't be read.
    pub fn options(&self) -> Result<(sim::Options, u16), String> {
        let scenario = match &self.scenario {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
                sim::Scenario::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?
            }
            None => sim::Scenario::default(),
        };
        let options = sim::Options {
            dialect: self.dialect.parse().map_err(|e: sim::UnknownDialect| e.to_string())?,
            render_seconds: self.render_seconds,
            scenario,
            dir: self.files.clone(),
            log: self.log.clone(),
            ..sim::Options::default()
        };
        Ok((options, self.port))
    }
}
