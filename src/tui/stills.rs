//! Reads pictures that the engine made, on a thread of its own: the drawing thread never waits for a disk.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder, Limits};

use super::app::Event;
use super::raster::Raster;
use super::terminal::EventSender;

/// Bytes that a picture may take: they are small.
const MOST: u64 = 16 << 20;

/// Reads what comes in, in its order.
pub fn reader(events: EventSender) -> Sender<PathBuf> {
    let (sender, paths) = channel::<PathBuf>();
    std::thread::spawn(move || {
        while let Ok(path) = paths.recv() {
            let raster = read(&path).map_err(|why| format!("the picture can't be read: {why}"));
            if !events.send(Event::Raster { path, raster }) {
                break;
            }
        }
    });
    sender
}

fn read(path: &Path) -> Result<Raster, String> {
    let words = |error: &dyn std::fmt::Display| crate::text::clean(&error.to_string()).into_owned();
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST);
    let file = BufReader::new(File::open(path).map_err(|error| words(&error))?);
    let mut decoder = PngDecoder::with_limits(file, limits.clone()).map_err(|error| words(&error))?;
    decoder.set_limits(limits).map_err(|error| words(&error))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| words(&error))?.into_rgb8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let pixels = image.pixels().map(|pixel| pixel.0).collect();
    Raster::new(width, height, pixels).ok_or_else(|| "it is empty".to_owned())
}
