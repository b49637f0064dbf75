//! How long each frame of a mended copy is shown, and how often it plays: read from the bytes, not by the program.

use super::*;

const FRAMES: usize = 25;

/// Milliseconds: ten short frames, long ones, and a last one that is longer still.
fn uneven() -> Vec<u32> {
    [vec![40; 10], vec![100; FRAMES - 11], vec![250]].concat()
}

/// Where each frame's duration stands in an animated image.
fn places(bytes: &[u8]) -> Vec<usize> {
    let (mark, offset): (&[u8], _) = match bytes {
        [b'G', ..] => (&[0x21, 0xf9, 4], 4),
        [b'R', ..] => (b"ANMF", 20),
        _ => (b"fcTL", 24),
    };
    // A graphic control block of a GIF ends with a 0, and its picture follows.
    let is_one = |at: &usize| bytes[0] != b'G' || bytes[at + 7..at + 9] == [0, 0x2c];
    let marks = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark).map(|(at, _)| at);
    marks.filter(is_one).map(|at| at + offset).collect()
}

fn milliseconds(path: &Path) -> Vec<u32> {
    let bytes = std::fs::read(path).unwrap();
    let number = |at: usize, high: usize, low: usize| u32::from(bytes[at + high]) << 8 | u32::from(bytes[at + low]);
    let of = |at: usize| match bytes[0] {
        b'G' => number(at, 1, 0) * 10,
        b'R' => number(at, 1, 0) + (u32::from(bytes[at + 2]) << 16),
        _ => number(at, 0, 1) * 1000 / number(at, 2, 3).max(1),
    };
    places(&bytes).into_iter().map(of).collect()
}

/// As the file has it; none where nothing is said.
fn loops(path: &Path) -> Option<u16> {
    let bytes = std::fs::read(path).unwrap();
    let behind = |mark: &[u8], more: usize| {
        let at = bytes.windows(mark.len()).position(|window| window == mark)? + mark.len() + more;
        Some([bytes[at], bytes[at + 1]])
    };
    match bytes[0] {
        b'G' => behind(b"NETSCAPE2.0\x03\x01", 0).map(u16::from_le_bytes),
        b'R' => behind(b"ANIM", 8).map(u16::from_le_bytes),
        _ => behind(b"acTL", 6).map(u16::from_be_bytes),
    }
}

