//! The dashboard's screens, held still: what a person sees in each situation, at the sizes that matter.
//!
//! `INSTA_UPDATE=always cargo test --test screens` writes them anew; then READ every one that changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "screens/world.rs"]
mod world;

use comfytop::job::{JobId, JobState, Mark};
use comfytop::protocol::{Answer, FromEngine, Level, MoveTo, Notice, Request, Update};
use comfytop::tui::keys::{self, Action, KEYS};
use comfytop::tui::{Command, Event, Painter, Urgency, columns, draw};
use comfytop::verdict::{Cut, Repair};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use world::{World, press, press_code, press_ctrl, say};

/// A picture at the two sizes that every state is held at.
macro_rules! held {
    ($name:literal, $make:expr) => {
        for (width, height) in [(80, 24), (120, 40)] {
            let mut app = $make(width, height);
            insta::assert_snapshot!(format!("{}_{width}x{height}", $name), world::picture(&mut app));
        }
    };
}

#[test]
fn a_full_queue() {
    held!("full", |w, h| World::full().app(w, h));
}

#[test]
fn other_sizes() {
    for (width, height) in [(40, 10), (59, 20), (100, 30), (120, 36), (200, 60), (39, 7), (80, 8)] {
        let mut app = World::full().app(width, height);
        insta::assert_snapshot!(format!("full_{width}x{height}"), world::picture(&mut app));
    }
}

#[test]
fn nothing_yet() {
    held!("empty", |w, h| World::empty().app(w, h));
}

#[test]
fn before_the_engine_is_there() {
    held!("connecting", world::alone);
}

#[test]
fn ten_thousand_jobs() {
    held!("ten_thousand", |w, h| World::many(10_000).app(w, h));
}

#[test]
fn a_list_that_comes_in_pieces_is_shown_when_it_is_whole() {
    let mut app = World::full().app(120, 40);
    let before = world::picture(&mut app);
    let mut lines = world::in_pieces(World::many(1000).snapshot, 300);
    let last = lines.pop().unwrap();
    for line in lines {
        say(&mut app, line);
    }
    assert_eq!(world::picture(&mut app), before);
    say(&mut app, last);
    let whole = world::picture(&mut app);
    assert_eq!(whole, world::picture(&mut World::many(1000).app(120, 40)));
}

#[test]
fn a_server_that_refuses() {
    held!("refused", |w, h| World::refused().app(w, h));
}

#[test]
fn a_server_that_is_none() {
    held!("not_comfyui", |w, h| World::not_comfyui().app(w, h));
    let mut app = World::not_comfyui().app(80, 24);
    press_code(&mut app, KeyCode::BackTab);
    insta::assert_snapshot!("not_comfyui_server_80x24", world::picture(&mut app));
}

#[test]
fn a_rejected_file() {
    held!("rejected", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "gjjj");
        world::answer_detail(&mut app, world::rejected_detail());
        app
    });
}

#[test]
fn a_rejected_file_in_full() {
    held!("rejected_details", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "gjjj");
        world::answer_detail(&mut app, world::rejected_detail());
        press_code(&mut app, KeyCode::Enter);
        app
    });
}

#[test]
fn a_failed_job_in_full() {
    held!("failed_details", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "gjj");
        world::answer_detail(&mut app, world::failed_detail());
        press_code(&mut app, KeyCode::Enter);
        app
    });
}

#[test]
fn a_done_job() {
    held!("done", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "kk");
        world::answer_detail(&mut app, world::done_detail());
        app
    });
}

#[test]
fn a_job_whose_only_attempt_is_discarded_has_no_numbers() {
    let mut app = World::discarded().app(120, 40);
    press(&mut app, "kk");
    let shown = world::picture(&mut app);
    let line = shown.lines().find(|line| line.contains("reading_loop") && line.contains('▶')).unwrap().to_owned();
    assert!(line.contains("● discarded") && !line.contains("0.886") && !line.contains("loops"), "{line}");
    assert!(!app.footer_actions().contains(&Action::Repair));
    press(&mut app, "x");
    assert!(world::picture(&mut app).contains("attempt 1 is discarded: its files lie in"));
    assert!(!world::picture(&mut app).contains("boomerang"));
    // In the ranking, too.
    let mut app = ranking(120, 40);
    press(&mut app, "Gx");
    let shown = world::picture(&mut app);
    assert!(shown.contains("attempt 1 is discarded: its files lie in") && !shown.contains("boomerang"), "{shown}");
}

#[test]
fn what_counts_of_a_job_may_be_its_mended_copy() {
    held!("mended", |w, h| World::mended().app(w, h));
}

/// The done job under the cursor, and `i` pressed so many times.
fn with_pictures(world: World, width: u16, height: u16, times: usize) -> comfytop::tui::App {
    let mut app = world.app(width, height);
    press(&mut app, "kk");
    world::answer_detail(&mut app, world::done_detail());
    for _ in 0..times {
        let asked = press(&mut app, "i").into_iter().next();
        world::serve(&mut app, asked);
        app.prepare();
    }
    app
}

#[test]
fn first_and_last_frame() {
    held!("pictures_ends", |w, h| with_pictures(World::full(), w, h, 1));
    held!("pictures_ends_plain", |w, h| with_pictures(World::full().without_color(), w, h, 1));
    held!("pictures_ends_details", |w, h| {
        let mut app = with_pictures(World::full(), w, h, 1);
        press_code(&mut app, KeyCode::Enter);
        app
    });
}

#[test]
fn a_filmstrip() {
    held!("pictures_strip", |w, h| with_pictures(World::full(), w, h, 3));
}

#[test]
fn a_job_without_pictures() {
    held!("pictures_none", |w, h| {
        let mut app = with_pictures(World::full(), w, h, 1);
        press(&mut app, "G");
        world::serve(&mut app, None);
        app
    });
}

