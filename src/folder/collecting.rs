//! A finished render on its way into the outputs folder: all of its files, or none, and once.
//!
//! Each file of the server's is first a hidden part with a name of its own, made of the attempt's
//! `prompt_id` and the file's name, so that whoever tries again finds it. Only when all are there do
//! they get their names, and those are written down before the first is given: after a crash the
//! record says which names are ours already. It goes when the job's row says the same.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::outputs::HiddenFile;
use super::{Folder, name, named, no_replace};
use crate::faults;

/// So many files of one name, and then something is wrong.
const MAX_OF_ONE_NAME: u32 = 100_000;

/// Held while names are chosen and given: two jobs of one name don't choose the same.
static NAMING: Mutex<()> = Mutex::new(());

/// What is about to be done to an attempt's parts, in the order of its outputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    files: Vec<Entry>,
    /// What people should know of this collection.
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The whole part's file name.
    part: String,
    /// The name that it gets in the outputs folder.
    name: String,
    bytes: u64,
}

/// One attempt's outputs, on their way in. All of it blocks.
#[derive(Debug, Clone)]
pub struct Collecting {
    folder: Arc<Folder>,
    prompt_id: String,
    stem: String,
    record: Record,
    /// The record is of an earlier try: what stands under its names may be ours.
    is_resumed: bool,
}

/// A file of the server's, while it has no name of its own here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    dir: PathBuf,
    /// Hidden name, without `.part` or `.whole`.
    hidden: String,
    /// `.mp4`
    ending: String,
    /// Where it lies, if an earlier try has named it already.
    published: Option<PathBuf>,
}

