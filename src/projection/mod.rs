//! Target column ← SQL expression over source columns: written once, used by validation, copy, stream, verification.
//!
//! Pure.

pub mod model;

pub use model::*;
