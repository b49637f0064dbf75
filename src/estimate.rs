//! How far a render is, and how long it will take: learnt node by node from earlier runs.
//!
//! Pure: times come in as seconds since the render began. Half of a cold run is loaders, VAE and
//! `SaveVideo`, which report nothing, so a bar made of sampler steps alone would stand still; and a
//! warm run skips what the server has cached. So each node's time is remembered, cold and warm
//! apart, and a run is the sum of the nodes that it really renders. Where no earlier run is known
//! the bar counts nodes and steps, and no time is promised.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::protocol::{NodeTime, Progress};

/// A new run counts this much against what was known.
const LEARN: f64 = 0.4;
/// A node that takes longer than expected stands here, of its own share.
const NEARLY: f64 = 0.97;
/// Share of a sampler and of any other node, where nothing is known.
const SAMPLER_WEIGHT: f64 = 8.0;

/// What earlier runs of one kind of job took, by node id, seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeTimes {
    /// Runs in which models had to be loaded.
    cold: BTreeMap<String, f64>,
    warm: BTreeMap<String, f64>,
}

impl NodeTimes {
    fn of(&self, node: &str, cold: bool) -> Option<f64> {
        let (first, second) = if cold { (&self.cold, &self.warm) } else { (&self.warm, &self.cold) };
        first.get(node).or_else(|| second.get(node)).copied()
    }

    /// Learns from a run that ended well.
    pub fn learn(&mut self, run: &Run) {
        let map = if run.is_cold() { &mut self.cold } else { &mut self.warm };
        for (node, seconds) in run.seconds_by_node() {
            map.entry(node).and_modify(|known| *known += LEARN * (seconds - *known)).or_insert(seconds);
        }
    }

    /// A whole run's time, seconds: warm where known, since most runs of a night are.
    pub fn typical(&self) -> Option<f64> {
        let map = if self.warm.is_empty() { &self.cold } else { &self.warm };
        (!map.is_empty()).then(|| map.values().sum())
    }
}

/// A node of the graph that is rendering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    pub title: String,
    pub class: String,
}

/// One render as it comes on. All times are seconds since it began.
#[derive(Debug, Clone)]
pub struct Run {
    nodes: Vec<Node>,
    known: NodeTimes,
    cached: HashSet<String>,
    /// Node id, when it began, when it ended.
    spans: Vec<(String, f64, Option<f64>)>,
    /// Of the current node.
    step: Option<(u64, u64)>,
    best: f64,
    /// The server told which nodes it skips, so the sum of the rest can be trusted.
    told: bool,
}

impl Run {
    pub fn new(nodes: Vec<Node>, known: NodeTimes) -> Self {
        Self { nodes, known, cached: HashSet::new(), spans: Vec::new(), step: None, best: 0.0, told: false }
    }

    /// These nodes are skipped (`execution_cached`).
    pub fn cached(&mut self, nodes: &[String]) {
        self.told = true;
        self.cached.extend(nodes.iter().cloned());
    }

    /// `node` renders now; the one before it has ended.
    pub fn node(&mut self, node: &str, at: f64) {
        if self.current().is_some_and(|(id, ..)| id == node) {
            return;
        }
        self.end(at);
        self.spans.push((node.to_owned(), at, None));
        self.step = None;
    }

    /// The current node's bar, e.g. a sampler's step `value` of `max`.
    pub fn step(&mut self, node: &str, value: u64, max: u64, at: f64) {
        self.node(node, at);
        self.step = (max > 0).then_some((value.min(max), max));
    }

    /// The current node has ended.
    pub fn end(&mut self, at: f64) {
        if let Some((_, _, end @ None)) = self.spans.last_mut() {
            *end = Some(at);
        }
    }

    fn current(&self) -> Option<(&str, f64)> {
        match self.spans.last() {
            Some((id, since, None)) => Some((id, *since)),
            _ => None,
        }
    }

    /// Models were loaded in this run: few nodes, if any, came from the cache.
    fn is_cold(&self) -> bool {
        // Nodes that nobody knows tell nothing; then the cache does.
        self.cached.len() * 3 < self.nodes.len().max(1)
    }

    fn seconds_by_node(&self) -> BTreeMap<String, f64> {
        let mut sum = BTreeMap::new();
        for (node, begin, end) in &self.spans {
            if let Some(end) = end {
                *sum.entry(node.clone()).or_insert(0.0) += (end - begin).max(0.0);
            }
        }
        sum
    }

