//! Renders SQL text; decides nothing. The only place that quotes.

pub mod ddl;
pub mod ddl_index;
pub mod fence;
pub mod publication;
pub mod quote;
pub mod rewrite;
#[cfg(test)]
mod rewrite_tests;
pub mod rows;
pub mod token;

pub use quote::{ident, literal, name};
