//! Whoever dies, wherever: nothing is lost, nothing is rendered twice. The real program and a real simulated server,
//! each killed at every named point of a job's life, and at points and moments drawn by lot.
//!
//! The killing needs the feature: `cargo test --features faults --test survives`. Without it only the points
//! themselves are looked at.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[cfg(feature = "faults")]
#[path = "whole/stage.rs"]
mod stage;

mod survives {
    #[cfg(feature = "faults")]
    use super::stage;

    #[cfg(feature = "faults")]
    mod kills;
    #[cfg(feature = "faults")]
    mod night;
    mod points;
}
