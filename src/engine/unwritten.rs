//! A store that can't be written to for now: a full disk, a lock, a right that is missing.
//!
//! What is in memory is ahead of the store then, so nothing is acted on, and nothing is lost: what was to be written
//! is tried again, in order, before anything else. It never drops a write, and never acts on one that failed.

use std::time::Duration;

use tokio::time::Instant;

use super::core::Effect;
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

    /// Asked before a face's wish is done in memory: can it be written? What was told to have failed is not done later.
    ///
    /// # Errors
    /// Why it can't, for the face.
    pub(super) fn can_write(&mut self) -> Result<(), String> {
        self.flush();
        if self.unwritten.is_none() && !self.exit {
            let now = jiff::Timestamp::now().to_string();
            let probe = vec![Write::Meta { key: "asked_at", value: now }];
            if let Err(error) = self.store.write(&probe) {
                self.not_written(&error, probe, Vec::new());
            }
        }
        match &self.unwritten {
            Some(waits) => Err(format!("{}: nothing was changed", waits.why)),
            None if self.exit => Err("the engine ends: nothing was changed".to_owned()),
            None => Ok(()),
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
        let is_reply = |act: &Act| matches!(act, Act::Effect(Effect::Reply { .. }));
        let (replies, acts): (Vec<Act>, Vec<Act>) = acts.into_iter().partition(is_reply);
        self.unwritten = Some(Unwritten { writes, acts, why, try_at: Instant::now() + TRY_EVERY });
        for reply in replies {
            if let Act::Effect(reply) = reply {
                self.pending.push(reply);
            }
        }
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
        self.tell_banners();
        self.hub.publish(Update::Engine(self.state.engine_row().clone()));
    }

    /// Nobody who asked waits for the store. Looking changes nothing; what was begun before it was known that the store
    /// can't be written is done when it can, and is told to be. Nor does an engine that is to end wait: what was not
    /// written was not acted on.
    fn answer_who_only_looks(&mut self) {
        let ends = self.pending.iter().any(|effect| matches!(effect, Effect::Exit));
        let is_answer = |effect: &Effect| matches!(effect, Effect::Reply { .. } | Effect::Exit);
        let (answers, rest): (Vec<Effect>, Vec<Effect>) =
            std::mem::take(&mut self.pending).into_iter().partition(is_answer);
        self.pending = rest;
        let why = self.store_trouble.clone().unwrap_or_default();
        for answer in answers {
            self.act(match answer {
                Effect::Reply { ask, result } if !ends && result.as_ref().is_ok_and(changes) => {
                    Effect::Reply { ask, result: Err(format!("{why}: it is done as soon as that can be")) }
                }
                other => other,
            });
        }
    }
}

/// It tells of something that was done.
fn changes(answer: &Answer) -> bool {
    !matches!(answer, Answer::List(_) | Answer::Status(_) | Answer::Ranking(_))
}
