//! The engine: it owns the store, the watcher and the connections, and decides.
//!
//! [`core`] is the deciding: a state machine without I/O. The driver here runs its effects on the
//! edges and brings their answers back to it. Nothing else writes the store.

pub mod core;
