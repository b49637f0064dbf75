//! `comfytop workflow ls | show | infer`: which workflows there are, and what a job may fill in them.

use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use crate::config::InboxConfig;
use crate::folder::Folder;
use crate::job_file::{MAX_BYTES, PAGE_GRAPH};
use crate::text::{self, clean};
use crate::workflow::asked;
use crate::workflow::convert::When;
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::{self, BUILT_IN, Slot, Workflow, WorkflowError, slots_toml};

/// The names of the workflows of a folder; those that come with the program where it has none yet.
pub fn names(folder: &Folder) -> Vec<String> {
    match folder.workflow_names() {
        Ok(names) if !names.is_empty() => names,
        _ => BUILT_IN.iter().map(|(name, ..)| (*name).to_owned()).collect(),
    }
}

/// What a server says of its nodes, got when it is first asked for.
pub type Info<'i> = &'i dyn Fn() -> Option<&'i ObjectInfo>;

/// A workflow by its name.
///
/// # Errors
/// What is wrong, in words.
pub fn read_workflow(folder: &Folder, name: &str, info: Info<'_>) -> Result<Workflow, String> {
    if !folder.workflows.is_dir() {
        let Some((name, json, toml)) = BUILT_IN.iter().find(|(known, ..)| *known == name) else {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, ..)| *name).collect();
            let hint = text::did_you_mean(name, names.iter().copied());
            return Err(format!("no workflow `{}`{hint}; there are {}", clean(name), names.join(", ")));
        };
        return Workflow::parse(name, json, Some(toml)).map_err(|error| error.to_string());
    }
    let text = folder.read_workflow(name).map_err(|error| error.to_string())?;
    let wrong = |error: WorkflowError| format!("the workflow `{}`: {error}", text.name);
    read_text(&text.name, &text.json, text.toml.as_deref(), info).map_err(wrong)
}

fn read_text(name: &str, json: &str, toml: Option<&str>, info: Info<'_>) -> Result<Workflow, WorkflowError> {
    match Workflow::parse(name, json, toml) {
        Err(WorkflowError::PageFormat) => Workflow::parse_any(name, json, toml, info(), now_for_pages()),
        read => read,
    }
}

/// What the page would take from the clock and from chance.
pub(super) fn now_for_pages() -> When {
    When { now: jiff::Zoned::now().datetime(), seed: fastrand::u64(..) }
}

/// What is wrong with the profiles of the inboxes, each with the inbox: what is dropped there would be rejected. A graph of
/// the page is left to the engine, which knows a server.
pub fn profile_faults(folder: &Folder, inboxes: &[InboxConfig]) -> Vec<(String, String)> {
    let faults = inboxes.iter().filter_map(|inbox| {
        let workflow = read_workflow(folder, inbox.workflow.as_ref()?, &|| None);
        let faults = match workflow {
            Ok(workflow) => asked::profile_faults(inbox, &workflow),
            Err(why) if why.contains(PAGE_GRAPH) => Vec::new(),
            Err(why) => vec![why],
        };
        Some(faults.into_iter().map(|fault| (inbox.path.display().to_string(), fault)))
    });
    faults.flatten().collect()
}

/// Lists the workflows: name, what it needs, what it is.
///
/// # Errors
/// When `out` can't be written to.
pub fn ls(folder: &Folder, info: Info<'_>, out: &mut dyn Write) -> io::Result<bool> {
    let mut well = true;
    for name in names(folder) {
        match read_workflow(folder, &name, info) {
            Ok(workflow) => {
                let slots: Vec<&str> = workflow.slots.iter().map(|slot| slot.name.as_str()).collect();
                writeln!(out, "{:<24} {}", clean(&name), clean(&workflow.description))?;
                writeln!(out, "{:<24} slots: {}", "", clean(&slots.join(", ")))?;
            }
            Err(why) => {
                well = false;
                writeln!(out, "{:<24} {}", clean(&name), clean(&why))?;
            }
        }
    }
    Ok(well)
}

/// One workflow: its slots, what each takes, and what it has where a job leaves it out.
///
/// # Errors
/// When `out` can't be written to.
pub fn show(workflow: &Workflow, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", clean(&workflow.name))?;
    if !workflow.description.is_empty() {
        writeln!(out, "{}", clean(&workflow.description))?;
    }
    let titles = workflow::titles(&workflow.graph);
    for slot in &workflow.slots {
        let place = slot.inputs.first();
        let default = place.and_then(|at| workflow::input(&workflow.graph, &at.node, &at.input));
        let default = match default {
            _ if slot.required => "must be given".to_owned(),
            Some(value) => shown(value),
            None => String::new(),
        };
        writeln!(out, "\n{:<20} {} · {default}", clean(&slot.name), rules(slot))?;
        if !slot.description.is_empty() {
            writeln!(out, "{:<20} {}", "", clean(&slot.description))?;
        }
        let inputs: Vec<String> = slot
            .inputs
            .iter()
            .chain(slot.also.iter().map(|also| &also.input))
            .map(|at| format!("{at} ({})", titles.get(&at.node).map_or("", String::as_str)))
            .collect();
        writeln!(out, "{:<20} fills {}", "", clean(&inputs.join(", ")))?;
    }
    Ok(())
}

/// What a slot takes, in words.
pub(super) fn rules(slot: &Slot) -> String {
    let range = match (slot.min, slot.max) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(", at least {min}"),
        (None, Some(max)) => format!(", at most {max}"),
        (None, None) => String::new(),
    };
    let multiple = match (slot.multiple_of, slot.plus) {
        (Some(by), 0) => format!(", a multiple of {by}"),
        (Some(by), plus) => format!(", {by}n+{plus}"),
        (None, _) => String::new(),
    };
    let choices = if slot.choices.is_empty() { String::new() } else { format!(", one of {}", slot.choices.join(", ")) };
    format!("{}{range}{multiple}{choices}", slot.kind.words())
}

/// A value as a job would write it, cut where it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = clean(&value.to_string()).into_owned();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Prints the `.toml` that declares the slots that a graph seems to have.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn infer(file: &Path, info: Info<'_>, out: &mut dyn Write) -> Result<(), String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("it has {size} bytes; a workflow has at most {} MiB", MAX_BYTES >> 20));
    }
    let json = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let workflow = read_text(&name, &json, None, info).map_err(|error| error.to_string())?;
    let words = "what the slots are for, and their limits, are yours to say";
    write!(out, "{}", slots_toml(words, &workflow.slots)).map_err(|error| error.to_string())
}
