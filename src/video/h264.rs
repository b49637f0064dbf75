//! The pictures of an H.264 track: its two ends, or all in the order of showing.
//!
//! For the ends it decodes as little as possible: from the sync sample before each of the two, and
//! without the pictures that no other is predicted from. Never decodes what [`gate`] does not let
//! through: a wrong picture would be worse than none.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use rusty_h264_decoder::{DecodeError, Decoder};

use super::mp4::Track;
use super::sps::{Nal, Pps, Sps, nal_units};
use super::{Budget, Ends, Refusal, Sink, VideoError};
use crate::verdict::Rgb;
use crate::verdict::colour::{Colour, Yuv420, rgb_from_yuv420};

/// What a decoder must be able to do; kept this small so that another one can take its place.
trait PictureDecoder {
    /// Forgets all pictures and parameter sets.
    fn restart(&mut self);
    /// Takes a parameter set (a NAL unit without start code).
    fn parameters(&mut self, nal: &[u8]) -> Result<(), Refusal>;
    /// Takes one whole picture (Annex B) and gives it back decoded, in decoding order; none where
    /// there was no slice in it.
    fn picture(&mut self, access_unit: &[u8]) -> Result<Option<Picture>, Refusal>;
}

/// A decoded picture, cropped, 8-bit 4:2:0.
struct Picture {
    width: usize,
    height: usize,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

/// `rusty_h264-decoder`: pure Rust, bit-exact with ffmpeg on every stream it does not refuse.
struct Rusty(Decoder);

impl PictureDecoder for Rusty {
    fn restart(&mut self) {
        self.0 = Decoder::new();
    }

    fn parameters(&mut self, nal: &[u8]) -> Result<(), Refusal> {
        let mut set = Vec::with_capacity(nal.len() + START_CODE.len());
        append(&mut set, nal);
        self.0.decode(&set).map_err(refusal)?;
        Ok(())
    }

