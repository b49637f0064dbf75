//! A job's files brought to its server, its graph posted, and what the answers mean.

use std::path::Path;

use serde_json::{Map, Value};

use super::super::core::PostResult;
use super::super::hearing::{is_page, nodes_of, posted, refused};
use super::caught;
use crate::comfy::{Client, ComfyError, Submission};
use crate::job::FailureKind;
use crate::store::InputFile;
use crate::text;
use crate::workflow::object_info::ObjectInfo;

/// What a job's file is called on its server, and where the graph wants the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub node: String,
    pub input: String,
    pub name: String,
}

/// Uploads what the graph needs.
pub async fn upload(client: &Client, files: Vec<InputFile>) -> Result<Vec<Uploaded>, PostResult> {
    caught(upload_on(client, files)).await.unwrap_or_else(|why| Err(PostResult::NotSent(why)))
}

async fn upload_on(client: &Client, files: Vec<InputFile>) -> Result<Vec<Uploaded>, PostResult> {
    let mut names = Vec::new();
    for file in files {
        let name = match &file.stored {
            Some(path) => match bring(client, path).await {
                Ok(name) => name,
                Err(error) if is_about_the_file(&error) => {
                    let name = text::clean(&file.name).into_owned();
                    let message = format!("`{name}` could not be uploaded: {error}");
                    return Err(refused(FailureKind::File, message, String::new()));
                }
                Err(error) => return Err(PostResult::NotSent(error.to_string())),
            },
            None => match client.input_exists(&file.name).await {
                Ok(true) => file.name.clone(),
                Ok(false) => {
                    let name = text::clean(&file.name).into_owned();
                    let (message, advice) = if file.of_server {
                        (
                            format!("the server has no input `{name}`"),
                            "Put the file into ComfyUI's input folder, or beside the job file and leave `input:` out.",
                        )
                    } else {
                        (
                            format!("`{name}` is neither beside the job file nor among the server's inputs"),
                            "Put the file beside the job file, or write `input:NAME` with a name that the server has.",
                        )
                    };
                    return Err(refused(FailureKind::File, message, advice.to_owned()));
                }
                Err(error) => return Err(PostResult::NotSent(error.to_string())),
            },
        };
        names.push(Uploaded { node: file.node, input: file.input, name });
    }
    Ok(names)
}

/// Uploads a kept file under the hash of its bytes, so that it replaces nothing; one that is there already stays.
async fn bring(client: &Client, path: &Path) -> Result<String, ComfyError> {
    let name = upload_name(path);
    let meta = tokio::fs::metadata(path).await;
    let bytes =
        meta.map_err(|source| ComfyError::File { what: format!("cannot read {}", path.display()), source })?.len();
    // one that was cut off while it came is brought again
    if client.input_size(&name).await? == Some(bytes) {
        return Ok(name);
    }
    client.upload(&name, path).await
}

/// The first half of the hash, and the ending: `7692c3ad3540bb803c020b3aee66cd88.png`.
fn upload_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (hash, ending) = name.split_once('.').map_or((&*name, String::new()), |(hash, end)| (hash, format!(".{end}")));
    format!("{}{ending}", hash.get(..32).unwrap_or(hash))
}

/// An upload that would fail the same way however often it is tried: the file can't be read here, or the server
/// won't have it (400, 415), finds it too big (413) or stumbles over it (500: what it answers to some names). What a
/// proxy says in a page of its own may pass, but for its 413.
fn is_about_the_file(error: &ComfyError) -> bool {
    match error {
        ComfyError::File { .. } | ComfyError::Status { code: 413, .. } => true,
        ComfyError::Status { code: 400 | 415 | 500, .. } => !is_page(error),
        _ => false,
    }
}

/// Posts a graph that is kept already.
pub async fn post(
    client: &Client,
    client_id: &str,
    prompt_id: &str,
    graph: &Value,
    extra_data: Option<&Map<String, Value>>,
    info: Option<&ObjectInfo>,
) -> PostResult {
    let posted = caught(post_on(client, client_id, prompt_id, graph, extra_data, info)).await;
    posted.unwrap_or_else(|why| PostResult::Unsure { why, refused: false, nodes: Vec::new() })
}

async fn post_on(
    client: &Client,
    client_id: &str,
    prompt_id: &str,
    graph: &Value,
    extra_data: Option<&Map<String, Value>>,
    info: Option<&ObjectInfo>,
) -> PostResult {
    let nodes = graph.as_object().map(nodes_of).unwrap_or_default();
    let submission = Submission { prompt_id, client_id, graph, extra_data };
    posted(client.submit(&submission).await, nodes, graph, info)
}
