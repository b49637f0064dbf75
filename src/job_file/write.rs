//! A job as the text of a job file: what people see when they edit it.
//!
//! Pure. What is read back gives the same job.

use serde_json::{Map, Value};

use super::{JobSpec, Source};

/// The job as one JSON object, a key a line.
#[must_use]
pub fn text_of(spec: &JobSpec) -> String {
    let JobSpec { workflow, name, slots, set, priority, note, server, hold, after, tags } = spec;
    let texts = |list: &[String]| Value::Array(list.iter().cloned().map(Value::String).collect());
    let mut map = Map::new();
    match workflow {
        Source::Named(named) => {
            map.extend(named.clone().map(|named| ("workflow".to_owned(), Value::String(named))));
        }
        // A graph that says nothing of itself is the whole file.
        Source::Graph(graph) if *spec == (JobSpec { workflow: workflow.clone(), ..bare() }) => {
            return format!("{:#}\n", Value::Object(graph.clone()));
        }
        Source::Graph(graph) => {
            map.insert("workflow".to_owned(), Value::Object(graph.clone()));
        }
    }
    for (key, value) in [("name", name), ("note", note), ("server", server)] {
        map.extend(value.clone().map(|value| (key.to_owned(), Value::String(value))));
    }
    map.extend(slots.clone());
    if !set.is_empty() {
        map.insert("set".to_owned(), Value::Object(set.clone()));
    }
    if *priority != 0 {
        map.insert("priority".to_owned(), (*priority).into());
    }
    if *hold {
        map.insert("hold".to_owned(), true.into());
    }
    for (key, list) in [("after", after), ("tags", tags)] {
        if !list.is_empty() {
            map.insert(key.to_owned(), texts(list));
        }
    }
    format!("{:#}\n", Value::Object(map))
}

fn bare() -> JobSpec {
    JobSpec {
        workflow: Source::Named(None),
        name: None,
        slots: Map::new(),
        set: Map::new(),
        priority: 0,
        note: None,
        server: None,
        hold: false,
        after: Vec::new(),
        tags: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        for text in [
            r#"{"workflow": "loop", "image": "a.png", "prompt": "turning \"a\" page", "seed": 18446744073709551615}"#,
            r#"{"name": "x", "set": {"14.cfg": 1.5}, "priority": -3, "hold": true, "tags": ["a", "b"], "note": "n", "server": "s"}"#,
            r#"{"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}"#,
            r#"{"workflow": {"3": {"class_type": "KSampler", "inputs": {}}}, "name": "y"}"#,
        ] {
            let spec = parse(text.as_bytes()).unwrap().remove(0);
            let written = text_of(&spec);
            assert_eq!(parse(written.as_bytes()).unwrap(), [spec], "{written}");
        }
    }
}
