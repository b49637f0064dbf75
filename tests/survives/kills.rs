//! The killing: at every named point, and by lot.

#[cfg(unix)]
use std::collections::{BTreeMap, BTreeSet};
#[cfg(unix)]
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
#[cfg(unix)]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
#[cfg(unix)]
use std::time::Instant;

#[cfg(unix)]
use super::lives::{Life, ORDERS, PLAIN, TROUBLED};
use super::night::{Death, Night};

/// Nights that run beside each other: most of one is waiting.
const BESIDE: usize = 16;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A death of each process, by lot.
fn deaths(rng: &mut fastrand::Rng) -> (Death, Death, bool) {
    let one = |rng: &mut fastrand::Rng, points: u64| {
        if rng.bool() {
            Death::Point(rng.u64(1..=points).to_string())
        } else {
            Death::After(Duration::from_millis(rng.u64(0..1500)))
        }
    };
    match rng.u8(0..4) {
        0 | 1 => (one(rng, 60), Death::None, false),
        2 => (Death::None, one(rng, 60), false),
        _ => (one(rng, 60), one(rng, 60), rng.bool()),
    }
}

/// Points at which nobody is killed here, and why not.
#[cfg(unix)]
const NOT_HERE: &[(&str, &str)] = &[
    ("folder.rename.link", "only on disks that cannot rename without replacing: `folder::no_replace`'s own tests"),
    ("folder.rename.unlink", "likewise"),
    ("folder.rename.place", "likewise"),
    ("folder.rename.over", "likewise"),
    ("folder.rename.undo", "likewise"),
    ("folder.complete.rename", "ends what the above began: its own tests"),
    ("folder.complete.remove", "likewise"),
    ("folder.take.again", "only where `queued/` goes between the look at the inbox and the rename"),
    ("comfy GET /object_info/{class}", "nothing in the engine asks for one class"),
    ("folder.part.copy", "only where the server's outputs lie on another disk"),
];

/// Runs these one beside the other; what they found wrong.
#[cfg(unix)]
fn beside<T: Sync>(all: &[T], run: impl Fn(&T) -> Vec<String> + Sync) -> Vec<String> {
    let (next, wrongs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| run(one)));
                    wrongs.lock().unwrap().extend(caught.unwrap_or_else(|_| vec!["it is stuck (above)".to_owned()]));
                }
            });
        }
    });
    wrongs.into_inner().unwrap()
}

/// A life, the point at which whoever passes it dies, and whether the server dies with the engine.
#[cfg(unix)]
type Kill = (Life, String, bool);

/// Every life without any death: the points that are passed in it.
#[cfg(unix)]
fn passed_in(lives: &[Life]) -> Vec<(Life, BTreeSet<String>)> {
    let all = Mutex::new(Vec::new());
    let wrongs = beside(lives, |life| {
        let mut night = Night::new();
        night.traces = true;
        (life.1)(&mut night);
        night.disarm();
        all.lock().unwrap().push((*life, night.passed.take().unwrap_or_default()));
        night.judge().into_iter().map(|wrong| format!("{}: {wrong}", life.0)).collect()
    });
    assert!(wrongs.is_empty(), "without any death: {}", wrongs.join("\n"));
    all.into_inner().unwrap()
}

/// Who is to die where. What the plain life passes is not done again in the others.
#[cfg(unix)]
fn planned(all: Vec<(Life, BTreeSet<String>)>, is_meant: impl Fn(&str) -> bool) -> Vec<Kill> {
    let usual = all.iter().find(|(life, _)| life.0 == PLAIN.0).map(|(_, passed)| passed.clone()).unwrap_or_default();
    let mut plan = Vec::new();
    for (life, passed) in all.into_iter().filter(|(life, _)| is_meant(life.0)) {
        let is_troubled = TROUBLED.iter().any(|(name, _)| *name == life.0);
        // In the midst of an order the engine dies, at what it writes and does; asking alone changes nothing.
        let is_order = ORDERS.iter().any(|(name, _)| *name == life.0);
        let asks = |point: &str| {
            point.starts_with("sim.") || ["comfy GET", "comfy.head"].iter().any(|it| point.starts_with(it))
        };
        for point in passed {
            if usual.contains(&point) && (is_troubled || is_order && asks(&point)) {
                continue;
            }
            if life.0 == PLAIN.0 {
                plan.push((life, point.clone(), true));
            }
            plan.push((life, point, false));
        }
    }
    // What a life passed last may not have been written down any more: where one side was passed, so is the other.
    for at in 0..plan.len() {
        let (life, point, both) = plan[at].clone();
        let Some((name, side)) = point.rsplit_once(' ') else { continue };
        let other = format!("{name} {}", if side == "before" { "after" } else { "before" });
        if !plan.iter().any(|(_, side, _)| *side == other) {
            plan.push((life, other, both));
        }
    }
    plan
}

