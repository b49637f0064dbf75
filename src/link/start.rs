//! Starting an engine that outlives the face which starts it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Address, LinkError, Talk};
use crate::config::SPARING;

/// How long a new engine may take until it listens.
const PATIENCE: Duration = Duration::from_secs(15);

/// What an engine says that finds the folder's lock taken.
pub const SERVED: &str = "is served by another engine already";
/// How often an engine is started that ends so.
const TRIES: u32 = 3;

/// How an engine is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Arguments after the program's name: `engine --detached --dir …`.
    pub args: Vec<OsString>,
    /// Its output goes here.
    pub log: PathBuf,
}

impl Launch {
    /// The same, at this server.
    #[must_use]
    pub fn at_server(&self, server: &str) -> Self {
        let mut args: Vec<OsString> = vec!["--server".into(), server.into()];
        args.extend(self.args.iter().cloned());
        Self { args, log: self.log.clone() }
    }
}

/// Starts an engine in the background and waits until it serves `address`. An engine that another
/// face started meanwhile is as good.
///
/// # Errors
/// What the engine said before it ended, or that it does not listen in time.
pub fn start(address: &Address, launch: &Launch, server: Option<&str>) -> Result<Talk, LinkError> {
    let failed = |e: &dyn std::fmt::Display| LinkError::Start(e.to_string());
    let program = std::env::current_exe().map_err(|e| failed(&e))?;
    if let Some(folder) = launch.log.parent() {
        std::fs::create_dir_all(folder).map_err(|e| failed(&format!("{}: {e}", folder.display())))?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&launch.log)
        .map_err(|e| failed(&format!("{}: {e}", launch.log.display())))?;
    let before = log.metadata().map_or(0, |m| m.len());
    let again = || log.try_clone().and_then(|log| spawn(&program, launch, log)).map_err(|e| failed(&e));
    let mut child = again()?;
    let mut tries = 1;
    let until = Instant::now() + PATIENCE;
    let mut wait = Duration::from_millis(2);
    loop {
        match Talk::open(address, server) {
            Err(LinkError::NoEngine | LinkError::Closed) => {}
            other => return other,
        }
        if let Ok(Some(status)) = child.try_wait() {
            // One that lost the race for the lock ends; the winner may not listen yet.
            if let Ok(talk) = Talk::open(address, server) {
                return Ok(talk);
            }
            let said = last_words(&launch.log, before);
            // Or an engine is just ending, and its lock was not free yet.
            if said.contains(SERVED) && tries < TRIES {
                tries += 1;
                child = again()?;
                continue;
            }
            return Err(LinkError::Start(if said.is_empty() { format!("it ended with {status}") } else { said }));
        }
        if Instant::now() > until {
            return Err(LinkError::Start(format!(
                "it does not listen after {} s; its log is {}",
                PATIENCE.as_secs(),
                launch.log.display()
            )));
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(Duration::from_millis(50));
    }
}

fn spawn(program: &Path, launch: &Launch, log: File) -> std::io::Result<Child> {
    let mut command = Command::new(program);
    command.args(&launch.args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    for (name, value) in SPARING {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        // Out of our process group at once; the engine itself leaves the session (setsid).
        command.process_group(0);
    }
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt as _;
        const DETACHED_PROCESS: u32 = 0x0000_0008;
        const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
        command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP);
    }
    command.spawn()
}

/// What an engine that ended said since `before`.
fn last_words(log: &Path, before: u64) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let new = text.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
    let text = crate::text::clean_lines(&String::from_utf8_lossy(new));
    // What it said to its caller; the log's own lines say the same with more.
    let mut words = text.lines().rev().filter_map(|line| line.strip_prefix("comfytop: "));
    words.next().or_else(|| text.lines().last()).unwrap_or_default().to_owned()
}
