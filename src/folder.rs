//! The render folder on disk: where things lie, and every file that is made, moved or read in it.
//!
//! Edge: the file system, and nothing else of the world. It decides nothing about jobs. It must never
//! replace or delete a file that it did not make itself, and never write outside the folders named here;
//! names that come from servers or job files are made safe first ([`name::safe_stem`]).

pub mod collecting;
pub mod disk;
pub mod inputs;
pub mod intake;
pub mod name;
mod no_replace;
pub mod outputs;
pub mod seat;
pub mod stamp;
pub mod workflows;

use std::io;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

pub use collecting::{Collecting, Part};
pub use disk::{disk_free, is_network_disk, refuse_network_disk};
pub use inputs::KeptInput;
pub use intake::{Ending, Finished, dropped_name, is_text, number_of};
pub use seat::Seat;
pub use stamp::Stamp;
pub use workflows::{WorkflowFileError, WorkflowText};

use crate::faults;
use crate::text;
use crate::workflow::{BUILT_IN, EXAMPLES};

/// The folders of an inbox that are ours.
pub const OWN_FOLDERS: &[&str] = &["queued", "done", "failed", "held"];
/// The watched sub-folder: what is dropped there is taken on hold.
pub const HELD: &str = "held";
/// Samples to copy, beside the first inbox's files; not watched.
const EXAMPLES_DIR: &str = "examples";
/// The settings of a render folder.
pub const CONFIG: &str = "comfytop.toml";
/// Our state: store, inputs, cache, log.
pub const STATE: &str = ".comfytop";

/// The paths of one render folder; all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub root: PathBuf,
    /// The watched folders; the first is where our own files go when it is not said which.
    pub inboxes: Vec<PathBuf>,
    pub workflows: PathBuf,
    pub outputs: PathBuf,
    pub state: PathBuf,
}

/// Where the render folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It exists.
    Here(PathBuf),
    /// It does not yet: say what will be created before [`Folder::create`].
    New(PathBuf),
}