impl Collecting {
    /// Takes up the collection of an attempt where the last try left it.
    ///
    /// # Errors
    /// When its record is there and cannot be read.
    pub fn open(folder: Arc<Folder>, prompt_id: &str, job_name: &str) -> io::Result<Self> {
        let path = folder.record_path(prompt_id);
        let record = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .inspect_err(|error| tracing::warn!("{}: {error}; it is collected anew", path.display()))
                .ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(named(&path, &error)),
        };
        let is_resumed = record.is_some();
        let (record, stem) = (record.unwrap_or_default(), name::safe_stem(job_name));
        Ok(Self { folder, prompt_id: prompt_id.to_owned(), stem, record, is_resumed })
    }

    /// The part of the file that the server calls `subfolder/filename`.
    pub fn part(&self, subfolder: &str, filename: &str) -> Part {
        let hidden = self.folder.part_name(&self.prompt_id, subfolder, filename);
        let whole = format!("{hidden}.{WHOLE}");
        let entry = self.record.files.iter().find(|entry| entry.part == whole);
        let published = entry.map(|entry| self.folder.outputs.join(&entry.name));
        let published = published.filter(|path| entry.is_some_and(|entry| is_file_of(path, entry.bytes)));
        Part { dir: self.folder.outputs.clone(), hidden, ending: name::safe_ending(filename), published }
    }

    /// Ends what an earlier try began to name: the outputs and the notes on them. `None` when no try came so
    /// far, or not all of its files are there any more.
    ///
    /// # Errors
    /// When a name cannot be given.
    pub fn resume(&mut self) -> io::Result<Option<(Vec<PathBuf>, Vec<String>)>> {
        let outputs = &self.folder.outputs;
        let is_there = |entry: &Entry| {
            is_file_of(&outputs.join(&entry.part), entry.bytes) || is_file_of(&outputs.join(&entry.name), entry.bytes)
        };
        if !self.is_resumed || self.record.files.is_empty() || !self.record.files.iter().all(is_there) {
            return Ok(None);
        }
        Ok(Some((self.give_names()?, self.record.notes.clone())))
    }

    /// Gives whole parts their names, `NAME.mp4` or `NAME-2.mp4` where that is taken, in this order. Names that
    /// an earlier try gave stay.
    ///
    /// # Errors
    /// When a part is not there, or can't be named. Trying again goes on from there.
    pub fn publish(&mut self, parts: &[Part], notes: &[String]) -> io::Result<Vec<PathBuf>> {
        self.plan(parts, notes)?;
        self.give_names()
    }

    /// Writes down what each part will be called.
    fn plan(&mut self, parts: &[Part], notes: &[String]) -> io::Result<()> {
        let _naming = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut self.record.files);
        for part in parts {
            let file = part.whole_name();
            let known = before.iter().find(|entry| entry.part == file);
            let entry = if let (Some(entry), Some(_)) = (known, &part.published) {
                entry.clone()
            } else {
                let path = part.whole();
                let bytes = path.metadata().map_err(|error| named(&path, &error))?.len();
                // What stands under the name of an earlier try may be ours, half renamed: keep to it.
                let name = known.map_or_else(|| self.free_name(&part.ending), |entry| Ok(entry.name.clone()))?;
                Entry { part: file, name, bytes }
            };
            self.record.files.push(entry);
        }
        notes.clone_into(&mut self.record.notes);
        self.write()
    }

    fn give_names(&mut self) -> io::Result<Vec<PathBuf>> {
        let _naming = NAMING.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = (0..self.record.files.len()).map(|at| self.give_name(at)).collect::<io::Result<_>>()?;
        sync_folder(&self.folder.outputs);
        Ok(paths)
    }

    fn give_name(&mut self, at: usize) -> io::Result<PathBuf> {
        for _ in 1..MAX_OF_ONE_NAME {
            let Some(entry) = self.record.files.get(at).cloned() else { break };
            let (part, target) = (self.folder.outputs.join(&entry.part), self.folder.outputs.join(&entry.name));
            if !part.exists() && is_file_of(&target, entry.bytes) {
                return Ok(target);
            }
            match faults::step("folder.name", || no_replace::rename(&part, &target)) {
                Ok(()) => return Ok(target),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.is_resumed && no_replace::is_half_done(&part, &target)? {
                        no_replace::complete(&part, &target)?;
                        return Ok(target);
                    }
                    let name = self.free_name(&name::safe_ending(&entry.name))?;
                    if let Some(entry) = self.record.files.get_mut(at) {
                        entry.name = name;
                    }
                    self.write()?;
                }
                Err(error) => return Err(named(&target, &error)),
            }
        }
        Err(self.too_many())
    }

    /// The first of `STEM.ext`, `STEM-2.ext`, … that nothing has, and nothing of ours will have.
    fn free_name(&self, ending: &str) -> io::Result<String> {
        for count in 1..MAX_OF_ONE_NAME {
            let stem = &self.stem;
            let name = if count == 1 { format!("{stem}{ending}") } else { format!("{stem}-{count}{ending}") };
            let is_ours = self.record.files.iter().any(|entry| entry.name == name);
            match self.folder.outputs.join(&name).symlink_metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !is_ours => return Ok(name),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Err(self.too_many())
    }

    fn too_many(&self) -> io::Error {
        io::Error::new(io::ErrorKind::AlreadyExists, format!("too many outputs are called {}", self.stem))
    }

    /// The whole record or the old one, whatever happens: then, and only then, names may be given.
    fn write(&self) -> io::Result<()> {
        let path = self.folder.record_path(&self.prompt_id);
        let dir = self.folder.records();
        fs::create_dir_all(&dir).map_err(|error| named(&dir, &error))?;
        let draft = path.with_extension("draft");
        let write = || {
            use std::io::Write;
            let mut file = faults::step("folder.record.write", || File::create(&draft))?;
            file.write_all(&serde_json::to_vec(&self.record)?)?;
            file.sync_all()?;
            drop(file);
            faults::step("folder.record.rename", || fs::rename(&draft, &path))
        };
        write().map_err(|error| named(&path, &error))?;
        sync_folder(&dir);
        Ok(())
    }

    /// Nothing will come of it: removes its parts and its record. What has its name already stays.
    pub fn give_up(self) {
        let start = part_start(&self.prompt_id);
        for entry in fs::read_dir(&self.folder.outputs).into_iter().flatten().filter_map(Result::ok) {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(&start)) {
                let _ = faults::step("folder.part.drop", || fs::remove_file(entry.path()));
            }
        }
        self.folder.collected(&self.prompt_id);
    }
}

/// Endings of parts: being written, and complete.
const PART: &str = "part";
const WHOLE: &str = "whole";

impl Part {
    fn whole_name(&self) -> String {
        format!("{}.{WHOLE}", self.hidden)
    }

    fn whole(&self) -> PathBuf {
        self.dir.join(self.whole_name())
    }

