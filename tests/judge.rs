//! The judge against clips whose truth is known: those of `tests/media/`, and many made up here.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::many_single_char_names,
    clippy::match_same_arms,
    clippy::unnested_or_patterns,
    reason = "pixels are drawn with small numbers; each fault has its line in the table"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "what is left out is told")]

mod judge {
    pub mod clips;
}

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use comfytop::verdict::{Curves, Cut, Measurement, Rgb, Thresholds, Verdict, Watch};
use comfytop::video::{Limits, examine};
use judge::clips::{Clip, Fault, Motion, Texture};
use serde_json::Value;

fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)
}

fn truth() -> serde_json::Map<String, Value> {
    serde_json::from_str(&std::fs::read_to_string(media("truth.json")).unwrap()).unwrap()
}

fn verdict_of(truth: &Value) -> Option<Verdict> {
    match (truth["closes"].as_bool(), truth["fault"].as_str(), truth["best_drop_end"].as_u64()) {
        (Some(true), ..) => Some(Verdict::Loops),
        (_, Some("doubled_frame"), _) | (_, Some("seam"), Some(_)) => Some(Verdict::Nearly),
        (_, Some("seam"), None) => Some(Verdict::Jumps),
        (_, Some("colour_step"), _) => Some(Verdict::Pulses),
        (_, Some("still"), _) => Some(Verdict::Still),
        _ => None,
    }
}

#[test]
fn every_clip_with_a_truth_is_judged_right() {
    let mut judged = 0;
    for (name, truth) in &truth() {
        let Some(expected) = verdict_of(truth) else { continue };
        judged += 1;
        let (known, curves) = examine(&media(name), &Limits::default(), &Thresholds::default()).unwrap();
        println!(
            "{name:24} {:7} {:.3?} {:.3?} {:?}",
            known.verdict.unwrap().word(),
            known.seam_ratio,
            known.motion_ratio,
            known.advice
        );
        assert_eq!(known.verdict, Some(expected), "{name}: {known:?}");
        if let Some(drop) = truth["best_drop_end"].as_u64() {
            let cut = known.best_cut.unwrap();
            assert_eq!((u64::from(cut.drop_end), cut.drop_start), (drop, 0), "{name}");
        }
        assert!((known.ssim.unwrap() - truth["ssim_first_last"].as_f64().unwrap()).abs() < 1.5e-6, "{name}");
        if let Some(ratio) = truth["seam_ratio_rgb"].as_f64() {
            assert!((known.seam_ratio.unwrap() - ratio).abs() < 0.05 * ratio, "{name}: {:?}", known.seam_ratio);
        }
        assert!((known.luma_step.unwrap() - truth["luma_step"].as_f64().unwrap()).abs() < 0.5, "{name}: {known:?}");
        same(&curves.ssim_first, &truth["ssim_vs_first"], name);
        same(&curves.ssim_before, &truth["ssim_adjacent"], name);
    }
    assert_eq!(judged, 10);
}

/// To the last printed digit of ffmpeg.
fn same(curve: &[f64], truth: &Value, name: &str) {
    let Some(truth) = truth.as_array() else { return };
    assert_eq!(curve.len(), truth.len(), "{name}");
    for (n, (ssim, truth)) in curve.iter().zip(truth).enumerate() {
        assert!((ssim - truth.as_f64().unwrap()).abs() < 2e-6, "{name}, {n}: {ssim} is not {truth}");
    }
}

#[test]
fn the_doubled_frames_are_told_by_number() {
    let of = |name: &str| examine(&media(name), &Limits::default(), &Thresholds::default()).unwrap().0;
    let last = of("loop_doubled_last.mp4");
    assert_eq!(last.doubled_frames, Some(vec![34]));
    assert_eq!(last.advice.as_deref(), Some("drop the doubled frame (34)"));
    assert_eq!(of("boomerang_naive.mp4").doubled_frames, Some(vec![17, 32]));
    assert_eq!(of("loop_perfect.mp4").doubled(), Some(false));
    // Too few to judge.
    let two = of("two_frames.mp4");
    assert_eq!(two.verdict, Some(Verdict::Unknown));
    assert_eq!(two.advice.as_deref(), Some("2 frames are too few to judge a loop by"));
}

