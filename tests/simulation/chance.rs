//! What may go wrong in one run, and how often: drawn from its seed. Each run has some kinds of fault and not others,
//! so that one kind does not hide another.

use fastrand::Rng;

/// How likely each fault is, wherever it could strike; 0 in the runs that do without it.
#[derive(Debug, Clone, Default)]
pub struct Chances {
    pub refused: f64,
    /// The request gets lost, and its sender waits in vain.
    pub request_lost: f64,
    /// It arrives when its sender has given up.
    pub request_late: f64,
    pub answer_lost: f64,
    /// For a POST: done, or not done, and answered 500.
    pub answer_500: f64,
    pub refused_500: f64,
    pub message_lost: f64,
    pub message_doubled: f64,
    /// Out of order.
    pub message_late: f64,
    pub history_late: f64,
    pub history_missing: f64,
    pub end_silent: f64,
    pub node_error: f64,
    /// How often in a run.
    pub engine_kills: u32,
    pub server_kills: u32,
    pub both_kills: u32,
    /// A server's death that the engine's socket does not hear of.
    pub half_open: f64,
    pub socket_cuts: u32,
    pub deaf: u32,
    pub twins: u32,
    pub partitions: u32,
    pub strangers: u32,
    /// A person at the server's own page deletes, interrupts, clears the history.
    pub meddling: u32,
    pub cancels: u32,
    pub holds: u32,
    pub requeues: u32,
    /// Somebody pauses, drains, goes on; moves jobs and gives them priorities.
    pub pauses: u32,
    pub moves: u32,
    pub stops: u32,
    pub reconnects: u32,
    pub clock_jumps: u32,
    /// The engine's machine sleeps for hours.
    pub sleeps: u32,
    /// Its disk is full for a while: neither the store nor a folder takes anything.
    pub disk_fulls: u32,
    /// What each server holds of ours at once; 0 is all.
    pub in_flight: u32,
}

impl Chances {
    /// `tame`: no full disk, and two jobs at each server.
    pub fn draw(rng: &mut Rng, tame: bool) -> Self {
        let mut rate = |most: f64| if rng.u8(..) < 90 { rng.f64() * most } else { 0.0 };
        let mut chances = Self {
            refused: rate(0.1),
            request_lost: rate(0.06),
            request_late: rate(0.1),
            answer_lost: rate(0.1),
            answer_500: rate(0.2),
            refused_500: rate(0.08),
            message_lost: rate(0.2),
            message_doubled: rate(0.2),
            message_late: rate(0.2),
            history_late: rate(0.5),
            history_missing: rate(0.2),
            end_silent: rate(0.3),
            node_error: rate(0.15),
            half_open: rate(0.8),
            ..Self::default()
        };
        let mut often = |most: u32| if rng.u8(..) < 100 { rng.u32(1..=most) } else { 0 };
        chances.engine_kills = often(6);
        chances.server_kills = often(4);
        chances.both_kills = often(2);
        chances.socket_cuts = often(4);
        chances.deaf = often(3);
        chances.twins = often(2);
        chances.partitions = often(3);
        chances.strangers = often(4);
        chances.meddling = often(3);
        chances.cancels = often(5);
        chances.holds = often(3);
        chances.requeues = often(3);
        chances.stops = often(2);
        chances.reconnects = often(3);
        chances.clock_jumps = often(3);
        chances.sleeps = often(1);
        chances.pauses = often(4);
        chances.moves = often(6);
        chances.in_flight = 2;
        if !tame {
            chances.disk_fulls = often(4);
            chances.in_flight = rng.choice([2, 2, 1, 3, 0]).unwrap_or(2);
        }
        // A message that got lost and a history that is missing leave no trace together that a prompt ever ended.
        if rng.bool() {
            (chances.message_lost, chances.message_late) = (0.0, 0.0);
        } else {
            (chances.history_missing, chances.meddling) = (0.0, 0);
        }
        chances
    }
}
