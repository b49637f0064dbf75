//! WebP: texts in the first directory of its EXIF chunk, each `name:value`.

use std::io::{self, Read, Seek};

use super::{Embedded, PIECES, array, bytes, go};

pub(super) fn read(file: &mut (impl Read + Seek), found: &mut Embedded) -> io::Result<()> {
    let mut at = 12_u64;
    for _ in 0..PIECES {
        go(file, at)?;
        let (Some(kind), Some(length)) = (array::<4>(file)?, array::<4>(file)?) else { return Ok(()) };
        let length = u64::from(u32::from_le_bytes(length));
        if kind == *b"EXIF" {
            if let Some(data) = bytes(file, length)? {
                exif(&data, found);
            }
            return Ok(());
        }
        at = at.saturating_add(8 + length + length % 2);
    }
    Ok(())
}

fn exif(data: &[u8], found: &mut Embedded) {
    let tiff = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    let little = match tiff.get(..4) {
        Some(b"II*\0") => true,
        Some(b"MM\0*") => false,
        _ => return,
    };
    let short = |at: usize| -> Option<u16> {
        let two = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    };
    let long = |at: usize| -> Option<usize> {
        let four = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        usize::try_from(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }).ok()
    };
    let Some(directory) = long(4) else { return };
    let count = usize::from(short(directory).unwrap_or(0));
    for index in 0..count {
        let Some(entry) = directory.checked_add(2 + 12 * index) else { return };
        let (Some(kind), Some(length)) = (short(entry + 2), long(entry + 4)) else { return };
        // a text; of four bytes or fewer it stands in the entry itself, and is no JSON
        let (2, true) = (kind, length > 4) else { continue };
        let text = long(entry + 8).and_then(|start| tiff.get(start..start.checked_add(length)?));
        let Some(text) = text else { continue };
        let text = String::from_utf8_lossy(text);
        if let Some((name, value)) = text.trim_end_matches('\0').split_once(':') {
            found.take(name, value);
        }
    }
}
