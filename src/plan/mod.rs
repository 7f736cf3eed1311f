//! The plan: a typed graph of steps, as a value and as a file. Knows no connection and no clock.

pub mod model;
pub mod op;

pub use model::*;
pub use op::*;
