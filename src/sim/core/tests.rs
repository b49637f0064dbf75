//! The state machine in virtual time: faults, deafness, forgetting, and that nothing is left to chance.

use serde_json::{Value, json};

use super::*;
use crate::sim::request::{Body, View};
use crate::sim::{Scenario, clips};

/// A simulator that keeps what it said.
struct Bench {
    state: State,
    now: u64,
    ids: u64,
    effects: Vec<Effect>,
}

impl Bench {
    fn new(scenario: &str) -> Self {
        Self::of(&Options { scenario: Scenario::parse(scenario).unwrap(), previews: false, ..Options::default() })
    }

    fn of(options: &Options) -> Self {
        let mut files = Files::default();
        files.insert(Folder::Input, "example.png", clips::picture(1));
        Self { state: State::new(options, files, 1_000_000), now: 1_000_000, ids: 0, effects: Vec::new() }
    }

    fn step(&mut self, input: Input) {
        self.effects.extend(step(&mut self.state, input, self.now));
    }

    fn ask(&mut self, request: Request) -> Option<Response> {
        self.ids += 1;
        let asked = self.ids;
        self.step(Input::Request { id: asked, request });
        self.reply(asked)
    }

    fn reply(&self, asked: u64) -> Option<Response> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Reply { id, response } if *id == asked => Some(response.clone()),
            _ => None,
        })
    }

    fn get(&mut self, path: &str) -> Value {
        match self.ask(Request::parse("GET", path, "", b"")).map(|response| response.body) {
            Some(Body::Json(value)) => value,
            other => panic!("{path}: {other:?}"),
        }
    }

    fn post_wan(&mut self, seed: u64) -> Option<Response> {
        self.ask(Request::PostPrompt(Some(json!({"prompt": prompts::wan_loop(seed), "client_id": "me"}))))
    }

    fn open(&mut self) -> u64 {
        self.ids += 1;
        self.step(Input::SocketOpened { socket: self.ids, client_id: Some("me".to_owned()) });
        self.ids
    }

    fn wake(&mut self) -> bool {
        let Some(at) = next_wake(&self.state) else { return false };
        self.now = self.now.max(at);
        self.step(Input::Timer);
        true
    }

    fn run_out(&mut self) {
        while self.wake() {}
    }

    fn kinds(&self, at: u64) -> Vec<String> {
        let texts = self.effects.iter().filter_map(|effect| match effect {
            Effect::Text { socket, text } if *socket == at => wire::parse(text.as_bytes()),
            _ => None,
        });
        texts.map(|message| message["type"].as_str().unwrap().to_owned()).collect()
    }

    fn logged(&self, event: &str) -> Vec<Value> {
        let lines =
            self.effects.iter().filter_map(|effect| if let Effect::Log(line) = effect { Some(line) } else { None });
        lines.filter(|line| line["event"] == event).cloned().collect()
    }
}

