//! Renaming that never replaces a file.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::faults;

/// Renames, and fails with `AlreadyExists` when the new name is taken.
///
/// In one step where the system can (Linux, macOS). Elsewhere, and on disks that can't, the file first gets its
/// second name and then loses the first; on disks without links the new name is taken with an empty file of our own,
/// and only that one is replaced. A crash between two steps leaves what [`is_half_done`] knows.
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
    match by_link(from, to) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
            by_placeholder(from, to)
        }
        done => done,
    }
}

fn by_link(from: &Path, to: &Path) -> io::Result<()> {
    faults::step("folder.rename.link", || fs::hard_link(from, to))?;
    // with both names it is renamed well enough
    let _ = faults::step("folder.rename.unlink", || fs::remove_file(from));
    Ok(())
}

fn by_placeholder(from: &Path, to: &Path) -> io::Result<()> {
    faults::step("folder.rename.place", || fs::OpenOptions::new().write(true).create_new(true).open(to))?;
    faults::step("folder.rename.over", || fs::rename(from, to)).inspect_err(|_| {
        // ours and empty: nobody misses it
        let _ = faults::step("folder.rename.undo", || fs::remove_file(to));
    })
}

/// Both are there: is `to` what a [`rename`] that was cut off left? Either it is the same, byte for byte, or empty.
/// Ask only of a name that was written down as ours before.
pub(super) fn is_half_done(from: &Path, to: &Path) -> io::Result<bool> {
    let meta = to.symlink_metadata()?;
    if !meta.is_file() || (meta.len() > 0 && meta.len() != from.symlink_metadata()?.len()) {
        return Ok(false);
    }
    Ok(meta.len() == 0 || same_bytes(from, to)?)
}

/// Ends a [`rename`] that [`is_half_done`].
pub(super) fn complete(from: &Path, to: &Path) -> io::Result<()> {
    if to.symlink_metadata()?.len() == 0 {
        faults::step("folder.complete.rename", || fs::rename(from, to))
    } else {
        faults::step("folder.complete.remove", || fs::remove_file(from))
    }
}

fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    let (mut a, mut b) = (BufReader::new(fs::File::open(a)?), BufReader::new(fs::File::open(b)?));
    loop {
        let (x, y) = (a.fill_buf()?, b.fill_buf()?);
        let both = x.len().min(y.len());
        if x.get(..both) != y.get(..both) {
            return Ok(false);
        }
        if both == 0 {
            return Ok(x.is_empty() && y.is_empty());
        }
        a.consume(both);
        b.consume(both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_stays_whichever_way() {
        for rename in [rename, by_link, by_placeholder] {
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

    #[test]
    fn what_a_crash_left_between_two_steps_is_completed() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for (there, is_ours) in [("", true), ("new", true), ("old", false), ("newer", false)] {
            fs::write(&a, "new").expect("written");
            fs::write(&b, there).expect("written");
            assert_eq!(is_half_done(&a, &b).expect("looked at"), is_ours, "{there:?}");
            if is_ours {
                complete(&a, &b).expect("completed");
                assert_eq!(fs::read_to_string(&b).expect("there"), "new");
                assert!(!a.exists());
            }
        }
    }
}
