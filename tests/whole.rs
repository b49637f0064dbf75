//! End to end: the real program, its real engine, real files, and a simulated server; as a person or a script uses them.
//!
//! What a test believes of the server stands in the server's own log, never in our store.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic is how a test fails")]

mod whole {
    mod control;
    mod crashes;
    mod demo;
    mod drops;
    mod faults;
    mod jobs;
    mod orders;
    mod places;
    #[cfg(unix)]
    mod screen;
    mod stage;
    mod stores;
    mod tries;
    mod twins;
    mod workflows;
}