fn judged(frames: impl IntoIterator<Item = Rgb>) -> (Measurement, Curves) {
    let thresholds = Thresholds::default();
    let mut watch = Watch::new(thresholds.cut);
    frames.into_iter().for_each(|frame| watch.see(frame));
    Measurement::of_clip(&watch.close(), Some(16.0), &thresholds)
}

/// What is wrong with a judgement; none where it is right.
fn wrong(clip: &Clip, known: &Measurement) -> Option<String> {
    let (verdict, drop) = clip.truth();
    let right = known.verdict == Some(verdict)
        && drop.is_none_or(|drop| known.best_cut.is_some_and(|cut| cut.drop_end.abs_diff(drop) <= 1));
    (!right).then(|| format!("{clip:?}\n  must be {verdict:?} {drop:?}, is {known:?}"))
}

fn all_right(clips: impl IntoIterator<Item = Clip>, show: impl Fn(&Clip) -> Vec<Rgb>) {
    let wrong: Vec<_> = clips.into_iter().filter_map(|clip| wrong(&clip, &judged(show(&clip)).0)).collect();
    assert!(wrong.is_empty(), "{} judged wrong:\n{}", wrong.len(), wrong.join("\n"));
}

const FAULTS: [Fault; 9] = [
    Fault::None,
    Fault::DoubledLast,
    Fault::Skipped(1),
    Fault::Skipped(3),
    Fault::Tail(2),
    Fault::Tail(6),
    Fault::Head(3),
    Fault::Brighter(0.12),
    Fault::Half,
];

fn clip(texture: Texture, motion: Motion, fault: Fault) -> Clip {
    Clip { width: 96, height: 64, frames: 24, texture, motion, fault, grain: 0.0, seed: 11 }
}

#[test]
fn every_fault_is_seen_at_every_speed() {
    let speeds = [0.6, 1.5, 4.0];
    let clips = speeds
        .iter()
        .flat_map(|speed| FAULTS.map(|fault| clip(Texture::Clouds(4.0), Motion::Circle { speed: *speed }, fault)));
    all_right(clips, Clip::frames);
}

#[test]
fn it_may_not_stand_at_the_seam_nor_run_on_past_it() {
    let faults = [
        Fault::FirstHeld(2),
        Fault::FirstHeld(3),
        Fault::FirstHeld(8),
        Fault::LastHeld(1),
        Fault::LastHeld(3),
        Fault::StartHeld(1),
        Fault::StartHeld(4),
        Fault::Overrun(2),
        Fault::Overrun(3),
        Fault::Overrun(5),
    ];
    let clips = [0.6, 4.0].iter().flat_map(|speed| {
        faults.map(|fault| Clip { frames: 36, ..clip(Texture::Clouds(4.0), Motion::Circle { speed: *speed }, fault) })
    });
    all_right(clips, Clip::frames);
    let held = |fault| {
        let (known, _) = judged(clip(Texture::Clouds(4.0), Motion::Circle { speed: 2.0 }, fault).frames());
        (known.doubled_frames.unwrap(), known.best_cut.unwrap(), known.advice.unwrap())
    };
    let cut = |drop_start, drop_end| Cut { drop_start, drop_end };
    assert_eq!(held(Fault::FirstHeld(2)), (vec![25, 26], cut(0, 2), "drop the doubled frames (25, 26)".to_owned()));
    assert_eq!(held(Fault::LastHeld(1)), (vec![25], cut(0, 1), "drop the doubled frame (25)".to_owned()));
    assert_eq!(held(Fault::StartHeld(1)), (vec![2], cut(1, 0), "drop the doubled frame (2)".to_owned()));
    assert_eq!(held(Fault::Overrun(2)), (vec![], cut(0, 2), "cut the last 2 frames".to_owned()));
}

