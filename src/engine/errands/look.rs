//! Where prompts are, and how they ended.

use super::super::core::{First, Look};
use super::super::hearing::{ended, standing, was_deleted};
use super::caught;
use crate::comfy::{Client, ComfyError, LookUp, Queue};
use crate::job::JobId;

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
    let mut before = None;
    match first {
        First::Nothing => {}
        First::Delete => {
            before = Some(queue(client).await?);
            client.delete_pending(&ids).await?;
        }
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
    let queue = queue(client).await?;
    let mut found = Vec::with_capacity(prompts.len());
    for (job, id) in prompts {
        let look = match standing(&queue, &id) {
            Some(look) => look,
            None if before.as_ref().is_some_and(|before| was_deleted(before, &queue, &id)) => Look::Deleted,
            None => client.history(&id).await?.map_or(Look::Unknown, |h| ended(&h)),
        };
        found.push((job, id, look));
    }
    Ok(found)
}

async fn queue(client: &Client) -> Result<Queue, ComfyError> {
    match client.queue_outline().await? {
        Some(queue) => Ok(queue),
        None => client.queue().await,
    }
}