    /// What each node to be rendered counts: seconds where some are known, else plain shares. And whether all of a run's are
    /// known, so that its end can be told.
    fn weights(&self) -> (HashMap<&str, f64>, bool) {
        let cold = self.is_cold();
        let rendered = || self.nodes.iter().filter(|n| !self.cached.contains(&n.id));
        let ran: HashSet<&str> = self.spans.iter().map(|(id, ..)| id.as_str()).collect();
        let plain = |n: &Node| if n.class.contains("Sampler") { SAMPLER_WEIGHT } else { 1.0 };
        let known = |n: &Node| self.known.of(&n.id, cold);
        if self.told && rendered().any(|n| known(n).is_some()) {
            // What a whole run never rendered is never rendered; what was cached in all of them counts what such a
            // node counts beside those that are known, and nobody knows when this run ends.
            let (seconds, shares) = rendered()
                .filter_map(|n| Some((known(n)?, plain(n))))
                .fold((0.0, 0.0), |(a, b), (seconds, share)| (a + seconds, b + share));
            let whole = !self.known.cold.is_empty();
            let weight = |n: &Node| known(n).unwrap_or(if whole { 0.0 } else { plain(n) * seconds / shares });
            let all = whole || rendered().all(|n| known(n).is_some());
            return (rendered().map(|n| (n.id.as_str(), weight(n))).collect(), all);
        }
        let weights = rendered()
            .chain(self.nodes.iter().filter(|n| ran.contains(n.id.as_str())))
            .map(|n| (n.id.as_str(), plain(n)));
        (weights.collect(), false)
    }

    /// Joined in the middle, so that nobody told which nodes are skipped: by time alone, as earlier runs went.
    fn by_time(&self, now: f64) -> Option<(f64, f64)> {
        let typical = self.known.typical().filter(|seconds| !self.told && *seconds > 0.0)?;
        Some(((now / typical).clamp(0.0, NEARLY), typical - now))
    }

    /// Share of the current node that is done: by time where its time is known, held between
    /// the steps that the server told.
    fn share(&self, since: f64, now: f64, expected: Option<f64>) -> f64 {
        let by_time = expected.filter(|e| *e > 0.0).map(|e| ((now - since) / e).clamp(0.0, NEARLY));
        #[expect(clippy::cast_precision_loss, reason = "step counts are small")]
        let steps = self.step.map(|(value, max)| (value as f64 / max as f64, 1.0 / max as f64));
        match (by_time, steps) {
            // A step counts as a bound only loosely: the first one of a cold run carries the loading.
            (Some(t), Some((done, one))) => t.clamp((done - one).max(0.0), (done + one).min(NEARLY).max(done - one)),
            (Some(t), None) => t,
            (None, Some((done, _))) => done.min(NEARLY),
            (None, None) => 0.0,
        }
    }

    /// How far it is at `now`. The fraction never runs backwards.
    pub fn progress(&mut self, now: f64) -> Progress {
        let (weights, known) = self.weights();
        let total: f64 = weights.values().sum();
        let mut done = 0.0;
        let mut counted = HashSet::new();
        for (node, _, end) in &self.spans {
            if end.is_some() && counted.insert(node.as_str()) {
                done += weights.get(node.as_str()).copied().unwrap_or(0.0);
            }
        }
        if let Some((node, since)) = self.current() {
            let weight = weights.get(node).copied().unwrap_or(0.0);
            done += weight * self.share(since, now, self.known.of(node, self.is_cold()).filter(|_| self.told));
        }
        let mut fraction = if total > 0.0 { (done / total).clamp(0.0, 0.999) } else { 0.0 };
        let mut left_s = known.then(|| (total - done).max(0.0));
        if let Some((share, left)) = self.by_time(now) {
            (fraction, left_s) = (share, (left > 0.0).then_some(left));
        }
        let nodes = self
            .spans
            .iter()
            .map(|(id, begin, end)| NodeTime {
                title: self.title(id).to_owned(),
                seconds: (end.unwrap_or(now) - begin).max(0.0),
                finished: end.is_some(),
            })
            .collect();
        let node = self.current().map(|(id, _)| self.title(id).to_owned());
        self.best = self.best.max(fraction);
        Progress { fraction: (!self.spans.is_empty()).then_some(self.best), node, step: self.step, left_s, nodes }
    }

    /// What the node that renders now took in earlier runs, seconds.
    pub fn expected_now(&self) -> Option<f64> {
        self.known.of(self.current()?.0, self.is_cold())
    }

    /// The node that renders now.
    pub fn current_title(&self) -> Option<&str> {
        Some(self.title(self.current()?.0))
    }

    fn title<'a>(&'a self, id: &'a str) -> &'a str {
        self.nodes.iter().find(|n| n.id == id).map_or(id, |n| n.title.as_str())
    }
}
