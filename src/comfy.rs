//! One ComfyUI server, spoken to as it is: HTTP ([`Client`]), its websocket ([`Socket`]), and what
//! its words mean ([`Message`], [`History`], …).
//!
//! An edge: it knows the wire and nothing of jobs, the store or the screen. It never decides (what
//! to post, when to ask again, when a socket is deaf); it never repeats a `POST`; it tells features
//! by asking (`GET /api/jobs?limit=1`), never by comparing versions. docs/comfyui.md says which
//! trap of the wire is met where.

mod address;
pub mod answer;
pub mod binary;
pub mod error;
mod exchange;
pub mod history;
pub mod json;
pub mod message;
pub mod rest;
pub mod socket;
pub mod validation;
pub mod view;

pub use answer::{Device, Queue, QueueItem, SystemStats};
pub use binary::{Binary, ImageFormat, PreviewOf};
pub use error::ComfyError;
pub use history::{Ending, Failure, FileKind, History, NodeOutput, OutputRef};
pub use message::{Message, NodeProgress, NodeState};
pub use rest::{Client, LookUp, Patience, Submission};
pub use socket::{Backoff, Closed, Heard, Socket};
pub use validation::{Accepted, InputError, NodeError, Validation};
pub use view::Download;
