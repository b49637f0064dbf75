//! What a server's words mean to the core. Pure: the driver asks and listens, and so does a simulation in virtual
//! time; both understand what they hear in the same way.

mod refusal;

use serde_json::{Map, Value};

use super::core::{Found, Heard, Look, PostResult};
use crate::comfy::{self, Accepted, ComfyError, History, Message, Queue, QueueItem};
use crate::estimate::Node;
use crate::job::{Failure, FailureKind};
use crate::text;
use crate::workflow::object_info::ObjectInfo;

/// A message as the core wants it.
pub fn heard(message: Message) -> Heard {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "step counts; saturates")]
    let whole = |v: f64| v.max(0.0) as u64;
    match message {
        Message::Status { queue_remaining: Some(remaining), .. } => Heard::Remaining(remaining),
        Message::ExecutionStart { prompt_id, .. } => Heard::Started { prompt: prompt_id },
        Message::ExecutionCached { prompt_id, nodes } => Heard::Cached { prompt: prompt_id, nodes },
        Message::Executing { prompt_id: Some(prompt), node: None, .. } => Heard::Last { prompt },
        Message::Executing { prompt_id, node: Some(node), display_node } => {
            Heard::Node { prompt: prompt_id, node: display_node.unwrap_or(node) }
        }
        Message::Progress { prompt_id, node: Some(node), value, max } => {
            Heard::Step { prompt: prompt_id, node, value: whole(value), max: whole(max) }
        }
        Message::ExecutionSuccess { prompt_id, .. } => Heard::Rendered { prompt: prompt_id },
        Message::ExecutionError { prompt_id, failure: why, .. } => {
            Heard::Failed { prompt: prompt_id, node: why.node_id.clone(), why: failure(&why) }
        }
        Message::ExecutionInterrupted { prompt_id, .. } => Heard::Interrupted { prompt: prompt_id },
        _ => Heard::Other,
    }
}

/// A node's exception in people's words; the node by its class, as its title is not known here.
pub fn failure(why: &comfy::Failure) -> Failure {
    let message = text::clean(why.exception_message.lines().next().unwrap_or_default()).into_owned();
    let out_of_memory = why.exception_type.contains("OutOfMemory")
        || why.exception_message.contains("ran out of memory on your GPU")
        || why.exception_message.contains("CUDA out of memory");
    let kind = text::clean(&why.exception_type).into_owned();
    let mut detail = text::clean_lines(&why.exception_message);
    if !why.traceback.is_empty() {
        detail.push_str("\n\n");
        detail.push_str(&text::clean_lines(&why.traceback.concat()));
    }
    Failure {
        kind: if out_of_memory { FailureKind::OutOfMemory } else { FailureKind::Node },
        node: why.node_type.as_ref().or(why.node_id.as_ref()).map(|n| text::clean(n).into_owned()),
        message: if out_of_memory {
            "out of memory".to_owned()
        } else if kind.is_empty() {
            message
        } else {
            format!("{kind}: {message}")
        },
        detail,
    }
}

/// What a history's entry says.
pub fn ended(history: &History) -> Look {
    let seconds = match (history.started_ms, history.ended_ms) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one render")]
        (Some(start), Some(end)) if end >= start => Some((end - start) as f64 / 1000.0),
        _ => None,
    };
    let ending = match &history.ending {
        comfy::Ending::Success => Found::Success,
        comfy::Ending::Error(why) => Found::Failed { node: why.node_id.clone(), why: failure(why) },
        comfy::Ending::Interrupted => Found::Interrupted,
    };
    Look::Ended { ending, seconds }
}

/// Where a queue has a prompt; `None`: nowhere, so its history is to be asked next.
pub fn standing(queue: &Queue, id: &str) -> Option<Look> {
    let copies = |items: &[QueueItem]| items.iter().filter(|i| i.prompt_id == id).count();
    let (running, pending) = (copies(&queue.running), copies(&queue.pending));
    let copies = u32::try_from(running + pending).unwrap_or(u32::MAX);
    match (running, pending) {
        (0, 0) => None,
        (0, _) => Some(Look::Pending { copies }),
        _ => Some(Look::Running { copies }),
    }
}

