//! Where the value of an input comes from: the place that a person would set so that it takes effect.
//!
//! Pure. It goes through nodes that hand on, through switches by the branch that they take now, through expressions,
//! and to the size of a picture that was resized. What it does not know it does not follow.

use serde_json::Value;

use crate::workflow::graph::{Graph, class, input, link};
use crate::workflow::slots::InputRef;

/// Inputs of nodes that only hand a value on.
pub const VALUES: &[&str] = &["value", "text", "string", "int", "float", "number", "Value", "Number"];
/// So many links are followed for one value.
const HOPS: usize = 16;
/// No expression that people write for a number is longer, in bytes.
const MOST_EXPRESSION: usize = 300;

/// Inputs by which a switch chooses, `on_true` or `on_false`.
const CHOOSERS: &[&str] = &["switch", "boolean", "condition"];
/// Inputs by which a switch chooses by number, and what its branches are called before the number.
const NUMBERED: &[(&str, &str)] = &[("select", "input"), ("index", "value")];

/// What `GetImageSize` gives, by output.
const SIZES: &[&str] = &["width", "height", "length"];
/// Nodes that make pictures of the size that they are told.
const SIZED: &[&str] = &["EmptyImage", "ImageScale", "ResizeImageMaskNode"];
/// Nodes that cut so many frames as they are told out of others.
pub const CUT: &[&str] = &["ImageFromBatch"];
/// Nodes that leave the size of a picture as it is.
const SAME_SIZE: &[&str] = &["ImageFromBatch", "ImageInvert", "PreviewImage", "RepeatImageBatch"];
/// Nodes that leave the number of frames as it is.
const SAME_LENGTH: &[&str] =
    &["ImageInvert", "ImageScale", "ImageScaleBy", "ImageScaleToTotalPixels", "PreviewImage", "ResizeImageMaskNode"];
/// What a node calls the pictures that it works on.
const PICTURES: &[&str] = &["image", "images", "input", "pixels"];

/// A place where a value is set.
#[derive(Debug, Clone, PartialEq)]
pub struct Source<'g> {
    pub at: InputRef,
    /// What stands there: no link.
    pub value: &'g Value,
    /// The switches on the way: the place that decides each, and what it says now.
    pub switches: Vec<(InputRef, &'g Value)>,
}

/// What a value is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Made<'g> {
    pub of: Vec<Source<'g>>,
    /// The one source is the value itself.
    pub is_same: bool,
}

/// The place that has the value of an input, as it is.
pub fn source<'g>(graph: &'g Graph, node: &str, name: &str) -> Option<Source<'g>> {
    let mut walk = Walk { graph, left: HOPS, switches: Vec::new() };
    match walk.end(InputRef::new(node, name))? {
        End::Value(at, value) => Some(Source { at, value, switches: walk.switches }),
        End::Made(..) | End::Scaled(_) => None,
    }
}

/// The places that the value of an input is made of. `None`: of something that is not known.
pub fn made<'g>(graph: &'g Graph, node: &str, name: &str) -> Option<Made<'g>> {
    Walk { graph, left: HOPS, switches: Vec::new() }.made(InputRef::new(node, name), true)
}

/// The size of the pictures that an input is linked to: `dimension` 0 is the width, 1 the height, 2 the number.
pub fn picture<'g>(graph: &'g Graph, node: &str, name: &str, dimension: u64) -> Option<Made<'g>> {
    let mut walk = Walk { graph, left: HOPS, switches: Vec::new() };
    let (at, is_same) = walk.picture(input(graph, node, name)?, dimension)?;
    walk.made(at, is_same)
}

/// The branch that a switch takes now; `None`: it is no switch, or nobody can say.
pub fn taken(graph: &Graph, node: &str) -> Option<InputRef> {
    Walk { graph, left: HOPS, switches: Vec::new() }.taken(node)
}

/// The node gives one of several inputs on.
pub fn is_switch(graph: &Graph, node: &str) -> bool {
    chooser(graph, node).is_some()
}

fn chooser(graph: &Graph, node: &str) -> Option<(&'static str, Option<&'static str>)> {
    let has = |name: &str| input(graph, node, name).is_some();
    if has("on_true") || has("on_false") {
        return CHOOSERS.iter().find(|name| has(name)).map(|name| (*name, None));
    }
    let numbered = |(select, branch): &&(&str, &str)| {
        has(select) && (0..3).filter(|number| has(&format!("{branch}{number}"))).count() > 1
    };
    NUMBERED.iter().find(numbered).map(|(select, branch)| (*select, Some(*branch)))
}

/// Where a walk comes to its end.
enum End<'g> {
    Value(InputRef, &'g Value),
    /// A node that makes its value by this expression.
    Made(&'g str, &'g str),
    /// Pictures are scaled that have the size in this input.
    Scaled(InputRef),
}

struct Walk<'g> {
    graph: &'g Graph,
    left: usize,
    switches: Vec<(InputRef, &'g Value)>,
}

