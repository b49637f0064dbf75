//! A first walk over an mp4's boxes, before a parser is trusted with it.
//!
//! Reads no more than headers and the index. Never allocates what a box merely claims: it is
//! here to find out that a file is cut off, has no index, or declares more samples than anyone
//! means (8 bytes of a box can ask the parser for 4 billion of them).

use std::io::{Read, Seek, SeekFrom};

use super::{Budget, VideoError};

/// All index boxes (`moov`, `moof`, …) of one file together. A sample takes 12 to 20 bytes of it.
const INDEX_BYTES: u64 = 32 << 20;
/// Boxes inside them.
const INDEX_BOXES: u64 = 200_000;

/// Walks a file of `length` bytes.
///
/// # Errors
/// `CutOff` where a box ends beyond the file or there is no `moov`; `TooLarge`; `Damaged`.
pub(super) fn check(file: &mut (impl Read + Seek), length: u64, budget: &Budget) -> Result<(), VideoError> {
    let mut tally = Tally { budget, index_bytes: 0, boxes: 0, samples: 0 };
    let mut has_index = false;
    let mut position = 0;
    while length.saturating_sub(position) >= 8 {
        file.seek(SeekFrom::Start(position))?;
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let (size, name) = header_of(header);
        let (mut size, mut header_bytes) = (u64::from(size), 8);
        match size {
            0 => size = length - position,
            1 => {
                let mut large = [0; 8];
                file.read_exact(&mut large)?;
                (size, header_bytes) = (u64::from_be_bytes(large), 16);
            }
            _ => {}
        }
        if size < header_bytes {
            return Err(VideoError::Damaged(format!("a box of {size} bytes at byte {position}")));
        }
        let left = length - position;
        if size > left {
            let name = String::from_utf8_lossy(&name).into_owned();
            let name = crate::text::clean(&name);
            return Err(VideoError::CutOff(format!(
                "its box `{name}` has {size} bytes, the file ends after {left} of them"
            )));
        }
        if matches!(&name, b"moov" | b"moof" | b"emsg" | b"ftyp") {
            tally.index_bytes += size;
            if tally.index_bytes > INDEX_BYTES {
                return Err(VideoError::TooLarge(format!("an index of more than {} MB", INDEX_BYTES >> 20)));
            }
            if matches!(&name, b"moov" | b"moof") {
                has_index |= &name == b"moov";
                let mut body = Vec::new();
                file.take(size - header_bytes).read_to_end(&mut body)?;
                tally.descend(&body)?;
            }
        }
        tally.one_more_box()?;
        position += size;
    }
    if has_index {
        return Ok(());
    }
    Err(VideoError::CutOff("there is no index (`moov`) in it".to_owned()))
}

/// Size and name of a box.
fn header_of(header: [u8; 8]) -> (u32, [u8; 4]) {
    let [a, b, c, d, name @ ..] = header;
    (u32::from_be_bytes([a, b, c, d]), name)
}

struct Tally<'a> {
    budget: &'a Budget<'a>,
    index_bytes: u64,
    boxes: u64,
    samples: u64,
}

impl Tally<'_> {
    fn one_more_box(&mut self) -> Result<(), VideoError> {
        self.boxes += 1;
        if self.boxes > INDEX_BOXES {
            return Err(VideoError::TooLarge(format!("more than {INDEX_BOXES} boxes in its index")));
        }
        Ok(())
    }

    /// Counts the samples that a container box declares. The nesting of the names is fixed and
    /// shallow, and each level is shorter than the one above, so the recursion ends.
    fn descend(&mut self, mut body: &[u8]) -> Result<(), VideoError> {
        while let Some((header, rest)) = body.split_first_chunk::<8>() {
            self.one_more_box()?;
            let (size, name) = header_of(*header);
            let Some((content, next)) = (size as usize).checked_sub(8).and_then(|size| rest.split_at_checked(size))
            else {
                return Err(VideoError::Damaged("a box in its index does not fit into the one around it".to_owned()));
            };
            match &name {
                b"trak" | b"mdia" | b"minf" | b"stbl" | b"traf" => self.descend(content)?,
                // version and flags, the size all samples share, count
                b"stsz" => self.count(content, 8)?,
                // version and flags, count
                b"trun" => self.count(content, 4)?,
                _ => {}
            }
            body = next;
        }
        Ok(())
    }

    fn count(&mut self, content: &[u8], offset: usize) -> Result<(), VideoError> {
        let count = content
            .get(offset..)
            .and_then(|rest| rest.first_chunk::<4>())
            .map_or(0, |bytes| u32::from_be_bytes(*bytes));
        self.samples += u64::from(count);
        self.budget.frames(self.samples)
    }
}
