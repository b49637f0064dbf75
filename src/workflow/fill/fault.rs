//! What keeps a job from being filled into its workflow.

use thiserror::Error;

use crate::job_file::AND_MORE;
use crate::text;

/// So many of a list of names are told.
pub(super) const SHOWN: usize = 40;

/// One thing in a job that does not fit its workflow. All text is fit to show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FillFault {
    #[error("no slot `{slot}` in `{workflow}`{}; its slots: {}", hint(nearest.as_deref()), list(slots))]
    UnknownSlot { slot: String, workflow: String, slots: Vec<String>, nearest: Option<String> },
    #[error("no slot `{slot}`: `{workflow}` declares none; edit inputs with `set`, or put a .toml beside it")]
    NoSlots { slot: String, workflow: String },
    #[error("`{slot}` {why}")]
    BadValue { slot: String, why: String },
    #[error("`{slot}` is missing: {description}")]
    Missing { slot: String, description: String },
    #[error("`set` names node {node}, which is not in `{workflow}`{}; its nodes: {}", hint(nearest.as_deref()), list(nodes))]
    UnknownNode { key: String, node: String, workflow: String, nodes: Vec<String>, nearest: Option<String> },
    #[error("`set` names `{key}`: node {node} has no input `{input}`{}; its inputs: {}", hint(nearest.as_deref()), list(inputs))]
    UnknownInput { key: String, node: String, input: String, inputs: Vec<String>, nearest: Option<String> },
    #[error("`set`: `{key}` {why}")]
    BadSet { key: String, why: String },
    #[error("`{slot}` in `vary` {why}")]
    Varied { slot: String, why: String },
    #[error("`{key}` {why}")]
    Tries { key: &'static str, why: String },
    #[error("{AND_MORE}")]
    More,
}

impl FillFault {
    /// Where in the job it stands, for [`crate::job_file::Places::error`].
    pub fn path(&self) -> Vec<&str> {
        match self {
            Self::UnknownSlot { slot, .. }
            | Self::NoSlots { slot, .. }
            | Self::BadValue { slot, .. }
            | Self::Missing { slot, .. } => vec![slot],
            Self::UnknownNode { key, .. } | Self::UnknownInput { key, .. } | Self::BadSet { key, .. } => {
                vec!["set", key]
            }
            Self::Varied { slot, .. } => vec!["until", "vary", slot],
            Self::Tries { key, .. } => vec![key],
            Self::More => Vec::new(),
        }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

fn list(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).map(|name| text::clean(name)).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
