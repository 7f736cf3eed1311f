//! Renders SQL text; decides nothing. The only place that quotes.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod added;
pub mod alike;
pub mod apply;
pub mod apply_set;
pub mod blocks;
pub mod check;
pub mod chunk;
pub mod copy;
pub mod ddl;
pub mod ddl_index;
pub mod ddl_type;
pub mod expr;
pub mod expression;
pub mod fence;
pub mod filter;
pub mod function;
pub mod hash;
pub mod part;
pub mod partition_key;
pub mod policy;
pub mod publication;
pub mod quote;
pub mod range;
pub mod rewrite;
#[cfg(test)]
mod rewrite_tests;
pub mod rights;
pub mod statistics;
pub mod token;
pub mod trigger;
pub mod view;
pub mod violation;

pub use expr::{Frozen, ProjectionError, source_table, target_table, with_partitions};
pub use quote::{ident, literal, name};
pub use range::{KeyRange, Side};
