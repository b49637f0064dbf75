//! The order of the queue, and how people change it.
//!
//! The higher priority goes first, then the lower rank. The order on the screen is the order of
//! rendering: what a server holds already and would begin too soon is taken back and submitted
//! again in its place.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{RANK_STEP, State};
use crate::job::{Change, Job, JobId, JobState};
use crate::job_file::MAX_PRIORITY;
use crate::protocol::{MoveTo, NewPriority, STAYS};

/// Lists that are shown one below the other; a move stays within its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Will be rendered as soon as its turn comes, at a server already or not.
    Line,
    After,
    Held,
}

type Order = (i64, i64, u64);

fn class(job: &Job) -> Option<Class> {
    match job.state {
        JobState::Queued | JobState::Submitting | JobState::Pending => Some(Class::Line),
        JobState::Waiting { .. } => Some(Class::After),
        JobState::Held => Some(Class::Held),
        _ => None,
    }
}

type Each = Vec<(JobId, Result<String, String>)>;

impl State {
    pub(super) fn move_jobs(&mut self, jobs: Vec<JobId>, to: MoveTo, now: Timestamp) -> Each {
        let mut answers = Each::new();
        let mut moved: Vec<(Order, JobId, Class)> = Vec::new();
        for id in jobs {
            match self.movable(id) {
                Ok((order, class)) => moved.push((order, id, class)),
                Err(why) => answers.push((id, Err(why))),
            }
        }
        moved.sort_unstable_by_key(|(order, ..)| *order);
        moved.dedup_by_key(|(_, id, _)| *id);
        let chosen: HashSet<JobId> = moved.iter().map(|(_, id, _)| *id).collect();
        if matches!(to, MoveTo::Top | MoveTo::Down) {
            moved.reverse();
        }
        for (_, id, class) in moved {
            let answer = match to {
                MoveTo::Top => Ok(self.put_at_end(id, class, true, now)),
                MoveTo::Bottom => Ok(self.put_at_end(id, class, false, now)),
                MoveTo::Before(mark) => self.put_before(id, class, mark, &chosen, now),
                MoveTo::Up => Ok(self.by_one(id, class, true, &chosen, now)),
                MoveTo::Down => Ok(self.by_one(id, class, false, &chosen, now)),
            };
            answers.push((id, answer));
        }
        answers
    }

    pub(super) fn set_priority(&mut self, jobs: Vec<JobId>, new: NewPriority, now: Timestamp) -> Each {
        let set = |state: &mut Self, id: JobId| {
            state.movable(id)?;
            let Some(job) = state.jobs.get(&id) else { return Err(format!("there is no job {id}")) };
            let (was, rank) = (job.priority, job.rank);
            let priority = match new {
                NewPriority::Is(priority) => priority,
                NewPriority::By(by) => was.saturating_add(by),
            };
            let priority = priority.clamp(-MAX_PRIORITY, MAX_PRIORITY);
            if priority != was {
                state.change(id, Change::Move { priority, rank }, now);
            }
            Ok(format!("priority {priority}"))
        };
        jobs.into_iter().map(|id| (id, set(self, id))).collect()
    }

    fn movable(&self, id: JobId) -> Result<(Order, Class), String> {
        let job = self.jobs.get(&id).ok_or_else(|| format!("there is no job {id}"))?;
        let class = class(job).ok_or_else(|| format!("it is {}: only what waits can be moved", job.state.word()))?;
        Ok((job.order(), class))
    }

    /// To the top or the bottom of its list.
    fn put_at_end(&mut self, id: JobId, class: Class, top: bool, now: Timestamp) -> String {
        let words = if top { "moved to the top" } else { "moved to the bottom" };
        let Some(last) = self.end_of(class, top).and_then(|last| self.jobs.get(&last)) else { return words.to_owned() };
        if last.id != id {
            let rank = last.rank.saturating_add(if top { -RANK_STEP } else { RANK_STEP });
            let priority = last.priority;
            self.put(id, priority, rank, now);
        }
        words.to_owned()
    }

    fn put_before(
        &mut self,
        id: JobId,
        class: Class,
        mark: JobId,
        chosen: &HashSet<JobId>,
        now: Timestamp,
    ) -> Result<String, String> {
        let (_, other) = self.movable(mark).map_err(|why| match why.strip_prefix("it ") {
            Some(why) => format!("not before {mark}, which {why}"),
            None => format!("not before {mark}: {why}"),
        })?;
        if chosen.contains(&mark) {
            return Err(format!("{mark} is among those that are moved"));
        }
        if other != class {
            let word = |id| self.jobs.get(&id).map_or("", |j| j.state.word());
            return Err(format!("it is {}, and {mark} is {}", word(id), word(mark)));
        }
        self.put_beside(id, class, mark, true, now);
        Ok(format!("moved before {mark}"))
    }