/// Whoever passes a point dies there: in every life, and in the midst of every order.
#[cfg(unix)]
#[test]
fn killed_at_every_named_point() {
    let only = std::env::var("LIFE").ok();
    let is_meant = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let lives = [&[PLAIN], TROUBLED, ORDERS].concat();
    let lives: Vec<_> = lives.into_iter().filter(|(name, _)| *name == PLAIN.0 || is_meant(name)).collect();
    let mut plan = planned(passed_in(&lives), is_meant);
    let points = super::points::names();
    let excused = |name: &str| NOT_HERE.iter().any(|(other, _)| *other == name);
    let sides = points.iter().filter(|name| !excused(name));
    let sides: Vec<_> = sides.flat_map(|name| ["before", "after"].map(|side| format!("{name} {side}"))).collect();
    let is_whole = only.is_none() && std::env::var_os("POINT").is_none();
    if only.is_none() {
        // One side of it is enough: what an engine writes down as it ends may be cut short.
        let not_come_to = |plan: &[Kill]| {
            let passes =
                |name: &str| plan.iter().any(|(_, side, _)| side.rsplit_once(' ').is_some_and(|(it, _)| it == name));
            points.iter().filter(|name| !excused(name) && !passes(name)).cloned().collect::<Vec<_>>()
        };
        let mut missed = not_come_to(&plan);
        // Some questions are asked or not as things fall out: another life of each may come to them.
        for _ in 0..3 {
            if missed.is_empty() {
                break;
            }
            let more = planned(passed_in(&lives), is_meant).into_iter();
            plan.extend(more.filter(|(_, side, _)| missed.iter().any(|name| side.starts_with(&format!("{name} ")))));
            missed = not_come_to(&plan);
        }
        assert!(missed.is_empty(), "no life comes to these: {missed:#?}");
        for (name, _) in NOT_HERE {
            assert!(points.iter().any(|other| other == name), "there is no point {name} any more");
        }
    }
    if let Ok(only) = std::env::var("POINT") {
        plan.retain(|(_, point, _)| *point == only);
    }
    println!("{} lives", plan.len());
    let died = Mutex::new(BTreeMap::<String, usize>::new());
    let slowest = Mutex::new((Duration::ZERO, String::new()));
    let run = |((name, live), point, both): &Kill| {
        let began = Instant::now();
        let caught = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut night = Night::new();
            (night.doom, night.both) = (Some(point.clone()), *both);
            live(&mut night);
            if night.killed.is_some() {
                *died.lock().unwrap().entry(point.clone()).or_default() += 1;
            }
            night.judge()
        }));
        let mut slowest = slowest.lock().unwrap();
        *slowest = slowest.clone().max((began.elapsed(), format!("{name}, killed at {point}")));
        drop(slowest);
        let found = caught.unwrap_or_else(|_| vec!["it is stuck, or went another way (above)".to_owned()]);
        let again = format!("LIFE='{name}' POINT='{point}' cargo test --test survives killed_at_every_named_point");
        if found.is_empty() {
            found
        } else {
            vec![format!("{name}, killed at {point}, both: {both}\n{}\n{again}", found.join("\n"))]
        }
    };
    let spared_now = || sides.iter().filter(|side| !died.lock().unwrap().contains_key(*side)).cloned().collect();
    // What is asked for by the clock, a life may do without: it is lived again.
    for round in 0..4 {
        let spared: Vec<String> = spared_now();
        let again = |(_, point, _): &&Kill| round == 0 || spared.contains(point);
        let these: Vec<_> = plan.iter().filter(again).cloned().collect();
        let wrongs = beside(&these, run);
        assert!(wrongs.is_empty(), "{}", wrongs.join("\n\n"));
        if !is_whole {
            break;
        }
    }
    let (slowest, what) = slowest.lock().unwrap().clone();
    println!("the slowest took {:.1} s: {what}", slowest.as_secs_f64());
    let (spared, died): (Vec<_>, _) = (spared_now(), died.lock().unwrap());
    println!("{} deaths in {} lives, at {} points", died.values().sum::<usize>(), plan.len(), died.len());
    assert!(!is_whole || spared.is_empty(), "nobody was killed at these: {spared:#?}");
}

