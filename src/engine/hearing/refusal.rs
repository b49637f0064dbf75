//! A server's refusal in people's words: the node by its title, the input by its name, what would be right.
//!
//! Where the server's answer shortens the list of what is allowed, what it says of its nodes fills it in.

use serde_json::Value;

use crate::comfy::{InputError, NodeError, Validation};
use crate::job::{Failure, FailureKind};
use crate::text;
use crate::workflow::object_info::ObjectInfo;
use crate::workflow::preflight;

/// What is wrong at one input of a node.
pub(super) struct Line {
    pub title: String,
    /// The node's id.
    pub node: String,
    pub what: String,
}

impl Line {
    pub(super) fn words(&self) -> String {
        format!("{} ({}): {}", self.title, self.node, self.what)
    }
}

/// Everything that a server finds wrong, a line an input.
pub(super) fn lines(errors: &[NodeError], graph: &Value, info: Option<&ObjectInfo>) -> Vec<Line> {
    let titles = graph.as_object().map(crate::workflow::titles).unwrap_or_default();
    let mut lines = Vec::new();
    for node in errors {
        let title = titles.get(&node.node_id).cloned().or_else(|| node.class_type.clone());
        let title = text::clean(&title.unwrap_or_else(|| "node".to_owned())).into_owned();
        for error in &node.errors {
            let what = words(&node.node_id, error, graph, info);
            lines.push(Line {
                title: title.clone(),
                node: text::clean(&node.node_id).into_owned(),
                what: text::clean(&what).into_owned(),
            });
        }
    }
    lines
}

/// A refusal as the reason of a failure.
pub(super) fn failure(validation: &Validation, graph: &Value, info: Option<&ObjectInfo>) -> Failure {
    let lines = lines(&validation.node_errors, graph, info);
    let said = text::clean_lines(&validation.to_string());
    let Some(first) = lines.first() else {
        let titles = graph.as_object().map(crate::workflow::titles).unwrap_or_default();
        let node = validation.node_id.as_ref().and_then(|id| titles.get(id).cloned());
        let message = text::clean(&validation.message).into_owned();
        return Failure { kind: FailureKind::Validation, node, message, detail: said };
    };
    let more = match lines.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    // One alone is the message already.
    let all = if more.is_empty() {
        String::new()
    } else {
        lines.iter().map(|line| line.words() + "\n").collect::<String>() + "\n"
    };
    Failure {
        kind: FailureKind::Validation,
        node: Some(first.title.clone()),
        message: format!("{}{more}", first.what),
        detail: all + &said,
    }
}

/// One error: what we would have said of it ourselves, else the server's kinds in words.
fn words(node: &str, error: &InputError, graph: &Value, info: Option<&ObjectInfo>) -> String {
    let InputError { kind, message, details, input_name, received } = error;
    if let (Some(input), Some(info), Some(graph)) = (input_name, info, graph.as_object())
        && let Some(fault) = preflight::input_fault(graph, info, node, input)
    {
        return fault.words;
    }
    let Some(input) = input_name else { return format!("{message} {details}") };
    let value = received.as_ref().map_or_else(|| "what it has".to_owned(), crate::job_file::kind);
    // "steps: 'x' not in ['a', 'b']" and the like: what follows the input's name
    let rest = details.strip_prefix(input.as_str()).unwrap_or(details).trim_start_matches([' ', ':', '-', ',']);
    match kind.as_str() {
        "required_input_missing" => format!("`{input}` is missing"),
        "value_not_in_list" => match rest.split_once(" not in ") {
            Some((_, list)) if list.starts_with('[') => {
                format!("`{input}` must be one of {}, not {value}", list.trim_matches(['[', ']']))
            }
            _ => format!("`{input}` is {value}, which the server does not have"),
        },
        "value_smaller_than_min" | "value_bigger_than_max" => {
            let limit = message.rsplit(' ').next().unwrap_or_default();
            let side = if kind == "value_smaller_than_min" { "at least" } else { "at most" };
            format!("`{input}` must be {side} {limit}, not {value}")
        }
        "invalid_input_type" => format!("`{input}` can't be read: {rest}"),
        "return_type_mismatch" => {
            let kinds = rest.strip_prefix("received_type(").and_then(|rest| rest.split_once(") mismatch input_type("));
            match kinds {
                Some((has, wants)) => format!("`{input}` takes {}, and gets {has}", wants.trim_end_matches(')')),
                None => format!("`{input}` gets a link of the wrong type: {rest}"),
            }
        }
        "custom_validation_failed" => format!("`{input}`: {rest}"),
        _ => format!("`{input}`: {message} {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comfy::validation::parse_validation;
    use serde_json::json;

    /// Every refusal that was recorded of two servers, in words.
    #[test]
    fn recorded_refusals_are_told_in_words() {
        let mut told = Vec::new();
        for version in ["0.3.64", "0.33.0"] {
            let path = format!("{}/tests/wire/{version}/09-validation-errors.json", env!("CARGO_MANIFEST_DIR"));
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let recording: Value = serde_json::from_str(&text).expect("JSON");
            for exchange in recording["exchanges"].as_array().expect("exchanges") {
                let (http, graph) = (&exchange["http"], &exchange["http"]["request"]["prompt"]);
                if http["status"] == 400
                    && let Ok(validation) = parse_validation(http["response"].to_string().as_bytes())
                {
                    told.push(failure(&validation, graph, None).message);
                }
            }
        }
        for message in &told {
            assert!(!message.is_empty() && !message.contains('\n') && !message.contains("received_type"), "{message}");
        }
        let told = told.join("\n");
        for words in ["is missing", "which the server does not have", "must be at"] {
            assert!(told.contains(words), "{words} in\n{told}");
        }
    }

    #[test]
    fn what_the_server_leaves_out_its_own_nodes_tell() {
        let info = ObjectInfo::from_value(&json!({
            "Loader": {"input": {"required": {"lora_name": [["a.safetensors", "b.safetensors"]]}}, "output": []},
        }));
        let graph = json!({"7": {"class_type": "Loader", "inputs": {"lora_name": "c.safetensors"}, "_meta": {"title": "Low LoRA"}}});
        let body = json!({"error": {"type": "prompt_outputs_failed_validation", "message": "x", "details": ""},
            "node_errors": {"7": {"class_type": "Loader", "dependent_outputs": [], "errors": [{"type": "value_not_in_list",
                "message": "Value not in list", "details": "lora_name: 'c.safetensors' not in (list of length 42)",
                "extra_info": {"input_name": "lora_name", "received_value": "c.safetensors"}}]}}});
        let validation = parse_validation(body.to_string().as_bytes()).expect("a refusal");
        let why = failure(&validation, &graph, Some(&info));
        assert_eq!(why.node.as_deref(), Some("Low LoRA"));
        assert!(
            why.message.contains("did you mean `a.safetensors`") && why.message.contains("it has a.safetensors, b"),
            "{}",
            why.message
        );
        let bare = failure(&validation, &graph, None);
        assert_eq!(bare.message, "`lora_name` is the text \"c.safetensors\", which the server does not have");
    }
}
