//! `comfytop repair FILE`: a mended copy beside it, measured again, and both shown.

use std::io::Write;
use std::path::Path;

use thiserror::Error;

use super::measure::{Options, compare};
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
