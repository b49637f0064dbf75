//! The person's own editor, on a text of ours; and, in [`player`], their own player.
//!
//! An edge that faces may use, as the link is. It knows a file in the temporary folder and a
//! program, and nothing of jobs. The caller gives the terminal away first, and takes it again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

pub mod player;

#[derive(Debug, Error)]
pub enum EditorError {
    #[error("the draft {path}: {source}")]
    Draft { path: PathBuf, source: io::Error },
    #[error("the editor `{editor}` can't be run: {source}; the variables VISUAL and EDITOR name another")]
    Run { editor: String, source: io::Error },
    #[error("the editor ended with {0}: nothing was changed")]
    Failed(std::process::ExitStatus),
}

/// A text being edited; the file goes with it.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Draft {
    /// A new file in the temporary folder, readable for its owner alone; `ending` tells the editor what it is.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn new(name: &str, ending: &str, text: &str) -> Result<Self, EditorError> {
        let folder = std::env::temp_dir();
        let mut tries = 0;
        loop {
            let path = folder.join(format!("comfytop-{name}-{}-{tries}.{ending}", std::process::id()));
            match create(&path) {
                Ok(mut file) => {
                    let draft = Self { path, kept: false };
                    file.write_all(text.as_bytes()).map_err(|e| draft.trouble(e))?;
                    return Ok(draft);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < 1000 => tries += 1,
                Err(source) => return Err(EditorError::Draft { path, source }),
            }
        }
    }

    fn trouble(&self, source: io::Error) -> EditorError {
        EditorError::Draft { path: self.path.clone(), source }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the file where it is.
    pub fn keep(mut self) -> PathBuf {
        self.kept = true;
        self.path.clone()
    }

    /// Opens it in the editor and waits; what stands in it then.
    ///
    /// # Errors
    /// When there is no editor, it fails, or what it leaves can't be read.
    pub fn open(&self) -> Result<String, EditorError> {
        let editor = editor();
        let status = command(&editor, &self.path).status().map_err(|source| EditorError::Run {
            editor: crate::text::clean(&editor.to_string_lossy()).into_owned(),
            source,
        })?;
        if !status.success() {
            return Err(EditorError::Failed(status));
        }
        fs::read_to_string(&self.path).map_err(|e| self.trouble(e))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

fn editor() -> OsString {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let usual = if cfg!(windows) { "notepad" } else { "vi" };
    named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| usual.into())
}

/// `EDITOR` is a piece of shell (`code --wait`), as every program takes it.
#[cfg(unix)]
fn command(editor: &OsString, path: &Path) -> Command {
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg("editor").arg(path);
    command
}

#[cfg(not(unix))]
fn command(editor: &OsString, path: &Path) -> Command {
    let editor = editor.to_string_lossy();
    // A path with spaces is one word, words after an ending of a program are its arguments.
    let cut = editor.to_ascii_lowercase().find(".exe ").map(|at| at + 4);
    let cut = cut.or_else(|| editor.find(' ').filter(|_| !Path::new(editor.as_ref()).is_file()));
    let (program, args) = cut.and_then(|at| editor.split_at_checked(at)).unwrap_or((&editor, ""));
    let mut command = Command::new(program.trim_matches('"'));
    command.args(args.split_whitespace()).arg(path);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_goes_with_its_owner_and_two_do_not_meet() {
        let one = Draft::new("7", "json", "{}").unwrap();
        let two = Draft::new("7", "json", "[]").unwrap();
        assert_ne!(one.path(), two.path());
        assert_eq!(fs::read_to_string(one.path()).unwrap(), "{}");
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        let kept = two.keep();
        assert!(kept.exists());
        fs::remove_file(kept).unwrap();
    }
}
