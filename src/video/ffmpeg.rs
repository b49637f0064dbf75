//! One ffmpeg process, for what is not decoded here.
//!
//! Never hands ffmpeg a file that isn't known to be media, never lets it open anything but that
//! file, never waits longer than the limits say, and never keeps more of its output than needed.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::about::{About, about};
use super::{Budget, Ends, Limits, VideoError};
use crate::verdict::{Curves, Measurement, Rgb, Thresholds, Watch};

/// Every frame against the first, as the PNGs of the usual recipe would give it: RGB in as many
/// bits as the source has, frames paired by number (not by time, which an edit list shifts).
const EVERY_FRAME_AGAINST_THE_FIRST: &str = "[0:v:0]format=rgb24|rgb48be,setpts=N,split[m][s];\
     [s]trim=end_frame=1[f];[m][f]ssim=stats_file=-:eof_action=repeat:repeatlast=1";
/// The same, told on stderr, and beside it the frames in 8 bits for us to look at.
const ALL_FRAMES: &str = "[0:v:0]split[a][b];[a]format=rgb24|rgb48be,setpts=N,split[m][s];\
     [s]trim=end_frame=1[f];[m][f]ssim=eof_action=repeat:repeatlast=1,\
     metadata=mode=print:key=lavfi.ssim.All:file='pipe\\:2'[told];[b]format=rgb24[seen]";
/// Kept of what ffmpeg says.
const STDERR_HEAD: u64 = 32 << 10;
const STDERR_TAIL: usize = 32 << 10;
const LINE_BYTES: u64 = 4096;
/// Pixels of a frame. A decoder of HEVC holds up to twenty pictures, of 3 bytes a pixel at 10 bits: more would be more than
/// 256 MB.
const MOST_PIXELS: u64 = 2560 * 1600;
/// Bytes of a frame, for the same reason: those of 2560x1600 with 10 bits, or of 1920x1080 with 10 bits and all of its colour.
const MOST_BYTES: u64 = 12_600_000;

/// SSIM(first, last) by ffmpeg, or `otherwise` where there is none.
pub(super) fn measure(path: &Path, budget: &Budget, otherwise: VideoError) -> Result<Measurement, VideoError> {
    refuse_large(path, budget)?;
    let limit = budget.limits.frames;
    let output: [&str; 8] =
        ["-an", "-filter_complex", EVERY_FRAME_AGAINST_THE_FIRST, "-fps_mode", "passthrough", "-f", "null", "-"];
    let Some(run) = run(path, &output, budget, move |stdout| read_stats(stdout, limit))? else {
        return Err(otherwise);
    };
    budget.frames(run.result.frames)?;
    run.check(run.result.frames)?;
    let about = about(&run.words);
    let single = run.result.frames == 1;
    let ssim = if single { Some(1.0) } else { run.result.last.filter(|number| number.is_finite()) };
    let note = match ssim {
        Some(_) => single.then(|| Measurement::SINGLE_FRAME.to_owned()),
        None => Some("n/a (ffmpeg gives no SSIM)".to_owned()),
    };
    let fps = about.fps.filter(|_| !single);
    let (frames, width, height) = (run.result.frames, about.width, about.height);
    Ok(Measurement { frames, width, height, fps, ssim, note, ..Measurement::default() })
}

