//! A job's files brought to its server, its graph posted, and what the answers mean.

use serde_json::Value;

use super::super::core::PostResult;
use super::nodes_of;
use crate::comfy::{Client, ComfyError, Submission};
use crate::job::{Failure, FailureKind};
use crate::store::InputFile;
use crate::text;

fn refused(kind: FailureKind, message: String, detail: String) -> PostResult {
    PostResult::Refused(Failure { kind, node: None, message, detail })
}

/// What a job's file is called on its server, and where the graph wants the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub node: String,
    pub input: String,
    pub name: String,
}

/// Uploads what the graph needs.
pub async fn upload(client: &Client, files: Vec<InputFile>) -> Result<Vec<Uploaded>, PostResult> {
    let mut names = Vec::new();
    for file in files {
        let name = match &file.stored {
            Some(path) => match client.upload(&file.name, path).await {
                Ok(name) => name,
                Err(error @ ComfyError::File { .. }) => {
                    return Err(refused(FailureKind::File, error.to_string(), String::new()));
                }
                Err(error) => return Err(PostResult::NotSent(error.to_string())),
            },
            None => match client.input_exists(&file.name).await {
                Ok(true) => file.name.clone(),
                Ok(false) => {
                    let name = text::clean(&file.name).into_owned();
                    return Err(refused(
                        FailureKind::File,
                        format!("`{name}` is neither beside the job file nor among the server's inputs"),
                        "Put the file beside the job file, or write `input:NAME` with a name that the server has."
                            .to_owned(),
                    ));
                }
                Err(error) => return Err(PostResult::NotSent(error.to_string())),
            },
        };
        names.push(Uploaded { node: file.node, input: file.input, name });
    }
    Ok(names)
}

/// Posts a graph that is kept already.
pub async fn post(client: &Client, client_id: &str, prompt_id: &str, graph: &Value) -> PostResult {
    let nodes = graph.as_object().map(nodes_of).unwrap_or_default();
    let title = |id: &str| nodes.iter().find(|n| n.id == id).map_or(id.to_owned(), |n| n.title.clone());
    let submission = Submission { prompt_id, client_id, graph, extra_data: None };
    match client.submit(&submission).await {
        Ok(accepted) => {
            let notes = accepted
                .node_errors
                .iter()
                .flat_map(|node| {
                    let title = title(&node.node_id);
                    node.errors.iter().map(move |e| {
                        text::clean(&format!("left out by the server: {title}: {} {}", e.message, e.details))
                            .into_owned()
                    })
                })
                .collect();
            PostResult::Accepted { notes, nodes }
        }
        Err(ComfyError::Rejected(validation)) => {
            let node = validation.node_errors.first().map(|e| title(&e.node_id));
            let first = validation.node_errors.first().and_then(|e| e.errors.first());
            let message = first.map_or_else(
                || validation.to_string(),
                |e| {
                    let input = e.input_name.as_deref().map(|i| format!("{i}: ")).unwrap_or_default();
                    format!("{input}{} {}", e.message, e.details)
                },
            );
            PostResult::Refused(Failure {
                kind: FailureKind::Validation,
                node,
                message: text::clean(&message).into_owned(),
                detail: text::clean_lines(&validation.to_string()),
            })
        }
        Err(error) if error.may_have_arrived() => {
            let answered = matches!(error, ComfyError::Status { .. });
            PostResult::Unsure { why: error.to_string(), refused: answered, nodes }
        }
        Err(error @ ComfyError::Status { .. }) => refused(FailureKind::Validation, error.to_string(), String::new()),
        Err(error) => PostResult::NotSent(error.to_string()),
    }
}
