//! What is believed of a run: what the servers wrote down themselves, and where the files lie. It never looks into
//! the engine's store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use comfytop::job::{FailureKind, JobState};
use comfytop::verdict::Verdict;
use serde_json::Value;

/// What the world did to a job, or asked for it, so that the oracle knows what may become of it.
#[derive(Debug, Default)]
pub struct Story {
    /// A cancel was asked for, or a person at the server deleted or interrupted it.
    pub cancel_asked: bool,
    pub meddled: bool,
    /// The engine said that it is cancelled.
    pub confirmed: Option<u64>,
    pub requeues: usize,
    /// It is rendered until it loops, so often at most.
    pub tries: u32,
    /// Held, taken back, or a POST of it was disturbed: it may be overtaken.
    pub touched: bool,
    /// Its place in the queue: priority first.
    pub order: (i64, u64),
    pub taken: Option<u64>,
    pub decided: Option<u64>,
    pub refused_500: usize,
}

/// What the clip of a prompt is like: one in three loops.
pub fn verdict_of(prompt: &str) -> Verdict {
    let sum = prompt.bytes().map(u32::from).sum::<u32>();
    if sum.is_multiple_of(3) { Verdict::Loops } else { Verdict::Jumps }
}

#[derive(Debug)]
struct Render {
    job: String,
    server: usize,
    prompt: String,
    ended: Option<String>,
    /// The server died under it.
    cut: bool,
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub stories: BTreeMap<String, Story>,
    renders: Vec<Render>,
    /// Which job a prompt is of, by the text in its graph.
    of_prompt: HashMap<String, String>,
    /// Accepted and not begun.
    waiting: BTreeSet<(usize, String)>,
    pub wrongs: Vec<String>,
    /// One server and nothing that moves jobs: they begin in their order.
    keeps_order: bool,
}

impl Oracle {
    pub fn new(keeps_order: bool) -> Self {
        Self { keeps_order, ..Self::default() }
    }

    pub fn wrong(&mut self, what: String) {
        self.wrongs.push(what);
    }

    /// A line of a server's own log.
    pub fn log(&mut self, server: usize, line: &Value, now: u64) {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let prompt = text("prompt_id");
        match text("event").as_str() {
            "accepted" => {
                let texts = line["texts"].as_array().into_iter().flatten();
                let job = texts.filter_map(Value::as_str).find(|text| self.stories.contains_key(*text));
                if let Some(job) = job {
                    self.of_prompt.insert(prompt.clone(), job.to_owned());
                    self.waiting.insert((server, prompt));
                }
            }
            "started" => {
                self.waiting.remove(&(server, prompt.clone()));
                if let Some(job) = self.of_prompt.get(&prompt).cloned() {
                    self.begun(server, prompt, job, now);
                }
            }
            "deleted" => {
                self.waiting.remove(&(server, prompt));
            }
            "ended" => {
                let open = |r: &&mut Render| r.server == server && r.prompt == prompt && r.ended.is_none() && !r.cut;
                if let Some(render) = self.renders.iter_mut().find(open) {
                    render.ended = Some(text("as"));
                }
            }
            _ => {}
        }
    }

    fn begun(&mut self, server: usize, prompt: String, job: String, now: u64) {
        let story = &self.stories[&job];
        if let Some(confirmed) = story.confirmed {
            self.wrongs.push(format!("{job} begins at {now}, and its cancel was confirmed at {confirmed}"));
        }
        let is_first = !self.renders.iter().any(|r| r.job == job);
        if is_first && self.keeps_order && !story.touched {
            for (other, before) in &self.stories {
                let was_there = before.taken.zip(story.decided).is_some_and(|(taken, decided)| taken < decided);
                let waits = !before.touched && before.requeues == 0 && !before.cancel_asked && !before.meddled;
                let begun = self.renders.iter().any(|r| r.job == *other);
                if before.order < story.order && was_there && waits && !begun {
                    self.wrongs.push(format!("{job} begins before {other}"));
                }
            }
        }
        self.renders.push(Render { job, server, prompt, ended: None, cut: false });
    }

