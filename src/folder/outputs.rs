//! Hidden files of our own, and other people's folders: what is ours to remove, and what lies where it says.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Folder, no_replace};
use crate::faults;

impl Folder {
    /// Where discarded outputs lie, in the folder of the outputs.
    pub const DISCARDED: &str = ".discarded";

    /// Removes the hidden files that a crash of this render folder's engine left, and says how many there were.
    /// Parts that an open collection has named stay: `is_open` knows a `prompt_id` whose outputs the store has not
    /// got yet. Call it only while holding the engine's lock, before anything is collected. A folder that cannot be
    /// read is passed over.
    pub fn sweep(&self, is_open: impl Fn(&str) -> bool) -> usize {
        let named = self.recorded_parts(is_open);
        let mark = format!(".{}.", self.mark());
        let ended = self.inboxes.iter().flat_map(|inbox| [inbox.join("done"), inbox.join("failed")]);
        let dirs = [self.outputs.clone(), self.inputs(), self.workflows.clone()].into_iter().chain(ended);
        dirs.filter_map(|dir| fs::read_dir(dir).ok())
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| {
                let name = entry.file_name();
                name.to_str().is_some_and(|name| {
                    name.starts_with(HiddenFile::PREFIX) && name.contains(&mark) && !named.contains(name)
                })
            })
            .filter(|entry| faults::step("folder.sweep", || fs::remove_file(entry.path())).is_ok())
            .count()
    }

    /// Moves an output to `.discarded/` of the outputs, under a name that begins with `mark`, and says where it lies then
    /// (as [`Folder::relative`]). Never over a file; one that a crash left half moved is moved on, and one that is moved
    /// already stays.
    ///
    /// # Errors
    /// When the disk does not let it, or another file has that name.
    pub fn discard(&self, path: &str, mark: &str) -> io::Result<String> {
        let from = self.resolve(path);
        let dir = self.outputs.join(Self::DISCARDED);
        fs::create_dir_all(&dir).map_err(|error| in_the_way(&self.relative(&dir), error))?;
        let name = from.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut own = std::ffi::OsString::from(mark);
        own.push("-");
        own.push(name);
        self.shift(&from, &dir.join(own))
    }

    /// The way back: a file that [`Folder::discard`] has moved gets its old name, if that is free, and the answer says where
    /// it lies then.
    ///
    /// # Errors
    /// As there; and where it is none that was discarded under this mark.
    pub fn bring_back(&self, path: &str, mark: &str) -> io::Result<String> {
        let from = self.resolve(path);
        let name = from.file_name().and_then(|name| name.to_str());
        let own = name.and_then(|name| name.strip_prefix(mark)?.strip_prefix('-'));
        let own = own.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.shift(&from, &self.outputs.join(own))
    }

    /// Moves a file, or what a crash left of that move; where it lies then.
    fn shift(&self, from: &Path, to: &Path) -> io::Result<String> {
        let there = self.relative(to);
        match (from.symlink_metadata().is_ok(), to.symlink_metadata().is_ok()) {
            (false, true) => Ok(there),
            (true, true) if no_replace::is_half_done(from, to)? => no_replace::complete(from, to).map(|()| there),
            _ => faults::step("folder.discard", || no_replace::rename(from, to)).map(|()| there),
        }
        .map_err(|error| in_the_way(&self.relative(to), error))
    }

    /// A hidden file that [`Folder::sweep`] knows as this render folder's own.
    pub(super) fn hidden(&self, dir: &Path, ending: &str) -> HiddenFile {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (count, pid) = (COUNT.fetch_add(1, Ordering::Relaxed), std::process::id());
        // the number keeps apart what machines that share a folder write, should their pids agree
        let random = fastrand::u32(..);
        let name = format!("{}{pid}-{count}-{random:08x}.{}.{ending}", HiddenFile::PREFIX, self.mark());
        HiddenFile { path: dir.join(name), kept: false }
    }

    /// Tells this render folder's hidden files from others' where several share a folder.
    pub(super) fn mark(&self) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let mut hex = format!("{digest:x}");
        hex.truncate(8);
        hex
    }
}

/// Says what lies there, and what to do.
fn in_the_way(there: &str, error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::AlreadyExists {
        return error;
    }
    let words = format!("{there} is in the way: rename it or move it elsewhere, then try again");
    io::Error::new(io::ErrorKind::AlreadyExists, words)
}

/// A file in a folder by names from a server, if it is a plain file there and not somewhere else.
pub(super) fn inside(folder: &Path, subfolder: &str, filename: &str) -> Option<PathBuf> {
    let relative = Path::new(subfolder).join(filename);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let real = folder.join(relative).canonicalize().ok()?;
    (real.starts_with(folder.canonicalize().ok()?) && real.is_file()).then_some(real)
}

/// A hidden file of ours with a name that nobody else uses; removed when dropped, unless it was moved on.
#[derive(Debug)]
pub(super) struct HiddenFile {
    pub(super) path: PathBuf,
    kept: bool,
}

impl HiddenFile {
    pub(super) const PREFIX: &str = ".comfytop-";

    pub(super) fn moved(mut self) {
        self.kept = true;
    }
}

impl Drop for HiddenFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = faults::step("folder.draft.drop", || fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_lies_apart_and_never_over_a_file() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::with(dir.path(), &[], Path::new("outputs"), None).expect("a folder");
        fs::create_dir_all(&folder.outputs).expect("made");
        let path = |name: &str| folder.resolve(name);
        fs::write(path("outputs/a.mp4"), "new").expect("written");
        let there = folder.discard("outputs/a.mp4", "000049-2").expect("moved");
        assert_eq!(there, "outputs/.discarded/000049-2-a.mp4");
        assert!(!path("outputs/a.mp4").exists() && path(&there).is_file());
        // Cut off after the move, and asked again.
        assert_eq!(folder.discard("outputs/a.mp4", "000049-2").expect("moved already"), there);
        // Another file has that name.
        fs::write(path("outputs/a.mp4"), "other").expect("written");
        let kind = folder.discard("outputs/a.mp4", "000049-2").expect_err("in the way").kind();
        assert_eq!(kind, io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(path(&there)).expect("there"), "new");
        assert_eq!(folder.discard("outputs/b.mp4", "000050-1").expect_err("gone").kind(), io::ErrorKind::NotFound);
        // The way back: never over a file, and only to where it came from.
        let kind = folder.bring_back(&there, "000049-2").expect_err("in the way").kind();
        assert_eq!(kind, io::ErrorKind::AlreadyExists);
        fs::remove_file(path("outputs/a.mp4")).expect("removed");
        for _ in 0..2 {
            assert_eq!(folder.bring_back(&there, "000049-2").expect("back, or back already"), "outputs/a.mp4");
        }
        assert_eq!(fs::read_to_string(path("outputs/a.mp4")).expect("there"), "new");
        let kind = folder.bring_back("outputs/.discarded/mine.mp4", "000049-2").expect_err("another's").kind();
        assert_eq!(kind, io::ErrorKind::InvalidInput);
    }
}
