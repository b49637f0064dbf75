//! After each measurement: is it good enough, or is another try to be made? What the next one has is written
//! in the same change that ends the one before, so that no crash can lose or double a try.

use jiff::Timestamp;

use super::State;
use crate::job::{Attempt, Change, Enough, JobId, JobState, Repaired};
use crate::protocol::Level;
use crate::verdict::Measurement;

impl State {
    pub(super) fn measured(&mut self, id: JobId, measurement: Measurement, repaired: Vec<Repaired>, now: Timestamp) {
        let Some(job) = self.jobs.get(&id).filter(|job| matches!(job.state, JobState::Measuring)) else { return };
        // As it will be once this is known.
        let mut after = job.clone();
        let mut change = Change::Measured { measurement: Box::new(measurement), repaired, next: None };
        if after.apply(&change).is_err() {
            return;
        }
        let another = after.another();
        if let (Ok(nth), Some(goal), Change::Measured { next, .. }) = (another, &after.goal, &mut change) {
            *next = Some(goal.vary.pick(nth, after.seed.value(), || self.draw_seed()));
        }
        self.change(id, change, now);
        self.tell_end(id, another.err(), now);
    }

    /// How the tries of a job ended, where that is worth a word.
    fn tell_end(&mut self, id: JobId, why: Option<Enough>, now: Timestamp) {
        let (Some(why), Some(job)) = (why, self.jobs.get(&id)) else { return };
        let name = format!("{id} {}", job.name);
        let unrepaired = job.chosen().and_then(Attempt::unrepaired);
        let unrepaired = unrepaired.map(|why| format!("{name} is not repaired: {why}"));
        match job.passed() {
            Some(true) if job.try_number() > 1 => {
                let (tries, text) = (job.try_number(), job.goal.as_ref().map_or(0, |goal| goal.tries));
                self.notice(Level::Info, format!("{name} passed at try {tries} of {text}"), now);
            }
            Some(false) => {
                let best = job.best().and_then(|best| Some((best.number, best.result()?.words())));
                let best = best.map(|(number, words)| format!("; the best is attempt {number}: {words}"));
                let text = format!("{name}: {}{}", why.words(), best.unwrap_or_default());
                self.notice(Level::Warning, text, now);
            }
            _ => {}
        }
        if let Some(text) = unrepaired {
            self.notice(Level::Warning, text, now);
        }
    }
}
