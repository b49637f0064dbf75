//! Whoever dies, wherever: nothing is lost, nothing is rendered twice. The real program and a real simulated server,
//! each killed at every named point of a job's life, and at points and moments drawn by lot.
//!
//! The killing needs the feature: `cargo test --features faults --test survives`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod survives {
    mod points;
}
