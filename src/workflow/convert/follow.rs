//! Follows links to where a value really comes from: through reroutes, bypassed nodes, Set and Get nodes,
//! and in and out of subgraphs.

use std::collections::{HashMap, HashSet};

use super::error::{Fault, Problem};
use super::page;
use super::sheet::{End, Mode, Node, Promoted, Role, Sheets, Slot};
use super::{DEEPEST, MOST_NODES};

/// After so many steps it is worth remembering where one has been.
const FEW_STEPS: usize = 64;

/// Every place where a subgraph stands, the root first.
pub(super) struct Unfolded<'s, 'a> {
    pub sheets: &'s Sheets<'a>,
    pub places: Vec<Place>,
    /// What "use everywhere" nodes link: input (node, number) of the root to output (node, number).
    pub everywhere: HashMap<(usize, usize), (usize, usize)>,
}

pub(super) struct Place {
    pub sheet: usize,
    /// The place and the node there that this one is the inside of.
    up: Option<(usize, usize)>,
    /// The ids of those nodes, each with a colon.
    pub prefix: String,
    depth: usize,
    below: HashMap<usize, usize>,
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// Nothing is linked, or nothing comes: the input keeps the value of its widget, if it has one.
    Nothing,
    Node {
        place: usize,
        node: usize,
        output: usize,
    },
    /// Of a promoted widget.
    Value(Promoted<'a>),
}

/// One end on the way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct At {
    place: usize,
    node: usize,
    slot: usize,
    is_input: bool,
}

impl<'s, 'a> Unfolded<'s, 'a> {
    pub fn new(sheets: &'s Sheets<'a>) -> Result<Self, Fault> {
        let root = Place { sheet: 0, up: None, prefix: String::new(), depth: 0, below: HashMap::new() };
        let mut this = Self { sheets, places: vec![root], everywhere: HashMap::new() };
        let mut nodes = sheets.all[0].nodes.len();
        if let Some(node) = sheets.all[0].nodes.get(MOST_NODES) {
            return Err(Fault::new(&node.id, node.shown(), Problem::TooManyNodes));
        }
        let mut place = 0;
        while place < this.places.len() {
            let sheet = &sheets.all[this.places[place].sheet];
            for (number, node) in sheet.nodes.iter().enumerate() {
                let Role::Host(inner) = node.role else { continue };
                // Inside a subgraph the page looks at the modes of the nodes only, not of what holds them.
                if place == 0 && node.mode != Mode::Runs {
                    continue;
                }
                let here = &this.places[place];
                let fault = |problem| Fault::new(&format!("{}{}", here.prefix, node.id), node.shown(), problem);
                if this.holds(place, inner) {
                    return Err(fault(Problem::HoldsItself(sheets.all[inner].name.to_owned())));
                }
                if here.depth >= DEEPEST {
                    return Err(fault(Problem::TooDeep));
                }
                nodes += sheets.all[inner].nodes.len() + 1;
                if nodes > MOST_NODES {
                    return Err(fault(Problem::TooManyNodes));
                }
                let below = Place {
                    sheet: inner,
                    up: Some((place, number)),
                    prefix: format!("{}{}:", here.prefix, node.id),
                    depth: here.depth + 1,
                    below: HashMap::new(),
                };
                let new = this.places.len();
                this.places.push(below);
                this.places[place].below.insert(number, new);
            }
            place += 1;
        }
        Ok(this)
    }

    /// Whether this place is that subgraph, or lies in it.
    fn holds(&self, mut place: usize, sheet: usize) -> bool {
        loop {
            if self.places[place].sheet == sheet {
                return true;
            }
            match self.places[place].up {
                Some((up, _)) => place = up,
                None => return false,
            }
        }
    }

    pub fn id(&self, place: usize, node: usize) -> String {
        format!("{}{}", self.places[place].prefix, self.node(place, node).id)
    }

    pub fn node(&self, place: usize, node: usize) -> &'s Node<'a> {
        &self.sheets.all[self.places[place].sheet].nodes[node]
    }

    fn fault(&self, place: usize, node: usize, problem: Problem) -> Fault {
        Fault::new(&self.id(place, node), self.node(place, node).shown(), problem)
    }