#[test]
fn pictures_are_asked_for_only_where_they_are_shown() {
    let pictures = |asked: Vec<Request>| {
        let is_picture = |r: &Request| matches!(r, Request::Pictures { .. } | Request::Previews { .. });
        asked.into_iter().filter(is_picture).collect::<Vec<_>>()
    };
    let mut app = World::full().app(120, 40);
    press(&mut app, "kk");
    assert_eq!(pictures(world::serve(&mut app, None)), [], "they are off");
    let asked = press(&mut app, "i").into_iter().next();
    let ends = |job| Request::Pictures { job: JobId(job), attempt: None, what: comfytop::protocol::Pictures::Ends };
    assert_eq!(pictures(world::serve(&mut app, asked)), [ends(47)]);
    // Passed by: only where the cursor rests.
    let asked = press(&mut app, "kkj").into_iter().next();
    let of = app.selected_job().unwrap();
    assert_ne!(of, JobId(47));
    assert_eq!(pictures(world::serve(&mut app, asked)), [ends(of.0)]);
    // A list that is zoomed leaves no room for them.
    press(&mut app, "z");
    press(&mut app, "k");
    assert_eq!(pictures(world::serve(&mut app, None)), []);
}

#[test]
fn previews_are_asked_for_while_they_are_shown() {
    let asks =
        |asked: Vec<Request>| asked.into_iter().filter(|r| matches!(r, Request::Previews { .. })).collect::<Vec<_>>();
    // The running job is selected: it has nothing but its preview.
    let mut app = World::full().app(120, 40);
    let asked = press(&mut app, "i").into_iter().next();
    assert_eq!(asks(world::serve(&mut app, asked)), [Request::Previews { on: true }]);
    assert!(world::picture(&mut app).contains("no preview yet"));
    for number in 1..3 {
        let still =
            comfytop::protocol::Still { name: "first".into(), path: format!("/cache/live/{number}.png").into() };
        let next = app.update(Event::FromEngine(FromEngine::Update(Update::Preview { job: JobId(49), still })));
        assert!(matches!(next, Some(Command::Load(_))), "{number}: {next:?}");
        world::serve(&mut app, next);
    }
    let shown = world::picture(&mut app);
    assert!(shown.contains('▀') && shown.contains("live #49"), "{shown}");
    // Off again: the next one is not read, and no more are sent.
    let asked = press(&mut app, "i").into_iter().next();
    assert_eq!(asks(world::serve(&mut app, asked)), [Request::Previews { on: false }]);
    assert!(!world::picture(&mut app).contains('▀'));
}

#[test]
fn a_clip_is_played_at_its_own_pace_and_skips_what_the_line_does_not_bear() {
    let mut app = with_pictures(World::full(), 120, 40, 0);
    let first = press(&mut app, "P").into_iter().next();
    let mut asked = world::serve(&mut app, first);
    asked.extend(world::serve(&mut app, None));
    let clip = Request::Pictures { job: JobId(47), attempt: None, what: comfytop::protocol::Pictures::Play };
    assert!(asked.contains(&clip), "{asked:?}");
    let number = |app: &mut comfytop::tui::App| {
        let shown = world::picture(app);
        let label = shown.split("/65").next().unwrap().rsplit(' ').next().unwrap();
        label.parse::<u64>().unwrap()
    };
    let from = number(&mut app);
    for _ in 0..5 {
        app.update(Event::Tick(app.next_tick()));
    }
    assert_eq!(number(&mut app), (from + 4) % 65 + 1, "one picture a tick");
    app.hold_pictures(true, usize::MAX);
    for _ in 0..20 {
        app.update(Event::Tick(app.next_tick()));
    }
    assert_eq!(number(&mut app), (from + 4) % 65 + 1, "held");
    app.hold_pictures(false, usize::MAX);
    assert_eq!(number(&mut app), (from + 24) % 65 + 1, "the one of this moment, none in between");
    press(&mut app, "P");
    assert!(!world::picture(&mut app).contains("/65"));
    let until = app.next_tick().duration_since(world::now());
    assert!(until.as_secs() >= 1, "nobody is woken for it any more");
}

#[test]
fn output_paths_are_links_where_they_stand() {
    let mut app = with_pictures(World::full(), 120, 40, 0);
    let links = app.links();
    let buf = world::drawn(&mut app);
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].url, "file://render-box/home/ada/renders/outputs/reading_loop.mp4");
    let shown: String = links[0].area.positions().map(|at| buf[at].symbol().to_owned()).collect();
    assert_eq!(shown, "outputs/reading_loop.mp4");
    press(&mut app, "?");
    assert_eq!(app.links(), [], "the help page covers them");
    assert_eq!(ranking(120, 40).links(), [], "so does the ranking");
}

#[test]
fn an_output_is_opened_by_its_whole_path() {
    let mut app = with_pictures(World::full(), 120, 40, 0);
    let wanted = "/home/ada/renders/outputs/reading_loop.mp4".to_owned();
    assert!(press(&mut app, "o").contains(&Command::Open(wanted)));
}

#[test]
fn pictures_wait_for_the_line_and_the_newest_is_shown() {
    let mut app = with_pictures(World::full(), 120, 40, 1);
    assert!(world::picture(&mut app).contains('▀'));
    app.hold_pictures(true, usize::MAX);
    press(&mut app, "k");
    assert!(!world::picture(&mut app).contains('▀'), "those of another job are gone at once");
    world::serve(&mut app, None);
    app.prepare();
    assert!(app.pictures_wait() && !world::picture(&mut app).contains('▀'));
    app.hold_pictures(false, usize::MAX);
    assert!(world::picture(&mut app).contains('▀') && !app.pictures_wait());
    assert!(app.has_new_pictures());
    app.prepare();
    assert!(!app.has_new_pictures(), "they hang already");
}

#[test]
fn jobs_that_are_tried_again() {
    held!("tries", |w, h| World::tries().app(w, h));
}

/// A dashboard with the ranking of a done job open.
fn ranking(width: u16, height: u16) -> comfytop::tui::App {
    let mut app = World::full().app(width, height);
    let asked = press(&mut app, "kkb");
    assert!(asked.contains(&Command::Ask(Request::Ranking { jobs: vec![JobId(47)] })), "{asked:?}");
    world::answer_ranking(&mut app, world::ranked());
    press(&mut app, "j");
    app
}

#[test]
fn attempts_side_by_side() {
    held!("ranking", ranking);
}

