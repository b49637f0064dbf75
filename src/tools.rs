//! Verbs that need no engine. Each takes a writer and never prints by itself.

pub mod measure;
pub mod repair;