impl<'g> Walk<'g> {
    /// What an input is made of, in one step: what is made of what was made is nobody's to read.
    fn made(&mut self, at: InputRef, is_same: bool) -> Option<Made<'g>> {
        let parts = match self.end(at)? {
            End::Value(at, value) => {
                return Some(Made { of: vec![Source { at, value, switches: self.switches.clone() }], is_same });
            }
            End::Made(node, expression) => self.variables(node, expression),
            End::Scaled(at) => vec![at],
        };
        let mut of: Vec<Source> = Vec::new();
        for at in parts {
            let End::Value(at, value) = self.end(at)? else { return None };
            if of.iter().all(|known| known.at != at) {
                of.push(Source { at, value, switches: self.switches.clone() });
            }
        }
        (!of.is_empty()).then_some(Made { of, is_same: false })
    }

    fn end(&mut self, mut at: InputRef) -> Option<End<'g>> {
        loop {
            let value = input(self.graph, &at.node, &at.input)?;
            let Some(from) = link(value) else { return Some(End::Value(at, value)) };
            self.left = self.left.checked_sub(1)?;
            let kind = self.graph.get(from).and_then(class);
            at = if is_switch(self.graph, from) {
                self.taken(from)?
            } else if let Some(expression) = input(self.graph, from, "expression").and_then(Value::as_str) {
                if expression.len() > MOST_EXPRESSION {
                    return None;
                }
                if !is_bare(expression) {
                    return Some(End::Made(from, expression));
                }
                self.variables(from, expression).pop()?
            } else if kind == Some("GetImageSize") {
                let pictures = input(self.graph, from, "image")?;
                match self.picture(pictures, value.get(1).and_then(Value::as_u64)?)? {
                    (at, true) => at,
                    (at, false) => return Some(End::Scaled(at)),
                }
            } else {
                let next = VALUES.iter().find(|name| input(self.graph, from, name).is_some_and(|v| !v.is_object()))?;
                InputRef::new(from, *next)
            };
        }
    }

    fn taken(&mut self, node: &str) -> Option<InputRef> {
        let (chooser, numbered) = chooser(self.graph, node)?;
        let End::Value(at, value) = self.end(InputRef::new(node, chooser))? else { return None };
        let branch = match numbered {
            Some(branch) => format!("{branch}{}", value.as_u64()?),
            None => if value.as_bool()? { "on_true" } else { "on_false" }.to_owned(),
        };
        if !self.switches.contains(&(at.clone(), value)) {
            self.switches.push((at, value));
        }
        input(self.graph, node, &branch).is_some().then(|| InputRef::new(node, branch))
    }

    /// The inputs of a node that its expression names (`a`, or `values.a` of a list that grows): those that are linked,
    /// as what stands in the node itself is a part of its expression; else all.
    fn variables(&self, node: &str, expression: &str) -> Vec<InputRef> {
        let mut all: Vec<InputRef> = Vec::new();
        for word in expression.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()) {
            let names = [format!("values.{word}"), word.to_owned()];
            let name = names.into_iter().find(|name| input(self.graph, node, name).is_some());
            let new = name.map(|name| InputRef::new(node, name)).filter(|at| !all.contains(at));
            all.extend(new);
        }
        let is_linked = |at: &&InputRef| input(self.graph, node, &at.input).and_then(link).is_some();
        let linked: Vec<InputRef> = all.iter().filter(is_linked).cloned().collect();
        if linked.is_empty() { all } else { linked }
    }

    /// The input that tells the size of these pictures; false where they are scaled after it.
    fn picture(&mut self, pictures: &'g Value, dimension: u64) -> Option<(InputRef, bool)> {
        let wanted = *SIZES.get(usize::try_from(dimension).ok()?)?;
        let counts = wanted == "length";
        let (tell, keep) = if counts { (CUT, SAME_LENGTH) } else { (SIZED, SAME_SIZE) };
        let (mut pictures, mut is_same) = (pictures, true);
        loop {
            self.left = self.left.checked_sub(1)?;
            let node = link(pictures)?;
            if is_switch(self.graph, node) {
                let branch = self.taken(node)?;
                pictures = input(self.graph, &branch.node, &branch.input)?;
                continue;
            }
            let kind = self.graph.get(node).and_then(class)?;
            if tell.contains(&kind) {
                let names = [wanted.to_owned(), format!("resize_type.{wanted}")];
                let name = names.into_iter().find(|name| input(self.graph, node, name).is_some())?;
                return Some((InputRef::new(node, name), is_same));
            }
            if !keep.contains(&kind) {
                if counts || kind != "ImageScaleBy" {
                    return None;
                }
                is_same = false;
            }
            pictures = PICTURES.iter().find_map(|name| input(self.graph, node, name))?;
        }
    }
}

/// It only hands its one variable on, as a whole number perhaps: `a`, `int(a)`, `round (a)`.
fn is_bare(expression: &str) -> bool {
    let mut rest = expression.trim();
    while let Some(inner) = rest.strip_suffix(')') {
        let opened = |word: &str| inner.strip_prefix(word)?.trim_start().strip_prefix('(');
        let Some(argument) = ["int", "float", "round", "floor", "ceil", ""].into_iter().find_map(opened) else {
            return false;
        };
        rest = argument.trim();
    }
    !rest.is_empty() && rest.chars().all(|c| c.is_alphanumeric() || c == '_')
}
