//! Files of pixels, decoded and measured: an output's path in, a [`Measurement`] out. [`measure`] looks at the
//! first and the last frame, [`examine`] at all of them.
//!
//! An edge: it reads files and may run one `ffmpeg`. Only [`repair`] and [`stills`] write some. It never trusts
//! one: the format is told by content, declared sizes are held against [`Limits`] before memory
//! is taken, and a panic of a decoder is an error like any other.
//!
//! 8-bit 4:2:0 H.264 in mp4/mov, PNG, GIF, APNG, JPEG and WebP are decoded in this process; whatever
//! else is a video goes to ffmpeg where there is one. Runs on the caller's thread, for as long as
//! `Limits::time` at most: call it where blocking is allowed.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::verdict::{Curves, MOST_JUDGED, Measurement, Rgb, Thresholds, Verdict, Watch};

mod about;
mod animated;
pub mod apart;
mod boxes;
mod clock;
mod durations;
mod encoder;
mod ffmpeg;
mod h264;
mod images;
mod last_frame;
mod mp4;
pub mod repair;
mod sound;
mod sps;
pub mod stills;
mod texts;
mod webp;

pub use last_frame::{LastFrame, last_frame};

/// What a file may cost. The defaults suit clips of a few thousand frames and keep a hostile
/// file below 256 MB of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: u64,
    /// Pixels of a frame.
    pub pixels: u64,
    /// Frames; in mp4 the samples of all tracks together.
    pub frames: u64,
    /// Bytes that frames and reference pictures may take at once.
    pub memory: u64,
    /// Wall time, ffmpeg's included.
    pub time: Duration,
    /// The ffmpeg to fall back to; none means `$COMFYTOP_FFMPEG`, else `ffmpeg` on the PATH.
    pub ffmpeg: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 4 << 30,
            pixels: 4096 * 2304, // the largest frame of H.264 level 5.2
            frames: 400_000,
            memory: 208 << 20,
            time: Duration::from_mins(2),
            ffmpeg: None,
        }
    }
}

impl Limits {
    fn ffmpeg(&self) -> PathBuf {
        self.ffmpeg.clone().unwrap_or_else(|| {
            let named = std::env::var_os("COMFYTOP_FFMPEG").filter(|name| !name.is_empty());
            PathBuf::from(named.as_deref().unwrap_or(OsStr::new("ffmpeg")))
        })
    }
}

/// Why a file has no number. The words don't name the file: whoever shows them knows it.
#[derive(Debug, Error)]
pub enum VideoError {
    #[error("can't be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("not a file (a folder, a pipe or a device)")]
    NotAFile,
    #[error("the file is empty")]
    Empty,
    #[error("neither a video nor an image (its first bytes are of no kind known here)")]
    NotMedia,
    /// Something that a second look, once the file is written, may not find.
    #[error("cut off, or still being written: {0}")]
    CutOff(String),
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("no video in it (audio only?)")]
    NoVideo,
    #[error("no frame in it")]
    NoFrames,
    #[error("too large to measure: {0}")]
    TooLarge(String),
    #[error("not measured within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// What can't be decoded here (`hevc`, `h264 10-bit`), and no ffmpeg was found.
    #[error("n/a (needs ffmpeg: {codec})")]
    NeedsFfmpeg { codec: String },
    #[error("ffmpeg can't decode it: {0}")]
    Ffmpeg(String),
}

/// How an in-process decoder says no.
#[derive(Debug)]
enum Refusal {
    /// Nothing can be done.
    Final(VideoError),
    /// ffmpeg may know better; without one this is the answer.
    AskFfmpeg(VideoError),
}

impl Refusal {
    fn needs_ffmpeg(codec: impl Into<String>) -> Self {
        Self::AskFfmpeg(VideoError::NeedsFfmpeg { codec: codec.into() })
    }
}

impl<E: Into<VideoError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// The two frames that a loop shows side by side, and what is known of those between.
struct Ends {
    first: Rgb,
    /// None where the file has one frame.
    last: Option<Rgb>,
    frames: u64,
    fps: Option<f64>,
}

/// What frames are handed to, in the order of showing.
type Sink<'a> = dyn FnMut(Rgb) -> Result<(), VideoError> + 'a;

