//! Migrations between real servers, compared by means that are not pcrd's.

#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod ddl;
mod exact;
mod keyless;
mod kill;
mod large;
mod migration;
mod stage;
mod toast;
mod truncate;
mod values;
mod writers;
