//! PNG: `tEXt`, `iTXt` and ComfyUI's own `comf` chunks.

use std::io::{self, Read, Seek};

use super::{Embedded, PIECES, array, bytes, go};

pub(super) fn read(file: &mut (impl Read + Seek), found: &mut Embedded) -> io::Result<()> {
    let mut at = 8_u64;
    for _ in 0..PIECES {
        go(file, at)?;
        let Some([a, b, c, d, kind @ ..]) = array::<8>(file)? else { return Ok(()) };
        let length = u64::from(u32::from_be_bytes([a, b, c, d]));
        match &kind {
            b"tEXt" | b"comf" => {
                if let Some(data) = bytes(file, length)? {
                    plain(&data, found);
                }
            }
            b"iTXt" => {
                if let Some(data) = bytes(file, length)? {
                    international(&data, found);
                }
            }
            b"IEND" => return Ok(()),
            _ => {}
        }
        if found.is_whole() {
            return Ok(());
        }
        // length, kind, data, checksum
        at = at.saturating_add(12 + length);
    }
    Ok(())
}

/// Keyword, NUL, text in Latin-1.
fn plain(data: &[u8], found: &mut Embedded) {
    let Some(end) = data.iter().position(|b| *b == 0) else { return };
    let (name, text) = data.split_at(end);
    let text = text.get(1..).unwrap_or_default();
    // what is UTF-8 was meant so; Latin-1 is what the format says
    let text = std::str::from_utf8(text).map_or_else(|_| text.iter().map(|b| char::from(*b)).collect(), str::to_owned);
    found.take(&String::from_utf8_lossy(name), &text);
}

/// Keyword, NUL, compression (two bytes), language, NUL, translated keyword, NUL, text in UTF-8.
fn international(data: &[u8], found: &mut Embedded) {
    let mut parts = data.splitn(2, |b| *b == 0);
    let (Some(name), Some(rest)) = (parts.next(), parts.next()) else { return };
    let Some([0, _, rest @ ..]) = Some(rest) else { return };
    if let Some(text) = rest.splitn(3, |b| *b == 0).nth(2) {
        found.take(&String::from_utf8_lossy(name), &String::from_utf8_lossy(text));
    }
}
