//! The engine's log: a file that never grows past two times its limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// When the log is this long, bytes, it becomes `engine.log.1` and a new one begins.
const LIMIT: u64 = 4 << 20;

struct Rotating {
    path: PathBuf,
    file: File,
    written: u64,
}

impl Write for Rotating {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.written > LIMIT {
            // Where it can't be rotated it goes on growing: better than losing what is said.
            if std::fs::rename(&self.path, self.path.with_extension("log.1")).is_ok() {
                self.file = open(&self.path)?;
            }
            self.written = 0;
        }
        let n = self.file.write(line)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Logs to `path`, which is rotated.
///
/// # Errors
/// When the file can't be opened.
pub fn to_file(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = open(path)?;
    let written = file.metadata()?.len();
    let writer = Mutex::new(Rotating { path: path.to_owned(), file, written });
    let log = tracing_subscriber::fmt().with_ansi(false).with_target(false).with_writer(writer).finish();
    // Only the first of a process counts; there is but one.
    let _ = tracing::subscriber::set_global_default(log);
    Ok(())
}

/// Logs to standard error, for an engine in the foreground.
pub fn to_stderr() {
    let log = tracing_subscriber::fmt().with_target(false).with_writer(io::stderr).finish();
    let _ = tracing::subscriber::set_global_default(log);
}
