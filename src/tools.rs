//! Verbs that need no engine. Each takes a writer and never prints by itself.

pub mod convert;
pub mod doctor;
pub mod draft;
pub mod extract;
pub mod jobs;
pub mod measure;
pub mod repair;
pub mod workflows;
