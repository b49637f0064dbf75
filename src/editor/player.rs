//! The system's own player, on a file of ours.
//!
//! It is started apart from the terminal, and nobody waits for it but to hear that it could not begin.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum PlayerError {
    #[error("no display here{}: {path}", if *.remote { " (over SSH)" } else { "" })]
    NoDisplay { path: String, remote: bool },
    #[error("{path} is not there any more")]
    Gone { path: String },
    #[error("`{program}` can't be run ({source}): {path}")]
    Run { program: &'static str, path: String, source: std::io::Error },
    #[error("`{program}` found no player for it: {path}")]
    Failed { program: &'static str, path: String },
}

/// What opens files on this system.
const OPENER: &str = if cfg!(windows) {
    "explorer"
} else if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// An opener that fails does so by then.
const BEGINS: Duration = Duration::from_secs(4);

/// What is known of where we run.
#[derive(Debug, Clone, Copy)]
struct Around {
    remote: bool,
    display: bool,
}

impl Around {
    fn here() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let remote = is_set("SSH_CONNECTION") || is_set("SSH_TTY");
        // Elsewhere a session has a display, unless it is a remote one.
        let named = is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
        Self { remote, display: if cfg!(any(windows, target_os = "macos")) { !remote } else { named } }
    }
}

/// Opens a file. Blocks for some seconds where the opener takes that long.
///
/// # Errors
/// No display, no file, no opener, or none that knows what to do; the words have the path in them.
pub fn open(path: &str) -> Result<(), PlayerError> {
    open_with(path, OPENER, Around::here())
}

fn open_with(path: &str, program: &'static str, around: Around) -> Result<(), PlayerError> {
    let path_words = || crate::text::clean(path).into_owned();
    if !Path::new(path).is_file() {
        return Err(PlayerError::Gone { path: path_words() });
    }
    if !around.display {
        return Err(PlayerError::NoDisplay { path: path_words(), remote: around.remote });
    }
    let mut command = Command::new(program);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        // A Ctrl-C in the terminal is not the player's, and a player outlives the dashboard.
        command.process_group(0);
    }
    let failed = |source| PlayerError::Run { program, path: path_words(), source };
    let mut child = command.spawn().map_err(failed)?;
    let until = Instant::now() + BEGINS;
    while Instant::now() < until {
        match child.try_wait().map_err(failed)? {
            // Windows' explorer ends with 1 when all is well.
            Some(status) if status.success() || cfg!(windows) => return Ok(()),
            Some(_) => return Err(PlayerError::Failed { program, path: path_words() }),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    // It is the player itself, and plays. Somebody must hear its end.
    std::thread::spawn(move || child.wait());
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_opened_is_said_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clip.mp4");
        std::fs::write(&path, "x").unwrap();
        let path = path.to_str().unwrap();
        let words = |program, remote, display| {
            open_with(path, program, Around { remote, display }).map_err(|error| error.to_string())
        };
        assert_eq!(words("true", false, true), Ok(()));
        assert_eq!(words("true", true, false), Err(format!("no display here (over SSH): {path}")));
        assert_eq!(words("true", false, false), Err(format!("no display here: {path}")));
        assert_eq!(words("false", false, true), Err(format!("`false` found no player for it: {path}")));
        assert!(words("no-such-opener", false, true).unwrap_err().contains("can't be run"));
        let gone = open_with("/no/such.mp4", "true", Around { remote: false, display: true });
        assert_eq!(gone.unwrap_err().to_string(), "/no/such.mp4 is not there any more");
    }
}
