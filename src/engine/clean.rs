//! Cleaning: what the limits of the config no longer keep is deleted. And a look at the disk.
//!
//! Never an output, never a job, never what an unfinished job needs.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use super::Driver;
use super::core::Input;
use crate::config::{Config, KeepConfig};
use crate::faults;
use crate::folder::{CONFIG, disk_free};
use crate::job::{Job, JobId};
use crate::text::size_words;

impl Driver {
    /// Tells the core how much room the disk has.
    pub(super) fn look_at_disk(&mut self) {
        let places = [&self.folder.outputs, &self.folder.state];
        // Where the outputs' folder is not there yet, or nothing can be known, nothing is said.
        let free = places.into_iter().filter_map(|path| disk_free(path).ok().flatten()).min();
        if let Some(free) = free {
            self.step(Input::Disk { free });
        }
        self.finish_what_waits();
    }

    /// A line for each thing that was cleaned, or would be.
    pub(super) fn clean(&mut self, pretend: bool) -> Result<Vec<String>, String> {
        let keep = self.keep_now()?;
        let trouble = |e: crate::store::StoreError| e.to_string();
        let mut lines = Vec::new();

        let oldest = Timestamp::now().checked_sub(SignedDuration::from_hours(24 * i64::from(keep.days)));
        let oldest = oldest.unwrap_or(Timestamp::MIN);
        let is_old =
            |j: &&Job| j.state.is_ended() && j.attempt().and_then(|a| a.ended_at).unwrap_or(j.queued_at) < oldest;
        let old: Vec<JobId> = self.state.jobs().filter(is_old).map(|j| j.id).collect();
        let (events, graphs) = self.store.forget_before(&old, pretend).map_err(trouble)?;
        if events + graphs > 0 {
            lines.push(format!(
                "store: {events} lines of history and {graphs} posted graphs of jobs that ended more than {} days ago",
                keep.days
            ));
            if !pretend {
                self.store.shrink().map_err(trouble)?;
            }
        }

        let open: Vec<JobId> = self.state.jobs().filter(|j| !j.state.is_ended()).map(|j| j.id).collect();
        let needed: HashSet<PathBuf> = self.store.inputs_of(open.into_iter()).map_err(trouble)?.into_iter().collect();
        lines.extend(trim("inputs", &self.folder.inputs(), keep.inputs, |path| needed.contains(path), pretend));
        lines.extend(trim("cache", &self.folder.cache(), keep.cache, |_| false, pretend));
        let log = self.folder.state.join("engine.log");
        let (new, old) = (size(&log), size(&log.with_extension("log.1")));
        if old > 0 && new + old > keep.log {
            lines.push(format!("log: {} of the older part", size_words(old)));
            if !pretend {
                let _ = faults::step("clean.log", || fs::remove_file(log.with_extension("log.1")));
            }
        }
        if new > keep.log {
            lines.push(format!("log: the first {} of the one that is written", size_words(new - keep.log)));
            if !pretend {
                cut_head(&log, keep.log).map_err(|e| format!("the log can't be shortened: {e}"))?;
            }
        }
        Ok(lines)
    }

    /// The limits as comfytop.toml has them now: who has just changed them means those.
    fn keep_now(&self) -> Result<KeepConfig, String> {
        let path = self.folder.root.join(CONFIG);
        match fs::read_to_string(&path) {
            Ok(text) => {
                Config::parse(&text, CONFIG).map(|config| config.keep).map_err(|e| format!("{e}; nothing is cleaned"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KeepConfig::default()),
            Err(error) => Err(format!("{CONFIG} can't be read: {error}; nothing is cleaned")),
        }
    }
}

/// Leaves the last lines of a file that is appended to meanwhile, no more than `most` bytes.
fn cut_head(path: &Path, most: u64) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().read(true).append(true).open(path)?;
    let from = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let start = tail.iter().position(|byte| *byte == b'\n').map_or(tail.len(), |end| end + 1);
    faults::step("clean.log.cut", || file.set_len(0))?;
    faults::step("clean.log.tail", || file.write_all(tail.get(start..).unwrap_or_default()))
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |m| m.len())
}

/// Deletes the oldest files of a folder of ours until it holds no more than `most` bytes.
pub(super) fn trim(
    what: &str,
    folder: &Path,
    most: u64,
    is_needed: impl Fn(&Path) -> bool,
    pretend: bool,
) -> Option<String> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            // Not through links: what they lead to is not ours.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Ok(meta) = entry.metadata()
            {
                files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), entry.path()));
            }
        }
    }
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    files.retain(|(_, _, path)| !is_needed(path));
    files.sort();
    let (mut count, mut freed) = (0, 0);
    for (_, bytes, path) in files {
        if total <= most {
            break;
        }
        if pretend || faults::step("clean.file", || fs::remove_file(&path)).is_ok() {
            total -= bytes;
            freed += bytes;
            count += 1;
        }
    }
    (count > 0).then(|| format!("{what}: {count} files, {}", size_words(freed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_what_is_needed_stays() {
        let dir = tempfile::tempdir().unwrap();
        for (age, name) in [(3, "a"), (2, "b"), (1, "c")] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let at = SystemTime::now() - std::time::Duration::from_secs(age * 1000);
            fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        }
        let needed = dir.path().join("a");
        let needed = |path: &Path| path == needed;
        assert_eq!(trim("inputs", dir.path(), 20, needed, true).unwrap(), "inputs: 1 files, 10 B");
        assert!(dir.path().join("b").exists(), "nothing is deleted in pretence");
        trim("inputs", dir.path(), 20, needed, false).unwrap();
        let there = |name: &str| dir.path().join(name).exists();
        assert!(there("a") && !there("b") && there("c"));
        assert_eq!(trim("inputs", dir.path(), 20, needed, false), None);
    }
}
