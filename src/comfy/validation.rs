//! What the server says to a posted graph: accepted, perhaps in part, or refused, and why.
//!
//! Pure. The error sits on the failing node; `dependent_outputs` names the outputs it spoils.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::json::{self, text, texts};

/// `POST /prompt`, answered 200.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The id it runs under; the one we sent, wherever the server keeps what it is sent.
    pub prompt_id: Option<String>,
    pub number: f64,
    /// Parts that are invalid and **will not run**, though the job was accepted and will succeed.
    pub node_errors: Vec<NodeError>,
}

/// `POST /prompt`, answered 400.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validation {
    /// `prompt_outputs_failed_validation`, `missing_node_type`, `invalid_prompt`, …
    pub kind: String,
    pub message: String,
    pub details: String,
    /// The node that the error itself names (`missing_node_type`).
    pub node_id: Option<String>,
    pub node_errors: Vec<NodeError>,
}

/// What is wrong at one node, and which outputs it spoils.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    pub node_id: String,
    pub class_type: Option<String>,
    pub dependent_outputs: Vec<String>,
    pub errors: Vec<InputError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    /// `value_not_in_list`, `required_input_missing`, `custom_validation_failed`, …
    pub kind: String,
    pub message: String,
    /// Names the value; of a long list it gives only the length.
    pub details: String,
    pub input_name: Option<String>,
    pub received: Option<Value>,
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = super::error::excerpt;
        write!(f, "the server refused the workflow: {}", shown(&self.message, 300))?;
        // With node errors the details repeat one of them.
        if !self.details.is_empty() && self.node_errors.is_empty() {
            write!(f, " ({})", shown(&self.details, 300))?;
        }
        for node in &self.node_errors {
            write!(f, "; {node}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = super::error::excerpt;
        write!(f, "node {}", shown(&self.node_id, 40))?;
        if let Some(class) = &self.class_type {
            write!(f, " ({})", shown(class, 80))?;
        }
        for (index, error) in self.errors.iter().enumerate() {
            f.write_str(if index == 0 { ": " } else { ", " })?;
            f.write_str(&shown(&error.message, 300))?;
            if !error.details.is_empty() {
                write!(f, ": {}", shown(&error.details, 300))?;
            }
        }
        Ok(())
    }
}

fn node_errors(value: &Value) -> Vec<NodeError> {
    let Some(nodes) = value.as_object() else {
        return Vec::new();
    };
    let node = |(node_id, error): (&String, &Value)| NodeError {
        node_id: node_id.clone(),
        class_type: error.get("class_type").and_then(text),
        dependent_outputs: error.get("dependent_outputs").map(texts).unwrap_or_default(),
        errors: error.get("errors").and_then(Value::as_array).into_iter().flatten().map(input_error).collect(),
    };
    nodes.iter().map(node).collect()
}

fn input_error(error: &Value) -> InputError {
    let word = |key: &str| error.get(key).and_then(text).unwrap_or_default();
    let extra = |key: &str| error.get("extra_info").and_then(|info| info.get(key));
    InputError {
        kind: word("type"),
        message: word("message"),
        details: word("details"),
        input_name: extra("input_name").and_then(text),
        received: extra("received_value").cloned(),
    }
}

/// # Errors
/// Not a JSON object.
pub fn parse_accepted(body: &[u8]) -> Result<Accepted, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        prompt_id: Value,
        #[serde(default)]
        number: Value,
        #[serde(default)]
        node_errors: Value,
    }
    let wire: Wire = json::parse(body)?;
    Ok(Accepted {
        prompt_id: text(&wire.prompt_id),
        number: wire.number.as_f64().unwrap_or(0.0),
        node_errors: node_errors(&wire.node_errors),
    })
}

/// # Errors
/// Not a JSON object with `error`.
pub fn parse_validation(body: &[u8]) -> Result<Validation, serde_json::Error> {
    #[derive(Deserialize)]
    struct Wire {
        error: Value,
        #[serde(default)]
        node_errors: Value,
    }
    let wire: Wire = json::parse(body)?;
    let word = |key: &str| wire.error.get(key).and_then(text).unwrap_or_default();
    Ok(Validation {
        kind: word("type"),
        message: text(&wire.error).unwrap_or_else(|| word("message")),
        details: word("details"),
        node_id: wire.error.get("extra_info").and_then(|info| info.get("node_id")).and_then(text),
        node_errors: node_errors(&wire.node_errors),
    })
}
