//! Comparison of rows by digests, and what is reported of it.
//!
//! Pure.

pub mod report;
pub mod rows;

pub use report::{Difference, DifferenceKind, Report, TableReport};
pub use rows::{RowDigest, differences};
