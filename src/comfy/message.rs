//! What the server says on its websocket.
//!
//! Pure: frames in, owned values out, never a failure: what cannot be read says so and is passed
//! on. Messages about other people's jobs arrive too (always compare `prompt_id`), and silence
//! means nothing. An ending's message may come before the history knows of it: the last word on a
//! job is [`Message::Executing`] with no node.

use serde::Deserialize;
use serde_json::Value;

use super::history::{Event, Failure, NodeOutput, files_of};
use super::json::{self, Entries, count, text, texts};

/// A text frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Running + pending, everybody's; it never tells which job. `sid`: the first one of a socket.
    Status {
        queue_remaining: Option<u32>,
        sid: Option<String>,
    },
    /// `timestamp_ms`: Unix milliseconds of the server's clock, here and below.
    ExecutionStart {
        prompt_id: String,
        timestamp_ms: Option<i64>,
    },
    /// Nodes that will not run. Always sent, maybe empty.
    ExecutionCached {
        prompt_id: String,
        nodes: Vec<String>,
    },
    /// `node: None` is the last word on a job, in all three endings. After a reconnect in mid-run
    /// it comes with a node and without a `prompt_id`.
    Executing {
        prompt_id: Option<String>,
        node: Option<String>,
        display_node: Option<String>,
    },
    /// Of one node; starts again at each. Finite; `max` may be 0.
    Progress {
        prompt_id: Option<String>,
        node: Option<String>,
        value: f64,
        max: f64,
    },
    /// All nodes that have started so far, in that order.
    ProgressState {
        prompt_id: String,
        nodes: Vec<NodeProgress>,
    },
    /// A node with UI output is done. A cached node names files of an earlier run.
    Executed {
        prompt_id: String,
        node: String,
        outputs: Vec<NodeOutput>,
    },
    ExecutionSuccess {
        prompt_id: String,
        timestamp_ms: Option<i64>,
    },
    ExecutionError {
        prompt_id: String,
        timestamp_ms: Option<i64>,
        failure: Failure,
    },
    /// `node_id` is where it stopped, or the next node, that never ran.
    ExecutionInterrupted {
        prompt_id: String,
        timestamp_ms: Option<i64>,
        node_id: Option<String>,
        node_type: Option<String>,
    },
    /// The server's answer to ours.
    FeatureFlags {
        /// Bytes of a request's body.
        max_upload_size: Option<u64>,
    },
    /// A kind of a custom node's or a newer server's.
    Other {
        kind: String,
    },
    Unreadable {
        why: String,
    },
}

/// How far one node is. Plain nodes go 0 of 1 to 1 of 1; a failed one stays `Running`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeProgress {
    pub node_id: String,
    /// The node of the posted graph that stands for it (they differ where a node expands at run time).
    pub display_node_id: String,
    pub value: f64,
    pub max: f64,
    pub state: NodeState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    Running,
    Finished,
    Other(String),
}

/// Reads a text frame. Never fails: see [`Message::Unreadable`].
pub fn parse(frame: &str) -> Message {
    read(frame.as_bytes()).unwrap_or_else(|why| Message::Unreadable { why })
}

fn read(frame: &[u8]) -> Result<Message, String> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "type")]
        kind: String,
    }
    let Kind { kind } = json::parse(frame).map_err(|error| error.to_string())?;
    Ok(match kind.as_str() {
        "status" => status(data(frame)?),
        "execution_start" => {
            let event: Event = data(frame)?;
            Message::ExecutionStart { prompt_id: id(&kind, &event.prompt_id)?, timestamp_ms: event.timestamp.as_i64() }
        }
        "execution_cached" => {
            let event: Event = data(frame)?;
            Message::ExecutionCached { prompt_id: id(&kind, &event.prompt_id)?, nodes: texts(&event.nodes) }
        }
        "executing" => executing(&data(frame)?),
        "progress" => progress(&data(frame)?),
        "progress_state" => progress_state(&kind, data(frame)?)?,
        "executed" => executed(&kind, &data(frame)?)?,
        "execution_success" => {
            let event: Event = data(frame)?;
            Message::ExecutionSuccess {
                prompt_id: id(&kind, &event.prompt_id)?,
                timestamp_ms: event.timestamp.as_i64(),
            }
        }
        "execution_error" => {
            let event: Event = data(frame)?;
            Message::ExecutionError {
                prompt_id: id(&kind, &event.prompt_id)?,
                timestamp_ms: event.timestamp.as_i64(),
                failure: event.failure(),
            }
        }
        "execution_interrupted" => {
            let event: Event = data(frame)?;
            Message::ExecutionInterrupted {
                prompt_id: id(&kind, &event.prompt_id)?,
                timestamp_ms: event.timestamp.as_i64(),
                node_id: text(&event.node_id),
                node_type: text(&event.node_type),
            }
        }
        "feature_flags" => {
            let flags: Entries<Value> = data(frame)?;
            let size = flags.0.iter().find(|(key, _)| key == "max_upload_size");
            Message::FeatureFlags { max_upload_size: size.and_then(|(_, value)| count(value)) }
        }
        _ => Message::Other { kind },
    })
}