    pub fn server_died(&mut self, server: usize) {
        self.waiting.retain(|(at, _)| *at != server);
        for render in self.renders.iter_mut().filter(|r| r.server == server && r.ended.is_none()) {
            render.cut = true;
        }
    }

    /// The job whose prompt runs at, or waits on, a server.
    pub fn job_of(&self, prompt: &str) -> Option<&str> {
        self.of_prompt.get(prompt).map(String::as_str)
    }

    pub fn running(&self, server: usize) -> Option<String> {
        let open = self.renders.iter().find(|r| r.server == server && r.ended.is_none() && !r.cut);
        open.map(|r| r.prompt.clone())
    }

    pub fn waiting(&self, server: usize) -> Vec<String> {
        self.waiting.iter().filter(|(at, _)| *at == server).map(|(_, prompt)| prompt.clone()).collect()
    }

    pub fn ended(&self) -> Vec<String> {
        self.renders.iter().filter(|r| r.ended.is_some()).map(|r| r.prompt.clone()).collect()
    }

    /// Whether anything of ours still waits or runs anywhere.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.renders.iter().all(|r| r.ended.is_some() || r.cut)
    }

    /// Holds what the sidecars in `done/` and `failed/` say against what happened. `outputs`: prompts with a file here.
    pub fn judge(&mut self, outcomes: &BTreeMap<String, JobState>, outputs: &BTreeSet<String>) {
        let mut wrongs = Vec::new();
        for (job, story) in &self.stories {
            let renders: Vec<_> = self.renders.iter().filter(|r| r.job == *job).collect();
            let well = renders.iter().filter(|r| r.ended.as_deref() == Some("execution_success")).count();
            let cut = renders.iter().filter(|r| r.cut).count();
            let failed = renders.iter().filter(|r| r.ended.as_deref() == Some("execution_error")).count();
            let here: BTreeSet<_> =
                renders.iter().map(|r| &r.prompt).filter(|prompt| outputs.contains(*prompt)).collect();
            let (tries, rounds) = (story.tries.max(1) as usize, 1 + story.requeues);
            let loops = here.iter().filter(|prompt| verdict_of(prompt) == Verdict::Loops).count();
            let here = here.len();
            if well > tries * rounds {
                wrongs.push(format!("{job} was rendered {well} times, requeued {} times", story.requeues));
            }
            if here > tries * rounds {
                wrongs.push(format!("{job} has outputs of {here} renders"));
            }
            if tries > 1 {
                if loops > rounds {
                    wrongs.push(format!("{job} was tried again after it looped"));
                }
                let is_done = matches!(outcomes.get(job), Some(JobState::Done));
                if is_done && loops == 0 && here < tries && !story.cancel_asked {
                    wrongs.push(format!("{job} is done after {here} of {tries} tries, and none of them loops"));
                }
            }
            match outcomes.get(job) {
                None => wrongs.push(format!("{job} is lost: it lies neither in done/ nor in failed/")),
                Some(JobState::Done) if here == 0 => wrongs.push(format!("{job} is done, and no output is here")),
                Some(JobState::Done) => {}
                Some(JobState::Cancelled { .. }) if story.cancel_asked || story.meddled => {}
                // It threw, nobody heard it, and no history says so: all that is left is that it is gone.
                Some(JobState::Cancelled { .. }) if failed > 0 => {}
                Some(JobState::Cancelled { by }) => {
                    wrongs.push(format!("{job} is cancelled ({by:?}), and nobody wanted that"));
                }
                // Its end was told, and the server died before it could write it down.
                Some(JobState::Failed { why }) if cut > 0 && why.kind != FailureKind::Server => {}
                // Thrown, or three times lost, or three times refused by a server in trouble.
                Some(JobState::Failed { .. }) if failed > 0 || renders.len() - well >= 3 || story.refused_500 >= 3 => {}
                Some(other) => wrongs.push(format!("{job} is {other:?}; cut off {cut} times, failed {failed} times")),
            }
        }
        self.wrongs.extend(wrongs);
    }
}