/// Longer than a cut may be: then the frames are dropped.
#[test]
fn a_long_hold_is_doubled_frames() {
    let held = Clip { frames: 90, ..clip(Texture::Clouds(4.0), Motion::Circle { speed: 2.0 }, Fault::FirstHeld(20)) };
    let (known, _) = judged(held.frames());
    assert_eq!((known.verdict, known.best_cut), (Some(Verdict::Nearly), None), "{known:?}");
    assert_eq!(known.doubled_frames, Some((91..=110).collect()));
}

/// It stands for a step or two where it turns: that is how it moves.
#[test]
fn a_swing_may_rest_where_it_turns() {
    let swing = |frames, width| Clip { frames, ..clip(Texture::Discs, Motion::Swing { width }, Fault::None) };
    let clips = [12, 13, 16, 24].iter().flat_map(|frames| [12.0, 20.0].map(|width| swing(*frames, width)));
    for clip in clips {
        // Begun at every place of it, as loops are.
        let frames = clip.frames();
        for begin in 0..frames.len() / 2 {
            let (known, _) = judged(frames.iter().cycle().skip(begin).take(frames.len()).cloned());
            assert_eq!(known.doubled(), Some(false), "{begin} {clip:?} {known:?}");
            // Where it has few frames its fastest step is a leap.
            assert!(clip.frames < 24 || known.verdict == Some(Verdict::Loops), "{begin} {clip:?} {known:?}");
        }
    }
}

