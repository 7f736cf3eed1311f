//! Every type, byte by byte, between every two majors.

#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../postgres/migration.rs"]
mod migration;
#[path = "../postgres/stage.rs"]
mod stage;
#[path = "../support/mod.rs"]
mod support;

mod builtin;
mod extensions;
mod made;
mod matrix;
mod pairs;
mod random;
mod refused;
mod wire;
