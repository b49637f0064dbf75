//! What can be done to a clip that does not loop.
//!
//! Pure: which repair, and why not. `video::repair` carries one out.

use std::cmp::Ordering;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::judge::{Cut, FEWEST_JUDGED, Verdict};
use super::measurement::Measurement;

impl Cut {
    /// True where all that it drops of a clip of so many frames are frames that repeat the one beside them, counted from 1.
    #[must_use]
    pub fn drops_only(self, doubled: &[u64], frames: u64) -> bool {
        // At the start the first of them stays, in place of the last.
        let start = 2..2 + u64::from(self.drop_start);
        let end = (frames + 1).saturating_sub(self.drop_end.into())..=frames;
        start.chain(end).all(|frame| doubled.contains(&frame))
    }
}

/// One way to mend a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// Leave frames out at the ends.
    Cut(Cut),
    /// Leave the frames out that only repeat the one before.
    DropDoubled,
    /// There and back, neither end twice.
    Boomerang,
    /// Blend the last so many frames into the first so many.
    Crossfade(u32),
    /// Take the step of light and colour back, a little in each frame.
    Level,
}

impl Repair {
    /// What the judge advises; none where nothing is wrong, or nothing but another render helps.
    #[must_use]
    pub fn advised(known: &Measurement) -> Option<Self> {
        let doubled = known.doubled_frames.as_deref().unwrap_or_default();
        match (known.verdict?, known.best_cut) {
            // Doubled frames at the ends are what the cut would drop, and there may be more of them inside.
            (Verdict::Nearly, Some(cut)) if !cut.drops_only(doubled, known.frames) => Some(Self::Cut(cut)),
            (Verdict::Pulses, _) => Some(Self::Level),
            (Verdict::Nearly | Verdict::Loops, _) if !doubled.is_empty() => Some(Self::DropDoubled),
            _ => None,
        }
    }

    /// The ways that make sense for a clip, the advised one first. None for what is no clip.
    #[must_use]
    pub fn sensible(known: &Measurement) -> Vec<Self> {
        if known.frames < FEWEST_JUDGED as u64 || known.verdict.is_none() {
            return Vec::new();
        }
        let over = u32::try_from(known.frames / 8).unwrap_or(u32::MAX).clamp(2, 12);
        let all = [
            Self::advised(known),
            known.best_cut.map(Self::Cut),
            Some(Self::DropDoubled),
            // Levelling helps where the judge says so (then it is advised), and nowhere else.
            Some(Self::Boomerang),
            Some(Self::Crossfade(over)),
        ];
        let mut ways: Vec<Self> = Vec::new();
        for way in all.into_iter().flatten() {
            if !ways.contains(&way) && way.frames(known).is_ok() {
                ways.push(way);
            }
        }
        ways
    }

    /// Says in a copy's own note where it came out worse than what it was made from, or no better.
    pub fn own_up(source: &Measurement, copy: &mut Measurement) {
        let (Some(before), Some(after)) = (source.verdict, copy.verdict) else { return };
        let mendable = matches!(before, Verdict::Nearly | Verdict::Pulses | Verdict::Jumps);
        let words = match after.cmp(&before) {
            Ordering::Greater => {
                format!("the copy is worse than its source: `{}`, not `{}`", after.word(), before.word())
            }
            Ordering::Equal if mendable => format!("the copy is no better than its source: `{}`", after.word()),
            _ => return,
        };
        copy.add_note(&words);
    }

    /// What it does, for a list of ways.
    #[must_use]
    pub fn sentence(self) -> String {
        let frames = |count: u32, which: &str| match count {
            1 => format!("the {which} frame"),
            count => format!("the {which} {count} frames"),
        };
        match self {
            Self::Cut(Cut { drop_start: 0, drop_end }) => format!("cut {}", frames(drop_end, "last")),
            Self::Cut(Cut { drop_start, drop_end: 0 }) => format!("cut {}", frames(drop_start, "first")),
            Self::Cut(Cut { drop_start, drop_end }) => {
                format!("cut {} and {}", frames(drop_start, "first"), frames(drop_end, "last"))
            }
            Self::DropDoubled => "drop the frames that repeat the one before".to_owned(),
            Self::Boomerang => "boomerang: there and back".to_owned(),
            Self::Crossfade(over) => format!("crossfade over {over} frames"),
            Self::Level => "level light and colour".to_owned(),
        }
    }

