//! How much of pictures may be under way to the terminal, so that what a key changes does not wait behind them.
//!
//! Pure: the time is passed in. After each piece the terminal is asked for its status, and its answer says that the piece
//! has come through all that lies between: a pty's buffer, SSH's, TCP's. Those take far more at once than a slow line
//! bears (SSH a hundred kilobytes), so that how fast they take it tells nothing. The window goes by how much later than
//! the quickest an answer comes, as that of TCP Vegas does (Brakmo and Peterson, 1995, "TCP Vegas: end to end congestion
//! avoidance on a global Internet", section 3.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// An answer may come this much later than the quickest one.
const LATE: Duration = Duration::from_millis(100);
/// Bytes that may be under way, at least and at most.
const WINDOW: (usize, usize) = (512, 512 << 10);
/// After this long an answer does not come any more.
const LOST: Duration = Duration::from_secs(6);
/// A terminal that so many times in a row did not answer is not asked again.
const TRIES: u32 = 3;
/// Whoever takes the answers is there within this.
const COMES: Duration = Duration::from_millis(600);

#[derive(Debug)]
pub struct Link {
    /// Somebody takes the answers.
    listens: bool,
    /// Until then pictures wait for somebody who does, and for the first answer.
    waits: Option<Instant>,
    under_way: VecDeque<Piece>,
    window: usize,
    /// The quickest answer.
    quickest: Option<Duration>,
    /// The window was made smaller; answers to what was sent before say nothing new.
    shrunk: Option<Instant>,
    lost: u32,
    /// Answers so far.
    answers: u64,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    at: Instant,
    bytes: usize,
    /// With all that was under way before it.
    all: usize,
}

impl Default for Link {
    fn default() -> Self {
        let (window, _) = WINDOW;
        Self {
            listens: false,
            waits: None,
            under_way: VecDeque::new(),
            window,
            quickest: None,
            shrunk: None,
            lost: 0,
            answers: 0,
        }
    }
}

impl Link {
    /// Answers are wanted, or no longer: soon somebody takes them.
    pub fn want(&mut self, wanted: bool, now: Instant) {
        self.waits = (wanted && !self.listens).then_some(now + COMES);
    }

    /// The answers are taken from here on, or no longer. True where it is not known whether the terminal answers: that is
    /// to be tried, and waited for so long.
    pub fn listen(&mut self, listens: bool, patience: Duration, now: Instant) -> bool {
        self.listens = listens;
        self.under_way.clear();
        let is_new = listens && self.answers == 0 && self.lost == 0;
        self.waits = is_new.then_some(now + patience);
        is_new
    }

    /// Bytes that may be sent now.
    pub fn room(&self) -> usize {
        if self.is_measured() { self.window.saturating_sub(self.bytes()) } else { usize::MAX }
    }

    /// It is known when what was sent arrives.
    pub fn is_measured(&self) -> bool {
        self.listens && self.answers > 0 && self.lost < TRIES
    }

    fn bytes(&self) -> usize {
        self.under_way.iter().map(|piece| piece.bytes).sum()
    }

    /// How long the next piece waits, if no answer comes before.
    pub fn ready_in(&self, now: Instant) -> Duration {
        let oldest = self.under_way.front().filter(|_| self.room() == 0).map(|piece| piece.at + LOST);
        oldest.max(self.waits).map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// A piece was sent, and its question after it.
    pub fn sent(&mut self, bytes: usize, now: Instant) {
        self.under_way.push_back(Piece { at: now, bytes, all: self.bytes() + bytes });
    }

    /// Gives up what was not answered.
    pub fn expire(&mut self, now: Instant) {
        if self.waits.is_some_and(|until| until <= now) {
            self.waits = None;
            self.lost += u32::from(self.listens);
        }
        if self.under_way.front().is_some_and(|piece| now.saturating_duration_since(piece.at) >= LOST) {
            self.under_way.clear();
            self.window = WINDOW.0;
            self.lost += 1;
        }
    }

    /// How many answers there will have been once all is answered, where some are missing.
    pub fn awaits(&self) -> Option<u64> {
        (!self.under_way.is_empty()).then_some(self.answers + self.under_way.len() as u64)
    }

    /// The oldest piece has arrived: bytes that did in this time; in none where the line bears more than that.
    pub fn answered(&mut self, now: Instant) -> Option<(usize, Duration)> {
        // Late is better than never, too.
        (self.answers, self.lost, self.waits) = (self.answers + 1, 0, None);
        let Piece { at, bytes, all } = self.under_way.pop_front()?;
        let took = now.saturating_duration_since(at);
        let before = self.quickest.replace(self.quickest.map_or(took, |quickest| quickest.min(took)));
        // The quickest so far may have waited, too: it was the first, or there was less under way than ever.
        let quickest = before.filter(|before| *before <= took)?;
        if took <= quickest + LATE {
            // One that was not the limit is wide enough.
            if all * 2 >= self.window {
                self.window = (self.window + bytes).min(WINDOW.1);
            }
            return Some((bytes, Duration::ZERO));
        }
        if self.shrunk.is_some_and(|shrunk| at < shrunk) {
            return None;
        }
        self.shrunk = Some(now);
        let share = (quickest + LATE).as_secs_f64() / took.as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part"
        )]
        let window = (all as f64 * share) as usize;
        self.window = window.clamp(WINDOW.0, WINDOW.1);
        Some((all, took))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(now: Instant) -> Link {
        let mut link = Link::default();
        assert!(link.listen(true, COMES, now));
        assert_eq!(link.answered(now), None);
        link
    }

