//! Small pictures of a clip for the screen: decoded, shrunk, and written as PNG into a folder of the cache.
//!
//! The only writer of that folder. Each file gets its name when it is whole, the list comes last: what
//! has a list is complete and is not made twice.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::{Budget, Limits, Refusal, VideoError, ffmpeg, frames, last_and_first};
use crate::protocol::{Album, Pictures, Still};
use crate::verdict::Rgb;

/// The sides of the square that a picture of each kind fits into, pixels.
const ENDS_SIDE: u32 = 640;
const STRIP_SIDE: u32 = 240;
const PLAY_SIDE: u32 = 192;
/// Pictures of a strip, and of what is played.
const STRIP: usize = 8;
const PLAY: usize = 96;
/// How much stronger differences are shown than they are.
const STRONGER: u8 = 4;

/// The pictures of a file, from the cache where they are there.
///
/// # Errors
/// As [`measure`](super::measure); a folder that can't be written to.
pub fn make(path: &Path, what: Pictures, into: &Path, limits: &Limits) -> Result<Album, VideoError> {
    let list = into.join(match what {
        Pictures::Ends => "ends.json",
        Pictures::Strip => "strip.json",
        Pictures::Play => "play.json",
    });
    let kept = std::fs::read(&list).ok().and_then(|text| serde_json::from_slice::<Album>(&text).ok());
    if let Some(album) = kept.filter(|album| album.stills.iter().all(|still| still.path.is_file())) {
        return Ok(album);
    }
    std::fs::create_dir_all(into)?;
    let album = match what {
        Pictures::Ends => ends(path, into, limits)?,
        Pictures::Strip => row(path, into, limits, "strip", (STRIP, STRIP_SIDE))?,
        Pictures::Play => row(path, into, limits, "play", (PLAY, PLAY_SIDE))?,
    };
    let text = serde_json::to_vec(&album).map_err(std::io::Error::from)?;
    whole(&list, |part| std::fs::write(part, &text))?;
    Ok(album)
}

/// A picture that came as bytes (a preview), as PNG in a folder of its own, `live/NUMBER` of the cache; the folders of
/// those long before it go. `draw` is [`make`], or a child that does it.
///
/// # Errors
/// Words: what is wrong with the bytes, or with the cache.
pub fn preview(
    bytes: &[u8],
    cache: &Path,
    number: u64,
    draw: impl FnOnce(&Path, &Path) -> Result<Album, String>,
) -> Result<Still, String> {
    let live = cache.join("live");
    std::fs::create_dir_all(&live).map_err(|error| error.to_string())?;
    // A face may be reading the one before.
    if let Some(old) = number.checked_sub(PREVIEWS_KEPT) {
        let _ = std::fs::remove_dir_all(live.join(old.to_string()));
    }
    let raw = live.join(format!("{number}.raw"));
    std::fs::write(&raw, bytes).map_err(|error| error.to_string())?;
    let into = live.join(number.to_string());
    // One of an engine before this one.
    let _ = std::fs::remove_dir_all(&into);
    let album = draw(&raw, &into);
    let _ = std::fs::remove_file(&raw);
    album?.stills.into_iter().next().ok_or_else(|| "no picture in it".to_owned())
}

/// How many previews lie in the cache.
const PREVIEWS_KEPT: u64 = 4;

fn ends(path: &Path, into: &Path, limits: &Limits) -> Result<Album, VideoError> {
    let (last, first) = last_and_first(path, limits)?;
    let (width, height) = fitting(first.width(), first.height(), ENDS_SIDE);
    let mut stills = vec![still(into, "first", &shrunk(&first, width, height))?];
    // A file of one frame gives it twice; a clip that stands still loses nothing by it.
    if last != first {
        stills.push(still(into, "last", &shrunk(&last, width, height))?);
        if let Some(difference) = difference(&first, &last) {
            stills.push(still(into, "difference", &shrunk(&difference, width, height))?);
        }
    }
    Ok(Album { stills, frames: 0, fps: None })
}

/// Frames at even distances.
fn row(
    path: &Path,
    into: &Path,
    limits: &Limits,
    prefix: &str,
    (most, side): (usize, u32),
) -> Result<Album, VideoError> {
    let budget = Budget::new(limits);
    let mut thinned = Thinned::new(most, side);
    let seen = frames(path, &budget, &mut |frame| {
        thinned.see(frame);
        Ok(())
    });
    let fps = match seen {
        Ok(fps) => fps,
        Err(Refusal::Final(error)) => return Err(error),
        Err(Refusal::AskFfmpeg(otherwise)) => {
            let begun = Thinned::new(most, side);
            let (all, fps) = ffmpeg::frames(path, &budget, otherwise, begun, Thinned::see)?;
            thinned = all;
            fps
        }
    };
    let frames = thinned.seen;
    let mut stills = Vec::new();
    for (number, frame) in thinned.evenly() {
        let mut still = still(into, &format!("{prefix}-{number:06}"), &frame)?;
        still.name = number.to_string();
        stills.push(still);
    }
    if stills.is_empty() {
        return Err(VideoError::NoFrames);
    }
    Ok(Album { stills, frames, fps })
}

