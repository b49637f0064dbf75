//! The situations that the screens are held in, and the fingers that press the keys.

use std::collections::BTreeMap;
use std::time::Duration;

use comfytop::config::UiConfig;
use comfytop::job::{
    Attempt, CancelledBy, Ending, Failure, FailureKind, JobId, JobState, Mark, Output, Reason, Repaired, Shape,
};
use comfytop::job_file;
use comfytop::protocol::{
    Album, Answer, Away, DISCARDED, Detail, DeviceUse, EngineRow, FromEngine, JobRow, Link, NodeTime, Pictures,
    Progress, Ranked, Request, Sample, ServerPrompt, ServerRow, Snapshot, Still, Tries, Update,
};
use comfytop::tui::graphics::Graphics;
use comfytop::tui::keys::{self, Mode};
use comfytop::tui::{App, Command, Event, Raster, Setup, columns, draw};
use comfytop::verdict::{Cut, Measurement, Verdict};
use comfytop::workflow::{BUILT_IN, Workflow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use serde_json::json;

/// Bytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few positive gigabytes")]
fn gb(gigabytes: f64) -> u64 {
    (gigabytes * 1_073_741_824.0) as u64
}

#[derive(Debug, Clone)]
pub struct World {
    pub snapshot: Snapshot,
    color: bool,
}

pub fn now() -> Timestamp {
    at("12:41:10")
}

fn at(time: &str) -> Timestamp {
    format!("2026-11-22T{time}Z").parse().expect("a time")
}

fn later(seconds: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_secs(seconds)
}

pub fn row(id: u64, name: &str, state: JobState) -> JobRow {
    JobRow {
        id: JobId(id),
        name: name.to_owned(),
        workflow: "wan2.2-i2v-loop".to_owned(),
        kind: "loop".to_owned(),
        state,
        attempt: 0,
        tries: None,
        server: None,
        seed: Some(7000 + id),
        group: None,
        shape: Shape { width: Some(480), height: Some(848), length: Some(65), steps: Some(4) },
        priority: 0,
        rank: i64::try_from(id).expect("small"),
        queued_at: at("10:00:00"),
        started_at: None,
        start_seen: true,
        finished_at: None,
        position: None,
        progress: None,
        outputs: Vec::new(),
        discarded: false,
        repaired: Vec::new(),
        ssim: None,
        measure_note: None,
        measured: None,
        peak_vram: None,
        stalled_since: None,
        trouble: None,
    }
}

fn ended(mut row: JobRow, at: Timestamp, seconds: i64) -> JobRow {
    row.attempt = row.attempt.max(1);
    row.server = Some("rtx4070".into());
    row.started_at = Some(at - jiff::SignedDuration::from_secs(seconds));
    row.finished_at = Some(at);
    row
}

fn done(id: u64, name: &str, minutes_ago: i64, seconds: i64, ssim: f64) -> JobRow {
    let mut row = ended(row(id, name, JobState::Done), later(-60 * minutes_ago), seconds);
    row.ssim = Some(ssim);
    let (verdict, seam) = match ssim {
        ssim if ssim > 0.8 => (Verdict::Loops, 1.04),
        ssim if ssim > 0.7 => (Verdict::Nearly, 0.12),
        _ => (Verdict::Jumps, 3.7),
    };
    row.measured = Some(Box::new(Measurement {
        frames: 65,
        ssim: Some(ssim),
        motion_ratio: Some(seam),
        verdict: Some(verdict),
        ..Measurement::default()
    }));
    row.outputs = vec![Output { path: format!("outputs/{name}.mp4"), bytes: 1_240_000 }];
    row.peak_vram = Some(gb(11.2));
    row
}

fn running(id: u64, name: &str) -> JobRow {
    let mut row = row(id, name, JobState::Running);
    row.attempt = 1;
    row.server = Some("rtx4070".into());
    row.started_at = Some(later(-171));
    row.progress = Some(Progress {
        fraction: Some(0.611),
        node: Some("low noise sampler (14)".into()),
        step: Some((1, 2)),
        left_s: Some(110.0),
        nodes: [("load", 19.0, true), ("high noise sampler", 72.0, true), ("low noise sampler", 80.0, false)]
            .map(|(title, seconds, finished)| NodeTime { title: title.into(), seconds, finished })
            .into(),
    });
    row
}

fn out_of_memory() -> Failure {
    Failure {
        kind: FailureKind::OutOfMemory,
        node: Some("KSamplerAdvanced (14)".into()),
        message: "CUDA out of memory. Tried to allocate 2.30 GiB".into(),
        detail: "Traceback (most recent call last):\n  File \"execution.py\", line 496, in execute\n    output_data = await get_output_data(prompt_id)\n  File \"nodes.py\", line 1492, in sample\n    return common_ksampler(model, seed)\ntorch.OutOfMemoryError: Allocation on device".into(),
    }
}

/// A refusal in the engine's own words.
fn bad_file() -> Failure {
    let file = br#"{"workflow": "wan2.2-i2v-loop", "name": "walk", "promt": "walking", "image": "walk.png"}"#;
    let (name, json, toml) =
        *BUILT_IN.iter().find(|(name, ..)| *name == "wan2.2-i2v-loop").expect("it comes with the program");
    let workflow = Workflow::parse(name, json, Some(toml)).expect("it is well");
    let spec = job_file::parse(job_file::format::Format::Json, file).expect("JSON").remove(0);
    let fault = workflow.fill(&spec).expect_err("refused").remove(0);
    let error =
        job_file::places::Places::new(job_file::format::Format::Json, file).error(0, &fault.path(), &fault.to_string());
    Failure { kind: FailureKind::JobFile, node: None, message: error.to_string(), detail: error.excerpt }
}

pub fn sample(at: Timestamp, used: f64) -> Sample {
    Sample {
        at,
        vram_total: gb(12.0),
        vram_used: gb(used),
        torch: gb((used - 0.5).max(0.0)),
        ram_total: gb(64.0),
        ram_used: gb(41.2),
        others: Vec::new(),
    }
}

fn server() -> ServerRow {
    let levels = [0.6, 0.6, 4.0, 9.5, 10.8, 11.0, 11.7, 11.4, 6.0, 1.2, 8.0, 11.0, 11.4];
    let ages = (1..=130).rev().map(|n| 5 * n - 5);
    let mut samples: Vec<_> =
        ages.enumerate().map(|(i, age)| sample(later(-age), levels[i / 8 % levels.len()])).collect();
    samples.push(sample(now(), 11.4));
    ServerRow {
        name: "rtx4070".into(),
        url: "http://127.0.0.1:8188".into(),
        link: Link::Up { since: at("09:12:00"), heard: true },
        version: Some("0.33.0".into()),
        running: vec![ServerPrompt { job: Some(JobId(49)) }],
        pending_ours: 1,
        pending_others: 0,
        device: Some("NVIDIA GeForce RTX 4070".into()),
        other_devices: Vec::new(),
        is_cpu: false,
        flags: vec!["--lowvram".into(), "--output-directory".into(), "/data/out".into()],
        samples,
        flow: comfytop::protocol::Flow::Going,
    }
}

fn engine() -> EngineRow {
    EngineRow {
        protocol: 1,
        version: "0.1.0".into(),
        pid: 4242,
        folder: "/home/ada/renders".into(),
        log: "/home/ada/renders/.comfytop/engine.log".into(),
        ..EngineRow::default()
    }
}

impl World {
    fn of(jobs: Vec<JobRow>, servers: Vec<ServerRow>) -> Self {
        let expect = BTreeMap::from([("loop".to_owned(), 300.0)]);
        Self {
            snapshot: Snapshot { engine: engine(), servers, jobs, more: 0, expect, notices: Vec::new(), away: None },
            color: true,
        }
    }

    /// A working evening: some done, one failed, one rejected, one running, several waiting.
    pub fn full() -> Self {
        let mut jobs = vec![
            ended(row(46, "walking_loop", JobState::Failed { why: out_of_memory() }), later(-3000), 41),
            row(45, "walk", JobState::Rejected { why: bad_file() }),
            done(44, "portrait_turn", 30, 301, 0.612),
            done(47, "reading_loop", 12, 282, 0.886),
            {
                let mut again = done(48, "reading_loop", 5, 279, 0.731);
                again.attempt = 2;
                again.seed = Some(1_125_899_906_842_624);
                again
            },
            running(49, "swing_short"),
            {
                let mut pending = row(50, "swing_short", JobState::Pending);
                pending.position = Some(1);
                pending.attempt = 1;
                pending.server = Some("rtx4070".into());
                pending
            },
            row(51, "turntable_a", JobState::Queued),
            row(52, "turntable_b", JobState::Queued),
            {
                let mut other = row(53, "cat_breathing", JobState::Queued);
                other.workflow = "wan2.2-i2v".into();
                other.shape = Shape { width: Some(1024), height: Some(1024), ..Shape::default() };
                other
            },
            row(54, "after_the_cat", JobState::Waiting { after: vec![JobId(53)] }),
            row(59, "portrait", JobState::Held),
            {
                let mut gone = row(43, "old_idea", JobState::Cancelled { by: CancelledBy::You });
                gone.queued_at = at("09:50:00");
                gone
            },
            {
                let mut twin = row(42, "reading_loop", JobState::Duplicate { of: JobId(47) });
                twin.queued_at = at("09:40:00");
                twin
            },
        ];
        jobs[1].queued_at = at("11:55:00");
        jobs[1].shape = Shape::default();
        jobs[1].seed = None;
        jobs.sort_by_key(|j| j.id);
        Self::of(jobs, vec![server()])
    }

    /// Jobs that are tried until they are good enough.
    pub fn tries() -> Self {
        let tries = |number, of, best, ssim| Tries {
            uncut: false,
            number,
            of,
            gate: "loops".into(),
            passed: None,
            why: String::new(),
            best: Some(best),
            best_ssim: Some(ssim),
            best_verdict: Some(Verdict::Jumps),
        };
        let mut passed = done(44, "lantern", 30, 301, 0.886);
        passed.attempt = 3;
        passed.tries = Some(Tries { passed: Some(true), ..tries(3, 8, 3, 0.886) });
        let mut unmet = done(45, "windmill", 12, 282, 0.512);
        unmet.attempt = 2;
        unmet.tries = Some(Tries { passed: Some(false), why: "no try passed".into(), ..tries(8, 8, 2, 0.512) });
        let mut best = done(46, "shore", 6, 250, 0.901);
        best.tries = Some(Tries { gate: String::new(), ..tries(4, 4, 1, 0.901) });
        let mut under_way = running(49, "swing_short");
        under_way.attempt = 3;
        under_way.tries = Some(tries(3, 8, 1, 0.81));
        let mut again = row(50, "cat_breathing", JobState::Queued);
        again.attempt = 1;
        again.tries = Some(tries(2, 6, 1, 0.553));
        Self::of(vec![passed, unmet, best, under_way, again], vec![server()])
    }

    pub fn empty() -> Self {
        let mut server = server();
        server.running.clear();
        server.pending_ours = 0;
        Self::of(Vec::new(), vec![server])
    }

    /// Jobs, but none that runs or waits.
    pub fn idle() -> Self {
        let mut world = Self::empty();
        world.snapshot.jobs = vec![done(1, "one", 20, 280, 0.9)];
        world
    }

    pub fn many(n: u64) -> Self {
        let jobs = (1..=n).map(|id| match id {
            1..=2 => done(id, &format!("job_{id}"), 30 - i64::try_from(id).expect("small"), 290, 0.87),
            3 => running(id, "job_3"),
            _ => row(id, &format!("job_{id}"), JobState::Queued),
        });
        let mut server = server();
        server.running = vec![ServerPrompt { job: Some(JobId(3)) }];
        server.pending_ours = 0;
        Self::of(jobs.collect(), vec![server])
    }

    pub fn refused() -> Self {
        let mut world = Self::full();
        let server = &mut world.snapshot.servers[0];
        server.link = Link::Down { since: at("12:38:00"), why: "refused".into(), retry_at: later(4) };
        server.running.clear();
        server.pending_ours = 0;
        world
    }

    /// A router's page in place of ComfyUI.
    pub fn not_comfyui() -> Self {
        let mut world = Self::refused();
        let why = "not ComfyUI (Router login)\nGET http://192.168.178.1/system_stats was not answered by ComfyUI but with an HTML page (\"Router login\")";
        let server = &mut world.snapshot.servers[0];
        server.url = "http://192.168.178.1".into();
        server.link = Link::Down { since: at("12:38:00"), why: why.into(), retry_at: later(4) };
        world
    }

    pub fn wide() -> Self {
        let mut world = Self::full();
        let names = [
            "歩く人のループ",
            "読書する猫とその友達、長い名前のテスト",
            "ブランコ",
            "그네 타는 소녀",
            "肖像画 v2",
            "é combining e\u{301}",
            "🐈 cat",
        ];
        for (row, name) in world.snapshot.jobs.iter_mut().zip(names.iter().cycle()) {
            (*name).clone_into(&mut row.name);
            "循環ワークフロー".clone_into(&mut row.workflow);
        }
        if let Some(progress) = world.snapshot.jobs.iter_mut().find_map(|j| j.progress.as_mut()) {
            progress.node = Some("低ノイズサンプラー (14)".into());
        }
        world
    }

    pub fn hostile() -> Self {
        let mut world = Self::full();
        let evil = "\u{1b}]0;owned\u{7}x\u{1b}[2J\u{202e}y\u{9b}31m";
        for row in &mut world.snapshot.jobs {
            row.name = evil.into();
            row.workflow = evil.into();
            row.measure_note = Some(evil.into());
        }
        let server = &mut world.snapshot.servers[0];
        (server.name, server.version, server.device) = (evil.into(), Some(evil.into()), Some(evil.into()));
        server.flags = vec![evil.into()];
        world.snapshot.engine.banners = vec![evil.into()];
        world
    }

    pub fn cpu() -> Self {
        let mut world = Self::full();
        let server = &mut world.snapshot.servers[0];
        server.is_cpu = true;
        server.device = Some("cpu".into());
        server.name = "127.0.0.1:8188".into();
        server.link = Link::Up { since: at("09:12:00"), heard: false };
        server.running.push(ServerPrompt { job: None });
        server.pending_others = 3;
        for sample in &mut server.samples {
            (sample.vram_total, sample.vram_used, sample.torch) = (sample.ram_total, sample.ram_used, 0);
        }
        world.snapshot.engine.simulated = true;
        world
    }

    /// One server with two cards.
    pub fn cards() -> Self {
        let mut world = Self::full();
        let server = &mut world.snapshot.servers[0];
        server.device = Some("NVIDIA GeForce RTX 4090".into());
        server.other_devices = vec!["NVIDIA GeForce RTX 3060".into()];
        for sample in &mut server.samples {
            sample.others = vec![DeviceUse { vram_total: gb(24.0), vram_used: gb(1.8), torch: gb(0.4) }];
        }
        world
    }

    /// The job whose output nearly loops has a copy that does.
    pub fn mended() -> Self {
        let mut world = Self::full();
        for row in world.snapshot.jobs.iter_mut().filter(|row| row.id == JobId(48)) {
            row.repaired.push(cut());
        }
        world
    }

    /// What was discarded of a job was all that it had.
    pub fn discarded() -> Self {
        let mut world = Self::full();
        for row in world.snapshot.jobs.iter_mut().filter(|row| row.id == JobId(47)) {
            (row.attempt, row.discarded, row.ssim, row.measured) = (1, true, None, None);
            row.measure_note = Some(DISCARDED.to_owned());
        }
        world
    }

    pub fn away() -> Self {
        let mut world = Self::full();
        world.snapshot.away = Some(Away { since: at("01:10:00"), done: 31, failed: 2, best_ssim: Some(0.912) });
        world.snapshot.engine.banners =
            vec!["the inbox /home/ada/renders/jobs can't be read: Permission denied (os error 13)".into()];
        world
    }

    pub fn without_color(mut self) -> Self {
        self.color = false;
        self
    }

    pub fn app(self, width: u16, height: u16) -> App {
        let mut app = App::new(setup(width, height, self.color));
        say(&mut app, FromEngine::Welcome(self.snapshot.engine.clone()));
        for line in in_pieces(self.snapshot, 200) {
            say(&mut app, line);
        }
        if app.selected_job() == Some(JobId(49)) {
            answer_detail(&mut app, running_detail());
        }
        app.prepare();
        app
    }
}

/// As the engine sends it: so many jobs at once.
pub fn in_pieces(mut snapshot: Snapshot, most: usize) -> Vec<FromEngine> {
    let rest = snapshot.jobs.split_off(snapshot.jobs.len().min(most));
    snapshot.more = rest.len();
    let mut lines = vec![FromEngine::Snapshot(Box::new(snapshot))];
    lines.extend(rest.chunks(most).map(|jobs| FromEngine::Jobs(jobs.to_vec())));
    lines
}

fn setup(width: u16, height: u16, color: bool) -> Setup {
    Setup {
        ui: UiConfig { color, ..UiConfig::default() },
        zone: TimeZone::UTC,
        folder: "/home/ada/renders".into(),
        inbox: "/home/ada/renders/jobs".into(),
        home: Some("/home/ada".into()),
        now: now(),
        size: (width, height),
        depth: comfytop::tui::Depth::Full,
        links: Some("render-box".into()),
    }
}

/// A dashboard that has heard nothing yet.
pub fn alone(width: u16, height: u16) -> App {
    App::new(setup(width, height, true))
}

pub fn say(app: &mut App, message: FromEngine) {
    app.update(Event::FromEngine(message));
}

pub fn answer_detail(app: &mut App, detail: Detail) {
    say(app, FromEngine::Answer { id: 0, result: Ok(Answer::Detail(Box::new(detail))) });
}

fn attempt(number: u32, ending: Option<Ending>) -> Attempt {
    Attempt {
        number,
        prompt_id: format!("0f8fad5b-d9cb-469f-a165-7086728950{number:02}"),
        server: "rtx4070".into(),
        url: "http://127.0.0.1:8188".into(),
        seed: Some(7049),
        reason: if number == 1 { Reason::First } else { Reason::Retried("the server was restarted".into()) },
        submitted_at: later(-180),
        started_at: Some(later(-171)),
        start_seen: true,
        ended_at: ending.as_ref().map(|_| later(-60)),
        ending,
        peak_vram: Some(gb(11.4)),
        outputs: Vec::new(),
        measurement: None,
        repaired: Vec::new(),
        mark: None,
        values: serde_json::Map::new(),
        notes: Vec::new(),
    }
}

fn detail(row: JobRow, attempts: Vec<Attempt>) -> Detail {
    Detail {
        minutes: None,
        file: Some("jobs/queued/000049-swing.json".into()),
        slots: vec![
            ("image".into(), json!("swing_start.png")),
            (
                "prompt".into(),
                json!(
                    "anime style, a girl on a swing moves gently to and fro in place, the background stands still, returning to the first pose at the end"
                ),
            ),
            ("seed".into(), json!(7049)),
            ("length".into(), json!(65)),
            ("steps".into(), json!(4)),
        ],
        note: Some("try a longer one if this loops".into()),
        tags: vec!["swing".into()],
        attempts,
        looks: Vec::new(),
        graph: None,
        row,
    }
}

pub fn running_detail() -> Detail {
    detail(running(49, "swing_short"), vec![attempt(1, Some(Ending::Lost)), attempt(2, None)])
}

pub fn done_detail() -> Detail {
    detail(done(47, "reading_loop", 12, 282, 0.886), vec![attempt(1, Some(Ending::Success))])
}

/// Attempts of one job, the best first.
pub fn ranked() -> Vec<Ranked> {
    let one = |attempt: u32, verdict, ssim, seam, seed| Ranked {
        job: JobId(48),
        name: "reading_loop".into(),
        attempt,
        seed: Some(seed),
        varies: String::new(),
        elapsed_s: Some(279.0),
        outputs: vec![Output { path: format!("outputs/reading_loop_{attempt:05}_.mp4"), bytes: 1_240_000 }],
        repaired: Vec::new(),
        measurement: Some(Measurement {
            frames: 65,
            ssim: Some(ssim),
            motion_ratio: Some(seam),
            luma_step: Some(0.4),
            verdict: Some(verdict),
            ..Measurement::default()
        }),
        mark: None,
        counts: false,
        passes: Some(verdict == Verdict::Loops),
    };
    let mut best = one(3, Verdict::Loops, 0.886, 1.04, 1_125_899_906_842_624);
    best.counts = true;
    let mut nearly = one(2, Verdict::Nearly, 0.731, 2.94, 7048);
    nearly.varies = "length 81 · 13.cfg 1.5".into();
    nearly.measurement = nearly.measurement.map(|known| Measurement {
        advice: Some("cut the last 4 frames".into()),
        best_cut: Some(Cut { drop_start: 0, drop_end: 4 }),
        ..known
    });
    nearly.repaired.push(cut());
    let mut jumps = one(1, Verdict::Jumps, 0.612, 3.7, 7047);
    jumps.mark = Some(Mark::Discarded);
    vec![best, nearly, jumps]
}

/// A copy without its last frames, which loops.
fn cut() -> Repaired {
    let known = Measurement { frames: 61, ssim: Some(0.912), verdict: Some(Verdict::Loops), ..Measurement::default() };
    Repaired {
        how: "cut".into(),
        output: Output { path: "outputs/reading_loop_00002_-cut.mp4".into(), bytes: 1_100_000 },
        measurement: known,
    }
}

pub fn answer_ranking(app: &mut App, rows: Vec<Ranked>) {
    say(app, FromEngine::Answer { id: 1, result: Ok(Answer::Ranking(rows)) });
}

pub fn failed_detail() -> Detail {
    let why = out_of_memory();
    detail(row(46, "walking_loop", JobState::Failed { why: why.clone() }), vec![attempt(1, Some(Ending::Failed(why)))])
}

pub fn rejected_detail() -> Detail {
    let mut detail = detail(row(45, "walk", JobState::Rejected { why: bad_file() }), Vec::new());
    detail.slots.clear();
    detail.note = None;
    detail.tags.clear();
    detail.file = Some("jobs/failed/000045-walk.json".into());
    detail
}

pub fn progress(job: u64, fraction: f64, node: &str, step: (u64, u64)) -> FromEngine {
    let progress = Progress {
        fraction: Some(fraction),
        node: Some(node.into()),
        step: Some(step),
        left_s: Some(110.0),
        nodes: Vec::new(),
    };
    FromEngine::Update(Update::Progress { job: JobId(job), progress })
}

pub fn finish(app: &mut App, id: u64) {
    let row = ended(row(id, "swing_short", JobState::Done), now(), 200);
    say(app, FromEngine::Update(Update::Job(Box::new(row))));
}

pub fn start(app: &mut App, id: u64) {
    let mut row = running(id, "swing_short");
    row.started_at = Some(now() + Duration::from_millis(id));
    say(app, FromEngine::Update(Update::Job(Box::new(row))));
}

/// An album as the engine would answer, with as many pictures as each kind has.
pub fn album(what: Pictures) -> Album {
    let names: Vec<String> = match what {
        Pictures::Ends => ["first", "last", "difference"].map(str::to_owned).into(),
        Pictures::Strip => (0..8).map(|n| (1 + n * 9).to_string()).collect(),
        Pictures::Play => (1..=65).map(|n| n.to_string()).collect(),
    };
    let still = |name: String| Still { path: format!("/cache/{what:?}/{name}.png").into(), name };
    Album { stills: names.into_iter().map(still).collect(), frames: 65, fps: Some(16.0) }
}

/// A bright disc before a dark hillside; where it stands tells the pictures apart.
pub fn raster(width: usize, height: usize, at: f64) -> Raster {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let pixel = |n: usize| {
        let (x, y) = ((n % width) as f64 / width as f64, (n / width) as f64 / width as f64);
        let high = height as f64 / width as f64;
        if (x - at).hypot(y - high * 0.35) < 0.18 {
            [250, 230, 160]
        } else if y > high * (0.75 - 0.1 * (x * 6.0).sin()) {
            [30, 60, 40]
        } else {
            [90, 130, 180]
        }
    };
    Raster::new(width, height, (0..width * height).map(pixel).collect()).expect("as many as it says")
}

/// Does what the dashboard asks for until it asks for nothing more; what it asked the engine.
pub fn serve(app: &mut App, first: Option<Command>) -> Vec<Request> {
    let (mut asked, mut next) = (Vec::new(), first);
    let mut idle = 0;
    while idle < 3 || next.is_some() {
        next = match next.take() {
            Some(Command::Ask(Request::Pictures { job, attempt, what })) => {
                asked.push(Request::Pictures { job, attempt, what });
                let answer = Answer::Pictures { job, attempt, what, album: Ok(album(what)) };
                app.update(Event::FromEngine(FromEngine::Answer { id: 0, result: Ok(answer) }))
            }
            Some(Command::Load(path)) => {
                let at = if path.to_string_lossy().contains("first") { 0.3 } else { 0.6 };
                app.update(Event::Raster { path, raster: Ok(raster(240, 424, at)) })
            }
            Some(Command::AskTerminal) => app.update(Event::Graphics(Graphics::default())),
            Some(Command::Ask(other)) => {
                asked.push(other);
                app.update(Event::Tick(app.next_tick()))
            }
            _ => {
                idle += 1;
                app.update(Event::Tick(app.next_tick()))
            }
        };
    }
    asked
}

/// Presses keys one after the other; returns what they asked for.
pub fn press(app: &mut App, keys: &str) -> Vec<Command> {
    keys.chars().filter_map(|c| app.update(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)))).collect()
}