    fn partial(&self) -> PathBuf {
        self.dir.join(format!("{}.{PART}", self.hidden))
    }

    /// Where all of it can be read, named or not yet; `None`: it must be fetched.
    pub fn place(&self) -> Option<PathBuf> {
        let whole = self.whole();
        if whole.is_file() { Some(whole) } else { self.published.clone() }
    }

    /// What `says` says of a file of its kind.
    pub fn is_named(&self, says: impl Fn(&str) -> bool) -> bool {
        says(&self.ending)
    }

    /// Opens it to be written, from its first byte.
    ///
    /// # Errors
    /// When the outputs folder cannot be written to.
    pub fn begin(&self) -> io::Result<File> {
        fs::create_dir_all(&self.dir).map_err(|error| named(&self.dir, &error))?;
        let path = self.partial();
        // of an earlier try; never written through, should it be a link
        let _ = faults::step("folder.part.stale", || fs::remove_file(&path));
        let open = faults::step("folder.part.begin", || {
            fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)
        });
        open.map_err(|error| named(&path, &error))
    }

    /// All of it is written: brings it to disk.
    ///
    /// # Errors
    /// When the disk won't have it.
    pub fn finish(&self, file: File) -> io::Result<()> {
        let path = self.partial();
        file.sync_all().map_err(|error| named(&path, &error))?;
        // Windows renames no open file
        drop(file);
        faults::step("folder.part.whole", || fs::rename(&path, self.whole())).map_err(|error| named(&path, &error))
    }

    /// Takes it from the server's own output folder, where that is readable here: hard-linked, or copied from
    /// another disk. False when it is not there, or its name leads outside that folder: download it.
    ///
    /// A link is right here, other than for inputs: a render is written once, under a name that is never used again.
    ///
    /// # Errors
    /// When the outputs folder cannot be written to.
    pub fn adopt(&self, server_folder: &Path, subfolder: &str, filename: &str) -> io::Result<bool> {
        let Some(source) = super::outputs::inside(server_folder, subfolder, filename) else { return Ok(false) };
        fs::create_dir_all(&self.dir).map_err(|error| named(&self.dir, &error))?;
        if faults::step("folder.part.link", || fs::hard_link(&source, self.whole())).is_ok() {
            return Ok(true);
        }
        let Ok(mut from) = File::open(&source) else { return Ok(false) };
        let mut file = self.begin()?;
        faults::step("folder.part.copy", || io::copy(&mut from, &mut file)).map_err(|error| named(&source, &error))?;
        self.finish(file)?;
        Ok(true)
    }

    /// Removes what there is of it without a name.
    pub fn discard(&self) {
        for path in [self.partial(), self.whole()] {
            let _ = faults::step("folder.part.discard", || fs::remove_file(path));
        }
    }
}

impl Folder {
    /// An attempt's outputs stand in the store: nothing about them is left to remember here.
    pub fn collected(&self, prompt_id: &str) {
        let _ = faults::step("folder.record.drop", || fs::remove_file(self.record_path(prompt_id)));
    }

    fn records(&self) -> PathBuf {
        self.state.join("collecting")
    }

    fn record_path(&self, prompt_id: &str) -> PathBuf {
        self.records().join(format!("{}.json", name::safe_stem(prompt_id)))
    }

    fn part_name(&self, prompt_id: &str, subfolder: &str, filename: &str) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::new().chain_update(subfolder).chain_update([0]).chain_update(filename).finalize();
        let mut hex = format!("{digest:x}");
        hex.truncate(16);
        format!("{}{hex}.{}", part_start(prompt_id), self.mark())
    }

    /// The parts that open collections name, by file name. Records of others go: `is_open` knows a `prompt_id`
    /// whose outputs the store has not got yet.
    pub(super) fn recorded_parts(&self, is_open: impl Fn(&str) -> bool) -> std::collections::HashSet<String> {
        let mut parts = std::collections::HashSet::new();
        for entry in fs::read_dir(self.records()).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let prompt = path.file_stem().and_then(|stem| stem.to_str()).filter(|prompt| is_open(prompt));
            let is_record = path.extension().is_some_and(|ending| ending == "json");
            if prompt.is_none() || !is_record {
                let _ = faults::step("folder.record.sweep", || fs::remove_file(&path));
                continue;
            }
            let record = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            parts.extend(record.unwrap_or_default().files.into_iter().map(|entry| entry.part));
        }
        parts
    }
}