    /// Past its neighbour; one at the end stays, and so do those that stand behind it.
    fn by_one(&mut self, id: JobId, class: Class, up: bool, chosen: &HashSet<JobId>, now: Timestamp) -> String {
        let there = if up { "moved up" } else { "moved down" };
        match self.beside(id, class, !up) {
            Some(next) if !chosen.contains(&next) => self.put_beside(id, class, next, up, now),
            _ => return STAYS.to_owned(),
        }
        there.to_owned()
    }

    /// Between `mark` and its neighbour on that side; takes over the priority of `mark`.
    fn put_beside(&mut self, id: JobId, class: Class, mark: JobId, before: bool, now: Timestamp) {
        for spread in [false, true] {
            if spread {
                self.spread(class, mark, now);
            }
            let Some(at) = self.jobs.get(&mark).map(Job::order) else { return };
            let neighbour = self.beside(mark, class, !before);
            if neighbour == Some(id) {
                return;
            }
            let (priority, rank) = (at.0.saturating_neg(), at.1);
            let same = neighbour.and_then(|n| self.jobs.get(&n)).filter(|n| n.priority == priority);
            let far = rank.saturating_add(if before { -2 * RANK_STEP } else { 2 * RANK_STEP });
            let end = same.map_or(far, |n| n.rank);
            let middle = rank.midpoint(end);
            if middle != rank && middle != end {
                self.put(id, priority, middle, now);
                return;
            }
        }
    }

    fn put(&mut self, id: JobId, priority: i64, rank: i64, now: Timestamp) {
        self.next_rank = self.next_rank.max(rank.saturating_add(RANK_STEP));
        self.change(id, Change::Move { priority, rank }, now);
    }

    /// Makes room between the ranks of all of this list that share a priority; their order stays.
    fn spread(&mut self, list: Class, like: JobId, now: Timestamp) {
        let Some(priority) = self.jobs.get(&like).map(|j| j.priority) else { return };
        let mut orders: Vec<_> =
            self.jobs.values().filter(|j| j.priority == priority && class(j) == Some(list)).map(Job::order).collect();
        orders.sort_unstable();
        let mut rank = orders.first().map_or(0, |first| first.1);
        for order in orders {
            self.change(JobId(order.2), Change::Rerank { rank }, now);
            rank = rank.saturating_add(RANK_STEP);
        }
        self.next_rank = self.next_rank.max(rank);
    }

    /// The first or the last of a list.
    fn end_of(&self, list: Class, first: bool) -> Option<JobId> {
        let at_server = self.held.iter().filter_map(|id| self.jobs.get(id)).filter(|j| j.state.is_pending());
        let orders: Box<dyn Iterator<Item = Order>> = match list {
            Class::Line => {
                let queued = if first { self.queue.first() } else { self.queue.last() };
                Box::new(at_server.map(Job::order).chain(queued.copied()))
            }
            other => Box::new(self.jobs.values().filter(move |j| class(j) == Some(other)).map(Job::order)),
        };
        let found = if first { orders.min() } else { orders.max() };
        found.map(|order| JobId(order.2))
    }

    /// The next after it in its list, or the one before.
    fn beside(&self, id: JobId, list: Class, after: bool) -> Option<JobId> {
        let order = self.jobs.get(&id)?.order();
        let side = |o: &Order| if after { *o > order } else { *o < order };
        let orders: Box<dyn Iterator<Item = Order>> = match list {
            Class::Line => {
                let queued = if after {
                    self.queue.range((std::ops::Bound::Excluded(order), std::ops::Bound::Unbounded)).next()
                } else {
                    self.queue.range(..order).next_back()
                };
                let at_server = self.held.iter().filter_map(|id| self.jobs.get(id)).filter(|j| j.state.is_pending());
                Box::new(at_server.map(Job::order).filter(side).chain(queued.copied()))
            }
            other => Box::new(self.jobs.values().filter(move |j| class(j) == Some(other)).map(Job::order).filter(side)),
        };
        let found = if after { orders.min() } else { orders.max() };
        found.map(|order| JobId(order.2))
    }

    /// Takes back what this server holds and would begin before something that goes first.
    pub(super) fn straighten(&mut self, server: usize) {
        if !self.is_up(server) || !self.goes(server) || self.stopping.is_some() {
            return;
        }
        let is_settled = |j: &&Job| {
            j.state.is_pending()
                && !self.taking_back.contains(&j.id)
                && !self.unsure.contains_key(&j.id)
                && !self.collecting.contains(&j.id)
        };
        let mut held: Vec<_> = self
            .at_server(server)
            .filter(is_settled)
            .filter_map(|j| Some((j.attempt()?.submitted_at, j.order())))
            .collect();
        held.sort_unstable();
        let mut first = self.next_for(server).and_then(|id| self.jobs.get(&id)).map(Job::order);
        // From the back: the earliest of all that come later.
        let mut from = held.len();
        for (index, (_, order)) in held.iter().enumerate().rev() {
            if first.is_some_and(|first| first < *order) {
                from = index;
            }
            first = Some(first.map_or(*order, |first| first.min(*order)));
        }
        let back: Vec<_> = held.into_iter().skip(from).map(|(_, order)| JobId(order.2)).collect();
        if !back.is_empty() {
            self.take_back(&back);
        }
    }
}
