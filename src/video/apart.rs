//! Looking at a file in a process of its own, which may crash, hang or want too much memory without harm.
//!
//! Both ends are here: [`examine`], [`last_frame`], [`mend`] and [`draw`] start a child of this same program and wait for
//! its line, [`answer`] is what that child does. The child sets its own limits before it opens anything,
//! and ends when whoever started it is gone. It writes no file but the mended copy or the pictures that it is asked for.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::repair::Copy;
use super::{LastFrame, Limits, VideoError};
use crate::config::SPARING;
use crate::protocol::{Album, Pictures};
use crate::verdict::{Curves, Measurement, Repair, Thresholds};

/// The hidden verb that a child is started with; behind it stand the order as JSON and the file.
pub const VERB: &str = "examine";

/// What the child adds to the time for looking: its start, and ffmpeg's end.
const GRACE: Duration = Duration::from_secs(10);
/// The child's answer is never this long: 400,000 frames have two numbers each, a picture of the largest size 28 MB.
const ANSWER_BYTES: u64 = 40 << 20;

/// What a child is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// How long it may take.
    pub seconds: u64,
    pub errand: Errand,
}

/// What it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    /// Look at the whole of it, and judge it by these.
    Look(Thresholds),
    LastFrame,
    Mend(Mend),
    /// Make pictures, and put them into this folder.
    Draw {
        what: Pictures,
        into: PathBuf,
    },
}

/// How a copy is mended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mend {
    pub how: Repair,
    /// What was measured of the clip.
    pub known: Measurement,
    /// One that was made before, and not heard of, will do.
    pub again: bool,
}

/// The line that a child writes who looks.
type Answer = Result<(Measurement, Curves), String>;

/// This very program, to be started anew; none where the system does not tell.
#[must_use]
pub fn this_program() -> Option<PathBuf> {
    // The file may have been replaced by a newer one, or be gone; this name stands for what runs.
    let own = Path::new("/proc/self/exe");
    if cfg!(target_os = "linux") && own.exists() { Some(own.to_owned()) } else { std::env::current_exe().ok() }
}

/// Looks at a file by way of a child of `program`, which is comfytop.
///
/// # Errors
/// Words: what the child says of the file, or what became of the child.
pub fn examine(program: &Path, path: &Path, time: Duration, thresholds: &Thresholds) -> Answer {
    Ok(send(program, path, time, Errand::Look(*thresholds), "the measurement")?.0)
}

/// Takes the last frame of a file by way of a child of `program`, which is comfytop.
///
/// # Errors
/// As [`examine`].
pub fn last_frame(program: &Path, path: &Path, time: Duration) -> Result<LastFrame, String> {
    let (frames, png) = send(program, path, time, Errand::LastFrame, "the decoding")?;
    Ok(LastFrame { frames, png })
}

/// Makes a mended copy by way of such a child.
///
/// # Errors
/// Words: why there is none, or what became of the child.
pub fn mend(program: &Path, path: &Path, time: Duration, mend: Mend) -> Result<Copy, String> {
    Ok(send(program, path, time, Errand::Mend(mend), "the repair")?.0)
}

/// Makes pictures of a file by way of such a child.
///
/// # Errors
/// Words: what the child says of the file, or what became of the child.
pub fn draw(program: &Path, path: &Path, what: Pictures, into: &Path, time: Duration) -> Result<Album, String> {
    Ok(send(program, path, time, Errand::Draw { what, into: into.to_owned() }, "the drawing")?.0)
}

/// Sends a child on an errand; `work` is what words call it.
fn send<T: DeserializeOwned>(
    program: &Path,
    path: &Path,
    time: Duration,
    errand: Errand,
    work: &str,
) -> Result<(T, Vec<u8>), String> {
    let order = Order { seconds: time.as_secs().max(1), errand };
    let order = serde_json::to_string(&order).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg(VERB).arg(order).arg("--").arg(path);
    ask(command, time + GRACE, work)
}

/// Runs a child and reads its line, and the bytes behind it; `work` is what words call it.
fn ask<T: DeserializeOwned>(mut command: Command, time: Duration, work: &str) -> Result<(T, Vec<u8>), String> {
    let deadline = Instant::now() + time;
    // Its standard input tells it that we are there; when we are gone it closes.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (name, value) in SPARING {
        if std::env::var_os(name).is_some_and(|set| set == value) {
            command.env_remove(name);
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt;
        // With its ffmpeg it can be ended at one stroke.
        command.process_group(0);
    }
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        command.creation_flags(CREATE_NO_WINDOW);
    }
    let child = command.spawn().map_err(|error| format!("{work} can't be started: {error}"))?;
    let mut child = Guarded(child);
    let Some(stdout) = child.0.stdout.take() else { return Err(format!("{work} has no output")) };
    let (send, line) = mpsc::channel();
    thread::spawn(move || {
        let mut line = Vec::new();
        let read = stdout.take(ANSWER_BYTES).read_to_end(&mut line);
        // Nobody receives it any more after a time-out.
        let _ = send.send(read.map(|_| line));
    });
    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    let timed_out = || format!("{work} hung and was ended after {} s", time.as_secs());
    let line = line.recv_timeout(left(deadline)).map_err(|_| timed_out())?;
    let status = loop {
        match child.0.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if left(deadline).is_zero() => return Err(timed_out()),
            Ok(None) => thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(format!("{work} can't be waited for: {error}")),
        }
    };
    let mut line = line.map_err(|error| format!("{work} can't be heard: {error}"))?;
    let end = line.iter().position(|byte| *byte == b'\n').map_or(line.len(), |at| at + 1);
    let rest = line.split_off(end);
    let told: Result<Result<T, String>, _> = serde_json::from_slice(&line);
    told.unwrap_or_else(|_| Err(format!("{work} crashed ({})", ending(status)))).map(|told| (told, rest))
}

fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return format!("signal {signal}");
        }
    }
    status.code().map_or_else(|| "without a code".to_owned(), |code| format!("code {code}"))
}

/// Ended and reaped when it goes out of scope, whatever happened.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // All fail only where it has ended already.
        #[cfg(unix)]
        if matches!(self.0.try_wait(), Ok(None))
            && let Some(group) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the child does: sets its limits, looks, writes its line.
///
/// # Errors
/// Of `out`.
pub fn answer(order: &Order, path: &Path, out: &mut dyn Write) -> std::io::Result<()> {
    end_with_the_parent();
    let time = Duration::from_secs(order.seconds);
    confine(time, matches!(order.errand, Errand::Mend(_)));
    let limits = Limits { time, ..Limits::default() };
    let words = |error: VideoError| error.to_string();
    match &order.errand {
        Errand::Look(thresholds) => {
            let seen = super::examine(path, &limits, thresholds);
            tell(&seen.map(|(known, curves)| (known, curves.shortened())).map_err(words), out)
        }
        Errand::LastFrame => {
            let last = super::last_frame(path, &limits).map_err(words);
            tell(&last.as_ref().map(|last| last.frames), out)?;
            out.write_all(last.as_ref().map_or(&[][..], |last| last.png.as_slice()))?;
            out.flush()
        }
        Errand::Mend(Mend { how, known, again }) => tell(
            &super::repair::repair_again(path, *how, known, &limits, *again).map_err(|error| error.to_string()),
            out,
        ),
        Errand::Draw { what, into } => tell(&super::stills::make(path, *what, into, &limits).map_err(words), out),
    }
}

fn tell(answer: &impl Serialize, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    writeln!(out)?;
    out.flush()
}

/// Ends this process when its standard input closes.
fn end_with_the_parent() {
    thread::spawn(|| {
        let mut rest = [0; 64];
        let mut stdin = std::io::stdin().lock();
        while matches!(stdin.read(&mut rest), Ok(1..)) {}
        std::process::exit(1);
    });
}

/// Memory that this process may take, and an ffmpeg that only decodes.
#[cfg(unix)]
const MEMORY: u64 = 256 << 20;
/// Memory that an ffmpeg may take that encodes, too.
#[cfg(unix)]
const ENCODING: u64 = 1 << 30;

/// Limits that hold whatever a decoder does. Fails only where stricter ones are set already, which then hold.
#[cfg(unix)]
fn confine(time: Duration, encodes: bool) {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = |what, soft: u64, hard: u64| {
        let _ = setrlimit(what, Rlimit { current: Some(soft), maximum: Some(hard) });
    };
    // Two threads, at most, work all the time.
    let seconds = 2 * time.as_secs() + 5;
    limit(Resource::Cpu, seconds, seconds + 5);
    limit(Resource::Core, 0, 0);
    limit(Resource::Data, MEMORY, if encodes { ENCODING } else { MEMORY });
}

/// There are no such limits: a child that hangs is ended all the same.
#[cfg(not(unix))]
fn confine(_: Duration, _: bool) {}

/// Starts ffmpeg, which may take more memory than a confined process where it encodes.
pub(super) fn unconfined<T>(start: impl FnOnce() -> T) -> T {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let own = getrlimit(Resource::Data);
        if own.current == Some(MEMORY) {
            let _ = setrlimit(Resource::Data, Rlimit { current: own.maximum, ..own });
            let started = start();
            let _ = setrlimit(Resource::Data, own);
            return started;
        }
    }
    start()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn asked(script: &str, time: Duration) -> Answer {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        ask(command, time, "the measurement").map(|(known, _)| known)
    }

    #[test]
    fn a_child_that_crashes_or_talks_nonsense_is_told_in_words() {
        let long = Duration::from_mins(1);
        assert_eq!(asked("kill -SEGV $$", long).unwrap_err(), "the measurement crashed (signal 11)");
        assert_eq!(asked("echo hello; exit 3", long).unwrap_err(), "the measurement crashed (code 3)");
        assert_eq!(asked(r#"echo '{"Err":"the file is empty"}'"#, long).unwrap_err(), "the file is empty");
    }

    #[test]
    fn a_child_that_hangs_is_ended() {
        let words = "the measurement hung and was ended after 0 s";
        assert_eq!(asked("exec sleep 600", Duration::from_millis(200)).unwrap_err(), words);
        assert_eq!(asked("exec >&-; exec sleep 600", Duration::from_millis(200)).unwrap_err(), words);
        let missing: Result<((), _), _> =
            ask(Command::new("no-such-folder/no-such-program"), Duration::from_secs(5), "the measurement");
        assert!(missing.unwrap_err().starts_with("the measurement can't be started"));
    }
}
