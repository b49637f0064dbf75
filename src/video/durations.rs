//! How long each frame of an animated image is shown, and how often it plays: read from a clip, written into its mended copy.
//!
//! ffmpeg gives all frames of such a copy the same time, or rounds their times. In the copy nothing is touched but the durations, in place.
//! Layouts: the `GIF89a` specification; PNG, third edition, 11.3.4 (`acTL`, `fcTL`); RFC 9649, 2.7.1 (WebP). Never reads pictures.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use flate2::Crc;

use super::texts::fills;

/// So many frames are looked at.
const FRAMES: usize = 200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gif,
    Png,
    WebP,
}

/// Ticks, and how many of them are a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duration {
    ticks: u32,
    a_second: u32,
}

impl Duration {
    fn seconds(self) -> f64 {
        f64::from(self.ticks) / f64::from(self.a_second)
    }
}

/// A frame's duration, and where it stands; nowhere where a GIF does not say.
type Place = (Option<u64>, Duration);

/// How an animated image is to be shown.
#[derive(Debug)]
pub(super) struct Pace {
    format: Format,
    frames: Vec<Place>,
    /// How often it plays, as its format counts: a GIF once more than that, and once where it does not say; 0 is for ever.
    pub(super) loops: Option<u16>,
}

impl Pace {
    /// Of a GIF, a PNG or a WebP; none of anything else, nor of a still.
    ///
    /// # Errors
    /// Of the disk.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut file = BufReader::new(File::open(path)?);
        let mut magic = [0; 12];
        if !fills(&mut file, &mut magic)? {
            return Ok(None);
        }
        let format = match &magic {
            [b'G', b'I', b'F', b'8', ..] => Format::Gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Format::WebP,
            [0x89, b'P', b'N', b'G', ..] => Format::Png,
            _ => return Ok(None),
        };
        let loops = (format != Format::Gif).then_some(0);
        let mut pace = Self { format, frames: Vec::new(), loops };
        match format {
            Format::Gif => pace.read_gif(&mut file)?,
            Format::Png => pace.read_png(&mut file)?,
            Format::WebP => pace.read_webp(&mut file)?,
        }
        Ok(Some(pace).filter(|pace| !pace.frames.is_empty()))
    }

    /// What the frames of a copy get: their own durations where it shows such a span of this clip's frames; else, each of
    /// so many frames, the mean, as nearly as the format can tell.
    pub(super) fn of_copy(&self, span: Option<&Range<u64>>, known: u64, frames: u64) -> Vec<Duration> {
        let each: Vec<_> = self.frames.iter().map(|(_, duration)| *duration).collect();
        let own = span.filter(|_| each.len() as u64 == known).and_then(|span| {
            each.get(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?).map(<[Duration]>::to_vec)
        });
        own.unwrap_or_else(|| self.even(&each, frames))
    }

    /// The mean for each of so many frames. What is rounded off one is given to a later one, so that the speed is right.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "durations of hours, in milliseconds, are far below 2^32"
    )]
    fn even(&self, each: &[Duration], frames: u64) -> Vec<Duration> {
        let Some(first) = each.first().copied() else { return Vec::new() };
        if each.iter().all(|duration| *duration == first) {
            return (0..frames).map(|_| first).collect();
        }
        let a_second = if self.format == Format::Gif { 100 } else { 1000 };
        // Every player shows what is shorter than 20 ms in a GIF for 100 ms.
        let is_unsaid = |duration: &Duration| self.format == Format::Gif && duration.ticks < 2;
        let all: f64 = each.iter().map(|one| if is_unsaid(one) { 0.1 } else { one.seconds() }).sum();
        let mean = all / each.len() as f64 * f64::from(a_second);
        let until = |frame: u64| (frame as f64 * mean).round();
        (0..frames).map(|frame| Duration { ticks: (until(frame + 1) - until(frame)) as u32, a_second }).collect()
    }

    /// Blocks, each of which is a chain of smaller ones that ends with an empty one.
    fn read_gif(&mut self, file: &mut (impl Read + Seek)) -> io::Result<()> {
        let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
        file.seek(SeekFrom::Start(6))?;
        let mut screen = [0; 7];
        if !fills(file, &mut screen)? {
            return Ok(());
        }
        file.seek_relative(table(screen[4]))?;
        let unsaid = (None, Duration { ticks: 0, a_second: 100 });
        let mut next = unsaid;
        while self.frames.len() < FRAMES {
            let mut kind = [0; 1];
            if !fills(file, &mut kind)? {
                break;
            }
            match kind {
                [0x21] => {
                    // What it is, and its first smaller block.
                    let (mut head, mut body) = ([0; 2], [0; 255]);
                    if !fills(file, &mut head)? {
                        break;
                    }
                    let [label, length] = head;
                    let at = file.stream_position()?;
                    let body = body.get_mut(..length.into()).unwrap_or_default();
                    if length == 0 || !fills(file, body)? {
                        continue;
                    }
                    match (label, &*body) {
                        (0xf9, [_, low, high, ..]) => {
                            let ticks = u16::from_le_bytes([*low, *high]).into();
                            next = (Some(at + 1), Duration { ticks, a_second: 100 });
                        }
                        (0xff, b"NETSCAPE2.0" | b"ANIMEXTS1.0") => {
                            let mut more = [0; 4];
                            if !fills(file, &mut more)? {
                                break;
                            }
                            if let [3, 1, low, high] = more {
                                self.loops = Some(u16::from_le_bytes([low, high]));
                            }
                            file.seek_relative(-4)?;
                        }
                        _ => {}
                    }
                }
                [0x2c] => {
                    let mut place = [0; 9];
                    if !fills(file, &mut place)? {
                        break;
                    }
                    file.seek_relative(table(place[8]) + 1)?;
                    self.frames.push(std::mem::replace(&mut next, unsaid));
                }
                _ => break,
            }
            // The rest of the chain.
            let mut length = [0; 1];
            while fills(file, &mut length)? && length != [0] {
                file.seek_relative(length[0].into())?;
            }
        }
        Ok(())
    }

    fn read_png(&mut self, file: &mut (impl Read + Seek)) -> io::Result<()> {
        file.seek(SeekFrom::Start(8))?;
        let mut head = [0; 8];
        while self.frames.len() < FRAMES && fills(file, &mut head)? {
            let [length @ .., k, i, n, d] = head;
            let (kind, length) = ([k, i, n, d], i64::from(u32::from_be_bytes(length)));
            let at = file.stream_position()?;
            let mut body = [0; 26];
            let wanted = match &kind {
                b"acTL" => body.get_mut(..8),
                b"fcTL" => body.get_mut(..),
                b"IEND" => break,
                _ => None,
            };
            let wanted = wanted.unwrap_or_default();
            let read = wanted.len() as u64;
            if !fills(file, wanted)? {
                break;
            }
            match &kind {
                b"acTL" => {
                    let plays = u32::from_be_bytes([body[4], body[5], body[6], body[7]]);
                    self.loops = Some(u16::try_from(plays).unwrap_or(u16::MAX));
                }
                b"fcTL" => {
                    let ticks = u16::from_be_bytes([body[20], body[21]]).into();
                    let a_second = match u16::from_be_bytes([body[22], body[23]]) {
                        0 => 100,
                        said => said.into(),
                    };
                    self.frames.push((Some(at + 20), Duration { ticks, a_second }));
                }
                _ => {}
            }
            // With its checksum.
            file.seek_relative(length + 4 - i64::try_from(read).unwrap_or(0))?;
        }
        Ok(())
    }

    fn read_webp(&mut self, file: &mut (impl Read + Seek)) -> io::Result<()> {
        let mut at = 12;
        let mut head = [0; 8];
        while self.frames.len() < FRAMES && fills(file, &mut head)? {
            let [kind @ .., a, b, c, d] = head;
            let length = u64::from(u32::from_le_bytes([a, b, c, d]));
            let mut body = [0; 16];
            match &kind {
                b"ANIM" if fills(file, &mut body[..6])? => {
                    self.loops = Some(u16::from_le_bytes([body[4], body[5]]));
                }
                b"ANMF" if fills(file, &mut body)? => {
                    let ticks = u32::from_le_bytes([body[12], body[13], body[14], 0]);
                    self.frames.push((Some(at + 8 + 12), Duration { ticks, a_second: 1000 }));
                }
                _ => {}
            }
            at += 8 + length + length % 2;
            file.seek(SeekFrom::Start(at))?;
        }
        Ok(())
    }
}

