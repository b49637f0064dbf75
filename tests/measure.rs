//! The clips of `tests/media/` against their known truth, and files that nobody means well.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "what is left out is told")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use comfytop::tools::measure::Options;
use comfytop::verdict::{Measurement, Rgb, Thresholds};
use comfytop::video::{Limits, VideoError, examine, last_and_first, measure, play};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What only ffmpeg decodes, and what stands in its place where there is none.
const FOREIGN: [(&str, &str); 6] = [
    ("h264_10bit.mp4", "n/a (needs ffmpeg: h264 10-bit)"),
    ("h264_444.mp4", "n/a (needs ffmpeg: h264 4:4:4 8-bit)"),
    ("h264_constrained_intra.mp4", "n/a (needs ffmpeg: h264 with constrained intra prediction)"),
    ("hevc.mp4", "n/a (needs ffmpeg: hevc)"),
    ("vp9.webm", "n/a (needs ffmpeg: vp9)"),
    ("av1.webm", "n/a (needs ffmpeg: av1)"),
];

/// Clips that the shared truth does not have: frames, and SSIM by ffmpeg 5.1, for WebP (which
/// that one can't read) by Pillow's frames and the same formula.
const MORE: [(&str, u64, f64); 6] = [
    ("h264_constrained_intra.mp4", 9, 0.444_617),
    ("h264_intra_refresh.mp4", 25, 0.399_215),
    ("h264_open_gop_frag.mp4", 25, 0.386_142),
    ("webp_lossless.webp", 9, 0.572_554),
    ("webp_lossy.webp", 9, 0.564_693),
    ("webp_alpha.webp", 9, 0.563_445),
];

fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)
}

fn truth() -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(media("truth.json")).unwrap();
    let truth: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let more = MORE.map(|(name, frames, ssim)| (name.to_owned(), json!({"frames": frames, "ssim_first_last": ssim})));
    truth.into_iter().chain(more).collect()
}

/// Limits under which no ffmpeg is found.
fn alone() -> Limits {
    Limits { ffmpeg: Some(PathBuf::from("no-such-folder/no-such-ffmpeg")), ..Limits::default() }
}

fn is_foreign(name: &str) -> bool {
    FOREIGN.iter().any(|(foreign, _)| *foreign == name)
}

/// The live ffmpeg, if there is one. In CI there must be.
fn live_ffmpeg() -> Option<Limits> {
    let named = std::env::var_os("COMFYTOP_FFMPEG").unwrap_or_else(|| "ffmpeg".into());
    let found = Command::new(&named).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(Limits { ffmpeg: Some(named.into()), ..Limits::default() });
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must have ffmpeg installed");
    println!("no ffmpeg here: what needs one is not compared");
    None
}

fn check(name: &str, truth: &Value, measured: &Result<Measurement, VideoError>, tolerance: f64) {
    let Some(expected) = truth["ssim_first_last"].as_f64() else {
        assert!(measured.is_err(), "{name}: {measured:?}");
        return;
    };
    let measured = measured.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
    let ssim = measured.ssim.unwrap_or_else(|| panic!("{name}: {measured:?}"));
    println!("{name:24} {ssim:.6} (expected {expected:.6})");
    assert!((ssim - expected).abs() <= tolerance, "{name}: {ssim} is not {expected}");
    assert_eq!(Some(measured.frames), truth["frames"].as_u64(), "{name}");
    assert!(measured.width >= 8 && measured.height >= 8, "{name}: {measured:?}");
}

#[test]
fn what_is_decoded_here_equals_the_truth() {
    for (name, truth) in truth().iter().filter(|(name, _)| !is_foreign(name)) {
        // H.264 to the last printed digit of ffmpeg; APNG's blending differs by one in it.
        check(name, truth, &measure(&media(name), &alone()), 1.5e-6);
    }
}

/// Every frame decoded gives the same number as the two ends alone.
#[test]
fn the_whole_and_its_ends_agree() {
    for (name, truth) in truth().iter().filter(|(name, _)| !is_foreign(name)) {
        let whole = examine(&media(name), &alone(), &Thresholds::default()).map(|(known, _)| known);
        check(name, truth, &whole, 1.5e-6);
        if let (Ok(whole), Ok(ends)) = (whole, measure(&media(name), &alone())) {
            assert_eq!((whole.ssim, whole.fps, whole.note), (ends.ssim, ends.fps, ends.note), "{name}");
        }
    }
}

