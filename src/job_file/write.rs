//! A job as the text of a job file: what people see when they edit it.
//!
//! Pure. What is read back gives the same job.

use serde_json::{Map, Value};

use super::{JobSpec, Source, Until};

/// The job as one JSON object, a key a line.
#[must_use]
pub fn text_of(spec: &JobSpec) -> String {
    // which of several it is does not matter any more: it is edited alone
    let JobSpec {
        workflow,
        name,
        slots,
        set,
        priority,
        note,
        server,
        hold,
        after,
        tags,
        extra_data,
        until,
        repair,
        ..
    } = spec;
    let texts = |list: &[String]| Value::Array(list.iter().cloned().map(Value::String).collect());
    let mut map = Map::new();
    match workflow {
        Source::Named(named) => {
            map.extend(named.clone().map(|named| ("workflow".to_owned(), Value::String(named))));
        }
        // A graph that says nothing of itself is the whole file.
        Source::Graph(graph) | Source::Page(graph) if is_bare(spec) => {
            return format!("{:#}\n", Value::Object((**graph).clone()));
        }
        Source::Graph(graph) | Source::Page(graph) => {
            map.insert("workflow".to_owned(), Value::Object((**graph).clone()));
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
    map.extend(until.as_ref().map(Until::written));
    if *repair {
        map.insert("repair".to_owned(), "auto".into());
    }
    if let Some(extra) = extra_data {
        map.insert("extra_data".to_owned(), Value::Object(extra.clone()));
    }
    format!("{:#}\n", Value::Object(map))
}

/// It says nothing but its graph.
fn is_bare(spec: &JobSpec) -> bool {
    let JobSpec { workflow: _, name, slots, set, priority, note, server, hold, after, tags, extra_data, until, .. } =
        spec;
    let texts = [name, note, server].into_iter().all(Option::is_none);
    let lists = after.is_empty() && tags.is_empty() && slots.is_empty() && set.is_empty();
    texts && lists && *priority == 0 && !hold && extra_data.is_none() && until.is_none() && !spec.repair
}

#[cfg(test)]
mod tests {
    use super::super::{Format, parse};
    use super::*;

    #[test]
    fn what_is_written_reads_the_same() {
        for text in [
            r#"{"workflow": "loop", "image": "a.png", "prompt": "turning \"a\" page", "seed": 18446744073709551615}"#,
            r#"{"name": "x", "set": {"14.cfg": 1.5}, "priority": -3, "hold": true, "tags": ["a", "b"], "note": "n", "server": "s"}"#,
            r##"{"workflow": "x", "after": ["a", "#12"], "extra_data": {"extra_pnginfo": {}}, "prompt": "y"}"##,
            r#"{"workflow": "x", "until": {"verdict": "loops", "seam": 1.5, "vary": {"length": [65, 81]}}, "repair": "auto"}"#,
            r#"{"workflow": "x", "until": {"ssim": 0.85, "tries": 4, "minutes": 60.0, "vary": "increment"}}"#,
            r#"{"workflow": "x", "best_of": 4}"#,
            r#"{"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}"#,
            r#"{"workflow": {"3": {"class_type": "KSampler", "inputs": {}}}, "name": "y"}"#,
        ] {
            let spec = parse(Format::Json, text.as_bytes()).unwrap().remove(0);
            let written = text_of(&spec);
            assert_eq!(parse(Format::Json, written.as_bytes()).unwrap(), [spec], "{written}");
        }
    }
}
