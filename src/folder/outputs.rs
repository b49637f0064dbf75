//! Collecting renders: a hidden part first, then a name of its own, never over a file that is there.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Folder, name, named, no_replace};

/// So many files of one name, and then something is wrong.
const MAX_OF_ONE_NAME: u32 = 100_000;

/// An output on its way in. Dropped unpublished it leaves nothing.
#[derive(Debug)]
pub struct Reserved {
    part: HiddenFile,
    dir: PathBuf,
    stem: String,
    ending: String,
}

impl Reserved {
    /// Where the bytes are written until they are whole.
    pub fn part(&self) -> &Path {
        &self.part.path
    }

    /// Brings what was written to disk and gives it its name: `NAME.mp4`, or `NAME-2.mp4` where that is taken.
    ///
    /// Close the file before (Windows renames no open one).
    ///
    /// # Errors
    /// When it cannot be renamed; the part is gone then.
    pub fn publish(self) -> io::Result<PathBuf> {
        fs::OpenOptions::new()
            .write(true)
            .open(&self.part.path)?
            .sync_all()
            .map_err(|error| named(&self.part.path, &error))?;
        let path = claim(&self.dir, &self.stem, &self.ending, |target| no_replace::rename(&self.part.path, target))?;
        self.part.moved();
        Ok(path)
    }
}

impl Folder {
    /// Opens a hidden part in the outputs folder for a file that a server has; the job gives it its name, the
    /// server's file name only its ending. The second half is the open file to write to.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn reserve_output(&self, job_name: &str, server_filename: &str) -> io::Result<(Reserved, File)> {
        fs::create_dir_all(&self.outputs).map_err(|error| named(&self.outputs, &error))?;
        let part = self.hidden(&self.outputs, "part");
        let open = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&part.path);
        let file = open.map_err(|error| named(&part.path, &error))?;
        let (stem, ending) = (name::safe_stem(job_name), name::safe_ending(server_filename));
        Ok((Reserved { part, dir: self.outputs.clone(), stem, ending }, file))
    }

    /// Takes a file from the server's own output folder, where that is readable here: hard-linked, or copied
    /// from another disk. `None` when it is not there, or its name leads outside that folder: download it.
    ///
    /// A link is right here, other than for inputs: a render is written once, under a name that is never used again.
    ///
    /// # Errors
    /// When the outputs folder cannot be written to.
    pub fn adopt_output(
        &self,
        job_name: &str,
        server_folder: &Path,
        subfolder: &str,
        filename: &str,
    ) -> io::Result<Option<PathBuf>> {
        let Some(source) = inside(server_folder, subfolder, filename) else { return Ok(None) };
        fs::create_dir_all(&self.outputs).map_err(|error| named(&self.outputs, &error))?;
        let (stem, ending) = (name::safe_stem(job_name), name::safe_ending(filename));
        if let Ok(path) = claim(&self.outputs, &stem, &ending, |target| fs::hard_link(&source, target)) {
            return Ok(Some(path));
        }
        let (reserved, mut file) = self.reserve_output(job_name, filename)?;
        let Ok(mut from) = File::open(&source) else { return Ok(None) };
        io::copy(&mut from, &mut file).map_err(|error| named(&source, &error))?;
        drop(file);
        reserved.publish().map(Some)
    }

    /// Removes the hidden files that a crash of this render folder's engine left, and says how many there were.
    /// Call it only while holding the engine's lock. A folder that cannot be read is passed over.
    pub fn sweep(&self) -> usize {
        let mark = format!(".{}.", self.mark());
        let ended = self.inboxes.iter().flat_map(|inbox| [inbox.join("done"), inbox.join("failed")]);
        let dirs = [self.outputs.clone(), self.inputs(), self.workflows.clone()].into_iter().chain(ended);
        dirs.filter_map(|dir| fs::read_dir(dir).ok())
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| {
                let name = entry.file_name();
                name.to_str().is_some_and(|name| name.starts_with(HiddenFile::PREFIX) && name.contains(&mark))
            })
            .filter(|entry| fs::remove_file(entry.path()).is_ok())
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
    fn mark(&self) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let mut hex = format!("{digest:x}");
        hex.truncate(8);
        hex
    }
}