/// An animated image that plays three times (a GIF: thrice more), its frames shown for so long.
fn animated(folder: &Path, ending: &str, milliseconds: &[u32], more: &[&str]) -> PathBuf {
    let path = folder.join(format!("clip.{ending}"));
    let frames = milliseconds.len().to_string();
    let mut arguments = vec!["-y", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25", "-frames:v", &frames];
    arguments.extend(match ending {
        "png" => ["-f", "apng", "-plays", "3"],
        "webp" => ["-c:v", "libwebp_anim", "-loop", "3"],
        _ => ["-f", "gif", "-loop", "3"],
    });
    arguments.extend(more);
    arguments.push(path.to_str().unwrap());
    ffmpeg(&arguments);
    let mut bytes = std::fs::read(&path).unwrap();
    let places = places(&bytes);
    assert_eq!(places.len(), milliseconds.len());
    for (at, time) in places.into_iter().zip(milliseconds) {
        let time16 = u16::try_from(*time).unwrap();
        match bytes[0] {
            b'G' => bytes[at..at + 2].copy_from_slice(&(time16 / 10).to_le_bytes()),
            b'R' => bytes[at..at + 2].copy_from_slice(&time16.to_le_bytes()),
            _ => {
                bytes[at..at + 2].copy_from_slice(&time16.to_be_bytes());
                bytes[at + 2..at + 4].copy_from_slice(&1000_u16.to_be_bytes());
                // With its checksum.
                let whole = chunk(*b"fcTL", &bytes[at - 20..at + 6]);
                bytes[at - 28..at + 10].copy_from_slice(&whole);
            }
        }
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

fn all_formats() -> Vec<&'static str> {
    ["gif", "png", "webp"].into_iter().filter(|ending| *ending != "webp" || has_webp()).collect()
}

#[test]
fn each_frame_of_an_animated_image_keeps_its_own_time() {
    if !has_ffmpeg() {
        return;
    }
    for ending in all_formats() {
        let folder = tempfile::tempdir().unwrap();
        let clip = animated(folder.path(), ending, &uneven(), &[]);
        assert_eq!((milliseconds(&clip), loops(&clip)), (uneven(), Some(3)), "{ending}");
        let mut known = known(&clip);
        known.doubled_frames = Some(vec![25]);
        let copy = |how| repair(&clip, how, &known, &Limits::default()).unwrap();
        let cut = copy(Repair::Cut(Cut { drop_start: 2, drop_end: 3 }));
        assert_eq!((milliseconds(&cut), loops(&cut)), (uneven()[2..22].to_vec(), Some(3)), "{ending}");
        let start = copy(Repair::Cut(Cut { drop_start: 12, drop_end: 0 }));
        assert_eq!(milliseconds(&start), uneven()[12..], "{ending}: the last one, too");
        let levelled = copy(Repair::Level);
        assert_eq!((milliseconds(&levelled), loops(&levelled)), (uneven(), Some(3)), "{ending}");
        let undoubled = copy(Repair::DropDoubled);
        assert_eq!((milliseconds(&undoubled), loops(&undoubled)), (uneven()[..24].to_vec(), Some(3)), "{ending}");
    }
}

#[test]
fn an_animated_image_of_another_order_keeps_its_mean_speed() {
    if !has_ffmpeg() {
        return;
    }
    for ending in all_formats() {
        let folder = tempfile::tempdir().unwrap();
        let clip = animated(folder.path(), ending, &uneven(), &[]);
        let mut known = known(&clip);
        known.doubled_frames = Some(vec![12]);
        for how in [Repair::Boomerang, Repair::Crossfade(4), Repair::DropDoubled] {
            let copy = repair(&clip, how, &known, &Limits::default()).unwrap();
            let (times, source) = (milliseconds(&copy), uneven());
            let frames = u32::try_from(times.len()).unwrap();
            let expected = source.iter().sum::<u32>() * frames / 25;
            assert_eq!(u64::from(frames), how.frames(&known).unwrap());
            assert!(times.iter().sum::<u32>().abs_diff(expected) <= 10, "{ending}, {how:?}: {times:?}");
            let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
            assert!(most - least <= 10 && loops(&copy) == Some(3), "{ending}, {how:?}: {times:?}");
        }
    }
}

/// A GIF that does not say how often it plays does so once.
#[test]
fn a_gif_that_plays_once_still_does() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = animated(folder.path(), "gif", &[70; 12], &["-loop", "-1"]);
    assert_eq!(loops(&clip), None);
    let copy = repair(&clip, Repair::Boomerang, &known(&clip), &Limits::default()).unwrap();
    assert_eq!((milliseconds(&copy), loops(&copy)), (vec![70; 22], None));
}

/// Milliseconds of a whole mp4, by its header.
fn length(path: &Path) -> u32 {
    let bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(4).position(|kind| kind == b"mvhd").unwrap() + 16;
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(number(at), 1000);
    number(at + 4)
}

/// When each frame of a clip is shown, in milliseconds.
fn shown(path: &Path) -> Vec<u32> {
    let path = path.to_str().unwrap();
    let told = ffmpeg(&[
        "-i",
        path,
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1/1000",
        "-f",
        "framecrc",
        "-",
    ]);
    let told = String::from_utf8(told).unwrap();
    let lines = told.lines().filter_map(|line| line.strip_prefix("0,"));
    lines.map(|line| line.split(',').nth(1).unwrap().trim().parse().unwrap()).collect()
}

/// A clip of 10 frames of 40 ms and 15 of 100.
fn uneven_clip(folder: &Path) -> PathBuf {
    let path = folder.join("clip.mp4");
    let times = "settb=1/1000,setpts='if(lt(N,10),N*40,400+(N-10)*100)'";
    let source = "testsrc2=size=96x64:rate=25:duration=1";
    let made =
        ["-y", "-f", "lavfi", "-i", source, "-vf", times, "-fps_mode", "passthrough", "-enc_time_base", "1/90000"];
    ffmpeg(&[&made[..], &[path.to_str().unwrap()]].concat());
    path
}

#[test]
fn a_clip_of_frames_that_come_unevenly_keeps_their_times_or_its_mean_speed() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clip = uneven_clip(folder.path());
    let (known, source) = (known(&clip), shown(&clip));
    assert_eq!((source.len(), source[9..12].to_vec()), (25, vec![360, 400, 500]));
    let copy = |how| repair(&clip, how, &known, &Limits::default()).unwrap();
    let cut = copy(Repair::Cut(Cut { drop_start: 2, drop_end: 3 }));
    let expected: Vec<_> = source[2..22].iter().map(|time| time - source[2]).collect();
    assert_eq!((shown(&cut), length(&cut)), (expected, source[22] - source[2]));
    let levelled = copy(Repair::Level);
    assert_eq!((shown(&levelled), length(&levelled)), (source.clone(), 1900), "the last one as long as the one before");
    let back = copy(Repair::Boomerang);
    assert_eq!(length(&back), 48 * 75);
    let back = shown(&back);
    assert!(back.len() == 48 && back.iter().zip(0..).all(|(at, n)| at.abs_diff(n * 75) <= 1), "{back:?}");
}

/// A `WebM` does not say its mean rate.
#[test]
fn a_clip_that_does_not_say_its_mean_rate_keeps_it() {
    if !has_ffmpeg() || !String::from_utf8(ffmpeg(&["-encoders"])).unwrap().contains("libvpx-vp9") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (uneven, clip) = (uneven_clip(folder.path()), folder.path().join("clip.webm"));
    let vp9 = ["-fps_mode", "passthrough", "-enc_time_base", "1/1000", "-c:v", "libvpx-vp9", "-cpu-used", "8"];
    ffmpeg(&[&["-i", uneven.to_str().unwrap()], &vp9[..], &[clip.to_str().unwrap()]].concat());
    let known = known(&clip);
    let back = shown(&repair(&clip, Repair::Boomerang, &known, &Limits::default()).unwrap());
    assert!(back.len() == 48 && back[47].abs_diff(47 * 75) <= 2, "{back:?}");
}
