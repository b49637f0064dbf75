//! The dashboard: shows what the engine says, and asks it for what a person wants.
//!
//! Its only input is [`crate::protocol`]. State ([`App`]) changes in one place, drawing is a pure
//! function of it, and only [`terminal`] knows a real terminal. Must never touch the store, a
//! server or the inbox.

pub mod app;
pub mod attach;
mod canvas;
pub mod columns;
mod figures;
mod forecast;
mod gallery;
pub mod graphics;
pub mod keys;
mod layout;
mod list;
mod paint;
mod panes;
mod raster;
mod stills;
pub mod terminal;
mod theme;

pub use app::{App, Command, EngineState, Event, Setup, Urgency};
pub use paint::{Hyperlink, Painter};
pub use panes::draw;
pub use raster::Raster;
pub use terminal::{Outcome, Wires, run};
pub use theme::Depth;