/// How the names of an attempt's parts begin.
fn part_start(prompt_id: &str) -> String {
    format!("{}{}-", HiddenFile::PREFIX, name::safe_stem(prompt_id))
}

fn is_file_of(path: &Path, bytes: u64) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == bytes)
}

/// Brings the names in a folder to disk, where the system can.
fn sync_folder(dir: &Path) {
    #[cfg(unix)]
    let _ = File::open(dir).and_then(|dir| dir.sync_all());
    #[cfg(not(unix))]
    let _ = dir;
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;
    use std::io::Write;

    const PROMPT: &str = "0a1b2c3d-0000-4000-8000-000000000001";

    fn open(folder: &Folder, job: &str) -> Collecting {
        Collecting::open(Arc::new(folder.clone()), PROMPT, job).expect("opened")
    }

    fn fetch(collecting: &Collecting, file: &str, bytes: &[u8]) -> Part {
        let part = collecting.part("sub", file);
        let mut to = part.begin().expect("begun");
        to.write_all(bytes).expect("written");
        part.finish(to).expect("finished");
        part
    }

    fn names(folder: &Folder) -> Vec<String> {
        let entries = fs::read_dir(&folder.outputs).expect("there").filter_map(Result::ok);
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Collects one file of a job under an id of its own.
    fn collect(folder: &Folder, job: &str, file: &str, bytes: &[u8]) -> PathBuf {
        let mut collecting = open(folder, job);
        let part = fetch(&collecting, file, bytes);
        let path = collecting.publish(&[part], &[]).expect("published").remove(0);
        folder.collected(PROMPT);
        path
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
    fn nothing_is_named_before_all_is_there_and_parts_wait_for_the_next_try() {
        let (_dir, folder) = folder();
        let first = fetch(&open(&folder, "two"), "a.png", b"a");
        assert!(names(&folder).iter().all(|name| name.starts_with('.')), "{:?}", names(&folder));
        // the second file could not be had; a later try
        let mut again = open(&folder, "two");
        assert_eq!(again.resume().expect("read"), None);
        assert_eq!(again.part("sub", "a.png").place(), first.place());
        assert_eq!(again.part("sub", "b.png").place(), None);
        let parts = [again.part("sub", "a.png"), fetch(&again, "b.png", b"bb")];
        again.publish(&parts, &[]).expect("published");
        assert_eq!(names(&folder), ["two-2.png", "two.png"]);
    }

    /// A crash at every point between the record and the store's word that all is collected.
    #[test]
    fn a_crash_while_names_are_given_makes_no_second_file() {
        for given in 0..=3 {
            let (_dir, folder) = folder();
            fs::write(folder.outputs.join("two.png"), "mine").expect("written");
            let mut collecting = open(&folder, "two");
            let parts: Vec<_> =
                ["a.png", "b.png", "c.png"].map(|file| fetch(&collecting, file, file.as_bytes())).into();
            collecting.plan(&parts, &["a note".to_owned()]).expect("recorded");
            for at in 0..given {
                collecting.give_name(at).expect("named");
            }
            drop(collecting);

            assert_eq!(folder.sweep(|prompt| prompt == PROMPT), 0, "a record names them");
            let mut again = open(&folder, "two");
            let (paths, notes) = again.resume().expect("resumed").expect("all is there");
            assert_eq!(paths, ["two-2.png", "two-3.png", "two-4.png"].map(|name| folder.outputs.join(name)));
            assert_eq!(notes, ["a note"]);
            assert_eq!(fs::read(paths.first().expect("one")).expect("there"), b"a.png");
            // once more, and after the next start
            assert_eq!(open(&folder, "two").resume().expect("resumed").expect("all is there").0, paths);
            folder.collected(PROMPT);
            assert_eq!(folder.sweep(|_| false), 0);
            assert_eq!(names(&folder), ["two-2.png", "two-3.png", "two-4.png", "two.png"]);
        }
    }

    #[test]
    fn a_file_that_vanished_after_a_crash_is_fetched_again_and_the_others_stay() {
        let (_dir, folder) = folder();
        let mut collecting = open(&folder, "two");
        let parts = [fetch(&collecting, "a.png", b"a"), fetch(&collecting, "b.png", b"b")];
        collecting.publish(&parts, &[]).expect("published");
        fs::remove_file(folder.outputs.join("two-2.png")).expect("removed");
        let mut again = open(&folder, "two");
        assert_eq!(again.resume().expect("read"), None);
        assert_eq!(again.part("sub", "a.png").place(), Some(folder.outputs.join("two.png")));
        assert_eq!(again.part("sub", "b.png").place(), None);
        let parts = [again.part("sub", "a.png"), fetch(&again, "b.png", b"b")];
        again.publish(&parts, &[]).expect("published");
        assert_eq!(names(&folder), ["two-2.png", "two.png"]);
    }

    #[test]
    fn a_name_that_somebody_took_meanwhile_stays_theirs() {
        let (_dir, folder) = folder();
        let mut collecting = open(&folder, "two");
        let part = fetch(&collecting, "a.png", b"a");
        collecting.plan(&[part], &[]).expect("recorded");
        fs::write(folder.outputs.join("two.png"), "x").expect("written");
        let mut again = open(&folder, "two");
        let (paths, _) = again.resume().expect("resumed").expect("all is there");
        assert_eq!(paths, [folder.outputs.join("two-2.png")]);
        assert_eq!(fs::read(folder.outputs.join("two.png")).expect("there"), b"x");
    }

    #[test]
    fn a_broken_record_is_no_record() {
        let (_dir, folder) = folder();
        fs::create_dir_all(folder.records()).expect("made");
        fs::write(folder.record_path(PROMPT), "{\"files\": [").expect("written");
        assert_eq!(open(&folder, "two").resume().expect("read"), None);
    }

    #[test]
    fn what_is_given_up_leaves_nothing_but_what_has_its_name() {
        let (_dir, folder) = folder();
        fs::write(folder.outputs.join("two.png"), "mine").expect("written");
        let collecting = open(&folder, "two");
        fetch(&collecting, "a.png", b"a");
        let begun = collecting.part("", "b.png").begin().expect("begun");
        drop(begun);
        collecting.give_up();
        assert_eq!(names(&folder), ["two.png"]);
    }

    #[test]
    fn parts_of_a_crash_are_swept_and_nothing_else() {
        let (_dir, folder) = folder();
        let mut collecting = open(&folder, "a");
        let part = fetch(&collecting, "a.mp4", b"a");
        collecting.plan(&[part], &[]).expect("recorded");
        drop(collecting.part("", "b.mp4").begin().expect("begun"));
        for other in [".comfytop-1-1-00000000.ffffffff.part", "mine.part", ".hidden"] {
            fs::write(folder.outputs.join(other), "x").expect("written");
        }
        assert_eq!(folder.sweep(|prompt| prompt == PROMPT), 1, "b.mp4 is in no record");
        assert_eq!(folder.sweep(|_| false), 1, "nobody collects a.mp4 any more");
        assert_eq!(names(&folder).len(), 3);
        assert!(!folder.record_path(PROMPT).exists());
    }

    #[test]
    fn a_file_of_the_server_on_this_disk_is_linked() {
        let (dir, folder) = folder();
        let server = dir.path().join("comfy/output");
        fs::create_dir_all(server.join("video")).expect("made");
        fs::write(server.join("video/x_00001_.mp4"), "clip").expect("written");
        fs::write(dir.path().join("comfy/secret.mp4"), "no").expect("written");
        fs::write(folder.outputs.join("loop.mp4"), "mine").expect("written");
        let mut collecting = open(&folder, "loop");
        let adopt = |sub: &str, file: &str| {
            let part = collecting.part(sub, file);
            part.adopt(&server, sub, file).expect("no error").then_some(part)
        };
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
        let part = adopt("video", "x_00001_.mp4").expect("adopted");
        assert_eq!(names(&folder).len(), 2, "hidden as yet");
        let paths = collecting.publish(&[part], &[]).expect("published");
        assert_eq!(paths, [folder.outputs.join("loop-2.mp4")]);
        assert_eq!(fs::read(folder.outputs.join("loop-2.mp4")).expect("there"), b"clip");
    }
}