/// Whether a prompt was deleted between these two, and had not begun. One that is in neither queue nor history may as
/// well have ended a moment ago; but nothing begins while something else renders.
pub fn was_deleted(before: &Queue, after: &Queue, id: &str) -> bool {
    let renders = |queue: &Queue| queue.running.iter().map(|item| item.prompt_id.clone()).collect::<Vec<_>>();
    let waited = before.pending.iter().any(|item| item.prompt_id == id);
    waited && standing(after, id).is_none() && !before.running.is_empty() && renders(before) == renders(after)
}

/// What the answer to a POST means. `nodes`: of the graph that was posted.
pub fn posted(
    answer: Result<Accepted, ComfyError>,
    nodes: Vec<Node>,
    graph: &Value,
    info: Option<&ObjectInfo>,
) -> PostResult {
    match answer {
        Ok(accepted) => {
            let lines = refusal::lines(&accepted.node_errors, graph, info);
            let left_out = lines.iter().map(|line| format!("left out by the server: {}", line.words())).collect();
            PostResult::Accepted { notes: left_out, nodes }
        }
        Err(ComfyError::Rejected(validation)) => PostResult::Refused(refusal::failure(&validation, graph, info)),
        // A page in place of the answer, with no error to it: a log-in page, and ComfyUI behind it never saw the graph.
        Err(error @ ComfyError::NotComfyUi { .. }) if is_page(&error) => PostResult::NotSent(error.to_string()),
        Err(error) if error.may_have_arrived() => {
            // Only ComfyUI's own word counts as a refusal; a proxy's says nothing about the graph.
            let refused = matches!(error, ComfyError::Status { .. }) && !is_page(&error);
            PostResult::Unsure { why: error.to_string(), refused, nodes }
        }
        Err(error @ ComfyError::Status { code, .. })
            if is_about_the_graph(code) && (code == 413 || !is_page(&error)) =>
        {
            refused(FailureKind::Validation, error.to_string(), String::new())
        }
        Err(error) => PostResult::NotSent(error.to_string()),
    }
}

/// Of the answers below 500, those that don't speak of the address (404, 405) or the moment (408, 429).
fn is_about_the_graph(code: u16) -> bool {
    !matches!(code, 404 | 405 | 408 | 421 | 425 | 429)
}

/// Not ComfyUI's word: a page of something that stands in front of it. ComfyUI answers in JSON or plain text, and
/// never with 502 to 504.
pub(super) fn is_page(error: &ComfyError) -> bool {
    match error {
        ComfyError::NotComfyUi { what: page, .. } | ComfyError::Status { excerpt: page, .. } => {
            page.starts_with("an HTML page") || error.is_unreachable()
        }
        _ => false,
    }
}

pub(super) fn refused(kind: FailureKind, message: String, detail: String) -> PostResult {
    PostResult::Refused(Failure { kind, node: None, message, detail })
}

/// The nodes of a graph, as progress names them.
pub fn nodes_of(graph: &Map<String, Value>) -> Vec<Node> {
    let titles = crate::workflow::titles(graph);
    graph
        .iter()
        .map(|(id, node)| Node {
            id: id.clone(),
            title: titles.get(id).map_or_else(|| id.clone(), |t| text::clean(t).into_owned()),
            class: node.get("class_type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(running: &[&str], pending: &[&str]) -> Queue {
        let item = |id: &&str| QueueItem { number: 0.0, prompt_id: (*id).to_owned(), client_id: None };
        Queue { running: running.iter().map(item).collect(), pending: pending.iter().map(item).collect() }
    }

    #[test]
    fn what_waited_behind_the_same_render_was_deleted_and_anything_else_may_have_ended() {
        let before = queue(&["a"], &["b", "c"]);
        assert!(was_deleted(&before, &queue(&["a"], &["c"]), "b"));
        for (after, id) in [(queue(&["c"], &[]), "b"), (queue(&[], &[]), "b"), (queue(&["a"], &["b"]), "b")] {
            assert!(!was_deleted(&before, &after, id), "{after:?}");
        }
        assert!(!was_deleted(&before, &queue(&["a"], &["c"]), "a"), "it runs");
        assert!(!was_deleted(&before, &queue(&["a"], &["b", "c"]), "d"), "it was not there");
        assert!(!was_deleted(&queue(&[], &["b"]), &queue(&[], &[]), "b"), "it may have begun and ended");
    }
}
