//! Mended copies, decoded again: each frame must be the one that was meant. Needs ffmpeg, and says so where there is none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "what is left out is told")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use comfytop::tools::measure::Options;
use comfytop::verdict::{Cut, Measurement, Repair, Rgb, Thresholds, Verdict};
use comfytop::video::repair::{self, RepairError};
use comfytop::video::{Limits, examine};

#[path = "repair/durations.rs"]
mod durations;

const SIZE: (usize, usize) = (160, 288);

fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)
}

fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have ffmpeg installed");
    println!("no ffmpeg here: nothing is repaired");
    false
}

/// A clip in a folder of its own.
fn copied(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("a clip, of mine.mp4");
    std::fs::copy(media(name), &clip).unwrap();
    (folder, clip)
}

fn repair(clip: &Path, how: Repair, known: &Measurement, limits: &Limits) -> Result<PathBuf, RepairError> {
    repair::repair(clip, how, known, limits).map(|copy| copy.path)
}

fn known(path: &Path) -> Measurement {
    examine(path, &Limits::default(), &Thresholds::default()).unwrap().0
}

fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let out = Command::new("ffmpeg").args(["-v", "error"]).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// All frames, gray.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let path = path.to_str().unwrap();
    let raw = ffmpeg(&["-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"]);
    raw.chunks(SIZE.0 * SIZE.1).map(<[u8]>::to_vec).collect()
}

fn apart(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    f64::from(u32::try_from(sum).unwrap()) / f64::from(u32::try_from(SIZE.0 * SIZE.1).unwrap())
}

/// Which frame of the clip each frame of the copy is.
fn origins(clip: &Path, copy: &Path) -> Vec<usize> {
    let source = frames(clip);
    let nearest = |frame: &Vec<u8>| {
        let distances = source.iter().map(|other| apart(frame, other));
        let (index, distance) = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!(distance < 2.5, "a frame is like none of the source ({distance})");
        index
    };
    frames(copy).iter().map(nearest).collect()
}

#[test]
fn a_cut_is_exact_to_the_frame_and_closes_the_loop() {
    if !has_ffmpeg() {
        return;
    }
    let (_folder, clip) = copied("loop_tail_4.mp4");
    let before = std::fs::read(&clip).unwrap();
    let how = Repair::Cut(Cut { drop_start: 2, drop_end: 4 });
    let copy = repair(&clip, how, &known(&clip), &Limits::default()).unwrap();
    assert_eq!(copy.file_name().unwrap(), "a clip, of mine-cut.mp4");
    assert_eq!(origins(&clip, &copy), (2..33).collect::<Vec<_>>());
    let advised = Repair::advised(&known(&clip)).unwrap();
    let copy = repair(&clip, advised, &known(&clip), &Limits::default()).unwrap();
    assert_eq!(copy.file_name().unwrap(), "a clip, of mine-cut-2.mp4");
    let mended = known(&copy);
    assert_eq!((mended.verdict, mended.fps), (Some(Verdict::Loops), Some(16.0)), "{mended:?}");
    assert_eq!(std::fs::read(&clip).unwrap(), before, "the source was written to");
    assert_eq!(std::fs::read_dir(clip.parent().unwrap()).unwrap().count(), 3, "something was left behind");
}

#[test]
fn a_cut_keeps_the_time_between_frames() {
    if !has_ffmpeg() {
        return;
    }
    let (folder, clip) = copied("loop_tail_4.mp4");
    let uneven = folder.path().join("uneven.mp4");
    let (clip, name) = (clip.to_str().unwrap(), uneven.to_str().unwrap());
    ffmpeg(&["-i", clip, "-vf", "setpts=(N+2*floor(N/5))/16/TB", "-fps_mode", "passthrough", "-c:v", "libx264", name]);
    let cut = Repair::Cut(Cut { drop_start: 0, drop_end: 4 });
    let copy = known(&repair(&uneven, cut, &known(&uneven), &Limits::default()).unwrap());
    // Twelve gaps of two frames among the 33.
    let rate = 32.0 * 16.0 / (32.0 + 12.0);
    assert!(copy.frames == 33 && (copy.fps.unwrap() - rate).abs() < 0.1, "{copy:?}");
}

