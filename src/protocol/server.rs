//! A server as faces show it: its connection, what it has of ours and of others, its memory.
//!
//! Pure: shapes only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Flow;
use crate::job::JobId;

/// A server as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRow {
    pub name: String,
    /// Without user, password or query.
    pub url: String,
    pub link: Link,
    pub version: Option<String>,
    pub running: Vec<ServerPrompt>,
    /// Ours, waiting in its queue.
    pub pending_ours: u32,
    pub pending_others: u32,
    /// The first device's name, the middle of what the server says: `NVIDIA GeForce RTX 4070`.
    pub device: Option<String>,
    /// The names of its other devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_devices: Vec<String>,
    /// The device is the CPU: its "VRAM" numbers are RAM.
    pub is_cpu: bool,
    pub flags: Vec<String>,
    /// The last ten minutes, oldest first.
    pub samples: Vec<Sample>,
    /// Of this server alone; the engine has its own.
    #[serde(default)]
    pub flow: Flow,
}

/// What a server renders now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerPrompt {
    /// `None`: somebody else's.
    pub job: Option<JobId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "link", rename_all = "snake_case")]
pub enum Link {
    Connecting,
    Up {
        since: Timestamp,
        /// The websocket is heard; otherwise progress is unknown and the server is polled.
        heard: bool,
    },
    Down {
        since: Timestamp,
        /// A few words; where there is more to say, all of it on a second line.
        why: String,
        retry_at: Timestamp,
    },
}

/// Memory of a server's devices at one moment, bytes. Those of the first stand here, as nearly all have but one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    pub vram_total: u64,
    /// By anyone; what torch has reserved and does not use counts as free.
    pub vram_used: u64,
    /// The part of `vram_used` that is in use by the server's own torch; 0 on a CPU, where nobody can tell.
    pub torch: u64,
    pub ram_total: u64,
    pub ram_used: u64,
    /// The other devices, in the order of [`ServerRow::other_devices`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<DeviceUse>,
}

/// One device of a [`Sample`], in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceUse {
    pub vram_total: u64,
    pub vram_used: u64,
    pub torch: u64,
}

impl Sample {
    /// All devices, the first one first.
    pub fn devices(&self) -> impl Iterator<Item = DeviceUse> {
        let first = DeviceUse { vram_total: self.vram_total, vram_used: self.vram_used, torch: self.torch };
        std::iter::once(first).chain(self.others.iter().copied())
    }
}
