//! Renaming that never replaces a file.

use std::fs;
use std::io;
use std::path::Path;

/// Renames, and fails with `AlreadyExists` when the new name is taken.
///
/// In one step where the system can (Linux, macOS). Elsewhere, and on disks that can't, the new name is first
/// taken with an empty file of our own, and only that one is replaced.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    by_placeholder(from, to)
}

fn by_placeholder(from: &Path, to: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).open(to)?;
    fs::rename(from, to).inspect_err(|_| {
        // ours and empty: nobody misses it
        let _ = fs::remove_file(to);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_stays_whichever_way() {
        for rename in [rename, by_placeholder] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let (a, b) = (dir.path().join("a"), dir.path().join("b"));
            fs::write(&a, "new").expect("written");
            fs::write(&b, "old").expect("written");
            assert_eq!(rename(&a, &b).expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read_to_string(&b).expect("there"), "old");
            fs::remove_file(&b).expect("removed");
            rename(&a, &b).expect("renamed");
            assert_eq!(fs::read_to_string(&b).expect("there"), "new");
            assert_eq!(rename(&a, &dir.path().join("c")).expect_err("gone").kind(), io::ErrorKind::NotFound);
            assert!(!dir.path().join("c").exists(), "no empty file is left");
        }
    }
}