    fn picture(&mut self, access_unit: &[u8]) -> Result<Option<Picture>, Refusal> {
        let frame = self.0.decode(access_unit).map_err(refusal)?;
        Ok(frame.map(|frame| Picture { width: frame.width, height: frame.height, y: frame.y, u: frame.u, v: frame.v }))
    }
}

fn refusal(error: DecodeError) -> Refusal {
    match error {
        DecodeError::Unsupported(what) => Refusal::needs_ffmpeg(format!("h264, {what}")),
        error => Refusal::AskFfmpeg(VideoError::Damaged(format!("its H.264 can't be decoded ({error})"))),
    }
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

fn append(annex_b: &mut Vec<u8>, nal: &[u8]) {
    annex_b.extend_from_slice(&START_CODE);
    annex_b.extend_from_slice(nal);
}

/// Decodes the two ends of a track.
pub(super) fn ends(mut track: Track, budget: &Budget) -> Result<Ends, Refusal> {
    let (frames, fps) = (track.frames, track.fps);
    let (first, last) = (track.first, track.last);
    let decoder = &mut Rusty(Decoder::new());
    let mut search = Search { decoder, track: &mut track, budget, colour: None, all: false };
    let (from_first, from_last) = (search.start_of(first), search.start_of(last));
    let (first, last) = if first == last {
        let [only, _] = search.pictures(from_first, [first, first])?;
        (only, None)
    } else if from_first == from_last {
        let [first, last] = search.pictures(from_first, [first, last])?;
        (first, last)
    } else {
        let [begin, _] = search.pictures(from_first, [first, first])?;
        let [end, _] = search.pictures(from_last, [last, last])?;
        (begin, end)
    };
    let first = first.ok_or(VideoError::NoFrames)?;
    if frames > 1 && last.is_none() {
        return Err(Refusal::AskFfmpeg(VideoError::Damaged("its last frame is not in it".to_owned())));
    }
    Ok(Ends { first, last, frames, fps })
}

/// Pictures that wait to be converted and looked at, beside those that wait for their turn.
const AHEAD: usize = 2;

/// Hands over all pictures in the order of showing; frames a second. They are decoded on a thread of their own, one
/// or two ahead of what is looked at.
pub(super) fn frames(track: Track, budget: &Budget, sink: &mut Sink) -> Result<Option<f64>, Refusal> {
    let fps = track.fps.filter(|_| track.frames > 1);
    thread::scope(|scope| {
        let (send, pictures) = sync_channel(AHEAD);
        let decoder = scope.spawn(move || super::unpanicked(|| decode_all(track, budget, &send)));
        let mut shown = Ok(());
        for (picture, colour) in pictures {
            shown = convert(&picture, colour).and_then(|frame| Ok(sink(frame)?));
            if shown.is_err() {
                // With nobody to send to the decoder ends.
                break;
            }
        }
        let outcome = decoder.join().unwrap_or_else(|_| Err(VideoError::NoFrames.into()));
        shown.and(outcome).map(|()| fps)
    })
}

/// Decodes every sample; sends those that are shown, each in its turn.
fn decode_all(mut track: Track, budget: &Budget, send: &SyncSender<(Picture, Colour)>) -> Result<(), Refusal> {
    let places = track.places();
    let last = places.iter().rposition(Option::is_some).unwrap_or(0);
    let decoder = &mut Rusty(Decoder::new());
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    let mut search = Search { decoder, track: &mut track, budget, colour: None, all: true };
    search.decode(0, last, &|_| true, &mut |index, picture, colour| {
        let Some(place) = places.get(index).copied().flatten() else { return Ok(true) };
        let picture = picture.ok_or_else(|| no_picture(index))?;
        budget.waiting(waiting.len(), picture.y.len())?;
        waiting.insert(place, (picture, colour));
        while let Some(ready) = waiting.remove(&next) {
            next += 1;
            if send.send(ready).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    })
}

fn no_picture(index: usize) -> Refusal {
    Refusal::AskFfmpeg(VideoError::Damaged(format!("there is no picture in its frame {index}")))
}

fn convert(picture: &Picture, colour: Colour) -> Result<Rgb, Refusal> {
    let size = |size: usize| u32::try_from(size).unwrap_or(0);
    let (width, height) = (size(picture.width), size(picture.height));
    let frame = Yuv420 { width, height, y: &picture.y, u: &picture.u, v: &picture.v };
    rgb_from_yuv420(&frame, colour).ok_or_else(|| Refusal::needs_ffmpeg(format!("h264 of {width}x{height}")))
}

/// In one picture. x264 writes one for each slice, and a few beside them.
const NAL_UNITS: usize = 4096;

/// True for a unit with a start code within: the decoder would find another unit there, one that
/// no gate has seen. Emulation prevention sees to it that there is none in an honest stream.
fn smuggles(nal: &[u8]) -> bool {
    nal.windows(3).any(|bytes| bytes == [0, 0, 1])
}

/// Lets through what decoder and conversion are known to do exactly.
///
/// `all`: pictures wait for their turn, and three frames are looked at, with their sums.
fn gate(sps: &Sps, budget: &Budget, all: bool) -> Result<(), Refusal> {
    let what = match (sps.chroma_format, sps.depth, sps.colour.matrix) {
        (_, _, 0) => "h264 RGB".to_owned(),
        (1, 8, _) => {
            // Each reference and the picture in work: 1.5 bytes a pixel, its motion, its margins;
            // then three pictures as RGB and YUV. A level allows 16 references.
            let references = u64::from(sps.references).min(1 << 16) + 3;
            let beside = if all { references * 3 / 2 + 14 } else { 6 };
            return Ok(budget.picture(sps.width, sps.height, references * 5 / 2 + beside)?);
        }
        (0, _, _) => "h264 gray".to_owned(),
        (2, depth, _) => format!("h264 4:2:2 {depth}-bit"),
        (3, depth, _) => format!("h264 4:4:4 {depth}-bit"),
        (_, depth, _) => format!("h264 {depth}-bit"),
    };
    Err(Refusal::needs_ffmpeg(what))
}

/// `rusty_h264-decoder` 0.17.0 gets 8x8 intra prediction wrong beside inter blocks where that is
/// constrained (found by comparing with ffmpeg; x264's `constrained-intra=1`), and does not say so.
fn gate_picture_set(nal: &[u8]) -> Result<(), Refusal> {
    match Pps::parse(nal) {
        Some(Pps { constrained_intra: true, transform_8x8: true }) => {
            Err(Refusal::needs_ffmpeg("h264 with constrained intra prediction"))
        }
        Some(_) => Ok(()),
        None => Err(Refusal::needs_ffmpeg("h264 with unusual parameters")),
    }
}

struct Search<'a> {
    decoder: &'a mut dyn PictureDecoder,
    track: &'a mut Track,
    budget: &'a Budget<'a>,
    /// Of all parameter sets seen.
    colour: Option<Colour>,
    /// All pictures are wanted.
    all: bool,
}

/// What is done with a sample's picture; false = no more.
type Take<'a> = dyn FnMut(usize, Option<Picture>, Colour) -> Result<bool, Refusal> + 'a;

impl Search<'_> {
    /// Where decoding must start for a picture: the sync sample before it, unless the picture is
    /// shown before that one (then it leans on the group before), else the very first.
    fn start_of(&self, target: usize) -> usize {
        let samples = self.track.samples.get(..=target).unwrap_or_default();
        let time = samples.last().map_or(0, |sample| sample.time);
        samples.iter().rposition(|sample| sample.sync && sample.time <= time).unwrap_or(0)
    }

    /// The pictures of two samples, decoded in one run from `start`; once more from the very
    /// first sample where that fails (an intra refresh has sync samples without a key frame).
    fn pictures(&mut self, start: usize, wanted: [usize; 2]) -> Result<[Option<Rgb>; 2], Refusal> {
        match self.run(start, wanted) {
            Err(Refusal::AskFfmpeg(_)) if start > 0 => self.run(0, wanted),
            outcome => outcome,
        }
    }

    fn run(&mut self, start: usize, wanted: [usize; 2]) -> Result<[Option<Rgb>; 2], Refusal> {
        let mut found = [None, None];
        let last = wanted[0].max(wanted[1]);
        self.decode(start, last, &|index| wanted.contains(&index), &mut |index, picture, colour| {
            for (_, found) in wanted.iter().zip(&mut found).filter(|(wanted, _)| **wanted == index) {
                let picture = picture.as_ref().ok_or_else(|| no_picture(index))?;
                *found = Some(convert(picture, colour)?);
            }
            Ok(true)
        })?;
        Ok(found)
    }

    /// Decodes from sample `start` to `last`, but for those that no other needs and that are not `wanted`.
    fn decode(
        &mut self,
        start: usize,
        last: usize,
        wanted: &dyn Fn(usize) -> bool,
        take: &mut Take<'_>,
    ) -> Result<(), Refusal> {
        self.decoder.restart();
        if self.track.sps.iter().chain(&self.track.pps).any(|set| smuggles(set)) {
            return Err(VideoError::Damaged("its parameters are no H.264".to_owned()).into());
        }
        for set in self.track.sps.clone() {
            self.note(&set)?;
            self.decoder.parameters(&set)?;
        }
        for set in self.track.pps.clone() {
            gate_picture_set(&set)?;
            self.decoder.parameters(&set)?;
        }
        let mut access_unit = Vec::new();
        for index in start..=last {
            self.budget.time()?;
            let sample = self.track.read(index)?;
            access_unit.clear();
            let mut needed = wanted(index);
            for (count, nal) in nal_units(&sample, self.track.length_bytes).enumerate() {
                match Nal::of(nal) {
                    Nal::Slice { reference } => needed |= reference,
                    Nal::Sps => {
                        self.note(nal)?;
                        needed = true;
                    }
                    Nal::Pps => {
                        gate_picture_set(nal)?;
                        needed = true;
                    }
                    Nal::Other => continue,
                }
                if count >= NAL_UNITS || smuggles(nal) {
                    return Err(VideoError::Damaged(format!("its frame {index} is no H.264")).into());
                }
                append(&mut access_unit, nal);
            }
            if !needed {
                continue;
            }
            let picture = self.decoder.picture(&access_unit)?;
            let colour = self.colour.ok_or_else(|| VideoError::Damaged("it has no H.264 parameters".to_owned()))?;
            if !take(index, picture, colour)? {
                break;
            }
        }
        Ok(())
    }

    /// Holds a parameter set against the gate. All sets of a file must agree on the colour: which
    /// one a picture uses is known to the decoder only.
    fn note(&mut self, nal: &[u8]) -> Result<(), Refusal> {
        let Some(sps) = Sps::parse(nal) else {
            return Err(Refusal::AskFfmpeg(VideoError::Damaged("its H.264 parameters make no sense".to_owned())));
        };
        gate(&sps, self.budget, self.all)?;
        if self.colour.is_some_and(|colour| colour != sps.colour) {
            return Err(Refusal::needs_ffmpeg("h264 that changes its colour space"));
        }
        self.colour = Some(sps.colour);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_within_a_unit_is_seen() {
        assert!(smuggles(&[0x41, 9, 0, 0, 1, 0x67]));
        assert!(!smuggles(&[0x41, 9, 0, 0, 3, 1, 0, 0]));
    }
}
