//! Why one step comes before another: each rule is a sentence and a predicate over two ops.

pub mod catchup;
pub mod cleanup;
pub mod copy;
pub mod cutover;
pub mod prepare;
pub mod rule;
pub mod schema;

pub use rule::{Rule, World, all};
