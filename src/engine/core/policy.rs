//! What the core is told once, of patience and limits.

use std::time::Duration;

use super::Retries;

/// What does not change while the engine runs.
#[derive(Debug, Clone)]
pub struct Policy {
    /// After a POST whose answer never came, wait this long before posting again.
    pub post_grace: Duration,
    /// Nothing heard this long while our job runs: ask.
    pub quiet: Duration,
    /// Take and submit nothing.
    pub look_only: bool,
    pub retries: Retries,
    /// So many failures of one kind in a row pause the queue; 0 = never.
    pub pause_after: u32,
    /// Fewer free bytes on the disk pause it.
    pub min_free: u64,
    /// After a restart, of the engine or of a server, wait for a person.
    pub pause_after_restart: bool,
    /// A render without a step for so long is flagged, where nothing better was learnt.
    pub stall: Duration,
    /// And interrupted.
    pub stall_interrupts: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            post_grace: Duration::from_secs(10),
            quiet: Duration::from_secs(20),
            look_only: false,
            retries: Retries::default(),
            pause_after: 3,
            min_free: 2_000_000_000,
            pause_after_restart: false,
            stall: Duration::from_mins(10),
            stall_interrupts: false,
        }
    }
}
