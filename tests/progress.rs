//! The bar and the estimate, held against recordings of real renders on a GPU: the bar never runs
//! backwards, and once one run is known it stays within ten points of the truth.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use comfytop::comfy::message::{self, Message};
use comfytop::estimate::{Node, NodeTimes, Run};
use serde_json::Value;

/// A render as it was heard: seconds since `execution_start`, and the message.
struct Recorded {
    messages: Vec<(f64, Message)>,
    /// Seconds from the start to the end.
    length: f64,
}

/// The renders of one recording, in their order.
fn renders(name: &str) -> Vec<Recorded> {
    let path = format!("{}/tests/wire/gpu-0.3.64/{name}", env!("CARGO_MANIFEST_DIR"));
    let recording: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut renders: Vec<Recorded> = Vec::new();
    let mut began = 0.0;
    for exchange in recording["exchanges"].as_array().unwrap() {
        let (Some(t), Some(ws)) = (exchange["t"].as_f64(), exchange.get("ws")) else { continue };
        let message = message::parse(&ws.to_string());
        match message {
            Message::ExecutionStart { .. } => {
                began = t;
                renders.push(Recorded { messages: Vec::new(), length: 0.0 });
            }
            Message::ExecutionSuccess { .. } => renders.last_mut().unwrap().length = t - began,
            _ => {}
        }
        if let Some(render) = renders.last_mut() {
            render.messages.push((t - began, message));
        }
    }
    renders
}

/// The nodes of the loop workflow, by the classes that the recordings' README names.
fn nodes() -> Vec<Node> {
    let classes = [
        ("1", "LoadImage"),
        ("2", "CLIPLoader"),
        ("3", "VAELoader"),
        ("4", "UNETLoader"),
        ("5", "UNETLoader"),
        ("6", "LoraLoaderModelOnly"),
        ("7", "LoraLoaderModelOnly"),
        ("8", "ModelSamplingSD3"),
        ("9", "ModelSamplingSD3"),
        ("10", "CLIPTextEncode"),
        ("11", "CLIPTextEncode"),
        ("12", "WanFirstLastFrameToVideo"),
        ("13", "KSamplerAdvanced"),
        ("14", "KSamplerAdvanced"),
        ("15", "VAEDecode"),
        ("16", "CreateVideo"),
        ("17", "SaveVideo"),
    ];
    classes.map(|(id, class)| Node { id: id.into(), title: id.into(), class: class.into() }).to_vec()
}

/// Replays a render, looking at the bar four times a second. Gives the run at its end, and the
/// greatest distance between the bar and the truth.
fn replay(render: &Recorded, known: NodeTimes) -> (Run, f64) {
    let mut run = Run::new(nodes(), known);
    let mut heard = render.messages.iter().peekable();
    let (mut worst, mut last, mut now) = (0.0_f64, 0.0, 0.0);
    while now <= render.length {
        while let Some((at, message)) = heard.next_if(|(at, _)| *at <= now) {
            match message {
                Message::ExecutionCached { nodes, .. } => run.cached(nodes),
                Message::Executing { node: Some(node), .. } => run.node(node, *at),
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "recorded steps")]
                Message::Progress { node: Some(node), value, max, .. } => {
                    run.step(node, *value as u64, *max as u64, *at);
                }
                Message::ExecutionSuccess { .. } => run.end(*at),
                _ => {}
            }
        }
        let fraction = run.progress(now).fraction.unwrap_or(0.0);
        assert!(fraction >= last, "the bar ran backwards at {now:.2} s: {last} to {fraction}");
        worst = worst.max((fraction - now / render.length).abs());
        last = fraction;
        now += 0.25;
    }
    run.end(render.length);
    (run, worst)
}

fn learnt(from: &Recorded) -> NodeTimes {
    let mut times = NodeTimes::default();
    times.learn(&replay(from, NodeTimes::default()).0);
    times
}

#[test]
fn unknown_runs_never_go_backwards_and_promise_nothing() {
    for render in renders("27-wan-loop-gpu.json").iter().chain(&renders("29-wan-loop-lowvram.json")) {
        let (mut run, _) = replay(render, NodeTimes::default());
        assert_eq!(run.progress(render.length).left_s, None);
    }
}

#[test]
fn a_warm_run_is_foretold_by_a_cold_one() {
    let [cold, warm] = &renders("27-wan-loop-gpu.json")[..] else { panic!("two renders are recorded") };
    let (_, worst) = replay(warm, learnt(cold));
    assert!(worst <= 0.10, "{worst:.3} from the truth");
}

#[test]
fn a_cold_run_is_foretold_by_a_cold_one() {
    for name in ["27-wan-loop-gpu.json", "29-wan-loop-lowvram.json"] {
        let cold = &renders(name)[0];
        let (_, worst) = replay(cold, learnt(cold));
        assert!(worst <= 0.10, "{name}: {worst:.3} from the truth");
    }
}

#[test]
fn a_cold_run_is_foretold_by_a_warm_one_after_a_cold_one() {
    let [cold, warm] = &renders("27-wan-loop-gpu.json")[..] else { panic!("two renders are recorded") };
    let mut times = learnt(cold);
    times.learn(&replay(warm, times.clone()).0);
    for render in [cold, warm] {
        let (_, worst) = replay(render, times.clone());
        assert!(worst <= 0.10, "{worst:.3} from the truth");
    }
}

#[test]
fn a_cold_run_after_warm_ones_alone_does_not_stand_still_in_its_loaders() {
    let runs = renders("27-wan-loop-gpu.json");
    let (mut run, worst) = replay(&runs[0], learnt(&runs[1]));
    assert!(worst <= 0.3, "{worst}");
    assert!(run.progress(runs[0].length).left_s.is_none() || run.progress(0.0).left_s.is_none());
}

#[test]
fn a_run_that_is_joined_in_the_middle_goes_by_time() {
    let runs = renders("27-wan-loop-gpu.json");
    let known = learnt(&runs[1]);
    let typical = known.typical().unwrap();
    let mut run = Run::new(nodes(), known);
    run.step("14", 1, 2, typical * 0.6);
    let progress = run.progress(typical * 0.6);
    assert!((progress.fraction.unwrap() - 0.6).abs() < 1e-9 && (progress.left_s.unwrap() - typical * 0.4).abs() < 1e-6);
    assert_eq!(run.progress(typical * 1.2).left_s, None, "it takes longer, nobody knows how long");
}
