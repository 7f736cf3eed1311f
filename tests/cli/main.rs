//! The program as a user runs it: one binary, one file per command.

#![allow(clippy::unwrap_used)]

mod environment;
mod frame;
mod plan;
mod reports;
mod schema;
mod signals;
mod validate;