impl Ends {
    /// Those of a file whose frames all come by; `frames` hands them over and tells the rate.
    fn of(frames: impl FnOnce(&mut Sink) -> Result<Option<f64>, Refusal>) -> Result<Self, Refusal> {
        let (mut first, mut last, mut count) = (None, None, 0);
        let fps = frames(&mut |frame| {
            count += 1;
            if first.is_none() {
                first = Some(frame);
            } else {
                last = Some(frame);
            }
            Ok(())
        })?;
        Ok(Self { first: first.ok_or(VideoError::NoFrames)?, last, frames: count, fps })
    }
}

/// The limits, and when the time is up.
struct Budget<'a> {
    limits: &'a Limits,
    deadline: Instant,
}

impl<'a> Budget<'a> {
    fn new(limits: &'a Limits) -> Self {
        let now = Instant::now();
        Self { limits, deadline: now.checked_add(limits.time).unwrap_or(now) }
    }

    fn time(&self) -> Result<(), VideoError> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(VideoError::TimedOut(self.limits.time)) }
    }

    fn frames(&self, frames: u64) -> Result<(), VideoError> {
        if frames <= self.limits.frames {
            return Ok(());
        }
        Err(VideoError::TooLarge(format!("more than {} frames", self.limits.frames)))
    }

    /// Pictures of so many pixels that wait for their turn, in an order that no encoder writes.
    fn waiting(&self, pictures: usize, pixels: usize) -> Result<(), VideoError> {
        let bytes = (pictures as u64).saturating_mul(pixels as u64 * 3 / 2);
        if pictures <= 32 && bytes <= self.limits.memory / 3 {
            return Ok(());
        }
        Err(VideoError::TooLarge(format!("{pictures} frames wait for one that is shown before them")))
    }

    /// `planes` = bytes a pixel that the decoder holds at once, its references and our two frames included.
    fn picture(&self, width: u64, height: u64, planes: u64) -> Result<(), VideoError> {
        let pixels = width.saturating_mul(height);
        if pixels == 0 {
            return Err(VideoError::Damaged(format!("a frame of {width}x{height} pixels")));
        }
        if pixels > self.limits.pixels {
            let most = self.limits.pixels;
            return Err(VideoError::TooLarge(format!("frames of {width}x{height} (at most {most} pixels)")));
        }
        let bytes = pixels.saturating_mul(planes);
        if bytes > self.limits.memory {
            let megabytes = bytes >> 20;
            return Err(VideoError::TooLarge(format!(
                "frames of {width}x{height} would take {megabytes} MB to decode"
            )));
        }
        Ok(())
    }
}

/// Measures SSIM(first, last) of one file.
///
/// # Errors
/// [`VideoError`]: nothing that can be decoded, or more than the limits allow; its words are fit
/// to stand in the place of the number.
pub fn measure(path: &Path, limits: &Limits) -> Result<Measurement, VideoError> {
    let budget = Budget::new(limits);
    match ends(path, &budget) {
        Ok(Ends { first, last, frames, fps }) => Ok(Measurement::of_ends(&first, last.as_ref(), frames, fps)),
        Err(Refusal::Final(error)) => Err(error),
        Err(Refusal::AskFfmpeg(otherwise)) => ffmpeg::measure(path, &budget, otherwise),
    }
}

/// Looks at every frame: SSIM(first, last) as [`measure`] gives it, how well it loops, and the curves.
///
/// # Errors
/// As [`measure`]. A clip too large to be held frame by frame, or with too many of them, is measured by its ends, with a note.
pub fn examine(path: &Path, limits: &Limits, thresholds: &Thresholds) -> Result<(Measurement, Curves), VideoError> {
    let budget = Budget::new(limits);
    let mut watch = Watch::new(thresholds.cut);
    if let Some(many) = declared(path, &budget).filter(|frames| *frames > MOST_JUDGED as u64) {
        let mut known = measure(path, limits)?;
        known.verdict = Some(Verdict::Unknown);
        known.advice = Some(format!("{many} frames are too many to judge a loop by"));
        return Ok((known, Curves::default()));
    }
    let frames = frames(path, &budget, &mut |frame| {
        watch.see(frame);
        Ok(())
    });
    let examined = match frames {
        Ok(fps) => {
            let seen = watch.close();
            if seen.frames == 0 { Err(VideoError::NoFrames) } else { Ok(Measurement::of_clip(&seen, fps, thresholds)) }
        }
        Err(Refusal::Final(error)) => Err(error),
        Err(Refusal::AskFfmpeg(otherwise)) => ffmpeg::examine(path, &budget, otherwise, thresholds),
    };
    let Err(VideoError::TooLarge(why)) = examined else { return examined };
    // Two frames may fit where a whole clip does not.
    let mut known = measure(path, limits).map_err(|_| VideoError::TooLarge(why.clone()))?;
    known.note.get_or_insert_with(|| format!("not judged: {why}"));
    Ok((known, Curves::default()))
}

