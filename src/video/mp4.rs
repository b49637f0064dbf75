//! mp4 and mov: the samples of the video track, and which of them are shown.
//!
//! Demultiplexing by `re_mp4`; what it leaves to its caller is here: which track, the edit list,
//! the order of showing. Decodes nothing.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use re_mp4::{Mp4, StsdBoxContent, TrakBox};

use super::{Budget, Refusal, VideoError, boxes};

/// One coded picture is never this large below the pixel limit.
const SAMPLE_BYTES: u64 = 24 << 20;

/// One coded picture.
pub(super) struct Sample {
    offset: u64,
    size: u64,
    /// Decoding may start here.
    pub(super) sync: bool,
    /// When it is shown, in the track's time units, edit list not applied.
    pub(super) time: i64,
    /// The edit list leaves it in.
    pub(super) shown: bool,
}

/// The H.264 track of a file.
pub(super) struct Track {
    file: File,
    length: u64,
    /// In decoding order.
    pub(super) samples: Vec<Sample>,
    /// The sample shown first and the one shown last, as indices.
    pub(super) first: usize,
    pub(super) last: usize,
    /// How many are shown.
    pub(super) frames: u64,
    pub(super) fps: Option<f64>,
    /// Parameter sets without start codes.
    pub(super) sps: Vec<Vec<u8>>,
    pub(super) pps: Vec<Vec<u8>>,
    /// Bytes of a NAL unit's length in a sample.
    pub(super) length_bytes: usize,
}

impl Track {
    /// Each sample's place in the order of showing, counted from 0; none for those that are not shown.
    pub(super) fn places(&self) -> Vec<Option<usize>> {
        let mut shown: Vec<_> = self.samples.iter().enumerate().filter(|(_, sample)| sample.shown).collect();
        shown.sort_by_key(|(_, sample)| sample.time);
        let mut places = vec![None; self.samples.len()];
        for (place, (index, _)) in shown.into_iter().enumerate() {
            if let Some(slot) = places.get_mut(index) {
                *slot = Some(place);
            }
        }
        places
    }

