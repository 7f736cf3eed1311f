//! PostgreSQL servers on this machine, for the demo and the tests: found, started, crashed and stopped by us.

mod binaries;
mod cluster;
mod home;
mod server;

pub use binaries::{Binaries, LocalError, find_binaries, installed_majors};
pub use cluster::Cluster;
pub use home::{servers_can_enter, shared_dir};
pub use server::Server;
