//! pcrd: a declarative migration compiler for PostgreSQL.
//!
//! Modules in reading order; each may use only those above it (`tests/tidy.rs` holds it to that).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalog;

pub mod findings;

pub mod casts;
pub mod desired;
pub mod layout;
pub mod projection;
pub mod sql;

pub mod diff;
pub mod resolve;

pub mod audit;
pub mod plan;
pub mod replay;
pub mod verify;

pub mod config;
pub mod ledger;
pub mod pg;
pub mod state;

pub mod exec;

pub mod demo;

pub mod cli;
pub mod ui;
