//! Renders SQL text; decides nothing. The only place that quotes.

pub mod quote;

pub use quote::{ident, literal, name};
