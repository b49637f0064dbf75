//! `comfytop repair FILE`: a mended copy beside it, measured again, and both shown.

use std::io::Write;
use std::path::Path;

use thiserror::Error;

use super::measure::{Options, compare};
use crate::text::json_text;
use crate::verdict::Repair;
use crate::video::repair::{RepairError, repair};
use crate::video::{self, VideoError};

/// Why there is no mended copy.
#[derive(Debug, Error)]
pub enum Trouble {
    #[error("{0}")]
    Measure(#[from] VideoError),
    #[error("{0}")]
    Repair(#[from] RepairError),
    /// Its verdict advises nothing.
    #[error("{0}")]
    NothingToDo(String),
    #[error("the answer can't be written: {0}")]
    Write(#[from] std::io::Error),
}

/// Repairs a clip, as named or as its verdict advises, and shows it and its copy.
///
/// # Errors
/// [`Trouble`]; its words don't name the file.
pub fn run(path: &Path, named: Option<Repair>, options: &Options, out: &mut dyn Write) -> Result<(), Trouble> {
    let done = mend(path, named, options, out);
    if let (true, Err(trouble)) = (options.json, &done) {
        let line = serde_json::json!({"path": path.to_string_lossy(), "error": trouble.to_string()});
        writeln!(out, "{}", json_text(&line.to_string()))?;
    }
    done
}

fn mend(path: &Path, named: Option<Repair>, options: &Options, out: &mut dyn Write) -> Result<(), Trouble> {
    let before = video::examine(path, &options.limits, &options.thresholds)?;
    let Some(how) = named.or_else(|| Repair::advised(&before.0)) else {
        let verdict = before.0.verdict.unwrap_or_default().word();
        return Err(Trouble::NothingToDo(format!(
            "its verdict is `{verdict}`, which advises nothing: name a repair (--cut-end N, --cut-start N, --drop-doubled, \
             --boomerang, --crossfade N, --level)"
        )));
    };
    let copy = repair(path, how, &before.0, &options.limits)?;
    let mut after = video::examine(&copy.path, &options.limits, &options.thresholds);
    if let Ok((measured, _)) = &mut after {
        Repair::own_up(&before.0, measured);
        if let Some(lacks) = &copy.note {
            measured.add_note(lacks);
        }
    }
    Ok(compare(&[(path, &Ok(before)), (&copy.path, &after)], options, out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_copy_there_is_an_object_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.mp4");
        std::fs::write(&path, "no clip").unwrap();
        let mut out = Vec::new();
        let options = Options { json: true, ..Options::default() };
        let trouble = run(&path, None, &options, &mut out).unwrap_err().to_string();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json, serde_json::json!({"path": path.to_string_lossy(), "error": trouble}));
    }
}