/// Every frame by ffmpeg, in one process, or `otherwise` where there is none.
pub(super) fn examine(
    path: &Path,
    budget: &Budget,
    otherwise: VideoError,
    thresholds: &Thresholds,
) -> Result<(Measurement, Curves), VideoError> {
    refuse_large(path, budget)?;
    let (limits, cut) = (budget.limits.clone(), thresholds.cut);
    let output: [&str; 19] = [
        "-filter_complex",
        ALL_FRAMES,
        "-map",
        "[told]",
        "-fps_mode",
        "passthrough",
        "-f",
        "null",
        "-",
        "-map",
        "[seen]",
        "-fps_mode",
        "passthrough",
        "-c:v",
        "ppm",
        "-f",
        "image2pipe",
        "-an",
        "-",
    ];
    let run = run(path, &output, budget, move |stdout| {
        let budget = Budget::new(&limits);
        let mut watch = Watch::new(cut);
        show(stdout, &budget, |frame| watch.see(frame)).map(|()| watch.close())
    })?;
    let Some(run) = run else {
        return Err(otherwise);
    };
    let frames = run.result.as_ref().map_or(0, |seen| seen.frames as u64);
    if run.result.is_ok() {
        run.check(frames)?;
    }
    let about = about(&run.words);
    let fps = about.fps.filter(|_| frames > 1);
    let (mut known, curves) = Measurement::of_clip(&run.result?, fps, thresholds);
    // More than 8 bits are compared in 16, as the usual recipe does.
    // Of a picture that is too small it says 0.
    if frames > 1
        && known.ssim.is_some()
        && let Some(exact) = last_told(&run.words)
    {
        (known.ssim, known.note) = (Some(exact), None);
    }
    Ok((known, curves))
}

/// The last number that the `metadata` filter wrote: `lavfi.ssim.All=0.960079`.
fn last_told(words: &str) -> Option<f64> {
    let told = words.lines().rev().find_map(|line| line.trim().strip_prefix("lavfi.ssim.All="))?;
    told.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Hands over the frames of a stream of PPMs.
fn show(stdout: impl Read, budget: &Budget, mut sink: impl FnMut(Rgb)) -> Result<(), VideoError> {
    let mut stdout = BufReader::with_capacity(1 << 16, stdout);
    let mut frames = 0;
    while let Some(frame) = read_ppm(&mut stdout, budget)? {
        frames += 1;
        budget.frames(frames)?;
        sink(frame);
    }
    Ok(())
}

/// The first and the last frame by ffmpeg, 8 bits a channel.
pub(super) fn ends(path: &Path, budget: &Budget, otherwise: VideoError) -> Result<Ends, VideoError> {
    let ((first, last, frames), fps) =
        frames(path, budget, otherwise, (None, None, 0), |(first, last, frames), frame| {
            *frames += 1;
            if first.is_none() {
                *first = Some(frame);
            } else {
                *last = Some(frame);
            }
        })?;
    Ok(Ends { first: first.ok_or(VideoError::NoFrames)?, last, frames, fps })
}

/// Shows every frame to `see`, 8 bits a channel; what has become of `state` then, and frames a second.
pub(super) fn frames<T: Send + 'static>(
    path: &Path,
    budget: &Budget,
    otherwise: VideoError,
    mut state: T,
    see: impl Fn(&mut T, Rgb) + Send + 'static,
) -> Result<(T, Option<f64>), VideoError> {
    let limits = budget.limits.clone();
    let output =
        ["-map", "0:v:0", "-fps_mode", "passthrough", "-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "-"];
    let run = run(path, &output, budget, move |stdout| {
        let budget = Budget::new(&limits);
        let mut count = 0;
        show(stdout, &budget, |frame| {
            count += 1;
            see(&mut state, frame);
        })?;
        Ok::<_, VideoError>((state, count))
    })?;
    let Some(run) = run else {
        return Err(otherwise);
    };
    if let Ok((_, count)) = &run.result {
        run.check(*count)?;
    }
    let fps = about(&run.words).fps;
    Ok((run.result?.0, fps))
}

/// What a file is, as ffmpeg says; none where there is no ffmpeg.
pub(super) fn look(path: &Path, limits: &Limits) -> Result<Option<About>, VideoError> {
    look_within(path, &Budget::new(limits))
}

fn look_within(path: &Path, budget: &Budget) -> Result<Option<About>, VideoError> {
    let one_frame = ["-map", "0:v:0", "-frames:v", "1", "-f", "null", "-"];
    // It has nothing to say there.
    let nothing = |stdout: ChildStdout| std::io::copy(&mut stdout.take(LINE_BYTES), &mut std::io::sink());
    let Some(run) = run(path, &one_frame, budget, nothing)? else {
        return Ok(None);
    };
    run.check(1)?;
    Ok(Some(about(&run.words)))
}

/// Frames that are small enough may still take too much room, by their format. What can't be looked at is left to whoever
/// reads all of it.
fn refuse_large(path: &Path, budget: &Budget) -> Result<(), VideoError> {
    let Ok(Some(about)) = look_within(path, budget) else { return Ok(()) };
    if about.frame_bytes() <= MOST_BYTES {
        return Ok(());
    }
    let About { width, height, pixels, .. } = about;
    let pixels = crate::text::clean(&pixels);
    Err(VideoError::TooLarge(format!(
        "frames of {width}x{height} in {pixels}: ffmpeg would take more than 256 MB for them"
    )))
}

/// Writes a file anew, through a filter graph whose end is called `[out]`; false where there is no ffmpeg. A file that is
/// there already is in the way, never overwritten.
pub(super) fn write<'a>(
    from: impl Into<Input<'a>>,
    filter: &str,
    arguments: &[String],
    to: &Path,
    limits: &Limits,
) -> Result<bool, VideoError> {
    let budget = Budget::new(limits);
    let mut output = OsString::from("file:");
    output.push(to);
    let mut all: Vec<OsString> = vec!["-n".into(), "-filter_complex".into(), filter.into()];
    all.extend(arguments.iter().map(OsString::from));
    all.push(output);
    let done = run(from, &all, &budget, |mut stdout| std::io::copy(&mut stdout, &mut std::io::sink()))?;
    done.map_or(Ok(false), |done| done.check(1).map(|()| true))
}