/// How many frames a file says that it has, before any is decoded; none where it does not say, or can't be read here.
fn declared(path: &Path, budget: &Budget) -> Option<u64> {
    let (file, length, kind) = open(path, budget).ok()?;
    let read = || Ok(mp4::open(file, length, budget)?.frames);
    if kind == Kind::Mp4 { unpanicked(read).ok() } else { None }
}

/// Hands over every frame in the order of showing, of what is decoded in this process.
///
/// # Errors
/// As [`measure`]; what only ffmpeg decodes is [`VideoError::NeedsFfmpeg`].
pub fn play(path: &Path, limits: &Limits, show: &mut dyn FnMut(Rgb)) -> Result<(), VideoError> {
    let shown = frames(path, &Budget::new(limits), &mut |frame| {
        show(frame);
        Ok(())
    });
    match shown {
        Ok(_) => Ok(()),
        Err(Refusal::Final(error) | Refusal::AskFfmpeg(error)) => Err(error),
    }
}

/// The last and the first frame, in this order (the order in which the loop shows them).
/// A file with one frame gives it twice.
///
/// # Errors
/// As [`measure`].
pub fn last_and_first(path: &Path, limits: &Limits) -> Result<(Rgb, Rgb), VideoError> {
    let ends = both_ends(path, limits)?;
    Ok((ends.last.unwrap_or_else(|| ends.first.clone()), ends.first))
}

/// The ends of a file, here or by ffmpeg.
fn both_ends(path: &Path, limits: &Limits) -> Result<Ends, VideoError> {
    let budget = Budget::new(limits);
    match ends(path, &budget) {
        Ok(ends) => Ok(ends),
        Err(Refusal::Final(error)) => Err(error),
        Err(Refusal::AskFfmpeg(otherwise)) => ffmpeg::ends(path, &budget, otherwise),
    }
}

/// Decodes the ends of a file in this process.
fn ends(path: &Path, budget: &Budget) -> Result<Ends, Refusal> {
    let (file, length, kind) = open(path, budget)?;
    unpanicked(|| match kind {
        Kind::Mp4 => h264::ends(mp4::open(file, length, budget)?, budget),
        kind => Ends::of(|sink| show(file, length, kind, budget, sink)),
    })
}

/// Decodes all frames of a file in this process; frames a second.
fn frames(path: &Path, budget: &Budget, sink: &mut Sink) -> Result<Option<f64>, Refusal> {
    let (file, length, kind) = open(path, budget)?;
    unpanicked(|| show(file, length, kind, budget, sink))
}

fn show(file: File, length: u64, kind: Kind, budget: &Budget, sink: &mut Sink) -> Result<Option<f64>, Refusal> {
    match kind {
        Kind::Mp4 => h264::frames(mp4::open(file, length, budget)?, budget, sink),
        Kind::Png => images::png(file, budget, sink),
        Kind::Gif => images::gif(file, budget, sink),
        Kind::Jpeg => images::jpeg(file, budget, sink),
        Kind::Webp => webp::frames(file, length, budget, sink),
        Kind::Foreign(codec) => Err(Refusal::needs_ffmpeg(codec)),
    }
}

/// Opens a file; its length in bytes, and by its first bytes what it is.
fn open(path: &Path, budget: &Budget) -> Result<(File, u64, Kind), VideoError> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(VideoError::NotAFile);
    }
    if about.len() > budget.limits.bytes {
        let (size, most) = (about.len() >> 20, budget.limits.bytes >> 20);
        return Err(VideoError::TooLarge(format!("{size} MB (at most {most} MB)")));
    }
    let mut file = File::open(path)?;
    let mut head = Vec::with_capacity(4096);
    (&mut file).take(4096).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((file, about.len(), Kind::of(&head)?))
}

/// What decodes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mp4,
    Png,
    Gif,
    Jpeg,
    Webp,
    /// Nothing here does; ffmpeg is asked. Only what is known to be media: ffmpeg also reads
    /// play lists and scripts that open other files and hosts.
    Foreign(&'static str),
}