pub fn press_code(app: &mut App, code: KeyCode) -> Option<Command> {
    app.update(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

pub fn press_ctrl(app: &mut App, c: char) -> Option<Command> {
    app.update(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
}

/// A dashboard in which the keys of a mode are alive.
pub fn in_mode(mode: Mode) -> App {
    let mut app = World::full().app(120, 40);
    match mode {
        Mode::Jobs => {}
        Mode::Detail => drop(press_code(&mut app, KeyCode::Tab)),
        Mode::Server => drop(press_code(&mut app, KeyCode::BackTab)),
        Mode::Help => drop(press(&mut app, "?")),
        Mode::Ranking => drop(press(&mut app, "kb")),
        Mode::Menu => drop(press(&mut app, "kx")),
        Mode::Asking => drop(press(&mut app, "Q")),
        Mode::Typing => drop(press(&mut app, "/")),
    }
    app
}

pub fn drawn(app: &mut App) -> Buffer {
    app.prepare();
    let (width, height) = app.screen_size();
    let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
    draw(app, &mut buf);
    buf
}

/// What stands on the screen, without the blanks at the lines' ends.
pub fn picture(app: &mut App) -> String {
    let buf = drawn(app);
    let mut out = String::new();
    for y in 0..buf.area.height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..buf.area.width {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let symbol = buf[(x, y)].symbol();
            line.push_str(symbol);
            skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// The names on the list's rows.
pub fn rows(app: &mut App) -> Vec<String> {
    let names = |line: &str| {
        line.split_whitespace().filter(|w| w.starts_with("job_") || w.starts_with('n')).map(str::to_owned).next()
    };
    picture(app).lines().skip(3).filter_map(names).collect()
}

/// One letter a cell: `.` plain, `b` bold, `d` dim, `c` cyan, `g` green, `y` yellow, `r` red, `R` reversed, blank where nothing stands.
pub fn styles(app: &mut App) -> String {
    let buf = drawn(app);
    let mut out = String::new();
    for y in 0..buf.area.height {
        let line: String = (0..buf.area.width)
            .map(|x| {
                let cell = &buf[(x, y)];
                let style = cell.style();
                match style.fg {
                    _ if cell.symbol().trim().is_empty() => ' ',
                    _ if style.add_modifier.contains(Modifier::REVERSED) => 'R',
                    Some(Color::Cyan) => 'c',
                    Some(Color::Green) => 'g',
                    Some(Color::Yellow) => 'y',
                    Some(Color::Red) => 'r',
                    _ if style.add_modifier.contains(Modifier::BOLD) => 'b',
                    _ if style.add_modifier.contains(Modifier::DIM) => 'd',
                    _ => '.',
                }
            })
            .collect();
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// docs/keys.md with its tables as the code has them.
pub fn documented(text: &str) -> String {
    let text = between(text, "keys", &keys::markdown());
    between(&text, "columns", &columns::markdown())
}

fn between(text: &str, what: &str, table: &str) -> String {
    let (from, to) = (format!("<!-- {what}: from the code -->\n"), format!("<!-- end of {what} -->\n"));
    let Some((before, rest)) = text.split_once(&from) else { return format!("{text}\n{from}{to}") };
    let after = rest.split_once(&to).map_or("", |(_, after)| after);
    format!("{before}{from}\n{table}\n{to}{after}")
}

/// How a terminal would say a cell's style: bold, dim, reversed, colour.
#[cfg(unix)]
pub fn pen(cell: &ratatui::buffer::Cell) -> (bool, bool, bool, vt100::Color) {
    let style = cell.style();
    let has = |modifier| style.add_modifier.contains(modifier);
    let color = match style.fg {
        Some(Color::Red) => vt100::Color::Idx(1),
        Some(Color::Green) => vt100::Color::Idx(2),
        Some(Color::Yellow) => vt100::Color::Idx(3),
        Some(Color::Cyan) => vt100::Color::Idx(6),
        _ => vt100::Color::Default,
    };
    (has(Modifier::BOLD), has(Modifier::DIM), has(Modifier::REVERSED), color)
}