/// A layout that would eat itself, or a disk that would lose the store.
#[derive(Debug, Error)]
pub enum FolderError {
    #[error("the {inner} {} lies inside the {outer} {}: keep them apart (comfytop.toml)", inner_path.display(), outer_path.display())]
    Nested { inner: &'static str, inner_path: PathBuf, outer: &'static str, outer_path: PathBuf },
    #[error("the inbox {} is named twice (comfytop.toml)", path.display())]
    InboxTwice { path: PathBuf },
    #[error(
        "{} is on a network disk ({kind}), where the store's locks fail: keep it on a local disk with --state DIR",
        path.display()
    )]
    NetworkDisk { path: PathBuf, kind: String },
    #[error("can't look at {}: {source}", path.display())]
    Look {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The nearest of `start` and its parents that is a render folder: one with `comfytop.toml` or `.comfytop/`.
/// A `jobs/` alone never makes one: it may hold other people's files.
#[must_use]
pub fn find(start: &Path) -> Found {
    start
        .ancestors()
        .find(|dir| dir.join(CONFIG).is_file() || dir.join(STATE).is_dir())
        .map_or_else(|| Found::New(start.to_owned()), |dir| Found::Here(dir.to_owned()))
}

impl Folder {
    /// The usual layout.
    ///
    /// # Errors
    /// When `root` is relative and there is no current directory.
    pub fn new(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        Ok(Self {
            inboxes: vec![root.join("jobs")],
            workflows: root.join("workflows"),
            outputs: root.join("outputs"),
            state: root.join(STATE),
            root,
        })
    }

    /// The layout as the settings have it: paths relative to `root`, or absolute; no inboxes means `jobs/`.
    ///
    /// # Errors
    /// As [`Folder::new`].
    pub fn with(root: &Path, inboxes: &[PathBuf], outputs: &Path, state: Option<&Path>) -> io::Result<Self> {
        let usual = Self::new(root)?;
        let at = |path: &Path| std::path::absolute(usual.root.join(path));
        Ok(Self {
            inboxes: if inboxes.is_empty() {
                usual.inboxes.clone()
            } else {
                inboxes.iter().map(|path| at(path)).collect::<io::Result<_>>()?
            },
            outputs: at(outputs)?,
            // --state is a word of the command line: relative to where that was typed
            state: state.map_or_else(|| Ok(usual.state.clone()), std::path::absolute)?,
            ..usual
        })
    }

    /// A path as it is recorded: relative to the render folder where it lies in it, with `/`.
    pub fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
    }

    /// Where a recorded path leads.
    pub fn resolve(&self, recorded: &str) -> PathBuf {
        self.root.join(recorded)
    }

    /// The copies of files that jobs name.
    pub fn inputs(&self) -> PathBuf {
        self.state.join("inputs")
    }

    /// Stills for the screen.
    pub fn cache(&self) -> PathBuf {
        self.state.join("cache")
    }

    /// Makes what is missing: the folders, the built-in workflows where no file of that name is, and the sample jobs
    /// where there is no `examples/` yet.
    ///
    /// # Errors
    /// The first folder or file that could not be made, with its path.
    pub fn create(&self) -> io::Result<()> {
        let examples = self.inboxes.first().map(|inbox| inbox.join(EXAMPLES_DIR));
        let examples = examples.filter(|dir| !dir.exists());
        let make = |dir: PathBuf| std::fs::create_dir_all(&dir).map_err(|error| named(&dir, &error));
        for inbox in &self.inboxes {
            for own in OWN_FOLDERS {
                make(inbox.join(own))?;
            }
        }
        for dir in [self.workflows.clone(), self.outputs.clone(), self.inputs(), self.cache()] {
            make(dir)?;
        }
        for (name, json, toml) in BUILT_IN {
            let (graph, slots) =
                (self.workflows.join(format!("{name}.json")), self.workflows.join(format!("{name}.toml")));
            // slots belong to their graph: beside somebody's own graph ours would be wrong
            if graph.try_exists()? {
                continue;
            }
            for (path, text) in [(slots, toml), (graph, json)] {
                self.write_new(&path, text.as_bytes()).map_err(|error| named(&path, &error))?;
            }
        }
        if let Some(dir) = examples {
            make(dir.clone())?;
            for (name, bytes) in EXAMPLES {
                let path = dir.join(name);
                self.write_new(&path, bytes).map_err(|error| named(&path, &error))?;
            }
        }
        Ok(())
    }

    /// Writes a file where none is: whole, or not at all.
    fn write_new(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let draft = self.hidden(path.parent().unwrap_or(&self.root), "draft");
        faults::step("folder.new.write", || std::fs::write(&draft.path, text))?;
        match faults::step("folder.new.rename", || no_replace::rename(&draft.path, path)) {
            Ok(()) => draft.moved(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Refuses an inbox inside the outputs or the state, the other way round, and an inbox inside another's own folders.
    ///
    /// # Errors
    /// Which two lie in each other.
    pub fn check_layout(&self) -> Result<(), FolderError> {
        let real = |path: &PathBuf| real_path(path).map_err(|source| FolderError::Look { path: path.clone(), source });
        let (outputs, state) = (real(&self.outputs)?, real(&self.state)?);
        let inboxes = self.inboxes.iter().map(real).collect::<Result<Vec<_>, _>>()?;
        let apart = |a: (&'static str, &Path), b: (&'static str, &Path)| {
            for (inner, outer) in [(a, b), (b, a)] {
                if inner.1.starts_with(outer.1) {
                    return Err(FolderError::Nested {
                        inner: inner.0,
                        inner_path: inner.1.to_owned(),
                        outer: outer.0,
                        outer_path: outer.1.to_owned(),
                    });
                }
            }
            Ok(())
        };
        apart(("outputs folder", &outputs), ("state folder", &state))?;
        for (at, inbox) in inboxes.iter().enumerate() {
            apart(("inbox", inbox), ("outputs folder", &outputs))?;
            apart(("inbox", inbox), ("state folder", &state))?;
            for other in inboxes.iter().take(at) {
                if inbox == other {
                    return Err(FolderError::InboxTwice { path: inbox.clone() });
                }
                for own in OWN_FOLDERS {
                    for (inner, outer) in [(inbox, other.join(own)), (other, inbox.join(own))] {
                        if inner.starts_with(&outer) {
                            return Err(FolderError::Nested {
                                inner: "inbox",
                                inner_path: inner.clone(),
                                outer: "folder of another inbox",
                                outer_path: outer,
                            });
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The path with symbolic links resolved as far as it exists, the rest as written.
fn real_path(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut rest = Vec::new();
    let mut there = absolute.as_path();
    loop {
        match there.canonicalize() {
            Ok(mut real) => {
                real.extend(rest.iter().rev());
                return Ok(real);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(last)) = (there.parent(), there.components().next_back()) else {
                    return Err(error);
                };
                // `..` after something that is not there: nothing to resolve it against
                if !matches!(last, Component::Normal(_)) {
                    return Ok(absolute);
                }
                rest.push(last.as_os_str().to_owned());
                there = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The same error, with the path that the standard library leaves out; fit to show, as a job may have named it.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", text::clean(&path.display().to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    pub(super) fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::new(dir.path()).expect("a folder");
        folder.create().expect("created");
        (dir, folder)
    }

    #[test]
    fn the_nearest_marked_parent_is_the_render_folder() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let deep = dir.path().join("a/b/jobs");
        fs::create_dir_all(&deep).expect("made");
        assert_eq!(find(&dir.path().join("a/b")), Found::New(dir.path().join("a/b")));
        fs::create_dir(dir.path().join(STATE)).expect("made");
        assert_eq!(find(&deep), Found::Here(dir.path().to_owned()));
        fs::write(dir.path().join("a").join(CONFIG), "").expect("written");
        assert_eq!(find(&deep), Found::Here(dir.path().join("a")));
    }

    #[test]
    fn what_is_created_never_overwrites() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = Folder::new(dir.path()).expect("a folder");
        fs::create_dir(&folder.workflows).expect("made");
        fs::write(folder.workflows.join("wan2.2-i2v.json"), "mine").expect("written");
        folder.create().expect("created");
        folder.create().expect("and again");
        assert_eq!(fs::read_to_string(folder.workflows.join("wan2.2-i2v.json")).expect("there"), "mine");
        assert!(!folder.workflows.join("wan2.2-i2v.toml").exists(), "our slots do not belong to that graph");
        assert!(folder.workflows.join("wan2.2-i2v-loop.toml").is_file());
        for there in
            ["jobs/queued", "jobs/done", "jobs/failed", "jobs/held", "outputs", ".comfytop/inputs", ".comfytop/cache"]
        {
            assert!(dir.path().join(there).is_dir(), "{there}");
        }
    }

    #[test]
    fn the_samples_are_there_to_be_copied_and_stay_away_once_removed() {
        let (dir, folder) = folder();
        let examples = dir.path().join("jobs/examples");
        let there: std::collections::BTreeSet<_> =
            fs::read_dir(&examples).expect("made").flatten().map(|e| e.file_name()).collect();
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs/examples");
        let wanted = fs::read_dir(ours).expect("there").flatten().map(|e| e.file_name()).collect();
        assert_eq!(there, wanted, "all of them");
        fs::remove_file(examples.join("reading_loop.json")).expect("removed");
        folder.create().expect("and again");
        assert!(!examples.join("reading_loop.json").exists());
    }

    #[test]
    fn inboxes_and_outputs_are_kept_apart() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let check = |inboxes: &[&str], outputs: &str| {
            let inboxes: Vec<PathBuf> = inboxes.iter().map(PathBuf::from).collect();
            Folder::with(dir.path(), &inboxes, Path::new(outputs), None).expect("a folder").check_layout()
        };
        assert!(check(&[], "outputs").is_ok());
        assert!(check(&["jobs", "drop/more"], "renders").is_ok());
        for (inboxes, outputs) in [
            (&["outputs/in"][..], "outputs"),
            (&["jobs"], "jobs/out"),
            (&["jobs"], "jobs"),
            (&["."], "outputs"),
            (&["jobs", "jobs/queued"], "outputs"),
            (&["jobs/done/x", "jobs"], "outputs"),
            (&["jobs", "./jobs"], "outputs"),
            (&[".comfytop/in"], "outputs"),
            (&["jobs"], ".comfytop/out"),
        ] {
            assert!(check(inboxes, outputs).is_err(), "{inboxes:?} {outputs}");
        }
        let words = check(&["outputs/in"], "outputs").expect_err("refused").to_string();
        assert!(words.contains("inside the outputs folder"), "{words}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_hides_no_nesting() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("outputs")).expect("made");
        std::os::unix::fs::symlink(dir.path().join("outputs"), dir.path().join("jobs")).expect("linked");
        assert!(Folder::new(dir.path()).expect("a folder").check_layout().is_err());
    }
}