    /// Where the value of an input comes from.
    pub fn source(&self, place: usize, node: usize, slot: usize) -> Result<Source<'a>, Fault> {
        let mut at = At { place, node, slot, is_input: true };
        // The type that is wanted at the end; a bypassed node on the way looks for it.
        let mut kind: Option<&str> = None;
        let mut seen = HashSet::new();
        for step in 0.. {
            if step > FEW_STEPS && !seen.insert(at.clone()) {
                let input = self.node(place, node).inputs.get(slot).map(|slot| slot.name.to_string());
                return Err(self.fault(place, node, Problem::Circle(input.unwrap_or_default())));
            }
            let next = if at.is_input { self.enter(&at, &mut kind)? } else { self.pass(&at, &mut kind) };
            match next {
                Step::To(next) => at = next,
                Step::End(source) => return Ok(source),
            }
        }
        Ok(Source::Nothing)
    }

    /// From an input to the output that is linked to it.
    fn enter(&self, at: &At, kind: &mut Option<&'s str>) -> Result<Step<'a>, Fault> {
        let here = self.node(at.place, at.node);
        let Some(slot) = here.inputs.get(at.slot) else { return Ok(NOTHING) };
        let sheet = &self.sheets.all[self.places[at.place].sheet];
        let Some(link) = slot.link else {
            if at.place == 0
                && let Some(&(node, slot)) = self.everywhere.get(&(at.node, at.slot))
            {
                return Ok(Step::To(At { place: 0, node, slot, is_input: false }));
            }
            return Ok(NOTHING);
        };
        let loose = || {
            let problem = Problem::LooseLink { input: slot.name.to_string(), link };
            self.fault(at.place, at.node, problem)
        };
        let link = sheet.links.get(&link).ok_or_else(loose)?;
        match (&link.from, self.places[at.place].up) {
            (End::Inputs, Some((place, node))) => Ok(self.leave(place, node, link.from_slot, kind)),
            (End::Node(id), _) => {
                let node = sheet.node(id).ok_or_else(loose)?;
                kind.get_or_insert(&slot.kind);
                Ok(Step::To(At { place: at.place, node, slot: link.from_slot, is_input: false }))
            }
            _ => Err(loose()),
        }
    }

    /// Out of a subgraph, to the input of its node.
    fn leave(&self, place: usize, node: usize, slot: usize, kind: &mut Option<&str>) -> Step<'a> {
        *kind = None;
        match self.node(place, node).inputs.get(slot) {
            Some(Slot { link: None, promoted: Some(value), .. }) => Step::End(Source::Value(value.clone())),
            Some(_) => Step::To(At { place, node, slot, is_input: true }),
            None => NOTHING,
        }
    }

    /// From an output to what it hands on; a node that runs is the end.
    fn pass(&self, at: &At, kind: &mut Option<&'s str>) -> Step<'a> {
        let here = self.node(at.place, at.node);
        match here.mode {
            Mode::Muted => return NOTHING,
            Mode::Bypassed => {
                let through = bypass(here, at.slot, kind.unwrap_or("*"));
                *kind = None;
                return through.map_or(NOTHING, |slot| Step::To(At { slot, is_input: true, ..*at }));
            }
            Mode::Runs => {}
        }
        match here.role {
            Role::Real(_) => Step::End(Source::Node { place: at.place, node: at.node, output: at.slot }),
            Role::Passage => Step::To(At { is_input: true, ..*at }),
            Role::Host(inner) => {
                let Some(&place) = self.places[at.place].below.get(&at.node) else { return NOTHING };
                let sheet = &self.sheets.all[inner];
                let link = sheet.outputs.get(at.slot).and_then(|port| port.links.first());
                let Some(link) = link.and_then(|link| sheet.links.get(link)) else { return NOTHING };
                match &link.from {
                    End::Node(id) => sheet
                        .node(id)
                        .map_or(NOTHING, |node| Step::To(At { place, node, slot: link.from_slot, is_input: false })),
                    // Straight through.
                    End::Inputs => Step::To(At { slot: link.from_slot, is_input: true, ..*at }),
                    End::Outputs => NOTHING,
                }
            }
            Role::Get => match self.setter(at.place, here) {
                Some((place, node)) => Step::To(At { place, node, slot: 0, is_input: true }),
                None => NOTHING,
            },
            Role::Primitive | Role::Remark | Role::Stray | Role::Unknown | Role::Unsettled => NOTHING,
        }
    }

    /// The Set node that a Get node names: on its own sheet, else on one that this lies in.
    pub fn setter(&self, mut place: usize, get: &Node) -> Option<(usize, usize)> {
        let name = get.first_value()?;
        loop {
            let nodes = &self.sheets.all[self.places[place].sheet].nodes;
            let found = nodes.iter().position(|node| page::is_setter(node.class) && node.first_value() == Some(name));
            if let Some(node) = found {
                return Some((place, node));
            }
            place = self.places[place].up?.0;
        }
    }
}

enum Step<'a> {
    To(At),
    End(Source<'a>),
}

const NOTHING: Step<'static> = Step::End(Source::Nothing);

/// The input that a bypassed node hands on through one of its outputs.
fn bypass(node: &Node, output: usize, wanted: &str) -> Option<usize> {
    let given = node.outputs.get(output)?;
    if matches!(wanted, "*" | "") {
        return Some(if node.inputs.len() > output { output } else { 0 });
    }
    let fits = |slot: &Slot| joins(&slot.kind, given) && joins(&slot.kind, wanted);
    if node.inputs.get(output).is_some_and(fits) {
        return Some(output);
    }
    let exact = node.inputs.iter().position(|slot| slot.kind == wanted);
    exact.or_else(|| node.inputs.iter().position(fits))
}

/// Whether one type may be linked to the other: `*` to all, `INT,FLOAT` to each of them.
pub(super) fn joins(one: &str, other: &str) -> bool {
    let any = |kind: &str| matches!(kind, "" | "*");
    any(one)
        || any(other)
        || one.split(',').any(|a| other.split(',').any(|b| any(a) || any(b) || a.eq_ignore_ascii_case(b)))
}
