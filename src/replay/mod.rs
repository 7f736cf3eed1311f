//! The exactness rules of the data path as plain functions: positions, visibility, key order, routing.
//!
//! Pure. The rules and their proof are in docs/architecture.md, "Why no row is lost".

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod compact;
pub mod key;
pub mod position;
pub mod routing;
pub mod snapshot;
pub mod timeline;
mod timestamp;

pub use key::{Key, KeyError, KeyValue};
pub use position::{FullXid, Lsn};
pub use routing::{Chunk, Decision, Lane, Router, TableRoute};
pub use snapshot::{Snapshot, SnapshotError};