fn still(into: &Path, name: &str, frame: &Rgb) -> Result<Still, VideoError> {
    let path = into.join(format!("{name}.png"));
    whole(&path, |part| {
        let encoder = PngEncoder::new_with_quality(
            BufWriter::new(File::create(part)?),
            CompressionType::Fast,
            FilterType::Adaptive,
        );
        let written = encoder.write_image(&frame.packed(), frame.width(), frame.height(), ExtendedColorType::Rgb8);
        written.map_err(std::io::Error::other)
    })?;
    Ok(Still { name: name.to_owned(), path })
}

/// Written under another name first.
fn whole(path: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    let part = path.with_extension("part");
    write(&part).and_then(|()| std::fs::rename(&part, path)).inspect_err(|_| drop(std::fs::remove_file(&part)))
}

/// Some frames of a clip of unknown length, at even distances, in one pass.
struct Thinned {
    most: usize,
    side: u32,
    /// Every so many frames one is kept.
    stride: u64,
    /// Their numbers, from 1.
    kept: Vec<(u64, Rgb)>,
    seen: u64,
    /// The last one, in its full size.
    last: Option<Rgb>,
}

impl Thinned {
    fn new(most: usize, side: u32) -> Self {
        Self { most, side, stride: 1, kept: Vec::new(), seen: 0, last: None }
    }

    fn see(&mut self, frame: Rgb) {
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == self.room() {
                let mut n = 0;
                self.kept.retain(|_| {
                    n += 1;
                    n % 2 == 1
                });
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.kept.push((self.seen + 1, self.small(&frame)));
            }
        }
        self.seen += 1;
        self.last = Some(frame);
    }

    /// So many are kept while more come: of a few, the more to choose from, the evener.
    fn room(&self) -> usize {
        (2 * self.most).max(64)
    }

    fn small(&self, frame: &Rgb) -> Rgb {
        let (width, height) = fitting(frame.width(), frame.height(), self.side);
        shrunk(frame, width, height)
    }

    /// At most as many as wanted, the first and the very last among them.
    fn evenly(mut self) -> Vec<(u64, Rgb)> {
        if let Some(last) = self.last.take()
            && self.kept.last().is_some_and(|(number, _)| *number < self.seen)
        {
            self.kept.push((self.seen, self.small(&last)));
        }
        let most = self.kept.len().min(self.most) as u64;
        let ends = self.seen.saturating_sub(1);
        let wanted = (0..most).map(|n| 1 + n * ends / (most - 1).max(1));
        let nearest = |wanted: u64| {
            let distance = |(at, (number, _)): &(usize, &(u64, Rgb))| (number.abs_diff(wanted), *at);
            self.kept.iter().enumerate().min_by_key(distance).map(|(at, _)| at)
        };
        let chosen: BTreeSet<usize> = wanted.filter_map(nearest).collect();
        let kept = self.kept.into_iter().enumerate();
        kept.filter(|(at, _)| chosen.contains(at)).map(|(_, kept)| kept).collect()
    }
}

/// The size of a picture that fits into a square, never larger than it is.
fn fitting(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longer = width.max(height).max(1);
    if longer <= side {
        return (width, height);
    }
    let scaled = |length: u32| u64::from(length) * u64::from(side) / u64::from(longer);
    let scaled = |length| u32::try_from(scaled(length)).unwrap_or(side).max(1);
    (scaled(width), scaled(height))
}

/// A smaller picture: each of its pixels is the mean of those that it stands for.
fn shrunk(frame: &Rgb, width: u32, height: u32) -> Rgb {
    let (from_width, from_height) = (frame.width() as usize, frame.height() as usize);
    let (to_width, to_height) = (width as usize, height as usize);
    if (from_width, from_height) == (to_width, to_height) {
        return frame.clone();
    }
    let part = |n: usize, of: usize, from: usize| {
        let start = n * from / of.max(1);
        start..((n + 1) * from / of.max(1)).max(start + 1).min(from)
    };
    let mut data = Vec::with_capacity(3 * to_width * to_height);
    for plane in frame.planes() {
        for y in 0..to_height {
            let rows = part(y, to_height, from_height);
            for x in 0..to_width {
                let columns = part(x, to_width, from_width);
                let (mut sum, mut count) = (0_u64, 0_u64);
                for row in rows.clone() {
                    let start = row * from_width;
                    let pixels = plane.get(start + columns.start..start + columns.end).unwrap_or_default();
                    sum += pixels.iter().map(|pixel| u64::from(*pixel)).sum::<u64>();
                    count += pixels.len() as u64;
                }
                data.push(u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX));
            }
        }
    }
    Rgb::from_planes(width, height, data).unwrap_or_else(|| frame.clone())
}

