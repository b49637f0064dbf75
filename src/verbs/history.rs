//! `comfytop log N`: what happened to a job, a line an event.

use std::fmt::Write as _;
use std::io::Write;

use jiff::Timestamp;
use serde_json::json;

use super::{Code, Outcome, print};
use crate::job::{Attempt, CancelledBy, Change, Failure, JobId, Mark, Reason};
use crate::link::{LinkError, Talk};
use crate::protocol::{Answer, Request};
use crate::text::{clean, json_text};

/// `comfytop log N [--json]`.
///
/// # Errors
/// When the engine can't be asked.
pub fn log(talk: &mut Talk, job: JobId, as_json: bool, out: &mut dyn Write) -> Outcome {
    let events = match talk.ask(Request::Log { job }) {
        Ok(Answer::Log(events)) => events,
        Ok(_) => return Err(LinkError::Closed),
        Err(LinkError::Answer(why)) => {
            eprintln!("comfytop: {why}");
            return Ok(Code::No);
        }
        Err(error) => return Err(error),
    };
    // One that makes room for others tells nothing of this job.
    for (at, change) in events.iter().filter(|(_, change)| !matches!(change, Change::Rerank { .. })) {
        let line = if as_json {
            let line = json!({"at": format!("{at:.3}"), "event": change.word(), "words": words(change)});
            json_text(&line.to_string()).into_owned()
        } else {
            format!("{}  {}", time(*at), clean(&words(change)))
        };
        print(out, format_args!("{line}\n"));
    }
    if events.is_empty() {
        eprintln!("comfytop: nothing has happened to {job} yet, or its history was cleaned");
    }
    Ok(Code::Ok)
}

/// As everywhere in the verbs: UTC, to the second.
fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}

fn words(change: &Change) -> String {
    match change {
        Change::Submit { attempt } => submitted(attempt),
        Change::Posted { notes } if notes.is_empty() => "waits in the server's queue".to_owned(),
        Change::Posted { notes } => format!("waits in the server's queue; {}", notes.join("; ")),
        Change::Recall => "is being taken back".to_owned(),
        Change::TakenBack => "taken back; it had not begun".to_owned(),
        Change::Started { seen: true, .. } => "rendering began".to_owned(),
        Change::Started { seen: false, .. } => "renders; its beginning was not seen".to_owned(),
        Change::Salvaged { .. } => "found whole on the server, which had been restarted".to_owned(),
        Change::Rendered { .. } => "rendered".to_owned(),
        Change::Collected { outputs, notes, .. } => {
            let paths: Vec<_> =
                outputs.iter().map(|o| o.path.as_str()).chain(notes.iter().map(String::as_str)).collect();
            format!("collected: {}", paths.join(", "))
        }
        Change::Measured { measurement, repaired, next } => {
            let mut line = match (measurement.ssim, &measurement.note) {
                (Some(ssim), _) => format!("measured: SSIM {ssim:.3}"),
                (None, note) => format!("measured: {}", note.as_deref().unwrap_or("no number")),
            };
            if let Some(verdict) = measurement.verdict {
                let _ = write!(line, ", {}", verdict.word());
            }
            for mended in repaired {
                let _ = write!(line, "; {}: {}", mended.output.path, mended.measurement.words());
            }
            if next.is_some() {
                line.push_str("; another try is made");
            }
            line
        }
        Change::Mark { attempt, mark: Some(Mark::Kept) } => format!("attempt {attempt} is kept"),
        Change::Mark { attempt, mark: Some(Mark::Discarded) } => format!("attempt {attempt} is discarded"),
        Change::Mark { attempt, mark: None } => format!("attempt {attempt} is marked no more"),
        Change::Moved { files, .. } => {
            format!("moved: {}", files.iter().map(|(_, to)| to.as_str()).collect::<Vec<_>>().join(", "))
        }
        Change::Repaired { repaired, .. } => {
            format!("repaired: {}, {}", repaired.output.path, repaired.measurement.words())
        }
        Change::Settle => "no more tries are wanted".to_owned(),
        Change::Cancel { .. } => "cancel asked for".to_owned(),
        Change::Cancelled { by: CancelledBy::You, .. } => "cancelled".to_owned(),
        Change::Cancelled { by: CancelledBy::Elsewhere, .. } => "cancelled at the server, not by comfytop".to_owned(),
        Change::Failed { why, .. } => format!("failed: {}", failure(why)),
        Change::Lost { why, .. } => format!("lost, queued again: {why}"),
        Change::Retry { why, .. } => format!("queued again: {why}"),
        Change::TryAgain { failure: why, .. } => format!("failed: {}; tried again", failure(why)),
        Change::Requeue { seed, .. } => match seed.value() {
            Some(seed) => format!("requeued with seed {seed}"),
            None => "requeued".to_owned(),
        },
        Change::Edit { .. } => "edited".to_owned(),
        Change::Move { priority: 0, .. } => "moved".to_owned(),
        Change::Move { priority, .. } => format!("moved, priority {priority}"),
        Change::Rerank { .. } => "makes room".to_owned(),
        Change::Hold => "held".to_owned(),
        Change::Release => "released".to_owned(),
        Change::Wait { after } => {
            format!("waits for {}", after.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Change::Ready => "what it waited for is done".to_owned(),
        Change::Peak { vram } => format!("peak VRAM {}", crate::text::size_words(*vram)),
    }
}

fn submitted(attempt: &Attempt) -> String {
    let Attempt { number, server, prompt_id, .. } = attempt;
    let why = match &attempt.reason {
        Reason::First => String::new(),
        Reason::Requeued => " (requeued)".to_owned(),
        Reason::Retried(why) | Reason::NextTry(why) => format!(" ({why})"),
    };
    format!("try {number} sent to {server} as {prompt_id}{why}")
}

fn failure(why: &Failure) -> String {
    match &why.node {
        Some(node) => format!("{node}: {}", why.message),
        None => why.message.clone(),
    }
}