impl Kind {
    fn of(head: &[u8]) -> Result<Self, VideoError> {
        let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
        if head.is_empty() {
            return Err(VideoError::Empty);
        }
        if at(4, b"ftypavi") || at(4, b"ftyphei") || at(4, b"ftypmif1") || at(4, b"ftypmsf1") {
            return Ok(Self::Foreign("heif/avif"));
        }
        let boxes: [&[u8]; 6] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"];
        if boxes.iter().any(|name| at(4, name)) {
            return Ok(Self::Mp4);
        }
        if at(0, b"\x89PNG\r\n\x1a\n") {
            return Ok(Self::Png);
        }
        if at(0, b"GIF87a") || at(0, b"GIF89a") {
            return Ok(Self::Gif);
        }
        if at(0, b"\xff\xd8\xff") {
            return Ok(Self::Jpeg);
        }
        if at(0, b"RIFF") && at(8, b"WEBP") {
            return Ok(Self::Webp);
        }
        let audio: [(usize, &[u8]); 4] = [(0, b"ID3"), (0, b"fLaC"), (8, b"WAVE"), (28, b"\x01vorbis")];
        if audio.iter().any(|(offset, magic)| at(*offset, magic)) || at(28, b"OpusHead") {
            return Err(VideoError::NoVideo);
        }
        if at(0, b"\x1a\x45\xdf\xa3") {
            return Ok(Self::Foreign(matroska_codec(head)));
        }
        let foreign: [(usize, &[u8], &str); 5] = [
            (8, b"AVI ", "avi"),
            (0, b"OggS", "ogg"),
            (0, b"FLV\x01", "flv"),
            (0, b"\x00\x00\x01\xba", "mpeg"),
            (0, b"BM", "bmp"),
        ];
        let known = foreign.iter().find(|(offset, magic, _)| at(*offset, magic));
        known.map_or(Err(VideoError::NotMedia), |(_, _, name)| Ok(Self::Foreign(name)))
    }
}

/// The codec a Matroska or `WebM` file names near its beginning (its tracks come first in
/// practice), for the words only; the file is ffmpeg's to parse.
fn matroska_codec(head: &[u8]) -> &'static str {
    let names: [(&[u8], &str); 7] = [
        (b"V_VP9", "vp9"),
        (b"V_AV1", "av1"),
        (b"V_VP8", "vp8"),
        (b"V_MPEG4/ISO/AVC", "h264 in matroska"),
        (b"V_MPEGH/ISO/HEVC", "hevc"),
        (b"V_FFV1", "ffv1"),
        (b"V_PRORES", "prores"),
    ];
    let found = names.iter().find(|(id, _)| head.windows(id.len()).any(|bytes| bytes == *id));
    found.map_or("matroska", |(_, name)| name)
}

thread_local! {
    /// Set while a panic on this thread will be caught and told as an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder; its panic is an answer. The panic hook keeps still meanwhile: a message on
/// stderr would tear a screen or frighten whoever asked for a number.
fn unpanicked<T>(decode: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                before(info);
            }
        }));
    });
    CAUGHT.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(decode));
    CAUGHT.set(false);
    outcome.unwrap_or_else(|_| {
        let words = "the decoder gave up on it (what it says of itself does not agree)";
        Err(Refusal::AskFfmpeg(VideoError::Damaged(words.to_owned())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_told_by_content() {
        assert_eq!(Kind::of(b"\0\0\0\x20ftypisom").unwrap(), Kind::Mp4);
        assert_eq!(Kind::of(b"RIFF\x10\0\0\0WEBPVP8L").unwrap(), Kind::Webp);
        assert_eq!(Kind::of(b"\x1a\x45\xdf\xa3....V_VP9..").unwrap(), Kind::Foreign("vp9"));
        assert!(matches!(Kind::of(b"this is text"), Err(VideoError::NotMedia)));
        assert!(matches!(Kind::of(b"RIFF\x10\0\0\0WAVEfmt "), Err(VideoError::NoVideo)));
        assert!(matches!(Kind::of(b""), Err(VideoError::Empty)));
        // A play list would have ffmpeg open what it names.
        assert!(matches!(Kind::of(b"#EXTM3U\nhttp://host/x.ts"), Err(VideoError::NotMedia)));
    }

    #[test]
    fn a_panic_is_an_answer_and_the_next_one_is_heard_again() {
        let outcome: Result<(), Refusal> = unpanicked(|| panic!("as a demultiplexer does without its table"));
        assert!(matches!(outcome, Err(Refusal::AskFfmpeg(VideoError::Damaged(_)))));
        assert!(!CAUGHT.get());
    }
}
