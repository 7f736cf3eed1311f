//! What a plan file says, looked at by nobody's database: is it whole, is it what it claims, does a policy allow it.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod policy;
pub mod render;
pub mod report;
pub mod sarif;

pub use policy::{Policy, PolicyErrors};
pub use report::{Entry, Level, Report, Rule, audit};