#[test]
fn the_ranking_shows_pictures_of_the_attempt_under_its_cursor() {
    use comfytop::protocol::Pictures::{Ends, Play};
    let of = |attempt, what| Request::Pictures { job: JobId(48), attempt: Some(attempt), what };
    let shown = |w, h| {
        let mut app = ranking(w, h);
        let asked = press(&mut app, "i").into_iter().next();
        let asked = world::serve(&mut app, asked);
        (app, asked)
    };
    held!("ranking_pictures", |w, h| shown(w, h).0);
    let (mut app, asked) = shown(120, 40);
    assert!(asked.contains(&of(2, Ends)), "{asked:?}");
    assert!(world::picture(&mut app).contains('▀'));
    // Another attempt has other pictures; and it plays there.
    press(&mut app, "j");
    assert_eq!(world::serve(&mut app, None), [of(1, Ends)]);
    let asked = press(&mut app, "P").into_iter().next();
    assert_eq!(world::serve(&mut app, asked), [of(1, Play)]);
    // Those of the list come back with it.
    press_code(&mut app, KeyCode::Esc);
    let job = Request::Pictures { job: JobId(47), attempt: None, what: Ends };
    assert_eq!(world::serve(&mut app, None), [job]);
}

#[test]
fn a_long_ranking_says_where_its_cursor_is_and_keeps_its_keys() {
    let mut app = ranking(80, 24);
    let all = (1..=8).flat_map(|job| {
        world::ranked().into_iter().map(move |ranked| comfytop::protocol::Ranked { job: JobId(job), ..ranked })
    });
    world::answer_ranking(&mut app, all.collect());
    press(&mut app, "ggjjjj");
    let asked = press(&mut app, "i").into_iter().next();
    world::serve(&mut app, asked);
    let shown = world::picture(&mut app);
    assert!(shown.contains("Ranking 5/24: #47 reading_loop"), "{shown}");
    for key in ["m keep", "d discard", "i pictures", "P play", "x repair", "Esc close", "? help", "q leave"] {
        assert!(shown.contains(key), "{key}: {shown}");
    }
    // In the demo, too.
    let mut world = World::full();
    world.snapshot.engine.simulated = true;
    let mut app = world.app(80, 24);
    press(&mut app, "kkb");
    world::answer_ranking(&mut app, world::ranked());
    press(&mut app, "i");
    assert!(world::picture(&mut app).contains("x repair  Esc close  ? help  q leave"), "{}", world::picture(&mut app));
    // Of what is shown whole nothing need be said.
    assert!(world::picture(&mut ranking(80, 24)).contains("Ranking: #47"));
}

#[test]
fn text_beside_pictures_can_be_read() {
    use ratatui::buffer::Buffer;
    /// Cells of the widest line of the details, left of the pictures.
    fn beside(buf: &Buffer) -> u16 {
        let is_picture = |x: u16, y: u16| buf.cell((x, y)).is_some_and(|c| c.bg != ratatui::style::Color::Reset);
        let width = if buf.area.width < 100 { buf.area.width } else { buf.area.width - 26 };
        let rows = (2..buf.area.height - 2).filter_map(|y| (0..width).find(|x| is_picture(*x, y)));
        rows.min().unwrap_or(0)
    }
    for (w, h, views) in [(80, 24, [1, 2]), (120, 40, [1, 2])] {
        for times in views {
            let mut app = with_pictures(World::full(), w, h, times);
            if w < 100 {
                press_code(&mut app, KeyCode::Enter);
            }
            let least = if times == 2 { 50 } else { 44 };
            let cells = beside(&world::drawn(&mut app));
            assert!(cells >= least, "{w}x{h}, view {times}: {cells}\n{}", world::picture(&mut app));
        }
    }
}

#[test]
fn the_ranking_shows_no_other_jobs_preview() {
    let mut app = World::full().app(120, 40);
    press(&mut app, "kk");
    // Another job's preview, as the list shows it.
    for _ in 0..4 {
        let asked = press(&mut app, "i").into_iter().next();
        world::serve(&mut app, asked);
    }
    let still = comfytop::protocol::Still { name: "first".into(), path: "/cache/live/1.png".into() };
    let next = app.update(Event::FromEngine(FromEngine::Update(Update::Preview { job: JobId(49), still })));
    world::serve(&mut app, next);
    assert!(world::picture(&mut app).contains("live #49"), "{}", world::picture(&mut app));
    press(&mut app, "b");
    world::answer_ranking(&mut app, world::ranked());
    world::serve(&mut app, None);
    let shown = world::picture(&mut app);
    assert!(!shown.contains("live") && shown.contains("first") && shown.contains("last"), "{shown}");
    // Nor does `i` come by it.
    for _ in 0..6 {
        let asked = press(&mut app, "i").into_iter().next();
        world::serve(&mut app, asked);
        assert!(!world::picture(&mut app).contains("live"));
    }
}

#[test]
fn the_ways_to_repair_an_output() {
    held!("repair_menu", |w, h| {
        let mut app = ranking(w, h);
        press(&mut app, "x");
        app
    });
}

#[test]
fn the_ranking_keeps_discards_and_repairs() {
    let mut app = ranking(120, 40);
    let mark = |attempt, mark| Command::Ask(Request::Mark { attempts: vec![(JobId(48), attempt)], mark });
    assert_eq!(press(&mut app, "m"), [mark(2, Some(Mark::Kept))]);
    // A discard is asked first.
    assert_eq!(press(&mut app, "dn"), []);
    assert_eq!(press(&mut app, "dy"), [mark(2, Some(Mark::Discarded))]);
    press(&mut app, "x");
    let how = Some(Repair::Cut(Cut { drop_start: 0, drop_end: 4 }));
    let repair = Command::Ask(Request::Repair { job: JobId(48), attempt: 2, path: String::new(), how });
    assert_eq!(press_code(&mut app, KeyCode::Enter), Some(repair));
    // The cursor stays on its attempt, wherever that goes.
    let mut rows = world::ranked();
    rows.rotate_left(1);
    world::answer_ranking(&mut app, rows);
    assert_eq!(press(&mut app, "m"), [mark(2, Some(Mark::Kept))]);
    // What is discarded comes back by the same key.
    assert_eq!(press(&mut app, "Gkd"), [Command::Ask(Request::Mark { attempts: vec![(JobId(48), 1)], mark: None })]);
    press_code(&mut app, KeyCode::Esc);
    assert_eq!(app.selected_job(), Some(JobId(47)));
    assert!(!app.footer_actions().contains(&Action::Keep));
}