#[test]
fn colours_that_go_round_may_not_stand_at_the_seam() {
    let hues = |fault| Clip { frames: 36, ..clip(Texture::Clouds(16.0), Motion::Hues, fault) };
    all_right([Fault::None, Fault::DoubledLast, Fault::FirstHeld(3), Fault::StartHeld(2)].map(hues), Clip::frames);
    // A picture that only brightens, until its white gets no whiter: without the light nothing has changed.
    let brighter = |n: usize| {
        let level = |x: usize| (40 + 3 * (x % 64) + n).min(255) as u8;
        Rgb::from_packed::<3>(64, 64, &(0..64 * 64).flat_map(|x| [level(x); 3]).collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(judged((0..30).map(brighter)).0.verdict, Some(Verdict::Pulses));
    // A tint that goes half round, and not the same all over: no ramp brings that back, so levelling is not advised.
    let tinted = |n: usize, uneven: f32| {
        let turn = std::f32::consts::PI * n as f32 / 32.0;
        let pixel = |x: usize| {
            let tint = 40.0 + uneven * (x as f32 / 10.0).sin();
            let (blue, red) = (tint * turn.cos(), tint * turn.sin());
            let luma = 128.0 + 40.0 * (x as f32 / 5.0).sin();
            [luma + 1.402 * red, luma - 0.344 * blue - 0.714 * red, luma + 1.772 * blue].map(|level| level as u8)
        };
        Rgb::from_packed::<3>(64, 64, &(0..64 * 64).flat_map(|n| pixel(n % 64)).collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(judged((0..33).map(|n| tinted(n, 0.0))).0.verdict, Some(Verdict::Pulses));
    let (known, _) = judged((0..33).map(|n| tinted(n, 1.2)));
    assert_eq!((known.verdict, known.advice), (Some(Verdict::Jumps), None));
    // One colour all over: there is nothing but light.
    let plain = |turn: f32| {
        let level = |n: f32| (128.0 + 80.0 * (turn + 2.0 * n).sin()) as u8;
        Rgb::from_packed::<3>(64, 64, &[level(0.0), level(1.0), 128].repeat(64 * 64)).unwrap()
    };
    let round = |n: usize| plain(n as f32 * std::f32::consts::TAU / 40.0);
    assert_eq!(judged((0..40).map(round)).0.verdict, Some(Verdict::Loops));
    let (known, _) = judged((0..41).map(|n| round(n % 40)));
    assert_eq!((known.verdict, known.doubled_frames), (Some(Verdict::Nearly), Some(vec![41])));
}

#[test]
fn textures_and_ways_of_moving_make_no_difference() {
    let textures =
        [Texture::Clouds(2.0), Texture::Clouds(16.0), Texture::Checks(29.0), Texture::Stripes(24.0), Texture::Discs];
    let moving = textures.iter().flat_map(|texture| {
        [Fault::None, Fault::DoubledLast, Fault::Brighter(0.12)]
            .map(|fault| clip(*texture, Motion::Circle { speed: 1.5 }, fault))
    });
    let ways =
        [Motion::Patch { speed: 1.5 }, Motion::Sway { degrees: 12.0 }, Motion::Swing { width: 30.0 }, Motion::Hues];
    let ways =
        ways.iter().flat_map(|way| [Fault::None, Fault::Brighter(0.12)].map(|f| clip(Texture::Clouds(4.0), *way, f)));
    all_right(moving.chain(ways), Clip::frames);
}

#[test]
fn a_pan_is_no_loop_and_its_boomerangs_are() {
    let faults = [Fault::None, Fault::NaiveBoomerang, Fault::TrimmedBoomerang];
    let clips = [0.6, 2.5]
        .iter()
        .flat_map(|speed| faults.map(|fault| clip(Texture::Clouds(4.0), Motion::Pan { speed: *speed }, fault)));
    all_right(clips, Clip::frames);
}

#[test]
fn grain_is_neither_motion_nor_a_seam() {
    let grainy = |clip: Clip| [3.0, 8.0].map(|grain| Clip { grain, ..clip });
    let still = clip(Texture::Clouds(4.0), Motion::Nothing, Fault::None);
    let moving = [Fault::None, Fault::DoubledLast, Fault::Skipped(2), Fault::Tail(4), Fault::Brighter(0.12)]
        .map(|fault| clip(Texture::Clouds(4.0), Motion::Circle { speed: 2.0 }, fault));
    all_right(moving.into_iter().chain([still]).flat_map(grainy), Clip::frames);
}

#[test]
fn sizes_from_tiny_to_large() {
    let sizes = [(64, 64, 16), (64, 96, 81), (320, 240, 16), (480, 848, 12)];
    let clips = sizes.iter().flat_map(|(width, height, frames)| {
        let speed = (width.min(height) / 40) as f32;
        [Fault::None, Fault::DoubledLast, Fault::Tail(3)].map(|fault| Clip {
            width: *width,
            height: *height,
            frames: *frames,
            ..clip(Texture::Clouds(8.0), Motion::Circle { speed }, fault)
        })
    });
    all_right(clips, Clip::frames);
}

fn there_is_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    assert!(found || std::env::var("CI").as_deref() != Ok("true"), "CI must have ffmpeg installed");
    if !found {
        println!("no ffmpeg here: nothing is compressed");
    }
    found
}

/// As `x264` leaves them. Not compared where there is no ffmpeg.
#[test]
fn compression_makes_no_difference() {
    if !there_is_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.mp4");
    let mut all = Vec::new();
    for crf in [16, 24] {
        for fault in [Fault::None, Fault::DoubledLast, Fault::Skipped(2), Fault::Tail(4), Fault::Brighter(0.12)] {
            let clip =
                Clip { width: 128, height: 96, ..clip(Texture::Clouds(4.0), Motion::Circle { speed: 2.0 }, fault) };
            encode(&clip, crf, &file);
            let (known, _) = examine(&file, &Limits::default(), &Thresholds::default()).unwrap();
            all.extend(wrong(&clip, &known).map(|words| format!("crf {crf}: {words}")));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// So gentle that the seam's own step drowns in what compression does to its two frames.
#[test]
fn a_gentle_clip_is_judged_by_the_frames_about_its_seam() {
    if !there_is_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.mp4");
    let mut all = Vec::new();
    for (fault, crf) in
        [Fault::None, Fault::DoubledLast, Fault::Overrun(2)].into_iter().flat_map(|f| [(f, 20), (f, 23)])
    {
        let clip = Clip {
            width: 240,
            height: 320,
            frames: 49,
            ..clip(Texture::Clouds(8.0), Motion::Circle { speed: 0.2 }, fault)
        };
        encode(&clip, crf, &file);
        let (known, _) = examine(&file, &Limits::default(), &Thresholds::default()).unwrap();
        all.extend(wrong(&clip, &known).map(|words| format!("crf {crf}: {words}")));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

fn encode(clip: &Clip, crf: u32, file: &Path) {
    let size = format!("{}x{}", clip.width, clip.height);
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gbrp", "-s", &size, "-r", "16", "-i", "-"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-crf", &crf.to_string()])
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ffmpeg.stdin.take().unwrap();
    for frame in clip.frames() {
        let [red, green, blue] = frame.planes();
        for plane in [green, blue, red] {
            stdin.write_all(plane).unwrap();
        }
    }
    drop(stdin);
    assert!(ffmpeg.wait().unwrap().success());
}

#[test]
fn a_clip_on_twos_is_no_row_of_faults() {
    let clip = Clip { frames: 12, ..clip(Texture::Clouds(4.0), Motion::Circle { speed: 3.0 }, Fault::None) };
    let (known, _) = judged(clip.frames().into_iter().flat_map(|frame| [frame.clone(), frame]));
    assert_eq!((known.verdict, known.doubled()), (Some(Verdict::Loops), Some(false)), "{known:?}");
}

#[test]
fn frames_of_several_sizes_and_tiny_ones_have_words_and_no_verdict() {
    let frame = |width, height| Rgb::from_planes(width, height, vec![7; (width * height * 3) as usize]).unwrap();
    let (known, curves) = judged((0..20).map(|n| frame(16 + n / 10, 16)));
    assert_eq!(known.note.as_deref(), Some("n/a (the first frame is 16x16, the last 17x16)"));
    assert_eq!((known.verdict, curves.ssim_first.len()), (Some(Verdict::Unknown), 10));
    let (known, _) = judged((0..20).map(|_| frame(1, 1)));
    assert_eq!((known.ssim, known.note.as_deref()), (None, Some("n/a (1x1 is smaller than 8x8)")));
    let red = |n: u8| Rgb::from_planes(2, 2, [vec![n * 10; 4], vec![0; 8]].concat()).unwrap();
    let (known, _) = judged((0..20).map(red));
    assert_eq!(known.verdict, Some(Verdict::Unknown), "it does change: {known:?}");
    assert_eq!(known.advice.as_deref(), Some("a picture below 4x4 pixels is too small to judge a loop by"));
    let (known, _) = judged([frame(16, 16)]);
    assert_eq!((known.verdict, known.note.as_deref()), (None, Some("single frame")));
}

/// A square picture of one grey for each pixel.
fn grey(side: u32, level: impl Fn(f32, f32) -> f32) -> Rgb {
    let plane: Vec<u8> = (0..side * side).map(|n| level((n % side) as f32, (n / side) as f32).round() as u8).collect();
    Rgb::from_planes(side, side, plane.repeat(3)).unwrap()
}

/// A tenth of the picture a frame is more than any block is looked for.
#[test]
fn what_goes_too_fast_to_be_followed_does_not_stand_still() {
    let cell = |x: f32, y: f32| {
        let n = ((x / 8.0) as u32).wrapping_mul(374_761_393).wrapping_add(((y / 8.0) as u32).wrapping_mul(668_265_263));
        let n = (n ^ (n >> 13)).wrapping_mul(1_274_126_177);
        ((n ^ (n >> 16)) & 255) as f32
    };
    let falling = |frames: u32| {
        (0..frames).map(move |n| grey(240, move |x, y| cell(x, (y + 240.0 - 24.0 * n as f32).rem_euclid(240.0))))
    };
    let (known, _) = judged(falling(10));
    assert_eq!(known.verdict, Some(Verdict::Loops), "{known:?}");
    assert!(known.advice.is_some_and(|advice| advice.contains("too fast")));
    let (known, _) = judged(falling(11));
    assert_eq!((known.verdict, known.best_cut), (Some(Verdict::Nearly), Some(Cut { drop_start: 0, drop_end: 1 })));
}

/// With the first picture once more at its end, wherever in its swing it begins.
#[test]
fn a_swing_that_ends_as_it_begins_is_told_to_drop_its_last_frame() {
    for (wide, turn, frames) in [(40.0, 0.7, 48), (60.0, 0.8, 48), (60.0, 1.1, 48), (60.0, 0.8, 32)] {
        let clip = (0..=frames).map(move |n| {
            let swing = wide * (turn + std::f32::consts::TAU * n as f32 / frames as f32).sin();
            grey(240, move |x, y| {
                let ground = 90.0 + 40.0 * (x / 60.0).sin() * (y / 70.0).cos();
                let arm = (x - 120.0 - swing * y / 240.0).abs() - 14.0;
                ground + (150.0 - ground) * (0.5 - arm / 6.0).clamp(0.0, 1.0)
            })
        });
        let (known, _) = judged(clip);
        let drops = u64::try_from(frames).unwrap() + 1;
        assert_eq!(
            (known.verdict, known.advice.as_deref()),
            (Some(Verdict::Nearly), Some(format!("drop the doubled frame ({drops})").as_str())),
            "{wide} {turn} {frames}"
        );
    }
}

/// What is advised is looked at by the pace of what is left.
#[test]
fn a_cut_that_is_advised_loops() {
    for ball in [30.0, 40.0, 90.0] {
        for part in [2.0 / 3.0, 0.75, 0.8] {
            let frames: Vec<Rgb> = (0..24)
                .map(|n| {
                    let angle = std::f32::consts::TAU * part * n as f32 / 24.0;
                    let (bx, by) = (120.0 + 70.0 * angle.cos(), 120.0 + 70.0 * angle.sin());
                    grey(240, move |x, y| {
                        let ground = 90.0 + 40.0 * (x / 60.0).sin() * (y / 70.0).cos();
                        let far = (x - bx).hypot(y - by) - ball;
                        ground + (200.0 - ground) * (0.5 - far / 4.0).clamp(0.0, 1.0)
                    })
                })
                .collect();
            let (known, _) = judged(frames.clone());
            let Some(cut) = known.best_cut else { continue };
            let left = frames.len() - cut.drop_end as usize;
            let (copy, _) = judged(frames.into_iter().take(left).skip(cut.drop_start as usize));
            assert_eq!(copy.verdict, Some(Verdict::Loops), "{ball} {part} {cut:?} {copy:?}");
        }
    }
}

#[test]
fn the_thresholds_decide() {
    let clip = clip(Texture::Clouds(4.0), Motion::Circle { speed: 2.0 }, Fault::Tail(6));
    let judged = |thresholds: Thresholds| {
        let mut watch = Watch::new(thresholds.cut);
        clip.frames().into_iter().for_each(|frame| watch.see(frame));
        Measurement::of_clip(&watch.close(), None, &thresholds).0
    };
    let few = judged(Thresholds { cut: 2, ..Thresholds::default() });
    assert_eq!((few.verdict, few.best_cut), (Some(Verdict::Jumps), None));
    let skipped = Clip { fault: Fault::Skipped(1), ..clip };
    let judged = |thresholds: Thresholds| {
        let mut watch = Watch::new(thresholds.cut);
        skipped.frames().into_iter().for_each(|frame| watch.see(frame));
        Measurement::of_clip(&watch.close(), None, &thresholds).0.verdict
    };
    assert_eq!(judged(Thresholds::default()), Some(Verdict::Jumps));
    assert_ne!(judged(Thresholds { faster: 1.5, ..Thresholds::default() }), Some(Verdict::Jumps));
}
