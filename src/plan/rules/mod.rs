//! Why one step comes before another: each rule is a sentence, and what the one gives and the other needs.

pub mod catchup;
pub mod cleanup;
pub mod copy;
pub mod cutover;
pub mod prepare;
pub mod reverse;
pub mod rule;
pub mod schema;

pub use rule::{Link, Rule, World, all};
