//! Bad input is an answer, never a panic and never a loss: each with words that say what, where and how to mend it.
//!
//! The real program throughout; a simulated server, or one that is worse than any real one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "whole/stage.rs"]
mod stage;

mod bad_input {
    mod files;
    #[cfg(target_os = "linux")]
    mod memory;
    mod servers;
    mod stores;
    mod strangers;
}
