//! Where the files of a job's inputs come from: kept now, waited for, or the server's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{LARGE, Reader};
use crate::folder::is_text;
use crate::job::JobId;
use crate::job_file::JobSpec;
use crate::store::InputFile;
use crate::text;
use crate::workflow::asked::{no_file, no_picture};
use crate::workflow::graph::{self, Graph};
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::slots::SlotType;
use crate::workflow::{FileInput, FileValue, preflight};

/// Why an input can't be had.
pub(super) enum NoInput {
    Never(String),
    /// It must come, or be copied, first: noted in [`Reader::missing`] or [`Reader::large`].
    Later,
}

impl Reader<'_> {
    /// The file that this input had before the edit, if it is still the one that is named.
    pub(super) fn kept_before(&self, file: &FileInput) -> Option<InputFile> {
        let before = self.before?;
        let (FileValue::Local(written) | FileValue::Perhaps(written)) = &file.value else { return None };
        let named = before.graph.get(&file.node)?.get("inputs")?.get(&file.input)?.as_str()?;
        let kept = before.files.iter().find(|f| f.node == file.node && f.input == file.input)?;
        (named == written && kept.stored.as_ref().is_some_and(|path| path.is_file())).then(|| kept.clone())
    }

    /// What the servers that may render it say of their nodes.
    fn infos(&self, only: Option<&str>) -> impl Iterator<Item = &Arc<ObjectInfo>> {
        let seats = self.state.server_names().zip(self.servers);
        let fitting = seats.filter(move |(name, _)| only.is_none_or(|only| only == *name));
        fitting.filter_map(|(_, known)| known.as_ref().map(|known| &known.info))
    }

    /// What the first of them says.
    pub(super) fn info_for(&self, only: Option<&str>) -> Option<Arc<ObjectInfo>> {
        self.infos(only).next().cloned()
    }

    /// Whether a name that may be the server's own is worth waiting for: no server lists it.
    fn may_come(&self, spec: &JobSpec, graph: &Graph, file: &FileInput, name: &str) -> bool {
        let class = graph.get(&file.node).and_then(graph::class).unwrap_or_default();
        let lists = |info: &Arc<ObjectInfo>| {
            preflight::choices(info, class, &file.input)
                .is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
        };
        // what ComfyUI made names what it had
        !self.drop.is_media() && !preflight::is_elsewhere(name) && !self.infos(spec.server.as_deref()).any(lists)
    }

    /// Where an input's file comes from; `None`: it is the server's own and stands in the graph already.
    pub(super) fn input(
        &mut self,
        spec: &JobSpec,
        graph: &Graph,
        file: &FileInput,
        after: &mut Vec<JobId>,
    ) -> Result<Option<InputFile>, NoInput> {
        let input = |stored, name, from| {
            Ok(Some(InputFile {
                node: file.node.clone(),
                input: file.input.clone(),
                stored,
                name,
                of_server: matches!(file.value, FileValue::Server(_)),
                from,
                takes: file.takes,
            }))
        };
        let written = match &file.value {
            FileValue::Server(name) => return input(None, name.clone(), None),
            FileValue::Job(name) => {
                let jobs = self.jobs_called(name).map_err(NoInput::Never)?;
                let last = jobs.last().copied();
                after.extend(last);
                return input(None, format!("job:{name}"), last);
            }
            FileValue::Local(path) | FileValue::Perhaps(path) => path,
        };
        let path = self.drop.dir.join(written);
        // one that is empty is only about to come
        if path.metadata().is_ok_and(|file| file.is_file() && (file.len() > 0 || self.drop.last_call)) {
            // A job file may name any file that we can read: what is no picture is not carried to a server.
            if file.takes == SlotType::Image && is_text(&path) {
                return Err(NoInput::Never(no_picture(written)));
            }
            let kept = match self.drop.copies.get(&path) {
                Some(kept) => kept.clone(),
                None if self.drop.can_wait() && self.shelf.is_large(&path, LARGE) => {
                    self.large.push(path);
                    return Err(NoInput::Later);
                }
                None => self.shelf.keep(self.folder, &path).map_err(|e| e.to_string()),
            };
            let kept = kept.map_err(NoInput::Never)?;
            if self.drop.path.as_ref() != Some(&path) && !self.named.contains(&path) {
                self.named.push(path);
            }
            return input(Some(kept.stored), kept.name, None);
        }
        let perhaps = matches!(file.value, FileValue::Perhaps(_));
        if !self.drop.last_call && (!perhaps || self.may_come(spec, graph, file, written)) {
            self.miss(written, path);
            return Err(NoInput::Later);
        }
        if perhaps && preflight::is_elsewhere(written) {
            return Ok(None);
        }
        let is_bare = Path::new(written).components().count() == 1;
        if is_bare || perhaps {
            // Perhaps one of the server's: it is asked before the job is posted.
            return input(None, written.clone(), None);
        }
        Err(NoInput::Never(no_file(&path)))
    }

    fn miss(&mut self, written: &str, path: PathBuf) {
        if self.missing.files.is_empty() {
            self.missing.words = text::clean(written).into_owned();
        }
        if !self.missing.files.contains(&path) {
            self.missing.files.push(path);
        }
    }
}
