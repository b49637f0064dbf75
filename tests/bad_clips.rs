//! Clips that nobody means well: the real program looks at each as the engine has it do, in a process that limits
//! itself. There is always an answer in words, within the memory that is allowed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "what is left out is told")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use comfytop::verdict::{Curves, Measurement, Thresholds, Verdict};
use comfytop::video::apart;

type Answer = Result<(Measurement, Curves), String>;

/// What any process of comfytop may take at most.
const MOST_KIB: u64 = 256 << 10;

fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)
}

fn look(path: &Path) -> Answer {
    apart::examine(program(), path, Duration::from_mins(5), &Thresholds::default())
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_comfytop"))
}

/// The answer, and the most memory that the process ever had, KiB (0 where the system doesn't tell).
fn look_and_weigh(path: &Path) -> (Answer, u64) {
    let order = apart::Order { seconds: 300, errand: apart::Errand::Look(Thresholds::default()) };
    let mut child = Command::new(program())
        .args([apart::VERB, &serde_json::to_string(&order).unwrap(), "--"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let stdout = child.stdout.take().unwrap();
    let line = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
    while child.try_wait().unwrap().is_none() {
        let told = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = told.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        most = peak.and_then(|kib| kib.parse().ok()).unwrap_or(0).max(most);
        std::thread::sleep(Duration::from_millis(1));
    }
    let line = line.join().unwrap();
    (serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", path.display())), most)
}

#[track_caller]
fn refused(path: &Path, words: &str) {
    let (answer, memory) = look_and_weigh(path);
    let why = answer.unwrap_err();
    assert!(why.contains(words), "{}: {why}", path.display());
    assert!(memory <= MOST_KIB, "{}: {memory} KiB", path.display());
}

fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn files_that_are_no_clips() {
    let folder = tempfile::tempdir().unwrap();
    refused(&media("not_a_video.mp4"), "neither a video nor an image");
    refused(&media("truncated.mp4"), "cut off, or still being written");
    refused(&media("audio_only.mp4"), "no video in it");
    refused(&file(&folder, "empty.mp4", b""), "the file is empty");
    refused(folder.path(), "not a file");
    refused(&folder.path().join("gone.mp4"), "can't be read");
    // Still being written: every beginning of a clip.
    let whole = std::fs::read(media("h264_gop8.mp4")).unwrap();
    for share in [1, 3, 6, 9] {
        let part = file(&folder, "growing.mp4", &whole[..whole.len() * share / 10]);
        refused(&part, "cut off, or still being written");
    }
}

#[test]
fn clips_of_few_frames_have_no_verdict() {
    let of = |name: &str| look(&media(name)).unwrap().0;
    let (one, two) = (of("one_frame.mp4"), of("two_frames.mp4"));
    assert_eq!((one.frames, one.verdict, one.note.as_deref()), (1, None, Some("single frame")));
    assert_eq!((two.frames, two.verdict), (2, Some(Verdict::Unknown)));
    assert_eq!(of("loop_perfect.mp4").verdict, Some(Verdict::Loops));
}

#[test]
fn images_that_unfold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    // 64k x 64k pixels of which every row is the same: 12 GB in a few bytes.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0".to_vec();
    png.extend(crc32(&png[12..29]).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT");
    png.extend(crc32(b"IDAT").to_be_bytes());
    refused(&file(&folder, "bomb.png", &png), "too large to measure");
    refused(
        &file(&folder, "bomb.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x01\0;"),
        "too large",
    );
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// Made by ffmpeg; none where there is no ffmpeg, or this one can't.
fn made(folder: &tempfile::TempDir, name: &str, source: &str, arguments: &str) -> Option<PathBuf> {
    let path = folder.path().join(name);
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", source])
        .args(arguments.split(' '))
        .arg(&path)
        .stdin(Stdio::null())
        .status();
    let well = done.is_ok_and(|status| status.success());
    if !well {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have ffmpeg installed");
        println!("{name}: no ffmpeg that can make it");
    }
    well.then_some(path)
}

#[test]
fn every_codec_is_a_number_or_words() {
    let folder = tempfile::tempdir().unwrap();
    let moving = "testsrc=s=64x64:d=1:r=12";
    let clips = [
        ("ten.mp4", "-c:v libx264 -pix_fmt yuv420p10le"),
        ("full.mp4", "-c:v libx264 -pix_fmt yuv444p"),
        ("hevc.mp4", "-c:v libx265 -x265-params log-level=error"),
        ("prores.mov", "-c:v prores_ks"),
        ("ffv1.mkv", "-c:v ffv1"),
        ("mjpeg.avi", "-c:v mjpeg"),
    ];
    for (name, arguments) in clips {
        let Some(path) = made(&folder, name, moving, arguments) else { continue };
        let (answer, memory) = look_and_weigh(&path);
        let (known, curves) = answer.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((known.frames, curves.ssim_first.len(), curves.ssim_before.len()), (12, 12, 11), "{name}");
        assert!(known.ssim.is_some() && known.verdict.is_some() && memory <= MOST_KIB, "{name}: {memory} {known:?}");
    }
}

#[test]
fn tiny_huge_and_endless_clips() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(path) = made(&folder, "dot.mkv", "color=s=16x16:d=1:r=12,format=bgr0,crop=1:1:0:0", "-c:v ffv1") {
        let known = look(&path).unwrap().0;
        assert_eq!((known.ssim, known.note.as_deref()), (None, Some("n/a (1x1 is smaller than 8x8)")));
    }
    if let Some(path) = made(&folder, "two.mp4", "color=s=2x2:d=1:r=12", "-c:v libx264 -pix_fmt yuv420p") {
        assert!(look(&path).unwrap().0.note.unwrap().contains("smaller than 8x8"));
    }
    if let Some(path) = made(&folder, "8k.mp4", "color=s=7680x4320:r=12", "-frames:v 3 -c:v libx264 -preset ultrafast")
    {
        refused(&path, "too large to measure");
    }
    // 4K: more than a whole clip may take here; two frames may.
    if let Some(path) = made(&folder, "4k.mp4", "color=s=3840x2160:r=12", "-frames:v 10 -c:v libx264 -preset ultrafast")
    {
        let (answer, memory) = look_and_weigh(&path);
        let (known, _) = answer.unwrap();
        assert!(known.ssim.is_some() && memory <= MOST_KIB, "{memory} {known:?}");
    }
    // What ffmpeg alone decodes has a limit of its own, and its size is told.
    for (name, codec) in [
        ("4k-hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error"),
        ("4k.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ("4k.mov", "-c:v prores_ks"),
    ] {
        if let Some(path) = made(&folder, name, "color=s=3840x2160:r=12", &format!("-frames:v 3 {codec}")) {
            refused(&path, "frames of 3840x2160: ffmpeg would take more than 256 MB for those above 2560x1600");
        }
    }
    let full = "-frames:v 3 -pix_fmt yuv444p10le -c:v libx265 -preset ultrafast -x265-params log-level=error";
    if let Some(path) = made(&folder, "full-colour.mp4", "color=s=2560x1600:r=12", full) {
        refused(&path, "frames of 2560x1600 in yuv444p10le: ffmpeg would take more than 256 MB for them");
    }
    let source = "color=s=16x16:r=100:d=1000";
    if let Some(path) = made(&folder, "endless.mp4", source, "-c:v libx264 -preset ultrafast -pix_fmt yuv420p") {
        let (answer, memory) = look_and_weigh(&path);
        assert!(memory <= MOST_KIB, "{memory} KiB");
        let (known, curves) = answer.unwrap();
        assert_eq!((known.frames, known.verdict), (100_000, Some(Verdict::Unknown)), "{known:?}");
        assert_eq!(curves, Curves::default());
    }
}

/// The engine may be killed at any time: nothing of it must go on for ever.
#[cfg(unix)]
#[test]
fn a_child_ends_when_nobody_is_there_any_more() {
    let folder = tempfile::tempdir().unwrap();
    // A stand-in for ffmpeg that hangs; the child waits for it.
    let script = folder.path().join("ffmpeg");
    std::fs::write(&script, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let order = apart::Order { seconds: 600, errand: apart::Errand::Look(Thresholds::default()) };
    let mut child = Command::new(program())
        .args([apart::VERB, &serde_json::to_string(&order).unwrap(), "--"])
        .arg(media("hevc.mp4"))
        .env("COMFYTOP_FFMPEG", &script)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}
