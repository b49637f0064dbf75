//! What keeps a graph from being converted: which node, and why.

use std::fmt;

use thiserror::Error;

use crate::text;

/// A graph that can't be converted: all that was found wrong, up to [`MOST_FAULTS`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConvertError {
    #[error("this is no graph as ComfyUI's page saves it: it has no list of `nodes`")]
    NotAPageGraph,
    #[error("this graph is in API format already: nothing to convert")]
    ApiFormat,
    #[error("{}", lines(.0))]
    Faults(Vec<Fault>),
}

/// After so many faults no more are looked for.
pub const MOST_FAULTS: usize = 20;

/// One thing that is wrong, at one node. Its text is fit to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As the API format names it: `76:57:1` is node 1 of subgraph node 57 of subgraph node 76.
    pub node: String,
    /// The node's title, else its class.
    pub title: String,
    pub problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("it is not an object with an `id`")]
    Shapeless,
    #[error("another node ({other}) has the same id")]
    SameId { other: String },
    #[error("the server has no node class `{class}`{}{}", from_pack(.pack.as_deref()), .near)]
    NoClass { class: String, pack: Option<String>, near: String },
    #[error("there is no subgraph `{0}` in this file")]
    NoSubgraph(String),
    #[error("its input `{input}` has the link {link}, which leads to nothing")]
    LooseLink { input: String, link: i64 },
    #[error("its input `{0}` is linked in a circle")]
    Circle(String),
    #[error("the subgraph `{0}` contains itself")]
    HoldsItself(String),
    #[error("subgraphs are nested more than {} deep here", super::DEEPEST)]
    TooDeep,
    #[error("with its subgraphs unfolded the graph has more than {} nodes", super::MOST_NODES)]
    TooManyNodes,
    #[error("with its subgraphs unfolded the graph is larger than {} MB", super::MOST_BYTES >> 20)]
    TooLarge,
}

impl Fault {
    pub(super) fn new(node: &str, title: &str, problem: Problem) -> Self {
        let problem = match problem {
            Problem::NoClass { class, pack, near } => {
                Problem::NoClass { class: cut(&class), pack: pack.as_deref().map(cut), near }
            }
            Problem::SameId { other } => Problem::SameId { other: cut(&other) },
            Problem::NoSubgraph(id) => Problem::NoSubgraph(cut(&id)),
            Problem::LooseLink { input, link } => Problem::LooseLink { input: cut(&input), link },
            Problem::Circle(input) => Problem::Circle(cut(&input)),
            Problem::HoldsItself(name) => Problem::HoldsItself(cut(&name)),
            other => other,
        };
        Self { node: cut(node), title: cut(title), problem }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.node)?;
        if !self.title.is_empty() {
            write!(f, " ({})", self.title)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl From<Fault> for ConvertError {
    fn from(fault: Fault) -> Self {
        Self::Faults(vec![fault])
    }
}

/// Names come from a file of a stranger: one line, and not a long one.
fn cut(name: &str) -> String {
    const LONGEST: usize = 80;
    let name = text::clean(name);
    if name.chars().count() <= LONGEST {
        return name.into_owned();
    }
    let mut short: String = name.chars().take(LONGEST).collect();
    short.push('…');
    short
}

fn from_pack(pack: Option<&str>) -> String {
    pack.map_or_else(String::new, |pack| format!(" (the graph says that it comes from {pack})"))
}

fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}
