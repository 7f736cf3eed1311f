//! Catalog × catalog → changes, for people and for plan-to-plan diffs.
//!
//! Pure.

pub mod model;

pub use model::*;
