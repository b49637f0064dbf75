//! Which folder an inbox is: a share that is not mounted leaves an empty folder, or another one, under the same name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Folder, intake, named};

/// Tells a folder from another that lies under its name later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat([u64; 2]);

impl Folder {
    /// The inbox that a file in its `queued/` belongs to; `None`: not one of this folder's, any more.
    pub fn inbox_of_queued(&self, queued: &Path) -> Option<&Path> {
        let inbox = intake::inbox_of(queued);
        self.inboxes.iter().find(|known| **known == inbox).map(PathBuf::as_path)
    }

    /// Which folder an inbox is now.
    ///
    /// # Errors
    /// When it is not there, or has lost its `queued/`.
    pub fn seat(&self, inbox: &Path) -> io::Result<Seat> {
        let meta = fs::metadata(inbox).map_err(|error| named(inbox, &error))?;
        let queued = inbox.join("queued");
        if !fs::metadata(&queued).map_err(|error| named(&queued, &error))?.is_dir() {
            return Err(named(&queued, &io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(Seat(identity(&meta)))
    }
}

/// Device and inode; where there are none the time of creation.
fn identity(meta: &fs::Metadata) -> [u64; 2] {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        [meta.dev(), meta.ino()]
    }
    #[cfg(not(unix))]
    {
        let created = meta.created().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        created.map_or([0, 0], |since| [since.as_secs(), u64::from(since.subsec_nanos())])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;

    #[test]
    fn another_folder_has_another_seat_and_an_empty_one_has_none() {
        let (dir, folder) = folder();
        let jobs = dir.path().join("jobs");
        let seat = folder.seat(&jobs).expect("there");
        fs::write(jobs.join("queued/000001-a.json"), "{}").expect("written");
        assert_eq!(folder.seat(&jobs).expect("there"), seat, "what lies in it does not matter");
        fs::rename(&jobs, dir.path().join("share")).expect("moved");
        assert_eq!(folder.seat(&jobs).expect_err("away").kind(), io::ErrorKind::NotFound);
        fs::create_dir(&jobs).expect("made");
        assert_eq!(folder.seat(&jobs).expect_err("empty").kind(), io::ErrorKind::NotFound);
        fs::create_dir(jobs.join("queued")).expect("made");
        assert_ne!(folder.seat(&jobs).expect("there"), seat);
        let queued = folder.queued_path(Some(&jobs.join("held/a.json")), 1, "a.json");
        assert_eq!(folder.inbox_of_queued(&queued), Some(jobs.as_path()));
    }
}
