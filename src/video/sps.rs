//! H.264 NAL units and parameter sets: what must be known before a decoder is asked.
//!
//! Pure: bytes in, facts out (ITU-T H.264, sections 7.3.1, 7.3.2.1.1, 7.3.2.2 and annex E.1.1). Never
//! decodes a picture.

use crate::verdict::colour::Colour;

/// What a sequence parameter set says of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sps {
    /// Of the coded picture, before cropping.
    pub(super) width: u64,
    pub(super) height: u64,
    /// 0 = gray, 1 = 4:2:0, 2 = 4:2:2, 3 = 4:4:4.
    pub(super) chroma_format: u32,
    /// The deeper one of luma's and chroma's, in bits.
    pub(super) depth: u32,
    pub(super) references: u32,
    pub(super) colour: Colour,
}

impl Sps {
    /// Reads a set from a NAL unit (its header byte included); none where it ends too early or
    /// has an impossible number.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = unescape(nal.get(1..)?);
        let mut bits = Bits { bytes: &payload, position: 0 };
        let profile = bits.take(8)?;
        bits.take(16)?; // constraints, level
        bits.id(31)?;
        let (mut chroma_format, mut depth) = (1, 8);
        if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            chroma_format = bits.golomb()?;
            if chroma_format == 3 {
                bits.take(1)?; // separate planes
            }
            depth = bits.golomb()?.max(bits.golomb()?).saturating_add(8);
            bits.take(1)?; // transform bypass
            if bits.take(1)? == 1 {
                let lists = if chroma_format == 3 { 12 } else { 8 };
                for list in 0..lists {
                    if bits.take(1)? == 1 {
                        bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.golomb()?; // frame number bits
        match bits.golomb()? {
            0 => {
                bits.golomb()?;
            }
            1 => {
                bits.take(1)?;
                bits.golomb()?;
                bits.golomb()?;
                for _ in 0..bits.golomb()?.min(255) {
                    bits.golomb()?;
                }
            }
            _ => {}
        }
        let references = bits.golomb()?;
        bits.take(1)?; // gaps allowed
        let width = (u64::from(bits.golomb()?) + 1) * 16;
        let map_units = u64::from(bits.golomb()?) + 1;
        let frames_only = bits.take(1)? == 1;
        let height = map_units * if frames_only { 16 } else { 32 };
        if !frames_only {
            bits.take(1)?; // MBAFF: the decoder refuses it itself
        }
        bits.take(1)?; // direct 8x8
        if bits.take(1)? == 1 {
            for _ in 0..4 {
                bits.golomb()?; // cropping
            }
        }
        let colour = if bits.take(1)? == 1 { bits.colour()? } else { UNTAGGED };
        Some(Self { width, height, chroma_format, depth, references, colour })
    }
}

/// What a picture parameter set says of its pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pps {
    /// Intra blocks are predicted from intra blocks only.
    pub(super) constrained_intra: bool,
    pub(super) transform_8x8: bool,
}

impl Pps {
    /// Reads a set from a NAL unit (its header byte included); none where it ends too early or
    /// has slice groups, which no encoder of today writes.
    pub(super) fn parse(nal: &[u8]) -> Option<Self> {
        let payload = unescape(nal.get(1..)?);
        let stop = payload.iter().rposition(|byte| *byte != 0)?;
        let stop = stop * 8 + 7 - payload.get(stop)?.trailing_zeros() as usize;
        let mut bits = Bits { bytes: &payload, position: 0 };
        bits.id(255)?;
        bits.id(31)?; // of its sequence parameter set
        bits.take(2)?; // CABAC, field order
        if bits.golomb()? != 0 {
            return None;
        }
        bits.golomb()?; // reference counts
        bits.golomb()?;
        bits.take(3)?; // weighted prediction
        for _ in 0..3 {
            bits.golomb()?; // quantisers
        }
        bits.take(1)?; // deblocking
        let constrained_intra = bits.take(1)? == 1;
        bits.take(1)?; // redundant pictures
        let transform_8x8 = bits.position < stop && bits.take(1)? == 1;
        Some(Self { constrained_intra, transform_8x8 })
    }
}

/// Of a stream that doesn't say: BT.601, limited range.
const UNTAGGED: Colour = Colour { matrix: 2, full_range: false };

struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.position / 8)?;
            let bit = byte >> (7 - self.position % 8) & 1;
            self.position += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    /// `ue(v)`; also fit to skip an `se(v)`.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// A parameter set's number. A decoder keeps all that it is given, so no more than the standard allows.
    fn id(&mut self, most: u32) -> Option<u32> {
        self.golomb().filter(|id| *id <= most)
    }

    fn signed_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.golomb()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 })
    }

    fn skip_scaling_list(&mut self, size: usize) -> Option<()> {
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..size {
            if next != 0 {
                next = (last + self.signed_golomb()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }

    /// The beginning of `vui_parameters()`, as far as the colour.
    fn colour(&mut self) -> Option<Colour> {
        if self.take(1)? == 1 && self.take(8)? == 255 {
            self.take(32)?; // an aspect ratio that is not in the table
        }
        if self.take(1)? == 1 {
            self.take(1)?; // overscan
        }
        let mut colour = UNTAGGED;
        if self.take(1)? == 1 {
            self.take(3)?; // video format
            colour.full_range = self.take(1)? == 1;
            if self.take(1)? == 1 {
                self.take(16)?; // primaries, transfer
                colour.matrix = u8::try_from(self.take(8)?).ok()?;
            }
        }
        Some(colour)
    }
}

/// The payload without emulation prevention (00 00 03 -> 00 00).
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut payload = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        payload.push(*byte);
    }
    payload
}

