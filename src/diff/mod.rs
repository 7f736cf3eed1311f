//! Catalog × catalog → changes, for people and for plan-to-plan diffs.
//!
//! Pure.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod model;
mod object;
pub mod table;

pub use model::*;
pub use object::differences;
pub use table::{TableDiff, table_changes};
