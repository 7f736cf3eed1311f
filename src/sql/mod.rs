//! Renders SQL text; decides nothing. The only place that quotes.

pub mod apply;
pub mod check;
pub mod copy;
pub mod expr;
pub mod hash;
pub mod quote;
pub mod range;

pub use expr::{Frozen, ProjectionError};
pub use quote::{ident, literal, name};
pub use range::{KeyRange, Side};
