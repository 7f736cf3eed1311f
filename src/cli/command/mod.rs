//! One file per command: its arguments (doc comments are the help texts) and its `run`.

pub mod abort;
pub mod analyze;
pub mod apply;
pub mod audit;
pub mod cleanup;
pub mod completions;
pub mod cutover;
pub mod demo;
pub mod diff;
pub mod explain;
pub mod fmt;
pub mod graph;
pub mod inspect;
pub mod man;
pub mod migrate;
pub mod pause;
pub mod plan;
pub mod readiness;
pub mod rollback;
pub mod schema;
pub mod show;
pub mod skip;
pub mod status;
pub mod throttle;
pub mod validate;
pub mod verify;
