//! A mended copy of a clip beside it, by ffmpeg.
//!
//! Never writes over a file: the copy is made under a hidden name and then linked to one that is
//! free. Frames are chosen by number, never by time, so that a cut is exact.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::about::About;
use super::clock::Clock;
use super::durations::{self, Pace};
use super::encoder::Encoder;
use super::ffmpeg::Input;
use super::sound::Sound;
use super::{Budget, Kind, Limits, VideoError, animated, ffmpeg, last_and_first, texts};
use crate::verdict::{Cut, Measurement, Ramp, Repair, ramp};

/// Why there is no mended copy.
#[derive(Debug, Error)]
pub enum RepairError {
    #[error("can't be repaired so: {0}")]
    Impossible(String),
    #[error(
        "ffmpeg is needed to write a clip, and there is none: install it (Debian, Ubuntu: apt install ffmpeg; macOS: brew \
         install ffmpeg; Windows: winget install ffmpeg), or name one in COMFYTOP_FFMPEG"
    )]
    NoFfmpeg,
    #[error("{0}")]
    Video(#[from] VideoError),
    #[error("ffmpeg wrote {written} frames instead of {frames}, so the copy was not kept")]
    Miscounted { written: u64, frames: u64 },
    #[error(
        "a copy is written beside its clip, and the folder {folder} can't be written to ({source}): give yourself the right to, or \
         repair a copy of the clip in a folder of your own"
    )]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
}

/// In the name of a copy that is written once more, with the texts of its source.
const TEXTS: &str = "texts";

/// A mended copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copy {
    pub path: PathBuf,
    /// What it lacks, for people.
    pub note: Option<String>,
}

/// Makes a mended copy of a clip of which `known` was measured. Its sound goes along where its frames keep their time.
///
/// # Errors
/// Where that can't be done to this clip, or there is no ffmpeg.
pub fn repair(path: &Path, how: Repair, known: &Measurement, limits: &Limits) -> Result<Copy, RepairError> {
    repair_again(path, how, known, limits, false)
}

