//! What a change of type does to values, decided by (type, typmod) on both sides.
//!
//! Pure. PostgreSQL runs every cast; this module only says which class it is in and which rows would break it.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod builtin;
pub mod cast;
pub mod class;
pub mod classify;
mod rules;
pub mod typename;

pub use cast::{Bad, Cast};
pub use class::CastClass;
pub use classify::{Context, Unsupported, classify, inverse};