/// Who puts away one after the other need not look for the next.
#[test]
fn a_discard_leaves_the_cursor_at_its_place() {
    let mut app = ranking(120, 40);
    // Which one `m` would keep.
    let at = |app: &mut comfytop::tui::App| match press(app, "m").first() {
        Some(Command::Ask(Request::Mark { attempts, .. })) => attempts.first().map(|(_, attempt)| *attempt),
        _ => None,
    };
    let mut rows = world::ranked();
    press(&mut app, "g");
    let (first, second) = (rows[0].attempt, rows[1].attempt);
    assert_eq!(at(&mut app), Some(first));
    let mut gone = rows.remove(0);
    gone.mark = Some(Mark::Discarded);
    rows.push(gone);
    world::answer_ranking(&mut app, rows.clone());
    assert_eq!(at(&mut app), Some(second), "the next one stands there now");
    // At the bottom it can be reached; brought back, the cursor goes with it.
    press(&mut app, "G");
    assert_eq!(at(&mut app), Some(first));
    let mut back = rows.pop().unwrap();
    back.mark = None;
    rows.insert(0, back);
    world::answer_ranking(&mut app, rows);
    assert_eq!(at(&mut app), Some(first));
}

#[test]
fn on_a_slow_line_a_picture_is_unrolled() {
    let mut app = with_pictures(World::full(), 120, 40, 0);
    app.hold_pictures(false, 120);
    let asked = press(&mut app, "i").into_iter().next();
    world::serve(&mut app, asked);
    let blocks = |app: &mut comfytop::tui::App| {
        let buf = world::drawn(app);
        buf.content().iter().filter(|cell| cell.bg != ratatui::style::Color::Reset).count()
    };
    let mut seen = vec![blocks(&mut app)];
    while app.pictures_wait() {
        seen.push(blocks(&mut app));
    }
    assert!(seen.len() > 5 && seen.is_sorted(), "{seen:?}");
    assert!(seen.windows(2).all(|two| two[1] - two[0] <= 120), "{seen:?}");
}

#[test]
fn what_lay_under_the_help_comes_again_as_the_line_bears_it() {
    let mut app = with_pictures(World::full(), 120, 40, 1);
    let blocks = |app: &mut comfytop::tui::App| world::picture(app).matches('▀').count();
    let all = blocks(&mut app);
    press(&mut app, "?");
    app.hold_pictures(false, 12);
    assert!(blocks(&mut app) < all / 2);
    assert!(!app.pictures_wait(), "nothing is sent of what is covered");
    press(&mut app, "?");
    let before = blocks(&mut app);
    assert!(before < all / 2 && app.pictures_wait(), "{before} of {all} with the frame that takes it away");
    while app.pictures_wait() {
        blocks(&mut app);
    }
    assert_eq!(blocks(&mut app), all);
    // So it is where all on the screen was lost.
    app.lose_pictures();
    assert!(blocks(&mut app) <= 12);
}

#[test]
fn an_engine_that_is_gone() {
    held!("gone", |w, h| {
        let mut app = World::full().app(w, h);
        app.update(Event::EngineGone { why: String::new() });
        app
    });
}

#[test]
fn an_engine_of_another_version() {
    held!("other_version", |w, h| {
        let mut app = World::full().app(w, h);
        say(
            &mut app,
            FromEngine::Refused {
                why: "this engine is comfytop 0.0.9, the face is 0.1.0: `comfytop stop` ends the engine (renders go on), then start again".into(),
                version: "0.0.9".into(),
            },
        );
        app.update(Event::EngineGone { why: String::new() });
        app
    });
}

#[test]
fn names_in_wide_letters() {
    held!("wide_letters", |w, h| World::wide().app(w, h));
}

#[test]
fn the_help_page() {
    held!("help", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "?");
        app
    });
}

#[test]
fn typing_a_filter() {
    held!("filter_typing", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "/turn q");
        app
    });
}

#[test]
fn a_filter_kept() {
    held!("filter_kept", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "/turn");
        press_code(&mut app, KeyCode::Enter);
        app
    });
}

#[test]
fn a_filter_that_nothing_matches() {
    held!("filter_none", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "/zebra");
        press_code(&mut app, KeyCode::Enter);
        app
    });
}

#[test]
fn a_server_without_a_gpu() {
    held!("cpu", |w, h| World::cpu().app(w, h));
}

#[test]
fn a_server_with_two_cards() {
    held!("cards", |w, h| World::cards().app(w, h));
    let mut app = World::cards().app(80, 24);
    press_code(&mut app, KeyCode::BackTab);
    insta::assert_snapshot!("cards_server_80x24", world::picture(&mut app));
}

#[test]
fn a_graph_that_has_just_begun() {
    held!("young", |w, h| {
        let mut world = World::empty();
        let samples = &mut world.snapshot.servers[0].samples;
        samples.drain(..samples.len() - 12);
        world.app(w, h)
    });
}

#[test]
fn a_question() {
    held!("question", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "c");
        app
    });
}

#[test]
fn a_notice_a_banner_and_what_happened_meanwhile() {
    held!("notices", |w, h| {
        let mut app = World::away().app(w, h);
        let notice = Notice { at: world::now(), level: Level::Warning, text: "#46 failed: out of memory".into() };
        say(&mut app, FromEngine::Update(Update::Notice(notice)));
        app
    });
}

/// It takes a second line where there is room, and ends with a whole word.
#[test]
fn a_long_notice() {
    held!("long_notice", |w, h| {
        let mut app = World::full().app(w, h);
        let text = "#46 walking_loop is not repaired: ffmpeg is needed to write a clip, and there is none: install it \
                    (Debian, Ubuntu: apt install ffmpeg; macOS: brew install ffmpeg; Windows: winget install ffmpeg), or \
                    name one in COMFYTOP_FFMPEG";
        let notice = Notice { at: world::now(), level: Level::Warning, text: text.into() };
        say(&mut app, FromEngine::Update(Update::Notice(notice)));
        app
    });
}

/// At 80 columns there is not room for all keys: those of its output stay.
#[test]
fn the_footer_of_a_job_that_was_tried_names_what_its_output_is_there_for() {
    let mut app = World::tries().app(80, 24);
    press(&mut app, "g");
    let footer = world::picture(&mut app).lines().last().unwrap().to_owned();
    for key in ["x repair", "i pictures", "b ranking", "? help"] {
        assert!(footer.contains(key), "{key}: {footer}");
    }
}

#[test]
fn sorted_by_ssim() {
    held!("sorted", |w, h| {
        let mut app = World::full().app(w, h);
        while columns::COLUMNS.get(app.sorted_by().unwrap_or(usize::MAX)).is_none_or(|c| c.title != "SSIM") {
            press(&mut app, "s");
        }
        press(&mut app, "g");
        app
    });
}

