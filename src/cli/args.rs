//! The words of the command line.

use std::path::PathBuf;
use std::time::Duration;

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
    /// How the dashboard shows pictures: auto, kitty, iterm2, sixel, blocks or off [default: comfytop.toml]
    #[arg(long, value_name = "HOW")]
    pub pictures: Option<crate::config::PictureMeans>,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Which render folder, and which server.
#[derive(Debug, Clone, Group)]
#[command(next_help_heading = "Of the render folder")]
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
    /// Post graphs without holding them against what the server says of its nodes
    #[arg(long, global = true)]
    pub no_preflight: bool,
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
        /// Its number
        job: u64,
        /// Only the graph, exactly as it was posted
        #[arg(long)]
        graph: bool,
    },
    /// Take job files from anywhere, or what ComfyUI made to render it again; prints the new numbers
    Add {
        /// Job files, workflows, or pictures and clips of ComfyUI's
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Only say what would be submitted, as a difference to the workflow
        #[arg(long)]
        dry_run: bool,
    },
    /// Say all that is wrong with job files, with file, line and column; takes nothing
    Check {
        /// Job files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[arg(
            long,
            value_name = "FILE",
            help = "A saved answer of a server's /object_info to hold them against [default: the server is asked]"
        )]
        object_info: Option<PathBuf>,
    },
    /// Write a commented job file to begin with
    New {
        /// The workflow that it fills [default: the first]
        workflow: Option<String>,
        /// Where to; `-` prints it [default: WORKFLOW.toml here]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    #[command(about = "Print the graph that rendered a PNG, WebP, FLAC, MP4 or WebM of ComfyUI's")]
    Extract {
        /// A picture, clip or sound of ComfyUI's
        file: PathBuf,
        /// The graph of ComfyUI's page instead
        #[arg(long)]
        page: bool,
        #[arg(
            long,
            value_name = "FILE",
            conflicts_with = "page",
            help = "A saved answer of a server's /object_info: converts the page's graph where the file carries no other"
        )]
        object_info: Option<PathBuf>,
    },
    /// Cancel jobs, waiting or rendering
    Cancel {
        /// Their numbers
        #[arg(required = true)]
        jobs: Vec<u64>,
        /// And all others of their groups (sweeps, repetitions)
        #[arg(long)]
        group: bool,
    },
    /// Render ended jobs once more
    Requeue {
        /// Their numbers
        #[arg(required = true)]
        jobs: Vec<u64>,
        /// And all others of their groups (sweeps, repetitions)
        #[arg(long)]
        group: bool,
        /// With a new seed
        #[arg(long)]
        new_seed: bool,
    },
    /// Keep waiting jobs back until they are released
    Hold {
        /// Their numbers
        #[arg(required = true)]
        jobs: Vec<u64>,
        /// And all others of their groups (sweeps, repetitions)
        #[arg(long)]
        group: bool,
    },
    /// Let held jobs go
    Release {
        /// Their numbers
        #[arg(required = true)]
        jobs: Vec<u64>,
        /// And all others of their groups (sweeps, repetitions)
        #[arg(long)]
        group: bool,
    },
    #[command(flatten)]
    Queue(QueueVerb),
    /// Wait until jobs have ended: 0 all done, 1 any not, 3 timed out
    Wait {
        /// Their numbers; all where none is named
        jobs: Vec<u64>,
        /// All jobs (as when none is named)
        #[arg(long, conflicts_with = "jobs")]
        all: bool,
        /// Seconds
        #[arg(long, value_name = "S", value_parser = seconds)]
        timeout: Option<Duration>,
    },
    /// How well clips loop: SSIM, seam, verdict, best cut; needs no engine
    Measure {
        /// Clips, or animated pictures
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// SSIM frame by frame, too
        #[arg(long)]
        curves: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Workflows: which there are, what a job fills in them, graphs of ComfyUI's page made fit to be run
    #[command(subcommand)]
    Workflow(WorkflowVerb),
    /// Write a mended copy of a clip beside it; what its verdict advises where nothing is named. Needs ffmpeg
    Repair(RepairArgs),
    /// Do something to one file for the engine, within limits
    #[command(hide = true)]
    Examine { order: String, file: PathBuf },
    /// Engine, servers and memory
    Status {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Look at the store, the folders, the servers, the disk; say what to do about each
    Doctor {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Delete histories, inputs, cache and log beyond the limits of the config
    Clean {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
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

/// What steers the queue.
#[derive(Debug, Subcommand)]
pub enum QueueVerb {
    /// Send no more work, and take back what waits on the servers; what renders goes on
    Pause {
        /// Only these servers, by name
        servers: Vec<String>,
    },
    /// Go on after a pause or a drain
    Resume {
        /// Only these servers, by name
        servers: Vec<String>,
    },
    /// Send no more work, let end what the servers have, then pause
    Drain {
        /// Only these servers, by name
        servers: Vec<String>,
    },
    /// Move waiting jobs in the queue
    #[command(group(clap::ArgGroup::new("to").required(true).args(["top", "bottom", "before"])))]
    Move {
        /// Their numbers
        #[arg(required = true)]
        jobs: Vec<u64>,
        /// Rendered next
        #[arg(long)]
        top: bool,
        /// Rendered last
        #[arg(long)]
        bottom: bool,
        /// Rendered before this job
        #[arg(long, value_name = "M")]
        before: Option<u64>,
    },
    /// Give waiting jobs a priority: `priority N… P`; the higher goes first
    Priority {
        /// Jobs, and at last the priority
        #[arg(required = true, num_args = 2.., value_name = "N", allow_negative_numbers = true)]
        jobs: Vec<i64>,
    },
    /// Edit a job's text in $EDITOR; one that has ended is rendered again
    Edit {
        /// Its number
        job: u64,
    },
    /// What happened to a job, a line an event
    Log {
        /// Its number
        job: u64,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum WorkflowVerb {
    /// List the workflows
    Ls,
    /// The slots of a workflow, and what each takes
    Show {
        /// As `workflow ls` lists it
        name: String,
    },
    /// Print the .toml that declares the slots that a graph seems to have
    Infer {
        /// A graph, in API format or as the page saves it
        file: PathBuf,
    },
    /// Print a graph that ComfyUI's page saved in the format that a server runs; needs no engine
    Convert {
        /// As the page saves it
        file: PathBuf,
        #[arg(
            long,
            value_name = "FILE",
            help = "A saved answer of a server's /object_info, gzipped or not [default: the server is asked]"
        )]
        object_info: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Group)]
pub struct RepairArgs {
    /// A clip
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
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub render_seconds: Option<Duration>,
    /// With --headless: one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// The engine and simulator of a demo
    #[arg(long, hide = true, value_name = "FOLDER")]
    pub serve: Option<PathBuf>,
}

#[derive(Debug, Clone, Group)]
pub struct SimArgs {
    /// Where it listens, on this machine only
    #[arg(long, default_value_t = 8188)]
    pub port: u16,
    /// How long a warm render of the Wan workflow takes
    #[arg(long, default_value = "20", value_name = "S", value_parser = seconds)]
    pub render_seconds: Duration,
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

impl PlaceArgs {
    /// The flags that name a place, for a verb that has none.
    pub fn given(&self) -> Option<&'static str> {
        let flags =
            [("--dir", self.dir.is_some()), ("--server", self.server.is_some()), ("--state", self.state.is_some())];
        flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

/// Seconds as people write them, fractions too.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "a number of seconds is wanted, from 0 on".to_owned())
}

impl DemoArgs {
    pub fn options(&self) -> crate::demo::Options {
        let render_seconds = self.render_seconds.map(|s| s.as_secs_f64());
        crate::demo::Options { headless: self.headless, jobs: self.jobs, render_seconds }
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
            render_seconds: self.render_seconds.as_secs_f64(),
            scenario,
            dir: self.files.clone(),
            log: self.log.clone(),
            ..sim::Options::default()
        };
        Ok((options, self.port))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::Args;

    fn without_help(command: &Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        found.extend(shown.filter(|arg| arg.get_help().is_none()).map(|arg| format!("{path}: {}", arg.get_id())));
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            without_help(verb, &path, found);
        }
    }

    #[test]
    fn every_argument_says_what_it_is() {
        let mut found = Vec::new();
        without_help(&Args::command(), "", &mut found);
        assert!(found.is_empty(), "{found:#?}");
        Args::command().debug_assert();
    }
}
