//! What a finding means: one rule a file, each with its severity, its lock, why it matters and what to do instead.
//!
//! The rules are texts; what they are found by stands in `resolve`, where the catalogs are.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod catalogue;
pub mod page;
pub mod preflight;
pub mod rule;
pub mod rules;

pub use catalogue::{ALL, by_code, every, nearest};
pub use preflight::PREFLIGHT;
pub use rule::{Lock, Object, Rule, Severity};