/// The same; with `again` a copy of an earlier time, cut off before it was heard of, will do.
pub(super) fn repair_again(
    path: &Path,
    how: Repair,
    known: &Measurement,
    limits: &Limits,
    again: bool,
) -> Result<Copy, RepairError> {
    let frames = how.frames(known).map_err(RepairError::Impossible)?;
    // A copy gets its name when it is whole.
    let earlier = beside(path, &format!("-{}", how.word()), false, 1);
    if again && super::measure(&earlier, limits).is_ok_and(|copy| copy.frames == frames) {
        let sounds = || ffmpeg::look(path, limits).ok().flatten().is_some_and(|about| !about.sound.is_empty());
        let note = how.without_sound(known).filter(|_| sounds());
        return Ok(Copy { path: earlier, note });
    }
    let is_webp = matches!(super::open(path, &Budget::new(limits)), Ok((_, _, Kind::Webp)));
    let about = if is_webp {
        animated::look(path, known)?
    } else {
        ffmpeg::look(path, limits)?.ok_or(RepairError::NoFfmpeg)?
    };
    let span = how.span(known);
    let filter = match (how, &span) {
        (Repair::Level, _) => {
            let (last, first) = last_and_first(path, limits)?;
            level(&ramp(&first, &last), known.frames, &about)
        }
        (_, Some(span)) => format!("trim=start_frame={}:end_frame={}", span.start, span.end),
        (how, None) => filter(how, known),
    };
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let encoder = Encoder::near(&about, &ending);
    let (clock, pace) = if encoder.is_image() {
        (None, Pace::of(path).map_err(VideoError::from)?)
    } else {
        (Some(Clock::of(path, limits)?), None)
    };
    let sound = Sound::of(&about, span.as_ref(), known.frames, clock.as_ref());
    // Where no frame is left out in between the time between frames stays, which may vary. Else they are numbered anew: what
    // is left out must not leave a gap. The frames of an animated image get their durations afterwards.
    let keeps_time = span.is_some() && clock.is_some();
    let uneven = clock.as_ref().filter(|clock| about.uneven || clock.is_uneven());
    let step = uneven.and_then(Clock::step).filter(|_| !keeps_time);
    let times = match (&sound, step) {
        (_, Some(step)) => format!("round(N*{step:.9}/TB)"),
        _ if !keeps_time => "round(N/FRAME_RATE/TB)".to_owned(),
        // Sound that is not touched, either.
        (Sound::Copied, _) => "PTS".to_owned(),
        (Sound::None | Sound::Cut(_), _) => "PTS-STARTPTS".to_owned(),
    };
    // What is handed over as RGBA takes less room so, where many frames are held at once.
    let smaller = if is_webp { format!("format={},", about.pixels) } else { String::new() };
    let mut filter = format!("[0:v:0]{smaller}{filter},setpts={times}");
    if encoder.codec == "gif" {
        filter.push_str(",split[p][q];[p]palettegen[palette];[q][palette]paletteuse");
    }
    filter.push_str("[out]");
    filter.push_str(&sound.filter());
    let loops = pace.as_ref().map_or(Some(0), |pace| pace.loops);
    let mut arguments = encoder.arguments(&about, keeps_time || step.is_some(), loops);
    arguments.extend(sound.arguments(&about.sound, &ending));
    // Else ffmpeg knows it from the rate.
    let seconds = uneven.and_then(|clock| match &span {
        Some(span) => Some(clock.seconds(span)).map(|range| range.end - range.start),
        #[expect(clippy::cast_precision_loss, reason = "a count of frames is far below 2^52")]
        None => step.map(|step| frames as f64 * step),
    });
    arguments.extend(seconds.into_iter().flat_map(|seconds| Encoder::until(frames, seconds)));

    sweep(path, limits);
    let part = beside(path, &format!(".{}.part", how.word()), true, 0);
    // ffmpeg would blame the clip.
    std::fs::File::create_new(&part)
        .and_then(|_| std::fs::remove_file(&part))
        .map_err(|source| RepairError::Folder { folder: folder_of(path).to_owned(), source })?;
    let input = if is_webp { Input::Frames(animated::frames(path, known, limits)) } else { Input::File(path) };
    let made = ffmpeg::write(input, &filter, &arguments, &part, limits).map_err(why);
    let named = made.and_then(|made| {
        if !made {
            return Err(RepairError::NoFfmpeg);
        }
        if is_webp {
            texts::carry_webp(path, &part).map_err(|source| RepairError::Write { path: part.clone(), source })?;
        }
        if encoder.codec == "apng" {
            let spare = beside(path, &format!(".{TEXTS}.part"), true, 0);
            texts::carry(path, &part, &spare).map_err(|source| {
                let _ = std::fs::remove_file(&spare);
                RepairError::Write { path: part.clone(), source }
            })?;
        }
        let written = super::measure(&part, limits)?.frames;
        if written != frames {
            return Err(RepairError::Miscounted { written, frames });
        }
        let each = pace.map(|pace| pace.of_copy(span.as_ref(), known.frames, frames));
        each.map_or(Ok(()), |each| durations::write(&part, &each))
            .map_err(|source| RepairError::Write { path: part.clone(), source })
    });
    if let Err(error) = named {
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    let path = publish(path, &part, how.word())?;
    Ok(Copy { path, note: how.without_sound(known).filter(|_| !about.sound.is_empty()) })
}

/// Says what to do about an ffmpeg that was built without a writer.
fn why(error: VideoError) -> RepairError {
    match error {
        // Of version 5 and of later ones.
        VideoError::Ffmpeg(words) if words.contains("Unknown encoder") || words.contains("Encoder not found") => {
            RepairError::Impossible(format!(
                "this ffmpeg was built without what writes such clips ({words}): install a full one, or name one in \
                 COMFYTOP_FFMPEG"
            ))
        }
        error => error.into(),
    }
}

/// Gives the finished copy the first name that is free.
fn publish(path: &Path, part: &Path, word: &str) -> Result<PathBuf, RepairError> {
    for number in 1..10_000 {
        let name = beside(path, &format!("-{word}"), false, number);
        let taken = match std::fs::hard_link(part, &name) {
            Ok(()) => {
                let _ = std::fs::remove_file(part);
                return Ok(name);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            // Some disks know no links; there a name is looked for, and then taken.
            Err(_) => name.exists(),
        };
        if !taken {
            std::fs::rename(part, &name).map_err(|source| RepairError::Write { path: name.clone(), source })?;
            return Ok(name);
        }
    }
    let _ = std::fs::remove_file(part);
    Err(RepairError::Impossible(format!("there are thousands of -{word} files beside it")))
}

/// `clip.mp4` → `clip-cut.mp4`, `clip-cut-2.mp4`; hidden: `.clip.cut.part.mp4`. The ending stays: ffmpeg goes by it.
fn beside(path: &Path, word: &str, hidden: bool, number: u32) -> PathBuf {
    let mut name = OsString::from(if hidden { "." } else { "" });
    name.push(path.file_stem().unwrap_or_default());
    name.push(word);
    if number > 1 {
        name.push(format!("-{number}"));
    }
    if hidden {
        // Two repairs of one clip at a time don't share a file.
        name.push(format!("{}", std::process::id()));
    }
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes what repairs that were killed have left beside a clip: none takes so long, so nobody writes to it any more.
fn sweep(path: &Path, limits: &Limits) {
    for entry in std::fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
        if is_part(&entry.file_name().to_string_lossy()) && age.is_some_and(|age| age > limits.time) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// `.clip.cut.part4711.mp4`
fn is_part(name: &str) -> bool {
    let ways =
        [Repair::Cut(Cut::default()), Repair::DropDoubled, Repair::Boomerang, Repair::Crossfade(0), Repair::Level];
    let parts = || {
        let (stem, _) = name.strip_prefix('.')?.rsplit_once('.')?;
        let (stem, number) = stem.rsplit_once(".part")?;
        Some((stem.rsplit_once('.')?.1, number))
    };
    let mut words = ways.iter().map(|way| way.word()).chain([TEXTS]);
    parts().is_some_and(|(word, number)| words.any(|known| known == word) && number.parse::<u32>().is_ok())
}

/// The filters of the repairs that give frames another order or time, frames counted from 0.
fn filter(how: Repair, known: &Measurement) -> String {
    let frames = known.frames;
    match how {
        Repair::DropDoubled => {
            let doubled = known.doubled_frames.as_deref().unwrap_or_default();
            let dropped: Vec<_> = doubled.iter().map(|n| format!("eq(n,{})", n.saturating_sub(1))).collect();
            format!("select='not({})'", dropped.join("+"))
        }
        Repair::Boomerang => format!(
            "split[there][again];[again]trim=start_frame=1:end_frame={},reverse[back];[there][back]concat",
            frames.saturating_sub(1)
        ),
        Repair::Crossfade(over) => {
            // The clip without its first frames, and over its last ones those first ones fade in. Both are timed by their
            // numbers, rounded alike: `blend` pairs by time.
            let over = u64::from(over);
            let alone = frames.saturating_sub(2 * over);
            let share = format!("(N-{alone}+1)/{}", over + 1);
            format!(
                "split[whole][ends];[whole]trim=start_frame={over},setpts=round(N/FRAME_RATE/TB)[clip];\
                 [ends]trim=end_frame={over},setpts=round(N/FRAME_RATE/TB),tpad=start={alone}:start_mode=clone,\
                 setpts=round(N/FRAME_RATE/TB)[first];\
                 [clip][first]blend=all_expr='if(lt(N,{alone}),A,A*(1-{share})+B*{share})'"
            )
        }
        Repair::Cut(_) | Repair::Level => String::new(),
    }
}

/// Takes the step of light back, ever more of it, as the judge thought of it.
fn level(ramp: &Ramp, frames: u64, about: &About) -> String {
    // Levels of 8 bits, in those of the source.
    let bits = if about.is_yuv() { about.bits() } else { 8 };
    let unit = f64::from(1_u32 << (bits - 8));
    let most = f64::from((1_u32 << bits) - 1);
    let (black, top, colour) = if about.full_range && about.is_yuv() {
        (0.0, most, most / 255.0)
    } else {
        (16.0 * unit, 235.0 * unit, 224.0 / 255.0 * unit)
    };
    let light = (top - black) / 255.0;
    let share = format!("N/{}", frames.max(2) - 1);
    // What is left of a value above `zero`.
    let undone = |value: &str, zero: f64, factor: f32, step: f64| {
        format!("({value}-{zero})/(1+({:.6})*{share})-({step:.5})*{share}+{zero}", factor - 1.0)
    };
    let luma = undone("lum(X,Y)", black, ramp.luma_factor, f64::from(ramp.luma) * light);
    let chroma = |plane: &str, step: f32| {
        let grey = 128.0 * unit;
        let undone = undone(&format!("{plane}(X,Y)"), grey, ramp.chroma_factor, f64::from(step) * colour);
        format!("clip({undone},0,{most})")
    };
    // In YUV, whatever it is stored as.
    let alpha = about.pixels == "bgra" || about.pixels.starts_with("yuva");
    let yuv = match (about.is_yuv(), alpha) {
        (true, _) => "",
        (false, true) => "format=yuva444p,",
        (false, false) => "format=yuv444p,",
    };
    let seen_through = if alpha { ":a='alpha(X,Y)'" } else { "" };
    format!(
        "{yuv}geq=lum='clip({luma},{black},{top})':cb='{}':cr='{}'{seen_through}",
        chroma("cb", ramp.chroma[0]),
        chroma("cr", ramp.chroma[1])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ffmpeg_without_the_writer_is_told_what_to_do() {
        for words in ["Unknown encoder 'libwebp_anim'", "Error opening output files: Encoder not found"] {
            let told = why(VideoError::Ffmpeg(words.to_owned())).to_string();
            assert!(told.contains("install a full one") && told.contains(words), "{told}");
        }
        assert!(matches!(why(VideoError::NoFrames), RepairError::Video(VideoError::NoFrames)));
    }

    #[test]
    fn what_a_killed_repair_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let clip = folder.path().join("a clip.mp4");
        let left = beside(&clip, ".cut.part", true, 0);
        let others = ["a clip.mp4", ".notes.part1.txt", ".clip.cut.mp4", "clip.cut.part7.mp4", ".clip.cut.party.mp4"];
        for path in others.iter().map(|name| folder.path().join(name)).chain([left.clone()]) {
            std::fs::write(path, "").unwrap();
        }
        sweep(&clip, &Limits::default());
        assert!(left.exists(), "it may be being written");
        std::thread::sleep(std::time::Duration::from_millis(5));
        sweep(&clip, &Limits { time: std::time::Duration::ZERO, ..Limits::default() });
        assert!(!left.exists());
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
    }

    #[test]
    fn a_name_is_never_taken_twice() {
        let folder = tempfile::tempdir().unwrap();
        let clip = folder.path().join("a clip.mp4");
        let mut names = Vec::new();
        for text in ["one", "two", "three"] {
            let part = beside(&clip, ".cut.part", true, 0);
            std::fs::write(&part, text).unwrap();
            names.push(publish(&clip, &part, "cut").unwrap());
            assert!(!part.exists());
        }
        let told: Vec<_> = names.iter().map(|name| name.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(told, ["a clip-cut.mp4", "a clip-cut-2.mp4", "a clip-cut-3.mp4"]);
        assert_eq!(std::fs::read_to_string(&names[0]).unwrap(), "one");
    }
}
