//! Hidden files of our own, and other people's folders: what is ours to remove, and what lies where it says.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Folder;
use crate::faults;

impl Folder {
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
