//! Migrations between real servers, compared by means that are not pcrd's.

#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub)]

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/mod.rs"]
mod support;

mod additive;
mod adopt;
mod adopt_exact;
mod adopt_target;
mod attack;
mod cleanup;
mod collision;
mod constraints;
mod corruptions;
mod damaged;
mod ddl;
mod defects;
mod deployments;
mod every_option;
mod exact;
mod failover;
mod fenced;
mod filter;
mod hooks;
mod hooks_outlive;
mod hostile;
mod keyless;
mod kill;
mod large;
mod late;
mod leftover;
mod masked;
mod merge;
mod migration;
mod moved;
mod no_false_alarm;
mod nobody;
mod not_additive;
mod operate;
mod ordeal;
mod pgbouncer;
mod phase;
mod refused;
mod repair;
mod reserved;
mod rights;
mod secrets;
mod settings;
mod shared_schema;
mod skip;
mod skipped;
mod split;
mod stage;
mod state_file;
mod stop;
mod surplus;
mod there_and_back;
mod throttle;
mod tls;
mod toast;
mod together;
mod torture;
mod truncate;
mod vacuum;
mod values;
mod verify;
mod way_back;
mod way_back_random;
mod way_back_rows;
mod whole;
mod witness;
mod writers;
mod zombie;