#[test]
fn sorting_goes_through_the_columns_that_are_seen() {
    for (width, height) in [(80, 24), (120, 40), (50, 24)] {
        let mut app = World::full().app(width, height);
        let mut sorted = 0;
        loop {
            press(&mut app, "s");
            let Some(by) = app.sorted_by() else { break };
            let title = columns::COLUMNS[by].title;
            let head = world::picture(&mut app).lines().find(|l| l.contains("name")).map(str::to_owned);
            assert!(head.as_ref().is_some_and(|l| l.contains(title)), "{width}: {title} in {head:?}");
            sorted += 1;
        }
        assert!(sorted > 1, "{width}");
    }
}

#[test]
fn the_server_zoomed() {
    held!("server_zoomed", |w, h| {
        let mut app = World::full().app(w, h);
        press_code(&mut app, KeyCode::BackTab);
        press(&mut app, "z");
        app
    });
}

#[test]
fn what_the_colours_say() {
    let mut app = World::full().app(120, 40);
    insta::assert_snapshot!("styles_120x40", world::styles(&mut app));
    app.update(Event::EngineGone { why: String::new() });
    insta::assert_snapshot!("styles_gone_120x40", world::styles(&mut app));
}

#[test]
fn without_colours_the_words_are_the_same_and_no_colour_is_used() {
    let (mut with, mut without) = (World::full().app(120, 40), World::full().without_color().app(120, 40));
    assert_eq!(world::picture(&mut with), world::picture(&mut without));
    assert!(!world::styles(&mut without).contains(['c', 'g', 'y', 'r']), "{}", world::styles(&mut without));
}

#[test]
fn no_size_breaks_the_drawing() {
    for make in [World::full, World::empty, World::wide, World::refused] {
        // All around the sizes where the layout changes, and some between.
        let widths = [1, 2, 3, 5, 20, 39, 40, 41, 47, 59, 60, 79, 99, 100, 101, 119, 160];
        let heights = [1, 2, 7, 8, 9, 10, 13, 16, 27, 28, 29, 44];
        for (width, height) in widths.into_iter().flat_map(|w| heights.map(|h| (w, h))) {
            let mut app = make().app(width, height);
            for keys in ["", "?", "", "/a", "c"] {
                press(&mut app, keys);
                world::picture(&mut app);
                press_code(&mut app, KeyCode::Esc);
            }
            press_code(&mut app, KeyCode::Tab);
            world::picture(&mut app);
            press_code(&mut app, KeyCode::Tab);
            press(&mut app, "zjG");
            world::picture(&mut app);
        }
    }
}

#[test]
fn a_screen_that_grows_and_shrinks_keeps_its_cursor_in_sight() {
    let mut app = World::many(500).app(120, 40);
    press(&mut app, "G");
    for (width, height) in [(1, 1), (300, 2), (80, 24), (200, 60), (40, 8)] {
        app.update(Event::Resize(width, height));
        let picture = world::picture(&mut app);
        assert!(height < 8 || picture.contains("▶"), "{width}x{height}\n{picture}");
    }
}

// --- keys

#[test]
fn every_key_of_the_table_does_what_its_line_says() {
    // Each is pressed where it is alive; leaving one of them undone is seen as nothing changed and nothing asked.
    for binding in KEYS {
        for mode in binding.modes {
            let mut app = world::in_mode(*mode);
            for key in binding.keys {
                let modifiers = if key.ctrl { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                let event = KeyEvent::new(key.code, modifiers);
                assert_eq!(keys::action(*mode, &event), Some(binding.action));
                // Must not panic, whatever is open.
                app.update(Event::Key(event));
            }
        }
    }
}

#[test]
fn the_footer_shows_keys_of_the_table_that_do_something() {
    let mut app = World::full().app(200, 60);
    let shown = |app: &comfytop::tui::App| app.footer_actions();
    assert!(shown(&app).contains(&Action::Cancel), "a running job can be cancelled");
    assert!(!shown(&app).contains(&Action::Requeue), "and not requeued");
    press(&mut app, "g");
    assert!(shown(&app).contains(&Action::Requeue));
    assert!(!shown(&app).contains(&Action::Cancel));
    assert!(shown(&app).contains(&Action::Back), "Esc follows what runs again");
    let empty = World::empty().app(200, 60);
    assert_eq!(shown(&empty), [Action::Pause, Action::Help, Action::Leave]);
}

/// A text that was not taken is edited again, or kept in a file that is named.
#[test]
fn an_edited_text_that_was_not_taken_is_kept_in_a_file() {
    let mut app = World::full().app(120, 40);
    press(&mut app, "G");
    let asked = press(&mut app, "e");
    let [Command::Ask(Request::Text { job })] = asked[..] else { panic!("{asked:?}") };
    let answer = |result| FromEngine::Answer { id: 1, result: Ok(result) };
    let opened = app.update(Event::FromEngine(answer(Answer::Text { job, text: "{}".to_owned() })));
    assert!(matches!(opened, Some(Command::Editor { .. })), "{opened:?}");
    let text = "{ \"promt\": 1 }".to_owned();
    let sent = app.update(Event::Edited { job, text: Ok(text.clone()) });
    assert_eq!(sent, Some(Command::Ask(Request::Edit { job, text: text.clone() })));
    app.update(Event::FromEngine(answer(Answer::Each(vec![(job, Err("no slot `promt`".to_owned()))]))));
    assert!(world::picture(&mut app).contains("edit again? no slot `promt`"));
    assert_eq!(press(&mut app, "n"), [Command::KeepText { job, text }]);
    app.update(Event::TextKept { job, path: Ok("/tmp/kept.json".to_owned()) });
    assert!(world::picture(&mut app).contains("not changed; what you wrote is in /tmp/kept.json"));
}

/// What a queue that was stopped looks like, by itself and by a person.
#[test]
fn a_paused_queue() {
    use comfytop::job::FailureKind;
    use comfytop::protocol::{Cause, Flow};
    held!("paused", |w, h| {
        let mut world = World::full();
        let cause = Cause::Failures { kind: FailureKind::OutOfMemory, count: 3 };
        world.snapshot.engine.flow = Flow::Paused { since: world::now(), cause };
        world.app(w, h)
    });
    // One server alone, which nobody paused: `p` lifts that too, and says so.
    let mut world = World::full();
    world.snapshot.servers[0].flow = Flow::Paused { since: world::now(), cause: Cause::Restarted };
    let mut app = world.app(120, 40);
    let drawn = world::picture(&mut app);
    assert!(drawn.contains("is paused: it was restarted · p goes on"), "{drawn}");
    assert_eq!(press(&mut app, "p"), [Command::Ask(Request::Resume { servers: Vec::new() })]);
    let mut world = World::full();
    world.snapshot.engine.flow = Flow::Draining { since: world::now() };
    assert!(world::picture(&mut world.app(120, 40)).contains("‖ draining"));
}

#[test]
fn marked_jobs_and_the_one_question_for_all() {
    held!("marked", |w, h| {
        let mut app = World::full().app(w, h);
        press(&mut app, "Gk ");
        press(&mut app, "kkkkvkH");
        app
    });
    let mut app = World::full().app(120, 40);
    press(&mut app, "*c");
    assert!(
        app.update(key('y')).is_some_and(|c| matches!(c, Command::Ask(Request::Cancel { jobs }) if jobs.len() > 2))
    );
    assert_eq!(app.update(key('c')), None, "the marks are gone: the one that runs is asked about");
}

#[test]
fn a_render_that_makes_no_step_and_a_cancel_that_waits() {
    held!("stalled", |w, h| {
        let mut world = World::full();
        let since = world::now() - jiff::SignedDuration::from_mins(12);
        for row in &mut world.snapshot.jobs {
            if matches!(row.state, JobState::Running) {
                row.stalled_since = Some(since);
            } else if matches!(row.state, JobState::Pending) {
                row.state = JobState::Cancelling { since };
            }
        }
        world.app(w, h)
    });
}

#[test]
fn moving_marks_asks_nothing_and_keeps_them() {
    let mut app = World::full().app(120, 40);
    press(&mut app, "Gkvk");
    for (pressed, to) in [('K', MoveTo::Up), ('J', MoveTo::Down), ('T', MoveTo::Top), ('B', MoveTo::Bottom)] {
        match app.update(key(pressed)) {
            Some(Command::Ask(Request::Move { jobs, to: found })) => assert_eq!((jobs.len(), found), (2, to)),
            other => panic!("{pressed}: {other:?}"),
        }
    }
    assert!(matches!(app.update(key('+')), Some(Command::Ask(Request::Priority { .. }))));
    press_code(&mut app, KeyCode::Esc);
    match app.update(key('K')) {
        Some(Command::Ask(Request::Move { jobs, .. })) => assert_eq!(jobs.len(), 1),
        other => panic!("{other:?}"),
    }
}

fn key(c: char) -> Event {
    Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))
}