#[test]
fn what_is_not_says_what_it_needs() {
    for (name, words) in FOREIGN {
        let error = measure(&media(name), &alone()).unwrap_err();
        assert_eq!(error.to_string(), words, "{name}");
        assert_eq!(last_and_first(&media(name), &alone()).unwrap_err().to_string(), words, "{name}");
        assert_eq!(examine(&media(name), &alone(), &Thresholds::default()).unwrap_err().to_string(), words, "{name}");
    }
}

#[test]
fn with_ffmpeg_the_rest_equals_the_truth_too() {
    let Some(limits) = live_ffmpeg() else {
        return;
    };
    for (name, truth) in truth().iter().filter(|(name, _)| is_foreign(name)) {
        let measured = measure(&media(name), &limits);
        check(name, truth, &measured, 1e-3);
        assert!(measured.unwrap().fps.is_some(), "{name}");
        let examined = examine(&media(name), &limits, &Thresholds::default());
        check(name, truth, &examined.map(|(known, _)| known), 1.5e-6);
        let (last, first) = last_and_first(&media(name), &limits).unwrap();
        assert_eq!((last.width(), last.height()), (first.width(), first.height()), "{name}");
        assert_ne!(last, first, "{name}");
    }
}

#[test]
fn the_rest_of_a_measurement() {
    let of = |name: &str| measure(&media(name), &alone()).unwrap();
    let clip = of("loop_perfect.mp4");
    assert_eq!((clip.fps, clip.note), (Some(16.0), None));
    let one = of("one_frame.mp4");
    assert_eq!((one.frames, one.ssim, one.fps), (1, Some(1.0), None));
    assert_eq!(one.note.as_deref(), Some("single frame"));
    let (last, first) = last_and_first(&media("one_frame.mp4"), &alone()).unwrap();
    assert_eq!(last, first);
}

#[test]
fn bad_files_are_told_in_words() {
    let words = |name: &str| measure(&media(name), &Limits::default()).unwrap_err().to_string();
    assert!(words("truncated.mp4").starts_with("cut off, or still being written: "), "{}", words("truncated.mp4"));
    assert!(words("not_a_video.mp4").starts_with("neither a video nor an image"), "{}", words("not_a_video.mp4"));
    assert!(words("no_such_file.mp4").starts_with("can't be read: "), "{}", words("no_such_file.mp4"));
    assert!(words("").starts_with("not a file"), "{}", words(""));
    assert!(words("audio_only.mp4").starts_with("no video in it"), "{}", words("audio_only.mp4"));
    assert_eq!(refused(b""), "the file is empty");
    assert!(refused(b"RIFF\x24\0\0\0WAVEfmt ").starts_with("no video in it"));
}

