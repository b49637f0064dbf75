//! How many bytes pictures may take on the line to the terminal: what is typed and counted comes first.
//!
//! Pure: the time is passed in. Pictures are sent in pieces, and each is paid for after: until its debt is paid, at so many
//! bytes a second, the next one waits. How fast that is, is set, and learnt: from the terminal's answers (see [`super::link`]),
//! or, where it gives none, from how fast it takes what is written. A buffer on the way takes all at once, until it is
//! full; then a key waits for all that is in it. So what a full buffer told of the line is not soon forgotten.

use std::time::{Duration, Instant};

/// What is taken within this was taken by a buffer and says nothing of a slow line.
const AT_ONCE: Duration = Duration::from_millis(20);
/// Fewer bytes that were left over say little of a slow one.
const RESTS: usize = 512;
/// Fewer bytes say nothing of a fast one.
const TELLING: usize = 2048;
/// Bytes a second: what a terminal on this machine is given at most, and the slowest line there is.
const LOCAL_MOST: f64 = 8e6;
const LEAST: f64 = 512.0;
/// Bytes of a cell in half blocks, about; at most twice as many.
const CELL: usize = 20;
/// The share of a slow line that pictures may have.
const SHARE: f64 = 0.5;
/// In this time a line is thought to have become twice as fast as it was when it last took no more.
const FORGETS: f64 = 60.0;
/// Bytes that buffers on the way hold when they are full: those of a pty of Linux.
const HELD: f64 = 12.0 * 1024.0;
/// The least that is worth a piece of its own, and the most that a terminal should be given in one.
const PIECES: (usize, usize) = (512, 4096);

#[derive(Debug, Clone)]
pub struct Budget {
    /// Bytes a second that a picture's debt is paid with.
    rate: f64,
    most: f64,
    /// What pictures could have when the line took no more, and when that was.
    borne: Option<(f64, Instant)>,
    debt: f64,
    /// When the debt was as it stands here.
    at: Instant,
}

impl Budget {
    /// `rate`: bytes a second, as set. Over a network that is the most, as buffers on the way take more than the line
    /// bears; a terminal on this machine may show that it takes more.
    pub fn new(rate: u32, remote: bool, now: Instant) -> Self {
        let rate = f64::from(rate).max(LEAST);
        Self { rate, most: if remote { rate } else { rate.max(LOCAL_MOST) }, borne: None, debt: 0.0, at: now }
    }

    /// So many bytes were written for pictures.
    #[expect(clippy::cast_precision_loss, reason = "a count of bytes")]
    pub fn spend(&mut self, bytes: usize, now: Instant) {
        self.debt = self.owed(now) + bytes as f64;
        self.at = now;
    }

    /// Bytes that one picture may have: those of a second and a half.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few million at most")]
    pub fn most(&self) -> usize {
        (self.rate * 1.5).max(4096.0) as usize
    }

    /// Bytes that are written in one: those of a quarter of a second, and not many more than there is `room` for.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand at most")]
    pub fn unit(&self, room: usize) -> usize {
        ((self.rate / 4.0) as usize).min(room).clamp(PIECES.0, PIECES.1)
    }

    /// Cells of a picture in half blocks that one frame may have: those of an eighth of a second, and of the `room`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few million at most")]
    pub fn piece(&self, room: usize) -> usize {
        ((self.rate / 8.0) as usize).min(room) / CELL
    }

    fn owed(&self, now: Instant) -> f64 {
        (self.debt - self.rate * now.saturating_duration_since(self.at).as_secs_f64()).max(0.0)
    }

    /// When the next picture may be sent. Less than a millisecond is now.
    pub fn ready_in(&self, now: Instant) -> Duration {
        let wait = Duration::from_secs_f64((self.owed(now) / self.rate).min(600.0));
        if wait < Duration::from_millis(1) { Duration::ZERO } else { wait }
    }

    /// What is written was taken, in this time after no more was taken at once. Room comes in lumps, which look faster than
    /// the line is; and until what the buffer holds is through, no more is to be put into it.
    pub fn drained(&mut self, bytes: usize, took: Duration, now: Instant) {
        let before = self.rate;
        self.learn(bytes, took, now);
        if took > AT_ONCE {
            self.rate = self.rate.min(before / 2.0).max(LEAST);
            self.borne = Some((self.rate, now));
            self.debt = self.owed(now).max(HELD * SHARE);
            self.at = now;
        }
    }

