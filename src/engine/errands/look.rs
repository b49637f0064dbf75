//! Where prompts are, and how they ended.

use super::super::core::{First, Found, Look};
use super::caught;
use crate::comfy::{self, Client, ComfyError, History, LookUp, QueueItem};
use crate::job::{Failure, FailureKind, JobId};
use crate::text;

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

fn ended(history: &History) -> Look {
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

/// Does `first` to the prompts, then sees where each is.
pub async fn look(
    client: &Client,
    prompts: Vec<(JobId, String)>,
    first: First,
) -> Result<Vec<(JobId, String, Look)>, String> {
    caught(look_on(client, prompts, first)).await?.map_err(|error| error.to_string())
}

async fn look_on(
    client: &Client,
    prompts: Vec<(JobId, String)>,
    first: First,
) -> Result<Vec<(JobId, String, Look)>, ComfyError> {
    let ids: Vec<&str> = prompts.iter().map(|(_, id)| id.as_str()).collect();
    match first {
        First::Nothing => {}
        First::Delete => client.delete_pending(&ids).await?,
        First::Cancel => {
            for id in &ids {
                client.cancel(id).await?;
            }
        }
    }
    if let ([(job, id)], First::Cancel) = (prompts.as_slice(), first) {
        let look = match client.look_up(id).await? {
            LookUp::Unknown => Look::Unknown,
            LookUp::Pending => Look::Pending { copies: 1 },
            LookUp::Running => Look::Running { copies: 1 },
            LookUp::Ended(history) => ended(&history),
        };
        return Ok(vec![(*job, id.clone(), look)]);
    }
    // The queue first, then the history: the other order loses a prompt that ends in between.
    let queue = match client.queue_outline().await? {
        Some(queue) => queue,
        None => client.queue().await?,
    };
    let copies = |items: &[QueueItem], id: &str| items.iter().filter(|i| i.prompt_id == id).count();
    let mut found = Vec::with_capacity(prompts.len());
    for (job, id) in prompts {
        let (running, pending) = (copies(&queue.running, &id), copies(&queue.pending, &id));
        let all = u32::try_from(running + pending).unwrap_or(u32::MAX);
        let look = if running > 0 {
            Look::Running { copies: all }
        } else if pending > 0 {
            Look::Pending { copies: all }
        } else {
            client.history(&id).await?.map_or(Look::Unknown, |h| ended(&h))
        };
        found.push((job, id, look));
    }
    Ok(found)
}
