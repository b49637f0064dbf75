//! Nights of rendering in virtual time: the engine's core, a real store, simulated servers and everything that can go
//! wrong between them, in one thread, from one seed. A seed that fails is told with the command that runs it again,
//! step by step, and is kept in `REGRESSIONS` for ever.
//!
//! `SEEDS=N` (how many; `bench/nights` runs thousands) and `FIRST=N` (from which on) run others; `SEED=N` tells the story of one.
//! `TAME=1` draws no full disk, and two jobs at each server: other nights by the same seeds.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod simulation {
    pub mod chance;
    pub mod disk;
    pub mod engine;
    pub mod errands;
    pub mod havoc;
    pub mod oracle;
    pub mod server;
    pub mod world;
}

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use simulation::world::World;

/// Seeds that failed once.
const REGRESSIONS: &[u64] = &[316, 444, 11023];
/// Likewise, of tame nights: from before the others were drawn.
const TAME_REGRESSIONS: &[u64] = &[
    7, 26, 37, 52, 60, 75, 91, 96, 113, 132, 253, 261, 319, 416, 527, 533, 550, 577, 729, 734, 785, 836, 952, 2449,
    2694, 2784, 2977, 3359, 3393, 3515, 3763, 3939, 3973, 5309, 7742,
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")))
}

/// Without a full disk, and with two jobs at each server.
fn is_tame() -> bool {
    std::env::var_os("TAME").is_some()
}

/// Runs these on all cores; the seeds that failed, with what was wrong.
fn run(seeds: impl Iterator<Item = u64> + Send, tame: bool) -> Vec<(u64, Vec<String>)> {
    let (seeds, failed) = (Mutex::new(seeds), Mutex::new(Vec::new()));
    let wrong = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while wrong.load(Ordering::Relaxed) < 20 {
                    let next = seeds.lock().unwrap().next();
                    let Some(seed) = next else { return };
                    let caught = std::panic::catch_unwind(|| World::run(seed, tame, false).0);
                    let wrongs = caught.unwrap_or_else(|_| vec!["it panicked".to_owned()]);
                    if !wrongs.is_empty() {
                        wrong.fetch_add(1, Ordering::Relaxed);
                        failed.lock().unwrap().push((seed, wrongs));
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn told(failed: &[(u64, Vec<String>)], tame: bool) -> String {
    let mut text = String::new();
    let tame = if tame { "TAME=1 " } else { "" };
    for (seed, wrongs) in failed {
        let _ = writeln!(text, "seed {seed}: {}", wrongs.join("\n    "));
        let _ = writeln!(text, "    {tame}SEED={seed} cargo test --test simulation one_night -- --nocapture");
    }
    text
}

#[test]
fn nothing_is_lost_doubled_or_stuck_in_any_night() {
    let first = number("FIRST").unwrap_or(1);
    // Enough to see that it runs; bench/nights, which CI runs too, goes through thousands.
    let count = number("SEEDS").unwrap_or(60);
    let failed = run(first..first + count, is_tame());
    assert!(failed.is_empty(), "{} of {count} nights went wrong:\n{}", failed.len(), told(&failed, is_tame()));
}

#[test]
fn nights_that_went_wrong_once() {
    for (seeds, tame) in [(REGRESSIONS, false), (TAME_REGRESSIONS, true)] {
        let failed = run(seeds.iter().copied(), tame);
        assert!(failed.is_empty(), "{}", told(&failed, tame));
    }
}

/// The story of one night, step by step.
#[test]
fn one_night() {
    let seed = number("SEED").unwrap_or(1);
    let (wrongs, story) = World::run(seed, is_tame(), std::env::var_os("SEED").is_some());
    for line in story {
        println!("{line}");
    }
    assert!(wrongs.is_empty(), "seed {seed}: {}", wrongs.join("\n    "));
}

#[test]
fn the_same_seed_gives_the_same_night() {
    // Hash maps of the standard library are seeded anew in every process and map: nothing may hang on their order.
    for seed in 1..4 {
        assert!(World::run(seed, false, true) == World::run(seed, false, true), "seed {seed}");
    }
}