/// The R, then the G, then the B plane of one frame.
fn digest(frame: &Rgb) -> String {
    let digest = frame.planes().iter().fold(Sha256::new(), Digest::chain_update).finalize();
    digest.iter().take(8).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[test]
fn golden_frames() {
    let frames = |name: &str| {
        let (last, first) = last_and_first(&media(name), &alone()).unwrap();
        [digest(&first), digest(&last)]
    };
    for (name, expected) in GOLDEN {
        assert_eq!(frames(name), expected, "{name}");
    }
}

/// Made with ffmpeg 5.1 on x86-64: `ffmpeg -i CLIP -f rawvideo -pix_fmt rgb24 -`, the first and
/// the last frame, split into planes, first 8 bytes of SHA-256.
/// (The WebP ones with Pillow 13, that is libwebp.)
const GOLDEN: [(&str, [&str; 2]); 8] = [
    ("h264_bpyramid.mp4", ["709f85fe21cc0fcf", "65099c5a58fe9413"]),
    ("vfr_bt709.mp4", ["cae3da2b8fd04ee2", "3b1a697090fc3600"]),
    ("h264_baseline.mp4", ["0993fa483bc07608", "372b7fc248229342"]),
    ("edit_list.mp4", ["02018370afa5ef1c", "39c98a7b045fda1c"]),
    ("anim.gif", ["1c50644d878da76e", "991e9ea9e10ad4cc"]),
    ("webp_lossless.webp", ["2c6f035c66c44c4a", "616749725b28acfd"]),
    ("webp_lossy.webp", ["0bd0828afbf8e029", "ba61fb7fc55ef360"]),
    ("webp_alpha.webp", ["038b3ae86e76e649", "bd01a91cc1a76372"]),
];

/// The R, then the G, then the B plane of every frame, in the order of showing.
#[test]
fn every_frame_is_ffmpegs() {
    for (name, count, expected) in ALL_FRAMES {
        let (mut digest, mut frames) = (Sha256::new(), 0);
        play(&media(name), &alone(), &mut |frame| {
            frames += 1;
            frame.planes().iter().for_each(|plane| digest.update(plane));
        })
        .unwrap();
        let digest = digest.finalize().iter().take(8).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!((frames, digest.as_str()), (count, expected), "{name}");
    }
}

/// Made as those above, of all frames one after another.
const ALL_FRAMES: [(&str, usize, &str); 11] = [
    ("h264_bpyramid.mp4", 17, "e38fb1d66aa6ec8a"),
    ("h264_crf30_bf3.mp4", 17, "379311716a9a0f03"),
    ("h264_gop8.mp4", 17, "7260c6f442f3fb50"),
    ("h264_intra.mp4", 17, "38ac3dba02c53729"),
    ("h264_baseline.mp4", 17, "be2510bd7c7d21f9"),
    ("vfr_bt709.mp4", 8, "6afd0761fee95eec"),
    ("edit_list.mp4", 12, "be024cc34b077691"),
    ("fragmented.mp4", 17, "7260c6f442f3fb50"),
    ("h264_open_gop_frag.mp4", 25, "0f5b643f54758ab3"),
    ("h264_intra_refresh.mp4", 25, "4b1452848fe4f7b9"),
    ("anim.gif", 9, "237be0ad223d8bbb"),
];

/// Measures bytes as a file; the words where there is no number.
fn refused(bytes: &[u8]) -> String {
    let measured = measured(bytes, &alone());
    measured.map_or_else(|error| error.to_string(), |known| known.note.unwrap_or_default())
}

fn measured(bytes: &[u8], limits: &Limits) -> Result<Measurement, VideoError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    measure(file.path(), limits)
}

fn boxed(name: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    bytes.extend(name);
    bytes.extend(body);
    bytes
}

#[test]
fn four_billion_samples_in_a_hundred_bytes_are_refused() {
    let stsz = boxed(*b"stsz", &[&[0; 4], &1_u32.to_be_bytes(), &u32::MAX.to_be_bytes()]);
    let nested =
        [b"stbl", b"minf", b"mdia", b"trak", b"moov"].iter().fold(stsz, |inner, name| boxed(**name, &[&inner]));
    let file = [boxed(*b"ftyp", &[b"isom\0\0\0\0"]), nested].concat();
    assert!(refused(&file).starts_with("too large to measure"), "{}", refused(&file));
    let trun = boxed(*b"trun", &[&[0; 4], &u32::MAX.to_be_bytes()]);
    let moof = boxed(*b"moof", &[&boxed(*b"traf", &[&trun])]);
    let file = [boxed(*b"ftyp", &[b"isom\0\0\0\0"]), boxed(*b"moov", &[]), moof].concat();
    assert!(refused(&file).starts_with("too large to measure"), "{}", refused(&file));
}