/// Where two frames differ, the stronger the brighter; none of two sizes.
fn difference(one: &Rgb, other: &Rgb) -> Option<Rgb> {
    if (one.width(), one.height()) != (other.width(), other.height()) {
        return None;
    }
    let planes = one.planes().into_iter().zip(other.planes());
    let data = planes.flat_map(|(one, other)| one.iter().zip(other));
    let data = data.map(|(one, other)| one.abs_diff(*other).saturating_mul(STRONGER)).collect();
    Rgb::from_planes(one.width(), one.height(), data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: u32, height: u32, value: u8) -> Rgb {
        Rgb::from_planes(width, height, vec![value; (3 * width * height) as usize]).unwrap()
    }

    #[test]
    fn pictures_keep_their_shape_and_are_never_blown_up() {
        assert_eq!(fitting(480, 848, 240), (135, 240));
        assert_eq!(fitting(1, 8000, 240), (1, 240));
        assert_eq!(fitting(96, 64, 240), (96, 64));
        let half = Rgb::from_planes(2, 2, [[0, 100, 50, 250]; 3].concat()).unwrap();
        assert_eq!(shrunk(&half, 1, 1).planes(), [&[100][..]; 3]);
        assert_eq!(shrunk(&flat(7, 5, 9), 3, 2), flat(3, 2, 9));
    }

    #[test]
    fn a_row_has_the_first_and_the_last_frame_whatever_the_length() {
        for length in 1..70_u64 {
            let mut thinned = Thinned::new(8, 4);
            for n in 0..length {
                thinned.see(flat(2, 2, u8::try_from(n).unwrap()));
            }
            let shown = thinned.evenly();
            let numbers: Vec<u64> = shown.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers.len() as u64, length.min(8), "{length}: {numbers:?}");
            assert_eq!((numbers[0], *numbers.last().unwrap()), (1, length), "{numbers:?}");
            assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
            assert!(shown.iter().all(|(number, frame)| u64::from(frame.planes()[0][0]) + 1 == *number));
        }
    }

    #[test]
    fn a_preview_is_a_picture_and_the_last_few_are_kept() {
        let cache = tempfile::tempdir().unwrap();
        let jpeg = include_bytes!("../sim/clips/loop_perfect.jpg");
        let draw = |raw: &Path, into: &Path| {
            make(raw, Pictures::Ends, into, &Limits::default()).map_err(|error| error.to_string())
        };
        let mut paths = Vec::new();
        for number in 1..=9 {
            paths.push(preview(jpeg, cache.path(), number, draw).unwrap().path);
        }
        let kept: Vec<_> = paths.iter().map(|path| path.is_file()).collect();
        assert_eq!(kept, [false, false, false, false, false, true, true, true, true]);
        assert!(preview(b"no picture", cache.path(), 10, draw).unwrap_err().contains("neither a video nor an image"));
        assert!(!cache.path().join("live/10.raw").exists());
    }

    #[test]
    fn what_differs_is_bright() {
        let seen = difference(&flat(2, 2, 10), &flat(2, 2, 15)).unwrap();
        assert_eq!(seen, flat(2, 2, 20));
        assert_eq!(difference(&flat(2, 2, 0), &flat(2, 2, 255)).unwrap(), flat(2, 2, 255));
        assert!(difference(&flat(2, 2, 0), &flat(2, 3, 0)).is_none());
    }

    #[test]
    fn pictures_are_made_once_and_a_file_that_is_none_is_told_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/loop_tail_4.mp4");
        let into = dir.path().join("album");
        let names = |album: &Album| album.stills.iter().map(|still| still.name.clone()).collect::<Vec<_>>();
        let ends = make(&clip, Pictures::Ends, &into, &Limits::default()).unwrap();
        assert_eq!(names(&ends), ["first", "last", "difference"]);
        let strip = make(&clip, Pictures::Strip, &into, &Limits::default()).unwrap();
        assert_eq!((strip.stills.len(), names(&strip)[7].parse().ok()), (8, Some(strip.frames)));
        assert!(strip.fps.is_some());

        let written = |album: &Album| album.stills[0].path.metadata().unwrap().modified().unwrap();
        let before = written(&ends);
        assert_eq!(make(&clip, Pictures::Ends, &into, &Limits::default()).unwrap(), ends);
        assert_eq!(written(&ends), before, "not made again");
        std::fs::remove_file(&ends.stills[1].path).unwrap();
        assert_eq!(
            make(&clip, Pictures::Ends, &into, &Limits::default()).unwrap(),
            ends,
            "what was cleaned is made again"
        );
        assert!(ends.stills[1].path.is_file());

        let text = dir.path().join("text.mp4");
        std::fs::write(&text, "this is no clip").unwrap();
        assert!(matches!(make(&text, Pictures::Play, &into, &Limits::default()), Err(VideoError::NotMedia)));
    }
}
