//! Matroska and `WebM`: `Segment/Tags/Tag/SimpleTag`, of which `TagName` and `TagString` count.

use std::io::{self, Read, Seek};

use super::{Embedded, PIECES, array, bytes, go};

const SEGMENT: u64 = 0x1853_8067;
const TAGS: u64 = 0x1254_C367;
const TAG: u64 = 0x7373;
const SIMPLE_TAG: u64 = 0x67C8;
const NAME: u64 = 0x45A3;
const STRING: u64 = 0x4487;

/// Where an element's content begins and ends.
struct Element {
    id: u64,
    from: u64,
    to: u64,
}

pub(super) fn read(file: &mut (impl Read + Seek), found: &mut Embedded) -> io::Result<()> {
    let end = file.seek(io::SeekFrom::End(0))?;
    let mut left = PIECES;
    walk(file, 0, end, &mut left, found)
}

/// Segment, tags and tags in them: five deep at most, as each is entered from its own parent only.
fn walk(file: &mut (impl Read + Seek), from: u64, to: u64, left: &mut usize, found: &mut Embedded) -> io::Result<()> {
    // (end, parent) of what is being walked
    let mut open = vec![(to, 0_u64)];
    let mut at = from;
    let mut name = None;
    while *left > 0 && !found.is_whole() {
        while open.len() > 1 && open.last().is_some_and(|(end, _)| at >= *end) {
            open.pop();
        }
        let Some((end, parent)) = open.last().copied().filter(|(end, _)| at < *end) else { return Ok(()) };
        *left -= 1;
        let Some(it) = element(file, at, end)? else { return Ok(()) };
        match (parent, it.id) {
            (0, SEGMENT) | (SEGMENT, TAGS) | (TAGS, TAG) | (TAG | SIMPLE_TAG, SIMPLE_TAG) if open.len() < 8 => {
                open.push((it.to, it.id));
                name = None;
                at = it.from;
                continue;
            }
            (SIMPLE_TAG, NAME) => name = text(file, &it)?,
            (SIMPLE_TAG, STRING) => {
                if let (Some(name), Some(text)) = (&name, text(file, &it)?) {
                    found.take(name, &text);
                }
            }
            _ => {}
        }
        at = it.to;
    }
    Ok(())
}

fn text(file: &mut (impl Read + Seek), it: &Element) -> io::Result<Option<String>> {
    go(file, it.from)?;
    let text = bytes(file, it.to - it.from)?;
    Ok(text.map(|text| String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned()))
}

fn element(file: &mut (impl Read + Seek), at: u64, end: u64) -> io::Result<Option<Element>> {
    go(file, at)?;
    let Some((id, id_length)) = number(file, false)? else { return Ok(None) };
    let Some((size, size_length)) = number(file, true)? else { return Ok(None) };
    let from = at + id_length + size_length;
    // all ones: to the end of its parent
    let unknown = size == (1 << (7 * size_length)) - 1;
    let to = if unknown { end } else { from.saturating_add(size) };
    // what is cut off at the end of the file may be whole up to there
    Ok((from <= end && to > at).then_some(Element { id, from, to: to.min(end) }))
}

/// A number whose first byte tells how many follow, and its length; with `masked` without that mark.
fn number(file: &mut impl Read, masked: bool) -> io::Result<Option<(u64, u64)>> {
    let Some([first]) = array::<1>(file)? else { return Ok(None) };
    let more = first.leading_zeros();
    if more > 7 {
        return Ok(None);
    }
    let mut value = u64::from(if masked { first & (0x7f_u8 >> more) } else { first });
    for _ in 0..more {
        let Some([byte]) = array::<1>(file)? else { return Ok(None) };
        value = value << 8 | u64::from(byte);
    }
    Ok(Some((value, u64::from(more) + 1)))
}