    /// So many bytes got through in this time, others waiting behind them; or in none: they waited for nothing.
    #[expect(clippy::cast_precision_loss, reason = "a count of bytes")]
    pub fn learn(&mut self, bytes: usize, took: Duration, now: Instant) {
        if took > AT_ONCE {
            // A rest of a few bytes waits for room, however fast the line is.
            let seen = if bytes < RESTS { self.rate * 0.8 } else { SHARE * bytes as f64 / took.as_secs_f64() };
            self.rate = if seen < self.rate { seen } else { (self.rate * 1.2).min(seen) };
            self.borne = Some((self.rate.max(LEAST), now));
        } else if bytes >= TELLING.min(self.unit(usize::MAX)) {
            self.rate *= 2.0;
        }
        let borne = self.borne.map_or(self.most, |(borne, at)| {
            borne * (now.saturating_duration_since(at).as_secs_f64() / FORGETS).min(64.0).exp2()
        });
        self.rate = self.rate.min(borne).clamp(LEAST, self.most);
    }
}

/// The terminal is at the other end of a network, as far as anybody can tell.
pub fn is_remote() -> bool {
    ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "MOSH_IP"].iter().any(|name| std::env::var_os(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(now: Instant, milliseconds: u64) -> Instant {
        now + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_picture_is_paid_for_before_the_next_one() {
        let now = Instant::now();
        let mut budget = Budget::new(32 << 10, true, now);
        assert!(budget.ready_in(now).is_zero(), "the first one waits for nobody");
        budget.spend(64 << 10, now);
        assert_eq!(budget.ready_in(now), Duration::from_secs(2));
        assert_eq!(budget.ready_in(later(now, 1900)), Duration::from_millis(100));
        // What was saved up in idle hours is not spent at once.
        budget.spend(32 << 10, later(now, 3_600_000));
        assert_eq!(budget.ready_in(later(now, 3_600_000)), Duration::from_secs(1));
    }

    #[test]
    fn a_slow_line_is_learnt_and_a_fast_one_within_what_is_set() {
        let now = Instant::now();
        let mut far = Budget::new(32 << 10, true, now);
        far.learn(4096, Duration::from_secs(1), now);
        far.spend(2048, now);
        assert_eq!(far.ready_in(now), Duration::from_secs(1), "half of 4 KB/s");
        for _ in 0..50 {
            far.learn(100_000, Duration::ZERO, later(now, 600_000));
        }
        let mut unpaid = far.clone();
        unpaid.debt = 32.0 * 1024.0;
        unpaid.at = now;
        assert_eq!(unpaid.ready_in(now), Duration::from_secs(1), "never more than is set");

        let mut near = Budget::new(32 << 10, false, now);
        for _ in 0..50 {
            near.learn(100_000, Duration::ZERO, now);
        }
        near.spend(80_000, now);
        assert_eq!(near.ready_in(now), Duration::from_millis(10), "a terminal of this machine");
        near.learn(10, Duration::ZERO, now);
        near.learn(0, Duration::from_mins(1), now);
        assert!(near.ready_in(now) <= Duration::from_mins(10), "never for ever");
    }

    #[test]
    fn what_fills_a_buffer_waits_until_that_is_through() {
        let now = Instant::now();
        let mut budget = Budget::new(32 << 10, true, now);
        // Room came in one lump, as if the line took 40 KB/s.
        budget.drained(4096, Duration::from_millis(100), now);
        assert_eq!(budget.unit(usize::MAX), 4096, "half of what was too much: 16 KB/s");
        assert_eq!(budget.ready_in(now), Duration::from_millis(375), "half of the line for 12 KB");
        budget.drained(1024, Duration::from_millis(250), later(now, 1000));
        assert_eq!(budget.unit(usize::MAX), 512, "half of 4 KB/s");
        assert_eq!(budget.ready_in(later(now, 1000)), Duration::from_secs(3), "12 KB at 4 KB/s");
        budget.drained(100, Duration::ZERO, later(now, 1000));
        assert_eq!(budget.ready_in(later(now, 4000)), Duration::ZERO);
    }

    #[test]
    fn what_a_buffer_takes_does_not_make_a_slow_line_fast() {
        let now = Instant::now();
        let mut budget = Budget::new(32 << 10, false, now);
        budget.learn(4096, Duration::from_millis(500), now);
        assert_eq!((budget.unit(usize::MAX), budget.most()), (1024, 6144), "small pieces of a small picture");
        for n in 0..20 {
            budget.learn(4096, Duration::ZERO, later(now, n * 500));
        }
        assert!(budget.unit(usize::MAX) < 1200, "ten seconds later it is as slow: {}", budget.unit(usize::MAX));
        budget.learn(4096, Duration::ZERO, later(now, 60_000));
        assert_eq!(budget.unit(usize::MAX), 2048, "after a minute it may have become faster");
    }
}