/// As `ComfyUI` writes it.
#[test]
fn an_animated_png_may_be_called_png() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.png");
    std::fs::copy(media("anim.apng"), &clip).unwrap();
    let before = known(&clip);
    let copy = repair(&clip, Repair::Boomerang, &before, &Limits::default()).unwrap();
    assert_eq!((copy.extension().unwrap().to_str(), known(&copy).frames), (Some("png"), 2 * before.frames - 2));
}

/// A chunk of a PNG.
fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [&kind, data].concat();
    let sum = !body.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    });
    [&u32::try_from(data.len()).unwrap().to_be_bytes(), body.as_slice(), &sum.to_be_bytes()].concat()
}

/// `ComfyUI` writes the prompt before the pictures (`tEXt`) or after them (`comf`).
#[test]
fn the_prompt_of_an_animated_png_goes_into_its_copy() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (bare, clip) = (folder.path().join("bare.png"), folder.path().join("clip.png"));
    let plain = std::fs::read(media("anim.apng")).unwrap();
    std::fs::write(&bare, &plain).unwrap();
    let prompt = r#"{"1":{"class_type":"KSampler","inputs":{"seed":7,"text":"a sea, ümlaut"}}}"#;
    let before = [chunk(*b"tEXt", format!("prompt\0{prompt}").as_bytes()), chunk(*b"zTXt", b"other\0\0x")].concat();
    let after = chunk(*b"comf", b"workflow\0{\"nodes\":[]}");
    let end = plain.len() - 12;
    std::fs::write(&clip, [&plain[..33], &before, &plain[33..end], &after, &plain[end..]].concat()).unwrap();
    for how in [Repair::Boomerang, Repair::Cut(Cut { drop_start: 0, drop_end: 1 })] {
        let copy = repair(&clip, how, &known(&clip), &Limits::default()).unwrap();
        let carried = comfytop::embedded::read(&mut std::fs::File::open(&copy).unwrap()).unwrap();
        assert_eq!((carried.prompt.as_deref(), carried.workflow.as_deref()), (Some(prompt), Some(r#"{"nodes":[]}"#)));
        let bytes = std::fs::read(&copy).unwrap();
        assert!(bytes.windows(4).any(|kind| kind == b"zTXt"), "so are others");
        // Its pictures are those of a copy without.
        let other = repair(&bare, how, &known(&bare), &Limits::default()).unwrap();
        assert_eq!(frames(&copy), frames(&other), "{how:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6, "something was left behind");
}

/// Every frame as comfytop itself decodes it: ffmpeg 5 can't read an animated WebP.
fn decoded(path: &Path) -> Vec<Rgb> {
    let mut all = Vec::new();
    comfytop::video::play(path, &Limits::default(), &mut |frame| all.push(frame)).unwrap();
    all
}

fn has_webp() -> bool {
    has_ffmpeg() && String::from_utf8(ffmpeg(&["-encoders"])).unwrap().contains("libwebp_anim")
}

#[test]
fn an_animated_webp_stays_one() {
    if !has_webp() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.webp");
    std::fs::copy(media("webp_lossless.webp"), &clip).unwrap();
    let (before, source) = (known(&clip), decoded(&clip));
    let cut = repair(&clip, Repair::Cut(Cut { drop_start: 1, drop_end: 0 }), &before, &Limits::default()).unwrap();
    assert!(decoded(&cut) == source[1..], "what was compressed without loss still is, to the bit");
    let (fps, was) = (known(&cut).fps.unwrap(), before.fps.unwrap());
    assert!((fps - was).abs() < 0.3, "{fps} frames a second, not {was}");
    let back = repair(&clip, Repair::Boomerang, &before, &Limits::default()).unwrap();
    let there: Vec<_> = source.iter().chain(source[1..source.len() - 1].iter().rev()).cloned().collect();
    assert!(decoded(&back) == there);
    // Light that is levelled keeps the size, and what can be seen through.
    for name in ["webp_alpha.webp", "webp_lossy.webp"] {
        std::fs::copy(media(name), &clip).unwrap();
        let before = known(&clip);
        let level = repair(&clip, Repair::Level, &before, &Limits::default()).unwrap();
        let after = known(&level);
        assert_eq!((after.frames, after.fps), (before.frames, before.fps), "{name}");
        let near = |a: &Rgb, b: &Rgb| comfytop::verdict::ssim(a, b).unwrap() > 0.85;
        assert!(decoded(&level).iter().zip(&decoded(&clip)).take(1).all(|(a, b)| near(a, b)), "{name}");
    }
}

#[test]
fn the_prompt_of_an_animated_webp_goes_into_its_copy() {
    if !has_webp() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("clip.webp");
    let mut bytes = std::fs::read(media("webp_lossy.webp")).unwrap();
    let carrying = std::fs::read(media("carrying/animated.webp")).unwrap();
    let at = carrying.windows(4).position(|name| name == b"EXIF").unwrap();
    bytes.extend(&carrying[at..]);
    bytes[20] |= 8;
    let size = u32::try_from(bytes.len() - 8).unwrap();
    bytes[4..8].copy_from_slice(&size.to_le_bytes());
    std::fs::write(&clip, bytes).unwrap();
    let texts = |path: &Path| comfytop::embedded::read(&mut std::fs::File::open(path).unwrap()).unwrap();
    assert!(texts(&clip).prompt.is_some());
    let copy = repair(&clip, Repair::Boomerang, &known(&clip), &Limits::default()).unwrap();
    assert_eq!((texts(&copy).prompt, texts(&copy).workflow), (texts(&clip).prompt, texts(&clip).workflow));
    assert_eq!(known(&copy).frames, 2 * known(&clip).frames - 2);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was left behind");
}

#[test]
fn doubled_frames_go_and_no_others() {
    if !has_ffmpeg() {
        return;
    }
    let (_folder, clip) = copied("boomerang_naive.mp4");
    let how = Repair::advised(&known(&clip)).unwrap();
    assert_eq!(how, Repair::DropDoubled);
    let copy = repair(&clip, how, &known(&clip), &Limits::default()).unwrap();
    let mended = known(&copy);
    assert_eq!(
        (mended.frames, mended.verdict, mended.doubled()),
        (30, Some(Verdict::Loops), Some(false)),
        "{mended:?}"
    );
}

#[test]
fn a_boomerang_goes_back_without_its_ends() {
    if !has_ffmpeg() {
        return;
    }
    let (_folder, clip) = copied("pan_no_loop.mp4");
    let copy = repair(&clip, Repair::Boomerang, &known(&clip), &Limits::default()).unwrap();
    assert_eq!(origins(&clip, &copy), (0..33).chain((1..32).rev()).collect::<Vec<_>>());
    assert_eq!(known(&copy).verdict, Some(Verdict::Loops));
}

#[test]
fn a_crossfade_blends_the_end_into_the_beginning() {
    if !has_ffmpeg() {
        return;
    }
    let (_folder, clip) = copied("pan_no_loop.mp4");
    let copy = repair(&clip, Repair::Crossfade(6), &known(&clip), &Limits::default()).unwrap();
    let (source, copy) = (frames(&clip), frames(&copy));
    assert_eq!(copy.len(), 27);
    assert!(apart(&copy[0], &source[6]) < 2.5 && apart(&copy[20], &source[26]) < 2.5);
    // The last is nearly the frame before the first.
    assert!(apart(&copy[26], &source[5]) < apart(&copy[26], &source[32]) / 3.0);
    let blend: Vec<u8> = source[29]
        .iter()
        .zip(&source[2])
        .map(|(a, b)| u8::try_from((u16::from(*a) * 4 + u16::from(*b) * 3) / 7).unwrap())
        .collect();
    // Two roundings and a codec between them.
    assert!(apart(&copy[23], &blend) < 3.5, "{}", apart(&copy[23], &blend));
}

#[test]
fn a_step_of_light_is_taken_back() {
    if !has_ffmpeg() {
        return;
    }
    let (_folder, clip) = copied("loop_brighter_end.mp4");
    let how = Repair::advised(&known(&clip)).unwrap();
    assert_eq!(how, Repair::Level);
    let mended = known(&repair(&clip, how, &known(&clip), &Limits::default()).unwrap());
    assert_eq!((mended.frames, mended.verdict), (33, Some(Verdict::Loops)), "{mended:?}");
}

/// What `geq` counts in are the source's own levels.
#[test]
fn a_step_of_light_is_taken_back_in_ten_bits_too() {
    if !has_ffmpeg() {
        return;
    }
    let (folder, clip) = copied("loop_brighter_end.mp4");
    for (pixels, codec) in [("yuv422p10le", "libx264"), ("gbrp", "ffv1")] {
        let deep = folder.path().join(format!("{pixels}.{}", if codec == "ffv1" { "mkv" } else { "mp4" }));
        let (clip, name) = (clip.to_str().unwrap(), deep.to_str().unwrap());
        ffmpeg(&["-i", clip, "-c:v", codec, "-crf", "14", "-pix_fmt", pixels, name]);
        let mended = known(&repair(&deep, Repair::Level, &known(&deep), &Limits::default()).unwrap());
        assert_eq!((mended.frames, mended.verdict), (33, Some(Verdict::Loops)), "{pixels}: {mended:?}");
    }
}

/// Matroska counts in milliseconds.
#[test]
fn a_crossfade_has_its_frames_at_every_rate() {
    if !has_ffmpeg() {
        return;
    }
    let (folder, clip) = copied("pan_no_loop.mp4");
    for rate in ["16", "24000/1001", "24", "60"] {
        let other = folder.path().join(format!("{}.mkv", rate.replace('/', "-")));
        let (clip, name) = (clip.to_str().unwrap(), other.to_str().unwrap());
        ffmpeg(&["-i", clip, "-vf", &format!("setpts=N/({rate})/TB"), "-r", rate, "-c:v", "libx264", name]);
        let copy = repair(&other, Repair::Crossfade(6), &known(&other), &Limits::default()).unwrap();
        assert_eq!(known(&copy).frames, 27, "{rate}");
    }
}

#[test]
fn codec_pixels_and_comfyuis_prompt_are_kept() {
    if !has_ffmpeg() {
        return;
    }
    let (folder, _) = copied("loop_tail_4.mp4");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let prompt = r#"prompt={"3":{"class_type":"KSampler","inputs":{"seed":7}}}"#;
    let source = media("hevc.mp4");
    let tagged = path("tagged.mp4");
    let tags = ["-metadata", prompt, "-movflags", "use_metadata_tags", "-c", "copy"];
    ffmpeg(&[&["-i", source.to_str().unwrap()][..], &tags, &[tagged.as_str()]].concat());
    let tagged = Path::new(&tagged);
    let how = Repair::Cut(Cut { drop_start: 0, drop_end: 1 });
    let copy = repair(tagged, how, &known(tagged), &Limits::default()).unwrap();
    let told = ffmpeg(&["-i", copy.to_str().unwrap(), "-f", "ffmetadata", "-"]);
    assert!(String::from_utf8_lossy(&told).contains("KSampler"), "{}", String::from_utf8_lossy(&told));
    let about = Command::new("ffmpeg").args(["-hide_banner", "-i"]).arg(&copy).output().unwrap();
    let about = String::from_utf8_lossy(&about.stderr).into_owned();
    assert!(about.contains("Video: hevc") && about.contains("yuv420p"), "{about}");
    assert_eq!(known(&copy).frames, 8);
}

/// A clip with a tone from 1.0 to 1.2 s and silence around it, in a folder of its own.
fn sounding(name: &str, ending: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join(format!("clip.{ending}"));
    let tone = "aevalsrc='if(between(t,1,1.2),sin(2*PI*440*t),0)':s=48000:d=3";
    let (source, to) = (media(name), clip.to_str().unwrap());
    let codecs: &[&str] = match ending {
        "webm" => &["-c:v", "libvpx-vp9", "-cpu-used", "8", "-c:a", "libopus"],
        _ => &["-c:v", "copy", "-c:a", "aac"],
    };
    let inputs = ["-i", source.to_str().unwrap(), "-f", "lavfi", "-i", tone, "-shortest"];
    ffmpeg(&[&inputs[..], codecs, &[to]].concat());
    (folder, clip)
}

/// When its tone begins and ends, and how long all of its sound is, seconds; none where it has no sound.
fn tone(clip: &Path) -> Option<(f64, f64, f64)> {
    let about = Command::new("ffmpeg").args(["-hide_banner", "-i"]).arg(clip).output().unwrap();
    if !String::from_utf8_lossy(&about.stderr).contains("Audio:") {
        return None;
    }
    let clip = clip.to_str().unwrap();
    let raw = ffmpeg(&["-i", clip, "-map", "0:a", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"]);
    let levels: Vec<i16> = raw.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect();
    let loud = |level: &i16| level.unsigned_abs() > 4000;
    let seconds = |samples: usize| f64::from(u32::try_from(samples).unwrap()) / 8000.0;
    let (first, last) = (levels.iter().position(loud).unwrap(), levels.iter().rposition(loud).unwrap());
    Some((seconds(first), seconds(last), seconds(levels.len())))
}

fn sounds_at(clip: &Path, expected: (f64, f64, f64)) {
    let (begins, ends, all) = tone(clip).unwrap();
    let near = |a: f64, b: f64, most: f64| (a - b).abs() < most;
    // What a codec blurs; and its last block is filled up.
    let is_near = near(begins, expected.0, 0.02) && near(ends, expected.1, 0.02) && near(all, expected.2, 0.04);
    assert!(is_near, "{begins} to {ends} of {all}, not {expected:?}");
}

#[test]
fn the_sound_is_cut_with_the_pictures() {
    if !has_ffmpeg() {
        return;
    }
    // 37 frames, 16 a second.
    for ending in ["mp4", "mkv", "mov", "webm"] {
        let (_folder, clip) = sounding("loop_tail_4.mp4", ending);
        let how = Repair::Cut(Cut { drop_start: 8, drop_end: 4 });
        let copy = repair::repair(&clip, how, &known(&clip), &Limits::default()).unwrap();
        assert_eq!((known(&copy.path).frames, copy.note), (25, None), "{ending}");
        // Matroska has sound late by what the encoder began with, in the source as well.
        let (begins, ends, _) = tone(&clip).unwrap();
        sounds_at(&copy.path, (begins - 0.5, ends - 0.5, 25.0 / 16.0));
        if ending != "webm" {
            assert_eq!(origins(&clip, &copy.path), (8..33).collect::<Vec<_>>(), "{ending}");
        }
    }
}

#[test]
fn the_sound_stays_where_the_time_does() {
    if !has_ffmpeg() {
        return;
    }
    let (_folder, clip) = sounding("loop_brighter_end.mp4", "mp4");
    let copy = repair::repair(&clip, Repair::Level, &known(&clip), &Limits::default()).unwrap();
    let mended = known(&copy.path);
    assert_eq!((mended.frames, mended.verdict, copy.note), (33, Some(Verdict::Loops), None), "{mended:?}");
    sounds_at(&copy.path, (1.0, 1.2, 33.0 / 16.0));

    let (_folder, clip) = sounding("loop_doubled_last.mp4", "mp4");
    let before = known(&clip);
    let copy = repair::repair(&clip, Repair::DropDoubled, &before, &Limits::default()).unwrap();
    assert_eq!((known(&copy.path).frames, copy.note), (before.frames - 1, None));
    sounds_at(&copy.path, (1.0, 1.2, 33.0 / 16.0));
}

#[test]
fn sound_that_cannot_go_along_is_dropped_with_a_word() {
    if !has_ffmpeg() {
        return;
    }
    let (_folder, clip) = sounding("pan_no_loop.mp4", "mp4");
    for (how, word) in [(Repair::Boomerang, "there and back"), (Repair::Crossfade(6), "into one another")] {
        let copy = repair::repair(&clip, how, &known(&clip), &Limits::default()).unwrap();
        assert_eq!(tone(&copy.path), None);
        let note = copy.note.unwrap();
        assert!(note.starts_with("without the clip's sound") && note.contains(word), "{note}");
    }
    let (_folder, clip) = sounding("boomerang_naive.mp4", "mp4");
    let copy = repair::repair(&clip, Repair::DropDoubled, &known(&clip), &Limits::default()).unwrap();
    assert!(tone(&copy.path).is_none() && copy.note.unwrap().contains("frames inside it are left out"));
    // The verb says it, in words and in JSON.
    let (mut table, mut json) = (Vec::new(), Vec::new());
    comfytop::tools::repair::run(&clip, Some(Repair::Boomerang), &Options::default(), &mut table).unwrap();
    let as_json = Options { json: true, ..Options::default() };
    comfytop::tools::repair::run(&clip, Some(Repair::Boomerang), &as_json, &mut json).unwrap();
    assert!(String::from_utf8(table).unwrap().contains("without the clip's sound"));
    let copy = String::from_utf8(json).unwrap();
    let copy: serde_json::Value = serde_json::from_str(copy.lines().last().unwrap()).unwrap();
    assert!(copy["note"].as_str().unwrap().contains("without the clip's sound"), "{copy}");
}

/// Frames that come when they like: the sound follows them, not their mean rate.
#[test]
fn the_sound_of_an_uneven_clip_is_cut_by_its_own_times() {
    if !has_ffmpeg() {
        return;
    }
    let (folder, clip) = sounding("loop_tail_4.mp4", "mp4");
    let uneven = folder.path().join("uneven.mp4");
    let (clip, name) = (clip.to_str().unwrap(), uneven.to_str().unwrap());
    // The first ten frames take no longer than one, thereafter 16 a second.
    let times = "setpts='if(lt(N,10),N/160,(N-9)/16)/TB'";
    ffmpeg(&["-i", clip, "-vf", times, "-fps_mode", "passthrough", "-c:v", "libx264", "-c:a", "copy", name]);
    let how = Repair::Cut(Cut { drop_start: 13, drop_end: 4 });
    let copy = repair(&uneven, how, &known(&uneven), &Limits::default()).unwrap();
    sounds_at(&copy, (0.75, 0.95, 20.0 / 16.0));
}

/// A folder is in the way of the copy: nobody may write that name, not even root.
#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    if !has_ffmpeg() {
        return;
    }
    let (folder, clip) = copied("loop_tail_4.mp4");
    let hidden = format!(".a clip, of mine.cut.part{}.mp4", std::process::id());
    std::fs::create_dir(folder.path().join(&hidden)).unwrap();
    let cut = Repair::Cut(Cut { drop_start: 0, drop_end: 4 });
    let words = repair(&clip, cut, &known(&clip), &Limits::default()).unwrap_err().to_string();
    let told = format!("the folder {} can't be written to (", folder.path().display());
    assert!(words.contains(&told) && words.contains("in a folder of your own"), "{words}");
    assert!(!words.contains("decode") && !words.contains(".part"), "{words}");
}

#[test]
fn what_cannot_be_done_is_told() {
    let clip = media("loop_perfect.mp4");
    let alone = Limits { ffmpeg: Some("no-such-folder/no-such-ffmpeg".into()), ..Limits::default() };
    let cut = Repair::Cut(Cut { drop_start: 0, drop_end: 1 });
    let error = repair(&clip, cut, &known(&clip), &alone).unwrap_err();
    assert!(matches!(error, RepairError::NoFfmpeg) && error.to_string().contains("apt install ffmpeg"), "{error}");
    let all = Repair::Cut(Cut { drop_start: 0, drop_end: 33 });
    assert!(matches!(repair(&clip, all, &known(&clip), &alone), Err(RepairError::Impossible(_))));
    let mut out = Vec::new();
    let told = comfytop::tools::repair::run(&clip, None, &Options::default(), &mut out).unwrap_err();
    assert!(told.to_string().starts_with("its verdict is `loops`, which advises nothing"), "{told}");
}
