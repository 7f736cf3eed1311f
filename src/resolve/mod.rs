//! Desired schema + source catalog → the wanted target, one projection per table, findings and checks.
//!
//! Pure: everything that PostgreSQL alone can decide is left to the checks in the plan.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod accept;
mod added;
mod back;
mod check;
mod column;
pub mod compile;
mod constraint;
mod copying;
pub mod encoding;
mod ends;
pub mod error;
mod filter;
pub mod finding;
mod hazard;
mod index;
mod key;
#[cfg(test)]
mod key_tests;
mod marks;
pub mod matching;
mod merge;
pub mod model;
pub mod options;
mod origin;
mod others;
mod partitioning;
mod partitions;
mod policy;
mod report;
mod rights;
mod rights_said;
mod rows;
mod scope;
pub mod selection;
mod sequence;
pub mod split;
mod statistics;
mod tables;
mod trigger;
mod types;
mod view;
mod view_read;
mod view_rights;
mod volatility;
mod whole;

pub use compile::resolve;
pub use error::{ResolveError, ResolveErrorKind};
pub use finding::*;
pub use model::*;
pub use options::ResolveOptions;
pub use view_read::{ReadViews, settle_views};
