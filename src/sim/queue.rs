//! The queue of the simulated server: a Python heap, shown as it lies (traps 6 to 8).
//!
//! Pure. Order is `(number, prompt_id as text)`; two entries with both alike break the push, and
//! yet one stays in.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::scenario::Action;

/// One accepted prompt.
#[derive(Debug)]
pub struct Job {
    pub id: String,
    /// As it is told: an integer from the counter, a float from a client.
    pub number: Value,
    pub prompt: Map<String, Value>,
    pub extra: Value,
    pub outputs: Vec<String>,
    /// Milliseconds since the epoch.
    pub created: u64,
    /// The how manyeth POST, and the how manyeth accepted prompt, it was (for scenarios; 0: a scenario's own).
    pub post: u64,
    pub nth: u64,
    pub habits: Habits,
}

/// What a scenario has put on a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Habits {
    pub history_late_ms: u64,
    pub history_missing: bool,
    pub silent_end: bool,
}

impl Habits {
    pub fn of(actions: &[Action]) -> Self {
        let mut habits = Self::default();
        for action in actions {
            match action {
                Action::HistoryLate(ms) => habits.history_late_ms = *ms,
                Action::HistoryMissing => habits.history_missing = true,
                Action::EndNeverSent => habits.silent_end = true,
                _ => {}
            }
        }
        habits
    }
}

impl Job {
    /// The clientId whose socket hears of it.
    pub fn client(&self) -> Option<&str> {
        self.extra.get("client_id")?.as_str()
    }

    /// `[number, id, prompt, extra_data, outputs]`, as `/queue` and `/history` tell it.
    pub fn tuple(&self) -> Value {
        json!([self.number, self.id, self.prompt, self.extra, self.outputs])
    }

    fn order(&self, other: &Self) -> Ordering {
        let number = |job: &Self| job.number.as_f64().unwrap_or(f64::INFINITY);
        number(self).total_cmp(&number(other)).then_with(|| self.id.cmp(&other.id))
    }
}

/// The waiting prompts, in heap order.
#[derive(Debug, Default)]
pub struct Queue {
    heap: Vec<Arc<Job>>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// As the server lists them: the heap, not the run order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.heap.iter()
    }

    /// False where Python's comparison would have thrown; the entry is in nevertheless (trap 7).
    pub fn push(&mut self, job: Job) -> bool {
        let clash = self.heap.iter().any(|other| other.order(&job) == Ordering::Equal);
        self.heap.push(Arc::new(job));
        if !clash {
            self.sift_down(0, self.heap.len() - 1);
        }
        !clash
    }

    pub fn pop(&mut self) -> Option<Arc<Job>> {
        let last = self.heap.pop()?;
        if self.heap.is_empty() {
            return Some(last);
        }
        let first = std::mem::replace(&mut self.heap[0], last);
        self.sift_up(0);
        Some(first)
    }

    /// Takes the first entry of this id out; a second copy stays.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(at) = self.heap.iter().position(|job| job.id == id) else { return false };
        self.heap.remove(at);
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_up(at);
        }
        true
    }

    pub fn clear(&mut self) {
        self.heap.clear();
    }

    // heapq of CPython, names included: the listed order depends on its exact moves.
    fn sift_down(&mut self, start: usize, mut at: usize) {
        while at > start {
            let parent = (at - 1) / 2;
            if self.heap[at].order(&self.heap[parent]) != Ordering::Less {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sift_up(&mut self, start: usize) {
        let mut at = start;
        let mut child = 2 * at + 1;
        while child < self.heap.len() {
            let right = child + 1;
            if right < self.heap.len() && self.heap[child].order(&self.heap[right]) != Ordering::Less {
                child = right;
            }
            self.heap.swap(at, child);
            at = child;
            child = 2 * at + 1;
        }
        self.sift_down(start, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: Value, id: &str) -> Job {
        Job {
            id: id.to_owned(),
            number,
            prompt: Map::new(),
            extra: json!({}),
            outputs: Vec::new(),
            created: 0,
            post: 0,
            nth: 0,
            habits: Habits::default(),
        }
    }

    /// Recording 12: submitted, listed and started in these orders.
    #[test]
    fn lists_the_heap_and_runs_in_order() {
        let mut queue = Queue::default();
        for (number, id) in [
            (json!(32), "351c"),
            (json!(33), "da5f"),
            (json!(34), "5790"),
            (json!(-35), "373c"),
            (json!(-36), "635e"),
            (json!(0.5), "d6cb"),
            (json!(-1000.0), "31b0"),
            (json!(5.0), "c"),
            (json!(37), "f182"),
            (json!(5.0), "d"),
            (json!(5.0), "b"),
        ] {
            assert!(queue.push(job(number, id)));
        }
        let listed: Vec<f64> = queue.iter().filter_map(|job| job.number.as_f64()).collect();
        assert_eq!(listed, [-1000.0, -35.0, -36.0, 5.0, 5.0, 34.0, 0.5, 33.0, 37.0, 32.0, 5.0]);
        let run: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|job| job.id.clone()).collect();
        assert_eq!(run, ["31b0", "635e", "373c", "d6cb", "b", "c", "d", "351c", "da5f", "5790", "f182"]);
    }

    #[test]
    fn the_same_number_and_id_twice_breaks_the_push_and_stays() {
        let mut queue = Queue::default();
        assert!(queue.push(job(json!(50.0), "d")));
        assert!(!queue.push(job(json!(50.0), "d")));
        assert_eq!(queue.len(), 2);
        assert!(queue.remove("d"));
        assert!(queue.remove("d"));
        assert!(!queue.remove("d"));
    }
}
