//! FLAC: Vorbis comments, `name=value`.

use std::io::{self, Read, Seek};

use super::{Embedded, array, bytes, go};

pub(super) fn read(file: &mut (impl Read + Seek), found: &mut Embedded) -> io::Result<()> {
    let mut at = 4_u64;
    // a block's kind has seven bits
    for _ in 0..128 {
        go(file, at)?;
        let Some([kind, a, b, c]) = array::<4>(file)? else { return Ok(()) };
        let length = u64::from(u32::from_be_bytes([0, a, b, c]));
        if kind & 0x7f == 4 {
            if let Some(data) = bytes(file, length)? {
                comments(&data, found);
            }
            return Ok(());
        }
        if kind & 0x80 != 0 {
            return Ok(());
        }
        at += 4 + length;
    }
    Ok(())
}

fn comments(data: &[u8], found: &mut Embedded) -> Option<()> {
    fn long(rest: &mut &[u8]) -> Option<usize> {
        let (four, after) = rest.split_at_checked(4)?;
        *rest = after;
        usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
    }
    fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = long(rest)?;
        let (part, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some(part)
    }
    let mut rest = data;
    part(&mut rest)?;
    for _ in 0..long(&mut rest)? {
        let comment = String::from_utf8_lossy(part(&mut rest)?);
        if let Some((name, value)) = comment.split_once('=') {
            found.take(name, value);
        }
    }
    Some(())
}
