//! What a change of type does to values, decided by (type, typmod) on both sides.
//!
//! Pure. PostgreSQL runs every cast; this module only says which class it is in and which rows would break it.

pub mod builtin;
pub mod class;
pub mod interim;
pub use interim::classify;
pub mod typename;

pub use class::CastClass;
