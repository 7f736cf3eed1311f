//! Desired schema + source catalog → the wanted target, one projection per table, findings and checks.
//!
//! Pure: everything that PostgreSQL alone can decide is left to the checks in the plan.

pub mod finding;
pub mod model;

pub use finding::*;
pub use model::*;
