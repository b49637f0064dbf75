//! A simulated ComfyUI that speaks the recorded wire: for `comfytop sim`, the demo and the tests.
//!
//! [`core`] decides everything and touches nothing (no socket, file, clock or chance of its own):
//! it also runs in virtual time. [`http`] puts it on a socket. Both recorded dialects are spoken,
//! and a [`scenario`] makes things go wrong on purpose.
//!
//! It must never import an edge, the engine or a face: it stands where a stranger's server stands.

pub mod clips;
pub mod core;
pub mod files;
pub mod graph;
mod history;
pub mod http;
mod object_info;
pub mod prompts;
mod queue;
mod render;
pub mod request;
pub mod scenario;
mod validate;
mod vram;
pub mod wire;

use std::path::PathBuf;
use std::str::FromStr;

pub use core::{Effect, Input, RequestId, SocketId, State, next_wake, step};
pub use http::{serve, spawn};
pub use request::{Body, Request, Response, Upload};
pub use scenario::Scenario;

/// Which recorded server is spoken like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// ComfyUI 0.3.64: no `/api/jobs`, any text is a `prompt_id`, every sampler step is told.
    V0_3_64,
    /// ComfyUI 0.33.0: `/api/jobs`, UUIDs only, thinned progress.
    #[default]
    V0_33_0,
}

impl Dialect {
    /// The version as `/system_stats` tells it.
    pub fn version(self) -> &'static str {
        match self {
            Self::V0_3_64 => "0.3.64",
            Self::V0_33_0 => "0.33.0",
        }
    }
}

/// A version that was not recorded, so cannot be spoken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the simulator speaks ComfyUI 0.3.64 and 0.33.0, not `{0}`")]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0.3.64" => Ok(Self::V0_3_64),
            "0.33.0" => Ok(Self::V0_33_0),
            other => Err(UnknownDialect(other.to_owned())),
        }
    }
}

/// How the simulated server behaves.
#[derive(Debug, Clone)]
pub struct Options {
    pub dialect: Dialect,
    /// Seconds of a warm run of the two-sampler Wan graph at 480x848, 129 frames; everything else
    /// is scaled with it. 0 renders as fast as possible.
    pub render_seconds: f64,
    pub scenario: Scenario,
    /// All chance comes from this: the ids made here, the arbitrary orders, the scatter of times.
    pub seed: u64,
    /// Inputs and outputs are kept here and survive a restart; in memory where left out.
    pub dir: Option<PathBuf>,
    /// What happened, one JSON object a line: what tests believe instead of anybody's store.
    pub log: Option<PathBuf>,
    /// Memory of the simulated card, bytes.
    pub vram_total: u64,
    /// Send preview pictures at sampler steps (a server started with `--preview-method`).
    pub previews: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            render_seconds: 8.0,
            scenario: Scenario::default(),
            seed: 1,
            dir: None,
            log: None,
            vram_total: 12 << 30,
            previews: true,
        }
    }
}
