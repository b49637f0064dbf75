//! What a new engine does with what the last one left behind.
//!
//! Jobs at a server stay as they are until that server answers: it has forgotten nothing by not
//! being reachable. Only what needs no server is taken up here.

use jiff::Timestamp;

use super::{Effect, State};
use crate::job::JobState;
use crate::protocol::Level;

impl State {
    /// Takes up measurements that were cut off, and finishes files whose jobs had all ended.
    pub fn recover(&mut self, now: Timestamp) -> Vec<Effect> {
        let measuring = self.jobs.values().filter(|j| matches!(j.state, JobState::Measuring));
        let again: Vec<_> = measuring
            .filter_map(|j| {
                Some(Effect::Measure { job: j.id, outputs: j.attempt()?.outputs.clone(), repair: j.repair })
            })
            .collect();
        self.out.extend(again);
        self.discard_again();
        let files: Vec<_> = self.files.keys().copied().collect();
        for file in files {
            self.finish_file(file, now);
        }
        self.settle_after(now);
        self.tell_strays(now);
        self.finish(now)
    }

    /// Jobs that nobody can go on with are not left to be found by chance.
    fn tell_strays(&mut self, now: Timestamp) {
        let strays: Vec<_> = self.jobs.keys().filter_map(|id| Some((*id, self.stray(*id)?))).collect();
        let others = match strays.len() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        if let Some((id, words)) = strays.first() {
            self.notice(Level::Warning, format!("{id}{others}: {words}"), now);
        }
    }
}
