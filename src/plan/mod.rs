//! The plan: a typed graph of steps, as a value and as a file. Knows no connection and no clock.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod adoption;
mod back;
pub mod build;
mod canonical;
pub mod check;
pub mod compare;
mod computed;
pub mod cutover;
pub mod digest;
pub mod effects;
pub mod estimate;
pub mod file;
pub mod given_back;
pub mod graph;
pub mod kind;
mod merged;
pub mod model;
pub mod op;
mod partitioned;
pub mod policies;
mod rename;
pub mod render;
pub mod rights;
pub mod rules;
pub mod shape;
mod shape_grammar;
mod shape_policy;
mod shape_statistics;
mod shape_trigger;
mod shape_type;
mod shape_view;
pub mod statements;
mod strict;
mod taken_back;
pub mod throttle;
pub mod triggers;
pub mod views;
pub mod whole;

pub use build::{BuildError, build};
pub use check::{CheckError, check, problems};
pub use cutover::{Cutover, FenceKind, Hook, Hooks, Pooler, Reverse};
pub use file::{PlanFileError, read, to_json};
pub use kind::Kind;
pub use model::*;
pub use op::*;
pub use throttle::{Signal, ThrottleLimits};
