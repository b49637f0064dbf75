//! Reading the workflows of a render folder.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::Folder;
use crate::job_file::MAX_BYTES;
use crate::text;

/// The texts of one workflow, for [`crate::workflow::Workflow::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowText {
    pub name: String,
    pub json: String,
    pub toml: Option<String>,
}

/// A workflow that cannot be read. All text is fit to show.
#[derive(Debug, Error)]
pub enum WorkflowFileError {
    #[error("no workflow `{name}`{hint}; there {}", known(names))]
    Unknown { name: String, names: Vec<String>, hint: String },
    #[error("`{0}` is no name of a workflow: name one in workflows/, without a path")]
    BadName(String),
    #[error("{} has {bytes} bytes; a workflow has at most {} MiB", path.display(), MAX_BYTES >> 20)]
    TooBig { path: PathBuf, bytes: u64 },
    #[error("can't read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl WorkflowFileError {
    /// Nothing is wrong with what was asked for: a right is missing, or a share is away.
    pub fn may_pass(&self) -> bool {
        let Self::Read { source, .. } = self else { return false };
        !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory)
    }
}

fn known(names: &[String]) -> String {
    if names.is_empty() { "are none".to_owned() } else { format!("are {}", names.join(", ")) }
}

impl Folder {
    /// The names of the workflows, sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn workflow_names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.workflows).map_err(|error| super::named(&self.workflows, &error))? {
            let entry = entry?;
            let file = entry.file_name();
            if let Some(name) = file.to_str().and_then(|file| file.strip_suffix(".json"))
                && is_plain(name)
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a workflow by its name (`wan2.2-i2v`, or `wan2.2-i2v.json`).
    ///
    /// # Errors
    /// An unknown name, with those that exist; a name that would lead elsewhere; a file that can't be read.
    pub fn read_workflow(&self, name: &str) -> Result<WorkflowText, WorkflowFileError> {
        let name = name.strip_suffix(".json").unwrap_or(name);
        if !is_plain(name) {
            return Err(WorkflowFileError::BadName(text::clean(name).into_owned()));
        }
        let read = |ending: &str| {
            let path = self.workflows.join(format!("{name}{ending}"));
            let size = std::fs::metadata(&path).map(|meta| meta.len());
            match size {
                Ok(bytes) if bytes > MAX_BYTES => return Err(WorkflowFileError::TooBig { path, bytes }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(WorkflowFileError::Read { path, source }),
            }
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(source) => Err(WorkflowFileError::Read { path, source }),
            }
        };
        let Some(json) = read(".json")? else {
            let path = self.workflows.clone();
            let names = self.workflow_names().map_err(|source| WorkflowFileError::Read { path, source })?;
            let hint = text::did_you_mean(name, names.iter().map(String::as_str));
            return Err(WorkflowFileError::Unknown { name: name.to_owned(), names, hint });
        };
        Ok(WorkflowText { name: name.to_owned(), json, toml: read(".toml")? })
    }
}

/// A name that stays in its folder, on every system, and that can be shown as it is.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':']) && text::clean(name) == name
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;
    use crate::workflow::Workflow;

    #[test]
    fn the_built_in_workflows_are_there_to_read() {
        let (_dir, folder) = folder();
        assert_eq!(folder.workflow_names().expect("names"), ["wan2.2-i2v", "wan2.2-i2v-loop"]);
        let text = folder.read_workflow("wan2.2-i2v-loop.json").expect("read");
        assert!(Workflow::parse(&text.name, &text.json, text.toml.as_deref()).is_ok());
    }

    #[test]
    fn an_unknown_name_gets_those_that_exist() {
        let (_dir, folder) = folder();
        let words = folder.read_workflow("wan2.2-i2v-lop").expect_err("unknown").to_string();
        assert_eq!(
            words,
            "no workflow `wan2.2-i2v-lop` (did you mean `wan2.2-i2v-loop`?); there are wan2.2-i2v, wan2.2-i2v-loop"
        );
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let (dir, folder) = folder();
        std::fs::write(dir.path().join("secret.json"), "{}").expect("written");
        for name in ["../secret", "..", "", ".x", "/etc/passwd", "a\\b", "C:x", "a\0b", "sub/x", "x\u{1b}[2J"] {
            assert!(matches!(folder.read_workflow(name), Err(WorkflowFileError::BadName(_))), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_an_answer() {
        let (_dir, folder) = folder();
        std::fs::write(folder.workflows.join("odd.json"), b"\xFF\xFE\x00").expect("written");
        assert!(matches!(folder.read_workflow("odd"), Err(WorkflowFileError::Read { .. })));
    }
}
