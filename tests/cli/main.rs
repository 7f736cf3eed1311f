//! The program as a user runs it: one binary, one file per command.

#![allow(clippy::unwrap_used)]

mod environment;
mod frame;
mod schema;
mod validate;
