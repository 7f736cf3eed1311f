//! Catalog × catalog → changes, for people and for plan-to-plan diffs.
//!
//! Pure.

pub mod model;
pub mod table;

pub use model::*;
pub use table::{TableDiff, table_changes};