/// The `data` of a frame. Frames are read twice, so that only what is used is ever kept.
fn data<T: serde::de::DeserializeOwned>(frame: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Data<T> {
        data: T,
    }
    json::parse::<Data<T>>(frame).map(|data| data.data).map_err(|error| error.to_string())
}

fn id(kind: &str, value: &Value) -> Result<String, String> {
    text(value).ok_or_else(|| format!("`{kind}` does not say of which prompt"))
}

#[derive(Deserialize)]
struct StatusData {
    #[serde(default)]
    status: Entries<Entries<Value>>,
    #[serde(default)]
    sid: Value,
}

fn status(data: StatusData) -> Message {
    let info = data.status.0.into_iter().find(|(key, _)| key == "exec_info");
    let remaining = info.and_then(|(_, info)| info.0.into_iter().find(|(key, _)| key == "queue_remaining"));
    Message::Status {
        queue_remaining: remaining.and_then(|(_, value)| count(&value)).and_then(|count| count.try_into().ok()),
        sid: text(&data.sid),
    }
}

#[derive(Deserialize)]
struct NodeData {
    #[serde(default)]
    prompt_id: Value,
    #[serde(default)]
    node: Value,
    #[serde(default)]
    display_node: Value,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    max: Value,
    #[serde(default)]
    output: Entries<Value>,
}

fn executing(data: &NodeData) -> Message {
    Message::Executing {
        prompt_id: text(&data.prompt_id),
        node: text(&data.node),
        display_node: text(&data.display_node),
    }
}

fn progress(data: &NodeData) -> Message {
    Message::Progress {
        prompt_id: text(&data.prompt_id),
        node: text(&data.node),
        value: data.value.as_f64().unwrap_or(0.0),
        max: data.max.as_f64().unwrap_or(0.0),
    }
}

fn executed(kind: &str, data: &NodeData) -> Result<Message, String> {
    let node = text(&data.node).ok_or("`executed` does not say of which node")?;
    let outputs = files_of(&node, &data.output);
    Ok(Message::Executed { prompt_id: id(kind, &data.prompt_id)?, node, outputs })
}

#[derive(Deserialize)]
struct ProgressStateData {
    #[serde(default)]
    prompt_id: Value,
    #[serde(default)]
    nodes: Entries<NodeWire>,
}

#[derive(Deserialize)]
struct NodeWire {
    #[serde(default)]
    value: Value,
    #[serde(default)]
    max: Value,
    #[serde(default)]
    state: Value,
    #[serde(default)]
    display_node_id: Value,
}

fn progress_state(kind: &str, data: ProgressStateData) -> Result<Message, String> {
    let node = |(node_id, node): (String, NodeWire)| NodeProgress {
        display_node_id: text(&node.display_node_id).unwrap_or_else(|| node_id.clone()),
        node_id,
        value: node.value.as_f64().unwrap_or(0.0),
        max: node.max.as_f64().unwrap_or(0.0),
        state: match node.state.as_str().unwrap_or_default() {
            "running" => NodeState::Running,
            "finished" => NodeState::Finished,
            other => NodeState::Other(other.to_owned()),
        },
    };
    let prompt_id = id(kind, &data.prompt_id)?;
    Ok(Message::ProgressState { prompt_id, nodes: data.nodes.0.into_iter().map(node).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_so_and_what_is_unknown_is_kept() {
        assert_eq!(
            parse(r#"{"type":"crystools.monitor","data":{"x":1}}"#),
            Message::Other { kind: "crystools.monitor".into() }
        );
        for text in [
            "",
            "[]",
            "{}",
            "null",
            "{\"type\":1}",
            "{\"type\":\"executed\"}",
            "{\"type\":\"execution_start\",\"data\":{}}",
        ] {
            assert!(matches!(parse(text), Message::Unreadable { .. }), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_none_and_ids_that_are_numbers_are_borne() {
        let text = r#"{"type":"progress","data":{"value":NaN,"max":Infinity,"node":16,"prompt_id":7,"more":[1]}}"#;
        let want = Message::Progress { prompt_id: Some("7".into()), node: Some("16".into()), value: 0.0, max: 0.0 };
        assert_eq!(parse(text), want);
    }

    #[test]
    fn an_expanded_node_names_the_one_on_the_canvas() {
        let text = r#"{"type":"progress_state","data":{"prompt_id":"p","nodes":{
            "9.0.0.1":{"value":3,"max":4,"state":"running","display_node_id":"9"},"2":{"value":1,"max":1,"state":"error"}}}}"#;
        let Message::ProgressState { nodes, .. } = parse(text) else { panic!("not a progress_state") };
        assert_eq!((nodes[0].node_id.as_str(), nodes[0].display_node_id.as_str()), ("9.0.0.1", "9"));
        assert_eq!((nodes[1].display_node_id.as_str(), &nodes[1].state), ("2", &NodeState::Other("error".into())));
    }
}