/// What an ffmpeg reads.
pub(super) enum Input<'a> {
    File(&'a Path),
    Frames(Frames),
}

/// Frames that it is handed because it can't decode them, as RGBA.
pub(super) struct Frames {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Frames a second.
    pub(super) fps: f64,
    /// Writes them all, on a thread of its own. What it leaves out is missed when the copy's frames are counted.
    pub(super) feed: Box<dyn FnOnce(ChildStdin) + Send>,
}

impl<'a> From<&'a Path> for Input<'a> {
    fn from(path: &'a Path) -> Self {
        Self::File(path)
    }
}

/// What ffmpeg says of frames above the limit that it was given, in better words.
fn too_large(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("Picture size ")?;
    let (size, rest) = rest.split_once(" exceeds specified max pixel count ")?;
    let most: u64 = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let size: String = crate::text::clean(size).chars().take(20).collect();
    Some(if most == MOST_PIXELS {
        format!("frames of {size}: ffmpeg would take more than 256 MB for those above 2560x1600")
    } else {
        format!("frames of {size} (at most {most} pixels)")
    })
}

/// What a process left behind.
pub(super) struct Run<T> {
    /// Made of its stdout.
    pub(super) result: T,
    /// Its stderr, as far as kept.
    words: String,
    status: ExitStatus,
}

impl<T> Run<T> {
    pub(super) fn check(&self, frames: u64) -> Result<(), VideoError> {
        if self.status.success() && frames > 0 {
            return Ok(());
        }
        let is_full = |line: &str| line.contains("Cannot allocate memory") || line.contains("get_buffer() failed");
        if self.words.lines().any(is_full) {
            return Err(VideoError::TooLarge("ffmpeg would need more memory than it may take".to_owned()));
        }
        if let Some(size) = self.words.lines().find_map(too_large) {
            return Err(VideoError::TooLarge(size));
        }
        let last = self.words.lines().rev().find(|line| !line.trim().is_empty());
        let last: String = crate::text::clean(last.unwrap_or("it says nothing")).chars().take(200).collect();
        Err(if self.status.success() { VideoError::NoFrames } else { VideoError::Ffmpeg(last) })
    }
}