    /// A line of so many bytes a second and so much delay, and what of pieces of 512 bytes is under way on it in the
    /// end: bytes a second, and how long the last ones waited for those before them.
    fn through(rate: u32, delay: u64, link: &mut Link) -> (f64, Duration) {
        let begun = Instant::now();
        let (mut now, mut free, mut arrived) = (begun, begun, VecDeque::new());
        let (mut bytes, mut waits) = (0, Duration::ZERO);
        let end = begun + Duration::from_mins(1);
        while now < end {
            while link.ready_in(now).is_zero() && arrived.len() < 10_000 {
                free = free.max(now) + Duration::from_secs(512) / rate;
                link.sent(512, now);
                waits = free - now;
                arrived.push_back(free + Duration::from_millis(delay));
            }
            now = arrived.pop_front().unwrap();
            bytes += 512;
            link.answered(now);
        }
        (f64::from(bytes) / 60.0, waits)
    }

    #[test]
    fn a_slow_line_is_used_and_never_filled() {
        for (rate, delay) in [(2048, 0), (4096, 20), (4096, 400), (32_768, 50), (1 << 20, 5), (1 << 20, 300)] {
            let mut link = answering(Instant::now());
            let (used, waits) = through(rate, delay, &mut link);
            assert!(waits <= Duration::from_millis(500), "{rate} B/s, {delay} ms: {waits:?}");
            assert!(used > f64::from(rate) * 0.6, "{rate} B/s, {delay} ms: {used}");
        }
    }

    #[test]
    fn no_more_goes_than_the_window_until_it_is_answered() {
        let (now, mut link) = (Instant::now(), Link::default());
        link.sent(1 << 20, now);
        assert!(link.ready_in(now).is_zero(), "nobody takes answers");
        let mut link = answering(now);
        link.sent(500, now);
        assert!(link.ready_in(now).is_zero());
        link.sent(500, now);
        assert!(link.ready_in(now) > Duration::ZERO && link.room() == 0);
        let soon = now + Duration::from_millis(10);
        assert_eq!(link.answered(soon), None, "nobody knows whether that is late");
        assert_eq!(link.answered(soon), Some((500, Duration::ZERO)));
        assert_eq!(link.room(), 1012, "another piece may be under way");
        link.sent(500, now);
        link.sent(1000, now);
        // The help was sent before them.
        let late = now + Duration::from_secs(1);
        assert_eq!(link.answered(late), Some((500, Duration::from_secs(1))));
        assert_eq!(link.window, WINDOW.0);
        assert_eq!(link.answered(late), None, "sent before that was known");
        assert_eq!(link.answered(late), None, "of nothing that was sent");
    }

    #[test]
    fn pictures_wait_for_the_first_answer_and_not_for_ever() {
        let (now, mut link) = (Instant::now(), Link::default());
        link.want(true, now);
        assert_eq!(link.ready_in(now), COMES, "whoever takes it");
        assert!(link.listen(true, LOST, now));
        assert_eq!(link.ready_in(now), LOST);
        assert!(!link.is_measured());
        link.expire(now + LOST);
        assert!(link.ready_in(now + LOST).is_zero() && !link.is_measured());
        link.listen(false, LOST, now);
        assert!(!link.listen(true, LOST, now), "it is known by now");
        link.answered(now + LOST * 2);
        assert!(link.is_measured(), "late is better than never");
    }

    #[test]
    fn a_terminal_that_answers_no_more_is_not_waited_for() {
        let mut now = Instant::now();
        let mut link = answering(now);
        for _ in 0..TRIES {
            assert!(link.is_measured());
            link.sent(4096, now);
            now += link.ready_in(now);
            link.expire(now);
            assert!(link.ready_in(now).is_zero());
        }
        assert!(!link.is_measured());
    }
}