#[test]
fn leaving_is_one_key_and_never_asks() {
    let mut app = World::full().app(80, 24);
    assert_eq!(press(&mut app, "q"), [Command::Leave]);
    press(&mut app, "/abc");
    assert_eq!(press(&mut app, "q"), [], "while text is typed it is text");
    assert_eq!(press_ctrl(&mut app, 'c'), Some(Command::Leave));
}

#[test]
fn a_running_job_is_cancelled_after_a_question_and_a_waiting_one_at_once() {
    let mut app = World::full().app(80, 24);
    assert_eq!(press(&mut app, "c"), []);
    assert_eq!(press(&mut app, "n"), []);
    assert_eq!(press(&mut app, "cy"), [Command::Ask(Request::Cancel { jobs: vec![JobId(49)] })]);
    press(&mut app, "jj");
    assert_eq!(press(&mut app, "c"), [Command::Ask(Request::Cancel { jobs: vec![JobId(51)] })]);
    press(&mut app, "gjj");
    assert_eq!(press(&mut app, "c"), [], "what has ended can't be");
    assert_eq!(
        press(&mut app, "rR"),
        [
            Command::Ask(Request::Requeue { jobs: vec![JobId(46)], new_seed: false }),
            Command::Ask(Request::Requeue { jobs: vec![JobId(46)], new_seed: true }),
        ]
    );
}

#[test]
fn stopping_the_engine_asks_and_e_starts_it_again() {
    let mut app = World::full().app(80, 24);
    assert_eq!(press(&mut app, "Qn"), []);
    assert_eq!(press(&mut app, "E"), [Command::Ask(Request::Reconnect)]);
    app.update(Event::EngineGone { why: String::new() });
    assert_eq!(press(&mut app, "E"), [Command::StartEngine { replace: false, server: None }]);
    assert_eq!(press(&mut app, "c"), [], "nobody is there to cancel");
}

#[test]
fn an_engine_that_died_is_started_again_where_a_flag_had_sent_it() {
    let mut world = World::full();
    world.snapshot.engine.server = Some("http://10.0.0.7:8188".into());
    let mut app = world.app(80, 24);
    app.update(Event::EngineGone { why: String::new() });
    let server = Some("http://10.0.0.7:8188".to_owned());
    assert_eq!(press(&mut app, "E"), [Command::StartEngine { replace: false, server }]);
}

#[test]
fn an_engine_that_the_person_stopped_is_no_alarm() {
    held!("stopped", |w, h| {
        let mut app = World::full().app(w, h);
        assert_eq!(press(&mut app, "Qy"), [Command::Ask(Request::Stop)]);
        app.update(Event::EngineGone { why: String::new() });
        app
    });
    let mut app = World::full().app(80, 24);
    press(&mut app, "Qy");
    app.update(Event::EngineGone { why: String::new() });
    let banner = world::styles(&mut app).lines().nth(1).map(str::to_owned);
    assert!(banner.as_ref().is_some_and(|line| !line.contains('r')), "{banner:?}");
    // The next one to go was not asked to.
    say(&mut app, FromEngine::Welcome(World::full().snapshot.engine));
    app.update(Event::EngineGone { why: String::new() });
    assert!(!world::picture(&mut app).contains("as you asked"));
}

#[test]
fn what_to_do_about_a_lost_engine_is_the_first_thing_said() {
    let mut world = World::full();
    world.snapshot.engine.log = "/tmp/comfytop-demo-0123abcd/demo.log".into();
    world.snapshot.engine.simulated = true;
    let mut app = world.app(80, 24);
    app.update(Event::EngineGone { why: String::new() });
    let picture = world::picture(&mut app);
    let lines: Vec<_> = picture.lines().collect();
    assert!(lines[1].starts_with(" ! E starts it again: the engine stopped"), "{picture}");
    assert!(lines[23].contains("E start engine"), "{picture}");
}

