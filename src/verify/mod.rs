//! Comparison of rows by digests, and what is reported of it.
//!
//! Pure.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod report;
pub mod rows;

pub use report::{Difference, DifferenceKind, OnPurpose, Report, TableReport, Values};
pub use rows::{RowDigest, differences};