    /// The bytes of a sample: NAL units, each behind its length.
    pub(super) fn read(&mut self, index: usize) -> Result<Vec<u8>, VideoError> {
        let Some(sample) = self.samples.get(index) else {
            return Err(VideoError::Damaged(format!("there is no sample {index}")));
        };
        if sample.offset.checked_add(sample.size).is_none_or(|end| end > self.length) {
            return Err(VideoError::CutOff(format!("its frame {index} lies beyond the end of the file")));
        }
        if sample.size > SAMPLE_BYTES {
            return Err(VideoError::TooLarge(format!("its frame {index} has {} bytes", sample.size)));
        }
        self.file.seek(SeekFrom::Start(sample.offset))?;
        let mut bytes = Vec::new();
        (&self.file).take(sample.size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Opens a file of `length` bytes and finds its first video track.
///
/// # Errors
/// A refusal that names the codec where it isn't H.264 or its edit list is more than a cut.
pub(super) fn open(file: File, length: u64, budget: &Budget) -> Result<Track, Refusal> {
    let mut reader = BufReader::new(&file);
    boxes::check(&mut reader, length, budget)?;
    reader.seek(SeekFrom::Start(0))?;
    let mp4 = Mp4::read(reader, length).map_err(|error| {
        let error = error.to_string();
        Refusal::AskFfmpeg(VideoError::Damaged(format!("its index can't be read ({})", crate::text::clean(&error))))
    })?;
    budget.time()?;

    // The first in the file, as ffmpeg's `0:v:0`.
    let entry = mp4.moov.traks.iter().find(|entry| &entry.mdia.hdlr.handler_type.value == b"vide");
    let entry = entry.ok_or(VideoError::NoVideo)?;
    let avc = match &entry.mdia.minf.stbl.stsd.contents {
        StsdBoxContent::Avc1(avc) => &avc.avcc,
        other => return Err(Refusal::needs_ffmpeg(codec_name(other))),
    };
    let track = mp4.tracks().get(&entry.tkhd.track_id).ok_or(VideoError::NoVideo)?;
    let unshift = raw_minimum(entry);
    let window = edit_window(entry, mp4.moov.mvhd.timescale)?;
    let samples: Vec<Sample> = track
        .samples
        .iter()
        .map(|sample| {
            let time = shown_at(sample, !mp4.moofs.is_empty()).saturating_add(unshift);
            let shown = window.contains(time);
            Sample { offset: sample.offset, size: sample.size, sync: sample.is_sync, time, shown }
        })
        .collect();

    let shown = || samples.iter().enumerate().filter(|(_, sample)| sample.shown);
    let first = shown().min_by_key(|(_, sample)| sample.time);
    let last = shown().max_by_key(|(_, sample)| sample.time);
    let (Some((first, _)), Some((last, _))) = (first, last) else {
        return Err(VideoError::NoFrames.into());
    };
    let frames = shown().count() as u64;
    let fps = frames_a_second(&samples, first, last, frames, track.timescale);
    let sps = avc.sequence_parameter_sets.iter().map(|set| set.bytes.clone()).collect();
    let pps = avc.picture_parameter_sets.iter().map(|set| set.bytes.clone()).collect();
    let length_bytes = usize::from(avc.length_size_minus_one & 3) + 1;
    Ok(Track { file, length, samples, first, last, frames, fps, sps, pps, length_bytes })
}

/// `re_mp4` reads the composition offsets of fragments unsigned; those of version 1 may be negative.
fn shown_at(sample: &re_mp4::Sample, fragmented: bool) -> i64 {
    let time = sample.composition_timestamp;
    let wrapped = fragmented && time.saturating_sub(sample.decode_timestamp) > i64::from(i32::MAX);
    if wrapped { time.saturating_sub(1 << 32) } else { time }
}

/// The codec as ffmpeg calls it, else its four letters.
fn codec_name(contents: &StsdBoxContent) -> String {
    let name = match contents {
        StsdBoxContent::Av01(_) => "av1",
        StsdBoxContent::Avc1(_) => "h264",
        StsdBoxContent::Hvc1(_) | StsdBoxContent::Hev1(_) => "hevc",
        StsdBoxContent::Vp08(_) => "vp8",
        StsdBoxContent::Vp09(_) => "vp9",
        StsdBoxContent::Mp4a(_) | StsdBoxContent::Tx3g(_) => "unknown",
        StsdBoxContent::Unknown(letters) => {
            let letters = String::from_utf8_lossy(&letters.value).into_owned();
            return match letters.as_str() {
                "avc3" => "h264 (avc3)".to_owned(),
                "mp4v" => "mpeg4".to_owned(),
                "apch" | "apcn" | "apcs" | "apco" | "ap4h" | "ap4x" => "prores".to_owned(),
                other => crate::text::clean(other).into_owned(),
            };
        }
    };
    name.to_owned()
}

/// The least composition time before `re_mp4` shifted it to 0; 0 where there is no table
/// (fragments are not shifted). Edit lists count from the unshifted times.
fn raw_minimum(trak: &TrakBox) -> i64 {
    let stbl = &trak.mdia.minf.stbl;
    let Some(ctts) = &stbl.ctts else {
        return 0;
    };
    let deltas =
        stbl.stts.entries.iter().flat_map(|run| std::iter::repeat_n(run.sample_delta, run.sample_count as usize));
    let decode_times = deltas.scan(0_i64, |time, delta| {
        let now = *time;
        *time = time.saturating_add(i64::from(delta));
        Some(now)
    });
    let offsets = ctts.entries.iter().flat_map(|run| std::iter::repeat_n(run.sample_offset, run.sample_count as usize));
    let count = stbl.stsz.sample_count as usize;
    let times = decode_times.zip(offsets).take(count);
    times.map(|(time, offset)| time.saturating_add(i64::from(offset))).min().unwrap_or(0)
}

/// The composition times that are shown.
struct Window {
    start: i64,
    /// None = to the end.
    end: Option<i64>,
}

impl Window {
    fn contains(&self, time: i64) -> bool {
        time >= self.start && self.end.is_none_or(|end| time < end)
    }
}

/// What the edit list cuts out. Empty edits (a delay) cut nothing.
fn edit_window(trak: &TrakBox, movie_timescale: u32) -> Result<Window, Refusal> {
    let entries = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()).map_or(&[][..], |elst| &elst.entries);
    // -1 as 32 and as 64 bits: `re_mp4` reads it unsigned.
    let mut real =
        entries.iter().filter(|entry| entry.media_time != u64::from(u32::MAX) && entry.media_time != u64::MAX);
    let (edit, more) = (real.next(), real.next());
    let Some(edit) = edit else {
        return Ok(Window { start: i64::MIN, end: None });
    };
    if more.is_some() {
        return Err(Refusal::needs_ffmpeg("h264 with several edits"));
    }
    let start = i64::try_from(edit.media_time).unwrap_or(i64::MAX);
    if edit.segment_duration == 0 || movie_timescale == 0 {
        return Ok(Window { start, end: None });
    }
    let length = u128::from(edit.segment_duration) * u128::from(trak.mdia.mdhd.timescale) / u128::from(movie_timescale);
    Ok(Window { start, end: Some(start.saturating_add(i64::try_from(length).unwrap_or(i64::MAX))) })
}

/// The mean over the steps from the first frame shown to the last.
#[expect(clippy::cast_precision_loss, reason = "time stamps and counts are far below 2^52")]
fn frames_a_second(samples: &[Sample], first: usize, last: usize, frames: u64, timescale: u64) -> Option<f64> {
    let span = samples.get(last)?.time.checked_sub(samples.get(first)?.time)?;
    (span > 0 && frames > 1).then(|| (frames - 1) as f64 * timescale as f64 / span as f64)
}
