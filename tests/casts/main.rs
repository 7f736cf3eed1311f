//! Type names and casts against a real server: what the tables in `casts` claim is asked of PostgreSQL.
#![allow(clippy::unwrap_used, unreachable_pub, missing_docs)]

mod docs;
mod matrix;
mod server;
mod typenames;
mod values;
