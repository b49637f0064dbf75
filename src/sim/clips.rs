//! What the simulator "renders": short real H.264 clips of different loop quality, and pictures.
//!
//! Pure. The same seed gives the same clip.

use bytes::Bytes;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// An embedded clip and one frame of it as a JPEG, for previews.
#[derive(Debug)]
pub struct Clip {
    pub name: &'static str,
    pub mp4: &'static [u8],
    pub jpeg: &'static [u8],
}

macro_rules! clip {
    ($name:literal) => {
        Clip {
            name: $name,
            mp4: include_bytes!(concat!("clips/", $name, ".mp4")),
            jpeg: include_bytes!(concat!("clips/", $name, ".jpg")),
        }
    };
}

/// In the order of `seed % 8`: good ones and bad ones in turn.
pub const CLIPS: [Clip; 8] = [
    clip!("loop_perfect"),
    clip!("pan_no_loop"),
    clip!("loop_gentle"),
    clip!("loop_doubled_last"),
    clip!("loop_strong_motion"),
    clip!("loop_tail_4"),
    clip!("boomerang_trimmed"),
    clip!("loop_brighter_end"),
];

/// What comes of frames that no sampler made.
const STILL: Clip = clip!("still");

/// The clip of a seed; without one (a video of constant pictures) nothing moves.
pub fn clip(seed: Option<u64>) -> &'static Clip {
    static ALL: [Clip; 8] = CLIPS;
    static NONE: Clip = STILL;
    let count = ALL.len() as u64;
    seed.and_then(|seed| ALL.get(usize::try_from(seed % count).ok()?)).unwrap_or(&NONE)
}

/// A small PNG whose colours come from the seed.
pub fn picture(seed: u64) -> Bytes {
    const WIDTH: u8 = 48;
    const HEIGHT: u8 = 32;
    let [red, green, blue, ..] = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    let mut pixels = Vec::with_capacity(usize::from(WIDTH) * usize::from(HEIGHT) * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            pixels.extend([red.wrapping_add(x * 4), green.wrapping_add(y * 4), blue]);
        }
    }
    let mut out = Vec::new();
    let encoded =
        PngEncoder::new(&mut out).write_image(&pixels, u32::from(WIDTH), u32::from(HEIGHT), ExtendedColorType::Rgb8);
    debug_assert!(encoded.is_ok(), "a fixed size and an exact buffer always encode");
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_and_pictures_are_what_they_say() {
        for seed in 0..8 {
            let clip = clip(Some(seed));
            assert_eq!(&clip.mp4[4..8], b"ftyp", "{}", clip.name);
            assert_eq!(&clip.jpeg[..3], b"\xff\xd8\xff");
        }
        assert_eq!(clip(Some(9)).name, clip(Some(1)).name);
        assert_eq!(clip(None).name, "still");
        assert!(image::load_from_memory(&picture(7)).is_ok());
    }
}