/// Killed and reaped when it goes out of scope, whatever happened.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs ffmpeg on a file, or on frames; none where there is no such program. `read` gets its stdout, on a
/// thread of its own, so that a time-out does not hang on a pipe that somebody holds open.
pub(super) fn run<'a, T: Send + 'static>(
    from: impl Into<Input<'a>>,
    output: &[impl AsRef<OsStr>],
    budget: &Budget,
    read: impl FnOnce(ChildStdout) -> T + Send + 'static,
) -> Result<Option<Run<T>>, VideoError> {
    let mut command = Command::new(budget.limits.ffmpeg());
    command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "info", "-protocol_whitelist", "file,pipe"]);
    // Each of its threads holds pictures of its own: as many as a server has cores would be too many.
    command.args(["-filter_complex_threads", "2", "-threads", "2"]);
    let pixels = budget.limits.pixels.min(MOST_PIXELS);
    command.args(["-max_pixels", &pixels.to_string()]);
    let feed = match from.into() {
        Input::File(path) => {
            let mut input = OsString::from("file:");
            input.push(path);
            command.arg("-i").arg(input);
            None
        }
        Input::Frames(Frames { width, height, fps, feed }) => {
            command.args(["-f", "rawvideo", "-pix_fmt", "rgba", "-video_size", &format!("{width}x{height}")]);
            command.args(["-framerate", &format!("{fps:.6}"), "-i", "pipe:0"]);
            Some(feed)
        }
    };
    command.args(output).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if feed.is_some() { Stdio::piped() } else { Stdio::null() });
    #[cfg(windows)]
    {
        use std::os::windows::process::CommandExt;
        const CREATE_NO_WINDOW: u32 = 0x0800_0000;
        command.creation_flags(CREATE_NO_WINDOW);
    }
    let mut process = match super::apart::unconfined(|| command.spawn()) {
        Ok(child) => Process(child),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(VideoError::Ffmpeg(format!("it can't be started: {error}"))),
    };
    let (Some(stdout), Some(stderr)) = (process.0.stdout.take(), process.0.stderr.take()) else {
        return Err(VideoError::Ffmpeg("it has no output".to_owned()));
    };
    // It ends when all is written, or when ffmpeg reads no more.
    if let (Some(feed), Some(stdin)) = (feed, process.0.stdin.take()) {
        thread::spawn(move || feed(stdin));
    }
    let (send_result, result) = mpsc::channel();
    let (send_words, words) = mpsc::channel();
    // Nobody receives any more after a time-out; the threads end with their pipe.
    thread::spawn(move || send_result.send(read(stdout)));
    thread::spawn(move || send_words.send(read_words(stderr)));

    let timed_out = || VideoError::TimedOut(budget.limits.time);
    let result = result.recv_timeout(left(budget)).map_err(|_| timed_out())?;
    let words = words.recv_timeout(left(budget)).map_err(|_| timed_out())?;
    loop {
        if let Some(status) = process.0.try_wait()? {
            return Ok(Some(Run { result, words, status }));
        }
        budget.time()?;
        thread::sleep(Duration::from_millis(2));
    }
}

fn left(budget: &Budget) -> Duration {
    budget.deadline.saturating_duration_since(Instant::now())
}

/// What the `ssim` filter writes for each frame: `n:1 R:… G:… B:… All:0.960079 (13.98)`.
#[derive(Debug, Default, PartialEq)]
struct Stats {
    frames: u64,
    last: Option<f64>,
}

/// Reads to the end, or one line beyond the limit (the pipe then closes, which ends ffmpeg).
fn read_stats(stdout: impl Read, limit: u64) -> Stats {
    let mut stdout = BufReader::new(stdout);
    let mut stats = Stats::default();
    let mut line = Vec::new();
    while stats.frames <= limit {
        line.clear();
        match (&mut stdout).take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line);
        let all = line.split_ascii_whitespace().find_map(|field| field.strip_prefix("All:"));
        if let Some(all) = all {
            stats.frames += 1;
            stats.last = all.parse().ok();
        }
    }
    stats
}

