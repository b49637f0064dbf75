//! MP4 and MOV: `moov/udta/meta` (or `moov/meta`), where `keys` names what `ilst` holds; or iTunes' comment.

use std::io::{self, Read, Seek};

use super::{Embedded, PIECES, array, bytes, go};

/// Boxes within boxes, at most.
const DEPTH: usize = 6;

/// A box: what it is, and where its content begins and ends.
struct Part {
    kind: [u8; 4],
    from: u64,
    to: u64,
}

pub(super) fn read(file: &mut (impl Read + Seek), found: &mut Embedded) -> io::Result<()> {
    let end = file.seek(io::SeekFrom::End(0))?;
    let mut left = PIECES;
    walk(file, 0, end, DEPTH, &mut left, found)
}

/// The box at an offset.
fn part(file: &mut (impl Read + Seek), at: u64, end: u64) -> io::Result<Option<Part>> {
    go(file, at)?;
    let Some([a, b, c, d, kind @ ..]) = array::<8>(file)? else { return Ok(None) };
    let mut header = 8;
    let size = match u32::from_be_bytes([a, b, c, d]) {
        0 => end - at,
        1 => {
            let Some(large) = array::<8>(file)? else { return Ok(None) };
            header = 16;
            u64::from_be_bytes(large)
        }
        size => size.into(),
    };
    let to = at.saturating_add(size);
    Ok((size >= header && to <= end).then_some(Part { kind, from: at + header, to }))
}

fn walk(
    file: &mut (impl Read + Seek),
    from: u64,
    to: u64,
    depth: usize,
    left: &mut usize,
    found: &mut Embedded,
) -> io::Result<()> {
    let mut at = from;
    while at < to && *left > 0 && depth > 0 {
        *left -= 1;
        let Some(it) = part(file, at, to)? else { return Ok(()) };
        match &it.kind {
            b"moov" | b"udta" => walk(file, it.from, it.to, depth - 1, left, found)?,
            b"meta" => meta(file, &it, left, found)?,
            _ => {}
        }
        if found.is_whole() {
            return Ok(());
        }
        at = it.to;
    }
    Ok(())
}

fn meta(file: &mut (impl Read + Seek), it: &Part, left: &mut usize, found: &mut Embedded) -> io::Result<()> {
    go(file, it.from)?;
    let Some([.., a, b, c, d]) = array::<8>(file)? else { return Ok(()) };
    // ISO puts version and flags in front, QuickTime does not
    let mut at = if [a, b, c, d] == *b"hdlr" { it.from } else { it.from + 4 };
    let mut names = Vec::new();
    while at < it.to && *left > 0 {
        *left -= 1;
        let Some(inner) = part(file, at, it.to)? else { return Ok(()) };
        match &inner.kind {
            b"keys" => names = keys(file, &inner)?,
            b"ilst" => items(file, &inner, &names, left, found)?,
            _ => {}
        }
        at = inner.to;
    }
    Ok(())
}

fn keys(file: &mut (impl Read + Seek), it: &Part) -> io::Result<Vec<String>> {
    go(file, it.from)?;
    let data = bytes(file, it.to - it.from)?.unwrap_or_default();
    let mut names = Vec::new();
    let mut rest = data.get(8..).unwrap_or_default();
    while let Some((four, _)) = rest.split_at_checked(4)
        && let Ok(four) = four.try_into()
        && let Ok(size) = usize::try_from(u32::from_be_bytes(four))
        && let Some(name) = rest.get(8..size)
    {
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = rest.get(size..).unwrap_or_default();
    }
    Ok(names)
}

fn items(
    file: &mut (impl Read + Seek),
    it: &Part,
    names: &[String],
    left: &mut usize,
    found: &mut Embedded,
) -> io::Result<()> {
    let mut at = it.from;
    while at < it.to && *left > 0 {
        *left -= 1;
        let Some(item) = part(file, at, it.to)? else { return Ok(()) };
        at = item.to;
        let name = if item.kind == *b"\xa9cmt" {
            "comment"
        } else {
            let index = usize::try_from(u32::from_be_bytes(item.kind)).unwrap_or(0);
            let Some(name) = index.checked_sub(1).and_then(|index| names.get(index)) else { continue };
            name
        };
        let Some(data) = part(file, item.from, item.to)?.filter(|data| data.kind == *b"data") else { continue };
        // what kind of text, and of which country
        let text = data.from + 8;
        go(file, text)?;
        if let Some(text) = bytes(file, data.to.saturating_sub(text))? {
            found.take(name, &String::from_utf8_lossy(&text));
        }
    }
    Ok(())
}