/// Two or three faults of the server, by lot.
fn scenario(rng: &mut fastrand::Rng) -> String {
    const FAULTS: &[&str] = &[
        "on = { post = N }\ndo = \"post_lost\"",
        "on = { post = N }\ndo = \"post_500_but_queued\"",
        "on = { post = N }\ndo = { late = 0.5 }",
        "on = { post = N }\ndo = { refuse_with = { status = 503 } }",
        "on = { post = N }\ndo = { cut = 10 }",
        "on = { post = N }\ndo = { foreign = 2 }",
        "on = { post = N }\ndo = \"nan\"",
        "on = { prompt = N }\ndo = { history_late = 800 }",
        "on = { prompt = N }\ndo = \"history_missing\"",
        "on = { prompt = N }\ndo = \"end_never_sent\"",
        "on = { prompt = N }\ndo = \"drop_sockets\"",
        "on = { prompt = N }\ndo = \"deaf\"",
        "on = { prompt = N }\ndo = \"half_open\"",
        "on = { prompt = N }\ndo = { twin = 2 }",
        "on = { prompt = N }\ndo = \"truncated_message\"",
        "on = { prompt = N }\ndo = \"stray\"",
        "on = { prompt = N }\ndo = { disorder = 300 }",
        "on = { request = \"GET /history/{id}\" }\nskip = N\ndo = { hang = 0.5 }",
        "on = { request = \"GET /history/{id}\" }\nskip = N\ndo = { cut = 20 }",
        "on = { request = \"GET /view\" }\nskip = N\ndo = { view_cut = 50 }",
        "on = { request = \"GET /view\" }\nskip = N\ndo = { slow = 0.4 }",
        "on = { request = \"POST /upload/image\" }\nskip = N\ndo = { cut = 5 }",
        "on = { request = \"GET /ws\" }\nskip = N\ndo = { refuse_with = { status = 503 } }",
    ];
    let mut text = String::new();
    for _ in 0..rng.usize(0..4) {
        let fault = FAULTS[rng.usize(0..FAULTS.len())].replace('N', &rng.u8(1..4).to_string());
        text.extend(["[[fault]]\n", &fault, "\n"]);
    }
    text
}

/// One night of so many rounds, each with a death by lot.
fn night_of(seed: u64, rounds: u64, jobs: u64) -> (u64, Vec<String>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut night = Night::new();
    if rng.bool() {
        night.render_seconds = 2.0;
    }
    let mut kills = 0;
    for round in 0..rounds {
        let (engine, server, both) = deaths(&mut rng);
        night.scenario = scenario(&mut rng);
        night.start_server(&server);
        night.start_engine(&engine);
        let names: Vec<_> = (0..jobs).map(|job| format!("r{round}j{job}")).collect();
        night.both = both;
        let deaths = night.round(&names);
        kills += u64::from(deaths.engine + deaths.server).max(1);
    }
    (kills, night.judge())
}

fn nights(seeds: std::ops::Range<u64>, rounds: u64, jobs: u64) -> (u64, Vec<String>) {
    let (seeds, wrongs, kills) = (Mutex::new(seeds), Mutex::new(Vec::new()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                while let Some(seed) = { seeds.lock().unwrap().next() } {
                    let caught = std::panic::catch_unwind(|| night_of(seed, rounds, jobs));
                    let (killed, found) = caught.unwrap_or_else(|_| (0, vec!["it is stuck (above)".to_owned()]));
                    kills.fetch_add(killed, Ordering::Relaxed);
                    if !found.is_empty() {
                        let again = format!(
                            "SEED={seed} ROUNDS={rounds} EACH={jobs} cargo test --test survives one_night_of_kills"
                        );
                        wrongs.lock().unwrap().push(format!("seed {seed}: {}\n{again}", found.join("\n")));
                    }
                }
            });
        }
    });
    (kills.into_inner(), wrongs.into_inner().unwrap())
}

#[test]
fn killed_at_two_hundred_points_and_moments_drawn_by_lot() {
    let (first, count) = (number("FIRST", 1), number("NIGHTS", if std::env::var_os("CI").is_some() { 20 } else { 5 }));
    let (kills, wrongs) = nights(first..first + count, 10, 2);
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n\n"));
    println!("{kills} kills, nights {first} to {}", first + count - 1);
    assert!(kills >= 10 * count);
}

#[test]
fn one_night_of_kills() {
    let (kills, wrongs) = night_of(number("SEED", 1), number("ROUNDS", 10), number("EACH", 2));
    assert!(wrongs.is_empty() && kills > 0, "{}", wrongs.join("\n"));
}

/// `bench/soak`: `JOBS` in nights of 25 rounds, each with its death, of 20 jobs; the first night has `FIRST` as seed.
#[test]
#[ignore = "as long as it is told: see bench/soak"]
fn soak() {
    let (first, jobs) = (number("FIRST", 1), number("JOBS", 1000));
    let count_of_nights = jobs.div_ceil(500);
    let (kills, wrongs) = nights(first..first + count_of_nights, 25, 20);
    let count = |what: &str| wrongs.iter().flat_map(|wrong| wrong.lines()).filter(|line| line.contains(what)).count();
    println!(
        "jobs {}, kills {kills}, seeds {first} to {}; lost {}, doubled {}, stuck {}",
        count_of_nights * 500,
        first + count_of_nights - 1,
        count("is not in done/"),
        count("was rendered"),
        count("stuck"),
    );
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n\n"));
}
