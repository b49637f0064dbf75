//! Telling one state of a file from another without reading it.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{Folder, named};

/// Two readings with the same stamp read the same bytes, if the stamp [`Stamp::is_sharp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub bytes: u64,
    modified: Option<SystemTime>,
    identity: [i64; 4],
}

impl Stamp {
    /// # Errors
    /// `NotFound` when it is not there; `InvalidInput` for anything but a plain file.
    pub fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path).map_err(|error| named(path, &error))?;
        if !meta.is_file() {
            return Err(named(path, &io::Error::new(io::ErrorKind::InvalidInput, "not a file")));
        }
        Ok(Self { bytes: meta.len(), modified: meta.modified().ok(), identity: identity(&meta) })
    }

    /// A change from now on would give another stamp: the last one is longer ago than the disk's clock ticks.
    /// (Git's index has the same trouble: "racy git".)
    pub fn is_sharp(&self, now: SystemTime) -> bool {
        let Some(modified) = self.modified else { return false };
        let nanos = modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        // whole seconds: a disk that knows no less (FAT counts in twos); else at most a tick of the kernel
        let tick = if nanos == 0 { Duration::from_secs(3) } else { Duration::from_millis(50) };
        now.duration_since(modified).is_ok_and(|age| age > tick)
    }
}

/// Device, inode and time of the last change of either; where there are none the time of creation.
fn identity(meta: &Metadata) -> [i64; 4] {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        [meta.dev().cast_signed(), meta.ino().cast_signed(), meta.ctime(), meta.ctime_nsec()]
    }
    #[cfg(not(unix))]
    {
        let created = meta.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let part = |part: u64| i64::try_from(part).unwrap_or(i64::MAX);
        [0, 0, created.map_or(0, |c| part(c.as_secs())), created.map_or(0, |c| i64::from(c.subsec_nanos()))]
    }
}

impl Folder {
    /// The stamps of a workflow's graph and slots; `None`: no such graph.
    pub fn workflow_stamps(&self, name: &str) -> Option<(Stamp, Option<Stamp>)> {
        let name = name.strip_suffix(".json").unwrap_or(name);
        if !super::workflows::is_plain(name) {
            return None;
        }
        let at = |ending: &str| Stamp::of(&self.workflows.join(format!("{name}{ending}"))).ok();
        Some((at(".json")?, at(".toml")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_state_has_another_stamp_and_a_fresh_one_is_not_trusted() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a");
        fs::write(&path, "one").expect("written");
        let (one, now) = (Stamp::of(&path).expect("there"), SystemTime::now());
        assert_eq!(Stamp::of(&path).expect("there"), one);
        assert!(!one.is_sharp(one.modified.expect("a time")));
        assert!(one.is_sharp(now + Duration::from_secs(10)));
        fs::write(dir.path().join("b"), "two").expect("written");
        fs::rename(dir.path().join("b"), &path).expect("replaced");
        assert_ne!(Stamp::of(&path).expect("there"), one);
        assert_eq!(Stamp::of(dir.path()).expect_err("a folder").kind(), io::ErrorKind::InvalidInput);
    }
}
