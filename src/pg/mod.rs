//! PostgreSQL: connections, session settings, introspection, replication, local clusters. Knows no plan step.

pub mod conninfo;
pub mod local;
