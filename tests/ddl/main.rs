//! The desired schema as SQL: what is read, what is refused, and what PostgreSQL says to the same text.

#![allow(clippy::unwrap_used)]

mod directives;
mod formatted;
mod hostile;
mod mutated;
mod mutations;
mod refused;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod written;
