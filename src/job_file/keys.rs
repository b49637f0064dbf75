//! The keys that every job has, in one table: what each takes, and what it means.
//!
//! Pure. The reader (`reader`) takes values by it, the JSON Schema ([`super::schema`]) and the comments of
//! `comfytop new` are made from it. A new key is one entry here and one line in the reader.

use super::{MAX_JOBS, MAX_NAME, MAX_PRIORITY};
use crate::job::MOST_TRIES;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A workflow's name, or a graph.
    Workflow,
    /// A text that is not empty, with at most so many characters.
    Text {
        most: usize,
    },
    /// A whole number.
    Whole {
        least: i64,
        most: i64,
    },
    Switch,
    /// A list of texts.
    Texts,
    /// Jobs by name or number: one, or a list.
    Jobs,
    /// Values by input: `{"14.cfg": 1.0}`.
    Edits,
    /// Lists of values by slot or input.
    Lists,
    /// An object, kept as it is.
    Object,
    /// What an output must be like, and what is tried until it is.
    Until,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One key of a job.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub takes: Takes,
    /// For the schema and for `comfytop new`.
    pub words: &'static str,
}

const fn key(name: &'static str, takes: Takes, words: &'static str) -> Key {
    Key { name, takes, words }
}

/// As many as a file may have jobs.
#[expect(clippy::cast_possible_wrap, reason = "a thousand")]
const MAX_REPEAT: i64 = MAX_JOBS as i64;

/// All of them, in the order in which people write them.
pub const KEYS: &[Key] = &[
    key("workflow", Takes::Workflow, "the name of a workflow in workflows/, or a graph right here"),
    key(
        "name",
        Takes::Text { most: MAX_NAME },
        "what the job and its outputs are called; the file's name where left out",
    ),
    key("set", Takes::Edits, "edits of single inputs: node id, title or class, dot, input"),
    key("repeat", Takes::Whole { least: 1, most: MAX_REPEAT }, "so many jobs of this one, in one group"),
    key("sweep", Takes::Lists, "lists of values by slot or input: every combination is a job, all in one group"),
    key("priority", Takes::Whole { least: -MAX_PRIORITY, most: MAX_PRIORITY }, "higher goes first; 0 where left out"),
    key("server", Takes::Text { most: MAX_NAME }, "the name of the only server that may render it"),
    key("hold", Takes::Switch, "true: take it, but do not render it until it is let go"),
    key("after", Takes::Jobs, "names or numbers of jobs that must be done first"),
    key("tags", Takes::Texts, "texts to find it by"),
    key("note", Takes::Text { most: 10_000 }, "a text for yourself"),
    key("extra_data", Takes::Object, "posted beside the graph, as ComfyUI's own page does"),
    key("until", Takes::Until, "render again, with another seed or other values, until an output is good enough"),
    key("best_of", Takes::Whole { least: 2, most: MOST_TRIES as i64 }, "render it so often, and keep the best"),
    key(
        "repair",
        Takes::Word(&["auto", "none"]),
        "auto: do at once what the judge advises, as a copy beside the output",
    ),
];

/// Their names: the keys of a job that are no slots.
pub const OWN_KEYS: &[&str] = &{
    let mut names = [""; KEYS.len()];
    let mut at = 0;
    while at < KEYS.len() {
        names[at] = KEYS[at].name;
        at += 1;
    }
    names
};

pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