/// The beginning of stderr and its last part; the rest is read and dropped so that it never blocks.
fn read_words(mut stderr: impl Read) -> String {
    let mut kept = Vec::new();
    let _ = (&mut stderr).take(STDERR_HEAD).read_to_end(&mut kept);
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        tail.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let surplus = tail.len().saturating_sub(STDERR_TAIL);
        tail.drain(..surplus);
    }
    kept.append(&mut tail);
    String::from_utf8_lossy(&kept).into_owned()
}

/// The next picture of a stream of binary PPMs, `P6\nWIDTH HEIGHT\n255\n` and the pixels; none at the end.
fn read_ppm(stream: &mut impl BufRead, budget: &Budget) -> Result<Option<Rgb>, VideoError> {
    let mut header = [const { String::new() }; 3];
    for line in &mut header {
        stream.by_ref().take(64).read_line(line)?;
    }
    let [magic, size, depth] = header.each_ref().map(|line| line.trim());
    if magic.is_empty() {
        return Ok(None);
    }
    let wrong = || VideoError::Ffmpeg("it answers in another format than asked for".to_owned());
    let (width, height) = size.split_once(' ').ok_or_else(wrong)?;
    let (Ok(width), Ok(height), "P6", "255") = (width.parse::<u32>(), height.parse::<u32>(), magic, depth) else {
        return Err(wrong());
    };
    budget.picture(width.into(), height.into(), 12)?;
    let bytes = u64::from(width) * u64::from(height) * 3;
    let mut pixels = Vec::new();
    stream.take(bytes).read_to_end(&mut pixels)?;
    Rgb::from_packed::<3>(width, height, &pixels).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts_and_a_flood_is_cut() {
        let lines = b"n:1 R:1.0 G:1.0 B:1.0 All:1.000000 (inf)\nn:2 R:0.5 G:0.5 B:0.5 All:0.500000 (3.01)\n";
        assert_eq!(read_stats(&lines[..], 10), Stats { frames: 2, last: Some(0.5) });
        assert_eq!(read_stats(&b"All:1 \n".repeat(100)[..], 10).frames, 11);
        assert_eq!(read_stats(&vec![b'x'; 100_000][..], 10), Stats::default());
    }

    #[cfg(unix)]
    #[test]
    fn want_of_memory_is_told_as_such() {
        use std::os::unix::process::ExitStatusExt as _;
        let run = |words: &str| {
            let run = Run { result: (), words: words.to_owned(), status: ExitStatus::from_raw(69 << 8) };
            run.check(0).unwrap_err().to_string()
        };
        let full = "[hevc @ 0x55c2] get_buffer() failed\nError while decoding stream #0:0: Cannot allocate memory\nConversion failed!";
        assert!(run(full).contains("ffmpeg would need more memory"), "{}", run(full));
        assert!(run("Conversion failed!").contains("Conversion failed!"));
    }

    #[test]
    fn frames_above_the_limit_are_told_with_their_size() {
        let line = |most: u64| {
            format!(
                "[hevc @ 0x7f] [IMGUTILS @ 0x7f] Picture size 3840x2160 exceeds specified max pixel count {most}, see the docs"
            )
        };
        let told = too_large(&line(MOST_PIXELS)).unwrap();
        assert_eq!(told, "frames of 3840x2160: ffmpeg would take more than 256 MB for those above 2560x1600");
        assert_eq!(too_large(&line(99)).unwrap(), "frames of 3840x2160 (at most 99 pixels)");
        assert_eq!(too_large("Conversion failed!"), None);
    }

    #[test]
    fn pictures_come_one_after_the_other() {
        let limits = Limits::default();
        let budget = Budget::new(&limits);
        let mut stream = &b"P6\n1 1\n255\nabcP6\n2 1\n255\nabcdef"[..];
        assert_eq!(read_ppm(&mut stream, &budget).unwrap().unwrap().planes(), [b"a", b"b", b"c"]);
        assert_eq!(read_ppm(&mut stream, &budget).unwrap().unwrap().width(), 2);
        assert!(read_ppm(&mut stream, &budget).unwrap().is_none());
        assert!(read_ppm(&mut &b"P6\n1 1\n255\na"[..], &budget).is_err());
    }
}
