//! comfytop: the engine and the faces of "top for ComfyUI".
//!
//! The rooms, from the ground up; imports run downwards only (`tests/layers.rs` holds that):
//! nouns know nothing of the world, edges each know one outside thing, the engine decides,
//! faces show. ARCHITECTURE.md draws the map.

// nouns: pure; no I/O, no clock, no async
pub mod config;
pub mod embedded;
pub mod estimate;
pub mod job;
pub mod job_file;
pub mod lenient;
pub mod protocol;
pub mod text;
pub mod verdict;
pub mod weigh;
pub mod workflow;

// where a test may kill us: nothing at all in a release
pub mod faults;

// edges: one outside thing each
pub mod comfy;
pub mod editor;
pub mod folder;
pub mod inbox;
pub mod link;
pub mod store;
pub mod video;

// engine: the only writer of the store, the only one that decides
pub mod engine;

// a simulated ComfyUI, for the demo and the tests
pub mod sim;

// faces
pub mod tui;
pub mod verbs;

// tools and the door
pub mod cli;
pub mod demo;
pub mod tools;