/// The first free name of `STEM.ext`, `STEM-2.ext`, …, taken by `take`.
fn claim(dir: &Path, stem: &str, ending: &str, mut take: impl FnMut(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    for count in 1..MAX_OF_ONE_NAME {
        let name = if count == 1 { format!("{stem}{ending}") } else { format!("{stem}-{count}{ending}") };
        let target = dir.join(name);
        match take(&target) {
            Ok(()) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(named(&target, &error)),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("too many outputs are called {stem}")))
}

/// A file in a folder by names from a server, if it is a plain file there and not somewhere else.
fn inside(folder: &Path, subfolder: &str, filename: &str) -> Option<PathBuf> {
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
    const PREFIX: &str = ".comfytop-";

    pub(super) fn moved(mut self) {
        self.kept = true;
    }
}

impl Drop for HiddenFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;
    use std::io::Write;

    fn collect(folder: &Folder, job: &str, file: &str, bytes: &[u8]) -> PathBuf {
        let (reserved, mut to) = folder.reserve_output(job, file).expect("reserved");
        to.write_all(bytes).expect("written");
        drop(to);
        reserved.publish().expect("published")
    }

    #[test]
    fn an_output_is_named_after_its_job_and_replaces_nothing() {
        let (_dir, folder) = folder();
        fs::write(folder.outputs.join("loop.mp4"), "mine").expect("written");
        assert_eq!(collect(&folder, "loop", "x_00001_.mp4", b"a"), folder.outputs.join("loop-2.mp4"));
        assert_eq!(collect(&folder, "loop", "x_00002_.mp4", b"b"), folder.outputs.join("loop-3.mp4"));
        assert_eq!(collect(&folder, "loop", "x.webm", b"c"), folder.outputs.join("loop.webm"));
        assert_eq!(fs::read(folder.outputs.join("loop.mp4")).expect("there"), b"mine");
        assert_eq!(fs::read(folder.outputs.join("loop-3.mp4")).expect("there"), b"b");
        assert_eq!(collect(&folder, "一人 🐈", "x.mp4", b"d"), folder.outputs.join("一人 🐈.mp4"));
    }

    #[test]
    fn no_name_leaves_the_folder() {
        let (dir, folder) = folder();
        for (job, file) in
            [("../../x", "../../y.mp4"), ("/abs", "/abs.mp4"), ("a\u{0}b\n", "c\u{1b}.mp4"), ("C:\\x", "NUL")]
        {
            let path = collect(&folder, job, file, b"x");
            assert_eq!(path.parent(), Some(folder.outputs.as_path()), "{job}");
        }
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 4, "jobs, workflows, outputs, state");
    }

    #[test]
    fn a_part_is_hidden_and_goes_when_it_is_given_up() {
        let (_dir, folder) = folder();
        let (reserved, _file) = folder.reserve_output("a", "a.mp4").expect("reserved");
        let part = reserved.part().to_owned();
        assert!(part.is_file() && part.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')));
        drop(reserved);
        assert!(!part.exists());
    }

    #[test]
    fn parts_of_a_crash_are_swept_and_nothing_else() {
        let (_dir, folder) = folder();
        let (reserved, _file) = folder.reserve_output("a", "a.mp4").expect("reserved");
        std::mem::forget(reserved);
        for other in [".comfytop-1-1-00000000.ffffffff.part", "mine.part", ".hidden"] {
            fs::write(folder.outputs.join(other), "x").expect("written");
        }
        assert_eq!(folder.sweep(), 1);
        assert_eq!(fs::read_dir(&folder.outputs).expect("there").count(), 3);
    }

    #[test]
    fn a_file_of_the_server_on_this_disk_is_linked() {
        let (dir, folder) = folder();
        let server = dir.path().join("comfy/output");
        fs::create_dir_all(server.join("video")).expect("made");
        fs::write(server.join("video/x_00001_.mp4"), "clip").expect("written");
        fs::write(dir.path().join("comfy/secret.mp4"), "no").expect("written");
        fs::write(folder.outputs.join("loop.mp4"), "mine").expect("written");
        let adopt = |sub: &str, file: &str| folder.adopt_output("loop", &server, sub, file).expect("no error");
        let path = adopt("video", "x_00001_.mp4").expect("adopted");
        assert_eq!(path, folder.outputs.join("loop-2.mp4"));
        assert_eq!(fs::read(&path).expect("there"), b"clip");
        for (sub, file) in
            [("..", "secret.mp4"), ("", "../secret.mp4"), ("video", "none.mp4"), ("", "video"), ("/", "x.mp4")]
        {
            assert_eq!(adopt(sub, file), None, "{sub} {file}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(dir.path().join("comfy/secret.mp4"), server.join("link.mp4")).expect("linked");
            assert_eq!(adopt("", "link.mp4"), None, "a link that leads out");
        }
    }
}
