//! (being built on its own branch) What the measurement says of an output.

use serde::{Deserialize, Serialize};

/// What is known of one output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    pub frames: u64,
    pub width: u32,
    pub height: u32,
    #[serde(default)]
    pub fps: Option<f64>,
    /// SSIM(first, last), 0 to 1, as ffmpeg's `ssim` filter gives it on RGB frames ("All").
    #[serde(default)]
    pub ssim: Option<f64>,
    /// Why there is no number, or what to know of it.
    #[serde(default)]
    pub note: Option<String>,
}
