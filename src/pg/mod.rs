//! PostgreSQL: connections, session settings, introspection, replication, local clusters. Knows no plan step.

pub mod client;
pub mod conninfo;
pub mod error;
pub mod introspect;
pub mod local;
pub mod pgbouncer;
pub mod pgoutput;
pub mod replication;
pub mod scratch;
pub mod scratch_view;
pub mod session;
pub mod shape;
mod socket;
pub mod tls;
mod verifier;
