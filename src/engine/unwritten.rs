//! A store that can't be written to for now: a full disk, a lock, a right that is missing.
//!
//! What is in memory is ahead of the store then, so nothing is acted on, and nothing is lost: what was to be written
//! is tried again, in order, before anything else. It never drops a write, and never acts on one that failed.

use std::time::Duration;

use tokio::time::Instant;

use super::core::{Effect, Input};
use super::{Act, Driver};
use crate::protocol::{Answer, Level, Notice, Update};
use crate::store::{StoreError, Write};

/// How often the store is tried again.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// What waits for the store, and why.
pub(super) struct Unwritten {
    writes: Vec<Write>,
    acts: Vec<Act>,
    why: String,
    pub try_at: Instant,
}

impl Driver {
    /// What is to be written next: what failed before goes first. `None`: it is not time to try that again.
    pub(super) fn next_to_write(&mut self) -> Option<(Vec<Write>, Vec<Act>)> {
        match self.unwritten.take() {
            None => Some(self.sorted_out()),
            Some(waits) if waits.try_at > Instant::now() => {
                self.unwritten = Some(waits);
                self.answer_who_only_looks();
                None
            }
            Some(Unwritten { writes, acts, why, .. }) => {
                // Whether it was the first time is not to be forgotten with it.
                self.store_trouble = Some(why);
                Some((writes, acts))
            }
        }
    }

    pub(super) fn not_written(&mut self, error: &StoreError, writes: Vec<Write>, acts: Vec<Act>) {
        let why = error.to_string();
        if !error.may_pass() {
            // Let the next engine start from what is written.
            tracing::error!("{why}; the engine ends, nothing that it decided since is acted on");
            let text = format!("the engine ends: {why}. What is written is safe; nothing else was acted on");
            self.hub.publish(Update::Notice(Notice { at: jiff::Timestamp::now(), level: Level::Error, text }));
            self.exit = true;
            return;
        }
        if self.store_trouble.as_ref() != Some(&why) {
            tracing::error!("{why}; nothing is acted on until it can be");
            self.store_trouble = Some(why.clone());
            self.tell_store_trouble();
        }
        self.unwritten = Some(Unwritten { writes, acts, why, try_at: Instant::now() + TRY_EVERY });
        self.answer_who_only_looks();
    }

    /// The store takes writes.
    pub(super) fn is_written(&mut self) {
        if self.store_trouble.take().is_some() {
            tracing::info!("the store can be written again");
            self.tell_store_trouble();
        }
    }

    /// Faces see it at once: what goes by way of the core waits for the store.
    fn tell_store_trouble(&mut self) {
        let banners = self.banners();
        self.step(Input::Banners(banners));
        self.hub.publish(Update::Engine(self.state.engine_row().clone()));
    }

    /// Looking changes nothing, so it need not wait; nor need an engine that is to end: what was not written was not
    /// acted on.
    fn answer_who_only_looks(&mut self) {
        let ends = self.pending.iter().any(|effect| matches!(effect, Effect::Exit));
        let looks = |effect: &Effect| match effect {
            Effect::Reply { result: Ok(Answer::List(_) | Answer::Status(_)) | Err(_), .. } => true,
            Effect::Reply { .. } | Effect::Exit => ends,
            _ => false,
        };
        let (answers, rest) = std::mem::take(&mut self.pending).into_iter().partition(looks);
        self.pending = rest;
        let answers: Vec<Effect> = answers;
        for answer in answers {
            self.act(answer);
        }
    }
}
