//! The ComfyUI client against recordings of two real servers (and three runs on a GPU), and
//! against servers that misbehave. No ComfyUI, no network but loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod wire {
    mod answers;
    mod docs;
    mod messages;
    mod misbehaving;
    mod recordings;
    mod requests;
    mod server;
    mod sockets;
}