/// The NAL units of an mp4 sample, each behind its big-endian length of 1 to 4 bytes.
/// Ends early where a length is more than what is left.
pub(super) fn nal_units(sample: &[u8], length_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_at_checked(length_bytes)?;
        let length = length.iter().fold(0_usize, |value, byte| value << 8 | usize::from(*byte));
        let (nal, after) = after.split_at_checked(length)?;
        rest = after;
        Some(nal)
    })
}

/// What a NAL unit's first byte says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nal {
    /// A slice of a picture; `reference` = other pictures may be predicted from it.
    Slice {
        reference: bool,
    },
    Sps,
    Pps,
    Other,
}

impl Nal {
    pub(super) fn of(nal: &[u8]) -> Self {
        let first = nal.first().copied().unwrap_or(0);
        match first & 31 {
            1..=5 => Self::Slice { reference: first & 0x60 != 0 },
            7 => Self::Sps,
            8 => Self::Pps,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_escapes_are_undone() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 3, 0, 0]);
        let units: Vec<_> = nal_units(&[0, 2, 0x65, 1, 0, 1, 0x67, 0, 9, 1], 2).collect();
        assert_eq!(units, [&[0x65, 1][..], &[0x67]]);
        assert_eq!(Nal::of(&[0x65]), Nal::Slice { reference: true });
        assert_eq!(Nal::of(&[0x01]), Nal::Slice { reference: false });
        assert_eq!(Nal::of(&[]), Nal::Other);
    }

    #[test]
    fn a_baseline_set_is_read() {
        // profile 66, level 10; id 0, frame number bits 0, order type 2, 1 reference, no gaps,
        // 6 x 4 macroblocks, frames only, direct, no cropping, no VUI, stop bit
        let bits = "01000010_00000000_00001010_1_1_011_010_0_00110_00100_1_1_0_0_1";
        assert_eq!(
            Sps::parse(&nal(bits)),
            Some(Sps { width: 96, height: 64, chroma_format: 1, depth: 8, references: 1, colour: UNTAGGED })
        );
    }

    #[test]
    fn a_high_set_tells_depth_chroma_and_colour() {
        // profile 110: 4:2:2, 10 bits, one scaling list of 16 deltas "0"; VUI: no aspect, no
        // overscan, format 5, full range, 1 1 1
        let list = "1".repeat(16);
        let bits = format!(
            "01101110_00000000_00001010_1_011_011_011_0_1_1{list}0000000_1_1_1_010_0_1_1_1_1_0_\
             1_0_0_1_101_1_1_00000001_00000001_00000001_1"
        );
        let sps = Sps::parse(&nal(&bits)).unwrap();
        assert_eq!((sps.width, sps.height, sps.chroma_format, sps.depth), (16, 16, 2, 10));
        assert_eq!(sps.colour, Colour { matrix: 1, full_range: true });
        assert_eq!(Sps::parse(&nal(&bits)[..6]), None);
    }

    #[test]
    fn a_picture_set_is_read_with_and_without_its_tail() {
        // ids, CABAC, no slice groups, 1 + 1 references, no weights, quantisers, deblocking control
        let common = "1_1_1_0_1_1_1_0_00_1_1_1_1";
        let read = |tail: &str| Pps::parse(&nal(&format!("{common}{tail}"))).unwrap();
        assert_eq!(read("0_0_1"), Pps { constrained_intra: false, transform_8x8: false });
        assert_eq!(read("1_0_1"), Pps { constrained_intra: true, transform_8x8: false });
        assert_eq!(read("1_0_1_0_1_1"), Pps { constrained_intra: true, transform_8x8: true });
        assert_eq!(Pps::parse(&nal("1_1_1")), None);
    }

    fn nal(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b'_').map(|b| b - b'0').collect();
        let payload = bits.chunks(8).map(|byte| byte.iter().enumerate().map(|(n, bit)| bit << (7 - n)).sum());
        std::iter::once(0x67).chain(payload).collect()
    }
}
