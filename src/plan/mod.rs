//! The plan: a typed graph of steps, as a value and as a file. Knows no connection and no clock.

pub mod build;
pub mod digest;
pub mod effects;
pub mod graph;
pub mod kind;
pub mod model;
pub mod op;
pub mod rules;
pub mod statements;

pub use build::{BuildError, build};
pub use kind::Kind;
pub use model::*;
pub use op::*;