#[test]
fn escape_closes_the_innermost_thing_and_never_leaves() {
    let mut app = World::away().app(120, 40);
    press(&mut app, "/turn");
    press_code(&mut app, KeyCode::Enter);
    press(&mut app, "g");
    press_code(&mut app, KeyCode::Enter);
    press(&mut app, "?");
    // What is open, from the inside out, and the words by which it is known.
    let open = [" Keys ", "prompt", "/turn", "since 01:10"];
    for (i, words) in open.iter().enumerate() {
        if *words != "prompt" {
            assert!(world::picture(&mut app).contains(words), "{words}");
        }
        assert_eq!(press_code(&mut app, KeyCode::Esc), None);
        assert!(*words == "prompt" || !world::picture(&mut app).contains(words), "{words}");
        assert_eq!(world::picture(&mut app).contains("Jobs"), i > 0, "the list is back after the details");
    }
    assert_eq!(app.selected_job(), Some(JobId(44)));
    press_code(&mut app, KeyCode::Esc);
    assert_eq!(app.selected_job(), Some(JobId(49)), "at last the cursor follows again");
    assert_eq!(press_code(&mut app, KeyCode::Esc), None, "and never leaves");
}

#[test]
fn pasted_text_presses_no_keys() {
    let mut app = World::full().app(80, 24);
    assert_eq!(app.update(Event::Paste("qcy\u{1b}[2J".into())), None);
    press(&mut app, "/");
    app.update(Event::Paste("turn\n".into()));
    assert!(world::picture(&mut app).contains("/turn"));
}

#[test]
fn the_path_of_an_output_is_copied() {
    let mut app = World::full().app(80, 24);
    press(&mut app, "kk");
    assert_eq!(press(&mut app, "y"), [Command::Copy("/home/ada/renders/outputs/reading_loop.mp4".into())]);
    press(&mut app, "G");
    assert_eq!(press(&mut app, "y"), []);
}

// --- the list

#[test]
fn the_cursor_follows_what_runs_until_it_is_moved() {
    let mut app = World::full().app(120, 40);
    assert_eq!(app.selected_job(), Some(JobId(49)));
    world::finish(&mut app, 49);
    world::start(&mut app, 50);
    assert_eq!(app.selected_job(), Some(JobId(50)));
    press(&mut app, "j");
    world::finish(&mut app, 50);
    world::start(&mut app, 51);
    world::start(&mut app, 52);
    assert_eq!(app.selected_job(), Some(JobId(51)), "it stays where it was put");
    press_code(&mut app, KeyCode::Esc);
    assert_eq!(app.selected_job(), Some(JobId(51)), "and follows again: the first that runs");
}

#[test]
fn nothing_jumps_when_a_job_ends() {
    let mut app = World::full().app(120, 40);
    let line = |app: &mut _, what: &str| world::picture(app).lines().position(|l| l.contains(what));
    let (ended, next) = (line(&mut app, "swing_short   "), line(&mut app, "turntable_a"));
    world::finish(&mut app, 49);
    world::start(&mut app, 50);
    assert_eq!(line(&mut app, "swing_short   "), ended);
    assert_eq!(line(&mut app, "turntable_a"), next);
}

#[test]
fn a_job_that_moves_is_found_in_its_place_in_any_order() {
    // The order is kept entry by entry; it must be the one that sorting all of them gives.
    for sorts in 0..columns::COLUMNS.len() {
        for turned in [false, true] {
            let mut world = World::many(60);
            let mut kept = world.clone().app(120, 80);
            press(&mut kept, &"s".repeat(sorts));
            if turned {
                press(&mut kept, "S");
            }
            for (i, row) in world.snapshot.jobs.iter_mut().enumerate() {
                row.state = [JobState::Done, JobState::Held, JobState::Queued, JobState::Pending][i * 7 % 4].clone();
                row.priority = i64::try_from(i * 5 % 3).unwrap_or(0);
                row.name = format!("n{}", i * 31 % 17);
                row.ssim = (i % 3 == 0).then_some(f64::from(u32::try_from(i * 13 % 10).unwrap_or(0)) / 10.0);
                say(&mut kept, FromEngine::Update(Update::Job(Box::new(row.clone()))));
            }
            let mut fresh = world.clone().app(120, 80);
            press(&mut fresh, &"s".repeat(sorts));
            if turned {
                press(&mut fresh, "S");
            }
            press(&mut kept, "Gg");
            press(&mut fresh, "Gg");
            assert_eq!(world::rows(&mut kept), world::rows(&mut fresh), "{sorts} {turned}");
        }
    }
}

#[test]
fn as_many_rows_are_built_for_ten_thousand_jobs_as_for_a_hundred() {
    let rows = |n| World::many(n).app(120, 40).rows_built();
    assert_eq!(rows(10_000), rows(100));
    assert!(rows(100) < 40);
}

#[test]
fn the_cursor_at_the_edge_turns_half_a_page() {
    let mut app = World::many(1000).app(120, 40);
    press(&mut app, "g");
    let mut turns = 0;
    let mut first = world::rows(&mut app).first().cloned();
    for _ in 0..100 {
        press(&mut app, "j");
        let now = world::rows(&mut app).first().cloned();
        turns += usize::from(now != first);
        first = now;
    }
    assert!((5..=14).contains(&turns), "{turns}");
}

// --- what is drawn, and when

#[test]
fn progress_that_changes_no_visible_cell_draws_nothing() {
    let mut app = World::many(1000).app(120, 40);
    app.drawn();
    let unseen = world::progress(900, 0.5, "sampler", (1, 2));
    say(&mut app, unseen);
    assert_eq!(app.due(), None, "its row is not on the screen");

    let mut app = World::full().app(120, 40);
    let mut painter = Painter::new(120, 40);
    say(&mut app, world::progress(49, 0.611, "low noise sampler (14)", (1, 2)));
    painter.frame(|buf| draw(&app, buf));
    app.drawn();
    say(&mut app, world::progress(49, 0.6111, "low noise sampler (14)", (1, 2)));
    assert_eq!(app.due(), None, "not an eighth of a cell further");
    say(&mut app, world::progress(49, 0.65, "low noise sampler (14)", (1, 2)));
    assert_eq!(app.due(), Some(Urgency::Soon));
    let bytes = painter.frame(|buf| draw(&app, buf));
    assert!(!bytes.is_empty() && bytes.len() < 60, "{}: {:?}", bytes.len(), String::from_utf8_lossy(&bytes));
}

