//! What people and programs read: terminal text, progress, and one JSON object a line. Readers of `exec::event`.

pub mod bars;
pub mod display;
pub mod json;
pub mod lines;
pub mod meter;
pub mod number;
pub mod table;
pub mod text;
pub mod time;

pub use display::Display;
