//! Whoever dies, wherever: nothing is lost, nothing is rendered twice. The real program and a real simulated server,
//! each killed at every named point of a job's life, and at points and moments drawn by lot.
//!
//! The points are there where cargo's feature `faults` is, which tests have (Cargo.toml, dev-dependencies).

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "whole/stage.rs"]
mod stage;

mod survives {
    use super::stage;

    mod kills;
    #[cfg(unix)]
    mod lives;
    mod night;
    mod points;
}
