//! The program as a user runs it: one binary, one file per command.

#![allow(clippy::unwrap_used)]

mod apply;
mod audit;
mod ci;
mod compose;
mod demo;
mod desired;
mod diff;
mod environment;
mod estimates;
mod explain;
mod fmt;
mod frame;
mod inspect;
mod live;
mod plan;
mod reports;
mod review;
mod schema;
mod signals;
#[path = "../support/mod.rs"]
mod support;
mod validate;
mod validate_schema;
