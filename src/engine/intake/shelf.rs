//! What the intake has read lately: a thousand jobs that name the same workflow and the same image
//! read and copy each of them once.
//!
//! An entry holds as long as the file's stamp is the same; nothing here outlives the engine.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::folder::{Folder, KeptInput, Stamp, WorkflowFileError};
use crate::workflow::convert::When;
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::{Workflow, WorkflowError};

/// Entries of each kind, at most; beyond, the shelf is cleared.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Shelf {
    workflows: HashMap<String, ((Stamp, Option<Stamp>), Parsed)>,
    inputs: HashMap<PathBuf, (Stamp, KeptInput)>,
}

/// A workflow, or what is wrong with it.
type Parsed = Result<Arc<Workflow>, Unfit>;

/// A workflow that can't be used.
#[derive(Debug, Clone)]
pub(super) struct Unfit {
    pub words: String,
    /// It is a graph of the page, and no server has said yet what it can do.
    pub wants_server: bool,
}

impl Shelf {
    /// A workflow by its name.
    pub fn workflow(
        &mut self,
        folder: &Folder,
        name: &str,
        info: Option<&ObjectInfo>,
    ) -> Result<Parsed, WorkflowFileError> {
        let before = folder.workflow_stamps(name);
        if let Some(stamps) = before
            && let Some((known, parsed)) = self.workflows.get(name)
            && *known == stamps
        {
            return Ok(parsed.clone());
        }
        let file = folder.read_workflow(name)?;
        let wrong = |error: WorkflowError| Unfit {
            wants_server: error == WorkflowError::PageFormat,
            words: format!("the workflow `{}`: {error}", file.name),
        };
        let read = Workflow::parse_any(&file.name, &file.json, file.toml.as_deref(), info, now_for_pages());
        let parsed = read.map(Arc::new).map_err(wrong);
        if parsed.as_ref().is_err_and(|unfit| unfit.wants_server) {
            return Ok(parsed);
        }
        let now = SystemTime::now();
        if let Some(stamps) = before.filter(|(graph, slots)| {
            graph.is_sharp(now) && slots.is_none_or(|s| s.is_sharp(now)) && folder.workflow_stamps(name) == before
        }) {
            make_room(&mut self.workflows);
            self.workflows.insert(name.to_owned(), (stamps, parsed.clone()));
        }
        Ok(parsed)
    }

    /// Keeps a file that a job names.
    pub fn keep(&mut self, folder: &Folder, path: &Path) -> io::Result<KeptInput> {
        let before = Stamp::of(path)?;
        if let Some(kept) = self.kept(path, before) {
            return Ok(kept.clone());
        }
        let kept = folder.keep_input(path)?;
        if before.is_sharp(SystemTime::now()) && Stamp::of(path).is_ok_and(|after| after == before) {
            make_room(&mut self.inputs);
            self.inputs.insert(path.to_owned(), (before, kept.clone()));
        }
        Ok(kept)
    }

    /// True when keeping it would copy more than `most` bytes.
    pub fn is_large(&self, path: &Path, most: u64) -> bool {
        Stamp::of(path).is_ok_and(|stamp| stamp.bytes > most && self.kept(path, stamp).is_none())
    }

    fn kept(&self, path: &Path, stamp: Stamp) -> Option<&KeptInput> {
        let (known, kept) = self.inputs.get(path)?;
        (*known == stamp && kept.stored.is_file()).then_some(kept)
    }
}

/// What the page would take from the clock and from chance.
pub(super) fn now_for_pages() -> When {
    When { now: jiff::Zoned::now().datetime(), seed: fastrand::u64(..) }
}

fn make_room<K, V>(shelf: &mut HashMap<K, V>) {
    if shelf.len() >= MOST {
        shelf.clear();
    }
}
