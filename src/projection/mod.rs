//! Target column ← SQL expression over source columns: written once, used by validation, copy, stream, verification.
//!
//! Pure.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod back;
pub mod format;
pub mod identity;
pub mod model;

pub use back::{Back, BackColumn, Forward, back};
pub use format::copy_format;
pub use identity::{KeyNotInjective, KeyPart, row_identity};
pub use model::*;