fn id_of(response: Option<Response>) -> String {
    let Some(Response { status: 200, body: Body::Json(body), .. }) = response else { panic!("{response:?}") };
    body["prompt_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_render_leaves_the_clip_of_its_seed() {
    let mut bench = Bench::new("");
    let id = id_of(bench.post_wan(5));
    bench.run_out();
    let entry = bench.get(&format!("/history/{id}"))[&id].clone();
    assert_eq!(entry["status"]["status_str"], "success");
    assert_eq!(entry["outputs"]["17"]["animated"], json!([true]));
    let view = View { filename: Some("wan22_00001_.mp4".into()), subfolder: Some("video".into()), ..View::default() };
    let Body::File(bytes, kind) = bench.ask(Request::View(view)).unwrap().body else { panic!("no file") };
    assert_eq!((&bytes[..], kind), (clips::CLIPS[5].mp4, "video/mp4"));
    assert_eq!(bench.logged("accepted").len(), 1);
    assert_eq!(bench.logged("ended")[0]["as"], "execution_success");
}

#[test]
fn as_fast_as_possible_still_ends_after_the_words() {
    let mut bench = Bench::of(&Options { render_seconds: 0.0, ..Options::default() });
    let socket = bench.open();
    let ids: Vec<String> = (0..200).map(|seed| id_of(bench.post_wan(seed))).collect();
    let start = bench.now;
    bench.run_out();
    assert!(bench.now - start < 1000);
    let kinds = bench.kinds(socket);
    assert_eq!(kinds.iter().filter(|kind| *kind == "execution_success").count(), 200);
    assert_eq!(kinds.last().unwrap(), "executing");
    let history = bench.get("/history");
    assert!(ids.iter().all(|id| history[id]["status"]["completed"] == true));
}

#[test]
fn the_same_seed_gives_the_same_night() {
    let night = |seed| {
        let mut bench = Bench::of(&Options { seed, ..Options::default() });
        bench.open();
        (0..5).for_each(|n| drop(bench.post_wan(n)));
        bench.run_out();
        format!("{:?}", bench.effects)
    };
    assert!(night(3) == night(3));
    assert!(night(3) != night(4));
}

/// Trap 15.
#[test]
fn closing_the_older_socket_makes_the_newer_one_deaf() {
    let mut bench = Bench::new("");
    let old = bench.open();
    let new = bench.open();
    drop(bench.post_wan(1));
    bench.wake();
    assert!(bench.kinds(new).contains(&"execution_start".to_owned()));
    assert_eq!(bench.kinds(old), ["status"]);
    bench.step(Input::SocketClosed { socket: old });
    let heard = bench.kinds(new).len();
    bench.run_out();
    assert_eq!(bench.kinds(new).len(), heard);
}

/// Trap 16.
#[test]
fn who_comes_back_in_mid_run_is_told_the_node_and_no_more() {
    let mut bench = Bench::new("");
    drop(bench.post_wan(1));
    for _ in 0..4 {
        bench.wake();
    }
    let socket = bench.open();
    assert_eq!(bench.kinds(socket), ["status", "executing"]);
}

#[test]
fn previews_come_in_the_kind_that_was_announced() {
    let mut bench = Bench::of(&Options::default());
    let socket = bench.open();
    let flags = json!({"type": "feature_flags", "data": {"supports_preview_metadata": true}}).to_string();
    bench.step(Input::SocketText { socket, text: flags });
    drop(bench.post_wan(1));
    bench.run_out();
    let pictures: Vec<&Bytes> = bench
        .effects
        .iter()
        .filter_map(|effect| if let Effect::Binary { bytes, .. } = effect { Some(bytes) } else { None })
        .collect();
    assert_eq!(pictures.len(), 4);
    assert_eq!(pictures[0][..4], 4_u32.to_be_bytes());
    let length = u32::from_be_bytes(pictures[0][4..8].try_into().unwrap()) as usize;
    let metadata = wire::parse(&pictures[0][8..8 + length]).unwrap();
    assert_eq!((metadata["node_id"].as_str(), metadata["image_type"].as_str()), (Some("13"), Some("image/jpeg")));
    assert_eq!(pictures[0][8 + length..8 + length + 2], [0xff, 0xd8]);
}

#[test]
fn posts_are_refused_lost_doubted_and_late() {
    let mut bench = Bench::new(
        r#"
        [[fault]]
        on = { post = 1 }
        do = { refuse_with = { status = 503, body = "busy" } }
        [[fault]]
        on = { post = 2 }
        do = "post_lost"
        [[fault]]
        on = { post = 3 }
        do = "post_500_but_queued"
        [[fault]]
        on = { post = 4 }
        do = { late = 5 }
        [[fault]]
        on = { post = 5 }
        do = { hang = 5 }
        [[fault]]
        on = { post = 6 }
        do = { slow = 5 }
        "#,
    );
    assert_eq!(bench.post_wan(1).unwrap().status, 503);
    assert_eq!(bench.post_wan(2), None);
    assert!(bench.effects.iter().any(|effect| matches!(effect, Effect::Hangup { .. })));
    assert_eq!(bench.post_wan(3).unwrap().status, 500);
    assert_eq!(bench.logged("accepted").len(), 2);
    assert_eq!(bench.post_wan(4), None);
    let late = bench.ids;
    assert_eq!(bench.post_wan(5), None);
    assert_eq!(bench.post_wan(6), None);
    let slow = bench.ids;
    assert_eq!(bench.logged("accepted").len(), 3, "slow is done at once, late and hang are not");
    bench.run_out();
    assert_eq!(bench.logged("accepted").len(), 4);
    assert_eq!((bench.reply(late).unwrap().status, bench.reply(slow).unwrap().status), (200, 200));
    assert_eq!(bench.logged("ended").len(), 4);
}

#[test]
fn history_comes_late_or_never_and_ends_go_untold() {
    let mut bench = Bench::new(
        r#"
        [[fault]]
        on = { prompt = 1 }
        do = { history_late = 5000 }
        [[fault]]
        on = { prompt = 2 }
        do = "history_missing"
        [[fault]]
        on = { prompt = 3 }
        do = "end_never_sent"
        "#,
    );
    let socket = bench.open();
    let ids: Vec<String> = (1..=3).map(|seed| id_of(bench.post_wan(seed))).collect();
    while bench.logged("ended").is_empty() {
        bench.wake();
    }
    assert_eq!(bench.get(&format!("/history/{}", ids[0])), json!({}));
    bench.run_out();
    assert_eq!(bench.get(&format!("/history/{}", ids[0]))[&ids[0]]["status"]["completed"], true);
    assert_eq!(bench.get(&format!("/history/{}", ids[1])), json!({}));
    assert_eq!(bench.get(&format!("/history/{}", ids[2]))[&ids[2]]["status"]["completed"], true);
    assert_eq!(bench.kinds(socket).iter().filter(|kind| *kind == "execution_success").count(), 2);
}

#[test]
fn nodes_fail_in_the_recorded_shape_and_the_next_job_runs() {
    let mut bench = Bench::new(
        r#"
        [[fault]]
        on = { node = "KSamplerAdvanced" }
        do = "oom"
        [[fault]]
        on = { node = "VAEDecode", text = "turning a page" }
        do = { node_error = { type = "RuntimeError", message = "boom" } }
        "#,
    );
    let ids: Vec<String> = (1..=3).map(|seed| id_of(bench.post_wan(seed))).collect();
    bench.run_out();
    let mut ending = |id: &String| {
        bench.get(&format!("/history/{id}"))[id]["status"]["messages"].as_array().unwrap().last().unwrap().clone()
    };
    let (oom, thrown, fine) = (ending(&ids[0]), ending(&ids[1]), ending(&ids[2]));
    assert_eq!(oom[1]["exception_type"], "torch.OutOfMemoryError");
    assert!(oom[1]["exception_message"].as_str().unwrap().contains("you ran out of memory on your GPU"));
    assert_eq!((&thrown[1]["node_id"], &thrown[1]["exception_message"]), (&json!("15"), &json!("boom\n")));
    assert_eq!(fine[0], "execution_success");
}

#[test]
fn sockets_are_cut_made_deaf_and_strangers_come() {
    let mut bench = Bench::new(
        r#"
        [[fault]]
        on = { prompt = 1 }
        do = "deaf"
        [[fault]]
        on = { prompt = 2 }
        do = "drop_sockets"
        [[fault]]
        on = { after = 1 }
        do = { foreign = 2 }
        "#,
    );
    let socket = bench.open();
    drop(bench.post_wan(1));
    bench.run_out();
    assert_eq!(bench.kinds(socket), ["status", "status"]);
    assert_eq!(bench.logged("ended").len(), 3, "ours and two of a stranger");
    drop(bench.post_wan(2));
    assert!(bench.effects.contains(&Effect::Close { socket }));
}

#[test]
fn a_crash_forgets_all_but_the_files() {
    let mut bench = Bench::new("[[fault]]\non = { node = \"VAEDecode\" }\nskip = 1\ndo = { crash = 3 }\n");
    let first = id_of(bench.post_wan(1));
    bench.run_out();
    let second = id_of(bench.post_wan(2));
    drop(bench.post_wan(3));
    bench.run_out();
    assert!(bench.effects.contains(&Effect::Crash { seconds: 3.0 }));
    assert_eq!(bench.get("/prompt")["exec_info"]["queue_remaining"], 0);
    assert_eq!(bench.get("/history"), json!({}));
    assert_eq!(bench.ask(Request::Job(first)).unwrap().status, 404);
    assert_eq!(bench.logged("crashed")[0]["running"], json!(second));
    let Body::Json(answer) = bench.post_wan(4).unwrap().body else { panic!("no JSON") };
    assert_eq!(answer["number"], 0);
    bench.run_out();
    let view = View { filename: Some("wan22_00002_.mp4".into()), subfolder: Some("video".into()), ..View::default() };
    assert_eq!(bench.ask(Request::View(view)).unwrap().status, 200, "files and their numbering stay");
}

#[test]
fn views_go_missing_and_are_cut() {
    let mut bench = Bench::new(
        r#"
        [[fault]]
        on = { request = "GET /view" }
        do = "view_404"
        [[fault]]
        on = { request = "GET /view" }
        skip = 1
        do = { view_cut = 1000 }
        "#,
    );
    drop(bench.post_wan(1));
    bench.run_out();
    let view = || {
        Request::View(View {
            filename: Some("wan22_00001_.mp4".into()),
            subfolder: Some("video".into()),
            ..View::default()
        })
    };
    assert_eq!(bench.ask(view()).unwrap().status, 404);
    assert_eq!(bench.ask(view()).unwrap().cut, Some(1000));
    assert_eq!(bench.ask(view()).unwrap().cut, None);
}

#[test]
fn jobs_are_listed_and_cancelled_on_the_new_server_only() {
    let mut bench = Bench::new("");
    let ids: Vec<String> = (1..=3).map(|seed| id_of(bench.post_wan(seed))).collect();
    bench.wake();
    let list = bench.get("/api/jobs");
    assert_eq!(list["pagination"], json!({"offset": 0, "limit": null, "total": 3, "has_more": false}));
    assert_eq!((&list["jobs"][0]["id"], &list["jobs"][2]["status"]), (&json!(ids[2]), &json!("in_progress")));
    let mut cancel = |id: &str| match bench.ask(Request::CancelJob(id.to_owned())).unwrap().body {
        Body::Json(body) => body["cancelled"].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!([cancel(&ids[1]), cancel(&ids[0]), cancel("nope")], [json!(true), json!(true), json!(false)]);
    bench.run_out();
    assert_eq!(bench.get(&format!("/api/jobs/{}", ids[0]))["status"], "cancelled");
    let done = bench.get(&format!("/api/jobs/{}", ids[2]));
    assert_eq!((&done["status"], &done["preview_output"]["nodeId"]), (&json!("completed"), &json!("17")));
    let mut old = Bench::of(&Options { dialect: Dialect::V0_3_64, ..Options::default() });
    assert_eq!(old.ask(Request::Jobs(Vec::new())).unwrap().status, 404);
    assert_eq!(old.ask(Request::CancelJob("x".into())).unwrap().status, 405);
}

#[test]
fn free_empties_the_card_and_the_cache() {
    let mut bench = Bench::new("");
    let used = |bench: &mut Bench| {
        let device = bench.get("/system_stats")["devices"][0].clone();
        device["vram_total"].as_u64().unwrap() - device["vram_free"].as_u64().unwrap()
    };
    let idle = used(&mut bench);
    drop(bench.post_wan(1));
    bench.run_out();
    assert!(used(&mut bench) > idle);
    drop(bench.ask(Request::Free(Some(json!({"unload_models": true, "free_memory": true})))));
    assert_eq!(used(&mut bench), idle);
    let before = bench.now;
    drop(bench.post_wan(1));
    bench.run_out();
    assert!(bench.now - before > 8000, "nothing is cached any more");
}

#[test]
fn a_chain_longer_than_the_server_can_follow_is_refused() {
    let chain = |length: usize| {
        let mut prompt = crate::sim::graph::Prompt::new();
        prompt.insert(
            "0".into(),
            json!({"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}),
        );
        for id in 1..length {
            let inputs = json!({"image": [(id - 1).to_string(), 0], "blur_radius": 1, "sigma": 1.0});
            prompt.insert(id.to_string(), json!({"class_type": "ImageBlur", "inputs": inputs}));
        }
        let inputs = json!({"images": [(length - 1).to_string(), 0], "filename_prefix": "x"});
        prompt.insert("save".into(), json!({"class_type": "SaveImage", "inputs": inputs}));
        crate::sim::validate::validate(crate::sim::Dialect::V0_33_0, &mut prompt, None, &|_| true)
    };
    assert!(chain(250).is_ok());
    let Err(refused) = chain(9000) else { panic!("refused") };
    assert!(format!("{refused:?}").contains("maximum recursion depth exceeded"));
}