#[test]
fn images_that_claim_more_than_they_hold_are_refused_before_memory_is_taken() {
    let gif = b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x01\0;";
    assert!(refused(gif).starts_with("too large to measure"), "{}", refused(gif));
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xff\xff\0\0\xff\xff\x08\x06\0\0\0".to_vec();
    png.extend(crc32(&png[12..29]).to_be_bytes());
    png.extend(b"\0\0\0\x00IDAT");
    png.extend(crc32(b"IDAT").to_be_bytes());
    assert!(refused(&png).starts_with("too large to measure"), "{}", refused(&png));
    let vp8x = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\xff";
    assert!(refused(vp8x).starts_with("too large to measure"), "{}", refused(vp8x));
    let small = Limits { pixels: 100, ..alone() };
    for name in ["h264_gop8.mp4", "anim.gif", "anim.apng"] {
        let error = measure(&media(name), &small).unwrap_err();
        assert!(matches!(error, VideoError::TooLarge(_)), "{name}: {error}");
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn no_time_left_is_an_answer() {
    let limits = Limits { time: Duration::ZERO, ..alone() };
    for name in ["h264_gop8.mp4", "anim.gif"] {
        let error = measure(&media(name), &limits).unwrap_err();
        assert!(matches!(error, VideoError::TimedOut(_)), "{name}: {error}");
    }
    let bytes = Limits { bytes: 100, ..alone() };
    assert!(matches!(measure(&media("h264_gop8.mp4"), &bytes), Err(VideoError::TooLarge(_))));
}

/// A stand-in for ffmpeg that does what it is told to.
#[cfg(unix)]
fn stand_in(folder: &Path, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("ffmpeg");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[cfg(unix)]
#[test]
fn an_ffmpeg_that_hangs_floods_or_fails_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let with = |script: &str, limits: Limits| {
        let limits = Limits { ffmpeg: Some(stand_in(folder.path(), script)), ..limits };
        measure(&media("hevc.mp4"), &limits)
    };
    let short = || Limits { time: Duration::from_millis(300), ..Limits::default() };
    assert!(matches!(with("exec sleep 600", short()), Err(VideoError::TimedOut(_))));
    assert!(matches!(with("exec >&- 2>&-; exec sleep 600", short()), Err(VideoError::TimedOut(_))));
    let few = Limits { frames: 100, ..Limits::default() };
    assert!(matches!(with("exec yes 'n:1 All:0.5 (1)'", few), Err(VideoError::TooLarge(_))));
    let failed = with("echo 'Invalid \x1b[2J data' >&2; exit 1", Limits::default()).unwrap_err();
    assert_eq!(failed.to_string(), "ffmpeg can't decode it: Invalid [2J data");
    assert!(matches!(with("exit 0", Limits::default()), Err(VideoError::NoFrames)));
    let fine = with("echo 'n:1 All:1.0 (inf)'; echo 'n:2 All:0.25 (1)'", Limits::default()).unwrap();
    assert_eq!((fine.frames, fine.ssim), (2, Some(0.25)));
}

#[test]
fn the_verb_writes_a_line_a_file() {
    let files = ["one_frame.mp4", "two_frames.mp4"].map(media);
    let mut out = Vec::new();
    let json = Options { json: true, curves: true, ..Options::default() };
    assert!(comfytop::tools::measure::run(&files, &json, &mut out).unwrap());
    let lines: Vec<Value> =
        out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((lines[0]["ssim"].as_f64(), lines[0]["note"].as_str()), (Some(1.0), Some("single frame")));
    assert_eq!((lines[1]["ssim"].as_f64(), &lines[1]["note"]), (Some(0.614_121), &Value::Null));
    assert_eq!((&lines[1]["ssim_vs_first"], &lines[1]["verdict"]), (&json!([1.0, 0.614_121]), &json!("n/a")));
    let files = ["two_frames.mp4", "truncated.mp4"].map(media);
    let mut out = Vec::new();
    assert!(!comfytop::tools::measure::run(&files, &Options::default(), &mut out).unwrap());
    let table = String::from_utf8(out).unwrap();
    assert!(table.contains("0.614121") && table.contains("cut off"), "{table}");
}

/// Small ones of each kind, so that many mutations take little time.
const SEEDS: [&str; 6] = [
    "two_frames.mp4",
    "h264_bpyramid.mp4",
    "edit_list.mp4",
    "h264_open_gop_frag.mp4",
    "webp_alpha.webp",
    "webp_lossless.webp",
];

const MAGICS: [&[u8]; 4] =
    [b"\0\0\0\x10ftypisom\0\0\0\0", b"\x89PNG\r\n\x1a\n", b"GIF89a\x10\0\x10\0", b"RIFF\xff\0\0\0WEBP"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was changed in a clip, the answer is a number or words.
    #[test]
    fn mutated_clips_never_panic(
        seed in proptest::sample::select(&SEEDS[..]),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..12),
        keep in proptest::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(media(seed)).unwrap();
        // The boxes at the beginning or the end, where most can go wrong, half of the time.
        let index = bytes.windows(4).position(|name| name == b"moov").unwrap_or(0);
        for (place, value, in_index) in changes {
            let from = if in_index { index } else { 0 };
            let at = from + place.index(bytes.len() - from);
            bytes[at] = value;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        let limits = Limits { time: Duration::from_secs(20), ..alone() };
        if let Err(error) = measured(&bytes, &limits) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn random_bytes_behind_a_known_beginning_never_panic(
        magic in proptest::sample::select(&MAGICS[..]),
        bytes in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let outcome = measured(&[magic, &bytes].concat(), &alone());
        prop_assert!(outcome.map_or(true, |known| known.frames > 0));
    }
}
