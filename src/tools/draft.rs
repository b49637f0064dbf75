//! `comfytop new`: a commented job file to begin with. TOML, as JSON has no comments.

use std::fmt::Write as _;

use serde_json::Value;

use super::workflows::rules;
use crate::job_file::keys::{KEYS, Takes};
use crate::text::clean;
use crate::workflow::{self, SlotType, Workflow};

/// The text of a job file for a workflow: what must be given stands there to be filled, the rest is commented out with
/// the workflow's own values.
pub fn job_file(workflow: &Workflow, others: &[String]) -> String {
    // Writing to a String can't fail.
    let mut out = String::new();
    let _ = writeln!(
        out,
        "# A job file. Drop it into jobs/, or: comfytop add FILE. What is wrong with it: comfytop check FILE"
    );
    if !workflow.description.is_empty() {
        let _ = writeln!(out, "# {}", clean(&workflow.description));
    }
    let _ = writeln!(out, "workflow = {}", quoted(&workflow.name));
    let others: Vec<&str> = others.iter().map(String::as_str).filter(|name| *name != workflow.name).collect();
    if !others.is_empty() {
        let _ = writeln!(out, "# others: {}", clean(&others.join(", ")));
    }
    let _ = writeln!(out, "\n# ---- its slots; what stands behind a # is the workflow's own value ----");
    for slot in &workflow.slots {
        let place = slot.inputs.first();
        let own = place.and_then(|at| workflow::input(&workflow.graph, &at.node, &at.input));
        let _ = writeln!(out, "\n# {} ({})", clean(&slot.description), rules(slot));
        let mark = if slot.required { "" } else { "# " };
        match slot.kind {
            SlotType::Seed => {
                let _ = writeln!(out, "# seed = 123    # or \"random\", \"increment\", [1, 2, 3]; left out: random");
            }
            kind if kind.is_file() => {
                let file = own.and_then(Value::as_str).unwrap_or("file");
                let _ = writeln!(
                    out,
                    "{mark}{} = {}    # a path, \"input:NAME\" on the server, or \"job:NAME\"",
                    key(&slot.name),
                    quoted(file)
                );
            }
            _ => {
                let value = own.map_or_else(|| "\"\"".to_owned(), toml_value);
                // a long text is easier to write on several lines
                let _ = writeln!(out, "{mark}{} = {value}", key(&slot.name));
            }
        }
    }
    let _ = writeln!(out, "\n# ---- for every workflow ----\n");
    for own in KEYS.iter().filter(|own| own.name != "workflow" && own.name != "extra_data") {
        let example = match (own.name, own.takes) {
            (_, Takes::Until) => "{ verdict = \"loops\", tries = 8, vary = \"seed\" }",
            ("repair", _) => "\"auto\"",
            ("name", _) => "\"my_job\"",
            ("repeat" | "best_of", _) => "4",
            ("priority", _) => "10",
            ("server", _) => "\"NAME\"",
            ("after", _) => "[\"another_job\"]",
            ("tags", _) => "[\"night\"]",
            ("note", _) => "\"for the trailer\"",
            ("hold", _) => "true",
            ("set", _) => "{ \"14.cfg\" = 1.0 }",
            _ => "{ seed = [1, 2, 3] }",
        };
        let _ = writeln!(out, "# {} = {example}    # {}", own.name, own.words);
    }
    out
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key as TOML writes it.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { name.to_owned() } else { quoted(name) }
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text).replace('\n', "\\n"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_file::{Format, parse};
    use crate::workflow::BUILT_IN;

    #[test]
    fn what_is_written_is_a_job_that_can_be_filled() {
        for (name, json, toml) in BUILT_IN {
            let workflow = Workflow::parse(name, json, Some(toml)).expect("a workflow");
            let text = job_file(&workflow, &["other".to_owned()]);
            let jobs = parse(Format::Toml, text.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
            workflow.fill(&jobs[0]).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
            // with every comment that is a setting taken off, it is one still
            let all: String = text
                .lines()
                .map(|line| match line.strip_prefix("# ") {
                    Some(setting) if setting.contains(" = ") && !setting.starts_with("A job") => format!("{setting}\n"),
                    _ => format!("{line}\n"),
                })
                .collect();
            let all = all
                .replace("sweep = ", "# sweep = ")
                .replace("server = ", "# server = ")
                .replace("best_of = ", "# best_of = ");
            let jobs = parse(Format::Toml, all.as_bytes()).unwrap_or_else(|errors| panic!("{errors:?}\n{all}"));
            assert_eq!(jobs.len(), 4);
            workflow.fill(&jobs[0]).unwrap_or_else(|faults| panic!("{faults:?}\n{all}"));
        }
    }
}
