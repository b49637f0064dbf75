//! `add --dry-run`: what a job changes in its workflow, in words.
//!
//! It only writes what it is given; nothing is read or taken.

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use super::Planned;
use crate::job_file::{Format, Source};
use crate::text::{clean, clean_lines};
use crate::workflow::{self, FileValue, Graph, InputRef, SeedChoice};

/// What a job changes in its workflow, an input a line.
pub(super) fn difference(file: &Path, job: &Planned, out: &mut dyn Write) -> io::Result<()> {
    let Planned { spec, workflow, filled } = job;
    let stem = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = spec.name.clone().unwrap_or_else(|| Format::stem(&stem).to_owned());
    let variant = spec.variant.as_ref().map(|v| format!(" {} of {}", v.number, v.of)).unwrap_or_default();
    let of = match &spec.workflow {
        Source::Graph(_) | Source::Page(_) => "a graph of its own".to_owned(),
        Source::Named(_) => workflow.name.clone(),
    };
    writeln!(out, "{}{variant} ({})", clean(&name), clean(&of))?;
    let titles = workflow::titles(&workflow.graph);
    let mut line = |place: &InputRef, before: &str, after: &str| {
        let title = titles.get(&place.node).map_or("", String::as_str);
        writeln!(out, "    {place} {title}: {} → {}", short(before), short(after))
    };
    for place in places(&workflow.graph) {
        let value = |graph: &'_ Graph| workflow::input(graph, &place.node, &place.input).map(shortened);
        let is_same = workflow::input(&workflow.graph, &place.node, &place.input)
            == workflow::input(&filled.graph, &place.node, &place.input);
        let (before, after) = (value(&workflow.graph).unwrap_or_default(), value(&filled.graph).unwrap_or_default());
        let brought = filled.files.iter().find(|file| file.node == place.node && file.input == place.input);
        let after = match brought.map(|file| &file.value) {
            Some(FileValue::Local(path)) => format!("{path} (uploaded)"),
            Some(FileValue::Job(name)) => format!("what the job {name} gives"),
            _ if filled.seed_inputs.contains(&place) => match filled.seed {
                SeedChoice::Given(seed) => seed.to_string(),
                SeedChoice::Random => "a random seed".to_owned(),
                SeedChoice::Next(_) => "one more than the last seed".to_owned(),
                SeedChoice::None => after,
            },
            _ if is_same => continue,
            _ => after,
        };
        if before != after || !is_same {
            line(&place, &before, &after)?;
        }
    }
    for (key, value) in [("server", spec.server.clone()), ("note", spec.note.clone())] {
        if let Some(value) = value {
            writeln!(out, "    {key}: {}", clean(&value))?;
        }
    }
    if !spec.after.is_empty() {
        writeln!(out, "    after: {}", clean(&spec.after.join(", ")))?;
    }
    if let Some(goal) = &filled.tries.goal {
        writeln!(out, "    {}", clean(&goal.words()))?;
    }
    if spec.repair {
        writeln!(out, "    repaired as advised")?;
    }
    if spec.hold {
        writeln!(out, "    on hold")?;
    }
    Ok(())
}

fn places(graph: &Graph) -> impl Iterator<Item = InputRef> {
    graph.iter().flat_map(|(id, node)| {
        let names = node.get("inputs").and_then(Value::as_object).into_iter().flat_map(serde_json::Map::keys);
        names.map(move |name| InputRef::new(id, name))
    })
}

/// A value as JSON; of a long text the beginning, as it is cut anyway.
fn shortened(value: &Value) -> String {
    const MOST: usize = 1000;
    match value.as_str().and_then(|text| text.char_indices().nth(MOST).and_then(|(at, _)| text.get(..at))) {
        Some(head) => Value::from(head).to_string(),
        None => value.to_string(),
    }
}

fn short(value: &str) -> String {
    const MOST: usize = 100;
    let text = clean_lines(value).replace('\n', " ");
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