/// Gives the frames of an animated image these durations.
///
/// # Errors
/// Of the disk; or where it has another number of frames, or one that says nothing of its duration.
pub(super) fn write(to: &Path, durations: &[Duration]) -> io::Result<()> {
    let wrong = || io::Error::new(ErrorKind::InvalidData, "ffmpeg wrote it without a duration for each frame");
    let pace = Pace::of(to)?.filter(|pace| pace.frames.len() == durations.len()).ok_or_else(wrong)?;
    let mut file = File::options().read(true).write(true).open(to)?;
    for ((at, was), duration) in pace.frames.into_iter().zip(durations) {
        let at = at.ok_or_else(wrong)?;
        if was == *duration {
            continue;
        }
        let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        match pace.format {
            Format::Gif => {
                file.seek(SeekFrom::Start(at))?;
                file.write_all(&small(duration.ticks).to_le_bytes())?;
            }
            Format::WebP => {
                let [a, b, c, _] = duration.ticks.min(0xff_ffff).to_le_bytes();
                file.seek(SeekFrom::Start(at))?;
                file.write_all(&[a, b, c])?;
            }
            Format::Png => {
                // The chunk's name and body, behind which its checksum stands.
                let mut chunk = [0; 30];
                file.seek(SeekFrom::Start(at - 24))?;
                file.read_exact(&mut chunk)?;
                chunk[24..26].copy_from_slice(&small(duration.ticks).to_be_bytes());
                chunk[26..28].copy_from_slice(&small(duration.a_second).to_be_bytes());
                let mut sum = Crc::new();
                sum.update(&chunk);
                file.seek(SeekFrom::Start(at - 24))?;
                file.write_all(&chunk)?;
                file.write_all(&sum.sum().to_be_bytes())?;
            }
        }
    }
    file.sync_all()
}
