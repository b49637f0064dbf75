//! The texts of a PNG or a WebP (ComfyUI's prompt and workflow among them), carried over to a copy: ffmpeg leaves them out.
//!
//! Chunks are copied byte by byte, before a PNG's pictures, behind those of a WebP; of its pictures nothing is touched. Must never read a
//! chunk whole that is longer than a text may be.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// What holds text; `comf` is where ComfyUI's animated PNGs have it, after the pictures.
const TEXTS: [[u8; 4]; 4] = [*b"tEXt", *b"zTXt", *b"iTXt", *b"comf"];
/// The same of a WebP, and their bits in its header (RFC 9649, 2.7).
const WEBP_TEXTS: [([u8; 4], u8); 2] = [(*b"EXIF", 8), (*b"XMP ", 4)];
/// Bytes of all texts; more are left out.
const MOST: usize = 16 << 20;
/// So many chunks are looked at.
const CHUNKS: usize = 200_000;

/// Writes the texts of `from` into `to`, by way of the file `spare`, which becomes `to`. Nothing is done where there are
/// none.
///
/// # Errors
/// Of the disk; or where `to` is no PNG.
pub(super) fn carry(from: &Path, to: &Path, spare: &Path) -> io::Result<()> {
    let texts = read(&mut BufReader::new(File::open(from)?))?;
    if texts.is_empty() {
        return Ok(());
    }
    let mut source = BufReader::new(File::open(to)?);
    let pictures = pictures_at(&mut source)?;
    source.rewind()?;
    let mut target = BufWriter::new(File::create_new(spare)?);
    io::copy(&mut (&mut source).take(pictures), &mut target)?;
    target.write_all(&texts)?;
    io::copy(&mut source, &mut target)?;
    target.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    drop(source);
    std::fs::rename(spare, to)
}

/// The same for a WebP, whose texts stand last: they are written behind what is in `to`.
///
/// # Errors
/// Of the disk; or where `to` is no WebP with a header for such.
pub(super) fn carry_webp(from: &Path, to: &Path) -> io::Result<()> {
    let (mut texts, mut flags) = (Vec::new(), 0);
    let mut source = BufReader::new(File::open(from)?);
    source.seek(SeekFrom::Start(12))?;
    for _ in 0..CHUNKS {
        let mut head = [0; 8];
        if !fills(&mut source, &mut head)? {
            break;
        }
        let [kind @ .., a, b, c, d] = head;
        let size = u64::from(u32::from_le_bytes([a, b, c, d]));
        let padded = size + size % 2;
        let room = MOST.saturating_sub(texts.len() + head.len()) as u64;
        // What says in the copy's header that they are there.
        let flag = WEBP_TEXTS.iter().find(|(name, _)| *name == kind).map_or(0, |(_, flag)| *flag);
        if flag != 0 && padded <= room {
            let before = texts.len();
            texts.extend(head);
            if (&mut source).take(padded).read_to_end(&mut texts)? as u64 != padded {
                texts.truncate(before);
                break;
            }
            flags |= flag;
        } else {
            source.seek_relative(i64::try_from(padded).unwrap_or(i64::MAX))?;
        }
    }
    if texts.is_empty() {
        return Ok(());
    }
    let mut target = File::options().read(true).write(true).open(to)?;
    let mut head = [0; 21];
    let none = || io::Error::new(ErrorKind::InvalidData, "ffmpeg wrote no animated WebP");
    if !fills(&mut target, &mut head)? || !head.starts_with(b"RIFF") || head.get(8..16) != Some(b"WEBPVP8X") {
        return Err(none());
    }
    target.seek(SeekFrom::End(0))?;
    target.write_all(&texts)?;
    let size = u32::try_from(target.stream_position()?.saturating_sub(8)).map_err(|_| none())?;
    target.seek(SeekFrom::Start(4))?;
    target.write_all(&size.to_le_bytes())?;
    target.seek(SeekFrom::Start(20))?;
    target.write_all(&[head[20] | flags])?;
    target.sync_all()
}

/// All chunks with text, as they are; none of what is no PNG.
fn read(file: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
    let mut texts = Vec::new();
    let mut magic = [0; 8];
    if !fills(file, &mut magic)? || magic != MAGIC {
        return Ok(texts);
    }
    for _ in 0..CHUNKS {
        let mut head = [0; 8];
        if !fills(file, &mut head)? {
            break;
        }
        let (kind, rest) = about(head);
        let room = MOST.saturating_sub(texts.len() + head.len()) as u64;
        if TEXTS.contains(&kind) && rest <= room {
            let before = texts.len();
            texts.extend(head);
            if file.take(rest).read_to_end(&mut texts)? as u64 != rest {
                // Cut off: half a chunk would spoil the copy.
                texts.truncate(before);
                break;
            }
        } else if kind == *b"IEND" {
            break;
        } else {
            file.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX))?;
        }
    }
    Ok(texts)
}

/// Where the first picture begins, bytes.
fn pictures_at(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    let mut magic = [0; 8];
    if fills(file, &mut magic)? && magic == MAGIC {
        for _ in 0..CHUNKS {
            let (mut head, at) = ([0; 8], file.stream_position()?);
            if !fills(file, &mut head)? {
                break;
            }
            let (kind, rest) = about(head);
            if matches!(&kind, b"fcTL" | b"IDAT") {
                return Ok(at);
            }
            file.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX))?;
        }
    }
    Err(io::Error::new(ErrorKind::InvalidData, "ffmpeg wrote no PNG"))
}

/// A chunk's kind, and how many bytes follow: its data and its checksum.
fn about([a, b, c, d, kind @ ..]: [u8; 8]) -> ([u8; 4], u64) {
    (kind, u64::from(u32::from_be_bytes([a, b, c, d])) + 4)
}

/// False at the end of the file.
pub(super) fn fills(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
