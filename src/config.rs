//! `comfytop.toml`: what a person may set, its defaults, and errors that name the line.
//!
//! Pure: text in, [`Config`] out. Reading the file, the environment and the flags is the door's
//! work (`cli.rs`). Unknown keys are errors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

/// Where ComfyUI listens when nobody says otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8188";

/// All settings of one render folder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Config {
    /// The servers, in order of preference; empty means [`DEFAULT_SERVER`].
    #[serde(rename = "server")]
    pub servers: Vec<ServerConfig>,
    /// The watched folders; empty means `jobs/`.
    #[serde(rename = "inbox")]
    pub inboxes: Vec<InboxConfig>,
    pub queue: QueueConfig,
    pub outputs: OutputsConfig,
    pub ui: UiConfig,
}

/// One ComfyUI server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// What it is called on screen; the host and port where left out.
    #[serde(default)]
    pub name: Option<String>,
    /// `http(s)://host[:port][/base]`.
    pub url: String,
    /// Sent with every request, the websocket's too (tokens of a proxy). Never logged.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How many of our prompts the server holds at once; 0 = all.
    #[serde(default = "default_in_flight")]
    pub in_flight: u32,
}

fn default_in_flight() -> u32 {
    2
}

/// One watched folder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxConfig {
    /// Relative to the render folder, or absolute.
    pub path: PathBuf,
    /// How long a file that could still grow must stand still.
    #[serde(default, with = "seconds")]
    pub settle: Option<Duration>,
    /// After this long an unreadable file, or one whose inputs are missing, is rejected.
    #[serde(default, with = "seconds")]
    pub max_settle: Option<Duration>,
    /// Watch by polling (network shares send no events).
    #[serde(default)]
    pub poll: bool,
    /// Every drop here is taken on hold.
    #[serde(default)]
    pub hold: bool,
    /// The workflow of jobs that name none.
    #[serde(default)]
    pub workflow: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Stop the engine after this long with no face and nothing to do; off where left out.
    #[serde(with = "seconds")]
    pub idle_exit: Option<Duration>,
    /// Give each attempt a `filename_prefix` of its own.
    pub own_prefix: bool,
    /// After a POST that timed out, wait this long before looking again.
    #[serde(with = "seconds")]
    pub post_grace: Option<Duration>,
    /// Nothing heard for this long while our job runs: ask, and reconnect.
    #[serde(with = "seconds")]
    pub quiet: Option<Duration>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { idle_exit: None, own_prefix: true, post_grace: None, quiet: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputsConfig {
    /// Where renders are collected, relative to the render folder.
    pub path: PathBuf,
    /// The server's own output folder, where it can be read here: files are linked, not downloaded.
    pub server_folder: Option<PathBuf>,
    /// Files larger than this many bytes are not fetched.
    pub max_bytes: u64,
}

impl Default for OutputsConfig {
    fn default() -> Self {
        Self { path: PathBuf::from("outputs"), server_folder: None, max_bytes: 4 << 30 }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UiConfig {
    /// SSIM at or above this is green.
    pub ssim_good: f64,
    /// SSIM at or below this is red.
    pub ssim_bad: f64,
    /// `false` = no colours (as `NO_COLOR`).
    pub color: bool,
}

impl Default for UiConfig {
    fn default() -> Self {
        Self { ssim_good: 0.85, ssim_bad: 0.612, color: true }
    }
}

/// A config file that can't be used.
#[derive(Debug, Error)]
#[error("{file}: {message}")]
pub struct ConfigError {
    pub file: String,
    /// Line and column where TOML knows them, what is wrong, and the nearest right key.
    pub message: String,
}

/// Durations are written as seconds: `1`, `0.5`.
mod seconds {
    use super::{Deserialize, Duration};
    pub fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        let seconds = f64::deserialize(d)?;
        Duration::try_from_secs_f64(seconds).map(Some).map_err(serde::de::Error::custom)
    }
}
