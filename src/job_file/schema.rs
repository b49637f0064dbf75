//! The JSON Schema of job files, for editors: made from the table of keys that the reader reads by.
//!
//! Pure. `docs/job.schema.json` is what this says; a test holds it current.

use serde_json::{Map, Value, json};

use super::MAX_JOBS;
use super::keys::{KEYS, Takes};
use crate::job::MOST_TRIES;

/// The schema (draft 2020-12).
#[must_use]
pub fn schema() -> Value {
    let mut keys = Map::new();
    for key in KEYS {
        let mut shape = takes(key.takes);
        if let Some(shape) = shape.as_object_mut() {
            shape.insert("description".to_owned(), key.words.into());
        }
        keys.insert(key.name.to_owned(), shape);
    }
    keys.insert(
        "seed".to_owned(),
        json!({
            "description": "0 to 2^64-1; -1 or \"random\": drawn and recorded; \"increment\": one more than the last job \
                of this workflow had; a list: a job for each",
            "anyOf": [{"$ref": "#/$defs/seed"}, {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/seed"}}],
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "comfytop job file",
        "description": "One job, a list of jobs, a graph, or the body of a POST to /prompt.",
        "anyOf": [
            {"$ref": "#/$defs/job"},
            {"type": "array", "minItems": 1, "maxItems": MAX_JOBS, "items": {"$ref": "#/$defs/job"}},
            {"$ref": "#/$defs/graph"},
            {"$ref": "#/$defs/posted"},
            {"$ref": "#/$defs/page"},
        ],
        "$defs": {
            "job": {
                "type": "object",
                "minProperties": 1,
                "properties": keys,
                "additionalProperties": {"description": "a slot of the workflow"},
            },
            "seed": {
                "anyOf": [
                    {"type": "integer", "minimum": -1, "maximum": u64::MAX},
                    {"enum": ["random", "increment"]},
                ],
            },
            "graph": {
                "description": "nodes by id, in API format",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "object",
                    "required": ["class_type", "inputs"],
                    "properties": {"class_type": {"type": "string"}, "inputs": {"type": "object"}},
                },
            },
            "page": {
                "description": "a graph as ComfyUI's page saves it",
                "type": "object",
                "required": ["nodes", "links"],
                "properties": {"nodes": {"type": "array"}},
            },
            "posted": {
                "description": "the body of a POST to /prompt",
                "type": "object",
                "required": ["prompt"],
                "properties": {"prompt": {"$ref": "#/$defs/graph"}, "extra_data": {"type": "object"}},
            },
        },
    })
}

fn takes(takes: Takes) -> Value {
    match takes {
        Takes::Workflow => {
            json!({"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/graph"}, {"$ref": "#/$defs/page"}]})
        }
        Takes::Text { most } => json!({"type": "string", "minLength": 1, "maxLength": most}),
        Takes::Whole { least, most } => json!({"type": "integer", "minimum": least, "maximum": most}),
        Takes::Switch => json!({"type": "boolean"}),
        Takes::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Takes::Jobs => {
            let one = json!({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}]});
            json!({"anyOf": [one, {"type": "array", "items": one}]})
        }
        Takes::Edits => json!({"type": "object", "propertyNames": {"pattern": "^[^.]+\\..+$"}}),
        Takes::Lists => {
            json!({"type": "object", "minProperties": 1, "additionalProperties": {"type": "array", "minItems": 1}})
        }
        Takes::Object => json!({"type": "object"}),
        Takes::Word(words) => json!({"enum": words}),
        Takes::Until => json!({
            "type": "object",
            "properties": {
                "verdict": {"enum": ["loops"], "description": "as it is, or after the cut that the judge advises"},
                "ssim": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "of first and last frame, at least"},
                "seam": {"type": "number", "exclusiveMinimum": 0, "description": "the seam against an ordinary step, at most"},
                "tries": {"type": "integer", "minimum": 1, "maximum": MOST_TRIES, "description": "at most so many"},
                "minutes": {"type": "number", "exclusiveMinimum": 0, "description": "no try is begun once so many were rendered"},
                "vary": {
                    "description": "what the next try has: another seed, one more, or the next of these values",
                    "anyOf": [
                        {"enum": ["seed", "increment"]},
                        {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array", "minItems": 1}},
                    ],
                },
            },
            "additionalProperties": false,
            "anyOf": [{"required": ["verdict"]}, {"required": ["ssim"]}, {"required": ["seam"]}],
        }),
    }
}