#[test]
fn an_idle_dashboard_wakes_once_a_minute() {
    let mut app = World::idle().app(120, 40);
    let show = app.update(Event::Tick(world::now() + std::time::Duration::from_secs(1)));
    assert!(show.is_some(), "the details of the selected job are asked for, once");
    app.drawn();
    let next = app.next_tick();
    assert_eq!(next.duration_since(world::now()).as_secs(), 50, "the header's clock");
    app.update(Event::Tick(world::now() + std::time::Duration::from_secs(49)));
    assert_eq!(app.due(), None);
    app.update(Event::Tick(next));
    assert_eq!(app.due(), Some(Urgency::Soon));
}

#[test]
fn what_changes_costs_few_bytes() {
    let mut app = World::many(1000).app(120, 40);
    let mut painter = Painter::new(120, 40);
    let mut frame = |app: &mut comfytop::tui::App| {
        app.prepare();
        painter.frame(|buf| draw(app, buf)).len()
    };
    frame(&mut app);
    assert_eq!(frame(&mut app), 0, "nothing");
    app.update(Event::Tick(world::now() + std::time::Duration::from_secs(1)));
    let second = frame(&mut app);
    assert!((1..40).contains(&second), "a second: {second}");
    let sample = world::sample(world::now() + std::time::Duration::from_secs(2), 3.0);
    say(&mut app, FromEngine::Update(Update::Stats { server: "rtx4070".into(), sample }));
    let stats = frame(&mut app);
    assert!(stats < 200, "a sample: {stats}");
    press(&mut app, "j");
    frame(&mut app);
    press(&mut app, "j");
    let moved = frame(&mut app);
    assert!(moved < 700, "the cursor and the details: {moved}");
    let mut row = world::row(3, "job_3", JobState::Cancelled { by: comfytop::job::CancelledBy::You });
    row.finished_at = None;
    say(&mut app, FromEngine::Update(Update::Job(Box::new(row))));
    frame(&mut app);
}

#[test]
fn details_are_asked_for_when_the_cursor_rests() {
    let mut app = World::full().app(120, 40);
    let later = |n: u64| world::now() + std::time::Duration::from_millis(n);
    assert_eq!(app.update(Event::Tick(later(500))), Some(Command::Ask(Request::Show { job: JobId(49), graph: false })));
    press(&mut app, "jjj");
    assert_eq!(app.update(Event::Tick(later(550))), None, "it has just moved");
    assert_eq!(app.update(Event::Tick(later(700))), Some(Command::Ask(Request::Show { job: JobId(52), graph: false })));
    assert_eq!(app.update(Event::Tick(later(900))), None, "once");
}

#[test]
fn what_the_engine_refuses_is_told() {
    let mut app = World::full().app(120, 40);
    let each = Answer::Each(vec![(JobId(49), Err("it has ended meanwhile".into()))]);
    say(&mut app, FromEngine::Answer { id: 1, result: Ok(each) });
    assert!(world::picture(&mut app).contains("#49: it has ended meanwhile"));
    app.update(Event::Tick(world::now() + std::time::Duration::from_secs(30)));
    let picture = world::picture(&mut app);
    assert!(!picture.lines().last().is_some_and(|l| l.contains("meanwhile")), "it goes by itself\n{picture}");
}

#[test]
fn escape_sequences_in_names_reach_no_cell() {
    let mut app = World::hostile().app(120, 40);
    let mut painter = Painter::new(120, 40);
    app.prepare();
    let bytes = String::from_utf8(painter.frame(|buf| draw(&app, buf))).expect("UTF-8");
    assert!(!bytes.contains("\u{1b}]0;"), "a title sequence");
    assert!(!bytes.contains('\u{202e}') && !bytes.contains('\u{7}') && !bytes.contains('\u{9b}'));
}

// --- documentation

#[test]
fn the_documented_keys_and_columns_are_those_of_the_tables() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let wanted = world::documented(&text);
    if std::env::var_os("COMFYTOP_WRITE_DOCS").is_some() {
        std::fs::write(path, &wanted).expect("docs/keys.md can be written");
    } else {
        assert_eq!(text, wanted, "run with COMFYTOP_WRITE_DOCS=1 to write the tables anew");
    }
}

/// What a terminal shows after all frames is what was drawn: no cell forgotten, none in the wrong pen.
#[cfg(unix)]
#[test]
fn a_terminal_shows_what_was_drawn() {
    let cells = |n| std::num::NonZero::new(n).expect("not 0");
    for world in [World::full, World::wide, World::refused] {
        let mut app = world().app(120, 40);
        let mut painter = Painter::new(120, 40);
        let mut terminal = vt100::Parser::new(cells(40), cells(120), 0);
        let mut check = |app: &mut comfytop::tui::App| {
            app.prepare();
            terminal.process(&painter.frame(|buf| draw(app, buf)));
            let wanted = world::drawn(app);
            for (x, y) in (0..40).flat_map(|y| (0..120).map(move |x| (x, y))) {
                let (cell, shown) = (&wanted[(x, y)], terminal.screen().cell(y, x).expect("on the screen"));
                if shown.is_wide_continuation() {
                    continue;
                }
                let text = if shown.contents().is_empty() { " " } else { shown.contents() };
                assert_eq!(text, cell.symbol(), "{x},{y}");
                if text != " " {
                    assert_eq!(
                        (shown.bold(), shown.dim(), shown.inverse(), shown.fgcolor()),
                        world::pen(cell),
                        "{x},{y} {text}"
                    );
                }
            }
        };
        check(&mut app);
        for keys in ["j", "j", "G", "g", "?", "j", "?", "/t", "u", "c", "s", "sss", "S", "z", "z", "c", "n"] {
            press(&mut app, keys);
            check(&mut app);
        }
        press_code(&mut app, KeyCode::Esc);
        for key in [KeyCode::Tab, KeyCode::Tab, KeyCode::Esc, KeyCode::Enter, KeyCode::Esc, KeyCode::Esc] {
            press_code(&mut app, key);
            check(&mut app);
        }
        world::finish(&mut app, 49);
        world::start(&mut app, 50);
        check(&mut app);
        app.update(Event::EngineGone { why: String::new() });
        check(&mut app);
    }
}