    /// The word that a repaired file's name gets.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Cut(_) => "cut",
            Self::DropDoubled => "undoubled",
            Self::Boomerang => "boomerang",
            Self::Crossfade(_) => "crossfaded",
            Self::Level => "levelled",
        }
    }

    /// The frames of the clip, counted from 0, that the copy shows one after the other, each for as long as before; none
    /// where others come between, or are left out there. Sound can go along with such a span only.
    #[must_use]
    pub fn span(self, known: &Measurement) -> Option<Range<u64>> {
        match self {
            Self::Cut(cut) => Some(cut.drop_start.into()..known.frames.saturating_sub(cut.drop_end.into())),
            Self::Level => Some(0..known.frames),
            Self::DropDoubled => {
                let doubled = known.doubled_frames.as_deref().unwrap_or_default();
                let start = (2..=known.frames).take_while(|frame| doubled.contains(frame)).count();
                let end = (2..=known.frames).rev().take_while(|frame| doubled.contains(frame)).count();
                let cut = start as u64..known.frames.saturating_sub(end as u64);
                // Of the first ones the last stays in place of the first, which it repeats.
                (start + end == doubled.len()).then_some(cut)
            }
            Self::Boomerang | Self::Crossfade(_) => None,
        }
    }

    /// Why a copy has no sound though its source has some; none where the sound goes along.
    #[must_use]
    pub fn without_sound(self, known: &Measurement) -> Option<String> {
        let why = match self {
            _ if self.span(known).is_some() => return None,
            Self::Boomerang => "it can't go there and back with the pictures",
            Self::Crossfade(_) => "it can't be blended into one another as the pictures are",
            Self::Cut(_) | Self::DropDoubled | Self::Level => {
                "frames inside it are left out, and sound would stumble there"
            }
        };
        Some(format!("without the clip's sound: {why}"))
    }

    /// Frames that the repaired clip has.
    ///
    /// # Errors
    /// Words: why that can't be done to this clip.
    pub fn frames(self, known: &Measurement) -> Result<u64, String> {
        let fewest = FEWEST_JUDGED as u64;
        let frames = known.frames;
        let left = match self {
            Self::Cut(Cut { drop_start: 0, drop_end: 0 }) => return Err("nothing is to be cut".to_owned()),
            Self::Cut(cut) => frames.saturating_sub(u64::from(cut.drop_start) + u64::from(cut.drop_end)),
            Self::DropDoubled => {
                let doubled = known.doubled_frames.as_ref().map_or(0, Vec::len);
                if doubled == 0 {
                    return Err("it has no doubled frame".to_owned());
                }
                frames.saturating_sub(doubled as u64)
            }
            Self::Boomerang => (2 * frames).saturating_sub(2),
            Self::Crossfade(0) => return Err("a crossfade takes at least one frame".to_owned()),
            Self::Crossfade(over) => {
                let over = u64::from(over);
                // Something must be left between the two ends.
                if frames < 2 * over + 2 {
                    return Err(format!(
                        "a crossfade over {over} frames needs {} of them, it has {frames}",
                        2 * over + 2
                    ));
                }
                frames - over
            }
            Self::Level => {
                if known.luma_step.is_none() {
                    return Err("nothing is known of its light".to_owned());
                }
                frames
            }
        };
        if left < fewest.min(frames) || left < 2 {
            return Err(format!("{left} of its {frames} frames would be left"));
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(verdict: Verdict, cut: Option<(u32, u32)>, doubled: &[u64]) -> Measurement {
        Measurement {
            frames: 33,
            verdict: Some(verdict),
            best_cut: cut.map(|(drop_start, drop_end)| Cut { drop_start, drop_end }),
            doubled_frames: Some(doubled.to_vec()),
            luma_step: Some(12.0),
            ..Measurement::default()
        }
    }

    #[test]
    fn the_advice_is_a_repair() {
        let advised = |verdict, cut, doubled| Repair::advised(&known(verdict, cut, doubled));
        let cut = |drop_start, drop_end| Some(Repair::Cut(Cut { drop_start, drop_end }));
        assert_eq!(advised(Verdict::Nearly, Some((0, 4)), &[]), cut(0, 4));
        assert_eq!(advised(Verdict::Nearly, Some((2, 1)), &[33]), cut(2, 1));
        assert_eq!(advised(Verdict::Nearly, Some((0, 1)), &[17, 33]), Some(Repair::DropDoubled));
        assert_eq!(advised(Verdict::Pulses, None, &[]), Some(Repair::Level));
        assert_eq!(advised(Verdict::Loops, None, &[]), None);
        assert_eq!(advised(Verdict::Jumps, None, &[]), None);
        assert_eq!(Repair::advised(&Measurement::default()), None);
    }

    #[test]
    fn a_copy_that_is_worse_says_so() {
        let mut copy = known(Verdict::Still, None, &[]);
        Repair::own_up(&known(Verdict::Pulses, None, &[]), &mut copy);
        assert_eq!(copy.note.as_deref(), Some("the copy is worse than its source: `still`, not `pulses`"));
        let mut copy = known(Verdict::Loops, None, &[]);
        Repair::own_up(&known(Verdict::Pulses, None, &[]), &mut copy);
        assert_eq!(copy.note, None);
        Repair::own_up(&known(Verdict::Loops, None, &[]), &mut copy);
        assert_eq!(copy.note, None, "nothing was to be mended");
        let mut copy = known(Verdict::Jumps, None, &[]);
        Repair::own_up(&known(Verdict::Jumps, None, &[]), &mut copy);
        assert_eq!(copy.note.as_deref(), Some("the copy is no better than its source: `jumps`"));
    }

    #[test]
    fn the_ways_that_make_sense_begin_with_the_advice() {
        let words = |known: &Measurement| Repair::sensible(known).iter().map(|way| way.sentence()).collect::<Vec<_>>();
        assert_eq!(
            words(&known(Verdict::Nearly, Some((0, 4)), &[])),
            ["cut the last 4 frames", "boomerang: there and back", "crossfade over 4 frames"]
        );
        let pulses = Measurement { luma_step: Some(12.0), ..known(Verdict::Pulses, None, &[17]) };
        assert_eq!(words(&pulses)[..2], ["level light and colour", "drop the frames that repeat the one before"]);
        assert_eq!(words(&known(Verdict::Nearly, Some((1, 2)), &[]))[0], "cut the first frame and the last 2 frames");
        assert!(words(&Measurement::default()).is_empty());
        // A step of light is not what is wrong with these.
        for verdict in [Verdict::Jumps, Verdict::Loops] {
            assert!(!Repair::sensible(&known(verdict, None, &[])).contains(&Repair::Level), "{verdict:?}");
        }
    }

    #[test]
    fn sound_goes_along_where_the_time_does() {
        let span = |how: Repair, doubled: &[u64]| how.span(&known(Verdict::Nearly, None, doubled));
        assert_eq!(span(Repair::Cut(Cut { drop_start: 2, drop_end: 4 }), &[]), Some(2..29));
        assert_eq!(span(Repair::Level, &[]), Some(0..33));
        assert_eq!(span(Repair::DropDoubled, &[33]), Some(0..32));
        assert_eq!(span(Repair::DropDoubled, &[2, 32, 33]), Some(1..31));
        assert_eq!(span(Repair::DropDoubled, &[17, 33]), None);
        assert_eq!(span(Repair::Boomerang, &[]), None);
        let inside = known(Verdict::Nearly, None, &[17]);
        assert!(Repair::DropDoubled.without_sound(&inside).unwrap().contains("inside it"));
        assert_eq!(Repair::Level.without_sound(&inside), None);
    }

    #[test]
    fn the_frames_that_are_left_are_known_beforehand() {
        let clip = known(Verdict::Nearly, None, &[17, 33]);
        let frames = |repair: Repair| repair.frames(&clip).unwrap();
        assert_eq!(frames(Repair::Cut(Cut { drop_start: 1, drop_end: 4 })), 28);
        assert_eq!(frames(Repair::DropDoubled), 31);
        assert_eq!((frames(Repair::Boomerang), frames(Repair::Crossfade(6)), frames(Repair::Level)), (64, 27, 33));
        for repair in
            [Repair::Cut(Cut { drop_start: 0, drop_end: 33 }), Repair::Cut(Cut::default()), Repair::Crossfade(16)]
        {
            assert!(repair.frames(&clip).is_err(), "{repair:?}");
        }
        assert!(Repair::DropDoubled.frames(&known(Verdict::Loops, None, &[])).is_err());
    }
}
